/* test_nic_port.c: Ethernet ports against the contract of net/nic.h, and what an Ethernet adds to
 * it: ARP, ping, links that go, cards that change, and a segment full of strangers.
 *
 * Which driver is an argument: af_packet, af_xdp, tap or vhost; the one test to run may follow.
 * Four ports stand on a segment of this process's own (tests/device/segment.h). A tap has no card
 * that was there before, counts no drops, and hands up old frames late, when the next signal comes:
 * what is about cards, drops and age is for the others. vhost is a pair of ports on each other,
 * without a segment.
 */
#define _GNU_SOURCE
#include "net/arp.h"
#include "net/nic_dpdk.h"
#include "net/nic_dpdk_port.h"
#include "tests/device/nic_cases.h"
#include "tests/device/nic_entries.h"
#include "tests/device/segment.h"

#include "engine/base/prng.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PORT           7000u
#define SEED           1u
#define STORM_ROUNDS   1000u
#define HOP_ROUNDS     4000u
#define FOREIGN_COUNT  4000u
#define FOREIGN_BYTES  1514u
#define FRESH_NS       100000000u
#define POLL_TRIES     5000u /* Of about a millisecond. */
#define XDP_BUFFERS    (PORT_DESCRIPTORS + 40u)
#define PACKET_BUFFERS 40u
#define TEXT_BYTES     1024u
#define SETTLE_NAPS    50u /* Until what was sent is there. */
#define SKIPPED        77
#define EAL_MEMORY_MIB "256"
#define VHOST_PATH     "test_nic_vhost.socket"

static const char *driver = "af_packet";
static char *eal_argv[] = {(char[]){"-m"}, (char[]){EAL_MEMORY_MIB}};

static bool is_xdp(void)
{
    return strcmp(driver, "af_xdp") == 0;
}

static bool is_tap(void)
{
    return strcmp(driver, "tap") == 0;
}

/* Two ports of shared memory, vhost and virtio_user, on each other; there is no segment. */
static bool is_vhost(void)
{
    return strcmp(driver, "vhost") == 0;
}

/* Whether large pinned bodies go out from where they are. */
static bool is_external(void)
{
    return !is_xdp();
}

static uint32_t port_count(void)
{
    return is_vhost() ? 2 : NIC_CASES_PORTS;
}

static uint32_t externals(void)
{
    uint32_t all = is_vhost() ? 1u : (1u << NIC_CASES_PORTS) - 1; /* virtio_user copies. */
    return is_external() ? all : 0;
}

static void nap(void)
{
    struct timespec time = {.tv_nsec = 1000000};
    (void)nanosleep(&time, NULL);
}

/* ---- Ports ---- */

static struct nic_address address_of(uint32_t port)
{
    return (struct nic_address){.ipv4 = 0x0a090001u + port, .port = PORT};
}

static int try_open(struct nic **nic,
                    uint32_t port,
                    const char *options,
                    const struct nic_port_config *more,
                    struct fault *fault)
{
    char text[NIC_SPEC_BYTES];
    struct nic_spec spec;
    (void)snprintf(text, sizeof(text), "%.16s:%c%u%.32s", driver, is_tap() ? 't' : 'p', port,
                   options);
    if (is_vhost()) {
        (void)snprintf(text, sizeof(text), "vdev:%s=" VHOST_PATH,
                       port == 0 ? "net_vhost0,iface" : "net_virtio_user0,path");
    }
    assert_true(nic_spec_parse(text, &spec));
    struct nic_port_config config = *more;
    config.spec = &spec;
    config.self = config.self.ipv4 == 0 ? address_of(port) : config.self;
    config.eal_argc = 2;
    config.eal_argv = eal_argv;
    return nic_dpdk_port_open(nic, &config, fault);
}

static struct nic *port_open(uint32_t port, const char *options, const struct nic_port_config *more)
{
    struct nic *nic = NULL;
    struct fault fault = {0};
    if (try_open(&nic, port, options, more, &fault) != 0) {
        fail_msg("%s", fault.text);
    }
    if (is_tap()) { /* The kernel's end of it goes to the bridge. */
        char words[TEXT_BYTES];
        (void)snprintf(words, sizeof(words), "link set t%u addrgenmode none master br0 up", port);
        assert_true(segment_ip(words));
    }
    return nic;
}

static const struct nic_port_config plain;

static void ports_open(struct nic_cases *cases, const struct nic_port_config *more)
{
    *cases = (struct nic_cases){
        .not_to_itself = true,
        .external = externals(),
        .count = is_vhost() ? 2 : 0,
        .storm_rounds = STORM_ROUNDS,
        .hop_rounds = HOP_ROUNDS,
        .thread_enter = nic_dpdk_thread_enter,
        .thread_leave = nic_dpdk_thread_leave,
    };
    for (uint32_t i = 0; i < port_count(); i++) {
        cases->nics[i] = port_open(i, "", more);
    }
    nic_case_meet(cases);
}

