/* cmd_floor.c: `thole floor disk`, `floor net` and `floor all`: what the machine costs without an
 * engine.
 */
#include "bench/bench.h"
#include "bench/floor_frame.h"
#include "bench/floor_port.h"
#include "bench/floor_writes.h"
#include "bench/options.h"
#include "bench/result.h"

#include "engine/base/assert.h"
#include "engine/base/units.h"
#include "engine/config.h"
#include "engine/core.h"

#include <string.h>

struct floor_arguments {
    const struct argp *argp; /* Of the command. */
    bool disk;
    bool net;
    const char *folder;
    bool duration_given;
    uint64_t duration_ns; /* Of one row. */
    enum idle_mode idle;
    uint32_t cpu_count;
    int cpus[OPTIONS_CPUS_MAX];
    bool json;
    bool serves;
    const char *spec;
    struct nic_address to;
    struct nic_address address;
    uint32_t frame_bytes;
    uint32_t depth;
    uint32_t eal_argc;
    char *const *eal_argv;
};

enum {
    KEY_FOLDER = 256,
    KEY_ROW_DURATION,
    KEY_FLOOR_IDLE,
    KEY_FLOOR_CPU,
    KEY_FLOOR_NET,
    KEY_SIZE,
    KEY_DEPTH,
    KEY_SERVE,
    KEY_TO,
    KEY_ADDRESS,
};

static const struct argp_option common_options[] = {
    {"duration", KEY_ROW_DURATION, "TIME", 0, "Of each row (1s)", 0},
    {"idle", KEY_FLOOR_IDLE, "MODE", 0, "Of the poll loops: spin, yield or block (yield)", 0},
    {"cpu", KEY_FLOOR_CPU, "LIST", 0,
     "Where to run: the disk's writer and the server on the first, the client on the last "
     "(anywhere)",
     0},
    {"json", 'j', NULL, 0, "Print one JSON object", 0},
    {0},
};

static const struct argp_option disk_options[] = {
    {"dir", KEY_FOLDER, "DIR", 0, "On whose filesystem to write (the current folder)", 0},
    {0},
};

static const struct argp_option port_options[] = {
    {"net", KEY_FLOOR_NET, "SPEC", 0, "Ports (udp): " PORTS_FORM, 0},
    {"size", KEY_SIZE, "BYTES", 0, "Of a frame (64, then 1400)", 0},
    {"depth", KEY_DEPTH, "N", 0, "Frames under way, 1 to 32 (1, then 32)", 0},
    {0},
};

static const struct argp_option end_options[] = {
    {"serve", KEY_SERVE, NULL, 0,
     "Be the server alone, at --address, until SIGTERM or for --duration; --net is then one port, "
     "as "
     "of a node",
     0},
    {"to", KEY_TO, "ADDRESS", 0, "Be the client alone, of the server there", 0},
    {"address", KEY_ADDRESS, "ADDRESS", 0, "Of the end that is here, such as 10.0.0.1:7000", 0},
    {0},
};

static struct nic_address
parse_address(struct argp_state *state, const char *flag, const char *value)
{
    struct nic_address address = {0};
    if (!config_parse_address(value, &address)) {
        argp_error(state, "--%s: `%s` is no address such as 10.0.0.1:7000", flag, value);
    }
    return address;
}

static void parse_idle(struct argp_state *state, const char *value)
{
    struct floor_arguments *arguments = state->input;
    bool blocks = !arguments->disk;
    if (!idle_mode_parse(value, &arguments->idle) ||
        (arguments->idle != IDLE_SPIN && arguments->idle != IDLE_YIELD &&
         (arguments->idle != IDLE_BLOCK || !blocks))) {
        argp_error(state, "--idle: `%s` is neither spin nor yield%s", value,
                   blocks ? " nor block" : "");
    }
}

static void parse_size(struct argp_state *state, const char *value)
{
    struct floor_arguments *arguments = state->input;
    uint64_t bytes = 0;
    if (!units_parse_size(value, &bytes) || bytes < FLOOR_FRAME_BYTES_MIN ||
        bytes > FRAME_BYTES_MAX) {
        argp_error(state, "--size: `%s` is not a size from %u to %u", value, FLOOR_FRAME_BYTES_MIN,
                   FRAME_BYTES_MAX);
    }
    arguments->frame_bytes = (uint32_t)bytes;
}

