/* test_replica_hostile.c: what one datagram may cause: who is answered, by how many frames, and who
 * never (docs/PROTOCOL.md). Virtual time stands still while frames are counted, so that what leaves
 * was caused by what came. */
#include "tests/support/frames.h"
#include "tests/support/replica_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SEED                   1u
#define ROUNDS                 200u /* Of each kind. */
#define FRAME_BYTES            1472u
#define GARBAGE                200u
#define READ_RECORDS           40u
#define OFFSET_CRC             16u
#define OFFSET_GROUP           10u
#define OFFSET_MAGIC           0u
#define OFFSET_STRANGE_CLUSTER 24u

/* What nodes sent. */
static struct {
    uint32_t to_client;
    uint32_t to_client_bytes;
    uint32_t to_nodes;
} heard;

static bool
count(void *context, struct nic_address from, struct nic_address to, const uint8_t *data)
{
    const struct world *w = context;
    struct nic_address client = w->net.ports[WORLD_NODES].nic.self;
    if (nic_address_equal(from, client)) {
        return false;
    }
    uint32_t bytes;
    memcpy(&bytes, data + 12, sizeof bytes);
    bool is_client = nic_address_equal(to, client);
    heard.to_client += is_client;
    heard.to_client_bytes += is_client ? bytes : 0;
    heard.to_nodes += !is_client;
    return true; /* Nobody hears it: the next case begins where this one did. */
}

/* A cluster with some records; whoever leads it. */
static struct world *settled(uint32_t *leader)
{
    struct world *w = world_open(FRAME_BYTES, 0);
    *leader = world_wait_leader(w);
    for (uint64_t k = 0; k < READ_RECORDS; k++) {
        world_send_record(w, *leader, k, 500);
        world_run(w, 20);
    }
    world_run(w, 3000);
    assert_int_equal(w->answer_count, READ_RECORDS);
    w->net.lose = count;
    w->net.context = w;
    return w;
}

static void inject(struct world *w, uint32_t node, const uint8_t *bytes, uint32_t frame_bytes)
{
    struct nic_send send = {
        .to = w->net.ports[node].nic.self, .head = bytes, .head_bytes = frame_bytes};
    assert_int_equal(nic_tx_burst(&w->net.ports[WORLD_NODES].nic, &send, 1), 1);
}

/* One poll of one node, at the time of the last one: what did it send? */
static void poll(struct world *w, uint32_t node)
{
    memset(&heard, 0, sizeof heard);
    (void)replica_poll(w->replica[node], w->now_ns);
}

static bool is_client_kind(uint8_t kind)
{
    return kind >= WIRE_REQUEST;
}

/* A sound frame of this kind, of this cluster, for this node. Returns its bytes. */
static uint32_t sound(struct prng *prng, enum wire_kind kind, uint32_t node, uint8_t *bytes)
{
    static uint8_t payload[FRAME_BYTES_MAX];
    struct wire_frame frame;
    uint32_t frame_bytes;
    do {
        frame_random(prng, kind, &frame, payload);
        bool message = kind <= WIRE_APPEND || kind == WIRE_TIMEOUT_NOW;
        frame.header.cluster = WORLD_CLUSTER;
        frame.header.group = 0;
        frame.header.to_boot = 0;
        if (!is_client_kind((uint8_t)kind)) {
            frame.header.to = (uint8_t)(node + 1);
            frame.header.from = (uint8_t)((node + prng_between(prng, 1, 2)) % WORLD_NODES + 1);
        }
        if (message) {
            frame.message.from = frame.header.from;
            frame.message.to = frame.header.to;
        }
        if (frame.header.from == 0) {
            frame.header.to = (uint8_t)(node + 1);
        }
        frame_bytes = frame_write(&frame, bytes);
    } while (frame_bytes > FRAME_BYTES);
    return frame_bytes;
}

static uint64_t foreign(const struct world *w, uint32_t node)
{
    return replica_counters(w->replica[node])->frames_foreign;
}

static void a_frame_of_a_node_from_elsewhere_is_dropped_and_answered_nowhere(void **state)
{
    (void)state;
    uint32_t leader;
    struct world *w = settled(&leader);
    struct prng prng;
    prng_init(&prng, SEED);
    uint8_t bytes[FRAME_BYTES_MAX];
    for (uint32_t node = 0; node < WORLD_NODES; node++) {
        poll(w, node); /* What it owed before. */
        uint64_t term = raft_term(replica_raft(w->replica[node]));
        for (uint32_t i = 0; i < frame_kind_count; i++) {
            for (uint32_t k = 0; k < ROUNDS && frame_kinds[i] < WIRE_REQUEST; k++) {
                uint64_t before = foreign(w, node);
                inject(w, node, bytes, sound(&prng, frame_kinds[i], node, bytes));
                poll(w, node);
                assert_int_equal(foreign(w, node), before + 1);
                assert_int_equal(heard.to_client, 0);
                assert_int_equal(heard.to_nodes, 0);
            }
        }
        assert_int_equal(raft_term(replica_raft(w->replica[node])), term);
    }
    world_close(w);
}

