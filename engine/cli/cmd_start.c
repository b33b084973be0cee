/* cmd_start.c: `thole start`: one node of a cluster, until it is told to stop.
 *
 * The main thread parses, opens and then only waits for a signal; the node runs on its loop's
 * thread. Signals are blocked before that thread is made, so that none ever interrupts it.
 */
#define _GNU_SOURCE /* CPU_SETSIZE */
#include "engine/base/units.h"
#include "engine/cli/command.h"
#include "engine/cli/make_log.h"
#include "engine/cli/slow_disk.h"

#include "engine/node.h"
#include "net/spec.h"
#include "storage/disk_file.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define START_LOOK_SIGNAL SIGUSR1 /* From the loop to the main thread. */

struct start_arguments {
    const char *path;
    const char *spec; /* NULL: the configuration's. */
    uint32_t node;
    enum idle_mode idle;
    int cpu; /* -1: any. */
    int eal_argc;
    enum wal_accept accept;
    bool posix;
    struct capture_file pcap; /* Its path is empty: no capture. */
    struct slow_disk slow;
};

enum {
    KEY_NODE = 256,
    KEY_NET,
    KEY_IDLE,
    KEY_CPU,
    KEY_PCAP,
    KEY_SLOW_DISK,
    KEY_DISCARD,
    KEY_DISCARD_ALL,
    KEY_IO
};

static const struct argp_option start_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"node", KEY_NODE, "N", 0, "Which of its nodes to be", 0},
    {"net", KEY_NET, "SPEC", 0,
     "Network port instead of the configuration's `spec`: udp, af_packet:IF, af_xdp:IF, tap:NAME, "
     "pci:BDF or vdev:RAW",
     0},
    {"idle", KEY_IDLE, "MODE", 0,
     "When there is nothing to do: auto, spin, yield, block or sleep (auto)", 0},
    {"cpu", KEY_CPU, "LIST", 0, "The CPU to run on (any)", 0},
    {"pcap", KEY_PCAP, "FILE", 0,
     "Write what passes through the port to a new pcapng file, up to 64 MiB, or "
     "FILE,size=BYTES; FILE,snap=BYTES takes no more of each packet",
     0},
    {"io", KEY_IO, "io_uring|posix", 0,
     "How the log is written (io_uring); posix, one write at a time on a thread, is for where "
     "there is no io_uring. Status and results say so",
     0},
    {"slow-disk", KEY_SLOW_DISK, "TIME[,share=PERCENT][,seed=N][,file=PATH]", 0,
     "To see what that does: hold the log's writes back so long, or before a share of them; a "
     "file's numbers may be changed meanwhile. Status and results say so",
     0},
    {"discard-suspect", KEY_DISCARD, NULL, 0,
     "Cut a log whose end is suspect behind what is whole, and give up whatever this node has "
     "acknowledged above",
     0},
    {"discard-damaged", KEY_DISCARD_ALL, NULL, 0,
     "Of a cluster of one, cut a damaged log where its damage begins, and give up what was durable "
     "above (refuse to start)",
     0},
    {0},
};

/* One group a node, so one CPU. */
static void parse_cpu(struct argp_state *state, const char *value)
{
    struct start_arguments *arguments = state->input;
    uint64_t cpu = 0;
    if (strchr(value, ',') != NULL) {
        argp_error(state, "--cpu: `%s`: a node has one group, which runs on one CPU", value);
    }
    if (!units_parse_number(value, 0, CPU_SETSIZE - 1, &cpu)) {
        argp_error(state, "--cpu: `%s` is not a CPU's number", value);
    }
    arguments->cpu = (int)cpu;
}

