/* test_net_headers.c: Headers of Ethernet, IPv4 and UDP: what is made is accepted, and every wrong
 * byte is refused and counted by its reason. */
#include "net/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAYLOAD_BYTES 100u
#define PACKET_BYTES  (HEADERS_BYTES + PAYLOAD_BYTES)

static const struct nic_address sender_address = {.ipv4 = 0x0a000001, .port = 7001};
static const struct nic_address receiver_address = {.ipv4 = 0x0a000002, .port = 7002};

static struct headers_end end_of(struct nic_address address)
{
    return (struct headers_end){.mac = headers_mac_of(address.ipv4), .address = address};
}

static void packet_build(uint8_t *packet, uint32_t payload_bytes)
{
    struct headers_end from = end_of(sender_address);
    struct headers_end to = end_of(receiver_address);
    headers_build(packet, &from, &to, payload_bytes);
}

/* Recompute the IPv4 checksum after a test has changed that header. */
static void checksum_mend(uint8_t *packet)
{
    uint32_t sum = 0;
    packet[24] = 0;
    packet[25] = 0;
    for (uint32_t i = 14; i < 34; i += 2) {
        sum += (uint32_t)packet[i] << 8 | packet[i + 1];
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    packet[24] = (uint8_t)(sum >> 8);
    packet[25] = (uint8_t)sum;
}

/* Check a copy on the heap of exactly these bytes, so that a sanitizer sees a read behind them. */
static enum headers_verdict
verdict_of(const uint8_t *packet, uint32_t packet_bytes, struct headers_found *found)
{
    uint8_t *exact = malloc(packet_bytes == 0 ? 1 : packet_bytes);
    assert_non_null(exact);
    memcpy(exact, packet, packet_bytes);
    struct headers_end self = end_of(receiver_address);
    enum headers_verdict verdict =
        headers_check(exact, packet_bytes, &self, FRAME_BYTES_MAX, found);
    free(exact);
    return verdict;
}

static void a_built_packet_is_accepted(void **state)
{
    (void)state;
    static uint8_t packet[HEADERS_BYTES + FRAME_BYTES_MAX];
    for (uint32_t bytes = 1; bytes <= FRAME_BYTES_MAX; bytes += 13) {
        packet_build(packet, bytes);
        struct headers_found found = {0};
        assert_int_equal(verdict_of(packet, HEADERS_BYTES + bytes, &found), HEADERS_OK);
        assert_int_equal(found.payload_bytes, bytes);
        assert_true(nic_address_equal(found.from, sender_address));
    }
}

static void a_built_packet_has_the_bytes_of_the_rfcs(void **state)
{
    (void)state;
    uint8_t packet[PACKET_BYTES] = {0};
    packet_build(packet, PAYLOAD_BYTES);
    static const uint8_t expected[HEADERS_BYTES] = {
        0x02, 0x00, 0x0a, 0x00, 0x00, 0x02, 0x02, 0x00, 0x0a, 0x00, 0x00, 0x01, 0x08, 0x00,
        0x45, 0x00, 0x00, 0x80, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x26, 0x6b, 0x0a, 0x00,
        0x00, 0x01, 0x0a, 0x00, 0x00, 0x02, 0x1b, 0x59, 0x1b, 0x5a, 0x00, 0x6c, 0x00, 0x00,
    };
    assert_memory_equal(packet, expected, HEADERS_BYTES);
}

static void ethernet_padding_is_left_out(void **state)
{
    (void)state;
    uint8_t packet[60] = {0};
    packet_build(packet, 3);
    struct headers_found found = {0};
    assert_int_equal(verdict_of(packet, sizeof(packet), &found), HEADERS_OK);
    assert_int_equal(found.payload_bytes, 3);
}

static void a_broadcast_mac_is_accepted(void **state)
{
    (void)state;
    uint8_t packet[PACKET_BYTES] = {0};
    packet_build(packet, PAYLOAD_BYTES);
    memset(packet, 0xff, MAC_BYTES);
    struct headers_found found;
    assert_int_equal(verdict_of(packet, PACKET_BYTES, &found), HEADERS_OK);
}

static void a_udp_checksum_is_ignored(void **state)
{
    (void)state;
    uint8_t packet[PACKET_BYTES] = {0};
    packet_build(packet, PAYLOAD_BYTES);
    packet[40] = 0x12;
    packet[41] = 0x34;
    struct headers_found found;
    assert_int_equal(verdict_of(packet, PACKET_BYTES, &found), HEADERS_OK);
}

static void every_shorter_packet_is_refused(void **state)
{
    (void)state;
    uint8_t packet[PACKET_BYTES] = {0};
    packet_build(packet, PAYLOAD_BYTES);
    for (uint32_t bytes = 0; bytes < PACKET_BYTES; bytes++) {
        struct headers_found found;
        assert_int_equal(verdict_of(packet, bytes, &found), HEADERS_SHORT);
    }
}

/* One changed field, and the verdict it must meet. */
struct change {
    uint32_t offset;
    uint16_t value;
    bool mend; /* Recompute the IPv4 checksum. */
    enum headers_verdict verdict;
};

static void every_wrong_field_is_refused_by_its_reason(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {4, 0x0003, false, HEADERS_NOT_MINE},         /* Destination MAC. */
        {12, 0x0806, false, HEADERS_NOT_IPV4},        /* ARP. */
        {12, 0x86dd, false, HEADERS_NOT_IPV4},        /* IPv6. */
        {12, 0x8100, false, HEADERS_NOT_IPV4},        /* A VLAN tag. */
        {14, 0x4600, true, HEADERS_NOT_IPV4},         /* An IPv4 option. */
        {14, 0x6500, true, HEADERS_NOT_IPV4},         /* Version 6. */
        {16, IPV4_BYTES + 8, true, HEADERS_SHORT},    /* Nothing behind UDP. */
        {16, IPV4_BYTES - 1, true, HEADERS_SHORT},    /* Less than its own header. */
        {16, PACKET_BYTES - 13, true, HEADERS_SHORT}, /* One more than came. */
        {20, 0x2000, true, HEADERS_FRAGMENTED},       /* More fragments. */
        {20, 0x4001, true, HEADERS_FRAGMENTED},       /* A fragment offset. */
        {22, 0x4006, true, HEADERS_NOT_UDP},          /* TCP. */
        {24, 0x0000, false, HEADERS_CHECKSUM},        /* IPv4 checksum. */
        {32, 0x0003, true, HEADERS_NOT_MINE},         /* Destination address. */
        {36, 7003, false, HEADERS_NOT_MINE},          /* Destination port. */
        {38, UDP_BYTES + PAYLOAD_BYTES - 1, false, HEADERS_NOT_UDP},
        {38, UDP_BYTES + PAYLOAD_BYTES + 1, false, HEADERS_NOT_UDP},
    };
    for (uint32_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        uint8_t packet[PACKET_BYTES] = {0};
        packet_build(packet, PAYLOAD_BYTES);
        packet[changes[i].offset] = (uint8_t)(changes[i].value >> 8);
        packet[changes[i].offset + 1] = (uint8_t)changes[i].value;
        if (changes[i].mend) {
            checksum_mend(packet);
        }
        struct headers_found found;
        assert_int_equal(verdict_of(packet, PACKET_BYTES, &found), changes[i].verdict);
    }
}

