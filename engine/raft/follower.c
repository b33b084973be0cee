/* follower.c: what a follower believes of its log, and what it says of it.
 *
 * `verified_index` is how far the log is known to equal the leader's: a matched APPEND and a taken
 * ENTRY move it, a new term sets it back to the commit index. Only what is verified and durable is
 * acknowledged, only what is verified is committed (rules C4, E2).
 *
 * A conflict does not cut at once: entries below the cut may still be on their way to the disk. The
 * cut is wanted, then owed, then written, then durable; meanwhile nothing above it is taken, given
 * out or believed, whoever leads (rules E3, E6). A cut once wanted is carried out.
 */
#include "engine/raft/internal.h"

void follower_new_term(struct raft *r)
{
    r->verified_index = r->commit_index;
    r->append_token = 0;
    r->append_session = 0;
    r->append_prev = (struct raft_entry_id){0, 0};
    r->acked_index = 0;
    r->bound_index = 0;
    r->owed_append_reply = false;
}

/* What is committed here is another entry. */
static bool follower_denies(const struct raft *r, struct raft_entry_id id)
{
    if (id.index > r->commit_index) {
        return false;
    }
    uint64_t own_term = raft_term_of(r, id.index);
    return own_term != 0 && own_term != id.term;
}

/* The entry `id` of the leader's log is in this one too. All committed entries are (rules C3, C11);
 * who says otherwise is not believed (rule C2). */
static bool follower_has(const struct raft *r, struct raft_entry_id id)
{
    if (id.index <= r->commit_index) {
        return !follower_denies(r, id);
    }
    return id.index <= raft_firm_index(r) && raft_term_of(r, id.index) == id.term;
}

/* No leader of this or of a newer term says this to a node that has heard what this one has. */
bool follower_contradicts(const struct raft *r, const struct raft_message *m)
{
    ASSERT(m->kind == RAFT_APPEND);
    ASSERT(m->term >= r->state.term);
    bool other_leader = r->term_leader != RAFT_NOBODY && r->term_leader != m->from;
    return (m->term == r->state.term && other_leader) || follower_denies(r, m->append.prev);
}

/* The same of an entry. A leader makes a configuration only after the one before is committed, and
 * says so with it (rule I2). */
static bool follower_contradicts_entry(const struct raft *r, const struct raft_event *event)
{
    struct raft_entry_id id = event->entry.id;
    struct raft_entry_id previous = {event->entry.previous_term, id.index - 1};
    bool verified = id.index <= r->verified_index && raft_term_of(r, id.index) != 0;

    return follower_denies(r, id) || follower_denies(r, previous) ||
           (verified && raft_term_of(r, id.index) != id.term) ||
           (event->entry.configuration != NULL && id.index > r->configuration.index &&
            raft_max(r->commit_index, event->entry.commit_index) < r->configuration.index);
}

static void follower_verify(struct raft *r, uint64_t index)
{
    ASSERT(index <= raft_firm_index(r));
    r->verified_index = raft_max(r->verified_index, index);
}

static void follower_learn_commit(struct raft *r, uint64_t leader_commit)
{
    r->leader_commit = raft_max(r->leader_commit, leader_commit);
    uint64_t index = raft_min(r->leader_commit, r->verified_index);
    if (index > r->commit_index) {
        raft_commit_to(r, index);
    }
}

/* The vote bound is met once this log holds, durably, what the leader has committed in its own term
 * since it heard of this boot. Nothing else that is committed can lack here then: what was
 * committed in earlier terms lies below it, and in this one no ack of an earlier boot counts any
 * more. */
void follower_meet_bound(struct raft *r)
{
    if (LIKELY(r->state.vote_bound.index == 0) || r->bound_index == 0 ||
        raft_ackable_index(r) < r->bound_index) {
        return;
    }
    ASSERT(r->role == RAFT_FOLLOWER);
    if (raft_term_of(r, r->bound_index) == r->state.term) {
        r->bound_met = r->state.vote_bound;
        r->state.vote_bound = (struct raft_entry_id){0, 0};
        r->bound_met_term = r->state.term;
        r->counters.bounds_met++;
        r->dirty = true;
    }
    r->bound_index = 0; /* Of an earlier term: the next word counts. */
}

/* The first word stands until it is reached: under load a newer one would stay ahead of the disk.
 */
static void follower_learn_bound(struct raft *r, const struct raft_message *m)
{
    if (UNLIKELY(r->state.vote_bound.index != 0) && r->bound_index == 0 &&
        m->append.heard_boot == (uint32_t)r->config.boot) {
        r->bound_index = m->append.commit_index;
    }
    follower_meet_bound(r);
}

/* An APPEND of this term. An old token proves nothing about now: it is dropped (rule N7). */
void follower_on_append(struct raft *r, const struct raft_message *m)
{
    ASSERT(m->term == r->state.term);
    if (m->token <= r->append_token) {
        r->counters.stale_token++;
        return;
    }
    election_follow(r, m->from);
    election_heard(r);
    regressed_follow(r, m);
    r->append_token = m->token;
    r->append_session = m->append.session;
    r->append_prev = m->append.prev;
    r->owed_append_reply = true;
    if (follower_has(r, m->append.prev)) {
        follower_verify(r, m->append.prev.index);
    }
    follower_learn_commit(r, m->append.commit_index);
    follower_learn_bound(r, m);
}

static void follower_want_cut(struct raft *r, struct raft_entry_id keep)
{
    ASSERT(r->role == RAFT_FOLLOWER);
    ASSERT(r->cut != CUT_WRITING);
    ASSERT(keep.index >= r->commit_index);
    ASSERT(keep.index >= r->verified_index);
    r->cut = CUT_WANTED;
    r->cut_keep = keep;
    r->counters.cuts++;
}

