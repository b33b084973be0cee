/* test_net_endpoint.c: an address on an Ethernet segment: who is answered, who is learnt and for
 * how long, and that every other packet is counted by its reason. Time is an argument. */
#include "net/arp.h"
#include "net/endpoint.h"
#include "net/icmp.h"

#include "engine/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FRESH_NS    1000000000ull
#define NOW_NS      (50 * FRESH_NS)
#define ROOM        1600u
#define ECHO_BYTES  98u /* What `ping` sends. */
#define RANDOM_RUNS 200000u
#define SEED        1u

static const struct nic_address self_address = {.ipv4 = 0x0a000001, .port = 7001};
static const struct nic_address peer_address = {.ipv4 = 0x0a000002, .port = 7002};
static const struct mac self_mac = {{0x02, 0, 0, 0, 0, 1}};
static const struct mac peer_mac = {{0x02, 0, 0, 0, 0, 2}};
static const struct mac other_mac = {{0x02, 0, 0, 0, 0, 3}};

static struct endpoint endpoint;
static struct nic_counters counters;
static uint8_t packet[ROOM];
static uint32_t packet_bytes;
static struct headers_found found;

static int endpoint_new(void **state)
{
    (void)state;
    struct headers_end self = {.mac = self_mac, .address = self_address};
    counters = (struct nic_counters){0};
    endpoint_init(&endpoint, &self, FRESH_NS, &counters);
    memset(packet, 0, sizeof(packet));
    return 0;
}

static enum endpoint_verdict receive(uint32_t bytes, uint64_t now_ns)
{
    packet_bytes = bytes;
    return endpoint_receive(&endpoint, packet, &packet_bytes, now_ns, &found);
}

static enum endpoint_verdict frame_receive(const struct mac *from, uint64_t now_ns)
{
    struct headers_end sender = {.mac = *from, .address = peer_address};
    struct headers_end self = {.mac = self_mac, .address = self_address};
    headers_build(packet, &sender, &self, 100);
    return receive(HEADERS_BYTES + 100, now_ns);
}

static enum endpoint_verdict
request_receive(const struct mac *from, uint32_t sender, uint32_t target, uint64_t now_ns)
{
    arp_build_request(packet, from, sender, target);
    return receive(ETHERNET_PACKET_MIN, now_ns);
}

/* The MAC of the peer as known at that time. */
static bool knows(const struct mac *expected, uint64_t now_ns)
{
    struct mac mac;
    bool ask;
    return endpoint_route(&endpoint, peer_address, now_ns, &mac, &ask) && mac_equal(&mac, expected);
}

/* ---- ARP ---- */

static void a_request_for_us_is_answered_and_its_sender_learnt(void **state)
{
    (void)state;
    assert_int_equal(request_receive(&peer_mac, peer_address.ipv4, self_address.ipv4, NOW_NS),
                     ENDPOINT_REPLY);
    assert_int_equal(packet_bytes, ETHERNET_PACKET_MIN);
    static const uint8_t expected[42] = {
        2, 0, 0, 0, 0, 2, 2, 0,  0, 0, 0, 1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
        2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2,
    };
    assert_memory_equal(packet, expected, sizeof(expected));
    for (uint32_t i = sizeof(expected); i < ETHERNET_PACKET_MIN; i++) {
        assert_int_equal(packet[i], 0);
    }
    assert_true(knows(&peer_mac, NOW_NS));
    assert_int_equal(counters.rx_arp, 1);
    assert_int_equal(counters.tx_arp, 1);
}

static void an_answer_to_us_is_learnt_and_not_answered(void **state)
{
    (void)state;
    struct arp_found question = {true, self_mac, self_address.ipv4, peer_address.ipv4};
    arp_build_reply(packet, &peer_mac, peer_address.ipv4, &question);
    assert_int_equal(receive(42, NOW_NS), ENDPOINT_DROPPED);
    assert_true(knows(&peer_mac, NOW_NS));
}

