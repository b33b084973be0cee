/* fuzz_world.c: see fuzz_world.h.
 */
#include "tests/fuzz/fuzz_world.h"

#include "engine/raft/raft.h"
#include "storage/disk_memory.h"
#include "storage/format.h"
#include "tests/support/loop_nic.h"

#include <stdlib.h>
#include <string.h>

#define DISK_BYTES      (3ull << 20)
#define PEER_DISK_BYTES (16ull << 20)
#define FRAME_MAX       1472u
#define STEPS_MAX       20000u
#define TO_BOOT_AT      48u /* In a frame's header: whose receiver it is for. */
#define PORT            7000u
#define RETENTION_BYTES (3ull * SEGMENT_BYTES_MIN)
/* Frames to peers that one poll may cause: what a drain may send each, and one answer a frame. */
#define PEER_FRAMES_MAX (STREAM_FRAGMENTS_PER_DRAIN + 16u)
/* A repeated request is answered once for each run in which its records went. */
#define ANSWERS_MAX (SESSION_RUNS_MAX + 1u)

/* The cluster around node 2, while it is whole. Port 3 is client 0. */
struct stage {
    struct loop_net net;
    struct mem disks;
    struct mem mems[FUZZ_NODES + 1];
    struct replica *replicas[FUZZ_NODES + 1];
    struct fuzz_world *world;
    uint64_t now_ns;
    uint64_t peers_ns; /* Theirs, while it is frozen: they stand for no election. */
    bool frozen;
};

static struct keep keeps[FUZZ_STAGE_COUNT];

struct nic_address fuzz_node_address(uint8_t node)
{
    return (struct nic_address){.ipv4 = 0x0a000000u + node, .port = PORT};
}

struct nic_address fuzz_client_address(uint32_t client)
{
    return fuzz_node_address((uint8_t)(FUZZ_NODES + 1 + client));
}

struct fuzz_entry fuzz_world_entry(const struct fuzz_world *world, uint64_t index)
{
    const struct fuzz_entry *entry = &world->entries[index % FUZZ_ENTRIES_MAX];
    return entry->index == index ? *entry : (struct fuzz_entry){0};
}

void fuzz_world_know(struct fuzz_world *world, const struct fuzz_entry *entry)
{
    world->entries[entry->index % FUZZ_ENTRIES_MAX] = *entry;
}

/* What is committed is applied in order, each entry once; the first boundary of a segment is noted.
 */
static void on_apply(void *context, uint8_t node, const uint8_t *entry)
{
    struct fuzz_world *world = context;
    const struct entry_header *header = entry_header_of(entry);
    ASSERT(node == FUZZ_SELF);
    ASSERT(header->index == world->applied_index + 1);
    world->applied_index = header->index;
    uint64_t end = header->position + (uint64_t)header->pages * PAGE_BYTES;
    if (world->boundary.position == 0 && end >= SEGMENT_BYTES_MIN) {
        world->boundary = (struct log_start){
            .position = end,
            .last = {.term = header->term, .index = header->index},
            .offset = header->first_offset + header->record_count,
        };
    }
}

/* ---- The network of node 2. ---- */

/* FUZZ_CLIENTS: it is none. */
static uint32_t client_of(struct nic_address address)
{
    uint32_t client = 0;
    while (client < FUZZ_CLIENTS && !nic_address_equal(address, fuzz_client_address(client))) {
        client++;
    }
    return client;
}

/* Only who asked is answered, and only as often. */
static void watch_client_frame(struct fuzz_world *world, struct nic_address to)
{
    uint32_t client = client_of(to);
    ASSERT(client < FUZZ_CLIENTS);
    ASSERT(world->questions[client] > 0);
    world->questions[client]--;
}

/* What it promises when it sends this, and what that tells of its log. */
static void watch_promise(struct fuzz_world *world, const struct wire_frame *frame)
{
    if (frame->header.kind == WIRE_ACK && frame->ack.durable_index > world->acked_index) {
        world->acked_index = frame->ack.durable_index;
    }
    bool votes = frame->header.kind == WIRE_VOTE_REPLY && frame->message.vote_reply.granted;
    if ((votes || frame->header.kind == WIRE_ACK) && frame->header.term > world->promised_term) {
        world->promised_term = frame->header.term;
        world->promised_vote = RAFT_NOBODY;
    }
    if (votes && frame->header.term == world->promised_term) {
        ASSERT(world->promised_vote == RAFT_NOBODY || world->promised_vote == frame->header.to);
        world->promised_vote = frame->header.to;
    }
}

