/* test_nic_capture.c: a capture never makes a port wait, and every packet is either in its file or
 * counted: under a flood that no writer keeps up with, and when the file cannot be written.
 *
 * The port is a kernel socket's, of which a capture needs the address alone.
 */
#define _GNU_SOURCE
#include "net/headers.h"
#include "net/nic_dpdk.h"
#include "net/nic_dpdk_capture.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define BURSTS_MAX   2000000u
#define BODY_BYTES   1000u
#define PACKET_BLOCK 6u
#define PATH         "capture.pcapng"

struct flood {
    struct nic nic;
    struct capture *capture;
    struct capture_report report;
    uint64_t offered;
};

static void flood_open(struct flood *flood, const char *options)
{
    char text[64];
    struct capture_file file;
    struct fault fault = {0};
    (void)unlink(PATH);
    (void)snprintf(text, sizeof text, PATH "%s", options);
    assert_true(capture_file_parse(text, &file));
    assert_int_equal(capture_file_open(&file, &fault), 0);
    *flood = (struct flood){.nic = {.self = {0x7f000001, 7001}, .frame_bytes_max = 8192}};
    if (nic_dpdk_capture_open(&flood->capture, &flood->nic, &file, &fault) != 0) {
        fail_msg("%s", fault.text);
    }
    assert_ptr_equal(flood->nic.capture, flood->capture);
    assert_int_equal(file.fd, -1);
}

static void flood_burst(struct flood *flood)
{
    static const uint8_t head[88] = {1};
    static const uint8_t body[BODY_BYTES] = {2};
    struct nic_send sends[TX_BURST_MAX];
    for (uint32_t i = 0; i < TX_BURST_MAX; i++) {
        sends[i] = (struct nic_send){.to = {0x7f000001, 7002},
                                     .head = head,
                                     .body = body,
                                     .head_bytes = sizeof head,
                                     .body_bytes = sizeof body};
    }
    flood->capture->sent(flood->capture, &flood->nic, sends, TX_BURST_MAX);
    flood->offered += TX_BURST_MAX;
}

static void flood_close(struct flood *flood)
{
    nic_dpdk_capture_close(flood->capture, &flood->nic, &flood->report);
    assert_null(flood->nic.capture);
}

/* Walk the file's blocks: all are whole; returns how many are packets. */
static uint64_t file_packets(uint64_t file_bytes)
{
    FILE *file = fopen(PATH, "rbe");
    assert_non_null(file);
    uint64_t packets = 0;
    uint64_t at = 0;
    while (at < file_bytes) {
        uint32_t words[2];
        uint32_t again = 0;
        assert_int_equal(fread(words, sizeof words, 1, file), 1);
        assert_true(words[1] >= 12 && at + words[1] <= file_bytes);
        assert_int_equal(fseek(file, (long)words[1] - 12, SEEK_CUR), 0);
        assert_int_equal(fread(&again, sizeof again, 1, file), 1);
        assert_int_equal(again, words[1]);
        packets += words[0] == PACKET_BLOCK;
        at += words[1];
    }
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    return packets;
}

/* Every packet is in the file, or counted as dropped. */
static void flood_adds_up(const struct flood *flood)
{
    const struct capture_report *report = &flood->report;
    assert_int_equal(file_packets(report->file_bytes), report->written);
    assert_int_equal(report->written + report->dropped_behind + report->dropped_full,
                     flood->offered);
}

static void flood_is_in_the_file_or_counted_packet_by_packet(void **state)
{
    (void)state;
    struct flood flood;
    flood_open(&flood, ",size=64MiB,snap=128");
    const struct capture_counters *counters = &flood.capture->counters;
    struct timespec begin;
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    uint32_t bursts = 0;
    /* Until its writer has fallen behind once. */
    while (counters->dropped_behind == 0 && counters->dropped_full == 0 && bursts < BURSTS_MAX) {
        flood_burst(&flood);
        bursts++;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(counters->dropped_behind > 0 || counters->dropped_full > 0);
    assert_true(counters->packets > 0);
    flood_close(&flood);
    double ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
    printf("%llu packets offered, %.0f ns each; %llu written, %llu behind, %llu full\n",
           (unsigned long long)flood.offered, ns / (double)flood.offered,
           (unsigned long long)flood.report.written,
           (unsigned long long)flood.report.dropped_behind,
           (unsigned long long)flood.report.dropped_full);
    assert_int_equal(flood.report.error, 0);
    assert_true(flood.report.written > 0);
    flood_adds_up(&flood);
}

static void file_ends_at_a_block_below_its_size(void **state)
{
    (void)state;
    struct flood flood;
    flood_open(&flood, ",size=64KiB");
    while (flood.capture->counters.dropped_full == 0) {
        flood_burst(&flood);
    }
    flood_close(&flood);
    assert_true(flood.report.file_bytes <= 65536);
    assert_true(flood.report.file_bytes > 65536 - 2 * (BODY_BYTES + 1024));
    flood_adds_up(&flood);
}

static void write_that_fails_is_told_and_leaves_whole_blocks(void **state)
{
    (void)state;
    struct flood flood;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    flood_open(&flood, "");
    const struct rlimit small = {100000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    while (flood.capture->counters.dropped_full == 0) {
        flood_burst(&flood);
    }
    flood_close(&flood);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(flood.report.error, EFBIG);
    assert_true(flood.report.written > 0);
    assert_true(flood.report.file_bytes <= 100000);
    flood_adds_up(&flood);
}

static void asked_for_is_what_is_parsed(void **state)
{
    (void)state;
    struct capture_file file;
    assert_true(capture_file_parse("a/b.pcapng", &file));
    assert_string_equal(file.path, "a/b.pcapng");
    assert_int_equal(file.bytes_max, 64u << 20);
    assert_int_equal(file.snap_bytes, CAPTURE_SNAP_MAX);
    assert_true(capture_file_parse("x,snap=64,size=1GiB", &file));
    assert_int_equal(file.bytes_max, 1u << 30);
    assert_int_equal(file.snap_bytes, 64);
    static const char *const wrong[] = {
        "",
        ",size=1MiB",
        "a,",
        "a,size=",
        "a,size=65535",
        "a,snap=63",
        "a,snap=9217",
        "a,snip=64",
        "a,size=2TiB,snap=64",
        "a,snap=64,",
        "a,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (uint32_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(capture_file_parse(wrong[i], &file));
    }
    char longest[CAPTURE_PATH_BYTES + 1];
    memset(longest, 'a', sizeof longest);
    longest[CAPTURE_PATH_BYTES - 1] = '\0';
    assert_true(capture_file_parse(longest, &file));
    longest[CAPTURE_PATH_BYTES - 1] = 'a';
    longest[CAPTURE_PATH_BYTES] = '\0';
    assert_false(capture_file_parse(longest, &file));
}

static int stop(void **state)
{
    (void)state;
    nic_dpdk_stop();
    return unlink(PATH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_for_is_what_is_parsed),
        cmocka_unit_test(flood_is_in_the_file_or_counted_packet_by_packet),
        cmocka_unit_test(file_ends_at_a_block_below_its_size),
        cmocka_unit_test(write_that_fails_is_told_and_leaves_whole_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, stop);
}
