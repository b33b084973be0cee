/* rot.c: disks rot under nodes that serve, and every log is whole again without a restart.
 *
 * The network, the disks' speed and the crashes are as drawn, the leaders' too. Besides, pages of
 * entries that are committed go bad on whichever node runs, in single pages, whole entries, runs of
 * entries and node headers, some so that they cannot be read at all; but of every entry some other
 * node that runs keeps a copy, and a later entry vouches for it, so that a crash in between finds
 * damage and not a torn end. Power goes within repairs too.
 *
 * After peace every node that runs goes over its log until nothing waits any more. Then check_end()
 * must find every log whole and its bytes those of everybody.
 */
#include "tests/sim/sim.h"

#include "engine/base/entry.h"

#include <string.h>

#define ROT_GAP_NS      20000000u /* Mean time between strikes. */
#define ROT_RUN_MAX     6u        /* Entries of one strike. */
#define ROT_PASSES      2u        /* After the last strike, before all must be whole. */
#define ROT_PATIENCE_NS 30000000000ull

enum rot_kind { ROT_PAGE, ROT_ENTRY, ROT_RUN, ROT_HEADER, ROT_UNREADABLE, ROT_FOREIGN, ROT_KINDS };

/* Like any seed, but that no disk loses more than this game takes. */
static void prepare(struct sim_swarm *swarm)
{
    swarm->node_count = swarm->node_count < 3 ? 3 : swarm->node_count;
    swarm->weight_rot = 0;
    swarm->damage_set = 0;
    swarm->tears = false;
    swarm->scrub_bytes_per_s = 64ull << 20;
    swarm->scrub_every_ns = 50000000;
}

static uint64_t end_of(const struct sim_entry *entry)
{
    return entry->position + (uint64_t)entry->pages * PAGE_BYTES;
}

static uint64_t offset_of(const struct sim_disk *disk, uint64_t position)
{
    return disk->geometry.ring_offset + position % disk->geometry.ring_bytes;
}

/* What the node header of its last committed entry vouches for; that one never rots. */
static uint64_t vouched_position(const struct sim *sim, const struct sim_node *node)
{
    const struct sim_disk *disk = &node->disk;
    uint64_t last = node->commit_index;
    if (last == 0 || !platter_has(disk, last, sim->committed[last].term)) {
        return 0;
    }
    struct node_header header;
    memcpy(&header, disk->image + offset_of(disk, disk->entries[last].position), sizeof header);
    return header.durable_position;
}

static bool somebody_else_has(const struct sim *sim, uint32_t number, uint64_t index)
{
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *other = &sim->nodes[i];
        if (i != number && other->state == SIM_UP &&
            index > raft_start(replica_raft(other->replica)).index &&
            platter_has(&other->disk, index, sim->committed[index].term)) {
            return true;
        }
    }
    return false;
}

/* Whether the entry may go bad there. */
static bool may_rot(const struct sim *sim, uint32_t number, uint64_t index)
{
    const struct sim_node *node = &sim->nodes[number];
    return index > raft_start(replica_raft(node->replica)).index && index < node->commit_index &&
           platter_has(&node->disk, index, sim->committed[index].term) &&
           end_of(&node->disk.entries[index]) <= vouched_position(sim, node) &&
           somebody_else_has(sim, number, index);
}

/* The page at a position is about to be struck. */
static uint64_t strike_page(struct sim_disk *disk, uint64_t position)
{
    uint64_t offset = offset_of(disk, position);
    disk->pages[offset / PAGE_BYTES].rot_end = position + PAGE_BYTES;
    return offset;
}

/* What was trimmed before a scrubber came by is nobody's any more, but above the log's end it would
 * pass for a torn write: that is another game. It is cleared. */
static void trimmed_clear(struct sim_node *node)
{
    static const uint8_t zeros[PAGE_BYTES];
    struct replica_status status;
    replica_status(node->replica, &status);
    for (uint32_t i = 0; i < SIM_DISK_PAGES; i++) {
        struct sim_page *page = &node->disk.pages[i];
        if (page->rot_end != 0 && page->rot_end <= status.log_start_position) {
            page->rot_end = 0;
            page->spoilt = false;
            platter_put(&node->disk, (uint64_t)i * PAGE_BYTES, zeros, PAGE_BYTES);
        }
    }
}

static void flip(struct sim *sim, struct sim_disk *disk, uint64_t offset, uint32_t bytes)
{
    uint64_t at = offset + prng_below(&sim->random_chaos, bytes);
    uint8_t byte = disk->image[at] ^ (uint8_t)prng_between(&sim->random_chaos, 1, 255);
    platter_put(disk, at, &byte, 1);
}

