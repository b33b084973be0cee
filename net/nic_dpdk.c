/* nic_dpdk.c: see nic_dpdk.h.
 *
 * The ring: endpoint i is a net_ring ethdev whose one receive queue is ring i, and whose transmit
 * queue j is ring j, so that sending to j is a burst on queue j. Rings take several producers (any
 * thread may send to i) and one consumer (the thread of nic i). Buffers come from the sender's own
 * pool and go back to it from the receiver's thread; pools allow that.
 *
 * Bodies are copied, pinned or not: what the receiver gets is the sender's very buffer, which must
 * be in one piece, and a pin would end on the receiver's thread, whenever that releases the frame.
 */
#define _GNU_SOURCE /* What DPDK's headers ask for. */
#include "net/nic_dpdk.h"

#include "net/headers.h"
#include "net/nic_dpdk_eal.h"

#include <errno.h>
#include <rte_bus_vdev.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <string.h>

/* The payload starts on a cache line, 42 bytes of headers before it. */
#define PAYLOAD_OFFSET 192u
#define DATA_OFFSET    (PAYLOAD_OFFSET - HEADERS_BYTES)
_Static_assert(DATA_OFFSET >= RTE_PKTMBUF_HEADROOM, "a driver's headroom stays free");

#define CACHE_LINE        64u
#define POOL_CACHE_MAX    128u
#define POOL_OBJECT_EXTRA 384u /* Pool header, mbuf, and padding that spreads over channels. */
#define RING_DESCRIPTORS  512u /* Nominal: net_ring has none. */
#define NAME_BYTES        24u
#define RING_BUFFERS_MIN  64u

struct lane {
    uint32_t count;
    struct rte_mbuf *buffers[TX_BURST_MAX];
};

struct nic_dpdk {
    struct nic nic; /* First: the seam. */
    struct headers_end self;
    struct ring_group *group;
    struct rte_mempool *pool; /* Of what this endpoint sends. */
    struct rte_ring *ring;    /* Of what this endpoint receives. */
    uint32_t held_count;      /* Frames the caller has not released. */
    uint16_t port;
    bool port_open;
    bool open;
    struct lane lanes[NIC_ENDPOINTS_MAX]; /* By destination; empty between bursts. */
};

struct ring_group {
    uint32_t number; /* Makes names unique within the process. */
    uint32_t count;
    uint32_t open_count;
    struct nic_dpdk nics[];
};

static struct nic_dpdk *of_nic(struct nic *nic)
{
    return (struct nic_dpdk *)(void *)nic;
}

/* ---- Receive ---- */

/* Check one buffer. True when `frame` is to be handed up; false: counted, and the caller frees. */
static bool frame_accept(struct nic_dpdk *dpdk, struct rte_mbuf *buffer, struct nic_frame *frame)
{
    if (UNLIKELY(buffer->nb_segs != 1)) {
        headers_count(&dpdk->nic.counters, HEADERS_LONG); /* No sender of ours chains buffers. */
        return false;
    }
    const uint8_t *packet = rte_pktmbuf_mtod(buffer, const uint8_t *);
    struct headers_found found;
    enum headers_verdict verdict =
        headers_check(packet, buffer->data_len, &dpdk->self, dpdk->nic.frame_bytes_max, &found);
    if (UNLIKELY(verdict != HEADERS_OK)) {
        headers_count(&dpdk->nic.counters, verdict);
        return false;
    }
    *frame = (struct nic_frame){
        .data = packet + HEADERS_BYTES,
        .bytes = found.payload_bytes,
        .from = found.from,
        .owner = buffer,
    };
    dpdk->nic.counters.rx_frames++;
    dpdk->nic.counters.rx_bytes += found.payload_bytes;
    return true;
}

