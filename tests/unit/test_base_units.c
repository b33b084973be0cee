/* test_base_units.c: durations, sizes and rates as people write them.
 */
#include "engine/base/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void duration_is_a_number_and_its_unit(void **state)
{
    (void)state;
    const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"0", 0},
        {"20us", 20000},
        {"150ms", 150000000},
        {"1s", 1000000000},
        {"1.5ms", 1500000},
        {"0.000001ms", 1},
        {"7ns", 7},
        {"2min", 120000000000ull},
        {"1h", 3600000000000ull},
        {"18446744072s", 18446744072000000000ull},
    };
    for (uint32_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t ns = 99;
        assert_true(units_parse_duration(good[i].text, &ns));
        assert_int_equal(ns, good[i].ns);
    }
    const char *const bad[] = {"",
                               "1",
                               "ms",
                               "1 ms",
                               " 1ms",
                               "1ms ",
                               "-1ms",
                               "+1ms",
                               "1Ms",
                               "1m",
                               "1.ms",
                               ".5ms",
                               "1..5ms",
                               "1e3ms",
                               "0x1ms",
                               "1ms2s",
                               "0.5ns",
                               "1.0000000001s",
                               "18446744073710s0",
                               "18446744075s",
                               "99999999999999999999ns",
                               "18446744073709551616ns"};
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t ns = 99;
        assert_false(units_parse_duration(bad[i], &ns));
        assert_int_equal(ns, 99);
    }
}

static void range_is_two_durations_in_order(void **state)
{
    (void)state;
    uint64_t min_ns = 0;
    uint64_t max_ns = 0;
    assert_true(units_parse_range("150ms-300ms", &min_ns, &max_ns));
    assert_int_equal(min_ns, 150000000);
    assert_int_equal(max_ns, 300000000);
    assert_true(units_parse_range("10ms-10ms", &min_ns, &max_ns));
    const char *const bad[] = {"150ms",  "300ms-150ms", "-150ms",
                               "150ms-", "1ms-2ms-3ms", "1ms - 2ms"};
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(units_parse_range(bad[i], &min_ns, &max_ns));
    }
    assert_int_equal(max_ns, 10000000);
}

static void size_counts_in_powers_of_two(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    assert_true(units_parse_size("256MiB", &bytes));
    assert_int_equal(bytes, 256u << 20);
    assert_true(units_parse_size("64KiB", &bytes));
    assert_int_equal(bytes, 65536);
    assert_true(units_parse_size("4096", &bytes));
    assert_int_equal(bytes, 4096);
    assert_true(units_parse_size("1.5GiB", &bytes));
    assert_int_equal(bytes, 1610612736);
    assert_true(units_parse_size("16777215TiB", &bytes));
    const char *const bad[] = {"", "256MB", "256M", "256mib", "0.3", "1.3KiB", "16777216TiB", "-1"};
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(units_parse_size(bad[i], &bytes));
    }
}

static void rate_counts_in_thousands_or_is_max(void **state)
{
    (void)state;
    uint64_t per_s = 0;
    assert_true(units_parse_rate("50k", &per_s));
    assert_int_equal(per_s, 50000);
    assert_true(units_parse_rate("1M", &per_s));
    assert_int_equal(per_s, 1000000);
    assert_true(units_parse_rate("1.25M", &per_s));
    assert_int_equal(per_s, 1250000);
    assert_true(units_parse_rate("20000", &per_s));
    assert_int_equal(per_s, 20000);
    assert_true(units_parse_rate("max", &per_s));
    assert_true(per_s == UNITS_RATE_MAX);
    const char *const bad[] = {"", "50K", "50 k", "fast", "k", "50k/s", "0.5", "maximum"};
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(units_parse_rate(bad[i], &per_s));
    }
}

