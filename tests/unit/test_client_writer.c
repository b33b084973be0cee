/* test_client_writer.c: each record once and in order, and an outcome that is true.
 */
#include "engine/client/writer.h"

#include "tests/support/session_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STEP_NS     100000u
#define TIMEOUT_NS  2000000000u
#define RECORDS_MAX 32768u
#define TEXT_BYTES  128u
#define CLIENT_ID   0x77u

/* A writer on one of the model's clients, and what it told. */
struct author {
    struct mem mem;
    struct client *client;
    struct writer *writer;
    uint64_t taken;
    uint64_t told;
    uint64_t fate_count[WRITER_UNKNOWN + 1];
    struct writer_outcome outcomes[RECORDS_MAX]; /* By number, count 1. */
};

struct fixture {
    struct session_model *model;
    uint64_t now_ns;
    struct author authors[2];
};

static void note(void *context, const struct writer_outcome *outcome)
{
    struct author *author = context;
    assert_int_equal(outcome->first_number, author->told); /* In order, each once. */
    assert_true(outcome->count > 0);
    assert_true(outcome->fate == WRITER_COMMITTED || !outcome->offset_known);
    for (uint32_t i = 0; i < outcome->count; i++) {
        struct writer_outcome *one = &author->outcomes[author->told++];
        *one = *outcome;
        one->first_sequence += outcome->first_sequence == 0 ? 0 : i;
        one->first_offset += outcome->offset_known ? i : 0;
    }
    author->fate_count[outcome->fate] += outcome->count;
    assert_true(author->told <= author->taken);
}

static void author_begin(struct fixture *f, uint32_t number, struct writer_config config)
{
    struct author *author = &f->authors[number];
    struct client_config client = session_model_client(CLIENT_ID + number);
    config.timeout_ns = config.timeout_ns == 0 ? TIMEOUT_NS : config.timeout_ns;
    config.records_max = config.records_max == 0 ? 4096 : config.records_max;
    config.bytes_max = config.bytes_max == 0 ? 1u << 20 : config.bytes_max;
    assert_int_equal(
        mem_open(&author->mem, client_memory_bytes(&client) + writer_memory_bytes(&config)), 0);
    author->client = client_init(&author->mem, &client, session_model_nic(f->model, number));
    config.client = author->client;
    author->writer = writer_init(&author->mem, &config);
    mem_seal(&author->mem);
    client_set_leader(author->client, 1);
}

static struct fixture *begin_with(uint64_t seed, struct writer_config config)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->model = session_model_open(1472, seed);
    f->now_ns = 1000;
    author_begin(f, 0, config);
    return f;
}

static const uint8_t session_name[] = "orders";

static struct writer_config named(void)
{
    return (struct writer_config){.name = session_name, .name_bytes = 6};
}

static struct fixture *begin(uint64_t seed)
{
    return begin_with(seed, named());
}

static void end(struct fixture *f)
{
    session_model_close(f->model);
    for (uint32_t i = 0; i < 2; i++) {
        if (f->authors[i].writer != NULL) {
            mem_close(&f->authors[i].mem);
        }
    }
    free(f);
}

/* The bytes of an author's record. */
static uint32_t text_of(uint32_t author, uint64_t number, uint8_t *text)
{
    uint32_t bytes = (uint32_t)snprintf((char *)text, TEXT_BYTES, "author %u record %llu", author,
                                        (unsigned long long)number);
    uint32_t more = (uint32_t)(number * 7 % 90);
    memset(text + bytes, 'x', more);
    return bytes + more;
}

/* Append up to `count` records; returns how many were taken. */
static uint32_t append(struct fixture *f, uint32_t number, uint32_t count)
{
    struct author *author = &f->authors[number];
    for (uint32_t i = 0; i < count; i++) {
        uint8_t text[TEXT_BYTES + 90];
        struct client_record record = {.payload = text,
                                       .bytes = text_of(number, author->taken, text)};
        if (writer_append(author->writer, f->now_ns, &record, 1) == 0) {
            return i;
        }
        author->taken++;
        assert_int_equal(writer_taken(author->writer), author->taken);
    }
    return count;
}

