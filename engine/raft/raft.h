/* raft.h: the consensus core. Events in, effects out. Start reading here.
 *
 * Pure: no I/O, no clock, no allocation, no global, no randomness but the seed in raft_config. The
 * same events in the same order give the same effects, byte for byte; tests/sim stands on it. It
 * moves no bytes: it knows terms, votes, index -> term runs, progress and configurations; entries,
 * frames and disks are its caller's.
 *
 * Effects are derived from state, not queued: raft_step() only changes state, raft_drain() reads
 * off what that state now owes the world. So a burst of 32 messages costs one drain, and nothing in
 * here can overflow. Whatever must wait for the disk (an ack, a vote, the candidate's own vote, the
 * leader's own match) is simply not owed until the matching *_DURABLE event has come in.
 *
 * The effects of one drain may be carried out in any order, except that WRITE_LOG effects reach the
 * log in the order given. A drained WRITE_STATE, WRITE_LOG or CUT_LOG must be carried out, and its
 * completion reported; a drained SEND may be dropped: time brings it back.
 *
 * Replication of entries is the caller's stream's business (engine/stream.h): the core finds where
 * a peer's log matches (PROBE), then raft_replication() says "replicate, from this index"; the
 * stream deals with loss; acks come back as APPEND_REPLY. Entries reach a follower's core whole and
 * in order.
 *
 * Sections cited are of Ongaro's thesis, "Consensus: Bridging Theory and Practice" (2014). The
 * rules it keeps are in docs/RULES.md, where it departs from the thesis in docs/PROTOCOL.md.
 */
#ifndef ENGINE_RAFT_RAFT_H
#define ENGINE_RAFT_RAFT_H

#include "engine/base/assert.h"
#include "engine/base/counter.h"
#include "engine/base/limits.h"

#include <stdbool.h>
#include <stdint.h>

#define RAFT_NOBODY 0u /* Node ids start at 1. */

/* Names one entry for ever. Index 0 is the empty log and has term 0. */
struct raft_entry_id {
    uint64_t term;
    uint64_t index;
};

/* A set of node ids: bit i is node i. */
typedef uint64_t raft_set;

struct raft_member {
    uint8_t id;     /* 1 to NODE_ID_MAX. */
    uint64_t store; /* Store id of its log. 0: not yet pinned (bootstrap only). */
};

/* Who votes. `outgoing` is empty unless the configuration is joint; then a quorum is a majority of
 * `voters` and one of `outgoing`. Takes effect when its entry is appended (section 4.1). */
struct raft_configuration {
    uint64_t index; /* Of its entry; 0: the first one, from the configuration file. */
    raft_set voters;
    raft_set outgoing;
    raft_set learners;
    uint32_t member_count;
    struct raft_member members[NODES_MAX]; /* Ascending by id. */
};

struct raft_config {
    uint8_t self;
    uint64_t store;           /* Of this node's own log. */
    uint64_t boot;            /* Of this start of the process. */
    uint64_t election_min_ns; /* Randomised in [min, max]; min is the stickiness bound. */
    uint64_t election_max_ns;
    uint64_t heartbeat_ns; /* At most a tenth of election_min_ns. */
    uint64_t seed;         /* Of the election jitter. Same seed, same run. */
};

/* Entries first_index and on, up to the next run, have this term. */
struct raft_run {
    uint64_t term;
    uint64_t first_index;
};

/* What the disk knew at start-up. */
struct raft_recovered {
    uint64_t term;                   /* Superblock. */
    uint8_t vote;                    /* Voted for in term, or RAFT_NOBODY. */
    uint64_t entry_term;             /* Highest term of any entry ever owed to the log. */
    uint64_t epoch;                  /* Of the open log. */
    bool bootstrapped;               /* The first entry is known to be committed. */
    struct raft_entry_id vote_bound; /* Not {0,0}: the log has lost an end that may have been
                                        acknowledged, and nothing in it was above this. */
    struct raft_entry_id start; /* The entry just before the first one kept; {0,0}: all kept. */
    struct raft_entry_id last;
    uint64_t commit_index; /* Known to be committed by the word of later entries; 0: nothing. */
    const struct raft_run *runs; /* Of the kept entries, ascending; borrowed for the call. */
    uint32_t run_count;
    struct raft_entry_id floor; /* The entry before the first run, when older runs were dropped. */
    struct raft_configuration configuration; /* The last one in the log, or the file's. */
    /* The one before it, in force again should the last one be cut. Without members: derived, which
     * is right while `configuration` is the file's or the first entry, or cannot be cut any more.
     */
    struct raft_configuration configuration_before;
};

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

