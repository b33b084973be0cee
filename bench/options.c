/* options.c: flags -> a run. The folder, the CPUs and the signals of a run are settled here. */
#define _GNU_SOURCE /* CPU affinity. */
#include "bench/options.h"

#include "bench/cluster_local.h"
#include "engine/base/assert.h"
#include "engine/base/units.h"
#include "engine/cli/command.h"
#include "engine/wire.h"
#include "net/nic.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPTIONS_LOG_MEMORY_BYTES (4u * 1024u * 1024u)
#define OPTIONS_FOLDER           "thole-demo-XXXXXX"

enum option_key {
    KEY_NODES = 256,
    KEY_RATE,
    KEY_SIZE,
    KEY_DURATION,
    KEY_WARMUP,
    KEY_DURABILITY,
    KEY_IDLE,
    KEY_CPU,
    KEY_LOG_SIZE,
    KEY_RETENTION,
    KEY_OUTSTANDING,
    KEY_ARRIVALS,
    KEY_DIR,
    KEY_OUT,
    KEY_SEED,
    KEY_NO_FLOOR,
    KEY_NET,
};

static const struct argp_option option_list[] = {
    {"nodes", KEY_NODES, "N", 0, "Replicas, " OPTIONS_NODES " (3)", 0},
    {"rate", KEY_RATE, "N|max", 0, "Records a second (50k); max: a closed loop of --outstanding",
     0},
    {"size", KEY_SIZE, "BYTES", 0, "Of one record (256)", 0},
    {"duration", KEY_DURATION, "TIME", 0, "Of load, without the slices of floor (5s)", 0},
    {"warmup", KEY_WARMUP, "TIME", 0, "Load before anything is counted (1s)", 0},
    {"durability", KEY_DURABILITY, "MODE", 0,
     "dsync: acknowledged when on stable storage at a quorum; memory: NOT durable (dsync)", 0},
    {"idle", KEY_IDLE, "MODE", 0, "auto, spin, yield, block or sleep (auto)", 0},
    {"cpu", KEY_CPU, "LIST", 0, "CPUs: the first for the replicas, the last for the client", 0},
    {"log-size", KEY_LOG_SIZE, "BYTES", 0, "Of each replica's log (256MiB)", 0},
    {"retention", KEY_RETENTION, "BYTES", 0, "Of log that is kept (half of --log-size)", 0},
    {"outstanding", KEY_OUTSTANDING, "N", 0,
     "Most records under way (1024, or what the ports hold)", 0},
    {"arrivals", KEY_ARRIVALS, "KIND", 0, "Of the open loop: poisson or uniform (poisson)", 0},
    {"net", KEY_NET, "SPEC", 0, "Ports (ring): " PORTS_FORM, 0},
    {"dir", KEY_DIR, "DIR", 0, "Keep the logs here (default: a temporary folder here)", 0},
    {"out", KEY_OUT, "DIR", 0, "Write result.json and the latency distribution there", 0},
    {"seed", KEY_SEED, "N", 0, "Of everything random (1)", 0},
    {"no-floor", KEY_NO_FLOOR, NULL, 0, "Do not measure the floor", 0},
    {"json", 'j', NULL, 0, "Print one JSON object", 0},
    {0},
};

void options_init(struct options *options)
{
    *options = (struct options){
        .nodes = 3,
        .rate_per_s = 50000,
        .size_bytes = 256,
        .duration_ns = 5000000000ull,
        .warmup_ns = 1000000000ull,
        .idle = IDLE_AUTO,
        .log_bytes = 256ull << 20,
        .outstanding = 1024,
        .clients = 1,
        .seed = 1,
    };
    bool parsed = ports_spec_parse("ring", &options->net);
    ASSERT(parsed);
}

