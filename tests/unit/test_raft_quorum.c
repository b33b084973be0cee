/* test_raft_quorum.c: majorities, joint majorities and quorum values (rules B2, F2, I3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/base/prng.h"
#include "engine/raft/quorum.h"

#define SEED  20240611u
#define TRIES 20000u

static raft_set first_nodes(uint32_t count)
{
    return ((raft_set)2 << count) - 2;
}

static void majority_is_more_than_half_of_one_to_seven_voters(void **state)
{
    (void)state;
    for (uint32_t voters = 1; voters <= VOTERS_MAX; voters++) {
        for (uint32_t yes = 0; yes <= voters; yes++) {
            bool expected = 2 * yes > voters;
            assert_int_equal(quorum_majority(first_nodes(voters), first_nodes(yes)), expected);
        }
    }
}

static void those_who_do_not_vote_do_not_count(void **state)
{
    (void)state;
    raft_set strangers = set_of(10) | set_of(63);
    assert_false(quorum_majority(first_nodes(3), set_of(1) | strangers));
    assert_true(quorum_majority(first_nodes(3), set_of(1) | set_of(3)));
}

static void joint_configuration_needs_both_halves(void **state)
{
    (void)state;
    struct raft_configuration joint = {.voters = first_nodes(3),
                                       .outgoing = set_of(3) | set_of(4) | set_of(5)};
    assert_false(quorum_agrees(&joint, set_of(1) | set_of(2)));
    assert_false(quorum_agrees(&joint, set_of(4) | set_of(5)));
    assert_false(quorum_agrees(&joint, set_of(3)));
    assert_true(quorum_agrees(&joint, set_of(1) | set_of(3) | set_of(4)));
    assert_true(quorum_agrees(&joint, first_nodes(5)));
}

static void nobody_decides_for_a_configuration_without_voters(void **state)
{
    (void)state;
    struct raft_configuration none = {.voters = 0};
    uint64_t values[NODE_ID_MAX + 1] = {0};
    assert_false(quorum_agrees(&none, ~(raft_set)0));
    assert_int_equal(quorum_value(&none, values), 0);
    assert_int_equal(quorum_value_of_all(&none, values), 0);
}

/* A value is reached when those who have it agree: the definition, against the shortcut. */
static uint64_t slow_value(const struct raft_configuration *configuration, const uint64_t *values)
{
    uint64_t best = 0;
    for (uint8_t candidate = 1; candidate <= NODE_ID_MAX; candidate++) {
        raft_set reached = 0;
        for (uint8_t id = 1; id <= NODE_ID_MAX; id++) {
            reached |= values[id] >= values[candidate] ? set_of(id) : 0;
        }
        if (quorum_agrees(configuration, reached) && values[candidate] > best) {
            best = values[candidate];
        }
    }
    return best;
}

static raft_set random_voters(struct prng *prng)
{
    raft_set voters = 0;
    uint64_t count = prng_between(prng, 1, VOTERS_MAX);
    while (set_count(voters) < count) {
        voters |= set_of((uint8_t)prng_between(prng, 1, NODE_ID_MAX));
    }
    return voters;
}

static void quorum_value_is_what_a_quorum_has_reached(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, SEED);
    printf("seed %u\n", SEED);
    for (uint32_t i = 0; i < TRIES; i++) {
        struct raft_configuration configuration = {.voters = random_voters(&prng)};
        uint64_t values[NODE_ID_MAX + 1] = {0};
        if (prng_chance(&prng, 500000)) {
            configuration.outgoing = random_voters(&prng);
        }
        for (uint8_t id = 1; id <= NODE_ID_MAX; id++) {
            values[id] = prng_below(&prng, 12);
        }
        assert_int_equal(quorum_value(&configuration, values), slow_value(&configuration, values));
    }
}

static void everybodys_value_is_the_lowest_of_both_halves(void **state)
{
    (void)state;
    struct raft_configuration joint = {.voters = first_nodes(3), .outgoing = set_of(3) | set_of(4)};
    uint64_t values[NODE_ID_MAX + 1] = {0, 9, 8, 7, 2, 1};
    assert_int_equal(quorum_value_of_all(&joint, values), 2);
    joint.outgoing = 0;
    assert_int_equal(quorum_value_of_all(&joint, values), 7);
}

static void id_outside_of_the_set_asserts(void **state)
{
    (void)state;
    expect_assert_failure(set_of(0));
    expect_assert_failure(set_of(64));
    expect_assert_failure(set_first(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(majority_is_more_than_half_of_one_to_seven_voters),
        cmocka_unit_test(those_who_do_not_vote_do_not_count),
        cmocka_unit_test(joint_configuration_needs_both_halves),
        cmocka_unit_test(nobody_decides_for_a_configuration_without_voters),
        cmocka_unit_test(quorum_value_is_what_a_quorum_has_reached),
        cmocka_unit_test(everybodys_value_is_the_lowest_of_both_halves),
        cmocka_unit_test(id_outside_of_the_set_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
