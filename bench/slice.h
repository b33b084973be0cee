/* slice.h: one slice of load, or of floor, by the client's thread.
 *
 * What every run does whatever the replicas run in: records sent when they are due, answers taken,
 * acknowledgements told to the verifier, everything under way answered before the slice ends. Who
 * lets the replicas or the floor's nodes run meanwhile is the caller's business.
 */
#ifndef BENCH_SLICE_H
#define BENCH_SLICE_H

#include "bench/floor.h"
#include "bench/load.h"
#include "bench/verify.h"
#include "engine/client/client.h"
#include "engine/idle.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define SLICE_NS            1000000000u
#define SLICE_FLOOR_NS      500000000u /* Of the floor's rounds; its parts below come before. */
#define SLICE_FLOOR_PART_NS 20000000u
#define SLICE_FLOOR_DUE_NS  (SLICE_NS / 2) /* Of load, after which it is measured again. */
#define SLICE_DRAIN_NS      1000000000u    /* Longest wait for an answer. */

struct slice {
    struct client *client;
    struct load load;
    struct load floor_load;
    struct floor_client floor_client;
    struct verify *verify; /* NULL: nobody is told of acknowledgements. */
    struct idle idle;
    const volatile sig_atomic_t *interrupted;
    uint64_t since_floor_ns; /* Length of the load since the floor's rounds. */
    uint32_t record_bytes;
    bool (*is_full)(void *context); /* The load must wait for the verifier. */
    void *context;
};

/* A slice of load of at most `length_ns`, and the answers to what it sent. Returns how long it was,
 * the wait for the last answers left out. */
uint64_t slice_load(struct slice *slice, uint64_t length_ns);

/* Whether the floor is to be measured before there is more load: not yet where slices end early
 * again and again, or a run would spend its time on floors; always after the last. */
static inline bool slice_floor_is_due(const struct slice *slice, bool last)
{
    return last || slice->since_floor_ns >= SLICE_FLOOR_DUE_NS;
}

/* A short part of floor: echoes of the client, at least one if any comes back within
 * SLICE_DRAIN_NS, or nothing while the nodes measure. */
void slice_floor_part(struct slice *slice, bool echo);

/* The floor's rounds, for SLICE_FLOOR_NS. */
void slice_floor_rounds(struct slice *slice);

static inline bool slice_is_interrupted(const struct slice *slice)
{
    return *slice->interrupted != 0;
}

#endif