static void ports_close(const struct nic_cases *cases)
{
    nic_case_drain(cases);
    for (uint32_t i = 0; i < port_count(); i++) {
        nic_close(cases->nics[port_count() - 1 - i]); /* Before the one it is on. */
    }
}

/* Poll all ports, `rounds` times about a millisecond apart, throwing frames away. */
static void ports_poll(const struct nic_cases *cases, uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++) {
        nic_case_drain(cases);
        nap();
    }
}

/* ---- What every port does ---- */

static void every_frame_size_arrives_whole(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    assert_int_equal(cases.nics[0]->frame_bytes_max, 1500 - 28);
    nic_case_every_frame_size_arrives_whole(&cases);
    ports_close(&cases);
}

static void entries_of_every_fragment_count_arrive_whole(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    nic_case_entries_of_every_fragment_count_arrive_whole(&cases, false);
    nic_case_entries_of_every_fragment_count_arrive_whole(&cases, true);
    ports_close(&cases);
}

static void a_mixed_burst_reaches_each_destination(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    nic_case_a_mixed_burst_reaches_each_destination(&cases);
    ports_close(&cases);
}

static void an_overflow_loses_frames_and_recovers(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    nic_case_an_overflow_loses_frames_and_recovers(&cases);
    ports_poll(&cases, 2 * PORT_LOOK_NS / 1000000);
    assert_true(cases.nics[1]->counters.rx_no_buffer > 0);
    assert_int_equal(cases.nics[0]->counters.rx_no_buffer, 0);
    ports_close(&cases);
}

static void two_threads_send_to_each_other(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    uint64_t missing = nic_case_two_threads_send_to_each_other(&cases, SEED);
    print_message("%llu frames waiting or lost\n", (unsigned long long)missing);
    ports_close(&cases);
}

static void hop_cost_is_printed(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    nic_case_print_hops(&cases, driver);
    ports_close(&cases);
}

static void fan_out_cost_is_printed(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    nic_case_print_fan_out(&cases, driver);
    ports_close(&cases);
}

/* ---- Buffers and sizes ---- */

static void an_exhausted_pool_drops_and_recovers(void **state)
{
    (void)state;
    struct nic_cases cases;
    struct nic_port_config config = {.buffers = is_xdp() ? XDP_BUFFERS : PACKET_BUFFERS};
    ports_open(&cases, &config);
    uint8_t byte = 1;
    struct nic_send sends[TX_BURST_MAX];
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        sends[i] = (struct nic_send){.to = address_of(0), .head = &byte, .head_bytes = 1};
    }
    assert_int_equal(nic_tx_burst(cases.nics[1], sends, TX_BURST_MAX), TX_BURST_MAX);
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t held = 0;
    for (uint32_t try = 0; try < POLL_TRIES && held < RX_BURST_MAX; try++) {
        nap(); /* So that one burst takes all. */
        held = nic_rx_burst(cases.nics[0], frames, RX_BURST_MAX);
        if (held < RX_BURST_MAX) {
            nic_rx_release(cases.nics[0], frames, held);
            held = 0;
            assert_int_equal(nic_tx_burst(cases.nics[1], sends, TX_BURST_MAX), TX_BURST_MAX);
        }
    }
    assert_int_equal(held, RX_BURST_MAX);
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        sends[i].to = address_of(1);
    }
    struct nic_counters *counters = &cases.nics[0]->counters;
    uint32_t sent = nic_tx_burst(cases.nics[0], sends, TX_BURST_MAX);
    assert_in_range(sent, 1, TX_BURST_MAX - 1);
    assert_int_equal(counters->tx_no_buffer, TX_BURST_MAX - sent);
    nic_rx_release(cases.nics[0], frames, held);
    ports_poll(&cases, 5);
    assert_int_equal(nic_tx_burst(cases.nics[0], sends, TX_BURST_MAX / 2), TX_BURST_MAX / 2);
    ports_close(&cases);
}

/* ---- A driver that takes part, or keeps what it got ---- */

/* In place of the transmit of port 0, the first that this process has opened. */
static struct {
    eth_tx_burst_t real;
    uint32_t takes; /* Of a burst. */
    bool keeps;     /* As one does whose card reads later. */
    uint32_t kept_count;
    struct rte_mbuf *kept[2 * PORT_CHAINS];
} stubborn;

