/* floor_probe.c: run bench/floor_disk.c alone, as fio would be run, and print what came out.
 *
 * floor_probe PATH DEPTH BYTES SECONDS wait|yield -> {"writes": N, "p50_ns": N, "mean_ns": N}
 * PATH is pre-written; writes go round it in order, DEPTH in flight.
 */
#define _GNU_SOURCE
#include "bench/floor_disk.h"
#include "engine/base/histogram.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define NS_PER_S 1000000000ull

struct probe {
    struct floor_disk *disk;
    uint8_t *buffer; /* `depth` of them, as fio has. */
    uint64_t write_count;
    uint64_t file_bytes;
    uint64_t offset;
    uint32_t depth;
    uint32_t bytes;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The cookie is the time of the submission. */
static void probe_write(struct probe *probe)
{
    if (probe->offset + probe->bytes > probe->file_bytes) {
        probe->offset = 0;
    }
    const uint8_t *buffer = probe->buffer + probe->write_count++ % probe->depth * probe->bytes;
    floor_disk_write(probe->disk, probe->offset, buffer, probe->bytes, now_ns());
    probe->offset += probe->bytes;
}

static uint64_t probe_run(struct probe *probe, uint64_t end_ns, bool wait, struct histogram *h)
{
    uint64_t total_ns = 0;
    uint32_t in_flight = 0;
    bool ending = false;
    while (!ending || in_flight > 0) {
        while (!ending && in_flight < probe->depth) {
            probe_write(probe);
            in_flight++;
        }
        uint64_t cookies[DISK_QUEUE_MAX];
        uint32_t count = floor_disk_poll(probe->disk, cookies, DISK_QUEUE_MAX);
        uint64_t done_ns = now_ns();
        for (uint32_t i = 0; i < count; i++) {
            histogram_record(h, done_ns - cookies[i]);
            total_ns += done_ns - cookies[i];
        }
        in_flight -= count;
        ending = done_ns >= end_ns;
        if (count == 0 && wait) {
            floor_disk_wait(probe->disk);
        } else if (count == 0) {
            (void)sched_yield();
        }
    }
    return total_ns;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        (void)fprintf(stderr, "usage: floor_probe PATH DEPTH BYTES SECONDS wait|yield\n");
        return FAULT_USAGE;
    }
    static struct histogram histogram;
    struct fault fault = {0};
    struct stat status;
    struct probe probe = {
        .depth = (uint32_t)strtoul(argv[2], NULL, 10),
        .bytes = (uint32_t)strtoul(argv[3], NULL, 10),
    };
    if (stat(argv[1], &status) != 0 || floor_disk_open(&probe.disk, argv[1], -1, &fault) != 0) {
        (void)fprintf(stderr, "%s\n", fault.code == 0 ? "no such file" : fault.text);
        return FAULT_ENVIRONMENT;
    }
    probe.file_bytes = (uint64_t)status.st_size;
    void *buffer = NULL;
    if (posix_memalign(&buffer, PAGE_BYTES, (size_t)probe.depth * probe.bytes) != 0) {
        return FAULT_ENVIRONMENT;
    }
    memset(buffer, 0x5a, (size_t)probe.depth * probe.bytes);
    probe.buffer = buffer;
    uint64_t end_ns = now_ns() + (uint64_t)(strtod(argv[4], NULL) * (double)NS_PER_S);
    uint64_t total_ns = probe_run(&probe, end_ns, strcmp(argv[5], "wait") == 0, &histogram);
    floor_disk_close(probe.disk);
    free(buffer);
    (void)printf("{\"writes\": %" PRIu64 ", \"p50_ns\": %" PRIu64 ", \"mean_ns\": %" PRIu64 "}\n",
                 histogram.count, histogram_percentile(&histogram, 50),
                 histogram.count == 0 ? 0 : total_ns / histogram.count);
    return 0;
}
