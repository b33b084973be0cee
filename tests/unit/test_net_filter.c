/* test_net_filter.c: the kernel's filters against what is judged above them. The kernel itself runs
 * them, on a pair of UNIX sockets, where a filter sees the bytes as they were sent. */
#include "net/arp.h"
#include "net/bytes.h"
#include "net/endpoint.h"
#include "net/filter.h"

#include "engine/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SEED        1u
#define RANDOM_RUNS 100000u
#define ROOM        256u
#define BYTES_MIN   96u

static const struct nic_address self_address = {.ipv4 = 0x0a000001, .port = 7001};
static const struct nic_address peer_address = {.ipv4 = 0x0a000002, .port = 7002};
static const struct mac self_mac = {{0x02, 0, 0, 0, 0, 1}};
static const struct mac peer_mac = {{0x02, 0, 0, 0, 0, 2}};
static const struct nic_accept accept_words = {
    .bytes_min = BYTES_MIN,
    .word_count = 3,
    .words = {{.offset = 0, .bytes = {'T', 'H', 'O', 'F'}},
              {.offset = 24, .bytes = {0x88, 0x77, 0x6d, 0x5b}},
              {.offset = 28, .bytes = {0x4e, 0x0a, 0x3c, 0x9f}}},
};

static int ends[2];

static void filtered(const struct filter *filter)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(filter_attach(ends[1], filter), 0);
}

static void unfiltered(void)
{
    close(ends[0]);
    close(ends[1]);
}

/* Whether the kernel's filter lets it through, whole. */
static bool passes(const uint8_t *bytes, uint32_t count)
{
    uint8_t received[ROOM];
    assert_int_equal(send(ends[0], bytes, count, 0), count);
    ssize_t got = recv(ends[1], received, sizeof received, MSG_DONTWAIT);
    assert_true(got == -1 || got == (ssize_t)count);
    return got >= 0;
}

static void wanted_fill(uint8_t *payload)
{
    for (uint32_t i = 0; i < accept_words.word_count; i++) {
        memcpy(payload + accept_words.words[i].offset, accept_words.words[i].bytes, 4);
    }
}

static void change(struct prng *prng, uint8_t *bytes, uint32_t count)
{
    uint64_t changes = prng_below(prng, 3);
    for (uint64_t i = 0; i < changes; i++) {
        bytes[prng_below(prng, count)] ^= (uint8_t)prng_between(prng, 1, 255);
    }
}

static void a_datagram_passes_exactly_when_it_begins_as_wanted(void **state)
{
    (void)state;
    struct filter filter;
    struct prng prng;
    uint8_t bytes[ROOM] = {0};
    uint32_t passed = 0;
    prng_init(&prng, SEED);
    filter_datagrams(&filter, &accept_words);
    filtered(&filter);
    for (uint32_t run = 0; run < RANDOM_RUNS; run++) {
        uint32_t payload_bytes = (uint32_t)prng_between(&prng, 1, ROOM - UDP_BYTES);
        wanted_fill(bytes + UDP_BYTES);
        change(&prng, bytes + UDP_BYTES, 40);
        bool wanted = nic_accepts(&accept_words, bytes + UDP_BYTES, payload_bytes);
        assert_int_equal(passes(bytes, UDP_BYTES + payload_bytes), wanted);
        passed += wanted;
    }
    assert_in_range(passed, RANDOM_RUNS / 20, RANDOM_RUNS);
    unfiltered();
}

/* A packet near one that is for us: a frame, a question for our MAC, or an echo request. */
static uint32_t packet_make(struct prng *prng, uint8_t *packet)
{
    struct headers_end self = {.mac = self_mac, .address = self_address};
    struct headers_end peer = {.mac = peer_mac, .address = peer_address};
    uint32_t payload_bytes = (uint32_t)prng_between(prng, BYTES_MIN - 4, BYTES_MIN + 40);
    uint32_t bytes = HEADERS_BYTES + payload_bytes;
    memset(packet, 0, ROOM);
    if (prng_below(prng, 8) == 0) {
        arp_build_request(packet, &peer_mac, peer_address.ipv4, self_address.ipv4);
        bytes = ETHERNET_PACKET_MIN;
    } else {
        headers_build(packet, &peer, &self, payload_bytes);
        wanted_fill(packet + HEADERS_BYTES);
        if (prng_below(prng, 8) == 0) { /* Its sum is made right below. */
            packet[23] = PROTOCOL_ICMP;
        }
    }
    change(prng, packet, HEADERS_BYTES + 32);
    if (prng_below(prng, 2) == 0) { /* So that what was changed is looked at at all. */
        memset(packet + 24, 0, 2);
        uint32_t sum = ~bytes_sum(packet + ETHERNET_BYTES, IPV4_BYTES) & UINT16_MAX;
        bytes_store16(packet + 24, sum);
    }
    return prng_below(prng, 16) == 0 ? (uint32_t)prng_between(prng, 1, bytes) : bytes;
}

static void a_packet_filter_drops_nothing_that_is_for_anybody_here(void **state)
{
    (void)state;
    static struct endpoint endpoint;
    struct headers_end self = {.mac = self_mac, .address = self_address};
    struct nic_counters counters = {0};
    struct headers_found found;
    struct filter filter;
    struct prng prng;
    uint8_t packet[ROOM];
    uint32_t frames = 0;
    uint32_t dropped = 0;
    prng_init(&prng, SEED);
    endpoint_init(&endpoint, &self, 0, &counters);
    endpoint.accept = accept_words;
    filter_packets(&filter, &accept_words, self_address);
    filtered(&filter);
    for (uint32_t run = 0; run < RANDOM_RUNS; run++) {
        uint32_t bytes = packet_make(&prng, packet);
        bool through = passes(packet, bytes);
        uint64_t unwanted = counters.rx_unwanted;
        enum endpoint_verdict verdict = endpoint_receive(&endpoint, packet, &bytes, 0, &found);
        assert_true(through || verdict == ENDPOINT_DROPPED);
        assert_false(through && counters.rx_unwanted > unwanted);
        frames += verdict == ENDPOINT_FRAME;
        dropped += !through;
    }
    assert_in_range(frames, RANDOM_RUNS / 20, RANDOM_RUNS);
    assert_in_range(dropped, RANDOM_RUNS / 20, RANDOM_RUNS);
    unfiltered();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_datagram_passes_exactly_when_it_begins_as_wanted),
        cmocka_unit_test(a_packet_filter_drops_nothing_that_is_for_anybody_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
