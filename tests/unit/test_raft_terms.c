/* test_raft_terms.c: runs of terms against a plain array of terms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/base/prng.h"
#include "engine/raft/terms.h"

#define SEED       4711u
#define ROUNDS     60u
#define OPERATIONS 2000u
#define INDEX_MAX  200000u

/* The naive log: the term of every entry; 0 below the floor. */
static uint64_t naive[INDEX_MAX + 1];
static struct terms terms;

static struct raft_entry_id id(uint64_t term, uint64_t index)
{
    return (struct raft_entry_id){term, index};
}

static void assert_id(struct raft_entry_id got, uint64_t term, uint64_t index)
{
    assert_int_equal(got.term, term);
    assert_int_equal(got.index, index);
}

static struct raft_entry_id naive_at_most(struct raft_entry_id bound)
{
    uint64_t index = bound.index < terms.last_index ? bound.index : terms.last_index;
    while (index > terms.floor.index && naive[index] > bound.term) {
        index--;
    }
    if (index < terms.floor.index || naive[index] == 0 || naive[index] > bound.term) {
        return id(0, 0);
    }
    return id(naive[index], index);
}

static void compare(struct prng *prng)
{
    uint64_t index = prng_below(prng, terms.last_index + 3);
    uint64_t expected = index >= terms.floor.index && index <= terms.last_index ? naive[index] : 0;
    assert_int_equal(terms_at(&terms, index), expected);
    assert_id(terms_last(&terms), naive[terms.last_index], terms.last_index);

    struct raft_entry_id bound = id(prng_below(prng, terms_last(&terms).term + 2), index);
    struct raft_entry_id found = terms_at_most(&terms, bound);
    struct raft_entry_id slow = naive_at_most(bound);
    assert_id(found, slow.term, slow.index);
}

static void append_some(struct prng *prng)
{
    uint64_t term = terms_last(&terms).term;
    uint64_t count = prng_between(prng, 1, 5);
    term += term == 0 || prng_chance(prng, 300000) ? prng_between(prng, 1, 3) : 0;
    for (uint64_t i = 0; i < count && terms.last_index < INDEX_MAX; i++) {
        terms_append(&terms, id(term, terms.last_index + 1));
        naive[terms.last_index] = term;
    }
}

static void change(struct prng *prng)
{
    uint64_t kept = terms.last_index - terms.floor.index;
    uint64_t dice = prng_below(prng, 100);

    if (dice < 80) {
        append_some(prng);
    } else if (dice < 92) {
        terms_cut(&terms, terms.last_index - prng_below(prng, kept < 10 ? kept + 1 : 10));
    } else {
        uint64_t index = terms.floor.index + prng_below(prng, kept < 10 ? kept + 1 : 10);
        terms_trim(&terms, id(naive[index], index));
        assert_int_equal(terms.floor.index, index);
    }
}

static void runs_answer_like_an_array_of_terms(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, SEED);
    printf("seed %u\n", SEED);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        terms_init(&terms, id(0, 0));
        naive[0] = 0;
        for (uint32_t i = 0; i < OPERATIONS; i++) {
            change(&prng);
            compare(&prng);
        }
    }
}

static void oldest_run_is_dropped_and_the_floor_rises(void **state)
{
    (void)state;
    terms_init(&terms, id(0, 0));
    for (uint64_t term = 1; term <= TERM_RUNS_MAX + 10; term++) {
        terms_append(&terms, id(term, 2 * term - 1));
        terms_append(&terms, id(term, 2 * term));
    }
    assert_int_equal(terms.run_count, TERM_RUNS_MAX);
    assert_id(terms.floor, 10, 20);
    assert_int_equal(terms_at(&terms, 19), 0);
    assert_int_equal(terms_at(&terms, 20), 10);
    assert_int_equal(terms_at(&terms, 21), 11);
    assert_id(terms_at_most(&terms, id(10, 1000)), 10, 20);
    assert_id(terms_at_most(&terms, id(9, 1000)), 0, 0);
    terms_trim(&terms, id(7, 14)); /* Below the floor: known already to be gone. */
    assert_id(terms.floor, 10, 20);
}

/* The logs of figure 7: the leader's, and what each follower answers to a probe at its end (C8). */
static void figure_seven_finds_the_common_prefix_in_few_probes(void **state)
{
    static const struct {
        uint64_t log[13];
        uint32_t length;
        uint32_t common;
    } followers[] = {
        {{1, 1, 1, 4, 4, 5, 5, 6, 6}, 9, 9},
        {{1, 1, 1, 4}, 4, 4},
        {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6}, 11, 10},
        {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7}, 12, 10},
        {{1, 1, 1, 4, 4, 4, 4}, 7, 5},
        {{1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3}, 11, 3},
    };
    static const uint64_t leader_log[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
    static struct terms leader;

    (void)state;
    terms_init(&leader, id(0, 0));
    for (uint64_t i = 0; i < 10; i++) {
        terms_append(&leader, id(leader_log[i], i + 1));
    }
    for (uint32_t f = 0; f < sizeof followers / sizeof followers[0]; f++) {
        terms_init(&terms, id(0, 0));
        for (uint32_t i = 0; i < followers[f].length; i++) {
            terms_append(&terms, id(followers[f].log[i], i + 1));
        }
        uint64_t index = leader.last_index;
        uint32_t probes = 1;
        while (terms_at(&terms, index) != terms_at(&leader, index)) {
            struct raft_entry_id hint = terms_at_most(&terms, id(terms_at(&leader, index), index));
            index = terms_at_most(&leader, hint).index;
            probes++;
            assert_true(probes <= 4); /* At most one a term. */
        }
        assert_int_equal(index, followers[f].common);
    }
}

static void wrong_use_asserts(void **state)
{
    (void)state;
    terms_init(&terms, id(0, 0));
    expect_assert_failure(terms_init(&terms, id(0, 1)));
    expect_assert_failure(terms_append(&terms, id(1, 2)));
    expect_assert_failure(terms_append(&terms, id(0, 1)));
    terms_append(&terms, id(5, 1));
    expect_assert_failure(terms_append(&terms, id(4, 2)));
    expect_assert_failure(terms_cut(&terms, 2));
    expect_assert_failure(terms_trim(&terms, id(5, 2)));
    expect_assert_failure(terms_trim(&terms, id(4, 1)));
    terms_trim(&terms, id(5, 1));
    expect_assert_failure(terms_cut(&terms, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_answer_like_an_array_of_terms),
        cmocka_unit_test(oldest_run_is_dropped_and_the_floor_rises),
        cmocka_unit_test(figure_seven_finds_the_common_prefix_in_few_probes),
        cmocka_unit_test(wrong_use_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
