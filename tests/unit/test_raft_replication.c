/* test_raft_replication.c: probing, acks, commits, bootstrap (rules C, D, E, F, N;
 * thesis 3.5, 3.6). */
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

static int newborn(void **state)
{
    (void)state;
    core_prepare(&core, 3);
    core_start(&core);
    return 0;
}

static int fini(void **state)
{
    (void)state;
    core_fini(&core);
    return 0;
}

static void assert_id(struct raft_entry_id got, uint64_t term, uint64_t index)
{
    assert_int_equal(got.term, term);
    assert_int_equal(got.index, index);
}

static void answer(const struct raft_message *append, bool matched, uint64_t durable_index)
{
    struct raft_message ack = core_ack(append, matched, durable_index);
    core_receive(&core, &ack);
}

static void refuse(const struct raft_message *append, struct raft_entry_id hint)
{
    struct raft_message ack = core_ack(append, false, 0);
    ack.append_reply.hint = hint;
    core_receive(&core, &ack);
}

/* By a node that has lost an end of its log and says so. */
static void refuse_bounded(const struct raft_message *append, struct raft_entry_id hint)
{
    struct raft_message ack = core_ack(append, false, 0);
    ack.append_reply.hint = hint;
    ack.append_reply.bound = (struct raft_entry_id){append->term, 1000};
    core_receive(&core, &ack);
}

/* B9, F1 */
static void leader_does_not_commit_an_older_term_by_counting(void **state)
{
    (void)state;
    core_lead(&core); /* Term 3, its no-op at 4. */
    core_acks(&core, 3);
    assert_int_equal(raft_commit_index(core.raft), 0);
    core_acks(&core, 4);
    assert_int_equal(raft_commit_index(core.raft), 4);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_COMMIT)->commit.index, 4);
}

/* C6: nobody has verified with this leader what it has not got. */
static void ack_beyond_the_leaders_log_is_not_counted(void **state)
{
    (void)state;
    core_lead(&core); /* Its last entry is 4. */
    struct raft_message two = core_heartbeat(&core, 2);
    struct raft_message three = core_heartbeat(&core, 3);
    answer(&two, true, 5);
    answer(&three, true, UINT64_MAX);
    assert_int_equal(raft_counters(core.raft)->contradictions, 2);
    assert_int_equal(raft_replication(core.raft, 2).match_index, 0);
    assert_int_equal(raft_commit_index(core.raft), 0);
    two = core_heartbeat(&core, 2);
    answer(&two, true, 4);
    assert_int_equal(raft_replication(core.raft, 2).match_index, 4);
}

/* A peer that says less than it has said: the stream begins behind what it has acknowledged. */
static void stream_begins_behind_what_was_acknowledged(void **state)
{
    (void)state;
    core_lead(&core);
    struct raft_message append = core_heartbeat(&core, 2);
    struct raft_message ack = core_ack(&append, false, 4);
    ack.append_reply.verified_index = 4;
    core_receive(&core, &ack);
    append = core_heartbeat(&core, 2);
    ack = core_ack(&append, true, 0);
    ack.append_reply.verified_index = 0;
    core_receive(&core, &ack);
    assert_true(raft_replication(core.raft, 2).active);
    assert_true(raft_replication(core.raft, 2).next_index >
                raft_replication(core.raft, 2).match_index);
}

/* E1, F1 */
static void leader_commits_without_its_own_disk(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    core_drain(&core); /* The write goes out and does not come back. */
    assert_int_equal(raft_durable_index(core.raft), 4);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    struct raft_message two = *core_sent(&core, RAFT_APPEND, 2);
    struct raft_message three = *core_sent(&core, RAFT_APPEND, 3);
    answer(&two, true, 5);
    assert_int_equal(raft_commit_index(core.raft), 4);
    answer(&three, true, 5);
    assert_int_equal(raft_commit_index(core.raft), 5);
    assert_int_equal(raft_durable_index(core.raft), 4);
}

