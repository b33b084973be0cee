/* place.c: see place.h. */
#define _GNU_SOURCE /* setns, memfd_create */
#include "engine/lab/place.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_ADDED    ":/usr/sbin:/sbin:/usr/bin:/bin"
#define EXIT_NO_TOOL  127
#define EXIT_NO_PLACE 126

#define COMMAND_WORDS_MAX  8u
#define COMMAND_WORD_BYTES 64u

void lab_text_add(struct lab_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text->bytes + text->used, text->max - text->used, format, arguments);
    va_end(arguments);
    ASSERT(bytes >= 0);
    ASSERT((size_t)bytes < text->max - text->used); /* LAB_TEXT_BYTES hold the most there can be. */
    text->used += (size_t)bytes;
}

/* True when this process is in the namespace already. */
static bool is_there(int fd, const char *own)
{
    struct stat other;
    struct stat here;
    return fstat(fd, &other) == 0 && stat(own, &here) == 0 && other.st_ino == here.st_ino &&
           other.st_dev == here.st_dev;
}

static int join(int fd, const char *own, int kind)
{
    return is_there(fd, own) || setns(fd, kind) == 0 ? 0 : -errno;
}

int lab_enter(const struct lab *lab, uint32_t host, bool among_nodes)
{
    char path[LAB_NAMESPACE_BYTES];
    (void)snprintf(path, sizeof path, "/proc/%lld/ns/user", (long long)lab->keeper.pid);
    int user = open(path, O_RDONLY | O_CLOEXEC);
    (void)snprintf(path, sizeof path, "/proc/%lld/ns/pid", (long long)lab->keeper.pid);
    int pids = open(path, O_RDONLY | O_CLOEXEC);
    lab_namespace(lab, host, path);
    int net = open(path, O_RDONLY | O_CLOEXEC);
    int result = user < 0 || pids < 0 || net < 0 ? -errno : 0;
    if (result == 0) {
        result = join(user, "/proc/self/ns/user", CLONE_NEWUSER);
    }
    if (result == 0) {
        result = join(net, "/proc/self/ns/net", CLONE_NEWNET);
    }
    if (result == 0 && among_nodes) {
        result = join(pids, "/proc/self/ns/pid_for_children", CLONE_NEWPID);
    }
    int fds[] = {user, pids, net};
    for (uint32_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    return result;
}

void lab_set_path(void)
{
    char path[PATH_MAX];
    const char *old = getenv("PATH");
    int bytes = snprintf(path, sizeof path, "%s%s", old != NULL ? old : "/usr/bin", PATH_ADDED);
    if (bytes > 0 && (size_t)bytes < sizeof path) {
        (void)setenv("PATH", path, 1);
    }
}

/* A file in memory that holds `text`, for a child's standard stream. */
static int stream_open(const char *text)
{
    int fd = memfd_create("thole-lab", MFD_CLOEXEC);
    size_t bytes = text == NULL ? 0 : strlen(text);
    if (fd >= 0 && bytes > 0 && pwrite(fd, text, bytes, 0) != (ssize_t)bytes) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void
child(const struct lab *lab, uint32_t host, const char *const *command, const int streams[3])
{
    int result = lab_enter(lab, host, false);
    for (int i = 0; i < 3; i++) {
        if (dup2(streams[i], i) != i) {
            _exit(EXIT_NO_PLACE);
        }
    }
    if (result != 0) {
        dprintf(STDERR_FILENO,
                "cannot enter its namespace (%s): the lab has just ended, or is another user's\n",
                strerror(-result));
        _exit(EXIT_NO_PLACE);
    }
    lab_set_path();
    char copies[COMMAND_WORDS_MAX][COMMAND_WORD_BYTES]; /* execvp() wants what it could change. */
    char *words[COMMAND_WORDS_MAX + 1] = {NULL};
    for (uint32_t i = 0; command[i] != NULL; i++) {
        ASSERT(i < COMMAND_WORDS_MAX);
        (void)snprintf(copies[i], sizeof copies[i], "%s", command[i]);
        words[i] = copies[i];
    }
    (void)execvp(copies[0], words);
    _exit(EXIT_NO_TOOL);
}

static void no_tool(const char *name, struct fault *fault)
{
    fault_set(fault, FAULT_ENVIRONMENT,
              "`%.32s` is not here, and a lab is made with it: `apt-get install %s`", name,
              strcmp(name, "nft") == 0 ? "nftables" : "iproute2");
}

/* What a tool that failed said, its first line. */
static void tool_failed(const char *const *command, int fd, struct fault *fault)
{
    char said[FAULT_TEXT_BYTES / 2];
    ssize_t bytes = pread(fd, said, sizeof said - 1, 0);
    said[bytes < 0 ? 0 : bytes] = '\0';
    said[strcspn(said, "\n")] = '\0';
    fault_set(fault, FAULT_ENVIRONMENT, "`%.32s %.32s` failed: %s", command[0],
              command[1] != NULL ? command[1] : "", said[0] != '\0' ? said : "it does not say why");
}

static void take_output(int fd, struct lab_text *output)
{
    ssize_t bytes = pread(fd, output->bytes, output->max - 1, 0);
    output->used = bytes < 0 ? 0 : (size_t)bytes;
    output->bytes[output->used] = '\0';
}

int lab_run(const struct lab *lab, uint32_t host, const struct lab_tool *tool, struct fault *fault)
{
    const char *const *command = tool->words;
    int streams[3] = {stream_open(tool->input), stream_open(NULL), stream_open(NULL)};
    int status = -1;
    pid_t pid = streams[0] < 0 || streams[1] < 0 || streams[2] < 0 ? -1 : fork();
    if (pid == 0) {
        child(lab, host, command, streams);
    }
    if (pid > 0) {
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    int result = 0;
    if (pid < 0) {
        result = -errno;
        fault_set(fault, FAULT_ENVIRONMENT, "cannot run `%.32s`: %s", command[0], strerror(errno));
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_TOOL) {
        result = -ENOENT;
        no_tool(command[0], fault);
    } else if (status != 0) {
        result = -EIO;
        tool_failed(command, streams[2], fault);
    } else if (tool->output != NULL) {
        take_output(streams[1], tool->output);
    }
    for (uint32_t i = 0; i < 3; i++) {
        if (streams[i] >= 0) {
            (void)close(streams[i]);
        }
    }
    return result;
}

static bool find_tool(const char *name)
{
    const char *path = getenv("PATH");
    char folders[2 * PATH_MAX];
    (void)snprintf(folders, sizeof folders, "%s%s", path != NULL ? path : "", PATH_ADDED);
    char *rest = NULL;
    for (char *folder = strtok_r(folders, ":", &rest); folder != NULL;
         folder = strtok_r(NULL, ":", &rest)) {
        char file[PATH_MAX];
        int bytes = snprintf(file, sizeof file, "%s/%s", folder, name);
        if (bytes > 0 && (size_t)bytes < sizeof file && access(file, X_OK) == 0) {
            return true;
        }
    }
    return false;
}

int lab_find_tools(struct fault *fault)
{
    static const char *const tools[] = {"ip", "bridge", "nft"};
    for (uint32_t i = 0; i < sizeof tools / sizeof tools[0]; i++) {
        if (!find_tool(tools[i])) {
            no_tool(tools[i], fault);
            return -ENOENT;
        }
    }
    return 0;
}
