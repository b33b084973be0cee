/* cluster_model.c: see cluster_model.h. */
#include "tests/support/cluster_model.h"

#include <stdlib.h>
#include <string.h>

static struct cluster_model *of_nic(struct nic *nic)
{
    return (struct cluster_model *)(void *)nic;
}

static bool is_lost(struct cluster_model *model)
{
    return prng_chance(&model->prng, model->lose_ppm);
}

uint8_t model_byte(uint64_t offset, uint32_t at)
{
    return (uint8_t)(offset * 31 + at + (at >> 8) * 7);
}

void model_append(struct cluster_model *model, uint32_t bytes)
{
    ASSERT(model->record_count < MODEL_RECORDS);
    struct model_record *record = &model->records[model->record_count];
    record->bytes = bytes;
    record->payload = malloc(bytes + 1);
    ASSERT(record->payload != NULL);
    for (uint32_t i = 0; i < bytes; i++) {
        record->payload[i] = model_byte(model->record_count, i);
    }
    model->record_count++;
}

/* Put a node's answer on its way. */
static void answer(struct cluster_model *model, uint8_t from, struct wire_frame *frame)
{
    if (is_lost(model)) {
        return;
    }
    ASSERT(model->due_count < MODEL_DUE_MAX);
    uint64_t token = frame->header.token;
    frame->header = (struct wire_header){
        .kind = frame->header.kind,
        .from = from,
        .cluster = MODEL_CLUSTER,
        .from_store = 9,
        .from_boot = 1,
        .to_boot = MODEL_CLIENT,
        .token = token,
    };
    uint8_t *to = model->due[model->due_count];
    uint32_t head_bytes = wire_encode(frame, to);
    if (frame->payload_bytes > 0) {
        memcpy(to + head_bytes, frame->payload, frame->payload_bytes);
    }
    model->due_bytes[model->due_count++] = head_bytes + frame->payload_bytes;
}

static uint8_t named(const struct cluster_model *model, uint8_t node)
{
    return model->believes[node] != 0 ? model->believes[node] : model->leader;
}

/* One frame of records from the offset on, as the reader cuts them. */
static void fill(struct cluster_model *model, struct wire_frame *frame, uint8_t *payload)
{
    struct wire_read_reply *reply = &frame->read_reply;
    uint32_t room = model->nic.frame_bytes_max - wire_head_bytes(WIRE_READ_REPLY);
    uint32_t skip = reply->skip;
    reply->term = 5;
    for (uint64_t offset = reply->offset; offset < reply->committed_offset; offset++) {
        const struct model_record *record = &model->records[offset];
        uint32_t bytes = record->bytes - (skip > record->bytes ? record->bytes : skip);
        if (frame->payload_bytes + record_body_bytes(bytes) > room) {
            if (reply->record_count > 0) {
                return;
            }
            bytes = (room - RECORD_HEADER_BYTES) & ~7u;
            reply->partial = true;
        }
        struct record_header header = {
            .bytes = bytes, .session = MODEL_SESSION, .sequence = offset + 1};
        uint8_t *to = payload + frame->payload_bytes;
        memset(to, 0, record_body_bytes(bytes));
        memcpy(to, &header, sizeof header);
        memcpy(to + sizeof header, record->payload + skip, bytes);
        frame->payload_bytes += record_body_bytes(bytes);
        reply->record_count++;
        skip = 0;
        if (reply->partial) {
            return;
        }
    }
}

static void read_take(struct cluster_model *model, uint8_t node, const struct wire_frame *ask)
{
    static uint8_t payload[FRAME_BYTES_MAX];
    uint64_t behind = model->behind[node];
    uint64_t committed = model->record_count > behind ? model->record_count - behind : 0;
    struct wire_frame frame = {
        .header = {.kind = WIRE_READ_REPLY, .token = ask->header.token},
        .read_reply = {.offset = ask->read.offset,
                       .start_offset = model->start_offset,
                       .committed_offset = committed,
                       .skip = ask->read.skip,
                       .leader = named(model, node)},
        .payload = payload,
    };
    model->reads++;
    if (ask->read.linearizable && node != model->leader) {
        frame.read_reply.status = WIRE_NOT_LEADER;
    } else if (ask->read.offset < model->start_offset) {
        frame.read_reply.status = WIRE_TRIMMED;
    } else if (ask->read.offset < committed) {
        fill(model, &frame, payload);
    }
    answer(model, node, &frame);
}

static uint32_t model_tx(struct nic *nic, const struct nic_send *sends, uint32_t count)
{
    struct cluster_model *model = of_nic(nic);
    static uint8_t bytes[FRAME_BYTES_MAX];
    for (uint32_t i = 0; i < count; i++) {
        uint8_t node = (uint8_t)(sends[i].to.ipv4 & 255u);
        memcpy(bytes, sends[i].head, sends[i].head_bytes);
        if (sends[i].body_bytes > 0) {
            memcpy(bytes + sends[i].head_bytes, sends[i].body, sends[i].body_bytes);
        }
        struct wire_self self = {.cluster = MODEL_CLUSTER, .node = node};
        struct wire_counters counters = {0};
        struct wire_frame frame;
        enum wire_reason reason =
            wire_decode(&self, bytes, sends[i].head_bytes + sends[i].body_bytes, &frame, &counters);
        ASSERT(reason == WIRE_DROP_ok);
        ASSERT(frame.header.kind == WIRE_READ);
        if (!model->dead[node] && !is_lost(model)) {
            read_take(model, node, &frame);
        }
    }
    return count;
}

static uint32_t model_rx(struct nic *nic, struct nic_frame *frames, uint32_t frames_max)
{
    struct cluster_model *model = of_nic(nic);
    uint32_t count = 0;
    for (; count < frames_max && model->due_taken < model->due_count; count++) {
        frames[count] = (struct nic_frame){.data = model->due[model->due_taken],
                                           .bytes = model->due_bytes[model->due_taken]};
        model->due_taken++;
    }
    return count;
}

static void model_release(struct nic *nic, const struct nic_frame *frames, uint32_t count)
{
    struct cluster_model *model = of_nic(nic);
    (void)frames;
    (void)count;
    if (model->due_taken == model->due_count) {
        model->due_taken = model->due_count = 0;
    }
}

static const struct nic_ops model_ops = {
    .rx_burst = model_rx, .rx_release = model_release, .tx_burst = model_tx};

struct cluster_model *model_open(uint32_t frame_bytes_max, uint64_t seed)
{
    struct cluster_model *model = calloc(1, sizeof *model);
    ASSERT(model != NULL);
    model->nic.ops = &model_ops;
    model->nic.frame_bytes_max = frame_bytes_max;
    model->leader = 1;
    prng_init(&model->prng, seed);
    return model;
}

void model_close(struct cluster_model *model)
{
    for (uint32_t i = 0; i < model->record_count; i++) {
        free(model->records[i].payload);
    }
    free(model);
}

struct client_config model_client_config(void)
{
    struct client_config config = {
        .cluster = MODEL_CLUSTER,
        .id = MODEL_CLIENT,
        .node_count = MODEL_NODES,
        .outstanding_max = REQUEST_RECORDS_MAX,
        .timeout_ns = 1000000000,
        .read_timeout_ns = 1000000,
        .seed = 1,
    };
    for (uint32_t i = 0; i < MODEL_NODES; i++) {
        config.nodes[i] =
            (struct client_node){(uint8_t)(i + 1), {.ipv4 = 0x0a000001 + i, .port = 7000}};
    }
    return config;
}
