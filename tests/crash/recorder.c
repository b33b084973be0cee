/* recorder.c: disks in memory that journal all that the kernel asks of them and when it is
 * answered.
 *
 * recorder --folder DIR --journal FILE --clock FILE --seed N [--delay-us N] IMAGE...
 *
 * Serves a filesystem at DIR, in the kernel's FUSE protocol, whose files 1, 2, ... begin with the
 * bytes of the images. A file has a volatile cache: a write is durable once it is answered if the
 * kernel asked for it with O_DSYNC, any other one after a flush. Each write and flush is answered
 * after a random time of at most --delay-us, so that several are under way and end in any order.
 * The images stay as they were. Prints `ready`; SIGTERM unmounts, and prints how many there were.
 * Exits 77 when there is no FUSE here.
 */
#define _GNU_SOURCE /* O_DSYNC as the kernel has it, mkdir, mount */
#include "engine/base/prng.h"
#include "tests/crash/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SKIPPED               77
#define WRITE_BYTES           (1u << 20)
#define WRITE_PAGES           256u
#define REQUEST_BYTES         (WRITE_BYTES + 4096u)
#define OPERATIONS_MAX        1024u
#define BACKGROUND_MAX        64u
#define NS_PER_US             1000u
#define NS_PER_S              1000000000ull
#define NS_PER_MS             1000000u
#define IDLE_MS               100
#define MINOR_WITH_WHOLE_INIT 23u

/* A write or a flush under way. */
struct operation {
    uint64_t unique; /* The kernel's number of the request. */
    uint64_t due_ns;
    struct journal_event event; /* As it was asked. */
    uint8_t *data;              /* Owned. */
};

struct disk_file {
    uint8_t *image;
    uint64_t bytes;
};

static struct {
    const char *folder;
    int device; /* /dev/fuse */
    FILE *journal;
    _Atomic uint64_t *clock;
    struct prng prng;
    uint64_t delay_us;
    struct disk_file files[JOURNAL_DISKS_MAX];
    uint32_t file_count;
    struct operation operations[OPERATIONS_MAX];
    uint32_t operation_count;
    uint64_t operations_begun;
    uint64_t writes, writes_through, flushes;
    uint32_t under_way_most;
} rig;

static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "recorder: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The journal. */

static void journal_add(const struct journal_event *event, const uint8_t *data)
{
    if (fwrite(event, sizeof *event, 1, rig.journal) != 1 ||
        (data != NULL && fwrite(data, event->bytes, 1, rig.journal) != 1)) {
        die("cannot write the journal");
    }
    atomic_fetch_add(rig.clock, 1);
}

/* Answers. A request that the kernel took back meanwhile (ENOENT) needs none. */

static void answer(uint64_t unique, int error, const void *body, size_t body_bytes)
{
    static uint8_t bytes[REQUEST_BYTES];
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof header + body_bytes), .error = -error, .unique = unique};
    memcpy(bytes, &header, sizeof header);
    if (body_bytes > 0) {
        memcpy(bytes + sizeof header, body, body_bytes);
    }
    if (write(rig.device, bytes, header.len) < 0 && errno != ENOENT) {
        die("cannot answer the kernel");
    }
}

/* Files. Node 1 is the folder, node n + 1 the file n. */

static struct disk_file *file_of(uint64_t node)
{
    bool there = node > FUSE_ROOT_ID && node <= FUSE_ROOT_ID + rig.file_count;
    return there ? &rig.files[node - FUSE_ROOT_ID - 1] : NULL;
}

static struct fuse_attr attributes(uint64_t node)
{
    const struct disk_file *file = file_of(node);
    if (file == NULL) {
        return (struct fuse_attr){.ino = node, .mode = S_IFDIR | 0700, .nlink = 2};
    }
    return (struct fuse_attr){
        .ino = node,
        .mode = S_IFREG | 0600,
        .nlink = 1,
        .size = file->bytes,
        .blocks = file->bytes / 512,
        .blksize = 4096,
    };
}

static void take_lookup(const struct fuse_in_header *request, const char *name)
{
    uint64_t number = strtoull(name, NULL, 10);
    if (request->nodeid != FUSE_ROOT_ID || file_of(FUSE_ROOT_ID + number) == NULL) {
        answer(request->unique, ENOENT, NULL, 0);
        return;
    }
    uint64_t node = FUSE_ROOT_ID + number;
    struct fuse_entry_out entry = {
        .nodeid = node, .entry_valid = 3600, .attr_valid = 3600, .attr = attributes(node)};
    answer(request->unique, 0, &entry, sizeof entry);
}

static void take_attributes(const struct fuse_in_header *request)
{
    struct fuse_attr_out out = {.attr_valid = 3600, .attr = attributes(request->nodeid)};
    answer(request->unique, 0, &out, sizeof out);
}

