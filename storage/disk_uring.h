/* disk_uring.h: the disk of production: one file or block device, through io_uring.
 *
 * Opened with O_DIRECT and O_DSYNC, so that a completion means durable, and locked, so that two
 * processes never write one log. The file has its full length from the start: disk_uring_create()
 * writes every block once, because a first write into a hole costs a journal commit (measured 1.5
 * to 40 times the time of an overwrite).
 *
 * Threads: any thread may open; the first that submits owns the disk from then on and alone calls
 * it (the kernel enforces it: IORING_SETUP_SINGLE_ISSUER). Recovery therefore runs on the thread
 * that will poll. Knows nothing of logs, segments or Raft.
 */
#ifndef STORAGE_DISK_URING_H
#define STORAGE_DISK_URING_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "storage/disk.h"
#include "storage/disk_file.h"

struct disk_uring_config {
    const char *path;
    enum disk_access access;
    /* Memory that the buffers of requests lie in (struct mem's base and bytes), registered with the
     * kernel when RLIMIT_MEMLOCK allows; disk->registered says whether it did. NULL: none. A buffer
     * outside works too, only slower. */
    void *region;
    uint64_t region_bytes;
};

/* What disk_uring_open() takes from `mem`. */
uint64_t disk_uring_memory_bytes(void);

/* Open `config->path`. On success `*disk` lives in `mem` until disk_close().
 *
 * Returns 0, or -errno with the reason in `fault`: -EBUSY when another process holds the lock,
 * -ENOENT, -EOPNOTSUPP for a filesystem that copies on write, keeps files in memory or has no
 * O_DIRECT, -ENOSYS or -EPERM when there is no io_uring. Waits up to 250 ms for the lock: the
 * kernel lets go of a ring's file a moment after its process has ended. */
MUST_USE int disk_uring_open(struct disk **disk,
                             struct mem *mem,
                             const struct disk_uring_config *config,
                             struct fault *fault);

/* Make a file of `bytes` (a multiple of PAGE_BYTES), every block written with zeros and durable,
 * its folder entry too. A block device is zeroed over its first `bytes` instead. Returns 0, or
 * -errno with the reason in `fault`, and then no file is left: -EEXIST, -ENOSPC, -EOPNOTSUPP as
 * above. */
MUST_USE int disk_uring_create(const char *path, uint64_t bytes, struct fault *fault);

/* Whether a ring can be set up here, and whether with what is fastest (Linux 6.1). 0, or -errno
 * with the reason in `fault`. */
MUST_USE int disk_uring_probe(bool *modern, struct fault *fault);

#endif
