/* restore_log.c: see restore_log.h. */
#define _POSIX_C_SOURCE 200809L
#include "engine/cli/restore_log.h"

#include "engine/base/entry.h"
#include "engine/base/prng.h"
#include "engine/base/units.h"
#include "engine/cli/command.h"
#include "engine/cli/make_log.h"
#include "engine/machine.h"
#include "storage/disk_uring.h"
#include "storage/segment.h"
#include "storage/superblock.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESTORE_PART_NAME MAKE_LOG_NAME ".restoring"
#define RESTORE_TERM      1u /* Nobody has voted in it; the first leader has the next one. */
#define RESTORE_EPOCH     1u /* Of a log that storage_format() makes. */

/* ---- Entries, made one after the other. ---- */

struct packer;
typedef int (*packer_put)(void *context, const struct packer *packer);

struct packer {
    uint8_t *entry; /* ENTRY_BYTES_MAX; NULL: it only measures. */
    packer_put put; /* Called with every sealed entry. */
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

/* The store id of a node's log: of this backup in this cluster always the same. */
static uint64_t store_of(const struct restore *restore, uint8_t node)
{
    const uint64_t words[] = {
        restore->source.cluster,     restore->source.first_offset, restore->source.end_offset,
        restore->trailer.file_bytes, restore->trailer.file_crc,    node,
    };
    struct prng prng;
    uint64_t store = restore->config->cluster;
    for (uint32_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        prng_init(&prng, store ^ words[i]);
        store = prng_next(&prng);
    }
    while (store == 0) {
        store = prng_next(&prng);
    }
    return store;
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
    for (uint32_t i = 0; i < config->node_count; i++) {
        uint8_t id = config->nodes[i].id;
        restore->configuration.voters |= 1ull << id;
        restore->configuration.members[restore->configuration.member_count++] =
            (struct raft_member){.id = id, .store = store_of(restore, id)};
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
    uint8_t *entry;
    uint8_t *pages; /* STATE_BYTES. */
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
        int result = write_pages(scribe->disk, state_at(&scribe->geometry, owner.segment), bytes,
                                 scribe->pages);
        if (result != 0) {
            return result;
        }
        machine_state_written(&scribe->machine);
        state = machine_state_owed(&scribe->machine);
    }
    return 0;
}

static int write_entry(void *context, const struct packer *packer)
{
    struct scribe *scribe = context;
    const struct entry_header *header = entry_header_of(packer->entry);
    scribe->node.position = header->position;
    scribe->node.durable_position = header->position;
    node_header_seal(packer->entry, &scribe->node);
    struct ring_part parts[2];
    uint32_t bytes = header->pages * PAGE_BYTES;
    uint32_t count = ring_split(&scribe->geometry, header->position, bytes, parts);
    uint8_t *from = packer->entry;
    for (uint32_t i = 0; i < count; i++) {
        int result = write_pages(scribe->disk, parts[i].offset, parts[i].bytes, from);
        if (result != 0) {
            return result;
        }
        from += parts[i].bytes;
    }
    machine_append(&scribe->machine, packer->entry);
    bool moved = machine_apply(&scribe->machine, header->index);
    ASSERT(!moved); /* There is no trim among them. */
    return write_states(scribe);
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

/* Entries and what belongs to them, then the superblocks. */
static int log_fill(struct restore *restore,
                    struct scribe *scribe,
                    const struct format_config *format,
                    struct fault *fault)
{
    struct packer packer = {.entry = scribe->entry, .put = write_entry, .context = scribe};
    if (pack(restore, &packer, fault) != 0) {
        return fault->code;
    }
    int result = packer.error;
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
        fault_set(fault, FAULT_ENVIRONMENT, "cannot write the log of node %u: %s", format->node,
                  strerror(-result));
        return fault->code;
    }
    struct geometry geometry;
    return storage_format(scribe->disk, format, scribe->pages, &geometry, fault) == 0 ? 0
                                                                                      : fault->code;
}

static int log_write(struct restore *restore,
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
    if (mem_open(&mem, disk_uring_memory_bytes() + machine_memory_bytes() + ENTRY_BYTES_MAX +
                           STATE_BYTES + 8 * PAGE_BYTES) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory to restore %.200s", path);
        return fault->code;
    }
    scribe.entry = mem_take(&mem, "restored entry", 1, ENTRY_BYTES_MAX, PAGE_BYTES);
    scribe.pages = mem_take(&mem, "restored state", 1, STATE_BYTES, PAGE_BYTES);
    const struct disk_uring_config disk = {.path = path, .access = DISK_ACCESS_WRITE};
    if (disk_uring_open(&scribe.disk, &mem, &disk, fault) == 0) {
        bool fits = geometry_fit(&scribe.geometry, scribe.disk->bytes, format->segment_bytes,
                                 WRITE_WINDOW_BYTES);
        ASSERT(fits);
        scribe_begin(&scribe, restore, &mem);
        (void)log_fill(restore, &scribe, format, fault);
        disk_close(scribe.disk);
    }
    mem_close(&mem);
    return fault->code;
}

/* ---- Its place. ---- */

/* Whose log stands at the path: 1 this very one, 0 none, or -1 with the fault told. */
static int place_look(const char *path, const struct format_config *format, struct fault *fault)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return 0;
    }
    struct mem mem;
    if (mem_open(&mem, disk_uring_memory_bytes() + 4 * PAGE_BYTES) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory to open %.200s", path);
        return -1;
    }
    uint8_t *page = mem_take(&mem, "superblock", 1, PAGE_BYTES, PAGE_BYTES);
    struct superblock_set set = {0};
    struct fault unread = {0};
    int found = -1;
    struct disk *disk = NULL;
    const struct disk_uring_config config = {.path = path, .access = DISK_ACCESS_READ_SHARED};
    if (disk_uring_open(&disk, &mem, &config, fault) == 0) {
        bool readable = superblock_load(disk, page, &set, &unread) == 0;
        if (readable && set.newest.cluster == format->cluster && set.newest.node == format->node &&
            set.newest.store == format->store) {
            found = 1;
        } else if (!superblock_set_any(&set) && S_ISBLK(status.st_mode)) {
            found = 0;
        } else {
            fault_set(fault, FAULT_ENVIRONMENT,
                      "%.200s holds another log: name another folder for node %u, or remove it",
                      path, format->node);
        }
        disk_close(disk);
    }
    mem_close(&mem);
    return found;
}

