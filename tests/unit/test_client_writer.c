/* test_client_writer.c: each record once and in order, and an outcome that is true. */
#include "tests/support/writers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Fair weather. ---- */

static void records_are_committed_in_order_in_full_requests(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    session_model_append(f->model);
    assert_int_equal(writers_append(f, 0, 1000), 1000);
    writers_run_out(f);
    writers_assert_fates(&f->authors[0], 1000, 0, 0, 0);
    assert_int_equal(f->authors[0].outcomes[0].first_offset, 1);
    assert_int_equal(f->authors[0].outcomes[999].first_offset, 1000);
    assert_int_equal(f->authors[0].outcomes[999].first_sequence, 1000);
    assert_true(f->model->requests < 100); /* 1352 bytes hold some 14 records. */
    assert_int_equal(writer_counters(f->authors[0].writer)->requests_repeated, 0);
    assert_int_equal(f->model->opens, 1);
    writers_check_truth(f, 0);
    writers_end(f);
}

static void largest_record_travels_alone_in_fragments(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    static uint8_t large[RECORD_BYTES_MAX];
    memset(large, 0xa5, sizeof large);
    struct client_record records[] = {
        {.payload = large, .bytes = 10},   {.payload = large, .bytes = sizeof large}, {.bytes = 0},
        {.payload = large, .bytes = 2000}, {.payload = large, .bytes = 20},
    };
    struct author *author = &f->authors[0];
    author->taken = writer_append(author->writer, f->now_ns, records, 5);
    assert_int_equal(author->taken, 5);
    writers_run_out(f);
    writers_assert_fates(author, 5, 0, 0, 0);
    assert_int_equal(f->model->requests, 5);
    for (uint32_t i = 0; i < 5; i++) {
        const struct model_entry *entry = session_model_record(f->model, i);
        assert_int_equal(entry->bytes, records[i].bytes);
        assert_memory_equal(entry->payload, large, entry->bytes);
    }
    writers_end(f);
}

static void memory_is_a_bound_and_room_comes_back(void **state)
{
    (void)state;
    struct writer_config config = writers_named();
    config.records_max = 100;
    config.bytes_max = WRITER_BYTES_MIN;
    struct writers *f = writers_begin_with(1, config);
    struct author *author = &f->authors[0];
    f->model->leader = 0;
    assert_int_equal(writers_append(f, 0, 200), 100);
    assert_int_equal(writers_append(f, 0, 1), 0);
    assert_int_equal(writer_pending(author->writer), 100);
    f->model->leader = 2;
    for (uint32_t i = 0; i < 3000; i++) { /* Around the ring's end, and never more than it holds. */
        (void)writers_append(f, 0, 7);
        writers_step(f);
        assert_true(writer_pending(author->writer) <= 100);
    }
    writers_run_out(f);
    assert_true(author->taken > 10000);
    assert_int_equal(author->fate_count[WRITER_COMMITTED], author->taken);
    writers_check_truth(f, 0);
    writers_end(f);
}

static void largest_records_fit_the_least_memory_one_by_one(void **state)
{
    (void)state;
    struct writer_config config = writers_named();
    config.bytes_max = WRITER_BYTES_MIN;
    struct writers *f = writers_begin_with(1, config);
    struct author *author = &f->authors[0];
    static uint8_t large[RECORD_BYTES_MAX];
    struct client_record record = {.payload = large, .bytes = sizeof large};
    for (uint32_t i = 0; i < 3; i++) {
        author->taken += writer_append(author->writer, f->now_ns, &record, 1);
        assert_int_equal(author->taken, i + 1);
        assert_int_equal(writer_append(author->writer, f->now_ns, &record, 1), 0);
        writers_run_out(f);
    }
    writers_assert_fates(author, 3, 0, 0, 0);
    writers_end(f);
}

