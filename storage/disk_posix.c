/* disk_posix.c: see disk_posix.h.
 *
 * Invariant: a result stands in its ring before its eventfd counts it, and the poller takes as many
 * results as it has read from there. So the descriptor is readable exactly while there is a result
 * that no poll has heard of: no wakeup is lost, and none comes for nothing.
 */
#define _GNU_SOURCE /* pwritev2, pthread_setname_np */
#include "storage/disk_posix.h"

#include "engine/base/ring.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

struct disk_posix {
    struct disk disk; /* First: the seam. */
    struct disk_file file;
    pthread_t thread;
    int wake;             /* Counts batches of requests; the thread waits here. */
    int event;            /* Counts results. */
    uint32_t ready;       /* Counted, and not taken yet. */
    struct ring requests; /* struct disk_io; one of no bytes ends the thread. */
    struct ring results;  /* struct disk_done */
};
_Static_assert((DISK_QUEUE_MAX & (DISK_QUEUE_MAX - 1)) == 0, "the rings wrap by a mask");

static struct disk_posix *of_disk(struct disk *disk)
{
    return (struct disk_posix *)(void *)disk;
}

static void event_count(int event, uint64_t count)
{
    ssize_t bytes = write(event, &count, sizeof(count));
    ASSERT(bytes == (ssize_t)sizeof(count));
}

/* ---- The thread. ---- */

static struct disk_done request_carry_out(const struct disk_posix *posix, const struct disk_io *io)
{
    const struct iovec whole = {.iov_base = io->buffer, .iov_len = io->bytes};
    off_t at = (off_t)io->offset;
    ssize_t bytes = io->op == DISK_WRITE ? pwritev2(posix->file.fd, &whole, 1, at, RWF_DSYNC)
                                         : preadv2(posix->file.fd, &whole, 1, at, 0);
    struct disk_done done = {.cookie = io->cookie};
    if (bytes < 0) {
        done.result = -errno;
    } else if ((size_t)bytes != io->bytes) {
        done.result = -EIO;
    }
    return done;
}

/* All that wait; false: the last one was among them. */
static bool requests_carry_out(struct disk_posix *posix)
{
    struct disk_io io;
    while (ring_pop(&posix->requests, &io)) {
        if (io.bytes == 0) {
            return false;
        }
        struct disk_done done = request_carry_out(posix, &io);
        bool pushed = ring_push(&posix->results, &done);
        ASSERT(pushed);
        event_count(posix->event, 1);
    }
    return true;
}

static void *thread_main(void *argument)
{
    struct disk_posix *posix = argument;
    while (requests_carry_out(posix)) {
        uint64_t batches;
        ssize_t bytes = read(posix->wake, &batches, sizeof(batches));
        ASSERT(bytes == (ssize_t)sizeof(batches));
    }
    return NULL;
}

/* ---- The seam. ---- */

static void request_push(struct disk_posix *posix, const struct disk_io *io)
{
    ASSERT(io->bytes > 0);
    ASSERT(io->bytes % PAGE_BYTES == 0);
    ASSERT(io->offset % PAGE_BYTES == 0);
    ASSERT((uintptr_t)io->buffer % PAGE_BYTES == 0);
    ASSERT(io->offset <= posix->disk.bytes);
    ASSERT(io->bytes <= posix->disk.bytes - io->offset);
    bool pushed = ring_push(&posix->requests, io);
    ASSERT(pushed);
}

static uint32_t posix_submit(struct disk *disk, const struct disk_io *ios, uint32_t count)
{
    struct disk_posix *posix = of_disk(disk);
    for (uint32_t i = 0; i < count; i++) {
        request_push(posix, &ios[i]);
    }
    if (count > 0) {
        event_count(posix->wake, 1);
    }
    return count;
}

static uint32_t posix_poll(struct disk *disk, struct disk_done *done, uint32_t done_max)
{
    struct disk_posix *posix = of_disk(disk);
    if (posix->ready == 0) {
        uint64_t value = 0;
        ssize_t bytes = read(posix->event, &value, sizeof(value));
        ASSERT(bytes == (ssize_t)sizeof(value) || (bytes < 0 && errno == EAGAIN));
        ASSERT(value <= disk->in_flight);
        posix->ready = (uint32_t)value;
    }
    uint32_t count = posix->ready < done_max ? posix->ready : done_max;
    for (uint32_t i = 0; i < count; i++) {
        bool popped = ring_pop(&posix->results, &done[i]);
        ASSERT(popped);
    }
    posix->ready -= count;
    return count;
}

