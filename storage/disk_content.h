/* disk_content.h: what a block device holds, so that nothing is destroyed by a wrong name.
 *
 * Looks at the first and the last MiB. Only what is all zero there counts as empty: a table of
 * signatures would miss what it does not know, and serves for names alone.
 */
#ifndef STORAGE_DISK_CONTENT_H
#define STORAGE_DISK_CONTENT_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "storage/disk_file.h"

#define DISK_CONTENT_BYTES (1u << 20) /* Looked at, at each end. */

enum disk_content {
    DISK_CONTENT_NONE,
    DISK_CONTENT_LOG,        /* The superblock of a log of this program. */
    DISK_CONTENT_UNFINISHED, /* Of an interrupted restore. */
    DISK_CONTENT_OTHER,
};

/* Look at an open device. `name` is set to words for what is there, a constant: "a log", "an xfs
 * filesystem". 0, or -errno with the fault told. */
MUST_USE int disk_content_look(const struct disk_file *file,
                               const char *path,
                               enum disk_content *content,
                               const char **name,
                               struct fault *fault);

/* 0; or -EEXIST and the fault, when the device holds anything, or another -errno: it is mounted, in
 * use by another process, or cannot be read. */
MUST_USE int disk_content_refuse(const char *path, struct fault *fault);

#endif
