/* test_raft_roles.c: who leads, for how long, who may stand, who is heard (rules B4 to B10, N, O).
 */
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

static int five_nodes(void **state)
{
    (void)state;
    core_prepare_log(&core, 5, old_log, 3);
    core_start(&core);
    return 0;
}

static int fini(void **state)
{
    (void)state;
    core_fini(&core);
    return 0;
}

static void hear_leader(uint8_t from, uint64_t token)
{
    struct raft_message append = core_append(&core, from, id(2, 3));
    append.token = token;
    core_receive(&core, &append);
}

/* Make node 2 leader of term 3 and settle. */
static void follow_node_two(void)
{
    struct raft_message append = core_append(&core, 2, id(2, 3));
    append.term = 3;
    core_receive(&core, &append);
    core_settle(&core);
    assert_int_equal(raft_leader(core.raft), 2);
    assert_int_equal(raft_term(core.raft), 3);
}

/* B5 */
static void leader_without_a_quorum_steps_down(void **state)
{
    (void)state;
    core_lead(&core);
    uint64_t began_ns = core.now_ns;
    for (uint32_t i = 0; raft_is_leader(core.raft); i++) {
        assert_true(i < 20);
        core_elapse(&core, HEARTBEAT_NS);
    }
    assert_true(core.now_ns - began_ns >= ELECTION_MIN_NS - HEARTBEAT_NS);
    assert_true(core.now_ns - began_ns <= ELECTION_MIN_NS + HEARTBEAT_NS);
    assert_int_equal(raft_leader(core.raft), RAFT_NOBODY);
    assert_int_equal(raft_counters(core.raft)->quorum_lost, 1);
}

static void answer_heartbeats(uint8_t from, uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++) {
        core_elapse(&core, HEARTBEAT_NS);
        core_drain(&core);
        const struct raft_message *append = core_sent(&core, RAFT_APPEND, from);
        if (append == NULL) {
            return;
        }
        struct raft_message ack = core_ack(append, true, 0);
        core_receive(&core, &ack);
    }
}

/* B5 */
static void leader_that_hears_a_quorum_stays(void **state)
{
    (void)state;
    core_lead(&core);
    answer_heartbeats(3, 50);
    assert_true(raft_is_leader(core.raft));
}

/* B5, B6: two of five and itself make a quorum; one does not, and neither does an old answer. */
static void repeated_answers_do_not_keep_a_leader(void **state)
{
    (void)state;
    core_lead(&core);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    struct raft_message two = core_ack(core_sent(&core, RAFT_APPEND, 2), true, 0);
    struct raft_message three = core_ack(core_sent(&core, RAFT_APPEND, 3), true, 0);
    for (uint32_t i = 0; i < 15; i++) {
        core_receive(&core, &two);
        core_receive(&core, &three);
        core_elapse(&core, HEARTBEAT_NS);
        core_drain(&core);
    }
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
}

/* B6 */
static void learner_does_not_keep_a_leader(void **state)
{
    (void)state;
    core.recovered.configuration.learners = set_of(3);
    core.recovered.configuration.voters = set_of(1) | set_of(2);
    core_start(&core);
    core_lead(&core);
    answer_heartbeats(3, 20);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
}

/* B5, I3 */
static void leader_of_a_joint_configuration_needs_both_halves_to_stay(void **state)
{
    (void)state;
    core.recovered.configuration.voters = set_of(1) | set_of(2) | set_of(3);
    core.recovered.configuration.outgoing = set_of(1) | set_of(4) | set_of(5);
    core_start(&core);
    core_lead(&core);
    answer_heartbeats(2, 20);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
}

/* B5, I3 */
static void joint_election_needs_both_halves(void **state)
{
    (void)state;
    core.recovered.configuration.voters = set_of(1) | set_of(2) | set_of(3);
    core.recovered.configuration.outgoing = set_of(1) | set_of(4) | set_of(5);
    core_start(&core);
    core_campaign(&core);
    struct raft_message two = core_reply(core_sent(&core, RAFT_VOTE, 2), true);
    struct raft_message three = core_reply(core_sent(&core, RAFT_VOTE, 3), true);
    struct raft_message four = core_reply(core_sent(&core, RAFT_VOTE, 4), true);
    core_receive(&core, &two);
    core_receive(&core, &three);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
    core_receive(&core, &four);
    assert_int_equal(raft_role(core.raft), RAFT_LEADER);
}

