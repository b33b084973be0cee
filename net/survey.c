/* survey.c: see survey.h. Knows the kernel's netlink and ethtool; no DPDK. */
#define _GNU_SOURCE /* struct ifreq, getifaddrs */
#include "net/survey.h"

#include "net/netlink.h"
#include "net/nic_dpdk_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The "netdev" family, which Debian 12's headers do not have. */
#define GENERIC_HEAD            ((int)sizeof(struct genlmsghdr))
#define NETDEV_FAMILY           "netdev"
#define NETDEV_COMMAND_GET      1u
#define NETDEV_ATTR_INTERFACE   1u
#define NETDEV_ATTR_XDP_FEATURE 3u

static const struct {
    const char *name;
    uint32_t command;
} offloads_asked[SURVEY_OFFLOADS] = {
    {"rx-checksum", ETHTOOL_GRXCSUM},
    {"tx-checksum", ETHTOOL_GTXCSUM},
    {"scatter-gather", ETHTOOL_GSG},
    {"tso", ETHTOOL_GTSO},
    {"gso", ETHTOOL_GGSO},
    {"gro", ETHTOOL_GGRO},
};

/* ---- ethtool ---- */

static bool ethtool_ask(const char *name, void *question)
{
    struct ifreq entry = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    (void)snprintf(entry.ifr_name, sizeof(entry.ifr_name), "%.*s", IFNAMSIZ - 1, name);
    entry.ifr_data = question;
    bool answered = ioctl(fd, SIOCETHTOOL, &entry) == 0;
    (void)close(fd);
    return answered;
}

static void driver_look(struct survey_interface *found)
{
    const char *name = found->interface.name;
    struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
    if (ethtool_ask(name, &driver)) {
        (void)snprintf(found->driver, sizeof(found->driver), "%.31s", driver.driver);
        (void)snprintf(found->bus, sizeof(found->bus), "%.31s", driver.bus_info);
    }
    for (uint32_t i = 0; i < SURVEY_OFFLOADS; i++) {
        struct ethtool_value value = {.cmd = offloads_asked[i].command};
        found->offloads[i].name = offloads_asked[i].name;
        found->offloads[i].on = ethtool_ask(name, &value) && value.data != 0;
    }
}

/* ---- The link ---- */

static const char *xdp_mode_name(uint8_t attached)
{
    switch (attached) {
    case XDP_ATTACHED_DRV:
        return "native";
    case XDP_ATTACHED_SKB:
        return "generic";
    case XDP_ATTACHED_HW:
        return "offloaded";
    case XDP_ATTACHED_MULTI:
        return "several";
    default:
        return NULL;
    }
}

static const struct nlattr *nested_find(const struct nlattr *outer, uint16_t type)
{
    const void *inside = netlink_value(outer, 0);
    uint32_t bytes = inside == NULL ? 0 : netlink_value_bytes(outer);
    return inside == NULL ? NULL : netlink_find(inside, bytes, type);
}

static uint32_t word_of(const uint8_t *attributes, uint32_t bytes, uint16_t type)
{
    uint32_t word = 0;
    const void *value = netlink_value(netlink_find(attributes, bytes, type), sizeof(word));
    if (value != NULL) {
        memcpy(&word, value, sizeof(word));
    }
    return word;
}

static void link_read(struct survey_interface *found, const uint8_t *attributes, uint32_t bytes)
{
    found->rx_queues = word_of(attributes, bytes, IFLA_NUM_RX_QUEUES);
    found->tx_queues = word_of(attributes, bytes, IFLA_NUM_TX_QUEUES);
    const struct nlattr *kind =
        nested_find(netlink_find(attributes, bytes, IFLA_LINKINFO), IFLA_INFO_KIND);
    if (netlink_value(kind, 1) != NULL) {
        (void)snprintf(found->kind, sizeof(found->kind), "%.*s", (int)netlink_value_bytes(kind),
                       (const char *)netlink_value(kind, 1));
    }
    const uint8_t *attached =
        netlink_value(nested_find(netlink_find(attributes, bytes, IFLA_XDP), IFLA_XDP_ATTACHED), 1);
    found->xdp_mode = attached == NULL ? NULL : xdp_mode_name(*attached);
    struct rtnl_link_stats64 counted;
    /* Kernels add fields at its end; those before stay. */
    uint32_t counted_bytes = (uint32_t)offsetof(struct rtnl_link_stats64, rx_compressed);
    const void *statistics =
        netlink_value(netlink_find(attributes, bytes, IFLA_STATS64), counted_bytes);
    if (statistics == NULL) {
        return;
    }
    memset(&counted, 0, sizeof(counted));
    memcpy(&counted, statistics, counted_bytes);
    found->statistics = (struct survey_statistics){
        .rx_packets = counted.rx_packets,
        .tx_packets = counted.tx_packets,
        .rx_bytes = counted.rx_bytes,
        .tx_bytes = counted.tx_bytes,
        .rx_errors = counted.rx_errors,
        .tx_errors = counted.tx_errors,
        .rx_dropped = counted.rx_dropped,
        .tx_dropped = counted.tx_dropped,
    };
}