static int posix_wait_fd(const struct disk *disk)
{
    return ((const struct disk_posix *)(const void *)disk)->event;
}

static void descriptors_close(struct disk_posix *posix)
{
    if (posix->wake >= 0) {
        (void)close(posix->wake);
    }
    if (posix->event >= 0) {
        (void)close(posix->event);
    }
    disk_file_close(&posix->file);
}

static void posix_close(struct disk *disk)
{
    struct disk_posix *posix = of_disk(disk);
    ASSERT(posix->ready == 0);
    const struct disk_io last = {.bytes = 0};
    bool pushed = ring_push(&posix->requests, &last);
    ASSERT(pushed);
    event_count(posix->wake, 1);
    int result = pthread_join(posix->thread, NULL);
    ASSERT(result == 0);
    descriptors_close(posix);
    disk->ops = NULL; /* The bytes stay with the struct mem. */
}

static const struct disk_ops posix_ops = {
    .submit = posix_submit,
    .poll = posix_poll,
    .wait_fd = posix_wait_fd,
    .close = posix_close,
};

/* ---- Opening. ---- */

/* On a stack of `mem`'s, with every signal blocked: they are for the threads that wait for them. */
static int thread_start(struct disk_posix *posix, void *stack)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        return -error;
    }
    error = pthread_attr_setstack(&attributes, stack, DISK_POSIX_STACK_BYTES);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    int result = pthread_sigmask(SIG_SETMASK, &all, &before);
    ASSERT(result == 0);
    if (error == 0) {
        error = pthread_create(&posix->thread, &attributes, thread_main, posix);
    }
    result = pthread_sigmask(SIG_SETMASK, &before, NULL);
    ASSERT(result == 0);
    (void)pthread_attr_destroy(&attributes);
    if (error == 0) {
        (void)pthread_setname_np(posix->thread, "thole-disk"); /* For top; no matter if not. */
    }
    return -error;
}

static int thread_open(struct disk_posix *posix, void *stack, struct fault *fault)
{
    posix->wake = eventfd(0, EFD_CLOEXEC);
    posix->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (posix->wake < 0 || posix->event < 0) {
        int error = errno;
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot make the descriptors of the disk's thread: %s; see `ulimit -n`",
                  strerror(error));
        return -error;
    }
    int result = thread_start(posix, stack);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot make the disk's thread: %s; see `ulimit -u`",
                  strerror(-result));
    }
    return result;
}

uint64_t disk_posix_memory_bytes(void)
{
    uint64_t queues = DISK_QUEUE_MAX * (sizeof(struct disk_io) + sizeof(struct disk_done));
    return sizeof(struct disk_posix) + queues + DISK_POSIX_STACK_BYTES + PAGE_BYTES + 3 * 64ull;
}

int disk_posix_open(struct disk **disk,
                    struct mem *mem,
                    const struct disk_posix_config *config,
                    struct fault *fault)
{
    *disk = NULL;
    struct disk_file file;
    int result = disk_file_open(config->path, config->access, &file, fault);
    if (result != 0) {
        return result;
    }
    struct disk_posix *posix = mem_take(mem, "posix disk", 1, sizeof(struct disk_posix), 64);
    posix->disk =
        (struct disk){.ops = &posix_ops, .bytes = file.bytes, .durable = true, .posix = true};
    posix->file = file;
    ring_init(&posix->requests, mem, DISK_QUEUE_MAX, sizeof(struct disk_io));
    ring_init(&posix->results, mem, DISK_QUEUE_MAX, sizeof(struct disk_done));
    void *stack = mem_take(mem, "posix disk's stack", 1, DISK_POSIX_STACK_BYTES, PAGE_BYTES);
    result = thread_open(posix, stack, fault);
    if (result != 0) {
        descriptors_close(posix);
        return result;
    }
    *disk = &posix->disk;
    ASSERT(posix->disk.in_flight == 0);
    return 0;
}
