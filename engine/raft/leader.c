/* leader.c: what a leader does: its first entry, heartbeats, check-quorum, commits.
 *
 * A leader never changes an entry of its log (rule C5). It commits what a quorum has on disk, its
 * own disk one voice among the others (section 10.2.1), and counts only entries of its own term
 * (section 3.6.2, rule F1). Until the first entry of all is committed, the quorum is everybody:
 * that entry names the stores that any later majority is made of.
 */
#include "engine/raft/internal.h"

void leader_begin(struct raft *r)
{
    ASSERT(r->role == RAFT_LEADER);
    ASSERT(r->cut == CUT_NONE);
    ASSERT(r->state_durable.term == r->state.term);
    r->verified_index = r->terms.last_index;
    r->term_first_index = UINT64_MAX;
    r->heartbeat_due_ns = r->now_ns + r->config.heartbeat_ns;
    for (raft_set rest = r->members; rest != 0; rest &= rest - 1) {
        progress_probe(r, set_first(rest), r->terms.last_index);
        r->heard_ns[set_first(rest)] = r->now_ns;
        r->peers[set_first(rest)].acked_index = 0;
    }
    regressed_lead(r);
    r->match[r->config.self] = r->durable_index;
    r->heard_ns[r->config.self] = UINT64_MAX;
    r->owed_make = true;
}

/* A quorum has been heard within the shortest election timeout (rules B5, B6). */
static bool leader_has_quorum(const struct raft *r)
{
    uint64_t heard_ns = regressed_quorum_value(r, r->heard_ns, false);

    return heard_ns >= r->now_ns || r->now_ns - heard_ns < r->config.election_min_ns;
}

void leader_tick(struct raft *r)
{
    ASSERT(r->role == RAFT_LEADER);
    transfer_tick(r);
    if (r->role != RAFT_LEADER || r->now_ns < r->heartbeat_due_ns) {
        return;
    }
    if (!leader_has_quorum(r)) {
        r->counters.quorum_lost++;
        election_become_follower(r, r->state.term, RAFT_NOBODY);
        return;
    }
    r->heartbeat_due_ns = r->now_ns + r->config.heartbeat_ns;
    r->owed_append = r->members;
    r->owed_make = true;
    transfer_heartbeat(r);
    r->dirty = true;
}

/* Nobody could be heard while the loop stood still: everybody gets one more timeout to answer. */
void leader_time_lost(struct raft *r)
{
    ASSERT(r->role == RAFT_LEADER);
    for (raft_set rest = r->members; rest != 0; rest &= rest - 1) {
        r->heard_ns[set_first(rest)] = r->now_ns;
    }
    r->heartbeat_due_ns = r->now_ns + r->config.heartbeat_ns;
    r->owed_append = r->members;
    read_lose(r);
}

void leader_update_commit(struct raft *r)
{
    ASSERT(r->role == RAFT_LEADER);
    uint64_t index = regressed_quorum_value(r, r->match, UNLIKELY(!r->state.bootstrapped));

    if (index <= r->commit_index || index < r->term_first_index) {
        return;
    }
    raft_commit_to(r, index);
    /* A leader outside of a committed configuration has done its duty (rule I7). */
    if (r->configuration.index <= index && !membership_votes(r, r->config.self)) {
        election_become_follower(r, r->state.term, RAFT_NOBODY);
    }
}

void leader_on_append_reply(struct raft *r, const struct raft_message *m)
{
    struct peer *peer = &r->peers[m->from];

    if (r->role != RAFT_LEADER || !set_has(r->members, m->from) || m->token > peer->sent_token) {
        r->counters.stale_token++;
        return;
    }
    bool fresh = m->token > peer->heard_token;
    if (fresh) {
        peer->heard_token = m->token;
        r->heard_ns[m->from] = r->now_ns;
        read_heard(r, m->from, m->token);
    }
    if (m->append_reply.session != peer->session) {
        r->counters.stale_session++;
        return;
    }
    membership_pin(r, m->from, m->from_store);
    if (m->append_reply.bootstrapped && membership_votes(r, m->from)) {
        r->state.bootstrapped = true;
    }
    progress_on_reply(r, m, fresh);
    regressed_heard(r, m->from);
    leader_update_commit(r);
    transfer_advance(r);
}

/* The first entry of the term is still to be made, and can be. */
bool leader_may_make(const struct raft *r)
{
    return r->role == RAFT_LEADER && r->term_first_index == UINT64_MAX &&
           (r->terms.last_index > 0 || membership_stores_known(r));
}

void leader_make(const struct raft *r, struct raft_effect *effect)
{
    ASSERT(leader_may_make(r));
    effect->kind = RAFT_EFFECT_MAKE;
    if (r->terms.last_index > 0) {
        effect->make.what = RAFT_MAKE_NOOP;
    } else {
        effect->make.what = RAFT_MAKE_FIRST_CONFIGURATION;
        membership_build_first(r, &effect->make.configuration);
    }
}

/* One uncommitted configuration at a time, and only after an entry of the own term is committed
 * (rule I2). */
static bool leader_may_change_members(const struct raft *r)
{
    return r->configuration.index <= r->commit_index && r->term_first_index <= r->commit_index;
}

enum raft_taken leader_propose(struct raft *r, const struct raft_event *event)
{
    const struct raft_configuration *configuration = event->propose.configuration;
    struct raft_entry_id id = {r->state.term, r->terms.last_index + 1};

    if (r->role != RAFT_LEADER || r->transfer_to != RAFT_NOBODY) {
        return RAFT_REFUSED;
    }
    if (UNLIKELY(r->term_first_index == UINT64_MAX)) {
        if (!leader_may_make(r)) {
            return RAFT_REFUSED;
        }
        ASSERT((configuration != NULL) == (id.index == 1)); /* What MAKE asked for. */
        r->term_first_index = id.index;
    } else if (!r->state.bootstrapped || (configuration != NULL && !leader_may_change_members(r))) {
        return RAFT_REFUSED;
    }
    raft_log_append(r, id, configuration);
    r->verified_index = id.index;
    return RAFT_TAKEN;
}
