/* segment.c: the ring's arithmetic. */
#include "storage/segment.h"

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
    uint64_t states_bytes = STATE_COPIES * (segment_count + LAYOUT_STATES_EXTRA) * STATE_BYTES;
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

uint64_t geometry_retention_max(const struct geometry *geometry)
{
    uint64_t free_bytes = 2 * geometry->segment_bytes + LOG_RESERVE_BYTES + ENTRY_BYTES_MAX;
    return geometry->ring_bytes > free_bytes ? geometry->ring_bytes - free_bytes : 0;
}
