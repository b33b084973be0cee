/* process.h: processes that were started earlier, told from others that got their number since.
 *
 * A process is its number and its start time; a signal goes through a descriptor of the process
 * whose start time was just read, so that it never hits another one.
 */
#ifndef ENGINE_LAB_PROCESS_H
#define ENGINE_LAB_PROCESS_H

#include "engine/base/assert.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_id {
    int64_t pid;    /* 0: none. */
    uint64_t start; /* In ticks since the machine's start. */
};

/* Of a process that runs; `pid` 0 when it does not. */
struct process_id process_find(pid_t pid);

/* Runs, stopped or not; a process that has ended and was not waited for does not. */
bool process_is_alive(struct process_id process);

/* Stopped by a signal. */
bool process_is_stopped(struct process_id process);

/* 0; -ESRCH when it is gone, or another -errno. */
int process_signal(struct process_id process, int number);

/* Wait until it has ended; false: it has not within the time. */
bool process_wait_end(struct process_id process, int timeout_ms);

/* Kill all whose network namespace is one of these, but this process and those it descends from.
 * They are looked for until none is found; returns how many were killed. The caller holds the
 * namespaces open, or their numbers might be others' by now. */
uint32_t process_kill_in(const uint64_t *inodes, uint32_t inode_count);

#endif
