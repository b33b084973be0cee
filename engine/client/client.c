/* client.c: see client.h.
 *
 * Times of a record stand in a ring by its sequence: 16 bytes, touched once when it is sent and
 * once when its fate is known. Sequences rise with time, so the oldest record without a fate is
 * always the next to be given up, and no timer is kept for each.
 */
#include "engine/client/client.h"

#include <string.h>

/* No fate yet: sent_ns is its time. Otherwise sent_ns is 0 and intended_ns says which fate. */
#define SETTLED_ANSWERED 0u
#define SETTLED_GIVEN_UP 1u

#define LARGE_BYTES (RECORD_HEADER_BYTES + RECORD_BYTES_MAX + 8u)

struct track {
    uint64_t sent_ns;
    uint64_t intended_ns;
};

/* The request that is being filled, in the body of the next frame. */
struct open_request {
    uint8_t *body;
    uint32_t bytes;
    uint32_t record_count;
    uint64_t first_sequence;
};

struct open_read {
    bool active;
    bool to_leader; /* To whom was presumed to lead. */
    uint8_t node;
    uint64_t token;
    uint64_t sent_ns;
    client_read_done done;
    void *context;
};

/* Of the kinds that only nodes send, from REPLY on. */
#define LISTENERS (WIRE_TRANSFER_REPLY - WIRE_REPLY + 1u)

struct listener {
    client_listener take;
    void *context;
};

struct client {
    struct client_config config;
    struct wire_self self;
    struct nic *nic;
    struct prng prng;
    struct track *tracks;
    uint32_t track_mask;
    uint32_t part_bytes; /* Of records in one frame. */
    uint32_t outstanding;
    uint64_t next_sequence;
    uint64_t first_open; /* No record below is without a fate. */
    uint64_t next_token;
    uint32_t leader_place; /* In config.nodes. */
    uint64_t leader_since_ns;
    uint64_t answered_ns; /* Of the last answer by the presumed leader. */
    struct open_read read;
    struct open_request open;
    uint32_t send_count;
    struct nic_send sends[TX_BURST_MAX];
    uint8_t heads[TX_BURST_MAX][WIRE_HEAD_BYTES_MAX];
    uint8_t *bodies; /* TX_BURST_MAX x FRAME_BYTES_MAX. */
    uint8_t *large;  /* One record that needs fragments. */
    struct listener listeners[LISTENERS];
    struct client_counters counters;
    struct wire_counters wire_counters;
};

COUNTERS_DEFINE(client, CLIENT_COUNTERS);

static uint32_t track_count(const struct client_config *config)
{
    uint32_t count = CLIENT_WINDOW_MIN;
    while (count < (uint64_t)config->outstanding_max * CLIENT_WINDOW_FACTOR) {
        count *= 2;
    }
    return count;
}

uint64_t client_memory_bytes(const struct client_config *config)
{
    uint64_t bytes = sizeof(struct client) + (uint64_t)track_count(config) * sizeof(struct track);
    return bytes + TX_BURST_MAX * FRAME_BYTES_MAX + LARGE_BYTES + 4ull * PAGE_BYTES;
}

struct client *client_init(struct mem *mem, const struct client_config *config, struct nic *nic)
{
    ASSERT(config->id != 0);
    ASSERT(config->node_count >= 1);
    ASSERT(config->node_count <= NODES_MAX);
    ASSERT(config->outstanding_max >= 1);
    ASSERT(config->outstanding_max <= CLIENT_OUTSTANDING_MAX);
    ASSERT(config->timeout_ns > 0);
    struct client *client = mem_take(mem, "client", 1, sizeof *client, 64);
    uint32_t tracks = track_count(config);
    client->config = *config;
    client->self =
        (struct wire_self){.cluster = config->cluster, .boot = config->id, .group = config->group};
    client->nic = nic;
    client->tracks = mem_take(mem, "client's records", tracks, sizeof(struct track), 64);
    client->track_mask = tracks - 1;
    client->bodies = mem_take(mem, "client's frames", TX_BURST_MAX, FRAME_BYTES_MAX, 64);
    client->large = mem_take(mem, "client's large record", 1, LARGE_BYTES, 64);
    client->part_bytes = wire_request_bytes(nic->frame_bytes_max);
    prng_init(&client->prng, config->seed);
    client->next_token = prng_next(&client->prng);
    client->leader_place = (uint32_t)prng_below(&client->prng, config->node_count);
    return client;
}

/* ---- Whom to ask. ---- */

uint8_t client_leader(const struct client *client)
{
    return client->config.nodes[client->leader_place].id;
}

