/* stream_pair.h: a leader's and a follower's half of one stream, joined by hand: two cores, two
 * logs, two disks that the test can hold back or damage, and a network that it can look into.
 *
 * Node 1 leads, node 2 follows; both logs begin behind entry 1 of term 1. Messages of the cores go
 * from one to the other at once; frames of entries go through the shipped outbox and codec. Include
 * after cmocka.h.
 */
#ifndef TESTS_SUPPORT_STREAM_PAIR_H
#define TESTS_SUPPORT_STREAM_PAIR_H

#include "engine/stream.h"
#include "tests/support/loop_nic.h"

#include <stdbool.h>
#include <stdint.h>

#define PAIR_CLUSTER     0x9f3c0a4e5b6d7788ull
#define PAIR_DISK_BYTES  (16u << 20)
#define PAIR_START_INDEX 1u

struct pair_side {
    struct pair *pair;
    uint8_t id;
    struct mem mem;
    struct raft *raft;
    struct log log;
    struct outbox outbox;
    struct replica_counters counters;
    struct suspects suspects;
    struct stream_context context;
    uint8_t *image;       /* What its disk holds, by position. */
    uint64_t write_last;  /* Handed over by the core. */
    uint64_t write_epoch; /* Of it. */
    bool held;            /* Nothing becomes durable. */
};

struct pair {
    struct loop_net net;
    struct pair_side leader;
    struct pair_side follower;
    struct stream_out out;
    struct stream_in in;
    uint64_t now_ns;
    uint64_t fetched_bytes; /* Read back from the leader's disk. */
    uint64_t highest_seen;  /* Entry of which a frame reached the follower. */
    bool deaf;              /* The follower's port loses everything. */
    uint32_t way_bytes;     /* Larger frames are lost; 0: none. */
    uint32_t largest_bytes; /* Of frames of entries that were sent, lost ones too. */
};

/* Open with a leader elected; its no-op, entry 2, is not sent yet. */
void pair_open(struct pair *pair, uint32_t frame_bytes_max);
void pair_close(struct pair *pair);

/* Leader: one more client entry with one record; asserts that there is room. */
void pair_propose(struct pair *pair, uint32_t record_bytes);

/* Leader: send until there is no more to send now. Returns frames. */
uint32_t pair_send(struct pair *pair);
/* Follower: take all frames, and offer what is whole. */
void pair_receive(struct pair *pair);
/* Follower: answer now. */
void pair_ack(struct pair *pair);
/* A heartbeat and its answer. */
void pair_heartbeat(struct pair *pair);
/* Leader's disk brings what the stream wants to read. Returns reads. */
uint32_t pair_fetch(struct pair *pair);
/* What was handed over is durable, and both cores know. */
void pair_durable(struct pair *pair, struct pair_side *side);
/* Time passes in steps of `step_ns`, everything answers when it owes to. */
void pair_run(struct pair *pair, uint32_t steps, uint64_t step_ns);

/* Frames waiting at the follower, and one of them. */
uint32_t pair_waiting(const struct pair *pair);
struct loop_frame *pair_frame(struct pair *pair, uint32_t number);

/* Every entry up to the leader's last is the same on both sides, byte for byte, as far as both
 * still hold it in memory. */
void pair_assert_same(struct pair *pair);

#endif
