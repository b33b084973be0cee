/* test_storage_wal.c: what storage/wal.h promises of writes, the superblock, cuts, starts, reads.
 */
#include "storage/small_state.h"
#include "storage/superblock.h"
#include "tests/support/log_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct log_fixture fixture;
static struct recovery found;
static struct fault fault;

static int fixture_open(void **state)
{
    log_open_disk(&fixture);
    *state = &fixture;
    return log_open(&fixture, &found, &fault);
}

static int fixture_close(void **state)
{
    log_close(*state);
    return 0;
}

/* Hold completions in the test's hand, and find one by what it writes. */
static void hold(struct log_fixture *log)
{
    log->model.automatic = false;
}

static void poll_once(struct log_fixture *log)
{
    log->now_ns += 1000;
    wal_poll(log->wal, log->now_ns);
}

static uint32_t flight_of(const struct log_fixture *log, uint64_t offset)
{
    for (uint32_t i = 0; i < log->model.flight_count; i++) {
        if (log->model.flights[i].offset == offset) {
            return i;
        }
    }
    fail_msg("no request at offset %lu", (unsigned long)offset);
    return 0;
}

static void complete_at(struct log_fixture *log, uint64_t offset)
{
    disk_model_complete(&log->model, flight_of(log, offset), &log->prng, 0);
    poll_once(log);
}

static uint64_t ring_at(const struct log_fixture *log, uint64_t position)
{
    return log->geometry.ring_offset + position % log->geometry.ring_bytes;
}

static void opening_raises_epoch_and_boot_durably(void **state)
{
    struct log_fixture *log = *state;
    assert_int_equal(wal_epoch(log->wal), 2);
    assert_int_equal(wal_boot(log->wal), 1);
    assert_int_equal(log_open(log, &found, &fault), 0);
    assert_int_equal(found.epoch, 2);
    assert_int_equal(wal_epoch(log->wal), 3);
    assert_int_equal(wal_boot(log->wal), 2);
    assert_int_equal(wal_store(log->wal), LOG_STORE);
}

static void the_watermark_is_the_contiguous_prefix_of_completed_writes(void **state)
{
    struct log_fixture *log = *state;
    log_term(log, 1);
    hold(log);
    for (uint32_t i = 0; i < 3; i++) {
        struct wal_write write = log_entry(log, 1, 2);
        assert_true(wal_write(log->wal, &write));
    }
    poll_once(log);
    assert_int_equal(log->model.flight_count, 3);
    complete_at(log, ring_at(log, 2 * PAGE_BYTES));
    assert_int_equal(wal_durable(log->wal).index, 0);
    complete_at(log, ring_at(log, 0));
    assert_int_equal(wal_durable(log->wal).index, 2);
    assert_int_equal(wal_durable(log->wal).position, 4 * PAGE_BYTES);
    assert_int_equal(wal_durable(log->wal).epoch, wal_epoch(log->wal));
    assert_false(wal_is_idle(log->wal));
    complete_at(log, ring_at(log, 4 * PAGE_BYTES));
    assert_int_equal(wal_durable(log->wal).index, 3);
    assert_true(wal_is_idle(log->wal));
}

static void a_write_waits_when_the_window_is_full(void **state)
{
    struct log_fixture *log = *state;
    log_term(log, 1);
    hold(log);
    for (uint32_t i = 0; i < LOG_WINDOW_PAGES / 4; i++) {
        struct wal_write write = log_entry(log, 1, 4);
        assert_true(wal_write(log->wal, &write));
    }
    struct wal_write write = log_entry(log, 1, 1);
    assert_false(wal_write(log->wal, &write));
    poll_once(log);
    complete_at(log, ring_at(log, 4 * PAGE_BYTES));
    assert_false(wal_write(log->wal, &write)); /* The window counts from the watermark. */
    complete_at(log, ring_at(log, 0));
    assert_true(wal_write(log->wal, &write));
    assert_int_equal(wal_counters(log->wal)->write_waits, 2);
}

static void a_write_never_enters_space_that_the_start_still_holds(void **state)
{
    struct log_fixture *log = *state;
    for (uint32_t i = 0; i < LOG_SEGMENTS * LOG_SEGMENT_PAGES / 4; i++) {
        log_append(log, 1, 4);
    }
    struct wal_write write = log_entry(log, 1, 1);
    assert_false(wal_write(log->wal, &write));
    struct log_start start = {
        .position = LOG_SEGMENT_PAGES * PAGE_BYTES, .last = {.term = 1, .index = 2}, .offset = 2};
    assert_true(wal_put_state(log->wal, &start, "state", 5));
    wal_set_start(log->wal, &start);
    assert_false(wal_write(log->wal, &write));
    log_settle(log);
    assert_int_equal(wal_start_durable(log->wal).position, start.position);
    assert_true(wal_write(log->wal, &write));
    log_settle(log);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    assert_int_equal(found.start.position, start.position);
    assert_int_equal(found.last.index, 11);
    assert_int_equal(found.next_offset, 11);
}

