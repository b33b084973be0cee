/* offline.c: see offline.h. */
#include "engine/cli/offline.h"

#include "engine/base/entry.h"
#include "engine/base/units.h"
#include "engine/cli/holder.h"
#include "engine/cli/make_log.h"
#include "storage/disk_posix.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { KEY_FROM = 512, KEY_TO };

static const struct argp_option flag_options[] = {
    {"from", KEY_FROM, "I", 0, "First Raft index that matters (the log's first)", 0},
    {"to", KEY_TO, "I", 0, "Last Raft index that matters, itself included (the log's last)", 0},
    {"json", 'j', NULL, 0, "Print JSON and nothing else", 0},
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

void offline_begin(struct argp_state *state, struct offline_options *options, uint32_t data_wanted)
{
    ASSERT(data_wanted >= 1);
    ASSERT(data_wanted <= 2);
    *options = (struct offline_options){.from = 1, .to = INT64_MAX, .data_wanted = data_wanted};
    state->child_inputs[0] = options;
}

static error_t flag_parse(int key, char *value, struct argp_state *state)
{
    struct offline_options *options = state->input;
    switch (key) {
    case KEY_FROM:
        options->from = parse_index(state, "from", value);
        options->ranged = true;
        return 0;
    case KEY_TO:
        options->to = parse_index(state, "to", value);
        options->ranged = true;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->data_count == options->data_wanted) {
            argp_error(state, "`%s`: one argument too many", value);
        }
        options->data[options->data_count++] = value;
        return 0;
    case ARGP_KEY_END:
        if (options->data_count < options->data_wanted) {
            argp_error(state, "%s: the folder or block device of a log",
                       options->data_wanted == 1 ? "DATA is missing" : "two of DATA are needed");
        }
        if (options->from > options->to) {
            argp_error(state, "--from is above --to");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp flag_argp = {.options = flag_options, .parser = flag_parse};
const struct argp_child offline_flags[] = {{.argp = &flag_argp}, {0}};

/* Somebody has it open. Whose log it is can be read all the same. */
static void busy_refuse(const struct offline *offline, struct fault *fault)
{
    struct superblock superblock;
    char node[16] = "N";
    if (holder_superblock(offline->path, &superblock)) {
        snprintf(node, sizeof node, "%u", superblock.node);
    }
    fault_set(fault, FAULT_ENVIRONMENT,
              "%.200s is open in another process (`fuser -v %.80s` names it): stop the node, or "
              "read what it has committed with `thole read -c FILE --node %s`",
              offline->path, offline->path, node);
}

static void entry_visit(void *context, const uint8_t *entry)
{
    struct offline *offline = context;
    uint64_t commit_index = entry_header_of(entry)->commit_index;
    if (commit_index > offline->commit_index) {
        offline->commit_index = commit_index;
    }
    if (offline->visitor != NULL && offline->visitor->entry != NULL) {
        offline->visitor->entry(offline->visitor->context, entry);
    }
}

static void
state_visit(void *context, const struct log_start *start, const void *bytes, uint32_t count)
{
    struct offline *offline = context;
    if (offline->visitor != NULL && offline->visitor->state != NULL) {
        offline->visitor->state(offline->visitor->context, start, bytes, count);
    }
}

/* A disk that does not answer: it has served nobody here, so it is the machine's fault. */
static bool hangs(const struct offline *offline, struct fault *fault)
{
    bool does = disk_check(offline->disk, fault) != 0;
    fault->code = does ? FAULT_ENVIRONMENT : fault->code;
    return does;
}

/* The memory of a disk that hangs stays. */
static void close_all(struct offline *offline)
{
    if (offline->disk == NULL || disk_close_unless_busy(offline->disk)) {
        mem_close(&offline->mem);
    }
}

static int disk_open(struct offline *offline, struct fault *fault)
{
    offline->buffer = mem_take(&offline->mem, "read buffer", 1, RECOVER_BUFFER_BYTES, PAGE_BYTES);
    struct disk_posix_config config = {.path = offline->path, .access = DISK_ACCESS_READ};
    int result = disk_posix_open(&offline->disk, &offline->mem, &config, fault);
    if (result == -EBUSY) {
        busy_refuse(offline, fault);
    }
    if (result != 0) {
        return result;
    }
    const struct recover_visitor visitor = {
        .entry = entry_visit, .state = state_visit, .context = offline};
    const struct recover_config expected = {
        .cluster = offline->cluster,
        .node = offline->node,
        .buffer = offline->buffer,
        .visitor = &visitor,
        .survey = true,
    };
    result = recover(offline->disk, &expected, &offline->found, fault);
    if (result != 0) {
        return hangs(offline, fault) ? -ETIMEDOUT : result;
    }
    if (offline->found.start.last.index > offline->commit_index) {
        offline->commit_index = offline->found.start.last.index; /* Trimmed: it was committed. */
    }
    return 0;
}

int offline_open(struct offline *offline,
                 const char *data,
                 const struct recover_visitor *visitor,
                 uint64_t extra_bytes,
                 struct fault *fault)
{
    offline->commit_index = 0;
    offline->visitor = visitor;
    if (!make_log_path(data, offline->path, sizeof offline->path)) {
        fault_set(fault, FAULT_ENVIRONMENT, "the name %.64s... is too long", data);
        return fault->code;
    }
    uint64_t bytes =
        RECOVER_BUFFER_BYTES + disk_posix_memory_bytes() + extra_bytes + 4 * PAGE_BYTES;
    if (mem_open(&offline->mem, bytes) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory to read %.200s", offline->path);
        return fault->code;
    }
    if (disk_open(offline, fault) != 0) {
        close_all(offline);
        ASSERT(fault->code != 0);
        return fault->code;
    }
    return 0;
}

int offline_close(struct offline *offline, int code, struct fault *fault)
{
    code = hangs(offline, fault) ? fault->code : code;
    close_all(offline);
    return code;
}

bool offline_in_range(const struct offline_options *options, const struct walk_item *item)
{
    if (walk_is_entry(item)) {
        return item->header.index >= options->from && item->header.index <= options->to;
    }
    /* Every page that begins no entry now may have been one of those behind item->after. */
    uint64_t first = item->after.index + 1;
    return first <= options->to && first + item->bytes / PAGE_BYTES > options->from;
}

void offline_count(struct offline_totals *totals, const struct walk_item *item)
{
    totals->items[item->status]++;
    totals->records += walk_is_sound(item) ? item->header.record_count : 0;
    totals->damage += item->damage;
    totals->damaged_bytes += item->damage ? item->bytes : 0;
    totals->bad_pages += item->bad_pages;
}

json_t *offline_totals_json(const struct offline_totals *totals)
{
    json_t *object = json_object();
    for (uint32_t status = 0; status < WALK_STATUS_COUNT; status++) {
        json_object_set_new(object, walk_status_name(status),
                            json_integer((json_int_t)totals->items[status]));
    }
    json_object_set_new(object, "records", json_integer((json_int_t)totals->records));
    json_object_set_new(object, "damaged", json_integer((json_int_t)totals->damage));
    json_object_set_new(object, "damaged_bytes", json_integer((json_int_t)totals->damaged_bytes));
    return object;
}

const char *offline_kind_name(uint8_t entry_kind)
{
    switch ((enum entry_kind)entry_kind) {
    case ENTRY_NOOP:
        return "noop";
    case ENTRY_CLIENT:
        return "client";
    case ENTRY_CONFIGURATION:
        return "configuration";
    case ENTRY_TRIM:
        return "trim";
    }
    ASSERT(false); /* Its header was checked. */
}

static void print_reason(const struct walk_item *item)
{
    if (item->why == NULL) {
        return;
    }
    if (item->status == WALK_TORN || item->status == WALK_BAD) {
        printf(", page %u: %s", item->page, item->why);
    } else {
        printf(": %s", item->why);
    }
}

void offline_print_item(const struct walk_item *item)
{
    if (walk_is_entry(item)) {
        const struct entry_header *header = &item->header;
        printf("%-8s entry %" PRIu64 ", term %" PRIu64 ", %s, position %" PRIu64 ", %u page%s",
               walk_status_name(item->status), header->index, header->term,
               offline_kind_name(header->kind), header->position, header->pages,
               header->pages == 1 ? "" : "s");
        if (header->record_count > 0) {
            printf(", offsets %" PRIu64 " to %" PRIu64, header->first_offset,
                   header->first_offset + header->record_count - 1);
        }
    } else {
        printf("%-8s bytes %" PRIu64 " to %" PRIu64 " behind entry %" PRIu64 ", %" PRIu64
               " page%s skipped",
               walk_status_name(item->status), item->position, item->position + item->bytes,
               item->after.index, item->bytes / PAGE_BYTES, item->bytes == PAGE_BYTES ? "" : "s");
    }
    print_reason(item);
    putchar('\n');
}

static json_t *set_json(raft_set set)
{
    json_t *list = json_array();
    for (int id = 1; id <= (int)NODE_ID_MAX; id++) {
        if ((set >> id & 1) != 0) {
            json_array_append_new(list, json_integer(id));
        }
    }
    return list;
}

json_t *offline_configuration_json(const struct raft_configuration *configuration)
{
    json_t *stores = json_object();
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", configuration->members[i].id);
        json_object_set_new(stores, id, offline_hex(configuration->members[i].store));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "voters", set_json(configuration->voters), "outgoing",
                     set_json(configuration->outgoing), "learners",
                     set_json(configuration->learners), "stores", stores);
}

void offline_print_configuration(const struct raft_configuration *configuration)
{
    const raft_set sets[] = {configuration->voters, configuration->outgoing,
                             configuration->learners};
    static const char *const names[] = {"voters", "outgoing voters", "learners"};
    const char *before = "";
    for (uint32_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        if (sets[i] == 0) {
            continue;
        }
        printf("%s%s", before, names[i]);
        for (uint32_t k = 0; k < configuration->member_count; k++) {
            const struct raft_member *member = &configuration->members[k];
            if ((sets[i] >> member->id & 1) != 0) {
                printf(" %u (store %016" PRIx64 ")", member->id, member->store);
            }
        }
        before = "; ";
    }
}

json_t *offline_hex(uint64_t id)
{
    char text[24];
    snprintf(text, sizeof text, "%016" PRIx64, id);
    return json_string(text);
}

json_t *offline_text(const char *name)
{
    json_t *text = json_string(name);
    return text != NULL ? text : json_null();
}

static void entry_json(json_t *object, const struct walk_item *item)
{
    const struct entry_header *header = &item->header;
    json_t *fields = json_pack(
        "{s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "index",
        (json_int_t)header->index, "term", (json_int_t)header->term, "previous_term",
        (json_int_t)header->previous_term, "kind", offline_kind_name(header->kind), "pages",
        (json_int_t)header->pages, "first_offset", (json_int_t)header->first_offset, "record_count",
        (json_int_t)header->record_count, "session_record_count",
        (json_int_t)header->session_record_count, "commit_index", (json_int_t)header->commit_index,
        "leader_time_ns", (json_int_t)header->leader_time_ns, "epoch", (json_int_t)item->node.epoch,
        "durable_position", (json_int_t)item->node.durable_position);
    ASSERT(fields != NULL);
    json_object_update(object, fields);
    json_decref(fields);
}

json_t *offline_item_json(const struct walk_item *item)
{
    bool paged = item->status == WALK_TORN || item->status == WALK_BAD;
    json_t *object = json_pack(
        "{s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:s?}", "type",
        walk_is_entry(item) ? "entry" : "pages", "status", walk_status_name(item->status), "damage",
        item->damage, "proven", item->proven, "position", (json_int_t)item->position, "bytes",
        (json_int_t)item->bytes, "after_index", (json_int_t)item->after.index, "why", item->why);
    ASSERT(object != NULL);
    json_object_set_new(object, "page", paged ? json_integer(item->page) : json_null());
    if (walk_is_entry(item)) {
        entry_json(object, item);
    }
    return object;
}

int offline_print_json(json_t *object, bool line)
{
    int printed = json_dumpf(object, stdout, line ? JSON_COMPACT : JSON_INDENT(2));
    json_decref(object);
    putchar('\n');
    return printed == 0 && ferror(stdout) == 0 ? 0 : FAULT_ENVIRONMENT;
}
