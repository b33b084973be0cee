/* ring.c: the single-producer single-consumer ring.
 *
 * Head and tail run freely and wrap with their type; their difference is the fill. The producer's
 * release of the head publishes the copied slot, the consumer's release of the tail gives it back.
 */
#include "engine/base/ring.h"

#include <string.h>

static uint8_t *ring_slot(const struct ring *ring, uint32_t at)
{
    return ring->slots + (uint64_t)(at & (ring->capacity - 1)) * ring->slot_bytes;
}

void ring_init(struct ring *ring, struct mem *mem, uint32_t capacity, uint32_t slot_bytes)
{
    ASSERT(capacity > 0);
    ASSERT((capacity & (capacity - 1)) == 0);
    ASSERT(slot_bytes > 0);
    ring->slots = mem_take(mem, "ring", capacity, slot_bytes, 64);
    ring->capacity = capacity;
    ring->slot_bytes = slot_bytes;
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
}

bool ring_push(struct ring *ring, const void *element)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    ASSERT(head - tail <= ring->capacity);
    if (head - tail == ring->capacity) {
        return false;
    }
    memcpy(ring_slot(ring, head), element, ring->slot_bytes);
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

bool ring_pop(struct ring *ring, void *element)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    ASSERT(head - tail <= ring->capacity);
    if (head == tail) {
        return false;
    }
    memcpy(element, ring_slot(ring, tail), ring->slot_bytes);
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}
