/* cmd_append.c: `thole append`: the lines of stdin into the log, one record a line.
 *
 * Lines go through a session and are told in their order. While an offset is looked up that the
 * session no longer keeps, nothing more is appended and what comes behind it waits.
 */
#include "engine/cli/append_fault.h"
#include "engine/cli/command.h"
#include "engine/cli/lines.h"
#include "engine/cli/recall.h"

#include "engine/base/clock.h"
#include "engine/base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define APPEND_TIMEOUT_NS 30000000000u
#define APPEND_LINES_MAX  RECALL_RECORDS_MAX /* In the writer at once. */
#define APPEND_BYTES_MAX  (512u * 1024u)
#define APPEND_NUMBER_MAX (CLIENT_OFFSET_MAX / 2) /* What is counted on from it stays a number. */

struct append_arguments {
    const char *path;
    const char *session;
    uint64_t first; /* 0: the session's next. */
    uint64_t expected;
    uint64_t timeout_ns;
    bool expects;
    bool json;
};

struct append {
    struct append_arguments arguments;
    struct connect connect;
    struct lines lines;
    struct writer *writer;
    struct client_record *records; /* APPEND_LINES_MAX: lines, of which ... */
    uint32_t record_count;
    uint32_t record_next; /* ... these are with the writer. */
    uint64_t handed;      /* Lines, from the first on, to the writer. */
    uint64_t acked;       /* Lines, from the first on, whose offset is printed. */
    uint64_t first;       /* Number of line 1, when it is known. */
    uint64_t doubted;
    bool failed;
    struct writer_outcome failure; /* Of the first line that did not get into the log. */
    uint32_t held_count;
    struct writer_outcome *held; /* APPEND_LINES_MAX: the first has no offset yet. */
    struct recall recall;
};

enum { KEY_TIMEOUT = 256, KEY_SESSION, KEY_FIRST, KEY_EXPECT };

static const struct argp_option append_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"session", KEY_SESSION, "NAME", 0,
     "Append as the session of this name, which outlives the command: numbered lines that are "
     "repeated are not doubled",
     0},
    {"first", KEY_FIRST, "N", 0,
     "Number of the first line in the session, 1 or more (the session's next): to repeat lines", 0},
    {"expect", KEY_EXPECT, "OFFSET", 0,
     "Append only if the first line gets this offset, and each line the next one", 0},
    {"timeout", KEY_TIMEOUT, "DURATION", 0,
     "Longest wait for the acknowledgement of a line before giving up (30s)", 0},
    {"json", 'j', NULL, 0, "Print {\"offset\":N} a line", 0},
    {0},
};

static uint64_t
parse_number(struct argp_state *state, const char *flag, const char *value, uint64_t min)
{
    uint64_t number = 0;
    if (!units_parse_number(value, min, APPEND_NUMBER_MAX, &number)) {
        argp_error(state, "%s: `%s` is not a number from %" PRIu64 " on", flag, value, min);
    }
    return number;
}

static error_t append_parse(int key, char *value, struct argp_state *state)
{
    struct append_arguments *arguments = state->input;
    switch (key) {
    case KEY_SESSION:
        arguments->session = value;
        if (value[0] == '\0' || strlen(value) > SESSION_NAME_MAX) {
            argp_error(state, "--session: `%s` has not 1 to %u bytes", value, SESSION_NAME_MAX);
        }
        return 0;
    case KEY_FIRST:
        arguments->first = parse_number(state, "--first", value, 1);
        return 0;
    case KEY_EXPECT:
        arguments->expected = parse_number(state, "--expect", value, 0);
        arguments->expects = true;
        return 0;
    case KEY_TIMEOUT:
        if (!units_parse_duration(value, &arguments->timeout_ns) || arguments->timeout_ns == 0) {
            argp_error(state, "--timeout: `%s` is not " UNITS_DURATION_FORM, value);
        }
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_END:
        if (arguments->first != 0 && arguments->session == NULL) {
            argp_error(state, "--first numbers the lines of a session: it needs --session NAME");
        }
        return command_parse_config(key, value, state, &arguments->path);
    default:
        return command_parse_config(key, value, state, &arguments->path);
    }
}

static const struct argp append_argp = {
    .options = append_options,
    .parser = append_parse,
    .args_doc = "-c FILE < LINES",
    .doc =
        "Append each line of stdin, without its newline, as one record; an empty line is one too. "
        "For each that is on stable storage at a quorum its offset is printed, in the order of the "
        "lines. Each line is in the log once, whatever is lost on the way and whoever leads: what "
        "is not answered is sent again, and what is busy is waited for, until a line's --timeout "
        "has passed. Stops at the first line that is refused, and names it."
        "\vExit codes: 0 every line is appended; 1 a line was refused (--expect did not hold, "
        "another writer has opened the session, the log is full, the line is longer than 60000 "
        "bytes); 4 not acknowledged in time. A message on stderr says which lines are in the log, "
        "which are not, and which may be. With --session, the same lines with the same numbers may "
        "be given again: those that are in the log answer with their old offsets.\n\n"
        "Example:\n  thole append -c cluster.ini --session orders --first 1 < orders.txt",
};

