/* test_storage_walk.c: a walk goes on past every sort of damage, names it, and agrees with
 * recovery.
 */
#include "storage/superblock.h"
#include "tests/support/log_fixture.h"
#include "tests/support/walk_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENTRIES       6u
#define ENTRY_PAGES   2u
#define ITEMS_MAX     64u
#define BODY_STRIDE   7u /* Of the body bytes that are flipped: every so many. */
#define MESSES        400u
#define MESS_PAGES    6u
#define MESS_SEED     7u
#define FIXTURE_PAGES (ENTRIES * ENTRY_PAGES)

static struct log_fixture fixture;
static struct recovery found;
static struct fault fault;
static _Alignas(PAGE_BYTES) uint8_t buffer[RECOVER_BUFFER_BYTES];
static struct walk_item items[ITEMS_MAX];
static uint32_t item_count;

static uint64_t pages(uint64_t count)
{
    return count * PAGE_BYTES;
}

/* Six entries of two pages, the last three of term 2; positions 0, 2, ... 10 pages; and the
 * watermark page says that all of them are durable. */
static int fixture_open(void **state)
{
    log_open_disk(&fixture);
    int result = log_open(&fixture, &found, &fault);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        log_append(&fixture, i < ENTRIES / 2 ? 1 : 2, ENTRY_PAGES);
    }
    fixture.now_ns += WATERMARK_IDLE_NS;
    log_settle(&fixture);
    *state = &fixture;
    return result;
}

static int fixture_close(void **state)
{
    log_close(*state);
    return 0;
}

/* Recover as a tool does, check the walk against it, and keep the items. */
static void look(struct log_fixture *log)
{
    const struct recover_config any = {.buffer = buffer, .survey = true};
    log->model.automatic = true;
    assert_int_equal(recover(&log->model.disk, &any, &found, &fault), 0);
    const char *wrong = walk_check(&log->model.disk, &found, buffer);
    if (wrong != NULL) {
        fail_msg("%s (%s: %s)", wrong, recover_kind_name(found.kind), found.what);
    }
    struct walk walk;
    walk_init(&walk, &log->model.disk, &found, buffer);
    item_count = 0;
    while (walk_next(&walk, &items[item_count])) {
        item_count++;
        assert_true(item_count < ITEMS_MAX);
    }
}

/* The item that covers a position. */
static const struct walk_item *item_at(uint64_t position)
{
    for (uint32_t i = 0; i < item_count; i++) {
        if (items[i].position <= position && position < items[i].position + items[i].bytes) {
            return &items[i];
        }
    }
    fail_msg("no item at %llu", (unsigned long long)position);
    return NULL;
}

static void expect_item(uint64_t position, enum walk_status status, const char *why)
{
    const struct walk_item *item = item_at(position);
    assert_string_equal(walk_status_name(item->status), walk_status_name(status));
    if (why == NULL) {
        assert_null(item->why);
    } else {
        assert_non_null(item->why);
        assert_non_null(strstr(item->why, why));
    }
}

/* All entries but `damaged` (from 1; 0: none) stand there, whole. */
static void expect_others_sound(uint32_t damaged)
{
    uint32_t sound = 0;
    for (uint32_t i = 0; i < item_count; i++) {
        if (walk_is_sound(&items[i])) {
            sound++;
            assert_int_not_equal(items[i].header.index, damaged);
            assert_int_equal(items[i].position, pages((items[i].header.index - 1) * ENTRY_PAGES));
        }
    }
    assert_int_equal(sound, ENTRIES - (damaged > 0));
}

static void a_whole_log_is_walked_entry_by_entry(void **state)
{
    look(*state);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    assert_int_equal(item_count, ENTRIES + 1);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        assert_int_equal(items[i].status, WALK_OK);
        assert_int_equal(items[i].header.index, i + 1);
        assert_int_equal(items[i].after.index, i);
        assert_true(items[i].proven);
    }
    expect_item(pages(FIXTURE_PAGES), WALK_ABSENT, "never written");
}

