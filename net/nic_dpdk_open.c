/* nic_dpdk_open.c: opening and closing an Ethernet port. See nic_dpdk_port.h.
 *
 * In the order in which a user can mend things: what the kernel says of the interface, EAL, the
 * driver, its limits, its memory, and at last the segment, which is asked whether the address is
 * taken. Whatever fails undoes what came before.
 */
#define _GNU_SOURCE /* What DPDK's headers ask for. */
#include "net/filter.h"
#include "net/nic_dpdk_capture.h"
#include "net/nic_dpdk_chain.h"
#include "net/nic_dpdk_eal.h"
#include "net/nic_dpdk_port_data.h"

#include <errno.h>
#include <rte_bus_vdev.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define CACHE_LINE         64u
#define POOL_CACHE         256u
#define POOL_OBJECT_EXTRA  128u /* Pool header and padding. */
#define POOL_OVERHEAD      (4u << 20)
#define CHAINS_BYTES       (4u << 20) /* More than chained buffers ever take. */
#define XDP_HEADROOM       256u       /* Which the kernel keeps in front of every packet. */
#define XDP_OBJECT_MAX     4096u
#define XDP_ROOM_MAX       3840u      /* More, and the padded object passes a page. */
#define DATA_ROOM_MIN      2176u      /* What drivers of cards expect. */
#define PACKET_BUFFERS     1023u      /* Of af_packet, which copies at once, both ways. */
#define PACKET_RING_BYTES  (4u << 20) /* Of each way: what a burst of others' leaves room in. */
#define PACKET_FRAME_EXTRA 128u       /* The kernel's header of a packet, and alignment. */
#define ARGUMENT_BYTES     256u
#define IPV4_UDP_BYTES     (IPV4_BYTES + UDP_BYTES)

struct plan {
    const struct nic_port_config *config;
    const struct nic_spec *spec;
    uint32_t mtu;
    uint32_t data_room;
    uint32_t buffers;
    uint32_t number; /* Of this port within the process. */
    char arguments[ARGUMENT_BYTES];
};

static bool has_interface(enum nic_kind kind)
{
    return kind == NIC_AF_PACKET || kind == NIC_AF_XDP;
}

