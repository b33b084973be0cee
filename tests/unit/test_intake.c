/* test_intake.c: the batch and its gate, on the leader of a cluster of one whose disk the test is.
 */
#include "tests/support/intake_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct wire_frame request(struct intake_fixture *f, uint8_t *records, uint32_t payload_bytes)
{
    struct record_header header = {.bytes = payload_bytes, .sequence = f->sequence};
    memset(records, 0, record_body_bytes(payload_bytes));
    memcpy(records, &header, sizeof header);
    return (struct wire_frame){
        .header = {.kind = WIRE_REQUEST, .from_store = 9, .from_boot = 1, .token = ++f->sequence},
        .request = {.first_sequence = header.sequence,
                    .record_count = 1,
                    .request_bytes = record_body_bytes(payload_bytes)},
        .payload = records,
        .payload_bytes = record_body_bytes(payload_bytes)};
}

/* Offer one record; true when it was taken. */
static bool offer(struct intake_fixture *f, uint32_t payload_bytes)
{
    static uint8_t records[ENTRY_BYTES_MAX];
    struct wire_frame frame = request(f, records, payload_bytes);
    uint64_t before = f->counters.request_records;
    intake_offer(f, &frame);
    return f->counters.request_records > before;
}

static void entry_is_one_request_at_depth_one(void **state)
{
    struct intake_fixture *f = *state;
    for (uint32_t i = 0; i < 5; i++) {
        assert_true(offer(f, 100));
        assert_true(intake_seal_if_ripe(f));
        assert_int_equal(log_entry(&f->log, f->log.last.index)->record_count, 1);
        intake_drain(f, true);
    }
    assert_int_equal(f->counters.replies, 5);
}

static void open_entry_grows_while_the_gate_is_closed(void **state)
{
    struct intake_fixture *f = *state;
    for (uint32_t i = 0; i < UNCOMMITTED_MIN; i++) {
        assert_true(offer(f, 100));
        assert_true(intake_seal_if_ripe(f));
    }
    for (uint32_t i = 0; i < 50; i++) {
        assert_true(offer(f, 100));
        assert_false(intake_seal_if_ripe(f));
    }
    intake_drain(f, true); /* The two are durable and so committed: the gate opens. */
    assert_int_equal(f->counters.replies, 2);
    assert_true(intake_seal_if_ripe(f));
    assert_int_equal(log_entry(&f->log, f->log.last.index)->record_count, 50);
}

static void full_entries_fly_beyond_the_lowest_gate_and_then_clients_are_told_busy(void **state)
{
    struct intake_fixture *f = *state;
    uint32_t taken = 0;
    while (offer(f, 30000)) {
        (void)intake_seal_if_ripe(f);
        taken++;
        assert_true(taken < 100);
    }
    assert_int_equal(raft_last(f->raft).index - raft_commit_index(f->raft), UNCOMMITTED_MAX);
    assert_int_equal(f->counters.busy, 1);
    intake_drain(f, true);
    assert_true(offer(f, 30000));
}

static void log_without_room_refuses_as_full_and_keeps_a_reserve(void **state)
{
    struct intake_fixture *f = *state;
    f->context.space_position = f->log.end_position + ENTRY_BYTES_MAX + LOG_RESERVE_BYTES - 1;
    assert_false(offer(f, 100));
    assert_int_equal(f->counters.full, 1);
    uint8_t body[32] = {0};
    assert_non_null(intake_make(&f->context, ENTRY_TRIM, body, sizeof body));
    f->context.space_position++;
    assert_true(offer(f, 100));
}

static void request_in_fragments_is_taken_once_whole_in_any_order(void **state)
{
    struct intake_fixture *f = *state;
    static uint8_t records[ENTRY_BYTES_MAX];
    struct wire_frame whole = request(f, records, 50000);
    const uint32_t part = 8000;
    uint32_t parts = (whole.payload_bytes + part - 1) / part;
    /* From the last to the second, the last one twice, then the first. */
    for (uint32_t k = 0; k <= parts; k++) {
        uint32_t i = k == 0 ? parts - 1 : parts - k;
        struct wire_frame frame = whole;
        frame.request.offset = i * part;
        frame.payload = records + i * part;
        frame.payload_bytes =
            whole.payload_bytes - i * part < part ? whole.payload_bytes - i * part : part;
        assert_int_equal(f->counters.request_records, 0);
        assert_true(intake_request(&f->intake, &f->context, &frame, f->net.ports[1].nic.self));
    }
    assert_int_equal(f->counters.request_records, 1);
    assert_true(intake_seal_if_ripe(f));
    intake_drain(f, true);
    assert_int_equal(f->counters.replies, 1);
}

static void entry_says_what_was_committed_when_it_was_made(void **state)
{
    struct intake_fixture *f = *state;
    for (uint64_t made = 0; made < 2; made++) { /* The second one while the first one flies. */
        assert_true(offer(f, 100));
        assert_true(offer(f, 100));
        intake_fixture_seal(f);
        const struct entry_header *header = entry_header_of(log_bytes(&f->log, f->log.last.index));
        assert_int_equal(header->index, 2 + made);
        assert_int_equal(header->commit_index, 1);
        assert_int_equal(header->record_count, 2);
        assert_int_equal(header->session_record_count, 0);
    }
}

static void lost_office_forgets_what_waits(void **state)
{
    struct intake_fixture *f = *state;
    assert_true(offer(f, 100));
    assert_true(intake_is_open(&f->intake));
    intake_reset(&f->intake);
    assert_false(intake_is_open(&f->intake));
    assert_int_equal(intake_commit(&f->intake, &f->context, UINT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entry_is_one_request_at_depth_one, intake_setup,
                                        intake_teardown),
        cmocka_unit_test_setup_teardown(open_entry_grows_while_the_gate_is_closed, intake_setup,
                                        intake_teardown),
        cmocka_unit_test_setup_teardown(
            full_entries_fly_beyond_the_lowest_gate_and_then_clients_are_told_busy, intake_setup,
            intake_teardown),
        cmocka_unit_test_setup_teardown(log_without_room_refuses_as_full_and_keeps_a_reserve,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(request_in_fragments_is_taken_once_whole_in_any_order,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(entry_says_what_was_committed_when_it_was_made,
                                        intake_setup, intake_teardown),
        cmocka_unit_test_setup_teardown(lost_office_forgets_what_waits, intake_setup,
                                        intake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
