/* test_nic_socket.c: the kernel-socket nic against the contract of net/nic.h, over 127.0.0.1 and on
 * ports that the kernel chooses.
 *
 * The linker puts this file's sendmmsg() and recvmmsg() before the kernel's, so that a case can
 * have the kernel refuse what it would refuse only under pressure. Cases that change an interface
 * or give up privilege are child processes, the first in a network namespace of their own.
 */
#define _GNU_SOURCE
#include "net/nic_socket.h"
#include "tests/device/nic_cases.h"
#include "tests/device/nic_entries.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LOOPBACK       0x7f000001u
#define SEED           1u
#define STORM_ROUNDS   2000u
#define HOP_ROUNDS     8000u
#define OVERFLOW_SENDS 2000u
#define OPEN_ROUNDS    20u
#define POLL_MS        5000
#define MEMORY_BYTES   (512u * 1024u)
#define HEAD_BYTES     28u
#define NOBODY         65534u
#define MTU_SMALL      1400
#define MTU_SMALLER    1300
#define CHILD_SKIPPED  77

/* ---- A kernel that refuses ---- */

/* Under the names that the linker knows them by. */
int kernel_sendmmsg(int fd,
                    struct mmsghdr *messages,
                    unsigned int count,
                    int flags) __asm__("__real_sendmmsg");
int kernel_recvmmsg(int fd,
                    struct mmsghdr *messages,
                    unsigned int count,
                    int flags,
                    struct timespec *timeout) __asm__("__real_recvmmsg");
int refusing_sendmmsg(int fd,
                      struct mmsghdr *messages,
                      unsigned int count,
                      int flags) __asm__("__wrap_sendmmsg");
int refusing_recvmmsg(int fd,
                      struct mmsghdr *messages,
                      unsigned int count,
                      int flags,
                      struct timespec *timeout) __asm__("__wrap_recvmmsg");

/* Take `after` messages, then fail once with `error`. 0: the kernel alone decides. */
static struct {
    int send_error;
    int receive_error;
    unsigned int after;
} refusal;

int refusing_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
    if (refusal.send_error == 0) {
        return kernel_sendmmsg(fd, messages, count, flags);
    }
    if (refusal.after > 0) {
        unsigned int taken = refusal.after < count ? refusal.after : count;
        refusal.after = 0;
        return kernel_sendmmsg(fd, messages, taken, flags);
    }
    errno = refusal.send_error;
    refusal.send_error = 0;
    return -1;
}

int refusing_recvmmsg(
    int fd, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout)
{
    if (refusal.receive_error != 0) {
        errno = refusal.receive_error;
        refusal.receive_error = 0;
        return -1;
    }
    return kernel_recvmmsg(fd, messages, count, flags, timeout);
}

/* ---- Ports ---- */

static struct mem memories[NIC_CASES_PORTS];

static void ports_open(struct nic_cases *cases, const struct nic_socket_config *config)
{
    *cases = (struct nic_cases){.storm_rounds = STORM_ROUNDS, .hop_rounds = HOP_ROUNDS};
    for (uint32_t i = 0; i < NIC_CASES_PORTS; i++) {
        struct fault fault = {0};
        assert_int_equal(mem_open(&memories[i], nic_socket_memory_bytes()), 0);
        if (nic_socket_open(&cases->nics[i], &memories[i], config, &fault) != 0) {
            fail_msg("%s", fault.text);
        }
        mem_seal(&memories[i]);
    }
}

static void ports_close(const struct nic_cases *cases)
{
    nic_case_drain(cases);
    for (uint32_t i = 0; i < NIC_CASES_PORTS; i++) {
        nic_close(cases->nics[i]);
        mem_close(&memories[i]);
    }
}

static const struct nic_socket_config plain = {.bind = {.ipv4 = LOOPBACK}};

/* A plain kernel socket on loopback, and where it is. */
static int foreign_open(struct nic_address *self)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_true(fd >= 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(LOOPBACK)};
    socklen_t bytes = sizeof(address);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    *self = (struct nic_address){LOOPBACK, ntohs(address.sin_port)};
    return fd;
}

static void foreign_send(int fd, struct nic_address to, const void *data, uint32_t bytes)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(to.port),
        .sin_addr.s_addr = htonl(to.ipv4),
    };
    ssize_t sent = sendto(fd, data, bytes, 0, (const struct sockaddr *)&address, sizeof(address));
    assert_int_equal(sent, bytes);
}