static void no_more_requests_are_under_way_than_a_session_remembers(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    f->model->commits = false;
    (void)writers_append(f, 0, 1);
    writers_step(f);
    writers_step(f);
    session_model_commit(f->model, 1);
    f->model->requests = 0;
    (void)writers_append(f, 0, 1000);
    for (uint32_t i = 0; i < 10; i++) { /* Less than the time after which they are repeated. */
        writers_step(f);
    }
    assert_int_equal(f->model->requests, SESSION_REQUESTS_MAX);
    f->model->commits = true;
    writers_run_out(f);
    writers_check_truth(f, 0);
    writers_end(f);
}

/* ---- Repeating old numbers. ---- */

static void same_numbers_again_answer_their_old_offsets(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    (void)writers_append(f, 0, 100);
    writers_run_out(f);
    session_model_append(f->model);
    uint32_t count = f->model->log_count;
    struct author *author = &f->authors[0];
    writer_reopen(author->writer, WRITERS_CLIENT_ID + 50);
    writer_set_first(author->writer, 1);
    f->model->keeps = 60;
    author->taken = author->told = 0; /* The same texts again. */
    uint64_t before = writer_taken(author->writer);
    for (uint32_t i = 0; i < 120; i++) {
        uint8_t text[WRITERS_TEXT_BYTES + 90];
        struct client_record record = {.payload = text, .bytes = writers_text(0, i, text)};
        assert_int_equal(writer_append(author->writer, f->now_ns, &record, 1), 1);
    }
    author->taken = before + 120;
    author->told = before;
    while (author->told < author->taken) {
        writers_step(f);
    }
    assert_int_equal(f->model->log_count, count + 1 + 20); /* A registration, and the new ones. */
    for (uint32_t i = 0; i < 120; i++) {
        const struct writer_outcome *outcome = &author->outcomes[before + i];
        assert_int_equal(outcome->fate, WRITER_COMMITTED);
        assert_int_equal(outcome->first_sequence, i + 1);
        assert_int_equal(outcome->offset_known, outcome->status == WIRE_OK);
        if (outcome->offset_known) {
            assert_int_equal(outcome->first_offset, i < 100 ? i : i + 1);
        } else {
            assert_true(i < 60);
        }
    }
    assert_false(author->outcomes[before].offset_known);
    writers_end(f);
}

/* Old and new numbers never share a request: the condition of the new ones is judged by itself. */
static void call_that_goes_beyond_its_repeated_part_expects_the_right_offset(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    struct author *author = &f->authors[0];
    (void)writers_append_expecting(f, 10, 0);
    writers_run_out(f);
    writer_reopen(author->writer, WRITERS_CLIENT_ID + 50);
    writer_set_first(author->writer, 1);
    author->taken = 0;
    author->told = 0;
    assert_int_equal(writers_append_expecting(f, 25, 0), 25);
    author->taken = author->told = 10; /* What the writer counts on from. */
    author->taken += 25;
    writers_run_out(f);
    writers_assert_fates(author, 35, 0, 0, 0);
    for (uint32_t i = 0; i < 25; i++) {
        assert_int_equal(author->outcomes[10 + i].first_offset, i);
    }
    writers_end(f);
}

static void first_number_beyond_the_next_stops_with_the_one_expected(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    struct author *author = &f->authors[0];
    writer_set_first(author->writer, 7);
    (void)writers_append(f, 0, 5);
    writers_run_out(f);
    assert_int_equal(writer_state(author->writer), WRITER_GAP);
    writers_assert_fates(author, 0, 0, 5, 0);
    assert_int_equal(author->outcomes[0].status, WIRE_GAP);
    assert_int_equal(author->outcomes[0].detail, 1);
    assert_int_equal(writer_next_sequence(author->writer), 1);
    assert_int_equal(writers_append(f, 0, 1), 0);
    writers_end(f);
}

/* ---- Conditions. ---- */