/* E1 */
static void leader_counts_itself_only_when_durable(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    core_drain(&core);
    struct raft_effect write = *core_effect(&core, RAFT_EFFECT_WRITE_LOG);
    assert_int_equal(write.write_log.first_index, 5);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    answer(core_sent(&core, RAFT_APPEND, 2), true, 5);
    assert_int_equal(raft_commit_index(core.raft), 4);
    core_log_durable(&core, write.write_log.epoch, 5);
    assert_int_equal(raft_commit_index(core.raft), 5);
}

/* E1: etcd#14370 */
static void leader_alone_commits_only_what_its_disk_has(void **state)
{
    (void)state;
    core_fini(&core);
    core_prepare_log(&core, 1, old_log, 3);
    core_start(&core);
    core_campaign(&core);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    core_drain(&core);
    core_state_durable(&core);
    core_log_durable(&core, 1, 3);
    core_drain(&core);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_LOG)->write_log.last_index, 4);
    assert_int_equal(raft_commit_index(core.raft), 0);
    core_log_durable(&core, 1, 4);
    assert_int_equal(raft_commit_index(core.raft), 4);
}

/* F2 */
static void leader_of_a_joint_configuration_commits_by_both_halves(void **state)
{
    (void)state;
    core.recovered.configuration.voters = set_of(1) | set_of(2) | set_of(3);
    core.recovered.configuration.outgoing = set_of(1) | set_of(4) | set_of(5);
    core_start(&core);
    core_lead(&core);
    core_elapse(&core, HEARTBEAT_NS);
    core_settle(&core);
    struct raft_message four = *core_sent(&core, RAFT_APPEND, 4);
    struct raft_message two = *core_sent(&core, RAFT_APPEND, 2);
    answer(&two, true, 4);
    assert_int_equal(raft_commit_index(core.raft), 0);
    answer(&four, true, 4);
    assert_int_equal(raft_commit_index(core.raft), 4);
}

/* F2 */
static void learner_does_not_count_for_a_commit(void **state)
{
    (void)state;
    core.recovered.configuration.voters = set_of(1) | set_of(2);
    core.recovered.configuration.learners = set_of(3);
    core_start(&core);
    core_lead(&core);
    struct raft_message three = core_heartbeat(&core, 3);
    struct raft_message two = core_heartbeat(&core, 2);
    answer(&three, true, 4);
    assert_int_equal(raft_commit_index(core.raft), 0);
    answer(&two, true, 4);
    assert_int_equal(raft_commit_index(core.raft), 4);
}

/* F3, C6 */
static void commit_and_match_never_go_back(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    struct raft_message append = core_heartbeat(&core, 2);
    struct raft_message ack = core_ack(&append, true, 2);
    core_receive(&core, &ack);
    assert_int_equal(raft_replication(core.raft, 2).match_index, 4);
    assert_int_equal(raft_commit_index(core.raft), 4);
}

/* C6, N6 */
static void ack_of_an_older_session_is_dropped(void **state)
{
    (void)state;
    core_lead(&core);
    struct raft_message append = core_heartbeat(&core, 2);
    struct raft_message old = core_ack(&append, true, 4);
    old.append_reply.session--;
    core_receive(&core, &old);
    assert_int_equal(raft_replication(core.raft, 2).match_index, 0);
    assert_false(raft_replication(core.raft, 2).active);
    assert_int_equal(raft_counters(core.raft)->stale_session, 1);
}

/* N6 */
static void restarted_peer_gets_a_new_session(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    struct raft_replication before = raft_replication(core.raft, 2);
    assert_true(before.active);
    struct raft_message append = core_heartbeat(&core, 2);
    struct raft_message ack = core_ack(&append, true, 3);
    ack.from_boot = 2;
    core_receive(&core, &ack);
    struct raft_replication after = raft_replication(core.raft, 2);
    assert_false(after.active);
    assert_true(after.session > before.session);
    assert_int_equal(after.match_index, 0);
    assert_int_equal(after.boot, 2);
    core_drain(&core);
    assert_id(core_sent(&core, RAFT_APPEND, 2)->append.prev, 3, 4);
}

