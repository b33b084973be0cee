/* interface.c: see interface.h. Knows the kernel's ioctls and files, nothing of DPDK. */
#define _GNU_SOURCE /* struct ifreq, getifaddrs */
#include "net/interface.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_BYTES    256u
#define ADDRESS_BYTES 16u
#define ROUTES_MAX    4096u
#define ROUTE_WORDS   8u
#define BPF_BIT       39u /* CAP_BPF, since Linux 5.8. */

struct right {
    uint32_t bit;
    const char *name;
};

/* ---- Looking ---- */

static int interface_ioctl(const char *name, unsigned long request, struct ifreq *entry)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    (void)snprintf(entry->ifr_name, sizeof(entry->ifr_name), "%.*s", IFNAMSIZ - 1, name);
    int result = ioctl(fd, request, entry) == 0 ? 0 : -errno;
    (void)close(fd);
    return result;
}

static int interface_read(const char *name, struct interface *interface)
{
    struct ifreq entry = {0};
    *interface = (struct interface){0};
    (void)snprintf(interface->name, sizeof(interface->name), "%.*s", IFNAMSIZ - 1, name);
    int result = interface_ioctl(name, SIOCGIFFLAGS, &entry);
    if (result != 0) {
        return result;
    }
    interface->flags = (uint16_t)entry.ifr_flags;
    result = interface_ioctl(name, SIOCGIFMTU, &entry);
    if (result != 0) {
        return result;
    }
    interface->mtu = (uint32_t)entry.ifr_mtu;
    result = interface_ioctl(name, SIOCGIFHWADDR, &entry);
    if (result != 0) {
        return result;
    }
    memcpy(interface->mac.bytes, entry.ifr_hwaddr.sa_data, MAC_BYTES);
    if (entry.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
        return -ENOTSUP;
    }
    interface->index = if_nametoindex(name);
    return interface->index == 0 ? -ENODEV : 0;
}

bool interface_is_running(const char *name)
{
    struct ifreq entry = {0};
    int wanted = IFF_UP | IFF_RUNNING;
    return interface_ioctl(name, SIOCGIFFLAGS, &entry) == 0 && (entry.ifr_flags & wanted) == wanted;
}

void interface_restore(const struct interface *before)
{
    struct interface now;
    if (interface_read(before->name, &now) != 0 || now.index != before->index) {
        return; /* It is gone: nothing to give back. */
    }
    struct ifreq entry = {0};
    uint32_t ours = IFF_PROMISC | IFF_ALLMULTI;
    if (((now.flags ^ before->flags) & ours) != 0) {
        entry.ifr_flags = (short)((now.flags & ~ours) | (before->flags & ours));
        (void)interface_ioctl(before->name, SIOCSIFFLAGS, &entry);
    }
    if (now.mtu != before->mtu) {
        entry.ifr_mtu = (int)before->mtu;
        (void)interface_ioctl(before->name, SIOCSIFMTU, &entry);
    }
}

/* A line of /proc/net/route: interface, destination, ..., the mask as its eighth word. */
static bool is_default_route_of(char *line, const char *name)
{
    char *rest = NULL;
    const char *words[ROUTE_WORDS] = {0};
    char *word = strtok_r(line, " \t\n", &rest);
    for (uint32_t i = 0; i < ROUTE_WORDS && word != NULL; i++) {
        words[i] = word;
        word = strtok_r(NULL, " \t\n", &rest);
    }
    return words[ROUTE_WORDS - 1] != NULL && strcmp(words[0], name) == 0 &&
           strcmp(words[1], "00000000") == 0 && strcmp(words[ROUTE_WORDS - 1], "00000000") == 0;
}

