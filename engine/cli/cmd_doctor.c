/* cmd_doctor.c: `thole doctor`: whether this machine is fit for what is to run on it. */
#define _GNU_SOURCE /* CPU_SETSIZE */
#include "engine/cli/command.h"
#include "engine/cli/doctor.h"
#include "engine/cli/make_log.h"

#include "engine/base/units.h"
#include "engine/node.h"

#include <jansson.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define DEMO_NODES     3u
#define DEMO_LOG_BYTES (256ull << 20)
#define DEMO_FLOOR     (16ull << 20) /* Of each node's file for the floor. */

struct doctor_arguments {
    const char *path;
    const char *folder;
    const char *spec;
    uint32_t node; /* 0: not given. */
    enum idle_mode idle;
    uint32_t cpu_count;
    int cpus[DOCTOR_CPUS_MAX];
    bool json;
};

enum { KEY_NODE = 256, KEY_DIR, KEY_NET, KEY_IDLE, KEY_CPU };

static const struct argp_option doctor_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration (without: for `thole demo`)", 0},
    {"node", KEY_NODE, "N", 0, "Which of its nodes is to run here (its first)", 0},
    {"dir", KEY_DIR, "DIR", 0, "The demo's folder (the current one)", 0},
    {"net", KEY_NET, "SPEC", 0, "Network port instead of the configuration's `spec`", 0},
    {"idle", KEY_IDLE, "MODE", 0, "Of the pollers: auto, spin, yield, block or sleep (auto)", 0},
    {"cpu", KEY_CPU, "LIST", 0, "CPUs of the pollers: of a node one, of the demo two (any)", 0},
    {"json", 'j', NULL, 0, "Print one JSON object", 0},
    {0},
};

static void parse_end(struct argp_state *state)
{
    const struct doctor_arguments *arguments = state->input;
    if (arguments->node != 0 && arguments->path == NULL) {
        argp_error(state, "--node is one of a configuration's: -c FILE is needed");
    }
    if (arguments->path != NULL && arguments->cpu_count > 1) {
        argp_error(state, "--cpu: a node has one group, which runs on one CPU");
    }
    if (arguments->folder != NULL && arguments->path != NULL) {
        argp_error(state, "--dir is of the demo; with -c the folder is the node's `data`");
    }
}

