/* ask.c: see ask.h. */
#include "engine/cli/ask.h"

#include "engine/base/clock.h"
#include "engine/cli/make_log.h"
#include "net/nic_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define ASK_NS_PER_MS 1000000u

_Static_assert(WIRE_STATUS_REPLY == WIRE_STATUS + 1, "an answer is the kind after its question");
_Static_assert(WIRE_TRANSFER_REPLY == WIRE_TRANSFER + 1, "the same");
_Static_assert(WIRE_STATS_REPLY == WIRE_STATS + 1, "the same");

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

/* One question to some nodes, and what came back. */
struct ask_round {
    struct wire_frame question;            /* Its kind and fixed part; the header is this file's. */
    raft_set waiting;                      /* Nodes that have not answered yet. */
    struct wire_frame answers[VOTERS_MAX]; /* By place in the configuration; without a payload. */
    struct ask_stats *stats; /* The same; of STATS alone, asked for from where they end. */
};

static void take_items(const struct wire_frame *frame, struct ask_stats *stats)
{
    bool goes_on = frame->stats_reply.first == stats->count && frame->stats_reply.count > 0;
    bool is_first = stats->count == 0;
    if (!goes_on || (!is_first && (frame->header.from_boot != stats->boot ||
                                   frame->stats_reply.total != stats->total))) {
        return;
    }
    stats->boot = frame->header.from_boot;
    stats->total = frame->stats_reply.total;
    uint32_t at = 0;
    for (uint32_t i = 0; i < frame->stats_reply.count; i++) {
        struct wire_item item;
        bool sound = wire_item_next(frame->payload, frame->payload_bytes, &at, &item);
        ASSERT(sound);
        ASSERT(stats->count < STATS_ITEMS_MAX);
        struct ask_item *out = &stats->items[stats->count++];
        *out = (struct ask_item){.value = item.value, .kind = item.kind};
        memcpy(out->name, item.name, item.name_bytes);
        memcpy(out->text, item.text, item.text_bytes);
    }
    stats->reachable = stats->count == stats->total;
}

/* Ask whoever has not answered yet. */
static void send_questions(struct ask *ask, const struct ask_round *round)
{
    struct nic_send sends[VOTERS_MAX];
    uint8_t heads[VOTERS_MAX][WIRE_HEAD_BYTES_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < ask->config->node_count; i++) {
        uint8_t id = ask->config->nodes[i].id;
        if ((round->waiting >> id & 1) == 0) {
            continue;
        }
        struct wire_frame frame = round->question;
        frame.header.to = id;
        frame.header.cluster = ask->config->cluster;
        frame.header.from_store = ask->id;
        frame.header.from_boot = ask->id;
        frame.header.token = ask->token;
        if (round->stats != NULL) {
            frame.stats.first = (uint16_t)round->stats[i].count;
        }
        sends[count] = (struct nic_send){
            .to = ask->config->nodes[i].address,
            .head = heads[count],
            .head_bytes = wire_encode(&frame, heads[count]),
        };
        count++;
    }
    (void)nic_tx_burst(ask->nic, sends, count);
}

/* An answer of this round, from whoever has not given one yet. */
static void
take_answer(const struct ask *ask, struct ask_round *round, const struct wire_frame *frame)
{
    for (uint32_t i = 0; i < ask->config->node_count; i++) {
        uint8_t id = ask->config->nodes[i].id;
        if (id != frame->header.from || (round->waiting >> id & 1) == 0) {
            continue;
        }
        round->answers[i] = *frame;
        round->waiting &= ~(1ull << id);
        if (round->stats != NULL) {
            take_items(frame, &round->stats[i]);
        }
    }
}