static void leader_change(struct client *client, uint32_t place, uint64_t now_ns)
{
    ASSERT(place < client->config.node_count);
    client->counters.leader_changes += place != client->leader_place;
    client->leader_place = place;
    client->leader_since_ns = now_ns;
}

/* Another one, by lot. */
static void leader_guess(struct client *client, uint64_t now_ns)
{
    uint32_t count = client->config.node_count;
    if (count > 1) {
        uint32_t step = (uint32_t)prng_between(&client->prng, 1, count - 1);
        leader_change(client, (client->leader_place + step) % count, now_ns);
    }
}

/* The next one in turn: in as many steps as there are nodes everybody is asked. */
static void leader_next(struct client *client, uint64_t now_ns)
{
    leader_change(client, (client->leader_place + 1) % client->config.node_count, now_ns);
}

/* Place of a node, node_count if it is not in the configuration. */
static uint32_t node_place(const struct client *client, uint8_t node)
{
    uint32_t place = 0;
    while (place < client->config.node_count && client->config.nodes[place].id != node) {
        place++;
    }
    return place;
}

bool client_has_node(const struct client *client, uint8_t node)
{
    return node_place(client, node) < client->config.node_count;
}

void client_set_leader(struct client *client, uint8_t node)
{
    uint32_t place = node_place(client, node);
    ASSERT(place < client->config.node_count);
    leader_change(client, place, client->leader_since_ns);
}

/* Only who was asked last is believed, so that old answers cannot send us back and forth. */
static void leader_refused(struct client *client, uint8_t from, uint8_t hint, uint64_t now_ns)
{
    if (from != client_leader(client)) {
        return;
    }
    uint32_t place = node_place(client, hint);
    if (place < client->config.node_count && hint != from) {
        leader_change(client, place, now_ns);
    } else {
        leader_guess(client, now_ns);
    }
}

bool client_disclaimed(struct client *client, uint8_t from, uint8_t hint, uint64_t now_ns)
{
    if (from != client_leader(client) || hint == from) {
        return false;
    }
    uint32_t place = node_place(client, hint);
    if (place < client->config.node_count) {
        leader_change(client, place, now_ns);
        return true;
    }
    leader_next(client, now_ns);
    return false;
}

void client_silent(struct client *client, uint8_t node, uint64_t now_ns)
{
    if (node == client_leader(client)) {
        leader_next(client, now_ns);
    }
}

/* ---- Sending. ---- */

void client_flush(struct client *client)
{
    if (client->send_count > 0) {
        uint32_t taken = nic_tx_burst(client->nic, client->sends, client->send_count);
        client->counters.frames_sent += taken;
        client->counters.frames_dropped += client->send_count - taken;
        client->send_count = 0;
    }
}

/* Queue a frame to the place in config.nodes; its payload stays until the flush. */
static void queue(struct client *client, struct wire_frame *frame, uint32_t place)
{
    ASSERT(client->send_count < TX_BURST_MAX);
    const struct client_node *node = &client->config.nodes[place];
    frame->header.to = node->id;
    frame->header.group = client->config.group;
    frame->header.cluster = client->config.cluster;
    frame->header.from_store = client->config.id;
    frame->header.from_boot = client->config.id;
    uint8_t *head = client->heads[client->send_count];
    client->sends[client->send_count] = (struct nic_send){
        .to = node->address,
        .head = head,
        .body = frame->payload_bytes == 0 ? NULL : frame->payload,
        .head_bytes = wire_encode(frame, head),
        .body_bytes = frame->payload_bytes,
    };
    if (++client->send_count == TX_BURST_MAX) {
        client_flush(client);
    }
}

uint8_t client_post(struct client *client, struct wire_frame *frame, uint8_t node)
{
    ASSERT(client->open.record_count == 0);
    uint32_t place = node == 0 ? client->leader_place : node_place(client, node);
    ASSERT(place < client->config.node_count);
    client->counters.posts++;
    queue(client, frame, place);
    return client->config.nodes[place].id;
}

uint64_t client_new_token(struct client *client)
{
    return client->next_token++;
}

static struct listener *listener_of(struct client *client, uint8_t kind)
{
    ASSERT(kind >= WIRE_REPLY);
    ASSERT(kind <= WIRE_TRANSFER_REPLY);
    return &client->listeners[kind - WIRE_REPLY];
}

void client_listen(struct client *client, enum wire_kind kind, client_listener take, void *context)
{
    ASSERT(kind == WIRE_REPLY || kind == WIRE_OPEN_REPLY || kind == WIRE_STATUS_REPLY ||
           kind == WIRE_TRANSFER_REPLY);
    *listener_of(client, (uint8_t)kind) = (struct listener){.take = take, .context = context};
}

