/* cmd_floor.c: `thole floor disk`: what a durable write costs here, at several sizes and depths.
 *
 * The raw writer of the commit floor alone: whole pages onto blocks that were written before, a
 * completion meaning durable. A number of writes is kept in flight; each one's time runs from its
 * submission to the poll that finds it done.
 */
#define _DEFAULT_SOURCE
#include "bench/bench.h"
#include "bench/floor_disk.h"
#include "bench/options.h"
#include "bench/result.h"

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/units.h"
#include "engine/core.h"
#include "storage/disk_uring.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FLOOR_FILE_BYTES (64u * 1024u * 1024u)
#define FLOOR_FILE       "thole-floor-XXXXXX"

struct floor_arguments {
    const char *folder;
    uint64_t duration_ns; /* Of one row. */
    enum idle_mode idle;
    int cpu;
    bool json;
    const volatile sig_atomic_t *interrupted;
};

struct floor_row {
    uint32_t bytes;
    uint32_t depth;
    uint64_t elapsed_ns;
    struct histogram latency;
};

static struct floor_row rows[] = {
    {.bytes = 4096, .depth = 1},
    {.bytes = 4096, .depth = 4},
    {.bytes = 65536, .depth = 1},
    {.bytes = 65536, .depth = 4},
};
#define FLOOR_ROWS (sizeof(rows) / sizeof(rows[0]))

enum { KEY_FOLDER = 256, KEY_ROW_DURATION, KEY_FLOOR_IDLE, KEY_FLOOR_CPU };

static const struct argp_option floor_options[] = {
    {"dir", KEY_FOLDER, "DIR", 0, "On whose filesystem to write (the current folder)", 0},
    {"duration", KEY_ROW_DURATION, "TIME", 0, "Of each row (1s)", 0},
    {"idle", KEY_FLOOR_IDLE, "MODE", 0, "Of the poll loop: spin or yield (yield)", 0},
    {"cpu", KEY_FLOOR_CPU, "N", 0, "Where to run (anywhere)", 0},
    {"json", 'j', NULL, 0, "Print one JSON object", 0},
    {0},
};