static void link_look(struct survey_interface *found, uint8_t answer[NETLINK_ANSWER_BYTES])
{
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)found->interface.index};
    struct netlink_question question = {
        .protocol = NETLINK_ROUTE,
        .type = RTM_GETLINK,
        .bytes = sizeof(link),
    };
    memcpy(question.body, &link, sizeof(link));
    int bytes = netlink_ask(&question, answer);
    if (bytes >= (int)sizeof(link)) {
        link_read(found, answer + sizeof(link), (uint32_t)bytes - (uint32_t)sizeof(link));
    }
}

/* ---- XDP features ---- */

/* A question to a generic family: its command and one attribute. Returns the bytes of attributes
 * that the answer holds from `*attributes` on, or -errno. */
static int generic_ask(uint16_t family,
                       uint8_t command,
                       struct nlattr *header,
                       const void *value,
                       uint8_t answer[NETLINK_ANSWER_BYTES])
{
    struct genlmsghdr generic = {.cmd = command, .version = 1};
    struct netlink_question question = {
        .protocol = NETLINK_GENERIC,
        .type = family,
        .bytes = GENERIC_HEAD,
    };
    memcpy(question.body, &generic, sizeof(generic));
    netlink_add(&question, header->nla_type, value, header->nla_len);
    int bytes = netlink_ask(&question, answer);
    return bytes < GENERIC_HEAD ? -ENODATA : bytes - GENERIC_HEAD;
}

static void features_look(struct survey_interface *found, uint8_t answer[NETLINK_ANSWER_BYTES])
{
    struct nlattr name = {.nla_type = CTRL_ATTR_FAMILY_NAME, .nla_len = sizeof(NETDEV_FAMILY)};
    int bytes = generic_ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name, NETDEV_FAMILY, answer);
    uint16_t family = 0;
    const void *value = bytes < 0
                            ? NULL
                            : netlink_value(netlink_find(answer + GENERIC_HEAD, (uint32_t)bytes,
                                                         CTRL_ATTR_FAMILY_ID),
                                            sizeof(family));
    if (value == NULL) {
        return;
    }
    memcpy(&family, value, sizeof(family));
    struct nlattr index = {.nla_type = NETDEV_ATTR_INTERFACE, .nla_len = sizeof(uint32_t)};
    bytes = generic_ask(family, NETDEV_COMMAND_GET, &index, &found->interface.index, answer);
    value = bytes < 0 ? NULL
                      : netlink_value(netlink_find(answer + GENERIC_HEAD, (uint32_t)bytes,
                                                   NETDEV_ATTR_XDP_FEATURE),
                                      sizeof(found->xdp_features));
    if (value != NULL) {
        memcpy(&found->xdp_features, value, sizeof(found->xdp_features));
        found->xdp_features_known = true;
    }
}

const char *survey_xdp_support(const struct survey_interface *found)
{
    uint64_t native = SURVEY_XDP_BASIC | SURVEY_XDP_REDIRECT;
    if (!found->xdp_features_known) {
        return "unknown";
    }
    if ((found->xdp_features & native) != native) {
        return "generic only";
    }
    return (found->xdp_features & SURVEY_XDP_ZERO_COPY) != 0 ? "native, zero copy" : "native";
}

/* ---- Addresses ---- */

