/* units.c: see units.h.
 */
#include "engine/base/units.h"

#include <stdio.h>
#include <string.h>

#define FRACTION_DIGITS_MAX 9u

struct unit {
    const char *name;
    uint64_t scale;
};

static const struct unit duration_units[] = {
    {"ns", 1},
    {"us", 1000},
    {"ms", 1000000},
    {"s", 1000000000ull},
    {"min", 60000000000ull},
    {"h", 3600000000000ull},
};
static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"KiB", 1ull << 10},
    {"MiB", 1ull << 20},
    {"GiB", 1ull << 30},
    {"TiB", 1ull << 40},
};
static const struct unit rate_units[] = {
    {"", 1}, {"k", 1000}, {"M", 1000000}, {"G", 1000000000ull}};

#define DURATION_UNITS (sizeof duration_units / sizeof duration_units[0])
#define SIZE_UNITS     (sizeof size_units / sizeof size_units[0])
#define RATE_UNITS     (sizeof rate_units / sizeof rate_units[0])

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits, perhaps a point and more digits, then the name of a unit and the end. */
static bool parse_scaled(const char *text,
                         uint32_t bytes,
                         const struct unit *units,
                         uint64_t unit_count,
                         uint64_t *value)
{
    uint64_t whole = 0;
    uint64_t fraction = 0;
    uint64_t fraction_scale = 1;
    uint32_t at = 0;
    for (; at < bytes && is_digit(text[at]); at++) {
        if (whole > (UINT64_MAX - 9) / 10) {
            return false;
        }
        whole = whole * 10 + (uint64_t)(text[at] - '0');
    }
    if (at == 0) {
        return false;
    }
    if (at < bytes && text[at] == '.') {
        uint32_t first = ++at;
        for (; at < bytes && is_digit(text[at]); at++) {
            fraction = fraction * 10 + (uint64_t)(text[at] - '0');
            fraction_scale *= 10;
            if (at - first >= FRACTION_DIGITS_MAX) {
                return false;
            }
        }
        if (at == first) {
            return false;
        }
    }
    for (uint32_t i = 0; i < unit_count; i++) {
        uint32_t name_bytes = (uint32_t)strlen(units[i].name);
        if (name_bytes != bytes - at || memcmp(units[i].name, text + at, name_bytes) != 0) {
            continue;
        }
        uint64_t parts = 0;
        if (__builtin_mul_overflow(whole, units[i].scale, &whole) ||
            __builtin_mul_overflow(fraction, units[i].scale, &parts) ||
            parts % fraction_scale != 0 ||
            __builtin_add_overflow(whole, parts / fraction_scale, &whole)) {
            return false; /* Too large, or a fraction of the smallest unit. */
        }
        *value = whole;
        return true;
    }
    return false;
}

static bool parse_duration(const char *text, uint32_t bytes, uint64_t *ns)
{
    if (bytes == 1 && text[0] == '0') {
        *ns = 0;
        return true;
    }
    return parse_scaled(text, bytes, duration_units, DURATION_UNITS, ns);
}

bool units_parse_duration(const char *text, uint64_t *ns)
{
    ASSERT(text != NULL);
    return parse_duration(text, (uint32_t)strlen(text), ns);
}

bool units_parse_range(const char *text, uint64_t *min_ns, uint64_t *max_ns)
{
    ASSERT(text != NULL);
    const char *dash = strchr(text, '-');
    uint64_t low = 0;
    uint64_t high = 0;
    if (dash == NULL || !parse_duration(text, (uint32_t)(dash - text), &low) ||
        !units_parse_duration(dash + 1, &high) || low > high) {
        return false;
    }
    *min_ns = low;
    *max_ns = high;
    return true;
}

bool units_parse_size(const char *text, uint64_t *bytes)
{
    ASSERT(text != NULL);
    return parse_scaled(text, (uint32_t)strlen(text), size_units, SIZE_UNITS, bytes);
}

bool units_parse_rate(const char *text, uint64_t *per_s)
{
    ASSERT(text != NULL);
    if (strcmp(text, "max") == 0) {
        *per_s = UNITS_RATE_MAX;
        return true;
    }
    return parse_scaled(text, (uint32_t)strlen(text), rate_units, RATE_UNITS, per_s);
}

bool units_parse_percent(const char *text, uint64_t *ppm)
{
    static const struct unit percent[] = {{"", 10000}};
    uint64_t value = 0;
    if (!parse_scaled(text, (uint32_t)strlen(text), percent, 1, &value) || value > 1000000) {
        return false;
    }
    *ppm = value;
    return true;
}

bool units_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
    ASSERT(text != NULL);
    ASSERT(min <= max);
    static const struct unit none[] = {{"", 1}};
    uint64_t parsed = 0;
    if (strchr(text, '.') != NULL ||
        !parse_scaled(text, (uint32_t)strlen(text), none, 1, &parsed) || parsed < min ||
        parsed > max) {
        return false;
    }
    *number = parsed;
    return true;
}

bool units_parse_numbers(
    const char *text, uint64_t max, int *numbers, uint32_t count_max, uint32_t *count)
{
    ASSERT(max <= INT32_MAX);
    for (uint32_t i = 0; i < count_max; i++) {
        char one[UNITS_TEXT_BYTES];
        size_t bytes = strcspn(text, ",");
        uint64_t number = 0;
        (void)snprintf(one, sizeof(one), "%.*s", (int)bytes, text);
        if (bytes >= sizeof(one) || !units_parse_number(one, 0, max, &number)) {
            return false;
        }
        numbers[i] = (int)number;
        text += bytes;
        if (*text == '\0') {
            *count = i + 1;
            return true;
        }
        text++;
    }
    return false;
}

/* The largest unit that leaves one digit or more before the point. */
static const char *
format_scaled(uint64_t value, const struct unit *units, uint64_t unit_count, char *text)
{
    ASSERT(unit_count >= 1);
    uint32_t place = 0;
    while (place + 1 < unit_count && value >= units[place + 1].scale) {
        place++;
    }
    uint64_t scale = units[place].scale;
    const char *space = units[place].name[0] == '\0' ? "" : " ";
    if (value % scale == 0) {
        snprintf(text, UNITS_TEXT_BYTES, "%llu%s%s", (unsigned long long)(value / scale), space,
                 units[place].name);
        return text;
    }
    double scaled = (double)value / (double)scale;
    int digits = scaled < 10 ? 2 : scaled < 100 ? 1 : 0;
    snprintf(text, UNITS_TEXT_BYTES, "%.*f%s%s", digits, scaled, space, units[place].name);
    return text;
}

const char *units_format_duration(uint64_t ns, char *text)
{
    ASSERT(text != NULL);
    return format_scaled(ns, duration_units, 4, text); /* Up to seconds. */
}

const char *units_format_size(uint64_t bytes, char *text)
{
    ASSERT(text != NULL);
    return format_scaled(bytes, size_units + 1, SIZE_UNITS - 1, text);
}

const char *units_format_rate(uint64_t per_s, char *text)
{
    ASSERT(text != NULL);
    if (per_s == UNITS_RATE_MAX) {
        snprintf(text, UNITS_TEXT_BYTES, "max");
        return text;
    }
    return format_scaled(per_s, rate_units, RATE_UNITS, text);
}
