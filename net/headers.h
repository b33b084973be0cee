/* headers.h: the 42 bytes of Ethernet, IPv4 and UDP in front of a frame: made and checked.
 *
 * Pure code over bytes, the same for every port that carries Ethernet. What is sent: no VLAN tag,
 * no IPv4 options, DF set, TTL 64, UDP checksum 0 (RFC 768 allows it over IPv4; frames carry their
 * own CRC-32C, and kernel senders over veth leave partial sums, so it is ignored on receive too).
 * What is received is checked once, here, in the order of the bytes; nothing behind it looks at
 * these headers again. Sources: RFC 791, RFC 768.
 */
#ifndef NET_HEADERS_H
#define NET_HEADERS_H

#include "net/nic.h"

#include <string.h>

#define HEADERS_BYTES  42u
#define ETHERNET_BYTES 14u
#define IPV4_BYTES     20u
#define UDP_BYTES      8u
#define MAC_BYTES      6u
#define IPV4_TTL       64u
#define IPV4_FLAG_DF   0x4000u
#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_ARP  0x0806u
#define PROTOCOL_ICMP  1u
#define PROTOCOL_UDP   17u

/* The least that an Ethernet frame has, without its check sequence. */
#define ETHERNET_PACKET_MIN 60u

struct mac {
    uint8_t bytes[MAC_BYTES];
};

extern const struct mac mac_broadcast;

static inline bool mac_equal(const struct mac *a, const struct mac *b)
{
    return memcmp(a->bytes, b->bytes, MAC_BYTES) == 0;
}

/* Of one card: neither a group's, nor zero. */
static inline bool mac_is_unicast(const struct mac *mac)
{
    static const struct mac zero;
    return (mac->bytes[0] & 1u) == 0 && !mac_equal(mac, &zero);
}

/* One end of a path. */
struct headers_end {
    struct mac mac;
    struct nic_address address;
};

enum headers_verdict {
    HEADERS_OK,
    HEADERS_SHORT,      /* Ends before its headers do, or before a length in them says. */
    HEADERS_NOT_IPV4,   /* Another ethertype, IP version or header length. */
    HEADERS_NOT_UDP,    /* Another protocol, or a UDP length that is not the rest of the packet. */
    HEADERS_NOT_MINE,   /* Another MAC (broadcast is fine), IPv4 address or port. */
    HEADERS_CHECKSUM,   /* Of the IPv4 header. */
    HEADERS_FRAGMENTED, /* A fragment: DF is never cleared by a sender of ours. */
    HEADERS_LONG,       /* More payload than the port's frame_bytes_max. */
};

/* Where the payload of a good packet lies. Ethernet's padding is left out. */
struct headers_found {
    struct nic_address from;
    uint32_t payload_bytes; /* From HEADERS_BYTES on. */
};

/* The locally administered MAC that the ring's endpoints have: 02:00 and the address. */
struct mac headers_mac_of(uint32_t ipv4);

/* Write HEADERS_BYTES for a payload of `payload_bytes` (1 to FRAME_BYTES_MAX) to `out`. */
void headers_build(uint8_t *out,
                   const struct headers_end *from,
                   const struct headers_end *to,
                   uint32_t payload_bytes);

/* Check a packet of `packet_bytes` as it came from the port. `self` is this end,
 * `payload_bytes_max` its frame_bytes_max. `found` is set only with HEADERS_OK. Reads no byte
 * behind the packet. */
MUST_USE enum headers_verdict headers_check(const uint8_t *packet,
                                            uint32_t packet_bytes,
                                            const struct headers_end *self,
                                            uint32_t payload_bytes_max,
                                            struct headers_found *found);

/* Count a packet that was refused; not for HEADERS_OK. */
void headers_count(struct nic_counters *counters, enum headers_verdict verdict);

#endif
