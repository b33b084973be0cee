/* test_raft_random.c: cores under random weather, checked at every effect.
 *
 * Messages are lost, doubled, delayed and reordered; disks complete when they like, also late;
 * nodes crash, lose what was not durable, come back, stall and stand still. tests/trace/cluster.c
 * checks what is promised. Then the weather clears, and the cluster must elect, commit and agree.
 *
 * Usage: test_raft_random [seed [count]]; a failure prints its seed.
 */
#include "engine/base/prng.h"
#include "engine/raft/quorum.h"
#include "tests/trace/cluster.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STEPS_WILD      4000u
#define STEPS_CALM      6000u
#define SEEDS           1000u
#define PROPOSALS_MAX   300u
#define ENTRIES_AT_CALM 5u
#define READS_MAX       16u

static uint64_t first_seed = 1;
static uint64_t seed_count = SEEDS;
static uint64_t seed_under_test;

/* What happened over all seeds: a run in which a thing never happens has not tested it. */
static struct {
    uint64_t commits, elections, cuts, stale_durable, crashes, step_downs, stale_sessions;
    uint64_t transfers, transfers_aborted, transfer_campaigns;
    uint64_t reads_confirmed, reads_lost, reads_refused;
} seen;

/* A linearizable read that waits for its proof. */
struct waiting_read {
    uint64_t ticket; /* 0: none. */
    uint64_t boot;   /* Of the node, which forgets it when it dies. */
    uint64_t index;  /* What it will be answered from. */
    uint64_t floor;  /* Known to be committed, to anybody, before it came. */
    uint8_t node;
};

struct run {
    struct cluster c;
    struct prng prng;
    uint32_t proposals;
    /* The weather of this seed, in millionths and in nanoseconds a step. */
    uint32_t loss, doubling, late, crash, odd, flood, split, transfer, read, pause;
    uint64_t pace_ns;
    raft_set side;   /* Nothing passes between these nodes and the others. */
    raft_set paused; /* They stand still: what is sent to them waits, and comes in any order. */
    struct waiting_read reads[READS_MAX];
};

static uint8_t any_node(struct run *run)
{
    return (uint8_t)(1 + prng_below(&run->prng, run->c.node_count));
}

static void count(const struct cluster *c, uint8_t id)
{
    const struct raft_counters *counters = raft_counters(c->nodes[id].raft);

    seen.elections += counters->elections_won;
    seen.cuts += counters->cuts;
    seen.stale_durable += counters->stale_durable;
    seen.step_downs += counters->step_downs;
    seen.stale_sessions += counters->stale_session;
    seen.transfers += counters->transfers_started;
    seen.transfers_aborted += counters->transfers_aborted;
    seen.transfer_campaigns += counters->transfer_campaigns;
}

static void network(struct run *run)
{
    struct cluster *c = &run->c;

    if (c->packet_count == 0) {
        return;
    }
    /* Mostly near the front, sometimes far behind it. */
    uint64_t reach = prng_chance(&run->prng, run->late) ? c->packet_count : 4;
    reach = reach < c->packet_count ? reach : c->packet_count;
    uint32_t packet = (uint32_t)prng_below(&run->prng, reach);
    if (set_has(run->paused, c->packets[packet].to)) {
        struct cluster_packet waits = c->packets[packet];
        cluster_remove(c, packet);
        c->packets[c->packet_count++] = waits; /* Out of the others' way. */
        return;
    }
    bool cut_off =
        set_has(run->side, c->packets[packet].from) != set_has(run->side, c->packets[packet].to);
    if (cut_off || prng_chance(&run->prng, run->loss)) {
        cluster_remove(c, packet);
        return;
    }
    if (prng_chance(&run->prng, run->doubling) && c->packet_count < CLUSTER_PACKETS_MAX) {
        c->packets[c->packet_count++] = c->packets[packet];
    }
    (void)!cluster_deliver(c, packet);
}

