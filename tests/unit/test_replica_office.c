/* test_replica_office.c: how an office is lost and handed on: sick disks, transfers, clean stops.
 */
#include "engine/stall.h"
#include "tests/support/replica_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct replica_status status_of(struct world *w, uint32_t node)
{
    struct replica_status status;
    replica_status(w->replica[node], &status);
    return status;
}

/* A leader whose disk has begun a write that does not end. */
static struct world *world_of_a_held_write(uint32_t *leader)
{
    struct world *w = world_open(1472, 0);
    *leader = world_wait_leader(w);
    world_run(w, 3000);
    w->disk[*leader].held = true;
    world_send_record(w, *leader, 1, 100);
    return w;
}

/* The rest of the cluster goes on, with another leader. */
static void another_leader_takes_over(struct world *w, uint32_t old)
{
    uint32_t leader = world_other_leader(w, old);
    uint32_t answers = w->answer_count;
    world_send_record(w, leader, 5000, 100);
    world_run(w, 3000);
    assert_int_equal(w->answer_count, answers + 1);
    assert_int_equal(w->answers[answers].status, WIRE_OK);
}

static void leader_whose_disk_holds_a_write_longer_than_its_limit_steps_down(void **state)
{
    (void)state;
    uint32_t old;
    struct world *w = world_of_a_held_write(&old);
    world_run_by(w, 990, WORLD_MS);
    /* Within the limit a stall costs nothing: the others' disks commit. */
    assert_int_equal(w->answer_count, 1);
    assert_int_equal(w->answers[0].status, WIRE_OK);
    assert_int_equal(world_leader(w), old);
    assert_int_equal(replica_counters(w->replica[old])->disk_stalls, 0);
    world_run_by(w, 20, WORLD_MS);
    assert_int_equal(replica_counters(w->replica[old])->disk_stalls, 1);
    assert_true(world_leader(w) != old);
    another_leader_takes_over(w, old);
    w->disk[old].held = false;
    world_run_by(w, 1000, WORLD_MS);
    assert_int_equal(status_of(w, old).failed, 0);
    assert_int_equal(status_of(w, old).durable_index, status_of(w, world_leader(w)).durable_index);
    world_close(w);
}

static void replica_whose_disk_never_answers_fails_with_its_reason(void **state)
{
    (void)state;
    uint32_t old;
    struct world *w = world_of_a_held_write(&old);
    world_run_by(w, 9990, WORLD_MS);
    assert_int_equal(status_of(w, old).failed, 0);
    world_run_by(w, 30, WORLD_MS);
    assert_int_equal(status_of(w, old).failed, -ETIMEDOUT);
    assert_true(replica_is_stopped(w->replica[old]));
    assert_int_equal(replica_poll(w->replica[old], w->now_ns), 0);
    another_leader_takes_over(w, old);
    world_close(w);
}

/* As a process that is stopped comes back to it: the kernel's threads stood still too. */
static void time_in_which_nobody_ran_is_not_the_disks(void **state)
{
    (void)state;
    uint32_t old;
    struct world *w = world_of_a_held_write(&old);
    world_run_by(w, 600, WORLD_MS);
    for (uint32_t i = 0; i < 3; i++) {
        w->now_ns += 15000 * WORLD_MS;
        world_run_by(w, 100, WORLD_MS);
    }
    assert_int_equal(replica_counters(w->replica[old])->time_lost, 3);
    assert_int_equal(replica_counters(w->replica[old])->disk_stalls, 0);
    assert_int_equal(status_of(w, old).failed, 0);
    world_run_by(w, 200, WORLD_MS); /* What it did see of the disk is not forgotten. */
    assert_int_equal(replica_counters(w->replica[old])->disk_stalls, 1);
    world_run_by(w, 8800, WORLD_MS);
    assert_int_equal(status_of(w, old).failed, 0);
    world_run_by(w, 500, WORLD_MS);
    assert_int_equal(status_of(w, old).failed, -ETIMEDOUT);
    world_close(w);
}

/* Requests that overlap, on a machine that loses time: what one lost is not the next one's. */
static void stall_is_counted_from_each_requests_own_begin(void **state)
{
    (void)state;
    struct stall stall = {0};
    assert_int_equal(stall_age_ns(&stall, 5, UINT64_MAX), 0);
    assert_int_equal(stall_age_ns(&stall, 1000, 400), 600);
    stall_time_lost(&stall, 2000, 900);
    assert_int_equal(stall_age_ns(&stall, 2000, 400), 700);
    stall_time_lost(&stall, 3000, 500); /* After a second one began, at 2100. */
    assert_int_equal(stall_age_ns(&stall, 3100, 400), 1300);
    assert_int_equal(stall_age_ns(&stall, 3200, 2100), 200); /* At most what lies between. */
    assert_int_equal(stall_age_ns(&stall, 3300, 3000), 300);
    assert_int_equal(stall_age_ns(&stall, 3300, 2100), 1200); /* The account is closed. */
}

