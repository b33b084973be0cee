/* sender.h: records appended in their order, without sessions. Pure, over the client.
 *
 * Without sessions nothing tells a repeated request from a new one, so what may have been taken is
 * never sent again. Three things follow:
 *
 * - One request is under way at a time. Its records were all taken or all refused, so a refusal
 *   that is waited out never lets a later record overtake, and at most one request is ever of
 *   unknown fate. Requests are as full as frames allow: commits, not a timer, make the batches.
 * - Requests go to a node that has just said that it leads. Who that is, is found out by reads.
 * - A request is repeated only when its answer was that nothing was taken.
 *
 * It must not know descriptors, clocks or where records come from.
 */
#ifndef ENGINE_CLIENT_SENDER_H
#define ENGINE_CLIENT_SENDER_H

#include "engine/client/client.h"

enum sender_state {
    SENDER_IDLE,      /* Everything loaded is acknowledged. */
    SENDER_SENDING,   /* Poll on. */
    SENDER_REFUSED,   /* The next record was refused for good: `refusal`. */
    SENDER_UNKNOWN,   /* The next `under_way` records may be in the log or not. */
    SENDER_NOT_TAKEN, /* The time has passed; nothing unacknowledged was taken. */
};

/* Records [first, first + count) of the load are committed from `first_offset` on. */
typedef void (*sender_acked)(void *context, uint32_t first, uint32_t count, uint64_t first_offset);

struct sender_config {
    struct client *client; /* Whose timeout is not below this one. */
    uint64_t timeout_ns;   /* Longest time without an acknowledgement. */
    sender_acked acked;
    void *context;
};

struct sender {
    struct sender_config config;
    enum sender_state state;
    enum wire_status refusal;
    const struct client_record *records;
    uint32_t count;
    uint32_t next;      /* Records below it are acknowledged. */
    uint32_t under_way; /* Records from `next` on, of the request that has no answer. */
    bool probing;
    bool heard;          /* Anybody has answered anything since the last progress. */
    uint8_t stranger;    /* Who was named as leader last, when the client does not know it. */
    uint8_t sure_node;   /* Has said that it leads, and was sent what is under way, ... */
    uint64_t sure_ns;    /* ... then. */
    uint64_t first_sent; /* Sequence of the first record under way. */
    uint64_t now_ns;     /* Of this poll. */
    uint64_t ask_ns;     /* Nothing is sent before. */
    uint64_t pause_ns;   /* Of the last vain attempt. */
    uint64_t deadline_ns;
};

/* Begin idle. `client` is used for nothing else meanwhile. */
void sender_init(struct sender *sender, const struct sender_config *config);

/* Give it records, 1 or more, when it is idle. They and their payloads stay the caller's, unchanged
 * until it is idle again or has failed. Payloads are not NULL. */
void sender_load(struct sender *sender,
                 const struct client_record *records,
                 uint32_t count,
                 uint64_t now_ns);

/* Take answers, tell what is acknowledged, send what is next. Returns the work done. */
uint32_t sender_poll(struct sender *sender, uint64_t now_ns);

/* When sender_poll() has something to do even if nothing arrives. */
uint64_t sender_deadline_ns(const struct sender *sender);

#endif
