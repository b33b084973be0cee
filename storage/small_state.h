/* small_state.h: the state beside the log at a segment boundary: where it lies, how it is encoded,
 * checked, read and mended.
 *
 * It has two copies, each in a half of the region of its own. Both are durable before anything
 * relies on the state, so a copy of the log's start that does not stand is no crash, and the other
 * one does for it.
 *
 * It must not know what the bytes of a state mean.
 */
#ifndef STORAGE_SMALL_STATE_H
#define STORAGE_SMALL_STATE_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "storage/disk.h"
#include "storage/recover.h"
#include "storage/segment.h"

#include <stdint.h>

/* Where a copy of the small state of a boundary lies in the file. */
uint64_t state_at(const struct geometry *geometry, uint64_t segment, uint32_t copy);

/* Identity of the log that a small state belongs to. */
struct state_owner {
    uint64_t cluster;
    uint64_t store;
    uint64_t segment;
};

/* Make a small state in `pages` (STATE_BYTES); returns the bytes to write, whole pages. */
uint32_t state_encode(uint8_t *pages,
                      const struct state_owner *owner,
                      const struct log_start *boundary,
                      const void *bytes,
                      uint32_t byte_count);

/* Bytes, whole pages, of the small state whose first page this is; of one page, if that page does
 * not stand. */
uint32_t state_used_bytes(const uint8_t *head);

/* Check a small state and give its bytes' count; NULL, or what is wrong. */
const char *state_check(const uint8_t *pages,
                        const struct state_owner *owner,
                        const struct log_start *boundary,
                        uint32_t *byte_count);

/* The log that a small state is read from. */
struct state_place {
    struct disk *disk;
    const struct geometry *geometry;
};

/* The copies of a small state as found. */
struct state_copies {
    const char *wrong[STATE_COPIES]; /* NULL: it stands. */
    uint8_t *pages;                  /* Of the first one that stands; NULL: none. */
    uint32_t byte_count;             /* Of its bytes, which stand behind the first page. */
};

/* Read both copies into `pages` (STATE_COPIES * STATE_BYTES, page aligned), of their places only
 * what they use, and check them. Blocks. */
struct state_copies state_read(const struct state_place *place,
                               const struct state_owner *owner,
                               const struct log_start *boundary,
                               uint8_t *pages);

/* Write those copies anew that do not stand, from one that does, durably. 0, or a negative errno
 * and the fault. Start-up only. */
MUST_USE int state_mend(const struct state_place *place,
                        const struct state_owner *owner,
                        const struct state_copies *copies,
                        struct fault *fault);

#endif
