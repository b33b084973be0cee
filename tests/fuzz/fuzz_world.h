/* fuzz_world.h: one replica of a running cluster, stopped at a moment, for fuzz_replica.c.
 *
 * Each world is made once by a whole cluster of shipped replicas over a perfect network, until node
 * 2 stands as its name says; then the others are gone, and whatever comes to node 2 is the
 * fuzzer's. Its memory, its disk and what is here of the network are one keep: back before every
 * input.
 *
 * The world watches. No input may make node 2 fail an assertion, send what its receiver would not
 * take, send to anybody but its peers and clients that asked, answer one question twice, take back
 * a term or a commit, or forget across a power cut what it had promised.
 */
#ifndef TESTS_FUZZ_FUZZ_WORLD_H
#define TESTS_FUZZ_FUZZ_WORLD_H

#include "engine/replica.h"
#include "tests/fuzz/keep.h"
#include "tests/support/disk_model.h"

#define FUZZ_CLUSTER     0x9f3c0a4e5b6d7788ull
#define FUZZ_SELF        2u
#define FUZZ_NODES       3u
#define FUZZ_CLIENTS     3u
#define FUZZ_CLIENT_ID   77u /* Of client 0; the others follow. */
#define FUZZ_BURSTS_MAX  64u
#define FUZZ_ENTRIES_MAX 64u /* Known entries of the log, newest ones. */
#define FUZZ_KINDS_MAX   64u /* Of frames. */
#define FUZZ_MS          1000000ull

enum fuzz_stage {
    FUZZ_FRESH,        /* Formatted, opened, alone. */
    FUZZ_FOLLOWER,     /* Of node 1, with a session and a log that is soon trimmed. */
    FUZZ_CANDIDATE,    /* It has just asked for votes. */
    FUZZ_LEADER,       /* With the same. */
    FUZZ_BOOTSTRAPPER, /* The first leader: its first entry is not committed. */
    FUZZ_ALONE,        /* The only voter. */
    FUZZ_STAGE_COUNT
};

/* What is known of an entry of node 2's log: enough to make the next one. */
struct fuzz_entry {
    uint64_t index; /* 0: nothing. */
    uint64_t term;
    uint64_t end_position;
    uint64_t end_offset;
};

struct fuzz_frame {
    uint8_t *data; /* In memory of its own, so that a byte read past the end is seen. */
    uint32_t bytes;
    struct nic_address from;
};

struct fuzz_world {
    struct nic nic;     /* First: the seam. */
    struct nic *bridge; /* While the cluster is whole; then NULL. */
    struct disk_model disk;
    struct mem mem;
    struct replica *replica;
    uint64_t now_ns;
    uint32_t frame_count;
    struct fuzz_frame frames[FUZZ_BURSTS_MAX];
    /* What node 2 sent last, by receiver and kind: whose tokens an answer needs. */
    struct wire_frame sent[FUZZ_NODES + 1][FUZZ_KINDS_MAX];
    uint64_t boots[FUZZ_NODES + 1];
    uint64_t stores[FUZZ_NODES + 1];
    uint64_t session; /* Of client 0. */
    uint32_t epoch;
    uint64_t next_sequence;
    struct fuzz_entry entries[FUZZ_ENTRIES_MAX]; /* By index % FUZZ_ENTRIES_MAX. */
    struct log_start boundary;                   /* The first place to which it may be trimmed. */
    uint64_t applied_index;
    /* The watch. */
    struct replica_status before;
    uint32_t received; /* Frames of this poll. */
    uint32_t sent_to_peers;
    uint32_t questions[FUZZ_CLIENTS]; /* Sound ones without an answer. */
    uint64_t acked_index;
    uint64_t promised_term;
    uint8_t promised_vote;
};

/* Make all of them; once. */
void fuzz_worlds_open(void);

/* The world as it was made. */
struct fuzz_world *fuzz_world_back(enum fuzz_stage stage);

struct nic_address fuzz_node_address(uint8_t node);
struct nic_address fuzz_client_address(uint32_t client);

/* A frame on its way to node 2. False: no room before the next poll. */
bool fuzz_world_put(struct fuzz_world *world,
                    struct nic_address from,
                    const uint8_t *data,
                    uint32_t bytes);

/* One poll, and everything that is watched. */
void fuzz_world_poll(struct fuzz_world *world);

/* Ask it to hand its office over, whether it can or not. */
void fuzz_hand_over(struct replica *replica, uint8_t to);

/* The input is over. With `crash` the power goes, and the disk must hold what was promised. */
void fuzz_world_end(struct fuzz_world *world, bool crash);

/* What is known of this entry; index 0 of it: nothing. The empty log is known. */
struct fuzz_entry fuzz_world_entry(const struct fuzz_world *world, uint64_t index);
void fuzz_world_know(struct fuzz_world *world, const struct fuzz_entry *entry);

#endif
