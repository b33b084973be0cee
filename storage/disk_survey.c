/* disk_survey.c: see disk_survey.h. Knows /sys/block, FIEMAP. */
#define _GNU_SOURCE /* O_DIRECT */
#include "storage/disk_survey.h"

#include "engine/base/host.h"
#include "storage/disk_content.h"
#include "storage/disk_file.h"
#include "storage/filesystem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LAYERS_MAX 8u
#define SYS_BYTES  (PATH_MAX + 64u)

/* ---- The device ---- */

static void filesystem_find(struct disk_device *found, const char *path)
{
    static struct filesystem_mount mount;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd >= 0 && filesystem_mount(fd, &mount)) {
        (void)snprintf(found->filesystem, sizeof(found->filesystem), "%s", mount.kind);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* The first of the devices that a stacked one stands on. False: it is none. */
static bool slave_find(const char *path, char name[DISK_SURVEY_WORD_BYTES])
{
    char folder[SYS_BYTES];
    (void)snprintf(folder, sizeof(folder), "%s/slaves", path);
    DIR *slaves = opendir(folder);
    bool found = false;
    const struct dirent *entry = slaves == NULL ? NULL : readdir(slaves);
    for (; entry != NULL && !found; entry = readdir(slaves)) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(name, DISK_SURVEY_WORD_BYTES, "%.63s", entry->d_name);
            found = true;
        }
    }
    if (slaves != NULL) {
        (void)closedir(slaves);
    }
    return found;
}

/* The whole disk below a device: past partitions, LVM and RAID. */
static void disk_find(struct disk_device *found, dev_t device)
{
    char path[SYS_BYTES];
    char real[PATH_MAX];
    char slave[DISK_SURVEY_WORD_BYTES];
    (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(device), minor(device));
    for (uint32_t i = 0; i < LAYERS_MAX && realpath(path, real) != NULL; i++) {
        (void)snprintf(path, sizeof(path), "%s/partition", real);
        if (access(path, F_OK) == 0) {
            *strrchr(real, '/') = '\0';
        }
        (void)snprintf(found->name, sizeof(found->name), "%.63s", strrchr(real, '/') + 1);
        if (!slave_find(real, slave)) {
            return;
        }
        found->is_stacked = true;
        (void)snprintf(path, sizeof(path), "/sys/class/block/%s", slave);
    }
}

static void queue_read(const char *name, const char *what, char text[DISK_SURVEY_WORD_BYTES])
{
    char path[SYS_BYTES];
    (void)snprintf(path, sizeof(path), "/sys/block/%s/queue/%s", name, what);
    if (!host_first_line(path, text, DISK_SURVEY_WORD_BYTES)) {
        text[0] = '\0';
    }
}

static uint32_t queue_number(const char *name, const char *what)
{
    char text[DISK_SURVEY_WORD_BYTES];
    queue_read(name, what, text);
    return (uint32_t)strtoul(text, NULL, 10);
}

/* Of "none [mq-deadline] kyber" the word in brackets; a lone word is itself. */
static void scheduler_read(struct disk_device *found)
{
    char text[DISK_SURVEY_WORD_BYTES];
    queue_read(found->name, "scheduler", text);
    const char *open = strchr(text, '[');
    const char *word = open == NULL ? text : open + 1;
    (void)snprintf(found->scheduler, sizeof(found->scheduler), "%.*s", (int)strcspn(word, "] "),
                   word);
}

