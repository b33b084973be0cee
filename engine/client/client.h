/* client.h: the client of a cluster: requests out, fates back. Pure, over a nic.
 *
 * Each record gets the next sequence, is sent once, to whoever is thought to lead, and has exactly
 * one fate: the cluster's answer, or unanswered after the timeout. What an unanswered record became
 * is not known: who must know appends through a session (writer.h, above this). Records are packed
 * into requests as full as frames allow; a larger one travels alone, in fragments.
 *
 * No I/O but the nic, no clock, no allocation after client_init(), no randomness but the seed. It
 * must not know replicas, disks or sockets. One thread.
 */
#ifndef ENGINE_CLIENT_CLIENT_H
#define ENGINE_CLIENT_CLIENT_H

#include "engine/base/counter.h"
#include "engine/base/mem.h"
#include "engine/base/prng.h"
#include "engine/wire.h"
#include "net/nic.h"

#include <stdbool.h>
#include <stdint.h>

struct client_node {
    uint8_t id;
    struct nic_address address;
};

struct client_config {
    uint64_t cluster;
    uint64_t id; /* Random, not 0: replies to another process are not taken for ours. */
    uint16_t group;
    uint32_t node_count; /* 1 to NODES_MAX. */
    struct client_node nodes[NODES_MAX];
    uint32_t outstanding_max; /* Records without a fate, 1 to CLIENT_OUTSTANDING_MAX. */
    uint64_t timeout_ns;      /* An answer later than this is not waited for. */
    uint64_t read_timeout_ns; /* The same of client_read(), which may be repeated; 0: timeout_ns. */
    uint64_t payload_seed;    /* Of records sent without payload: see client_fill_payload(). */
    uint64_t seed;            /* Of whom to ask next, when nobody knows. */
};

/* A record to send. */
struct client_record {
    const uint8_t *payload; /* NULL: client_fill_payload(payload_seed, its sequence). */
    uint32_t bytes;         /* 0 to RECORD_BYTES_MAX. */
    uint64_t intended_ns;   /* When it should have been sent: the completion repeats it. */
};

enum client_fate {
    CLIENT_ANSWERED,   /* `status` says how. */
    CLIENT_UNANSWERED, /* Unknown: the timeout passed. */
};

/* Consecutive records with one fate. They were sent, and meant to be sent, at the same times. */
struct client_completion {
    uint64_t first_sequence;
    uint32_t count;
    enum client_fate fate;
    enum wire_status status;
    uint64_t first_offset; /* ANSWERED and WIRE_OK: of the first; the others follow it. */
    uint64_t intended_ns;
    uint64_t sent_ns;
};

typedef void (*client_complete)(void *context, const struct client_completion *completion);

/* The answer to client_read(). */
struct client_read_result {
    enum client_fate fate;
    uint8_t node;                 /* Who was asked. */
    struct wire_read_reply reply; /* ANSWERED. */
    const uint8_t *records;       /* As in a body; within client_poll() only. */
    uint32_t records_bytes;
};

typedef void (*client_read_done)(void *context, const struct client_read_result *result);

struct client_read {
    uint8_t node; /* 0: the presumed leader. */
    struct wire_read what;
    client_read_done done;
    void *context;
};

/* clang-format off */
#define CLIENT_COUNTERS(X) \
    X(records_sent) X(records_answered) X(records_unanswered) X(requests_sent) X(frames_sent) \
    X(frames_dropped) X(replies) X(replies_repeated) X(replies_late) X(replies_unknown) \
    X(replies_unasked) X(leader_changes) X(reads_sent) X(reads_answered) X(reads_unanswered) \
    X(reads_late) X(posts)
/* clang-format on */
COUNTERS_DECLARE(client, CLIENT_COUNTERS);

struct client;

uint64_t client_memory_bytes(const struct client_config *config);

/* Take the memory; `nic` is borrowed for the client's life. */
struct client *client_init(struct mem *mem, const struct client_config *config, struct nic *nic);

/* Send records in their order, the first with client_next_sequence(). Returns how many were taken:
 * fewer than `count` when outstanding_max is reached, and then nothing of the others. Payloads are
 * copied. `now_ns` is not 0. Some 20 ns a record of 64 bytes (tests/unit/test_client.c prints it).
 */
MUST_USE uint32_t client_send(struct client *client,
                              uint64_t now_ns,
                              const struct client_record *records,
                              uint32_t count);

/* Take what has arrived, give up what is too old, and tell both to `complete`, which may call
 * client_send(). Returns the number of frames and completions. */
uint32_t
client_poll(struct client *client, uint64_t now_ns, client_complete complete, void *context);

/* Ask for committed records; one read may be under way. The answer comes to `read->done` within a
 * later client_poll(), which may read again. False: one is under way.
 *
 * A read changes nothing in the cluster, so it is also how a client finds out who leads before it
 * sends what must not be sent twice: asked as the presumed leader, a node that says otherwise, or
 * nothing, is presumed no longer, and whom it names or the next one is. */
MUST_USE bool client_read(struct client *client, uint64_t now_ns, const struct client_read *read);

/* When client_poll() has something to give up: UINT64_MAX, or a time at or before it. */
uint64_t client_deadline_ns(const struct client *client);

uint64_t client_next_sequence(const struct client *client);
uint32_t client_outstanding(const struct client *client);
uint8_t client_leader(const struct client *client); /* To whom requests go. Never 0. */
void client_set_leader(struct client *client, uint8_t node);
bool client_has_node(const struct client *client, uint8_t node);

/* ---- Frames whose meaning stands above: of sessions, and questions. ---- */

/* Takes a frame that was checked; its payload within the call only. */
typedef void (*client_listener)(void *context, const struct wire_frame *frame, uint64_t now_ns);

/* Hand every frame of this kind to `take`, within client_poll(): OPEN_REPLY, STATUS_REPLY or
 * TRANSFER_REPLY, or the REPLYs that name a session. One listener a kind; NULL: nobody. */
void client_listen(struct client *client, enum wire_kind kind, client_listener take, void *context);

/* Queue a frame to a node, or, 0, to the presumed leader: header.kind, header.token and what
 * belongs to the kind are the caller's. Its payload must stay until client_flush(). Returns to
 * whom it goes. */
uint8_t client_post(struct client *client, struct wire_frame *frame, uint8_t node);
void client_flush(struct client *client);

/* For header.token: by the answer's one knows what it answers. */
uint64_t client_new_token(struct client *client);

/* A node that was asked as the presumed leader names another, or nobody (0): it is presumed no
 * longer, and whom it names or the next one is. True: whom it names is. */
bool client_disclaimed(struct client *client, uint8_t from, uint8_t hint, uint64_t now_ns);

/* A node that was asked as the presumed leader does not answer: the next one is presumed. */
void client_silent(struct client *client, uint8_t node, uint64_t now_ns);

/* From now on it is another client, with this new random id: answers to the old one do not come.
 * Not while records of client_send() are under way; a read under way stays unanswered. */
void client_renew(struct client *client, uint64_t id);

/* Bytes of records, by record_body_bytes(), that one request holds: client_send() of no more, and
 * no more than REQUEST_RECORDS_MAX records, is one frame, which has one fate. */
uint32_t client_request_bytes(const struct client *client);
const struct client_counters *client_counters(const struct client *client);
const struct wire_counters *client_wire_counters(const struct client *client);

/* The bytes that stand for a record: from seed and sequence alone, so that whoever finds them in a
 * log can tell whether they are the ones sent. */
void client_fill_payload(uint64_t seed, uint64_t sequence, uint8_t *payload, uint32_t bytes);

#endif
