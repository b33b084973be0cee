/* replica_world.h: three replicas over a perfect (or chosen) network and memory disks, driven poll
 * by poll, and a client of theirs. */
#ifndef TESTS_SUPPORT_REPLICA_WORLD_H
#define TESTS_SUPPORT_REPLICA_WORLD_H

#include "engine/replica.h"
#include "storage/disk_memory.h"
#include "tests/support/loop_nic.h"

#define WORLD_NODES      3u
#define WORLD_CLUSTER    0x9f3c0a4e5b6d7788ull
#define WORLD_STEP_NS    10000u
#define WORLD_MS         1000000u
#define WORLD_DISK_BYTES (16ull << 20)
#define WORLD_CLIENT_ID  77u

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
    struct mem mems[WORLD_NODES];
    struct mem disks;
    struct disk *inner[WORLD_NODES];
    struct held_disk disk[WORLD_NODES];
    struct replica *replica[WORLD_NODES];
    struct replica_config config[WORLD_NODES];
    uint64_t scrub_bytes_per_s;
    uint64_t scrub_every_ns;
    uint64_t now_ns;
    struct answer answers[4096];
    uint32_t answer_count;
    struct wire_read_reply read_reply;
    uint8_t read_payload[FRAME_BYTES_MAX];
    uint32_t read_bytes;
    uint32_t read_replies;
    struct wire_transfer_reply transfer_reply;
    uint32_t transfer_replies;
    struct wire_status_reply status_reply;
    uint32_t status_replies;
    uint32_t lose_every; /* ENTRY frames lost: one in so many; 0: none. */
    uint32_t seen;
    uint32_t apart; /* A node cut off from the others, not from the client; WORLD_NODES: none. */
    uint64_t lost_index; /* Not cut off, but this entry never reaches it; 0: cut off. */
    uint32_t corrupt_applied;
    uint64_t applied[WORLD_NODES]; /* Highest index. */
};

struct world *world_open(uint32_t frame_bytes_max, uint64_t retention_bytes);

/* The same with disks of their own sizes. */
struct world *world_open_sizes(uint32_t frame_bytes_max,
                               uint64_t retention_bytes,
                               const uint64_t disk_bytes[WORLD_NODES]);

/* The same, whose logs are scrubbed at this rate and so often. */
struct world *
world_open_scrub(uint32_t frame_bytes_max, uint64_t scrub_bytes_per_s, uint64_t scrub_every_ns);

/* All processes end where they are, and begin again on what is on the disks, with this retention.
 */
void world_restart(struct world *w, uint64_t retention_bytes);

void world_close(struct world *w);

void world_run_by(struct world *w, uint32_t iterations, uint64_t step_ns);

void world_run(struct world *w, uint32_t iterations);

uint32_t world_leader(struct world *w);

uint32_t world_wait_leader(struct world *w);

/* Send one record, in fragments when it is large. */
void world_send_record(struct world *w, uint32_t node, uint64_t sequence, uint32_t bytes);

/* Send a question without a payload; its kind, token and fixed part are the caller's. */
void world_ask(struct world *w, uint32_t node, struct wire_frame *frame);

void world_send_read(struct world *w, uint32_t node, uint64_t offset, uint32_t skip);

/* Ask a node to hand over; what it answers, an iteration later. */
enum raft_transfer world_ask_transfer(struct world *w, uint32_t node, uint8_t to);

/* Ask a node how it stands; what it answers, an iteration later. */
struct wire_status_reply world_ask_status(struct world *w, uint32_t node);

uint64_t world_commit_index(struct world *w, uint32_t node);

uint32_t world_other_leader(struct world *w, uint32_t than);

#endif
