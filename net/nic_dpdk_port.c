/* nic_dpdk_port.c: frames through an open Ethernet port. See nic_dpdk_port.h.
 *
 * Everything goes through queue 0 of the port. What is received and answered (ARP, ping) goes back
 * in the buffer it came in. What is sent is copied into a single buffer of the port's own pool, or,
 * when its body is large and pinned and the port is one for it, goes as a chain: the headers in one
 * buffer, and one that names the body where it is. The pin ends when the driver frees the chain.
 */
#define _GNU_SOURCE /* What DPDK's headers ask for; CLOCK_MONOTONIC_COARSE. */
#include "net/nic_dpdk_capture.h"
#include "net/nic_dpdk_chain.h"
#include "net/nic_dpdk_port_data.h"

#include <time.h>

#define NS_A_SECOND 1000000000ull

static struct nic_port *of_nic(struct nic *nic)
{
    return (struct nic_port *)(void *)nic;
}

/* Ages of neighbours are seconds: a few nanoseconds for a few milliseconds of precision. */
static uint64_t coarse_now_ns(void)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    ASSERT(result == 0);
    return (uint64_t)now.tv_sec * NS_A_SECOND + (uint64_t)now.tv_nsec;
}

/* ---- The link ---- */

static bool link_is_up(const struct nic_port *own)
{
    if (own->interface.name[0] != '\0') {
        return interface_is_running(own->interface.name);
    }
    struct rte_eth_link link;
    return rte_eth_link_get_nowait(own->port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

/* What the port lost for want of buffers, as far as its driver or the kernel says. */
static void losses_count(struct nic_port *own)
{
    struct rte_eth_stats stats;
    if (own->kind == NIC_AF_PACKET && own->wait_fd >= 0) {
        own->nic.counters.rx_no_buffer += interface_packets_dropped(own->wait_fd);
    } else if (rte_eth_stats_get(own->port, &stats) == 0) {
        own->nic.counters.rx_no_buffer = stats.imissed + stats.rx_nombuf;
    }
}

/* Now and then: a link that comes back may be another segment's, so say who is here. */
static void port_look(struct nic_port *own)
{
    bool first = own->looked_ns == 0;
    own->looked_ns = own->now_ns;
    bool up = link_is_up(own);
    if (own->wait_fd >= 0) {
        interface_socket_clear(own->wait_fd);
    }
    losses_count(own);
    if (UNLIKELY(up != own->link_up)) {
        own->link_up = up;
        own->nic.link_is_down = !up;
        own->nic.counters.link_losses += !up && !first;
        if (up) {
            nic_port_send_own(own, nic_port_announce);
        }
    }
}

/* Send what the driver takes, free the rest; returns how many it took. */
static uint32_t packets_send(struct nic_port *own, struct rte_mbuf **buffers, uint32_t count)
{
    struct capture *capture = own->nic.capture;
    if (UNLIKELY(capture != NULL)) {
        nic_dpdk_capture_out(capture, buffers, count);
    }
    uint32_t sent = rte_eth_tx_burst(own->port, 0, buffers, (uint16_t)count);
    ASSERT(sent <= count);
    if (UNLIKELY(capture != NULL)) {
        nic_dpdk_capture_taken(capture, sent);
    }
    if (UNLIKELY(sent < count)) {
        rte_pktmbuf_free_bulk(buffers + sent, count - sent);
    }
    return sent;
}

/* ---- Receive ---- */

/* One packet from the port: true when it is a frame for the caller. Otherwise it is freed, or an
 * answer that waits in `answers`. */
static bool packet_take(struct nic_port *own,
                        struct rte_mbuf *buffer,
                        struct nic_frame *frame,
                        struct rte_mbuf **answers,
                        uint32_t *answer_count)
{
    struct nic_counters *counters = &own->nic.counters;
    if (UNLIKELY(buffer->nb_segs != 1)) {
        headers_count(counters, HEADERS_LONG); /* Longer than any frame of ours. */
        rte_pktmbuf_free(buffer);
        return false;
    }
    ASSERT(buffer->data_off + ETHERNET_PACKET_MIN <= buffer->buf_len);
    uint8_t *packet = rte_pktmbuf_mtod(buffer, uint8_t *);
    uint32_t packet_bytes = buffer->data_len;
    struct headers_found found;
    switch (endpoint_receive(&own->endpoint, packet, &packet_bytes, own->now_ns, &found)) {
    case ENDPOINT_FRAME:
        break;
    case ENDPOINT_REPLY:
        ASSERT(buffer->data_off + packet_bytes <= buffer->buf_len);
        buffer->data_len = (uint16_t)packet_bytes;
        buffer->pkt_len = packet_bytes;
        buffer->ol_flags = 0;
        answers[(*answer_count)++] = buffer;
        return false;
    case ENDPOINT_DROPPED:
        rte_pktmbuf_free(buffer);
        return false;
    }
    *frame = (struct nic_frame){
        .data = packet + HEADERS_BYTES,
        .bytes = found.payload_bytes,
        .from = found.from,
        .owner = buffer,
    };
    counters->rx_frames++;
    counters->rx_bytes += found.payload_bytes;
    return true;
}

/* One burst from the driver: frames that it had are added to `*count`. Returns its packets. */
static uint32_t
packets_take(struct nic_port *own, struct nic_frame *frames, uint32_t frames_max, uint32_t *count)
{
    struct rte_mbuf *buffers[RX_BURST_MAX];
    struct rte_mbuf *answers[RX_BURST_MAX];
    uint32_t received = rte_eth_rx_burst(own->port, 0, buffers, (uint16_t)frames_max);
    ASSERT(received <= frames_max);
    if (UNLIKELY(own->nic.capture != NULL)) { /* Before answers are made of questions. */
        nic_dpdk_capture_in(own->nic.capture, buffers, received);
    }
    uint32_t frame_count = 0;
    uint32_t answer_count = 0;
    for (uint32_t i = 0; i < received; i++) {
        frame_count += packet_take(own, buffers[i], &frames[frame_count], answers, &answer_count);
    }
    if (UNLIKELY(answer_count > 0)) {
        (void)packets_send(own, answers, answer_count);
    }
    *count += frame_count;
    return received;
}

static uint32_t port_rx_burst(struct nic *nic, struct nic_frame *frames, uint32_t frames_max)
{
    struct nic_port *own = of_nic(nic);
    ASSERT(own->open);
    ASSERT(own->held_count == 0);
    own->now_ns = coarse_now_ns();
    if (UNLIKELY(own->now_ns - own->looked_ns >= PORT_LOOK_NS)) {
        port_look(own);
    }
    if (UNLIKELY(own->pinned_count > 0)) {
        nic_port_chains_reap(own);
    }
    uint32_t count = 0;
    uint32_t wanted = frames_max;
    uint32_t received = wanted;
    /* Frames behind a burst of what is none are reached; some rounds, for time must go on. */
    for (uint32_t i = 0; i < RX_BURSTS_MAX && received == wanted && count < frames_max; i++) {
        wanted = frames_max - count;
        received = packets_take(own, frames + count, wanted, &count);
    }
    own->held_count = count;
    return count;
}

static void port_rx_release(struct nic *nic, const struct nic_frame *frames, uint32_t count)
{
    struct nic_port *own = of_nic(nic);
    ASSERT(count <= own->held_count);
    struct rte_mbuf *buffers[RX_BURST_MAX];
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(frames[i].owner != NULL);
        buffers[i] = frames[i].owner;
    }
    if (count > 0) {
        rte_pktmbuf_free_bulk(buffers, count);
    }
    own->held_count -= count;
}

/* ---- Transmit ---- */

static struct rte_mbuf *packet_begin(struct nic_port *own, uint32_t bytes)
{
    struct rte_mbuf *buffer = rte_pktmbuf_alloc(own->pool);
    if (UNLIKELY(buffer == NULL)) {
        return NULL;
    }
    ASSERT(buffer->data_off + bytes <= buffer->buf_len);
    buffer->data_len = (uint16_t)bytes;
    buffer->pkt_len = bytes;
    return buffer;
}

void nic_port_announce(struct endpoint *endpoint, uint8_t *out)
{
    endpoint_ask(endpoint, endpoint->self.address.ipv4, out);
}

void nic_port_send_own(struct nic_port *own, nic_port_packet make)
{
    struct rte_mbuf *buffer = packet_begin(own, ETHERNET_PACKET_MIN);
    if (buffer == NULL) {
        own->nic.counters.tx_no_buffer++;
        return;
    }
    make(&own->endpoint, rte_pktmbuf_mtod(buffer, uint8_t *));
    (void)packets_send(own, &buffer, 1);
}

/* Ask for a MAC. The burst that waits for it goes on meanwhile. */
static void ask_send(struct nic_port *own, uint32_t ipv4)
{
    struct rte_mbuf *buffer = packet_begin(own, ETHERNET_PACKET_MIN);
    if (buffer == NULL) {
        own->nic.counters.tx_no_buffer++;
        return;
    }
    endpoint_ask(&own->endpoint, ipv4, rte_pktmbuf_mtod(buffer, uint8_t *));
    (void)packets_send(own, &buffer, 1);
}

static struct rte_mbuf *
copy_make(struct nic_port *own, const struct nic_send *send, const struct headers_end *to)
{
    uint32_t payload_bytes = send->head_bytes + send->body_bytes;
    struct rte_mbuf *buffer = packet_begin(own, HEADERS_BYTES + payload_bytes);
    if (UNLIKELY(buffer == NULL)) {
        own->nic.counters.tx_no_buffer++;
        return NULL;
    }
    uint8_t *packet = rte_pktmbuf_mtod(buffer, uint8_t *);
    headers_build(packet, &own->endpoint.self, to, payload_bytes);
    memcpy(packet + HEADERS_BYTES, send->head, send->head_bytes);
    if (send->body_bytes > 0) {
        memcpy(packet + HEADERS_BYTES + send->head_bytes, send->body, send->body_bytes);
    }
    return buffer;
}

/* One frame into a buffer, or two. NULL: counted. */
static struct rte_mbuf *frame_make(struct nic_port *own, const struct nic_send *send)
{
    uint32_t payload_bytes = send->head_bytes + send->body_bytes;
    ASSERT(payload_bytes > 0);
    ASSERT(payload_bytes <= own->nic.frame_bytes_max);
    struct headers_end to = {.address = send->to};
    bool ask = false;
    bool known = endpoint_route(&own->endpoint, send->to, own->now_ns, &to.mac, &ask);
    if (UNLIKELY(ask)) {
        ask_send(own, send->to.ipv4);
    }
    if (UNLIKELY(!known)) {
        return NULL;
    }
    bool stays =
        own->chains != NULL && send->pin.pages != NULL && send->body_bytes >= PORT_EXTERNAL_BYTES;
    struct rte_mbuf *chain = stays ? nic_port_chain_make(own, send, &to) : NULL;
    return chain != NULL ? chain : copy_make(own, send, &to);
}

static uint32_t port_tx_burst(struct nic *nic, const struct nic_send *sends, uint32_t count)
{
    struct nic_port *own = of_nic(nic);
    ASSERT(own->open);
    struct rte_mbuf *buffers[TX_BURST_MAX];
    uint32_t frame_bytes[TX_BURST_MAX]; /* A sent buffer is the driver's. */
    uint32_t made = 0;
    uint32_t chained = 0; /* Bit n: frame n. */
    for (uint32_t i = 0; i < count; i++) {
        struct rte_mbuf *buffer = frame_make(own, &sends[i]);
        if (buffer != NULL) {
            frame_bytes[made] = buffer->pkt_len - HEADERS_BYTES;
            chained |= (buffer->nb_segs > 1 ? 1u : 0u) << made;
            buffers[made++] = buffer;
        }
    }
    uint32_t sent = made > 0 ? packets_send(own, buffers, made) : 0;
    ASSERT(sent <= made);
    for (uint32_t i = 0; i < sent; i++) {
        nic->counters.tx_bytes += frame_bytes[i];
        nic->counters.tx_external += chained >> i & 1u;
        nic->counters.tx_copied += ~chained >> i & 1u;
    }
    nic->counters.tx_frames += sent;
    nic->counters.tx_dropped += count - sent;
    return sent;
}

static int port_wait_fd(const struct nic *nic)
{
    return ((const struct nic_port *)(const void *)nic)->wait_fd;
}

static void port_close(struct nic *nic)
{
    struct nic_port *own = of_nic(nic);
    ASSERT(own->open);
    ASSERT(own->held_count == 0);
    own->open = false;
    nic_port_free(own); /* The driver's end is the end of every pin. */
}

const struct nic_ops nic_port_ops = {
    .rx_burst = port_rx_burst,
    .rx_release = port_rx_release,
    .tx_burst = port_tx_burst,
    .wait_fd = port_wait_fd,
    .close = port_close,
};

struct nic_port_facts nic_dpdk_port_facts(const struct nic *nic)
{
    ASSERT(nic->ops == &nic_port_ops);
    return ((const struct nic_port *)(const void *)nic)->facts;
}