/* ---- What becomes of lines. ---- */

static void print_offset(struct append *append, uint64_t offset)
{
    bool json = append->arguments.json;
    printf("%s%" PRIu64 "%s\n", json ? "{\"offset\":" : "", offset, json ? "}" : "");
    append->acked++;
}

static void note_failure(struct append *append, const struct writer_outcome *outcome)
{
    if (!append->failed) {
        append->failed = true;
        append->failure = *outcome;
    }
    if (outcome->fate == WRITER_UNKNOWN || outcome->fate == WRITER_COMMITTED) {
        append->doubted = outcome->first_number + outcome->count;
    }
}

static void take_outcome(void *context, const struct writer_outcome *outcome)
{
    struct append *append = context;
    if (append->first == 0 && outcome->first_sequence != 0) {
        append->first = outcome->first_sequence - outcome->first_number;
    }
    bool lookup = outcome->fate == WRITER_COMMITTED && !outcome->offset_known;
    if (append->held_count > 0 || (lookup && !append->failed)) {
        ASSERT(append->held_count < APPEND_LINES_MAX);
        append->held[append->held_count++] = *outcome;
        return;
    }
    if (append->failed || outcome->fate != WRITER_COMMITTED) {
        note_failure(append, outcome);
        return;
    }
    for (uint32_t i = 0; i < outcome->count; i++) {
        print_offset(append, outcome->first_offset + i);
    }
    fflush(stdout);
}

static struct append_view view_of(const struct append *append)
{
    return (struct append_view){
        .connect = &append->connect,
        .writer = append->writer,
        .session = append->arguments.session,
        .first = append->first,
        .timeout_ns = append->arguments.timeout_ns,
        .expects = append->arguments.expects,
        .expected = append->arguments.expected,
        .acked = append->acked,
        .doubted = append->doubted,
    };
}

/* Print the old offsets of an outcome that has none. */
static int look_up(struct append *append, const struct writer_outcome *outcome, struct fault *fault)
{
    struct recall *recall = &append->recall;
    struct fault why = {0};
    struct recall_range range = {
        .session = writer_session(append->writer),
        .first = outcome->first_sequence,
        .count = outcome->count,
    };
    int result = recall_find(recall, &range, append->arguments.timeout_ns, &why);
    for (uint32_t i = 0; i < recall->found; i++) {
        print_offset(append, recall->offsets[i]);
    }
    fflush(stdout);
    uint64_t missing = outcome->first_number + recall->found + 1;
    if (result != 0) {
        fault_set(fault, why.code,
                  "the number of line %" PRIu64
                  " was used before, and whether its record is in the log could not be read: %s",
                  missing, why.text);
    } else if (recall->found < outcome->count) {
        fault_set(fault, FAULT_FAILED,
                  "line %" PRIu64 " is done with: its number %" PRIu64
                  " was used before, and its record is trimmed, or failed its --expect. Go on with "
                  "a later --first; lines up to %" PRIu64 " have their numbers in the log",
                  missing, outcome->first_sequence + recall->found,
                  outcome->first_number + outcome->count);
    }
    return fault->code;
}

/* The writer is silent: look up what is held, and tell the rest. */
static int release_held(struct append *append, struct fault *fault)
{
    uint32_t count = append->held_count;
    append->held_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct writer_outcome *outcome = &append->held[i];
        bool lookup = outcome->fate == WRITER_COMMITTED && !outcome->offset_known;
        if (!lookup || append->failed) {
            take_outcome(append, outcome);
        } else if (look_up(append, outcome, fault) != 0) {
            return fault->code;
        }
    }
    return 0;
}

/* ---- Lines in. ---- */

/* Hand lines to the writer while it takes them. Returns how many. */
static uint32_t hand_lines(struct append *append, uint64_t now_ns)
{
    if (append->record_next == append->record_count) {
        append->record_count = lines_take(&append->lines, append->records, APPEND_LINES_MAX);
        append->record_next = 0;
    }
    const struct client_record *next = append->records + append->record_next;
    uint32_t count = append->record_count - append->record_next;
    uint64_t expected = append->arguments.expected + append->handed;
    uint32_t taken = count == 0 ? 0
                     : append->arguments.expects
                         ? writer_append_expecting(append->writer, now_ns, next, count, expected)
                         : writer_append(append->writer, now_ns, next, count);
    append->record_next += taken;
    append->handed += taken;
    return taken;
}

/* Whether another line may be read and handed on. */
static bool wants_lines(const struct append *append)
{
    return append->record_next == append->record_count && !append->lines.ended &&
           !append->lines.too_long && !append->failed && append->held_count == 0;
}

