/* disk_memory.c: see disk_memory.h. */
#include "storage/disk_memory.h"

#include <string.h>

struct disk_memory {
    struct disk disk; /* First: the seam. */
    uint8_t *image;
    uint32_t done_count;
    struct disk_done done[DISK_QUEUE_MAX]; /* Oldest first. */
};

static struct disk_memory *of_disk(struct disk *disk)
{
    return (struct disk_memory *)(void *)disk;
}

static void request_carry_out(struct disk_memory *memory, const struct disk_io *io)
{
    ASSERT(io->bytes > 0);
    ASSERT(io->bytes % PAGE_BYTES == 0);
    ASSERT(io->offset % PAGE_BYTES == 0);
    ASSERT((uintptr_t)io->buffer % PAGE_BYTES == 0);
    ASSERT(io->offset <= memory->disk.bytes);
    ASSERT(io->bytes <= memory->disk.bytes - io->offset);

    if (io->op == DISK_WRITE) {
        memcpy(memory->image + io->offset, io->buffer, io->bytes);
    } else {
        memcpy(io->buffer, memory->image + io->offset, io->bytes);
    }
}

static uint32_t memory_submit(struct disk *disk, const struct disk_io *ios, uint32_t count)
{
    struct disk_memory *memory = of_disk(disk);
    ASSERT(memory->done_count + count <= DISK_QUEUE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        request_carry_out(memory, &ios[i]);
        memory->done[memory->done_count++] = (struct disk_done){.cookie = ios[i].cookie};
    }
    return count;
}

static uint32_t memory_poll(struct disk *disk, struct disk_done *done, uint32_t done_max)
{
    struct disk_memory *memory = of_disk(disk);
    uint32_t count = memory->done_count < done_max ? memory->done_count : done_max;
    uint32_t rest = memory->done_count - count;
    memcpy(done, memory->done, count * sizeof(done[0]));
    memmove(memory->done, memory->done + count, rest * sizeof(done[0]));
    memory->done_count = rest;
    return count;
}

static int memory_wait_fd(const struct disk *disk)
{
    ASSERT(!disk->durable);
    return -1;
}

static void memory_close(struct disk *disk)
{
    ASSERT(of_disk(disk)->done_count == 0);
    disk->ops = NULL; /* The bytes stay with the struct mem. */
}

static const struct disk_ops memory_ops = {
    .submit = memory_submit,
    .poll = memory_poll,
    .wait_fd = memory_wait_fd,
    .close = memory_close,
};

uint64_t disk_memory_memory_bytes(uint64_t bytes)
{
    return bytes + 2 * PAGE_BYTES; /* The struct and the image's alignment. */
}
_Static_assert(sizeof(struct disk_memory) <= PAGE_BYTES, "fits what is asked for");

struct disk *disk_memory_open(struct mem *mem, uint64_t bytes)
{
    ASSERT(bytes > 0);
    ASSERT(bytes % PAGE_BYTES == 0);
    struct disk_memory *memory = mem_take(mem, "memory disk", 1, sizeof(struct disk_memory), 64);
    memory->image =
        mem_take(mem, "memory disk's bytes", bytes / PAGE_BYTES, PAGE_BYTES, PAGE_BYTES);
    memory->disk = (struct disk){.ops = &memory_ops, .bytes = bytes, .durable = false};
    return &memory->disk;
}
