/* nic_socket.c: see nic_socket.h. Knows the kernel's sockets, nothing of DPDK.
 *
 * The socket is never connected and asks for no ICMP errors (IP_RECVERR), so one dead peer cannot
 * stop a burst to the others. Should the kernel report one all the same, it is counted as
 * tx_unknown and costs one frame at most.
 */
#define _GNU_SOURCE /* recvmmsg, sendmmsg, SO_RCVBUFFORCE */
#include "net/nic_socket.h"

#include "net/capture.h"
#include "net/filter.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CACHE_LINE        64u
#define PACKET_HEAD_BYTES 28u /* IPv4 without options, UDP. */
#define MTU_UNKNOWN_BYTES 1500u
#define MULTICAST_FIRST   0xe0000000u
#define LOOPBACK_NET      127u
#define INTERFACES_MAX    64u
#define RECEIVE_TRIES     3u /* An error of an earlier send is told once, by a receive. */
#define ADDRESS_TEXT      24u

_Static_assert(PACKET_HEAD_BYTES + FRAME_BYTES_MAX <= 65535, "one IPv4 datagram holds a frame");
_Static_assert(FRAME_BYTES_MAX % CACHE_LINE == 0, "every receive buffer starts on a cache line");

/* Room for the kernel's count of dropped datagrams (SO_RXQ_OVFL). */
struct control {
    _Alignas(size_t) uint8_t bytes[CMSG_SPACE(sizeof(uint32_t))]; /* Aligned as a cmsghdr is. */
};

struct nic_socket {
    struct nic nic; /* First: the seam. */
    struct nic_socket_facts facts;
    int fd;
    bool open;
    bool filtered;
    uint32_t held_count;   /* Frames the caller has not released. */
    uint32_t kernel_drops; /* As last told; wraps. */
    uint8_t *buffers;      /* RX_BURST_MAX x FRAME_BYTES_MAX. */
    struct mmsghdr rx[RX_BURST_MAX];
    struct iovec rx_parts[RX_BURST_MAX];
    struct sockaddr_in rx_from[RX_BURST_MAX];
    struct control rx_control[RX_BURST_MAX];
    struct mmsghdr tx[TX_BURST_MAX];
    struct iovec tx_parts[TX_BURST_MAX][2];
    struct sockaddr_in tx_to[TX_BURST_MAX];
};

static struct nic_socket *of_nic(struct nic *nic)
{
    return (struct nic_socket *)(void *)nic;
}

static const struct nic_socket *of_const_nic(const struct nic *nic)
{
    return (const struct nic_socket *)(const void *)nic;
}

static struct sockaddr_in to_kernel(struct nic_address address)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(address.port),
        .sin_addr.s_addr = htonl(address.ipv4),
    };
}

static struct nic_address from_kernel(const struct sockaddr_in *address)
{
    return (struct nic_address){ntohl(address->sin_addr.s_addr), ntohs(address->sin_port)};
}

/* ---- Receive ---- */

/* Give every slot back to the kernel as it was: recvmmsg() overwrites lengths and flags. */
static void slots_reset(struct nic_socket *own, uint32_t count)
{
    ASSERT(count <= RX_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        own->rx[i].msg_hdr.msg_namelen = sizeof(own->rx_from[i]);
        own->rx[i].msg_hdr.msg_controllen = sizeof(own->rx_control[i]);
        own->rx[i].msg_hdr.msg_flags = 0;
    }
}

/* The kernel tells how many datagrams it has dropped, once there are any. */
static void drops_count(struct nic_socket *own, struct msghdr *message)
{
    struct cmsghdr *control = CMSG_FIRSTHDR(message);
    if (control == NULL || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SO_RXQ_OVFL) {
        return;
    }
    uint32_t drops;
    memcpy(&drops, CMSG_DATA(control), sizeof(drops));
    uint32_t more = drops - own->kernel_drops;
    own->nic.counters.rx_no_buffer += own->filtered ? 0 : more;
    own->nic.counters.rx_kernel_drops += own->filtered ? more : 0;
    own->kernel_drops = drops;
}

