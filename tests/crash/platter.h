/* platter.h: what one disk may hold after a power cut, by the journal of what it was asked and did.
 *
 * Of every prefix of the journal: what is durable for certain (the floor), and the writes that may
 * be there, page by page, or not. A write is certain once it was answered and was to be through to
 * the medium, or once a flush was answered that was asked for after the write's answer.
 *
 * It knows pages and nothing of what they mean.
 */
#ifndef TESTS_CRASH_PLATTER_H
#define TESTS_CRASH_PLATTER_H

#include "engine/base/prng.h"
#include "tests/crash/journal.h"
#include "tests/support/disk_model.h"

#include <stdbool.h>
#include <stdint.h>

#define PLATTER_PENDING_MAX 65536u
#define PLATTER_FLUSHES_MAX 64u

struct platter_write {
    uint64_t operation;
    uint64_t offset;
    const uint8_t *data; /* In the journal. */
    uint32_t bytes;
    bool through;
    uint64_t written_at; /* Number of the event that answered it; 0: none has yet. */
};

struct platter {
    struct disk_model model; /* Like the floor, between images. */
    uint8_t *floor;
    struct platter_write pending[PLATTER_PENDING_MAX]; /* As asked; not certain. */
    uint32_t pending_count;
    uint64_t pending_pages;
    struct {
        uint64_t operation;
        uint64_t asked_at;
    } flushes[PLATTER_FLUSHES_MAX]; /* Under way. */
    uint32_t flush_count;
    bool lies; /* The disk forgets O_DSYNC and flushes: to see that losses are found. */
};

/* How an image comes about. */
enum platter_fate {
    PLATTER_NOTHING, /* Nothing but the floor. */
    PLATTER_ALL,     /* All of it. */
    PLATTER_CHOSEN,  /* The pages whose bit is set in `chosen`; up to 64 of them. */
    PLATTER_SOME,    /* Each page is there or not, with even chances. */
    PLATTER_TORN,    /* And now and then a page is new in some of its sectors of 512 bytes only. */
};

struct platter_image {
    enum platter_fate fate;
    uint64_t chosen;
};

/* Begin with the bytes of the file at `path`. Exits when it cannot be read. */
void platter_open(struct platter *platter, const char *path);

/* The event with this number (from 1) happened. Returns NULL, or what no kernel should do. */
const char *platter_take(struct platter *platter,
                         const struct journal_event *event,
                         const uint8_t *data,
                         uint64_t number);

/* Make platter->model an image. platter_restore() ends it. */
void platter_cut(struct platter *platter, const struct platter_image *image, struct prng *prng);
void platter_restore(struct platter *platter);

#endif
