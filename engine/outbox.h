/* outbox.h: frames on their way to the nic, gathered into bursts.
 *
 * Heads are encoded here; payloads stay where they are until outbox_flush(), at the latest at the
 * end of the iteration. Frames that the nic does not take are lost and counted there, as on a
 * network.
 */
#ifndef ENGINE_OUTBOX_H
#define ENGINE_OUTBOX_H

#include "engine/wire.h"
#include "net/nic.h"

#include <stdint.h>

struct outbox {
    struct nic *nic;
    uint32_t count;
    struct nic_send sends[TX_BURST_MAX];
    uint8_t heads[TX_BURST_MAX][WIRE_HEAD_BYTES_MAX];
};

/* Queue a frame. `frame->payload` must not change before the next flush. Flushes when full. */
void outbox_put(struct outbox *outbox, struct nic_address to, const struct wire_frame *frame);

/* The same, with leave for the nic to read the payload later. */
void outbox_put_pinned(struct outbox *outbox,
                       struct nic_address to,
                       const struct wire_frame *frame,
                       struct nic_pin pin);

/* Hand everything to the nic. Returns the number of frames. */
uint32_t outbox_flush(struct outbox *outbox);

#endif
