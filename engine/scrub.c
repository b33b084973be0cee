/* scrub.c: passes, suspects and reads; what is done about an entry that does not stand is in
 * scrub_hole.c. See scrub.h. */
#include "engine/scrub_internal.h"

#define NS_PER_S 1000000000ull

uint64_t scrub_memory_bytes(void)
{
    return asker_memory_bytes() + 2ull * ENTRY_BYTES_MAX + 2ull * PAGE_BYTES;
}

void scrub_init(struct scrub *scrub, struct mem *mem)
{
    *scrub = (struct scrub){.next_ns = UINT64_MAX};
    asker_init(&scrub->asker, mem);
    scrub->buffer = mem_take(mem, "scrubbing: a read", 1, ENTRY_BYTES_MAX, PAGE_BYTES);
    scrub->copy = mem_take(mem, "scrubbing: an entry", 1, ENTRY_BYTES_MAX, PAGE_BYTES);
}

void scrub_begin(struct scrub *scrub, uint64_t now_ns, uint64_t every_ns)
{
    ASSERT(scrub->state == SCRUB_RESTS);
    scrub->next_ns = now_ns + every_ns;
}

/* ---- Reads. ---- */

void scrub_look(struct scrub *scrub, uint64_t position, uint64_t end)
{
    uint64_t bytes = end - position;
    ASSERT(position < end);
    ASSERT(position >= scrub->at.position);
    scrub->read_position = position;
    scrub->read_bytes = bytes < ENTRY_BYTES_MAX ? (uint32_t)bytes : ENTRY_BYTES_MAX;
    scrub->state = SCRUB_WANTS_READ;
}

/* What is read because something was found wrong is bounded by that; the walk, by the rate. */
static bool waits_for_rate(const struct scrub *scrub)
{
    return !scrub->hole.open;
}

bool scrub_wants_read(const struct scrub *scrub, uint64_t now_ns, struct scrub_read *read)
{
    if (scrub->state != SCRUB_WANTS_READ || (waits_for_rate(scrub) && now_ns < scrub->due_ns)) {
        return false;
    }
    *read = (struct scrub_read){
        .position = scrub->read_position,
        .bytes = scrub->read_bytes,
        .buffer = scrub->buffer,
    };
    return true;
}

void scrub_reading(struct scrub *scrub, const struct scrub_context *context)
{
    ASSERT(scrub->state == SCRUB_WANTS_READ);
    uint64_t length_ns = scrub->read_bytes * NS_PER_S / context->bytes_per_s;
    scrub->due_ns = waits_for_rate(scrub) ? context->now_ns + length_ns : scrub->due_ns;
    scrub->state = SCRUB_READS;
    context->counters->scrub_bytes += scrub->read_bytes;
}

void scrub_read(struct scrub *scrub)
{
    ASSERT(scrub->state == SCRUB_READS);
    scrub->state = SCRUB_HAS_READ;
}

void scrub_blocked(struct scrub *scrub)
{
    ASSERT(scrub->state == SCRUB_WANTS_READ || scrub->state == SCRUB_WANTS_WRITE);
    scrub->blocked = true;
}

bool scrub_wants_state(const struct scrub *scrub, const struct scrub_context *context)
{
    return scrub->state_due && context->start.position > 0;
}

/* Its places are counted whole, though it seldom fills them. */
void scrub_state_looked(struct scrub *scrub, const struct scrub_context *context)
{
    ASSERT(scrub->state_due);
    uint64_t length_ns = STATE_COPIES * STATE_BYTES * NS_PER_S / context->bytes_per_s;
    uint64_t from_ns = scrub->due_ns > context->now_ns ? scrub->due_ns : context->now_ns;
    scrub->due_ns = from_ns + length_ns;
    scrub->state_due = false;
}

/* ---- The walk. ---- */

static bool suspect_is_due(const struct scrub *scrub, uint64_t now_ns)
{
    struct suspect first;
    return suspects_first(&scrub->suspects, &first) && first.due_ns <= now_ns;
}

void scrub_finish(struct scrub *scrub, const struct scrub_context *context)
{
    scrub->state = SCRUB_RESTS;
    if (!scrub->detour) {
        uint64_t next_ns = scrub->begun_ns + context->every_ns;
        scrub->passing = false;
        scrub->next_ns = next_ns > context->now_ns ? next_ns : context->now_ns;
        context->counters->scrub_passes++;
        return;
    }
    scrub->detour = false;
    suspects_settle(&scrub->suspects, scrub->suspect, scrub->detour_ns);
}

