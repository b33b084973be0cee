/* icmp.c: see icmp.h. */
#include "net/icmp.h"

#include "net/bytes.h"

#define OFFSET_IPV4       14u
#define OFFSET_IPV4_FLAGS 20u
#define OFFSET_IPV4_TTL   22u
#define OFFSET_IPV4_SUM   24u
#define OFFSET_IPV4_FROM  26u
#define OFFSET_IPV4_TO    30u
#define OFFSET_ICMP       34u
#define OFFSET_ICMP_SUM   36u
#define ICMP_HEADER_BYTES 8u
#define ECHO_REQUEST      0x0800u /* Type 8, code 0. */
#define ECHO_REPLY        0x0000u

uint32_t icmp_answer(uint8_t *packet, uint32_t ipv4_bytes, const struct headers_end *self)
{
    if (ipv4_bytes < IPV4_BYTES + ICMP_HEADER_BYTES) {
        return 0;
    }
    struct mac asker;
    memcpy(asker.bytes, packet + MAC_BYTES, MAC_BYTES);
    uint32_t icmp_bytes = ipv4_bytes - IPV4_BYTES;
    if (memcmp(packet, self->mac.bytes, MAC_BYTES) != 0 || !mac_is_unicast(&asker) ||
        bytes_load32(packet + OFFSET_IPV4_TO) != self->address.ipv4 ||
        bytes_load16(packet + OFFSET_ICMP) != ECHO_REQUEST ||
        bytes_sum(packet + OFFSET_ICMP, icmp_bytes) != UINT16_MAX) {
        return 0;
    }
    memcpy(packet, asker.bytes, MAC_BYTES);
    memcpy(packet + MAC_BYTES, self->mac.bytes, MAC_BYTES);
    uint32_t asker_ipv4 = bytes_load32(packet + OFFSET_IPV4_FROM);
    bytes_store32(packet + OFFSET_IPV4_FROM, self->address.ipv4);
    bytes_store32(packet + OFFSET_IPV4_TO, asker_ipv4);
    packet[OFFSET_IPV4_TTL] = IPV4_TTL;
    bytes_store16(packet + OFFSET_IPV4_SUM, 0);
    uint32_t sum = bytes_sum(packet + OFFSET_IPV4, IPV4_BYTES);
    bytes_store16(packet + OFFSET_IPV4_SUM, ~sum & UINT16_MAX);

    bytes_store16(packet + OFFSET_ICMP, ECHO_REPLY);
    bytes_store16(packet + OFFSET_ICMP_SUM, 0);
    sum = bytes_sum(packet + OFFSET_ICMP, icmp_bytes);
    bytes_store16(packet + OFFSET_ICMP_SUM, ~sum & UINT16_MAX);
    return ETHERNET_BYTES + ipv4_bytes;
}
