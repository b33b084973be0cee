/* test_base_histogram.c: percentiles against a sorted array, and the layout of HdrHistogram. */
#include "engine/base/histogram.h"

#include "engine/base/assert.h"
#include "engine/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAMPLES 20000u

static struct histogram histogram;
static struct histogram other;
static uint64_t samples[SAMPLES];

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Values of every magnitude: the number of bits is drawn first. */
static void samples_draw(uint64_t seed)
{
    printf("seed %llu\n", (unsigned long long)seed);
    struct prng prng;
    prng_init(&prng, seed);
    for (unsigned i = 0; i < SAMPLES; i++) {
        samples[i] = prng_next(&prng) >> prng_between(&prng, 28, 63);
    }
}

static void every_percentile_is_the_sorted_sample_within_a_thousandth(void **state)
{
    (void)state;
    samples_draw(3);
    histogram_reset(&histogram);
    for (unsigned i = 0; i < SAMPLES; i++) {
        histogram_record(&histogram, samples[i]);
    }
    qsort(samples, SAMPLES, sizeof samples[0], compare);
    for (unsigned rank = 1; rank <= SAMPLES; rank++) {
        uint64_t exact = samples[rank - 1];
        uint64_t told = histogram_percentile(&histogram, 100.0 * rank / SAMPLES);
        assert_true(told >= exact);
        assert_true(told - exact <= exact / 1000);
    }
    assert_true(histogram.max == samples[SAMPLES - 1]);
    assert_true(histogram.count == SAMPLES);
}

static void small_values_are_exact_and_a_percentile_takes_the_nearest_rank(void **state)
{
    (void)state;
    histogram_reset(&histogram);
    for (unsigned i = 1; i <= 1000; i++) {
        histogram_record(&histogram, i);
    }
    assert_true(histogram_percentile(&histogram, 0) == 1);
    assert_true(histogram_percentile(&histogram, 0.1) == 1);
    assert_true(histogram_percentile(&histogram, 0.11) == 2);
    assert_true(histogram_percentile(&histogram, 50) == 500);
    assert_true(histogram_percentile(&histogram, 90) == 900);
    assert_true(histogram_percentile(&histogram, 99) == 990);
    assert_true(histogram_percentile(&histogram, 99.9) == 999);
    assert_true(histogram_percentile(&histogram, 99.91) == 1000);
    assert_true(histogram_percentile(&histogram, 100) == 1000);
}

static void an_empty_histogram_says_zero(void **state)
{
    (void)state;
    histogram_reset(&histogram);
    assert_true(histogram_percentile(&histogram, 99) == 0);
    assert_false(histogram_supports(&histogram, 0));
}

static void values_stand_where_hdrhistogram_puts_them(void **state)
{
    (void)state;
    /* Value, counter, highest equivalent value: computed from HdrHistogram's definition. */
    const struct {
        uint64_t value;
        uint32_t counter;
        uint64_t highest;
    } places[] = {
        {0, 0, 0},
        {1, 1, 1},
        {2047, 2047, 2047},
        {2048, 2048, 2049},
        {2049, 2048, 2049},
        {4095, 3071, 4095},
        {4096, 3072, 4099},
        {1000000, 11169, 1000447},
        {HISTOGRAM_VALUE_MAX, HISTOGRAM_COUNTERS - 1, HISTOGRAM_VALUE_MAX},
    };
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        histogram_reset(&histogram);
        histogram_record(&histogram, places[i].value);
        assert_true(histogram.counters[places[i].counter] == 1);
        assert_true(histogram_percentile(&histogram, 50) == places[i].highest);
    }
}

static void a_value_too_high_counts_as_the_highest_and_keeps_the_maximum(void **state)
{
    (void)state;
    histogram_reset(&histogram);
    histogram_record(&histogram, UINT64_MAX);
    assert_true(histogram_percentile(&histogram, 100) == HISTOGRAM_VALUE_MAX);
    assert_true(histogram.max == UINT64_MAX);
}