uint64_t options_number(
    struct argp_state *state, const char *flag, const char *value, uint64_t min, uint64_t max)
{
    uint64_t number = min;
    if (!units_parse_number(value, min, max, &number)) {
        argp_error(state, "--%s: `%s` is not a number from %" PRIu64 " to %" PRIu64, flag, value,
                   min, max);
    }
    return number;
}

uint32_t options_outstanding_max(uint32_t record_bytes)
{
    ASSERT(record_bytes <= RECORD_BYTES_MAX);
    uint32_t part_bytes = wire_request_bytes(FRAME_BYTES_MAX);
    uint32_t whole_bytes = RECORD_HEADER_BYTES + (record_bytes + 7) / 8 * 8;
    uint32_t frames = (whole_bytes + part_bytes - 1) / part_bytes;
    ASSERT(frames > 0);
    return CLUSTER_FRAMES_MAX / frames;
}

static void parse_rate(struct argp_state *state, const char *value)
{
    struct options *options = state->input;
    uint64_t rate = 0;
    bool parsed = units_parse_rate(value, &rate);
    options->rate_given = true;
    options->rate_max = parsed && rate == UNITS_RATE_MAX;
    if (options->rate_max) {
        return;
    }
    if (!parsed || rate == 0 || (double)rate > LOAD_RATE_MAX) {
        argp_error(state, "--rate: `%s` is not a rate: %s", value, UNITS_RATE_FORM);
    }
    options->rate_per_s = (double)rate;
}

static uint64_t parse_bytes(struct argp_state *state, const char *flag, const char *value)
{
    uint64_t bytes = 0;
    if (!units_parse_size(value, &bytes)) {
        argp_error(state, "--%s: `%s` is not a size: %s", flag, value, UNITS_SIZE_FORM);
    }
    return bytes;
}

static uint64_t parse_time(struct argp_state *state, const char *flag, const char *value)
{
    uint64_t time_ns = 0;
    if (!units_parse_duration(value, &time_ns)) {
        argp_error(state, "--%s: `%s` is not a time: %s", flag, value, UNITS_DURATION_FORM);
    }
    return time_ns;
}

uint32_t options_cpus(struct argp_state *state, const char *value, int cpus[OPTIONS_CPUS_MAX])
{
    uint32_t count = 0;
    if (!units_parse_numbers(value, CPU_SETSIZE - 1, cpus, OPTIONS_CPUS_MAX, &count)) {
        argp_error(state, "--cpu: `%s` is not a list of up to %u CPUs such as 0,1", value,
                   OPTIONS_CPUS_MAX);
    }
    return count;
}

static void parse_word(struct argp_state *state, int key, const char *value)
{
    struct options *options = state->input;
    if (key == KEY_DURABILITY) {
        options->memory = strcmp(value, "memory") == 0;
        if (!options->memory && strcmp(value, "dsync") != 0) {
            argp_error(state, "--durability: `%s` is neither dsync nor memory", value);
        }
    } else if (key == KEY_ARRIVALS) {
        options->uniform = strcmp(value, "uniform") == 0;
        if (!options->uniform && strcmp(value, "poisson") != 0) {
            argp_error(state, "--arrivals: `%s` is neither poisson nor uniform", value);
        }
    } else if (!idle_mode_parse(value, &options->idle)) {
        argp_error(state, "--idle: `%s` is not auto, spin, yield, block or sleep", value);
    }
}