static uint32_t round_up(uint32_t value, uint32_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* ---- Sizes ---- */

/* The packet socket's frame: a power of two, so that frames fill its blocks. */
static uint32_t packet_frame_bytes(uint32_t mtu)
{
    uint32_t bytes = 2048;
    while (bytes < mtu + ETHERNET_BYTES + PACKET_FRAME_EXTRA) {
        bytes *= 2;
    }
    return bytes;
}

static uint32_t data_room_of(enum nic_kind kind, uint32_t mtu)
{
    uint32_t packet_bytes = mtu + ETHERNET_BYTES;
    if (kind == NIC_AF_PACKET) {
        return RTE_PKTMBUF_HEADROOM + packet_frame_bytes(mtu);
    }
    uint32_t room = RTE_PKTMBUF_HEADROOM + packet_bytes + (kind == NIC_AF_XDP ? XDP_HEADROOM : 0);
    room = round_up(room, CACHE_LINE);
    return room < DATA_ROOM_MIN ? DATA_ROOM_MIN : room;
}

static uint64_t pool_bytes(const struct plan *plan)
{
    uint64_t object = sizeof(struct rte_mbuf) + plan->data_room + POOL_OBJECT_EXTRA;
    return plan->buffers * object;
}

/* The MTU: as asked for, by default the usual one, and no more than the interface has. */
static int plan_make(struct plan *plan, const struct interface *interface, struct fault *fault)
{
    static uint32_t port_number; /* Opens happen at start, on one thread. */
    const struct nic_spec *spec = plan->spec;
    uint32_t frame_bytes_min =
        plan->config->frame_bytes_min == 0 ? FRAME_BYTES_MIN : plan->config->frame_bytes_min;
    plan->number = port_number++;
    uint32_t interface_mtu = has_interface(spec->kind) ? interface->mtu : PORT_MTU_MAX;
    int result = interface_mtu_check(spec, interface_mtu, frame_bytes_min, &plan->mtu, fault);
    if (result != 0) {
        return result;
    }
    if (plan->mtu < frame_bytes_min + IPV4_UDP_BYTES) {
        fault_set(fault, FAULT_USAGE, "mtu=%u: a node needs at least %u", plan->mtu,
                  frame_bytes_min + IPV4_UDP_BYTES);
        return -EMSGSIZE;
    }
    plan->data_room = data_room_of(spec->kind, plan->mtu);
    if (spec->kind == NIC_AF_XDP && plan->data_room > XDP_ROOM_MAX) {
        fault_set(
            fault, FAULT_USAGE,
            "af_xdp carries packets of at most %u bytes (a page less what the kernel and DPDK "
            "keep), not mtu=%u. Use a smaller one, or af_packet",
            XDP_ROOM_MAX - RTE_PKTMBUF_HEADROOM - XDP_HEADROOM - ETHERNET_BYTES, plan->mtu);
        return -EMSGSIZE;
    }
    plan->buffers = plan->config->buffers;
    if (plan->buffers == 0) {
        plan->buffers = spec->kind == NIC_AF_PACKET ? PACKET_BUFFERS : PORT_BUFFERS;
    }
    return 0;
}

/* ---- The driver ---- */

/* The device's name and arguments. */
static void device_name(struct plan *plan, char name[RTE_ETH_NAME_MAX_LEN])
{
    const struct nic_spec *spec = plan->spec;
    uint32_t frame_bytes = packet_frame_bytes(plan->mtu);
    switch (spec->kind) {
    case NIC_AF_PACKET:
        (void)snprintf(name, RTE_ETH_NAME_MAX_LEN, "net_af_packet%u", plan->number);
        (void)snprintf(plan->arguments, ARGUMENT_BYTES,
                       "iface=%s,blocksz=%u,framesz=%u,framecnt=%u", spec->device,
                       frame_bytes < PAGE_BYTES ? PAGE_BYTES : frame_bytes, frame_bytes,
                       PACKET_RING_BYTES / frame_bytes);
        return;
    case NIC_AF_XDP:
        (void)snprintf(name, RTE_ETH_NAME_MAX_LEN, "net_af_xdp%u", plan->number);
        (void)snprintf(plan->arguments, ARGUMENT_BYTES, "iface=%s,start_queue=%u,busy_budget=0",
                       spec->device, spec->queue);
        return;
    case NIC_TAP:
        (void)snprintf(name, RTE_ETH_NAME_MAX_LEN, "net_tap%u", plan->number);
        (void)snprintf(plan->arguments, ARGUMENT_BYTES, "iface=%s", spec->device);
        return;
    case NIC_VDEV: {
        size_t bytes = strcspn(spec->device, ",");
        (void)snprintf(name, RTE_ETH_NAME_MAX_LEN, "%.*s", (int)bytes, spec->device);
        (void)snprintf(plan->arguments, ARGUMENT_BYTES, "%s",
                       spec->device[bytes] == ',' ? spec->device + bytes + 1 : "");
        return;
    }
    case NIC_PCI:
        (void)snprintf(name, RTE_ETH_NAME_MAX_LEN, "%s", spec->device);
        return;
    case NIC_RING:
    case NIC_UDP:
        break;
    }
    ASSERT(spec->kind == NIC_PCI);
}

/* What mends a device that its driver does not take, by what DPDK said of it. */
static const char *probe_mend(enum nic_kind kind, const char *said)
{
    if (strstr(said, "PACKET_FANOUT") != NULL) {
        return "DPDK numbers its packet sockets by the ids of the process and the interface, and "
               "another process in this network namespace has come to the same number: start "
               "again, which gives another one";
    }
    return kind == NIC_AF_XDP ? "The driver of the interface may lack AF_XDP, or its queue is in "
                                "use: try af_packet"
                              : "Look at the interface with `ip -d link`";
}

static int device_probe(struct nic_port *own, struct plan *plan, struct fault *fault)
{
    device_name(plan, own->name);
    int result = 0;
    if (own->kind != NIC_PCI) {
        result = rte_vdev_init(own->name, plan->arguments);
        own->probed = result == 0;
    }
    if (result == 0) {
        result = rte_eth_dev_get_port_by_name(own->name, &own->port);
    }
    if (result == 0 && own->kind == NIC_PCI) {
        own->probed = true;
    }
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "DPDK's driver does not take `%s:%s` (%s). %s. DPDK said: %s",
                  nic_kind_name(own->kind), plan->spec->device, strerror(-result),
                  probe_mend(own->kind, eal_last_words()), eal_last_words());
    }
    return result;
}

