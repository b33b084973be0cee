/* run_cluster.c: the order of slices against a running cluster.
 *
 * Invariant: the load stands still while files are read, records are read back or the floor runs;
 * at most `unread_max` records are sent between two readings, so that no node trims what was not
 * read.
 */
#define _DEFAULT_SOURCE
#include "bench/run_cluster.h"

#include "bench/check_cluster.h"
#include "bench/floor_nodes.h"
#include "bench/slice.h"
#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/cli/ask.h"
#include "engine/cli/health.h"
#include "engine/cli/make_log.h"
#include "engine/core.h"
#include "net/nic_socket.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LEADER_WAIT_NS 10000000000ull /* Longest wait for somebody who leads. */
#define LEADER_LOOK_NS 50000000       /* Between two looks for one. */
#define BEGIN_AGAIN_NS 10000000u      /* After which the floor is told again. */
#define BEGIN_TRIES    100u

struct run_cluster {
    struct run_cluster_config config;
    struct slice slice;
    struct mem mem;
    struct nic *nic;
    struct check_cluster check;
    struct floor_nodes floor;
    char floors_why[RESULT_TEXT_BYTES]; /* Why there is no floor; empty: there is one. */
    uint64_t load_ns;                   /* Load time so far. */
    uint64_t payload_seed;
    uint8_t leader;
    raft_set slowed; /* Nodes that said that their disk is slowed. */
    raft_set posix;  /* Nodes that said that their disk does without io_uring. */
    struct histogram *echo_ns;
};

static bool is_interrupted(const struct run_cluster *run)
{
    return slice_is_interrupted(&run->slice);
}

static bool is_full(void *context)
{
    struct run_cluster *run = context;
    return check_cluster_is_full(&run->check, client_next_sequence(run->slice.client));
}

/* ---- Who leads. ---- */

/* Until somebody leads and takes appends. 0, or the fault. */
static int find_leader(struct run_cluster *run, struct fault *fault)
{
    struct ask ask;
    if (ask_open(&ask, run->config.cluster, fault) != 0) {
        return fault->code;
    }
    static struct health health;
    uint64_t begin_ns = clock_now_ns();
    do {
        struct ask_answer answers[VOTERS_MAX];
        ask_status(&ask, ASK_TIMEOUT_NS, answers);
        health_judge(&health, run->config.cluster, answers);
        run->slowed |= health.slowed;
        run->posix |= health.posix;
        if (!health.available) {
            struct timespec pause = {.tv_nsec = LEADER_LOOK_NS};
            (void)nanosleep(&pause, NULL);
        }
    } while (!health.available && clock_now_ns() - begin_ns < LEADER_WAIT_NS &&
             !is_interrupted(run));
    ask_close(&ask);
    if (!health.available && !is_interrupted(run)) {
        char line[HEALTH_LINE_BYTES];
        fault_set(fault, FAULT_UNAVAILABLE, "no node takes appends: %s",
                  health_line(&health, line));
        return fault->code;
    }
    run->leader = health.available ? health.leader : run->config.cluster->nodes[0].id;
    return 0;
}

/* ---- The floor. ---- */

static void no_floor(struct run_cluster *run, const char *why)
{
    snprintf(run->floors_why, sizeof(run->floors_why), "%.*s", (int)sizeof(run->floors_why) - 1,
             why);
    floor_nodes_stop(&run->floor);
}

/* Whether a process here can stand for this node. */
static bool
floor_has_place(struct run_cluster *run, const struct config_node *node, struct fault *fault)
{
    struct stat status;
    uint32_t number = (uint32_t)(node - run->config.cluster->nodes);
    if (run->config.floor_namespaces[number] == NULL && !check_address_is_local(node->address)) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "node %u is on another machine, or in another network namespace (--floor-ns)",
                  node->id);
        return false;
    }
    if (run->config.floor_net == NULL && strcmp(node->spec, "udp") != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "node %u has the port `%s`: its floor needs one of the same kind (--floor-net)",
                  node->id, node->spec);
        return false;
    }
    if (run->config.cluster->durability == CONFIG_MEMORY) {
        return true;
    }
    if (stat(node->data, &status) != 0 || !S_ISDIR(status.st_mode)) {
        fault_set(fault, FAULT_ENVIRONMENT, "the data of node %u is no folder here", node->id);
        return false;
    }
    return true;
}

