/* test_raft_transfer.c: leadership handed over (rules J, B4; thesis 3.10). */
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

static void transfer(uint8_t to)
{
    struct raft_event event = {
        .kind = RAFT_EVENT_TRANSFER, .now_ns = core.now_ns, .transfer = {.to = to}};
    assert_int_equal(core_step(&core, &event), RAFT_REFUSED);
}

/* Node 1 leads term 3, and everybody has acknowledged its first entry, the fourth of the log. */
static void lead(void)
{
    core_lead(&core);
    core_acks(&core, 4);
    assert_int_equal(raft_commit_index(core.raft), 4);
}

/* Take the answer of one peer to a fresh heartbeat. */
static void ack(uint8_t from, uint64_t durable_index)
{
    struct raft_message reply = core_ack(core_sent(&core, RAFT_APPEND, from), true, durable_index);
    core_receive(&core, &reply);
}

/* Make node 2 leader of term 3 and settle. */
static void follow_node_two(void)
{
    struct raft_message append = core_append(&core, 2, id(2, 3));
    append.term = 3;
    append.token = 5;
    core_receive(&core, &append);
    core_settle(&core);
    assert_int_equal(raft_leader(core.raft), 2);
}

static struct raft_message order(uint64_t term, uint64_t token)
{
    struct raft_message m = core_message(&core, RAFT_TIMEOUT_NOW, 2, term);
    m.token = token;
    m.timeout_now.last = id(2, 3);
    return m;
}

/* J1 */
static void leader_that_hands_over_refuses_proposals(void **state)
{
    (void)state;
    lead();
    transfer(2);
    assert_int_equal(raft_transfer_target(core.raft), 2);
    assert_false(raft_takes_proposals(core.raft));
    assert_int_equal(core_propose(&core, NULL), RAFT_REFUSED);
    assert_int_equal(raft_last(core.raft).index, 4);
}

/* J1 */
static void target_that_has_everything_is_ordered_at_once(void **state)
{
    (void)state;
    lead();
    transfer(2);
    core_drain(&core);
    const struct raft_message *m = core_sent(&core, RAFT_TIMEOUT_NOW, 2);
    assert_non_null(m);
    assert_int_equal(m->term, 3);
    assert_int_equal(m->timeout_now.last.term, 3);
    assert_int_equal(m->timeout_now.last.index, 4);
    assert_null(core_sent(&core, RAFT_TIMEOUT_NOW, 3));
    assert_true(raft_is_leader(core.raft));
}

/* J1: an order given before would lose the election for lack of an entry. */
static void target_that_lacks_an_entry_is_ordered_when_it_has_it(void **state)
{
    (void)state;
    lead();
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    transfer(2);
    core_elapse(&core, HEARTBEAT_NS);
    core_settle(&core);
    assert_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
    struct raft_message reply = core_ack(core_sent(&core, RAFT_APPEND, 2), true, 5);
    core_receive(&core, &reply);
    core_drain(&core);
    assert_non_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
}

/* J1, lossless: whoever leads next cannot answer this leader's clients. */
static void order_waits_until_everything_is_committed(void **state)
{
    (void)state;
    lead();
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    transfer(2);
    core_elapse(&core, HEARTBEAT_NS);
    core_settle(&core);
    struct raft_message first = core_ack(core_sent(&core, RAFT_APPEND, 2), true, 5);
    struct raft_message second = core_ack(core_sent(&core, RAFT_APPEND, 3), true, 5);
    core_receive(&core, &first);
    core_drain(&core);
    assert_int_equal(raft_commit_index(core.raft), 4);
    assert_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
    core_receive(&core, &second);
    core_drain(&core);
    assert_int_equal(raft_commit_index(core.raft), 5);
    assert_non_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
}

/* J1: what was taken before the transfer is written and acknowledged during it. */
static void leaders_own_disk_may_be_the_last_that_is_waited_for(void **state)
{
    (void)state;
    lead();
    core_elapse(&core, HEARTBEAT_NS);
    core_settle(&core);
    struct raft_message reply = core_ack(core_sent(&core, RAFT_APPEND, 2), true, 5);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    core_drain(&core);
    transfer(2);
    core_receive(&core, &reply);
    core_drain(&core);
    assert_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
    core_log_durable(&core, 1, 5);
    core_drain(&core);
    assert_non_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
}

