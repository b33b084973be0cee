/* layout.h: where everything lies in a log file, and the pages around the ring byte by byte.
 *
 *     0        superblock slot 0, copy 0      64 KiB   slot 1, copy 0
 *     128 KiB  superblock slot 0, copy 1      192 KiB  slot 1, copy 1
 *     256 KiB  watermark page 0               320 KiB  watermark page 1
 *     1 MiB    small states, copy 0: (segment_count + 2) * STATE_BYTES
 *     then     the same, copy 1
 *     then     the ring, at a whole MiB: segment_count * segment_bytes
 *
 * All integers are little endian. Every page of this file begins with a magic and a version and
 * ends with the CRC-32C of the bytes before, and every later version keeps it so: that is how an
 * older program can name the version that it cannot read. docs/STORAGE.md has the tables.
 *
 * Only layout and its static checks: nothing here reads, writes or decides.
 */
#ifndef STORAGE_LAYOUT_H
#define STORAGE_LAYOUT_H

#include "engine/base/limits.h"

#include <stddef.h>
#include <stdint.h>

#define SUPERBLOCK_MAGIC 0x42534854u /* "THSB" */
#define WATERMARK_MAGIC  0x4d574854u /* "THWM" */
#define STATE_MAGIC      0x53534854u /* "THSS" */
#define UNFINISHED_MAGIC 0x46554854u /* "THUF" */
#define LAYOUT_VERSION   2u

#define LAYOUT_STEP_BYTES     65536u /* Between the copies: no two of them share a flash page. */
#define LAYOUT_WATERMARKS_AT  (4u * LAYOUT_STEP_BYTES)
#define LAYOUT_STATES_AT      (1024u * 1024u)
#define LAYOUT_RING_ALIGN     (1024u * 1024u)
#define LAYOUT_STATES_EXTRA   2u           /* Beyond one a segment: the start's and the newest. */
#define LAYOUT_POSITION_LIMIT (1ull << 62) /* No sum of two positions wraps. */

#define SUPERBLOCK_SLOTS  2u
#define SUPERBLOCK_COPIES 2u
#define WATERMARK_PAGES   2u

/* The superblock: what stands at the head of its page. The rest of the page is zero up to the CRC.
 */
struct superblock {
    uint32_t magic;
    uint16_t version;
    uint8_t node;
    uint8_t bootstrapped;
    uint64_t cluster;
    uint64_t store;
    uint64_t sequence; /* Of the update; slot = sequence & 1. */
    uint64_t boot;
    uint64_t ring_bytes;
    uint64_t segment_bytes;
    uint64_t window_bytes; /* The most bytes of log writes in flight; a bound for ever. */
    uint64_t term;
    uint64_t vote;
    uint64_t entry_term; /* Highest term of any entry ever owed to the log. */
    uint64_t epoch;
    uint64_t cut_position;
    uint64_t cut_term; /* Of the last entry below the cut. */
    uint64_t cut_index;
    uint64_t start_position;
    uint64_t start_term; /* Of the last entry below the start. */
    uint64_t start_index;
    uint64_t start_offset;
    uint64_t bound_term; /* A candidate must be at least this; {0, 0}: the log lost no end. */
    uint64_t bound_index;
};
_Static_assert(sizeof(struct superblock) == 168, "no padding in the superblock");

/* A watermark page: everything below `position` was durable when it was written. */
struct watermark {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    uint64_t cluster;
    uint64_t store;
    uint64_t sequence; /* Page = sequence & 1. */
    uint64_t position;
    uint64_t epoch;
    uint64_t last_term; /* Of the last entry below the position. */
    uint64_t last_index;
};
_Static_assert(sizeof(struct watermark) == 64, "no padding in a watermark");

/* In place of the last copy of the superblock, as long as the log is being filled by a restore. */
struct unfinished {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
};
_Static_assert(sizeof(struct unfinished) == 8, "no padding in the mark of an unfinished log");

/* First page of a small state; the state's bytes follow in the next pages, padded with zeros. */
struct state_header {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    uint64_t cluster;
    uint64_t store;
    uint64_t segment;
    uint64_t position; /* First entry at or after the boundary. */
    uint64_t last_term;
    uint64_t last_index;
    uint64_t offset;
    uint32_t byte_count;
    uint32_t bytes_crc;
};
_Static_assert(sizeof(struct state_header) == 72, "no padding in a state header");

#define LAYOUT_CRC_AT (PAGE_BYTES - 4u)

_Static_assert(LAYOUT_WATERMARKS_AT + WATERMARK_PAGES * LAYOUT_STEP_BYTES <= LAYOUT_STATES_AT,
               "superblock and watermarks end before the small states");
_Static_assert(sizeof(struct superblock) <= LAYOUT_CRC_AT, "the superblock fits its page");
_Static_assert(SEGMENTS_MAX <= LAYOUT_POSITION_LIMIT / SEGMENT_BYTES_MAX / 2,
               "the largest ring is below the limit of positions");
_Static_assert(STATE_BYTES % PAGE_BYTES == 0, "small states are whole pages");

static inline uint64_t layout_superblock_at(uint32_t slot, uint32_t copy)
{
    return (uint64_t)(copy * SUPERBLOCK_SLOTS + slot) * LAYOUT_STEP_BYTES;
}

static inline uint64_t layout_watermark_at(uint32_t number)
{
    return LAYOUT_WATERMARKS_AT + (uint64_t)number * LAYOUT_STEP_BYTES;
}

#endif