static uint16_t stubborn_tx(void *queue, struct rte_mbuf **buffers, uint16_t count)
{
    uint16_t taken = count < stubborn.takes ? count : (uint16_t)stubborn.takes;
    if (!stubborn.keeps) {
        return stubborn.real(queue, buffers, taken);
    }
    for (uint16_t i = 0; i < taken; i++) {
        assert_in_range(stubborn.kept_count, 0, 2 * PORT_CHAINS - 1);
        stubborn.kept[stubborn.kept_count++] = buffers[i];
    }
    return taken;
}

static void stubborn_begin(uint32_t takes, bool keeps)
{
    stubborn.real = rte_eth_fp_ops[0].tx_pkt_burst;
    stubborn.takes = takes;
    stubborn.keeps = keeps;
    rte_eth_fp_ops[0].tx_pkt_burst = stubborn_tx;
}

static void stubborn_end(void)
{
    rte_eth_fp_ops[0].tx_pkt_burst = stubborn.real;
    rte_pktmbuf_free_bulk(stubborn.kept, stubborn.kept_count);
    stubborn.kept_count = 0;
}

/* A driver that costs nothing: what is left is the port's own work. */
static uint16_t sink_tx(void *queue, struct rte_mbuf **buffers, uint16_t count)
{
    assert_non_null(queue);
    rte_pktmbuf_free_bulk(buffers, count);
    return count;
}

static void sink_begin(void)
{
    stubborn_begin(0, false);
    rte_eth_fp_ops[0].tx_pkt_burst = sink_tx;
}

#define BODY_BYTES 1400u

/* A burst from port 0 to port 1 of bodies in pages of their own. */
static uint32_t bodies_send(const struct nic_cases *cases, uint16_t *pages)
{
    static _Alignas(PAGE_BYTES) uint8_t bodies[TX_BURST_MAX][PAGE_BYTES];
    static const uint8_t head = 1;
    struct nic_send sends[TX_BURST_MAX];
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        nic_case_fill(bodies[i], BODY_BYTES, i);
        sends[i] = (struct nic_send){
            .to = address_of(1),
            .head = &head,
            .head_bytes = 1,
            .body = bodies[i],
            .body_bytes = BODY_BYTES,
            .pin = {.pages = pages == NULL ? NULL : &pages[i], .page_count = pages == NULL ? 0 : 1},
        };
    }
    return nic_tx_burst(cases->nics[0], sends, TX_BURST_MAX);
}

static void a_driver_that_takes_part_of_a_burst_loses_the_rest(void **state)
{
    (void)state;
    uint16_t pages[TX_BURST_MAX] = {0};
    uint16_t *pins[] = {NULL, pages};
    struct nic_cases cases;
    ports_open(&cases, &plain);
    const struct nic_counters *counters = &cases.nics[0]->counters;
    for (uint32_t kind = 0; kind < 2; kind++) {
        for (uint32_t takes = 0; takes <= TX_BURST_MAX; takes++) {
            struct nic_counters before = *counters;
            stubborn_begin(takes, false);
            assert_int_equal(bodies_send(&cases, pins[kind]), takes);
            stubborn_end();
            assert_int_equal(counters->tx_frames - before.tx_frames, takes);
            assert_int_equal(counters->tx_bytes - before.tx_bytes, takes * (BODY_BYTES + 1));
            assert_int_equal(counters->tx_dropped - before.tx_dropped, TX_BURST_MAX - takes);
            for (uint32_t i = 0; i < takes; i++) {
                uint8_t expected[BODY_BYTES];
                struct nic_frame frame;
                nic_case_receive(cases.nics[1], &frame);
                nic_case_fill(expected, BODY_BYTES, i);
                assert_int_equal(frame.bytes, BODY_BYTES + 1);
                assert_memory_equal(frame.data + 1, expected, BODY_BYTES);
                nic_rx_release(cases.nics[1], &frame, 1);
            }
            nic_case_expect_unpinned(&cases, pages, TX_BURST_MAX);
        }
    }
    nic_case_a_mixed_burst_reaches_each_destination(&cases); /* No buffer was lost. */
    ports_close(&cases);
}

static void a_body_is_pinned_until_the_driver_lets_go(void **state)
{
    (void)state;
    uint16_t pages[TX_BURST_MAX] = {0};
    struct nic_cases cases;
    ports_open(&cases, &plain);
    uint16_t held = is_external() ? 1 : 0;
    stubborn_begin(TX_BURST_MAX, true);
    assert_int_equal(bodies_send(&cases, pages), TX_BURST_MAX);
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        assert_int_equal(pages[i], held);
    }
    assert_int_equal(bodies_send(&cases, NULL), TX_BURST_MAX);
    rte_pktmbuf_free_bulk(stubborn.kept, TX_BURST_MAX / 2);
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        assert_int_equal(pages[i], i < TX_BURST_MAX / 2 ? 0 : held);
    }
    stubborn.kept_count -= TX_BURST_MAX / 2;
    for (uint32_t i = 0; i < stubborn.kept_count; i++) {
        stubborn.kept[i] = stubborn.kept[i + TX_BURST_MAX / 2];
    }
    stubborn_end();
    nic_case_expect_unpinned(&cases, pages, TX_BURST_MAX);
    nic_case_a_mixed_burst_reaches_each_destination(&cases);
    ports_close(&cases);
}

