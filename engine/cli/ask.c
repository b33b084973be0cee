/* ask.c: see ask.h. */
#include "engine/cli/ask.h"

#include "engine/base/clock.h"
#include "engine/cli/make_log.h"
#include "net/nic_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define ASK_NS_PER_MS 1000000u

int ask_open(struct ask *ask, const struct config *config, struct fault *fault)
{
    ASSERT(config->node_count >= 1);
    ASSERT(config->node_count <= VOTERS_MAX);
    *ask = (struct ask){.config = config, .id = make_log_random_id()};
    struct nic_address peers[VOTERS_MAX];
    for (uint32_t i = 0; i < config->node_count; i++) {
        peers[i] = config->nodes[i].address;
    }
    if (mem_open(&ask->mem, nic_socket_memory_bytes() + PAGE_BYTES) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory to ask the nodes");
        return -ENOMEM;
    }
    struct nic_socket_config socket = {
        .peers = peers,
        .peer_count = config->node_count,
        .frame_bytes_min = WIRE_HEAD_BYTES_MAX,
    };
    int result = nic_socket_open(&ask->nic, &ask->mem, &socket, fault);
    if (result != 0) {
        mem_close(&ask->mem);
    }
    return result;
}

void ask_close(struct ask *ask)
{
    ASSERT(ask->nic != NULL);
    nic_close(ask->nic);
    mem_close(&ask->mem);
    ask->nic = NULL;
}

/* Ask whoever has not answered yet. */
static void send_questions(struct ask *ask, const struct ask_answer *answers)
{
    struct nic_send sends[VOTERS_MAX];
    uint8_t heads[VOTERS_MAX][WIRE_HEAD_BYTES_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < ask->config->node_count; i++) {
        if (answers[i].reachable) {
            continue;
        }
        struct wire_frame frame = {
            .header = {.kind = WIRE_STATUS,
                       .to = ask->config->nodes[i].id,
                       .cluster = ask->config->cluster,
                       .from_store = ask->id,
                       .from_boot = ask->id,
                       .token = ask->token},
        };
        sends[count] = (struct nic_send){
            .to = ask->config->nodes[i].address,
            .head = heads[count],
            .head_bytes = wire_encode(&frame, heads[count]),
        };
        count++;
    }
    (void)nic_tx_burst(ask->nic, sends, count);
}

/* Take one burst; returns the nodes that answered this round for the first time. */
static uint32_t take_answers(struct ask *ask, struct ask_answer *answers)
{
    struct wire_self self = {.cluster = ask->config->cluster, .boot = ask->id};
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t count = nic_rx_burst(ask->nic, frames, RX_BURST_MAX);
    uint32_t taken = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct wire_frame frame;
        if (wire_decode(&self, frames[i].data, frames[i].bytes, &frame, &ask->counters) !=
                WIRE_DROP_ok ||
            frame.header.kind != WIRE_STATUS_REPLY || frame.header.token != ask->token) {
            continue;
        }
        for (uint32_t k = 0; k < ask->config->node_count; k++) {
            if (ask->config->nodes[k].id == frame.header.from && !answers[k].reachable) {
                answers[k] = (struct ask_answer){.reachable = true, .status = frame.status_reply};
                taken++;
            }
        }
    }
    nic_rx_release(ask->nic, frames, count);
    return taken;
}

void ask_status(struct ask *ask, struct ask_answer answers[VOTERS_MAX])
{
    memset(answers, 0, VOTERS_MAX * sizeof answers[0]);
    ask->token++;
    uint32_t missing = ask->config->node_count;
    uint64_t begin_ns = clock_now_ns();
    uint64_t resend_ns = begin_ns;
    uint64_t at_ns = begin_ns;
    while (missing > 0 && at_ns - begin_ns < ASK_TIMEOUT_NS) {
        if (at_ns >= resend_ns) {
            send_questions(ask, answers);
            resend_ns = at_ns + ASK_RESEND_NS;
        }
        struct pollfd waits = {.fd = nic_wait_fd(ask->nic), .events = POLLIN};
        (void)poll(&waits, 1, (int)((resend_ns - at_ns) / ASK_NS_PER_MS) + 1);
        uint32_t taken = take_answers(ask, answers);
        ASSERT(taken <= missing);
        missing -= taken;
        at_ns = clock_now_ns();
    }
}
