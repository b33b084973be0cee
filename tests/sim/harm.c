/* harm.c: a small log, harmed in one place after the other while its node is down.
 *
 * Three nodes write a log and fall idle. Then, one at a time: a follower goes down, some bytes or
 * pages of its disk are changed, and it comes back among the others. What must hold of every harm
 * is that the node comes back and counts in full: it is mended, byte for byte as the others have
 * it; or nothing of it is noticed, because another copy stands beside it; or, where nothing can
 * tell what was lost, it is bound until a leader has brought it everything. The simulator's own
 * checks run meanwhile: nothing acknowledged is lost and nothing that was never sent is applied.
 *
 * Two logs: one that begins at its first entry, and one whose ring has been written more than once,
 * so that pages of an older lap can come back.
 */
#include "tests/sim/sim.h"

#include "engine/base/entry.h"
#include "engine/machine.h"
#include "storage/layout.h"
#include "storage/small_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HARM_ENTRIES   12u /* In the small log. */
#define HARM_PATIENCE  5000000000ull
#define HARM_QUIET_NS  20000000ull /* The watermark page of an idle node is long written. */
#define HARM_BODY_STEP 61u         /* Of the bytes behind the headers, every so many is flipped. */
#define HARM_LOAD_NS   60000000000ull

struct harm {
    struct sim *sim;
    uint32_t victim;
    uint64_t turn;
    uint64_t first_index; /* Of the entries that are harmed. */
    uint64_t last_index;
    uint8_t *before; /* The victim's image, one lap of the ring ago. */
};

static uint8_t lap_image[SIM_DISK_BYTES];
static const uint8_t zeros[PAGE_BYTES];

/* ---- The log. ---- */

/* No faults, three nodes, entries of one page and of several. */
static void tame(struct sim_swarm *swarm, bool laps)
{
    const struct sim_swarm drawn = *swarm;
    uint64_t ring_bytes = SIM_SEGMENTS * SIM_SEGMENT_BYTES;
    *swarm = (struct sim_swarm){
        .node_count = 3,
        .client_count = 1,
        .election_min_ns = 50000000,
        .election_max_ns = 100000000,
        .heartbeat_ns = 5000000,
        .disk_stall_ns = drawn.disk_stall_ns,
        .frame_bytes_max = FRAME_BYTES_USUAL,
        .way_ns = SIM_NEVER,
        .retention_bytes = laps ? ring_bytes / 4 : 0,
        .window_bytes = drawn.window_bytes,
        .delay_min_ns = 10000,
        .delay_max_ns = 20000,
        .disk_min_ns = 20000,
        .disk_max_ns = 40000,
        .request_gap_ns = laps ? 200000 : 1000000,
        .records_min = 1,
        .records_max = 4,
        .large_ppm = laps ? 500000 : 150000,
        .small_max = 256,
        .plain_ppm = laps ? 1000000 : 300000,
        .retry_ns = drawn.retry_ns,
    };
    for (uint32_t i = 0; i < SIM_NODES_MAX; i++) {
        swarm->frame_bytes[i] = FRAME_BYTES_USUAL;
    }
}

static void prepare_small(struct sim_swarm *swarm)
{
    tame(swarm, false);
}

static void prepare_laps(struct sim_swarm *swarm)
{
    tame(swarm, true);
}

static bool is_idle(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->state != SIM_UP || node->commit_index < sim->commit_index ||
            node->disk.disk.in_flight > 0) {
            return false;
        }
    }
    return sim->commit_index > 0;
}

static void run_for(struct sim *sim, uint64_t length_ns)
{
    uint64_t until_ns = sim->now_ns + length_ns;
    while (sim->now_ns < until_ns) {
        sim_step(sim);
    }
}

/* The load is over; what is under way lands. */
static void fall_idle(struct sim *sim)
{
    sim->calm = true;
    uint64_t until_ns = sim->now_ns + HARM_PATIENCE;
    while (!is_idle(sim)) {
        sim_step(sim);
        if (sim->now_ns >= until_ns) {
            sim_violation(sim, "without any fault the nodes do not come to the same end");
        }
    }
}

static uint64_t end_position(const struct sim_disk *disk, uint64_t index)
{
    const struct sim_entry *entry = &disk->entries[index];
    return entry->position + (uint64_t)entry->pages * PAGE_BYTES;
}

static uint32_t follower(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        if (!raft_is_leader(replica_raft(sim->nodes[i].replica))) {
            return i;
        }
    }
    sim_violation(sim, "everybody leads");
}

