/* headers.c: see headers.h. Knows bytes only: no port, no buffer type. */
#include "net/headers.h"

#include "net/bytes.h"

#include <string.h>

COUNTERS_DEFINE(nic, NIC_COUNTERS);

/* Offsets within the packet. */
#define OFFSET_ETHERTYPE   12u
#define OFFSET_IPV4        14u
#define OFFSET_IPV4_LENGTH 16u
#define OFFSET_IPV4_FLAGS  20u
#define OFFSET_IPV4_TTL    22u
#define OFFSET_PROTOCOL    23u
#define OFFSET_IPV4_SUM    24u
#define OFFSET_IPV4_FROM   26u
#define OFFSET_IPV4_TO     30u
#define OFFSET_UDP_FROM    34u
#define OFFSET_UDP_TO      36u
#define OFFSET_UDP_LENGTH  38u
#define OFFSET_UDP_SUM     40u
#define VERSION_AND_IHL    0x45u   /* IPv4, five words: no options. */
#define FRAGMENT_MASK      0x3fffu /* More-fragments flag and offset. */

_Static_assert(ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES == HEADERS_BYTES, "no gap between headers");
_Static_assert(IPV4_BYTES + UDP_BYTES + FRAME_BYTES_MAX <= 65535, "IPv4's length field holds it");

/* 0xffff when the IPv4 header's checksum is right. */
static uint32_t ipv4_sum(const uint8_t *header)
{
    return bytes_sum(header, IPV4_BYTES);
}

const struct mac mac_broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

static bool mac_is_broadcast(const uint8_t *mac)
{
    return memcmp(mac, mac_broadcast.bytes, MAC_BYTES) == 0;
}

struct mac headers_mac_of(uint32_t ipv4)
{
    struct mac mac = {.bytes = {0x02}};
    bytes_store32(mac.bytes + 2, ipv4);
    return mac;
}

void headers_build(uint8_t *out,
                   const struct headers_end *from,
                   const struct headers_end *to,
                   uint32_t payload_bytes)
{
    ASSERT(payload_bytes > 0);
    ASSERT(payload_bytes <= FRAME_BYTES_MAX);

    memcpy(out, to->mac.bytes, MAC_BYTES);
    memcpy(out + MAC_BYTES, from->mac.bytes, MAC_BYTES);
    bytes_store16(out + OFFSET_ETHERTYPE, ETHERTYPE_IPV4);

    out[OFFSET_IPV4] = VERSION_AND_IHL;
    out[OFFSET_IPV4 + 1] = 0; /* DSCP and ECN. */
    bytes_store16(out + OFFSET_IPV4_LENGTH, IPV4_BYTES + UDP_BYTES + payload_bytes);
    bytes_store16(out + OFFSET_IPV4_LENGTH + 2,
                  0); /* Identification: never fragmented (RFC 6864). */
    bytes_store16(out + OFFSET_IPV4_FLAGS, IPV4_FLAG_DF);
    out[OFFSET_IPV4_TTL] = IPV4_TTL;
    out[OFFSET_PROTOCOL] = PROTOCOL_UDP;
    bytes_store16(out + OFFSET_IPV4_SUM, 0);
    bytes_store32(out + OFFSET_IPV4_FROM, from->address.ipv4);
    bytes_store32(out + OFFSET_IPV4_TO, to->address.ipv4);
    bytes_store16(out + OFFSET_IPV4_SUM, ~ipv4_sum(out + OFFSET_IPV4) & UINT16_MAX);

    bytes_store16(out + OFFSET_UDP_FROM, from->address.port);
    bytes_store16(out + OFFSET_UDP_TO, to->address.port);
    bytes_store16(out + OFFSET_UDP_LENGTH, UDP_BYTES + payload_bytes);
    bytes_store16(out + OFFSET_UDP_SUM, 0);
}

enum headers_verdict headers_check(const uint8_t *packet,
                                   uint32_t packet_bytes,
                                   const struct headers_end *self,
                                   uint32_t payload_bytes_max,
                                   struct headers_found *found)
{
    ASSERT(payload_bytes_max <= FRAME_BYTES_MAX);
    if (packet_bytes < ETHERNET_BYTES) {
        return HEADERS_SHORT;
    }
    if (memcmp(packet, self->mac.bytes, MAC_BYTES) != 0 && !mac_is_broadcast(packet)) {
        return HEADERS_NOT_MINE;
    }
    if (bytes_load16(packet + OFFSET_ETHERTYPE) != ETHERTYPE_IPV4) {
        return HEADERS_NOT_IPV4;
    }
    if (packet_bytes < ETHERNET_BYTES + IPV4_BYTES) {
        return HEADERS_SHORT;
    }
    if (packet[OFFSET_IPV4] != VERSION_AND_IHL) {
        return HEADERS_NOT_IPV4;
    }
    if (ipv4_sum(packet + OFFSET_IPV4) != UINT16_MAX) {
        return HEADERS_CHECKSUM;
    }
    uint32_t ipv4_bytes = bytes_load16(packet + OFFSET_IPV4_LENGTH);
    if (ipv4_bytes < IPV4_BYTES || ipv4_bytes > packet_bytes - ETHERNET_BYTES) {
        return HEADERS_SHORT;
    }
    if ((bytes_load16(packet + OFFSET_IPV4_FLAGS) & FRAGMENT_MASK) != 0) {
        return HEADERS_FRAGMENTED;
    }
    if (packet[OFFSET_PROTOCOL] != PROTOCOL_UDP) {
        return HEADERS_NOT_UDP;
    }
    if (bytes_load32(packet + OFFSET_IPV4_TO) != self->address.ipv4) {
        return HEADERS_NOT_MINE;
    }
    if (ipv4_bytes <= IPV4_BYTES + UDP_BYTES) {
        return HEADERS_SHORT; /* No UDP header, or one with nothing behind it. */
    }
    if (bytes_load16(packet + OFFSET_UDP_TO) != self->address.port) {
        return HEADERS_NOT_MINE;
    }
    if (bytes_load16(packet + OFFSET_UDP_LENGTH) != ipv4_bytes - IPV4_BYTES) {
        return HEADERS_NOT_UDP;
    }
    uint32_t payload_bytes = ipv4_bytes - IPV4_BYTES - UDP_BYTES;
    if (payload_bytes > payload_bytes_max) {
        return HEADERS_LONG;
    }
    found->from = (struct nic_address){
        .ipv4 = bytes_load32(packet + OFFSET_IPV4_FROM),
        .port = bytes_load16(packet + OFFSET_UDP_FROM),
    };
    found->payload_bytes = payload_bytes;
    ASSERT(found->payload_bytes > 0);
    ASSERT(HEADERS_BYTES + found->payload_bytes <= packet_bytes);
    return HEADERS_OK;
}

void headers_count(struct nic_counters *counters, enum headers_verdict verdict)
{
    switch (verdict) {
    case HEADERS_SHORT:
        counters->rx_short++;
        return;
    case HEADERS_NOT_IPV4:
        counters->rx_not_ipv4++;
        return;
    case HEADERS_NOT_UDP:
        counters->rx_not_udp++;
        return;
    case HEADERS_NOT_MINE:
        counters->rx_not_mine++;
        return;
    case HEADERS_CHECKSUM:
        counters->rx_checksum++;
        return;
    case HEADERS_FRAGMENTED:
        counters->rx_fragmented++;
        return;
    case HEADERS_LONG:
        counters->rx_long++;
        return;
    case HEADERS_OK:
        break;
    }
    ASSERT(verdict != HEADERS_OK);
}