static void take_open(const struct fuse_in_header *request)
{
    struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES};
    answer(request->unique, file_of(request->nodeid) != NULL ? 0 : EISDIR, &out, sizeof out);
}

static void take_read(const struct fuse_in_header *request, const struct fuse_read_in *read)
{
    const struct disk_file *file = file_of(request->nodeid);
    if (file == NULL || read->offset > file->bytes) {
        answer(request->unique, file == NULL ? EISDIR : 0, NULL, 0);
        return;
    }
    uint64_t left = file->bytes - read->offset;
    answer(request->unique, 0, file->image + read->offset, read->size < left ? read->size : left);
}

/* Writes and flushes. */

static void
begin(const struct fuse_in_header *request, struct journal_event event, const uint8_t *data)
{
    if (rig.operation_count == OPERATIONS_MAX) {
        die("more is under way than there is room for");
    }
    event.disk = (uint8_t)(request->nodeid - FUSE_ROOT_ID - 1);
    event.operation = ++rig.operations_begun;
    struct operation *operation = &rig.operations[rig.operation_count++];
    *operation = (struct operation){
        .unique = request->unique,
        .due_ns = now_ns() + prng_below(&rig.prng, rig.delay_us + 1) * NS_PER_US,
        .event = event,
    };
    if (data != NULL) {
        operation->data = malloc(event.bytes);
        if (operation->data == NULL) {
            die("no memory");
        }
        memcpy(operation->data, data, event.bytes);
    }
    journal_add(&event, data);
    rig.under_way_most =
        rig.operation_count > rig.under_way_most ? rig.operation_count : rig.under_way_most;
}

static void take_write(const struct fuse_in_header *request, const struct fuse_write_in *write)
{
    const struct disk_file *file = file_of(request->nodeid);
    if (file == NULL || write->offset > file->bytes || write->size > file->bytes - write->offset) {
        answer(request->unique, EFBIG, NULL, 0);
        return;
    }
    struct journal_event event = {
        .kind = JOURNAL_WRITE,
        .through = (write->flags & O_DSYNC) != 0,
        .offset = write->offset,
        .bytes = write->size,
    };
    rig.writes++;
    rig.writes_through += event.through;
    begin(request, event, (const uint8_t *)(write + 1));
}

static void take_flush(const struct fuse_in_header *request)
{
    rig.flushes++;
    begin(request, (struct journal_event){.kind = JOURNAL_FLUSH}, NULL);
}

/* The answer is journalled before it leaves. */
static void end(uint32_t number)
{
    struct operation operation = rig.operations[number];
    rig.operations[number] = rig.operations[--rig.operation_count];
    struct journal_event event = operation.event;
    if (event.kind == JOURNAL_FLUSH) {
        event.kind = JOURNAL_FLUSHED;
        journal_add(&event, NULL);
        answer(operation.unique, 0, NULL, 0);
        return;
    }
    memcpy(rig.files[event.disk].image + event.offset, operation.data, event.bytes);
    free(operation.data);
    event.kind = JOURNAL_WRITTEN;
    journal_add(&event, NULL);
    struct fuse_write_out out = {.size = event.bytes};
    answer(operation.unique, 0, &out, sizeof out);
}

/* End what is due. Returns how many milliseconds the next one has, -1: there is none. */
static int end_due(void)
{
    uint64_t now = now_ns();
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < rig.operation_count;) {
        if (rig.operations[i].due_ns <= now) {
            end(i);
            continue;
        }
        next_ns = rig.operations[i].due_ns < next_ns ? rig.operations[i].due_ns : next_ns;
        i++;
    }
    return next_ns == UINT64_MAX ? -1 : (int)((next_ns - now) / NS_PER_MS);
}

/* The kernel's requests. */

static void take_init(const struct fuse_in_header *request, const struct fuse_init_in *init)
{
    if (init->major != FUSE_KERNEL_VERSION || init->minor < MINOR_WITH_WHOLE_INIT) {
        errno = EPROTONOSUPPORT;
        die("the kernel's FUSE is too old");
    }
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .flags =
            init->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_ASYNC_DIO),
        .max_background = BACKGROUND_MAX,
        .congestion_threshold = BACKGROUND_MAX,
        .max_write = WRITE_BYTES,
        .time_gran = 1,
        .max_pages = WRITE_PAGES,
    };
    answer(request->unique, 0, &out, sizeof out);
}