static void bodies_beyond_what_may_be_pinned_are_copied(void **state)
{
    (void)state;
    uint16_t pages[TX_BURST_MAX] = {0};
    struct nic_cases cases;
    ports_open(&cases, &plain);
    struct nic_counters before = cases.nics[0]->counters;
    stubborn_begin(TX_BURST_MAX, true);
    uint32_t sent = 0;
    for (uint32_t round = 0; round < 2 * PORT_CHAINS / TX_BURST_MAX; round++) {
        sent += bodies_send(&cases, pages);
    }
    uint64_t external = cases.nics[0]->counters.tx_external - before.tx_external;
    uint64_t copied = cases.nics[0]->counters.tx_copied - before.tx_copied;
    print_message("%u frames: %u from where they lay, %u copied\n", sent, (uint32_t)external,
                  (uint32_t)copied);
    assert_int_equal(sent, external + copied);
    assert_true(sent > PORT_CHAINS);
    assert_true(copied > 0);
    assert_in_range(external, is_external() ? 1 : 0, is_external() ? PORT_CHAINS / 2 : 0);
    stubborn_end();
    nic_case_expect_unpinned(&cases, pages, TX_BURST_MAX);
    nic_case_a_mixed_burst_reaches_each_destination(&cases);
    ports_close(&cases);
}

/* The MTU of both ends of every pair, and of the bridge between. */
static void segment_mtu(uint32_t mtu)
{
    for (uint32_t i = 0; i < NIC_CASES_PORTS; i++) {
        char words[TEXT_BYTES];
        (void)snprintf(words, sizeof(words), "link set p%u mtu %u", i, mtu);
        assert_true(segment_ip(words));
        (void)snprintf(words, sizeof(words), "link set b%u mtu %u", i, mtu);
        assert_true(segment_ip(words));
    }
}

static void a_larger_mtu_carries_larger_frames(void **state)
{
    (void)state;
    uint32_t mtu = is_xdp() ? 3442 : 9000; /* The most that each carries. */
    char options[TEXT_BYTES];
    char mended[TEXT_BYTES];
    (void)snprintf(options, sizeof(options), ",mtu=%u", mtu);
    (void)snprintf(mended, sizeof(mended), "ip link set dev p0 mtu %u", mtu);
    struct fault fault = {0};
    struct nic *nic = NULL;
    assert_int_not_equal(try_open(&nic, 0, options, &plain, &fault), 0);
    print_message("%s\n", fault.text);
    assert_non_null(strstr(fault.text, mended));
    segment_mtu(mtu);
    if (is_xdp()) {
        assert_int_not_equal(try_open(&nic, 0, ",mtu=3443", &plain, &fault), 0);
    }
    struct nic_cases cases = {.not_to_itself = true, .external = externals()};
    for (uint32_t i = 0; i < NIC_CASES_PORTS; i++) {
        cases.nics[i] = port_open(i, options, &plain);
    }
    nic_case_meet(&cases);
    assert_int_equal(cases.nics[0]->frame_bytes_max,
                     mtu - 28 < FRAME_BYTES_MAX ? mtu - 28 : FRAME_BYTES_MAX);
    nic_case_every_frame_size_arrives_whole(&cases);
    cases.hop_rounds = HOP_ROUNDS;
    nic_case_print_fan_out(&cases, driver);
    sink_begin();
    cases.hop_rounds = 100 * HOP_ROUNDS;
    nic_case_print_fan_out(&cases, "no driver,");
    stubborn_end();
    ports_close(&cases);
    segment_mtu(PORT_MTU_DEFAULT);
}

/* ---- Links and cards ---- */

/* Take the link of port 1 away with one word, and give it back with another. */
static void link_case(const char *take, const char *give)
{
    struct nic_cases cases;
    ports_open(&cases, &plain);
    uint8_t byte = 1;
    struct nic_send to_it = {.to = address_of(1), .head = &byte, .head_bytes = 1};
    struct nic_send from_it = {.to = address_of(0), .head = &byte, .head_bytes = 1};
    assert_true(segment_ip(take));
    uint32_t tries = 0;
    while (cases.nics[1]->counters.link_losses == 0) {
        assert_in_range(tries++, 0, POLL_TRIES);
        (void)nic_tx_burst(cases.nics[0], &to_it, 1);
        (void)nic_tx_burst(cases.nics[1], &from_it, 1);
        ports_poll(&cases, 1);
    }
    assert_true(segment_ip(give));
    nic_case_meet(&cases);
    nic_case_a_mixed_burst_reaches_each_destination(&cases);
    assert_int_equal(cases.nics[0]->counters.link_losses, 0);
    ports_close(&cases);
}

