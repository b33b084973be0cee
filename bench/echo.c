/* echo.c: see echo.h. */
#include "bench/echo.h"

#include "engine/base/assert.h"
#include "engine/base/clock.h"

#include <string.h>

#define LOOK_NS 10000000u /* The longest wait of a server, which may be told to stop. */

_Static_assert(FLOOR_ECHOES_MAX <= TX_BURST_MAX, "all frames under way are one burst");

static const uint8_t body[FRAME_BYTES_MAX]; /* What frames carry behind their head. */

/* ---- The server. ---- */

uint32_t echo_server_poll(void *context, uint64_t now_ns)
{
    struct echo_server *server = context;
    struct nic_frame frames[RX_BURST_MAX];
    struct floor_frame heads[RX_BURST_MAX];
    struct nic_send sends[RX_BURST_MAX];
    server->now_ns = now_ns;
    uint32_t count = nic_rx_burst(server->nic, frames, RX_BURST_MAX);
    server->working = count > 0;
    if (count == 0) {
        return 0;
    }
    uint32_t answers = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct floor_frame *head = &heads[answers];
        if (!floor_frame_decode(&frames[i], head) || head->kind != FLOOR_ECHO) {
            continue;
        }
        head->kind = FLOOR_ECHO_REPLY;
        sends[answers++] = (struct nic_send){
            .to = frames[i].from,
            .head = (const uint8_t *)head,
            .head_bytes = sizeof(*head),
            .body = frames[i].data + sizeof(*head),
            .body_bytes = frames[i].bytes - (uint32_t)sizeof(*head),
        };
    }
    if (answers > 0) {
        server->answered += nic_tx_burst(server->nic, sends, answers);
    }
    nic_rx_release(server->nic, frames, count);
    return count;
}

bool echo_server_is_working(const void *context)
{
    const struct echo_server *server = context;
    return server->working;
}

uint64_t echo_server_deadline_ns(const void *context)
{
    const struct echo_server *server = context;
    return server->now_ns + LOOK_NS;
}

/* ---- The client. ---- */

/* Send a new frame in every place below `depth` that has none. Returns how many. */
static uint32_t fill(struct echo_client *client, uint32_t frame_bytes, uint32_t depth)
{
    struct floor_frame heads[FLOOR_ECHOES_MAX];
    struct nic_send sends[FLOOR_ECHOES_MAX];
    uint64_t now_ns = clock_now_ns();
    uint32_t count = 0;
    for (uint32_t i = 0; i < depth; i++) {
        if (client->ids[i] != 0) {
            continue;
        }
        client->ids[i] = ++client->next_id * FLOOR_ECHOES_MAX + i;
        client->began_ns[i] = now_ns;
        heads[count] = (struct floor_frame){
            .magic = FLOOR_MAGIC, .kind = FLOOR_ECHO, .last = 1, .id = client->ids[i]};
        sends[count] = (struct nic_send){
            .to = client->to,
            .head = (const uint8_t *)&heads[count],
            .head_bytes = sizeof(heads[count]),
            .body = body,
            .body_bytes = frame_bytes - ECHO_BYTES_MIN,
        };
        count++;
    }
    if (count > 0) {
        (void)nic_tx_burst(client->nic, sends, count); /* What it does not take is lost. */
    }
    return count;
}

/* Take answers: the server's, or the frames themselves from whoever turns them round as they are.
 * `latency`: NULL, they are not counted. */
static uint32_t take(struct echo_client *client, struct histogram *latency)
{
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t count = nic_rx_burst(client->nic, frames, RX_BURST_MAX);
    uint64_t now_ns = count > 0 ? clock_now_ns() : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct floor_frame frame;
        if (!floor_frame_decode(&frames[i], &frame) ||
            (frame.kind != FLOOR_ECHO_REPLY && frame.kind != FLOOR_ECHO)) {
            continue;
        }
        uint32_t place = (uint32_t)(frame.id % FLOOR_ECHOES_MAX);
        if (client->ids[place] != frame.id || frame.id == 0) {
            continue; /* It was given up before. */
        }
        if (latency != NULL) {
            histogram_record(latency, now_ns - client->began_ns[place]);
        }
        client->ids[place] = 0;
    }
    nic_rx_release(client->nic, frames, count);
    return count;
}

/* Give up what has been under way for too long. Returns how many. */
static uint32_t give_up(struct echo_client *client, uint64_t now_ns, uint64_t lost_ns)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < FLOOR_ECHOES_MAX; i++) {
        if (client->ids[i] != 0 && now_ns >= client->began_ns[i] + lost_ns) {
            client->ids[i] = 0;
            count++;
        }
    }
    return count;
}

static bool is_interrupted(const struct echo_client *client)
{
    return *client->interrupted != 0;
}

static bool is_anything_under_way(const struct echo_client *client)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < FLOOR_ECHOES_MAX; i++) {
        any |= client->ids[i];
    }
    return any != 0;
}

bool echo_meet(struct echo_client *client, uint64_t patience_ns)
{
    uint64_t begin_ns = clock_now_ns();
    uint64_t now_ns = begin_ns;
    memset(client->ids, 0, sizeof(client->ids));
    while (now_ns - begin_ns < patience_ns && !is_interrupted(client)) {
        (void)give_up(client, now_ns, LOOK_NS);
        (void)fill(client, ECHO_BYTES_MIN, 1);
        uint32_t work = take(client, NULL);
        if (client->ids[0] == 0) {
            return true;
        }
        idle_step(&client->idle, now_ns, work, work > 0, now_ns + LOOK_NS);
        now_ns = clock_now_ns();
    }
    return false;
}

void echo_measure(struct echo_client *client, uint64_t duration_ns, struct echo_row *row)
{
    ASSERT(row->depth >= 1);
    ASSERT(row->depth <= FLOOR_ECHOES_MAX);
    ASSERT(row->frame_bytes >= ECHO_BYTES_MIN);
    ASSERT(row->frame_bytes <= client->nic->frame_bytes_max);
    memset(client->ids, 0, sizeof(client->ids));
    uint64_t begin_ns = clock_now_ns();
    uint64_t now_ns = begin_ns;
    uint64_t looked_ns = begin_ns;
    bool more = true;
    while (more || is_anything_under_way(client)) {
        more = now_ns - begin_ns < duration_ns && !is_interrupted(client);
        uint32_t work = more ? fill(client, row->frame_bytes, row->depth) : 0;
        work += take(client, &row->latency);
        if (UNLIKELY(now_ns - looked_ns >= LOOK_NS)) {
            looked_ns = now_ns;
            row->lost += give_up(client, now_ns, ECHO_LOST_NS);
        }
        idle_step(&client->idle, now_ns, work, work > 0, now_ns + LOOK_NS);
        now_ns = clock_now_ns();
    }
    row->elapsed_ns = now_ns - begin_ns;
}
