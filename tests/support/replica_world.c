/* replica_world.c: see replica_world.h. */
#include "tests/support/replica_world.h"

#include "storage/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t held_submit(struct disk *disk, const struct disk_io *ios, uint32_t count)
{
    struct held_disk *held = (struct held_disk *)(void *)disk;
    return disk_submit(held->inner, ios, count);
}

static uint32_t held_poll(struct disk *disk, struct disk_done *done, uint32_t done_max)
{
    struct held_disk *held = (struct held_disk *)(void *)disk;
    return held->held ? 0 : disk_poll(held->inner, done, done_max);
}

static int held_wait_fd(const struct disk *disk)
{
    (void)disk;
    return -1;
}

static void held_close(struct disk *disk)
{
    (void)disk;
}

static const struct disk_ops held_ops = {
    .submit = held_submit, .poll = held_poll, .wait_fd = held_wait_fd, .close = held_close};

static struct disk *held_open(struct held_disk *held, struct disk *inner)
{
    *held = (struct held_disk){.disk = {.ops = &held_ops, .bytes = inner->bytes}, .inner = inner};
    return &held->disk;
}

static struct replica_config config_of(const struct world *w, uint32_t i, uint64_t retention_bytes)
{
    struct replica_config config = {.cluster = WORLD_CLUSTER,
                                    .self = (uint8_t)(i + 1),
                                    .node_count = WORLD_NODES,
                                    .election_min_ns = 150000000,
                                    .election_max_ns = 300000000,
                                    .heartbeat_ns = 15000000,
                                    .catchup_bytes_per_s = CATCHUP_BYTES_PER_S,
                                    .scrub_bytes_per_s = w->scrub_bytes_per_s,
                                    .scrub_every_ns = w->scrub_every_ns,
                                    .disk_stall_ns = 1000000000,
                                    .log_memory_bytes = LOG_MEMORY_MIN,
                                    .retention_bytes = retention_bytes,
                                    .seed = 5};
    for (uint32_t k = 0; k < WORLD_NODES; k++) {
        config.nodes[k] =
            (struct replica_node){.id = (uint8_t)(k + 1), .address = w->net.ports[k].nic.self};
    }
    return config;
}

/* Start node `i` on its disk. */
static void replica_begin(struct world *w, uint32_t i, uint64_t retention_bytes)
{
    struct replica_config *config = &w->config[i];
    *config = config_of(w, i, retention_bytes);
    struct disk *disk = held_open(&w->disk[i], w->inner[i]);
    struct fault fault = {0};
    int result = mem_open(&w->mems[i], replica_memory_bytes(config));
    assert_int_equal(result, 0);
    w->replica[i] = replica_create(&w->mems[i], config, &w->net.ports[i].nic, disk);
    mem_seal(&w->mems[i]);
    result = replica_open(w->replica[i], w->now_ns, &fault);
    if (result != 0) {
        print_error("%s\n", fault.text);
    }
    assert_int_equal(result, 0);
}

static struct world *world_new(uint64_t scrub_bytes_per_s, uint64_t scrub_every_ns)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->scrub_bytes_per_s = scrub_bytes_per_s;
    w->scrub_every_ns = scrub_every_ns;
    return w;
}

static void world_begin(struct world *w,
                        uint32_t frame_bytes_max,
                        uint64_t retention_bytes,
                        const uint64_t disk_bytes[WORLD_NODES])
{
    loop_net_open(&w->net, WORLD_NODES + 1, frame_bytes_max);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        bytes += disk_memory_memory_bytes(disk_bytes[i]) + PAGE_BYTES;
    }
    int result = mem_open(&w->disks, bytes);
    assert_int_equal(result, 0);
    uint8_t *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->inner[i] = disk_memory_open(&w->disks, disk_bytes[i]);
        struct format_config format = {.cluster = WORLD_CLUSTER,
                                       .store = 1000 + i,
                                       .node = (uint8_t)(i + 1),
                                       .segment_bytes = SEGMENT_BYTES_MIN};
        struct geometry geometry;
        struct fault fault = {0};
        result = storage_format(w->inner[i], &format, page, &geometry, &fault);
        assert_int_equal(result, 0);
        replica_begin(w, i, retention_bytes);
    }
    free(page);
}

