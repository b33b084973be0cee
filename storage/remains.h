/* remains.h: what stands on a disk behind superblocks that are gone.
 *
 * Without a superblock nothing says where the ring begins. But it begins at a multiple of
 * LAYOUT_RING_ALIGN, and where it was written every ENTRY_PAGES_MAX pages hold the first page of an
 * entry, which names itself: so a few pages behind each multiple tell a log from a disk that was
 * never one. The first entry of a node that joined later may stand anywhere in the ring: then a
 * watermark page or a small state tells of the entries below it. Reads only.
 */
#ifndef STORAGE_REMAINS_H
#define STORAGE_REMAINS_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "storage/disk.h"

#include <stdbool.h>
#include <stdint.h>

/* Whose entries they are. */
struct remains {
    uint64_t cluster;
    uint8_t node; /* 0: not known; its node header is bad, or no entry was found but what tells of
                     one. */
};

/* Whether there is an entry, or something that tells of one. `buffer`: REMAINS_LOOK_BYTES, page
 * aligned. Blocks, for at most REMAINS_LOOKS_MAX looks and REMAINS_STATES_MAX pages. A disk that
 * hangs is the caller's to tell. */
#define REMAINS_LOOK_BYTES ((ENTRY_PAGES_MAX + 1u) * PAGE_BYTES)
MUST_USE bool remains_find(struct disk *disk, uint8_t *buffer, struct remains *remains);

/* A disk has been refused because no page is a superblock: refuse it as a damaged log instead,
 * where entries stand behind. `result` and `fault` are those of the refusal; returns the one that
 * holds. */
MUST_USE int remains_refuse(struct disk *disk, uint8_t *buffer, int result, struct fault *fault);

#endif
