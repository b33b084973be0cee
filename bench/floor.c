/* floor.c: the nodes' side of the commit floor.
 *
 * Invariant: requests [request_head, request_tail) are in no round; a round's requests stay in the
 * ring until its reply has left. A frame that is lost leaves its round open until it is given up.
 */
#include "bench/floor.h"

#include "bench/floor_frame.h"
#include "engine/base/assert.h"
#include "engine/base/entry.h"
#include "engine/wire.h"

#include <string.h>

uint64_t floor_memory_bytes(void)
{
    return FLOOR_REQUESTS_MAX * sizeof(struct floor_request) + ENTRY_BYTES_MAX +
           FLOOR_HISTOGRAMS * sizeof(struct histogram) + 4 * PAGE_BYTES;
}

void floor_init(struct floor *floor, struct mem *mem, const struct floor_config *config)
{
    ASSERT(config->node_count >= 1);
    ASSERT(config->node_count <= VOTERS_MAX);
    *floor = (struct floor){.config = *config};
    floor->requests =
        mem_take(mem, "floor: requests", FLOOR_REQUESTS_MAX, sizeof(struct floor_request), 64);
    floor->bytes = mem_take(mem, "floor: bytes to send and write", 1, ENTRY_BYTES_MAX, PAGE_BYTES);
    struct histogram *histograms = config->histograms;
    if (histograms == NULL) {
        histograms =
            mem_take(mem, "floor: histograms", FLOOR_HISTOGRAMS, sizeof(struct histogram), 64);
    }
    floor->disk_ns = &histograms[0];
    floor->peer_echo_ns = &histograms[1];
    memset(floor->bytes, 0xa5, ENTRY_BYTES_MAX);
    for (uint32_t i = 0; i < config->node_count; i++) {
        floor->nodes[i].floor = floor;
        floor->nodes[i].number = i;
        floor->nodes[i].nic = config->nics[i];
        floor->nodes[i].event = -1;
    }
}

int floor_open(void *context, uint64_t now_ns, struct fault *fault)
{
    (void)now_ns;
    struct floor_node *node = context;
    if (!node->floor->config.durable) {
        return 0;
    }
    return floor_disk_open(&node->disk, node->path, node->event, fault);
}

void floor_close(void *context)
{
    struct floor_node *node = context;
    if (node->disk != NULL) {
        uint64_t cookies[UNCOMMITTED_MAX];
        while (node->writes_in_flight > 0) {
            floor_disk_wait(node->disk);
            node->writes_in_flight -= floor_disk_poll(node->disk, cookies, UNCOMMITTED_MAX);
        }
        floor_disk_close(node->disk);
        node->disk = NULL;
    }
}

void floor_begin(struct floor *floor, enum floor_mode mode, uint32_t write_pages)
{
    ASSERT(write_pages >= 1);
    ASSERT(write_pages <= ENTRY_PAGES_MAX);
    floor->mode = mode;
    floor->write_pages = write_pages;
    floor->request_head = floor->request_tail;
    floor->began_ns = 0;
    floor->echo_id++;
    memset(floor->rounds, 0, sizeof(floor->rounds));
}

static void submit_write(struct floor_node *node, uint32_t pages, uint64_t cookie)
{
    uint32_t bytes = pages * PAGE_BYTES;
    ASSERT(bytes <= ENTRY_BYTES_MAX);
    if (node->write_offset + bytes > node->floor->config.file_bytes) {
        node->write_offset = 0;
    }
    floor_disk_write(node->disk, node->write_offset, node->floor->bytes, bytes, cookie);
    node->write_offset += bytes;
    node->writes_in_flight++;
}

static struct floor_round *round_of(struct floor *floor, uint64_t id)
{
    struct floor_round *round = &floor->rounds[id % UNCOMMITTED_MAX];
    return id != 0 && round->id == id ? round : NULL;
}

/* One more durable copy: at a quorum the replies leave, one for each request frame. */
static void count_copy(struct floor *floor, uint64_t id)
{
    struct floor_round *round = round_of(floor, id);
    if (round == NULL) {
        return;
    }
    round->copies++;
    if (round->copies != floor->config.node_count / 2 + 1) {
        return;
    }
    for (uint32_t i = 0; i < round->request_count; i++) {
        const struct floor_request *request =
            &floor->requests[(round->first_request + i) & (FLOOR_REQUESTS_MAX - 1)];
        struct floor_frame frame = {
            .kind = FLOOR_REPLY, .id = request->first_sequence, .count = request->count, .last = 1};
        floor_frame_send(floor->nodes[0].nic, floor->config.client, &frame, NULL);
    }
    round->id = 0;
}