enum raft_message_kind {
    RAFT_PRE_VOTE, /* term is the one the sender would campaign in (section 9.6). */
    RAFT_PRE_VOTE_REPLY,
    RAFT_VOTE,
    RAFT_VOTE_REPLY,
    RAFT_APPEND, /* Heartbeat and probe in one: carries no entry. */
    RAFT_APPEND_REPLY,
    RAFT_TIMEOUT_NOW, /* "Stand for election now": leadership is handed over (section 3.10). */
};

/* One decoded message. `token` is made by the requester, grows within its term, is echoed in the
 * reply: a reply proves what it answers, and only a fresh one counts as heard (rules N7, N8).
 */
struct raft_message {
    enum raft_message_kind kind;
    uint8_t from;
    uint8_t to;
    uint64_t from_store;
    uint64_t from_boot;
    uint64_t term;
    uint64_t token;
    union {
        struct {
            struct raft_entry_id last; /* Of the candidate's log. */
            bool transfer; /* VOTE: the leader wants this election, so who hears it votes too. */
        } vote;            /* PRE_VOTE, VOTE */
        struct {
            bool granted;
            raft_set regressed;      /* See raft_regressed(); known from the APPEND of ... */
            uint64_t regressed_term; /* ... this term and token, or 0: from none. */
            uint64_t regressed_token;
        } vote_reply; /* PRE_VOTE_REPLY, VOTE_REPLY. The term of a granted PRE_VOTE_REPLY is the
                         request's, that of every other message the sender's own. */
        struct {
            uint32_t session; /* Replication session of leader and peer, within the term. */
            struct raft_entry_id prev; /* "You have this one?" */
            uint64_t commit_index;
            uint32_t heard_boot; /* Low half of the newest boot of the receiver that the sender
                                    has heard; 0: none. No ack of an older one counts. */
            raft_set regressed;  /* See raft_regressed(). */
        } append;
        struct {
            uint32_t session;           /* Echoed. */
            bool matched;               /* prev is in the follower's log. */
            bool bootstrapped;          /* The follower knows the first entry to be committed. */
            struct raft_entry_id bound; /* Not {0,0}: what the follower acked once may be gone, up
                                           to here: its vote bound, or the one met in this term. */
            struct raft_entry_id hint;  /* !matched: largest own (index, term) at or below prev with
                                           a term not above prev's (rule C8). */
            uint64_t verified_index;    /* The follower's log equals the leader's up to here. */
            uint64_t durable_index;     /* min(durable watermark, verified_index): what is acked. */
        } append_reply;
        struct {
            struct raft_entry_id last; /* Of the leader's log, which takes no more: an order that
                                          comes late finds another last entry and is void. */
        } timeout_now;
    };
};

enum raft_event_kind {
    RAFT_EVENT_TICK, /* Time has come to raft_deadline_ns(); harmless before. */
    RAFT_EVENT_MESSAGE,
    RAFT_EVENT_ENTRY,         /* A whole entry from a leader, every check passed. */
    RAFT_EVENT_PROPOSE,       /* Leader: the caller has sealed the entry at last + 1. */
    RAFT_EVENT_LOG_DURABLE,   /* Everything up to index, as written in epoch, is on disk. */
    RAFT_EVENT_STATE_DURABLE, /* The superblock holds what WRITE_STATE gave. */
    RAFT_EVENT_CUT_DURABLE,   /* The cut owed by CUT_LOG is on disk; its epoch is in force. */
    RAFT_EVENT_TRIMMED,       /* Entries up to and including `start` are gone from the log. */
    RAFT_EVENT_UNHEALTHY,     /* The own disk stalls: a leader hands over or steps down, and stands
                                 for no election until RAFT_EVENT_HEALTHY (rule B8). */
    RAFT_EVENT_HEALTHY,
    RAFT_EVENT_TIME_LOST, /* The loop stood still: what was assumed of time is void (rule O2):
                             a leader re-proves its quorum, a follower redraws its timeout. */
    RAFT_EVENT_TRANSFER,  /* Hand leadership to a voter; nothing unless raft_transfer_check() is
                             RAFT_TRANSFER_OK. */
    RAFT_EVENT_READ, /* A linearizable read came, whose index is raft_commit_index() now; taken,
                        its ticket is raft_read_ticket(). */
};

