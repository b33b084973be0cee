/* cmd_lab_up.c: `thole lab up` and `thole lab down`: a cluster on this machine, made and taken
 * away. */
#define _GNU_SOURCE /* signalfd, ppoll */
#include "engine/cli/command.h"
#include "engine/cli/lab_arguments.h"

#include "engine/base/units.h"
#include "engine/idle.h"
#include "engine/lab/end.h"
#include "engine/lab/keeper.h"
#include "engine/lab/nodes.h"
#include "engine/lab/place.h"
#include "engine/lab/switch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UP_SIZE_BYTES (64ull << 20)
#define UP_NODES      3u

struct up_arguments {
    struct lab_arguments lab; /* First. */
    const char *net;          /* NULL, and so on: not given. */
    uint32_t nodes;
    uint64_t size_bytes;
    const char *durability;
    const char *idle;
    const char *hosts;
    bool no_nodes;
    bool hold;
    bool remove;
};

enum {
    KEY_NET = LAB_KEY_OWN,
    KEY_NODES,
    KEY_SIZE,
    KEY_DURABILITY,
    KEY_IDLE,
    KEY_HOSTS,
    KEY_NO_NODES,
    KEY_HOLD,
    KEY_REMOVE,
};

static const struct argp_option up_options[] = {
    LAB_OPTION_DIR,
    {"net", KEY_NET, "SPEC", 0,
     "The nodes' ports: udp, af_packet or af_xdp, with options as in af_xdp,mtu=3400 (af_packet)",
     0},
    {"nodes", KEY_NODES, "N", 0, "How many nodes (3)", 0},
    {"size", KEY_SIZE, "SIZE", 0, "Of one node's log (64MiB)", 0},
    {"durability", KEY_DURABILITY, "MODE", 0, "dsync or memory (dsync)", 0},
    {"idle", KEY_IDLE, "MODE", 0, "Of the nodes: auto, spin, yield, block or sleep (auto)", 0},
    {"hosts", KEY_HOSTS, "NAMES", 0,
     "More hosts, whose kernels have their addresses, with commas between them", 0},
    {"no-nodes", KEY_NO_NODES, NULL, 0, "The network alone, of the hosts of --hosts", 0},
    {"hold", KEY_HOLD, NULL, 0,
     "Stay, and take it down at SIGINT or SIGTERM; killed, it takes all with it", 0},
    {0},
};

static void parse_nodes(struct argp_state *state, const char *value)
{
    struct up_arguments *arguments = state->input;
    uint64_t nodes = 0;
    if (!units_parse_number(value, 1, VOTERS_MAX, &nodes)) {
        argp_error(state, "--nodes: `%s` is not a number from 1 to %u", value, VOTERS_MAX);
    }
    arguments->nodes = (uint32_t)nodes;
}

static void check_up(struct argp_state *state, const struct up_arguments *arguments)
{
    bool wants_nodes = arguments->net != NULL || arguments->nodes != 0 ||
                       arguments->size_bytes != 0 || arguments->durability != NULL ||
                       arguments->idle != NULL;
    if (arguments->no_nodes && (arguments->hosts == NULL || wants_nodes)) {
        argp_error(state, "--no-nodes needs --hosts, and nothing that nodes are made from");
    }
}

static error_t up_parse(int key, char *value, struct argp_state *state)
{
    struct up_arguments *arguments = state->input;
    enum idle_mode mode = IDLE_AUTO;
    switch (key) {
    case KEY_NET:
        arguments->net = value;
        return 0;
    case KEY_NODES:
        parse_nodes(state, value);
        return 0;
    case KEY_SIZE:
        if (!units_parse_size(value, &arguments->size_bytes) || arguments->size_bytes == 0) {
            argp_error(state, "--size: `%s` is not " UNITS_SIZE_FORM, value);
        }
        return 0;
    case KEY_DURABILITY:
        if (strcmp(value, "dsync") != 0 && strcmp(value, "memory") != 0) {
            argp_error(state, "--durability: `%s` is neither dsync nor memory", value);
        }
        arguments->durability = value;
        return 0;
    case KEY_IDLE:
        if (!idle_mode_parse(value, &mode)) {
            argp_error(state, "--idle: `%s` is not auto, spin, yield, block or sleep", value);
        }
        arguments->idle = value;
        return 0;
    case KEY_HOSTS:
        arguments->hosts = value;
        return 0;
    case KEY_NO_NODES:
        arguments->no_nodes = true;
        return 0;
    case KEY_HOLD:
        arguments->hold = true;
        return 0;
    case ARGP_KEY_END:
        check_up(state, arguments);
        return 0;
    default:
        return lab_arguments_parse_alone(key, value, state);
    }
}

