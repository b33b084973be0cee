/* run.c: one seed: set up, chaos until its events are used up, heal, prove liveness, look once
 * more.
 *
 * The loop takes whatever is earliest: an event of the queue, or a node's wake-up. Virtual time
 * only moves here.
 */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

COUNTERS_DEFINE(sim_fault, SIM_FAULTS);
COUNTERS_DEFINE(sim_cover, SIM_COVERS);
COUNTERS_DEFINE(sim_refusal, SIM_REFUSALS);

#define LIVENESS_ELECTIONS                                                                         \
    200u /* Longest election timeouts until a fresh record must be everywhere. */
#define LIVENESS_EXTRA_NS 3000000000ull
#define CHAOS_ELECTIONS   3000u /* Chaos ends after so many, however few its events were. */

static jmp_buf leave;
static struct sim *running;

static void *take_zeroed(uint64_t bytes)
{
    /* Large enough to come from the kernel: pages that are never touched cost nothing. */
    uint8_t *memory = calloc(1, bytes + PAGE_BYTES);
    ASSERT(memory != NULL);
    return memory + (PAGE_BYTES - (uintptr_t)memory % PAGE_BYTES) % PAGE_BYTES;
}

void sim_init(struct sim *sim, struct sim_totals *totals)
{
    sim->totals = totals;
    sim->frames = take_zeroed(SIM_FRAMES_MAX * sizeof(struct sim_frame));
    for (uint32_t i = 0; i < SIM_NODES_MAX; i++) {
        sim->nodes[i].memory = take_zeroed(SIM_MEMORY_BYTES);
        sim->nodes[i].disk.image = take_zeroed(SIM_DISK_BYTES);
    }
}

static void violation_tell(struct sim *sim, const char *kind, const char *what)
{
    char game[32] = "";
    if (sim->stride > 0) {
        snprintf(game, sizeof game, " --harm %u", sim->stride);
    } else {
        snprintf(game, sizeof game, "%s%s", sim->flag[0] != '\0' ? " " : "", sim->flag);
    }
    sim->totals->violations++;
    fprintf(stderr,
            "violation: seed %" PRIu64 ", %" PRIu64 ".%06" PRIu64 " ms, event %" PRIu64 ": %s%s\n"
            "  replay: build/tests/sim --seed %" PRIu64 "%s\n",
            sim->seed, sim->now_ns / 1000000, sim->now_ns % 1000000, sim->events, kind, what,
            sim->seed, game);
}

void sim_violation(struct sim *sim, const char *what, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, what);
    vsnprintf(text, sizeof text, what, arguments);
    va_end(arguments);
    violation_tell(sim, "", text);
    longjmp(leave, 1);
}

/* A failed assertion of the shipped code ends the seed, not the run. */
_Noreturn void assert_fail(const char *expression, const char *file, int line)
{
    char text[512];
    snprintf(text, sizeof text, "%s:%d: %s", file, line, expression);
    if (running == NULL) {
        fprintf(stderr, "assertion outside of a seed: %s\n", text);
        __builtin_trap();
    }
    violation_tell(running, "assertion ", text);
    longjmp(leave, 1);
}

