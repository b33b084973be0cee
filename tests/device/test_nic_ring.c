/* test_nic_ring.c: The DPDK ring nic against the contract of net/nic.h: real ports, real bursts,
 * one process.
 *
 * Groups are opened one after the other in one EAL; every test ends with its group closed and every
 * buffer back in its pool. Prints the cost of one hop, which no test asserts.
 */
#define _GNU_SOURCE /* What DPDK's headers ask for. */
#include "net/headers.h"
#include "net/nic_dpdk.h"
#include "tests/device/nic_cases.h"
#include "tests/device/nic_entries.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ENDPOINTS     NIC_CASES_PORTS
#define BUFFERS_SMALL 256u
#define SLOTS_SMALL   64u
#define HOP_ROUNDS    200000u
#define STORM_ROUNDS  10000u
#define GROUP_ROUNDS  20u
#define SEED          1u

static const struct nic_address addresses[ENDPOINTS] = {
    {.ipv4 = 0x7f000001, .port = 7001},
    {.ipv4 = 0x7f000001, .port = 7002}, /* The same address as the first, another port. */
    {.ipv4 = 0x0a000003, .port = 7003},
    {.ipv4 = 0x0a000004, .port = 7004},
};

static uint32_t group_number; /* As the nic counts them: it is in the names of ports and pools. */

static void group_open(struct nic **nics, uint32_t slots, uint32_t buffers)
{
    struct nic_ring_config config = {
        .addresses = addresses,
        .count = ENDPOINTS,
        .frame_bytes_max = FRAME_BYTES_MAX,
        .slots = slots,
        .buffers = buffers,
    };
    struct fault fault = {0};
    int result = nic_dpdk_ring_open(nics, &config, &fault);
    if (result != 0) {
        fail_msg("%s", fault.text);
    }
}

static void group_name(char *name, uint32_t bytes, uint32_t endpoint)
{
    (void)snprintf(name, bytes, "thole%u_%u", group_number, endpoint);
}

static struct rte_mempool *pool_of(uint32_t endpoint)
{
    char name[32];
    group_name(name, sizeof(name), endpoint);
    struct rte_mempool *pool = rte_mempool_lookup(name);
    assert_non_null(pool);
    return pool;
}

/* Throw away what waits at every endpoint, look for lost buffers, close. */
static void group_close(struct nic **nics)
{
    struct nic_cases cases = {0};
    memcpy(cases.nics, nics, sizeof(cases.nics));
    nic_case_drain(&cases);
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        assert_int_equal(rte_mempool_in_use_count(pool_of(i)), 0);
    }
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        nic_close(nics[i]);
    }
    group_number++;
}

static struct nic_cases cases_of(struct nic **nics)
{
    struct nic_cases cases = {
        .in_order = true,
        .storm_rounds = STORM_ROUNDS,
        .hop_rounds = HOP_ROUNDS,
        .thread_enter = nic_dpdk_thread_enter,
        .thread_leave = nic_dpdk_thread_leave,
    };
    memcpy(cases.nics, nics, sizeof(cases.nics));
    return cases;
}

static void every_frame_size_arrives_whole(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    group_open(nics, 0, 0);
    struct nic_cases cases = cases_of(nics);
    nic_case_every_frame_size_arrives_whole(&cases);
    group_close(nics);
}

static void entries_of_every_fragment_count_arrive_whole(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    group_open(nics, 0, 0);
    struct nic_cases cases = cases_of(nics);
    nic_case_entries_of_every_fragment_count_arrive_whole(&cases, false);
    nic_case_entries_of_every_fragment_count_arrive_whole(&cases, true);
    group_close(nics);
}

static void a_mixed_burst_reaches_each_destination_in_order(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    group_open(nics, 0, 0);
    struct nic_cases cases = cases_of(nics);
    nic_case_a_mixed_burst_reaches_each_destination(&cases);
    group_close(nics);
}

static void an_overflow_loses_frames_and_recovers(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    group_open(nics, 0, 0);
    struct nic_cases cases = cases_of(nics);
    nic_case_an_overflow_loses_frames_and_recovers(&cases);
    group_close(nics);
}

