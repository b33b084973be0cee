/* scan.c: the sequential checked reader, and the judgement of single pages. Writes nothing. */
#include "storage/scan.h"

#include <string.h>

/* What stands for a page that the disk cannot read: not zero, and its mark cannot hold. */
#define UNREADABLE_BYTE 0xee

struct scan_log scan_log_of(struct disk *disk, const struct recovery *found)
{
    struct scan_log log = {
        .disk = disk,
        .cluster = found->cluster,
        .store = found->store,
        .epoch = found->epoch,
        .cut_position = found->cut_position,
        .limit = found->start.position + found->ring_bytes,
        .chunk_bytes = RECOVER_BUFFER_BYTES,
    };
    bool valid =
        geometry_init(&log.geometry, found->ring_bytes, found->segment_bytes, found->window_bytes);
    ASSERT(valid); /* superblock_load() has seen it. */
    return log;
}

void scan_init(struct scan *scan,
               const struct scan_log *log,
               uint8_t *buffer,
               uint64_t position,
               struct log_id last)
{
    ASSERT(log->chunk_bytes >= ENTRY_BYTES_MAX);
    ASSERT(log->chunk_bytes <= RECOVER_BUFFER_BYTES);
    ASSERT(log->chunk_bytes % PAGE_BYTES == 0);
    ASSERT(position % PAGE_BYTES == 0);
    *scan = (struct scan){.log = *log, .buffer = buffer, .position = position, .last = last};
}

/* Read one part of the file; halve the step at an error until the page is found. */
static void part_read(struct scan *scan, const struct ring_part *part, uint8_t *buffer)
{
    uint32_t at = 0;
    uint32_t step_bytes = part->bytes;
    while (at < part->bytes) {
        uint32_t left_bytes = part->bytes - at;
        uint32_t bytes = step_bytes < left_bytes ? step_bytes : left_bytes;
        if (disk_read(scan->log.disk, part->offset + at, bytes, buffer + at) == 0) {
            at += bytes;
        } else if (bytes > PAGE_BYTES) {
            step_bytes = bytes / PAGE_BYTES / 2 * PAGE_BYTES;
        } else {
            memset(buffer + at, UNREADABLE_BYTE, PAGE_BYTES);
            scan->unreadable_pages++;
            at += PAGE_BYTES;
            step_bytes = part->bytes;
        }
        ASSERT(step_bytes >= PAGE_BYTES);
    }
}

const uint8_t *scan_pages(struct scan *scan, uint64_t position, uint32_t bytes)
{
    const struct scan_log *log = &scan->log;
    ASSERT(bytes <= ENTRY_BYTES_MAX);
    ASSERT(position + bytes <= log->limit);
    if (position < scan->buffer_position ||
        position + bytes > scan->buffer_position + scan->buffer_bytes) {
        uint64_t left_bytes = log->limit - position;
        uint32_t chunk_bytes =
            log->chunk_bytes < left_bytes ? log->chunk_bytes : (uint32_t)left_bytes;
        if (chunk_bytes > log->geometry.ring_bytes) {
            chunk_bytes = (uint32_t)log->geometry.ring_bytes;
        }
        struct ring_part parts[2];
        uint32_t part_count = ring_split(&log->geometry, position, chunk_bytes, parts);
        uint8_t *to = scan->buffer;
        for (uint32_t i = 0; i < part_count; i++) {
            part_read(scan, &parts[i], to);
            to += parts[i].bytes;
        }
        scan->buffer_position = position;
        scan->buffer_bytes = chunk_bytes;
    }
    ASSERT(position + bytes <= scan->buffer_position + scan->buffer_bytes);
    return scan->buffer + (position - scan->buffer_position);
}