/* What only all flags together can tell. */
static void check_together(struct argp_state *state)
{
    const struct floor_arguments *arguments = state->input;
    bool client = arguments->to.ipv4 != 0;
    if (arguments->serves && (client || arguments->frame_bytes != 0 || arguments->json)) {
        argp_error(state, "--serve only answers: neither --to nor --size nor --json");
    }
    if (arguments->serves && arguments->address.ipv4 == 0) {
        argp_error(state, "--serve: say where with --address A.B.C.D:PORT");
    }
    if (!arguments->serves && !client && arguments->address.ipv4 != 0) {
        argp_error(state, "--address is of one end: add --serve, or --to ADDRESS");
    }
}

/* One parser of all flags; which of them a command has, its options say. */
static error_t floor_parse(int key, char *value, struct argp_state *state)
{
    struct floor_arguments *arguments = state->input;
    switch (key) {
    case KEY_FOLDER:
        arguments->folder = value;
        return 0;
    case KEY_ROW_DURATION:
        arguments->duration_given = true;
        if (!units_parse_duration(value, &arguments->duration_ns) || arguments->duration_ns == 0) {
            argp_error(state, "--duration: `%s` is not a time: %s", value, UNITS_DURATION_FORM);
        }
        return 0;
    case KEY_FLOOR_IDLE:
        parse_idle(state, value);
        return 0;
    case KEY_FLOOR_CPU:
        arguments->cpu_count = options_cpus(state, value, arguments->cpus);
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case KEY_FLOOR_NET:
        arguments->spec = value;
        return 0;
    case KEY_SIZE:
        parse_size(state, value);
        return 0;
    case KEY_DEPTH:
        arguments->depth = (uint32_t)options_number(state, "depth", value, 1, FLOOR_ECHOES_MAX);
        return 0;
    case KEY_SERVE:
        arguments->serves = true;
        return 0;
    case KEY_TO:
        arguments->to = parse_address(state, "to", value);
        return 0;
    case KEY_ADDRESS:
        arguments->address = parse_address(state, "address", value);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t command_parse(int key, char *value, struct argp_state *state)
{
    const struct floor_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        for (uint32_t i = 0; arguments->argp->children[i].argp != NULL; i++) {
            state->child_inputs[i] = state->input;
        }
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s`: no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        check_together(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp common_argp = {.options = common_options, .parser = floor_parse};
static const struct argp disk_argp = {.options = disk_options, .parser = floor_parse};
static const struct argp port_argp = {.options = port_options, .parser = floor_parse};
static const struct argp end_argp = {.options = end_options, .parser = floor_parse};

static const struct argp_child disk_children[] = {
    {&disk_argp, 0, NULL, 0}, {&common_argp, 0, NULL, 0}, {0}};
static const struct argp_child net_children[] = {
    {&port_argp, 0, NULL, 0}, {&end_argp, 0, NULL, 0}, {&common_argp, 0, NULL, 0}, {0}};
static const struct argp_child all_children[] = {
    {&disk_argp, 0, NULL, 0}, {&port_argp, 0, NULL, 0}, {&common_argp, 0, NULL, 0}, {0}};

static const struct argp floor_disk_argp = {
    .parser = command_parse,
    .doc = "Measure what a durable write costs on this filesystem: the floor of every commit."
           "\vExample:\n  thole floor disk --json",
    .children = disk_children,
};

static const struct argp floor_net_argp = {
    .parser = command_parse,
    .args_doc = "[-- EAL ARGUMENTS]",
    .doc = "Measure round trips and frames a second over a port: the nic code of a node, without "
           "Raft and disk. Both ends are in this process, or each in one of its own, on this "
           "machine or another."
           "\vExample:\n  thole floor net --net af_packet --idle spin --cpu 1,0",
    .children = net_children,
};

static const struct argp floor_all_argp = {
    .parser = command_parse,
    .args_doc = "[-- EAL ARGUMENTS]",
    .doc = "Measure what `floor disk` and `floor net` do, one after the other."
           "\vExample:\n  thole floor all --net af_packet --duration 200ms --json",
    .children = all_children,
};

/* ---- Running. ---- */

static struct floor_port_config port_config(const struct floor_arguments *arguments,
                                            const volatile sig_atomic_t *interrupted)
{
    const struct floor_arguments *a = arguments;
    return (struct floor_port_config){
        .net = a->spec,
        .serves = a->serves,
        .to = a->to,
        .address = a->address,
        .frame_bytes = a->frame_bytes,
        .depth = a->depth,
        .duration_ns = a->serves && !a->duration_given ? 0 : a->duration_ns,
        .idle = a->idle,
        .server_cpu = a->cpu_count > 0 ? a->cpus[0] : -1,
        .client_cpu = a->cpu_count > 0 ? a->cpus[a->cpu_count - 1] : -1,
        .eal_argc = a->eal_argc,
        .eal_argv = a->eal_argv,
        .interrupted = interrupted,
    };
}

static int measure_disk(const struct floor_arguments *arguments,
                        const volatile sig_atomic_t *interrupted,
                        struct fault *fault)
{
    struct floor_writes_config config = {
        .folder = arguments->folder,
        .duration_ns = arguments->duration_ns,
        .idle = arguments->idle,
        .interrupted = interrupted,
    };
    if (arguments->cpu_count > 0 && core_pin(arguments->cpus[0]) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot run on CPU %d", arguments->cpus[0]);
        return fault->code;
    }
    return floor_writes_measure(&config, fault);
}

static int print(const struct floor_arguments *arguments, const struct floor_port_config *port)
{
    struct result_machine machine;
    result_machine(&machine, arguments->folder);
    if (!arguments->json) {
        if (arguments->disk) {
            floor_writes_print(&machine);
        }
        if (arguments->disk && arguments->net) {
            printf("\n");
        }
        if (arguments->net) {
            floor_port_print(port);
        }
        return 0;
    }
    json_t *object = json_pack("{s:s}", "schema", "thole-floor-1");
    if (arguments->disk) {
        json_object_set_new(object, "disk", floor_writes_json());
    }
    if (arguments->net) {
        json_object_set_new(object, "net", floor_port_json(port));
    }
    json_object_set_new(object, "env", result_env_json(&machine));
    int printed = json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object);
    putchar('\n');
    return printed == 0 ? 0 : FAULT_INTERNAL;
}

static int run(const struct floor_arguments *arguments)
{
    struct fault fault = {0};
    const volatile sig_atomic_t *interrupted = options_catch_interrupts();
    struct floor_port_config port = port_config(arguments, interrupted);
    if (arguments->serves) {
        return floor_port_serve(&port, &fault) == 0 ? 0 : command_fail(&fault);
    }
    int code = 0;
    if (arguments->disk) {
        code = measure_disk(arguments, interrupted, &fault);
    }
    if (arguments->net && code == 0 && *interrupted == 0) {
        code = floor_port_measure(&port, &fault);
    }
    if (*interrupted != 0) {
        fault_set(&fault, FAULT_FAILED, "interrupted");
        code = fault.code;
    }
    return code == 0 ? print(arguments, &port) : command_fail(&fault);
}

static int parse_and_run(const struct argp *argp, int argc, char **argv, bool disk, bool net)
{
    struct floor_arguments arguments = {.argp = argp,
                                        .disk = disk,
                                        .net = net,
                                        .folder = ".",
                                        .duration_ns = 1000000000,
                                        .idle = IDLE_YIELD,
                                        .spec = "udp"};
    int eal_argc = 0;
    char **eal_argv = NULL;
    if (net) {
        argc = command_split_eal(argc, argv, &eal_argc, &eal_argv);
    }
    arguments.eal_argc = (uint32_t)eal_argc;
    arguments.eal_argv = eal_argv;
    if (argp_parse(argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    return run(&arguments);
}

static int floor_disk_run(int argc, char **argv)
{
    return parse_and_run(&floor_disk_argp, argc, argv, true, false);
}

static int floor_net_run(int argc, char **argv)
{
    return parse_and_run(&floor_net_argp, argc, argv, false, true);
}

static int floor_all_run(int argc, char **argv)
{
    return parse_and_run(&floor_all_argp, argc, argv, true, true);
}

const struct command command_floor_disk = {
    .name = "floor disk",
    .summary = "What a durable write costs on this filesystem",
    .argp = &floor_disk_argp,
    .run = floor_disk_run,
};

const struct command command_floor_net = {
    .name = "floor net",
    .summary = "What a round trip over a port costs",
    .argp = &floor_net_argp,
    .run = floor_net_run,
};

const struct command command_floor_all = {
    .name = "floor all",
    .summary = "Both",
    .argp = &floor_all_argp,
    .run = floor_all_run,
};
