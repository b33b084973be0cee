/* test_raft_log.c: what a follower takes, believes, acknowledges and cuts (rules C, E, I, N). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/test_raft_core.h"

static struct core core;
static uint64_t token;
static const uint64_t old_log[] = {1, 1, 2, 2, 2};

static struct raft_entry_id id(uint64_t term, uint64_t index)
{
    return (struct raft_entry_id){term, index};
}

/* A follower of node 2, in term 4, with the entries of old_log; nothing verified yet. */
static int follower(void **state)
{
    (void)state;
    core_prepare_log(&core, 3, old_log, 5);
    core_start(&core);
    struct raft_message append = core_append(&core, 2, id(3, 9));
    append.term = 4;
    append.token = token = 1;
    core_receive(&core, &append);
    core_settle(&core);
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

/* Node 2 asks for `prev`; the reply. */
static struct raft_message probe(struct raft_entry_id prev, uint64_t commit_index)
{
    struct raft_message append = core_append(&core, 2, prev);
    append.token = ++token;
    append.append.commit_index = commit_index;
    core_receive(&core, &append);
    core_drain(&core);
    const struct raft_message *reply = core_sent(&core, RAFT_APPEND_REPLY, 2);
    assert_non_null(reply);
    assert_int_equal(reply->token, token);
    return *reply;
}

static enum raft_taken entry(struct raft_entry_id entry_id, uint64_t previous_term)
{
    return core_entry(&core, 2, entry_id, previous_term);
}

/* C1 */
static void follower_takes_the_entry_after_its_last(void **state)
{
    (void)state;
    assert_int_equal(entry(id(4, 6), 2), RAFT_TAKEN);
    assert_id(raft_last(core.raft), 4, 6);
    assert_int_equal(entry(id(4, 8), 4), RAFT_REFUSED);
    assert_int_equal(entry(id(4, 7), 3), RAFT_REFUSED);
    assert_id(raft_last(core.raft), 4, 6);
}

/* C1, N4: what is old, short or doubled cuts nothing. */
static void entry_that_is_there_already_changes_nothing(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(entry(id(1, 2), 1), RAFT_KNOWN);
        assert_int_equal(entry(id(2, 3), 1), RAFT_KNOWN);
        assert_id(raft_last(core.raft), 2, 5);
    }
    assert_false(raft_cut_pending(core.raft));
}

static void entry_of_an_older_term_of_leader_is_refused(void **state)
{
    struct raft_event event = {.kind = RAFT_EVENT_ENTRY, .now_ns = core.now_ns};
    (void)state;
    event.now_ns = core.now_ns;
    event.entry.from = 3;
    event.entry.term = 3;
    event.entry.id = id(3, 6);
    event.entry.previous_term = 2;
    assert_int_equal(core_step(&core, &event), RAFT_REFUSED);
    assert_int_equal(raft_counters(core.raft)->stale_term, 1);
    event.entry.term = 5;
    assert_int_equal(core_step(&core, &event), RAFT_TAKEN);
    assert_int_equal(raft_term(core.raft), 5);
    assert_int_equal(raft_leader(core.raft), 3);
}

/* C4: the own tail is neither acknowledged nor committed before this leader has confirmed it. */
static void unverified_tail_is_neither_acked_nor_committed(void **state)
{
    (void)state;
    struct raft_message reply = probe(id(3, 9), 5);
    assert_false(reply.append_reply.matched);
    assert_int_equal(reply.append_reply.durable_index, 0);
    assert_int_equal(raft_commit_index(core.raft), 0);
    reply = probe(id(1, 2), 5);
    assert_true(reply.append_reply.matched);
    assert_int_equal(reply.append_reply.verified_index, 2);
    assert_int_equal(reply.append_reply.durable_index, 2);
    assert_int_equal(raft_commit_index(core.raft), 2);
    reply = probe(id(2, 5), 5);
    assert_int_equal(reply.append_reply.durable_index, 5);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_COMMIT)->commit.index, 5);
}

/* C4: a new leader has to confirm anew. */
static void new_term_verifies_from_the_commit_index(void **state)
{
    (void)state;
    assert_true(probe(id(2, 5), 3).append_reply.matched);
    assert_int_equal(raft_verified_index(core.raft), 5);
    struct raft_message newer = core_message(&core, RAFT_APPEND_REPLY, 3, 6);
    core_receive(&core, &newer);
    assert_int_equal(raft_verified_index(core.raft), 3);
}