static void words_about_others_renew_but_teach_no_stranger(void **state)
{
    (void)state;
    assert_int_equal(request_receive(&peer_mac, peer_address.ipv4, 0x0a000009, NOW_NS),
                     ENDPOINT_DROPPED);
    assert_false(knows(&peer_mac, NOW_NS));
    assert_int_equal(frame_receive(&peer_mac, NOW_NS), ENDPOINT_FRAME);
    /* An announcement: the peer's address has another card now. */
    assert_int_equal(request_receive(&other_mac, peer_address.ipv4, peer_address.ipv4, NOW_NS),
                     ENDPOINT_DROPPED);
    assert_true(knows(&other_mac, NOW_NS));
    assert_int_equal(counters.neighbours_moved, 1);
}

static void a_probe_for_our_address_is_answered_and_teaches_nothing(void **state)
{
    (void)state;
    assert_int_equal(request_receive(&peer_mac, 0, self_address.ipv4, NOW_NS), ENDPOINT_REPLY);
    assert_false(knows(&peer_mac, NOW_NS));
    assert_int_equal(counters.rx_arp_conflicts, 0);
}

static void another_with_our_address_is_counted_and_not_believed(void **state)
{
    (void)state;
    assert_int_equal(request_receive(&other_mac, self_address.ipv4, peer_address.ipv4, NOW_NS),
                     ENDPOINT_DROPPED);
    assert_int_equal(request_receive(&other_mac, self_address.ipv4, self_address.ipv4, NOW_NS),
                     ENDPOINT_DROPPED);
    assert_int_equal(counters.rx_arp_conflicts, 2);
}

static void our_own_words_that_come_back_are_no_conflict(void **state)
{
    (void)state;
    endpoint_probe(&endpoint, packet);
    assert_int_equal(receive(ETHERNET_PACKET_MIN, NOW_NS), ENDPOINT_DROPPED);
    endpoint_ask(&endpoint, self_address.ipv4, packet);
    assert_int_equal(receive(ETHERNET_PACKET_MIN, NOW_NS), ENDPOINT_DROPPED);
    assert_int_equal(counters.rx_arp_conflicts, 0);
    assert_int_equal(counters.rx_not_mine, 2);
}

static void bad_arp_is_counted(void **state)
{
    (void)state;
    static const uint8_t wrong[] = {14, 15, 16, 18, 19, 20}; /* Bytes that must be what they are. */
    for (uint32_t i = 0; i < sizeof(wrong); i++) {
        arp_build_request(packet, &peer_mac, peer_address.ipv4, self_address.ipv4);
        packet[wrong[i]] ^= 0x40;
        assert_int_equal(receive(ETHERNET_PACKET_MIN, NOW_NS), ENDPOINT_DROPPED);
        assert_int_equal(counters.rx_arp_bad, i + 1);
    }
    for (uint32_t bytes = ETHERNET_BYTES; bytes < 42; bytes++) {
        uint64_t bad = counters.rx_arp_bad;
        arp_build_request(packet, &peer_mac, peer_address.ipv4, self_address.ipv4);
        assert_int_equal(receive(bytes, NOW_NS), ENDPOINT_DROPPED);
        assert_int_equal(counters.rx_arp_bad, bad + 1);
    }
    arp_build_request(packet, &peer_mac, peer_address.ipv4, self_address.ipv4);
    packet[22] |= 1; /* A group as sender. */
    assert_int_equal(receive(ETHERNET_PACKET_MIN, NOW_NS), ENDPOINT_DROPPED);
    assert_int_equal(counters.rx_arp, 0);
    assert_false(knows(&peer_mac, NOW_NS));
}

/* ---- Neighbours ---- */

static void a_frame_teaches_where_its_answer_goes(void **state)
{
    (void)state;
    assert_int_equal(frame_receive(&peer_mac, NOW_NS), ENDPOINT_FRAME);
    assert_true(nic_address_equal(found.from, peer_address));
    assert_true(knows(&peer_mac, NOW_NS));
    assert_int_equal(frame_receive(&other_mac, NOW_NS + 1), ENDPOINT_FRAME);
    assert_true(knows(&other_mac, NOW_NS + 1));
    assert_int_equal(counters.neighbours_moved, 1);
}

