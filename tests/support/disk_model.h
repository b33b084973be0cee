/* disk_model.h: an in-memory disk behind storage/disk.h that a test holds in its hand.
 *
 * A write takes effect when the test completes it, not when it is submitted; a crash decides for
 * every page of what is still in flight whether it is there, absent or torn at 512 bytes. Pages can
 * rot, be unreadable, or be lost under a write that was reported done. With `automatic` set,
 * requests complete at the next poll, in order (start-up, disk_transfer).
 *
 * It knows pages and nothing of what they mean.
 */
#ifndef TESTS_SUPPORT_DISK_MODEL_H
#define TESTS_SUPPORT_DISK_MODEL_H

#include "engine/base/prng.h"
#include "storage/disk.h"

#include <stdbool.h>
#include <stdint.h>

#define DISK_MODEL_SECTOR_BYTES 512u
#define DISK_MODEL_ALIVE        UINT32_MAX

struct disk_model {
    struct disk disk; /* First: the seam. */
    uint8_t *image;
    uint8_t *marks; /* One a page: touched, unreadable. */
    uint32_t *touched;
    uint32_t touched_count;
    uint32_t page_count;
    bool automatic;
    uint32_t writes_until_death; /* That write stays in flight and everything after it fails. */
    uint64_t write_count;        /* Writes submitted since the reset. */
    uint64_t read_bytes;         /* Read since the reset. */
    uint64_t torn_count;         /* Pages torn, ever. */
    uint64_t lost_count;         /* Pages lost under a completed write, ever. */
    struct disk_io flights[DISK_QUEUE_MAX];
    uint32_t flight_count;
    struct disk_done done[DISK_QUEUE_MAX];
    uint32_t done_count;
};

/* A zeroed disk of `bytes`. Allocates; 0 or -ENOMEM. */
MUST_USE int disk_model_open(struct disk_model *model, uint64_t bytes);
void disk_model_free(struct disk_model *model);

/* The same in the caller's zeroed, page-aligned memory of disk_model_memory_bytes(). */
uint64_t disk_model_memory_bytes(uint64_t bytes);
void disk_model_init(struct disk_model *model, uint64_t bytes, uint8_t *memory);

/* All zero again, nothing in flight: costs what was touched. */
void disk_model_reset(struct disk_model *model);

/* The same, but like `content`, which the disk's untouched pages are like already. */
void disk_model_restore(struct disk_model *model, const uint8_t *content);

/* Complete the request at `number` of flights[] (the last one takes its place). A write's page
 * survives unless drawn: `lost_ppm` of each page silently keeps its old content. */
void disk_model_complete(struct disk_model *model,
                         uint32_t number,
                         struct prng *prng,
                         uint32_t lost_ppm);

/* The power goes: decide every page in flight, forget the requests, and be alive again. A page is
 * torn with `tear_ppm`, otherwise there or absent with even chances. */
void disk_model_crash(struct disk_model *model, struct prng *prng, uint32_t tear_ppm);

/* The page at a file offset, to look at or to damage. */
uint8_t *disk_model_page(struct disk_model *model, uint64_t offset);

/* Of the page at a file offset each sector becomes new, or stays, with even chances. */
void disk_model_tear(struct disk_model *model,
                     uint64_t offset,
                     const uint8_t *bytes,
                     struct prng *prng);
void disk_model_unreadable(struct disk_model *model, uint64_t offset);

#endif
