/* loop_nic.c: a perfect network in memory. See loop_nic.h. */
#include "tests/support/loop_nic.h"

#include <stdlib.h>
#include <string.h>

static struct loop_port *port_of(const struct loop_net *net, struct nic_address address)
{
    for (uint32_t i = 0; i < net->port_count; i++) {
        if (nic_address_equal(net->ports[i].nic.self, address)) {
            return (struct loop_port *)(uintptr_t)&net->ports[i];
        }
    }
    return NULL;
}

static void shuffle(struct loop_port *port)
{
    uint32_t waiting = port->head - port->tail;
    uint32_t other = port->tail + (uint32_t)prng_below(&port->net->prng, waiting < 4 ? waiting : 4);
    struct loop_frame *a = &port->frames[port->tail % LOOP_FRAMES_MAX];
    struct loop_frame *b = &port->frames[other % LOOP_FRAMES_MAX];
    if (a != b) {
        struct loop_frame kept = *a;
        *a = *b;
        *b = kept;
    }
}

static uint32_t rx_burst(struct nic *nic, struct nic_frame *frames, uint32_t frames_max)
{
    struct loop_port *port = (struct loop_port *)(void *)nic;
    uint32_t count = 0;
    while (count < frames_max && port->tail != port->head) {
        if (port->net->shuffled) {
            shuffle(port);
        }
        struct loop_frame *frame = &port->frames[port->tail++ % LOOP_FRAMES_MAX];
        frames[count++] =
            (struct nic_frame){.data = frame->data, .bytes = frame->bytes, .from = frame->from};
    }
    return count;
}

static void rx_release(struct nic *nic, const struct nic_frame *frames, uint32_t count)
{
    (void)nic;
    (void)frames;
    (void)count;
}

static void put(struct loop_port *to, const struct nic *from, const struct nic_send *send)
{
    struct loop_frame *frame = &to->frames[to->head % LOOP_FRAMES_MAX];
    ASSERT(send->head_bytes + send->body_bytes <= from->frame_bytes_max);
    memcpy(frame->data, send->head, send->head_bytes);
    if (send->body_bytes > 0) {
        memcpy(frame->data + send->head_bytes, send->body, send->body_bytes);
    }
    frame->bytes = send->head_bytes + send->body_bytes;
    frame->from = from->self;
    struct loop_net *net = to->net;
    if (net->lose == NULL || !net->lose(net->context, from->self, send->to, frame->data)) {
        to->head++;
    }
}

static uint32_t tx_burst(struct nic *nic, const struct nic_send *sends, uint32_t count)
{
    struct loop_net *net = ((struct loop_port *)(void *)nic)->net;
    for (uint32_t i = 0; i < count; i++) {
        struct loop_port *to = port_of(net, sends[i].to);
        if (to == NULL || to->head - to->tail >= LOOP_FRAMES_MAX - RX_BURST_MAX) {
            nic->counters.tx_dropped++;
            continue;
        }
        put(to, nic, &sends[i]);
        if (net->shuffled && prng_chance(&net->prng, 100000)) {
            put(to, nic, &sends[i]);
        }
    }
    return count;
}

static int wait_fd(const struct nic *nic)
{
    (void)nic;
    return -1;
}

static void close_port(struct nic *nic)
{
    (void)nic;
}

static const struct nic_ops ops = {.rx_burst = rx_burst,
                                   .rx_release = rx_release,
                                   .tx_burst = tx_burst,
                                   .wait_fd = wait_fd,
                                   .close = close_port};

void loop_net_open(struct loop_net *net, uint32_t port_count, uint32_t frame_bytes_max)
{
    *net = (struct loop_net){.port_count = port_count};
    for (uint32_t i = 0; i < port_count; i++) {
        struct loop_port *port = &net->ports[i];
        port->net = net;
        port->frames = calloc(LOOP_FRAMES_MAX, sizeof *port->frames);
        ASSERT(port->frames != NULL);
        port->nic = (struct nic){.ops = &ops,
                                 .self = {.ipv4 = 0x0a000001u + i, .port = 7000},
                                 .frame_bytes_max = frame_bytes_max};
    }
}

void loop_net_close(struct loop_net *net)
{
    for (uint32_t i = 0; i < net->port_count; i++) {
        free(net->ports[i].frames);
    }
}
