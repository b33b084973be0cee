/* cmd_lab_node.c: `thole lab start | stop | kill | pause | resume | slow-disk`: what befalls a
 * node. */
#include "engine/cli/command.h"
#include "engine/cli/lab_arguments.h"
#include "engine/cli/make_log.h"
#include "engine/cli/slow_disk.h"

#include "engine/base/units.h"
#include "engine/lab/nodes.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define END_MS 30000 /* Of a node that was told to end. */

struct node_arguments {
    struct lab_arguments lab; /* First. */
    struct slow_disk slow;
};

enum { KEY_SHARE = LAB_KEY_OWN, KEY_SEED };

static error_t node_parse(int key, char *value, struct argp_state *state)
{
    struct node_arguments *arguments = state->input;
    if (key == ARGP_KEY_END && arguments->lab.word_count == 0) {
        argp_error(state, "a node's number is needed");
    }
    return lab_arguments_parse(key, value, state);
}

static const struct argp_option node_options[] = {LAB_OPTION_DIR, {0}};

static const struct argp start_argp = {
    .options = node_options,
    .parser = node_parse,
    .args_doc = "NODE...",
    .doc = "Start nodes of a lab again; returns when they serve."
           "\vExample:\n  thole lab start 2",
};

static const struct argp stop_argp = {
    .options = node_options,
    .parser = node_parse,
    .args_doc = "NODE...",
    .doc = "Let nodes of a lab end cleanly (SIGTERM), and wait for it."
           "\vExample:\n  thole lab stop 2",
};

static const struct argp kill_argp = {
    .options = node_options,
    .parser = node_parse,
    .args_doc = "NODE...",
    .doc = "Kill nodes of a lab (kill -9)."
           "\vExample:\n  thole lab kill 2",
};

static const struct argp pause_argp = {
    .options = node_options,
    .parser = node_parse,
    .args_doc = "NODE...",
    .doc = "Stop nodes of a lab where they stand (SIGSTOP), until `thole lab resume`."
           "\vExample:\n  thole lab pause 2",
};

static const struct argp resume_argp = {
    .options = node_options,
    .parser = node_parse,
    .args_doc = "NODE...",
    .doc = "Let paused nodes of a lab go on (SIGCONT)."
           "\vExample:\n  thole lab resume 2",
};

/* Send it, and see it end if it is to. 0, or -errno with the fault told. */
static int signal_node(const struct lab *lab, uint32_t number, int sent, struct fault *fault)
{
    struct process_id process = lab->nodes[number - 1];
    if (process_signal(process, sent) != 0) {
        fault_set(fault, FAULT_FAILED, "node %u does not run: `thole lab start %u` starts it",
                  number, number);
        return -ESRCH;
    }
    if (sent == SIGTERM) {
        (void)process_signal(process, SIGCONT); /* A paused one would not hear it. */
    }
    bool is_end = sent == SIGTERM || sent == SIGKILL;
    if (is_end && !process_wait_end(process, END_MS)) {
        fault_set(fault, FAULT_UNAVAILABLE,
                  "node %u has not ended within %u s: `thole lab kill %u`", number, END_MS / 1000,
                  number);
        return -ETIMEDOUT;
    }
    return 0;
}

static int start_node(struct lab *lab, uint32_t number, struct fault *fault)
{
    if (process_is_alive(lab->nodes[number - 1])) {
        fault_set(fault, FAULT_FAILED, "node %u runs already, as process %lld", number,
                  (long long)lab->nodes[number - 1].pid);
        return -EEXIST;
    }
    return nodes_start(lab, number, fault);
}

