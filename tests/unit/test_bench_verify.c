/* test_bench_verify.c: the verifier finds what is lost, doubled, out of order or damaged. */
#include "bench/verify.h"
#include "engine/client/client.h"
#include "storage/disk_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define CLUSTER      0x9f3c0a4e5b6d7788ull
#define SEED         5u
#define RECORD_BYTES 100u
#define NODES        3u
#define DISK_BYTES   (8u << 20)

static uint64_t store_of(uint32_t node)
{
    return 100 + node;
}

/* Three logs in memory disks, written entry by entry as a replica would. */
struct world {
    struct mem mem;
    struct disk *disks[NODES];
    struct verify_log logs[NODES];
    struct verify verify;
    uint8_t *entry;
    uint64_t position[NODES];
    uint64_t index[NODES];
    uint64_t offset[NODES];
};

static struct world *begin_with(bool shared, uint32_t quorum)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    uint64_t bytes = verify_memory_bytes(NODES) + ENTRY_BYTES_MAX + 16 * PAGE_BYTES +
                     NODES * disk_memory_memory_bytes(DISK_BYTES);
    assert_int_equal(mem_open(&w->mem, bytes), 0);
    w->entry = mem_take(&w->mem, "entry", 1, ENTRY_BYTES_MAX, PAGE_BYTES);
    for (uint32_t i = 0; i < NODES; i++) {
        w->disks[i] = disk_memory_open(&w->mem, DISK_BYTES);
        w->logs[i] = (struct verify_log){.disk = w->disks[i], .store = store_of(i)};
        assert_true(
            geometry_fit(&w->logs[i].geometry, DISK_BYTES, SEGMENT_BYTES_MIN, WRITE_WINDOW_BYTES));
    }
    struct verify_config config = {.node_count = NODES,
                                   .cluster = CLUSTER,
                                   .payload_seed = SEED,
                                   .record_bytes = RECORD_BYTES,
                                   .shared = shared,
                                   .quorum = quorum};
    struct fault fault = {0};
    assert_int_equal(verify_open(&w->verify, &w->mem, &config, w->logs, &fault), 0);
    return w;
}

static struct world *begin(void)
{
    return begin_with(false, 0);
}

static void end(struct world *w)
{
    verify_close(&w->verify);
    for (uint32_t i = 0; i < NODES; i++) {
        disk_close(w->disks[i]);
    }
    mem_close(&w->mem);
    free(w);
}

/* Append one entry with these sequences of a writer to one log. */
static void
append_of(struct world *w, uint64_t seed, uint32_t node, const uint64_t *sequences, uint32_t count)
{
    uint32_t body_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct record_header record = {.bytes = RECORD_BYTES, .sequence = sequences[i]};
        uint8_t payload[RECORD_BYTES + 8] = {0};
        client_fill_payload(seed, sequences[i], payload, RECORD_BYTES);
        entry_body_write(w->entry, body_bytes, &record, sizeof record);
        entry_body_write(w->entry, body_bytes + RECORD_HEADER_BYTES, payload,
                         record_body_bytes(RECORD_BYTES) - RECORD_HEADER_BYTES);
        body_bytes += record_body_bytes(RECORD_BYTES);
    }
    struct entry_header header = {
        .kind = ENTRY_CLIENT,
        .cluster = CLUSTER,
        .term = 1,
        .index = w->index[node] + 1,
        .previous_term = w->index[node] == 0 ? 0 : 1,
        .position = w->position[node],
        .first_offset = w->offset[node],
        .leader_time_ns = w->index[node] + 1,
        .body_bytes = body_bytes,
        .record_count = count,
    };
    entry_seal(w->entry, &header);
    struct node_header own = {.node = (uint16_t)(node + 1),
                              .store = store_of(node),
                              .epoch = 1,
                              .position = w->position[node]};
    node_header_seal(w->entry, &own);
    struct disk_io io = {.op = DISK_WRITE,
                         .bytes = entry_pages(body_bytes) * PAGE_BYTES,
                         .offset = w->logs[node].geometry.ring_offset + w->position[node],
                         .buffer = w->entry};
    assert_int_equal(disk_transfer(w->disks[node], &io), 0);
    w->position[node] += io.bytes;
    w->index[node]++;
    w->offset[node] += count;
}

static void append(struct world *w, uint32_t node, const uint64_t *sequences, uint32_t count)
{
    append_of(w, SEED, node, sequences, count);
}

/* A record of another writer, whose sequence may be one of ours. */
static void append_foreign(struct world *w, uint64_t sequence)
{
    for (uint32_t i = 0; i < NODES; i++) {
        append_of(w, SEED + 1, i, &sequence, 1);
    }
}

static void append_all(struct world *w, const uint64_t *sequences, uint32_t count)
{
    for (uint32_t i = 0; i < NODES; i++) {
        append(w, i, sequences, count);
    }
}

static struct verify_result finish(struct world *w)
{
    for (uint32_t i = 0; i < NODES; i++) {
        verify_scan(&w->verify, i, 0, w->position[i]);
    }
    return verify_finish(&w->verify);
}

