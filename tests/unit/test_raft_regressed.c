/* test_raft_regressed.c: a peer whose disk went back (rule M7). */
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

static int fini(void **state)
{
    (void)state;
    core_fini(&core);
    return 0;
}

/* Node 2 has acknowledged entry 4, and then says in another boot that its log ends earlier. */
static void go_back(uint64_t boot, struct raft_entry_id bound)
{
    core_lead(&core);
    core_acks(&core, 4);
    struct raft_message append = core_heartbeat(&core, 2);
    struct raft_message reply = core_ack(&append, false, 0);
    reply.from_boot = boot;
    reply.append_reply.bound = bound;
    core_receive(&core, &reply); /* The restart is seen: a new session. */
    append = core_heartbeat(&core, 2);
    reply = core_ack(&append, false, 0);
    reply.from_boot = boot;
    reply.append_reply.bound = bound;
    reply.append_reply.hint = id(2, 3);
    core_receive(&core, &reply);
}

/* M7 */
static void peer_that_lacks_what_it_acked_counts_no_more(void **state)
{
    (void)state;
    go_back(2, id(0, 0));
    assert_int_equal(raft_regressed(core.raft), set_of(2));
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    struct raft_message append = core_heartbeat(&core, 2);
    struct raft_message reply = core_ack(&append, true, 5);
    reply.from_boot = 2;
    core_receive(&core, &reply);
    assert_int_equal(raft_commit_index(core.raft), 4);
    assert_true(raft_replication(core.raft, 2).active); /* It is brought what it lacks. */
    append = core_heartbeat(&core, 3);
    reply = core_ack(&append, true, 5);
    core_receive(&core, &reply);
    assert_int_equal(raft_commit_index(core.raft), 5);
}

static void vote_of_such_a_peer_counts_no_more_either(void **state)
{
    (void)state;
    go_back(2, id(0, 0));
    for (uint32_t i = 0; i < 40 && raft_is_leader(core.raft); i++) { /* Nobody answers. */
        core_elapse(&core, HEARTBEAT_NS);
        core_settle(&core);
    }
    assert_false(raft_is_leader(core.raft));
    core_pre_campaign(&core);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_PRE_VOTE, 2), true);
    yes.from_boot = 2;
    core_receive(&core, &yes);
    assert_int_equal(raft_role(core.raft), RAFT_PRE_CANDIDATE);
    yes = core_reply(core_sent(&core, RAFT_PRE_VOTE, 3), true);
    core_receive(&core, &yes);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
}

static void bounded_peer_is_not_taken_for_a_liar(void **state)
{
    (void)state;
    go_back(2, id(3, 4));
    assert_int_equal(raft_regressed(core.raft), 0);
    struct raft_message append = core_heartbeat(&core, 2);
    assert_int_equal(append.append.heard_boot, 2);
    struct raft_message reply = core_ack(&append, true, append.append.prev.index);
    reply.from_boot = 2;
    core_receive(&core, &reply);
    assert_true(raft_replication(core.raft, 2).active);
}

/* It was bound once, and is an old copy of that: what it has acknowledged since lies above. */
static void peer_whose_bound_is_too_low_is_taken_for_one(void **state)
{
    (void)state;
    go_back(2, id(2, 9));
    assert_int_equal(raft_regressed(core.raft), set_of(2));
}

/* Its boot is the same: the copy is of just before the life that acknowledged. */
static void old_copy_of_the_same_boot_is_known_by_what_it_lacks(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    struct raft_message append = core_heartbeat(&core, 2);
    struct raft_message reply = core_ack(&append, false, 0);
    reply.append_reply.hint = id(2, 3);
    core_receive(&core, &reply);
    assert_int_equal(raft_regressed(core.raft), set_of(2));
}

/* What it has said to be lost is not held against it later, though its bound was met without it. */
static void peer_that_was_bounded_may_start_again_before_it_has_all(void **state)
{
    (void)state;
    go_back(2, id(3, 4));
    struct raft_message append = core_heartbeat(&core, 2);
    struct raft_message reply = core_ack(&append, true, 3);
    reply.from_boot = 2; /* The bound is met. */
    core_receive(&core, &reply);
    append = core_heartbeat(&core, 2);
    reply = core_ack(&append, true, 3);
    reply.from_boot = 3;
    core_receive(&core, &reply); /* A new session: it starts at the log's end. */
    append = core_heartbeat(&core, 2);
    reply = core_ack(&append, false, 3);
    reply.from_boot = 3;
    reply.append_reply.hint = id(2, 3);
    core_receive(&core, &reply);
    assert_int_equal(raft_regressed(core.raft), 0);
}

