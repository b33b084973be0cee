/* test_disk_slow.c: the disk that is slowed on request, before a disk that the test holds. */
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "storage/disk_slow.h"
#include "tests/support/disk_model.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DISK_BYTES (2u * DISK_QUEUE_MAX * PAGE_BYTES)
#define MS         1000000u

static uint64_t fake_ns; /* The clock of these tests. */

static uint64_t fake_now_ns(void)
{
    return fake_ns;
}

struct world {
    struct disk_model model;
    struct disk_slow_numbers numbers;
    struct mem mem;
    struct disk *disk;
    uint8_t *page;
};

static struct world w;

static int set_up(void **state)
{
    (void)state;
    fake_ns = 1;
    memset(&w, 0, sizeof w);
    assert_int_equal(disk_model_open(&w.model, DISK_BYTES), 0);
    assert_int_equal(mem_open(&w.mem, disk_slow_memory_bytes() + 4ull * PAGE_BYTES), 0);
    disk_slow_set(&w.numbers, 0, DISK_SLOW_ALL, 7);
    struct disk_slow_config config = {
        .below = &w.model.disk, .numbers = &w.numbers, .now_ns = fake_now_ns};
    struct fault fault = {0};
    assert_int_equal(disk_slow_open(&w.disk, &w.mem, &config, &fault), 0);
    w.page = mem_take(&w.mem, "a page", 1, PAGE_BYTES, PAGE_BYTES);
    w.model.automatic = true;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct disk_done done[DISK_QUEUE_MAX];
    disk_slow_set(&w.numbers, 0, 0, 1);
    while (w.disk->in_flight > 0) {
        (void)disk_poll(w.disk, done, DISK_QUEUE_MAX);
    }
    disk_close(w.disk);
    disk_model_free(&w.model);
    mem_close(&w.mem);
    return 0;
}

static void submit(enum disk_op op, uint64_t cookie)
{
    struct disk_io io = {.op = op,
                         .bytes = PAGE_BYTES,
                         .offset = cookie % (DISK_BYTES / PAGE_BYTES) * PAGE_BYTES,
                         .buffer = w.page,
                         .cookie = cookie};
    assert_int_equal(disk_submit(w.disk, &io, 1), 1);
}

/* The cookie of the next completion, or 0. */
static uint64_t poll_one(void)
{
    struct disk_done done = {0};
    if (disk_poll(w.disk, &done, 1) == 0) {
        return 0;
    }
    assert_int_equal(done.result, 0);
    return done.cookie;
}

static void without_a_delay_a_request_goes_straight_down(void **state)
{
    (void)state;
    assert_false(disk_is_slowed(w.disk));
    assert_false(disk_is_slowed(&w.model.disk));
    assert_true(w.disk->durable);
    assert_int_equal(w.disk->bytes, DISK_BYTES);
    submit(DISK_WRITE, 1);
    assert_int_equal(w.model.disk.in_flight, 1);
    assert_int_equal(poll_one(), 1);
    assert_int_equal(disk_slow_hits(w.disk), 0);
}

static void write_reaches_the_disk_below_only_after_its_delay(void **state)
{
    (void)state;
    disk_slow_set(&w.numbers, 5 * MS, DISK_SLOW_ALL, 7);
    assert_true(disk_is_slowed(w.disk));
    submit(DISK_WRITE, 1);
    fake_ns += 2 * MS;
    submit(DISK_WRITE, 2);
    fake_ns += 3 * MS - 1;
    assert_int_equal(poll_one(), 0);
    assert_int_equal(w.model.write_count, 0);
    fake_ns += 1;
    assert_int_equal(poll_one(), 1);
    assert_int_equal(w.model.write_count, 1);
    fake_ns += 2 * MS - 1;
    assert_int_equal(poll_one(), 0);
    fake_ns += 1;
    assert_int_equal(poll_one(), 2);
    assert_int_equal(disk_slow_hits(w.disk), 2);
}

static void what_is_behind_a_held_write_waits_with_it(void **state)
{
    (void)state;
    disk_slow_set(&w.numbers, 5 * MS, DISK_SLOW_ALL, 7);
    submit(DISK_WRITE, 1);
    disk_slow_set(&w.numbers, 5 * MS, 0, 7);
    submit(DISK_READ, 2);
    submit(DISK_WRITE, 3);
    fake_ns += 5 * MS - 1;
    assert_int_equal(poll_one(), 0);
    fake_ns += 1;
    assert_int_equal(poll_one(), 1);
    assert_int_equal(poll_one(), 2);
    assert_int_equal(poll_one(), 3);
    submit(DISK_READ, 4); /* The stall is over. */
    assert_int_equal(poll_one(), 4);
    assert_int_equal(disk_slow_hits(w.disk), 1);
}