static void assert_clean(const struct verify_result *result)
{
    assert_int_equal(result->lost, 0);
    assert_int_equal(result->duplicated, 0);
    assert_int_equal(result->out_of_order, 0);
    assert_int_equal(result->damaged, 0);
}

static void what_stands_where_it_was_acknowledged_is_clean(void **state)
{
    (void)state;
    struct world *w = begin();
    append_all(w, (uint64_t[]){1, 2, 3}, 3);
    verify_acked(&w->verify, 1, 0, 3);
    for (uint32_t i = 0; i < NODES; i++) {
        verify_scan(&w->verify, i, 0, w->position[i]);
    }
    append_all(w, (uint64_t[]){7, 8}, 2); /* 4 to 6 were refused; 8 was never answered. */
    verify_acked(&w->verify, 7, 3, 1);
    struct verify_result result = finish(w);
    assert_clean(&result);
    assert_null(result.why);
    assert_int_equal(result.acked, 4);
    assert_int_equal(result.records, 5);
    end(w);
}

static void an_acknowledged_record_in_no_quorum_of_files_is_lost(void **state)
{
    (void)state;
    struct world *w = begin();
    append_all(w, (uint64_t[]){1}, 1);
    append(w, 0, (uint64_t[]){2}, 1);
    verify_acked(&w->verify, 1, 0, 2);
    struct verify_result result = finish(w);
    assert_int_equal(result.lost, 1);
    end(w);
}

static void one_file_behind_the_quorum_loses_nothing(void **state)
{
    (void)state;
    struct world *w = begin();
    append_all(w, (uint64_t[]){1}, 1);
    append(w, 0, (uint64_t[]){2}, 1);
    append(w, 2, (uint64_t[]){2}, 1);
    verify_acked(&w->verify, 1, 0, 2);
    struct verify_result result = finish(w);
    assert_clean(&result);
    end(w);
}

static void a_record_at_another_offset_than_acknowledged_is_lost(void **state)
{
    (void)state;
    struct world *w = begin();
    append_all(w, (uint64_t[]){1, 2}, 2);
    verify_acked(&w->verify, 1, 1, 1);
    struct verify_result result = finish(w);
    assert_int_equal(result.lost, 1);
    assert_non_null(result.why);
    end(w);
}

static void a_record_that_stands_twice_is_duplicated(void **state)
{
    (void)state;
    struct world *w = begin();
    append_all(w, (uint64_t[]){1, 2, 2, 3}, 4);
    verify_acked(&w->verify, 1, 0, 2);
    struct verify_result result = finish(w);
    assert_int_equal(result.duplicated, 1);
    assert_int_equal(result.lost, 0);
    end(w);
}

static void a_record_behind_a_later_one_is_out_of_order(void **state)
{
    (void)state;
    struct world *w = begin();
    append_all(w, (uint64_t[]){1, 3, 2}, 3);
    struct verify_result result = finish(w);
    assert_int_equal(result.out_of_order, 1);
    assert_int_equal(result.duplicated, 0);
    end(w);
}

static void a_rotten_page_is_told_and_its_records_are_lost(void **state)
{
    (void)state;
    struct world *w = begin();
    append_all(w, (uint64_t[]){1}, 1);
    append_all(w, (uint64_t[]){2}, 1);
    verify_acked(&w->verify, 1, 0, 2);
    memset(w->entry, 0x5a, PAGE_BYTES);
    for (uint32_t i = 0; i < 2; i++) {
        struct disk_io io = {.op = DISK_WRITE,
                             .bytes = PAGE_BYTES,
                             .offset = w->logs[i].geometry.ring_offset + PAGE_BYTES,
                             .buffer = w->entry};
        assert_int_equal(disk_transfer(w->disks[i], &io), 0);
    }
    struct verify_result result = finish(w);
    assert_int_equal(result.lost, 1);
    assert_non_null(result.why);
    end(w);
}

static void replies_that_overtake_each_other_are_put_in_order(void **state)
{
    (void)state;
    struct world *w = begin();
    append_all(w, (uint64_t[]){1, 2, 3}, 3);
    verify_acked(&w->verify, 3, 2, 1);
    verify_acked(&w->verify, 1, 0, 1);
    verify_acked(&w->verify, 2, 1, 1);
    struct verify_result result = finish(w);
    assert_clean(&result);
    end(w);
}

static void records_of_others_are_counted_and_not_judged_in_a_shared_log(void **state)
{
    (void)state;
    struct world *w = begin_with(true, 0);
    append_foreign(w, 9);
    append_all(w, (uint64_t[]){1}, 1);
    append_foreign(w, 1);
    append_all(w, (uint64_t[]){2}, 1);
    verify_acked(&w->verify, 1, 1, 1);
    verify_acked(&w->verify, 2, 3, 1);
    struct verify_result result = finish(w);
    assert_clean(&result);
    assert_null(result.why);
    assert_int_equal(result.foreign, 2);
    assert_int_equal(result.records, 4);
    end(w);
}

