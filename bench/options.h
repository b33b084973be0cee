/* options.h: the flags that `demo` and `bench run` share, and from them a run. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "bench/run.h"

#include <argp.h>
#include <stdbool.h>

#define OPTIONS_CPUS_MAX 64u

struct options {
    uint32_t nodes;
    double rate_per_s;
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
    const char *folder; /* NULL: a temporary one in the current directory. */
    const char *out;
    uint64_t seed;
    bool json;
    bool no_floor;
    uint32_t eal_argc;
    char *const *eal_argv;
};

/* Defaults of `demo`. */
void options_init(struct options *options);

/* A child parser for both commands; its input is a struct options. */
extern const struct argp options_argp;

/* Run what the options say and print the result. Returns the exit code. */
int options_run(const struct options *options, const char *command);

#endif
