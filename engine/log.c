/* log.c: the log in memory. See log.h. */
#include "engine/log.h"

#include <string.h>

/* So many entries are known at the least: a tail that is cut must be, however short its entries. */
#define ENTRIES_MIN 4096u

/* At most this many places are indexed, so that a large disk does not take memory without bound. */
#define STRIDES_MAX 65536u

static uint64_t stride_bytes_for(uint64_t disk_ring_bytes)
{
    uint64_t stride = ENTRY_BYTES_MAX;
    while (disk_ring_bytes / stride > STRIDES_MAX - 2) {
        stride *= 2;
    }
    return stride;
}

static uint64_t entry_count_for(uint64_t ring_bytes)
{
    uint64_t count = ring_bytes / PAGE_BYTES;
    return count < ENTRIES_MIN ? ENTRIES_MIN : count;
}

static uint64_t pin_count_for(uint64_t ring_bytes)
{
    return (ring_bytes + ENTRY_BYTES_MAX) / PAGE_BYTES;
}

uint64_t log_memory_bytes(uint64_t ring_bytes)
{
    ASSERT(ring_bytes >= LOG_MEMORY_MIN);
    ASSERT((ring_bytes & (ring_bytes - 1)) == 0);
    return ring_bytes + ENTRY_BYTES_MAX + pin_count_for(ring_bytes) * sizeof(uint16_t) +
           entry_count_for(ring_bytes) * sizeof(struct log_entry) +
           STRIDES_MAX * sizeof(struct log_place) + 3ull * PAGE_BYTES;
}

void log_init(struct log *log, struct mem *mem, uint64_t ring_bytes)
{
    ASSERT(ring_bytes >= LOG_MEMORY_MIN);
    ASSERT((ring_bytes & (ring_bytes - 1)) == 0);
    *log = (struct log){.ring_bytes = ring_bytes, .entry_mask = entry_count_for(ring_bytes) - 1};
    log->ring = mem_take(mem, "log slots", 1, ring_bytes + ENTRY_BYTES_MAX, PAGE_BYTES);
    log->pins = mem_take(mem, "log pins", pin_count_for(ring_bytes), sizeof(uint16_t), 64);
    log->entries = mem_take(mem, "log entries", log->entry_mask + 1, sizeof(struct log_entry), 64);
    log->strides = mem_take(mem, "log places", STRIDES_MAX, sizeof(struct log_place), 64);
}

void log_begin(struct log *log, const struct log_start *start, uint64_t disk_ring_bytes)
{
    ASSERT(start->position % PAGE_BYTES == 0);
    log->stride_bytes = stride_bytes_for(disk_ring_bytes);
    log->stride_count = disk_ring_bytes / log->stride_bytes + 2;
    ASSERT(log->stride_count <= STRIDES_MAX);
    memset(log->strides, 0, log->stride_count * sizeof *log->strides);
    log->start = *start;
    log->last = start->last;
    log->end_position = start->position;
    log->next_offset = start->offset;
    log->last_time_ns = 0;
    log->known_index = start->last.index + 1;
    log->resident_position = start->position;
}

uint8_t *log_slot(const struct log *log, uint64_t position)
{
    ASSERT(position % PAGE_BYTES == 0);
    return log->ring + (position & (log->ring_bytes - 1));
}

uint16_t *
log_pins(const struct log *log, const uint8_t *bytes, uint32_t byte_count, uint32_t *page_count)
{
    ASSERT(byte_count > 0);
    if (bytes < log->ring || bytes >= log->ring + log->ring_bytes + ENTRY_BYTES_MAX) {
        return NULL;
    }
    uint64_t first = (uint64_t)(bytes - log->ring) >> PAGE_SHIFT;
    uint64_t last = (uint64_t)(bytes - log->ring + byte_count - 1) >> PAGE_SHIFT;
    ASSERT(last < pin_count_for(log->ring_bytes));
    *page_count = (uint32_t)(last - first + 1);
    return &log->pins[first];
}

