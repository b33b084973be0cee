/* nic_cases.c: see nic_cases.h. */
#define _GNU_SOURCE
#include "tests/device/nic_cases.h"

#include "engine/base/prng.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define RECEIVE_TRIES 100000u
#define HEAD_BYTES    40u
#define MEET_TRIES    1000u
#define OVERFLOW      20000u

/* Ports of the case. */
static uint32_t ports(const struct nic_cases *cases)
{
    return cases->count == 0 ? NIC_CASES_PORTS : cases->count;
}

void nic_case_receive(struct nic *nic, struct nic_frame *frame)
{
    for (uint32_t try = 0; try < RECEIVE_TRIES; try++) {
        if (nic_rx_burst(nic, frame, 1) == 1) {
            return;
        }
        (void)sched_yield();
    }
    fail_msg("no frame after %u tries", RECEIVE_TRIES);
}

void nic_case_drain(const struct nic_cases *cases)
{
    for (uint32_t i = 0; i < ports(cases); i++) {
        struct nic_frame frames[RX_BURST_MAX];
        uint32_t count = nic_rx_burst(cases->nics[i], frames, RX_BURST_MAX);
        while (count > 0) {
            nic_rx_release(cases->nics[i], frames, count);
            count = nic_rx_burst(cases->nics[i], frames, RX_BURST_MAX);
        }
    }
}

void nic_case_fill(uint8_t *bytes, uint32_t count, uint32_t salt)
{
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(i * 31u + salt);
    }
}

/* Whether a frame from one port reaches another within a moment; all are polled meanwhile. */
static bool meet_once(const struct nic_cases *cases, struct nic *from, struct nic *to)
{
    static const uint8_t byte = 1;
    struct nic_send send = {.to = to->self, .head = &byte, .head_bytes = 1};
    (void)nic_tx_burst(from, &send, 1);
    for (uint32_t try = 0; try < 100; try++) {
        uint32_t met = 0;
        for (uint32_t i = 0; i < ports(cases); i++) {
            struct nic_frame frame;
            uint32_t count = nic_rx_burst(cases->nics[i], &frame, 1);
            met += count > 0 && cases->nics[i] == to && nic_address_equal(frame.from, from->self);
            nic_rx_release(cases->nics[i], &frame, count);
        }
        if (met > 0) {
            return true;
        }
        struct timespec nap = {.tv_nsec = 100000};
        (void)nanosleep(&nap, NULL);
    }
    return false;
}

void nic_case_meet(const struct nic_cases *cases)
{
    for (uint32_t pair = 0; pair < ports(cases) * ports(cases); pair++) {
        struct nic *from = cases->nics[pair / ports(cases)];
        struct nic *to = cases->nics[pair % ports(cases)];
        uint32_t try = 0;
        while (from != to && !meet_once(cases, from, to)) {
            assert_in_range(try++, 0, MEET_TRIES);
        }
    }
    nic_case_drain(cases);
}

void nic_case_expect_unpinned(const struct nic_cases *cases, const uint16_t *pages, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t try = 0; pages[i] != 0 && try < RECEIVE_TRIES; try++) {
            for (uint32_t nic = 0; nic < ports(cases); nic++) {
                struct nic_frame frame;
                uint32_t received = nic_rx_burst(cases->nics[nic], &frame, 1);
                nic_rx_release(cases->nics[nic], &frame, received);
            }
        }
        assert_int_equal(pages[i], 0);
    }
}

/* Returns whether the body is to go out from where it is. */
static bool size_case(const struct nic_cases *cases, uint32_t bytes, bool pinned)
{
    static _Alignas(PAGE_BYTES) uint8_t sent[FRAME_BYTES_MAX];
    static uint16_t pages[FRAME_BYTES_MAX / PAGE_BYTES];
    struct nic *to = cases->nics[bytes % ports(cases)];
    uint32_t sender = bytes / ports(cases) % ports(cases);
    if (cases->not_to_itself && sender == bytes % ports(cases)) {
        sender = (sender + 1) % ports(cases);
    }
    struct nic *from = cases->nics[sender];
    nic_case_fill(sent, bytes, bytes);
    uint32_t head_bytes = bytes < HEAD_BYTES ? bytes : HEAD_BYTES;
    uint32_t page_count = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    struct nic_send send = {
        .to = to->self,
        .head = sent,
        .head_bytes = head_bytes,
        .body = bytes > head_bytes ? sent + head_bytes : NULL,
        .body_bytes = bytes - head_bytes,
        .pin = {.pages = pinned ? pages : NULL, .page_count = pinned ? page_count : 0},
    };
    assert_int_equal(nic_tx_burst(from, &send, 1), 1);
    struct nic_frame frame;
    nic_case_receive(to, &frame);
    assert_int_equal(frame.bytes, bytes);
    assert_memory_equal(frame.data, sent, bytes);
    assert_true(nic_address_equal(frame.from, from->self));
    nic_rx_release(to, &frame, 1);
    assert_int_equal(nic_rx_burst(to, &frame, 1), 0);
    nic_case_expect_unpinned(cases, pages, FRAME_BYTES_MAX / PAGE_BYTES);
    return pinned && (cases->external >> sender & 1u) != 0 &&
           bytes - head_bytes >= PORT_EXTERNAL_BYTES;
}