/* J3 */
static void order_is_repeated_with_every_heartbeat(void **state)
{
    (void)state;
    lead();
    transfer(2);
    core_drain(&core);
    uint64_t token = core_sent(&core, RAFT_TIMEOUT_NOW, 2)->token;
    core_event(&core, RAFT_EVENT_TICK);
    core_drain(&core);
    assert_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
    for (uint32_t i = 0; i < 3; i++) {
        core_elapse(&core, HEARTBEAT_NS);
        core_drain(&core);
        const struct raft_message *again = core_sent(&core, RAFT_TIMEOUT_NOW, 2);
        assert_non_null(again);
        assert_true(again->token > token);
        assert_true(again->token > core_sent(&core, RAFT_APPEND, 2)->token);
        token = again->token;
        ack(2, 4);
    }
}

/* J3: the target's log is behind again after a restart. */
static void restarted_target_is_not_ordered_before_it_has_everything(void **state)
{
    (void)state;
    lead();
    transfer(2);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    struct raft_message reply = core_ack(core_sent(&core, RAFT_APPEND, 2), true, 4);
    reply.from_boot = 2;
    core_receive(&core, &reply);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    assert_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
    reply = core_ack(core_sent(&core, RAFT_APPEND, 2), true, 4);
    reply.from_boot = 2;
    core_receive(&core, &reply);
    core_drain(&core);
    assert_non_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
}

/* J1 */
static void transfer_is_given_up_after_one_election_timeout(void **state)
{
    (void)state;
    lead();
    transfer(2);
    uint64_t begin_ns = core.now_ns;
    while (raft_transfer_target(core.raft) != RAFT_NOBODY) {
        assert_true(core.now_ns < begin_ns + ELECTION_MAX_NS);
        core_time_out(&core);
        core_drain(&core);
        if (core_sent(&core, RAFT_APPEND, 3) != NULL) {
            ack(3, 4);
        }
    }
    assert_int_equal(core.now_ns, begin_ns + ELECTION_MAX_NS);
    assert_true(raft_is_leader(core.raft));
    assert_int_equal(raft_term(core.raft), 3);
    assert_true(raft_takes_proposals(core.raft));
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    assert_int_equal(raft_counters(core.raft)->transfers_aborted, 1);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    assert_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
}

/* J1: the flag of a leader that lost its office does not block its next one. */
static void lost_office_ends_the_transfer(void **state)
{
    (void)state;
    lead();
    transfer(2);
    struct raft_message newer = core_message(&core, RAFT_APPEND_REPLY, 3, 4);
    core_receive(&core, &newer);
    assert_false(raft_is_leader(core.raft));
    assert_int_equal(raft_transfer_target(core.raft), RAFT_NOBODY);
    core_settle(&core);
    assert_null(core_sent(&core, RAFT_TIMEOUT_NOW, 2));
    core_lead(&core);
    assert_true(raft_takes_proposals(core.raft));
}

/* B5, J1 */
static void leader_that_hands_over_and_loses_its_quorum_steps_down(void **state)
{
    (void)state;
    lead();
    transfer(2);
    for (uint32_t i = 0; i < ELECTION_MIN_NS / HEARTBEAT_NS; i++) {
        core_elapse(&core, HEARTBEAT_NS);
    }
    assert_false(raft_is_leader(core.raft));
    assert_int_equal(raft_transfer_target(core.raft), RAFT_NOBODY);
}