static error_t doctor_parse(int key, char *value, struct argp_state *state)
{
    struct doctor_arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->path = value;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case KEY_NODE:
        arguments->node = command_parse_node(state, value);
        return 0;
    case KEY_DIR:
        arguments->folder = value;
        return 0;
    case KEY_NET:
        arguments->spec = value;
        return 0;
    case KEY_IDLE:
        if (!idle_mode_parse(value, &arguments->idle)) {
            argp_error(state, "--idle: `%s` is not auto, spin, yield, block or sleep", value);
        }
        return 0;
    case KEY_CPU:
        if (!units_parse_numbers(value, CPU_SETSIZE - 1, arguments->cpus, DOCTOR_CPUS_MAX,
                                 &arguments->cpu_count)) {
            argp_error(state, "--cpu: `%s` is not a list of CPUs such as 0,1", value);
        }
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s`: no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        parse_end(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp doctor_argp = {
    .options = doctor_options,
    .parser = doctor_parse,
    .args_doc = "[-c FILE [--node N]]",
    .doc = "Look whether this machine is fit: for a node of a configuration, or without one for "
           "`thole demo` in the current folder. Each row has a condition, what is required, what "
           "is, how bad that is, and the command that mends it. A log that no process has open is "
           "read whole, as `thole log verify` reads it.\n\n"
           "Changes nothing and needs no rights. Exits with 1 when there is an error among the "
           "rows, which a start would refuse."
           "\vExample:\n  thole doctor -c cluster.ini --node 1 --idle spin",
};

/* ---- What is to run ---- */

/* What the demo needs: three nodes in one process, and the floor's files. */
static void plan_demo(const struct doctor_arguments *arguments, struct doctor_plan *plan)
{
    static struct config cluster; /* Large, and one a process. */
    config_default_local(&cluster, DEMO_NODES);
    plan->durable = true;
    plan->data = arguments->folder == NULL ? "." : arguments->folder;
    plan->log_bytes = DEMO_NODES * (DEMO_LOG_BYTES + DEMO_FLOOR);
    for (uint32_t i = 0; i < DEMO_NODES; i++) {
        plan->memory_bytes += node_memory_bytes(&cluster, &cluster.nodes[i]);
    }
    plan->spec_text = "ring";
}

static int
plan_node(const struct doctor_arguments *arguments, struct doctor_plan *plan, struct fault *fault)
{
    static struct config cluster;
    if (config_load(&cluster, arguments->path, fault) != 0) {
        return fault->code;
    }
    uint32_t id = arguments->node != 0 ? arguments->node : cluster.nodes[0].id;
    const struct config_node *self = config_node_of(&cluster, id, fault);
    if (self == NULL) {
        return fault->code;
    }
    plan->config = arguments->path;
    plan->node = id;
    plan->cluster = cluster.cluster;
    plan->has_peers = cluster.node_count > 1;
    plan->durable = cluster.durability == CONFIG_DSYNC;
    plan->data = self->data;
    plan->log_bytes = cluster.size_bytes;
    plan->memory_bytes = node_memory_bytes(&cluster, self);
    plan->spec_text = self->spec;
    plan->self = self->address;
    return 0;
}

static int
plan_make(const struct doctor_arguments *arguments, struct doctor_plan *plan, struct fault *fault)
{
    static char log[PATH_MAX];
    *plan = (struct doctor_plan){
        .idle = arguments->idle,
        .cpu_count = arguments->cpu_count,
        .frame_bytes_min = node_frame_bytes_min(),
    };
    memcpy(plan->cpus, arguments->cpus, sizeof(plan->cpus));
    int result = 0;
    if (arguments->path == NULL) {
        plan_demo(arguments, plan);
    } else {
        result = plan_node(arguments, plan, fault);
    }
    if (result != 0) {
        return result;
    }
    if (arguments->spec != NULL) {
        plan->spec_text = arguments->spec;
    }
    if (!nic_spec_parse(plan->spec_text, &plan->spec)) {
        fault_set(fault, FAULT_USAGE, "--net: `%.64s` is not " NIC_SPEC_FORM, plan->spec_text);
        return FAULT_USAGE;
    }
    if (!make_log_path(plan->data, log, sizeof(log))) {
        fault_set(fault, FAULT_ENVIRONMENT, "the name of the folder %.64s... is too long",
                  plan->data);
        return FAULT_ENVIRONMENT;
    }
    plan->log = log;
    return 0;
}

/* ---- The table ---- */

static void print_table(const struct doctor_plan *plan, const struct doctor_rows *rows)
{
    static const char *const colors[DOCTOR_SEVERITIES] = {"\033[32m", "\033[36m", "\033[33m",
                                                          "\033[1;31m"};
    bool colored = command_has_colors(stdout);
    if (plan->config != NULL) {
        printf("for node %u of %s: ", plan->node, plan->config);
    } else {
        printf("for `thole demo`: ");
    }
    printf("data %s, port %s, idle %s\n\n", plan->durable ? plan->data : "in memory",
           plan->spec_text, idle_mode_name(plan->idle));
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct doctor_row *row = &rows->rows[i];
        printf("%s%-7s%s  %-22s  %s\n", colored ? colors[row->severity] : "",
               doctor_severity_name(row->severity), colored ? "\033[0m" : "", row->condition,
               row->current);
        if (row->severity != DOCTOR_OK) {
            printf("%-7s  %-22s  required: %s\n", "", "", row->required);
        }
        if (row->mend[0] != '\0') {
            printf("%-7s  %-22s  mend: %s\n", "", "", row->mend);
        }
    }
    printf("\n%u ok, %u notes, %u warnings, %u errors\n", rows->counts[DOCTOR_OK],
           rows->counts[DOCTOR_NOTE], rows->counts[DOCTOR_WARNING], rows->counts[DOCTOR_ERROR]);
}

/* False: no memory, or it cannot be printed. */
static bool print_json(const struct doctor_plan *plan, const struct doctor_rows *rows)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct doctor_row *row = &rows->rows[i];
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "condition", row->condition, "required",
                            row->required, "current", row->current, "severity",
                            doctor_severity_name(row->severity), "mend", row->mend));
    }
    json_t *cpus = json_array();
    for (uint32_t i = 0; i < plan->cpu_count; i++) {
        (void)json_array_append_new(cpus, json_integer(plan->cpus[i]));
    }
    json_t *object = json_pack(
        "{s:b, s:s?, s:o, s:s?, s:s, s:s, s:o, s:i, s:i, s:o}", "fit",
        (int)(rows->counts[DOCTOR_ERROR] == 0), "config", plan->config, "node",
        plan->config == NULL ? json_null() : json_integer(plan->node), "data",
        plan->durable ? plan->data : NULL, "net", plan->spec_text, "idle",
        idle_mode_name(plan->idle), "cpus", cpus, "errors", (int)rows->counts[DOCTOR_ERROR],
        "warnings", (int)rows->counts[DOCTOR_WARNING], "rows", list);
    bool printed = object != NULL && json_dumpf(object, stdout, JSON_INDENT(2)) == 0;
    json_decref(object);
    putchar('\n');
    return printed;
}

static int doctor_run(int argc, char **argv)
{
    struct doctor_arguments arguments = {.idle = IDLE_AUTO};
    if (argp_parse(&doctor_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct doctor_facts facts; /* Large, and one a process. */
    static struct doctor_rows rows;
    struct doctor_plan plan;
    struct fault fault = {0};
    if (plan_make(&arguments, &plan, &fault) != 0) {
        return command_fail(&fault);
    }
    doctor_look(&plan, &facts);
    doctor_judge(&facts, &rows);
    if (!arguments.json) {
        print_table(&plan, &rows);
    } else if (!print_json(&plan, &rows)) {
        return FAULT_INTERNAL;
    }
    if (fflush(stdout) != 0) {
        return FAULT_ENVIRONMENT;
    }
    return rows.counts[DOCTOR_ERROR] == 0 ? 0 : FAULT_FAILED;
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "Whether this machine is fit, and what mends it",
    .argp = &doctor_argp,
    .run = doctor_run,
};
