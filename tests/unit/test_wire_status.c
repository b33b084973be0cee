/* test_wire_status.c: the layout of STATUS_REPLY, byte by byte, and what no sound node says of
 * itself in one.
 */
#include "engine/wire.h"

#include "tests/unit/test_wire_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A status reply of node 3, sound but for what the caller changed. */
static enum wire_reason status_after(const struct wire_status_reply *reply)
{
    struct wire_frame frame = {
        .header = {.kind = WIRE_STATUS_REPLY, .from = 3, .cluster = 5, .from_store = 1},
    };
    frame.status_reply = *reply;
    uint8_t bytes[FRAME_BYTES_MAX];
    struct wire_self self = {.cluster = 5};
    return frame_decode(&self, bytes, frame_write(&frame, bytes));
}

static void status_reply_stands_where_the_protocol_says(void **state)
{
    (void)state;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_frame status = {.header = {.kind = WIRE_STATUS, .to = 3}};
    assert_int_equal(wire_encode(&status, head), 88 + 8);
    assert_int_equal(head[6], 36);
    assert_int_equal(bytes_le(head + 88, 8), 0);

    struct wire_frame reply = {.header = {.kind = WIRE_STATUS_REPLY, .from = 3},
                               .status_reply = {.role = WIRE_LEADER,
                                                .leader = 3,
                                                .durable = true,
                                                .degraded = true,
                                                .slowed = true,
                                                .term = 1,
                                                .commit_index = 2,
                                                .durable_index = 3,
                                                .start_offset = 4,
                                                .end_offset = 5,
                                                .voters = 14,
                                                .waiting = 6,
                                                .strangers = 16,
                                                .behind = 32,
                                                .frames_dropped = 9,
                                                .regressed = 64}};
    assert_int_equal(wire_encode(&reply, head), 88 + 96);
    assert_int_equal(head[6], 37);
    assert_int_equal(head[88], 2);
    assert_int_equal(head[89], 3);
    assert_int_equal(head[90], 1 | 8 | 16);
    const uint64_t expected[] = {1, 2, 3, 4, 5, 14, 6, 16, 32, 9, 64};
    for (uint32_t i = 0; i < 11; i++) {
        assert_int_equal(bytes_le(head + 96 + 8 * i, 8), expected[i]);
    }
    reply.status_reply.bootstrapped = true;
    reply.status_reply.takes_proposals = true;
    reply.status_reply.durable = false;
    wire_encode(&reply, head);
    assert_int_equal(head[90], 2 | 4 | 8 | 16);
    reply.status_reply.faulty = true;
    wire_encode(&reply, head);
    assert_int_equal(head[90], 2 | 4 | 8 | 16 | 32);
    reply.status_reply.posix = true;
    wire_encode(&reply, head);
    assert_int_equal(head[90], 2 | 4 | 8 | 16 | 32 | 64);
    reply.status_reply.unmended = true;
    wire_encode(&reply, head);
    assert_int_equal(head[90], 2 | 4 | 8 | 16 | 32 | 64);
    assert_int_equal(head[91], 1);
    reply.status_reply.full = true;
    reply.status_reply.smallest = 2;
    wire_encode(&reply, head);
    assert_int_equal(head[91], 1 | 2);
    assert_int_equal(head[92], 2);
    reply.status_reply.diverged = true;
    wire_encode(&reply, head);
    assert_int_equal(head[91], 1 | 2 | 4);
    reply.status_reply.start_offset = 6;
    expect_assert_failure(wire_encode(&reply, head));
}

static void status_of_a_node_that_serves_unmended_is_not_faulty_too(void **state)
{
    (void)state;
    struct wire_status_reply reply = {
        .role = WIRE_FOLLOWER, .term = 4, .voters = 14, .unmended = true};
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.faulty = true;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply.unmended = false;
    reply.diverged = true; /* Nobody contradicts who takes part in nothing. */
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply.diverged = false;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
}

