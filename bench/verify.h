/* verify.h: does the disk hold what was acknowledged?
 *
 * Reads the log files themselves, each through its own descriptor, and never asks a replica for a
 * record: every entry must chain and carry valid marks, every record must be one that this run
 * sent, byte for byte, offsets must be consecutive and sequences rise, and every acknowledged
 * record must stand at the offset that its acknowledgement named, in the files of a quorum. It
 * reads behind the durable watermark while the replicas stand still, so that the log may wrap
 * behind it during a run of any length; memory is bounded by runs of acknowledgements, not by
 * records.
 *
 * A log that others write too (`shared`) holds records of theirs between ours; those are counted
 * and not judged, unless one stands where ours was acknowledged. Where no file can be read, records
 * that were read back through a client stand for one: verify_record().
 */
#ifndef BENCH_VERIFY_H
#define BENCH_VERIFY_H

#include "engine/base/fault.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "storage/disk.h"
#include "storage/scan.h"

#include <stdbool.h>
#include <stdint.h>

#define VERIFY_CHUNK_BYTES (1024u * 1024u)
#define VERIFY_WHY_BYTES   256u

struct verify_config {
    uint32_t node_count;
    uint64_t cluster;
    uint64_t payload_seed;
    uint32_t record_bytes;
    bool shared;     /* Others may append to the same log. */
    uint32_t quorum; /* Files that must hold a record; 0: a majority of node_count. */
};

/* One log file. */
struct verify_log {
    const char *path;
    struct disk *disk; /* Borrowed, instead of a path; NULL: none. */
    uint64_t store;
    struct geometry geometry;
    struct log_start from; /* Where to begin: an entry's place, and what comes before it. */
};

/* Consecutive sequences acknowledged at consecutive offsets. */
struct verify_run {
    uint64_t first_sequence;
    uint64_t first_offset;
    uint32_t count;
    bool closed;                  /* Takes no more records: a scan may have passed it. */
    uint32_t missing[VOTERS_MAX]; /* Of each file: not found where they should be. */
};

struct verify_node {
    struct disk *disk;
    bool owned;    /* The disk was opened here. */
    bool forsaken; /* Its file is read no further. */
    struct scan scan;
    uint8_t *payload; /* As the entry holds it. */
    uint64_t next_offset;
    uint64_t run;    /* The first run not passed completely. */
    uint32_t in_run; /* Records of it that were looked at. */
    uint64_t *seen;  /* Bitmap over the newest VERIFY_WINDOW sequences. */
    uint64_t newest; /* Sequence + 1; 0: none. */
    uint64_t records;
    uint64_t duplicated;
    uint64_t out_of_order;
    uint64_t damaged; /* Records that this run did not send so. */
    uint64_t foreign; /* Of other writers. */
    uint64_t entries; /* That hold records. */
    uint64_t pages;   /* Of those. */
    uint64_t bytes_read;
    char why[VERIFY_WHY_BYTES]; /* The first thing that was wrong; empty: nothing. */
};

struct verify_result {
    uint64_t acked;
    uint64_t lost; /* Acknowledged, and not in the files of a quorum where they should be. */
    uint64_t duplicated;
    uint64_t out_of_order;
    uint64_t damaged;
    uint64_t records; /* Read, of the longest file. */
    uint64_t foreign; /* Of them, those of other writers. */
    uint64_t bytes_read;
    const char *why;
};

struct verify {
    struct verify_config config;
    struct verify_node nodes[VOTERS_MAX];
    struct verify_run *runs; /* Slot = number & (VERIFY_RUNS_MAX - 1). */
    uint64_t first_run;
    uint64_t next_run;
    uint8_t *expected;
    struct verify_result result;
};

uint64_t verify_memory_bytes(uint32_t node_count);

/* Open every log for reading beside its writer. `logs` NULL: there are none, one node stands for
 * verify_record(). 0, or -errno with the fault told. */
MUST_USE int verify_open(struct verify *verify,
                         struct mem *mem,
                         const struct verify_config *config,
                         const struct verify_log *logs,
                         struct fault *fault);

/* Records [first_sequence, + count) were acknowledged at first_offset. */
void verify_acked(struct verify *verify,
                  uint64_t first_sequence,
                  uint64_t first_offset,
                  uint32_t count);

/* No more than this part of the runs is free: time to scan. */
bool verify_is_filling(const struct verify *verify);

/* Read one log up to `end_position`, which is durable there and committed; `start_position` is
 * where its log begins now. */
void verify_scan(struct verify *verify,
                 uint32_t node,
                 uint64_t start_position,
                 uint64_t end_position);

/* Read one log up to the entry of `end_index`, which is durable there and committed, by the word of
 * its node. False: it is not all there to be read, by now; to be tried again, or forsaken. */
MUST_USE bool
verify_advance(struct verify *verify, uint32_t node, uint64_t start_position, uint64_t end_index);

/* This log will be read no further: it counts as one that misses what it was not read for. */
void verify_forsake(struct verify *verify, uint32_t node);

/* Instead of a log: the record at an offset, as one reader got it; offsets rise. `node` is 0. */
void verify_record(struct verify *verify,
                   uint64_t offset,
                   uint64_t sequence,
                   const uint8_t *payload,
                   uint32_t bytes);

/* Where the newest acknowledged records end; 0: there are none that are not judged yet. */
uint64_t verify_end_offset(const struct verify *verify);

/* Mean pages of an entry with records, rounded; at least 1. */
uint32_t verify_mean_pages(const struct verify *verify);

/* How far every log has been read: nothing at or above may be trimmed. */
uint64_t verify_position(const struct verify *verify);

/* Everything was read: sum up. What was acknowledged and never met is lost. */
struct verify_result verify_finish(struct verify *verify);

void verify_close(struct verify *verify);

#endif
