/* test_scrub.c: suspects; and replicas whose disks go bad under them, driven poll by poll. What
 * goes wrong at random is in tests/sim/rot.c. */
#include "engine/suspects.h"
#include "storage/segment.h"
#include "tests/support/replica_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RECORDS       40u
#define LARGE_RECORDS 70u /* More than memory holds. */
#define LARGE_BYTES   50000u

/* ---- Suspects. ---- */

static void a_suspect_is_known_once_and_the_one_due_first_comes_first(void **state)
{
    (void)state;
    struct suspects suspects = {0};
    struct suspect first;
    assert_false(suspects_first(&suspects, &first));
    suspects_wait(&suspects, PAGE_BYTES, 500);
    suspects_note(&suspects, PAGE_BYTES); /* It still waits. */
    suspects_wait(&suspects, 3 * PAGE_BYTES, 300);
    assert_int_equal(suspects.count, 2);
    assert_int_equal(suspects_waiting(&suspects), 2);
    assert_true(suspects_first(&suspects, &first));
    assert_int_equal(first.position, 3 * PAGE_BYTES);
    suspects_note(&suspects, 0);
    assert_true(suspects_first(&suspects, &first));
    assert_int_equal(first.position, 0);
    assert_false(first.waits);
    suspects_drop(&suspects, 0);
    suspects_drop(&suspects, 7 * PAGE_BYTES);
    assert_int_equal(suspects.count, 2);
}

static void a_suspect_that_was_looked_at_is_forgotten_unless_it_waits_again(void **state)
{
    (void)state;
    struct suspects suspects = {0};
    suspects_wait(&suspects, PAGE_BYTES, 500);
    suspects_wait(&suspects, PAGE_BYTES, 900);
    suspects_settle(&suspects, PAGE_BYTES, 600);
    assert_int_equal(suspects.count, 1);
    suspects_settle(&suspects, PAGE_BYTES, 900);
    assert_int_equal(suspects.count, 0);
}

static void a_full_table_of_suspects_forgets_what_comes(void **state)
{
    (void)state;
    struct suspects suspects = {0};
    for (uint64_t i = 0; i < 2 * SUSPECTS_MAX; i++) {
        suspects_note(&suspects, i * PAGE_BYTES);
        suspects_wait(&suspects, i * PAGE_BYTES, i);
    }
    assert_int_equal(suspects.count, SUSPECTS_MAX);
    assert_int_equal(suspects_waiting(&suspects), SUSPECTS_MAX);
}

/* ---- Replicas. ---- */

static uint64_t offset_of(uint64_t position)
{
    struct geometry geometry;
    assert_true(geometry_fit(&geometry, WORLD_DISK_BYTES, SEGMENT_BYTES_MIN, WRITE_WINDOW_BYTES));
    return geometry.ring_offset + position % geometry.ring_bytes;
}

static void page_get(struct world *w, uint32_t node, uint64_t position, uint8_t *page)
{
    assert_int_equal(disk_read(w->disk[node].inner, offset_of(position), PAGE_BYTES, page), 0);
}

static void page_flip(struct world *w, uint32_t node, uint64_t position, uint32_t byte)
{
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    page_get(w, node, position, page);
    page[byte] ^= 1;
    struct disk_io io = {
        .op = DISK_WRITE, .bytes = PAGE_BYTES, .offset = offset_of(position), .buffer = page};
    assert_int_equal(disk_transfer(w->disk[node].inner, &io), 0);
}

static bool page_is_as_on(struct world *w, uint32_t node, uint32_t other, uint64_t position)
{
    static _Alignas(PAGE_BYTES) uint8_t pages[2][PAGE_BYTES];
    page_get(w, node, position, pages[0]);
    page_get(w, other, position, pages[1]);
    return memcmp(pages[0] + NODE_HEADER_BYTES, pages[1] + NODE_HEADER_BYTES,
                  PAGE_BYTES - NODE_HEADER_BYTES) == 0;
}

