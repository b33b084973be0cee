/* test_raft_lost.c: a node that has lost an end of its log (rule M2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/test_raft_core.h"

static struct core core;
static const uint64_t old_log[] = {1, 1, 2};

static struct raft_entry_id id(uint64_t term, uint64_t index)
{
    return (struct raft_entry_id){term, index};
}

static int three_nodes(void **state)
{
    (void)state;
    core_prepare_log(&core, 3, old_log, 3);
    core_start(&core);
    return 0;
}

/* Its log ends with entry 3 of term 2, and may have held up to entry 6 of term 2. */
static int bounded(void **state)
{
    (void)state;
    core_prepare_log(&core, 3, old_log, 3);
    core.config.boot = 9;
    core.recovered.vote_bound = id(2, 6);
    core_start(&core);
    return 0;
}

static int fini(void **state)
{
    (void)state;
    core_fini(&core);
    return 0;
}

static bool votes_for(struct raft_entry_id last, enum raft_message_kind kind)
{
    uint64_t term = raft_term(core.raft) + 1;
    struct raft_message request = core_vote_request(&core, 2, term, last);
    request.kind = kind;
    core_receive(&core, &request);
    core_settle(&core);
    const struct raft_message *reply =
        core_sent(&core, kind == RAFT_VOTE ? RAFT_VOTE_REPLY : RAFT_PRE_VOTE_REPLY, 2);
    assert_non_null(reply);
    return reply->vote_reply.granted;
}

/* Node 2 leads term 3 and says what is committed, to whoever it has heard last. */
static void hear(uint64_t token, struct raft_entry_id prev, uint64_t commit, uint32_t heard_boot)
{
    struct raft_message append = core_append(&core, 2, prev);
    append.term = 3;
    append.token = token;
    append.append.commit_index = commit;
    append.append.heard_boot = heard_boot;
    core_receive(&core, &append);
    core_settle(&core);
}

static void take(struct raft_entry_id entry, uint64_t previous_term)
{
    assert_int_equal(core_entry(&core, 2, entry, previous_term), RAFT_TAKEN);
    core_settle(&core);
}

/* M2, D5 */
static void bounded_node_votes_for_nobody_below_its_bound(void **state)
{
    (void)state;
    assert_false(votes_for(id(2, 3), RAFT_PRE_VOTE));
    assert_false(votes_for(id(2, 5), RAFT_PRE_VOTE));
    assert_true(votes_for(id(2, 6), RAFT_PRE_VOTE));
    assert_true(votes_for(id(3, 1), RAFT_PRE_VOTE));
    assert_false(votes_for(id(2, 5), RAFT_VOTE));
    assert_int_equal(raft_vote(core.raft), RAFT_NOBODY);
    assert_true(votes_for(id(2, 6), RAFT_VOTE));
    assert_int_equal(raft_vote(core.raft), 2);
}

static void bounded_node_does_not_stand(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        core_time_out(&core);
        core_settle(&core);
        assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    }
    hear(1, id(2, 3), 1, 0);
    struct raft_message order = core_message(&core, RAFT_TIMEOUT_NOW, 2, 3);
    order.token = 2;
    order.timeout_now.last = id(2, 3);
    core_receive(&core, &order);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
}

static void bounded_node_says_so_with_its_acks(void **state)
{
    (void)state;
    hear(1, id(2, 3), 1, 0);
    const struct raft_message *ack = core_sent(&core, RAFT_APPEND_REPLY, 2);
    assert_non_null(ack);
    assert_true(ack->append_reply.matched);
    assert_int_equal(ack->append_reply.bound.term, 2);
    assert_int_equal(ack->append_reply.bound.index, 6);
    assert_int_equal(ack->append_reply.durable_index, 3); /* That is there. */
}

