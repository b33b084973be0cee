/* test_client_read.c: a range of the log comes whole, in order and once, whoever answers.
 */
#include "engine/client/fetch.h"

#include "tests/support/cluster_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STEP_NS   100000u
#define STEPS_MAX 200000u

struct fixture {
    struct cluster_model *model;
    struct mem mem;
    struct client *client;
    struct fetch fetch;
    uint64_t now_ns;
    uint64_t next;    /* Offset of the record to come. */
    uint64_t stop_at; /* 0: never. */
    bool lead_moves;
};

static void take(void *context, const struct fetch_record *record)
{
    struct fixture *f = context;
    assert_int_equal(record->offset, f->next);
    assert_int_equal(record->term, 5);
    assert_int_equal(record->session, MODEL_SESSION);
    assert_int_equal(record->sequence, record->offset + 1);
    assert_int_equal(record->bytes, f->model->records[f->next].bytes);
    for (uint32_t i = 0; i < record->bytes; i++) {
        assert_int_equal(record->payload[i], model_byte(f->next, i));
    }
    f->next++;
    if (f->next == f->stop_at) {
        fetch_stop(&f->fetch);
    }
}

static struct fixture *
begin_as(uint32_t frame_bytes_max, uint8_t node, bool linearizable, uint64_t seed)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->model = model_open(frame_bytes_max, seed);
    struct client_config config = model_client_config();
    config.seed = seed;
    uint64_t bytes = client_memory_bytes(&config) + fetch_memory_bytes();
    assert_int_equal(mem_open(&f->mem, bytes), 0);
    f->client = client_init(&f->mem, &config, &f->model->nic);
    f->now_ns = 1000;
    struct fetch_config fetch = {
        .node = node, .linearizable = linearizable, .take = take, .context = f};
    fetch_init(&f->fetch, &f->mem, f->client, &fetch, f->now_ns);
    mem_seal(&f->mem);
    return f;
}

static struct fixture *begin(uint32_t frame_bytes_max, uint8_t node, uint64_t seed)
{
    return begin_as(frame_bytes_max, node, false, seed);
}

static void end(struct fixture *f)
{
    model_close(f->model);
    mem_close(&f->mem);
    free(f);
}

static void run(struct fixture *f, uint32_t steps)
{
    for (uint32_t i = 0; i < steps && !fetch_is_done(&f->fetch); i++) {
        f->now_ns += STEP_NS;
        (void)fetch_poll(&f->fetch, f->now_ns);
        assert_true(fetch_is_done(&f->fetch) || fetch_deadline_ns(&f->fetch) < UINT64_MAX);
        if (f->lead_moves && prng_chance(&f->model->prng, 5000)) {
            f->model->leader = (uint8_t)prng_below(&f->model->prng, MODEL_NODES + 1);
        }
    }
}

static void look(struct fixture *f)
{
    run(f, STEPS_MAX);
    assert_true(fetch_is_done(&f->fetch));
    assert_true(f->fetch.view.known);
}

static void read_all(struct fixture *f, uint64_t from, uint64_t to)
{
    f->next = from;
    fetch_range(&f->fetch, from, to);
    run(f, STEPS_MAX);
    assert_true(fetch_is_done(&f->fetch));
    assert_int_equal(f->next, to);
}

static void look_finds_the_leader_and_the_ends_of_its_log(void **state)
{
    (void)state;
    for (uint8_t leader = 1; leader <= MODEL_NODES; leader++) {
        struct fixture *f = begin(1472, 0, leader);
        f->model->leader = leader;
        for (uint32_t i = 0; i < 30; i++) {
            model_append(f->model, i);
        }
        f->model->start_offset = 4;
        look(f);
        assert_int_equal(f->fetch.view.node, leader);
        assert_int_equal(f->fetch.view.start_offset, 4);
        assert_int_equal(f->fetch.view.committed_offset, 30);
        assert_true(f->model->reads <= 2);
        end(f);
    }
}

static void dead_nodes_are_passed_over_in_turn(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 8; seed++) {
        struct fixture *f = begin(1472, 0, seed);
        f->model->dead[1] = f->model->dead[3] = true;
        f->model->leader = 2;
        look(f);
        assert_int_equal(f->fetch.view.node, 2);
        assert_true(client_counters(f->client)->reads_unanswered <= 2);
        end(f);
    }
}

static void chosen_node_answers_although_another_leads(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 3, 1);
    for (uint32_t i = 0; i < 20; i++) {
        model_append(f->model, 100);
    }
    f->model->behind[3] = 5;
    look(f);
    assert_int_equal(f->fetch.view.node, 3);
    assert_int_equal(f->fetch.view.committed_offset, 15);
    read_all(f, 2, 15);
    end(f);
}

static void chosen_node_that_is_dead_is_asked_on_and_nobody_else(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 3, 1);
    f->model->dead[3] = true;
    run(f, 1000);
    assert_false(f->fetch.view.known);
    assert_false(f->fetch.heard);
    assert_int_equal(f->model->reads, 0);
    f->model->dead[3] = false;
    look(f);
    end(f);
}

static void without_a_leader_nothing_is_known_but_somebody_is_heard(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 0, 1);
    f->model->leader = 0;
    run(f, 10000); /* 1 s. */
    assert_false(f->fetch.view.known);
    assert_true(f->fetch.heard);
    assert_true(f->model->reads < 100); /* Paused between. */
    f->model->leader = 2;
    look(f);
    assert_int_equal(f->fetch.view.node, 2);
    end(f);
}

