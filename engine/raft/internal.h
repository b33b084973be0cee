/* internal.h: struct raft, and what the files of the core say to each other.
 *
 * Who writes what: election.c the role, the term and the vote; leader.c the commit index of a
 * leader and what a peer's reply means; transfer.c the hand-over of an office; read.c the rounds
 * that prove reads; follower.c the verified index, the cut and a follower's commit index;
 * progress.c struct peer; membership.c the configurations; raft.c what is durable; drain.c what has
 * been given out. Nothing outside engine/raft/ includes this.
 */
#ifndef ENGINE_RAFT_INTERNAL_H
#define ENGINE_RAFT_INTERNAL_H

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/prng.h"
#include "engine/raft/quorum.h"
#include "engine/raft/raft.h"
#include "engine/raft/terms.h"

#include <stddef.h>
#include <stdint.h>

/* The superblock's part of the core: one record, written as one (rules A1 and A4). */
struct hard_state {
    uint64_t term;
    uint64_t entry_term; /* Highest term of any entry ever owed to the log. */
    uint8_t vote;
    bool bootstrapped;
    struct raft_entry_id vote_bound; /* {0,0}: none. */
};

/* The way of a cut. From WANTED on no entry above `keep` is given out or believed; at WRITING, when
 * CUT_LOG has been drained, the log ends at `keep`. */
enum cut_stage { CUT_NONE, CUT_WANTED, CUT_WRITING };

/* How a leader stands with a peer's log: looking for where it matches, or streaming. */
enum progress { PROGRESS_PROBE, PROGRESS_REPLICATE };

/* A reply that waits for its drain. */
struct owed_reply {
    uint64_t token;
    uint64_t term; /* Of the request. */
    uint32_t session;
    bool granted; /* PRE_VOTE_REPLY; for a vote it is read off the state. */
};

struct peer {
    uint64_t boot;   /* Highest heard of. */
    uint64_t pinned; /* Store id of its first reply, while the configuration names none. */
    enum progress progress;
    uint32_t session;
    uint64_t next_index;  /* Where the session began to stream, once it does. */
    uint64_t probe_index; /* PROBE: "do you have this one?" */
    uint64_t probe_token; /* First token that asked for probe_index; 0: not yet asked. */
    uint64_t sent_token;  /* Of the newest APPEND. */
    uint64_t heard_token; /* Newest that came back. */
    bool behind;          /* PROBE: the log's start was asked for in this session, and refused. */
    bool bounded;         /* By its newest reply. */
    uint64_t boot_token;  /* Newest token made before `boot` was heard of. */
    uint64_t
        acked_index; /* Highest acked as durable to this leader, over all sessions and boots. */
    uint64_t accused_boot; /* Regressed: heard first in this office; 0: not yet. */
    uint64_t regain_token; /* Regaining: newest made before that was told. */
    uint64_t regain_index; /* Regressed: with so much it counts again; UINT64_MAX: first it has to
                              be started again. */
    struct owed_reply vote_reply;
    struct owed_reply pre_vote_reply;
    struct owed_reply stale_reply; /* To an APPEND of an older term (rule A6). */
};

struct raft {
    struct raft_config config;
    struct prng prng;
    uint64_t now_ns;

    /* What drain has to look at. */
    bool dirty;
    bool state_in_flight;
    raft_set owed_append;
    raft_set owed_vote;
    raft_set owed_pre_vote;
    raft_set owed_vote_reply;
    raft_set owed_pre_vote_reply;
    raft_set owed_stale_reply;
    bool owed_append_reply;
    bool owed_make;

    /* Term and vote. */
    enum raft_role role;
    uint8_t leader;      /* Believed to lead now. */
    uint8_t term_leader; /* Seen to lead in this term: there is never a second one. */
    bool unhealthy;
    struct hard_state state;
    struct hard_state state_writing;
    struct hard_state state_durable;

    /* The log. */
    struct raft_entry_id start;
    uint64_t handed_index; /* Given out by WRITE_LOG. */
    uint64_t durable_index;
    uint64_t epoch;
    uint64_t commit_index;
    uint64_t commit_told; /* Given out by COMMIT. */
    uint64_t verified_index;
    enum cut_stage cut;
    struct raft_entry_id cut_keep;

