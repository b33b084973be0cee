/* scrub_hole.c: entries that do not stand, closed from the top down.
 *
 * The top is a border that memory knows, so the entry below it is known exactly; what stands, or is
 * put in its place, names the one below, down to where the walk stands. Invariant: a page that
 * stands as it should is never written.
 */
#include "engine/scrub_internal.h"

static uint64_t end_of(const struct entry_header *header)
{
    return header->position + (uint64_t)header->pages * PAGE_BYTES;
}

/* ---- Where a hole ends. ---- */

/* The first border above scrub.at that memory knows, and which entry ends there. */
static bool
top_find(const struct scrub *scrub, const struct scrub_context *context, struct scrub_place *top)
{
    const struct log *log = context->log;
    struct log_place place = {.position = scrub->at.position};
    while (log_next_place(log, place.position, &place) && place.position <= context->end_position) {
        uint64_t term = scrub_term_of(context, place.index - 1);
        if (term != 0) {
            *top = (struct scrub_place){.position = place.position,
                                        .last = {.term = term, .index = place.index - 1}};
            return true;
        }
    }
    const struct log_entry *known = log_entry(log, log->known_index);
    if (known == NULL || known->position + log_entry_bytes(known) > context->end_position) {
        return false;
    }
    *top = (struct scrub_place){.position = known->position + log_entry_bytes(known),
                                .last = {.term = known->term, .index = log->known_index}};
    return true;
}

/* The entry at scrub.at itself, if memory or its own headers tell where it ends. */
static bool
entry_find(const struct scrub *scrub, const struct scrub_context *context, struct scrub_place *end)
{
    uint64_t index = scrub->at.last.index + 1;
    const struct log_entry *known = log_entry(context->log, index);
    if (known != NULL && known->position == scrub->at.position) {
        *end = (struct scrub_place){.position = known->position + log_entry_bytes(known),
                                    .last = {.term = known->term, .index = index}};
        return true;
    }
    if (!scrub_head_stands(scrub, context, scrub->at.position, scrub->buffer)) {
        return false;
    }
    const struct entry_header *header = entry_header_of(scrub->buffer);
    *end = (struct scrub_place){.position = end_of(header),
                                .last = {.term = header->term, .index = index}};
    return true;
}

/* Read what ends where the wanted entry does, unless it is in the buffer already. */
static void look_below(struct scrub *scrub)
{
    uint64_t end = scrub->hole.want.end_position;
    uint64_t below = end < ENTRY_BYTES_MAX ? 0 : end - ENTRY_BYTES_MAX;
    uint64_t from = below > scrub->at.position ? below : scrub->at.position;
    bool there = scrub->read_position <= from && end <= scrub->read_position + scrub->read_bytes;
    if (there) {
        scrub->state = SCRUB_HAS_READ;
    } else {
        scrub_look(scrub, from, end);
    }
}

/* ---- Its end. ---- */

static void close_hole(struct scrub *scrub, const struct scrub_context *context)
{
    scrub->at = scrub->hole.top;
    scrub->hole.open = false;
    scrub_go_on(scrub, context);
}

/* The more places wait, the longer each of them does, so that the walk goes on between. For the
 * same end the whole hole waits: the others, who ask for its entries, find them bad anywhere. */
static void wait_here(struct scrub *scrub, const struct scrub_context *context, uint64_t end)
{
    uint64_t wait_ns = SCRUB_AGAIN_NS * (1ull + suspects_waiting(&scrub->suspects));
    suspects_wait(&scrub->suspects, scrub->at.position, end, context->now_ns + wait_ns);
}

/* Nobody has the entry, or what there is contradicts itself: on behind it. */
static void give_up(struct scrub *scrub, const struct scrub_context *context)
{
    wait_here(scrub, context, scrub->hole.top.position);
    asker_want(&scrub->asker, NULL);
    close_hole(scrub, context);
}

void scrub_hole_begin(struct scrub *scrub, const struct scrub_context *context)
{
    struct scrub_place *top = &scrub->hole.top;
    scrub->hole.open = true;
    if (!entry_find(scrub, context, top) && !top_find(scrub, context, top)) {
        /* Memory knows no entry above: it ends here. */
        wait_here(scrub, context, context->end_position);
        scrub->hole.open = false;
        scrub_finish(scrub, context);
        return;
    }
    ASSERT(top->position > scrub->at.position);
    ASSERT(top->last.index > scrub->at.last.index);
    scrub->hole.want = (struct mend_want){.id = top->last, .end_position = top->position};
    look_below(scrub);
}

/* The wanted entry stands: on to the one below. */
static void
go_down(struct scrub *scrub, const struct scrub_context *context, const struct entry_header *header)
{
    const struct scrub_place *at = &scrub->at;
    struct log_id below = {.term = header->previous_term, .index = header->index - 1};
    if (below.index == at->last.index) {
        bool joins =
            header->position == at->position && (at->last.term == 0 || at->last.term == below.term);
        if (joins) {
            close_hole(scrub, context);
        } else {
            give_up(scrub, context);
        }
        return;
    }
    if (header->position <= at->position) {
        give_up(scrub, context);
        return;
    }
    scrub->hole.want = (struct mend_want){.id = below, .end_position = header->position};
    look_below(scrub);
}