static const struct argp up_argp = {
    .options = up_options,
    .parser = up_parse,
    .doc =
        "Make a cluster on this machine, to play with and to break: each node at a host of its own "
        "(a network namespace), and a host `home` for clients, joined by a bridge. Returns when it "
        "is healthy. As an ordinary user all of it is in a user namespace; af_xdp needs root. "
        "Everything is in DIR, and nothing of it is seen outside; when its keeper ends, all of it "
        "ends. A DIR that held a lab before has its cluster and its data again."
        "\vExample:\n  thole lab up --net af_packet",
};

/* ---- What it is to be. ---- */

/* "af_xdp,mtu=3400" becomes "af_xdp:eth0,mtu=3400". */
static int make_spec(const char *net, char spec[NIC_SPEC_BYTES], struct fault *fault)
{
    size_t kind_bytes = strcspn(net, ",:");
    int bytes = 0;
    struct nic_spec parsed = {0};
    if (strcmp(net, "udp") == 0) {
        bytes = snprintf(spec, NIC_SPEC_BYTES, "udp");
    } else {
        bytes =
            snprintf(spec, NIC_SPEC_BYTES, "%.*s:eth0%s", (int)kind_bytes, net, net + kind_bytes);
    }
    bool good = bytes > 0 && (size_t)bytes < NIC_SPEC_BYTES && net[kind_bytes] != ':' &&
                nic_spec_parse(spec, &parsed);
    if (!good ||
        (parsed.kind != NIC_UDP && parsed.kind != NIC_AF_PACKET && parsed.kind != NIC_AF_XDP)) {
        fault_set(
            fault, FAULT_USAGE,
            "--net: `%.64s` is not udp, af_packet or af_xdp, with options behind a comma: the "
            "lab makes the interfaces itself",
            net);
        return -EINVAL;
    }
    if (parsed.kind == NIC_AF_XDP && geteuid() != 0) {
        fault_set(
            fault, FAULT_ENVIRONMENT,
            "af_xdp needs root of the machine, which no user namespace gives: run it as root, "
            "or take --net af_packet");
        return -EPERM;
    }
    return 0;
}

/* Add a host. The address is by its place. */
static int add_host(struct lab *lab, const char *name, uint32_t node, struct fault *fault)
{
    size_t letters = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
    bool good = letters > 0 && name[letters] == '\0' && letters < LAB_NAME_BYTES &&
                (name[0] < '0' || name[0] > '9') && strcmp(name, "br0") != 0 &&
                strcmp(name, "lo") != 0;
    for (uint32_t i = 0; i < lab->host_count; i++) {
        good = good && strcmp(lab->hosts[i].name, name) != 0;
    }
    if (!good || lab->host_count == LAB_HOSTS_MAX) {
        fault_set(fault, FAULT_USAGE,
                  "--hosts: `%.32s`: a host's name is a letter and up to 14 letters and digits "
                  "behind it, all small, not br0 or lo, once each; %u hosts at most, n1 and so on "
                  "and `home` among them",
                  name, LAB_HOSTS_MAX);
        return -EINVAL;
    }
    struct lab_host *host = &lab->hosts[lab->host_count++];
    *host = (struct lab_host){.node = node};
    (void)snprintf(host->name, sizeof host->name, "%s", name);
    (void)snprintf(host->address, sizeof host->address, "10.77.0.%u", lab->host_count);
    return 0;
}

