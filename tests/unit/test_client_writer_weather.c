/* test_client_writer_weather.c: the same when frames, leaders and answers are lost. */
#include "tests/support/writers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Weather. ---- */

static void lost_answer_is_asked_for_again_and_nothing_is_doubled(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    (void)writers_append(f, 0, 1);
    writers_run_out(f);
    f->model->commits = false;
    (void)writers_append(f, 0, 10);
    writers_step(f);
    uint32_t count = f->model->log_count;
    assert_int_equal(count, 1 + 1 + 10);
    f->model->answer_count = 0; /* Lost. */
    f->model->commits = true;
    writers_run_out(f);
    assert_int_equal(f->model->log_count, count);
    assert_true(writer_counters(f->authors[0].writer)->requests_repeated > 0);
    writers_assert_fates(&f->authors[0], 11, 0, 0, 0);
    writers_check_truth(f, 0);
    writers_end(f);
}

static void gap_sends_the_missing_request_again_at_once(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    (void)writers_append(f, 0, 1);
    writers_run_out(f);
    (void)writers_append(f, 0, 14);
    f->model->lose_ppm = 1000000;
    writers_step(f);
    f->model->lose_ppm = 0;
    (void)writers_append(f, 0, 14);
    writers_step(f); /* The second request finds a gap. */
    writers_step(f);
    writers_step(f);
    assert_int_equal(f->authors[0].told, 29); /* Long before the retry time. */
    assert_true(writer_counters(f->authors[0].writer)->gaps > 0);
    writers_check_truth(f, 0);
    writers_end(f);
}

static void busy_is_waited_out_and_keeps_the_order(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    f->model->refusal = WIRE_BUSY;
    f->model->refusals = 20;
    (void)writers_append(f, 0, 600);
    writers_run_out(f);
    assert_int_equal(f->model->refusals, 0);
    writers_assert_fates(&f->authors[0], 600, 0, 0, 0);
    writers_check_truth(f, 0);
    writers_end(f);
}

static void hint_of_a_follower_is_followed(void **state)
{
    (void)state;
    for (uint8_t leader = 1; leader <= SESSION_MODEL_NODES; leader++) {
        struct writers *f = writers_begin(leader);
        f->model->leader = leader;
        (void)writers_append(f, 0, 10);
        writers_run_out(f);
        writers_assert_fates(&f->authors[0], 10, 0, 0, 0);
        assert_true(f->model->opens <= 2);
        writers_end(f);
    }
}

static void nodes_that_name_each_other_are_not_asked_without_a_pause(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    f->model->leader = 0;
    f->model->believes[1] = 2;
    f->model->believes[2] = 1;
    f->model->believes[3] = 2;
    (void)writers_append(f, 0, 10);
    for (uint32_t i = 0; i < 5000; i++) {
        writers_step(f);
    }
    assert_true(f->model->opens < 2000);
    f->model->believes[1] = f->model->believes[2] = f->model->believes[3] = 0;
    f->model->leader = 3;
    writers_run_out(f);
    writers_check_truth(f, 0);
    writers_end(f);
}

static void silent_leader_is_left_though_others_still_name_it(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    (void)writers_append(f, 0, 5);
    writers_run_out(f);
    f->model->dead[1] = true;
    f->model->believes[2] = f->model->believes[3] = 1;
    (void)writers_append(f, 0, 100);
    for (uint32_t i = 0; i < 3000; i++) {
        writers_step(f);
    }
    f->model->believes[2] = f->model->believes[3] = 0;
    session_model_elect(f->model, 3, f->model->committed);
    writers_run_out(f);
    writers_assert_fates(&f->authors[0], 105, 0, 0, 0);
    writers_check_truth(f, 0);
    writers_end(f);
}

static void leader_change_that_drops_the_tail_loses_nothing(void **state)
{
    (void)state;
    for (uint32_t kept = 0; kept < 40; kept += 13) {
        struct writers *f = writers_begin(1);
        (void)writers_append(f, 0, 1);
        writers_run_out(f);
        f->model->commits = false;
        (void)writers_append(f, 0, 40);
        writers_step(f);
        assert_int_equal(f->model->log_count, f->model->committed + 40);
        session_model_elect(f->model, 2, f->model->committed + kept);
        f->model->commits = true;
        writers_run_out(f);
        writers_assert_fates(&f->authors[0], 41, 0, 0, 0);
        writers_check_truth(f, 0);
        writers_end(f);
    }
}

static void answer_in_parts_is_put_together(void **state)
{
    (void)state;
    struct writers *f = writers_begin(1);
    f->model->splits = true;
    f->model->net.shuffled = true;
    (void)writers_append(f, 0, 3000);
    writers_run_out(f);
    writers_assert_fates(&f->authors[0], 3000, 0, 0, 0);
    writers_check_truth(f, 0);
    writers_end(f);
}

/* ---- Everything at once. ---- */