static void old_leader_votes_for_the_target_and_follows_it(void **state)
{
    (void)state;
    lead();
    transfer(2);
    core_drain(&core);
    struct raft_message m = core_vote_request(&core, 2, 4, id(3, 4));
    m.vote.transfer = true;
    core_receive(&core, &m);
    assert_false(raft_is_leader(core.raft));
    core_settle(&core);
    assert_true(core_sent(&core, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    assert_int_equal(raft_transfer_target(core.raft), RAFT_NOBODY);
}

/* Each for its reason; none changes anything. */
static void transfer_that_cannot_be_is_refused(void **state)
{
    (void)state;
    assert_int_equal(raft_transfer_check(core.raft, 2), RAFT_TRANSFER_NOT_LEADER);
    transfer(2);
    core_campaign(&core);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_VOTE, 2), true);
    core_receive(&core, &yes);
    assert_int_equal(raft_transfer_check(core.raft, 2), RAFT_TRANSFER_TOO_EARLY);
    transfer(2);
    assert_int_equal(raft_transfer_target(core.raft), RAFT_NOBODY);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    assert_int_equal(raft_transfer_check(core.raft, SELF), RAFT_TRANSFER_NOT_A_VOTER);
    assert_int_equal(raft_transfer_check(core.raft, 9), RAFT_TRANSFER_NOT_A_VOTER);
    transfer(9);
    assert_int_equal(raft_transfer_target(core.raft), RAFT_NOBODY);
    core.now_ns += ELECTION_MIN_NS;
    core_event(&core, RAFT_EVENT_HEALTHY); /* Time passes, and nobody was heard in it. */
    assert_int_equal(raft_transfer_check(core.raft, RAFT_NOBODY), RAFT_TRANSFER_NOBODY_HEARD);
    assert_int_equal(raft_transfer_check(core.raft, 2), RAFT_TRANSFER_OK);
    transfer(2);
    assert_int_equal(raft_transfer_check(core.raft, 3), RAFT_TRANSFER_UNDER_WAY);
    transfer(3);
    assert_int_equal(raft_transfer_target(core.raft), 2);
    assert_int_equal(raft_counters(core.raft)->transfers_started, 1);
}

static void learner_is_no_target(void **state)
{
    (void)state;
    core_fini(&core);
    core_prepare_log(&core, 3, old_log, 3);
    core.recovered.configuration.voters = set_of(1) | set_of(2);
    core.recovered.configuration.learners = set_of(3);
    core_start(&core);
    core_lead(&core);
    assert_int_equal(raft_transfer_check(core.raft, 3), RAFT_TRANSFER_NOT_A_VOTER);
    transfer(RAFT_NOBODY);
    assert_int_equal(raft_transfer_target(core.raft), 2);
}

static void best_target_is_the_voter_heard_of_late_with_the_highest_match(void **state)
{
    (void)state;
    core_lead(&core);
    core_elapse(&core, HEARTBEAT_NS);
    core_settle(&core);
    ack(2, 2);
    ack(3, 2);
    ack(4, 2);
    ack(5, 4); /* And falls silent. */
    core.now_ns += ELECTION_MIN_NS - HEARTBEAT_NS;
    core_event(&core, RAFT_EVENT_TICK);
    core_settle(&core);
    ack(2, 2);
    ack(3, 3);
    ack(4, 2);
    core.now_ns += HEARTBEAT_NS;
    core_event(&core, RAFT_EVENT_HEALTHY);
    transfer(RAFT_NOBODY);
    assert_int_equal(raft_transfer_target(core.raft), 3);
}

/* J3 */
static void ordered_follower_stands_without_a_pre_vote(void **state)
{
    (void)state;
    follow_node_two();
    struct raft_message m = order(3, 6);
    core_receive(&core, &m);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
    assert_int_equal(raft_term(core.raft), 4);
    core_drain(&core);
    assert_int_equal(core_count(&core, RAFT_EFFECT_SEND), 0); /* Its vote is not on disk yet. */
    core_state_durable(&core);
    core_drain(&core);
    assert_true(core_sent(&core, RAFT_VOTE, 2)->vote.transfer);
    assert_true(core_sent(&core, RAFT_VOTE, 3)->vote.transfer);
    assert_int_equal(raft_counters(core.raft)->pre_votes_started, 0);
}

/* J3 */
static void order_counts_once(void **state)
{
    (void)state;
    follow_node_two();
    struct raft_message m = order(3, 6);
    core_receive(&core, &m);
    core_settle(&core);
    core_receive(&core, &m);
    core_receive(&core, &m);
    core_settle(&core);
    assert_int_equal(raft_term(core.raft), 4);
    assert_int_equal(raft_counters(core.raft)->elections_started, 1);
}

