/* mem.h: all memory of the data path, taken at start and sealed before the first poll.
 *
 * A struct mem is one region, handed out from its start and never given back. After mem_seal() a
 * further mem_take() asserts. Every taking is named, and mem_print() prints the table: what,
 * count x bytes, total.
 */
#ifndef ENGINE_BASE_MEM_H
#define ENGINE_BASE_MEM_H

#include "engine/base/assert.h"

#include <stdint.h>
#include <stdio.h>

#define MEM_TAKINGS_MAX 64u

struct mem_taking {
    const char *what; /* A literal. */
    uint64_t count;
    uint64_t bytes_each;
};

struct mem {
    uint8_t *base; /* Page aligned, zeroed. */
    uint64_t bytes;
    uint64_t used_bytes;
    bool sealed;
    bool owned; /* By mem_open: mem_close unmaps it. */
    uint32_t taking_count;
    struct mem_taking takings[MEM_TAKINGS_MAX];
};

/* Map `bytes` of zeroed memory, touched once so that no page fault comes later. 0 or -ENOMEM. */
MUST_USE int mem_open(struct mem *mem, uint64_t bytes);
void mem_close(struct mem *mem);

/* Use the caller's zeroed, page-aligned memory instead (tests, the simulator). */
void mem_init(struct mem *mem, void *base, uint64_t bytes);

/* Take count x bytes_each bytes, zeroed, aligned to `align` (a power of two, at most PAGE_BYTES).
 * Asserts when sealed or when the region is too small: sizes are computed beforehand by the
 * *_memory_bytes() function of each module. */
void *
mem_take(struct mem *mem, const char *what, uint64_t count, uint64_t bytes_each, uint32_t align);

void mem_seal(struct mem *mem);
void mem_print(const struct mem *mem, FILE *out);

#endif
