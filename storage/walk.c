/* walk.c: see walk.h. */
#include "storage/walk.h"

#include <string.h>

void walk_init(struct walk *walk, struct disk *disk, const struct recovery *found, uint8_t *buffer)
{
    ASSERT(found->window_end >= found->end_position);
    *walk =
        (struct walk){.found = found, .position = found->start.position, .last = found->start.last};
    struct scan_log log = scan_log_of(disk, found);
    scan_init(&walk->scan, &log, buffer, found->start.position, found->start.last);
}

const char *walk_status_name(enum walk_status status)
{
    switch (status) {
    case WALK_OK:
        return "ok";
    case WALK_APART:
        return "apart";
    case WALK_BROKEN:
        return "broken";
    case WALK_REPLACED:
        return "replaced";
    case WALK_TORN:
        return "torn";
    case WALK_BAD:
        return "bad";
    case WALK_STALE:
        return "stale";
    case WALK_REST:
        return "rest";
    case WALK_ABSENT:
        return "absent";
    case WALK_GARBAGE:
        return "garbage";
    case WALK_STATUS_COUNT:
        break;
    }
    ASSERT(false);
}

/* Where it ends: recovery counts nothing above. */
static uint64_t walk_end(const struct walk *walk)
{
    uint64_t limit = walk->scan.log.limit;
    return walk->found->window_end < limit ? walk->found->window_end : limit;
}

/* Does it belong to what is wrong with the log? Where recovery found nothing wrong, nothing is;
 * otherwise what is bad, and what is missing although it was durable. */
static bool item_is_damage(const struct recovery *found, const struct walk_item *item)
{
    if (recover_is_whole(found)) {
        return false;
    }
    bool missing =
        item->position >= found->end_position && item->position < found->durable_position;
    switch (item->status) {
    case WALK_OK:
    case WALK_APART:
        return item->bad_pages > 0;
    case WALK_BROKEN:
    case WALK_REPLACED:
    case WALK_BAD:
    case WALK_GARBAGE:
        return true;
    case WALK_TORN:
    case WALK_STALE:
    case WALK_REST:
    case WALK_ABSENT:
        return missing || item->bad_pages > 0;
    case WALK_STATUS_COUNT:
        break;
    }
    ASSERT(false);
}

static struct scan_page page_judge(struct walk *walk, uint64_t position, const uint8_t **page)
{
    *page = scan_pages(&walk->scan, position, PAGE_BYTES);
    return scan_page_judge(&walk->scan.log, position, *page);
}

/* Whether a record that counts begins on the page. Within the prefix all do. */
static bool page_begins(const struct walk *walk,
                        uint64_t position,
                        const uint8_t *page,
                        const struct scan_page *judged)
{
    return judged->head && (position < walk->found->end_position ||
                            recover_counts(walk->found, &walk->scan.log, position, page,
                                           judged->state == PAGE_VALID));
}

static void page_blame(struct walk_item *item, uint32_t number, const char *why)
{
    item->page = item->why == NULL ? number : item->page;
    item->why = item->why == NULL ? why : item->why;
}

/* The pages of the entry at item->position, up to the next record that begins within it: which are
 * bad, which not there? Void entries end where their own pages do. */
static void entry_pages_judge(struct walk *walk, struct walk_item *item, bool counts)
{
    const struct entry_header *header = &item->header;
    uint32_t missing = 0;
    uint32_t number = 0;
    for (; number < header->pages; number++) {
        uint64_t at = item->position + (uint64_t)number * PAGE_BYTES;
        const uint8_t *page = NULL;
        if (at + PAGE_BYTES > walk->scan.log.limit) {
            page_blame(item, number, "the entry does not fit the ring");
            missing++;
            break;
        }
        struct scan_page judged = page_judge(walk, at, &page);
        bool own = entry_page_valid(page, number, header);
        if (!own && number > 0 && (!counts || page_begins(walk, at, page, &judged))) {
            page_blame(item, number, "another entry begins within it");
            missing++;
            break;
        }
        if (judged.state == PAGE_BAD) {
            page_blame(item, number, judged.why);
            item->bad_pages++;
        } else if (!own) {
            page_blame(item, number, judged.why != NULL ? judged.why : "page of another entry");
            missing++;
        }
    }
    item->bytes = (uint64_t)number * PAGE_BYTES;
    item->status = item->bad_pages > 0 ? WALK_BAD : missing > 0 ? WALK_TORN : WALK_OK;
}