    /* Elections. */
    uint64_t timeout_ns;
    uint64_t election_due_ns;
    uint64_t resend_due_ns;
    uint64_t token;         /* Newest made. Grows for ever, above those of earlier boots. */
    uint64_t attempt_token; /* Of the campaign under way. */
    raft_set granted;
    raft_set answered;
    bool campaign_ordered; /* By the leader of the term before: its votes are asked past it. */

    /* A follower, in this term. */
    bool leader_heard;
    uint64_t leader_heard_ns;
    uint64_t leader_commit;
    uint64_t append_token; /* Of the newest APPEND; 0: none yet. */
    uint32_t append_session;
    struct raft_entry_id append_prev;
    uint64_t acked_index;           /* In the newest APPEND_REPLY. */
    uint64_t bound_met_term;        /* In which a vote bound was met in this life; 0: none was. */
    struct raft_entry_id bound_met; /* That bound. */
    uint64_t bound_index; /* Committed, by the word of a leader that has heard this boot; 0: not
                             yet. What meets the vote bound, if its entry is of this term. */

    /* A leader. */
    uint64_t heartbeat_due_ns;
    uint64_t term_first_index;       /* Of this term's first entry; UINT64_MAX: not yet proposed. */
    uint64_t match[NODE_ID_MAX + 1]; /* Known durable in this session; own: durable_index. */
    uint64_t heard_ns[NODE_ID_MAX + 1]; /* Own: always. */
    uint8_t transfer_to;                /* RAFT_NOBODY: no transfer is under way. */
    bool transfer_told;                 /* TIMEOUT_NOW was owed since the last heartbeat. */
    bool owed_timeout_now;
    uint64_t transfer_due_ns;

    /* Reads. Tickets number rounds of heartbeats: those up to read_round were given before it. */
    uint64_t read_asked;     /* Newest ticket given: read_round, or the next. */
    uint64_t read_round;     /* Newest begun. */
    uint64_t read_confirmed; /* Newest that a quorum has answered. */
    uint64_t read_void;      /* Tickets up to this one are lost. */
    uint64_t read_token;     /* Newest made before the round began: only newer ones prove it. */
    raft_set read_heard;     /* Who has answered the round. */

    raft_set members;        /* All of the configuration but this node. */
    raft_set regressed;      /* See raft_regressed(). */
    raft_set regaining;      /* A leader: of these, who has all again; a quorum is being told. */
    uint64_t regressed_term; /* Of the leader's word that made it so, and the word's token. */
    uint64_t regressed_token;
    struct raft_configuration configuration;
    struct raft_configuration configuration_before; /* In force again if the newer one is cut. */
    struct raft_counters counters;
    struct peer peers[NODE_ID_MAX + 1];
    struct terms terms;
};

static inline uint64_t raft_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t raft_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Up to here the log is not about to be cut. */
static inline uint64_t raft_firm_index(const struct raft *r)
{
    return UNLIKELY(r->cut == CUT_WANTED) ? r->cut_keep.index : r->terms.last_index;
}

/* What an APPEND_REPLY may acknowledge. */
static inline uint64_t raft_ackable_index(const struct raft *r)
{
    return raft_min(r->durable_index, r->verified_index);
}

/* Term of an entry, the one before the first kept included. 0: not known, or index 0. */
static inline uint64_t raft_term_of(const struct raft *r, uint64_t index)
{
    return index == r->start.index ? r->start.term : terms_at(&r->terms, index);
}

/* May `id` speak to this node? Somebody of the last two configurations may; anybody to a node that
 * has none yet: it was added to a cluster and must hear of it. */
bool membership_knew(const struct raft *r, uint8_t id);
static inline bool raft_accept_sender(struct raft *r, uint8_t from)
{
    if (LIKELY(set_has(r->members, from)) || membership_knew(r, from)) {
        return true;
    }
    r->counters.unknown_sender++;
    return false;
}

/* raft.c */
void raft_log_append(struct raft *r,
                     struct raft_entry_id id,
                     const struct raft_configuration *configuration);
void raft_commit_to(struct raft *r, uint64_t index);
bool raft_accept_term(struct raft *r, uint64_t term);

