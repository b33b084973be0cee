/* keeper.c: see keeper.h.
 *
 * It is a child born into new namespaces of users (without privilege), processes and networks: the
 * first process of its PID namespace, so that nothing outlives it, and at home in the switch's
 * network.
 */
#define _GNU_SOURCE /* clone flags, unshare, setns, close_range */
#include "engine/lab/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define END_MS 10000

/* What the keeper says when it is there, or why it is not. */
struct word {
    int error; /* 0, or an errno. */
    char what[64];
};

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t bytes = fd < 0 ? -1 : write(fd, text, strlen(text));
    int error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    errno = error;
    return bytes == (ssize_t)strlen(text);
}

/* Be root of the new user namespace, and of nothing else. */
static bool map_ids(uid_t uid, gid_t gid)
{
    char text[64];
    if (!write_file("/proc/self/setgroups", "deny")) {
        return false;
    }
    (void)snprintf(text, sizeof text, "0 %u 1\n", (unsigned)uid);
    if (!write_file("/proc/self/uid_map", text)) {
        return false;
    }
    (void)snprintf(text, sizeof text, "0 %u 1\n", (unsigned)gid);
    return write_file("/proc/self/gid_map", text);
}

/* One new namespace for each host, held by its descriptor; then back to the switch's. */
static bool hold_hosts(uint32_t host_count)
{
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    bool good = home >= 0;
    for (uint32_t i = 0; i < host_count && good; i++) {
        good = unshare(CLONE_NEWNET) == 0;
        int fd = good ? open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) : -1;
        good = fd >= 0 && dup3(fd, (int)(LAB_KEEPER_FD + i), O_CLOEXEC) >= 0;
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    good = good && setns(home, CLONE_NEWNET) == 0;
    return good;
}

/* Nothing of the caller's files but the pipe, which is moved out of the way. */
static int keep_pipe(int pipe_fd)
{
    int out = fcntl(pipe_fd, F_DUPFD_CLOEXEC, (int)(LAB_KEEPER_FD + LAB_HOSTS_MAX));
    bool good = out >= 0 && close_range(3, (unsigned)out - 1, 0) == 0 &&
                close_range((unsigned)out + 1, ~0u, 0) == 0;
    return good ? out : -1;
}

/* Nothing of the terminal, or of the folder that the caller stood in. */
static bool let_go(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool good = null >= 0 && chdir("/") == 0;
    for (int i = 0; i < 3 && good; i++) {
        good = dup2(null, i) == i;
    }
    return good;
}

static void say(int pipe_fd, const char *what, int error)
{
    struct word word = {.error = error};
    (void)snprintf(word.what, sizeof word.what, "%s", what);
    (void)!write(pipe_fd, &word, sizeof word);
}

/* The keeper's life. */
static void keep(const struct lab *lab, int pipe_fd, const uid_t ids[2], bool tied)
{
    int out = keep_pipe(pipe_fd);
    (void)setsid();
    (void)signal(SIGCHLD, SIG_IGN); /* Nodes whose parent has ended are this one's; none stays. */
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    const char *failed = NULL;
    if (lab->user_namespace && !map_ids(ids[0], (gid_t)ids[1])) {
        failed = "mapping the user's id";
    } else if (tied && prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        failed = "tying it to its parent";
    } else if (!hold_hosts(lab->host_count)) {
        failed = "making a network namespace";
    } else if (!let_go()) {
        failed = "leaving its terminal";
    }
    int error = errno;
    (void)prctl(PR_SET_NAME, "thole-lab");
    say(out, failed != NULL ? failed : "", failed != NULL ? error : 0);
    if (failed != NULL) {
        _exit(1);
    }
    (void)close(out);
    for (;;) {
        (void)pause();
    }
}

static bool file_says(const char *path, char value)
{
    FILE *file = fopen(path, "re");
    int first = file != NULL ? fgetc(file) : EOF;
    if (file != NULL) {
        (void)fclose(file);
    }
    return first == value;
}

/* Why there are no namespaces here, and what mends that. */
static void refused(const struct lab *lab, const char *what, int error, struct fault *fault)
{
    if (!lab->user_namespace) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot make the lab's namespaces: %s%s%s. Root of the machine may; in a "
                  "container it needs CAP_SYS_ADMIN (`--privileged`)",
                  what, what[0] != '\0' ? ": " : "", strerror(error));
    } else if (file_says("/proc/sys/kernel/unprivileged_userns_clone", '0')) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "user namespaces are switched off for ordinary users here: `sudo sysctl "
                  "kernel.unprivileged_userns_clone=1`, or run it as root");
    } else if (file_says("/proc/sys/user/max_user_namespaces", '0')) {
        fault_set(
            fault, FAULT_ENVIRONMENT,
            "no user namespace may be made here: `sudo sysctl user.max_user_namespaces=10000`, "
            "or run it as root");
    } else if (file_says("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1')) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "AppArmor keeps ordinary users from user namespaces here: `sudo sysctl "
                  "kernel.apparmor_restrict_unprivileged_userns=0`, or run it as root");
    } else {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot make the lab's user namespace: %s%s%s. In a container, its seccomp "
                  "profile forbids it (`--security-opt seccomp=unconfined`); or run it as root",
                  what, what[0] != '\0' ? ": " : "", strerror(error));
    }
}

static bool find_inodes(struct lab *lab)
{
    for (uint32_t i = 0; i <= lab->host_count; i++) {
        char path[LAB_NAMESPACE_BYTES];
        struct stat status;
        lab_namespace(lab, i < lab->host_count ? i : LAB_SWITCH, path);
        if (stat(path, &status) != 0) {
            return false;
        }
        uint64_t *inode = i < lab->host_count ? &lab->hosts[i].inode : &lab->switch_inode;
        *inode = status.st_ino;
    }
    return true;
}

int keeper_start(struct lab *lab, bool tied, struct fault *fault)
{
    int ends[2];
    uid_t ids[2] = {geteuid(), getegid()};
    struct word word = {.error = EIO};
    if (pipe2(ends, O_CLOEXEC) != 0) {
        refused(lab, "", errno, fault);
        return -EIO;
    }
    unsigned long flags = SIGCHLD | CLONE_NEWNET | CLONE_NEWPID;
    flags |= lab->user_namespace ? CLONE_NEWUSER : 0;
    long pid = syscall(SYS_clone, flags, NULL, NULL, NULL, 0UL);
    if (pid == 0) {
        keep(lab, ends[1], ids, tied);
    }
    int error = errno;
    (void)close(ends[1]);
    if (pid > 0 && read(ends[0], &word, sizeof word) == (ssize_t)sizeof word) {
        error = word.error;
    } else if (pid > 0) {
        error = EIO;
    }
    (void)close(ends[0]);
    lab->keeper = pid > 0 ? process_find((pid_t)pid) : (struct process_id){0};
    if (pid > 0 && error == 0 && !find_inodes(lab)) {
        error = errno;
        (void)snprintf(word.what, sizeof word.what, "looking at its namespaces");
    }
    if (pid < 0 || error != 0) {
        word.what[sizeof word.what - 1] = '\0';
        refused(lab, word.what, error, fault);
        keeper_end(lab);
        return -error;
    }
    return 0;
}

void keeper_end(const struct lab *lab)
{
    if (process_signal(lab->keeper, SIGKILL) == 0) {
        (void)process_wait_end(lab->keeper, END_MS);
    }
}
