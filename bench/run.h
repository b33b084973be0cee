/* run.h: one benchmark run over a local cluster: slices of load, of verification and of floor.
 *
 * A load slice lasts at most SLICE_NS and ends early when the log has filled as much as may be
 * unread. Then everything under way is answered, the replicas stand still, the log files are read
 * up to the durable watermark, the floor is measured on the same threads, and the next slice
 * begins. The calling thread is the client's.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "bench/cluster_local.h"
#include "bench/load.h"
#include "bench/result.h"
#include "engine/base/fault.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define RUN_ELECTION_NS 10000000000u /* Longest wait for a first leader. */

struct run_config {
    struct cluster_local_config cluster;
    struct load_config load;
    uint32_t record_bytes;
    uint64_t duration_ns; /* Of load. */
    uint64_t warmup_ns;
    int client_cpu;        /* -1: not pinned. */
    bool client_exclusive; /* core_cpu_is_own() */
    bool keep_files;
};

/* Carry it out; `result` is filled but for config.command and what only the caller knows. Its
 * histograms live in memory that is freed by run_close(). 0, or an enum fault_code with the fault
 * told. Stops early when `*interrupted` becomes true. */
struct run;
struct run *run_open(void);
MUST_USE int run_execute(struct run *run,
                         const struct run_config *config,
                         const volatile sig_atomic_t *interrupted,
                         struct result *result,
                         struct fault *fault);
void run_close(struct run *run);

#endif
