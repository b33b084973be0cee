/* test_replica.c: entries, requests and reads of three replicas, driven poll by poll. */
#include "engine/wire_layout.h"
#include "tests/support/replica_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void cluster_elects_a_leader_and_commits_its_first_configuration(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = world_wait_leader(w);
    world_run(w, 5000);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        assert_true(world_commit_index(w, i) >= 1);
        assert_true(raft_bootstrapped(replica_raft(w->replica[i])));
        assert_int_equal(raft_leader(replica_raft(w->replica[i])), leader + 1);
    }
    world_close(w);
}

static void record_is_answered_with_its_offset_and_read_back(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = world_wait_leader(w);
    for (uint64_t k = 0; k < 50; k++) {
        world_send_record(w, leader, k, (uint32_t)k * 20);
        world_run(w, 20);
    }
    world_run(w, 3000);
    assert_int_equal(w->answer_count, 50);
    for (uint32_t k = 0; k < 50; k++) {
        assert_int_equal(w->answers[k].status, WIRE_OK);
        assert_int_equal(w->answers[k].first_sequence, k);
        assert_int_equal(w->answers[k].first_offset, k);
    }
    for (uint32_t n = 0; n < WORLD_NODES; n++) {
        world_send_read(w, n, 49, 0);
        world_run(w, 5);
        assert_int_equal(w->read_replies, n + 1);
        assert_int_equal(w->read_reply.status, WIRE_OK);
        assert_int_equal(w->read_reply.record_count, 1);
        struct record_header header;
        memcpy(&header, w->read_payload, sizeof header);
        assert_int_equal(header.bytes, 980);
        assert_int_equal(w->read_payload[sizeof header + 7], 49 + 7);
    }
    world_close(w);
}

static void largest_record_travels_in_fragments_and_is_read_in_parts(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = world_wait_leader(w);
    world_send_record(w, leader, 3, RECORD_BYTES_MAX);
    world_run(w, 3000);
    assert_int_equal(w->answer_count, 1);
    assert_int_equal(w->answers[0].status, WIRE_OK);
    uint32_t skip = 0;
    for (uint32_t i = 0; i < 100 && skip < RECORD_BYTES_MAX; i++) {
        world_send_read(w, leader, 0, skip);
        world_run(w, 5);
        struct record_header header;
        memcpy(&header, w->read_payload, sizeof header);
        assert_true(header.bytes > 0);
        assert_int_equal(w->read_payload[sizeof header], (uint8_t)(3 + skip));
        skip += header.bytes;
        assert_int_equal(w->read_reply.partial, skip < RECORD_BYTES_MAX);
    }
    assert_int_equal(skip, RECORD_BYTES_MAX);
    world_close(w);
}

static bool
lose_entries(void *context, struct nic_address from, struct nic_address to, const uint8_t *data)
{
    struct world *w = context;
    (void)from;
    (void)to;
    return w->lose_every != 0 && data[6] == WIRE_ENTRY && ++w->seen % w->lose_every == 0;
}

static void lost_fragments_are_repaired_without_waiting_for_a_heartbeat(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = world_wait_leader(w);
    world_run(w, 5000);
    w->net.lose = lose_entries;
    w->net.context = w;
    w->lose_every = 3;
    for (uint64_t k = 0; k < 40; k++) {
        world_send_record(w, leader, k, 20000);
        world_run(w, 100);
    }
    world_run(w, 2000);
    assert_int_equal(w->answer_count, 40);
    assert_true(replica_counters(w->replica[leader])->fragments_repaired > 100);
    w->lose_every = 0;
    world_run(w, 5000);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        assert_int_equal(world_commit_index(w, i), world_commit_index(w, leader));
    }
    world_close(w);
}

static void shuffled_and_repeated_frames_change_nothing(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    prng_init(&w->net.prng, 11);
    w->net.shuffled = true;
    uint32_t leader = world_wait_leader(w);
    world_run(w, 3000);
    for (uint64_t k = 0; k < 60; k++) {
        world_send_record(w, leader, k, (uint32_t)(k * 531) % 9000);
        world_run(w, 30);
    }
    world_run(w, 5000);
    struct replica_status leading;
    replica_status(w->replica[leader], &leading);
    /* A repeated request is a second request: sessions, which tell them apart, come later. */
    assert_true(leading.log_end_offset >= 60);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        struct replica_status status;
        replica_status(w->replica[i], &status);
        assert_int_equal(status.log_end_offset, leading.log_end_offset);
        assert_int_equal(status.durable_index, leading.durable_index);
    }
    assert_int_equal(world_leader(w), leader);
    world_close(w);
}

