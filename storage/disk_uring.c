/* disk_uring.c: see disk_uring.h. The only file of the engine that includes liburing.
 *
 * A request in flight owns one slot; the slot's number is the ring's user data. Slots and ring
 * entries are DISK_QUEUE_MAX both, so neither can run out before the seam's own bound does.
 */
#define _GNU_SOURCE /* O_DIRECT and what liburing.h asks for */
#include "storage/disk_uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel pins at most this much as one buffer. */
#define REGION_BYTES_MAX (1ull << 30)

/* Completions run when this thread asks and no inter-processor interrupt announces them (submit to
 * completion 59 -> 45 us, docs/STORAGE.md); TASKRUN_FLAG tells from memory whether to ask. The ring
 * starts disabled: the thread that enables it, at its first submit, is its single issuer. */
#define RING_FLAGS                                                                                 \
    (IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |           \
     IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL)
#define RING_FLAGS_OLD IORING_SETUP_R_DISABLED /* Before Linux 6.1. */

struct slot {
    uint64_t cookie;
    uint32_t bytes;
    bool busy;
};

struct disk_uring {
    struct disk disk; /* First: the seam. */
    struct io_uring ring;
    struct disk_file file;
    int event; /* Readable from a completion until the poll that takes it. */
    bool enabled;
    uint8_t *region; /* Registered part of the caller's memory. */
    uint64_t region_bytes;
    uint32_t free_count;
    uint8_t free[DISK_QUEUE_MAX]; /* Numbers of the slots that are not busy. */
    struct slot slots[DISK_QUEUE_MAX];
};
_Static_assert(DISK_QUEUE_MAX <= UINT8_MAX, "a slot's number fits its byte");
_Static_assert(sizeof(struct disk_uring) <= PAGE_BYTES, "fits what is asked for");

static struct disk_uring *of_disk(struct disk *disk)
{
    return (struct disk_uring *)(void *)disk;
}

/* Make the calling thread the ring's single issuer. By the bare system call, because liburing 2.3's
 * shared library does not export its io_uring_enable_rings(). */
