/* disk_slow_numbers.c: the numbers of a slow disk, set and mapped. See disk_slow.h. */
#include "storage/disk_slow.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void disk_slow_set(struct disk_slow_numbers *numbers,
                   uint64_t delay_ns,
                   uint64_t share,
                   uint64_t seed)
{
    ASSERT(delay_ns <= DISK_SLOW_NS_MAX);
    ASSERT(share <= DISK_SLOW_ALL);
    numbers->magic = DISK_SLOW_MAGIC;
    atomic_store_explicit(&numbers->share, share, memory_order_relaxed);
    atomic_store_explicit(&numbers->seed, seed, memory_order_relaxed);
    atomic_store_explicit(&numbers->delay_ns, delay_ns, memory_order_release);
    atomic_fetch_add_explicit(&numbers->turn, 1, memory_order_release);
}

/* 0, or -errno; `numbers` are mapped. */
static int map(int fd, struct disk_slow_numbers **numbers)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return -errno;
    }
    bool is_new = status.st_size == 0;
    if (is_new && ftruncate(fd, PAGE_BYTES) != 0) {
        return -errno;
    }
    if (!is_new && status.st_size != PAGE_BYTES) {
        return -EINVAL;
    }
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return -errno;
    }
    *numbers = page;
    if (is_new) {
        disk_slow_set(*numbers, 0, DISK_SLOW_ALL, 1);
    }
    if ((*numbers)->magic == DISK_SLOW_MAGIC) {
        return 0;
    }
    (void)munmap(page, PAGE_BYTES);
    return -EINVAL;
}

int disk_slow_map(const char *path, struct disk_slow_numbers **numbers, struct fault *fault)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int result = fd < 0 ? -errno : map(fd, numbers);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (result == -EINVAL) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%.200s holds something else than the numbers of a slow disk: name another file",
                  path);
    } else if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot map the numbers of a slow disk, %.200s: %s",
                  path, strerror(-result));
    }
    return result;
}