static int add_hosts(struct lab *lab, const struct up_arguments *arguments, struct fault *fault)
{
    static char names[LAB_HOSTS_MAX * LAB_NAME_BYTES];
    int result = 0;
    for (uint32_t i = 1; i <= lab->node_count && result == 0; i++) {
        char name[LAB_NAME_BYTES];
        (void)snprintf(name, sizeof name, "n%u", i);
        result = add_host(lab, name, i, fault);
    }
    if (lab->node_count > 0 && result == 0) {
        result = add_host(lab, LAB_HOME, 0, fault);
    }
    char *rest = NULL;
    (void)snprintf(names, sizeof names, "%s", arguments->hosts != NULL ? arguments->hosts : "");
    for (char *name = strtok_r(names, ",", &rest); name != NULL && result == 0;
         name = strtok_r(NULL, ",", &rest)) {
        result = add_host(lab, name, 0, fault);
    }
    return result;
}

/* The configuration that stands in DIR from an earlier lab: does it fit what is asked for? */
static int check_old_config(const struct lab *lab,
                            const struct config *config,
                            const struct up_arguments *arguments,
                            const char *spec,
                            struct fault *fault)
{
    bool is_memory = config->durability == CONFIG_MEMORY;
    const char *differs = NULL;
    if (arguments->nodes != 0 && arguments->nodes != config->node_count) {
        differs = "--nodes";
    } else if (arguments->size_bytes != 0 && arguments->size_bytes != config->size_bytes) {
        differs = "--size";
    } else if (arguments->durability != NULL &&
               (strcmp(arguments->durability, "memory") == 0) != is_memory) {
        differs = "--durability";
    } else if (arguments->net != NULL && strcmp(spec, config->spec) != 0) {
        differs = "--net";
    }
    if (differs != NULL) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%.200s holds the cluster of an earlier lab, and %s says otherwise than its "
                  "cluster.ini: leave it out, take another --dir, or take the old one away with "
                  "`thole lab down --remove --dir %.200s`",
                  lab->dir, differs, lab->dir);
        return -EEXIST;
    }
    for (uint32_t i = 0; i < config->node_count; i++) {
        uint32_t ipv4 = 10u << 24 | 77u << 16 | (i + 1);
        if (config->nodes[i].id != i + 1 || config->nodes[i].address.ipv4 != ipv4) {
            fault_set(fault, FAULT_ENVIRONMENT,
                      "the cluster.ini in %.200s is not of a lab: name another folder with --dir",
                      lab->dir);
            return -EINVAL;
        }
    }
    return 0;
}

/* Read cluster.ini, or make it. Fills the lab's nodes, hosts and spec. */
static int find_cluster(struct lab *lab,
                        const struct up_arguments *arguments,
                        struct config *config,
                        bool *is_new,
                        struct fault *fault)
{
    char path[PATH_MAX];
    char spec[NIC_SPEC_BYTES] = "";
    lab_path(lab, LAB_CONFIG, 0, path);
    *is_new = access(path, F_OK) != 0;
    const char *net = arguments->net != NULL ? arguments->net : "af_packet";
    struct lab_cluster cluster = {
        .node_count = arguments->nodes != 0 ? arguments->nodes : UP_NODES,
        .size_bytes = arguments->size_bytes != 0 ? arguments->size_bytes : UP_SIZE_BYTES,
        .durability = arguments->durability != NULL ? arguments->durability : "dsync",
        .spec = spec,
    };
    int result = make_spec(net, spec, fault);
    if (result == 0 && !*is_new) {
        result = config_load(config, path, fault);
        if (result == 0) {
            result = check_old_config(lab, config, arguments, spec, fault);
        }
        cluster.node_count = config->node_count;
    }
    lab->node_count = cluster.node_count;
    if (result == 0) {
        result = add_hosts(lab, arguments, fault);
    }
    if (result == 0 && *is_new) {
        result = nodes_write_config(lab, &cluster, fault);
        if (result == 0) {
            result = config_load(config, path, fault);
        }
    }
    if (result == 0) {
        (void)snprintf(lab->spec, sizeof lab->spec, "%s", config->spec);
        (void)snprintf(lab->idle, sizeof lab->idle, "%s",
                       arguments->idle != NULL ? arguments->idle : "auto");
    }
    return result;
}