static bool page_is_all(const uint8_t *page, uint8_t byte)
{
    return page[0] == byte && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

/* NULL when both headers of a first page hold and belong to `position`, else why not. */
static const char *heads_check(const struct scan_log *log, uint64_t position, const uint8_t *page)
{
    struct node_header node;
    memcpy(&node, page, sizeof node);
    const char *why = node_header_check(&node, log->store);
    if (why != NULL) {
        return why;
    }
    if (node.position != position) {
        return "node header of another position";
    }
    if (node.epoch > log->epoch) {
        return "node header of an epoch that the superblock does not know";
    }
    if (node.durable_position > position) {
        return "node header vouches for what comes after it";
    }
    struct entry_header header;
    memcpy(&header, page + NODE_HEADER_BYTES, sizeof header);
    why = entry_header_check(&header, log->cluster);
    if (why != NULL) {
        return why;
    }
    if (header.position != position) {
        return "entry header of another position";
    }
    return (uint32_t)header.term == page_mark_of(page).term_low ? NULL : "mark of another term";
}

/* Why a page's mark does not hold. The mark is seeded with the cluster, so a first page of another
 * one has a wrong mark here and headers that are right. */
static const char *mark_blame(const struct scan_log *log, const uint8_t *page)
{
    if (page_is_all(page, UNREADABLE_BYTE)) {
        return "the disk cannot read it";
    }
    struct entry_header header;
    memcpy(&header, page + NODE_HEADER_BYTES, sizeof header);
    bool foreign = header.cluster != log->cluster &&
                   entry_header_check(&header, header.cluster) == NULL &&
                   page_mark_valid(page, header.cluster, true);
    return foreign ? "page of another cluster" : "page mark wrong";
}

struct scan_page scan_page_judge(const struct scan_log *log, uint64_t position, const uint8_t *page)
{
    ASSERT(position % PAGE_BYTES == 0);
    if (page_is_all(page, 0)) {
        return (struct scan_page){.state = PAGE_ABSENT, .why = "never written"};
    }
    struct page_mark mark = page_mark_of(page);
    uint32_t number = (uint32_t)(mark.position % PAGE_BYTES);
    uint64_t marked = mark.position - number;
    bool first = number == 0;
    if (number >= ENTRY_PAGES_MAX || !page_mark_valid(page, log->cluster, first)) {
        /* Its headers identify it only where the mark still says that it is a first page here:
         * client bytes within an entry can look like headers, a mark they cannot reach. */
        bool head = mark.position == position && heads_check(log, position, page) == NULL;
        return (struct scan_page){.state = PAGE_BAD, .head = head, .why = mark_blame(log, page)};
    }
    const char *why = first ? heads_check(log, marked, page) : NULL;
    if (why != NULL) {
        return (struct scan_page){.state = PAGE_BAD, .why = why};
    }
    if (marked == position) {
        return (struct scan_page){.state = PAGE_VALID, .head = first};
    }
    if (marked < position && (position - marked) % log->geometry.ring_bytes == 0) {
        return (struct scan_page){.state = PAGE_ABSENT, .why = "page of an earlier lap"};
    }
    return (struct scan_page){.state = PAGE_BAD, .why = "page of another position (misplaced)"};
}

static enum scan_result scan_stop(struct scan *scan, enum scan_result result, const char *why)
{
    scan->why = why;
    return result;
}

/* An entry whose headers hold did not pass its check: which of its pages says why? */
static enum scan_result entry_fail(struct scan *scan, const uint8_t *entry, const char *why)
{
    const struct entry_header *header = entry_header_of(entry);
    for (uint32_t number = 0; number < header->pages; number++) {
        const uint8_t *page = entry + number * PAGE_BYTES;
        if (entry_page_valid(page, number, header)) {
            continue;
        }
        uint64_t at = scan->position + (uint64_t)number * PAGE_BYTES;
        struct scan_page judged = scan_page_judge(&scan->log, at, page);
        if (judged.state == PAGE_BAD) {
            return scan_stop(scan, SCAN_BAD, judged.why);
        }
        return scan_stop(scan, SCAN_END, "a page of the entry was not written");
    }
    scan->broken = true;
    return scan_stop(scan, SCAN_BAD, why);
}

static enum scan_result scan_try(struct scan *scan, const uint8_t **entry)
{
    const struct scan_log *log = &scan->log;
    scan->broken = false;
    if (scan->position + PAGE_BYTES > log->limit) {
        return scan_stop(scan, SCAN_END, "the ring is full");
    }
    const uint8_t *page = scan_pages(scan, scan->position, PAGE_BYTES);
    struct scan_page judged = scan_page_judge(log, scan->position, page);
    if (judged.state == PAGE_BAD) {
        return scan_stop(scan, SCAN_BAD, judged.why);
    }
    if (!judged.head) {
        return scan_stop(scan, SCAN_END, "nothing was written");
    }
    struct node_header node;
    memcpy(&node, page, sizeof node);
    if (!scan_epoch_counts(log, node.epoch, scan->position)) {
        return scan_stop(scan, SCAN_END, "the entry was cut");
    }
    struct entry_header header;
    memcpy(&header, page + NODE_HEADER_BYTES, sizeof header);
    if (header.index != scan->last.index + 1 || header.previous_term != scan->last.term) {
        return scan_stop(scan, SCAN_END, "the entry does not follow the one before it");
    }
    uint32_t bytes = header.pages * PAGE_BYTES;
    if (scan->position + bytes > log->limit) {
        return scan_stop(scan, SCAN_END, "the entry does not fit the ring");
    }
    const uint8_t *found = scan_pages(scan, scan->position, bytes);
    const char *why = entry_check(found, log->cluster);
    if (why != NULL) {
        return entry_fail(scan, found, why);
    }
    scan->position += bytes;
    scan->last = (struct log_id){.term = header.term, .index = header.index};
    *entry = found;
    return SCAN_ENTRY;
}

enum scan_result scan_next(struct scan *scan, const uint8_t **entry)
{
    bool stale = scan->buffer_bytes > 0;
    enum scan_result result = scan_try(scan, entry);
    bool live = scan->log.epoch == UINT64_MAX;
    if (result == SCAN_ENTRY || !live) {
        return result;
    }
    scan->buffer_bytes = 0;
    if (stale) {
        result = scan_try(scan, entry);
        scan->buffer_bytes = result == SCAN_ENTRY ? scan->buffer_bytes : 0;
    }
    return result;
}

bool scan_page_stands(const struct scan_log *log,
                      uint64_t position,
                      const uint8_t *here,
                      const uint8_t *page)
{
    struct scan_page judged = scan_page_judge(log, position, here);
    uint32_t from = judged.head ? NODE_HEADER_BYTES : 0;
    if (judged.state != PAGE_VALID || memcmp(here + from, page + from, PAGE_BYTES - from) != 0) {
        return false;
    }
    struct node_header node;
    memcpy(&node, here, sizeof node);
    return !judged.head || scan_epoch_counts(log, node.epoch, position);
}