static error_t floor_parse(int key, char *value, struct argp_state *state)
{
    struct floor_arguments *arguments = state->input;
    switch (key) {
    case KEY_FOLDER:
        arguments->folder = value;
        return 0;
    case KEY_ROW_DURATION:
        if (!units_parse_duration(value, &arguments->duration_ns) || arguments->duration_ns == 0) {
            argp_error(state, "--duration: `%s` is not a time: %s", value, UNITS_DURATION_FORM);
        }
        return 0;
    case KEY_FLOOR_IDLE:
        if (!idle_mode_parse(value, &arguments->idle) ||
            (arguments->idle != IDLE_SPIN && arguments->idle != IDLE_YIELD)) {
            argp_error(state, "--idle: `%s` is neither spin nor yield", value);
        }
        return 0;
    case KEY_FLOOR_CPU:
        arguments->cpu = (int)options_number(state, "cpu", value, 0, INT32_MAX);
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s`: no argument is expected", value);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp floor_argp = {
    .options = floor_options,
    .parser = floor_parse,
    .doc = "Measure what a durable write costs on this filesystem: the floor of every commit."
           "\vExample:\n  thole floor disk --json",
};

/* Keep `row->depth` writes in flight for the time of a row. */
static void measure(struct floor_disk *disk,
                    const struct floor_arguments *arguments,
                    const uint8_t *bytes,
                    struct floor_row *row)
{
    ASSERT(row->depth <= FLOOR_DEPTH_MAX);
    struct idle idle;
    idle_init(&idle, arguments->idle, NULL, 0, false);
    uint64_t began_ns[FLOOR_DEPTH_MAX];
    uint64_t free_slots[FLOOR_DEPTH_MAX];
    uint32_t free_count = row->depth;
    for (uint32_t i = 0; i < row->depth; i++) {
        free_slots[i] = i;
    }
    uint64_t offset = 0;
    uint64_t begin_ns = clock_now_ns();
    uint64_t now_ns = begin_ns;
    bool more = true;
    while (more || free_count < row->depth) {
        more = now_ns - begin_ns < arguments->duration_ns && *arguments->interrupted == 0;
        uint32_t work = 0;
        for (; more && free_count > 0; work++) {
            uint64_t slot = free_slots[--free_count];
            began_ns[slot] = clock_now_ns();
            floor_disk_write(disk, offset, bytes, row->bytes, slot);
            offset = (offset + row->bytes) % FLOOR_FILE_BYTES;
        }
        uint64_t done[FLOOR_DEPTH_MAX];
        uint32_t count = floor_disk_poll(disk, done, FLOOR_DEPTH_MAX);
        now_ns = clock_now_ns();
        for (uint32_t i = 0; i < count; i++) {
            histogram_record(&row->latency, now_ns - began_ns[done[i]]);
            free_slots[free_count++] = done[i];
        }
        idle_step(&idle, now_ns, work + count, work + count > 0, UINT64_MAX);
    }
    row->elapsed_ns = now_ns - begin_ns;
}

static double megabytes_per_s(const struct floor_row *row)
{
    return (double)row->latency.count * row->bytes * 1e3 / (double)row->elapsed_ns;
}

static int print_json(const struct result_machine *machine)
{
    json_t *list = json_array();
    for (size_t i = 0; i < FLOOR_ROWS; i++) {
        json_array_append_new(
            list, json_pack("{s:i, s:i, s:f, s:f, s:o}", "bytes", (int)rows[i].bytes, "depth",
                            (int)rows[i].depth, "writes_per_s",
                            (double)rows[i].latency.count * 1e9 / (double)rows[i].elapsed_ns,
                            "megabytes_per_s", megabytes_per_s(&rows[i]), "latency_ns",
                            result_latency_json(&rows[i].latency)));
    }
    json_t *object = json_pack("{s:s, s:o, s:o}", "schema", "thole-floor-1", "disk", list, "env",
                               result_env_json(machine));
    int printed = json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object);
    putchar('\n');
    return printed == 0 ? 0 : FAULT_INTERNAL;
}

static void print_text(const struct result_machine *machine)
{
    printf("durable writes on %s (%s), write cache: %s\n\n", machine->filesystem, machine->device,
           machine->write_cache);
    printf("%10s %7s %12s %10s %10s %10s\n", "bytes", "depth", "writes/s", "MB/s", "p50 us",
           "p99 us");
    for (size_t i = 0; i < FLOOR_ROWS; i++) {
        const struct histogram *latency = &rows[i].latency;
        printf("%10u %7u %12.0f %10.1f %10.1f %10.1f\n", rows[i].bytes, rows[i].depth,
               (double)latency->count * 1e9 / (double)rows[i].elapsed_ns, megabytes_per_s(&rows[i]),
               (double)histogram_percentile(latency, 50) / 1e3,
               (double)histogram_percentile(latency, 99) / 1e3);
    }
}

static int
measure_all(const struct floor_arguments *arguments, const char *path, struct fault *fault)
{
    struct floor_disk *disk = NULL;
    if (disk_uring_create(path, FLOOR_FILE_BYTES, fault) != 0 ||
        floor_disk_open(&disk, path, -1, fault) != 0) {
        return fault->code;
    }
    uint8_t *bytes = aligned_alloc(PAGE_BYTES, ENTRY_BYTES_MAX);
    if (bytes != NULL) {
        memset(bytes, 0xa5, ENTRY_BYTES_MAX);
        for (size_t i = 0; i < FLOOR_ROWS; i++) {
            measure(disk, arguments, bytes, &rows[i]);
        }
    } else {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory");
    }
    free(bytes);
    floor_disk_close(disk);
    return fault->code;
}

static int floor_run(int argc, char **argv)
{
    struct floor_arguments arguments = {
        .folder = ".", .duration_ns = 1000000000, .idle = IDLE_YIELD, .cpu = -1};
    if (argp_parse(&floor_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    struct fault fault = {0};
    if (arguments.cpu >= 0 && core_pin(arguments.cpu) != 0) {
        fault_set(&fault, FAULT_ENVIRONMENT, "cannot run on CPU %d", arguments.cpu);
        return command_fail(&fault);
    }
    arguments.interrupted = options_catch_interrupts();
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", arguments.folder, FLOOR_FILE);
    int file = length > 0 && (size_t)length < sizeof(path) ? mkstemp(path) : -1;
    if (file < 0) {
        fault_set(
            &fault, FAULT_ENVIRONMENT,
            "cannot make a file in %s: %s; run where you may write, or name a folder with --dir",
            arguments.folder, strerror(errno));
        return command_fail(&fault);
    }
    close(file);
    (void)unlink(path); /* Only its name was wanted: the file is made pre-written. */
    int code = measure_all(&arguments, path, &fault);
    (void)unlink(path);
    if (code == 0 && *arguments.interrupted != 0) {
        fault_set(&fault, FAULT_FAILED, "interrupted");
        code = fault.code;
    }
    if (code != 0) {
        return command_fail(&fault);
    }
    struct result_machine machine;
    result_machine(&machine, arguments.folder);
    if (arguments.json) {
        return print_json(&machine);
    }
    print_text(&machine);
    return 0;
}

const struct command command_floor_disk = {
    .name = "floor disk",
    .summary = "What a durable write costs on this filesystem",
    .argp = &floor_argp,
    .run = floor_run,
};
