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

#define INTERFACE_FDS_MAX 1024u

struct interface {
    char name[INTERFACE_NAME_BYTES];
    uint32_t index;
    uint32_t mtu;
    uint32_t flags; /* IFF_*, as found. */
    struct mac mac;
};

/* Look at the interface of `spec` and at all that must hold before a port is opened on it for
 * `self`: it is there, up, an Ethernet, not what the default route or the kernel's own traffic
 * needs (unless forced), and this process has the rights. 0, or -errno with the reason and what
 * mends it in `fault`. */
MUST_USE int interface_check(const struct nic_spec *spec,
                             struct nic_address self,
                             uint64_t pinned_bytes,
                             struct interface *interface,
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
