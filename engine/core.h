/* core.h: a pinned poll loop: one thread on one CPU that polls several things in turn.
 *
 * What is polled together is a set: the replicas of this process, or a benchmark's floor. One set
 * runs at a time. The others stand still, and so does their clock: the time that a set is given is
 * the monotonic clock less all the time during which the set did not run, so that a replica that
 * was set aside sees no elapsed time, and no election begins when it comes back.
 *
 * Everything is opened on the loop's own thread (a disk belongs to the thread that first submits),
 * and the memory is sealed before the first poll. The loop must not know what it polls.
 */
#ifndef ENGINE_CORE_H
#define ENGINE_CORE_H

#include "engine/base/fault.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/idle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* One thing to poll. The functions run on the loop's thread, `open` first and once. */
struct core_task {
    void *context;
    int (*open)(void *context,
                uint64_t now_ns,
                struct fault *fault);                 /* 0 or -errno. May be NULL. */
    uint32_t (*poll)(void *context, uint64_t now_ns); /* Returns the work done. */
    bool (*is_working)(const void *context);          /* Log or client work (idle policy). */
    uint64_t (*deadline_ns)(const void *context);     /* In the set's time; UINT64_MAX: none. */
    /* A clean end: asked to stop, the task is polled until it has, at most CORE_STOP_NS. Both may
     * be NULL: there is nothing to wait for. */
    void (*stop)(void *context);
    bool (*is_stopped)(const void *context);
    void (*close)(void *context); /* May be NULL. */
};

struct core_set {
    uint32_t task_count;
    struct core_task tasks[CORE_TASKS_MAX];
    uint32_t fd_count;
    int fds[IDLE_FDS_MAX]; /* Wait descriptors of its nics and disks; -1: has none. */
};

struct core_config {
    int cpu; /* -1: not pinned. */
    enum idle_mode idle;
    bool exclusive_core; /* core_cpu_is_own(); the affinity of the thread is looked at besides. */
    struct mem *mem;     /* Sealed when everything is open. NULL: the caller's business. */
    void (*enter)(void); /* On the thread, first and last; may be NULL. */
    void (*leave)(void);
};

#define CORE_STOP_NS 2000000000u /* Longest wait for a clean end. */
#define CORE_NONE    UINT32_MAX  /* Every set stands still. */

struct core_clock {
    uint64_t stopped_ns; /* Sum of the time during which the set did not run. */
    uint64_t since_ns;   /* It stands still since then. */
    bool running;
};

struct core {
    struct core_config config;
    uint32_t set_count;
    struct core_set sets[CORE_SETS_MAX];
    struct core_clock clocks[CORE_SETS_MAX];
    struct idle idles[CORE_SETS_MAX];
    pthread_t thread;
    struct fault fault; /* Of the opening. */
    int open_result;
    _Atomic uint32_t wanted; /* Set number, CORE_NONE, or CORE_LEAVE. */
    _Atomic uint32_t active; /* What the loop runs; CORE_STARTING until everything is open. */
};

/* Begin with no set. */
void core_init(struct core *core, const struct core_config *config);

/* Copy a set in; returns its number. Before core_start(). */
uint32_t core_add_set(struct core *core, const struct core_set *set);

/* Make the thread, open every task, seal the memory. Returns with all sets standing still: 0, or
 * -errno with the fault told; then the thread is gone. */
MUST_USE int core_start(struct core *core, struct fault *fault);

/* Let `set` run (CORE_NONE: none) and return when it does and the one before does not any more:
 * until the next call the caller may read whatever belongs to a set that stands still. */
void core_select(struct core *core, uint32_t set);

/* Stop and close every task on the thread, and join it. */
void core_stop(struct core *core);

/* Pin the calling thread. 0 or -errno. */
MUST_USE int core_pin(int cpu);

/* Whether a loop that the user put on `cpu` has it to itself as far as can be known: no other
 * thread of ours (`other_cpu`) and no interrupt of the disk is there. -1: not pinned or not known,
 * and then it has not: to spin on a shared CPU is what delays completions. */
bool core_cpu_is_own(int cpu, int other_cpu, int interrupt_cpu);

#endif
