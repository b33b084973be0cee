/* disk.c: one request, submitted and awaited. See disk.h. */
#include "storage/disk.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>

/* A wait for a descriptor is cut here, so that a wakeup that a kernel loses costs this once. */
#define TRANSFER_WAIT_MS 100

/* Give way to whoever completes the request: a poller that keeps the CPU would delay the kernel's
 * own worker by a scheduler tick. */
static void transfer_wait(const struct disk *disk)
{
    struct pollfd waited = {.fd = disk_wait_fd(disk), .events = POLLIN};
    if (waited.fd < 0) {
        (void)sched_yield();
        return;
    }
    (void)poll(&waited, 1, TRANSFER_WAIT_MS);
}

int disk_transfer(struct disk *disk, const struct disk_io *io)
{
    ASSERT(disk->in_flight == 0);
    if (disk_submit(disk, io, 1) != 1) {
        ASSERT(disk->in_flight == 0);
        return -EAGAIN;
    }
    struct disk_done done;
    while (disk_poll(disk, &done, 1) == 0) {
        transfer_wait(disk);
    }
    ASSERT(done.cookie == io->cookie);
    ASSERT(done.result <= 0);
    ASSERT(disk->in_flight == 0);
    return done.result;
}

int disk_read(struct disk *disk, uint64_t offset, uint32_t bytes, void *buffer)
{
    if (offset > disk->bytes || bytes > disk->bytes - offset) {
        return -EIO;
    }
    const struct disk_io io = {.op = DISK_READ, .bytes = bytes, .offset = offset, .buffer = buffer};
    return disk_transfer(disk, &io);
}
