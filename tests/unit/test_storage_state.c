/* test_storage_state.c: the two copies of the small state at the log's start, at an opening and
 * while the log is open. */
#include "storage/small_state.h"
#include "storage/superblock.h"
#include "tests/support/log_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STATE_PAGES 3u /* Of the state at the start. */
#define HARMS       5u

static struct log_fixture fixture;
static struct recovery found;
static struct fault fault;
static uint8_t kept[STATE_PAGES * PAGE_BYTES];

static const struct log_start begin = {
    .position = LOG_SEGMENT_PAGES * PAGE_BYTES, .last = {.term = 1, .index = 4}, .offset = 4};

static uint8_t *state_page(uint32_t copy, uint32_t page)
{
    uint64_t at = state_at(&fixture.geometry, 1, copy);
    return disk_model_page(&fixture.model, at + (uint64_t)page * PAGE_BYTES);
}

/* A log that was trimmed to its second segment. */
static int fixture_open(void **state)
{
    static char bytes[PAGE_BYTES + 100];
    memset(bytes, 's', sizeof bytes);
    log_open_disk(&fixture);
    *state = &fixture;
    int result = log_open(&fixture, &found, &fault);
    for (uint32_t i = 0; i < 6 && result == 0; i++) {
        log_append(&fixture, 1, 2);
    }
    assert_true(wal_put_state(fixture.wal, &begin, bytes, sizeof bytes));
    wal_set_start(fixture.wal, &begin);
    log_settle(&fixture);
    assert_int_equal(wal_start_durable(fixture.wal).position, begin.position);
    memcpy(kept, state_page(0, 0), sizeof kept);
    assert_memory_equal(kept, state_page(1, 0), sizeof kept);
    return result;
}

static int fixture_close(void **state)
{
    log_close(*state);
    return 0;
}

/* One of HARMS ways in which a copy goes bad. */
static void harm(uint32_t copy, uint32_t way)
{
    uint64_t at = state_at(&fixture.geometry, 1, copy);
    switch (way) {
    case 0: /* Its first page. */
        state_page(copy, 0)[40] ^= 1;
        return;
    case 1: /* Its bytes. */
        state_page(copy, STATE_PAGES - 1)[99] ^= 1;
        return;
    case 2:
        memset(state_page(copy, 0), 0, sizeof kept);
        return;
    case 3:
        disk_model_unreadable(&fixture.model, at);
        return;
    default:
        disk_model_unreadable(&fixture.model, at + (STATE_PAGES - 1) * PAGE_BYTES);
    }
}

static void expect_both(void)
{
    assert_int_equal(log_recover(&fixture, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        assert_null(found.state_wrong[copy]);
        assert_memory_equal(state_page(copy, 0), kept, sizeof kept);
    }
}

static void poll_once(void)
{
    fixture.now_ns += 1000;
    wal_poll(fixture.wal, fixture.now_ns);
}

/* ---- At an opening. ---- */

static void an_opening_puts_one_bad_copy_back_from_the_other(void **state)
{
    (void)state;
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        for (uint32_t way = 0; way < HARMS; way++) {
            harm(copy, way);
            assert_int_equal(log_recover(&fixture, &found, &fault), 0);
            assert_int_equal(found.kind, RECOVER_CLEAN);
            assert_non_null(found.state_wrong[copy]);
            assert_null(found.state_wrong[1 - copy]);
            assert_int_equal(log_open(&fixture, &found, &fault), 0);
            assert_int_equal(wal_counters(fixture.wal)->states_mended, 1);
            expect_both();
        }
    }
    uint64_t writes = fixture.model.write_count;
    assert_int_equal(log_open(&fixture, &found, &fault), 0);
    assert_int_equal(fixture.model.write_count, writes + SUPERBLOCK_COPIES);
    assert_int_equal(wal_counters(fixture.wal)->states_bad, 0);
}

static void an_opening_without_any_copy_refuses_and_writes_nothing(void **state)
{
    (void)state;
    harm(0, 0);
    harm(1, 3);
    uint64_t writes = fixture.model.write_count;
    assert_true(log_open(&fixture, &found, &fault) < 0);
    assert_int_equal(fault.code, FAULT_FAILED);
    assert_non_null(strstr(fault.text, "neither copy of the small state"));
    assert_non_null(strstr(fault.text, "copy of the disk"));
    assert_int_equal(fixture.model.write_count, writes);
}