static void watch_frame(struct fuzz_world *world, const struct nic_send *send)
{
    uint8_t bytes[FRAME_BYTES_MAX];
    ASSERT(send->head_bytes + send->body_bytes <= world->nic.frame_bytes_max);
    memcpy(bytes, send->head, send->head_bytes);
    if (send->body_bytes > 0) {
        memcpy(bytes + send->head_bytes, send->body, send->body_bytes);
    }
    uint64_t boot;
    memcpy(&boot, bytes + TO_BOOT_AT, sizeof boot);
    uint8_t node = 0;
    for (uint8_t id = 1; id <= FUZZ_NODES; id++) {
        node = nic_address_equal(send->to, fuzz_node_address(id)) ? id : node;
    }
    const struct wire_self receiver = {
        .cluster = FUZZ_CLUSTER, .boot = boot, .node = node, .peers = 1u << FUZZ_SELF};
    struct wire_counters counters = {0};
    struct wire_frame frame;
    enum wire_reason reason =
        wire_decode(&receiver, bytes, send->head_bytes + send->body_bytes, &frame, &counters);
    ASSERT(reason == WIRE_DROP_ok);
    ASSERT(node != FUZZ_SELF);
    frame.payload = NULL;
    ASSERT(frame.header.kind < FUZZ_KINDS_MAX);
    world->sent[node][frame.header.kind] = frame;
    if (world->bridge != NULL) {
        return;
    }
    if (node == 0) {
        watch_client_frame(world, send->to);
        return;
    }
    world->sent_to_peers++;
    watch_promise(world, &frame);
}

static uint32_t tx_burst(struct nic *nic, const struct nic_send *sends, uint32_t count)
{
    struct fuzz_world *world = (struct fuzz_world *)(void *)nic;
    for (uint32_t i = 0; i < count; i++) {
        watch_frame(world, &sends[i]);
    }
    return world->bridge != NULL ? nic_tx_burst(world->bridge, sends, count) : count;
}

static uint32_t rx_burst(struct nic *nic, struct nic_frame *frames, uint32_t frames_max)
{
    struct fuzz_world *world = (struct fuzz_world *)(void *)nic;
    if (world->bridge != NULL) {
        return nic_rx_burst(world->bridge, frames, frames_max);
    }
    uint32_t count = world->frame_count < frames_max ? world->frame_count : frames_max;
    for (uint32_t i = 0; i < count; i++) {
        const struct fuzz_frame *frame = &world->frames[i];
        frames[i] = (struct nic_frame){
            .data = frame->data, .bytes = frame->bytes, .from = frame->from, .owner = frame->data};
    }
    return count;
}

static void rx_release(struct nic *nic, const struct nic_frame *frames, uint32_t count)
{
    struct fuzz_world *world = (struct fuzz_world *)(void *)nic;
    if (world->bridge != NULL) {
        nic_rx_release(world->bridge, frames, count);
        return;
    }
    ASSERT(count <= world->frame_count);
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(frames[i].owner == world->frames[i].data);
        free(world->frames[i].data);
    }
    world->frame_count -= count;
    memmove(world->frames, world->frames + count, world->frame_count * sizeof world->frames[0]);
}

static int wait_fd(const struct nic *nic)
{
    (void)nic;
    return -1;
}

static void close_nic(struct nic *nic)
{
    (void)nic;
}

static const struct nic_ops ops = {.rx_burst = rx_burst,
                                   .rx_release = rx_release,
                                   .tx_burst = tx_burst,
                                   .wait_fd = wait_fd,
                                   .close = close_nic};

/* ---- The cluster that makes it. ---- */

