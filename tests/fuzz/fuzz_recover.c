/* fuzz_recover.c: whatever stands on a disk, recovery answers, twice the same, and writes nothing.
 *
 * An input is a program of one-byte operations over a freshly formatted small log: entries that
 * chain or do not, bytes changed, CRCs mended over the change, superblock fields set, watermark
 * pages, unreadable pages, raw bytes. Then the disk is recovered twice and opened: an opening
 * succeeds exactly when the finding was healthy, and afterwards the log is clean at the same end.
 */
#include "engine/base/crc.h"
#include "storage/format.h"
#include "storage/superblock.h"
#include "storage/wal.h"
#include "tests/fuzz/keep.h"
#include "tests/support/disk_model.h"
#include "tests/support/walk_check.h"

#include <string.h>

#define CLUSTER        0x9f3c0a4e5b6d7788ull
#define STORE          0x1122334455667788ull
#define SEGMENT_PAGES  4u
#define SEGMENTS       5u
#define WINDOW_PAGES   8u
#define OPERATIONS_MAX 256u
/* Looks cost most of the time: one input in so many is looked at twice, and after its opening;
 * another one is walked as the offline tools do it. */
#define LOOK_AGAIN_EVERY 4u
#define DISK_BYTES       (2u * 1024 * 1024 + (uint64_t)SEGMENTS * SEGMENT_PAGES * PAGE_BYTES)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct program {
    const uint8_t *data;
    size_t size;
    size_t at;
};

struct image {
    struct disk_model model;
    struct geometry geometry;
    struct mem mem;
    struct log_id last;
    uint64_t position;
};

static struct keep keep;
static struct image *image; /* Within it. */
static uint8_t *buffer_of_recovery;

static uint64_t take(struct program *program, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes && program->at < program->size; i++) {
        value |= (uint64_t)program->data[program->at++] << (8 * i);
    }
    return value;
}

static uint8_t *ring_page(uint64_t position)
{
    struct ring_part parts[2];
    (void)ring_split(&image->geometry, position, PAGE_BYTES, parts);
    return disk_model_page(&image->model, parts[0].offset);
}

static uint64_t take_ring_position(struct program *program)
{
    return take(program, 1) * PAGE_BYTES;
}

static uint64_t take_file_offset(struct program *program)
{
    return take(program, 2) % (DISK_BYTES / PAGE_BYTES) * PAGE_BYTES;
}

static void entry_put(struct entry_header *header, const struct node_header *node)
{
    static _Alignas(PAGE_BYTES) uint8_t entry[ENTRY_BYTES_MAX];
    memset(entry, 0, (uint64_t)entry_pages(header->body_bytes) * PAGE_BYTES);
    header->cluster = CLUSTER;
    header->kind = header->body_bytes == 0 ? ENTRY_NOOP : ENTRY_CONFIGURATION;
    entry_seal(entry, header);
    node_header_seal(entry, node);
    uint32_t pages = entry_pages(header->body_bytes);
    for (uint32_t i = 0; i < pages; i++) {
        memcpy(ring_page(header->position + i * PAGE_BYTES), entry + i * PAGE_BYTES, PAGE_BYTES);
    }
}

static void operation_entry(struct program *program, bool chained)
{
    struct entry_header header = {.position = image->position,
                                  .index = image->last.index + 1,
                                  .previous_term = image->last.term};
    header.term = take(program, 1);
    header.body_bytes = (uint32_t)take(program, 2) % entry_body_bytes_max(ENTRY_PAGES_MAX);
    struct node_header node = {.store = STORE, .node = 1, .epoch = take(program, 1)};
    if (!chained) {
        header.position = take_ring_position(program);
        header.index = take(program, 1) + 1;
        header.previous_term = take(program, 1);
        node.durable_position = take_ring_position(program);
        node.store += take(program, 1) % 7 == 6;
    } else {
        node.durable_position = image->position;
        image->last = (struct log_id){.term = header.term, .index = header.index};
        image->position += (uint64_t)entry_pages(header.body_bytes) * PAGE_BYTES;
    }
    node.position = header.position;
    entry_put(&header, &node);
}

