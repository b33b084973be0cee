/* nic_dpdk.h: the nic over DPDK ports.
 *
 * `ring` so far: one net_ring port an endpoint, all in one process, without huge pages, devices or
 * privilege. Frames still go through rte_eth_rx_burst() and rte_eth_tx_burst() and carry Ethernet,
 * IPv4 and UDP headers that the receiver checks, as on a wire.
 *
 * No rte_*.h here: DPDK stays inside net/nic_dpdk.c. A process has one EAL, started by the first
 * open and ended by nic_dpdk_stop(); it cannot be started twice.
 */
#ifndef NET_NIC_DPDK_H
#define NET_NIC_DPDK_H

#include "engine/base/fault.h"
#include "net/nic.h"

struct nic_ring_config {
    const struct nic_address *addresses; /* One an endpoint, all different. */
    uint32_t count;                      /* 1 to NIC_ENDPOINTS_MAX. */
    uint32_t frame_bytes_max;            /* FRAME_BYTES_MIN to FRAME_BYTES_MAX. */
    uint32_t slots;    /* Frames waiting at one endpoint; a power of two, 0: the default. */
    uint32_t buffers;  /* Frames one endpoint may have under way, 0: the default. */
    uint32_t eal_argc; /* What the user wrote after `--`, handed to EAL verbatim. */
    char *const *eal_argv;
};

/* Open `config->count` endpoints, each reachable from all, itself included.
 *
 * `nics[i]` answers to addresses[i]. All memory is taken here, from EAL's. Each nic is used by one
 * thread at a time; different nics may be on different threads. The last nic_close() frees the
 * rings: until then an endpoint already closed is a wire that nobody reads.
 *
 * Returns 0, or -errno with the reason in `fault` and nothing left open. EAL's own words are kept
 * off stdout and stderr; `fault` may quote their last line. */
MUST_USE int
nic_dpdk_ring_open(struct nic **nics, const struct nic_ring_config *config, struct fault *fault);

/* Bytes of EAL memory that nic_dpdk_ring_open() needs with this configuration. */
uint64_t nic_dpdk_ring_memory_bytes(const struct nic_ring_config *config);

/* Give the calling thread its own buffer caches. Every thread but the first opener's calls this
 * before it polls and leave when it ends; without it all works, some tens of nanoseconds a burst
 * slower. */
void nic_dpdk_thread_enter(void);
void nic_dpdk_thread_leave(void);

/* End EAL, after every nic is closed. Nothing can be opened after that. */
void nic_dpdk_stop(void);

#endif