struct raft_event {
    enum raft_event_kind kind;
    uint64_t now_ns; /* Monotonic. Never smaller than in the event before. */
    union {
        const struct raft_message *message;
        struct {
            uint8_t from;
            uint64_t term; /* Of the message: the leader's term. */
            uint64_t commit_index;
            struct raft_entry_id id;
            uint64_t previous_term; /* Of the entry at id.index - 1 in the leader's log. */
            const struct raft_configuration
                *configuration; /* Of a configuration entry, else NULL. */
        } entry;
        struct {
            const struct raft_configuration
                *configuration; /* Of a configuration entry, else NULL. */
        } propose;
        struct {
            uint64_t epoch;
            uint64_t index;
        } log_durable;
        struct {
            uint64_t term;
            uint8_t vote;
            uint64_t entry_term;
            bool bootstrapped;
            struct raft_entry_id vote_bound;
        } state_durable;
        struct {
            uint64_t epoch;
        } cut_durable;
        struct {
            struct raft_entry_id start;
        } trimmed;
        struct {
            uint8_t to; /* RAFT_NOBODY: the best one. */
        } transfer;
    };
};

/* What became of an ENTRY, PROPOSE or READ. Other events always give RAFT_REFUSED. */
enum raft_taken {
    RAFT_REFUSED, /* Not leader, older term, no predecessor: the entry may be dropped. */
    RAFT_TAKEN,   /* It is the log's new last entry: keep the bytes. */
    RAFT_KNOWN,   /* It is in the log already: drop the bytes. */
    RAFT_WAIT,    /* It conflicts with the log's tail: CUT_LOG is owed. Offer it again after. */
};

/* Whether a read's answer would be the word of a leader (section 6.4). */
enum raft_read_state {
    RAFT_READ_PENDING,   /* The round of heartbeats that proves it is under way, or comes next. */
    RAFT_READ_CONFIRMED, /* This node led when the read came: answer once its index is applied. */
    RAFT_READ_LOST       /* Nothing will prove it any more: whoever asks must ask again. */
};

/* What a TRANSFER would be answered. */
enum raft_transfer {
    RAFT_TRANSFER_OK,
    RAFT_TRANSFER_NOT_LEADER,
    RAFT_TRANSFER_TOO_EARLY,   /* The first entry of the term is not in the log yet. */
    RAFT_TRANSFER_UNDER_WAY,   /* One at a time. */
    RAFT_TRANSFER_NOT_A_VOTER, /* Not another voter of the configuration in force. */
    RAFT_TRANSFER_NOBODY_HEARD /* No other voter was heard within the shortest election timeout. */
};

enum raft_effect_kind {
    RAFT_EFFECT_SEND,
    RAFT_EFFECT_WRITE_STATE, /* Make all of this durable; report STATE_DURABLE. */
    RAFT_EFFECT_WRITE_LOG,   /* Write entries first to last; report LOG_DURABLE. */
    RAFT_EFFECT_CUT_LOG,     /* Cut after `keep`, under a new epoch; report CUT_DURABLE. The core's
                                last entry is `keep` from the moment this is drained. Never below
                                the commit index. */
    RAFT_EFFECT_COMMIT,      /* Entries up to index may be applied. */
    RAFT_EFFECT_MAKE,        /* Leader: seal an entry of this kind at last + 1 and PROPOSE it. Owed
                                again at the next tick if it has not come. */
};

enum raft_make { RAFT_MAKE_NOOP, RAFT_MAKE_FIRST_CONFIGURATION };

struct raft_effect {
    enum raft_effect_kind kind;
    union {
        struct raft_message send;
        struct {
            uint64_t term;
            uint8_t vote;
            uint64_t entry_term;
            bool bootstrapped;
            struct raft_entry_id vote_bound;
        } write_state;
        struct {
            uint64_t epoch;
            uint64_t first_index;
            uint64_t last_index;
        } write_log;
        struct {
            uint64_t epoch; /* The new one. */
            struct raft_entry_id keep;
        } cut_log;
        struct {
            uint64_t index;
        } commit;
        struct {
            enum raft_make what;
            struct raft_configuration configuration; /* FIRST_CONFIGURATION: stores pinned. */
        } make;
    };
};

/* What a leader's stream to one peer should do. */
struct raft_replication {
    bool active;          /* Leader, and the peer's log is known to match up to next_index - 1. */
    uint32_t session;     /* A new session voids everything in flight. */
    uint64_t boot;        /* The peer's. */
    uint64_t next_index;  /* Where this session began. */
    uint64_t match_index; /* Acknowledged as durable. */
    bool behind; /* The peer has said that it lacks the entry before the log's first one: what it
                    needs next is trimmed, so no stream can help it. */
};

/* clang-format off */
#define RAFT_COUNTERS(X) \
    X(elections_started) X(pre_votes_started) X(elections_won) X(step_downs) X(cuts) \
    X(votes_granted) X(votes_refused) X(stale_term) X(stale_token) X(stale_session) \
    X(unknown_sender) X(wrong_store) X(absurd_term) X(sticky_ignored) X(stale_durable) \
    X(quorum_lost) X(transfers_started) X(transfers_aborted) X(transfer_campaigns) X(read_rounds) \
    X(read_rounds_confirmed) X(contradictions) X(bounds_met) X(regressions) X(regressed_ignored) \
    X(regained)
