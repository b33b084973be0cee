/* nic_dpdk_chain.c: see nic_dpdk_chain.h.
 *
 * That a driver offers chained buffers does not say that it may be given memory which DPDK does not
 * know. Three kinds of drivers offer them: those that read a buffer with this CPU, within the
 * burst; those whose card reads it, for which the memory is mapped; and those whose peer maps
 * DPDK's memory and nothing else (virtio_user), which would send something else without a word. So
 * the first are known by name, and whatever is not known copies.
 */
#define _GNU_SOURCE            /* What DPDK's headers ask for. */
#define ALLOW_EXPERIMENTAL_API /* rte_dev_dma_map() is marked so from 20.05 to this day. */
#include "net/nic_dpdk_chain.h"

#include <errno.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_memory.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEAD_ROOM   (RTE_PKTMBUF_HEADROOM + HEADERS_BYTES + PORT_HEAD_BYTES_MAX)
#define CHAIN_CACHE 64u

static const char *const readers_at_once[] = {
    "net_af_packet", "net_tap", "net_vhost", "net_null", "net_pcap",
};

/* ---- Choice ---- */

static bool reads_at_once(const char *driver)
{
    for (size_t i = 0; i < sizeof(readers_at_once) / sizeof(readers_at_once[0]); i++) {
        if (strcmp(driver, readers_at_once[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Let the card read the region. False, and undone, when it cannot. */
static bool region_map(struct nic_port *own,
                       const struct rte_eth_dev_info *info,
                       const struct nic_port_region *region)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    if (region->bytes == 0 || rte_eal_iova_mode() != RTE_IOVA_VA) {
        return false; /* By physical addresses no region is in one piece. */
    }
    if (rte_extmem_register(region->base, region->bytes, NULL, 0, page_bytes) != 0) {
        return false;
    }
    if (rte_dev_dma_map(info->device, region->base, (uint64_t)(uintptr_t)region->base,
                        region->bytes) != 0) {
        (void)rte_extmem_unregister(region->base, region->bytes);
        return false;
    }
    own->region = *region;
    own->device = info->device;
    return true;
}

bool nic_port_chains_choose(struct nic_port *own,
                            const struct rte_eth_dev_info *info,
                            const struct nic_port_region *region)
{
    uint16_t segments_max = info->tx_desc_lim.nb_seg_max;
    bool offered = (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0 &&
                   (segments_max == 0 || segments_max >= 2);
    own->facts.chains = offered;
    own->facts.fan_out = "external";
    if (!offered) {
        own->facts.fan_out = "copy, the driver takes no chained buffers";
    } else if (own->kind == NIC_PCI) {
        offered = region_map(own, info, region);
        own->facts.fan_out = offered ? "external" : "copy, the card cannot read the log's memory";
    } else if (!reads_at_once(own->facts.driver)) {
        offered = false;
        own->facts.fan_out = "copy, the driver is not known to read other memory than DPDK's";
    }
    return offered;
}

/* ---- Open and close ---- */

void nic_port_chains_open(struct nic_port *own, uint32_t number)
{
    bool card = own->kind == NIC_PCI;
    own->reaps = card && rte_eth_tx_done_cleanup(own->port, 0, 0) != -ENOTSUP;
    if (card && !own->reaps) {
        own->facts.fan_out = "copy, the driver does not say what it has sent";
        return;
    }
    char name[24];
    (void)snprintf(name, sizeof(name), "thole_chain%u", number);
    uint32_t count = card ? PORT_CHAINS_CARD : PORT_CHAINS;
    own->chains = rte_pktmbuf_pool_create(
        name, count, CHAIN_CACHE, RTE_ALIGN(sizeof(struct nic_port_body), RTE_MBUF_PRIV_ALIGN),
        HEAD_ROOM, SOCKET_ID_ANY);
    if (own->chains == NULL) {
        own->facts.fan_out = "copy, no memory was left for chained buffers";
    }
}

void nic_port_chains_close(struct nic_port *own)
{
    ASSERT(own->chains == NULL || own->pinned_count == 0);
    rte_mempool_free(own->chains);
    if (own->region.bytes > 0) {
        (void)rte_dev_dma_unmap(own->device, own->region.base,
                                (uint64_t)(uintptr_t)own->region.base, own->region.bytes);
        (void)rte_extmem_unregister(own->region.base, own->region.bytes);
    }
}

/* ---- Frames ---- */

static void body_free(void *body, void *opaque)
{
    struct nic_port_body *named = rte_mbuf_to_priv((struct rte_mbuf *)opaque);
    ASSERT(body != NULL);
    ASSERT(named->port->pinned_count > 0);
    nic_pin_lower(&named->pin);
    named->port->pinned_count--;
}

struct rte_mbuf *
nic_port_chain_make(struct nic_port *own, const struct nic_send *send, const struct headers_end *to)
{
    struct rte_mbuf *buffers[2];
    ASSERT(send->head_bytes <= PORT_HEAD_BYTES_MAX);
    ASSERT(send->pin.page_count > 0);
    if (UNLIKELY(rte_pktmbuf_alloc_bulk(own->chains, buffers, 2) != 0)) {
        return NULL;
    }
    struct rte_mbuf *head = buffers[0];
    struct rte_mbuf *body = buffers[1];
    uint32_t front_bytes = HEADERS_BYTES + send->head_bytes;
    ASSERT(head->data_off + front_bytes <= head->buf_len);
    uint8_t *packet = rte_pktmbuf_mtod(head, uint8_t *);
    headers_build(packet, &own->endpoint.self, to, send->head_bytes + send->body_bytes);
    memcpy(packet + HEADERS_BYTES, send->head, send->head_bytes);

    struct nic_port_body *named = rte_mbuf_to_priv(body);
    named->port = own;
    named->pin = send->pin;
    named->shared.free_cb = body_free;
    named->shared.fcb_opaque = body;
    rte_mbuf_ext_refcnt_set(&named->shared, 1);
    nic_pin_raise(&named->pin);
    own->pinned_count++;
    /* It is read, never written to. A card knows the region by the process's own addresses. */
    uintptr_t address = (uintptr_t)send->body;
    rte_pktmbuf_attach_extbuf(body, (void *)address, (rte_iova_t)address,
                              (uint16_t)send->body_bytes, &named->shared);
    body->data_len = (uint16_t)send->body_bytes;
    head->data_len = (uint16_t)front_bytes;
    head->pkt_len = front_bytes + send->body_bytes;
    head->nb_segs = 2;
    head->next = body;
    return head;
}

void nic_port_chains_reap(struct nic_port *own)
{
    if (own->reaps) {
        (void)rte_eth_tx_done_cleanup(own->port, 0, 0);
    }
}
