/* transfer.c: handing leadership to another voter (section 3.10, rules J1 to J3).
 *
 * The leader takes no more proposals, waits until the target holds its whole log and everything in
 * it is committed, and so answered, then tells it to stand at once: TIMEOUT_NOW. The leader leaves
 * its office when it sees the newer term, as ever; if none comes within one election timeout the
 * transfer is over and proposals are taken again. Nothing here touches safety: the target wins by
 * votes or not at all, and what else it may skip, the pre-vote and the patience with a leader that
 * was just heard, only guards that leader's office.
 *
 * The order gets lost, repeated and late. It goes out again with every heartbeat; it names the last
 * entry of the leader's log and has a token, so that one of a transfer given up since, or one that
 * arrives twice, moves nobody.
 */
#include "engine/raft/internal.h"

/* The voters that could take over: not this node, heard of late, because a dead one matches as well
 * as it did when it died, and not one that may not stand. */
static raft_set transfer_candidates(const struct raft *r)
{
    raft_set candidates = 0;

    for (raft_set rest = r->configuration.voters & r->members & ~r->regressed; rest != 0;
         rest &= rest - 1) {
        uint8_t id = set_first(rest);
        bool heard = r->now_ns - r->heard_ns[id] < r->config.election_min_ns;
        candidates |= heard && !r->peers[id].bounded ? set_of(id) : 0;
    }
    return candidates;
}

/* Who has most of the log; RAFT_NOBODY without candidates. */
static uint8_t transfer_best(const struct raft *r)
{
    uint8_t best = RAFT_NOBODY;

    for (raft_set rest = transfer_candidates(r); rest != 0; rest &= rest - 1) {
        uint8_t id = set_first(rest);
        if (best == RAFT_NOBODY || r->match[id] > r->match[best]) {
            best = id;
        }
    }
    return best;
}

enum raft_transfer raft_transfer_check(const struct raft *r, uint8_t to)
{
    ASSERT(to <= NODE_ID_MAX);
    if (r->role != RAFT_LEADER) {
        return RAFT_TRANSFER_NOT_LEADER;
    }
    if (r->transfer_to != RAFT_NOBODY) {
        return RAFT_TRANSFER_UNDER_WAY;
    }
    if (!raft_takes_proposals(r)) {
        return RAFT_TRANSFER_TOO_EARLY;
    }
    if (to == RAFT_NOBODY) {
        return transfer_best(r) == RAFT_NOBODY ? RAFT_TRANSFER_NOBODY_HEARD : RAFT_TRANSFER_OK;
    }
    bool other_voter = set_has(r->configuration.voters & r->members, to);
    return other_voter ? RAFT_TRANSFER_OK : RAFT_TRANSFER_NOT_A_VOTER;
}

uint8_t raft_transfer_target(const struct raft *r)
{
    return r->transfer_to;
}

void transfer_begin(struct raft *r, uint8_t to)
{
    ASSERT(raft_transfer_check(r, to) == RAFT_TRANSFER_OK);
    r->transfer_to = to == RAFT_NOBODY ? transfer_best(r) : to;
    r->transfer_due_ns = r->now_ns + r->config.election_max_ns;
    r->counters.transfers_started++;
    read_lose(r);
    transfer_advance(r);
}

/* With the office or without it: nothing of a transfer outlives it (rule J1). */
void transfer_end(struct raft *r)
{
    r->transfer_to = RAFT_NOBODY;
    r->transfer_told = false;
    r->owed_timeout_now = false;
}

/* The target's log is the whole log, so that it cannot lose for lack of an entry, and no client
 * waits for an answer that only this leader can give. A leader with a sick disk does not wait for
 * the second: its own disk may be what a commit is missing. */
static bool transfer_ready(const struct raft *r)
{
    uint64_t last_index = r->terms.last_index;

    return r->match[r->transfer_to] == last_index &&
           (r->commit_index == last_index || r->unhealthy);
}

/* Something was acknowledged: it may have been the last that was missing. */
void transfer_advance(struct raft *r)
{
    if (LIKELY(r->transfer_to == RAFT_NOBODY) || r->transfer_told || !transfer_ready(r)) {
        return;
    }
    ASSERT(r->role == RAFT_LEADER);
    r->transfer_told = true;
    r->owed_timeout_now = true;
    r->dirty = true;
}

/* Orders get lost: one a heartbeat. */
void transfer_heartbeat(struct raft *r)
{
    r->transfer_told = false;
    transfer_advance(r);
}

/* Give up after one election timeout. A leader with a sick disk has nothing to go back to. */
void transfer_tick(struct raft *r)
{
    if (LIKELY(r->transfer_to == RAFT_NOBODY) || r->now_ns < r->transfer_due_ns) {
        return;
    }
    r->counters.transfers_aborted++;
    if (r->unhealthy) {
        election_become_follower(r, r->state.term, RAFT_NOBODY);
    } else {
        transfer_end(r);
    }
}

/* The leader's disk stalls. If a voter was heard of late that holds everything committed, it is
 * handed the office: clients then wait for one election instead of a timeout and one. That costs
 * little when it fails, as transfer_tick() steps down an election timeout later, and risks nothing,
 * as a leader that takes no proposals has nothing for its disk to do. Otherwise there is nobody to
 * hand to, and the sooner the others notice, the better. */
void transfer_unhealthy(struct raft *r)
{
    ASSERT(r->unhealthy);
    if (r->transfer_to != RAFT_NOBODY) {
        transfer_advance(r);
        return;
    }
    if (raft_transfer_check(r, RAFT_NOBODY) == RAFT_TRANSFER_OK &&
        r->match[transfer_best(r)] >= r->commit_index) {
        transfer_begin(r, RAFT_NOBODY);
        return;
    }
    election_become_follower(r, r->state.term, RAFT_NOBODY);
}

/* The order's token is newer than that of any APPEND before it, and older than all after it. */
void transfer_build(struct raft *r, struct raft_message *order)
{
    ASSERT(r->role == RAFT_LEADER);
    ASSERT(order->to == r->transfer_to);
    order->token = ++r->token;
    order->timeout_now.last = terms_last(&r->terms);
}

/* An order of this term. It counts from the leader that this node has followed in it, while it is
 * newer than anything heard from there, and while both logs still end where the leader's ended when
 * it gave it. A node that cannot stand lets the order pass: the leader gives up in time. */
void transfer_on_timeout_now(struct raft *r, const struct raft_message *m)
{
    struct raft_entry_id last = terms_last(&r->terms);
    bool stands = r->role == RAFT_FOLLOWER || r->role == RAFT_PRE_CANDIDATE;

    ASSERT(m->term == r->state.term);
    if (!stands || r->term_leader != m->from || m->token <= r->append_token) {
        r->counters.stale_token++;
        return;
    }
    bool same = m->timeout_now.last.index == last.index && m->timeout_now.last.term == last.term;
    if (!same || r->verified_index != last.index || !election_may_campaign(r)) {
        return;
    }
    r->counters.transfer_campaigns++;
    election_campaign_ordered(r);
}
