/* cmd_log.c: `thole log verify`: what a log holds, offline, by the rules of recovery. */
#include "engine/cli/command.h"
#include "engine/cli/make_log.h"

#include "engine/base/entry.h"
#include "engine/base/mem.h"
#include "engine/base/units.h"
#include "storage/disk_uring.h"
#include "storage/recover.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>

struct verify_arguments {
    const char *data;
    bool json;
    bool ranged;
    uint64_t from; /* Raft indexes, both inclusive. */
    uint64_t to;
};

/* What of the range was met in the proven prefix. */
struct verify_range {
    bool asked; /* False: the whole log. */
    uint64_t from;
    uint64_t to;
    uint64_t entries;
    uint64_t records;
};

enum { KEY_FROM = 256, KEY_TO };

static const struct argp_option verify_options[] = {
    {"from", KEY_FROM, "I", 0, "First Raft index that matters (the log's first)", 0},
    {"to", KEY_TO, "I", 0, "Last Raft index that matters, itself included (the log's last)", 0},
    {"json", 'j', NULL, 0, "Print one JSON object", 0},
    {0},
};

static uint64_t parse_index(struct argp_state *state, const char *flag, const char *value)
{
    uint64_t index = 0;
    if (!units_parse_number(value, 1, INT64_MAX, &index)) {
        argp_error(state, "--%s: `%s` is not a Raft index, a number from 1", flag, value);
    }
    return index;
}