static uint32_t queues_count(const char *name)
{
    char path[SYS_BYTES];
    (void)snprintf(path, sizeof(path), "/sys/block/%s/mq", name);
    DIR *folder = opendir(path);
    uint32_t count = 0;
    const struct dirent *entry = folder == NULL ? NULL : readdir(folder);
    for (; entry != NULL; entry = readdir(folder)) {
        count += entry->d_name[0] != '.';
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return count;
}

/* An interrupt carries the name of the driver's device: virtio1-req.0, nvme0q1. */
static int interrupt_cpu_find(const char *name)
{
    char queue[DISK_SURVEY_WORD_BYTES + 8u];
    char path[SYS_BYTES];
    char real[PATH_MAX];
    (void)snprintf(path, sizeof(path), "/sys/block/%s/device", name);
    if (strncmp(name, "nvme", 4) == 0) {
        (void)snprintf(queue, sizeof(queue), "%.*sq", (int)(4 + strspn(name + 4, "0123456789")),
                       name);
    } else if (realpath(path, real) != NULL) {
        (void)snprintf(queue, sizeof(queue), "%.63s-req", strrchr(real, '/') + 1);
    } else {
        return -1;
    }
    return host_interrupt_cpu(queue);
}

void disk_device_look(struct disk_device *device, const char *path)
{
    char text[DISK_SURVEY_WORD_BYTES];
    struct stat status;
    *device = (struct disk_device){.fua = -1, .interrupt_cpu = -1};
    if (stat(path, &status) != 0) {
        return;
    }
    bool is_device = S_ISBLK(status.st_mode);
    if (!is_device) {
        filesystem_find(device, path);
    }
    disk_find(device, is_device ? status.st_rdev : status.st_dev);
    if (device->name[0] == '\0') {
        return;
    }
    const char *name = device->name;
    device->is_stacked = device->is_stacked || strncmp(name, "loop", 4) == 0;
    queue_read(name, "write_cache", device->write_cache);
    queue_read(name, "fua", text);
    device->fua = text[0] == '\0' ? -1 : text[0] != '0';
    scheduler_read(device);
    device->logical_bytes = queue_number(name, "logical_block_size");
    device->physical_bytes = queue_number(name, "physical_block_size");
    device->queue_count = queues_count(name);
    device->interrupt_cpu = interrupt_cpu_find(name);
    ASSERT(device->interrupt_cpu >= -1);
}

const char *disk_cache_words(const struct disk_device *device)
{
    if (strcmp(device->write_cache, "write through") == 0) {
        return "write through: a write that is done is durable";
    }
    if (strcmp(device->write_cache, "write back") == 0) {
        return device->fua == 1 ? "volatile, with FUA: a durable write is one request"
                                : "volatile, without FUA: a flush follows each durable write";
    }
    return "not told";
}

const char *disk_device_words(const struct disk_device *device, char text[DISK_SURVEY_TEXT_BYTES])
{
    const char *on = device->filesystem[0] == '\0' ? "no filesystem" : device->filesystem;
    if (device->name[0] == '\0') {
        (void)snprintf(text, DISK_SURVEY_TEXT_BYTES, "%s, on no device that the kernel shows", on);
        return text;
    }
    (void)snprintf(text, DISK_SURVEY_TEXT_BYTES,
                   "%s on %s%s, blocks of %u bytes, %u physically, write cache %s", on,
                   device->name,
                   device->is_stacked ? " (below others, whose caches are not seen)" : "",
                   device->logical_bytes, device->physical_bytes, disk_cache_words(device));
    return text;
}

/* ---- The log's file ---- */

struct extents {
    uint64_t next; /* The first byte not looked at yet. */
    uint64_t written_bytes;
    uint64_t shared_bytes;
    bool done;
};

/* Take one answer of FIEMAP. */
static void extents_take(struct extents *extents, const struct fiemap *map)
{
    extents->done = map->fm_mapped_extents == 0;
    for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
        const struct fiemap_extent *extent = &map->fm_extents[i];
        uint32_t unready = FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN;
        extents->next = extent->fe_logical + extent->fe_length;
        extents->written_bytes += (extent->fe_flags & unready) == 0 ? extent->fe_length : 0;
        bool shared = (extent->fe_flags & FIEMAP_EXTENT_SHARED) != 0;
        extents->shared_bytes += shared ? extent->fe_length : 0;
        extents->done = (extent->fe_flags & FIEMAP_EXTENT_LAST) != 0;
    }
}

static void layout_look(struct disk_survey *survey, int fd)
{
    static union {
        struct fiemap map;
        uint8_t bytes[sizeof(struct fiemap) + DISK_SURVEY_EXTENTS * sizeof(struct fiemap_extent)];
    } asked;
    struct extents extents = {0};
    for (uint32_t i = 0; i < DISK_SURVEY_ASKS_MAX && !extents.done; i++) {
        memset(&asked, 0, sizeof(asked));
        asked.map.fm_start = extents.next;
        asked.map.fm_length = UINT64_MAX - extents.next;
        asked.map.fm_extent_count = DISK_SURVEY_EXTENTS;
        if (ioctl(fd, FS_IOC_FIEMAP, &asked.map) != 0) {
            return;
        }
        extents_take(&extents, &asked.map);
    }
    if (!extents.done) {
        return; /* More pieces than anybody counts. */
    }
    survey->layout = DISK_LAYOUT_WRITTEN;
    if (extents.shared_bytes > 0) {
        survey->layout = DISK_LAYOUT_SHARED;
        survey->layout_bytes = extents.shared_bytes;
    } else if (extents.written_bytes < survey->log_bytes) {
        survey->layout = DISK_LAYOUT_HOLES;
        survey->layout_bytes = survey->log_bytes - extents.written_bytes;
    }
}