/* Three nodes with entries of one page each, idle. */
static struct world *world_of_records(uint32_t *leader)
{
    struct world *w = world_open(1472, 0);
    *leader = world_wait_leader(w);
    for (uint64_t k = 0; k < RECORDS; k++) {
        world_send_record(w, *leader, k, 100);
        world_run(w, 50);
    }
    world_run_by(w, 100, 1000000);
    assert_int_equal(w->answer_count, RECORDS);
    return w;
}

static void what_memory_holds_is_put_back_without_a_question(void **state)
{
    (void)state;
    uint32_t leader;
    struct world *w = world_of_records(&leader);
    uint32_t node = (leader + 1) % WORLD_NODES;
    const struct replica_counters *counters = replica_counters(w->replica[node]);
    uint64_t passes = counters->scrub_passes;
    for (uint32_t i = 3; i < 9; i += 2) {
        page_flip(w, node, (uint64_t)i * PAGE_BYTES, 300);
    }
    page_flip(w, node, 20ull * PAGE_BYTES, 5); /* The node's own header alone. */
    world_run_by(w, 1000, 1000000);
    assert_true(counters->scrub_passes >= passes + 2);
    assert_int_equal(counters->entries_mended, 4);
    assert_int_equal(counters->scrub_pages, 4);
    assert_int_equal(counters->scrub_waiting, 0);
    assert_int_equal(counters->mend_questions, 0);
    for (uint32_t i = 0; i < RECORDS; i++) {
        assert_true(page_is_as_on(w, node, leader, (uint64_t)i * PAGE_BYTES));
    }
    world_close(w);
}

static void a_whole_log_is_read_again_and_again_and_nothing_is_written(void **state)
{
    (void)state;
    uint32_t leader;
    struct world *w = world_of_records(&leader);
    world_run_by(w, 2000, 1000000);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        const struct replica_counters *counters = replica_counters(w->replica[i]);
        assert_in_range(counters->scrub_passes, 10, 25); /* 2 s of passes 100 ms apart, and some. */
        assert_true(counters->scrub_bytes >= counters->scrub_passes * RECORDS * PAGE_BYTES / 2);
        assert_int_equal(counters->scrub_bad, 0);
        assert_int_equal(counters->scrub_pages, 0);
    }
    world_close(w);
}

/* ---- Its rate. ---- */

static void send_large(struct world *w, uint32_t leader)
{
    for (uint32_t k = 0; k < LARGE_RECORDS; k++) {
        world_send_record(w, leader, k, LARGE_BYTES);
        world_run(w, 50);
    }
}

static void a_pass_reads_as_much_as_its_rate_allows_and_no_more(void **state)
{
    (void)state;
    const uint64_t bytes_per_s = 256u << 10;
    struct world *w = world_open_scrub(8192, bytes_per_s, 100ull * WORLD_MS);
    send_large(w, world_wait_leader(w));
    uint64_t before[WORLD_NODES];
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        before[i] = replica_counters(w->replica[i])->scrub_bytes;
    }
    for (uint32_t s = 1; s <= 4; s++) {
        world_run_by(w, 1000, WORLD_MS);
        for (uint32_t i = 0; i < WORLD_NODES; i++) {
            uint64_t bytes = replica_counters(w->replica[i])->scrub_bytes - before[i];
            assert_in_range(bytes, s * bytes_per_s / 2, s * bytes_per_s + ENTRY_BYTES_MAX);
        }
    }
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_suspect_is_known_once_and_the_one_due_first_comes_first),
        cmocka_unit_test(a_suspect_that_was_looked_at_is_forgotten_unless_it_waits_again),
        cmocka_unit_test(a_full_table_of_suspects_forgets_what_comes),
        cmocka_unit_test(what_memory_holds_is_put_back_without_a_question),
        cmocka_unit_test(a_whole_log_is_read_again_and_again_and_nothing_is_written),
        cmocka_unit_test(a_pass_reads_as_much_as_its_rate_allows_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
