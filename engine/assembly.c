/* assembly.c: see assembly.h. */
#include "engine/assembly.h"

#include "engine/machine.h"

#include <string.h>

static uint32_t fragment_count(uint32_t used_bytes, uint32_t fragment_bytes)
{
    return (used_bytes - NODE_HEADER_BYTES + fragment_bytes - 1) / fragment_bytes;
}

uint64_t assembly_bits(uint32_t count)
{
    ASSERT(count >= 1);
    ASSERT(count <= FRAGMENTS_MAX);
    return count == 64 ? ~0ull : (1ull << count) - 1;
}

uint64_t assembly_all(const struct assembly *assembly)
{
    return assembly_bits(fragment_count(assembly->used_bytes, assembly->fragment_bytes));
}

struct assembly assembly_of(const struct wire_entry *entry)
{
    return (struct assembly){
        .index = entry->id.index,
        .term = entry->id.term,
        .previous_term = entry->previous_term,
        .position = entry->position,
        .used_bytes = entry->used_bytes,
        .fragment_bytes = entry->fragment_bytes,
        .pages = entry->pages,
        .last_mark = entry->last_mark,
    };
}

bool assembly_fits(const struct assembly *assembly, const struct wire_entry *entry)
{
    return assembly->index == entry->id.index && assembly->term == entry->id.term &&
           assembly->position == entry->position && assembly->used_bytes == entry->used_bytes &&
           assembly->fragment_bytes == entry->fragment_bytes;
}

bool assembly_put(struct assembly *assembly, uint8_t *bytes, const struct wire_frame *frame)
{
    const struct wire_entry *entry = &frame->entry;
    ASSERT(assembly_fits(assembly, entry));
    uint32_t number = entry->offset / entry->fragment_bytes;
    ASSERT((assembly->bitmap >> number & 1u) == 0);
    memcpy(bytes + NODE_HEADER_BYTES + entry->offset, frame->payload, frame->payload_bytes);
    assembly->bitmap |= 1ull << number;
    return assembly->bitmap == assembly_all(assembly);
}

bool assembly_finish(struct assembly *assembly, uint8_t *bytes, uint64_t cluster)
{
    uint32_t entry_bytes = (uint32_t)assembly->pages * PAGE_BYTES;
    memset(bytes, 0, NODE_HEADER_BYTES);
    memset(bytes + assembly->used_bytes, 0, entry_bytes - PAGE_MARK_BYTES - assembly->used_bytes);
    memcpy(bytes + entry_bytes - PAGE_MARK_BYTES, &assembly->last_mark, PAGE_MARK_BYTES);
    const struct entry_header *header = entry_header_of(bytes);
    bool named = entry_header_check(header, cluster) == NULL && header->term == assembly->term &&
                 header->index == assembly->index &&
                 header->previous_term == assembly->previous_term &&
                 header->position == assembly->position && header->pages == assembly->pages &&
                 entry_used_bytes(header->body_bytes) == assembly->used_bytes;
    if (named && entry_check(bytes, cluster) == NULL && machine_check(bytes) == NULL) {
        assembly->complete = true;
        return true;
    }
    uint64_t forgotten = 0;
    for (uint32_t page = 0; named && page < assembly->pages; page++) {
        if (entry_page_valid(bytes + (uint64_t)page * PAGE_BYTES, page, header)) {
            continue;
        }
        uint32_t from = page == 0 ? 0 : page * PAGE_BYTES - NODE_HEADER_BYTES;
        uint32_t to = (page + 1) * PAGE_BYTES - NODE_HEADER_BYTES;
        for (uint32_t bit = from / assembly->fragment_bytes;
             bit < FRAGMENTS_MAX && bit * assembly->fragment_bytes < to; bit++) {
            forgotten |= 1ull << bit;
        }
    }
    assembly->bitmap &= forgotten == 0 ? 0 : ~forgotten;
    return false;
}

struct wire_entry assembly_describe(const uint8_t *entry, uint32_t fragment_bytes)
{
    const struct entry_header *header = entry_header_of(entry);
    struct wire_entry described = {
        .fragment_bytes = (uint16_t)fragment_bytes,
        .pages = header->pages,
        .used_bytes = entry_used_bytes(header->body_bytes),
        .id = {.term = header->term, .index = header->index},
        .previous_term = header->previous_term,
        .position = header->position,
    };
    memcpy(&described.last_mark, entry + (uint64_t)header->pages * PAGE_BYTES - PAGE_MARK_BYTES,
           sizeof described.last_mark);
    return described;
}

uint32_t assembly_cut(struct wire_frame *frame, const uint8_t *entry, uint32_t offset)
{
    uint32_t used = frame->entry.used_bytes - NODE_HEADER_BYTES;
    ASSERT(offset < used);
    uint32_t bytes = used - offset;
    if (bytes > frame->entry.fragment_bytes) {
        bytes = frame->entry.fragment_bytes;
    }
    frame->entry.offset = offset;
    frame->payload = entry + NODE_HEADER_BYTES + offset;
    frame->payload_bytes = bytes;
    return offset + bytes;
}