static void condition_that_holds_appends_and_one_that_fails_tells_the_tail(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    struct author *author = &f->authors[0];
    session_model_append(f->model);
    assert_int_equal(writers_append_expecting(f, 3, 1), 3);
    writers_run_out(f);
    assert_int_equal(author->fate_count[WRITER_COMMITTED], 3);
    assert_int_equal(writers_append_expecting(f, 2, 9), 2);
    (void)writers_append(f, 0, 1);
    writers_run_out(f);
    writers_assert_fates(author, 4, 2, 0, 0);
    assert_int_equal(author->outcomes[3].status, WIRE_CONDITION);
    assert_int_equal(author->outcomes[3].detail, 4);
    assert_int_equal(author->outcomes[5].first_offset, 4);
    assert_int_equal(author->outcomes[5].first_sequence, 6); /* A refusal uses its numbers up. */
    writers_check_truth(f, 0);
    writers_end(f);
}

/* The second request of a call would find its own offset at the tail: it must not be taken, for
 * what it stands behind is not there. */
static void rest_of_a_refused_call_is_refused_with_it(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    struct author *author = &f->authors[0];
    for (uint32_t i = 0; i < 14; i++) {
        session_model_append(f->model);
    }
    f->model->splits = true;
    assert_int_equal(writers_append_expecting(f, 500, 0), 500);
    (void)writers_append(f, 0, 10);
    writers_run_out(f);
    writers_assert_fates(author, 10, 500, 0, 0);
    assert_int_equal(author->outcomes[499].status, WIRE_CONDITION);
    assert_int_equal(author->outcomes[499].detail, 14);
    assert_int_equal(author->outcomes[499].first_sequence, 0);
    writers_check_truth(f, 0);
    writers_end(f);
}

static void writer_that_stops_at_a_refused_condition_sends_nothing_behind(void **state)
{
    (void)state;
    struct writer_config config = writers_named();
    config.stops_at_refused = true;
    struct writers *f = writers_begin_with(1, config);
    struct author *author = &f->authors[0];
    session_model_append(f->model);
    (void)writers_append(f, 0, 5);
    (void)writers_append_expecting(f, 2, 0);
    (void)writers_append(f, 0, 5);
    writers_run_out(f);
    assert_int_equal(writer_state(author->writer), WRITER_REFUSED);
    writers_assert_fates(author, 5, 2, 5, 0);
    assert_int_equal(author->outcomes[11].status, WIRE_CONDITION);
    writers_check_truth(f, 0);
    writers_end(f);
}

static void conditions_of_a_long_call_hold_one_after_the_other(void **state)
{
    (void)state;
    struct writers *f = writers_begin(3);
    f->model->net.shuffled = true;
    f->model->lose_ppm = 50000;
    assert_int_equal(writers_append_expecting(f, 500, 0), 500);
    writers_run_out(f);
    writers_assert_fates(&f->authors[0], 500, 0, 0, 0);
    writers_check_truth(f, 0);
    writers_end(f);
}

/* ---- Fences, expiry, room. ---- */

static void open_takes_the_session_with_the_told_epoch_and_fences_the_older(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    (void)writers_append(f, 0, 10);
    writers_run_out(f);
    author_begin(f, 1, writers_named());
    (void)writers_append(f, 1, 10);
    writers_run_out(f);
    writers_assert_fates(&f->authors[1], 10, 0, 0, 0);
    assert_int_equal(writer_epoch(f->authors[1].writer), 2);
    assert_int_equal(f->authors[1].outcomes[0].first_sequence, 11);
    (void)writers_append(f, 0, 3);
    writers_run_out(f);
    assert_int_equal(writer_state(f->authors[0].writer), WRITER_FENCED);
    /* The fence says that number 21 comes next: 11 to 13 may have been ours. */
    writers_assert_fates(&f->authors[0], 10, 0, 0, 3);
    assert_int_equal(f->authors[0].outcomes[10].status, WIRE_FENCED);
    writers_check_truth(f, 0);
    writers_check_truth(f, 1);
    writers_end(f);
}

