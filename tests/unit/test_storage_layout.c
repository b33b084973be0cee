/* test_storage_layout.c: the ring's geometry, format, the superblock's copies, small states. */
#include "engine/base/crc.h"
#include "storage/format.h"
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

static int fixture_open(void **state)
{
    log_open_disk(&fixture);
    *state = &fixture;
    return 0;
}

static int fixture_close(void **state)
{
    log_close(*state);
    return 0;
}

static void geometry_takes_the_most_whole_segments_that_fit(void **state)
{
    (void)state;
    struct geometry geometry;
    const uint64_t mib = 1024u * 1024u;
    assert_true(geometry_fit(&geometry, 256 * mib, 16 * mib, WRITE_WINDOW_BYTES));
    assert_int_equal(geometry.segment_count, 15);
    assert_int_equal(geometry.ring_offset, 4 * mib);
    assert_true(geometry_file_bytes(&geometry) <= 256 * mib);
    assert_false(geometry_fit(&geometry, 64 * mib, 16 * mib, WRITE_WINDOW_BYTES));
    assert_true(geometry_fit(&geometry, geometry_file_bytes_min(0), 16 * mib, WRITE_WINDOW_BYTES));
    assert_int_equal(geometry.segment_count, SEGMENTS_MIN);
    assert_false(
        geometry_fit(&geometry, geometry_file_bytes_min(0) - 1, 16 * mib, WRITE_WINDOW_BYTES));
}

static void geometry_refuses_numbers_that_are_none(void **state)
{
    (void)state;
    struct geometry geometry;
    const uint64_t segment = SEGMENT_BYTES_MIN;
    assert_true(geometry_init(&geometry, 4 * segment, segment, PAGE_BYTES));
    assert_false(geometry_init(&geometry, 4 * segment, 0, PAGE_BYTES));
    assert_false(geometry_init(&geometry, 4 * segment + 1, segment, PAGE_BYTES));
    assert_false(geometry_init(&geometry, 3 * segment, segment, PAGE_BYTES));
    assert_false(geometry_init(&geometry, 4 * segment, segment, 0));
    assert_false(geometry_init(&geometry, 4 * (segment + 8), segment + 8, PAGE_BYTES));
    assert_false(geometry_init(&geometry, 65537 * segment, segment, PAGE_BYTES));
}

static void a_range_splits_at_the_rings_end_and_nowhere_else(void **state)
{
    const struct geometry *geometry = &((struct log_fixture *)*state)->geometry;
    struct ring_part parts[2];
    uint64_t ring = geometry->ring_bytes;
    uint64_t segment = geometry->segment_bytes;
    assert_int_equal(ring_split(geometry, segment - PAGE_BYTES, 2 * PAGE_BYTES, parts), 1);
    assert_int_equal(parts[0].offset, geometry->ring_offset + segment - PAGE_BYTES);
    assert_int_equal(ring_split(geometry, 7 * ring - PAGE_BYTES, PAGE_BYTES, parts), 1);
    assert_int_equal(ring_split(geometry, 7 * ring - PAGE_BYTES, 3 * PAGE_BYTES, parts), 2);
    assert_int_equal(parts[0].offset, geometry->ring_offset + ring - PAGE_BYTES);
    assert_int_equal(parts[0].bytes, PAGE_BYTES);
    assert_int_equal(parts[1].offset, geometry->ring_offset);
    assert_int_equal(parts[1].bytes, 2 * PAGE_BYTES);
}

static void small_states_of_a_full_ring_have_places_of_their_own(void **state)
{
    const struct geometry *geometry = &((struct log_fixture *)*state)->geometry;
    uint64_t slots = geometry->segment_count + 2;
    for (uint64_t a = 3; a < 3 + slots; a++) {
        for (uint64_t b = 3; b < 3 + slots; b++) {
            bool same = a == b;
            assert_true(same == (state_at(geometry, a, 0) == state_at(geometry, b, 0)));
            assert_true(same == (state_at(geometry, a, 1) == state_at(geometry, b, 1)));
            assert_int_not_equal(state_at(geometry, a, 0), state_at(geometry, b, 1));
        }
        assert_int_equal(state_at(geometry, a, 1) - state_at(geometry, a, 0), slots * STATE_BYTES);
        assert_true(state_at(geometry, a, 1) + STATE_BYTES <= geometry->ring_offset);
    }
}

