/* disk_file.c: see disk_file.h. Knows files and their filesystems; no ring, no log. */
#define _GNU_SOURCE /* O_DIRECT, fallocate, statx */
#include "storage/disk_file.h"

#include "engine/base/limits.h"
#include "storage/disk_lock.h"
#include "storage/filesystem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

bool disk_file_refuse_unfinished(const char *path, struct fault *fault)
{
    char part[PATH_MAX];
    struct stat status;
    int length = snprintf(part, sizeof part, "%s" DISK_FILE_UNFINISHED, path);
    if (length < 0 || (size_t)length >= sizeof part || stat(part, &status) != 0) {
        return false;
    }
    fault_set(fault, FAULT_ENVIRONMENT,
              "%s is not there, only the beginning of it: `thole restore` was interrupted; run it "
              "again, with the --restore-id that it printed",
              path);
    return true;
}

static void open_fault(const char *path, int error, struct fault *fault)
{
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        fault_set(fault, FAULT_ENVIRONMENT, "%s is a folder, not a log; name the file in it", path);
        return;
    }
    switch (error) {
    case ENOENT:
        if (disk_file_refuse_unfinished(path, fault)) {
            return;
        }
        fault_set(fault, FAULT_ENVIRONMENT, "%s does not exist; make it with `thole format`", path);
        return;
    case EACCES:
    case EPERM:
        fault_set(fault, FAULT_ENVIRONMENT, "may not open %s (%s); see its owner and mode with",
                  path, strerror(error));
        fault_mend(fault, "ls -l %s", path);
        return;
    case EINVAL:
        filesystem_no_direct(path, fault);
        return;
    default:
        fault_set(fault, FAULT_ENVIRONMENT, "cannot open %s: %s", path, strerror(error));
        return;
    }
}

/* Length of a file or a block device, in whole pages. */
static int file_measure(struct disk_file *file, const char *path, struct fault *fault)
{
    struct stat status;
    uint64_t bytes = 0;
    int error = fstat(file->fd, &status) == 0 ? 0 : errno;
    if (error == 0 && S_ISBLK(status.st_mode)) {
        error = ioctl(file->fd, BLKGETSIZE64, &bytes) == 0 ? 0 : errno;
    } else if (error == 0 && S_ISREG(status.st_mode)) {
        bytes = (uint64_t)status.st_size;
    } else if (error == 0) {
        error = EINVAL;
    }
    if (error != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "%s is neither a file nor a block device", path);
        return -error;
    }
    file->bytes = bytes - bytes % PAGE_BYTES;
    if (file->bytes == 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%s holds no log: it has %" PRIu64 " bytes; make one with `thole format`", path,
                  bytes);
        return -EINVAL;
    }
    return 0;
}

/* Some filesystems take O_DIRECT and write through the page cache all the same (ext4 with a journal
 * of data): since Linux 6.1 they say so. An older kernel does not tell. */
static int direct_check(int fd, const char *path, struct fault *fault)
{
    struct statx status;
    int block_bytes = PAGE_BYTES;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
        (status.stx_mask & STATX_DIOALIGN) != 0) {
        block_bytes = (int)status.stx_dio_offset_align;
    } else if (ioctl(fd, BLKSSZGET, &block_bytes) != 0) {
        block_bytes = PAGE_BYTES; /* A file's blocks: not told. */
    }
    if (block_bytes == 0) {
        filesystem_no_direct(path, fault);
        return -EINVAL;
    }
    if (block_bytes > (int)PAGE_BYTES) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%s takes direct I/O in blocks of %d bytes, and a page of a log has %u: choose "
                  "another disk",
                  path, block_bytes, PAGE_BYTES);
        return -EINVAL;
    }
    return 0;
}

static int
file_check(struct disk_file *file, const char *path, enum disk_access access, struct fault *fault)
{
    struct stat status;
    bool block_device = fstat(file->fd, &status) == 0 && S_ISBLK(status.st_mode);
    int result = block_device ? 0 : filesystem_check(file->fd, path, fault);
    if (result == 0) {
        result = direct_check(file->fd, path, fault);
    }
    if (result == 0) {
        result = disk_lock_take(file->fd, path, access, fault);
    }
    if (result == 0) {
        result = file_measure(file, path, fault);
    }
    return result;
}

static bool path_is_block_device(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISBLK(status.st_mode);
}

int disk_file_open(const char *path,
                   enum disk_access access,
                   struct disk_file *file,
                   struct fault *fault)
{
    ASSERT(path != NULL);
    int flags = O_DIRECT | O_CLOEXEC;
    flags |= access == DISK_ACCESS_WRITE ? O_RDWR | O_DSYNC : O_RDONLY;
    if (access == DISK_ACCESS_WRITE && path_is_block_device(path)) {
        flags |= O_EXCL; /* For a device: not while it is mounted. */
    }
    file->bytes = 0;
    file->fd = disk_lock_open(path, flags, fault);
    if (file->fd < 0) {
        if (!disk_lock_is_told(file->fd)) {
            open_fault(path, -file->fd, fault);
        }
        return file->fd;
    }
    int result = file_check(file, path, access, fault);
    if (result != 0) {
        disk_file_close(file);
        return result;
    }
    ASSERT(file->bytes > 0);
    return 0;
}