/* Power goes after each write of such an opening: the next one finds all that this one found. */
static void an_opening_that_dies_while_it_puts_a_copy_back_loses_nothing(void **state)
{
    (void)state;
    for (uint32_t death = 0; death < 3; death++) {
        harm(1, 2);
        fixture.model.writes_until_death = death;
        assert_true(log_open(&fixture, &found, &fault) < 0);
        disk_model_crash(&fixture.model, &fixture.prng, 1000000);
        assert_int_equal(log_recover(&fixture, &found, &fault), 0);
        assert_int_equal(found.kind, RECOVER_CLEAN);
        assert_null(found.state_wrong[0]);
        assert_int_equal(log_open(&fixture, &found, &fault), 0);
        expect_both();
    }
}

/* ---- While the log is open. ---- */

static void a_look_puts_one_bad_copy_back_from_the_other(void **state)
{
    (void)state;
    const struct wal_counters *counters = wal_counters(fixture.wal);
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        for (uint32_t way = 0; way < HARMS; way++) {
            harm(copy, way);
            uint64_t mended = counters->states_mended;
            assert_true(wal_look_state(fixture.wal));
            log_settle(&fixture);
            assert_int_equal(wal_failed(fixture.wal), 0);
            assert_int_equal(counters->states_mended, mended + 1);
            assert_int_equal(counters->states_bad, mended + 1);
            expect_both();
        }
    }
}

static void a_look_writes_nothing_where_both_copies_stand_or_neither(void **state)
{
    (void)state;
    uint64_t writes = fixture.model.write_count;
    assert_true(wal_look_state(fixture.wal));
    log_settle(&fixture);
    assert_int_equal(wal_counters(fixture.wal)->states_bad, 0);
    harm(0, 1);
    harm(1, 3);
    assert_true(wal_look_state(fixture.wal));
    log_settle(&fixture);
    assert_int_equal(wal_counters(fixture.wal)->states_bad, 2);
    assert_int_equal(wal_counters(fixture.wal)->states_mended, 0);
    assert_int_equal(fixture.model.write_count, writes);
    assert_int_equal(wal_failed(fixture.wal), 0);
}

/* Otherwise a look could write over the state of a later boundary, at the same place. */
static void a_look_and_a_move_of_the_start_wait_for_each_other(void **state)
{
    (void)state;
    struct log_start next = {
        .position = begin.position + 4 * PAGE_BYTES, .last = {.term = 1, .index = 6}, .offset = 6};
    assert_int_equal(fixture.position, next.position);
    harm(0, 2);
    fixture.model.automatic = false;
    assert_true(wal_look_state(fixture.wal));
    assert_false(wal_look_state(fixture.wal));
    assert_false(wal_put_state(fixture.wal, &next, "later", 5));
    wal_set_start(fixture.wal, &next);
    poll_once();
    /* The first page of copy 0; that and the rest of copy 1; copy 0, written. */
    for (uint32_t request = 0; request < 4; request++) {
        assert_int_equal(fixture.model.flight_count, 1);
        assert_int_equal(fixture.model.flights[0].op, request < 3 ? DISK_READ : DISK_WRITE);
        assert_true(fixture.model.flights[0].offset < fixture.geometry.ring_offset);
        assert_true(fixture.model.flights[0].offset >= LAYOUT_STATES_AT);
        disk_model_complete(&fixture.model, 0, &fixture.prng, 0);
        poll_once();
    }
    assert_int_equal(wal_counters(fixture.wal)->states_mended, 1);
    assert_false(wal_look_state(fixture.wal)); /* The start moves. */
    fixture.model.automatic = true;
    log_settle(&fixture);
    assert_int_equal(wal_start_durable(fixture.wal).position, next.position);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_opening_puts_one_bad_copy_back_from_the_other,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(an_opening_without_any_copy_refuses_and_writes_nothing,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(
            an_opening_that_dies_while_it_puts_a_copy_back_loses_nothing, fixture_open,
            fixture_close),
        cmocka_unit_test_setup_teardown(a_look_puts_one_bad_copy_back_from_the_other, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_look_writes_nothing_where_both_copies_stand_or_neither,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_look_and_a_move_of_the_start_wait_for_each_other,
                                        fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
