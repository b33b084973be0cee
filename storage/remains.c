/* remains.c: see remains.h. */
#include "storage/remains.h"

#include "engine/base/entry.h"
#include "storage/layout.h"
#include "storage/superblock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The ring begins at one of these at the latest. */
#define REMAINS_LOOKS_MAX                                                                          \
    (STATE_COPIES * (SEGMENTS_MAX + LAYOUT_STATES_EXTRA) / (LAYOUT_RING_ALIGN / STATE_BYTES) + 2u)

/* So many small states are looked at, if no entry is found: all of a log of fewer segments. */
#define REMAINS_STATES_MAX 2048u

/* Whether this is the first page of an entry of whatever cluster. */
static bool page_look(const uint8_t *page, struct remains *remains)
{
    struct entry_header header;
    struct node_header node;
    memcpy(&header, page + NODE_HEADER_BYTES, sizeof header);
    memcpy(&node, page, sizeof node);
    if (entry_header_check(&header, header.cluster) != NULL ||
        !entry_page_valid(page, 0, &header)) {
        return false;
    }
    bool stamped = node_header_check(&node, node.store) == NULL && node.node <= NODE_ID_MAX;
    *remains =
        (struct remains){.cluster = header.cluster, .node = stamped ? (uint8_t)node.node : 0};
    return true;
}

/* Look at some pages; where they cannot be read at once, at each of them. */
static bool pages_look(
    struct disk *disk, uint64_t offset, uint32_t bytes, uint8_t *buffer, struct remains *remains)
{
    bool whole = disk_read(disk, offset, bytes, buffer) == 0;
    for (uint32_t at = 0; at < bytes; at += PAGE_BYTES) {
        uint8_t *page = buffer + at;
        bool read = whole || disk_read(disk, offset + at, PAGE_BYTES, page) == 0;
        if (read && page_look(page, remains)) {
            return true;
        }
    }
    return false;
}

/* Whether this is a page beside the ring that tells of an entry. */
static bool beside_look(const uint8_t *page, struct remains *remains)
{
    struct watermark mark;
    struct state_header state;
    memcpy(&mark, page, sizeof mark);
    memcpy(&state, page, sizeof state);
    bool marks = mark.magic == WATERMARK_MAGIC && mark.last_index > 0;
    bool states = state.magic == STATE_MAGIC && state.last_index > 0;
    if ((!marks && !states) || !layout_page_valid(page)) {
        return false;
    }
    *remains = (struct remains){.cluster = marks ? mark.cluster : state.cluster};
    return true;
}

static bool beside_find(struct disk *disk, uint8_t *page, struct remains *remains)
{
    for (uint32_t i = 0; i < WATERMARK_PAGES + REMAINS_STATES_MAX; i++) {
        uint64_t offset = i < WATERMARK_PAGES
                              ? layout_watermark_at(i)
                              : LAYOUT_STATES_AT + (uint64_t)(i - WATERMARK_PAGES) * STATE_BYTES;
        if (disk_read(disk, offset, PAGE_BYTES, page) == 0 && beside_look(page, remains)) {
            return true;
        }
    }
    return false;
}

static bool entry_find(struct disk *disk, uint8_t *buffer, struct remains *remains)
{
    for (uint64_t look = 1; look <= REMAINS_LOOKS_MAX; look++) {
        uint64_t offset = look * LAYOUT_RING_ALIGN;
        if (offset + PAGE_BYTES > disk->bytes) {
            return false;
        }
        uint64_t left_bytes = (disk->bytes - offset) / PAGE_BYTES * PAGE_BYTES;
        uint32_t bytes =
            left_bytes < REMAINS_LOOK_BYTES ? (uint32_t)left_bytes : REMAINS_LOOK_BYTES;
        if (pages_look(disk, offset, bytes, buffer, remains)) {
            return true;
        }
    }
    return false;
}

bool remains_find(struct disk *disk, uint8_t *buffer, struct remains *remains)
{
    *remains = (struct remains){0};
    return entry_find(disk, buffer, remains) || beside_find(disk, buffer, remains);
}

int remains_refuse(struct disk *disk, uint8_t *buffer, int result, struct fault *fault)
{
    ASSERT(result < 0);
    struct remains remains;
    bool found = remains_find(disk, buffer, &remains);
    struct fault hang = {0};
    if (disk_check(disk, &hang) != 0) {
        *fault = hang;
        return -ETIMEDOUT;
    }
    if (!found) {
        return result;
    }
    char whose[24] = "";
    if (remains.node != 0) {
        (void)snprintf(whose, sizeof whose, "node %u of ", remains.node);
    }
    fault_set(fault, FAULT_FAILED,
              "the superblocks are gone, but entries of %scluster %016" PRIx64
              " stand behind them: `thole format` would destroy what is left of this log. Bring "
              "back a copy of it. Without one the node must not start again, for its last vote is "
              "gone: keep what is there, let the other nodes serve, and make a new cluster from "
              "`thole backup` with `thole restore`",
              whose, remains.cluster);
    return -EBADMSG;
}