static void what_is_no_frame_of_this_cluster_is_answered_by_nothing(void **state)
{
    (void)state;
    static const uint32_t offsets[] = {OFFSET_MAGIC, OFFSET_GROUP, OFFSET_STRANGE_CLUSTER};
    uint32_t leader;
    struct world *w = settled(&leader);
    struct prng prng;
    prng_init(&prng, SEED);
    uint8_t bytes[FRAME_BYTES_MAX];
    poll(w, leader);
    for (uint32_t i = 0; i < frame_kind_count; i++) {
        for (uint32_t k = 0; k < ROUNDS; k++) {
            uint32_t frame_bytes = sound(&prng, frame_kinds[i], leader, bytes);
            uint64_t way = prng_below(&prng, 5);
            if (way < 3) { /* Sound, but for one field. */
                bytes[offsets[way]] ^= (uint8_t)prng_between(&prng, 1, 255);
                frame_mend(bytes, frame_bytes);
            } else if (way == 3) {
                bytes[OFFSET_CRC] ^= (uint8_t)prng_between(&prng, 1, 255);
            } else {
                frame_bytes = (uint32_t)prng_between(&prng, 1, frame_bytes - 1);
            }
            uint64_t before = replica_counters(w->replica[leader])->frames_dropped;
            inject(w, leader, bytes, frame_bytes);
            poll(w, leader);
            assert_int_equal(replica_counters(w->replica[leader])->frames_dropped, before + 1);
            assert_int_equal(heard.to_client, 0);
            assert_int_equal(heard.to_nodes, 0);
        }
    }
    world_close(w);
}

/* What one question causes in the poll that takes it. */
static void ask(struct world *w, uint32_t node, struct wire_frame frame, uint64_t token)
{
    frame.header.token = token;
    world_ask(w, node, &frame);
    poll(w, node);
}

static void a_question_is_answered_by_one_frame_to_whoever_asked(void **state)
{
    (void)state;
    uint32_t leader;
    struct world *w = settled(&leader);
    uint64_t token = 1000;
    for (uint32_t node = 0; node < WORLD_NODES; node++) {
        poll(w, node);
        const struct wire_frame status = {.header = {.kind = WIRE_STATUS}};
        ask(w, node, status, ++token);
        assert_int_equal(heard.to_client, 1);
        assert_int_equal(heard.to_client_bytes, wire_head_bytes(WIRE_STATUS_REPLY));
        assert_int_equal(heard.to_nodes, 0);
        const struct wire_frame read = {.header = {.kind = WIRE_READ}};
        ask(w, node, read, ++token); /* The log holds far more than one frame. */
        assert_int_equal(heard.to_client, 1);
        assert_in_range(heard.to_client_bytes, FRAME_BYTES / 2, FRAME_BYTES);
        assert_int_equal(heard.to_nodes, 0);
        const struct wire_frame held = {.header = {.kind = WIRE_READ},
                                        .read = {.offset = READ_RECORDS, .waits = true}};
        ask(w, node, held, ++token);
        ask(w, node, held, token); /* The same again waits once. */
        assert_int_equal(heard.to_client, 0);
        assert_int_equal(heard.to_nodes, 0);
    }
    const struct wire_frame proof = {.header = {.kind = WIRE_READ}, .read = {.linearizable = true}};
    ask(w, leader, proof, ++token); /* A heartbeat to each of the others, and no answer yet. */
    assert_int_equal(heard.to_client, 0);
    assert_in_range(heard.to_nodes, 0, WORLD_NODES - 1);
    uint32_t follower = (leader + 1) % WORLD_NODES;
    ask(w, follower, proof, ++token);
    assert_int_equal(heard.to_client, 1);
    assert_int_equal(heard.to_client_bytes, wire_head_bytes(WIRE_READ_REPLY));
    const struct wire_frame transfer = {.header = {.kind = WIRE_TRANSFER}};
    ask(w, follower, transfer, ++token);
    assert_int_equal(heard.to_client, 1);
    assert_int_equal(heard.to_nodes, 0);
    const struct wire_frame open = {.header = {.kind = WIRE_OPEN}};
    ask(w, follower, open, ++token);
    assert_int_equal(heard.to_client, 1);
    assert_int_equal(heard.to_nodes, 0);
    world_close(w);
}