static void load_small(struct harm *harm)
{
    struct sim *sim = harm->sim;
    uint64_t until_ns = sim->now_ns + HARM_LOAD_NS;
    while (sim->commit_index < HARM_ENTRIES && sim->now_ns < until_ns) {
        sim_step(sim);
    }
    fall_idle(sim);
    run_for(sim, HARM_QUIET_NS);
    harm->victim = follower(sim);
    harm->first_index = 1;
    harm->last_index = sim->commit_index;
}

/* Whether the image holds what lay at this position one lap of the ring ago. */
static bool lap_holds(const struct sim_disk *disk, const uint8_t *image, uint64_t position)
{
    uint64_t ring_bytes = disk->geometry.ring_bytes;
    uint64_t at = disk->geometry.ring_offset + position % ring_bytes;
    uint64_t mark = page_mark_of(image + at).position;
    return position >= ring_bytes && mark / PAGE_BYTES == (position - ring_bytes) / PAGE_BYTES;
}

/* Until the ring was written once and a part of it again; `before` is how it was in between. What
 * is committed within a moment may fill the ring, so nothing is waited for before the image. */
static void load_laps(struct harm *harm)
{
    struct sim *sim = harm->sim;
    uint64_t until_ns = sim->now_ns + HARM_LOAD_NS;
    while (sim->commit_index == 0) {
        sim_step(sim);
    }
    harm->victim = follower(sim);
    const struct sim_disk *disk = &sim->nodes[harm->victim].disk;
    uint64_t ring_bytes = disk->geometry.ring_bytes;
    bool kept = false;
    while (end_position(disk, sim->commit_index) < ring_bytes + ring_bytes / 8) {
        sim_step(sim);
        if (!kept && end_position(disk, sim->commit_index) > ring_bytes / 2) {
            memcpy(lap_image, disk->image, SIM_DISK_BYTES);
            kept = true;
        }
        if (sim->now_ns >= until_ns) {
            sim_violation(sim, "without any fault the ring does not wrap");
        }
    }
    harm->before = lap_image;
    fall_idle(sim);
    run_for(sim, HARM_QUIET_NS);
    harm->last_index = sim->commit_index;
    harm->first_index = harm->last_index;
    while (disk->entries[harm->first_index - 1].position >= ring_bytes &&
           harm->last_index - harm->first_index < HARM_ENTRIES) {
        harm->first_index--;
    }
}

/* ---- One harm. ---- */

static uint64_t offset_of(const struct sim_disk *disk, uint64_t position)
{
    return disk->geometry.ring_offset + position % disk->geometry.ring_bytes;
}

/* Everything of an entry but the node's own header is the same everywhere. */
static void compare(struct harm *harm, const char *what)
{
    struct sim *sim = harm->sim;
    const struct sim_disk *mine = &sim->nodes[harm->victim].disk;
    const struct sim_disk *other = &sim->nodes[(harm->victim + 1) % 3].disk;
    for (uint64_t index = harm->first_index; index <= harm->last_index; index++) {
        const struct sim_entry *entry = &other->entries[index];
        for (uint32_t page = 0; page < entry->pages; page++) {
            uint64_t at = offset_of(other, entry->position + (uint64_t)page * PAGE_BYTES);
            uint32_t from = page == 0 ? NODE_HEADER_BYTES : 0;
            if (memcmp(mine->image + at + from, other->image + at + from, PAGE_BYTES - from) != 0) {
                sim_violation(sim,
                              "%s: entry %" PRIu64 " differs from the others' at offset %" PRIu64,
                              what, index, at);
            }
        }
    }
}

static void go_down(struct harm *harm)
{
    node_crash(harm->sim, harm->victim, 1000);
    harm->sim->nodes[harm->victim].damaged = true;
}

/* It comes back by itself, at its restart; `what` names the harm. */
static void come_back(struct harm *harm, const char *what)
{
    struct sim *sim = harm->sim;
    struct sim_node *node = &sim->nodes[harm->victim];
    struct replica_mending mending = {0};
    uint64_t until_ns = sim->now_ns + HARM_PATIENCE;
    bool over = false;
    harm->turn++;
    while (!over) {
        sim_step(sim);
        if (node->state == SIM_REFUSED) {
            sim_violation(sim, "%s: the node refuses to start", what);
        }
        if (node->state == SIM_MENDING) {
            replica_mending(node->replica, &mending);
        }
        over = node->state == SIM_UP && node->commit_index >= sim->commit_index &&
               raft_vote_bound(replica_raft(node->replica)).index == 0;
        if (!over && sim->now_ns >= until_ns) {
            sim_violation(sim,
                          "%s: the node does not come back; it wanted entry %" PRIu64
                          " of term %" PRIu64,
                          what, mending.wanted.index, mending.wanted.term);
        }
    }
}

