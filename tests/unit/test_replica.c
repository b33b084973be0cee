/* test_replica.c: three replicas over a perfect (or chosen) network and memory disks, driven poll
 * by poll. */
#include "engine/replica.h"
#include "engine/wire_layout.h"
#include "storage/disk_memory.h"
#include "storage/format.h"
#include "tests/support/loop_nic.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODES      3u
#define CLUSTER    0x9f3c0a4e5b6d7788ull
#define STEP_NS    10000u
#define MS         1000000u
#define DISK_BYTES (16ull << 20)
#define CLIENT_ID  77u

/* A disk whose completions the test can hold back. */
struct held_disk {
    struct disk disk; /* First: the seam. */
    struct disk *inner;
    bool held;
};

struct answer {
    uint64_t first_sequence;
    uint64_t first_offset;
    uint32_t count;
    uint8_t status;
    uint8_t leader;
};

struct world {
    struct loop_net net;
    struct mem mems[NODES];
    struct mem disks;
    struct held_disk disk[NODES];
    struct replica *replica[NODES];
    struct replica_config config[NODES];
    uint64_t now_ns;
    struct answer answers[4096];
    uint32_t answer_count;
    struct wire_read_reply read_reply;
    uint8_t read_payload[FRAME_BYTES_MAX];
    uint32_t read_bytes;
    uint32_t read_replies;
    struct wire_transfer_reply transfer_reply;
    uint32_t transfer_replies;
    uint32_t lose_every; /* ENTRY frames lost: one in so many; 0: none. */
    uint32_t seen;
    uint32_t apart;      /* A node cut off from the others, not from the client; NODES: none. */
    uint64_t lost_index; /* Not cut off, but this entry never reaches it; 0: cut off. */
    uint32_t corrupt_applied;
    uint64_t applied[NODES]; /* Highest index. */
};

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

static struct world *world_open(uint32_t frame_bytes_max, uint64_t retention_bytes)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    loop_net_open(&w->net, NODES + 1, frame_bytes_max);
    int result = mem_open(&w->disks, NODES * (disk_memory_memory_bytes(DISK_BYTES) + PAGE_BYTES));
    assert_int_equal(result, 0);
    uint8_t *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    for (uint32_t i = 0; i < NODES; i++) {
        struct replica_config *config = &w->config[i];
        *config = (struct replica_config){.cluster = CLUSTER,
                                          .self = (uint8_t)(i + 1),
                                          .node_count = NODES,
                                          .election_min_ns = 150000000,
                                          .election_max_ns = 300000000,
                                          .heartbeat_ns = 15000000,
                                          .catchup_bytes_per_s = CATCHUP_BYTES_PER_S,
                                          .disk_stall_ns = 1000000000,
                                          .log_memory_bytes = LOG_MEMORY_MIN,
                                          .retention_bytes = retention_bytes,
                                          .seed = 5};
        for (uint32_t k = 0; k < NODES; k++) {
            config->nodes[k] =
                (struct replica_node){.id = (uint8_t)(k + 1), .address = w->net.ports[k].nic.self};
        }
        struct disk *disk = held_open(&w->disk[i], disk_memory_open(&w->disks, DISK_BYTES));
        struct format_config format = {.cluster = CLUSTER,
                                       .store = 1000 + i,
                                       .node = (uint8_t)(i + 1),
                                       .segment_bytes = SEGMENT_BYTES_MIN};
        struct geometry geometry;
        struct fault fault = {0};
        result = storage_format(disk, &format, page, &geometry, &fault);
        assert_int_equal(result, 0);
        result = mem_open(&w->mems[i], replica_memory_bytes(config));
        assert_int_equal(result, 0);
        w->replica[i] = replica_create(&w->mems[i], config, &w->net.ports[i].nic, disk);
        mem_seal(&w->mems[i]);
        result = replica_open(w->replica[i], w->now_ns, &fault);
        if (result != 0) {
            print_error("%s\n", fault.text);
        }
        assert_int_equal(result, 0);
    }
    free(page);
    return w;
}

static void world_close(struct world *w)
{
    for (uint32_t i = 0; i < NODES; i++) {
        mem_close(&w->mems[i]);
    }
    mem_close(&w->disks);
    loop_net_close(&w->net);
    free(w);
}

