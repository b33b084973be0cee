/* cmd_tail.c: `thole tail`: the last records of the log, and with -f those to come. */
#include "engine/cli/command.h"
#include "engine/cli/pull.h"

#define TAIL_RECORDS 10u

struct tail_arguments {
    struct pull_options pull;
    uint64_t from;
    bool has_from;
    bool follow;
};

enum { KEY_NODE = 256, KEY_FROM };

static const struct argp_option tail_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"node", KEY_NODE, "N", 0, "Ask this node (the leader)", 0},
    {"from", KEY_FROM, "OFFSET", 0, "Begin here (the last ten records)", 0},
    {"follow", 'f', NULL, 0, "Go on with records as they are committed", 0},
    {"json", 'j', NULL, 0, "Print one JSON object a line", 0},
    {0},
};

static error_t tail_parse(int key, char *value, struct argp_state *state)
{
    struct tail_arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->pull.path = value;
        return 0;
    case KEY_NODE:
        arguments->pull.node = connect_parse_node(state, value);
        return 0;
    case KEY_FROM:
        arguments->from = connect_parse_number(state, "--from", value);
        arguments->has_from = true;
        return 0;
    case 'f':
        arguments->follow = true;
        return 0;
    case 'j':
        arguments->pull.json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s`: no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        if (arguments->pull.path == NULL) {
            argp_error(state, "-c FILE is needed");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp tail_argp = {
    .options = tail_options,
    .parser = tail_parse,
    .args_doc = "-c FILE",
    .doc = "Print the last ten committed records, or those from --from on, each followed by a "
           "newline; with -f go on with what is committed, until interrupted: through restarts of "
           "nodes and changes of leader, without a gap or a repeat. With --json: offset, term, and "
           "data, or data_base64 where the bytes are not UTF-8."
           "\vExit codes: 0 printed; 1 the beginning is trimmed; 4 nobody leads, or no answer.\n\n"
           "Example:\n  thole tail -c cluster.ini -f",
};

static int tail_run(int argc, char **argv)
{
    struct tail_arguments arguments = {0};
    if (argp_parse(&tail_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct pull pull; /* Large, and one a process. */
    struct fault fault = {0};
    if (pull_open(&pull, &arguments.pull, &fault) != 0) {
        return command_fail(&fault);
    }
    const struct fetch_view view = pull.fetch.view;
    bool short_log = view.committed_offset < view.start_offset + TAIL_RECORDS;
    struct pull_range range = {
        .from = short_log ? view.start_offset : view.committed_offset - TAIL_RECORDS,
        .end = arguments.follow ? FETCH_NO_END : view.committed_offset,
        .from_asked = arguments.has_from,
    };
    if (arguments.has_from) {
        range.from = arguments.from;
    }
    int code = pull_print(&pull, &range, &fault);
    pull_close(&pull);
    return code != 0 ? command_fail(&fault) : 0;
}

const struct command command_tail = {
    .name = "tail",
    .summary = "Print the last records, and follow",
    .run = tail_run,
};