static struct replica_config config_of(uint8_t node, uint32_t node_count)
{
    struct replica_config config = {.cluster = FUZZ_CLUSTER,
                                    .self = node,
                                    .node_count = node_count,
                                    .election_min_ns = 150 * FUZZ_MS,
                                    .election_max_ns = 300 * FUZZ_MS,
                                    .heartbeat_ns = 15 * FUZZ_MS,
                                    .catchup_bytes_per_s = CATCHUP_BYTES_PER_S,
                                    .scrub_bytes_per_s = SCRUB_BYTES_PER_S,
                                    .scrub_every_ns = 100000000,
                                    .disk_stall_ns = 1000 * FUZZ_MS,
                                    .log_memory_bytes = LOG_MEMORY_MIN,
                                    .retention_bytes = RETENTION_BYTES,
                                    .seed = 5};
    for (uint32_t i = 0; i < node_count; i++) {
        uint8_t id = node_count == 1 ? node : (uint8_t)(i + 1);
        config.nodes[i] = (struct replica_node){.id = id, .address = fuzz_node_address(id)};
    }
    return config;
}

static struct replica *replica_begin(
    struct mem *mem, uint8_t node, uint32_t node_count, struct nic *nic, struct disk *disk)
{
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    const struct replica_config config = config_of(node, node_count);
    const struct format_config format = {.cluster = FUZZ_CLUSTER,
                                         .store = 1000u + node,
                                         .node = node,
                                         .segment_bytes = SEGMENT_BYTES_MIN};
    struct geometry geometry;
    struct fault fault = {0};
    int result = storage_format(disk, &format, page, &geometry, &fault);
    ASSERT(result == 0);
    struct replica *replica = replica_create(mem, &config, nic, disk);
    mem_seal(mem);
    result = replica_open(replica, 0, &fault);
    ASSERT(result == 0);
    return replica;
}

static void stage_step(struct stage *stage, uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) {
        stage->now_ns += FUZZ_MS;
        stage->peers_ns = stage->frozen ? stage->peers_ns : stage->now_ns;
        for (uint8_t node = 1; node <= FUZZ_NODES; node++) {
            if (stage->replicas[node] != NULL) {
                (void)replica_poll(stage->replicas[node],
                                   node == FUZZ_SELF ? stage->now_ns : stage->peers_ns);
            }
        }
    }
}

static struct replica_status status_of(const struct stage *stage, uint8_t node)
{
    struct replica_status status = {0};
    if (stage->replicas[node] != NULL) {
        replica_status(stage->replicas[node], &status);
    }
    return status;
}

void fuzz_hand_over(struct replica *replica, uint8_t to)
{
    enum raft_transfer outcome = replica_transfer(replica, to);
    ASSERT(outcome <= RAFT_TRANSFER_NOBODY_HEARD);
}

/* Until this node leads a log that takes appends. */
static void stage_lead(struct stage *stage, uint8_t node)
{
    for (uint32_t i = 0; i < STEPS_MAX; i++) {
        stage_step(stage, 1);
        for (uint8_t id = 1; id <= FUZZ_NODES; id++) {
            struct replica_status status = status_of(stage, id);
            if (!status.takes_proposals || status.commit_index < status.last_index) {
                continue;
            }
            if (id == node) {
                return;
            }
            fuzz_hand_over(stage->replicas[id], node);
        }
    }
    ASSERT(false);
}

static void stage_put(struct stage *stage, uint8_t node, struct wire_frame *frame)
{
    frame->header.to = node;
    frame->header.cluster = FUZZ_CLUSTER;
    frame->header.from_store = FUZZ_CLIENT_ID;
    frame->header.from_boot = FUZZ_CLIENT_ID;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    const struct nic_send send = {.to = fuzz_node_address(node),
                                  .head = head,
                                  .head_bytes = wire_encode(frame, head),
                                  .body = frame->payload,
                                  .body_bytes = frame->payload_bytes};
    (void)nic_tx_burst(&stage->net.ports[FUZZ_NODES].nic, &send, 1);
}

static void stage_send(struct stage *stage, uint8_t node, struct wire_frame *frame)
{
    frame->header.token = 1000u + stage->now_ns / FUZZ_MS;
    stage_put(stage, node, frame);
    stage_step(stage, 5);
}

