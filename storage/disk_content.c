/* disk_content.c: see disk_content.h. Knows other people's magic numbers. */
#define _GNU_SOURCE /* pread */
#include "storage/disk_content.h"

#include "engine/base/limits.h"
#include "storage/layout.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Where something names itself, the surer ones first. */
static const struct {
    uint32_t offset;
    uint32_t byte_count;
    const char *bytes;
    const char *name;
} signatures[] = {
    {0x438, 2, "\x53\xef", "an ext2, ext3 or ext4 filesystem"},
    {0, 4, "XFSB", "an xfs filesystem"},
    {0x10040, 8, "_BHRfS_M", "a btrfs filesystem"},
    {0x400, 4, "\x10\x20\xf5\xf2", "an f2fs filesystem"},
    {0, 6, "LUKS\xba\xbe", "an encrypted volume (LUKS)"},
    {0x200, 8, "LABELONE", "a physical volume of LVM"},
    {0x1000, 4, "\xfc\x4e\x2b\xa9", "a part of a RAID (md)"},
    {0xff6, 10, "SWAPSPACE2", "swap space"},
    {0x8001, 5, "CD001", "an ISO 9660 filesystem"},
    {0x200, 8, "EFI PART", "a partition table (GPT)"},
    {0x1000, 8, "EFI PART", "a partition table (GPT)"},
    {0x1fe, 2, "\x55\xaa", "a partition table or a boot sector"},
};

static bool is_zero(const uint8_t *bytes, uint64_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

/* Whether a copy of the superblock has this magic number. */
static bool holds_log(const uint8_t *bytes, uint64_t count, uint32_t wanted)
{
    for (uint32_t i = 0; i < SUPERBLOCK_SLOTS * SUPERBLOCK_COPIES; i++) {
        uint64_t offset = layout_superblock_at(i / 2, i % 2);
        uint32_t magic;
        if (offset + sizeof(magic) > count) {
            continue;
        }
        memcpy(&magic, bytes + offset, sizeof(magic));
        if (magic == wanted) {
            return true;
        }
    }
    return false;
}

static const char *name_find(const uint8_t *bytes, uint64_t count)
{
    for (uint32_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        uint32_t offset = signatures[i].offset;
        uint32_t byte_count = signatures[i].byte_count;
        if (offset + byte_count <= count &&
            memcmp(bytes + offset, signatures[i].bytes, byte_count) == 0) {
            return signatures[i].name;
        }
    }
    return "something that is not zero and not a log";
}

static int end_read(const struct disk_file *file, uint64_t offset, uint64_t count, uint8_t *bytes)
{
    ssize_t got = pread(file->fd, bytes, count, (off_t)offset);
    if (got != (ssize_t)count) {
        return got < 0 ? -errno : -EIO;
    }
    return 0;
}

int disk_content_look(const struct disk_file *file,
                      const char *path,
                      enum disk_content *content,
                      const char **name,
                      struct fault *fault)
{
    static _Alignas(PAGE_BYTES) uint8_t bytes[DISK_CONTENT_BYTES];
    ASSERT(file->bytes >= PAGE_BYTES);
    uint64_t count = file->bytes < DISK_CONTENT_BYTES ? file->bytes : DISK_CONTENT_BYTES;
    bool empty = false;
    int result = end_read(file, 0, count, bytes);
    if (result == 0 && holds_log(bytes, count, UNFINISHED_MAGIC)) {
        *content = DISK_CONTENT_UNFINISHED;
        *name = "an unfinished log";
        return 0;
    }
    if (result == 0 && holds_log(bytes, count, SUPERBLOCK_MAGIC)) {
        *content = DISK_CONTENT_LOG;
        *name = "a log";
        return 0;
    }
    if (result == 0) {
        *name = name_find(bytes, count);
        empty = is_zero(bytes, count);
        result = end_read(file, file->bytes - count, count, bytes);
    }
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot look at what %s holds: %s", path,
                  strerror(-result));
        return result;
    }
    empty = empty && is_zero(bytes, count);
    *content = empty ? DISK_CONTENT_NONE : DISK_CONTENT_OTHER;
    *name = empty ? "nothing" : *name;
    return 0;
}

int disk_content_refuse(const char *path, struct fault *fault)
{
    struct disk_file file;
    int result = disk_file_open(path, DISK_ACCESS_WRITE, &file, fault);
    if (result != 0) {
        return result;
    }
    enum disk_content content;
    const char *name;
    result = disk_content_look(&file, path, &content, &name, fault);
    disk_file_close(&file);
    if (result != 0 || content == DISK_CONTENT_NONE) {
        return result;
    }
    fault_set(fault, FAULT_ENVIRONMENT,
              "%s holds %s%s: give --force to destroy it, or name another device", path, name,
              content == DISK_CONTENT_LOG ? " already" : "");
    return -EEXIST;
}