/* ---- Making it. ---- */

static int make_network(struct lab *lab, const struct up_arguments *arguments, struct fault *fault)
{
    uint64_t without_address = 0;
    for (uint32_t i = 0; i < lab->host_count && strcmp(lab->spec, "udp") != 0; i++) {
        without_address |= lab->hosts[i].node != 0 ? 1ull << i : 0;
    }
    lab->user_namespace = geteuid() != 0;
    int result = keeper_start(lab, arguments->hold, fault);
    if (result != 0) {
        return result;
    }
    lab->life = LAB_ALIVE;
    result = lab_save(lab, fault);
    return result == 0 ? switch_make(lab, without_address, fault) : result;
}

static int make_nodes(struct lab *lab, const struct config *config, struct fault *fault)
{
    int result = nodes_format(lab, config, fault);
    for (uint32_t i = 1; i <= lab->node_count && result == 0; i++) {
        result = nodes_start(lab, i, fault);
    }
    return result == 0 ? nodes_wait_healthy(lab, fault) : result;
}

static int check_free(struct lab *lab, struct fault *fault)
{
    if (lab->life == LAB_ALIVE) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "there is a lab in %.200s already: see it with `thole lab status --dir %.200s`, "
                  "end it with `thole lab down`, or make another with --dir",
                  lab->dir, lab->dir);
        return -EEXIST;
    }
    if (lab->life == LAB_DEAD) {
        fprintf(stderr,
                "the lab in %s had ended without `thole lab down`; what is left is taken "
                "away, its cluster stays\n",
                lab->dir);
        lab_end(lab);
    }
    lab->host_count = 0;
    lab->node_count = 0;
    return 0;
}

/* All of it; what fails leaves no process, no network, and no file that was not there before. */
static int make_lab(struct lab *lab, const struct up_arguments *arguments, struct fault *fault)
{
    static struct config config;
    bool is_new = false;
    int result = check_free(lab, fault);
    if (result != 0) {
        return result;
    }
    result = arguments->no_nodes ? add_hosts(lab, arguments, fault)
                                 : find_cluster(lab, arguments, &config, &is_new, fault);
    if (result == 0) {
        result = make_network(lab, arguments, fault);
    }
    if (result == 0 && !arguments->no_nodes) {
        result = make_nodes(lab, &config, fault);
    }
    if (result != 0 && fault->code != FAULT_UNAVAILABLE) { /* Not healthy yet is up, to be seen. */
        struct fault ignored = {0};
        lab_end(lab);
        if (is_new && lab_remove_files(lab, &ignored) != 0) {
            fprintf(stderr, "%s\n", ignored.text);
        }
    }
    return result;
}

static void print_lab(const struct lab *lab, const struct up_arguments *arguments)
{
    const char *dir = lab_arguments_dir(&arguments->lab);
    bool is_default = arguments->lab.dir == NULL;
    const char *option = is_default ? "" : " --dir ";
    const char *value = is_default ? "" : dir;
    if (arguments->no_nodes) {
        printf("network of %u hosts in %s\n", lab->host_count, lab->dir);
    } else {
        printf(
            "%u nodes over %s in %s, the clients' host is `home`\n"
            "  thole lab shell%s%s               # thole append -c cluster.ini, ping, ...\n"
            "  thole lab status%s%s              # also: kill N, stop N, start N, pause N, cut N,"
            " lose P, flap N, heal, slow-disk N TIME\n"
            "  thole lab down%s%s\n",
            lab->node_count, lab->spec, lab->dir, option, value, option, value, option, value);
    }
    (void)fflush(stdout);
}