static bool is_locked(int fd)
{
    return flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

static void log_look(struct disk_survey *survey, const char *log)
{
    struct stat status;
    if (stat(log, &status) != 0 || !S_ISREG(status.st_mode)) {
        return;
    }
    survey->log_found = true;
    survey->log_bytes = (uint64_t)status.st_size;
    int fd = open(log, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    survey->log_locked = is_locked(fd);
    layout_look(survey, fd);
    (void)close(fd);
}

/* A device that a node has open is not tried: it would be refused as one that is mounted. */
static void device_look(struct disk_survey *survey, uint64_t wanted_bytes)
{
    int fd = open(survey->place, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        survey->log_locked = is_locked(fd);
        (void)close(fd);
    }
    if (survey->log_locked) {
        survey->direct_unknown = true;
        return;
    }
    int result = disk_file_probe(survey->place, &survey->direct);
    survey->direct_unknown = result == -EACCES || result == -EPERM;
    struct disk_file file;
    struct fault ignored = {0}; /* The probe's words are enough. */
    if (result == 0 && disk_file_open(survey->place, DISK_ACCESS_READ, &file, &ignored) == 0) {
        enum disk_content content = DISK_CONTENT_NONE;
        survey->free_bytes = file.bytes;
        if (disk_content_look(&file, survey->place, &content, &survey->content, &ignored) == 0) {
            survey->log_found = content == DISK_CONTENT_LOG || content == DISK_CONTENT_UNFINISHED;
            survey->content_foreign = content == DISK_CONTENT_OTHER;
        }
        disk_file_close(&file);
    }
    if (survey->free_bytes > 0 && survey->free_bytes < wanted_bytes) {
        disk_file_small(survey->place, wanted_bytes, survey->free_bytes, &survey->space);
    }
}

/* ---- All of it ---- */

/* The nearest folder above `data` that is there. */
static void place_find(struct disk_survey *survey, const char *data)
{
    struct stat status;
    (void)snprintf(survey->place, sizeof(survey->place), "%s", data);
    survey->exists = stat(data, &status) == 0;
    survey->is_device = survey->exists && S_ISBLK(status.st_mode);
    for (uint32_t i = 0; i < PATH_MAX && stat(survey->place, &status) != 0; i++) {
        char *slash = strrchr(survey->place, '/');
        if (slash == NULL) {
            (void)snprintf(survey->place, sizeof(survey->place), ".");
            return;
        }
        slash[slash == survey->place ? 1 : 0] = '\0';
        if (survey->place[1] == '\0' && survey->place[0] == '/') {
            return;
        }
    }
}

static void folder_look(struct disk_survey *survey, uint64_t wanted_bytes)
{
    struct statvfs status;
    if (statvfs(survey->place, &status) == 0) {
        survey->free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    }
    int result = disk_file_folder_check(survey->place, 0, &survey->filesystem);
    if (result == 0 && !survey->log_found) {
        result = disk_file_folder_check(survey->place, wanted_bytes, &survey->space);
        ASSERT(result == 0 || survey->space.code != 0);
    }
    result = disk_file_probe(survey->place, &survey->direct);
    survey->direct_unknown = result == -EACCES || result == -EPERM;
}

void disk_survey(struct disk_survey *survey,
                 const char *data,
                 const char *log,
                 uint64_t wanted_bytes)
{
    *survey = (struct disk_survey){0};
    place_find(survey, data);
    disk_device_look(&survey->device, survey->place);
    if (survey->is_device) {
        device_look(survey, wanted_bytes);
        return;
    }
    log_look(survey, log);
    folder_look(survey, wanted_bytes);
}
