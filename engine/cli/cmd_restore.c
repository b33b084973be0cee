/* cmd_restore.c: `thole restore`: the logs of a new cluster, made of a backup. */
#include "engine/cli/command.h"
#include "engine/cli/offline.h"
#include "engine/cli/restore_place.h"

#include "engine/base/units.h"

#include <inttypes.h>
#include <stdio.h>

struct restore_arguments {
    const char *path;
    const char *backup_path;
    uint32_t node; /* 0: all. */
    struct restore_id id;
    bool has_id;
    bool json;
};

enum { KEY_NODE = 256, KEY_RESTORE_ID };

static const struct argp_option restore_options[] = {
    {"config", 'c', "FILE", 0, "The new cluster's configuration, with an `id` of its own", 0},
    {"node", KEY_NODE, "N", 0, "Make the log of this node alone (of all nodes)", 0},
    {"restore-id", KEY_RESTORE_ID, "ID", 0,
     "Go on with the restore that printed this: on another machine, or after an interruption (a "
     "new restore)",
     0},
    {"json", 'j', NULL, 0, "Print what was restored as one JSON object", 0},
    {0},
};

static error_t restore_parse(int key, char *value, struct argp_state *state)
{
    struct restore_arguments *arguments = state->input;
    switch (key) {
    case KEY_NODE:
        arguments->node = command_parse_node(state, value);
        return 0;
    case KEY_RESTORE_ID:
        if (!restore_id_parse(value, &arguments->id)) {
            argp_error(state, "--restore-id: `%s` is not an id that `thole restore` printed",
                       value);
        }
        arguments->has_id = true;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->backup_path != NULL) {
            return command_parse_config(key, value, state, &arguments->path);
        }
        arguments->backup_path = value;
        return 0;
    case ARGP_KEY_END:
        if (arguments->backup_path == NULL) {
            argp_error(state, "BACKUP is missing: a file that `thole backup` wrote");
        }
        return command_parse_config(key, value, state, &arguments->path);
    default:
        return command_parse_config(key, value, state, &arguments->path);
    }
}

static const struct argp restore_argp = {
    .options = restore_options,
    .parser = restore_parse,
    .args_doc = "-c FILE BACKUP",
    .doc =
        "Make the logs of a new cluster of a backup, every record at its offset, for nodes that do "
        "not run. All of the backup is checked before anything is written. Where nodes have "
        "machines of their own, run it on each with --node, the same backup and the same "
        "configuration; the first run prints an id that the others need. A log has its name when "
        "it is whole; after an interruption run it again with the id: what is whole stays. "
        "Without the id it is another restore, whose nodes do not know those of the first."
        "\vExit codes: 0 restored; 1 the backup is damaged; 2 the cluster is the backup's own, "
        "or --restore-id is of another backup or configuration; 3 a data folder is not empty, or "
        "too small.\n\n"
        "Example:\n  thole restore -c new.ini cluster.bak",
};

static json_t *node_json(const struct config_node *node, bool already)
{
    json_t *object = json_pack("{s:i, s:b}", "node", (int)node->id, "already", already);
    ASSERT(object != NULL);
    json_object_set_new(object, "data", offline_text(node->data));
    return object;
}

/* The next node that is asked for, from *i on; NULL: there is none, or a fault is told. */
static const struct config_node *next_node(const struct restore *restore,
                                           const struct restore_arguments *arguments,
                                           uint32_t *i,
                                           struct fault *fault)
{
    const struct config *config = restore->config;
    while (*i < config->node_count) {
        uint32_t id = config->nodes[(*i)++].id;
        if (arguments->node == 0 || arguments->node == id) {
            return config_node_of(config, id, fault);
        }
    }
    return NULL;
}