/* C7, D1 */
static void matched_probe_begins_the_stream_after_it(void **state)
{
    (void)state;
    core_lead(&core);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    struct raft_message append = core_heartbeat(&core, 2);
    assert_id(append.append.prev, 2, 3);
    answer(&append, true, 1);
    struct raft_replication replication = raft_replication(core.raft, 2);
    assert_true(replication.active);
    assert_int_equal(replication.next_index, 4);
    assert_int_equal(replication.match_index, 1);
}

/* C8, C10 */
static void refused_probe_goes_to_the_hint_at_once(void **state)
{
    static const uint64_t log[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
    (void)state;
    core_fini(&core);
    core_prepare_log(&core, 3, log, 10);
    core_start(&core);
    core_lead(&core);
    struct raft_message append = core_heartbeat(&core, 2);
    assert_id(append.append.prev, 6, 10);
    refuse(&append, id(3, 10)); /* The last log of figure 7: nothing above term 3. */
    core_drain(&core);
    assert_int_equal(core_count(&core, RAFT_EFFECT_SEND), 1);
    append = *core_sent(&core, RAFT_APPEND, 2);
    assert_id(append.append.prev, 1, 3);
    answer(&append, true, 3);
    assert_int_equal(raft_replication(core.raft, 2).next_index, 4);
}

/* C9 */
static void refusal_of_an_earlier_probe_changes_nothing(void **state)
{
    (void)state;
    core_lead(&core);
    struct raft_message first = core_heartbeat(&core, 2);
    refuse(&first, id(1, 2));
    core_drain(&core);
    struct raft_message second = *core_sent(&core, RAFT_APPEND, 2);
    assert_id(second.append.prev, 1, 2);
    refuse(&first, id(0, 0));
    core_drain(&core);
    assert_int_equal(core.effect_count, 0);
    answer(&second, true, 2);
    refuse(&first, id(0, 0));
    refuse(&second, id(0, 0));
    assert_true(raft_replication(core.raft, 2).active);
    assert_int_equal(raft_replication(core.raft, 2).next_index, 3);
}

/* D1: an answer to any of the repeated probes about one place will do, however long the way. */
static void probe_is_repeated_once_a_heartbeat(void **state)
{
    (void)state;
    core_lead(&core);
    struct raft_message first = core_heartbeat(&core, 2);
    core_drain(&core);
    assert_null(core_sent(&core, RAFT_APPEND, 2));
    struct raft_message second = core_heartbeat(&core, 2);
    assert_true(second.token > first.token);
    assert_id(second.append.prev, 2, 3);
    answer(&first, true, 3);
    assert_true(raft_replication(core.raft, 2).active);
}

/* A peer below everything is asked for the empty log, which everybody has. */
static void probe_ends_at_the_empty_log(void **state)
{
    (void)state;
    core_lead(&core);
    struct raft_message append = core_heartbeat(&core, 2);
    refuse(&append, id(0, 0));
    core_drain(&core);
    append = *core_sent(&core, RAFT_APPEND, 2);
    assert_id(append.append.prev, 0, 0);
    refuse(&append, id(0, 0)); /* Nonsense, and no endless loop. */
    core_drain(&core);
    assert_int_equal(core.effect_count, 0);
}

/* D1: a peer that lost what it had is looked for again, in a new session. */
static void mismatch_while_replicating_begins_a_new_session(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    struct raft_replication before = raft_replication(core.raft, 2);
    struct raft_message append = core_heartbeat(&core, 2);
    assert_id(append.append.prev, 3, 4);
    refuse_bounded(&append, id(1, 2));
    assert_false(raft_replication(core.raft, 2).active);
    assert_int_equal(raft_replication(core.raft, 2).session, before.session + 1);
    core_drain(&core);
    assert_id(core_sent(&core, RAFT_APPEND, 2)->append.prev, 1, 2);
}

/* C7: where a session begins is above whatever its peer has acknowledged, at once and later. */
static void stream_never_begins_at_or_below_what_the_peer_has(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    for (uint32_t round = 0; round < 4; round++) {
        struct raft_message append = core_heartbeat(&core, 2);
        refuse_bounded(&append, id(1, 1)); /* It asks for the beginning, though it has all. */
        core_drain(&core);
        struct raft_message question = *core_sent(&core, RAFT_APPEND, 2);
        assert_int_equal(raft_replication(core.raft, 2).match_index, 0);
        struct raft_message ack = core_ack(&question, true, round);
        ack.append_reply.verified_index = 4;
        core_receive(&core, &ack);
        struct raft_replication replication = raft_replication(core.raft, 2);
        assert_true(replication.active);
        assert_int_equal(replication.next_index, 5);
        assert_true(replication.next_index > replication.match_index);
        append = core_heartbeat(&core, 2);
        answer(&append, true, 4);
        assert_int_equal(raft_replication(core.raft, 2).match_index, 4);
        assert_int_equal(raft_replication(core.raft, 2).next_index, 5);
    }
}

/* C5 */
static void leader_neither_cuts_nor_overwrites_an_entry_of_its_own(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    core_settle(&core);
    /* Older leaders' entries in the place of its own, messages of older terms, refusals. */
    for (uint64_t index = 1; index <= 7; index++) {
        for (uint64_t term = 1; term <= 2; term++) {
            struct raft_event event = {.kind = RAFT_EVENT_ENTRY,
                                       .now_ns = core.now_ns,
                                       .entry = {.from = 3,
                                                 .term = term,
                                                 .id = id(term, index),
                                                 .previous_term = index == 1 ? 0 : 1}};
            assert_int_equal(core_step(&core, &event), RAFT_REFUSED);
        }
        struct raft_message older = core_message(&core, RAFT_APPEND, 3, 2);
        older.append.prev = id(2, index);
        older.append.commit_index = 7;
        core_receive(&core, &older);
        struct raft_message append = core_heartbeat(&core, 2);
        refuse(&append, id(1, 1));
        core_settle(&core);
        assert_int_equal(core_count(&core, RAFT_EFFECT_CUT_LOG), 0);
        assert_int_equal(core_count(&core, RAFT_EFFECT_WRITE_LOG), 0);
    }
    assert_true(raft_is_leader(core.raft));
    assert_id(raft_last(core.raft), 3, 6);
    for (uint64_t index = 1; index <= 6; index++) {
        assert_int_equal(raft_entry_term(core.raft, index), index <= 3 ? old_log[index - 1] : 3);
    }
    assert_int_equal(raft_commit_index(core.raft), 4);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    assert_id(raft_last(core.raft), 3, 7);
}

/* D6 */
static void heartbeat_carries_the_commit_index(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    struct raft_message append = core_heartbeat(&core, 3);
    assert_int_equal(append.append.commit_index, 4);
}

/* C5, H6 */
static void only_a_leader_takes_proposals(void **state)
{
    (void)state;
    assert_int_equal(core_propose(&core, NULL), RAFT_REFUSED);
    core_lead(&core);
    assert_int_equal(core_propose(&core, NULL), RAFT_TAKEN);
    assert_id(raft_last(core.raft), 3, 5);
    core_event(&core, RAFT_EVENT_UNHEALTHY);
    assert_int_equal(core_propose(&core, NULL), RAFT_REFUSED);
}

/* Design D6: the first entry names every voter's store. */
static void first_leader_waits_for_the_stores_of_all_voters(void **state)
{
    (void)state;
    core_campaign(&core);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_VOTE, 2), true);
    yes.from_store = 222;
    core_receive(&core, &yes);
    assert_true(raft_is_leader(core.raft));
    core_drain(&core);
    assert_null(core_effect(&core, RAFT_EFFECT_MAKE));
    assert_int_equal(core_propose(&core, NULL), RAFT_REFUSED);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    struct raft_message ack = core_ack(core_sent(&core, RAFT_APPEND, 3), true, 0);
    ack.from_store = 333;
    core_receive(&core, &ack);
    core_drain(&core);
    const struct raft_effect *make = core_effect(&core, RAFT_EFFECT_MAKE);
    assert_int_equal(make->make.what, RAFT_MAKE_FIRST_CONFIGURATION);
    const struct raft_configuration *first = &make->make.configuration;
    assert_int_equal(first->index, 1);
    assert_int_equal(first->members[0].store, 101);
    assert_int_equal(first->members[1].store, 222);
    assert_int_equal(first->members[2].store, 333);
}

