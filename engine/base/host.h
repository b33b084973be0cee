/* host.h: the machine as the kernel tells of it: CPUs, clock, kernel, memory. Read from /proc and
 * /sys, never guessed; what cannot be read stays empty or unknown. Changes nothing, needs no
 * rights, and is not for the data path. Knows nothing of disks or networks: storage/ and net/ look
 * at those.
 */
#ifndef ENGINE_BASE_HOST_H
#define ENGINE_BASE_HOST_H

#include "engine/base/assert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOST_TEXT_BYTES 160u
#define HOST_CPUS_MAX   1024u
#define HOST_LINES_MAX  4096u
#define HOST_LINE_BYTES 8192u

struct host {
    char cpu[HOST_TEXT_BYTES]; /* Its model. */
    uint32_t cpu_count;        /* Online. */
    char kernel[HOST_TEXT_BYTES];
    bool is_guest;
    char vendor[HOST_TEXT_BYTES]; /* Of a guest's machine, when it says. */
    bool has_constant_tsc;
    bool has_nonstop_tsc;
    char clock[HOST_TEXT_BYTES];    /* The current clocksource. */
    char clocks[HOST_TEXT_BYTES];   /* Those there are. */
    char allowed[HOST_TEXT_BYTES];  /* CPUs that this process may run on, as "0-3,8". */
    char isolated[HOST_TEXT_BYTES]; /* CPUs that the scheduler leaves alone. */
    char nohz_full[HOST_TEXT_BYTES];
    uint64_t memlock_bytes;   /* RLIMIT_MEMLOCK; UINT64_MAX: unlimited, or may pass it. */
    bool has_user_namespaces; /* An ordinary user may make one, with a network of its own. */
    uint64_t huge_free;       /* Free huge pages of 2 MiB. */
};

struct host_cpu {
    char governor[HOST_TEXT_BYTES]; /* Of its frequency; "": the kernel does not set it. */
    char siblings[HOST_TEXT_BYTES]; /* CPUs of the same core, itself among them. */
};

void host_look(struct host *host);
void host_cpu_look(struct host_cpu *found, int cpu);

/* The first line of a file, without its newline. False: it cannot be read, and `line` is "". */
MUST_USE bool host_first_line(const char *path, char *line, size_t bytes);

/* Whether a list such as "0-3,8" names this CPU. */
bool host_list_has(const char *list, int cpu);

/* How many CPUs it names. */
uint32_t host_list_count(const char *list);

/* The CPU that took most of the interrupts of the lines that name this queue; -1: none did. */
int host_interrupt_cpu(const char *queue);

#endif
