/* walk.h: everything that stands in a log, in order, past whatever is damaged: for offline tools.
 *
 * recover() judges the log; a walk shows what it judged, entry by entry and hole by hole, from the
 * log start to the end of the window in which anything can count. Its pages are judged by
 * storage/scan.h, and what counts above the proven prefix by recover_counts(): a walk has no rules
 * of its own. Behind what cannot be read it goes on at the next page that begins a record there.
 *
 * Reads only. It must not know what its caller prints.
 */
#ifndef STORAGE_WALK_H
#define STORAGE_WALK_H

#include "storage/recover.h"
#include "storage/scan.h"

#include <stdbool.h>
#include <stdint.h>

enum walk_status {
    /* Entries: their headers can be read. */
    WALK_OK,     /* Whole, and follows the entry before it. */
    WALK_APART,  /* Whole; whether it follows cannot be told, for what is before it is not there. */
    WALK_BROKEN, /* Whole, and names another entry before it than stands there. */
    WALK_REPLACED, /* Whole, but not what was written last in its place: a lost write. */
    WALK_TORN,     /* Pages of it were not written. */
    WALK_BAD,      /* Pages of it are bad, or its content contradicts itself. */
    WALK_STALE,    /* Void: left over from before a cut, or from writes that were lost. */
    /* Runs of pages that begin no entry. */
    WALK_REST,    /* Later pages of an entry whose first page is not here. */
    WALK_ABSENT,  /* Never written, or last in an earlier lap. */
    WALK_GARBAGE, /* Bad. */
    WALK_STATUS_COUNT
};

struct walk_item {
    enum walk_status status;
    uint64_t position;
    uint64_t bytes;          /* To the next item. */
    bool proven;             /* In recovery's proven prefix. */
    bool damage;             /* Belongs to what makes the log damaged or suspect. */
    const char *why;         /* NULL for OK. */
    uint32_t page;           /* Of an entry: which of its pages `why` is about. */
    uint32_t bad_pages;      /* Among its bytes. */
    struct log_id after;     /* The last entry before it whose headers can be read. */
    const uint8_t *entry;    /* Entries only: all `bytes`, of which TORN and BAD ones are not what
                                they should be; valid until the next call. */
    struct node_header node; /* Entries only, both checked. */
    struct entry_header header;
};

struct walk {
    struct scan scan;
    const struct recovery *found;
    uint64_t position;
    struct log_id last; /* Of the last entry that counts, damaged or not. */
    bool adrift;        /* Something lies between it and `position`. */
};

/* Begin at the log start. `found` is recover()'s word of this disk, and outlives the walk; `buffer`
 * is RECOVER_BUFFER_BYTES, page aligned. */
void walk_init(struct walk *walk, struct disk *disk, const struct recovery *found, uint8_t *buffer);

/* The next item; false at the end, or once the disk hangs (disk_check()). */
MUST_USE bool walk_next(struct walk *walk, struct walk_item *item);

const char *walk_status_name(enum walk_status status);

static inline bool walk_is_entry(const struct walk_item *item)
{
    return item->status <= WALK_STALE;
}

/* All its bytes are what its leader made. */
static inline bool walk_is_whole(const struct walk_item *item)
{
    return item->status <= WALK_REPLACED;
}

/* Whole, and nothing says that it is not the log's. */
static inline bool walk_is_sound(const struct walk_item *item)
{
    return item->status == WALK_OK || item->status == WALK_APART;
}

#endif
