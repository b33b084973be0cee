/* test_bench_load.c: the schedule of the load, its clock, and the fates of records. */
#include "bench/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#define MS 1000000ull

struct sent {
    uint64_t first;
    uint64_t count;
    uint64_t calls;
};

static void take(void *context, uint64_t first_sequence, uint32_t count, uint64_t now_ns)
{
    (void)now_ns;
    struct sent *sent = context;
    if (sent->calls == 0) {
        sent->first = first_sequence;
    }
    assert_int_equal(first_sequence, sent->first + sent->count);
    sent->count += count;
    sent->calls++;
}

static struct mem mem;
static struct load load;

static void begin(struct load_config config)
{
    assert_int_equal(mem_open(&mem, load_memory_bytes(&config)), 0);
    load_init(&load, &mem, &config);
}

static int end(void **state)
{
    (void)state;
    mem_close(&mem);
    return 0;
}

static void open_loop_sends_what_is_due_and_nothing_before(void **state)
{
    (void)state;
    begin((struct load_config){.uniform = true, .rate_per_s = 1000, .outstanding_max = 64});
    struct sent sent = {0};
    load_resume(&load, 5 * MS);
    assert_int_equal(load_step(&load, 5 * MS, take, &sent), 1); /* The first is due at once. */
    assert_int_equal(load_step(&load, 5 * MS + MS - 1, take, &sent), 0);
    assert_int_equal(load_deadline_ns(&load), 6 * MS);
    assert_int_equal(load_step(&load, 8 * MS, take, &sent), 3);
}

static void response_counts_from_the_due_time_and_service_from_the_send(void **state)
{
    (void)state;
    begin((struct load_config){.uniform = true, .rate_per_s = 1000, .outstanding_max = 64});
    struct sent sent = {0};
    load_resume(&load, 0);
    assert_int_equal(load_step(&load, 4 * MS, take, &sent), 5);
    load_answered(&load, 0, 5, WIRE_OK, 6 * MS);
    assert_int_equal(load.response->max, 6 * MS);
    assert_int_equal(load.service->max, 2 * MS);
    assert_int_equal(load.delay->max, 4 * MS);
    assert_int_equal(load.counts.acked, 5);
    assert_int_equal(load.outstanding, 0);
}

static void waiting_for_room_is_not_the_senders_own_delay(void **state)
{
    (void)state;
    begin((struct load_config){.uniform = true, .rate_per_s = 1000, .outstanding_max = 2});
    struct sent sent = {0};
    load_resume(&load, 0);
    assert_int_equal(load_step(&load, 1 * MS, take, &sent), 2);
    assert_int_equal(load_step(&load, 9 * MS, take, &sent), 0);
    assert_int_equal(load_deadline_ns(&load), UINT64_MAX);
    load_answered(&load, 0, 2, WIRE_OK, 10 * MS);
    assert_int_equal(load_step(&load, 10 * MS, take, &sent), 2);
    assert_int_equal(load.delay->max, 1 * MS);
    load_answered(&load, 2, 2, WIRE_OK, 11 * MS);
    assert_int_equal(load.response->max, 10 * MS); /* Due at 1 ms: the wait is in the response. */
}

static void the_clock_stands_still_between_slices(void **state)
{
    (void)state;
    begin((struct load_config){.uniform = true, .rate_per_s = 1000, .outstanding_max = 64});
    struct sent sent = {0};
    load_resume(&load, 0);
    assert_int_equal(load_step(&load, 2 * MS, take, &sent), 3);
    load_stop(&load, 2 * MS);
    load_answered(&load, 0, 3, WIRE_OK, 3 * MS);
    load_resume(&load, 1000 * MS);
    assert_int_equal(load_step(&load, 1000 * MS, take, &sent), 0);
    assert_int_equal(load_step(&load, 1001 * MS, take, &sent), 1);
    load_answered(&load, 3, 1, WIRE_OK, 1001 * MS);
    assert_int_equal(load.response->max, 3 * MS);
}

static void what_was_due_and_never_sent_counts_as_scheduled(void **state)
{
    (void)state;
    begin((struct load_config){.uniform = true, .rate_per_s = 1000, .outstanding_max = 4});
    struct sent sent = {0};
    load_resume(&load, 0);
    assert_int_equal(load_step(&load, 100 * MS, take, &sent), 4);
    load_stop(&load, 100 * MS);
    load_abandon(&load);
    load_finish(&load);
    assert_int_equal(load.counts.unanswered, 4);
    assert_int_equal(load.counts.scheduled, 100);
    assert_int_equal(load.counts.sent, 4);
}

static void refused_and_late_answers_are_counted_apart(void **state)
{
    (void)state;
    begin((struct load_config){.closed = true, .outstanding_max = 4});
    struct sent sent = {0};
    load_resume(&load, 0);
    assert_int_equal(load_step(&load, 1, take, &sent), 4);
    load_answered(&load, 0, 1, WIRE_BUSY, 2);
    load_answered(&load, 1, 2, WIRE_OK, 2);
    load_unanswered(&load, 3, 1);
    load_answered(&load, 3, 1, WIRE_OK, 3);
    load_answered(&load, 70, 1, WIRE_OK, 3);
    assert_int_equal(load.counts.refused[WIRE_BUSY], 1);
    assert_int_equal(load.counts.acked, 2);
    assert_int_equal(load.counts.unanswered, 1);
    assert_int_equal(load.counts.late, 2);
    assert_int_equal(load_step(&load, 4, take, &sent), 4); /* The closed loop goes on. */
}

static void poisson_arrivals_keep_the_rate_and_repeat_with_their_seed(void **state)
{
    (void)state;
    uint64_t counts[2];
    for (uint32_t i = 0; i < 2; i++) {
        begin((struct load_config){.rate_per_s = 100000, .outstanding_max = 65536, .seed = 42});
        struct sent sent = {0};
        load_resume(&load, 0);
        counts[i] = load_step(&load, 500 * MS, take, &sent);
        mem_close(&mem);
    }
    assert_int_equal(counts[0], counts[1]);
    assert_in_range(counts[0], 48000, 52000); /* 50,000, nine standard deviations to each side. */
    begin((struct load_config){.closed = true, .outstanding_max = 1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(open_loop_sends_what_is_due_and_nothing_before, end),
        cmocka_unit_test_teardown(response_counts_from_the_due_time_and_service_from_the_send, end),
        cmocka_unit_test_teardown(waiting_for_room_is_not_the_senders_own_delay, end),
        cmocka_unit_test_teardown(the_clock_stands_still_between_slices, end),
        cmocka_unit_test_teardown(what_was_due_and_never_sent_counts_as_scheduled, end),
        cmocka_unit_test_teardown(refused_and_late_answers_are_counted_apart, end),
        cmocka_unit_test_teardown(poisson_arrivals_keep_the_rate_and_repeat_with_their_seed, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
