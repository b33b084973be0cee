/* nic_dpdk_capture.c: see nic_dpdk_capture.h.
 *
 * Two threads share the ring of queued packets, the pool of their buffers, and the word that the
 * file is full. Everything else belongs to one of them.
 */
#define _GNU_SOURCE            /* What DPDK's headers ask for. */
#define ALLOW_EXPERIMENTAL_API /* rte_pcapng is, in DPDK 22.11. */
#include "net/nic_dpdk_capture.h"

#include "engine/base/mem.h"
#include "engine/base/ring.h"
#include "net/headers.h"
#include "net/nic_dpdk_eal.h"
#include "net/nic_dpdk_port_data.h"

#include <errno.h>
#include <pthread.h>
#include <rte_bus_vdev.h>
#include <rte_cycles.h>
#include <rte_eth_ring.h>
#include <rte_pcapng.h>
#include <rte_ring.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define CACHE_LINE        64u
#define POOL_OBJECT_EXTRA 256u /* Pool header, mbuf and padding. */
#define WRITE_BURST       32u
#define BLOCKS_BEHIND     512u           /* Room for the statistics block at the end. */
#define SOCKET_PORT       "net_ring_udp" /* As rte_eth_from_rings("udp") names it. */
#define NAP_NS            1000000

_Static_assert((CAPTURE_BUFFERS & (CAPTURE_BUFFERS - 1)) == 0, "a ring holds them all");

/* One packet on its way to the writer. */
struct queued {
    struct rte_mbuf *buffer; /* What was captured of it; pkt_len is the whole packet's. */
    uint64_t cycles;
    uint32_t direction; /* enum rte_pcapng_direction */
};

struct nic_capture {
    struct capture capture; /* First: the seam. */
    struct mem mem;
    struct ring *ring;
    struct rte_mempool *buffers; /* Of captured packets. */
    struct rte_mempool *blocks;  /* The same as blocks of the file, of one burst. */
    uint32_t snap_bytes;
    _Atomic bool full;     /* The writer's word: nothing more is taken. */
    _Atomic bool stopping; /* The closer's word: write what is queued, and end. */
    /* The polling thread's. */
    uint32_t out_count; /* Copies of packets that the driver is about to be given. */
    struct queued out[TX_BURST_MAX];
    /* The writer's, and the closer's once it has ended. */
    pthread_t thread;
    rte_pcapng_t *file;
    int fd; /* The file's, which closes it. */
    uint16_t port;
    struct rte_ring *own_ring; /* Of the port that stands for a socket; NULL: none. */
    uint64_t bytes_max;
    uint64_t last_cycles; /* Of the last packet written. */
    struct capture_report report;
};

static struct nic_capture *of_capture(struct capture *capture)
{
    return (struct nic_capture *)(void *)capture;
}

/* ---- The polling thread: copy and queue. ---- */

/* A buffer for a packet, and how much of it fits; NULL: counted. */
static struct rte_mbuf *buffer_for(struct nic_capture *own, uint32_t packet_bytes)
{
    if (atomic_load_explicit(&own->full, memory_order_relaxed)) {
        own->capture.counters.dropped_full++;
        return NULL;
    }
    struct rte_mbuf *buffer = rte_pktmbuf_alloc(own->buffers);
    if (UNLIKELY(buffer == NULL)) {
        own->capture.counters.dropped_behind++;
        return NULL;
    }
    uint32_t bytes = packet_bytes < own->snap_bytes ? packet_bytes : own->snap_bytes;
    ASSERT(buffer->data_off + bytes <= buffer->buf_len);
    /* rte_pcapng_copy() takes the packet's own length from pkt_len, and no more bytes than the
     * snap: so it never asks for those that are not here. */
    buffer->data_len = (uint16_t)bytes;
    buffer->pkt_len = packet_bytes;
    return buffer;
}

static void queue(struct nic_capture *own, const struct queued *packet)
{
    if (ring_push(own->ring, packet)) {
        own->capture.counters.packets++;
        return;
    }
    own->capture.counters.dropped_behind++;
    rte_pktmbuf_free(packet->buffer);
}