void disk_file_close(struct disk_file *file)
{
    ASSERT(file->fd >= 0);
    /* A ring may hold the open file a little longer; the lock must not stay with it. */
    (void)flock(file->fd, LOCK_UN);
    int result = close(file->fd);
    ASSERT(result == 0);
    file->fd = -1;
}

int disk_file_remove(const char *path, struct fault *fault)
{
    struct disk_file file = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (file.fd < 0) {
        int error = errno;
        if (error == ENOENT) {
            return 0;
        }
        open_fault(path, error, fault);
        return -error;
    }
    int result = disk_lock_take(file.fd, path, DISK_ACCESS_WRITE, fault);
    if (result == 0 && unlink(path) != 0) {
        result = -errno;
        fault_set(fault, FAULT_ENVIRONMENT, "cannot remove %s: %s", path, strerror(-result));
    }
    disk_file_close(&file);
    return result;
}

/* Open the folder that holds `path`. A descriptor, or -errno. */
static int folder_open(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    uint64_t bytes = slash == NULL ? 0 : (uint64_t)(slash - path);
    if (bytes >= sizeof(folder)) {
        return -ENAMETOOLONG;
    }
    memcpy(folder, path, bytes);
    folder[bytes] = '\0';
    const char *name = slash == NULL ? "." : bytes == 0 ? "/" : folder;
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Is the folder's filesystem fit, and has it the space? */
static int folder_check(int folder, const char *path, uint64_t bytes, struct fault *fault)
{
    int result = filesystem_check(folder, path, fault);
    if (result != 0) {
        return result;
    }
    struct statvfs status;
    if (fstatvfs(folder, &status) != 0) {
        int error = errno;
        fault_set(fault, FAULT_ENVIRONMENT, "cannot ask for the space beside %s: %s", path,
                  strerror(error));
        return -error;
    }
    uint64_t free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    if (free_bytes < bytes) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "too little space for %s: needs %" PRIu64 " MiB, its filesystem has %" PRIu64
                  " MiB; free some, choose another folder, or a smaller size",
                  path, bytes >> 20, free_bytes >> 20);
        return -ENOSPC;
    }
    return 0;
}

int disk_file_folder_check(const char *folder, uint64_t bytes, struct fault *fault)
{
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        int error = errno;
        fault_set(fault, FAULT_ENVIRONMENT, "cannot open the folder %s: %s", folder,
                  strerror(error));
        return -error;
    }
    int result = folder_check(fd, folder, bytes, fault);
    (void)close(fd);
    return result;
}

/* Write zeros over [0, bytes) and wait until they are durable. */
static int zeros_write(int fd, uint64_t bytes)
{
    uint64_t chunk_bytes = bytes < WRITE_BYTES_MAX ? bytes : WRITE_BYTES_MAX;
    void *zeros = NULL;
    if (posix_memalign(&zeros, PAGE_BYTES, chunk_bytes) != 0) {
        return -ENOMEM;
    }
    memset(zeros, 0, chunk_bytes);
    int result = 0;
    for (uint64_t offset = 0; offset < bytes && result == 0;) {
        uint64_t count = bytes - offset < chunk_bytes ? bytes - offset : chunk_bytes;
        ssize_t written = pwrite(fd, zeros, count, (off_t)offset);
        if (written > 0 && written % PAGE_BYTES == 0) {
            offset += (uint64_t)written;
        } else if (written >= 0 || errno != EINTR) {
            result = written >= 0 ? -EIO : -errno;
        }
    }
    free(zeros);
    if (result == 0 && fdatasync(fd) != 0) {
        result = -errno;
    }
    return result;
}

static void fill_fault(const char *path, int result, struct fault *fault)
{
    if (result == -ENOSPC || result == -EDQUOT) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the space ran out (or a quota did) while writing %s; free some, choose another "
                  "folder, or a smaller size",
                  path);
        return;
    }
    fault_set(fault, FAULT_ENVIRONMENT, "cannot pre-write %s: %s", path, strerror(-result));
}

