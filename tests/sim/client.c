/* client.c: the load of clients: requests without a session, each sent once, reads, an operator's
 * orders; and the frames of all their requests.
 *
 * Length and payload of a record are functions of (seed, session, sequence), so that anybody can
 * say from the log alone whether it holds what was sent.
 */
#include "tests/sim/sim.h"

#include "engine/base/crc.h"

#include <string.h>

#define REQUEST_BYTES_MAX (RECORD_HEADER_BYTES + RECORD_BYTES_MAX)
#define TO_BOOT_OFFSET    48u /* Of header.to_boot in a frame: docs/PROTOCOL.md. */
#define MILLION           1000000u

/* ---- Records. ---- */

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

static uint64_t payload_seed(uint64_t seed, uint64_t session, uint64_t sequence)
{
    return mix(seed ^ mix(sequence * 64 + 1 + mix(session)));
}

void record_fill(uint64_t seed, uint64_t session, uint64_t sequence, uint8_t *to, uint32_t bytes)
{
    uint64_t word = payload_seed(seed, session, sequence);
    for (uint32_t at = 0; at < bytes; at += 8) {
        uint32_t count = bytes - at < 8 ? bytes - at : 8;
        memcpy(to + at, &word, count);
        word += 0x9e3779b97f4a7c15u;
    }
}

bool record_is(
    uint64_t seed, uint64_t session, uint64_t sequence, const uint8_t *from, uint32_t bytes)
{
    uint64_t word = payload_seed(seed, session, sequence);
    uint64_t wrong = 0;
    for (uint32_t at = 0; at < bytes; at += 8) {
        uint32_t count = bytes - at < 8 ? bytes - at : 8;
        uint64_t expected = 0;
        uint64_t found = 0;
        memcpy(&expected, &word, count);
        memcpy(&found, from + at, count);
        wrong |= expected ^ found;
        word += 0x9e3779b97f4a7c15u;
    }
    return wrong == 0;
}

uint32_t record_bytes(const struct sim *sim, uint64_t session, uint64_t sequence)
{
    const struct sim_swarm *swarm = &sim->swarm;
    uint64_t draw = mix(payload_seed(sim->seed, session, sequence));
    if (draw % MILLION >= swarm->large_ppm) {
        return (uint32_t)((draw >> 32) % ((uint64_t)swarm->small_max + 1));
    }
    return draw >> 62 == 0 ? RECORD_BYTES_MAX : (uint32_t)((draw >> 32) % (RECORD_BYTES_MAX + 1));
}

/* ---- Frames. ---- */

static void
ask_header_fill(struct sim *sim, uint32_t number, uint32_t incarnation, struct wire_frame *frame)
{
    frame->header.from = 0;
    frame->header.to = 0;
    frame->header.group = SIM_GROUP;
    frame->header.cluster = SIM_CLUSTER;
    frame->header.from_store = sim->ledger.incarnations[incarnation].owner;
    frame->header.from_boot = incarnation;
    frame->header.token = sim->clients[number].token;
}

static void header_fill(struct sim *sim, uint32_t number, struct wire_frame *frame)
{
    ask_header_fill(sim, number, sim->clients[number].plain, frame);
}

/* Requests without a session are never repeated by the network: two copies would rightly be two
 * records. */
static void frame_send(struct sim *sim, uint32_t number, uint32_t target, struct wire_frame *frame)
{
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct nic_send send = {
        .to = link_address(target),
        .head = head,
        .body = frame->payload,
        .head_bytes = wire_encode(frame, head),
        .body_bytes = frame->payload_bytes,
    };
    bool once = frame->header.kind == WIRE_REQUEST && frame->request.session == 0;
    link_send(sim, sim->swarm.node_count + number, target, &send, once);
}

void client_tell(struct sim *sim,
                 uint32_t number,
                 uint32_t incarnation,
                 struct wire_frame *frame,
                 uint32_t target)
{
    sim->clients[number].token++;
    ask_header_fill(sim, number, incarnation, frame);
    uint32_t first = target == sim->swarm.node_count ? 0 : target;
    uint32_t last = target == sim->swarm.node_count ? target - 1 : target;
    for (uint32_t to = first; to <= last; to++) {
        frame_send(sim, number, to, frame);
    }
}

/* Several records fit one frame; one alone may take several. */
uint32_t client_fit(const struct sim *sim, uint64_t session, uint64_t first, uint32_t count)
{
    uint32_t room = wire_request_bytes(sim->swarm.frame_bytes_max);
    uint32_t bytes = record_body_bytes(record_bytes(sim, session, first));
    uint32_t fit = 1;
    while (fit < count) {
        bytes += record_body_bytes(record_bytes(sim, session, first + fit));
        if (bytes > room) {
            break;
        }
        fit++;
    }
    return fit;
}

