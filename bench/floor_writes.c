/* floor_writes.c: see floor_writes.h. */
#define _DEFAULT_SOURCE
#include "bench/floor_writes.h"

#include "bench/floor_disk.h"
#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "storage/disk_uring.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FLOOR_FILE_BYTES (64u * 1024u * 1024u)
#define FLOOR_FILE       "thole-floor-XXXXXX"

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

/* Keep `row->depth` writes in flight for the time of a row. */
static void measure(struct floor_disk *disk,
                    const struct floor_writes_config *config,
                    const uint8_t *bytes,
                    struct floor_row *row)
{
    ASSERT(row->depth <= FLOOR_DEPTH_MAX);
    struct idle idle;
    idle_init(&idle, config->idle, NULL, 0, false);
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
        more = now_ns - begin_ns < config->duration_ns && *config->interrupted == 0;
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

static int
measure_all(const struct floor_writes_config *config, const char *path, struct fault *fault)
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
            measure(disk, config, bytes, &rows[i]);
        }
    } else {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory");
    }
    free(bytes);
    floor_disk_close(disk);
    return fault->code;
}

int floor_writes_measure(const struct floor_writes_config *config, struct fault *fault)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", config->folder, FLOOR_FILE);
    int file = length > 0 && (size_t)length < sizeof(path) ? mkstemp(path) : -1;
    if (file < 0) {
        fault_set(
            fault, FAULT_ENVIRONMENT,
            "cannot make a file in %s: %s; run where you may write, or name a folder with --dir",
            config->folder, strerror(errno));
        return fault->code;
    }
    close(file);
    (void)unlink(path); /* Only its name was wanted: the file is made pre-written. */
    int code = measure_all(config, path, fault);
    (void)unlink(path);
    return code;
}

json_t *floor_writes_json(void)
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
    return list;
}

void floor_writes_print(const struct result_machine *machine)
{
    char disk[RESULT_DISK_BYTES];
    printf("durable writes, %s\n\n", result_disk_words(machine, disk));
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
