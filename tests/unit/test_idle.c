/* test_idle.c: Idle policies: who yields, who waits, and what ends a wait. Orders and counts, no
 * durations. */
#include "engine/idle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define START_NS 1000000000000ull /* Any time: steps take their clock from the caller. */

static void every_mode_has_a_name_that_parses(void **state)
{
    (void)state;
    for (uint32_t i = IDLE_AUTO; i <= IDLE_SLEEP; i++) {
        enum idle_mode mode = IDLE_AUTO;
        assert_true(idle_mode_parse(idle_mode_name((enum idle_mode)i), &mode));
        assert_int_equal(mode, i);
    }
    enum idle_mode mode = IDLE_YIELD;
    assert_false(idle_mode_parse("snooze", &mode));
    assert_int_equal(mode, IDLE_YIELD);
}

static void spin_never_gives_the_core_away(void **state)
{
    (void)state;
    struct idle idle;
    idle_init(&idle, IDLE_SPIN, NULL, 0, false);
    for (uint64_t i = 0; i < 100; i++) {
        idle_step(&idle, START_NS + i * IDLE_BUSY_NS, 0, false, UINT64_MAX);
    }
    assert_int_equal(idle.yield_count, 0);
    assert_int_equal(idle.wait_count, 0);
}

static void yield_yields_on_every_empty_poll_and_on_no_other(void **state)
{
    (void)state;
    struct idle idle;
    idle_init(&idle, IDLE_YIELD, NULL, 0, false);
    for (uint64_t i = 0; i < 100; i++) {
        idle_step(&idle, START_NS + i, i % 2 == 0, false, UINT64_MAX);
    }
    assert_int_equal(idle.yield_count, 50);
    assert_int_equal(idle.wait_count, 0);
}

static void block_spins_first_and_then_waits(void **state)
{
    (void)state;
    struct idle idle;
    int without = -1;
    idle_init(&idle, IDLE_BLOCK, &without, 1, false);
    idle_step(&idle, START_NS, 1, true, UINT64_MAX);
    idle_step(&idle, START_NS + IDLE_SPIN_NS - 1, 0, false, UINT64_MAX);
    assert_int_equal(idle.wait_count, 0);
    idle_step(&idle, START_NS + IDLE_SPIN_NS, 0, false,
              UINT64_MAX); /* Naps: there is no descriptor. */
    assert_int_equal(idle.wait_count, 1);
    assert_int_equal(idle.yield_count, 0);
}

static void a_readable_descriptor_ends_a_wait_without_deadline(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    struct idle idle;
    idle_init(&idle, IDLE_BLOCK, ends, 1, false);
    idle_step(&idle, START_NS, 0, false, UINT64_MAX);
    assert_int_equal(idle.wait_count, 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void the_deadline_ends_a_wait_and_a_past_one_prevents_it(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct idle idle;
    idle_init(&idle, IDLE_BLOCK, ends, 1, false);
    uint64_t now_ns = clock_ns();
    idle_step(&idle, now_ns, 0, false, now_ns + 2000000);
    assert_true(clock_ns() >= now_ns + 2000000);
    assert_int_equal(idle.wait_count, 1);
    idle_step(&idle, now_ns + 1, 0, false, now_ns);
    assert_int_equal(idle.wait_count, 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void auto_spins_on_an_own_core(void **state)
{
    (void)state;
    struct idle idle;
    idle_init(&idle, IDLE_AUTO, NULL, 0, true);
    idle_step(&idle, START_NS, 0, false, UINT64_MAX);
    assert_int_equal(idle.yield_count + idle.wait_count, 0);
}

static void auto_yields_after_client_work_and_blocks_when_it_is_old(void **state)
{
    (void)state;
    struct idle idle;
    int without = -1;
    idle_init(&idle, IDLE_AUTO, &without, 1, false);
    idle_step(&idle, START_NS, 1, true, UINT64_MAX);
    idle_step(&idle, START_NS + IDLE_BUSY_NS - 1, 0, false, UINT64_MAX);
    assert_int_equal(idle.yield_count, 1);
    /* A heartbeat is work, but not a client's. */
    idle_step(&idle, START_NS + IDLE_BUSY_NS, 1, false, UINT64_MAX);
    idle_step(&idle, START_NS + IDLE_BUSY_NS + IDLE_SPIN_NS, 0, false, UINT64_MAX);
    assert_int_equal(idle.yield_count, 1);
    assert_int_equal(idle.wait_count, 1);
}

static void a_clock_that_runs_backwards_is_asserted(void **state)
{
    (void)state;
    struct idle idle;
    idle_init(&idle, IDLE_SPIN, NULL, 0, false);
    idle_step(&idle, START_NS, 1, false, UINT64_MAX);
    expect_assert_failure(idle_step(&idle, START_NS - 1, 0, false, UINT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mode_has_a_name_that_parses),
        cmocka_unit_test(spin_never_gives_the_core_away),
        cmocka_unit_test(yield_yields_on_every_empty_poll_and_on_no_other),
        cmocka_unit_test(block_spins_first_and_then_waits),
        cmocka_unit_test(a_readable_descriptor_ends_a_wait_without_deadline),
        cmocka_unit_test(the_deadline_ends_a_wait_and_a_past_one_prevents_it),
        cmocka_unit_test(auto_spins_on_an_own_core),
        cmocka_unit_test(auto_yields_after_client_work_and_blocks_when_it_is_old),
        cmocka_unit_test(a_clock_that_runs_backwards_is_asserted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