static error_t verify_parse(int key, char *value, struct argp_state *state)
{
    struct verify_arguments *arguments = state->input;
    switch (key) {
    case KEY_FROM:
        arguments->from = parse_index(state, "from", value);
        arguments->ranged = true;
        return 0;
    case KEY_TO:
        arguments->to = parse_index(state, "to", value);
        arguments->ranged = true;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->data != NULL) {
            argp_error(state, "one DATA only, `%s` is too many", value);
        }
        arguments->data = value;
        return 0;
    case ARGP_KEY_END:
        if (arguments->data == NULL) {
            argp_error(state, "DATA is missing: the folder or block device of a log");
        }
        if (arguments->from > arguments->to) {
            argp_error(state, "--from is above --to");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp verify_argp = {
    .options = verify_options,
    .parser = verify_parse,
    .args_doc = "DATA",
    .doc =
        "Read a log that no node has open and tell whether it is whole. Exit 0: clean, or torn "
        "by a power cut where nothing was acknowledged; 1: corrupt; 3: not a log. With --from or "
        "--to, damage above the range does not count; damage below it does, for what follows "
        "cannot be proven then."
        "\vExample:\n  thole log verify n1",
};

static void count_entry(void *context, const uint8_t *entry)
{
    struct verify_range *range = context;
    const struct entry_header *header = entry_header_of(entry);
    if (header->index >= range->from && header->index <= range->to) {
        range->entries++;
        range->records += header->record_count;
    }
}

/* Clean, torn, or damaged only above the range: in the proven prefix every entry chains, but for
 * one that was written again later. */
static bool is_whole(const struct recovery *found, const struct verify_range *range)
{
    if (found->kind == RECOVER_CLEAN || found->kind == RECOVER_TORN) {
        return true;
    }
    bool rewritten = found->mismatch_index != 0 && found->mismatch_index <= range->to;
    return range->to <= found->last.index && !rewritten;
}

static int
print_json(const struct recovery *found, const struct verify_range *range, const char *path)
{
    json_t *object = json_pack(
        "{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "path", path, "state",
        recover_kind_name(found->kind), "whole", is_whole(found, range), "node",
        (json_int_t)found->node, "entries", (json_int_t)found->entry_count, "last_index",
        (json_int_t)found->last.index, "last_term", (json_int_t)found->last.term, "start_offset",
        (json_int_t)found->start.offset, "next_offset", (json_int_t)found->next_offset,
        "end_position", (json_int_t)found->end_position, "durable_position",
        (json_int_t)found->durable_position, "bad_pages", (json_int_t)found->bad_pages);
    char cluster[24];
    snprintf(cluster, sizeof(cluster), "%016" PRIx64, found->cluster);
    json_object_set_new(object, "cluster", json_string(cluster));
    json_object_set_new(object, "bad_position",
                        found->bad_pages > 0 ? json_integer((json_int_t)found->bad_position)
                                             : json_null());
    json_object_set_new(object, "what",
                        found->what[0] != '\0' ? json_string(found->what) : json_null());
    json_object_set_new(
        object, "range",
        !range->asked ? json_null()
                      : json_pack("{s:I, s:I, s:I, s:I}", "from", (json_int_t)range->from, "to",
                                  (json_int_t)range->to, "entries", (json_int_t)range->entries,
                                  "records", (json_int_t)range->records));
    int printed = json_dumpf(object, stdout, JSON_INDENT(2));
    json_decref(object);
    putchar('\n');
    return printed == 0 ? 0 : FAULT_INTERNAL;
}

static void
print_text(const struct recovery *found, const struct verify_range *range, const char *path)
{
    printf("%s: %s, node %u of cluster %016" PRIx64 "\n", path, recover_kind_name(found->kind),
           found->node, found->cluster);
    printf("entries   %" PRIu64 ", last index %" PRIu64 " of term %" PRIu64 "\n",
           found->entry_count, found->last.index, found->last.term);
    printf("records   offsets %" PRIu64 " to before %" PRIu64 "\n", found->start.offset,
           found->next_offset);
    printf("bytes     positions %" PRIu64 " to %" PRIu64 ", durable %" PRIu64 "\n",
           found->start.position, found->end_position, found->durable_position);
    if (range->asked) {
        printf("range     indexes %" PRIu64 " to %" PRIu64 ": %" PRIu64 " entries, %" PRIu64
               " records, %s\n",
               range->from, range->to, range->entries, range->records,
               is_whole(found, range) ? "whole" : "NOT WHOLE");
    }
    if (found->what[0] != '\0') {
        printf("found     %s\n", found->what);
    }
}

static int verify_disk(struct mem *mem,
                       const char *path,
                       const struct verify_arguments *arguments,
                       struct fault *fault)
{
    uint8_t *buffer = mem_take(mem, "read buffer", 1, RECOVER_BUFFER_BYTES, PAGE_BYTES);
    struct disk *disk = NULL;
    struct disk_uring_config config = {.path = path, .access = DISK_ACCESS_READ};
    if (disk_uring_open(&disk, mem, &config, fault) != 0) {
        return fault->code;
    }
    struct recovery found;
    struct verify_range range = {
        .asked = arguments->ranged, .from = arguments->from, .to = arguments->to};
    const struct recover_visitor visitor = {.entry = count_entry, .context = &range};
    const struct recover_config expected = {.buffer = buffer, .visitor = &visitor};
    int result = recover(disk, &expected, &found, fault);
    disk_close(disk);
    if (result != 0) {
        return fault->code;
    }
    if (arguments->json) {
        result = print_json(&found, &range, path);
    } else {
        print_text(&found, &range, path);
    }
    return result != 0 ? result : is_whole(&found, &range) ? 0 : FAULT_FAILED;
}

static int verify_run(int argc, char **argv)
{
    struct verify_arguments arguments = {.from = 1, .to = INT64_MAX};
    if (argp_parse(&verify_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    struct fault fault = {0};
    struct mem mem;
    char path[PATH_MAX];
    if (!make_log_path(arguments.data, path, sizeof(path))) {
        fault_set(&fault, FAULT_ENVIRONMENT, "the name %.64s... is too long", arguments.data);
        return command_fail(&fault);
    }
    uint64_t bytes = RECOVER_BUFFER_BYTES + disk_uring_memory_bytes() + 4 * PAGE_BYTES;
    if (mem_open(&mem, bytes) != 0) {
        fault_set(&fault, FAULT_ENVIRONMENT, "no memory to read %s", path);
        return command_fail(&fault);
    }
    int code = verify_disk(&mem, path, &arguments, &fault);
    mem_close(&mem);
    return fault.code != 0 ? command_fail(&fault) : code;
}

const struct command command_log_verify = {
    .name = "log verify",
    .summary = "Whether a log on disk is whole (offline)",
    .argp = &verify_argp,
    .run = verify_run,
};
