/* recover.c: what a log on disk holds, proven. Reads only; the rules are in docs/STORAGE.md.
 *
 * In order: the superblock (newest slot), the watermark pages, the small state at the start, the
 * prefix that chains (T), then every page above T up to the window's end, for the highest watermark
 * that anything in force vouches for (D), for identities beyond T, and for bad pages. The whole
 * ring is looked at only when that shows anything wrong: a healthy log costs what it keeps.
 *
 * It must not write, and it must not know what a wal or a replica does with the answer.
 */
#include "storage/recover.h"

#include "storage/remains.h"
#include "storage/scan.h"
#include "storage/small_state.h"
#include "storage/superblock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert(STATE_COPIES *STATE_BYTES <= RECOVER_BUFFER_BYTES, "both copies are read at once");

/* Something outside the prefix that names the last entry below a position: the cut or a watermark.
 */
struct witness {
    uint64_t position;
    struct log_id last;
    bool seen;             /* The prefix holds an entry of that index ... */
    struct log_id seen_id; /* ... this one, ... */
    uint64_t seen_end;     /* ... which ends here. */
};

struct survey {
    struct scan scan;
    struct recovery *found;
    const struct recover_visitor *visitor; /* Or NULL. */
    struct witness cut;
    struct witness mark; /* Of the highest watermark page that counts; position 0: none. */
    uint64_t last_epoch; /* In which the last entry of the prefix was written. */
    /* Above T. */
    uint64_t head_index; /* Of the last record that counts, and its epoch. */
    uint64_t head_epoch;
    uint64_t readable_end; /* Of the last record in force whose headers can be read; at least T. */
    bool beyond;           /* Some identity above the prefix is known. */
    bool later;            /* Something of a later write is there. */
    uint32_t bad_below;    /* Bad pages below readable_end. */
    uint32_t bad_above;    /* Bad pages from readable_end up to the window's end. */
    uint32_t bad_outside; /* Bad pages after it: they count only if a record is found above them. */
    uint64_t bad_first;   /* Position of the first bad page in the window. */
    uint64_t outside_first; /* Of the first one outside. */
    bool mismatch;          /* A witness names another entry than the prefix holds. */
    bool superblock_old;    /* A watermark page is of an epoch that the superblock does not know. */
    bool state_bad;         /* No copy of the small state at the start can be read. */
    const char *why;        /* Why the first bad page is bad. */
};

const char *recover_kind_name(enum recover_kind kind)
{
    switch (kind) {
    case RECOVER_CLEAN:
        return "clean";
    case RECOVER_TORN:
        return "torn";
    case RECOVER_DAMAGED:
        return "damaged";
    case RECOVER_SUSPECT:
        return "suspect";
    }
    ASSERT(false);
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void superblock_tell(const struct superblock *superblock, struct recovery *found)
{
    memset(found, 0, sizeof *found); /* Padding too: two findings can be compared as bytes. */
    found->cluster = superblock->cluster;
    found->node = superblock->node;
    found->store = superblock->store;
    found->boot = superblock->boot;
    found->term = superblock->term;
    found->entry_term = superblock->entry_term;
    found->vote = (uint8_t)superblock->vote;
    found->bootstrapped = superblock->bootstrapped != 0;
    found->bound.term = superblock->bound_term;
    found->bound.index = superblock->bound_index;
    found->epoch = superblock->epoch;
    found->cut_position = superblock->cut_position;
    found->cut_last.term = superblock->cut_term;
    found->cut_last.index = superblock->cut_index;
    found->start.position = superblock->start_position;
    found->start.last.term = superblock->start_term;
    found->start.last.index = superblock->start_index;
    found->start.offset = superblock->start_offset;
    found->ring_bytes = superblock->ring_bytes;
    found->segment_bytes = superblock->segment_bytes;
    found->window_bytes = superblock->window_bytes;
}

/* Is it the log that the caller means? */
static int identity_check(const struct recovery *found,
                          const struct recover_config *config,
                          struct fault *fault)
{
    if (config->cluster != 0 && found->cluster != config->cluster) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the log belongs to cluster %016" PRIx64 ", the configuration says %016" PRIx64
                  ": check `id =` and `data =`",
                  found->cluster, config->cluster);
        return -EXDEV;
    }
    if (config->node != 0 && found->node != config->node) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the log belongs to node %u, not to node %u: check `--node` and `data =`",
                  found->node, config->node);
        return -EXDEV;
    }
    return 0;
}

