/* test_health.c: what the answers of the nodes mean for the cluster. */
#include "engine/cli/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NODES  3u
#define VOTERS (1u << 1 | 1u << 2 | 1u << 3)

struct world {
    struct config config;
    struct ask_answer answers[VOTERS_MAX];
    struct health health;
};

/* Three sound nodes, led by node 2 in term 5. */
static struct world sound(void)
{
    struct world w = {.config = {.node_count = NODES}};
    for (uint32_t i = 0; i < NODES; i++) {
        bool leads = i == 1;
        w.config.nodes[i].id = (uint8_t)(i + 1);
        w.answers[i] = (struct ask_answer){
            .reachable = true,
            .status = {.role = leads ? WIRE_LEADER : WIRE_FOLLOWER,
                       .leader = 2,
                       .durable = true,
                       .bootstrapped = true,
                       .takes_proposals = leads,
                       .term = 5,
                       .voters = VOTERS},
        };
    }
    return w;
}

static void judge(struct world *w)
{
    health_judge(&w->health, &w->config, w->answers);
}

static bool says(const struct world *w, const char *words)
{
    for (uint32_t i = 0; i < w->health.note_count; i++) {
        if (strstr(w->health.notes[i], words) != NULL) {
            return true;
        }
    }
    return false;
}

static void damaged_node_is_faulty_and_named_with_whom_it_waits_for(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[0].status = (struct wire_status_reply){.faulty = true, .voters = VOTERS};
    judge(&w);
    assert_true(w.health.available);
    assert_false(w.health.healthy);
    assert_int_equal(w.health.note_count, 1);
    assert_true(says(&w, "node 1 is faulty: it mends its log"));
    w.answers[0].status.waiting = 1u << 2 | 1u << 3;
    judge(&w);
    assert_true(
        says(&w, "node 1 is faulty: it mends its log and waits for an entry of nodes 2, 3"));
}

static void node_that_lost_an_end_and_one_whose_disk_went_back_are_named(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[0].status.bounded = true;
    judge(&w);
    assert_true(w.health.available);
    assert_false(w.health.healthy);
    assert_int_equal(w.health.note_count, 1);
    assert_true(says(&w, "node 1 has lost an end of its log"));
    w = sound();
    w.answers[1].status.regressed = 1u << 3;
    judge(&w);
    assert_false(w.health.healthy);
    assert_int_equal(w.health.note_count, 1);
    assert_true(says(&w, "the log of node 3 lacks entries that it had acknowledged"));
    w.answers[0].status.regressed = 1u << 1; /* Of a follower: the leader's word is newer. */
    judge(&w);
    assert_int_equal(w.health.note_count, 1);
    w.answers[1].reachable = false;
    judge(&w);
    assert_false(w.health.available);
    assert_true(says(&w, "the log of node 1 lacks entries that it had acknowledged"));
}

static void nodes_of_which_none_can_ever_lead_are_told_what_is_left(void **state)
{
    (void)state;
    struct world w = sound();
    for (uint32_t i = 0; i < w.config.node_count; i++) {
        bool faulty = i == 0;
        w.answers[i].status = (struct wire_status_reply){
            .faulty = faulty, .bounded = !faulty, .voters = VOTERS, .term = 5};
    }
    judge(&w);
    assert_false(w.health.available);
    assert_true(says(&w, "nobody can lead"));
    assert_true(says(&w, "--discard-suspect"));
    char line[HEALTH_LINE_BYTES];
    assert_non_null(strstr(health_line(&w.health, line), "node 3 has lost an end of its log"));
    w.answers[2].reachable = false; /* It may have what the others wait for. */
    judge(&w);
    assert_false(says(&w, "nobody can lead"));
    assert_true(says(&w, "nobody leads"));
}

static void node_whose_log_rotted_and_waits_is_named_and_serves(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[1].status.unmended = true;
    judge(&w);
    assert_true(w.health.available);
    assert_false(w.health.healthy);
    assert_int_equal(w.health.note_count, 1);
    assert_true(says(&w, "node 2 serves, but some of its log is damaged"));
}