static void refusal_that_was_overtaken_accuses_nobody(void **state)
{
    (void)state;
    core_lead(&core);
    struct raft_message append = core_heartbeat(&core, 2);
    struct raft_message late = core_ack(&append, false, 0);
    late.append_reply.hint = id(1, 2);
    struct raft_message reply = core_ack(&append, false, 4);
    core_receive(&core, &reply);
    core_receive(&core, &late);
    assert_int_equal(raft_regressed(core.raft), 0);
}

static void old_copy_of_a_disk_is_known_by_its_boot(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    struct raft_message before = core_heartbeat(&core, 2);
    struct raft_message reply = core_ack(&before, true, 4);
    reply.from_boot = 7;
    core_receive(&core, &reply);
    struct raft_message late =
        core_ack(&before, true, 4); /* Of its former life, on its way since. */
    late.from_boot = 6;
    core_receive(&core, &late);
    assert_int_equal(raft_regressed(core.raft), 0);
    struct raft_message append = core_heartbeat(&core, 2);
    reply = core_ack(&append, true, 4);
    reply.from_boot = 6;
    core_receive(&core, &reply);
    assert_int_equal(raft_regressed(core.raft), set_of(2));
    assert_int_equal(raft_counters(core.raft)->regressions, 1);
}

/* The leader hears from a peer, in a boot of it, that it has all up to `index` on its disk. */
static void acks(uint8_t peer, uint64_t boot, uint64_t index)
{
    struct raft_message append = core_heartbeat(&core, peer);
    struct raft_message reply = core_ack(&append, true, index);
    reply.from_boot = boot;
    core_receive(&core, &reply);
}

/* Node 2 alone answers, in a boot of it: that is no quorum. */
static void loses_office_with(uint64_t boot)
{
    for (uint32_t i = 0; i < 40 && raft_is_leader(core.raft); i++) {
        core_elapse(&core, HEARTBEAT_NS);
        core_settle(&core);
        const struct raft_message *append = core_sent(&core, RAFT_APPEND, 2);
        if (append != NULL) {
            struct raft_message reply = core_ack(append, true, 4);
            reply.from_boot = boot;
            core_receive(&core, &reply);
        }
    }
    assert_false(raft_is_leader(core.raft));
}

static void accused_peer_proves_no_office(void **state)
{
    (void)state;
    go_back(2, id(0, 0));
    struct raft_event read = {.kind = RAFT_EVENT_READ, .now_ns = core.now_ns};
    assert_int_equal(core_step(&core, &read), RAFT_TAKEN);
    uint64_t ticket = raft_read_ticket(core.raft);
    acks(2, 2, 4);
    assert_int_equal(raft_read_state(core.raft, ticket), RAFT_READ_PENDING);
    acks(3, 1, 4);
    assert_int_equal(raft_read_state(core.raft, ticket), RAFT_READ_CONFIRMED);
    loses_office_with(2);
}

static void accused_peer_is_not_handed_the_office(void **state)
{
    (void)state;
    go_back(2, id(0, 0));
    acks(2, 2, 4);
    core_event(&core, RAFT_EVENT_TRANSFER);
    assert_int_equal(raft_transfer_target(core.raft), 3);
}

static void accusation_goes_to_everybody(void **state)
{
    (void)state;
    go_back(2, id(0, 0));
    for (uint8_t peer = 2; peer <= 3; peer++) {
        assert_int_equal(core_heartbeat(&core, peer).append.regressed, set_of(2));
    }
}

