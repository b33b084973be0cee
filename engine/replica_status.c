/* replica_status.c: what a replica says of itself. See replica.h. */
#include "engine/replica_state.h"

void replica_status(const struct replica *r, struct replica_status *status)
{
    if (r->mender.active) {
        replica_mend_status(r, status);
        return;
    }
    struct wal_durable durable = wal_durable(r->wal);
    *status = (struct replica_status){
        .id = r->config.self,
        .role = raft_role(r->raft),
        .leader = raft_leader(r->raft),
        .term = raft_term(r->raft),
        .commit_index = raft_commit_index(r->raft),
        .durable_index = durable.index,
        .last_index = raft_last(r->raft).index,
        .epoch = wal_epoch(r->wal),
        .boot = wal_boot(r->wal),
        .store = wal_store(r->wal),
        .log_start_offset = r->log.start.offset,
        .log_end_offset = r->committed_offset,
        .log_start_position = r->log.start.position,
        .log_durable_position = durable.position,
        .commit_position = r->commit_position,
        .durable = r->disk->durable,
        .takes_proposals = raft_takes_proposals(r->raft),
        .vote_bound = raft_vote_bound(r->raft),
        .failed = r->failed,
    };
}

const struct recovery *replica_found(const struct replica *r)
{
    return &r->found;
}

const struct fault *replica_fault(const struct replica *r)
{
    return r->fault.code != 0 ? &r->fault : NULL;
}

raft_set replica_narrow(const struct replica *r)
{
    raft_set narrow = 0;
    for (uint32_t i = 0; i < r->peer_count && raft_is_leader(r->raft); i++) {
        narrow |= stream_out_is_narrow(&r->outs[i]) ? 1ull << r->outs[i].peer : 0;
    }
    return narrow;
}

const struct replica_counters *replica_counters(const struct replica *r)
{
    return &r->counters;
}

const struct wire_counters *replica_wire_counters(const struct replica *r)
{
    return &r->wire_counters;
}

const struct raft *replica_raft(const struct replica *r)
{
    return r->raft;
}

const struct histogram *replica_stages(const struct replica *r)
{
    return r->stages;
}

struct replica_write_profile replica_write_profile(const struct replica *r)
{
    return r->profile;
}

void replica_sessions(const struct replica *r, struct replica_sessions *sessions)
{
    *sessions = (struct replica_sessions){
        .applied_index = r->machine.applied_index,
        .void_notes = r->machine.sessions.void_notes,
        .tails_rebuilt = r->machine.sessions.tails_rebuilt,
        .count = r->machine.sessions.committed->count,
    };
}

uint32_t replica_state_bytes(const struct replica *r, uint8_t *bytes)
{
    _Static_assert(SESSIONS_BYTES_MAX <= REPLICA_STATE_BYTES_MAX, "the table fits");
    return sessions_encode(&r->machine.sessions, bytes);
}
