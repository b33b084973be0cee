/* test_intake_session.c: sessions, conditions and fences as a leader decides them: against the
 * log's tail, answered when what they were decided on is committed. */
#include "tests/support/intake_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void open_as(struct intake_fixture *f, const char *name, uint64_t owner, uint32_t epoch)
{
    struct wire_frame frame = {
        .header = {.kind = WIRE_OPEN, .from_store = owner, .from_boot = INTAKE_CLIENT, .token = 7},
        .open = {.epoch = epoch, .name_bytes = (uint8_t)strlen(name)},
    };
    memcpy(frame.open.name, name, frame.open.name_bytes);
    intake_offer(f, &frame);
}

static struct wire_open_reply open_answer(struct intake_fixture *f)
{
    struct wire_frame answer;
    assert_true(intake_answer(f, &answer));
    assert_int_equal(answer.header.kind, WIRE_OPEN_REPLY);
    assert_int_equal(answer.header.token, 7);
    return answer.open_reply;
}

/* Registered and committed. */
static struct wire_open_reply opened(struct intake_fixture *f, const char *name, uint64_t owner)
{
    open_as(f, name, owner, 0);
    assert_true(intake_seal_if_ripe(f));
    intake_drain(f, true);
    struct wire_open_reply reply = open_answer(f);
    assert_int_equal(reply.status, WIRE_OK);
    return reply;
}

struct asked {
    uint64_t session;
    uint64_t sequence;
    uint32_t epoch;
    uint32_t count;
    bool conditional;
    uint64_t expected;
};

static void ask(struct intake_fixture *f, struct asked asked)
{
    static uint8_t records[ENTRY_BYTES_MAX];
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < asked.count; i++) {
        struct record_header header = {
            .bytes = 8, .session = asked.session, .sequence = asked.sequence + i};
        memcpy(records + bytes, &header, sizeof header);
        memcpy(records + bytes + sizeof header, &header.sequence, 8);
        bytes += record_body_bytes(8);
    }
    struct wire_frame frame = {
        .header = {.kind = WIRE_REQUEST,
                   .from_store = INTAKE_CLIENT,
                   .from_boot = INTAKE_CLIENT,
                   .token = 8},
        .request = {.session = asked.session,
                    .first_sequence = asked.sequence,
                    .epoch = asked.epoch,
                    .record_count = asked.count,
                    .request_bytes = bytes,
                    .conditional = asked.conditional,
                    .expected_offset = asked.expected},
        .payload = records,
        .payload_bytes = bytes,
    };
    intake_offer(f, &frame);
}

static struct wire_reply reply_of(struct intake_fixture *f)
{
    struct wire_frame answer;
    assert_true(intake_answer(f, &answer));
    assert_int_equal(answer.header.kind, WIRE_REPLY);
    assert_int_equal(answer.header.token, 8);
    return answer.reply;
}

static void assert_silent(struct intake_fixture *f)
{
    struct wire_frame answer;
    assert_false(intake_answer(f, &answer));
}

/* Append and commit. */
static uint64_t appended(struct intake_fixture *f, struct asked asked)
{
    ask(f, asked);
    assert_true(intake_seal_if_ripe(f));
    intake_drain(f, true);
    struct wire_reply reply = reply_of(f);
    assert_int_equal(reply.status, WIRE_OK);
    assert_int_equal(reply.record_count, asked.count);
    return reply.first_offset;
}

static void session_is_open_when_its_registration_is_committed(void **state)
{
    struct intake_fixture *f = *state;
    open_as(f, "orders", INTAKE_CLIENT, 0);
    assert_true(intake_seal_if_ripe(f));
    assert_int_equal(log_entry(&f->log, f->log.last.index)->record_count, 0);
    intake_drain(f, false);
    assert_silent(f);
    open_as(f, "orders", INTAKE_CLIENT, 0); /* Repeated: nothing more is registered. */
    assert_false(intake_is_open(&f->intake));
    intake_drain(f, true);
    struct wire_open_reply first = open_answer(f);
    struct wire_open_reply second = open_answer(f);
    assert_int_equal(first.status, WIRE_OK);
    assert_int_equal(first.epoch, 1);
    assert_int_equal(first.next_sequence, 1);
    assert_int_equal(second.status, WIRE_OK);
    assert_int_equal(second.session, first.session);
    assert_int_equal(second.epoch, first.epoch);
    assert_int_equal(second.next_sequence, first.next_sequence);
    assert_int_equal(f->counters.sessions_registered, 1);
}

