/* disk.c: one request, submitted and awaited. See disk.h. */
#include "storage/disk.h"

#include "engine/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

/* A wait for a descriptor is cut here, so that a wakeup that a kernel loses costs this once. */
#define TRANSFER_WAIT_MS 100

#define TRANSFER_WAIT_NS (TRANSFER_WAIT_MS * 1000000ull)

/* Give way to whoever completes the request: a poller that keeps the CPU would delay the kernel's
 * own worker by a scheduler tick. Returns how long that was, at most what was meant: a process that
 * was stopped meanwhile has not waited for its disk. */
static uint64_t transfer_wait(const struct disk *disk)
{
    uint64_t begin_ns = clock_now_ns();
    struct pollfd waited = {.fd = disk_wait_fd(disk), .events = POLLIN};
    if (waited.fd < 0) {
        (void)sched_yield();
    } else {
        (void)poll(&waited, 1, TRANSFER_WAIT_MS);
    }
    uint64_t took_ns = clock_now_ns() - begin_ns;
    return took_ns < TRANSFER_WAIT_NS ? took_ns : TRANSFER_WAIT_NS;
}

int disk_transfer(struct disk *disk, const struct disk_io *io)
{
    if (disk->hangs) {
        return -ETIMEDOUT;
    }
    ASSERT(disk->in_flight == 0);
    if (disk_submit(disk, io, 1) != 1) {
        ASSERT(disk->in_flight == 0);
        return -EAGAIN;
    }
    struct disk_done done;
    uint64_t waited_ns = 0;
    while (disk_poll(disk, &done, 1) == 0) {
        if (waited_ns >= DISK_DEAD_NS) {
            disk->hangs = true;
            return -ETIMEDOUT;
        }
        waited_ns += transfer_wait(disk);
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

void disk_tell(const struct disk *disk, const char *what, int result, struct fault *fault)
{
    ASSERT(result < 0);
    if (disk->hangs) {
        fault_set(fault, FAULT_INTERNAL,
                  "%s: a request to its disk has not ended for %llu s; look at the kernel's log "
                  "(`dmesg`) and at the disk before trying again",
                  what, DISK_DEAD_NS / CLOCK_NS_PER_S);
    } else {
        fault_set(fault, FAULT_INTERNAL, "%s: %s", what, strerror(-result));
    }
}

int disk_check(const struct disk *disk, struct fault *fault)
{
    if (disk->hangs) {
        disk_tell(disk, "the log could not be read", -ETIMEDOUT, fault);
        return -ETIMEDOUT;
    }
    return 0;
}