/* A byte of the headers and marks, or one of a sample of the body's. */
static bool is_flipped(uint32_t number, uint32_t at)
{
    uint32_t head_bytes = number == 0 ? ENTRY_BODY_OFFSET : 0;
    return at < head_bytes || at >= PAGE_BYTES - PAGE_MARK_BYTES || at % BODY_STRIDE == 0;
}

static void every_flipped_byte_is_damage_of_its_entry_alone(void **state)
{
    struct log_fixture *log = *state;
    for (uint32_t page = 0; page < FIXTURE_PAGES; page++) {
        for (uint32_t at = 0; at < PAGE_BYTES; at++) {
            if (!is_flipped(page % ENTRY_PAGES, at)) {
                continue;
            }
            log_page(log, pages(page))[at] ^= (uint8_t)(1u << at % 8);
            look(log);
            log_page(log, pages(page))[at] ^= (uint8_t)(1u << at % 8);
            assert_int_equal(found.kind, RECOVER_DAMAGED);
            assert_int_equal(found.bad_pages, 1);
            const struct walk_item *item = item_at(pages(page));
            assert_true(item->damage);
            assert_int_equal(item->bad_pages, 1);
            assert_true(item->status == WALK_BAD || item->status == WALK_GARBAGE);
            if (item->status == WALK_BAD) {
                assert_int_equal(item->page, page % ENTRY_PAGES);
                assert_int_equal(item->header.index, page / ENTRY_PAGES + 1);
            }
            expect_others_sound(page / ENTRY_PAGES + 1);
        }
    }
    look(log);
    assert_int_equal(found.kind, RECOVER_CLEAN);
}

static void each_sort_of_damage_is_named_where_it_is(void **state)
{
    struct log_fixture *log = *state;
    log_page(log, pages(2))[100] ^= 1; /* Entry 2: its header. */
    memset(log_page(log, pages(5)), 0, PAGE_BYTES);
    memcpy(log_page(log, pages(6)), log_page(log, pages(8)), PAGE_BYTES);
    disk_model_unreadable(&log->model, log->geometry.ring_offset + pages(11));
    look(log);
    expect_item(pages(0), WALK_OK, NULL);
    expect_item(pages(2), WALK_GARBAGE, "page mark");
    expect_item(pages(3), WALK_REST, "whose first page is not here");
    expect_item(pages(4), WALK_TORN, "never written");
    assert_int_equal(item_at(pages(4))->page, 1);
    expect_item(pages(6), WALK_GARBAGE, "misplaced");
    expect_item(pages(7), WALK_REST, "whose first page is not here");
    expect_item(pages(8), WALK_APART, "the entries before it are not there");
    expect_item(pages(10), WALK_BAD, "the disk cannot read it");
    assert_int_equal(item_at(pages(10))->page, 1);
    for (uint32_t i = 0; i < item_count; i++) {
        bool wrong = items[i].position >= pages(2) && items[i].position < pages(FIXTURE_PAGES) &&
                     items[i].position != pages(8);
        assert_int_equal(items[i].damage, wrong);
    }
}

static void pages_of_other_logs_and_laps_are_told_apart(void **state)
{
    struct log_fixture *log = *state;
    uint8_t *page = log_page(log, pages(2));
    struct node_header node;
    memcpy(&node, page, sizeof node);
    node.store++;
    node_header_seal(page, &node);
    look(log);
    expect_item(pages(2), WALK_GARBAGE, "another store");
    node.store--;
    node.epoch += 7;
    node_header_seal(page, &node);
    look(log);
    expect_item(pages(2), WALK_GARBAGE, "an epoch that the superblock does not know");

    static _Alignas(PAGE_BYTES) uint8_t entry[ENTRY_BYTES_MAX];
    struct entry_header header;
    memcpy(&header, page + NODE_HEADER_BYTES, sizeof header);
    for (uint32_t i = 0; i < ENTRY_PAGES; i++) {
        memcpy(entry + pages(i), log_page(log, pages(2 + i)), PAGE_BYTES);
    }
    header.cluster++;
    entry_seal(entry, &header);
    memcpy(page, entry, PAGE_BYTES);
    node.epoch -= 7;
    node_header_seal(page, &node);
    look(log);
    expect_item(pages(2), WALK_GARBAGE, "another cluster");
    expect_others_sound(2);
}

