/* platter.c: a simulated disk, and what it truly holds.
 *
 * A request is carried out when it completes; requests complete out of order, late, in a stall or
 * with an error. When power goes, every page of a write in flight is whole, absent or torn at 512
 * bytes. Beside the bytes stands what a checker asks: which log page of which entry lies where.
 *
 * Its own rules for the writer: no buffer changes while it is in flight, every log page written is
 * zero or carries a valid mark, and no page of the live log is overwritten by a later lap.
 */
#include "tests/sim/sim.h"

#include "engine/base/crc.h"
#include "engine/base/entry.h"
#include "storage/scan.h"
#include "storage/superblock.h"

#include <errno.h>
#include <string.h>

#define NUMBER_MASK (PAGE_BYTES - 1u)

static bool is_zero(const uint8_t *bytes, uint32_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

static bool is_log(const struct sim_disk *disk, uint64_t offset)
{
    return offset >= disk->geometry.ring_offset;
}

static bool is_superblock(uint64_t offset)
{
    return offset < LAYOUT_WATERMARKS_AT;
}

bool platter_has(const struct sim_disk *disk, uint64_t index, uint64_t term)
{
    ASSERT(index < SIM_INDEX_MAX);
    const struct sim_entry *entry = &disk->entries[index];
    if (entry->pages == 0 || entry->term != term) {
        return false;
    }
    const struct geometry *geometry = &disk->geometry;
    for (uint32_t number = 0; number < entry->pages; number++) {
        uint64_t position = entry->position + (uint64_t)number * PAGE_BYTES;
        uint64_t offset = geometry->ring_offset + position % geometry->ring_bytes;
        const struct sim_page *page = &disk->pages[offset / PAGE_BYTES];
        if (!page->valid || page->mark_position != position + number ||
            page->term_low != (uint32_t)term) {
            return false;
        }
    }
    return true;
}

bool platter_rots(const struct sim_disk *disk, uint64_t index)
{
    ASSERT(index < SIM_INDEX_MAX);
    const struct sim_entry *entry = &disk->entries[index];
    const struct geometry *geometry = &disk->geometry;
    for (uint32_t number = 0; number < entry->pages; number++) {
        uint64_t position = entry->position + (uint64_t)number * PAGE_BYTES;
        uint64_t offset = geometry->ring_offset + position % geometry->ring_bytes;
        if (disk->pages[offset / PAGE_BYTES].rot_end == position + PAGE_BYTES) {
            return true;
        }
    }
    return false;
}

/* A later lap may only overwrite what lies below the log start, durably. */
static void lap_check(struct sim_disk *disk, const struct sim_page *old, uint64_t mark_position)
{
    uint64_t old_position = old->mark_position & ~(uint64_t)NUMBER_MASK;
    uint64_t position = mark_position & ~(uint64_t)NUMBER_MASK;
    if (!old->valid || old_position == position) {
        return;
    }
    disk->sim->totals->covers.wraps++;
    if (position < old_position) {
        sim_violation(disk->sim, "node %u writes position %lu over the later position %lu",
                      disk->node + 1, position, old_position);
    }
    if (old_position >= disk->superblock.start_position) {
        sim_violation(disk->sim,
                      "node %u writes position %lu over %lu, which is not below its log start %lu",
                      disk->node + 1, position, old_position, disk->superblock.start_position);
    }
}

/* Look at a log page that has just landed, whole or torn. */
static void log_page_look(struct sim_disk *disk, uint64_t offset, bool whole)
{
    struct sim_page *page = &disk->pages[offset / PAGE_BYTES];
    const uint8_t *bytes = disk->image + offset;
    struct page_mark mark = page_mark_of(bytes);
    uint32_t number = (uint32_t)(mark.position & NUMBER_MASK);
    bool valid = number < ENTRY_PAGES_MAX && page_mark_valid(bytes, SIM_CLUSTER, number == 0);
    if (whole && !valid && !is_zero(bytes, PAGE_BYTES)) {
        sim_violation(disk->sim, "node %u wrote a log page without a mark", disk->node + 1);
    }
    if (valid) {
        lap_check(disk, page, mark.position);
    }
    page->valid = valid;
    page->mark_position = mark.position;
    page->term_low = mark.term_low;
    page->valid = page->valid && !page->spoilt;
    if (!valid || number != 0) {
        return;
    }
    const struct entry_header *header = entry_header_of(bytes);
    if (entry_header_check(header, SIM_CLUSTER) != NULL || header->index >= SIM_INDEX_MAX) {
        sim_violation(disk->sim, "node %u wrote an entry that is none", disk->node + 1);
    }
    disk->entries[header->index] = (struct sim_entry){
        .term = header->term,
        .position = header->position,
        .pages = header->pages,
    };
}

static void page_look(struct sim_disk *disk, uint64_t offset, bool whole)
{
    disk->pages[offset / PAGE_BYTES].dirty = true;
    if (is_log(disk, offset)) {
        log_page_look(disk, offset, whole);
        return;
    }
    const uint8_t *bytes = disk->image + offset;
    if (is_superblock(offset) && layout_page_valid(bytes)) {
        struct superblock found;
        memcpy(&found, bytes, sizeof found);
        if (found.magic == SUPERBLOCK_MAGIC && found.sequence > disk->superblock.sequence) {
            disk->superblock = found;
        }
    }
}

static void page_land(struct sim_disk *disk, uint64_t offset, const uint8_t *bytes)
{
    memcpy(disk->image + offset, bytes, PAGE_BYTES);
    disk->pages[offset / PAGE_BYTES].spoilt = false;
    disk->pages[offset / PAGE_BYTES].rot_end = 0;
    page_look(disk, offset, true);
}

static void page_tear(struct sim_disk *disk, uint64_t offset, const uint8_t *bytes)
{
    for (uint32_t at = 0; at < PAGE_BYTES; at += SIM_SECTOR_BYTES) {
        if (prng_below(&disk->sim->random_disk, 2) == 0) {
            memcpy(disk->image + offset + at, bytes + at, SIM_SECTOR_BYTES);
        }
    }
    page_look(disk, offset, false);
}

/* 0, or -EIO: a page of what was to be read cannot be. */
static int32_t io_carry_out(struct sim_disk *disk, const struct disk_io *io)
{
    for (uint32_t at = 0; at < io->bytes; at += PAGE_BYTES) {
        if (io->op == DISK_READ && disk->pages[(io->offset + at) / PAGE_BYTES].spoilt) {
            return -EIO;
        }
    }
    if (io->op == DISK_READ) {
        memcpy(io->buffer, disk->image + io->offset, io->bytes);
        return 0;
    }
    for (uint32_t at = 0; at < io->bytes; at += PAGE_BYTES) {
        page_land(disk, io->offset + at, (const uint8_t *)io->buffer + at);
    }
    return 0;
}

bool platter_may_damage(const struct sim *sim, uint32_t node)
{
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        bool spared = (sim->swarm.damage_set >> i & 1) == 0;
        if (spared && sim->nodes[i].disk.superblock.bootstrapped == 0) {
            return false;
        }
    }
    return !sim->calm && (sim->swarm.damage_set >> node & 1) != 0;
}

