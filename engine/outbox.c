/* outbox.c: frames gathered into bursts. See outbox.h. */
#include "engine/outbox.h"

uint32_t outbox_flush(struct outbox *outbox)
{
    uint32_t count = outbox->count;
    if (count > 0) {
        (void)nic_tx_burst(outbox->nic, outbox->sends, count);
        outbox->count = 0;
    }
    return count;
}

void outbox_put(struct outbox *outbox, struct nic_address to, const struct wire_frame *frame)
{
    outbox_put_pinned(outbox, to, frame, (struct nic_pin){0});
}

void outbox_put_pinned(struct outbox *outbox,
                       struct nic_address to,
                       const struct wire_frame *frame,
                       struct nic_pin pin)
{
    ASSERT(outbox->count < TX_BURST_MAX);
    uint8_t *head = outbox->heads[outbox->count];
    uint32_t head_bytes = wire_encode(frame, head);
    ASSERT(head_bytes <= WIRE_HEAD_BYTES_MAX);
    ASSERT(head_bytes + frame->payload_bytes <= outbox->nic->frame_bytes_max);
    outbox->sends[outbox->count++] = (struct nic_send){
        .to = to,
        .head = head,
        .head_bytes = head_bytes,
        .body = frame->payload,
        .body_bytes = frame->payload_bytes,
        .pin = pin,
    };
    if (outbox->count == TX_BURST_MAX) {
        (void)outbox_flush(outbox);
    }
}
