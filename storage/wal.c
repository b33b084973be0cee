/* wal.c: one replica's log on disk. See wal.h for the rules that it keeps.
 *
 * Everything that is written goes through one queue to the disk: log writes straight from the
 * caller's slots, and superblock, watermark and state pages from buffers that are taken once. One
 * superblock update is under way at a time and carries all that is wanted and may go: hard state,
 * cut, start. wal_poll() reaps, moves the watermark, begins the next update, submits.
 *
 * It knows neither Raft nor what the small states hold.
 */
#include "storage/wal.h"

#include "storage/segment.h"
#include "storage/superblock.h"

#include <errno.h>
#include <string.h>

COUNTERS_DEFINE(wal, WAL_COUNTERS);

/* Requests besides reads: every log write, one of them split at the ring's end, and one each for
 * superblock, watermark and state. Reads take what is left of the queue. */
#define WRITE_IOS_MAX   (WRITES_MAX + 4u)
#define READ_IOS_MAX    (DISK_QUEUE_MAX - WRITE_IOS_MAX)
#define READ_SLOTS      READ_IOS_MAX
#define UNREADABLE_BYTE 0xee /* What a failed read leaves: no page check passes it. */
_Static_assert(DISK_QUEUE_MAX > WRITE_IOS_MAX, "reads have a place in the queue");

enum io_kind { IO_LOG, IO_SUPERBLOCK, IO_WATERMARK, IO_STATE, IO_READ };

/* A log write under way. */
struct flight {
    uint64_t end;
    struct log_id last;
    uint64_t submitted_ns; /* 0: not yet. */
    uint32_t ios_left;
};

struct read_slot {
    uint8_t *buffer;
    uint32_t byte_count;
    uint32_t cookie;
    uint32_t ios_left;
    bool used;
    bool failed;
};

struct wal {
    struct wal_config config;
    struct geometry geometry;
    int failed;
    bool open;
    bool stopping;
    struct superblock current; /* Durable. */
    /* The superblock update under way. */
    struct superblock next;
    bool updating;
    uint32_t copy; /* Being written. */
    bool cutting;  /* `next` holds a cut. */
    /* What is wanted of the next one. */
    bool want_hard;
    bool want_cut;
    bool want_start;
    struct wal_hard hard;
    struct log_id cut_keep;
    uint64_t cut_position;
    struct log_start start;
    /* The log. */
    uint64_t next_position; /* Of the next write. */
    struct log_id next_after;
    uint64_t durable_position;
    struct log_id durable_last;
    uint64_t flight_head; /* Sequence of the oldest flight; slot = sequence % WRITES_MAX. */
    uint64_t flight_tail;
    struct flight flights[WRITES_MAX];
    /* Watermark pages. */
    uint64_t recorded_position; /* Vouched for by the cut or a watermark page of this epoch. */
    uint64_t mark_position;     /* Of the page under way. */
    uint64_t mark_epoch;
    uint64_t mark_sequence;
    uint64_t idle_since_ns;
    bool marking;
    bool state_busy;
    /* Reads. */
    struct read_slot reads[READ_SLOTS];
    uint32_t read_ios; /* Queued or in flight. */
    uint32_t read_done[READ_SLOTS];
    uint32_t read_done_count;
    /* Not yet submitted. */
    struct disk_io queue[DISK_QUEUE_MAX];
    uint32_t queue_count;
    struct wal_counters counters;
    uint8_t *superblock_page;
    uint8_t *watermark_page;
    uint8_t *state_pages;
    uint8_t *recover_buffer;
};

_Static_assert(WRITES_MAX <= 256, "a slot number fits its place in a cookie");

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

static int damage_refuse(const struct recovery *found, struct fault *fault)
{
    fault_set(fault, FAULT_FAILED,
              "the log of node %u is %s: %s. Nothing was written and nothing was cut off. Repair "
              "from the other replicas is not there yet: keep this file, let the others serve, and "
              "bring it back from a copy of the disk",
              found->node, recover_kind_name(found->kind), found->what);
    return -EBADMSG;
}

