/* superblock.c: loading, choosing and mending the superblock's copies; watermark pages. */
#include "storage/superblock.h"

#include "engine/base/crc.h"
#include "storage/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* The copy that a format writes last. */
#define UNFINISHED_SLOT 1u
#define UNFINISHED_COPY 1u

void layout_page_seal(uint8_t *page, const void *head, uint32_t count)
{
    ASSERT(count <= LAYOUT_CRC_AT);
    memcpy(page, head, count);
    memset(page + count, 0, LAYOUT_CRC_AT - count);
    uint32_t crc = crc32c(0, page, LAYOUT_CRC_AT);
    memcpy(page + LAYOUT_CRC_AT, &crc, sizeof crc);
    ASSERT(layout_page_valid(page));
}

bool layout_page_valid(const uint8_t *page)
{
    uint32_t crc = 0;
    memcpy(&crc, page + LAYOUT_CRC_AT, sizeof crc);
    return crc == crc32c(0, page, LAYOUT_CRC_AT);
}

static bool is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

void superblock_encode(const struct superblock *superblock, uint8_t *page)
{
    struct superblock sealed = *superblock;
    sealed.magic = SUPERBLOCK_MAGIC;
    sealed.version = LAYOUT_VERSION;
    ASSERT(sealed.node >= 1);
    ASSERT(sealed.node <= NODE_ID_MAX);
    layout_page_seal(page, &sealed, sizeof sealed);
}

/* Whether the numbers of a copy whose CRC holds can stand together. */
static bool superblock_plausible(const struct superblock *superblock)
{
    struct geometry geometry;
    const uint64_t positions = superblock->cut_position | superblock->start_position;
    const uint64_t numbers = superblock->cut_index | superblock->start_index |
                             superblock->start_offset | superblock->cut_term |
                             superblock->start_term | superblock->term | superblock->entry_term |
                             superblock->epoch | superblock->sequence | superblock->boot |
                             superblock->bound_term | superblock->bound_index;
    return superblock->node >= 1 && superblock->node <= NODE_ID_MAX &&
           superblock->bootstrapped <= 1 && superblock->vote <= NODE_ID_MAX &&
           positions % PAGE_BYTES == 0 && positions < LAYOUT_POSITION_LIMIT &&
           numbers < LAYOUT_POSITION_LIMIT &&
           superblock->cut_position <= superblock->start_position + superblock->ring_bytes &&
           geometry_init(&geometry, superblock->ring_bytes, superblock->segment_bytes,
                         superblock->window_bytes);
}

static bool same_log(const struct superblock *a, const struct superblock *b)
{
    return a->cluster == b->cluster && a->store == b->store && a->node == b->node &&
           a->ring_bytes == b->ring_bytes && a->segment_bytes == b->segment_bytes &&
           a->window_bytes == b->window_bytes;
}

int superblock_mark_unfinished(struct disk *disk, uint8_t *page)
{
    const struct unfinished mark = {.magic = UNFINISHED_MAGIC, .version = LAYOUT_VERSION};
    layout_page_seal(page, &mark, sizeof mark);
    const struct disk_io io = {.op = DISK_WRITE,
                               .bytes = PAGE_BYTES,
                               .offset = layout_superblock_at(UNFINISHED_SLOT, UNFINISHED_COPY),
                               .buffer = page};
    return disk_transfer(disk, &io);
}

static bool is_unfinished(const uint8_t *page)
{
    struct unfinished mark;
    memcpy(&mark, page, sizeof mark);
    return mark.magic == UNFINISHED_MAGIC && layout_page_valid(page);
}

/* What the four pages showed, counted, to word the refusal. */
struct superblock_look {
    uint32_t zero_count;
    uint32_t magic_count;
    uint32_t newer_version; /* 0: none. */
    uint32_t older_version; /* Likewise. */
    bool unfinished;
};