static void accused_peer_that_was_started_again_and_has_all_counts_again(void **state)
{
    (void)state;
    go_back(2, id(0, 0));
    acks(2, 2, 4);
    acks(3, 1, 4);
    assert_int_equal(raft_regressed(core.raft), set_of(2)); /* It has all, in the same boot. */
    acks(2, 3, 0);                                          /* Heard in the next one. */
    acks(2, 3, 4);
    assert_int_equal(raft_regressed(core.raft), set_of(2)); /* Does 3 still follow? */
    acks(3, 1, 4);
    core_settle(&core); /* It does, and is told at once that 2 has all. */
    assert_int_equal(raft_regressed(core.raft), set_of(2));
    assert_non_null(core_sent(&core, RAFT_APPEND, 3));
    assert_int_equal(core_sent(&core, RAFT_APPEND, 3)->append.regressed, 0);
    acks(2, 3, 4); /* Its own answer is not one of a quorum without it. */
    assert_int_equal(raft_regressed(core.raft), set_of(2));
    acks(3, 1, 4);
    assert_int_equal(raft_regressed(core.raft), 0);
    assert_int_equal(raft_counters(core.raft)->regained, 1);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    core_settle(&core);
    acks(2, 3, 5);
    assert_int_equal(raft_commit_index(core.raft), 5);
}

static void accused_peer_that_was_started_again_counts_no_earlier_than_it_has_all(void **state)
{
    (void)state;
    go_back(2, id(0, 0));
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    core_settle(&core);
    acks(2, 3, 0);
    acks(3, 1, 4);
    acks(2, 3, 4);
    acks(3, 1, 4);
    assert_int_equal(raft_regressed(core.raft), set_of(2)); /* Entry 5 was there at its start. */
    acks(2, 3, 5);
    acks(3, 1, 4);
    assert_int_equal(raft_regressed(core.raft), 0);
}

static void peer_that_goes_back_again_has_to_be_started_again(void **state)
{
    (void)state;
    go_back(2, id(0, 0));
    acks(2, 3, 0);
    acks(2, 3, 4);
    struct raft_message append = core_heartbeat(&core, 2);
    struct raft_message reply = core_ack(&append, false, 0);
    reply.from_boot = 3;
    reply.append_reply.hint = id(2, 3);
    core_receive(&core, &reply);
    assert_int_equal(raft_counters(core.raft)->regressions, 2);
    acks(2, 3, 4);
    acks(3, 1, 4);
    assert_int_equal(raft_regressed(core.raft), set_of(2));
}

static void old_copy_is_spoken_to_in_its_older_boot(void **state)
{
    (void)state;
    core_lead(&core);
    acks(2, 7, 4);
    acks(3, 1, 4);
    acks(2, 6, 4);
    assert_int_equal(raft_regressed(core.raft), set_of(2));
    acks(2, 6, 4);
    assert_true(raft_replication(core.raft, 2).active);
    acks(2, 7, 0); /* Started again; 7 was another life. */
    acks(2, 7, 4);
    acks(3, 1, 4);
    acks(3, 1, 4);
    assert_int_equal(raft_regressed(core.raft), 0);
}

/* Node 2 leads in term 3, and says who is accused. */
static void hear_of(uint64_t token, raft_set regressed)
{
    struct raft_message append = core_append(&core, 2, id(2, 3));
    append.token = token;
    append.append.regressed = regressed;
    core_receive(&core, &append);
    core_settle(&core);
    assert_int_equal(raft_regressed(core.raft), regressed);
}