static void bound_is_met_by_what_a_leader_commits_in_its_term_after_hearing_this_boot(void **state)
{
    (void)state;
    hear(1, id(2, 3), 1, 0);
    take(id(3, 4), 2);
    hear(2, id(3, 4), 4, 0); /* It has not heard this boot: an older ack may still count. */
    assert_int_equal(raft_vote_bound(core.raft).index, 6);
    hear(3, id(3, 4), 4, 8);
    assert_int_equal(raft_vote_bound(core.raft).index, 6);
    hear(4, id(3, 4), 4, 9);
    assert_int_equal(raft_vote_bound(core.raft).index, 0);
    assert_int_equal(raft_counters(core.raft)->bounds_met, 1);
    const struct raft_effect *written = core_effect(&core, RAFT_EFFECT_WRITE_STATE);
    assert_non_null(written);
    assert_int_equal(written->write_state.vote_bound.index, 0);
}

static void bound_is_not_met_by_an_entry_of_an_earlier_term(void **state)
{
    (void)state;
    hear(1, id(2, 3), 3, 9);
    assert_int_equal(raft_vote_bound(core.raft).index, 6);
    take(id(3, 4), 2);
    hear(2, id(3, 4), 4, 9);
    assert_int_equal(raft_vote_bound(core.raft).index, 0);
}

static void bound_is_met_only_when_it_is_durable_here(void **state)
{
    (void)state;
    hear(1, id(2, 3), 1, 9);
    hear(2, id(2, 3), 5, 9); /* Entries 4 and 5 are still to come. */
    take(id(3, 4), 2);
    assert_int_equal(raft_vote_bound(core.raft).index, 6);
    assert_int_equal(core_entry(&core, 2, id(3, 5), 3), RAFT_TAKEN);
    core_drain(&core);
    assert_int_equal(raft_vote_bound(core.raft).index, 6);
    core_log_durable(&core, 1, 5);
    assert_int_equal(raft_vote_bound(core.raft).index, 0);
}

static void word_of_the_leader_before_does_not_meet_the_bound(void **state)
{
    (void)state;
    hear(1, id(2, 3), 5, 9);
    struct raft_message append = core_append(&core, 3, id(2, 3));
    append.term = 4;
    core_receive(&core, &append);
    core_settle(&core);
    assert_int_equal(core_entry(&core, 3, id(4, 4), 2), RAFT_TAKEN);
    assert_int_equal(core_entry(&core, 3, id(4, 5), 4), RAFT_TAKEN);
    core_settle(&core);
    assert_int_equal(raft_vote_bound(core.raft).index, 6);
}

static void office_is_not_handed_to_a_bounded_peer(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    for (uint8_t peer = 2; peer <= 3; peer++) {
        struct raft_message append = core_heartbeat(&core, peer);
        struct raft_message reply = core_ack(&append, true, 4);
        reply.append_reply.bound = id(3, 4);
        core_receive(&core, &reply);
    }
    assert_int_equal(raft_transfer_check(core.raft, RAFT_NOBODY), RAFT_TRANSFER_NOBODY_HEARD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bounded_node_votes_for_nobody_below_its_bound, bounded,
                                        fini),
        cmocka_unit_test_setup_teardown(bounded_node_does_not_stand, bounded, fini),
        cmocka_unit_test_setup_teardown(bounded_node_says_so_with_its_acks, bounded, fini),
        cmocka_unit_test_setup_teardown(
            bound_is_met_by_what_a_leader_commits_in_its_term_after_hearing_this_boot, bounded,
            fini),
        cmocka_unit_test_setup_teardown(bound_is_not_met_by_an_entry_of_an_earlier_term, bounded,
                                        fini),
        cmocka_unit_test_setup_teardown(bound_is_met_only_when_it_is_durable_here, bounded, fini),
        cmocka_unit_test_setup_teardown(word_of_the_leader_before_does_not_meet_the_bound, bounded,
                                        fini),
        cmocka_unit_test_setup_teardown(office_is_not_handed_to_a_bounded_peer, three_nodes, fini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