static void copy_look(const uint8_t *page,
                      uint32_t slot,
                      uint32_t copy,
                      struct superblock_set *set,
                      struct superblock_look *look)
{
    struct superblock *found = &set->copies[slot][copy];
    memcpy(found, page, sizeof *found);
    set->valid[slot][copy] = false;
    look->zero_count += is_zero(page);
    look->unfinished = look->unfinished || is_unfinished(page);
    if (found->magic != SUPERBLOCK_MAGIC) {
        return;
    }
    look->magic_count++;
    if (!layout_page_valid(page)) {
        return;
    }
    if (found->version > LAYOUT_VERSION) {
        look->newer_version = found->version;
        return;
    }
    if (found->version < LAYOUT_VERSION) {
        look->older_version = found->version;
        return;
    }
    set->valid[slot][copy] = superblock_plausible(found) && (found->sequence & 1) == slot;
}

static bool newest_choose(struct superblock_set *set)
{
    bool any = false;
    for (uint32_t i = 0; i < SUPERBLOCK_SLOTS * SUPERBLOCK_COPIES; i++) {
        const struct superblock *copy = &set->copies[i / 2][i % 2];
        if (set->valid[i / 2][i % 2] && (!any || copy->sequence > set->newest.sequence)) {
            set->newest = *copy;
            any = true;
        }
    }
    /* A copy of another log under a valid CRC is a misdirected write: it does not count here. */
    for (uint32_t i = 0; i < SUPERBLOCK_SLOTS * SUPERBLOCK_COPIES && any; i++) {
        const struct superblock *copy = &set->copies[i / 2][i % 2];
        set->valid[i / 2][i % 2] = set->valid[i / 2][i % 2] && same_log(copy, &set->newest);
    }
    return any;
}

static int look_refuse(const struct superblock_look *look, struct fault *fault)
{
    if (look->zero_count == SUPERBLOCK_SLOTS * SUPERBLOCK_COPIES) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the log is not formatted: its superblock is all zero; "
                  "run `thole format` first");
        return -ENODATA;
    }
    if (look->magic_count == 0) {
        fault_set(
            fault, FAULT_ENVIRONMENT,
            "not a log of this program: no superblock where one should be; check `data =`, or "
            "run `thole format` on another path");
        return -ENOTSUP;
    }
    if (look->older_version != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the log has format version %u and this program reads version %u: serve it with "
                  "the older program, and take its records over by `thole backup` and `thole "
                  "restore`",
                  look->older_version, LAYOUT_VERSION);
        return -ENOTSUP;
    }
    fault_set(fault, FAULT_FAILED,
              "the superblock is damaged: no copy of it can be read, so the last vote may be lost; "
              "this node must not start, and nothing was written");
    return -EBADMSG;
}

bool superblock_set_any(const struct superblock_set *set)
{
    bool any = false;
    for (uint32_t i = 0; i < SUPERBLOCK_SLOTS * SUPERBLOCK_COPIES; i++) {
        any = any || set->valid[i / 2][i % 2];
    }
    return any;
}

