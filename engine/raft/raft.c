/* raft.c: the core's doors: init, step and what may be read.
 *
 * raft_step() checks who speaks and of which term, then hands the event to the file that knows what
 * it means; what that leaves owed, drain.c reads off.
 */
#include "engine/raft/raft.h"

#include "engine/raft/internal.h"

#include <string.h>

COUNTERS_DEFINE(raft, RAFT_COUNTERS);

uint32_t raft_size_bytes(void)
{
    return (uint32_t)((sizeof(struct raft) + 63u) & ~(size_t)63u);
}

static void raft_init_log(struct raft *r, const struct raft_recovered *recovered)
{
    struct raft_entry_id last = recovered->last;

    ASSERT((last.term == 0) == (last.index == 0));
    ASSERT(recovered->start.index <= last.index);
    ASSERT((recovered->run_count > 0) == (last.index > recovered->start.index));
    r->start = recovered->start;
    bool dropped = recovered->floor.index > recovered->start.index;
    terms_init(&r->terms, dropped ? recovered->floor : recovered->start);
    for (uint32_t i = 0; i < recovered->run_count; i++) {
        bool newest = i + 1 == recovered->run_count;
        uint64_t end = newest ? last.index : recovered->runs[i + 1].first_index - 1;
        terms_append_run(&r->terms, recovered->runs[i], end);
    }
    ASSERT(terms_last(&r->terms).term == last.term);
    r->handed_index = last.index;
    r->durable_index = last.index;
    r->epoch = recovered->epoch;
    /* What is committed beyond that is known again by the next leader's word (rule A10). */
    ASSERT(recovered->commit_index <= last.index);
    r->commit_index = raft_max(r->start.index, recovered->commit_index);
    r->commit_told = r->commit_index;
    r->verified_index = r->commit_index;
}

static void raft_init_state(struct raft *r, const struct raft_recovered *recovered)
{
    ASSERT(recovered->vote <= NODE_ID_MAX);
    r->state_durable = (struct hard_state){.term = recovered->term,
                                           .entry_term = recovered->entry_term,
                                           .vote = recovered->vote,
                                           .bootstrapped = recovered->bootstrapped,
                                           .vote_bound = recovered->vote_bound};
    r->state = r->state_durable;
    r->state.entry_term = raft_max(recovered->entry_term, recovered->last.term);
    r->state.bootstrapped = recovered->bootstrapped || r->commit_index >= 1;
    if (recovered->last.term > recovered->term) {
        r->state.term = recovered->last.term;
        r->state.vote = RAFT_NOBODY;
    }
}

void raft_init(struct raft *r,
               const struct raft_config *config,
               const struct raft_recovered *recovered,
               uint64_t now_ns)
{
    ASSERT(((uintptr_t)r & 63u) == 0);
    ASSERT(config->self >= 1);
    ASSERT(config->self <= NODE_ID_MAX);
    ASSERT(config->heartbeat_ns > 0);
    ASSERT(config->heartbeat_ns * 10 <= config->election_min_ns);
    ASSERT(config->election_min_ns <= config->election_max_ns);
    memset(r, 0, sizeof(*r));
    r->config = *config;
    r->now_ns = now_ns;
    r->token = config->boot << 32;
    prng_init(&r->prng, config->seed);
    raft_init_log(r, recovered);
    raft_init_state(r, recovered);
    membership_init(r, recovered);
    election_init(r);
    r->dirty = true;
}

void raft_log_append(struct raft *r,
                     struct raft_entry_id id,
                     const struct raft_configuration *configuration)
{
    ASSERT(r->cut == CUT_NONE);
    ASSERT(id.term <= r->state.term);
    terms_append(&r->terms, id);
    r->state.entry_term = raft_max(r->state.entry_term, id.term);
    if (UNLIKELY(configuration != NULL)) {
        membership_append(r, configuration, id.index);
    }
}