/* Take one burst of answers. */
static void take_answers(struct ask *ask, struct ask_round *round)
{
    struct wire_self self = {.cluster = ask->config->cluster, .boot = ask->id};
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t count = nic_rx_burst(ask->nic, frames, RX_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct wire_frame frame;
        if (wire_decode(&self, frames[i].data, frames[i].bytes, &frame, &ask->counters) !=
                WIRE_DROP_ok ||
            frame.header.kind != round->question.header.kind + 1 ||
            frame.header.token != ask->token) {
            continue;
        }
        take_answer(ask, round, &frame);
    }
    nic_rx_release(ask->nic, frames, count);
}

/* Until everybody has answered or time is up. */
static void ask_round(struct ask *ask, uint64_t timeout_ns, struct ask_round *round)
{
    ask->token++;
    uint64_t begin_ns = clock_now_ns();
    uint64_t resend_ns = begin_ns;
    uint64_t at_ns = begin_ns;
    while (round->waiting != 0 && at_ns - begin_ns < timeout_ns) {
        if (at_ns >= resend_ns) {
            send_questions(ask, round);
            resend_ns = at_ns + ASK_RESEND_NS;
        }
        uint64_t end_ns = begin_ns + timeout_ns;
        uint64_t until_ns = resend_ns < end_ns ? resend_ns : end_ns;
        struct pollfd waits = {.fd = nic_wait_fd(ask->nic), .events = POLLIN};
        (void)poll(&waits, 1, (int)((until_ns - at_ns) / ASK_NS_PER_MS) + 1);
        take_answers(ask, round);
        at_ns = clock_now_ns();
    }
}

void ask_status(struct ask *ask, uint64_t timeout_ns, struct ask_answer answers[VOTERS_MAX])
{
    struct ask_round round = {.question = {.header = {.kind = WIRE_STATUS}}};
    for (uint32_t i = 0; i < ask->config->node_count; i++) {
        round.waiting |= 1ull << ask->config->nodes[i].id;
    }
    ask_round(ask, timeout_ns, &round);
    memset(answers, 0, VOTERS_MAX * sizeof answers[0]);
    for (uint32_t i = 0; i < ask->config->node_count; i++) {
        if ((round.waiting >> ask->config->nodes[i].id & 1) == 0) {
            answers[i] = (struct ask_answer){
                .reachable = true,
                .status = round.answers[i].status_reply,
            };
        }
    }
}

bool ask_transfer(struct ask *ask,
                  uint8_t node,
                  uint8_t to,
                  uint64_t timeout_ns,
                  struct wire_transfer_reply *reply)
{
    ASSERT(node != 0);
    ASSERT(to <= NODE_ID_MAX);
    struct ask_round round = {
        .question = {.header = {.kind = WIRE_TRANSFER}, .transfer = {.to = to}},
        .waiting = 1ull << node,
    };
    ask_round(ask, timeout_ns, &round);
    for (uint32_t i = 0; i < ask->config->node_count; i++) {
        if (ask->config->nodes[i].id == node && round.waiting == 0) {
            *reply = round.answers[i].transfer_reply;
            return true;
        }
    }
    return false;
}

void ask_stats(struct ask *ask,
               raft_set nodes,
               uint64_t timeout_ns,
               struct ask_stats answers[VOTERS_MAX])
{
    memset(answers, 0, VOTERS_MAX * sizeof answers[0]);
    /* Every answer brings an item at least. */
    for (uint32_t i = 0; i < STATS_ITEMS_MAX && nodes != 0; i++) {
        struct ask_round round = {
            .question = {.header = {.kind = WIRE_STATS}},
            .waiting = nodes,
            .stats = answers,
        };
        uint32_t before[VOTERS_MAX] = {0};
        for (uint32_t k = 0; k < ask->config->node_count; k++) {
            before[k] = answers[k].count;
        }
        ask_round(ask, timeout_ns, &round);
        for (uint32_t k = 0; k < ask->config->node_count; k++) {
            bool goes_on = answers[k].count > before[k] && !answers[k].reachable;
            nodes &= goes_on ? ~0ull : ~(1ull << ask->config->nodes[k].id);
        }
    }
}