static void a_small_state_is_told_from_every_other(void **state)
{
    (void)state;
    static _Alignas(PAGE_BYTES) uint8_t pages[STATE_BYTES];
    const struct state_owner owner = {.cluster = 1, .store = 2, .segment = 3};
    const struct log_start boundary = {
        .position = 3 * PAGE_BYTES, .last = {.term = 4, .index = 5}, .offset = 6};
    char bytes[5000];
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(state_encode(pages, &owner, &boundary, bytes, sizeof bytes), 3 * PAGE_BYTES);
    uint32_t count = 0;
    assert_null(state_check(pages, &owner, &boundary, &count));
    assert_int_equal(count, sizeof bytes);
    struct state_owner other = owner;
    other.store++;
    assert_string_equal(state_check(pages, &other, &boundary, &count), "of another log");
    struct log_start later = boundary;
    later.offset++;
    assert_string_equal(state_check(pages, &owner, &later, &count), "of another boundary");
    pages[PAGE_BYTES + 4999] ^= 1;
    assert_string_equal(state_check(pages, &owner, &boundary, &count), "bytes damaged");
    pages[8] ^= 1;
    assert_string_equal(state_check(pages, &owner, &boundary, &count), "not written or damaged");
}

static int load(struct log_fixture *log, struct superblock_set *set, struct fault *fault)
{
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    memset(fault, 0, sizeof *fault);
    return superblock_load(&log->model.disk, page, set, fault);
}

static void format_writes_four_copies_of_the_configuration(void **state)
{
    struct superblock_set set;
    struct fault fault;
    assert_int_equal(load(*state, &set, &fault), 0);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(set.valid[i / 2][i % 2]);
        assert_int_equal(set.copies[i / 2][i % 2].store, LOG_STORE);
    }
    assert_int_equal(set.newest.cluster, LOG_CLUSTER);
    assert_int_equal(set.newest.node, LOG_NODE);
    assert_int_equal(set.newest.sequence, 2);
    assert_int_equal(set.newest.ring_bytes, LOG_SEGMENTS * LOG_SEGMENT_PAGES * PAGE_BYTES);
}

static void format_refuses_a_disk_that_is_too_small_and_names_the_size(void **state)
{
    struct log_fixture *log = *state;
    struct geometry geometry;
    struct fault fault;
    const struct format_config config = {.cluster = 1, .store = 2, .node = 1};
    assert_true(storage_format(&log->model.disk, &config, log->bytes, &geometry, &fault) < 0);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "size"));
}

static void format_refuses_a_segment_that_is_too_small(void **state)
{
    struct log_fixture *log = *state;
    struct geometry geometry;
    struct fault fault;
    const struct format_config config = {
        .cluster = 1, .store = 2, .node = 1, .segment_bytes = SEGMENT_BYTES_MIN - PAGE_BYTES};
    assert_true(storage_format(&log->model.disk, &config, log->bytes, &geometry, &fault) < 0);
    assert_int_equal(fault.code, FAULT_USAGE);
}

static void a_disk_of_zeros_is_not_formatted(void **state)
{
    struct log_fixture *log = *state;
    disk_model_reset(&log->model);
    struct superblock_set set;
    struct fault fault;
    assert_true(load(log, &set, &fault) < 0);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "thole format"));
}

static void foreign_bytes_are_not_a_log(void **state)
{
    struct log_fixture *log = *state;
    disk_model_reset(&log->model);
    memcpy(disk_model_page(&log->model, 0),
           "\x7f"
           "ELF",
           4);
    struct superblock_set set;
    struct fault fault;
    assert_true(load(log, &set, &fault) < 0);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "not a log"));
}

/* Whatever write the power goes in. */
static void an_unfinished_log_is_refused_until_the_last_page_of_its_format(void **state)
{
    struct log_fixture *log = *state;
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    const struct format_config config = {.cluster = 1,
                                         .store = 2,
                                         .node = 1,
                                         .segment_bytes = LOG_SEGMENT_PAGES * PAGE_BYTES,
                                         .small = true};
    struct superblock_set set;
    struct geometry geometry;
    struct fault fault;
    for (uint32_t death = 0; death < 4; death++) {
        disk_model_reset(&log->model);
        assert_int_equal(superblock_mark_unfinished(&log->model.disk, page), 0);
        log->model.writes_until_death = death;
        assert_int_equal(storage_format(&log->model.disk, &config, page, &geometry, &fault), -EIO);
        log->model.flight_count = 0; /* That write never came to the disk. */
        log->model.writes_until_death = DISK_MODEL_ALIVE;
        assert_int_equal(load(log, &set, &fault), -EINPROGRESS);
        assert_int_equal(fault.code, FAULT_ENVIRONMENT);
        assert_non_null(strstr(fault.text, "thole restore"));
        assert_false(superblock_set_any(&set));
    }
    assert_int_equal(storage_format(&log->model.disk, &config, page, &geometry, &fault), 0);
    assert_int_equal(load(log, &set, &fault), 0);
}