static void walk_on(struct scrub *scrub, const struct scrub_context *context)
{
    uint64_t end = context->end_position;
    if (scrub->at.position >= end || scrub->at.position >= scrub->until) {
        scrub_finish(scrub, context);
    } else {
        scrub_look(scrub, scrub->at.position, end);
    }
}

void scrub_go_on(struct scrub *scrub, const struct scrub_context *context)
{
    ASSERT(!scrub->hole.open);
    if (!scrub->detour && suspect_is_due(scrub, context->now_ns)) {
        scrub->pass = scrub->at;
        scrub->state = SCRUB_RESTS; /* The suspect first. */
    } else {
        walk_on(scrub, context);
    }
}

uint64_t scrub_term_of(const struct scrub_context *context, uint64_t index)
{
    const struct log_entry *known = log_entry(context->log, index);
    return known != NULL ? known->term : raft_entry_term(context->raft, index);
}

bool scrub_head_stands(const struct scrub *scrub,
                       const struct scrub_context *context,
                       uint64_t position,
                       const uint8_t *page)
{
    struct scan_page judged = scan_page_judge(&context->disk, position, page);
    struct node_header node;
    memcpy(&node, page, sizeof node);
    if (!judged.head || !scan_epoch_counts(&context->disk, node.epoch, position)) {
        return false;
    }
    struct entry_header header;
    memcpy(&header, page + NODE_HEADER_BYTES, sizeof header);
    const struct log_id *last = &scrub->at.last;
    uint64_t term = scrub_term_of(context, header.index);
    uint64_t end = position + (uint64_t)header.pages * PAGE_BYTES;
    return header.index == last->index + 1 && end <= context->end_position &&
           (last->term == 0 || header.previous_term == last->term) &&
           (term == 0 || header.term == term);
}

/* The entry at scrub.at, if it stands in the buffer, whole and as it should. */
static const uint8_t *standing(const struct scrub *scrub, const struct scrub_context *context)
{
    uint64_t position = scrub->at.position;
    uint32_t at = (uint32_t)(position - scrub->read_position);
    if (at == scrub->read_bytes) {
        return NULL;
    }
    const uint8_t *entry = scrub->buffer + at;
    if (!scrub_head_stands(scrub, context, position, entry)) {
        return NULL;
    }
    uint32_t entry_bytes = (uint32_t)entry_header_of(entry)->pages * PAGE_BYTES;
    bool whole = entry_bytes <= scrub->read_bytes - at &&
                 scan_page_judge(&context->disk, position, entry).state == PAGE_VALID;
    return whole && entry_check(entry, context->disk.cluster) == NULL ? entry : NULL;
}

static void walk(struct scrub *scrub, const struct scrub_context *context)
{
    ASSERT(scrub->read_position == scrub->at.position);
    const uint8_t *entry;
    while ((entry = standing(scrub, context)) != NULL) {
        const struct entry_header *header = entry_header_of(entry);
        scrub->at.position += (uint64_t)header->pages * PAGE_BYTES;
        scrub->at.last = (struct log_id){.term = header->term, .index = header->index};
    }
    if (scrub->at.position > scrub->read_position) {
        scrub_go_on(scrub, context);
    } else {
        scrub_hole_begin(scrub, context);
    }
}

/* ---- Steps. ---- */

static struct scrub_place start_of(const struct scrub_context *context)
{
    return (struct scrub_place){.position = context->start.position, .last = context->start.last};
}

/* The log's start has gone past where it stands: what was read counts as nothing. */
static bool is_overtaken(const struct scrub *scrub, const struct scrub_context *context)
{
    bool under_way = scrub->state == SCRUB_READS || scrub->state == SCRUB_WRITES;
    bool overtaken = scrub->at.position < context->start.position;
    ASSERT(!overtaken || scrub->state != SCRUB_WRITES); /* It waits for repairs: wal.h. */
    return scrub->state != SCRUB_RESTS && !under_way && overtaken;
}

static void start_over(struct scrub *scrub, const struct scrub_context *context)
{
    asker_want(&scrub->asker, NULL);
    scrub->hole.open = false;
    scrub->at = start_of(context);
    walk_on(scrub, context);
}

