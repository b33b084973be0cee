/* cmd_check.c: `thole check`: one line and an exit code, for monitoring. */
#include "engine/cli/ask.h"
#include "engine/cli/command.h"
#include "engine/cli/health.h"
#include "engine/cli/holder.h"

#include <stdio.h>

struct check_arguments {
    const char *path;
};

static const struct argp_option check_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {0},
};

static error_t check_parse(int key, char *value, struct argp_state *state)
{
    struct check_arguments *arguments = state->input;
    return command_parse_config(key, value, state, &arguments->path);
}

static const struct argp check_argp = {
    .options = check_options,
    .parser = check_parse,
    .args_doc = "-c FILE",
    .doc =
        "Say in one line whether the cluster is healthy: a leader that takes appends, every "
        "voter reachable, none degraded or faulty, and room in the log. Exits 0 when it is, else 1."
        "\vExample:\n  thole check -c cluster.ini",
};

static int check_run(int argc, char **argv)
{
    struct check_arguments arguments = {0};
    if (argp_parse(&check_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct config config; /* Large, and one a process. */
    struct fault fault = {0};
    struct ask ask;
    if (config_load(&config, arguments.path, &fault) != 0 || ask_open(&ask, &config, &fault) != 0) {
        return command_fail(&fault);
    }
    struct ask_answer answers[VOTERS_MAX];
    static struct health health;
    char line[HEALTH_LINE_BYTES];
    ask_status(&ask, ASK_TIMEOUT_NS, answers);
    ask_close(&ask);
    holder_look(&config, answers);
    health_judge(&health, &config, answers);
    puts(health_line(&health, line));
    return health.healthy ? 0 : FAULT_FAILED;
}

const struct command command_check = {
    .name = "check",
    .summary = "One line and an exit code for monitoring",
    .argp = &check_argp,
    .run = check_run,
};
