/* main.c: the simulator's command line.
 *
 *     sim --seeds FIRST:COUNT [--json] [--hash] [--events-max N] [--covered]
 *     sim --seed N [...]          one seed, with a trace on stderr
 *     sim --seeds FIRST:COUNT --harm STRIDE [...]
 *                                 instead of faults at random, one harm after the other to a log
 *                                 (harm.c); of single bytes, every STRIDEth
 *     sim --seeds FIRST:COUNT --rot [...]
 *                                 and disks rot under nodes that serve (rot.c)
 *     sim --seeds FIRST:COUNT --back [...]
 *                                 and one disk goes back to what it was (back.c)
 *
 * Exit code 0: no violation (and, with --covered, no fault kind and no wanted state at zero); 1
 * otherwise; 2: usage.
 */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RARE_SEEDS 5000u /* So many must have shown what is rare. */

struct options {
    uint64_t first;
    uint64_t count;
    uint64_t events_max;
    uint64_t stride; /* Of harms; 0: none. */
    bool trace;
    bool json;
    bool hash;
    bool covered;
    bool rots;
    bool goes_back;
};

static struct sim sim;
static struct sim_totals totals;

static const char usage[] =
    "usage: sim --seeds FIRST:COUNT | --seed N  [--json] [--hash] [--events-max N] [--covered]\n"
    "       [--harm STRIDE | --rot | --back]\n";

static bool number_parse(const char *text, char until, uint64_t *number, const char **rest)
{
    char *end = NULL;
    *number = strtoull(text, &end, 10);
    *rest = end;
    return end != text && *end == until;
}

static bool option_parse(struct options *options, int count, char **texts, int *at)
{
    const char *name = texts[(*at)++];
    const char *rest = NULL;
    bool *flags[] = {&options->json, &options->hash, &options->covered, &options->rots,
                     &options->goes_back};
    static const char *const flag_names[] = {"--json", "--hash", "--covered", "--rot", "--back"};
    for (uint32_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (strcmp(name, flag_names[i]) == 0) {
            *flags[i] = true;
            return true;
        }
    }
    if (*at == count) {
        return false;
    }
    const char *value = texts[(*at)++];
    if (strcmp(name, "--seeds") == 0) {
        return number_parse(value, ':', &options->first, &rest) &&
               number_parse(rest + 1, '\0', &options->count, &rest);
    }
    if (strcmp(name, "--seed") == 0) {
        options->count = 1;
        options->trace = true;
        return number_parse(value, '\0', &options->first, &rest);
    }
    if (strcmp(name, "--harm") == 0) {
        return number_parse(value, '\0', &options->stride, &rest) && options->stride > 0 &&
               options->stride <= UINT32_MAX;
    }
    return strcmp(name, "--events-max") == 0 &&
           number_parse(value, '\0', &options->events_max, &rest);
}

static void counters_print(const char *const *names, const void *counters, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = 0;
        memcpy(&value, (const uint8_t *)counters + i * sizeof value, sizeof value);
        printf("%s\"%s\": %" PRIu64, i == 0 ? "" : ", ", names[i], value);
    }
}

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* `events_per_s` is what the wall clock says; per CPU second it is the same on a shared machine. */
static void json_print(double seconds, double cpu_seconds, uint64_t hash)
{
    printf("{\"seeds\": %" PRIu64 ", \"events\": %" PRIu64 ", \"seconds\": %.3f, "
           "\"events_per_s\": %.0f, \"cpu_seconds\": %.3f, \"events_per_cpu_s\": %.0f, "
           "\"harms\": %" PRIu64 ", \"violations\": %" PRIu64 ", \"hash\": \"%016" PRIx64
           "\", \"faults\": {",
           totals.seeds, totals.events, seconds, (double)totals.events / seconds, cpu_seconds,
           (double)totals.events / cpu_seconds, totals.harms, totals.violations, hash);
    counters_print(sim_fault_counter_names, &totals.faults, sizeof totals.faults / 8);
    printf("}, ");
    counters_print(sim_cover_counter_names, &totals.covers, sizeof totals.covers / 8);
    printf(", \"refusals\": {");
    counters_print(sim_refusal_counter_names, &totals.refusals, sizeof totals.refusals / 8);
    printf("}, \"replies\": {");
    for (uint32_t i = 0; i < WIRE_STATUS_COUNT; i++) {
        printf("%s\"%s\": %" PRIu64, i == 0 ? "" : ", ", wire_status_name((enum wire_status)i),
               totals.replies[i]);
    }
    printf("}}\n");
}