/* Read more lines, blocking when there is nothing else to do. Returns the work done, or -errno. */
static int read_lines(struct append *append)
{
    bool idle = writer_pending(append->writer) == 0;
    if (!wants_lines(append) || (!idle && !lines_ready(&append->lines))) {
        return 0;
    }
    int result = lines_read(&append->lines);
    return result == 0 ? 1 : result;
}

/* Append until the lines, or what may be done with them, have an end. 0, or the fault's code; a
 * line that was not appended is in append->failure. */
static int append_lines(struct append *append, struct fault *fault)
{
    for (;;) {
        bool blocked = append->failed || append->held_count > 0;
        uint64_t now_ns = clock_now_ns();
        uint32_t work = blocked ? 0 : hand_lines(append, now_ns);
        work += writer_poll(append->writer, now_ns, take_outcome, append);
        if (ferror(stdout) != 0) {
            fault_set(fault, FAULT_ENVIRONMENT,
                      "cannot write to stdout: offsets of lines up to %" PRIu64
                      " are lost, the lines are in the log; those after them may be",
                      append->acked);
            return fault->code;
        }
        if (writer_pending(append->writer) == 0) {
            if (append->held_count > 0 && release_held(append, fault) != 0) {
                return fault->code;
            }
            bool over = append->lines.ended || append->lines.too_long;
            if (append->failed || (over && append->record_next == append->record_count)) {
                return 0;
            }
        }
        int result = work == 0 ? read_lines(append) : 0;
        if (result < 0) {
            fault_set(fault, FAULT_ENVIRONMENT, "cannot read line %" PRIu64 " from stdin: %s",
                      append->handed + 1, strerror(-result));
            return fault->code;
        }
        if (work == 0 && result == 0) {
            connect_wait_input(&append->connect, wants_lines(append) ? append->lines.fd : -1,
                               now_ns, writer_deadline_ns(append->writer));
        }
    }
}

/* ---- The command. ---- */

static int prepare(struct append *append, struct fault *fault)
{
    const struct append_arguments *arguments = &append->arguments;
    struct writer_config config = {
        .name = (const uint8_t *)arguments->session,
        .name_bytes = arguments->session == NULL ? 0 : (uint32_t)strlen(arguments->session),
        .timeout_ns = arguments->timeout_ns,
        .records_max = APPEND_LINES_MAX,
        .bytes_max = APPEND_BYTES_MAX,
        .stops_at_refused = true,
    };
    uint64_t bytes =
        APPEND_LINES_MAX * (sizeof(struct client_record) + sizeof(struct writer_outcome)) +
        2ull * PAGE_BYTES;
    bytes += lines_memory_bytes() + writer_memory_bytes(&config) + recall_memory_bytes();
    int result =
        connect_open(&append->connect, arguments->path, arguments->timeout_ns, bytes, fault);
    if (result != 0) {
        return result;
    }
    struct mem *mem = &append->connect.mem;
    lines_init(&append->lines, mem, STDIN_FILENO);
    append->records =
        mem_take(mem, "lines to send", APPEND_LINES_MAX, sizeof(struct client_record), 64);
    append->held =
        mem_take(mem, "outcomes held", APPEND_LINES_MAX, sizeof(struct writer_outcome), 64);
    config.client = append->connect.client;
    append->writer = writer_init(mem, &config);
    recall_init(&append->recall, mem, &append->connect);
    mem_seal(mem);
    if (arguments->first != 0) {
        writer_set_first(append->writer, arguments->first);
        append->first = arguments->first;
    }
    return 0;
}

static int append_run(int argc, char **argv)
{
    static struct append append; /* Large, and one a process. */
    append.arguments.timeout_ns = APPEND_TIMEOUT_NS;
    if (argp_parse(&append_argp, argc, argv, 0, NULL, &append.arguments) != 0) {
        return FAULT_USAGE;
    }
    struct fault fault = {0};
    if (prepare(&append, &fault) != 0) {
        return command_fail(&fault);
    }
    if (append_lines(&append, &fault) == 0) {
        struct append_view view = view_of(&append);
        char where[APPEND_WHERE_BYTES];
        if (append.failed) {
            append_fault(&view, &append.failure, &fault);
        } else if (append.lines.too_long) {
            fault_set(&fault, FAULT_FAILED,
                      "line %" PRIu64 " was refused: it is longer than a record may be, %u bytes; "
                      "%s",
                      append.acked + 1, RECORD_BYTES_MAX, append_where(&view, where));
        }
    }
    connect_close(&append.connect);
    return fault.code != 0 ? command_fail(&fault) : 0;
}

const struct command command_append = {
    .name = "append",
    .summary = "Append lines of stdin as records",
    .argp = &append_argp,
    .run = append_run,
};
