/* program.h: an input as a program of one-byte operations with arguments, for the targets that keep
 * a world. One input is read at a time.
 *
 * Whatever the bytes are, it is a program: arguments behind the end are zero, which everywhere
 * means "as it should be".
 */
#ifndef TESTS_FUZZ_PROGRAM_H
#define TESTS_FUZZ_PROGRAM_H

#include "engine/base/prng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void program_begin(const uint8_t *data, size_t size);
bool program_is_over(void);

/* The next bytes as a number, low byte first; at most 8. */
uint64_t take(uint32_t bytes);

/* The next bytes as they are, `count` at most: returns how many there are. */
uint32_t take_bytes(uint8_t *bytes, uint32_t count);

/* Mostly `value`, sometimes one near it, sometimes any. */
uint64_t tweak(uint64_t value);

/* Make magic, version, cluster, tag and reserved fields of a frame right; length and checksum are
 * frame_mend()'s. At least a header. */
void frame_mend_identity(uint8_t *frame, uint64_t cluster);

/* A program of `operation_count` operations for a custom mutator: half of the time libFuzzer's own,
 * else operations put in behind the first `head_bytes`, with random arguments most of which mean
 * "as it should be". `frame_operation` is followed by a sound frame of any kind, behind
 * `frame_arguments` bytes of arguments and two of its length. */
struct program_shape {
    uint8_t operation_count;
    uint8_t frame_operation;
    uint8_t frame_arguments;
    uint8_t head_bytes;
    uint8_t flag; /* Of an operation byte, set in seven of ten. */
};
size_t program_mutate(const struct program_shape *shape,
                      uint8_t *data,
                      size_t size,
                      size_t max_size,
                      unsigned int seed);

#endif
