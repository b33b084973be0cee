/* node.c: the lives of one replica: format once, open, poll, crash, open again.
 *
 * A crash drops the replica's memory and whatever its disk had in flight lands as the platter
 * pleases; the next life begins with the shipped recovery. A node that refuses to start stays down,
 * and only a node that was damaged may refuse.
 */
#include "tests/sim/sim.h"

#include "storage/format.h"
#include "storage/recover.h"

#include <errno.h>
#include <string.h>

#define CLOCK_PARTS 1000000
#define OVERDUE_NS  5000u

static uint8_t recover_buffer[RECOVER_BUFFER_BYTES] __attribute__((aligned(PAGE_BYTES)));

uint64_t node_clock_ns(const struct sim *sim, const struct sim_node *node)
{
    int64_t elapsed_ns = (int64_t)(sim->now_ns - SIM_START_NS);
    int64_t drift_ns = elapsed_ns / CLOCK_PARTS * node->drift_ppm +
                       elapsed_ns % CLOCK_PARTS * node->drift_ppm / CLOCK_PARTS;
    return node->clock_offset_ns + (uint64_t)(elapsed_ns + drift_ns);
}

/* When the node's clock will show `clock_ns`, rounded up. */
static uint64_t true_ns(const struct sim *sim, const struct sim_node *node, uint64_t clock_ns)
{
    uint64_t clock_now_ns = node_clock_ns(sim, node);
    if (clock_ns <= clock_now_ns) {
        return sim->now_ns;
    }
    uint64_t wait_ns = clock_ns - clock_now_ns;
    if (wait_ns > 1000000000000ull) {
        return SIM_NEVER;
    }
    uint64_t rate = (uint64_t)(CLOCK_PARTS + node->drift_ppm);
    return sim->now_ns + wait_ns * CLOCK_PARTS / rate + 2;
}

void node_begin(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];
    struct sim_disk *disk = &node->disk;
    struct prng *prng = &sim->random_node;
    platter_reset(disk);
    platter_open(sim, disk, number);
    node->state = SIM_DOWN;
    node->life = 0;
    node->store = prng_next(prng) | 1;
    node->damaged = false;
    node->rotted = false;
    node->promised_index = 0;
    node->promised_term = 0;
    node->frozen_until_ns = 0;
    node->drift_ppm = 0;
    if (sim->swarm.drifts) {
        node->drift_ppm = (int64_t)prng_below(prng, 200001) - 100000;
        sim->totals->faults.clock_drift += node->drift_ppm != 0;
    }
    memset(node->votes, 0, sizeof node->votes);
    struct format_config config = {
        .cluster = SIM_CLUSTER,
        .store = node->store,
        .node = (uint8_t)(number + 1),
        .segment_bytes = SIM_SEGMENT_BYTES,
        .window_bytes = sim->swarm.window_bytes,
    };
    struct fault fault = {0};
    if (storage_format(&disk->disk, &config, recover_buffer, &disk->geometry, &fault) != 0) {
        sim_violation(sim, "format failed: %s", fault.text);
    }
    ASSERT(disk->geometry.segment_count == SIM_SEGMENTS);
    queue_put(&sim->queue, &(struct sim_event){
                               .at_ns = sim->now_ns + prng_below(prng, sim->swarm.election_max_ns),
                               .kind = SIM_RESTART,
                               .target = number});
}

static void node_configure(struct sim *sim, uint32_t number, struct replica_config *config)
{
    const struct sim_swarm *swarm = &sim->swarm;
    *config = (struct replica_config){
        .cluster = SIM_CLUSTER,
        .group = SIM_GROUP,
        .self = (uint8_t)(number + 1),
        .node_count = swarm->node_count,
        .election_min_ns = swarm->election_min_ns,
        .election_max_ns = swarm->election_max_ns,
        .heartbeat_ns = swarm->heartbeat_ns,
        .catchup_bytes_per_s = CATCHUP_BYTES_PER_S,
        .scrub_bytes_per_s = swarm->scrub_bytes_per_s,
        .scrub_every_ns = swarm->scrub_every_ns,
        .disk_stall_ns = swarm->disk_stall_ns,
        .log_memory_bytes = LOG_MEMORY_MIN,
        .retention_bytes = swarm->retention_bytes,
        .seed = prng_next(&sim->random_node),
    };
    for (uint32_t i = 0; i < swarm->node_count; i++) {
        config->nodes[i] = (struct replica_node){(uint8_t)(i + 1), link_address(i)};
    }
}

