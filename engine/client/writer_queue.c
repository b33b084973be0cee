/* writer_queue.c: see writer_queue.h.
 *
 * Invariant: with records, [at of the head, end_at) is in use, around the ring's end if end_at is
 * not above; without any, end_at is 0.
 */
#include "engine/client/writer_queue.h"

#include <stddef.h>
#include <string.h>

static uint32_t slot_count(uint32_t records_max)
{
    uint32_t count = 1;
    while (count < records_max) {
        count *= 2;
    }
    return count;
}

uint64_t writer_queue_memory_bytes(uint32_t records_max, uint32_t bytes_max)
{
    return slot_count(records_max) * sizeof(struct writer_slot) + bytes_max + 2ull * PAGE_BYTES;
}

void writer_queue_init(struct writer_queue *queue,
                       struct mem *mem,
                       uint32_t records_max,
                       uint32_t bytes_max)
{
    ASSERT(records_max >= 1);
    ASSERT(records_max <= WRITER_RECORDS_MAX);
    ASSERT(bytes_max >= WRITER_BYTES_MIN);
    ASSERT(bytes_max <= WRITER_BYTES_MAX);
    uint32_t slots = slot_count(records_max);
    *queue = (struct writer_queue){
        .mask = slots - 1, .records_max = records_max, .bytes_max = bytes_max / 8 * 8};
    queue->slots = mem_take(mem, "writer's records", slots, sizeof *queue->slots, 64);
    queue->bytes = mem_take(mem, "writer's bytes", 1, bytes_max, 64);
}

/* Where a record of so many bytes fits: true, and its place. */
static bool find_place(const struct writer_queue *queue, uint32_t bytes, uint32_t *at)
{
    *at = queue->end_at;
    if (queue->head == queue->tail) {
        ASSERT(queue->end_at == 0);
        return bytes <= queue->bytes_max;
    }
    uint32_t begin = writer_queue_slot(queue, queue->head)->at;
    if (queue->end_at <= begin) {
        return bytes <= begin - queue->end_at;
    }
    if (bytes <= queue->bytes_max - queue->end_at) {
        return true;
    }
    *at = 0;
    return bytes <= begin;
}

struct writer_slot *writer_queue_push(struct writer_queue *queue,
                                      const struct client_record *record)
{
    ASSERT(record->bytes <= RECORD_BYTES_MAX);
    ASSERT(record->bytes == 0 || record->payload != NULL);
    uint32_t bytes = record_body_bytes(record->bytes);
    uint32_t at;
    if (queue->tail - queue->head == queue->records_max || !find_place(queue, bytes, &at)) {
        return NULL;
    }
    uint8_t *to = queue->bytes + at;
    struct record_header header = {.bytes = record->bytes};
    memset(to + bytes - 8, 0, 8);
    memcpy(to, &header, sizeof header);
    if (record->bytes > 0) {
        memcpy(to + sizeof header, record->payload, record->bytes);
    }
    queue->end_at = at + bytes;
    struct writer_slot *slot = &queue->slots[queue->tail++ & queue->mask];
    *slot = (struct writer_slot){.at = at, .bytes = bytes, .state = SLOT_WAITING};
    return slot;
}

void writer_queue_pop(struct writer_queue *queue)
{
    ASSERT(queue->head < queue->tail);
    ASSERT(queue->head < queue->sent);
    ASSERT(writer_queue_slot(queue, queue->head)->state == SLOT_SETTLED);
    queue->head++;
    if (queue->head == queue->tail) {
        queue->end_at = 0;
    }
}

void writer_queue_stamp(struct writer_queue *queue,
                        const struct writer_slot *slot,
                        uint64_t session)
{
    ASSERT(session != 0);
    ASSERT(slot->sequence != 0);
    uint8_t *header = queue->bytes + slot->at;
    memcpy(header + offsetof(struct record_header, session), &session, sizeof session);
    memcpy(header + offsetof(struct record_header, sequence), &slot->sequence,
           sizeof slot->sequence);
}