static void a_link_goes_and_comes_back(void **state)
{
    (void)state;
    link_case("link set p1 down", "link set p1 up");
}

static void a_carrier_goes_and_comes_back(void **state)
{
    (void)state;
    link_case("link set b1 down", "link set b1 up"); /* The other end. */
}

static void a_peer_that_comes_back_on_another_card_is_followed(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    uint64_t moved = cases.nics[0]->counters.neighbours_moved;
    nic_close(cases.nics[1]);
    struct nic_port_config config = {.self = address_of(1)};
    cases.nics[1] = port_open(SEGMENT_SPARE, "", &config); /* Says so to all. */
    ports_poll(&cases, 5);
    assert_int_equal(cases.nics[0]->counters.neighbours_moved, moved + 1);
    uint64_t unresolved = cases.nics[0]->counters.tx_unresolved;
    nic_case_meet(&cases);
    assert_int_equal(cases.nics[0]->counters.tx_unresolved, unresolved);
    ports_close(&cases);
}

static void a_peer_that_comes_late_is_found(void **state)
{
    (void)state;
    struct nic *first = port_open(0, "", &plain);
    uint8_t byte = 1;
    struct nic_send send = {.to = address_of(1), .head = &byte, .head_bytes = 1};
    for (uint32_t i = 0; i < 100; i++) {
        struct nic_frame frame;
        assert_int_equal(nic_tx_burst(first, &send, 1), 0);
        assert_int_equal(nic_rx_burst(first, &frame, 1), 0);
        nap();
    }
    assert_int_equal(first->counters.tx_unresolved, 100);
    assert_in_range(first->counters.tx_arp, 3, 30); /* Asked now and then, not for every frame. */
    struct nic_cases cases = {.not_to_itself = true, .nics = {first}};
    for (uint32_t i = 1; i < NIC_CASES_PORTS; i++) {
        cases.nics[i] = port_open(i, "", &plain);
    }
    nic_case_meet(&cases);
    ports_close(&cases);
}

static void a_silent_neighbour_is_asked_for_again_and_forgotten(void **state)
{
    (void)state;
    struct nic_cases cases;
    struct nic_port_config config = {.fresh_ns = FRESH_NS};
    ports_open(&cases, &config);
    uint8_t byte = 1;
    struct nic_send send = {.to = address_of(1), .head = &byte, .head_bytes = 1};
    nic_case_meet(&cases);
    struct timespec time = {.tv_nsec = FRESH_NS + FRESH_NS / 4};
    (void)nanosleep(&time, NULL);
    nic_case_drain(&cases);
    uint64_t asked = cases.nics[0]->counters.tx_arp;
    (void)nic_tx_burst(cases.nics[0], &send, 1);
    assert_in_range(cases.nics[0]->counters.tx_arp, asked + 1, asked + 1);
    ports_poll(&cases, 5); /* Its answer. */
    time.tv_nsec = 3 * FRESH_NS;
    (void)nanosleep(&time, NULL);
    struct nic_frame frame;
    assert_int_equal(nic_rx_burst(cases.nics[0], &frame, 1), 0);
    uint64_t unresolved = cases.nics[0]->counters.tx_unresolved;
    assert_int_equal(nic_tx_burst(cases.nics[0], &send, 1), 0);
    assert_int_equal(cases.nics[0]->counters.tx_unresolved, unresolved + 1);
    nic_case_meet(&cases);
    ports_close(&cases);
}

/* ---- The kernel, and strangers ---- */

static void ping_is_answered(void **state)
{
    (void)state;
    struct nic *nic = port_open(0, "", &plain);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)execlp("ping", "ping", "-q", "-c", "3", "-i", "0.1", "-W", "5", "-s", "1400",
                     "10.9.0.1", (char *)NULL);
        _exit(SKIPPED);
    }
    int status = 0;
    pid_t ended = 0;
    for (uint32_t try = 0; try < 4 * POLL_TRIES && ended == 0; try++) {
        struct nic_frame frame;
        assert_int_equal(nic_rx_burst(nic, &frame, 1), 0);
        nap();
        ended = waitpid(child, &status, WNOHANG);
    }
    uint64_t echoes = nic->counters.rx_echoes;
    nic_close(nic);
    assert_int_equal(ended, child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED) {
        skip(); /* No `ping` here. */
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(echoes, 3);
}