static void a_bad_frame_teaches_nothing(void **state)
{
    (void)state;
    struct headers_end sender = {.mac = peer_mac, .address = peer_address};
    struct headers_end self = {.mac = self_mac, .address = self_address};
    headers_build(packet, &sender, &self, 100);
    packet[24] ^= 1; /* The checksum. */
    assert_int_equal(receive(HEADERS_BYTES + 100, NOW_NS), ENDPOINT_DROPPED);
    headers_build(packet, &sender, &self, 100);
    packet[6] |= 1; /* From a group. */
    assert_int_equal(receive(HEADERS_BYTES + 100, NOW_NS), ENDPOINT_DROPPED);
    assert_false(knows(&peer_mac, NOW_NS));
    assert_int_equal(counters.rx_checksum, 1);
    assert_int_equal(counters.rx_not_mine, 1);
}

static void a_stranger_is_asked_for_at_a_bounded_rate(void **state)
{
    (void)state;
    struct mac mac;
    bool ask = false;
    uint32_t asked = 0;
    for (uint64_t now_ns = NOW_NS; now_ns < NOW_NS + 10 * NEIGHBOUR_ASK_NS; now_ns += 1000000) {
        assert_false(endpoint_route(&endpoint, peer_address, now_ns, &mac, &ask));
        asked += ask;
    }
    assert_int_equal(asked, 10);
    assert_int_equal(counters.tx_unresolved, 10 * NEIGHBOUR_ASK_NS / 1000000);
    endpoint_ask(&endpoint, peer_address.ipv4, packet);
    assert_memory_equal(packet, mac_broadcast.bytes, MAC_BYTES);
    assert_int_equal(packet[41], 2);
}

static void an_ageing_neighbour_is_used_asked_for_and_then_forgotten(void **state)
{
    (void)state;
    struct mac mac;
    bool ask = false;
    assert_int_equal(frame_receive(&peer_mac, NOW_NS), ENDPOINT_FRAME);
    assert_true(endpoint_route(&endpoint, peer_address, NOW_NS + FRESH_NS - 1, &mac, &ask));
    assert_false(ask);
    assert_true(endpoint_route(&endpoint, peer_address, NOW_NS + FRESH_NS, &mac, &ask));
    assert_true(ask);
    assert_true(endpoint_route(&endpoint, peer_address, NOW_NS + FRESH_NS + 1, &mac, &ask));
    assert_false(ask);
    assert_true(knows(&peer_mac, NOW_NS + 2 * FRESH_NS - 1));
    assert_false(endpoint_route(&endpoint, peer_address, NOW_NS + 2 * FRESH_NS, &mac, &ask));
    assert_int_equal(frame_receive(&peer_mac, NOW_NS + 3 * FRESH_NS), ENDPOINT_FRAME);
    assert_true(knows(&peer_mac, NOW_NS + 3 * FRESH_NS));
}

static void nobody_and_oneself_have_no_route(void **state)
{
    (void)state;
    struct mac mac;
    bool ask = true;
    assert_false(endpoint_route(&endpoint, self_address, NOW_NS, &mac, &ask));
    assert_false(ask);
    assert_false(endpoint_route(&endpoint, (struct nic_address){0, 1}, NOW_NS, &mac, &ask));
    assert_false(ask);
    assert_int_equal(counters.tx_unknown, 2);
}

static void a_crowd_evicts_who_was_silent_and_no_one_who_speaks(void **state)
{
    (void)state;
    uint64_t now_ns = NOW_NS;
    for (uint32_t i = 0; i < 50 * NEIGHBOURS_MAX; i++, now_ns += 1000) {
        if (i % 64 == 0) { /* A peer's heartbeat among many strangers. */
            assert_int_equal(frame_receive(&peer_mac, now_ns), ENDPOINT_FRAME);
        }
        (void)request_receive(&other_mac, 0x0a800000 + i, self_address.ipv4, now_ns);
        assert_true(knows(&peer_mac, now_ns));
    }
    assert_true(counters.neighbours_evicted > 0);
}

