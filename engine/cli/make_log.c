/* make_log.c: folder, file, format; in this order, undone when a step fails. */
#define _DEFAULT_SOURCE
#include "engine/cli/make_log.h"

#include "engine/base/mem.h"
#include "storage/disk_content.h"
#include "storage/disk_posix.h"
#include "storage/remains.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

bool make_log_path(const char *data, char *path, size_t path_bytes)
{
    struct stat status;
    bool device = stat(data, &status) == 0 && !S_ISDIR(status.st_mode);
    int length = device ? snprintf(path, path_bytes, "%s", data)
                        : snprintf(path, path_bytes, "%s/%s", data, MAKE_LOG_NAME);
    return length > 0 && (size_t)length < path_bytes;
}

uint64_t make_log_random_id(void)
{
    uint64_t id = 0;
    while (id == 0) {
        ssize_t got = getrandom(&id, sizeof(id), 0);
        ASSERT(got == (ssize_t)sizeof(id));
    }
    return id;
}

/* Write the superblocks of an empty log to the file. Without io_uring, which a few pages do not
 * need and not every machine has. */
static int format_file(const char *path, const struct format_config *config, struct fault *fault)
{
    struct mem mem;
    uint64_t bytes = disk_posix_memory_bytes() + 4 * PAGE_BYTES;
    if (mem_open(&mem, bytes) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory to format %s", path);
        return -ENOMEM;
    }
    uint8_t *page = mem_take(&mem, "format: one page", 1, PAGE_BYTES, PAGE_BYTES);
    struct disk_posix_config disk_config = {.path = path, .access = DISK_ACCESS_WRITE};
    struct disk *disk = NULL;
    bool closed = true;
    int result = disk_posix_open(&disk, &mem, &disk_config, fault);
    if (result == 0) {
        struct geometry geometry;
        result = storage_format(disk, config, page, &geometry, fault);
        closed = disk_close_unless_busy(disk);
        if (result != 0 && fault->code == FAULT_INTERNAL) {
            fault->code = FAULT_ENVIRONMENT; /* A disk that fails here has served nobody yet. */
        }
    }
    if (closed) {
        mem_close(&mem);
    }
    return result;
}

int make_log_refuse_strangers(const char *data, const char *known, struct fault *fault)
{
    DIR *folder = opendir(data);
    if (folder == NULL) {
        int code = -errno;
        fault_set(fault, FAULT_ENVIRONMENT, "cannot read the folder %s: %s", data, strerror(-code));
        return code;
    }
    const char *stranger = NULL;
    const struct dirent *entry = readdir(folder);
    for (; entry != NULL && stranger == NULL; entry = readdir(folder)) {
        bool ours = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                    (known != NULL && strcmp(entry->d_name, known) == 0) ||
                    strcmp(entry->d_name, "lost+found") == 0;
        stranger = ours ? NULL : entry->d_name;
    }
    if (stranger != NULL) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%s is not empty: it holds `%s`; name a folder of its own%s", data, stranger,
                  known == NULL ? ", or give --force to put a log beside what is there" : "");
    }
    (void)closedir(folder);
    return stranger != NULL ? -ENOTEMPTY : 0;
}

int make_log_refuse_remains(const char *path, const char *way, struct fault *fault)
{
    struct mem mem;
    if (mem_open(&mem, disk_posix_memory_bytes() + REMAINS_LOOK_BYTES + PAGE_BYTES) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory to look at %s", path);
        return -ENOMEM;
    }
    uint8_t *buffer = mem_take(&mem, "some pages", 1, REMAINS_LOOK_BYTES, PAGE_BYTES);
    struct disk_posix_config config = {.path = path, .access = DISK_ACCESS_READ};
    struct disk *disk = NULL;
    bool closed = true;
    int result = disk_posix_open(&disk, &mem, &config, fault);
    if (result == 0) {
        struct remains remains;
        bool found = remains_find(disk, buffer, &remains);
        result = disk_check(disk, fault);
        if (result == 0 && found) {
            char whose[24] = "";
            if (remains.node != 0) {
                (void)snprintf(whose, sizeof whose, "node %u of ", remains.node);
            }
            fault_set(fault, FAULT_ENVIRONMENT,
                      "%s holds what is left of a log of %scluster %016" PRIx64
                      ", whose superblocks are gone: %s",
                      path, whose, remains.cluster, way);
            result = -EEXIST;
        }
        closed = disk_close_unless_busy(disk);
    }
    if (closed) {
        mem_close(&mem);
    }
    return result;
}

/* A device without --force: nothing may be on it. */
static int device_refuse(const char *path, struct fault *fault)
{
    int result = disk_content_refuse(path, fault);
    if (result != 0) {
        return result;
    }
    return make_log_refuse_remains(
        path, "keep a copy of it, give --force to destroy it, or name another device", fault);
}

/* What is in the way of a new log at `path`. */
static int clear_place(const char *data, const char *path, bool force, struct fault *fault)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return force ? 0 : make_log_refuse_strangers(data, NULL, fault);
    }
    if (S_ISBLK(status.st_mode)) {
        return force ? 0 : device_refuse(path, fault);
    }
    if (!force) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%s holds a log already: give --force to destroy it, or name another folder",
                  data);
        return -EEXIST;
    }
    if (!S_ISREG(status.st_mode)) {
        fault_set(fault, FAULT_ENVIRONMENT, "%s is not a file: name a folder or a block device",
                  path);
        return -EINVAL;
    }
    return disk_file_remove(path, fault);
}

/* The file and its superblocks, at a place that is clear. */
static int
make_file(const char *path, uint64_t bytes, const struct format_config *config, struct fault *fault)
{
    int result = disk_file_create(path, bytes, fault);
    if (result != 0) {
        return result;
    }
    struct format_config format = *config;
    format.log_bytes = bytes; /* A device may have more, which stays as it is. */
    result = format_file(path, &format, fault);
    struct stat status;
    if (result != 0 && stat(path, &status) == 0 && S_ISREG(status.st_mode)) {
        (void)unlink(path);
    }
    return result;
}

int make_log(const char *data,
             uint64_t bytes,
             const struct format_config *config,
             bool force,
             struct fault *fault)
{
    ASSERT(config->store != 0);
    ASSERT(bytes % PAGE_BYTES == 0);
    int small = format_check_size(bytes, config->segment_bytes, fault);
    if (small != 0) {
        return small;
    }
    struct stat status;
    bool folder_made = false;
    if (stat(data, &status) != 0) {
        folder_made = mkdir(data, 0755) == 0;
        if (!folder_made) {
            int code = -errno;
            fault_set(fault, FAULT_ENVIRONMENT, "cannot make the folder %s: %s", data,
                      strerror(-code));
            return code;
        }
    }
    char path[PATH_MAX];
    int result = -ENAMETOOLONG;
    if (make_log_path(data, path, sizeof(path))) {
        result = clear_place(data, path, force, fault);
    } else {
        fault_set(fault, FAULT_ENVIRONMENT, "the name of the folder %s is too long", data);
    }
    if (result == 0) {
        result = make_file(path, bytes, config, fault);
    }
    if (result != 0 && folder_made) {
        (void)rmdir(data);
    }
    return result;
}