static uint32_t dpdk_rx_burst(struct nic *nic, struct nic_frame *frames, uint32_t frames_max)
{
    struct nic_dpdk *dpdk = of_nic(nic);
    ASSERT(dpdk->open);
    ASSERT(dpdk->held_count == 0);

    struct rte_mbuf *buffers[RX_BURST_MAX];
    uint32_t received = rte_eth_rx_burst(dpdk->port, 0, buffers, (uint16_t)frames_max);
    uint32_t count = 0;
    for (uint32_t i = 0; i < received; i++) {
        if (frame_accept(dpdk, buffers[i], &frames[count])) {
            count++;
        } else {
            rte_pktmbuf_free(buffers[i]);
        }
    }
    dpdk->held_count = count;
    return count;
}

static void dpdk_rx_release(struct nic *nic, const struct nic_frame *frames, uint32_t count)
{
    struct nic_dpdk *dpdk = of_nic(nic);
    ASSERT(count <= dpdk->held_count);
    struct rte_mbuf *buffers[RX_BURST_MAX];
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(frames[i].owner != NULL);
        buffers[i] = frames[i].owner;
    }
    if (count > 0) {
        rte_pktmbuf_free_bulk(buffers, count);
    }
    dpdk->held_count -= count;
}

/* ---- Transmit ---- */

static struct nic_dpdk *destination_find(const struct nic_dpdk *dpdk, struct nic_address to)
{
    struct ring_group *group = dpdk->group;
    for (uint32_t i = 0; i < group->count; i++) {
        if (nic_address_equal(group->nics[i].nic.self, to)) {
            return &group->nics[i];
        }
    }
    return NULL;
}

static void frame_write(const struct nic_dpdk *dpdk,
                        const struct nic_dpdk *to,
                        const struct nic_send *send,
                        struct rte_mbuf *buffer)
{
    uint32_t payload_bytes = send->head_bytes + send->body_bytes;
    ASSERT(payload_bytes > 0);
    ASSERT(payload_bytes <= dpdk->nic.frame_bytes_max);
    ASSERT(PAYLOAD_OFFSET + payload_bytes <= buffer->buf_len);

    buffer->data_off = DATA_OFFSET;
    buffer->data_len = (uint16_t)(HEADERS_BYTES + payload_bytes);
    buffer->pkt_len = HEADERS_BYTES + payload_bytes;
    uint8_t *packet = rte_pktmbuf_mtod(buffer, uint8_t *);
    headers_build(packet, &dpdk->self, &to->self, payload_bytes);
    memcpy(packet + HEADERS_BYTES, send->head, send->head_bytes);
    if (send->body_bytes > 0) {
        memcpy(packet + HEADERS_BYTES + send->head_bytes, send->body, send->body_bytes);
    }
}

/* Send what waits for one destination. Returns how many it took; the rest is freed. */
static uint32_t lane_flush(struct nic_dpdk *dpdk, uint32_t to)
{
    struct lane *lane = &dpdk->lanes[to];
    uint32_t count = lane->count;
    ASSERT(count <= TX_BURST_MAX);
    uint32_t bytes = 0;
    uint32_t frame_bytes[TX_BURST_MAX]; /* A sent buffer is the receiver's: read its size before. */
    for (uint32_t i = 0; i < count; i++) {
        frame_bytes[i] = lane->buffers[i]->data_len - HEADERS_BYTES;
    }
    uint32_t sent = rte_eth_tx_burst(dpdk->port, (uint16_t)to, lane->buffers, (uint16_t)count);
    ASSERT(sent <= count);
    for (uint32_t i = 0; i < sent; i++) {
        bytes += frame_bytes[i];
    }
    if (UNLIKELY(sent < count)) {
        rte_pktmbuf_free_bulk(lane->buffers + sent, count - sent);
    }
    dpdk->nic.counters.tx_frames += sent;
    dpdk->nic.counters.tx_bytes += bytes;
    dpdk->nic.counters.tx_copied += sent;
    lane->count = 0;
    return sent;
}

/* Buffers for `count` frames, or for as many as are left. */
static uint32_t buffers_take(struct nic_dpdk *dpdk, struct rte_mbuf **buffers, uint32_t count)
{
    if (LIKELY(rte_pktmbuf_alloc_bulk(dpdk->pool, buffers, count) == 0)) {
        return count;
    }
    uint32_t taken = 0;
    while (taken < count) {
        buffers[taken] = rte_pktmbuf_alloc(dpdk->pool);
        if (buffers[taken] == NULL) {
            break;
        }
        taken++;
    }
    dpdk->nic.counters.tx_no_buffer += count - taken;
    return taken;
}