static uint32_t zeros_tell(const char *const *names, const void *counters, uint32_t count)
{
    uint32_t zeros = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = 0;
        memcpy(&value, (const uint8_t *)counters + i * sizeof value, sizeof value);
        if (value == 0) {
            fprintf(stderr, "sim: never happened: %s\n", names[i]);
            zeros++;
        }
    }
    return zeros;
}

struct wanted {
    const char *name;
    uint64_t count;
};

static bool all_are_covered(const struct wanted *wanted, uint32_t count)
{
    uint32_t zeros = 0;
    for (uint32_t i = 0; i < count; i++) {
        zeros += zeros_tell(&wanted[i].name, &wanted[i].count, 1);
    }
    return zeros == 0;
}

/* A simulator that does not reach a state proves nothing about it. */
static bool is_covered(void)
{
    const struct sim_cover_counters *covers = &totals.covers;
    const struct wanted wanted[] = {
        {"elections", covers->elections},
        {"cuts", covers->cuts},
        {"fragment_repairs", covers->fragment_repairs},
        {"crashes_in_flight", covers->crashes_in_flight},
        {"commits", covers->commits},
        {"acked", covers->acked},
        {"reads", covers->reads},
        {"reads_confirmed", covers->reads_confirmed},
        {"reads_refused", covers->reads_refused},
        {"reads_died", covers->reads_died},
        {"reads_held", covers->reads_held},
        {"reads_of_deposed", covers->reads_of_deposed},
        {"restarts", covers->restarts},
        {"trims", covers->trims},
        {"wraps", covers->wraps},
        {"staged", covers->staged},
        {"disk_fetches", covers->disk_fetches},
        {"disk_stalls", covers->disk_stalls},
        {"large_records", covers->large_records},
        {"bad_pages", covers->bad_pages},
        {"liveness_runs", covers->liveness_runs},
        {"registrations", covers->registrations},
        {"reopenings", covers->reopenings},
        {"evictions", covers->evictions},
        {"named_evictions", covers->named_evictions},
        {"late_writers", covers->late_writers},
        {"sent_to_all", covers->sent_to_all},
        {"sent_again", covers->sent_again},
        {"repeats_answered", covers->repeats_answered},
        {"gaps", covers->gaps},
        {"conditions_held", covers->conditions_held},
        {"conditions_failed", covers->conditions_failed},
        {"conditions_told", covers->conditions_told},
        {"fenced", covers->fenced},
        {"openings_fenced", covers->openings_fenced},
        {"forgotten", covers->forgotten},
        {"no_session", covers->no_session},
        {"tables_compared", covers->tables_compared},
        {"tables_recovered", covers->tables_recovered},
        {"states_compared", covers->states_compared},
        {"tails_rebuilt", covers->tails_rebuilt},
        {"crowded_entries", covers->crowded_entries},
        {"slots_pinned", covers->slots_pinned},
        {"frames_grown", covers->frames_grown},
        {"frames_shrunk", covers->frames_shrunk},
        {"stranger_answers", covers->stranger_answers},
        {"frames_foreign", covers->frames_foreign},
        {"mendings", covers->mendings},
        {"mended", covers->mended},
        {"entries_mended", covers->entries_mended},
        {"crash_in_mending", covers->crash_in_mending},
        {"opened_bounded", covers->opened_bounded},
        {"bounds_met", covers->bounds_met},
    };
    uint32_t zeros = all_are_covered(wanted, sizeof wanted / sizeof wanted[0]) ? 0 : 1;
    zeros += zeros_tell(sim_fault_counter_names, &totals.faults, sizeof totals.faults / 8);
    zeros += zeros_tell(sim_refusal_counter_names, &totals.refusals, sizeof totals.refusals / 8);
    return zeros == 0;
}