static void reads_alone_are_never_hit(void **state)
{
    (void)state;
    disk_slow_set(&w.numbers, 5 * MS, DISK_SLOW_ALL, 7);
    submit(DISK_READ, 1);
    assert_int_equal(poll_one(), 1);
    assert_int_equal(disk_slow_hits(w.disk), 0);
}

static void turned_off_it_lets_go_of_what_it_holds(void **state)
{
    (void)state;
    disk_slow_set(&w.numbers, DISK_SLOW_NS_MAX, DISK_SLOW_ALL, 7);
    submit(DISK_WRITE, 1);
    fake_ns += 1000ull * MS;
    assert_int_equal(poll_one(), 0);
    disk_slow_set(&w.numbers, 0, DISK_SLOW_ALL, 7);
    assert_false(disk_is_slowed(w.disk));
    assert_int_equal(poll_one(), 1);
}

static void whole_queue_is_held_and_comes_in_order(void **state)
{
    (void)state;
    disk_slow_set(&w.numbers, MS, DISK_SLOW_ALL, 7);
    for (uint64_t round = 0; round < 3; round++) { /* The ring wraps. */
        for (uint64_t i = 0; i < DISK_QUEUE_MAX; i++) {
            submit(DISK_WRITE, 1 + i);
        }
        assert_int_equal(poll_one(), 0);
        fake_ns += MS;
        for (uint64_t i = 0; i < DISK_QUEUE_MAX; i++) {
            assert_int_equal(poll_one(), 1 + i);
        }
        submit(DISK_WRITE, 99);
        fake_ns += MS;
        assert_int_equal(poll_one(), 99);
    }
}

/* Which of 20,000 writes one after another are hit. */
static uint64_t draw(uint64_t seed, uint8_t hit[20000])
{
    disk_slow_set(&w.numbers, MS, 5000, seed);
    uint64_t before = disk_slow_hits(w.disk);
    for (uint32_t i = 0; i < 20000; i++) {
        uint64_t hits = disk_slow_hits(w.disk);
        submit(DISK_WRITE, 1);
        fake_ns += MS;
        assert_int_equal(poll_one(), 1);
        hit[i] = disk_slow_hits(w.disk) > hits;
    }
    return disk_slow_hits(w.disk) - before;
}

static void share_is_drawn_from_the_seed(void **state)
{
    (void)state;
    static uint8_t first[20000];
    static uint8_t other[20000];
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 1126;
    printf("seed %llu\n", (unsigned long long)seed);
    uint64_t count = draw(seed, first);
    assert_in_range(count, 50, 200); /* Half a percent: 100, ten deviations to each side. */
    assert_int_equal(draw(seed, other), count);
    assert_memory_equal(first, other, sizeof first);
    (void)draw(seed + 1, other);
    assert_memory_not_equal(first, other, sizeof first);
}

static bool readable(int timeout_ms)
{
    struct pollfd waited = {.fd = disk_wait_fd(w.disk), .events = POLLIN};
    return poll(&waited, 1, timeout_ms) == 1;
}

static void whoever_waits_wakes_for_a_held_write(void **state)
{
    (void)state;
    fake_ns = clock_now_ns();
    disk_slow_set(&w.numbers, 20 * MS, DISK_SLOW_ALL, 7);
    submit(DISK_WRITE, 1);
    assert_true(readable(-1)); /* Would wait for ever if nothing woke it. */
    assert_true(clock_now_ns() >= fake_ns + 20 * MS);
    fake_ns = clock_now_ns();
    assert_int_equal(poll_one(), 1);
    assert_false(readable(0));
}

static void numbers_of_a_file_are_those_of_whoever_maps_it(void **state)
{
    (void)state;
    char path[] = "/tmp/test-disk-slow-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct disk_slow_numbers *one = NULL;
    struct disk_slow_numbers *other = NULL;
    struct fault fault = {0};
    assert_int_equal(disk_slow_map(path, &one, &fault), 0);
    assert_int_equal(atomic_load(&one->delay_ns), 0);
    disk_slow_set(one, 3 * MS, 17, 5);
    assert_int_equal(disk_slow_map(path, &other, &fault), 0);
    assert_int_equal(atomic_load(&other->delay_ns), 3 * MS);
    assert_int_equal(atomic_load(&other->share), 17);
    assert_int_equal(write(fd, "something", 9), 9);
    assert_int_equal(disk_slow_map(path, &other, &fault), -EINVAL);
    assert_non_null(strstr(fault.text, "name another file"));
    (void)close(fd);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_delay_a_request_goes_straight_down, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(write_reaches_the_disk_below_only_after_its_delay, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_behind_a_held_write_waits_with_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(reads_alone_are_never_hit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(turned_off_it_lets_go_of_what_it_holds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whole_queue_is_held_and_comes_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(share_is_drawn_from_the_seed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whoever_waits_wakes_for_a_held_write, set_up, tear_down),
        cmocka_unit_test(numbers_of_a_file_are_those_of_whoever_maps_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
