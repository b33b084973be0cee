/* test_raft_election.c: terms, votes and pre-votes (rules A, B1 to B4; thesis 3.4 and 9.6). */
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

/* A1 */
static void candidate_asks_for_votes_only_when_its_own_is_durable(void **state)
{
    (void)state;
    core_pre_campaign(&core);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_PRE_VOTE, 2), true);
    core_receive(&core, &yes);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
    core_drain(&core);
    assert_int_equal(core_count(&core, RAFT_EFFECT_SEND), 0);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_STATE)->write_state.term, 3);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_STATE)->write_state.vote, SELF);
    core_state_durable(&core);
    core_drain(&core);
    assert_int_equal(core_sent(&core, RAFT_VOTE, 2)->term, 3);
    assert_non_null(core_sent(&core, RAFT_VOTE, 3));
}

/* A1: in a cluster of one the own vote is all there is, and it counts only from the disk. */
static void candidate_counts_its_own_vote_only_when_durable(void **state)
{
    (void)state;
    core_fini(&core);
    core_prepare(&core, 1);
    core_start(&core);
    core_time_out(&core);
    core_drain(&core);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
    core_state_durable(&core);
    assert_int_equal(raft_role(core.raft), RAFT_LEADER);
}

/* A1 */
static void voter_replies_only_when_its_vote_is_durable(void **state)
{
    (void)state;
    struct raft_message m = core_vote_request(&core, 2, 3, id(2, 3));
    core_receive(&core, &m);
    core_drain(&core);
    assert_int_equal(core_count(&core, RAFT_EFFECT_SEND), 0);
    core_state_durable(&core);
    core_drain(&core);
    const struct raft_message *reply = core_sent(&core, RAFT_VOTE_REPLY, 2);
    assert_true(reply->vote_reply.granted);
    assert_int_equal(reply->term, 3);
    assert_int_equal(reply->token, m.token);
}