/* What takes thousands of seeds to happen. */
static bool rare_is_covered(void)
{
    static const char *const names[] = {"mend_denials", "mends_given_up"};
    const uint64_t counts[] = {totals.covers.mend_denials, totals.covers.mends_given_up};
    return zeros_tell(names, counts, sizeof names / sizeof names[0]) == 0;
}

/* The same of the game in which disks rot. */
static bool rot_is_covered(void)
{
    const struct sim_cover_counters *covers = &totals.covers;
    const struct wanted wanted[] = {
        {"rot_serving", covers->rot_serving},
        {"scrub_passes", covers->scrub_passes},
        {"scrub_bad", covers->scrub_bad},
        {"scrub_waited", covers->scrub_waited},
        {"repairs", covers->repairs},
        {"crash_in_repair", covers->crash_in_repair},
        {"mend_denials", covers->mend_denials},
        {"mended", covers->mended},
        {"trims", covers->trims},
        {"entries_mended", covers->entries_mended},
    };
    return all_are_covered(wanted, sizeof wanted / sizeof wanted[0]);
}

/* And of that in which one goes back. */
static bool back_is_covered(void)
{
    const struct sim_cover_counters *covers = &totals.covers;
    const struct wanted wanted[] = {
        {"lacking", covers->lacking},
        {"regressions", covers->regressions},
        {"regressed_ignored", covers->regressed_ignored},
        {"regained", covers->regained},
        {"bounds_met", covers->bounds_met},
        {"trims", covers->trims},
    };
    return all_are_covered(wanted, sizeof wanted / sizeof wanted[0]);
}

static bool game_is_covered(const struct options *options)
{
    if (options->rots) {
        return rot_is_covered();
    }
    return options->goes_back ? back_is_covered() : is_covered();
}

static bool seed_run(const struct options *options, uint64_t seed)
{
    sim.flag = options->rots ? "--rot" : options->goes_back ? "--back" : "";
    if (options->rots || options->goes_back) {
        return sim_play(&sim, seed, options->rots ? &rot_game : &back_game);
    }
    if (options->stride == 0) {
        return sim_run(&sim, seed, options->events_max);
    }
    sim.stride = (uint32_t)options->stride;
    bool clean = true;
    for (uint32_t i = 0; i < HARM_GAMES; i++) {
        clean = sim_play(&sim, seed, &harm_games[i]) && clean;
    }
    return clean;
}

int main(int count, char **texts)
{
    struct options options = {0};
    int at = 1;
    while (at < count) {
        if (!option_parse(&options, count, texts, &at)) {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (options.count == 0) {
        fputs(usage, stderr);
        return 2;
    }
    sim_init(&sim, &totals);
    sim.trace = options.trace;
    double begin = seconds_of(CLOCK_MONOTONIC);
    double cpu_begin = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t hash = 0;
    for (uint64_t i = 0; i < options.count; i++) {
        bool clean = seed_run(&options, options.first + i);
        hash = hash * 0x9e3779b97f4a7c15u + sim.hash;
        if (options.hash) {
            printf("seed %" PRIu64 " hash %016" PRIx64 "%s\n", options.first + i, sim.hash,
                   clean ? "" : " violation");
        }
    }
    if (options.json) {
        json_print(seconds_of(CLOCK_MONOTONIC) - begin,
                   seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin, hash);
    }
    bool covered = !options.covered || game_is_covered(&options);
    if (options.covered && sim.flag[0] == '\0' && options.count >= RARE_SEEDS) {
        covered = rare_is_covered() && covered;
    }
    return totals.violations == 0 && covered ? 0 : 1;
}
