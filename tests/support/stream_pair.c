/* stream_pair.c: two halves of a stream joined by hand. See stream_pair.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/entry.h"
#include "tests/support/stream_pair.h"

#define ELECTION_NS  10000000000ull
#define HEARTBEAT_NS 100000000ull
#define ROUNDS_MAX   100u

/* In a frame's header. */
#define FRAME_KIND_AT  6u
#define FRAME_BYTES_AT 12u

static uint64_t store_of(uint8_t id)
{
    return 10u + id;
}

static struct pair_side *other_of(struct pair_side *side)
{
    return side->id == 1 ? &side->pair->follower : &side->pair->leader;
}

static enum raft_taken step(struct pair_side *side, struct raft_event event)
{
    event.now_ns = side->pair->now_ns;
    return raft_step(side->raft, &event);
}

static void refresh(struct pair_side *side)
{
    side->context.now_ns = side->pair->now_ns;
    side->context.header.term = raft_term(side->raft);
}

static void take(void *taker, const uint8_t *entry)
{
    struct pair_side *side = taker;
    log_take(&side->log, entry_header_of(entry), true);
}

/* Entries go to the disk's image as they are; they become durable when the test lets them. */
static void write_down(struct pair_side *side, uint64_t first, uint64_t last)
{
    for (uint64_t index = first; index <= last; index++) {
        const struct log_entry *entry = log_entry(&side->log, index);
        assert_non_null(entry);
        assert_true(entry->position + log_entry_bytes(entry) <= PAIR_DISK_BYTES);
        memcpy(side->image + entry->position, log_bytes(&side->log, index), log_entry_bytes(entry));
    }
    side->write_last = last;
}

static void tell_durable(struct pair_side *side)
{
    struct log_end end;
    if (side->held || raft_durable_index(side->raft) >= side->write_last) {
        return;
    }
    assert_true(log_end_at(&side->log, side->write_last, &end));
    side->context.durable_position = end.position;
    (void)!step(side, (struct raft_event){
                          .kind = RAFT_EVENT_LOG_DURABLE,
                          .log_durable = {.epoch = side->write_epoch, .index = side->write_last}});
}

static void seal(struct pair_side *side, enum entry_kind kind, uint32_t record_bytes)
{
    static uint8_t payload[RECORD_BYTES_MAX];
    struct log *log = &side->log;
    bool client = kind == ENTRY_CLIENT;
    uint32_t body_bytes = client ? record_body_bytes(record_bytes) : 0;
    uint8_t *slot = log_place(log, log->end_position, entry_pages(body_bytes) * PAGE_BYTES,
                              side->context.durable_position);
    assert_non_null(slot);
    struct entry_header header = {
        .kind = (uint8_t)kind,
        .cluster = PAIR_CLUSTER,
        .term = raft_term(side->raft),
        .index = log->last.index + 1,
        .previous_term = log->last.term,
        .position = log->end_position,
        .first_offset = log->next_offset,
        .leader_time_ns = side->pair->now_ns,
        .body_bytes = body_bytes,
        .record_count = client,
    };
    if (client) {
        struct record_header record = {.bytes = record_bytes, .sequence = header.index};
        memset(payload, 0, sizeof payload);
        memset(payload, (int)header.index, record_bytes);
        entry_body_write(slot, 0, &record, sizeof record);
        entry_body_write(slot, sizeof record, payload, body_bytes - RECORD_HEADER_BYTES);
    }
    entry_seal(slot, &header);
    assert_int_equal(step(side, (struct raft_event){.kind = RAFT_EVENT_PROPOSE}), RAFT_TAKEN);
    log_take(log, entry_header_of(slot), true);
}