static void a_kernel_socket_and_a_port_reach_each_other(void **state)
{
    (void)state;
    struct nic *nic = port_open(0, "", &plain);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in self = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(SEGMENT_KERNEL_IPV4)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(PORT),
                             .sin_addr.s_addr = htonl(address_of(0).ipv4)};
    assert_int_equal(bind(fd, (struct sockaddr *)&self, sizeof(self)), 0);
    uint8_t bytes[1472];
    uint8_t back[1472];
    for (uint32_t round = 0; round < 50; round++) {
        uint32_t count = round == 0 ? 1 : 1472 - round; /* Checksums are left to the card. */
        nic_case_fill(bytes, count, round);
        ssize_t sent = sendto(fd, bytes, count, 0, (struct sockaddr *)&to, sizeof(to));
        assert_int_equal(sent, count);
        struct nic_frame frame;
        nic_case_receive(nic, &frame);
        assert_int_equal(frame.bytes, count);
        assert_memory_equal(frame.data, bytes, count);
        assert_int_equal(frame.from.ipv4, SEGMENT_KERNEL_IPV4);
        struct nic_send send = {.to = frame.from, .head = frame.data, .head_bytes = frame.bytes};
        assert_int_equal(nic_tx_burst(nic, &send, 1), 1);
        nic_rx_release(nic, &frame, 1);
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, 5000), 1);
        assert_int_equal(recv(fd, back, sizeof(back), 0), count);
        assert_memory_equal(back, bytes, count);
    }
    (void)close(fd);
    nic_close(nic);
}

/* A packet of noise, or one that is nearly ours: to a node's MAC, with one byte wrong. */
static uint32_t
foreign_make(struct prng *prng, const struct nic *to, const uint8_t *mac, uint8_t *out)
{
    uint32_t bytes = (uint32_t)prng_between(prng, 14, FOREIGN_BYTES);
    for (uint32_t i = 0; i < bytes; i++) {
        out[i] = (uint8_t)prng_next(prng);
    }
    struct headers_end from = {.mac = {{0x02, 9, 9, 9, 9, 9}}, .address = {0x0a0900fe, 1}};
    struct headers_end self = {.address = to->self};
    memcpy(self.mac.bytes, mac, MAC_BYTES);
    switch (prng_below(prng, 4)) {
    case 0:
        break;
    case 1:
        memset(out, 0xff, MAC_BYTES);
        break;
    case 2: /* About one byte of the IPv4 header, which its checksum covers. */
        bytes = bytes < 64 ? 64 : bytes;
        headers_build(out, &from, &self, bytes - HEADERS_BYTES);
        out[14 + prng_below(prng, IPV4_BYTES)] ^= (uint8_t)(1u << prng_below(prng, 8));
        break;
    default: /* ARP, cut or with one byte wrong, from nobody we know. */
        arp_build_request(out, &from.mac, from.address.ipv4, to->self.ipv4);
        out[12 + prng_below(prng, 8)] ^= (uint8_t)(1u << prng_below(prng, 8));
        bytes = ETHERNET_PACKET_MIN;
        break;
    }
    out[MAC_BYTES] = 0x02; /* A bridge takes no group for a sender. */
    return bytes;
}

static uint64_t refused_sum(const struct nic_counters *counters)
{
    return counters->rx_not_ipv4 + counters->rx_not_udp + counters->rx_not_mine +
           counters->rx_short + counters->rx_long + counters->rx_checksum +
           counters->rx_fragmented + counters->rx_arp_bad + counters->rx_echoes_bad +
           counters->rx_arp;
}

static void a_storm_of_foreign_packets_is_counted_and_harms_nobody(void **state)
{
    (void)state;
    print_message("seed %u\n", SEED);
    struct nic_cases cases;
    ports_open(&cases, &plain);
    int fd = segment_spoiler_open();
    assert_true(fd >= 0);
    struct prng prng;
    prng_init(&prng, SEED);
    static uint8_t packet[FOREIGN_BYTES];
    struct nic_port_facts facts = nic_dpdk_port_facts(cases.nics[0]);
    uint64_t refused = refused_sum(&cases.nics[0]->counters);
    uint64_t frames = cases.nics[0]->counters.rx_frames;
    for (uint32_t i = 0; i < FOREIGN_COUNT; i++) {
        uint32_t bytes = foreign_make(&prng, cases.nics[0], facts.mac, packet);
        assert_int_equal(send(fd, packet, bytes, 0), bytes);
        if (i % 64 == 63) {
            nic_case_drain(&cases);
        }
    }
    ports_poll(&cases, 20);
    assert_int_equal(cases.nics[0]->counters.rx_frames, frames);
    assert_in_range(refused_sum(&cases.nics[0]->counters) - refused, FOREIGN_COUNT / 2,
                    FOREIGN_COUNT);
    nic_case_a_mixed_burst_reaches_each_destination(&cases);
    (void)close(fd);
    ports_close(&cases);
}