/* Is the file whole? */
static int length_check(uint64_t file_bytes, uint64_t needed_bytes, struct fault *fault)
{
    if (file_bytes < needed_bytes) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the log is truncated: the file has %" PRIu64 " bytes and its superblock says "
                  "%" PRIu64 "; make it as long again (`truncate -s %" PRIu64 " FILE`), and what "
                  "was lost comes back from the other nodes",
                  file_bytes, needed_bytes, needed_bytes);
        return -ENOTSUP;
    }
    return 0;
}

/* The highest watermark page of the superblock's epoch. Pages of older epochs may lie above a cut:
 * they do not count, and the cut itself vouches for what they knew below it. */
static void watermarks_read(struct survey *survey)
{
    struct recovery *found = survey->found;
    for (uint32_t i = 0; i < WATERMARK_PAGES; i++) {
        struct watermark mark;
        uint8_t *page = survey->scan.buffer;
        if (disk_read(survey->scan.log.disk, layout_watermark_at(i), PAGE_BYTES, page) != 0 ||
            !watermark_decode(page, found->cluster, found->store, &mark)) {
            continue;
        }
        survey->superblock_old = survey->superblock_old || mark.epoch > found->epoch;
        if (mark.epoch != found->epoch) {
            continue;
        }
        if (mark.position > survey->mark.position) {
            survey->mark.position = mark.position;
            survey->mark.last = (struct log_id){.term = mark.last_term, .index = mark.last_index};
        }
    }
    uint64_t vouched = max_u64(found->start.position, found->cut_position);
    found->durable_position = max_u64(vouched, survey->mark.position);
    survey->cut.position = found->cut_position;
    survey->cut.last = found->cut_last;
}

/* The small state at the start of a trimmed log. */
static void start_state_read(struct survey *survey)
{
    struct recovery *found = survey->found;
    const struct recover_visitor *visitor = survey->visitor;
    if (found->start.position == 0) {
        return;
    }
    const struct state_owner owner = {
        .cluster = found->cluster,
        .store = found->store,
        .segment = segment_number(&survey->scan.log.geometry, found->start.position),
    };
    const struct state_place place = {survey->scan.log.disk, &survey->scan.log.geometry};
    const struct state_copies copies =
        state_read(&place, &owner, &found->start, survey->scan.buffer);
    memcpy(found->state_wrong, copies.wrong, sizeof found->state_wrong);
    survey->state_bad = copies.pages == NULL;
    if (survey->state_bad) {
        return;
    }
    if (visitor != NULL && visitor->state != NULL) {
        visitor->state(visitor->context, &found->start, copies.pages + PAGE_BYTES,
                       copies.byte_count);
    }
}

static void witness_see(struct witness *witness, const struct scan *scan)
{
    if (witness->last.index == scan->last.index) {
        witness->seen = true;
        witness->seen_id = scan->last;
        witness->seen_end = scan->position;
    }
}

/* The longest complete prefix that chains. */
static void prefix_read(struct survey *survey)
{
    struct recovery *found = survey->found;
    const struct recover_visitor *visitor = survey->visitor;
    found->next_offset = found->start.offset;
    const uint8_t *entry = NULL;
    found->end_position = survey->scan.position;
    found->last = survey->scan.last;
    while (scan_next(&survey->scan, &entry) == SCAN_ENTRY) {
        const struct entry_header *header = entry_header_of(entry);
        if (header->position < found->cut_position && header->index > found->cut_last.index) {
            break; /* Below the cut, yet past its last entry: stale, what replaced it was lost. */
        }
        struct node_header node;
        memcpy(&node, entry, sizeof node);
        found->durable_position = max_u64(found->durable_position, node.durable_position);
        found->next_offset += header->record_count;
        found->entry_count++;
        survey->last_epoch = node.epoch;
        found->end_position = survey->scan.position;
        found->last = survey->scan.last;
        witness_see(&survey->cut, &survey->scan);
        witness_see(&survey->mark, &survey->scan);
        if (visitor != NULL && visitor->entry != NULL) {
            visitor->entry(visitor->context, entry);
        }
    }
    found->true_last = found->last;
    survey->readable_end = found->end_position;
}

