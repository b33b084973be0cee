/* filesystem.h: which filesystem holds a path, and whether it may hold a log. Knows names, numbers
 * and the mount table; no files.
 */
#ifndef STORAGE_FILESYSTEM_H
#define STORAGE_FILESYSTEM_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define FILESYSTEM_KIND_BYTES 64u

struct filesystem_mount {
    char kind[FILESYSTEM_KIND_BYTES]; /* "ext4", "overlay", ... */
    char upper[PATH_MAX];             /* Of an overlay: the folder that it writes to; "": none. */
};

/* The mount that holds an open file or folder. False: the kernel or the mount table does not say.
 */
MUST_USE bool filesystem_mount(int fd, struct filesystem_mount *mount);

/* 0; or -EOPNOTSUPP with the reason in `fault`, when the filesystem of this open file or folder
 * cannot hold a durable log: it copies on write, or is memory; or another -errno. Of an overlay the
 * filesystem that it writes to counts, where that can be seen from here. */
MUST_USE int filesystem_check(int fd, const char *path, struct fault *fault);

/* Tell that O_DIRECT was refused there, and by which filesystem. */
void filesystem_no_direct(const char *path, struct fault *fault);

#endif