static void a_record_of_another_where_ours_was_acknowledged_is_a_loss(void **state)
{
    (void)state;
    struct world *w = begin_with(true, 0);
    append_all(w, (uint64_t[]){1}, 1);
    append_foreign(w, 2);
    verify_acked(&w->verify, 1, 0, 2);
    struct verify_result result = finish(w);
    assert_int_equal(result.lost, 1);
    assert_non_null(result.why);
    end(w);
}

static void advance_all(struct world *w, uint32_t first)
{
    for (uint32_t i = first; i < NODES; i++) {
        assert_true(verify_advance(&w->verify, i, 0, w->index[i]));
    }
}

static void a_forsaken_file_is_missed_by_no_quorum_of_the_others(void **state)
{
    (void)state;
    struct world *w = begin_with(true, 0);
    append_all(w, (uint64_t[]){1}, 1);
    verify_acked(&w->verify, 1, 0, 1);
    advance_all(w, 0);
    verify_forsake(&w->verify, 0);
    append_all(w, (uint64_t[]){2}, 1);
    append_all(w, (uint64_t[]){3}, 1);
    verify_acked(&w->verify, 2, 1, 2);
    advance_all(w, 1);
    struct verify_result result = verify_finish(&w->verify);
    assert_clean(&result);
    assert_int_equal(result.acked, 3);
    end(w);
}

static void a_file_that_must_hold_it_and_was_forsaken_does_not(void **state)
{
    (void)state;
    struct world *w = begin_with(true, NODES);
    append_all(w, (uint64_t[]){1}, 1);
    verify_forsake(&w->verify, 0);
    verify_acked(&w->verify, 1, 0, 1);
    advance_all(w, 1);
    struct verify_result result = verify_finish(&w->verify);
    assert_int_equal(result.lost, 1);
    end(w);
}

static void a_file_that_ends_before_the_index_or_was_trimmed_is_told(void **state)
{
    (void)state;
    struct world *w = begin_with(true, 0);
    append_all(w, (uint64_t[]){1}, 1);
    assert_false(verify_advance(&w->verify, 0, 0, 2));
    append(w, 0, (uint64_t[]){2}, 1);
    assert_true(verify_advance(&w->verify, 0, 0, 2)); /* It has grown. */
    assert_false(verify_advance(&w->verify, 1, SEGMENT_BYTES_MIN, 1));
    end(w);
}

static void records_read_back_stand_for_a_file(void **state)
{
    (void)state;
    struct mem mem;
    assert_int_equal(mem_open(&mem, verify_memory_bytes(1)), 0);
    struct verify_config config = {.node_count = 1,
                                   .cluster = CLUSTER,
                                   .payload_seed = SEED,
                                   .record_bytes = RECORD_BYTES,
                                   .shared = true};
    static struct verify verify;
    struct fault fault = {0};
    assert_int_equal(verify_open(&verify, &mem, &config, NULL, &fault), 0);
    verify_acked(&verify, 5, 10, 3);
    assert_int_equal(verify_end_offset(&verify), 13);
    uint8_t payload[RECORD_BYTES];
    for (uint64_t i = 0; i < 2; i++) {
        client_fill_payload(SEED, 5 + i, payload, RECORD_BYTES);
        verify_record(&verify, 10 + i, 5 + i, payload, RECORD_BYTES);
    }
    payload[0] ^= 1u;
    verify_record(&verify, 12, 7, payload, RECORD_BYTES);
    struct verify_result result = verify_finish(&verify);
    assert_int_equal(result.acked, 3);
    assert_int_equal(result.records, 3);
    assert_int_equal(result.lost, 1);
    verify_close(&verify);
    mem_close(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stands_where_it_was_acknowledged_is_clean),
        cmocka_unit_test(an_acknowledged_record_in_no_quorum_of_files_is_lost),
        cmocka_unit_test(one_file_behind_the_quorum_loses_nothing),
        cmocka_unit_test(a_record_at_another_offset_than_acknowledged_is_lost),
        cmocka_unit_test(a_record_that_stands_twice_is_duplicated),
        cmocka_unit_test(a_record_behind_a_later_one_is_out_of_order),
        cmocka_unit_test(a_rotten_page_is_told_and_its_records_are_lost),
        cmocka_unit_test(replies_that_overtake_each_other_are_put_in_order),
        cmocka_unit_test(records_of_others_are_counted_and_not_judged_in_a_shared_log),
        cmocka_unit_test(a_record_of_another_where_ours_was_acknowledged_is_a_loss),
        cmocka_unit_test(a_forsaken_file_is_missed_by_no_quorum_of_the_others),
        cmocka_unit_test(a_file_that_must_hold_it_and_was_forsaken_does_not),
        cmocka_unit_test(a_file_that_ends_before_the_index_or_was_trimmed_is_told),
        cmocka_unit_test(records_read_back_stand_for_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
