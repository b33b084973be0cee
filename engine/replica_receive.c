/* replica_receive.c: frames in. The nic's burst -> wire_decode -> core, streams, intake or reader.
 */
#include "engine/replica_state.h"

static struct stream_out *out_of(struct replica *r, uint8_t peer)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        if (r->outs[i].peer == peer) {
            return &r->outs[i];
        }
    }
    return NULL;
}

/* The core refuses messages of a store that is not the pinned one; streams must not listen to it
 * either. */
static bool store_agrees(const struct replica *r, const struct wire_header *header)
{
    const struct raft_configuration *configuration = raft_configuration(r->raft);
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        if (member->id == header->from) {
            return member->store == 0 || member->store == header->from_store;
        }
    }
    return false;
}

static bool is_stranger(const struct replica *r, uint8_t node)
{
    return (r->strangers >> node & 1) != 0;
}

/* What a peer's header tells beside its message. */
static void note_peer(struct replica *r, const struct wire_header *header)
{
    ASSERT(header->from != 0);
    /* Boots grow within a store; a log that was formatted anew begins with the first one again. */
    uint64_t *boot = &r->peer_boots[header->from];
    bool same = r->peer_stores[header->from] == header->from_store;
    *boot = same && header->from_boot < *boot ? *boot : header->from_boot;
    r->peer_stores[header->from] = header->from_store;
    raft_set bit = 1ull << header->from;
    r->strangers = store_agrees(r, header) ? r->strangers & ~bit : r->strangers | bit;
}

static void step_message(struct replica *r, const struct raft_message *message)
{
    struct raft_event event = {.kind = RAFT_EVENT_MESSAGE, .message = message};
    enum raft_taken taken = replica_step(r, &event);
    ASSERT(taken == RAFT_REFUSED);
}

static void receive_ack(struct replica *r, const struct wire_frame *frame)
{
    struct raft_message message;
    wire_ack_message(frame, &message);
    step_message(r, &message);
    struct stream_out *out = out_of(r, frame->header.from);
    if (out != NULL && raft_is_leader(r->raft) && !is_stranger(r, frame->header.from) &&
        frame->header.term == raft_term(r->raft) &&
        frame->header.from_boot == raft_replication(r->raft, frame->header.from).boot) {
        struct stream_context context = replica_stream_context(r);
        stream_out_ack(out, &context, &frame->ack);
        replica_time_until(r, STAGE_FOLLOWER_DURABLE, frame->ack.durable_index);
    }
}

static void receive_probe(struct replica *r, const struct wire_frame *frame)
{
    struct stream_context context = replica_stream_context(r);
    if (!is_stranger(r, frame->header.from)) {
        stream_in_probe(&r->in, &context, frame);
    }
}

static void receive_entry(struct replica *r, const struct wire_frame *frame)
{
    if (is_stranger(r, frame->header.from)) {
        r->counters.fragments_refused++;
        return;
    }
    struct stream_context context = replica_stream_context(r);
    if (stream_in_entry(&r->in, &context, frame) > 0) {
        r->working = true;
    }
    /* At once, so that a burst of more entries than the window holds is taken in order. */
    (void)stream_in_deliver(&r->in, &context);
}

/* A REQUEST or an OPEN. */
static void
receive_request(struct replica *r, const struct wire_frame *frame, struct nic_address from)
{
    r->working = true;
    bool open = frame->header.kind == WIRE_OPEN;
    struct intake_context context = replica_intake_context(r);
    if (open ? intake_open(&r->intake, &context, frame, from)
             : intake_request(&r->intake, &context, frame, from)) {
        return;
    }
    replica_seal_open(r);
    context = replica_intake_context(r);
    bool answered = open ? intake_open(&r->intake, &context, frame, from)
                         : intake_request(&r->intake, &context, frame, from);
    ASSERT(answered);
}

/* Voters without whom the first entry cannot be made, or is not durable everywhere yet. */
static raft_set bootstrap_waits_for(const struct replica *r)
{
    raft_set waiting = 0;
    const struct raft_configuration *configuration = raft_configuration(r->raft);
    if (!raft_is_leader(r->raft) || raft_bootstrapped(r->raft)) {
        return 0;
    }
    bool made = raft_last(r->raft).index > 0;
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        uint8_t id = configuration->members[i].id;
        if (id == r->config.self || (configuration->voters >> id & 1) == 0) {
            continue;
        }
        struct raft_replication replication = raft_replication(r->raft, id);
        bool has = made ? replication.match_index > 0 : replication.boot != 0;
        waiting |= has ? 0 : 1ull << id;
    }
    return waiting;
}