/* A pool of single-segment buffers, in one piece of memory: AF_XDP registers it as such. Objects
 * are packed (NO_IOVA_CONTIG), or else its driver registers less than there is and loses packets;
 * for a card, which reads them by physical address, they must not be. */
static struct rte_mempool *pool_open(const struct plan *plan)
{
    char name[24];
    (void)snprintf(name, sizeof(name), "thole_port%u", plan->number);
    uint32_t flags = plan->spec->kind == NIC_PCI ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
    uint32_t cache = plan->buffers / 4 < POOL_CACHE ? plan->buffers / 4 : POOL_CACHE;
    struct rte_mempool *pool = rte_mempool_create_empty(
        name, plan->buffers, (uint32_t)sizeof(struct rte_mbuf) + plan->data_room, cache,
        sizeof(struct rte_pktmbuf_pool_private), SOCKET_ID_ANY, flags);
    if (pool == NULL) {
        return NULL;
    }
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = (uint16_t)plan->data_room};
    rte_pktmbuf_pool_init(pool, &private);
    if (rte_mempool_set_ops_byname(pool, "ring_mp_mc", NULL) != 0 ||
        rte_mempool_populate_default(pool) < 0) {
        rte_mempool_free(pool);
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    uint32_t object = pool->header_size + pool->elt_size + pool->trailer_size;
    if (plan->spec->kind == NIC_AF_XDP && (pool->nb_mem_chunks != 1 || object > XDP_OBJECT_MAX)) {
        rte_mempool_free(pool);
        return NULL;
    }
    return pool;
}

static uint64_t chains_bytes(const struct nic_port *own)
{
    const struct rte_mempool *pool = own->chains;
    return pool == NULL
               ? 0
               : (uint64_t)pool->size * (pool->header_size + pool->elt_size + pool->trailer_size);
}

static int queues_start(struct nic_port *own, const struct plan *plan)
{
    struct rte_eth_dev_info info;
    int result = rte_eth_dev_info_get(own->port, &info);
    if (result != 0) {
        return result;
    }
    (void)snprintf(own->facts.driver, sizeof(own->facts.driver), "%.31s", info.driver_name);
    if (info.max_rx_queues == 0 || info.max_tx_queues == 0) {
        return -ENOTSUP;
    }
    struct rte_eth_conf plain = {0};
    /* An interface that was there before has its MTU from who made it. */
    bool sets_mtu = !has_interface(own->kind) && plan->mtu > RTE_ETHER_MTU;
    if (sets_mtu && plan->mtu > info.max_mtu) {
        return -EMSGSIZE;
    }
    plain.rxmode.mtu = sets_mtu ? plan->mtu : 0;
    bool chains = nic_port_chains_choose(own, &info, &plan->config->region);
    plain.txmode.offloads = chains ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS : 0;
    uint16_t rx_descriptors = PORT_DESCRIPTORS;
    uint16_t tx_descriptors = PORT_DESCRIPTORS;
    result = rte_eth_dev_configure(own->port, 1, 1, &plain);
    if (result == 0 && sets_mtu) {
        result = rte_eth_dev_set_mtu(own->port, (uint16_t)plan->mtu);
    }
    if (result == 0) {
        result = rte_eth_dev_adjust_nb_rx_tx_desc(own->port, &rx_descriptors, &tx_descriptors);
    }
    if (result == 0) {
        result = rte_eth_rx_queue_setup(own->port, 0, rx_descriptors, (uint32_t)SOCKET_ID_ANY, NULL,
                                        own->pool);
    }
    if (result == 0) {
        result =
            rte_eth_tx_queue_setup(own->port, 0, tx_descriptors, (uint32_t)SOCKET_ID_ANY, NULL);
    }
    if (result == 0) {
        result = rte_eth_dev_start(own->port);
    }
    if (result == 0 && chains) {
        nic_port_chains_open(own, plan->number);
    }
    return result;
}

