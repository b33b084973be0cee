/* replica_mend.c: a replica whose log is damaged, until it is whole: it has no core, takes no part
 * in votes, appends or reads, and says so to whoever asks. What no other node can bring back, it
 * gives up, and is bound from then on (raft_vote_bound()). See mender.h.
 *
 * Invariant: nothing here is reached once `opened` is set, but the answers to other nodes.
 */
#include "engine/replica_state.h"

#include <errno.h>

/* What every frame between nodes says. */
static uint64_t current_term(const struct replica *r)
{
    return r->opened ? raft_term(r->raft) : r->mender.mend.found.term;
}

struct mender_context replica_mender_context(struct replica *r)
{
    struct mender_context context = {
        .outbox = &r->outbox,
        .counters = &r->counters,
        .suspects = &r->scrub.suspects,
        .header = r->header,
        .cluster = r->config.cluster,
        .now_ns = r->now_ns,
        .peers = r->mend_peers,
        .peer_count = r->peer_count,
        .log = &r->log,
        .read_bytes_per_s = r->config.catchup_bytes_per_s,
    };
    context.header.term = current_term(r);
    if (r->opened) {
        context.durable_position = wal_durable(r->wal).position;
        context.log_whole = raft_vote_bound(r->raft).index == 0;
    }
    return context;
}

struct asker_context replica_asker_context(struct replica *r)
{
    struct asker_context context = {
        .outbox = &r->outbox,
        .counters = &r->counters,
        .header = r->header,
        .cluster = r->config.cluster,
        .now_ns = r->now_ns,
        .peers = r->mend_peers,
        .peer_count = r->peer_count,
    };
    context.header.term = current_term(r);
    return context;
}

int replica_mend_begin(struct replica *r, struct fault *fault)
{
    const struct mend_config config = {
        .disk = r->disk,
        .cluster = r->config.cluster,
        .node = r->config.self,
        .buffer = wal_start_buffer(r->wal),
    };
    int result = mender_begin(&r->mender, &config, fault);
    if (result == 0) {
        replica_name(r, r->mender.mend.found.store, r->mender.mend.boot);
    }
    return result;
}

bool replica_may_mend(const struct replica *r)
{
    return r->peer_count > 0 && !recover_is_whole(&r->found) && !r->found.beyond_entries;
}

void replica_mending(const struct replica *r, struct replica_mending *mending)
{
    const struct mender *mender = &r->mender;
    *mending = (struct replica_mending){
        .active = mender->active,
        .entries = mender->mend.entries_mended,
        .waits_for = mender->active ? mender->asker.waits_for : 0,
        .what = mender->mend.found.what,
        .suspect = mender->mend.found.kind == RECOVER_SUSPECT,
        .last_index = mender->mend.found.last.index,
    };
    if (mender->active && mender->mend.state == MEND_ASKS) {
        mending->wanted = mender->mend.want.id;
    }
}

void replica_mend_status(const struct replica *r, struct replica_status *status)
{
    const struct recovery *found = &r->mender.mend.found;
    *status = (struct replica_status){
        .id = r->config.self,
        .role = RAFT_FOLLOWER,
        .leader = RAFT_NOBODY,
        .term = found->term,
        .durable_index = found->last.index,
        .last_index = found->last.index,
        .epoch = found->epoch,
        .boot = r->mender.mend.boot,
        .store = found->store,
        .log_start_offset = found->start.offset,
        .log_end_offset = found->start.offset,
        .log_start_position = found->start.position,
        .log_durable_position = found->end_position,
        .commit_position = found->start.position,
        .durable = r->disk->durable,
        .failed = r->failed,
    };
}

static void
answer_status(struct replica *r, const struct wire_frame *frame, struct nic_address from)
{
    struct replica_status status;
    replica_mend_status(r, &status);
    struct wire_frame reply = {.header = r->header};
    reply.header.kind = WIRE_STATUS_REPLY;
    reply.header.to_boot = frame->header.from_boot;
    reply.header.token = frame->header.token;
    raft_set own = 1ull << r->config.self;
    reply.status_reply = (struct wire_status_reply){
        .role = WIRE_FOLLOWER,
        .durable = status.durable,
        .bootstrapped = r->mender.mend.found.bootstrapped,
        .faulty = true,
        .slowed = disk_is_slowed(r->disk),
        .posix = r->disk->posix,
        .term = status.term,
        .durable_index = status.durable_index,
        .start_offset = status.log_start_offset,
        .end_offset = status.log_end_offset,
        .voters = r->self.peers | own,
        .waiting = r->mender.asker.waits_for,
        .frames_dropped = r->counters.frames_dropped,
    };
    outbox_put(&r->outbox, from, &reply);
}

static void receive(struct replica *r, const struct nic_frame *received)
{
    struct wire_frame frame;
    if (!replica_decode(r, received, &frame)) {
        return;
    }
    struct asker_context context = replica_asker_context(r);
    switch (frame.header.kind) {
    case WIRE_MEND_ASK: {
        struct mender_context answers = replica_mender_context(r);
        mender_answer(&r->mender, &answers, &frame);
        return;
    }
    case WIRE_MEND_ENTRY:
        if (r->failed == 0) {
            r->failed = mender_take(&r->mender, &context, &frame, &r->fault);
        }
        return;
    case WIRE_MEND_SAY:
        mender_refused(&r->mender, &context, &frame);
        return;
    case WIRE_STATUS:
        answer_status(r, &frame, received->from);
        return;
    case WIRE_STATS:
        replica_answer_stats(r, &frame, received->from);
        return;
    default: /* Of the consensus, or a client's: there is no core that could answer. */
        r->counters.frames_dropped++;
        return;
    }
}

uint32_t replica_mend_poll(struct replica *r)
{
    struct nic_frame frames[RX_BURST_MAX];
    r->mender.answered = 0;
    uint32_t count = nic_rx_burst(r->nic, frames, RX_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        receive(r, &frames[i]);
    }
    (void)outbox_flush(&r->outbox); /* Before a look at the whole log. */
    if (count > 0) {
        nic_rx_release(r->nic, frames, count);
    }
    if (r->failed == 0) { /* An answer was read from the disk. */
        r->failed = disk_check(r->disk, &r->fault);
    }
    if (r->failed != 0) {
        return count;
    }
    if (r->mender.mend.state != MEND_ASKS) {
        bool whole = r->mender.mend.state == MEND_WHOLE;
        r->failed = replica_log_open(r, whole ? WAL_WHOLE : WAL_BOUNDED, &r->fault);
        r->mender.active = r->failed != 0;
        return count + 1;
    }
    struct asker_context context = replica_asker_context(r);
    count += mender_ask(&r->mender, &context);
    (void)outbox_flush(&r->outbox);
    return count;
}