static void follower_whose_disk_never_answers_fails_too(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = world_wait_leader(w);
    uint32_t sick = (leader + 1) % WORLD_NODES;
    world_run(w, 3000);
    w->disk[sick].held = true;
    world_send_record(w, leader, 1, 100);
    world_run_by(w, 10020, WORLD_MS);
    assert_int_equal(status_of(w, sick).failed, -ETIMEDOUT);
    assert_int_equal(world_leader(w), leader);
    assert_int_equal(w->answers[0].status, WIRE_OK);
    world_close(w);
}

static void leader_with_half_its_ring_not_durable_steps_down(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t old = world_wait_leader(w);
    world_run(w, 3000);
    uint64_t held_since_ns = w->now_ns;
    w->disk[old].held = true;
    uint32_t sent = 0;
    while (world_leader(w) == old && sent < 60) {
        world_send_record(w, old, sent++, 60000);
        world_run(w, 20);
    }
    /* At the entry that passes the half, and its disk's own limit is far away. */
    uint32_t entry_bytes = entry_pages(record_body_bytes(60000)) * PAGE_BYTES;
    assert_int_equal(sent, LOG_MEMORY_MIN / 2 / entry_bytes + 1);
    assert_true(w->now_ns - held_since_ns < w->config[old].disk_stall_ns);
    assert_int_equal(replica_counters(w->replica[old])->disk_stalls, 1);
    another_leader_takes_over(w, old);
    w->disk[old].held = false;
    world_run_by(w, 1000, WORLD_MS);
    assert_int_equal(world_commit_index(w, old), world_commit_index(w, world_leader(w)));
    world_close(w);
}

/* Answers so far, by status; all records were sent once, with sequences from 0 on. */
static uint32_t answered(const struct world *w, uint8_t status)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->answer_count; i++) {
        count += w->answers[i].status == status;
    }
    return count;
}

/* J1: under load, whatever the old leader has taken it answers; the others are told to try again.
 */
static void transfer_under_load_leaves_no_request_without_an_answer(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t old = world_wait_leader(w);
    world_run(w, 5000);
    uint8_t to = (uint8_t)((old + 1) % WORLD_NODES + 1);
    uint32_t sent = 0;
    for (uint32_t k = 0; k < 300; k++) {
        world_send_record(w, old, sent++, 5000);
        if (k == 100) {
            assert_int_equal(replica_transfer(w->replica[old], to), RAFT_TRANSFER_OK);
            assert_int_equal(replica_transfer(w->replica[old], to), RAFT_TRANSFER_UNDER_WAY);
        }
        world_run(w, 1);
    }
    world_run(w, 3000);
    assert_int_equal(world_leader(w), to - 1);
    assert_int_equal(raft_term(replica_raft(w->replica[to - 1])),
                     raft_term(replica_raft(w->replica[old])));
    assert_int_equal(w->answer_count, sent);
    assert_true(answered(w, WIRE_OK) >= 100);
    assert_true(answered(w, WIRE_NOT_LEADER) > 0);
    struct replica_status status;
    replica_status(w->replica[to - 1], &status);
    assert_int_equal(status.log_end_offset, answered(w, WIRE_OK));
    assert_int_equal(raft_counters(replica_raft(w->replica[to - 1]))->pre_votes_started, 0);
    world_close(w);
}

static void transfer_that_cannot_be_says_why(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = world_wait_leader(w);
    world_run(w, 5000);
    uint32_t other = (leader + 1) % WORLD_NODES;
    assert_int_equal(world_ask_transfer(w, other, RAFT_NOBODY), RAFT_TRANSFER_NOT_LEADER);
    assert_int_equal(w->transfer_reply.leader, leader + 1); /* A follower says whom to ask. */
    assert_int_equal(world_ask_transfer(w, leader, (uint8_t)(leader + 1)),
                     RAFT_TRANSFER_NOT_A_VOTER);
    assert_int_equal(world_ask_transfer(w, leader, 9), RAFT_TRANSFER_NOT_A_VOTER);
    assert_int_equal(w->transfer_reply.to, RAFT_NOBODY);
    assert_int_equal(world_leader(w), leader);
    world_close(w);
}

/* J1, J3: asked for by a client. The answer names the target, a repeated question finds the same
 * transfer, and the old leader then answers as a follower does. */
