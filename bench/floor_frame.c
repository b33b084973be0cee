/* floor_frame.c: frames of the floor, and the client's side of it. */
#include "bench/floor_frame.h"

#include "bench/floor.h"
#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/wire.h"

#include <string.h>

/* The engine's frame of the same purpose, whose head is as long. */
static enum wire_kind same_kind(enum floor_frame_kind kind)
{
    switch (kind) {
    case FLOOR_REQUEST:
        return WIRE_REQUEST;
    case FLOOR_REPLY:
        return WIRE_REPLY;
    case FLOOR_FORWARD:
        return WIRE_ENTRY;
    case FLOOR_ACK:
    case FLOOR_ECHO:
    case FLOOR_ECHO_REPLY:
    case FLOOR_BEGIN:
    case FLOOR_BEGUN:
        return WIRE_ACK;
    }
    ASSERT(false);
    return WIRE_ACK;
}

static void send_one(struct nic *nic,
                     struct nic_address to,
                     const struct floor_frame *frame,
                     const uint8_t *body,
                     uint32_t body_bytes)
{
    uint8_t head[WIRE_HEAD_BYTES_MAX] = {0};
    struct floor_frame sent = *frame;
    sent.magic = FLOOR_MAGIC;
    memcpy(head, &sent, sizeof(sent));
    struct nic_send send = {.to = to,
                            .head = head,
                            .body = body,
                            .head_bytes = wire_head_bytes(same_kind(frame->kind)),
                            .body_bytes = body_bytes};
    ASSERT(send.head_bytes >= sizeof(sent));
    (void)nic_tx_burst(nic, &send, 1); /* A frame that is dropped is a round that is lost. */
}

void floor_frame_send(struct nic *nic,
                      struct nic_address to,
                      const struct floor_frame *frame,
                      const uint8_t *body)
{
    send_one(nic, to, frame, body, body != NULL ? frame->bytes : 0);
}

void floor_frame_send_all(struct nic *nic,
                          struct nic_address to,
                          const struct floor_frame *frame,
                          const uint8_t *body)
{
    ASSERT(frame->bytes <= ENTRY_BYTES_MAX);
    uint32_t room = nic->frame_bytes_max - wire_head_bytes(same_kind(frame->kind));
    uint32_t at = 0;
    do {
        uint32_t left = frame->bytes - at;
        uint32_t bytes = left < room ? left : room;
        struct floor_frame fragment = *frame;
        fragment.last = bytes == left;
        send_one(nic, to, &fragment, bytes > 0 ? body + at : NULL, bytes);
        at += bytes;
    } while (at < frame->bytes);
}

bool floor_frame_decode(const struct nic_frame *received, struct floor_frame *frame)
{
    if (received->bytes < sizeof(*frame)) {
        return false;
    }
    memcpy(frame, received->data, sizeof(*frame));
    return frame->magic == FLOOR_MAGIC;
}

void floor_client_send(void *context, uint64_t first_sequence, uint32_t count, uint64_t now_ns)
{
    (void)now_ns;
    struct floor_client *client = context;
    uint32_t record_bytes = record_body_bytes(client->record_bytes);
    uint32_t room = client->nic->frame_bytes_max - wire_head_bytes(WIRE_REQUEST);
    uint32_t most = room / record_bytes;
    most = most == 0 ? 1 : most < REQUEST_RECORDS_MAX ? most : REQUEST_RECORDS_MAX;
    for (uint32_t sent = 0; sent < count;) {
        uint32_t records = count - sent < most ? count - sent : most;
        struct floor_frame frame = {.kind = FLOOR_REQUEST,
                                    .id = first_sequence + sent,
                                    .count = records,
                                    .bytes = records * record_bytes};
        floor_frame_send_all(client->nic, client->leader, &frame, client->bytes);
        sent += records;
    }
}

void floor_client_echo(struct floor_client *client, uint64_t now_ns)
{
    if (client->echo_began_ns != 0) {
        return;
    }
    client->echo_began_ns = now_ns;
    struct floor_frame frame = {.kind = FLOOR_ECHO, .id = ++client->echo_id, .last = 1};
    floor_frame_send(client->nic, client->leader, &frame, NULL);
}

void floor_client_begin(struct floor_client *client, enum floor_mode mode, uint32_t write_pages)
{
    struct floor_frame frame = {.kind = FLOOR_BEGIN,
                                .last = 1,
                                .mode = (uint16_t)mode,
                                .id = client->begin_id,
                                .count = write_pages};
    floor_frame_send(client->nic, client->leader, &frame, NULL);
}

uint32_t floor_client_poll(struct floor_client *client, uint64_t now_ns)
{
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t count = nic_rx_burst(client->nic, frames, RX_BURST_MAX);
    if (count > 0) {
        now_ns = clock_now_ns(); /* An answer may come in the iteration that asked. */
    }
    for (uint32_t i = 0; i < count; i++) {
        struct floor_frame frame;
        if (!floor_frame_decode(&frames[i], &frame)) {
            continue;
        }
        if (frame.kind == FLOOR_REPLY) {
            load_answered(client->load, frame.id, frame.count, WIRE_OK, now_ns);
        } else if (frame.kind == FLOOR_ECHO_REPLY && frame.id == client->echo_id) {
            histogram_record(client->echo_ns, now_ns - client->echo_began_ns);
            client->echo_began_ns = 0;
        } else if (frame.kind == FLOOR_BEGUN && frame.id == client->begin_id) {
            client->begun = true;
        }
    }
    nic_rx_release(client->nic, frames, count);
    return count;
}
