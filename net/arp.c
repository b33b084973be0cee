/* arp.c: see arp.h. */
#include "net/arp.h"

#include "net/bytes.h"

/* Offsets within the packet. */
#define OFFSET_ETHERTYPE   12u
#define OFFSET_HARDWARE    14u
#define OFFSET_PROTOCOL    16u
#define OFFSET_LENGTHS     18u
#define OFFSET_OPERATION   20u
#define OFFSET_SENDER_MAC  22u
#define OFFSET_SENDER_IPV4 28u
#define OFFSET_TARGET_MAC  32u
#define OFFSET_TARGET_IPV4 38u
#define ARP_END            42u
#define HARDWARE_ETHERNET  1u
#define LENGTHS            0x0604u /* Of a MAC and of an IPv4 address. */

_Static_assert(ARP_END <= ETHERNET_PACKET_MIN, "the padding holds it");

bool arp_read(const uint8_t *packet, uint32_t packet_bytes, struct arp_found *found)
{
    if (packet_bytes < ARP_END) {
        return false;
    }
    ASSERT(bytes_load16(packet + OFFSET_ETHERTYPE) == ETHERTYPE_ARP);
    uint32_t operation = bytes_load16(packet + OFFSET_OPERATION);
    if (bytes_load16(packet + OFFSET_HARDWARE) != HARDWARE_ETHERNET ||
        bytes_load16(packet + OFFSET_PROTOCOL) != ETHERTYPE_IPV4 ||
        bytes_load16(packet + OFFSET_LENGTHS) != LENGTHS ||
        (operation != ARP_REQUEST && operation != ARP_REPLY)) {
        return false;
    }
    struct mac sender;
    memcpy(sender.bytes, packet + OFFSET_SENDER_MAC, MAC_BYTES);
    if (!mac_is_unicast(&sender)) {
        return false;
    }
    *found = (struct arp_found){
        .is_request = operation == ARP_REQUEST,
        .sender_mac = sender,
        .sender_ipv4 = bytes_load32(packet + OFFSET_SENDER_IPV4),
        .target_ipv4 = bytes_load32(packet + OFFSET_TARGET_IPV4),
    };
    return true;
}

static void arp_build(uint8_t *out,
                      uint32_t operation,
                      const struct mac *to,
                      const struct mac *sender_mac,
                      uint32_t sender_ipv4)
{
    memset(out, 0, ETHERNET_PACKET_MIN);
    memcpy(out, to->bytes, MAC_BYTES);
    memcpy(out + MAC_BYTES, sender_mac->bytes, MAC_BYTES);
    bytes_store16(out + OFFSET_ETHERTYPE, ETHERTYPE_ARP);
    bytes_store16(out + OFFSET_HARDWARE, HARDWARE_ETHERNET);
    bytes_store16(out + OFFSET_PROTOCOL, ETHERTYPE_IPV4);
    bytes_store16(out + OFFSET_LENGTHS, LENGTHS);
    bytes_store16(out + OFFSET_OPERATION, operation);
    memcpy(out + OFFSET_SENDER_MAC, sender_mac->bytes, MAC_BYTES);
    bytes_store32(out + OFFSET_SENDER_IPV4, sender_ipv4);
}

void arp_build_request(uint8_t *out,
                       const struct mac *sender_mac,
                       uint32_t sender_ipv4,
                       uint32_t target_ipv4)
{
    ASSERT(mac_is_unicast(sender_mac));
    ASSERT(target_ipv4 != 0);
    arp_build(out, ARP_REQUEST, &mac_broadcast, sender_mac, sender_ipv4);
    bytes_store32(out + OFFSET_TARGET_IPV4, target_ipv4);
}

void arp_build_reply(uint8_t *out,
                     const struct mac *self_mac,
                     uint32_t self_ipv4,
                     const struct arp_found *request)
{
    ASSERT(request->is_request);
    ASSERT(request->target_ipv4 == self_ipv4);
    struct arp_found asked = *request;
    arp_build(out, ARP_REPLY, &asked.sender_mac, self_mac, self_ipv4);
    memcpy(out + OFFSET_TARGET_MAC, asked.sender_mac.bytes, MAC_BYTES);
    bytes_store32(out + OFFSET_TARGET_IPV4, asked.sender_ipv4);
}
