/* wal_update.c: what the log writes about itself: superblock updates and watermark pages.
 *
 * One superblock update is under way at a time and carries all that is wanted and may go: hard
 * state, cut, start. Its slot's two copies are written one after the other, each durable, and only
 * then is it what wal_open() would find. A watermark page follows when the log is quiet.
 *
 * It queues pages and must not submit, reap, or touch the entries.
 */
#include "storage/wal_internal.h"

#include "storage/superblock.h"

#include <string.h>

static void copy_queue(struct wal *wal)
{
    const struct ring_part part = {
        .offset = layout_superblock_at(wal->next.sequence & 1, wal->copy),
        .bytes = PAGE_BYTES,
    };
    wal_queue_add(wal, io_cookie(IO_SUPERBLOCK, wal->copy), &part, wal->superblock_page);
}

/* A cut waits until all below it is durable and no log write is in flight: a late completion could
 * otherwise pass for the suffix that replaced it, and what the cut vouches for would not be so. */
static bool cut_may_begin(const struct wal *wal)
{
    return wal->want_cut && flights_none(wal) && !wal->repairing &&
           wal->durable_position >= wal->cut_position;
}

/* The start frees space to be overwritten: what recovery then needs must be there first, and the
 * last repair of what was there, or look at the state that goes, must have ended. */
static bool start_may_move(const struct wal *wal)
{
    return wal->want_start && wal->durable_position >= wal->start.position &&
           wal->state.work == STATE_NONE && !wal->repairing;
}

void wal_update_begin(struct wal *wal)
{
    if (wal->updating) {
        return;
    }
    wal->next = wal->current;
    if (wal->want_hard) {
        wal->next.term = wal->hard.term;
        wal->next.entry_term = wal->hard.entry_term;
        wal->next.vote = wal->hard.vote;
        wal->next.bootstrapped = wal->hard.bootstrapped;
        wal->next.bound_term = wal->hard.vote_bound.term;
        wal->next.bound_index = wal->hard.vote_bound.index;
        wal->want_hard = false;
    }
    if (cut_may_begin(wal)) {
        wal->next.epoch++;
        wal->next.cut_position = wal->cut_position;
        wal->next.cut_term = wal->cut_keep.term;
        wal->next.cut_index = wal->cut_keep.index;
        wal->want_cut = false;
        wal->cutting = true;
    }
    if (start_may_move(wal)) {
        wal->next.start_position = wal->start.position;
        wal->next.start_term = wal->start.last.term;
        wal->next.start_index = wal->start.last.index;
        wal->next.start_offset = wal->start.offset;
        wal->want_start = false;
    }
    if (memcmp(&wal->next, &wal->current, sizeof wal->next) == 0) {
        return;
    }
    wal->next.sequence++;
    wal->updating = true;
    wal->copy = 0;
    superblock_encode(&wal->next, wal->superblock_page);
    copy_queue(wal);
    wal->counters.superblock_updates++;
}

static void cut_done(struct wal *wal)
{
    ASSERT(flights_none(wal));
    wal->cutting = false;
    wal->next_position = wal->current.cut_position;
    wal->next_after =
        (struct log_id){.term = wal->current.cut_term, .index = wal->current.cut_index};
    wal->durable_position = wal->next_position;
    wal->durable_last = wal->next_after;
    wal->recorded_position = wal->next_position;
    wal->counters.cuts++;
}

void wal_update_copy_done(struct wal *wal, uint64_t now_ns)
{
    ASSERT(wal->updating);
    if (wal->copy + 1 < SUPERBLOCK_COPIES) {
        wal->copy++;
        copy_queue(wal);
        return;
    }
    wal->current = wal->next;
    wal->updating = false;
    wal->idle_since_ns = now_ns;
    if (wal->cutting) {
        cut_done(wal);
    }
}

void wal_watermark_begin(struct wal *wal, uint64_t now_ns)
{
    bool due = wal->stopping || now_ns - wal->idle_since_ns >= WATERMARK_IDLE_NS;
    if (wal->marking || !watermark_unrecorded(wal) || !log_is_quiet(wal) || !due) {
        return;
    }
    wal->mark_sequence++;
    wal->mark_position = wal->durable_position;
    wal->mark_epoch = wal->current.epoch;
    const struct watermark watermark = {
        .cluster = wal->current.cluster,
        .store = wal->current.store,
        .sequence = wal->mark_sequence,
        .position = wal->durable_position,
        .epoch = wal->current.epoch,
        .last_term = wal->durable_last.term,
        .last_index = wal->durable_last.index,
    };
    watermark_encode(&watermark, wal->watermark_page);
    const struct ring_part part = {.offset = layout_watermark_at(wal->mark_sequence & 1),
                                   .bytes = PAGE_BYTES};
    wal_queue_add(wal, io_cookie(IO_WATERMARK, 0), &part, wal->watermark_page);
    wal->marking = true;
    wal->counters.watermark_pages++;
}

void wal_watermark_done(struct wal *wal)
{
    ASSERT(wal->marking);
    wal->marking = false;
    if (wal->mark_epoch == wal->current.epoch && wal->mark_position > wal->recorded_position) {
        wal->recorded_position = wal->mark_position;
    }
}
