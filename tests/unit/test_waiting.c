/* test_waiting.c: reads that wait for the proof of the office, or for their record, with a core
 * whose peers are the test (rules G1 to G3). */
#include "engine/waiting.h"
#include "tests/support/loop_nic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/test_raft_core.h"

#define CLUSTER 77u
#define FRAME   1472u
#define BOOT    3u

static const uint64_t old_log[] = {1, 1, 2};

struct fixture {
    struct mem mem;
    struct loop_net net;
    struct core core;
    struct log log;
    struct reader reader;
    struct outbox outbox;
    struct replica_counters counters;
    struct waiting waiting;
    struct waiting_context context;
    struct wire_read_reply reply;
    uint64_t reply_token;
    uint64_t token;
};

static int setup_nodes(void **state, uint8_t node_count)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    uint64_t bytes = log_memory_bytes(LOG_MEMORY_MIN) + reader_memory_bytes();
    assert_int_equal(mem_open(&f->mem, bytes + 16 * PAGE_BYTES), 0);
    loop_net_open(&f->net, 2, FRAME);
    f->outbox.nic = &f->net.ports[0].nic;
    log_init(&f->log, &f->mem, LOG_MEMORY_MIN);
    struct log_start start = {.last = {.term = 2, .index = 3}, .offset = 100};
    log_begin(&f->log, &start, 16u << 20);
    reader_init(&f->reader, &f->mem);
    core_prepare_log(&f->core, node_count, old_log, 3);
    core_start(&f->core);
    f->context = (struct waiting_context){
        .reader = &f->reader,
        .answers = {.log = &f->log,
                    .outbox = &f->outbox,
                    .counters = &f->counters,
                    .header = {.from = 1, .cluster = CLUSTER, .from_store = 11, .from_boot = 1},
                    .cluster = CLUSTER,
                    .committed_offset = 100},
        .raft = f->core.raft,
        .applied_index = 4,
    };
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_nodes(state, 3);
}

static int setup_alone(void **state)
{
    return setup_nodes(state, 1);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    core_fini(&f->core);
    loop_net_close(&f->net);
    mem_close(&f->mem);
    free(f);
    return 0;
}

/* Node 1 leads, and its first entry is committed and applied. */
static void lead(struct fixture *f)
{
    core_lead(&f->core);
    core_acks(&f->core, 4);
    assert_int_equal(raft_commit_index(f->core.raft), 4);
    core_drain(&f->core);
}

/* One more record, in memory, committed and applied. */
static void commit_record(struct fixture *f)
{
    struct log *log = &f->log;
    struct entry_header header = {
        .kind = ENTRY_CLIENT,
        .cluster = CLUSTER,
        .term = 3,
        .index = log->last.index + 1,
        .previous_term = log->last.term,
        .position = log->end_position,
        .first_offset = log->next_offset,
        .body_bytes = record_body_bytes(8),
        .record_count = 1,
    };
    struct {
        struct record_header record;
        uint8_t payload[8];
    } body = {.record = {.bytes = 8}};
    uint8_t *slot = log_place(log, log->end_position, PAGE_BYTES, log->end_position);
    assert_non_null(slot);
    entry_body_write(slot, 0, (const uint8_t *)&body, header.body_bytes);
    entry_seal(slot, &header);
    log_take(log, entry_header_of(slot), true);
    f->context.answers.committed_offset = log->next_offset;
}

static void send_again(struct fixture *f, struct wire_read read)
{
    struct wire_frame frame = {.header = {.kind = WIRE_READ, .from_boot = BOOT, .token = f->token},
                               .read = read};
    f->context.now_ns = f->core.now_ns;
    f->context.answers.leader = raft_leader(f->core.raft);
    waiting_request(&f->waiting, &f->context, &frame, f->net.ports[1].nic.self);
}

static void ask(struct fixture *f, struct wire_read read)
{
    f->token++;
    send_again(f, read);
}

static uint32_t serve(struct fixture *f)
{
    f->context.now_ns = f->core.now_ns;
    f->context.answers.leader = raft_leader(f->core.raft);
    return waiting_serve(&f->waiting, &f->context);
}

/* Take one answer that the client has, if any. */
static bool answered(struct fixture *f)
{
    (void)outbox_flush(&f->outbox);
    struct nic *nic = &f->net.ports[1].nic;
    const struct wire_self self = {.cluster = CLUSTER, .boot = BOOT};
    struct wire_counters counters = {0};
    struct wire_frame frame;
    struct nic_frame received;
    if (nic_rx_burst(nic, &received, 1) == 0) {
        return false;
    }
    enum wire_reason reason = wire_decode(&self, received.data, received.bytes, &frame, &counters);
    assert_int_equal(reason, WIRE_DROP_ok);
    assert_int_equal(frame.header.kind, WIRE_READ_REPLY);
    f->reply = frame.read_reply;
    f->reply_token = frame.header.token;
    nic_rx_release(nic, &received, 1);
    return true;
}

