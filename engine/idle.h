/* idle.h: what a poll loop does when it found nothing to do.
 *
 * Spinning is right on a core of one's own and ruinous on a shared one: the thread that completes
 * durable writes is then delayed by a scheduler tick, 4 ms instead of 80 us. So the policy is
 * chosen at start and stamped on results. Knows descriptors and the clock's value; no DPDK, no
 * io_uring.
 */
#ifndef ENGINE_IDLE_H
#define ENGINE_IDLE_H

#include "engine/base/assert.h"
#include "engine/base/limits.h"

#include <poll.h>
#include <stdint.h>

enum idle_mode {
    IDLE_AUTO,  /* Spin on an own core; else yield while there is work for clients, else block. */
    IDLE_SPIN,  /* Never give the core away. */
    IDLE_YIELD, /* sched_yield() on every empty poll. */
    IDLE_BLOCK, /* Spin IDLE_SPIN_NS, then wait for a descriptor or the deadline. */
    IDLE_SLEEP, /* Short naps: for guests, whose yield does not reach the host. */
};

struct idle {
    enum idle_mode mode;
    bool exclusive_core; /* The caller's finding: one CPU allowed, no other poller on it. */
    bool napping;        /* A port has no descriptor: waits are naps of at most IDLE_NAP_NS. */
    uint32_t fd_count;
    struct pollfd fds[IDLE_FDS_MAX];
    uint64_t last_work_ns;        /* Of the last poll that did any work. */
    uint64_t last_client_work_ns; /* Of the last one that did log or client work. */
    uint64_t yield_count;         /* For metrics. */
    uint64_t wait_count;
};

/* Begin, on the thread that polls (its timer slack is lowered). `fds` are the wait descriptors of
 * its nics and disks, -1 for a device that has none. */
void idle_init(
    struct idle *idle, enum idle_mode mode, const int *fds, uint32_t fd_count, bool exclusive_core);

/* Once an iteration, with what it did: `work` of any kind, and whether some of it was for the log
 * or a client (heartbeats are not). Returns at once after work; otherwise as the mode says, at the
 * latest about `deadline_ns` (the caller's next timer, UINT64_MAX: none). `now_ns` is
 * CLOCK_MONOTONIC's, as read by this iteration. */
void idle_step(struct idle *idle,
               uint64_t now_ns,
               uint32_t work,
               bool log_or_client_work,
               uint64_t deadline_ns);

/* The mode of a name ("auto", "spin", ...). False: no such mode, `*mode` untouched. */
MUST_USE bool idle_mode_parse(const char *name, enum idle_mode *mode);
const char *idle_mode_name(enum idle_mode mode);

/* True when the calling thread may run on exactly one CPU. What else runs there the caller knows:
 * core_cpu_is_own(). */
bool idle_thread_has_one_cpu(void);

#endif
