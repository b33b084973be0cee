/* back.c: a disk goes back. One node's is replaced by a copy of some time before, and is noticed.
 *
 * The network, the disks' speed and the crashes are as drawn, the leaders' too. Besides, a copy of
 * one node's disk is put in its place, of which the leader in office knows that it lacks what the
 * node has acknowledged. Until the leader has noticed, and the node has on its disk that it must
 * not be believed, no other fault strikes: more than one loss at once nobody survives. After that
 * everything may happen again, and whoever leads must hold all that was ever committed.
 */
#include "tests/sim/sim.h"

#include "engine/raft/quorum.h"

#include <string.h>

#define COPY_GAP_ELECTIONS    4u   /* Mean time between a look at a disk and the next. */
#define QUIET_ELECTIONS       4u   /* What was on its way arrives, and an office is settled. */
#define SETTLE_ELECTIONS      40u  /* Of peace: somebody leads. */
#define NOTICE_ELECTIONS      400u /* By then it must be noticed. */
#define LEADER_DOWN_ELECTIONS 10u  /* Others may have to do without it. */

/* A disk as it was. */
struct copy {
    bool taken;
    uint64_t durable_index;
    struct superblock superblock;
    struct sim_page pages[SIM_DISK_PAGES];
    struct sim_entry entries[SIM_INDEX_MAX];
    uint8_t image[SIM_DISK_BYTES];
};

static struct copy copy;

/* Like any seed, but that no disk loses more than this game takes, and nothing comes so late that
 * it is of a life before. */
static void prepare(struct sim_swarm *swarm)
{
    swarm->node_count = swarm->node_count < 3 ? 3 : swarm->node_count;
    swarm->weight_rot = 0;
    swarm->damage_set = 0;
    swarm->tears = false;
    swarm->late_ppm = 0;
}

static void copy_take(struct sim *sim, const struct sim_node *node)
{
    const struct sim_disk *disk = &node->disk;
    copy.taken = true;
    copy.durable_index = raft_durable_index(replica_raft(node->replica));
    copy.superblock = disk->superblock;
    memcpy(copy.pages, disk->pages, sizeof copy.pages);
    memcpy(copy.entries, disk->entries, sizeof copy.entries);
    memcpy(copy.image, disk->image, sizeof copy.image);
    SIM_TRACE(sim, "node %u: a copy of its disk, up to entry %lu", disk->node + 1,
              copy.durable_index);
}

/* What it has promised since, it has forgotten: only the others know. */
static void copy_put(struct sim *sim, struct sim_node *node)
{
    struct sim_disk *disk = &node->disk;
    copy.taken = false;
    disk->superblock = copy.superblock;
    memcpy(disk->pages, copy.pages, sizeof copy.pages);
    memcpy(disk->entries, copy.entries, sizeof copy.entries);
    memcpy(disk->image, copy.image, sizeof copy.image);
    node->promised_index = 0;
    node->promised_term = 0;
    sim->went_back |= set_of((uint8_t)(disk->node + 1));
    sim->totals->covers.went_back++;
    SIM_TRACE(sim, "node %u: the copy is in its place", disk->node + 1);
}

/* Can answer a leader of this term: that it is in it is on its disk. */
static bool follows(const struct sim_node *node, uint64_t term)
{
    return node->state == SIM_UP && !node->stops && !node->write_failed &&
           raft_term(replica_raft(node->replica)) == term && node->disk.superblock.term == term;
}

/* Who leads, with everybody there, a majority of followers beside `number` and nobody in a newer
 * term; NULL: nobody. Who comes back is no follower yet, and may end the office. */
static const struct raft *office(const struct sim *sim, uint32_t number)
{
    const struct raft *leader = NULL;
    uint64_t term = 0;
    uint32_t followers = 0;
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->state != SIM_UP && i != number) {
            return NULL;
        }
        uint64_t own_term = node->state == SIM_UP ? raft_term(replica_raft(node->replica)) : 0;
        term = own_term > term ? own_term : term;
    }
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (follows(node, term)) {
            const struct raft *raft = replica_raft(node->replica);
            leader = raft_takes_proposals(raft) ? raft : leader;
            followers += i != number;
        }
    }
    return followers > sim->swarm.node_count / 2 ? leader : NULL;
}

/* The leader would find that it lacks what it has acknowledged, and nothing is committed only now
 * by what it had. */
static bool may_go_back(const struct sim *sim, uint32_t number)
{
    const struct raft *leader = office(sim, number);
    const struct sim_node *node = &sim->nodes[number];
    if (leader == NULL || node->state != SIM_UP || raft_is_leader(replica_raft(node->replica))) {
        return false;
    }
    struct raft_replication held = raft_replication(leader, (uint8_t)(number + 1));
    return held.active && held.match_index > copy.durable_index &&
           raft_commit_index(leader) >= held.match_index &&
           raft_commit_index(leader) == raft_last(leader).index;
}

static void quiet_run(struct sim *sim, uint64_t elections)
{
    uint64_t until_ns = sim->now_ns + elections * sim->swarm.election_max_ns;
    while (sim->now_ns < until_ns) {
        sim_step(sim);
    }
}

/* It has heard that it is not believed, and what binds it is on its disk, or was met; or the copy
 * is of a time when it was bound already, to no less than what it has lost. */