/* election.c */
void election_init(struct raft *r);
void election_tick(struct raft *r);
bool election_may_campaign(const struct raft *r);
void election_campaign_ordered(struct raft *r);
void election_restart_timer(struct raft *r);
void election_become_follower(struct raft *r, uint64_t term, uint8_t leader);
void election_follow(struct raft *r, uint8_t leader);
void election_heard(struct raft *r);
bool election_sticky(const struct raft *r);
void election_state_durable(struct raft *r);
void election_on_pre_vote(struct raft *r, const struct raft_message *m);
void election_on_pre_vote_reply(struct raft *r, const struct raft_message *m);
void election_on_vote(struct raft *r, const struct raft_message *m);
void election_on_vote_reply(struct raft *r, const struct raft_message *m);

/* leader.c */
void leader_begin(struct raft *r);
void leader_tick(struct raft *r);
void leader_time_lost(struct raft *r);
void leader_update_commit(struct raft *r);
void leader_on_append_reply(struct raft *r, const struct raft_message *m);
void leader_make(const struct raft *r, struct raft_effect *effect);
bool leader_may_make(const struct raft *r);
enum raft_taken leader_propose(struct raft *r, const struct raft_event *event);

/* transfer.c */
void transfer_begin(struct raft *r, uint8_t to);
void transfer_tick(struct raft *r);
void transfer_heartbeat(struct raft *r);
void transfer_advance(struct raft *r);
void transfer_end(struct raft *r);
void transfer_unhealthy(struct raft *r);
void transfer_build(struct raft *r, struct raft_message *order);
void transfer_on_timeout_now(struct raft *r, const struct raft_message *m);

/* read.c */
enum raft_taken read_register(struct raft *r);
void read_heard(struct raft *r, uint8_t from, uint64_t token);
void read_lose(struct raft *r);

/* follower.c */
void follower_new_term(struct raft *r);
bool follower_contradicts(const struct raft *r, const struct raft_message *m);
void follower_on_append(struct raft *r, const struct raft_message *m);
enum raft_taken follower_on_entry(struct raft *r, const struct raft_event *event);
bool follower_may_reply(const struct raft *r);
void follower_build_reply(const struct raft *r, struct raft_message *reply);
bool follower_cut_ready(const struct raft *r);
void follower_cut_drained(struct raft *r);
void follower_meet_bound(struct raft *r);
void follower_cut_durable(struct raft *r, uint64_t epoch);

/* progress.c */
void progress_probe(struct raft *r, uint8_t id, uint64_t index);
bool progress_contradicts(const struct raft *r, const struct raft_message *m);
void progress_on_reply(struct raft *r, const struct raft_message *m, bool fresh);
void progress_build_append(struct raft *r, uint8_t id, struct raft_message *append);

/* regressed.c */
bool regressed_is(const struct raft *r, uint8_t id);
void regressed_accuse(struct raft *r, uint8_t id);
void regressed_follow(struct raft *r, const struct raft_message *m);
void regressed_learn(struct raft *r, const struct raft_message *m);
void regressed_tell(const struct raft *r, struct raft_message *reply);
raft_set regressed_word(struct raft *r, uint64_t token);
void regressed_lead(struct raft *r);
void regressed_started(struct raft *r, uint8_t id);
void regressed_heard(struct raft *r, uint8_t from);
uint64_t regressed_quorum_value(const struct raft *r, const uint64_t *values, bool all);

/* membership.c */
void membership_init(struct raft *r, const struct raft_recovered *recovered);
void membership_check(const struct raft_configuration *configuration);
void membership_append(struct raft *r,
                       const struct raft_configuration *configuration,
                       uint64_t index);
void membership_cut(struct raft *r, uint64_t keep_index);
uint64_t membership_store(const struct raft_configuration *configuration, uint8_t id);
bool membership_votes(const struct raft *r, uint8_t id);
raft_set membership_voters(const struct raft *r);
void membership_pin(struct raft *r, uint8_t id, uint64_t store);
bool membership_stores_known(const struct raft *r);
void membership_build_first(const struct raft *r, struct raft_configuration *first);

#endif