static void a_question_costs_no_neighbour_its_place(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 50 * NEIGHBOURS_MAX; i++) {
        (void)request_receive(&other_mac, 0x0a800000 + i, self_address.ipv4, NOW_NS);
    }
    uint64_t evicted = counters.neighbours_evicted;
    struct mac mac;
    bool ask;
    uint32_t known = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        struct nic_address to = {0x0b000000 + i, 1};
        assert_false(endpoint_route(&endpoint, to, NOW_NS, &mac, &ask));
    }
    for (uint32_t i = 0; i < NEIGHBOURS_MAX; i++) {
        known += endpoint.neighbours.places[i].resolved;
    }
    assert_int_equal(known, NEIGHBOURS_MAX);
    assert_int_equal(counters.neighbours_evicted, evicted);
}

/* ---- ICMP echo ---- */

static uint32_t internet_sum(const uint8_t *at, uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += (uint32_t)at[i] << (i % 2 == 0 ? 8 : 0);
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum & 0xffff;
}

static void sum_put(uint8_t *at, uint8_t *from, uint32_t count)
{
    at[0] = 0;
    at[1] = 0;
    uint32_t sum = internet_sum(from, count);
    at[0] = (uint8_t)(sum >> 8);
    at[1] = (uint8_t)sum;
}

/* An echo request in a packet of `bytes`. */
static void echo_build(uint32_t bytes)
{
    struct headers_end sender = {.mac = peer_mac, .address = peer_address};
    struct headers_end self = {.mac = self_mac, .address = self_address};
    headers_build(packet, &sender, &self, bytes - HEADERS_BYTES);
    packet[22] = 7; /* TTL */
    packet[23] = PROTOCOL_ICMP;
    sum_put(packet + 24, packet + 14, 20);
    for (uint32_t i = 34; i < bytes; i++) {
        packet[i] = (uint8_t)(i * 7);
    }
    packet[34] = 8;
    packet[35] = 0;
    sum_put(packet + 36, packet + 34, bytes - 34);
}

static void an_echo_request_is_answered_with_its_bytes(void **state)
{
    (void)state;
    for (uint32_t bytes = HEADERS_BYTES + 1; bytes < 1514; bytes++) {
        uint8_t sent[ROOM];
        echo_build(bytes);
        memcpy(sent, packet, bytes);
        assert_int_equal(receive(bytes, NOW_NS), ENDPOINT_REPLY);
        assert_int_equal(packet_bytes, bytes < ETHERNET_PACKET_MIN ? ETHERNET_PACKET_MIN : bytes);
        assert_memory_equal(packet, peer_mac.bytes, MAC_BYTES);
        assert_memory_equal(packet + MAC_BYTES, self_mac.bytes, MAC_BYTES);
        assert_memory_equal(packet + 26, sent + 30, 4);
        assert_memory_equal(packet + 30, sent + 26, 4);
        assert_int_equal(packet[22], IPV4_TTL);
        assert_int_equal(packet[34], 0);
        assert_memory_equal(packet + 38, sent + 38, bytes - 38);
        assert_int_equal(internet_sum(packet + 14, 20), 0);
        assert_int_equal(internet_sum(packet + 34, bytes - 34), 0);
    }
    assert_int_equal(counters.rx_echoes, 1514 - HEADERS_BYTES - 1);
}

