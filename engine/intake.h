/* intake.h: client requests -> entries. The leader's batch and its gate (design D2).
 *
 * Records are copied once, from the frame into the open log slot. At the end of a burst the open
 * entry is sealed if fewer than K entries are uncommitted; while K fly, it grows. No timer: commits
 * are the clock, and they do not need the leader's own disk. A full entry may fly beyond the lowest
 * K, up to UNCOMMITTED_MAX: so K grows by itself when entries fill, and falls back when they do
 * not.
 *
 * A whole request gets an answer (fragments: docs/PROTOCOL.md, section 8): its offsets when they
 * are committed, busy at a bound, full when the smallest log among the voters has no room, not
 * leader with a hint. What a session's request is, new, a repetition or too early, and whether its
 * condition holds, is decided when it comes, against the log's tail; the answer waits until all
 * that it was decided on is committed (design D9). A leader that loses its office drops what waits:
 * a session asks again, other clients count it as unknown.
 *
 * Must not know peers, votes or the disk.
 */
#ifndef ENGINE_INTAKE_H
#define ENGINE_INTAKE_H

#include "engine/log.h"
#include "engine/outbox.h"
#include "engine/raft/raft.h"
#include "engine/replica_counters.h"
#include "engine/session.h"
#include "engine/staging.h"

#include <stdbool.h>
#include <stdint.h>

/* Consecutive records of one request with one fate, or the opening of a session: answered by one
 * reply. */
struct intake_run {
    uint64_t index; /* The answer stands when entries up to this one are committed. */
    uint64_t client_boot;
    uint64_t token;
    struct nic_address address;
    bool is_open; /* `open` is the answer, else `reply`. */
    union {
        struct wire_reply reply;
        struct wire_open_reply open;
    };
};

struct intake {
    uint8_t *slot; /* Of the open entry; NULL: none is open. */
    uint32_t body_bytes;
    uint32_t record_count;         /* Appended ones. */
    uint32_t session_record_count; /* Of sessions, appended or not. */
    uint64_t opened_ns;
    struct intake_run *runs; /* A FIFO in the order of indexes. */
    uint64_t run_head;       /* Next to answer. */
    uint64_t run_tail;       /* Next free. */
    struct staging staging;
};

struct intake_context {
    struct raft *raft;
    struct log *log;
    struct outbox *outbox;
    struct replica_counters *counters;
    struct sessions *sessions;
    struct wire_header header;
    uint64_t cluster;
    uint64_t now_ns;
    uint64_t durable_position;
    uint64_t space_position; /* Of the smallest log among the voters. */
    uint64_t make_position;  /* What is not the clients' may go so far in the own one. */
    bool trims;              /* There is a retention: no log stays full. */
    bool closed;             /* The replica stops: nothing new is taken. */
};

uint64_t intake_memory_bytes(void);
void intake_init(struct intake *intake, struct mem *mem);

/* A request came: take its records, or answer at once why not. False: the open entry is too full
 * for them and is ripe; seal it, then offer the same frame again. */
MUST_USE bool intake_request(struct intake *intake,
                             const struct intake_context *context,
                             const struct wire_frame *frame,
                             struct nic_address from);

/* A client opens a session: the same. */
MUST_USE bool intake_open(struct intake *intake,
                          const struct intake_context *context,
                          const struct wire_frame *frame,
                          struct nic_address from);

/* True when the open entry holds records and may be sealed now. */
bool intake_is_ripe(const struct intake *intake, const struct intake_context *context);
static inline bool intake_is_open(const struct intake *intake)
{
    return intake->slot != NULL;
}

/* True when a leader has no room for an entry of clients, and nothing is about to make some: their
 * appends are answered WIRE_FULL. */
bool intake_is_full(const struct intake_context *context);

/* Seal the open entry; returns its bytes, for the core to take. */
const uint8_t *intake_seal(struct intake *intake, const struct intake_context *context);

/* Seal an entry that is not the clients': it passes the gate, and draws on the reserve. NULL when
 * even that is used up. Not while records wait in the open entry. */
const uint8_t *intake_make(const struct intake_context *context,
                           enum entry_kind kind,
                           const void *body,
                           uint32_t body_bytes);

/* Answer what is committed. Returns replies. */
uint32_t intake_commit(struct intake *intake, const struct intake_context *context, uint64_t index);

/* The office is lost: forget what waits. */
void intake_reset(struct intake *intake);

#endif