static void a_newer_format_in_any_copy_is_refused_naming_both_versions(void **state)
{
    struct log_fixture *log = *state;
    uint8_t *page = disk_model_page(&log->model, layout_superblock_at(1, 1));
    struct superblock superblock;
    memcpy(&superblock, page, sizeof superblock);
    superblock.version = LAYOUT_VERSION + 6;
    layout_page_seal(page, &superblock, sizeof superblock);
    struct superblock_set set;
    struct fault fault;
    assert_true(load(log, &set, &fault) < 0);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "version 8"));
    assert_non_null(strstr(fault.text, "version 2"));
}

static void an_older_format_is_refused_naming_both_versions_and_the_way_out(void **state)
{
    struct log_fixture *log = *state;
    for (uint32_t i = 0; i < 4; i++) {
        uint8_t *page = disk_model_page(&log->model, layout_superblock_at(i / 2, i % 2));
        struct superblock superblock;
        memcpy(&superblock, page, sizeof superblock);
        superblock.version = 1;
        layout_page_seal(page, &superblock, sizeof superblock);
    }
    struct superblock_set set;
    struct fault fault;
    assert_int_equal(load(log, &set, &fault), -ENOTSUP);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "version 1"));
    assert_non_null(strstr(fault.text, "version 2"));
    assert_non_null(strstr(fault.text, "thole restore"));
}

static void a_slot_without_a_valid_copy_is_refused(void **state)
{
    struct log_fixture *log = *state;
    struct superblock_set set;
    struct fault fault;
    disk_model_page(&log->model, layout_superblock_at(0, 0))[30] ^= 4;
    assert_int_equal(load(log, &set, &fault), 0);
    disk_model_page(&log->model, layout_superblock_at(0, 1))[PAGE_BYTES - 1] ^= 4;
    assert_true(load(log, &set, &fault) < 0);
    assert_int_equal(fault.code, FAULT_FAILED);
    assert_non_null(strstr(fault.text, "slot 0"));
}

static void an_unreadable_copy_is_an_invalid_one(void **state)
{
    struct log_fixture *log = *state;
    struct superblock_set set;
    struct fault fault;
    disk_model_unreadable(&log->model, layout_superblock_at(1, 0));
    assert_int_equal(load(log, &set, &fault), 0);
    assert_false(set.valid[1][0]);
    disk_model_unreadable(&log->model, layout_superblock_at(1, 1));
    assert_true(load(log, &set, &fault) < 0);
}

static void the_newest_sequence_wins_even_with_one_copy_and_mending_makes_two(void **state)
{
    struct log_fixture *log = *state;
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    struct superblock_set set;
    struct fault fault;
    assert_int_equal(load(log, &set, &fault), 0);
    struct superblock next = set.newest;
    next.sequence = 3;
    next.term = 9;
    superblock_encode(&next, disk_model_page(&log->model, layout_superblock_at(1, 0)));
    disk_model_page(&log->model, layout_superblock_at(0, 0))[30] ^= 4;
    assert_int_equal(load(log, &set, &fault), 0);
    assert_int_equal(set.newest.term, 9);
    uint64_t before = log->model.write_count;
    assert_int_equal(superblock_mend(&log->model.disk, page, &set, &fault), 0);
    assert_int_equal(log->model.write_count, before + 2);
    disk_model_page(&log->model, layout_superblock_at(1, 0))[30] ^= 4;
    disk_model_page(&log->model, layout_superblock_at(0, 1))[30] ^= 4;
    assert_int_equal(load(log, &set, &fault), 0);
    assert_int_equal(set.newest.term, 9);
    assert_int_equal(set.newest.sequence, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(geometry_takes_the_most_whole_segments_that_fit),
        cmocka_unit_test(geometry_refuses_numbers_that_are_none),
        cmocka_unit_test_setup_teardown(a_range_splits_at_the_rings_end_and_nowhere_else,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(small_states_of_a_full_ring_have_places_of_their_own,
                                        fixture_open, fixture_close),
        cmocka_unit_test(a_small_state_is_told_from_every_other),
        cmocka_unit_test_setup_teardown(format_writes_four_copies_of_the_configuration,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(format_refuses_a_disk_that_is_too_small_and_names_the_size,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(format_refuses_a_segment_that_is_too_small, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_disk_of_zeros_is_not_formatted, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(foreign_bytes_are_not_a_log, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(
            an_unfinished_log_is_refused_until_the_last_page_of_its_format, fixture_open,
            fixture_close),
        cmocka_unit_test_setup_teardown(a_newer_format_in_any_copy_is_refused_naming_both_versions,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(
            an_older_format_is_refused_naming_both_versions_and_the_way_out, fixture_open,
            fixture_close),
        cmocka_unit_test_setup_teardown(a_slot_without_a_valid_copy_is_refused, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(an_unreadable_copy_is_an_invalid_one, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(
            the_newest_sequence_wins_even_with_one_copy_and_mending_makes_two, fixture_open,
            fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