static uint32_t expecting(struct fixture *f, uint32_t count, uint64_t offset)
{
    static uint8_t texts[512][TEXT_BYTES + 90];
    struct client_record records[512];
    struct author *author = &f->authors[0];
    assert_true(count <= 512);
    for (uint32_t i = 0; i < count; i++) {
        records[i] = (struct client_record){.payload = texts[i],
                                            .bytes = text_of(0, author->taken + i, texts[i])};
    }
    uint32_t taken = writer_append_expecting(author->writer, f->now_ns, records, count, offset);
    author->taken += taken;
    return taken;
}

static void step(struct fixture *f)
{
    f->now_ns += STEP_NS;
    for (uint32_t i = 0; i < 2; i++) {
        struct author *author = &f->authors[i];
        if (author->writer != NULL) {
            (void)writer_poll(author->writer, f->now_ns, note, author);
            assert_true(writer_is_stopped(author->writer) || writer_pending(author->writer) == 0 ||
                        writer_deadline_ns(author->writer) < UINT64_MAX);
        }
    }
    session_model_step(f->model);
}

/* Until every record has its outcome. */
static void run_out(struct fixture *f)
{
    for (uint32_t i = 0; i < 3ull * TIMEOUT_NS / STEP_NS; i++) {
        if (f->authors[0].told == f->authors[0].taken &&
            f->authors[1].told == f->authors[1].taken) {
            return;
        }
        step(f);
    }
    fail_msg("outcomes are missing");
}

/* Every told outcome is what the log says; the log holds an author's records once and in order. */
static void check_truth(struct fixture *f, uint32_t number)
{
    const struct author *author = &f->authors[number];
    uint64_t expected = 0; /* No record below may come any more. */
    static uint64_t offsets[RECORDS_MAX];
    static bool present[RECORDS_MAX];
    memset(present, 0, sizeof present);
    char mine[32];
    (void)snprintf(mine, sizeof mine, "author %u record ", number);
    for (uint32_t i = 0; i < f->model->committed; i++) {
        const struct model_entry *entry = &f->model->log[i];
        if (entry->kind != RECORD_APPEND || entry->session == 0 ||
            memcmp(entry->payload, mine, strlen(mine)) != 0) {
            continue;
        }
        entry->payload[entry->bytes] = '\0';
        uint64_t record = strtoull((const char *)entry->payload + strlen(mine), NULL, 10);
        assert_true(record >= expected);
        assert_true(record < author->taken);
        uint8_t text[TEXT_BYTES + 90];
        assert_int_equal(entry->bytes, text_of(number, record, text));
        assert_memory_equal(entry->payload, text, entry->bytes);
        expected = record + 1;
        present[record] = true;
        offsets[record] = entry->offset;
    }
    for (uint64_t i = 0; i < author->told; i++) {
        const struct writer_outcome *outcome = &author->outcomes[i];
        switch (outcome->fate) {
        case WRITER_COMMITTED:
            assert_true(present[i]);
            assert_true(!outcome->offset_known || outcome->first_offset == offsets[i]);
            break;
        case WRITER_REJECTED:
        case WRITER_UNSENT:
            assert_false(present[i]);
            break;
        case WRITER_UNKNOWN:
            break;
        }
    }
}

static void assert_fates(const struct author *author,
                         uint64_t committed,
                         uint64_t rejected,
                         uint64_t unsent,
                         uint64_t unknown)
{
    assert_int_equal(author->fate_count[WRITER_COMMITTED], committed);
    assert_int_equal(author->fate_count[WRITER_REJECTED], rejected);
    assert_int_equal(author->fate_count[WRITER_UNSENT], unsent);
    assert_int_equal(author->fate_count[WRITER_UNKNOWN], unknown);
}