static void transfer_that_a_client_asks_for_ends_in_the_office_of_the_one_named(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t old = world_wait_leader(w);
    world_run(w, 5000);
    uint8_t to = (uint8_t)((old + 2) % WORLD_NODES + 1);
    w->disk[to - 1].held = true; /* So that it cannot be over at once: it lacks an entry. */
    world_send_record(w, old, 0, 100);
    world_run(w, 20);
    assert_int_equal(world_ask_transfer(w, old, to), RAFT_TRANSFER_OK);
    assert_int_equal(w->transfer_reply.to, to);
    assert_int_equal(w->transfer_reply.leader, old + 1);
    assert_int_equal(world_ask_transfer(w, old, to), RAFT_TRANSFER_UNDER_WAY);
    assert_int_equal(w->transfer_reply.to, to);
    w->disk[to - 1].held = false;
    world_run(w, 3000);
    assert_int_equal(world_leader(w), to - 1);
    assert_int_equal(world_ask_transfer(w, old, to), RAFT_TRANSFER_NOT_LEADER);
    assert_int_equal(w->transfer_reply.leader, to);
    assert_int_equal(world_ask_transfer(w, to - 1u, to), RAFT_TRANSFER_NOT_A_VOTER);
    assert_int_equal(answered(w, WIRE_OK), 1);
    world_close(w);
}

/* J1: the target never gets what it lacks; an election timeout later all is as it was. */
static void transfer_to_a_node_that_cannot_follow_is_given_up(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t old = world_wait_leader(w);
    world_run(w, 5000);
    uint64_t term = raft_term(replica_raft(w->replica[old]));
    uint8_t to = (uint8_t)((old + 1) % WORLD_NODES + 1);
    w->disk[to - 1].held = true;
    world_send_record(w, old, 0, 100);
    world_run(w, 20);
    assert_int_equal(world_ask_transfer(w, old, to), RAFT_TRANSFER_OK);
    assert_int_equal(world_leader(w), WORLD_NODES);
    world_run_by(w, 301, WORLD_MS);
    assert_int_equal(world_leader(w), old);
    assert_int_equal(raft_term(replica_raft(w->replica[old])), term);
    world_send_record(w, old, 1, 100);
    world_run_by(w, 100, WORLD_MS);
    assert_int_equal(answered(w, WIRE_OK), 2);
    world_close(w);
}

static bool lose_between_nodes(void *context,
                               struct nic_address from,
                               struct nic_address to,
                               const uint8_t *data)
{
    (void)context;
    (void)from;
    (void)to;
    return data[6] < WIRE_REQUEST;
}

/* Iterations until it is stopped. */
static uint32_t stop(struct world *w, uint32_t node)
{
    replica_stop(w->replica[node]);
    for (uint32_t i = 0; i < 100000; i++) {
        if (replica_is_stopped(w->replica[node])) {
            return i;
        }
        world_run(w, 1);
    }
    fail();
    return 0;
}

static void leader_that_is_stopped_hands_over_first(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t old = world_wait_leader(w);
    world_run(w, 5000);
    for (uint64_t k = 0; k < 20; k++) {
        world_send_record(w, old, k, 5000);
    }
    world_run(w, 2); /* Some are in an entry that is still open. */
    uint32_t iterations = stop(w, old);
    assert_true(iterations * WORLD_STEP_NS < w->config[old].election_min_ns);
    assert_int_equal(w->answer_count, 20);
    assert_int_equal(answered(w, WIRE_OK), 20);
    uint8_t leader = raft_leader(replica_raft(w->replica[old]));
    assert_int_not_equal(leader, RAFT_NOBODY);
    assert_int_equal(world_leader(w), leader - 1);
    world_close(w);
}

static void leader_that_finds_no_heir_stops_after_an_election_timeout(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t old = world_wait_leader(w);
    world_run(w, 5000);
    w->net.lose = lose_between_nodes;
    uint32_t iterations = stop(w, old);
    assert_true(iterations * WORLD_STEP_NS <= w->config[old].election_max_ns + WORLD_STEP_NS);
    world_close(w);
}

static void follower_that_is_stopped_stops_at_once(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t leader = world_wait_leader(w);
    world_run(w, 5000);
    uint32_t iterations = stop(w, (leader + 1) % WORLD_NODES);
    assert_true(iterations * WORLD_STEP_NS < w->config[leader].heartbeat_ns);
    assert_int_equal(world_leader(w), leader);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfer_under_load_leaves_no_request_without_an_answer),
        cmocka_unit_test(transfer_that_cannot_be_says_why),
        cmocka_unit_test(transfer_that_a_client_asks_for_ends_in_the_office_of_the_one_named),
        cmocka_unit_test(transfer_to_a_node_that_cannot_follow_is_given_up),
        cmocka_unit_test(leader_that_is_stopped_hands_over_first),
        cmocka_unit_test(leader_that_finds_no_heir_stops_after_an_election_timeout),
        cmocka_unit_test(follower_that_is_stopped_stops_at_once),
        cmocka_unit_test(leader_whose_disk_holds_a_write_longer_than_its_limit_steps_down),
        cmocka_unit_test(replica_whose_disk_never_answers_fails_with_its_reason),
        cmocka_unit_test(time_in_which_nobody_ran_is_not_the_disks),
        cmocka_unit_test(stall_is_counted_from_each_requests_own_begin),
        cmocka_unit_test(follower_whose_disk_never_answers_fails_too),
        cmocka_unit_test(leader_with_half_its_ring_not_durable_steps_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