static void full_log_is_told_with_the_smallest_one_and_what_makes_room(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[1].status.full = true;
    judge(&w);
    assert_true(w.health.available);
    assert_false(w.health.healthy);
    assert_int_equal(w.health.note_count, 1);
    assert_true(says(&w, "the log is full: appends are refused"));
    assert_true(says(&w, "`retention` in [storage]"));
    w.answers[1].status.smallest = 3;
    judge(&w);
    assert_true(says(&w, "the log is full, judged by that of node 3, the smallest: "));
    assert_true(says(&w, "start all nodes again, one after the other"));
}

static void where_no_node_answers_that_is_said_and_who_was_asked(void **state)
{
    (void)state;
    struct world w = sound();
    w.config.node_count = VOTERS_MAX;
    for (uint32_t i = 0; i < VOTERS_MAX; i++) {
        w.config.nodes[i].id = (uint8_t)(i + 1);
        w.config.nodes[i].address = (struct nic_address){.ipv4 = 0xc8c8c8c8, .port = 50000};
        w.answers[i].reachable = false;
    }
    w.config.nodes[VOTERS_MAX - 1].address = (struct nic_address){.ipv4 = 0x7f000001, .port = 7003};
    judge(&w);
    assert_false(w.health.available);
    assert_true(says(&w, "no node answers at 200.200.200.200:50000, "));
    assert_true(says(&w, "127.0.0.1:7003: nothing runs there, or not with this [cluster] id"));
    assert_false(says(&w, "nobody leads"));
    w.answers[1].pid = 4711; /* Something does run, on this machine. */
    judge(&w);
    assert_true(says(&w, "127.0.0.1:7003"));
    assert_false(says(&w, "nothing runs there"));
    assert_true(says(&w, "its process 4711"));
    w.answers[0].reachable = true;
    judge(&w);
    assert_true(says(&w, "nobody leads"));
    assert_false(says(&w, "no node answers"));
}

static void diverged_node_is_told_with_what_to_compare(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[2].status.diverged = true;
    judge(&w);
    assert_true(w.health.available);
    assert_false(w.health.healthy);
    assert_int_equal(w.health.note_count, 1);
    assert_true(
        says(&w, "node 3: entries are committed there that the leader has not got: a disk"));
    assert_true(says(&w, "`thole log diff`, and bring back the right one"));
    w = sound();
    w.answers[1].status.diverged = true; /* It leads. */
    judge(&w);
    assert_false(w.health.healthy);
    assert_true(says(&w, "node 2 leads, and is told of entries that it has not got: a disk"));
    assert_int_equal(w.health.diverged, 1u << 2);
    w.answers[1].status.commit_index = 36; /* And by whom, is seen. */
    w.answers[0].status.commit_index = 36;
    w.answers[2].status.commit_index = 73;
    judge(&w);
    assert_int_equal(w.health.note_count, 1);
    assert_true(
        says(&w, "node 3: entries are committed there that the leader has not got: a disk"));
    assert_int_equal(w.health.diverged, 1u << 3);
    w.answers[1].status.diverged = false; /* Without its word, it only answered a moment later. */
    judge(&w);
    assert_true(w.health.healthy);
}

static void three_sound_nodes_are_healthy(void **state)
{
    (void)state;
    struct world w = sound();
    judge(&w);
    assert_true(w.health.healthy);
    assert_true(w.health.available);
    assert_int_equal(w.health.leader, 2);
    assert_int_equal(w.health.note_count, 0);
    char line[HEALTH_LINE_BYTES];
    assert_string_equal(health_line(&w.health, line), "healthy: node 2 leads 3 nodes in term 5");
}

static void voter_that_does_not_answer_leaves_it_available_and_not_healthy(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[2] = (struct ask_answer){0};
    judge(&w);
    assert_true(w.health.available);
    assert_false(w.health.healthy);
    assert_true(says(&w, "node 3 does not answer"));
    char line[HEALTH_LINE_BYTES];
    assert_non_null(strstr(health_line(&w.health, line), "degraded: 2 of 3 nodes answer; node 3"));
}