static void ring_enable(struct disk_uring *uring)
{
    long result =
        syscall(SYS_io_uring_register, uring->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    ASSERT(result == 0);
    uring->enabled = true;
}

/* Enter the kernel with what is queued. What it does not take now stays queued, and uring_poll()
 * asks again; only a programmer's error (a second thread, a closed ring) is not of that kind. */
static void ring_submit(struct disk_uring *uring)
{
    int result = io_uring_submit(&uring->ring);
    if (UNLIKELY(result < 0)) {
        ASSERT(result != -EEXIST); /* Another thread than the first submits. */
        ASSERT(result == -EAGAIN || result == -EBUSY || result == -EINTR || result == -ENOMEM);
    }
}

static bool region_covers(const struct disk_uring *uring, const struct disk_io *io)
{
    uintptr_t start = (uintptr_t)uring->region;
    uintptr_t at = (uintptr_t)io->buffer;
    return at >= start && at - start + io->bytes <= uring->region_bytes;
}

static void request_queue(struct disk_uring *uring, const struct disk_io *io)
{
    ASSERT(io->bytes > 0);
    ASSERT(io->bytes % PAGE_BYTES == 0);
    ASSERT(io->offset % PAGE_BYTES == 0);
    ASSERT((uintptr_t)io->buffer % PAGE_BYTES == 0);
    ASSERT(io->offset <= uring->disk.bytes);
    ASSERT(io->bytes <= uring->disk.bytes - io->offset);
    ASSERT(uring->free_count > 0);

    uint8_t number = uring->free[--uring->free_count];
    ASSERT(!uring->slots[number].busy);
    uring->slots[number] = (struct slot){.cookie = io->cookie, .bytes = io->bytes, .busy = true};

    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    ASSERT(sqe != NULL);
    bool fixed = region_covers(uring, io);
    if (io->op == DISK_WRITE && fixed) {
        io_uring_prep_write_fixed(sqe, 0, io->buffer, io->bytes, io->offset, 0);
    } else if (io->op == DISK_WRITE) {
        io_uring_prep_write(sqe, 0, io->buffer, io->bytes, io->offset);
    } else if (fixed) {
        io_uring_prep_read_fixed(sqe, 0, io->buffer, io->bytes, io->offset, 0);
    } else {
        io_uring_prep_read(sqe, 0, io->buffer, io->bytes, io->offset);
    }
    sqe->flags |= IOSQE_FIXED_FILE; /* Number 0: the only one. */
    sqe->user_data = number;
}

static uint32_t uring_submit(struct disk *disk, const struct disk_io *ios, uint32_t count)
{
    struct disk_uring *uring = of_disk(disk);
    if (UNLIKELY(!uring->enabled)) {
        ring_enable(uring);
    }
    for (uint32_t i = 0; i < count; i++) {
        request_queue(uring, &ios[i]);
    }
    if (count > 0) {
        ring_submit(uring);
    }
    return count;
}

static struct disk_done completion_take(struct disk_uring *uring, const struct io_uring_cqe *cqe)
{
    ASSERT(cqe->user_data < DISK_QUEUE_MAX);
    struct slot *slot = &uring->slots[cqe->user_data];
    ASSERT(slot->busy);

    struct disk_done done = {.cookie = slot->cookie, .result = cqe->res};
    if (cqe->res >= 0) {
        done.result = (uint32_t)cqe->res == slot->bytes ? 0 : -EIO;
    }
    slot->busy = false;
    ASSERT(uring->free_count < DISK_QUEUE_MAX);
    uring->free[uring->free_count++] = (uint8_t)cqe->user_data;
    return done;
}

/* Make the descriptor unreadable again. A completion that comes between the peek and this is seen
 * by the next poll: whoever waits does so only after a poll that found nothing. */
static void event_clear(const struct disk_uring *uring)
{
    uint64_t value;
    ssize_t bytes = read(uring->event, &value, sizeof(value));
    ASSERT(bytes == (ssize_t)sizeof(value) || (bytes < 0 && errno == EAGAIN));
}

static uint32_t uring_poll(struct disk *disk, struct disk_done *done, uint32_t done_max)
{
    struct disk_uring *uring = of_disk(disk);
    if (UNLIKELY(io_uring_sq_ready(&uring->ring) > 0)) {
        ring_submit(uring);
    }
    struct io_uring_cqe *cqes[DISK_QUEUE_MAX];
    uint32_t wanted = done_max < DISK_QUEUE_MAX ? done_max : DISK_QUEUE_MAX;
    uint32_t count = io_uring_peek_batch_cqe(&uring->ring, cqes, wanted);
    for (uint32_t i = 0; i < count; i++) {
        done[i] = completion_take(uring, cqes[i]);
    }
    io_uring_cq_advance(&uring->ring, count);
    if (count > 0) {
        event_clear(uring);
    }
    return count;
}

static int uring_wait_fd(const struct disk *disk)
{
    const struct disk_uring *uring = (const struct disk_uring *)(const void *)disk;
    return uring->event;
}

static void uring_close(struct disk *disk)
{
    struct disk_uring *uring = of_disk(disk);
    ASSERT(uring->free_count == DISK_QUEUE_MAX);
    /* The ring is taken down later, by the kernel; a device would be in use until then. */
    (void)io_uring_unregister_files(&uring->ring);
    io_uring_queue_exit(&uring->ring);
    (void)close(uring->event);
    disk_file_close(&uring->file);
    uring->disk.ops = NULL; /* The bytes stay with the struct mem. */
}

static const struct disk_ops uring_ops = {
    .submit = uring_submit,
    .poll = uring_poll,
    .wait_fd = uring_wait_fd,
    .close = uring_close,
};

/* kernel.io_uring_disabled: '0', '1', '2', or '?' on a kernel that does not have it. */
static char sysctl_io_uring_disabled(void)
{
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    if (file == NULL) {
        return '?';
    }
    int value = fgetc(file);
    (void)fclose(file);
    return value >= '0' && value <= '9' ? (char)value : '?';
}

static void ring_fault(int result, struct fault *fault)
{
    char disabled = sysctl_io_uring_disabled();
    if (result == -ENOSYS) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "this kernel has no io_uring (io_uring_setup: ENOSYS), or a container's seccomp "
                  "profile hides it; use Linux 5.15 or newer, or run the container with "
                  "--security-opt seccomp=unconfined");
    } else if (disabled == '1' || disabled == '2') {
        fault_set(
            fault, FAULT_ENVIRONMENT,
            "io_uring is switched off here (kernel.io_uring_disabled is %c); switch it on with",
            disabled);
        fault_mend(fault, "sudo sysctl kernel.io_uring_disabled=0");
    } else if (result == -EPERM || result == -EACCES) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "may not use io_uring (%s): kernel.io_uring_disabled is %c, so a seccomp profile "
                  "or a security module forbids it; in a container, run it with "
                  "--security-opt seccomp=unconfined",
                  strerror(-result), disabled);
    } else if (result == -ENOMEM) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "no memory for an io_uring; on Linux before 5.12 raise the locked memory limit "
                  "(`ulimit -l`), else free some memory");
    } else {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot set up an io_uring: %s", strerror(-result));
    }
}