static void what_is_no_echo_request_for_us_is_not_answered(void **state)
{
    (void)state;
    echo_build(ECHO_BYTES);
    packet[60] ^= 1; /* Its checksum is wrong now. */
    assert_int_equal(receive(ECHO_BYTES, NOW_NS), ENDPOINT_DROPPED);
    echo_build(ECHO_BYTES);
    packet[34] = 0; /* A reply. */
    sum_put(packet + 36, packet + 34, ECHO_BYTES - 34);
    assert_int_equal(receive(ECHO_BYTES, NOW_NS), ENDPOINT_DROPPED);
    echo_build(ECHO_BYTES);
    memset(packet, 0xff, MAC_BYTES); /* To everybody: not amplified. */
    assert_int_equal(receive(ECHO_BYTES, NOW_NS), ENDPOINT_DROPPED);
    assert_int_equal(counters.rx_echoes_bad, 3);
    echo_build(ECHO_BYTES);
    packet[33] = 9; /* Another address. */
    sum_put(packet + 24, packet + 14, 20);
    assert_int_equal(receive(ECHO_BYTES, NOW_NS), ENDPOINT_DROPPED);
    assert_int_equal(counters.rx_not_mine, 1);
    echo_build(ECHO_BYTES);
    packet[20] = 0x20; /* A fragment. */
    sum_put(packet + 24, packet + 14, 20);
    assert_int_equal(receive(ECHO_BYTES, NOW_NS), ENDPOINT_DROPPED);
    assert_int_equal(counters.rx_fragmented, 1);
    echo_build(ECHO_BYTES);
    packet[23] = 6; /* TCP */
    sum_put(packet + 24, packet + 14, 20);
    assert_int_equal(receive(ECHO_BYTES, NOW_NS), ENDPOINT_DROPPED);
    assert_int_equal(counters.rx_not_udp, 1);
    assert_int_equal(counters.rx_echoes, 0);
}

/* ---- Anything ---- */

/* Nearly good packets with some bytes wrong, cut anywhere, in a buffer of exactly their size (or
 * the least that a port has): the sanitizers see what is read or written behind it. */
static void a_frame_that_is_not_wanted_is_counted_and_teaches_nothing(void **state)
{
    (void)state;
    endpoint.accept = (struct nic_accept){
        .bytes_min = 96, .word_count = 1, .words = {{.offset = 8, .bytes = {1, 2, 3, 4}}}};
    assert_int_equal(frame_receive(&peer_mac, NOW_NS), ENDPOINT_DROPPED);
    assert_int_equal(counters.rx_unwanted, 1);
    assert_false(knows(&peer_mac, NOW_NS));
    memcpy(packet + HEADERS_BYTES + 8, endpoint.accept.words[0].bytes, 4);
    assert_int_equal(frame_receive(&peer_mac, NOW_NS), ENDPOINT_FRAME);
    assert_true(knows(&peer_mac, NOW_NS));
    endpoint.accept.bytes_min = 101; /* It has 100. */
    assert_int_equal(frame_receive(&other_mac, NOW_NS), ENDPOINT_DROPPED);
    assert_int_equal(counters.rx_unwanted, 2);
    assert_int_equal(counters.rx_frames, 0); /* The port counts those. */
    assert_true(knows(&peer_mac, NOW_NS));
}

static void so_many_questions_are_answered_at_a_time_and_no_kind_costs_the_other(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2 * ENDPOINT_ANSWERS_MAX; i++) {
        assert_int_equal(request_receive(&peer_mac, peer_address.ipv4, self_address.ipv4, NOW_NS),
                         i < ENDPOINT_ANSWERS_MAX ? ENDPOINT_REPLY : ENDPOINT_DROPPED);
    }
    assert_int_equal(counters.rx_unanswered, ENDPOINT_ANSWERS_MAX);
    for (uint32_t i = 0; i < 2 * ENDPOINT_ANSWERS_MAX; i++) {
        echo_build(ECHO_BYTES);
        assert_int_equal(receive(ECHO_BYTES, NOW_NS),
                         i < ENDPOINT_ANSWERS_MAX ? ENDPOINT_REPLY : ENDPOINT_DROPPED);
    }
    assert_int_equal(counters.rx_unanswered, 2 * ENDPOINT_ANSWERS_MAX);
    uint64_t later_ns = NOW_NS + ENDPOINT_ANSWERS_NS;
    assert_int_equal(request_receive(&peer_mac, peer_address.ipv4, self_address.ipv4, later_ns),
                     ENDPOINT_REPLY);
    echo_build(ECHO_BYTES);
    assert_int_equal(receive(ECHO_BYTES, later_ns), ENDPOINT_REPLY);
}

