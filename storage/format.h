/* format.h: make an empty log on a disk that is all zero, or one of the entries that stand on it.
 *
 * The disk's maker has written every byte with zeros (a first write into a hole costs a journal
 * commit), and format relies on it: an old log's pages left in the ring would be read as damage.
 */
#ifndef STORAGE_FORMAT_H
#define STORAGE_FORMAT_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "storage/disk.h"
#include "storage/segment.h"

#include <stdint.h>

struct format_config {
    uint64_t cluster;
    uint64_t store; /* Random, not 0. */
    uint8_t node;
    uint64_t segment_bytes; /* 0: SEGMENT_BYTES_DEFAULT; the same on every node of the cluster. */
    uint64_t window_bytes;  /* 0: WRITE_WINDOW_BYTES. */
    uint64_t log_bytes;     /* Of the disk, from its beginning; 0: all of it. */
    bool small;             /* Allow segments below SEGMENT_BYTES_MIN: tests. */
    uint64_t first_offset;  /* Client offset of the log's first record. */
    uint64_t entry_term;    /* Not 0: entries up to this term are in the ring already, committed. */
};

/* Write all four superblock copies through `page` (PAGE_BYTES, page aligned). As many whole
 * segments as fit. 0; or a negative errno and the fault: too small, or a failed write.
 */
MUST_USE int storage_format(struct disk *disk,
                            const struct format_config *config,
                            uint8_t *page,
                            struct geometry *geometry,
                            struct fault *fault);

/* Whether a disk of so many bytes holds a log of such segments (0: the default): 0, or -ENOSPC and
 * the fault. */
MUST_USE int format_check_size(uint64_t bytes, uint64_t segment_bytes, struct fault *fault);

#endif
