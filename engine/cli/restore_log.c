/* restore_log.c: see restore_log.h. */
#include "engine/cli/restore_log.h"

#include "engine/base/entry.h"
#include "engine/base/units.h"
#include "engine/cli/make_log.h"
#include "engine/machine.h"
#include "storage/disk_posix.h"
#include "storage/small_state.h"
#include "storage/superblock.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define RESTORE_EPOCH       1u /* Of a log that storage_format() makes. */
#define RESTORE_BATCH_BYTES WRITE_WINDOW_BYTES

/* ---- Entries, made one after the other. ---- */

struct packer;
typedef int (*packer_put)(void *context, struct packer *packer);

struct packer {
    uint8_t *entry; /* ENTRY_BYTES_MAX; NULL: it only measures. */
    packer_put put; /* Called with every sealed entry; says where the next one is to be made. */
    void *context;
    uint64_t cluster;
    uint64_t index;    /* Of the last entry sealed. */
    uint64_t position; /* Behind it. */
    uint64_t next_offset;
    uint32_t body_bytes; /* Of the open entry. */
    uint32_t record_count;
    int error; /* The first one of `put`: nothing is put any more. */
};

static void packer_seal(struct packer *packer, enum entry_kind kind)
{
    const struct entry_header header = {
        .kind = (uint8_t)kind,
        .cluster = packer->cluster,
        .term = RESTORE_TERM,
        .index = packer->index + 1,
        .previous_term = packer->index == 0 ? 0 : RESTORE_TERM,
        .position = packer->position,
        .first_offset = packer->next_offset,
        .body_bytes = packer->body_bytes,
        .record_count = packer->record_count,
        .commit_index = packer->index,
    };
    if (packer->entry != NULL && packer->error == 0) {
        entry_seal(packer->entry, &header);
        ASSERT(entry_check(packer->entry, packer->cluster) == NULL);
        packer->error = packer->put(packer->context, packer);
    }
    packer->index++;
    packer->position += (uint64_t)entry_pages(packer->body_bytes) * PAGE_BYTES;
    packer->next_offset += packer->record_count;
    packer->body_bytes = 0;
    packer->record_count = 0;
}

static void packer_add(struct packer *packer, const uint8_t *payload, uint32_t bytes)
{
    static const uint8_t zeros[8];
    uint32_t whole_bytes = record_body_bytes(bytes);
    uint32_t used_bytes = RECORD_HEADER_BYTES + bytes;
    if (packer->body_bytes + whole_bytes > entry_body_bytes_max(ENTRY_PAGES_MAX)) {
        packer_seal(packer, ENTRY_CLIENT);
    }
    if (packer->entry != NULL) {
        const struct record_header record = {.bytes = bytes, .kind = RECORD_APPEND};
        uint32_t at = packer->body_bytes;
        entry_body_write(packer->entry, at, &record, sizeof record);
        entry_body_write(packer->entry, at + RECORD_HEADER_BYTES, payload, bytes);
        entry_body_write(packer->entry, at + used_bytes, zeros, whole_bytes - used_bytes);
    }
    packer->body_bytes += whole_bytes;
    packer->record_count++;
}

/* The whole log: the first configuration, the records, and a no-op by whose word all of them are
 * committed. Reads the backup from its start to its end. */
static int pack(struct restore *restore, struct packer *packer, struct fault *fault)
{
    struct backup_reader *reader = &restore->reader;
    if (backup_open(reader, restore->backup_path, fault) != 0) {
        return fault->code;
    }
    uint8_t body[CONFIGURATION_BODY_BYTES];
    configuration_encode(&restore->configuration, body);
    packer->cluster = restore->config->cluster;
    packer->next_offset = reader->header.first_offset;
    packer->body_bytes = sizeof body;
    if (packer->entry != NULL) {
        entry_body_write(packer->entry, 0, body, sizeof body);
    }
    packer_seal(packer, ENTRY_CONFIGURATION);
    while (packer->error == 0 && backup_next(reader, fault)) {
        packer_add(packer, reader->payload, reader->bytes);
    }
    if (packer->error == 0 && fault->code == 0) {
        if (packer->record_count > 0) {
            packer_seal(packer, ENTRY_CLIENT);
        }
        packer_seal(packer, ENTRY_NOOP);
    }
    backup_close(reader);
    return fault->code;
}

