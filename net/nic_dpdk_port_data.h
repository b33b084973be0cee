/* nic_dpdk_port_data.h: an open Ethernet port, between net/nic_dpdk_open.c, which makes it, and
 * net/nic_dpdk_port.c, which moves its frames. For these two alone.
 */
#ifndef NET_NIC_DPDK_PORT_DATA_H
#define NET_NIC_DPDK_PORT_DATA_H

#include "net/endpoint.h"
#include "net/interface.h"
#include "net/nic_dpdk_port.h"
#include "net/xdp.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

struct nic_port {
    struct nic nic; /* First: the seam. */
    struct endpoint endpoint;
    struct rte_mempool *pool;
    /* A frame whose body stays where it is: a buffer with the head, and one that names the body. */
    struct rte_mempool *chains; /* Of both; NULL: every frame is copied. */
    uint32_t pinned_count;      /* Bodies that the driver still reads. */
    bool reaps;                 /* It is told to look for what it has sent. */
    uint16_t port;
    uint32_t held_count; /* Frames the caller has not released. */
    uint64_t now_ns;     /* Coarse: as of the last receive. */
    uint64_t looked_ns;  /* At the link. */
    bool link_up;
    bool open;
    int wait_fd; /* The driver's own, -1: none. */

    /* What close undoes, as far as open came. */
    enum nic_kind kind;
    bool probed; /* The device is there. */
    bool started;
    char name[RTE_ETH_NAME_MAX_LEN];
    struct interface interface; /* Before; its name is empty for a port without one. */
    struct xdp_claim xdp;
    struct nic_port_facts facts;
    struct nic_port_region region; /* Mapped for the card; bytes 0: nothing is. */
    struct rte_device *device;
};

/* Private to a buffer that names a body. */
struct nic_port_body {
    struct rte_mbuf_ext_shared_info shared;
    struct nic_port *port;
    struct nic_pin pin;
};

extern const struct nic_ops nic_port_ops;

/* Send one packet of the endpoint's own making. */
typedef void (*nic_port_packet)(struct endpoint *endpoint, uint8_t *out);
void nic_port_send_own(struct nic_port *own, nic_port_packet make);

/* Say to the segment that the address is here. */
void nic_port_announce(struct endpoint *endpoint, uint8_t *out);

/* Undo what open did. */
void nic_port_free(struct nic_port *own);

#endif
