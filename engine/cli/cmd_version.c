/* cmd_version.c: `thole version`: what this program is and what it was built with. */
#include "engine/cli/command.h"

#include <jansson.h>
#include <stdio.h>

struct version_arguments {
    bool json;
};

static const struct argp_option version_options[] = {
    {"json", 'j', NULL, 0, "Print one JSON object", 0},
    {0},
};

static error_t version_parse(int key, char *value, struct argp_state *state)
{
    (void)value;
    struct version_arguments *arguments = state->input;
    switch (key) {
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "takes no arguments");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp version_argp = {
    .options = version_options,
    .parser = version_parse,
    .doc = "Print the version of this program and of what it stands on."
           "\vExample:\n  thole version --json",
};

static int version_print_json(void)
{
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "version", build_version, "commit",
                  build_commit, "dpdk", build_dpdk_version, "liburing", build_liburing_version,
                  "build_type", build_type, "compiler", build_compiler);
    if (object == NULL || json_dumpf(object, stdout, JSON_INDENT(2)) != 0) {
        json_decref(object);
        return FAULT_INTERNAL;
    }
    putchar('\n');
    json_decref(object);
    return 0;
}

static int version_run(int argc, char **argv)
{
    struct version_arguments arguments = {0};
    if (argp_parse(&version_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    if (arguments.json) {
        return version_print_json();
    }
    printf("thole %s\n", build_version);
    printf("commit    %s\n", build_commit);
    printf("DPDK      %s\n", build_dpdk_version);
    printf("liburing  %s\n", build_liburing_version);
    printf("build     %s, %s\n", build_type, build_compiler);
    return 0;
}

const struct command command_version = {
    .name = "version",
    .summary = "What this program is and what it was built with",
    .argp = &version_argp,
    .run = version_run,
};
