/* progress.c: how a leader stands with one peer's log.
 *
 * PROBE looks for the last entry both logs share, one question a heartbeat, or at once when an
 * answer has brought the place down; REPLICATE leaves the rest to the caller's stream. Each return
 * to PROBE is a new session, so that an answer to what was asked before cannot count (rules C6, C9,
 * N6).
 */
#include "engine/raft/internal.h"

/* Begin a new session by asking for `index`. */
void progress_probe(struct raft *r, uint8_t id, uint64_t index)
{
    struct peer *peer = &r->peers[id];

    ASSERT(id != r->config.self);
    ASSERT(index <= r->terms.last_index);
    peer->progress = PROGRESS_PROBE;
    peer->session++;
    peer->next_index = 0;
    peer->probe_index = index;
    peer->probe_token = 0;
    peer->behind = false;
    r->match[id] = 0;
    r->owed_append |= set_of(id);
    r->dirty = true;
}

/* Where to ask next, below what was refused (rules C8, C10). */
static uint64_t progress_backtrack(const struct raft *r, const struct raft_message *m)
{
    struct raft_entry_id hint = m->append_reply.hint;
    uint64_t index = hint.index;

    if (hint.term > 0) {
        index = terms_at_most(&r->terms, hint).index;
    }
    index = raft_max(index, m->append_reply.verified_index);
    index = raft_min(index, r->terms.last_index);
    /* Where the own term is not known any more, the log's start is: all before it is committed. */
    return raft_term_of(r, index) == 0 ? r->start.index : index;
}

static void progress_on_probe_reply(struct raft *r, const struct raft_message *m)
{
    struct peer *peer = &r->peers[m->from];

    if (peer->probe_token == 0 || m->token < peer->probe_token) {
        return; /* It answers an earlier question. */
    }
    if (m->append_reply.matched) {
        peer->progress = PROGRESS_REPLICATE;
        peer->behind = false;
        peer->next_index = raft_max(peer->probe_index, m->append_reply.verified_index);
        peer->next_index = raft_max(peer->next_index, r->match[m->from]) + 1;
        return;
    }
    /* There is no lower question. It stands while the start moves on: what is trimmed stays so. */
    peer->behind = peer->behind || (r->start.index > 0 && peer->probe_index <= r->start.index);
    uint64_t index = progress_backtrack(r, m);
    if (index < peer->probe_index) {
        peer->probe_index = index;
        peer->probe_token = 0;
        r->owed_append |= set_of(m->from);
    }
}

/* It claims entries that this leader has not got: nobody has verified them with it. */
bool progress_contradicts(const struct raft *r, const struct raft_message *m)
{
    ASSERT(m->kind == RAFT_APPEND_REPLY);
    return r->role == RAFT_LEADER && m->term == r->state.term && set_has(r->members, m->from) &&
           m->append_reply.session == r->peers[m->from].session &&
           m->append_reply.verified_index > r->terms.last_index;
}

/* It says that it lost what it has acknowledged, all of it: an old copy of a node that was bound
 * once has a bound that is too low. */
static bool progress_owns_up(const struct raft *r, const struct raft_message *m)
{
    struct raft_entry_id bound = m->append_reply.bound;
    if (LIKELY(bound.index == 0)) {
        return false;
    }
    uint64_t acked_index = r->peers[m->from].acked_index;
    uint64_t acked_term = raft_term_of(r, acked_index);
    acked_term = acked_term == 0 ? r->start.term : acked_term; /* Trimmed: no later one. */
    return bound.term > acked_term || (bound.term == acked_term && bound.index >= acked_index);
}

/* It was asked for an entry that it has acknowledged, or for one above, and its log ends below
 * that. `fresh`: it said so after everything else that was heard of it. */
static bool progress_went_back(const struct raft *r, const struct raft_message *m, bool fresh)
{
    const struct peer *peer = &r->peers[m->from];
    bool probed = peer->progress == PROGRESS_PROBE && peer->probe_token != 0 &&
                  m->token >= peer->probe_token && peer->probe_index >= peer->acked_index;
    bool replicated = peer->progress == PROGRESS_REPLICATE && r->match[m->from] > 0;
    return fresh && !m->append_reply.matched && (probed || replicated) &&
           m->append_reply.hint.index < peer->acked_index;
}

/* A reply of this term and session; `fresh`: to a newer request than any answered before. */
void progress_on_reply(struct raft *r, const struct raft_message *m, bool fresh)
{
    struct peer *peer = &r->peers[m->from];
    uint64_t durable_index = m->append_reply.durable_index;

    ASSERT(m->append_reply.verified_index <= r->terms.last_index);
    if (fresh && UNLIKELY(progress_owns_up(r, m))) {
        peer->acked_index = durable_index;
    }
    if (durable_index > r->match[m->from]) {
        r->match[m->from] = durable_index;
        peer->acked_index = raft_max(peer->acked_index, durable_index);
    }
    peer->bounded = m->append_reply.bound.index != 0;
    if (UNLIKELY(progress_went_back(r, m, fresh))) {
        regressed_accuse(r, m->from);
        return;
    }
    switch (peer->progress) {
    case PROGRESS_PROBE:
        progress_on_probe_reply(r, m);
        break;
    case PROGRESS_REPLICATE:
        if (fresh && !m->append_reply.matched) {
            progress_probe(r, m->from, progress_backtrack(r, m));
        }
        break;
    }
}

/* Fill in the APPEND for a peer: a question in PROBE, in REPLICATE a heartbeat about an entry that
 * the peer is known to have. Makes a new token. */
void progress_build_append(struct raft *r, uint8_t id, struct raft_message *append)
{
    struct peer *peer = &r->peers[id];
    uint64_t index = r->match[id];

    peer->sent_token = ++r->token;
    if (peer->progress == PROGRESS_PROBE) {
        if (raft_term_of(r, peer->probe_index) == 0 && peer->probe_index != r->start.index) {
            peer->probe_index = r->start.index; /* Trimmed since. */
            peer->probe_token = 0;
        }
        if (peer->probe_token == 0) {
            peer->probe_token = peer->sent_token;
        }
        index = peer->probe_index;
    } else if (raft_term_of(r, index) == 0) {
        index = r->start.index;
    }
    append->token = peer->sent_token;
    append->append.session = peer->session;
    append->append.prev = (struct raft_entry_id){raft_term_of(r, index), index};
    append->append.commit_index = r->commit_index;
    append->append.heard_boot = (uint32_t)peer->boot;
    append->append.regressed = regressed_word(r, peer->sent_token);
    ASSERT((append->append.prev.term == 0) == (index == 0));
}
