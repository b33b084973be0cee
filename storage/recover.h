/* recover.h: what a log on disk holds, proven; reads only and never guesses.
 *
 * Finds the longest complete prefix that chains (T) and the highest durable watermark that anything
 * valid vouches for (D), and tells clean, torn, damaged, suspect, stale and foreign apart. The
 * rules and their reasons are in docs/STORAGE.md, "Recovery". "The first bad record is the tail" is
 * not one of them: it loses acknowledged data.
 */
#ifndef STORAGE_RECOVER_H
#define STORAGE_RECOVER_H

#include "engine/base/assert.h"
#include "engine/base/entry.h"
#include "engine/base/fault.h"
#include "storage/disk.h"

#include <stdbool.h>
#include <stdint.h>

/* Term and index of an entry. */
struct log_id {
    uint64_t term;
    uint64_t index;
};

/* By term, then by index, as votes go: below 0, 0 or above 0. */
static inline int log_id_compare(struct log_id a, struct log_id b)
{
    if (a.term != b.term) {
        return a.term < b.term ? -1 : 1;
    }
    return a.index == b.index ? 0 : a.index < b.index ? -1 : 1;
}

/* A segment boundary as the small state there tells it; the log start is one of these. */
struct log_start {
    uint64_t position;  /* Of the first entry at or after the boundary. */
    struct log_id last; /* The entry before it; {0, 0}: none. */
    uint64_t offset;    /* Client offset of the first record from there. */
};

enum recover_kind {
    RECOVER_CLEAN, /* The log ends where its last entry ends. */
    RECOVER_TORN,  /* Writes in flight at a power cut are (partly) missing; nothing there was acked.
                    */
    RECOVER_DAMAGED, /* T < D, or a last entry that is not the one recorded: corruption in the
                        middle. */
    RECOVER_SUSPECT, /* T >= D and a bad page in the window above: torn below 4 KiB, or rot. */
};

struct recovery {
    enum recover_kind kind;
    /* The superblock, as found. */
    uint64_t cluster;
    uint8_t node;
    uint64_t store;
    uint64_t boot;
    uint64_t term;
    uint64_t entry_term;
    uint8_t vote;
    bool bootstrapped;
    struct log_id bound; /* Of an end lost earlier and not met yet; {0, 0}: none. */
    uint64_t epoch;
    uint64_t cut_position;
    struct log_id cut_last;
    struct log_start start;
    uint64_t ring_bytes;
    uint64_t segment_bytes;
    uint64_t window_bytes;
    /* The log. */
    uint64_t end_position;     /* T */
    uint64_t durable_position; /* D */
    struct log_id last;        /* Of the proven prefix. */
    uint64_t next_offset;
    uint64_t entry_count;
    /* What is wrong, for DAMAGED and SUSPECT (votes and repair use it later). */
    struct log_id true_last;  /* Highest identity that the log is known to have held. */
    bool tail_unreadable;     /* Bad pages above whose entry is unknown. */
    struct log_id vote_bound; /* A candidate must be at least this (design D5). Meets `bound`. */
    uint64_t mismatch_index;  /* Not 0: what the prefix holds there is not what was written last. */
    uint64_t mark_position;   /* Of the highest watermark page that counts; 0: none. */
    struct log_id mark_last;  /* The last entry below it. */
    /* Of each copy of the small state at the start why it is bad; NULL: it stands, or nothing was
     * trimmed. One that stands will do: a log is whole with it. */
    const char *state_wrong[STATE_COPIES];
    bool beyond_entries; /* What is gone is no entry: no peer's entries make it whole. */
    uint32_t bad_pages;
    uint64_t bad_position; /* Of the first one. */
    uint64_t window_end;   /* Nothing that counts lies at or above it. */
    int refused;           /* Not 0 (recover_config.survey): a node is refused with this code. */
    char what[512];        /* One line for people. Empty for CLEAN. */
};

/* Called for every entry of the proven prefix in order; `entry` is valid during the call. Void
 * entry pointer fields of a visitor may be NULL. */
struct recover_visitor {
    void (*entry)(void *context, const uint8_t *entry);
    /* The small state at the log start, when the log was trimmed: `bytes` as given to
     * wal_put_state. */
    void (*state)(void *context, const struct log_start *start, const void *bytes, uint32_t count);
    void *context;
    /* An identity known above the prefix: of a record in force at `position` whose headers can be
     * read, or of its predecessor. Of one index the last one told counts. */
    void (*known)(void *context, struct log_id id, uint64_t position);
};

#define RECOVER_BUFFER_BYTES (2u * 1024u * 1024u)

/* Whose log is expected, and what reading it needs. */
struct recover_config {
    uint64_t cluster; /* 0: any, and so for `node` (offline tools). */
    uint8_t node;
    uint8_t *buffer;                       /* RECOVER_BUFFER_BYTES, page aligned; borrowed. */
    const struct recover_visitor *visitor; /* Or NULL. */
    /* Go on with a superblock of which a slot is gone, and with a truncated file, for whoever only
     * looks: the kind is DAMAGED, and recovery.refused the fault's code. */
    bool survey;
};

/* Read the superblock and the ring through `disk` and tell what is there. Returns 0 with `recovery`
 * filled, whatever the kind; or a negative errno with the fault told: not a log, foreign, newer,
 * truncated, a superblock slot without a valid copy, or no superblock at all before entries of a
 * log. Idempotent; writes nothing. */
MUST_USE int recover(struct disk *disk,
                     const struct recover_config *config,
                     struct recovery *recovery,
                     struct fault *fault);

const char *recover_kind_name(enum recover_kind kind);

/* Whether a copy of the small state at the start is bad. */
static inline bool recover_state_is_bad(const struct recovery *found)
{
    return found->state_wrong[0] != NULL || found->state_wrong[1] != NULL;
}
_Static_assert(STATE_COPIES == 2, "as many copies as are looked at");

/* Clean or torn: a node takes it. */
static inline bool recover_is_whole(const struct recovery *found)
{
    return found->kind == RECOVER_CLEAN || found->kind == RECOVER_TORN;
}

/* Whether the record whose headers stand on the page at `position`, above the proven prefix, is
 * known to have been part of the log. Otherwise it is void, or left over from before the prefix was
 * written. `whole`: the page is valid. */
struct scan_log;
bool recover_counts(const struct recovery *found,
                    const struct scan_log *log,
                    uint64_t position,
                    const uint8_t *page,
                    bool whole);

#endif
