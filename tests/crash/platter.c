/* platter.c: see platter.h. */
#include "tests/crash/platter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEAR_PPM     400000u
#define MILLION_HALF 500000u

static _Noreturn void die(const char *what, const char *path)
{
    fprintf(stderr, "replay: %s: %s\n", what, path);
    exit(3);
}

void platter_open(struct platter *platter, const char *path)
{
    FILE *in = fopen(path, "rb");
    if (in == NULL || fseek(in, 0, SEEK_END) != 0) {
        die("cannot read", path);
    }
    long bytes = ftell(in);
    rewind(in);
    if (bytes <= 0 || bytes % PAGE_BYTES != 0 ||
        disk_model_open(&platter->model, (uint64_t)bytes) != 0) {
        die("not the image of a disk", path);
    }
    platter->floor = malloc((size_t)bytes);
    if (platter->floor == NULL || fread(platter->floor, 1, (size_t)bytes, in) != (size_t)bytes) {
        die("cannot read", path);
    }
    memcpy(platter->model.image, platter->floor, (size_t)bytes);
    (void)fclose(in);
}

static const char *
take_write(struct platter *platter, const struct journal_event *event, const uint8_t *data)
{
    if (event->offset % PAGE_BYTES != 0 || event->bytes % PAGE_BYTES != 0 ||
        event->offset + event->bytes > platter->model.disk.bytes) {
        return "a write that is not whole pages of the disk";
    }
    for (uint32_t i = 0; i < platter->pending_count; i++) {
        const struct platter_write *other = &platter->pending[i];
        if (other->written_at == 0 && event->offset < other->offset + other->bytes &&
            other->offset < event->offset + event->bytes) {
            return "two writes of one page are under way";
        }
    }
    if (platter->pending_count == PLATTER_PENDING_MAX) {
        return "more writes without a flush than there is room for";
    }
    platter->pending_pages += event->bytes / PAGE_BYTES;
    platter->pending[platter->pending_count++] = (struct platter_write){
        .operation = event->operation,
        .offset = event->offset,
        .data = data,
        .bytes = event->bytes,
        .through = event->through != 0 && !platter->lies,
    };
    return NULL;
}

static void make_certain(struct platter *platter, const struct platter_write *write)
{
    memcpy(platter->floor + write->offset, write->data, write->bytes);
    memcpy(platter->model.image + write->offset, write->data, write->bytes);
    platter->pending_pages -= write->bytes / PAGE_BYTES;
}

static const char *take_written(struct platter *platter, uint64_t operation, uint64_t number)
{
    uint32_t i = 0;
    while (i < platter->pending_count && platter->pending[i].operation != operation) {
        i++;
    }
    if (i == platter->pending_count) {
        return "an answer without a write";
    }
    platter->pending[i].written_at = number;
    if (platter->pending[i].through) {
        make_certain(platter, &platter->pending[i]);
        platter->pending_count--;
        memmove(&platter->pending[i], &platter->pending[i + 1],
                (platter->pending_count - i) * sizeof platter->pending[0]);
    }
    return NULL;
}

static const char *take_flush(struct platter *platter, uint64_t operation, uint64_t number)
{
    if (platter->flush_count == PLATTER_FLUSHES_MAX) {
        return "more flushes under way than there is room for";
    }
    platter->flushes[platter->flush_count].operation = operation;
    platter->flushes[platter->flush_count++].asked_at = number;
    return NULL;
}

static const char *take_flushed(struct platter *platter, uint64_t operation)
{
    uint32_t i = 0;
    while (i < platter->flush_count && platter->flushes[i].operation != operation) {
        i++;
    }
    if (i == platter->flush_count) {
        return "an answer without a flush";
    }
    uint64_t asked_at = platter->flushes[i].asked_at;
    platter->flushes[i] = platter->flushes[--platter->flush_count];
    uint32_t kept = 0;
    for (uint32_t k = 0; k < platter->pending_count; k++) {
        struct platter_write write = platter->pending[k];
        if (write.written_at != 0 && write.written_at < asked_at && !platter->lies) {
            make_certain(platter, &write);
        } else {
            platter->pending[kept++] = write;
        }
    }
    platter->pending_count = kept;
    return NULL;
}

const char *platter_take(struct platter *platter,
                         const struct journal_event *event,
                         const uint8_t *data,
                         uint64_t number)
{
    switch ((enum journal_kind)event->kind) {
    case JOURNAL_WRITE:
        return take_write(platter, event, data);
    case JOURNAL_WRITTEN:
        return take_written(platter, event->operation, number);
    case JOURNAL_FLUSH:
        return take_flush(platter, event->operation, number);
    case JOURNAL_FLUSHED:
        return take_flushed(platter, event->operation);
    }
    return "an event of no kind";
}

static void page_put(struct platter *platter, uint64_t offset, const uint8_t *bytes)
{
    memcpy(disk_model_page(&platter->model, offset), bytes, PAGE_BYTES);
}

void platter_cut(struct platter *platter, const struct platter_image *image, struct prng *prng)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < platter->pending_count; i++) {
        const struct platter_write *write = &platter->pending[i];
        for (uint32_t at = 0; at < write->bytes; at += PAGE_BYTES, number++) {
            bool chosen = number < 64 && (image->chosen >> number & 1) != 0;
            bool random = image->fate == PLATTER_SOME || image->fate == PLATTER_TORN;
            if (image->fate == PLATTER_TORN && prng_chance(prng, TEAR_PPM)) {
                disk_model_tear(&platter->model, write->offset + at, write->data + at, prng);
            } else if (image->fate == PLATTER_ALL || (image->fate == PLATTER_CHOSEN && chosen) ||
                       (random && prng_chance(prng, MILLION_HALF))) {
                page_put(platter, write->offset + at, write->data + at);
            }
        }
    }
}

void platter_restore(struct platter *platter)
{
    disk_model_restore(&platter->model, platter->floor);
}
