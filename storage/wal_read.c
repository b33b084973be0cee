/* wal_read.c: reads of the running log.
 *
 * A range that cannot be read is read again page by page, so that a page that cannot be read hides
 * no other. Such a page is left as bytes that no page check passes: whoever asked looks at what it
 * got as at any page.
 *
 * It must not know who reads, or check what was read.
 */
#include "storage/wal_internal.h"

#include <string.h>

#define UNREADABLE_BYTE 0xee

bool wal_read(
    struct wal *wal, uint64_t position, uint32_t byte_count, void *buffer, uint32_t cookie)
{
    ASSERT(wal->open);
    ASSERT(byte_count > 0);
    ASSERT(byte_count % PAGE_BYTES == 0);
    ASSERT(byte_count <= 4 * ENTRY_BYTES_MAX);
    uint32_t slot = 0;
    while (slot < READ_SLOTS && wal->reads[slot].used) {
        slot++;
    }
    struct ring_part parts[2];
    uint32_t part_count = ring_split(&wal->geometry, position, byte_count, parts);
    if (wal->failed != 0 || slot == READ_SLOTS || wal->read_ios + part_count > READ_IOS_MAX ||
        wal_repair_overlaps(wal, position, byte_count)) {
        return false;
    }
    wal->reads[slot] = (struct read_slot){
        .buffer = buffer,
        .position = position,
        .byte_count = byte_count,
        .cookie = cookie,
        .ios_left = part_count,
        .used = true,
    };
    wal->read_ios += wal_queue_range(wal, io_cookie(IO_READ, slot), parts, part_count, buffer);
    wal->counters.reads++;
    wal->counters.read_bytes += byte_count;
    return true;
}

/* Queue the next single page of a range that could not be read. False: it was the last one. */
static bool next_page(struct wal *wal, uint32_t slot)
{
    struct read_slot *read = &wal->reads[slot];
    for (; read->page_at < read->byte_count; read->page_at += PAGE_BYTES) {
        uint8_t *page = read->buffer + read->page_at;
        uint64_t position = read->position + read->page_at;
        if (position < wal->current.start_position) {
            memset(page, UNREADABLE_BYTE, PAGE_BYTES); /* It may be overwritten meanwhile. */
            continue;
        }
        struct ring_part parts[2];
        uint32_t part_count = ring_split(&wal->geometry, position, PAGE_BYTES, parts);
        wal->read_ios += wal_queue_range(wal, io_cookie(IO_READ, slot), parts, part_count, page);
        read->ios_left = part_count;
        read->submitted_ns = 0;
        return true;
    }
    return false;
}

void wal_read_part_done(struct wal *wal, uint32_t slot, int32_t result)
{
    ASSERT(slot < READ_SLOTS);
    struct read_slot *read = &wal->reads[slot];
    ASSERT(read->used);
    ASSERT(read->ios_left > 0);
    read->failed = read->failed || result != 0;
    read->ios_left--;
    wal->read_ios--;
    if (read->ios_left > 0) {
        return;
    }
    bool one = read->singly || read->byte_count == PAGE_BYTES;
    if (read->failed && one) {
        memset(read->buffer + read->page_at, UNREADABLE_BYTE, PAGE_BYTES);
    }
    read->page_at += one ? PAGE_BYTES : 0;
    read->singly = read->singly || read->failed;
    read->failed = false;
    if (read->singly && next_page(wal, slot)) {
        return;
    }
    read->used = false;
    ASSERT(wal->read_done_count < READ_SLOTS);
    wal->read_done[wal->read_done_count++] = read->cookie;
}

bool wal_read_done(struct wal *wal, uint32_t *cookie)
{
    if (wal->read_done_count == 0) {
        return false;
    }
    *cookie = wal->read_done[0];
    wal->read_done_count--;
    memmove(wal->read_done, wal->read_done + 1, wal->read_done_count * sizeof wal->read_done[0]);
    return true;
}

uint64_t wal_oldest_read_ns(const struct wal *wal)
{
    uint64_t oldest_ns = UINT64_MAX;
    for (uint32_t i = 0; wal->read_ios > 0 && i < READ_SLOTS; i++) {
        const struct read_slot *read = &wal->reads[i];
        oldest_ns = read->used ? wal_older(oldest_ns, read->submitted_ns) : oldest_ns;
    }
    return oldest_ns;
}
