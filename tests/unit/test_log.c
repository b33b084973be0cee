/* test_log.c: the log in memory against a plain array, with random appends, cuts and trims. */
#include "engine/base/prng.h"
#include "engine/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RING_BYTES      LOG_MEMORY_MIN
#define DISK_RING_BYTES (8u << 20)
#define MODEL_MAX       20000u

struct fixture {
    struct mem mem;
    struct log log;
    struct entry_header model[MODEL_MAX]; /* By index. */
    struct prng prng;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    int result = mem_open(&f->mem, log_memory_bytes(RING_BYTES));
    assert_int_equal(result, 0);
    log_init(&f->log, &f->mem, RING_BYTES);
    struct log_start start = {0};
    log_begin(&f->log, &start, DISK_RING_BYTES);
    prng_init(&f->prng, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    mem_close(&f->mem);
    free(f);
    return 0;
}

static void append(struct fixture *f, uint32_t pages, uint32_t records, uint64_t term)
{
    struct log *log = &f->log;
    struct entry_header header = {
        .kind = ENTRY_CLIENT,
        .pages = (uint8_t)pages,
        .term = term,
        .index = log->last.index + 1,
        .previous_term = log->last.term,
        .position = log->end_position,
        .first_offset = log->next_offset,
        .record_count = records,
    };
    uint8_t *slot = log_place(log, log->end_position, pages * PAGE_BYTES, log->end_position);
    assert_non_null(slot);
    memset(slot, (int)(header.index & 0xff), pages * PAGE_BYTES);
    log_take(log, &header, true);
    assert_true(header.index < MODEL_MAX);
    f->model[header.index] = header;
}

/* The counters of bytes [from, from + bytes) of an entry. */
static uint16_t *
pins_of(const struct log *log, uint64_t index, uint32_t from, uint32_t bytes, uint32_t *page_count)
{
    const uint8_t *entry = log_bytes(log, index);
    assert_non_null(entry);
    uint16_t *pins = log_pins(log, entry + from, bytes, page_count);
    assert_non_null(pins);
    return pins;
}

static bool has_room(struct log *log, uint32_t pages)
{
    return log_place(log, log->end_position, pages * PAGE_BYTES, log->end_position) != NULL;
}

static void a_slot_whose_page_is_read_is_not_given_a_lap_later(void **state)
{
    struct fixture *f = *state;
    struct log *log = &f->log;
    append(f, 4, 1, 1);
    uint32_t page_count = 0;
    uint16_t *pins = pins_of(log, 1, PAGE_BYTES + 100, PAGE_BYTES, &page_count);
    assert_int_equal(page_count, 2); /* Its second and third. */
    assert_ptr_equal(pins, log->pins + 1);
    pins[1] = 2; /* Two readers of the third. */
    while (log->end_position + ENTRY_BYTES_MAX <= RING_BYTES) {
        append(f, ENTRY_PAGES_MAX, 1, 1);
    }
    append(f, (uint32_t)((RING_BYTES - log->end_position) / PAGE_BYTES), 1, 1);
    assert_int_equal(log->end_position, RING_BYTES);
    assert_int_equal(log->pinned_waits, 0);
    assert_true(has_room(log, 2)); /* The first two pages of that entry. */
    for (uint32_t pages = 3; pages <= ENTRY_PAGES_MAX; pages++) {
        assert_false(has_room(log, pages));
    }
    assert_int_equal(log->pinned_waits, ENTRY_PAGES_MAX - 2);
    pins[1]--;
    assert_false(has_room(log, 3));
    pins[1]--;
    assert_true(has_room(log, ENTRY_PAGES_MAX));
}

static void a_slot_that_is_read_is_not_given_to_what_replaces_a_cut_entry(void **state)
{
    struct fixture *f = *state;
    struct log *log = &f->log;
    append(f, 1, 1, 1);
    append(f, 3, 1, 1);
    struct log_end end;
    uint32_t page_count = 0;
    uint16_t *pins = pins_of(log, 2, 2 * PAGE_BYTES, PAGE_BYTES, &page_count);
    assert_int_equal(page_count, 1);
    pins[0] = 1;
    assert_true(log_end_at(log, 1, &end));
    log_cut(log, &end);
    assert_false(has_room(log, 3));
    assert_true(has_room(log, 2));
    pins[0] = 0;
    append(f, 3, 1, 2);
}

static void room_behind_the_ring_has_pages_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct log *log = &f->log;
    while (log->end_position + ENTRY_BYTES_MAX < RING_BYTES) {
        append(f, ENTRY_PAGES_MAX - 1, 1, 1);
    }
    append(f, ENTRY_PAGES_MAX, 1, 1); /* It ends behind the ring. */
    assert_true(log->end_position > RING_BYTES);
    uint32_t page_count = 0;
    uint16_t *pins =
        pins_of(log, log->last.index, (ENTRY_PAGES_MAX - 1) * PAGE_BYTES, PAGE_BYTES, &page_count);
    pins[0] = 1;
    assert_true(has_room(log, ENTRY_PAGES_MAX)); /* The ring's own first pages are free. */
    uint8_t elsewhere[8];
    assert_null(log_pins(log, elsewhere, sizeof elsewhere, &page_count));
}