/* A1: the write in flight is of an older state; the vote waits for the next one. */
static void vote_waits_for_the_write_that_holds_it(void **state)
{
    (void)state;
    struct raft_message newer = core_message(&core, RAFT_APPEND_REPLY, 3, 3);
    core_receive(&core, &newer);
    core_drain(&core);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_STATE)->write_state.vote, RAFT_NOBODY);
    struct raft_effect first = *core_effect(&core, RAFT_EFFECT_WRITE_STATE);
    struct raft_message m = core_vote_request(&core, 2, 3, id(2, 3));
    core_receive(&core, &m);
    core_drain(&core);
    assert_int_equal(core.effect_count, 0); /* One write at a time. */
    core.effects[0] = first;
    core.effect_count = 1;
    core_state_durable(&core);
    core_drain(&core);
    assert_null(core_sent(&core, RAFT_VOTE_REPLY, 2));
    core_state_durable(&core);
    core_drain(&core);
    assert_true(core_sent(&core, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
}

/* A1 */
static void no_message_leaves_under_a_term_that_is_not_durable(void **state)
{
    (void)state;
    struct raft_message append = core_append(&core, 2, id(2, 3));
    append.term = 5;
    core_receive(&core, &append);
    core_drain(&core);
    assert_int_equal(core_count(&core, RAFT_EFFECT_SEND), 0);
    struct raft_message ack;
    assert_false(raft_ack(core.raft, &ack));
    core_state_durable(&core);
    core_drain(&core);
    assert_int_equal(core_sent(&core, RAFT_APPEND_REPLY, 2)->term, 5);
    assert_true(raft_ack(core.raft, &ack));
    assert_memory_equal(&ack, core_sent(&core, RAFT_APPEND_REPLY, 2), sizeof ack);
}

/* A2 */
static void stepping_down_in_the_same_term_keeps_the_vote(void **state)
{
    (void)state;
    core_lead(&core);
    uint64_t term = raft_term(core.raft);
    core_elapse(&core, ELECTION_MIN_NS);
    core_elapse(&core, ELECTION_MIN_NS);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_term(core.raft), term);
    assert_int_equal(raft_vote(core.raft), SELF);
    struct raft_message m = core_vote_request(&core, 2, term, id(9, 9));
    m.vote.last = id(term, 9);
    core_receive(&core, &m);
    core_settle(&core);
    assert_false(core_sent(&core, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
}

/* A2, A3 */
static void voter_gives_one_vote_a_term(void **state)
{
    (void)state;
    struct raft_message first = core_vote_request(&core, 2, 3, id(2, 3));
    struct raft_message second = core_vote_request(&core, 3, 3, id(2, 9));
    core_receive(&core, &first);
    core_receive(&core, &second);
    core_settle(&core);
    assert_true(core_sent(&core, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    assert_false(core_sent(&core, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    second.term = 4;
    core_receive(&core, &second);
    core_settle(&core);
    assert_true(core_sent(&core, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
}

/* A3 */
static void repeated_vote_request_is_granted_again_without_a_write(void **state)
{
    (void)state;
    struct raft_message m = core_vote_request(&core, 2, 3, id(2, 3));
    core_receive(&core, &m);
    core_settle(&core);
    core_receive(&core, &m);
    core_settle(&core);
    assert_true(core_sent(&core, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    assert_null(core_effect(&core, RAFT_EFFECT_WRITE_STATE));
}

/* A3: also after a restart, and to nobody else. */
static void vote_survives_a_restart(void **state)
{
    (void)state;
    core.recovered.term = 3;
    core.recovered.vote = 2;
    core_start(&core);
    struct raft_message other = core_vote_request(&core, 3, 3, id(2, 9));
    struct raft_message same = core_vote_request(&core, 2, 3, id(2, 3));
    core_receive(&core, &other);
    core_receive(&core, &same);
    core_drain(&core);
    assert_false(core_sent(&core, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    assert_true(core_sent(&core, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
}

/* A4 */
static void entry_is_written_only_after_its_term_is_durable(void **state)
{
    (void)state;
    follow_node_two();
    assert_int_equal(core_entry(&core, 2, id(3, 4), 2), RAFT_TAKEN);
    core_drain(&core);
    assert_null(core_effect(&core, RAFT_EFFECT_WRITE_LOG));
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_STATE)->write_state.entry_term, 3);
    core_state_durable(&core);
    core_drain(&core);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_LOG)->write_log.first_index, 4);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_LOG)->write_log.last_index, 4);
    assert_int_equal(core_entry(&core, 2, id(3, 5), 3), RAFT_TAKEN);
    core_drain(&core);
    assert_null(core_effect(&core, RAFT_EFFECT_WRITE_STATE)); /* Same term: at once. */
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_LOG)->write_log.first_index, 5);
}

/* A5: in every kind of reply, and in requests. */
static void newer_term_in_any_message_is_adopted(void **state)
{
    static const enum raft_message_kind kinds[] = {RAFT_VOTE_REPLY, RAFT_PRE_VOTE_REPLY,
                                                   RAFT_APPEND_REPLY, RAFT_APPEND, RAFT_VOTE};
    (void)state;
    for (uint64_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct raft_message m = core_message(&core, kinds[i], 3, 10 + i);
        if (kinds[i] == RAFT_VOTE) {
            core_elapse(&core, ELECTION_MIN_NS); /* Nobody has led for that long. */
        }
        core_receive(&core, &m);
        assert_int_equal(raft_term(core.raft), 10 + i);
    }
}

/* A5 */
static void leader_is_deposed_by_a_newer_term_in_a_reply(void **state)
{
    (void)state;
    core_lead(&core);
    struct raft_message m = core_message(&core, RAFT_APPEND_REPLY, 3, 9);
    core_receive(&core, &m);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_term(core.raft), 9);
    assert_int_equal(raft_counters(core.raft)->step_downs, 1);
}

/* A5, B3: a pre-vote and its grant speak of a term that nobody has. */
static void pre_vote_and_its_grant_raise_no_term(void **state)
{
    (void)state;
    struct raft_message m = core_message(&core, RAFT_PRE_VOTE, 3, 9);
    core_receive(&core, &m);
    m = core_message(&core, RAFT_PRE_VOTE_REPLY, 3, 9);
    m.vote_reply.granted = true;
    core_receive(&core, &m);
    assert_int_equal(raft_term(core.raft), 2);
}

/* A6 */
static void request_of_an_older_term_is_answered_with_the_own_term(void **state)
{
    static const enum raft_message_kind requests[] = {RAFT_PRE_VOTE, RAFT_VOTE, RAFT_APPEND};
    static const enum raft_message_kind replies[] = {RAFT_PRE_VOTE_REPLY, RAFT_VOTE_REPLY,
                                                     RAFT_APPEND_REPLY};
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        struct raft_message m = core_message(&core, requests[i], 3, 1);
        m.token = 77 + i;
        core_receive(&core, &m);
        core_receive(&core, &m);
        core_drain(&core);
        assert_int_equal(core_count(&core, RAFT_EFFECT_SEND), 1);
        const struct raft_message *reply = core_sent(&core, replies[i], 3);
        assert_int_equal(reply->term, 2);
        assert_int_equal(reply->token, 77 + i);
        assert_false(reply->vote_reply.granted);
    }
}

/* A6 */
static void reply_of_an_older_term_is_dropped(void **state)
{
    (void)state;
    struct raft_message m = core_message(&core, RAFT_VOTE_REPLY, 3, 1);
    core_receive(&core, &m);
    core_drain(&core);
    assert_int_equal(core.effect_count, 0);
    assert_int_equal(raft_counters(core.raft)->stale_term, 1);
}

/* A7 */
static void recovery_takes_the_term_of_the_log_and_drops_the_vote(void **state)
{
    (void)state;
    core.recovered.term = 1;
    core.recovered.vote = 3;
    core_start(&core);
    assert_int_equal(raft_term(core.raft), 2);
    assert_int_equal(raft_vote(core.raft), RAFT_NOBODY);
    core_drain(&core);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_STATE)->write_state.term, 2);
}

/* A10 */
static void commit_index_is_forgotten_by_a_restart(void **state)
{
    (void)state;
    assert_int_equal(raft_commit_index(core.raft), 0);
    assert_int_equal(raft_durable_index(core.raft), 3);
    assert_int_equal(raft_verified_index(core.raft), 0);
}

/* A11 */
static void absurd_term_is_dropped(void **state)
{
    (void)state;
    struct raft_message m = core_message(&core, RAFT_APPEND_REPLY, 3, 2 + TERM_JUMP_MAX + 1);
    core_receive(&core, &m);
    m.term = UINT64_MAX;
    core_receive(&core, &m);
    assert_int_equal(raft_term(core.raft), 2);
    assert_int_equal(raft_counters(core.raft)->absurd_term, 2);
    m.term = 2 + TERM_JUMP_MAX;
    core_receive(&core, &m);
    assert_int_equal(raft_term(core.raft), 2 + TERM_JUMP_MAX);
}

/* B1: the log's last term first, its length second. */
static void voter_refuses_a_candidate_with_an_older_log(void **state)
{
    static const struct {
        uint64_t term, index;
        bool granted;
    } cases[] = {{2, 3, true},  {2, 4, true},  {3, 1, true},
                 {2, 2, false}, {1, 9, false}, {0, 0, false}};
    (void)state;
    for (uint64_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raft_message m =
            core_vote_request(&core, 2, 10 + i, id(cases[i].term, cases[i].index));
        core_receive(&core, &m);
        core_settle(&core);
        assert_int_equal(core_sent(&core, RAFT_VOTE_REPLY, 2)->vote_reply.granted,
                         cases[i].granted);
        m.kind = RAFT_PRE_VOTE;
        m.term++;
        core_receive(&core, &m);
        core_settle(&core);
        assert_int_equal(core_sent(&core, RAFT_PRE_VOTE_REPLY, 2)->vote_reply.granted,
                         cases[i].granted);
    }
}

/* B2 */
static void repeated_vote_reply_counts_once(void **state)
{
    (void)state;
    core_campaign(&core);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_VOTE, 2), true);
    core_receive(&core, &yes);
    core_receive(&core, &yes);
    core_receive(&core, &yes);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
    yes = core_reply(core_sent(&core, RAFT_VOTE, 5), true);
    core_receive(&core, &yes);
    assert_int_equal(raft_role(core.raft), RAFT_LEADER);
}

