/* cmd_read.c: `thole read`: committed records, from an offset on, to stdout. */
#include "engine/cli/command.h"
#include "engine/cli/pull.h"

struct read_arguments {
    struct pull_options pull;
    uint64_t count;
    bool has_count;
};

enum { KEY_COUNT = 256 };

static const struct argp_option read_options[] = {
    {"count", KEY_COUNT, "N", 0, "Print at most so many records (all)", 0},
    {0},
};

static error_t read_parse(int key, char *value, struct argp_state *state)
{
    struct read_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->pull;
        return 0;
    case KEY_COUNT:
        arguments->count = connect_parse_number(state, "--count", value);
        arguments->has_count = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp read_argp = {
    .options = read_options,
    .parser = read_parse,
    .children = pull_flags,
    .args_doc = "-c FILE",
    .doc =
        "Print committed records, each followed by a newline, from the log start or --from up to "
        "the committed end as the node that is asked knows it at the time of the call, or --count "
        "of them. What is printed is committed; a follower may know of less than the leader, and "
        "the leader of less than its successor. With --linearizable all is printed that was "
        "committed before the call: the leader proves its office and says where the log ends, and "
        "--node, if given, is read up to there, and waited for. With --json: offset, term, and "
        "data, or data_base64 where the bytes are not UTF-8."
        "\vExit codes: 0 printed; 1 the beginning is trimmed; 4 nobody leads, or no answer.\n\n"
        "Example:\n  thole read -c cluster.ini --from 100 --count 10 --json",
};

static int read_run(int argc, char **argv)
{
    struct read_arguments arguments = {0};
    if (argp_parse(&read_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct pull pull; /* Large, and one a process. */
    struct fault fault = {0};
    if (pull_open(&pull, &arguments.pull, &fault) != 0) {
        return command_fail(&fault);
    }
    struct pull_range range = {
        .from = arguments.pull.has_from ? arguments.pull.from : pull.fetch.view.start_offset,
        .end = pull.fetch.view.committed_offset,
        .from_asked = arguments.pull.has_from,
    };
    if (arguments.has_count && range.from < range.end && arguments.count < range.end - range.from) {
        range.end = range.from + arguments.count;
    }
    int code = pull_print(&pull, &range, &fault);
    pull_close(&pull);
    return code != 0 ? command_fail(&fault) : 0;
}

const struct command command_read = {
    .name = "read",
    .summary = "Print records of the log",
    .argp = &read_argp,
    .run = read_run,
};
