/* wal.c: one replica's log on disk. See wal.h for the rules that it keeps.
 *
 * Everything that is written goes through one queue to the disk: log writes straight from the
 * caller's slots, and superblock, watermark and state pages from buffers that are taken once.
 * wal_poll() reaps, moves the watermark, begins the next update (wal_update.c), submits.
 *
 * It knows neither Raft nor what the small states hold.
 */
#include "storage/wal_internal.h"

#include "storage/scan.h"
#include "storage/segment.h"
#include "storage/small_state.h"
#include "storage/superblock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

COUNTERS_DEFINE(wal, WAL_COUNTERS);

uint64_t wal_memory_bytes(void)
{
    return sizeof(struct wal) + 2 * PAGE_BYTES /* alignment */ + 2 * PAGE_BYTES + STATE_BYTES +
           RECOVER_BUFFER_BYTES;
}

struct wal *wal_create(struct mem *mem, const struct wal_config *config)
{
    ASSERT(config->disk != NULL);
    ASSERT(config->node >= 1);
    ASSERT(config->node <= NODE_ID_MAX);
    struct wal *wal = mem_take(mem, "wal", 1, sizeof *wal, 64);
    memset(wal, 0, sizeof *wal);
    wal->config = *config;
    wal->superblock_page = mem_take(mem, "wal superblock page", 1, PAGE_BYTES, PAGE_BYTES);
    wal->watermark_page = mem_take(mem, "wal watermark page", 1, PAGE_BYTES, PAGE_BYTES);
    wal->state_pages = mem_take(mem, "wal small state", 1, STATE_BYTES, PAGE_BYTES);
    wal->recover_buffer = mem_take(mem, "wal recovery buffer", 1, RECOVER_BUFFER_BYTES, PAGE_BYTES);
    return wal;
}

int wal_damage_refuse(const struct recovery *found, struct fault *fault)
{
    const char *way =
        "what is gone is no entry, so no flag gives it up: bring it back from a copy of "
        "the disk, or format it anew and let the others serve";
    char flag[240];
    if (found->kind == RECOVER_SUSPECT) {
        snprintf(flag, sizeof flag,
                 "`thole start --discard-suspect` cuts it behind index %" PRIu64
                 " and gives up whatever was acknowledged above, if anything was",
                 found->last.index);
        way = flag;
    } else if (!found->beyond_entries) {
        snprintf(flag, sizeof flag,
                 "bring it back from a copy of the disk; or `thole start --discard-damaged`, of a "
                 "cluster of one, cuts it behind index %" PRIu64
                 " and gives up what was durable above",
                 found->last.index);
        way = flag;
    }
    fault_set(fault, FAULT_FAILED,
              "the log of node %u is %s: %.216s. Nothing was written. The entries of other nodes "
              "cannot mend it, or there are none: %s",
              found->node, recover_kind_name(found->kind), found->what, way);
    return -EBADMSG;
}

static bool accepts(enum wal_accept accept, const struct recovery *found)
{
    switch (accept) {
    case WAL_BOUNDED:
    case WAL_DISCARD_DAMAGED:
        return !found->beyond_entries;
    case WAL_DISCARD_SUSPECT:
        return recover_is_whole(found) || found->kind == RECOVER_SUSPECT;
    case WAL_WHOLE:
        break;
    }
    return recover_is_whole(found);
}

/* What bounds the votes of this opening. */
static struct log_id bound_of(enum wal_accept accept, const struct recovery *found)
{
    if (accept == WAL_DISCARD_SUSPECT || accept == WAL_DISCARD_DAMAGED) {
        return (struct log_id){0, 0};
    }
    return recover_is_whole(found) ? found->bound : found->vote_bound;
}

/* The epoch and boot of this opening, with the cut at the log's end. */
static void open_next(struct wal *wal, enum wal_accept accept, const struct recovery *found)
{
    struct superblock *next = &wal->next;
    *next = wal->current;
    next->sequence++;
    next->boot++;
    next->epoch++;
    next->cut_position = found->end_position;
    next->cut_term = found->last.term;
    next->cut_index = found->last.index;
    struct log_id bound = bound_of(accept, found);
    next->bound_term = bound.term;
    next->bound_index = bound.index;
    ASSERT(next->cut_position >= next->start_position);
}

