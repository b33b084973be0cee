/* replica_drain.c: effects out. What the core owes becomes frames, log writes, superblock updates,
 * applied entries and replies; streams send; the disk gets everything as one batch. */
#include "engine/replica_state.h"

#include <string.h>

/* Stages ------------------------------------------------------------------------------------------
 */

static struct stage_times *times_of(struct replica *r, uint64_t index)
{
    return &r->times[index % STAGE_ENTRIES];
}

static void time_sealed(struct replica *r, uint64_t index, uint64_t received_ns)
{
    if (r->tracing) {
        *times_of(r, index) = (struct stage_times){.index = index, .received_ns = received_ns};
        replica_time_until(r, STAGE_RECEIVE, index);
    }
}

static void record(struct replica *r, enum replica_stage stage, uint64_t *at, uint64_t from_ns)
{
    if (*at == 0 && from_ns != 0) {
        *at = r->now_ns;
        histogram_record(&r->stages[stage], r->now_ns - from_ns);
    }
}

static void time_one(struct replica *r, struct stage_times *times, enum replica_stage stage)
{
    switch (stage) {
    case STAGE_RECEIVE:
        record(r, stage, &times->sealed_ns, times->received_ns);
        break;
    case STAGE_SUBMIT:
        record(r, stage, &times->submitted_ns, times->sealed_ns);
        break;
    case STAGE_LOCAL_DURABLE:
        record(r, stage, &times->local_ns, times->submitted_ns);
        break;
    case STAGE_FOLLOWER_DURABLE:
        record(r, stage, &times->follower_ns, times->submitted_ns);
        break;
    case STAGE_QUORUM:
        record(r, stage, &times->committed_ns, times->submitted_ns);
        break;
    case STAGE_REPLY:
        record(r, stage, &times->replied_ns, times->committed_ns);
        break;
    case STAGE_COUNT:
        break;
    }
}

void replica_time_until(struct replica *r, enum replica_stage stage, uint64_t index)
{
    if (!r->tracing || !raft_is_leader(r->raft)) {
        return;
    }
    uint64_t next = r->stage_next[stage];
    if (index >= STAGE_ENTRIES && next < index - STAGE_ENTRIES + 1) {
        next = index - STAGE_ENTRIES + 1;
    }
    for (; next <= index; next++) {
        struct stage_times *times = times_of(r, next);
        if (times->index == next) { /* Entries that are not the clients' are not timed. */
            time_one(r, times, stage);
        }
    }
    r->stage_next[stage] = next;
}

/* The clock is read once an iteration: what the last one handed to the disk and to the nic is
 * stamped at the start of this one. */
void replica_time_iteration(struct replica *r)
{
    replica_time_until(r, STAGE_SUBMIT, r->write_first - 1);
    replica_time_until(r, STAGE_REPLY, raft_commit_index(r->raft));
}

/* Sealing -----------------------------------------------------------------------------------------
 */

void replica_take(void *replica, const uint8_t *entry)
{
    struct replica *r = replica;
    const struct entry_header *header = entry_header_of(entry);
    ASSERT(!raft_is_leader(r->raft));
    ASSERT(raft_commit_index(r->raft) >= header->commit_index);
    if (header->session_record_count > 0) {
        /* So that notes of no more entries than may be uncommitted are kept. */
        replica_apply(r, header->commit_index);
    }
    log_take(&r->log, header, true);
    machine_append(&r->machine, entry);
    r->counters.entries_taken++;
    r->working = true;
}

static void
propose(struct replica *r, const uint8_t *entry, const struct raft_configuration *carried)
{
    struct raft_event event = {.kind = RAFT_EVENT_PROPOSE, .propose = {.configuration = carried}};
    enum raft_taken taken = replica_step(r, &event);
    ASSERT(taken == RAFT_TAKEN);
    log_take(&r->log, entry_header_of(entry), true);
    machine_append_own(&r->machine, entry);
    r->working = true;
    ASSERT(raft_last(r->raft).index == r->log.last.index);
}

void replica_seal_open(struct replica *r)
{
    struct intake_context context = replica_intake_context(r);
    uint64_t opened_ns = r->intake.opened_ns;
    const uint8_t *entry = intake_seal(&r->intake, &context);
    time_sealed(r, entry_header_of(entry)->index, opened_ns);
    propose(r, entry, NULL);
}

/* Whether the smallest log among the voters, a smaller one than the retention was chosen for, has
 * no room for one more segment, although every voter has followed the last trim. */
