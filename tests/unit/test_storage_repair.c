/* test_storage_repair.c: what storage/wal.h promises of pages that are put back in their place. */
#include "storage/scan.h"
#include "tests/support/log_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct log_fixture fixture;
static struct recovery found;
static struct fault fault;

/* A log of entries of two pages, all durable. */
static int fixture_open(void **state)
{
    log_open_disk(&fixture);
    *state = &fixture;
    int result = log_open(&fixture, &found, &fault);
    for (uint32_t i = 0; i < 12 && result == 0; i++) {
        log_append(&fixture, 1, 2);
    }
    return result;
}

static int fixture_close(void **state)
{
    log_close(*state);
    return 0;
}

static uint8_t *entry_of(const struct log_fixture *log, uint64_t index)
{
    return log->bytes + index % LOG_ENTRIES_MAX * ENTRY_BYTES_MAX;
}

static void poll_once(struct log_fixture *log)
{
    log->now_ns += 1000;
    wal_poll(log->wal, log->now_ns);
}

/* For repairs that never begin. */
static void repair_begin(struct wal *wal, uint8_t *entry, uint32_t number)
{
    assert_false(wal_repair(wal, entry, number));
}

static void a_repair_puts_the_page_back_and_the_log_is_whole(void **state)
{
    struct log_fixture *log = *state;
    uint64_t position = entry_header_of(entry_of(log, 5))->position;
    uint8_t kept[PAGE_BYTES];
    memcpy(kept, log_page(log, position + PAGE_BYTES), PAGE_BYTES);
    memset(log_page(log, position), 0x5a, PAGE_BYTES);
    memset(log_page(log, position + PAGE_BYTES), 0, PAGE_BYTES);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_DAMAGED);
    for (uint32_t page = 0; page < 2; page++) {
        assert_true(wal_repair(log->wal, entry_of(log, 5), page));
        assert_true(wal_repairing(log->wal));
        assert_false(wal_repair(log->wal, entry_of(log, 5), page));
        log_settle(log);
        assert_false(wal_repairing(log->wal));
    }
    assert_memory_equal(log_page(log, position + PAGE_BYTES), kept, PAGE_BYTES);
    struct node_header node;
    memcpy(&node, log_page(log, position), sizeof node);
    assert_int_equal(node.epoch, wal_epoch(log->wal));
    assert_int_equal(node.durable_position, position);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    assert_int_equal(found.last.index, 12);
    assert_int_equal(wal_counters(log->wal)->repairs, 2);
}

static void no_read_races_a_repair(void **state)
{
    struct log_fixture *log = *state;
    static _Alignas(PAGE_BYTES) uint8_t bytes[4 * PAGE_BYTES];
    uint64_t position = entry_header_of(entry_of(log, 5))->position;
    uint32_t cookie = 0;
    log->model.automatic = false;
    assert_true(wal_read(log->wal, position - PAGE_BYTES, 2 * PAGE_BYTES, bytes, 1));
    assert_false(wal_repair(log->wal, entry_of(log, 5), 0));
    assert_true(wal_repair(log->wal, entry_of(log, 5), 1)); /* Beside it. */
    assert_false(wal_read(log->wal, position, 2 * PAGE_BYTES, bytes, 2));
    assert_true(wal_read(log->wal, position + 2 * PAGE_BYTES, PAGE_BYTES, bytes, 3));
    log->model.automatic = true;
    log_settle(log);
    assert_true(wal_read_done(log->wal, &cookie));
    assert_true(wal_read(log->wal, position, 2 * PAGE_BYTES, bytes, 2));
    log_settle(log);
    assert_true(wal_repair(log->wal, entry_of(log, 5), 0));
}

