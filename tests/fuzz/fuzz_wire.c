/* fuzz_wire.c: any bytes to the codec; what it takes, it must give back unchanged.
 *
 * The first byte says who listens: a client, or node 2 with the peers 1 and 3. The rest is a frame.
 * The mutator mends length and checksum of most inputs, so that the checks behind them are reached.
 */
#include "engine/base/prng.h"
#include "engine/wire.h"
#include "tests/support/frames.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER 0x9f3c0a4e5b6d7788ull
#define BOOT    7u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

static struct wire_self listener(uint8_t mode)
{
    bool client = (mode & 1) != 0;
    return (struct wire_self){
        .cluster = CLUSTER,
        .boot = BOOT,
        .node = client ? 0 : 2,
        .peers = client ? 0 : 1u << 1 | 1u << 3,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > FRAME_BYTES_MAX + 64) {
        return 0;
    }
    struct wire_self self = listener(data[0]);
    struct wire_frame frame;
    struct wire_frame again;
    struct wire_counters counters = {0};
    /* In memory of its own, so that a byte read past the end is seen. */
    uint32_t bytes = (uint32_t)size - 1;
    uint8_t *copy = malloc(bytes + 1);
    ASSERT(copy != NULL);
    memcpy(copy, data + 1, bytes);
    uint8_t *exact = realloc(copy, bytes == 0 ? 1 : bytes);
    ASSERT(exact != NULL);
    enum wire_reason reason = wire_decode(&self, exact, bytes, &frame, &counters);
    ASSERT(((const uint64_t *)(const void *)&counters)[reason] == 1);
    if (reason == WIRE_DROP_ok) {
        static uint8_t written[FRAME_BYTES_MAX];
        ASSERT(frame_write(&frame, written) == bytes);
        ASSERT(memcmp(written, exact, bytes) == 0);
        ASSERT(wire_decode(&self, written, bytes, &again, &counters) == WIRE_DROP_ok);
        ASSERT(frame_equal(&frame, &again));
    }
    free(exact);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    size = LLVMFuzzerMutate(data, size, max_size);
    if (size <= WIRE_HEADER_BYTES || size > FRAME_BYTES_MAX || prng_chance(&prng, 100000)) {
        return size;
    }
    uint8_t *frame = data + 1;
    if (prng_chance(&prng, 900000)) {
        const uint32_t magic = WIRE_MAGIC;
        const uint64_t cluster = CLUSTER;
        memcpy(frame, &magic, sizeof magic);
        frame[4] = WIRE_VERSION;
        frame[5] = 0;
        memcpy(frame + 24, &cluster, sizeof cluster);
        memset(frame + 72, 0, WIRE_TAG_BYTES);
    }
    frame_mend(frame, (uint32_t)size - 1);
    return size;
}
