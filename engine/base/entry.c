/* entry.c: making and checking the bytes of one entry.
 *
 * Every byte that is checked here came from a network or a disk. So nothing that a header says is
 * used before the header's own CRC and bounds have passed, and a wrong byte is an answer, never an
 * assertion. The asserts are about the caller: alignment, ranges, what the leader seals.
 *
 * Knows nothing of Raft's rules, of frames or of disks.
 */
#include "engine/base/entry.h"

#include "engine/base/crc.h"

#include <stddef.h>
#include <string.h>

#define PAGE_PAYLOAD_BYTES (PAGE_BYTES - PAGE_MARK_BYTES) /* Of a page, without its mark. */
#define BODY_BYTES_MAX     (ENTRY_PAGES_MAX * PAGE_PAYLOAD_BYTES - ENTRY_BODY_OFFSET)
#define RECORD_ALIGN_BYTES 8u

/* Terms, indexes, positions and offsets stay below this, so that no sum of two of them wraps. */
#define NUMBER_LIMIT (1ull << 63)

_Static_assert(offsetof(struct entry_header, crc) == ENTRY_HEADER_BYTES - 4, "the CRC is last");
_Static_assert(offsetof(struct node_header, crc) == NODE_HEADER_BYTES - 4, "the CRC is last");
_Static_assert(offsetof(struct page_mark, crc) == PAGE_MARK_BYTES - 4, "the CRC is last");
_Static_assert(ENTRY_BODY_OFFSET < PAGE_PAYLOAD_BYTES, "the body begins in the first page");
_Static_assert(BODY_BYTES_MAX / RECORD_HEADER_BYTES <= ENTRY_RECORDS_MAX, "records are bounded");

uint32_t entry_pages(uint32_t body_bytes)
{
    ASSERT(body_bytes <= BODY_BYTES_MAX);
    return (ENTRY_BODY_OFFSET + body_bytes + PAGE_PAYLOAD_BYTES - 1) / PAGE_PAYLOAD_BYTES;
}

uint32_t entry_body_bytes_max(uint32_t pages)
{
    ASSERT(pages >= 1);
    ASSERT(pages <= ENTRY_PAGES_MAX);
    return pages * PAGE_PAYLOAD_BYTES - ENTRY_BODY_OFFSET;
}

uint32_t entry_used_bytes(uint32_t body_bytes)
{
    uint32_t marks = entry_pages(body_bytes) - 1; /* Of the pages before the last. */
    return ENTRY_BODY_OFFSET + body_bytes + marks * PAGE_MARK_BYTES;
}

/* Where a body byte stands in the entry, and how many follow it before the page's mark. */
static uint32_t body_place(uint32_t body_offset, uint32_t *run_bytes)
{
    uint32_t payload = ENTRY_BODY_OFFSET + body_offset;
    uint32_t in_page = payload % PAGE_PAYLOAD_BYTES;
    *run_bytes = PAGE_PAYLOAD_BYTES - in_page;
    return payload / PAGE_PAYLOAD_BYTES * PAGE_BYTES + in_page;
}

void entry_body_write(uint8_t *entry, uint32_t body_offset, const void *bytes, uint32_t count)
{
    ASSERT(body_offset <= BODY_BYTES_MAX);
    ASSERT(count <= BODY_BYTES_MAX - body_offset);
    const uint8_t *from = bytes;
    while (count > 0) {
        uint32_t run_bytes = 0;
        uint32_t place = body_place(body_offset, &run_bytes);
        uint32_t part_bytes = count < run_bytes ? count : run_bytes;
        memcpy(entry + place, from, part_bytes);
        from += part_bytes;
        body_offset += part_bytes;
        count -= part_bytes;
    }
}

void entry_body_read(const uint8_t *entry, uint32_t body_offset, void *bytes, uint32_t count)
{
    ASSERT(body_offset <= BODY_BYTES_MAX);
    ASSERT(count <= BODY_BYTES_MAX - body_offset);
    uint8_t *to = bytes;
    while (count > 0) {
        uint32_t run_bytes = 0;
        uint32_t place = body_place(body_offset, &run_bytes);
        uint32_t part_bytes = count < run_bytes ? count : run_bytes;
        memcpy(to, entry + place, part_bytes);
        to += part_bytes;
        body_offset += part_bytes;
        count -= part_bytes;
    }
}