/* What was cut off must not be found again: it is void by the cut, but it would still be bad. */
static int bad_pages_zero(struct wal *wal, const struct recovery *found, struct fault *fault)
{
    struct scan_log log = scan_log_of(wal->config.disk, found);
    struct scan scan;
    scan_init(&scan, &log, wal->recover_buffer, found->end_position, found->last);
    uint64_t limit = found->window_end < log.limit ? found->window_end : log.limit;
    memset(wal->watermark_page, 0, PAGE_BYTES);
    for (uint64_t at = found->end_position; at < limit; at += PAGE_BYTES) {
        const uint8_t *page = scan_pages(&scan, at, PAGE_BYTES);
        if (scan_page_judge(&log, at, page).state != PAGE_BAD) {
            continue;
        }
        struct ring_part parts[2];
        uint32_t count = ring_split(&log.geometry, at, PAGE_BYTES, parts);
        ASSERT(count == 1);
        struct disk_io io = {.op = DISK_WRITE,
                             .bytes = PAGE_BYTES,
                             .offset = parts[0].offset,
                             .buffer = wal->watermark_page};
        int result = disk_transfer(wal->config.disk, &io);
        if (result != 0) {
            disk_tell(wal->config.disk, "a bad page could not be cleared", result, fault);
            return result;
        }
    }
    return 0;
}

/* The other copy of the small state at the start does for a bad one, and is all there is until that
 * is put back. */
static int start_state_mend(struct wal *wal, const struct recovery *found, struct fault *fault)
{
    if (!recover_state_is_bad(found)) {
        return 0;
    }
    const struct scan_log log = scan_log_of(wal->config.disk, found);
    const struct state_place place = {log.disk, &log.geometry};
    const struct state_owner owner = {
        .cluster = found->cluster,
        .store = found->store,
        .segment = segment_number(&log.geometry, found->start.position),
    };
    const struct state_copies copies =
        state_read(&place, &owner, &found->start, wal->recover_buffer);
    if (copies.pages == NULL) {
        disk_tell(log.disk, "the small state at the log start could not be read again", -EIO,
                  fault);
        return -EIO;
    }
    wal->counters.states_bad++;
    wal->counters.states_mended++;
    return state_mend(&place, &owner, &copies, fault);
}

int wal_open(struct wal *wal,
             enum wal_accept accept,
             const struct recover_visitor *visit,
             struct recovery *found,
             struct fault *fault)
{
    ASSERT(!wal->open);
    struct disk *disk = wal->config.disk;
    memset(found, 0, sizeof *found);
    const struct recover_config expected = {
        .cluster = wal->config.cluster,
        .node = wal->config.node,
        .buffer = wal->recover_buffer,
        .visitor = visit,
    };
    int result = recover(disk, &expected, found, fault);
    if (result != 0) {
        return result;
    }
    if (!accepts(accept, found)) {
        return wal_damage_refuse(found, fault);
    }
    struct superblock_set set;
    result = superblock_load(disk, wal->superblock_page, &set, fault);
    if (result != 0) {
        return result;
    }
    ASSERT(set.newest.epoch == found->epoch);
    result = superblock_mend(disk, wal->superblock_page, &set, fault);
    if (result != 0) {
        return result;
    }
    result = start_state_mend(wal, found, fault);
    if (result != 0) {
        return result;
    }
    wal->current = set.newest;
    open_next(wal, accept, found);
    result = superblock_store(disk, wal->superblock_page, &wal->next, fault);
    if (result != 0) {
        return result;
    }
    wal->current = wal->next;
    if (!recover_is_whole(found)) {
        result = bad_pages_zero(wal, found, fault);
        if (result != 0) {
            return result;
        }
    }
    bool valid = geometry_init(&wal->geometry, found->ring_bytes, found->segment_bytes,
                               wal->current.window_bytes);
    ASSERT(valid);
    wal->next_position = found->end_position;
    wal->next_after = found->last;
    wal->durable_position = found->end_position;
    wal->durable_last = found->last;
    wal->recorded_position = found->end_position;
    wal->open = true;
    return 0;
}