/* ---- What can be restored. ---- */

/* The new cluster is another one: what still runs or lies about of the old one must never be taken
 * for it. */
static void cluster_check(const struct restore *restore, struct fault *fault)
{
    if (restore->config->cluster == restore->source.cluster) {
        fault_set(fault, FAULT_USAGE,
                  "%.100s says `id = %016" PRIx64 "`, and that is the cluster that %.100s was made "
                  "of: a restored cluster is a new one, give it an `id` of its own",
                  restore->path, restore->source.cluster, restore->backup_path);
    }
}

static void room_check(const struct restore *restore, struct fault *fault)
{
    const struct config *config = restore->config;
    struct geometry geometry;
    char needed[UNITS_TEXT_BYTES];
    char room[UNITS_TEXT_BYTES];
    units_format_size(restore->log_bytes, needed);
    if (!geometry_fit(&geometry, config->size_bytes / PAGE_BYTES * PAGE_BYTES,
                      config->segment_bytes, WRITE_WINDOW_BYTES)) {
        int small = format_check_size(config->size_bytes, config->segment_bytes, fault);
        ASSERT(small != 0);
        return;
    }
    uint64_t room_bytes = geometry_retention_max(&geometry);
    if (restore->log_bytes > room_bytes) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "the records of %.100s take %s of a log, and one of `size` as in %.100s has room "
                  "for %s: give `[storage] size` %" PRIu64 " bytes more",
                  restore->backup_path, needed, restore->path, units_format_size(room_bytes, room),
                  restore->log_bytes - room_bytes);
    } else if (config->retention_bytes != 0 && restore->log_bytes > config->retention_bytes) {
        fault_set(fault, FAULT_USAGE,
                  "the records of %.100s take %s of a log, and `retention = %s` in %.100s would "
                  "trim them as soon as the cluster starts: raise it, or leave it out",
                  restore->backup_path, needed, units_format_size(config->retention_bytes, room),
                  restore->path);
    }
}

int restore_check(struct restore *restore,
                  const struct config *config,
                  const char *path,
                  const char *backup_path,
                  struct fault *fault)
{
    restore->config = config;
    restore->path = path;
    restore->backup_path = backup_path;
    restore->configuration = (struct raft_configuration){0};
    struct packer packer = {0};
    if (pack(restore, &packer, fault) != 0) {
        return fault->code;
    }
    restore->source = restore->reader.header;
    restore->trailer = restore->reader.trailer;
    restore->log_bytes = packer.position;
    cluster_check(restore, fault);
    if (fault->code == 0) {
        room_check(restore, fault);
    }
    return fault->code;
}

int restore_join(struct restore *restore, const struct restore_id *given, struct fault *fault)
{
    const struct config *config = restore->config;
    uint64_t number = given != NULL ? given->number : make_log_random_id();
    restore->id = restore_id_of(number, config, &restore->source, &restore->trailer);
    if (given != NULL && given->configuration_crc != restore->id.configuration_crc) {
        fault_set(fault, FAULT_USAGE,
                  "%.200s is not the configuration that --restore-id is of: `id`, `segment` and "
                  "the numbers and addresses of all nodes must be the same on every machine",
                  restore->path);
    } else if (given != NULL && given->backup_crc != restore->id.backup_crc) {
        fault_set(fault, FAULT_USAGE,
                  "%.200s is not the backup that --restore-id is of: take the same file on every "
                  "machine",
                  restore->backup_path);
    }
    for (uint32_t i = 0; i < config->node_count; i++) {
        uint8_t id = config->nodes[i].id;
        restore->configuration.voters |= 1ull << id;
        restore->configuration.members[restore->configuration.member_count++] =
            (struct raft_member){.id = id, .store = restore_id_store(&restore->id, id)};
    }
    return fault->code;
}

