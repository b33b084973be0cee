/* offline.h: the log of a stopped node, opened to be looked at: what `thole log` works on.
 *
 * A log that a node has open is refused, with the command that reads it from the node. What a node
 * would be refused for (no readable superblock slot, a truncated file) does not stop whoever looks:
 * it stands in `found`. Writes nothing.
 */
#ifndef ENGINE_CLI_OFFLINE_H
#define ENGINE_CLI_OFFLINE_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "engine/raft/raft.h"
#include "storage/disk.h"
#include "storage/recover.h"
#include "storage/walk.h"

#include <argp.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

/* What the log commands are told. */
struct offline_options {
    const char *data[2];
    uint32_t data_count;
    uint32_t data_wanted;
    bool json;
    bool ranged;
    uint64_t from; /* Raft indexes, both inclusive. */
    uint64_t to;
};

/* Their flags and arguments, for `children` of a command's parser; at ARGP_KEY_INIT it calls
 * offline_begin() with its own struct offline_options and how many DATA it wants, 1 or 2. */
extern const struct argp_child offline_flags[];
void offline_begin(struct argp_state *state, struct offline_options *options, uint32_t data_wanted);

struct offline {
    struct mem mem;
    struct disk *disk;
    uint8_t *buffer; /* RECOVER_BUFFER_BYTES, page aligned: for a walk. */
    char path[PATH_MAX];
    struct recovery found;
    uint64_t commit_index; /* Entries up to here were committed, by the proven prefix's own word. */
    const struct recover_visitor *visitor; /* Of the caller. */
    uint64_t cluster; /* Whose log is expected, by the caller before it opens; 0: any, ... */
    uint8_t node;     /* ... and so for this. */
};

/* Open DATA and recover() it, with the caller's visitor or NULL; the caller may take `extra_bytes`
 * from offline->mem. 0; or a fault's code with the fault told and nothing open. */
MUST_USE int offline_open(struct offline *offline,
                          const char *data,
                          const struct recover_visitor *visitor,
                          uint64_t extra_bytes,
                          struct fault *fault);

/* Close. Returns `code`, what the command came to; or, when the disk hung and nothing that it said
 * since is true, a fault's code with the fault told. */
MUST_USE int offline_close(struct offline *offline, int code, struct fault *fault);

/* Whether an item may hold an index of the range. */
bool offline_in_range(const struct offline_options *options, const struct walk_item *item);

/* Counts over a walk. */
struct offline_totals {
    uint64_t items[WALK_STATUS_COUNT];
    uint64_t records;       /* Of whole entries. */
    uint64_t damage;        /* Items that belong to the damage, ... */
    uint64_t damaged_bytes; /* ... and their bytes. */
    uint64_t bad_pages;
};
void offline_count(struct offline_totals *totals, const struct walk_item *item);
json_t *offline_totals_json(const struct offline_totals *totals);

/* The place and status of an item in words, or as an object with `type`: entry or pages. */
void offline_print_item(const struct walk_item *item);
json_t *offline_item_json(const struct walk_item *item);
const char *offline_kind_name(uint8_t entry_kind);

/* The members of a configuration, with their store ids; printed without a newline. */
json_t *offline_configuration_json(const struct raft_configuration *configuration);
void offline_print_configuration(const struct raft_configuration *configuration);

/* An id as 16 hexadecimal digits. */
json_t *offline_hex(uint64_t id);

/* A file's name; NULL, as JSON knows it, when it is not UTF-8. */
json_t *offline_text(const char *name);

/* Print an object, in one line or several. 0 or FAULT_ENVIRONMENT when stdout takes no more. */
MUST_USE int offline_print_json(json_t *object, bool line);

#endif