/* B2: of an older attempt, of an older term, refused: none of them counts. */
static void only_grants_of_this_attempt_count(void **state)
{
    (void)state;
    core_campaign(&core);
    uint64_t stale_tokens = raft_counters(core.raft)->stale_token;
    struct raft_message two = core_reply(core_sent(&core, RAFT_VOTE, 2), true);
    struct raft_message three = core_reply(core_sent(&core, RAFT_VOTE, 3), true);
    two.token--;
    core_receive(&core, &two);
    three.term--;
    core_receive(&core, &three);
    three.term++;
    three.vote_reply.granted = false;
    core_receive(&core, &three);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
    assert_int_equal(raft_counters(core.raft)->stale_token, stale_tokens + 1);
    assert_int_equal(raft_counters(core.raft)->stale_term, 1);
}

/* B3 */
static void pre_candidate_keeps_its_term_and_vote(void **state)
{
    (void)state;
    core_pre_campaign(&core);
    assert_int_equal(raft_role(core.raft), RAFT_PRE_CANDIDATE);
    assert_int_equal(raft_term(core.raft), 2);
    assert_int_equal(raft_vote(core.raft), RAFT_NOBODY);
    assert_int_equal(core_sent(&core, RAFT_PRE_VOTE, 2)->term, 3);
    assert_int_equal(core_sent(&core, RAFT_PRE_VOTE, 2)->vote.last.index, 3);
    assert_null(core_effect(&core, RAFT_EFFECT_WRITE_STATE));
}

