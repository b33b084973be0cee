/* endpoint.c: see endpoint.h. */
#include "net/endpoint.h"

#include "net/arp.h"
#include "net/bytes.h"
#include "net/icmp.h"

#define OFFSET_ETHERTYPE   12u
#define OFFSET_IPV4_LENGTH 16u
#define OFFSET_PROTOCOL    23u
#define OFFSET_IPV4_TO     30u

void endpoint_init(struct endpoint *endpoint,
                   const struct headers_end *self,
                   uint64_t fresh_ns,
                   struct nic_counters *counters)
{
    ASSERT(mac_is_unicast(&self->mac));
    ASSERT(self->address.ipv4 != 0);
    endpoint->self = *self;
    endpoint->counters = counters;
    endpoint->accept = (struct nic_accept){0};
    endpoint->arp = (struct endpoint_answers){0};
    endpoint->echoes = (struct endpoint_answers){0};
    neighbours_init(&endpoint->neighbours, fresh_ns == 0 ? NEIGHBOUR_FRESH_NS : fresh_ns);
}

/* Whether one more question may be answered now; counted when not. */
static bool may_answer(struct endpoint *endpoint, struct endpoint_answers *answers, uint64_t now_ns)
{
    if (now_ns - answers->since_ns >= ENDPOINT_ANSWERS_NS) {
        *answers = (struct endpoint_answers){.since_ns = now_ns};
    }
    if (answers->count == ENDPOINT_ANSWERS_MAX) {
        endpoint->counters->rx_unanswered++;
        return false;
    }
    answers->count++;
    return true;
}

static void heard_count(struct nic_counters *counters, enum neighbour_heard heard)
{
    counters->neighbours_moved += heard == NEIGHBOUR_MOVED;
    counters->neighbours_evicted += heard == NEIGHBOUR_EVICTED;
}

/* RFC 826: who concerns us is learnt, who does not only renews what is known. Another one with our
 * address is counted and never learnt: a second node started by mistake shows, and does no harm
 * here. */
static enum endpoint_verdict
arp_receive(struct endpoint *endpoint, uint8_t *packet, uint32_t *packet_bytes, uint64_t now_ns)
{
    struct nic_counters *counters = endpoint->counters;
    const struct headers_end *self = &endpoint->self;
    struct arp_found found;
    if (!arp_read(packet, *packet_bytes, &found)) {
        counters->rx_arp_bad++;
        return ENDPOINT_DROPPED;
    }
    if (mac_equal(&found.sender_mac, &self->mac)) {
        counters->rx_not_mine++; /* Our own words, from a segment that loops them back. */
        return ENDPOINT_DROPPED;
    }
    counters->rx_arp++;
    uint32_t own = self->address.ipv4;
    bool probes_ours = found.sender_ipv4 == 0 && found.target_ipv4 == own && found.is_request;
    if (found.sender_ipv4 == own) {
        counters->rx_arp_conflicts++;
        return ENDPOINT_DROPPED;
    }
    if (found.sender_ipv4 != 0) {
        heard_count(counters, found.target_ipv4 == own
                                  ? neighbours_hear(&endpoint->neighbours, found.sender_ipv4,
                                                    &found.sender_mac, now_ns)
                                  : neighbours_hear_again(&endpoint->neighbours, found.sender_ipv4,
                                                          &found.sender_mac, now_ns));
    }
    if (!found.is_request || found.target_ipv4 != own) {
        return ENDPOINT_DROPPED;
    }
    ASSERT(probes_ours || found.sender_ipv4 != 0);
    if (!may_answer(endpoint, &endpoint->arp, now_ns)) {
        return ENDPOINT_DROPPED;
    }
    arp_build_reply(packet, &self->mac, own, &found);
    *packet_bytes = ETHERNET_PACKET_MIN;
    counters->tx_arp++;
    return ENDPOINT_REPLY;
}

