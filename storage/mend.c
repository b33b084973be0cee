/* mend.c: see mend.h. Holes from the bottom up, each from the top down. */
#include "storage/mend.h"

#include "storage/superblock.h"

#include <errno.h>
#include <string.h>

static bool same_id(struct log_id a, struct log_id b)
{
    return a.term == b.term && a.index == b.index;
}

/* The boot alone: a frame that a former life of this node is still owed must not reach this one. */
static int boot_raise(struct mend *mend, struct fault *fault)
{
    struct superblock_set set;
    int result = superblock_load(mend->disk, mend->buffer, &set, fault);
    if (result == 0) {
        result = superblock_mend(mend->disk, mend->buffer, &set, fault);
    }
    if (result != 0) {
        return result;
    }
    struct superblock next = set.newest;
    next.sequence++;
    next.boot++;
    mend->boot = next.boot;
    return superblock_store(mend->disk, mend->buffer, &next, fault);
}

int mend_begin(struct mend *mend, const struct mend_config *config, struct fault *fault)
{
    ASSERT(config->buffer != NULL);
    *mend = (struct mend){
        .disk = config->disk,
        .cluster = config->cluster,
        .node = config->node,
        .buffer = config->buffer,
    };
    int result = boot_raise(mend, fault);
    return result == 0 ? mend_look(mend, fault) : result;
}

static void want_set(struct mend *mend, struct log_id id, uint64_t end_position)
{
    ASSERT(id.index > mend->found.start.last.index);
    ASSERT(id.term > 0);
    mend->state = MEND_ASKS;
    mend->want = (struct mend_want){.id = id, .end_position = end_position};
}

/* Which entry the record on this page shows to be gone: the one below it, or, where the prefix
 * ends, itself. False: none, or the page says nothing that counts. */
static bool record_shows(struct mend *mend, uint64_t position, const uint8_t *page)
{
    const struct recovery *found = &mend->found;
    struct scan_page judged = scan_page_judge(&mend->scan.log, position, page);
    bool whole = judged.state == PAGE_VALID;
    if (!judged.head || !recover_counts(found, &mend->scan.log, position, page, whole)) {
        return false;
    }
    struct entry_header header;
    memcpy(&header, page + NODE_HEADER_BYTES, sizeof header);
    struct log_id below = {.term = header.previous_term, .index = header.index - 1};
    if (below.index > found->last.index) {
        want_set(mend, below, position);
        return true;
    }
    ASSERT(below.index == found->last.index);
    if (!same_id(below, found->last)) {
        if (found->mismatch_index != below.index || below.index <= found->start.last.index) {
            return false;
        }
        want_set(mend, below, position);
        return true;
    }
    if (position != found->end_position) {
        return false; /* It follows the prefix and lies elsewhere: left over. */
    }
    struct log_id itself = {.term = header.term, .index = header.index};
    want_set(mend, itself, position + (uint64_t)header.pages * PAGE_BYTES);
    return true;
}

/* What names the last entry below a position and stands outside the log: the cut, a watermark. */
static bool witness_shows(struct mend *mend, uint64_t position, struct log_id last)
{
    const struct recovery *found = &mend->found;
    if (position <= found->start.position || last.index <= found->start.last.index) {
        return false;
    }
    bool lower = mend->state != MEND_ASKS || position < mend->want.end_position;
    bool gone = last.index > found->last.index || last.index == found->mismatch_index;
    if (!gone || !lower) {
        return false;
    }
    want_set(mend, last, position);
    return true;
}

/* The entry nearest above the prefix that is gone. */
static void seek(struct mend *mend)
{
    const struct recovery *found = &mend->found;
    uint64_t limit = mend->scan.log.limit;
    limit = found->window_end < limit ? found->window_end : limit;
    mend->state = MEND_LOST;
    for (uint64_t at = found->end_position; at < limit; at += PAGE_BYTES) {
        if (record_shows(mend, at, scan_pages(&mend->scan, at, PAGE_BYTES))) {
            break;
        }
    }
    (void)witness_shows(mend, found->mark_position, found->mark_last);
    (void)witness_shows(mend, found->cut_position, found->cut_last);
}