static void first_entry_commits_only_on_every_voter(void **state)
{
    (void)state;
    core_lead(&core);
    core_elapse(&core, HEARTBEAT_NS);
    core_settle(&core);
    struct raft_message two = *core_sent(&core, RAFT_APPEND, 2);
    struct raft_message three = *core_sent(&core, RAFT_APPEND, 3);
    answer(&two, true, 1);
    assert_int_equal(raft_commit_index(core.raft), 0);
    assert_false(raft_bootstrapped(core.raft));
    assert_false(raft_takes_proposals(core.raft));
    assert_int_equal(core_propose(&core, NULL), RAFT_REFUSED);
    answer(&three, true, 1);
    assert_int_equal(raft_commit_index(core.raft), 1);
    assert_true(raft_takes_proposals(core.raft));
    core_settle(&core);
    assert_true(core_effect(&core, RAFT_EFFECT_WRITE_STATE)->write_state.bootstrapped);
}

static void voter_that_knows_the_first_entry_committed_ends_the_bootstrap(void **state)
{
    (void)state;
    core_fini(&core);
    core_prepare_log(&core, 3, old_log, 1);
    core.recovered.bootstrapped = false;
    core_start(&core);
    core_lead(&core);
    struct raft_message two = core_heartbeat(&core, 2);
    answer(&two, true, 2);
    assert_int_equal(raft_commit_index(core.raft), 0);
    struct raft_message ack = core_ack(&two, true, 2);
    ack.append_reply.bootstrapped = true;
    core_receive(&core, &ack);
    assert_true(raft_bootstrapped(core.raft));
    assert_int_equal(raft_commit_index(core.raft), 2);
}