static void silent_node_whose_process_is_seen_is_not_told_to_be_started(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[2] = (struct ask_answer){0};
    judge(&w);
    assert_true(says(&w, "node 3 does not answer: start it with `thole start -c FILE --node 3`, or "
                         "look why it hangs"));
    w.answers[2].pid = 77;
    judge(&w);
    assert_int_equal(w.health.note_count, 1);
    assert_true(says(&w, "node 3 does not answer, but its process 77 is there and has its log"));
    assert_false(says(&w, "thole start"));
    w.answers[2].stopped = true;
    judge(&w);
    assert_int_equal(w.health.note_count, 1);
    assert_true(says(&w, "node 3 does not answer: its process 77 is stopped; `kill -CONT 77`"));
}

static void node_that_is_no_voter_may_be_away(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[1].status.voters = 1u << 1 | 1u << 2;
    w.answers[2] = (struct ask_answer){0};
    judge(&w);
    assert_true(w.health.healthy);
}

static void leader_that_does_not_answer_itself_is_nobody(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[1] = (struct ask_answer){0};
    judge(&w);
    assert_int_equal(w.health.leader, 0);
    assert_int_equal(w.health.term, 5);
    assert_false(w.health.available);
    assert_true(says(&w, "nobody leads"));
}

static void leader_of_the_highest_term_counts(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[2].status = w.answers[1].status;
    w.answers[2].status.leader = 3;
    w.answers[2].status.term = 6;
    w.answers[2].status.takes_proposals = false;
    judge(&w);
    assert_int_equal(w.health.leader, 3);
    assert_int_equal(w.health.term, 6);
    assert_false(w.health.available);
    assert_true(says(&w, "takes no appends yet"));
}

static void first_start_names_whom_it_waits_for(void **state)
{
    (void)state;
    struct world w = sound();
    for (uint32_t i = 0; i < NODES; i++) {
        w.answers[i].status.bootstrapped = false;
    }
    w.answers[1].status.takes_proposals = false;
    w.answers[1].status.waiting = 1u << 1 | 1u << 3;
    judge(&w);
    assert_false(w.health.available);
    assert_int_equal(w.health.leader, 2);
    assert_true(says(&w, "the first start waits for nodes 1, 3:"));
    assert_int_equal(w.health.note_count, 1);
}

static void voter_that_has_not_heard_of_the_first_commit_is_not_healthy_yet(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[0].status.bootstrapped = false;
    judge(&w);
    assert_true(w.health.available);
    assert_false(w.health.healthy);
    assert_true(says(&w, "node 1 has not heard yet"));
}

static void stranger_and_degraded_node_are_named(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[1].status.strangers = 1u << 1;
    w.answers[0].status.bootstrapped = false;
    w.answers[2].status.degraded = true;
    judge(&w);
    assert_true(w.health.available);
    assert_false(w.health.healthy);
    assert_true(says(&w, "the log of node 1 is a stranger's"));
    assert_true(says(&w, "node 3 is degraded"));
    assert_int_equal(w.health.note_count, 2);
}

static void disk_that_is_slowed_on_request_makes_nobody_unhealthy(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[2].status.slowed = true;
    w.answers[0].status.slowed = true;
    w.answers[0].reachable = false; /* What it said before does not count. */
    judge(&w);
    assert_true(w.health.slowed == 1u << 3);
    w.answers[0].reachable = true;
    judge(&w);
    assert_true(w.health.healthy);
    assert_true(w.health.slowed == (1u << 3 | 1u << 1));
}

static void disk_without_io_uring_is_told_and_makes_nobody_unhealthy(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[1].status.posix = true;
    judge(&w);
    assert_true(w.health.healthy);
    assert_true(w.health.posix == 1u << 2);
    char line[HEALTH_LINE_BYTES];
    assert_non_null(strstr(health_line(&w.health, line), "degraded on request: node 2 without"));
    w.answers[1].reachable = false;
    judge(&w);
    assert_true(w.health.posix == 0);
    assert_null(strstr(health_line(&w.health, line), "io_uring"));
}

static void voter_without_an_address_is_told(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[1].status.voters = VOTERS | 1u << 9;
    judge(&w);
    assert_false(w.health.healthy);
    assert_true(says(&w, "no address for node 9"));
}

