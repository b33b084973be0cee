/* command.h: one subcommand of the program, and what all of them share.
 *
 * A command parses its own flags (argp), turns them into a configuration of the engine or of the
 * benchmark, and runs it. Results go to stdout and everything else to stderr. It returns the exit
 * code of the program, from enum fault_code.
 */
#ifndef ENGINE_CLI_COMMAND_H
#define ENGINE_CLI_COMMAND_H

#include "engine/base/fault.h"

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

struct command {
    const char *name;                  /* "demo", or of a group: "floor disk". */
    const char *summary;               /* One line of `thole --help`. */
    const struct argp *argp;           /* Its options, for whoever lists them. */
    int (*run)(int argc, char **argv); /* argv[0] is "thole NAME". */
};

/* Every command of the program, in the order of `thole --help` (engine/main.c). */
extern const struct command *const command_list[];
extern const uint32_t command_count;

/* Cut argv at the first `--`: what follows it is for EAL, verbatim. Returns the new argc. */
int command_split_eal(int argc, char **argv, int *eal_argc, char ***eal_argv);

/* The default of the parsers of commands that need `-c FILE` and take no argument. */
error_t command_parse_config(int key, char *value, struct argp_state *state, const char **path);

/* The value of `--node`; what is none ends the program as argp does. */
uint32_t command_parse_node(const struct argp_state *state, const char *value);

/* Make the name of a file durable in its folder. 0, or -1 with errno. */
int command_sync_folder(const char *path);

/* What a command with --watch does: `once` prints and returns an exit code; again every second,
 * until a signal or until nobody reads any more. On a terminal that takes colors each time stands
 * where the last one did, unless it is JSON. */
int command_watch(bool watch, bool json, int (*once)(void *context), void *context);

/* Print `fault` on stderr, one line after the program's name, and return its exit code. */
int command_fail(const struct fault *fault);

/* True when `stream` is a terminal that takes colors (NO_COLOR unset). */
bool command_has_colors(FILE *stream);

extern const struct command command_backup;
extern const struct command command_check;
extern const struct command command_append;
extern const struct command command_completion;
extern const struct command command_doctor;
extern const struct command command_format;
extern const struct command command_lab_cut;
extern const struct command command_lab_down;
extern const struct command command_lab_flap;
extern const struct command command_lab_heal;
extern const struct command command_lab_kill;
extern const struct command command_lab_lose;
extern const struct command command_lab_pause;
extern const struct command command_lab_repeat;
extern const struct command command_lab_resume;
extern const struct command command_lab_shell;
extern const struct command command_lab_slow_disk;
extern const struct command command_lab_start;
extern const struct command command_lab_status;
extern const struct command command_lab_stop;
extern const struct command command_lab_up;
extern const struct command command_leader_show;
extern const struct command command_leader_transfer;
extern const struct command command_log_diff;
extern const struct command command_log_dump;
extern const struct command command_log_ls;
extern const struct command command_log_verify;
extern const struct command command_net_ls;
extern const struct command command_net_show;
extern const struct command command_net_stat;
extern const struct command command_read;
extern const struct command command_restore;
extern const struct command command_start;
extern const struct command command_status;
extern const struct command command_tail;
extern const struct command command_version;

/* How this program was built (build.c, made by meson). */
extern const char build_version[];
extern const char build_commit[];
extern const char build_type[];
extern const char build_compiler[];
extern const char build_dpdk_version[];
extern const char build_liburing_version[];

#endif