static void any_bytes_are_judged_within_their_buffer(void **state)
{
    (void)state;
    print_message("seed %u\n", SEED);
    struct prng prng;
    prng_init(&prng, SEED);
    for (uint32_t run = 0; run < RANDOM_RUNS; run++) {
        uint32_t bytes = (uint32_t)prng_between(&prng, 1, 200);
        memset(packet, 0, sizeof(packet));
        if (run % 3 == 0) {
            echo_build(bytes <= HEADERS_BYTES ? HEADERS_BYTES + 1 : bytes);
        } else if (run % 3 == 1) {
            arp_build_request(packet, &peer_mac, peer_address.ipv4, self_address.ipv4);
        } else {
            (void)frame_receive(&peer_mac, NOW_NS + run);
        }
        uint32_t errors = (uint32_t)prng_below(&prng, 4);
        for (uint32_t i = 0; i < errors; i++) {
            packet[prng_below(&prng, bytes)] = (uint8_t)prng_next(&prng);
        }
        uint32_t room = bytes < ETHERNET_PACKET_MIN ? ETHERNET_PACKET_MIN : bytes;
        uint8_t *exact = malloc(room);
        assert_non_null(exact);
        memcpy(exact, packet, room);
        enum endpoint_verdict verdict =
            endpoint_receive(&endpoint, exact, &bytes, NOW_NS + run, &found);
        assert_in_range(bytes, 1, room);
        assert_true(verdict != ENDPOINT_FRAME || HEADERS_BYTES + found.payload_bytes <= bytes);
        free(exact);
    }
}

int main(void)
{

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_request_for_us_is_answered_and_its_sender_learnt, endpoint_new),
        cmocka_unit_test_setup(an_answer_to_us_is_learnt_and_not_answered, endpoint_new),
        cmocka_unit_test_setup(words_about_others_renew_but_teach_no_stranger, endpoint_new),
        cmocka_unit_test_setup(a_probe_for_our_address_is_answered_and_teaches_nothing,
                               endpoint_new),
        cmocka_unit_test_setup(another_with_our_address_is_counted_and_not_believed, endpoint_new),
        cmocka_unit_test_setup(our_own_words_that_come_back_are_no_conflict, endpoint_new),
        cmocka_unit_test_setup(bad_arp_is_counted, endpoint_new),
        cmocka_unit_test_setup(a_frame_teaches_where_its_answer_goes, endpoint_new),
        cmocka_unit_test_setup(a_bad_frame_teaches_nothing, endpoint_new),
        cmocka_unit_test_setup(a_stranger_is_asked_for_at_a_bounded_rate, endpoint_new),
        cmocka_unit_test_setup(an_ageing_neighbour_is_used_asked_for_and_then_forgotten,
                               endpoint_new),
        cmocka_unit_test_setup(nobody_and_oneself_have_no_route, endpoint_new),
        cmocka_unit_test_setup(a_crowd_evicts_who_was_silent_and_no_one_who_speaks, endpoint_new),
        cmocka_unit_test_setup(a_question_costs_no_neighbour_its_place, endpoint_new),
        cmocka_unit_test_setup(an_echo_request_is_answered_with_its_bytes, endpoint_new),
        cmocka_unit_test_setup(what_is_no_echo_request_for_us_is_not_answered, endpoint_new),
        cmocka_unit_test_setup(a_frame_that_is_not_wanted_is_counted_and_teaches_nothing,
                               endpoint_new),
        cmocka_unit_test_setup(so_many_questions_are_answered_at_a_time_and_no_kind_costs_the_other,
                               endpoint_new),
        cmocka_unit_test_setup(any_bytes_are_judged_within_their_buffer, endpoint_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