static struct rte_mbuf *packet_copy(struct nic_capture *own, const struct rte_mbuf *packet)
{
    struct rte_mbuf *buffer = buffer_for(own, packet->pkt_len);
    if (buffer != NULL) {
        uint8_t *out = rte_pktmbuf_mtod(buffer, uint8_t *);
        const void *bytes = rte_pktmbuf_read(packet, 0, buffer->data_len, out);
        ASSERT(bytes != NULL);
        if (bytes != out) { /* It was in one piece. */
            memcpy(out, bytes, buffer->data_len);
        }
    }
    return buffer;
}

void nic_dpdk_capture_in(struct capture *capture, struct rte_mbuf **packets, uint32_t count)
{
    struct nic_capture *own = of_capture(capture);
    uint64_t cycles = rte_get_tsc_cycles();
    for (uint32_t i = 0; i < count; i++) {
        struct rte_mbuf *buffer = packet_copy(own, packets[i]);
        if (buffer != NULL) {
            queue(own, &(struct queued){buffer, cycles, RTE_PCAPNG_DIRECTION_IN});
        }
    }
}

void nic_dpdk_capture_out(struct capture *capture, struct rte_mbuf **packets, uint32_t count)
{
    struct nic_capture *own = of_capture(capture);
    ASSERT(count <= TX_BURST_MAX);
    ASSERT(own->out_count == 0);
    uint64_t cycles = rte_get_tsc_cycles();
    for (uint32_t i = 0; i < count; i++) {
        own->out[i] =
            (struct queued){packet_copy(own, packets[i]), cycles, RTE_PCAPNG_DIRECTION_OUT};
    }
    own->out_count = count;
}

void nic_dpdk_capture_taken(struct capture *capture, uint32_t taken)
{
    struct nic_capture *own = of_capture(capture);
    ASSERT(taken <= own->out_count);
    for (uint32_t i = 0; i < own->out_count; i++) {
        if (own->out[i].buffer != NULL && i < taken) {
            queue(own, &own->out[i]);
        } else {
            rte_pktmbuf_free(own->out[i].buffer);
        }
    }
    own->out_count = 0;
}

/* Where the parts of a frame go, one behind the other, as far as they are captured. */
static uint32_t part_put(struct rte_mbuf *buffer, uint32_t at, const uint8_t *part, uint32_t bytes)
{
    uint32_t room = buffer->data_len - at;
    uint32_t taken = bytes < room ? bytes : room;
    if (taken > 0) {
        memcpy(rte_pktmbuf_mtod_offset(buffer, uint8_t *, at), part, taken);
    }
    return at + taken;
}

/* Who sent a frame, to whom, and what it is. */
struct frame_view {
    struct nic_address from;
    struct nic_address to;
    const uint8_t *head;
    const uint8_t *body;
    uint32_t head_bytes;
    uint32_t body_bytes;
};

/* A frame of a socket, behind headers as the kernel may have made them. */
static void frame_queue(struct nic_capture *own,
                        const struct frame_view *frame,
                        uint64_t cycles,
                        enum rte_pcapng_direction direction)
{
    uint32_t frame_bytes = frame->head_bytes + frame->body_bytes;
    struct rte_mbuf *buffer = buffer_for(own, HEADERS_BYTES + frame_bytes);
    if (buffer == NULL) {
        return;
    }
    uint8_t headers[HEADERS_BYTES];
    const struct headers_end from = {headers_mac_of(frame->from.ipv4), frame->from};
    const struct headers_end to = {headers_mac_of(frame->to.ipv4), frame->to};
    headers_build(headers, &from, &to, frame_bytes);
    uint32_t at = part_put(buffer, 0, headers, HEADERS_BYTES);
    at = part_put(buffer, at, frame->head, frame->head_bytes);
    at = part_put(buffer, at, frame->body, frame->body_bytes);
    ASSERT(at == buffer->data_len);
    queue(own, &(struct queued){buffer, cycles, direction});
}

static void capture_received(struct capture *capture,
                             const struct nic *nic,
                             const struct nic_frame *frames,
                             uint32_t count)
{
    uint64_t cycles = rte_get_tsc_cycles();
    for (uint32_t i = 0; i < count; i++) {
        const struct frame_view frame = {
            .from = frames[i].from,
            .to = nic->self,
            .head = frames[i].data,
            .head_bytes = frames[i].bytes,
        };
        frame_queue(of_capture(capture), &frame, cycles, RTE_PCAPNG_DIRECTION_IN);
    }
}

