/* cmd_log_dump.c: `thole log dump`: every entry of a log with its records, past whatever is
 * damaged.
 */
#include "engine/cli/command.h"
#include "engine/cli/offline.h"
#include "engine/cli/payload.h"

#include "engine/base/entry.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdio.h>

struct dump {
    struct offline_options options; /* First: the parser's input. */
    bool headers;
    bool hex;
    bool all;
    struct offline offline;
    struct offline_totals totals;
    uint8_t *payload; /* RECORD_BYTES_MAX. */
    char *base64;     /* PAYLOAD_BASE64_BYTES. */
};

enum { KEY_HEADERS = 256, KEY_HEX, KEY_TEXT, KEY_ALL };

static const struct argp_option dump_options[] = {
    {"headers", KEY_HEADERS, NULL, 0, "One line an entry, without its records", 0},
    {"text", KEY_TEXT, NULL, 0, "Records as text, other bytes as \\xNN (the default)", 0},
    {"hex", KEY_HEX, NULL, 0, "Records as hexadecimal", 0},
    {"all", KEY_ALL, NULL, 0, "Also void entries and unwritten pages", 0},
    {0},
};

static error_t dump_parse(int key, char *value, struct argp_state *state)
{
    (void)value;
    struct dump *dump = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        offline_begin(state, &dump->options, 1);
        return 0;
    case KEY_HEADERS:
        dump->headers = true;
        return 0;
    case KEY_HEX:
        dump->hex = true;
        return 0;
    case KEY_TEXT:
        dump->hex = false;
        return 0;
    case KEY_ALL:
        dump->all = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp dump_argp = {
    .options = dump_options,
    .parser = dump_parse,
    .children = offline_flags,
    .args_doc = "DATA",
    .doc =
        "Print the entries of a stopped node's log, each with its status and its records, and go "
        "on behind what is damaged: bytes in which no entry can be recognised are named and "
        "skipped up to the next page that begins an entry. The last line sums up the whole log, "
        "whatever the range. With --json: one object a line, `type` entry, pages or summary; an "
        "entry's `records` have offset, session, sequence, and data, or data_base64 where the "
        "bytes are not UTF-8. docs/OPERATING.md says what each status means. Entries are shown "
        "as they lie in this log: the last ones need not be committed."
        "\vExit codes: 0 printed, whatever is damaged (`thole log verify` judges); 1 no copy of "
        "the superblock can be read; 3 not a log, of another version, or "
        "open in a running node.\n\n"
        "Example:\n  thole log dump n1 --from 100 --to 120 --hex",
};

static const char *record_kind_name(uint8_t kind)
{
    switch ((enum record_kind)kind) {
    case RECORD_APPEND:
        return "append";
    case RECORD_REGISTER:
        return "register";
    case RECORD_REFUSED:
        return "refused";
    case RECORD_KIND_COUNT:
        break;
    }
    ASSERT(false); /* entry_check() has seen it. */
}

/* A record at `offset`, which appends alone have. */
static void print_record(struct dump *dump, const struct record_header *record, uint64_t offset)
{
    if (record->kind == RECORD_APPEND) {
        printf("  %-8" PRIu64 " ", offset);
    } else {
        printf("  %-8s ", record_kind_name(record->kind));
    }
    if (record->session != 0) {
        printf("(session %" PRIx64 ", sequence %" PRIu64 ") ", record->session, record->sequence);
    }
    if (dump->hex) {
        putchar('\n');
        payload_print_hex(dump->payload, record->bytes, "    ");
    } else {
        payload_print_text(dump->payload, record->bytes);
        putchar('\n');
    }
}

static json_t *record_json(struct dump *dump, const struct record_header *record, uint64_t offset)
{
    json_t *object = json_object();
    bool append = record->kind == RECORD_APPEND;
    json_object_set_new(object, "kind", json_string(record_kind_name(record->kind)));
    json_object_set_new(object, "offset", append ? json_integer((json_int_t)offset) : json_null());
    json_object_set_new(object, "session",
                        record->session != 0 ? offline_hex(record->session) : json_null());
    json_object_set_new(object, "sequence",
                        record->session != 0 ? json_integer((json_int_t)record->sequence)
                                             : json_null());
    payload_json(object, dump->payload, record->bytes, dump->base64);
    return object;
}

/* The records of a whole client entry; into `list` when it is not NULL. */
static void dump_records(struct dump *dump, const struct walk_item *item, json_t *list)
{
    uint64_t offset = item->header.first_offset;
    uint32_t cursor = 0;
    uint32_t payload_offset = 0;
    struct record_header record;
    while (entry_record_next(item->entry, &cursor, &record, &payload_offset)) {
        entry_body_read(item->entry, payload_offset, dump->payload, record.bytes);
        if (list != NULL) {
            json_array_append_new(list, record_json(dump, &record, offset));
        } else {
            print_record(dump, &record, offset);
        }
        offset += record.kind == RECORD_APPEND;
    }
}

/* What a configuration or a trim says. */
struct body {
    bool good;
    struct raft_configuration configuration;
    struct log_start start;
};

static struct body body_of(const struct walk_item *item)
{
    struct body body = {0};
    uint8_t bytes[CONFIGURATION_BODY_BYTES];
    uint32_t count = item->header.body_bytes;
    if (count <= sizeof bytes) {
        entry_body_read(item->entry, 0, bytes, count);
        body.good = item->header.kind == ENTRY_CONFIGURATION
                        ? configuration_decode(bytes, count, &body.configuration)
                        : trim_decode(bytes, count, &body.start);
    }
    return body;
}

static json_t *body_json(const struct walk_item *item)
{
    const struct body body = body_of(item);
    if (!body.good) {
        return json_null();
    }
    if (item->header.kind == ENTRY_CONFIGURATION) {
        return offline_configuration_json(&body.configuration);
    }
    const struct log_start *start = &body.start;
    return json_pack("{s:I, s:I, s:I, s:I}", "position", (json_int_t)start->position, "after_index",
                     (json_int_t)start->last.index, "after_term", (json_int_t)start->last.term,
                     "offset", (json_int_t)start->offset);
}

static void print_body(const struct walk_item *item)
{
    const struct body body = body_of(item);
    printf("  ");
    if (!body.good) {
        printf("a body that no leader makes");
    } else if (item->header.kind == ENTRY_CONFIGURATION) {
        offline_print_configuration(&body.configuration);
    } else {
        printf("the log is to begin at position %" PRIu64 ", behind entry %" PRIu64
               " of term %" PRIu64 ", offset %" PRIu64,
               body.start.position, body.start.last.index, body.start.last.term, body.start.offset);
    }
    putchar('\n');
}

static bool has_body(const struct walk_item *item)
{
    return item->header.kind == ENTRY_CONFIGURATION || item->header.kind == ENTRY_TRIM;
}

static int dump_json(struct dump *dump, const struct walk_item *item)
{
    json_t *object = offline_item_json(item);
    bool whole = walk_is_whole(item) && !dump->headers;
    if (whole && item->header.kind == ENTRY_CLIENT) {
        json_t *list = json_array();
        dump_records(dump, item, list);
        json_object_set_new(object, "records", list);
    } else if (whole && has_body(item)) {
        json_object_set_new(object, "body", body_json(item));
    }
    return offline_print_json(object, true);
}

static void dump_text(struct dump *dump, const struct walk_item *item)
{
    offline_print_item(item);
    if (!walk_is_whole(item) || dump->headers) {
        return;
    }
    if (has_body(item)) {
        print_body(item);
    }
    dump_records(dump, item, NULL);
}

/* What a healthy log has above its end, and where a hole is nobody's loss, is shown if asked for.
 */
static bool is_shown(const struct dump *dump, const struct walk_item *item)
{
    bool idle =
        item->status == WALK_STALE || item->status == WALK_REST || item->status == WALK_ABSENT;
    return offline_in_range(&dump->options, item) && (dump->all || item->damage || !idle);
}

static int print_summary(const struct dump *dump)
{
    const struct recovery *found = &dump->offline.found;
    const struct offline_totals *totals = &dump->totals;
    if (dump->options.json) {
        json_t *object =
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:s?}", "type", "summary", "path",
                      dump->offline.path, "state", recover_kind_name(found->kind), "last_index",
                      (json_int_t)found->last.index, "committed_index",
                      (json_int_t)dump->offline.commit_index, "next_offset",
                      (json_int_t)found->next_offset, "counts", offline_totals_json(totals), "what",
                      found->what[0] != '\0' ? found->what : NULL);
        ASSERT(object != NULL);
        return offline_print_json(object, true);
    }
    printf("%s: %s", dump->offline.path, recover_kind_name(found->kind));
    for (uint32_t status = 0; status < WALK_STATUS_COUNT; status++) {
        if (totals->items[status] > 0 && status != WALK_ABSENT) {
            printf(", %" PRIu64 " %s", totals->items[status], walk_status_name(status));
        }
    }
    printf("; %" PRIu64 " records, %" PRIu64 " damaged places of %" PRIu64 " bytes\n",
           totals->records, totals->damage, totals->damaged_bytes);
    if (found->what[0] != '\0') {
        printf("%s\n", found->what);
    }
    return 0;
}