static void known_tell(const struct survey *survey, struct log_id id, uint64_t position)
{
    const struct recover_visitor *visitor = survey->visitor;
    if (visitor != NULL && visitor->known != NULL) {
        visitor->known(visitor->context, id, position);
    }
}

/* A record names its predecessor's term, and what was written not before that predecessor is right
 * about it: a write that replaced it was lost. */
static void predecessor_compare(struct survey *survey,
                                const struct entry_header *header,
                                uint64_t epoch,
                                uint64_t position)
{
    struct recovery *found = survey->found;
    if (header->index == found->last.index + 1) {
        bool named = found->entry_count > 0 && header->previous_term != found->last.term;
        if (named && epoch >= survey->last_epoch) {
            survey->mismatch = true;
            found->mismatch_index = found->last.index;
        }
        return;
    }
    if (header->index - 1 != survey->head_index || epoch >= survey->head_epoch) {
        struct log_id id = {.term = header->previous_term, .index = header->index - 1};
        known_tell(survey, id, position);
    }
}

bool recover_counts(const struct recovery *found,
                    const struct scan_log *log,
                    uint64_t position,
                    const uint8_t *page,
                    bool whole)
{
    ASSERT(position >= found->end_position);
    struct node_header node;
    struct entry_header header;
    memcpy(&node, page, sizeof node);
    memcpy(&header, page + NODE_HEADER_BYTES, sizeof header);
    uint64_t next_index = found->last.index + 1;
    if (!scan_epoch_counts(log, node.epoch, position) || header.index < next_index) {
        return false; /* Void, or left over from before the prefix was written. */
    }
    if (!whole && header.index == next_index && header.previous_term != found->last.term) {
        return false;
    }
    if (header.index - next_index > (position - found->end_position) / PAGE_BYTES) {
        return false; /* Every entry before it takes at least a page: no room for so many. */
    }
    /* Below the cut, yet past its last entry: stale, what replaced it was lost. */
    return position >= found->cut_position || header.index <= found->cut_last.index;
}

/* A record above T whose headers can be read. */
static void survey_head(struct survey *survey, uint64_t position, const uint8_t *page, bool whole)
{
    struct recovery *found = survey->found;
    if (!recover_counts(found, &survey->scan.log, position, page, whole)) {
        return;
    }
    struct node_header node;
    struct entry_header header;
    memcpy(&node, page, sizeof node);
    memcpy(&header, page + NODE_HEADER_BYTES, sizeof header);
    if (whole) {
        found->durable_position = max_u64(found->durable_position, node.durable_position);
        survey->later = true;
    }
    survey->beyond = true;
    predecessor_compare(survey, &header, node.epoch, position);
    known_tell(survey, (struct log_id){.term = header.term, .index = header.index}, position);
    survey->head_index = header.index;
    survey->head_epoch = node.epoch;
    if (header.index >= found->true_last.index) {
        found->true_last = (struct log_id){.term = header.term, .index = header.index};
    }
    uint64_t end = position + (uint64_t)header.pages * PAGE_BYTES;
    if (end > survey->readable_end) {
        /* Everything bad so far lies below this record: within the log, not above it. */
        if (survey->bad_below + survey->bad_above == 0) {
            survey->bad_first = survey->outside_first;
        }
        survey->bad_below += survey->bad_above + survey->bad_outside;
        survey->bad_above = 0;
        survey->bad_outside = 0;
        survey->readable_end = end;
    }
}

static uint64_t window_end(const struct survey *survey)
{
    uint64_t top = max_u64(survey->readable_end, survey->found->durable_position);
    return top + survey->scan.log.geometry.window_bytes + ENTRY_BYTES_MAX;
}

