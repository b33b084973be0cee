/* endpoint.h: one IPv4 address on an Ethernet segment: what becomes of a packet that arrives, and
 * which MAC a frame is sent to. Pure: bytes and time in, verdicts out; it knows no port.
 *
 * It answers ARP for its own address alone, and ICMP echo, each one packet for one packet and
 * ENDPOINT_ANSWERS_MAX of them in ENDPOINT_ANSWERS_NS; it learns neighbours from ARP that concerns
 * it and from every frame that is wanted here, so that a peer that restarts elsewhere is followed
 * by its first word. Whatever else arrives is counted by its reason.
 */
#ifndef NET_ENDPOINT_H
#define NET_ENDPOINT_H

#include "net/headers.h"
#include "net/neighbours.h"

/* Answers to one kind of question within ENDPOINT_ANSWERS_NS. */
struct endpoint_answers {
    uint64_t since_ns;
    uint32_t count;
};

struct endpoint {
    struct headers_end self;
    struct nic_counters *counters;
    struct nic_accept accept; /* Nobody is learnt from what is not wanted. */
    struct endpoint_answers arp;
    struct endpoint_answers echoes;
    struct neighbours neighbours;
};

enum endpoint_verdict {
    ENDPOINT_FRAME,   /* A frame for the caller; `found` says where in the packet. */
    ENDPOINT_REPLY,   /* The packet is now an answer of *packet_bytes: send it. */
    ENDPOINT_DROPPED, /* Counted or heard; nothing is to be done. */
};

/* `fresh_ns` as in neighbours.h; 0: NEIGHBOUR_FRESH_NS. `counters` outlives the endpoint. Every
 * frame is wanted until the caller sets `accept`. */
void endpoint_init(struct endpoint *endpoint,
                   const struct headers_end *self,
                   uint64_t fresh_ns,
                   struct nic_counters *counters);

/* Look at a packet as it came from the port, in a buffer of at least ETHERNET_PACKET_MIN bytes that
 * the endpoint may write into. */
enum endpoint_verdict endpoint_receive(struct endpoint *endpoint,
                                       uint8_t *packet,
                                       uint32_t *packet_bytes,
                                       uint64_t now_ns,
                                       struct headers_found *found);

/* Where a frame for `to` goes. False: not known yet, counted as tx_unresolved. `*ask`: the caller
 * sends endpoint_ask() for it. */
MUST_USE bool endpoint_route(
    struct endpoint *endpoint, struct nic_address to, uint64_t now_ns, struct mac *mac, bool *ask);

/* Write ETHERNET_PACKET_MIN bytes of a question for the MAC of `ipv4`; of our own address: the
 * announcement that it is here. */
void endpoint_ask(struct endpoint *endpoint, uint32_t ipv4, uint8_t *out);

/* The same as a probe, which nobody learns from (RFC 5227): is our own address taken? The answer
 * counts as rx_arp_conflicts. */
void endpoint_probe(struct endpoint *endpoint, uint8_t *out);

#endif
