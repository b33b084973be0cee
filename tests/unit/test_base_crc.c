/* test_base_crc.c: the checksum against the standard's value, a bitwise model and itself chained.
 */
#include "engine/base/crc.h"

#include "engine/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* The definition, bit by bit: reflected polynomial 0x82f63b78. */
static uint32_t crc32c_bitwise(uint32_t seed, const uint8_t *bytes, uint64_t count)
{
    uint32_t state = ~seed;
    for (uint64_t i = 0; i < count; i++) {
        state ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            state = (state >> 1) ^ ((state & 1) != 0 ? 0x82f63b78u : 0);
        }
    }
    return ~state;
}

static void crc_of_the_check_string_is_the_standards(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
}

static void crc_of_nothing_is_its_seed(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, NULL, 0), 0);
    assert_int_equal(crc32c(0x12345678, "", 0), 0x12345678);
}

static void crc_equals_its_definition_at_every_length_and_alignment(void **state)
{
    (void)state;
    uint64_t seed = 1;
    printf("seed %llu\n", (unsigned long long)seed);
    struct prng prng;
    prng_init(&prng, seed);
    uint8_t bytes[600];
    for (unsigned i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)prng_next(&prng);
    }
    for (unsigned count = 0; count < 520; count++) {
        for (unsigned from = 0; from < 9; from++) {
            uint32_t begin = (uint32_t)prng_next(&prng);
            uint32_t expected = crc32c_bitwise(begin, bytes + from, count);
            assert_int_equal(crc32c(begin, bytes + from, count), expected);
        }
    }
}

static void crc_chains_over_any_split(void **state)
{
    (void)state;
    uint8_t bytes[100];
    for (unsigned i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37);
    }
    uint32_t whole = crc32c(0, bytes, sizeof bytes);
    for (unsigned split = 0; split <= sizeof bytes; split++) {
        uint32_t first = crc32c(0, bytes, split);
        assert_int_equal(crc32c(first, bytes + split, sizeof bytes - split), whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_of_the_check_string_is_the_standards),
        cmocka_unit_test(crc_of_nothing_is_its_seed),
        cmocka_unit_test(crc_equals_its_definition_at_every_length_and_alignment),
        cmocka_unit_test(crc_chains_over_any_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
