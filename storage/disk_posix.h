/* disk_posix.h: one file or block device through pwritev2 and preadv2, on one thread of its own.
 *
 * For kernels without io_uring, for containers that forbid it, and for tools that read or write one
 * request at a time. The file is opened, locked and pre-written as for the io_uring disk; a write
 * carries RWF_DSYNC, so that its return means durable. Requests are carried out one after the
 * other, in their order: a stall holds whatever is behind it. A node takes this disk only when it
 * was asked for, and disk->posix lets whoever shows the disk say so.
 *
 * Threads: any thread may open; one thread at a time calls it, as the seam says. Queue, results and
 * the thread's stack are taken from `mem` at the open. Knows nothing of logs, segments or Raft.
 */
#ifndef STORAGE_DISK_POSIX_H
#define STORAGE_DISK_POSIX_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "storage/disk.h"
#include "storage/disk_file.h"

struct disk_posix_config {
    const char *path;
    enum disk_access access;
};

/* What disk_posix_open() takes from `mem`. */
uint64_t disk_posix_memory_bytes(void);

/* Open `config->path`. On success `*disk` lives in `mem` until disk_close().
 *
 * Returns 0, or -errno with the reason in `fault`, as disk_file_open() does; -EAGAIN when no thread
 * can be made. */
MUST_USE int disk_posix_open(struct disk **disk,
                             struct mem *mem,
                             const struct disk_posix_config *config,
                             struct fault *fault);

#endif