static void disk(struct run *run, uint8_t id)
{
    struct cluster *c = &run->c;
    struct cluster_disk *d = &c->nodes[id].disk;

    if (!c->nodes[id].up) {
        return;
    }
    switch (prng_below(&run->prng, 4)) {
    case 0:
        if (d->state_pending) {
            cluster_state_durable(c, id);
        }
        break;
    case 1:
        if (d->cut_pending) {
            cluster_cut_durable(c, id);
        }
        break;
    case 2:
        if (d->written_index > d->durable_index) {
            uint64_t more = 1 + prng_below(&run->prng, d->written_index - d->durable_index);
            cluster_log_durable(c, id, d->epoch, d->durable_index + more);
        }
        break;
    default:
        /* A completion of before the last cut or start. */
        if (d->epoch > 1 && prng_chance(&run->prng, 100000)) {
            cluster_log_durable(c, id, d->epoch - 1, d->durable_index + 1);
        }
        break;
    }
}

static void crash_or_start(struct run *run, uint8_t id)
{
    struct cluster *c = &run->c;
    const struct cluster_disk *d = &c->nodes[id].disk;

    if (!c->nodes[id].up) {
        cluster_start(c, id);
        return;
    }
    count(c, id);
    seen.crashes++;
    uint64_t lost = d->written_index - d->durable_index;
    cluster_crash(c, id, d->durable_index + prng_below(&run->prng, lost + 1),
                  prng_chance(&run->prng, 500000), prng_chance(&run->prng, 500000));
}

static void proposal(struct run *run, uint8_t id)
{
    struct cluster *c = &run->c;

    if (c->nodes[id].up && raft_takes_proposals(c->nodes[id].raft) &&
        run->proposals < PROPOSALS_MAX) {
        run->proposals++;
        (void)!cluster_propose(c, id, NULL);
    }
}

static void tick(struct run *run, uint64_t ns)
{
    struct cluster *c = &run->c;

    c->now_ns += ns;
    for (uint8_t id = 1; id <= c->node_count; id++) {
        if (!c->nodes[id].up || set_has(run->paused, id)) {
            continue;
        }
        uint64_t deadline_ns = raft_deadline_ns(c->nodes[id].raft);
        cluster_event(c, id, RAFT_EVENT_TICK);
        if (deadline_ns <= c->now_ns) {
            cluster_resend(c, id);
        }
    }
}

static void odd_event(struct run *run, uint8_t id)
{
    static const enum raft_event_kind kinds[] = {RAFT_EVENT_UNHEALTHY, RAFT_EVENT_HEALTHY,
                                                 RAFT_EVENT_HEALTHY, RAFT_EVENT_TIME_LOST};

    if (run->c.nodes[id].up && prng_chance(&run->prng, 300000)) {
        cluster_trim(&run->c, id);
    } else if (run->c.nodes[id].up) {
        cluster_event(&run->c, id, kinds[prng_below(&run->prng, 4)]);
    }
}

/* To anybody, itself and nobody in particular included: what may not be is refused. */
static void transfer(struct run *run, uint8_t id)
{
    struct cluster *c = &run->c;
    struct raft_event event = {.kind = RAFT_EVENT_TRANSFER, .now_ns = c->now_ns};

    event.transfer.to = (uint8_t)prng_below(&run->prng, c->node_count + 1u);
    for (uint8_t i = 0; i < c->node_count; i++, id = (uint8_t)(id % c->node_count + 1)) {
        if (c->nodes[id].up && raft_is_leader(c->nodes[id].raft)) {
            (void)!cluster_step(c, id, &event);
            return;
        }
    }
}

/* Anybody may be asked; most often it is one who takes itself for the leader. */
static void ask_to_read(struct run *run, uint8_t id)
{
    struct cluster *c = &run->c;
    struct raft_event event = {.kind = RAFT_EVENT_READ, .now_ns = c->now_ns};
    struct waiting_read *read = &run->reads[prng_below(&run->prng, READS_MAX)];

    for (uint8_t i = 0; i < c->node_count; i++, id = (uint8_t)(id % c->node_count + 1)) {
        if (c->nodes[id].up && raft_is_leader(c->nodes[id].raft)) {
            break;
        }
    }
    if (!c->nodes[id].up || read->ticket != 0) {
        return;
    }
    const struct raft *r = c->nodes[id].raft;
    struct waiting_read asked = {.boot = c->nodes[id].boot,
                                 .index = raft_commit_index(r),
                                 .floor = c->committed_index,
                                 .node = id};
    if (cluster_step(c, id, &event) != RAFT_TAKEN) {
        seen.reads_refused++;
        return;
    }
    asked.ticket = raft_read_ticket(r);
    *read = asked;
}

