/* cmd_lab_status.c: `thole lab status`: a lab's nodes, the faults in force, and the cluster as its
 * clients see it. */
#include "engine/cli/ask.h"
#include "engine/cli/command.h"
#include "engine/cli/health.h"
#include "engine/cli/lab_arguments.h"
#include "engine/cli/slow_disk.h"
#include "engine/cli/status_print.h"

#include "engine/lab/nodes.h"
#include "engine/lab/place.h"
#include "engine/lab/switch.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct status_arguments {
    struct lab_arguments lab; /* First. */
    bool json;
};

enum { KEY_JSON = LAB_KEY_OWN };

/* How the cluster stands, asked from the clients' host. */
struct seen {
    struct config config;
    struct ask_answer answers[VOTERS_MAX];
    struct health health;
};

static error_t status_parse(int key, char *value, struct argp_state *state)
{
    struct status_arguments *arguments = state->input;
    switch (key) {
    case KEY_JSON:
        arguments->json = true;
        return 0;
    default:
        return lab_arguments_parse_alone(key, value, state);
    }
}

static const struct argp_option status_options[] = {
    LAB_OPTION_DIR,
    {"json", KEY_JSON, NULL, 0, "One JSON object", 0},
    {0},
};

static const struct argp status_argp = {
    .options = status_options,
    .parser = status_parse,
    .doc = "A lab's nodes, the faults in force, the disks that are slowed, and what `thole status` "
           "says at the clients' host. Exits 0 when the cluster is healthy, whatever the faults; "
           "else 1."
           "\vExample:\n  thole lab status",
};

static int ask_from_home(const struct lab *lab, struct seen *seen, struct fault *fault)
{
    char path[PATH_MAX];
    struct ask ask;
    lab_path(lab, LAB_CONFIG, 0, path);
    uint32_t home = lab_find_host(lab, LAB_HOME, fault);
    if (home == LAB_SWITCH || config_load(&seen->config, path, fault) != 0) {
        return fault->code;
    }
    int result = lab_enter(lab, home, false);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot enter the lab in %.200s: %s. It is for whoever made it, and for root",
                  lab->dir, strerror(-result));
        return fault->code;
    }
    if (ask_open(&ask, &seen->config, fault) != 0) {
        return fault->code;
    }
    ask_status(&ask, ASK_TIMEOUT_NS, seen->answers);
    ask_close(&ask);
    health_judge(&seen->health, &seen->config, seen->answers);
    return 0;
}

static const char *state_of(const struct lab *lab, uint32_t number)
{
    struct process_id process = lab->nodes[number - 1];
    if (!process_is_alive(process)) {
        return "ended";
    }
    return process_is_stopped(process) ? "paused" : "running";
}

/* Its numbers, or NULL: it never ran. */
static struct disk_slow_numbers *slow_disk_of(const struct lab *lab, uint32_t number)
{
    char path[PATH_MAX];
    struct disk_slow_numbers *numbers = NULL;
    struct fault ignored = {0};
    lab_path(lab, LAB_SLOW, number, path);
    bool is_there = access(path, F_OK) == 0 && disk_slow_map(path, &numbers, &ignored) == 0;
    return is_there ? numbers : NULL;
}

/* ---- For people. ---- */

static void print_nodes(const struct lab *lab)
{
    for (uint32_t i = 1; i <= lab->node_count; i++) {
        const char *state = state_of(lab, i);
        struct disk_slow_numbers *numbers = slow_disk_of(lab, i);
        char line[NODES_LINE_BYTES];
        printf("node %u  %-8s", i, state);
        if (strcmp(state, "ended") == 0) {
            nodes_last_line(lab, i, line);
            printf("it said last: %s", line);
        } else {
            printf("process %" PRId64, lab->nodes[i - 1].pid);
        }
        if (numbers != NULL && atomic_load(&numbers->delay_ns) > 0) {
            printf("  SLOW DISK: ");
            slow_disk_print(numbers, stdout);
        }
        printf("\n");
    }
}

static void print_pairs(const json_t *faults, const char *name, const char *between)
{
    size_t i = 0;
    json_t *pair = NULL;
    json_array_foreach(json_object_get(faults, name), i, pair)
    {
        printf("cut      %s %s %s\n", json_string_value(json_array_get(pair, 0)), between,
               json_string_value(json_array_get(pair, 1)));
    }
}