/* J3: of an older term, and of a newer one that nobody has been followed in yet. */
static void order_of_another_term_moves_nobody(void **state)
{
    (void)state;
    follow_node_two();
    struct raft_message older = order(2, 9);
    core_receive(&core, &older);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_term(core.raft), 3);
    struct raft_message newer = order(4, 9);
    core_receive(&core, &newer);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_term(core.raft), 4);
    assert_int_equal(raft_leader(core.raft), 2);
    assert_int_equal(raft_counters(core.raft)->elections_started, 0);
}

/* J3, N7 */
static void order_older_than_the_last_heartbeat_is_void(void **state)
{
    (void)state;
    follow_node_two();
    struct raft_message m = order(3, 5);
    core_receive(&core, &m);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_counters(core.raft)->stale_token, 1);
}

/* The leader has taken entries since: its transfer is over. */
static void order_that_names_another_last_entry_is_void(void **state)
{
    (void)state;
    follow_node_two();
    assert_int_equal(core_entry(&core, 2, id(3, 4), 2), RAFT_TAKEN);
    struct raft_message m = order(3, 6);
    core_receive(&core, &m);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    m.timeout_now.last = id(3, 5);
    core_receive(&core, &m);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    m.timeout_now.last = id(3, 4);
    core_receive(&core, &m);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
}

/* J3, B8, B10 */
static void node_that_may_not_stand_lets_an_order_pass(void **state)
{
    (void)state;
    follow_node_two();
    core_event(&core, RAFT_EVENT_UNHEALTHY);
    struct raft_message m = order(3, 6);
    core_receive(&core, &m);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    core_fini(&core);
    core_prepare_log(&core, 3, old_log, 3);
    core.recovered.configuration.learners = set_of(1);
    core.recovered.configuration.voters = set_of(2) | set_of(3);
    core_start(&core);
    follow_node_two();
    m = order(3, 6);
    core_receive(&core, &m);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
}

/* An order comes from the leader of the term and from nobody else. */
static void order_of_a_node_that_does_not_lead_is_void(void **state)
{
    (void)state;
    follow_node_two();
    struct raft_message m = order(3, 6);
    m.from = 3;
    m.from_store = 103;
    core_receive(&core, &m);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
}