/* What only all flags together can tell. */
static void check_together(struct argp_state *state)
{
    struct options *options = state->input;
    if (options->closed && (options->rate_given || options->outstanding_given)) {
        argp_error(state, "--closed has --clients, and neither --rate nor --outstanding");
    }
    uint32_t outstanding_max = options_outstanding_max(options->size_bytes);
    bool asked = options->closed || options->outstanding_given;
    uint32_t outstanding = options->closed ? options->clients : options->outstanding;
    if (asked && outstanding > outstanding_max) {
        argp_error(state,
                   "--%s: the ports of a cluster in one process hold %u records of %u bytes at "
                   "most: give fewer, or a smaller --size",
                   options->closed ? "clients" : "outstanding", outstanding_max,
                   options->size_bytes);
    }
    if (options->outstanding > outstanding_max) {
        options->outstanding = outstanding_max;
    }
    if (options->duration_ns == 0) {
        argp_error(state, "--duration: nothing can be measured in no time");
    }
    options->log_bytes &= ~(uint64_t)(PAGE_BYTES - 1);
    uint64_t retention_max = cluster_retention_max(options->log_bytes);
    if (!options->retention_given) {
        uint64_t half = options->log_bytes / 2;
        options->retention_bytes = half < retention_max ? half : retention_max;
    }
    if (retention_max > 0 && options->retention_bytes > retention_max) {
        char most[UNITS_TEXT_BYTES];
        units_format_size(retention_max, most);
        argp_error(state, "--retention is above %s, what a log of this size can keep and not fill",
                   most);
    }
}

/* Remember a flag that says what the configuration of a running cluster says itself. */
static void note_local(struct options *options, int key)
{
    for (size_t i = 0; option_list[i].name != NULL; i++) {
        bool local = key == KEY_NODES || key == KEY_DURABILITY || key == KEY_LOG_SIZE ||
                     key == KEY_RETENTION || key == KEY_DIR;
        if (local && option_list[i].key == key) {
            options->of_local = option_list[i].name;
        }
    }
}