/* Make the mark's CRC right over whatever the page says. */
static void operation_mend(struct program *program)
{
    uint8_t *page = ring_page(take_ring_position(program));
    uint64_t cluster = CLUSTER;
    uint32_t from = page_mark_of(page).position % PAGE_BYTES == 0 ? NODE_HEADER_BYTES : 0;
    uint32_t crc = crc32c(crc32c(0, &cluster, sizeof cluster), page + from, PAGE_BYTES - 4 - from);
    memcpy(page + PAGE_BYTES - 4, &crc, sizeof crc);
}

/* Make an entry header's own CRC, and a node header's, right over whatever they say. */
static void operation_mend_headers(struct program *program)
{
    uint8_t *page = ring_page(take_ring_position(program));
    uint32_t crc = crc32c(0, page, NODE_HEADER_BYTES - 4);
    memcpy(page + NODE_HEADER_BYTES - 4, &crc, sizeof crc);
    crc = crc32c(0, page + NODE_HEADER_BYTES, ENTRY_HEADER_BYTES - 4);
    memcpy(page + ENTRY_BODY_OFFSET - 4, &crc, sizeof crc);
}

static void operation_superblock(struct program *program)
{
    uint32_t copy = (uint32_t)take(program, 1) % 4;
    uint8_t *page = disk_model_page(&image->model, layout_superblock_at(copy / 2, copy % 2));
    uint64_t word = take(program, 1) % (sizeof(struct superblock) / 8);
    uint64_t value = take(program, 8);
    uint8_t head[sizeof(struct superblock)];
    memcpy(head, page, sizeof head);
    memcpy(head + word * 8, &value, sizeof value);
    layout_page_seal(page, head, sizeof head);
}

static void operation_watermark(struct program *program)
{
    struct watermark mark = {.cluster = CLUSTER, .store = STORE};
    uint32_t number = (uint32_t)take(program, 1) & 1;
    mark.position = take_ring_position(program);
    mark.epoch = take(program, 1);
    mark.last_term = take(program, 1);
    mark.last_index = take(program, 1);
    watermark_encode(&mark, disk_model_page(&image->model, layout_watermark_at(number)));
}

static void operation(struct program *program)
{
    switch (take(program, 1) % 9) {
    case 0:
        operation_entry(program, true);
        break;
    case 1:
        operation_entry(program, false);
        break;
    case 2: {
        uint8_t *page = ring_page(take_ring_position(program));
        page[take(program, 2) % PAGE_BYTES] ^= (uint8_t)take(program, 1);
        break;
    }
    case 3:
        operation_mend(program);
        break;
    case 4:
        operation_mend_headers(program);
        break;
    case 5:
        operation_superblock(program);
        break;
    case 6:
        operation_watermark(program);
        break;
    case 7:
        disk_model_unreadable(&image->model, take_file_offset(program));
        break;
    case 8: {
        uint8_t *page = disk_model_page(&image->model, take_file_offset(program));
        uint64_t at = take(program, 2) % (PAGE_BYTES - 8);
        uint64_t value = take(program, 8);
        memcpy(page + at, &value, sizeof value);
        break;
    }
    }
}