/* Look at one datagram. True when `frame` is to be handed up; false: counted. */
static bool frame_accept(struct nic_socket *own, uint32_t slot, struct nic_frame *frame)
{
    struct msghdr *message = &own->rx[slot].msg_hdr;
    uint32_t bytes = own->rx[slot].msg_len;
    if (UNLIKELY(message->msg_controllen > 0)) {
        drops_count(own, message);
    }
    if (UNLIKELY((message->msg_flags & MSG_TRUNC) != 0)) {
        own->nic.counters.rx_long++;
        return false;
    }
    if (UNLIKELY(bytes == 0)) {
        own->nic.counters.rx_short++;
        return false;
    }
    ASSERT(bytes <= FRAME_BYTES_MAX);
    *frame = (struct nic_frame){
        .data = own->rx_parts[slot].iov_base,
        .bytes = bytes,
        .from = from_kernel(&own->rx_from[slot]),
        .owner = &own->rx[slot],
    };
    own->nic.counters.rx_frames++;
    own->nic.counters.rx_bytes += bytes;
    return true;
}

/* Datagrams that the kernel had, into the first slots. */
static uint32_t slots_fill(struct nic_socket *own, uint32_t count)
{
    for (uint32_t try = 0; try < RECEIVE_TRIES; try++) {
        int received = recvmmsg(own->fd, own->rx, count, MSG_DONTWAIT, NULL);
        if (LIKELY(received >= 0)) {
            return (uint32_t)received;
        }
        if (LIKELY(errno == EAGAIN || errno == EWOULDBLOCK)) {
            return 0;
        }
        ASSERT(errno != EBADF);
        ASSERT(errno != EFAULT);
        if (errno != EINTR) {
            own->nic.counters.tx_unknown++;
        }
    }
    return 0;
}

static uint32_t socket_rx_burst(struct nic *nic, struct nic_frame *frames, uint32_t frames_max)
{
    struct nic_socket *own = of_nic(nic);
    ASSERT(own->open);
    ASSERT(own->held_count == 0);
    ASSERT(frames_max <= RX_BURST_MAX);

    uint32_t received = slots_fill(own, frames_max);
    ASSERT(received <= frames_max);
    uint32_t count = 0;
    for (uint32_t i = 0; i < received; i++) {
        count += frame_accept(own, i, &frames[count]);
    }
    slots_reset(own, received);
    own->held_count = count;
    if (UNLIKELY(nic->capture != NULL) && count > 0) {
        nic->capture->received(nic->capture, nic, frames, count);
    }
    return count;
}

static void socket_rx_release(struct nic *nic, const struct nic_frame *frames, uint32_t count)
{
    struct nic_socket *own = of_nic(nic);
    ASSERT(count <= own->held_count);
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(frames[i].owner != NULL);
    }
    own->held_count -= count;
}

/* ---- Transmit ---- */

static void slot_write(struct nic_socket *own, uint32_t slot, const struct nic_send *send)
{
    ASSERT(send->head_bytes > 0);
    ASSERT(send->head_bytes + send->body_bytes <= own->nic.frame_bytes_max);
    ASSERT(send->body != NULL || send->body_bytes == 0);
    struct iovec *parts = own->tx_parts[slot];
    /* The kernel only reads these; struct iovec has no const. */
    parts[0] = (struct iovec){(void *)(uintptr_t)send->head, send->head_bytes};
    parts[1] = (struct iovec){(void *)(uintptr_t)send->body, send->body_bytes};
    own->tx_to[slot] = to_kernel(send->to);
    own->tx[slot].msg_hdr.msg_iovlen = send->body_bytes > 0 ? 2 : 1;
}

/* Count a frame that the kernel did not take. True when those after it have no chance either. */
static bool failure_count(struct nic_socket *own, int error, uint32_t left)
{
    ASSERT(left > 0);
    ASSERT(error != EBADF);
    ASSERT(error != EFAULT);
    if (error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM) {
        own->nic.counters.tx_no_buffer += left;
        return true;
    }
    if (error != EMSGSIZE && error != EINTR) {
        own->nic.counters.tx_unknown++;
    }
    return false;
}

