/* interface.c: see interface.h: looking and restoring. Knows the kernel's ioctls and files, nothing
 * of DPDK. */
#define _GNU_SOURCE /* struct ifreq, getifaddrs */
#include "net/interface.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_BYTES  256u
#define ROUTES_MAX  4096u
#define ROUTE_WORDS 8u

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

int interface_look(const char *name, struct interface *interface)
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
    if (interface_look(before->name, &now) != 0 || now.index != before->index) {
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

bool interface_has_default_route(const char *name)
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

int interface_kernel_address(uint32_t ipv4,
                             const char *name,
                             char holder[INTERFACE_NAME_BYTES],
                             char text[INTERFACE_ADDRESS_BYTES])
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
            (void)snprintf(holder, INTERFACE_NAME_BYTES, "%.15s", entry->ifa_name);
            (void)inet_ntop(AF_INET, &address.sin_addr, text, INTERFACE_ADDRESS_BYTES);
        }
    }
    freeifaddrs(list);
    return found ? 1 : 0;
}

uint64_t interface_rights(void)
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