/* A write that ends badly: some of its pages are whole, some absent, some torn. */
static void io_break(struct sim_disk *disk, const struct disk_io *io, uint32_t mode)
{
    struct sim *sim = disk->sim;
    struct sim_node *node = &sim->nodes[disk->node];
    bool log = is_log(disk, io->offset);
    bool tears = !log || (sim->swarm.tears && platter_may_damage(sim, disk->node));
    for (uint32_t at = 0; at < io->bytes; at += PAGE_BYTES) {
        uint64_t draw = mode < 2 ? mode : prng_below(&sim->random_disk, tears ? 3 : 2);
        const uint8_t *bytes = (const uint8_t *)io->buffer + at;
        if (draw == 0) {
            sim->totals->faults.write_absent++;
        } else if (draw == 1) {
            sim->totals->faults.write_whole++;
            page_land(disk, io->offset + at, bytes);
        } else {
            sim->totals->faults.write_torn++;
            node->damaged = node->damaged || log;
            page_tear(disk, io->offset + at, bytes);
        }
    }
}

static void io_check(const struct sim_disk *disk, const struct disk_io *io)
{
    ASSERT(io->bytes > 0);
    ASSERT(io->bytes % PAGE_BYTES == 0);
    ASSERT(io->offset % PAGE_BYTES == 0);
    ASSERT((uintptr_t)io->buffer % PAGE_BYTES == 0);
    ASSERT(io->offset + io->bytes <= disk->disk.bytes);
}

/* Start-up: carried out at once, unless power goes in the middle of it. */
static void io_block(struct sim_disk *disk, const struct disk_io *io)
{
    int32_t result = 0;
    if (disk->writes_left == 0) {
        result = -EIO; /* Power is gone: nobody will see this answer again. */
    } else if (io->op == DISK_WRITE && disk->writes_left == 1) {
        io_break(disk, io, 2);
        disk->writes_left = 0;
        result = -EIO;
    } else {
        disk->writes_left -= io->op == DISK_WRITE && disk->writes_left > 0;
        result = io_carry_out(disk, io);
    }
    disk->done[disk->done_count++] = (struct disk_done){.cookie = io->cookie, .result = result};
}