/* Put one record into a request; returns its bytes there. */
static uint32_t record_put(const struct sim *sim, uint64_t session, uint64_t sequence, uint8_t *to)
{
    uint32_t bytes = record_bytes(sim, session, sequence);
    uint32_t body_bytes = record_body_bytes(bytes);
    struct record_header header = {.bytes = bytes, .session = session, .sequence = sequence};
    memset(to + body_bytes - 8, 0, 8); /* The padding. */
    memcpy(to, &header, sizeof header);
    record_fill(sim->seed, session, sequence, to + sizeof header, bytes);
    return body_bytes;
}

void client_ask(struct sim *sim, uint32_t number, const struct sim_ask *ask, uint32_t target)
{
    static uint8_t body[2 * REQUEST_BYTES_MAX];
    struct wire_frame frame = {.header = {.kind = WIRE_REQUEST}};
    frame.request = (struct wire_request){
        .session = ask->session,
        .first_sequence = ask->first,
        .expected_offset = ask->expected_offset,
        .epoch = ask->epoch,
        .record_count = ask->count,
        .conditional = ask->conditional,
    };
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < ask->count; i++) {
        bytes += record_put(sim, ask->session, ask->first + i, body + bytes);
        ASSERT(bytes <= REQUEST_BYTES_MAX);
        ledger_send(sim, &(struct sim_sending){
                             .session = ask->session,
                             .sequence = ask->first + i,
                             .expected_offset = ask->expected_offset + i,
                             .epoch = ask->epoch,
                             .conditional = ask->conditional,
                         });
    }
    frame.request.request_bytes = bytes;
    uint32_t part_bytes = wire_request_bytes(sim->swarm.frame_bytes_max);
    uint32_t first = target == sim->swarm.node_count ? 0 : target;
    uint32_t last = target == sim->swarm.node_count ? target - 1 : target;
    sim->clients[number].token++;
    ask_header_fill(sim, number, ask->incarnation, &frame);
    for (uint32_t to = first; to <= last; to++) {
        for (uint32_t at = 0; at < bytes; at += part_bytes) {
            frame.request.offset = at;
            frame.payload = body + at;
            frame.payload_bytes = bytes - at < part_bytes ? bytes - at : part_bytes;
            frame_send(sim, number, to, &frame);
        }
    }
}

/* ---- Load. ---- */

/* Who leads although a later leader has committed since; SIM_NODES_MAX: nobody. */
static uint32_t deposed_leader(const struct sim *sim)
{
    uint32_t number = 0;
    while (number < sim->swarm.node_count &&
           !(sim->nodes[number].state == SIM_UP && sim->nodes[number].leads &&
             sim->nodes[number].term < sim->commit_term)) {
        number++;
    }
    return number < sim->swarm.node_count ? number : SIM_NODES_MAX;
}

/* Who leads in the newest term; `otherwise` when nobody does. */
static uint32_t newest_leader(const struct sim *sim, uint32_t otherwise)
{
    uint64_t term = 0;
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->state == SIM_UP && node->leads && node->term > term) {
            term = node->term;
            otherwise = i;
        }
    }
    return otherwise;
}

/* While a leader does not know that it is none, clients make haste. */
static uint64_t gap_ns(struct sim *sim)
{
    uint64_t mean_ns = sim->swarm.request_gap_ns;
    bool haste = deposed_leader(sim) < SIM_NODES_MAX;
    return prng_between(&sim->random_client, 1, haste ? mean_ns / 4 + 1 : 2 * mean_ns);
}

static void client_plan(struct sim *sim, uint32_t number)
{
    queue_put(&sim->queue, &(struct sim_event){.at_ns = sim->now_ns + gap_ns(sim),
                                               .kind = SIM_CLIENT,
                                               .target = number});
}

void client_begin(struct sim *sim, uint32_t number)
{
    struct sim_client *client = &sim->clients[number];
    client->target = (uint32_t)prng_below(&sim->random_client, sim->swarm.node_count);
    client->plain = ledger_incarnate(sim, number, NULL, 0);
    memset(client->reads, 0, sizeof client->reads);
    client->next_sequence = (uint64_t)(number + 1) << SIM_NUMBER_SHIFT;
    client->token = 0;
    client->heard_ns = sim->now_ns;
    writer_begin(sim, number);
    client_plan(sim, number);
}

