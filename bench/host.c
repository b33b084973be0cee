/* host.c: what a result says of the machine: read from /proc and /sys, never guessed. */
#define _DEFAULT_SOURCE
#include "bench/result.h"

#include "engine/base/assert.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MACHINE_CPUS_MAX  256
#define MACHINE_LINE_MAX  8192
#define MACHINE_LINES_MAX 4096

/* The first line of a file, without its newline. False: it cannot be read. */
static bool first_line(const char *path, char *line, size_t bytes)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    bool read = fgets(line, (int)bytes, file) != NULL;
    fclose(file);
    line[read ? strcspn(line, "\n") : 0] = '\0';
    return read;
}

static void find_cpu(struct result_machine *machine)
{
    machine->cpu_count = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL) {
        return;
    }
    char line[MACHINE_LINE_MAX];
    for (int i = 0; i < MACHINE_LINES_MAX && fgets(line, sizeof(line), file) != NULL; i++) {
        char *colon = strstr(line, ": ");
        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            colon[strcspn(colon, "\n")] = '\0';
            snprintf(machine->cpu, sizeof(machine->cpu), "%.*s", (int)sizeof(machine->cpu) - 1,
                     colon + 2);
            break;
        }
    }
    fclose(file);
}

/* Whether a line of the mount table is of this device: its third field, behind two numbers. */
static bool mount_is_of(const char *line, dev_t device)
{
    char wanted[32];
    int bytes = snprintf(wanted, sizeof(wanted), " %u:%u ", major(device), minor(device));
    const char *field = strchr(line, ' ');
    field = field != NULL ? strchr(field + 1, ' ') : NULL;
    return field != NULL && strncmp(field, wanted, (size_t)bytes) == 0;
}

/* The filesystem that holds device `device`, from the mount table. */
static void find_filesystem(struct result_machine *machine, dev_t device)
{
    FILE *file = fopen("/proc/self/mountinfo", "r");
    if (file == NULL) {
        return;
    }
    char line[MACHINE_LINE_MAX];
    for (int i = 0; i < MACHINE_LINES_MAX && fgets(line, sizeof(line), file) != NULL; i++) {
        char *kind = strstr(line, " - ");
        if (kind != NULL && mount_is_of(line, device)) {
            kind += 3;
            snprintf(machine->filesystem, sizeof(machine->filesystem), "%.*s",
                     (int)strcspn(kind, " "), kind);
            break;
        }
    }
    fclose(file);
}

/* The CPU that took most of the interrupts of lines that name this queue. */
static int interrupt_cpu(const char *queue)
{
    FILE *file = fopen("/proc/interrupts", "r");
    if (file == NULL) {
        return -1;
    }
    unsigned long long sums[MACHINE_CPUS_MAX] = {0};
    char line[MACHINE_LINE_MAX];
    for (int i = 0; i < MACHINE_LINES_MAX && fgets(line, sizeof(line), file) != NULL; i++) {
        char *cursor = strstr(line, queue) != NULL ? strchr(line, ':') : NULL;
        for (int cpu = 0; cursor != NULL && cpu < MACHINE_CPUS_MAX; cpu++) {
            char *end = NULL;
            unsigned long long count = strtoull(cursor + 1, &end, 10);
            if (end == cursor + 1 || !isspace((unsigned char)*end)) {
                break;
            }
            sums[cpu] += count;
            cursor = end;
        }
    }
    fclose(file);
    int best = -1;
    for (int cpu = 0; cpu < MACHINE_CPUS_MAX; cpu++) {
        if (sums[cpu] > 0 && (best < 0 || sums[cpu] > sums[best])) {
            best = cpu;
        }
    }
    return best;
}

/* The whole disk below a device (a partition's parent), by its name in /sys/block. */
static bool disk_name(dev_t device, char *name, size_t bytes)
{
    char path[PATH_MAX];
    char real[PATH_MAX];
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(device), minor(device));
    if (realpath(path, real) == NULL) {
        return false;
    }
    snprintf(path, sizeof(path), "%.*s/partition", (int)sizeof(path) - 16, real);
    if (access(path, F_OK) == 0) {
        *strrchr(real, '/') = '\0';
    }
    snprintf(name, bytes, "%s", strrchr(real, '/') + 1);
    return true;
}

static void find_disk(struct result_machine *machine, dev_t device)
{
    char name[64];
    if (!disk_name(device, name, sizeof(name))) {
        return;
    }
    snprintf(machine->device, sizeof(machine->device), "%s", name);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "/sys/block/%s/queue/write_cache", name);
    (void)first_line(path, machine->write_cache, sizeof(machine->write_cache));

    /* An interrupt carries the name of the driver's device: virtio1-req.0, nvme0q1. */
    char queue[96];
    char real[PATH_MAX];
    snprintf(path, sizeof(path), "/sys/block/%s/device", name);
    if (strncmp(name, "nvme", 4) == 0) {
        snprintf(queue, sizeof(queue), "%.*sq", (int)(4 + strspn(name + 4, "0123456789")), name);
    } else if (realpath(path, real) != NULL) {
        snprintf(queue, sizeof(queue), "%.64s-req", strrchr(real, '/') + 1);
    } else {
        return;
    }
    machine->disk_irq_cpu = interrupt_cpu(queue);
}

void result_machine(struct result_machine *machine, const char *folder)
{
    *machine = (struct result_machine){.disk_irq_cpu = -1, .memlock_bytes = UINT64_MAX};
    find_cpu(machine);
    struct utsname names;
    if (uname(&names) == 0) {
        snprintf(machine->kernel, sizeof(machine->kernel), "%s", names.release);
    }
    struct stat status;
    if (stat(folder, &status) == 0) {
        find_filesystem(machine, status.st_dev);
        find_disk(machine, status.st_dev);
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        machine->memlock_bytes = limit.rlim_cur;
    }
    ASSERT(machine->disk_irq_cpu >= -1);
}
