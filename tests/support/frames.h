/* frames.h: sound frames of every kind with random fields, for tests of the codec and corpora.
 */
#ifndef TESTS_SUPPORT_FRAMES_H
#define TESTS_SUPPORT_FRAMES_H

#include "engine/base/prng.h"
#include "engine/wire.h"

#include <stdbool.h>
#include <stdint.h>

extern const enum wire_kind frame_kinds[];
extern const uint32_t frame_kind_count;

/* A frame of this kind that wire_decode() takes. Its payload, if any, is written to `payload`
 * (FRAME_BYTES_MAX bytes), to which the frame points. */
void frame_random(struct prng *prng,
                  enum wire_kind kind,
                  struct wire_frame *frame,
                  uint8_t *payload);

/* Whoever may receive it. */
void frame_receiver(const struct wire_frame *frame, struct wire_self *self);

/* Head and payload, one behind the other; returns their length. */
uint32_t frame_write(const struct wire_frame *frame, uint8_t *bytes);

/* Make the length and the checksum right again after a change. Any bytes may be given; those that
 * are no frame stay as they are. */
void frame_mend(uint8_t *bytes, uint32_t frame_bytes);

bool frame_equal(const struct wire_frame *a, const struct wire_frame *b);

#endif
