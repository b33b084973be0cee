/* floor_disk.c: see floor_disk.h. */
#define _GNU_SOURCE /* O_DIRECT and what liburing.h asks for */
#include "bench/floor_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RING_FLAGS                                                                                 \
    (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG)

struct floor_disk {
    struct io_uring ring;
    int fd;
    int event; /* -1: none. */
    uint32_t in_flight;
    struct {
        uint64_t cookie;
        uint32_t bytes; /* 0: free. */
    } writes[DISK_QUEUE_MAX];
};

static int ring_open(struct floor_disk *disk)
{
    int result = io_uring_queue_init(DISK_QUEUE_MAX, &disk->ring, RING_FLAGS);
    if (result == -EINVAL) {
        result = io_uring_queue_init(DISK_QUEUE_MAX, &disk->ring, 0); /* Before Linux 6.1. */
    }
    if (result != 0) {
        return result;
    }
    result = io_uring_register_files(&disk->ring, &disk->fd, 1);
    if (result == 0 && disk->event >= 0) {
        result = io_uring_register_eventfd(&disk->ring, disk->event);
    }
    if (result != 0) {
        io_uring_queue_exit(&disk->ring);
    }
    return result;
}

int floor_disk_open(struct floor_disk **out, const char *path, int event, struct fault *fault)
{
    *out = NULL;
    struct floor_disk *disk = calloc(1, sizeof(*disk));
    if (disk == NULL) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory for the floor's writer");
        return -ENOMEM;
    }
    disk->event = event;
    disk->fd = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    int result = disk->fd < 0 ? -errno : ring_open(disk);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the floor's writer cannot open %s with O_DIRECT and io_uring: %s", path,
                  strerror(-result));
        if (disk->fd >= 0) {
            (void)close(disk->fd);
        }
        free(disk);
        return result;
    }
    *out = disk;
    return 0;
}

void floor_disk_write(
    struct floor_disk *disk, uint64_t offset, const void *buffer, uint32_t bytes, uint64_t cookie)
{
    ASSERT(bytes > 0);
    ASSERT(disk->in_flight < DISK_QUEUE_MAX);
    uint32_t number = 0;
    while (disk->writes[number].bytes != 0) {
        number++;
    }
    ASSERT(number < DISK_QUEUE_MAX);
    disk->writes[number].cookie = cookie;
    disk->writes[number].bytes = bytes;
    disk->in_flight++;

    struct io_uring_sqe *sqe = io_uring_get_sqe(&disk->ring);
    ASSERT(sqe != NULL);
    io_uring_prep_write(sqe, 0, buffer, bytes, offset);
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = number;
    int submitted = io_uring_submit(&disk->ring);
    ASSERT(submitted == 1);
}

uint32_t floor_disk_poll(struct floor_disk *disk, uint64_t *cookies, uint32_t cookies_max)
{
    uint32_t count = 0;
    struct io_uring_cqe *cqe;
    while (count < cookies_max && io_uring_peek_cqe(&disk->ring, &cqe) == 0) {
        ASSERT(cqe->user_data < DISK_QUEUE_MAX);
        ASSERT(cqe->res > 0);
        ASSERT((uint32_t)cqe->res == disk->writes[cqe->user_data].bytes);
        cookies[count++] = disk->writes[cqe->user_data].cookie;
        disk->writes[cqe->user_data].bytes = 0;
        disk->in_flight--;
        io_uring_cqe_seen(&disk->ring, cqe);
    }
    if (count > 0 && disk->event >= 0) { /* Unreadable again: what came since, a poll will see. */
        uint64_t value;
        ssize_t bytes = read(disk->event, &value, sizeof(value));
        ASSERT(bytes == (ssize_t)sizeof(value) || (bytes < 0 && errno == EAGAIN));
    }
    return count;
}

void floor_disk_wait(struct floor_disk *disk)
{
    ASSERT(disk->in_flight > 0);
    struct io_uring_cqe *cqe;
    int result = io_uring_wait_cqe(&disk->ring, &cqe);
    ASSERT(result == 0 || result == -EINTR);
}

void floor_disk_close(struct floor_disk *disk)
{
    ASSERT(disk->in_flight == 0);
    io_uring_queue_exit(&disk->ring);
    (void)close(disk->fd);
    free(disk);
}
