/* chaos.c: when which fault strikes, and the end of all of them. */
#include "tests/sim/sim.h"

static uint64_t election_ns(struct sim *sim, uint64_t least_parts, uint64_t most_parts)
{
    uint64_t unit = sim->swarm.election_max_ns / 100;
    return prng_between(&sim->random_chaos, least_parts * unit, most_parts * unit);
}

void chaos_plan(struct sim *sim)
{
    if (sim->swarm.fault_gap_ns == 0) {
        return;
    }
    sim->strike_planned = true;
    uint64_t gap_ns = prng_between(&sim->random_chaos, 1, 2 * sim->swarm.fault_gap_ns);
    queue_put(&sim->queue, &(struct sim_event){.at_ns = sim->now_ns + gap_ns, .kind = SIM_STRIKE});
}

uint64_t chaos_down_ns(struct sim *sim)
{
    /* Short ones come back within the election that their crash began. */
    return prng_below(&sim->random_chaos, 2) == 0 ? election_ns(sim, 0, 50)
                                                  : election_ns(sim, 10, 800);
}

static void cut(struct sim *sim, uint32_t from, uint32_t to, uint64_t duration_ns)
{
    uint64_t until_ns = sim->now_ns + duration_ns;
    if (sim->cut_until_ns[from][to] < until_ns) {
        sim->cut_until_ns[from][to] = until_ns;
    }
}

static void strike_stall(struct sim *sim, struct sim_node *node, uint64_t most_ns)
{
    uint64_t until_ns = sim->now_ns + prng_between(&sim->random_chaos, 1000000, most_ns);
    sim->totals->faults.disk_stall++;
    node->disk.stalled_until_ns = until_ns;
    SIM_TRACE(sim, "node %u: its disk stalls", node->disk.node + 1);
}

/* A node to strike: half of the time whoever leads, as most known bugs need just that. */
static uint32_t victim(struct sim *sim)
{
    uint32_t number = (uint32_t)prng_below(&sim->random_chaos, sim->swarm.node_count);
    bool leader = prng_below(&sim->random_chaos, 2) == 0;
    for (uint32_t i = 0; leader && i < sim->swarm.node_count; i++) {
        number = sim->nodes[i].state == SIM_UP && sim->nodes[i].leads ? i : number;
    }
    return number;
}

/* One node alone, one direction of it, two halves, one link, one direction of one link. Now and
 * then the disk of that node stalls too: its own entries are still on their way when others'
 * replace them. */
static void strike_cut(struct sim *sim)
{
    uint32_t count = sim->swarm.node_count;
    uint32_t one = victim(sim);
    uint32_t other = (uint32_t)prng_below(&sim->random_chaos, count);
    uint64_t half = prng_next(&sim->random_chaos);
    uint64_t duration_ns = election_ns(sim, 20, 1500);
    uint64_t kind = prng_below(&sim->random_chaos, 6);
    bool symmetric = kind == 0 || kind == 3 || kind == 4;
    for (uint32_t from = 0; from < count; from++) {
        for (uint32_t to = 0; to < count; to++) {
            bool hit =
                (kind == 0 && (from == one || to == one)) || (kind == 1 && from == one) ||
                (kind == 2 && to == one) || (kind == 3 && (half >> from & 1) != (half >> to & 1)) ||
                (kind == 4 && ((from == one && to == other) || (from == other && to == one))) ||
                (kind == 5 && from == one && to == other);
            if (hit && from != to) {
                cut(sim, from, to, duration_ns);
            }
        }
    }
    sim->totals->faults.cut_symmetric += symmetric;
    sim->totals->faults.cut_asymmetric += !symmetric;
    SIM_TRACE(sim, "cut of kind %lu around node %u", kind, one + 1);
    if (prng_below(&sim->random_chaos, 3) == 0) {
        strike_stall(sim, &sim->nodes[one], duration_ns * 3 / 2);
    }
}

