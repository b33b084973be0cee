/* nic_segment.c: what an Ethernet segment adds to the contract of net/nic.h: links that go and
 * cards that change, the kernel, strangers, and what a port refuses to take over.
 */
#define _GNU_SOURCE
#include "net/arp.h"
#include "net/nic_dpdk.h"
#include "tests/device/nic_rig.h"
#include "tests/device/segment.h"

#include "engine/base/prng.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
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
#include <unistd.h>

#include <cmocka.h>

#define FOREIGN_COUNT 4000u
#define FOREIGN_BYTES 1514u
#define FRESH_NS      100000000u
#define SETTLE_NAPS   50u /* Until what was sent is there. */

/* ---- Links and cards ---- */

/* Take the link of port 1 away with one word, and give it back with another. */
static void link_case(const char *take, const char *give)
{
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    uint8_t byte = 1;
    struct nic_send to_it = {.to = rig_address(1), .head = &byte, .head_bytes = 1};
    struct nic_send from_it = {.to = rig_address(0), .head = &byte, .head_bytes = 1};
    assert_true(segment_ip(take));
    uint32_t tries = 0;
    while (cases.nics[1]->counters.link_losses == 0) {
        assert_in_range(tries++, 0, RIG_POLL_TRIES);
        (void)nic_tx_burst(cases.nics[0], &to_it, 1);
        (void)nic_tx_burst(cases.nics[1], &from_it, 1);
        rig_poll(&cases, 1);
    }
    assert_true(segment_ip(give));
    nic_case_meet(&cases);
    nic_case_a_mixed_burst_reaches_each_destination(&cases);
    assert_int_equal(cases.nics[0]->counters.link_losses, 0);
    rig_close(&cases);
}

void segment_case_a_link_goes_and_comes_back(void **state)
{
    (void)state;
    link_case("link set p1 down", "link set p1 up");
}

void segment_case_a_carrier_goes_and_comes_back(void **state)
{
    (void)state;
    link_case("link set b1 down", "link set b1 up"); /* The other end. */
}

void segment_case_a_peer_that_comes_back_on_another_card_is_followed(void **state)
{
    (void)state;
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    uint64_t moved = cases.nics[0]->counters.neighbours_moved;
    nic_close(cases.nics[1]);
    struct nic_port_config config = {.self = rig_address(1)};
    cases.nics[1] = rig_port_open(SEGMENT_SPARE, "", &config); /* Says so to all. */
    rig_poll(&cases, 5);
    assert_int_equal(cases.nics[0]->counters.neighbours_moved, moved + 1);
    uint64_t unresolved = cases.nics[0]->counters.tx_unresolved;
    nic_case_meet(&cases);
    assert_int_equal(cases.nics[0]->counters.tx_unresolved, unresolved);
    rig_close(&cases);
}

void segment_case_a_peer_that_comes_late_is_found(void **state)
{
    (void)state;
    struct nic *first = rig_port_open(0, "", &rig_plain);
    uint8_t byte = 1;
    struct nic_send send = {.to = rig_address(1), .head = &byte, .head_bytes = 1};
    for (uint32_t i = 0; i < 100; i++) {
        struct nic_frame frame;
        assert_int_equal(nic_tx_burst(first, &send, 1), 0);
        assert_int_equal(nic_rx_burst(first, &frame, 1), 0);
        rig_nap();
    }
    assert_int_equal(first->counters.tx_unresolved, 100);
    assert_in_range(first->counters.tx_arp, 3, 30); /* Asked now and then, not for every frame. */
    struct nic_cases cases = {.not_to_itself = true, .nics = {first}};
    for (uint32_t i = 1; i < NIC_CASES_PORTS; i++) {
        cases.nics[i] = rig_port_open(i, "", &rig_plain);
    }
    nic_case_meet(&cases);
    rig_close(&cases);
}