/* A whole entry: does it follow the one before it? */
static void entry_chain(const struct walk *walk, struct walk_item *item)
{
    const struct entry_header *header = &item->header;
    if (header->index == walk->last.index + 1) {
        if (header->previous_term != walk->last.term) {
            item->status = WALK_BROKEN;
            item->why = "the entry before it is not the one that it names";
        }
    } else if (walk->adrift && header->index > walk->last.index) {
        item->status = WALK_APART;
        item->why = "whole; the entries before it are not there";
    } else {
        item->status = WALK_BROKEN;
        item->why = "its index does not follow the entry before it";
    }
}

/* The headers of an entry can be read at item->position. */
static void entry_take(struct walk *walk, struct walk_item *item, const uint8_t *page, bool counts)
{
    memcpy(&item->node, page, sizeof item->node);
    memcpy(&item->header, page + NODE_HEADER_BYTES, sizeof item->header);
    entry_pages_judge(walk, item, counts);
    ASSERT(item->bytes > 0);
    item->entry = scan_pages(&walk->scan, item->position, (uint32_t)item->bytes);
    if (!counts) {
        item->status = WALK_STALE;
        item->page = 0;
        item->why = scan_epoch_counts(&walk->scan.log, item->node.epoch, item->position)
                        ? "left over from before what is below it"
                        : "of an epoch that was cut here";
        return;
    }
    if (item->status == WALK_OK) {
        const char *wrong = entry_check(item->entry, walk->scan.log.cluster);
        if (wrong == NULL) {
            entry_chain(walk, item);
        } else {
            item->status = WALK_BAD;
            item->why = wrong;
            item->bad_pages = item->position == walk->found->end_position; /* Recovery's count. */
        }
    }
    walk->last = (struct log_id){.term = item->header.term, .index = item->header.index};
    walk->adrift = false;
}

/* An entry of the proven prefix; false when a second reading does not find it any more. */
static bool prefix_take(struct walk *walk, struct walk_item *item)
{
    const uint8_t *entry = NULL;
    if (walk->position != walk->scan.position || scan_next(&walk->scan, &entry) != SCAN_ENTRY) {
        return false;
    }
    memcpy(&item->node, entry, sizeof item->node);
    memcpy(&item->header, entry_header_of(entry), sizeof item->header);
    item->entry = entry;
    item->bytes = (uint64_t)item->header.pages * PAGE_BYTES;
    item->proven = true;
    item->status = WALK_OK;
    if (item->header.index == walk->found->mismatch_index) {
        item->status = WALK_REPLACED;
        item->why = "not the entry that was written last here (a lost write)";
    }
    walk->last = walk->scan.last;
    return true;
}

static enum walk_status run_status(enum page_state state)
{
    switch (state) {
    case PAGE_VALID:
        return WALK_REST;
    case PAGE_ABSENT:
        return WALK_ABSENT;
    case PAGE_BAD:
        return WALK_GARBAGE;
    }
    ASSERT(false);
}

/* Pages of one sort that begin no entry. A run does not cross what was known durable. */
static void run_take(struct walk *walk, struct walk_item *item, const struct scan_page *first)
{
    uint64_t durable = walk->found->durable_position;
    uint64_t at = item->position;
    struct scan_page judged = *first;
    do {
        item->bad_pages += judged.state == PAGE_BAD;
        at += PAGE_BYTES;
        if (at == durable || at >= walk_end(walk)) {
            break;
        }
        const uint8_t *page = NULL;
        judged = page_judge(walk, at, &page);
    } while (!judged.head && judged.state == first->state && judged.why == first->why);
    item->bytes = at - item->position;
    item->status = run_status(first->state);
    item->why = first->state == PAGE_VALID ? "the rest of an entry whose first page is not here"
                                           : first->why;
    walk->adrift = true;
}

bool walk_next(struct walk *walk, struct walk_item *item)
{
    if (walk->position >= walk_end(walk)) {
        return false;
    }
    *item = (struct walk_item){.position = walk->position, .after = walk->last};
    bool proven = walk->position < walk->found->end_position && prefix_take(walk, item);
    if (!proven) {
        const uint8_t *page = NULL;
        struct scan_page judged = page_judge(walk, walk->position, &page);
        if (judged.head) {
            entry_take(walk, item, page, page_begins(walk, walk->position, page, &judged));
        } else {
            run_take(walk, item, &judged);
        }
    }
    ASSERT(item->bytes > 0);
    ASSERT(item->bytes % PAGE_BYTES == 0);
    item->damage = item_is_damage(walk->found, item);
    walk->position += item->bytes;
    return !walk->scan.log.disk->hangs;
}
