/* small_state.c: see small_state.h. */
#include "storage/small_state.h"

#include "engine/base/crc.h"
#include "storage/superblock.h"

#include <string.h>

uint64_t state_at(const struct geometry *geometry, uint64_t segment, uint32_t copy)
{
    ASSERT(copy < STATE_COPIES);
    uint64_t slots = geometry->segment_count + LAYOUT_STATES_EXTRA;
    uint64_t at = LAYOUT_STATES_AT + (copy * slots + segment % slots) * STATE_BYTES;
    ASSERT(at + STATE_BYTES <= geometry->ring_offset);
    return at;
}

uint32_t state_encode(uint8_t *pages,
                      const struct state_owner *owner,
                      const struct log_start *boundary,
                      const void *bytes,
                      uint32_t byte_count)
{
    ASSERT(byte_count <= STATE_BYTES - PAGE_BYTES);
    uint32_t total_bytes = (PAGE_BYTES + byte_count + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    ASSERT(total_bytes <= STATE_BYTES);
    struct state_header header = {
        .magic = STATE_MAGIC,
        .version = LAYOUT_VERSION,
        .cluster = owner->cluster,
        .store = owner->store,
        .segment = owner->segment,
        .position = boundary->position,
        .last_term = boundary->last.term,
        .last_index = boundary->last.index,
        .offset = boundary->offset,
        .byte_count = byte_count,
        .bytes_crc = crc32c(0, bytes, byte_count),
    };
    layout_page_seal(pages, &header, sizeof header);
    if (byte_count > 0) {
        memcpy(pages + PAGE_BYTES, bytes, byte_count);
    }
    memset(pages + PAGE_BYTES + byte_count, 0, total_bytes - PAGE_BYTES - byte_count);
    return total_bytes;
}

const char *state_check(const uint8_t *pages,
                        const struct state_owner *owner,
                        const struct log_start *boundary,
                        uint32_t *byte_count)
{
    struct state_header header;
    memcpy(&header, pages, sizeof header);
    if (header.magic != STATE_MAGIC || !layout_page_valid(pages)) {
        return "not written or damaged";
    }
    if (header.version != LAYOUT_VERSION) {
        return "of another version";
    }
    if (header.cluster != owner->cluster || header.store != owner->store) {
        return "of another log";
    }
    if (header.segment != owner->segment || header.position != boundary->position ||
        header.last_term != boundary->last.term || header.last_index != boundary->last.index ||
        header.offset != boundary->offset) {
        return "of another boundary";
    }
    if (header.byte_count > STATE_BYTES - PAGE_BYTES) {
        return "too long";
    }
    if (header.bytes_crc != crc32c(0, pages + PAGE_BYTES, header.byte_count)) {
        return "bytes damaged";
    }
    *byte_count = header.byte_count;
    return NULL;
}

uint32_t state_used_bytes(const uint8_t *head)
{
    struct state_header header;
    memcpy(&header, head, sizeof header);
    if (!layout_page_valid(head) || header.byte_count > STATE_BYTES - PAGE_BYTES) {
        return PAGE_BYTES;
    }
    return PAGE_BYTES + (header.byte_count + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* Read what a copy uses of its place. */
static bool copy_read(const struct state_place *place, uint64_t at, uint8_t *pages)
{
    if (disk_read(place->disk, at, PAGE_BYTES, pages) != 0) {
        return false;
    }
    uint32_t more = state_used_bytes(pages) - PAGE_BYTES;
    return more == 0 || disk_read(place->disk, at + PAGE_BYTES, more, pages + PAGE_BYTES) == 0;
}

struct state_copies state_read(const struct state_place *place,
                               const struct state_owner *owner,
                               const struct log_start *boundary,
                               uint8_t *pages)
{
    struct state_copies copies = {0};
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        uint8_t *into = pages + (uint64_t)copy * STATE_BYTES;
        uint32_t byte_count = 0;
        bool readable = copy_read(place, state_at(place->geometry, owner->segment, copy), into);
        copies.wrong[copy] =
            readable ? state_check(into, owner, boundary, &byte_count) : "unreadable";
        if (copies.wrong[copy] == NULL && copies.pages == NULL) {
            copies.pages = into;
            copies.byte_count = byte_count;
        }
    }
    return copies;
}

int state_mend(const struct state_place *place,
               const struct state_owner *owner,
               const struct state_copies *copies,
               struct fault *fault)
{
    ASSERT(copies->pages != NULL);
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        if (copies->wrong[copy] == NULL) {
            continue;
        }
        struct disk_io io = {.op = DISK_WRITE,
                             .bytes = state_used_bytes(copies->pages),
                             .offset = state_at(place->geometry, owner->segment, copy),
                             .buffer = copies->pages};
        int result = disk_transfer(place->disk, &io);
        if (result != 0) {
            disk_tell(place->disk,
                      "a copy of the small state at the log start could not be put back", result,
                      fault);
            return result;
        }
    }
    return 0;
}