void segment_case_a_silent_neighbour_is_asked_for_again_and_forgotten(void **state)
{
    (void)state;
    struct nic_cases cases;
    struct nic_port_config config = {.fresh_ns = FRESH_NS};
    rig_open(&cases, &config);
    uint8_t byte = 1;
    struct nic_send send = {.to = rig_address(1), .head = &byte, .head_bytes = 1};
    nic_case_meet(&cases);
    struct timespec time = {.tv_nsec = FRESH_NS + FRESH_NS / 4};
    (void)nanosleep(&time, NULL);
    nic_case_drain(&cases);
    uint64_t asked = cases.nics[0]->counters.tx_arp;
    (void)nic_tx_burst(cases.nics[0], &send, 1);
    assert_in_range(cases.nics[0]->counters.tx_arp, asked + 1, asked + 1);
    rig_poll(&cases, 5); /* Its answer. */
    time.tv_nsec = 3 * FRESH_NS;
    (void)nanosleep(&time, NULL);
    struct nic_frame frame;
    assert_int_equal(nic_rx_burst(cases.nics[0], &frame, 1), 0);
    uint64_t unresolved = cases.nics[0]->counters.tx_unresolved;
    assert_int_equal(nic_tx_burst(cases.nics[0], &send, 1), 0);
    assert_int_equal(cases.nics[0]->counters.tx_unresolved, unresolved + 1);
    nic_case_meet(&cases);
    rig_close(&cases);
}

/* ---- The kernel, and strangers ---- */

void segment_case_ping_is_answered(void **state)
{
    (void)state;
    struct nic *nic = rig_port_open(0, "", &rig_plain);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)execlp("ping", "ping", "-q", "-c", "3", "-i", "0.1", "-W", "5", "-s", "1400",
                     "10.9.0.1", (char *)NULL);
        _exit(RIG_SKIPPED);
    }
    int status = 0;
    pid_t ended = 0;
    for (uint32_t try = 0; try < 4 * RIG_POLL_TRIES && ended == 0; try++) {
        struct nic_frame frame;
        assert_int_equal(nic_rx_burst(nic, &frame, 1), 0);
        rig_nap();
        ended = waitpid(child, &status, WNOHANG);
    }
    uint64_t echoes = nic->counters.rx_echoes;
    nic_close(nic);
    assert_int_equal(ended, child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == RIG_SKIPPED) {
        skip(); /* No `ping` here. */
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(echoes, 3);
}

void segment_case_a_kernel_socket_and_a_port_reach_each_other(void **state)
{
    (void)state;
    struct nic *nic = rig_port_open(0, "", &rig_plain);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in self = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(SEGMENT_KERNEL_IPV4)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(RIG_PORT),
                             .sin_addr.s_addr = htonl(rig_address(0).ipv4)};
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

void segment_case_a_storm_of_foreign_packets_is_counted_and_harms_nobody(void **state)
{
    (void)state;
    print_message("seed %u\n", RIG_SEED);
    struct nic_cases cases;
    rig_open(&cases, &rig_plain);
    int fd = segment_spoiler_open();
    assert_true(fd >= 0);
    struct prng prng;
    prng_init(&prng, RIG_SEED);
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
    rig_poll(&cases, 20);
    assert_int_equal(cases.nics[0]->counters.rx_frames, frames);
    assert_in_range(refused_sum(&cases.nics[0]->counters) - refused, FOREIGN_COUNT / 2,
                    FOREIGN_COUNT);
    nic_case_a_mixed_burst_reaches_each_destination(&cases);
    (void)close(fd);
    rig_close(&cases);
}