/* B7 */
static void timeout_is_random_and_redrawn_at_every_role_change(void **state)
{
    uint64_t seen[20];
    bool differ = false;

    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        core_time_out(&core);
        core_drain(&core);
        core.now_ns += HEARTBEAT_NS;
        struct raft_message append = core_append(&core, 2, id(2, 3));
        append.token = 1 + i;
        core_receive(&core, &append); /* Back to follower. */
        seen[i] = raft_deadline_ns(core.raft) - core.now_ns;
        assert_in_range(seen[i], ELECTION_MIN_NS, ELECTION_MAX_NS);
        differ = differ || seen[i] != seen[0];
    }
    assert_true(differ);
}

/* B8 */
static void leader_with_a_sick_disk_steps_down_and_does_not_stand(void **state)
{
    (void)state;
    core_lead(&core);
    core.now_ns += ELECTION_MIN_NS; /* There is nobody to hand over to. */
    core_event(&core, RAFT_EVENT_UNHEALTHY);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    for (uint32_t i = 0; i < 5; i++) {
        core_time_out(&core);
        core_drain(&core);
        assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    }
    core_event(&core, RAFT_EVENT_HEALTHY);
    core_time_out(&core);
    assert_int_equal(raft_role(core.raft), RAFT_PRE_CANDIDATE);
}

/* B9 */
static void new_leader_owes_a_noop_until_it_comes(void **state)
{
    (void)state;
    core_campaign(&core);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_VOTE, 2), true);
    core_receive(&core, &yes);
    core_drain(&core);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_MAKE)->make.what, RAFT_MAKE_NOOP);
    assert_false(raft_takes_proposals(core.raft));
    core_drain(&core);
    assert_null(core_effect(&core, RAFT_EFFECT_MAKE));
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    assert_non_null(core_effect(&core, RAFT_EFFECT_MAKE));
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    assert_true(raft_takes_proposals(core.raft));
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    assert_null(core_effect(&core, RAFT_EFFECT_MAKE));
}

