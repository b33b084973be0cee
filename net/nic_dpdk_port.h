/* nic_dpdk_port.h: the nic over one Ethernet port: af_packet, af_xdp, tap, a card, or any other
 * driver of DPDK.
 *
 * The port is used as its driver offers it: one receive and one transmit queue, UDP checksum zero.
 * Where the driver takes chained buffers and can be trusted with memory that is not DPDK's, large
 * bodies that may be pinned are sent from where they are, behind a buffer with the headers;
 * everything else is copied into single buffers. The node's address need not be known
 * to the kernel, and must not be its own: ARP and ping are answered here (net/endpoint.h).
 *
 * No rte_*.h here, as in nic_dpdk.h, whose EAL this shares.
 */
#ifndef NET_NIC_DPDK_PORT_H
#define NET_NIC_DPDK_PORT_H

#include "engine/base/fault.h"
#include "net/capture_file.h"
#include "net/nic.h"
#include "net/spec.h"

/* The memory in which every pinned body lies: whole pages. */
struct nic_port_region {
    void *base;
    uint64_t bytes;
};

struct nic_port_config {
    const struct nic_spec *spec; /* Neither NIC_RING nor NIC_UDP. */
    struct nic_address self;
    struct nic_accept accept; /* What else comes is dropped; by the kernel on a packet socket. */
    uint32_t frame_bytes_min; /* What the caller can work with; 0: FRAME_BYTES_MIN. */
    uint64_t fresh_ns;        /* Of neighbours; 0: NEIGHBOUR_FRESH_NS. */
    uint32_t buffers;         /* Frames under way in the port; 0: as many as its rings need. */
    uint32_t port_count;      /* Like it, that this process opens in all; 0: this one. The first
                                 open sets EAL's memory aside for all of them. */
    struct nic_port_region region;      /* Where bodies lie that are pinned; cards must know it. */
    const struct capture_file *capture; /* Memory is taken for a capture into it; NULL: for none. */
    uint32_t eal_argc; /* What the user wrote after `--`, handed to EAL verbatim. */
    char *const *eal_argv;
};

/* What the port turned out to be. */
struct nic_port_facts {
    char driver[32];
    uint8_t mac[6];
    uint32_t mtu;
    bool chains;           /* The driver offers chained buffers. */
    const char *fan_out;   /* "external", or "copy" and why. */
    uint64_t memory_bytes; /* Of its buffers, from EAL's. */
};

/* Open the port, ask the segment whether the address is taken, and announce it. Blocks for about
 * PORT_PROBES x PORT_PROBE_NS. Used by one thread at a time. Returns 0, or -errno with the reason
 * in `fault` and nothing left open or changed. */
MUST_USE int
nic_dpdk_port_open(struct nic **out, const struct nic_port_config *config, struct fault *fault);

/* What a port of this kind locks in memory, at the usual MTU; 0: nothing that a limit counts. */
uint64_t nic_dpdk_port_pinned_bytes(enum nic_kind kind);

/* `nic` was opened by nic_dpdk_port_open(). */
struct nic_port_facts nic_dpdk_port_facts(const struct nic *nic);

#endif
