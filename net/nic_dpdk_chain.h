/* nic_dpdk_chain.h: frames of an Ethernet port whose bodies stay where they are: one buffer with
 * the headers, and one that names the body. For net/nic_dpdk_open.c and net/nic_dpdk_port.c alone.
 *
 * Invariant: a body is pinned from nic_port_chain_make() until the driver frees its buffer, and the
 * driver is one that frees what it has sent, at once or when it is told to look.
 */
#ifndef NET_NIC_DPDK_CHAIN_H
#define NET_NIC_DPDK_CHAIN_H

#include "net/nic_dpdk_port_data.h"

/* Before the port is configured: can bodies stay? Says so in own->facts. True: chained buffers are
 * to be asked for, and nic_port_chains_open() after the start does the rest. */
bool nic_port_chains_choose(struct nic_port *own,
                            const struct rte_eth_dev_info *info,
                            const struct nic_port_region *region);

/* After its start: take the buffers. What fails leaves a port that copies, and says why. `number`
 * is the port's within the process. */
void nic_port_chains_open(struct nic_port *own, uint32_t number);

/* After the driver has let go of every buffer. */
void nic_port_chains_close(struct nic_port *own);

/* The frame as a chain, its body pinned; NULL: no buffers are left. */
struct rte_mbuf *nic_port_chain_make(struct nic_port *own,
                                     const struct nic_send *send,
                                     const struct headers_end *to);

/* Let the driver look for what it has sent: it frees that when it needs room, which may be never.
 */
void nic_port_chains_reap(struct nic_port *own);

#endif
