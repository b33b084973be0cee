/* test_wire_frames.h: a sound frame, one field of it changed, and what becomes of it. */
#ifndef TESTS_UNIT_TEST_WIRE_FRAMES_H
#define TESTS_UNIT_TEST_WIRE_FRAMES_H

#include "engine/wire.h"
#include "tests/support/frames.h"

#include <stdint.h>

/* The little endian integer of `count` bytes. */
uint64_t bytes_le(const uint8_t *bytes, uint32_t count);

/* What becomes of these bytes; that it is counted by its reason is asserted. */
enum wire_reason frame_decode(const struct wire_self *self, const uint8_t *bytes, uint32_t count);

/* A frame of this kind that decodes, encoded, and who receives it. Returns its bytes. */
uint32_t frame_make(struct prng *prng, enum wire_kind kind, uint8_t *bytes, struct wire_self *self);

/* Make one, put these bytes of a value at byte `at`, mend its checksum; what becomes of it? */
enum wire_reason frame_after(enum wire_kind kind, uint32_t at, uint64_t value, uint32_t count);

#endif