static bool has_default_route(const char *name)
{
    FILE *file = fopen("/proc/net/route", "re");
    char line[LINE_BYTES];
    bool found = false;
    for (uint32_t i = 0; file != NULL && i < ROUTES_MAX && !found; i++) {
        if (fgets(line, sizeof(line), file) == NULL) {
            break;
        }
        found = is_default_route_of(line, name);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

/* The first of the kernel's IPv4 addresses that is wanted: this one (0: any), on this interface
 * (NULL: any). 1: found, with its interface and its text; 0: there is none; or -errno. */
static int
kernel_address_find(uint32_t ipv4, const char *name, char *interface, char text[ADDRESS_BYTES])
{
    struct ifaddrs *list = NULL;
    bool found = false;
    if (getifaddrs(&list) != 0) {
        return -errno;
    }
    for (const struct ifaddrs *entry = list; entry != NULL && !found; entry = entry->ifa_next) {
        struct sockaddr_in address;
        if (entry->ifa_addr == NULL || entry->ifa_addr->sa_family != AF_INET) {
            continue;
        }
        memcpy(&address, entry->ifa_addr, sizeof(address));
        found = (ipv4 == 0 || ntohl(address.sin_addr.s_addr) == ipv4) &&
                (name == NULL || strcmp(name, entry->ifa_name) == 0);
        if (found) {
            (void)snprintf(interface, INTERFACE_NAME_BYTES, "%.15s", entry->ifa_name);
            (void)inet_ntop(AF_INET, &address.sin_addr, text, ADDRESS_BYTES);
        }
    }
    freeifaddrs(list);
    return found ? 1 : 0;
}

static int addresses_unknown(int error, struct fault *fault)
{
    fault_set(fault, FAULT_ENVIRONMENT,
              "cannot see which addresses the kernel has (%s), and so not whether a node would "
              "disturb it. A sandbox may forbid it: a service needs AF_NETLINK among its "
              "RestrictAddressFamilies=",
              strerror(-error));
    return error;
}

/* ---- Judging ---- */

static uint64_t rights_of_this_process(void)
{
    unsigned long long rights = 0;
    FILE *file = fopen("/proc/self/status", "re");
    char line[LINE_BYTES];
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "CapEff:", 7) == 0) {
            rights = strtoull(line + 7, NULL, 16);
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return rights;
}

static int rights_check(const struct nic_spec *spec, struct fault *fault)
{
    static const struct right packet[] = {{CAP_NET_RAW, "CAP_NET_RAW"},
                                          {CAP_NET_ADMIN, "CAP_NET_ADMIN"}};
    static const struct right xdp[] = {{CAP_NET_RAW, "CAP_NET_RAW"},
                                       {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                       {BPF_BIT, "CAP_BPF"},
                                       {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}};
    bool is_xdp = spec->kind == NIC_AF_XDP;
    const struct right *needed = is_xdp ? xdp : packet;
    uint32_t count = is_xdp ? 4 : 2;
    uint64_t rights = rights_of_this_process();
    for (uint32_t i = 0; i < count; i++) {
        if ((rights >> needed[i].bit & 1u) == 0) {
            fault_set(fault, FAULT_ENVIRONMENT, "cannot open %s on %s: this process lacks %s. %s",
                      nic_kind_name(spec->kind), spec->device, needed[i].name,
                      is_xdp ? "Run it as root; or use af_packet, which needs less"
                             : "Run it as root, or in a namespace of its own (`unshare -Urn`), or "
                               "grant it: `setcap cap_net_raw,cap_net_admin+ep $(which thole)`");
            return -EPERM;
        }
    }
    return 0;
}

/* A driver that pins memory needs the limit for it, or the right to pass it. */
static int pinned_check(const struct nic_spec *spec, uint64_t pinned_bytes, struct fault *fault)
{
    struct rlimit limit = {0};
    bool unlimited = (rights_of_this_process() >> CAP_IPC_LOCK & 1u) != 0;
    if (spec->kind != NIC_AF_XDP || unlimited || getrlimit(RLIMIT_MEMLOCK, &limit) != 0 ||
        limit.rlim_cur >= pinned_bytes) {
        return 0;
    }
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max >= pinned_bytes && setrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        return 0;
    }
    fault_set(fault, FAULT_ENVIRONMENT,
              "cannot open af_xdp on %s: it locks %llu KiB of memory, and this process may lock "
              "%llu. Raise it with `ulimit -l %llu` as root (a service: LimitMEMLOCK=), or grant "
              "CAP_IPC_LOCK",
              spec->device, (unsigned long long)(pinned_bytes >> 10),
              (unsigned long long)(limit.rlim_max >> 10), (unsigned long long)(pinned_bytes >> 10));
    return -EPERM;
}

int interface_address_check(uint32_t ipv4, struct fault *fault)
{
    char interface[INTERFACE_NAME_BYTES];
    char text[ADDRESS_BYTES];
    int found = kernel_address_find(ipv4, NULL, interface, text);
    if (found <= 0) {
        return found == 0 ? 0 : addresses_unknown(found, fault);
    }
    fault_set(fault, FAULT_ENVIRONMENT,
              "the kernel has the address %s itself, on %s: it would answer what is meant for the "
              "node. Take it away with `ip address del %s dev %s` (with its prefix), give the node "
              "another address, or use `--net udp`",
              text, interface, text, interface);
    return -EADDRINUSE;
}

/* What the machine itself needs is not taken from it. */
static int use_check(const struct nic_spec *spec, struct fault *fault)
{
    char interface[INTERFACE_NAME_BYTES];
    char text[ADDRESS_BYTES];
    if (spec->force) {
        return 0;
    }
    if (has_default_route(spec->device)) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%s carries this machine's default route: a node on it may cut the machine off. "
                  "Choose another interface, or say `%s:%s,force`",
                  spec->device, nic_kind_name(spec->kind), spec->device);
        return -EBUSY;
    }
    int found = 0;
    if (spec->kind == NIC_AF_XDP) {
        found = kernel_address_find(0, spec->device, interface, text);
    }
    if (found < 0) {
        return addresses_unknown(found, fault);
    }
    if (found > 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the kernel uses %s itself (it has %s there), and AF_XDP takes all that arrives "
                  "on it. Choose another interface or af_packet, take the address away with `ip "
                  "address flush dev %s`, or say `af_xdp:%s,force`",
                  spec->device, text, spec->device, spec->device);
        return -EBUSY;
    }
    return 0;
}

