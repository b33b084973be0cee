/* place.h: a process moved to a host of the lab, and tools run there.
 *
 * The tools are `ip`, `bridge` and `nft`, which do what they do better than code of our own would;
 * their input is a text, and what they say when they fail goes into the fault.
 */
#ifndef ENGINE_LAB_PLACE_H
#define ENGINE_LAB_PLACE_H

#include "engine/lab/lab.h"

#include <stddef.h>

/* A text that grows to its bound. */
struct lab_text {
    char *bytes;
    size_t used;
    size_t max;
};

void lab_text_add(struct lab_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Move this process, which has one thread, to the namespace of a host or of the switch; with
 * `among_nodes`, children born from now on end with the keeper. 0, or -errno. */
MUST_USE int lab_enter(const struct lab *lab, uint32_t host, bool among_nodes);

struct lab_tool {
    const char *const *words; /* Its name and arguments, then NULL. */
    const char *input;        /* NULL: none. */
    struct lab_text *output;  /* NULL: not wanted. */
};

/* Run a tool to its end at a host. 0, or -errno with the fault
 * told: it is not here, or it failed, with its own first words. */
MUST_USE int
lab_run(const struct lab *lab, uint32_t host, const struct lab_tool *tool, struct fault *fault);

/* Whether the tools are here. 0, or -ENOENT with the fault told. */
MUST_USE int lab_find_tools(struct fault *fault);

/* So that tools in /usr/sbin are found by an ordinary user too. */
void lab_set_path(void);

#endif
