/* arp.h: ARP for IPv4 over Ethernet (RFC 826): its packets, made and checked. Pure code over bytes.
 *
 * A packet is ETHERNET_PACKET_MIN bytes when made here, padding zeroed.
 */
#ifndef NET_ARP_H
#define NET_ARP_H

#include "net/headers.h"

#define ARP_REQUEST 1u
#define ARP_REPLY   2u

/* Who is speaking, about whom. */
struct arp_found {
    bool is_request;
    struct mac sender_mac;
    uint32_t sender_ipv4; /* 0: a probe, whose sender has no address yet (RFC 5227). */
    uint32_t target_ipv4;
};

/* Read a packet whose ethertype is ARP. False: cut off, of another protocol, or from a sender whose
 * MAC can be no card's; `found` is then untouched. */
MUST_USE bool arp_read(const uint8_t *packet, uint32_t packet_bytes, struct arp_found *found);

/* Write ETHERNET_PACKET_MIN bytes: ask all of the segment for `target_ipv4`. From `sender_ipv4`
 * itself it is an announcement when both are the same, and with 0 a probe, which nobody learns. */
void arp_build_request(uint8_t *out,
                       const struct mac *sender_mac,
                       uint32_t sender_ipv4,
                       uint32_t target_ipv4);

/* Write ETHERNET_PACKET_MIN bytes: the answer to a request; `out` may be the request's packet. */
void arp_build_reply(uint8_t *out,
                     const struct mac *self_mac,
                     uint32_t self_ipv4,
                     const struct arp_found *request);

#endif
