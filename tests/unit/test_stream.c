/* test_stream.c: both halves of a stream, joined by hand, with a network that loses what the test
 * wants lost and disks that it holds back or lets rot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/stream_pair.h"

#define MS          1000000u
#define FRAME_BYTES 1472u
#define LARGE_BYTES RECORD_BYTES_MAX

static struct pair pair;

static int setup(void **state)
{
    (void)state;
    pair_open(&pair, FRAME_BYTES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

static void propose(uint32_t count, uint32_t record_bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        pair_propose(&pair, record_bytes);
    }
}

/* The no-op is there, and the follower is idle. */
static void settle(void)
{
    (void)pair_send(&pair);
    pair_receive(&pair);
    pair_ack(&pair);
    pair_assert_same(&pair);
    assert_int_equal(pair.leader.log.last.index, PAIR_START_INDEX + 1);
}

static uint32_t bits_of(uint64_t bitmap)
{
    return (uint32_t)__builtin_popcountll(bitmap);
}

static uint32_t fragments_of(uint32_t record_bytes)
{
    uint32_t used = entry_used_bytes(record_body_bytes(record_bytes)) - NODE_HEADER_BYTES;
    uint32_t fragment = wire_fragment_bytes(FRAME_BYTES);
    return (used + fragment - 1) / fragment;
}

static void entry_that_counts_its_records_otherwise_is_not_taken(void **state)
{
    (void)state;
    settle();
    uint64_t last = pair.follower.log.last.index;
    pair.follower.log.next_offset += 5;
    propose(1, 100);
    (void)pair_send(&pair);
    pair_receive(&pair);
    assert_int_equal(pair.follower.log.last.index, last);
    assert_int_equal(pair.follower.counters.entries_unfit, 1);
    pair.follower.log.next_offset -= 5;
    pair_run(&pair, 500, MS);
    assert_int_equal(pair.follower.log.last.index, last + 1);
    pair_assert_same(&pair);
}

/* D2 */
static void window_of_entries_is_freed_by_acks_and_never_by_a_heartbeat_alone(void **state)
{
    (void)state;
    settle();
    uint64_t base = pair.out.next_index;
    propose(STREAM_ENTRIES_MAX + 20, 100);
    pair.deaf = true;
    assert_int_equal(pair_send(&pair), STREAM_ENTRIES_MAX);
    assert_int_equal(pair.out.next_index, base + STREAM_ENTRIES_MAX);
    pair.deaf = false;
    for (uint32_t i = 0; i < 10; i++) { /* Answered, and nothing was received. */
        pair_heartbeat(&pair);
        pair.deaf = true;
        (void)pair_send(&pair);
        pair.deaf = false;
        assert_int_equal(pair.out.next_index, base + STREAM_ENTRIES_MAX);
        assert_int_equal(pair.out.received_index, base - 1);
    }
    pair_run(&pair, 2000, MS);
    assert_int_equal(pair.out.next_index, base + STREAM_ENTRIES_MAX + 20);
    pair_assert_same(&pair);
}

/* D2 */
static void window_of_bytes_is_freed_by_what_the_follower_made_durable(void **state)
{
    (void)state;
    settle();
    const uint64_t credit = pair.out.credit_position;
    assert_int_equal(credit, pair.follower.context.durable_position + LOG_MEMORY_MIN);
    pair.follower.held = true;
    for (uint32_t i = 0; i < 60; i++) {
        pair_propose(&pair, LARGE_BYTES);
        (void)pair_send(&pair);
        pair_receive(&pair);
        pair_ack(&pair);
    }
    const struct log_entry *next = log_entry(&pair.leader.log, pair.out.next_index);
    assert_non_null(next);
    assert_true(next->position <= credit);
    assert_true(next->position + log_entry_bytes(next) > credit);
    uint64_t stuck = pair.out.next_index;
    assert_int_equal(pair.follower.log.last.index, stuck - 1);
    for (uint32_t i = 0; i < 5; i++) { /* Received and verified, and durable nowhere. */
        pair_heartbeat(&pair);
        (void)pair_send(&pair);
        assert_int_equal(pair.out.next_index, stuck);
        assert_int_equal(pair.out.credit_position, credit);
    }
    pair_durable(&pair, &pair.follower);
    pair_run(&pair, 500, MS);
    assert_true(pair.out.credit_position > credit);
    pair_assert_same(&pair);
}

