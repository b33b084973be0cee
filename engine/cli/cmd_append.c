/* cmd_append.c: `thole append`: the lines of stdin into the log, one record a line. */
#include "engine/cli/command.h"
#include "engine/cli/connect.h"
#include "engine/cli/lines.h"

#include "engine/base/clock.h"
#include "engine/base/units.h"
#include "engine/client/sender.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define APPEND_TIMEOUT_NS 30000000000u
#define APPEND_LINES_MAX  (4u * REQUEST_RECORDS_MAX) /* Handed to the sender at once. */

struct append_arguments {
    const char *path;
    uint64_t timeout_ns;
    bool json;
};

struct append {
    struct append_arguments arguments;
    struct connect connect;
    struct lines lines;
    struct sender sender;
    uint64_t acked; /* Lines, from the first on. */
    struct client_record *records;
};

enum { KEY_TIMEOUT = 256 };

static const struct argp_option append_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"timeout", KEY_TIMEOUT, "DURATION", 0,
     "Longest wait for an acknowledgement before giving up (30s)", 0},
    {"json", 'j', NULL, 0, "Print {\"offset\":N} a line", 0},
    {0},
};

static error_t append_parse(int key, char *value, struct argp_state *state)
{
    struct append_arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->path = value;
        return 0;
    case KEY_TIMEOUT:
        if (!units_parse_duration(value, &arguments->timeout_ns) || arguments->timeout_ns == 0) {
            argp_error(state, "--timeout: `%s` is not " UNITS_DURATION_FORM, value);
        }
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s`: no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        if (arguments->path == NULL) {
            argp_error(state, "-c FILE is needed");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp append_argp = {
    .options = append_options,
    .parser = append_parse,
    .args_doc = "-c FILE < LINES",
    .doc =
        "Append each line of stdin, without its newline, as one record; an empty line is one too. "
        "For each that is on stable storage at a quorum its offset is printed, in the order of the "
        "lines. Stops at the first line that is refused, and names it. While nobody leads or the "
        "cluster is busy it tries again, until --timeout has passed without an acknowledgement."
        "\vExit codes: 0 every line is appended; 1 a line was refused (the log is full, or the "
        "line is longer than 60000 bytes); 4 not acknowledged in time. A message on stderr says "
        "which lines are not in the log, and which may be: without an answer that cannot be known, "
        "and such lines are not sent again.\n\n"
        "Example:\n  thole append -c cluster.ini < events.txt",
};

static void print_acked(void *context, uint32_t first, uint32_t count, uint64_t first_offset)
{
    struct append *append = context;
    (void)first; /* Lines are acknowledged in their order. */
    bool json = append->arguments.json;
    for (uint32_t i = 0; i < count; i++) {
        printf("%s%" PRIu64 "%s\n", json ? "{\"offset\":" : "", first_offset + i, json ? "}" : "");
    }
    fflush(stdout);
    append->acked += count;
}

/* Lines as a message names them: "line 7", "lines 7 to 9". */
static const char *name_lines(uint64_t first, uint64_t count, char *text, uint32_t text_bytes)
{
    if (count == 1) {
        (void)snprintf(text, text_bytes, "line %" PRIu64, first);
    } else {
        (void)snprintf(text, text_bytes, "lines %" PRIu64 " to %" PRIu64, first, first + count - 1);
    }
    return text;
}

/* Why the sender stopped. */
static void tell_failure(const struct append *append, struct fault *fault)
{
    const struct sender *sender = &append->sender;
    uint64_t line = append->acked + 1;
    char lines[64];
    char waited[UNITS_TEXT_BYTES];
    units_format_duration(append->arguments.timeout_ns, waited);
    struct fault why = {0};
    struct connect_silence silence = {
        .waited_ns = append->arguments.timeout_ns,
        .stranger = sender->stranger,
        .heard = sender->heard,
    };
    switch (sender->state) {
    case SENDER_IDLE:
    case SENDER_SENDING:
        break;
    case SENDER_REFUSED:
        fault_set(fault, FAULT_FAILED,
                  "line %" PRIu64 " was refused: %s. It and those after it are not in the log. "
                  "Make room: set `retention` in [storage], so that old records are trimmed",
                  line,
                  sender->refusal == WIRE_FULL ? "the log of a voter is full"
                                               : wire_status_name(sender->refusal));
        return;
    case SENDER_UNKNOWN:
        fault_set(fault, FAULT_UNAVAILABLE,
                  "%s: sent to node %u and not answered within %s, so whether %s in the log is not "
                  "known; those after are not. Look at its end with `thole tail -c %.100s`",
                  name_lines(line, sender->under_way, lines, sizeof lines), sender->sure_node,
                  waited, sender->under_way == 1 ? "it is" : "they are", append->connect.path);
        return;
    case SENDER_NOT_TAKEN:
        connect_unavailable(&append->connect, &silence, &why);
        fault_set(fault, why.code, "line %" PRIu64 " and those after it are not in the log: %s",
                  line, why.text);
        return;
    }
    ASSERT(false);
}

/* Append `count` lines. 0 when all are acknowledged, else with the fault told. */
static int send_lines(struct append *append, uint32_t count, struct fault *fault)
{
    struct sender *sender = &append->sender;
    uint64_t now_ns = clock_now_ns();
    sender_load(sender, append->records, count, now_ns);
    while (sender->state == SENDER_SENDING) {
        now_ns = clock_now_ns();
        if (sender_poll(sender, now_ns) == 0) {
            connect_wait(&append->connect, now_ns, sender_deadline_ns(sender));
        }
    }
    if (ferror(stdout) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot write to stdout: offsets of lines up to %" PRIu64
                  " are lost, the lines are in the log",
                  append->acked);
    } else if (sender->state != SENDER_IDLE) {
        tell_failure(append, fault);
    }
    return fault->code;
}

static int append_lines(struct append *append, struct fault *fault)
{
    struct lines *lines = &append->lines;
    for (;;) {
        uint32_t count = lines_take(lines, append->records, APPEND_LINES_MAX);
        if (count > 0) {
            if (send_lines(append, count, fault) != 0) {
                return fault->code;
            }
            continue;
        }
        if (lines->too_long) {
            fault_set(fault, FAULT_FAILED,
                      "line %" PRIu64 " was refused: it is longer than a record may be, %u bytes. "
                      "It and those after it are not in the log",
                      append->acked + 1, RECORD_BYTES_MAX);
            return fault->code;
        }
        if (lines->ended) {
            return 0;
        }
        int result = lines_read(lines);
        if (result != 0) {
            fault_set(fault, FAULT_ENVIRONMENT, "cannot read line %" PRIu64 " from stdin: %s",
                      append->acked + 1, strerror(-result));
            return fault->code;
        }
    }
}

static int append_run(int argc, char **argv)
{
    static struct append append; /* Large, and one a process. */
    append.arguments.timeout_ns = APPEND_TIMEOUT_NS;
    if (argp_parse(&append_argp, argc, argv, 0, NULL, &append.arguments) != 0) {
        return FAULT_USAGE;
    }
    struct fault fault = {0};
    uint64_t records_bytes = APPEND_LINES_MAX * sizeof(struct client_record) + PAGE_BYTES;
    if (connect_open(&append.connect, append.arguments.path, append.arguments.timeout_ns,
                     records_bytes + lines_memory_bytes(), &fault) != 0) {
        return command_fail(&fault);
    }
    struct mem *mem = &append.connect.mem;
    lines_init(&append.lines, mem, STDIN_FILENO);
    append.records =
        mem_take(mem, "lines to send", APPEND_LINES_MAX, sizeof(struct client_record), 64);
    mem_seal(mem);
    struct sender_config config = {
        .client = append.connect.client,
        .timeout_ns = append.arguments.timeout_ns,
        .acked = print_acked,
        .context = &append,
    };
    sender_init(&append.sender, &config);
    int code = append_lines(&append, &fault);
    connect_close(&append.connect);
    return code != 0 ? command_fail(&fault) : 0;
}

const struct command command_append = {
    .name = "append",
    .summary = "Append lines of stdin as records",
    .run = append_run,
};