static void accused_node_neither_votes_nor_stands(void **state)
{
    (void)state;
    hear_of(1, set_of(1));
    for (uint32_t i = 0; i < 10; i++) {
        core_time_out(&core);
        core_settle(&core);
        assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    }
    struct raft_message request = core_vote_request(&core, 3, raft_term(core.raft) + 1, id(2, 3));
    request.kind = RAFT_PRE_VOTE;
    core_receive(&core, &request);
    core_settle(&core);
    assert_false(core_sent(&core, RAFT_PRE_VOTE_REPLY, 3)->vote_reply.granted);
    request.kind = RAFT_VOTE;
    core_receive(&core, &request);
    core_settle(&core);
    assert_false(core_sent(&core, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
}

/* And goes on so when it was started anew, until it has what the leader had committed. */
static void accused_node_is_bound_by_what_is_committed(void **state)
{
    (void)state;
    struct raft_message append = core_append(&core, 2, id(2, 3));
    append.append.commit_index = 9;
    append.append.regressed = set_of(1);
    core_receive(&core, &append);
    core_drain(&core);
    const struct raft_effect *write = core_effect(&core, RAFT_EFFECT_WRITE_STATE);
    assert_non_null(write);
    assert_int_equal(write->write_state.vote_bound.term, append.term);
    assert_int_equal(write->write_state.vote_bound.index, 9);
    core_state_durable(&core);
    append.token++;
    append.append.commit_index = 12; /* The same accusation. */
    core_receive(&core, &append);
    assert_int_equal(raft_vote_bound(core.raft).index, 9);
}

/* A leader that is new in office knows of no commit yet: what was lost may be committed all the
 * same, and the vote of this term may be among it. */
static void accused_node_is_bound_though_the_leader_knows_of_no_commit(void **state)
{
    (void)state;
    struct raft_message append = core_append(&core, 2, id(2, 3));
    append.term = 3;
    append.append.regressed = set_of(1);
    core_receive(&core, &append);
    core_settle(&core);
    assert_int_equal(raft_vote_bound(core.raft).term, 3);
    assert_int_equal(raft_vote_bound(core.raft).index, 1);
    core.recovered.term = 3; /* Started again: it has heard of no leader, nor how it had voted. */
    core.recovered.vote_bound = raft_vote_bound(core.raft);
    core.config.boot++;
    core_start(&core);
    struct raft_message request = core_vote_request(&core, 3, 3, id(2, 3));
    core_receive(&core, &request);
    core_settle(&core);
    assert_false(core_sent(&core, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
}

/* A bound of before may have the same index, in an earlier term. */
static void later_bound_with_the_index_of_an_earlier_one_goes_to_the_disk(void **state)
{
    (void)state;
    core_fini(&core);
    core_prepare_log(&core, 3, old_log, 3);
    core.recovered.vote_bound = id(1, 9);
    core_start(&core);
    hear_of(1, 0); /* The term is on disk. */
    struct raft_message append = core_append(&core, 2, id(2, 3));
    append.token = 2;
    append.append.commit_index = 9;
    append.append.regressed = set_of(1);
    core_receive(&core, &append);
    core_drain(&core);
    const struct raft_effect *write = core_effect(&core, RAFT_EFFECT_WRITE_STATE);
    assert_non_null(write);
    assert_int_equal(write->write_state.vote_bound.term, append.term);
    assert_int_equal(write->write_state.vote_bound.index, 9);
    core_state_durable(&core);
}

static void follower_knows_it_from_the_leader_and_tells_candidates(void **state)
{
    (void)state;
    hear_of(1, set_of(3));
    core_elapse(&core, core.config.election_max_ns);
    core_settle(&core);
    struct raft_message request = core_vote_request(&core, 3, raft_term(core.raft) + 1, id(2, 3));
    core_receive(&core, &request);
    core_settle(&core);
    assert_null(core_sent(&core, RAFT_VOTE_REPLY, 3)); /* It gets no answer. */
    assert_int_equal(raft_counters(core.raft)->regressed_ignored, 1);
    request = core_vote_request(&core, 2, raft_term(core.raft) + 1, id(2, 3));
    core_receive(&core, &request);
    core_settle(&core);
    assert_true(core_sent(&core, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    assert_int_equal(core_sent(&core, RAFT_VOTE_REPLY, 2)->vote_reply.regressed, set_of(3));
}

static void leader_that_lets_somebody_count_again_is_believed(void **state)
{
    (void)state;
    hear_of(1, set_of(3));
    hear_of(2, 0);
}

/* Of two words of leaders the newer one counts; about itself a candidate believes nobody. */
static void candidate_learns_from_its_voters(void **state)
{
    (void)state;
    core_campaign(&core);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_VOTE, 2), true);
    yes.vote_reply.regressed = set_of(1) | set_of(2);
    yes.vote_reply.regressed_term = 2;
    yes.vote_reply.regressed_token = 7;
    core_receive(&core, &yes);
    assert_int_equal(raft_regressed(core.raft), set_of(2));
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
    yes = core_reply(core_sent(&core, RAFT_VOTE, 3), true);
    yes.vote_reply.regressed_term = 2;
    yes.vote_reply.regressed_token = 6;
    core_receive(&core, &yes);
    assert_true(raft_is_leader(core.raft));
    assert_int_equal(raft_regressed(core.raft), set_of(2));
}

/* It may have known an older boot than that which was accused. */
static void later_leader_waits_for_a_start_that_it_sees(void **state)
{
    (void)state;
    core_campaign(&core);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_VOTE, 3), true);
    yes.vote_reply.regressed = set_of(2);
    yes.vote_reply.regressed_term = 2;
    core_receive(&core, &yes);
    core_settle(&core);
    assert_true(raft_is_leader(core.raft));
    assert_int_equal(raft_regressed(core.raft), set_of(2));
    for (uint32_t i = 0; i < 4; i++) { /* Boot 1 was heard; it is in boot 2 since. */
        acks(2, 2, 3);
        acks(3, 1, 3);
    }
    assert_int_equal(raft_regressed(core.raft), set_of(2));
    for (uint32_t i = 0; i < 4; i++) {
        acks(2, 3, 3);
        acks(3, 1, 3);
    }
    assert_int_equal(raft_regressed(core.raft), 0);
}

/* Node 3 has all again, and 2 was told; then the leader is gone. */
static void newer_word_lets_somebody_vote_again(void **state)
{
    (void)state;
    hear_of(1, set_of(3));
    core_pre_campaign(&core);
    struct raft_message no = core_reply(core_sent(&core, RAFT_PRE_VOTE, 2), false);
    no.term = raft_term(core.raft);
    no.vote_reply.regressed_term = raft_term(core.raft);
    no.vote_reply.regressed_token = 2;
    core_receive(&core, &no);
    assert_int_equal(raft_regressed(core.raft), 0);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_PRE_VOTE, 3), true);
    core_receive(&core, &yes);
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
}