/* ---- Fair weather. ---- */

static void records_are_committed_in_order_in_full_requests(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    session_model_append(f->model);
    assert_int_equal(append(f, 0, 1000), 1000);
    run_out(f);
    assert_fates(&f->authors[0], 1000, 0, 0, 0);
    assert_int_equal(f->authors[0].outcomes[0].first_offset, 1);
    assert_int_equal(f->authors[0].outcomes[999].first_offset, 1000);
    assert_int_equal(f->authors[0].outcomes[999].first_sequence, 1000);
    assert_true(f->model->requests < 100); /* 1352 bytes hold some 14 records. */
    assert_int_equal(writer_counters(f->authors[0].writer)->requests_repeated, 0);
    assert_int_equal(f->model->opens, 1);
    check_truth(f, 0);
    end(f);
}

static void largest_record_travels_alone_in_fragments(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    static uint8_t large[RECORD_BYTES_MAX];
    memset(large, 0xa5, sizeof large);
    struct client_record records[] = {
        {.payload = large, .bytes = 10},   {.payload = large, .bytes = sizeof large}, {.bytes = 0},
        {.payload = large, .bytes = 2000}, {.payload = large, .bytes = 20},
    };
    struct author *author = &f->authors[0];
    author->taken = writer_append(author->writer, f->now_ns, records, 5);
    assert_int_equal(author->taken, 5);
    run_out(f);
    assert_fates(author, 5, 0, 0, 0);
    assert_int_equal(f->model->requests, 5);
    for (uint32_t i = 0; i < 5; i++) {
        const struct model_entry *entry = session_model_record(f->model, i);
        assert_int_equal(entry->bytes, records[i].bytes);
        assert_memory_equal(entry->payload, large, entry->bytes);
    }
    end(f);
}

static void memory_is_a_bound_and_room_comes_back(void **state)
{
    (void)state;
    struct writer_config config = named();
    config.records_max = 100;
    config.bytes_max = WRITER_BYTES_MIN;
    struct fixture *f = begin_with(1, config);
    struct author *author = &f->authors[0];
    f->model->leader = 0;
    assert_int_equal(append(f, 0, 200), 100);
    assert_int_equal(append(f, 0, 1), 0);
    assert_int_equal(writer_pending(author->writer), 100);
    f->model->leader = 2;
    for (uint32_t i = 0; i < 3000; i++) { /* Around the ring's end, and never more than it holds. */
        (void)append(f, 0, 7);
        step(f);
        assert_true(writer_pending(author->writer) <= 100);
    }
    run_out(f);
    assert_true(author->taken > 10000);
    assert_int_equal(author->fate_count[WRITER_COMMITTED], author->taken);
    check_truth(f, 0);
    end(f);
}

static void largest_records_fit_the_least_memory_one_by_one(void **state)
{
    (void)state;
    struct writer_config config = named();
    config.bytes_max = WRITER_BYTES_MIN;
    struct fixture *f = begin_with(1, config);
    struct author *author = &f->authors[0];
    static uint8_t large[RECORD_BYTES_MAX];
    struct client_record record = {.payload = large, .bytes = sizeof large};
    for (uint32_t i = 0; i < 3; i++) {
        author->taken += writer_append(author->writer, f->now_ns, &record, 1);
        assert_int_equal(author->taken, i + 1);
        assert_int_equal(writer_append(author->writer, f->now_ns, &record, 1), 0);
        run_out(f);
    }
    assert_fates(author, 3, 0, 0, 0);
    end(f);
}

static void no_more_requests_are_under_way_than_a_session_remembers(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    f->model->commits = false;
    (void)append(f, 0, 1);
    step(f);
    step(f);
    session_model_commit(f->model, 1);
    f->model->requests = 0;
    (void)append(f, 0, 1000);
    for (uint32_t i = 0; i < 10; i++) { /* Less than the time after which they are repeated. */
        step(f);
    }
    assert_int_equal(f->model->requests, SESSION_REQUESTS_MAX);
    f->model->commits = true;
    run_out(f);
    check_truth(f, 0);
    end(f);
}

