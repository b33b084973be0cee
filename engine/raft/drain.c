/* drain.c: what the state owes the world.
 *
 * The one place that gives anything out, and so the one place that shows what waits for the disk:
 * no message leaves under a term that is not durable, no vote before it is durable, no entry goes
 * to the log before the term it was taken in is durable (rules A1, A4, E4). Nothing owed costs one
 * branch.
 */
#include "engine/raft/internal.h"

#include <string.h>

/* The part of an effect that all kinds but MAKE use. */
#define EFFECT_BYTES (offsetof(struct raft_effect, send) + sizeof(struct raft_message))

/* The effects written so far. */
struct drain {
    struct raft_effect *effects;
    uint32_t count;
    uint32_t max;
};

static bool drain_full(const struct drain *drain)
{
    return drain->count == drain->max;
}

static struct raft_effect *drain_add(struct drain *drain, enum raft_effect_kind kind)
{
    ASSERT(drain->count < drain->max);
    struct raft_effect *effect = &drain->effects[drain->count++];
    /* A MAKE is several times the size of all the others, and rare. */
    memset(effect, 0, kind == RAFT_EFFECT_MAKE ? sizeof(*effect) : EFFECT_BYTES);
    effect->kind = kind;
    return effect;
}

static struct raft_message *
drain_add_send(struct raft *r, struct drain *drain, enum raft_message_kind kind, uint8_t to)
{
    struct raft_message *send = &drain_add(drain, RAFT_EFFECT_SEND)->send;

    send->kind = kind;
    send->from = r->config.self;
    send->to = to;
    send->from_store = r->config.store;
    send->from_boot = r->config.boot;
    send->term = r->state.term;
    return send;
}

static bool drain_state_differs(const struct raft *r)
{
    return r->state.term != r->state_durable.term || r->state.vote != r->state_durable.vote ||
           r->state.entry_term != r->state_durable.entry_term ||
           r->state.bootstrapped != r->state_durable.bootstrapped ||
           r->state.vote_bound.index != r->state_durable.vote_bound.index ||
           r->state.vote_bound.term != r->state_durable.vote_bound.term;
}

static void drain_state(struct raft *r, struct drain *drain)
{
    if (LIKELY(!drain_state_differs(r)) || r->state_in_flight || drain_full(drain)) {
        return;
    }
    struct raft_effect *effect = drain_add(drain, RAFT_EFFECT_WRITE_STATE);
    effect->write_state.term = r->state.term;
    effect->write_state.vote = r->state.vote;
    effect->write_state.entry_term = r->state.entry_term;
    effect->write_state.bootstrapped = r->state.bootstrapped;
    effect->write_state.vote_bound = r->state.vote_bound;
    r->state_writing = r->state;
    r->state_in_flight = true;
}

static void drain_log(struct raft *r, struct drain *drain)
{
    if (follower_cut_ready(r) && !drain_full(drain)) {
        struct raft_effect *effect = drain_add(drain, RAFT_EFFECT_CUT_LOG);
        effect->cut_log.epoch = r->epoch + 1;
        effect->cut_log.keep = r->cut_keep;
        follower_cut_drained(r);
    }
    /* No entry before the term it was taken in, and its own, are durable (rule A4, design D1). */
    bool allowed = r->state_durable.term == r->state.term &&
                   r->state_durable.entry_term == r->state.entry_term && r->cut != CUT_WRITING;
    uint64_t last_index = raft_firm_index(r);
    if (!allowed || r->handed_index >= last_index || drain_full(drain)) {
        return;
    }
    struct raft_effect *effect = drain_add(drain, RAFT_EFFECT_WRITE_LOG);
    effect->write_log.epoch = r->epoch;
    effect->write_log.first_index = r->handed_index + 1;
    effect->write_log.last_index = last_index;
    r->handed_index = last_index;
}

/* Requests: of a leader, of a candidate, of a pre-candidate; election.c keeps only one kind owed.
 */