static void repeated_request_gets_its_old_offset_and_appends_nothing(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", INTAKE_CLIENT);
    struct asked asked = {.session = session.session, .sequence = 1, .epoch = 1, .count = 3};
    assert_int_equal(appended(f, asked), 0);
    uint64_t last = f->log.last.index;
    ask(f, asked);
    struct wire_reply reply = reply_of(f);
    assert_int_equal(reply.status, WIRE_OK);
    assert_int_equal(reply.first_offset, 0);
    assert_int_equal(reply.record_count, 3);
    assert_false(intake_is_open(&f->intake));
    assert_int_equal(f->log.last.index, last);
    assert_int_equal(f->counters.repeated_records, 3);
}

static void repetition_is_answered_only_when_the_first_one_is_committed(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", INTAKE_CLIENT);
    struct asked asked = {.session = session.session, .sequence = 1, .epoch = 1, .count = 3};
    ask(f, asked);
    ask(f, asked); /* While it waits in the open entry, */
    assert_true(intake_seal_if_ripe(f));
    intake_drain(f, false);
    ask(f, asked); /* and while it is appended and not committed. */
    assert_silent(f);
    intake_drain(f, true);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(reply_of(f).first_offset, 0);
    }
    assert_int_equal(f->log.next_offset, 3);
}

static void request_that_is_partly_old_is_answered_in_parts(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", INTAKE_CLIENT);
    struct asked asked = {.session = session.session, .sequence = 1, .epoch = 1, .count = 4};
    appended(f, asked);
    appended(f, (struct asked){.sequence = 1, .count = 5}); /* Without a session. */
    asked.sequence = 3;
    ask(f, asked); /* 3 and 4 are old, 5 and 6 new. */
    assert_true(intake_seal_if_ripe(f));
    intake_drain(f, true);
    struct wire_reply reply = reply_of(f);
    assert_int_equal(reply.first_sequence, 3);
    assert_int_equal(reply.record_count, 2);
    assert_int_equal(reply.first_offset, 2);
    reply = reply_of(f);
    assert_int_equal(reply.first_sequence, 5);
    assert_int_equal(reply.record_count, 2);
    assert_int_equal(reply.first_offset, 9);
    assert_silent(f);
}

static void gap_is_told_at_once_and_nothing_is_taken(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", INTAKE_CLIENT);
    ask(f, (struct asked){.session = session.session, .sequence = 5, .epoch = 1, .count = 2});
    struct wire_reply reply = reply_of(f);
    assert_int_equal(reply.status, WIRE_GAP);
    assert_int_equal(reply.detail, 1);
    assert_int_equal(reply.first_sequence, 5);
    assert_int_equal(reply.record_count, 2);
    assert_false(intake_is_open(&f->intake));
}

static void failed_condition_consumes_its_numbers_and_tells_the_tail(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", INTAKE_CLIENT);
    struct asked asked = {.session = session.session, .sequence = 1, .epoch = 1, .count = 2};
    appended(f, asked);
    asked.sequence = 3;
    asked.conditional = true;
    asked.expected = 1;                            /* It is 2. */
    for (uint32_t round = 0; round < 2; round++) { /* The second time it is remembered. */
        ask(f, asked);
        assert_int_equal(intake_seal_if_ripe(f), round == 0);
        intake_drain(f, true);
        struct wire_reply reply = reply_of(f);
        assert_int_equal(reply.status, WIRE_CONDITION);
        assert_int_equal(reply.detail, 2);
        assert_int_equal(reply.record_count, 2);
    }
    assert_int_equal(f->log.next_offset, 2);
    asked.sequence = 5;
    asked.expected = 2;
    assert_int_equal(appended(f, asked), 2);
}

static void condition_of_a_partly_old_request_is_its_first_records(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", INTAKE_CLIENT);
    struct asked asked = {.session = session.session, .sequence = 1, .epoch = 1, .count = 4};
    appended(f, asked); /* At 0 to 3. */
    asked.sequence = 3;
    asked.conditional = true;
    asked.expected = 2; /* 3 and 4 are old and lie there, 5 and 6 follow them. */
    for (uint32_t round = 0; round < 2; round++) {
        ask(f, asked);
        assert_true(intake_seal_if_ripe(f));
        intake_drain(f, true);
        assert_int_equal(reply_of(f).first_offset, asked.expected);
        struct wire_reply reply = reply_of(f);
        assert_int_equal(reply.record_count, 2);
        assert_int_equal(reply.status, round == 0 ? WIRE_OK : WIRE_CONDITION);
        assert_int_equal(round == 0 ? reply.first_offset : reply.detail, 4 + 7 * round);
        appended(f, (struct asked){.sequence = 1 + round, .count = 5}); /* Without a session. */
        asked.sequence = 5;
        asked.expected = 4; /* 7 and 8 do not follow 5 and 6 any more. */
    }
}

