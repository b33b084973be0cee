/* test_storage_recover.c: what recovery says of logs with one thing wrong, and the scan's answers.
 */
#include "storage/scan.h"
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

/* Six entries of two pages, the last three of term 2; positions 0, 2, ... 10 pages. */
static int fixture_open(void **state)
{
    log_open_disk(&fixture);
    int result = log_open(&fixture, &found, &fault);
    for (uint32_t i = 0; i < 6; i++) {
        log_append(&fixture, i < 3 ? 1 : 2, 2);
    }
    *state = &fixture;
    return result;
}

static int fixture_close(void **state)
{
    log_close(*state);
    return 0;
}

static uint64_t pages(uint64_t count)
{
    return count * PAGE_BYTES;
}

/* The opening must refuse, in words, and leave the disk alone. */
static void expect_refusal(struct log_fixture *log, const char *word)
{
    uint64_t writes = log->model.write_count;
    struct recovery again;
    assert_true(log_open(log, &again, &fault) < 0);
    assert_int_equal(fault.code, FAULT_FAILED);
    assert_non_null(strstr(fault.text, word));
    assert_int_equal(log->model.write_count, writes);
}

static void recover_finds_a_clean_log_whole(void **state)
{
    assert_int_equal(log_recover(*state, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    assert_int_equal(found.end_position, pages(12));
    assert_int_equal(found.durable_position, pages(10));
    assert_int_equal(found.last.index, 6);
    assert_int_equal(found.last.term, 2);
    assert_int_equal(found.entry_count, 6);
    assert_int_equal(found.next_offset, 6);
    assert_string_equal(found.what, "");
}

static void recover_refuses_another_cluster_and_another_node_by_name(void **state)
{
    struct log_fixture *log = *state;
    static _Alignas(PAGE_BYTES) uint8_t buffer[RECOVER_BUFFER_BYTES];
    const struct recover_config cluster = {.cluster = 5, .buffer = buffer};
    assert_true(recover(&log->model.disk, &cluster, &found, &fault) < 0);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "9f3c0a4e5b6d7788"));
    const struct recover_config node = {.cluster = LOG_CLUSTER, .node = 7, .buffer = buffer};
    assert_true(recover(&log->model.disk, &node, &found, &fault) < 0);
    assert_non_null(strstr(fault.text, "node 2"));
}

static void recover_refuses_a_truncated_file(void **state)
{
    struct log_fixture *log = *state;
    log->model.disk.bytes -= PAGE_BYTES;
    assert_true(log_recover(log, &found, &fault) < 0);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "truncated"));
    assert_non_null(strstr(fault.text, "truncate -s"));
}

static void spoil_superblocks(struct log_fixture *log, uint8_t byte)
{
    for (uint32_t i = 0; i < SUPERBLOCK_SLOTS * SUPERBLOCK_COPIES; i++) {
        uint64_t offset = layout_superblock_at(i / 2, i % 2);
        memset(disk_model_page(&log->model, offset), byte, PAGE_BYTES);
    }
}

static void recover_calls_a_log_without_superblocks_damaged_where_entries_stand(void **state)
{
    struct log_fixture *log = *state;
    for (uint32_t i = 0; i < 2; i++) { /* Zeroed, and something else there. */
        spoil_superblocks(log, i == 0 ? 0 : 0xa5);
        expect_refusal(log, "the superblocks are gone, but entries of node 2 of cluster 9f3c0a4e");
        assert_non_null(strstr(fault.text, "`thole format` would destroy"));
        assert_non_null(strstr(fault.text, "Bring back a copy"));
        assert_non_null(strstr(fault.text, "`thole restore`"));
        assert_int_equal(log_recover(log, &found, &fault), -EBADMSG);
    }
    /* The first one is rotten, the second unreadable: others tell it. */
    log_page(log, 0)[200] ^= 1;
    disk_model_unreadable(&log->model, log->geometry.ring_offset + pages(2));
    assert_int_equal(log_recover(log, &found, &fault), -EBADMSG);
    log_page(log, pages(4))[9] ^= 1; /* Of the third one, who wrote it is gone. */
    assert_int_equal(log_recover(log, &found, &fault), -EBADMSG);
    assert_non_null(strstr(fault.text, "entries of cluster 9f3c0a4e"));
}

