/* end.c: see end.h. */
#define _GNU_SOURCE
#include "engine/lab/end.h"

#include "engine/cli/make_log.h"
#include "engine/lab/keeper.h"
#include "engine/lab/nodes.h"
#include "net/xdp.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STOP_MS       10000
#define SWEEPS_MAX    250u /* Of 20 ms: the kernel takes a namespace apart in the background. */
#define SWEEP_WAIT_NS 20000000

static void stop_nodes(const struct lab *lab)
{
    for (uint32_t i = 0; i < lab->node_count; i++) {
        if (process_signal(lab->nodes[i], SIGTERM) == 0) {
            (void)process_signal(lab->nodes[i], SIGCONT);
        }
    }
    for (uint32_t i = 0; i < lab->node_count; i++) {
        (void)process_wait_end(lab->nodes[i], STOP_MS);
    }
}

/* Until no note of theirs is left; one that is held longer is somebody else's by now. */
static void sweep_notes(const uint64_t *inodes, uint32_t count)
{
    for (uint32_t i = 0; i < SWEEPS_MAX && xdp_sweep(inodes, count) > 0; i++) {
        struct timespec pause = {.tv_nsec = SWEEP_WAIT_NS};
        (void)nanosleep(&pause, NULL);
    }
}

/* Kill all that runs in these namespaces of the lab, which are held open meanwhile: the number of
 * one that ends passes to the next that is made, whoever makes it. */
static void kill_guests(const struct lab *lab, const uint64_t *inodes, uint32_t count)
{
    int fds[LAB_HOSTS_MAX + 1];
    uint64_t held[LAB_HOSTS_MAX + 1];
    uint32_t held_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        char path[LAB_NAMESPACE_BYTES];
        struct stat status;
        lab_namespace(lab, i < lab->host_count ? i : LAB_SWITCH, path);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &status) == 0 && status.st_ino == inodes[i]) {
            fds[held_count] = fd;
            held[held_count++] = inodes[i];
        } else if (fd >= 0) {
            (void)close(fd);
        }
    }
    if (process_is_alive(lab->keeper)) { /* So it was the keeper's files that were opened. */
        (void)process_kill_in(held, held_count);
    }
    for (uint32_t i = 0; i < held_count; i++) {
        (void)close(fds[i]);
    }
}

void lab_end(struct lab *lab)
{
    uint64_t inodes[LAB_HOSTS_MAX + 1];
    uint32_t count = 0;
    for (; count < lab->host_count; count++) {
        inodes[count] = lab->hosts[count].inode;
    }
    inodes[count++] = lab->switch_inode;
    if (lab->life == LAB_ALIVE) {
        stop_nodes(lab);
        kill_guests(lab, inodes, count);
        keeper_end(lab);
    }
    if (lab->spec[0] != '\0') {
        sweep_notes(inodes, count);
    }
    char path[PATH_MAX];
    for (uint32_t i = 1; i <= lab->node_count; i++) {
        lab_path(lab, LAB_SLOW, i, path);
        (void)unlink(path);
    }
    lab_path(lab, "lab.json", 0, path);
    (void)unlink(path);
    lab->life = LAB_NONE;
}

static int remove_one(const char *path, bool is_folder)
{
    int result = is_folder ? rmdir(path) : unlink(path);
    return result == 0 || errno == ENOENT ? 0 : -errno;
}

int lab_remove_files(const struct lab *lab, struct fault *fault)
{
    char path[PATH_MAX];
    int result = 0;
    for (uint32_t i = 1; i <= VOTERS_MAX && result == 0; i++) {
        lab_path(lab, LAB_DATA "/" MAKE_LOG_NAME, i, path);
        result = remove_one(path, false);
        if (result == 0 || result == -ENOTDIR) {
            lab_path(lab, LAB_DATA, i, path);
            result = remove_one(path, true);
        }
        if (result == 0) {
            lab_path(lab, LAB_SAID, i, path);
            result = remove_one(path, false);
        }
    }
    if (result == 0) {
        lab_path(lab, LAB_CONFIG, 0, path);
        result = remove_one(path, false);
    }
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot take away %.300s: %s", path, strerror(-result));
        return result;
    }
    (void)rmdir(lab->dir); /* Whatever else is in it stays, and so does it. */
    return 0;
}