static void condition_counts_what_waits_in_the_open_entry(void **state)
{
    struct intake_fixture *f = *state;
    ask(f, (struct asked){.sequence = 1, .count = 3});
    ask(f, (struct asked){.sequence = 4, .count = 1, .conditional = true, .expected = 3});
    ask(f, (struct asked){.sequence = 5, .count = 1, .conditional = true, .expected = 3});
    assert_silent(f); /* Decided on what is not committed. */
    assert_true(intake_seal_if_ripe(f));
    intake_drain(f, true);
    assert_int_equal(reply_of(f).status, WIRE_OK);
    assert_int_equal(reply_of(f).first_offset, 3);
    struct wire_reply reply = reply_of(f);
    assert_int_equal(reply.status, WIRE_CONDITION);
    assert_int_equal(reply.detail, 4);
    assert_int_equal(f->log.next_offset, 4);
}

static void failed_condition_without_a_session_is_told_only_by_who_leads_still(void **state)
{
    struct intake_fixture *f = *state;
    ask(f, (struct asked){.sequence = 1, .count = 1, .conditional = true, .expected = 9});
    assert_silent(f); /* Another leader's log may have its tail at 9. */
    assert_true(intake_seal_if_ripe(f));
    intake_drain(f, true);
    struct wire_reply reply = reply_of(f);
    assert_int_equal(reply.status, WIRE_CONDITION);
    assert_int_equal(reply.detail, 0);
    assert_int_equal(f->log.next_offset, 0);
}

static void late_open_takes_no_session_from_its_newer_writer(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", 21);
    open_as(f, "a", 22, 0); /* Another one; it does not know of the session yet. */
    struct wire_open_reply reply = open_answer(f);
    assert_int_equal(reply.status, WIRE_FENCED);
    assert_int_equal(reply.epoch, 1);
    open_as(f, "a", 22, 1);
    assert_true(intake_seal_if_ripe(f));
    intake_drain(f, true);
    reply = open_answer(f);
    assert_int_equal(reply.status, WIRE_OK);
    assert_int_equal(reply.session, session.session);
    assert_int_equal(reply.epoch, 2);
    open_as(f, "a", 21, 0); /* A late frame of the first one. */
    assert_int_equal(open_answer(f).status, WIRE_FENCED);
    ask(f, (struct asked){.session = session.session, .sequence = 1, .epoch = 1, .count = 1});
    struct wire_reply fenced = reply_of(f);
    assert_int_equal(fenced.status, WIRE_FENCED);
    assert_int_equal(fenced.detail, 1); /* From here on nothing of its was taken. */
    assert_int_equal(
        appended(f,
                 (struct asked){.session = session.session, .sequence = 1, .epoch = 2, .count = 1}),
        0);
}

static void unknown_session_is_told_and_never_made(void **state)
{
    struct intake_fixture *f = *state;
    ask(f, (struct asked){.session = 4000, .sequence = 1, .epoch = 1, .count = 1});
    assert_int_equal(reply_of(f).status, WIRE_NO_SESSION);
    assert_false(intake_is_open(&f->intake));
    assert_int_equal(f->counters.sessions_unknown, 1);
}

/* A leader that has lost its office without knowing must not call it expired. */
static void session_from_beyond_the_log_is_nothing_to_judge(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", INTAKE_CLIENT);
    uint64_t later = f->log.end_position + 100;
    ask(f, (struct asked){.session = later, .sequence = 1, .epoch = 1, .count = 1});
    assert_int_equal(reply_of(f).status, WIRE_BUSY);
    ask(f, (struct asked){.session = session.session, .sequence = 1, .epoch = 2, .count = 1});
    assert_int_equal(reply_of(f).status, WIRE_BUSY);
    assert_false(intake_is_open(&f->intake));
}

static void lost_office_takes_back_what_was_decided(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", INTAKE_CLIENT);
    struct asked asked = {.session = session.session, .sequence = 1, .epoch = 1, .count = 3};
    ask(f, asked);
    intake_reset(&f->intake);
    sessions_cut(&f->sessions, f->log.last.index);
    assert_int_equal(appended(f, asked), 0); /* Once: the first time is as if it never was. */
    assert_int_equal(f->log.next_offset, 3);
}