static void a_full_ring_takes_part_of_a_burst_and_counts_the_rest(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    group_open(nics, SLOTS_SMALL, 0);
    uint8_t byte = 1;
    struct nic_send sends[TX_BURST_MAX];
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        sends[i] = (struct nic_send){.to = addresses[1], .head = &byte, .head_bytes = 1};
    }
    uint32_t taken = 0;
    for (uint32_t i = 0; i < 5; i++) {
        taken += nic_tx_burst(nics[0], sends, 25);
    }
    assert_int_equal(taken, SLOTS_SMALL);
    assert_int_equal(nics[0]->counters.tx_frames, SLOTS_SMALL);
    assert_int_equal(nics[0]->counters.tx_dropped, 5 * 25 - SLOTS_SMALL);
    /* Another destination is not held up. */
    sends[0].to = addresses[2];
    assert_int_equal(nic_tx_burst(nics[0], sends, 1), 1);
    group_close(nics);
}

static void an_exhausted_pool_drops_and_recovers(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    group_open(nics, 1024, BUFFERS_SMALL);
    uint8_t byte = 1;
    struct nic_send sends[TX_BURST_MAX];
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        sends[i] = (struct nic_send){.to = addresses[1], .head = &byte, .head_bytes = 1};
    }
    for (uint32_t round = 0; round < 3; round++) {
        uint32_t taken = 0;
        for (uint32_t i = 0; i < 20; i++) {
            taken += nic_tx_burst(nics[0], sends, TX_BURST_MAX);
        }
        assert_int_equal(taken, BUFFERS_SMALL);
        assert_true(nics[0]->counters.tx_no_buffer > 0);
        assert_int_equal(nics[0]->counters.tx_no_buffer, nics[0]->counters.tx_dropped);
        /* Other endpoints have buffers of their own. */
        assert_int_equal(nic_tx_burst(nics[2], sends, 1), 1);
        uint32_t received = 0;
        struct nic_frame frames[RX_BURST_MAX];
        uint32_t count = nic_rx_burst(nics[1], frames, RX_BURST_MAX);
        while (count > 0) {
            received += count;
            nic_rx_release(nics[1], frames, count);
            count = nic_rx_burst(nics[1], frames, RX_BURST_MAX);
        }
        assert_int_equal(received, BUFFERS_SMALL + 1);
    }
    group_close(nics);
}

static void an_unknown_destination_is_dropped_and_counted(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    group_open(nics, 0, 0);
    uint8_t byte = 1;
    struct nic_send sends[2] = {
        {.to = {.ipv4 = 0x0a0000ff, .port = 1}, .head = &byte, .head_bytes = 1},
        {.to = addresses[1], .head = &byte, .head_bytes = 1},
    };
    assert_int_equal(nic_tx_burst(nics[0], sends, 2), 1);
    assert_int_equal(nics[0]->counters.tx_unknown, 1);
    assert_int_equal(nics[0]->counters.tx_dropped, 1);
    group_close(nics);
}

/* Put raw bytes on the wire to endpoint 1, past everything the nic checks when it sends. */
static void raw_send(const uint8_t *packet, uint32_t bytes, uint32_t segments)
{
    char name[48] = "net_ring_";
    group_name(name + 9, sizeof(name) - 9, 0);
    uint16_t port;
    assert_int_equal(rte_eth_dev_get_port_by_name(name, &port), 0);
    struct rte_mbuf *first = NULL;
    for (uint32_t i = 0; i < segments; i++) {
        struct rte_mbuf *buffer = rte_pktmbuf_alloc(pool_of(0));
        assert_non_null(buffer);
        char *room = rte_pktmbuf_append(buffer, (uint16_t)bytes);
        assert_non_null(room);
        memcpy(room, packet, bytes);
        if (first == NULL) {
            first = buffer;
        } else {
            assert_int_equal(rte_pktmbuf_chain(first, buffer), 0);
        }
    }
    assert_int_equal(rte_eth_tx_burst(port, 1, &first, 1), 1);
}

