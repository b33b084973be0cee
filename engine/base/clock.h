/* clock.h: the monotonic clock. A poll loop reads it once an iteration, in its own file. */
#ifndef ENGINE_BASE_CLOCK_H
#define ENGINE_BASE_CLOCK_H

#include "engine/base/assert.h"

#include <stdint.h>
#include <time.h>

#define CLOCK_NS_PER_S 1000000000ull

/* CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t clock_now_ns(void)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_MONOTONIC, &now);
    ASSERT(result == 0);
    return (uint64_t)now.tv_sec * CLOCK_NS_PER_S + (uint64_t)now.tv_nsec;
}

#endif