/* ---- Weather. ---- */

static void lost_answer_is_asked_for_again_and_nothing_is_doubled(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    (void)append(f, 0, 1);
    run_out(f);
    f->model->commits = false;
    (void)append(f, 0, 10);
    step(f);
    uint32_t count = f->model->log_count;
    assert_int_equal(count, 1 + 1 + 10);
    f->model->answer_count = 0; /* Lost. */
    f->model->commits = true;
    run_out(f);
    assert_int_equal(f->model->log_count, count);
    assert_true(writer_counters(f->authors[0].writer)->requests_repeated > 0);
    assert_fates(&f->authors[0], 11, 0, 0, 0);
    check_truth(f, 0);
    end(f);
}

static void gap_sends_the_missing_request_again_at_once(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    (void)append(f, 0, 1);
    run_out(f);
    (void)append(f, 0, 14);
    f->model->lose_ppm = 1000000;
    step(f);
    f->model->lose_ppm = 0;
    (void)append(f, 0, 14);
    step(f); /* The second request finds a gap. */
    step(f);
    step(f);
    assert_int_equal(f->authors[0].told, 29); /* Long before the retry time. */
    assert_true(writer_counters(f->authors[0].writer)->gaps > 0);
    check_truth(f, 0);
    end(f);
}

static void busy_is_waited_out_and_keeps_the_order(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    f->model->refusal = WIRE_BUSY;
    f->model->refusals = 20;
    (void)append(f, 0, 600);
    run_out(f);
    assert_int_equal(f->model->refusals, 0);
    assert_fates(&f->authors[0], 600, 0, 0, 0);
    check_truth(f, 0);
    end(f);
}

static void hint_of_a_follower_is_followed(void **state)
{
    (void)state;
    for (uint8_t leader = 1; leader <= SESSION_MODEL_NODES; leader++) {
        struct fixture *f = begin(leader);
        f->model->leader = leader;
        (void)append(f, 0, 10);
        run_out(f);
        assert_fates(&f->authors[0], 10, 0, 0, 0);
        assert_true(f->model->opens <= 2);
        end(f);
    }
}

static void nodes_that_name_each_other_are_not_asked_without_a_pause(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    f->model->leader = 0;
    f->model->believes[1] = 2;
    f->model->believes[2] = 1;
    f->model->believes[3] = 2;
    (void)append(f, 0, 10);
    for (uint32_t i = 0; i < 5000; i++) {
        step(f);
    }
    assert_true(f->model->opens < 2000);
    f->model->believes[1] = f->model->believes[2] = f->model->believes[3] = 0;
    f->model->leader = 3;
    run_out(f);
    check_truth(f, 0);
    end(f);
}

static void silent_leader_is_left_though_others_still_name_it(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    (void)append(f, 0, 5);
    run_out(f);
    f->model->dead[1] = true;
    f->model->believes[2] = f->model->believes[3] = 1;
    (void)append(f, 0, 100);
    for (uint32_t i = 0; i < 3000; i++) {
        step(f);
    }
    f->model->believes[2] = f->model->believes[3] = 0;
    session_model_elect(f->model, 3, f->model->committed);
    run_out(f);
    assert_fates(&f->authors[0], 105, 0, 0, 0);
    check_truth(f, 0);
    end(f);
}

static void leader_change_that_drops_the_tail_loses_nothing(void **state)
{
    (void)state;
    for (uint32_t kept = 0; kept < 40; kept += 13) {
        struct fixture *f = begin(1);
        (void)append(f, 0, 1);
        run_out(f);
        f->model->commits = false;
        (void)append(f, 0, 40);
        step(f);
        assert_int_equal(f->model->log_count, f->model->committed + 40);
        session_model_elect(f->model, 2, f->model->committed + kept);
        f->model->commits = true;
        run_out(f);
        assert_fates(&f->authors[0], 41, 0, 0, 0);
        check_truth(f, 0);
        end(f);
    }
}