static bool is_pinned(const struct log *log, const uint8_t *slot, uint32_t bytes)
{
    uint32_t page_count = 0;
    const uint16_t *pins = log_pins(log, slot, bytes, &page_count);
    ASSERT(pins != NULL);
    uint32_t any = 0;
    for (uint32_t i = 0; i < page_count; i++) {
        any |= pins[i];
    }
    return any != 0;
}

uint8_t *log_place(struct log *log, uint64_t position, uint32_t bytes, uint64_t durable_position)
{
    ASSERT(bytes <= ENTRY_BYTES_MAX);
    ASSERT(position >= log->end_position);
    uint64_t end = position + bytes;
    if (end > durable_position + log->ring_bytes) {
        return NULL;
    }
    uint8_t *slot = log_slot(log, position);
    if (UNLIKELY(is_pinned(log, slot, bytes))) {
        log->pinned_waits++;
        return NULL;
    }
    if (end > log->ring_bytes && log->resident_position < end - log->ring_bytes) {
        log->resident_position = end - log->ring_bytes;
    }
    return slot;
}

static void index_place(struct log *log, const struct entry_header *header)
{
    uint64_t stride = header->position / log->stride_bytes;
    struct log_place *place = &log->strides[stride % log->stride_count];
    if (place->index != 0 && place->position / log->stride_bytes == stride &&
        place->position <= header->position) {
        return;
    }
    *place = (struct log_place){
        .position = header->position, .index = header->index, .first_offset = header->first_offset};
}

void log_take(struct log *log, const struct entry_header *header, bool resident)
{
    ASSERT(header->index == log->last.index + 1);
    ASSERT(header->position == log->end_position);
    ASSERT(header->first_offset == log->next_offset);
    ASSERT(header->previous_term == log->last.term);
    ASSERT(header->pages >= 1);
    log->entries[header->index & log->entry_mask] = (struct log_entry){
        .term = header->term,
        .position = header->position,
        .first_offset = header->first_offset,
        .body_bytes = header->body_bytes,
        .record_count = header->record_count,
        .pages = header->pages,
        .kind = header->kind,
    };
    index_place(log, header);
    log->last = (struct log_id){.term = header->term, .index = header->index};
    log->end_position += (uint64_t)header->pages * PAGE_BYTES;
    log->next_offset += header->record_count;
    log->last_time_ns = header->leader_time_ns;
    if (!resident) {
        log->resident_position = log->end_position;
    }
    if (header->index - log->known_index > log->entry_mask) {
        log->known_index = header->index - log->entry_mask;
    }
}

void log_cut(struct log *log, const struct log_end *end)
{
    ASSERT(end->last.index <= log->last.index);
    ASSERT(end->position <= log->end_position);
    ASSERT(end->position >= log->start.position);
    /* Places at or above the cut name entries that are gone. */
    uint64_t first = end->position / log->stride_bytes;
    uint64_t last = log->end_position / log->stride_bytes;
    for (uint64_t stride = first; stride <= last; stride++) {
        struct log_place *place = &log->strides[stride % log->stride_count];
        if (place->index > end->last.index) {
            *place = (struct log_place){0};
        }
    }
    log->last = end->last;
    log->end_position = end->position;
    log->next_offset = end->next_offset;
    if (log->known_index > end->last.index + 1) {
        log->known_index = end->last.index + 1;
    }
    if (log->resident_position > end->position) {
        log->resident_position = end->position;
    }
}

void log_trim(struct log *log, const struct log_start *start)
{
    ASSERT(start->position >= log->start.position);
    ASSERT(start->position <= log->end_position);
    log->start = *start;
    if (log->known_index <= start->last.index) {
        log->known_index = start->last.index + 1;
    }
}

const struct log_entry *log_entry(const struct log *log, uint64_t index)
{
    if (index < log->known_index || index > log->last.index) {
        return NULL;
    }
    return &log->entries[index & log->entry_mask];
}

const uint8_t *log_bytes(const struct log *log, uint64_t index)
{
    const struct log_entry *entry = log_entry(log, index);
    if (entry == NULL || entry->position < log->resident_position) {
        return NULL;
    }
    return log_slot(log, entry->position);
}

