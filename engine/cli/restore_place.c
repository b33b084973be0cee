/* restore_place.c: see restore_place.h. */
#define _GNU_SOURCE /* renameat2 */
#include "engine/cli/restore_place.h"

#include "engine/cli/command.h"
#include "engine/cli/make_log.h"
#include "storage/disk_content.h"
#include "storage/disk_posix.h"
#include "storage/superblock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART_NAME MAKE_LOG_NAME DISK_FILE_UNFINISHED

/* A device without a log that could be read: what else does it hold? An unfinished restore is no
 * obstacle. 0, or a negative errno with the fault told. */
static int device_look(const char *path, struct fault *fault)
{
    struct disk_file file;
    int result = disk_file_open(path, DISK_ACCESS_READ, &file, fault);
    if (result != 0) {
        return result;
    }
    enum disk_content content = DISK_CONTENT_NONE;
    const char *name = "";
    result = disk_content_look(&file, path, &content, &name, fault);
    disk_file_close(&file);
    if (result == 0 && content != DISK_CONTENT_NONE && content != DISK_CONTENT_UNFINISHED) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%.200s holds %s: name another device, or clear this one with", path, name);
        fault_mend(fault, "blkdiscard --zeroout %s", path);
        return -EEXIST;
    }
    if (result == 0 && content == DISK_CONTENT_NONE) {
        result = make_log_refuse_remains(
            path, "keep a copy of it, and name another device, or clear this one with", fault);
        if (result == -EEXIST) {
            fault_mend(fault, "blkdiscard --zeroout %s", path);
        }
    }
    return result;
}

/* Whose log stands at the path: 1 this very one, 0 none, or -1 with the fault told. */
static int place_look(const char *path, const struct format_config *format, struct fault *fault)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return 0;
    }
    struct mem mem;
    if (mem_open(&mem, disk_posix_memory_bytes() + 4 * PAGE_BYTES) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory to open %.200s", path);
        return -1;
    }
    uint8_t *page = mem_take(&mem, "superblock", 1, PAGE_BYTES, PAGE_BYTES);
    struct superblock_set set = {0};
    struct fault unread = {0};
    int found = -1;
    bool closed = true;
    struct disk *disk = NULL;
    const struct disk_posix_config config = {.path = path, .access = DISK_ACCESS_READ_SHARED};
    if (disk_posix_open(&disk, &mem, &config, fault) == 0) {
        bool readable = superblock_load(disk, page, &set, &unread) == 0;
        if (readable && set.newest.cluster == format->cluster && set.newest.node == format->node &&
            set.newest.store == format->store) {
            found = 1;
        } else if (!superblock_set_any(&set) && S_ISBLK(status.st_mode)) {
            found = device_look(path, fault) == 0 ? 0 : -1;
        } else if (readable && set.newest.cluster == format->cluster &&
                   set.newest.node == format->node) {
            fault_set(
                fault, FAULT_ENVIRONMENT,
                "%.200s is a log of this node already, but not of this restore: to go on with "
                "an interrupted one, give the --restore-id that it printed; else remove it",
                path);
        } else {
            fault_set(fault, FAULT_ENVIRONMENT,
                      "%.200s holds another log: name another folder for node %u, or remove it",
                      path, format->node);
        }
        closed = disk_close_unless_busy(disk);
    }
    if (closed) {
        mem_close(&mem);
    }
    return found;
}

static struct format_config format_of(const struct restore *restore, const struct config_node *node)
{
    return (struct format_config){
        .cluster = restore->config->cluster,
        .store = restore_id_store(&restore->id, node->id),
        .node = node->id,
        .segment_bytes = restore->config->segment_bytes,
        .window_bytes = WRITE_WINDOW_BYTES,
        .log_bytes = restore->config->size_bytes / PAGE_BYTES * PAGE_BYTES,
        .first_offset = restore->source.first_offset,
        .entry_term = RESTORE_TERM,
    };
}

int restore_place_look(const struct restore *restore,
                       const struct config_node *node,
                       bool *already,
                       struct fault *fault)
{
    const struct format_config format = format_of(restore, node);
    char path[PATH_MAX];
    struct stat status;
    *already = false;
    if (!make_log_path(node->data, path, sizeof path - sizeof DISK_FILE_UNFINISHED)) {
        fault_set(fault, FAULT_ENVIRONMENT, "the name %.64s... is too long", node->data);
        return fault->code;
    }
    int found = place_look(path, &format, fault);
    *already = found > 0;
    if (found == 0 && stat(node->data, &status) == 0 && S_ISDIR(status.st_mode)) {
        int strange = make_log_refuse_strangers(node->data, PART_NAME, fault);
        ASSERT((strange != 0) == (fault->code != 0));
    }
    return fault->code;
}

/* Fill the file `part`, then give it its name. Nothing is left of it if that fails. */
static int part_restore(struct restore *restore,
                        const char *part,
                        const char *path,
                        struct fault *fault,
                        const struct format_config *format)
{
    uint64_t bytes = restore->config->size_bytes / PAGE_BYTES * PAGE_BYTES;
    if (disk_file_remove(part, fault) != 0 || disk_file_create(part, bytes, fault) != 0) {
        return fault->code;
    }
    if (restore_log_write(restore, part, format, fault) != 0) {
        (void)unlink(part);
        return fault->code;
    }
    /* Whoever formatted a log there meanwhile keeps it. */
    if (renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot give %.200s its name: %s", path,
                  strerror(errno));
        (void)unlink(part);
    } else if (command_sync_folder(path) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot make the name %.200s durable: %s", path,
                  strerror(errno));
    }
    return fault->code;
}

static int folder_restore(struct restore *restore,
                          const struct config_node *node,
                          const struct format_config *format,
                          struct fault *fault)
{
    struct stat status;
    bool made = stat(node->data, &status) != 0;
    if (made && mkdir(node->data, 0755) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot make the folder %.200s: %s", node->data,
                  strerror(errno));
        return fault->code;
    }
    char path[PATH_MAX];
    char part[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", node->data, MAKE_LOG_NAME);
    int part_length = snprintf(part, sizeof part, "%s/%s", node->data, PART_NAME);
    ASSERT(length > 0 && (size_t)length < sizeof path); /* restore_place_look() */
    ASSERT(part_length > 0 && (size_t)part_length < sizeof part);
    if (part_restore(restore, part, path, fault, format) == 0 &&
        command_sync_folder(node->data) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot make the folder %.200s durable: %s", node->data,
                  strerror(errno));
    }
    if (fault->code != 0 && made) {
        (void)rmdir(node->data);
    }
    return fault->code;
}

int restore_node(struct restore *restore, const struct config_node *node, struct fault *fault)
{
    const struct format_config format = format_of(restore, node);
    struct stat status;
    if (stat(node->data, &status) != 0 || S_ISDIR(status.st_mode)) {
        return folder_restore(restore, node, &format, fault);
    }
    uint64_t bytes = restore->config->size_bytes / PAGE_BYTES * PAGE_BYTES;
    if (disk_file_create(node->data, bytes, fault) != 0) {
        return fault->code;
    }
    return restore_log_write(restore, node->data, &format, fault);
}
