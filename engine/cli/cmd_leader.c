/* cmd_leader.c: `thole leader show` and `thole leader transfer`: who leads, and handing that over.
 *
 * A leader only says that a transfer has begun. How it ended is seen by who leads then: another
 * node, in a newer term; or the old one, in its old term and taking appends again, which it does
 * not while it hands over.
 */
#include "engine/cli/ask.h"
#include "engine/cli/command.h"
#include "engine/cli/health.h"

#include "engine/base/clock.h"
#include "engine/base/units.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#define LEADER_TIMEOUT_NS 10000000000u
#define LEADER_LOOK_NS    100000000u /* Longest wait for a look; there is another one. */
#define LEADER_PAUSE_NS   10000000   /* Between two looks. */

struct leader_arguments {
    const char *path;
    uint8_t to; /* 0: whoever is best. */
    uint64_t timeout_ns;
    bool json;
};

enum { KEY_TIMEOUT = 256 };

/* What was asked of whom, and what is known of it. */
struct handover {
    const struct leader_arguments *arguments;
    struct config config;
    struct ask ask;
    struct health health;
    uint8_t from; /* Who leads and was asked; 0: nobody yet. */
    uint64_t term;
    uint8_t target; /* To whom it hands over; 0: it has not said so. */
    bool ended;
    bool transferred;
    struct fault fault;
};

static error_t leader_parse(int key, char *value, struct argp_state *state)
{
    struct leader_arguments *arguments = state->input;
    switch (key) {
    case 'j':
        arguments->json = true;
        return 0;
    default:
        return command_parse_config(key, value, state, &arguments->path);
    }
}

static error_t transfer_parse(int key, char *value, struct argp_state *state)
{
    struct leader_arguments *arguments = state->input;
    uint64_t node = 0;
    switch (key) {
    case KEY_TIMEOUT:
        if (!units_parse_duration(value, &arguments->timeout_ns) || arguments->timeout_ns == 0) {
            argp_error(state, "--timeout: `%s` is not " UNITS_DURATION_FORM, value);
        }
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->to != 0) {
            argp_error(state, "`%s`: one node is enough", value);
        }
        if (!units_parse_number(value, 1, NODE_ID_MAX, &node)) {
            argp_error(state, "ID: `%s` is not a node's number, 1 to %u", value, NODE_ID_MAX);
        }
        arguments->to = (uint8_t)node;
        return 0;
    default:
        return leader_parse(key, value, state);
    }
}

static const struct argp_option show_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"json", 'j', NULL, 0, "One JSON object", 0},
    {0},
};

static const struct argp show_argp = {
    .options = show_options,
    .parser = leader_parse,
    .args_doc = "-c FILE",
    .doc = "Say who leads, and in which term. Exits 4 when nobody does."
           "\vExample:\n  thole leader show -c cluster.ini",
};

static const struct argp_option transfer_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"timeout", KEY_TIMEOUT, "DURATION", 0, "Longest wait for the end of it (10s)", 0},
    {"json", 'j', NULL, 0, "One JSON object", 0},
    {0},
};

static const struct argp transfer_argp = {
    .options = transfer_options,
    .parser = transfer_parse,
    .args_doc = "[ID] -c FILE",
    .doc = "Hand leadership to node ID, or without it to the voter that has most of the log, and "
           "wait until it leads. Nothing is lost: the old leader answers what it has taken before "
           "it lets go, and appends wait meanwhile. If the other cannot take over within an "
           "election timeout, the old leader goes on."
           "\vExit codes: 0 the other node leads, or did already; 1 the old one leads on, or ID "
           "cannot lead; 4 nobody leads, or the end was not seen within --timeout.\n\n"
           "Example:\n  thole leader transfer 2 -c cluster.ini",
};

/* Ask once and judge. */
static void look(struct handover *handover, uint64_t timeout_ns)
{
    struct ask_answer answers[VOTERS_MAX];
    ask_status(&handover->ask, timeout_ns, answers);
    health_judge(&handover->health, &handover->config, answers);
}

static int handover_open(struct handover *handover, const struct leader_arguments *arguments)
{
    handover->arguments = arguments;
    int result = config_load(&handover->config, arguments->path, &handover->fault);
    if (result == 0) {
        result = ask_open(&handover->ask, &handover->config, &handover->fault);
    }
    return result;
}