static uint32_t socket_tx_burst(struct nic *nic, const struct nic_send *sends, uint32_t count)
{
    struct nic_socket *own = of_nic(nic);
    ASSERT(own->open);
    ASSERT(count <= TX_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        slot_write(own, i, &sends[i]);
    }
    uint32_t sent = 0;
    uint32_t at = 0;
    while (at < count) { /* Every round takes or drops at least one. */
        int taken = sendmmsg(own->fd, own->tx + at, count - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (UNLIKELY(taken <= 0)) {
            if (failure_count(own, errno, count - at)) {
                break;
            }
            at++;
            continue;
        }
        ASSERT((uint32_t)taken <= count - at);
        if (UNLIKELY(nic->capture != NULL)) {
            nic->capture->sent(nic->capture, nic, sends + at, (uint32_t)taken);
        }
        for (uint32_t i = at; i < at + (uint32_t)taken; i++) {
            nic->counters.tx_bytes += sends[i].head_bytes + sends[i].body_bytes;
        }
        sent += (uint32_t)taken;
        at += (uint32_t)taken;
    }
    nic->counters.tx_frames += sent;
    nic->counters.tx_dropped += count - sent;
    return sent;
}

static int socket_wait_fd(const struct nic *nic)
{
    const struct nic_socket *own = of_const_nic(nic);
    ASSERT(own->open);
    ASSERT(own->fd >= 0);
    return own->fd;
}

static void socket_close(struct nic *nic)
{
    struct nic_socket *own = of_nic(nic);
    ASSERT(own->open);
    ASSERT(own->held_count == 0);
    own->open = false;
    (void)close(own->fd);
}

static const struct nic_ops socket_ops = {
    .rx_burst = socket_rx_burst,
    .rx_release = socket_rx_release,
    .tx_burst = socket_tx_burst,
    .wait_fd = socket_wait_fd,
    .close = socket_close,
};

/* ---- MTU ---- */

/* What one IP packet to `peer` may hold, 0 when there is no route. Sends nothing. */
static uint32_t route_mtu(struct nic_address local, struct nic_address peer)
{
    int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0) {
        return 0;
    }
    local.port = 0;
    struct sockaddr_in from = to_kernel(local);
    struct sockaddr_in to = to_kernel(peer);
    int mtu = 0;
    socklen_t bytes = sizeof(mtu);
    if (bind(probe, (const struct sockaddr *)&from, sizeof(from)) != 0 ||
        connect(probe, (const struct sockaddr *)&to, sizeof(to)) != 0 ||
        getsockopt(probe, IPPROTO_IP, IP_MTU, &mtu, &bytes) != 0) {
        mtu = 0;
    }
    (void)close(probe);
    return mtu > 0 ? (uint32_t)mtu : 0;
}

static bool interface_serves(uint32_t interface_ipv4, uint32_t bound_ipv4)
{
    bool both_loopback = interface_ipv4 >> 24 == LOOPBACK_NET && bound_ipv4 >> 24 == LOOPBACK_NET;
    return bound_ipv4 == INADDR_ANY || interface_ipv4 == bound_ipv4 || both_loopback;
}

/* The smallest MTU of the interfaces that serve the bound address, 0 when none is found. */
static uint32_t interface_mtu(int fd, uint32_t bound_ipv4)
{
    struct ifreq entries[INTERFACES_MAX];
    struct ifconf list = {.ifc_len = (int)sizeof(entries), .ifc_req = entries};
    if (ioctl(fd, SIOCGIFCONF, &list) != 0) {
        return 0;
    }
    uint32_t count = (uint32_t)list.ifc_len / (uint32_t)sizeof(entries[0]);
    ASSERT(count <= INTERFACES_MAX);
    uint32_t smallest = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct sockaddr_in address;
        memcpy(&address, &entries[i].ifr_addr, sizeof(address));
        bool serves = interface_serves(ntohl(address.sin_addr.s_addr), bound_ipv4);
        /* The address and the MTU share their bytes. */
        if (!serves || ioctl(fd, SIOCGIFMTU, &entries[i]) != 0 || entries[i].ifr_mtu <= 0) {
            continue;
        }
        uint32_t mtu = (uint32_t)entries[i].ifr_mtu;
        smallest = smallest == 0 || mtu < smallest ? mtu : smallest;
    }
    return smallest;
}

static uint32_t mtu_find(int fd, const struct nic_socket_config *config)
{
    uint32_t smallest = 0;
    for (uint32_t i = 0; i < config->peer_count; i++) {
        uint32_t mtu = route_mtu(config->bind, config->peers[i]);
        smallest = smallest == 0 || (mtu > 0 && mtu < smallest) ? mtu : smallest;
    }
    if (smallest == 0) {
        smallest = interface_mtu(fd, config->bind.ipv4);
    }
    return smallest == 0 ? MTU_UNKNOWN_BYTES : smallest;
}

/* ---- Open ---- */

static void address_text(char *text, struct nic_address address)
{
    (void)snprintf(text, ADDRESS_TEXT, "%u.%u.%u.%u:%u", address.ipv4 >> 24,
                   address.ipv4 >> 16 & 255u, address.ipv4 >> 8 & 255u, address.ipv4 & 255u,
                   address.port);
}

