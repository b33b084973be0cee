/* cluster.h: some cores in one process, with the world around them made of arrays.
 *
 * Every node has a core, a log in memory, and a disk whose writes complete only when the test says
 * so; messages lie in one bag, in the order sent, and the test takes out which it likes. The
 * streams are reduced to "send what the peer has not been sent yet in this session". What the core
 * promises is checked at every effect: a broken promise prints itself and aborts. Knows no
 * randomness and no clock of its own; the caller brings both.
 */
#ifndef TESTS_TRACE_CLUSTER_H
#define TESTS_TRACE_CLUSTER_H

#include "engine/raft/raft.h"

#include <stdbool.h>
#include <stdint.h>

#define CLUSTER_NODES_MAX          8u
#define CLUSTER_LOG_MAX            1024u
#define CLUSTER_PACKETS_MAX        4096u
#define CLUSTER_CONFIGURATIONS_MAX 32u
#define CLUSTER_TERMS_MAX          4096u
#define CLUSTER_STREAM_WINDOW      8u

struct cluster_entry {
    uint64_t term;
    uint32_t configuration; /* 1 + its place in the cluster's table; 0: none. */
};

/* A message, or one entry of a stream. */
struct cluster_packet {
    bool is_entry;
    uint8_t from;
    uint8_t to;
    struct raft_message message;
    struct {
        uint64_t term;
        uint64_t commit_index;
        struct raft_entry_id id;
        uint64_t previous_term;
        uint32_t configuration;
    } entry;
};

/* What a power cut leaves behind. */
struct cluster_disk {
    uint64_t term;
    uint8_t vote;
    uint64_t entry_term;
    bool bootstrapped;
    struct raft_entry_id vote_bound;
    bool went_back; /* It is an old copy: what it acknowledged is not there. */
    uint64_t epoch;
    uint64_t durable_index; /* Everything up to here is on the platter. */
    uint64_t written_index; /* Handed to the disk: after a power cut there or not. */
    struct cluster_entry entries[CLUSTER_LOG_MAX];
    bool state_pending;
    bool cut_pending;
    struct raft_effect state; /* The WRITE_STATE under way. */
    struct raft_effect cut;   /* The CUT_LOG under way. */
};

struct cluster_stream {
    uint32_t session;
    uint64_t next_index;
};

struct cluster_node {
    struct raft *raft;
    bool up;
    uint64_t boot;
    uint64_t store;
    uint64_t last_index;
    uint64_t applied_index;
    struct cluster_entry entries[CLUSTER_LOG_MAX];
    struct cluster_disk disk;
    struct cluster_stream streams[CLUSTER_NODES_MAX];
    uint64_t term_shown; /* Never goes back over the life of the node. */
    uint8_t voted[CLUSTER_TERMS_MAX];
};

struct cluster {
    uint8_t node_count; /* Nodes 1 to node_count. */
    uint64_t now_ns;
    uint64_t seed;
    uint64_t election_min_ns;
    uint64_t election_max_ns;
    uint64_t heartbeat_ns;
    bool preset;                     /* Logs were set: the cluster was not born in this test. */
    bool make;                       /* Propose at once what MAKE asks for. */
    struct raft_configuration first; /* The configuration file's. */
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    struct cluster_packet packets[CLUSTER_PACKETS_MAX];
    uint32_t packet_count;
    uint64_t packets_lost; /* The bag was full. */
    struct raft_configuration configurations[CLUSTER_CONFIGURATIONS_MAX];
    uint32_t configuration_count;
    uint8_t leaders[CLUSTER_TERMS_MAX];
    uint64_t committed[CLUSTER_LOG_MAX]; /* Terms; 0: not yet. */
    uint64_t committed_index;
    void (*on_effect)(struct cluster *c,
                      uint8_t id,
                      const struct raft_effect *effect); /* Or NULL. */
};

/* Empty disks, nobody up. `voters` is the file's configuration; learners are the other nodes. */
void cluster_init(struct cluster *c, uint8_t node_count, raft_set voters);
void cluster_fini(struct cluster *c);

/* Write a log as if by earlier terms; the node is down. */
void cluster_set_log(struct cluster *c, uint8_t id, const uint64_t *terms, uint32_t count);

/* Start from the disk: of what was under way, `written_index` entries, and the state and the cut if
 * asked for, have reached it. */
void cluster_start(struct cluster *c, uint8_t id);
void cluster_crash(struct cluster *c, uint8_t id, uint64_t written_index, bool state, bool cut);

/* Feed an event and carry out what is owed. */
enum raft_taken cluster_step(struct cluster *c, uint8_t id, const struct raft_event *event);
void cluster_event(struct cluster *c, uint8_t id, enum raft_event_kind kind);
enum raft_taken cluster_deliver(struct cluster *c, uint32_t packet); /* And take it out. */
void cluster_remove(struct cluster *c, uint32_t packet);
enum raft_taken
cluster_propose(struct cluster *c, uint8_t id, const struct raft_configuration *configuration);

/* Complete a write of the node's disk. */
void cluster_state_durable(struct cluster *c, uint8_t id);
void cluster_log_durable(struct cluster *c, uint8_t id, uint64_t epoch, uint64_t index);
void cluster_cut_durable(struct cluster *c, uint8_t id);

/* The node's core forgets entries that every node holds and knows to be committed. */
void cluster_trim(struct cluster *c, uint8_t id);

/* Streams begin again at what is acknowledged. */
void cluster_resend(struct cluster *c, uint8_t id);

/* Logs that hold the same entry are equal up to it. */
void cluster_check_logs(const struct cluster *c);

#endif
