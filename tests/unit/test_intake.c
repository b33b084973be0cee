/* test_intake.c: the batch and its gate, on the leader of a cluster of one whose disk the test is.
 */
#include "engine/intake.h"
#include "tests/support/loop_nic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER 5u

struct fixture {
    struct mem mem;
    struct loop_net net;
    struct raft *raft;
    struct log log;
    struct intake intake;
    struct outbox outbox;
    struct replica_counters counters;
    struct intake_context context;
    uint64_t now_ns;
    uint64_t sequence;
};

static enum raft_taken step(struct fixture *f, struct raft_event event)
{
    event.now_ns = f->now_ns;
    return raft_step(f->raft, &event);
}

/* Carry out one thing that the core owes. */
static void effect_carry_out(struct fixture *f, const struct raft_effect *effect)
{
    struct raft_event event = {0};
    const uint8_t *entry = NULL;
    switch (effect->kind) {
    case RAFT_EFFECT_WRITE_STATE:
        event.kind = RAFT_EVENT_STATE_DURABLE;
        event.state_durable.term = effect->write_state.term;
        event.state_durable.vote = effect->write_state.vote;
        event.state_durable.entry_term = effect->write_state.entry_term;
        event.state_durable.bootstrapped = effect->write_state.bootstrapped;
        (void)!step(f, event);
        break;
    case RAFT_EFFECT_MAKE: {
        uint8_t body[64] = {0};
        entry = intake_make(&f->context, ENTRY_CONFIGURATION, body, sizeof body);
        assert_non_null(entry);
        event.kind = RAFT_EVENT_PROPOSE;
        event.propose.configuration = &effect->make.configuration;
        assert_int_equal(step(f, event), RAFT_TAKEN);
        log_take(&f->log, entry_header_of(entry), true);
        break;
    }
    case RAFT_EFFECT_COMMIT:
        (void)intake_commit(&f->intake, &f->context, effect->commit.index);
        break;
    case RAFT_EFFECT_SEND:
    case RAFT_EFFECT_WRITE_LOG:
    case RAFT_EFFECT_CUT_LOG:
        break;
    }
}

static void effects_carry_out(struct fixture *f)
{
    struct raft_effect effects[EFFECTS_BATCH_MAX];
    uint32_t count;
    while ((count = raft_drain(f->raft, effects, EFFECTS_BATCH_MAX)) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            effect_carry_out(f, &effects[i]);
        }
    }
}

/* Carry out what the core owes; the log's writes become durable only with `durable`. */
static void drain(struct fixture *f, bool durable)
{
    effects_carry_out(f);
    if (durable && raft_durable_index(f->raft) < f->log.last.index) {
        f->context.durable_position = f->log.end_position;
        (void)!step(f,
                    (struct raft_event){.kind = RAFT_EVENT_LOG_DURABLE,
                                        .log_durable = {.epoch = 1, .index = f->log.last.index}});
        effects_carry_out(f);
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    uint64_t bytes = log_memory_bytes(LOG_MEMORY_MIN) + intake_memory_bytes() + raft_size_bytes();
    int result = mem_open(&f->mem, bytes + 16 * PAGE_BYTES);
    assert_int_equal(result, 0);
    loop_net_open(&f->net, 2, FRAME_BYTES_MAX);
    f->outbox.nic = &f->net.ports[0].nic;
    f->raft = mem_take(&f->mem, "raft", 1, raft_size_bytes(), 64);
    log_init(&f->log, &f->mem, LOG_MEMORY_MIN);
    struct log_start start = {0};
    log_begin(&f->log, &start, 64u << 20);
    intake_init(&f->intake, &f->mem);
    struct raft_config config = {.self = 1,
                                 .store = 11,
                                 .boot = 1,
                                 .election_min_ns = 1000,
                                 .election_max_ns = 2000,
                                 .heartbeat_ns = 100,
                                 .seed = 1};
    struct raft_recovered recovered = {.epoch = 1,
                                       .configuration = {.voters = 1u << 1,
                                                         .member_count = 1,
                                                         .members = {{.id = 1, .store = 11}}}};
    raft_init(f->raft, &config, &recovered, 0);
    f->context = (struct intake_context){.raft = f->raft,
                                         .log = &f->log,
                                         .outbox = &f->outbox,
                                         .counters = &f->counters,
                                         .header = {.from = 1, .cluster = CLUSTER},
                                         .cluster = CLUSTER,
                                         .space_position = 64u << 20,
                                         .own_space_position = 64u << 20};
    for (uint32_t i = 0; i < 100 && !raft_takes_proposals(f->raft); i++) {
        f->now_ns += 1000;
        (void)!step(f, (struct raft_event){.kind = RAFT_EVENT_TICK});
        drain(f, true);
    }
    assert_true(raft_takes_proposals(f->raft));
    assert_int_equal(raft_commit_index(f->raft), 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    loop_net_close(&f->net);
    mem_close(&f->mem);
    free(f);
    return 0;
}

static struct wire_frame request(struct fixture *f, uint8_t *records, uint32_t payload_bytes)
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
static bool offer(struct fixture *f, uint32_t payload_bytes)
{
    static uint8_t records[ENTRY_BYTES_MAX];
    struct wire_frame frame = request(f, records, payload_bytes);
    uint64_t before = f->counters.request_records;
    if (!intake_request(&f->intake, &f->context, &frame, f->net.ports[1].nic.self)) {
        const uint8_t *entry = intake_seal(&f->intake, &f->context);
        assert_int_equal(step(f, (struct raft_event){.kind = RAFT_EVENT_PROPOSE}), RAFT_TAKEN);
        log_take(&f->log, entry_header_of(entry), true);
        assert_true(intake_request(&f->intake, &f->context, &frame, f->net.ports[1].nic.self));
    }
    return f->counters.request_records > before;
}

static bool seal_if_ripe(struct fixture *f)
{
    if (!intake_is_ripe(&f->intake, &f->context)) {
        return false;
    }
    const uint8_t *entry = intake_seal(&f->intake, &f->context);
    assert_null(entry_check(entry, CLUSTER));
    assert_int_equal(step(f, (struct raft_event){.kind = RAFT_EVENT_PROPOSE}), RAFT_TAKEN);
    log_take(&f->log, entry_header_of(entry), true);
    return true;
}

static void entry_is_one_request_at_depth_one(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 5; i++) {
        assert_true(offer(f, 100));
        assert_true(seal_if_ripe(f));
        assert_int_equal(log_entry(&f->log, f->log.last.index)->record_count, 1);
        drain(f, true);
    }
    assert_int_equal(f->counters.replies, 5);
}

static void open_entry_grows_while_the_gate_is_closed(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < UNCOMMITTED_MIN; i++) {
        assert_true(offer(f, 100));
        assert_true(seal_if_ripe(f));
    }
    for (uint32_t i = 0; i < 50; i++) {
        assert_true(offer(f, 100));
        assert_false(seal_if_ripe(f));
    }
    drain(f, true); /* The two are durable and so committed: the gate opens. */
    assert_int_equal(f->counters.replies, 2);
    assert_true(seal_if_ripe(f));
    assert_int_equal(log_entry(&f->log, f->log.last.index)->record_count, 50);
}