static const char *op_name(const struct disk_io *io)
{
    return io->op == DISK_WRITE ? "a write" : "a read";
}

/* Writes in flight must be disjoint, and no read may race one. */
static void overlap_check(struct sim_disk *disk, const struct disk_io *io)
{
    for (uint32_t i = 0; i < DISK_QUEUE_MAX; i++) {
        const struct disk_io *other = &disk->ios[i].io;
        if (disk->ios[i].used && (io->op == DISK_WRITE || other->op == DISK_WRITE) &&
            io->offset < other->offset + other->bytes && other->offset < io->offset + io->bytes) {
            sim_violation(disk->sim,
                          "node %u: %s of %u bytes at %lu overlaps the %s of %u at %lu that is in "
                          "flight",
                          disk->node + 1, op_name(io), io->bytes, io->offset, op_name(other),
                          other->bytes, other->offset);
        }
    }
}

static void io_plan(struct sim_disk *disk, const struct disk_io *io)
{
    struct sim *sim = disk->sim;
    const struct sim_swarm *swarm = &sim->swarm;
    overlap_check(disk, io);
    uint32_t slot = 0;
    while (disk->ios[slot].used) {
        slot++;
        ASSERT(slot < DISK_QUEUE_MAX);
    }
    uint32_t crc = io->op == DISK_WRITE ? crc32c(0, io->buffer, io->bytes) : 0;
    disk->ios[slot] = (struct sim_io){.io = *io, .order = disk->order++, .crc = crc, .used = true};
    uint64_t latency_ns = prng_between(&sim->random_disk, swarm->disk_min_ns, swarm->disk_max_ns);
    if (!sim->calm && sim_happens(&sim->random_disk, swarm->disk_slow_ppm)) {
        sim->totals->faults.disk_slow++;
        latency_ns += prng_below(&sim->random_disk, swarm->disk_slow_max_ns);
    }
    uint64_t from_ns = sim->now_ns;
    if (from_ns < disk->stalled_until_ns) {
        from_ns = disk->stalled_until_ns;
    }
    queue_put(&sim->queue, &(struct sim_event){.at_ns = from_ns + latency_ns,
                                               .kind = SIM_DISK,
                                               .target = disk->node,
                                               .slot = slot,
                                               .life = sim->nodes[disk->node].life});
}

static uint32_t disk_submit_ios(struct disk *base, const struct disk_io *ios, uint32_t count)
{
    struct sim_disk *disk = (struct sim_disk *)(void *)base;
    for (uint32_t i = 0; i < count; i++) {
        io_check(disk, &ios[i]);
        if (disk->blocking) {
            io_block(disk, &ios[i]);
        } else {
            io_plan(disk, &ios[i]);
        }
    }
    return count;
}

static uint32_t disk_poll_done(struct disk *base, struct disk_done *done, uint32_t done_max)
{
    struct sim_disk *disk = (struct sim_disk *)(void *)base;
    uint32_t count = disk->done_count < done_max ? disk->done_count : done_max;
    memcpy(done, disk->done, count * sizeof done[0]);
    disk->done_count -= count;
    memmove(disk->done, disk->done + count, disk->done_count * sizeof done[0]);
    return count;
}

static int disk_no_fd(const struct disk *disk)
{
    (void)disk;
    return -1;
}

static void disk_close_nothing(struct disk *disk)
{
    (void)disk;
}

static const struct disk_ops platter_ops = {
    .submit = disk_submit_ios,
    .poll = disk_poll_done,
    .wait_fd = disk_no_fd,
    .close = disk_close_nothing,
};

void platter_open(struct sim *sim, struct sim_disk *disk, uint32_t node)
{
    disk->disk = (struct disk){.ops = &platter_ops, .bytes = SIM_DISK_BYTES, .durable = true};
    disk->sim = sim;
    disk->node = node;
    disk->blocking = true;
    disk->writes_left = -1;
    disk->done_count = 0;
    for (uint32_t i = 0; i < DISK_QUEUE_MAX; i++) {
        disk->ios[i].used = false;
    }
}

