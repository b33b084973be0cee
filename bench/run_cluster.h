/* run_cluster.h: one benchmark run against a running cluster of `thole start` processes.
 *
 * The client is this process, over a kernel socket to the addresses of the configuration. Slices of
 * load alternate with slices of floor, as in bench/run.h, but nothing of the cluster can be stopped
 * or looked into: how it stands is asked by STATUS frames, its floor runs in processes of our own
 * (bench/floor_nodes.h), and what it wrote is read from its log files where a quorum of them lies
 * on this machine, else read back through the client.
 */
#ifndef BENCH_RUN_CLUSTER_H
#define BENCH_RUN_CLUSTER_H

#include "bench/load.h"
#include "bench/result.h"
#include "engine/base/fault.h"
#include "engine/config.h"
#include "engine/idle.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct run_cluster_config {
    const struct config *cluster; /* Borrowed. */
    struct load_config load;
    uint32_t record_bytes;
    uint64_t duration_ns; /* Of load. */
    uint64_t warmup_ns;
    bool floors;
    enum idle_mode idle; /* Of the floor's processes and of the client. */
    int client_cpu;      /* -1: not pinned. */
    /* Of the floor's processes, where a node stands in a network namespace of its own; in the
     * configuration's order. */
    const char *floor_namespaces[VOTERS_MAX]; /* NULL: here. */
    const struct nic_spec *floor_net;         /* NULL: a kernel socket at the node's address. */
    uint32_t floor_ipv4;                      /* Of the first one's port; the others' follow. */
    int node_cpus[VOTERS_MAX]; /* Of the floor's processes, in the configuration's order. */
};

struct run_cluster;
struct run_cluster *run_cluster_open(void);

/* Carry it out; `result` is filled but for what only the caller knows. Its histograms live until
 * run_cluster_close(). 0, or an enum fault_code with the fault told. Stops early when
 * `*interrupted` becomes true. */
MUST_USE int run_cluster_execute(struct run_cluster *run,
                                 const struct run_cluster_config *config,
                                 const volatile sig_atomic_t *interrupted,
                                 struct result *result,
                                 struct fault *fault);
void run_cluster_close(struct run_cluster *run);

#endif
