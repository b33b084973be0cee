/* thole.h: the client library of thole: append to a replicated log, and read it.
 *
 *     struct thole_options options = {.config_path = "cluster.ini", .session = "billing"};
 *     struct thole_error error;
 *     struct thole *client = thole_open(&options, &error);
 *     thole_append(client, "paid", 4, 1);           copied; sent by thole_poll()
 *     thole_flush(client);                          until every append has its outcome
 *     struct thole_completion done;
 *     while (thole_next(client, &done, 1) == 1) { ... done.outcome, done.offset ... }
 *     thole_close(client);
 *
 * Appends are packed into datagrams, pipelined, and repeated to whoever leads until they are
 * answered or their time is over. Each ends in one of three outcomes, told in the order of the
 * appends: committed at an offset (on stable storage at a quorum of the nodes), refused with its
 * reason (it is not in the log and never will be), or unknown once the time limit has passed.
 * Whatever is lost, doubled or late on the way, a record is in the log once or not at all, and
 * never ahead of one appended before it.
 *
 * A client is used by one thread at a time. The library makes no threads, touches no signal, has
 * no state beside its clients, and takes all memory in thole_open(). A child of fork() must not
 * use its parent's client. An assertion that fails is a bug of the library and aborts the process.
 * Functions return 0 or more, or a negative errno; thole_error_text() then says more.
 *
 * Link with `pkg-config --cflags --libs libthole`. An example is installed beside the library's
 * documentation, as example.c.
 */
#ifndef ENGINE_CLIENT_THOLE_H
#define ENGINE_CLIENT_THOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define THOLE_RECORD_BYTES_MAX 60000u
#define THOLE_NODES_MAX        16u
#define THOLE_SESSION_NAME_MAX 40u
#define THOLE_ERROR_BYTES      512u
#define THOLE_ADDRESS_BYTES    24u

#define THOLE_NO_OFFSET UINT64_MAX       /* Of a record whose offset is no longer kept. */
#define THOLE_START     UINT64_MAX       /* Read from: where the log starts. */
#define THOLE_END       (UINT64_MAX - 1) /* Read from: its committed end. */

struct thole;

/* ---- Outcomes of appends ---- */

enum thole_outcome {
    THOLE_COMMITTED,
    THOLE_REFUSED,
    THOLE_UNKNOWN,
};

enum thole_reason {
    THOLE_NONE,      /* COMMITTED. */
    THOLE_TIMED_OUT, /* UNKNOWN: not answered in time. REFUSED: not even sent in time. */
    THOLE_CONDITION, /* The expected offset was not the end of the log; `detail` was. */
    THOLE_FENCED,    /* Another client has opened the session since. */
    THOLE_EXPIRED,   /* The session is gone: too many others were opened since. */
    THOLE_FULL,      /* The log of some node has no room. A datagram that is late beyond all measure
                        could be taken after room was made; thole_reopen() rules that out. */
    THOLE_GAP,       /* thole_set_first() was beyond what the session expects: `detail`. */
};

struct thole_completion {
    uint64_t tag;      /* As given to the append. */
    uint64_t sequence; /* In the session, from 1 on; 0: none was used. */
    uint64_t offset;   /* COMMITTED: where it is, or THOLE_NO_OFFSET. */
    uint64_t detail;   /* CONDITION and GAP: see there. */
    enum thole_outcome outcome;
    enum thole_reason reason;
};

typedef void (*thole_on_completion)(void *context, const struct thole_completion *completion);

/* ---- Opening ---- */

struct thole_options {
    /* Where the cluster is: its configuration file, of which only the addresses are needed; or its
     * id and "10.0.0.1:7001,10.0.0.2:7001,...", which are nodes 1, 2, ..., unless each is written
     * as NODE=ADDRESS. */
    const char *config_path;
    const char *addresses;
    uint64_t cluster;

    /* A session makes appends exactly once beyond this process: who opens the same name later goes
     * on where this client ended, and nothing of this client can come after it. NULL: a session of
     * this client alone. */
    const char *session;

    /* Bounds. 0 takes what is in brackets. */
    uint64_t
        memory_bytes; /* All memory of the client (16 MiB); what is too little names the least. */
    uint64_t
        timeout_ns; /* From an append to its outcome, and of a read that brings nothing (30 s). */
    uint32_t
        records_max; /* Appends without an outcome, or one that thole_next() did not take (8192). */

    /* Outcomes by callback, within thole_poll(); NULL: by thole_next(). It may append, and must
     * neither wait nor close. */
    thole_on_completion on_completion;
    void *context;
};

struct thole_error {
    int code;                     /* A positive errno. */
    char text[THOLE_ERROR_BYTES]; /* What failed, why, and what mends it. */
};

/* Open a client. Nothing is sent yet: who leads, and whether anybody is there, is found out by the
 * first thole_poll(). NULL, with `error` filled (it may be NULL), when the options are wrong or the
 * machine refuses. `options` and what it points to may go afterwards. */
struct thole *thole_open(const struct thole_options *options, struct thole_error *error);

/* Close at once: what has no outcome stays unknown. See thole_flush(). NULL is ignored. */
void thole_close(struct thole *client);

/* ---- Appending ---- */

/* Queue a record of 0 to THOLE_RECORD_BYTES_MAX bytes; `data` is copied. The `tag` comes back with
 * its outcome.
 *
 * Returns 0; -EAGAIN when records_max or the memory is reached: poll, then try again; -EMSGSIZE
 * when it is too long; -ESHUTDOWN when the session has stopped: see thole_reopen(). */
int thole_append(struct thole *client, const void *data, size_t bytes, uint64_t tag);

/* The same, if the record's offset will be `offset`, and not otherwise: a compare-and-swap on the
 * end of the log. Nothing is sent behind it before its answer is here. */