static void survey_bad(struct survey *survey, uint64_t position, const char *why)
{
    bool in_window = position < window_end(survey);
    uint32_t in_window_before = survey->bad_below + survey->bad_above;
    if (in_window_before + survey->bad_outside == 0) {
        survey->why = why;
    }
    if (!in_window) {
        survey->outside_first = survey->bad_outside == 0 ? position : survey->outside_first;
        survey->bad_outside++;
        return;
    }
    survey->bad_first = in_window_before == 0 ? position : survey->bad_first;
    if (position < survey->readable_end) {
        survey->bad_below++;
    } else {
        survey->bad_above++;
    }
}

/* Whether what was found so far is anything but a healthy end. */
static bool survey_wrong(const struct survey *survey)
{
    const struct recovery *found = survey->found;
    return survey->mismatch || survey->state_bad || survey->superblock_old ||
           found->end_position < found->durable_position ||
           survey->bad_below + survey->bad_above > 0;
}

/* Look at every page above T: to the window's end, and to the ring's if anything is wrong. */
static void survey_above(struct survey *survey)
{
    const struct recovery *found = survey->found;
    uint64_t limit = survey->scan.log.limit;
    for (uint64_t at = found->end_position; at < limit; at += PAGE_BYTES) {
        if (at >= window_end(survey) && !survey_wrong(survey)) {
            break;
        }
        const uint8_t *page = scan_pages(&survey->scan, at, PAGE_BYTES);
        struct scan_page judged = scan_page_judge(&survey->scan.log, at, page);
        if (judged.head) {
            survey_head(survey, at, page, judged.state == PAGE_VALID);
        }
        if (judged.state == PAGE_BAD) {
            survey_bad(survey, at, judged.why);
        } else if (survey->scan.broken && at == found->end_position) {
            survey_bad(survey, at, "entry contradicts itself");
        }
    }
}

/* Does the prefix hold the entry that the witness names? If it does not reach so far, the witness
 * itself is knowledge of what the log held. */
static void witness_compare(struct survey *survey, const struct witness *witness)
{
    struct recovery *found = survey->found;
    if (witness->last.index <= found->start.last.index) {
        return;
    }
    if (witness->seen) {
        if (witness->seen_id.term != witness->last.term || witness->seen_end != witness->position) {
            survey->mismatch = true;
            found->mismatch_index = witness->last.index;
        }
        return;
    }
    survey->beyond = true;
    if (witness->last.index >= found->true_last.index) {
        found->true_last = witness->last;
    }
}

static void witnesses_compare(struct survey *survey)
{
    if (survey->mark.position > 0) {
        witness_compare(survey, &survey->mark);
    }
    if (survey->found->cut_position > survey->found->start.position) {
        witness_compare(survey, &survey->cut);
    }
}

/* A mismatch below is the word of the witness against the prefix, and the witness is right: it was
 * written after that entry. */
static void witness_correct(const struct survey *survey, const struct witness *witness)
{
    struct recovery *found = survey->found;
    if (survey->mismatch && witness->seen && witness->last.index == found->true_last.index) {
        found->true_last.term = witness->last.term;
    }
}

static void judge(struct survey *survey)
{
    struct recovery *found = survey->found;
    bool cut_counts = found->cut_position > found->start.position;
    bool mark_counts = survey->mark.position > 0;
    if (mark_counts) {
        witness_correct(survey, &survey->mark);
    }
    if (cut_counts) {
        witness_correct(survey, &survey->cut);
    }
    bool short_of = found->end_position < found->durable_position;
    found->mark_position = survey->mark.position;
    found->mark_last = survey->mark.last;
    found->beyond_entries = survey->state_bad || survey->superblock_old;
    found->window_end = window_end(survey);
    found->bad_pages = survey->bad_below + survey->bad_above;
    found->bad_position = found->bad_pages > 0 ? survey->bad_first : found->end_position;
    if (short_of || survey->mismatch || survey->state_bad || survey->superblock_old) {
        found->kind = RECOVER_DAMAGED;
    } else if (found->bad_pages > 0) {
        found->kind = RECOVER_SUSPECT;
    } else {
        found->kind = survey->later ? RECOVER_TORN : RECOVER_CLEAN;
    }
    bool unknown = short_of && !survey->beyond;
    found->tail_unreadable = survey->bad_above > 0 || unknown;
    uint64_t hidden = survey->bad_above;
    if (unknown) {
        hidden += (found->durable_position - found->end_position) / PAGE_BYTES +
                  survey->scan.log.geometry.window_bytes / PAGE_BYTES;
    }
    found->vote_bound.term = max_u64(found->entry_term, found->true_last.term);
    found->vote_bound.index = max_u64(found->true_last.index, found->last.index) + hidden;
    if (found->vote_bound.term == 0) {
        found->vote_bound.index = 0; /* No entry was ever owed to this log. */
    }
    if (log_id_compare(found->bound, found->vote_bound) > 0) {
        found->vote_bound = found->bound;
    }
}