static void a_cut_waits_for_a_repair_and_none_begins_before_it_is_done(void **state)
{
    struct log_fixture *log = *state;
    uint64_t epoch = wal_epoch(log->wal);
    uint64_t end = entry_header_of(entry_of(log, 11))->position;
    log->model.automatic = false;
    assert_true(wal_repair(log->wal, entry_of(log, 5), 0));
    wal_cut(log->wal, (struct log_id){.term = 1, .index = 10}, end);
    poll_once(log);
    assert_int_equal(log->model.flight_count, 1);
    disk_model_complete(&log->model, 0, &log->prng, 0);
    poll_once(log);
    assert_false(wal_repairing(log->wal));
    assert_false(wal_repair(log->wal, entry_of(log, 6), 0));
    log->model.automatic = true;
    log_settle(log);
    assert_int_equal(wal_epoch(log->wal), epoch + 1);
    assert_true(wal_repair(log->wal, entry_of(log, 6), 0));
    log_settle(log);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.last.index, 10);
    assert_true(recover_is_whole(&found));
}

static void a_start_waits_for_a_repair_below_it(void **state)
{
    struct log_fixture *log = *state;
    struct log_start start = {.position = entry_header_of(entry_of(log, 9))->position,
                              .last = {.term = 1, .index = 8},
                              .offset = 8};
    uint8_t state_bytes[8] = {0};
    assert_true(wal_put_state(log->wal, &start, state_bytes, sizeof state_bytes));
    log_settle(log);
    log->model.automatic = false;
    assert_true(wal_repair(log->wal, entry_of(log, 5), 1));
    wal_set_start(log->wal, &start);
    poll_once(log);
    assert_int_equal(log->model.flight_count, 1);
    disk_model_complete(&log->model, 0, &log->prng, 0);
    poll_once(log);
    assert_int_equal(log->model.flight_count, 1); /* The superblock's. */
    assert_false(wal_repair(log->wal, entry_of(log, 5), 0));
    log->model.automatic = true;
    log_settle(log);
    assert_int_equal(wal_start_durable(log->wal).position, start.position);
    expect_assert_failure(repair_begin(log->wal, entry_of(log, 5), 0));
    assert_true(wal_repair(log->wal, entry_of(log, 9), 0));
}

static void a_repair_of_what_is_not_durable_asserts(void **state)
{
    struct log_fixture *log = *state;
    log->model.automatic = false;
    struct wal_write write = log_entry(log, 1, 1);
    assert_true(wal_write(log->wal, &write));
    poll_once(log);
    expect_assert_failure(repair_begin(log->wal, write.bytes, 0));
}

static void a_repair_that_hangs_is_the_oldest_write_and_one_that_fails_is_fatal(void **state)
{
    struct log_fixture *log = *state;
    log_settle(log);
    log->now_ns += 10 * WATERMARK_IDLE_NS;
    log_settle(log);
    assert_int_equal(wal_oldest_write_ns(log->wal), UINT64_MAX);
    log->model.automatic = false;
    assert_true(wal_repair(log->wal, entry_of(log, 3), 0));
    assert_false(wal_is_idle(log->wal));
    poll_once(log);
    assert_int_equal(wal_oldest_write_ns(log->wal), log->now_ns);
    disk_model_complete(&log->model, 0, &log->prng, 0);
    poll_once(log);
    assert_int_equal(wal_oldest_write_ns(log->wal), UINT64_MAX);
    log->model.automatic = true;
    log->model.writes_until_death = 0;
    assert_true(wal_repair(log->wal, entry_of(log, 3), 1));
    poll_once(log);
    poll_once(log);
    assert_int_equal(wal_failed(log->wal), -EIO);
    assert_false(wal_repair(log->wal, entry_of(log, 3), 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_repair_puts_the_page_back_and_the_log_is_whole,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(no_read_races_a_repair, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_cut_waits_for_a_repair_and_none_begins_before_it_is_done,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_start_waits_for_a_repair_below_it, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_repair_of_what_is_not_durable_asserts, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(
            a_repair_that_hangs_is_the_oldest_write_and_one_that_fails_is_fatal, fixture_open,
            fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
