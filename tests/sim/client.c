/* client.c: clients that send every record once, and remember what they were told.
 *
 * The payload of a record is a function of (seed, client, sequence), so that anybody can say from
 * the log alone whether it holds what was sent.
 */
#include "tests/sim/sim.h"

#include "engine/base/crc.h"

#include <string.h>

#define REQUEST_BYTES_MAX (RECORD_HEADER_BYTES + RECORD_BYTES_MAX)

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

static uint64_t payload_seed(uint64_t seed, uint32_t client, uint64_t sequence)
{
    return mix(seed ^ mix(sequence * 64 + client + 1));
}

void record_fill(uint64_t seed, uint32_t client, uint64_t sequence, uint8_t *to, uint32_t bytes)
{
    uint64_t word = payload_seed(seed, client, sequence);
    for (uint32_t at = 0; at < bytes; at += 8) {
        uint32_t count = bytes - at < 8 ? bytes - at : 8;
        memcpy(to + at, &word, count);
        word += 0x9e3779b97f4a7c15u;
    }
}

bool record_is(
    uint64_t seed, uint32_t client, uint64_t sequence, const uint8_t *from, uint32_t bytes)
{
    uint64_t word = payload_seed(seed, client, sequence);
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

static uint64_t client_number(uint32_t client, uint64_t sequence)
{
    return (uint64_t)(client + 1) << SIM_NUMBER_SHIFT | sequence;
}

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
    for (uint64_t i = 0; i < client->next_sequence; i++) {
        client->records[i] = (struct sim_record){0};
    }
    client->target = (uint32_t)prng_below(&sim->random_client, sim->swarm.node_count);
    memset(client->reads, 0, sizeof client->reads);
    client->next_sequence = 0;
    client->token = 0;
    client->heard_ns = sim->now_ns;
    client->offset_told = 0;
    client_plan(sim, number);
}

static void header_fill(struct sim *sim, uint32_t number, struct wire_frame *frame)
{
    struct sim_client *client = &sim->clients[number];
    frame->header.from = 0;
    frame->header.to = 0;
    frame->header.group = SIM_GROUP;
    frame->header.cluster = SIM_CLUSTER;
    frame->header.from_store = SIM_CLIENT_BASE + number;
    frame->header.from_boot = 1;
    frame->header.token = client->token;
}

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
    link_send(sim, sim->swarm.node_count + number, target, &send);
}

/* Put one record into the request; returns its bytes in the body. */
static uint32_t record_put(struct sim *sim, uint32_t number, uint32_t bytes, uint8_t *to)
{
    struct sim_client *client = &sim->clients[number];
    uint64_t sequence = client->next_sequence++;
    uint32_t body_bytes = record_body_bytes(bytes);
    struct record_header header = {
        .bytes = bytes,
        .sequence = client_number(number, sequence),
    };
    memset(to + body_bytes - 8, 0, 8); /* The padding. */
    memcpy(to, &header, sizeof header);
    record_fill(sim->seed, number, sequence, to + sizeof header, bytes);
    client->records[sequence] =
        (struct sim_record){.offset = SIM_NEVER, .bytes = bytes, .fate = SIM_SENT};
    return body_bytes;
}

static uint32_t record_bytes(struct sim *sim)
{
    const struct sim_swarm *swarm = &sim->swarm;
    struct prng *prng = &sim->random_client;
    if (sim_happens(prng, swarm->large_ppm)) {
        sim->totals->covers.large_records++;
        return prng_below(prng, 4) == 0 ? RECORD_BYTES_MAX
                                        : (uint32_t)prng_below(prng, RECORD_BYTES_MAX + 1);
    }
    return (uint32_t)prng_below(prng, (uint64_t)swarm->small_max + 1);
}