static void everything_wrong_at_once_still_fits(void **state)
{
    (void)state;
    struct world w = sound();
    w.config.node_count = VOTERS_MAX;
    for (uint32_t i = 0; i < VOTERS_MAX; i++) {
        w.config.nodes[i].id = (uint8_t)(i + 1);
        w.answers[i].reachable = true;
        w.answers[i].status.degraded = true;
        w.answers[i].status.diverged = true;
        w.answers[i].status.unmended = true;
    }
    w.answers[1].status.voters = UINT64_MAX & ~1ull;
    w.answers[1].status.strangers = 1ull << 63;
    w.answers[1].status.takes_proposals = false;
    judge(&w);
    assert_true(w.health.note_count >= VOTERS_MAX + 3);
    assert_true(w.health.note_count <= HEALTH_NOTES_MAX);
    char line[HEALTH_LINE_BYTES];
    assert_true(strlen(health_line(&w.health, line)) < HEALTH_LINE_BYTES);
}

static void node_behind_the_log_start_is_named_with_what_mends_it(void **state)
{
    (void)state;
    struct world w = sound();
    w.answers[1].status.behind = 1u << 3;
    judge(&w);
    assert_true(w.health.available);
    assert_false(w.health.healthy);
    assert_int_equal(w.health.behind, 1u << 3);
    assert_true(says(&w, "node 3 fell behind the log start of node 2"));
    assert_true(says(&w, "snapshot"));
    char line[HEALTH_LINE_BYTES];
    assert_non_null(strstr(health_line(&w.health, line), "node 3 fell behind"));
}

static void leader_that_the_file_does_not_have_is_named_by_the_others(void **state)
{
    (void)state;
    struct world w = sound();
    w.config.nodes[1] = w.config.nodes[2]; /* Node 2, which leads, is not in the file. */
    w.answers[1] = w.answers[2];
    w.config.node_count = 2;
    judge(&w);
    assert_false(w.health.available);
    assert_int_equal(w.health.leader, 0);
    assert_int_equal(w.health.unnamed, 2);
    assert_true(says(&w, "node 2 leads, by the word of who answers"));
    assert_false(says(&w, "nobody leads"));
    w.answers[0].status.term = 6; /* A newer term, in which nobody is known to lead. */
    w.answers[0].status.leader = 0;
    judge(&w);
    assert_int_equal(w.health.unnamed, 0);
    assert_true(says(&w, "nobody leads"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_node_is_faulty_and_named_with_whom_it_waits_for),
        cmocka_unit_test(node_that_lost_an_end_and_one_whose_disk_went_back_are_named),
        cmocka_unit_test(nodes_of_which_none_can_ever_lead_are_told_what_is_left),
        cmocka_unit_test(node_whose_log_rotted_and_waits_is_named_and_serves),
        cmocka_unit_test(full_log_is_told_with_the_smallest_one_and_what_makes_room),
        cmocka_unit_test(where_no_node_answers_that_is_said_and_who_was_asked),
        cmocka_unit_test(diverged_node_is_told_with_what_to_compare),
        cmocka_unit_test(three_sound_nodes_are_healthy),
        cmocka_unit_test(voter_that_does_not_answer_leaves_it_available_and_not_healthy),
        cmocka_unit_test(silent_node_whose_process_is_seen_is_not_told_to_be_started),
        cmocka_unit_test(node_that_is_no_voter_may_be_away),
        cmocka_unit_test(leader_that_does_not_answer_itself_is_nobody),
        cmocka_unit_test(leader_of_the_highest_term_counts),
        cmocka_unit_test(first_start_names_whom_it_waits_for),
        cmocka_unit_test(voter_that_has_not_heard_of_the_first_commit_is_not_healthy_yet),
        cmocka_unit_test(stranger_and_degraded_node_are_named),
        cmocka_unit_test(disk_without_io_uring_is_told_and_makes_nobody_unhealthy),
        cmocka_unit_test(disk_that_is_slowed_on_request_makes_nobody_unhealthy),
        cmocka_unit_test(voter_without_an_address_is_told),
        cmocka_unit_test(everything_wrong_at_once_still_fits),
        cmocka_unit_test(node_behind_the_log_start_is_named_with_what_mends_it),
        cmocka_unit_test(leader_that_the_file_does_not_have_is_named_by_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