/* There is no quorum without it: its start is seen by nobody who leads, and both have to be started
 * anew (docs/OPERATING.md). */
static void two_nodes_have_no_leader_while_one_is_accused(void **state)
{
    (void)state;
    core_fini(&core);
    core_prepare_log(&core, 2, old_log, 3);
    core_start(&core);
    go_back(2, id(0, 0));
    assert_int_equal(raft_regressed(core.raft), set_of(2));
    loses_office_with(3);
    core_pre_campaign(&core);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_PRE_VOTE, 2), true);
    yes.from_boot = 4;
    core_receive(&core, &yes);
    assert_int_equal(raft_role(core.raft), RAFT_PRE_CANDIDATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(peer_that_lacks_what_it_acked_counts_no_more, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(vote_of_such_a_peer_counts_no_more_either, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(bounded_peer_is_not_taken_for_a_liar, three_nodes, fini),
        cmocka_unit_test_setup_teardown(peer_whose_bound_is_too_low_is_taken_for_one, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(old_copy_of_the_same_boot_is_known_by_what_it_lacks,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(peer_that_was_bounded_may_start_again_before_it_has_all,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(refusal_that_was_overtaken_accuses_nobody, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(old_copy_of_a_disk_is_known_by_its_boot, three_nodes, fini),
        cmocka_unit_test_setup_teardown(accused_peer_proves_no_office, three_nodes, fini),
        cmocka_unit_test_setup_teardown(accused_peer_is_not_handed_the_office, three_nodes, fini),
        cmocka_unit_test_setup_teardown(accusation_goes_to_everybody, three_nodes, fini),
        cmocka_unit_test_setup_teardown(
            accused_peer_that_was_started_again_and_has_all_counts_again, three_nodes, fini),
        cmocka_unit_test_setup_teardown(
            accused_peer_that_was_started_again_counts_no_earlier_than_it_has_all, three_nodes,
            fini),
        cmocka_unit_test_setup_teardown(peer_that_goes_back_again_has_to_be_started_again,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(old_copy_is_spoken_to_in_its_older_boot, three_nodes, fini),
        cmocka_unit_test_setup_teardown(accused_node_neither_votes_nor_stands, three_nodes, fini),
        cmocka_unit_test_setup_teardown(accused_node_is_bound_by_what_is_committed, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(accused_node_is_bound_though_the_leader_knows_of_no_commit,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(
            later_bound_with_the_index_of_an_earlier_one_goes_to_the_disk, three_nodes, fini),
        cmocka_unit_test_setup_teardown(follower_knows_it_from_the_leader_and_tells_candidates,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_that_lets_somebody_count_again_is_believed,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(two_nodes_have_no_leader_while_one_is_accused, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(candidate_learns_from_its_voters, three_nodes, fini),
        cmocka_unit_test_setup_teardown(later_leader_waits_for_a_start_that_it_sees, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(newer_word_lets_somebody_vote_again, three_nodes, fini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
