/* wal_repair.c: single pages of the running log are put back in their place.
 *
 * Invariant: a repair lies between the durable start and the durable watermark, both of the
 * superblock that stands, until its write has ended: log writes go elsewhere in the ring as long as
 * the start does not move, and it does not. What does not stand as it should is all that is
 * written, so no crash finds less than before.
 *
 * It must not know why the page is bad, or where its bytes come from.
 */
#include "storage/wal_internal.h"

#include "storage/scan.h"

struct scan_log wal_scan_log(const struct wal *wal)
{
    return (struct scan_log){
        .geometry = wal->geometry,
        .cluster = wal->current.cluster,
        .store = wal->current.store,
        .epoch = wal->current.epoch,
        .cut_position = wal->current.cut_position,
        .limit = wal->current.start_position + wal->geometry.ring_bytes,
    };
}

bool wal_repair_overlaps(const struct wal *wal, uint64_t position, uint32_t bytes)
{
    return wal->repairing && position < wal->repair_position + PAGE_BYTES &&
           wal->repair_position < position + bytes;
}

bool wal_repairing(const struct wal *wal)
{
    return wal->repairing;
}

static bool is_being_read(const struct wal *wal, uint64_t position)
{
    for (uint32_t i = 0; i < READ_SLOTS; i++) {
        const struct read_slot *read = &wal->reads[i];
        if (read->used && read->position < position + PAGE_BYTES &&
            position < read->position + read->byte_count) {
            return true;
        }
    }
    return false;
}

bool wal_bounds_change(const struct wal *wal)
{
    bool moves = wal->updating && wal->next.start_position != wal->current.start_position;
    return moves || wal->cutting || wal->want_cut || wal->want_start;
}

bool wal_repair(struct wal *wal, uint8_t *entry, uint32_t number)
{
    ASSERT(wal->open);
    const struct entry_header *header = entry_header_of(entry);
    ASSERT(number < header->pages);
    uint64_t position = header->position + (uint64_t)number * PAGE_BYTES;
    if (wal->failed != 0 || wal->repairing || wal->stopping || wal_bounds_change(wal) ||
        is_being_read(wal, position)) {
        return false;
    }
    ASSERT(header->position >= wal->current.start_position);
    ASSERT(header->position + (uint64_t)header->pages * PAGE_BYTES <= wal->durable_position);
    const struct node_header node = {
        .node = wal->config.node,
        .store = wal->current.store,
        .epoch = wal->current.epoch,
        .durable_position = header->position, /* Below what is durable: no more than that. */
        .position = header->position,
    };
    node_header_seal(entry, &node);
    struct ring_part parts[2];
    uint32_t part_count = ring_split(&wal->geometry, position, PAGE_BYTES, parts);
    ASSERT(part_count == 1); /* A ring is whole pages. */
    wal_queue_add(wal, io_cookie(IO_REPAIR, 0), &parts[0], entry + (uint64_t)number * PAGE_BYTES);
    wal->repairing = true;
    wal->repair_position = position;
    wal->counters.repairs++;
    return true;
}