/* ---- Its entries. ---- */

/* Whether that page of scrub.entry stands where it was read. */
static bool
page_stands(const struct scrub *scrub, const struct scrub_context *context, uint32_t number)
{
    uint64_t position = entry_header_of(scrub->entry)->position + (uint64_t)number * PAGE_BYTES;
    const uint8_t *here = scrub->buffer + (position - scrub->read_position);
    const uint8_t *page = scrub->entry + (uint64_t)number * PAGE_BYTES;
    return scan_page_stands(&context->disk, position, here, page);
}

/* Write the next page that does not stand; after the last one, go down. */
static void write_next(struct scrub *scrub, const struct scrub_context *context)
{
    const struct entry_header *header = entry_header_of(scrub->entry);
    while (scrub->page < header->pages && page_stands(scrub, context, scrub->page)) {
        scrub->page++;
    }
    if (scrub->page < header->pages) {
        scrub->state = SCRUB_WANTS_WRITE;
        return;
    }
    context->counters->entries_mended += scrub->pages_written > 0;
    go_down(scrub, context, header);
}

/* The bytes of the wanted entry are at hand, checked. */
static void put_back(struct scrub *scrub, const struct scrub_context *context, uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    ASSERT(header->index == scrub->hole.want.id.index);
    ASSERT(end_of(header) == scrub->hole.want.end_position);
    asker_want(&scrub->asker, NULL);
    if (header->position < scrub->at.position) {
        give_up(scrub, context);
        return;
    }
    ASSERT(header->position >= scrub->read_position);
    scrub->entry = entry;
    scrub->page = 0;
    scrub->pages_written = 0;
    write_next(scrub, context);
}

/* The bytes that memory, or what was read, has of the wanted entry; NULL: none. */
static const uint8_t *
at_hand(const struct scrub *scrub, const struct scrub_context *context, const uint8_t *read)
{
    const struct log_id *id = &scrub->hole.want.id;
    const struct log_entry *known = log_entry(context->log, id->index);
    const uint8_t *resident = log_bytes(context->log, id->index);
    return resident != NULL && known->term == id->term ? resident : read;
}

void scrub_hole_judge(struct scrub *scrub, const struct scrub_context *context)
{
    const struct mend_want *want = &scrub->hole.want;
    uint32_t bytes = (uint32_t)(want->end_position - scrub->read_position);
    const uint8_t *read = mend_find(want, context->disk.cluster, scrub->buffer, bytes);
    if (read != NULL) {
        struct node_header node;
        memcpy(&node, read, sizeof node);
        uint64_t position = entry_header_of(read)->position;
        bool valid = scan_page_judge(&context->disk, position, read).state == PAGE_VALID;
        if (valid && scan_epoch_counts(&context->disk, node.epoch, position)) {
            go_down(scrub, context, entry_header_of(read));
            return;
        }
    }
    context->counters->scrub_bad++;
    const uint8_t *entry = at_hand(scrub, context, read);
    if (entry != NULL) {
        memcpy(scrub->copy, entry, (size_t)entry_header_of(entry)->pages * PAGE_BYTES);
        put_back(scrub, context, scrub->copy);
    } else if (context->asking.peer_count > 0) {
        asker_want(&scrub->asker, want);
        scrub->state = SCRUB_ASKS;
    } else {
        give_up(scrub, context);
    }
}

void scrub_hole_asks(struct scrub *scrub, const struct scrub_context *context)
{
    if (asker_is_vain(&scrub->asker, context->now_ns)) {
        give_up(scrub, context);
    }
}

/* ---- From the disk and the peers. ---- */

bool scrub_wants_write(const struct scrub *scrub, uint8_t **entry, uint32_t *page)
{
    *entry = scrub->entry;
    *page = scrub->page;
    return scrub->state == SCRUB_WANTS_WRITE;
}

void scrub_writing(struct scrub *scrub, const struct scrub_context *context)
{
    ASSERT(scrub->state == SCRUB_WANTS_WRITE);
    scrub->state = SCRUB_WRITES;
    context->counters->scrub_pages++;
}

void scrub_written(struct scrub *scrub)
{
    ASSERT(scrub->state == SCRUB_WRITES);
    scrub->state = SCRUB_HAS_WRITTEN;
}

void scrub_hole_written(struct scrub *scrub, const struct scrub_context *context)
{
    scrub->page++;
    scrub->pages_written++;
    write_next(scrub, context);
}

void scrub_take(struct scrub *scrub,
                const struct scrub_context *context,
                const struct wire_frame *frame)
{
    uint8_t *entry = asker_take(&scrub->asker, &context->asking, frame);
    if (entry != NULL) {
        ASSERT(scrub->state == SCRUB_ASKS);
        put_back(scrub, context, entry);
    }
}

void scrub_refused(struct scrub *scrub,
                   const struct scrub_context *context,
                   const struct wire_frame *frame)
{
    asker_refused(&scrub->asker, &context->asking, frame);
}
