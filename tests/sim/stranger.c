/* stranger.c: a host that is no node and no client, and what a node may be made to send.
 *
 * It hears frames on their way and sends, from its own address, what a sender of ill will or a
 * confused one may: garbage, frames of another cluster, frames of nodes as they were and with other
 * words in them, their checksums mended; and frames of clients as they were, which are theirs by
 * every byte and are answered. It is part of the weather of some seeds and has random numbers of
 * its own, so that the others are as they would be without it.
 *
 * What a node may send is counted from what it got: a host that is no node hears no more frames
 * than its own sound ones may cause, and a peer no more than one poll may send to it.
 */
#include "tests/sim/sim.h"

#include "tests/support/frames.h"

#include <string.h>

#define KIND_OFFSET    6u
#define FROM_OFFSET    8u
#define TO_OFFSET      9u
#define CLUSTER_OFFSET 24u
#define TERM_OFFSET    56u
#define SESSION_OFFSET WIRE_HEADER_BYTES /* Of a REQUEST. */
#define GARBAGE_MAX    2000u

void stranger_begin(struct sim *sim)
{
    struct sim_stranger *stranger = &sim->stranger;
    struct prng *prng = &sim->random_stranger;
    bool there = prng_below(prng, 4) == 0;
    stranger->ppm = there ? (uint32_t)prng_between(prng, 1000, 200000) : 0;
    stranger->captured_count = 0;
    memset(stranger->owed, 0, sizeof stranger->owed);
}

/* ---- What a node may be made to send. ---- */

/* How many frames go back to the sender of a sound question at most. */
static uint32_t answers_max(uint8_t kind)
{
    return kind == WIRE_REQUEST ? REQUEST_ANSWERS_MAX : 1;
}

void stranger_count_heard(struct sim *sim, uint32_t node, const struct sim_frame *frame)
{
    struct wire_self self = {
        .cluster = SIM_CLUSTER,
        .group = SIM_GROUP,
        .node = (uint8_t)(node + 1),
    };
    struct wire_counters counters = {0};
    struct wire_frame decoded;
    if (frame->from >= sim->swarm.node_count &&
        wire_decode(&self, frame->data, frame->bytes, &decoded, &counters) == WIRE_DROP_ok) {
        sim->stranger.owed[node][frame->from] += answers_max(decoded.header.kind);
    }
}

void stranger_forget(struct sim *sim, uint32_t node)
{
    memset(sim->stranger.owed[node], 0, sizeof sim->stranger.owed[node]);
}

void stranger_check_sent(struct sim *sim, uint32_t node, uint32_t to)
{
    uint32_t *sent = sim->nodes[node].sent_now;
    if (to < sim->swarm.node_count) {
        if (++sent[to] > PEER_FRAMES_PER_POLL) {
            sim_violation(sim, "node %u sends more than %u frames to node %u in one poll", node + 1,
                          PEER_FRAMES_PER_POLL, to + 1);
        }
        return;
    }
    if (sim->stranger.owed[node][to] == 0) {
        sim_violation(sim, "node %u sends to %u, which has asked for nothing more", node + 1,
                      to + 1);
    }
    sim->stranger.owed[node][to]--;
    sim->totals->covers.stranger_answers += to == SIM_STRANGER;
}

/* ---- What the stranger sends. ---- */

/* A client's frame that may come twice: a record without a session would rightly be two. */
static bool may_repeat(const struct sim_captured *captured)
{
    static const uint8_t no_session[8];
    return captured->data[KIND_OFFSET] == WIRE_READ || captured->data[KIND_OFFSET] == WIRE_OPEN ||
           (captured->data[KIND_OFFSET] == WIRE_REQUEST &&
            memcmp(captured->data + SESSION_OFFSET, no_session, sizeof no_session) != 0);
}

static uint32_t garbage_make(struct sim *sim, uint8_t *bytes)
{
    struct prng *prng = &sim->random_stranger;
    uint32_t count = (uint32_t)prng_between(prng, 1, GARBAGE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)prng_next(prng);
    }
    return count;
}

/* Words that would be believed if they came from a node: a term, an index, whatever stands there.
 */
static void words_change(struct sim *sim, uint8_t *bytes, uint32_t count)
{
    struct prng *prng = &sim->random_stranger;
    uint64_t changes = prng_between(prng, 1, 3);
    for (uint64_t i = 0; i < changes; i++) {
        uint32_t at = (uint32_t)prng_between(prng, TERM_OFFSET / 8, count / 8 - 1) * 8;
        at = prng_below(prng, 3) == 0 ? TERM_OFFSET : at;
        uint64_t word;
        memcpy(&word, bytes + at, sizeof word);
        word += prng_between(prng, 1, 1000);
        memcpy(bytes + at, &word, sizeof word);
    }
}

/* A frame that was heard, changed as the kind wants. 0: not this one. */
static uint32_t
captured_make(struct sim *sim, const struct sim_captured *captured, uint64_t kind, uint8_t *bytes)
{
    struct sim_fault_counters *faults = &sim->totals->faults;
    bool of_node = captured->data[FROM_OFFSET] != 0;
    memcpy(bytes, captured->data, captured->bytes);
    if (kind == 0) {
        bytes[CLUSTER_OFFSET + prng_below(&sim->random_stranger, 8)] ^= 1;
        frame_mend(bytes, captured->bytes);
        faults->stranger_cluster++;
        return captured->bytes;
    }
    if (!of_node) {
        faults->stranger_question += may_repeat(captured);
        return may_repeat(captured) ? captured->bytes : 0;
    }
    faults->stranger_replay += kind == 1;
    faults->stranger_forgery += kind != 1;
    if (kind != 1) {
        words_change(sim, bytes, captured->bytes);
        frame_mend(bytes, captured->bytes);
    }
    return captured->bytes;
}

static void act(struct sim *sim)
{
    static uint8_t bytes[FRAME_BYTES_MAX];
    struct sim_stranger *stranger = &sim->stranger;
    struct prng *prng = &sim->random_stranger;
    uint32_t to = (uint32_t)prng_below(prng, sim->swarm.node_count);
    uint32_t count = 0;
    if (stranger->captured_count == 0 || prng_below(prng, 5) == 0) {
        count = garbage_make(sim, bytes);
        sim->totals->faults.stranger_garbage++;
    } else {
        uint32_t held = stranger->captured_count < SIM_CAPTURED_MAX ? stranger->captured_count
                                                                    : SIM_CAPTURED_MAX;
        const struct sim_captured *captured = &stranger->captured[prng_below(prng, held)];
        count = captured_make(sim, captured, prng_below(prng, 4), bytes);
        to = captured->to;
    }
    if (count > 0) {
        link_inject(sim, SIM_STRANGER, to, bytes, count);
    }
}

void stranger_hear(struct sim *sim, const struct sim_frame *frame)
{
    struct sim_stranger *stranger = &sim->stranger;
    struct prng *prng = &sim->random_stranger;
    if (sim->calm || frame->to >= sim->swarm.node_count || frame->from == SIM_STRANGER ||
        !sim_happens(prng, stranger->ppm)) {
        return;
    }
    if (prng_below(prng, 2) == 0) {
        struct sim_captured *captured =
            &stranger->captured[stranger->captured_count++ % SIM_CAPTURED_MAX];
        captured->to = frame->to;
        captured->bytes = frame->bytes;
        memcpy(captured->data, frame->data, frame->bytes);
    }
    act(sim);
}