/* The newest answer to client 0. */
static struct wire_frame stage_answer(struct stage *stage)
{
    struct nic *nic = &stage->net.ports[FUZZ_NODES].nic;
    struct nic_frame frames[RX_BURST_MAX];
    const struct wire_self self = {.cluster = FUZZ_CLUSTER, .boot = FUZZ_CLIENT_ID};
    struct wire_counters counters = {0};
    struct wire_frame frame = {0};
    uint32_t count = nic_rx_burst(nic, frames, RX_BURST_MAX);
    ASSERT(count > 0);
    enum wire_reason reason =
        wire_decode(&self, frames[count - 1].data, frames[count - 1].bytes, &frame, &counters);
    ASSERT(reason == WIRE_DROP_ok);
    nic_rx_release(nic, frames, count);
    return frame;
}

/* A session, some records of it and some of none. */
static void stage_fill(struct stage *stage, uint8_t leader)
{
    struct fuzz_world *world = stage->world;
    struct wire_frame open = {.header = {.kind = WIRE_OPEN},
                              .open = {.name_bytes = 4, .name = "fuzz"}};
    stage_send(stage, leader, &open);
    struct wire_frame opened = stage_answer(stage);
    ASSERT(opened.header.kind == WIRE_OPEN_REPLY);
    ASSERT(opened.open_reply.status == WIRE_OK);
    world->session = opened.open_reply.session;
    world->epoch = opened.open_reply.epoch;
    world->next_sequence = opened.open_reply.next_sequence;
    for (uint32_t i = 0; i < 6; i++) {
        bool ours = i % 2 == 0;
        struct {
            struct record_header header;
            uint8_t bytes[16];
        } record = {.header = {.bytes = 13,
                               .session = ours ? world->session : 0,
                               .sequence = ours ? world->next_sequence++ : i}};
        struct wire_frame request = {.header = {.kind = WIRE_REQUEST},
                                     .request = {.session = record.header.session,
                                                 .epoch = ours ? world->epoch : 0,
                                                 .first_sequence = record.header.sequence,
                                                 .record_count = 1,
                                                 .request_bytes = sizeof record},
                                     .payload = (const uint8_t *)&record,
                                     .payload_bytes = sizeof record};
        stage_send(stage, leader, &request);
        ASSERT(stage_answer(stage).reply.status == WIRE_OK);
    }
}

/* Records of the largest size, until one more makes the log longer than what is kept of it. */
static void stage_load(struct stage *stage, uint8_t leader)
{
    static struct {
        struct record_header header;
        uint8_t bytes[RECORD_BYTES_MAX];
    } record = {.header = {.bytes = RECORD_BYTES_MAX}};
    while (status_of(stage, leader).commit_position + 2 * ENTRY_BYTES_MAX < RETENTION_BYTES) {
        struct wire_frame request = {.header = {.kind = WIRE_REQUEST},
                                     .request = {.first_sequence = ++record.header.sequence,
                                                 .record_count = 1,
                                                 .request_bytes = sizeof record}};
        uint64_t token = 1000000u + record.header.sequence;
        for (uint32_t at = 0; at < sizeof record; at += request.payload_bytes) {
            uint32_t part = wire_request_bytes(FRAME_MAX);
            uint32_t rest = (uint32_t)sizeof record - at;
            request.header.token = token;
            request.request.offset = at;
            request.payload = (const uint8_t *)&record + at;
            request.payload_bytes = rest < part ? rest : part;
            stage_put(stage, leader, &request);
        }
        stage_step(stage, 10);
        ASSERT(stage_answer(stage).reply.status == WIRE_OK);
    }
}

/* Stop in the middle of an election, or of the first entry: as soon as this was sent. */
static void stage_until_sent(struct stage *stage, enum wire_kind kind)
{
    for (uint32_t i = 0; i < STEPS_MAX && stage->world->sent[1][kind].header.kind == 0; i++) {
        stage_step(stage, 1);
    }
    ASSERT(stage->world->sent[1][kind].header.kind == kind);
}