static int dump_log(struct dump *dump, struct fault *fault)
{
    struct walk walk;
    struct walk_item item;
    walk_init(&walk, dump->offline.disk, &dump->offline.found, dump->offline.buffer);
    int result = 0;
    while (result == 0 && walk_next(&walk, &item)) {
        offline_count(&dump->totals, &item);
        if (is_shown(dump, &item) && dump->options.json) {
            result = dump_json(dump, &item);
        } else if (is_shown(dump, &item)) {
            dump_text(dump, &item);
        }
        result = ferror(stdout) != 0 ? FAULT_ENVIRONMENT : result;
    }
    result = result == 0 ? print_summary(dump) : result;
    if (result != 0 || fflush(stdout) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot write to stdout: is it full?");
    }
    return fault->code;
}

static int dump_run(int argc, char **argv)
{
    static struct dump dump; /* One a process. */
    if (argp_parse(&dump_argp, argc, argv, 0, NULL, &dump) != 0) {
        return FAULT_USAGE;
    }
    struct fault fault = {0};
    uint64_t extra_bytes = RECORD_BYTES_MAX + PAYLOAD_BASE64_BYTES + PAGE_BYTES;
    if (offline_open(&dump.offline, dump.options.data[0], NULL, extra_bytes, &fault) != 0) {
        return command_fail(&fault);
    }
    dump.payload = mem_take(&dump.offline.mem, "payload", 1, RECORD_BYTES_MAX, 64);
    dump.base64 = mem_take(&dump.offline.mem, "base64", 1, PAYLOAD_BASE64_BYTES, 64);
    int code = dump_log(&dump, &fault);
    code = offline_close(&dump.offline, code, &fault);
    return code != 0 ? command_fail(&fault) : 0;
}

const struct command command_log_dump = {
    .name = "log dump",
    .summary = "The entries of a log on disk, past damage (offline)",
    .argp = &dump_argp,
    .run = dump_run,
};