/* `count` sends of one byte each to `to`. */
static void sends_fill(struct nic_send *sends, uint32_t count, struct nic_address to)
{
    static const uint8_t byte = 1;
    for (uint32_t i = 0; i < count; i++) {
        sends[i] = (struct nic_send){.to = to, .head = &byte, .head_bytes = 1};
    }
}

static void expect_frames(struct nic *nic, uint32_t count)
{
    struct nic_frame frame;
    for (uint32_t i = 0; i < count; i++) {
        nic_case_receive(nic, &frame);
        nic_rx_release(nic, &frame, 1);
    }
    assert_int_equal(nic_rx_burst(nic, &frame, 1), 0);
}

/* ---- What every port does ---- */

static void every_frame_size_arrives_whole(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    assert_int_equal(cases.nics[0]->frame_bytes_max, FRAME_BYTES_MAX);
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
    struct nic_socket_config config = plain;
    config.rx_buffer_bytes = 65536;
    ports_open(&cases, &config);
    nic_case_an_overflow_loses_frames_and_recovers(&cases);
    ports_close(&cases);
}

static void two_threads_send_to_each_other(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    uint64_t missing = nic_case_two_threads_send_to_each_other(&cases, SEED);
    print_message("%llu frames waiting or dropped by the kernel\n", (unsigned long long)missing);
    ports_close(&cases);
}

static void hop_cost_is_printed(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    nic_case_print_hops(&cases, "socket");
    ports_close(&cases);
}

/* ---- Receiving ---- */

static void a_foreign_sender_is_heard_and_answered(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    struct nic_address client;
    int fd = foreign_open(&client);
    foreign_send(fd, cases.nics[0]->self, "hello", 5);
    struct nic_frame frame;
    nic_case_receive(cases.nics[0], &frame);
    assert_int_equal(frame.bytes, 5);
    assert_memory_equal(frame.data, "hello", 5);
    assert_true(nic_address_equal(frame.from, client));
    struct nic_send send = {
        .to = frame.from,
        .head = (const uint8_t *)"he",
        .head_bytes = 2,
        .body = (const uint8_t *)"re",
        .body_bytes = 2,
    };
    nic_rx_release(cases.nics[0], &frame, 1);
    assert_int_equal(nic_tx_burst(cases.nics[0], &send, 1), 1);
    char answer[8];
    assert_int_equal(recv(fd, answer, sizeof(answer), 0), 4);
    assert_memory_equal(answer, "here", 4);
    (void)close(fd);
    ports_close(&cases);
}

static void a_datagram_longer_or_shorter_than_a_frame_is_dropped_and_counted(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    static uint8_t bytes[60000];
    struct nic_address client;
    int fd = foreign_open(&client);
    struct nic *nic = cases.nics[0];
    foreign_send(fd, nic->self, bytes, FRAME_BYTES_MAX + 1);
    foreign_send(fd, nic->self, bytes, FRAME_BYTES_MAX);
    foreign_send(fd, nic->self, bytes, 0);
    foreign_send(fd, nic->self, bytes, sizeof(bytes));
    foreign_send(fd, nic->self, bytes, 1);
    struct nic_frame frame;
    nic_case_receive(nic, &frame);
    assert_int_equal(frame.bytes, FRAME_BYTES_MAX);
    nic_rx_release(nic, &frame, 1);
    nic_case_receive(nic, &frame);
    assert_int_equal(frame.bytes, 1);
    nic_rx_release(nic, &frame, 1);
    assert_int_equal(nic->counters.rx_long, 2);
    assert_int_equal(nic->counters.rx_short, 1);
    assert_int_equal(nic->counters.rx_frames, 2);
    assert_int_equal(nic->counters.rx_bytes, FRAME_BYTES_MAX + 1);
    (void)close(fd);
    ports_close(&cases);
}

