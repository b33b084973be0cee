/* cmd_backup.c: `thole backup`: the committed records of a serving cluster, as one file.
 *
 * What is copied is fixed when it begins: from where the log of the node that is asked starts to
 * what that node knows to be committed. Committed records never change, so whoever leads or
 * restarts meanwhile, the copy is one prefix of the log. A file gets its name when it is whole.
 */
#include "engine/cli/backup_file.h"
#include "engine/cli/command.h"
#include "engine/cli/offline.h"
#include "engine/cli/pull.h"

#include "engine/base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

struct backup {
    struct pull pull;
    const char *output;
    bool to_stdout;
    char part[PATH_MAX]; /* Where it is written until it is whole. */
    FILE *file;
    struct backup_writer writer;
    bool begun;
    uint64_t end_offset;
};

enum { KEY_NODE = 256, KEY_LINEARIZABLE };

static const struct argp_option backup_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"node", KEY_NODE, "N", 0, "Copy from this node (the leader)", 0},
    {"output", 'o', "FILE", 0, "Write to this file, - for stdout (-)", 0},
    {"linearizable", KEY_LINEARIZABLE, NULL, 0,
     "All that was committed before the call: the end is the word of a leader that has just proved "
     "its office (as the node knows it)",
     0},
    {"json", 'j', NULL, 0, "Print what was copied as one JSON object; needs --output FILE", 0},
    {0},
};

struct backup_arguments {
    struct pull_options pull;
    const char *output;
};

static error_t backup_parse(int key, char *value, struct argp_state *state)
{
    struct backup_arguments *arguments = state->input;
    switch (key) {
    case KEY_NODE:
        arguments->pull.node = connect_parse_node(state, value);
        return 0;
    case 'o':
        arguments->output = value;
        return 0;
    case KEY_LINEARIZABLE:
        arguments->pull.linearizable = true;
        return 0;
    case 'j':
        arguments->pull.json = true;
        return 0;
    case ARGP_KEY_END:
        if (arguments->pull.json && strcmp(arguments->output, "-") == 0) {
            argp_error(state, "--json: stdout holds the backup; name a file with --output FILE");
        }
        return command_parse_config(key, value, state, &arguments->pull.path);
    default:
        return command_parse_config(key, value, state, &arguments->pull.path);
    }
}

static const struct argp backup_argp = {
    .options = backup_options,
    .parser = backup_parse,
    .args_doc = "-c FILE",
    .doc =
        "Copy the committed records of a serving cluster into one file, from the log start to the "
        "committed end as the node that is asked knows it at the time of the call. `thole restore` "
        "makes a new cluster of it, with every record at its offset. The cluster serves meanwhile. "
        "A file gets its name when it is whole; a copy that was cut off is recognised as such."
        "\vExit codes: 0 copied; 1 the beginning was trimmed meanwhile; 3 cannot write; 4 nobody "
        "leads, or no answer.\n\n"
        "Example:\n  thole backup -c cluster.ini --output cluster.bak",
};

static void begin(struct backup *backup, uint64_t first_offset)
{
    struct backup_header header = {
        .node = backup->pull.fetch.view.node,
        .cluster = backup->pull.connect.config.cluster,
        .first_offset = first_offset,
        .end_offset = backup->end_offset > first_offset ? backup->end_offset : first_offset,
    };
    backup_begin(&backup->writer, backup->file, &header);
    backup->begun = true;
}

static void take(void *context, const struct fetch_record *record)
{
    struct backup *backup = context;
    if (!backup->begun) {
        begin(backup, record->offset);
    }
    ASSERT(record->offset == backup->writer.next_offset);
    backup_put(&backup->writer, record->payload, record->bytes);
    if (backup->writer.error != 0) {
        fetch_stop(&backup->pull.fetch);
    }
}

static void write_fault(const struct backup *backup, int error, struct fault *fault)
{
    fault_set(fault, FAULT_ENVIRONMENT, "cannot write the backup to %.200s: %s",
              backup->to_stdout ? "stdout" : backup->part, strerror(error));
}

