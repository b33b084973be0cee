/* spec.h: what a user writes to choose a network port, taken apart. Pure; opens nothing.
 *
 *     ring                       between the nodes of one process
 *     udp                        a kernel socket
 *     af_packet:IF[,mtu=N][,force]
 *     af_xdp:IF[,q=N][,mtu=N][,force]
 *     tap:NAME[,mtu=N]           a new interface of the kernel, whose other end the node is
 *     pci:BDF[,mtu=N]            a card that is bound to a driver for user space, e.g. 0000:03:00.0
 *     vdev:RAW                   any driver of DPDK, e.g. net_virtio_user0,path=/tmp/v: verbatim
 */
#ifndef NET_SPEC_H
#define NET_SPEC_H

#include "engine/base/assert.h"
#include "engine/base/limits.h"

#include <stdbool.h>
#include <stdint.h>

#define NIC_SPEC_BYTES       64u
#define INTERFACE_NAME_BYTES 16u /* As the kernel has it. */

#define NIC_SPEC_FORM                                                                              \
    "ring, udp, af_packet:IF[,mtu=N][,force], af_xdp:IF[,q=N][,mtu=N][,force], tap:NAME[,mtu=N], " \
    "pci:BDF[,mtu=N] or vdev:RAW, shorter than 64"

enum nic_kind { NIC_RING, NIC_UDP, NIC_AF_PACKET, NIC_AF_XDP, NIC_TAP, NIC_PCI, NIC_VDEV };

struct nic_spec {
    enum nic_kind kind;
    char device[NIC_SPEC_BYTES]; /* What stands behind the colon, without the options. */
    uint32_t queue;              /* Of the interface. */
    uint32_t mtu;                /* 0: PORT_MTU_DEFAULT. */
    bool force;                  /* Take an interface that the machine itself uses. */
};

/* False: not of these forms. */
MUST_USE bool nic_spec_parse(const char *text, struct nic_spec *spec);

/* "af_xdp" and so on. */
const char *nic_kind_name(enum nic_kind kind);

#endif