/* The log's file as number 0, and an eventfd to wait on: a poll() of the ring itself is not woken
 * while completions are deferred to this thread (seen on Linux 6.18). */
static int ring_register(struct disk_uring *uring)
{
    uring->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (uring->event < 0) {
        return -errno;
    }
    int result = io_uring_register_files(&uring->ring, &uring->file.fd, 1);
    if (result == 0) {
        result = io_uring_register_eventfd(&uring->ring, uring->event);
    }
    if (result != 0) {
        (void)close(uring->event);
    }
    return result;
}

static int ring_init(struct io_uring *ring, bool *modern, struct fault *fault)
{
    int result = io_uring_queue_init(DISK_QUEUE_MAX, ring, RING_FLAGS);
    *modern = result == 0;
    if (result == -EINVAL) {
        result = io_uring_queue_init(DISK_QUEUE_MAX, ring, RING_FLAGS_OLD);
    }
    if (result != 0) {
        ring_fault(result, fault);
    }
    return result;
}

int disk_uring_probe(bool *modern, struct fault *fault)
{
    struct io_uring ring;
    int result = ring_init(&ring, modern, fault);
    if (result == 0) {
        io_uring_queue_exit(&ring);
    }
    return result;
}

static int ring_open(struct disk_uring *uring, struct fault *fault)
{
    bool modern;
    int result = ring_init(&uring->ring, &modern, fault);
    if (result != 0) {
        return result;
    }
    result = ring_register(uring);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot register the log's file with io_uring: %s; see `ulimit -n`",
                  strerror(-result));
        io_uring_queue_exit(&uring->ring);
    }
    return result;
}

/* Pin the region once instead of at every request. Not being allowed to is no fault. */
static void region_register(struct disk_uring *uring, const struct disk_uring_config *config)
{
    if (config->region == NULL || config->region_bytes == 0) {
        return;
    }
    uint64_t bytes =
        config->region_bytes < REGION_BYTES_MAX ? config->region_bytes : REGION_BYTES_MAX;
    struct iovec whole = {.iov_base = config->region, .iov_len = bytes};
    if (io_uring_register_buffers(&uring->ring, &whole, 1) != 0) {
        return;
    }
    uring->region = config->region;
    uring->region_bytes = bytes;
    uring->disk.registered = true;
}

uint64_t disk_uring_memory_bytes(void)
{
    return sizeof(struct disk_uring) + 64;
}

int disk_uring_open(struct disk **disk,
                    struct mem *mem,
                    const struct disk_uring_config *config,
                    struct fault *fault)
{
    *disk = NULL;
    struct disk_file file;
    int result = disk_file_open(config->path, config->access, &file, fault);
    if (result != 0) {
        return result;
    }
    struct disk_uring *uring = mem_take(mem, "io_uring disk", 1, sizeof(struct disk_uring), 64);
    uring->disk = (struct disk){.ops = &uring_ops, .bytes = file.bytes, .durable = true};
    uring->file = file;
    uring->free_count = DISK_QUEUE_MAX;
    for (uint32_t i = 0; i < DISK_QUEUE_MAX; i++) {
        uring->free[i] = (uint8_t)i;
    }
    result = ring_open(uring, fault);
    if (result != 0) {
        disk_file_close(&uring->file);
        return result;
    }
    region_register(uring, config);
    *disk = &uring->disk;
    ASSERT(uring->disk.in_flight == 0);
    return 0;
}

int disk_uring_create(const char *path, uint64_t bytes, struct fault *fault)
{
    return disk_file_create(path, bytes, fault);
}
