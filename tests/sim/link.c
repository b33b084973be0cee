/* link.c: the nic of a simulated node, and the network between: it loses, repeats (soon or much
 * later, across restarts), delays, reorders, corrupts, truncates and cuts, each direction for
 * itself.
 *
 * A nic reads a pinned body when it pleases: at once, or much later, while its pages stay pinned.
 * By then it must be what it was. What frames say is judged when they are sent.
 *
 * Requests without a session are never repeated: two copies would rightly be two records.
 */
#include "tests/sim/sim.h"

#include "engine/base/crc.h"

#include <string.h>

#define ADDRESS_BASE 0x0a000001u
#define PORT         7000u

struct nic_address link_address(uint32_t endpoint)
{
    return (struct nic_address){.ipv4 = ADDRESS_BASE + endpoint, .port = PORT};
}

static uint32_t frame_take(struct sim *sim)
{
    return sim->frame_free_count == 0 ? UINT32_MAX : sim->frame_free[--sim->frame_free_count];
}

void link_release(struct sim *sim, uint32_t slot)
{
    ASSERT(slot < SIM_FRAMES_MAX);
    ASSERT(sim->frame_free_count < SIM_FRAMES_MAX);
    sim->frame_free[sim->frame_free_count++] = slot;
}

void link_reset(struct sim *sim)
{
    memset(sim->cut_until_ns, 0, sizeof sim->cut_until_ns);
    memset(sim->sent_order, 0, sizeof sim->sent_order);
    memset(sim->arrived_order, 0, sizeof sim->arrived_order);
    sim->late_count = 0;
    sim->frame_free_count = 0;
    for (uint32_t slot = SIM_FRAMES_MAX; slot > 0; slot--) {
        sim->frame_free[sim->frame_free_count++] = slot - 1;
    }
}

static uint32_t rx_burst(struct nic *nic, struct nic_frame *frames, uint32_t frames_max)
{
    struct sim_nic *port = (struct sim_nic *)(void *)nic;
    uint32_t count = port->rx_count < frames_max ? port->rx_count : frames_max;
    for (uint32_t i = 0; i < count; i++) {
        struct sim_frame *frame = &port->sim->frames[port->rx[port->rx_head]];
        port->rx_head = (port->rx_head + 1) % SIM_RX_MAX;
        frames[i] = (struct nic_frame){
            .data = frame->data,
            .bytes = frame->bytes,
            .from = link_address(frame->from),
            .owner = frame,
        };
    }
    port->rx_count -= count;
    nic->counters.rx_frames += count;
    return count;
}

static void rx_release(struct nic *nic, const struct nic_frame *frames, uint32_t count)
{
    struct sim_nic *port = (struct sim_nic *)(void *)nic;
    for (uint32_t i = 0; i < count; i++) {
        struct sim_frame *frame = frames[i].owner;
        /* What is read after its release must not look right. */
        memset(frame->data, 0xdb, WIRE_HEADER_BYTES);
        link_release(port->sim, (uint32_t)(frame - port->sim->frames));
    }
}

static uint32_t tx_burst(struct nic *nic, const struct nic_send *sends, uint32_t count)
{
    struct sim_nic *port = (struct sim_nic *)(void *)nic;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t to = sends[i].to.ipv4 - ADDRESS_BASE;
        ASSERT(to < SIM_ENDPOINTS_MAX);
        ASSERT(sends[i].to.port == PORT);
        ASSERT(sends[i].head_bytes + sends[i].body_bytes <= nic->frame_bytes_max);
        link_send(port->sim, port->endpoint, to, &sends[i], false);
    }
    nic->counters.tx_frames += count;
    return count;
}

static int wait_fd(const struct nic *nic)
{
    (void)nic;
    return -1;
}

static void close_nothing(struct nic *nic)
{
    (void)nic;
}

static const struct nic_ops link_ops = {
    .rx_burst = rx_burst,
    .rx_release = rx_release,
    .tx_burst = tx_burst,
    .wait_fd = wait_fd,
    .close = close_nothing,
};

void link_open(struct sim *sim, struct sim_nic *nic, uint32_t endpoint)
{
    *nic = (struct sim_nic){
        .nic = {.ops = &link_ops,
                .self = link_address(endpoint),
                .frame_bytes_max = sim->swarm.frame_bytes[endpoint]},
        .sim = sim,
        .endpoint = endpoint,
    };
}

void link_drop(struct sim *sim, struct sim_nic *nic)
{
    while (nic->rx_count > 0) {
        link_release(sim, nic->rx[nic->rx_head]);
        nic->rx_head = (nic->rx_head + 1) % SIM_RX_MAX;
        nic->rx_count--;
    }
}

static uint64_t delay_ns(struct sim *sim)
{
    const struct sim_swarm *swarm = &sim->swarm;
    uint64_t delay = prng_between(&sim->random_net, swarm->delay_min_ns, swarm->delay_max_ns);
    if (!sim->calm && sim_happens(&sim->random_net, swarm->slow_ppm)) {
        sim->totals->faults.slow_frame++;
        delay += prng_below(&sim->random_net, swarm->slow_max_ns);
    }
    return delay;
}