static bool
lose_apart(void *context, struct nic_address from, struct nic_address to, const uint8_t *data)
{
    struct world *w = context;
    if (w->apart == WORLD_NODES) {
        return false;
    }
    struct nic_address apart = w->net.ports[w->apart].nic.self;
    struct nic_address client = w->net.ports[WORLD_NODES].nic.self;
    if (w->lost_index == 0) {
        return (nic_address_equal(from, apart) && !nic_address_equal(to, client)) ||
               (nic_address_equal(to, apart) && !nic_address_equal(from, client));
    }
    struct head_layout head;
    if (data[6] != WIRE_ENTRY || !nic_address_equal(to, apart)) {
        return false;
    }
    memcpy(&head, data, sizeof head.header + sizeof head.entry);
    return head.entry.index == w->lost_index;
}

static void look_at_applied(void *context, uint8_t node, const uint8_t *entry)
{
    struct world *w = context;
    (void)node;
    w->corrupt_applied += entry_check(entry, WORLD_CLUSTER) != NULL;
}

/* A deposed leader's durable tail will be cut: the room above it, a ring further, must not be
 * filled on the strength of that tail's being durable. */
static void returning_leader_takes_no_entry_into_a_slot_that_a_cut_frees_again(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    w->apart = WORLD_NODES;
    w->net.lose = lose_apart;
    w->net.context = w;
    uint32_t old = world_wait_leader(w);
    world_run(w, 5000);
    for (uint64_t k = 0; k < 10; k++) {
        world_send_record(w, old, k, 40000);
        world_run(w, 50);
    }
    world_run(w, 5000);
    w->apart = old;
    for (uint64_t k = 10; k < 18; k++) {
        world_send_record(w, old, k, 40000); /* Durable there, and never committed. */
        world_run(w, 20);
    }
    uint64_t conflict = world_commit_index(w, old) + 1;
    uint32_t leader = world_other_leader(w, old);
    for (uint64_t k = 18; k < 70; k++) {
        world_send_record(w, leader, k, 40000);
        world_run(w, 30);
    }
    w->lost_index = conflict; /* It comes back, and hears everything but what it must cut for. */
    world_run(w, 4000);
    w->apart = WORLD_NODES;
    replica_on_apply(w->replica[old], look_at_applied, w);
    world_run(w, 20000);
    assert_int_equal(w->corrupt_applied, 0);
    assert_true(replica_counters(w->replica[old])->cuts > 0);
    assert_int_equal(world_commit_index(w, old), world_commit_index(w, leader));
    world_close(w);
}

static void look_at_order(void *context, uint8_t node, const uint8_t *entry)
{
    struct world *w = context;
    assert_int_equal(entry_header_of(entry)->index, w->applied[node - 1] + 1);
    w->applied[node - 1]++;
    struct replica_status status;
    replica_status(w->replica[node - 1], &status);
    assert_true(w->applied[node - 1] <= status.commit_index);
}

/* Cut a follower off, and fill the log beyond what memory holds. */
static void leave_behind(struct world *w, uint32_t away)
{
    uint32_t leader = world_wait_leader(w);
    w->apart = away;
    for (uint32_t i = 0; i < 70; i++) {
        world_send_record(w, leader, i, 50000);
        world_run(w, 50);
    }
    assert_true(world_commit_index(w, away) + 70 <= world_commit_index(w, leader));
}

/* The same, and let it come back. Returns how long it takes until it has committed everything; the
 * disk of node `held` answers only before that. */
static uint64_t time_catch_up(struct world *w, uint32_t away, uint32_t held)
{
    uint32_t leader = world_wait_leader(w);
    leave_behind(w, away);
    if (held < WORLD_NODES) {
        w->disk[held].held = true;
    }
    world_send_record(w, leader, 70, 100);
    w->apart = WORLD_NODES;
    uint64_t begin_ns = w->now_ns;
    uint64_t last = raft_last(replica_raft(w->replica[leader])).index;
    for (uint32_t i = 0; i < 100000 && world_commit_index(w, away) <= last; i++) {
        world_run(w, 1);
    }
    assert_true(world_commit_index(w, away) > last);
    assert_int_equal(world_leader(w), leader);
    return w->now_ns - begin_ns;
}