/* B4: and only that one passes. */
static void vote_that_the_leader_wants_passes_stickiness(void **state)
{
    (void)state;
    follow_node_two();
    struct raft_message m = core_vote_request(&core, 3, 4, id(2, 3));
    core_receive(&core, &m);
    assert_int_equal(raft_term(core.raft), 3);
    assert_int_equal(raft_counters(core.raft)->sticky_ignored, 1);
    m.vote.transfer = true;
    core_receive(&core, &m);
    assert_int_equal(raft_term(core.raft), 4);
    core_settle(&core);
    assert_true(core_sent(&core, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
}

/* B1: the flag opens the ear, not the ballot. */
static void vote_that_the_leader_wants_still_needs_the_log(void **state)
{
    (void)state;
    follow_node_two();
    struct raft_message m = core_vote_request(&core, 3, 4, id(2, 2));
    m.vote.transfer = true;
    core_receive(&core, &m);
    core_settle(&core);
    assert_false(core_sent(&core, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
}

/* The next campaign of the same node is its own. */
static void flag_does_not_outlive_its_campaign(void **state)
{
    (void)state;
    follow_node_two();
    struct raft_message m = order(3, 6);
    core_receive(&core, &m);
    core_settle(&core);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    assert_true(core_sent(&core, RAFT_VOTE, 3)->vote.transfer); /* Asked again, with it. */
    while (raft_role(core.raft) == RAFT_CANDIDATE) {
        core_time_out(&core);
        core_drain(&core);
    }
    assert_int_equal(raft_role(core.raft), RAFT_PRE_CANDIDATE);
    assert_false(core_sent(&core, RAFT_PRE_VOTE, 2)->vote.transfer);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_PRE_VOTE, 3), true);
    core_receive(&core, &yes);
    core_settle(&core);
    assert_false(core_sent(&core, RAFT_VOTE, 2)->vote.transfer);
}

/* Design D11: its own disk need not have what the others hold. */
static void sick_leader_hands_over_to_whoever_has_everything(void **state)
{
    (void)state;
    lead();
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    core_drain(&core); /* Never durable here. */
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    ack(3, 5);
    core_drain(&core);
    assert_int_equal(raft_commit_index(core.raft), 4);
    core_event(&core, RAFT_EVENT_UNHEALTHY);
    assert_int_equal(raft_transfer_target(core.raft), 3);
    core_drain(&core);
    assert_non_null(core_sent(&core, RAFT_TIMEOUT_NOW, 3));
}

/* Design D11: there is nothing to go back to. */
static void sick_leader_steps_down_when_its_transfer_fails(void **state)
{
    (void)state;
    lead();
    core_event(&core, RAFT_EVENT_UNHEALTHY);
    uint64_t begin_ns = core.now_ns;
    while (raft_is_leader(core.raft)) {
        assert_true(core.now_ns < begin_ns + ELECTION_MAX_NS);
        core_time_out(&core);
        core_drain(&core);
        if (core_sent(&core, RAFT_APPEND, 3) != NULL) {
            ack(3, 4);
        }
    }
    assert_int_equal(core.now_ns, begin_ns + ELECTION_MAX_NS);
    assert_int_equal(raft_counters(core.raft)->transfers_aborted, 1);
}

/* Design D11: after a restart it is not known yet what they hold. */
static void sick_leader_steps_down_when_nobody_has_what_is_committed(void **state)
{
    (void)state;
    lead();
    core_elapse(&core, HEARTBEAT_NS);
    core_settle(&core);
    for (uint8_t peer = 2; peer <= 3; peer++) {
        struct raft_message reply = core_ack(core_sent(&core, RAFT_APPEND, peer), true, 4);
        reply.from_boot = 2;
        core_receive(&core, &reply);
    }
    assert_int_equal(raft_transfer_check(core.raft, RAFT_NOBODY), RAFT_TRANSFER_OK);
    core_event(&core, RAFT_EVENT_UNHEALTHY);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(leader_that_hands_over_refuses_proposals, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(target_that_has_everything_is_ordered_at_once, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(target_that_lacks_an_entry_is_ordered_when_it_has_it,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(order_waits_until_everything_is_committed, five_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(leaders_own_disk_may_be_the_last_that_is_waited_for,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(order_is_repeated_with_every_heartbeat, three_nodes, fini),
        cmocka_unit_test_setup_teardown(restarted_target_is_not_ordered_before_it_has_everything,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(transfer_is_given_up_after_one_election_timeout,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(lost_office_ends_the_transfer, three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_that_hands_over_and_loses_its_quorum_steps_down,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(old_leader_votes_for_the_target_and_follows_it, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(transfer_that_cannot_be_is_refused, three_nodes, fini),
        cmocka_unit_test_setup_teardown(learner_is_no_target, three_nodes, fini),
        cmocka_unit_test_setup_teardown(
            best_target_is_the_voter_heard_of_late_with_the_highest_match, five_nodes, fini),
        cmocka_unit_test_setup_teardown(ordered_follower_stands_without_a_pre_vote, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(order_counts_once, three_nodes, fini),
        cmocka_unit_test_setup_teardown(order_of_another_term_moves_nobody, three_nodes, fini),
        cmocka_unit_test_setup_teardown(order_older_than_the_last_heartbeat_is_void, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(order_that_names_another_last_entry_is_void, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(node_that_may_not_stand_lets_an_order_pass, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(order_of_a_node_that_does_not_lead_is_void, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(vote_that_the_leader_wants_passes_stickiness, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(vote_that_the_leader_wants_still_needs_the_log, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(flag_does_not_outlive_its_campaign, three_nodes, fini),
        cmocka_unit_test_setup_teardown(sick_leader_hands_over_to_whoever_has_everything,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(sick_leader_steps_down_when_its_transfer_fails, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(sick_leader_steps_down_when_nobody_has_what_is_committed,
                                        three_nodes, fini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