void raft_commit_to(struct raft *r, uint64_t index)
{
    ASSERT(index > r->commit_index);
    ASSERT(index <= r->verified_index);
    ASSERT(index <= raft_firm_index(r));
    r->commit_index = index;
    r->state.bootstrapped = true;
}

/* Not older than the own term, and not absurdly newer: a term once adopted stays (rule A11). */
bool raft_accept_term(struct raft *r, uint64_t term)
{
    if (UNLIKELY(term < r->state.term)) {
        r->counters.stale_term++;
        return false;
    }
    if (UNLIKELY(term - r->state.term > TERM_JUMP_MAX)) {
        r->counters.absurd_term++;
        return false;
    }
    return true;
}

/* The store is the one that the configuration names, or that this campaign has heard first. */
static bool raft_accept_store(struct raft *r, const struct raft_message *m)
{
    uint64_t store = membership_store(&r->configuration, m->from);

    if (store == 0 && (r->role == RAFT_CANDIDATE || r->role == RAFT_LEADER)) {
        store = r->peers[m->from].pinned;
    }
    if (LIKELY(store == 0 || store == m->from_store)) {
        return true;
    }
    r->counters.wrong_store++;
    return false;
}

/* An older self of a peer has nothing to say; but one that answers what was asked since the younger
 * one was heard is alive: its disk is an old copy. */
static void raft_on_older_boot(struct raft *r, const struct raft_message *m)
{
    const struct peer *peer = &r->peers[m->from];
    bool alive = r->role == RAFT_LEADER && m->kind == RAFT_APPEND_REPLY &&
                 m->term == r->state.term && m->token > peer->boot_token &&
                 m->token <= peer->sent_token;
    if (alive && set_has(r->members, m->from)) {
        r->peers[m->from].boot = m->from_boot; /* It is this one that is spoken to from now on. */
        r->peers[m->from].boot_token = r->token;
        regressed_accuse(r, m->from);
    }
}

/* A restarted peer may have forgotten what it had said; an older self of it has nothing to say. */
static bool raft_accept_boot(struct raft *r, const struct raft_message *m)
{
    struct peer *peer = &r->peers[m->from];

    if (LIKELY(m->from_boot == peer->boot)) {
        return true;
    }
    if (m->from_boot < peer->boot) {
        r->counters.stale_session++;
        raft_on_older_boot(r, m);
        return false;
    }
    bool restarted = peer->boot != 0;
    peer->boot = m->from_boot;
    peer->boot_token = r->token;
    if (restarted && r->role == RAFT_LEADER && set_has(r->members, m->from)) {
        progress_probe(r, m->from, r->terms.last_index);
        regressed_started(r, m->from);
    }
    return true;
}

/* A request of an older term is answered once with the own one, so that its sender can be freed
 * (rule A6); a reply of an older term answers nothing. */
static void raft_on_older_term(struct raft *r, const struct raft_message *m)
{
    struct peer *peer = &r->peers[m->from];
    struct owed_reply reply = {.token = m->token, .term = m->term};

    r->counters.stale_term++;
    switch (m->kind) {
    case RAFT_PRE_VOTE:
        peer->pre_vote_reply = reply;
        r->owed_pre_vote_reply |= set_of(m->from);
        break;
    case RAFT_VOTE:
        peer->vote_reply = reply;
        r->owed_vote_reply |= set_of(m->from);
        break;
    case RAFT_APPEND:
        reply.session = m->append.session;
        peer->stale_reply = reply;
        r->owed_stale_reply |= set_of(m->from);
        break;
    case RAFT_TIMEOUT_NOW: /* Comes with an APPEND, which is answered. */
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
    case RAFT_APPEND_REPLY:
        break;
    }
}

/* Adopt a newer term (rule A5). False: the message says nothing more. A pre-vote and its grant
 * speak of a term that nobody has yet; a vote is not heard while a leader is, unless that leader
 * wants it (rules B3, B4). */