/* clang-format on */
COUNTERS_DECLARE(raft, RAFT_COUNTERS);

struct raft; /* Caller-owned storage; size from raft_size_bytes(), 64-byte aligned. */

/* Bytes of caller memory one replica needs. */
uint32_t raft_size_bytes(void);

/* Start a replica as a follower from what its disk holds. Recovered term = max(superblock's, last
 * entry's); if the log raised it, there is no vote (rule A7). */
void raft_init(struct raft *r,
               const struct raft_config *config,
               const struct raft_recovered *recovered,
               uint64_t now_ns);

/* Feed one event. Never fails: messages are validated by wire_decode() before they get here, so a
 * malformed one is a bug in this program and asserts; a message from a node or store that is not in
 * the configuration, of an older term, session or token is counted and dropped (an older term is
 * answered once, rule A6). So is one that no peer sends that keeps the rules: a second leader of a
 * term, other entries than are committed here, acks of what was never sent. Either somebody's disk
 * has lied or somebody else speaks in a peer's name; nothing is done on such words, and nobody is
 * stopped by them. O(voters); does not allocate. */
MUST_USE enum raft_taken raft_step(struct raft *r, const struct raft_event *event);

/* Write up to `effects_max` owed effects and return how many. Call until it returns 0. */
MUST_USE uint32_t raft_drain(struct raft *r, struct raft_effect *effects, uint32_t effects_max);

/* When the next RAFT_EVENT_TICK is due. */
uint64_t raft_deadline_ns(const struct raft *r);

/* The APPEND_REPLY that this follower would send now to its leader, for streams that answer more
 * often than the core owes. False when there is no leader to answer, or none may be answered yet:
 * its term is not durable here, or no APPEND of it has come. */
MUST_USE bool raft_ack(const struct raft *r, struct raft_message *reply);

/* State, read only. */
enum raft_role raft_role(const struct raft *r);
static inline bool raft_is_leader(const struct raft *r)
{
    return raft_role(r) == RAFT_LEADER;
}
uint64_t raft_term(const struct raft *r);
uint8_t raft_vote(const struct raft *r);
uint8_t raft_leader(const struct raft *r); /* RAFT_NOBODY when unknown. */
struct raft_entry_id raft_last(const struct raft *r);
struct raft_entry_id raft_start(const struct raft *r);
uint64_t raft_commit_index(const struct raft *r);
uint64_t raft_verified_index(const struct raft *r); /* Leader: its last. */
uint64_t raft_durable_index(const struct raft *r);  /* The own log's watermark. */
uint64_t raft_epoch(const struct raft *r);
bool raft_bootstrapped(const struct raft *r);
/* Not {0,0}: this node has lost an end of its log, or lacks what it had acknowledged: it votes for
 * nobody whose last entry is below this, and does not stand. Over when a leader's word shows that
 * all it may have acknowledged is here again. */
struct raft_entry_id raft_vote_bound(const struct raft *r);
/* Nodes that lack what they acknowledged to a leader, and do not say so: their disk has lied, or is
 * an old copy. Their votes and acks do not count, and nobody votes for them, until they were
 * started again and have caught up. Known from the leader; this node may be among them. */
raft_set raft_regressed(const struct raft *r);
bool raft_cut_pending(const struct raft *r);
/* A leader whose first entry of the term is in its log and that is not handing over: client entries
 * may be proposed. */
bool raft_takes_proposals(const struct raft *r);
/* Whether a TRANSFER to `to` would begin now, or why not. */
enum raft_transfer raft_transfer_check(const struct raft *r, uint8_t to);
/* To whom this leader is handing over; RAFT_NOBODY: to nobody. Over when this changes: either a
 * newer term has been seen, or an election timeout has passed and proposals are taken again. */
uint8_t raft_transfer_target(const struct raft *r);
/* Of the newest READ that was taken. Reads that came before the same round of heartbeats share a
 * ticket; one is never used again. */
uint64_t raft_read_ticket(const struct raft *r);
/* Asked once an iteration at least while the ticket is of interest: a ticket that the office or its
 * time has taken with it is lost, also when it had been confirmed. */
enum raft_read_state raft_read_state(const struct raft *r, uint64_t ticket);
/* Term of an entry of the log; 0 when it lies before the known runs or after the last. */
uint64_t raft_entry_term(const struct raft *r, uint64_t index);
const struct raft_configuration *raft_configuration(const struct raft *r);
struct raft_replication raft_replication(const struct raft *r, uint8_t peer);
const struct raft_counters *raft_counters(const struct raft *r);

#endif