static void an_overflowing_receive_buffer_drops_counts_and_recovers(void **state)
{
    (void)state;
    struct nic_cases cases;
    struct nic_socket_config config = plain;
    config.rx_buffer_bytes = 16384;
    ports_open(&cases, &config);
    struct nic *nic = cases.nics[1];
    assert_true(nic_socket_facts(nic).rx_buffer_bytes < NIC_SOCKET_BYTES);
    struct nic_send sends[TX_BURST_MAX];
    sends_fill(sends, TX_BURST_MAX, nic->self);
    uint64_t sent = 0;
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < OVERFLOW_SENDS / TX_BURST_MAX; i++) {
            sent += nic_tx_burst(cases.nics[0], sends, TX_BURST_MAX);
        }
        nic_case_drain(&cases);
        /* The drops are told with the next frame. */
        sent += nic_tx_burst(cases.nics[0], sends, 1);
        expect_frames(nic, 1);
        assert_true(nic->counters.rx_no_buffer > 0);
        assert_int_equal(nic->counters.rx_frames + nic->counters.rx_no_buffer, sent);
    }
    ports_close(&cases);
}

static void what_is_not_wanted_wakes_nobody_and_leaves_the_room_to_frames(void **state)
{
    (void)state;
    struct nic_cases cases;
    struct nic_socket_config config = plain;
    config.rx_buffer_bytes = 16384;
    config.accept = (struct nic_accept){
        .bytes_min = 100, .word_count = 1, .words = {{.offset = 4, .bytes = {'W', 'A', 'N', 'T'}}}};
    ports_open(&cases, &config);
    struct nic *nic = cases.nics[1];
    struct pollfd wait = {.fd = nic_wait_fd(nic), .events = POLLIN};
    struct nic_address foreign;
    int fd = foreign_open(&foreign);
    static const uint8_t wanted[4] = {'W', 'A', 'N', 'T'};
    uint8_t bytes[200] = {0};
    for (uint32_t i = 0; i < OVERFLOW_SENDS; i++) {
        foreign_send(fd, nic->self, bytes, sizeof bytes);
    }
    memcpy(bytes + 4, wanted, sizeof wanted);
    foreign_send(fd, nic->self, bytes, 99); /* Too short. */
    assert_int_equal(poll(&wait, 1, 0), 0);
    foreign_send(fd, nic->self, bytes, 100);
    foreign_send(fd, nic->self, bytes, sizeof bytes);
    assert_int_equal(poll(&wait, 1, POLL_MS), 1);
    expect_frames(nic, 2);
    assert_int_equal(nic->counters.rx_frames, 2);
    assert_int_equal(nic->counters.rx_bytes, 100 + sizeof bytes);
    assert_int_equal(nic->counters.rx_kernel_drops, OVERFLOW_SENDS + 1);
    assert_int_equal(nic->counters.rx_no_buffer, 0);
    close(fd);
    ports_close(&cases);
}

static void the_descriptor_is_readable_while_a_frame_waits(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    struct pollfd wait = {.fd = nic_wait_fd(cases.nics[1]), .events = POLLIN};
    assert_true(wait.fd >= 0);
    assert_int_equal(poll(&wait, 1, 0), 0);
    struct nic_send sends[2];
    sends_fill(sends, 2, cases.nics[1]->self);
    assert_int_equal(nic_tx_burst(cases.nics[0], sends, 2), 2);
    assert_int_equal(poll(&wait, 1, POLL_MS), 1);
    struct nic_frame frame;
    nic_case_receive(cases.nics[1], &frame);
    nic_rx_release(cases.nics[1], &frame, 1);
    assert_int_equal(poll(&wait, 1, POLL_MS), 1); /* The second one. */
    expect_frames(cases.nics[1], 1);
    assert_int_equal(poll(&wait, 1, 0), 0);
    ports_close(&cases);
}

static void an_error_told_to_a_receive_loses_no_frame(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    struct nic_send sends[2];
    sends_fill(sends, 2, cases.nics[1]->self);
    assert_int_equal(nic_tx_burst(cases.nics[0], sends, 2), 2);
    refusal.receive_error = ECONNREFUSED;
    expect_frames(cases.nics[1], 2);
    assert_int_equal(cases.nics[1]->counters.tx_unknown, 1);
    ports_close(&cases);
}

/* ---- Sending ---- */

static void a_closed_peer_port_does_not_disturb_the_others(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    struct nic_address closed;
    (void)close(foreign_open(&closed));
    struct nic_send sends[TX_BURST_MAX];
    for (uint32_t round = 0; round < 8; round++) {
        sends_fill(sends, TX_BURST_MAX, closed);
        sends_fill(sends + TX_BURST_MAX / 2, 1, cases.nics[1]->self);
        assert_int_equal(nic_tx_burst(cases.nics[0], sends, TX_BURST_MAX), TX_BURST_MAX);
        struct nic_frame frame;
        assert_int_equal(nic_rx_burst(cases.nics[0], &frame, 1), 0);
    }
    expect_frames(cases.nics[1], 8);
    assert_int_equal(cases.nics[0]->counters.tx_dropped, 0);
    ports_close(&cases);
}

