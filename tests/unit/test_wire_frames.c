/* test_wire_frames.c: see test_wire_frames.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/test_wire_frames.h"

uint64_t bytes_le(const uint8_t *bytes, uint32_t count)
{
    uint64_t value = 0;
    for (uint32_t i = count; i > 0; i--) {
        value = value << 8 | bytes[i - 1];
    }
    return value;
}

enum wire_reason frame_decode(const struct wire_self *self, const uint8_t *bytes, uint32_t count)
{
    struct wire_frame out;
    struct wire_counters counters = {0};
    enum wire_reason reason = wire_decode(self, bytes, count, &out, &counters);
    assert_int_equal(((const uint64_t *)(const void *)&counters)[reason], 1);
    return reason;
}

uint32_t frame_make(struct prng *prng, enum wire_kind kind, uint8_t *bytes, struct wire_self *self)
{
    struct wire_frame frame;
    static uint8_t payload[FRAME_BYTES_MAX];
    frame_random(prng, kind, &frame, payload);
    frame_receiver(&frame, self);
    return frame_write(&frame, bytes);
}

enum wire_reason frame_after(enum wire_kind kind, uint32_t at, uint64_t value, uint32_t count)
{
    struct prng prng;
    prng_init(&prng, 7);
    uint8_t bytes[FRAME_BYTES_MAX];
    struct wire_self self;
    uint32_t frame_bytes = frame_make(&prng, kind, bytes, &self);
    assert_int_equal(frame_decode(&self, bytes, frame_bytes), WIRE_DROP_ok);
    for (uint32_t i = 0; i < count; i++) {
        bytes[at + i] = (uint8_t)(value >> (8 * i));
    }
    frame_mend(bytes, frame_bytes);
    return frame_decode(&self, bytes, frame_bytes);
}
