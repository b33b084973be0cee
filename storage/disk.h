/* disk.h: whole pages to and from one file or block device.
 *
 * A completed write is durable; there is no flush to forget. The order of requests in flight is not
 * defined, so whoever submits keeps them disjoint. A write that fails or is short is reported once
 * and never retried here: the disk has lied, and asking again is no evidence (docs/STORAGE.md). One
 * issuer: all calls come from one thread. Nothing outside storage/disk_uring.c knows io_uring.
 */
#ifndef STORAGE_DISK_H
#define STORAGE_DISK_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "engine/base/limits.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum disk_op { DISK_READ, DISK_WRITE };

/* A request. `buffer` belongs to the disk from submit to completion. */
struct disk_io {
    enum disk_op op;
    uint32_t bytes;  /* Multiple of PAGE_BYTES, > 0. */
    uint64_t offset; /* In the file; multiple of PAGE_BYTES. */
    void *buffer;    /* PAGE_BYTES aligned. */
    uint64_t cookie; /* Returned in disk_done. */
};

struct disk_done {
    uint64_t cookie;
    int32_t result; /* 0, or -errno. A short transfer is -EIO. */
};

struct disk;

struct disk_ops {
    uint32_t (*submit)(struct disk *disk, const struct disk_io *ios, uint32_t count);
    uint32_t (*poll)(struct disk *disk, struct disk_done *done, uint32_t done_max);
    int (*wait_fd)(const struct disk *disk);
    void (*close)(struct disk *disk);
};

/* First member of every implementation. */
struct disk {
    const struct disk_ops *ops;
    uint64_t bytes;     /* Of the file, a multiple of PAGE_BYTES. */
    uint32_t in_flight; /* Kept by the inline functions below. */
    bool durable;       /* False for the memory disk: a completed write is gone with the process. */
    bool registered;    /* Buffers are registered with the kernel. */
    bool posix;         /* No io_uring (storage/disk_posix.h): whatever shows the disk says so. */
    bool hangs;         /* disk_transfer() waited DISK_DEAD_NS for nothing: it is asked no more. */
    const _Atomic uint64_t *delay_ns; /* Of a disk that is slowed on request; NULL: it never is. */
};

/* Hand over up to DISK_QUEUE_MAX - in_flight requests. Returns how many were taken, in order. */
static inline uint32_t disk_submit(struct disk *disk, const struct disk_io *ios, uint32_t count)
{
    ASSERT(disk->in_flight + count <= DISK_QUEUE_MAX);
    uint32_t taken = disk->ops->submit(disk, ios, count);
    ASSERT(taken <= count);
    disk->in_flight += taken;
    return taken;
}

/* Take up to `done_max` completions; never blocks. */
static inline uint32_t disk_poll(struct disk *disk, struct disk_done *done, uint32_t done_max)
{
    if (disk->in_flight == 0) {
        return 0;
    }
    uint32_t count = disk->ops->poll(disk, done, done_max);
    ASSERT(count <= done_max);
    ASSERT(count <= disk->in_flight);
    disk->in_flight -= count;
    return count;
}

/* A descriptor that becomes readable when a request completes, or -1. */
static inline int disk_wait_fd(const struct disk *disk)
{
    return disk->ops->wait_fd(disk);
}

/* True while this disk is slowed on request (storage/disk_slow.h): whatever shows it says so. */
static inline bool disk_is_slowed(const struct disk *disk)
{
    return disk->delay_ns != NULL && atomic_load_explicit(disk->delay_ns, memory_order_relaxed) > 0;
}

/* Close after every request has completed. */
static inline void disk_close(struct disk *disk)
{
    ASSERT(disk->in_flight == 0);
    disk->ops->close(disk);
}

/* The same, if none hangs; otherwise nothing is closed: the request, its buffer and the disk's own
 * memory are the kernel's until the process ends. Returns whether it was closed. */
static inline bool disk_close_unless_busy(struct disk *disk)
{
    bool idle = disk->in_flight == 0;
    if (idle) {
        disk_close(disk);
    }
    return idle;
}

/* One request, submitted and awaited by polling: for start-up, mending and tools. 0 or -errno. One
 * that has not ended after DISK_DEAD_NS is -ETIMEDOUT, and so is every one after it: the disk
 * `hangs`. Asserts that nothing else is in flight. This and what follows is in storage/disk.c. */
MUST_USE int disk_transfer(struct disk *disk, const struct disk_io *io);

/* Read so, wherever it lies: what is beyond the disk's end is -EIO, as a page that cannot be read.
 */
MUST_USE int disk_read(struct disk *disk, uint64_t offset, uint32_t bytes, void *buffer);

/* Tell that a transfer has failed: what it means, and why. */
void disk_tell(const struct disk *disk, const char *what, int result, struct fault *fault);

/* For whoever takes a page that cannot be read for a bad one: 0; or -ETIMEDOUT with the fault told,
 * when the disk hangs, and nothing that was read from it since is evidence. */
MUST_USE int disk_check(const struct disk *disk, struct fault *fault);

#endif