static void come_back_mended(struct harm *harm, const char *what)
{
    come_back(harm, what);
    compare(harm, what);
    fall_idle(harm->sim); /* The next harm is all that befalls its disk. */
}

static void flip(struct harm *harm, uint64_t offset, const char *what)
{
    struct sim_disk *disk = &harm->sim->nodes[harm->victim].disk;
    char text[96];
    (void)snprintf(text, sizeof text, "byte %" PRIu64 " of the file flipped (%s)", offset, what);
    go_down(harm);
    uint8_t byte = disk->image[offset] ^ 0x10;
    platter_put(disk, offset, &byte, 1);
    come_back_mended(harm, text);
}

static void put(struct harm *harm, uint64_t offset, const uint8_t page[PAGE_BYTES])
{
    platter_put(&harm->sim->nodes[harm->victim].disk, offset, page, PAGE_BYTES);
}

/* ---- All of them. ---- */

static bool is_chosen(const struct harm *harm, uint64_t number)
{
    return number % harm->sim->stride == 0;
}

/* Every byte of the headers and the mark, and a sample of the body. */
static void flip_page(struct harm *harm, uint64_t offset, bool first, uint64_t *number)
{
    for (uint32_t byte = 0; byte < PAGE_BYTES; byte++) {
        bool head = first && byte < NODE_HEADER_BYTES + sizeof(struct entry_header);
        bool mark = byte >= PAGE_BYTES - PAGE_MARK_BYTES;
        bool counts = head || mark || byte % HARM_BODY_STEP == 0;
        if (counts && is_chosen(harm, (*number)++)) {
            flip(harm, offset + byte, head ? "a header" : mark ? "a mark" : "a body");
        }
    }
}

static void flip_entries(struct harm *harm)
{
    const struct sim_disk *disk = &harm->sim->nodes[harm->victim].disk;
    uint64_t number = 0;
    for (uint64_t index = harm->first_index; index <= harm->last_index; index++) {
        const struct sim_entry entry = disk->entries[index];
        for (uint32_t page = 0; page < entry.pages; page++) {
            uint64_t position = entry.position + (uint64_t)page * PAGE_BYTES;
            flip_page(harm, offset_of(disk, position), page == 0, &number);
        }
    }
}

/* Each has another copy beside it, or only hastens a start. */
static void flip_superblock(struct harm *harm)
{
    uint64_t number = 0;
    for (uint32_t copy = 0; copy < SUPERBLOCK_SLOTS * SUPERBLOCK_COPIES; copy++) {
        for (uint32_t byte = 0; byte < sizeof(struct superblock); byte++) {
            if (is_chosen(harm, number++)) {
                flip(harm, (uint64_t)copy * LAYOUT_STEP_BYTES + byte, "the superblock");
            }
        }
    }
    for (uint32_t page = 0; page < WATERMARK_PAGES; page++) {
        for (uint32_t byte = 0; byte < 64; byte++) {
            if (is_chosen(harm, number++)) {
                flip(harm, layout_watermark_at(page) + byte, "a watermark page");
            }
        }
    }
}

/* What stands beside the log of one copy, and both stand when the node is back. */
static void state_spoil(struct harm *harm, uint32_t copy, uint64_t from, bool zero)
{
    const struct sim_disk *disk = &harm->sim->nodes[harm->victim].disk;
    uint64_t segment = segment_number(&disk->geometry, disk->superblock.start_position);
    uint64_t at = state_at(&disk->geometry, segment, copy);
    const uint8_t *other = disk->image + state_at(&disk->geometry, segment, 1 - copy);
    uint32_t used = state_used_bytes(other);
    if (zero) {
        go_down(harm);
        put(harm, at + from / PAGE_BYTES * PAGE_BYTES, zeros);
        come_back_mended(harm, "a page of a small state is zero");
    } else {
        flip(harm, at + from, "a small state");
    }
    if (memcmp(disk->image + at, other, used) != 0) {
        sim_violation(harm->sim, "copy %u of the small state at the start was not put back", copy);
    }
}