void sim_trace(struct sim *sim, const char *what, ...)
{
    fprintf(stderr, "%10" PRIu64 ".%06" PRIu64 " ", sim->now_ns / 1000000, sim->now_ns % 1000000);
    va_list arguments;
    va_start(arguments, what);
    vfprintf(stderr, what, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void sim_hash(struct sim *sim, uint64_t value)
{
    uint64_t mixed = (sim->hash ^ value ^ sim->now_ns << 20) * 0x9e3779b97f4a7c15u;
    sim->hash = mixed ^ (mixed >> 29);
}

static void seed_begin(struct sim *sim, uint64_t seed, const struct sim_game *game)
{
    uint64_t old_index = sim->commit_index;
    struct prng random_swarm;
    struct prng *streams[] = {&random_swarm,      &sim->random_net,     &sim->random_disk,
                              &sim->random_chaos, &sim->random_client,  &sim->random_node,
                              &sim->random_read,  &sim->random_stranger};
    for (uint32_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        prng_init(streams[i], seed * 64 + i);
    }
    sim->seed = seed;
    sim->full_before = sim->totals->replies[WIRE_FULL];
    sim->now_ns = SIM_START_NS;
    sim->events = 0;
    sim->hash = seed;
    sim->calm = false;
    sim->strike_planned = false;
    sim->went_back = 0;
    sim->queue.count = 0;
    sim->queue.order = 0;
    sim->echo = (struct sim_echo){0};
    sim->commit_index = 0;
    sim->commit_term = 0;
    sim->applied_index = 0;
    sim->offset_end = 0;
    memset(sim->committed, 0, (old_index + 1) * sizeof sim->committed[0]);
    memset(sim->leaders, 0, sizeof sim->leaders);
    sim->told_count = 0;
    ledger_reset(sim);
    link_reset(sim);
    stranger_begin(sim);
    swarm_draw(&sim->swarm, &random_swarm);
    if (game->prepare != NULL) {
        game->prepare(&sim->swarm);
    }
    if (sim->trace) {
        swarm_print(&sim->swarm);
    }
    for (uint32_t i = 0; i < SIM_NODES_MAX; i++) {
        sim->nodes[i].state = SIM_DOWN;
        sim->nodes[i].leads = false;
        sim->nodes[i].wake_ns = SIM_NEVER;
    }
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        node_begin(sim, i);
    }
    for (uint32_t i = 0; i < SIM_CLIENTS_MAX; i++) {
        client_begin(sim, i);
    }
    chaos_plan(sim);
}

static void event_take(struct sim *sim)
{
    struct sim_event event = queue_take(&sim->queue);
    bool of_node = event.kind == SIM_DISK || event.kind == SIM_READ;
    struct sim_node *node = &sim->nodes[of_node ? event.target : 0];
    struct sim_cover_counters *covers = &sim->totals->covers;
    sim->now_ns = event.at_ns;
    switch (event.kind) {
    case SIM_FRAME:
        if (link_deliver(sim, &event)) {
            sim->events++;
            covers->frames++;
        }
        return;
    case SIM_READ:
        if (event.life == node->life) {
            link_read(sim, &event);
        } else {
            link_release(sim, event.slot); /* The memory went with the power. */
        }
        return;
    case SIM_DISK:
        if (event.life != node->life) {
            return; /* Its request went with the power. */
        }
        if (sim->now_ns < node->disk.stalled_until_ns) {
            event.at_ns = node->disk.stalled_until_ns + event.slot;
            queue_put(&sim->queue, &event);
            return;
        }
        platter_complete(sim, node, event.slot);
        node_wake(sim, event.target);
        sim->events++;
        covers->disk_completions++;
        return;
    case SIM_CLIENT:
        if (event.target < sim->swarm.client_count) {
            client_send(sim, event.target);
            sim->events++;
            covers->client_events++;
        }
        return;
    case SIM_RESTART:
        node_restart(sim, event.target);
        return;
    case SIM_STRIKE:
        chaos_strike(sim);
        return;
    }
}

void sim_step(struct sim *sim)
{
    uint64_t wake_ns = SIM_NEVER;
    uint32_t number = 0;
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        if (sim->nodes[i].wake_ns < wake_ns) {
            wake_ns = sim->nodes[i].wake_ns;
            number = i;
        }
    }
    uint64_t event_ns = queue_next_ns(&sim->queue);
    ASSERT(event_ns != SIM_NEVER || wake_ns != SIM_NEVER);
    if (event_ns <= wake_ns) {
        event_take(sim);
        return;
    }
    sim->now_ns = wake_ns;
    sim->events += sim->nodes[number].wake_is_timer;
    sim->totals->covers.timers += sim->nodes[number].wake_is_timer;
    node_poll(sim, number);
}

static uint32_t live_count(const struct sim *sim)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        count += sim->nodes[i].state == SIM_UP;
    }
    return count;
}

/* A node whose log lacks the entry at which the others' begins needs what this version cannot give
 * it yet: it ends below, or has another one there. */