static void a_destination_the_kernel_refuses_costs_its_own_frame_only(void **state)
{
    (void)state;
    struct nic_cases cases;
    ports_open(&cases, &plain);
    struct nic_send sends[5];
    sends_fill(sends, 5, cases.nics[1]->self);
    sends[0].to.port = 0;
    sends[2].to = (struct nic_address){0xffffffffu, 9}; /* A broadcast. */
    sends[4].to.port = 0;
    assert_int_equal(nic_tx_burst(cases.nics[0], sends, 5), 2);
    expect_frames(cases.nics[1], 2);
    const struct nic_counters *counters = &cases.nics[0]->counters;
    assert_int_equal(counters->tx_unknown, 3);
    assert_int_equal(counters->tx_dropped, 3);
    assert_int_equal(counters->tx_frames, 2);
    assert_int_equal(counters->tx_bytes, 2);
    ports_close(&cases);
}

static void a_full_send_queue_drops_the_rest_of_the_burst(void **state)
{
    (void)state;
    static const int errors[] = {EAGAIN, ENOBUFS, ENOMEM};
    struct nic_cases cases;
    ports_open(&cases, &plain);
    struct nic_send sends[TX_BURST_MAX];
    sends_fill(sends, TX_BURST_MAX, cases.nics[1]->self);
    for (uint32_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        refusal.after = 5;
        refusal.send_error = errors[i];
        assert_int_equal(nic_tx_burst(cases.nics[0], sends, TX_BURST_MAX), 5);
        expect_frames(cases.nics[1], 5);
        assert_int_equal(cases.nics[0]->counters.tx_no_buffer, (i + 1) * (TX_BURST_MAX - 5));
        assert_int_equal(cases.nics[0]->counters.tx_dropped, (i + 1) * (TX_BURST_MAX - 5));
    }
    ports_close(&cases);
}

static void a_refusal_in_the_middle_of_a_burst_costs_one_frame(void **state)
{
    (void)state;
    static const int errors[] = {ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EPERM, EMSGSIZE, EINTR};
    uint32_t count = sizeof(errors) / sizeof(errors[0]);
    struct nic_cases cases;
    ports_open(&cases, &plain);
    struct nic_send sends[TX_BURST_MAX];
    sends_fill(sends, TX_BURST_MAX, cases.nics[1]->self);
    for (uint32_t i = 0; i < count; i++) {
        refusal.after = i;
        refusal.send_error = errors[i];
        assert_int_equal(nic_tx_burst(cases.nics[0], sends, TX_BURST_MAX), TX_BURST_MAX - 1);
        expect_frames(cases.nics[1], TX_BURST_MAX - 1);
    }
    assert_int_equal(cases.nics[0]->counters.tx_dropped, count);
    assert_int_equal(cases.nics[0]->counters.tx_unknown, count - 2);
    assert_int_equal(cases.nics[0]->counters.tx_no_buffer, 0);
    ports_close(&cases);
}

/* ---- Opening ---- */

static void a_port_is_free_again_after_its_close(void **state)
{
    (void)state;
    struct nic_socket_config config = plain;
    for (uint32_t i = 0; i < OPEN_ROUNDS; i++) {
        struct mem mem;
        struct nic *nic;
        struct fault fault = {0};
        assert_int_equal(mem_open(&mem, nic_socket_memory_bytes()), 0);
        if (nic_socket_open(&nic, &mem, &config, &fault) != 0) {
            fail_msg("%s", fault.text);
        }
        assert_int_not_equal(nic->self.port, 0);
        assert_true(i == 0 || nic_address_equal(nic->self, config.bind));
        config.bind = nic->self;
        nic_close(nic);
        mem_close(&mem);
    }
}