void platter_reset(struct sim_disk *disk)
{
    for (uint32_t page = 0; page < SIM_DISK_PAGES; page++) {
        if (disk->pages[page].dirty) {
            memset(disk->image + (uint64_t)page * PAGE_BYTES, 0, PAGE_BYTES);
        }
    }
    memset(disk->pages, 0, sizeof disk->pages);
    memset(disk->entries, 0, sizeof disk->entries);
    memset(&disk->superblock, 0, sizeof disk->superblock);
    memset(&disk->geometry, 0, sizeof disk->geometry);
    disk->stalled_until_ns = 0;
    disk->order = 0;
}

/* Count a write that overtook an older one. */
static void overtake_count(struct sim_disk *disk, const struct sim_io *done)
{
    for (uint32_t i = 0; i < DISK_QUEUE_MAX; i++) {
        const struct sim_io *other = &disk->ios[i];
        if (other->used && other->io.op == DISK_WRITE && other->order < done->order) {
            disk->sim->totals->faults.disk_reorder++;
            return;
        }
    }
}

void platter_put(struct sim_disk *disk, uint64_t offset, const uint8_t *bytes, uint32_t count)
{
    uint64_t at = offset & ~(uint64_t)NUMBER_MASK;
    ASSERT(offset + count <= at + PAGE_BYTES);
    memmove(disk->image + offset, bytes, count);
    struct sim_page *page = &disk->pages[at / PAGE_BYTES];
    page->dirty = true;
    if (!is_log(disk, at)) {
        return;
    }
    const struct geometry *geometry = &disk->geometry;
    struct page_mark mark = page_mark_of(disk->image + at);
    uint32_t number = (uint32_t)(mark.position & NUMBER_MASK);
    uint64_t position = mark.position - number;
    page->valid = number < ENTRY_PAGES_MAX &&
                  page_mark_valid(disk->image + at, SIM_CLUSTER, number == 0) &&
                  geometry->ring_offset + position % geometry->ring_bytes == at;
    page->mark_position = mark.position;
    page->term_low = mark.term_low;
}

void platter_spoil(struct sim_disk *disk, uint64_t offset)
{
    struct sim_page *page = &disk->pages[offset / PAGE_BYTES];
    ASSERT(is_log(disk, offset));
    page->dirty = true;
    page->spoilt = true;
    page->valid = false;
}

/* Whether the write puts something back into the log of a node that serves: all else lies at or
 * above what is durable. */
static bool is_repair(const struct sim_node *node, const struct disk_io *io)
{
    if (io->op != DISK_WRITE || node->state != SIM_UP || !is_log(&node->disk, io->offset)) {
        return false;
    }
    struct replica_status status;
    replica_status(node->replica, &status);
    return (page_mark_of(io->buffer).position & ~(uint64_t)NUMBER_MASK) <
           status.log_durable_position;
}

/* It is of what is committed, and never of what stands as it should. */
static void repair_check(struct sim *sim, const struct sim_node *node, const struct disk_io *io)
{
    if (!is_repair(node, io)) {
        return;
    }
    const struct sim_disk *disk = &node->disk;
    struct replica_status status;
    replica_status(node->replica, &status);
    const uint8_t *bytes = io->buffer;
    struct page_mark mark = page_mark_of(bytes);
    uint64_t position = mark.position & ~(uint64_t)NUMBER_MASK;
    sim->totals->covers.repairs++;
    if (io->bytes != PAGE_BYTES || position >= status.commit_position) {
        sim_violation(sim, "node %u repairs position %lu; committed is what is below %lu",
                      disk->node + 1, position, status.commit_position);
    }
    struct scan_log log = {
        .geometry = disk->geometry,
        .cluster = SIM_CLUSTER,
        .store = node->store,
        .epoch = disk->superblock.epoch,
        .cut_position = disk->superblock.cut_position,
    };
    const uint8_t *here = disk->image + io->offset;
    struct node_header header;
    memcpy(&header, here, sizeof header);
    bool head = mark.position == position;
    uint32_t from = head ? NODE_HEADER_BYTES : 0;
    bool stands = !disk->pages[io->offset / PAGE_BYTES].spoilt &&
                  scan_page_judge(&log, position, here).state == PAGE_VALID &&
                  memcmp(here + from, bytes + from, PAGE_BYTES - from) == 0 &&
                  (!head || scan_epoch_counts(&log, header.epoch, position));
    if (stands) {
        sim_violation(sim, "node %u writes position %lu again, which stood as it should",
                      disk->node + 1, position);
    }
}