/* Nothing is repaired here: what a lost frame stops is counted as unanswered by the client. */
static void give_up_rounds(struct floor *floor, uint64_t now_ns)
{
    for (uint32_t i = 0; i < UNCOMMITTED_MAX; i++) {
        struct floor_round *round = &floor->rounds[i];
        if (round->id != 0 && now_ns - round->began_ns > FLOOR_GIVE_UP_NS) {
            round->id = 0;
        }
    }
}

/* Node 1 takes what waits into one round: writes it and forwards it. */
static uint32_t begin_round(struct floor *floor, uint64_t now_ns)
{
    struct floor_node *leader = &floor->nodes[0];
    uint32_t body_bytes = 0;
    uint32_t count = 0;
    uint32_t body_bytes_max = entry_body_bytes_max(ENTRY_PAGES_MAX);
    while (floor->request_head + count < floor->request_tail) {
        uint64_t number = floor->request_head + count;
        uint32_t bytes = floor->requests[number & (FLOOR_REQUESTS_MAX - 1)].bytes;
        if (body_bytes + bytes > body_bytes_max) {
            break;
        }
        body_bytes += bytes;
        count++;
    }
    ASSERT(count > 0);
    uint64_t id = ++floor->next_round;
    struct floor_round *round = &floor->rounds[id % UNCOMMITTED_MAX];
    ASSERT(round->id == 0);
    *round = (struct floor_round){
        .id = id, .first_request = floor->request_head, .request_count = count, .began_ns = now_ns};
    floor->request_head += count;

    uint32_t pages = entry_pages(body_bytes);
    pages = pages > floor->write_pages ? pages : floor->write_pages;
    for (uint32_t i = 1; i < floor->config.node_count; i++) {
        struct floor_frame frame = {
            .kind = FLOOR_FORWARD, .id = id, .count = pages, .bytes = entry_used_bytes(body_bytes)};
        floor_frame_send_all(leader->nic, floor->config.addresses[i], &frame, floor->bytes);
    }
    if (leader->disk != NULL) {
        submit_write(leader, pages, id);
    } else {
        count_copy(floor, id);
    }
    return 1;
}

/* The engine's gate: two entries fly, more only when they fill. */
static uint32_t begin_rounds(struct floor *floor, uint64_t now_ns)
{
    give_up_rounds(floor, now_ns);
    uint32_t flying = 0;
    uint64_t waiting_bytes = 0;
    for (uint32_t i = 0; i < UNCOMMITTED_MAX; i++) {
        flying += floor->rounds[i].id != 0;
    }
    for (uint64_t i = floor->request_head; i < floor->request_tail; i++) {
        waiting_bytes += floor->requests[i & (FLOOR_REQUESTS_MAX - 1)].bytes;
        if (waiting_bytes > ENTRY_BYTES_MAX / 2) {
            break;
        }
    }
    uint32_t most = waiting_bytes > ENTRY_BYTES_MAX / 2 ? UNCOMMITTED_MAX : UNCOMMITTED_MIN;
    bool place = floor->rounds[(floor->next_round + 1) % UNCOMMITTED_MAX].id == 0;
    bool writes = floor->nodes[0].writes_in_flight < FLOOR_WRITES_MAX;
    if (waiting_bytes == 0 || flying >= most || !place || !writes) {
        return 0;
    }
    return begin_round(floor, now_ns);
}

static void take_request(struct floor *floor, const struct floor_frame *frame)
{
    bool fits = frame->bytes > 0 && frame->bytes <= entry_body_bytes_max(ENTRY_PAGES_MAX);
    if (!frame->last || !fits ||
        floor->request_tail - floor->request_head >= FLOOR_REQUESTS_MAX / 2) {
        return;
    }
    floor->requests[floor->request_tail++ & (FLOOR_REQUESTS_MAX - 1)] = (struct floor_request){
        .first_sequence = frame->id, .count = frame->count, .bytes = frame->bytes};
}

static void answer(struct floor_node *node, struct nic_address to, uint8_t kind, uint64_t id)
{
    struct floor_frame frame = {.kind = kind, .id = id, .last = 1};
    floor_frame_send(node->nic, to, &frame, NULL);
}

static void take_forward(struct floor_node *node, const struct floor_frame *frame)
{
    if (!frame->last || frame->count > ENTRY_PAGES_MAX || frame->count == 0 ||
        node->writes_in_flight >= FLOOR_WRITES_MAX) {
        return;
    }
    if (node->disk != NULL) {
        submit_write(node, frame->count, frame->id);
    } else {
        answer(node, node->floor->config.addresses[0], FLOOR_ACK, frame->id);
    }
}