static void recover_without_superblocks_and_entries_finds_no_log(void **state)
{
    struct log_fixture *log = *state;
    spoil_superblocks(log, 0);
    for (uint32_t page = 0; page < 12; page++) {
        memset(log_page(log, pages(page)), page % 2 == 0 ? 0 : 0xa5, PAGE_BYTES);
    }
    assert_int_equal(log_recover(log, &found, &fault), -ENODATA);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "not formatted"));
}

static void recover_keeps_the_prefix_before_a_write_that_is_absent(void **state)
{
    struct log_fixture *log = *state;
    memset(log_page(log, pages(10)), 0, PAGE_BYTES);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    assert_int_equal(found.last.index, 5);
    assert_int_equal(log_open(log, &found, &fault), 0);
    log_append(log, 3, 1);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.last.term, 3);
    assert_int_equal(found.last.index, 6);
}

static void recover_calls_a_hole_below_a_later_write_in_flight_torn(void **state)
{
    struct log_fixture *log = *state;
    log->model.automatic = false;
    struct wal_write first = log_entry(log, 2, 1);
    struct wal_write second = log_entry(log, 2, 1);
    assert_true(wal_write(log->wal, &first));
    assert_true(wal_write(log->wal, &second));
    wal_poll(log->wal, ++log->now_ns);
    disk_model_complete(&log->model, 1, &log->prng, 0);
    struct prng none;
    prng_init(&none, 1);
    log->model.flight_count = 0; /* The first one never got there. */
    disk_model_crash(&log->model, &none, 0);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_TORN);
    assert_int_equal(found.last.index, 6);
    assert_int_equal(log_open(log, &found, &fault), 0);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_CLEAN); /* The new epoch voids what lies above the cut. */
}

static void recover_tells_rot_in_the_middle_and_the_log_does_not_open(void **state)
{
    struct log_fixture *log = *state;
    log_page(log, pages(5))[100] ^= 1;
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_DAMAGED);
    assert_int_equal(found.end_position, pages(4));
    assert_int_equal(found.durable_position, pages(10));
    assert_int_equal(found.true_last.index, 6);
    assert_int_equal(found.true_last.term, 2);
    assert_int_equal(found.bad_pages, 1);
    assert_int_equal(found.bad_position, pages(5));
    assert_false(found.tail_unreadable);
    expect_refusal(log, "damaged");
}

static void recover_tells_a_bad_last_page_suspect_and_knows_its_entry_by_its_header(void **state)
{
    struct log_fixture *log = *state;
    log_page(log, pages(11))[100] ^= 1;
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_SUSPECT);
    assert_int_equal(found.last.index, 5);
    assert_int_equal(found.true_last.index, 6);
    assert_false(found.tail_unreadable);
    expect_refusal(log, "suspect");
}

static void recover_bounds_votes_when_the_tail_cannot_be_read(void **state)
{
    struct log_fixture *log = *state;
    disk_model_unreadable(&log->model, log->geometry.ring_offset + pages(10));
    disk_model_unreadable(&log->model, log->geometry.ring_offset + pages(11));
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_SUSPECT);
    assert_true(found.tail_unreadable);
    assert_int_equal(found.true_last.index, 5);
    assert_int_equal(found.vote_bound.index, 7);
    assert_int_equal(found.vote_bound.term, 2);
    assert_int_equal(found.bad_pages, 2);
}

static void a_rotten_node_header_makes_its_page_bad(void **state)
{
    struct log_fixture *log = *state;
    log_page(log, pages(10))[20] ^= 1;
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_SUSPECT);
    assert_int_equal(found.last.index, 5);
}

static void a_misplaced_record_is_bad(void **state)
{
    struct log_fixture *log = *state;
    memcpy(log_page(log, pages(4)), log_page(log, pages(2)), PAGE_BYTES);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_DAMAGED);
    assert_non_null(strstr(found.what, "misplaced"));
}

static void a_record_of_another_store_is_bad(void **state)
{
    struct log_fixture *log = *state;
    struct node_header node;
    memcpy(&node, log_page(log, pages(4)), sizeof node);
    node.store++;
    node_header_seal(log_page(log, pages(4)), &node);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_DAMAGED);
    assert_non_null(strstr(found.what, "store"));
}