static void print_faults(const json_t *faults)
{
    double lose = json_real_value(json_object_get(faults, "lose_percent"));
    double repeat = json_real_value(json_object_get(faults, "repeat_percent"));
    size_t cuts = json_array_size(json_object_get(faults, "cuts")) +
                  json_array_size(json_object_get(faults, "one_way_cuts"));
    print_pairs(faults, "cuts", "and");
    print_pairs(faults, "one_way_cuts", "to");
    if (lose > 0) {
        printf("lost     %g %% of all packets\n", lose);
    }
    if (repeat > 0) {
        printf("repeated %g %% of all packets\n", repeat);
    }
    if (cuts == 0 && lose == 0 && repeat == 0) {
        printf("no fault in the network\n");
    }
}

/* ---- For programs. ---- */

static json_t *slow_object(const struct disk_slow_numbers *numbers)
{
    if (numbers == NULL || atomic_load(&numbers->delay_ns) == 0) {
        return json_null();
    }
    return json_pack("{s:I, s:f, s:I}", "delay_ns", (json_int_t)atomic_load(&numbers->delay_ns),
                     "share_percent", (double)atomic_load(&numbers->share) / 10000.0, "seed",
                     (json_int_t)atomic_load(&numbers->seed));
}

static json_t *nodes_array(const struct lab *lab)
{
    json_t *nodes = json_array();
    for (uint32_t i = 1; i <= lab->node_count; i++) {
        const char *state = state_of(lab, i);
        bool ended = strcmp(state, "ended") == 0;
        json_array_append_new(nodes,
                              json_pack("{s:i, s:s, s:o, s:o}", "id", (int)i, "state", state, "pid",
                                        ended ? json_null() : json_integer(lab->nodes[i - 1].pid),
                                        "slow_disk", slow_object(slow_disk_of(lab, i))));
    }
    return nodes;
}

static json_t *hosts_array(const struct lab *lab)
{
    json_t *hosts = json_array();
    for (uint32_t i = 0; i < lab->host_count; i++) {
        const struct lab_host *host = &lab->hosts[i];
        char path[LAB_NAMESPACE_BYTES];
        lab_namespace(lab, i, path);
        json_array_append_new(
            hosts, json_pack("{s:s, s:s, s:s, s:o}", "name", host->name, "address", host->address,
                             "namespace", path, "node",
                             host->node != 0 ? json_integer((json_int_t)host->node) : json_null()));
    }
    return hosts;
}

/* Takes `faults`. False: no memory. */
static bool print_json(const struct lab *lab, json_t *faults, const struct seen *seen)
{
    json_t *cluster = lab->node_count > 0
                          ? status_object(&seen->config, seen->answers, &seen->health)
                          : json_null();
    json_t *object = json_pack("{s:s, s:s, s:b, s:I, s:o, s:o, s:o, s:o}", "dir", lab->dir, "net",
                               lab->spec, "user_namespace", (int)lab->user_namespace, "keeper",
                               (json_int_t)lab->keeper.pid, "hosts", hosts_array(lab), "nodes",
                               nodes_array(lab), "faults", faults, "cluster", cluster);
    bool printed = object != NULL && json_dumpf(object, stdout, JSON_COMPACT) == 0;
    json_decref(object);
    putchar('\n');
    status_print_notes(&seen->health, stderr);
    return printed;
}

static int status_run(int argc, char **argv)
{
    struct status_arguments arguments = {0};
    static struct lab lab; /* Large, and one a process. */
    static struct seen seen;
    struct fault fault = {0};
    if (argp_parse(&status_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    if (lab_need(&lab, lab_arguments_dir(&arguments.lab), &fault) != 0) {
        return command_fail(&fault);
    }
    lab_close(&lab);
    json_t *faults = switch_faults(&lab, &fault);
    if (faults == NULL || (lab.node_count > 0 && ask_from_home(&lab, &seen, &fault) != 0)) {
        json_decref(faults);
        return command_fail(&fault);
    }
    if (arguments.json) {
        if (!print_json(&lab, faults, &seen)) {
            return FAULT_INTERNAL;
        }
    } else {
        printf("lab in %s, %s%s\n", lab.dir, lab.node_count > 0 ? lab.spec : "the network alone",
               lab.user_namespace ? ", in a user namespace" : "");
        print_nodes(&lab);
        print_faults(faults);
        if (lab.node_count > 0) {
            status_print_table(&seen.config, seen.answers, &seen.health);
        }
        json_decref(faults);
    }
    return lab.node_count == 0 || seen.health.healthy ? 0 : FAULT_FAILED;
}

const struct command command_lab_status = {
    .name = "lab status",
    .summary = "A lab's nodes, faults and cluster",
    .argp = &status_argp,
    .run = status_run,
};