static bool raft_on_newer_term(struct raft *r, const struct raft_message *m)
{
    switch (m->kind) {
    case RAFT_PRE_VOTE:
        return true;
    case RAFT_PRE_VOTE_REPLY:
        if (m->vote_reply.granted) {
            return true;
        }
        break;
    case RAFT_VOTE:
        if (!m->vote.transfer && election_sticky(r)) {
            r->counters.sticky_ignored++;
            return false;
        }
        break;
    case RAFT_APPEND:
        election_become_follower(r, m->term, m->from);
        return true;
    case RAFT_TIMEOUT_NOW: /* Only a voter of the term that hands over may stand (rule J3). */
        election_become_follower(r, m->term, m->from);
        return false;
    case RAFT_VOTE_REPLY:
    case RAFT_APPEND_REPLY:
        break;
    }
    election_become_follower(r, m->term, RAFT_NOBODY);
    return m->kind == RAFT_VOTE;
}

static void raft_check_message(const struct raft *r, const struct raft_message *m)
{
    ASSERT(m->to == r->config.self);
    ASSERT(m->from != r->config.self);
    ASSERT(m->from >= 1);
    ASSERT(m->from <= NODE_ID_MAX);
    ASSERT(m->term > 0);
    if (m->kind == RAFT_APPEND) {
        ASSERT((m->append.prev.term == 0) == (m->append.prev.index == 0));
        ASSERT(m->append.prev.term <= m->term);
    }
    if (m->kind == RAFT_APPEND_REPLY) {
        ASSERT(m->append_reply.durable_index <= m->append_reply.verified_index);
    }
    if (m->kind == RAFT_VOTE || m->kind == RAFT_PRE_VOTE) {
        ASSERT((m->vote.last.term == 0) == (m->vote.last.index == 0));
        ASSERT(m->vote.last.term <= m->term);
        ASSERT(m->kind == RAFT_VOTE || !m->vote.transfer);
    }
    if (m->kind == RAFT_TIMEOUT_NOW) {
        ASSERT(m->timeout_now.last.term <= m->term);
        ASSERT(m->timeout_now.last.index > 0);
    }
}

/* Words that no peer says which keeps the rules: see raft_step(). */
static bool raft_contradicts(const struct raft *r, const struct raft_message *m)
{
    switch (m->kind) {
    case RAFT_APPEND:
        return follower_contradicts(r, m);
    case RAFT_APPEND_REPLY:
        return progress_contradicts(r, m);
    case RAFT_PRE_VOTE:
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE:
    case RAFT_VOTE_REPLY:
    case RAFT_TIMEOUT_NOW:
        break;
    }
    return false;
}

static bool raft_is_of_election(const struct raft_message *m)
{
    return m->kind == RAFT_PRE_VOTE || m->kind == RAFT_PRE_VOTE_REPLY || m->kind == RAFT_VOTE ||
           m->kind == RAFT_VOTE_REPLY;
}

static void raft_on_message(struct raft *r, const struct raft_message *m)
{
    raft_check_message(r, m);
    if (!raft_accept_sender(r, m->from) || !raft_accept_store(r, m)) {
        return;
    }
    if (m->term > r->state.term && m->term - r->state.term > TERM_JUMP_MAX) {
        r->counters.absurd_term++;
        return;
    }
    if (regressed_is(r, m->from) && raft_is_of_election(m)) {
        r->counters.regressed_ignored++;
        return;
    }
    if (!raft_accept_boot(r, m)) {
        return;
    }
    if (m->term < r->state.term) {
        raft_on_older_term(r, m);
        return;
    }
    if (UNLIKELY(raft_contradicts(r, m))) {
        r->counters.contradictions++;
        return;
    }
    if (m->term > r->state.term && !raft_on_newer_term(r, m)) {
        return;
    }
    switch (m->kind) {
    case RAFT_PRE_VOTE:
        election_on_pre_vote(r, m);
        break;
    case RAFT_PRE_VOTE_REPLY:
        election_on_pre_vote_reply(r, m);
        break;
    case RAFT_VOTE:
        election_on_vote(r, m);
        break;
    case RAFT_VOTE_REPLY:
        election_on_vote_reply(r, m);
        break;
    case RAFT_APPEND:
        follower_on_append(r, m);
        break;
    case RAFT_APPEND_REPLY:
        leader_on_append_reply(r, m);
        break;
    case RAFT_TIMEOUT_NOW:
        transfer_on_timeout_now(r, m);
        break;
    }
}