/* F3: what has been told as committed is neither taken back nor told again. The leader's highest
 * word counts, as far as its log is verified here. */
static void commits_only_rise_and_each_is_told_once(void **state)
{
    (void)state;
    static const struct {
        uint64_t verified;
        uint64_t told; /* By the leader. */
        uint64_t commit;
    } steps[] = {{2, 5, 2}, {2, 5, 2}, {2, 1, 2}, {4, 3, 4}, {5, 9, 5}, {5, 0, 5}, {1, 5, 5}};
    uint64_t applied = raft_commit_index(core.raft);
    for (uint32_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint64_t index = steps[i].verified;
        (void)probe(id(raft_entry_term(core.raft, index), index), steps[i].told);
        assert_int_equal(raft_commit_index(core.raft), steps[i].commit);
        const struct raft_effect *commit = core_effect(&core, RAFT_EFFECT_COMMIT);
        assert_int_equal(core_count(&core, RAFT_EFFECT_COMMIT), steps[i].commit > applied);
        if (commit != NULL) {
            assert_true(commit->commit.index > applied);
            applied = commit->commit.index;
        }
        assert_int_equal(applied, steps[i].commit);
    }
}

/* E2 */
static void follower_acks_only_what_its_disk_has(void **state)
{
    (void)state;
    assert_int_equal(entry(id(4, 6), 2), RAFT_TAKEN);
    assert_int_equal(entry(id(4, 7), 4), RAFT_TAKEN);
    core_drain(&core);
    core_state_durable(&core);
    core_drain(&core);
    struct raft_message reply = probe(id(4, 7), 0);
    assert_true(reply.append_reply.matched);
    assert_int_equal(reply.append_reply.verified_index, 7);
    assert_int_equal(reply.append_reply.durable_index, 5);
    core_log_durable(&core, 1, 6);
    core_drain(&core);
    assert_int_equal(core_sent(&core, RAFT_APPEND_REPLY, 2)->append_reply.durable_index, 6);
    core_log_durable(&core, 1, 6);
    core_drain(&core);
    assert_int_equal(core.effect_count, 0); /* Nothing new to say. */
    core_log_durable(&core, 1, 7);
    core_drain(&core);
    assert_int_equal(core_sent(&core, RAFT_APPEND_REPLY, 2)->append_reply.durable_index, 7);
}

/* C3, C11 */
static void append_at_or_below_the_commit_index_is_matched(void **state)
{
    struct raft_event event = {.kind = RAFT_EVENT_TRIMMED};
    (void)state;
    assert_true(probe(id(2, 5), 4).append_reply.matched);
    event.now_ns = core.now_ns;
    event.trimmed.start = id(2, 3);
    assert_int_equal(core_step(&core, &event), RAFT_REFUSED);
    assert_true(probe(id(1, 1), 4).append_reply.matched); /* Trimmed: its term is not known here. */
    assert_true(probe(id(0, 0), 4).append_reply.matched);
    assert_true(probe(id(2, 3), 4).append_reply.matched);
    assert_int_equal(entry(id(1, 1), 0), RAFT_KNOWN);
}

/* C8: nothing above the asked term, nothing above the own last, nothing below what is committed. */
static void mismatch_names_the_best_own_entry(void **state)
{
    (void)state;
    assert_id(probe(id(4, 9), 0).append_reply.hint, 2, 5);
    assert_id(probe(id(3, 4), 0).append_reply.hint, 2, 4);
    assert_id(probe(id(1, 4), 0).append_reply.hint, 1, 2);
    assert_true(probe(id(1, 2), 2).append_reply.matched);
    assert_int_equal(raft_commit_index(core.raft), 2);
    assert_id(probe(id(1, 4), 0).append_reply.hint, 1, 2);
}

