/* xdp.c: see xdp.h. */
#define _GNU_SOURCE /* flock, O_CLOEXEC */
#include "net/xdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#define NOTES_FOLDER "/run"
#define NOTES_PREFIX "thole-xdp-"
#define TEXT_BYTES   64u
#define PATH_BYTES   sizeof(((struct xdp_claim *)0)->path)
#define WORDS_BYTES  160u

#define LOCK_TRIES      10u
#define LOCK_WAIT_NS    10000000
#define NOTES_LOOKED_AT 10000u /* Files of that folder, at most. */

/* The last warning of either library: they would print it. One process, one thread at start. */
static char words[WORDS_BYTES];

static void words_keep(bool is_warning, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void words_keep(bool is_warning, const char *format, va_list arguments)
{
    if (is_warning) {
        (void)vsnprintf(words, sizeof(words), format, arguments);
        words[strcspn(words, "\n")] = '\0';
    }
}

static int libbpf_said(enum libbpf_print_level level, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static int libbpf_said(enum libbpf_print_level level, const char *format, va_list arguments)
{
    words_keep(level == LIBBPF_WARN, format, arguments);
    return 0;
}

static int libxdp_said(enum libxdp_print_level level, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static int libxdp_said(enum libxdp_print_level level, const char *format, va_list arguments)
{
    words_keep(level == LIBXDP_WARN, format, arguments);
    return 0;
}

const char *xdp_last_words(void)
{
    return words;
}

static uint32_t attached(uint32_t index)
{
    uint32_t id = 0;
    return bpf_xdp_query_id((int)index, 0, &id) == 0 ? id : 0;
}

static void program_name(uint32_t id, char name[XDP_NAME_BYTES])
{
    struct bpf_prog_info info = {0};
    uint32_t bytes = sizeof(info);
    int fd = bpf_prog_get_fd_by_id(id);
    bool known = fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &bytes) == 0;
    (void)snprintf(name, XDP_NAME_BYTES, "%.15s", known ? info.name : "?");
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* The number that the file holds, and the process that wrote it. */
static uint32_t noted(int fd, long *process)
{
    char text[TEXT_BYTES] = "";
    char *rest = text;
    ssize_t bytes = pread(fd, text, sizeof(text) - 1, 0);
    text[bytes < 0 ? 0 : bytes] = 0;
    unsigned long id = strtoul(text, &rest, 10);
    *process = strtol(rest, NULL, 10);
    return (uint32_t)id;
}

static bool program_exists(uint32_t id)
{
    int fd = id == 0 ? -1 : bpf_prog_get_fd_by_id(id);
    bool is_there = fd >= 0 || (id != 0 && errno != ENOENT);
    if (fd >= 0) {
        (void)close(fd);
    }
    return is_there;
}

/* Whether the path still names this open file. */
static bool is_at(int fd, const char *path)
{
    struct stat open_one;
    struct stat named_one;
    return fstat(fd, &open_one) == 0 && stat(path, &named_one) == 0 &&
           open_one.st_ino == named_one.st_ino && open_one.st_dev == named_one.st_dev;
}

/* True when the note is gone: nobody holds it, and what it names is no more. */
static bool sweep_one(const char *path)
{
    long process;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOENT;
    }
    bool stale = flock(fd, LOCK_EX | LOCK_NB) == 0 && is_at(fd, path) &&
                 !program_exists(noted(fd, &process));
    stale = stale && unlink(path) == 0;
    (void)close(fd);
    return stale;
}

static bool is_of(const char *name, const uint64_t *namespaces, uint32_t namespace_count)
{
    uint64_t namespace = strtoull(name + strlen(NOTES_PREFIX), NULL, 10);
    for (uint32_t i = 0; i < namespace_count; i++) {
        if (namespaces[i] == namespace) {
            return true;
        }
    }
    return false;
}

uint32_t xdp_sweep(const uint64_t *namespaces, uint32_t namespace_count)
{
    uint32_t left = 0;
    DIR *folder = opendir(NOTES_FOLDER);
    struct dirent *entry = folder != NULL ? readdir(folder) : NULL;
    for (uint32_t i = 0; entry != NULL && i < NOTES_LOOKED_AT; i++) {
        char path[sizeof(NOTES_FOLDER) + sizeof(entry->d_name)];
        (void)snprintf(path, sizeof(path), NOTES_FOLDER "/%s", entry->d_name);
        bool is_note = strncmp(entry->d_name, NOTES_PREFIX, strlen(NOTES_PREFIX)) == 0;
        if (is_note && !sweep_one(path)) {
            left += is_of(entry->d_name, namespaces, namespace_count);
        }
        entry = readdir(folder);
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return left;
}

/* An interface's number belongs to its network namespace. */
static void claim_path(char path[PATH_BYTES], uint32_t index)
{
    struct stat namespace = {0};
    (void)stat("/proc/self/ns/net", &namespace);
    (void)snprintf(path, PATH_BYTES, NOTES_FOLDER "/" NOTES_PREFIX "%lu-%u",
                   (unsigned long)namespace.st_ino, index);
}

static int claim_open(struct xdp_claim *claim, const struct interface *interface)
{
    claim_path(claim->path, interface->index);
    claim->fd = open(claim->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return claim->fd < 0 ? -errno : 0;
}

static void foreign_fault(const char *interface, const char *name, uint32_t id, struct fault *fault)
{
    fault_set(fault, FAULT_ENVIRONMENT,
              "%s has an XDP program (`%s`, number %u) that is not this node's. See what it is for "
              "with `bpftool net`; when nobody needs it, take it away with",
              interface, name, id);
    fault_mend(fault, "ip link set dev %s xdp off", interface);
}

static void busy_fault(const char *interface, long process, struct fault *fault)
{
    fault_set(fault, FAULT_ENVIRONMENT,
              "another process (%ld) has AF_XDP on %s, and one at a time can. Choose another "
              "interface, or stop it with",
              process, interface);
    fault_mend(fault, "kill %ld", process);
}

/* Another start may be sweeping just now: then the lock is held for a moment, or the file is gone.
 * 0, or -errno: it cannot be opened. */
static int claim_lock(struct xdp_claim *claim, const struct interface *interface, bool *locked)
{
    *locked = false;
    for (uint32_t try = 0; try < LOCK_TRIES && !*locked; try++) {
        if (try > 0) {
            struct timespec pause = {.tv_nsec = LOCK_WAIT_NS};
            (void)nanosleep(&pause, NULL);
            (void)close(claim->fd);
        }
        int result = claim_open(claim, interface);
        if (result != 0) {
            return result;
        }
        *locked = flock(claim->fd, LOCK_EX | LOCK_NB) == 0 && is_at(claim->fd, claim->path);
    }
    return 0;
}

static int
stale_detach(struct xdp_claim *claim, const struct interface *interface, struct fault *fault)
{
    long process;
    uint32_t id = attached(interface->index);
    if (id == 0) {
        return 0;
    }
    if (id == noted(claim->fd, &process)) {
        int result = bpf_xdp_detach((int)interface->index, 0, NULL);
        if (result == 0) {
            return 0;
        }
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot take away the XDP program that an earlier run left on %s: %s. Try",
                  interface->name, strerror(-result));
        fault_mend(fault, "ip link set dev %s xdp off", interface->name);
        return result;
    }
    char name[XDP_NAME_BYTES];
    program_name(id, name);
    foreign_fault(interface->name, name, id, fault);
    return -EBUSY;
}

/* The claim file of the interface, if there is one. */
static void claim_look(struct xdp_state *state, uint32_t index)
{
    char path[PATH_BYTES];
    claim_path(path, index);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        state->unknown = errno != ENOENT;
        return;
    }
    long process = 0;
    state->ours = state->id != 0 && noted(fd, &process) == state->id;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        (void)noted(fd, &process);
        state->process = process;
    }
    (void)close(fd);
}

void xdp_look(struct xdp_state *state, uint32_t index)
{
    *state = (struct xdp_state){.id = attached(index)};
    if (state->id != 0) {
        program_name(state->id, state->name);
    }
    claim_look(state, index);
}

int xdp_check(const struct xdp_state *state, const char *interface, struct fault *fault)
{
    if (state->process != 0) {
        busy_fault(interface, state->process, fault);
        return -EBUSY;
    }
    if (state->id != 0 && !state->ours && !state->unknown) {
        foreign_fault(interface, state->name, state->id, fault);
        return -EBUSY;
    }
    return 0;
}

int xdp_claim(struct xdp_claim *claim, const struct interface *interface, struct fault *fault)
{
    (void)libbpf_set_print(libbpf_said);
    (void)libxdp_set_print(libxdp_said);
    claim->index = interface->index;
    (void)xdp_sweep(NULL, 0);
    bool locked = false;
    int result = claim_lock(claim, interface, &locked);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot write %s: %s. af_xdp notes there what it attaches to %s, so that a "
                  "later start can take it away; run it as root, or use af_packet",
                  claim->path, strerror(-result), interface->name);
        return result;
    }
    if (!locked) {
        long process;
        (void)noted(claim->fd, &process);
        busy_fault(interface->name, process, fault);
        result = -EBUSY;
    } else {
        result = stale_detach(claim, interface, fault);
        if (result == -EBUSY) {
            (void)unlink(claim->path); /* It names nothing of ours. */
        }
    }
    if (result != 0) {
        (void)close(claim->fd);
        claim->fd = -1;
    }
    return result;
}

void xdp_note(struct xdp_claim *claim)
{
    char text[TEXT_BYTES];
    int bytes = snprintf(text, sizeof(text), "%u %ld\n", attached(claim->index), (long)getpid());
    ASSERT(claim->fd >= 0);
    if (ftruncate(claim->fd, 0) == 0) {
        ssize_t written = pwrite(claim->fd, text, (size_t)bytes, 0);
        (void)written; /* A full /run: a later start names the program and how to detach it. */
    }
}

void xdp_release(struct xdp_claim *claim)
{
    if (claim->fd < 0) {
        return;
    }
    long process;
    uint32_t id = noted(claim->fd, &process);
    if (id != 0 && attached(claim->index) == id) {
        (void)bpf_xdp_detach((int)claim->index, 0, NULL);
    }
    (void)unlink(claim->path);
    (void)close(claim->fd);
    claim->fd = -1;
}
