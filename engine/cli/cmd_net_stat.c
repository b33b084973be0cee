/* cmd_net_stat.c: `thole net stat`: what the ports, codecs and replicas of running nodes have
 * counted, every drop by its reason. */
#include "engine/cli/ask.h"
#include "engine/cli/command.h"
#include "engine/cli/connect.h"
#include "engine/client/silence.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define STAT_NAME_WIDTH  29
#define STAT_VALUE_WIDTH 24

_Static_assert(VOTERS_MAX < 64, "nodes of a configuration fit a set");

struct stat_arguments {
    const char *path;
    uint8_t node; /* 0: all. */
    bool json;
    bool watch;
    bool all;
};

enum { KEY_NODE = 256, KEY_JSON, KEY_WATCH, KEY_ALL };

static const struct argp_option stat_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"node", KEY_NODE, "N", 0, "This node alone (all)", 0},
    {"all", KEY_ALL, NULL, 0, "Counters that are 0 everywhere, too", 0},
    {"json", KEY_JSON, NULL, 0, "One JSON object (with --watch, one a line), with all counters", 0},
    {"watch", KEY_WATCH, NULL, 0, "Again every second, until interrupted", 0},
    {0},
};

static error_t stat_parse(int key, char *value, struct argp_state *state)
{
    struct stat_arguments *arguments = state->input;
    switch (key) {
    case KEY_NODE:
        arguments->node = connect_parse_node(state, value);
        return 0;
    case KEY_ALL:
        arguments->all = true;
        return 0;
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

static const struct argp stat_argp = {
    .options = stat_options,
    .parser = stat_parse,
    .args_doc = "-c FILE",
    .doc = "Ask running nodes what they have counted since they started: frames and packets of "
           "their ports, and everything that was dropped, by its reason. What the names mean is in "
           "docs/OPERATING.md. Exits 0 when every node that was asked has answered, 4 when none "
           "has, else 1."
           "\vExample:\n  thole net stat -c cluster.ini",
};

/* ---- The table: a line a name, a column a node. ---- */

/* What is shown: the nodes asked, and their answers beside them. */
struct stat {
    const struct stat_arguments *arguments;
    const struct config *config;
    struct ask *ask;
    struct ask_stats *answers;
    raft_set asked;
};

static bool is_asked(const struct stat *stat, uint32_t place)
{
    return (stat->asked >> stat->config->nodes[place].id & 1) != 0;
}

/* Nodes of one version have their items in one order; those of others are searched. */
static const struct ask_item *
item_named(const struct ask_stats *answer, const char *name, uint32_t guess)
{
    if (guess < answer->count && strcmp(answer->items[guess].name, name) == 0) {
        return &answer->items[guess];
    }
    for (uint32_t i = 0; i < answer->count; i++) {
        if (strcmp(answer->items[i].name, name) == 0) {
            return &answer->items[i];
        }
    }
    return NULL;
}

/* Whether an earlier node's items have had this name's line already. */
static bool is_shown(const struct stat *stat, uint32_t place, const char *name, uint32_t number)
{
    for (uint32_t i = 0; i < place; i++) {
        if (is_asked(stat, i) && item_named(&stat->answers[i], name, number) != NULL) {
            return true;
        }
    }
    return false;
}

static void print_line(const struct stat *stat, const struct ask_item *item, uint32_t number)
{
    bool counts = item->kind != WIRE_ITEM_FACT && !stat->arguments->all;
    bool any = !counts;
    for (uint32_t i = 0; i < stat->config->node_count; i++) {
        const struct ask_item *own = item_named(&stat->answers[i], item->name, number);
        any = any || (own != NULL && own->value != 0);
    }
    if (!any) {
        return;
    }
    printf("%-*s", STAT_NAME_WIDTH, item->name);
    for (uint32_t i = 0; i < stat->config->node_count; i++) {
        if (!is_asked(stat, i)) {
            continue;
        }
        const struct ask_item *own = item_named(&stat->answers[i], item->name, number);
        if (own == NULL) {
            printf(" %*s", STAT_VALUE_WIDTH, "-");
        } else if (own->text[0] != '\0') {
            printf(" %*s", STAT_VALUE_WIDTH, own->text);
        } else {
            printf(" %*" PRIu64, STAT_VALUE_WIDTH, own->value);
        }
    }
    printf("\n");
}

static void print_kind(const struct stat *stat, enum wire_item_kind kind, const char *title)
{
    printf("%-*s", STAT_NAME_WIDTH, title);
    for (uint32_t i = 0; i < stat->config->node_count; i++) {
        char node[16];
        (void)snprintf(node, sizeof node, "node %u", stat->config->nodes[i].id);
        if (is_asked(stat, i)) {
            printf(" %*s", STAT_VALUE_WIDTH, stat->answers[i].reachable ? node : "no answer");
        }
    }
    printf("\n");
    for (uint32_t i = 0; i < stat->config->node_count; i++) {
        const struct ask_stats *answer = &stat->answers[i];
        for (uint32_t k = 0; is_asked(stat, i) && k < answer->count; k++) {
            const struct ask_item *item = &answer->items[k];
            if (item->kind == kind && !is_shown(stat, i, item->name, k)) {
                print_line(stat, item, k);
            }
        }
    }
}

static void print_table(const struct stat *stat)
{
    print_kind(stat, WIRE_ITEM_FACT, "PORT");
    print_kind(stat, WIRE_ITEM_COUNTER, "COUNTED");
    print_kind(stat, WIRE_ITEM_DROP, "DROPPED");
}

/* ---- JSON. ---- */

static json_t *items_object(const struct ask_stats *answer, enum wire_item_kind kind)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < answer->count; i++) {
        const struct ask_item *item = &answer->items[i];
        if (item->kind == kind) {
            json_t *value = item->text[0] != '\0' ? json_string(item->text)
                                                  : json_integer((json_int_t)item->value);
            (void)json_object_set_new(object, item->name, value);
        }
    }
    return object;
}

