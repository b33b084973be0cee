/* session.h: which client has appended what, so that every record counts once and in order.
 *
 * A session comes from a registration in the log, numbers its records from 1, and keeps where its
 * newest ones went. The table of all sessions is a function of the log alone (design D9): every
 * replica derives the same one, twice: `committed`, and `tail`, which also counts what is appended
 * and not committed yet and what waits in the leader's open entry. The leader decides against the
 * tail; a cut, or the loss of the office, builds the tail anew from what is committed and the notes
 * of the entries that stayed.
 *
 * Must not know frames, clients' addresses or disks.
 */
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include "engine/base/assert.h"
#include "engine/base/entry.h"
#include "engine/base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* Bodies of the records that are no appends (docs/PROTOCOL.md). */
struct session_register {
    uint64_t session; /* A new one's is the place of this record in the log: used once for ever. */
    uint64_t owner;   /* The client that writes from now on. */
    uint32_t epoch;   /* 1: a new session; else one more than before: older writers are fenced. */
    uint8_t name_bytes; /* 0: a session of its owner alone. */
    uint8_t reserved[3];
    uint8_t name[SESSION_NAME_MAX]; /* Zero behind its end. */
};
_Static_assert(sizeof(struct session_register) == 64, "64 bytes in a body");

struct session_refused {
    uint64_t tail_offset; /* The log's end, where the condition wanted another. */
    uint32_t count;       /* Sequence numbers consumed, from the record's on. */
    uint32_t reserved;
};
_Static_assert(sizeof(struct session_refused) == 16, "16 bytes in a body");

/* Consecutive sequence numbers with one fate. */
struct session_run {
    uint64_t offset; /* Of the first, the others follow it; refused: the tail then. */
    uint32_t count;
    bool refused;
};

struct session {
    uint64_t id;
    uint64_t owner;
    uint64_t next_sequence;
    uint64_t used_index; /* Of the newest entry with a record of it. */
    uint32_t epoch;
    uint8_t name_bytes;
    uint8_t run_count;
    uint8_t name[SESSION_NAME_MAX];
    struct session_run runs[SESSION_RUNS_MAX]; /* Oldest first; they end before next_sequence. */
};

struct session_table {
    uint32_t count;
    uint64_t ids[SESSIONS_MAX]; /* Of the slots below, for the search. */
    struct session slots[SESSIONS_MAX];
};

/* What the records of an entry say of sessions: one run of one session, or a registration. */
struct session_note {
    uint64_t index; /* Of the entry. */
    uint64_t session;
    uint64_t sequence; /* Not of a registration. */
    uint64_t offset;   /* RECORD_APPEND: of the first; RECORD_REFUSED: the tail. */
    uint64_t owner;    /* RECORD_REGISTER, and what follows. */
    uint32_t count;
    uint32_t epoch;
    uint8_t kind; /* enum record_kind */
    uint8_t name_bytes;
    uint8_t name[SESSION_NAME_MAX];
};

struct sessions {
    struct session_table *committed;
    struct session_table *tail;
    struct session_note *notes; /* A FIFO in the order of indexes: not committed yet. */
    uint64_t note_head;
    uint64_t note_tail;
    uint64_t void_notes; /* That no sound leader makes: they change nothing, on every replica. */
    uint64_t tails_rebuilt;
};

/* Bytes of an encoded table, at most. */
#define SESSIONS_BYTES_MAX (8u + SESSIONS_MAX * (80u + SESSION_RUNS_MAX * 12u))

uint64_t sessions_memory_bytes(void);
void sessions_init(struct sessions *sessions, struct mem *mem);

/* Begin at a log start with the table in force there; `bytes` as sessions_encode() gave them, or
 * none: an empty table. False: no replica encodes such bytes. */
MUST_USE bool sessions_begin(struct sessions *sessions, const uint8_t *bytes, uint32_t count);

/* Encode the committed table; returns the bytes, at most SESSIONS_BYTES_MAX. */
uint32_t sessions_encode(const struct sessions *sessions, uint8_t *bytes);

/* Check the session records of an entry that entry_check() has passed. NULL or what is wrong. */
const char *sessions_check(const uint8_t *entry);

/* An entry was appended by another leader, or recovered: note its records. */
void sessions_append(struct sessions *sessions, const uint8_t *entry);

/* The leader puts a record into its open entry, note->index: it counts at the tail from now on. At
 * most ENTRY_SESSION_RECORDS_MAX an entry. */
void sessions_take(struct sessions *sessions, const struct session_note *note);

/* Entries after `keep` are no more, an open one included. */
void sessions_cut(struct sessions *sessions, uint64_t keep);

/* Entries up to `index` are committed. */
void sessions_commit(struct sessions *sessions, uint64_t index);

/* What the tail says to `count` records of a session from `sequence` on: of the first
 * decision.count of them, that is, which share one fate. */
enum session_verdict {
    SESSION_NEW,       /* They are the session's next: append them. */
    SESSION_OLD,       /* Appended earlier, at `offset`. */
    SESSION_REFUSED,   /* Refused earlier, when the log ended at `offset`. */
    SESSION_FORGOTTEN, /* One or the other, too long ago. */
    SESSION_GAP,       /* Others are missing before them, from `next_sequence` on. */
    SESSION_FENCED,    /* By a later writer. */
    SESSION_UNKNOWN,   /* No such session any more. */
    SESSION_AHEAD,     /* The claim knows of a later epoch than this log. */
};

struct session_decision {
    enum session_verdict verdict;
    uint32_t count;
    uint64_t offset;
    uint64_t next_sequence;
};

struct session_claim {
    uint64_t session;
    uint64_t sequence;
    uint32_t epoch;
    uint32_t count;
};

struct session_decision sessions_decide(const struct sessions *sessions,
                                        const struct session_claim *claim);

/* The session of this name at the tail, or NULL; of `owner` alone without a name. */
const struct session *sessions_named(const struct sessions *sessions,
                                     const uint8_t *name,
                                     uint32_t name_bytes,
                                     uint64_t owner);

#endif