static void a_lost_last_write_is_told_by_the_watermark_page(void **state)
{
    struct log_fixture *log = *state;
    log->now_ns += WATERMARK_IDLE_NS;
    log_settle(log);
    memset(log_page(log, pages(10)), 0, PAGE_BYTES);
    memset(log_page(log, pages(11)), 0, PAGE_BYTES);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_DAMAGED);
    assert_int_equal(found.durable_position, pages(12));
    assert_int_equal(found.true_last.index, 6);
    assert_int_equal(found.bad_pages, 0);
}

static void the_cut_is_a_watermark_of_its_own(void **state)
{
    struct log_fixture *log = *state;
    assert_int_equal(log_open(log, &found, &fault), 0); /* The cut stands at the end now. */
    memset(log_page(log, pages(10)), 0, PAGE_BYTES);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_DAMAGED);
    assert_int_equal(found.durable_position, pages(12));
}

static void a_cut_entry_never_comes_back(void **state)
{
    struct log_fixture *log = *state;
    wal_cut(log->wal, (struct log_id){.term = 1, .index = 3}, pages(6));
    log_settle(log);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    assert_int_equal(found.last.index, 3);
}

static void a_stale_entry_under_the_cut_is_told_by_the_cuts_last(void **state)
{
    struct log_fixture *log = *state;
    uint8_t stale[2][PAGE_BYTES];
    memcpy(stale[0], log_page(log, pages(10)), PAGE_BYTES);
    memcpy(stale[1], log_page(log, pages(11)), PAGE_BYTES);
    wal_cut(log->wal, (struct log_id){.term = 2, .index = 5}, pages(10));
    log_settle(log);
    log->last = (struct log_id){.term = 2, .index = 5};
    log->position = pages(10);
    log_append(log, 3, 2);
    assert_int_equal(log_open(log, &found, &fault), 0);
    memcpy(log_page(log, pages(10)), stale[0], PAGE_BYTES); /* As if that write had been lost. */
    memcpy(log_page(log, pages(11)), stale[1], PAGE_BYTES);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_DAMAGED);
    assert_int_equal(found.mismatch_index, 6);
    assert_int_equal(found.true_last.term, 3);
}

static void a_copy_of_the_small_state_of_a_trimmed_log_must_be_there(void **state)
{
    struct log_fixture *log = *state;
    struct log_start start = {.position = pages(8), .last = {.term = 2, .index = 4}, .offset = 4};
    assert_true(wal_put_state(log->wal, &start, "sessions", 8));
    wal_set_start(log->wal, &start);
    log_settle(log);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    assert_int_equal(found.start.position, pages(8));
    assert_int_equal(found.entry_count, 2);
    /* Of its place, pages that it does not use may be unreadable. */
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        uint64_t at = state_at(&log->geometry, 1, copy);
        disk_model_unreadable(&log->model, at + pages(2));
        disk_model_unreadable(&log->model, at + pages(15));
        assert_int_equal(log_recover(log, &found, &fault), 0);
        assert_int_equal(found.kind, RECOVER_CLEAN);
        assert_false(recover_state_is_bad(&found));
    }
    disk_model_page(&log->model, state_at(&log->geometry, 1, 0))[40] ^= 1;
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    assert_string_equal(found.state_wrong[0], "not written or damaged");
    assert_null(found.state_wrong[1]);
    disk_model_page(&log->model, state_at(&log->geometry, 1, 1))[pages(1)] ^= 1;
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_DAMAGED);
    assert_true(found.beyond_entries);
    assert_string_equal(found.state_wrong[1], "bytes damaged");
    expect_refusal(log, "neither copy of the small state");
}

static void an_entry_that_contradicts_itself_under_right_marks_is_bad(void **state)
{
    struct log_fixture *log = *state;
    struct wal_write write = log_entry(log, 2, 1);
    struct entry_header header;
    memcpy(&header, entry_header_of(write.bytes), sizeof header);
    header.record_count = 2; /* One record fills the body. */
    entry_seal(write.bytes, &header);
    assert_true(wal_write(log->wal, &write));
    log_settle(log);
    assert_int_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(found.kind, RECOVER_SUSPECT);
    assert_int_equal(found.last.index, 6);
}