/* Nodes that need entries which this leader has trimmed. */
static raft_set left_behind(const struct replica *r)
{
    raft_set behind = 0;
    const struct raft_configuration *configuration = raft_configuration(r->raft);
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        uint8_t id = configuration->members[i].id;
        bool is_behind = id != r->config.self && raft_replication(r->raft, id).behind;
        behind |= is_behind ? 1ull << id : 0;
    }
    ASSERT(behind == 0 || raft_is_leader(r->raft));
    return behind;
}

static enum wire_role role_of(const struct replica *r)
{
    const struct raft_configuration *configuration = raft_configuration(r->raft);
    switch (raft_role(r->raft)) {
    case RAFT_PRE_CANDIDATE:
    case RAFT_CANDIDATE:
        return WIRE_CANDIDATE;
    case RAFT_LEADER:
        return WIRE_LEADER;
    case RAFT_FOLLOWER:
        break;
    }
    return (configuration->learners >> r->config.self & 1) != 0 ? WIRE_LEARNER : WIRE_FOLLOWER;
}

/* Whose log is the smallest among the voters in step, which is what full is judged by; 0: they are
 * alike. */
static uint8_t smallest_log(const struct replica *r)
{
    uint64_t least = replica_own_space(r);
    uint8_t smallest = r->config.self;
    bool differ = false;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        uint64_t space = replica_peer_space(r, &r->outs[i]);
        differ |= space != UINT64_MAX && space != least;
        if (space < least) {
            least = space;
            smallest = r->outs[i].peer;
        }
    }
    return differ ? smallest : 0;
}

/* What is committed here was contradicted, and not long ago: a leader that does so is heard again
 * and again. */
static bool is_diverged(const struct replica *r)
{
    return r->contradicted_ns != 0 &&
           r->now_ns - r->contradicted_ns <= 2 * r->config.election_max_ns;
}

static void watch_contradictions(struct replica *r)
{
    uint64_t count = raft_counters(r->raft)->contradictions + r->counters.entries_unfit;
    r->contradicted_ns = count != r->contradictions ? r->now_ns : r->contradicted_ns;
    r->contradictions = count;
}

/* One frame out for one frame in; no work of the log's, so that watching keeps nobody awake. */
static void
answer_status(struct replica *r, const struct wire_frame *frame, struct nic_address from)
{
    struct replica_status status;
    replica_status(r, &status);
    const struct raft_configuration *configuration = raft_configuration(r->raft);
    struct wire_frame reply = {.header = r->header};
    reply.header.kind = WIRE_STATUS_REPLY;
    reply.header.to_boot = frame->header.from_boot;
    reply.header.token = frame->header.token;
    bool takes = status.takes_proposals && !r->stopping;
    struct intake_context intake = replica_intake_context(r);
    bool full = takes && intake_is_full(&intake);
    reply.status_reply = (struct wire_status_reply){
        .role = (uint8_t)role_of(r),
        .leader = status.leader,
        .durable = status.durable,
        .bootstrapped = raft_bootstrapped(r->raft),
        .takes_proposals = takes,
        .degraded = r->unhealthy,
        .bounded = raft_vote_bound(r->raft).index != 0,
        .slowed = disk_is_slowed(r->disk),
        .posix = r->disk->posix,
        .unmended = suspects_waiting(&r->scrub.suspects) > 0,
        .full = full,
        .diverged = is_diverged(r),
        .smallest = full ? smallest_log(r) : 0,
        .term = status.term,
        .commit_index = status.commit_index,
        .durable_index = status.durable_index,
        .start_offset = status.log_start_offset,
        .end_offset = status.log_end_offset,
        .voters = configuration->voters | configuration->outgoing,
        .waiting = bootstrap_waits_for(r),
        .strangers = r->strangers,
        .behind = left_behind(r),
        .frames_dropped = r->counters.frames_dropped,
        .regressed = raft_regressed(r->raft),
    };
    outbox_put(&r->outbox, from, &reply);
}

/* The answer says whether a transfer began; how it ends is seen by who leads then. */
static void
answer_transfer(struct replica *r, const struct wire_frame *frame, struct nic_address from)
{
    ASSERT(frame->header.kind == WIRE_TRANSFER);
    r->working = true;
    enum raft_transfer outcome = replica_transfer(r, frame->transfer.to);
    struct wire_frame reply = {.header = r->header};
    reply.header.kind = WIRE_TRANSFER_REPLY;
    reply.header.to_boot = frame->header.from_boot;
    reply.header.token = frame->header.token;
    reply.transfer_reply = (struct wire_transfer_reply){
        .outcome = (uint8_t)outcome,
        .leader = raft_leader(r->raft),
        .to = raft_transfer_target(r->raft),
    };
    outbox_put(&r->outbox, from, &reply);
}

