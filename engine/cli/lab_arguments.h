/* lab_arguments.h: what the commands of `thole lab` have in common on their command lines. */
#ifndef ENGINE_CLI_LAB_ARGUMENTS_H
#define ENGINE_CLI_LAB_ARGUMENTS_H

#include "engine/lab/lab.h"

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

enum { LAB_KEY_DIR = 256, LAB_KEY_OWN }; /* A command's own keys begin at LAB_KEY_OWN. */

/* First member of every command's arguments. */
struct lab_arguments {
    const char *dir; /* NULL: lab_arguments_dir(). */
    uint32_t word_count;
    const char *words[LAB_HOSTS_MAX];
};

#define LAB_OPTION_DIR                                                                             \
    {                                                                                              \
        "dir", LAB_KEY_DIR, "DIR", 0, "The lab's folder ($THOLE_LAB, else ./thole-lab)", 0         \
    }

/* The default of the commands' parsers: --dir, and words. */
error_t lab_arguments_parse(int key, char *value, struct argp_state *state);

/* The same for commands that take no words. */
error_t lab_arguments_parse_alone(int key, char *value, struct argp_state *state);

/* The folder that was given or is meant. */
const char *lab_arguments_dir(const struct lab_arguments *arguments);

/* The hosts of one word, "n1" or "1,home", as bits. False with the fault told. */
MUST_USE bool
lab_arguments_hosts(const struct lab *lab, const char *word, uint64_t *hosts, struct fault *fault);

/* The node of one word; 0 with the fault told. */
uint32_t lab_arguments_node(const struct lab *lab, const char *word, struct fault *fault);

#endif
