/* test_nic_port.c: Ethernet ports against the contract of net/nic.h, and what an Ethernet adds to
 * it (tests/device/nic_segment.c).
 *
 * Which driver is an argument: af_packet, af_xdp, tap or vhost; the one test to run may follow.
 * Four ports stand on a segment of this process's own (tests/device/segment.h). A tap has no card
 * that was there before, counts no drops, and hands up old frames late, when the next signal comes:
 * what is about cards, drops and age is for the others. vhost is a pair of ports on each other,
 * without a segment.
 */
#define _GNU_SOURCE
#include "net/nic_dpdk.h"
#include "tests/device/nic_entries.h"
#include "tests/device/nic_rig.h"
#include "tests/device/segment.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define XDP_BUFFERS    (PORT_DESCRIPTORS + 40u)
#define PACKET_BUFFERS 40u

/* ---- What every port does ---- */

static void every_frame_size_arrives_whole(void **state)
{
    (void)state;
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    assert_int_equal(cases.nics[0]->frame_bytes_max, 1500 - 28);
    nic_case_every_frame_size_arrives_whole(&cases);
    rig_close(&cases);
}

static void entries_of_every_fragment_count_arrive_whole(void **state)
{
    (void)state;
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    nic_case_entries_of_every_fragment_count_arrive_whole(&cases, false);
    nic_case_entries_of_every_fragment_count_arrive_whole(&cases, true);
    rig_close(&cases);
}

static void a_mixed_burst_reaches_each_destination(void **state)
{
    (void)state;
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    nic_case_a_mixed_burst_reaches_each_destination(&cases);
    rig_close(&cases);
}

static void an_overflow_loses_frames_and_recovers(void **state)
{
    (void)state;
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    nic_case_an_overflow_loses_frames_and_recovers(&cases);
    rig_poll(&cases, 2 * PORT_LOOK_NS / 1000000);
    assert_true(cases.nics[1]->counters.rx_no_buffer > 0);
    assert_int_equal(cases.nics[0]->counters.rx_no_buffer, 0);
    rig_close(&cases);
}

static void two_threads_send_to_each_other(void **state)
{
    (void)state;
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    uint64_t missing = nic_case_two_threads_send_to_each_other(&cases, RIG_SEED);
    print_message("%llu frames waiting or lost\n", (unsigned long long)missing);
    rig_close(&cases);
}

static void hop_cost_is_printed(void **state)
{
    (void)state;
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    nic_case_print_hops(&cases, rig_driver);
    rig_close(&cases);
}

static void fan_out_cost_is_printed(void **state)
{
    (void)state;
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    nic_case_print_fan_out(&cases, rig_driver);
    rig_close(&cases);
}

/* ---- Buffers and sizes ---- */

static void an_exhausted_pool_drops_and_recovers(void **state)
{
    (void)state;
    struct nic_cases cases;
    struct nic_port_config config = {.buffers = rig_is_xdp() ? XDP_BUFFERS : PACKET_BUFFERS};
    rig_open(&cases, &config);
    uint8_t byte = 1;
    struct nic_send sends[TX_BURST_MAX];
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        sends[i] = (struct nic_send){.to = rig_address(0), .head = &byte, .head_bytes = 1};
    }
    assert_int_equal(nic_tx_burst(cases.nics[1], sends, TX_BURST_MAX), TX_BURST_MAX);
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t held = 0;
    for (uint32_t try = 0; try < RIG_POLL_TRIES && held < RX_BURST_MAX; try++) {
        rig_nap(); /* So that one burst takes all. */
        held = nic_rx_burst(cases.nics[0], frames, RX_BURST_MAX);
        if (held < RX_BURST_MAX) {
            nic_rx_release(cases.nics[0], frames, held);
            held = 0;
            assert_int_equal(nic_tx_burst(cases.nics[1], sends, TX_BURST_MAX), TX_BURST_MAX);
        }
    }
    assert_int_equal(held, RX_BURST_MAX);
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        sends[i].to = rig_address(1);
    }
    struct nic_counters *counters = &cases.nics[0]->counters;
    uint32_t sent = nic_tx_burst(cases.nics[0], sends, TX_BURST_MAX);
    assert_in_range(sent, 1, TX_BURST_MAX - 1);
    assert_int_equal(counters->tx_no_buffer, TX_BURST_MAX - sent);
    nic_rx_release(cases.nics[0], frames, held);
    rig_poll(&cases, 5);
    assert_int_equal(nic_tx_burst(cases.nics[0], sends, TX_BURST_MAX / 2), TX_BURST_MAX / 2);
    rig_close(&cases);
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
            .to = rig_address(1),
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
    rig_open(&cases, &rig_plain);
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
    rig_close(&cases);
}

static void a_body_is_pinned_until_the_driver_lets_go(void **state)
{
    (void)state;
    uint16_t pages[TX_BURST_MAX] = {0};
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    uint16_t held = rig_is_external() ? 1 : 0;
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
    rig_close(&cases);
}

