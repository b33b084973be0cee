/* disk_lock.c: see disk_lock.h. Who has a lock is read from /proc/locks. */
#define _GNU_SOURCE /* flock, strtok_r */
#include "storage/disk_lock.h"

#include "engine/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum holder_state {
    HOLDER_UNSEEN, /* None in /proc/locks, which leaves out those of other PID namespaces. */
    HOLDER_LIVES,
    HOLDER_GONE,
};

struct holder {
    enum holder_state state;
    long pid;
};

/* Columns of /proc/locks: number, FLOCK, ADVISORY, WRITE, PID, device:inode, begin, end. */
enum { LOCK_KIND = 1, LOCK_ACCESS = 3, LOCK_PID = 4, LOCK_INODE = 5, LOCK_COLUMNS };

/* The PID of a line that tells of a flock() of `inode`, or 0; `writes`: of one that keeps others
 * out. */
static long line_pid(char *line, const char *inode, bool writes)
{
    char *columns[LOCK_COLUMNS];
    char *rest = line;
    for (uint32_t i = 0; i < LOCK_COLUMNS; i++) {
        columns[i] = strtok_r(rest, " ", &rest);
        if (columns[i] == NULL) {
            return 0;
        }
    }
    bool is_ours = strcmp(columns[LOCK_KIND], "FLOCK") == 0 && /* One that waits has "->" there. */
                   strcmp(columns[LOCK_INODE], inode) == 0;
    is_ours = is_ours && (!writes || strcmp(columns[LOCK_ACCESS], "WRITE") == 0);
    return is_ours ? strtol(columns[LOCK_PID], NULL, 10) : 0;
}

/* How the process is, in the kernel's letters; 'X': gone, '?': it cannot be read, so it is another
 * user's, and there. */
static char process_state(long pid)
{
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) {
        return 'X';
    }
    char path[64];
    char text[256] = {0};
    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return '?';
    }
    const char *state = fgets(text, sizeof(text), file) == NULL ? NULL : strrchr(text, ')');
    (void)fclose(file);
    return state == NULL || strlen(state) < 3 ? '?' : state[2];
}

/* Whether the process runs: it has not ended, not even without its parent having asked. */
static bool process_lives(long pid)
{
    char state = process_state(pid);
    return state != 'Z' && state != 'X';
}

/* One of them who lives, if there is one; `writes`: of those that keep others out. */
static struct holder holder_of(const struct stat *status, bool writes)
{
    struct holder holder = {.state = HOLDER_UNSEEN};
    char inode[64];
    char line[256];
    (void)snprintf(inode, sizeof(inode), "%02x:%02x:%ju", major(status->st_dev),
                   minor(status->st_dev), (uintmax_t)status->st_ino);
    FILE *locks = fopen("/proc/locks", "re");
    while (locks != NULL && holder.state != HOLDER_LIVES &&
           fgets(line, sizeof(line), locks) != NULL) {
        long pid = line_pid(line, inode, writes);
        if (pid > 0) {
            holder.state = process_lives(pid) ? HOLDER_LIVES : HOLDER_GONE;
            holder.pid = pid;
        }
    }
    if (locks != NULL) {
        (void)fclose(locks);
    }
    return holder;
}

static void wait_a_moment(void)
{
    const struct timespec pause = {.tv_nsec = DISK_LOCK_WAIT_NS};
    (void)nanosleep(&pause, NULL);
}

static void busy_refuse(const char *path, const struct holder *holder, struct fault *fault)
{
    if (holder->state == HOLDER_LIVES) {
        fault_set(fault, FAULT_ENVIRONMENT, "%s is locked by another process, %ld; stop it first",
                  path, holder->pid);
    } else {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%s is locked by another process, which /proc/locks does not show here; stop it "
                  "first (`fuser -v %s` names it, from outside of containers)",
                  path, path);
    }
}

static void gone_refuse(const char *path, struct fault *fault)
{
    fault_set(fault, FAULT_ENVIRONMENT,
              "%s is still locked by a process that is gone: its writes have not ended, and the "
              "disk may hang; try again once it answers",
              path);
}

int disk_lock_take(int fd, const char *path, enum disk_access access, struct fault *fault)
{
    ASSERT(fd >= 0);
    if (access == DISK_ACCESS_READ_SHARED) {
        return 0;
    }
    int operation = (access == DISK_ACCESS_WRITE ? LOCK_EX : LOCK_SH) | LOCK_NB;
    for (uint32_t try = 0;; try++) {
        struct stat status;
        if (flock(fd, operation) == 0) {
            return 0;
        }
        if (errno != EWOULDBLOCK || fstat(fd, &status) != 0) {
            int error = errno;
            fault_set(fault, FAULT_ENVIRONMENT, "cannot lock %s: %s", path, strerror(error));
            return -error;
        }
        struct holder holder = holder_of(&status, false);
        if (try < (holder.state == HOLDER_LIVES ? DISK_LOCK_TRIES : DISK_LOCK_TRIES_GONE)) {
            wait_a_moment();
            continue;
        }
        if (holder.state == HOLDER_GONE) {
            gone_refuse(path, fault);
            return -ETIMEDOUT;
        }
        busy_refuse(path, &holder, fault);
        return -EBUSY;
    }
}

/* Who has locked a device that is in use. Of the other namespaces nobody is seen, nor of a mount,
 * which has no lock. */
static struct holder device_holder(const char *path)
{
    struct holder holder = {.state = HOLDER_UNSEEN};
    struct stat status;
    if (stat(path, &status) == 0) {
        holder = holder_of(&status, false);
    }
    return holder;
}

static bool device_is_locked(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0) {
        (void)close(fd);
    }
    return locked;
}

int disk_lock_open(const char *path, int flags, struct fault *fault)
{
    bool gone = false; /* The lock goes first, then the use. */
    for (uint32_t try = 0;; try++) {
        int fd = open(path, flags);
        if (fd >= 0 || errno != EBUSY) {
            return fd >= 0 ? fd : -errno;
        }
        struct holder holder = device_holder(path);
        bool locked = device_is_locked(path);
        gone = gone || (locked && holder.state == HOLDER_GONE);
        bool unseen = locked && holder.state == HOLDER_UNSEEN;
        if (try < (gone || unseen ? DISK_LOCK_TRIES_GONE : DISK_LOCK_TRIES)) {
            wait_a_moment();
            continue;
        }
        if (gone) {
            gone_refuse(path, fault);
            return -ETIMEDOUT;
        }
        if (locked) {
            busy_refuse(path, &holder, fault);
        } else {
            fault_set(fault, FAULT_ENVIRONMENT,
                      "%s is in use: mounted, or opened by another process; see", path);
            fault_mend(fault, "lsblk %s", path);
        }
        return -EBUSY;
    }
}

bool disk_lock_owner_find(const char *path, struct disk_lock_owner *owner)
{
    struct stat status;
    *owner = (struct disk_lock_owner){0};
    if (stat(path, &status) != 0) {
        return false;
    }
    struct holder holder = holder_of(&status, true);
    if (holder.state != HOLDER_LIVES) {
        return false;
    }
    char state = process_state(holder.pid);
    owner->pid = holder.pid;
    owner->stopped = state == 'T' || state == 't';
    return true;
}