static int device_start(struct nic_port *own, struct plan *plan, struct fault *fault)
{
    static const int no_domain = -1;
    bool is_xdp = own->kind == NIC_AF_XDP;
    int domain = own->kind == NIC_AF_PACKET ? AF_PACKET : no_domain;
    domain = is_xdp ? AF_XDP : domain;
    struct interface_sockets sockets;
    interface_sockets_note(&sockets, domain);
    int result = device_probe(own, plan, fault);
    if (result != 0) {
        return result;
    }
    own->pool = pool_open(plan);
    result = own->pool == NULL ? -ENOMEM : queues_start(own, plan);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot start the port `%s:%s` (%s): it needs %llu MiB of DPDK's memory, one "
                  "queue each way and packets of %u bytes. DPDK said: %s%s%s",
                  nic_kind_name(own->kind), plan->spec->device, strerror(-result),
                  (unsigned long long)(pool_bytes(plan) >> 20) + 1, plan->mtu + ETHERNET_BYTES,
                  eal_last_words(), is_xdp ? "; libxdp: " : "", is_xdp ? xdp_last_words() : "");
        return result;
    }
    own->started = true;
    own->wait_fd = domain == no_domain ? -1 : interface_sockets_new(&sockets, domain);
    if (own->xdp.fd >= 0) {
        xdp_note(&own->xdp);
    }
    return 0;
}

/* A packet socket sees what is on the wire; most of it is nothing for us. */
static int packets_filter(const struct nic_port *own, const struct plan *plan, struct fault *fault)
{
    if (own->kind != NIC_AF_PACKET || own->wait_fd < 0 || plan->config->accept.word_count == 0) {
        return 0;
    }
    struct filter filter;
    filter_packets(&filter, &plan->config->accept, plan->config->self);
    int result = filter_attach(own->wait_fd, &filter);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot start the port `%s:%s`: the kernel refuses SO_ATTACH_FILTER: %s. Run "
                  "outside a sandbox that emulates sockets",
                  nic_kind_name(own->kind), plan->spec->device, strerror(-result));
    }
    return result;
}

/* Which MAC is ours. The kernel's end of a tap has the port's own, and would take what we send for
 * its own words: there we take another. */
static struct mac mac_choose(const struct nic_port *own, uint32_t ipv4)
{
    struct rte_ether_addr address;
    struct mac mac = {{0}};
    bool is_tap = strcmp(own->facts.driver, "net_tap") == 0;
    if (!is_tap && rte_eth_macaddr_get(own->port, &address) == 0) {
        memcpy(mac.bytes, address.addr_bytes, MAC_BYTES);
    }
    return mac_is_unicast(&mac) ? mac : headers_mac_of(ipv4);
}

/* ---- The segment ---- */

/* Hear what the segment says for a while; frames are thrown away. */
static void segment_hear(struct nic_port *own, uint64_t nap_ns)
{
    struct timespec nap = {.tv_nsec = 1000000};
    for (uint64_t i = 0; i < nap_ns / 1000000; i++) {
        struct nic_frame frames[RX_BURST_MAX];
        uint32_t count = nic_rx_burst(&own->nic, frames, RX_BURST_MAX);
        nic_rx_release(&own->nic, frames, count);
        (void)nanosleep(&nap, NULL);
    }
}

static int address_claim(struct nic_port *own, struct fault *fault)
{
    for (uint32_t i = 0; i < PORT_PROBES; i++) {
        nic_port_send_own(own, endpoint_probe);
        segment_hear(own, PORT_PROBE_NS);
    }
    if (own->nic.counters.rx_arp_conflicts > 0) {
        uint32_t ipv4 = own->nic.self.ipv4;
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the address %u.%u.%u.%u is taken: another host on this segment answers for it. "
                  "See which with `arping` or `ip neighbour` on a neighbour, and stop it, or "
                  "choose another address",
                  ipv4 >> 24, ipv4 >> 16 & 255u, ipv4 >> 8 & 255u, ipv4 & 255u);
        return -EADDRINUSE;
    }
    nic_port_send_own(own, nic_port_announce);
    return 0;
}

/* ---- Open and close ---- */

void nic_port_free(struct nic_port *own)
{
    if (own->started) {
        (void)rte_eth_dev_stop(own->port);
    }
    if (own->probed) {
        (void)rte_eth_dev_close(own->port);
        nic_port_chains_close(own);
        if (own->kind != NIC_PCI) {
            (void)rte_vdev_uninit(own->name);
        }
    }
    rte_mempool_free(own->pool);
    xdp_release(&own->xdp);
    if (own->interface.name[0] != '\0') {
        interface_restore(&own->interface);
    }
    rte_free(own);
}