static void deliver(struct pair_side *from, const struct raft_message *sent)
{
    struct pair *pair = from->pair;
    struct raft_message message = *sent;
    message.from = from->id;
    message.from_store = store_of(from->id);
    message.from_boot = 1;
    struct wire_ack ack = {.session = message.append_reply.session};
    bool acks = message.kind == RAFT_APPEND_REPLY && from == &pair->follower;
    if (acks) {
        refresh(from);
        stream_in_fill_ack(&pair->in, &from->context, &ack);
    }
    struct pair_side *to = other_of(from);
    (void)!step(to, (struct raft_event){.kind = RAFT_EVENT_MESSAGE, .message = &message});
    if (acks && raft_is_leader(to->raft)) {
        refresh(to);
        stream_out_ack(&pair->out, &to->context, &ack);
    }
}

static void carry_out(struct pair_side *side, const struct raft_effect *effect)
{
    switch (effect->kind) {
    case RAFT_EFFECT_SEND:
        deliver(side, &effect->send);
        break;
    case RAFT_EFFECT_WRITE_STATE:
        (void)!step(side, (struct raft_event){
                              .kind = RAFT_EVENT_STATE_DURABLE,
                              .state_durable = {.term = effect->write_state.term,
                                                .vote = effect->write_state.vote,
                                                .entry_term = effect->write_state.entry_term,
                                                .bootstrapped = effect->write_state.bootstrapped}});
        break;
    case RAFT_EFFECT_WRITE_LOG:
        side->write_epoch = effect->write_log.epoch;
        write_down(side, effect->write_log.first_index, effect->write_log.last_index);
        tell_durable(side);
        break;
    case RAFT_EFFECT_MAKE:
        assert_int_equal(effect->make.what, RAFT_MAKE_NOOP);
        seal(side, ENTRY_NOOP, 0);
        break;
    case RAFT_EFFECT_COMMIT:
        break;
    case RAFT_EFFECT_CUT_LOG:
        fail(); /* Nobody's log conflicts here. */
        break;
    }
}

static uint32_t drain_side(struct pair_side *side)
{
    struct raft_effect effects[EFFECTS_BATCH_MAX];
    uint32_t count = raft_drain(side->raft, effects, EFFECTS_BATCH_MAX);
    for (uint32_t i = 0; i < count; i++) {
        carry_out(side, &effects[i]);
    }
    return count;
}

static void drain(struct pair *pair)
{
    uint32_t rounds = 0;
    while (drain_side(&pair->leader) + drain_side(&pair->follower) > 0) {
        assert_true(++rounds < ROUNDS_MAX);
    }
}

static void side_open(struct pair *pair, struct pair_side *side, uint8_t id)
{
    *side = (struct pair_side){.pair = pair, .id = id, .write_last = PAIR_START_INDEX};
    int result = mem_open(&side->mem, log_memory_bytes(LOG_MEMORY_MIN) + raft_size_bytes() +
                                          stream_memory_bytes(1) + 16ull * PAGE_BYTES);
    assert_int_equal(result, 0);
    side->image = calloc(1, PAIR_DISK_BYTES);
    assert_non_null(side->image);
    side->raft = mem_take(&side->mem, "raft", 1, raft_size_bytes(), 64);
    struct raft_config config = {.self = id,
                                 .store = store_of(id),
                                 .boot = 1,
                                 .election_min_ns = ELECTION_NS,
                                 .election_max_ns = 2 * ELECTION_NS,
                                 .heartbeat_ns = HEARTBEAT_NS,
                                 .seed = id};
    struct raft_recovered recovered = {
        .term = 1,
        .entry_term = 1,
        .epoch = 1,
        .bootstrapped = true,
        .start = {.term = 1, .index = PAIR_START_INDEX},
        .last = {.term = 1, .index = PAIR_START_INDEX},
        .configuration = {
            .index = 1,
            .voters = 1u << 1 | 1u << 2,
            .member_count = 2,
            .members = {{.id = 1, .store = store_of(1)}, {.id = 2, .store = store_of(2)}}}};
    raft_init(side->raft, &config, &recovered, pair->now_ns);
    log_init(&side->log, &side->mem, LOG_MEMORY_MIN);
    struct log_start start = {.last = {.term = 1, .index = PAIR_START_INDEX}};
    log_begin(&side->log, &start, PAIR_DISK_BYTES);
    side->outbox.nic = &pair->net.ports[id - 1].nic;
    side->context = (struct stream_context){
        .raft = side->raft,
        .log = &side->log,
        .outbox = &side->outbox,
        .counters = &side->counters,
        .suspects = &side->suspects,
        .header = {.from = id, .cluster = PAIR_CLUSTER, .from_store = store_of(id), .from_boot = 1},
        .cluster = PAIR_CLUSTER,
        .space_position = PAIR_DISK_BYTES,
        .catchup_bytes_per_s = CATCHUP_BYTES_PER_S_MAX,
        .taker = side,
        .take = take,
    };
}