/* Less than an election timeout late, so that a leader stays one while it can. */
static void strike_echo(struct sim *sim)
{
    struct sim_echo *echo = &sim->echo;
    uint64_t unit = sim->swarm.election_min_ns / 100;
    echo->node = victim(sim);
    echo->lag_ns = prng_between(&sim->random_chaos, 30 * unit, 95 * unit);
    echo->mute_ns = sim->now_ns + echo->lag_ns + election_ns(sim, 10, 50);
    echo->until_ns = echo->mute_ns + election_ns(sim, 100, 300);
    sim->totals->faults.echo++;
    SIM_TRACE(sim, "node %u hears an echo", echo->node + 1);
}

static void strike_power(struct sim *sim)
{
    sim->totals->faults.power_cut++;
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        if (sim->nodes[i].state == SIM_UP || sim->nodes[i].state == SIM_MENDING) {
            node_crash(sim, i, chaos_down_ns(sim));
        }
    }
}

static void strike_rot(struct sim *sim)
{
    uint32_t number = sim->swarm.rot_node;
    if (prng_below(&sim->random_chaos, 3) == 0) {
        number = victim(sim); /* If it is one of those that may be damaged. */
    }
    if (platter_may_damage(sim, number)) {
        platter_rot(sim, &sim->nodes[number]);
    }
}

void chaos_strike(struct sim *sim)
{
    const struct sim_swarm *swarm = &sim->swarm;
    const uint32_t weights[] = {swarm->weight_crash, swarm->weight_power_cut, swarm->weight_cut,
                                swarm->weight_stall, swarm->weight_freeze,    swarm->weight_rot};
    uint32_t total = 0;
    for (uint32_t i = 0; i < 6; i++) {
        total += weights[i];
    }
    sim->strike_planned = false;
    if (sim->calm || total == 0) {
        return;
    }
    uint64_t draw = prng_below(&sim->random_chaos, total);
    uint32_t number = victim(sim);
    struct sim_node *node = &sim->nodes[number];
    uint32_t kind = 0;
    while (draw >= weights[kind]) {
        draw -= weights[kind++];
    }
    if (kind == 0 && (node->state == SIM_UP || node->state == SIM_MENDING)) {
        sim->totals->faults.crash++;
        node_crash(sim, number, chaos_down_ns(sim));
    } else if (kind == 1) {
        strike_power(sim);
    } else if (kind == 2 && sim->now_ns > sim->echo.until_ns &&
               prng_below(&sim->random_chaos, 4) == 0) {
        strike_echo(sim);
    } else if (kind == 2) {
        strike_cut(sim);
    } else if (kind == 3) {
        strike_stall(sim, node, swarm->disk_stall_ns * 2);
    } else if (kind == 4) {
        sim->totals->faults.freeze++;
        node->frozen_until_ns = sim->now_ns + election_ns(sim, 5, 300);
        SIM_TRACE(sim, "node %u freezes", number + 1);
    } else if (kind == 5) {
        strike_rot(sim);
    }
    chaos_plan(sim);
}

void chaos_calm(struct sim *sim)
{
    sim->calm = true;
    sim->echo.until_ns = 0;
    for (uint32_t from = 0; from < SIM_ENDPOINTS_MAX; from++) {
        for (uint32_t to = 0; to < SIM_ENDPOINTS_MAX; to++) {
            sim->cut_until_ns[from][to] = 0;
        }
    }
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        sim->nodes[i].disk.stalled_until_ns = 0;
        sim->nodes[i].frozen_until_ns = 0;
    }
}

void chaos_heal(struct sim *sim)
{
    chaos_calm(sim);
    SIM_TRACE(sim, "all is healed");
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        /* What rotted while it ran must be found at its next start: now. */
        node->disk.writes_left = -1;
        if (node->state == SIM_UP && (node->damaged || node->write_failed)) {
            node_crash(sim, i, sim->swarm.election_min_ns);
        } else if (node->state == SIM_UP || node->state == SIM_MENDING) {
            node_wake(sim, i);
        } else if (node->state == SIM_DOWN) {
            node_restart(sim, i);
        }
    }
}