static void describe(const struct survey *survey)
{
    struct recovery *found = survey->found;
    char bad[128] = "";
    if (found->bad_pages > 0) {
        snprintf(bad, sizeof bad, "; %" PRIu32 " bad pages, the first at position %" PRIu64 " (%s)",
                 found->bad_pages, found->bad_position, survey->why);
    }
    const char *kind = "the tail is suspect, torn below a page or rotten";
    if (survey->state_bad) {
        kind = "neither copy of the small state at the log start can be read";
    } else if (survey->superblock_old) {
        kind = "the superblock is older than what was written after it";
    } else if (survey->mismatch) {
        kind = "an entry is not the one that was written last here (a lost write)";
    } else if (found->kind == RECOVER_DAMAGED) {
        kind = "entries that were durable are gone";
    } else if (found->kind == RECOVER_TORN) {
        kind = "a write was in flight when the power went";
    }
    if (found->kind != RECOVER_CLEAN) {
        snprintf(found->what, sizeof found->what,
                 "%s: whole up to index %" PRIu64 " (position %" PRIu64
                 "), durable up to position %" PRIu64 "%s",
                 kind, found->last.index, found->end_position, found->durable_position, bad);
    }
}

/* What a node is refused for, told in front of what was found all the same. */
static void refusal_tell(struct recovery *found, struct fault *fault)
{
    ASSERT(fault->code != 0);
    found->kind = RECOVER_DAMAGED;
    found->refused = fault->code;
    char log[sizeof found->what];
    memcpy(log, found->what, sizeof log);
    const char *between = log[0] == '\0' ? "" : "; then: ";
    snprintf(found->what, sizeof found->what, "%.240s%s%.240s", fault->text, between, log);
    *fault = (struct fault){0};
}

int recover(struct disk *disk,
            const struct recover_config *config,
            struct recovery *recovery,
            struct fault *fault)
{
    ASSERT(config->buffer != NULL);
    struct superblock_set set;
    int result = superblock_load(disk, config->buffer, &set, fault);
    bool slot_gone = config->survey && result == -EBADMSG && superblock_set_any(&set);
    if (result != 0 && !slot_gone) {
        return set.absent ? remains_refuse(disk, config->buffer, result, fault) : result;
    }
    superblock_tell(&set.newest, recovery);
    struct survey survey = {.found = recovery, .visitor = config->visitor};
    struct scan_log log = scan_log_of(disk, recovery);
    result = identity_check(recovery, config, fault);
    if (result != 0) {
        return result;
    }
    result = length_check(disk->bytes, geometry_file_bytes(&log.geometry), fault);
    if (result != 0 && !config->survey) {
        return result;
    }
    scan_init(&survey.scan, &log, config->buffer, recovery->start.position, recovery->start.last);
    watermarks_read(&survey);
    start_state_read(&survey);
    prefix_read(&survey);
    witnesses_compare(&survey);
    survey_above(&survey);
    int hangs = disk_check(disk, fault);
    if (hangs != 0) {
        return hangs;
    }
    witnesses_compare(&survey); /* Against a record of the same index, the witness is right. */
    judge(&survey);
    describe(&survey);
    if (slot_gone || result != 0) {
        refusal_tell(recovery, fault);
    }
    ASSERT(recovery->kind == RECOVER_DAMAGED ||
           recovery->durable_position <= recovery->end_position);
    return 0;
}
