/* nic_dpdk_capture.h: what passes through a port, written to a pcapng file as it runs.
 *
 * The polling thread copies each packet into a buffer of the capture's own and queues it; a thread
 * of the capture's own writes (rte_pcapng). So a slow disk costs packets of the capture, never time
 * of the poll loop: without a free buffer, and once the file has the size it may have, packets are
 * counted and not captured. Memory is taken at open, the file's size is bounded.
 *
 * Every write ends at the end of a block, so that after a kill -9 all that was written can be read.
 * A port of Ethernet shows its packets as they are, ARP and foreign ones included, in before they
 * are judged and out as far as the driver took them. Frames of a kernel socket get Ethernet, IPv4
 * and UDP headers of our own making, with the MACs that the ring has.
 *
 * No rte_*.h here, as in net/nic_dpdk.h, whose EAL this shares.
 */
#ifndef NET_NIC_DPDK_CAPTURE_H
#define NET_NIC_DPDK_CAPTURE_H

#include "engine/base/fault.h"
#include "net/capture.h"
#include "net/capture_file.h"

struct rte_mbuf;

/* How a capture ended. */
struct capture_report {
    uint64_t written;        /* Packets in the file. */
    uint64_t dropped_behind; /* Not captured: the writer was behind ... */
    uint64_t dropped_full;   /* ... or the file had its size, or could not be written. */
    uint64_t file_bytes;
    int error; /* 0, or the errno of a write that failed. */
};

/* Bytes of EAL memory that a capture of packets of up to `packet_bytes_max` needs. */
uint64_t nic_dpdk_capture_memory_bytes(const struct capture_file *file, uint32_t packet_bytes_max);

/* Begin to capture what passes through `nic`, which must outlive the capture, into the open `file`,
 * whose descriptor becomes the capture's. Starts EAL when nobody has. The thread that polls the nic
 * is not running yet. 0, or -errno with `fault` set and nothing begun. */
MUST_USE int nic_dpdk_capture_open(struct capture **out,
                                   struct nic *nic,
                                   struct capture_file *file,
                                   struct fault *fault);

/* Write what is queued, and an interface-statistics block with what was dropped; close the file.
 * The nic is polled no more. */
void nic_dpdk_capture_close(struct capture *capture,
                            struct nic *nic,
                            struct capture_report *report);

/* For net/nic_dpdk_port.c. Packets that came in, before anybody changes them. */
void nic_dpdk_capture_in(struct capture *capture, struct rte_mbuf **packets, uint32_t count);

/* Packets that go out, before the driver has them; and how many of these it took. One burst. */
void nic_dpdk_capture_out(struct capture *capture, struct rte_mbuf **packets, uint32_t count);
void nic_dpdk_capture_taken(struct capture *capture, uint32_t taken);

#endif