/* C1 */
static void conflict_cuts_after_its_predecessor(void **state)
{
    (void)state;
    assert_int_equal(entry(id(3, 4), 2), RAFT_WAIT);
    assert_true(raft_cut_pending(core.raft));
    core_drain(&core);
    const struct raft_effect *cut = core_effect(&core, RAFT_EFFECT_CUT_LOG);
    assert_id(cut->cut_log.keep, 2, 3);
    assert_int_equal(cut->cut_log.epoch, 2);
    assert_id(raft_last(core.raft), 2, 3);
    assert_int_equal(raft_epoch(core.raft), 1);
    assert_int_equal(entry(id(3, 4), 2), RAFT_WAIT);
    core_cut_durable(&core, 2);
    assert_int_equal(raft_epoch(core.raft), 2);
    assert_int_equal(entry(id(3, 4), 2), RAFT_TAKEN);
    core_settle(&core);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_LOG)->write_log.epoch, 2);
    assert_int_equal(core_effect(&core, RAFT_EFFECT_WRITE_LOG)->write_log.first_index, 4);
    assert_int_equal(raft_durable_index(core.raft), 4);
}

static uint64_t contradictions(void)
{
    return raft_counters(core.raft)->contradictions;
}

/* C2 */
static void conflict_at_or_below_the_commit_index_is_not_believed(void **state)
{
    (void)state;
    assert_true(probe(id(2, 5), 4).append_reply.matched);
    assert_int_equal(entry(id(3, 4), 2), RAFT_REFUSED);
    assert_int_equal(entry(id(4, 5), 3), RAFT_REFUSED); /* Its predecessor is another. */
    assert_int_equal(contradictions(), 2);
    struct raft_message append = core_append(&core, 2, id(3, 4));
    append.term = 9; /* Whoever leads, and in whatever term. */
    append.token = ++token;
    core_receive(&core, &append);
    core_drain(&core);
    assert_null(core_sent(&core, RAFT_APPEND_REPLY, 2));
    assert_int_equal(contradictions(), 3);
    assert_int_equal(raft_term(core.raft), 4);
    assert_id(raft_last(core.raft), 2, 5);
    assert_true(probe(id(2, 5), 5).append_reply.matched);
    assert_int_equal(raft_commit_index(core.raft), 5);
}

/* I2 */
static void configuration_made_before_the_last_one_is_committed_is_refused(void **state)
{
    struct raft_configuration changed = *raft_configuration(core.raft);
    struct raft_event event = {.kind = RAFT_EVENT_ENTRY, .now_ns = core.now_ns};

    (void)state;
    event.entry.from = 2;
    event.entry.term = 4;
    event.entry.configuration = &changed;
    event.entry.previous_term = 2;
    event.entry.id = id(4, 6);
    event.entry.commit_index = 1;
    assert_int_equal(core_step(&core, &event), RAFT_TAKEN);
    event.entry.previous_term = 4;
    event.entry.id = id(4, 7);
    event.entry.commit_index = 5;
    assert_int_equal(core_step(&core, &event), RAFT_REFUSED);
    assert_int_equal(contradictions(), 1);
    event.entry.commit_index = 6;
    assert_int_equal(core_step(&core, &event), RAFT_TAKEN);
    assert_int_equal(raft_configuration(core.raft)->index, 7);
    assert_int_equal(raft_commit_index(core.raft), 6);
}

/* E6: first what stays, then the cut, then what comes. */
static void cut_waits_until_what_it_keeps_is_durable(void **state)
{
    (void)state;
    assert_int_equal(entry(id(4, 6), 2), RAFT_TAKEN);
    assert_int_equal(entry(id(4, 7), 4), RAFT_TAKEN);
    core_drain(&core);
    core_state_durable(&core);
    core_drain(&core); /* 6 and 7 are being written. */
    assert_int_equal(core_entry(&core, 3, id(5, 7), 4), RAFT_WAIT);
    core_settle(&core); /* Term 5 becomes durable, not 6. */
    assert_null(core_effect(&core, RAFT_EFFECT_CUT_LOG));
    assert_id(raft_last(core.raft), 4, 7);
    core_log_durable(&core, 1, 5);
    core_drain(&core);
    assert_null(core_effect(&core, RAFT_EFFECT_CUT_LOG));
    core_log_durable(&core, 1, 6);
    core_drain(&core);
    assert_id(core_effect(&core, RAFT_EFFECT_CUT_LOG)->cut_log.keep, 4, 6);
}