/* One process a node, the leader's first. */
static void start_floor(struct run_cluster *run)
{
    const struct config *cluster = run->config.cluster;
    if (!run->config.floors) {
        no_floor(run, "not asked for");
        return;
    }
    struct floor_nodes_config config = {.node_count = cluster->node_count,
                                        .net = run->config.floor_net,
                                        .durable = cluster->durability == CONFIG_DSYNC,
                                        .idle = run->config.idle};
    struct fault fault = {0};
    uint32_t place = 1;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct config_node *node = &cluster->nodes[i];
        if (!floor_has_place(run, node, &fault)) {
            no_floor(run, fault.text);
            return;
        }
        uint32_t at = node->id == run->leader ? 0 : place++;
        ASSERT(at < cluster->node_count);
        config.nodes[at].address = node->address;
        if (run->config.floor_net != NULL && run->config.floor_net->kind != NIC_UDP) {
            config.nodes[at].address.ipv4 = run->config.floor_ipv4 + i;
        }
        config.nodes[at].namespace = run->config.floor_namespaces[i];
        config.nodes[at].folder = node->data;
        config.nodes[at].cpu = run->config.node_cpus[i];
    }
    if (floor_nodes_start(&run->floor, &config, &fault) != 0) {
        no_floor(run, fault.text);
    }
}

/* Tell the floor's first node what comes now. False: it does not answer. */
static bool begin_floor(struct run_cluster *run, enum floor_mode mode, uint32_t pages)
{
    struct slice *slice = &run->slice;
    struct floor_client *client = &slice->floor_client;
    client->begin_id++;
    client->begun = false;
    for (uint32_t i = 0; i < BEGIN_TRIES && !client->begun; i++) {
        floor_client_begin(client, mode, pages);
        uint64_t begin_ns = clock_now_ns();
        uint64_t now_ns = begin_ns;
        while (!client->begun && now_ns - begin_ns < BEGIN_AGAIN_NS) {
            uint32_t work = floor_client_poll(client, now_ns);
            idle_step(&slice->idle, now_ns, work, work > 0, begin_ns + BEGIN_AGAIN_NS);
            now_ns = clock_now_ns();
        }
    }
    return client->begun;
}

static void floor_slice(struct run_cluster *run)
{
    if (run->floors_why[0] != '\0') {
        return;
    }
    uint32_t pages = check_cluster_write_pages(&run->check);
    static const enum floor_mode parts[] = {FLOOR_DISK, FLOOR_PEER_ECHO, FLOOR_COMMIT};
    bool begun = true;
    for (uint32_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && begun; i++) {
        begun = begin_floor(run, parts[i], pages);
        if (begun) {
            slice_floor_part(&run->slice, parts[i] == FLOOR_COMMIT);
        }
    }
    begun = begun && begin_floor(run, FLOOR_COMMIT, pages);
    if (begun) {
        slice_floor_rounds(&run->slice);
    }
    if (!begun || !floor_nodes_are_alive(&run->floor)) {
        no_floor(run, "a process of the floor stopped answering");
    }
}

/* ---- The slices. ---- */

/* Answers or a leader: an error only when there is neither. */
static int load_slice(struct run_cluster *run, uint64_t length_ns, struct fault *fault)
{
    const struct load_counts *counts = &run->slice.load.counts;
    uint64_t answered = counts->sent - counts->unanswered;
    uint64_t unanswered = counts->unanswered;
    run->load_ns += slice_load(&run->slice, length_ns);
    check_cluster_read(&run->check, client_next_sequence(run->slice.client));
    run->slice.verify = check_cluster_verify(&run->check);
    if (counts->unanswered > unanswered && counts->sent - counts->unanswered == answered) {
        int result = find_leader(run, fault);
        if (result != 0) {
            return result;
        }
        client_set_leader(run->slice.client, run->leader);
    }
    return 0;
}