static uint64_t external_sum(const struct nic_cases *cases)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ports(cases); i++) {
        sum += cases->nics[i]->counters.tx_external;
    }
    return sum;
}

void nic_case_every_frame_size_arrives_whole(const struct nic_cases *cases)
{
    uint32_t bytes_max = cases->nics[0]->frame_bytes_max;
    uint64_t before = external_sum(cases);
    uint64_t expected = 0;
    for (uint32_t bytes = 1; bytes <= bytes_max; bytes++) {
        expected += size_case(cases, bytes, false);
    }
    assert_int_equal(external_sum(cases) - before, expected);
    for (uint32_t bytes = 1; bytes <= bytes_max; bytes++) {
        expected += size_case(cases, bytes, true);
    }
    assert_int_equal(external_sum(cases) - before, expected);
}

/* What has arrived at one port: the numbers sent to it, each once. */
static void numbers_check(const struct nic_cases *cases, uint32_t to)
{
    struct nic *nic = cases->nics[to];
    uint32_t seen = 0;
    for (uint32_t i = 0; i < TX_BURST_MAX / ports(cases); i++) {
        struct nic_frame frame;
        nic_case_receive(nic, &frame);
        uint32_t number;
        assert_int_equal(frame.bytes, sizeof(number));
        memcpy(&number, frame.data, sizeof(number));
        assert_in_range(number, 0, TX_BURST_MAX - 1);
        assert_int_equal(number % ports(cases), to);
        assert_int_equal(seen >> number & 1u, 0);
        seen |= 1u << number;
        if (cases->in_order) {
            assert_int_equal(number, to + i * ports(cases));
        }
        nic_rx_release(nic, &frame, 1);
    }
}

void nic_case_a_mixed_burst_reaches_each_destination(const struct nic_cases *cases)
{
    struct nic_send sends[TX_BURST_MAX];
    uint32_t numbers[TX_BURST_MAX];
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        numbers[i] = i;
        sends[i] = (struct nic_send){
            .to = cases->nics[i % ports(cases)]->self,
            .head = (const uint8_t *)&numbers[i],
            .head_bytes = sizeof(numbers[i]),
        };
    }
    uint32_t first = cases->not_to_itself ? 1 : 0; /* Of the destinations that are reached. */
    uint32_t reached = TX_BURST_MAX / ports(cases) * (ports(cases) - first);
    struct nic_counters before = cases->nics[0]->counters;
    assert_int_equal(nic_tx_burst(cases->nics[0], sends, TX_BURST_MAX), reached);
    struct nic_counters after = cases->nics[0]->counters;
    for (uint32_t to = first; to < ports(cases); to++) {
        numbers_check(cases, to);
    }
    assert_int_equal(after.tx_frames - before.tx_frames, reached);
    assert_int_equal(after.tx_bytes - before.tx_bytes, reached * sizeof(numbers[0]));
    assert_int_equal(after.tx_dropped - before.tx_dropped, TX_BURST_MAX - reached);
}

/* ---- Too much ---- */

/* Number `i` and its complement, so that a broken frame shows. */
static uint32_t overflow_send(struct nic *from, struct nic_address to, uint32_t first)
{
    uint32_t words[TX_BURST_MAX][2];
    struct nic_send sends[TX_BURST_MAX];
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        words[i][0] = first + i;
        words[i][1] = ~(first + i);
        sends[i] = (struct nic_send){
            .to = to, .head = (const uint8_t *)words[i], .head_bytes = sizeof(words[i])};
    }
    return nic_tx_burst(from, sends, TX_BURST_MAX);
}