static bool is_tight(const struct replica *r, const struct intake_context *context)
{
    uint64_t wanted_bytes = r->machine.segment_bytes + ENTRY_BYTES_MAX + LOG_RESERVE_BYTES;
    return r->log.end_position + wanted_bytes > context->space_position &&
           context->space_position > r->trim_space;
}

/* Below which position the log may begin; 0: nothing is to be trimmed. The oldest segments go when
 * more than the retention is kept, or the oldest one when one of the logs is too small for that. */
static uint64_t trim_limit(const struct replica *r, const struct intake_context *context)
{
    uint64_t segment_bytes = r->machine.segment_bytes;
    uint64_t kept = r->log.end_position - r->log.start.position;
    uint64_t limit = 0;
    if (kept > r->config.retention_bytes) {
        limit = r->log.end_position - r->config.retention_bytes;
    }
    uint64_t oldest = (r->log.start.position / segment_bytes + 2) * segment_bytes - PAGE_BYTES;
    if (limit < oldest && is_tight(r, context)) {
        limit = oldest;
    }
    return limit;
}

static uint32_t seal_trim(struct replica *r, const struct intake_context *context)
{
    bool able = r->config.retention_bytes != 0 && raft_takes_proposals(r->raft) &&
                !intake_is_open(&r->intake) && r->trim_index <= raft_commit_index(r->raft);
    uint64_t limit = able ? trim_limit(r, context) : 0;
    if (limit == 0) {
        return 0;
    }
    limit = r->commit_position < limit ? r->commit_position : limit;
    limit = r->hold_trim_position < limit ? r->hold_trim_position : limit;
    struct log_start start;
    if (!machine_boundary_below(&r->machine, limit, &start) || start.last.index == 0) {
        return 0;
    }
    uint8_t body[TRIM_BODY_BYTES];
    trim_encode(&start, body);
    const uint8_t *entry = intake_make(context, ENTRY_TRIM, body, sizeof body);
    if (entry == NULL) {
        return 0;
    }
    propose(r, entry, NULL);
    r->trim_index = r->log.last.index;
    r->trim_space = context->space_position;
    return 1;
}

/* What waits in the open entry is nobody's any more. */
static void drop_open(struct replica *r)
{
    intake_reset(&r->intake);
    sessions_cut(&r->machine.sessions, r->log.last.index);
}

uint32_t replica_seal(struct replica *r)
{
    bool leader = raft_is_leader(r->raft);
    if (leader != r->was_leader) {
        r->was_leader = leader;
        r->trim_index = 0;
        r->trim_space = 0;
        drop_open(r);
        memset(r->times, 0, sizeof r->times);
        for (uint32_t stage = 0; stage < STAGE_COUNT; stage++) {
            r->stage_next[stage] = r->log.last.index + 1;
        }
    }
    if (!leader || r->stopping) {
        return 0;
    }
    uint32_t count = 0;
    struct intake_context context = replica_intake_context(r);
    if (raft_takes_proposals(r->raft) && intake_is_ripe(&r->intake, &context)) {
        replica_seal_open(r);
        count++;
    }
    return count + seal_trim(r, &context);
}

/* The first entry of a term. */
static void make(struct replica *r, const struct raft_effect *effect)
{
    struct intake_context context = replica_intake_context(r);
    const uint8_t *entry = NULL;
    struct raft_configuration configuration;
    const struct raft_configuration *carried = NULL;
    drop_open(r);
    switch (effect->make.what) {
    case RAFT_MAKE_NOOP:
        entry = intake_make(&context, ENTRY_NOOP, NULL, 0);
        break;
    case RAFT_MAKE_FIRST_CONFIGURATION: {
        uint8_t body[CONFIGURATION_BODY_BYTES];
        configuration_encode(&effect->make.configuration, body);
        entry = intake_make(&context, ENTRY_CONFIGURATION, body, sizeof body);
        configuration = effect->make.configuration;
        configuration.index = r->log.last.index + 1;
        carried = &configuration;
        break;
    }
    }
    if (entry != NULL) {
        propose(r, entry, carried);
    }
}

/* Effects -----------------------------------------------------------------------------------------
 */

static struct nic_address address_of(const struct replica *r, uint8_t node)
{
    for (uint32_t i = 0; i < r->config.node_count; i++) {
        if (r->config.nodes[i].id == node) {
            return r->config.nodes[i].address;
        }
    }
    ASSERT(false);
    return (struct nic_address){0};
}