/* Records without a session: each is sent once. */
static void plain_send(struct sim *sim, uint32_t number, uint32_t count, uint32_t target)
{
    struct sim_client *client = &sim->clients[number];
    struct sim_ask ask = {
        .first = client->next_sequence,
        .incarnation = client->plain,
        .count = client_fit(sim, 0, client->next_sequence, count),
        .conditional = sim_happens(&sim->random_client, sim->swarm.condition_ppm),
    };
    if (ask.conditional) {
        ask.expected_offset = sim->offset_end + prng_below(&sim->random_client, 2);
    }
    client->next_sequence += ask.count;
    client_ask(sim, number, &ask, target);
}

/* A linearizable read goes where it hurts: to a leader that does not know yet that it is none, and
 * otherwise often to who leads. */
static uint32_t read_target(struct sim *sim, bool linearizable)
{
    uint32_t count = sim->swarm.node_count;
    uint32_t deposed = deposed_leader(sim);
    uint32_t target = (uint32_t)prng_below(&sim->random_client, count);
    if (!linearizable) {
        return target;
    }
    if (deposed < SIM_NODES_MAX) {
        sim->totals->covers.reads_of_deposed++;
        return deposed;
    }
    if (prng_below(&sim->random_client, 2) == 0) {
        for (uint32_t i = 0; i < count && !sim->nodes[target].leads; i++) {
            target = (target + 1) % count;
        }
    }
    return target;
}

static void read_send(struct sim *sim, uint32_t number)
{
    struct sim_client *client = &sim->clients[number];
    struct wire_frame frame = {0};
    client->token++;
    header_fill(sim, number, &frame);
    frame.header.kind = WIRE_READ;
    frame.read.offset = prng_below(&sim->random_client, sim->offset_end + 2);
    frame.read.linearizable = prng_below(&sim->random_client, 2) == 0;
    frame.read.waits = prng_below(&sim->random_client, 2) == 0;
    client->reads[client->token % SIM_READS_MAX] = (struct sim_read){
        .token = client->token,
        .floor = sim->offset_end,
        .linearizable = frame.read.linearizable,
    };
    frame_send(sim, number, read_target(sim, frame.read.linearizable), &frame);
}

static void node_stop(struct sim *sim, uint32_t number)
{
    SIM_TRACE(sim, "node %u is stopped", number + 1);
    sim->nodes[number].stops = true;
    replica_stop(sim->nodes[number].replica);
    node_wake(sim, number);
}

static void node_transfer(struct sim *sim, uint32_t number, uint8_t to)
{
    enum raft_transfer outcome = replica_transfer(sim->nodes[number].replica, to);
    SIM_TRACE(sim, "node %u is asked to hand over to node %u: %d", number + 1, to, (int)outcome);
    node_wake(sim, number);
}

/* Ids from none to one too many: what cannot be is refused. */
void operator_act(struct sim *sim)
{
    uint8_t to = (uint8_t)prng_below(&sim->random_client, sim->swarm.node_count + 2u);
    bool stop = prng_below(&sim->random_client, 6) == 0;
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->state != SIM_UP || sim->now_ns < node->frozen_until_ns) {
            continue;
        }
        if (stop && to == i + 1) {
            node_stop(sim, i);
        } else if (!stop && node->leads) {
            node_transfer(sim, i, to);
        }
    }
}

void client_send(struct sim *sim, uint32_t number)
{
    struct sim_client *client = &sim->clients[number];
    client_plan(sim, number);
    if (sim->now_ns > client->heard_ns + 2 * sim->swarm.election_max_ns) {
        client->target = (uint32_t)prng_below(&sim->random_client, sim->swarm.node_count);
        client->heard_ns = sim->now_ns;
    }
    if (sim->calm) {
        writer_act(sim, number);
        return;
    }
    if ((client->next_sequence & UINT32_MAX) + REQUEST_RECORDS_MAX > SIM_STREAM_RECORDS ||
        sim->offset_end + SIM_OFFSETS_MAX / 4 > SIM_OFFSETS_MAX || ledger_is_nearly_full(sim) ||
        sim->commit_index + 4096 > SIM_INDEX_MAX) {
        return;
    }
    if (sim_happens(&sim->random_client, sim->swarm.operator_ppm)) {
        operator_act(sim);
        return;
    }
    bool deposed = deposed_leader(sim) < SIM_NODES_MAX;
    if (sim_happens(&sim->random_client, sim->swarm.read_ppm) ||
        (deposed && prng_below(&sim->random_client, 2) == 0)) {
        read_send(sim, number);
        return;
    }
    uint32_t target = deposed ? newest_leader(sim, client->target) : client->target;
    if (sim_happens(&sim->random_client, sim->swarm.plain_ppm) ||
        (deposed && prng_below(&sim->random_client, 2) == 0)) {
        uint32_t count = (uint32_t)prng_between(&sim->random_client, sim->swarm.records_min,
                                                sim->swarm.records_max);
        plain_send(sim, number, count, target);
        return;
    }
    writer_act(sim, number);
}

