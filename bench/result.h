/* result.h: one run in numbers: the JSON object and the report for people.
 *
 * The object's fields are a contract with outside tools (tests/cli/test_contract.py); a percentile
 * with fewer than ten samples beyond it is null. Nothing is measured here.
 */
#ifndef BENCH_RESULT_H
#define BENCH_RESULT_H

#include "bench/load.h"
#include "bench/verify.h"
#include "engine/base/histogram.h"
#include "engine/replica.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define RESULT_SCHEMA      "thole-result-1"
#define RESULT_REASONS_MAX 16u
#define RESULT_TEXT_BYTES  160u

/* What may make a run invalid. */
#define RESULT_SENT_MIN         0.99 /* Of the scheduled sends, made and acknowledged. */
#define RESULT_DELAY_RATIO_MAX  0.10 /* Of the sender's delay p99 to response p99. */
#define RESULT_DELAY_P99_MAX_NS 1000000u

/* The machine, in words. Empty: not known. */
struct result_machine {
    char cpu[RESULT_TEXT_BYTES];
    uint32_t cpu_count;
    char kernel[RESULT_TEXT_BYTES];
    char filesystem[RESULT_TEXT_BYTES];
    char device[RESULT_TEXT_BYTES];
    char write_cache[RESULT_TEXT_BYTES];
    int fua;                /* The device takes FUA writes: 1 or 0; -1: not known. */
    uint32_t logical_bytes; /* Of its blocks; 0: not known. */
    int disk_irq_cpu;       /* -1: not known. */
    uint64_t memlock_bytes; /* RLIMIT_MEMLOCK; UINT64_MAX: unlimited. */
};

#define RESULT_DISK_BYTES (4u * RESULT_TEXT_BYTES)

/* What the logs are on, in words. */
const char *result_disk_words(const struct result_machine *machine, char text[RESULT_DISK_BYTES]);

struct result_config {
    const char *command;
    uint32_t nodes;
    uint32_t size_bytes;
    bool durable;
    const char *net;
    const char *idle; /* As asked for, and what it comes to: "auto (yield)". */
    bool closed;
    bool rate_max; /* A closed loop of --outstanding, asked for as `--rate max`. */
    const char *arrivals;
    const char *client;
    double rate_per_s;
    uint32_t outstanding;
    double duration_s;
    double warmup_s;
    uint64_t log_bytes;
    uint64_t retention_bytes;
    uint64_t seed;
    int replicas_cpu; /* -1: not pinned. */
    int client_cpu;
    bool registered; /* Buffers of the disks with the kernel; of replicas in this process. */
    raft_set slowed; /* Nodes whose disk is slowed on request. */
    raft_set posix;  /* Nodes whose disk does without io_uring, on request. */
    uint8_t leader;  /* Of a running cluster, at the end; 0: of one in this process. */
};

/* Medians and so on of the floor; NULL: not measured. */
struct result_floors {
    const struct histogram *disk;
    const struct histogram *client_echo;
    const struct histogram *peer_echo;
    const struct histogram *commit;
    uint32_t write_pages; /* Of one floor write. */
};

struct result {
    struct result_config config;
    struct result_machine machine;
    struct load_counts counts;
    double load_s; /* Load time, floor and verify slices left out. */
    const struct histogram *response;
    const struct histogram *service;
    const struct histogram *delay;
    /* STAGE_COUNT of them, all replicas together. NULL: the replicas are in processes of their own,
     * and neither these nor their writes and buffers are known. */
    const struct histogram *stages;
    struct result_floors floors;
    char floors_why[RESULT_TEXT_BYTES]; /* Why there is no floor; empty: there is one, or none was
                                           asked for of replicas in this process. */
    bool verified;                      /* False: nothing to read, memory mode. */
    const char *verify_by;
    struct verify_result verify;
    uint64_t writes; /* Of all replicas, while the load ran. */
    uint64_t write_pages;
    double writes_in_flight; /* Mean. */
    uint32_t reason_count;
    char reasons[RESULT_REASONS_MAX][RESULT_TEXT_BYTES];
};

/* Add a reason why the run is invalid. */
void result_invalid(struct result *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A count of the load as a rate. */
static inline double result_per_s(const struct result *result, uint64_t count)
{
    return result->load_s > 0 ? (double)count / result->load_s : 0;
}

/* Durable is a run that was asked to be, and whose replicas all say that they are. */
bool result_is_durable(bool asked, const bool *replicas, uint32_t count);

/* Of response to the commit floor at one percentile. False: one of them is not known there. */
MUST_USE bool result_ratio(const struct result *result, double at, double *ratio);

/* Apply the rules of validity to the numbers. */
void result_judge(struct result *result);

/* Fill what can be known of the machine that holds `folder`. */
void result_machine(struct result_machine *machine, const char *folder);

/* Parts of the object that other commands print too; the caller owns them. */
json_t *result_latency_json(const struct histogram *h);
json_t *result_env_json(const struct result_machine *machine);

/* Print the object, or the report; 0 or an exit code (FAULT_FAILED: the run is invalid). */
MUST_USE int result_print_json(const struct result *result, FILE *out);
MUST_USE int result_print_report(const struct result *result, FILE *out, bool colors);

#endif
