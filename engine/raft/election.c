/* election.c: the role, the term and the vote (sections 3.4 and 9.6).
 *
 * Always a pre-vote before a vote, and nobody who has just heard a leader helps to depose it (rules
 * B3, B4), unless that leader has ordered the election itself (section 3.10). A vote exists once it
 * is on disk: raft_drain() lets no grant and no VOTE leave before, and the candidate's own vote is
 * counted when STATE_DURABLE says so (rule A1).
 */
#include "engine/raft/internal.h"

static void election_redraw(struct raft *r)
{
    r->timeout_ns = prng_between(&r->prng, r->config.election_min_ns, r->config.election_max_ns);
    r->election_due_ns = r->now_ns + r->timeout_ns;
}

void election_init(struct raft *r)
{
    r->role = RAFT_FOLLOWER;
    election_redraw(r);
}

/* What was assumed of time is void: begin a full, new timeout. */
void election_restart_timer(struct raft *r)
{
    election_redraw(r);
    r->resend_due_ns = r->now_ns + r->config.heartbeat_ns;
}

void election_heard(struct raft *r)
{
    r->leader_heard = true;
    r->leader_heard_ns = r->now_ns;
    r->election_due_ns = r->now_ns + r->timeout_ns;
}

/* A leader was heard so lately that no other one is wanted; a leader hears itself. */
bool election_sticky(const struct raft *r)
{
    if (r->role == RAFT_LEADER) {
        return true;
    }
    return r->leader_heard && r->now_ns - r->leader_heard_ns < r->config.election_min_ns;
}

static void election_take_role(struct raft *r, enum raft_role role)
{
    r->role = role;
    r->owed_append = 0;
    r->owed_vote = 0;
    r->owed_pre_vote = 0;
    r->owed_make = false;
    r->campaign_ordered = false;
    transfer_end(r);
    read_lose(r);
    r->dirty = true;
    election_redraw(r);
}

static void election_new_term(struct raft *r, uint64_t term)
{
    ASSERT(term > r->state.term);
    r->state.term = term;
    r->state.vote = RAFT_NOBODY; /* Only ever cleared here (rule A2). */
    r->term_leader = RAFT_NOBODY;
    follower_new_term(r);
}

/* Follow `leader` (RAFT_NOBODY: whoever it will be) in `term`; in the same term the vote stays. */
void election_become_follower(struct raft *r, uint64_t term, uint8_t leader)
{
    ASSERT(term >= r->state.term);
    ASSERT(leader != r->config.self);
    if (r->role == RAFT_LEADER) {
        r->counters.step_downs++;
        r->verified_index = r->commit_index;
    }
    if (term > r->state.term) {
        election_new_term(r, term);
    }
    election_take_role(r, RAFT_FOLLOWER);
    r->leader = leader;
    if (leader != RAFT_NOBODY) {
        ASSERT(r->term_leader == RAFT_NOBODY || r->term_leader == leader);
        r->term_leader = leader;
    }
}

/* A fresh message of this term's leader has come: whatever this node was, it follows. */
void election_follow(struct raft *r, uint8_t leader)
{
    ASSERT(r->role != RAFT_LEADER); /* Two leaders in a term: somebody's disk has lied. */
    if (UNLIKELY(r->role != RAFT_FOLLOWER || r->leader != leader)) {
        election_become_follower(r, r->state.term, leader);
    }
}

static raft_set election_others(const struct raft *r)
{
    return membership_voters(r) & r->members;
}

/* Also a vote that came before its voter was accused does not count. */
static bool election_is_granted(const struct raft *r)
{
    return quorum_agrees(&r->configuration, r->granted & ~r->regressed);
}

static void election_campaign(struct raft *r)
{
    ASSERT(r->cut == CUT_NONE);
    election_new_term(r, r->state.term + 1);
    election_take_role(r, RAFT_CANDIDATE);
    r->state.vote = r->config.self;
    r->leader = RAFT_NOBODY;
    r->granted = 0;
    r->answered = 0;
    for (raft_set rest = r->members; rest != 0; rest &= rest - 1) {
        r->peers[set_first(rest)].pinned = 0;
    }
    r->counters.elections_started++;
}

/* The leader hands over to this node. A pre-vote would ask what the leader has answered already. */
void election_campaign_ordered(struct raft *r)
{
    ASSERT(r->role == RAFT_FOLLOWER || r->role == RAFT_PRE_CANDIDATE);
    ASSERT(election_may_campaign(r));
    election_campaign(r);
    r->campaign_ordered = true;
}

static void election_pre_campaign(struct raft *r)
{
    election_take_role(r, RAFT_PRE_CANDIDATE);
    r->leader = RAFT_NOBODY;
    r->granted = set_of(r->config.self);
    r->answered = 0;
    r->attempt_token = ++r->token;
    r->owed_pre_vote = election_others(r);
    r->resend_due_ns = r->now_ns + r->config.heartbeat_ns;
    r->counters.pre_votes_started++;
    if (election_is_granted(r)) {
        election_campaign(r);
    }
}

static void election_win(struct raft *r)
{
    election_take_role(r, RAFT_LEADER);
    r->leader = r->config.self;
    r->term_leader = r->config.self;
    r->counters.elections_won++;
    leader_begin(r);
}