void client_renew(struct client *client, uint64_t id)
{
    ASSERT(id != 0);
    ASSERT(id != client->config.id);
    ASSERT(client->outstanding == 0);
    client->config.id = id;
    client->self.boot = id;
}

static void close_request(struct client *client)
{
    struct open_request *open = &client->open;
    if (open->record_count == 0) {
        return;
    }
    struct wire_frame frame = {
        .header = {.kind = WIRE_REQUEST, .token = client->next_token++},
        .request = {.first_sequence = open->first_sequence,
                    .record_count = open->record_count,
                    .request_bytes = open->bytes},
        .payload = open->body,
        .payload_bytes = open->bytes,
    };
    client->counters.requests_sent++;
    queue(client, &frame, client->leader_place);
    open->record_count = 0;
    open->bytes = 0;
}

/* Write header, payload and padding of the next record; returns their bytes. */
static uint32_t
record_write(const struct client *client, const struct client_record *record, uint8_t *to)
{
    struct record_header header = {.bytes = record->bytes, .sequence = client->next_sequence};
    uint32_t whole_bytes = record_body_bytes(record->bytes);
    memset(to + whole_bytes - 8, 0, 8);
    memcpy(to, &header, sizeof header);
    if (record->payload == NULL) {
        client_fill_payload(client->config.payload_seed, client->next_sequence,
                            to + RECORD_HEADER_BYTES, record->bytes);
    } else if (record->bytes > 0) {
        memcpy(to + RECORD_HEADER_BYTES, record->payload, record->bytes);
    }
    return whole_bytes;
}

/* A record that no frame holds: alone, in fragments. */
static void send_large(struct client *client, const struct client_record *record)
{
    uint32_t bytes = record_write(client, record, client->large);
    ASSERT(bytes <= LARGE_BYTES);
    struct wire_frame frame = {
        .header = {.kind = WIRE_REQUEST, .token = client->next_token++},
        .request = {.first_sequence = client->next_sequence,
                    .record_count = 1,
                    .request_bytes = bytes},
    };
    for (uint32_t offset = 0; offset < bytes; offset += client->part_bytes) {
        uint32_t rest_bytes = bytes - offset;
        frame.request.offset = offset;
        frame.payload = client->large + offset;
        frame.payload_bytes = rest_bytes < client->part_bytes ? rest_bytes : client->part_bytes;
        queue(client, &frame, client->leader_place);
    }
    client->counters.requests_sent++;
    client_flush(client);
}

static void send_small(struct client *client, const struct client_record *record)
{
    struct open_request *open = &client->open;
    uint32_t bytes = record_body_bytes(record->bytes);
    if (open->record_count == REQUEST_RECORDS_MAX || bytes > client->part_bytes - open->bytes) {
        close_request(client);
    }
    if (open->record_count == 0) {
        open->body = client->bodies + (uint64_t)client->send_count * FRAME_BYTES_MAX;
        open->first_sequence = client->next_sequence;
    }
    open->bytes += record_write(client, record, open->body + open->bytes);
    open->record_count++;
    ASSERT(open->bytes <= client->part_bytes);
}

static struct track *track_of(const struct client *client, uint64_t sequence)
{
    return &client->tracks[sequence & client->track_mask];
}

/* Step over records that have their fate. */
static void advance(struct client *client)
{
    while (client->first_open < client->next_sequence &&
           track_of(client, client->first_open)->sent_ns == 0) {
        client->first_open++;
    }
}

uint32_t client_send(struct client *client,
                     uint64_t now_ns,
                     const struct client_record *records,
                     uint32_t count)
{
    ASSERT(now_ns > 0);
    ASSERT(client->open.record_count == 0);
    advance(client);
    uint32_t taken = 0;
    while (taken < count && client->outstanding < client->config.outstanding_max &&
           client->next_sequence - client->first_open <= client->track_mask) {
        const struct client_record *record = &records[taken++];
        ASSERT(record->bytes <= RECORD_BYTES_MAX);
        if (record_body_bytes(record->bytes) > client->part_bytes) {
            close_request(client);
            send_large(client, record);
        } else {
            send_small(client, record);
        }
        *track_of(client, client->next_sequence) =
            (struct track){.sent_ns = now_ns, .intended_ns = record->intended_ns};
        client->next_sequence++;
        client->outstanding++;
    }
    close_request(client);
    client_flush(client);
    client->counters.records_sent += taken;
    return taken;
}