static void raft_on_log_durable(struct raft *r, uint64_t epoch, uint64_t index)
{
    ASSERT(epoch <= r->epoch);
    if (epoch != r->epoch || r->cut == CUT_WRITING) {
        r->counters.stale_durable++; /* It speaks of entries that have been cut since. */
        return;
    }
    ASSERT(index <= r->handed_index);
    r->durable_index = raft_max(r->durable_index, index);
    follower_meet_bound(r);
    if (r->role == RAFT_LEADER) {
        r->match[r->config.self] = r->durable_index;
        leader_update_commit(r);
        transfer_advance(r);
    }
}

static void raft_on_state_durable(struct raft *r, const struct raft_event *event)
{
    ASSERT(r->state_in_flight);
    ASSERT(event->state_durable.term == r->state_writing.term);
    ASSERT(event->state_durable.vote == r->state_writing.vote);
    ASSERT(event->state_durable.entry_term == r->state_writing.entry_term);
    ASSERT(event->state_durable.vote_bound.term == r->state_writing.vote_bound.term);
    ASSERT(event->state_durable.vote_bound.index == r->state_writing.vote_bound.index);
    r->state_in_flight = false;
    r->state_durable = r->state_writing;
    election_state_durable(r);
}

static void raft_on_trimmed(struct raft *r, struct raft_entry_id start)
{
    ASSERT(start.index <= r->commit_index);
    ASSERT(start.index <= r->durable_index);
    ASSERT(start.index >= r->start.index);
    terms_trim(&r->terms, start);
    r->start = start;
}

static void raft_on_tick(struct raft *r)
{
    if (r->role == RAFT_LEADER) {
        leader_tick(r);
    } else {
        election_tick(r);
    }
}

static void raft_on_unhealthy(struct raft *r)
{
    r->unhealthy = true;
    if (r->role == RAFT_LEADER) {
        transfer_unhealthy(r);
    } else if (r->role != RAFT_FOLLOWER) {
        election_become_follower(r, r->state.term, RAFT_NOBODY);
    }
}

static void raft_on_time_lost(struct raft *r)
{
    if (r->role == RAFT_LEADER) {
        leader_time_lost(r);
    } else {
        election_restart_timer(r);
    }
}

enum raft_taken raft_step(struct raft *r, const struct raft_event *event)
{
    enum raft_taken taken = RAFT_REFUSED;

    ASSERT(event->now_ns >= r->now_ns);
    r->now_ns = event->now_ns;
    r->dirty = r->dirty || event->kind != RAFT_EVENT_TICK;
    switch (event->kind) {
    case RAFT_EVENT_TICK:
        raft_on_tick(r);
        break;
    case RAFT_EVENT_MESSAGE:
        raft_on_message(r, event->message);
        break;
    case RAFT_EVENT_ENTRY:
        taken = follower_on_entry(r, event);
        break;
    case RAFT_EVENT_PROPOSE:
        taken = leader_propose(r, event);
        break;
    case RAFT_EVENT_LOG_DURABLE:
        raft_on_log_durable(r, event->log_durable.epoch, event->log_durable.index);
        break;
    case RAFT_EVENT_STATE_DURABLE:
        raft_on_state_durable(r, event);
        break;
    case RAFT_EVENT_CUT_DURABLE:
        follower_cut_durable(r, event->cut_durable.epoch);
        break;
    case RAFT_EVENT_TRIMMED:
        raft_on_trimmed(r, event->trimmed.start);
        break;
    case RAFT_EVENT_UNHEALTHY:
        raft_on_unhealthy(r);
        break;
    case RAFT_EVENT_HEALTHY:
        r->unhealthy = false;
        break;
    case RAFT_EVENT_TIME_LOST:
        raft_on_time_lost(r);
        break;
    case RAFT_EVENT_TRANSFER:
        if (raft_transfer_check(r, event->transfer.to) == RAFT_TRANSFER_OK) {
            transfer_begin(r, event->transfer.to);
        }
        break;
    case RAFT_EVENT_READ:
        taken = read_register(r);
        break;
    }
    ASSERT(r->commit_index <= r->verified_index);
    ASSERT(r->verified_index <= r->terms.last_index);
    return taken;
}