bool sim_is_behind(const struct sim *sim, const struct sim_node *node)
{
    struct raft_entry_id start = {0};
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *other = &sim->nodes[i];
        if (other->state == SIM_UP &&
            raft_start(replica_raft(other->replica)).index > start.index) {
            start = raft_start(replica_raft(other->replica));
        }
    }
    return raft_last(replica_raft(node->replica)).index < start.index ||
           (raft_start(replica_raft(node->replica)).index < start.index &&
            !platter_has(&node->disk, start.index, start.term));
}

/* A damaged node whose next entry somebody's intact pages hold will be mended. */
static bool can_be_mended(const struct sim *sim, uint32_t number)
{
    struct replica_mending mending;
    replica_mending(sim->nodes[number].replica, &mending);
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *other = &sim->nodes[i];
        bool holds = i != number && other->state == SIM_UP && mending.wanted.index != 0 &&
                     mending.wanted.index > raft_start(replica_raft(other->replica)).index &&
                     !other->damaged &&
                     platter_has(&other->disk, mending.wanted.index, mending.wanted.term);
        if (holds) {
            return true;
        }
    }
    return false;
}

static bool all_have(struct sim *sim, uint64_t index)
{
    uint32_t behind = 0;
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->state == SIM_MENDING && can_be_mended(sim, i)) {
            return false;
        }
        if (node->state == SIM_UP && node->commit_index < index) {
            if (!sim_is_behind(sim, node)) {
                return false;
            }
            behind++;
        }
    }
    sim->totals->covers.behind_start += behind;
    return true;
}

/* Whether a log that is never trimmed is full: elections without end have used up what is kept free
 * for their no-ops. */
static bool is_used_up(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->swarm.node_count && sim->swarm.retention_bytes == 0; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->state != SIM_UP) {
            continue;
        }
        const struct sim_entry *last =
            &node->disk.entries[raft_last(replica_raft(node->replica)).index];
        uint64_t end = last->position + (uint64_t)last->pages * PAGE_BYTES;
        if (end + LOG_TRIM_RESERVE_BYTES >= node->disk.geometry.ring_bytes) {
            return true;
        }
    }
    return false;
}

/* A node that has lost an end of its log votes for nobody whose log may end below that. */
static bool may_vote(const struct sim *sim, const struct sim_node *node)
{
    struct raft_entry_id bound = raft_vote_bound(replica_raft(node->replica));
    for (uint32_t i = 0; i < sim->swarm.node_count && bound.index != 0; i++) {
        const struct sim_node *other = &sim->nodes[i];
        if (other->state != SIM_UP || raft_vote_bound(replica_raft(other->replica)).index != 0) {
            continue;
        }
        struct raft_entry_id last = raft_last(replica_raft(other->replica));
        if (last.term > bound.term || (last.term == bound.term && last.index >= bound.index)) {
            return true;
        }
    }
    return bound.index == 0;
}

/* Whether a quorum could still work: alive, and reachable from the others' logs. */
static bool quorum_is_left(const struct sim *sim)
{
    uint32_t able = 0;
    uint64_t needed =
        sim->commit_index == 0 ? sim->swarm.node_count : sim->swarm.node_count / 2 + 1;
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        able += node->state == SIM_UP && !sim_is_behind(sim, node) && may_vote(sim, node);
    }
    return able >= needed;
}

static void liveness_fail(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->state != SIM_UP) {
            fprintf(stderr, "  node %u: %s\n", i + 1,
                    node->state == SIM_DOWN      ? "down"
                    : node->state == SIM_MENDING ? "mending"
                                                 : "refused");
            continue;
        }
        struct replica_status status;
        replica_status(node->replica, &status);
        fprintf(stderr,
                "  node %u: role %d term %" PRIu64 " leader %u commit %" PRIu64 " durable %" PRIu64
                " last %" PRIu64 " of term %" PRIu64 " applied %" PRIu64 " of %" PRIu64
                " start %" PRIu64 " of term %" PRIu64 " failed %d\n",
                i + 1, (int)status.role, status.term, status.leader, status.commit_index,
                status.durable_index, status.last_index,
                raft_last(replica_raft(node->replica)).term, node->applied_index, sim->commit_index,
                raft_start(replica_raft(node->replica)).index,
                raft_start(replica_raft(node->replica)).term, status.failed);
    }
    for (uint32_t i = 0; i < sim->swarm.client_count; i++) {
        writer_print(sim, i);
    }
    sim_violation(sim, "healed, and no fresh record was committed everywhere in time, or a client "
                       "has no answer");
}

