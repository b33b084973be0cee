/* test_raft_read.c: read indexes: what a round of heartbeats proves, and for whom (rules G1 to G3,
 * I3, J2, O2; thesis 6.4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/test_raft_core.h"

static struct core core;
static const uint64_t old_log[] = {1, 1, 2};

static int nodes(uint8_t count)
{
    core_prepare_log(&core, count, old_log, 3);
    core_start(&core);
    return 0;
}

static int one_node(void **state)
{
    (void)state;
    return nodes(1);
}

static int three_nodes(void **state)
{
    (void)state;
    return nodes(3);
}

static int five_nodes(void **state)
{
    (void)state;
    return nodes(5);
}

static int fini(void **state)
{
    (void)state;
    core_fini(&core);
    return 0;
}

/* Node 1 leads term 3, and everybody has acknowledged its first entry, the fourth of the log. */
static void lead(void)
{
    core_lead(&core);
    core_acks(&core, 4);
    assert_int_equal(raft_commit_index(core.raft), 4);
    core_drain(&core);
}

static enum raft_taken offer(void)
{
    struct raft_event event = {.kind = RAFT_EVENT_READ, .now_ns = core.now_ns};
    return core_step(&core, &event);
}

/* A read comes and is taken; its ticket. */
static uint64_t read(void)
{
    assert_int_equal(offer(), RAFT_TAKEN);
    return raft_read_ticket(core.raft);
}

static void assert_state(uint64_t ticket, enum raft_read_state state)
{
    assert_int_equal(raft_read_state(core.raft, ticket), state);
}

/* The answer to the newest APPEND to `from`, to be delivered whenever. */
static struct raft_message answer_of(uint8_t from)
{
    const struct raft_message *append = core_sent(&core, RAFT_APPEND, from);
    assert_non_null(append);
    return core_ack(append, true, 4);
}

static void answer(uint8_t from)
{
    struct raft_message ack = answer_of(from);
    core_receive(&core, &ack);
}

/* G1 */
static void read_is_confirmed_by_a_round_begun_after_it(void **state)
{
    (void)state;
    lead();
    uint64_t ticket = read();
    assert_state(ticket, RAFT_READ_PENDING);
    core_drain(&core);
    assert_state(ticket, RAFT_READ_PENDING);
    answer(2);
    assert_state(ticket, RAFT_READ_CONFIRMED);
}

/* G1: at once, and not when a heartbeat would be due. */
static void waiting_read_begins_its_round_at_once(void **state)
{
    (void)state;
    lead();
    (void)read();
    core_drain(&core);
    assert_non_null(core_sent(&core, RAFT_APPEND, 2));
    assert_non_null(core_sent(&core, RAFT_APPEND, 3));
    assert_true(core.now_ns < raft_deadline_ns(core.raft));
}

/* G1, G2: the answer to a heartbeat that was under way when the read came. */
static void answer_to_an_older_heartbeat_confirms_nothing(void **state)
{
    (void)state;
    lead();
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    struct raft_message old[] = {answer_of(2), answer_of(3)};
    uint64_t ticket = read();
    core_receive(&core, &old[0]);
    core_receive(&core, &old[1]);
    assert_state(ticket, RAFT_READ_PENDING);
    core_drain(&core);
    core_receive(&core, &old[0]);
    assert_state(ticket, RAFT_READ_PENDING);
    answer(3);
    assert_state(ticket, RAFT_READ_CONFIRMED);
}

/* G2: a round that is under way proves nothing for a read that comes meanwhile. */
static void read_during_a_round_waits_for_the_next_one(void **state)
{
    (void)state;
    lead();
    uint64_t first = read();
    core_drain(&core);
    struct raft_message early = answer_of(2);
    uint64_t second = read();
    assert_true(second > first);
    core_drain(&core);
    assert_null(core_sent(&core, RAFT_APPEND, 2)); /* One round at a time. */
    core_receive(&core, &early);
    assert_state(first, RAFT_READ_CONFIRMED);
    assert_state(second, RAFT_READ_PENDING);
    core_drain(&core); /* The next one begins with the end of the first. */
    answer(2);
    assert_state(second, RAFT_READ_CONFIRMED);
}

/* G6 */
static void any_number_of_reads_share_a_round(void **state)
{
    (void)state;
    lead();
    uint64_t first = read();
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(read(), first); /* Nothing of the round has left yet. */
    }
    core_drain(&core);
    uint64_t second = read();
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(read(), second);
    }
    answer(2);
    assert_state(first, RAFT_READ_CONFIRMED);
    core_drain(&core);
    answer(2);
    assert_state(second, RAFT_READ_CONFIRMED);
    assert_int_equal(raft_counters(core.raft)->read_rounds, 2);
}