/* An IPv4 packet that carries no UDP: an echo request, or nothing for us. */
static enum endpoint_verdict
icmp_receive(struct endpoint *endpoint, uint8_t *packet, uint32_t *packet_bytes, uint64_t now_ns)
{
    uint32_t ipv4_bytes = bytes_load16(packet + OFFSET_IPV4_LENGTH);
    ASSERT(ETHERNET_BYTES + ipv4_bytes <= *packet_bytes);
    if (bytes_load32(packet + OFFSET_IPV4_TO) != endpoint->self.address.ipv4) {
        endpoint->counters->rx_not_mine++;
        return ENDPOINT_DROPPED;
    }
    uint32_t reply_bytes = icmp_answer(packet, ipv4_bytes, &endpoint->self);
    if (reply_bytes == 0) {
        endpoint->counters->rx_echoes_bad++;
        return ENDPOINT_DROPPED;
    }
    endpoint->counters->rx_echoes++;
    if (!may_answer(endpoint, &endpoint->echoes, now_ns)) {
        return ENDPOINT_DROPPED;
    }
    *packet_bytes = reply_bytes < ETHERNET_PACKET_MIN ? ETHERNET_PACKET_MIN : reply_bytes;
    if (reply_bytes < ETHERNET_PACKET_MIN) {
        memset(packet + reply_bytes, 0, ETHERNET_PACKET_MIN - reply_bytes);
    }
    return ENDPOINT_REPLY;
}

enum endpoint_verdict endpoint_receive(struct endpoint *endpoint,
                                       uint8_t *packet,
                                       uint32_t *packet_bytes,
                                       uint64_t now_ns,
                                       struct headers_found *found)
{
    enum headers_verdict verdict =
        headers_check(packet, *packet_bytes, &endpoint->self, FRAME_BYTES_MAX, found);
    if (LIKELY(verdict == HEADERS_OK)) {
        if (!nic_accepts(&endpoint->accept, packet + HEADERS_BYTES, found->payload_bytes)) {
            endpoint->counters->rx_unwanted++;
            return ENDPOINT_DROPPED;
        }
        struct mac from;
        memcpy(from.bytes, packet + MAC_BYTES, MAC_BYTES);
        if (LIKELY(mac_is_unicast(&from) && found->from.ipv4 != 0)) {
            heard_count(endpoint->counters,
                        neighbours_hear(&endpoint->neighbours, found->from.ipv4, &from, now_ns));
            return ENDPOINT_FRAME;
        }
        verdict = HEADERS_NOT_MINE;
    }
    if (verdict == HEADERS_NOT_IPV4 && bytes_load16(packet + OFFSET_ETHERTYPE) == ETHERTYPE_ARP) {
        return arp_receive(endpoint, packet, packet_bytes, now_ns);
    }
    if (verdict == HEADERS_NOT_UDP && packet[OFFSET_PROTOCOL] == PROTOCOL_ICMP) {
        return icmp_receive(endpoint, packet, packet_bytes, now_ns);
    }
    headers_count(endpoint->counters, verdict);
    return ENDPOINT_DROPPED;
}

bool endpoint_route(
    struct endpoint *endpoint, struct nic_address to, uint64_t now_ns, struct mac *mac, bool *ask)
{
    *ask = false;
    if (UNLIKELY(to.ipv4 == 0 || to.ipv4 == endpoint->self.address.ipv4)) {
        endpoint->counters->tx_unknown++; /* Nobody, or oneself: no segment carries that. */
        return false;
    }
    switch (neighbours_find(&endpoint->neighbours, to.ipv4, now_ns, mac)) {
    case NEIGHBOUR_KNOWN:
        return true;
    case NEIGHBOUR_AGEING:
        *ask = true;
        return true;
    case NEIGHBOUR_UNKNOWN:
        *ask = true;
        break;
    case NEIGHBOUR_AWAITED:
        break;
    }
    endpoint->counters->tx_unresolved++;
    return false;
}

void endpoint_ask(struct endpoint *endpoint, uint32_t ipv4, uint8_t *out)
{
    const struct headers_end *self = &endpoint->self;
    arp_build_request(out, &self->mac, self->address.ipv4, ipv4);
    endpoint->counters->tx_arp++;
}

void endpoint_probe(struct endpoint *endpoint, uint8_t *out)
{
    const struct headers_end *self = &endpoint->self;
    arp_build_request(out, &self->mac, 0, self->address.ipv4);
    endpoint->counters->tx_arp++;
}