/* B3 */
static void pre_vote_changes_nothing_on_the_voter(void **state)
{
    (void)state;
    uint64_t deadline_ns = raft_deadline_ns(core.raft);
    struct raft_message m = core_vote_request(&core, 2, 3, id(2, 3));
    m.kind = RAFT_PRE_VOTE;
    core_receive(&core, &m);
    core_drain(&core);
    assert_int_equal(core.effect_count, 1);
    assert_true(core_sent(&core, RAFT_PRE_VOTE_REPLY, 2)->vote_reply.granted);
    assert_int_equal(core_sent(&core, RAFT_PRE_VOTE_REPLY, 2)->term, 3);
    assert_int_equal(raft_term(core.raft), 2);
    assert_int_equal(raft_vote(core.raft), RAFT_NOBODY);
    assert_int_equal(raft_deadline_ns(core.raft), deadline_ns);
}

/* B3, at the border of the minimum election timeout */
static void pre_vote_is_refused_while_a_leader_is_heard(void **state)
{
    (void)state;
    follow_node_two();
    struct raft_message m = core_vote_request(&core, 3, 4, id(2, 3));
    m.kind = RAFT_PRE_VOTE;
    core.now_ns += ELECTION_MIN_NS - 1;
    core_receive(&core, &m);
    core_settle(&core);
    assert_false(core_sent(&core, RAFT_PRE_VOTE_REPLY, 3)->vote_reply.granted);
    core.now_ns += 1;
    core_receive(&core, &m);
    core_settle(&core);
    assert_true(core_sent(&core, RAFT_PRE_VOTE_REPLY, 3)->vote_reply.granted);
}

/* B3 */
static void late_pre_vote_reply_is_not_a_vote(void **state)
{
    (void)state;
    core_pre_campaign(&core);
    struct raft_message late = core_reply(core_sent(&core, RAFT_PRE_VOTE, 4), true);
    struct raft_message two = core_reply(core_sent(&core, RAFT_PRE_VOTE, 2), true);
    struct raft_message three = core_reply(core_sent(&core, RAFT_PRE_VOTE, 3), true);
    core_receive(&core, &two);
    core_receive(&core, &three);
    core_settle(&core);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
    struct raft_message vote = core_reply(core_sent(&core, RAFT_VOTE, 2), true);
    core_receive(&core, &vote);
    core_receive(&core, &late);
    core_receive(&core, &three);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
}

/* B3 */
static void grant_of_an_earlier_pre_vote_does_not_count(void **state)
{
    (void)state;
    core_pre_campaign(&core);
    struct raft_message two = core_reply(core_sent(&core, RAFT_PRE_VOTE, 2), true);
    struct raft_message three = core_reply(core_sent(&core, RAFT_PRE_VOTE, 3), true);
    core.now_ns += ELECTION_MAX_NS;
    core_pre_campaign(&core);
    core_receive(&core, &two);
    core_receive(&core, &three);
    assert_int_equal(raft_role(core.raft), RAFT_PRE_CANDIDATE);
    assert_int_equal(raft_counters(core.raft)->stale_token, 2);
}

