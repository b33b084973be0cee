/* host.c: see host.h. */
#define _DEFAULT_SOURCE
#include "engine/base/host.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SYS_CPU         "/sys/devices/system/cpu"
#define SYS_CLOCK       "/sys/devices/system/clocksource/clocksource0"
#define CAP_IPC_LOCK    14u /* linux/capability.h */
#define PATH_TEXT_BYTES 128u

bool host_first_line(const char *path, char *line, size_t bytes)
{
    line[0] = '\0';
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool read = fgets(line, (int)bytes, file) != NULL;
    (void)fclose(file);
    size_t end = read ? strcspn(line, "\n") : 0;
    while (end > 0 && line[end - 1] == ' ') {
        end--;
    }
    line[end] = '\0';
    return read;
}

/* The value of the first line `name: value` of a file, trimmed. "": there is none. */
static void value_of(const char *path, const char *name, char *value, size_t bytes)
{
    static char line[HOST_LINE_BYTES];
    value[0] = '\0';
    FILE *file = fopen(path, "re");
    bool found = false;
    for (uint32_t i = 0; file != NULL && i < HOST_LINES_MAX && !found; i++) {
        if (fgets(line, sizeof(line), file) == NULL) {
            break;
        }
        found = strncmp(line, name, strlen(name)) == 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    const char *text = found ? strchr(line, ':') : NULL;
    if (text != NULL) {
        text++;
        text += strspn(text, " \t");
        (void)snprintf(value, bytes, "%.*s", (int)strcspn(text, "\n"), text);
    }
}

static bool has_word(const char *text, const char *word)
{
    size_t bytes = strlen(word);
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + bytes, word)) {
        bool begins = at == text || at[-1] == ' ';
        if (begins && (at[bytes] == ' ' || at[bytes] == '\0')) {
            return true;
        }
    }
    return false;
}

/* A file of one number; `otherwise` when it is not there. */
static uint64_t number_in(const char *path, uint64_t otherwise)
{
    char text[HOST_TEXT_BYTES];
    return host_first_line(path, text, sizeof(text)) ? strtoull(text, NULL, 10) : otherwise;
}

static void memory_look(struct host *host)
{
    struct rlimit limit;
    char rights[HOST_TEXT_BYTES];
    host->memlock_bytes = UINT64_MAX;
    value_of("/proc/self/status", "CapEff:", rights, sizeof(rights));
    bool passes = (strtoull(rights, NULL, 16) >> CAP_IPC_LOCK & 1u) != 0;
    if (!passes && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        host->memlock_bytes = limit.rlim_cur;
    }
    host->huge_free = number_in("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", 0);
    /* The second file is Debian's own, and the third Ubuntu's. */
    host->has_user_namespaces =
        number_in("/proc/sys/user/max_user_namespaces", 0) > 0 &&
        number_in("/proc/sys/kernel/unprivileged_userns_clone", 1) > 0 &&
        number_in("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 0) == 0;
}

void host_look(struct host *host)
{
    static char flags[HOST_LINE_BYTES];
    *host = (struct host){.cpu_count = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN)};
    value_of("/proc/cpuinfo", "model name", host->cpu, sizeof(host->cpu));
    value_of("/proc/cpuinfo", "flags", flags, sizeof(flags));
    host->is_guest = has_word(flags, "hypervisor");
    host->has_constant_tsc = has_word(flags, "constant_tsc");
    host->has_nonstop_tsc = has_word(flags, "nonstop_tsc");
    struct utsname names;
    if (uname(&names) == 0) {
        (void)snprintf(host->kernel, sizeof(host->kernel), "%s", names.release);
    }
    static const struct {
        const char *path;
        size_t at;
    } lines[] = {
        {"/sys/class/dmi/id/sys_vendor", offsetof(struct host, vendor)},
        {SYS_CLOCK "/current_clocksource", offsetof(struct host, clock)},
        {SYS_CLOCK "/available_clocksource", offsetof(struct host, clocks)},
        {SYS_CPU "/isolated", offsetof(struct host, isolated)},
        {SYS_CPU "/nohz_full", offsetof(struct host, nohz_full)},
    };
    for (uint32_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char *text = (char *)host + lines[i].at;
        if (!host_first_line(lines[i].path, text, HOST_TEXT_BYTES)) {
            text[0] = '\0';
        }
    }
    value_of("/proc/self/status", "Cpus_allowed_list:", host->allowed, sizeof(host->allowed));
    memory_look(host);
}

void host_cpu_look(struct host_cpu *found, int cpu)
{
    char path[PATH_TEXT_BYTES];
    *found = (struct host_cpu){0};
    ASSERT(cpu >= 0);
    (void)snprintf(path, sizeof(path), SYS_CPU "/cpu%d/cpufreq/scaling_governor", cpu);
    if (!host_first_line(path, found->governor, sizeof(found->governor))) {
        found->governor[0] = '\0';
    }
    (void)snprintf(path, sizeof(path), SYS_CPU "/cpu%d/topology/thread_siblings_list", cpu);
    if (!host_first_line(path, found->siblings, sizeof(found->siblings))) {
        found->siblings[0] = '\0';
    }
}

/* Call it "0-3,8": ranges in ascending order. What does not read as one ends the list. */
static uint32_t list_count(const char *list, long first, long last)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < HOST_CPUS_MAX && isdigit((unsigned char)*list); i++) {
        char *end = NULL;
        long low = strtol(list, &end, 10);
        long high = low;
        if (*end == '-') {
            high = strtol(end + 1, &end, 10);
        }
        long from = low > first ? low : first;
        long to = high < last ? high : last;
        count += to >= from ? (uint32_t)(to - from) + 1 : 0;
        list = *end == ',' ? end + 1 : end;
    }
    return count;
}

bool host_list_has(const char *list, int cpu)
{
    return list_count(list, cpu, cpu) > 0;
}

uint32_t host_list_count(const char *list)
{
    return list_count(list, 0, HOST_CPUS_MAX);
}

/* Add the counts of one line of /proc/interrupts, a number a CPU behind its colon. */
static void interrupts_add(const char *line, unsigned long long sums[HOST_CPUS_MAX])
{
    const char *cursor = strchr(line, ':');
    for (uint32_t cpu = 0; cursor != NULL && cpu < HOST_CPUS_MAX; cpu++) {
        char *end = NULL;
        unsigned long long count = strtoull(cursor + 1, &end, 10);
        if (end == cursor + 1 || !isspace((unsigned char)*end)) {
            return;
        }
        sums[cpu] += count;
        cursor = end;
    }
}

int host_interrupt_cpu(const char *queue)
{
    static unsigned long long sums[HOST_CPUS_MAX];
    static char line[HOST_LINE_BYTES];
    FILE *file = fopen("/proc/interrupts", "re");
    if (file == NULL) {
        return -1;
    }
    memset(sums, 0, sizeof(sums));
    for (uint32_t i = 0; i < HOST_LINES_MAX && fgets(line, sizeof(line), file) != NULL; i++) {
        if (strstr(line, queue) != NULL) {
            interrupts_add(line, sums);
        }
    }
    (void)fclose(file);
    int best = -1;
    for (int cpu = 0; cpu < (int)HOST_CPUS_MAX; cpu++) {
        if (sums[cpu] > 0 && (best < 0 || sums[cpu] > sums[best])) {
            best = cpu;
        }
    }
    return best;
}