static bool all_zero(const uint8_t *bytes, uint32_t count)
{
    /* The first is zero and each equals the next: memcmp is the fastest loop that libc has. */
    return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

static uint32_t entry_header_crc(const struct entry_header *header)
{
    return crc32c(0, header, offsetof(struct entry_header, crc));
}

static uint32_t node_header_crc(const struct node_header *header)
{
    return crc32c(0, header, offsetof(struct node_header, crc));
}

static uint32_t page_crc(const uint8_t *page, uint64_t cluster, bool first_page)
{
    uint32_t from = first_page ? NODE_HEADER_BYTES : 0;
    uint32_t seed = crc32c(0, &cluster, sizeof cluster);
    return crc32c(seed, page + from, PAGE_BYTES - sizeof(uint32_t) - from);
}

struct page_mark page_mark_of(const uint8_t *page)
{
    struct page_mark mark;
    memcpy(&mark, page + PAGE_PAYLOAD_BYTES, sizeof mark);
    return mark;
}

bool page_mark_valid(const uint8_t *page, uint64_t cluster, bool first_page)
{
    return page_mark_of(page).crc == page_crc(page, cluster, first_page);
}

/* The position a mark holds: the page's own, with its number in the low bits. */
static uint64_t mark_position(const struct entry_header *header, uint32_t number)
{
    return header->position + (uint64_t)number * PAGE_BYTES + number;
}

void entry_seal(uint8_t *entry, const struct entry_header *header)
{
    ASSERT((uintptr_t)entry % 8 == 0);
    ASSERT(header->body_bytes <= BODY_BYTES_MAX);
    struct entry_header sealed = *header;
    sealed.magic = ENTRY_MAGIC;
    sealed.version = ENTRY_VERSION;
    sealed.pages = (uint8_t)entry_pages(header->body_bytes);
    memset(sealed.reserved, 0, sizeof sealed.reserved);
    sealed.crc = entry_header_crc(&sealed);
    ASSERT(entry_header_check(&sealed, header->cluster) == NULL);

    memset(entry, 0, NODE_HEADER_BYTES);
    memcpy(entry + NODE_HEADER_BYTES, &sealed, sizeof sealed);
    uint32_t used_bytes = entry_used_bytes(sealed.body_bytes);
    uint32_t marks_at = sealed.pages * PAGE_BYTES - PAGE_MARK_BYTES;
    ASSERT(used_bytes <= marks_at);
    memset(entry + used_bytes, 0, marks_at - used_bytes);

    for (uint32_t number = 0; number < sealed.pages; number++) {
        uint8_t *page = entry + number * PAGE_BYTES;
        struct page_mark mark = {
            .position = mark_position(&sealed, number),
            .term_low = (uint32_t)sealed.term,
        };
        memcpy(page + PAGE_PAYLOAD_BYTES, &mark, sizeof mark);
        mark.crc = page_crc(page, sealed.cluster, number == 0);
        memcpy(page + PAGE_PAYLOAD_BYTES, &mark, sizeof mark);
    }
}

/* What the fields say, once the CRC has shown that they are the leader's. */
static const char *entry_fields_check(const struct entry_header *header)
{
    if (header->kind < ENTRY_NOOP || header->kind > ENTRY_TRIM) {
        return "entry kind unknown";
    }
    if (header->body_bytes > BODY_BYTES_MAX) {
        return "entry body too long";
    }
    if (header->pages != entry_pages(header->body_bytes)) {
        return "entry pages do not fit its body";
    }
    if (header->position % PAGE_BYTES != 0) {
        return "entry position not aligned";
    }
    if ((header->position | header->first_offset | header->term | header->index) >= NUMBER_LIMIT) {
        return "entry number too large";
    }
    if (header->index == 0) {
        return "entry index is zero";
    }
    if (header->commit_index >= header->index) {
        return "entry commits itself";
    }
    if (header->kind == ENTRY_NOOP && header->body_bytes != 0) {
        return "no-op with a body";
    }
    if (header->kind != ENTRY_CLIENT &&
        (header->record_count | header->session_record_count) != 0) {
        return "records in an entry that is not a client's";
    }
    if (header->record_count > ENTRY_RECORDS_MAX ||
        header->session_record_count > ENTRY_SESSION_RECORDS_MAX) {
        return "too many records";
    }
    if (!all_zero(header->reserved, sizeof header->reserved)) {
        return "entry reserved bytes not zero";
    }
    return NULL;
}

const char *entry_header_check(const struct entry_header *header, uint64_t cluster)
{
    if (header->magic != ENTRY_MAGIC) {
        return "entry magic wrong";
    }
    if (header->version != ENTRY_VERSION) {
        return "entry version unknown";
    }
    if (header->crc != entry_header_crc(header)) {
        return "entry header CRC wrong";
    }
    if (header->cluster != cluster) {
        return "entry of another cluster";
    }
    return entry_fields_check(header);
}

bool entry_page_valid(const uint8_t *page, uint32_t number, const struct entry_header *header)
{
    ASSERT(number < ENTRY_PAGES_MAX);
    struct page_mark mark = page_mark_of(page);
    /* The cheap comparisons first: a page that was never written costs no CRC. */
    return number < header->pages && mark.position == mark_position(header, number) &&
           mark.term_low == (uint32_t)header->term &&
           page_mark_valid(page, header->cluster, number == 0);
}

/* Check the record at the cursor and move past it. NULL, or what is wrong. */
static const char *record_check(const uint8_t *entry,
                                uint32_t body_bytes,
                                uint32_t *cursor,
                                struct record_header *record)
{
    ASSERT(*cursor <= body_bytes);
    if (body_bytes - *cursor < RECORD_HEADER_BYTES) {
        return "records run past the body";
    }
    entry_body_read(entry, *cursor, record, sizeof *record);
    if (record->bytes > RECORD_BYTES_MAX) {
        return "record too long";
    }
    if (record->kind >= RECORD_KIND_COUNT) {
        return "record kind unknown";
    }
    if (!all_zero(record->reserved, sizeof record->reserved)) {
        return "record reserved bytes not zero";
    }
    uint32_t record_bytes = record_body_bytes(record->bytes);
    if (record_bytes > body_bytes - *cursor) {
        return "record runs past the body";
    }
    uint8_t padding[RECORD_ALIGN_BYTES] = {0};
    uint32_t padding_bytes = record_bytes - RECORD_HEADER_BYTES - record->bytes;
    ASSERT(padding_bytes < RECORD_ALIGN_BYTES);
    entry_body_read(entry, *cursor + record_bytes - padding_bytes, padding, padding_bytes);
    if (!all_zero(padding, padding_bytes)) {
        return "record padding not zero";
    }
    *cursor += record_bytes;
    return NULL;
}

/* Check that the records fill the body, and are as many of each sort as the header says. */
static const char *records_check(const uint8_t *entry, const struct entry_header *header)
{
    uint32_t cursor = 0;
    uint32_t append_count = 0;
    uint32_t session_count = 0;
    while (cursor < header->body_bytes) {
        struct record_header record;
        const char *wrong = record_check(entry, header->body_bytes, &cursor, &record);
        if (wrong != NULL) {
            return wrong;
        }
        append_count += record.kind == RECORD_APPEND;
        session_count += record.kind != RECORD_APPEND || record.session != 0;
    }
    bool same =
        append_count == header->record_count && session_count == header->session_record_count;
    return same ? NULL : "records are not as many as the entry's header says";
}

const char *entry_check(const uint8_t *entry, uint64_t cluster)
{
    ASSERT((uintptr_t)entry % 8 == 0);
    const struct entry_header *header = entry_header_of(entry);
    const char *wrong = entry_header_check(header, cluster);
    if (wrong != NULL) {
        return wrong;
    }
    for (uint32_t number = 0; number < header->pages; number++) {
        if (!entry_page_valid(entry + number * PAGE_BYTES, number, header)) {
            return "entry page mark wrong";
        }
    }
    uint32_t used_bytes = entry_used_bytes(header->body_bytes);
    uint32_t mark_at = header->pages * PAGE_BYTES - PAGE_MARK_BYTES;
    if (!all_zero(entry + used_bytes, mark_at - used_bytes)) {
        return "entry padding not zero";
    }
    return header->kind == ENTRY_CLIENT ? records_check(entry, header) : NULL;
}

void node_header_seal(uint8_t *entry, const struct node_header *header)
{
    ASSERT(header->position % PAGE_BYTES == 0);
    struct node_header sealed = *header;
    sealed.magic = NODE_HEADER_MAGIC;
    sealed.version = ENTRY_VERSION;
    memset(sealed.reserved, 0, sizeof sealed.reserved);
    sealed.crc = node_header_crc(&sealed);
    ASSERT(node_header_check(&sealed, header->store) == NULL);
    memcpy(entry, &sealed, sizeof sealed);
}

const char *node_header_check(const struct node_header *header, uint64_t store)
{
    if (header->magic != NODE_HEADER_MAGIC) {
        return "node header magic wrong";
    }
    if (header->version != ENTRY_VERSION) {
        return "node header version unknown";
    }
    if (header->crc != node_header_crc(header)) {
        return "node header CRC wrong";
    }
    if (header->store != store) {
        return "node header of another store";
    }
    if (header->position % PAGE_BYTES != 0) {
        return "node header position not aligned";
    }
    if (!all_zero(header->reserved, sizeof header->reserved)) {
        return "node header reserved bytes not zero";
    }
    return NULL;
}

bool entry_record_next(const uint8_t *entry,
                       uint32_t *cursor,
                       struct record_header *record,
                       uint32_t *payload_offset)
{
    const struct entry_header *header = entry_header_of(entry);
    ASSERT(*cursor <= header->body_bytes);
    if (header->kind != ENTRY_CLIENT || *cursor == header->body_bytes) {
        return false;
    }
    ASSERT(header->body_bytes - *cursor >= RECORD_HEADER_BYTES);
    entry_body_read(entry, *cursor, record, sizeof *record);
    ASSERT(record->bytes <= RECORD_BYTES_MAX);
    *payload_offset = *cursor + RECORD_HEADER_BYTES;
    *cursor += record_body_bytes(record->bytes);
    ASSERT(*cursor <= header->body_bytes);
    return true;
}

bool entry_append_next(const uint8_t *entry,
                       uint32_t *cursor,
                       struct record_header *record,
                       uint32_t *payload_offset)
{
    while (entry_record_next(entry, cursor, record, payload_offset)) {
        if (record->kind == RECORD_APPEND) {
            return true;
        }
    }
    return false;
}
