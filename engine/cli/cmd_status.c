/* cmd_status.c: `thole status`: every node of a configuration, and what they make together. */
#include "engine/cli/ask.h"
#include "engine/cli/command.h"
#include "engine/cli/health.h"
#include "engine/cli/holder.h"
#include "engine/cli/status_print.h"

#include <stdio.h>

struct status_arguments {
    const char *path;
    bool json;
    bool watch;
};

enum { KEY_JSON = 256, KEY_WATCH };

static const struct argp_option status_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"json", KEY_JSON, NULL, 0, "One JSON object (with --watch, one a line)", 0},
    {"watch", KEY_WATCH, NULL, 0, "Again every second, until interrupted", 0},
    {0},
};

static error_t status_parse(int key, char *value, struct argp_state *state)
{
    struct status_arguments *arguments = state->input;
    switch (key) {
    case KEY_JSON:
        arguments->json = true;
        return 0;
    case KEY_WATCH:
        arguments->watch = true;
        return 0;
    default:
        return command_parse_config(key, value, state, &arguments->path);
    }
}

static const struct argp status_argp = {
    .options = status_options,
    .parser = status_parse,
    .args_doc = "-c FILE",
    .doc =
        "Ask every node how it stands. Exits 0 when the cluster is healthy: a leader that takes "
        "appends, every voter reachable, none degraded, none faulty, none behind the log start, "
        "none diverged, "
        "and room in the log; else 1. What is wrong is said below the table, with --json on stderr."
        "\vExample:\n  thole status -c cluster.ini",
};

/* False: no memory. */
static bool print_json(const struct config *config,
                       const struct ask_answer *answers,
                       const struct health *health)
{
    json_t *object = status_object(config, answers, health);
    bool printed = object != NULL && json_dumpf(object, stdout, JSON_COMPACT) == 0;
    json_decref(object);
    putchar('\n');
    status_print_notes(health, stderr);
    return printed;
}

/* Whom to ask, and how to tell. */
struct status_round {
    struct ask *ask;
    const struct config *config;
    const struct status_arguments *arguments;
};

/* Ask once and print. 0 when healthy, else the exit code. */
static int ask_and_print(void *context)
{
    const struct status_round *round = context;
    const struct config *config = round->config;
    struct ask_answer answers[VOTERS_MAX];
    static struct health health;
    ask_status(round->ask, ASK_TIMEOUT_NS, answers);
    holder_look(config, answers);
    health_judge(&health, config, answers);
    if (!round->arguments->json) {
        status_print_table(config, answers, &health);
    } else if (!print_json(config, answers, &health)) {
        return FAULT_INTERNAL;
    }
    if (fflush(stdout) != 0) {
        return FAULT_ENVIRONMENT;
    }
    return health.healthy ? 0 : FAULT_FAILED;
}

static int status_run(int argc, char **argv)
{
    struct status_arguments arguments = {0};
    if (argp_parse(&status_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct config config; /* Large, and one a process. */
    struct fault fault = {0};
    struct ask ask;
    if (config_load(&config, arguments.path, &fault) != 0 || ask_open(&ask, &config, &fault) != 0) {
        return command_fail(&fault);
    }
    struct status_round round = {.ask = &ask, .config = &config, .arguments = &arguments};
    int code = command_watch(arguments.watch, arguments.json, ask_and_print, &round);
    ask_close(&ask);
    return code;
}

const struct command command_status = {
    .name = "status",
    .summary = "How every node of a cluster stands",
    .argp = &status_argp,
    .run = status_run,
};
