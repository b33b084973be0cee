/* main.c: the list of subcommands, and the choice of one.
 *
 * The only file of engine/ that names the benchmark: its commands are listed here and nothing else
 * of it is known.
 */
#include "bench/bench.h"
#include "engine/cli/command.h"

#include <argp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define COMMAND_NAME_BYTES 64

const struct command *const command_list[] = {
    &command_start,     &command_status,        &command_check,       &command_demo,
    &command_bench_run, &command_floor_disk,    &command_floor_net,   &command_floor_all,
    &command_log_ls,    &command_log_dump,      &command_log_verify,  &command_log_diff,
    &command_format,    &command_append,        &command_read,        &command_tail,
    &command_backup,    &command_restore,       &command_leader_show, &command_leader_transfer,
    &command_doctor,    &command_net_ls,        &command_net_show,    &command_net_stat,
    &command_lab_up,    &command_lab_status,    &command_lab_shell,   &command_lab_kill,
    &command_lab_stop,  &command_lab_start,     &command_lab_pause,   &command_lab_resume,
    &command_lab_cut,   &command_lab_lose,      &command_lab_repeat,  &command_lab_flap,
    &command_lab_heal,  &command_lab_slow_disk, &command_lab_down,    &command_completion,
    &command_version,
};
const uint32_t command_count = sizeof command_list / sizeof command_list[0];

/* Whether this is a command of the group: "lab up" is one of "lab". */
static bool is_in_group(const struct command *command, const char *group)
{
    size_t length = strlen(group);
    return strncmp(command->name, group, length) == 0 && command->name[length] == ' ';
}

static bool is_group(const char *word)
{
    for (uint32_t i = 0; i < command_count; i++) {
        if (is_in_group(command_list[i], word)) {
            return true;
        }
    }
    return false;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "-?") == 0 ||
           strcmp(word, "help") == 0;
}

/* Of one group; NULL: of all. */
static void print_commands(FILE *out, const char *group)
{
    for (uint32_t i = 0; i < command_count; i++) {
        if (group == NULL || is_in_group(command_list[i], group)) {
            fprintf(out, "  %-15s %s\n", command_list[i]->name, command_list[i]->summary);
        }
    }
}

static void print_help(FILE *out)
{
    fprintf(out, "Usage: thole COMMAND [OPTION...] [-- EAL ARGUMENTS]\n\n"
                 "A durable Raft log over DPDK and io_uring, and the benchmark that shows its "
                 "latency\nbeside the floor of the machine.\n\n");
    print_commands(out, NULL);
    fprintf(out,
            "\nExit codes: 0 ok; 1 a check failed or a run is invalid; 2 usage; 3 the machine or "
            "a folder is\nnot as needed; 4 no leader, no quorum or a timeout; 5 internal.\n\n"
            "`thole COMMAND --help` explains a command. Example:\n  thole demo\n");
}

/* A group's name alone, with a question for help, or with no command of it. */
static int in_group(const char *group, const char *word)
{
    bool asked = word != NULL && is_help(word);
    FILE *out = asked ? stdout : stderr;
    if (word != NULL && !asked) {
        fprintf(out, "thole: no command `%s %s`\n", group, word);
    }
    fprintf(out, "Usage: thole %s COMMAND [OPTION...]\n\n", group);
    print_commands(out, group);
    fprintf(out, "\n`thole %s COMMAND --help` explains a command.\n", group);
    return asked ? 0 : FAULT_USAGE;
}

/* Words of argv that make up the command's name; 0: it is another command. */
static int words_matched(const struct command *command, int argc, char **argv)
{
    char name[COMMAND_NAME_BYTES];
    snprintf(name, sizeof(name), "%s", command->name);
    int words = 0;
    char *rest = NULL;
    for (char *word = strtok_r(name, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        words++;
        if (words >= argc || strcmp(argv[words], word) != 0) {
            return 0;
        }
    }
    return words;
}

int main(int argc, char **argv)
{
    argp_err_exit_status = FAULT_USAGE;
    if (argc < 2) {
        print_help(stderr);
        return FAULT_USAGE;
    }
    if (is_help(argv[1])) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        return command_version.run(1, argv);
    }
    for (uint32_t i = 0; i < command_count; i++) {
        int words = words_matched(command_list[i], argc, argv);
        if (words > 0) {
            char name[COMMAND_NAME_BYTES + 8];
            snprintf(name, sizeof(name), "thole %s", command_list[i]->name);
            argv[words] = name;
            return command_list[i]->run(argc - words, argv + words);
        }
    }
    if (is_group(argv[1])) {
        return in_group(argv[1], argc > 2 ? argv[2] : NULL);
    }
    fprintf(stderr, "thole: no command `%s` (thole --help shows all)\n", argv[1]);
    return FAULT_USAGE;
}
