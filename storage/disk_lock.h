/* disk_lock.h: one process at a time has a log.
 *
 * The kernel keeps the lock of a process that is gone until the writes that it had under way have
 * ended, and a device as long in use. That is what keeps them from a log that another process has
 * opened since, and it takes as long as the disk does: so whoever starts a killed node again waits.
 */
#ifndef STORAGE_DISK_LOCK_H
#define STORAGE_DISK_LOCK_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "storage/disk_file.h"

#include <errno.h>
#include <stdbool.h>

/* Lock the open file at `path` as `access` asks. One that a living process has locked is refused
 * after DISK_LOCK_TRIES, any other after DISK_LOCK_TRIES_GONE. 0, or -errno with the reason in
 * `fault`: -EBUSY; -ETIMEDOUT, the process is gone and its writes have not ended. Blocks. */
MUST_USE int disk_lock_take(int fd, const char *path, enum disk_access access, struct fault *fault);

/* open(2). Where O_EXCL among `flags` finds a device in use, it is as patient; one without a lock
 * is mounted, and is refused as soon as one of a living process. A file descriptor, or -errno; the
 * reason is in `fault` if disk_lock_is_told(). Blocks. */
MUST_USE int disk_lock_open(const char *path, int flags, struct fault *fault);

/* Who has locked the log at `path` to write to it, and lives. False: nobody who is seen from here;
 * neither processes of other PID namespaces are, nor those on other machines. */
struct disk_lock_owner {
    long pid;
    bool stopped; /* By a signal or a debugger: it does nothing until it is told to go on. */
};
MUST_USE bool disk_lock_owner_find(const char *path, struct disk_lock_owner *owner);

static inline bool disk_lock_is_told(int result)
{
    return result == -EBUSY || result == -ETIMEDOUT;
}

#endif
