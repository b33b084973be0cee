/* nic.h: frames to and from the network.
 *
 * The contract is weak on purpose, so that a simulator can be at least as unkind as a network: a
 * frame may be lost, repeated, delayed or reordered; it is never silently truncated. Bursts
 * amortise the indirect call. A frame here is the payload of one UDP datagram; Ethernet, ARP, IPv4
 * and UDP stay below. Nothing in this file knows Raft, and nothing outside net/nic_dpdk.c knows
 * DPDK.
 */
#ifndef NET_NIC_H
#define NET_NIC_H

#include "engine/base/assert.h"
#include "engine/base/counter.h"
#include "engine/base/limits.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Where a frame comes from or goes to. Host byte order. */
struct nic_address {
    uint32_t ipv4;
    uint16_t port;
};

/* A received frame. `data` is 8-byte aligned or not as the device pleases (copy headers out), and
 * readable until nic_rx_release(). */
struct nic_frame {
    const uint8_t *data;
    uint32_t bytes;
    struct nic_address from;
    void *owner; /* The implementation's buffer. */
};

/* Leave to read a body after tx_burst() has returned: one counter, the caller's, for every page of
 * the memory in which the body lies. A port that reads later raises all of them within tx_burst(),
 * and lowers them when it has read; until they are zero the caller writes nothing there. The
 * counters outlive the port. Without leave (`pages` is NULL), or as it pleases, a port copies. */
struct nic_pin {
    uint16_t *pages;
    uint32_t page_count;
};

/* A frame to send: `head` then `body`. Both are copied before tx_burst() returns, but for a body
 * that is pinned. */
struct nic_send {
    struct nic_address to;
    const uint8_t *head;
    const uint8_t *body; /* NULL when body_bytes is 0. */
    uint32_t head_bytes;
    uint32_t body_bytes;
    struct nic_pin pin;
};

/* What every frame that is wanted here has: so many bytes at least, and these at their places. A
 * port that can drops the rest before it costs anything, in the kernel where that has a filter, so
 * that garbage neither fills its buffers nor wakes anybody. No promise: whoever takes the frame
 * checks all of it. What the bytes mean is their owner's business. */
struct nic_accept {
    uint32_t bytes_min;
    uint32_t word_count; /* 0: everything is wanted. */
    struct nic_accept_word {
        uint32_t offset;
        uint8_t bytes[4];
    } words[NIC_ACCEPT_WORDS];
};

/* clang-format off */
#define NIC_COUNTERS(X) \
    X(rx_frames) X(rx_bytes) X(tx_frames) X(tx_bytes) X(tx_dropped) X(rx_not_ipv4) X(rx_not_udp) \
    X(rx_not_mine) X(rx_short) X(rx_long) X(rx_checksum) X(rx_fragmented) X(rx_no_buffer) \
    X(rx_unwanted) X(rx_kernel_drops) X(rx_unanswered) \
    X(tx_no_buffer) X(tx_unknown) \
    X(rx_arp) X(rx_arp_bad) X(rx_arp_conflicts) X(rx_echoes) X(rx_echoes_bad) X(tx_arp) \
    X(tx_unresolved) X(neighbours_moved) X(neighbours_evicted) X(link_losses) X(tx_external) \
    X(tx_copied)
/* clang-format on */
COUNTERS_DECLARE(nic, NIC_COUNTERS);

struct nic;
struct capture;

struct nic_ops {
    uint32_t (*rx_burst)(struct nic *nic, struct nic_frame *frames, uint32_t frames_max);
    void (*rx_release)(struct nic *nic, const struct nic_frame *frames, uint32_t count);
    uint32_t (*tx_burst)(struct nic *nic, const struct nic_send *sends, uint32_t count);
    int (*wait_fd)(const struct nic *nic);
    void (*close)(struct nic *nic);
};

/* First member of every implementation. */
struct nic {
    const struct nic_ops *ops;
    struct nic_address self;
    uint32_t frame_bytes_max; /* Largest frame this port carries, <= FRAME_BYTES_MAX. */
    struct nic_counters counters;
    bool link_is_down;       /* As last seen; only ports that have a link look. */
    struct capture *capture; /* Who writes down what passes (net/capture.h); NULL: nobody. */
};

/* Take up to `frames_max` (1 to RX_BURST_MAX) frames; returns how many, 0 when idle. */
static inline uint32_t nic_rx_burst(struct nic *nic, struct nic_frame *frames, uint32_t frames_max)
{
    ASSERT(frames_max > 0);
    ASSERT(frames_max <= RX_BURST_MAX);
    uint32_t count = nic->ops->rx_burst(nic, frames, frames_max);
    ASSERT(count <= frames_max);
    return count;
}

/* Give back frames of one burst, all of them, before the next burst is taken. */
static inline void nic_rx_release(struct nic *nic, const struct nic_frame *frames, uint32_t count)
{
    nic->ops->rx_release(nic, frames, count);
}

/* Send up to TX_BURST_MAX frames. Frames that the port does not take are dropped and counted: a
 * frame may be lost anyway, and what matters is repaired above. Returns how many were taken. */
static inline uint32_t nic_tx_burst(struct nic *nic, const struct nic_send *sends, uint32_t count)
{
    ASSERT(count <= TX_BURST_MAX);
    return nic->ops->tx_burst(nic, sends, count);
}

/* A descriptor that becomes readable when a frame may have arrived, or -1: the port has none. */
static inline int nic_wait_fd(const struct nic *nic)
{
    return nic->ops->wait_fd(nic);
}

static inline void nic_close(struct nic *nic)
{
    nic->ops->close(nic);
}

/* A port's side of a pin: it reads the body from now on, or no more. */
static inline void nic_pin_raise(const struct nic_pin *pin)
{
    for (uint32_t i = 0; i < pin->page_count; i++) {
        ASSERT(pin->pages[i] < UINT16_MAX);
        pin->pages[i]++;
    }
}

static inline void nic_pin_lower(const struct nic_pin *pin)
{
    for (uint32_t i = 0; i < pin->page_count; i++) {
        ASSERT(pin->pages[i] > 0);
        pin->pages[i]--;
    }
}

/* Whether a frame is wanted. */
static inline bool nic_accepts(const struct nic_accept *accept, const uint8_t *data, uint32_t bytes)
{
    if (accept->word_count == 0) {
        return true;
    }
    bool same = bytes >= accept->bytes_min;
    for (uint32_t i = 0; same && i < accept->word_count; i++) {
        const struct nic_accept_word *word = &accept->words[i];
        ASSERT(word->offset + sizeof word->bytes <= accept->bytes_min);
        same = memcmp(data + word->offset, word->bytes, sizeof word->bytes) == 0;
    }
    return same;
}

static inline bool nic_address_equal(struct nic_address a, struct nic_address b)
{
    return a.ipv4 == b.ipv4 && a.port == b.port;
}

#endif
