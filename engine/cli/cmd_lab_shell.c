/* cmd_lab_shell.c: `thole lab shell`: a shell or a command at a host of a lab. */
#define _GNU_SOURCE /* memfd_create */
#include "engine/cli/command.h"
#include "engine/cli/lab_arguments.h"

#include "engine/lab/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static error_t shell_parse(int key, char *value, struct argp_state *state)
{
    const struct lab_arguments *arguments = state->input;
    if (key == ARGP_KEY_END && arguments->word_count > 1) {
        argp_error(state, "`%s`: one host; a command stands behind `--`", arguments->words[1]);
    }
    return lab_arguments_parse(key, value, state);
}

static const struct argp_option shell_options[] = {LAB_OPTION_DIR, {0}};

static const struct argp shell_argp = {
    .options = shell_options,
    .parser = shell_parse,
    .args_doc = "[HOST] [-- COMMAND...]",
    .doc = "A shell at a host of a lab, `home` or else the first one without it, in the lab's "
           "folder; or one command there, whose exit code it has. `thole` and `thole lab` of this "
           "lab are at hand in it. As an ordinary user one is root of the lab there, and of "
           "nothing else."
           "\vExample:\n  thole lab shell -- thole status -c cluster.ini",
};

/* This program first in PATH, and the lab for `thole lab`. */
static void set_environment(const struct lab *lab)
{
    char self[PATH_MAX];
    static char path[2 * PATH_MAX];
    ssize_t bytes = readlink("/proc/self/exe", self, sizeof self - 1);
    lab_set_path();
    if (bytes > 0) {
        self[bytes] = '\0';
        *strrchr(self, '/') = '\0';
        int length = snprintf(path, sizeof path, "%s:%s", self, getenv("PATH"));
        if (length > 0 && (size_t)length < sizeof path) {
            (void)setenv("PATH", path, 1);
        }
    }
    (void)setenv("THOLE_LAB", lab->dir, 1);
}

/* bash reads its own start-up file, and then has a prompt that says where it is; another shell has
 * the prompt alone. Returns only when it cannot be run. */
static void be_shell(const struct lab *lab, uint32_t host)
{
    const char *shell = getenv("SHELL");
    shell = shell != NULL && shell[0] != '\0' ? shell : "/bin/sh";
    const char *base = strrchr(shell, '/');
    base = base != NULL ? base + 1 : shell;
    char prompt[64];
    (void)snprintf(prompt, sizeof prompt, "lab %s$ ", lab->hosts[host].name);
    (void)setenv("PS1", prompt, 1);
    int file = strcmp(base, "bash") == 0 ? memfd_create("thole-lab-rc", 0) : -1;
    if (file < 0) {
        (void)execl(shell, shell, (char *)NULL);
        return;
    }
    char path[64];
    dprintf(file, "[ -r ~/.bashrc ] && . ~/.bashrc\nPS1='(lab %s) '\"$PS1\"\n",
            lab->hosts[host].name);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    (void)execl(shell, shell, "--rcfile", path, (char *)NULL);
}

static uint32_t
choose_host(const struct lab *lab, const struct lab_arguments *arguments, struct fault *fault)
{
    if (arguments->word_count == 1) {
        return lab_find_host(lab, arguments->words[0], fault);
    }
    for (uint32_t i = 0; i < lab->host_count; i++) {
        if (strcmp(lab->hosts[i].name, LAB_HOME) == 0) {
            return i;
        }
    }
    return 0;
}

static int shell_run(int argc, char **argv)
{
    struct lab_arguments arguments = {0};
    static struct lab lab;
    struct fault fault = {0};
    int command_argc = 0;
    char **command = NULL;
    argc = command_split_eal(argc, argv, &command_argc, &command);
    if (argp_parse(&shell_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    if (lab_need(&lab, lab_arguments_dir(&arguments), &fault) != 0) {
        return command_fail(&fault);
    }
    uint32_t host = choose_host(&lab, &arguments, &fault);
    lab_close(&lab);
    if (host == LAB_SWITCH) {
        return command_fail(&fault);
    }
    int result = lab_enter(&lab, host, false);
    if (result != 0 || chdir(lab.dir) != 0) {
        fault_set(&fault, FAULT_ENVIRONMENT,
                  "cannot enter the lab in %.200s: %s. It is for whoever made it, and for root",
                  lab.dir, strerror(result != 0 ? -result : errno));
        return command_fail(&fault);
    }
    set_environment(&lab);
    if (command_argc > 0) {
        (void)execvp(command[0], command);
    } else {
        be_shell(&lab, host);
    }
    fault_set(&fault, FAULT_ENVIRONMENT, "cannot run %.100s: %s",
              command_argc > 0 ? command[0] : "a shell", strerror(errno));
    return command_fail(&fault);
}

const struct command command_lab_shell = {
    .name = "lab shell",
    .summary = "A shell or a command at a host of a lab",
    .argp = &shell_argp,
    .run = shell_run,
};