/* G1: what is answered holds all that was committed before the question. */
static void check_reads(struct run *run)
{
    for (uint32_t i = 0; i < READS_MAX; i++) {
        struct waiting_read *read = &run->reads[i];
        const struct cluster_node *node = &run->c.nodes[read->node];
        if (read->ticket == 0) {
            continue;
        }
        enum raft_read_state state = !node->up || node->boot != read->boot
                                         ? RAFT_READ_LOST
                                         : raft_read_state(node->raft, read->ticket);
        if (state == RAFT_READ_CONFIRMED && read->index < read->floor) {
            fail_msg("seed %" PRIu64 ": node %u answers a read from entry %" PRIu64
                     "; committed before it was %" PRIu64,
                     seed_under_test, read->node, read->index, read->floor);
        }
        seen.reads_confirmed += state == RAFT_READ_CONFIRMED;
        seen.reads_lost += state == RAFT_READ_LOST;
        read->ticket = state == RAFT_READ_PENDING ? read->ticket : 0;
    }
}

static void wild_step(struct run *run)
{
    uint64_t dice = prng_below(&run->prng, 1000);
    uint8_t id = any_node(run);

    if (prng_chance(&run->prng, run->crash)) {
        crash_or_start(run, id);
    } else if (prng_chance(&run->prng, run->odd)) {
        odd_event(run, id);
    } else if (prng_chance(&run->prng, run->flood)) {
        run->c.packet_count = 0; /* Everything under way is lost. */
    } else if (prng_chance(&run->prng, run->split)) {
        run->side = prng_chance(&run->prng, 500000) ? 0 : prng_next(&run->prng);
    } else if (prng_chance(&run->prng, run->pause)) {
        run->paused = run->paused != 0 ? 0 : prng_next(&run->prng) & prng_next(&run->prng);
    } else if (prng_chance(&run->prng, run->transfer)) {
        transfer(run, id);
    } else if (prng_chance(&run->prng, run->read)) {
        ask_to_read(run, id);
    } else if (dice < 600) {
        network(run);
    } else if (dice < 800) {
        disk(run, id);
    } else if (dice < 850) {
        proposal(run, id);
    } else if (dice < 998) {
        tick(run, prng_below(&run->prng, run->pace_ns));
    } else {
        tick(run, 200);
    }
}

static uint32_t any_chance(struct run *run, uint32_t most)
{
    return prng_chance(&run->prng, 300000) ? 0 : (uint32_t)prng_below(&run->prng, most);
}

static void draw_weather(struct run *run)
{
    run->loss = any_chance(run, 300000);
    run->doubling = any_chance(run, 300000);
    run->late = any_chance(run, 300000);
    run->crash = any_chance(run, 6000);
    run->odd = any_chance(run, 3000);
    run->flood = any_chance(run, 3000);
    run->split = any_chance(run, 6000);
    run->transfer = any_chance(run, 6000);
    run->read = any_chance(run, 100000);
    run->pause = any_chance(run, 6000);
    run->side = 0;
    run->paused = 0;
    run->pace_ns = prng_between(&run->prng, 2, 20);
}

static bool calm_is_over(const struct run *run, uint64_t goal_index)
{
    for (uint8_t id = 1; id <= run->c.node_count; id++) {
        if (raft_commit_index(run->c.nodes[id].raft) < goal_index) {
            return false;
        }
    }
    return true;
}