static uint32_t dpdk_tx_burst(struct nic *nic, const struct nic_send *sends, uint32_t count)
{
    struct nic_dpdk *dpdk = of_nic(nic);
    ASSERT(dpdk->open);
    if (count == 0) {
        return 0;
    }
    struct rte_mbuf *buffers[TX_BURST_MAX];
    uint32_t buffer_count = buffers_take(dpdk, buffers, count);
    uint32_t used = 0;
    for (uint32_t i = 0; i < count && used < buffer_count; i++) {
        const struct nic_dpdk *to = destination_find(dpdk, sends[i].to);
        if (UNLIKELY(to == NULL)) {
            nic->counters.tx_unknown++;
            continue;
        }
        struct rte_mbuf *buffer = buffers[used++];
        frame_write(dpdk, to, &sends[i], buffer);
        struct lane *lane = &dpdk->lanes[to - dpdk->group->nics];
        lane->buffers[lane->count++] = buffer;
    }
    if (UNLIKELY(used < buffer_count)) {
        rte_pktmbuf_free_bulk(buffers + used, buffer_count - used);
    }
    uint32_t sent = 0;
    for (uint32_t to = 0; to < dpdk->group->count; to++) {
        if (dpdk->lanes[to].count > 0) {
            sent += lane_flush(dpdk, to);
        }
    }
    ASSERT(sent <= count);
    nic->counters.tx_dropped += count - sent;
    return sent;
}

static int dpdk_wait_fd(const struct nic *nic)
{
    ASSERT(nic->frame_bytes_max > 0);
    return -1; /* net_ring has no descriptor and no interrupt. */
}

/* ---- Open and close ---- */

/* Drop what waits in a ring, so that no buffer outlives its pool. */
static void ring_empty(struct rte_ring *ring)
{
    struct rte_mbuf *buffers[RX_BURST_MAX];
    uint32_t count = rte_ring_dequeue_burst(ring, (void **)buffers, RX_BURST_MAX, NULL);
    while (count > 0) {
        rte_pktmbuf_free_bulk(buffers, count);
        count = rte_ring_dequeue_burst(ring, (void **)buffers, RX_BURST_MAX, NULL);
    }
}

static void port_close(struct nic_dpdk *dpdk)
{
    char name[RTE_ETH_NAME_MAX_LEN];
    int named = rte_eth_dev_get_name_by_port(dpdk->port, name);
    ASSERT(named == 0);
    (void)rte_eth_dev_stop(dpdk->port);
    (void)rte_eth_dev_close(dpdk->port);
    (void)rte_vdev_uninit(name);
    dpdk->port_open = false;
}

/* Free all of a group, as far as it came. */
static void group_free(struct ring_group *group)
{
    for (uint32_t i = 0; i < group->count; i++) {
        if (group->nics[i].port_open) {
            port_close(&group->nics[i]);
        }
        if (group->nics[i].ring != NULL) {
            ring_empty(group->nics[i].ring);
        }
    }
    for (uint32_t i = 0; i < group->count; i++) {
        rte_ring_free(group->nics[i].ring);
        rte_mempool_free(group->nics[i].pool);
    }
    rte_free(group);
}

static void dpdk_close(struct nic *nic)
{
    struct nic_dpdk *dpdk = of_nic(nic);
    struct ring_group *group = dpdk->group;
    ASSERT(dpdk->open);
    ASSERT(dpdk->held_count == 0);
    dpdk->open = false;
    /* Endpoints may be closed by their own threads. */
    if (__atomic_sub_fetch(&group->open_count, 1, __ATOMIC_ACQ_REL) == 0) {
        group_free(group);
    }
}

static const struct nic_ops dpdk_ops = {
    .rx_burst = dpdk_rx_burst,
    .rx_release = dpdk_rx_release,
    .tx_burst = dpdk_tx_burst,
    .wait_fd = dpdk_wait_fd,
    .close = dpdk_close,
};

