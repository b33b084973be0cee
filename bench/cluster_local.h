/* cluster_local.h: a whole cluster in this process, for `demo` and `bench run --local`.
 *
 * N replicas on one poll loop, each with its own port (bench/ports.h) and its own log (a
 * pre-written file under O_DIRECT, or memory), one more port for the client, and beside the
 * replicas the pollers of the commit floor on the same thread, ports and filesystem. Either the
 * replicas run, or the floor, or nothing: see engine/core.h.
 */
#ifndef BENCH_CLUSTER_LOCAL_H
#define BENCH_CLUSTER_LOCAL_H

#include "bench/floor.h"
#include "bench/ports.h"
#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "engine/core.h"
#include "engine/replica.h"
#include "net/nic.h"
#include "storage/segment.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CLUSTER_GROUP       0u
#define CLUSTER_PUBLISH_NS  100000u /* Between two looks of other threads at a replica. */
#define CLUSTER_FLOOR_BYTES (16u * 1024u * 1024u) /* Of each node's floor file. */

/* The most bytes of log that retention may keep in a log file of this size; 0: it is too small. */
uint64_t cluster_retention_max(uint64_t log_bytes);

struct cluster_local_config {
    uint32_t node_count;
    bool durable;
    bool floors;        /* Prepare the floor. */
    const char *folder; /* Exists; NULL: in memory. */
    uint64_t log_bytes; /* Of one file. */
    uint64_t retention_bytes;
    uint64_t log_memory_bytes;
    const struct ports_spec *net;
    uint32_t frames_max; /* Of the load, that may wait at one port: at most CLUSTER_FRAMES_MAX. */
    enum idle_mode idle;
    int cpu;             /* Of the replicas; -1: not pinned. */
    bool exclusive_core; /* core_cpu_is_own() */
    uint64_t seed;
    uint32_t eal_argc;
    char *const *eal_argv;
};

/* What other threads may read while a replica runs. */
struct cluster_progress {
    _Atomic uint64_t commit_position;
    _Atomic uint32_t leads; /* It is a leader that takes proposals. */
    _Atomic uint64_t ns;    /* When that was so; written last. */
};

struct cluster_node {
    struct mem mem;
    struct disk *disk;
    struct replica *replica;
    struct cluster_progress progress;
    uint64_t store;
    struct geometry geometry;
    char folder[PATH_MAX];
    char path[PATH_MAX]; /* Of its log. */
    char floor_path[PATH_MAX];
    bool made;
};

struct cluster_local {
    struct cluster_local_config config;
    uint64_t cluster;
    struct ports ports; /* The last one is the client's. */
    struct replica_node addresses[VOTERS_MAX + 1];
    struct cluster_node nodes[VOTERS_MAX];
    struct floor floor;
    struct core core;
    uint32_t replicas_set;
    uint32_t floor_set;
    bool started;
};

/* Format, open, recover; the replicas stand still afterwards. 0, or -errno with the fault told;
 * call cluster_local_close() in both cases. Prints the memory taken to `memory_out`. */
MUST_USE int cluster_local_open(struct cluster_local *cluster,
                                const struct cluster_local_config *config,
                                FILE *memory_out,
                                struct fault *fault);

static inline void cluster_local_run_replicas(struct cluster_local *cluster)
{
    core_select(&cluster->core, cluster->replicas_set);
}

static inline void cluster_local_run_floor(struct cluster_local *cluster)
{
    core_select(&cluster->core, cluster->floor_set);
}

static inline void cluster_local_pause(struct cluster_local *cluster)
{
    core_select(&cluster->core, CORE_NONE);
}

/* Node number (from 0) of a leader that takes proposals, or -1. Any time. */
int cluster_local_leader(struct cluster_local *cluster);

/* The furthest committed position. Any time. */
uint64_t cluster_local_commit_position(struct cluster_local *cluster);

/* Every replica has been heard of since `since_ns` and knows that as much is committed as the one
 * that knows most. */
bool cluster_local_is_even(struct cluster_local *cluster, uint64_t since_ns);

/* Bytes of memory taken at start, the ports' included. */
uint64_t cluster_local_memory_bytes(const struct cluster_local *cluster);

/* True when every disk has its buffers registered. */
bool cluster_local_is_registered(const struct cluster_local *cluster);

/* Stop everything. With `remove`, the files made here go, and their folders. */
void cluster_local_close(struct cluster_local *cluster, bool remove);

#endif