uint8_t *wal_start_buffer(struct wal *wal)
{
    ASSERT(!wal->open);
    return wal->recover_buffer;
}

static struct flight *flight_at(struct wal *wal, uint64_t sequence)
{
    ASSERT(sequence - wal->flight_head < WRITES_MAX);
    return &wal->flights[sequence % WRITES_MAX];
}

static bool io_reads(enum io_kind kind)
{
    return kind == IO_READ || kind == IO_STATE_LOOK;
}

void wal_queue_add(struct wal *wal, uint64_t cookie, const struct ring_part *part, void *buffer)
{
    ASSERT(wal->queue_count + wal->config.disk->in_flight < DISK_QUEUE_MAX);
    wal->queue[wal->queue_count++] = (struct disk_io){
        .op = io_reads(io_cookie_kind(cookie)) ? DISK_READ : DISK_WRITE,
        .bytes = part->bytes,
        .offset = part->offset,
        .buffer = buffer,
        .cookie = cookie,
    };
}

/* Queue a range of the ring in its one or two parts; returns how many. */
uint32_t wal_queue_range(struct wal *wal,
                         uint64_t cookie,
                         const struct ring_part parts[2],
                         uint32_t part_count,
                         uint8_t *buffer)
{
    for (uint32_t i = 0; i < part_count; i++) {
        wal_queue_add(wal, cookie, &parts[i], buffer);
        buffer += parts[i].bytes;
    }
    return part_count;
}

/* Stamp this node's header into every entry of a write; returns their number. */
static uint32_t entries_stamp(const struct wal *wal, const struct wal_write *write)
{
    uint32_t count = 0;
    uint32_t at = 0;
    while (at < write->byte_count) {
        uint8_t *entry = write->bytes + at;
        const struct entry_header *header = entry_header_of(entry);
        ASSERT(header->position == write->position + at);
        ASSERT(header->index == write->first.index + count);
        ASSERT(header->pages >= 1);
        const struct node_header node = {
            .node = wal->config.node,
            .store = wal->current.store,
            .epoch = wal->current.epoch,
            .durable_position = wal->durable_position,
            .position = header->position,
        };
        node_header_seal(entry, &node);
        at += header->pages * PAGE_BYTES;
        count++;
    }
    ASSERT(at == write->byte_count);
    ASSERT(write->first.index + count == write->last.index + 1);
    return count;
}

bool wal_write(struct wal *wal, const struct wal_write *write)
{
    ASSERT(wal->open);
    ASSERT(write->byte_count > 0);
    ASSERT(write->byte_count <= WRITE_BYTES_MAX);
    ASSERT(write->byte_count <= wal->geometry.window_bytes);
    uint64_t end = write->position + write->byte_count;
    bool above_cut = wal->cutting || (wal->want_cut && end > wal->cut_position);
    if (wal->failed != 0 || above_cut || wal->flight_tail - wal->flight_head == WRITES_MAX ||
        end - wal->durable_position > wal->geometry.window_bytes ||
        end > wal->current.start_position + wal->geometry.ring_bytes) {
        wal->counters.write_waits++;
        return false;
    }
    ASSERT(write->position == wal->next_position);
    ASSERT(write->first.index == wal->next_after.index + 1);
    ASSERT(write->last.term <= wal->current.entry_term);
    wal->counters.entries += entries_stamp(wal, write);
    struct ring_part parts[2];
    uint32_t part_count = ring_split(&wal->geometry, write->position, write->byte_count, parts);
    uint64_t sequence = wal->flight_tail++;
    *flight_at(wal, sequence) =
        (struct flight){.end = end, .last = write->last, .ios_left = part_count};
    uint32_t slot = (uint32_t)(sequence % WRITES_MAX);
    wal_queue_range(wal, io_cookie(IO_LOG, slot), parts, part_count, write->bytes);
    wal->next_position = end;
    wal->next_after = write->last;
    wal->counters.writes++;
    wal->counters.write_bytes += write->byte_count;
    return true;
}