/* The kernel drops them on a packet socket, where they take no room; elsewhere the port does. */
static void a_frame_behind_unwanted_ones_is_reached_by_one_burst(void **state)
{
    (void)state;
    const struct nic_port_config wants = {
        .accept = {.bytes_min = 100,
                   .word_count = 1,
                   .words = {{.offset = 4, .bytes = {'W', 'A', 'N', 'T'}}}}};
    struct nic *sender = port_open(0, "", &plain);
    struct nic *nic = port_open(1, "", &wants);
    static const uint8_t wanted[4] = {'W', 'A', 'N', 'T'};
    uint8_t bytes[200] = {0};
    struct nic_send send = {.to = nic->self, .head = bytes, .head_bytes = sizeof bytes};
    struct nic_frame frames[RX_BURST_MAX];
    memcpy(bytes + 4, wanted, sizeof wanted);
    for (uint32_t i = 0; i < POLL_TRIES && nic->counters.rx_frames == 0; i++) { /* They meet. */
        (void)nic_tx_burst(sender, &send, 1);
        nap();
        nic_rx_release(sender, frames, nic_rx_burst(sender, frames, RX_BURST_MAX));
        nic_rx_release(nic, frames, nic_rx_burst(nic, frames, RX_BURST_MAX));
    }
    memset(bytes + 4, 0, 4);
    uint32_t unwanted = (RX_BURSTS_MAX - 1) * RX_BURST_MAX;
    for (uint32_t i = 0; i < unwanted; i++) {
        assert_int_equal(nic_tx_burst(sender, &send, 1), 1);
    }
    memcpy(bytes + 4, wanted, sizeof wanted);
    assert_int_equal(nic_tx_burst(sender, &send, 1), 1);
    for (uint32_t i = 0; i < SETTLE_NAPS; i++) {
        nap();
    }
    uint32_t count = nic_rx_burst(nic, frames, RX_BURST_MAX);
    assert_int_equal(count, 1);
    assert_int_equal(frames[0].bytes, sizeof bytes);
    nic_rx_release(nic, frames, count);
    assert_int_equal(nic->counters.rx_unwanted, is_xdp() ? unwanted : 0);
    assert_int_equal(nic->counters.rx_no_buffer, 0);
    nic_close(sender);
    nic_close(nic);
}

/* ---- Manners ---- */

static void expect_refusal(uint32_t port, const struct nic_port_config *config, const char *word)
{
    struct nic *nic = NULL;
    struct fault fault = {0};
    assert_true(try_open(&nic, port, "", config, &fault) < 0);
    print_message("%s\n", fault.text);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, word));
    assert_null(strchr(fault.text, '\n'));
}

static void what_the_machine_needs_is_refused_with_what_mends_it(void **state)
{
    (void)state;
    struct nic_port_config kernels = {.self = {SEGMENT_KERNEL_IPV4, PORT}};
    expect_refusal(9, &plain, "thole net ls");
    expect_refusal(0, &kernels, "ip address del 10.9.0.100 dev br0");
    assert_true(segment_ip("link set p0 down"));
    expect_refusal(0, &plain, "ip link set dev p0 up");
    assert_true(segment_ip("link set p0 up"));
    assert_true(segment_ip("route add default dev p0"));
    expect_refusal(0, &plain, ",force");
    struct nic *nic = port_open(0, ",force", &plain);
    nic_close(nic);
    assert_true(segment_ip("route del default dev p0"));
    if (is_xdp()) {
        assert_true(segment_ip("address add 10.9.1.1/24 dev p0"));
        expect_refusal(0, &plain, "ip address flush dev p0");
        assert_true(segment_ip("address flush dev p0"));
    }
}

/* The thread of a node that serves: it answers. */
struct server {
    struct nic *nic;
    atomic_bool ended;
};

static void *server_run(void *argument)
{
    struct server *server = argument;
    nic_dpdk_thread_enter();
    while (!atomic_load(&server->ended)) {
        struct nic_frame frame;
        uint32_t count = nic_rx_burst(server->nic, &frame, 1);
        nic_rx_release(server->nic, &frame, count);
        nap();
    }
    nic_dpdk_thread_leave();
    return NULL;
}

static void an_address_that_another_has_is_refused(void **state)
{
    (void)state;
    struct server server = {.nic = port_open(0, "", &plain)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, server_run, &server), 0);
    struct nic_port_config same = {.self = address_of(0)};
    expect_refusal(1, &same, "10.9.0.1 is taken");
    atomic_store(&server.ended, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    nic_close(server.nic);
}