/* B2, N4: a voice is one voice. */
static void repeated_answer_counts_once(void **state)
{
    (void)state;
    lead();
    uint64_t ticket = read();
    core_drain(&core);
    for (uint32_t i = 0; i < 5; i++) {
        answer(2);
    }
    assert_state(ticket, RAFT_READ_PENDING);
    answer(4);
    assert_state(ticket, RAFT_READ_CONFIRMED);
}

/* What of a round gets lost the next heartbeat repeats. */
static void lost_round_is_repeated_by_the_next_heartbeat(void **state)
{
    (void)state;
    lead();
    uint64_t ticket = read();
    core_drain(&core); /* Lost. */
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    answer(3);
    assert_state(ticket, RAFT_READ_CONFIRMED);
    assert_int_equal(raft_counters(core.raft)->read_rounds, 1);
}

/* G1: before that the leader does not know what is committed. */
static void read_is_refused_until_an_entry_of_the_own_term_is_committed(void **state)
{
    (void)state;
    assert_int_equal(offer(), RAFT_REFUSED); /* A follower. */
    core_campaign(&core);
    assert_int_equal(offer(), RAFT_REFUSED); /* A candidate. */
    struct raft_message vote = core_reply(core_sent(&core, RAFT_VOTE, 2), true);
    core_receive(&core, &vote);
    assert_true(raft_is_leader(core.raft));
    assert_int_equal(offer(), RAFT_REFUSED); /* Its first entry is not made. */
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    core_settle(&core);
    assert_int_equal(offer(), RAFT_REFUSED); /* It is not committed. */
    core_acks(&core, 4);
    assert_int_equal(offer(), RAFT_TAKEN);
}

static void only_voter_confirms_by_itself(void **state)
{
    (void)state;
    core_campaign(&core); /* Its own vote is enough. */
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    assert_int_equal(offer(), RAFT_REFUSED);
    core_settle(&core);
    assert_int_equal(raft_commit_index(core.raft), 4);
    for (uint32_t i = 0; i < 3; i++) {
        assert_state(read(), RAFT_READ_CONFIRMED);
        core_drain(&core);
    }
}

/* I3 */
static void joint_configuration_confirms_by_both_halves(void **state)
{
    (void)state;
    core_fini(&core);
    core_prepare_log(&core, 5, old_log, 3);
    core.recovered.configuration.voters = set_of(1) | set_of(2) | set_of(3);
    core.recovered.configuration.outgoing = set_of(1) | set_of(4) | set_of(5);
    core_start(&core);
    lead();
    uint64_t ticket = read();
    core_drain(&core);
    answer(2);
    answer(3);
    assert_state(ticket, RAFT_READ_PENDING);
    answer(5);
    assert_state(ticket, RAFT_READ_CONFIRMED);
}

/* I3: a learner is neither asked nor heard. */
static void learner_confirms_nothing(void **state)
{
    (void)state;
    core_fini(&core);
    core_prepare_log(&core, 5, old_log, 3);
    core.recovered.configuration.voters = set_of(1) | set_of(2) | set_of(3) | set_of(5);
    core.recovered.configuration.learners = set_of(4);
    core_start(&core);
    core_lead(&core);
    core_acks(&core, 4);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    uint64_t ticket = read();
    core_drain(&core);
    assert_non_null(core_sent(&core, RAFT_APPEND, 2));
    assert_null(core_sent(&core, RAFT_APPEND, 4));
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    answer(4);
    answer(2);
    assert_state(ticket, RAFT_READ_PENDING);
    answer(3);
    assert_state(ticket, RAFT_READ_CONFIRMED);
}

/* I7: a leader that does not vote needs a majority of the others. */
static void leader_that_does_not_vote_is_no_witness(void **state)
{
    (void)state;
    lead();
    struct raft_configuration without = *raft_configuration(core.raft);
    without.voters &= ~set_of(SELF);
    assert_int_equal(core_propose(&core, &without), RAFT_TAKEN);
    core_settle(&core);
    uint64_t ticket = read();
    core_drain(&core);
    answer(2);
    assert_state(ticket, RAFT_READ_PENDING);
    answer(3);
    assert_state(ticket, RAFT_READ_CONFIRMED);
}