static error_t start_parse(int key, char *value, struct argp_state *state)
{
    struct start_arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->path = value;
        return 0;
    case KEY_NODE:
        arguments->node = command_parse_node(state, value);
        return 0;
    case KEY_NET:
        arguments->spec = value;
        return 0;
    case KEY_IDLE:
        if (!idle_mode_parse(value, &arguments->idle)) {
            argp_error(state, "--idle: `%s` is not auto, spin, yield, block or sleep", value);
        }
        return 0;
    case KEY_CPU:
        parse_cpu(state, value);
        return 0;
    case KEY_PCAP:
        if (!capture_file_parse(value, &arguments->pcap)) {
            argp_error(state,
                       "--pcap: `%.100s` is not " CAPTURE_FORM ", of %u KiB or more, and %u "
                       "to %u",
                       value, CAPTURE_BYTES_MIN >> 10, CAPTURE_SNAP_MIN, CAPTURE_SNAP_MAX);
        }
        return 0;
    case KEY_SLOW_DISK:
        if (!slow_disk_parse(value, &arguments->slow)) {
            argp_error(state, "--slow-disk: `%s` is not " SLOW_DISK_FORM, value);
        }
        return 0;
    case KEY_IO:
        arguments->posix = strcmp(value, "posix") == 0;
        if (!arguments->posix && strcmp(value, "io_uring") != 0) {
            argp_error(state, "--io: `%s` is neither io_uring nor posix", value);
        }
        return 0;
    case KEY_DISCARD:
        arguments->accept = WAL_DISCARD_SUSPECT;
        return 0;
    case KEY_DISCARD_ALL:
        arguments->accept = WAL_DISCARD_DAMAGED;
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

static const struct argp start_argp = {
    .options = start_options,
    .parser = start_parse,
    .args_doc = "-c FILE --node N [-- EAL ARGUMENTS]",
    .doc = "Run one node of a cluster. Says `serving node N pid P address A` once it serves, and "
           "ends cleanly on SIGTERM or SIGINT.\n\n"
           "A node whose log is damaged asks the others for what is gone, and serves once it has "
           "it; until then it says what it waits for.\n\n"
           "The node's log is made beforehand, by `thole format`. With `durability = memory` there "
           "is none: a restarted node is a wiped one."
           "\vExample:\n  thole start -c cluster.ini --node 1",
};

/* ---- What must hold before anything is opened. ---- */

static int check_spec(const struct start_arguments *arguments,
                      const char *text,
                      struct nic_spec *spec,
                      struct fault *fault)
{
    if (!nic_spec_parse(text, spec)) {
        fault_set(fault, FAULT_USAGE, "--net: `%.64s` is not " NIC_SPEC_FORM, text);
        return FAULT_USAGE;
    }
    if (spec->kind == NIC_RING) {
        fault_set(
            fault, FAULT_ENVIRONMENT,
            "cannot start on `ring`: it joins the nodes of one process, and this is a node of "
            "its own. Set `spec = udp`, give --net udp, or name a device");
        return FAULT_ENVIRONMENT;
    }
    if (spec->kind == NIC_UDP && arguments->eal_argc > 0) {
        fault_set(fault, FAULT_USAGE, "what follows `--` is for DPDK, and udp is no port of it");
        return FAULT_USAGE;
    }
    return 0;
}

static void unformatted(const struct start_arguments *arguments,
                        const struct config_node *self,
                        struct fault *fault)
{
    fault_set(fault, FAULT_ENVIRONMENT,
              "there is no log in %.160s; make it with `thole format -c %.160s --node %u` (if "
              "there was one, its beginning is gone: bring back a copy)",
              self->data, arguments->path, self->id);
}

/* The log's path, if there is a file at it. */
static int find_log(const struct start_arguments *arguments,
                    const struct config_node *self,
                    char path[PATH_MAX],
                    struct fault *fault)
{
    struct stat status;
    if (!make_log_path(self->data, path, PATH_MAX)) {
        fault_set(fault, FAULT_ENVIRONMENT, "the name of the folder %.64s... is too long",
                  self->data);
        return FAULT_ENVIRONMENT;
    }
    if (stat(path, &status) != 0 && errno == ENOENT) {
        if (!disk_file_refuse_unfinished(path, fault)) {
            unformatted(arguments, self, fault);
        }
        return FAULT_ENVIRONMENT;
    }
    return 0;
}

/* ---- Serving. ---- */

static void wake_main(void)
{
    (void)kill(getpid(), START_LOOK_SIGNAL);
}

/* Tell a service manager that the node serves (sd_notify(3)); no matter if nobody listens. */
static void notify_ready(void)
{
    static const char text[] = "READY=1";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t bytes = path == NULL ? 0 : strlen(path);
    if (bytes < 2 || bytes >= sizeof address.sun_path) {
        return;
    }
    memcpy(address.sun_path, path, bytes);
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* A name without a file. */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    socklen_t address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    ssize_t sent = sendto(fd, text, sizeof text - 1, MSG_NOSIGNAL,
                          (const struct sockaddr *)&address, address_bytes);
    (void)sent;
    (void)close(fd);
}

static void print_serving(const struct node *node)
{
    struct nic_address address = node->nic->self;
    fprintf(stderr, "serving node %u pid %ld address %u.%u.%u.%u:%u\n", node->config.self->id,
            (long)getpid(), address.ipv4 >> 24, address.ipv4 >> 16 & 255u, address.ipv4 >> 8 & 255u,
            address.ipv4 & 255u, address.port);
}

/* Until a signal ends it: SIGTERM, SIGINT, or the loop's own word that the disk has failed. A node
 * that had to mend its log serves when the loop says so. */
static void wait_for_end(struct node *node, const sigset_t *signals)
{
    bool serves = false;
    int number = 0;
    do {
        if (!serves && !node_mends(node)) {
            serves = true;
            print_serving(node);
            notify_ready();
        }
        int result = sigwait(signals, &number);
        ASSERT(result == 0);
        node_narrow(node, stderr);
    } while (number == START_LOOK_SIGNAL && node_failure(node) == 0);
}

/* What was asked for, and whether it came to that. */
static void print_discarded(const struct node *node, enum wal_accept accept)
{
    const struct recovery *found = replica_found(node->replica);
    bool damaged = accept == WAL_DISCARD_DAMAGED;
    const char *flag = damaged ? "--discard-damaged" : "--discard-suspect";
    uint32_t id = node->config.self->id;
    unsigned long long last = found->last.index;
    if (found->kind == RECOVER_SUSPECT || (damaged && found->kind == RECOVER_DAMAGED)) {
        fprintf(stderr,
                "DISCARDED: the log of node %u ends behind index %llu now, as %s said; whatever it "
                "had acknowledged above is given up. %s\n",
                id, last, flag, found->what);
    } else if (recover_is_whole(found) && found->bound.index != 0) {
        fprintf(stderr,
                "DISCARDED: whatever the log of node %u had held above index %llu, as %s said; it "
                "votes and stands again with what is there\n",
                id, last, flag);
    } else {
        fprintf(stderr, "%s: the log of node %u is %s: nothing was discarded\n", flag, id,
                recover_kind_name(found->kind));
    }
}

/* Others are asked for what is gone; to give it up is for a cluster of one. */
static int check_discard(const struct start_arguments *arguments,
                         const struct config *cluster,
                         struct fault *fault)
{
    if (arguments->accept == WAL_DISCARD_DAMAGED && cluster->node_count > 1) {
        fault_set(
            fault, FAULT_USAGE,
            "--discard-damaged is for a cluster of one: here the others are asked for what is "
            "gone, so start without it");
    }
    return fault->code;
}

static void print_memory_warning(void)
{
    bool colors = command_has_colors(stderr);
    fprintf(stderr,
            "%sNOT DURABLE%s: the configuration says `durability = memory`; what this node holds "
            "is gone with its process, and when it starts again it is a stranger to the others\n",
            colors ? "\033[1;31m" : "", colors ? "\033[0m" : "");
}

static void print_posix_warning(void)
{
    bool colors = command_has_colors(stderr);
    fprintf(
        stderr,
        "%sDEGRADED%s on request: --io posix writes the log one request at a time, on a thread, "
        "without io_uring\n",
        colors ? "\033[1;31m" : "", colors ? "\033[0m" : "");
}

/* The numbers of the slow disk that was asked for; NULL: none was. 0, or the fault. */
static int find_slow_disk(const struct start_arguments *arguments,
                          struct disk_slow_numbers **numbers,
                          struct fault *fault)
{
    *numbers = NULL;
    if (!arguments->slow.wanted) {
        return 0;
    }
    int result = slow_disk_numbers(&arguments->slow, numbers, fault);
    if (result == 0) {
        fprintf(stderr, "SLOW DISK on request: ");
        slow_disk_print(*numbers, stderr);
        fprintf(stderr, "\n");
    }
    return result;
}

static int serve(struct node *node, const struct node_config *config, struct fault *fault)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, START_LOOK_SIGNAL);
    int result = pthread_sigmask(SIG_BLOCK, &signals, NULL);
    ASSERT(result == 0);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    result = sigaction(SIGPIPE, &ignore, NULL);
    ASSERT(result == 0);
    result = config->pcap == NULL ? 0 : capture_file_open(config->pcap, fault);
    if (result != 0) {
        return result;
    }
    result = node_start(node, config, stderr, fault);
    if (result != 0) {
        if (config->pcap != NULL) {
            capture_file_forget(config->pcap);
        }
        return result;
    }
    if (config->accept != WAL_WHOLE) {
        print_discarded(node, config->accept);
    }
    wait_for_end(node, &signals);
    int failure = node_failure(node);
    node_stop(node, stderr);
    if (failure == 0) {
        failure = node_failure(node); /* While stopping. */
    }
    if (failure != 0 && node->fault.code != 0) {
        *fault = node->fault;
    } else if (failure == -ETIMEDOUT) {
        fault_set(
            fault, FAULT_INTERNAL,
            "node %u has stopped: a request to its disk has not ended for %llu s. Nothing that "
            "it acknowledged is taken back; look at the kernel's log (`dmesg`) and at the disk "
            "before starting it again",
            config->self->id, DISK_DEAD_NS / 1000000000ull);
    } else if (failure != 0) {
        fault_set(fault, FAULT_INTERNAL,
                  "node %u has stopped: its disk failed while it served: %s. Nothing that it "
                  "acknowledged is taken back; look at the kernel's log (`dmesg`) and at the disk "
                  "before starting it again",
                  config->self->id, strerror(-failure));
    }
    return failure;
}