static void the_kernel_says_what_buffers_it_gave(void **state)
{
    (void)state;
    struct nic_cases cases;
    struct nic_socket_config config = plain;
    config.rx_buffer_bytes = 65536;
    config.tx_buffer_bytes = 32768;
    ports_open(&cases, &config);
    struct nic_socket_facts facts = nic_socket_facts(cases.nics[0]);
    assert_int_equal(facts.rx_buffer_bytes, 65536);
    assert_int_equal(facts.tx_buffer_bytes, 32768);
    assert_true(facts.mtu_bytes >= FRAME_BYTES_MAX + HEAD_BYTES);
    ports_close(&cases);
}

/* The open of `config` fails, with `word` in its text, and takes no memory. */
static int refused(const struct nic_socket_config *config, const char *word, struct fault *fault)
{
    struct mem mem;
    struct nic *nic = NULL;
    *fault = (struct fault){0};
    if (mem_open(&mem, MEMORY_BYTES) != 0) {
        return -1;
    }
    int result = nic_socket_open(&nic, &mem, config, fault);
    bool right = result < 0 && nic == NULL && mem.used_bytes == 0 &&
                 fault->code == FAULT_ENVIRONMENT && strstr(fault->text, word) != NULL;
    if (result == 0) {
        nic_close(nic);
    }
    mem_close(&mem);
    return right ? 0 : -1;
}

static void expect_refusal(const struct nic_socket_config *config, const char *word)
{
    struct fault fault;
    if (refused(config, word, &fault) != 0) {
        fail_msg("no '%s' in: %s", word, fault.text);
    }
}

static void an_address_in_use_is_refused_with_what_mends_it(void **state)
{
    (void)state;
    struct nic_socket_config config = plain;
    int fd = foreign_open(&config.bind);
    expect_refusal(&config, "another process has this port");
    expect_refusal(&config, "ss -ulpn");
    (void)close(fd);
}

static void an_address_of_another_machine_is_refused_with_what_mends_it(void **state)
{
    (void)state;
    static const uint32_t addresses[] = {0xcb007107, 0xe0000001, 0xffffffff};
    for (uint32_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct nic_socket_config config = {.bind = {addresses[i], 7001}};
        expect_refusal(&config, "no interface of this machine");
        expect_refusal(&config, "ip -4 -brief address");
    }
}

/* ---- Child processes ---- */

/* Run `child` in a process of its own: 0 passes, 77 skips, else the line that failed. */
static void child_run(int (*child)(void))
{
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(child());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CHILD_SKIPPED) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int privileged_port_child(void)
{
    char first[16] = "1024";
    FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r");
    if (file != NULL) {
        (void)!fgets(first, sizeof(first), file);
        (void)fclose(file);
    }
    if (strtol(first, NULL, 10) <= 9 ||
        (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0)) {
        printf("every port is free to all here, or privilege cannot be given up\n");
        return CHILD_SKIPPED;
    }
    struct nic_socket_config config = {.bind = {LOOPBACK, 9}};
    struct fault fault;
    return refused(&config, "CAP_NET_BIND_SERVICE", &fault) == 0 ? 0 : 1;
}

static void a_privileged_port_is_refused_with_what_mends_it(void **state)
{
    (void)state;
    child_run(privileged_port_child);
}

static int loopback_up(int mtu)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    request.ifr_mtu = mtu;
    int result = ioctl(fd, SIOCSIFMTU, &request);
    request.ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK;
    if (result == 0) {
        result = ioctl(fd, SIOCSIFFLAGS, &request);
    }
    (void)close(fd);
    return result;
}

/* The frame limit of an open in this namespace, 0 when it fails. */
static uint32_t limit_of(const struct nic_socket_config *config)
{
    struct mem mem;
    struct nic *nic;
    struct fault fault;
    if (mem_open(&mem, nic_socket_memory_bytes()) != 0 ||
        nic_socket_open(&nic, &mem, config, &fault) != 0) {
        return 0;
    }
    uint32_t limit = nic->frame_bytes_max;
    nic_close(nic);
    mem_close(&mem);
    return limit;
}