bool log_end_at(const struct log *log, uint64_t index, struct log_end *end)
{
    if (index == log->last.index) {
        *end = (struct log_end){
            .last = log->last, .position = log->end_position, .next_offset = log->next_offset};
        return true;
    }
    if (index == log->start.last.index) {
        *end = (struct log_end){.last = log->start.last,
                                .position = log->start.position,
                                .next_offset = log->start.offset};
        return true;
    }
    const struct log_entry *entry = log_entry(log, index);
    if (entry == NULL) {
        return false;
    }
    *end = (struct log_end){.last = {.term = entry->term, .index = index},
                            .position = entry->position + log_entry_bytes(entry),
                            .next_offset = entry->first_offset + entry->record_count};
    return true;
}

static struct log_place place_at_start(const struct log *log)
{
    return (struct log_place){.position = log->start.position,
                              .index = log->start.last.index + 1,
                              .first_offset = log->start.offset};
}

/* The place of a stride, or NULL when no entry that is in the log begins there. */
static const struct log_place *place_of(const struct log *log, uint64_t stride)
{
    const struct log_place *place = &log->strides[stride % log->stride_count];
    bool live = place->index != 0 && place->position / log->stride_bytes == stride &&
                place->position >= log->start.position;
    return live ? place : NULL;
}

/* The last place whose key is at or below `key`. Every stride between start and end has a place,
 * because no entry is longer than a stride; only the first may lie before the start. */
static struct log_place find(const struct log *log, uint64_t key, bool by_offset)
{
    struct log_place found = place_at_start(log);
    uint64_t low = log->start.position / log->stride_bytes;
    uint64_t high = log->end_position / log->stride_bytes;
    while (low <= high) {
        uint64_t middle = low + (high - low) / 2;
        const struct log_place *place = place_of(log, middle);
        uint64_t at = place == NULL ? UINT64_MAX : by_offset ? place->first_offset : place->index;
        if (place == NULL && middle == log->start.position / log->stride_bytes) {
            at = 0;
        }
        if (at <= key) {
            found = place == NULL ? found : *place;
            low = middle + 1;
        } else if (middle == 0) {
            break;
        } else {
            high = middle - 1;
        }
    }
    return found;
}

struct log_place log_find_index(const struct log *log, uint64_t index)
{
    return find(log, index, false);
}

struct log_place log_find_offset(const struct log *log, uint64_t offset)
{
    return find(log, offset, true);
}

struct log_place log_find_position(const struct log *log, uint64_t position)
{
    ASSERT(position >= log->start.position);
    uint64_t low = log->start.position / log->stride_bytes;
    for (uint64_t stride = position / log->stride_bytes; stride >= low; stride--) {
        const struct log_place *place = place_of(log, stride);
        if (place != NULL && place->position <= position) {
            return *place;
        }
        if (stride == 0) {
            break;
        }
    }
    return place_at_start(log);
}

bool log_next_place(const struct log *log, uint64_t position, struct log_place *place)
{
    uint64_t high = log->end_position / log->stride_bytes;
    for (uint64_t stride = position / log->stride_bytes + 1; stride <= high; stride++) {
        const struct log_place *found = place_of(log, stride);
        if (found != NULL) {
            *place = *found;
            return true;
        }
    }
    return false;
}

uint64_t log_index_of_offset(const struct log *log, uint64_t offset)
{
    uint64_t low = log->known_index;
    uint64_t high = log->last.index;
    if (offset >= log->next_offset || low > high ||
        offset < log->entries[low & log->entry_mask].first_offset) {
        return 0;
    }
    /* The last entry whose first offset is at or below `offset` and that holds records: entries
     * without records share the first offset of the one behind them. */
    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2;
        if (log->entries[middle & log->entry_mask].first_offset <= offset) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    const struct log_entry *entry = &log->entries[low & log->entry_mask];
    ASSERT(entry->record_count > 0);
    return low;
}
