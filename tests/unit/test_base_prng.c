/* test_base_prng.c: the generator against published outputs, and the ranges drawn from it. */
#include "engine/base/prng.h"

#include "engine/base/assert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void seed_zero_gives_the_outputs_of_splitmix64_as_state(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 0);
    /* splitmix64's first outputs from 0, as its reference implementation prints them. */
    assert_true(prng.state[0] == 0xe220a8397b1dcdafu);
    assert_true(prng.state[1] == 0x6e789e6aa1b965f4u);
    assert_true(prng.state[2] == 0x06c45d188009454fu);
    assert_true(prng.state[3] == 0xf88bb8a8724c81ecu);
}

static void state_one_to_four_gives_the_published_sequence(void **state)
{
    (void)state;
    struct prng prng = {{1, 2, 3, 4}};
    /* xoshiro256** from {1, 2, 3, 4}: the test vector of rand_xoshiro. */
    const uint64_t expected[] = {11520,
                                 0,
                                 1509978240,
                                 1215971899390074240,
                                 1216172134540287360,
                                 607988272756665600,
                                 16172922978634559625u,
                                 8476171486693032832u};
    for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_true(prng_next(&prng) == expected[i]);
    }
}

static void same_seed_repeats_and_another_does_not(void **state)
{
    (void)state;
    struct prng a;
    struct prng b;
    struct prng c;
    prng_init(&a, 42);
    prng_init(&b, 42);
    prng_init(&c, 43);
    unsigned equal = 0;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t drawn = prng_next(&a);
        assert_true(drawn == prng_next(&b));
        equal += drawn == prng_next(&c);
    }
    assert_int_equal(equal, 0);
}

static void numbers_below_a_bound_reach_every_value_and_no_other(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 7);
    for (uint64_t bound = 1; bound <= 12; bound++) {
        unsigned seen[12] = {0};
        for (unsigned i = 0; i < 1200; i++) {
            uint64_t drawn = prng_below(&prng, bound);
            assert_true(drawn < bound);
            seen[drawn]++;
        }
        for (unsigned i = 0; i < bound; i++) {
            assert_true(seen[i] > 0);
        }
    }
}

static void numbers_below_a_huge_bound_stay_below_it(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 7);
    uint64_t bound = (1ull << 63) + 1; /* The bound that rejects most. */
    for (unsigned i = 0; i < 10000; i++) {
        assert_true(prng_below(&prng, bound) < bound);
    }
}

static void numbers_between_include_both_ends(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 7);
    bool low = false;
    bool high = false;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t drawn = prng_between(&prng, 10, 13);
        assert_true(drawn >= 10);
        assert_true(drawn <= 13);
        low = low || drawn == 10;
        high = high || drawn == 13;
    }
    assert_true(low);
    assert_true(high);
    assert_true(prng_between(&prng, 5, 5) == 5);
    (void)prng_between(&prng, 0, UINT64_MAX);
}

static void chance_zero_never_happens_and_a_million_always(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 7);
    unsigned quarter = 0;
    for (unsigned i = 0; i < 10000; i++) {
        assert_false(prng_chance(&prng, 0));
        assert_true(prng_chance(&prng, 1000000));
        quarter += prng_chance(&prng, 250000);
    }
    assert_in_range(quarter, 2200, 2800);
}

static void senseless_ranges_assert(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 7);
    expect_assert_failure(prng_below(&prng, 0));
    expect_assert_failure(prng_between(&prng, 2, 1));
    expect_assert_failure(prng_chance(&prng, 1000001));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seed_zero_gives_the_outputs_of_splitmix64_as_state),
        cmocka_unit_test(state_one_to_four_gives_the_published_sequence),
        cmocka_unit_test(same_seed_repeats_and_another_does_not),
        cmocka_unit_test(numbers_below_a_bound_reach_every_value_and_no_other),
        cmocka_unit_test(numbers_below_a_huge_bound_stay_below_it),
        cmocka_unit_test(numbers_between_include_both_ends),
        cmocka_unit_test(chance_zero_never_happens_and_a_million_always),
        cmocka_unit_test(senseless_ranges_assert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