/* Send the largest frame to oneself while the MTU carries it, and once it does not. */
static int small_mtu_send(void)
{
    static uint8_t bytes[FRAME_BYTES_MAX];
    struct mem mem;
    struct nic *nic;
    struct fault fault;
    if (mem_open(&mem, nic_socket_memory_bytes()) != 0 ||
        nic_socket_open(&nic, &mem, &plain, &fault) != 0) {
        return __LINE__ % 256;
    }
    struct nic_send sends[2];
    sends_fill(sends, 2, nic->self);
    sends[0].body = bytes;
    sends[0].body_bytes = nic->frame_bytes_max - 1;
    if (nic_tx_burst(nic, sends, 2) != 2 || loopback_up(MTU_SMALLER) != 0 ||
        nic_tx_burst(nic, sends, 2) != 1 || nic->counters.tx_dropped != 1) {
        return __LINE__ % 256;
    }
    uint32_t received[2] = {0, 0};
    struct pollfd wait = {.fd = nic_wait_fd(nic), .events = POLLIN};
    while (received[0] + received[1] < 3 && poll(&wait, 1, POLL_MS) == 1) {
        struct nic_frame frame;
        if (nic_rx_burst(nic, &frame, 1) == 1) {
            received[frame.bytes == 1]++;
            nic_rx_release(nic, &frame, 1);
        }
    }
    nic_close(nic);
    mem_close(&mem);
    return received[0] == 1 && received[1] == 2 ? 0 : __LINE__ % 256;
}

static int small_mtu_child(void)
{
    if ((unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) ||
        loopback_up(MTU_SMALL) != 0) {
        printf("no network namespace to be had\n");
        return CHILD_SKIPPED;
    }
    struct nic_address peer = {LOOPBACK, 9};
    struct nic_address unreachable = {0xcb007107, 9};
    struct nic_socket_config config = plain;
    uint32_t by_interface = limit_of(&config);
    config.bind.ipv4 = 0;
    uint32_t by_all_interfaces = limit_of(&config);
    config.peers = &unreachable;
    config.peer_count = 1;
    uint32_t without_route = limit_of(&config);
    config.peers = &peer;
    uint32_t by_route = limit_of(&config);
    config.frame_bytes_max = 512;
    uint32_t as_asked = limit_of(&config);
    uint32_t fits = MTU_SMALL - HEAD_BYTES;
    if (by_interface != fits || by_all_interfaces != fits || without_route != fits ||
        by_route != fits || as_asked != 512) {
        return __LINE__ % 256;
    }
    config.frame_bytes_max = 0;
    config.frame_bytes_min = fits;
    if (limit_of(&config) != fits) {
        return __LINE__ % 256;
    }
    config.frame_bytes_min = fits + 1;
    struct fault fault;
    if (refused(&config, "mtu 1401", &fault) != 0) {
        return __LINE__ % 256;
    }
    return small_mtu_send();
}

static void a_small_mtu_lowers_the_frame_limit_and_nothing_is_fragmented(void **state)
{
    (void)state;
    child_run(small_mtu_child);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_size_arrives_whole),
        cmocka_unit_test(entries_of_every_fragment_count_arrive_whole),
        cmocka_unit_test(a_mixed_burst_reaches_each_destination),
        cmocka_unit_test(a_foreign_sender_is_heard_and_answered),
        cmocka_unit_test(a_datagram_longer_or_shorter_than_a_frame_is_dropped_and_counted),
        cmocka_unit_test(an_overflowing_receive_buffer_drops_counts_and_recovers),
        cmocka_unit_test(what_is_not_wanted_wakes_nobody_and_leaves_the_room_to_frames),
        cmocka_unit_test(the_descriptor_is_readable_while_a_frame_waits),
        cmocka_unit_test(an_error_told_to_a_receive_loses_no_frame),
        cmocka_unit_test(a_closed_peer_port_does_not_disturb_the_others),
        cmocka_unit_test(a_destination_the_kernel_refuses_costs_its_own_frame_only),
        cmocka_unit_test(a_full_send_queue_drops_the_rest_of_the_burst),
        cmocka_unit_test(a_refusal_in_the_middle_of_a_burst_costs_one_frame),
        cmocka_unit_test(a_port_is_free_again_after_its_close),
        cmocka_unit_test(the_kernel_says_what_buffers_it_gave),
        cmocka_unit_test(an_address_in_use_is_refused_with_what_mends_it),
        cmocka_unit_test(an_address_of_another_machine_is_refused_with_what_mends_it),
        cmocka_unit_test(a_privileged_port_is_refused_with_what_mends_it),
        cmocka_unit_test(a_small_mtu_lowers_the_frame_limit_and_nothing_is_fragmented),
        cmocka_unit_test(an_overflow_loses_frames_and_recovers),
        cmocka_unit_test(two_threads_send_to_each_other),
        cmocka_unit_test(hop_cost_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
