/* small_state.h: the state beside the log at a segment boundary: where it lies, how it is encoded,
 * checked and read.
 *
 * It must not know what the bytes of a state mean.
 */
#ifndef STORAGE_SMALL_STATE_H
#define STORAGE_SMALL_STATE_H

#include "engine/base/assert.h"
#include "storage/disk.h"
#include "storage/recover.h"
#include "storage/segment.h"

#include <stdint.h>

/* Where the small state of a boundary lies in the file. */
uint64_t state_at(const struct geometry *geometry, uint64_t segment);

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

/* Read a small state into `pages` (STATE_BYTES, page aligned), of its place only what it uses, and
 * check it. Its bytes stand behind the first page. NULL, or what is wrong. Blocks. */
const char *state_read(const struct state_place *place,
                       const struct state_owner *owner,
                       const struct log_start *boundary,
                       uint8_t *pages,
                       uint32_t *byte_count);

#endif