int thole_append_at(
    struct thole *client, const void *data, size_t bytes, uint64_t offset, uint64_t tag);

/* Send what is queued, take what has arrived, and tell it. Waits up to `timeout_ms` (-1: without
 * end) until there is something to tell: an outcome, a record, the end of a read.
 *
 * Returns how many of these were told to callbacks or wait for thole_next(); 0 when the time has
 * passed, or nothing is under way that could come; -EINTR when a signal ended the wait. */
int thole_poll(struct thole *client, int timeout_ms);

/* Take up to `count` outcomes that have come, oldest first; returns how many. */
uint32_t thole_next(struct thole *client, struct thole_completion *completions, uint32_t count);

/* Poll until every append has its outcome. 0, or -EINTR. */
int thole_flush(struct thole *client);

uint32_t thole_pending(const struct thole *client); /* Appends without an outcome. */

/* For an event loop: call thole_poll(client, 0) when the descriptor is readable, after
 * thole_timeout_ms() (-1: no need), and after appends. */
int thole_fd(const struct thole *client);
int thole_timeout_ms(const struct thole *client);

/* ---- Sessions ---- */

struct thole_session {
    uint64_t id;               /* 0: not open yet. */
    uint64_t next;             /* The sequence of the next record appended. */
    uint32_t epoch;            /* How many times it was opened. */
    enum thole_reason stopped; /* Why no append is taken; NONE: it is. */
};

/* Open the session now, and not with the first append, and wait for it. Of a named one, `next` then
 * says how many records it has: whoever numbers his records goes on from there.
 * 0; -ETIMEDOUT; -EINTR; -ESHUTDOWN when it has stopped. */
int thole_connect(struct thole *client, int timeout_ms);

void thole_session(const struct thole *client, struct thole_session *session);

/* Number the next append so, 1 or more, and not as the session expects: to repeat records whose
 * fate is not known. Those that are in the log answer with their old offsets and are not appended
 * again. Before thole_connect() and the first append, or the first after thole_reopen().
 * 0, or -EBUSY when it is too late. */
int thole_set_first(struct thole *client, uint64_t sequence);

/* Begin again after the session has stopped (fenced, expired, full, timed out): a named one in a
 * new epoch, in which nothing sent before can be appended any more. Of records then unknown, those
 * with a sequence below the session's new `next` are in the log, unless their condition failed, and
 * the others are not.
 * 0, or -EBUSY while outcomes are not told or not taken. */
int thole_reopen(struct thole *client);

/* ---- Reading ---- */

struct thole_record {
    uint64_t offset;
    uint64_t term;
    uint64_t session; /* In which it was appended: thole_session's id; 0: none. */
    uint64_t sequence;
    const void *data; /* Within the call only. */
    uint32_t bytes;
};

/* False: no more of this read. It may append, and must neither wait nor close. */
typedef bool (*thole_on_record)(void *context, const struct thole_record *record);

struct thole_read {
    uint64_t from;  /* An offset, THOLE_START or THOLE_END. */
    uint64_t last;  /* Begin so many records earlier, but not before the start of the log. */
    uint64_t count; /* So many at most; 0: no bound. */
    bool follow;    /* Go on beyond the end, with what is committed later. */
    /* Everything that was acknowledged to anybody before this read began is within its end. Without
     * it the end is the one that the node asked knows of: all is committed, some may be missing. */
    bool linearizable;
    uint8_t node; /* Who is read; 0: whoever leads. */
    thole_on_record on_record;
    void *context;
};

/* Hand committed records on in order, each once, through restarts and changes of leader. One read
 * is under way at a time: thole_read_begin() starts it, thole_poll() hands on, thole_reading() says
 * where it stands, thole_read_stop() ends it early.
 *
 * thole_reading(): -EINPROGRESS; 0 when all is handed on, or on_record said so; -ERANGE when its
 * beginning is trimmed; -ETIMEDOUT when nothing came for the time limit; -ECANCELED when stopped.
 * thole_read_begin(): 0; -EBUSY; -EINVAL. */
int thole_read_begin(struct thole *client, const struct thole_read *read);
int thole_reading(const struct thole *client);
void thole_read_stop(struct thole *client);

/* The whole of it in one call; also -EINTR. Appends go on meanwhile, and are told as usual. */
int thole_read(struct thole *client, const struct thole_read *read);

/* ---- Status ---- */

enum thole_role { THOLE_FOLLOWER, THOLE_CANDIDATE, THOLE_LEADER, THOLE_LEARNER };

struct thole_node {
    char address[THOLE_ADDRESS_BYTES];
    uint64_t term; /* From here on: of a reachable node alone. */
    uint64_t commit_index;
    uint64_t durable_index;
    uint64_t start_offset;
    uint64_t end_offset;
    enum thole_role role;
    uint8_t id; /* Always. */
    bool reachable;
    bool durable;  /* False: it keeps its log in memory alone. */
    bool degraded; /* Its disk stalls. */
};

struct thole_status {
    uint32_t node_count;
    uint8_t leader; /* 0: nobody leads. */
    bool available; /* It takes appends. */
    struct thole_node nodes[THOLE_NODES_MAX];
};

/* Ask every node, and wait until all have answered or the time has passed. 0, or -EINTR. Appends
 * and a read go on meanwhile. */
int thole_status(struct thole *client, struct thole_status *status, int timeout_ms);

/* ---- Words ---- */

/* Of the last call that failed; "" before. */
const char *thole_error_text(const struct thole *client);
const char *thole_version(void);
const char *thole_outcome_name(enum thole_outcome outcome);
const char *thole_reason_name(enum thole_reason reason);
const char *thole_role_name(enum thole_role role);

#ifdef __cplusplus
}
#endif

#endif