static void assert_answer(struct fixture *f, enum wire_status status)
{
    assert_true(answered(f));
    assert_int_equal(f->reply.status, status);
}

static void peer_answers(struct fixture *f, uint8_t peer)
{
    core_drain(&f->core);
    const struct raft_message *append = core_sent(&f->core, RAFT_APPEND, peer);
    assert_non_null(append);
    struct raft_message ack = core_ack(append, true, 4);
    core_receive(&f->core, &ack);
}

static const struct wire_read linearizable = {.offset = 100, .linearizable = true};
static const struct wire_read following = {.offset = 100, .waits = true};

/* G1 */
static void linearizable_read_is_answered_when_a_quorum_has_confirmed_the_office(void **state)
{
    struct fixture *f = *state;
    lead(f);
    ask(f, linearizable);
    assert_int_equal(serve(f), 0);
    assert_false(answered(f));
    peer_answers(f, 2);
    assert_int_equal(serve(f), 1);
    assert_answer(f, WIRE_OK);
    assert_int_equal(f->reply.committed_offset, 100);
    assert_int_equal(f->reply.leader, 1);
    assert_int_equal(serve(f), 0);
    assert_false(answered(f));
    assert_int_equal(f->counters.reads_confirmed, 1);
}

/* G1: step 4. */
static void linearizable_read_waits_until_its_index_is_applied(void **state)
{
    struct fixture *f = *state;
    lead(f);
    f->context.applied_index = 3;
    ask(f, linearizable);
    peer_answers(f, 2);
    assert_int_equal(serve(f), 0);
    f->context.applied_index = 4;
    commit_record(f);
    assert_int_equal(serve(f), 1);
    assert_answer(f, WIRE_OK);
    assert_int_equal(f->reply.committed_offset, 101);
    assert_int_equal(f->reply.record_count, 1);
}

static void only_voter_answers_a_linearizable_read_at_once(void **state)
{
    struct fixture *f = *state;
    core_campaign(&f->core);
    assert_int_equal(core_propose(&f->core, NULL), RAFT_TAKEN);
    core_settle(&f->core);
    ask(f, linearizable);
    assert_int_equal(serve(f), 1);
    assert_answer(f, WIRE_OK);
}

/* G3 */
static void follower_names_the_leader_to_a_linearizable_read(void **state)
{
    struct fixture *f = *state;
    struct raft_message append = core_append(&f->core, 2, (struct raft_entry_id){2, 3});
    append.term = 3;
    core_receive(&f->core, &append);
    ask(f, linearizable);
    assert_answer(f, WIRE_NOT_LEADER);
    assert_int_equal(f->reply.leader, 2);
    assert_int_equal(f->counters.reads_refused, 1);
}

/* G1: what is committed is not known before. */
static void new_leader_is_busy_until_an_entry_of_its_term_is_committed(void **state)
{
    struct fixture *f = *state;
    core_lead(&f->core);
    ask(f, linearizable);
    assert_answer(f, WIRE_BUSY);
    core_acks(&f->core, 4);
    ask(f, linearizable);
    assert_false(answered(f));
}

/* G3 */
static void reads_that_wait_are_refused_when_the_office_is_lost(void **state)
{
    struct fixture *f = *state;
    lead(f);
    for (uint32_t i = 0; i < 5; i++) {
        ask(f, linearizable);
    }
    struct raft_message append = core_append(&f->core, 3, (struct raft_entry_id){3, 4});
    append.term = 4;
    core_receive(&f->core, &append);
    assert_int_equal(serve(f), 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_answer(f, WIRE_NOT_LEADER);
        assert_int_equal(f->reply.leader, 3);
    }
    assert_int_equal(f->counters.reads_lost, 5);
}

/* G3, J2, O2: the client asks again. */
static void reads_that_wait_are_told_busy_when_their_proof_is_lost(void **state)
{
    struct fixture *f = *state;
    lead(f);
    ask(f, linearizable);
    core_event(&f->core, RAFT_EVENT_TIME_LOST);
    assert_int_equal(serve(f), 1);
    assert_answer(f, WIRE_BUSY);
    ask(f, linearizable);
    struct raft_event event = {
        .kind = RAFT_EVENT_TRANSFER, .now_ns = f->core.now_ns, .transfer = {.to = 2}};
    assert_int_equal(core_step(&f->core, &event), RAFT_REFUSED);
    assert_int_equal(serve(f), 1);
    assert_answer(f, WIRE_BUSY);
}

