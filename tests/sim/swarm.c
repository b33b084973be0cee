/* swarm.c: the parameters of one seed. Each kind of fault is in force in some seeds and absent in
 * others, so that no fault always hides what another would show.
 */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdio.h>

#define MS UINT64_C(1000000)
#define US UINT64_C(1000)

/* Half of the seeds have none of it, the others from nothing to `most`. */
static uint32_t maybe(struct prng *prng, uint32_t most)
{
    return prng_below(prng, 2) == 0 ? 0 : (uint32_t)prng_below(prng, (uint64_t)most + 1);
}

static void draw_timing(struct sim_swarm *swarm, struct prng *prng)
{
    bool fast = prng_below(prng, 3) > 0;
    swarm->election_min_ns = (fast ? 10 : 150) * MS;
    swarm->election_max_ns = swarm->election_min_ns * 2;
    swarm->heartbeat_ns = (fast ? 1 : 15) * MS;
    swarm->disk_stall_ns = swarm->election_max_ns * prng_between(prng, 1, 5);
    swarm->poll_gap_ns = prng_below(prng, 3) == 0 ? 0 : prng_between(prng, 1, 30) * US;
    swarm->drifts = prng_below(prng, 2) == 0;

    uint64_t unit = swarm->election_min_ns;
    swarm->delay_min_ns = prng_between(prng, 1, 20) * US;
    swarm->delay_max_ns = swarm->delay_min_ns + prng_below(prng, unit / 40);
    swarm->slow_max_ns = prng_between(prng, unit / 20, unit * 2);
    swarm->late_max_ns = prng_between(prng, unit, unit * 400);
    swarm->disk_min_ns = prng_between(prng, 10, 100) * US;
    swarm->disk_max_ns = swarm->disk_min_ns + prng_below(prng, unit / 20);
    swarm->disk_slow_max_ns = prng_between(prng, unit / 20, unit);
}

static void draw_network(struct sim_swarm *swarm, struct prng *prng)
{
    bool mild = prng_below(prng, 2) == 0;
    swarm->loss_ppm = maybe(prng, mild ? 20000 : 300000);
    swarm->duplicate_ppm = maybe(prng, mild ? 50000 : 500000);
    swarm->late_ppm = maybe(prng, 20000);
    swarm->slow_ppm = maybe(prng, 50000);
    swarm->corrupt_ppm = maybe(prng, 20000);
    swarm->truncate_ppm = maybe(prng, 10000);
    static const uint32_t frames[] = {1472, 2048, 4096, FRAME_BYTES_MAX};
    swarm->frame_bytes_max = frames[prng_below(prng, 4)];
}

static void draw_faults(struct sim_swarm *swarm, struct prng *prng)
{
    swarm->disk_slow_ppm = maybe(prng, 50000);
    swarm->write_error_ppm = maybe(prng, 1000);
    swarm->fault_gap_ns = swarm->election_max_ns * prng_between(prng, 1, 12);
    swarm->weight_crash = maybe(prng, 10);
    swarm->weight_power_cut = maybe(prng, 4);
    swarm->weight_cut = maybe(prng, 10);
    swarm->weight_stall = maybe(prng, 6);
    swarm->weight_freeze = maybe(prng, 6);
    swarm->weight_rot = maybe(prng, 4);
    swarm->promise_crash_ppm = maybe(prng, 20000);
    swarm->recovery_crash_ppm = maybe(prng, 300000);
    swarm->tears = prng_below(prng, 4) == 0;
    /* Fewer than half may ever be damaged, and one alone rots: some quorum keeps every entry. */
    uint32_t count = swarm->node_count;
    swarm->rot_node = (uint32_t)prng_below(prng, count);
    swarm->damage_set = count < 3 ? 0 : 1ull << swarm->rot_node;
    if (count == 5) {
        swarm->damage_set |= 1ull << prng_below(prng, count);
    }
    if (swarm->damage_set == 0) {
        swarm->weight_rot = 0;
    }
    if (prng_below(prng, 12) == 0) {
        swarm->fault_gap_ns = 0; /* Nothing strikes: the weather alone. */
    }
}

static void draw_load(struct sim_swarm *swarm, struct prng *prng)
{
    static const uint32_t smalls[] = {0, 16, 64, 256, 2000};
    swarm->client_count = (uint32_t)prng_between(prng, 1, SIM_CLIENTS_MAX);
    swarm->request_gap_ns = prng_between(prng, 20 * US, swarm->election_min_ns / 4);
    bool crowd = prng_below(prng, 8) == 0;
    bool lone = !crowd && prng_below(prng, 2) == 0;
    swarm->records_max = lone ? 1 : (uint32_t)prng_between(prng, 2, 24);
    swarm->records_min = 1;
    swarm->small_max = smalls[prng_below(prng, 5)];
    if (crowd) { /* Entries get as many records of sessions as they may hold. */
        swarm->client_count = SIM_CLIENTS_MAX;
        swarm->request_gap_ns = prng_between(prng, 20 * US, 200 * US);
        swarm->small_max = 0;
        swarm->records_max = SIM_REQUEST_RECORDS;
        swarm->records_min = SIM_REQUEST_RECORDS - 3;
    }
    swarm->large_ppm = crowd ? 0 : maybe(prng, 60000);
    swarm->read_ppm = maybe(prng, 200000);
    swarm->operator_ppm = maybe(prng, 20000);
    uint64_t ring_bytes = SIM_SEGMENTS * SIM_SEGMENT_BYTES;
    swarm->retention_bytes =
        prng_below(prng, 8) == 0 ? 0 : prng_between(prng, ring_bytes / 4, ring_bytes / 2);
    swarm->window_bytes = WRITE_WINDOW_BYTES;
}