static void a_request_is_answered_once_and_sends_its_entry_to_the_others(void **state)
{
    (void)state;
    uint32_t leader;
    struct world *w = settled(&leader);
    poll(w, leader);
    world_send_record(w, leader, 1000, 1000);
    poll(w, leader);
    assert_int_equal(heard.to_client, 0);
    assert_in_range(heard.to_nodes, WORLD_NODES - 1, (WORLD_NODES - 1) * PEER_FRAMES_PER_POLL);
    uint32_t follower = (leader + 1) % WORLD_NODES;
    poll(w, follower);
    world_send_record(w, follower, 1001, 1000);
    poll(w, follower);
    assert_int_equal(heard.to_client, 1);
    assert_int_equal(heard.to_client_bytes, wire_head_bytes(WIRE_REPLY));
    assert_int_equal(heard.to_nodes, 0);
    world_close(w);
}

static void a_good_frame_behind_garbage_is_reached_by_the_same_poll(void **state)
{
    (void)state;
    uint32_t leader;
    struct world *w = settled(&leader);
    struct prng prng;
    prng_init(&prng, SEED);
    uint8_t bytes[FRAME_BYTES_MAX];
    poll(w, leader);
    for (uint32_t i = 0; i < GARBAGE; i++) {
        uint32_t frame_bytes = sound(&prng, WIRE_STATUS, leader, bytes);
        bytes[OFFSET_CRC] ^= 1;
        inject(w, leader, bytes, frame_bytes);
    }
    const struct wire_frame status = {.header = {.kind = WIRE_STATUS}};
    ask(w, leader, status, 1);
    assert_int_equal(heard.to_client, 1);
    /* And no poll takes more than so many. */
    uint64_t before = replica_counters(w->replica[leader])->frames_dropped;
    for (uint32_t i = 0; i < RX_BURSTS_MAX * RX_BURST_MAX + 1; i++) {
        inject(w, leader, bytes, FRAME_BYTES_MIN);
    }
    assert_true(replica_poll(w->replica[leader], w->now_ns) > 0); /* One more waits. */
    uint64_t dropped = replica_counters(w->replica[leader])->frames_dropped - before;
    assert_int_equal(dropped, RX_BURSTS_MAX * RX_BURST_MAX);
    world_close(w);
}

/* In the leader's name: the node would be bound to it, on its disk. */
static void an_accusation_that_no_disk_can_hold_is_not_kept(void **state)
{
    (void)state;
    uint32_t leader;
    struct world *w = settled(&leader);
    uint32_t node = (leader + 1) % WORLD_NODES;
    const struct raft *raft = replica_raft(w->replica[node]);
    struct wire_frame frame = {.header = {.kind = WIRE_APPEND, .cluster = WORLD_CLUSTER}};
    frame.message = (struct raft_message){.kind = RAFT_APPEND,
                                          .from = (uint8_t)(leader + 1),
                                          .to = (uint8_t)(node + 1),
                                          .from_boot = 1u << 20,
                                          .term = raft_term(raft),
                                          .token = 1ull << 60};
    frame.message.from_store = raft_configuration(raft)->members[leader].store;
    frame.message.append.commit_index = 1ull << 62;
    frame.message.append.regressed = 1ull << (node + 1);
    uint8_t bytes[FRAME_BYTES_MAX];
    struct nic_send send = {
        .to = w->net.ports[node].nic.self, .head = bytes, .head_bytes = wire_encode(&frame, bytes)};
    w->net.lose = NULL;
    assert_int_equal(nic_tx_burst(&w->net.ports[leader].nic, &send, 1), 1);
    for (uint32_t i = 0; i < 100; i++) {
        poll(w, node);
    }
    assert_int_equal(raft_vote_bound(raft).index, 0);
    world_restart(w, 0);
    (void)world_wait_leader(w);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_of_a_node_from_elsewhere_is_dropped_and_answered_nowhere),
        cmocka_unit_test(what_is_no_frame_of_this_cluster_is_answered_by_nothing),
        cmocka_unit_test(a_question_is_answered_by_one_frame_to_whoever_asked),
        cmocka_unit_test(a_request_is_answered_once_and_sends_its_entry_to_the_others),
        cmocka_unit_test(an_accusation_that_no_disk_can_hold_is_not_kept),
        cmocka_unit_test(a_good_frame_behind_garbage_is_reached_by_the_same_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