static void stage_play(struct stage *stage, enum fuzz_stage number)
{
    switch (number) {
    case FUZZ_FRESH:
        stage_step(stage, 1);
        break;
    case FUZZ_FOLLOWER:
        stage_lead(stage, 1);
        stage_fill(stage, 1);
        stage_load(stage, 1);
        stage_step(stage, 40);
        break;
    case FUZZ_CANDIDATE:
        stage_lead(stage, 1);
        stage_fill(stage, 1);
        stage_step(stage, 40);
        fuzz_hand_over(stage->replicas[1], FUZZ_SELF);
        memset(stage->world->sent, 0, sizeof stage->world->sent);
        stage_until_sent(stage, WIRE_VOTE);
        break;
    case FUZZ_LEADER:
        stage_lead(stage, 2);
        stage_fill(stage, 2);
        stage_load(stage, 2);
        stage_step(stage, 40);
        break;
    case FUZZ_BOOTSTRAPPER:
        stage->frozen = true;
        stage_until_sent(stage, WIRE_APPEND);
        break;
    case FUZZ_ALONE:
        stage_lead(stage, 2);
        stage_fill(stage, 2);
        break;
    case FUZZ_STAGE_COUNT:
        ASSERT(false);
    }
}

/* What node 2 and its peers say of themselves, and the end of its log. */
static void stage_note(struct stage *stage)
{
    struct fuzz_world *world = stage->world;
    for (uint8_t node = 1; node <= FUZZ_NODES; node++) {
        struct replica_status status = status_of(stage, node);
        world->boots[node] = status.boot == 0 ? 2 : status.boot;
        world->stores[node] = 1000u + node;
    }
    world->before = status_of(stage, FUZZ_SELF);
    const struct raft *raft = replica_raft(world->replica);
    const struct fuzz_entry last = {.index = raft_last(raft).index,
                                    .term = raft_last(raft).term,
                                    .end_position = world->before.log_durable_position,
                                    .end_offset = world->before.log_end_offset};
    fuzz_world_know(world, &last);
    world->now_ns = stage->now_ns;
}