/* A8 */
static void store_pinned_by_the_first_reply_cannot_change(void **state)
{
    (void)state;
    core_campaign(&core);
    struct raft_message yes = core_reply(core_sent(&core, RAFT_VOTE, 2), true);
    core_receive(&core, &yes);
    core_elapse(&core, HEARTBEAT_NS);
    core_drain(&core);
    struct raft_message other = core_ack(core_sent(&core, RAFT_APPEND, 2), true, 0);
    other.from_store = 999;
    core_receive(&core, &other);
    assert_int_equal(raft_counters(core.raft)->wrong_store, 1);
}

/* A8 */
static void vote_of_a_wiped_voter_does_not_count(void **state)
{
    (void)state;
    core_campaign(&core);
    for (uint8_t peer = 2; peer <= 5; peer++) {
        struct raft_message yes = core_reply(core_sent(&core, RAFT_VOTE, peer), true);
        yes.from_store += 50;
        core_receive(&core, &yes);
    }
    assert_int_equal(raft_role(core.raft), RAFT_CANDIDATE);
    assert_int_equal(raft_counters(core.raft)->wrong_store, 4);
}

static struct raft_configuration without(uint8_t node)
{
    struct raft_configuration changed = *raft_configuration(core.raft);
    changed.voters &= ~set_of(node);
    changed.learners |= set_of(node);
    return changed;
}

/* I1, I2 */
static void second_configuration_waits_for_the_first(void **state)
{
    (void)state;
    core_lead(&core);
    struct raft_configuration changed = without(3);
    assert_int_equal(core_propose(&core, &changed), RAFT_REFUSED); /* No-op not committed. */
    core_acks(&core, 4);
    assert_int_equal(core_propose(&core, &changed), RAFT_TAKEN);
    assert_int_equal(raft_configuration(core.raft)->voters, set_of(1) | set_of(2));
    assert_int_equal(raft_configuration(core.raft)->index, 5);
    assert_int_equal(core_propose(&core, &changed), RAFT_REFUSED);
    core_settle(&core);
    struct raft_message two = core_heartbeat(&core, 2);
    answer(&two, true, 5);
    assert_int_equal(raft_commit_index(core.raft), 5);
    assert_int_equal(core_propose(&core, &changed), RAFT_TAKEN);
}

