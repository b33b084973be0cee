/* units.h: durations, sizes and rates as people write them.
 *
 *     duration   20us  1.5ms  10s  2min      ns, us, ms, s, min, h; a bare 0
 *     range      150ms-300ms                 two durations, the first not above the second
 *     size       64KiB  256MiB  4096         KiB, MiB, GiB, TiB, B or bytes without a unit
 *     rate       50k  1.5M  20000  max       k, M, G, or none
 *     percent    5  0.5  100                  of a whole, down to a ten-thousandth
 *     number     0  42                       decimal digits alone
 *
 * Parsers take the whole text or nothing: no spaces, signs, exponents, or values past 64 bits.
 */
#ifndef ENGINE_BASE_UNITS_H
#define ENGINE_BASE_UNITS_H

#include "engine/base/assert.h"

#include <stdint.h>

#define UNITS_RATE_MAX   UINT64_MAX /* "max" */
#define UNITS_TEXT_BYTES 32u

/* What each parser takes, for messages. */
#define UNITS_DURATION_FORM "a number with ns, us, ms, s, min or h, e.g. 15ms"
#define UNITS_RANGE_FORM    "two durations, the shorter one first, e.g. 150ms-300ms"
#define UNITS_SIZE_FORM     "a number with KiB, MiB, GiB or TiB, or bytes, e.g. 256MiB"
#define UNITS_PERCENT_FORM  "a number from 0 to 100, with a point if need be, e.g. 0.5"
#define UNITS_RATE_FORM     "a number, with k, M or G if need be, or max, e.g. 50k"

/* False: not one; the results are untouched. */
MUST_USE bool units_parse_duration(const char *text, uint64_t *ns);
MUST_USE bool units_parse_range(const char *text, uint64_t *min_ns, uint64_t *max_ns);
MUST_USE bool units_parse_size(const char *text, uint64_t *bytes);
MUST_USE bool units_parse_rate(const char *text, uint64_t *per_s);

/* Up to 100, in parts of a million. */
MUST_USE bool units_parse_percent(const char *text, uint64_t *ppm);

/* A whole number from `min` to `max`: of nodes, CPUs, indexes and the like. */
MUST_USE bool units_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number);

/* Such numbers, separated by commas, at most `count_max` of them. */
MUST_USE bool units_parse_numbers(
    const char *text, uint64_t max, int *numbers, uint32_t count_max, uint32_t *count);

/* Write into `text` (UNITS_TEXT_BYTES bytes) and return it: three digits or so, such as 842 ns,
 * 12.3 us, 256 MiB, 1.50 GiB, 200 k, max. */
const char *units_format_duration(uint64_t ns, char *text);
const char *units_format_size(uint64_t bytes, char *text);
const char *units_format_rate(uint64_t per_s, char *text);

#endif
