/* test_scrub.c: suspects; and replicas whose disks go bad under them, driven poll by poll. What
 * goes wrong at random is in tests/sim/rot.c. */
#include "engine/scrub.h"
#include "engine/suspects.h"
#include "storage/small_state.h"
#include "tests/support/replica_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RECORDS       40u
#define SMALL_RECORDS 8u
#define FIRST_SMALL   2u /* Its entry. */
#define FIRST_LARGE   12u
#define LARGE_PAGES   13u
#define LARGE_RECORDS 70u /* More than memory holds. */
#define LARGE_BYTES   50000u

/* ---- Suspects. ---- */

static void a_suspect_is_known_once_and_the_one_due_first_comes_first(void **state)
{
    (void)state;
    struct suspects suspects = {0};
    struct suspect first;
    assert_false(suspects_first(&suspects, &first));
    suspects_wait(&suspects, PAGE_BYTES, 2 * PAGE_BYTES, 500);
    suspects_note(&suspects, PAGE_BYTES); /* It still waits. */
    suspects_wait(&suspects, 3 * PAGE_BYTES, 4 * PAGE_BYTES, 300);
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

static void what_is_found_bad_within_a_place_that_waits_is_not_new(void **state)
{
    (void)state;
    struct suspects suspects = {0};
    struct suspect first;
    suspects_note(&suspects, 4 * PAGE_BYTES);
    suspects_note(&suspects, 9 * PAGE_BYTES);
    suspects_wait(&suspects, 2 * PAGE_BYTES, 9 * PAGE_BYTES, 500);
    assert_int_equal(suspects.count, 2); /* The first note was looked at with it. */
    suspects_note(&suspects, 3 * PAGE_BYTES);
    suspects_note(&suspects, 8 * PAGE_BYTES);
    assert_int_equal(suspects.count, 2);
    assert_true(suspects_first(&suspects, &first));
    assert_int_equal(first.position, 9 * PAGE_BYTES);
    suspects_note(&suspects, PAGE_BYTES);
    assert_int_equal(suspects.count, 3);
    suspects_settle(&suspects, 2 * PAGE_BYTES, 500);
    suspects_note(&suspects, 8 * PAGE_BYTES); /* Nothing waits there any more. */
    assert_int_equal(suspects.count, 3);
    assert_int_equal(suspects_waiting(&suspects), 0);
}

static void a_suspect_that_was_looked_at_is_forgotten_unless_it_waits_again(void **state)
{
    (void)state;
    struct suspects suspects = {0};
    suspects_wait(&suspects, PAGE_BYTES, 2 * PAGE_BYTES, 500);
    suspects_wait(&suspects, PAGE_BYTES, 2 * PAGE_BYTES, 900);
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
        suspects_wait(&suspects, i * PAGE_BYTES, (i + 1) * PAGE_BYTES, i);
    }
    assert_int_equal(suspects.count, SUSPECTS_MAX);
    assert_int_equal(suspects_waiting(&suspects), SUSPECTS_MAX);
}

/* ---- Replicas. ---- */

static struct geometry geometry_of_world(void)
{
    struct geometry geometry;
    assert_true(geometry_fit(&geometry, WORLD_DISK_BYTES, SEGMENT_BYTES_MIN, WRITE_WINDOW_BYTES));
    return geometry;
}