/* The new file's length and every block of it. */
static int file_fill(int fd, const char *path, uint64_t bytes, struct fault *fault)
{
    int result = 0;
    /* In one piece where the filesystem can; where it cannot, the zeros allocate. */
    if (fallocate(fd, 0, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP) {
        result = -errno;
    }
    if (result == 0) {
        result = zeros_write(fd, bytes);
    }
    if (result != 0) {
        fill_fault(path, result, fault);
    }
    return result;
}

static int file_create_in(int folder, const char *path, uint64_t bytes, struct fault *fault)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
    if (fd < 0) {
        int error = errno;
        if (error == EEXIST) {
            fault_set(fault, FAULT_ENVIRONMENT, "%s exists already and is left as it is", path);
            return -error;
        }
        if (error == EINVAL) {
            (void)unlink(path); /* Without O_DIRECT the kernel makes the file, then refuses it. */
        }
        open_fault(path, error, fault);
        return -error;
    }
    int result = direct_check(fd, path, fault);
    if (result == 0) {
        result = disk_lock_take(fd, path, DISK_ACCESS_WRITE, fault);
    }
    if (result == 0) {
        result = file_fill(fd, path, bytes, fault);
    }
    if (result == 0 && fsync(folder) != 0) {
        result = -errno;
        fault_set(fault, FAULT_ENVIRONMENT, "cannot make %s's folder entry durable: %s", path,
                  strerror(-result));
    }
    if (result != 0) {
        (void)unlink(path);
    }
    struct disk_file file = {.fd = fd};
    disk_file_close(&file);
    return result;
}

void disk_file_small(const char *path, uint64_t bytes, uint64_t has_bytes, struct fault *fault)
{
    ASSERT(has_bytes < bytes);
    fault_set(fault, FAULT_ENVIRONMENT,
              "too little space on %s: a log needs %" PRIu64 " MiB, and it has %" PRIu64
              " MiB; choose another device, or a smaller `[storage] size`",
              path, bytes >> 20, has_bytes >> 20);
}

static int device_zero(const char *path, uint64_t bytes, struct fault *fault)
{
    struct disk_file file;
    int result = disk_file_open(path, DISK_ACCESS_WRITE, &file, fault);
    if (result != 0) {
        return result;
    }
    if (file.bytes < bytes) {
        disk_file_small(path, bytes, file.bytes, fault);
        result = -ENOSPC;
    } else {
        result = zeros_write(file.fd, bytes);
        if (result != 0) {
            fill_fault(path, result, fault);
        }
    }
    disk_file_close(&file);
    return result;
}

int disk_file_create(const char *path, uint64_t bytes, struct fault *fault)
{
    ASSERT(bytes > 0);
    ASSERT(bytes % PAGE_BYTES == 0);
    if (path_is_block_device(path)) {
        return device_zero(path, bytes, fault);
    }
    int folder = folder_open(path);
    if (folder < 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot open the folder of %s: %s; make it first", path,
                  strerror(-folder));
        return folder;
    }
    int result = folder_check(folder, path, bytes, fault);
    if (result == 0) {
        result = file_create_in(folder, path, bytes, fault);
    }
    (void)close(folder);
    return result;
}

/* A scratch file in the folder, without its name; or the device, for reading. */
static int probe_open(const char *path, bool device, struct fault *fault)
{
    char scratch[PATH_MAX];
    if (device) {
        return disk_lock_open(path, O_RDONLY | O_DIRECT | O_EXCL | O_CLOEXEC, fault);
    }
    int bytes = snprintf(scratch, sizeof(scratch), "%s/.thole-probe-%ld", path, (long)getpid());
    if (bytes < 0 || (size_t)bytes >= sizeof(scratch)) {
        return -ENAMETOOLONG;
    }
    int fd = open(scratch, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_DSYNC | O_CLOEXEC, 0600);
    int error = errno;
    if (fd >= 0 || error == EINVAL) {
        (void)unlink(scratch); /* Without O_DIRECT the kernel makes the file, then refuses it. */
    }
    return fd < 0 ? -error : fd;
}

int disk_file_probe(const char *path, struct fault *fault)
{
    bool device = path_is_block_device(path);
    int fd = probe_open(path, device, fault);
    if (fd < 0) {
        if (fd == -EINVAL) {
            filesystem_no_direct(path, fault);
        } else if (!disk_lock_is_told(fd)) {
            fault_set(fault, FAULT_ENVIRONMENT,
                      "may not write to %s (%s); see its owner and mode with", path, strerror(-fd));
            fault_mend(fault, "ls -ld %s", path);
        }
        return fd;
    }
    int result = direct_check(fd, path, fault);
    if (result != 0) {
        (void)close(fd);
        return result;
    }
    void *page = NULL;
    result = posix_memalign(&page, PAGE_BYTES, PAGE_BYTES) == 0 ? 0 : -ENOMEM;
    if (result == 0) {
        memset(page, 0, PAGE_BYTES);
        ssize_t moved = device ? pread(fd, page, PAGE_BYTES, 0) : pwrite(fd, page, PAGE_BYTES, 0);
        result = moved == (ssize_t)PAGE_BYTES ? 0 : moved >= 0 ? -EIO : -errno;
        free(page);
    }
    (void)close(fd);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "a direct, durable page of 4 KiB fails in %s: %s", path,
                  strerror(-result));
    }
    return result;
}