static void frame_plan(struct sim *sim, uint32_t slot, uint64_t after_ns)
{
    struct sim_frame *frame = &sim->frames[slot];
    queue_put(&sim->queue, &(struct sim_event){.at_ns = sim->now_ns + after_ns,
                                               .kind = SIM_FRAME,
                                               .target = frame->to,
                                               .slot = slot});
}

static void frame_damage(struct sim *sim, struct sim_frame *frame)
{
    const struct sim_swarm *swarm = &sim->swarm;
    struct prng *prng = &sim->random_net;
    if (sim_happens(prng, swarm->corrupt_ppm)) {
        sim->totals->faults.corrupt++;
        uint64_t flips = prng_between(prng, 1, 4);
        for (uint64_t i = 0; i < flips; i++) {
            uint64_t at = prng_below(prng, frame->bytes);
            frame->data[at] ^= (uint8_t)prng_between(prng, 1, 255);
        }
    }
    if (sim_happens(prng, swarm->truncate_ppm)) {
        sim->totals->faults.truncate++;
        frame->bytes = (uint32_t)prng_below(prng, frame->bytes + 1);
    }
}

static void frame_repeat(struct sim *sim, const struct sim_frame *frame)
{
    const struct sim_swarm *swarm = &sim->swarm;
    struct prng *prng = &sim->random_net;
    bool late = sim_happens(prng, swarm->late_ppm) && sim->late_count < SIM_LATE_MAX;
    if (!late && !sim_happens(prng, swarm->duplicate_ppm)) {
        return;
    }
    uint32_t slot = frame_take(sim);
    if (slot == UINT32_MAX) {
        return;
    }
    struct sim_frame *copy = &sim->frames[slot];
    memcpy(copy, frame, offsetof(struct sim_frame, data) + frame->bytes);
    copy->late = late;
    copy->copy = true;
    if (late) {
        sim->late_count++;
        sim->totals->faults.late_duplicate++;
        frame_plan(sim, slot, prng_below(prng, swarm->late_max_ns));
        return;
    }
    sim->totals->faults.duplicate++;
    frame_plan(sim, slot, delay_ns(sim));
}

/* What the echo does to frames between nodes. */
static bool echo_mutes(const struct sim *sim, uint32_t from, uint32_t to)
{
    const struct sim_echo *echo = &sim->echo;
    return from == echo->node && to < sim->swarm.node_count && sim->now_ns >= echo->mute_ns &&
           sim->now_ns < echo->until_ns;
}

static uint64_t echo_lag_ns(const struct sim *sim, uint32_t from, uint32_t to)
{
    bool heard = to == sim->echo.node && from < sim->swarm.node_count;
    return heard && sim->now_ns < sim->echo.until_ns ? sim->echo.lag_ns : 0;
}

/* For the receiver's port, or for what lies between. Clients' frames are not cut to either. */
static bool is_too_large(const struct sim *sim, const struct sim_frame *frame)
{
    const struct sim_swarm *swarm = &sim->swarm;
    if (frame->from >= swarm->node_count || frame->to >= swarm->node_count) {
        return false;
    }
    bool narrow = sim->now_ns >= swarm->way_ns && frame->bytes > swarm->way_bytes;
    return narrow || frame->bytes > swarm->frame_bytes[frame->to];
}

/* A frame whose bytes are there goes on its way. */
static void frame_leave(struct sim *sim, uint32_t slot, bool once)
{
    struct sim_frame *frame = &sim->frames[slot];
    uint32_t from = frame->from;
    uint32_t to = frame->to;
    stranger_hear(sim, frame);
    if (sim->cut_until_ns[from][to] > sim->now_ns || echo_mutes(sim, from, to)) {
        sim->totals->faults.frame_cut++;
        link_release(sim, slot);
        return;
    }
    if (is_too_large(sim, frame)) { /* Also when all else is healed: streams adapt. */
        sim->totals->faults.too_large++;
        link_release(sim, slot);
        return;
    }
    if (!sim->calm && sim_happens(&sim->random_net, sim->swarm.loss_ppm)) {
        sim->totals->faults.loss++;
        link_release(sim, slot);
        return;
    }
    if (!sim->calm && !once) {
        frame_repeat(sim, frame);
    }
    if (!sim->calm) {
        frame_damage(sim, frame);
    }
    if (frame->bytes == 0) {
        link_release(sim, slot);
        return;
    }
    frame_plan(sim, slot, delay_ns(sim) + echo_lag_ns(sim, from, to));
}