static int
state_check(const struct nic_spec *spec, struct interface *interface, struct fault *fault)
{
    int result = interface_read(spec->device, interface);
    if (result == -ENOTSUP) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%s is no Ethernet interface. See those there are with `ip -brief link`",
                  spec->device);
        return result;
    }
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot look at the interface %s: %s. See those there are with `ip -brief link`",
                  spec->device, strerror(-result));
        return result;
    }
    if ((interface->flags & IFF_UP) == 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the interface %s is down. Set it up with `ip link set "
                  "dev %s up`",
                  spec->device, spec->device);
        return -ENETDOWN;
    }
    return 0;
}

int interface_check(const struct nic_spec *spec,
                    struct nic_address self,
                    uint64_t pinned_bytes,
                    struct interface *interface,
                    struct fault *fault)
{
    ASSERT(spec->kind == NIC_AF_PACKET || spec->kind == NIC_AF_XDP);
    int result = state_check(spec, interface, fault);
    if (result == 0) {
        result = rights_check(spec, fault);
    }
    if (result == 0) {
        result = use_check(spec, fault);
    }
    if (result == 0) {
        result = interface_address_check(self.ipv4, fault);
    }
    if (result == 0) {
        result = pinned_check(spec, pinned_bytes, fault);
    }
    return result;
}

int interface_tap_check(const struct nic_spec *spec, struct fault *fault)
{
    if (if_nametoindex(spec->device) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "there is an interface %s already, and tap makes a new one. Choose another name, "
                  "or take it away with `ip link del dev %s`",
                  spec->device, spec->device);
        return -EEXIST;
    }
    if ((rights_of_this_process() >> CAP_NET_ADMIN & 1u) == 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot make the interface %s: this process lacks CAP_NET_ADMIN. Run it as root, "
                  "in a namespace of its own (`unshare -Urn`), or grant it: `setcap "
                  "cap_net_admin+ep $(which thole)`",
                  spec->device);
        return -EPERM;
    }
    return 0;
}

int interface_pci_check(const char *bdf, struct fault *fault)
{
    char path[LINE_BYTES];
    char driver[PATH_MAX];
    (void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", bdf);
    if (access(path, F_OK) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "there is no PCI device %s. See those there are with `dpdk-devbind.py --status`; "
                  "the form is 0000:03:00.0",
                  bdf);
        return -ENODEV;
    }
    (void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", bdf);
    ssize_t bytes = readlink(path, driver, sizeof(driver) - 1);
    driver[bytes < 0 ? 0 : bytes] = '\0';
    const char *name = strrchr(driver, '/');
    name = name == NULL ? "no driver" : name + 1;
    /* mlx5 and mlx4 share a card with the kernel; all others need a driver for user space. */
    static const char *const sound[] = {"vfio-pci", "uio_pci_generic", "igb_uio", "mlx5_core",
                                        "mlx4_core"};
    for (uint32_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++) {
        if (strcmp(name, sound[i]) == 0) {
            return 0;
        }
    }
    fault_set(fault, FAULT_ENVIRONMENT,
              "the PCI device %s is bound to %.40s, and nothing is rebound silently. When the "
              "machine does not need it: `modprobe vfio-pci`, then `dpdk-devbind.py "
              "--bind=vfio-pci %s`",
              bdf, name, bdf);
    return -EBUSY;
}

/* ---- Sockets of drivers ---- */

static bool is_socket_of(int fd, int domain)
{
    int found = 0;
    socklen_t bytes = sizeof(found);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &found, &bytes) == 0 && found == domain;
}

void interface_sockets_note(struct interface_sockets *sockets, int domain)
{
    memset(sockets, 0, sizeof(*sockets));
    for (uint32_t fd = 0; fd < INTERFACE_FDS_MAX; fd++) {
        if (is_socket_of((int)fd, domain)) {
            sockets->bits[fd / 64] |= 1ull << fd % 64;
        }
    }
}

int interface_sockets_new(const struct interface_sockets *before, int domain)
{
    for (uint32_t fd = 0; fd < INTERFACE_FDS_MAX; fd++) {
        if ((before->bits[fd / 64] >> fd % 64 & 1u) == 0 && is_socket_of((int)fd, domain)) {
            return (int)fd;
        }
    }
    return -1;
}

uint32_t interface_packets_dropped(int fd)
{
    struct tpacket_stats stats = {0};
    socklen_t bytes = sizeof(stats);
    return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &bytes) == 0 ? stats.tp_drops : 0;
}

void interface_socket_clear(int fd)
{
    int error = 0;
    socklen_t bytes = sizeof(error);
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
}