/* The nodes named, all known before anything is done to one. `sent`: 0 starts them. */
static int nodes_run(const struct argp *argp, int argc, char **argv, int sent)
{
    struct node_arguments arguments = {0};
    static struct lab lab;
    struct fault fault = {0};
    uint32_t numbers[LAB_HOSTS_MAX];
    if (argp_parse(argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    if (lab_need(&lab, lab_arguments_dir(&arguments.lab), &fault) != 0) {
        return command_fail(&fault);
    }
    for (uint32_t i = 0; i < arguments.lab.word_count; i++) {
        numbers[i] = lab_arguments_node(&lab, arguments.lab.words[i], &fault);
        if (numbers[i] == 0) {
            return command_fail(&fault);
        }
    }
    for (uint32_t i = 0; i < arguments.lab.word_count; i++) {
        int result = sent == 0 ? start_node(&lab, numbers[i], &fault)
                               : signal_node(&lab, numbers[i], sent, &fault);
        if (result != 0) {
            return command_fail(&fault);
        }
    }
    lab_close(&lab);
    return 0;
}

static int start_run(int argc, char **argv)
{
    return nodes_run(&start_argp, argc, argv, 0);
}

static int stop_run(int argc, char **argv)
{
    return nodes_run(&stop_argp, argc, argv, SIGTERM);
}

static int kill_run(int argc, char **argv)
{
    return nodes_run(&kill_argp, argc, argv, SIGKILL);
}

static int pause_run(int argc, char **argv)
{
    return nodes_run(&pause_argp, argc, argv, SIGSTOP);
}

static int resume_run(int argc, char **argv)
{
    return nodes_run(&resume_argp, argc, argv, SIGCONT);
}

/* ---- The slow disk. ---- */

static error_t slow_parse(int key, char *value, struct argp_state *state)
{
    struct node_arguments *arguments = state->input;
    const char *time = arguments->lab.word_count == 2 ? arguments->lab.words[1] : "";
    switch (key) {
    case KEY_SHARE:
        if (!units_parse_percent(value, &arguments->slow.share)) {
            argp_error(state, "--share: `%s` is not " UNITS_PERCENT_FORM, value);
        }
        return 0;
    case KEY_SEED:
        if (!units_parse_number(value, 1, UINT64_MAX, &arguments->slow.seed)) {
            argp_error(state, "--seed: `%s` is not a number above 0", value);
        }
        return 0;
    case ARGP_KEY_END:
        if (arguments->lab.word_count != 2) {
            argp_error(state, "a node's number and a time, or `off`, are needed");
        }
        if (strcmp(time, "off") != 0 && (!units_parse_duration(time, &arguments->slow.delay_ns) ||
                                         arguments->slow.delay_ns > DISK_SLOW_NS_MAX)) {
            argp_error(state, "`%s` is not off, nor " UNITS_DURATION_FORM ", up to 60s", time);
        }
        return 0;
    default:
        return lab_arguments_parse(key, value, state);
    }
}

static const struct argp_option slow_options[] = {
    LAB_OPTION_DIR,
    {"share", KEY_SHARE, "PERCENT", 0, "Before so many of its writes, at random (100)", 0},
    {"seed", KEY_SEED, "N", 0, "Of the draw (a random one, printed)", 0},
    {0},
};

static const struct argp slow_argp = {
    .options = slow_options,
    .parser = slow_parse,
    .args_doc = "NODE TIME|off",
    .doc = "Slow a node's disk: hold its log's writes back for TIME, all of them or a share. What "
           "is behind a write that is held waits with it. The node goes on running; its status, "
           "the cluster's and every result say so meanwhile."
           "\vExample:\n  thole lab slow-disk 1 5ms --share 0.5",
};

static int slow_run(int argc, char **argv)
{
    struct node_arguments arguments = {.slow = {.share = DISK_SLOW_ALL}};
    static struct lab lab;
    struct fault fault = {0};
    struct disk_slow_numbers *numbers = NULL;
    char path[PATH_MAX];
    if (argp_parse(&slow_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    if (lab_need(&lab, lab_arguments_dir(&arguments.lab), &fault) != 0) {
        return command_fail(&fault);
    }
    uint32_t number = lab_arguments_node(&lab, arguments.lab.words[0], &fault);
    if (number == 0) {
        return command_fail(&fault);
    }
    lab_path(&lab, LAB_SLOW, number, path);
    if (disk_slow_map(path, &numbers, &fault) != 0) {
        return command_fail(&fault);
    }
    disk_slow_set(numbers, arguments.slow.delay_ns, arguments.slow.share,
                  arguments.slow.seed != 0 ? arguments.slow.seed : make_log_random_id());
    printf("disk of node %u: ", number);
    slow_disk_print(numbers, stdout);
    printf("\n");
    lab_close(&lab);
    return 0;
}

const struct command command_lab_start = {
    .name = "lab start",
    .summary = "Start nodes of a lab again",
    .argp = &start_argp,
    .run = start_run,
};

const struct command command_lab_stop = {
    .name = "lab stop",
    .summary = "End nodes of a lab cleanly",
    .argp = &stop_argp,
    .run = stop_run,
};

const struct command command_lab_kill = {
    .name = "lab kill",
    .summary = "Kill nodes of a lab",
    .argp = &kill_argp,
    .run = kill_run,
};

const struct command command_lab_pause = {
    .name = "lab pause",
    .summary = "Stop nodes of a lab where they stand",
    .argp = &pause_argp,
    .run = pause_run,
};

const struct command command_lab_resume = {
    .name = "lab resume",
    .summary = "Let paused nodes of a lab go on",
    .argp = &resume_argp,
    .run = resume_run,
};

const struct command command_lab_slow_disk = {
    .name = "lab slow-disk",
    .summary = "Slow the disk of a node of a lab",
    .argp = &slow_argp,
    .run = slow_run,
};
