/* floor_frame.h: the frames of the commit floor: as long as the engine's, and hardly looked at. */
#ifndef BENCH_FLOOR_FRAME_H
#define BENCH_FLOOR_FRAME_H

#include "net/nic.h"

#include <stdbool.h>
#include <stdint.h>

#define FLOOR_MAGIC           0x4c464854u /* "THFL" */
#define FLOOR_FRAME_BYTES_MIN 24u

enum floor_frame_kind {
    FLOOR_REQUEST = 1,
    FLOOR_REPLY,
    FLOOR_FORWARD,
    FLOOR_ACK,
    FLOOR_ECHO,
    FLOOR_ECHO_REPLY,
    FLOOR_BEGIN,
    FLOOR_BEGUN,
};

struct floor_frame {
    uint32_t magic; /* Set by the sending functions. */
    uint8_t kind;   /* enum floor_frame_kind */
    uint8_t last;   /* Of its fragments. */
    uint16_t mode;  /* enum floor_mode, of FLOOR_BEGIN. */
    uint64_t id;    /* First sequence, round, echo or beginning. */
    uint32_t count; /* Records, or pages to write. */
    uint32_t bytes; /* Of all fragments' payloads. */
};

_Static_assert(sizeof(struct floor_frame) == FLOOR_FRAME_BYTES_MIN, "a frame is at least its head");

/* Send one frame with the head of its kind in the engine, and `frame->bytes` of body if there is
 * one; floor_frame_send_all() in as many fragments as it takes. */
void floor_frame_send(struct nic *nic,
                      struct nic_address to,
                      const struct floor_frame *frame,
                      const uint8_t *body);
void floor_frame_send_all(struct nic *nic,
                          struct nic_address to,
                          const struct floor_frame *frame,
                          const uint8_t *body);

/* False: not a frame of the floor. */
MUST_USE bool floor_frame_decode(const struct nic_frame *received, struct floor_frame *frame);

#endif
