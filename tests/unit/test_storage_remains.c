/* test_storage_remains.c: where a log is looked for whose superblocks are gone. */
#include "storage/layout.h"
#include "storage/remains.h"
#include "storage/small_state.h"
#include "storage/superblock.h"
#include "tests/support/log_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* A disk of any size that is zero but for one page. */
struct sparse {
    struct disk disk; /* First: the seam. */
    uint64_t at;
    uint8_t page[PAGE_BYTES];
    struct disk_done done;
    uint32_t done_count;
    uint64_t read_count;
};

static uint32_t sparse_submit(struct disk *disk, const struct disk_io *ios, uint32_t count)
{
    struct sparse *sparse = (struct sparse *)(void *)disk;
    assert_int_equal(count, 1);
    assert_int_equal(ios->op, DISK_READ);
    memset(ios->buffer, 0, ios->bytes);
    if (sparse->at >= ios->offset && sparse->at < ios->offset + ios->bytes) {
        memcpy((uint8_t *)ios->buffer + (sparse->at - ios->offset), sparse->page, PAGE_BYTES);
    }
    sparse->done = (struct disk_done){.cookie = ios->cookie};
    sparse->done_count = 1;
    sparse->read_count++;
    return 1;
}

static uint32_t sparse_poll(struct disk *disk, struct disk_done *done, uint32_t done_max)
{
    struct sparse *sparse = (struct sparse *)(void *)disk;
    uint32_t count = sparse->done_count;
    assert_true(done_max > 0);
    *done = sparse->done;
    sparse->done_count = 0;
    return count;
}

static int sparse_wait_fd(const struct disk *disk)
{
    (void)disk;
    return -1;
}

static const struct disk_ops sparse_ops = {
    .submit = sparse_submit, .poll = sparse_poll, .wait_fd = sparse_wait_fd};

static struct log_fixture fixture;
static struct sparse sparse;
static _Alignas(PAGE_BYTES) uint8_t buffer[REMAINS_LOOK_BYTES];

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

/* The first entry of a log of so many of the least segments, and nothing else of it. */
static void sparse_open(struct log_fixture *log, uint64_t segment_count)
{
    struct geometry geometry;
    assert_true(geometry_init(&geometry, segment_count * SEGMENT_BYTES_MIN, SEGMENT_BYTES_MIN,
                              WRITE_WINDOW_BYTES));
    memset(&sparse, 0, sizeof sparse);
    sparse.disk = (struct disk){.ops = &sparse_ops, .bytes = geometry_file_bytes(&geometry)};
    sparse.at = geometry.ring_offset;
    memcpy(sparse.page, log_page(log, 0), PAGE_BYTES);
}

static void an_entry_is_found_where_the_ring_of_any_geometry_begins(void **state)
{
    struct log_fixture *log = *state;
    struct recovery found;
    struct fault fault = {0};
    assert_int_equal(log_open(log, &found, &fault), 0);
    log_append(log, 1, 1);
    static const uint64_t segment_counts[] = {SEGMENTS_MIN, 64, SEGMENTS_MAX / 2, SEGMENTS_MAX - 1,
                                              SEGMENTS_MAX};
    for (uint32_t i = 0; i < sizeof segment_counts / sizeof segment_counts[0]; i++) {
        struct remains remains;
        sparse_open(log, segment_counts[i]);
        assert_true(remains_find(&sparse.disk, buffer, &remains));
        assert_int_equal(remains.cluster, LOG_CLUSTER);
        assert_int_equal(remains.node, LOG_NODE);
    }
}

/* A node that joined later: nothing stands where its ring begins. */
static void a_watermark_or_a_small_state_tells_of_entries_elsewhere_in_the_ring(void **state)
{
    static const struct state_owner owner = {.cluster = LOG_CLUSTER, .store = LOG_STORE};
    for (uint32_t kind = 0; kind < 2; kind++) {
        for (uint64_t index = 0; index < 2; index++) {
            struct remains remains;
            sparse_open(*state, 64);
            const struct log_start start = {.position = 0, .last = {.term = 1, .index = index}};
            const struct watermark mark = {.cluster = LOG_CLUSTER, .last_index = index};
            if (kind == 0) {
                watermark_encode(&mark, sparse.page);
                sparse.at = layout_watermark_at(1);
            } else {
                assert_int_equal(state_encode(sparse.page, &owner, &start, NULL, 0), PAGE_BYTES);
                sparse.at = LAYOUT_STATES_AT + 37u * STATE_BYTES;
            }
            assert_int_equal(remains_find(&sparse.disk, buffer, &remains), index > 0);
            assert_int_equal(remains.cluster, index > 0 ? LOG_CLUSTER : 0);
            sparse.page[100] ^= 1;
            assert_false(remains_find(&sparse.disk, buffer, &remains));
        }
    }
}

static void a_disk_that_was_never_a_log_is_not_read_to_its_end(void **state)
{
    struct remains remains;
    sparse_open(*state, SEGMENTS_MAX);
    sparse.at = UINT64_MAX;
    sparse.disk.bytes = 1ull << 44;
    assert_false(remains_find(&sparse.disk, buffer, &remains));
    assert_true(sparse.read_count <= 11000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_entry_is_found_where_the_ring_of_any_geometry_begins,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(
            a_watermark_or_a_small_state_tells_of_entries_elsewhere_in_the_ring, fixture_open,
            fixture_close),
        cmocka_unit_test_setup_teardown(a_disk_that_was_never_a_log_is_not_read_to_its_end,
                                        fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