/* Why it refuses, by looking again with the shipped recovery, which writes nothing. */
static void refusal_take(struct sim *sim, struct sim_node *node, const struct fault *fault)
{
    struct sim_disk *disk = &node->disk;
    platter_open(sim, disk, disk->node);
    const struct recover_config expected = {
        .cluster = SIM_CLUSTER,
        .node = (uint8_t)(disk->node + 1),
        .buffer = recover_buffer,
    };
    static struct recovery found;
    struct fault ignored = {0};
    int result = recover(&disk->disk, &expected, &found, &ignored);
    struct sim_refusal_counters *refusals = &sim->totals->refusals;
    refusals->superblock += result != 0;
    sim->totals->covers.refused_for_state += result == 0 && found.beyond_entries;
    if (result == 0 && !found.beyond_entries) {
        sim_violation(sim, "node %u refuses a log that others may mend: %s", disk->node + 1,
                      fault->text);
    }
    node->state = SIM_REFUSED;
    SIM_TRACE(sim, "node %u refuses: %s", disk->node + 1, fault->text);
    if (!node->damaged) {
        sim_violation(sim, "node %u was never damaged and refuses to start: %s", disk->node + 1,
                      fault->text);
    }
}

static void life_begin(struct sim *sim, struct sim_node *node)
{
    node->life++;
    node->crash_now = false;
    node->stops = false;
    node->write_failed = false;
    node->commit_index = 0;
    node->applied_index = 0;
    node->table_index = 0;
    node->term = 0;
    node->leads = false;
    memset(node->sent_now, 0, sizeof node->sent_now);
    stranger_forget(sim, node->disk.node);
    node->clock_offset_ns = prng_between(&sim->random_node, 1000000000ull, 1000000000000ull);
}

/* Its log is whole, as it was found or as it has been made. */
static void node_opened(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];
    node->disk.blocking = false;
    node->disk.writes_left = -1;
    node->state = SIM_UP;
    node->opened_ns = sim->now_ns;
    replica_on_apply(node->replica, check_applied, sim);
    SIM_TRACE(sim, "node %u: life %u begins", number + 1, node->life);
    check_opened(sim, number);
    struct replica_sessions sessions;
    replica_sessions(node->replica, &sessions);
    sim->totals->covers.tables_recovered += sessions.count > 0;
}

/* Its log is damaged, so it takes part in nothing; the power may go within this too. */
static void
mending_begin(struct sim *sim, struct sim_node *node, const struct replica_mending *mending)
{
    node->state = SIM_MENDING;
    sim->totals->covers.mendings++;
    SIM_TRACE(sim, "node %u mends: %s", node->disk.node + 1, mending->what);
    if (!node->damaged && !node->rotted) {
        sim_violation(sim, "node %u was never damaged and must be mended: %s", node->disk.node + 1,
                      mending->what);
    }
    if (!sim->calm && prng_below(&sim->random_disk, 3) == 0) {
        node->disk.writes_left = (int64_t)prng_between(&sim->random_disk, 1, 12);
    }
}

/* What a poll of a damaged node has come to. */
static void mending_polled(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];
    struct replica_mending mending;
    replica_mending(node->replica, &mending);
    if (node->disk.writes_left == 0) {
        sim->totals->covers.crash_in_mending++;
        SIM_TRACE(sim, "node %u: power goes while it mends", number + 1);
        node->crash_now = true;
    } else if (!mending.active) {
        sim->totals->covers.mended++;
        node_opened(sim, number);
    } else {
        struct replica_status status;
        replica_status(node->replica, &status);
        if (status.failed != 0) {
            sim_violation(sim, "node %u fails while it mends: %d", number + 1, status.failed);
        }
    }
}

void node_restart(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];
    if (node->state != SIM_DOWN) {
        return;
    }
    if (node->mem.used_bytes > 0) {
        memset(node->memory, 0, node->mem.used_bytes);
    }
    life_begin(sim, node);
    mem_init(&node->mem, node->memory, SIM_MEMORY_BYTES);
    link_open(sim, &node->nic, number);
    platter_open(sim, &node->disk, number);
    bool dies = !sim->calm && sim_happens(&sim->random_disk, sim->swarm.recovery_crash_ppm);
    if (dies) {
        node->disk.writes_left = (int64_t)prng_between(&sim->random_disk, 1, 8);
    }
    struct replica_config config;
    node_configure(sim, number, &config);
    ASSERT(replica_memory_bytes(&config) <= SIM_MEMORY_BYTES);
    node->replica = replica_create(&node->mem, &config, &node->nic.nic, &node->disk.disk);
    struct fault fault = {0};
    int result = replica_open(node->replica, node_clock_ns(sim, node), &fault);
    mem_seal(&node->mem);
    sim->totals->covers.restarts += node->life > 1;
    if (node->disk.writes_left == 0) {
        sim->totals->faults.crash_in_recovery++;
        SIM_TRACE(sim, "node %u: power goes during its start", number + 1);
        uint64_t again_ns = sim->now_ns + chaos_down_ns(sim);
        queue_put(&sim->queue, &(struct sim_event){again_ns, 0, SIM_RESTART, number, 0, 0});
        return;
    }
    if (result != 0) {
        refusal_take(sim, node, &fault);
        return;
    }
    ASSERT(node->disk.disk.in_flight == 0);
    struct replica_mending mending;
    replica_mending(node->replica, &mending);
    node->wake_ns = sim->now_ns;
    node->wake_is_timer = false;
    if (mending.active) {
        mending_begin(sim, node, &mending);
    } else {
        node_opened(sim, number);
    }
}

