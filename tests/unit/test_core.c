/* test_core.c: the poll loop: sets that take turns, a clock that stands still with its set, and a
 * clean end. Threads are real; orders and counts are asserted, no durations. */
#include "engine/core.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PAUSE_NS 200000000ull

/* A task that counts what is done to it. The loop's thread writes; the test reads only what stands
 * still, or has been joined. */
struct probe {
    pthread_t opened_on;
    uint32_t opens;
    uint32_t closes;
    uint32_t stops;
    uint32_t polls_to_stop; /* After stop(), until it is stopped. */
    int open_result;
    bool wrong_thread;
    bool clock_fell;
    bool closed_early; /* Before it was stopped. */
    uint64_t opened_ns;
    uint64_t last_ns;
    uint64_t jump_ns; /* Largest step of its clock. */
    _Atomic uint64_t polls;
};

static struct probe probes[4];
static struct core core;
static _Atomic uint32_t entered;
static _Atomic uint32_t left;

static int probe_open(void *context, uint64_t now_ns, struct fault *fault)
{
    struct probe *probe = context;
    probe->opened_on = pthread_self();
    probe->opens++;
    probe->opened_ns = now_ns;
    probe->last_ns = now_ns;
    if (probe->open_result != 0) {
        fault_set(fault, FAULT_FAILED, "this task does not open");
    }
    return probe->open_result;
}

static uint32_t probe_poll(void *context, uint64_t now_ns)
{
    struct probe *probe = context;
    probe->wrong_thread |= !pthread_equal(probe->opened_on, pthread_self());
    probe->clock_fell |= now_ns < probe->last_ns;
    uint64_t jump_ns = now_ns - probe->last_ns;
    probe->jump_ns = jump_ns > probe->jump_ns ? jump_ns : probe->jump_ns;
    probe->last_ns = now_ns;
    if (probe->stops > 0 && probe->polls_to_stop > 0) {
        probe->polls_to_stop--;
    }
    atomic_fetch_add(&probe->polls, 1);
    return 1;
}

static bool probe_is_working(const void *context)
{
    (void)context;
    return false;
}

static uint64_t probe_deadline_ns(const void *context)
{
    (void)context;
    return UINT64_MAX;
}

static void probe_stop(void *context)
{
    struct probe *probe = context;
    probe->stops++;
}

static bool probe_is_stopped(const void *context)
{
    const struct probe *probe = context;
    return probe->stops > 0 && probe->polls_to_stop == 0;
}

static void probe_close(void *context)
{
    struct probe *probe = context;
    probe->closes++;
    probe->closed_early = probe->opens > 0 && !probe_is_stopped(probe);
}

static void enter(void)
{
    atomic_fetch_add(&entered, 1);
}

static void leave(void)
{
    atomic_fetch_add(&left, 1);
}

static struct core_task task_of(struct probe *probe)
{
    return (struct core_task){.context = probe,
                              .open = probe_open,
                              .poll = probe_poll,
                              .is_working = probe_is_working,
                              .deadline_ns = probe_deadline_ns,
                              .stop = probe_stop,
                              .is_stopped = probe_is_stopped,
                              .close = probe_close};
}

/* Two sets of two tasks. */
static int setup(void **state)
{
    (void)state;
    memset(probes, 0, sizeof probes);
    atomic_store(&entered, 0);
    atomic_store(&left, 0);
    struct core_config config = {.cpu = -1, .idle = IDLE_YIELD, .enter = enter, .leave = leave};
    core_init(&core, &config);
    for (uint32_t i = 0; i < 2; i++) {
        struct core_set set = {.task_count = 2,
                               .tasks = {task_of(&probes[2 * i]), task_of(&probes[2 * i + 1])}};
        assert_int_equal(core_add_set(&core, &set), i);
    }
    return 0;
}

static void start(void)
{
    struct fault fault = {0};
    assert_int_equal(core_start(&core, &fault), 0);
}

static void nap(uint64_t ns)
{
    struct timespec time = {.tv_nsec = (long)ns};
    (void)nanosleep(&time, NULL);
}

/* Until each task of the set has been polled `count` times more. */
static void wait_polls(uint32_t set, uint64_t count)
{
    for (uint32_t i = 2 * set; i < 2 * set + 2; i++) {
        uint64_t wanted = atomic_load(&probes[i].polls) + count;
        while (atomic_load(&probes[i].polls) < wanted) {
            nap(100000);
        }
    }
}

