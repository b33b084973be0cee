/* node.h: one node of a cluster, assembled: its nic, its disk, its replica and the loop that polls
 * them. What `thole start` runs.
 *
 * Everything is opened in one go and closed in the reverse order, after any failure too. It must
 * not know flags, signals or terminals.
 */
#ifndef ENGINE_NODE_H
#define ENGINE_NODE_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "engine/config.h"
#include "engine/core.h"
#include "engine/replica.h"
#include "net/capture.h"
#include "net/capture_file.h"
#include "net/nic.h"
#include "storage/disk.h"
#include "storage/disk_slow.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define NODE_GROUP 0u /* One group a node, so far. */

struct node_config {
    const struct config *cluster;
    const struct config_node *self; /* One of cluster->nodes. */
    const char *log_path;           /* Of the formatted log; not used in memory mode. */
    uint64_t store;                 /* Of the log that memory mode formats; random. */
    uint64_t seed;                  /* Of the election's chance; random. */
    enum idle_mode idle;
    int cpu;                     /* -1: not pinned. */
    const struct nic_spec *spec; /* Not NIC_RING: a node of its own has no ring. */
    struct capture_file *pcap;   /* Open; what passes is written into it. NULL: nowhere. */
    uint32_t eal_argc;           /* For DPDK, verbatim; with NIC_UDP none. */
    char *const *eal_argv;
    const struct disk_slow_numbers *slow; /* Of a slow disk, asked for; NULL: none. Borrowed. */
    bool posix;                           /* The disk without io_uring; asked for. */
    enum wal_accept accept;               /* struct replica_config */
    /* Called on the loop's thread when there is something to look at: node_failure(), once,
     * node_mends(), which is over, or node_narrow(). NULL: nobody looks. */
    void (*look)(void);
};

#define NODE_FACTS_MAX 6u

struct node {
    struct node_config config;
    uint32_t fact_count;
    struct wire_item facts[NODE_FACTS_MAX]; /* Of its port; their texts stand below. */
    char fact_texts[NODE_FACTS_MAX][STATS_TEXT_MAX + 1];
    struct mem mem;
    struct nic *nic;
    struct capture *capture; /* Of the nic; NULL: none. */
    struct disk *disk;
    struct replica *replica;
    struct core core;
    bool started;
    FILE *out;               /* Where the mending of its log is told. */
    uint64_t tell_ns;        /* When it may be told again. */
    bool bounded;            /* It has lost an end of its log: struct replica_status. */
    _Atomic bool mends;      /* Its log is not whole: it does not serve yet. */
    _Atomic int failure;     /* 0, or -errno of the disk. */
    struct fault fault;      /* Why it failed, if the replica told; written before `failure`. */
    _Atomic raft_set narrow; /* Peers that were narrow at some time. */
    raft_set narrow_told;
};

/* Open everything and recover; the memory table goes to `memory_out`, and later, from the loop's
 * thread, what becomes of a damaged log. Returns 0 when the node serves, or mends its log and will;
 * or -errno with the fault told, and then nothing is left open. Blocks while recovering. */
MUST_USE int node_start(struct node *node,
                        const struct node_config *config,
                        FILE *memory_out,
                        struct fault *fault);

/* The memory of a node, fixed at start: what the table of node_start() adds up to, but for the few
 * pages more of a disk without io_uring. */
uint64_t node_memory_bytes(const struct config *cluster, const struct config_node *self);

/* The smallest frame that a node can work with: what it needs of a port's MTU. */
uint32_t node_frame_bytes_min(void);

/* Its log is damaged, and it does not serve before the others have brought what is gone. */
bool node_mends(const struct node *node);

/* 0; or -errno of the disk that failed while serving: nothing is polled any more. */
int node_failure(const struct node *node);

/* Say to `out` which peers larger frames turned out not to reach, each once, and what mends it. */
void node_narrow(struct node *node, FILE *out);

/* Stop cleanly and close everything; takes CORE_STOP_NS at most, and what a hanging disk takes.
 * What the port counted, bad frames by their reason, goes to `counters_out`. */
void node_stop(struct node *node, FILE *counters_out);

#endif
