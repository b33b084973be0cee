/* core.c: the poll loop.
 *
 * Invariant: exactly one of {a set's tasks, nothing} is touched between two changes of `active`.
 * The clock is read once an iteration, here and nowhere below.
 */
#define _GNU_SOURCE /* CPU affinity. */
#include "engine/core.h"

#include "engine/base/assert.h"
#include "engine/base/clock.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <time.h>

#define CORE_LEAVE    (UINT32_MAX - 1)
#define CORE_STARTING (UINT32_MAX - 2)
#define CORE_FAILED   (UINT32_MAX - 3)
#define CORE_NAP_NS   20000 /* Between two looks at what is wanted, when nothing runs. */

static void nap(void)
{
    struct timespec time = {.tv_nsec = CORE_NAP_NS};
    (void)nanosleep(&time, NULL);
}

int core_pin(int cpu)
{
    ASSERT(cpu >= 0);
    if (cpu >= CPU_SETSIZE) {
        return -EINVAL;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return -pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

bool core_cpu_is_own(int cpu, int other_cpu, int interrupt_cpu)
{
    ASSERT(cpu >= -1);
    bool known = cpu >= 0 && other_cpu >= 0 && interrupt_cpu >= 0;
    return known && cpu != other_cpu && cpu != interrupt_cpu;
}

void core_init(struct core *core, const struct core_config *config)
{
    ASSERT(config->cpu >= -1);
    *core = (struct core){.config = *config};
    atomic_init(&core->wanted, CORE_NONE);
    atomic_init(&core->active, CORE_STARTING);
}

uint32_t core_add_set(struct core *core, const struct core_set *set)
{
    ASSERT(core->set_count < CORE_SETS_MAX);
    ASSERT(set->task_count <= CORE_TASKS_MAX);
    ASSERT(set->fd_count <= IDLE_FDS_MAX);
    for (uint32_t i = 0; i < set->task_count; i++) {
        ASSERT(set->tasks[i].poll != NULL);
        ASSERT(set->tasks[i].is_working != NULL);
        ASSERT(set->tasks[i].deadline_ns != NULL);
    }
    core->sets[core->set_count] = *set;
    return core->set_count++;
}

static void clock_stop(struct core_clock *clock, uint64_t now_ns)
{
    ASSERT(clock->running);
    clock->running = false;
    clock->since_ns = now_ns;
}

static void clock_run(struct core_clock *clock, uint64_t now_ns)
{
    ASSERT(!clock->running);
    ASSERT(now_ns >= clock->since_ns);
    clock->running = true;
    clock->stopped_ns += now_ns - clock->since_ns;
}

static int open_set(struct core *core, uint32_t number, uint64_t now_ns)
{
    struct core_set *set = &core->sets[number];
    core->clocks[number] = (struct core_clock){.since_ns = now_ns};
    idle_init(&core->idles[number], core->config.idle, set->fds, set->fd_count,
              core->config.exclusive_core && idle_thread_has_one_cpu());
    for (uint32_t i = 0; i < set->task_count; i++) {
        struct core_task *task = &set->tasks[i];
        int result = task->open != NULL ? task->open(task->context, now_ns, &core->fault) : 0;
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

static int open_all(struct core *core)
{
    int result = core->config.cpu >= 0 ? core_pin(core->config.cpu) : 0;
    if (result != 0) {
        fault_set(
            &core->fault, FAULT_ENVIRONMENT,
            "cannot run on CPU %d: it does not exist or is not allowed to this process; choose "
            "others with --cpu",
            core->config.cpu);
        return result;
    }
    uint64_t now_ns = clock_now_ns();
    for (uint32_t i = 0; i < core->set_count && result == 0; i++) {
        result = open_set(core, i, now_ns);
    }
    if (result == 0 && core->config.mem != NULL) {
        mem_seal(core->config.mem);
    }
    return result;
}

static void close_all(struct core *core)
{
    for (uint32_t i = 0; i < core->set_count; i++) {
        for (uint32_t j = 0; j < core->sets[i].task_count; j++) {
            struct core_task *task = &core->sets[i].tasks[j];
            if (task->close != NULL) {
                task->close(task->context);
            }
        }
    }
}

/* One iteration of one set. */
static void poll_set(struct core *core, uint32_t number)
{
    struct core_set *set = &core->sets[number];
    uint64_t now_ns = clock_now_ns();
    uint64_t stopped_ns = core->clocks[number].stopped_ns;
    ASSERT(core->clocks[number].running);
    ASSERT(now_ns >= stopped_ns);

    uint32_t work = 0;
    bool is_working = false;
    uint64_t deadline_ns = UINT64_MAX;
    for (uint32_t i = 0; i < set->task_count; i++) {
        struct core_task *task = &set->tasks[i];
        work += task->poll(task->context, now_ns - stopped_ns);
        is_working = task->is_working(task->context) || is_working;
    }
    for (uint32_t i = 0; work == 0 && i < set->task_count; i++) {
        const struct core_task *task = &set->tasks[i];
        ASSERT(task->deadline_ns != NULL);
        uint64_t wanted_ns = task->deadline_ns(task->context);
        deadline_ns = wanted_ns < deadline_ns ? wanted_ns : deadline_ns;
    }
    if (deadline_ns < UINT64_MAX - stopped_ns) {
        deadline_ns += stopped_ns;
    }
    idle_step(&core->idles[number], now_ns, work, work > 0 && is_working, deadline_ns);
}

/* Let the tasks of a set come to a clean end. */
static void stop_set(struct core *core, uint32_t number)
{
    struct core_set *set = &core->sets[number];
    uint64_t begin_ns = clock_now_ns();
    clock_run(&core->clocks[number], begin_ns);
    for (uint32_t i = 0; i < set->task_count; i++) {
        if (set->tasks[i].stop != NULL) {
            set->tasks[i].stop(set->tasks[i].context);
        }
    }
    bool stopped = false;
    while (!stopped && clock_now_ns() - begin_ns < CORE_STOP_NS) {
        poll_set(core, number);
        stopped = true;
        for (uint32_t i = 0; i < set->task_count; i++) {
            struct core_task *task = &set->tasks[i];
            stopped = stopped && (task->is_stopped == NULL || task->is_stopped(task->context));
        }
    }
    clock_stop(&core->clocks[number], clock_now_ns());
}

static void run(struct core *core)
{
    uint32_t current = CORE_NONE;
    while (true) {
        uint32_t wanted = atomic_load_explicit(&core->wanted, memory_order_acquire);
        if (wanted != current) {
            uint64_t now_ns = clock_now_ns();
            if (current < core->set_count) {
                clock_stop(&core->clocks[current], now_ns);
            }
            if (wanted < core->set_count) {
                clock_run(&core->clocks[wanted], now_ns);
            }
            current = wanted;
            atomic_store_explicit(&core->active, current, memory_order_release);
        }
        if (current == CORE_LEAVE) {
            break;
        }
        if (current == CORE_NONE) {
            nap();
        } else {
            poll_set(core, current);
        }
    }
}

static void *thread_main(void *argument)
{
    struct core *core = argument;
    if (core->config.enter != NULL) {
        core->config.enter();
    }
    core->open_result = open_all(core);
    if (core->open_result == 0) {
        atomic_store_explicit(&core->active, CORE_NONE, memory_order_release);
        run(core);
        for (uint32_t i = 0; i < core->set_count; i++) {
            stop_set(core, i);
        }
    }
    close_all(core);
    if (core->config.leave != NULL) {
        core->config.leave();
    }
    atomic_store_explicit(&core->active, CORE_FAILED, memory_order_release);
    return NULL;
}

int core_start(struct core *core, struct fault *fault)
{
    ASSERT(core->set_count > 0);
    int result = -pthread_create(&core->thread, NULL, thread_main, core);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot make a thread for the replicas");
        return result;
    }
    (void)pthread_setname_np(core->thread, "thole-core"); /* For top and perf; no matter if not. */
    uint32_t active = CORE_STARTING;
    while (active == CORE_STARTING) {
        nap();
        active = atomic_load_explicit(&core->active, memory_order_acquire);
    }
    if (active == CORE_FAILED) {
        result = pthread_join(core->thread, NULL);
        ASSERT(result == 0);
        ASSERT(core->open_result != 0);
        *fault = core->fault;
        return core->open_result;
    }
    return 0;
}

void core_select(struct core *core, uint32_t set)
{
    ASSERT(set == CORE_NONE || set < core->set_count);
    atomic_store_explicit(&core->wanted, set, memory_order_release);
    while (atomic_load_explicit(&core->active, memory_order_acquire) != set) {
        nap();
    }
}

void core_stop(struct core *core)
{
    atomic_store_explicit(&core->wanted, CORE_LEAVE, memory_order_release);
    int result = pthread_join(core->thread, NULL);
    ASSERT(result == 0);
}