/* The nic keeps the body for later. */
static void read_later(struct sim *sim, uint32_t slot, const struct nic_send *send)
{
    struct sim_frame *frame = &sim->frames[slot];
    struct sim_node *node = &sim->nodes[frame->from];
    frame->body = send->body;
    frame->body_bytes = send->body_bytes;
    frame->body_crc = crc32c(0, send->body, send->body_bytes);
    frame->pin = send->pin;
    nic_pin_raise(&frame->pin);
    sim->totals->faults.late_read++;
    queue_put(&sim->queue,
              &(struct sim_event){
                  .at_ns = sim->now_ns + prng_below(&sim->random_read, sim->swarm.late_read_max_ns),
                  .kind = SIM_READ,
                  .target = frame->from,
                  .slot = slot,
                  .life = node->life,
              });
}

/* A frame without its bytes yet; UINT32_MAX: the network is full. */
static uint32_t frame_begin(struct sim *sim, uint32_t from, uint32_t to, uint32_t byte_count)
{
    uint32_t slot = frame_take(sim);
    if (slot == UINT32_MAX || sim->queue.count + 8 >= SIM_EVENTS_MAX) {
        sim->totals->faults.rx_overflow++;
        if (slot != UINT32_MAX) {
            link_release(sim, slot);
        }
        return UINT32_MAX;
    }
    struct sim_frame *frame = &sim->frames[slot];
    ASSERT(byte_count <= sizeof frame->data);
    frame->from = (uint8_t)from;
    frame->to = (uint8_t)to;
    frame->late = false;
    frame->copy = false;
    frame->order = ++sim->sent_order[from][to];
    frame->bytes = byte_count;
    return slot;
}

void link_inject(
    struct sim *sim, uint32_t from, uint32_t to, const uint8_t *bytes, uint32_t byte_count)
{
    uint32_t slot = frame_begin(sim, from, to, byte_count);
    if (slot == UINT32_MAX) {
        return;
    }
    struct sim_frame *frame = &sim->frames[slot];
    frame->copy = true;
    memcpy(frame->data, bytes, byte_count);
    frame_plan(sim, slot, prng_between(&sim->random_stranger, 1, sim->swarm.slow_max_ns));
}

void link_send(struct sim *sim, uint32_t from, uint32_t to, const struct nic_send *send, bool once)
{
    uint32_t slot = frame_begin(sim, from, to, send->head_bytes + send->body_bytes);
    if (slot == UINT32_MAX) {
        return;
    }
    struct sim_frame *frame = &sim->frames[slot];
    memcpy(frame->data, send->head, send->head_bytes);
    if (send->body_bytes > 0) {
        memcpy(frame->data + send->head_bytes, send->body, send->body_bytes);
    }
    if (from < sim->swarm.node_count) {
        check_sent(sim, from, to, frame);
    }
    if (!sim->calm && send->pin.pages != NULL && from < sim->swarm.node_count &&
        sim_happens(&sim->random_read, sim->swarm.late_read_ppm)) {
        read_later(sim, slot, send);
        return;
    }
    frame_leave(sim, slot, once);
}

void link_read(struct sim *sim, const struct sim_event *event)
{
    struct sim_frame *frame = &sim->frames[event->slot];
    ASSERT(frame->from == event->target);
    if (crc32c(0, frame->body, frame->body_bytes) != frame->body_crc) {
        sim_violation(sim, "node %u has written where its nic was still reading", frame->from + 1u);
    }
    memcpy(frame->data + frame->bytes - frame->body_bytes, frame->body, frame->body_bytes);
    nic_pin_lower(&frame->pin);
    frame_leave(sim, event->slot, false);
}

/* Count a frame that one sent later on the same link has overtaken. */
static void overtaken_count(struct sim *sim, const struct sim_frame *frame)
{
    uint64_t *highest = &sim->arrived_order[frame->from][frame->to];
    if (frame->order > *highest) {
        *highest = frame->order;
    } else if (frame->order < *highest && !frame->copy) {
        sim->totals->faults.frame_reorder++;
    }
}

bool link_deliver(struct sim *sim, const struct sim_event *event)
{
    struct sim_frame *frame = &sim->frames[event->slot];
    ASSERT(frame->to == event->target);
    if (frame->late) {
        sim->late_count--;
    }
    overtaken_count(sim, frame);
    sim_hash(sim, ((uint64_t)frame->to << 40 | (uint64_t)frame->from << 32) |
                      crc32c(0, frame->data, frame->bytes));
    if (event->target == SIM_STRANGER) {
        link_release(sim, event->slot);
        return true;
    }
    if (event->target >= sim->swarm.node_count) {
        client_take(sim, event->target - sim->swarm.node_count, frame);
        link_release(sim, event->slot);
        return true;
    }
    struct sim_node *node = &sim->nodes[event->target];
    bool listens = node->state == SIM_UP || node->state == SIM_MENDING;
    if (!listens || node->nic.rx_count == SIM_RX_MAX) {
        sim->totals->faults.rx_overflow += listens;
        link_release(sim, event->slot);
        return false;
    }
    stranger_count_heard(sim, event->target, frame);
    node->nic.rx[(node->nic.rx_head + node->nic.rx_count++) % SIM_RX_MAX] = event->slot;
    node_wake(sim, event->target);
    return true;
}
