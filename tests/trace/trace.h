/* trace.h: between a script's text (trace.c) and its commands (commands.c). */
#ifndef TESTS_TRACE_TRACE_H
#define TESTS_TRACE_TRACE_H

#include "engine/raft/raft.h"

#include <stdint.h>

#define TRACE_NODES_MAX 8u /* Node ids below it. */

/* Add to the output of the command under way. */
__attribute__((format(printf, 1, 2))) void trace_print(const char *format, ...);

/* The script cannot be run: say why and exit with 2. */
_Noreturn void trace_stop(const char *why, const char *what);

/* Run one command; `line` is taken apart. */
void commands_run(char *line);

/* Who has another role now; `roles` and `terms` are what was told before, indexed by node. */
void commands_print_roles(enum raft_role *roles, uint64_t *terms);
void commands_check(void);
void commands_fini(void);

#endif
