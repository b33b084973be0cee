/* holder.c: see holder.h. */
#include "engine/cli/holder.h"

#include "engine/base/mem.h"
#include "engine/cli/make_log.h"
#include "storage/disk_lock.h"
#include "storage/disk_posix.h"

#include <limits.h>

bool holder_superblock(const char *path, struct superblock *superblock)
{
    struct mem mem;
    if (mem_open(&mem, disk_posix_memory_bytes() + 2 * PAGE_BYTES) != 0) {
        return false;
    }
    uint8_t *page = mem_take(&mem, "superblock page", 1, PAGE_BYTES, PAGE_BYTES);
    struct disk_posix_config config = {.path = path, .access = DISK_ACCESS_READ_SHARED};
    struct superblock_set set = {0};
    struct fault ignored = {0};
    struct disk *disk = NULL;
    bool read = false;
    bool closed = true;
    if (disk_posix_open(&disk, &mem, &config, &ignored) == 0) {
        read = superblock_load(disk, page, &set, &ignored) == 0;
        closed = disk_close_unless_busy(disk); /* The memory of a disk that hangs stays. */
    }
    if (closed) {
        mem_close(&mem);
    }
    *superblock = set.newest;
    return read;
}

void holder_look(const struct config *config, struct ask_answer answers[VOTERS_MAX])
{
    ASSERT(config->node_count <= VOTERS_MAX);
    for (uint32_t i = 0; i < config->node_count; i++) {
        const struct config_node *node = &config->nodes[i];
        char path[PATH_MAX];
        struct disk_lock_owner owner;
        struct superblock superblock;
        if (answers[i].reachable || node->data[0] == '\0' ||
            !make_log_path(node->data, path, sizeof path) || !disk_lock_owner_find(path, &owner)) {
            continue;
        }
        if (holder_superblock(path, &superblock) && superblock.cluster == config->cluster &&
            superblock.node == node->id) {
            answers[i].pid = owner.pid;
            answers[i].stopped = owner.stopped;
        }
    }
}