/* The one at the start, if the log was trimmed; the node starts with the other copy. */
static void harm_state(struct harm *harm)
{
    const struct sim_disk *disk = &harm->sim->nodes[harm->victim].disk;
    if (disk->superblock.start_position == 0) {
        return;
    }
    uint64_t number = 0;
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        for (uint32_t byte = 0; byte < sizeof(struct state_header); byte++) {
            if (is_chosen(harm, number++)) {
                state_spoil(harm, copy, byte, false);
            }
        }
        for (uint32_t byte = 0; byte < CONFIGURATION_BODY_BYTES; byte += 8) {
            if (is_chosen(harm, number++)) {
                state_spoil(harm, copy, PAGE_BYTES + byte, false);
            }
        }
        state_spoil(harm, copy, 0, true);
        state_spoil(harm, copy, PAGE_BYTES, true);
    }
}

/* Whole pages: gone, another one's, another node's, an older lap's. */
static void harm_pages(struct harm *harm)
{
    const struct sim_disk *disk = &harm->sim->nodes[harm->victim].disk;
    const struct sim_disk *other = &harm->sim->nodes[(harm->victim + 1) % 3].disk;
    uint64_t begin = disk->entries[harm->first_index].position;
    uint64_t end = end_position(disk, harm->last_index);
    for (uint64_t position = begin; position < end; position += PAGE_BYTES) {
        uint64_t at = offset_of(disk, position);
        go_down(harm);
        put(harm, at, zeros);
        come_back_mended(harm, "a page is zero");
        go_down(harm);
        put(harm, at, other->image + at);
        come_back_mended(harm, "a page is another node's");
        if (harm->before != NULL) {
            if (!lap_holds(disk, harm->before, position)) {
                sim_violation(harm->sim, "no older lap of position %" PRIu64 " was kept", position);
            }
            go_down(harm);
            put(harm, at, harm->before + at);
            come_back_mended(harm, "a page is an older lap's");
        }
        if (position + PAGE_BYTES < end) {
            uint64_t next = offset_of(disk, position + PAGE_BYTES);
            uint8_t page[PAGE_BYTES];
            memcpy(page, disk->image + at, PAGE_BYTES);
            go_down(harm);
            put(harm, at, disk->image + next);
            put(harm, next, page);
            come_back_mended(harm, "two pages have changed places");
        }
    }
}

/* Two nodes of three, at entries of their own: each has what the other one lacks. */
static void harm_two(struct harm *harm)
{
    struct sim *sim = harm->sim;
    uint32_t first = harm->victim;
    uint32_t second = (first + 1) % 3;
    if (raft_is_leader(replica_raft(sim->nodes[second].replica))) {
        second = (first + 2) % 3;
    }
    for (uint64_t index = harm->first_index; index < harm->last_index; index++) {
        struct sim_disk *disk = &sim->nodes[second].disk;
        node_crash(sim, second, 2000);
        sim->nodes[second].damaged = true;
        go_down(harm);
        put(harm, offset_of(disk, disk->entries[index].position), zeros);
        harm->victim = second;
        put(harm, offset_of(disk, disk->entries[index + 1].position), zeros);
        come_back(harm, "two nodes are damaged, the second");
        harm->victim = first;
        come_back_mended(harm, "two nodes are damaged, the first");
        harm->victim = second;
        compare(harm, "two nodes were damaged, the second");
        harm->victim = first;
    }
}

/* Nothing can tell whether this page was of an entry that was acknowledged. */
static void harm_tail(struct harm *harm)
{
    struct sim_disk *disk = &harm->sim->nodes[harm->victim].disk;
    uint64_t at = offset_of(disk, end_position(disk, harm->last_index));
    uint8_t noise[PAGE_BYTES];
    memset(noise, 0x5a, PAGE_BYTES);
    uint64_t met = harm->sim->totals->covers.opened_bounded;
    go_down(harm);
    put(harm, at, noise);
    come_back_mended(harm, "a bad page behind the end");
    if (harm->sim->totals->covers.opened_bounded == met) {
        sim_violation(harm->sim, "a bad page behind the end: the node was never bound");
    }
}

static void play_all(struct harm *harm)
{
    flip_entries(harm);
    flip_superblock(harm);
    harm_state(harm);
    harm_pages(harm);
    harm_tail(harm);
    harm_two(harm);
    harm->sim->totals->harms += harm->turn;
}

static void play_small(struct sim *sim)
{
    struct harm harm = {.sim = sim};
    sim->stranger.ppm = 0;
    load_small(&harm);
    play_all(&harm);
}

static void play_laps(struct sim *sim)
{
    struct harm harm = {.sim = sim};
    sim->stranger.ppm = 0;
    load_laps(&harm);
    play_all(&harm);
}

const struct sim_game harm_games[HARM_GAMES] = {
    {.prepare = prepare_small, .play = play_small},
    {.prepare = prepare_laps, .play = play_laps},
};