struct world *world_open_sizes(uint32_t frame_bytes_max,
                               uint64_t retention_bytes,
                               const uint64_t disk_bytes[WORLD_NODES])
{
    struct world *w = world_new(SCRUB_BYTES_PER_S, 100ull * WORLD_MS);
    world_begin(w, frame_bytes_max, retention_bytes, disk_bytes);
    return w;
}

static const uint64_t equal_disks[WORLD_NODES] = {WORLD_DISK_BYTES, WORLD_DISK_BYTES,
                                                  WORLD_DISK_BYTES};

struct world *world_open(uint32_t frame_bytes_max, uint64_t retention_bytes)
{
    return world_open_sizes(frame_bytes_max, retention_bytes, equal_disks);
}

struct world *
world_open_scrub(uint32_t frame_bytes_max, uint64_t scrub_bytes_per_s, uint64_t scrub_every_ns)
{
    struct world *w = world_new(scrub_bytes_per_s, scrub_every_ns);
    world_begin(w, frame_bytes_max, 0, equal_disks);
    return w;
}

void world_restart(struct world *w, uint64_t retention_bytes)
{
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        struct disk_done done;
        while (disk_poll(w->inner[i], &done, 1) > 0) {
        }
        mem_close(&w->mems[i]);
    }
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        replica_begin(w, i, retention_bytes);
    }
}

void world_close(struct world *w)
{
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        mem_close(&w->mems[i]);
    }
    mem_close(&w->disks);
    loop_net_close(&w->net);
    free(w);
}

static void client_receive(struct world *w)
{
    struct nic *nic = &w->net.ports[WORLD_NODES].nic;
    struct nic_frame frames[RX_BURST_MAX];
    struct wire_counters counters = {0};
    struct wire_self self = {.cluster = WORLD_CLUSTER, .boot = 1};
    uint32_t count = nic_rx_burst(nic, frames, RX_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct wire_frame frame;
        enum wire_reason reason =
            wire_decode(&self, frames[i].data, frames[i].bytes, &frame, &counters);
        assert_int_equal(reason, WIRE_DROP_ok);
        if (frame.header.kind == WIRE_REPLY) {
            assert_true(w->answer_count < 4096);
            w->answers[w->answer_count++] =
                (struct answer){.first_sequence = frame.reply.first_sequence,
                                .first_offset = frame.reply.first_offset,
                                .count = frame.reply.record_count,
                                .status = frame.reply.status,
                                .leader = frame.reply.leader};
        } else if (frame.header.kind == WIRE_TRANSFER_REPLY) {
            assert_int_equal(frame.header.token, w->transfer_replies + 1);
            w->transfer_reply = frame.transfer_reply;
            w->transfer_replies++;
        } else if (frame.header.kind == WIRE_STATUS_REPLY) {
            w->status_reply = frame.status_reply;
            w->status_replies++;
        } else {
            assert_int_equal(frame.header.kind, WIRE_READ_REPLY);
            w->read_reply = frame.read_reply;
            memcpy(w->read_payload, frame.payload, frame.payload_bytes);
            w->read_bytes = frame.payload_bytes;
            w->read_replies++;
        }
    }
    nic_rx_release(nic, frames, count);
}

void world_run_by(struct world *w, uint32_t iterations, uint64_t step_ns)
{
    for (uint32_t i = 0; i < iterations; i++) {
        w->now_ns += step_ns;
        for (uint32_t n = 0; n < WORLD_NODES; n++) {
            (void)replica_poll(w->replica[n], w->now_ns);
        }
        client_receive(w);
    }
}

void world_run(struct world *w, uint32_t iterations)
{
    world_run_by(w, iterations, WORLD_STEP_NS);
}

uint32_t world_leader(struct world *w)
{
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        struct replica_status status;
        replica_status(w->replica[i], &status);
        if (status.role == RAFT_LEADER && status.takes_proposals) {
            return i;
        }
    }
    return WORLD_NODES;
}

uint32_t world_wait_leader(struct world *w)
{
    for (uint32_t i = 0; i < 2000 && world_leader(w) == WORLD_NODES; i++) {
        world_run(w, 100);
    }
    uint32_t leader = world_leader(w);
    assert_true(leader < WORLD_NODES);
    return leader;
}