static void request_send(struct sim *sim, uint32_t number, uint32_t count, uint32_t target)
{
    static uint8_t body[2 * ENTRY_BYTES_MAX];
    struct sim_client *client = &sim->clients[number];
    struct wire_frame frame = {0};
    client->token++;
    header_fill(sim, number, &frame);
    frame.header.kind = WIRE_REQUEST;
    frame.request.first_sequence = client_number(number, client->next_sequence);
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t next_bytes = record_bytes(sim);
        if (bytes + record_body_bytes(next_bytes) > REQUEST_BYTES_MAX) {
            break;
        }
        bytes += record_put(sim, number, next_bytes, body + bytes);
        frame.request.record_count++;
    }
    if (frame.request.record_count == 0) {
        return;
    }
    frame.request.request_bytes = bytes;
    uint32_t part_bytes = wire_request_bytes(sim->swarm.frame_bytes_max);
    for (uint32_t at = 0; at < bytes; at += part_bytes) {
        frame.request.offset = at;
        frame.payload = body + at;
        frame.payload_bytes = bytes - at < part_bytes ? bytes - at : part_bytes;
        frame_send(sim, number, target, &frame);
    }
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
    if (sim->calm) {
        return;
    }
    client_plan(sim, number);
    if (client->next_sequence + REQUEST_RECORDS_MAX > SIM_RECORDS_MAX ||
        sim->commit_index + 4096 > SIM_INDEX_MAX) {
        return;
    }
    if (sim->now_ns > client->heard_ns + 2 * sim->swarm.election_max_ns) {
        client->target = (uint32_t)prng_below(&sim->random_client, sim->swarm.node_count);
        client->heard_ns = sim->now_ns;
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
    uint32_t count = (uint32_t)prng_between(&sim->random_client, 1, sim->swarm.records_max);
    uint32_t target = deposed ? newest_leader(sim, client->target) : client->target;
    request_send(sim, number, count, target);
}

uint64_t client_probe(struct sim *sim, uint32_t number, uint32_t target)
{
    struct sim_client *client = &sim->clients[number];
    uint64_t sequence = client->next_sequence;
    ASSERT(sequence < SIM_RECORDS_MAX);
    static uint8_t body[RECORD_HEADER_BYTES + 64];
    struct wire_frame frame = {0};
    client->token++;
    header_fill(sim, number, &frame);
    frame.header.kind = WIRE_REQUEST;
    frame.request.first_sequence = client_number(number, sequence);
    frame.request.record_count = 1;
    frame.request.request_bytes = record_put(sim, number, 64, body);
    frame.payload = body;
    frame.payload_bytes = frame.request.request_bytes;
    frame_send(sim, number, target, &frame);
    return sequence;
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
        const struct sim_record *record = &sim->clients[known->client].records[known->sequence];
        bool part = i + 1 == reply->record_count && reply->partial;
        if (header.session != 0 ||
            header.sequence != client_number(known->client, known->sequence) ||
            (part ? header.bytes > record->bytes : header.bytes != record->bytes)) {
            sim_violation(sim, "a read gives another record at offset %lu", offset);
        }
        uint32_t left = frame->payload_bytes - at - (uint32_t)sizeof header;
        if (header.bytes > left || !record_is(sim->seed, known->client, known->sequence,
                                              frame->payload + at + sizeof header, header.bytes)) {
            sim_violation(sim, "a read gives other bytes at offset %lu", offset);
        }
        at += record_body_bytes(header.bytes);
    }
    sim->totals->covers.reads++;
}

static void reply_take(struct sim *sim, struct sim_client *client, const struct wire_reply *reply)
{
    client->heard_ns = sim->now_ns;
    if (reply->status == WIRE_NOT_LEADER && reply->leader != 0 &&
        reply->leader <= sim->swarm.node_count) {
        client->target = reply->leader - 1u;
    }
}

void client_take(struct sim *sim, uint32_t number, const struct sim_frame *frame)
{
    const struct wire_self self = {.cluster = SIM_CLUSTER, .boot = 1, .group = SIM_GROUP};
    struct wire_counters counters = {0};
    struct wire_frame decoded;
    if (wire_decode(&self, frame->data, frame->bytes, &decoded, &counters) != WIRE_DROP_ok) {
        return;
    }
    if (decoded.header.kind == WIRE_READ_REPLY) {
        read_check(sim, &decoded);
        linearizable_check(sim, number, decoded.header.token, &decoded.read_reply);
    } else if (decoded.header.kind == WIRE_REPLY) {
        reply_take(sim, &sim->clients[number], &decoded.reply);
    }
}
