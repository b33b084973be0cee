/* payload.h: the bytes of a record, as its number and the seed make them: whoever finds a record
 * can tell whether the writer (tests/crash/writer.c) ever sent it. */
#ifndef TESTS_CRASH_PAYLOAD_H
#define TESTS_CRASH_PAYLOAD_H

#include "engine/base/prng.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PAYLOAD_BYTES_MAX  60000u
#define PAYLOAD_WORD_BYTES 8u
#define PAYLOAD_MIX        0x9e3779b97f4a7c15ull

/* How long the record is: mostly short, some of several pages, a few as long as can be. */
static inline uint32_t payload_bytes(uint64_t seed, uint64_t sequence)
{
    struct prng prng;
    prng_init(&prng, seed ^ sequence * PAYLOAD_MIX);
    uint64_t drawn = prng_below(&prng, 100);
    uint64_t most = drawn < 75 ? 300 : drawn < 98 ? 9000 : PAYLOAD_BYTES_MAX;
    uint64_t bytes = prng_between(&prng, PAYLOAD_WORD_BYTES, most);
    return (uint32_t)(bytes - bytes % PAYLOAD_WORD_BYTES);
}

static inline uint64_t payload_word(uint64_t sequence, uint32_t number)
{
    return number == 0 ? sequence : (sequence + number) * PAYLOAD_MIX;
}

/* Fill `words`; returns the bytes. */
static inline uint32_t payload_make(uint64_t seed, uint64_t sequence, uint64_t *words)
{
    uint32_t bytes = payload_bytes(seed, sequence);
    for (uint32_t i = 0; i < bytes / PAYLOAD_WORD_BYTES; i++) {
        words[i] = payload_word(sequence, i);
    }
    return bytes;
}

/* Whether these bytes are a record of this writer, and which. */
static inline bool
payload_is(uint64_t seed, const uint64_t *words, uint32_t bytes, uint64_t *sequence)
{
    if (bytes < PAYLOAD_WORD_BYTES || bytes != payload_bytes(seed, words[0])) {
        return false;
    }
    *sequence = words[0];
    for (uint32_t i = 1; i < bytes / PAYLOAD_WORD_BYTES; i++) {
        if (words[i] != payload_word(*sequence, i)) {
            return false;
        }
    }
    return true;
}

#endif
