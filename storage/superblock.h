/* superblock.h: the superblock's two slots of two copies, and the two watermark pages.
 *
 * Update n goes to slot n & 1: copy 0, then copy 1, each durable, then whoever asked acts. So a
 * crash leaves at most one copy of one slot unreadable, and a slot without a valid copy is not a
 * crash: a vote may be lost, and the node must not start. Newest sequence wins, even with one copy.
 *
 * It keeps numbers and knows neither Raft nor the ring's records.
 */
#ifndef STORAGE_SUPERBLOCK_H
#define STORAGE_SUPERBLOCK_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "storage/disk.h"
#include "storage/layout.h"

#include <stdbool.h>
#include <stdint.h>

/* All four copies as found, and the newest. */
struct superblock_set {
    struct superblock copies[SUPERBLOCK_SLOTS][SUPERBLOCK_COPIES];
    bool valid[SUPERBLOCK_SLOTS][SUPERBLOCK_COPIES];
    struct superblock newest;
    bool absent; /* None of the four pages is a superblock, of whatever version. */
};

/* Whether any copy is valid: then `newest` is one of them. */
bool superblock_set_any(const struct superblock_set *set);

/* Put `count` bytes at the head of a page, zero the rest, seal with the CRC. */
void layout_page_seal(uint8_t *page, const void *head, uint32_t count);
bool layout_page_valid(const uint8_t *page);

/* Make the page of a superblock (magic and version are filled in). */
void superblock_encode(const struct superblock *superblock, uint8_t *page);

/* Mark a disk on which a log is being filled: until a superblock takes the mark's place, which is
 * the last page that storage_format() writes, superblock_load() refuses it with -EINPROGRESS. 0 or
 * -errno. */
MUST_USE int superblock_mark_unfinished(struct disk *disk, uint8_t *page);

/* Read all copies through `page` (PAGE_BYTES, page aligned) and choose the newest. 0; or a negative
 * errno and the fault: not formatted, not a log, unfinished, newer, older, or a slot without a
 * valid copy.
 */
MUST_USE int
superblock_load(struct disk *disk, uint8_t *page, struct superblock_set *set, struct fault *fault);

/* Make the copies of each slot equal to its newest, durably; nothing when they are. Start-up only.
 */
MUST_USE int
superblock_mend(struct disk *disk, uint8_t *page, struct superblock_set *set, struct fault *fault);

/* Write both copies one after the other, durably. Blocks: start-up and format only. */
MUST_USE int superblock_store(struct disk *disk,
                              uint8_t *page,
                              const struct superblock *superblock,
                              struct fault *fault);

void watermark_encode(const struct watermark *watermark, uint8_t *page);

/* True when the page is a watermark of this log. */
MUST_USE bool watermark_decode(const uint8_t *page,
                               uint64_t cluster,
                               uint64_t store,
                               struct watermark *watermark);

#endif