/* The own vote is on disk: it counts now, and the others may be asked. */
void election_state_durable(struct raft *r)
{
    if (r->role != RAFT_CANDIDATE || set_has(r->granted, r->config.self)) {
        return;
    }
    if (r->state_durable.term != r->state.term || r->state_durable.vote != r->config.self) {
        return;
    }
    r->granted |= set_of(r->config.self);
    r->attempt_token = ++r->token;
    r->owed_vote = election_others(r);
    r->resend_due_ns = r->now_ns + r->config.heartbeat_ns;
    if (election_is_granted(r)) {
        election_win(r);
    }
}

/* Learners, removed nodes and nodes with a sick disk wait; so does one whose log is being cut: a
 * leader's log only grows. So does one whose disk went back, by the leader's word. A node that has
 * lost an end of its log does not know what a leader of it would have to know. */
bool election_may_campaign(const struct raft *r)
{
    return membership_votes(r, r->config.self) && !r->unhealthy && r->cut == CUT_NONE &&
           r->state.vote_bound.index == 0 && !regressed_is(r, r->config.self);
}

void election_tick(struct raft *r)
{
    ASSERT(r->role != RAFT_LEADER);
    if (r->now_ns >= r->election_due_ns) {
        if (election_may_campaign(r)) {
            election_pre_campaign(r);
        } else {
            election_become_follower(r, r->state.term, RAFT_NOBODY);
        }
        return;
    }
    if (r->role == RAFT_FOLLOWER || r->now_ns < r->resend_due_ns) {
        return;
    }
    /* Requests get lost: ask again whoever has not answered, with the same token. */
    raft_set silent = election_others(r) & ~r->answered;
    r->resend_due_ns = r->now_ns + r->config.heartbeat_ns;
    r->dirty = true;
    if (r->role == RAFT_PRE_CANDIDATE) {
        r->owed_pre_vote = silent;
    } else if (set_has(r->granted, r->config.self)) {
        r->owed_vote = silent;
    }
}

static bool election_at_least(struct raft_entry_id last, struct raft_entry_id own)
{
    return last.term > own.term || (last.term == own.term && last.index >= own.index);
}

/* The candidate's log is at least as good as the own one (section 3.6.1, rule B1), and as what the
 * own one may have been. */
static bool election_up_to_date(const struct raft *r, struct raft_entry_id last)
{
    return election_at_least(last, terms_last(&r->terms)) &&
           election_at_least(last, r->state.vote_bound);
}

/* This node would vote for `id` in its own, current term. */
static bool election_vote_is_free(const struct raft *r, uint8_t id)
{
    bool free = r->state.vote == RAFT_NOBODY && r->term_leader == RAFT_NOBODY;
    return r->state.vote == id || (free && !regressed_is(r, r->config.self));
}

/* Nothing changes here but what is owed: a pre-vote promises nothing. */
void election_on_pre_vote(struct raft *r, const struct raft_message *m)
{
    struct peer *peer = &r->peers[m->from];
    bool newer = m->term > r->state.term && !regressed_is(r, r->config.self);
    bool free = newer || election_vote_is_free(r, m->from);
    bool granted = m->term >= r->state.term && free && !election_sticky(r) &&
                   election_up_to_date(r, m->vote.last);

    peer->pre_vote_reply = (struct owed_reply){m->token, m->term, 0, granted};
    r->owed_pre_vote_reply |= set_of(m->from);
    r->dirty = true;
}

void election_on_pre_vote_reply(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_PRE_CANDIDATE || m->token != r->attempt_token) {
        r->counters.stale_token++;
        return;
    }
    r->answered |= set_of(m->from);
    regressed_learn(r, m);
    if (!m->vote_reply.granted || m->term != r->state.term + 1) {
        return;
    }
    r->granted |= set_of(m->from);
    if (election_is_granted(r)) {
        election_campaign(r);
    }
}

/* The request is of this term (a newer one has been adopted). The reply is owed at once and leaves
 * when the vote is on disk. Asked, a node votes even if it thinks itself a learner (rule B10). */
void election_on_vote(struct raft *r, const struct raft_message *m)
{
    struct peer *peer = &r->peers[m->from];

    ASSERT(m->term == r->state.term);
    if (r->state.vote != m->from && election_vote_is_free(r, m->from) &&
        election_up_to_date(r, m->vote.last)) {
        ASSERT(r->role == RAFT_FOLLOWER || r->role == RAFT_PRE_CANDIDATE);
        r->state.vote = m->from;
        election_take_role(r, RAFT_FOLLOWER);
    }
    if (r->state.vote == m->from) {
        r->counters.votes_granted++;
    } else {
        r->counters.votes_refused++;
    }
    peer->vote_reply = (struct owed_reply){m->token, m->term, 0, false};
    r->owed_vote_reply |= set_of(m->from);
    r->dirty = true;
}

void election_on_vote_reply(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_LEADER && m->token == r->attempt_token) {
        membership_pin(r, m->from, m->from_store);
        return;
    }
    if (r->role != RAFT_CANDIDATE || m->token != r->attempt_token) {
        r->counters.stale_token++;
        return;
    }
    ASSERT(set_has(r->granted, r->config.self)); /* Nobody was asked before. */
    r->answered |= set_of(m->from);
    membership_pin(r, m->from, m->from_store);
    regressed_learn(r, m);
    if (!m->vote_reply.granted) {
        return;
    }
    r->granted |= set_of(m->from);
    if (election_is_granted(r)) {
        election_win(r);
    }
}