static void bind_fault(struct fault *fault, struct nic_address address, int error)
{
    char text[ADDRESS_TEXT];
    address_text(text, address);
    if (error == EADDRINUSE) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot receive on UDP %s: another process has this port. See which with "
                  "`ss -ulpn 'sport = :%u'`, stop it, or choose another port",
                  text, address.port);
    } else if (error == EADDRNOTAVAIL) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot receive on UDP %s: no interface of this machine has this address. See "
                  "those it has with `ip -4 -brief address`, and correct the address",
                  text);
    } else if (error == EACCES || error == EPERM) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot receive on UDP %s: a port this low needs CAP_NET_BIND_SERVICE, which "
                  "this process lacks. Choose a port above what `sysctl "
                  "net.ipv4.ip_unprivileged_port_start` says, or grant the capability",
                  text);
    } else {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot receive on UDP %s: bind: %s. See the machine's addresses with "
                  "`ip -4 -brief address`, and choose one of them",
                  text, strerror(error));
    }
}

/* Ask for a buffer past the system's limit, which only privilege gets, or else up to it. What came
 * is told by getsockopt() as twice what was asked for, for the kernel's own overhead. */
static uint32_t buffer_set(int fd, int forced_option, int option, uint32_t bytes)
{
    ASSERT(bytes <= INT32_MAX / 2);
    int asked = (int)bytes;
    if (setsockopt(fd, SOL_SOCKET, forced_option, &asked, sizeof(asked)) != 0) {
        (void)setsockopt(fd, SOL_SOCKET, option, &asked, sizeof(asked));
    }
    int given = 0;
    socklen_t given_bytes = sizeof(given);
    int result = getsockopt(fd, SOL_SOCKET, option, &given, &given_bytes);
    ASSERT(result == 0);
    ASSERT(given > 0);
    return (uint32_t)given / 2;
}

/* Options that everything relies on, then the address. 0, or -errno with `fault` set. */
/* Before the socket has an address, so that nothing unwanted is in it. */
static int socket_filter(int fd, const struct nic_accept *accept, struct fault *fault)
{
    struct filter filter;
    filter_datagrams(&filter, accept);
    int result = filter_attach(fd, &filter);
    if (result != 0) {
        fault_set(
            fault, FAULT_ENVIRONMENT,
            "cannot set up a UDP socket: the kernel refuses SO_ATTACH_FILTER: %s. Run outside "
            "a sandbox that emulates sockets",
            strerror(-result));
    }
    return result;
}

static int socket_bind(int fd, const struct nic_socket_config *config, struct fault *fault)
{
    if (config->bind.ipv4 >= MULTICAST_FIRST) { /* bind() would take it. */
        bind_fault(fault, config->bind, EADDRNOTAVAIL);
        return -EADDRNOTAVAIL;
    }
    int whole = IP_PMTUDISC_DO;
    int on = 1;
    if (setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &whole, sizeof(whole)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on)) != 0) {
        int error = errno;
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot set up a UDP socket: the kernel refuses IP_MTU_DISCOVER or SO_RXQ_OVFL: "
                  "%s. Run on Linux 2.6.33 or newer, outside a sandbox that emulates sockets",
                  strerror(error));
        return -error;
    }
    int result = config->accept.word_count == 0 ? 0 : socket_filter(fd, &config->accept, fault);
    if (result != 0) {
        return result;
    }
    struct sockaddr_in address = to_kernel(config->bind);
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        bind_fault(fault, config->bind, error);
        return -error;
    }
    return 0;
}

/* Point every slot at its own address, control and buffer. */
static void slots_init(struct nic_socket *own)
{
    for (uint32_t i = 0; i < RX_BURST_MAX; i++) {
        own->rx_parts[i] = (struct iovec){own->buffers + i * FRAME_BYTES_MAX, FRAME_BYTES_MAX};
        own->rx[i].msg_hdr = (struct msghdr){
            .msg_name = &own->rx_from[i],
            .msg_iov = &own->rx_parts[i],
            .msg_iovlen = 1,
            .msg_control = &own->rx_control[i],
        };
    }
    slots_reset(own, RX_BURST_MAX);
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        own->tx[i].msg_hdr = (struct msghdr){
            .msg_name = &own->tx_to[i],
            .msg_namelen = sizeof(own->tx_to[i]),
            .msg_iov = own->tx_parts[i],
        };
    }
}