void platter_complete(struct sim *sim, struct sim_node *node, uint32_t slot)
{
    struct sim_disk *disk = &node->disk;
    struct sim_io *io = &disk->ios[slot];
    ASSERT(io->used);
    int32_t result = 0;
    if (io->io.op == DISK_WRITE) {
        if (io->crc != crc32c(0, io->io.buffer, io->io.bytes)) {
            sim_violation(sim, "node %u changed a buffer that was being written", disk->node + 1);
        }
        overtake_count(disk, io);
        if (!is_log(disk, io->io.offset) && io->io.offset >= LAYOUT_STATES_AT) {
            check_state(sim, node, io->io.buffer);
        }
        if (!sim->calm && sim_happens(&sim->random_disk, sim->swarm.write_error_ppm)) {
            sim->totals->faults.write_error++;
            node->write_failed = true;
            result = -EIO;
        }
    }
    repair_check(sim, node, &io->io);
    if (result == 0) {
        result = io_carry_out(disk, &io->io);
    } else {
        io_break(disk, &io->io, 2);
    }
    io->used = false;
    disk->done[disk->done_count++] = (struct disk_done){.cookie = io->io.cookie, .result = result};
    SIM_TRACE(sim, "node %u: %s of %u bytes at %lu: %d", disk->node + 1,
              io->io.op == DISK_WRITE ? "write" : "read", io->io.bytes, io->io.offset, result);
    sim_hash(sim, io->io.offset << 8 | (uint64_t)io->io.op << 4 | disk->node);
    sim_hash(sim, io->crc);
}

void platter_crash(struct sim *sim, struct sim_node *node)
{
    struct sim_disk *disk = &node->disk;
    uint64_t mode = prng_below(&sim->random_disk, 5); /* 0: all absent, 1: all whole, else mixed. */
    bool in_flight = false;
    for (uint32_t i = 0; i < DISK_QUEUE_MAX; i++) {
        struct sim_io *io = &disk->ios[i];
        if (io->used && io->io.op == DISK_WRITE) {
            in_flight = true;
            sim->totals->covers.crash_in_repair += is_repair(node, &io->io);
            io_break(disk, &io->io, (uint32_t)mode);
        }
        io->used = false;
    }
    sim->totals->covers.crashes_in_flight += in_flight;
    disk->done_count = 0;
    disk->disk.in_flight = 0;
    disk->stalled_until_ns = 0;
}

static void page_flip(struct sim_disk *disk, uint64_t page, struct prng *prng)
{
    uint64_t flips = prng_between(prng, 1, 16);
    for (uint64_t i = 0; i < flips; i++) {
        uint64_t at = prng_below(prng, PAGE_BYTES);
        disk->image[page * PAGE_BYTES + at] ^= (uint8_t)prng_between(prng, 1, 255);
    }
}

static void rot_count(struct sim *sim, struct sim_node *node, bool superblock)
{
    node->damaged = true;
    sim->totals->faults.rot_superblock += superblock;
    sim->totals->faults.rot_up += node->state == SIM_UP;
    sim->totals->faults.rot_down += node->state != SIM_UP;
}

/* Both copies of one slot, of a node that is down and so cannot write them anew: its next start
 * must refuse. */
static void rot_slot(struct sim *sim, struct sim_node *node)
{
    if (node->state == SIM_UP || node->state == SIM_MENDING) {
        node_crash(sim, node->disk.node, chaos_down_ns(sim));
    }
    uint32_t slot = (uint32_t)prng_below(&sim->random_disk, SUPERBLOCK_SLOTS);
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        page_flip(&node->disk, layout_superblock_at(slot, copy) / PAGE_BYTES, &sim->random_disk);
    }
    rot_count(sim, node, true);
    SIM_TRACE(sim, "node %u: slot %u of its superblock rots", node->disk.node + 1, slot);
}

void platter_rot(struct sim *sim, struct sim_node *node)
{
    struct sim_disk *disk = &node->disk;
    struct prng *prng = &sim->random_disk;
    uint64_t first = disk->geometry.ring_offset / PAGE_BYTES;
    bool superblock = prng_below(prng, 10) == 0;
    if (prng_below(prng, 25) == 0) {
        rot_slot(sim, node);
        return;
    }
    for (uint32_t tries = 0; tries < 256; tries++) {
        uint64_t page =
            superblock ? prng_below(prng, first) : prng_between(prng, first, SIM_DISK_PAGES - 1);
        if (!disk->pages[page].dirty) {
            continue;
        }
        page_flip(disk, page, prng);
        rot_count(sim, node, superblock);
        SIM_TRACE(sim, "node %u: page %lu rots", disk->node + 1, page);
        return;
    }
}
