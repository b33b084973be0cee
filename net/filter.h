/* filter.h: classic BPF programs that have the kernel drop what is not wanted, before it takes room
 * in a socket's buffer and before anybody is woken. Making them is pure; attaching needs no
 * privilege.
 *
 * A filter only ever drops what would be dropped above it too: who takes a frame checks it whole.
 */
#ifndef NET_FILTER_H
#define NET_FILTER_H

#include "net/nic.h"

#include <linux/filter.h>

#define FILTER_CODE_MAX 32u

struct filter {
    struct sock_filter code[FILTER_CODE_MAX];
    uint16_t count;
};

/* For a UDP socket: datagrams that begin as wanted. */
void filter_datagrams(struct filter *filter, const struct nic_accept *accept);

/* For a packet socket on Ethernet: ARP, what is ICMP to `self`, and whole datagrams to `self` that
 * begin as wanted. What has a VLAN tag or IP options is nobody's here and dropped, as above. */
void filter_packets(struct filter *filter,
                    const struct nic_accept *accept,
                    struct nic_address self);

/* Returns 0 or -errno. */
MUST_USE int filter_attach(int fd, const struct filter *filter);

#endif