static void slots_of_following_entries_follow_each_other_but_for_the_ring_end(void **state)
{
    struct fixture *f = *state;
    uint32_t breaks = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        const uint8_t *end = log_slot(&f->log, f->log.end_position);
        append(f, (uint32_t)prng_between(&f->prng, 1, ENTRY_PAGES_MAX), 1, 1);
        const struct log_entry *entry = log_entry(&f->log, f->log.last.index);
        assert_ptr_equal(end, log_slot(&f->log, entry->position));
        const uint8_t *behind = end + log_entry_bytes(entry);
        assert_true(behind <= f->log.ring + RING_BYTES + ENTRY_BYTES_MAX);
        breaks += behind != log_slot(&f->log, f->log.end_position);
    }
    assert_true(breaks > 10);
    assert_true(breaks < 100);
}

static void place_refuses_to_overwrite_what_is_not_durable(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < RING_BYTES / ENTRY_BYTES_MAX - 1; i++) {
        append(f, ENTRY_PAGES_MAX, 1, 1);
    }
    uint64_t end = f->log.end_position;
    assert_non_null(log_place(&f->log, end, ENTRY_BYTES_MAX, 0));
    assert_null(log_place(&f->log, end + PAGE_BYTES, ENTRY_BYTES_MAX, 0));
    assert_non_null(log_bytes(&f->log, 1));
    assert_non_null(log_place(&f->log, end + PAGE_BYTES, ENTRY_BYTES_MAX, ENTRY_BYTES_MAX));
    assert_null(log_bytes(&f->log, 1));
    assert_non_null(log_bytes(&f->log, 2));
}

static void bytes_in_memory_are_never_overwritten(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 5000; i++) {
        append(f, (uint32_t)prng_between(&f->prng, 1, ENTRY_PAGES_MAX), 1, 1);
        for (uint64_t index = f->log.last.index; index > 0; index--) {
            const uint8_t *bytes = log_bytes(&f->log, index);
            if (bytes == NULL) {
                break;
            }
            uint32_t last = f->model[index].pages * PAGE_BYTES - 1;
            assert_int_equal(bytes[0], index & 0xff);
            assert_int_equal(bytes[last], index & 0xff);
        }
    }
}

static void check_places(struct fixture *f)
{
    struct log *log = &f->log;
    uint64_t first = log->start.last.index + 1;
    if (log->last.index < first) {
        return;
    }
    uint64_t index = prng_between(&f->prng, first, log->last.index);
    struct log_place place = log_find_index(log, index);
    assert_true(place.index <= index);
    assert_true(place.index >= first);
    assert_int_equal(place.position, f->model[place.index].position);
    assert_true(f->model[index].position - place.position <= 2 * log->stride_bytes);
    if (log->next_offset > log->start.offset) {
        uint64_t offset = prng_between(&f->prng, log->start.offset, log->next_offset - 1);
        place = log_find_offset(log, offset);
        assert_true(place.first_offset <= offset);
        assert_int_equal(place.position, f->model[place.index].position);
        uint64_t holder = log_index_of_offset(log, offset);
        if (holder != 0) {
            const struct entry_header *header = &f->model[holder];
            assert_true(header->first_offset <= offset);
            assert_true(offset < header->first_offset + header->record_count);
        }
    }
}

static void find_gives_a_place_at_or_before_what_is_sought(void **state)
{
    struct fixture *f = *state;
    uint64_t term = 1;
    for (uint32_t i = 0; i < 15000; i++) {
        struct log *log = &f->log;
        uint64_t first = log->start.last.index + 1;
        uint64_t kept = log->end_position - log->start.position;
        if (prng_chance(&f->prng, 20000) && log->last.index > first + 40) {
            struct log_end end;
            uint64_t keep = log->last.index - prng_below(&f->prng, 30);
            assert_true(log_end_at(log, keep, &end));
            assert_int_equal(end.position,
                             f->model[keep].position + f->model[keep].pages * PAGE_BYTES);
            log_cut(log, &end);
            term++;
        } else if (kept > DISK_RING_BYTES - (1u << 20)) {
            uint64_t to = first + (log->last.index - first) / 3;
            struct log_start start = {.position = f->model[to].position,
                                      .last = {.term = f->model[to].previous_term, .index = to - 1},
                                      .offset = f->model[to].first_offset};
            log_trim(log, &start);
        } else if (log->last.index + 1 < MODEL_MAX) {
            append(f, (uint32_t)prng_between(&f->prng, 1, ENTRY_PAGES_MAX),
                   (uint32_t)prng_below(&f->prng, 4), term);
        }
        check_places(f);
    }
}

static void offset_of_an_entry_without_records_belongs_to_the_next_one(void **state)
{
    struct fixture *f = *state;
    append(f, 1, 5, 1);
    append(f, 1, 0, 2);
    append(f, 1, 3, 2);
    assert_int_equal(log_index_of_offset(&f->log, 4), 1);
    assert_int_equal(log_index_of_offset(&f->log, 5), 3);
    assert_int_equal(log_index_of_offset(&f->log, 7), 3);
    assert_int_equal(log_index_of_offset(&f->log, 8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_slot_whose_page_is_read_is_not_given_a_lap_later, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_slot_that_is_read_is_not_given_to_what_replaces_a_cut_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(room_behind_the_ring_has_pages_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(
            slots_of_following_entries_follow_each_other_but_for_the_ring_end, setup, teardown),
        cmocka_unit_test_setup_teardown(place_refuses_to_overwrite_what_is_not_durable, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(bytes_in_memory_are_never_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(find_gives_a_place_at_or_before_what_is_sought, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(offset_of_an_entry_without_records_belongs_to_the_next_one,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