static bool is_bound(const struct sim_node *node, struct raft_entry_id acked)
{
    if (node->state != SIM_UP) {
        return false;
    }
    const struct raft *raft = replica_raft(node->replica);
    const struct superblock *superblock = &node->disk.superblock;
    struct raft_entry_id bound = raft_vote_bound(raft);
    bool accused = set_has(raft_regressed(raft), (uint8_t)(node->disk.node + 1));
    bool durable = superblock->bound_index == bound.index && superblock->bound_term == bound.term;
    bool covers =
        bound.term > acked.term || (bound.term == acked.term && bound.index >= acked.index);
    return bound.index == 0 ? accused : durable && covers;
}

static void notice_wait(struct sim *sim, uint32_t number, struct raft_entry_id acked)
{
    const struct sim_node *node = &sim->nodes[number];
    while (node->state != SIM_UP) {
        sim_step(sim);
    }
    if (raft_last(replica_raft(node->replica)).index >= acked.index) {
        return; /* A write that was in flight has been on the copy: nothing is lacking. */
    }
    sim->totals->covers.lacking++;
    uint64_t until_ns = sim->now_ns + NOTICE_ELECTIONS * sim->swarm.election_max_ns;
    while (!is_bound(node, acked)) {
        sim_step(sim);
        if (sim->now_ns >= until_ns) {
            sim_violation(sim, "node %u lacks what it has acknowledged, and nobody notices",
                          number + 1);
        }
    }
}

static bool leads(const struct sim_node *node)
{
    return node->state == SIM_UP && raft_is_leader(replica_raft(node->replica));
}

/* The disks of so many others stand still that nothing is committed without `number`: which. */
static uint64_t laggards_stall(struct sim *sim, uint32_t number)
{
    uint32_t left = prng_below(&sim->random_chaos, 3) == 0 ? 0 : sim->swarm.node_count / 2;
    uint64_t stalled = 0;
    for (uint32_t i = 0; i < sim->swarm.node_count && left > 0; i++) {
        if (i != number && sim->nodes[i].state == SIM_UP && !leads(&sim->nodes[i])) {
            sim->nodes[i].disk.stalled_until_ns =
                sim->now_ns + 2 * NOTICE_ELECTIONS * sim->swarm.election_max_ns;
            stalled |= 1ull << i;
            left--;
        }
    }
    return stalled;
}

/* They lose what they had not written, and with them goes who had it all. Often `number` goes too,
 * and forgets what it has heard of itself. */
static void laggards_crash(struct sim *sim, uint64_t stalled, uint32_t number)
{
    bool forgets = prng_below(&sim->random_chaos, 2) == 0;
    for (uint32_t i = 0; i < sim->swarm.node_count && stalled != 0; i++) {
        bool falls = (stalled >> i & 1) != 0 || (forgets && i == number);
        if (leads(&sim->nodes[i])) {
            node_crash(sim, i, LEADER_DOWN_ELECTIONS * sim->swarm.election_max_ns);
        } else if (falls && sim->nodes[i].state == SIM_UP) {
            node_crash(sim, i, chaos_down_ns(sim));
        }
    }
}

/* In a time without other faults. */
static void go_back(struct sim *sim, uint32_t number)
{
    struct sim_swarm drawn = sim->swarm;
    uint32_t *const faults[] = {
        &sim->swarm.loss_ppm,      &sim->swarm.slow_ppm,      &sim->swarm.corrupt_ppm,
        &sim->swarm.truncate_ppm,  &sim->swarm.disk_slow_ppm, &sim->swarm.write_error_ppm,
        &sim->swarm.late_read_ppm, &sim->swarm.operator_ppm,
    };
    for (uint32_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        *faults[i] = 0;
    }
    chaos_calm(sim);
    uint64_t stalled = laggards_stall(sim, number);
    quiet_run(sim, QUIET_ELECTIONS);
    if (may_go_back(sim, number)) {
        const struct raft *leader = office(sim, number);
        uint64_t index = raft_replication(leader, (uint8_t)(number + 1)).match_index;
        struct raft_entry_id acked = {raft_entry_term(leader, index), index};
        node_crash(sim, number, QUIET_ELECTIONS * sim->swarm.election_max_ns);
        copy_put(sim, &sim->nodes[number]);
        notice_wait(sim, number, acked);
    }
    laggards_crash(sim, stalled, number);
    sim->swarm = drawn;
    sim->calm = false;
    if (!sim->strike_planned) {
        chaos_plan(sim);
    }
}

static void play(struct sim *sim)
{
    uint32_t number = (uint32_t)prng_below(&sim->random_chaos, sim->swarm.node_count);
    uint64_t gap_ns = COPY_GAP_ELECTIONS * sim->swarm.election_max_ns;
    uint64_t look_ns = sim->now_ns;
    copy.taken = false;
    sim->stranger.ppm = 0;
    while (sim_goes_on(sim)) {
        sim_step(sim);
        if (sim->now_ns < look_ns) {
            continue;
        }
        look_ns = sim->now_ns + prng_between(&sim->random_chaos, 1, 2 * gap_ns);
        if (copy.taken && may_go_back(sim, number)) {
            go_back(sim, number);
        } else if (sim->nodes[number].state == SIM_UP && !copy.taken) {
            copy_take(sim, &sim->nodes[number]);
        }
    }
    chaos_heal(sim);
    /* Somebody sees to the disk, and starts the node again when a leader is there to see it. */
    quiet_run(sim, SETTLE_ELECTIONS);
    if (sim->nodes[number].state == SIM_UP) {
        node_crash(sim, number, sim->swarm.election_min_ns);
    }
    sim_prove_liveness(sim);
}

const struct sim_game back_game = {.prepare = prepare, .play = play};
