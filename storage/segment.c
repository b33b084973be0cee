/* segment.c: the ring's arithmetic, and small states: how they are encoded and read. */
#include "storage/segment.h"

#include "engine/base/crc.h"
#include "storage/superblock.h"

#include <string.h>

bool geometry_init(struct geometry *geometry,
                   uint64_t ring_bytes,
                   uint64_t segment_bytes,
                   uint64_t window_bytes)
{
    if (segment_bytes == 0 || segment_bytes % PAGE_BYTES != 0 || ring_bytes % segment_bytes != 0) {
        return false;
    }
    uint64_t segment_count = ring_bytes / segment_bytes;
    if (segment_count < SEGMENTS_MIN || segment_count > SEGMENTS_MAX) {
        return false;
    }
    if (ring_bytes >= LAYOUT_POSITION_LIMIT) {
        return false;
    }
    if (window_bytes == 0 || window_bytes % PAGE_BYTES != 0 ||
        window_bytes > LAYOUT_POSITION_LIMIT) {
        return false;
    }
    uint64_t states_bytes = (segment_count + LAYOUT_STATES_EXTRA) * STATE_BYTES;
    uint64_t states_end = LAYOUT_STATES_AT + states_bytes;
    *geometry = (struct geometry){
        .ring_offset = (states_end + LAYOUT_RING_ALIGN - 1) / LAYOUT_RING_ALIGN * LAYOUT_RING_ALIGN,
        .ring_bytes = ring_bytes,
        .segment_bytes = segment_bytes,
        .window_bytes = window_bytes,
        .segment_count = segment_count,
    };
    return true;
}

bool geometry_fit(struct geometry *geometry,
                  uint64_t file_bytes,
                  uint64_t segment_bytes,
                  uint64_t window_bytes)
{
    ASSERT(segment_bytes > 0);
    uint64_t segment_count = file_bytes / segment_bytes;
    if (segment_count > SEGMENTS_MAX) {
        segment_count = SEGMENTS_MAX;
    }
    /* Each round gives up the segments that the layout around the ring turned out to need. */
    while (segment_count >= SEGMENTS_MIN) {
        if (!geometry_init(geometry, segment_count * segment_bytes, segment_bytes, window_bytes)) {
            return false;
        }
        uint64_t needed_bytes = geometry_file_bytes(geometry);
        if (needed_bytes <= file_bytes) {
            return true;
        }
        segment_count--;
    }
    return false;
}

uint64_t geometry_file_bytes(const struct geometry *geometry)
{
    ASSERT(geometry->ring_offset >= LAYOUT_STATES_AT);
    return geometry->ring_offset + geometry->ring_bytes;
}

uint64_t geometry_file_bytes_min(uint64_t segment_bytes)
{
    struct geometry geometry;
    uint64_t each_bytes = segment_bytes == 0 ? SEGMENT_BYTES_DEFAULT : segment_bytes;
    bool valid =
        geometry_init(&geometry, SEGMENTS_MIN * each_bytes, each_bytes, WRITE_WINDOW_BYTES);
    ASSERT(valid);
    return geometry_file_bytes(&geometry);
}

uint32_t ring_split(const struct geometry *geometry,
                    uint64_t position,
                    uint32_t bytes,
                    struct ring_part parts[2])
{
    ASSERT(position % PAGE_BYTES == 0);
    ASSERT(bytes % PAGE_BYTES == 0);
    ASSERT(bytes <= geometry->ring_bytes);
    uint64_t at = position % geometry->ring_bytes;
    uint64_t until_end_bytes = geometry->ring_bytes - at;
    parts[0].offset = geometry->ring_offset + at;
    if (bytes <= until_end_bytes) {
        parts[0].bytes = bytes;
        return 1;
    }
    parts[0].bytes = (uint32_t)until_end_bytes;
    parts[1].offset = geometry->ring_offset;
    parts[1].bytes = bytes - parts[0].bytes;
    return 2;
}

uint64_t state_at(const struct geometry *geometry, uint64_t segment)
{
    uint64_t slot = segment % (geometry->segment_count + LAYOUT_STATES_EXTRA);
    uint64_t at = LAYOUT_STATES_AT + slot * STATE_BYTES;
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

const char *state_read(const struct state_place *place,
                       const struct state_owner *owner,
                       const struct log_start *boundary,
                       uint8_t *pages,
                       uint32_t *byte_count)
{
    uint64_t at = state_at(place->geometry, owner->segment);
    if (disk_read(place->disk, at, PAGE_BYTES, pages) != 0) {
        return "unreadable";
    }
    struct state_header header;
    memcpy(&header, pages, sizeof header);
    bool has_bytes = layout_page_valid(pages) && header.byte_count > 0 &&
                     header.byte_count <= STATE_BYTES - PAGE_BYTES;
    if (has_bytes) {
        uint32_t used = (header.byte_count + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        if (disk_read(place->disk, at + PAGE_BYTES, used, pages + PAGE_BYTES) != 0) {
            return "unreadable";
        }
    }
    return state_check(pages, owner, boundary, byte_count);
}

uint64_t geometry_retention_max(const struct geometry *geometry)
{
    uint64_t free_bytes = 2 * geometry->segment_bytes + LOG_RESERVE_BYTES + ENTRY_BYTES_MAX;
    return geometry->ring_bytes > free_bytes ? geometry->ring_bytes - free_bytes : 0;
}