/* I2: everything before the no-op is known to be committed, and it is still too early. */
static void configuration_waits_for_an_entry_of_the_own_term(void **state)
{
    (void)state;
    struct raft_message append = core_append(&core, 2, id(2, 3));
    append.append.commit_index = 3;
    core_receive(&core, &append);
    core_settle(&core);
    assert_int_equal(raft_commit_index(core.raft), 3);
    core_lead(&core);
    struct raft_configuration changed = without(3);
    assert_int_equal(core_propose(&core, &changed), RAFT_REFUSED);
    core_acks(&core, 4);
    assert_int_equal(core_propose(&core, &changed), RAFT_TAKEN);
}

/* I7, F2 */
static void leader_outside_of_the_configuration_commits_it_and_steps_down(void **state)
{
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    struct raft_configuration changed = without(1);
    assert_int_equal(core_propose(&core, &changed), RAFT_TAKEN);
    core_settle(&core);
    core_elapse(&core, HEARTBEAT_NS);
    core_settle(&core);
    struct raft_message two = *core_sent(&core, RAFT_APPEND, 2);
    struct raft_message three = *core_sent(&core, RAFT_APPEND, 3);
    answer(&two, true, 5); /* With the own disk that would be two of three. */
    assert_int_equal(raft_commit_index(core.raft), 4);
    answer(&three, true, 5);
    assert_int_equal(raft_commit_index(core.raft), 5);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
}

/* C11, design D10 */
static void trimmed_leader_probes_no_lower_than_its_start(void **state)
{
    struct raft_event event = {.kind = RAFT_EVENT_TRIMMED};
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    event.now_ns = core.now_ns;
    event.trimmed.start = id(1, 2);
    assert_int_equal(core_step(&core, &event), RAFT_REFUSED);
    assert_id(raft_start(core.raft), 1, 2);
    assert_int_equal(raft_entry_term(core.raft, 1), 0);
    assert_int_equal(raft_entry_term(core.raft, 2), 1);
    struct raft_message append = core_heartbeat(&core, 2);
    refuse_bounded(&append, id(0, 0));
    core_drain(&core);
    assert_id(core_sent(&core, RAFT_APPEND, 2)->append.prev, 1, 2);
}

/* D10: the start was asked for and refused; that holds while the start moves on, and until a new
 * session asks again. */
static void peer_that_lacks_the_log_start_is_known_to_be_behind(void **state)
{
    struct raft_event event = {.kind = RAFT_EVENT_TRIMMED};
    (void)state;
    core_lead(&core);
    core_acks(&core, 4);
    assert_false(raft_replication(core.raft, 2).behind);
    event.now_ns = core.now_ns;
    event.trimmed.start = id(1, 2);
    assert_int_equal(core_step(&core, &event), RAFT_REFUSED);
    struct raft_message append = core_heartbeat(&core, 2);
    refuse_bounded(&append, id(0, 0)); /* Of its last match: the start itself is asked for next. */
    assert_false(raft_replication(core.raft, 2).behind);
    core_drain(&core);
    append = *core_sent(&core, RAFT_APPEND, 2);
    assert_id(append.append.prev, 1, 2);
    refuse_bounded(&append, id(1, 1));
    assert_true(raft_replication(core.raft, 2).behind);
    assert_false(raft_replication(core.raft, 2).active);
    assert_false(raft_replication(core.raft, 3).behind);
    event.now_ns = core.now_ns;
    event.trimmed.start = id(2, 3);
    assert_int_equal(core_step(&core, &event), RAFT_REFUSED);
    assert_true(raft_replication(core.raft, 2).behind);
    append = core_heartbeat(&core, 2);
    assert_id(append.append.prev, 2, 3);
    assert_true(raft_replication(core.raft, 2).behind);
    answer(&append, true, 3); /* However it came by them. */
    assert_false(raft_replication(core.raft, 2).behind);
    assert_true(raft_replication(core.raft, 2).active);
}