static int start_run(int argc, char **argv)
{
    struct start_arguments arguments = {.idle = IDLE_AUTO, .cpu = -1};
    char **eal_argv = NULL;
    argc = command_split_eal(argc, argv, &arguments.eal_argc, &eal_argv);
    if (argp_parse(&start_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    static struct config cluster; /* Large, and one a process. */
    static struct node node;
    static char path[PATH_MAX];
    struct fault fault = {0};
    if (config_load(&cluster, arguments.path, &fault) != 0) {
        return command_fail(&fault);
    }
    const struct config_node *self = config_node_of(&cluster, arguments.node, &fault);
    struct nic_spec spec;
    if (self == NULL || check_discard(&arguments, &cluster, &fault) != 0 ||
        check_spec(&arguments, arguments.spec != NULL ? arguments.spec : self->spec, &spec,
                   &fault) != 0) {
        return command_fail(&fault);
    }
    bool durable = cluster.durability == CONFIG_DSYNC;
    if (!durable) {
        print_memory_warning();
    } else if (find_log(&arguments, self, path, &fault) != 0) {
        return command_fail(&fault);
    }
    if (arguments.posix && !durable) {
        fault_set(&fault, FAULT_USAGE, "--io: with `durability = memory` there is no disk");
        return command_fail(&fault);
    } else if (arguments.posix) {
        print_posix_warning();
    }
    struct disk_slow_numbers *slow = NULL;
    if (find_slow_disk(&arguments, &slow, &fault) != 0) {
        return command_fail(&fault);
    }
    struct node_config config = {
        .cluster = &cluster,
        .self = self,
        .log_path = path,
        .store = make_log_random_id(),
        .seed = make_log_random_id(),
        .idle = arguments.idle,
        .cpu = arguments.cpu,
        .spec = &spec,
        .pcap = arguments.pcap.path[0] != '\0' ? &arguments.pcap : NULL,
        .eal_argc = (uint32_t)arguments.eal_argc,
        .eal_argv = eal_argv,
        .slow = slow,
        .look = wake_main,
        .posix = arguments.posix,
        .accept = arguments.accept,
    };
    int result = serve(&node, &config, &fault);
    if (result == -ENODATA) {
        unformatted(&arguments, self, &fault);
    }
    return result != 0 ? command_fail(&fault) : 0;
}

const struct command command_start = {
    .name = "start",
    .summary = "Run one node of a cluster",
    .argp = &start_argp,
    .run = start_run,
};
