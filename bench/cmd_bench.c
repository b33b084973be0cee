/* cmd_bench.c: `thole bench run`: one measured run. */
#include "bench/bench.h"
#include "bench/options.h"

#include <stdlib.h>

enum { KEY_LOCAL = 512, KEY_CLOSED, KEY_CLIENTS };

struct bench_arguments {
    struct options options;
    bool local;
    bool clients_given;
};

static const struct argp_option bench_options[] = {
    {"local", KEY_LOCAL, "N", 0, "Replicas in this process: 1, 3, 5 or 7", 0},
    {"closed", KEY_CLOSED, NULL, 0, "A closed loop: each client waits for its answer", 0},
    {"clients", KEY_CLIENTS, "N", 0, "Of the closed loop, each with one record under way (1)", 0},
    {0},
};

static error_t bench_parse(int key, char *value, struct argp_state *state)
{
    struct bench_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->options;
        return 0;
    case KEY_LOCAL:
        arguments->local = true;
        arguments->options.nodes = (uint32_t)strtoul(value, NULL, 10);
        return 0;
    case KEY_CLOSED:
        arguments->options.closed = true;
        return 0;
    case KEY_CLIENTS:
        arguments->clients_given = true;
        arguments->options.clients = (uint32_t)strtoul(value, NULL, 10);
        if (arguments->options.clients == 0 || arguments->options.clients > LOAD_OUTSTANDING_MAX) {
            argp_error(state, "--clients: 1 to %u", LOAD_OUTSTANDING_MAX);
        }
        return 0;
    case ARGP_KEY_END:
        if (arguments->clients_given && !arguments->options.closed) {
            argp_error(state, "--clients is of a closed loop: add --closed");
        }
        if (arguments->options.closed && arguments->options.rate_max) {
            argp_error(state, "--closed has --clients, not a rate");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child bench_children[] = {{&options_argp, 0, NULL, 0}, {0}};

static const struct argp bench_argp = {
    .options = bench_options,
    .parser = bench_parse,
    .args_doc = "--local N [-- EAL ARGUMENTS]",
    .doc =
        "Measure one run: an open loop at a rate, whose latency counts from the time each record "
        "was due, or a closed loop of so many clients."
        "\vExample:\n  thole bench run --local 3 --closed --clients 1 --json",
    .children = bench_children,
};

static int bench_run(int argc, char **argv)
{
    struct bench_arguments arguments = {0};
    options_init(&arguments.options);
    int eal_argc = 0;
    char **eal_argv = NULL;
    argc = command_split_eal(argc, argv, &eal_argc, &eal_argv);
    arguments.options.eal_argc = (uint32_t)eal_argc;
    arguments.options.eal_argv = eal_argv;
    if (argp_parse(&bench_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    if (!arguments.local) {
        struct fault fault;
        fault_set(&fault, FAULT_ENVIRONMENT,
                  "there is no cluster to measure: give --local N for one in this process, such as "
                  "`thole bench run --local 3`");
        return command_fail(&fault);
    }
    return options_run(&arguments.options, "bench run");
}

const struct command command_bench_run = {
    .name = "bench run",
    .summary = "One measured run, open or closed loop",
    .run = bench_run,
};