/* The configuration with its defaults filled in. */
static struct nic_socket_config config_complete(const struct nic_socket_config *given)
{
    struct nic_socket_config config = *given;
    config.frame_bytes_max = given->frame_bytes_max == 0 ? FRAME_BYTES_MAX : given->frame_bytes_max;
    config.frame_bytes_min = given->frame_bytes_min == 0 ? FRAME_BYTES_MIN : given->frame_bytes_min;
    if (config.rx_buffer_bytes == 0) {
        config.rx_buffer_bytes = NIC_SOCKET_BYTES;
    }
    if (config.tx_buffer_bytes == 0) {
        config.tx_buffer_bytes = NIC_SOCKET_BYTES;
    }
    ASSERT(config.peers != NULL || config.peer_count == 0);
    ASSERT(config.frame_bytes_max <= FRAME_BYTES_MAX);
    ASSERT(config.frame_bytes_min >= FRAME_BYTES_MIN);
    ASSERT(config.frame_bytes_min <= config.frame_bytes_max);
    return config;
}

/* The largest frame that needs no IP fragments. 0, or -EMSGSIZE with `fault` set. */
static int frame_limit(const struct nic_socket_config *config,
                       uint32_t mtu,
                       uint32_t *out,
                       struct fault *fault)
{
    if (mtu < PACKET_HEAD_BYTES + config->frame_bytes_min) {
        char text[ADDRESS_TEXT];
        address_text(text, config->bind);
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot send from UDP %s: the MTU is %u bytes, and a frame of at least %u needs "
                  "%u. See `ip link`, and raise it with `ip link set dev INTERFACE mtu %u`",
                  text, mtu, config->frame_bytes_min, PACKET_HEAD_BYTES + config->frame_bytes_min,
                  PACKET_HEAD_BYTES + config->frame_bytes_min);
        return -EMSGSIZE;
    }
    uint32_t fits = mtu - PACKET_HEAD_BYTES;
    *out = fits < config->frame_bytes_max ? fits : config->frame_bytes_max;
    return 0;
}

int nic_socket_open(struct nic **out,
                    struct mem *mem,
                    const struct nic_socket_config *given,
                    struct fault *fault)
{
    struct nic_socket_config config = config_complete(given);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        int error = errno;
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot open a UDP socket: %s. See the limit of open files with `ulimit -n`, and "
                  "whether a sandbox forbids IPv4 sockets",
                  strerror(error));
        return -error;
    }
    uint32_t mtu = 0;
    uint32_t frame_bytes_max = 0;
    int result = socket_bind(fd, &config, fault);
    if (result == 0) {
        mtu = mtu_find(fd, &config);
        result = frame_limit(&config, mtu, &frame_bytes_max, fault);
    }
    if (result != 0) {
        (void)close(fd);
        return result;
    }
    struct sockaddr_in bound = {0};
    socklen_t bound_bytes = sizeof(bound);
    int named = getsockname(fd, (struct sockaddr *)&bound, &bound_bytes);
    ASSERT(named == 0);

    struct nic_socket *own = mem_take(mem, "socket nic", 1, sizeof(*own), CACHE_LINE);
    own->buffers =
        mem_take(mem, "socket receive buffers", RX_BURST_MAX, FRAME_BYTES_MAX, CACHE_LINE);
    own->nic.ops = &socket_ops;
    own->nic.self = from_kernel(&bound);
    own->nic.frame_bytes_max = frame_bytes_max;
    own->facts.mtu_bytes = mtu;
    own->facts.rx_buffer_bytes = buffer_set(fd, SO_RCVBUFFORCE, SO_RCVBUF, config.rx_buffer_bytes);
    own->facts.tx_buffer_bytes = buffer_set(fd, SO_SNDBUFFORCE, SO_SNDBUF, config.tx_buffer_bytes);
    own->fd = fd;
    own->filtered = config.accept.word_count > 0;
    own->open = true;
    slots_init(own);
    *out = &own->nic;
    return 0;
}

uint64_t nic_socket_memory_bytes(void)
{
    uint64_t buffers_bytes = (uint64_t)RX_BURST_MAX * FRAME_BYTES_MAX;
    return sizeof(struct nic_socket) + buffers_bytes +
           2 * CACHE_LINE; /* And what aligning takes. */
}

struct nic_socket_facts nic_socket_facts(const struct nic *nic)
{
    ASSERT(nic->ops == &socket_ops);
    return of_const_nic(nic)->facts;
}