static void send_ack(struct replica *r, const struct raft_message *message)
{
    struct wire_frame frame = {.header = r->header};
    frame.header.kind = WIRE_ACK;
    frame.header.to = message->to;
    frame.header.to_boot = r->peer_boots[message->to];
    frame.header.term = message->term;
    frame.header.token = message->token;
    frame.ack = (struct wire_ack){
        .session = message->append_reply.session,
        .matched = message->append_reply.matched,
        .bootstrapped = message->append_reply.bootstrapped,
        .bound = message->append_reply.bound,
        .hint = message->append_reply.hint,
        .verified_index = message->append_reply.verified_index,
        .durable_index = message->append_reply.durable_index,
    };
    /* A deposed leader gets the term and no more: what the true one asked for stays owed to it. */
    if (message->to == raft_leader(r->raft)) {
        struct stream_context context = replica_stream_context(r);
        stream_in_fill_ack(&r->in, &context, &frame.ack);
    }
    outbox_put(&r->outbox, address_of(r, message->to), &frame);
    r->counters.acks_sent++;
}

static void send_message(struct replica *r, const struct raft_message *message)
{
    if (message->kind == RAFT_APPEND_REPLY) {
        send_ack(r, message);
        return;
    }
    static const uint8_t kinds[] = {
        [RAFT_PRE_VOTE] = WIRE_PRE_VOTE, [RAFT_PRE_VOTE_REPLY] = WIRE_PRE_VOTE_REPLY,
        [RAFT_VOTE] = WIRE_VOTE,         [RAFT_VOTE_REPLY] = WIRE_VOTE_REPLY,
        [RAFT_APPEND] = WIRE_APPEND,     [RAFT_TIMEOUT_NOW] = WIRE_TIMEOUT_NOW,
    };
    struct wire_frame frame = {.header = r->header};
    frame.header.kind = kinds[message->kind];
    frame.header.to = message->to;
    frame.message = *message;
    bool reply = message->kind == RAFT_PRE_VOTE_REPLY || message->kind == RAFT_VOTE_REPLY;
    frame.header.to_boot = reply ? r->peer_boots[message->to] : 0;
    outbox_put(&r->outbox, address_of(r, message->to), &frame);
}

/* Cut the log in memory now; the wal begins its cut when nothing is in flight. */
static void cut(struct replica *r, const struct raft_effect *effect)
{
    struct log_end end;
    bool known = log_end_at(&r->log, effect->cut_log.keep.index, &end);
    ASSERT(known); /* The durable tail that may be cut is far shorter than what memory knows. */
    ASSERT(end.last.term == effect->cut_log.keep.term);
    log_cut(&r->log, &end);
    machine_cut(&r->machine, end.last.index, end.position);
    r->write_last = r->write_last > end.last.index ? end.last.index : r->write_last;
    r->write_first = r->write_first > end.last.index + 1 ? end.last.index + 1 : r->write_first;
    ASSERT(r->write_first == r->write_last + 1);
    wal_cut(r->wal, end.last, end.position);
    r->cut_asked = true;
    r->cut_epoch = effect->cut_log.epoch;
    ASSERT(r->cut_epoch == wal_epoch(r->wal) + 1);
    r->counters.cuts++;
}

void replica_apply(struct replica *r, uint64_t index)
{
    if (index <= r->machine.applied_index) {
        return; /* Applied when an entry told of it. */
    }
    /* Recovered entries that memory no longer knows were applied in an earlier life. */
    uint64_t from = r->machine.applied_index + 1;
    from = from < r->log.known_index ? r->log.known_index : from;
    for (uint64_t i = from; i <= index; i++) {
        const struct log_entry *entry = log_entry(&r->log, i);
        ASSERT(entry != NULL);
        r->counters.entries_applied++;
        r->counters.records_applied += entry->record_count;
        r->committed_offset = entry->first_offset + entry->record_count;
        r->commit_position = entry->position + log_entry_bytes(entry);
        const uint8_t *bytes = r->apply_hook == NULL ? NULL : log_bytes(&r->log, i);
        if (bytes != NULL) {
            r->apply_hook(r->apply_context, r->config.self, bytes);
        }
    }
    if (machine_apply(&r->machine, index)) {
        r->working =
            true; /* A start to move: once it is durable here, follow_trim() asks for it. */
    }
}