static void drain_requests(struct raft *r, struct drain *drain)
{
    for (; r->owed_append != 0 && !drain_full(drain); r->owed_append &= r->owed_append - 1) {
        uint8_t to = set_first(r->owed_append);
        progress_build_append(r, to, drain_add_send(r, drain, RAFT_APPEND, to));
    }
    if (UNLIKELY(r->owed_timeout_now) && !drain_full(drain)) {
        transfer_build(r, drain_add_send(r, drain, RAFT_TIMEOUT_NOW, r->transfer_to));
        r->owed_timeout_now = false;
    }
    for (; r->owed_vote != 0 && !drain_full(drain); r->owed_vote &= r->owed_vote - 1) {
        struct raft_message *send = drain_add_send(r, drain, RAFT_VOTE, set_first(r->owed_vote));
        send->token = r->attempt_token;
        send->vote.last = terms_last(&r->terms);
        send->vote.transfer = r->campaign_ordered;
    }
    for (; r->owed_pre_vote != 0 && !drain_full(drain); r->owed_pre_vote &= r->owed_pre_vote - 1) {
        struct raft_message *send =
            drain_add_send(r, drain, RAFT_PRE_VOTE, set_first(r->owed_pre_vote));
        send->term = r->state.term + 1;
        send->token = r->attempt_token;
        send->vote.last = terms_last(&r->terms);
    }
}

/* A vote for `id` that is not on disk yet: its reply waits. */
static bool drain_vote_waits(const struct raft *r, uint8_t id)
{
    return r->peers[id].vote_reply.term == r->state.term && r->state.vote == id &&
           r->state_durable.vote != id;
}

static void drain_vote_replies(struct raft *r, struct drain *drain)
{
    for (raft_set rest = r->owed_vote_reply; rest != 0 && !drain_full(drain); rest &= rest - 1) {
        uint8_t to = set_first(rest);
        const struct owed_reply *owed = &r->peers[to].vote_reply;
        if (drain_vote_waits(r, to)) {
            continue;
        }
        struct raft_message *send = drain_add_send(r, drain, RAFT_VOTE_REPLY, to);
        send->token = owed->token;
        send->vote_reply.granted = owed->term == r->state.term && r->state.vote == to;
        regressed_tell(r, send);
        r->owed_vote_reply &= ~set_of(to);
    }
}

static void drain_replies(struct raft *r, struct drain *drain)
{
    bool reply = r->owed_append_reply || raft_ackable_index(r) > r->acked_index;
    if (reply && follower_may_reply(r) && !drain_full(drain)) {
        follower_build_reply(r, drain_add_send(r, drain, RAFT_APPEND_REPLY, r->leader));
        r->acked_index = raft_ackable_index(r);
        r->owed_append_reply = false;
    }
    drain_vote_replies(r, drain);
    for (; r->owed_pre_vote_reply != 0 && !drain_full(drain);
         r->owed_pre_vote_reply &= r->owed_pre_vote_reply - 1) {
        uint8_t to = set_first(r->owed_pre_vote_reply);
        const struct owed_reply *owed = &r->peers[to].pre_vote_reply;
        struct raft_message *send = drain_add_send(r, drain, RAFT_PRE_VOTE_REPLY, to);
        send->token = owed->token;
        send->vote_reply.granted = owed->granted && owed->term >= r->state.term;
        regressed_tell(r, send);
        send->term = send->vote_reply.granted ? owed->term : r->state.term;
    }
    for (; r->owed_stale_reply != 0 && !drain_full(drain);
         r->owed_stale_reply &= r->owed_stale_reply - 1) {
        uint8_t to = set_first(r->owed_stale_reply);
        struct raft_message *send = drain_add_send(r, drain, RAFT_APPEND_REPLY, to);
        send->token = r->peers[to].stale_reply.token;
        send->append_reply.session = r->peers[to].stale_reply.session;
    }
}

uint32_t raft_drain(struct raft *r, struct raft_effect *effects, uint32_t effects_max)
{
    struct drain drain = {effects, 0, effects_max};

    ASSERT(effects_max > 0);
    if (!r->dirty) {
        return 0;
    }
    drain_state(r, &drain);
    drain_log(r, &drain);
    if (LIKELY(r->state_durable.term == r->state.term)) {
        drain_requests(r, &drain);
        drain_replies(r, &drain);
    }
    if (r->commit_index > r->commit_told && !drain_full(&drain)) {
        drain_add(&drain, RAFT_EFFECT_COMMIT)->commit.index = r->commit_index;
        r->commit_told = r->commit_index;
    }
    if (UNLIKELY(r->owed_make) && leader_may_make(r) && !drain_full(&drain)) {
        leader_make(r, drain_add(&drain, RAFT_EFFECT_MAKE));
        r->owed_make = false;
    }
    r->dirty = drain_full(&drain); /* Not full: nothing more was ready. */
    return drain.count;
}