/* E6: what the cut keeps and the disk has never seen is still given out, and nothing above it. */
static void entries_below_a_wanted_cut_are_still_written(void **state)
{
    (void)state;
    assert_int_equal(entry(id(4, 6), 2), RAFT_TAKEN);
    assert_int_equal(entry(id(4, 7), 4), RAFT_TAKEN);
    assert_int_equal(core_entry(&core, 3, id(5, 7), 4), RAFT_WAIT);
    core_drain(&core);
    assert_null(core_effect(&core, RAFT_EFFECT_WRITE_LOG));
    core_state_durable(&core);
    core_drain(&core);
    const struct raft_effect *write = core_effect(&core, RAFT_EFFECT_WRITE_LOG);
    assert_int_equal(write->write_log.first_index, 6);
    assert_int_equal(write->write_log.last_index, 6);
}

/* E3 */
static void late_completion_of_a_cut_tail_does_not_count(void **state)
{
    (void)state;
    assert_int_equal(entry(id(3, 4), 2), RAFT_WAIT);
    core_drain(&core);
    core_log_durable(&core, 1, 5); /* While the cut is under way. */
    assert_int_equal(raft_durable_index(core.raft), 3);
    core_cut_durable(&core, 2);
    assert_int_equal(entry(id(3, 4), 2), RAFT_TAKEN);
    core_log_durable(&core, 1, 5); /* And after. */
    assert_int_equal(raft_durable_index(core.raft), 3);
    assert_int_equal(raft_counters(core.raft)->stale_durable, 2);
}

/* A new leader may hold what the last one made us give up: the cut goes on, acks stay below it. */
static void cut_is_carried_out_under_a_new_leader(void **state)
{
    (void)state;
    assert_int_equal(entry(id(3, 4), 2), RAFT_WAIT);
    struct raft_message append = core_append(&core, 3, id(2, 5));
    append.term = 6;
    append.append.commit_index = 5;
    core_receive(&core, &append);
    assert_int_equal(raft_verified_index(core.raft), 0);
    assert_int_equal(core_entry(&core, 3, id(2, 4), 2), RAFT_WAIT);
    core_settle(&core);
    assert_non_null(core_effect(&core, RAFT_EFFECT_CUT_LOG));
    const struct raft_message *reply = core_sent(&core, RAFT_APPEND_REPLY, 3);
    assert_false(reply->append_reply.matched);
    assert_id(reply->append_reply.hint, 2, 3);
    assert_false(raft_cut_pending(core.raft));
    assert_int_equal(core_entry(&core, 3, id(2, 4), 2), RAFT_TAKEN);
    assert_int_equal(raft_commit_index(core.raft), 4); /* What this leader has confirmed. */
}

/* What is about to be cut is neither matched nor offered as a hint. */
static void tail_above_a_wanted_cut_is_not_spoken_of(void **state)
{
    (void)state;
    assert_int_equal(entry(id(4, 6), 2), RAFT_TAKEN);
    assert_int_equal(entry(id(4, 7), 4), RAFT_TAKEN);
    assert_int_equal(core_entry(&core, 3, id(5, 7), 4), RAFT_WAIT);
    core_drain(&core);
    core_state_durable(&core);
    struct raft_message append = core_append(&core, 3, id(4, 7));
    core_receive(&core, &append);
    core_drain(&core);
    assert_null(core_effect(&core, RAFT_EFFECT_CUT_LOG));
    const struct raft_message *reply = core_sent(&core, RAFT_APPEND_REPLY, 3);
    assert_false(reply->append_reply.matched);
    assert_id(reply->append_reply.hint, 4, 6);
}

/* A deeper conflict before the cut has begun moves it down; one after waits for it. */
static void wanted_cut_may_move_down(void **state)
{
    (void)state;
    assert_int_equal(entry(id(4, 6), 2), RAFT_TAKEN);
    assert_int_equal(core_entry(&core, 3, id(5, 6), 2), RAFT_WAIT);
    assert_int_equal(core_entry(&core, 2, id(6, 5), 2), RAFT_WAIT);
    core_drain(&core);
    assert_id(core_effect(&core, RAFT_EFFECT_CUT_LOG)->cut_log.keep, 2, 4);
    assert_int_equal(core_entry(&core, 2, id(3, 4), 2), RAFT_WAIT);
    core_drain(&core);
    assert_null(core_effect(&core, RAFT_EFFECT_CUT_LOG));
    core_cut_durable(&core, 2);
    assert_int_equal(core_entry(&core, 2, id(3, 4), 2), RAFT_WAIT);
    core_settle(&core);
    assert_id(raft_last(core.raft), 2, 3);
}