/* Node 2, in memory that is kept. */
static struct fuzz_world *world_begin(struct keep *keep, uint8_t node_count)
{
    const struct replica_config config = config_of(FUZZ_SELF, node_count);
    uint64_t head_bytes = (sizeof(struct fuzz_world) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uint64_t disk_bytes = disk_model_memory_bytes(DISK_BYTES);
    keep_open(keep, head_bytes + disk_bytes + replica_memory_bytes(&config));
    struct fuzz_world *world = (struct fuzz_world *)(void *)keep->base;
    disk_model_init(&world->disk, DISK_BYTES, keep->base + head_bytes);
    mem_init(&world->mem, keep->base + head_bytes + disk_bytes, replica_memory_bytes(&config));
    world->nic = (struct nic){
        .ops = &ops, .self = fuzz_node_address(FUZZ_SELF), .frame_bytes_max = FRAME_MAX};
    world->replica =
        replica_begin(&world->mem, FUZZ_SELF, node_count, &world->nic, &world->disk.disk);
    replica_on_apply(world->replica, on_apply, world);
    return world;
}

static void peer_begin(struct stage *stage, uint8_t node)
{
    const struct replica_config config = config_of(node, FUZZ_NODES);
    int result = mem_open(&stage->mems[node], replica_memory_bytes(&config));
    ASSERT(result == 0);
    stage->replicas[node] =
        replica_begin(&stage->mems[node], node, FUZZ_NODES, &stage->net.ports[node - 1].nic,
                      disk_memory_open(&stage->disks, PEER_DISK_BYTES));
}

static void world_make(enum fuzz_stage number)
{
    bool alone = number == FUZZ_ALONE;
    struct stage stage = {.world = world_begin(&keeps[number], alone ? 1 : FUZZ_NODES)};
    loop_net_open(&stage.net, FUZZ_NODES + 1, FRAME_MAX);
    stage.world->bridge = &stage.net.ports[FUZZ_SELF - 1].nic;
    stage.replicas[FUZZ_SELF] = stage.world->replica;
    int result =
        mem_open(&stage.disks, 2 * (disk_memory_memory_bytes(PEER_DISK_BYTES) + PAGE_BYTES));
    ASSERT(result == 0);
    if (!alone) {
        peer_begin(&stage, 1);
        peer_begin(&stage, 3);
    }
    stage_play(&stage, number);
    stage_note(&stage);
    stage.world->bridge = NULL;
    keep_save(&keeps[number]);
    mem_close(&stage.disks);
    mem_close(&stage.mems[1]);
    mem_close(&stage.mems[3]);
    loop_net_close(&stage.net);
}

void fuzz_worlds_open(void)
{
    for (int stage = 0; stage < FUZZ_STAGE_COUNT; stage++) {
        world_make((enum fuzz_stage)stage);
    }
}

struct fuzz_world *fuzz_world_back(enum fuzz_stage stage)
{
    ASSERT(stage < FUZZ_STAGE_COUNT);
    keep_back(&keeps[stage]);
    return (struct fuzz_world *)(void *)keeps[stage].base;
}

/* ---- Its life under the fuzzer. ---- */

/* Whoever asks something sound may be answered. */
static void note_question(struct fuzz_world *world,
                          struct nic_address from,
                          const uint8_t *data,
                          uint32_t bytes)
{
    const struct wire_self self = {.cluster = FUZZ_CLUSTER,
                                   .boot = world->before.boot,
                                   .node = FUZZ_SELF,
                                   .peers = 1u << 1 | 1u << 3};
    struct wire_counters counters = {0};
    struct wire_frame frame;
    if (wire_decode(&self, data, bytes, &frame, &counters) != WIRE_DROP_ok ||
        frame.header.from != 0) {
        return;
    }
    uint32_t client = client_of(from);
    if (client < FUZZ_CLIENTS) {
        world->questions[client] += frame.header.kind == WIRE_REQUEST ? ANSWERS_MAX : 1;
    }
}

bool fuzz_world_put(struct fuzz_world *world,
                    struct nic_address from,
                    const uint8_t *data,
                    uint32_t bytes)
{
    if (world->frame_count == RX_BURST_MAX) {
        return false;
    }
    uint8_t *copy = malloc(bytes == 0 ? 1 : bytes);
    ASSERT(copy != NULL);
    memcpy(copy, data, bytes);
    note_question(world, from, data, bytes);
    world->frames[world->frame_count++] =
        (struct fuzz_frame){.data = copy, .bytes = bytes, .from = from};
    return true;
}

void fuzz_world_poll(struct fuzz_world *world)
{
    uint32_t received = world->frame_count;
    world->sent_to_peers = 0;
    (void)replica_poll(world->replica, world->now_ns);
    struct replica_status now;
    replica_status(world->replica, &now);
    ASSERT(now.failed != 0 || world->frame_count == 0);
    ASSERT(now.term >= world->before.term);
    ASSERT(now.term - world->before.term <= received * TERM_JUMP_MAX + 2);
    ASSERT(now.commit_index >= world->before.commit_index);
    ASSERT(now.commit_index <= now.last_index);
    ASSERT(now.log_end_offset >= world->before.log_end_offset);
    ASSERT(now.log_start_offset >= world->before.log_start_offset);
    ASSERT(now.log_start_offset <= now.log_end_offset);
    ASSERT(now.boot == world->before.boot);
    ASSERT(world->sent_to_peers <= 2 * PEER_FRAMES_MAX + received);
    if (now.epoch != world->before.epoch && world->acked_index > world->before.commit_index) {
        world->acked_index = world->before.commit_index; /* A cut: what stood above may be gone. */
    }
    world->before = now;
}

static void check_promises(struct fuzz_world *world)
{
    static _Alignas(PAGE_BYTES) uint8_t buffer[RECOVER_BUFFER_BYTES];
    struct prng prng;
    prng_init(&prng, world->now_ns);
    disk_model_crash(&world->disk, &prng, 0);
    const struct recover_config config = {
        .cluster = FUZZ_CLUSTER, .node = FUZZ_SELF, .buffer = buffer};
    struct recovery found;
    struct fault fault = {0};
    int result = recover(&world->disk.disk, &config, &found, &fault);
    ASSERT(result == 0);
    ASSERT(found.kind == RECOVER_CLEAN || found.kind == RECOVER_TORN);
    ASSERT(found.last.index >= world->acked_index);
    ASSERT(found.term >= world->promised_term);
    ASSERT(found.term > world->promised_term || world->promised_vote == RAFT_NOBODY ||
           found.vote == world->promised_vote);
}

void fuzz_world_end(struct fuzz_world *world, bool crash)
{
    for (uint32_t i = 0; i < world->frame_count; i++) {
        free(world->frames[i].data);
    }
    world->frame_count = 0;
    if (crash && (world->acked_index > 0 || world->promised_term > 0)) {
        check_promises(world);
    }
}