static void what_an_earlier_lap_left_is_absent(void **state)
{
    struct log_fixture *log = *state;
    uint64_t lap = LOG_RING_BYTES / PAGE_BYTES;
    uint8_t *old = log_page(log, pages(3));
    uint8_t kept[PAGE_BYTES];
    memcpy(kept, old, sizeof kept);
    struct log_start start = {.position = pages(8), .last = {.term = 2, .index = 4}, .offset = 4};
    assert_true(wal_put_state(log->wal, &start, "sessions", 8));
    wal_set_start(log->wal, &start);
    log_settle(log);
    while (log->position < pages(lap + 6)) {
        log_append(log, 2, ENTRY_PAGES);
    }
    look(log);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    expect_item(pages(lap + 6), WALK_ABSENT, "earlier lap");
    memcpy(log_page(log, pages(lap + 3)), kept,
           sizeof kept); /* As if that page were not written. */
    look(log);
    assert_int_equal(found.kind, RECOVER_DAMAGED);
    expect_item(pages(lap + 2), WALK_TORN, "earlier lap");
    expect_item(pages(lap + 4), WALK_OK, NULL);
}

static void void_entries_above_a_cut_are_stale_and_no_damage(void **state)
{
    struct log_fixture *log = *state;
    wal_cut(log->wal, (struct log_id){.term = 1, .index = 3}, pages(6));
    log_settle(log);
    look(log);
    assert_int_equal(found.kind, RECOVER_CLEAN);
    for (uint32_t i = 3; i < ENTRIES; i++) {
        expect_item(pages(i * ENTRY_PAGES), WALK_STALE, "cut");
        assert_false(items[i].damage);
        assert_int_equal(items[i].bytes, pages(ENTRY_PAGES));
    }
}

static void a_lost_write_under_the_cut_is_told_as_replaced(void **state)
{
    struct log_fixture *log = *state;
    uint8_t stale[ENTRY_PAGES][PAGE_BYTES];
    for (uint32_t i = 0; i < ENTRY_PAGES; i++) {
        memcpy(stale[i], log_page(log, pages(10 + i)), PAGE_BYTES);
    }
    wal_cut(log->wal, (struct log_id){.term = 2, .index = 5}, pages(10));
    log_settle(log);
    log->last = (struct log_id){.term = 2, .index = 5};
    log->position = pages(10);
    log_append(log, 3, ENTRY_PAGES);
    assert_int_equal(log_open(log, &found, &fault), 0);
    for (uint32_t i = 0; i < ENTRY_PAGES; i++) {
        memcpy(log_page(log, pages(10 + i)), stale[i], PAGE_BYTES);
    }
    look(log);
    assert_int_equal(found.kind, RECOVER_DAMAGED);
    expect_item(pages(10), WALK_REPLACED, "lost write");
    assert_true(item_at(pages(10))->damage);
}

static void a_torn_end_is_shown_and_no_damage(void **state)
{
    struct log_fixture *log = *state;
    struct wal_write writes[2] = {log_entry(log, 2, 2), log_entry(log, 2, 1)};
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(wal_write(log->wal, &writes[i]));
    }
    log_settle(log);
    memset(log_page(log, pages(FIXTURE_PAGES + 1)), 0, PAGE_BYTES);
    look(log);
    assert_int_equal(found.kind, RECOVER_TORN);
    expect_item(pages(FIXTURE_PAGES), WALK_TORN, "never written");
    expect_item(pages(FIXTURE_PAGES + 2), WALK_OK, NULL);
    assert_false(item_at(pages(FIXTURE_PAGES + 2))->proven);
}

