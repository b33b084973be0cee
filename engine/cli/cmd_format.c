/* cmd_format.c: `thole format`: an empty log for one node of a configuration. */
#include "engine/cli/command.h"
#include "engine/cli/make_log.h"

#include "engine/base/units.h"
#include "engine/config.h"

#include <limits.h>
#include <stdio.h>

struct format_arguments {
    const char *path;
    uint32_t node;
    bool force;
};

enum { KEY_NODE = 256, KEY_FORCE };

static const struct argp_option format_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"node", KEY_NODE, "N", 0, "Whose log to make", 0},
    {"force", KEY_FORCE, NULL, 0, "Replace the log that is there; other files stay", 0},
    {0},
};

static error_t format_parse(int key, char *value, struct argp_state *state)
{
    struct format_arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->path = value;
        return 0;
    case KEY_NODE:
        arguments->node = command_parse_node(state, value);
        return 0;
    case KEY_FORCE:
        arguments->force = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s`: no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        if (arguments->path == NULL || arguments->node == 0) {
            argp_error(state, "-c FILE and --node N are needed");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp format_argp = {
    .options = format_options,
    .parser = format_parse,
    .args_doc = "-c FILE --node N",
    .doc =
        "Make an empty log in the node's data folder, every block of it written once, so that no "
        "later write waits for the filesystem."
        "\vExample:\n  thole format -c cluster.ini --node 1",
};

static int format_node(const struct config *config,
                       const struct config_node *node,
                       bool force,
                       struct fault *fault)
{
    struct format_config format = {
        .cluster = config->cluster,
        .store = make_log_random_id(),
        .node = node->id,
        .segment_bytes = config->segment_bytes,
    };
    uint64_t bytes = config->size_bytes / PAGE_BYTES * PAGE_BYTES;
    if (make_log(node->data, bytes, &format, force, fault) != 0) {
        return fault->code;
    }
    char path[PATH_MAX];
    char size[UNITS_TEXT_BYTES];
    bool fits = make_log_path(node->data, path, sizeof(path));
    ASSERT(fits);
    fprintf(stderr, "formatted %s, %s, for node %u of cluster %016llx\n", path,
            units_format_size(bytes, size), node->id, (unsigned long long)config->cluster);
    return 0;
}

static int format_run(int argc, char **argv)
{
    struct format_arguments arguments = {0};
    if (argp_parse(&format_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct config config; /* Large, and one a process. */
    struct fault fault = {0};
    if (config_load(&config, arguments.path, &fault) != 0) {
        return command_fail(&fault);
    }
    const struct config_node *node = config_node_of(&config, arguments.node, &fault);
    if (node == NULL) {
        return command_fail(&fault);
    }
    if (config.durability == CONFIG_MEMORY) {
        fault_set(&fault, FAULT_USAGE,
                  "%s says `durability = memory`: such a node has no log to format",
                  arguments.path);
        return command_fail(&fault);
    }
    int code = format_node(&config, node, arguments.force, &fault);
    return code != 0 ? command_fail(&fault) : 0;
}

const struct command command_format = {
    .name = "format",
    .summary = "Make the empty log of one node",
    .argp = &format_argp,
    .run = format_run,
};