static void full_entries_fly_beyond_the_lowest_gate_and_then_clients_are_told_busy(void **state)
{
    struct fixture *f = *state;
    uint32_t taken = 0;
    while (offer(f, 30000)) {
        (void)seal_if_ripe(f);
        taken++;
        assert_true(taken < 100);
    }
    assert_int_equal(raft_last(f->raft).index - raft_commit_index(f->raft), UNCOMMITTED_MAX);
    assert_int_equal(f->counters.busy, 1);
    drain(f, true);
    assert_true(offer(f, 30000));
}

static void log_without_room_refuses_as_full_and_keeps_a_reserve(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    assert_true(seal_if_ripe(f));
    drain(f, true);
    assert_int_equal(f->counters.replies, 1);
}

static void entry_says_what_was_committed_when_it_was_made(void **state)
{
    struct fixture *f = *state;
    for (uint64_t made = 0; made < 2; made++) { /* The second one while the first one flies. */
        assert_true(offer(f, 100));
        assert_true(offer(f, 100));
        const uint8_t *entry = intake_seal(&f->intake, &f->context);
        assert_null(entry_check(entry, CLUSTER));
        assert_int_equal(entry_header_of(entry)->index, 2 + made);
        assert_int_equal(entry_header_of(entry)->commit_index, 1);
        assert_int_equal(entry_header_of(entry)->record_count, 2);
        assert_int_equal(entry_header_of(entry)->session_record_count, 0);
        assert_int_equal(step(f, (struct raft_event){.kind = RAFT_EVENT_PROPOSE}), RAFT_TAKEN);
        log_take(&f->log, entry_header_of(entry), true);
    }
}

static void lost_office_forgets_what_waits(void **state)
{
    struct fixture *f = *state;
    assert_true(offer(f, 100));
    assert_true(intake_is_open(&f->intake));
    intake_reset(&f->intake);
    assert_false(intake_is_open(&f->intake));
    assert_int_equal(intake_commit(&f->intake, &f->context, UINT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entry_is_one_request_at_depth_one, setup, teardown),
        cmocka_unit_test_setup_teardown(open_entry_grows_while_the_gate_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(
            full_entries_fly_beyond_the_lowest_gate_and_then_clients_are_told_busy, setup,
            teardown),
        cmocka_unit_test_setup_teardown(log_without_room_refuses_as_full_and_keeps_a_reserve, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(request_in_fragments_is_taken_once_whole_in_any_order,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(entry_says_what_was_committed_when_it_was_made, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lost_office_forgets_what_waits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
