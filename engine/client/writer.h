/* writer.h: records appended through a session: each exactly once, and in their order. Pure, over
 * the client.
 *
 * The writer opens a session (docs/PROTOCOL.md, section 8), numbers the records, packs them into
 * requests as full as frames allow, keeps up to SESSION_REQUESTS_MAX of them under way, and repeats
 * what is not answered, to whoever leads, until each record's time is over. A request keeps its
 * boundaries, numbers and bytes whenever it is repeated, so that whatever is lost, doubled or late
 * on the way, a record is in the log once or not at all, and never ahead of an earlier one.
 *
 * Every record taken has exactly one outcome, told in the order in which the records were taken. A
 * number that was sent is never given to other bytes in the same epoch of the session: what cannot
 * go on stops the writer, and writer_reopen() with a new id of the client fences what may still be
 * on its way.
 *
 * No clock, no socket, no allocation after writer_init(). One writer a client: the session's writer
 * is the client's id. It must not know descriptors or where records come from.
 */
#ifndef ENGINE_CLIENT_WRITER_H
#define ENGINE_CLIENT_WRITER_H

#include "engine/client/client.h"

enum writer_state {
    WRITER_IDLE,    /* No session was asked for yet. */
    WRITER_OPENING, /* It is asked for. */
    WRITER_OPEN,
    /* Stopped: nothing is taken or sent until writer_reopen(). */
    WRITER_FENCED,    /* Another writer has opened the session. */
    WRITER_EXPIRED,   /* The session is gone. */
    WRITER_FULL,      /* The log has no room. */
    WRITER_GAP,       /* writer_set_first() beyond what the session expects: its `detail`. */
    WRITER_REFUSED,   /* A condition did not hold, and the configuration says to stop then. */
    WRITER_TIMED_OUT, /* A record's time was over. */
};

enum writer_fate {
    WRITER_COMMITTED, /* On stable storage at a quorum, at its offset. */
    WRITER_REJECTED,  /* Not in the log, and it will not be: `status` says why. WIRE_FULL: for as
                         long as the log is full; a copy that is late beyond all measure could be
                         taken after room was made, unless writer_reopen() came before. */
    WRITER_UNSENT,    /* Never sent, so not in the log: `status` says why; WIRE_OK: no time left. */
    WRITER_UNKNOWN,   /* Sent, and what became of it is not known. `status` as above. */
};

/* Consecutive records with one fate.
 *
 * COMMITTED with the status WIRE_FORGOTTEN comes of old numbers alone (writer_set_first()): decided
 * long ago, and if they had a condition then, it may have failed.
 *
 * What is UNKNOWN of a named session that no other writer has opened and that has not expired is
 * found out by writer_reopen(): below the number expected then, records are in the log (or had a
 * condition that failed), and from it on they are not and never will be. */
struct writer_outcome {
    uint64_t first_number;   /* In the order of taking; the writer's first record is 0. */
    uint64_t first_sequence; /* In the session, from 1 on; 0: none was used. */
    uint32_t count;
    enum writer_fate fate;
    enum wire_status status;
    uint64_t first_offset; /* COMMITTED and offset_known: of the first; the others follow it. */
    bool offset_known;     /* COMMITTED long ago may have an offset that is no longer kept. */
    uint64_t detail;       /* WIRE_CONDITION: the tail then. WIRE_GAP: the number expected. */
};

typedef void (*writer_done)(void *context, const struct writer_outcome *outcome);

struct writer_config {
    struct client *client; /* Borrowed. Nobody else listens to its REPLY and OPEN_REPLY. */
    const uint8_t *name;   /* Of the session; copied. */
    uint32_t name_bytes;   /* 1 to SESSION_NAME_MAX; 0: a session of this client alone, */
    uint64_t timeout_ns;   /* From the taking of a record. Not 0. */
    uint32_t records_max;  /* Without an outcome: 1 to WRITER_RECORDS_MAX. */
    uint32_t bytes_max;    /* Of these, with headers: WRITER_BYTES_MIN to WRITER_BYTES_MAX. */
    bool stops_at_refused; /* A condition that fails stops the writer. */
};

#define WRITER_BYTES_MIN (RECORD_HEADER_BYTES + RECORD_BYTES_MAX + 8u)

struct writer;

uint64_t writer_memory_bytes(const struct writer_config *config);
struct writer *writer_init(struct mem *mem, const struct writer_config *config);

/* Ask for the session now; writer_append() does it otherwise. Only when WRITER_IDLE. */
void writer_open(struct writer *writer, uint64_t now_ns);

/* The first record's number in the session, 1 or more, instead of the session's next: to repeat
 * records whose fate was not known. Each answers as it did then. Before the first record is taken
 * and before writer_open(), after writer_init() or writer_reopen(). */
void writer_set_first(struct writer *writer, uint64_t sequence);

/* Take records, in their order; payloads are not NULL unless empty, and are copied. Returns how
 * many were taken: fewer than `count` when there is no room, 0 when stopped. They are sent by
 * writer_poll(). */
MUST_USE uint32_t writer_append(struct writer *writer,
                                uint64_t now_ns,
                                const struct client_record *records,
                                uint32_t count);

/* The same on a condition: the first of them gets `expected_offset`, or none is appended. Records
 * of one call that one request holds (client_request_bytes(), REQUEST_RECORDS_MAX) are appended
 * together or refused together. Of more, each request expects the offset of its own first record,
 * and the rest of the call is refused with the first request that is. Nothing is sent behind a
 * conditional request before it is answered. */
MUST_USE uint32_t writer_append_expecting(struct writer *writer,
                                          uint64_t now_ns,
                                          const struct client_record *records,
                                          uint32_t count,
                                          uint64_t expected_offset);

/* Take answers, send what is next or due again, tell outcomes. `done` may append, and no more.
 * Returns the work done. */
uint32_t writer_poll(struct writer *writer, uint64_t now_ns, writer_done done, void *context);

/* When writer_poll() has something to do even if nothing arrives: UINT64_MAX, or a time at or
 * before it (0: now). */
uint64_t writer_deadline_ns(const struct writer *writer);

/* Begin again with the same name, when every outcome is told: the client gets this new random id,
 * so that the session's epoch moves on and nothing sent before can be taken any more. Asks at
 * the next writer_open() or append. Of a session without a name: a new session. */
void writer_reopen(struct writer *writer, uint64_t client_id);

enum writer_state writer_state(const struct writer *writer);
bool writer_is_stopped(const struct writer *writer);

/* Records without an outcome, and how many were ever taken. */
uint32_t writer_pending(const struct writer *writer);
uint64_t writer_taken(const struct writer *writer);

/* OPEN: the number that the next record taken will have, if none before it stays unsent. 0: not
 * known yet. */
uint64_t writer_next_sequence(const struct writer *writer);

/* Of the open session; 0 before. */
uint64_t writer_session(const struct writer *writer);
uint32_t writer_epoch(const struct writer *writer);

/* For messages: whether anybody has answered anything since the last progress; who was named as
 * leader last, when the client does not know that node, or 0. */
bool writer_heard(const struct writer *writer);
uint8_t writer_stranger(const struct writer *writer);

/* clang-format off */
#define WRITER_COUNTERS(X) \
    X(opens_sent) X(requests_sent) X(requests_repeated) X(replies) X(replies_surplus) \
    X(busy) X(gaps) X(not_leader) X(silences) X(sessions_opened)
/* clang-format on */
COUNTERS_DECLARE(writer, WRITER_COUNTERS);
const struct writer_counters *writer_counters(const struct writer *writer);

#endif
