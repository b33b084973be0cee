/* regressed.c: peers whose disk went back (rule M7).
 *
 * A node that lacks what it has acknowledged, and does not say so, runs on an old copy of its disk,
 * or on a disk that lied. What it has promised, to whomever, is not known any more: so none of its
 * votes and acks counts, and it gets no vote. The leader that notices tells all with every APPEND,
 * and whoever votes tells the candidate; the newest word of a leader counts. Only memory holds it:
 * no disk is asked to vouch for another. The accused node, which hears it too, takes a vote bound
 * like one that has lost an end of its log: a disk that is only old will keep that, even if all
 * others are started anew.
 *
 * The leader goes on to bring it what it lacks. Once somebody has seen to its disk and started it
 * again, it counts again as soon as it holds, durably, all that this leader had when it heard of
 * that start, and a quorum without it has said since that it still follows this leader. All that is
 * committed lies below that then: whatever the accused one had acked to another leader, its ack
 * alone was not enough; and it is asked to vote only in later terms than those it has forgotten.
 * But first a quorum is told: else a next leader might still believe the old word.
 */
#include "engine/raft/internal.h"

bool regressed_is(const struct raft *r, uint8_t id)
{
    return UNLIKELY(set_has(r->regressed, id));
}

/* Nothing that it has said of its log is evidence any more. */
void regressed_accuse(struct raft *r, uint8_t id)
{
    ASSERT(r->role == RAFT_LEADER);
    ASSERT(set_has(r->members, id));
    r->regressed |= set_of(id);
    r->regaining &= ~set_of(id);
    r->peers[id].regain_index = UINT64_MAX;
    r->peers[id].accused_boot = r->peers[id].boot;
    r->peers[id].acked_index = 0;
    r->counters.regressions++;
    r->owed_append |= r->members; /* All are to know. */
    progress_probe(r, id, r->terms.last_index);
}

/* What it may have acknowledged in this term, and lacks, is committed by now, or never will be by
 * that ack. What it had of earlier terms, committed unknown to the leader as yet, whoever has an
 * entry of this term has too. */
static void regressed_bind(struct raft *r, uint64_t commit_index)
{
    struct raft_entry_id *bound = &r->state.vote_bound;
    uint64_t index = raft_max(commit_index, 1);

    if (bound->term < r->state.term || bound->index < index) {
        *bound = (struct raft_entry_id){r->state.term, index};
    }
    r->bound_index = 0; /* A word of before does not meet it. */
    r->dirty = true;
}

/* The leader's word, which an accused node itself hears too. */
void regressed_follow(struct raft *r, const struct raft_message *m)
{
    bool accused = regressed_is(r, r->config.self);

    ASSERT(r->role == RAFT_FOLLOWER);
    ASSERT(m->term == r->state.term);
    r->regressed = m->append.regressed;
    r->regaining = 0;
    r->regressed_term = m->term;
    r->regressed_token = m->token;
    if (regressed_is(r, r->config.self) && !accused) {
        regressed_bind(r, m->append.commit_index);
    }
}

/* What a voter knows from a leader, told to a candidate. It is never the candidate who is accused:
 * that one would not be answered. */
void regressed_learn(struct raft *r, const struct raft_message *m)
{
    uint64_t term = m->vote_reply.regressed_term;
    uint64_t token = m->vote_reply.regressed_token;

    if (term < r->regressed_term || (term == r->regressed_term && token <= r->regressed_token)) {
        return;
    }
    r->regressed = m->vote_reply.regressed & ~set_of(r->config.self);
    r->regaining = 0;
    r->regressed_term = term;
    r->regressed_token = token;
}

/* The newest word of a leader that this node knows, its own one too. */
void regressed_tell(const struct raft *r, struct raft_message *reply)
{
    reply->vote_reply.regressed = r->regressed & ~r->regaining;
    reply->vote_reply.regressed_term = r->regressed_term;
    reply->vote_reply.regressed_token = r->regressed_token;
}

/* A leader tells all with every APPEND; this one has `token`. */
raft_set regressed_word(struct raft *r, uint64_t token)
{
    ASSERT(r->role == RAFT_LEADER);
    r->regressed_term = r->state.term;
    r->regressed_token = token;
    return r->regressed & ~r->regaining;
}

/* A leader has to see a start of each of them itself. */
void regressed_lead(struct raft *r)
{
    ASSERT(r->role == RAFT_LEADER);
    ASSERT(!set_has(r->regressed, r->config.self));
    r->regaining = 0;
    for (raft_set rest = r->regressed; rest != 0; rest &= rest - 1) {
        r->peers[set_first(rest)].regain_index = UINT64_MAX;
        r->peers[set_first(rest)].accused_boot = 0;
    }
}

/* The leader hears it in a newer boot. The first that it hears at all may be the accused one. */
void regressed_started(struct raft *r, uint8_t id)
{
    ASSERT(r->role == RAFT_LEADER);
    if (regressed_is(r, id) && r->peers[id].accused_boot != 0) {
        r->regaining &= ~set_of(id);
        r->peers[id].regain_index = r->terms.last_index;
    }
}

/* A quorum of the others has answered what this leader has asked after `token`. */
static bool regressed_led_since(const struct raft *r, uint64_t token)
{
    raft_set heard = set_of(r->config.self);

    for (raft_set rest = r->members; rest != 0; rest &= rest - 1) {
        uint8_t id = set_first(rest);
        heard |= r->peers[id].heard_token > token ? set_of(id) : 0;
    }
    return quorum_agrees(&r->configuration, heard & ~r->regressed);
}

/* It holds all that it has to, and the office has outlived its start. */
static bool regressed_has_all(const struct raft *r, uint8_t id)
{
    const struct peer *peer = &r->peers[id];

    return r->match[id] >= peer->regain_index && peer->heard_token > peer->boot_token &&
           regressed_led_since(r, peer->boot_token);
}

/* An answer of `from`: whoever has all again counts again, once a quorum has been told. */
void regressed_heard(struct raft *r, uint8_t from)
{
    ASSERT(r->role == RAFT_LEADER);
    if (LIKELY(r->regressed == 0)) {
        return;
    }
    if (r->peers[from].accused_boot == 0) {
        r->peers[from].accused_boot = r->peers[from].boot;
    }
    for (raft_set rest = r->regressed & r->members; rest != 0; rest &= rest - 1) {
        uint8_t id = set_first(rest);
        if (!set_has(r->regaining, id) && regressed_has_all(r, id)) {
            r->regaining |= set_of(id);
            r->peers[id].regain_token = r->token;
            r->owed_append |= r->members;
            r->dirty = true;
        } else if (set_has(r->regaining, id) && regressed_led_since(r, r->peers[id].regain_token)) {
            r->regaining &= ~set_of(id);
            r->regressed &= ~set_of(id);
            r->heard_ns[id] = r->now_ns;
            r->counters.regained++;
        }
    }
}

/* The highest value that a quorum has reached of those that count, or that all voters have. */
uint64_t regressed_quorum_value(const struct raft *r, const uint64_t *values, bool all)
{
    uint64_t counted[NODE_ID_MAX + 1];

    if (UNLIKELY(r->regressed != 0)) {
        for (uint8_t id = 0; id <= NODE_ID_MAX; id++) {
            counted[id] = set_has(r->regressed, id) ? 0 : values[id];
        }
        values = counted;
    }
    return all ? quorum_value_of_all(&r->configuration, values)
               : quorum_value(&r->configuration, values);
}