/* Whether no endpoint before `index` has its address. */
static bool address_is_new(const struct nic_ring_config *config, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (nic_address_equal(config->addresses[i], config->addresses[index])) {
            return false;
        }
    }
    return true;
}

/* The configuration with its defaults filled in. */
static struct nic_ring_config config_complete(const struct nic_ring_config *given)
{
    struct nic_ring_config config = *given;
    config.slots = config.slots == 0 ? NIC_RING_SLOTS : config.slots;
    config.buffers = config.buffers == 0 ? NIC_BUFFERS : config.buffers;
    ASSERT(config.count > 0);
    ASSERT(config.count <= NIC_ENDPOINTS_MAX);
    ASSERT(config.frame_bytes_max >= FRAME_BYTES_MIN);
    ASSERT(config.frame_bytes_max <= FRAME_BYTES_MAX);
    ASSERT(config.slots <= NIC_RING_SLOTS_MAX);
    ASSERT((config.slots & (config.slots - 1)) == 0);
    ASSERT(config.buffers >= RING_BUFFERS_MIN);
    for (uint32_t i = 0; i < config.count; i++) {
        ASSERT(address_is_new(&config, i));
    }
    return config;
}

static uint32_t data_room_bytes(uint32_t frame_bytes_max)
{
    return (PAYLOAD_OFFSET + frame_bytes_max + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

uint64_t nic_dpdk_ring_memory_bytes(const struct nic_ring_config *given)
{
    struct nic_ring_config config = config_complete(given);
    uint64_t pool_bytes = (uint64_t)config.buffers * (data_room_bytes(config.frame_bytes_max) +
                                                      POOL_OBJECT_EXTRA + 2 * sizeof(void *));
    uint64_t ring_bytes = (uint64_t)config.slots * sizeof(void *) + 4 * PAGE_BYTES;
    uint64_t cache_bytes = (uint64_t)RTE_MAX_LCORE * sizeof(struct rte_mempool_cache);
    return config.count * (pool_bytes + ring_bytes + cache_bytes + sizeof(struct nic_dpdk));
}

/* A pool of single-segment buffers. Packed (NO_IOVA_CONTIG): no device reads these by address, and
 * with small pages it would otherwise waste most of the memory. */
static struct rte_mempool *pool_open(const char *name, const struct nic_ring_config *config)
{
    uint32_t room_bytes = data_room_bytes(config->frame_bytes_max);
    uint32_t cache = config->buffers / 4 < POOL_CACHE_MAX ? config->buffers / 4 : POOL_CACHE_MAX;
    struct rte_mempool *pool = rte_mempool_create_empty(
        name, config->buffers, (uint32_t)sizeof(struct rte_mbuf) + room_bytes, cache,
        sizeof(struct rte_pktmbuf_pool_private), SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (pool == NULL) {
        return NULL;
    }
    struct rte_pktmbuf_pool_private own = {.mbuf_data_room_size = (uint16_t)room_bytes};
    rte_pktmbuf_pool_init(pool, &own);
    /* Several threads take and give: the sender's, and each receiver's. */
    if (rte_mempool_set_ops_byname(pool, "ring_mp_mc", NULL) != 0 ||
        rte_mempool_populate_default(pool) < 0) {
        rte_mempool_free(pool);
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

/* The queues of a port whose rings exist, and its start. 0 or -errno. */
static int port_start(const struct nic_dpdk *dpdk)
{
    struct rte_eth_conf plain = {0};
    uint16_t tx_count = (uint16_t)dpdk->group->count;
    int result = rte_eth_dev_configure(dpdk->port, 1, tx_count, &plain);
    if (result == 0) {
        result = rte_eth_rx_queue_setup(dpdk->port, 0, RING_DESCRIPTORS, 0, NULL, dpdk->pool);
    }
    for (uint16_t i = 0; i < tx_count && result == 0; i++) {
        result = rte_eth_tx_queue_setup(dpdk->port, i, RING_DESCRIPTORS, 0, NULL);
    }
    return result == 0 ? rte_eth_dev_start(dpdk->port) : result;
}

static int
endpoint_memory_open(struct nic_dpdk *dpdk, uint32_t index, const struct nic_ring_config *config)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof(name), "thole%u_%u", dpdk->group->number, index);
    dpdk->pool = pool_open(name, config);
    if (dpdk->pool == NULL) {
        return -ENOMEM;
    }
    /* Many producers whose waiting is bounded: one of them preempted in the middle of an enqueue
     * does not hold up the others. */
    dpdk->ring = rte_ring_create(name, config->slots, SOCKET_ID_ANY,
                                 RING_F_MP_RTS_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
    return dpdk->ring == NULL ? -ENOMEM : 0;
}

static int endpoint_port_open(struct nic_dpdk *dpdk, uint32_t index)
{
    struct rte_ring *to[NIC_ENDPOINTS_MAX];
    for (uint32_t i = 0; i < dpdk->group->count; i++) {
        to[i] = dpdk->group->nics[i].ring;
    }
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof(name), "thole%u_%u", dpdk->group->number, index);
    int port = rte_eth_from_rings(name, &dpdk->ring, 1, to, dpdk->group->count, 0);
    if (port < 0) {
        return rte_errno == 0 ? -ENODEV : -rte_errno;
    }
    dpdk->port = (uint16_t)port;
    dpdk->port_open = true;
    return port_start(dpdk);
}

static int group_fill(struct ring_group *group, const struct nic_ring_config *config)
{
    int result = 0;
    for (uint32_t i = 0; i < config->count && result == 0; i++) {
        struct nic_dpdk *dpdk = &group->nics[i];
        dpdk->group = group;
        dpdk->self.address = config->addresses[i];
        dpdk->self.mac = headers_mac_of(config->addresses[i].ipv4);
        dpdk->nic.ops = &dpdk_ops;
        dpdk->nic.self = config->addresses[i];
        dpdk->nic.frame_bytes_max = config->frame_bytes_max;
        dpdk->open = true;
        result = endpoint_memory_open(dpdk, i, config);
    }
    for (uint32_t i = 0; i < config->count && result == 0; i++) {
        result = endpoint_port_open(&group->nics[i], i);
    }
    return result;
}

int nic_dpdk_ring_open(struct nic **nics, const struct nic_ring_config *given, struct fault *fault)
{
    static uint32_t group_number; /* Opens happen at start, on one thread. */
    struct nic_ring_config config = config_complete(given);
    uint64_t bytes = nic_dpdk_ring_memory_bytes(given);
    struct eal_arguments arguments = {.count = config.eal_argc, .values = config.eal_argv};
    struct eal_needs needs = {.memory_bytes = bytes};
    int result = eal_start(&needs, &arguments, fault);
    if (result != 0) {
        return result;
    }
    struct ring_group *group = rte_zmalloc(
        "ring group", sizeof(*group) + config.count * sizeof(group->nics[0]), CACHE_LINE);
    result = -ENOMEM;
    if (group != NULL) {
        group->number = group_number++;
        group->count = config.count;
        group->open_count = config.count;
        result = group_fill(group, &config);
    }
    if (result != 0) {
        if (group != NULL) {
            group_free(group);
        }
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot open %u ring ports (%s): they need %llu MiB of DPDK's memory, which -m "
                  "after `--` or an earlier port may have made too small. DPDK said: %s",
                  config.count, strerror(-result), (unsigned long long)(bytes >> 20) + 1,
                  eal_last_words());
        return result;
    }
    for (uint32_t i = 0; i < config.count; i++) {
        nics[i] = &group->nics[i].nic;
    }
    return 0;
}

void nic_dpdk_thread_enter(void)
{
    if (rte_lcore_id() == LCORE_ID_ANY) {
        (void)rte_thread_register(); /* Refused (too many threads): slower, not wrong. */
    }
}

void nic_dpdk_thread_leave(void)
{
    rte_thread_unregister();
}

void nic_dpdk_stop(void)
{
    eal_stop();
}