static void only_a_leader_that_takes_appends_is_full_and_names_the_smallest_log(void **state)
{
    (void)state;
    const struct wire_status_reply sound = {.role = WIRE_LEADER,
                                            .leader = 3,
                                            .term = 4,
                                            .voters = 14,
                                            .bootstrapped = true,
                                            .takes_proposals = true,
                                            .full = true,
                                            .smallest = 63};
    struct wire_status_reply reply = sound;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.smallest = 0;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.smallest = 64;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply.smallest = 2;
    reply.full = false;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply = sound;
    reply.takes_proposals = false;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_STATUS_REPLY, 93, 1, 1), WIRE_DROP_bad_field);
}

static void status_reply_of_a_bounded_leader_is_dropped(void **state)
{
    (void)state;
    const struct wire_status_reply sound = {
        .role = WIRE_FOLLOWER, .leader = 2, .term = 4, .voters = 14, .bounded = true};
    struct wire_status_reply reply = sound;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.role = WIRE_LEADER;
    reply.leader = 3;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply = sound;
    reply.leader = 0;
    reply.faulty = true; /* It takes part in nothing, so it cannot be bound. */
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply = sound;
    reply.regressed = 2;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.regressed = 1; /* Bit 0 is no node. */
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
}

static void status_reply_that_contradicts_itself_is_dropped(void **state)
{
    (void)state;
    const struct wire_status_reply sound = {
        .role = WIRE_LEADER, .leader = 3, .term = 4, .voters = 14, .waiting = 6};
    struct wire_status_reply reply = sound;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.leader = 2;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply.role = WIRE_FOLLOWER; /* Which waits for nobody. */
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply.waiting = 0;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.bootstrapped = true;
    reply.takes_proposals = true;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply = sound;
    reply.bootstrapped = true;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply.waiting = 0;
    reply.takes_proposals = true;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.voters = 15;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply.voters = 0;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply = sound;
    reply.waiting = 16;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply = sound;
    reply.strangers = 1;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply = sound;
    reply.behind = 2;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.behind = 1; /* Bit 0 is no node. */
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply.behind = 2;
    reply.role = WIRE_FOLLOWER; /* Which knows of nobody's log. */
    reply.waiting = 0;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply.behind = 0;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.leader = 0;
    reply.faulty = true; /* Which follows nobody, and waits for whomever. */
    reply.waiting = 4;
    assert_int_equal(status_after(&reply), WIRE_DROP_ok);
    reply.leader = 2;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply.leader = 0;
    reply.faulty = false;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply = sound;
    reply.faulty = true;
    assert_int_equal(status_after(&reply), WIRE_DROP_bad_field);
    reply = sound;
    reply.term = 1ull << 63;
    assert_int_equal(status_after(&reply), WIRE_DROP_absurd_term);
    assert_int_equal(frame_after(WIRE_STATUS, 88, 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_STATUS_REPLY, 88, WIRE_ROLE_COUNT, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_STATUS_REPLY, 89, 64, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_STATUS_REPLY, 91, 8, 1), WIRE_DROP_bad_field);
    for (uint32_t at = 104; at <= 128; at += 8) { /* Indexes and offsets. */
        assert_int_equal(frame_after(WIRE_STATUS_REPLY, at, 1ull << 63, 8), WIRE_DROP_bad_field);
    }
    assert_int_equal(frame_after(WIRE_STATUS_REPLY, 120, (1ull << 63) - 1, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_STATUS_REPLY, 168, 1ull << 63, 8), WIRE_DROP_bad_field);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_reply_stands_where_the_protocol_says),
        cmocka_unit_test(status_of_a_node_that_serves_unmended_is_not_faulty_too),
        cmocka_unit_test(only_a_leader_that_takes_appends_is_full_and_names_the_smallest_log),
        cmocka_unit_test(status_reply_of_a_bounded_leader_is_dropped),
        cmocka_unit_test(status_reply_that_contradicts_itself_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