/* The epoch and boot of this opening, with the cut at the log's end. */
static void open_next(struct wal *wal, const struct recovery *found)
{
    struct superblock *next = &wal->next;
    *next = wal->current;
    next->sequence++;
    next->boot++;
    next->epoch++;
    next->cut_position = found->end_position;
    next->cut_term = found->last.term;
    next->cut_index = found->last.index;
    ASSERT(next->cut_position >= next->start_position);
}

int wal_open(struct wal *wal,
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
    if (found->kind == RECOVER_DAMAGED || found->kind == RECOVER_SUSPECT) {
        return damage_refuse(found, fault);
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
    wal->current = set.newest;
    open_next(wal, found);
    result = superblock_store(disk, wal->superblock_page, &wal->next, fault);
    if (result != 0) {
        return result;
    }
    wal->current = wal->next;
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

static struct flight *flight_at(struct wal *wal, uint64_t sequence)
{
    ASSERT(sequence - wal->flight_head < WRITES_MAX);
    return &wal->flights[sequence % WRITES_MAX];
}

static bool flights_none(const struct wal *wal)
{
    return wal->flight_head == wal->flight_tail;
}

static bool watermark_unrecorded(const struct wal *wal)
{
    return wal->durable_position > wal->recorded_position;
}

/* Whether nothing that a watermark page should wait for is under way. */
static bool log_is_quiet(const struct wal *wal)
{
    return flights_none(wal) && !wal->updating && !wal->want_hard && !wal->want_cut &&
           !wal->want_start;
}

static void queue_add(
    struct wal *wal, enum io_kind kind, uint32_t slot, const struct ring_part *part, void *buffer)
{
    ASSERT(wal->queue_count + wal->config.disk->in_flight < DISK_QUEUE_MAX);
    wal->queue[wal->queue_count++] = (struct disk_io){
        .op = kind == IO_READ ? DISK_READ : DISK_WRITE,
        .bytes = part->bytes,
        .offset = part->offset,
        .buffer = buffer,
        .cookie = (uint64_t)kind << 32 | slot,
    };
}

/* Queue a range of the ring in its one or two parts; returns how many. */
static uint32_t queue_range(struct wal *wal,
                            enum io_kind kind,
                            uint32_t slot,
                            const struct ring_part parts[2],
                            uint32_t part_count,
                            uint8_t *buffer)
{
    for (uint32_t i = 0; i < part_count; i++) {
        queue_add(wal, kind, slot, &parts[i], buffer);
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
    queue_range(wal, IO_LOG, slot, parts, part_count, write->bytes);
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

bool wal_put_state(struct wal *wal,
                   const struct log_start *boundary,
                   const void *bytes,
                   uint32_t byte_count)
{
    ASSERT(wal->open);
    ASSERT(boundary->position <= wal->current.start_position + wal->geometry.ring_bytes);
    if (wal->state_busy || wal->failed != 0) {
        return false;
    }
    const struct state_owner owner = {
        .cluster = wal->current.cluster,
        .store = wal->current.store,
        .segment = segment_number(&wal->geometry, boundary->position),
    };
    const struct ring_part part = {
        .offset = state_at(&wal->geometry, owner.segment),
        .bytes = state_encode(wal->state_pages, &owner, boundary, bytes, byte_count),
    };
    queue_add(wal, IO_STATE, 0, &part, wal->state_pages);
    wal->state_busy = true;
    wal->counters.states++;
    return true;
}

bool wal_read(
    struct wal *wal, uint64_t position, uint32_t byte_count, void *buffer, uint32_t cookie)
{
    ASSERT(wal->open);
    ASSERT(byte_count > 0);
    ASSERT(byte_count <= 4 * ENTRY_BYTES_MAX);
    uint32_t slot = 0;
    while (slot < READ_SLOTS && wal->reads[slot].used) {
        slot++;
    }
    struct ring_part parts[2];
    uint32_t part_count = ring_split(&wal->geometry, position, byte_count, parts);
    if (wal->failed != 0 || slot == READ_SLOTS || wal->read_ios + part_count > READ_IOS_MAX) {
        return false;
    }
    wal->reads[slot] = (struct read_slot){
        .buffer = buffer,
        .byte_count = byte_count,
        .cookie = cookie,
        .ios_left = part_count,
        .used = true,
    };
    wal->read_ios += queue_range(wal, IO_READ, slot, parts, part_count, buffer);
    wal->counters.reads++;
    wal->counters.read_bytes += byte_count;
    return true;
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

void wal_stop(struct wal *wal)
{
    wal->stopping = true;
}

static void copy_queue(struct wal *wal)
{
    const struct ring_part part = {
        .offset = layout_superblock_at(wal->next.sequence & 1, wal->copy),
        .bytes = PAGE_BYTES,
    };
    queue_add(wal, IO_SUPERBLOCK, wal->copy, &part, wal->superblock_page);
}

/* A cut waits until all below it is durable and no log write is in flight: a late completion could
 * otherwise pass for the suffix that replaced it, and what the cut vouches for would not be so. */
static bool cut_may_begin(const struct wal *wal)
{
    return wal->want_cut && flights_none(wal) && wal->durable_position >= wal->cut_position;
}

/* The start frees space to be overwritten: what recovery then needs must be there first. */
static bool start_may_move(const struct wal *wal)
{
    return wal->want_start && wal->durable_position >= wal->start.position && !wal->state_busy;
}

static void superblock_begin(struct wal *wal)
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

static void superblock_copy_done(struct wal *wal, uint64_t now_ns)
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

static void watermark_begin(struct wal *wal, uint64_t now_ns)
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
    queue_add(wal, IO_WATERMARK, 0, &part, wal->watermark_page);
    wal->marking = true;
    wal->counters.watermark_pages++;
}

static void watermark_done(struct wal *wal)
{
    ASSERT(wal->marking);
    wal->marking = false;
    if (wal->mark_epoch == wal->current.epoch && wal->mark_position > wal->recorded_position) {
        wal->recorded_position = wal->mark_position;
    }
}

static void read_part_done(struct wal *wal, uint32_t slot, int32_t result)
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
    if (read->failed) {
        memset(read->buffer, UNREADABLE_BYTE, read->byte_count);
    }
    read->used = false;
    ASSERT(wal->read_done_count < READ_SLOTS);
    wal->read_done[wal->read_done_count++] = read->cookie;
}

static void request_done(struct wal *wal, const struct disk_done *done, uint64_t now_ns)
{
    enum io_kind kind = (enum io_kind)(done->cookie >> 32);
    uint32_t slot = (uint32_t)done->cookie;
    if (kind == IO_READ) {
        read_part_done(wal, slot, done->result);
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
        superblock_copy_done(wal, now_ns);
        break;
    case IO_WATERMARK:
        watermark_done(wal);
        break;
    case IO_STATE:
        wal->state_busy = false;
        break;
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
    uint32_t taken = disk_submit(wal->config.disk, wal->queue, wal->queue_count);
    wal->queue_count -= taken;
    memmove(wal->queue, wal->queue + taken, wal->queue_count * sizeof wal->queue[0]);
    return taken;
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
    superblock_begin(wal);
    watermark_begin(wal, now_ns);
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
    return log_is_quiet(wal) && !wal->marking && !wal->state_busy &&
           !(wal->stopping && watermark_unrecorded(wal));
}

uint64_t wal_oldest_write_ns(const struct wal *wal)
{
    if (flights_none(wal)) {
        return UINT64_MAX;
    }
    uint64_t submitted_ns = wal->flights[wal->flight_head % WRITES_MAX].submitted_ns;
    return submitted_ns == 0 ? UINT64_MAX : submitted_ns;
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