static uint64_t offset_of(uint64_t position)
{
    struct geometry geometry = geometry_of_world();
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

/* Then the pass is over at once. */
static void a_pass_looks_at_the_state_though_nothing_stands_above_the_start(void **state)
{
    (void)state;
    static struct scrub scrub;
    static struct replica_counters counters;
    const struct scrub_context context = {
        .counters = &counters,
        .now_ns = 1000,
        .start = {.position = 8 * PAGE_BYTES, .last = {.term = 1, .index = 8}},
        .end_position = 8 * PAGE_BYTES,
        .bytes_per_s = 1u << 20,
        .every_ns = 1000000000,
    };
    assert_int_equal(scrub_step(&scrub, &context), 0);
    assert_int_equal(counters.scrub_passes, 1);
    assert_true(scrub_wants_state(&scrub, &context));
    scrub_state_looked(&scrub, &context);
    assert_false(scrub_wants_state(&scrub, &context));
    assert_int_equal(scrub_step(&scrub, &context), 0); /* Until the next pass. */
    assert_false(scrub_wants_state(&scrub, &context));
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

/* ---- Who meets a bad page first. ---- */

static bool
lose_apart(void *context, struct nic_address from, struct nic_address to, const uint8_t *data)
{
    const struct world *w = context;
    (void)data;
    if (w->apart == WORLD_NODES) {
        return false;
    }
    struct nic_address apart = w->net.ports[w->apart].nic.self;
    return nic_address_equal(from, apart) || nic_address_equal(to, apart);
}

/* Three nodes whose first entries are on disk alone, those of one page first; one of the nodes has
 * been away, if `away` says so. */
static struct world *world_of_large_records(uint32_t *leader, uint64_t every_ns, bool away)
{
    struct world *w = world_open_scrub(8192, SCRUB_BYTES_PER_S, every_ns);
    w->net.lose = lose_apart;
    w->net.context = w;
    w->apart = WORLD_NODES;
    *leader = world_wait_leader(w);
    world_run_by(w, 100, WORLD_MS);
    for (uint32_t k = 0; k < SMALL_RECORDS; k++) {
        world_send_record(w, *leader, LARGE_RECORDS + k, 100);
        world_run(w, 50);
    }
    w->apart = away ? (*leader + 1) % WORLD_NODES : WORLD_NODES;
    send_large(w, *leader);
    world_run_by(w, 100, WORLD_MS);
    assert_int_equal(w->answer_count, SMALL_RECORDS + LARGE_RECORDS);
    return w;
}

static struct entry_header entry_of(struct world *w, uint32_t node, uint64_t index)
{
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    uint64_t position = 0;
    for (uint64_t i = 1;; i++) {
        page_get(w, node, position, page);
        assert_int_equal(entry_header_of(page)->index, i);
        if (i == index) {
            return *entry_header_of(page);
        }
        position += (uint64_t)entry_header_of(page)->pages * PAGE_BYTES;
    }
}

static uint64_t end_of(const struct entry_header *entry)
{
    return entry->position + (uint64_t)entry->pages * PAGE_BYTES;
}

/* Ask in the name of another node for an entry. */
static void ask_for(struct world *w, uint32_t node, uint32_t as, const struct entry_header *entry)
{
    struct replica_status status;
    replica_status(w->replica[as], &status);
    struct wire_frame frame = {
        .header = {.kind = WIRE_MEND_ASK,
                   .to = (uint8_t)(node + 1),
                   .from = (uint8_t)(as + 1),
                   .cluster = WORLD_CLUSTER,
                   .from_store = status.store,
                   .from_boot = status.boot,
                   .term = status.term,
                   .token = 1},
        .mend_ask = {.id = {.term = entry->term, .index = entry->index},
                     .end_position = end_of(entry)},
    };
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    uint32_t head_bytes = wire_encode(&frame, head);
    struct nic_send send = {
        .to = w->net.ports[node].nic.self, .head = head, .head_bytes = head_bytes};
    assert_int_equal(nic_tx_burst(&w->net.ports[as].nic, &send, 1), 1);
}

static void what_a_catch_up_finds_bad_is_put_back_though_no_pass_is_due(void **state)
{
    (void)state;
    uint32_t leader;
    struct world *w = world_of_large_records(&leader, SCRUB_EVERY_NS, true);
    uint32_t away = (leader + 1) % WORLD_NODES;
    uint32_t other = (leader + 2) % WORLD_NODES;
    uint64_t body = entry_of(w, leader, 20).position + 3ull * PAGE_BYTES;
    uint64_t head = entry_of(w, leader, 30).position;
    page_flip(w, leader, body, 300);
    page_flip(w, leader, head, NODE_HEADER_BYTES + 5);
    const struct replica_counters *counters = replica_counters(w->replica[leader]);
    world_run_by(w, 1000, WORLD_MS);
    assert_int_equal(counters->scrub_bad, 0); /* Nobody has met it. */
    w->apart = WORLD_NODES;
    world_run_by(w, 2000, WORLD_MS);
    assert_int_equal(counters->scrub_passes, 0);
    assert_true(counters->fetches_failed >= 2);
    assert_int_equal(counters->entries_mended, 2);
    assert_true(page_is_as_on(w, leader, other, body));
    assert_true(page_is_as_on(w, leader, other, head));
    assert_int_equal(world_leader(w), leader);
    assert_int_equal(world_commit_index(w, away), world_commit_index(w, leader));
    world_close(w);
}

static void what_another_nodes_question_finds_bad_is_put_back_though_no_pass_is_due(void **state)
{
    (void)state;
    uint32_t leader;
    struct world *w = world_of_large_records(&leader, SCRUB_EVERY_NS, false);
    uint32_t node = (leader + 1) % WORLD_NODES;
    struct entry_header entry = entry_of(w, node, 20);
    uint64_t body = entry.position + 3ull * PAGE_BYTES;
    page_flip(w, node, body, 300);
    const struct replica_counters *counters = replica_counters(w->replica[node]);
    world_run_by(w, 1000, WORLD_MS);
    assert_int_equal(counters->scrub_bad, 0); /* Nobody has met it. */
    ask_for(w, node, leader, &entry);
    world_run_by(w, 1000, WORLD_MS);
    assert_int_equal(counters->scrub_passes, 0);
    assert_int_equal(counters->scrub_bad, 1);
    assert_int_equal(counters->entries_mended, 1);
    assert_true(page_is_as_on(w, node, leader, body));
    world_close(w);
}

/* One asks more than is answered; reads of 64 KiB, one a millisecond. */
static void other_nodes_questions_are_read_for_at_the_rate_of_the_catch_up(void **state)
{
    (void)state;
    const uint32_t duration_ms = 50;
    uint32_t leader;
    struct world *w = world_of_large_records(&leader, SCRUB_EVERY_NS, false);
    uint32_t node = (leader + 1) % WORLD_NODES;
    struct entry_header entry = entry_of(w, node, 20);
    const struct replica_counters *counters = replica_counters(w->replica[node]);
    uint64_t fetches = counters->disk_fetches;
    for (uint32_t i = 0; i < duration_ms * 10; i++) {
        ask_for(w, node, leader, &entry);
        world_run_by(w, 1, WORLD_MS / 10);
    }
    uint64_t bytes = (counters->disk_fetches - fetches) * ENTRY_BYTES_MAX;
    uint64_t allowed = CATCHUP_BYTES_PER_S / 1000 * duration_ms;
    assert_in_range(bytes, allowed / 2, allowed + ENTRY_BYTES_MAX);
    assert_true(counters->mend_answers > 0);
    world_close(w);
}

/* ---- What nobody has. ---- */

/* Each of these places costs a rest of the one who asks: looked at every second, or at every
 * question of another node, they would take all of its time. */
static void scrub_behind(uint64_t first, uint32_t pages)
{
    uint32_t leader;
    struct world *w = world_of_large_records(&leader, 100ull * WORLD_MS, false);
    struct entry_header bad[SMALL_RECORDS];
    for (uint64_t i = 0; i < SMALL_RECORDS; i++) {
        bad[i] = entry_of(w, leader, first + i);
        assert_int_equal(bad[i].pages, pages);
    }
    for (uint64_t i = 0; i < SMALL_RECORDS * WORLD_NODES; i++) {
        page_flip(w, (uint32_t)(i % WORLD_NODES), bad[i / WORLD_NODES].position, 300);
    }
    world_run_by(w, 10000, WORLD_MS);
    const struct replica_counters *counters = replica_counters(w->replica[leader]);
    assert_int_equal(counters->scrub_waiting, SMALL_RECORDS);
    assert_int_equal(counters->entries_mended, 0);
    uint64_t behind = entry_of(w, leader, 30).position + 3ull * PAGE_BYTES;
    page_flip(w, leader, behind, 300);
    for (uint32_t i = 0; i < 150; i++) {
        ask_for(w, leader, (leader + 1) % WORLD_NODES, &bad[i % SMALL_RECORDS]);
        world_run_by(w, 100, WORLD_MS);
    }
    assert_int_equal(counters->entries_mended, 1);
    assert_true(page_is_as_on(w, leader, (leader + 1) % WORLD_NODES, behind));
    world_close(w);
}

static void the_log_behind_places_that_nobody_can_mend_is_scrubbed_all_the_same(void **state)
{
    (void)state;
    scrub_behind(FIRST_SMALL, 1);
}

static void the_log_behind_long_entries_that_nobody_can_mend_is_scrubbed_all_the_same(void **state)
{
    (void)state;
    scrub_behind(FIRST_LARGE, LARGE_PAGES);
}

/* ---- The small state at the start. ---- */

static uint64_t state_offset(struct world *w, uint32_t node, uint32_t copy)
{
    struct geometry geometry = geometry_of_world();
    struct replica_status status;
    replica_status(w->replica[node], &status);
    assert_true(status.log_start_position > 0);
    return state_at(&geometry, segment_number(&geometry, status.log_start_position), copy);
}

static void state_get(struct world *w, uint32_t node, uint32_t copy, uint8_t page[PAGE_BYTES])
{
    uint64_t at = state_offset(w, node, copy);
    assert_int_equal(disk_read(w->disk[node].inner, at, PAGE_BYTES, page), 0);
}

static void state_spoil(struct world *w, uint32_t node, uint32_t copy)
{
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    struct disk_io io = {.op = DISK_WRITE,
                         .bytes = PAGE_BYTES,
                         .offset = state_offset(w, node, copy),
                         .buffer = page};
    assert_int_equal(disk_transfer(w->disk[node].inner, &io), 0);
}

static void a_pass_puts_back_a_bad_copy_of_the_small_state_at_the_start(void **state)
{
    (void)state;
    static _Alignas(PAGE_BYTES) uint8_t kept[PAGE_BYTES];
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    struct world *w = world_open(8192, 1u << 20); /* Passes are 100 ms apart. */
    uint32_t leader = world_wait_leader(w);
    send_large(w, leader);
    world_run_by(w, 500, WORLD_MS);
    const struct replica_counters *counters = replica_counters(w->replica[leader]);
    state_get(w, leader, 0, kept);
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        state_spoil(w, leader, copy);
        world_run_by(w, 500, WORLD_MS);
        state_get(w, leader, copy, page);
        assert_memory_equal(page, kept, PAGE_BYTES);
        assert_int_equal(counters->states_bad, copy + 1);
        assert_int_equal(counters->states_mended, copy + 1);
    }
    state_spoil(w, leader, 0);
    state_spoil(w, leader, 1);
    uint64_t passes = counters->scrub_passes;
    world_run_by(w, 1500, WORLD_MS);
    assert_true(counters->scrub_passes >= passes + 2); /* It goes on all the same. */
    assert_true(counters->states_bad > 2);
    assert_int_equal(counters->states_mended, 2);
    uint32_t other = (leader + 1) % WORLD_NODES;
    assert_int_equal(replica_counters(w->replica[other])->states_bad, 0);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_suspect_is_known_once_and_the_one_due_first_comes_first),
        cmocka_unit_test(what_is_found_bad_within_a_place_that_waits_is_not_new),
        cmocka_unit_test(a_pass_looks_at_the_state_though_nothing_stands_above_the_start),
        cmocka_unit_test(a_suspect_that_was_looked_at_is_forgotten_unless_it_waits_again),
        cmocka_unit_test(a_full_table_of_suspects_forgets_what_comes),
        cmocka_unit_test(what_memory_holds_is_put_back_without_a_question),
        cmocka_unit_test(a_whole_log_is_read_again_and_again_and_nothing_is_written),
        cmocka_unit_test(a_pass_reads_as_much_as_its_rate_allows_and_no_more),
        cmocka_unit_test(what_a_catch_up_finds_bad_is_put_back_though_no_pass_is_due),
        cmocka_unit_test(what_another_nodes_question_finds_bad_is_put_back_though_no_pass_is_due),
        cmocka_unit_test(other_nodes_questions_are_read_for_at_the_rate_of_the_catch_up),
        cmocka_unit_test(the_log_behind_places_that_nobody_can_mend_is_scrubbed_all_the_same),
        cmocka_unit_test(the_log_behind_long_entries_that_nobody_can_mend_is_scrubbed_all_the_same),
        cmocka_unit_test(a_pass_puts_back_a_bad_copy_of_the_small_state_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