static int run_slices(struct run_cluster *run, struct fault *fault)
{
    int result = 0;
    struct slice *slice = &run->slice;
    while (run->load_ns < run->config.warmup_ns && !is_interrupted(run) && result == 0) {
        uint64_t left_ns = run->config.warmup_ns - run->load_ns;
        result = load_slice(run, left_ns < SLICE_NS ? left_ns : SLICE_NS, fault);
    }
    run->load_ns = 0;
    load_forget(&slice->load);
    while (run->load_ns < run->config.duration_ns && !is_interrupted(run) && result == 0) {
        uint64_t left_ns = run->config.duration_ns - run->load_ns;
        result = load_slice(run, left_ns < SLICE_NS ? left_ns : SLICE_NS, fault);
        bool last = run->load_ns >= run->config.duration_ns;
        if (result == 0 && slice_floor_is_due(&run->slice, last)) {
            floor_slice(run);
        }
    }
    load_finish(&slice->load);
    if (result == 0 && slice->load.counts.acked == 0 && slice->load.counts.unanswered > 0) {
        fault_set(fault, FAULT_UNAVAILABLE,
                  "node %u leads, but none of %" PRIu64 " records was answered", run->leader,
                  slice->load.counts.unanswered);
        result = fault->code;
    }
    return result;
}

/* ---- Opening. ---- */

static int open_nic(struct run_cluster *run, struct fault *fault)
{
    const struct config *cluster = run->config.cluster;
    struct nic_address peers[VOTERS_MAX];
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        peers[i] = cluster->nodes[i].address;
    }
    struct nic_socket_config config = {
        .peers = peers,
        .peer_count = cluster->node_count,
        .frame_bytes_min = WIRE_HEAD_BYTES_MAX + FRAGMENT_BYTES_MIN,
    };
    return nic_socket_open(&run->nic, &run->mem, &config, fault);
}

static void client_fill(const struct run_cluster *run, struct client_config *client)
{
    const struct config *cluster = run->config.cluster;
    *client = (struct client_config){
        .cluster = cluster->cluster,
        .id = make_log_random_id(),
        .node_count = cluster->node_count,
        .outstanding_max = run->config.load.outstanding_max,
        .timeout_ns = SLICE_DRAIN_NS,
        .read_timeout_ns = CLIENT_READ_TIMEOUT_NS,
        .payload_seed = run->payload_seed,
        .seed = run->config.load.seed,
    };
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        client->nodes[i] = (struct client_node){cluster->nodes[i].id, cluster->nodes[i].address};
    }
}

static int open_memory(struct run_cluster *run, struct fault *fault)
{
    struct slice *slice = &run->slice;
    struct client_config client;
    client_fill(run, &client);
    uint64_t bytes = client_memory_bytes(&client) + 2 * load_memory_bytes(&run->config.load) +
                     nic_socket_memory_bytes() +
                     check_cluster_memory_bytes(run->config.cluster->node_count) + ENTRY_BYTES_MAX +
                     sizeof(struct histogram) + BENCH_TAKINGS_MAX * PAGE_BYTES;
    if (mem_open(&run->mem, bytes) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory for the client: lower --outstanding");
        return fault->code;
    }
    if (open_nic(run, fault) != 0) {
        return fault->code;
    }
    slice->client = client_init(&run->mem, &client, run->nic);
    client_set_leader(slice->client, run->leader);
    load_init(&slice->load, &run->mem, &run->config.load);
    load_init(&slice->floor_load, &run->mem, &run->config.load);
    slice->load.next_sequence = client_next_sequence(slice->client);
    slice->load.first_open = slice->load.next_sequence;
    run->echo_ns = mem_take(&run->mem, "echo", 1, sizeof(struct histogram), 64);
    slice->floor_client = (struct floor_client){
        .nic = run->nic,
        .load = &slice->floor_load,
        .record_bytes = run->config.record_bytes,
        .bytes = mem_take(&run->mem, "floor: bytes", 1, ENTRY_BYTES_MAX, 64),
        .echo_ns = run->echo_ns,
    };
    return 0;
}