uint64_t client_probe(struct sim *sim, uint32_t number, uint32_t target)
{
    struct sim_client *client = &sim->clients[number];
    struct sim_ask ask = {
        .first = client->next_sequence++,
        .incarnation = client->plain,
        .count = 1,
    };
    client_ask(sim, number, &ask, target);
    return ask.first;
}

/* An answer to a linearizable read holds all that was committed before the question: if only
 * because a client was told of it, it must never be missing again. */
static void linearizable_check(struct sim *sim,
                               uint32_t number,
                               uint64_t token,
                               const struct wire_read_reply *reply)
{
    const struct sim_read *read = &sim->clients[number].reads[token % SIM_READS_MAX];
    if (read->token != token || !read->linearizable) {
        return;
    }
    if (reply->status == WIRE_NOT_LEADER || reply->status == WIRE_BUSY) {
        sim->totals->covers.reads_refused++;
        return;
    }
    if (reply->committed_offset < read->floor) {
        sim_violation(sim,
                      "a linearizable read is stale: it knows of %lu records, and %lu were "
                      "committed before it was sent",
                      reply->committed_offset, read->floor);
    }
    sim->totals->covers.reads_confirmed++;
}

/* Records of a read must be the committed ones at those offsets; only the last may be cut short. */
static void read_check(struct sim *sim, const struct wire_frame *frame)
{
    const struct wire_read_reply *reply = &frame->read_reply;
    if (reply->committed_offset > sim->offset_end) {
        sim_violation(sim, "a read tells of uncommitted records: %lu of %lu",
                      reply->committed_offset, sim->offset_end);
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < reply->record_count && reply->status == WIRE_OK; i++) {
        uint64_t offset = reply->offset + i;
        struct record_header header;
        if (offset >= sim->offset_end || frame->payload_bytes - at < sizeof header) {
            sim_violation(sim, "a read gives offset %lu of %lu", offset, sim->offset_end);
        }
        memcpy(&header, frame->payload + at, sizeof header);
        const struct sim_offset *known = &sim->offsets[offset];
        uint32_t bytes = record_bytes(sim, known->session, known->sequence);
        bool part = i + 1 == reply->record_count && reply->partial;
        if (header.session != known->session || header.sequence != known->sequence ||
            (part ? header.bytes > bytes : header.bytes != bytes)) {
            sim_violation(sim, "a read gives another record at offset %lu", offset);
        }
        uint32_t left = frame->payload_bytes - at - (uint32_t)sizeof header;
        if (header.bytes > left || !record_is(sim->seed, known->session, known->sequence,
                                              frame->payload + at + sizeof header, header.bytes)) {
            sim_violation(sim, "a read gives other bytes at offset %lu", offset);
        }
        at += record_body_bytes(header.bytes);
    }
    sim->totals->covers.reads++;
}

void client_take(struct sim *sim, uint32_t number, const struct sim_frame *frame)
{
    struct wire_self self = {.cluster = SIM_CLUSTER, .group = SIM_GROUP};
    struct wire_counters counters = {0};
    struct wire_frame decoded;
    if (frame->bytes >= WIRE_HEADER_BYTES) { /* For which of its lives is the writer's business. */
        memcpy(&self.boot, frame->data + TO_BOOT_OFFSET, sizeof self.boot);
    }
    if (wire_decode(&self, frame->data, frame->bytes, &decoded, &counters) != WIRE_DROP_ok) {
        return;
    }
    if (decoded.header.kind == WIRE_READ_REPLY) {
        read_check(sim, &decoded);
        linearizable_check(sim, number, decoded.header.token, &decoded.read_reply);
        return;
    }
    struct sim_client *client = &sim->clients[number];
    bool open = decoded.header.kind == WIRE_OPEN_REPLY;
    uint8_t status = open ? decoded.open_reply.status : decoded.reply.status;
    uint8_t leader = open ? decoded.open_reply.leader : decoded.reply.leader;
    if (frame->from == client->target) {
        client->heard_ns = sim->now_ns;
    }
    if (status == WIRE_NOT_LEADER && leader != 0 && leader <= sim->swarm.node_count) {
        client->target = leader - 1u;
    }
    writer_take(sim, number, &decoded);
}