/* D3 */
static void full_window_of_which_everything_was_lost_goes_on(void **state)
{
    (void)state;
    settle();
    propose(STREAM_ENTRIES_MAX + 50, 100);
    pair.deaf = true;
    (void)pair_send(&pair);
    assert_int_equal(pair.out.next_index - 1 - pair.out.received_index, STREAM_ENTRIES_MAX);
    pair_run(&pair, 100, MS); /* The polls are lost too. */
    assert_int_equal(pair.follower.log.last.index, PAIR_START_INDEX + 1);
    pair.deaf = false;
    pair_run(&pair, 2000, MS);
    pair_assert_same(&pair);
}

static void silent_peer_is_polled_ever_more_seldom(void **state)
{
    (void)state;
    settle();
    propose(1, 100);
    pair.deaf = true;
    pair_run(&pair, 10000, MS / 10);
    uint64_t polls = pair.leader.counters.polls_sent;
    assert_true(polls >= 1000u * MS / STREAM_POLL_MAX_NS);
    assert_true(polls < 2u * 1000u * MS / STREAM_POLL_MAX_NS);
    assert_int_equal(pair.leader.counters.fragments_repaired, 0);
}

/* D7 */
static void credit_never_falls_within_a_session(void **state)
{
    (void)state;
    settle();
    struct wire_ack ack = {.session = pair.in.session};
    stream_in_fill_ack(&pair.in, &pair.follower.context, &ack);
    uint64_t credit = ack.credit_position;
    struct stream_context less = pair.follower.context;
    less.durable_position = 0;
    stream_in_fill_ack(&pair.in, &less, &ack);
    assert_int_equal(ack.credit_position, credit);
    less = pair.follower.context;
    less.space_position = PAGE_BYTES;
    stream_in_fill_ack(&pair.in, &less, &ack);
    assert_int_equal(ack.credit_position, credit);
    /* The leader does not let an older ack take it back either. */
    struct raft_replication replication = raft_replication(pair.leader.raft, 2);
    struct wire_ack late = {.session = replication.session, .credit_position = PAGE_BYTES};
    stream_out_ack(&pair.out, &pair.leader.context, &late);
    assert_int_equal(pair.out.credit_position, credit);
}

static void credit_ends_where_the_followers_disk_is_full(void **state)
{
    (void)state;
    const uint64_t space = LOG_MEMORY_MIN + 3 * PAGE_BYTES;
    pair.follower.context.space_position = space;
    settle();
    for (uint32_t i = 0; i < 40; i++) {
        pair_propose(&pair, LARGE_BYTES);
        (void)pair_send(&pair);
        pair_receive(&pair);
        pair_ack(&pair);
    }
    assert_int_equal(pair.out.credit_position, space);
    assert_int_equal(pair.out.space_position, space);
    const struct log_entry *next = log_entry(&pair.leader.log, pair.out.next_index);
    assert_non_null(next);
    assert_int_equal(next->position, pair.follower.log.end_position);
    assert_true(next->position <= space);
    assert_true(next->position + log_entry_bytes(next) > space);
    assert_int_equal(pair.follower.counters.fragments_refused, 0);
}

/* C7 */
static void next_entry_to_send_is_never_one_that_the_follower_has(void **state)
{
    (void)state;
    settle();
    propose(30, 100);
    pair_run(&pair, 20, MS);
    pair_assert_same(&pair);
    /* The leader's half forgets how far it was; the core's session stays. */
    struct stream_fetch fetch = pair.out.fetch;
    struct nic_address address = pair.out.address;
    struct stream_cut *cuts = pair.out.cuts;
    pair.out = (struct stream_out){.peer = 2, .address = address, .fetch = fetch, .cuts = cuts};
    pair_heartbeat(&pair);
    struct raft_replication replication = raft_replication(pair.leader.raft, 2);
    assert_true(pair.out.next_index > replication.match_index);
    assert_int_equal(pair.out.next_index, pair.leader.log.last.index + 1);
    assert_int_equal(pair_send(&pair), 0);
}