/* ---- One node's log. ---- */

struct scribe {
    struct disk *disk;
    struct geometry geometry;
    struct node_header node;
    struct machine machine; /* Knows the segment boundaries and the small states there. */
    uint64_t cluster;
    uint8_t *batch; /* RESTORE_BATCH_BYTES: entries, one behind the other. */
    uint32_t batch_bytes;
    uint64_t batch_position; /* Of its first entry. */
    uint8_t *pages;          /* STATE_BYTES. */
};

static int write_pages(struct disk *disk, uint64_t offset, uint32_t bytes, uint8_t *pages)
{
    const struct disk_io io = {.op = DISK_WRITE, .bytes = bytes, .offset = offset, .buffer = pages};
    return disk_transfer(disk, &io);
}

/* The states of boundaries that lie below what is written: a later trim relies on them. */
static int write_states(struct scribe *scribe)
{
    const struct machine_state *state = machine_state_owed(&scribe->machine);
    while (state != NULL) {
        const struct state_owner owner = {
            .cluster = scribe->cluster,
            .store = scribe->node.store,
            .segment = segment_number(&scribe->geometry, state->boundary.position),
        };
        uint32_t bytes =
            state_encode(scribe->pages, &owner, &state->boundary, state->state, state->bytes);
        for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
            uint64_t at = state_at(&scribe->geometry, owner.segment, copy);
            int result = write_pages(scribe->disk, at, bytes, scribe->pages);
            if (result != 0) {
                return result;
            }
        }
        machine_state_written(&scribe->machine);
        state = machine_state_owed(&scribe->machine);
    }
    return 0;
}

static int write_batch(struct scribe *scribe)
{
    struct ring_part parts[2];
    if (scribe->batch_bytes == 0) {
        return 0;
    }
    uint32_t count =
        ring_split(&scribe->geometry, scribe->batch_position, scribe->batch_bytes, parts);
    uint8_t *from = scribe->batch;
    for (uint32_t i = 0; i < count; i++) {
        int result = write_pages(scribe->disk, parts[i].offset, parts[i].bytes, from);
        if (result != 0) {
            return result;
        }
        from += parts[i].bytes;
    }
    scribe->batch_position += scribe->batch_bytes;
    scribe->batch_bytes = 0;
    return 0;
}

/* One more entry in the batch, whose place is the packer's `entry`. */
static int take_entry(void *context, struct packer *packer)
{
    struct scribe *scribe = context;
    const struct entry_header *header = entry_header_of(packer->entry);
    ASSERT(header->position == scribe->batch_position + scribe->batch_bytes);
    scribe->node.position = header->position;
    scribe->node.durable_position = scribe->batch_position;
    node_header_seal(packer->entry, &scribe->node);
    machine_append(&scribe->machine, packer->entry);
    bool moved = machine_apply(&scribe->machine, header->index);
    ASSERT(!moved); /* There is no trim among them. */
    scribe->batch_bytes += header->pages * PAGE_BYTES;
    int result = write_states(scribe);
    if (result == 0 && scribe->batch_bytes + ENTRY_BYTES_MAX > RESTORE_BATCH_BYTES) {
        result = write_batch(scribe);
    }
    packer->entry = scribe->batch + scribe->batch_bytes;
    return result;
}

