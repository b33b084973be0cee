/* segment.h: the ring's geometry: position -> file offset, segment boundaries.
 *
 * A position is absolute in an endless log; position p lies at ring byte p % ring_bytes. A range
 * splits in two at the ring's end and nowhere else. Entries may cross a segment boundary, so a log
 * start is the first entry at or after one, and a boundary's number is its position /
 * segment_bytes.
 *
 * Pure arithmetic: it reads and writes no disk.
 */
#ifndef STORAGE_SEGMENT_H
#define STORAGE_SEGMENT_H

#include "engine/base/assert.h"
#include "storage/layout.h"

#include <stdbool.h>
#include <stdint.h>

struct geometry {
    uint64_t ring_offset; /* Of the ring in the file. */
    uint64_t ring_bytes;
    uint64_t segment_bytes;
    uint64_t window_bytes; /* Most bytes of log writes in flight. */
    uint64_t segment_count;
};

/* A contiguous part of a range in the file. */
struct ring_part {
    uint64_t offset;
    uint32_t bytes;
};

/* Fill `geometry` from what the superblock says. False when the numbers are not a geometry. */
MUST_USE bool geometry_init(struct geometry *geometry,
                            uint64_t ring_bytes,
                            uint64_t segment_bytes,
                            uint64_t window_bytes);

/* The most bytes of log that a retention may keep on such a ring, 0 if none fit: the oldest segment
 * goes whole, and while it does a new one, the largest entry and the reserve must be free. */
uint64_t geometry_retention_max(const struct geometry *geometry);

/* The geometry of the most whole segments that fit a file; false: fewer than SEGMENTS_MIN. */
MUST_USE bool geometry_fit(struct geometry *geometry,
                           uint64_t file_bytes,
                           uint64_t segment_bytes,
                           uint64_t window_bytes);

/* The smallest file that holds SEGMENTS_MIN segments of so many bytes, 0: of the default ones. */
uint64_t geometry_file_bytes_min(uint64_t segment_bytes);

/* Bytes that the file must have. */
uint64_t geometry_file_bytes(const struct geometry *geometry);

/* The one or two parts of [position, position + bytes); returns how many. bytes <= ring_bytes. */
uint32_t ring_split(const struct geometry *geometry,
                    uint64_t position,
                    uint32_t bytes,
                    struct ring_part parts[2]);

/* Number of the boundary at or below a position. */
static inline uint64_t segment_number(const struct geometry *geometry, uint64_t position)
{
    return position / geometry->segment_bytes;
}

#endif