static void range_comes_whole_with_records_of_every_size(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 0, 1);
    static const uint32_t sizes[] = {0, 1, 7, 8, 1300, 1320, 1321, 1400, 9000, RECORD_BYTES_MAX};
    for (uint32_t i = 0; i < 60; i++) {
        model_append(f->model, sizes[i % 10]);
    }
    look(f);
    read_all(f, 0, 60);
    read_all(f, 59, 60);
    read_all(f, 13, 17);
    assert_int_equal(client_counters(f->client)->reads_unanswered, 0);
    end(f);
}

static void fetch_that_is_stopped_hands_on_nothing_more_until_another_range(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 0, 1);
    for (uint32_t i = 0; i < 20; i++) {
        model_append(f->model, 10);
    }
    look(f);
    f->next = 3;
    f->stop_at = 8;
    fetch_range(&f->fetch, 3, FETCH_NO_END);
    run(f, 100);
    assert_true(fetch_is_done(&f->fetch));
    assert_int_equal(f->next, 8);
    f->stop_at = 0;
    read_all(f, 8, 20);
    end(f);
}

static void empty_range_is_done_without_a_question(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 0, 1);
    look(f);
    uint32_t reads = f->model->reads;
    fetch_range(&f->fetch, 7, 7);
    assert_true(fetch_is_done(&f->fetch));
    run(f, 10);
    assert_int_equal(f->model->reads, reads);
    end(f);
}

static void records_beyond_the_end_are_waited_for(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 0, 1);
    look(f);
    fetch_range(&f->fetch, 2, FETCH_NO_END);
    f->next = 2;
    run(f, 1000);
    assert_int_equal(f->next, 2);
    for (uint32_t i = 0; i < 10; i++) {
        model_append(f->model, i * 300);
        run(f, 1000);
        assert_int_equal(f->next, i < 2 ? 2 : i + 1);
    }
    assert_true(f->model->reads < 500); /* 1.1 s of waiting, paused between. */
    end(f);
}

static void trimmed_beginning_ends_the_fetch_and_names_the_start(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 0, 1);
    for (uint32_t i = 0; i < 20; i++) {
        model_append(f->model, 10);
    }
    look(f);
    f->model->start_offset = 6;
    fetch_range(&f->fetch, 5, 20);
    run(f, STEPS_MAX);
    assert_true(f->fetch.trimmed);
    assert_true(fetch_is_done(&f->fetch));
    assert_int_equal(f->fetch.view.start_offset, 6);
    read_all(f, 6, 20);
    end(f);
}

/* The end is the leader's word, whoever gives the records. */
static void linearizable_fetch_looks_at_the_leader_and_waits_for_the_chosen_node(void **state)
{
    (void)state;
    for (uint8_t node = 0; node <= MODEL_NODES; node++) {
        struct fixture *f = begin_as(1472, node, true, node + 1u);
        for (uint32_t i = 0; i < 20; i++) {
            model_append(f->model, 100);
        }
        f->model->leader = 2;
        f->model->behind[1] = f->model->behind[3] = 7;
        look(f);
        assert_int_equal(f->fetch.view.node, 2);
        assert_int_equal(f->fetch.view.committed_offset, 20);
        bool behind = node == 1 || node == 3;
        fetch_range(&f->fetch, 0, 20);
        run(f, 1000);
        assert_int_equal(fetch_is_done(&f->fetch), !behind);
        assert_int_equal(f->next, behind ? 13 : 20);
        f->model->behind[1] = f->model->behind[3] = 0;
        run(f, STEPS_MAX);
        assert_true(fetch_is_done(&f->fetch));
        assert_int_equal(f->next, 20);
        end(f);
    }
}

/* A follower that takes itself for nothing better does not say where the end is. */
static void linearizable_look_waits_for_a_leader(void **state)
{
    (void)state;
    struct fixture *f = begin_as(1472, 3, true, 1);
    f->model->leader = 0;
    run(f, 3000);
    assert_false(f->fetch.view.known);
    assert_true(f->fetch.heard);
    f->model->leader = 1;
    look(f);
    assert_int_equal(f->fetch.view.node, 1);
    end(f);
}

/* Losses, changes of leader, and nodes that know less than others. */
static void range_comes_once_in_any_weather(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fixture *f = begin(1472, 0, seed);
        print_message("seed %llu\n", (unsigned long long)seed);
        f->model->lose_ppm = 200000;
        f->lead_moves = true;
        for (uint32_t i = 0; i < 200; i++) {
            model_append(f->model, (uint32_t)prng_below(&f->model->prng, 4000));
        }
        model_append(f->model, RECORD_BYTES_MAX);
        look(f);
        f->model->behind[1] = 50;
        f->model->behind[2] = 200;
        read_all(f, 0, 201);
        end(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(look_finds_the_leader_and_the_ends_of_its_log),
        cmocka_unit_test(dead_nodes_are_passed_over_in_turn),
        cmocka_unit_test(chosen_node_answers_although_another_leads),
        cmocka_unit_test(chosen_node_that_is_dead_is_asked_on_and_nobody_else),
        cmocka_unit_test(without_a_leader_nothing_is_known_but_somebody_is_heard),
        cmocka_unit_test(range_comes_whole_with_records_of_every_size),
        cmocka_unit_test(fetch_that_is_stopped_hands_on_nothing_more_until_another_range),
        cmocka_unit_test(empty_range_is_done_without_a_question),
        cmocka_unit_test(records_beyond_the_end_are_waited_for),
        cmocka_unit_test(trimmed_beginning_ends_the_fetch_and_names_the_start),
        cmocka_unit_test(linearizable_fetch_looks_at_the_leader_and_waits_for_the_chosen_node),
        cmocka_unit_test(linearizable_look_waits_for_a_leader),
        cmocka_unit_test(range_comes_once_in_any_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
