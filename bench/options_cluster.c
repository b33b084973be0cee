/* options_cluster.c: flags and a configuration -> a run against a running cluster. */
#define _GNU_SOURCE /* CPU sets. */
#include "bench/options.h"

#include "bench/check_cluster.h"
#include "bench/run_cluster.h"
#include "engine/base/assert.h"
#include "engine/cli/command.h"
#include "engine/config.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define UDP_SPEC "udp"

/* What must hold before anything is asked. */
static int
check_options(const struct options *options, const struct config *cluster, struct fault *fault)
{
    if (options->eal_argc > 0) {
        fault_set(fault, FAULT_USAGE, "what follows `--` is for DPDK, and udp is no port of it");
        return FAULT_USAGE;
    }
    if (options->net_given != NULL && strcmp(options->net_given, UDP_SPEC) != 0) {
        fault_set(fault, FAULT_USAGE,
                  "--net %.64s: a running cluster is measured over a kernel socket; give --net udp "
                  "or leave it out",
                  options->net_given);
        return FAULT_USAGE;
    }
    if (options->cpu_count > 1 && options->cpu_count != cluster->node_count + 1) {
        fault_set(fault, FAULT_USAGE,
                  "--cpu: give one CPU, the client's, or one for the floor of each of the %u nodes "
                  "and the client's last",
                  cluster->node_count);
        return FAULT_USAGE;
    }
    if (options->floor_namespace_count > 0 &&
        options->floor_namespace_count != cluster->node_count) {
        fault_set(fault, FAULT_USAGE, "--floor-ns: give one path for each of the %u nodes",
                  cluster->node_count);
        return FAULT_USAGE;
    }
    if (options->floor_net_given && options->floor_net.kind != NIC_UDP &&
        (options->floor_ipv4 == 0 || options->floor_namespace_count == 0)) {
        fault_set(fault, FAULT_USAGE,
                  "--floor-net: a port needs --floor-address and, one each, --floor-ns");
        return FAULT_USAGE;
    }
    return 0;
}

static void config_fill(const struct options *options,
                        const struct config *cluster,
                        struct run_cluster_config *run)
{
    *run = (struct run_cluster_config){
        .cluster = cluster,
        .load = options_load(options),
        .record_bytes = options->size_bytes,
        .duration_ns = options->duration_ns,
        .warmup_ns = options->warmup_ns,
        .floors = !options->no_floor,
        .idle = options->idle,
        .floor_net = options->floor_net_given ? &options->floor_net : NULL,
        .floor_ipv4 = options->floor_ipv4,
        .client_cpu = options->cpu_count > 0 ? options->cpus[options->cpu_count - 1] : -1,
    };
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        run->floor_namespaces[i] = options->floor_namespaces[i];
        run->node_cpus[i] = options->cpu_count > 1 ? options->cpus[i] : -1;
    }
}

static void result_fill(const struct options *options,
                        const struct config *cluster,
                        const struct run_cluster_config *run,
                        struct result *result)
{
    struct result_config *config = &result->config;
    options_result(options, "bench run", result);
    config->nodes = cluster->node_count;
    config->net = cluster->nodes[0].spec;
    config->idle = idle_mode_name(options->idle);
    config->client = "own process, udp";
    config->log_bytes = cluster->size_bytes;
    config->retention_bytes = cluster->retention_bytes;
    config->replicas_cpu = -1;
    config->client_cpu = run->client_cpu;
}

/* Pollers that never give their CPU away, on fewer CPUs than there are of them, wait for the
 * scheduler's tick; so do the floor's. It is said, because the numbers look like the engine's. */
static void warn_crowded(const struct options *options, const struct config *cluster)
{
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (options->idle != IDLE_SPIN || sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
        return;
    }
    uint32_t sides = options->no_floor ? 1 : 2;
    uint32_t pollers = sides * cluster->node_count + 1;
    if (check_address_is_local(cluster->nodes[0].address) &&
        pollers > (uint32_t)CPU_COUNT(&allowed)) {
        fprintf(
            stderr,
            "%u spinning processes (nodes, floor and client) share %d CPUs: what is measured is "
            "the scheduler; give the nodes and this run --idle auto\n",
            pollers, CPU_COUNT(&allowed));
    }
}

/* A folder of the cluster's on this machine, for what the result says of the disk. */
static const char *folder_here(const struct config *cluster)
{
    struct stat status;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct config_node *node = &cluster->nodes[i];
        if (node->data[0] != '\0' && stat(node->data, &status) == 0 &&
            check_address_is_local(node->address)) {
            return node->data;
        }
    }
    return ".";
}

int options_run_cluster(const struct options *options, const char *path)
{
    static struct config cluster; /* Large, and one a process; so is the result. */
    static struct result result;
    struct fault fault = {0};
    if (config_load(&cluster, path, &fault) != 0 || check_options(options, &cluster, &fault) != 0) {
        return command_fail(&fault);
    }
    const volatile sig_atomic_t *interrupted = options_catch_interrupts();
    result_machine(&result.machine, folder_here(&cluster));
    struct run_cluster_config config;
    config_fill(options, &cluster, &config);
    warn_crowded(options, &cluster);
    struct run_cluster *run = run_cluster_open();
    if (run == NULL) {
        fault_set(&fault, FAULT_ENVIRONMENT, "no memory");
        return command_fail(&fault);
    }
    int code = run_cluster_execute(run, &config, interrupted, &result, &fault);
    if (code == 0) {
        result_fill(options, &cluster, &config, &result);
        code = options_print(options, &result);
    } else {
        code = command_fail(&fault);
    }
    run_cluster_close(run);
    return code;
}