/* Everybody up, nothing lost: a leader, and new commits on every node. */
static bool calm(struct run *run)
{
    struct cluster *c = &run->c;
    uint64_t goal_index = c->committed_index + ENTRIES_AT_CALM;

    for (uint8_t id = 1; id <= c->node_count; id++) {
        if (!c->nodes[id].up) {
            cluster_start(c, id);
        }
        cluster_event(c, id, RAFT_EVENT_HEALTHY);
    }
    run->proposals = 0;
    run->paused = 0;
    for (uint32_t step = 0; step < STEPS_CALM && !calm_is_over(run, goal_index); step++) {
        for (uint32_t i = 0; i < 10 && c->packet_count > 0; i++) {
            (void)!cluster_deliver(c, 0);
        }
        for (uint8_t id = 1; id <= c->node_count; id++) {
            disk(run, id);
        }
        if (c->packet_count == 0) {
            tick(run, 5);
        }
        uint8_t id = any_node(run);
        if (raft_commit_index(c->nodes[id].raft) == raft_last(c->nodes[id].raft).index) {
            proposal(run, id);
        }
    }
    return calm_is_over(run, goal_index);
}

static void weather(uint64_t seed, uint8_t node_count)
{
    static struct run run;

    cluster_init(&run.c, node_count, ((raft_set)2 << node_count) - 2);
    run.c.seed = seed;
    run.proposals = 0;
    memset(run.reads, 0, sizeof run.reads);
    prng_init(&run.prng, seed);
    draw_weather(&run);
    for (uint8_t id = 1; id <= node_count; id++) {
        cluster_start(&run.c, id);
    }
    if (prng_chance(&run.prng, 700000) && !calm(&run)) {
        fail_msg("seed %" PRIu64 ", %u nodes: no commit in calm weather", seed, node_count);
    }
    for (uint32_t step = 0; step < STEPS_WILD; step++) {
        wild_step(&run);
        check_reads(&run);
        if (step % 64 == 0) {
            cluster_check_logs(&run.c);
        }
    }
    if (!calm(&run)) {
        fail_msg("seed %" PRIu64 ", %u nodes: no commit after the weather", seed, node_count);
    }
    cluster_check_logs(&run.c);
    seen.commits += run.c.committed_index;
    for (uint8_t id = 1; id <= node_count; id++) {
        count(&run.c, id);
    }
    cluster_fini(&run.c);
}

static void safety_and_progress_survive_any_weather(void **state)
{
    static const uint8_t sizes[] = {3, 5, 3, 1, 3, 5, 2, 3, 5, 4, 3, 5, 7};

    (void)state;
    printf("seeds %" PRIu64 " to %" PRIu64 "\n", first_seed, first_seed + seed_count - 1);
    for (uint64_t seed = first_seed; seed < first_seed + seed_count; seed++) {
        seed_under_test = seed;
        weather(seed, sizes[seed % (sizeof sizes / sizeof sizes[0])]);
    }
    printf("commits %" PRIu64 ", elections %" PRIu64 ", cuts %" PRIu64 ", stale durable %" PRIu64
           ", crashes %" PRIu64 ", step downs %" PRIu64 ", stale sessions %" PRIu64
           ", transfers %" PRIu64 ", aborted %" PRIu64 ", campaigns of them %" PRIu64
           ", reads confirmed %" PRIu64 ", lost %" PRIu64 ", refused %" PRIu64 "\n",
           seen.commits, seen.elections, seen.cuts, seen.stale_durable, seen.crashes,
           seen.step_downs, seen.stale_sessions, seen.transfers, seen.transfers_aborted,
           seen.transfer_campaigns, seen.reads_confirmed, seen.reads_lost, seen.reads_refused);
    if (seed_count >= SEEDS) {
        assert_true(seen.commits > seed_count);
        assert_true(seen.elections > seed_count);
        assert_true(seen.cuts > 0);
        assert_true(seen.stale_durable > 0);
        assert_true(seen.crashes > 0);
        assert_true(seen.step_downs > 0);
        assert_true(seen.stale_sessions > 0);
        assert_true(seen.transfers > seen.transfers_aborted);
        assert_true(seen.transfers_aborted > 0);
        assert_true(seen.transfer_campaigns > 0);
        assert_true(seen.reads_confirmed > seed_count);
        assert_true(seen.reads_lost > 0);
        assert_true(seen.reads_refused > 0);
    }
}

static int tell_seed(void **state)
{
    (void)state;
    printf("last seed %" PRIu64 "\n", seed_under_test);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(safety_and_progress_survive_any_weather, tell_seed)};

    if (argc > 1) {
        first_seed = strtoull(argv[1], NULL, 10);
        seed_count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