void node_count(struct sim *sim, struct sim_node *node)
{
    struct sim_cover_counters *covers = &sim->totals->covers;
    const struct replica_counters *counters = replica_counters(node->replica);
    const struct raft_counters *raft = raft_counters(replica_raft(node->replica));
    covers->elections += raft->elections_won;
    covers->step_downs += raft->step_downs;
    covers->stale_durable += raft->stale_durable;
    covers->cuts += raft->cuts;
    covers->transfers += raft->transfers_started;
    covers->transfers_aborted += raft->transfers_aborted;
    covers->transfer_campaigns += raft->transfer_campaigns;
    covers->fragment_repairs += counters->fragments_repaired;
    covers->staged += counters->staged;
    covers->disk_fetches += counters->disk_fetches;
    covers->trims += counters->trims;
    covers->disk_stalls += counters->disk_stalls;
    covers->bad_pages += counters->pages_bad;
    covers->frames_foreign += counters->frames_foreign;
    covers->reads_died += counters->reads_lost;
    covers->reads_held += counters->reads_held;
    covers->frames_grown += counters->frames_grown;
    covers->frames_shrunk += counters->frames_shrunk;
    covers->slots_pinned += counters->slots_pinned;
    covers->entries_mended += counters->entries_mended;
    covers->mended_by_faulty += counters->mend_answers_faulty;
    covers->mend_denials += counters->mend_denials;
    covers->mends_given_up += counters->mends_given_up;
    covers->bounds_met += raft->bounds_met;
    covers->regressions += raft->regressions;
    covers->regressed_ignored += raft->regressed_ignored;
    covers->regained += raft->regained;
    covers->scrub_passes += counters->scrub_passes;
    covers->scrub_bad += counters->scrub_bad;
    covers->scrub_waited += counters->scrub_waiting > 0;
    struct replica_sessions sessions;
    replica_sessions(node->replica, &sessions);
    covers->tails_rebuilt += sessions.tails_rebuilt;
}

void node_crash(struct sim *sim, uint32_t number, uint64_t down_ns)
{
    struct sim_node *node = &sim->nodes[number];
    ASSERT(node->state == SIM_UP || node->state == SIM_MENDING);
    SIM_TRACE(sim, "node %u crashes for %lu us", number + 1, down_ns / 1000);
    node_count(sim, node);
    platter_crash(sim, node);
    node->state = SIM_DOWN;
    node->wake_ns = SIM_NEVER;
    node->frozen_until_ns = 0;
    node->life++;
    link_drop(sim, &node->nic);
    queue_put(&sim->queue,
              &(struct sim_event){sim->now_ns + down_ns, 0, SIM_RESTART, number, 0, 0});
}

static void wake_at(struct sim_node *node, uint64_t at_ns, bool timer)
{
    if (at_ns < node->frozen_until_ns) {
        at_ns = node->frozen_until_ns;
    }
    if (at_ns < node->wake_ns) {
        node->wake_ns = at_ns;
        node->wake_is_timer = timer;
    }
}

void node_wake(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];
    uint64_t gap_ns = sim->swarm.poll_gap_ns;
    wake_at(node, sim->now_ns + (gap_ns == 0 ? 0 : prng_below(&sim->random_net, gap_ns)), false);
}

void node_poll(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];
    ASSERT(node->state == SIM_UP || node->state == SIM_MENDING);
    if (sim->now_ns < node->frozen_until_ns) { /* It froze after this wake was planned. */
        node->wake_ns = node->frozen_until_ns;
        return;
    }
    memset(node->sent_now, 0, sizeof node->sent_now);
    uint32_t work = replica_poll(node->replica, node_clock_ns(sim, node));
    if (node->state == SIM_MENDING) {
        mending_polled(sim, number);
    }
    if (node->state == SIM_UP) {
        check_polled(sim, number);
    }
    node->wake_ns = SIM_NEVER;
    bool stopped = node->stops && replica_is_stopped(node->replica);
    sim->totals->covers.clean_stops += stopped;
    if (node->crash_now || stopped) {
        node_crash(sim, number, chaos_down_ns(sim));
        return;
    }
    uint64_t deadline_ns = true_ns(sim, node, replica_deadline_ns(node->replica));
    bool overdue = deadline_ns <= sim->now_ns;
    if (overdue) { /* What is overdue now is waiting for something else. */
        deadline_ns = sim->now_ns + OVERDUE_NS;
        struct replica_status status;
        replica_status(node->replica, &status);
        if (status.failed != 0) { /* Its disk failed: it stands still until somebody restarts it. */
            node->crash_now = true;
            deadline_ns += chaos_down_ns(sim);
        }
    }
    wake_at(node, deadline_ns, !overdue);
    if (work > 0) {
        wake_at(node, sim->now_ns + 1000, false);
    }
}
