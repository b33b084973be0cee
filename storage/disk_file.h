/* disk_file.h: the file or block device under a disk: found fit, opened, locked, made.
 *
 * Everything here runs at start or format and speaks in faults. Whoever gets a descriptor from here
 * may rely on: O_DIRECT, O_DSYNC, a filesystem that overwrites in place, a lock as asked for.
 */
#ifndef STORAGE_DISK_FILE_H
#define STORAGE_DISK_FILE_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"

#include <stdbool.h>
#include <stdint.h>

/* What the opener will do. */
enum disk_access {
    DISK_ACCESS_WRITE,       /* Read and write; exclusive lock. */
    DISK_ACCESS_READ,        /* Offline reading; shared lock, refused while a writer is open. */
    DISK_ACCESS_READ_SHARED, /* Reading beside a live writer (a verifier); no lock. */
};

/* Behind the name of a log that a restore is filling. */
#define DISK_FILE_UNFINISHED ".restoring"

struct disk_file {
    int fd;
    uint64_t bytes; /* Whole pages, rounded down. */
};

/* Open and lock. 0, or -errno with the reason in `fault`; see disk_uring_open(). */
MUST_USE int disk_file_open(const char *path,
                            enum disk_access access,
                            struct disk_file *file,
                            struct fault *fault);

/* For a path at which there is nothing: true, with the fault told, if a restore began a log there.
 */
MUST_USE bool disk_file_refuse_unfinished(const char *path, struct fault *fault);

/* Remove a log's file, if it is there, once its lock is held: one that another process has open is
 * never destroyed. 0, or -errno with the reason in `fault`. */
MUST_USE int disk_file_remove(const char *path, struct fault *fault);

/* Unlock and close. */
void disk_file_close(struct disk_file *file);

/* Make a file, pre-written; see disk_uring_create(). */
MUST_USE int disk_file_create(const char *path, uint64_t bytes, struct fault *fault);

/* Tell that a device is too small for a log of `bytes`. */
void disk_file_small(const char *path, uint64_t bytes, uint64_t has_bytes, struct fault *fault);

/* Whether the filesystem of an existing folder is fit for a log, and has `bytes` free. 0, or -errno
 * with the reason in `fault`: -EOPNOTSUPP, -ENOSPC. */
MUST_USE int disk_file_folder_check(const char *folder, uint64_t bytes, struct fault *fault);

/* Try O_DIRECT and O_DSYNC where a log would be: one page of a scratch file in a folder, which
 * loses its name before it is written; of a block device a page is read. 0, or -errno with the
 * reason in `fault`. */
MUST_USE int disk_file_probe(const char *path, struct fault *fault);

#endif