static void answer_in_parts_is_put_together(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    f->model->splits = true;
    f->model->net.shuffled = true;
    (void)append(f, 0, 3000);
    run_out(f);
    assert_fates(&f->authors[0], 3000, 0, 0, 0);
    check_truth(f, 0);
    end(f);
}

/* ---- Repeating old numbers. ---- */

static void same_numbers_again_answer_their_old_offsets(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    (void)append(f, 0, 100);
    run_out(f);
    session_model_append(f->model);
    uint32_t count = f->model->log_count;
    struct author *author = &f->authors[0];
    writer_reopen(author->writer, CLIENT_ID + 50);
    writer_set_first(author->writer, 1);
    f->model->keeps = 60;
    author->taken = author->told = 0; /* The same texts again. */
    uint64_t before = writer_taken(author->writer);
    for (uint32_t i = 0; i < 120; i++) {
        uint8_t text[TEXT_BYTES + 90];
        struct client_record record = {.payload = text, .bytes = text_of(0, i, text)};
        assert_int_equal(writer_append(author->writer, f->now_ns, &record, 1), 1);
    }
    author->taken = before + 120;
    author->told = before;
    while (author->told < author->taken) {
        step(f);
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
    end(f);
}

/* Old and new numbers never share a request: the condition of the new ones is judged by itself. */
static void call_that_goes_beyond_its_repeated_part_expects_the_right_offset(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    struct author *author = &f->authors[0];
    (void)expecting(f, 10, 0);
    run_out(f);
    writer_reopen(author->writer, CLIENT_ID + 50);
    writer_set_first(author->writer, 1);
    author->taken = 0;
    author->told = 0;
    assert_int_equal(expecting(f, 25, 0), 25);
    author->taken = author->told = 10; /* What the writer counts on from. */
    author->taken += 25;
    run_out(f);
    assert_fates(author, 35, 0, 0, 0);
    for (uint32_t i = 0; i < 25; i++) {
        assert_int_equal(author->outcomes[10 + i].first_offset, i);
    }
    end(f);
}

static void first_number_beyond_the_next_stops_with_the_one_expected(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    struct author *author = &f->authors[0];
    writer_set_first(author->writer, 7);
    (void)append(f, 0, 5);
    run_out(f);
    assert_int_equal(writer_state(author->writer), WRITER_GAP);
    assert_fates(author, 0, 0, 5, 0);
    assert_int_equal(author->outcomes[0].status, WIRE_GAP);
    assert_int_equal(author->outcomes[0].detail, 1);
    assert_int_equal(writer_next_sequence(author->writer), 1);
    assert_int_equal(append(f, 0, 1), 0);
    end(f);
}

/* ---- Conditions. ---- */

static void condition_that_holds_appends_and_one_that_fails_tells_the_tail(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    struct author *author = &f->authors[0];
    session_model_append(f->model);
    assert_int_equal(expecting(f, 3, 1), 3);
    run_out(f);
    assert_int_equal(author->fate_count[WRITER_COMMITTED], 3);
    assert_int_equal(expecting(f, 2, 9), 2);
    (void)append(f, 0, 1);
    run_out(f);
    assert_fates(author, 4, 2, 0, 0);
    assert_int_equal(author->outcomes[3].status, WIRE_CONDITION);
    assert_int_equal(author->outcomes[3].detail, 4);
    assert_int_equal(author->outcomes[5].first_offset, 4);
    assert_int_equal(author->outcomes[5].first_sequence, 6); /* A refusal uses its numbers up. */
    check_truth(f, 0);
    end(f);
}

/* The second request of a call would find its own offset at the tail: it must not be taken, for
 * what it stands behind is not there. */
static void rest_of_a_refused_call_is_refused_with_it(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    struct author *author = &f->authors[0];
    for (uint32_t i = 0; i < 14; i++) {
        session_model_append(f->model);
    }
    f->model->splits = true;
    assert_int_equal(expecting(f, 500, 0), 500);
    (void)append(f, 0, 10);
    run_out(f);
    assert_fates(author, 10, 500, 0, 0);
    assert_int_equal(author->outcomes[499].status, WIRE_CONDITION);
    assert_int_equal(author->outcomes[499].detail, 14);
    assert_int_equal(author->outcomes[499].first_sequence, 0);
    check_truth(f, 0);
    end(f);
}

static void writer_that_stops_at_a_refused_condition_sends_nothing_behind(void **state)
{
    (void)state;
    struct writer_config config = named();
    config.stops_at_refused = true;
    struct fixture *f = begin_with(1, config);
    struct author *author = &f->authors[0];
    session_model_append(f->model);
    (void)append(f, 0, 5);
    (void)expecting(f, 2, 0);
    (void)append(f, 0, 5);
    run_out(f);
    assert_int_equal(writer_state(author->writer), WRITER_REFUSED);
    assert_fates(author, 5, 2, 5, 0);
    assert_int_equal(author->outcomes[11].status, WIRE_CONDITION);
    check_truth(f, 0);
    end(f);
}

static void conditions_of_a_long_call_hold_one_after_the_other(void **state)
{
    (void)state;
    struct fixture *f = begin(3);
    f->model->net.shuffled = true;
    f->model->lose_ppm = 50000;
    assert_int_equal(expecting(f, 500, 0), 500);
    run_out(f);
    assert_fates(&f->authors[0], 500, 0, 0, 0);
    check_truth(f, 0);
    end(f);
}

/* ---- Fences, expiry, room. ---- */

static void open_takes_the_session_with_the_told_epoch_and_fences_the_older(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    (void)append(f, 0, 10);
    run_out(f);
    author_begin(f, 1, named());
    (void)append(f, 1, 10);
    run_out(f);
    assert_fates(&f->authors[1], 10, 0, 0, 0);
    assert_int_equal(writer_epoch(f->authors[1].writer), 2);
    assert_int_equal(f->authors[1].outcomes[0].first_sequence, 11);
    (void)append(f, 0, 3);
    run_out(f);
    assert_int_equal(writer_state(f->authors[0].writer), WRITER_FENCED);
    /* The fence says that number 21 comes next: 11 to 13 may have been ours. */
    assert_fates(&f->authors[0], 10, 0, 0, 3);
    assert_int_equal(f->authors[0].outcomes[10].status, WIRE_FENCED);
    check_truth(f, 0);
    check_truth(f, 1);
    end(f);
}

static void fence_before_anything_was_taken_tells_that_nothing_was(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    (void)append(f, 0, 10);
    run_out(f);
    author_begin(f, 1, named());
    writer_open(f->authors[1].writer, f->now_ns);
    for (uint32_t i = 0; i < 10; i++) {
        step(f);
    }
    assert_int_equal(writer_state(f->authors[1].writer), WRITER_OPEN);
    (void)append(f, 0, 3);
    run_out(f);
    assert_fates(&f->authors[0], 10, 3, 0, 0);
    assert_int_equal(f->authors[0].outcomes[10].status, WIRE_FENCED);
    end(f);
}

static void expired_session_leaves_what_was_sent_unknown(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    (void)append(f, 0, 10);
    run_out(f);
    session_model_expire(f->model, writer_session(f->authors[0].writer));
    (void)append(f, 0, 3);
    run_out(f);
    assert_int_equal(writer_state(f->authors[0].writer), WRITER_EXPIRED);
    assert_fates(&f->authors[0], 10, 0, 0, 3);
    assert_int_equal(f->authors[0].outcomes[10].status, WIRE_NO_SESSION);
    end(f);
}

static void idle_anonymous_session_that_expired_is_opened_anew(void **state)
{
    (void)state;
    struct fixture *f = begin_with(1, (struct writer_config){0});
    struct author *author = &f->authors[0];
    (void)append(f, 0, 10);
    run_out(f);
    uint64_t session = writer_session(author->writer);
    f->now_ns += 2 * (uint64_t)WRITER_IDLE_NS;
    (void)append(f, 0, 5);
    run_out(f);
    assert_int_equal(writer_session(author->writer), session); /* It was still there. */
    assert_int_equal(author->outcomes[10].first_sequence, 11);
    session_model_expire(f->model, session);
    f->now_ns += 2 * (uint64_t)WRITER_IDLE_NS;
    (void)append(f, 0, 5);
    run_out(f);
    assert_true(writer_session(author->writer) != session);
    assert_int_equal(author->outcomes[15].first_sequence, 1);
    assert_fates(author, 20, 0, 0, 0);
    check_truth(f, 0);
    end(f);
}

static void full_log_rejects_the_rest_and_goes_on_after_reopening(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    struct author *author = &f->authors[0];
    (void)append(f, 0, 10);
    run_out(f);
    f->model->full = true;
    (void)append(f, 0, 1000);
    run_out(f);
    assert_int_equal(writer_state(author->writer), WRITER_FULL);
    assert_int_equal(author->fate_count[WRITER_COMMITTED], 10);
    assert_int_equal(author->fate_count[WRITER_UNKNOWN], 0);
    assert_int_equal(author->outcomes[10].fate, WRITER_REJECTED);
    assert_int_equal(author->outcomes[10].status, WIRE_FULL);
    assert_int_equal(author->outcomes[1009].status, WIRE_FULL);
    check_truth(f, 0);
    f->model->full = false;
    writer_reopen(author->writer, CLIENT_ID + 9);
    (void)append(f, 0, 5);
    run_out(f);
    assert_int_equal(author->fate_count[WRITER_COMMITTED], 15);
    assert_int_equal(author->outcomes[1010].first_sequence, 11); /* Used again: they were fenced. */
    check_truth(f, 0);
    end(f);
}

static void full_log_before_the_session_is_open_leaves_all_unsent(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    f->model->full = true;
    (void)append(f, 0, 10);
    run_out(f);
    assert_int_equal(writer_state(f->authors[0].writer), WRITER_FULL);
    assert_fates(&f->authors[0], 0, 0, 10, 0);
    assert_int_equal(f->authors[0].outcomes[0].status, WIRE_FULL);
    end(f);
}

/* ---- Time. ---- */

static void time_is_over_for_what_was_sent_and_what_was_not(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    struct author *author = &f->authors[0];
    (void)append(f, 0, 10);
    run_out(f);
    f->model->commits = false;
    uint64_t taken_ns = f->now_ns;
    (void)append(f, 0, 1000);
    run_out(f);
    assert_int_equal(writer_state(author->writer), WRITER_TIMED_OUT);
    assert_true(f->now_ns - taken_ns >= TIMEOUT_NS);
    assert_true(f->now_ns - taken_ns <= TIMEOUT_NS + 2 * STEP_NS);
    assert_int_equal(author->outcomes[10].fate, WRITER_UNKNOWN);
    assert_int_equal(author->outcomes[1009].fate, WRITER_UNSENT);
    check_truth(f, 0);
    /* What was unknown is known by the number that is expected after reopening. */
    f->model->commits = true;
    session_model_elect(f->model, 2, f->model->committed + 20);
    writer_reopen(author->writer, CLIENT_ID + 9);
    writer_open(author->writer, f->now_ns);
    while (writer_state(author->writer) != WRITER_OPEN) {
        step(f);
    }
    assert_int_equal(writer_next_sequence(author->writer), 31);
    end(f);
}

static void nobody_in_time_leaves_all_unsent(void **state)
{
    (void)state;
    for (uint32_t dead = 0; dead < 2; dead++) {
        struct fixture *f = begin(1);
        f->model->leader = 0;
        f->model->dead[1] = f->model->dead[2] = f->model->dead[3] = dead == 1;
        (void)append(f, 0, 10);
        run_out(f);
        assert_int_equal(writer_state(f->authors[0].writer), WRITER_TIMED_OUT);
        assert_fates(&f->authors[0], 0, 0, 10, 0);
        assert_int_equal(writer_heard(f->authors[0].writer), dead == 0);
        end(f);
    }
}

static void leader_that_the_client_does_not_know_is_named(void **state)
{
    (void)state;
    struct fixture *f = begin(1);
    f->model->leader = 0;
    f->model->believes[1] = f->model->believes[2] = f->model->believes[3] = 9;
    (void)append(f, 0, 1);
    run_out(f);
    assert_int_equal(writer_stranger(f->authors[0].writer), 9);
    end(f);
}

/* ---- Everything at once. ---- */

/* Turn what the seed says is to happen now. */
static void disturb(struct fixture *f)
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
    struct writer_config config = named();
    config.timeout_ns = 300000000; /* Short, so that it is over now and then. */
    struct fixture *f = begin_with(seed, config);
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
            if (author->taken + 200 < RECORDS_MAX / 2 && prng_chance(prng, 100000)) {
                (void)append(f, a, (uint32_t)prng_between(prng, 1, 60));
            }
            if (a == 0 && author->taken + 200 < RECORDS_MAX / 2 && prng_chance(prng, 5000)) {
                uint64_t off = prng_below(prng, 2);
                (void)expecting(f, (uint32_t)prng_between(prng, 1, 60),
                                f->model->next_offset + off);
            }
            if (writer_is_stopped(author->writer) && writer_pending(author->writer) == 0 &&
                f->model->session_count + 4 < SESSION_MODEL_MAX && prng_chance(prng, 20000)) {
                writer_reopen(author->writer, ++id);
            }
        }
        disturb(f);
        step(f);
    }
    f->model->lose_ppm = f->model->busy_ppm = 0;
    f->model->full = false;
    f->model->dead[1] = f->model->dead[2] = f->model->dead[3] = false;
    f->model->leader = f->model->leader == 0 ? 1 : f->model->leader;
    f->model->commits = true;
    run_out(f);
    for (uint32_t a = 0; a < 2; a++) {
        check_truth(f, a);
        for (uint32_t fate = 0; fate <= WRITER_UNKNOWN; fate++) {
            counts[fate] += f->authors[a].fate_count[fate];
        }
    }
    end(f);
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
        cmocka_unit_test(records_are_committed_in_order_in_full_requests),
        cmocka_unit_test(largest_record_travels_alone_in_fragments),
        cmocka_unit_test(memory_is_a_bound_and_room_comes_back),
        cmocka_unit_test(largest_records_fit_the_least_memory_one_by_one),
        cmocka_unit_test(no_more_requests_are_under_way_than_a_session_remembers),
        cmocka_unit_test(lost_answer_is_asked_for_again_and_nothing_is_doubled),
        cmocka_unit_test(gap_sends_the_missing_request_again_at_once),
        cmocka_unit_test(busy_is_waited_out_and_keeps_the_order),
        cmocka_unit_test(hint_of_a_follower_is_followed),
        cmocka_unit_test(nodes_that_name_each_other_are_not_asked_without_a_pause),
        cmocka_unit_test(silent_leader_is_left_though_others_still_name_it),
        cmocka_unit_test(leader_change_that_drops_the_tail_loses_nothing),
        cmocka_unit_test(answer_in_parts_is_put_together),
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
        cmocka_unit_test(outcomes_are_true_in_any_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
