/* program.c: see program.h.
 */
#include "tests/fuzz/program.h"

#include "engine/base/assert.h"
#include "tests/support/frames.h"

#include <string.h>

#define ARGUMENTS_MAX 16u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static const uint8_t *input;
static size_t input_bytes;
static size_t input_at;

void program_begin(const uint8_t *data, size_t size)
{
    input = data;
    input_bytes = size;
    input_at = 0;
}

bool program_is_over(void)
{
    return input_at == input_bytes;
}

uint64_t take(uint32_t bytes)
{
    ASSERT(bytes <= 8);
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes && input_at < input_bytes; i++) {
        value |= (uint64_t)input[input_at++] << (8 * i);
    }
    return value;
}

uint32_t take_bytes(uint8_t *bytes, uint32_t count)
{
    size_t left = input_bytes - input_at;
    count = count < left ? count : (uint32_t)left;
    if (count > 0) {
        memcpy(bytes, input + input_at, count);
    }
    input_at += count;
    return count;
}

uint64_t tweak(uint64_t value)
{
    uint64_t how = take(1);
    if (how < 0xc0) {
        return value;
    }
    if (how < 0xf0) {
        return value + how - 0xd8;
    }
    return take(how < 0xfc ? 1 : 8);
}

void frame_mend_identity(uint8_t *frame, uint64_t cluster)
{
    const uint32_t magic = WIRE_MAGIC;
    memcpy(frame, &magic, sizeof magic);
    frame[4] = WIRE_VERSION;
    frame[5] = 0;
    frame[7] = 0;
    memset(frame + 10, 0, 2); /* Group. */
    memset(frame + 20, 0, 4); /* The tag's counter. */
    memcpy(frame + 24, &cluster, sizeof cluster);
    memset(frame + 72, 0, WIRE_TAG_BYTES);
}

static size_t operation_random(const struct program_shape *shape, struct prng *prng, uint8_t *bytes)
{
    size_t count = 0;
    uint8_t what = (uint8_t)prng_below(prng, shape->flag);
    bytes[count++] = what | (prng_chance(prng, 700000) ? shape->flag : 0);
    uint64_t arguments = prng_between(prng, 1, ARGUMENTS_MAX);
    bool is_frame = what % shape->operation_count == shape->frame_operation;
    if (is_frame) {
        arguments = shape->frame_arguments;
    }
    for (uint64_t i = 0; i < arguments; i++) {
        bytes[count++] =
            (uint8_t)(prng_chance(prng, 700000) ? prng_below(prng, 16) : prng_next(prng));
    }
    if (is_frame) {
        static uint8_t payload[FRAME_BYTES_MAX];
        struct wire_frame frame;
        frame_random(prng, frame_kinds[prng_below(prng, frame_kind_count)], &frame, payload);
        uint32_t frame_bytes = frame_write(&frame, bytes + count + 2);
        memcpy(bytes + count, &frame_bytes, 2);
        count += 2 + frame_bytes;
    }
    return count;
}

size_t program_mutate(const struct program_shape *shape,
                      uint8_t *data,
                      size_t size,
                      size_t max_size,
                      unsigned int seed)
{
    static uint8_t more[2 * FRAME_BYTES_MAX];
    struct prng prng;
    prng_init(&prng, seed);
    if (size < shape->head_bytes || prng_chance(&prng, 500000)) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    for (uint64_t i = prng_between(&prng, 1, 4); i > 0; i--) {
        size_t count = operation_random(shape, &prng, more);
        size_t at =
            prng_chance(&prng, 600000) ? size : prng_between(&prng, shape->head_bytes, size);
        if (size + count <= max_size) {
            memmove(data + at + count, data + at, size - at);
            memcpy(data + at, more, count);
            size += count;
        }
    }
    return size;
}