static void fence_before_anything_was_taken_tells_that_nothing_was(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    (void)writers_append(f, 0, 10);
    writers_run_out(f);
    author_begin(f, 1, writers_named());
    writer_open(f->authors[1].writer, f->now_ns);
    for (uint32_t i = 0; i < 10; i++) {
        writers_step(f);
    }
    assert_int_equal(writer_state(f->authors[1].writer), WRITER_OPEN);
    (void)writers_append(f, 0, 3);
    writers_run_out(f);
    writers_assert_fates(&f->authors[0], 10, 3, 0, 0);
    assert_int_equal(f->authors[0].outcomes[10].status, WIRE_FENCED);
    writers_end(f);
}

static void expired_session_leaves_what_was_sent_unknown(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    (void)writers_append(f, 0, 10);
    writers_run_out(f);
    session_model_expire(f->model, writer_session(f->authors[0].writer));
    (void)writers_append(f, 0, 3);
    writers_run_out(f);
    assert_int_equal(writer_state(f->authors[0].writer), WRITER_EXPIRED);
    writers_assert_fates(&f->authors[0], 10, 0, 0, 3);
    assert_int_equal(f->authors[0].outcomes[10].status, WIRE_NO_SESSION);
    writers_end(f);
}

static void idle_anonymous_session_that_expired_is_opened_anew(void **state)
{
    (void)state;
    struct writers *f = writers_begin_with(1, (struct writer_config){0});
    struct author *author = &f->authors[0];
    (void)writers_append(f, 0, 10);
    writers_run_out(f);
    uint64_t session = writer_session(author->writer);
    f->now_ns += 2 * (uint64_t)WRITER_IDLE_NS;
    (void)writers_append(f, 0, 5);
    writers_run_out(f);
    assert_int_equal(writer_session(author->writer), session); /* It was still there. */
    assert_int_equal(author->outcomes[10].first_sequence, 11);
    session_model_expire(f->model, session);
    f->now_ns += 2 * (uint64_t)WRITER_IDLE_NS;
    (void)writers_append(f, 0, 5);
    writers_run_out(f);
    assert_true(writer_session(author->writer) != session);
    assert_int_equal(author->outcomes[15].first_sequence, 1);
    writers_assert_fates(author, 20, 0, 0, 0);
    writers_check_truth(f, 0);
    writers_end(f);
}

static void full_log_rejects_the_rest_and_goes_on_after_reopening(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    struct author *author = &f->authors[0];
    (void)writers_append(f, 0, 10);
    writers_run_out(f);
    f->model->full = true;
    (void)writers_append(f, 0, 1000);
    writers_run_out(f);
    assert_int_equal(writer_state(author->writer), WRITER_FULL);
    assert_int_equal(author->fate_count[WRITER_COMMITTED], 10);
    assert_int_equal(author->fate_count[WRITER_UNKNOWN], 0);
    assert_int_equal(author->outcomes[10].fate, WRITER_REJECTED);
    assert_int_equal(author->outcomes[10].status, WIRE_FULL);
    assert_int_equal(author->outcomes[1009].status, WIRE_FULL);
    writers_check_truth(f, 0);
    f->model->full = false;
    writer_reopen(author->writer, WRITERS_CLIENT_ID + 9);
    (void)writers_append(f, 0, 5);
    writers_run_out(f);
    assert_int_equal(author->fate_count[WRITER_COMMITTED], 15);
    assert_int_equal(author->outcomes[1010].first_sequence, 11); /* Used again: they were fenced. */
    writers_check_truth(f, 0);
    writers_end(f);
}

static void full_log_before_the_session_is_open_leaves_all_unsent(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    f->model->full = true;
    (void)writers_append(f, 0, 10);
    writers_run_out(f);
    assert_int_equal(writer_state(f->authors[0].writer), WRITER_FULL);
    writers_assert_fates(&f->authors[0], 0, 0, 10, 0);
    assert_int_equal(f->authors[0].outcomes[0].status, WIRE_FULL);
    writers_end(f);
}

/* ---- Time. ---- */

