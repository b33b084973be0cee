/* scan.h: read a log in order, checking every entry; and judge one page of the ring.
 *
 * Used by recovery, by the walk of the offline tools, and by the benchmark's verifier, which reads
 * a live log through a second descriptor while the replica writes it. Reads only, in big chunks; a
 * page that the disk cannot read is found by bisecting and then stands as a bad one.
 *
 * It knows what an entry is and where it belongs; what the end of a log means is recover.c's.
 */
#ifndef STORAGE_SCAN_H
#define STORAGE_SCAN_H

#include "engine/base/assert.h"
#include "engine/base/entry.h"
#include "storage/disk.h"
#include "storage/recover.h"
#include "storage/segment.h"

#include <stdbool.h>
#include <stdint.h>

/* The log to read. At or above the cut only `epoch` counts, below it any epoch up to it. Of a live
 * log, which its replica writes meanwhile, every epoch counts everywhere:
 * its reader sets both to UINT64_MAX. */
struct scan_log {
    struct disk *disk;
    struct geometry geometry;
    uint64_t cluster;
    uint64_t store;
    uint64_t epoch;
    uint64_t cut_position;
    uint64_t limit;       /* No page at or above it is read: log start + ring bytes. */
    uint32_t chunk_bytes; /* Of one read: ENTRY_BYTES_MAX to RECOVER_BUFFER_BYTES, whole pages. */
};

struct scan {
    struct scan_log log;
    uint8_t *buffer; /* RECOVER_BUFFER_BYTES, page aligned; the caller's. */
    uint64_t buffer_position;
    uint32_t buffer_bytes; /* Filled from buffer_position on. */
    uint32_t unreadable_pages;
    uint64_t position;  /* Of the next entry. */
    struct log_id last; /* The entry before it. */
    bool broken;        /* The entry at `position` is whole, but its content contradicts itself. */
    const char *why;    /* Why the last scan_next() gave no entry. */
};

enum scan_result {
    SCAN_ENTRY,
    SCAN_END, /* The next entry was not written (completely). */
    SCAN_BAD, /* A page of the next entry is bad. */
};

/* The log on `disk` as recovery found its superblock. */
struct scan_log scan_log_of(struct disk *disk, const struct recovery *found);

void scan_init(struct scan *scan,
               const struct scan_log *log,
               uint8_t *buffer,
               uint64_t position,
               struct log_id last);

/* The next entry, valid until the next call. Of a live log, SCAN_END and SCAN_BAD say what a fresh
 * read showed, and a further call reads again: it may have grown, and a page that was read half
 * written may be whole. */
MUST_USE enum scan_result scan_next(struct scan *scan, const uint8_t **entry);

/* `bytes` of the ring from `position`, out of the buffer or the disk; valid until the next call.
 * bytes <= ENTRY_BYTES_MAX, position + bytes <= limit. */
const uint8_t *scan_pages(struct scan *scan, uint64_t position, uint32_t bytes);

/* How the page stands that was read from `position`, whatever should be there. */
struct scan_page {
    enum page_state state; /* VALID: written at this position, by whatever term and epoch. */
    bool head; /* Headers of an entry that begins here can be read, even if the page is bad. */
    const char *why; /* Why it is bad or absent. */
};
struct scan_page
scan_page_judge(const struct scan_log *log, uint64_t position, const uint8_t *page);

/* Whether a node header of this epoch counts at this position, or is void. */
static inline bool scan_epoch_counts(const struct scan_log *log, uint64_t epoch, uint64_t position)
{
    return epoch <= log->epoch && (epoch == log->epoch || position < log->cut_position);
}

/* Whether `here`, read from `position`, is this page of an entry, and counts. The node header, the
 * one part that is not the same everywhere, may differ. */
bool scan_page_stands(const struct scan_log *log,
                      uint64_t position,
                      const uint8_t *here,
                      const uint8_t *page);

#endif
