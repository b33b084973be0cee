/* nic_dpdk_drivers.c: see nic_dpdk_drivers.h. */
#define _GNU_SOURCE /* memmem */
#include "net/nic_dpdk_drivers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <rte_build_config.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES 64u
#define FILES_MAX  4096u

/* "net_virtio_user0,path=/tmp/v" -> "net_virtio_user". */
static void driver_name(const char *device, char name[NAME_BYTES])
{
    size_t bytes = strcspn(device, ",");
    while (bytes > 0 && device[bytes - 1] >= '0' && device[bytes - 1] <= '9') {
        bytes--;
    }
    (void)snprintf(name, NAME_BYTES, "%.*s", (int)bytes, device);
}

static bool file_has(const char *path, const char *line)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool found = false;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        size_t bytes = (size_t)status.st_size;
        void *text = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (text != MAP_FAILED) {
            found = memmem(text, bytes, line, strlen(line)) != NULL;
            (void)munmap(text, bytes);
        }
    }
    (void)close(fd);
    return found;
}

static bool folder_has(const char *folder, const char *line)
{
    char path[PATH_MAX];
    DIR *files = opendir(folder);
    bool found = false;
    for (uint32_t i = 0; files != NULL && i < FILES_MAX && !found; i++) {
        const struct dirent *entry = readdir(files);
        if (entry == NULL) {
            break;
        }
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        found = file_has(path, line);
    }
    if (files != NULL) {
        (void)closedir(files);
    }
    return found;
}

int nic_dpdk_driver_check(const char *device, struct fault *fault)
{
    char name[NAME_BYTES];
    char line[2 * NAME_BYTES];
    driver_name(device, name);
    (void)snprintf(line, sizeof(line), "\"name\": \"%s\"", name);
    if (name[0] != '\0' &&
        (folder_has(RTE_EAL_PMD_PATH, line) || file_has("/proc/self/exe", line))) {
        return 0;
    }
    fault_set(fault, FAULT_ENVIRONMENT,
              "DPDK has no driver `%s` in " RTE_EAL_PMD_PATH ". See those there are with", name);
    fault_mend(fault, "ls " RTE_EAL_PMD_PATH);
    return -ENODEV;
}
