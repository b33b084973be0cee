/* floor_nodes.h: the commit floor over processes: one beside each node of a running cluster.
 *
 * A cluster of `thole start` processes has its floor in as many processes of our own: each with a
 * socket at its node's address, on a port of the kernel's choice, a file in its node's data folder,
 * one polling thread and the idle mode that the run was told. They are never stopped in between:
 * while the load runs they do what idle nodes do, and while the floor runs the nodes do, so that
 * what one side costs the other it costs both.
 *
 * Where a node has a port of its own, the floor's process enters that node's network namespace and
 * has another interface there, of the same kind: a device of DPDK has one process.
 *
 * They are forked, so this comes before anything is opened and any thread is made. Node 1 of the
 * floor (bench/floor.h) is whoever leads the cluster at the start. Knows no configuration.
 */
#ifndef BENCH_FLOOR_NODES_H
#define BENCH_FLOOR_NODES_H

#include "bench/floor.h"
#include "engine/base/fault.h"
#include "engine/idle.h"
#include "net/spec.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FLOOR_NODES_FILE_BYTES (16u * 1024u * 1024u)

struct floor_nodes_config {
    uint32_t node_count;
    struct {
        struct nic_address address; /* Of the cluster's node; the port is not taken. */
        const char *folder;         /* Where its data lies; not used in memory mode. */
        const char *namespace;      /* Path of the network namespace to enter first; NULL: none. */
        int cpu;                    /* -1: not pinned. */
    } nodes[VOTERS_MAX];            /* The first leads. */
    const struct nic_spec *net; /* NULL: a kernel socket at the node's address. Else a port of its
                                   own, at `address` with the port of the node, which is then not
                                   the node's. */
    bool durable;
    enum idle_mode idle;
};

struct floor_nodes_shared; /* Memory of all these processes. */

struct floor_nodes {
    struct floor_nodes_config config;
    struct floor_nodes_shared *shared; /* NULL: none run. */
    pid_t pids[VOTERS_MAX];
};

/* Make the processes; each opens its socket and its file and waits. 0, or -errno with the fault
 * told, and then none is left. Blocks while the files are written. */
MUST_USE int floor_nodes_start(struct floor_nodes *nodes,
                               const struct floor_nodes_config *config,
                               struct fault *fault);

/* Let them poll, and return when they do. Once. */
void floor_nodes_serve(struct floor_nodes *nodes);

/* Where the client's frames go. */
struct nic_address floor_nodes_leader(const struct floor_nodes *nodes);

/* True while all of them live. */
bool floor_nodes_are_alive(struct floor_nodes *nodes);

/* What node 1 measured; to be read while it measures something else. */
const struct histogram *floor_nodes_disk_ns(const struct floor_nodes *nodes);
const struct histogram *floor_nodes_peer_echo_ns(const struct floor_nodes *nodes);

/* Kill them. Nothing when none run; the histograms are gone. */
void floor_nodes_stop(struct floor_nodes *nodes);

#endif
