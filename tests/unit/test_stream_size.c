/* test_stream_size.c: which size of frames a stream uses: ports that take different ones, and a way
 * between them that carries less than both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/stream_pair.h"

#define MS          1000000u
#define S           1000000000ull
#define OWN_BYTES   3372u /* Of an MTU of 3400. */
#define LARGE_BYTES RECORD_BYTES_MAX

static struct pair pair;

static int setup(void **state)
{
    (void)state;
    pair_open(&pair, OWN_BYTES);
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

/* Large entries, and what it took to bring them over: the largest frame. */
static uint32_t bring(uint32_t count)
{
    pair.largest_bytes = 0;
    propose(count, LARGE_BYTES);
    pair_run(&pair, 2000, MS / 4);
    pair_durable(&pair, &pair.follower);
    pair_assert_same(&pair);
    return pair.largest_bytes;
}

static void session_begins_with_usual_frames_and_grows_when_a_probe_came_through(void **state)
{
    (void)state;
    propose(2, LARGE_BYTES);
    (void)pair_send(&pair); /* With the probe, whose answer is not there yet. */
    assert_int_equal(pair.leader.counters.probes_sent, 1);
    assert_int_equal(pair.largest_bytes, FRAME_BYTES_USUAL);
    assert_int_equal(pair.out.size.frame_bytes, FRAME_BYTES_USUAL);
    assert_int_equal(pair.out.size.target_bytes, OWN_BYTES);
    pair_run(&pair, 10, MS);
    assert_int_equal(pair.leader.counters.frames_grown, 1);
    assert_int_equal(bring(3), OWN_BYTES / 8 * 8);
    assert_int_equal(pair.leader.counters.probes_sent, 1);
    assert_int_equal(pair.leader.counters.frames_shrunk, 0);
    assert_false(stream_out_is_narrow(&pair.out));
}

static void follower_whose_port_takes_less_gets_no_larger_frames(void **state)
{
    (void)state;
    static const uint32_t takes[] = {FRAME_BYTES_USUAL, 1300, ENTRY_FRAME_BYTES_MIN};
    for (uint32_t i = 0; i < 3; i++) {
        pair.follower.outbox.nic->frame_bytes_max = takes[i];
        pair_heartbeat(&pair);
        (void)bring(1); /* Once told. */
        assert_in_range(bring(3), takes[i] - 7, takes[i]);
    }
    assert_int_equal(pair.leader.counters.probes_sent, 0);
    assert_int_equal(pair.leader.counters.fragments_repaired, 0);
    assert_false(stream_out_is_narrow(&pair.out));
}

static void leader_whose_port_takes_less_than_the_followers_stays_below_it(void **state)
{
    (void)state;
    pair_close(&pair);
    pair_open(&pair, 1400);
    pair.follower.outbox.nic->frame_bytes_max = OWN_BYTES;
    pair_heartbeat(&pair);
    assert_int_equal(bring(3), 1400);
    assert_int_equal(pair.leader.counters.probes_sent, 0);
}

static void way_that_carries_less_than_both_ports_keeps_usual_frames_until_mended(void **state)
{
    (void)state;
    pair.way_bytes = FRAME_BYTES_USUAL;
    assert_int_equal(bring(3), FRAME_BYTES_USUAL);
    assert_int_equal(pair.leader.counters.fragments_repaired, 0);
    for (uint32_t i = 0; i < 50; i++) { /* The peer is heard all the while. */
        pair_heartbeat(&pair);
        pair_run(&pair, 1, 100 * MS);
    }
    uint64_t probes = pair.leader.counters.probes_sent;
    assert_in_range(probes, 10, 10 + 8); /* In 10 s: seldom. */
    assert_int_equal(pair.leader.counters.frames_grown, 0);
    assert_true(stream_out_is_narrow(&pair.out));
    assert_in_range(stream_out_deadline_ns(&pair.out), pair.now_ns, pair.now_ns + S);
    pair.way_bytes = 0;
    pair_run(&pair, 20, 100 * MS);
    assert_false(stream_out_is_narrow(&pair.out));
    assert_int_equal(pair.leader.counters.frames_grown, 1);
    assert_int_equal(bring(1), OWN_BYTES / 8 * 8);
}

static void way_that_becomes_narrow_under_large_frames_is_noticed_and_all_arrives(void **state)
{
    (void)state;
    pair_run(&pair, 10, MS);
    assert_int_equal(bring(1), OWN_BYTES / 8 * 8);
    pair.way_bytes = FRAME_BYTES_USUAL;
    (void)bring(8); /* The first ones in vain. */
    assert_int_equal(pair.leader.counters.frames_shrunk, 1);
    assert_int_equal(pair.out.size.frame_bytes, FRAME_BYTES_USUAL);
    assert_int_equal(bring(3), FRAME_BYTES_USUAL);
    pair.way_bytes = 0;
    pair_run(&pair, 30, 100 * MS);
    assert_int_equal(bring(3), OWN_BYTES / 8 * 8);
    assert_int_equal(pair.leader.counters.frames_grown, 2);
}

static void way_that_carries_less_than_usual_gets_the_smallest_frames(void **state)
{
    (void)state;
    pair.way_bytes = 1300;
    (void)bring(8);
    assert_int_equal(pair.leader.counters.frames_shrunk, 1);
    assert_int_equal(bring(3), ENTRY_FRAME_BYTES_MIN);
    assert_true(pair.leader.counters.fragments_repaired > 0);
}

/* The probe's answer comes when an entry is half sent. */
static void entry_that_is_half_sent_is_finished_in_its_cut(void **state)
{
    (void)state;
    (void)pair_send(&pair);
    propose(3, LARGE_BYTES);
    pair.leader.context.now_ns = pair.now_ns;
    uint32_t sent = stream_out_send(&pair.out, &pair.leader.context);
    assert_int_equal(sent, STREAM_FRAGMENTS_PER_DRAIN);
    assert_true(pair.out.next_offset > 0);
    (void)outbox_flush(&pair.leader.outbox);
    struct wire_ack ack = {.session = pair.out.session,
                           .received_index = pair.out.received_index,
                           .credit_position = pair.out.credit_position,
                           .frame_bytes = OWN_BYTES};
    stream_out_ack(&pair.out, &pair.leader.context, &ack);
    (void)stream_out_send(&pair.out, &pair.leader.context);
    ack.probe = pair.out.size.probe;
    stream_out_ack(&pair.out, &pair.leader.context, &ack);
    assert_int_equal(pair.out.size.frame_bytes, OWN_BYTES);
    uint64_t last = pair.leader.log.last.index;
    (void)pair_send(&pair);
    assert_int_equal(pair.out.cuts[last % STREAM_ENTRIES_MAX].fragment_bytes,
                     wire_fragment_bytes(FRAME_BYTES_USUAL));
    pair_run(&pair, 50, MS);
    pair_assert_same(&pair);
    assert_int_equal(bring(1), OWN_BYTES / 8 * 8);
}

static void probe_of_another_session_or_leader_is_not_answered(void **state)
{
    (void)state;
    (void)bring(1);
    struct wire_frame frame = {
        .header = pair.leader.context.header,
        .probe = {.session = pair.out.session - 1, .number = 77},
    };
    struct wire_ack ack = {.session = pair.out.session};
    frame.header.term = raft_term(pair.follower.raft);
    stream_in_probe(&pair.in, &pair.follower.context, &frame);
    stream_in_fill_ack(&pair.in, &pair.follower.context, &ack);
    assert_int_not_equal(ack.probe, 77);
    assert_int_equal(ack.frame_bytes, OWN_BYTES);
    frame.probe.session = pair.out.session;
    frame.header.term--;
    stream_in_probe(&pair.in, &pair.follower.context, &frame);
    stream_in_fill_ack(&pair.in, &pair.follower.context, &ack);
    assert_int_not_equal(ack.probe, 77);
    frame.header.term++;
    stream_in_probe(&pair.in, &pair.follower.context, &frame);
    assert_true(stream_in_ack_owed(&pair.in, &pair.follower.context));
    stream_in_fill_ack(&pair.in, &pair.follower.context, &ack);
    assert_int_equal(ack.probe, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            session_begins_with_usual_frames_and_grows_when_a_probe_came_through, setup, teardown),
        cmocka_unit_test_setup_teardown(follower_whose_port_takes_less_gets_no_larger_frames, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            leader_whose_port_takes_less_than_the_followers_stays_below_it, setup, teardown),
        cmocka_unit_test_setup_teardown(
            way_that_carries_less_than_both_ports_keeps_usual_frames_until_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(
            way_that_becomes_narrow_under_large_frames_is_noticed_and_all_arrives, setup, teardown),
        cmocka_unit_test_setup_teardown(way_that_carries_less_than_usual_gets_the_smallest_frames,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(entry_that_is_half_sent_is_finished_in_its_cut, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(probe_of_another_session_or_leader_is_not_answered, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
