/* cmd_status.c: `thole status`: every node of a configuration, and what they make together. */
#include "engine/cli/ask.h"
#include "engine/cli/command.h"
#include "engine/cli/health.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define STATUS_ADDRESS_BYTES 24u

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
    .doc = "Ask every node how it stands. Exits 0 when the cluster is healthy: a leader that takes "
           "appends, every voter reachable, none degraded, none behind the log start; else 1. What "
           "is wrong is said below the "
           "table, with --json on stderr."
           "\vExample:\n  thole status -c cluster.ini",
};

static const char *address_text(struct nic_address address, char text[STATUS_ADDRESS_BYTES])
{
    (void)snprintf(text, STATUS_ADDRESS_BYTES, "%u.%u.%u.%u:%u", address.ipv4 >> 24,
                   address.ipv4 >> 16 & 255u, address.ipv4 >> 8 & 255u, address.ipv4 & 255u,
                   address.port);
    return text;
}

static void print_node(const struct config_node *node,
                       const struct ask_answer *answer,
                       const struct health *health)
{
    bool behind = (health->behind >> node->id & 1) != 0;
    char address[STATUS_ADDRESS_BYTES];
    address_text(node->address, address);
    if (!answer->reachable) {
        printf("%4u  %-21s  no answer\n", node->id, address);
        return;
    }
    const struct wire_status_reply *status = &answer->status;
    printf("%4u  %-21s  %-9s %6" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64
           " %8" PRIu64 "  %s%s\n",
           node->id, address, wire_role_name((enum wire_role)status->role), status->term,
           status->commit_index, status->durable_index, status->start_offset, status->end_offset,
           status->frames_dropped, status->durable ? "dsync" : "memory", behind ? "  behind" : "");
}

static void print_notes(const struct health *health, FILE *out)
{
    for (uint32_t i = 0; i < health->note_count; i++) {
        fprintf(out, "%s\n", health->notes[i]);
    }
}

static void print_table(const struct config *config,
                        const struct ask_answer *answers,
                        const struct health *health)
{
    printf("cluster %016" PRIx64 ": %s, ", config->cluster,
           health->healthy     ? "healthy"
           : health->available ? "available, not healthy"
                               : "not available");
    if (health->leader != 0) {
        printf("node %u leads in term %" PRIu64 "\n", health->leader, health->term);
    } else {
        printf("nobody leads\n");
    }
    printf("node  address                role        term     commit    durable  log start    log "
           "end  dropped  durability\n");
    for (uint32_t i = 0; i < config->node_count; i++) {
        print_node(&config->nodes[i], &answers[i], health);
    }
    print_notes(health, stdout);
}

/* A number that only a node which answered can say. */
static json_t *number_or_null(const struct ask_answer *answer, uint64_t value)
{
    return answer->reachable ? json_integer((json_int_t)value) : json_null();
}

static json_t *node_object(const struct config_node *node,
                           const struct ask_answer *answer,
                           const struct health *health)
{
    bool behind = (health->behind >> node->id & 1) != 0;
    json_t *behind_or_null = health->leader != 0 ? json_boolean(behind) : json_null();
    char address[STATUS_ADDRESS_BYTES];
    const struct wire_status_reply *status = &answer->status;
    const char *role = wire_role_name((enum wire_role)status->role);
    return json_pack("{s:i, s:s, s:b, s:s?, s:o, s:o, s:o, s:o, s:o, s:s?, s:o}", "id",
                     (int)node->id, "address", address_text(node->address, address), "reachable",
                     (int)answer->reachable, "role", answer->reachable ? role : NULL, "term",
                     number_or_null(answer, status->term), "commit_index",
                     number_or_null(answer, status->commit_index), "durable_index",
                     number_or_null(answer, status->durable_index), "log_start_offset",
                     number_or_null(answer, status->start_offset), "log_end_offset",
                     number_or_null(answer, status->end_offset), "durability",
                     !answer->reachable ? NULL
                     : status->durable  ? "dsync"
                                        : "memory",
                     "behind", behind_or_null);
}

/* False: no memory. */
static bool print_json(const struct config *config,
                       const struct ask_answer *answers,
                       const struct health *health)
{
    char cluster[17];
    (void)snprintf(cluster, sizeof cluster, "%016" PRIx64, config->cluster);
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < config->node_count; i++) {
        (void)json_array_append_new(nodes, node_object(&config->nodes[i], &answers[i], health));
    }
    json_t *object =
        json_pack("{s:s, s:o, s:b, s:b, s:o}", "cluster", cluster, "leader",
                  health->leader != 0 ? json_integer(health->leader) : json_null(), "available",
                  (int)health->available, "healthy", (int)health->healthy, "nodes", nodes);
    bool printed = object != NULL && json_dumpf(object, stdout, JSON_COMPACT) == 0;
    json_decref(object);
    putchar('\n');
    print_notes(health, stderr);
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
    health_judge(&health, config, answers);
    if (!round->arguments->json) {
        print_table(config, answers, &health);
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
