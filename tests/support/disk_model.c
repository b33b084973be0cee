/* disk_model.c: see disk_model.h. */
#include "tests/support/disk_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MARK_TOUCHED    1u
#define MARK_UNREADABLE 2u
#define MILLION         1000000u

static struct disk_model *of_disk(struct disk *disk)
{
    return (struct disk_model *)(void *)disk;
}

uint8_t *disk_model_page(struct disk_model *model, uint64_t offset)
{
    uint64_t number = offset / PAGE_BYTES;
    ASSERT(number < model->page_count);
    if ((model->marks[number] & MARK_TOUCHED) == 0) {
        model->marks[number] |= MARK_TOUCHED;
        model->touched[model->touched_count++] = (uint32_t)number;
    }
    return model->image + number * PAGE_BYTES;
}

void disk_model_unreadable(struct disk_model *model, uint64_t offset)
{
    (void)disk_model_page(model, offset);
    model->marks[offset / PAGE_BYTES] |= MARK_UNREADABLE;
}

static void page_put(struct disk_model *model, uint64_t offset, const uint8_t *bytes)
{
    memcpy(disk_model_page(model, offset), bytes, PAGE_BYTES);
    model->marks[offset / PAGE_BYTES] &= (uint8_t)~MARK_UNREADABLE;
}

static int32_t read_now(struct disk_model *model, const struct disk_io *io)
{
    for (uint64_t at = 0; at < io->bytes; at += PAGE_BYTES) {
        if (model->marks[(io->offset + at) / PAGE_BYTES] & MARK_UNREADABLE) {
            return -EIO;
        }
    }
    memcpy(io->buffer, model->image + io->offset, io->bytes);
    model->read_bytes += io->bytes;
    return 0;
}

static void done_add(struct disk_model *model, uint64_t cookie, int32_t result)
{
    ASSERT(model->done_count < DISK_QUEUE_MAX);
    model->done[model->done_count++] = (struct disk_done){.cookie = cookie, .result = result};
}

/* Whether a write may be in flight beside what is there already. */
static bool write_is_apart(const struct disk_model *model, const struct disk_io *io)
{
    for (uint32_t i = 0; i < model->flight_count; i++) {
        const struct disk_io *other = &model->flights[i];
        bool apart =
            io->offset + io->bytes <= other->offset || other->offset + other->bytes <= io->offset;
        if (!apart && other->op != DISK_READ) {
            return false;
        }
    }
    return true;
}

static uint32_t model_submit(struct disk *disk, const struct disk_io *ios, uint32_t count)
{
    struct disk_model *model = of_disk(disk);
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(ios[i].bytes > 0);
        ASSERT(ios[i].bytes % PAGE_BYTES == 0);
        ASSERT(ios[i].offset % PAGE_BYTES == 0);
        ASSERT((uintptr_t)ios[i].buffer % PAGE_BYTES == 0);
        ASSERT(ios[i].offset + ios[i].bytes <= disk->bytes);
        ASSERT(model->flight_count < DISK_QUEUE_MAX);
        ASSERT(ios[i].op != DISK_WRITE || write_is_apart(model, &ios[i]));
        model->flights[model->flight_count++] = ios[i];
        model->write_count += ios[i].op == DISK_WRITE;
    }
    return count;
}

/* In order; after the death of the disk a write stays in flight for the crash to decide. */
static void automatic_complete(struct disk_model *model)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < model->flight_count; i++) {
        const struct disk_io io = model->flights[i];
        bool dead = model->writes_until_death == 0;
        if (io.op == DISK_READ) {
            done_add(model, io.cookie, dead ? -EIO : read_now(model, &io));
        } else if (dead) {
            model->flights[kept++] = io;
            done_add(model, io.cookie, -EIO);
        } else {
            for (uint32_t at = 0; at < io.bytes; at += PAGE_BYTES) {
                page_put(model, io.offset + at, (const uint8_t *)io.buffer + at);
            }
            model->writes_until_death -= model->writes_until_death != DISK_MODEL_ALIVE;
            done_add(model, io.cookie, 0);
        }
    }
    model->flight_count = kept;
}

static uint32_t model_poll(struct disk *disk, struct disk_done *done, uint32_t done_max)
{
    struct disk_model *model = of_disk(disk);
    if (model->automatic && model->done_count == 0) {
        automatic_complete(model);
    }
    uint32_t count = model->done_count < done_max ? model->done_count : done_max;
    memcpy(done, model->done, count * sizeof done[0]);
    model->done_count -= count;
    memmove(model->done, model->done + count, model->done_count * sizeof done[0]);
    return count;
}

static int model_wait_fd(const struct disk *disk)
{
    (void)disk;
    return -1;
}