static int open_check(struct run_cluster *run, struct fault *fault)
{
    struct check_cluster_config config = {
        .cluster = run->config.cluster,
        .client = run->slice.client,
        .payload_seed = run->payload_seed,
        .record_bytes = run->config.record_bytes,
        .interrupted = run->slice.interrupted,
    };
    if (check_cluster_open(&run->check, &run->mem, &config, fault) != 0) {
        return fault->code;
    }
    run->slice.verify = check_cluster_verify(&run->check);
    return 0;
}

/* On its CPU, with its memory sealed, the client begins to poll. */
static int settle_down(struct run_cluster *run, struct fault *fault)
{
    int cpu = run->config.client_cpu;
    if (cpu >= 0 && core_pin(cpu) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot run on CPU %d: it does not exist or is not allowed to this process; "
                  "choose another with --cpu",
                  cpu);
        return fault->code;
    }
    fprintf(stderr, "client and verifier:\n");
    mem_print(&run->mem, stderr);
    mem_seal(&run->mem);
    int fd = nic_wait_fd(run->nic);
    idle_init(&run->slice.idle, run->config.idle, &fd, 1, false);
    if (run->floors_why[0] == '\0') {
        floor_nodes_serve(&run->floor);
        run->slice.floor_client.leader = floor_nodes_leader(&run->floor);
    }
    return 0;
}

static void fill_result(struct run_cluster *run, struct result *result)
{
    const struct slice *slice = &run->slice;
    result->counts = slice->load.counts;
    result->load_s = (double)run->load_ns / 1e9;
    result->response = slice->load.response;
    result->service = slice->load.service;
    result->delay = slice->load.delay;
    if (run->floors_why[0] == '\0') {
        bool durable = run->config.cluster->durability == CONFIG_DSYNC;
        result->floors = (struct result_floors){
            .disk = durable ? floor_nodes_disk_ns(&run->floor) : NULL,
            .client_echo = run->echo_ns,
            .peer_echo = floor_nodes_peer_echo_ns(&run->floor),
            .commit = slice->floor_load.response,
            .write_pages = check_cluster_write_pages(&run->check),
        };
    }
    snprintf(result->floors_why, sizeof(result->floors_why), "%s", run->floors_why);
    check_cluster_finish(&run->check, result);
    result->config.leader = run->leader;
    result->config.slowed = run->slowed | run->check.slowed;
    result->config.posix = run->posix | run->check.posix;
}

struct run_cluster *run_cluster_open(void)
{
    return calloc(1, sizeof(struct run_cluster));
}

int run_cluster_execute(struct run_cluster *run,
                        const struct run_cluster_config *config,
                        const volatile sig_atomic_t *interrupted,
                        struct result *result,
                        struct fault *fault)
{
    ASSERT(config->duration_ns > 0);
    run->config = *config;
    run->payload_seed =
        make_log_random_id(); /* Records of an earlier run are not taken for ours. */
    run->slice = (struct slice){.interrupted = interrupted,
                                .record_bytes = config->record_bytes,
                                .is_full = is_full,
                                .context = run};
    int code = find_leader(run, fault);
    if (code != 0) {
        return code;
    }
    start_floor(run); /* It forks: before anything stays open. */
    code = open_memory(run, fault);
    if (code == 0) {
        code = open_check(run, fault);
    }
    if (code == 0) {
        code = settle_down(run, fault);
    }
    if (code == 0) {
        code = run_slices(run, fault);
    }
    if (code == 0) {
        fill_result(run, result);
    }
    return code;
}

void run_cluster_close(struct run_cluster *run)
{
    floor_nodes_stop(&run->floor);
    check_cluster_close(&run->check);
    if (run->nic != NULL) {
        nic_close(run->nic);
    }
    if (run->mem.base != NULL) {
        mem_close(&run->mem);
    }
    free(run);
}