/* G3 */
static void reads_die_with_the_office(void **state)
{
    (void)state;
    lead();
    uint64_t first = read();
    core_drain(&core);
    struct raft_message late = answer_of(2);
    uint64_t second = read();
    struct raft_message append = core_append(&core, 2, (struct raft_entry_id){3, 4});
    append.term = 4;
    core_receive(&core, &append);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    assert_state(first, RAFT_READ_LOST);
    assert_state(second, RAFT_READ_LOST);
    core_receive(&core, &late);
    assert_state(first, RAFT_READ_LOST);
    assert_int_equal(offer(), RAFT_REFUSED);
}

/* G3: the next office of the same node proves only what is asked in it. */
static void reads_of_an_earlier_office_stay_lost(void **state)
{
    (void)state;
    lead();
    uint64_t old = read();
    core_drain(&core);
    for (uint32_t i = 0; i < 30 && raft_is_leader(core.raft); i++) {
        core_elapse(&core, HEARTBEAT_NS); /* Nobody answers: check-quorum. */
        core_drain(&core);
    }
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    assert_state(old, RAFT_READ_LOST);
    core_lead(&core);
    core_acks(&core, 5);
    assert_int_equal(raft_commit_index(core.raft), 5);
    assert_state(old, RAFT_READ_LOST);
    uint64_t fresh = read();
    assert_true(fresh > old);
    core_drain(&core);
    assert_state(fresh, RAFT_READ_PENDING);
    answer(3);
    assert_state(fresh, RAFT_READ_CONFIRMED);
    assert_state(old, RAFT_READ_LOST);
}

/* G3, J2 */
static void reads_die_when_the_office_is_handed_over(void **state)
{
    (void)state;
    lead();
    uint64_t ticket = read();
    core_drain(&core);
    struct raft_message late = answer_of(3);
    struct raft_event event = {
        .kind = RAFT_EVENT_TRANSFER, .now_ns = core.now_ns, .transfer = {.to = 2}};
    assert_int_equal(core_step(&core, &event), RAFT_REFUSED);
    assert_int_equal(raft_transfer_target(core.raft), 2);
    assert_state(ticket, RAFT_READ_LOST);
    core_receive(&core, &late);
    assert_state(ticket, RAFT_READ_LOST);
    assert_int_equal(offer(), RAFT_REFUSED);
    while (raft_transfer_target(core.raft) != RAFT_NOBODY) { /* Given up: the office stands. */
        core_time_out(&core);
        core_drain(&core);
        if (core_sent(&core, RAFT_APPEND, 3) != NULL) {
            answer(3);
        }
    }
    assert_true(raft_is_leader(core.raft));
    uint64_t fresh = read();
    core_drain(&core);
    answer(3);
    assert_state(fresh, RAFT_READ_CONFIRMED);
    assert_state(ticket, RAFT_READ_LOST);
}

/* O2 */
static void reads_die_when_time_was_lost(void **state)
{
    (void)state;
    lead();
    uint64_t ticket = read();
    core_drain(&core);
    struct raft_message late = answer_of(2);
    core_event(&core, RAFT_EVENT_TIME_LOST);
    assert_state(ticket, RAFT_READ_LOST);
    core_receive(&core, &late);
    assert_state(ticket, RAFT_READ_LOST);
    uint64_t fresh = read();
    core_receive(&core, &late); /* Neither does it prove the next one. */
    assert_state(fresh, RAFT_READ_PENDING);
    core_drain(&core);
    answer(2);
    assert_state(fresh, RAFT_READ_CONFIRMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(read_is_confirmed_by_a_round_begun_after_it, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(waiting_read_begins_its_round_at_once, three_nodes, fini),
        cmocka_unit_test_setup_teardown(answer_to_an_older_heartbeat_confirms_nothing, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(read_during_a_round_waits_for_the_next_one, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(any_number_of_reads_share_a_round, three_nodes, fini),
        cmocka_unit_test_setup_teardown(repeated_answer_counts_once, five_nodes, fini),
        cmocka_unit_test_setup_teardown(lost_round_is_repeated_by_the_next_heartbeat, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(read_is_refused_until_an_entry_of_the_own_term_is_committed,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(only_voter_confirms_by_itself, one_node, fini),
        cmocka_unit_test_setup_teardown(joint_configuration_confirms_by_both_halves, five_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(learner_confirms_nothing, five_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_that_does_not_vote_is_no_witness, three_nodes, fini),
        cmocka_unit_test_setup_teardown(reads_die_with_the_office, three_nodes, fini),
        cmocka_unit_test_setup_teardown(reads_of_an_earlier_office_stay_lost, three_nodes, fini),
        cmocka_unit_test_setup_teardown(reads_die_when_the_office_is_handed_over, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(reads_die_when_time_was_lost, three_nodes, fini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