static uint32_t prefix_of(const uint8_t *mask, uint32_t bytes)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        bits += (uint32_t)__builtin_popcount(mask[i]);
    }
    return bits;
}

static bool address_format(const struct ifaddrs *entry, char text[SURVEY_ADDRESS_BYTES])
{
    char plain[INET6_ADDRSTRLEN];
    if (entry->ifa_addr == NULL || entry->ifa_netmask == NULL) {
        return false;
    }
    bool is_4 = entry->ifa_addr->sa_family == AF_INET;
    if (!is_4 && entry->ifa_addr->sa_family != AF_INET6) {
        return false;
    }
    size_t at =
        is_4 ? offsetof(struct sockaddr_in, sin_addr) : offsetof(struct sockaddr_in6, sin6_addr);
    const uint8_t *address = (const uint8_t *)entry->ifa_addr + at;
    const uint8_t *mask = (const uint8_t *)entry->ifa_netmask + at;
    if (inet_ntop(is_4 ? AF_INET : AF_INET6, address, plain, sizeof(plain)) == NULL) {
        return false;
    }
    (void)snprintf(text, SURVEY_ADDRESS_BYTES, "%s/%u", plain, prefix_of(mask, is_4 ? 4 : 16));
    return true;
}

static void addresses_look(struct survey_interface *found)
{
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0) {
        return;
    }
    for (const struct ifaddrs *entry = list; entry != NULL; entry = entry->ifa_next) {
        if (strcmp(entry->ifa_name, found->interface.name) == 0 &&
            found->address_count < SURVEY_ADDRESSES_MAX &&
            address_format(entry, found->addresses[found->address_count])) {
            found->address_count++;
        }
    }
    freeifaddrs(list);
}

/* ---- All of it ---- */

int survey_interface(const char *name, struct survey_interface *found)
{
    static uint8_t answer[NETLINK_ANSWER_BYTES]; /* Large, and one thread asks. */
    *found = (struct survey_interface){0};
    int result = interface_look(name, &found->interface);
    if (result != 0 && result != -ENOTSUP) {
        return result;
    }
    found->is_ethernet = result == 0;
    found->interface.index = if_nametoindex(name);
    if (found->interface.index == 0) {
        return -ENODEV;
    }
    found->is_up = (found->interface.flags & IFF_UP) != 0;
    found->is_running = interface_is_running(name);
    found->has_default_route = interface_has_default_route(name);
    driver_look(found);
    link_look(found, answer);
    features_look(found, answer);
    addresses_look(found);
    xdp_look(&found->xdp, found->interface.index);
    return 0;
}

uint32_t survey_names(char names[SURVEY_INTERFACES_MAX][INTERFACE_NAME_BYTES])
{
    uint32_t count = 0;
    struct if_nameindex *list = if_nameindex();
    for (const struct if_nameindex *entry = list;
         entry != NULL && entry->if_index != 0 && count < SURVEY_INTERFACES_MAX; entry++) {
        (void)snprintf(names[count++], INTERFACE_NAME_BYTES, "%.15s", entry->if_name);
    }
    if (list != NULL) {
        if_freenameindex(list);
    }
    return count;
}

void survey_port(const struct nic_spec *spec,
                 struct nic_address self,
                 const struct survey_interface *found,
                 struct survey_port *port)
{
    struct interface interface;
    struct interface_asked asked = {
        .spec = spec,
        .self = self,
        .pinned_bytes = nic_dpdk_port_pinned_bytes(spec->kind),
    };
    *port = (struct survey_port){0};
    for (uint32_t matter = 0; matter < INTERFACE_MATTERS; matter++) {
        int result = interface_check_matter((enum interface_matter)matter, &asked, &interface,
                                            &port->faults[matter]);
        port->fault_count += result != 0;
        if (matter == INTERFACE_STATE && result != 0 && result != -ENETDOWN) {
            return; /* There is no such interface to ask more about. */
        }
    }
    port->is_there = true;
    if (spec->kind == NIC_AF_XDP && found != NULL) {
        int result = xdp_check(&found->xdp, spec->device, &port->faults[SURVEY_XDP]);
        port->fault_count += result != 0;
    }
    ASSERT(port->fault_count <= SURVEY_MATTERS);
}