static void page_whose_mark_fails_forgets_its_fragments_and_asks_for_them_again(void **state)
{
    (void)state;
    settle();
    propose(1, 5 * PAGE_BYTES);
    uint32_t fragments = fragments_of(5 * PAGE_BYTES);
    assert_int_equal(pair_send(&pair), fragments);
    struct loop_frame *frame = pair_frame(&pair, fragments / 2);
    frame->data[frame->bytes - 5] ^= 0x20; /* No checksum of the frame covers an entry's bytes. */
    pair_receive(&pair);
    assert_int_equal(pair.follower.counters.pages_bad, 1);
    assert_int_equal(pair.follower.counters.fragments_received, fragments + 1); /* The no-op's. */
    assert_int_equal(pair.follower.log.last.index, PAIR_START_INDEX + 1);
    pair.now_ns += STREAM_GAP_NS;
    pair.follower.context.now_ns = pair.now_ns;
    assert_true(stream_in_ack_owed(&pair.in, &pair.follower.context));
    pair_ack(&pair);
    uint32_t missing = bits_of(pair.out.missing_bitmap);
    assert_true(missing >= 3); /* A page of 4 KiB lies in three or four fragments. */
    assert_true(missing <= 4);
    assert_int_equal(pair_send(&pair), missing);
    assert_int_equal(pair.leader.counters.fragments_repaired, missing);
    pair_receive(&pair);
    pair_assert_same(&pair);
}

static void entry_whose_header_was_damaged_on_the_way_is_asked_for_whole(void **state)
{
    (void)state;
    settle();
    propose(1, 5 * PAGE_BYTES);
    (void)pair_send(&pair);
    struct loop_frame *frame = pair_frame(&pair, 0);
    frame->data[frame->bytes - wire_fragment_bytes(FRAME_BYTES) + 9] ^= 1;
    pair_receive(&pair);
    assert_int_equal(pair.follower.counters.pages_bad, 1);
    pair_run(&pair, 10, MS);
    assert_int_equal(pair.leader.counters.fragments_repaired, fragments_of(5 * PAGE_BYTES));
    pair_assert_same(&pair);
}

static void lost_last_fragment_is_repaired_by_a_poll(void **state)
{
    (void)state;
    settle();
    propose(1, 5 * PAGE_BYTES);
    (void)pair_send(&pair);
    pair.net.ports[1].head--; /* The last one is lost. */
    pair_receive(&pair);
    pair.now_ns += 10 * STREAM_GAP_NS;
    pair.follower.context.now_ns = pair.now_ns;
    assert_false(stream_in_ack_owed(&pair.in, &pair.follower.context)); /* It cannot know. */
    assert_int_equal(pair_send(&pair), 0);
    pair.now_ns = stream_out_deadline_ns(&pair.out);
    assert_int_equal(pair_send(&pair), 1);
    assert_int_equal(pair.leader.counters.polls_sent, 1);
    pair_receive(&pair);
    pair.follower.context.now_ns = pair.now_ns;
    assert_true(stream_in_ack_owed(&pair.in, &pair.follower.context));
    pair_ack(&pair);
    assert_int_equal(pair_send(&pair), 1);
    assert_int_equal(pair.leader.counters.fragments_repaired, 1);
    pair_receive(&pair);
    pair_assert_same(&pair);
}

static void hole_is_told_within_its_gap_and_only_it_is_sent_again(void **state)
{
    (void)state;
    settle();
    propose(1, 5 * PAGE_BYTES);
    (void)pair_send(&pair);
    struct loop_frame *lost = pair_frame(&pair, 3);
    lost->bytes = pair_frame(&pair, 4)->bytes;
    memcpy(lost->data, pair_frame(&pair, 4)->data, lost->bytes); /* The fifth twice, no fourth. */
    pair_receive(&pair);
    assert_false(stream_in_ack_owed(&pair.in, &pair.follower.context));
    pair.now_ns += STREAM_GAP_NS;
    pair.follower.context.now_ns = pair.now_ns;
    assert_true(stream_in_ack_owed(&pair.in, &pair.follower.context));
    pair_ack(&pair);
    assert_int_equal(pair.out.missing_bitmap, 1u << 3);
    assert_int_equal(pair_send(&pair), 1);
    pair_receive(&pair);
    pair_assert_same(&pair);
    assert_int_equal(pair.leader.counters.polls_sent, 0);
}

/* The follower hears nothing while the leader's ring in memory is filled twice over. */
static uint64_t fall_behind(void)
{
    settle();
    pair.deaf = true;
    propose(70, LARGE_BYTES);
    pair.deaf = false;
    uint64_t first = PAIR_START_INDEX + 2;
    assert_null(log_bytes(&pair.leader.log, first));
    assert_non_null(log_bytes(&pair.leader.log, pair.leader.log.last.index));
    return first;
}

