/* keep_traced.c: only pages that were written are copied back. See keep.h.
 *
 * Must itself be compiled without tracing. What the compiler does not tell of (a store of an odd
 * size) would make inputs depend on each other, so everything is compared now and then.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "tests/fuzz/keep.h"

#include "engine/base/assert.h"
#include "engine/base/limits.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define PAGES_MAX     (KEEP_BYTES_MAX / PAGE_BYTES)
#define COMPARE_EVERY 16384u

static uint8_t *arena;
static uint8_t *saved_arena;
static uint64_t arena_used;
static uint8_t touched[PAGES_MAX];
static uint32_t touched_pages[PAGES_MAX];
static uint32_t touched_count;
static uint64_t returns;

void keep_open(struct keep *keep, uint64_t bytes)
{
    if (arena == NULL) {
        void *map = mmap(NULL, 2ull * KEEP_BYTES_MAX, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ASSERT(map != MAP_FAILED);
        arena = map;
        saved_arena = arena + KEEP_BYTES_MAX;
    }
    keep->bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    ASSERT(keep->bytes <= KEEP_BYTES_MAX - arena_used);
    keep->base = arena + arena_used;
    keep->saved = saved_arena + arena_used;
    arena_used += keep->bytes;
}

static void touch(uintptr_t address)
{
    uintptr_t at = address - (uintptr_t)arena;
    if (at >= arena_used) {
        return;
    }
    uintptr_t page = at / PAGE_BYTES;
    if (touched[page] == 0) {
        touched[page] = 1;
        touched_pages[touched_count++] = (uint32_t)page;
    }
}

static void touch_range(const void *to, size_t bytes)
{
    uintptr_t first = (uintptr_t)to;
    if (bytes == 0 || first - (uintptr_t)arena >= arena_used) {
        return;
    }
    for (uintptr_t at = first; at < first + bytes; at += PAGE_BYTES) {
        touch(at);
    }
    touch(first + bytes - 1);
}

static void forget_touched(void)
{
    for (uint32_t i = 0; i < touched_count; i++) {
        touched[touched_pages[i]] = 0;
    }
    touched_count = 0;
}

void keep_save(struct keep *keep)
{
    memcpy(keep->saved, keep->base, keep->bytes);
    forget_touched();
}

void keep_back(struct keep *keep)
{
    for (uint32_t i = 0; i < touched_count; i++) {
        uint64_t at = (uint64_t)touched_pages[i] * PAGE_BYTES;
        memcpy(arena + at, saved_arena + at, PAGE_BYTES);
    }
    forget_touched();
    if (returns++ % COMPARE_EVERY == 0) {
        ASSERT(memcmp(keep->base, keep->saved, keep->bytes) == 0);
    }
}

/* ---- What the compiler calls. ---- */

/* NOLINTBEGIN(readability-identifier-naming) */
void __sanitizer_cov_store1(const void *address);
void __sanitizer_cov_store2(const void *address);
void __sanitizer_cov_store4(const void *address);
void __sanitizer_cov_store8(const void *address);
void __sanitizer_cov_store16(const void *address);
void *__real___asan_memcpy(void *to, const void *from, size_t bytes);
void *__wrap___asan_memcpy(void *to, const void *from, size_t bytes);
void *__real___asan_memmove(void *to, const void *from, size_t bytes);
void *__wrap___asan_memmove(void *to, const void *from, size_t bytes);
void *__real___asan_memset(void *to, int value, size_t bytes);
void *__wrap___asan_memset(void *to, int value, size_t bytes);

void __sanitizer_cov_store1(const void *address)
{
    touch((uintptr_t)address);
}

void __sanitizer_cov_store2(const void *address)
{
    touch((uintptr_t)address);
    touch((uintptr_t)address + 1);
}

void __sanitizer_cov_store4(const void *address)
{
    touch((uintptr_t)address);
    touch((uintptr_t)address + 3);
}

void __sanitizer_cov_store8(const void *address)
{
    touch((uintptr_t)address);
    touch((uintptr_t)address + 7);
}

void __sanitizer_cov_store16(const void *address)
{
    touch((uintptr_t)address);
    touch((uintptr_t)address + 15);
}

void *__wrap___asan_memcpy(void *to, const void *from, size_t bytes)
{
    touch_range(to, bytes);
    return __real___asan_memcpy(to, from, bytes);
}

void *__wrap___asan_memmove(void *to, const void *from, size_t bytes)
{
    touch_range(to, bytes);
    return __real___asan_memmove(to, from, bytes);
}

void *__wrap___asan_memset(void *to, int value, size_t bytes)
{
    touch_range(to, bytes);
    return __real___asan_memset(to, value, bytes);
}
/* NOLINTEND(readability-identifier-naming) */