/* Place one entry of this term's leader against the log. */
static enum raft_taken follower_place(struct raft *r, const struct raft_event *event)
{
    struct raft_entry_id id = event->entry.id;
    struct raft_entry_id previous = {event->entry.previous_term, id.index - 1};
    uint64_t own_term = raft_term_of(r, id.index);

    if (id.index <= r->commit_index) {
        ASSERT(own_term == 0 || own_term == id.term);
        return RAFT_KNOWN;
    }
    if (id.index > raft_firm_index(r) && r->cut != CUT_NONE) {
        return RAFT_WAIT;
    }
    if (id.index > r->terms.last_index + 1 || !follower_has(r, previous)) {
        return RAFT_REFUSED;
    }
    if (LIKELY(id.index == r->terms.last_index + 1)) {
        raft_log_append(r, id, event->entry.configuration);
        follower_verify(r, id.index);
        return RAFT_TAKEN;
    }
    if (own_term == id.term) {
        follower_verify(r, id.index);
        return RAFT_KNOWN;
    }
    if (own_term == 0) {
        return RAFT_REFUSED; /* Below the known runs: what is not known is not cut. */
    }
    if (r->cut != CUT_WRITING) {
        election_follow(r,
                        event->entry.from); /* Who has a leader's log to make room for, follows. */
        follower_want_cut(r, previous);
    }
    return RAFT_WAIT;
}

enum raft_taken follower_on_entry(struct raft *r, const struct raft_event *event)
{
    uint8_t from = event->entry.from;
    uint64_t term = event->entry.term;

    ASSERT(from != r->config.self);
    ASSERT(event->entry.id.index > 0);
    ASSERT(event->entry.id.term > 0);
    ASSERT(event->entry.id.term <= term);
    ASSERT(event->entry.previous_term <= event->entry.id.term);
    ASSERT((event->entry.previous_term == 0) == (event->entry.id.index == 1));
    if (!raft_accept_sender(r, from) || !raft_accept_term(r, term)) {
        return RAFT_REFUSED;
    }
    if (UNLIKELY(term > r->state.term || r->role == RAFT_CANDIDATE)) {
        election_become_follower(r, term, from);
    }
    ASSERT(r->term_leader == RAFT_NOBODY || r->term_leader == from);
    r->term_leader = from;
    if (UNLIKELY(follower_contradicts_entry(r, event))) {
        r->counters.contradictions++;
        return RAFT_REFUSED;
    }

    enum raft_taken taken = follower_place(r, event);
    if (LIKELY(taken == RAFT_TAKEN)) {
        /* Never seen before, so it is fresh; an entry known already may be an old echo. */
        election_follow(r, from);
        election_heard(r);
    }
    if (taken != RAFT_REFUSED) {
        follower_learn_commit(r, event->entry.commit_index);
    }
    return taken;
}

/* There is a leader to answer, and no promise of this term runs ahead of the disk. */
bool follower_may_reply(const struct raft *r)
{
    return r->role == RAFT_FOLLOWER && r->leader != RAFT_NOBODY && r->append_token != 0 &&
           r->state_durable.term == r->state.term;
}

void follower_build_reply(const struct raft *r, struct raft_message *reply)
{
    struct raft_entry_id prev = r->append_prev;

    ASSERT(follower_may_reply(r));
    reply->token = r->append_token;
    reply->append_reply.session = r->append_session;
    reply->append_reply.matched = follower_has(r, prev);
    reply->append_reply.bootstrapped = r->state.bootstrapped;
    /* To this leader it may have acked what it has not got again, and its bound may be met before
     * the leader has ever heard of it. */
    reply->append_reply.bound = r->state.vote_bound;
    if (UNLIKELY(r->bound_met_term == r->state.term) && r->state.vote_bound.index == 0) {
        reply->append_reply.bound = r->bound_met;
    }
    reply->append_reply.verified_index = r->verified_index;
    reply->append_reply.durable_index = raft_ackable_index(r);
    if (!reply->append_reply.matched) {
        prev.index = raft_min(prev.index, raft_firm_index(r));
        struct raft_entry_id hint = terms_at_most(&r->terms, prev);
        if (hint.index < r->commit_index) {
            hint = (struct raft_entry_id){raft_term_of(r, r->commit_index), r->commit_index};
        }
        reply->append_reply.hint = hint;
    }
}

/* What is kept is on disk, so that the cut stands on something. */
bool follower_cut_ready(const struct raft *r)
{
    return UNLIKELY(r->cut == CUT_WANTED) && r->durable_index >= r->cut_keep.index;
}

/* CUT_LOG leaves: from here on the log ends at `keep`. */
void follower_cut_drained(struct raft *r)
{
    ASSERT(follower_cut_ready(r));
    ASSERT(r->cut_keep.index >= r->commit_index);
    terms_cut(&r->terms, r->cut_keep.index);
    ASSERT(terms_last(&r->terms).term == r->cut_keep.term);
    membership_cut(r, r->cut_keep.index);
    r->handed_index = r->cut_keep.index;
    r->durable_index = r->cut_keep.index;
    r->cut = CUT_WRITING;
}

void follower_cut_durable(struct raft *r, uint64_t epoch)
{
    ASSERT(r->cut == CUT_WRITING);
    ASSERT(epoch == r->epoch + 1);
    r->epoch = epoch;
    r->cut = CUT_NONE;
}