static void a_superblock_without_a_slot_does_not_stop_the_walk(void **state)
{
    struct log_fixture *log = *state;
    for (uint32_t slot = 0; slot < SUPERBLOCK_SLOTS; slot++) {
        for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
            disk_model_page(&log->model, layout_superblock_at(slot, copy))[100] ^= 1;
        }
        assert_int_not_equal(log_recover(log, &found, &fault), 0); /* As a node is refused. */
        assert_int_equal(fault.code, FAULT_FAILED);
        look(log);
        assert_int_equal(found.refused, FAULT_FAILED);
        assert_int_equal(found.kind, RECOVER_DAMAGED);
        assert_non_null(strstr(found.what, "neither copy of slot"));
        for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
            disk_model_page(&log->model, layout_superblock_at(slot, copy))[100] ^= 1;
        }
    }
}

static void what_a_truncated_file_still_has_is_walked(void **state)
{
    struct log_fixture *log = *state;
    uint64_t bytes = log->model.disk.bytes;
    log->model.disk.bytes = log->geometry.ring_offset + pages(5);
    assert_int_not_equal(log_recover(log, &found, &fault), 0);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    look(log);
    assert_int_equal(found.refused, FAULT_ENVIRONMENT);
    expect_item(pages(2), WALK_OK, NULL);
    expect_item(pages(4), WALK_BAD, "the disk cannot read it");
    expect_item(pages(6), WALK_GARBAGE, "the disk cannot read it");
    log->model.disk.bytes = LAYOUT_WATERMARKS_AT; /* No more than the superblock. */
    look(log);
    assert_int_equal(found.entry_count, 0);
    log->model.disk.bytes = bytes;
}

/* One of the things that befall a page. */
static void mess_up(struct log_fixture *log, struct prng *prng)
{
    uint64_t ring_pages = LOG_RING_BYTES / PAGE_BYTES;
    uint8_t *page = log_page(log, pages(prng_below(prng, FIXTURE_PAGES + 2)));
    uint8_t *other = log_page(log, pages(prng_below(prng, ring_pages)));
    switch (prng_below(prng, 4)) {
    case 0:
        page[prng_below(prng, PAGE_BYTES)] ^= (uint8_t)(1u << prng_below(prng, 8));
        return;
    case 1:
        memset(page, 0, PAGE_BYTES);
        return;
    case 2:
        memcpy(page, other, PAGE_BYTES);
        return;
    default:
        memcpy(other, page, PAGE_BYTES);
        return;
    }
}

static void any_mess_of_pages_is_walked_and_judged_as_recovery_does(void **state)
{
    struct log_fixture *log = *state;
    uint8_t *kept = malloc(LOG_DISK_BYTES);
    assert_non_null(kept);
    memcpy(kept, log->model.image, LOG_DISK_BYTES);
    struct prng prng;
    prng_init(&prng, MESS_SEED);
    printf("seed %u\n", MESS_SEED);
    uint32_t damaged = 0;
    for (uint32_t i = 0; i < MESSES; i++) {
        memcpy(log->model.image, kept, LOG_DISK_BYTES);
        for (uint64_t count = 1 + prng_below(&prng, MESS_PAGES); count > 0; count--) {
            mess_up(log, &prng);
        }
        look(log);
        damaged += !recover_is_whole(&found);
    }
    free(kept);
    assert_true(damaged > MESSES / 2);
    assert_true(damaged < MESSES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_whole_log_is_walked_entry_by_entry, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(every_flipped_byte_is_damage_of_its_entry_alone,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(each_sort_of_damage_is_named_where_it_is, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(pages_of_other_logs_and_laps_are_told_apart, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(what_an_earlier_lap_left_is_absent, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(void_entries_above_a_cut_are_stale_and_no_damage,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_lost_write_under_the_cut_is_told_as_replaced,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(a_torn_end_is_shown_and_no_damage, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_superblock_without_a_slot_does_not_stop_the_walk,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(what_a_truncated_file_still_has_is_walked, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(any_mess_of_pages_is_walked_and_judged_as_recovery_does,
                                        fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