static json_t *node_object(const struct config_node *node, const struct ask_stats *answer)
{
    if (!answer->reachable) {
        return json_pack("{s:i, s:b, s:n, s:n, s:n, s:n}", "id", (int)node->id, "reachable", 0,
                         "boot", "facts", "counters", "drops");
    }
    return json_pack("{s:i, s:b, s:I, s:o, s:o, s:o}", "id", (int)node->id, "reachable", 1, "boot",
                     (json_int_t)answer->boot, "facts", items_object(answer, WIRE_ITEM_FACT),
                     "counters", items_object(answer, WIRE_ITEM_COUNTER), "drops",
                     items_object(answer, WIRE_ITEM_DROP));
}

/* False: no memory. */
static bool print_json(const struct stat *stat)
{
    char cluster[17];
    (void)snprintf(cluster, sizeof cluster, "%016" PRIx64, stat->config->cluster);
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < stat->config->node_count; i++) {
        if (is_asked(stat, i)) {
            (void)json_array_append_new(nodes,
                                        node_object(&stat->config->nodes[i], &stat->answers[i]));
        }
    }
    json_t *object = json_pack("{s:s, s:o}", "cluster", cluster, "nodes", nodes);
    bool printed = object != NULL && json_dumpf(object, stdout, JSON_COMPACT) == 0;
    json_decref(object);
    putchar('\n');
    return printed;
}

/* Ask once and print; returns the exit code. */
static int ask_and_print(void *context)
{
    const struct stat *stat = context;
    struct ask_stats *answers = stat->answers;
    ask_stats(stat->ask, stat->asked, ASK_TIMEOUT_NS, answers);
    uint32_t asked = 0;
    uint32_t reached = 0;
    for (uint32_t i = 0; i < stat->config->node_count; i++) {
        asked += is_asked(stat, i);
        reached += is_asked(stat, i) && answers[i].reachable;
    }
    if (!stat->arguments->json) {
        print_table(stat);
    } else if (!print_json(stat)) {
        return FAULT_INTERNAL;
    }
    if (fflush(stdout) != 0) {
        return FAULT_ENVIRONMENT;
    }
    if (reached == 0) {
        struct fault fault = {0};
        struct silence silence = {.waited_ns = ASK_TIMEOUT_NS, .node = stat->arguments->node};
        silence_tell(stat->config, stat->arguments->path, &silence, &fault);
        return command_fail(&fault);
    }
    return reached == asked ? 0 : FAULT_FAILED;
}

static int stat_run(int argc, char **argv)
{
    struct stat_arguments arguments = {0};
    if (argp_parse(&stat_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct config config; /* Large, and one a process. */
    static struct ask_stats answers[VOTERS_MAX];
    struct fault fault = {0};
    struct ask ask;
    if (config_load(&config, arguments.path, &fault) != 0 ||
        (arguments.node != 0 && config_node_of(&config, arguments.node, &fault) == NULL) ||
        ask_open(&ask, &config, &fault) != 0) {
        return command_fail(&fault);
    }
    struct stat stat = {
        .arguments = &arguments, .config = &config, .ask = &ask, .answers = answers};
    for (uint32_t i = 0; i < config.node_count; i++) {
        bool asks = arguments.node == 0 || arguments.node == config.nodes[i].id;
        stat.asked |= asks ? 1ull << config.nodes[i].id : 0;
    }
    int code = command_watch(arguments.watch, arguments.json, ask_and_print, &stat);
    ask_close(&ask);
    return code;
}

const struct command command_net_stat = {
    .name = "net stat",
    .summary = "What running nodes have counted and dropped",
    .argp = &stat_argp,
    .run = stat_run,
};
