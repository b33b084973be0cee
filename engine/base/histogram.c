/* histogram.c: counting into HdrHistogram's buckets, and reading percentiles out of them.
 *
 * Bucket b holds the values of b + 11 bits in steps of 2^b; the lower half of each bucket but the
 * first would repeat the bucket below, so that only upper halves have counters.
 *
 * Source: HdrHistogram (Java), AbstractHistogram and PercentileIterator.
 */
#include "engine/base/histogram.h"

#include "engine/base/assert.h"

#include <emmintrin.h>
#include <float.h>
#include <inttypes.h>
#include <string.h>

#define HALF_COUNT          (HISTOGRAM_SUB_BUCKETS / 2u)
#define HALF_BITS           10u /* 2^10 is HALF_COUNT. */
#define SUPPORT_SAMPLES     10u
#define HGRM_TICKS_PER_HALF 5.0
#define HGRM_LEVEL_MAX      (100.0 - 1e-10) /* Finer steps say nothing more. */

_Static_assert(1u << HALF_BITS == HALF_COUNT, "the half count is a power of two");
_Static_assert(HISTOGRAM_VALUE_MAX >> (HISTOGRAM_BUCKETS + HALF_BITS) == 0, "the highest fits");

static uint32_t counter_of(uint64_t value)
{
    ASSERT(value <= HISTOGRAM_VALUE_MAX);
    uint32_t bits = 64u - (uint32_t)__builtin_clzll(value | (HISTOGRAM_SUB_BUCKETS - 1));
    uint32_t bucket = bits - (HALF_BITS + 1);
    uint32_t sub_bucket = (uint32_t)(value >> bucket);
    uint32_t counter = ((bucket + 1) << HALF_BITS) + sub_bucket - HALF_COUNT;
    ASSERT(counter < HISTOGRAM_COUNTERS);
    return counter;
}

/* The lowest value that a counter counts, and the highest. */
static uint64_t counter_lowest(uint32_t counter, uint64_t *highest)
{
    uint32_t bucket = counter >> HALF_BITS;
    uint64_t sub_bucket = counter & (HALF_COUNT - 1);
    if (bucket > 0) {
        bucket -= 1;
        sub_bucket += HALF_COUNT;
    }
    uint64_t lowest = sub_bucket << bucket;
    *highest = lowest + (1ull << bucket) - 1;
    return lowest;
}

static uint64_t counter_highest(uint32_t counter)
{
    uint64_t highest = 0;
    (void)counter_lowest(counter, &highest);
    return highest;
}

/* The number of the sample, from 1, that stands at the percentile: the nearest rank. */
static uint64_t percentile_rank(uint64_t count, double percentile)
{
    ASSERT(percentile >= 0.0);
    ASSERT(percentile <= 100.0);
    /* A little less, so that 99.9 % of 1000 is sample 999 and not, by rounding, 1000. */
    double exact = (double)count * percentile / 100.0 * (1.0 - DBL_EPSILON);
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact) {
        rank += 1;
    }
    return rank == 0 ? 1 : rank;
}

void histogram_reset(struct histogram *h)
{
    memset(h, 0, sizeof *h);
}

void histogram_record(struct histogram *h, uint64_t value_ns)
{
    histogram_record_many(h, value_ns, 1);
}

void histogram_record_many(struct histogram *h, uint64_t value_ns, uint64_t count)
{
    if (count == 0) {
        return;
    }
    uint64_t value = value_ns < HISTOGRAM_VALUE_MAX ? value_ns : HISTOGRAM_VALUE_MAX;
    h->counters[counter_of(value)] += count;
    h->count += count;
    if (value_ns > h->max) {
        h->max = value_ns;
    }
}

void histogram_add(struct histogram *to, const struct histogram *from)
{
    ASSERT(to != from);
    for (uint32_t i = 0; i < HISTOGRAM_COUNTERS; i++) {
        to->counters[i] += from->counters[i];
    }
    to->count += from->count;
    if (from->max > to->max) {
        to->max = from->max;
    }
}

uint64_t histogram_percentile(const struct histogram *h, double percentile)
{
    if (h->count == 0) {
        return 0;
    }
    uint64_t rank = percentile_rank(h->count, percentile);
    uint64_t below = 0;
    for (uint32_t i = 0; i < HISTOGRAM_COUNTERS; i++) {
        below += h->counters[i];
        if (below >= rank) {
            return counter_highest(i);
        }
    }
    ASSERT(below == h->count);
    return counter_highest(HISTOGRAM_COUNTERS - 1);
}

int histogram_supports(const struct histogram *h, double percentile)
{
    if (h->count < SUPPORT_SAMPLES) {
        return false;
    }
    uint64_t rank = percentile_rank(h->count, percentile);
    return rank <= h->count && h->count - rank >= SUPPORT_SAMPLES;
}

/* Mean and standard deviation, each value taken as the middle of its counter's range. */
static double histogram_mean(const struct histogram *h, double *deviation)
{
    double sum = 0;
    double squares = 0;
    for (uint32_t i = 0; i < HISTOGRAM_COUNTERS; i++) {
        if (h->counters[i] == 0) {
            continue;
        }
        uint64_t highest = 0;
        uint64_t lowest = counter_lowest(i, &highest);
        uint64_t middle_ns = lowest + (highest - lowest + 1) / 2;
        double middle = (double)middle_ns;
        sum += middle * (double)h->counters[i];
        squares += middle * middle * (double)h->counters[i];
    }
    double mean = h->count == 0 ? 0 : sum / (double)h->count;
    double variance = h->count == 0 ? 0 : squares / (double)h->count - mean * mean;
    /* The instruction and not sqrt(), so that nothing needs libm. */
    __m128d packed = _mm_set_sd(variance > 0 ? variance : 0);
    *deviation = _mm_cvtsd_f64(_mm_sqrt_sd(packed, packed));
    return mean;
}

/* The next percentile to print: five steps in each halving of the distance to 100. */
static double next_level(double level)
{
    ASSERT(level < 100.0);
    uint64_t distance = (uint64_t)(100.0 / (100.0 - level));
    uint32_t halvings = 64u - (uint32_t)__builtin_clzll(distance | 1);
    return level + 100.0 / (HGRM_TICKS_PER_HALF * (double)(1ull << halvings));
}

void histogram_write_hgrm(const struct histogram *h, FILE *out, double unit_ns)
{
    ASSERT(unit_ns > 0);
    fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
            "1/(1-Percentile)");
    double level = 0;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_COUNTERS && seen < h->count; i++) {
        seen += h->counters[i];
        if (h->counters[i] == 0) {
            continue;
        }
        double value = (double)counter_highest(i) / unit_ns;
        double percentile = 100.0 * (double)seen / (double)h->count;
        bool more = true;
        while (more && percentile >= level && level < HGRM_LEVEL_MAX) {
            fprintf(out, "%12.3f %2.12f %10" PRIu64 " %14.2f\n", value, level / 100.0, seen,
                    100.0 / (100.0 - level));
            level = next_level(level);
            more = seen < h->count; /* The last value stands once at its level, and at 100 %. */
        }
        if (seen == h->count) {
            fprintf(out, "%12.3f %2.12f %10" PRIu64 "\n", value, 1.0, seen);
        }
    }
    double deviation = 0;
    double mean = histogram_mean(h, &deviation);
    fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", mean / unit_ns,
            deviation / unit_ns);
    fprintf(out, "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n", (double)h->max / unit_ns,
            h->count);
    fprintf(out, "#[Buckets = %12u, SubBuckets     = %12u]\n", HISTOGRAM_BUCKETS,
            HISTOGRAM_SUB_BUCKETS);
}