void nic_case_an_overflow_loses_frames_and_recovers(const struct nic_cases *cases)
{
    struct nic *from = cases->nics[0];
    struct nic *to = cases->nics[1];
    struct nic_counters before = from->counters;
    uint64_t sent = 0;
    for (uint32_t first = 0; first < OVERFLOW; first += TX_BURST_MAX) {
        sent += overflow_send(from, to->self, first);
    }
    assert_int_equal(from->counters.tx_frames - before.tx_frames, sent);
    assert_int_equal(from->counters.tx_dropped - before.tx_dropped, OVERFLOW - sent);
    static uint8_t seen[OVERFLOW];
    memset(seen, 0, sizeof(seen));
    uint64_t received = 0;
    for (uint32_t empty = 0; empty < 1000; empty++) {
        struct nic_frame frames[RX_BURST_MAX];
        uint32_t count = nic_rx_burst(to, frames, RX_BURST_MAX);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t words[2];
            assert_int_equal(frames[i].bytes, sizeof(words));
            memcpy(words, frames[i].data, sizeof(words));
            assert_int_equal(words[0], ~words[1]);
            assert_in_range(words[0], 0, OVERFLOW - 1);
            assert_int_equal(seen[words[0]], 0);
            seen[words[0]] = 1;
        }
        nic_rx_release(to, frames, count);
        received += count;
        empty = count > 0 ? 0 : empty;
        (void)sched_yield();
    }
    assert_in_range(received, 1, sent);
    assert_true(received < OVERFLOW);
    nic_case_a_mixed_burst_reaches_each_destination(cases);
}

/* ---- Two threads ---- */

/* A thread sends from its first nic to all, and receives at both of its nics until all have sent.
 */
struct storm {
    const struct nic_cases *cases;
    struct nic *nics[2];
    _Atomic uint32_t *sending_count;
    uint64_t seed;
    uint64_t received;
    uint64_t sent;
    uint64_t broken;
};

static void storm_receive(struct storm *storm, struct nic *nic)
{
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t count = nic_rx_burst(nic, frames, RX_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t words[2] = {0};
        if (frames[i].bytes >= sizeof(words)) {
            memcpy(words, frames[i].data, sizeof(words));
        }
        storm->broken += words[0] != ~words[1];
    }
    nic_rx_release(nic, frames, count);
    storm->received += count;
    if (count == 0) {
        (void)sched_yield();
    }
}

static void storm_send(struct storm *storm, struct prng *prng)
{
    static const uint8_t body[FRAME_BYTES_MAX];
    uint64_t words[TX_BURST_MAX][2];
    struct nic_send sends[TX_BURST_MAX];
    uint32_t count = (uint32_t)prng_between(prng, 1, TX_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        words[i][0] = prng_next(prng);
        words[i][1] = ~words[i][0];
        sends[i] = (struct nic_send){
            .to = storm->cases->nics[prng_below(prng, ports(storm->cases))]->self,
            .head = (const uint8_t *)words[i],
            .head_bytes = sizeof(words[i]),
            .body = body,
            .body_bytes = (uint32_t)prng_below(prng, storm->nics[0]->frame_bytes_max - 16),
        };
    }
    storm->sent += nic_tx_burst(storm->nics[0], sends, count);
}

static void *storm_run(void *argument)
{
    struct storm *storm = argument;
    struct prng prng;
    prng_init(&prng, storm->seed);
    if (storm->cases->thread_enter != NULL) {
        storm->cases->thread_enter();
    }
    for (uint32_t round = 0; round < storm->cases->storm_rounds; round++) {
        storm_send(storm, &prng);
        storm_receive(storm, storm->nics[0]);
        storm_receive(storm, storm->nics[1]);
    }
    atomic_fetch_sub(storm->sending_count, 1);
    while (atomic_load(storm->sending_count) > 0) {
        storm_receive(storm, storm->nics[0]);
        storm_receive(storm, storm->nics[1]);
    }
    if (storm->cases->thread_leave != NULL) {
        storm->cases->thread_leave();
    }
    return NULL;
}

