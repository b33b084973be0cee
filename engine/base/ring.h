/* ring.h: one producer, one consumer, fixed capacity, fixed element size.
 *
 * The only place of the program where two cores share memory: an atomic head and tail, each on its
 * own cache line, release after the copy, acquire before it.
 */
#ifndef ENGINE_BASE_RING_H
#define ENGINE_BASE_RING_H

#include "engine/base/assert.h"
#include "engine/base/mem.h"

#include <stdatomic.h>
#include <stdint.h>

struct ring {
    uint8_t *slots;
    uint32_t capacity; /* A power of two. */
    uint32_t slot_bytes;
    _Alignas(64) _Atomic uint32_t head; /* Next to write; producer's. */
    _Alignas(64) _Atomic uint32_t tail; /* Next to read; consumer's. */
};

void ring_init(struct ring *ring, struct mem *mem, uint32_t capacity, uint32_t slot_bytes);

/* Producer: copy one element in. False when full: nothing was taken. */
MUST_USE bool ring_push(struct ring *ring, const void *element);

/* Consumer: copy one element out. False when empty. */
MUST_USE bool ring_pop(struct ring *ring, void *element);

#endif