void wal_set_hard(struct wal *wal, const struct wal_hard *hard)
{
    ASSERT(wal->open);
    ASSERT(hard->term >= wal->current.term);
    ASSERT(hard->entry_term >= wal->current.entry_term);
    ASSERT(hard->entry_term <= hard->term);
    ASSERT(hard->vote <= NODE_ID_MAX);
    ASSERT(hard->vote_bound.term <= hard->term);
    wal->hard = *hard;
    wal->want_hard = true;
}

void wal_cut(struct wal *wal, struct log_id keep, uint64_t position)
{
    ASSERT(wal->open);
    ASSERT(!wal->want_cut);
    ASSERT(!wal->cutting);
    ASSERT(position % PAGE_BYTES == 0);
    ASSERT(position >= wal->current.start_position);
    ASSERT(position >= wal->next_position || keep.index < wal->next_after.index);
    ASSERT(!wal->repairing || wal->repair_position < position); /* What is committed stays. */
    wal->cut_keep = keep;
    wal->cut_position = position;
    wal->want_cut = true;
}

void wal_set_start(struct wal *wal, const struct log_start *start)
{
    ASSERT(wal->open);
    ASSERT(start->position >= wal->current.start_position);
    ASSERT(start->position <= wal->next_position);
    ASSERT(start->position % PAGE_BYTES == 0);
    wal->start = *start;
    wal->want_start = true;
}

void wal_stop(struct wal *wal)
{
    wal->stopping = true;
}

static void request_done(struct wal *wal, const struct disk_done *done, uint64_t now_ns)
{
    enum io_kind kind = io_cookie_kind(done->cookie);
    uint32_t slot = io_cookie_slot(done->cookie);
    if (kind == IO_READ) {
        wal_read_part_done(wal, slot, done->result);
        return;
    }
    if (kind == IO_STATE_LOOK) {
        wal_state_seen(wal, done->result);
        return;
    }
    if (done->result != 0) {
        /* The disk has lied: nothing that it says from here on is evidence. */
        wal->failed = wal->failed == 0 ? done->result : wal->failed;
        return;
    }
    switch (kind) {
    case IO_LOG:
        ASSERT(slot < WRITES_MAX);
        ASSERT(wal->flights[slot].ios_left > 0);
        wal->flights[slot].ios_left--;
        break;
    case IO_SUPERBLOCK:
        wal->update_since_ns = 0; /* Progress; the next copy is stamped anew. */
        wal_update_copy_done(wal, now_ns);
        break;
    case IO_WATERMARK:
        wal_watermark_done(wal);
        break;
    case IO_STATE:
        wal_state_written(wal);
        break;
    case IO_REPAIR:
        ASSERT(wal->repairing);
        wal->repairing = false;
        break;
    case IO_STATE_LOOK:
    case IO_READ:
        ASSERT(false);
    }
}

/* The durable watermark is the contiguous prefix of completed writes. */
static void durable_advance(struct wal *wal, uint64_t now_ns)
{
    while (!flights_none(wal)) {
        const struct flight *oldest = flight_at(wal, wal->flight_head);
        if (oldest->ios_left > 0) {
            return;
        }
        ASSERT(oldest->end > wal->durable_position);
        wal->durable_position = oldest->end;
        wal->durable_last = oldest->last;
        wal->idle_since_ns = now_ns;
        wal->flight_head++;
    }
}

static uint32_t queue_submit(struct wal *wal, uint64_t now_ns)
{
    if (wal->queue_count == 0) {
        return 0;
    }
    for (uint64_t i = wal->flight_head; i < wal->flight_tail; i++) {
        struct flight *flight = flight_at(wal, i);
        flight->submitted_ns = flight->submitted_ns == 0 ? now_ns : flight->submitted_ns;
    }
    for (uint32_t i = 0; wal->read_ios > 0 && i < READ_SLOTS; i++) {
        struct read_slot *read = &wal->reads[i];
        read->submitted_ns = read->submitted_ns == 0 ? now_ns : read->submitted_ns;
    }
    uint32_t taken = disk_submit(wal->config.disk, wal->queue, wal->queue_count);
    wal->queue_count -= taken;
    memmove(wal->queue, wal->queue + taken, wal->queue_count * sizeof wal->queue[0]);
    return taken;
}

