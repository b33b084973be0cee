/* options.h: the flags that `demo` and `bench run` share, and from them a run. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "bench/ports.h"
#include "bench/run.h"

#include <argp.h>
#include <signal.h>
#include <stdbool.h>

#define OPTIONS_CPUS_MAX 64u
#define OPTIONS_NODES    "1 to 7; an even number outlives no more failures than one fewer"

struct options {
    uint32_t nodes;
    bool nodes_given;
    const char *of_local; /* A flag that was given and is of a cluster in this process alone. */
    double rate_per_s;
    bool rate_given;
    bool rate_max;
    bool closed;
    uint32_t clients;
    bool uniform;
    uint32_t size_bytes;
    uint64_t duration_ns;
    uint64_t warmup_ns;
    bool memory;
    enum idle_mode idle;
    uint32_t cpu_count;
    int cpus[OPTIONS_CPUS_MAX];
    uint64_t log_bytes;
    uint64_t retention_bytes;
    bool retention_given;
    uint32_t outstanding;
    bool outstanding_given;
    const char *folder; /* NULL: a temporary one in the current directory. */
    const char *out;
    uint64_t seed;
    bool json;
    bool no_floor;
    const char *net_given;     /* --net, NULL: not given. */
    struct ports_spec net;     /* Of a cluster in this process. */
    struct nic_spec floor_net; /* Of the floor beside a running cluster, if it was given. */
    bool floor_net_given;
    uint32_t floor_ipv4;
    char *floor_namespaces[VOTERS_MAX];
    uint32_t floor_namespace_count;
    uint32_t eal_argc;
    char *const *eal_argv;
};

/* Defaults of `demo`. */
void options_init(struct options *options);

/* A child parser for both commands; its input is a struct options. */
extern const struct argp options_argp;

/* A whole number of a flag, or argp's error. */
uint64_t options_number(
    struct argp_state *state, const char *flag, const char *value, uint64_t min, uint64_t max);

/* A list of CPUs, or argp's error. Returns how many. */
uint32_t options_cpus(struct argp_state *state, const char *value, int cpus[OPTIONS_CPUS_MAX]);

/* Most records of this size that may be under way: their frames fill no port. */
uint32_t options_outstanding_max(uint32_t record_bytes);

/* Catch SIGINT and SIGTERM from here; true once one came, so that what was made is removed. */
const volatile sig_atomic_t *options_catch_interrupts(void);

/* The load that the options say. */
struct load_config options_load(const struct options *options);

/* Fill what of the result's configuration stands in the options alone. */
void options_result(const struct options *options, const char *command, struct result *result);

/* Judge a result and print it, and write --out. Returns the exit code. */
int options_print(const struct options *options, struct result *result);

/* Run what the options say and print the result. Returns the exit code. */
int options_run(struct options *options, const char *command);

/* The same against the running cluster of the configuration at `path`. */
int options_run_cluster(const struct options *options, const char *path);

#endif