int mend_look(struct mend *mend, struct fault *fault)
{
    const struct recover_config expected = {
        .cluster = mend->cluster,
        .node = mend->node,
        .buffer = mend->buffer,
    };
    int result = recover(mend->disk, &expected, &mend->found, fault);
    if (result != 0) {
        return result;
    }
    if (recover_is_whole(&mend->found)) {
        mend->state = MEND_WHOLE;
        return 0;
    }
    struct scan_log log = scan_log_of(mend->disk, &mend->found);
    log.chunk_bytes = ENTRY_BYTES_MAX; /* Holes lie apart: what is read ahead is thrown away. */
    scan_init(&mend->scan, &log, mend->buffer, mend->found.end_position, mend->found.last);
    mend->state = MEND_LOST;
    if (!mend->found.beyond_entries) {
        seek(mend);
    }
    return 0;
}

/* Follow the prefix over what was mended, and seek the next hole. Above the last one only a full
 * look can tell. */
static int advance(struct mend *mend, struct fault *fault)
{
    struct recovery *found = &mend->found;
    const uint8_t *entry = NULL;
    if (found->mismatch_index != 0) {
        return mend_look(mend, fault); /* It was mended within the prefix. */
    }
    mend->scan.buffer_bytes = 0; /* Written since. */
    uint64_t from = mend->scan.position;
    while (scan_next(&mend->scan, &entry) == SCAN_ENTRY) {
        found->end_position = mend->scan.position;
        found->last = mend->scan.last;
        found->entry_count++;
        /* The next hole may be near or far: reads grow with the way. */
        uint32_t *chunk_bytes = &mend->scan.log.chunk_bytes;
        bool far = mend->scan.position - from > *chunk_bytes;
        *chunk_bytes = far && *chunk_bytes < RECOVER_BUFFER_BYTES ? 2 * *chunk_bytes : *chunk_bytes;
    }
    mend->scan.log.chunk_bytes = ENTRY_BYTES_MAX;
    mend->scan.buffer_bytes = 0;
    seek(mend);
    int hangs = disk_check(mend->disk, fault);
    return hangs != 0 || mend->state == MEND_ASKS ? hangs : mend_look(mend, fault);
}

static void stamp(const struct mend *mend, uint8_t *entry, uint64_t position)
{
    uint64_t durable = mend->found.durable_position;
    const struct node_header node = {
        .node = mend->found.node,
        .store = mend->found.store,
        .epoch = mend->found.epoch,
        .durable_position = durable < position ? durable : position,
        .position = position,
    };
    node_header_seal(entry, &node);
}

/* Write those pages of the entry that do not stand here; returns how many, or the errno. */
static int pages_write(struct mend *mend, uint8_t *entry, struct fault *fault)
{
    const struct entry_header *header = entry_header_of(entry);
    int written = 0;
    for (uint32_t i = 0; i < header->pages; i++) {
        uint64_t position = header->position + (uint64_t)i * PAGE_BYTES;
        uint8_t *page = entry + (uint64_t)i * PAGE_BYTES;
        const uint8_t *here = scan_pages(&mend->scan, position, PAGE_BYTES);
        if (scan_page_stands(&mend->scan.log, position, here, page)) {
            continue;
        }
        struct ring_part parts[2];
        uint32_t count = ring_split(&mend->scan.log.geometry, position, PAGE_BYTES, parts);
        ASSERT(count == 1); /* A ring is whole pages. */
        struct disk_io io = {
            .op = DISK_WRITE, .bytes = PAGE_BYTES, .offset = parts[0].offset, .buffer = page};
        int result = disk_transfer(mend->disk, &io);
        if (result != 0) {
            disk_tell(mend->disk, "an entry could not be written in its place", result, fault);
            return result;
        }
        written++;
    }
    return written;
}

