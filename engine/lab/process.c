/* process.c: see process.h. */
#define _GNU_SOURCE /* pidfd_open */
#include "engine/lab/process.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAT_BYTES       1024u
#define FIELD_START_TIME 22u
#define PASSES_MAX       20u
#define PARENTS_MAX      64u

struct look {
    char state; /* As in /proc/PID/stat; 0: there is no such process. */
    int64_t parent;
    uint64_t start;
};

/* The fields behind the command's name, which may hold anything. */
static struct look look_at(int64_t pid)
{
    char path[64];
    char text[STAT_BYTES];
    struct look found = {0};
    (void)snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return found;
    }
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[bytes] = '\0';
    char *rest = strrchr(text, ')');
    char *word = rest == NULL ? NULL : strtok_r(rest + 1, " ", &rest);
    for (uint32_t field = 3; word != NULL; field++) {
        if (field == 3) {
            found.state = word[0];
        } else if (field == 4) {
            found.parent = strtoll(word, NULL, 10);
        } else if (field == FIELD_START_TIME) {
            found.start = strtoull(word, NULL, 10);
            break;
        }
        word = strtok_r(NULL, " ", &rest);
    }
    return found;
}

static bool is_ended(const struct look *look)
{
    return look->state == '\0' || look->state == 'Z' || look->state == 'X';
}

struct process_id process_find(pid_t pid)
{
    struct look look = look_at(pid);
    return is_ended(&look) ? (struct process_id){0}
                           : (struct process_id){.pid = pid, .start = look.start};
}

bool process_is_alive(struct process_id process)
{
    struct look look = look_at(process.pid);
    return process.pid > 0 && !is_ended(&look) && look.start == process.start;
}

bool process_is_stopped(struct process_id process)
{
    struct look look = look_at(process.pid);
    return process.pid > 0 && look.start == process.start &&
           (look.state == 'T' || look.state == 't');
}

/* A descriptor of it, or -ESRCH. */
static int open_process(struct process_id process)
{
    int fd = process.pid > 0 ? pidfd_open((pid_t)process.pid, 0) : -1;
    if (fd >= 0 && !process_is_alive(process)) {
        (void)close(fd);
        fd = -1;
    }
    return fd >= 0 ? fd : -ESRCH;
}

int process_signal(struct process_id process, int number)
{
    int fd = open_process(process);
    if (fd < 0) {
        return fd;
    }
    int result = pidfd_send_signal(fd, number, NULL, 0) == 0 ? 0 : -errno;
    (void)close(fd);
    return result;
}

bool process_wait_end(struct process_id process, int timeout_ms)
{
    int fd = open_process(process);
    if (fd < 0) {
        return true;
    }
    struct pollfd waited = {.fd = fd, .events = POLLIN};
    bool ended = poll(&waited, 1, timeout_ms) == 1;
    (void)close(fd);
    return ended;
}

/* This process and those it descends from. */
static uint32_t find_lineage(int64_t lineage[PARENTS_MAX])
{
    uint32_t count = 0;
    for (int64_t pid = getpid(); pid > 0 && count < PARENTS_MAX; pid = look_at(pid).parent) {
        lineage[count++] = pid;
    }
    return count;
}

static bool is_one_of(int64_t pid, const int64_t *pids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (pids[i] == pid) {
            return true;
        }
    }
    return false;
}

static bool is_in(int64_t pid, const uint64_t *inodes, uint32_t inode_count)
{
    char path[64];
    struct stat status;
    (void)snprintf(path, sizeof path, "/proc/%lld/ns/net", (long long)pid);
    if (stat(path, &status) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < inode_count; i++) {
        if (inodes[i] == status.st_ino) {
            return true;
        }
    }
    return false;
}

static uint32_t kill_once(const uint64_t *inodes, uint32_t inode_count)
{
    int64_t lineage[PARENTS_MAX];
    uint32_t lineage_count = find_lineage(lineage);
    uint32_t killed = 0;
    DIR *all = opendir("/proc");
    if (all == NULL) {
        return 0;
    }
    for (struct dirent *entry = readdir(all); entry != NULL; entry = readdir(all)) {
        int64_t pid = strtoll(entry->d_name, NULL, 10);
        if (pid <= 0 || is_one_of(pid, lineage, lineage_count) ||
            !is_in(pid, inodes, inode_count)) {
            continue;
        }
        struct process_id process = process_find((pid_t)pid);
        /* In one of them still: its number has not passed to another meanwhile. */
        if (process.pid > 0 && is_in(pid, inodes, inode_count)) {
            killed += process_signal(process, SIGKILL) == 0;
            (void)process_wait_end(process, 1000);
        }
    }
    (void)closedir(all);
    return killed;
}

uint32_t process_kill_in(const uint64_t *inodes, uint32_t inode_count)
{
    uint32_t total = 0;
    for (uint32_t pass = 0; pass < PASSES_MAX; pass++) {
        uint32_t killed = kill_once(inodes, inode_count);
        total += killed;
        if (killed == 0) {
            break;
        }
    }
    return total;
}