uint64_t raft_deadline_ns(const struct raft *r)
{
    switch (r->role) {
    case RAFT_LEADER:
        return r->transfer_to == RAFT_NOBODY ? r->heartbeat_due_ns
                                             : raft_min(r->heartbeat_due_ns, r->transfer_due_ns);
    case RAFT_FOLLOWER:
        return r->election_due_ns;
    case RAFT_PRE_CANDIDATE:
    case RAFT_CANDIDATE:
        break;
    }
    return raft_min(r->election_due_ns, r->resend_due_ns);
}

bool raft_ack(const struct raft *r, struct raft_message *reply)
{
    if (!follower_may_reply(r)) {
        return false;
    }
    memset(reply, 0, sizeof(*reply));
    reply->kind = RAFT_APPEND_REPLY;
    reply->from = r->config.self;
    reply->to = r->leader;
    reply->from_store = r->config.store;
    reply->from_boot = r->config.boot;
    reply->term = r->state.term;
    follower_build_reply(r, reply);
    return true;
}

enum raft_role raft_role(const struct raft *r)
{
    return r->role;
}

uint64_t raft_term(const struct raft *r)
{
    return r->state.term;
}

uint8_t raft_vote(const struct raft *r)
{
    return r->state.vote;
}

uint8_t raft_leader(const struct raft *r)
{
    return r->leader;
}

struct raft_entry_id raft_last(const struct raft *r)
{
    return terms_last(&r->terms);
}

struct raft_entry_id raft_start(const struct raft *r)
{
    return r->start;
}

uint64_t raft_commit_index(const struct raft *r)
{
    return r->commit_index;
}

uint64_t raft_verified_index(const struct raft *r)
{
    return r->verified_index;
}

uint64_t raft_durable_index(const struct raft *r)
{
    return r->durable_index;
}

uint64_t raft_epoch(const struct raft *r)
{
    return r->epoch;
}

bool raft_bootstrapped(const struct raft *r)
{
    return r->state.bootstrapped;
}

struct raft_entry_id raft_vote_bound(const struct raft *r)
{
    return r->state.vote_bound;
}

raft_set raft_regressed(const struct raft *r)
{
    return r->regressed;
}

bool raft_cut_pending(const struct raft *r)
{
    return r->cut != CUT_NONE;
}

bool raft_takes_proposals(const struct raft *r)
{
    return r->role == RAFT_LEADER && r->state.bootstrapped && r->term_first_index != UINT64_MAX &&
           r->transfer_to == RAFT_NOBODY;
}

uint64_t raft_entry_term(const struct raft *r, uint64_t index)
{
    return raft_term_of(r, index);
}

const struct raft_configuration *raft_configuration(const struct raft *r)
{
    return &r->configuration;
}

struct raft_replication raft_replication(const struct raft *r, uint8_t peer)
{
    const struct peer *p = &r->peers[peer];
    struct raft_replication replication = {0};

    ASSERT(peer >= 1);
    ASSERT(peer <= NODE_ID_MAX);
    if (r->role != RAFT_LEADER || !set_has(r->members, peer)) {
        return replication;
    }
    replication.active = p->progress == PROGRESS_REPLICATE;
    replication.session = p->session;
    replication.boot = p->boot;
    replication.next_index = p->next_index;
    replication.match_index = r->match[peer];
    replication.behind = p->behind;
    return replication;
}

const struct raft_counters *raft_counters(const struct raft *r)
{
    return &r->counters;
}