static void percent_is_at_most_a_hundred_in_steps_of_a_ten_thousandth(void **state)
{
    (void)state;
    uint64_t ppm = 77;
    assert_true(units_parse_percent("0.5", &ppm));
    assert_int_equal(ppm, 5000);
    assert_true(units_parse_percent("100", &ppm));
    assert_int_equal(ppm, 1000000);
    assert_true(units_parse_percent("0", &ppm));
    assert_int_equal(ppm, 0);
    assert_true(units_parse_percent("0.0001", &ppm));
    assert_int_equal(ppm, 1);
    const char *const bad[] = {"", "100.1", "101", "-1", "5%", "0.00001", ".5", "5 "};
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(units_parse_percent(bad[i], &ppm));
        assert_int_equal(ppm, 1);
    }
}

static void number_is_digits_alone_and_within_its_bounds(void **state)
{
    (void)state;
    uint64_t number = 77;
    assert_true(units_parse_number("3", 1, 7, &number));
    assert_int_equal(number, 3);
    assert_true(units_parse_number("18446744073709551609", 0, UINT64_MAX, &number));
    assert_true(number == 18446744073709551609ull);
    const char *const bad[] = {"",  "3x", "x3", " 3",  "3 ",         "+3",  "-3",
                               "0", "8",  "3.", "3.0", "4294967299", "0x3", "18446744073709551619"};
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        number = 77;
        assert_false(units_parse_number(bad[i], 1, 7, &number));
        assert_int_equal(number, 77);
    }
}

static void a_list_of_numbers_is_taken_whole_or_not_at_all(void **state)
{
    (void)state;
    int numbers[3] = {0};
    uint32_t count = 0;
    assert_true(units_parse_numbers("7", 9, numbers, 3, &count));
    assert_int_equal(count, 1);
    assert_int_equal(numbers[0], 7);
    assert_true(units_parse_numbers("0,9,1", 9, numbers, 3, &count));
    assert_int_equal(count, 3);
    assert_int_equal(numbers[1], 9);
    static const char *const wrong[] = {"",        ",",  "1,", ",1", "1,,2",
                                        "1,2,3,4", "10", "-1", "1 ", "a"};
    for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(units_parse_numbers(wrong[i], 9, numbers, 3, &count));
    }
    assert_int_equal(count, 3);
}

static void formatted_numbers_have_three_digits_or_are_exact(void **state)
{
    (void)state;
    char text[UNITS_TEXT_BYTES];
    assert_string_equal(units_format_duration(0, text), "0 ns");
    assert_string_equal(units_format_duration(842, text), "842 ns");
    assert_string_equal(units_format_duration(12345, text), "12.3 us");
    assert_string_equal(units_format_duration(1234567, text), "1.23 ms");
    assert_string_equal(units_format_duration(15000000, text), "15 ms");
    assert_string_equal(units_format_duration(5000000000, text), "5 s");
    assert_string_equal(units_format_size(100, text), "100 B");
    assert_string_equal(units_format_size(256u << 20, text), "256 MiB");
    assert_string_equal(units_format_size(1610612736, text), "1.50 GiB");
    assert_string_equal(units_format_rate(50000, text), "50 k");
    assert_string_equal(units_format_rate(123456, text), "123 k");
    assert_string_equal(units_format_rate(7, text), "7");
    assert_string_equal(units_format_rate(UNITS_RATE_MAX, text), "max");
    assert_non_null(units_format_size(UINT64_MAX, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(duration_is_a_number_and_its_unit),
        cmocka_unit_test(range_is_two_durations_in_order),
        cmocka_unit_test(size_counts_in_powers_of_two),
        cmocka_unit_test(rate_counts_in_thousands_or_is_max),
        cmocka_unit_test(percent_is_at_most_a_hundred_in_steps_of_a_ten_thousandth),
        cmocka_unit_test(number_is_digits_alone_and_within_its_bounds),
        cmocka_unit_test(a_list_of_numbers_is_taken_whole_or_not_at_all),
        cmocka_unit_test(formatted_numbers_have_three_digits_or_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
