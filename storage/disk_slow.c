/* disk_slow.c: see disk_slow.h.
 *
 * Invariant: what is held is a queue in the order of submission, with release times that never
 * fall; while it is not empty nothing passes it. The timer stands at the first release time, so
 * that whoever waits for the descriptor wakes for it.
 */
#include "storage/disk_slow.h"

#include "engine/base/clock.h"
#include "engine/base/prng.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct held {
    struct disk_io io;
    uint64_t release_ns;
};

struct disk_slow {
    struct disk disk; /* First: the seam. */
    struct disk *below;
    const struct disk_slow_numbers *numbers;
    uint64_t (*now_ns)(void);
    int wait; /* Readable when the disk below or the timer is. */
    int timer;
    uint64_t armed_ns; /* 0: the timer is off. */
    uint64_t last_ns;  /* The release time of whatever was held last. */
    uint64_t turn;
    uint64_t hits;
    struct prng prng;
    uint32_t first; /* Of the ring `held`. */
    uint32_t held_count;
    struct held held[DISK_QUEUE_MAX];
};
_Static_assert((DISK_QUEUE_MAX & (DISK_QUEUE_MAX - 1)) == 0, "the ring wraps by a mask");

static struct disk_slow *of_disk(struct disk *disk)
{
    return (struct disk_slow *)(void *)disk;
}

static uint64_t number(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_acquire);
}

static uint64_t delay_ns(const struct disk_slow *slow)
{
    uint64_t delay = number(&slow->numbers->delay_ns);
    return delay < DISK_SLOW_NS_MAX ? delay : DISK_SLOW_NS_MAX;
}

/* Whether this write is hit. */
static bool draw(struct disk_slow *slow)
{
    uint64_t share = number(&slow->numbers->share);
    bool hit = prng_chance(&slow->prng, share < DISK_SLOW_ALL ? (uint32_t)share : DISK_SLOW_ALL);
    slow->hits += hit;
    return hit;
}

static void take_turn(struct disk_slow *slow)
{
    uint64_t turn = number(&slow->numbers->turn);
    if (turn != slow->turn) {
        slow->turn = turn;
        prng_init(&slow->prng, number(&slow->numbers->seed));
    }
}

static void hold(struct disk_slow *slow, const struct disk_io *io, uint64_t release_ns)
{
    ASSERT(slow->held_count < DISK_QUEUE_MAX);
    slow->last_ns = release_ns > slow->last_ns ? release_ns : slow->last_ns;
    slow->held[(slow->first + slow->held_count++) & (DISK_QUEUE_MAX - 1)] =
        (struct held){.io = *io, .release_ns = slow->last_ns};
}

/* Hand down what is due; without a delay everything is. */
static void release(struct disk_slow *slow, uint64_t now_ns)
{
    bool off = delay_ns(slow) == 0;
    while (slow->held_count > 0) {
        const struct held *held = &slow->held[slow->first];
        if ((!off && held->release_ns > now_ns) || disk_submit(slow->below, &held->io, 1) == 0) {
            break;
        }
        slow->first = (slow->first + 1) & (DISK_QUEUE_MAX - 1);
        slow->held_count--;
    }
    slow->last_ns = slow->held_count > 0 ? slow->last_ns : 0;
}

static void arm(struct disk_slow *slow)
{
    uint64_t at_ns = slow->held_count > 0 ? slow->held[slow->first].release_ns : 0;
    if (at_ns == slow->armed_ns) {
        return;
    }
    struct itimerspec timer = {.it_value = {.tv_sec = (time_t)(at_ns / CLOCK_NS_PER_S),
                                            .tv_nsec = (long)(at_ns % CLOCK_NS_PER_S)}};
    int result = timerfd_settime(slow->timer, TFD_TIMER_ABSTIME, &timer, NULL);
    ASSERT(result == 0);
    slow->armed_ns = at_ns;
}

static uint32_t slow_submit(struct disk *disk, const struct disk_io *ios, uint32_t count)
{
    struct disk_slow *slow = of_disk(disk);
    uint64_t delay = delay_ns(slow);
    if (LIKELY(delay == 0 && slow->held_count == 0)) {
        return disk_submit(slow->below, ios, count);
    }
    uint64_t now_ns = slow->now_ns();
    take_turn(slow);
    release(slow, now_ns);
    for (uint32_t i = 0; i < count; i++) {
        bool hit = delay > 0 && ios[i].op == DISK_WRITE && draw(slow);
        hold(slow, &ios[i], hit ? now_ns + delay : now_ns);
    }
    release(slow, now_ns);
    arm(slow);
    return count;
}

static uint32_t slow_poll(struct disk *disk, struct disk_done *done, uint32_t done_max)
{
    struct disk_slow *slow = of_disk(disk);
    if (UNLIKELY(slow->held_count > 0)) {
        release(slow, slow->now_ns());
        arm(slow);
    }
    return disk_poll(slow->below, done, done_max);
}

static int slow_wait_fd(const struct disk *disk)
{
    return ((const struct disk_slow *)(const void *)disk)->wait;
}

static void slow_close(struct disk *disk)
{
    struct disk_slow *slow = of_disk(disk);
    ASSERT(slow->held_count == 0);
    disk_close(slow->below);
    (void)close(slow->timer);
    (void)close(slow->wait);
    disk->ops = NULL; /* The bytes stay with the struct mem. */
}

static const struct disk_ops slow_ops = {
    .submit = slow_submit,
    .poll = slow_poll,
    .wait_fd = slow_wait_fd,
    .close = slow_close,
};

static bool watch(int wait, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return fd < 0 || epoll_ctl(wait, EPOLL_CTL_ADD, fd, &event) == 0;
}

static int open_descriptors(struct disk_slow *slow, struct fault *fault)
{
    slow->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    slow->wait = epoll_create1(EPOLL_CLOEXEC);
    if (slow->timer >= 0 && slow->wait >= 0 && watch(slow->wait, slow->timer) &&
        watch(slow->wait, disk_wait_fd(slow->below))) {
        return 0;
    }
    int error = errno;
    fault_set(fault, FAULT_ENVIRONMENT, "cannot make the timer of a slow disk: %s; see `ulimit -n`",
              strerror(error));
    if (slow->timer >= 0) {
        (void)close(slow->timer);
    }
    if (slow->wait >= 0) {
        (void)close(slow->wait);
    }
    return -error;
}

uint64_t disk_slow_memory_bytes(void)
{
    return sizeof(struct disk_slow) + 64;
}

int disk_slow_open(struct disk **disk,
                   struct mem *mem,
                   const struct disk_slow_config *config,
                   struct fault *fault)
{
    ASSERT(config->below->in_flight == 0);
    ASSERT(config->numbers->magic == DISK_SLOW_MAGIC);
    struct disk_slow *slow = mem_take(mem, "slow disk", 1, sizeof(struct disk_slow), 64);
    *slow = (struct disk_slow){
        .disk = *config->below,
        .below = config->below,
        .numbers = config->numbers,
        .now_ns = config->now_ns != NULL ? config->now_ns : clock_now_ns,
        .turn = number(&config->numbers->turn),
    };
    slow->disk.ops = &slow_ops;
    slow->disk.delay_ns = &config->numbers->delay_ns;
    prng_init(&slow->prng, number(&config->numbers->seed));
    int result = open_descriptors(slow, fault);
    *disk = result == 0 ? &slow->disk : NULL;
    return result;
}

uint64_t disk_slow_hits(const struct disk *disk)
{
    ASSERT(disk->ops == &slow_ops);
    return ((const struct disk_slow *)(const void *)disk)->hits;
}
