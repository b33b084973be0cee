/* idle.c: see idle.h. */
#define _GNU_SOURCE /* ppoll, CPU sets */
#include "engine/idle.h"

#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define NS_PER_S       1000000000ull
#define TIMER_SLACK_NS 1000ul /* The kernel's default of 50 us would double a nap. */

static const char *const mode_names[] = {
    [IDLE_AUTO] = "auto",   [IDLE_SPIN] = "spin",   [IDLE_YIELD] = "yield",
    [IDLE_BLOCK] = "block", [IDLE_SLEEP] = "sleep",
};
#define MODE_COUNT (sizeof(mode_names) / sizeof(mode_names[0]))

bool idle_mode_parse(const char *name, enum idle_mode *mode)
{
    for (uint32_t i = 0; i < MODE_COUNT; i++) {
        if (strcmp(name, mode_names[i]) == 0) {
            *mode = (enum idle_mode)i;
            return true;
        }
    }
    return false;
}

const char *idle_mode_name(enum idle_mode mode)
{
    ASSERT((uint32_t)mode < MODE_COUNT);
    return mode_names[mode];
}

bool idle_thread_has_one_cpu(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1;
}

void idle_init(
    struct idle *idle, enum idle_mode mode, const int *fds, uint32_t fd_count, bool exclusive_core)
{
    ASSERT((uint32_t)mode < MODE_COUNT);
    ASSERT(fd_count <= IDLE_FDS_MAX);
    *idle = (struct idle){.mode = mode, .exclusive_core = exclusive_core};
    for (uint32_t i = 0; i < fd_count; i++) {
        if (fds[i] < 0) {
            idle->napping = true;
            continue;
        }
        idle->fds[idle->fd_count++] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0ul, 0ul, 0ul);
}

/* Sleep until a descriptor is ready, the deadline, or `nap_ns`, whichever is first. */
static void idle_wait(struct idle *idle, uint64_t now_ns, uint64_t deadline_ns, uint64_t nap_ns)
{
    if (deadline_ns <= now_ns) {
        return;
    }
    uint64_t wait_ns = deadline_ns == UINT64_MAX ? UINT64_MAX : deadline_ns - now_ns;
    wait_ns = wait_ns < nap_ns ? wait_ns : nap_ns;
    bool forever = wait_ns == UINT64_MAX;
    struct timespec timeout = {
        .tv_sec = (time_t)(wait_ns / NS_PER_S),
        .tv_nsec = (long)(wait_ns % NS_PER_S),
    };
    idle->wait_count++;
    /* An error (a signal) and a readiness alike: the caller polls, and finds out itself. */
    (void)ppoll(idle->fds, idle->fd_count, forever ? NULL : &timeout, NULL);
}

static void idle_yield(struct idle *idle)
{
    idle->yield_count++;
    (void)sched_yield();
}

static void idle_block(struct idle *idle, uint64_t now_ns, uint64_t deadline_ns)
{
    if (now_ns - idle->last_work_ns < IDLE_SPIN_NS) {
        return;
    }
    idle_wait(idle, now_ns, deadline_ns, idle->napping ? IDLE_NAP_NS : UINT64_MAX);
}

static void idle_auto(struct idle *idle, uint64_t now_ns, uint64_t deadline_ns)
{
    if (idle->exclusive_core) {
        return;
    }
    if (now_ns - idle->last_client_work_ns < IDLE_BUSY_NS) {
        idle_yield(idle);
        return;
    }
    idle_block(idle, now_ns, deadline_ns);
}

void idle_step(struct idle *idle,
               uint64_t now_ns,
               uint32_t work,
               bool log_or_client_work,
               uint64_t deadline_ns)
{
    ASSERT(now_ns >= idle->last_work_ns);
    ASSERT(!log_or_client_work || work > 0);
    if (log_or_client_work) {
        idle->last_client_work_ns = now_ns;
    }
    if (work > 0) {
        idle->last_work_ns = now_ns;
        return;
    }
    switch (idle->mode) {
    case IDLE_AUTO:
        idle_auto(idle, now_ns, deadline_ns);
        return;
    case IDLE_SPIN:
        return;
    case IDLE_YIELD:
        idle_yield(idle);
        return;
    case IDLE_BLOCK:
        idle_block(idle, now_ns, deadline_ns);
        return;
    case IDLE_SLEEP:
        idle_wait(idle, now_ns, deadline_ns, IDLE_NAP_NS);
        return;
    }
}