bool client_read(struct client *client, uint64_t now_ns, const struct client_read *read)
{
    ASSERT(now_ns > 0);
    ASSERT(read->done != NULL);
    if (client->read.active) {
        return false;
    }
    uint32_t place = read->node == 0 ? client->leader_place : node_place(client, read->node);
    ASSERT(place < client->config.node_count);
    client->read = (struct open_read){
        .active = true,
        .to_leader = read->node == 0,
        .node = client->config.nodes[place].id,
        .token = client->next_token++,
        .sent_ns = now_ns,
        .done = read->done,
        .context = read->context,
    };
    struct wire_frame frame = {.header = {.kind = WIRE_READ, .token = client->read.token},
                               .read = read->what};
    frame.read.frame_bytes = (uint16_t)client->nic->frame_bytes_max;
    queue(client, &frame, place);
    client_flush(client);
    client->counters.reads_sent++;
    return true;
}

/* ---- Receiving. ---- */

/* Settle the record `completion` begins with and those after it, below `end`, of the same times. */
static void settle(struct client *client, uint64_t end, struct client_completion *completion)
{
    uint64_t sequence = completion->first_sequence;
    const struct track first = *track_of(client, sequence);
    ASSERT(first.sent_ns != 0);
    completion->sent_ns = first.sent_ns;
    completion->intended_ns = first.intended_ns;
    struct track *track = track_of(client, sequence);
    do {
        track->sent_ns = 0;
        track->intended_ns =
            completion->fate == CLIENT_ANSWERED ? SETTLED_ANSWERED : SETTLED_GIVEN_UP;
        track = track_of(client, ++sequence);
    } while (sequence < end && track->sent_ns == first.sent_ns &&
             track->intended_ns == first.intended_ns);
    completion->count = (uint32_t)(sequence - completion->first_sequence);
    ASSERT(completion->count <= client->outstanding);
    client->outstanding -= completion->count;
}

/* A record that had its fate already. */
static void count_surplus(struct client *client, uint64_t sequence)
{
    bool forgotten = client->next_sequence - sequence > client->track_mask;
    bool late = forgotten || track_of(client, sequence)->intended_ns == SETTLED_GIVEN_UP;
    client->counters.replies_late += late;
    client->counters.replies_repeated += !late;
}

static uint32_t take_reply(struct client *client,
                           const struct wire_reply *reply,
                           client_complete complete,
                           void *context)
{
    uint64_t sequence = reply->first_sequence;
    uint64_t end = sequence + reply->record_count;
    if (end > client->next_sequence) {
        client->counters.replies_unknown++;
        return 0;
    }
    client->counters.replies++;
    uint32_t work = 0;
    while (sequence < end) {
        if (sequence < client->first_open || track_of(client, sequence)->sent_ns == 0) {
            count_surplus(client, sequence);
            sequence++;
            continue;
        }
        struct client_completion completion = {
            .first_sequence = sequence,
            .fate = CLIENT_ANSWERED,
            .status = (enum wire_status)reply->status,
            .first_offset = reply->status == WIRE_OK
                                ? reply->first_offset + (sequence - reply->first_sequence)
                                : 0,
        };
        settle(client, end, &completion);
        client->counters.records_answered += completion.count;
        sequence += completion.count;
        complete(context, &completion);
        work++;
    }
    return work;
}

static void take_read_reply(struct client *client, const struct wire_frame *frame, uint64_t now_ns)
{
    const struct open_read *read = &client->read;
    if (!read->active || read->token != frame->header.token || read->node != frame->header.from) {
        client->counters.reads_late++;
        return;
    }
    if (read->to_leader) {
        (void)client_disclaimed(client, read->node, frame->read_reply.leader, now_ns);
    }
    struct client_read_result result = {
        .fate = CLIENT_ANSWERED,
        .node = read->node,
        .reply = frame->read_reply,
        .records = frame->payload,
        .records_bytes = frame->payload_bytes,
    };
    client->read.active = false;
    client->counters.reads_answered++;
    client->read.done(client->read.context, &result);
}

static uint32_t take_frame(struct client *client,
                           const struct nic_frame *received,
                           uint64_t now_ns,
                           client_complete complete,
                           void *context)
{
    struct wire_frame frame;
    if (wire_decode(&client->self, received->data, received->bytes, &frame,
                    &client->wire_counters) != WIRE_DROP_ok) {
        return 0;
    }
    if (frame.header.kind == WIRE_READ_REPLY) {
        take_read_reply(client, &frame, now_ns);
        return 1;
    }
    if (frame.header.kind != WIRE_REPLY || frame.reply.session != 0) {
        bool heard = frame.header.kind <= WIRE_TRANSFER_REPLY; /* Not of STATS: nobody asks here. */
        const struct listener *listener = heard ? listener_of(client, frame.header.kind) : NULL;
        if (listener == NULL || listener->take == NULL) {
            client->counters.replies_unasked++;
            return 0; /* Of a kind that was not asked for. */
        }
        listener->take(listener->context, &frame, now_ns);
        return 1;
    }
    if (frame.reply.status == WIRE_NOT_LEADER) {
        leader_refused(client, frame.header.from, frame.reply.leader, now_ns);
    } else if (frame.header.from == client_leader(client)) {
        client->answered_ns = now_ns;
    }
    return take_reply(client, &frame.reply, complete, context);
}