/* Until a signal, or the end of the keeper. */
static int hold(struct lab *lab, const sigset_t *signals)
{
    struct timespec look = {.tv_nsec = 200000000};
    lab_close(lab); /* Other commands come meanwhile. */
    while (sigtimedwait(signals, NULL, &look) < 0) {
        if (!process_is_alive(lab->keeper)) {
            return 0; /* `thole lab down`, or a crash; either way there is nothing to hold. */
        }
    }
    struct fault fault = {0};
    char dir[PATH_MAX];
    (void)snprintf(dir, sizeof dir, "%s", lab->dir);
    if (lab_open(lab, dir, &fault) != 0) {
        return command_fail(&fault);
    }
    lab_end(lab);
    lab_close(lab);
    return 0;
}

static int up_run(int argc, char **argv)
{
    struct up_arguments arguments = {0};
    static struct lab lab;
    struct fault fault = {0};
    sigset_t signals;
    if (argp_parse(&up_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    const char *dir = lab_arguments_dir(&arguments.lab);
    if (lab_find_tools(&fault) != 0) {
        return command_fail(&fault);
    }
    bool made = mkdir(dir, 0755) == 0;
    if (!made && errno != EEXIST) {
        fault_set(&fault, FAULT_ENVIRONMENT, "cannot make the folder %.200s: %s", dir,
                  strerror(errno));
        return command_fail(&fault);
    }
    if (lab_open(&lab, dir, &fault) != 0) {
        return command_fail(&fault);
    }
    if (arguments.hold) {
        (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    }
    if (make_lab(&lab, &arguments, &fault) != 0) {
        if (made && lab.life != LAB_ALIVE) {
            (void)rmdir(lab.dir);
        }
        lab_close(&lab);
        return command_fail(&fault);
    }
    print_lab(&lab, &arguments);
    if (arguments.hold) {
        return hold(&lab, &signals);
    }
    lab_close(&lab);
    return 0;
}

/* ---- Taking it down. ---- */

static error_t down_parse(int key, char *value, struct argp_state *state)
{
    struct up_arguments *arguments = state->input;
    switch (key) {
    case KEY_REMOVE:
        arguments->remove = true;
        return 0;
    default:
        return lab_arguments_parse_alone(key, value, state);
    }
}

static const struct argp_option down_options[] = {
    LAB_OPTION_DIR,
    {"remove", KEY_REMOVE, NULL, 0, "Take its cluster and data away too", 0},
    {0},
};

static const struct argp down_argp = {
    .options = down_options,
    .parser = down_parse,
    .doc = "End a lab: its nodes cleanly, then whatever runs at its hosts, then its network. The "
           "nodes' logs and cluster.ini stay in DIR for the next `thole lab up`. Of a lab that has "
           "crashed it takes away what is left."
           "\vExample:\n  thole lab down --remove",
};

static int down_run(int argc, char **argv)
{
    struct up_arguments arguments = {0};
    static struct lab lab;
    struct fault fault = {0};
    if (argp_parse(&down_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    const char *dir = lab_arguments_dir(&arguments.lab);
    if (lab_open(&lab, dir, &fault) != 0) {
        return command_fail(&fault);
    }
    if (lab.life == LAB_NONE && !arguments.remove) {
        fault_set(&fault, FAULT_ENVIRONMENT, "no lab in %.200s: there is nothing to take down",
                  dir);
        return command_fail(&fault);
    }
    if (lab.life != LAB_NONE) {
        lab_end(&lab);
    }
    int result = arguments.remove ? lab_remove_files(&lab, &fault) : 0;
    lab_close(&lab);
    return result != 0 ? command_fail(&fault) : 0;
}

const struct command command_lab_up = {
    .name = "lab up",
    .summary = "Make a cluster on this machine, to play with",
    .argp = &up_argp,
    .run = up_run,
};

const struct command command_lab_down = {
    .name = "lab down",
    .summary = "Take a lab down",
    .argp = &down_argp,
    .run = down_run,
};