static void every_flipped_bit_of_the_ipv4_header_is_refused(void **state)
{
    (void)state;
    for (uint32_t bit = 14 * 8; bit < 34 * 8; bit++) {
        uint8_t packet[PACKET_BYTES] = {0};
        packet_build(packet, PAYLOAD_BYTES);
        packet[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct headers_found found;
        assert_int_not_equal(verdict_of(packet, PACKET_BYTES, &found), HEADERS_OK);
    }
}

static void a_payload_above_the_ports_maximum_is_refused(void **state)
{
    (void)state;
    uint8_t packet[PACKET_BYTES] = {0};
    packet_build(packet, PAYLOAD_BYTES);
    struct headers_end self = end_of(receiver_address);
    struct headers_found found;
    assert_int_equal(headers_check(packet, PACKET_BYTES, &self, PAYLOAD_BYTES, &found), HEADERS_OK);
    assert_int_equal(headers_check(packet, PACKET_BYTES, &self, PAYLOAD_BYTES - 1, &found),
                     HEADERS_LONG);
}

static void every_refusal_has_its_own_counter(void **state)
{
    (void)state;
    struct nic_counters counters = {0};
    headers_count(&counters, HEADERS_SHORT);
    headers_count(&counters, HEADERS_NOT_IPV4);
    headers_count(&counters, HEADERS_NOT_UDP);
    headers_count(&counters, HEADERS_NOT_MINE);
    headers_count(&counters, HEADERS_CHECKSUM);
    headers_count(&counters, HEADERS_FRAGMENTED);
    headers_count(&counters, HEADERS_LONG);
    assert_int_equal(counters.rx_short, 1);
    assert_int_equal(counters.rx_not_ipv4, 1);
    assert_int_equal(counters.rx_not_udp, 1);
    assert_int_equal(counters.rx_not_mine, 1);
    assert_int_equal(counters.rx_checksum, 1);
    assert_int_equal(counters.rx_fragmented, 1);
    assert_int_equal(counters.rx_long, 1);
    expect_assert_failure(headers_count(&counters, HEADERS_OK));
}

static void building_asserts_a_payload_within_bounds(void **state)
{
    (void)state;
    uint8_t packet[HEADERS_BYTES];
    expect_assert_failure(packet_build(packet, 0));
    expect_assert_failure(packet_build(packet, FRAME_BYTES_MAX + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_built_packet_is_accepted),
        cmocka_unit_test(a_built_packet_has_the_bytes_of_the_rfcs),
        cmocka_unit_test(ethernet_padding_is_left_out),
        cmocka_unit_test(a_broadcast_mac_is_accepted),
        cmocka_unit_test(a_udp_checksum_is_ignored),
        cmocka_unit_test(every_shorter_packet_is_refused),
        cmocka_unit_test(every_wrong_field_is_refused_by_its_reason),
        cmocka_unit_test(every_flipped_bit_of_the_ipv4_header_is_refused),
        cmocka_unit_test(a_payload_above_the_ports_maximum_is_refused),
        cmocka_unit_test(every_refusal_has_its_own_counter),
        cmocka_unit_test(building_asserts_a_payload_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
