/* log_fixture.c: see log_fixture.h. */
#include "tests/support/log_fixture.h"

#include "storage/format.h"

#include <stdlib.h>
#include <string.h>

#define POLLS_MAX 64u

void log_open_disk(struct log_fixture *log)
{
    memset(log, 0, sizeof *log);
    prng_init(&log->prng, 1);
    int result = disk_model_open(&log->model, LOG_DISK_BYTES);
    ASSERT(result == 0);
    result = mem_open(&log->mem, wal_memory_bytes());
    ASSERT(result == 0);
    log->bytes = aligned_alloc(PAGE_BYTES, (size_t)LOG_ENTRIES_MAX * ENTRY_BYTES_MAX);
    ASSERT(log->bytes != NULL);
    const struct format_config config = {
        .cluster = LOG_CLUSTER,
        .store = LOG_STORE,
        .node = LOG_NODE,
        .segment_bytes = LOG_SEGMENT_PAGES * PAGE_BYTES,
        .window_bytes = LOG_WINDOW_PAGES * PAGE_BYTES,
        .small = true,
    };
    struct fault fault;
    result = storage_format(&log->model.disk, &config, log->bytes, &log->geometry, &fault);
    ASSERT(result == 0);
}

void log_close(struct log_fixture *log)
{
    mem_close(&log->mem);
    free(log->bytes);
    disk_model_free(&log->model);
}

int log_open(struct log_fixture *log, struct recovery *found, struct fault *fault)
{
    log->mem.used_bytes = 0;
    log->mem.taking_count = 0;
    const struct wal_config config = {
        .cluster = LOG_CLUSTER, .node = LOG_NODE, .disk = &log->model.disk};
    log->wal = wal_create(&log->mem, &config);
    int result = wal_open(log->wal, WAL_WHOLE, NULL, found, fault);
    log->last = found->last;
    log->position = found->end_position;
    return result;
}

struct wal_write log_entry(struct log_fixture *log, uint64_t term, uint32_t pages)
{
    struct entry_header header = {
        .kind = ENTRY_CLIENT,
        .pages = (uint8_t)pages,
        .cluster = LOG_CLUSTER,
        .term = term,
        .index = log->last.index + 1,
        .previous_term = log->last.term,
        .position = log->position,
        .first_offset = log->last.index,
        .record_count = 1,
        .body_bytes = (entry_body_bytes_max(pages) - 8) & ~7u,
    };
    uint8_t *entry = log->bytes + header.index % LOG_ENTRIES_MAX * ENTRY_BYTES_MAX;
    memset(entry, (int)header.index, (size_t)pages * PAGE_BYTES);
    struct record_header record = {.bytes = header.body_bytes - RECORD_HEADER_BYTES};
    entry_body_write(entry, 0, &record, sizeof record);
    entry_seal(entry, &header);
    log->last = (struct log_id){.term = term, .index = header.index};
    log->position += (uint64_t)pages * PAGE_BYTES;
    return (struct wal_write){
        .bytes = entry,
        .position = header.position,
        .byte_count = pages * PAGE_BYTES,
        .first = log->last,
        .last = log->last,
    };
}

void log_settle(struct log_fixture *log)
{
    for (uint32_t i = 0; i < POLLS_MAX; i++) {
        log->now_ns += 1000;
        wal_poll(log->wal, log->now_ns);
    }
}

void log_term(struct log_fixture *log, uint64_t term)
{
    struct wal_hard hard = wal_hard_durable(log->wal);
    if (hard.entry_term < term) {
        hard.term = hard.entry_term = term;
        wal_set_hard(log->wal, &hard);
        log_settle(log);
    }
}

void log_append(struct log_fixture *log, uint64_t term, uint32_t pages)
{
    log_term(log, term);
    struct wal_write write = log_entry(log, term, pages);
    bool queued = wal_write(log->wal, &write);
    ASSERT(queued);
    log_settle(log);
}

uint8_t *log_page(struct log_fixture *log, uint64_t position)
{
    struct ring_part parts[2];
    (void)ring_split(&log->geometry, position, PAGE_BYTES, parts);
    return disk_model_page(&log->model, parts[0].offset);
}

int log_recover(struct log_fixture *log, struct recovery *found, struct fault *fault)
{
    static _Alignas(PAGE_BYTES) uint8_t buffer[RECOVER_BUFFER_BYTES];
    const struct recover_config any = {.buffer = buffer};
    log->model.automatic = true;
    return recover(&log->model.disk, &any, found, fault);
}
