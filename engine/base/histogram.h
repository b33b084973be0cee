/* histogram.h: latencies in HdrHistogram's bucket layout, so that .hgrm and .hlog open in its
 * tools.
 *
 * Lowest discernible value 1 ns, three significant digits, highest trackable value 2^36 ns (about
 * 68 s): 2048 sub-buckets, 26 buckets, 27,648 counters. Larger values count as the highest. A
 * percentile is the highest value equivalent to its bucket, as HdrHistogram reports it.
 */
#ifndef ENGINE_BASE_HISTOGRAM_H
#define ENGINE_BASE_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

#define HISTOGRAM_SUB_BUCKETS 2048u
#define HISTOGRAM_BUCKETS     26u
#define HISTOGRAM_COUNTERS    ((HISTOGRAM_BUCKETS + 1u) * (HISTOGRAM_SUB_BUCKETS / 2u))
#define HISTOGRAM_VALUE_MAX   ((1ull << 36) - 1)

struct histogram {
    uint64_t count;
    uint64_t max; /* As recorded, not rounded. */
    uint64_t counters[HISTOGRAM_COUNTERS];
};

void histogram_reset(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t value_ns);
void histogram_record_many(struct histogram *h, uint64_t value_ns, uint64_t count);
void histogram_add(struct histogram *to, const struct histogram *from);

/* The value at `percentile` (0 to 100). 0 when empty. */
uint64_t histogram_percentile(const struct histogram *h, double percentile);

/* True when at least ten samples lie beyond the percentile, so that it may be reported. */
int histogram_supports(const struct histogram *h, double percentile);

/* Write the percentile distribution (.hgrm), values divided by `unit_ns`. */
void histogram_write_hgrm(const struct histogram *h, FILE *out, double unit_ns);

#endif