void replica_answer_stats(struct replica *r,
                          const struct wire_frame *frame,
                          struct nic_address from)
{
    ASSERT(frame->header.kind == WIRE_STATS);
    (void)outbox_flush(&r->outbox);
    const struct stats_sources sources = {
        .facts = r->config.facts,
        .fact_count = r->config.fact_count,
        .nic = r->nic,
        .wire = &r->wire_counters,
        .replica = &r->counters,
    };
    struct wire_frame reply = {.header = r->header, .payload = r->stats};
    reply.header.kind = WIRE_STATS_REPLY;
    reply.header.to_boot = frame->header.from_boot;
    reply.header.token = frame->header.token;
    reply.payload_bytes =
        stats_write(&sources, frame->stats.first, r->stats, STATS_BYTES_MAX, &reply.stats_reply);
    outbox_put(&r->outbox, from, &reply);
}

bool replica_decode(struct replica *r, const struct nic_frame *received, struct wire_frame *frame)
{
    if (wire_decode(&r->self, received->data, received->bytes, frame, &r->wire_counters) !=
        WIRE_DROP_ok) {
        r->counters.frames_dropped++;
        return false;
    }
    if (frame->header.from == 0) {
        return true;
    }
    const struct stream_out *out = out_of(r, frame->header.from);
    ASSERT(out != NULL); /* wire_decode() knows the peers. */
    bool known = nic_address_equal(out->address, received->from);
    r->counters.frames_dropped += !known;
    r->counters.frames_foreign += !known;
    return known;
}

/* An answer to a question of the scrubber's. */
static void receive_mend(struct replica *r, const struct wire_frame *frame)
{
    struct scrub_context context = replica_scrub_context(r);
    if (frame->header.kind == WIRE_MEND_ENTRY) {
        scrub_take(&r->scrub, &context, frame);
    } else {
        scrub_refused(&r->scrub, &context, frame);
    }
}

/* True when the frame was not dropped. */
static bool receive(struct replica *r, const struct nic_frame *received)
{
    struct wire_frame frame;
    if (!replica_decode(r, received, &frame)) {
        return false;
    }
    if (frame.header.from != 0) {
        note_peer(r, &frame.header);
    }
    switch ((enum wire_kind)frame.header.kind) {
    case WIRE_PRE_VOTE:
    case WIRE_PRE_VOTE_REPLY:
    case WIRE_VOTE:
    case WIRE_VOTE_REPLY:
    case WIRE_APPEND:
    case WIRE_TIMEOUT_NOW:
        step_message(r, &frame.message);
        break;
    case WIRE_ACK:
        receive_ack(r, &frame);
        break;
    case WIRE_ENTRY:
        receive_entry(r, &frame);
        break;
    case WIRE_PROBE:
        receive_probe(r, &frame);
        break;
    case WIRE_MEND_ASK: {
        struct mender_context context = replica_mender_context(r);
        context.asked_term = raft_entry_term(r->raft, frame.mend_ask.id.index);
        mender_answer(&r->mender, &context, &frame);
        break;
    }
    case WIRE_MEND_ENTRY:
    case WIRE_MEND_SAY:
        receive_mend(r, &frame);
        break;
    case WIRE_REQUEST:
    case WIRE_OPEN:
        receive_request(r, &frame, received->from);
        break;
    case WIRE_READ: {
        struct waiting_context context = replica_waiting_context(r);
        waiting_request(&r->waiting, &context, &frame, received->from);
        break;
    }
    case WIRE_STATUS:
        answer_status(r, &frame, received->from);
        break;
    case WIRE_TRANSFER:
        answer_transfer(r, &frame, received->from);
        break;
    case WIRE_STATS:
        replica_answer_stats(r, &frame, received->from);
        break;
    case WIRE_REPLY:
    case WIRE_READ_REPLY:
    case WIRE_STATUS_REPLY:
    case WIRE_OPEN_REPLY:
    case WIRE_TRANSFER_REPLY:
    case WIRE_STATS_REPLY:
        r->counters.frames_dropped++; /* For clients; wire_decode() lets none through to a node. */
        return false;
    }
    return true;
}

uint32_t replica_receive(struct replica *r)
{
    struct nic_frame frames[RX_BURST_MAX];
    r->mender.answered = 0;
    uint32_t good = 0;
    uint32_t count = RX_BURST_MAX;
    /* What is dropped costs little: good frames behind it are reached, about a burst of them. */
    for (uint32_t i = 0; i < RX_BURSTS_MAX && count == RX_BURST_MAX && good < RX_BURST_MAX; i++) {
        count = nic_rx_burst(r->nic, frames, RX_BURST_MAX);
        for (uint32_t k = 0; k < count; k++) {
            good += receive(r, &frames[k]);
        }
        if (count > 0) {
            nic_rx_release(r->nic, frames, count);
        }
    }
    watch_contradictions(r);
    /* What was dropped is no work, for which a loop would stay awake; that more waits is. */
    return good == 0 && count == RX_BURST_MAX ? 1 : good;
}