static void client_receive(struct world *w)
{
    struct nic *nic = &w->net.ports[NODES].nic;
    struct nic_frame frames[RX_BURST_MAX];
    struct wire_counters counters = {0};
    struct wire_self self = {.cluster = CLUSTER, .boot = 1};
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

static void run_by(struct world *w, uint32_t iterations, uint64_t step_ns)
{
    for (uint32_t i = 0; i < iterations; i++) {
        w->now_ns += step_ns;
        for (uint32_t n = 0; n < NODES; n++) {
            (void)replica_poll(w->replica[n], w->now_ns);
        }
        client_receive(w);
    }
}

static void run(struct world *w, uint32_t iterations)
{
    run_by(w, iterations, STEP_NS);
}

static uint32_t leader_of(struct world *w)
{
    for (uint32_t i = 0; i < NODES; i++) {
        struct replica_status status;
        replica_status(w->replica[i], &status);
        if (status.role == RAFT_LEADER && status.takes_proposals) {
            return i;
        }
    }
    return NODES;
}

static uint32_t wait_leader(struct world *w)
{
    for (uint32_t i = 0; i < 2000 && leader_of(w) == NODES; i++) {
        run(w, 100);
    }
    uint32_t leader = leader_of(w);
    assert_true(leader < NODES);
    return leader;
}

/* Send one record, in fragments when it is large. */
static void send_record(struct world *w, uint32_t node, uint64_t sequence, uint32_t bytes)
{
    static uint8_t records[ENTRY_BYTES_MAX];
    uint32_t total = record_body_bytes(bytes);
    memset(records, 0, total);
    struct record_header header = {.bytes = bytes, .session = 0, .sequence = sequence};
    memcpy(records, &header, sizeof header);
    for (uint32_t i = 0; i < bytes; i++) {
        records[sizeof header + i] = (uint8_t)(sequence + i);
    }
    struct nic *nic = &w->net.ports[NODES].nic;
    uint32_t part = wire_request_bytes(nic->frame_bytes_max);
    for (uint32_t at = 0; at < total; at += part) {
        struct wire_frame frame = {
            .header = {.kind = WIRE_REQUEST,
                       .to = (uint8_t)(node + 1),
                       .cluster = CLUSTER,
                       .from_store = CLIENT_ID,
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

/* Send a question without a payload; its kind, token and fixed part are the caller's. */
static void ask(struct world *w, uint32_t node, struct wire_frame *frame)
{
    frame->header.to = (uint8_t)(node + 1);
    frame->header.cluster = CLUSTER;
    frame->header.from_store = CLIENT_ID;
    frame->header.from_boot = 1;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    uint32_t head_bytes = wire_encode(frame, head);
    struct nic_send send = {
        .to = w->net.ports[node].nic.self, .head = head, .head_bytes = head_bytes};
    (void)nic_tx_burst(&w->net.ports[NODES].nic, &send, 1);
}

static void send_read(struct world *w, uint32_t node, uint64_t offset, uint32_t skip)
{
    struct wire_frame frame = {.header = {.kind = WIRE_READ, .token = offset + 1},
                               .read = {.offset = offset, .skip = skip}};
    ask(w, node, &frame);
}

/* Ask a node to hand over; what it answers, an iteration later. */
static enum raft_transfer ask_transfer(struct world *w, uint32_t node, uint8_t to)
{
    struct wire_frame frame = {.header = {.kind = WIRE_TRANSFER, .token = w->transfer_replies + 1},
                               .transfer = {.to = to}};
    uint32_t before = w->transfer_replies;
    ask(w, node, &frame);
    run(w, 1);
    assert_int_equal(w->transfer_replies, before + 1); /* One frame out for one frame in. */
    return (enum raft_transfer)w->transfer_reply.outcome;
}

static uint64_t commit_of(struct world *w, uint32_t node)
{
    struct replica_status status;
    replica_status(w->replica[node], &status);
    return status.commit_index;
}

static void cluster_elects_a_leader_and_commits_its_first_configuration(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = wait_leader(w);
    run(w, 5000);
    for (uint32_t i = 0; i < NODES; i++) {
        assert_true(commit_of(w, i) >= 1);
        assert_true(raft_bootstrapped(replica_raft(w->replica[i])));
        assert_int_equal(raft_leader(replica_raft(w->replica[i])), leader + 1);
    }
    world_close(w);
}

static void record_is_answered_with_its_offset_and_read_back(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = wait_leader(w);
    for (uint64_t k = 0; k < 50; k++) {
        send_record(w, leader, k, (uint32_t)k * 20);
        run(w, 20);
    }
    run(w, 3000);
    assert_int_equal(w->answer_count, 50);
    for (uint32_t k = 0; k < 50; k++) {
        assert_int_equal(w->answers[k].status, WIRE_OK);
        assert_int_equal(w->answers[k].first_sequence, k);
        assert_int_equal(w->answers[k].first_offset, k);
    }
    for (uint32_t n = 0; n < NODES; n++) {
        send_read(w, n, 49, 0);
        run(w, 5);
        assert_int_equal(w->read_replies, n + 1);
        assert_int_equal(w->read_reply.status, WIRE_OK);
        assert_int_equal(w->read_reply.record_count, 1);
        struct record_header header;
        memcpy(&header, w->read_payload, sizeof header);
        assert_int_equal(header.bytes, 980);
        assert_int_equal(w->read_payload[sizeof header + 7], 49 + 7);
    }
    world_close(w);
}

static void largest_record_travels_in_fragments_and_is_read_in_parts(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = wait_leader(w);
    send_record(w, leader, 3, RECORD_BYTES_MAX);
    run(w, 3000);
    assert_int_equal(w->answer_count, 1);
    assert_int_equal(w->answers[0].status, WIRE_OK);
    uint32_t skip = 0;
    for (uint32_t i = 0; i < 100 && skip < RECORD_BYTES_MAX; i++) {
        send_read(w, leader, 0, skip);
        run(w, 5);
        struct record_header header;
        memcpy(&header, w->read_payload, sizeof header);
        assert_true(header.bytes > 0);
        assert_int_equal(w->read_payload[sizeof header], (uint8_t)(3 + skip));
        skip += header.bytes;
        assert_int_equal(w->read_reply.partial, skip < RECORD_BYTES_MAX);
    }
    assert_int_equal(skip, RECORD_BYTES_MAX);
    world_close(w);
}

static bool
lose_entries(void *context, struct nic_address from, struct nic_address to, const uint8_t *data)
{
    struct world *w = context;
    (void)from;
    (void)to;
    return w->lose_every != 0 && data[6] == WIRE_ENTRY && ++w->seen % w->lose_every == 0;
}

static void lost_fragments_are_repaired_without_waiting_for_a_heartbeat(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = wait_leader(w);
    run(w, 5000);
    w->net.lose = lose_entries;
    w->net.context = w;
    w->lose_every = 3;
    for (uint64_t k = 0; k < 40; k++) {
        send_record(w, leader, k, 20000);
        run(w, 100);
    }
    run(w, 2000);
    assert_int_equal(w->answer_count, 40);
    assert_true(replica_counters(w->replica[leader])->fragments_repaired > 100);
    w->lose_every = 0;
    run(w, 5000);
    for (uint32_t i = 0; i < NODES; i++) {
        assert_int_equal(commit_of(w, i), commit_of(w, leader));
    }
    world_close(w);
}

static void shuffled_and_repeated_frames_change_nothing(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    prng_init(&w->net.prng, 11);
    w->net.shuffled = true;
    uint32_t leader = wait_leader(w);
    run(w, 3000);
    for (uint64_t k = 0; k < 60; k++) {
        send_record(w, leader, k, (uint32_t)(k * 531) % 9000);
        run(w, 30);
    }
    run(w, 5000);
    struct replica_status leading;
    replica_status(w->replica[leader], &leading);
    /* A repeated request is a second request: sessions, which tell them apart, come later. */
    assert_true(leading.log_end_offset >= 60);
    for (uint32_t i = 0; i < NODES; i++) {
        struct replica_status status;
        replica_status(w->replica[i], &status);
        assert_int_equal(status.log_end_offset, leading.log_end_offset);
        assert_int_equal(status.durable_index, leading.durable_index);
    }
    assert_int_equal(leader_of(w), leader);
    world_close(w);
}

static bool
lose_apart(void *context, struct nic_address from, struct nic_address to, const uint8_t *data)
{
    struct world *w = context;
    if (w->apart == NODES) {
        return false;
    }
    struct nic_address apart = w->net.ports[w->apart].nic.self;
    struct nic_address client = w->net.ports[NODES].nic.self;
    if (w->lost_index == 0) {
        return (nic_address_equal(from, apart) && !nic_address_equal(to, client)) ||
               (nic_address_equal(to, apart) && !nic_address_equal(from, client));
    }
    struct head_layout head;
    if (data[6] != WIRE_ENTRY || !nic_address_equal(to, apart)) {
        return false;
    }
    memcpy(&head, data, sizeof head.header + sizeof head.entry);
    return head.entry.index == w->lost_index;
}

static void look_at_applied(void *context, uint8_t node, const uint8_t *entry)
{
    struct world *w = context;
    (void)node;
    w->corrupt_applied += entry_check(entry, CLUSTER) != NULL;
}

static uint32_t other_leader(struct world *w, uint32_t than)
{
    for (uint32_t i = 0; i < 1000; i++) {
        run(w, 100);
        for (uint32_t n = 0; n < NODES; n++) {
            struct replica_status status;
            replica_status(w->replica[n], &status);
            if (n != than && status.role == RAFT_LEADER && status.takes_proposals) {
                return n;
            }
        }
    }
    fail();
    return NODES;
}

/* A deposed leader's durable tail will be cut: the room above it, a ring further, must not be
 * filled on the strength of that tail's being durable. */
static void returning_leader_takes_no_entry_into_a_slot_that_a_cut_frees_again(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    w->apart = NODES;
    w->net.lose = lose_apart;
    w->net.context = w;
    uint32_t old = wait_leader(w);
    run(w, 5000);
    for (uint64_t k = 0; k < 10; k++) {
        send_record(w, old, k, 40000);
        run(w, 50);
    }
    run(w, 5000);
    w->apart = old;
    for (uint64_t k = 10; k < 18; k++) {
        send_record(w, old, k, 40000); /* Durable there, and never committed. */
        run(w, 20);
    }
    uint64_t conflict = commit_of(w, old) + 1;
    uint32_t leader = other_leader(w, old);
    for (uint64_t k = 18; k < 70; k++) {
        send_record(w, leader, k, 40000);
        run(w, 30);
    }
    w->lost_index = conflict; /* It comes back, and hears everything but what it must cut for. */
    run(w, 4000);
    w->apart = NODES;
    replica_on_apply(w->replica[old], look_at_applied, w);
    run(w, 20000);
    assert_int_equal(w->corrupt_applied, 0);
    assert_true(replica_counters(w->replica[old])->cuts > 0);
    assert_int_equal(commit_of(w, old), commit_of(w, leader));
    world_close(w);
}

static void look_at_order(void *context, uint8_t node, const uint8_t *entry)
{
    struct world *w = context;
    assert_int_equal(entry_header_of(entry)->index, w->applied[node - 1] + 1);
    w->applied[node - 1]++;
    struct replica_status status;
    replica_status(w->replica[node - 1], &status);
    assert_true(w->applied[node - 1] <= status.commit_index);
}

/* Cut a follower off, fill the log beyond what memory holds, let it come back. Returns how long it
 * takes until it has committed everything; the disk of node `held` answers only before that. */
static uint64_t time_catch_up(struct world *w, uint32_t away, uint32_t held)
{
    uint32_t leader = wait_leader(w);
    w->apart = away;
    for (uint32_t i = 0; i < 70; i++) {
        send_record(w, leader, i, 50000);
        run(w, 50);
    }
    assert_true(commit_of(w, away) + 70 <= commit_of(w, leader));
    if (held < NODES) {
        w->disk[held].held = true;
    }
    send_record(w, leader, 70, 100);
    w->apart = NODES;
    uint64_t begin_ns = w->now_ns;
    uint64_t last = raft_last(replica_raft(w->replica[leader])).index;
    for (uint32_t i = 0; i < 100000 && commit_of(w, away) <= last; i++) {
        run(w, 1);
    }
    assert_true(commit_of(w, away) > last);
    assert_int_equal(leader_of(w), leader);
    return w->now_ns - begin_ns;
}

/* What memory no longer has comes at a bounded rate, so that the others commit undisturbed; but
 * when nothing can be committed without that follower, there is nothing to wait for. */
static void follower_that_was_away_is_caught_up_at_its_rate_unless_commits_wait_for_it(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    w->net.lose = lose_apart;
    w->net.context = w;
    w->apart = NODES;
    uint32_t leader = wait_leader(w);
    run(w, 5000);
    uint32_t away = (leader + 1) % NODES;
    uint64_t at_rate_ns = time_catch_up(w, away, NODES);
    uint64_t in_a_hurry_ns = time_catch_up(w, away, (leader + 2) % NODES);
    uint64_t from_disk_bytes = 70ull * 50000 - LOG_MEMORY_MIN;
    assert_true(at_rate_ns + CATCHUP_SLACK_NS >= from_disk_bytes * 1000 * MS / CATCHUP_BYTES_PER_S);
    assert_true(in_a_hurry_ns < at_rate_ns);
    assert_true(in_a_hurry_ns > CATCHUP_HURRY_NS);
    printf("caught up in %llu us, in a hurry in %llu us\n", (unsigned long long)at_rate_ns / 1000,
           (unsigned long long)in_a_hurry_ns / 1000);
    world_close(w);
}

static void every_entry_is_applied_once_and_in_order_and_never_before_it_is_committed(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    prng_init(&w->net.prng, 12);
    w->net.shuffled = true;
    for (uint32_t i = 0; i < NODES; i++) {
        replica_on_apply(w->replica[i], look_at_order, w);
    }
    uint32_t leader = wait_leader(w);
    uint64_t committed[NODES] = {0};
    for (uint64_t k = 0; k < 60; k++) {
        send_record(w, leader, k, (uint32_t)(k * 531) % 9000);
        run(w, 30);
        for (uint32_t i = 0; i < NODES; i++) {
            assert_true(commit_of(w, i) >= committed[i]);
            committed[i] = commit_of(w, i);
        }
    }
    run(w, 5000);
    for (uint32_t i = 0; i < NODES; i++) {
        assert_true(w->applied[i] > 60);
        assert_int_equal(w->applied[i], commit_of(w, i));
    }
    world_close(w);
}

static void follower_answers_not_leader_and_names_the_leader(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = wait_leader(w);
    run(w, 3000);
    send_record(w, (leader + 1) % NODES, 9, 100);
    run(w, 5);
    assert_int_equal(w->answer_count, 1);
    assert_int_equal(w->answers[0].status, WIRE_NOT_LEADER);
    assert_int_equal(w->answers[0].leader, leader + 1);
    world_close(w);
}

static void log_wraps_under_retention_and_old_offsets_are_trimmed(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 4ull << 20);
    uint32_t leader = wait_leader(w);
    uint64_t sent = 0;
    for (uint32_t k = 0; k < 1000; k++) {
        send_record(w, leader, sent++, 60000);
        run(w, 20);
    }
    run(w, 3000);
    assert_int_equal(w->answer_count, 1000);
    for (uint32_t k = 0; k < 1000; k++) {
        assert_int_equal(w->answers[k].status, WIRE_OK);
    }
    struct replica_status status;
    replica_status(w->replica[leader], &status);
    assert_true(status.log_start_offset > 800);
    assert_true(status.log_durable_position - status.log_start_position < 6ull << 20);
    send_read(w, leader, 3, 0);
    run(w, 20);
    assert_int_equal(w->read_reply.status, WIRE_TRIMMED);
    /* An offset that memory no longer holds comes from disk. */
    send_read(w, leader, status.log_start_offset, 0);
    run(w, 20);
    assert_int_equal(w->read_replies, 2);
    assert_int_equal(w->read_reply.status, WIRE_OK);
    struct record_header header;
    memcpy(&header, w->read_payload, sizeof header);
    assert_int_equal(header.sequence, status.log_start_offset);
    world_close(w);
}

static void full_log_refuses_and_still_serves_reads(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t leader = wait_leader(w);
    uint32_t accepted = 0;
    for (uint32_t k = 0; k < 400; k++) {
        send_record(w, leader, k, 60000);
        run(w, 20);
    }
    run(w, 3000);
    assert_int_equal(w->answer_count, 400);
    for (uint32_t k = 0; k < 400; k++) {
        accepted += w->answers[k].status == WIRE_OK;
        assert_true(w->answers[k].status == WIRE_OK || w->answers[k].status == WIRE_FULL);
    }
    assert_true(accepted > 150);
    assert_true(accepted < 300);
    send_read(w, leader, 0, 0);
    run(w, 20);
    assert_int_equal(w->read_reply.status, WIRE_OK);
    assert_int_equal(leader_of(w), leader);
    world_close(w);
}

static void client_faster_than_the_log_is_told_busy(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t leader = wait_leader(w);
    for (uint32_t k = 0; k < 100; k++) {
        send_record(w, leader, k, 60000); /* 100 x 60 kB at once: more than the gate lets fly. */
    }
    run(w, 3000);
    uint32_t busy = 0;
    for (uint32_t k = 0; k < w->answer_count; k++) {
        busy += w->answers[k].status == WIRE_BUSY;
    }
    assert_int_equal(w->answer_count, 100);
    assert_true(busy > 0);
    world_close(w);
}

static struct replica_status status_of(struct world *w, uint32_t node)
{
    struct replica_status status;
    replica_status(w->replica[node], &status);
    return status;
}

/* The rest of the cluster goes on, with another leader. */
static void another_leader_takes_over(struct world *w, uint32_t old)
{
    uint32_t leader = other_leader(w, old);
    uint32_t answers = w->answer_count;
    send_record(w, leader, 5000, 100);
    run(w, 3000);
    assert_int_equal(w->answer_count, answers + 1);
    assert_int_equal(w->answers[answers].status, WIRE_OK);
}

static void leader_whose_disk_holds_a_write_longer_than_its_limit_steps_down(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t old = wait_leader(w);
    run(w, 3000);
    w->disk[old].held = true;
    send_record(w, old, 1, 100);
    run_by(w, 990, MS);
    /* Within the limit a stall costs nothing: the others' disks commit. */
    assert_int_equal(w->answer_count, 1);
    assert_int_equal(w->answers[0].status, WIRE_OK);
    assert_int_equal(leader_of(w), old);
    assert_int_equal(replica_counters(w->replica[old])->disk_stalls, 0);
    run_by(w, 20, MS);
    assert_int_equal(replica_counters(w->replica[old])->disk_stalls, 1);
    assert_true(leader_of(w) != old);
    another_leader_takes_over(w, old);
    w->disk[old].held = false;
    run_by(w, 1000, MS);
    assert_int_equal(status_of(w, old).failed, 0);
    assert_int_equal(status_of(w, old).durable_index, status_of(w, leader_of(w)).durable_index);
    world_close(w);
}

static void replica_whose_disk_never_answers_fails_with_its_reason(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t old = wait_leader(w);
    run(w, 3000);
    w->disk[old].held = true;
    send_record(w, old, 1, 100);
    run_by(w, 9990, MS);
    assert_int_equal(status_of(w, old).failed, 0);
    run_by(w, 30, MS);
    assert_int_equal(status_of(w, old).failed, -ETIMEDOUT);
    assert_true(replica_is_stopped(w->replica[old]));
    assert_int_equal(replica_poll(w->replica[old], w->now_ns), 0);
    another_leader_takes_over(w, old);
    world_close(w);
}

static void follower_whose_disk_never_answers_fails_too(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = wait_leader(w);
    uint32_t sick = (leader + 1) % NODES;
    run(w, 3000);
    w->disk[sick].held = true;
    send_record(w, leader, 1, 100);
    run_by(w, 10020, MS);
    assert_int_equal(status_of(w, sick).failed, -ETIMEDOUT);
    assert_int_equal(leader_of(w), leader);
    assert_int_equal(w->answers[0].status, WIRE_OK);
    world_close(w);
}

static void leader_with_half_its_ring_not_durable_steps_down(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t old = wait_leader(w);
    run(w, 3000);
    uint64_t held_since_ns = w->now_ns;
    w->disk[old].held = true;
    uint32_t sent = 0;
    while (leader_of(w) == old && sent < 60) {
        send_record(w, old, sent++, 60000);
        run(w, 20);
    }
    /* At the entry that passes the half, and its disk's own limit is far away. */
    uint32_t entry_bytes = entry_pages(record_body_bytes(60000)) * PAGE_BYTES;
    assert_int_equal(sent, LOG_MEMORY_MIN / 2 / entry_bytes + 1);
    assert_true(w->now_ns - held_since_ns < w->config[old].disk_stall_ns);
    assert_int_equal(replica_counters(w->replica[old])->disk_stalls, 1);
    another_leader_takes_over(w, old);
    w->disk[old].held = false;
    run_by(w, 1000, MS);
    assert_int_equal(commit_of(w, old), commit_of(w, leader_of(w)));
    world_close(w);
}

/* Answers so far, by status; all records were sent once, with sequences from 0 on. */
static uint32_t answered(const struct world *w, uint8_t status)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->answer_count; i++) {
        count += w->answers[i].status == status;
    }
    return count;
}

/* J1: under load, whatever the old leader has taken it answers; the others are told to try again.
 */
static void transfer_under_load_leaves_no_request_without_an_answer(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t old = wait_leader(w);
    run(w, 5000);
    uint8_t to = (uint8_t)((old + 1) % NODES + 1);
    uint32_t sent = 0;
    for (uint32_t k = 0; k < 300; k++) {
        send_record(w, old, sent++, 5000);
        if (k == 100) {
            assert_int_equal(replica_transfer(w->replica[old], to), RAFT_TRANSFER_OK);
            assert_int_equal(replica_transfer(w->replica[old], to), RAFT_TRANSFER_UNDER_WAY);
        }
        run(w, 1);
    }
    run(w, 3000);
    assert_int_equal(leader_of(w), to - 1);
    assert_int_equal(raft_term(replica_raft(w->replica[to - 1])),
                     raft_term(replica_raft(w->replica[old])));
    assert_int_equal(w->answer_count, sent);
    assert_true(answered(w, WIRE_OK) >= 100);
    assert_true(answered(w, WIRE_NOT_LEADER) > 0);
    struct replica_status status;
    replica_status(w->replica[to - 1], &status);
    assert_int_equal(status.log_end_offset, answered(w, WIRE_OK));
    assert_int_equal(raft_counters(replica_raft(w->replica[to - 1]))->pre_votes_started, 0);
    world_close(w);
}

static void transfer_that_cannot_be_says_why(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = wait_leader(w);
    run(w, 5000);
    uint32_t other = (leader + 1) % NODES;
    assert_int_equal(ask_transfer(w, other, RAFT_NOBODY), RAFT_TRANSFER_NOT_LEADER);
    assert_int_equal(w->transfer_reply.leader, leader + 1); /* A follower says whom to ask. */
    assert_int_equal(ask_transfer(w, leader, (uint8_t)(leader + 1)), RAFT_TRANSFER_NOT_A_VOTER);
    assert_int_equal(ask_transfer(w, leader, 9), RAFT_TRANSFER_NOT_A_VOTER);
    assert_int_equal(w->transfer_reply.to, RAFT_NOBODY);
    assert_int_equal(leader_of(w), leader);
    world_close(w);
}

/* J1, J3: asked for by a client. The answer names the target, a repeated question finds the same
 * transfer, and the old leader then answers as a follower does. */
static void transfer_that_a_client_asks_for_ends_in_the_office_of_the_one_named(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t old = wait_leader(w);
    run(w, 5000);
    uint8_t to = (uint8_t)((old + 2) % NODES + 1);
    w->disk[to - 1].held = true; /* So that it cannot be over at once: it lacks an entry. */
    send_record(w, old, 0, 100);
    run(w, 20);
    assert_int_equal(ask_transfer(w, old, to), RAFT_TRANSFER_OK);
    assert_int_equal(w->transfer_reply.to, to);
    assert_int_equal(w->transfer_reply.leader, old + 1);
    assert_int_equal(ask_transfer(w, old, to), RAFT_TRANSFER_UNDER_WAY);
    assert_int_equal(w->transfer_reply.to, to);
    w->disk[to - 1].held = false;
    run(w, 3000);
    assert_int_equal(leader_of(w), to - 1);
    assert_int_equal(ask_transfer(w, old, to), RAFT_TRANSFER_NOT_LEADER);
    assert_int_equal(w->transfer_reply.leader, to);
    assert_int_equal(ask_transfer(w, to - 1u, to), RAFT_TRANSFER_NOT_A_VOTER);
    assert_int_equal(answered(w, WIRE_OK), 1);
    world_close(w);
}

/* J1: the target never gets what it lacks; an election timeout later all is as it was. */
static void transfer_to_a_node_that_cannot_follow_is_given_up(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t old = wait_leader(w);
    run(w, 5000);
    uint64_t term = raft_term(replica_raft(w->replica[old]));
    uint8_t to = (uint8_t)((old + 1) % NODES + 1);
    w->disk[to - 1].held = true;
    send_record(w, old, 0, 100);
    run(w, 20);
    assert_int_equal(ask_transfer(w, old, to), RAFT_TRANSFER_OK);
    assert_int_equal(leader_of(w), NODES);
    run_by(w, 301, MS);
    assert_int_equal(leader_of(w), old);
    assert_int_equal(raft_term(replica_raft(w->replica[old])), term);
    send_record(w, old, 1, 100);
    run_by(w, 100, MS);
    assert_int_equal(answered(w, WIRE_OK), 2);
    world_close(w);
}

static bool lose_between_nodes(void *context,
                               struct nic_address from,
                               struct nic_address to,
                               const uint8_t *data)
{
    (void)context;
    (void)from;
    (void)to;
    return data[6] < WIRE_REQUEST;
}

/* Iterations until it is stopped. */
static uint32_t stop(struct world *w, uint32_t node)
{
    replica_stop(w->replica[node]);
    for (uint32_t i = 0; i < 100000; i++) {
        if (replica_is_stopped(w->replica[node])) {
            return i;
        }
        run(w, 1);
    }
    fail();
    return 0;
}

static void leader_that_is_stopped_hands_over_first(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t old = wait_leader(w);
    run(w, 5000);
    for (uint64_t k = 0; k < 20; k++) {
        send_record(w, old, k, 5000);
    }
    run(w, 2); /* Some are in an entry that is still open. */
    uint32_t iterations = stop(w, old);
    assert_true(iterations * STEP_NS < w->config[old].election_min_ns);
    assert_int_equal(w->answer_count, 20);
    assert_int_equal(answered(w, WIRE_OK), 20);
    uint8_t leader = raft_leader(replica_raft(w->replica[old]));
    assert_int_not_equal(leader, RAFT_NOBODY);
    assert_int_equal(leader_of(w), leader - 1);
    world_close(w);
}

static void leader_that_finds_no_heir_stops_after_an_election_timeout(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t old = wait_leader(w);
    run(w, 5000);
    w->net.lose = lose_between_nodes;
    uint32_t iterations = stop(w, old);
    assert_true(iterations * STEP_NS <= w->config[old].election_max_ns + STEP_NS);
    world_close(w);
}

static void follower_that_is_stopped_stops_at_once(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t leader = wait_leader(w);
    run(w, 5000);
    uint32_t iterations = stop(w, (leader + 1) % NODES);
    assert_true(iterations * STEP_NS < w->config[leader].heartbeat_ns);
    assert_int_equal(leader_of(w), leader);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfer_under_load_leaves_no_request_without_an_answer),
        cmocka_unit_test(transfer_that_cannot_be_says_why),
        cmocka_unit_test(transfer_that_a_client_asks_for_ends_in_the_office_of_the_one_named),
        cmocka_unit_test(transfer_to_a_node_that_cannot_follow_is_given_up),
        cmocka_unit_test(leader_that_is_stopped_hands_over_first),
        cmocka_unit_test(leader_that_finds_no_heir_stops_after_an_election_timeout),
        cmocka_unit_test(follower_that_is_stopped_stops_at_once),
        cmocka_unit_test(cluster_elects_a_leader_and_commits_its_first_configuration),
        cmocka_unit_test(record_is_answered_with_its_offset_and_read_back),
        cmocka_unit_test(largest_record_travels_in_fragments_and_is_read_in_parts),
        cmocka_unit_test(lost_fragments_are_repaired_without_waiting_for_a_heartbeat),
        cmocka_unit_test(shuffled_and_repeated_frames_change_nothing),
        cmocka_unit_test(returning_leader_takes_no_entry_into_a_slot_that_a_cut_frees_again),
        cmocka_unit_test(
            follower_that_was_away_is_caught_up_at_its_rate_unless_commits_wait_for_it),
        cmocka_unit_test(every_entry_is_applied_once_and_in_order_and_never_before_it_is_committed),
        cmocka_unit_test(follower_answers_not_leader_and_names_the_leader),
        cmocka_unit_test(log_wraps_under_retention_and_old_offsets_are_trimmed),
        cmocka_unit_test(full_log_refuses_and_still_serves_reads),
        cmocka_unit_test(client_faster_than_the_log_is_told_busy),
        cmocka_unit_test(leader_whose_disk_holds_a_write_longer_than_its_limit_steps_down),
        cmocka_unit_test(replica_whose_disk_never_answers_fails_with_its_reason),
        cmocka_unit_test(follower_whose_disk_never_answers_fails_too),
        cmocka_unit_test(leader_with_half_its_ring_not_durable_steps_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