/* From the last place at or before it that memory knows. */
static void detour_begin(struct scrub *scrub,
                         const struct scrub_context *context,
                         const struct suspect *suspect)
{
    if (suspect->position < context->start.position || suspect->position >= context->end_position) {
        suspects_drop(&scrub->suspects, suspect->position);
        return;
    }
    struct log_place place = log_find_position(context->log, suspect->position);
    uint64_t below = place.index - 1;
    scrub->at = start_of(context);
    if (below > scrub->at.last.index) {
        scrub->at = (struct scrub_place){
            .position = place.position,
            .last = {.term = scrub_term_of(context, below), .index = below},
        };
    }
    scrub->until = suspect->position + PAGE_BYTES;
    scrub->detour = true;
    scrub->suspect = suspect->position;
    scrub->detour_ns = context->now_ns;
    walk_on(scrub, context);
}

static void begin_next(struct scrub *scrub, const struct scrub_context *context)
{
    struct suspect first;
    if (suspects_first(&scrub->suspects, &first) && first.due_ns <= context->now_ns) {
        detour_begin(scrub, context, &first);
        return;
    }
    if (!scrub->passing) {
        if (context->now_ns < scrub->next_ns) {
            return;
        }
        scrub->passing = true;
        scrub->state_due = true;
        scrub->begun_ns = context->now_ns;
        scrub->pass = start_of(context);
    }
    bool trimmed = scrub->pass.position < context->start.position;
    scrub->at = trimmed ? start_of(context) : scrub->pass;
    scrub->until = UINT64_MAX;
    walk_on(scrub, context);
}

static uint64_t rest_deadline_ns(const struct scrub *scrub)
{
    struct suspect first;
    uint64_t due_ns = scrub->passing ? 0 : scrub->next_ns;
    if (suspects_first(&scrub->suspects, &first) && first.due_ns < due_ns) {
        due_ns = first.due_ns;
    }
    return due_ns;
}

bool scrub_is_due(const struct scrub *scrub, uint64_t now_ns)
{
    return scrub->state != SCRUB_RESTS || rest_deadline_ns(scrub) <= now_ns;
}

uint32_t scrub_step(struct scrub *scrub, const struct scrub_context *context)
{
    scrub->blocked = false;
    if (context->bytes_per_s == 0) {
        return 0;
    }
    if (is_overtaken(scrub, context)) {
        start_over(scrub, context);
    }
    switch (scrub->state) {
    case SCRUB_RESTS:
    case SCRUB_WANTS_READ:
    case SCRUB_READS:
    case SCRUB_WANTS_WRITE:
    case SCRUB_WRITES:
        break;
    case SCRUB_HAS_READ:
        if (scrub->hole.open) {
            scrub_hole_judge(scrub, context);
        } else {
            walk(scrub, context);
        }
        break;
    case SCRUB_ASKS:
        scrub_hole_asks(scrub, context);
        break;
    case SCRUB_HAS_WRITTEN:
        scrub_hole_written(scrub, context);
        break;
    }
    if (scrub->state == SCRUB_RESTS) {
        begin_next(scrub, context);
    }
    context->counters->scrub_waiting = suspects_waiting(&scrub->suspects);
    return scrub->state == SCRUB_ASKS ? asker_ask(&scrub->asker, &context->asking) : 0;
}

uint64_t scrub_deadline_ns(const struct scrub *scrub)
{
    if (scrub->next_ns == UINT64_MAX || scrub->blocked) {
        return UINT64_MAX; /* What it waits for is a completion. */
    }
    switch (scrub->state) {
    case SCRUB_RESTS:
        return rest_deadline_ns(scrub);
    case SCRUB_WANTS_READ:
        return waits_for_rate(scrub) ? scrub->due_ns : 0;
    case SCRUB_ASKS:
        return asker_deadline_ns(&scrub->asker);
    case SCRUB_HAS_READ:
    case SCRUB_WANTS_WRITE:
    case SCRUB_HAS_WRITTEN:
        return 0;
    case SCRUB_READS:
    case SCRUB_WRITES:
        return UINT64_MAX;
    }
    ASSERT(false);
}

raft_set scrub_waits_for(const struct scrub *scrub)
{
    return scrub->state == SCRUB_ASKS ? scrub->asker.waits_for : 0;
}