uint64_t nic_case_two_threads_send_to_each_other(const struct nic_cases *cases, uint64_t seed)
{
    print_message("seed %llu\n", (unsigned long long)seed);
    _Atomic uint32_t sending_count = 2;
    struct storm storms[2];
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        storms[i] = (struct storm){
            .cases = cases,
            .nics = {cases->nics[2 * i], cases->nics[2 * i + 1]},
            .sending_count = &sending_count,
            .seed = seed + i,
        };
        assert_int_equal(pthread_create(&threads[i], NULL, storm_run, &storms[i]), 0);
    }
    uint64_t missing = 0;
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(storms[i].broken == 0);
        assert_true(storms[i].sent > 0);
        assert_true(storms[i].received > 0);
        missing += storms[i].sent - storms[i].received;
    }
    assert_true(storms[0].received + storms[1].received <= storms[0].sent + storms[1].sent);
    return missing;
}

/* ---- Cost ---- */

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double hop_ns(const struct nic_cases *cases, uint32_t bytes, uint32_t burst)
{
    static const uint8_t body[FRAME_BYTES_MAX];
    struct nic_send sends[TX_BURST_MAX];
    struct nic_frame frames[RX_BURST_MAX];
    ASSERT(burst > 0);
    for (uint32_t i = 0; i < burst; i++) {
        sends[i] = (struct nic_send){.to = cases->nics[1]->self, .head = body, .head_bytes = bytes};
    }
    uint64_t start_ns = now_ns();
    for (uint32_t i = 0; i < cases->hop_rounds / burst; i++) {
        (void)nic_tx_burst(cases->nics[0], sends, burst);
        uint32_t count = nic_rx_burst(cases->nics[1], frames, burst);
        nic_rx_release(cases->nics[1], frames, count);
    }
    return (double)(now_ns() - start_ns) / cases->hop_rounds;
}

/* Of one frame in the fastest of many bursts of 32, the sending alone: others use the CPU too. The
 * receiver is emptied between. */
static double send_ns(const struct nic_cases *cases, uint32_t bytes, bool pinned)
{
    static _Alignas(PAGE_BYTES) uint8_t body[FRAME_BYTES_MAX];
    static uint16_t pages[FRAME_BYTES_MAX / PAGE_BYTES];
    uint8_t head[HEAD_BYTES] = {0};
    struct nic_send sends[TX_BURST_MAX];
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        sends[i] = (struct nic_send){
            .to = cases->nics[1]->self,
            .head = head,
            .head_bytes = HEAD_BYTES,
            .body = body,
            .body_bytes = bytes,
            .pin = {.pages = pinned ? pages : NULL,
                    .page_count = pinned ? (bytes + PAGE_BYTES - 1) / PAGE_BYTES : 0},
        };
    }
    uint64_t least_ns = UINT64_MAX;
    for (uint32_t i = 0; i < cases->hop_rounds / TX_BURST_MAX; i++) {
        uint64_t start_ns = now_ns();
        (void)nic_tx_burst(cases->nics[0], sends, TX_BURST_MAX);
        uint64_t spent_ns = now_ns() - start_ns;
        least_ns = spent_ns < least_ns ? spent_ns : least_ns;
        nic_case_drain(cases);
    }
    nic_case_expect_unpinned(cases, pages, FRAME_BYTES_MAX / PAGE_BYTES);
    return (double)least_ns / TX_BURST_MAX;
}

void nic_case_print_fan_out(const struct nic_cases *cases, const char *name)
{
    static const uint32_t sizes[] = {64, 256, 512, 1024, 1280, 3200, 7900};
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (sizes[i] + HEAD_BYTES <= cases->nics[0]->frame_bytes_max) {
            print_message("%s send, body of %u bytes: %.0f ns copied, %.0f ns pinned\n", name,
                          sizes[i], send_ns(cases, sizes[i], false),
                          send_ns(cases, sizes[i], true));
        }
    }
}

void nic_case_print_hops(const struct nic_cases *cases, const char *name)
{
    static const uint32_t sizes[] = {64, 1400, 8192};
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (sizes[i] <= cases->nics[0]->frame_bytes_max) {
            print_message("%s hop, one thread, %u bytes: %.0f ns alone, %.0f ns in bursts of 32\n",
                          name, sizes[i], hop_ns(cases, sizes[i], 1), hop_ns(cases, sizes[i], 32));
        }
    }
    nic_case_drain(cases);
    struct nic_frame frame;
    uint64_t start_ns = now_ns();
    for (uint32_t i = 0; i < cases->hop_rounds; i++) {
        assert_int_equal(nic_rx_burst(cases->nics[2], &frame, 1), 0);
    }
    print_message("%s empty rx_burst: %.0f ns\n", name,
                  (double)(now_ns() - start_ns) / cases->hop_rounds);
}
