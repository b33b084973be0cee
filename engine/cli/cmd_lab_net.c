/* cmd_lab_net.c: `thole lab cut | lose | repeat | flap | heal`: faults in a lab's network. */
#include "engine/cli/command.h"
#include "engine/cli/lab_arguments.h"

#include "engine/base/units.h"
#include "engine/lab/switch.h"

#define FLAP_NS     500000000u
#define FLAP_NS_MAX 600000000000ull

struct net_arguments {
    struct lab_arguments lab; /* First. */
    bool from;
    bool to;
    bool cuts_only;
    uint64_t ppm;
    uint64_t time_ns;
};

enum { KEY_FROM = LAB_KEY_OWN, KEY_TO, KEY_CUTS, KEY_FOR };

static error_t cut_parse(int key, char *value, struct argp_state *state)
{
    struct net_arguments *arguments = state->input;
    switch (key) {
    case KEY_FROM:
        arguments->from = true;
        return 0;
    case KEY_TO:
        arguments->to = true;
        return 0;
    case ARGP_KEY_END:
        if (arguments->lab.word_count < 1 || arguments->lab.word_count > 2) {
            argp_error(state, "whom to cut off is needed, and from whom is possible");
        }
        if (arguments->from && arguments->to) {
            argp_error(state, "--from and --to together are a cut of both directions");
        }
        return 0;
    default:
        return lab_arguments_parse(key, value, state);
    }
}

static const struct argp_option cut_options[] = {
    LAB_OPTION_DIR,
    {"from", KEY_FROM, NULL, 0, "Only what comes from HOSTS is lost", 0},
    {"to", KEY_TO, NULL, 0, "Only what goes to HOSTS is lost", 0},
    {0},
};

static const struct argp cut_argp = {
    .options = cut_options,
    .parser = cut_parse,
    .args_doc = "HOSTS [OTHERS]",
    .doc = "Cut hosts off, in the bridge: from OTHERS, or from everybody else. A host is a node's "
           "number or a name; several stand with commas between them. In one direction ARP still "
           "passes. `thole lab heal` ends it."
           "\vExample:\n  thole lab cut 2",
};

