/* log_fixture.h: a small log on a disk_model, for the unit tests of storage/.
 *
 * Five segments of eight pages, a window of eight pages. Entries are appended one after the other
 * through storage/wal.h; with the disk automatic, log_settle() makes everything durable.
 */
#ifndef TESTS_SUPPORT_LOG_FIXTURE_H
#define TESTS_SUPPORT_LOG_FIXTURE_H

#include "engine/base/mem.h"
#include "storage/segment.h"
#include "storage/wal.h"
#include "tests/support/disk_model.h"

#include <stdint.h>

#define LOG_CLUSTER       0x9f3c0a4e5b6d7788ull
#define LOG_STORE         0x1122334455667788ull
#define LOG_NODE          2u
#define LOG_SEGMENT_PAGES 8u
#define LOG_SEGMENTS      5u
#define LOG_WINDOW_PAGES  8u
#define LOG_ENTRIES_MAX   64u
#define LOG_RING_BYTES    ((uint64_t)LOG_SEGMENTS * LOG_SEGMENT_PAGES * PAGE_BYTES)
#define LOG_DISK_BYTES    (2u * 1024 * 1024 + LOG_RING_BYTES)
struct log_fixture {
    struct disk_model model;
    struct geometry geometry;
    struct mem mem;
    struct wal *wal;
    uint64_t now_ns;
    struct log_id last;
    uint64_t position; /* Of the next entry. */
    uint8_t *bytes;    /* LOG_ENTRIES_MAX entries of up to ENTRY_BYTES_MAX. */
    struct prng prng;
};

/* Open and format; the log is not opened yet. */
void log_open_disk(struct log_fixture *log);
void log_close(struct log_fixture *log);

/* wal_create and wal_open on what stands on the disk; the next entry follows what was found. */
int log_open(struct log_fixture *log, struct recovery *found, struct fault *fault);

/* Make the bytes of the next entry, of `term` and `pages`; the write for it. */
struct wal_write log_entry(struct log_fixture *log, uint64_t term, uint32_t pages);

/* Make the term durable if need be, write one entry, poll until idle. */
void log_append(struct log_fixture *log, uint64_t term, uint32_t pages);
void log_term(struct log_fixture *log, uint64_t term);
void log_settle(struct log_fixture *log);

/* The page at a position of the ring. */
uint8_t *log_page(struct log_fixture *log, uint64_t position);

/* recover() with no visitor and no expectation of cluster or node. */
int log_recover(struct log_fixture *log, struct recovery *found, struct fault *fault);

#endif