static void capture_sent(struct capture *capture,
                         const struct nic *nic,
                         const struct nic_send *sends,
                         uint32_t count)
{
    uint64_t cycles = rte_get_tsc_cycles();
    for (uint32_t i = 0; i < count; i++) {
        const struct frame_view frame = {
            .from = nic->self,
            .to = sends[i].to,
            .head = sends[i].head,
            .body = sends[i].body,
            .head_bytes = sends[i].head_bytes,
            .body_bytes = sends[i].body_bytes,
        };
        frame_queue(of_capture(capture), &frame, cycles, RTE_PCAPNG_DIRECTION_OUT);
    }
}

/* ---- The writer. ---- */

/* A write that ended early does not say why: the next byte does. */
static int why_short(int fd)
{
    errno = 0;
    ssize_t written = write(fd, "", 1);
    return written == 1 || errno == 0 ? EIO : errno;
}

/* The file is as long as it gets; a piece of a block that was written is cut off. */
static void writer_end(struct nic_capture *own, int error)
{
    atomic_store_explicit(&own->full, true, memory_order_relaxed);
    if (error != 0) {
        own->report.error = error;
        int result = ftruncate(own->fd, (off_t)own->report.file_bytes);
        (void)result; /* Then readers say that the last block is cut off. */
    }
}

/* A queued packet as a block of the file; NULL: the file may have no more. Its buffer is given
 * back.
 *
 * rte_pcapng's clock must not be asked for a time before any it was asked for: it would be wrong by
 * centuries from then on. Counters of two CPUs may differ by a little. */
static struct rte_mbuf *
block_make(struct nic_capture *own, const struct queued *packet, uint64_t file_bytes)
{
    struct rte_mbuf *block = NULL;
    if (packet->cycles > own->last_cycles) {
        own->last_cycles = packet->cycles;
    }
    if (!atomic_load_explicit(&own->full, memory_order_relaxed)) {
        block = rte_pcapng_copy(own->port, 0, packet->buffer, own->blocks, own->snap_bytes,
                                own->last_cycles, (enum rte_pcapng_direction)packet->direction);
        ASSERT(block != NULL); /* There are as many as a burst has packets. */
        if (file_bytes + block->pkt_len + BLOCKS_BEHIND > own->bytes_max) {
            rte_pktmbuf_free(block);
            block = NULL;
            writer_end(own, 0);
        }
    }
    rte_pktmbuf_free(packet->buffer);
    return block;
}

static void burst_write(struct nic_capture *own, const struct queued *packets, uint32_t count)
{
    struct rte_mbuf *blocks[WRITE_BURST];
    uint32_t made = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct rte_mbuf *block = block_make(own, &packets[i], own->report.file_bytes + bytes);
        if (block == NULL) {
            own->report.dropped_full++;
        } else {
            bytes += block->pkt_len;
            blocks[made++] = block;
        }
    }
    if (made == 0) {
        return;
    }
    errno = 0;
    ssize_t written = rte_pcapng_write_packets(own->file, blocks, (uint16_t)made);
    rte_pktmbuf_free_bulk(blocks, made); /* In DPDK 22.11 it does not, whatever its header says. */
    ASSERT(rte_mempool_full(own->blocks));
    if (written < 0 || (uint64_t)written != bytes) {
        own->report.dropped_full += made;
        writer_end(own, errno != 0 ? errno : why_short(own->fd));
        return;
    }
    own->report.file_bytes += bytes;
    own->report.written += made;
}

static void *writer_run(void *context)
{
    struct nic_capture *own = context;
    bool stopping = false;
    uint32_t count = 0;
    do {
        struct queued packets[WRITE_BURST];
        stopping = atomic_load_explicit(&own->stopping, memory_order_acquire);
        count = 0;
        while (count < WRITE_BURST && ring_pop(own->ring, &packets[count])) {
            count++;
        }
        burst_write(own, packets, count);
        if (count == 0 && !stopping) {
            struct timespec nap = {.tv_nsec = NAP_NS};
            (void)nanosleep(&nap, NULL);
        }
    } while (count > 0 || !stopping);
    return NULL;
}

/* ---- Open and close. ---- */