/* What the leader did not ask itself, in this session, it does not know. */
static void restarted_peer_is_not_behind_until_it_says_so(void **state)
{
    struct raft_event event = {.kind = RAFT_EVENT_TRIMMED};
    (void)state;
    core_lead(&core);
    struct raft_message append = core_heartbeat(&core, 3);
    answer(&append, true, 4);
    event.now_ns = core.now_ns;
    event.trimmed.start = id(1, 2);
    assert_int_equal(core_step(&core, &event), RAFT_REFUSED);
    append = core_heartbeat(&core, 2);
    refuse(&append, id(0, 0));
    core_drain(&core);
    append = *core_sent(&core, RAFT_APPEND, 2);
    refuse(&append, id(0, 0));
    assert_true(raft_replication(core.raft, 2).behind);
    append = core_heartbeat(&core, 2);
    struct raft_message reply = core_ack(&append, false, 0);
    reply.from_boot++;
    core_receive(&core, &reply);
    assert_false(raft_replication(core.raft, 2).behind);
    append = core_heartbeat(&core, 2);
    reply = core_ack(&append, false, 0);
    reply.from_boot++;
    core_receive(&core, &reply);
    core_drain(&core);
    append = core_heartbeat(&core, 2);
    assert_id(append.append.prev, 1, 2);
    reply = core_ack(&append, false, 0);
    reply.from_boot++;
    core_receive(&core, &reply);
    assert_true(raft_replication(core.raft, 2).behind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(leader_does_not_commit_an_older_term_by_counting,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(ack_beyond_the_leaders_log_is_not_counted, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(stream_begins_behind_what_was_acknowledged, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(leader_commits_without_its_own_disk, three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_counts_itself_only_when_durable, three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_alone_commits_only_what_its_disk_has, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(leader_of_a_joint_configuration_commits_by_both_halves,
                                        five_nodes, fini),
        cmocka_unit_test_setup_teardown(learner_does_not_count_for_a_commit, three_nodes, fini),
        cmocka_unit_test_setup_teardown(commit_and_match_never_go_back, three_nodes, fini),
        cmocka_unit_test_setup_teardown(ack_of_an_older_session_is_dropped, three_nodes, fini),
        cmocka_unit_test_setup_teardown(restarted_peer_gets_a_new_session, three_nodes, fini),
        cmocka_unit_test_setup_teardown(matched_probe_begins_the_stream_after_it, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(refused_probe_goes_to_the_hint_at_once, three_nodes, fini),
        cmocka_unit_test_setup_teardown(refusal_of_an_earlier_probe_changes_nothing, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(probe_is_repeated_once_a_heartbeat, three_nodes, fini),
        cmocka_unit_test_setup_teardown(probe_ends_at_the_empty_log, three_nodes, fini),
        cmocka_unit_test_setup_teardown(mismatch_while_replicating_begins_a_new_session,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(stream_never_begins_at_or_below_what_the_peer_has,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(leader_neither_cuts_nor_overwrites_an_entry_of_its_own,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(heartbeat_carries_the_commit_index, three_nodes, fini),
        cmocka_unit_test_setup_teardown(only_a_leader_takes_proposals, three_nodes, fini),
        cmocka_unit_test_setup_teardown(first_leader_waits_for_the_stores_of_all_voters, newborn,
                                        fini),
        cmocka_unit_test_setup_teardown(first_entry_commits_only_on_every_voter, newborn, fini),
        cmocka_unit_test_setup_teardown(
            voter_that_knows_the_first_entry_committed_ends_the_bootstrap, three_nodes, fini),
        cmocka_unit_test_setup_teardown(store_pinned_by_the_first_reply_cannot_change, newborn,
                                        fini),
        cmocka_unit_test_setup_teardown(vote_of_a_wiped_voter_does_not_count, five_nodes, fini),
        cmocka_unit_test_setup_teardown(second_configuration_waits_for_the_first, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(configuration_waits_for_an_entry_of_the_own_term,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(
            leader_outside_of_the_configuration_commits_it_and_steps_down, three_nodes, fini),
        cmocka_unit_test_setup_teardown(trimmed_leader_probes_no_lower_than_its_start, three_nodes,
                                        fini),
        cmocka_unit_test_setup_teardown(peer_that_lacks_the_log_start_is_known_to_be_behind,
                                        three_nodes, fini),
        cmocka_unit_test_setup_teardown(restarted_peer_is_not_behind_until_it_says_so, three_nodes,
                                        fini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
