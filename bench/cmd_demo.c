/* cmd_demo.c: `thole demo`: a cluster, a load and its floor in one process, in a few seconds. */
#include "bench/bench.h"
#include "bench/options.h"

static error_t demo_parse(int key, char *value, struct argp_state *state)
{
    (void)value;
    if (key != ARGP_KEY_INIT) {
        return ARGP_ERR_UNKNOWN;
    }
    state->child_inputs[0] = state->input;
    return 0;
}

static const struct argp_child demo_children[] = {{&options_argp, 0, NULL, 0}, {0}};

static const struct argp demo_argp = {
    .parser = demo_parse,
    .args_doc = "[-- EAL ARGUMENTS]",
    .doc =
        "Replicas in one process elect a leader over DPDK ring ports and commit an open-loop load, "
        "each commit on stable storage at a quorum before it is acknowledged. The latency is shown "
        "beside the commit floor of this machine, measured in the same run, and the log files are "
        "read to prove that nothing acknowledged was lost."
        "\vExample:\n  thole demo --rate 20k --size 256 --duration 5s",
    .children = demo_children,
};

static int demo_run(int argc, char **argv)
{
    struct options options;
    options_init(&options);
    int eal_argc = 0;
    char **eal_argv = NULL;
    argc = command_split_eal(argc, argv, &eal_argc, &eal_argv);
    options.eal_argc = (uint32_t)eal_argc;
    options.eal_argv = eal_argv;
    if (argp_parse(&demo_argp, argc, argv, 0, NULL, &options) != 0) {
        return FAULT_USAGE;
    }
    return options_run(&options, "demo");
}

const struct command command_demo = {
    .name = "demo",
    .summary = "Replicas, a durable load and its floor in one process",
    .argp = &demo_argp,
    .run = demo_run,
};