/* The client's word to node 1 in a process of its own. It may come twice. */
static void
take_begin(struct floor_node *node, const struct floor_frame *frame, struct nic_address from)
{
    struct floor *floor = node->floor;
    bool known = frame->count >= 1 && frame->count <= ENTRY_PAGES_MAX &&
                 frame->mode <= FLOOR_PEER_ECHO && node->number == 0;
    if (!known) {
        return;
    }
    if (frame->id != floor->begin_id) {
        floor->config.client = from;
        floor_begin(floor, (enum floor_mode)frame->mode, frame->count);
        floor->begin_id = frame->id;
    }
    answer(node, from, FLOOR_BEGUN, frame->id);
}

static void take_frame(struct floor_node *node, const struct nic_frame *received, uint64_t now_ns)
{
    struct floor_frame frame;
    struct floor *floor = node->floor;
    if (!floor_frame_decode(received, &frame)) {
        return; /* A straggler of the replicas: frames may be lost, theirs too. */
    }
    switch (frame.kind) {
    case FLOOR_REQUEST:
        take_request(floor, &frame);
        break;
    case FLOOR_FORWARD:
        take_forward(node, &frame);
        break;
    case FLOOR_ACK:
        count_copy(floor, frame.id);
        break;
    case FLOOR_BEGIN:
        take_begin(node, &frame, received->from);
        break;
    case FLOOR_ECHO:
        answer(node, received->from, FLOOR_ECHO_REPLY, frame.id);
        break;
    case FLOOR_ECHO_REPLY:
        if (frame.id == floor->echo_id && floor->began_ns != 0) {
            histogram_record(floor->peer_echo_ns, now_ns - floor->began_ns);
            floor->began_ns = 0;
        }
        break;
    default:
        break;
    }
}

static uint32_t take_writes(struct floor_node *node, uint64_t now_ns)
{
    struct floor *floor = node->floor;
    uint64_t cookies[UNCOMMITTED_MAX];
    uint32_t count = 0;
    if (node->disk != NULL && node->writes_in_flight > 0) {
        count = floor_disk_poll(node->disk, cookies, UNCOMMITTED_MAX);
    }
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(node->writes_in_flight > 0);
        node->writes_in_flight--;
        if (cookies[i] == 0) {
            if (floor->began_ns != 0 && floor->mode == FLOOR_DISK) {
                histogram_record(floor->disk_ns, now_ns - floor->began_ns);
                floor->began_ns = 0;
            }
        } else if (node->number == 0) {
            count_copy(floor, cookies[i]);
        } else {
            answer(node, floor->config.addresses[0], FLOOR_ACK, cookies[i]);
        }
    }
    return count;
}

/* Node 1's own part of an iteration. */
static uint32_t lead(struct floor_node *node, uint64_t now_ns)
{
    struct floor *floor = node->floor;
    switch (floor->mode) {
    case FLOOR_COMMIT:
        return begin_rounds(floor, now_ns);
    case FLOOR_DISK:
        if (node->disk == NULL || floor->began_ns != 0 || node->writes_in_flight > 0) {
            return 0;
        }
        floor->began_ns = now_ns;
        submit_write(node, floor->write_pages, 0);
        return 1;
    case FLOOR_PEER_ECHO:
        if (floor->config.node_count < 2 || floor->began_ns != 0) {
            return 0;
        }
        floor->began_ns = now_ns;
        floor->echo_id++;
        answer(node, floor->config.addresses[1], FLOOR_ECHO, floor->echo_id);
        return 1;
    }
    return 0;
}

uint32_t floor_poll(void *context, uint64_t now_ns)
{
    struct floor_node *node = context;
    struct nic_frame frames[RX_BURST_MAX];
    node->now_ns = now_ns;
    uint32_t count = nic_rx_burst(node->nic, frames, RX_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        take_frame(node, &frames[i], now_ns);
    }
    nic_rx_release(node->nic, frames, count);
    uint32_t work = count + take_writes(node, now_ns);
    if (node->number == 0) {
        work += lead(node, now_ns);
    }
    node->working = count > 0 || node->writes_in_flight > 0;
    return work;
}

bool floor_is_working(const void *context)
{
    const struct floor_node *node = context;
    return node->working;
}

uint64_t floor_deadline_ns(const void *context)
{
    const struct floor_node *node = context;
    return node->now_ns + FLOOR_LOOK_NS;
}
