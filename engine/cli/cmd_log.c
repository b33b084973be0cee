/* cmd_log.c: `thole log verify`: what a log holds, offline, by the rules of recovery. */
#include "engine/cli/command.h"
#include "engine/cli/make_log.h"

#include "engine/base/mem.h"
#include "storage/disk_uring.h"
#include "storage/recover.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>

struct verify_arguments {
    const char *data;
    bool json;
};

static const struct argp_option verify_options[] = {
    {"json", 'j', NULL, 0, "Print one JSON object", 0},
    {0},
};

static error_t verify_parse(int key, char *value, struct argp_state *state)
{
    struct verify_arguments *arguments = state->input;
    switch (key) {
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
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp verify_argp = {
    .options = verify_options,
    .parser = verify_parse,
    .args_doc = "DATA",
    .doc = "Read a log that no node has open and tell whether it is whole. Exit 0: clean, or torn "
           "by a "
           "power cut where nothing was acknowledged; 1: corrupt; 3: not a log."
           "\vExample:\n  thole log verify n1",
};

static bool is_whole(const struct recovery *found)
{
    return found->kind == RECOVER_CLEAN || found->kind == RECOVER_TORN;
}

static int print_json(const struct recovery *found, const char *path)
{
    json_t *object = json_pack(
        "{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "path", path, "state",
        recover_kind_name(found->kind), "whole", is_whole(found), "node", (json_int_t)found->node,
        "entries", (json_int_t)found->entry_count, "last_index", (json_int_t)found->last.index,
        "last_term", (json_int_t)found->last.term, "start_offset", (json_int_t)found->start.offset,
        "next_offset", (json_int_t)found->next_offset, "end_position",
        (json_int_t)found->end_position, "durable_position", (json_int_t)found->durable_position,
        "bad_pages", (json_int_t)found->bad_pages);
    char cluster[24];
    snprintf(cluster, sizeof(cluster), "%016" PRIx64, found->cluster);
    json_object_set_new(object, "cluster", json_string(cluster));
    json_object_set_new(object, "bad_position",
                        found->bad_pages > 0 ? json_integer((json_int_t)found->bad_position)
                                             : json_null());
    json_object_set_new(object, "what",
                        found->what[0] != '\0' ? json_string(found->what) : json_null());
    int printed = json_dumpf(object, stdout, JSON_INDENT(2));
    json_decref(object);
    putchar('\n');
    return printed == 0 ? 0 : FAULT_INTERNAL;
}

static void print_text(const struct recovery *found, const char *path)
{
    printf("%s: %s, node %u of cluster %016" PRIx64 "\n", path, recover_kind_name(found->kind),
           found->node, found->cluster);
    printf("entries   %" PRIu64 ", last index %" PRIu64 " of term %" PRIu64 "\n",
           found->entry_count, found->last.index, found->last.term);
    printf("records   offsets %" PRIu64 " to before %" PRIu64 "\n", found->start.offset,
           found->next_offset);
    printf("bytes     positions %" PRIu64 " to %" PRIu64 ", durable %" PRIu64 "\n",
           found->start.position, found->end_position, found->durable_position);
    if (found->what[0] != '\0') {
        printf("found     %s\n", found->what);
    }
}

static int verify_disk(struct mem *mem, const char *path, bool json, struct fault *fault)
{
    uint8_t *buffer = mem_take(mem, "read buffer", 1, RECOVER_BUFFER_BYTES, PAGE_BYTES);
    struct disk *disk = NULL;
    struct disk_uring_config config = {.path = path, .access = DISK_ACCESS_READ};
    if (disk_uring_open(&disk, mem, &config, fault) != 0) {
        return fault->code;
    }
    struct recovery found;
    const struct recover_config expected = {.buffer = buffer};
    int result = recover(disk, &expected, &found, fault);
    disk_close(disk);
    if (result != 0) {
        return fault->code;
    }
    if (json) {
        result = print_json(&found, path);
    } else {
        print_text(&found, path);
    }
    return result != 0 ? result : is_whole(&found) ? 0 : FAULT_FAILED;
}

static int verify_run(int argc, char **argv)
{
    struct verify_arguments arguments = {0};
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
    int code = verify_disk(&mem, path, arguments.json, &fault);
    mem_close(&mem);
    return fault.code != 0 ? command_fail(&fault) : code;
}

const struct command command_log_verify = {
    .name = "log verify",
    .summary = "Whether a log on disk is whole (offline)",
    .run = verify_run,
};
