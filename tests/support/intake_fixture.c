/* intake_fixture.c: see intake_fixture.h. */
#include "tests/support/intake_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER INTAKE_CLUSTER

static enum raft_taken step(struct intake_fixture *f, struct raft_event event)
{
    event.now_ns = f->now_ns;
    return raft_step(f->raft, &event);
}

/* Carry out one thing that the core owes. */
static void effect_carry_out(struct intake_fixture *f, const struct raft_effect *effect)
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
        sessions_commit(&f->sessions, effect->commit.index);
        (void)intake_commit(&f->intake, &f->context, effect->commit.index);
        (void)outbox_flush(&f->outbox);
        break;
    case RAFT_EFFECT_SEND:
    case RAFT_EFFECT_WRITE_LOG:
    case RAFT_EFFECT_CUT_LOG:
        break;
    }
}

static void effects_carry_out(struct intake_fixture *f)
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
void intake_drain(struct intake_fixture *f, bool durable)
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

int intake_setup(void **state)
{
    struct intake_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    uint64_t bytes = log_memory_bytes(LOG_MEMORY_MIN) + intake_memory_bytes() + raft_size_bytes() +
                     sessions_memory_bytes();
    int result = mem_open(&f->mem, bytes + 16 * PAGE_BYTES);
    assert_int_equal(result, 0);
    loop_net_open(&f->net, 2, FRAME_BYTES_MAX);
    f->outbox.nic = &f->net.ports[0].nic;
    f->raft = mem_take(&f->mem, "raft", 1, raft_size_bytes(), 64);
    log_init(&f->log, &f->mem, LOG_MEMORY_MIN);
    struct log_start start = {0};
    log_begin(&f->log, &start, 64u << 20);
    intake_init(&f->intake, &f->mem);
    sessions_init(&f->sessions, &f->mem);
    assert_true(sessions_begin(&f->sessions, NULL, 0));
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
    f->context = (struct intake_context){
        .raft = f->raft,
        .log = &f->log,
        .outbox = &f->outbox,
        .counters = &f->counters,
        .sessions = &f->sessions,
        .header = {.from = 1, .cluster = CLUSTER, .from_store = 11, .from_boot = 1},
        .cluster = CLUSTER,
        .space_position = 64u << 20,
        .make_position = 64u << 20};
    for (uint32_t i = 0; i < 100 && !raft_takes_proposals(f->raft); i++) {
        f->now_ns += 1000;
        (void)!step(f, (struct raft_event){.kind = RAFT_EVENT_TICK});
        intake_drain(f, true);
    }
    assert_true(raft_takes_proposals(f->raft));
    assert_int_equal(raft_commit_index(f->raft), 1);
    *state = f;
    return 0;
}

int intake_teardown(void **state)
{
    struct intake_fixture *f = *state;
    loop_net_close(&f->net);
    mem_close(&f->mem);
    free(f);
    return 0;
}

void intake_fixture_seal(struct intake_fixture *f)
{
    const uint8_t *entry = intake_seal(&f->intake, &f->context);
    assert_null(entry_check(entry, CLUSTER));
    assert_null(sessions_check(entry));
    assert_int_equal(step(f, (struct raft_event){.kind = RAFT_EVENT_PROPOSE}), RAFT_TAKEN);
    log_take(&f->log, entry_header_of(entry), true);
}

bool intake_seal_if_ripe(struct intake_fixture *f)
{
    if (!intake_is_ripe(&f->intake, &f->context)) {
        return false;
    }
    intake_fixture_seal(f);
    return true;
}

static bool take(struct intake_fixture *f, const struct wire_frame *frame)
{
    struct nic_address from = f->net.ports[1].nic.self;
    return frame->header.kind == WIRE_OPEN ? intake_open(&f->intake, &f->context, frame, from)
                                           : intake_request(&f->intake, &f->context, frame, from);
}

void intake_offer(struct intake_fixture *f, const struct wire_frame *frame)
{
    if (!take(f, frame)) {
        intake_fixture_seal(f);
        assert_true(take(f, frame));
    }
    (void)outbox_flush(&f->outbox);
}

bool intake_answer(struct intake_fixture *f, struct wire_frame *answer)
{
    struct wire_self self = {.cluster = CLUSTER, .boot = INTAKE_CLIENT};
    struct wire_counters counters = {0};
    struct nic_frame received;
    struct nic *nic = &f->net.ports[1].nic;
    if (nic_rx_burst(nic, &received, 1) == 0) {
        return false;
    }
    assert_int_equal(wire_decode(&self, received.data, received.bytes, answer, &counters),
                     WIRE_DROP_ok);
    nic_rx_release(nic, &received, 1);
    return true;
}