static void adding_two_is_recording_both(void **state)
{
    (void)state;
    static struct histogram both;
    samples_draw(4);
    histogram_reset(&histogram);
    histogram_reset(&other);
    histogram_reset(&both);
    for (unsigned i = 0; i < SAMPLES; i++) {
        histogram_record(i % 3 == 0 ? &histogram : &other, samples[i]);
        histogram_record(&both, samples[i]);
    }
    histogram_add(&histogram, &other);
    assert_memory_equal(&histogram, &both, sizeof both);
    histogram_reset(&other);
    histogram_record_many(&other, 77, 5);
    histogram_record_many(&other, 1000, 0);
    assert_true(other.count == 5);
    assert_true(other.counters[77] == 5);
    assert_true(other.max == 77);
}

static void a_percentile_needs_ten_samples_beyond_it(void **state)
{
    (void)state;
    histogram_reset(&histogram);
    histogram_record_many(&histogram, 5, 999);
    assert_false(histogram_supports(&histogram, 99));
    histogram_record(&histogram, 5);
    assert_true(histogram_supports(&histogram, 99));
    assert_false(histogram_supports(&histogram, 99.9));
    histogram_record_many(&histogram, 5, 9000);
    assert_true(histogram_supports(&histogram, 99.9));
    assert_false(histogram_supports(&histogram, 99.99));
    assert_false(histogram_supports(&histogram, 100));
}

static void hgrm_is_what_hdrhistogram_prints(void **state)
{
    (void)state;
    histogram_reset(&histogram);
    histogram_record(&histogram, 1000);
    histogram_record(&histogram, 2000);
    static char text[65536];
    memset(text, 0, sizeof text);
    FILE *out = fmemopen(text, sizeof text - 1, "w");
    assert_non_null(out);
    histogram_write_hgrm(&histogram, out, 1000.0);
    assert_int_equal(fclose(out), 0);
    /* By hand from PercentileIterator: steps of 10 % up to 50 %, then the last value twice. */
    const char *expected = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n"
                           "       1.000 0.000000000000          1           1.00\n"
                           "       1.000 0.100000000000          1           1.11\n"
                           "       1.000 0.200000000000          1           1.25\n"
                           "       1.000 0.300000000000          1           1.43\n"
                           "       1.000 0.400000000000          1           1.67\n"
                           "       1.000 0.500000000000          1           2.00\n"
                           "       2.000 0.550000000000          2           2.22\n"
                           "       2.000 1.000000000000          2\n"
                           "#[Mean    =        1.500, StdDeviation   =        0.500]\n"
                           "#[Max     =        2.000, Total count    =            2]\n"
                           "#[Buckets =           26, SubBuckets     =         2048]\n";
    assert_string_equal(text, expected);
}

static void a_percentile_out_of_range_asserts(void **state)
{
    (void)state;
    histogram_reset(&histogram);
    histogram_record(&histogram, 1);
    expect_assert_failure(histogram_percentile(&histogram, 100.1));
    expect_assert_failure(histogram_percentile(&histogram, -1));
    expect_assert_failure(histogram_add(&histogram, &histogram));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_percentile_is_the_sorted_sample_within_a_thousandth),
        cmocka_unit_test(small_values_are_exact_and_a_percentile_takes_the_nearest_rank),
        cmocka_unit_test(an_empty_histogram_says_zero),
        cmocka_unit_test(values_stand_where_hdrhistogram_puts_them),
        cmocka_unit_test(a_value_too_high_counts_as_the_highest_and_keeps_the_maximum),
        cmocka_unit_test(adding_two_is_recording_both),
        cmocka_unit_test(a_percentile_needs_ten_samples_beyond_it),
        cmocka_unit_test(hgrm_is_what_hdrhistogram_prints),
        cmocka_unit_test(a_percentile_out_of_range_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