static void full_table_tells_busy_and_lets_nobody_else_wait(void **state)
{
    struct fixture *f = *state;
    lead(f);
    for (uint32_t i = 0; i < READ_WAITS_MAX; i++) {
        ask(f, linearizable);
    }
    assert_false(answered(f));
    ask(f, linearizable);
    assert_answer(f, WIRE_BUSY);
    ask(f, following);
    assert_answer(f, WIRE_OK);
    assert_int_equal(f->reply.record_count, 0);
    peer_answers(f, 3);
    assert_int_equal(serve(f), READ_WAITS_MAX);
    for (uint32_t i = 0; i < READ_WAITS_MAX; i++) {
        assert_answer(f, WIRE_OK);
    }
}

/* N4, N10 */
static void repeated_frame_waits_once(void **state)
{
    struct fixture *f = *state;
    lead(f);
    ask(f, linearizable);
    send_again(f, linearizable);
    ask(f, following);
    send_again(f, following);
    assert_int_equal(f->waiting.count, 2);
    peer_answers(f, 2);
    commit_record(f);
    assert_int_equal(serve(f), 2);
    assert_true(answered(f));
    assert_true(answered(f));
    assert_false(answered(f));
}

static void read_at_the_end_waits_for_its_record(void **state)
{
    struct fixture *f = *state;
    ask(f, following);
    ask(f, (struct wire_read){.offset = 101, .waits = true});
    assert_int_equal(serve(f), 0);
    commit_record(f);
    assert_int_equal(serve(f), 1);
    assert_answer(f, WIRE_OK);
    assert_int_equal(f->reply.offset, 100);
    assert_int_equal(f->reply.record_count, 1);
    assert_int_equal(f->reply_token, 1);
    commit_record(f);
    assert_int_equal(serve(f), 1);
    assert_answer(f, WIRE_OK);
    assert_int_equal(f->reply.offset, 101);
    ask(f, following); /* It is there: nothing is waited for. */
    assert_answer(f, WIRE_OK);
    assert_int_equal(f->reply.record_count, 2);
}

static void read_at_the_end_is_answered_empty_when_nothing_comes(void **state)
{
    struct fixture *f = *state;
    ask(f, following);
    assert_int_equal(waiting_deadline_ns(&f->waiting), f->core.now_ns + READ_HOLD_NS);
    f->core.now_ns += READ_HOLD_NS - 1;
    assert_int_equal(serve(f), 0);
    f->core.now_ns++;
    assert_int_equal(serve(f), 1);
    assert_answer(f, WIRE_OK);
    assert_int_equal(f->reply.record_count, 0);
    assert_int_equal(waiting_deadline_ns(&f->waiting), UINT64_MAX);
    ask(f, (struct wire_read){.offset = 100}); /* Who does not want to wait does not. */
    assert_answer(f, WIRE_OK);
}

static void replica_that_stops_lets_nobody_wait(void **state)
{
    struct fixture *f = *state;
    lead(f);
    ask(f, following);
    f->context.closed = true;
    assert_int_equal(serve(f), 1);
    assert_answer(f, WIRE_OK);
    ask(f, following);
    assert_answer(f, WIRE_OK);
    ask(f, linearizable);
    assert_answer(f, WIRE_BUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            linearizable_read_is_answered_when_a_quorum_has_confirmed_the_office, setup, teardown),
        cmocka_unit_test_setup_teardown(linearizable_read_waits_until_its_index_is_applied, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(only_voter_answers_a_linearizable_read_at_once, setup_alone,
                                        teardown),
        cmocka_unit_test_setup_teardown(follower_names_the_leader_to_a_linearizable_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(new_leader_is_busy_until_an_entry_of_its_term_is_committed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(reads_that_wait_are_refused_when_the_office_is_lost, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(reads_that_wait_are_told_busy_when_their_proof_is_lost,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(full_table_tells_busy_and_lets_nobody_else_wait, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(repeated_frame_waits_once, setup, teardown),
        cmocka_unit_test_setup_teardown(read_at_the_end_waits_for_its_record, setup, teardown),
        cmocka_unit_test_setup_teardown(read_at_the_end_is_answered_empty_when_nothing_comes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(replica_that_stops_lets_nobody_wait, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