static int cut_run(int argc, char **argv)
{
    struct net_arguments arguments = {0};
    static struct lab lab;
    struct fault fault = {0};
    if (argp_parse(&cut_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    uint64_t ones = 0;
    uint64_t others = 0;
    if (lab_need(&lab, lab_arguments_dir(&arguments.lab), &fault) != 0 ||
        !lab_arguments_hosts(&lab, arguments.lab.words[0], &ones, &fault)) {
        return command_fail(&fault);
    }
    if (arguments.lab.word_count == 1) {
        others = ((1ull << lab.host_count) - 1) & ~ones;
    } else if (!lab_arguments_hosts(&lab, arguments.lab.words[1], &others, &fault)) {
        return command_fail(&fault);
    }
    if ((ones | others) == ones || (ones | others) == others) {
        fault_set(&fault, FAULT_USAGE,
                  "nobody is cut off from anybody by that: name two groups of "
                  "hosts that differ");
        return command_fail(&fault);
    }
    int result = 0;
    if (arguments.from) {
        result = switch_cut_one_way(&lab, ones, others, &fault);
    } else if (arguments.to) {
        result = switch_cut_one_way(&lab, others, ones, &fault);
    } else {
        result = switch_cut(&lab, ones, others, &fault);
    }
    lab_close(&lab);
    return result != 0 ? command_fail(&fault) : 0;
}

/* ---- Loss and repetition. ---- */

static error_t percent_parse(int key, char *value, struct argp_state *state)
{
    struct net_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_END:
        if (arguments->lab.word_count != 1 ||
            !units_parse_percent(arguments->lab.words[0], &arguments->ppm)) {
            argp_error(state, "PERCENT is needed, " UNITS_PERCENT_FORM);
        }
        return 0;
    default:
        return lab_arguments_parse(key, value, state);
    }
}

static const struct argp_option plain_options[] = {LAB_OPTION_DIR, {0}};

static const struct argp lose_argp = {
    .options = plain_options,
    .parser = percent_parse,
    .args_doc = "PERCENT",
    .doc = "Lose so many of all IP packets between hosts, at random, until told otherwise; 0 ends "
           "it, and so does `thole lab heal`."
           "\vExample:\n  thole lab lose 5",
};

static const struct argp repeat_argp = {
    .options = plain_options,
    .parser = percent_parse,
    .args_doc = "PERCENT",
    .doc = "Send so many of all IP packets once more, at random, until told otherwise; 0 ends it, "
           "and so does `thole lab heal`."
           "\vExample:\n  thole lab repeat 20",
};

static int percent_run(const struct argp *argp,
                       int argc,
                       char **argv,
                       int (*change)(const struct lab *lab, uint64_t ppm, struct fault *fault))
{
    struct net_arguments arguments = {0};
    static struct lab lab;
    struct fault fault = {0};
    if (argp_parse(argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    if (lab_need(&lab, lab_arguments_dir(&arguments.lab), &fault) != 0 ||
        change(&lab, arguments.ppm, &fault) != 0) {
        return command_fail(&fault);
    }
    lab_close(&lab);
    return 0;
}

static int lose_run(int argc, char **argv)
{
    return percent_run(&lose_argp, argc, argv, switch_lose);
}

static int repeat_run(int argc, char **argv)
{
    return percent_run(&repeat_argp, argc, argv, switch_repeat);
}

/* ---- A plug that is pulled. ---- */

static error_t flap_parse(int key, char *value, struct argp_state *state)
{
    struct net_arguments *arguments = state->input;
    switch (key) {
    case KEY_FOR:
        if (!units_parse_duration(value, &arguments->time_ns) || arguments->time_ns > FLAP_NS_MAX) {
            argp_error(state, "--for: `%s` is not " UNITS_DURATION_FORM, value);
        }
        return 0;
    case ARGP_KEY_END:
        if (arguments->lab.word_count != 1) {
            argp_error(state, "one host is needed");
        }
        return 0;
    default:
        return lab_arguments_parse(key, value, state);
    }
}

static const struct argp_option flap_options[] = {
    LAB_OPTION_DIR,
    {"for", KEY_FOR, "TIME", 0, "How long the link is down (500ms)", 0},
    {0},
};

static const struct argp flap_argp = {
    .options = flap_options,
    .parser = flap_parse,
    .args_doc = "HOST",
    .doc = "Pull a host's plug at the bridge and put it back; returns when its port forwards again."
           "\vExample:\n  thole lab flap 2 --for 2s",
};

static int flap_run(int argc, char **argv)
{
    struct net_arguments arguments = {.time_ns = FLAP_NS};
    static struct lab lab;
    struct fault fault = {0};
    if (argp_parse(&flap_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    if (lab_need(&lab, lab_arguments_dir(&arguments.lab), &fault) != 0) {
        return command_fail(&fault);
    }
    uint32_t host = lab_find_host(&lab, arguments.lab.words[0], &fault);
    lab_close(&lab); /* It may be down for long, and nothing is written. */
    if (host == LAB_SWITCH || switch_flap(&lab, host, arguments.time_ns, &fault) != 0) {
        return command_fail(&fault);
    }
    return 0;
}

/* ---- The end of it. ---- */

static error_t heal_parse(int key, char *value, struct argp_state *state)
{
    struct net_arguments *arguments = state->input;
    switch (key) {
    case KEY_CUTS:
        arguments->cuts_only = true;
        return 0;
    default:
        return lab_arguments_parse_alone(key, value, state);
    }
}

static const struct argp_option heal_options[] = {
    LAB_OPTION_DIR,
    {"cuts", KEY_CUTS, NULL, 0, "End the cuts alone; loss and repetition stay", 0},
    {0},
};

static const struct argp heal_argp = {
    .options = heal_options,
    .parser = heal_parse,
    .doc = "End every fault of the lab's network."
           "\vExample:\n  thole lab heal",
};

static int heal_run(int argc, char **argv)
{
    struct net_arguments arguments = {0};
    static struct lab lab;
    struct fault fault = {0};
    if (argp_parse(&heal_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    if (lab_need(&lab, lab_arguments_dir(&arguments.lab), &fault) != 0 ||
        switch_heal(&lab, &fault) != 0) {
        return command_fail(&fault);
    }
    if (!arguments.cuts_only &&
        (switch_lose(&lab, 0, &fault) != 0 || switch_repeat(&lab, 0, &fault) != 0)) {
        return command_fail(&fault);
    }
    lab_close(&lab);
    return 0;
}

const struct command command_lab_cut = {
    .name = "lab cut",
    .summary = "Cut hosts of a lab off, in one or both directions",
    .argp = &cut_argp,
    .run = cut_run,
};

const struct command command_lab_lose = {
    .name = "lab lose",
    .summary = "Lose packets in a lab",
    .argp = &lose_argp,
    .run = lose_run,
};

const struct command command_lab_repeat = {
    .name = "lab repeat",
    .summary = "Send packets twice in a lab",
    .argp = &repeat_argp,
    .run = repeat_run,
};

const struct command command_lab_flap = {
    .name = "lab flap",
    .summary = "Pull a host's plug for a while",
    .argp = &flap_argp,
    .run = flap_run,
};

const struct command command_lab_heal = {
    .name = "lab heal",
    .summary = "End the faults of a lab's network",
    .argp = &heal_argp,
    .run = heal_run,
};
