/* interface_check.c: see interface.h: judging what was looked at. Every refusal of a port before
 * DPDK is started is here, with the command that mends it. */
#define _GNU_SOURCE /* struct rlimit's friends */
#include "net/interface.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LINE_BYTES      256u
#define INTERFACES_SHOW "thole net ls"
#define BPF_BIT         39u /* CAP_BPF, since Linux 5.8. */

struct right {
    uint32_t bit;
    const char *name;
};

static int addresses_unknown(int error, struct fault *fault)
{
    fault_set(fault, FAULT_ENVIRONMENT,
              "cannot see which addresses the kernel has (%s), and so not whether a node would "
              "disturb it. A sandbox may forbid it: a service needs AF_NETLINK among its "
              "RestrictAddressFamilies=",
              strerror(-error));
    return error;
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
    uint64_t rights = interface_rights();
    for (uint32_t i = 0; i < count; i++) {
        if ((rights >> needed[i].bit & 1u) == 0) {
            fault_set(fault, FAULT_ENVIRONMENT, "cannot open %s on %s: this process lacks %s. %s",
                      nic_kind_name(spec->kind), spec->device, needed[i].name,
                      is_xdp ? "Use af_packet, which needs less, or run it as root:"
                             : "Run it as root, in a namespace of its own (`unshare -Urn`), or "
                               "grant it:");
            if (is_xdp) {
                fault_mend(fault, "sudo -s");
            } else {
                fault_mend(fault, "sudo setcap cap_net_raw,cap_net_admin+ep $(which thole)");
            }
            return -EPERM;
        }
    }
    return 0;
}

/* A driver that pins memory needs the limit for it, or the right to pass it. */
static int pinned_check(const struct nic_spec *spec, uint64_t pinned_bytes, struct fault *fault)
{
    struct rlimit limit = {0};
    bool unlimited = (interface_rights() >> CAP_IPC_LOCK & 1u) != 0;
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
              "%llu. Grant CAP_IPC_LOCK, raise a service's LimitMEMLOCK=, or the shell's limit "
              "with",
              spec->device, (unsigned long long)(pinned_bytes >> 10),
              (unsigned long long)(limit.rlim_max >> 10));
    fault_mend(fault, "sudo prlimit --pid $$ --memlock=%llu", (unsigned long long)pinned_bytes);
    return -EPERM;
}

int interface_address_check(uint32_t ipv4, struct fault *fault)
{
    char interface[INTERFACE_NAME_BYTES];
    char text[INTERFACE_ADDRESS_BYTES];
    int found = interface_kernel_address(ipv4, NULL, interface, text);
    if (found <= 0) {
        return found == 0 ? 0 : addresses_unknown(found, fault);
    }
    fault_set(fault, FAULT_ENVIRONMENT,
              "the kernel has the address %s itself, on %s: it would answer what is meant for the "
              "node. Give the node another address, use `--net udp`, or take it away (with its "
              "prefix) with",
              text, interface);
    fault_mend(fault, "ip address del %s dev %s", text, interface);
    return -EADDRINUSE;
}

/* What the machine itself needs is not taken from it. */
static int use_check(const struct nic_spec *spec, struct fault *fault)
{
    char interface[INTERFACE_NAME_BYTES];
    char text[INTERFACE_ADDRESS_BYTES];
    if (spec->force) {
        return 0;
    }
    if (interface_has_default_route(spec->device)) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%s carries this machine's default route: a node on it may cut the machine off. "
                  "Say `%s:%s,force`, or choose another of those that there are:",
                  spec->device, nic_kind_name(spec->kind), spec->device);
        fault_mend(fault, INTERFACES_SHOW);
        return -EBUSY;
    }
    int found = 0;
    if (spec->kind == NIC_AF_XDP) {
        found = interface_kernel_address(0, spec->device, interface, text);
    }
    if (found < 0) {
        return addresses_unknown(found, fault);
    }
    if (found > 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the kernel uses %s itself (it has %s there), and AF_XDP takes all that arrives "
                  "on it. Choose another interface or af_packet, say `af_xdp:%s,force`, or take "
                  "the address away with",
                  spec->device, text, spec->device);
        fault_mend(fault, "ip address flush dev %s", spec->device);
        return -EBUSY;
    }
    return 0;
}