static void commit(struct replica *r, uint64_t index)
{
    replica_apply(r, index);
    if (raft_is_leader(r->raft)) {
        replica_time_until(r, STAGE_QUORUM, index);
        struct intake_context context = replica_intake_context(r);
        (void)intake_commit(&r->intake, &context, index);
    }
}

static void write_states(struct replica *r)
{
    const struct machine_state *state = machine_state_owed(&r->machine);
    if (state != NULL && wal_put_state(r->wal, &state->boundary, state->state, state->bytes)) {
        machine_state_written(&r->machine);
        r->counters.states_written++;
    }
}

/* Hand the wal what it takes: entries that follow each other in memory go as one write. */
static uint32_t write_log(struct replica *r)
{
    uint32_t writes = 0;
    while (r->write_first <= r->write_last) {
        const struct log_entry *first = log_entry(&r->log, r->write_first);
        ASSERT(first != NULL);
        uint8_t *slot = log_slot(&r->log, first->position);
        uint32_t bytes = log_entry_bytes(first);
        uint64_t last = r->write_first;
        const struct log_entry *at = first;
        while (last < r->write_last) {
            const struct log_entry *next = log_entry(&r->log, last + 1);
            bool follows = log_slot(&r->log, next->position) == slot + bytes;
            if (!follows || bytes + log_entry_bytes(next) > WRITE_BYTES_MAX) {
                break;
            }
            bytes += log_entry_bytes(next);
            at = next;
            last++;
        }
        struct wal_write write = {
            .bytes = slot,
            .position = first->position,
            .byte_count = bytes,
            .first = {.term = first->term, .index = r->write_first},
            .last = {.term = at->term, .index = last},
        };
        if (!wal_write(r->wal, &write)) {
            break;
        }
        r->write_first = last + 1;
        r->profile.writes++;
        r->profile.pages += bytes / PAGE_BYTES;
        r->profile.in_flight_sum += wal_writes_in_flight(r->wal);
        writes++;
    }
    return writes;
}

static void carry_out(struct replica *r, const struct raft_effect *effect)
{
    switch (effect->kind) {
    case RAFT_EFFECT_SEND:
        send_message(r, &effect->send);
        break;
    case RAFT_EFFECT_WRITE_STATE: {
        struct wal_hard hard = {.term = effect->write_state.term,
                                .entry_term = effect->write_state.entry_term,
                                .vote = effect->write_state.vote,
                                .bootstrapped = effect->write_state.bootstrapped,
                                .vote_bound = {effect->write_state.vote_bound.term,
                                               effect->write_state.vote_bound.index}};
        wal_set_hard(r->wal, &hard);
        break;
    }
    case RAFT_EFFECT_WRITE_LOG:
        ASSERT(effect->write_log.first_index == r->write_last + 1);
        ASSERT(effect->write_log.epoch == wal_epoch(r->wal));
        r->write_last = effect->write_log.last_index;
        break;
    case RAFT_EFFECT_CUT_LOG:
        cut(r, effect);
        break;
    case RAFT_EFFECT_COMMIT:
        commit(r, effect->commit.index);
        break;
    case RAFT_EFFECT_MAKE:
        make(r, effect);
        break;
    }
}

static uint32_t send_streams(struct replica *r)
{
    struct stream_context context = replica_stream_context(r);
    uint32_t sent = 0;
    if (raft_is_leader(r->raft)) {
        for (uint32_t i = 0; i < r->peer_count; i++) {
            sent += stream_out_send(&r->outs[i], &context);
        }
        return sent;
    }
    struct raft_message reply;
    (void)stream_in_deliver(&r->in, &context);
    if (stream_in_ack_owed(&r->in, &context)) {
        if (raft_ack(r->raft, &reply)) {
            send_ack(r, &reply);
            sent++;
        } else {
            r->in.ack_owed = false;
            r->in.gap_ns = 0;
        }
    }
    return sent;
}

uint32_t replica_drain(struct replica *r)
{
    struct raft_effect effects[EFFECTS_BATCH_MAX];
    uint32_t work = 0;
    uint32_t count;
    while ((count = raft_drain(r->raft, effects, EFFECTS_BATCH_MAX)) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            carry_out(r, &effects[i]);
        }
        work += count;
    }
    struct waiting_context waiting = replica_waiting_context(r);
    work += waiting_serve(&r->waiting, &waiting);
    work += send_streams(r);
    write_states(r);
    /* The network first: a submit to the disk costs a system call. */
    (void)outbox_flush(&r->outbox);
    work += write_log(r);
    return work + wal_poll(r->wal, r->now_ns);
}
