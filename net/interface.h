/* interface.h: the kernel's side of a port: what an interface is, whether the machine itself needs
 * it, and what this process may do. Looks, and restores what a driver changed; binds nothing.
 *
 * Not for the data path, but for interface_is_running(), which is one system call.
 */
#ifndef NET_INTERFACE_H
#define NET_INTERFACE_H

#include "engine/base/fault.h"
#include "net/headers.h"
#include "net/spec.h"

#define INTERFACE_FDS_MAX       1024u
#define INTERFACE_ADDRESS_BYTES 16u

struct interface {
    char name[INTERFACE_NAME_BYTES];
    uint32_t index;
    uint32_t mtu;
    uint32_t flags; /* IFF_*, as found. */
    struct mac mac;
};

/* Look at it. 0; -ENOTSUP: it is there and no Ethernet; or another -errno. */
MUST_USE int interface_look(const char *name, struct interface *interface);

/* Whether a default route of the kernel's leaves through it. */
bool interface_has_default_route(const char *name);

/* The first of the kernel's IPv4 addresses that is wanted: this one (0: any), on this interface
 * (NULL: any). 1: found, with the interface that holds it and its text; 0: none; or -errno. */
MUST_USE int interface_kernel_address(uint32_t ipv4,
                                      const char *name,
                                      char holder[INTERFACE_NAME_BYTES],
                                      char text[INTERFACE_ADDRESS_BYTES]);

/* The effective capabilities of this process, a bit each. */
uint64_t interface_rights(void);

/* What is asked of an interface before a port is opened on it. */
struct interface_asked {
    const struct nic_spec *spec; /* Of NIC_AF_PACKET or NIC_AF_XDP. */
    struct nic_address self;     /* The node's. 0: not known yet, and not looked for. */
    uint64_t pinned_bytes;       /* What the driver locks in memory. */
};

/* The matters that are looked at, in this order. */
enum interface_matter {
    INTERFACE_STATE,  /* It is there, an Ethernet, and up. */
    INTERFACE_RIGHTS, /* This process may open such a port. */
    INTERFACE_USE, /* Neither the default route nor the kernel's own traffic needs it; or forced. */
    INTERFACE_ADDRESS, /* The kernel does not have the node's address, on any interface. */
    INTERFACE_PINNED,  /* This process may lock the driver's memory; its soft limit is raised. */
};
#define INTERFACE_MATTERS (INTERFACE_PINNED + 1u)

/* One of them. 0, or -errno with the reason and what mends it in `fault`. */
MUST_USE int interface_check_matter(enum interface_matter matter,
                                    const struct interface_asked *asked,
                                    struct interface *interface,
                                    struct fault *fault);

/* All of them, up to the first that does not hold. */
MUST_USE int interface_check(const struct interface_asked *asked,
                             struct interface *interface,
                             struct fault *fault);

/* The MTU of a port: as the spec asks, by default the usual one, and no more than the interface
 * carries. 0, or -EMSGSIZE with `fault` set: it carries less than was asked for, or than frames of
 * `frame_bytes_min` need. */
MUST_USE int interface_mtu_check(const struct nic_spec *spec,
                                 uint32_t interface_mtu,
                                 uint32_t frame_bytes_min,
                                 uint32_t *mtu,
                                 struct fault *fault);

/* Whether the kernel itself has this address, on any interface: it would answer for us. 0, or
 * -EADDRINUSE with `fault` set. */
MUST_USE int interface_address_check(uint32_t ipv4, struct fault *fault);

/* An interface that is yet to be made: nobody has the name, and this process may make it. */
MUST_USE int interface_tap_check(const struct nic_spec *spec, struct fault *fault);

/* A card for a driver in user space: it is there, and bound to one. Binds nothing. */
MUST_USE int interface_pci_check(const char *bdf, struct fault *fault);

/* Whether it is up and has a carrier. */
bool interface_is_running(const char *name);

/* Give flags and MTU back that a driver changed. */
void interface_restore(const struct interface *before);

/* Which descriptors of this process are sockets of a domain (AF_PACKET, AF_XDP). A driver keeps
 * its socket to itself; what is there after its start and was not before is that one. */
struct interface_sockets {
    uint64_t bits[INTERFACE_FDS_MAX / 64];
};

void interface_sockets_note(struct interface_sockets *sockets, int domain);

/* The lowest that is not among `before`, -1: none. */
int interface_sockets_new(const struct interface_sockets *before, int domain);

/* Packets that a packet socket has dropped since the last question, for nobody took those before
 * them. */
uint32_t interface_packets_dropped(int fd);

/* Forget an error that such a socket has been told (its link went down): until then it looks
 * readable to poll(). */
void interface_socket_clear(int fd);

#endif