/* B3 */
static void failed_vote_is_followed_by_a_new_pre_vote(void **state)
{
    (void)state;
    core_campaign(&core);
    uint64_t term = raft_term(core.raft);
    core.now_ns += ELECTION_MAX_NS;
    core_pre_campaign(&core);
    assert_int_equal(raft_role(core.raft), RAFT_PRE_CANDIDATE);
    assert_int_equal(raft_term(core.raft), term);
    assert_int_equal(core_sent(&core, RAFT_PRE_VOTE, 2)->term, term + 1);
}

/* B4 */
static void vote_request_is_ignored_while_a_leader_is_heard(void **state)
{
    (void)state;
    follow_node_two();
    struct raft_message m = core_vote_request(&core, 3, 8, id(7, 9));
    core_receive(&core, &m);
    core_settle(&core);
    assert_int_equal(core.effect_count, 0);
    assert_int_equal(raft_term(core.raft), 3);
    assert_int_equal(raft_counters(core.raft)->sticky_ignored, 1);
    core.now_ns += ELECTION_MIN_NS;
    core_receive(&core, &m);
    assert_int_equal(raft_term(core.raft), 8);
    assert_int_equal(raft_vote(core.raft), 3);
}

/* B4 */
static void leader_ignores_vote_requests(void **state)
{
    (void)state;
    core_lead(&core);
    core.now_ns += ELECTION_MAX_NS;
    struct raft_message m = core_vote_request(&core, 3, 8, id(7, 9));
    core_receive(&core, &m);
    assert_int_equal(raft_role(core.raft), RAFT_LEADER);
    assert_int_equal(raft_counters(core.raft)->sticky_ignored, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(candidate_asks_for_votes_only_when_its_own_is_durable,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(candidate_counts_its_own_vote_only_when_durable,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(voter_replies_only_when_its_vote_is_durable, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(vote_waits_for_the_write_that_holds_it, three_nodes, fini),
        cmocka_unit_test_setup_teardown(no_message_leaves_under_a_term_that_is_not_durable,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(stepping_down_in_the_same_term_keeps_the_vote, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(voter_gives_one_vote_a_term, three_nodes, fini),
        cmocka_unit_test_setup_teardown(repeated_vote_request_is_granted_again_without_a_write,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(vote_survives_a_restart, three_nodes, fini),
        cmocka_unit_test_setup_teardown(entry_is_written_only_after_its_term_is_durable,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(newer_term_in_any_message_is_adopted, three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_is_deposed_by_a_newer_term_in_a_reply, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(pre_vote_and_its_grant_raise_no_term, three_nodes, fini),
        cmocka_unit_test_setup_teardown(request_of_an_older_term_is_answered_with_the_own_term,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(reply_of_an_older_term_is_dropped, three_nodes, fini),
        cmocka_unit_test_setup_teardown(recovery_takes_the_term_of_the_log_and_drops_the_vote,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(commit_index_is_forgotten_by_a_restart, three_nodes, fini),
        cmocka_unit_test_setup_teardown(absurd_term_is_dropped, three_nodes, fini),
        cmocka_unit_test_setup_teardown(voter_refuses_a_candidate_with_an_older_log, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(repeated_vote_reply_counts_once, five_nodes, fini),
        cmocka_unit_test_setup_teardown(only_grants_of_this_attempt_count, five_nodes, fini),
        cmocka_unit_test_setup_teardown(pre_candidate_keeps_its_term_and_vote, three_nodes, fini),
        cmocka_unit_test_setup_teardown(pre_vote_changes_nothing_on_the_voter, three_nodes, fini),
        cmocka_unit_test_setup_teardown(pre_vote_is_refused_while_a_leader_is_heard, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(late_pre_vote_reply_is_not_a_vote, five_nodes, fini),
        cmocka_unit_test_setup_teardown(grant_of_an_earlier_pre_vote_does_not_count, five_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(failed_vote_is_followed_by_a_new_pre_vote, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(vote_request_is_ignored_while_a_leader_is_heard,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_ignores_vote_requests, three_nodes, fini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