/* Two segments are kept, whatever was written before them, and wherever in the ring they stand. */
static void a_restart_reads_what_is_kept_however_often_the_ring_has_wrapped(void **state)
{
    struct log_fixture *log = *state;
    uint64_t kept_bytes = 2ull * LOG_SEGMENT_PAGES * PAGE_BYTES;
    uint64_t read_bytes = 0;
    for (uint64_t segment = 1; segment <= 20ull * LOG_SEGMENTS; segment++) {
        for (uint32_t i = 0; i < LOG_SEGMENT_PAGES / 2; i++) {
            log_append(log, 1, 2);
        }
        if (segment <= 2) {
            continue;
        }
        uint64_t below = (segment - 2) * LOG_SEGMENT_PAGES / 2;
        struct log_start start = {.position = (segment - 2) * LOG_SEGMENT_PAGES * PAGE_BYTES,
                                  .last = {.term = 1, .index = below},
                                  .offset = below};
        assert_true(wal_put_state(log->wal, &start, "", 0));
        wal_set_start(log->wal, &start);
        log_settle(log);
        uint64_t before = log->model.read_bytes;
        assert_int_equal(log_recover(log, &found, &fault), 0);
        uint64_t bytes = log->model.read_bytes - before;
        assert_int_equal(found.kind, RECOVER_CLEAN);
        assert_int_equal(found.end_position - found.start.position, kept_bytes);
        assert_true(read_bytes == 0 || bytes == read_bytes);
        read_bytes = bytes;
    }
    assert_true(found.end_position == 20 * log->geometry.ring_bytes);
    assert_true(read_bytes >= kept_bytes);
}

static void a_write_at_the_rings_end_is_durable_only_with_both_parts(void **state)
{
    struct log_fixture *log = *state;
    for (uint32_t i = 0; i < 9; i++) {
        log_append(log, 1, 4);
    }
    struct log_start start = {
        .position = LOG_SEGMENT_PAGES * PAGE_BYTES, .last = {.term = 1, .index = 2}, .offset = 2};
    assert_true(wal_put_state(log->wal, &start, "", 0));
    wal_set_start(log->wal, &start);
    log_append(log, 1, 3);
    hold(log);
    struct wal_write write = log_entry(log, 1, 4);
    assert_true(wal_write(log->wal, &write));
    poll_once(log);
    assert_int_equal(log->model.flight_count, 2);
    complete_at(log, log->geometry.ring_offset);
    assert_int_equal(wal_durable(log->wal).index, 10);
    complete_at(log, ring_at(log, write.position));
    assert_int_equal(wal_durable(log->wal).index, 11);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.last.index, 11);
}

static void a_node_header_carries_the_watermark_at_submission(void **state)
{
    struct log_fixture *log = *state;
    log_append(log, 1, 2);
    log_append(log, 1, 1);
    struct node_header node;
    memcpy(&node, log_page(log, 2 * PAGE_BYTES), sizeof node);
    assert_null(node_header_check(&node, LOG_STORE));
    assert_int_equal(node.durable_position, 2 * PAGE_BYTES);
    assert_int_equal(node.epoch, wal_epoch(log->wal));
    assert_int_equal(node.position, 2 * PAGE_BYTES);
}

static void a_write_of_a_term_that_is_not_durable_asserts(void **state)
{
    struct log_fixture *log = *state;
    struct wal_write write = log_entry(log, 1, 1);
    expect_assert_failure((void)!wal_write(log->wal, &write));
}

static void superblock_copies_are_written_one_after_the_other(void **state)
{
    struct log_fixture *log = *state;
    hold(log);
    struct wal_hard hard = {.term = 7, .entry_term = 6, .vote = 3, .bootstrapped = true};
    wal_set_hard(log->wal, &hard);
    poll_once(log);
    uint32_t slot = log->model.flights[0].offset == layout_superblock_at(0, 0) ? 0 : 1;
    assert_int_equal(log->model.flight_count, 1);
    complete_at(log, layout_superblock_at(slot, 0));
    assert_int_equal(wal_hard_durable(log->wal).term, 0);
    assert_int_equal(log->model.flight_count, 1);
    complete_at(log, layout_superblock_at(slot, 1));
    assert_int_equal(wal_hard_durable(log->wal).term, 7);
    assert_int_equal(wal_hard_durable(log->wal).vote, 3);
    assert_true(wal_hard_durable(log->wal).bootstrapped);
    assert_int_equal(log->model.flight_count, 0);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.term, 7);
    assert_int_equal(found.entry_term, 6);
}