static bool lose(void *context, struct nic_address from, struct nic_address to, const uint8_t *data)
{
    struct pair *pair = context;
    uint32_t frame_bytes;
    (void)from;
    (void)to;
    memcpy(&frame_bytes, data + FRAME_BYTES_AT, sizeof frame_bytes);
    if (data[FRAME_KIND_AT] == WIRE_ENTRY && frame_bytes > pair->largest_bytes) {
        pair->largest_bytes = frame_bytes;
    }
    return pair->deaf || (pair->way_bytes != 0 && frame_bytes > pair->way_bytes);
}

void pair_open(struct pair *pair, uint32_t frame_bytes_max)
{
    memset(pair, 0, sizeof *pair);
    pair->now_ns = 1000000;
    loop_net_open(&pair->net, 2, frame_bytes_max);
    pair->net.lose = lose;
    pair->net.context = pair;
    side_open(pair, &pair->leader, 1);
    side_open(pair, &pair->follower, 2);
    stream_out_init(&pair->out, &pair->leader.mem, 2, pair->net.ports[1].nic.self);
    stream_in_init(&pair->in, &pair->follower.mem);
    for (uint32_t i = 0; i < ROUNDS_MAX && !raft_takes_proposals(pair->leader.raft); i++) {
        pair->now_ns = raft_deadline_ns(pair->leader.raft);
        (void)!step(&pair->leader, (struct raft_event){.kind = RAFT_EVENT_TICK});
        drain(pair);
    }
    assert_true(raft_takes_proposals(pair->leader.raft));
    pair_heartbeat(pair);
}

void pair_close(struct pair *pair)
{
    struct pair_side *sides[] = {&pair->leader, &pair->follower};
    for (uint32_t i = 0; i < 2; i++) {
        free(sides[i]->image);
        mem_close(&sides[i]->mem);
    }
    loop_net_close(&pair->net);
}

void pair_propose(struct pair *pair, uint32_t record_bytes)
{
    seal(&pair->leader, ENTRY_CLIENT, record_bytes);
    drain(pair);
}

uint32_t pair_send(struct pair *pair)
{
    uint32_t sent = 0;
    uint32_t more;
    do {
        refresh(&pair->leader);
        more = stream_out_send(&pair->out, &pair->leader.context);
        (void)outbox_flush(&pair->leader.outbox);
        sent += more;
    } while (more > 0);
    return sent;
}

