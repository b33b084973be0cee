/* test_replica_space.c: a log that gets full: by the smallest log among the voters, early enough
 * for what is not the clients', and never so full that a retention could not make room again. */
#include "storage/segment.h"
#include "tests/support/replica_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SMALL_DISK_BYTES (8ull << 20)
#define LARGE_RECORD     60000u

static const uint64_t one_is_small[WORLD_NODES] = {WORLD_DISK_BYTES, SMALL_DISK_BYTES,
                                                   WORLD_DISK_BYTES};

static const uint64_t all_are_small[WORLD_NODES] = {SMALL_DISK_BYTES, SMALL_DISK_BYTES,
                                                    SMALL_DISK_BYTES};

static struct geometry geometry_of(uint64_t disk_bytes)
{
    struct geometry geometry;
    assert_true(geometry_fit(&geometry, disk_bytes, SEGMENT_BYTES_MIN, WRITE_WINDOW_BYTES));
    return geometry;
}

static struct replica_status status_of(struct world *w, uint32_t node)
{
    struct replica_status status;
    replica_status(w->replica[node], &status);
    return status;
}

/* Send records one after the other to whoever leads until one is refused with `refusal`, or `most`
 * were taken; how many were. */
static uint32_t fill_until(struct world *w, uint32_t most, enum wire_status refusal)
{
    for (uint32_t taken = 0; taken < most; taken++) {
        uint32_t answers = w->answer_count = 0;
        world_send_record(w, world_wait_leader(w), taken, LARGE_RECORD);
        for (uint32_t i = 0; i < 100 && w->answer_count == answers; i++) {
            world_run(w, 20);
        }
        assert_int_equal(w->answer_count, answers + 1);
        if (w->answers[answers].status == refusal) {
            return taken;
        }
        assert_int_equal(w->answers[answers].status, WIRE_OK);
    }
    return most;
}

static uint32_t fill(struct world *w, uint32_t most)
{
    return fill_until(w, most, WIRE_FULL);
}

/* All nodes have the same log, durably. */
static void check_in_step(struct world *w)
{
    world_run_by(w, 500, WORLD_MS);
    for (uint32_t i = 1; i < WORLD_NODES; i++) {
        assert_int_equal(status_of(w, i).durable_index, status_of(w, 0).durable_index);
        assert_int_equal(status_of(w, i).commit_index, status_of(w, 0).commit_index);
    }
}

static void transfer_away(struct world *w)
{
    uint32_t old = world_wait_leader(w);
    (void)world_ask_transfer(w, old, (uint8_t)((old + 1) % WORLD_NODES + 1));
    (void)world_other_leader(w, old);
}

static void full_is_judged_by_the_smallest_log_among_the_voters(void **state)
{
    (void)state;
    struct world *w = world_open_sizes(8192, 0, one_is_small);
    struct geometry small = geometry_of(SMALL_DISK_BYTES);
    assert_false(world_ask_status(w, world_wait_leader(w)).full);
    for (uint32_t round = 0; round < WORLD_NODES; round++) {
        (void)fill(w, 1000);
        uint64_t used = status_of(w, 0).log_durable_position;
        assert_true(used + LOG_RESERVE_BYTES + 2 * ENTRY_BYTES_MAX > small.ring_bytes);
        assert_true(used <= small.ring_bytes);
        check_in_step(w);
        struct wire_status_reply said = world_ask_status(w, world_wait_leader(w));
        assert_true(said.full);
        assert_int_equal(said.smallest, 2);
        transfer_away(w); /* Whoever leads says the same, the one with the small log too. */
    }
    world_close(w);
}

static void a_retention_beyond_the_smallest_log_trims_for_its_sake(void **state)
{
    (void)state;
    struct geometry small = geometry_of(SMALL_DISK_BYTES);
    /* Far beyond it, and by less than a segment. */
    const uint64_t retentions[] = {10ull << 20, geometry_retention_max(&small) + 5 * PAGE_BYTES,
                                   small.ring_bytes - LOG_RESERVE_BYTES - 2 * ENTRY_BYTES_MAX};
    for (uint32_t i = 0; i < sizeof retentions / sizeof retentions[0]; i++) {
        struct world *w = world_open_sizes(8192, retentions[i], one_is_small);
        assert_int_equal(fill(w, 400), 400);
        check_in_step(w);
        uint64_t start = status_of(w, 0).log_start_position;
        assert_true(start > 0);
        /* No more than was needed: of the small log two segments or so are free. */
        uint64_t kept = status_of(w, 0).log_durable_position - start;
        assert_true(kept <= small.ring_bytes);
        assert_true(kept + 2 * ENTRY_BYTES_MAX > geometry_retention_max(&small));
        world_close(w);
    }
}