static void a_closed_port_leaves_its_interface_as_it_was(void **state)
{
    (void)state;
    char before[TEXT_BYTES];
    char during[TEXT_BYTES];
    char after[TEXT_BYTES];
    assert_true(segment_ip("link set p0 promisc on"));
    segment_describe("p0", before, sizeof(before));
    struct nic *nic = port_open(0, "", &plain);
    segment_describe("p0", during, sizeof(during));
    nic_close(nic);
    segment_describe("p0", after, sizeof(after));
    assert_true(strlen(before) > 0);
    assert_string_equal(after, before);
    assert_true((strstr(during, "xdp") != NULL) == is_xdp());
    assert_true(segment_ip("link set p0 promisc off"));
}

/* ---- Running ---- */

static int eal_end(void **state)
{
    (void)state;
    nic_dpdk_stop();
    return 0;
}

/* Each test is a process of its own: DPDK's AF_XDP cannot open an interface twice in one, and what
 * a failed test leaves open is gone with it. */
static int run(const struct CMUnitTest *test)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        const struct CMUnitTest tests[] = {*test};
        int failed = cmocka_run_group_tests_name(driver, tests, NULL, eal_end);
        (void)fflush(NULL);
        _exit(failed);
    }
    int status = 0;
    bool ended = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status);
    if (!ended) {
        (void)printf("%s ended by a signal\n", test->name);
    }
    return ended ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    driver = argc > 1 ? argv[1] : driver;
    const char *reason = NULL;
    if (is_tap() && access("/dev/net/tun", R_OK | W_OK) != 0) {
        reason = "/dev/net/tun cannot be opened here";
    }
    reason = reason == NULL && !is_vhost() ? segment_open(is_xdp()) : reason;
    if (reason != NULL) {
        (void)fprintf(stderr, "skipped: %s\n", reason);
        return SKIPPED;
    }
    const struct {
        struct CMUnitTest test;
        const char *also; /* Besides af_packet and af_xdp. */
    } tests[] = {
        {cmocka_unit_test(every_frame_size_arrives_whole), "tap vhost"},
        {cmocka_unit_test(entries_of_every_fragment_count_arrive_whole), "tap vhost"},
        {cmocka_unit_test(a_driver_that_takes_part_of_a_burst_loses_the_rest), "tap vhost"},
        {cmocka_unit_test(a_body_is_pinned_until_the_driver_lets_go), "tap vhost"},
        {cmocka_unit_test(bodies_beyond_what_may_be_pinned_are_copied), "tap vhost"},
        {cmocka_unit_test(a_mixed_burst_reaches_each_destination), "tap vhost"},
        {cmocka_unit_test(an_overflow_loses_frames_and_recovers), ""},
        {cmocka_unit_test(two_threads_send_to_each_other), "tap"},
        {cmocka_unit_test(an_exhausted_pool_drops_and_recovers), ""},
        {cmocka_unit_test(a_larger_mtu_carries_larger_frames), ""},
        {cmocka_unit_test(a_link_goes_and_comes_back), ""},
        {cmocka_unit_test(a_carrier_goes_and_comes_back), ""},
        {cmocka_unit_test(a_peer_that_comes_back_on_another_card_is_followed), ""},
        {cmocka_unit_test(a_peer_that_comes_late_is_found), "tap"},
        {cmocka_unit_test(a_silent_neighbour_is_asked_for_again_and_forgotten), ""},
        {cmocka_unit_test(ping_is_answered), "tap"},
        {cmocka_unit_test(a_kernel_socket_and_a_port_reach_each_other), "tap"},
        {cmocka_unit_test(a_storm_of_foreign_packets_is_counted_and_harms_nobody), "tap"},
        {cmocka_unit_test(a_frame_behind_unwanted_ones_is_reached_by_one_burst), ""},
        {cmocka_unit_test(what_the_machine_needs_is_refused_with_what_mends_it), ""},
        {cmocka_unit_test(an_address_that_another_has_is_refused), ""},
        {cmocka_unit_test(a_closed_port_leaves_its_interface_as_it_was), ""},
        {cmocka_unit_test(hop_cost_is_printed), "tap"},
        {cmocka_unit_test(fan_out_cost_is_printed), "tap vhost"},
    };
    int failed = 0;
    for (uint32_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        bool meant = argc <= 2 || strcmp(argv[2], tests[i].test.name) == 0;
        bool runs = (!is_tap() && !is_vhost()) || strstr(tests[i].also, driver) != NULL;
        if (meant && runs) {
            failed += run(&tests[i].test);
        }
    }
    (void)printf("%s: %d tests failed\n", driver, failed);
    return failed == 0 ? 0 : 1;
}
