/* writer_internal.h: what the parts of the writer share: writer.c takes records and tells
 * outcomes, writer_send.c says what is sent and when again, writer_answer.c takes answers.
 *
 * Nothing outside engine/client/writer*.c includes it.
 */
#ifndef ENGINE_CLIENT_WRITER_INTERNAL_H
#define ENGINE_CLIENT_WRITER_INTERNAL_H

#include "engine/client/writer_queue.h"

/* Slots of requests: those under way, and the rest of a refused call. */
#define WRITER_REQUESTS 16u
_Static_assert(WRITER_REQUESTS > SESSION_REQUESTS_MAX, "a refused rest has its slot");

/* Consecutive records that travel together, always with the same bytes. */
struct writer_request {
    uint64_t first_number;
    uint64_t first_sequence; /* 0: the rest of a refused call, never sent. */
    uint32_t count;
    uint32_t open; /* Records SLOT_SENT. */
    uint32_t full; /* Records SLOT_FULL. */
    uint32_t at;   /* In the queue's bytes. */
    uint32_t bytes;
    uint64_t token;
    uint64_t sent_ns;     /* The last time. */
    uint64_t send_number; /* Of the last time, in the order of all sends. */
    uint32_t sends;
    bool due; /* To be sent, now or after the pause. */
    bool conditional;
    uint64_t expected_offset;
};

struct writer_opening {
    uint32_t epoch; /* To ask with. */
    uint64_t token;
    uint64_t sent_ns;
    uint32_t sends;
    bool due;
};

struct writer {
    struct writer_config config;
    uint8_t name[SESSION_NAME_MAX];
    struct client *client;
    struct writer_queue queue;
    enum writer_state state;

    /* Not WRITER_IDLE: what state follows when no answer is waited for any more, and why. */
    enum writer_state ending;
    enum wire_status ending_status;
    uint64_t ending_detail;

    uint64_t session;
    uint32_t epoch;
    uint64_t first_wanted;  /* By writer_set_first(), until the session is open; 0: none. */
    uint64_t next_sequence; /* Of the next request. */
    uint64_t repeats_end;   /* Numbers below were used before: no request crosses it. */
    struct writer_opening opening;

    struct writer_request requests[WRITER_REQUESTS]; /* [request_head, request_tail), a ring. */
    uint64_t request_head;
    uint64_t request_tail;
    uint64_t send_number;

    uint64_t now_ns;     /* Of this poll. */
    uint64_t settled_ns; /* When the cluster last answered for good. */
    uint64_t heard_ns;   /* When the presumed leader last answered anything. */
    uint64_t rtt_ns;     /* Smoothed; 0: not measured. */
    uint64_t rtt_spread_ns;
    uint32_t backoff; /* Doublings of the retry time. */
    uint64_t pause_ns;
    uint64_t pause_until_ns;
    uint32_t silences;  /* In a row, of the presumed leader. */
    uint32_t redirects; /* In a row. */
    uint8_t shunned;    /* Was silent: not believed to lead ... */
    uint64_t shunned_until_ns;
    uint8_t stranger;
    bool heard;
    struct writer_counters counters;
};

static inline struct writer_request *writer_request_at(struct writer *writer, uint64_t place)
{
    ASSERT(place >= writer->request_head);
    ASSERT(place < writer->request_tail);
    return &writer->requests[place % WRITER_REQUESTS];
}

static inline struct writer_slot *writer_slot_of(struct writer *writer, uint64_t number)
{
    return writer_queue_slot(&writer->queue, number);
}

/* ---- writer.c ---- */

/* Nothing is sent any more; every record has its fate. */
void writer_stop(struct writer *writer,
                 enum writer_state state,
                 enum wire_status status,
                 uint64_t detail);

/* ---- writer_send.c ---- */

/* Ask for the session, with this epoch. */
void writer_ask(struct writer *writer, uint32_t epoch);

/* Send what is due and what is next. Returns the work done. */
uint32_t writer_send(struct writer *writer);

/* Wait, longer each time, and send the requests from this place on again. */
void writer_pause(struct writer *writer, uint64_t place);

/* The cluster has answered for good. */
void writer_progress(struct writer *writer);

/* A node that was asked as the leader says that it is none. */
void writer_redirect(struct writer *writer, uint8_t from, uint8_t hint);

void writer_measure(struct writer *writer, uint64_t sent_ns);
uint64_t writer_retry_ns(const struct writer *writer);
bool writer_can_form(const struct writer *writer);

/* ---- writer_answer.c ---- */
void writer_take_open_reply(void *context, const struct wire_frame *frame, uint64_t now_ns);
void writer_take_reply(void *context, const struct wire_frame *frame, uint64_t now_ns);

#endif