static void draw_sessions(struct sim_swarm *swarm, struct prng *prng)
{
    swarm->plain_ppm = prng_below(prng, 8) == 0 ? 1000000 : maybe(prng, 400000);
    swarm->condition_ppm = maybe(prng, 300000);
    swarm->restart_ppm = maybe(prng, 10000);
    swarm->ghost_ppm = maybe(prng, 100000);
    swarm->again_ppm = maybe(prng, 100000);
    swarm->all_ppm = maybe(prng, 100000);
    swarm->anonymous_ppm = maybe(prng, 800000);
    swarm->back_ppm = maybe(prng, 1000000);
    swarm->names = prng_below(prng, 3) == 0 ? (uint32_t)prng_between(prng, 1, 3) : 0;
    swarm->retry_ns = prng_between(prng, swarm->election_min_ns / 20, swarm->election_min_ns);
    /* A herd fills the table: what gives way is asked for again. */
    bool herd = prng_below(prng, 16) == 0;
    if (herd) {
        swarm->herd_ppm = (uint32_t)prng_between(prng, 1000, 30000);
        swarm->herd_named = prng_below(prng, 2) == 0;
        swarm->anonymous_ppm = 700000;
        swarm->restart_ppm = 5000;
        swarm->ghost_ppm = 200000;
    }
}

void swarm_draw(struct sim_swarm *swarm, struct prng *prng)
{
    static const uint32_t counts[] = {1, 3, 3, 3, 3, 3, 3, 5, 5};
    *swarm = (struct sim_swarm){.node_count = counts[prng_below(prng, 9)]};
    draw_timing(swarm, prng);
    draw_network(swarm, prng);
    draw_faults(swarm, prng);
    draw_load(swarm, prng);
    draw_sessions(swarm, prng);
    for (uint32_t i = 0; i < SIM_NODES_MAX; i++) {
        static const uint32_t frames[] = {ENTRY_FRAME_BYTES_MIN, FRAME_BYTES_USUAL, 4096};
        bool less = prng_below(prng, 4) == 0;
        uint32_t own = less ? frames[prng_below(prng, 3)] : swarm->frame_bytes_max;
        swarm->frame_bytes[i] = own < swarm->frame_bytes_max ? own : swarm->frame_bytes_max;
    }
    swarm->way_bytes = prng_below(prng, 2) == 0 ? FRAME_BYTES_USUAL : 1300;
    swarm->way_ns = prng_below(prng, 3) > 0
                        ? SIM_NEVER
                        : SIM_START_NS + prng_below(prng, 40 * swarm->election_max_ns);
    /* Mostly a moment; now and then longer than an office lasts. */
    swarm->late_read_ppm = maybe(prng, 100000);
    swarm->late_read_max_ns =
        prng_below(prng, 3) == 0 ? swarm->election_max_ns * 4 : swarm->election_min_ns / 20;
    swarm->chaos_events = prng_between(prng, 8000, 40000);
    swarm->scrub_bytes_per_s = prng_below(prng, 4) == 0 ? 0 : prng_between(prng, 1, 64) << 20;
    swarm->scrub_every_ns = prng_between(prng, 10 * MS, 500 * MS);
}

void swarm_print(const struct sim_swarm *s)
{
    fprintf(stderr,
            "swarm: %u nodes, %u clients, election %" PRIu64 " ms, frame %u, retention %" PRIu64
            ", loss %u duplicate %u late %u slow %u corrupt %u truncate %u ppm, fault gap %" PRIu64
            " us, crash %u power %u cut %u stall %u freeze %u rot %u, damage %" PRIx64
            " tears %d, requests every %" PRIu64 " us of up to %u records\n",
            s->node_count, s->client_count, s->election_min_ns / MS, s->frame_bytes_max,
            s->retention_bytes, s->loss_ppm, s->duplicate_ppm, s->late_ppm, s->slow_ppm,
            s->corrupt_ppm, s->truncate_ppm, s->fault_gap_ns / US, s->weight_crash,
            s->weight_power_cut, s->weight_cut, s->weight_stall, s->weight_freeze, s->weight_rot,
            s->damage_set, s->tears, s->request_gap_ns / US, s->records_max);
}