void world_send_record(struct world *w, uint32_t node, uint64_t sequence, uint32_t bytes)
{
    static uint8_t records[ENTRY_BYTES_MAX];
    uint32_t total = record_body_bytes(bytes);
    memset(records, 0, total);
    struct record_header header = {.bytes = bytes, .session = 0, .sequence = sequence};
    memcpy(records, &header, sizeof header);
    for (uint32_t i = 0; i < bytes; i++) {
        records[sizeof header + i] = (uint8_t)(sequence + i);
    }
    struct nic *nic = &w->net.ports[WORLD_NODES].nic;
    uint32_t part = wire_request_bytes(nic->frame_bytes_max);
    for (uint32_t at = 0; at < total; at += part) {
        struct wire_frame frame = {
            .header = {.kind = WIRE_REQUEST,
                       .to = (uint8_t)(node + 1),
                       .cluster = WORLD_CLUSTER,
                       .from_store = WORLD_CLIENT_ID,
                       .from_boot = 1,
                       .token = sequence},
            .request = {.first_sequence = sequence,
                        .record_count = 1,
                        .request_bytes = total,
                        .offset = at},
            .payload = records + at,
            .payload_bytes = total - at < part ? total - at : part,
        };
        uint8_t head[WIRE_HEAD_BYTES_MAX];
        uint32_t head_bytes = wire_encode(&frame, head);
        struct nic_send send = {.to = w->net.ports[node].nic.self,
                                .head = head,
                                .head_bytes = head_bytes,
                                .body = frame.payload,
                                .body_bytes = frame.payload_bytes};
        (void)nic_tx_burst(nic, &send, 1);
    }
}

void world_ask(struct world *w, uint32_t node, struct wire_frame *frame)
{
    frame->header.to = (uint8_t)(node + 1);
    frame->header.cluster = WORLD_CLUSTER;
    frame->header.from_store = WORLD_CLIENT_ID;
    frame->header.from_boot = 1;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    uint32_t head_bytes = wire_encode(frame, head);
    struct nic_send send = {
        .to = w->net.ports[node].nic.self, .head = head, .head_bytes = head_bytes};
    (void)nic_tx_burst(&w->net.ports[WORLD_NODES].nic, &send, 1);
}

void world_send_read(struct world *w, uint32_t node, uint64_t offset, uint32_t skip)
{
    struct wire_frame frame = {.header = {.kind = WIRE_READ, .token = offset + 1},
                               .read = {.offset = offset, .skip = skip}};
    world_ask(w, node, &frame);
}

enum raft_transfer world_ask_transfer(struct world *w, uint32_t node, uint8_t to)
{
    struct wire_frame frame = {.header = {.kind = WIRE_TRANSFER, .token = w->transfer_replies + 1},
                               .transfer = {.to = to}};
    uint32_t before = w->transfer_replies;
    world_ask(w, node, &frame);
    world_run(w, 1);
    assert_int_equal(w->transfer_replies, before + 1); /* One frame out for one frame in. */
    return (enum raft_transfer)w->transfer_reply.outcome;
}

struct wire_status_reply world_ask_status(struct world *w, uint32_t node)
{
    struct wire_frame frame = {.header = {.kind = WIRE_STATUS, .token = 1}};
    uint32_t before = w->status_replies;
    world_ask(w, node, &frame);
    world_run(w, 1);
    assert_int_equal(w->status_replies, before + 1);
    return w->status_reply;
}

uint64_t world_commit_index(struct world *w, uint32_t node)
{
    struct replica_status status;
    replica_status(w->replica[node], &status);
    return status.commit_index;
}

uint32_t world_other_leader(struct world *w, uint32_t than)
{
    for (uint32_t i = 0; i < 1000; i++) {
        world_run(w, 100);
        for (uint32_t n = 0; n < WORLD_NODES; n++) {
            struct replica_status status;
            replica_status(w->replica[n], &status);
            if (n != than && status.role == RAFT_LEADER && status.takes_proposals) {
                return n;
            }
        }
    }
    fail();
    return WORLD_NODES;
}
