/* log_file.c: see log_file.h. */
#include "bench/log_file.h"

#include "engine/base/entry.h"
#include "storage/disk_uring.h"
#include "storage/scan.h"
#include "storage/superblock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define LOAD_TRIES         50u     /* A copy read while it is written has a wrong CRC. */
#define LOAD_PAUSE_NS      1000000 /* Between them. */
#define FIND_CHUNK_BYTES   ENTRY_BYTES_MAX
#define FIND_BOUNDARY_BITS 64u /* Halvings. */

uint64_t log_file_memory_bytes(void)
{
    return disk_uring_memory_bytes() + 3ull * PAGE_BYTES;
}

static int load(struct log_file *file, struct superblock_set *set, struct fault *fault)
{
    int result = -EAGAIN;
    for (uint32_t i = 0; i < LOAD_TRIES && result != 0; i++) {
        if (i > 0) {
            struct timespec pause = {.tv_nsec = LOAD_PAUSE_NS};
            (void)nanosleep(&pause, NULL);
        }
        result = superblock_load(file->disk, file->page, set, fault);
    }
    return result;
}

static struct log_start start_of(const struct superblock *superblock)
{
    return (struct log_start){
        .position = superblock->start_position,
        .last = {.term = superblock->start_term, .index = superblock->start_index},
        .offset = superblock->start_offset,
    };
}

int log_file_open(struct log_file *file,
                  struct mem *mem,
                  const struct log_file_owner *owner,
                  struct fault *fault)
{
    *file = (struct log_file){.cluster = owner->cluster};
    file->page = mem_take(mem, "log file: one page", 1, PAGE_BYTES, PAGE_BYTES);
    struct disk_uring_config config = {.path = owner->path, .access = DISK_ACCESS_READ_SHARED};
    int result = disk_uring_open(&file->disk, mem, &config, fault);
    if (result != 0) {
        file->disk = NULL;
        return result;
    }
    struct superblock_set set;
    result = load(file, &set, fault);
    const struct superblock *newest = &set.newest;
    if (result == 0 && (newest->cluster != owner->cluster || newest->node != owner->node ||
                        !geometry_init(&file->geometry, newest->ring_bytes, newest->segment_bytes,
                                       newest->window_bytes))) {
        fault_set(fault, FAULT_ENVIRONMENT, "%.256s is not the log of node %u of this cluster",
                  owner->path, owner->node);
        result = -ENODATA;
    }
    if (result != 0) {
        log_file_close(file);
        return result;
    }
    file->store = newest->store;
    file->start = start_of(newest);
    return 0;
}

bool log_file_reload(struct log_file *file)
{
    ASSERT(file->disk != NULL);
    struct superblock_set set;
    struct fault fault;
    if (load(file, &set, &fault) != 0 || set.newest.store != file->store) {
        return false;
    }
    file->start = start_of(&set.newest);
    return true;
}

/* The first entry at or after a boundary; false: none was written there. */
static bool
first_entry(struct scan *scan, uint64_t boundary, struct entry_header *header, uint64_t *position)
{
    for (uint64_t at = boundary;
         at < boundary + ENTRY_BYTES_MAX && at + PAGE_BYTES <= scan->log.limit; at += PAGE_BYTES) {
        const uint8_t *page = scan_pages(scan, at, PAGE_BYTES);
        struct scan_page judged = scan_page_judge(&scan->log, at, page);
        if (judged.state == PAGE_VALID && judged.head) {
            memcpy(header, page + NODE_HEADER_BYTES, sizeof *header);
            *position = at;
            return true;
        }
    }
    return false;
}

/* The first entry at or after the highest boundary where it is not above `index`; the log's start
 * without one. */
static struct log_start nearest(const struct log_file *file, struct scan *scan, uint64_t index)
{
    struct log_start found = file->start;
    const struct geometry *geometry = &file->geometry;
    uint64_t low = segment_number(geometry, file->start.position);     /* At or below the entry. */
    uint64_t high = segment_number(geometry, scan->log.limit - 1) + 1; /* Above it. */
    for (uint32_t i = 0; i < FIND_BOUNDARY_BITS && high - low > 1; i++) {
        uint64_t middle = low + (high - low) / 2;
        struct entry_header header;
        uint64_t position = 0;
        bool written = first_entry(scan, middle * geometry->segment_bytes, &header, &position);
        if (!written || header.index > index) {
            high = middle;
            continue;
        }
        low = middle;
        found = (struct log_start){
            .position = position,
            .last = {.term = header.previous_term, .index = header.index - 1},
            .offset = header.first_offset,
        };
    }
    return found;
}

bool log_file_find(struct log_file *file, uint8_t *buffer, uint64_t index, struct log_start *behind)
{
    ASSERT(file->disk != NULL);
    if (index < file->start.last.index) {
        return false;
    }
    struct scan_log log = {
        .disk = file->disk,
        .geometry = file->geometry,
        .cluster = file->cluster,
        .store = file->store,
        .epoch = UINT64_MAX, /* A live log. */
        .cut_position = UINT64_MAX,
        .limit = file->start.position + file->geometry.ring_bytes,
        .chunk_bytes = FIND_CHUNK_BYTES,
    };
    struct scan scan;
    scan_init(&scan, &log, buffer, file->start.position, file->start.last);
    *behind = nearest(file, &scan, index);
    log.chunk_bytes = RECOVER_BUFFER_BYTES;
    scan_init(&scan, &log, buffer, behind->position, behind->last);
    while (scan.last.index < index) {
        const uint8_t *entry = NULL;
        if (scan_next(&scan, &entry) != SCAN_ENTRY) {
            return false;
        }
        const struct entry_header *header = entry_header_of(entry);
        *behind = (struct log_start){.position = scan.position,
                                     .last = scan.last,
                                     .offset = header->first_offset + header->record_count};
    }
    return true;
}

void log_file_close(struct log_file *file)
{
    if (file->disk != NULL) {
        (void)disk_close_unless_busy(file->disk);
        file->disk = NULL;
    }
}