static void fault_nobody(struct handover *handover, const char *waited)
{
    const struct health *health = &handover->health;
    if (health->reachable_count == 0) {
        fault_set(&handover->fault, FAULT_UNAVAILABLE,
                  "no node of %.200s answers%s: nothing runs there, or not with this [cluster] id. "
                  "Start a node with `thole start -c %.100s --node N`",
                  handover->arguments->path, waited, handover->arguments->path);
    } else if (health->unnamed != 0) {
        fault_set(&handover->fault, FAULT_UNAVAILABLE,
                  "node %u leads, by the word of who answers, but %.200s has no [node %u]: add it, "
                  "with its address",
                  health->unnamed, handover->arguments->path, health->unnamed);
    } else {
        fault_set(&handover->fault, FAULT_UNAVAILABLE,
                  "nobody leads%s: %u of %u nodes answer, and a majority of the voters must run "
                  "and reach each other. `thole status -c %.100s` says who is missing",
                  waited, health->reachable_count, health->node_count, handover->arguments->path);
    }
}

static int show_run(int argc, char **argv)
{
    struct leader_arguments arguments = {0};
    if (argp_parse(&show_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct handover handover; /* Large, and one a process. */
    if (handover_open(&handover, &arguments) != 0) {
        return command_fail(&handover.fault);
    }
    look(&handover, ASK_TIMEOUT_NS);
    ask_close(&handover.ask);
    const struct health *health = &handover.health;
    if (arguments.json) {
        json_t *leader = health->leader != 0 ? json_integer(health->leader) : json_null();
        json_t *object = json_pack("{s:o, s:I, s:b}", "leader", leader, "term",
                                   (json_int_t)health->term, "available", (int)health->available);
        bool printed = object != NULL && json_dumpf(object, stdout, JSON_COMPACT) == 0;
        json_decref(object);
        if (!printed) {
            return FAULT_INTERNAL;
        }
        putchar('\n');
    } else if (health->leader != 0) {
        printf("node %u leads in term %" PRIu64 "%s\n", health->leader, health->term,
               health->available ? "" : " and takes no appends yet");
    }
    if (health->leader == 0) {
        fault_nobody(&handover, "");
        return command_fail(&handover.fault);
    }
    return 0;
}

static void end(struct handover *handover, bool transferred)
{
    handover->ended = true;
    handover->transferred = transferred;
}

/* The leader's answer: it hands over, it never will, or it is worth another look. */
static void take_outcome(struct handover *handover, const struct wire_transfer_reply *reply)
{
    const struct leader_arguments *arguments = handover->arguments;
    struct fault *fault = &handover->fault;
    switch ((enum raft_transfer)reply->outcome) {
    case RAFT_TRANSFER_OK:
        handover->target = reply->to;
        return;
    case RAFT_TRANSFER_NOT_LEADER:
    case RAFT_TRANSFER_TOO_EARLY:
        return;
    case RAFT_TRANSFER_UNDER_WAY:
        if (arguments->to == 0 || arguments->to == reply->to) {
            handover->target = reply->to; /* Whoever began it, it is what is wanted. */
            return;
        }
        fault_set(fault, FAULT_FAILED,
                  "node %u is handing over to node %u just now, not to node %u: try again when "
                  "`thole leader show -c %.100s` names who leads then",
                  handover->from, reply->to, arguments->to, arguments->path);
        return;
    case RAFT_TRANSFER_NOT_A_VOTER:
        fault_set(fault, FAULT_FAILED,
                  "node %u is no voter of this cluster, so it cannot lead: `thole status -c "
                  "%.100s` lists the nodes",
                  arguments->to, arguments->path);
        return;
    case RAFT_TRANSFER_NOBODY_HEARD:
        fault_set(fault, FAULT_FAILED,
                  "node %u leads on: it has heard no other voter within an election timeout, so "
                  "there is nobody to hand over to. Start one with `thole start -c %.100s --node "
                  "N`",
                  handover->from, arguments->path);
        return;
    }
    ASSERT(false);
}

/* Nobody has said yet that it hands over: ask whoever leads now. */
static void begin(struct handover *handover)
{
    const struct health *health = &handover->health;
    uint8_t to = handover->arguments->to;
    bool first = handover->from == 0;
    /* It has happened all the same, should the answer have been lost. */
    bool moved = !first && health->term > handover->term && health->leader != handover->from;
    if (health->leader == to || (to == 0 && moved)) {
        end(handover, !first);
        return;
    }
    handover->from = health->leader;
    handover->term = health->term;
    struct wire_transfer_reply reply;
    if (ask_transfer(&handover->ask, health->leader, to, LEADER_LOOK_NS, &reply)) {
        take_outcome(handover, &reply);
    }
}

/* It hands over: has it ended, and how? */
static void follow(struct handover *handover)
{
    const struct health *health = &handover->health;
    const char *path = handover->arguments->path;
    if (health->leader == handover->target) {
        end(handover, true);
    } else if (health->term > handover->term) {
        fault_set(&handover->fault, FAULT_FAILED,
                  "node %u leads now, in term %" PRIu64 ": an election came between, and node %u "
                  "did not win it. Try again, or see how the nodes stand with `thole status -c "
                  "%.100s`",
                  health->leader, health->term, handover->target, path);
    } else if (health->leader == handover->from && health->available) {
        fault_set(&handover->fault, FAULT_FAILED,
                  "node %u leads on in term %" PRIu64 ": node %u did not take over within an "
                  "election timeout. It does not run, is cut off, or is too far behind: see "
                  "`thole status -c %.100s`",
                  handover->from, health->term, handover->target, path);
    }
}

/* Look, and do what there is to do, until it has ended or time is up. */
static void hand_over(struct handover *handover)
{
    uint64_t begin_ns = clock_now_ns();
    uint64_t timeout_ns = handover->arguments->timeout_ns;
    while (!handover->ended && handover->fault.code == 0) {
        look(handover, LEADER_LOOK_NS);
        if (handover->health.leader == 0) {
            /* Between two leaders, or there is none. */
        } else if (handover->target == 0) {
            begin(handover);
        } else {
            follow(handover);
        }
        if (clock_now_ns() - begin_ns >= timeout_ns) {
            break;
        }
        struct timespec pause = {.tv_nsec = LEADER_PAUSE_NS};
        (void)nanosleep(&pause, NULL);
    }
    if (handover->ended || handover->fault.code != 0) {
        return;
    }
    char waited[UNITS_TEXT_BYTES];
    char text[UNITS_TEXT_BYTES + 8];
    (void)snprintf(text, sizeof text, " for %s", units_format_duration(timeout_ns, waited));
    if (handover->health.leader == 0) {
        fault_nobody(handover, text);
        return;
    }
    fault_set(&handover->fault, FAULT_UNAVAILABLE,
              "node %u leads, and%s it was not seen to hand over: see `thole status -c %.100s`, "
              "and wait longer with --timeout",
              handover->health.leader, text, handover->arguments->path);
}

/* False: no memory. */
static bool print_handover(const struct handover *handover)
{
    const struct health *health = &handover->health;
    if (!handover->arguments->json) {
        printf("node %u leads%s in term %" PRIu64 "\n", health->leader,
               handover->transferred ? "" : " already,", health->term);
        return true;
    }
    uint8_t from = handover->from != 0 ? handover->from : health->leader;
    json_t *object =
        json_pack("{s:i, s:i, s:I, s:b}", "from", (int)from, "leader", (int)health->leader, "term",
                  (json_int_t)health->term, "transferred", (int)handover->transferred);
    bool printed = object != NULL && json_dumpf(object, stdout, JSON_COMPACT) == 0;
    json_decref(object);
    putchar('\n');
    return printed;
}

static int transfer_run(int argc, char **argv)
{
    struct leader_arguments arguments = {.timeout_ns = LEADER_TIMEOUT_NS};
    if (argp_parse(&transfer_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct handover handover; /* Large, and one a process. */
    if (handover_open(&handover, &arguments) != 0) {
        return command_fail(&handover.fault);
    }
    hand_over(&handover);
    ask_close(&handover.ask);
    if (handover.health.leader != 0 && (handover.ended || arguments.json) &&
        !print_handover(&handover)) {
        return FAULT_INTERNAL;
    }
    return handover.fault.code == 0 ? 0 : command_fail(&handover.fault);
}

const struct command command_leader_show = {
    .name = "leader show",
    .summary = "Who leads",
    .argp = &show_argp,
    .run = show_run,
};

const struct command command_leader_transfer = {
    .name = "leader transfer",
    .summary = "Hand leadership to another node",
    .argp = &transfer_argp,
    .run = transfer_run,
};