/* The file to write. */
static int output_open(struct backup *backup, struct fault *fault)
{
    backup->to_stdout = strcmp(backup->output, "-") == 0;
    if (backup->to_stdout) {
        backup->file = stdout;
        if (isatty(STDOUT_FILENO) == 1) {
            fault_set(fault, FAULT_USAGE,
                      "a backup is no text for a terminal: name a file with --output FILE");
        }
        return fault->code;
    }
    int length = snprintf(backup->part, sizeof backup->part, "%s.part", backup->output);
    if (length < 0 || (size_t)length >= sizeof backup->part) {
        fault_set(fault, FAULT_ENVIRONMENT, "--output: the name %.64s... is too long",
                  backup->output);
        return fault->code;
    }
    backup->file = fopen(backup->part, "wbe");
    if (backup->file == NULL) {
        write_fault(backup, errno, fault);
    }
    return fault->code;
}

/* Give a whole file its name, durably. */
static int output_name(struct backup *backup, struct fault *fault)
{
    if (fsync(fileno(backup->file)) != 0 || rename(backup->part, backup->output) != 0 ||
        command_sync_folder(backup->output) != 0) {
        write_fault(backup, errno, fault);
    }
    return fault->code;
}

static void output_close(struct backup *backup, const struct fault *fault)
{
    if (backup->to_stdout) {
        return;
    }
    (void)fclose(backup->file);
    if (fault->code != 0) {
        (void)unlink(backup->part);
    }
}

static int copy(struct backup *backup, struct fault *fault)
{
    const struct fetch *fetch = &backup->pull.fetch;
    struct pull_range range = {.from = fetch->view.start_offset,
                               .end = fetch->view.committed_offset};
    backup->end_offset = range.end;
    if (pull_print(&backup->pull, &range, fault) != 0) {
        if (fetch->trimmed) {
            fault_set(fault, FAULT_FAILED,
                      "offset %" PRIu64 " was trimmed while it was to be copied: the log of node "
                      "%u starts at %" PRIu64 " by now. Give the cluster more `retention`, or try "
                      "again",
                      fetch->offset, fetch->view.node, fetch->view.start_offset);
        }
        return fault->code;
    }
    if (!backup->begun) {
        begin(backup, fetch->offset);
    }
    if (backup_end(&backup->writer) != 0) {
        write_fault(backup, backup->writer.error, fault);
    } else if (!backup->to_stdout) {
        (void)output_name(backup, fault);
    }
    return fault->code;
}

static int tell(const struct backup *backup)
{
    const struct backup_writer *writer = &backup->writer;
    uint64_t first_offset = writer->end_offset - writer->record_count;
    char size[UNITS_TEXT_BYTES];
    if (!backup->pull.options.json) {
        fprintf(stderr,
                "backed up %" PRIu64 " records of node %u, offsets %" PRIu64 " to before %" PRIu64
                ", %s\n",
                writer->record_count, backup->pull.fetch.view.node, first_offset,
                writer->end_offset, units_format_size(writer->file_bytes, size));
        return 0;
    }
    json_t *object =
        json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "cluster",
                  offline_hex(backup->pull.connect.config.cluster), "node",
                  (json_int_t)backup->pull.fetch.view.node, "first_offset",
                  (json_int_t)first_offset, "end_offset", (json_int_t)writer->end_offset, "records",
                  (json_int_t)writer->record_count, "payload_bytes",
                  (json_int_t)writer->payload_bytes, "file_bytes", (json_int_t)writer->file_bytes);
    ASSERT(object != NULL);
    json_object_set_new(object, "file", offline_text(backup->output));
    return offline_print_json(object, false);
}

static int backup_run(int argc, char **argv)
{
    struct backup_arguments arguments = {.output = "-"};
    if (argp_parse(&backup_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct backup backup; /* Large, and one a process. */
    struct fault fault = {0};
    backup.output = arguments.output;
    arguments.pull.take = take;
    arguments.pull.context = &backup;
    if (pull_open(&backup.pull, &arguments.pull, &fault) != 0) {
        return command_fail(&fault);
    }
    int told = 0;
    if (output_open(&backup, &fault) == 0) {
        (void)copy(&backup, &fault);
        output_close(&backup, &fault);
        told = fault.code == 0 ? tell(&backup) : 0;
    }
    pull_close(&backup.pull);
    return fault.code != 0 ? command_fail(&fault) : told;
}

const struct command command_backup = {
    .name = "backup",
    .summary = "Copy the committed log into one file",
    .argp = &backup_argp,
    .run = backup_run,
};