/* B10 */
static void learner_never_stands_but_votes(void **state)
{
    (void)state;
    core.recovered.configuration.learners = set_of(1);
    core.recovered.configuration.voters = set_of(2) | set_of(3);
    core_start(&core);
    for (uint32_t i = 0; i < 5; i++) {
        core_time_out(&core);
        core_drain(&core);
        assert_int_equal(core_count(&core, RAFT_EFFECT_SEND), 0);
    }
    struct raft_message m = core_vote_request(&core, 2, 3, id(2, 3));
    core_receive(&core, &m);
    core_settle(&core);
    assert_true(core_sent(&core, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
}

/* Section 3.4 */
static void candidate_follows_the_leader_of_its_term(void **state)
{
    (void)state;
    core_campaign(&core);
    struct raft_message append = core_append(&core, 3, id(2, 3));
    core_receive(&core, &append);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_leader(core.raft), 3);
    assert_int_equal(raft_vote(core.raft), SELF);
}

/* N7: an old heartbeat neither feeds the timer nor calls a pre-candidate back. */
static void repeated_heartbeat_does_not_keep_a_dead_leader(void **state)
{
    (void)state;
    follow_node_two();
    hear_leader(2, 5);
    uint64_t deadline_ns = raft_deadline_ns(core.raft);
    core.now_ns += HEARTBEAT_NS;
    hear_leader(2, 5);
    hear_leader(2, 4);
    assert_int_equal(raft_deadline_ns(core.raft), deadline_ns);
    assert_int_equal(raft_counters(core.raft)->stale_token, 2);
    core_time_out(&core);
    hear_leader(2, 5);
    assert_int_equal(raft_role(core.raft), RAFT_PRE_CANDIDATE);
    hear_leader(2, 6);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
}

/* Design D11: asking again makes an election survive a lost request. */
static void silent_voters_are_asked_again_with_the_same_token(void **state)
{
    (void)state;
    core_campaign(&core);
    uint64_t token = core_sent(&core, RAFT_VOTE, 3)->token;
    struct raft_message no = core_reply(core_sent(&core, RAFT_VOTE, 2), false);
    core_receive(&core, &no);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    assert_null(core_sent(&core, RAFT_VOTE, 2));
    assert_int_equal(core_sent(&core, RAFT_VOTE, 3)->token, token);
}

/* O2 */
static void leader_that_lost_time_proves_its_quorum_anew(void **state)
{
    (void)state;
    core_lead(&core);
    core.now_ns += 10 * ELECTION_MAX_NS;
    core_event(&core, RAFT_EVENT_TIME_LOST);
    core_event(&core, RAFT_EVENT_TICK);
    assert_true(raft_is_leader(core.raft));
    core_drain(&core);
    assert_non_null(core_sent(&core, RAFT_APPEND, 2));
    core_elapse(&core, ELECTION_MIN_NS);
    assert_false(raft_is_leader(core.raft));
}

/* O2 */
static void follower_that_lost_time_waits_a_whole_timeout(void **state)
{
    (void)state;
    core.now_ns += 10 * ELECTION_MAX_NS;
    core_event(&core, RAFT_EVENT_TIME_LOST);
    core_event(&core, RAFT_EVENT_TICK);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    assert_true(raft_deadline_ns(core.raft) >= core.now_ns + ELECTION_MIN_NS);
}

static void one_to_seven_voters_elect_by_majority(void **state)
{
    (void)state;
    for (uint8_t voters = 1; voters <= VOTERS_MAX; voters++) {
        core_fini(&core);
        core_prepare_log(&core, voters, old_log, 3);
        core_start(&core);
        core_campaign(&core);
        for (uint8_t peer = 2; 2 * (peer - 1) <= voters; peer++) {
            assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
            struct raft_message yes = core_reply(core_sent(&core, RAFT_VOTE, peer), true);
            core_receive(&core, &yes);
        }
        assert_int_equal(raft_role(core.raft), RAFT_LEADER);
        assert_int_equal(raft_leader(core.raft), SELF);
    }
}

/* N10, design D6 */
static void strangers_are_dropped_without_an_answer(void **state)
{
    (void)state;
    struct raft_message stranger = core_vote_request(&core, 9, 50, id(40, 9));
    struct raft_message wiped = core_vote_request(&core, 2, 50, id(40, 9));
    wiped.from_store = 999;
    core_receive(&core, &stranger);
    core_receive(&core, &wiped);
    core_drain(&core);
    assert_int_equal(core.effect_count, 0);
    assert_int_equal(raft_term(core.raft), 2);
    assert_int_equal(raft_counters(core.raft)->unknown_sender, 1);
    assert_int_equal(raft_counters(core.raft)->wrong_store, 1);
}

/* N6 */
static void older_boot_of_a_peer_has_nothing_to_say(void **state)
{
    (void)state;
    struct raft_message m = core_vote_request(&core, 2, 3, id(2, 3));
    m.from_boot = 5;
    core_receive(&core, &m);
    m.from_boot = 4;
    m.term = 9;
    core_receive(&core, &m);
    assert_int_equal(raft_term(core.raft), 3);
    assert_int_equal(raft_counters(core.raft)->stale_session, 1);
}

static void drain_with_nothing_owed_gives_nothing(void **state)
{
    struct raft_effect effect;

    (void)state;
    core_settle(&core);
    core_event(&core, RAFT_EVENT_TICK);
    assert_int_equal(raft_drain(core.raft, &effect, 1), 0);
}

/* One at a time gives the same as all at once. */
static void drain_goes_on_where_it_was_cut_short(void **state)
{
    struct raft_effect effect;
    uint32_t count = 0;

    (void)state;
    core_time_out(&core);
    while (raft_drain(core.raft, &effect, 1) == 1) {
        assert_int_equal(effect.send.kind, RAFT_PRE_VOTE);
        count++;
    }
    assert_int_equal(count, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(leader_without_a_quorum_steps_down, three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_that_hears_a_quorum_stays, three_nodes, fini),
        cmocka_unit_test_setup_teardown(repeated_answers_do_not_keep_a_leader, five_nodes, fini),
        cmocka_unit_test_setup_teardown(learner_does_not_keep_a_leader, three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_of_a_joint_configuration_needs_both_halves_to_stay,
                                        five_nodes, fini),
        cmocka_unit_test_setup_teardown(joint_election_needs_both_halves, five_nodes, fini),
        cmocka_unit_test_setup_teardown(timeout_is_random_and_redrawn_at_every_role_change,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_with_a_sick_disk_steps_down_and_does_not_stand,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(new_leader_owes_a_noop_until_it_comes, three_nodes, fini),
        cmocka_unit_test_setup_teardown(learner_never_stands_but_votes, three_nodes, fini),
        cmocka_unit_test_setup_teardown(candidate_follows_the_leader_of_its_term, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(repeated_heartbeat_does_not_keep_a_dead_leader, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(silent_voters_are_asked_again_with_the_same_token,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_that_lost_time_proves_its_quorum_anew, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(follower_that_lost_time_waits_a_whole_timeout, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(one_to_seven_voters_elect_by_majority, three_nodes, fini),
        cmocka_unit_test_setup_teardown(strangers_are_dropped_without_an_answer, three_nodes, fini),
        cmocka_unit_test_setup_teardown(older_boot_of_a_peer_has_nothing_to_say, three_nodes, fini),
        cmocka_unit_test_setup_teardown(drain_with_nothing_owed_gives_nothing, three_nodes, fini),
        cmocka_unit_test_setup_teardown(drain_goes_on_where_it_was_cut_short, five_nodes, fini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