static void follower_far_behind_gets_its_entries_from_disk(void **state)
{
    (void)state;
    (void)fall_behind();
    pair_run(&pair, 500, MS / 10);
    pair_assert_same(&pair);
    /* At most two entries a read, and half of the 70 are no longer in memory. */
    assert_true(pair.leader.counters.disk_fetches >= 70 / 2 / 2);
    assert_int_equal(pair.leader.counters.fetches_failed, 0);
}

/* Read what is wanted in steps of this time until the follower has everything; returns how long
 * that took. Over no time is more read than the rate gives it. */
static uint64_t catch_up(uint64_t bytes_per_s, uint64_t step_ns)
{
    pair.leader.context.catchup_bytes_per_s = bytes_per_s;
    uint64_t begin_ns = pair.now_ns;
    uint64_t fetched[64] = {0}; /* After each of the last steps. */
    uint64_t steps = 0;
    while (pair.follower.log.last.index < pair.leader.log.last.index) {
        assert_true(++steps < 1000000);
        pair_run(&pair, 1, step_ns);
        fetched[steps % 64] = pair.fetched_bytes;
        uint64_t window = steps < 63 ? steps : 63;
        uint64_t read_bytes = pair.fetched_bytes - fetched[(steps - window) % 64];
        uint64_t window_ns = window * step_ns + CATCHUP_SLACK_NS;
        assert_true(read_bytes <= STREAM_FETCH_BYTES + bytes_per_s * window_ns / (1000 * MS));
    }
    pair_assert_same(&pair);
    return pair.now_ns - begin_ns;
}

static void catch_up_takes_the_time_that_its_rate_gives_it(void **state)
{
    (void)state;
    const uint64_t rate = CATCHUP_BYTES_PER_S_MIN;
    (void)fall_behind();
    uint64_t took_ns = catch_up(rate, MS / 10);
    uint64_t given_ns = pair.fetched_bytes * (1000 * MS / (rate >> 20)) >> 20;
    assert_true(pair.fetched_bytes > 2 * rate);
    assert_true(took_ns + CATCHUP_SLACK_NS + 130 * MS >= given_ns); /* The last read is free. */
    assert_true(took_ns <= given_ns + 10 * MS); /* And it uses what it is given. */
}

/* A loop that sleeps longer than a read is due makes up for it, within the slack. */
static void catch_up_in_long_steps_keeps_its_rate(void **state)
{
    (void)state;
    const uint64_t rate = 16 * CATCHUP_BYTES_PER_S_MIN; /* A read in 7.8 ms. */
    (void)fall_behind();
    uint64_t took_ns = catch_up(rate, 5 * MS);
    uint64_t given_ns = pair.fetched_bytes * (1000 * MS) / rate;
    assert_true(took_ns <= given_ns + 20 * MS);
}

static void stream_that_waits_for_its_rate_says_when(void **state)
{
    (void)state;
    (void)fall_behind();
    pair.leader.context.catchup_bytes_per_s = CATCHUP_BYTES_PER_S_MIN;
    pair_run(&pair, 20, MS);
    assert_int_equal(pair.out.fetch.state, FETCH_WANTED);
    uint64_t due_ns = stream_out_deadline_ns(&pair.out);
    assert_true(due_ns > pair.now_ns);
    uint64_t fetched_bytes = pair.fetched_bytes;
    pair_run(&pair, 1, due_ns - pair.now_ns - 1);
    assert_int_equal(pair.fetched_bytes, fetched_bytes);
    pair_run(&pair, 1, 1);
    assert_true(pair.fetched_bytes > fetched_bytes);
}

/* Somebody must have the entries before anything can be committed: nothing is protected by waiting.
 */
static void catch_up_that_commits_wait_for_knows_no_rate(void **state)
{
    (void)state;
    (void)fall_behind();
    pair.leader.context.commits_wait = true;
    pair.leader.context.catchup_bytes_per_s = CATCHUP_BYTES_PER_S_MIN;
    pair_run(&pair, 500, MS / 10);
    pair_assert_same(&pair);
    /* Afterwards nothing is owed for it. */
    assert_true(pair.out.fetch.due_ns <= pair.now_ns);
}

