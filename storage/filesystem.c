/* filesystem.c: see filesystem.h. */
#define _GNU_SOURCE /* statx */
#include "storage/filesystem.h"

#include "engine/base/host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define OVERLAY_TYPE 0x794c7630u
#define UPPER_OPTION "upperdir="

/* Filesystems that cannot hold a log, and why. The numbers are statfs(2)'s f_type. */
static const struct {
    uint32_t type;
    const char *name;
    const char *why;
} unfit[] = {
    {0x9123683eu, "btrfs", "it copies on write: an overwrite may find no space"},
    {0x2fc12fc1u, "zfs", "it copies on write: an overwrite may find no space"},
    {0xca451a4eu, "bcachefs", "it copies on write: an overwrite may find no space"},
    {0x00003434u, "nilfs2", "it copies on write: an overwrite may find no space"},
    {0xf2f52010u, "f2fs", "it copies on write: an overwrite may find no space"},
    {0x24051905u, "ubifs", "it copies on write: an overwrite may find no space"},
    {0x000072b6u, "jffs2", "it copies on write: an overwrite may find no space"},
    {0x01021994u, "tmpfs", "it is memory: nothing on it survives a power cut"},
    {0x858458f6u, "ramfs", "it is memory: nothing on it survives a power cut"},
};

#define ADVICE "give a block device, or put it on ext4 or xfs; those there are:"
#define MEND   "findmnt --types ext4,xfs"

/* A line of the mount table: its number, five fields, options, " - ", the kind, the source, and
 * what the filesystem says of itself. */
static bool mount_read(const char *line, uint64_t number, struct filesystem_mount *mount)
{
    const char *kind = strstr(line, " - ");
    if (kind == NULL || strtoull(line, NULL, 10) != number) {
        return false;
    }
    kind += 3;
    int kind_bytes = (int)strcspn(kind, " ");
    (void)snprintf(mount->kind, sizeof(mount->kind), "%.*s", kind_bytes, kind);
    const char *upper = strstr(kind, UPPER_OPTION);
    if (upper != NULL && strcmp(mount->kind, "overlay") == 0) {
        upper += sizeof(UPPER_OPTION) - 1;
        (void)snprintf(mount->upper, sizeof(mount->upper), "%.*s", (int)strcspn(upper, ",\n"),
                       upper);
    }
    return true;
}

bool filesystem_mount(int fd, struct filesystem_mount *mount)
{
    static char line[HOST_LINE_BYTES];
    struct statx status;
    *mount = (struct filesystem_mount){0};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0 ||
        (status.stx_mask & STATX_MNT_ID) == 0) {
        return false;
    }
    FILE *file = fopen("/proc/self/mountinfo", "re");
    bool found = false;
    for (uint32_t i = 0; file != NULL && i < HOST_LINES_MAX && !found; i++) {
        if (fgets(line, sizeof(line), file) == NULL) {
            break;
        }
        found = mount_read(line, status.stx_mnt_id, mount);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

/* What the overlay writes to, where its folder can be seen. */
static void overlay_look_below(int fd, struct statfs *status)
{
    static struct filesystem_mount mount;
    struct statfs below;
    if (filesystem_mount(fd, &mount) && mount.upper[0] != '\0' &&
        statfs(mount.upper, &below) == 0) {
        *status = below;
    }
}

int filesystem_check(int fd, const char *path, struct fault *fault)
{
    struct statfs status;
    if (fstatfs(fd, &status) != 0) {
        int error = errno;
        fault_set(fault, FAULT_ENVIRONMENT, "cannot ask for the filesystem of %s: %s", path,
                  strerror(error));
        return -error;
    }
    bool overlay = (uint32_t)status.f_type == OVERLAY_TYPE;
    if (overlay) {
        overlay_look_below(fd, &status);
    }
    for (uint32_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++) {
        if ((uint32_t)status.f_type == unfit[i].type) {
            fault_set(fault, FAULT_ENVIRONMENT,
                      "%s is on %s%s, which cannot hold a durable log (%s); " ADVICE, path,
                      overlay ? "an overlay over " : "", unfit[i].name, unfit[i].why);
            fault_mend(fault, MEND);
            return -EOPNOTSUPP;
        }
    }
    return 0;
}

/* The kind of what holds a path that may not be there (yet), or its folder; "": not told. */
static void kind_find(const char *path, char kind[FILESYSTEM_KIND_BYTES])
{
    static struct filesystem_mount mount;
    char folder[PATH_MAX];
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        const char *slash = strrchr(path, '/');
        (void)snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
                       slash == NULL ? "." : path);
        fd = open(folder, O_PATH | O_CLOEXEC);
    }
    kind[0] = '\0';
    if (fd >= 0) {
        bool known = filesystem_mount(fd, &mount);
        (void)snprintf(kind, FILESYSTEM_KIND_BYTES, "%s", known ? mount.kind : "");
        (void)close(fd);
    }
}

void filesystem_no_direct(const char *path, struct fault *fault)
{
    char kind[FILESYSTEM_KIND_BYTES];
    kind_find(path, kind);
    fault_set(fault, FAULT_ENVIRONMENT,
              "the filesystem of %s%s%s has no direct I/O (O_DIRECT is refused, or taken and not "
              "done); " ADVICE,
              path, kind[0] == '\0' ? "" : ", ", kind);
    fault_mend(fault, MEND);
}