void pair_receive(struct pair *pair)
{
    struct nic *nic = &pair->net.ports[1].nic;
    struct wire_self self = {.cluster = PAIR_CLUSTER, .boot = 1, .node = 2, .peers = 1u << 1};
    struct wire_counters counters = {0};
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t count;
    refresh(&pair->follower);
    while ((count = nic_rx_burst(nic, frames, RX_BURST_MAX)) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            struct wire_frame frame;
            enum wire_reason reason =
                wire_decode(&self, frames[i].data, frames[i].bytes, &frame, &counters);
            assert_int_equal(reason, WIRE_DROP_ok);
            if (frame.header.kind == WIRE_PROBE) {
                stream_in_probe(&pair->in, &pair->follower.context, &frame);
                continue;
            }
            assert_int_equal(frame.header.kind, WIRE_ENTRY);
            if (frame.entry.id.index > pair->highest_seen) {
                pair->highest_seen = frame.entry.id.index;
            }
            (void)stream_in_entry(&pair->in, &pair->follower.context, &frame);
            (void)stream_in_deliver(&pair->in, &pair->follower.context);
        }
        nic_rx_release(nic, frames, count);
    }
    (void)stream_in_deliver(&pair->in, &pair->follower.context);
    drain(pair);
}

void pair_ack(struct pair *pair)
{
    struct raft_message reply;
    assert_true(raft_ack(pair->follower.raft, &reply));
    deliver(&pair->follower, &reply);
    drain(pair);
}

void pair_heartbeat(struct pair *pair)
{
    pair->now_ns += HEARTBEAT_NS;
    (void)!step(&pair->leader, (struct raft_event){.kind = RAFT_EVENT_TICK});
    drain(pair);
}

uint32_t pair_fetch(struct pair *pair)
{
    struct stream_fetch *fetch = &pair->out.fetch;
    refresh(&pair->leader);
    if (fetch->state != FETCH_WANTED || !stream_out_may_fetch(&pair->out, &pair->leader.context)) {
        return 0;
    }
    uint64_t durable = pair->leader.context.durable_position;
    assert_true(fetch->position < durable);
    uint64_t bytes = durable - fetch->position;
    fetch->bytes = bytes < STREAM_FETCH_BYTES ? (uint32_t)bytes : STREAM_FETCH_BYTES;
    memcpy(fetch->buffer, pair->leader.image + fetch->position, fetch->bytes);
    stream_out_fetching(&pair->out, &pair->leader.context);
    fetch->state = FETCH_READY;
    pair->fetched_bytes += fetch->bytes;
    return 1;
}

void pair_durable(struct pair *pair, struct pair_side *side)
{
    side->held = false;
    tell_durable(side);
    drain(pair);
}

void pair_run(struct pair *pair, uint32_t steps, uint64_t step_ns)
{
    for (uint32_t i = 0; i < steps; i++) {
        pair->now_ns += step_ns;
        (void)pair_send(pair);
        while (pair_fetch(pair) > 0) {
            (void)pair_send(pair);
        }
        pair_receive(pair);
        refresh(&pair->follower);
        if (stream_in_ack_owed(&pair->in, &pair->follower.context)) {
            pair_ack(pair);
        }
    }
}

uint32_t pair_waiting(const struct pair *pair)
{
    return pair->net.ports[1].head - pair->net.ports[1].tail;
}

struct loop_frame *pair_frame(struct pair *pair, uint32_t number)
{
    assert_true(number < pair_waiting(pair));
    struct loop_port *port = &pair->net.ports[1];
    return &port->frames[(port->tail + number) % LOOP_FRAMES_MAX];
}

void pair_assert_same(struct pair *pair)
{
    const struct log *ours = &pair->leader.log;
    const struct log *theirs = &pair->follower.log;
    assert_int_equal(theirs->last.index, ours->last.index);
    assert_int_equal(theirs->last.term, ours->last.term);
    assert_int_equal(theirs->end_position, ours->end_position);
    for (uint64_t index = PAIR_START_INDEX + 1; index <= ours->last.index; index++) {
        const uint8_t *bytes = log_bytes(theirs, index);
        const struct log_entry *entry = log_entry(ours, index);
        if (bytes != NULL) {
            assert_null(entry_check(bytes, PAIR_CLUSTER));
            assert_memory_equal(bytes + NODE_HEADER_BYTES,
                                pair->leader.image + entry->position + NODE_HEADER_BYTES,
                                log_entry_bytes(entry) - NODE_HEADER_BYTES);
        }
    }
}