static void a_superblock_write_that_hangs_is_the_oldest_write(void **state)
{
    struct log_fixture *log = *state;
    struct wal_hard hard = {.term = 9, .vote = 2};
    hold(log);
    poll_once(log);
    assert_true(wal_oldest_write_ns(log->wal) == UINT64_MAX);
    wal_set_hard(log->wal, &hard);
    poll_once(log);
    uint64_t first_ns = log->now_ns;
    poll_once(log);
    assert_true(log->now_ns > first_ns);
    assert_true(wal_oldest_write_ns(log->wal) == first_ns);
    uint32_t slot = log->model.flights[0].offset == layout_superblock_at(0, 0) ? 0 : 1;
    complete_at(log, layout_superblock_at(slot, 0));
    uint64_t second_ns = log->now_ns; /* The second copy: progress was made. */
    poll_once(log);
    assert_true(wal_oldest_write_ns(log->wal) == second_ns);
    complete_at(log, layout_superblock_at(slot, 1));
    assert_true(wal_oldest_write_ns(log->wal) == UINT64_MAX);
}

static void a_read_that_hangs_is_the_oldest_read(void **state)
{
    struct log_fixture *log = *state;
    static uint8_t pages[2][PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
    uint32_t cookie = 0;
    hold(log);
    assert_true(wal_read(log->wal, 0, PAGE_BYTES, pages[0], 7));
    poll_once(log);
    uint64_t first_ns = log->now_ns;
    assert_true(wal_read(log->wal, PAGE_BYTES, PAGE_BYTES, pages[1], 8));
    poll_once(log);
    uint64_t second_ns = log->now_ns;
    assert_true(second_ns > first_ns);
    assert_true(wal_oldest_read_ns(log->wal) == first_ns);
    assert_true(wal_oldest_write_ns(log->wal) == UINT64_MAX);
    disk_model_complete(&log->model, 0, &log->prng, 0);
    poll_once(log);
    assert_true(wal_read_done(log->wal, &cookie));
    assert_int_equal(cookie, 7);
    assert_true(wal_oldest_read_ns(log->wal) == second_ns);
    disk_model_complete(&log->model, 0, &log->prng, 0);
    poll_once(log);
    assert_true(wal_oldest_read_ns(log->wal) == UINT64_MAX);
}

static void the_newest_hard_state_asked_for_wins(void **state)
{
    struct log_fixture *log = *state;
    hold(log);
    struct wal_hard hard = {.term = 1, .entry_term = 0, .vote = 1};
    wal_set_hard(log->wal, &hard);
    poll_once(log);
    hard.term = 2;
    wal_set_hard(log->wal, &hard);
    hard.term = 3;
    hard.vote = 2;
    wal_set_hard(log->wal, &hard);
    log->model.automatic = true;
    log_settle(log);
    assert_int_equal(wal_hard_durable(log->wal).term, 3);
    assert_int_equal(wal_hard_durable(log->wal).vote, 2);
    assert_int_equal(wal_counters(log->wal)->superblock_updates, 2);
}

static void a_cut_waits_for_what_is_in_flight_and_refuses_what_is_above(void **state)
{
    struct log_fixture *log = *state;
    log_append(log, 1, 1);
    log_term(log, 2);
    hold(log);
    struct wal_write second = log_entry(log, 1, 1);
    assert_true(wal_write(log->wal, &second));
    struct wal_write third = log_entry(log, 1, 1);
    assert_true(wal_write(log->wal, &third));
    poll_once(log);
    uint64_t epoch = wal_epoch(log->wal);
    wal_cut(log->wal, (struct log_id){.term = 1, .index = 1}, PAGE_BYTES);
    struct wal_write fourth = log_entry(log, 1, 1);
    assert_false(wal_write(log->wal, &fourth));
    complete_at(log, ring_at(log, third.position));
    assert_int_equal(log->model.flight_count, 1);
    complete_at(log, ring_at(log, second.position));
    assert_int_equal(log->model.flight_count, 1); /* The superblock, now. */
    assert_int_equal(wal_epoch(log->wal), epoch);
    assert_int_equal(wal_durable(log->wal).index, 3);
    log->model.automatic = true;
    log_settle(log);
    assert_int_equal(wal_epoch(log->wal), epoch + 1);
    assert_int_equal(wal_durable(log->wal).epoch, epoch + 1);
    assert_int_equal(wal_durable(log->wal).index, 1);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    assert_int_equal(found.last.index, 1);
    log->last = (struct log_id){.term = 1, .index = 1};
    log->position = PAGE_BYTES;
    log_append(log, 2, 2);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.last.index, 2);
    assert_int_equal(found.last.term, 2);
}