static void a_scan_of_a_live_log_goes_on_where_it_grew(void **state)
{
    struct log_fixture *log = *state;
    static _Alignas(PAGE_BYTES) uint8_t buffer[RECOVER_BUFFER_BYTES];
    const struct scan_log live = {
        .disk = &log->model.disk,
        .geometry = log->geometry,
        .cluster = LOG_CLUSTER,
        .store = LOG_STORE,
        .epoch = UINT64_MAX,
        .cut_position = UINT64_MAX,
        .limit = log->geometry.ring_bytes,
        .chunk_bytes = ENTRY_BYTES_MAX,
    };
    struct scan scan;
    const uint8_t *entry = NULL;
    scan_init(&scan, &live, buffer, 0, (struct log_id){0});
    for (uint64_t index = 1; index <= 6; index++) {
        assert_int_equal(scan_next(&scan, &entry), SCAN_ENTRY);
        assert_int_equal(entry_header_of(entry)->index, index);
    }
    assert_int_equal(scan_next(&scan, &entry), SCAN_END);
    log_append(log, 2, 1);
    assert_int_equal(scan_next(&scan, &entry), SCAN_ENTRY);
    assert_int_equal(entry_header_of(entry)->index, 7);
    log_append(log, 2, 2);
    log_page(log, pages(14))[200] ^= 1;
    assert_int_equal(scan_next(&scan, &entry), SCAN_BAD);
    log_page(log, pages(14))[200] ^= 1;
    assert_int_equal(scan_next(&scan, &entry), SCAN_ENTRY);
    assert_int_equal(scan.last.index, 8);
}

/* What an operator may do stands at the end: it is not what is cut of a long message. */
static void a_refusal_of_a_damaged_log_says_what_to_do_however_much_was_found(void **state)
{
    (void)state;
    static const struct {
        enum recover_kind kind;
        bool beyond;
        const char *end;
    } cases[] = {
        {RECOVER_DAMAGED, false, "and gives up what was durable above"},
        {RECOVER_DAMAGED, true, "and let the others serve"},
        {RECOVER_SUSPECT, false, "if anything was"},
    };
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct recovery damaged = {
            .node = NODE_ID_MAX,
            .kind = cases[i].kind,
            .beyond_entries = cases[i].beyond,
            .last = {.index = LAYOUT_POSITION_LIMIT},
        };
        memset(damaged.what, 'x', sizeof damaged.what - 1);
        assert_int_equal(wal_damage_refuse(&damaged, &fault), -EBADMSG);
        const char *end = strstr(fault.text, cases[i].end);
        assert_non_null(end);
        assert_string_equal(end, cases[i].end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_of_a_damaged_log_says_what_to_do_however_much_was_found),
        cmocka_unit_test_setup_teardown(recover_finds_a_clean_log_whole, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(recover_refuses_another_cluster_and_another_node_by_name,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(
            recover_calls_a_log_without_superblocks_damaged_where_entries_stand, fixture_open,
            fixture_close),
        cmocka_unit_test_setup_teardown(recover_without_superblocks_and_entries_finds_no_log,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(recover_refuses_a_truncated_file, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(recover_keeps_the_prefix_before_a_write_that_is_absent,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(recover_calls_a_hole_below_a_later_write_in_flight_torn,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(recover_tells_rot_in_the_middle_and_the_log_does_not_open,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(
            recover_tells_a_bad_last_page_suspect_and_knows_its_entry_by_its_header, fixture_open,
            fixture_close),
        cmocka_unit_test_setup_teardown(recover_bounds_votes_when_the_tail_cannot_be_read,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_rotten_node_header_makes_its_page_bad, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_misplaced_record_is_bad, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_record_of_another_store_is_bad, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_lost_last_write_is_told_by_the_watermark_page,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(the_cut_is_a_watermark_of_its_own, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_cut_entry_never_comes_back, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_stale_entry_under_the_cut_is_told_by_the_cuts_last,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_copy_of_the_small_state_of_a_trimmed_log_must_be_there,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(an_entry_that_contradicts_itself_under_right_marks_is_bad,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_scan_of_a_live_log_goes_on_where_it_grew, fixture_open,
                                        fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