/* What memory no longer has comes at a bounded rate, so that the others commit undisturbed; but
 * when nothing can be committed without that follower, there is nothing to wait for. */
static void follower_that_was_away_is_caught_up_at_its_rate_unless_commits_wait_for_it(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    w->net.lose = lose_apart;
    w->net.context = w;
    w->apart = WORLD_NODES;
    uint32_t leader = world_wait_leader(w);
    world_run(w, 5000);
    uint32_t away = (leader + 1) % WORLD_NODES;
    uint64_t at_rate_ns = time_catch_up(w, away, WORLD_NODES);
    uint64_t in_a_hurry_ns = time_catch_up(w, away, (leader + 2) % WORLD_NODES);
    uint64_t from_disk_bytes = 70ull * 50000 - LOG_MEMORY_MIN;
    assert_true(at_rate_ns + CATCHUP_SLACK_NS >=
                from_disk_bytes * 1000 * WORLD_MS / CATCHUP_BYTES_PER_S);
    assert_true(in_a_hurry_ns < at_rate_ns);
    assert_true(in_a_hurry_ns > CATCHUP_HURRY_NS);
    printf("caught up in %llu us, in a hurry in %llu us\n", (unsigned long long)at_rate_ns / 1000,
           (unsigned long long)in_a_hurry_ns / 1000);
    world_close(w);
}

/* Nothing is written meanwhile: the read alone tells of the disk. */
static void leader_whose_read_for_a_follower_never_ends_steps_down_and_fails_at_last(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    w->net.lose = lose_apart;
    w->net.context = w;
    w->apart = WORLD_NODES;
    uint32_t old = world_wait_leader(w);
    world_run(w, 5000);
    leave_behind(w, (old + 1) % WORLD_NODES);
    world_run(w, 5000);
    const struct replica_counters *counters = replica_counters(w->replica[old]);
    uint64_t disk_fetches = counters->disk_fetches;
    w->disk[old].held = true;
    w->apart = WORLD_NODES;
    world_run_by(w, 990, WORLD_MS);
    assert_true(counters->disk_fetches > disk_fetches);
    assert_int_equal(counters->disk_stalls, 0);
    world_run_by(w, 400, WORLD_MS);
    assert_int_equal(counters->disk_stalls, 1);
    assert_true(world_leader(w) != old);
    struct replica_status status;
    world_run_by(w, 8500, WORLD_MS);
    replica_status(w->replica[old], &status);
    assert_int_equal(status.failed, 0);
    world_run_by(w, 600, WORLD_MS); /* Before its first write is 10 s old. */
    replica_status(w->replica[old], &status);
    assert_int_equal(status.failed, -ETIMEDOUT);
    world_close(w);
}

static void every_entry_is_applied_once_and_in_order_and_never_before_it_is_committed(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    prng_init(&w->net.prng, 12);
    w->net.shuffled = true;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        replica_on_apply(w->replica[i], look_at_order, w);
    }
    uint32_t leader = world_wait_leader(w);
    uint64_t committed[WORLD_NODES] = {0};
    for (uint64_t k = 0; k < 60; k++) {
        world_send_record(w, leader, k, (uint32_t)(k * 531) % 9000);
        world_run(w, 30);
        for (uint32_t i = 0; i < WORLD_NODES; i++) {
            assert_true(world_commit_index(w, i) >= committed[i]);
            committed[i] = world_commit_index(w, i);
        }
    }
    world_run(w, 5000);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        assert_true(w->applied[i] > 60);
        assert_int_equal(w->applied[i], world_commit_index(w, i));
    }
    world_close(w);
}

static void follower_answers_not_leader_and_names_the_leader(void **state)
{
    (void)state;
    struct world *w = world_open(1472, 0);
    uint32_t leader = world_wait_leader(w);
    world_run(w, 3000);
    world_send_record(w, (leader + 1) % WORLD_NODES, 9, 100);
    world_run(w, 5);
    assert_int_equal(w->answer_count, 1);
    assert_int_equal(w->answers[0].status, WIRE_NOT_LEADER);
    assert_int_equal(w->answers[0].leader, leader + 1);
    world_close(w);
}