static void entry_zero(struct sim_disk *disk, uint64_t index)
{
    static const uint8_t zeros[PAGE_BYTES];
    const struct sim_entry *entry = &disk->entries[index];
    for (uint64_t at = entry->position; at < end_of(entry); at += PAGE_BYTES) {
        platter_put(disk, strike_page(disk, at), zeros, PAGE_BYTES);
    }
}

/* Some entries in a row; ends where one may not. */
static void run_rot(struct sim *sim, uint32_t number, uint64_t index)
{
    uint64_t count = prng_between(&sim->random_chaos, 2, ROT_RUN_MAX);
    for (uint64_t i = index; i < index + count && may_rot(sim, number, i); i++) {
        entry_zero(&sim->nodes[number].disk, i);
    }
}

static void entry_rot(struct sim *sim, uint32_t number, uint64_t index, enum rot_kind kind)
{
    struct sim_disk *disk = &sim->nodes[number].disk;
    const struct sim_disk *other = &sim->nodes[(number + 1) % sim->swarm.node_count].disk;
    const struct sim_entry *entry = &disk->entries[index];
    uint64_t first = entry->position;
    uint64_t page = prng_below(&sim->random_chaos, entry->pages) * PAGE_BYTES;
    switch (kind) {
    case ROT_PAGE:
        flip(sim, disk, strike_page(disk, first + page), PAGE_BYTES);
        return;
    case ROT_ENTRY:
        entry_zero(disk, index);
        return;
    case ROT_RUN:
        run_rot(sim, number, index);
        return;
    case ROT_HEADER:
        flip(sim, disk, strike_page(disk, first), NODE_HEADER_BYTES);
        return;
    case ROT_UNREADABLE:
        platter_spoil(disk, strike_page(disk, first + page));
        return;
    case ROT_FOREIGN:
        if (platter_has(other, index, entry->term)) { /* Not written over by a later lap. */
            platter_put(disk, strike_page(disk, first), other->image + offset_of(disk, first),
                        PAGE_BYTES);
        }
        return;
    case ROT_KINDS:
        break;
    }
    ASSERT(false);
}

static void strike(struct sim *sim)
{
    struct prng *prng = &sim->random_chaos;
    uint32_t number = (uint32_t)prng_below(prng, sim->swarm.node_count);
    struct sim_node *node = &sim->nodes[number];
    enum rot_kind kind = (enum rot_kind)prng_below(prng, ROT_KINDS);
    uint64_t draw = prng_next(prng);
    if (node->state != SIM_UP || node->commit_index < 2) {
        return;
    }
    trimmed_clear(node);
    uint64_t start = raft_start(replica_raft(node->replica)).index;
    uint64_t kept = node->commit_index > start ? node->commit_index - start : 1;
    uint64_t index = start + 1 + draw % kept;
    if (!may_rot(sim, number, index)) {
        return;
    }
    node->rotted = true;
    sim->totals->covers.rot_serving++;
    SIM_TRACE(sim, "node %u: entry %lu rots, kind %d", number + 1, index, (int)kind);
    entry_rot(sim, number, index, kind);
}

static bool all_are_whole(const struct sim *sim, const uint64_t *passes)
{
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->state != SIM_UP) {
            continue;
        }
        const struct replica_counters *counters = replica_counters(node->replica);
        /* What the others have trimmed, nobody can bring back to a node that is left behind. */
        bool waits = counters->scrub_waiting > 0 && !sim_is_behind(sim, node);
        if (counters->scrub_passes < passes[i] + ROT_PASSES || waits) {
            return false;
        }
    }
    return true;
}

static void scrub_wait(struct sim *sim)
{
    uint64_t passes[SIM_NODES_MAX] = {0};
    uint64_t until_ns = sim->now_ns + ROT_PATIENCE_NS;
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        passes[i] = node->state == SIM_UP ? replica_counters(node->replica)->scrub_passes : 0;
    }
    while (!all_are_whole(sim, passes)) {
        sim_step(sim);
        if (sim->now_ns >= until_ns) {
            sim_violation(sim, "healed, and the scrubbers do not end with whole logs");
        }
    }
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        if (sim->nodes[i].state == SIM_UP) {
            trimmed_clear(&sim->nodes[i]);
        }
    }
}

static void play(struct sim *sim)
{
    uint64_t strike_ns = sim->now_ns;
    while (sim_goes_on(sim)) {
        sim_step(sim);
        if (sim->now_ns >= strike_ns) {
            strike(sim);
            strike_ns = sim->now_ns + prng_between(&sim->random_chaos, 1, 2 * ROT_GAP_NS);
        }
    }
    chaos_heal(sim);
    sim_prove_liveness(sim);
    scrub_wait(sim);
}

const struct sim_game rot_game = {.prepare = prepare, .play = play};