static void bodies_beyond_what_may_be_pinned_are_copied(void **state)
{
    (void)state;
    uint16_t pages[TX_BURST_MAX] = {0};
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
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
    assert_in_range(external, rig_is_external() ? 1 : 0, rig_is_external() ? PORT_CHAINS / 2 : 0);
    stubborn_end();
    nic_case_expect_unpinned(&cases, pages, TX_BURST_MAX);
    nic_case_a_mixed_burst_reaches_each_destination(&cases);
    rig_close(&cases);
}

/* The MTU of both ends of every pair, and of the bridge between. */
static void segment_mtu(uint32_t mtu)
{
    for (uint32_t i = 0; i < NIC_CASES_PORTS; i++) {
        char words[RIG_TEXT_BYTES];
        (void)snprintf(words, sizeof(words), "link set p%u mtu %u", i, mtu);
        assert_true(segment_ip(words));
        (void)snprintf(words, sizeof(words), "link set b%u mtu %u", i, mtu);
        assert_true(segment_ip(words));
    }
}

static void a_larger_mtu_carries_larger_frames(void **state)
{
    (void)state;
    uint32_t mtu = rig_is_xdp() ? 3442 : 9000; /* The most that each carries. */
    char options[RIG_TEXT_BYTES];
    char mended[RIG_TEXT_BYTES];
    (void)snprintf(options, sizeof(options), ",mtu=%u", mtu);
    (void)snprintf(mended, sizeof(mended), "ip link set dev p0 mtu %u", mtu);
    struct fault fault = {0};
    struct nic *nic = NULL;
    assert_int_not_equal(rig_try_open(&nic, 0, options, &rig_plain, &fault), 0);
    print_message("%s\n", fault.text);
    assert_non_null(strstr(fault.text, mended));
    segment_mtu(mtu);
    if (rig_is_xdp()) {
        assert_int_not_equal(rig_try_open(&nic, 0, ",mtu=3443", &rig_plain, &fault), 0);
    }
    struct nic_cases cases = {.not_to_itself = true, .external = rig_externals()};
    for (uint32_t i = 0; i < NIC_CASES_PORTS; i++) {
        cases.nics[i] = rig_port_open(i, options, &rig_plain);
    }
    nic_case_meet(&cases);
    assert_int_equal(cases.nics[0]->frame_bytes_max,
                     mtu - 28 < FRAME_BYTES_MAX ? mtu - 28 : FRAME_BYTES_MAX);
    nic_case_every_frame_size_arrives_whole(&cases);
    cases.hop_rounds = RIG_HOP_ROUNDS;
    nic_case_print_fan_out(&cases, rig_driver);
    sink_begin();
    cases.hop_rounds = 100 * RIG_HOP_ROUNDS;
    nic_case_print_fan_out(&cases, "no driver,");
    stubborn_end();
    rig_close(&cases);
    segment_mtu(PORT_MTU_DEFAULT);
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
        int failed = cmocka_run_group_tests_name(rig_driver, tests, NULL, eal_end);
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
    rig_driver = argc > 1 ? argv[1] : rig_driver;
    const char *reason = NULL;
    if (rig_is_tap() && access("/dev/net/tun", R_OK | W_OK) != 0) {
        reason = "/dev/net/tun cannot be opened here";
    }
    reason = reason == NULL && !rig_is_vhost() ? segment_open(rig_is_xdp()) : reason;
    if (reason != NULL) {
        (void)fprintf(stderr, "skipped: %s\n", reason);
        return RIG_SKIPPED;
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
        {cmocka_unit_test(segment_case_a_link_goes_and_comes_back), ""},
        {cmocka_unit_test(segment_case_a_carrier_goes_and_comes_back), ""},
        {cmocka_unit_test(segment_case_a_peer_that_comes_back_on_another_card_is_followed), ""},
        {cmocka_unit_test(segment_case_a_peer_that_comes_late_is_found), "tap"},
        {cmocka_unit_test(segment_case_a_silent_neighbour_is_asked_for_again_and_forgotten), ""},
        {cmocka_unit_test(segment_case_ping_is_answered), "tap"},
        {cmocka_unit_test(segment_case_a_kernel_socket_and_a_port_reach_each_other), "tap"},
        {cmocka_unit_test(segment_case_a_storm_of_foreign_packets_is_counted_and_harms_nobody),
         "tap"},
        {cmocka_unit_test(segment_case_a_frame_behind_unwanted_ones_is_reached_by_one_burst), ""},
        {cmocka_unit_test(segment_case_what_the_machine_needs_is_refused_with_what_mends_it), ""},
        {cmocka_unit_test(segment_case_an_address_that_another_has_is_refused), ""},
        {cmocka_unit_test(segment_case_a_closed_port_leaves_its_interface_as_it_was), ""},
        {cmocka_unit_test(hop_cost_is_printed), "tap"},
        {cmocka_unit_test(fan_out_cost_is_printed), "tap vhost"},
    };
    int failed = 0;
    for (uint32_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        bool meant = argc <= 2 || strcmp(argv[2], tests[i].test.name) == 0;
        bool runs = (!rig_is_tap() && !rig_is_vhost()) || strstr(tests[i].also, rig_driver) != NULL;
        if (meant && runs) {
            failed += run(&tests[i].test);
        }
    }
    (void)printf("%s: %d tests failed\n", rig_driver, failed);
    return failed == 0 ? 0 : 1;
}
