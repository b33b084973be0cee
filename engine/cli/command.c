/* command.c: what the subcommands share. */
#include "engine/cli/command.h"

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int command_split_eal(int argc, char **argv, int *eal_argc, char ***eal_argv)
{
    ASSERT(argc > 0);
    *eal_argc = 0;
    *eal_argv = argv + argc;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            *eal_argc = argc - i - 1;
            *eal_argv = argv + i + 1;
            return i;
        }
    }
    return argc;
}

error_t command_parse_config(int key, char *value, struct argp_state *state, const char **path)
{
    switch (key) {
    case 'c':
        *path = value;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s`: no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        if (*path == NULL) {
            argp_error(state, "-c FILE is needed");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

uint32_t command_parse_node(const struct argp_state *state, const char *value)
{
    uint64_t node = 0;
    if (!units_parse_number(value, 1, NODE_ID_MAX, &node)) {
        argp_error(state, "--node: `%s` is not a node's number, 1 to %u", value, NODE_ID_MAX);
    }
    return (uint32_t)node;
}

int command_fail(const struct fault *fault)
{
    ASSERT(fault->code != 0);
    ASSERT(fault->text[0] != '\0');
    fflush(stdout);
    fprintf(stderr, "thole: %s\n", fault->text);
    return fault->code;
}

int command_sync_folder(const char *path)
{
    char folder[PATH_MAX];
    int length = snprintf(folder, sizeof folder, "%s", path);
    if (length < 0 || (size_t)length >= sizeof folder) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int result = fsync(fd);
    int error = errno;
    (void)close(fd);
    errno = error;
    return result;
}

bool command_has_colors(FILE *stream)
{
    const char *no_color = getenv("NO_COLOR");
    if (no_color != NULL && no_color[0] != '\0') {
        return false;
    }
    return isatty(fileno(stream)) == 1;
}

int command_watch(bool watch, bool json, int (*once)(void *context), void *context)
{
    int code = once(context);
    while (watch && code != FAULT_ENVIRONMENT && code != FAULT_INTERNAL) {
        struct timespec second = {.tv_sec = 1};
        (void)nanosleep(&second, NULL);
        if (!json) {
            printf(command_has_colors(stdout) ? "\033[H\033[2J" : "\n");
        }
        code = once(context);
    }
    return code;
}