/* Everything is there: from now on a missing end is damage. */
static int write_watermark(struct scribe *scribe, const struct packer *packer)
{
    const struct watermark mark = {
        .magic = WATERMARK_MAGIC,
        .version = LAYOUT_VERSION,
        .cluster = scribe->cluster,
        .store = scribe->node.store,
        .position = packer->position,
        .epoch = RESTORE_EPOCH,
        .last_term = RESTORE_TERM,
        .last_index = packer->index,
    };
    watermark_encode(&mark, scribe->pages);
    return write_pages(scribe->disk, layout_watermark_at(0), PAGE_BYTES, scribe->pages);
}

static void scribe_begin(struct scribe *scribe, const struct restore *restore, struct mem *mem)
{
    machine_init(&scribe->machine, mem);
    const struct machine_origin origin = {
        .start = {.offset = restore->source.first_offset},
        .configuration = restore->configuration,
        .ring_bytes = scribe->geometry.ring_bytes,
        .segment_bytes = scribe->geometry.segment_bytes,
    };
    machine_begin(&scribe->machine, &origin);
}

static void write_fault(const struct format_config *format, int result, struct fault *fault)
{
    fault_set(fault, FAULT_ENVIRONMENT, "cannot write the log of node %u: %s", format->node,
              strerror(-result));
}

/* Entries and what belongs to them, then the superblocks. */
static int log_fill(struct restore *restore,
                    struct scribe *scribe,
                    const struct format_config *format,
                    struct fault *fault)
{
    struct packer packer = {.entry = scribe->batch, .put = take_entry, .context = scribe};
    if (pack(restore, &packer, fault) != 0) {
        return fault->code;
    }
    int result = packer.error != 0 ? packer.error : write_batch(scribe);
    if (result == 0 &&
        memcmp(&restore->reader.trailer, &restore->trailer, sizeof restore->trailer) != 0) {
        fault_set(fault, FAULT_FAILED, "%.200s was written to while it was read",
                  restore->backup_path);
        return fault->code;
    }
    if (result == 0) {
        ASSERT(packer.position == restore->log_bytes);
        ASSERT(packer.next_offset == restore->source.end_offset);
        result = write_watermark(scribe, &packer);
    }
    if (result != 0) {
        write_fault(format, result, fault);
        return fault->code;
    }
    struct geometry geometry;
    return storage_format(scribe->disk, format, scribe->pages, &geometry, fault) == 0 ? 0
                                                                                      : fault->code;
}

int restore_log_write(struct restore *restore,
                      const char *path,
                      const struct format_config *format,
                      struct fault *fault)
{
    static struct scribe scribe; /* Large, and one at a time. */
    memset(&scribe, 0, sizeof scribe);
    scribe.cluster = format->cluster;
    scribe.node =
        (struct node_header){.node = format->node, .store = format->store, .epoch = RESTORE_EPOCH};
    struct mem mem;
    if (mem_open(&mem, disk_posix_memory_bytes() + machine_memory_bytes() + RESTORE_BATCH_BYTES +
                           STATE_BYTES + 8 * PAGE_BYTES) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory to restore %.200s", path);
        return fault->code;
    }
    scribe.batch = mem_take(&mem, "restored entries", 1, RESTORE_BATCH_BYTES, PAGE_BYTES);
    scribe.pages = mem_take(&mem, "restored state", 1, STATE_BYTES, PAGE_BYTES);
    bool closed = true;
    const struct disk_posix_config disk = {.path = path, .access = DISK_ACCESS_WRITE};
    if (disk_posix_open(&scribe.disk, &mem, &disk, fault) == 0) {
        bool fits = geometry_fit(&scribe.geometry, format->log_bytes, format->segment_bytes,
                                 WRITE_WINDOW_BYTES);
        ASSERT(fits);
        scribe_begin(&scribe, restore, &mem);
        int marked = superblock_mark_unfinished(scribe.disk, scribe.pages);
        if (marked != 0) {
            write_fault(format, marked, fault);
        } else {
            (void)log_fill(restore, &scribe, format, fault);
        }
        closed = disk_close_unless_busy(scribe.disk);
    }
    if (closed) {
        mem_close(&mem);
    }
    return fault->code;
}
