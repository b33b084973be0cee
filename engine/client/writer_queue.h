/* writer_queue.h: the records of a writer that have no outcome yet, in memory that does not grow.
 *
 * Each record stands whole in one ring of bytes, as in the body of a request, so that neighbours
 * that touch are sent from here without another copy. Records are numbered from 0 on in the order
 * of taking: head <= sent <= tail; below `sent` they have been put into requests.
 *
 * It must not know sessions, frames or time.
 */
#ifndef ENGINE_CLIENT_WRITER_QUEUE_H
#define ENGINE_CLIENT_WRITER_QUEUE_H

#include "engine/client/writer.h"

enum slot_state {
    SLOT_WAITING, /* In no request. */
    SLOT_SENT,    /* In a request, and not answered. */
    SLOT_FULL,    /* Answered that there is no room; what stands before may still say otherwise. */
    SLOT_SETTLED,
};

struct writer_slot {
    uint64_t taken_ns;
    uint64_t sequence; /* 0: none yet. */
    uint64_t value;    /* Before: the offset expected. SETTLED: offset, or the outcome's detail. */
    uint32_t at;       /* In bytes. */
    uint32_t bytes;    /* record_body_bytes() */
    enum slot_state state;
    enum writer_fate fate;
    enum wire_status status;
    bool offset_known;
    bool conditional;
    bool begins; /* First of its call. */
};

struct writer_queue {
    struct writer_slot *slots;
    uint32_t mask;
    uint32_t records_max;
    uint8_t *bytes;
    uint32_t bytes_max;
    uint32_t end_at; /* Where the next record begins, if it fits there. */
    uint64_t head;
    uint64_t sent;
    uint64_t tail;
};

uint64_t writer_queue_memory_bytes(uint32_t records_max, uint32_t bytes_max);
void writer_queue_init(struct writer_queue *queue,
                       struct mem *mem,
                       uint32_t records_max,
                       uint32_t bytes_max);

/* Copy a record in, as the newest. NULL: there is no room. */
struct writer_slot *writer_queue_push(struct writer_queue *queue,
                                      const struct client_record *record);

/* Drop the oldest one, which is settled. */
void writer_queue_pop(struct writer_queue *queue);

static inline struct writer_slot *writer_queue_slot(const struct writer_queue *queue,
                                                    uint64_t number)
{
    ASSERT(number >= queue->head);
    ASSERT(number < queue->tail);
    return &queue->slots[number & queue->mask];
}

/* Write session and sequence into the header of a record. */
void writer_queue_stamp(struct writer_queue *queue,
                        const struct writer_slot *slot,
                        uint64_t session);

#endif