static void entries_in_memory_know_no_rate(void **state)
{
    (void)state;
    settle();
    pair.leader.context.catchup_bytes_per_s = CATCHUP_BYTES_PER_S_MIN;
    for (uint32_t i = 0; i < 200; i++) { /* 8 MiB, in 20 ms. */
        propose(1, LARGE_BYTES);
        pair_run(&pair, 1, MS / 10);
    }
    pair_run(&pair, 10, MS / 10);
    pair_assert_same(&pair);
    assert_int_equal(pair.fetched_bytes, 0);
}

static void entry_that_rotted_on_disk_is_not_sent(void **state)
{
    (void)state;
    uint64_t rotten = fall_behind() + 7;
    uint64_t position = log_entry(&pair.leader.log, rotten)->position;
    /* Its body, its header, and last the bytes of another entry in its place. */
    for (uint32_t kind = 0; kind < 3; kind++) {
        static uint8_t kept[ENTRY_BYTES_MAX];
        uint8_t *place = pair.leader.image + position;
        memcpy(kept, place, sizeof kept);
        if (kind == 2) {
            memcpy(place, place - ENTRY_BYTES_MAX + PAGE_BYTES, ENTRY_BYTES_MAX - PAGE_BYTES);
        } else {
            place[kind == 0 ? 9000 : NODE_HEADER_BYTES + 20] ^= 1;
        }
        uint64_t failed = pair.leader.counters.fetches_failed;
        pair.out.fetch.state = FETCH_NONE;
        pair_run(&pair, 200, MS);
        assert_true(pair.leader.counters.fetches_failed > failed);
        /* It is read again now and then, not in every iteration. */
        assert_true(pair.leader.counters.fetches_failed - failed <= 200u * MS / STREAM_POLL_MAX_NS);
        assert_int_equal(pair.follower.log.last.index, rotten - 1);
        assert_int_equal(pair.highest_seen, rotten - 1);
        memcpy(place, kept, sizeof kept);
    }
    pair_run(&pair, 1000, MS); /* Mended in place, it goes on. */
    pair_assert_same(&pair);
}

static void frames_repeated_or_of_an_older_session_change_nothing(void **state)
{
    (void)state;
    settle();
    propose(3, 3000);
    (void)pair_send(&pair);
    struct loop_port *port = &pair.net.ports[1];
    uint32_t tail = port->tail;
    pair_receive(&pair);
    pair_assert_same(&pair);
    uint64_t received = pair.follower.counters.fragments_received;
    port->tail = tail; /* All of them once more. */
    uint32_t count = pair_waiting(&pair);
    pair_receive(&pair);
    assert_int_equal(pair.follower.counters.fragments_received, received);
    assert_int_equal(pair.follower.counters.fragments_known, count);
    pair.in.session++;
    port->tail = tail;
    pair_receive(&pair);
    assert_int_equal(pair.follower.counters.fragments_refused, count);
    pair_assert_same(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entry_that_counts_its_records_otherwise_is_not_taken, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            window_of_entries_is_freed_by_acks_and_never_by_a_heartbeat_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(window_of_bytes_is_freed_by_what_the_follower_made_durable,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(full_window_of_which_everything_was_lost_goes_on, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(silent_peer_is_polled_ever_more_seldom, setup, teardown),
        cmocka_unit_test_setup_teardown(credit_never_falls_within_a_session, setup, teardown),
        cmocka_unit_test_setup_teardown(credit_ends_where_the_followers_disk_is_full, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(next_entry_to_send_is_never_one_that_the_follower_has,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            page_whose_mark_fails_forgets_its_fragments_and_asks_for_them_again, setup, teardown),
        cmocka_unit_test_setup_teardown(
            entry_whose_header_was_damaged_on_the_way_is_asked_for_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_last_fragment_is_repaired_by_a_poll, setup, teardown),
        cmocka_unit_test_setup_teardown(hole_is_told_within_its_gap_and_only_it_is_sent_again,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(follower_far_behind_gets_its_entries_from_disk, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(catch_up_takes_the_time_that_its_rate_gives_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(catch_up_in_long_steps_keeps_its_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(stream_that_waits_for_its_rate_says_when, setup, teardown),
        cmocka_unit_test_setup_teardown(catch_up_that_commits_wait_for_knows_no_rate, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(entries_in_memory_know_no_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(entry_that_rotted_on_disk_is_not_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_repeated_or_of_an_older_session_change_nothing,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
