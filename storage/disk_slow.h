/* disk_slow.h: a disk behind disk.h that holds requests back on request, before another disk.
 *
 * A write that the draw hits is handed to the disk below after a delay, and what is submitted
 * behind it waits too: a disk that stalls, stalls for everybody. With every write hit, all of them
 * take so much longer; with a small share, the disk stands still now and then. Requests stay in
 * their order. The caller's buffers are not copied: they are the disk's from submit to completion.
 *
 * How long, how often and from which seed stands in numbers that may change while it runs, as in a
 * file that another process maps. Without a delay a request costs one more call and no clock.
 * It never turns itself on, and whoever shows the disk shows disk_is_slowed().
 */
#ifndef STORAGE_DISK_SLOW_H
#define STORAGE_DISK_SLOW_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "storage/disk.h"

#include <stdatomic.h>
#include <stdint.h>

#define DISK_SLOW_MAGIC 0x776f6c73656c6f68ull
#define DISK_SLOW_ALL   1000000u /* Every write, in parts of a million. */

/* One writer; `turn` grows after a change of the others. */
struct disk_slow_numbers {
    uint64_t magic;
    _Atomic uint64_t delay_ns; /* 0: off. What exceeds DISK_SLOW_NS_MAX counts as that. */
    _Atomic uint64_t share;    /* Of a million writes, how many are hit. */
    _Atomic uint64_t seed;     /* Of the draw, which begins anew with each turn. */
    _Atomic uint64_t turn;
};

struct disk_slow_config {
    struct disk *below;                      /* Closed with this one. */
    const struct disk_slow_numbers *numbers; /* Borrowed until the close. */
    uint64_t (*now_ns)(void);                /* NULL: the monotonic clock. */
};

uint64_t disk_slow_memory_bytes(void);

/* Put a disk before `below`. 0, or -errno with the fault told; then `below` is still the
 * caller's. */
MUST_USE int disk_slow_open(struct disk **disk,
                            struct mem *mem,
                            const struct disk_slow_config *config,
                            struct fault *fault);

/* Writes that the draw has hit, since the open. */
uint64_t disk_slow_hits(const struct disk *disk);

/* Set the numbers, as the one writer. */
void disk_slow_set(struct disk_slow_numbers *numbers,
                   uint64_t delay_ns,
                   uint64_t share,
                   uint64_t seed);

/* Map the numbers of a file, made with a delay of 0 when it is not there. `numbers` lives until the
 * process ends. 0, or -errno with the fault told. */
MUST_USE int
disk_slow_map(const char *path, struct disk_slow_numbers **numbers, struct fault *fault);

#endif