uint64_t nic_dpdk_port_pinned_bytes(enum nic_kind kind)
{
    return kind != NIC_AF_XDP
               ? 0
               : (uint64_t)PORT_BUFFERS * (data_room_of(kind, PORT_MTU_DEFAULT) + 2 * CACHE_LINE);
}

/* What must hold before EAL runs. */
static int look(const struct nic_port_config *config,
                struct plan *plan,
                struct interface *interface,
                struct fault *fault)
{
    const struct nic_spec *spec = config->spec;
    struct interface_asked asked = {
        .spec = spec,
        .self = config->self,
        .pinned_bytes = nic_dpdk_port_pinned_bytes(spec->kind),
    };
    int result = 0;
    if (has_interface(spec->kind)) {
        result = interface_check(&asked, interface, fault);
    } else {
        result = interface_address_check(config->self.ipv4, fault);
    }
    if (result == 0 && spec->kind == NIC_TAP) {
        result = interface_tap_check(spec, fault);
    }
    if (result == 0 && spec->kind == NIC_PCI) {
        result = interface_pci_check(spec->device, fault);
    }
    return result == 0 ? plan_make(plan, interface, fault) : result;
}

static void port_init(struct nic_port *own, const struct plan *plan)
{
    struct headers_end self = {.mac = mac_choose(own, plan->config->self.ipv4),
                               .address = plan->config->self};
    endpoint_init(&own->endpoint, &self, plan->config->fresh_ns, &own->nic.counters);
    own->endpoint.accept = plan->config->accept;
    own->nic.ops = &nic_port_ops;
    own->nic.self = self.address;
    uint32_t frame_bytes = plan->mtu - IPV4_UDP_BYTES;
    own->nic.frame_bytes_max = frame_bytes < FRAME_BYTES_MAX ? frame_bytes : FRAME_BYTES_MAX;
    own->open = true;
    own->link_up = true;
    memcpy(own->facts.mac, self.mac.bytes, MAC_BYTES);
    own->facts.mtu = plan->mtu;
    own->facts.memory_bytes = pool_bytes(plan) + chains_bytes(own);
}

int nic_dpdk_port_open(struct nic **out, const struct nic_port_config *config, struct fault *fault)
{
    ASSERT(config->spec->kind != NIC_RING);
    ASSERT(config->spec->kind != NIC_UDP);
    struct plan plan = {.config = config, .spec = config->spec};
    struct interface interface = {0};
    int result = look(config, &plan, &interface, fault);
    if (result != 0) {
        return result;
    }
    struct eal_arguments arguments = {.count = config->eal_argc, .values = config->eal_argv};
    uint32_t port_count = config->port_count == 0 ? 1 : config->port_count;
    struct eal_needs needs = {
        .memory_bytes = port_count * (pool_bytes(&plan) + CHAINS_BYTES + POOL_OVERHEAD),
        .huge_pages = true,
        .pci = config->spec->kind == NIC_PCI ? config->spec->device : NULL,
    };
    if (config->capture != NULL) {
        needs.memory_bytes +=
            nic_dpdk_capture_memory_bytes(config->capture, plan.mtu + ETHERNET_BYTES);
    }
    result = eal_start(&needs, &arguments, fault);
    if (result != 0) {
        return result;
    }
    struct nic_port *own = rte_zmalloc("port", sizeof(*own), CACHE_LINE);
    if (own == NULL) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory of DPDK's is left for a port");
        return -ENOMEM;
    }
    own->kind = config->spec->kind;
    own->interface = interface;
    own->wait_fd = -1;
    own->xdp.fd = -1;
    result = own->kind == NIC_AF_XDP ? xdp_claim(&own->xdp, &interface, fault) : 0;
    if (result == 0) {
        result = device_start(own, &plan, fault);
    }
    if (result == 0) {
        result = packets_filter(own, &plan, fault);
    }
    if (result == 0) {
        port_init(own, &plan);
        result = address_claim(own, fault);
    }
    if (result != 0) {
        nic_port_free(own);
        return result;
    }
    *out = &own->nic;
    return 0;
}