/* Offer a fresh record to whoever takes itself for the leader. */
static void leaders_probe(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->state == SIM_UP && raft_is_leader(replica_raft(node->replica))) {
            (void)client_probe(sim, 0, i);
        }
    }
}

/* Every client has a definite answer to whatever it asked in its last life. */
static bool all_settled(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->swarm.client_count; i++) {
        if (!writer_is_settled(&sim->clients[i].writer)) {
            return false;
        }
    }
    return true;
}

/* All faults end; a leader must emerge, take a fresh record and have it applied everywhere. */
void sim_prove_liveness(struct sim *sim)
{
    const struct sim_swarm *swarm = &sim->swarm;
    uint64_t until_ns =
        sim->now_ns + LIVENESS_ELECTIONS * swarm->election_max_ns + LIVENESS_EXTRA_NS;
    uint64_t probe_ns = 0;
    struct sim_client *client = &sim->clients[0];
    uint64_t first_probe = client->next_sequence;
    bool full = false;
    sim->totals->covers.liveness_runs++;
    while (sim->now_ns < until_ns) {
        sim_step(sim);
        if (sim->now_ns >= probe_ns) {
            leaders_probe(sim);
            probe_ns = sim->now_ns + swarm->election_max_ns / 2;
        }
        /* Without retention a full log is a lawful answer. */
        full = full ||
               (swarm->retention_bytes == 0 && sim->totals->replies[WIRE_FULL] > sim->full_before);
        for (uint64_t i = first_probe; i < client->next_sequence; i++) {
            const struct sim_record *record = ledger_record(sim, ledger_stream(sim, 0, i), i);
            bool answered = record->word == SIM_OK || (full && record->word == SIM_REFUSED_WORD);
            if (answered && (full || all_settled(sim)) && all_have(sim, sim->commit_index)) {
                return;
            }
        }
        if (live_count(sim) > 0 && sim->commit_index > 0 && !quorum_is_left(sim)) {
            break;
        }
    }
    if (quorum_is_left(sim) && !is_used_up(sim)) {
        liveness_fail(sim);
    }
    sim->totals->covers.liveness_skipped++;
}

static void seed_end(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->swarm.client_count; i++) {
        uint64_t first = (uint64_t)(i + 1) << SIM_NUMBER_SHIFT;
        for (uint64_t k = first; k < sim->clients[i].next_sequence; k++) {
            const struct sim_record *record = ledger_record(sim, ledger_stream(sim, 0, k), k);
            sim->totals->covers.unanswered += record->word == SIM_NO_WORD;
        }
    }
    check_tables(sim);
    check_end(sim);
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        if (sim->nodes[i].state == SIM_UP || sim->nodes[i].state == SIM_MENDING) {
            node_count(sim, &sim->nodes[i]);
        }
    }
}

bool sim_goes_on(const struct sim *sim)
{
    uint64_t events = sim->swarm.chaos_events;
    if (sim->events_max > 0 && sim->events_max < events) {
        events = sim->events_max;
    }
    uint64_t until_ns = SIM_START_NS + CHAOS_ELECTIONS * sim->swarm.election_max_ns;
    return sim->events < events && sim->now_ns < until_ns;
}

/* Faults until the events are used up, then peace. */
static void chaos_play(struct sim *sim)
{
    while (sim_goes_on(sim)) {
        sim_step(sim);
    }
    chaos_heal(sim);
    sim_prove_liveness(sim);
}

bool sim_play(struct sim *sim, uint64_t seed, const struct sim_game *game)
{
    running = sim;
    bool clean = setjmp(leave) == 0;
    if (clean) {
        seed_begin(sim, seed, game);
        game->play(sim);
        seed_end(sim);
    }
    running = NULL;
    sim->totals->seeds++;
    sim->totals->events += sim->events;
    return clean;
}

bool sim_run(struct sim *sim, uint64_t seed, uint64_t events_max)
{
    static const struct sim_game chaos = {.play = chaos_play};
    sim->events_max = events_max;
    return sim_play(sim, seed, &chaos);
}