static void take(const struct fuse_in_header *request)
{
    const void *body = request + 1;
    switch (request->opcode) {
    case FUSE_INIT:
        take_init(request, body);
        break;
    case FUSE_LOOKUP:
        take_lookup(request, body);
        break;
    case FUSE_GETATTR:
    case FUSE_SETATTR: /* Of times. */
        take_attributes(request);
        break;
    case FUSE_OPEN:
        take_open(request);
        break;
    case FUSE_READ:
        take_read(request, body);
        break;
    case FUSE_WRITE:
        take_write(request, body);
        break;
    case FUSE_FSYNC:
        take_flush(request);
        break;
    case FUSE_STATFS: {
        struct fuse_statfs_out out = {.st = {.bsize = 4096, .frsize = 4096, .namelen = 255}};
        answer(request->unique, 0, &out, sizeof out);
        break;
    }
    case FUSE_RELEASE:
        answer(request->unique, 0, NULL, 0);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        break; /* Not answered. */
    default:
        answer(request->unique, ENOSYS, NULL, 0);
    }
}

/* All requests that are there. False: unmounted. */
static bool take_all(void)
{
    static _Alignas(8) uint8_t request[REQUEST_BYTES];
    while (true) {
        ssize_t bytes = read(rig.device, request, sizeof request);
        if (bytes >= (ssize_t)sizeof(struct fuse_in_header)) {
            take((const struct fuse_in_header *)(const void *)request);
        } else if (errno == EAGAIN || errno == EINTR) {
            return true;
        } else if (errno == ENODEV) {
            return false;
        } else if (errno != ENOENT) { /* That one was taken back. */
            die("cannot read from /dev/fuse");
        }
    }
}

static void serve(void)
{
    bool mounted = true;
    while (mounted && !stopped) {
        struct pollfd waited = {.fd = rig.device, .events = POLLIN};
        int timeout_ms = end_due();
        struct timespec timeout = {.tv_nsec = 50 * (long)NS_PER_US};
        if (timeout_ms != 0) {
            timeout.tv_nsec = (timeout_ms < 0 ? IDLE_MS : timeout_ms) * (long)NS_PER_MS;
        }
        (void)ppoll(&waited, 1, &timeout, NULL);
        mounted = take_all();
    }
}

/* Start-up. */

static void image_load(const char *path)
{
    struct disk_file *file = &rig.files[rig.file_count++];
    FILE *in = fopen(path, "rb");
    struct stat status;
    if (in == NULL || fstat(fileno(in), &status) != 0) {
        die(path);
    }
    file->bytes = (uint64_t)status.st_size;
    file->image = malloc(file->bytes);
    if (file->image == NULL || fread(file->image, 1, file->bytes, in) != file->bytes) {
        die(path);
    }
    (void)fclose(in);
}

static void clock_open(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, JOURNAL_CLOCK_BYTES) != 0) {
        die(path);
    }
    void *page = mmap(NULL, JOURNAL_CLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        die(path);
    }
    rig.clock = page;
    (void)close(fd);
}

static void mount_here(void)
{
    rig.device = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    char options[128];
    (void)snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u",
                   rig.device, (unsigned)geteuid(), (unsigned)getegid());
    if (rig.device < 0 ||
        mount("recorder", rig.folder, "fuse", MS_NOSUID | MS_NODEV, options) != 0) {
        fprintf(stderr, "recorder: no FUSE here: %s\n", strerror(errno));
        exit(SKIPPED);
    }
}

static void options_parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"folder", required_argument, NULL, 'f'},   {"journal", required_argument, NULL, 'j'},
        {"clock", required_argument, NULL, 'c'},    {"seed", required_argument, NULL, 's'},
        {"delay-us", required_argument, NULL, 'd'}, {NULL, 0, NULL, 0},
    };
    for (int c = 0; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'f':
            rig.folder = optarg;
            break;
        case 'j':
            rig.journal = fopen(optarg, "wbe");
            break;
        case 'c':
            clock_open(optarg);
            break;
        case 's':
            prng_init(&rig.prng, strtoull(optarg, NULL, 10));
            break;
        case 'd':
            rig.delay_us = strtoull(optarg, NULL, 10);
            break;
        default:
            exit(2);
        }
    }
    for (int i = optind; i < argc && rig.file_count < JOURNAL_DISKS_MAX; i++) {
        image_load(argv[i]);
    }
    if (rig.folder == NULL || rig.journal == NULL || rig.clock == NULL || rig.file_count == 0) {
        fprintf(stderr, "recorder: --folder, --journal, --clock and an image are needed\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    prng_init(&rig.prng, 1);
    options_parse(argc, argv);
    struct sigaction action = {.sa_handler = stop};
    (void)sigaction(SIGTERM, &action, NULL);
    mount_here();
    printf("ready\n");
    (void)fflush(stdout);
    serve();
    (void)umount2(rig.folder, MNT_DETACH);
    if (fclose(rig.journal) != 0) {
        die("cannot write the journal");
    }
    printf("{\"writes\": %" PRIu64 ", \"through\": %" PRIu64 ", \"flushes\": %" PRIu64
           ", \"under_way_most\": %u}\n",
           rig.writes, rig.writes_through, rig.flushes, rig.under_way_most);
    return 0;
}