/* Stamp a write that is not the log's when it is first seen under way. */
static void stamp(bool under_way, uint64_t *since_ns, uint64_t now_ns)
{
    if (!under_way) {
        *since_ns = 0;
    } else if (*since_ns == 0) {
        *since_ns = now_ns;
    }
}

uint32_t wal_poll(struct wal *wal, uint64_t now_ns)
{
    ASSERT(wal->open);
    struct disk_done done[DISK_QUEUE_MAX];
    uint32_t moved = disk_poll(wal->config.disk, done, DISK_QUEUE_MAX);
    for (uint32_t i = 0; i < moved && wal->failed == 0; i++) {
        request_done(wal, &done[i], now_ns);
    }
    if (wal->failed != 0) {
        wal->queue_count = 0;
        return moved;
    }
    durable_advance(wal, now_ns);
    wal_update_begin(wal);
    wal_watermark_begin(wal, now_ns);
    stamp(wal->updating, &wal->update_since_ns, now_ns);
    stamp(wal->marking, &wal->mark_since_ns, now_ns);
    stamp(wal->state.work != STATE_NONE, &wal->state_since_ns, now_ns);
    stamp(wal->repairing, &wal->repair_since_ns, now_ns);
    return moved + queue_submit(wal, now_ns);
}

struct wal_durable wal_durable(const struct wal *wal)
{
    return (struct wal_durable){
        .epoch = wal->current.epoch,
        .index = wal->durable_last.index,
        .position = wal->durable_position,
    };
}

struct wal_hard wal_hard_durable(const struct wal *wal)
{
    return (struct wal_hard){
        .term = wal->current.term,
        .entry_term = wal->current.entry_term,
        .vote = (uint8_t)wal->current.vote,
        .bootstrapped = wal->current.bootstrapped != 0,
        .vote_bound = {.term = wal->current.bound_term, .index = wal->current.bound_index},
    };
}

struct log_start wal_start_durable(const struct wal *wal)
{
    return (struct log_start){
        .position = wal->current.start_position,
        .last = {.term = wal->current.start_term, .index = wal->current.start_index},
        .offset = wal->current.start_offset,
    };
}

uint64_t wal_epoch(const struct wal *wal)
{
    return wal->current.epoch;
}

uint64_t wal_store(const struct wal *wal)
{
    return wal->current.store;
}

uint64_t wal_boot(const struct wal *wal)
{
    return wal->current.boot;
}

uint64_t wal_ring_bytes(const struct wal *wal)
{
    return wal->geometry.ring_bytes;
}

uint64_t wal_segment_bytes(const struct wal *wal)
{
    return wal->geometry.segment_bytes;
}

bool wal_is_idle(const struct wal *wal)
{
    if (wal->failed != 0) {
        return wal->config.disk->in_flight == 0;
    }
    return log_is_quiet(wal) && !wal->marking && wal->state.work == STATE_NONE && !wal->repairing &&
           !(wal->stopping && watermark_unrecorded(wal));
}

uint64_t wal_oldest_write_ns(const struct wal *wal)
{
    uint64_t oldest_ns = wal_older(UINT64_MAX, wal->update_since_ns);
    oldest_ns = wal_older(oldest_ns, wal->mark_since_ns);
    oldest_ns = wal_older(oldest_ns, wal->state_since_ns);
    oldest_ns = wal_older(oldest_ns, wal->repair_since_ns);
    if (!flights_none(wal)) {
        oldest_ns = wal_older(oldest_ns, wal->flights[wal->flight_head % WRITES_MAX].submitted_ns);
    }
    return oldest_ns;
}

uint32_t wal_writes_in_flight(const struct wal *wal)
{
    return (uint32_t)(wal->flight_tail - wal->flight_head);
}

uint64_t wal_deadline_ns(const struct wal *wal)
{
    bool waits =
        wal->failed == 0 && !wal->marking && watermark_unrecorded(wal) && log_is_quiet(wal);
    return waits ? wal->idle_since_ns + WATERMARK_IDLE_NS : UINT64_MAX;
}

int wal_failed(const struct wal *wal)
{
    return wal->failed;
}

const struct wal_counters *wal_counters(const struct wal *wal)
{
    return &wal->counters;
}