static void everything_is_opened_and_nothing_is_polled_before_a_set_is_chosen(void **state)
{
    (void)state;
    start();
    nap(2000000);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(probes[i].opens, 1);
        assert_int_equal(atomic_load(&probes[i].polls), 0);
        assert_false(pthread_equal(probes[i].opened_on, pthread_self()));
    }
    assert_int_equal(atomic_load(&entered), 1);
    core_stop(&core);
    assert_int_equal(atomic_load(&left), 1);
}

static void one_set_runs_at_a_time_and_all_its_tasks_in_turn(void **state)
{
    (void)state;
    start();
    for (uint32_t round = 0; round < 6; round++) {
        uint32_t runs = round % 2;
        uint32_t rests = 1 - runs;
        core_select(&core, runs);
        uint64_t rested = atomic_load(&probes[2 * rests].polls);
        wait_polls(runs, 10);
        assert_int_equal(atomic_load(&probes[2 * rests].polls), rested);
        assert_int_equal(atomic_load(&probes[2 * rests + 1].polls), rested);
        core_select(&core, CORE_NONE);
        assert_int_equal(atomic_load(&probes[2 * runs].polls),
                         atomic_load(&probes[2 * runs + 1].polls));
    }
    core_stop(&core);
    for (uint32_t i = 0; i < 4; i++) {
        assert_false(probes[i].wrong_thread);
    }
}

static void clock_of_a_set_stands_still_with_it(void **state)
{
    (void)state;
    start();
    core_select(&core, 0);
    wait_polls(0, 100);
    core_select(&core, CORE_NONE);
    for (uint32_t i = 0; i < 2; i++) {
        probes[i].jump_ns = 0;
    }
    nap(PAUSE_NS);
    core_select(&core, 0);
    wait_polls(0, 100);
    core_select(&core, 1);
    nap(PAUSE_NS);
    core_select(&core, 0);
    wait_polls(0, 100);
    core_stop(&core);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(probes[i].jump_ns < PAUSE_NS);
        assert_false(probes[i].clock_fell);
        assert_true(probes[i].last_ns > probes[i].opened_ns);
    }
}

static void task_asked_to_stop_is_polled_until_it_has_and_closed_last(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        probes[i].polls_to_stop = 10 * (i + 1);
    }
    start();
    core_select(&core, 0); /* The other set is brought to its end too, though it never ran. */
    wait_polls(0, 1);
    core_stop(&core);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(probes[i].stops, 1);
        assert_int_equal(probes[i].polls_to_stop, 0);
        assert_int_equal(probes[i].closes, 1);
        assert_false(probes[i].closed_early);
    }
    assert_true(atomic_load(&probes[3].polls) >= 40);
    assert_int_equal(atomic_load(&left), 1);
}

static void task_that_does_not_open_ends_the_start_with_its_reason(void **state)
{
    (void)state;
    probes[1].open_result = -ENODEV;
    struct fault fault = {0};
    assert_int_equal(core_start(&core, &fault), -ENODEV);
    assert_string_equal(fault.text, "this task does not open");
    assert_int_equal(fault.code, FAULT_FAILED);
    assert_int_equal(probes[0].opens, 1);
    assert_int_equal(probes[2].opens, 0);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(probes[i].closes, 1);
        assert_int_equal(atomic_load(&probes[i].polls), 0);
    }
    assert_int_equal(atomic_load(&left), 1);
}

static void cpu_that_is_not_there_is_refused_by_its_number(void **state)
{
    (void)state;
    core.config.cpu = 100000;
    struct fault fault = {0};
    assert_int_equal(core_start(&core, &fault), -EINVAL);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "CPU 100000"));
    assert_int_equal(probes[0].opens, 0);
}

static void memory_is_sealed_once_everything_is_open(void **state)
{
    (void)state;
    struct mem mem;
    assert_int_equal(mem_open(&mem, 1u << 20), 0);
    core.config.mem = &mem;
    start();
    expect_assert_failure((void)mem_take(&mem, "late", 1, 64, 64));
    core_stop(&core);
    mem_close(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(everything_is_opened_and_nothing_is_polled_before_a_set_is_chosen,
                               setup),
        cmocka_unit_test_setup(one_set_runs_at_a_time_and_all_its_tasks_in_turn, setup),
        cmocka_unit_test_setup(clock_of_a_set_stands_still_with_it, setup),
        cmocka_unit_test_setup(task_asked_to_stop_is_polled_until_it_has_and_closed_last, setup),
        cmocka_unit_test_setup(task_that_does_not_open_ends_the_start_with_its_reason, setup),
        cmocka_unit_test_setup(cpu_that_is_not_there_is_refused_by_its_number, setup),
        cmocka_unit_test_setup(memory_is_sealed_once_everything_is_open, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