/* Where a text of the user's goes as it stands. */
static const char **text_of(struct options *options, int key)
{
    return key == KEY_NET ? &options->net_given : key == KEY_DIR ? &options->folder : &options->out;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct options *options = state->input;
    uint64_t number = 0;
    note_local(options, key);
    switch (key) {
    case KEY_NODES:
        options->nodes = (uint32_t)options_number(state, "nodes", value, 1, VOTERS_MAX);
        options->nodes_given = true;
        return 0;
    case KEY_RATE:
        parse_rate(state, value);
        return 0;
    case KEY_SIZE:
        number = parse_bytes(state, "size", value);
        if (number > RECORD_BYTES_MAX) {
            argp_error(state, "--size: a record has at most %u bytes", RECORD_BYTES_MAX);
        }
        options->size_bytes = (uint32_t)number;
        return 0;
    case KEY_DURATION:
        options->duration_ns = parse_time(state, "duration", value);
        return 0;
    case KEY_WARMUP:
        options->warmup_ns = parse_time(state, "warmup", value);
        return 0;
    case KEY_DURABILITY:
    case KEY_IDLE:
    case KEY_ARRIVALS:
        parse_word(state, key, value);
        return 0;
    case KEY_CPU:
        options->cpu_count = options_cpus(state, value, options->cpus);
        return 0;
    case KEY_LOG_SIZE:
        options->log_bytes = parse_bytes(state, "log-size", value);
        return 0;
    case KEY_RETENTION:
        options->retention_bytes = parse_bytes(state, "retention", value);
        options->retention_given = true;
        return 0;
    case KEY_OUTSTANDING:
        number = options_number(state, "outstanding", value, 1, CLUSTER_FRAMES_MAX);
        options->outstanding = (uint32_t)number;
        options->outstanding_given = true;
        return 0;
    case KEY_NET:
    case KEY_DIR:
    case KEY_OUT:
        *text_of(options, key) = value;
        return 0;
    case KEY_SEED:
        options->seed = options_number(state, "seed", value, 0, INT64_MAX);
        return 0;
    case KEY_NO_FLOOR:
        options->no_floor = true;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s`: no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        check_together(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp options_argp = {.options = option_list, .parser = parse_option};

/* Stop early, but remove what was made. */
static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

const volatile sig_atomic_t *options_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    return &interrupted;
}

/* What the mode comes to in this run. */
static const char *idle_text(enum idle_mode mode, bool exclusive_core)
{
    if (mode != IDLE_AUTO) {
        return idle_mode_name(mode);
    }
    return exclusive_core ? "auto (spin)" : "auto (yield)";
}

/* With --cpu: as the user says, and a CPU with nothing else on it may be spun on. Without: two CPUs
 * of those allowed, the replicas beside the disk's interrupts if there are
 * two (a poller that yields is fastest there, docs/ARCHITECTURE.md), the client on the other. */
static void choose_cpus(const struct options *options, int irq_cpu, struct run_config *run)
{
    if (options->cpu_count > 0) {
        run->cluster.cpu = options->cpus[0];
        run->client_cpu = options->cpus[options->cpu_count - 1];
        run->cluster.exclusive_core = core_cpu_is_own(run->cluster.cpu, run->client_cpu, irq_cpu);
        run->client_exclusive = core_cpu_is_own(run->client_cpu, run->cluster.cpu, irq_cpu);
        return;
    }
    run->cluster.cpu = -1;
    run->client_cpu = -1;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
        return;
    }
    int found[2] = {-1, -1};
    uint32_t count = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && count < 2; cpu++) {
        if (CPU_ISSET((size_t)cpu, &allowed) && cpu != irq_cpu) {
            found[count++] = cpu;
        }
    }
    if (irq_cpu >= 0 && CPU_ISSET((size_t)irq_cpu, &allowed) && count < 2) {
        found[count++] = irq_cpu;
    }
    ASSERT(count > 0);
    run->client_cpu = found[0];
    run->cluster.cpu = count > 1 ? found[1] : found[0];
}

/* The folder of the logs: the user's, made if missing, or a temporary one. */
static int
make_folder(const struct options *options, char *folder, size_t bytes, struct fault *fault)
{
    if (options->folder != NULL) {
        snprintf(folder, bytes, "%s", options->folder);
        if (mkdir(folder, 0755) == 0 || errno == EEXIST) {
            return 0;
        }
    } else {
        snprintf(folder, bytes, OPTIONS_FOLDER);
        if (mkdtemp(folder) != NULL) {
            return 0;
        }
    }
    fault_set(fault, FAULT_ENVIRONMENT,
              "cannot make the folder %s: %s; run where you may write, or name one with --dir",
              folder, strerror(errno));
    return FAULT_ENVIRONMENT;
}

static int
write_out(const struct options *options, const struct result *result, struct fault *fault)
{
    if (options->out == NULL) {
        return 0;
    }
    char path[PATH_MAX];
    (void)mkdir(options->out, 0755);
    snprintf(path, sizeof(path), "%s/result.json", options->out);
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        int ignored = result_print_json(result, file);
        (void)ignored;
        fclose(file);
        snprintf(path, sizeof(path), "%s/response.hgrm", options->out);
        file = fopen(path, "w");
    }
    if (file == NULL) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot write %s: %s", path, strerror(errno));
        return FAULT_ENVIRONMENT;
    }
    histogram_write_hgrm(result->response, file, 1000.0);
    fclose(file);
    return 0;
}

static void
config_fill(const struct options *options, const char *folder, int irq_cpu, struct run_config *run)
{
    uint32_t outstanding = options->closed ? options->clients : options->outstanding;
    *run = (struct run_config){
        .cluster =
            {
                .node_count = options->nodes,
                .durable = !options->memory,
                .floors = !options->no_floor,
                .folder = options->memory ? NULL : folder,
                .log_bytes = options->log_bytes,
                .retention_bytes = options->retention_bytes,
                .log_memory_bytes = OPTIONS_LOG_MEMORY_BYTES,
                .net = &options->net,
                .frames_max = outstanding *
                              (CLUSTER_FRAMES_MAX / options_outstanding_max(options->size_bytes)),
                .idle = options->idle,
                .seed = options->seed,
                .eal_argc = options->eal_argc,
                .eal_argv = options->eal_argv,
            },
        .load = options_load(options),
        .record_bytes = options->size_bytes,
        .duration_ns = options->duration_ns,
        .warmup_ns = options->warmup_ns,
        .keep_files = options->folder != NULL,
    };
    choose_cpus(options, options->memory ? -1 : irq_cpu, run);
}

struct load_config options_load(const struct options *options)
{
    bool closed = options->closed || options->rate_max;
    return (struct load_config){
        .closed = closed,
        .uniform = options->uniform,
        .rate_per_s = closed ? 0 : options->rate_per_s,
        .outstanding_max = options->closed ? options->clients : options->outstanding,
        .seed = options->seed,
    };
}

void options_result(const struct options *options, const char *command, struct result *result)
{
    struct result_config *config = &result->config;
    struct load_config load = options_load(options);
    config->command = command;
    config->size_bytes = options->size_bytes;
    config->closed = load.closed;
    config->rate_max = options->rate_max;
    config->arrivals = options->uniform ? "uniform" : "poisson";
    config->rate_per_s = load.rate_per_s;
    config->outstanding = load.outstanding_max;
    config->duration_s = (double)options->duration_ns / 1e9;
    config->warmup_s = (double)options->warmup_ns / 1e9;
    config->seed = options->seed;
}

/* What only a cluster in this process has. */
static void result_fill(const struct options *options,
                        const struct run_config *run,
                        const char *command,
                        struct result *result)
{
    struct result_config *config = &result->config;
    options_result(options, command, result);
    config->nodes = options->nodes;
    config->net = options->net.text;
    config->idle = idle_text(options->idle, run->cluster.exclusive_core);
    config->client = "own thread, port of its own";
    config->log_bytes = options->log_bytes;
    config->retention_bytes = options->retention_bytes;
    config->replicas_cpu = run->cluster.cpu;
    config->client_cpu = run->client_cpu;
}

int options_print(const struct options *options, struct result *result)
{
    struct fault fault = {0};
    if (interrupted != 0) {
        result_invalid(result, "interrupted");
    }
    result_judge(result);
    if (write_out(options, result, &fault) != 0) {
        return command_fail(&fault);
    }
    if (options->json) {
        return result_print_json(result, stdout);
    }
    return result_print_report(result, stdout, command_has_colors(stdout));
}

/* Execute and print; everything that was opened is closed by the caller. */
static int execute(const struct options *options,
                   const char *command,
                   struct run *run,
                   const struct run_config *config,
                   struct result *result)
{
    struct fault fault = {0};
    if (run_execute(run, config, &interrupted, result, &fault) != 0) {
        return command_fail(&fault);
    }
    result_fill(options, config, command, result);
    return options_print(options, result);
}

/* The ports of a cluster in this process. */
static int choose_net(struct options *options, struct fault *fault)
{
    if (options->net_given != NULL && !ports_spec_parse(options->net_given, &options->net)) {
        fault_set(fault, FAULT_USAGE, "--net: `%.64s` is none of %s", options->net_given,
                  PORTS_FORM);
        return fault->code;
    }
    return 0;
}

int options_run(struct options *options, const char *command)
{
    struct fault fault = {0};
    if (choose_net(options, &fault) != 0) {
        return command_fail(&fault);
    }
    char folder[PATH_MAX] = ".";
    if (!options->memory && make_folder(options, folder, sizeof(folder), &fault) != 0) {
        return command_fail(&fault);
    }
    (void)options_catch_interrupts();

    static struct result result; /* Large, and one a process. */
    result_machine(&result.machine, folder);
    struct run_config config;
    config_fill(options, folder, result.machine.disk_irq_cpu, &config);
    struct run *run = run_open();
    if (run == NULL) {
        fault_set(&fault, FAULT_ENVIRONMENT, "no memory");
        return command_fail(&fault);
    }
    int code = execute(options, command, run, &config, &result);
    run_close(run);
    if (!options->memory && options->folder == NULL) {
        (void)rmdir(folder);
    }
    return code;
}
