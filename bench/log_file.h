/* log_file.h: the log file of a running node, read beside it from another process.
 *
 * Opens without a lock, tells whose log it is and where it starts now, and finds the place behind
 * an entry without reading the log from its start: the first entry at or after a segment boundary
 * names its index, so the boundaries are halved. Writes nothing. It must not know what the records
 * are.
 */
#ifndef BENCH_LOG_FILE_H
#define BENCH_LOG_FILE_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "storage/disk.h"
#include "storage/recover.h"
#include "storage/segment.h"

#include <stdbool.h>
#include <stdint.h>

/* Whose log is expected, and where. */
struct log_file_owner {
    const char *path;
    uint64_t cluster;
    uint8_t node;
};

struct log_file {
    struct disk *disk; /* NULL: not open. */
    uint8_t *page;
    uint64_t cluster;
    uint64_t store;
    struct geometry geometry;
    struct log_start start; /* As the superblock said last. */
};

uint64_t log_file_memory_bytes(void);

/* Open it. 0, or -errno with the fault told: nothing
 * there, not to be read by this user, or another node's. */
MUST_USE int log_file_open(struct log_file *file,
                           struct mem *mem,
                           const struct log_file_owner *owner,
                           struct fault *fault);

/* Read the superblock again, which its node may just be writing: `file->start`. False: it cannot be
 * read. */
MUST_USE bool log_file_reload(struct log_file *file);

/* The place behind entry `index`, which is durable in this file; `buffer` is RECOVER_BUFFER_BYTES,
 * page aligned. False: it is not there. */
MUST_USE bool
log_file_find(struct log_file *file, uint8_t *buffer, uint64_t index, struct log_start *behind);

void log_file_close(struct log_file *file);

#endif