/* The kernel drops them on a packet socket, where they take no room; elsewhere the port does. */
void segment_case_a_frame_behind_unwanted_ones_is_reached_by_one_burst(void **state)
{
    (void)state;
    const struct nic_port_config wants = {
        .accept = {.bytes_min = 100,
                   .word_count = 1,
                   .words = {{.offset = 4, .bytes = {'W', 'A', 'N', 'T'}}}}};
    struct nic *sender = rig_port_open(0, "", &rig_plain);
    struct nic *nic = rig_port_open(1, "", &wants);
    static const uint8_t wanted[4] = {'W', 'A', 'N', 'T'};
    uint8_t bytes[200] = {0};
    struct nic_send send = {.to = nic->self, .head = bytes, .head_bytes = sizeof bytes};
    struct nic_frame frames[RX_BURST_MAX];
    memcpy(bytes + 4, wanted, sizeof wanted);
    for (uint32_t i = 0; i < RIG_POLL_TRIES && nic->counters.rx_frames == 0; i++) { /* They meet. */
        (void)nic_tx_burst(sender, &send, 1);
        rig_nap();
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
        rig_nap();
    }
    uint32_t count = nic_rx_burst(nic, frames, RX_BURST_MAX);
    assert_int_equal(count, 1);
    assert_int_equal(frames[0].bytes, sizeof bytes);
    nic_rx_release(nic, frames, count);
    assert_int_equal(nic->counters.rx_unwanted, rig_is_xdp() ? unwanted : 0);
    assert_int_equal(nic->counters.rx_no_buffer, 0);
    nic_close(sender);
    nic_close(nic);
}

/* ---- Manners ---- */

static void expect_refusal(uint32_t port, const struct nic_port_config *config, const char *word)
{
    struct nic *nic = NULL;
    struct fault fault = {0};
    assert_true(rig_try_open(&nic, port, "", config, &fault) < 0);
    print_message("%s\n", fault.text);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, word));
    assert_null(strchr(fault.text, '\n'));
}

void segment_case_what_the_machine_needs_is_refused_with_what_mends_it(void **state)
{
    (void)state;
    struct nic_port_config kernels = {.self = {SEGMENT_KERNEL_IPV4, RIG_PORT}};
    expect_refusal(9, &rig_plain, "thole net ls");
    expect_refusal(0, &kernels, "ip address del 10.9.0.100 dev br0");
    assert_true(segment_ip("link set p0 down"));
    expect_refusal(0, &rig_plain, "ip link set dev p0 up");
    assert_true(segment_ip("link set p0 up"));
    assert_true(segment_ip("route add default dev p0"));
    expect_refusal(0, &rig_plain, ",force");
    struct nic *nic = rig_port_open(0, ",force", &rig_plain);
    nic_close(nic);
    assert_true(segment_ip("route del default dev p0"));
    if (rig_is_xdp()) {
        assert_true(segment_ip("address add 10.9.1.1/24 dev p0"));
        expect_refusal(0, &rig_plain, "ip address flush dev p0");
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
        rig_nap();
    }
    nic_dpdk_thread_leave();
    return NULL;
}

void segment_case_an_address_that_another_has_is_refused(void **state)
{
    (void)state;
    struct server server = {.nic = rig_port_open(0, "", &rig_plain)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, server_run, &server), 0);
    struct nic_port_config same = {.self = rig_address(0)};
    expect_refusal(1, &same, "10.9.0.1 is taken");
    atomic_store(&server.ended, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    nic_close(server.nic);
}

void segment_case_a_closed_port_leaves_its_interface_as_it_was(void **state)
{
    (void)state;
    char before[RIG_TEXT_BYTES];
    char during[RIG_TEXT_BYTES];
    char after[RIG_TEXT_BYTES];
    assert_true(segment_ip("link set p0 promisc on"));
    segment_describe("p0", before, sizeof(before));
    struct nic *nic = rig_port_open(0, "", &rig_plain);
    segment_describe("p0", during, sizeof(during));
    nic_close(nic);
    segment_describe("p0", after, sizeof(after));
    assert_true(strlen(before) > 0);
    assert_string_equal(after, before);
    assert_true((strstr(during, "xdp") != NULL) == rig_is_xdp());
    assert_true(segment_ip("link set p0 promisc off"));
}