/* A folder for the log, with nothing in it but what an interrupted restore left, which is removed
 * unless another one is at it. */
static int folder_prepare(const char *data, const char *part, struct fault *fault)
{
    struct stat status;
    if (stat(data, &status) != 0 && mkdir(data, 0755) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot make the folder %.200s: %s", data,
                  strerror(errno));
        return fault->code;
    }
    if (make_log_refuse_strangers(data, RESTORE_PART_NAME, fault) != 0) {
        return fault->code;
    }
    if (stat(part, &status) == 0 && make_log_remove(part, fault) != 0) {
        return fault->code;
    }
    return 0;
}

static int folder_restore(struct restore *restore,
                          const struct config_node *node,
                          const char *path,
                          const struct format_config *format,
                          struct fault *fault)
{
    char part[PATH_MAX];
    int length = snprintf(part, sizeof part, "%s/%s", node->data, RESTORE_PART_NAME);
    ASSERT(length > 0);
    if ((size_t)length >= sizeof part) {
        fault_set(fault, FAULT_ENVIRONMENT, "the name of the folder %.64s... is too long",
                  node->data);
        return fault->code;
    }
    uint64_t bytes = restore->config->size_bytes / PAGE_BYTES * PAGE_BYTES;
    if (folder_prepare(node->data, part, fault) != 0 ||
        disk_uring_create(part, bytes, fault) != 0) {
        return fault->code;
    }
    if (log_write(restore, part, format, fault) != 0) {
        (void)unlink(part);
    } else if (rename(part, path) != 0 || command_sync_folder(path) != 0 ||
               command_sync_folder(node->data) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot give %.200s its name: %s", path,
                  strerror(errno));
    }
    return fault->code;
}

int restore_node(struct restore *restore,
                 const struct config_node *node,
                 bool *already,
                 struct fault *fault)
{
    const struct format_config format = {
        .cluster = restore->config->cluster,
        .store = store_of(restore, node->id),
        .node = node->id,
        .segment_bytes = restore->config->segment_bytes,
        .window_bytes = WRITE_WINDOW_BYTES,
        .first_offset = restore->source.first_offset,
        .entry_term = RESTORE_TERM,
    };
    char path[PATH_MAX];
    if (!make_log_path(node->data, path, sizeof path)) {
        fault_set(fault, FAULT_ENVIRONMENT, "the name %.64s... is too long", node->data);
        return fault->code;
    }
    int found = place_look(path, &format, fault);
    *already = found > 0;
    if (found != 0) {
        return fault->code;
    }
    struct stat status;
    if (stat(node->data, &status) != 0 || S_ISDIR(status.st_mode)) {
        return folder_restore(restore, node, path, &format, fault);
    }
    uint64_t bytes = restore->config->size_bytes / PAGE_BYTES * PAGE_BYTES;
    return disk_uring_create(path, bytes, fault) == 0 ? log_write(restore, path, &format, fault)
                                                      : fault->code;
}