static void nobody_campaigns_while_its_log_is_cut(void **state)
{
    (void)state;
    assert_int_equal(entry(id(3, 4), 2), RAFT_WAIT);
    core_drain(&core);
    core_time_out(&core);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    core_cut_durable(&core, 2);
    core_time_out(&core);
    assert_int_equal(raft_role(core.raft), RAFT_PRE_CANDIDATE);
}

/* An entry repaired into a pre-candidate's log makes room as a follower does. */
static void pre_candidate_follows_whoever_makes_it_cut(void **state)
{
    (void)state;
    core_time_out(&core);
    assert_int_equal(raft_role(core.raft), RAFT_PRE_CANDIDATE);
    assert_int_equal(entry(id(3, 4), 2), RAFT_WAIT);
    assert_int_equal(raft_role(core.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_leader(core.raft), 2);
}

/* I1 */
static void configuration_counts_from_its_entry_and_goes_with_it(void **state)
{
    struct raft_event event = {.kind = RAFT_EVENT_ENTRY, .now_ns = core.now_ns};
    struct raft_configuration changed = *raft_configuration(core.raft);

    (void)state;
    event.now_ns = core.now_ns;
    changed.voters = set_of(1) | set_of(2);
    changed.learners = set_of(3);
    event.entry.from = 2;
    event.entry.term = 4;
    event.entry.id = id(4, 6);
    event.entry.previous_term = 2;
    event.entry.commit_index = 1; /* The one before is committed. */
    event.entry.configuration = &changed;
    assert_int_equal(core_step(&core, &event), RAFT_TAKEN);
    assert_int_equal(raft_configuration(core.raft)->index, 6);
    assert_int_equal(raft_configuration(core.raft)->voters, changed.voters);
    assert_int_equal(core_entry(&core, 3, id(5, 6), 2), RAFT_WAIT);
    core_settle(&core);
    assert_int_equal(raft_configuration(core.raft)->index, 1);
    assert_int_equal(raft_configuration(core.raft)->voters, set_of(1) | set_of(2) | set_of(3));
}

/* I1: the first configuration, uncommitted, gives way to the file's, whose stores are free. */
static void first_configuration_that_is_cut_unpins_the_stores(void **state)
{
    (void)state;
    core_fini(&core);
    core_prepare_log(&core, 3, old_log, 1);
    core.recovered.bootstrapped = false;
    core_start(&core);
    assert_int_equal(core_entry(&core, 3, id(2, 1), 0), RAFT_WAIT);
    core_settle(&core);
    assert_id(raft_last(core.raft), 0, 0);
    assert_int_equal(raft_configuration(core.raft)->index, 0);
    assert_int_equal(raft_configuration(core.raft)->members[1].store, 0);
    assert_int_equal(raft_configuration(core.raft)->voters, set_of(1) | set_of(2) | set_of(3));
}

/* N7: an entry never seen before is a sign of life, one seen before is not. */
static void only_new_entries_are_signs_of_life(void **state)
{
    (void)state;
    assert_int_equal(entry(id(4, 6), 2), RAFT_TAKEN);
    uint64_t deadline_ns = raft_deadline_ns(core.raft);
    core.now_ns += 5;
    assert_int_equal(entry(id(4, 6), 2), RAFT_KNOWN);
    assert_int_equal(raft_deadline_ns(core.raft), deadline_ns);
    assert_int_equal(entry(id(4, 7), 4), RAFT_TAKEN);
    assert_int_equal(raft_deadline_ns(core.raft), deadline_ns + 5);
}

/* N6: the reply names the newest session and token, whatever made it be owed. */
static void ack_echoes_the_newest_append(void **state)
{
    (void)state;
    struct raft_message append = core_append(&core, 2, id(2, 5));
    append.token = 40;
    append.append.session = 7;
    core_receive(&core, &append);
    core_drain(&core);
    assert_int_equal(entry(id(4, 6), 2), RAFT_TAKEN);
    core_settle(&core);
    const struct raft_message *reply = core_sent(&core, RAFT_APPEND_REPLY, 2);
    assert_int_equal(reply->token, 40);
    assert_int_equal(reply->append_reply.session, 7);
    assert_int_equal(reply->append_reply.durable_index, 6);
}

static void burst_of_entries_is_one_write_and_one_ack(void **state)
{
    (void)state;
    assert_true(probe(id(2, 5), 0).append_reply.matched);
    for (uint64_t i = 0; i < 32; i++) {
        assert_int_equal(entry(id(4, 6 + i), i == 0 ? 2 : 4), RAFT_TAKEN);
    }
    core_settle(&core);
    assert_int_equal(core_count(&core, RAFT_EFFECT_WRITE_LOG), 1);
    assert_int_equal(core_count(&core, RAFT_EFFECT_SEND), 1);
    assert_int_equal(core_sent(&core, RAFT_APPEND_REPLY, 2)->append_reply.durable_index, 37);
}

/* Election safety: there is none, so these are not its words. */
static void second_leader_of_a_term_is_not_heard(void **state)
{
    (void)state;
    struct raft_message append = core_append(&core, 3, id(2, 5));
    append.token = 99;
    core_receive(&core, &append);
    core_drain(&core);
    assert_null(core_sent(&core, RAFT_APPEND_REPLY, 3));
    assert_int_equal(raft_leader(core.raft), 2);
    assert_int_equal(contradictions(), 1);
    append.term = 5;
    core_receive(&core, &append);
    assert_int_equal(raft_leader(core.raft), 3);
}

static void malformed_messages_assert(void **state)
{
    (void)state;
    struct raft_message good = core_append(&core, 2, id(2, 5));
    struct raft_message bad = good;
    bad.to = 2;
    expect_assert_failure(core_receive(&core, &bad));
    bad = good;
    bad.from = SELF;
    expect_assert_failure(core_receive(&core, &bad));
    bad = good;
    bad.from = 0;
    expect_assert_failure(core_receive(&core, &bad));
    bad = good;
    bad.from = 64;
    expect_assert_failure(core_receive(&core, &bad));
    bad = good;
    bad.term = 0;
    expect_assert_failure(core_receive(&core, &bad));
    bad = good;
    bad.append.prev = id(0, 5);
    expect_assert_failure(core_receive(&core, &bad));
    bad.append.prev = id(9, 5);
    expect_assert_failure(core_receive(&core, &bad));
    bad = core_vote_request(&core, 2, 8, id(9, 9));
    expect_assert_failure(core_receive(&core, &bad));
    bad = core_message(&core, RAFT_APPEND_REPLY, 2, 4);
    bad.append_reply.durable_index = 1;
    expect_assert_failure(core_receive(&core, &bad));
}

static void malformed_events_assert(void **state)
{
    (void)state;
    expect_assert_failure((void)!entry(id(4, 0), 0));
    expect_assert_failure((void)!entry(id(4, 6), 5));
    expect_assert_failure((void)!entry(id(4, 6), 0));
    expect_assert_failure((void)!core_entry(&core, SELF, id(4, 6), 2));
    expect_assert_failure(core_log_durable(&core, 1, 6));               /* Never written. */
    expect_assert_failure(core_log_durable(&core, 2, 5));               /* An epoch to come. */
    expect_assert_failure(core_cut_durable(&core, 2));                  /* No cut. */
    expect_assert_failure(core_event(&core, RAFT_EVENT_STATE_DURABLE)); /* No write. */
    core.now_ns -= 1;
    expect_assert_failure(core_event(&core, RAFT_EVENT_TICK));
}

static void malformed_configurations_assert(void **state)
{
    (void)state;
    struct raft_configuration good = core.recovered.configuration;
    core.recovered.configuration.voters |= set_of(9);
    expect_assert_failure(core_start(&core));
    core.recovered.configuration = good;
    core.recovered.configuration.members[1].id = 1;
    expect_assert_failure(core_start(&core));
    core.recovered.configuration = good;
    core.recovered.configuration.learners = set_of(1);
    expect_assert_failure(core_start(&core));
    core.recovered.configuration = good;
    core.recovered.configuration.members[0].store = 5; /* Another store's log. */
    expect_assert_failure(core_start(&core));
    core.recovered.configuration = good;
    core.config.heartbeat_ns = ELECTION_MIN_NS / 10 + 1;
    expect_assert_failure(core_start(&core));
}

static void recovered_log_that_lost_its_oldest_runs_starts_at_their_floor(void **state)
{
    (void)state;
    const uint64_t terms[] = {1, 2, 2, 3, 4};
    core_prepare_log(&core, 3, terms, 5);
    /* What the recovery kept: the runs from index 4 on. */
    core.recovered.floor = (struct raft_entry_id){2, 3};
    core.recovered.run_count = 2;
    core.runs[0] = (struct raft_run){3, 4};
    core.runs[1] = (struct raft_run){4, 5};
    core_start(&core);
    assert_int_equal(raft_last(core.raft).index, 5);
    assert_int_equal(raft_last(core.raft).term, 4);
    assert_int_equal(raft_entry_term(core.raft, 4), 3);
    assert_int_equal(raft_entry_term(core.raft, 3), 2);
    assert_int_equal(raft_entry_term(core.raft, 2), 0);
    core_fini(&core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recovered_log_that_lost_its_oldest_runs_starts_at_their_floor),
        cmocka_unit_test_setup_teardown(follower_takes_the_entry_after_its_last, follower, fini),
        cmocka_unit_test_setup_teardown(entry_that_is_there_already_changes_nothing, follower,
                                        fini),
        cmocka_unit_test_setup_teardown(entry_of_an_older_term_of_leader_is_refused, follower,
                                        fini),
        cmocka_unit_test_setup_teardown(unverified_tail_is_neither_acked_nor_committed, follower,
                                        fini),
        cmocka_unit_test_setup_teardown(new_term_verifies_from_the_commit_index, follower, fini),
        cmocka_unit_test_setup_teardown(commits_only_rise_and_each_is_told_once, follower, fini),
        cmocka_unit_test_setup_teardown(follower_acks_only_what_its_disk_has, follower, fini),
        cmocka_unit_test_setup_teardown(append_at_or_below_the_commit_index_is_matched, follower,
                                        fini),
        cmocka_unit_test_setup_teardown(mismatch_names_the_best_own_entry, follower, fini),
        cmocka_unit_test_setup_teardown(conflict_cuts_after_its_predecessor, follower, fini),
        cmocka_unit_test_setup_teardown(conflict_at_or_below_the_commit_index_is_not_believed,
                                        follower, fini),
        cmocka_unit_test_setup_teardown(cut_waits_until_what_it_keeps_is_durable, follower, fini),
        cmocka_unit_test_setup_teardown(entries_below_a_wanted_cut_are_still_written, follower,
                                        fini),
        cmocka_unit_test_setup_teardown(late_completion_of_a_cut_tail_does_not_count, follower,
                                        fini),
        cmocka_unit_test_setup_teardown(cut_is_carried_out_under_a_new_leader, follower, fini),
        cmocka_unit_test_setup_teardown(tail_above_a_wanted_cut_is_not_spoken_of, follower, fini),
        cmocka_unit_test_setup_teardown(wanted_cut_may_move_down, follower, fini),
        cmocka_unit_test_setup_teardown(nobody_campaigns_while_its_log_is_cut, follower, fini),
        cmocka_unit_test_setup_teardown(pre_candidate_follows_whoever_makes_it_cut, follower, fini),
        cmocka_unit_test_setup_teardown(configuration_counts_from_its_entry_and_goes_with_it,
                                        follower, fini),
        cmocka_unit_test_setup_teardown(first_configuration_that_is_cut_unpins_the_stores, follower,
                                        fini),
        cmocka_unit_test_setup_teardown(only_new_entries_are_signs_of_life, follower, fini),
        cmocka_unit_test_setup_teardown(ack_echoes_the_newest_append, follower, fini),
        cmocka_unit_test_setup_teardown(burst_of_entries_is_one_write_and_one_ack, follower, fini),
        cmocka_unit_test_setup_teardown(
            configuration_made_before_the_last_one_is_committed_is_refused, follower, fini),
        cmocka_unit_test_setup_teardown(second_leader_of_a_term_is_not_heard, follower, fini),
        cmocka_unit_test_setup_teardown(malformed_messages_assert, follower, fini),
        cmocka_unit_test_setup_teardown(malformed_events_assert, follower, fini),
        cmocka_unit_test_setup_teardown(malformed_configurations_assert, follower, fini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