static int
state_check(const struct nic_spec *spec, struct interface *interface, struct fault *fault)
{
    int result = interface_look(spec->device, interface);
    if (result == -ENOTSUP) {
        fault_set(fault, FAULT_ENVIRONMENT, "%s is no Ethernet interface. See those there are with",
                  spec->device);
        fault_mend(fault, INTERFACES_SHOW);
        return result;
    }
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot look at the interface %s: %s. See those there are with", spec->device,
                  strerror(-result));
        fault_mend(fault, INTERFACES_SHOW);
        return result;
    }
    if ((interface->flags & IFF_UP) == 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "the interface %s is down. Set it up with",
                  spec->device);
        fault_mend(fault, "ip link set dev %s up", spec->device);
        return -ENETDOWN;
    }
    return 0;
}

int interface_check_matter(enum interface_matter matter,
                           const struct interface_asked *asked,
                           struct interface *interface,
                           struct fault *fault)
{
    const struct nic_spec *spec = asked->spec;
    ASSERT(spec->kind == NIC_AF_PACKET || spec->kind == NIC_AF_XDP);
    switch (matter) {
    case INTERFACE_STATE:
        return state_check(spec, interface, fault);
    case INTERFACE_RIGHTS:
        return rights_check(spec, fault);
    case INTERFACE_USE:
        return use_check(spec, fault);
    case INTERFACE_ADDRESS:
        return asked->self.ipv4 == 0 ? 0 : interface_address_check(asked->self.ipv4, fault);
    case INTERFACE_PINNED:
        return pinned_check(spec, asked->pinned_bytes, fault);
    }
    ASSERT(matter <= INTERFACE_PINNED);
    return -EINVAL;
}

int interface_check(const struct interface_asked *asked,
                    struct interface *interface,
                    struct fault *fault)
{
    int result = 0;
    for (uint32_t matter = 0; matter < INTERFACE_MATTERS && result == 0; matter++) {
        result = interface_check_matter((enum interface_matter)matter, asked, interface, fault);
    }
    return result;
}

int interface_mtu_check(const struct nic_spec *spec,
                        uint32_t interface_mtu,
                        uint32_t frame_bytes_min,
                        uint32_t *mtu,
                        struct fault *fault)
{
    uint32_t least = frame_bytes_min + IPV4_BYTES + UDP_BYTES;
    *mtu = spec->mtu == 0 ? PORT_MTU_DEFAULT : spec->mtu;
    if (*mtu <= interface_mtu) {
        return 0;
    }
    if (spec->mtu != 0 || interface_mtu < least) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%s carries packets of %u bytes, and the node needs %u. Raise it, on the other "
                  "end of the link too, with",
                  spec->device, interface_mtu, spec->mtu != 0 ? *mtu : least);
        fault_mend(fault, "ip link set dev %s mtu %u", spec->device, *mtu);
        return -EMSGSIZE;
    }
    *mtu = interface_mtu;
    return 0;
}

int interface_tap_check(const struct nic_spec *spec, struct fault *fault)
{
    if (if_nametoindex(spec->device) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "there is an interface %s already, and tap makes a new one. Choose another name, "
                  "or take it away with",
                  spec->device);
        fault_mend(fault, "ip link del dev %s", spec->device);
        return -EEXIST;
    }
    if ((interface_rights() >> CAP_NET_ADMIN & 1u) == 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot make the interface %s: this process lacks CAP_NET_ADMIN. Run it as root, "
                  "in a namespace of its own (`unshare -Urn`), or grant it:",
                  spec->device);
        fault_mend(fault, "sudo setcap cap_net_admin+ep $(which thole)");
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
                  "there is no PCI device %s, of the form 0000:03:00.0. See those there are with",
                  bdf);
        fault_mend(fault, "dpdk-devbind.py --status");
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
              "machine does not need it:",
              bdf, name);
    fault_mend(fault, "modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci %s", bdf);
    return -EBUSY;
}