static void log_wraps_under_retention_and_old_offsets_are_trimmed(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 4ull << 20);
    uint32_t leader = world_wait_leader(w);
    uint64_t sent = 0;
    for (uint32_t k = 0; k < 1000; k++) {
        world_send_record(w, leader, sent++, 60000);
        world_run(w, 20);
    }
    world_run(w, 3000);
    assert_int_equal(w->answer_count, 1000);
    for (uint32_t k = 0; k < 1000; k++) {
        assert_int_equal(w->answers[k].status, WIRE_OK);
    }
    struct replica_status status;
    replica_status(w->replica[leader], &status);
    assert_true(status.log_start_offset > 800);
    assert_true(status.log_durable_position - status.log_start_position < 6ull << 20);
    world_send_read(w, leader, 3, 0);
    world_run(w, 20);
    assert_int_equal(w->read_reply.status, WIRE_TRIMMED);
    /* An offset that memory no longer holds comes from disk. */
    world_send_read(w, leader, status.log_start_offset, 0);
    world_run(w, 20);
    assert_int_equal(w->read_replies, 2);
    assert_int_equal(w->read_reply.status, WIRE_OK);
    struct record_header header;
    memcpy(&header, w->read_payload, sizeof header);
    assert_int_equal(header.sequence, status.log_start_offset);
    world_close(w);
}

static void full_log_refuses_and_still_serves_reads(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t leader = world_wait_leader(w);
    uint32_t accepted = 0;
    for (uint32_t k = 0; k < 400; k++) {
        world_send_record(w, leader, k, 60000);
        world_run(w, 20);
    }
    world_run(w, 3000);
    assert_int_equal(w->answer_count, 400);
    for (uint32_t k = 0; k < 400; k++) {
        accepted += w->answers[k].status == WIRE_OK;
        assert_true(w->answers[k].status == WIRE_OK || w->answers[k].status == WIRE_FULL);
    }
    assert_true(accepted > 150);
    assert_true(accepted < 300);
    world_send_read(w, leader, 0, 0);
    world_run(w, 20);
    assert_int_equal(w->read_reply.status, WIRE_OK);
    assert_int_equal(world_leader(w), leader);
    world_close(w);
}

static void client_faster_than_the_log_is_told_busy(void **state)
{
    (void)state;
    struct world *w = world_open(8192, 0);
    uint32_t leader = world_wait_leader(w);
    for (uint32_t k = 0; k < 100; k++) {
        world_send_record(w, leader, k,
                          60000); /* 100 x 60 kB at once: more than the gate lets fly. */
    }
    world_run(w, 3000);
    uint32_t busy = 0;
    for (uint32_t k = 0; k < w->answer_count; k++) {
        busy += w->answers[k].status == WIRE_BUSY;
    }
    assert_int_equal(w->answer_count, 100);
    assert_true(busy > 0);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cluster_elects_a_leader_and_commits_its_first_configuration),
        cmocka_unit_test(record_is_answered_with_its_offset_and_read_back),
        cmocka_unit_test(largest_record_travels_in_fragments_and_is_read_in_parts),
        cmocka_unit_test(lost_fragments_are_repaired_without_waiting_for_a_heartbeat),
        cmocka_unit_test(shuffled_and_repeated_frames_change_nothing),
        cmocka_unit_test(returning_leader_takes_no_entry_into_a_slot_that_a_cut_frees_again),
        cmocka_unit_test(
            follower_that_was_away_is_caught_up_at_its_rate_unless_commits_wait_for_it),
        cmocka_unit_test(leader_whose_read_for_a_follower_never_ends_steps_down_and_fails_at_last),
        cmocka_unit_test(every_entry_is_applied_once_and_in_order_and_never_before_it_is_committed),
        cmocka_unit_test(follower_answers_not_leader_and_names_the_leader),
        cmocka_unit_test(log_wraps_under_retention_and_old_offsets_are_trimmed),
        cmocka_unit_test(full_log_refuses_and_still_serves_reads),
        cmocka_unit_test(client_faster_than_the_log_is_told_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
