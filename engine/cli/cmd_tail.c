/* cmd_tail.c: `thole tail`: the last records of the log, and with -f those to come. */
#include "engine/cli/command.h"
#include "engine/cli/pull.h"

#define TAIL_RECORDS 10u

struct tail_arguments {
    struct pull_options pull;
    bool follow;
};

static const struct argp_option tail_options[] = {
    {"follow", 'f', NULL, 0, "Go on with records as they are committed", 0},
    {0},
};

static error_t tail_parse(int key, char *value, struct argp_state *state)
{
    (void)value;
    struct tail_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->pull;
        return 0;
    case 'f':
        arguments->follow = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp tail_argp = {
    .options = tail_options,
    .parser = tail_parse,
    .children = pull_flags,
    .args_doc = "-c FILE",
    .doc = "Print the last ten committed records, or those from --from on, each followed by a "
           "newline; with -f go on with what is committed, until interrupted: through restarts of "
           "nodes and changes of leader, without a gap or a repeat. With --linearizable "
           "the end from which ten are counted holds all that was committed before the call; what "
           "follows is as the node knows it. With --json: offset, term, and "
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
        .from_asked = arguments.pull.has_from,
    };
    if (arguments.pull.has_from) {
        range.from = arguments.pull.from;
    }
    int code = pull_print(&pull, &range, &fault);
    pull_close(&pull);
    return code != 0 ? command_fail(&fault) : 0;
}

const struct command command_tail = {
    .name = "tail",
    .summary = "Print the last records, and follow",
    .argp = &tail_argp,
    .run = tail_run,
};