static void a_start_waits_until_all_below_and_both_copies_of_its_state_are_durable(void **state)
{
    struct log_fixture *log = *state;
    log_append(log, 1, 4);
    hold(log);
    struct wal_write write = log_entry(log, 1, 4);
    assert_true(wal_write(log->wal, &write));
    struct log_start start = {.position = 8 * PAGE_BYTES, .last = log->last, .offset = 2};
    assert_true(wal_put_state(log->wal, &start, "x", 1));
    assert_false(wal_put_state(log->wal, &start, "x", 1));
    wal_set_start(log->wal, &start);
    poll_once(log);
    complete_at(log, state_at(&log->geometry, 1, 0));
    assert_int_equal(log->model.flight_count, 2);
    assert_int_equal(wal_start_durable(log->wal).position, 0);
    complete_at(log, ring_at(log, write.position));
    assert_int_equal(log->model.flight_count, 1); /* The state's other copy, and no superblock. */
    assert_false(wal_put_state(log->wal, &start, "x", 1));
    complete_at(log, state_at(&log->geometry, 1, 1));
    assert_int_equal(log->model.flight_count, 1); /* The superblock, now. */
    log->model.automatic = true;
    log_settle(log);
    assert_int_equal(wal_start_durable(log->wal).position, start.position);
}

static void a_watermark_page_follows_a_millisecond_of_idleness_once(void **state)
{
    struct log_fixture *log = *state;
    assert_int_equal(wal_deadline_ns(log->wal), UINT64_MAX);
    log_append(log, 1, 1);
    uint64_t deadline = wal_deadline_ns(log->wal);
    assert_true(deadline <= log->now_ns + WATERMARK_IDLE_NS);
    assert_true(deadline > log->now_ns);
    wal_poll(log->wal, deadline - 1);
    assert_int_equal(wal_counters(log->wal)->watermark_pages, 0);
    log->now_ns = deadline;
    log_settle(log);
    log->now_ns += 10 * (uint64_t)WATERMARK_IDLE_NS;
    log_settle(log);
    assert_int_equal(wal_counters(log->wal)->watermark_pages, 1);
    assert_int_equal(wal_deadline_ns(log->wal), UINT64_MAX);
    struct watermark mark;
    const uint8_t *page = disk_model_page(&log->model, layout_watermark_at(1));
    assert_true(watermark_decode(page, LOG_CLUSTER, LOG_STORE, &mark));
    assert_int_equal(mark.position, PAGE_BYTES);
    assert_int_equal(mark.last_index, 1);
    assert_int_equal(mark.epoch, wal_epoch(log->wal));
}

static void a_clean_stop_records_the_watermark_at_once(void **state)
{
    struct log_fixture *log = *state;
    log_append(log, 1, 1);
    wal_stop(log->wal);
    assert_false(wal_is_idle(log->wal));
    log_settle(log);
    assert_true(wal_is_idle(log->wal));
    assert_int_equal(wal_counters(log->wal)->watermark_pages, 1);
}

static void a_failed_write_is_fatal_and_nothing_follows_it(void **state)
{
    struct log_fixture *log = *state;
    log_term(log, 1);
    log->model.writes_until_death = 0;
    struct wal_write write = log_entry(log, 1, 1);
    assert_true(wal_write(log->wal, &write));
    poll_once(log);
    poll_once(log);
    assert_int_equal(wal_failed(log->wal), -EIO);
    assert_int_equal(wal_durable(log->wal).index, 0);
    uint64_t writes = log->model.write_count;
    struct wal_hard hard = wal_hard_durable(log->wal);
    hard.term++;
    wal_set_hard(log->wal, &hard);
    write = log_entry(log, 1, 1);
    assert_false(wal_write(log->wal, &write));
    poll_once(log);
    assert_int_equal(log->model.write_count, writes);
    assert_true(wal_is_idle(log->wal));
}