int superblock_load(struct disk *disk,
                    uint8_t *page,
                    struct superblock_set *set,
                    struct fault *fault)
{
    struct superblock_look look = {0};
    memset(set, 0, sizeof *set);
    for (uint32_t i = 0; i < SUPERBLOCK_SLOTS * SUPERBLOCK_COPIES; i++) {
        struct disk_io io = {.op = DISK_READ,
                             .bytes = PAGE_BYTES,
                             .offset = layout_superblock_at(i / 2, i % 2),
                             .buffer = page};
        if (io.offset + PAGE_BYTES > disk->bytes) {
            fault_set(fault, FAULT_ENVIRONMENT, "not a log: the file has only %" PRIu64 " bytes",
                      disk->bytes);
            return -ENOTSUP;
        }
        if (disk_transfer(disk, &io) != 0) {
            memset(page, 0xee, PAGE_BYTES); /* An unreadable copy is an invalid one. */
        }
        copy_look(page, i / 2, i % 2, set, &look);
    }
    int hangs = disk_check(disk, fault);
    if (hangs != 0) {
        return hangs;
    }
    if (look.newer_version != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the log has format version %u and this program reads version %u: "
                  "start it with the newer program",
                  look.newer_version, LAYOUT_VERSION);
        return -ENOTSUP;
    }
    if (look.unfinished) {
        memset(set, 0, sizeof *set); /* None of its copies is one yet. */
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the log is unfinished: `thole restore` was interrupted here; run it again, with "
                  "the --restore-id that it printed");
        return -EINPROGRESS;
    }
    set->absent = look.magic_count == 0;
    if (!newest_choose(set)) {
        return look_refuse(&look, fault);
    }
    for (uint32_t slot = 0; slot < SUPERBLOCK_SLOTS; slot++) {
        if (!set->valid[slot][0] && !set->valid[slot][1]) {
            fault_set(fault, FAULT_FAILED,
                      "the superblock is damaged: neither copy of slot %u can be read, so the last "
                      "vote may be lost; this node must not start, and nothing was written",
                      slot);
            return -EBADMSG;
        }
    }
    return 0;
}

static int copy_write(struct disk *disk,
                      uint8_t *page,
                      const struct superblock *superblock,
                      uint32_t copy,
                      struct fault *fault)
{
    superblock_encode(superblock, page);
    struct disk_io io = {.op = DISK_WRITE,
                         .bytes = PAGE_BYTES,
                         .offset = layout_superblock_at(superblock->sequence & 1, copy),
                         .buffer = page};
    int result = disk_transfer(disk, &io);
    if (result != 0) {
        disk_tell(disk, "the superblock could not be written", result, fault);
    }
    return result;
}

int superblock_mend(struct disk *disk,
                    uint8_t *page,
                    struct superblock_set *set,
                    struct fault *fault)
{
    /* The newest slot first: until its copies are equal, one more fault could bring back the older
     * vote. */
    for (uint32_t i = 0; i < SUPERBLOCK_SLOTS; i++) {
        uint32_t slot = (uint32_t)(set->newest.sequence + i) & 1;
        const struct superblock *copies = set->copies[slot];
        ASSERT(set->valid[slot][0] || set->valid[slot][1]);
        uint32_t best = 0;
        if (!set->valid[slot][0] ||
            (set->valid[slot][1] && copies[1].sequence > copies[0].sequence)) {
            best = 1;
        }
        uint32_t other = 1 - best;
        if (set->valid[slot][other] && copies[other].sequence == copies[best].sequence) {
            continue;
        }
        int result = copy_write(disk, page, &copies[best], other, fault);
        if (result != 0) {
            return result;
        }
        set->copies[slot][other] = copies[best];
        set->valid[slot][other] = true;
    }
    return 0;
}

int superblock_store(struct disk *disk,
                     uint8_t *page,
                     const struct superblock *superblock,
                     struct fault *fault)
{
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        int result = copy_write(disk, page, superblock, copy, fault);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

void watermark_encode(const struct watermark *watermark, uint8_t *page)
{
    struct watermark sealed = *watermark;
    sealed.magic = WATERMARK_MAGIC;
    sealed.version = LAYOUT_VERSION;
    ASSERT(sealed.position % PAGE_BYTES == 0);
    layout_page_seal(page, &sealed, sizeof sealed);
}

bool watermark_decode(const uint8_t *page,
                      uint64_t cluster,
                      uint64_t store,
                      struct watermark *watermark)
{
    memcpy(watermark, page, sizeof *watermark);
    return watermark->magic == WATERMARK_MAGIC && watermark->version == LAYOUT_VERSION &&
           layout_page_valid(page) && watermark->cluster == cluster && watermark->store == store &&
           watermark->position % PAGE_BYTES == 0 && watermark->position < LAYOUT_POSITION_LIMIT &&
           watermark->last_index < LAYOUT_POSITION_LIMIT;
}