/* Turn what the seed says is to happen now. */
static void disturb(struct writers *f)
{
    struct session_model *model = f->model;
    struct prng *prng = &model->prng;
    if (!model->commits) {
        session_model_commit(model, (uint32_t)prng_below(prng, 60));
    }
    if (prng_chance(prng, 3000)) {
        uint32_t tail = model->log_count - model->committed;
        session_model_elect(model, (uint8_t)prng_below(prng, SESSION_MODEL_NODES + 1),
                            model->committed + (uint32_t)prng_below(prng, tail + 1));
    } else if (model->leader == 0 && prng_chance(prng, 50000)) {
        session_model_elect(model, (uint8_t)prng_between(prng, 1, 3), model->log_count);
    }
    if (prng_chance(prng, 2000)) {
        model->dead[prng_between(prng, 1, 3)] ^= true;
    }
    if (prng_chance(prng, 5000)) {
        model->refusal = prng_chance(prng, 500000) ? WIRE_BUSY : WIRE_GAP;
        model->refusals = model->refusal == WIRE_BUSY ? 5 : 0;
    }
    if (prng_chance(prng, 200) || model->full) {
        model->full = !model->full && model->log_count > 100;
    }
}

/* Both authors write, each in a session of its own or both in the same one. */
static void weather(uint64_t seed, uint64_t counts[WRITER_UNKNOWN + 1])
{
    struct writer_config config = writers_named();
    config.timeout_ns = 300000000; /* Short, so that it is over now and then. */
    struct writers *f = writers_begin_with(seed, config);
    struct prng *prng = &f->model->prng;
    f->model->lose_ppm = (uint32_t)prng_below(prng, 100000);
    f->model->busy_ppm = (uint32_t)prng_below(prng, 50000);
    f->model->net.shuffled = true;
    f->model->commits = false;
    f->model->splits = true;
    f->model->keeps = prng_chance(prng, 500000) ? 50 : UINT64_MAX;
    if (prng_chance(prng, 500000)) {
        config.name_bytes = 3;
    }
    author_begin(f, 1, config);
    uint64_t id = 1000;
    for (uint32_t i = 0; i < 8000; i++) {
        for (uint32_t a = 0; a < 2; a++) {
            struct author *author = &f->authors[a];
            if (author->taken + 200 < WRITERS_RECORDS_MAX / 2 && prng_chance(prng, 100000)) {
                (void)writers_append(f, a, (uint32_t)prng_between(prng, 1, 60));
            }
            if (a == 0 && author->taken + 200 < WRITERS_RECORDS_MAX / 2 &&
                prng_chance(prng, 5000)) {
                uint64_t off = prng_below(prng, 2);
                (void)writers_append_expecting(f, (uint32_t)prng_between(prng, 1, 60),
                                               f->model->next_offset + off);
            }
            if (writer_is_stopped(author->writer) && writer_pending(author->writer) == 0 &&
                f->model->session_count + 4 < SESSION_MODEL_MAX && prng_chance(prng, 20000)) {
                writer_reopen(author->writer, ++id);
            }
        }
        disturb(f);
        writers_step(f);
    }
    f->model->lose_ppm = f->model->busy_ppm = 0;
    f->model->full = false;
    f->model->dead[1] = f->model->dead[2] = f->model->dead[3] = false;
    f->model->leader = f->model->leader == 0 ? 1 : f->model->leader;
    f->model->commits = true;
    writers_run_out(f);
    for (uint32_t a = 0; a < 2; a++) {
        writers_check_truth(f, a);
        for (uint32_t fate = 0; fate <= WRITER_UNKNOWN; fate++) {
            counts[fate] += f->authors[a].fate_count[fate];
        }
    }
    writers_end(f);
}

static void outcomes_are_true_in_any_weather(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    uint64_t first = given == NULL ? 1 : strtoull(given, NULL, 10);
    uint64_t last = given == NULL ? 40 : first;
    uint64_t counts[WRITER_UNKNOWN + 1] = {0};
    for (uint64_t seed = first; seed <= last; seed++) {
        print_message("SEED=%llu\n", (unsigned long long)seed);
        weather(seed, counts);
    }
    print_message(
        "committed %llu, rejected %llu, unsent %llu, unknown %llu\n",
        (unsigned long long)counts[WRITER_COMMITTED], (unsigned long long)counts[WRITER_REJECTED],
        (unsigned long long)counts[WRITER_UNSENT], (unsigned long long)counts[WRITER_UNKNOWN]);
    if (given == NULL) { /* The weather was no calm. */
        assert_true(counts[WRITER_COMMITTED] > 30000);
        assert_true(counts[WRITER_REJECTED] > 0);
        assert_true(counts[WRITER_UNSENT] > 0);
        assert_true(counts[WRITER_UNKNOWN] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_answer_is_asked_for_again_and_nothing_is_doubled),
        cmocka_unit_test(gap_sends_the_missing_request_again_at_once),
        cmocka_unit_test(busy_is_waited_out_and_keeps_the_order),
        cmocka_unit_test(hint_of_a_follower_is_followed),
        cmocka_unit_test(nodes_that_name_each_other_are_not_asked_without_a_pause),
        cmocka_unit_test(silent_leader_is_left_though_others_still_name_it),
        cmocka_unit_test(leader_change_that_drops_the_tail_loses_nothing),
        cmocka_unit_test(answer_in_parts_is_put_together),
        cmocka_unit_test(outcomes_are_true_in_any_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