/* A freshly formatted log, made once. */
static void image_make(void)
{
    static _Alignas(PAGE_BYTES) uint8_t buffer[RECOVER_BUFFER_BYTES];
    buffer_of_recovery = buffer;
    uint64_t head_bytes = (sizeof *image + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uint64_t disk_bytes = disk_model_memory_bytes(DISK_BYTES);
    keep_open(&keep, head_bytes + disk_bytes + wal_memory_bytes());
    image = (struct image *)(void *)keep.base;
    disk_model_init(&image->model, DISK_BYTES, keep.base + head_bytes);
    mem_init(&image->mem, keep.base + head_bytes + disk_bytes, wal_memory_bytes());
    const struct format_config config = {
        .cluster = CLUSTER,
        .store = STORE,
        .node = 1,
        .segment_bytes = SEGMENT_PAGES * PAGE_BYTES,
        .window_bytes = WINDOW_PAGES * PAGE_BYTES,
        .small = true,
    };
    struct fault fault;
    int result = storage_format(&image->model.disk, &config, buffer, &image->geometry, &fault);
    ASSERT(result == 0);
    keep_save(&keep);
}

/* Walk what the replica walks of an entry: it must have been checked. */
static void visit(void *context, const uint8_t *entry)
{
    uint32_t cursor = 0;
    uint32_t payload_offset = 0;
    struct record_header record;
    uint64_t *bytes = context;
    while (entry_append_next(entry, &cursor, &record, &payload_offset)) {
        *bytes += record.bytes;
    }
}

static void open_and_look_again(const struct recovery *found, bool again)
{
    struct fault fault = {0};
    struct recovery opened;
    struct recovery after;
    const struct wal_config config = {.cluster = CLUSTER, .node = 1, .disk = &image->model.disk};
    struct wal *wal = wal_create(&image->mem, &config);
    bool healthy = found->kind == RECOVER_CLEAN || found->kind == RECOVER_TORN;
    uint64_t writes = image->model.write_count;
    bool ours = found->cluster == CLUSTER && found->node == 1;
    int result = wal_open(wal, WAL_WHOLE, NULL, &opened, &fault);
    ASSERT((result == 0) == (healthy && ours));
    if (result != 0) {
        ASSERT(image->model.write_count == writes);
        ASSERT(fault.code != 0);
        return;
    }
    if (!again) {
        return;
    }
    const struct recover_config expected = {
        .cluster = CLUSTER, .node = 1, .buffer = buffer_of_recovery};
    result = recover(&image->model.disk, &expected, &after, &fault);
    ASSERT(result == 0);
    ASSERT(after.kind == RECOVER_CLEAN || after.kind == RECOVER_TORN);
    ASSERT(after.end_position == found->end_position);
    ASSERT(after.last.index == found->last.index);
    ASSERT(after.epoch == found->epoch + 1);
}

/* The offline tools' way: on past what a node is refused for, and over everything that is there. */
static void walk_all(void)
{
    struct fault fault = {0};
    struct recovery found;
    const struct recover_config any = {.buffer = buffer_of_recovery, .survey = true};
    if (recover(&image->model.disk, &any, &found, &fault) != 0) {
        ASSERT(fault.code != 0);
        return;
    }
    const char *wrong = walk_check(&image->model.disk, &found, buffer_of_recovery);
    ASSERT(wrong == NULL);
}

/* Look at the disk. What it holds is told to nobody; the visitor has walked it. */
static int look(struct recovery *found, uint64_t *bytes)
{
    struct fault fault = {0};
    const struct recover_visitor visitor = {.entry = visit, .context = bytes};
    const struct recover_config any = {.buffer = buffer_of_recovery, .visitor = &visitor};
    uint64_t writes = image->model.write_count;
    memset(found, 0, sizeof *found);
    *bytes = 0;
    int result = recover(&image->model.disk, &any, found, &fault);
    ASSERT(image->model.write_count == writes);
    ASSERT(result == 0 || fault.code != 0);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (image == NULL) {
        image_make();
    }
    keep_back(&keep);
    struct program program = {.data = data, .size = size};
    for (uint32_t i = 0; i < OPERATIONS_MAX && program.at < size; i++) {
        operation(&program);
    }
    uint64_t bytes;
    struct recovery found;
    int result = look(&found, &bytes);
    bool again = size % LOOK_AGAIN_EVERY == 0;
    if (again) {
        uint64_t bytes_again;
        struct recovery found_again;
        ASSERT(look(&found_again, &bytes_again) == result);
        ASSERT(bytes == bytes_again);
        /* Both began as zeros, padding too. */
        /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
        ASSERT(memcmp(&found, &found_again, sizeof found) == 0);
    }
    if (size % LOOK_AGAIN_EVERY == 1) {
        walk_all();
    }
    if (result == 0) {
        open_and_look_again(&found, again);
    }
    return 0;
}