static void reads_come_back_by_their_cookie_also_across_the_rings_end(void **state)
{
    struct log_fixture *log = *state;
    static _Alignas(PAGE_BYTES) uint8_t a[4 * PAGE_BYTES];
    static _Alignas(PAGE_BYTES) uint8_t b[4 * PAGE_BYTES];
    log_append(log, 1, 4);
    uint64_t ring = log->geometry.ring_bytes;
    assert_true(wal_read(log->wal, 0, 4 * PAGE_BYTES, a, 77));
    assert_true(wal_read(log->wal, ring - PAGE_BYTES, 4 * PAGE_BYTES, b, 78));
    log_settle(log);
    uint32_t cookie = 0;
    assert_true(wal_read_done(log->wal, &cookie));
    assert_int_equal(cookie, 77);
    assert_true(wal_read_done(log->wal, &cookie));
    assert_int_equal(cookie, 78);
    assert_false(wal_read_done(log->wal, &cookie));
    assert_null(entry_check(a, LOG_CLUSTER));
    assert_memory_equal(b + PAGE_BYTES, a, 3 * PAGE_BYTES);
}

static void
reads_are_refused_when_the_queue_has_no_room_and_unreadable_ones_fail_checks(void **state)
{
    struct log_fixture *log = *state;
    static _Alignas(PAGE_BYTES) uint8_t bytes[DISK_QUEUE_MAX][PAGE_BYTES];
    log_append(log, 1, 1);
    hold(log);
    uint32_t taken = 0;
    while (taken < DISK_QUEUE_MAX && wal_read(log->wal, 0, PAGE_BYTES, bytes[taken], taken)) {
        taken++;
    }
    assert_true(taken > 0);
    assert_true(taken + WRITES_MAX < DISK_QUEUE_MAX);
    disk_model_unreadable(&log->model, ring_at(log, 0));
    log->model.automatic = true;
    log_settle(log);
    uint32_t cookie = 0;
    for (uint32_t i = 0; i < taken; i++) {
        assert_true(wal_read_done(log->wal, &cookie));
        assert_non_null(entry_check(bytes[cookie], LOG_CLUSTER));
    }
    assert_int_equal(wal_failed(log->wal), 0);
}

static void a_page_that_cannot_be_read_hides_no_other(void **state)
{
    struct log_fixture *log = *state;
    static _Alignas(PAGE_BYTES) uint8_t bytes[4 * PAGE_BYTES];
    for (uint32_t i = 0; i < 4; i++) {
        log_append(log, 1, 1);
    }
    disk_model_unreadable(&log->model, ring_at(log, 2 * PAGE_BYTES));
    assert_true(wal_read(log->wal, 0, sizeof bytes, bytes, 5));
    log_settle(log);
    uint32_t cookie = 0;
    assert_true(wal_read_done(log->wal, &cookie));
    assert_int_equal(cookie, 5);
    for (uint32_t i = 0; i < 4; i++) {
        bool sound = entry_check(bytes + i * PAGE_BYTES, LOG_CLUSTER) == NULL;
        assert_int_equal(sound, i != 2);
    }
    assert_false(wal_read_done(log->wal, &cookie));
    assert_true(wal_oldest_read_ns(log->wal) == UINT64_MAX);
    assert_int_equal(wal_failed(log->wal), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opening_raises_epoch_and_boot_durably, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(the_watermark_is_the_contiguous_prefix_of_completed_writes,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_write_waits_when_the_window_is_full, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_write_never_enters_space_that_the_start_still_holds,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(
            a_restart_reads_what_is_kept_however_often_the_ring_has_wrapped, fixture_open,
            fixture_close),
        cmocka_unit_test_setup_teardown(a_write_at_the_rings_end_is_durable_only_with_both_parts,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_node_header_carries_the_watermark_at_submission,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_write_of_a_term_that_is_not_durable_asserts, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(superblock_copies_are_written_one_after_the_other,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_read_that_hangs_is_the_oldest_read, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_superblock_write_that_hangs_is_the_oldest_write,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(the_newest_hard_state_asked_for_wins, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_cut_waits_for_what_is_in_flight_and_refuses_what_is_above,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(
            a_start_waits_until_all_below_and_both_copies_of_its_state_are_durable, fixture_open,
            fixture_close),
        cmocka_unit_test_setup_teardown(a_watermark_page_follows_a_millisecond_of_idleness_once,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_clean_stop_records_the_watermark_at_once, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_failed_write_is_fatal_and_nothing_follows_it,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(reads_come_back_by_their_cookie_also_across_the_rings_end,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_page_that_cannot_be_read_hides_no_other, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(
            reads_are_refused_when_the_queue_has_no_room_and_unreadable_ones_fail_checks,
            fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