static uint64_t read_deadline_ns(const struct client *client)
{
    uint64_t own_ns = client->config.read_timeout_ns;
    return client->read.sent_ns + (own_ns == 0 ? client->config.timeout_ns : own_ns);
}

/* Give up what is too old. Who left a request unanswered, and has answered none sent as late as
 * that one, is not asked again. */
static uint32_t
give_up(struct client *client, uint64_t now_ns, client_complete complete, void *context)
{
    uint32_t work = 0;
    uint64_t end = client->next_sequence; /* What `complete` sends is not old. */
    advance(client);
    while (client->first_open < end) {
        uint64_t sent_ns = track_of(client, client->first_open)->sent_ns;
        if (now_ns - sent_ns < client->config.timeout_ns) {
            break;
        }
        struct client_completion completion = {
            .first_sequence = client->first_open,
            .fate = CLIENT_UNANSWERED,
        };
        settle(client, end, &completion);
        client->counters.records_unanswered += completion.count;
        if (sent_ns >= client->leader_since_ns && sent_ns >= client->answered_ns) {
            leader_guess(client, now_ns);
        }
        advance(client);
        complete(context, &completion);
        work++;
    }
    if (client->read.active && now_ns >= read_deadline_ns(client)) {
        struct client_read_result result = {.fate = CLIENT_UNANSWERED, .node = client->read.node};
        if (client->read.to_leader && result.node == client_leader(client)) {
            leader_next(client, now_ns);
        }
        client->read.active = false;
        client->counters.reads_unanswered++;
        client->read.done(client->read.context, &result);
        work++;
    }
    return work;
}

uint32_t
client_poll(struct client *client, uint64_t now_ns, client_complete complete, void *context)
{
    ASSERT(now_ns > 0);
    ASSERT(complete != NULL);
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t count = nic_rx_burst(client->nic, frames, RX_BURST_MAX);
    uint32_t work = count;
    for (uint32_t i = 0; i < count; i++) {
        work += take_frame(client, &frames[i], now_ns, complete, context);
    }
    if (count > 0) {
        nic_rx_release(client->nic, frames, count);
    }
    return work + give_up(client, now_ns, complete, context);
}

uint64_t client_deadline_ns(const struct client *client)
{
    uint64_t deadline_ns = UINT64_MAX;
    if (client->outstanding > 0) {
        uint64_t sent_ns = track_of(client, client->first_open)->sent_ns;
        deadline_ns = sent_ns + client->config.timeout_ns; /* 0: first_open lags; soon is right. */
    }
    if (client->read.active && read_deadline_ns(client) < deadline_ns) {
        deadline_ns = read_deadline_ns(client);
    }
    return deadline_ns;
}

uint32_t client_request_bytes(const struct client *client)
{
    return client->part_bytes;
}

uint64_t client_next_sequence(const struct client *client)
{
    return client->next_sequence;
}

uint32_t client_outstanding(const struct client *client)
{
    return client->outstanding;
}

const struct client_counters *client_counters(const struct client *client)
{
    return &client->counters;
}

const struct wire_counters *client_wire_counters(const struct client *client)
{
    return &client->wire_counters;
}

void client_fill_payload(uint64_t seed, uint64_t sequence, uint8_t *payload, uint32_t bytes)
{
    /* splitmix64's start, then one multiplication a word: no test of randomness is to be passed,
     * only no two records are to look alike. */
    uint64_t state = seed + sequence * 0x9e3779b97f4a7c15ull;
    state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9ull;
    state = (state ^ state >> 27) * 0x94d049bb133111ebull;
    uint32_t at = 0;
    for (; at + 8 <= bytes; at += 8) {
        state += 0x9e3779b97f4a7c15ull;
        uint64_t word = (state ^ state >> 32) * 0xd6e8feb86659fd93ull;
        memcpy(payload + at, &word, 8);
    }
    if (at < bytes) {
        uint64_t word = (state ^ state >> 29) * 0xd6e8feb86659fd93ull;
        memcpy(payload + at, &word, bytes - at);
    }
}