static void foreign_frames_are_counted_and_freed(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    group_open(nics, 0, BUFFERS_SMALL);
    struct headers_end from = {headers_mac_of(addresses[0].ipv4), addresses[0]};
    struct headers_end to = {headers_mac_of(addresses[1].ipv4), addresses[1]};
    uint8_t packet[HEADERS_BYTES + 8] = {0};
    struct nic_frame frame;

    headers_build(packet, &from, &to, 8);
    packet[12] = 0x08;
    packet[13] = 0x06; /* ARP */
    raw_send(packet, sizeof(packet), 1);
    headers_build(packet, &from, &to, 8);
    packet[24] ^= 1; /* Checksum */
    raw_send(packet, sizeof(packet), 1);
    to.address.port = 9;
    headers_build(packet, &from, &to, 8);
    raw_send(packet, sizeof(packet), 1);
    to.address.port = addresses[1].port;
    headers_build(packet, &from, &to, 9); /* One more than there is. */
    raw_send(packet, sizeof(packet), 1);
    headers_build(packet, &from, &to, 8);
    raw_send(packet, sizeof(packet), 2); /* Chained. */
    raw_send(packet, 1, 1);
    assert_int_equal(nic_rx_burst(nics[1], &frame, 1), 0);
    while (nics[1]->counters.rx_short < 2) {
        assert_int_equal(nic_rx_burst(nics[1], &frame, 1), 0);
    }
    assert_int_equal(nics[1]->counters.rx_not_ipv4, 1);
    assert_int_equal(nics[1]->counters.rx_checksum, 1);
    assert_int_equal(nics[1]->counters.rx_not_mine, 1);
    assert_int_equal(nics[1]->counters.rx_long, 1);
    assert_int_equal(nics[1]->counters.rx_frames, 0);
    group_close(nics);
}

static void groups_open_and_close_many_times(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < GROUP_ROUNDS; i++) {
        struct nic *nics[ENDPOINTS];
        group_open(nics, 0, 0);
        uint8_t byte = 1;
        struct nic_send send = {.to = addresses[1], .head = &byte, .head_bytes = 1};
        assert_int_equal(nic_tx_burst(nics[0], &send, 1), 1);
        nic_close(nics[1]); /* Its frame is still in the ring. */
        assert_int_equal(nic_tx_burst(nics[0], &send, 1), 1);
        nic_close(nics[3]);
        nic_close(nics[0]);
        nic_close(nics[2]);
        group_number++;
    }
}

static void too_large_a_group_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    struct nic_ring_config config = {
        .addresses = addresses,
        .count = ENDPOINTS,
        .frame_bytes_max = FRAME_BYTES_MAX,
        .buffers = 1u << 19,
    };
    struct fault fault = {0};
    assert_true(nic_dpdk_ring_open(nics, &config, &fault) < 0);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "MiB"));
    group_number++;
    group_open(nics, 0, 0); /* Nothing of it is left. */
    group_close(nics);
}

static void two_threads_send_to_each_other_without_loss_of_a_buffer(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    group_open(nics, 0, 0);
    struct nic_cases cases = cases_of(nics);
    (void)nic_case_two_threads_send_to_each_other(&cases, SEED);
    group_close(nics); /* Every buffer is back. */
}

static void hop_cost_is_printed(void **state)
{
    (void)state;
    struct nic *nics[ENDPOINTS];
    group_open(nics, 0, 0);
    struct nic_cases cases = cases_of(nics);
    nic_case_print_hops(&cases, "ring");
    group_close(nics);
}

static int eal_end(void **state)
{
    (void)state;
    nic_dpdk_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_size_arrives_whole),
        cmocka_unit_test(entries_of_every_fragment_count_arrive_whole),
        cmocka_unit_test(a_mixed_burst_reaches_each_destination_in_order),
        cmocka_unit_test(an_overflow_loses_frames_and_recovers),
        cmocka_unit_test(a_full_ring_takes_part_of_a_burst_and_counts_the_rest),
        cmocka_unit_test(an_exhausted_pool_drops_and_recovers),
        cmocka_unit_test(an_unknown_destination_is_dropped_and_counted),
        cmocka_unit_test(foreign_frames_are_counted_and_freed),
        cmocka_unit_test(groups_open_and_close_many_times),
        cmocka_unit_test(too_large_a_group_is_refused_with_a_reason),
        cmocka_unit_test(two_threads_send_to_each_other_without_loss_of_a_buffer),
        cmocka_unit_test(hop_cost_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, eal_end);
}
