/* mem.c: one region of memory, handed out from its start.
 *
 * Invariant: used_bytes never falls and never passes bytes; after the seal it never moves.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "engine/base/mem.h"

#include "engine/base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t align_up(uint64_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

int mem_open(struct mem *mem, uint64_t bytes)
{
    ASSERT(bytes > 0);
    if (bytes > UINT64_MAX / 2) {
        return -ENOMEM;
    }
    uint64_t mapped_bytes = align_up(bytes, PAGE_BYTES);
    void *base =
        mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        return -ENOMEM;
    }
    /* Written and not only mapped: a read would map the one zero page, and fault at first use. */
    memset(base, 0, mapped_bytes);
    mem_init(mem, base, mapped_bytes);
    mem->owned = true;
    return 0;
}

void mem_close(struct mem *mem)
{
    if (mem->owned) {
        int result = munmap(mem->base, mem->bytes);
        ASSERT(result == 0);
    }
    *mem = (struct mem){0};
}

void mem_init(struct mem *mem, void *base, uint64_t bytes)
{
    ASSERT(base != NULL);
    ASSERT((uintptr_t)base % PAGE_BYTES == 0);
    *mem = (struct mem){.base = base, .bytes = bytes};
}

void *
mem_take(struct mem *mem, const char *what, uint64_t count, uint64_t bytes_each, uint32_t align)
{
    ASSERT(!mem->sealed);
    ASSERT(what != NULL);
    ASSERT(align > 0);
    ASSERT((align & (align - 1)) == 0);
    ASSERT(align <= PAGE_BYTES);
    ASSERT(bytes_each > 0);
    ASSERT(mem->taking_count < MEM_TAKINGS_MAX);

    uint64_t start = align_up(mem->used_bytes, align);
    ASSERT(start <= mem->bytes);
    ASSERT(count <= (mem->bytes - start) / bytes_each);

    mem->takings[mem->taking_count++] = (struct mem_taking){what, count, bytes_each};
    mem->used_bytes = start + count * bytes_each;
    return mem->base + start;
}

void mem_seal(struct mem *mem)
{
    ASSERT(!mem->sealed);
    mem->sealed = true;
}

void mem_print(const struct mem *mem, FILE *out)
{
    ASSERT(mem->taking_count <= MEM_TAKINGS_MAX);
    fprintf(out, "%-32s %10s x %10s = %14s\n", "memory", "count", "bytes", "total");
    for (uint32_t i = 0; i < mem->taking_count; i++) {
        const struct mem_taking *taking = &mem->takings[i];
        fprintf(out, "%-32s %10" PRIu64 " x %10" PRIu64 " = %14" PRIu64 "\n", taking->what,
                taking->count, taking->bytes_each, taking->count * taking->bytes_each);
    }
    fprintf(out, "%-32s %10s   %10s   %14" PRIu64 " of %" PRIu64 "\n", "used, with alignment", "",
            "", mem->used_bytes, mem->bytes);
}