static bool is_wanted(const struct mend *mend, const struct entry_header *header)
{
    uint64_t end = header->position + (uint64_t)header->pages * PAGE_BYTES;
    return header->term == mend->want.id.term && header->index == mend->want.id.index &&
           end == mend->want.end_position && header->position >= mend->found.start.position &&
           end <= mend->scan.log.limit;
}

int mend_take(struct mend *mend, uint8_t *entry, struct fault *fault)
{
    const struct entry_header *header = entry_header_of(entry);
    if (mend->state != MEND_ASKS || !is_wanted(mend, header)) {
        return -EINVAL;
    }
    ASSERT(entry_check(entry, mend->cluster) == NULL);
    const struct mend_want asked = mend->want;
    const struct recovery *found = &mend->found;
    stamp(mend, entry, header->position);
    mend->scan.buffer_bytes = 0;
    int written = pages_write(mend, entry, fault);
    if (written < 0) {
        return written;
    }
    mend->entries_mended += written > 0;
    mend->pages_written += (uint64_t)written;
    struct log_id below = {.term = header->previous_term, .index = header->index - 1};
    bool first = below.index <= found->start.last.index;
    bool joins = same_id(below, found->last) && header->position == found->end_position;
    if (written > 0 && !first && !joins) {
        want_set(mend, below, header->position);
        return 0;
    }
    int result = advance(mend, fault);
    if (result == 0 && written == 0 && mend->state == MEND_ASKS &&
        same_id(asked.id, mend->want.id)) {
        mend->state = MEND_LOST; /* It stands there, and yet it is missed. */
    }
    return result;
}

void mend_give_up(struct mend *mend)
{
    ASSERT(mend->state == MEND_ASKS);
    mend->state = MEND_LOST;
}

const uint8_t *
mend_find(const struct mend_want *asked, uint64_t cluster, const uint8_t *bytes, uint32_t count)
{
    ASSERT(count >= PAGE_BYTES);
    ASSERT(count % PAGE_BYTES == 0);
    struct page_mark mark = page_mark_of(bytes + count - PAGE_BYTES);
    uint32_t entry_bytes = ((uint32_t)(mark.position % PAGE_BYTES) + 1) * PAGE_BYTES;
    if (entry_bytes > ENTRY_BYTES_MAX || entry_bytes > count) {
        return NULL;
    }
    const uint8_t *entry = bytes + count - entry_bytes;
    const struct entry_header *header = entry_header_of(entry);
    bool named = entry_header_check(header, cluster) == NULL &&
                 header->pages * PAGE_BYTES == entry_bytes && header->term == asked->id.term &&
                 header->index == asked->id.index &&
                 header->position + entry_bytes == asked->end_position;
    return named && entry_check(entry, cluster) == NULL ? entry : NULL;
}

bool mend_read(struct mend *mend, const struct mend_want *asked, uint8_t *entry)
{
    const struct scan_log *log = &mend->scan.log;
    uint64_t start = mend->found.start.position;
    if (asked->end_position <= start || asked->end_position > log->limit ||
        asked->end_position % PAGE_BYTES != 0) {
        return false;
    }
    uint64_t kept = asked->end_position - start;
    uint32_t bytes = kept < ENTRY_BYTES_MAX ? (uint32_t)kept : ENTRY_BYTES_MAX;
    mend->scan.buffer_bytes = 0;
    const uint8_t *read = scan_pages(&mend->scan, asked->end_position - bytes, bytes);
    const uint8_t *held = mend_find(asked, mend->cluster, read, bytes);
    if (held == NULL) {
        return false;
    }
    memcpy(entry, held, (size_t)entry_header_of(held)->pages * PAGE_BYTES);
    return true;
}
