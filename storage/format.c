/* format.c: the first superblocks of an empty log. */
#include "storage/format.h"

#include "storage/superblock.h"

#include <errno.h>
#include <inttypes.h>

int format_check_size(uint64_t bytes, uint64_t segment_bytes, struct fault *fault)
{
    uint64_t bytes_min = geometry_file_bytes_min(segment_bytes);
    if (bytes >= bytes_min) {
        return 0;
    }
    fault_set(fault, FAULT_ENVIRONMENT,
              "%" PRIu64 " bytes are too few for a log of %u segments of %" PRIu64
              " bytes and what stands beside them: its size must be at least %" PRIu64,
              bytes, SEGMENTS_MIN, segment_bytes == 0 ? SEGMENT_BYTES_DEFAULT : segment_bytes,
              bytes_min);
    return -ENOSPC;
}

int storage_format(struct disk *disk,
                   const struct format_config *config,
                   uint8_t *page,
                   struct geometry *geometry,
                   struct fault *fault)
{
    ASSERT(config->node >= 1);
    ASSERT(config->store != 0);
    uint64_t segment_bytes = config->segment_bytes;
    if (segment_bytes == 0) {
        segment_bytes = SEGMENT_BYTES_DEFAULT;
    }
    if (segment_bytes % PAGE_BYTES != 0 || (segment_bytes < SEGMENT_BYTES_MIN && !config->small)) {
        fault_set(fault, FAULT_USAGE,
                  "a segment of %" PRIu64 " bytes is not a multiple of %u and at least %u",
                  segment_bytes, PAGE_BYTES, SEGMENT_BYTES_MIN);
        return -EINVAL;
    }
    uint64_t window_bytes = config->window_bytes == 0 ? WRITE_WINDOW_BYTES : config->window_bytes;
    uint64_t log_bytes = config->log_bytes == 0 ? disk->bytes : config->log_bytes;
    ASSERT(log_bytes <= disk->bytes);
    int small = format_check_size(log_bytes, segment_bytes, fault);
    if (small != 0) {
        return small;
    }
    bool fits = geometry_fit(geometry, log_bytes, segment_bytes, window_bytes);
    ASSERT(fits);
    struct superblock superblock = {
        .node = config->node,
        .cluster = config->cluster,
        .store = config->store,
        .ring_bytes = geometry->ring_bytes,
        .segment_bytes = geometry->segment_bytes,
        .window_bytes = geometry->window_bytes,
        .start_offset = config->first_offset,
        .term = config->entry_term,
        .entry_term = config->entry_term,
        .bootstrapped = config->entry_term != 0,
    };
    /* Both slots hold a valid copy from the start, so that one without is always damage. */
    for (uint64_t sequence = 2; sequence >= 1; sequence--) {
        superblock.sequence = sequence;
        superblock.epoch = 1;
        int result = superblock_store(disk, page, &superblock, fault);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}