static uint32_t snap_of(const struct capture_file *file, uint32_t packet_max)
{
    return file->snap_bytes < packet_max ? file->snap_bytes : packet_max;
}

/* Objects of a pool in plain pages do not cross one; larger ones begin with one. */
static uint64_t pool_bytes(uint32_t count, uint32_t room_bytes)
{
    uint64_t object = room_bytes + POOL_OBJECT_EXTRA;
    return count * ((object + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES);
}

static uint32_t buffer_room(uint32_t snap_bytes)
{
    return RTE_PKTMBUF_HEADROOM + (snap_bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

uint64_t nic_dpdk_capture_memory_bytes(const struct capture_file *file, uint32_t packet_max)
{
    uint32_t snap_bytes = snap_of(file, packet_max);
    return pool_bytes(CAPTURE_BUFFERS, buffer_room(snap_bytes)) +
           pool_bytes(WRITE_BURST, rte_pcapng_mbuf_size(snap_bytes));
}

/* The port that packets are said to be of. A socket has none in DPDK, which writes its packets as
 * those of a ring that nobody uses. */
static int port_find(struct nic_capture *own, struct nic *nic)
{
    if (nic->ops == &nic_port_ops) {
        own->port = ((const struct nic_port *)(const void *)nic)->port;
        return 0;
    }
    own->own_ring = rte_ring_create("udp", 2, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (own->own_ring == NULL) {
        return -ENOMEM;
    }
    int port = rte_eth_from_rings("udp", &own->own_ring, 1, &own->own_ring, 1, 0);
    if (port < 0) {
        return -ENODEV;
    }
    own->port = (uint16_t)port;
    return 0;
}

/* The longest packet that may pass. A socket hears frames of any size, whatever its route's MTU. */
static uint32_t packet_bytes_max(const struct nic *nic)
{
    return nic->ops == &nic_port_ops ? nic_dpdk_port_facts(nic).mtu + ETHERNET_BYTES
                                     : HEADERS_BYTES + FRAME_BYTES_MAX;
}

static int pools_open(struct nic_capture *own)
{
    own->buffers = rte_pktmbuf_pool_create("capture", CAPTURE_BUFFERS, 0, 0,
                                           (uint16_t)buffer_room(own->snap_bytes), SOCKET_ID_ANY);
    own->blocks =
        rte_pktmbuf_pool_create("capture_blocks", WRITE_BURST, 0, 0,
                                (uint16_t)rte_pcapng_mbuf_size(own->snap_bytes), SOCKET_ID_ANY);
    return own->buffers != NULL && own->blocks != NULL ? 0 : -ENOMEM;
}

/* The clock of rte_pcapng begins with the first packet that it sees: let that be now. */
static int clock_begin(struct nic_capture *own)
{
    struct rte_mbuf *buffer = rte_pktmbuf_alloc(own->buffers);
    if (buffer == NULL || rte_pktmbuf_append(buffer, CAPTURE_SNAP_MIN) == NULL) {
        rte_pktmbuf_free(buffer);
        return -ENOMEM;
    }
    uint64_t soon_cycles = rte_get_tsc_cycles() + rte_get_tsc_hz() / 2;
    struct rte_mbuf *block = rte_pcapng_copy(own->port, 0, buffer, own->blocks, CAPTURE_SNAP_MIN,
                                             soon_cycles, RTE_PCAPNG_DIRECTION_UNKNOWN);
    own->last_cycles = rte_get_tsc_cycles();
    rte_pktmbuf_free(block);
    rte_pktmbuf_free(buffer);
    return block == NULL ? -ENOMEM : 0;
}

/* The head of the file. */
static int file_begin(struct nic_capture *own)
{
    struct utsname system;
    char text[2 * sizeof system.release];
    int result = uname(&system);
    ASSERT(result == 0);
    (void)snprintf(text, sizeof text, "%.64s %.64s", system.sysname, system.release);
    own->file = rte_pcapng_fdopen(own->fd, text, system.machine, "thole", NULL);
    off_t bytes = own->file == NULL ? -1 : lseek(own->fd, 0, SEEK_CUR);
    if (bytes <= 0) {
        return -EIO;
    }
    own->report.file_bytes = (uint64_t)bytes;
    return 0;
}

static void capture_free(struct nic_capture *own)
{
    if (own->file != NULL) {
        rte_pcapng_close(own->file);
    } else if (own->fd >= 0) {
        (void)close(own->fd);
    }
    rte_mempool_free(own->buffers);
    rte_mempool_free(own->blocks);
    if (own->own_ring != NULL) {
        (void)rte_vdev_uninit(SOCKET_PORT);
        rte_ring_free(own->own_ring);
    }
    struct mem mem = own->mem; /* Which it lies in itself. */
    mem_close(&mem);
}

static int capture_begin(struct nic_capture *own, struct nic *nic, struct fault *fault)
{
    int result = port_find(own, nic);
    if (result == 0) {
        result = pools_open(own);
    }
    if (result == 0) {
        result = clock_begin(own);
    }
    if (result == 0) {
        result = file_begin(own);
    }
    if (result == 0) {
        result = -pthread_create(&own->thread, NULL, writer_run, own);
    }
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot begin to capture (%s): it needs room in the file's file system and %llu "
                  "MiB of DPDK's memory. See `df .` and `free -m`; `snap=128` needs less. DPDK "
                  "said: %s",
                  strerror(-result),
                  (unsigned long long)(pool_bytes(CAPTURE_BUFFERS, own->snap_bytes) >> 20) + 1,
                  eal_last_words());
    }
    return result;
}

int nic_dpdk_capture_open(struct capture **out,
                          struct nic *nic,
                          struct capture_file *file,
                          struct fault *fault)
{
    ASSERT(file->fd >= 0);
    ASSERT(nic->capture == NULL);
    const struct eal_arguments none = {0};
    struct eal_needs needs = {.memory_bytes =
                                  nic_dpdk_capture_memory_bytes(file, packet_bytes_max(nic))};
    int result = eal_start(&needs, &none, fault);
    if (result != 0) {
        return result;
    }
    uint64_t bytes = sizeof(struct nic_capture) + sizeof(struct ring) +
                     (uint64_t)CAPTURE_BUFFERS * sizeof(struct queued) + 4ull * CACHE_LINE;
    struct mem mem;
    if (mem_open(&mem, bytes) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory to capture: it needs %llu KiB",
                  (unsigned long long)(bytes >> 10));
        return -ENOMEM;
    }
    struct nic_capture *own = mem_take(&mem, "capture", 1, sizeof *own, CACHE_LINE);
    own->ring = mem_take(&mem, "capture ring", 1, sizeof *own->ring, CACHE_LINE);
    ring_init(own->ring, &mem, CAPTURE_BUFFERS, sizeof(struct queued));
    own->mem = mem;
    own->capture.received = capture_received;
    own->capture.sent = capture_sent;
    own->snap_bytes = snap_of(file, packet_bytes_max(nic));
    own->bytes_max = file->bytes_max;
    own->fd = file->fd;
    result = capture_begin(own, nic, fault);
    if (result != 0) {
        own->fd = own->file == NULL ? -1 : own->fd; /* The caller's still, or closed by ... */
        file->fd = own->file == NULL ? file->fd : -1;
        capture_free(own);
        return result;
    }
    file->fd = -1;
    nic->capture = &own->capture;
    *out = &own->capture;
    return 0;
}

void nic_dpdk_capture_close(struct capture *capture, struct nic *nic, struct capture_report *report)
{
    struct nic_capture *own = of_capture(capture);
    ASSERT(nic->capture == capture);
    ASSERT(own->out_count == 0);
    atomic_store_explicit(&own->stopping, true, memory_order_release);
    int result = pthread_join(own->thread, NULL);
    ASSERT(result == 0);
    const struct capture_counters *counters = &capture->counters;
    own->report.dropped_behind = counters->dropped_behind;
    own->report.dropped_full += counters->dropped_full;
    uint64_t dropped = own->report.dropped_behind + own->report.dropped_full;
    if (own->report.error == 0) {
        ssize_t bytes = rte_pcapng_write_stats(own->file, own->port, NULL, 0, 0,
                                               own->report.written + dropped, dropped);
        if (bytes < 0) {
            writer_end(own, errno != 0 ? errno : EIO);
        } else {
            own->report.file_bytes += (uint64_t)bytes;
        }
    }
    *report = own->report;
    nic->capture = NULL;
    capture_free(own);
}