static void entry_with_as_many_session_records_as_it_may_hold_is_sealed_first(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", INTAKE_CLIENT);
    struct asked asked = {.session = session.session, .sequence = 1, .epoch = 1, .count = 200};
    uint32_t requests = ENTRY_SESSION_RECORDS_MAX / 200 + 1;
    for (uint32_t i = 0; i < requests; i++) {
        ask(f, asked);
        asked.sequence += 200;
    }
    intake_seal_if_ripe(f);
    intake_drain(f, true);
    for (uint32_t i = 0; i < requests; i++) {
        assert_int_equal(reply_of(f).first_offset, i * 200);
    }
}

/* The refusal of the smallest record is larger than the record. Found by the simulator, seed 331.
 */
static void refusal_finds_room_in_an_entry_that_has_some_for_the_record_alone(void **state)
{
    struct intake_fixture *f = *state;
    uint32_t most = entry_body_bytes_max(ENTRY_PAGES_MAX);
    uint32_t filling = 0;
    uint64_t sequence = 1;
    uint32_t record_bytes = record_body_bytes(8);
    while (most - filling >= 2 * record_bytes) { /* What is left holds one record, no refusal. */
        uint32_t count = (most - filling) / record_bytes - 1;
        count = count > 200 ? 200 : count;
        ask(f, (struct asked){.sequence = sequence, .count = count});
        sequence += count;
        filling += count * record_bytes;
    }
    assert_true(most - filling >= record_bytes);
    assert_true(most - filling < record_body_bytes(sizeof(struct session_refused)) + record_bytes);
    while (most - f->intake.body_bytes >= record_body_bytes(sizeof(struct session_refused))) {
        ask(f, (struct asked){.sequence = sequence++, .count = 1});
    }
    ask(f, (struct asked){.sequence = sequence, .count = 1, .conditional = true, .expected = 0});
    intake_seal_if_ripe(f);
    intake_drain(f, true);
    struct wire_frame answer;
    uint32_t refused = 0;
    while (intake_answer(f, &answer)) {
        refused += answer.reply.status == WIRE_CONDITION;
    }
    assert_int_equal(refused, 1);
}

static void refusal_without_a_session_is_counted_among_the_records_of_sessions(void **state)
{
    struct intake_fixture *f = *state;
    struct wire_open_reply session = opened(f, "a", INTAKE_CLIENT);
    struct asked asked = {.session = session.session, .sequence = 1, .epoch = 1, .count = 128};
    for (uint32_t i = 0; i < ENTRY_SESSION_RECORDS_MAX / 128; i++) {
        ask(f, asked);
        asked.sequence += 128;
    }
    assert_int_equal(f->intake.session_record_count, ENTRY_SESSION_RECORDS_MAX);
    ask(f, (struct asked){.sequence = 1, .count = 1, .conditional = true, .expected = 0});
    intake_seal_if_ripe(f);
    intake_drain(f, true);
    struct wire_frame answer;
    uint32_t refused = 0;
    while (intake_answer(f, &answer)) {
        refused += answer.reply.status == WIRE_CONDITION;
    }
    assert_int_equal(refused, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(session_is_open_when_its_registration_is_committed,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(repeated_request_gets_its_old_offset_and_appends_nothing,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(repetition_is_answered_only_when_the_first_one_is_committed,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(request_that_is_partly_old_is_answered_in_parts,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(gap_is_told_at_once_and_nothing_is_taken, intake_setup,
                                        intake_teardown),
        cmocka_unit_test_setup_teardown(failed_condition_consumes_its_numbers_and_tells_the_tail,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(condition_of_a_partly_old_request_is_its_first_records,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(condition_counts_what_waits_in_the_open_entry, intake_setup,
                                        intake_teardown),
        cmocka_unit_test_setup_teardown(
            failed_condition_without_a_session_is_told_only_by_who_leads_still, intake_setup,
            intake_teardown),
        cmocka_unit_test_setup_teardown(late_open_takes_no_session_from_its_newer_writer,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(session_from_beyond_the_log_is_nothing_to_judge,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(unknown_session_is_told_and_never_made, intake_setup,
                                        intake_teardown),
        cmocka_unit_test_setup_teardown(lost_office_takes_back_what_was_decided, intake_setup,
                                        intake_teardown),
        cmocka_unit_test_setup_teardown(
            refusal_finds_room_in_an_entry_that_has_some_for_the_record_alone, intake_setup,
            intake_teardown),
        cmocka_unit_test_setup_teardown(
            refusal_without_a_session_is_counted_among_the_records_of_sessions, intake_setup,
            intake_teardown),
        cmocka_unit_test_setup_teardown(
            entry_with_as_many_session_records_as_it_may_hold_is_sealed_first, intake_setup,
            intake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