static void model_close(struct disk *disk)
{
    (void)disk;
}

static const struct disk_ops model_ops = {
    .submit = model_submit, .poll = model_poll, .wait_fd = model_wait_fd, .close = model_close};

uint64_t disk_model_memory_bytes(uint64_t bytes)
{
    uint64_t pages = bytes / PAGE_BYTES;
    uint64_t tables = pages * (sizeof(uint32_t) + sizeof(uint8_t));
    return bytes + (tables + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

void disk_model_init(struct disk_model *model, uint64_t bytes, uint8_t *memory)
{
    ASSERT(bytes % PAGE_BYTES == 0);
    memset(model, 0, sizeof *model);
    model->page_count = (uint32_t)(bytes / PAGE_BYTES);
    model->image = memory;
    model->touched = (uint32_t *)(void *)(memory + bytes);
    model->marks = memory + bytes + model->page_count * sizeof(uint32_t);
    model->disk = (struct disk){.ops = &model_ops, .bytes = bytes, .durable = true};
    model->automatic = true;
    model->writes_until_death = DISK_MODEL_ALIVE;
}

int disk_model_open(struct disk_model *model, uint64_t bytes)
{
    uint64_t memory_bytes = disk_model_memory_bytes(bytes);
    uint8_t *memory = aligned_alloc(PAGE_BYTES, memory_bytes);
    if (memory == NULL) {
        return -ENOMEM;
    }
    memset(memory, 0, memory_bytes);
    disk_model_init(model, bytes, memory);
    return 0;
}

void disk_model_free(struct disk_model *model)
{
    free(model->image);
}

void disk_model_restore(struct disk_model *model, const uint8_t *content)
{
    for (uint32_t i = 0; i < model->touched_count; i++) {
        uint64_t at = (uint64_t)model->touched[i] * PAGE_BYTES;
        if (content != NULL) {
            memcpy(model->image + at, content + at, PAGE_BYTES);
        } else {
            memset(model->image + at, 0, PAGE_BYTES);
        }
        model->marks[model->touched[i]] = 0;
    }
    model->touched_count = 0;
    model->flight_count = 0;
    model->done_count = 0;
    model->disk.in_flight = 0;
    model->write_count = 0;
    model->read_bytes = 0;
    model->automatic = true;
    model->writes_until_death = DISK_MODEL_ALIVE;
}

void disk_model_reset(struct disk_model *model)
{
    disk_model_restore(model, NULL);
}

void disk_model_complete(struct disk_model *model,
                         uint32_t number,
                         struct prng *prng,
                         uint32_t lost_ppm)
{
    ASSERT(number < model->flight_count);
    const struct disk_io io = model->flights[number];
    model->flights[number] = model->flights[--model->flight_count];
    if (io.op == DISK_READ) {
        done_add(model, io.cookie, read_now(model, &io));
        return;
    }
    for (uint32_t at = 0; at < io.bytes; at += PAGE_BYTES) {
        if (lost_ppm == 0 || !prng_chance(prng, lost_ppm)) {
            page_put(model, io.offset + at, (const uint8_t *)io.buffer + at);
        } else {
            model->lost_count++;
        }
    }
    done_add(model, io.cookie, 0);
}

void disk_model_tear(struct disk_model *model,
                     uint64_t offset,
                     const uint8_t *bytes,
                     struct prng *prng)
{
    uint8_t *page = disk_model_page(model, offset);
    uint64_t drawn = prng_next(prng);
    for (uint32_t sector = 0; sector < PAGE_BYTES / DISK_MODEL_SECTOR_BYTES; sector++) {
        uint32_t at = sector * DISK_MODEL_SECTOR_BYTES;
        if (drawn >> sector & 1) {
            memcpy(page + at, bytes + at, DISK_MODEL_SECTOR_BYTES);
        }
    }
}

void disk_model_crash(struct disk_model *model, struct prng *prng, uint32_t tear_ppm)
{
    for (uint32_t i = 0; i < model->flight_count; i++) {
        const struct disk_io *io = &model->flights[i];
        for (uint32_t at = 0; at < io->bytes && io->op == DISK_WRITE; at += PAGE_BYTES) {
            const uint8_t *bytes = (const uint8_t *)io->buffer + at;
            if (tear_ppm > 0 && prng_chance(prng, tear_ppm)) {
                disk_model_tear(model, io->offset + at, bytes, prng);
                model->torn_count++;
            } else if (prng_below(prng, MILLION) < MILLION / 2) {
                page_put(model, io->offset + at, bytes);
            }
        }
    }
    model->flight_count = 0;
    model->done_count = 0;
    model->disk.in_flight = 0;
    model->automatic = true;
    model->writes_until_death = DISK_MODEL_ALIVE;
}
