/* cmd_bench.c: `thole bench run`: one measured run, of a cluster in this process or a running one.
 */
#include "bench/bench.h"
#include "bench/options.h"

#include "engine/config.h"

#include <stdio.h>
#include <string.h>

enum { KEY_LOCAL = 512, KEY_CLOSED, KEY_CLIENTS, KEY_FLOOR_NS, KEY_FLOOR_NET, KEY_FLOOR_ADDRESS };

struct bench_arguments {
    struct options options;
    uint32_t local; /* 0: not given. */
    bool clients_given;
    const char *path; /* Of a running cluster's configuration; NULL: the cluster is made here. */
};

static const struct argp_option bench_options[] = {
    {"local", KEY_LOCAL, "N", 0, "Replicas in this process, " OPTIONS_NODES " (3)", 0},
    {"config", 'c', "FILE", 0, "Of a running cluster to measure, instead of one in this process",
     0},
    {"closed", KEY_CLOSED, NULL, 0, "A closed loop: each client waits for its answer", 0},
    {"clients", KEY_CLIENTS, "N", 0, "Of the closed loop, each with one record under way (1)", 0},
    {"floor-ns", KEY_FLOOR_NS, "PATHS", 0,
     "With -c: network namespaces of the nodes, for their floor; one a node, by commas", 0},
    {"floor-net", KEY_FLOOR_NET, "SPEC", 0,
     "With -c: the floor's port there, beside the node's, such as af_packet:eth1 (udp)", 0},
    {"floor-address", KEY_FLOOR_ADDRESS, "A.B.C.D", 0,
     "With -c: the first such port's; the others' follow", 0},
    {0},
};

/* What the configuration says of a running cluster, no flag may say. */
static void check_cluster_flags(struct argp_state *state)
{
    const struct bench_arguments *arguments = state->input;
    if (arguments->local != 0) {
        argp_error(state, "-c measures a running cluster and --local makes one: give one of them");
    }
    if (arguments->options.of_local != NULL) {
        argp_error(state, "--%s is of a cluster in this process: with -c it is as FILE says",
                   arguments->options.of_local);
    }
}

/* What only all flags together can tell. */
static void bench_check(struct argp_state *state)
{
    struct bench_arguments *arguments = state->input;
    struct options *options = &arguments->options;
    if (arguments->clients_given && !options->closed) {
        argp_error(state, "--clients is of a closed loop: add --closed");
    }
    if (arguments->path != NULL) {
        check_cluster_flags(state);
        return;
    }
    if (arguments->local == 0) {
        return;
    }
    if (options->nodes_given && options->nodes != arguments->local) {
        argp_error(state, "--local %u and --nodes %u: they say the same thing, give one",
                   arguments->local, options->nodes);
    }
    options->nodes = arguments->local;
}

/* Paths by commas, in the argument's own memory. */
static void parse_namespaces(struct argp_state *state, char *value)
{
    struct options *options = &((struct bench_arguments *)state->input)->options;
    char *rest = NULL;
    options->floor_namespace_count = 0;
    for (char *path = strtok_r(value, ",", &rest); path != NULL;
         path = strtok_r(NULL, ",", &rest)) {
        if (options->floor_namespace_count == VOTERS_MAX) {
            argp_error(state, "--floor-ns: more than %u paths", VOTERS_MAX);
        }
        options->floor_namespaces[options->floor_namespace_count++] = path;
    }
}

/* What is of the floor beside a running cluster. */
static error_t parse_floor(int key, char *value, struct argp_state *state)
{
    struct options *options = &((struct bench_arguments *)state->input)->options;
    struct nic_address address;
    char text[32];
    switch (key) {
    case KEY_FLOOR_NS:
        parse_namespaces(state, value);
        return 0;
    case KEY_FLOOR_NET:
        options->floor_net_given = true;
        if (!nic_spec_parse(value, &options->floor_net) || options->floor_net.kind == NIC_RING) {
            argp_error(state, "--floor-net: `%s` is no port beside a node", value);
        }
        return 0;
    case KEY_FLOOR_ADDRESS:
        (void)snprintf(text, sizeof(text), "%.20s:1", value);
        if (!config_parse_address(text, &address)) {
            argp_error(state, "--floor-address: `%s` is no address such as 10.0.0.201", value);
        }
        options->floor_ipv4 = address.ipv4;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t bench_parse(int key, char *value, struct argp_state *state)
{
    struct bench_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->options;
        return 0;
    case KEY_LOCAL:
        arguments->local = (uint32_t)options_number(state, "local", value, 1, VOTERS_MAX);
        return 0;
    case 'c':
        arguments->path = value;
        return 0;
    case KEY_CLOSED:
        arguments->options.closed = true;
        return 0;
    case KEY_CLIENTS:
        arguments->clients_given = true;
        arguments->options.clients =
            (uint32_t)options_number(state, "clients", value, 1, CLUSTER_FRAMES_MAX);
        return 0;
    case ARGP_KEY_END:
        bench_check(state);
        return 0;
    default:
        return parse_floor(key, value, state);
    }
}

static const struct argp_child bench_children[] = {{&options_argp, 0, NULL, 0}, {0}};

static const struct argp bench_argp = {
    .options = bench_options,
    .parser = bench_parse,
    .args_doc = "[-- EAL ARGUMENTS]",
    .doc =
        "Measure one run: an open loop at a rate, whose latency counts from the time each record "
        "was due, or a closed loop of so many clients.\n\n"
        "With -c the nodes are processes of their own (`thole start`), and the client is this "
        "process. The floor then runs in processes beside those of the nodes, where all of these "
        "are on this machine: give --idle as the nodes were given it."
        "\vExample:\n  thole bench run -c cluster.ini --closed --clients 1 --json",
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
    if (arguments.path != NULL) {
        return options_run_cluster(&arguments.options, arguments.path);
    }
    return options_run(&arguments.options, "bench run");
}

const struct command command_bench_run = {
    .name = "bench run",
    .summary = "One measured run, open or closed loop",
    .argp = &bench_argp,
    .run = bench_run,
};