static void time_is_over_for_what_was_sent_and_what_was_not(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    struct author *author = &f->authors[0];
    (void)writers_append(f, 0, 10);
    writers_run_out(f);
    f->model->commits = false;
    uint64_t taken_ns = f->now_ns;
    (void)writers_append(f, 0, 1000);
    writers_run_out(f);
    assert_int_equal(writer_state(author->writer), WRITER_TIMED_OUT);
    assert_true(f->now_ns - taken_ns >= WRITERS_TIMEOUT_NS);
    assert_true(f->now_ns - taken_ns <= WRITERS_TIMEOUT_NS + 2 * WRITERS_STEP_NS);
    assert_int_equal(author->outcomes[10].fate, WRITER_UNKNOWN);
    assert_int_equal(author->outcomes[1009].fate, WRITER_UNSENT);
    writers_check_truth(f, 0);
    /* What was unknown is known by the number that is expected after reopening. */
    f->model->commits = true;
    session_model_elect(f->model, 2, f->model->committed + 20);
    writer_reopen(author->writer, WRITERS_CLIENT_ID + 9);
    writer_open(author->writer, f->now_ns);
    while (writer_state(author->writer) != WRITER_OPEN) {
        writers_step(f);
    }
    assert_int_equal(writer_next_sequence(author->writer), 31);
    writers_end(f);
}

static void nobody_in_time_leaves_all_unsent(void **state)
{
    (void)state;
    for (uint32_t dead = 0; dead < 2; dead++) {
        struct writers *f = writers_begin(1);
        f->model->leader = 0;
        f->model->dead[1] = f->model->dead[2] = f->model->dead[3] = dead == 1;
        (void)writers_append(f, 0, 10);
        writers_run_out(f);
        assert_int_equal(writer_state(f->authors[0].writer), WRITER_TIMED_OUT);
        writers_assert_fates(&f->authors[0], 0, 0, 10, 0);
        assert_int_equal(writer_heard(f->authors[0].writer), dead == 0);
        writers_end(f);
    }
}

static void leader_that_the_client_does_not_know_is_named(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    f->model->leader = 0;
    f->model->believes[1] = f->model->believes[2] = f->model->believes[3] = 9;
    (void)writers_append(f, 0, 1);
    writers_run_out(f);
    assert_int_equal(writer_stranger(f->authors[0].writer), 9);
    writers_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_committed_in_order_in_full_requests),
        cmocka_unit_test(largest_record_travels_alone_in_fragments),
        cmocka_unit_test(memory_is_a_bound_and_room_comes_back),
        cmocka_unit_test(largest_records_fit_the_least_memory_one_by_one),
        cmocka_unit_test(no_more_requests_are_under_way_than_a_session_remembers),
        cmocka_unit_test(same_numbers_again_answer_their_old_offsets),
        cmocka_unit_test(call_that_goes_beyond_its_repeated_part_expects_the_right_offset),
        cmocka_unit_test(first_number_beyond_the_next_stops_with_the_one_expected),
        cmocka_unit_test(condition_that_holds_appends_and_one_that_fails_tells_the_tail),
        cmocka_unit_test(rest_of_a_refused_call_is_refused_with_it),
        cmocka_unit_test(writer_that_stops_at_a_refused_condition_sends_nothing_behind),
        cmocka_unit_test(conditions_of_a_long_call_hold_one_after_the_other),
        cmocka_unit_test(open_takes_the_session_with_the_told_epoch_and_fences_the_older),
        cmocka_unit_test(fence_before_anything_was_taken_tells_that_nothing_was),
        cmocka_unit_test(expired_session_leaves_what_was_sent_unknown),
        cmocka_unit_test(idle_anonymous_session_that_expired_is_opened_anew),
        cmocka_unit_test(full_log_rejects_the_rest_and_goes_on_after_reopening),
        cmocka_unit_test(full_log_before_the_session_is_open_leaves_all_unsent),
        cmocka_unit_test(time_is_over_for_what_was_sent_and_what_was_not),
        cmocka_unit_test(nobody_in_time_leaves_all_unsent),
        cmocka_unit_test(leader_that_the_client_does_not_know_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
