/* nic_socket.h: the nic over a kernel UDP socket.
 *
 * For laptops, containers and the client library: no DPDK, no privilege, no device. Bursts are one
 * recvmmsg() or sendmmsg(). Frames are never cut into IP fragments: the socket forbids it, and
 * frame_bytes_max follows the MTU. Frames of up to FRAME_BYTES_MAX are received whatever this end
 * may send, for a peer's route may carry more than ours.
 *
 * Counters: rx_long and rx_short are datagrams that are no frame, rx_no_buffer what the kernel
 * dropped because nobody read (told with the next frame). With `accept` the kernel keeps one count
 * of that and of what it found unwanted: rx_kernel_drops. tx_no_buffer what it could not queue,
 * tx_unknown what has no route or was refused. A frame too long for its route's MTU is in
 * tx_dropped alone, as are all of these.
 */
#ifndef NET_NIC_SOCKET_H
#define NET_NIC_SOCKET_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "net/nic.h"

struct nic_socket_config {
    struct nic_address bind; /* Address 0: all of this machine's. Port 0: the kernel chooses. */
    /* Who will be sent to: the smallest MTU of these routes bounds frames. Without a usable route
     * the MTU of the bound address's interface does, or of all interfaces when bound to all. */
    const struct nic_address *peers;
    uint32_t peer_count;
    /* The largest frame wanted, 0: FRAME_BYTES_MAX. An MTU that carries less lowers it, down to the
     * smallest the caller can work with (0: FRAME_BYTES_MIN); below that the open is refused. */
    uint32_t frame_bytes_max;
    uint32_t frame_bytes_min;
    struct nic_accept accept; /* What else comes, the kernel drops. */
    uint32_t rx_buffer_bytes; /* Of the kernel, asked for. 0: NIC_SOCKET_BYTES. */
    uint32_t tx_buffer_bytes;
};

/* What the kernel gave. */
struct nic_socket_facts {
    uint32_t rx_buffer_bytes; /* Less than asked for: net.core.rmem_max, without privilege. */
    uint32_t tx_buffer_bytes;
    uint32_t mtu_bytes; /* What bounds frame_bytes_max: 28 bytes of it are headers. */
};

/* Open a socket; self is what it is bound to, with the real port. Used by one thread at a time.
 *
 * Takes nic_socket_memory_bytes() of `mem`, which must outlive nic_close(), and no memory later.
 * Returns 0, or -errno with the reason in `fault`, nothing left open and nothing taken. */
MUST_USE int nic_socket_open(struct nic **out,
                             struct mem *mem,
                             const struct nic_socket_config *config,
                             struct fault *fault);

uint64_t nic_socket_memory_bytes(void);

/* `nic` was opened by nic_socket_open(). */
struct nic_socket_facts nic_socket_facts(const struct nic *nic);

#endif