static void of_logs_that_are_alike_none_is_the_smallest_and_only_a_leader_says_full(void **state)
{
    (void)state;
    struct world *w = world_open_sizes(8192, 0, all_are_small);
    (void)fill(w, 1000);
    check_in_step(w);
    uint32_t leader = world_wait_leader(w);
    struct wire_status_reply said = world_ask_status(w, leader);
    assert_true(said.full);
    assert_int_equal(said.smallest, 0);
    assert_false(world_ask_status(w, (leader + 1) % WORLD_NODES).full);
    world_close(w);
}

/* Its client comes again, and is taken: what it would be told is full is about to be trimmed. */
static void a_voter_that_has_not_followed_a_trim_yet_makes_busy_and_not_full(void **state)
{
    (void)state;
    struct world *w = world_open_sizes(8192, 10ull << 20, one_is_small);
    while (world_wait_leader(w) == 1) {
        transfer_away(w);
    }
    (void)fill(w, 100);
    check_in_step(w);
    w->disk[1].held = true;
    uint32_t taken = fill_until(w, 400, WIRE_BUSY);
    assert_false(world_ask_status(w, world_wait_leader(w)).full);
    assert_in_range(taken, 1, 399);
    w->disk[1].held = false;
    check_in_step(w);
    assert_int_equal(fill(w, 400), 400);
    world_close(w);
}

/* The largest that a configuration may ask for, too: no log is small then. */
static void a_retention_is_kept_where_it_fits(void **state)
{
    (void)state;
    struct geometry geometry = geometry_of(WORLD_DISK_BYTES);
    uint64_t retention = geometry_retention_max(&geometry);
    struct world *w = world_open(8192, retention);
    for (uint32_t i = 0; i < 600; i++) {
        assert_int_equal(fill(w, 1), 1);
        struct replica_status status = status_of(w, world_wait_leader(w));
        uint64_t kept = status.log_durable_position - status.log_start_position;
        assert_true(status.log_start_position == 0 || kept + ENTRY_BYTES_MAX > retention);
    }
    assert_true(status_of(w, 0).log_start_position > 0);
    world_close(w);
}

static void a_full_log_has_room_for_elections(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    (void)fill(w, 1000);
    for (uint32_t i = 0; i < 30; i++) {
        transfer_away(w);
    }
    check_in_step(w);
    assert_int_equal(fill(w, 1), 0); /* It still answers, and still refuses. */
    world_close(w);
}

/* Elections, until one finds no room for its no-op. */
static void use_up(struct world *w)
{
    uint64_t before = 0;
    for (uint32_t same = 0; same < 20;) {
        world_restart(w, 0);
        world_run_by(w, 1000, WORLD_MS);
        uint64_t used = status_of(w, 0).log_durable_position;
        same = used == before ? same + 1 : 0;
        before = used;
    }
}

static void elections_without_end_leave_room_for_a_leader_that_trims(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    (void)fill(w, 1000);
    uint64_t full = status_of(w, 0).log_durable_position;
    use_up(w);
    assert_int_equal(world_leader(w) < WORLD_NODES, 0); /* Nobody leads, or leads in vain. */
    assert_true(status_of(w, 0).log_durable_position > full);
    world_restart(w, 4ull << 20);
    world_run_by(w, 2000, WORLD_MS);
    assert_int_equal(fill(w, 300), 300);
    check_in_step(w);
    assert_true(status_of(w, 0).log_start_position > 0);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_is_judged_by_the_smallest_log_among_the_voters),
        cmocka_unit_test(a_retention_beyond_the_smallest_log_trims_for_its_sake),
        cmocka_unit_test(of_logs_that_are_alike_none_is_the_smallest_and_only_a_leader_says_full),
        cmocka_unit_test(a_voter_that_has_not_followed_a_trim_yet_makes_busy_and_not_full),
        cmocka_unit_test(a_retention_is_kept_where_it_fits),
        cmocka_unit_test(a_full_log_has_room_for_elections),
        cmocka_unit_test(elections_without_end_leave_room_for_a_leader_that_trims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