/* Whether every place is free, before anything is written. */
static int look_at_places(const struct restore *restore,
                          const struct restore_arguments *arguments,
                          bool *already,
                          struct fault *fault)
{
    uint32_t i = 0;
    const struct config_node *node = next_node(restore, arguments, &i, fault);
    while (node != NULL && restore_place_look(restore, node, &already[node->id], fault) == 0) {
        node = next_node(restore, arguments, &i, fault);
    }
    return fault->code;
}

static int restore_nodes(struct restore *restore,
                         const struct restore_arguments *arguments,
                         json_t *nodes,
                         struct fault *fault)
{
    bool already[NODE_ID_MAX + 1] = {false};
    if (look_at_places(restore, arguments, already, fault) != 0) {
        return fault->code;
    }
    char text[RESTORE_ID_BYTES];
    fprintf(stderr,
            "restore id %s: other machines, and another run after an interruption, need "
            "--restore-id with it\n",
            restore_id_format(&restore->id, text));
    uint32_t i = 0;
    const struct config_node *node = next_node(restore, arguments, &i, fault);
    while (node != NULL && (already[node->id] || restore_node(restore, node, fault) == 0)) {
        fprintf(stderr, "%s node %u of cluster %016" PRIx64 " in %s\n",
                already[node->id] ? "already restored:" : "restored", node->id,
                restore->config->cluster, node->data);
        json_array_append_new(nodes, node_json(node, already[node->id]));
        node = next_node(restore, arguments, &i, fault);
    }
    return fault->code;
}

static int print_json(const struct restore *restore, json_t *nodes)
{
    char text[RESTORE_ID_BYTES];
    json_t *object = json_pack(
        "{s:s, s:o, s:o, s:i, s:I, s:I, s:I, s:I, s:I, s:O}", "restore_id",
        restore_id_format(&restore->id, text), "cluster", offline_hex(restore->config->cluster),
        "source_cluster", offline_hex(restore->source.cluster), "source_node",
        (int)restore->source.node, "first_offset", (json_int_t)restore->source.first_offset,
        "end_offset", (json_int_t)restore->source.end_offset, "records",
        (json_int_t)restore->trailer.record_count, "payload_bytes",
        (json_int_t)restore->trailer.payload_bytes, "log_bytes", (json_int_t)restore->log_bytes,
        "nodes", nodes);
    ASSERT(object != NULL);
    return offline_print_json(object, false);
}

static int
restore_all(struct restore *restore, const struct restore_arguments *arguments, struct fault *fault)
{
    json_t *nodes = json_array();
    int told = 0;
    if (restore_nodes(restore, arguments, nodes, fault) == 0) {
        told = arguments->json ? print_json(restore, nodes) : 0;
    }
    json_decref(nodes);
    return fault->code != 0 ? fault->code : told;
}

static int restore_run(int argc, char **argv)
{
    struct restore_arguments arguments = {0};
    if (argp_parse(&restore_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct config config;   /* Large, ... */
    static struct restore restore; /* ... and one of each a process. */
    struct fault fault = {0};
    if (config_load(&config, arguments.path, &fault) != 0) {
        return command_fail(&fault);
    }
    if (arguments.node != 0 && config_node_of(&config, arguments.node, &fault) == NULL) {
        return command_fail(&fault);
    }
    if (config.durability == CONFIG_MEMORY) {
        fault_set(&fault, FAULT_USAGE,
                  "%.200s says `durability = memory`: such a cluster has no logs to restore",
                  arguments.path);
        return command_fail(&fault);
    }
    if (restore_check(&restore, &config, arguments.path, arguments.backup_path, &fault) != 0 ||
        restore_join(&restore, arguments.has_id ? &arguments.id : NULL, &fault) != 0) {
        return command_fail(&fault);
    }
    int code = restore_all(&restore, &arguments, &fault);
    return fault.code != 0 ? command_fail(&fault) : code;
}

const struct command command_restore = {
    .name = "restore",
    .summary = "Make a new cluster's logs of a backup",
    .argp = &restore_argp,
    .run = restore_run,
};
