/* run.c: the order of slices.
 *
 * Invariant: the replicas are read (status, profile, trim bound) only while they stand still, and
 * they stand still only when nothing of the client is under way.
 */
#include "bench/run.h"

#include "bench/slice.h"
#include "bench/verify.h"
#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/cli/make_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUN_FILL_PARTS 4u           /* A quarter of the log may be written and not yet verified. */
#define RUN_SETTLE_NS  10000000000u /* Longest wait for followers to learn of the last commit. */

struct run {
    struct run_config config;
    struct cluster_local cluster;
    struct mem mem;
    struct slice slice;
    struct verify verify;
    bool verifies;
    uint64_t load_ns; /* Load time so far. */
    struct histogram *stages;
    struct histogram *echo_ns;
    struct replica_write_profile profile; /* At the end of the warm-up. */
};

static bool is_interrupted(const struct run *run)
{
    return slice_is_interrupted(&run->slice);
}

/* True when so much of the log is unread that the load must wait for the verifier. */
static bool is_full(void *context)
{
    struct run *run = context;
    if (!run->verifies) {
        return false;
    }
    uint64_t unread = cluster_local_commit_position(&run->cluster);
    uint64_t read = verify_position(&run->verify);
    unread = unread > read ? unread - read : 0;
    uint64_t ring_bytes = run->cluster.nodes[0].geometry.ring_bytes;
    return unread > ring_bytes / RUN_FILL_PARTS || verify_is_filling(&run->verify);
}

/* One slice of load of at most `length_ns`; returns how long it was. */
static uint64_t load_slice(struct run *run, uint64_t length_ns)
{
    cluster_local_run_replicas(&run->cluster);
    uint64_t took_ns = slice_load(&run->slice, length_ns);
    cluster_local_pause(&run->cluster);
    return took_ns;
}

/* Read what has become durable, and let the log be trimmed up to there. */
static void verify_slice(struct run *run)
{
    if (!run->verifies) {
        return;
    }
    for (uint32_t i = 0; i < run->config.cluster.node_count; i++) {
        struct replica_status status;
        replica_status(run->cluster.nodes[i].replica, &status);
        uint64_t end = status.log_durable_position < status.commit_position
                           ? status.log_durable_position
                           : status.commit_position;
        verify_scan(&run->verify, i, status.log_start_position, end);
    }
    for (uint32_t i = 0; i < run->config.cluster.node_count; i++) {
        replica_hold_trim(run->cluster.nodes[i].replica, verify_position(&run->verify));
    }
}

/* Sum of the write profiles of all replicas. */
static struct replica_write_profile profile_sum(struct run *run)
{
    struct replica_write_profile sum = {0};
    for (uint32_t i = 0; i < run->config.cluster.node_count; i++) {
        struct replica_write_profile one = replica_write_profile(run->cluster.nodes[i].replica);
        sum.writes += one.writes;
        sum.pages += one.pages;
        sum.in_flight_sum += one.in_flight_sum;
    }
    return sum;
}

static uint32_t mean_write_pages(struct run *run)
{
    struct replica_write_profile sum = profile_sum(run);
    uint64_t writes = sum.writes - run->profile.writes;
    uint64_t pages = sum.pages - run->profile.pages;
    uint64_t mean = writes > 0 ? (pages + writes / 2) / writes : 1;
    return mean < 1 ? 1 : mean > ENTRY_PAGES_MAX ? ENTRY_PAGES_MAX : (uint32_t)mean;
}

static void floor_part(struct run *run, enum floor_mode mode, uint32_t pages, bool echo)
{
    floor_begin(&run->cluster.floor, mode, pages);
    cluster_local_run_floor(&run->cluster);
    slice_floor_part(&run->slice, echo);
    cluster_local_pause(&run->cluster);
}

static void floor_slice(struct run *run)
{
    if (!run->config.cluster.floors) {
        return;
    }
    uint32_t pages = mean_write_pages(run);
    floor_part(run, FLOOR_DISK, pages, false);
    floor_part(run, FLOOR_PEER_ECHO, pages, false);
    floor_part(run, FLOOR_COMMIT, pages, true);

    floor_begin(&run->cluster.floor, FLOOR_COMMIT, pages);
    cluster_local_run_floor(&run->cluster);
    slice_floor_rounds(&run->slice);
    cluster_local_pause(&run->cluster);
}

/* A replica that stopped is a fatal error of the run, whatever the quorum could still do. */
static int check_replicas(struct run *run, struct fault *fault)
{
    for (uint32_t i = 0; i < run->config.cluster.node_count; i++) {
        struct replica_status status;
        replica_status(run->cluster.nodes[i].replica, &status);
        if (status.failed != 0) {
            fault_set(fault, FAULT_INTERNAL, "replica %u stopped: its disk failed: %s", i + 1,
                      strerror(-status.failed));
            return FAULT_INTERNAL;
        }
    }
    return 0;
}

static int find_leader(struct run *run, struct fault *fault)
{
    cluster_local_run_replicas(&run->cluster);
    uint64_t begin_ns = clock_now_ns();
    int leader = -1;
    while (leader < 0 && clock_now_ns() - begin_ns < RUN_ELECTION_NS && !is_interrupted(run)) {
        struct timespec nap = {.tv_nsec = 1000000};
        (void)nanosleep(&nap, NULL);
        leader = cluster_local_leader(&run->cluster);
    }
    cluster_local_pause(&run->cluster);
    if (is_interrupted(run)) {
        return 0; /* A run without load: the result says so. */
    }
    if (leader < 0) {
        if (check_replicas(run, fault) == 0) {
            fault_set(fault, FAULT_UNAVAILABLE,
                      "no leader was elected within 10 s: is the machine overloaded, or was this "
                      "process stopped? `thole floor disk` shows how slow the disk is");
        }
        return fault->code;
    }
    client_set_leader(run->slice.client, (uint8_t)(leader + 1));
    return 0;
}

static void warm_up(struct run *run)
{
    uint64_t done_ns = 0;
    while (done_ns < run->config.warmup_ns && !is_interrupted(run)) {
        uint64_t left_ns = run->config.warmup_ns - done_ns;
        done_ns += load_slice(run, left_ns < SLICE_NS ? left_ns : SLICE_NS);
        verify_slice(run);
    }
    load_forget(&run->slice.load);
    run->profile = profile_sum(run);
    for (uint32_t i = 0; i < run->config.cluster.node_count; i++) {
        replica_trace_stages(run->cluster.nodes[i].replica, true);
    }
}

/* Followers learn of the last commit by the next heartbeat; then every file can be read to its end.
 */
static void settle(struct run *run)
{
    cluster_local_run_replicas(&run->cluster);
    uint64_t begin_ns = clock_now_ns();
    while (!cluster_local_is_even(&run->cluster, begin_ns) &&
           clock_now_ns() - begin_ns < RUN_SETTLE_NS) {
        struct timespec nap = {.tv_nsec = 1000000};
        (void)nanosleep(&nap, NULL);
    }
    cluster_local_pause(&run->cluster);
}

static int open_memory(struct run *run, struct fault *fault)
{
    const struct run_config *config = &run->config;
    uint32_t node_count = config->cluster.node_count;
    struct client_config client = {
        .cluster = run->cluster.cluster,
        .id = make_log_random_id(),
        .group = CLUSTER_GROUP,
        .node_count = node_count,
        .outstanding_max = config->load.outstanding_max,
        .timeout_ns = SLICE_DRAIN_NS,
        .payload_seed = config->load.seed,
        .seed = config->load.seed,
    };
    for (uint32_t i = 0; i < node_count; i++) {
        client.nodes[i].id = run->cluster.addresses[i].id;
        client.nodes[i].address = run->cluster.addresses[i].address;
    }
    uint64_t bytes = client_memory_bytes(&client) + 2 * load_memory_bytes(&config->load) +
                     verify_memory_bytes(node_count) + ENTRY_BYTES_MAX +
                     (STAGE_COUNT + 1) * sizeof(struct histogram) + BENCH_TAKINGS_MAX * PAGE_BYTES;
    if (mem_open(&run->mem, bytes) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory for the client: lower --outstanding");
        return FAULT_ENVIRONMENT;
    }
    run->slice.client = client_init(&run->mem, &client, run->cluster.ports.nics[node_count]);
    load_init(&run->slice.load, &run->mem, &config->load);
    load_init(&run->slice.floor_load, &run->mem, &config->load);
    run->slice.load.next_sequence = client_next_sequence(run->slice.client);
    run->slice.load.first_open = run->slice.load.next_sequence;
    run->stages = mem_take(&run->mem, "stages", STAGE_COUNT, sizeof(struct histogram), 64);
    run->echo_ns = mem_take(&run->mem, "echo", 1, sizeof(struct histogram), 64);
    uint8_t *floor_bytes = mem_take(&run->mem, "floor: bytes", 1, ENTRY_BYTES_MAX, 64);
    run->slice.floor_client = (struct floor_client){
        .nic = run->cluster.ports.nics[node_count],
        .leader = run->cluster.addresses[0].address,
        .load = &run->slice.floor_load,
        .record_bytes = config->record_bytes,
        .bytes = floor_bytes,
        .echo_ns = run->echo_ns,
    };
    return 0;
}

static int open_verify(struct run *run, struct fault *fault)
{
    if (!run->config.cluster.durable) {
        return 0;
    }
    struct verify_log logs[VOTERS_MAX];
    uint32_t node_count = run->config.cluster.node_count;
    for (uint32_t i = 0; i < node_count; i++) {
        struct cluster_node *node = &run->cluster.nodes[i];
        logs[i] = (struct verify_log){
            .path = node->path, .store = node->store, .geometry = node->geometry};
        replica_hold_trim(node->replica, 0);
    }
    struct verify_config config = {
        .node_count = node_count,
        .cluster = run->cluster.cluster,
        .payload_seed = run->config.load.seed,
        .record_bytes = run->config.record_bytes,
    };
    if (verify_open(&run->verify, &run->mem, &config, logs, fault) != 0) {
        return fault->code;
    }
    run->slice.verify = &run->verify;
    run->verifies = true;
    return 0;
}

/* Asked for, and so say all replicas. */
static bool is_durable(struct run *run)
{
    bool replicas[VOTERS_MAX];
    uint32_t count = run->config.cluster.node_count;
    for (uint32_t i = 0; i < count; i++) {
        struct replica_status status;
        replica_status(run->cluster.nodes[i].replica, &status);
        replicas[i] = status.durable;
    }
    return result_is_durable(run->config.cluster.durable, replicas, count);
}

static void fill_result(struct run *run, struct result *result)
{
    struct cluster_local *cluster = &run->cluster;
    result->counts = run->slice.load.counts;
    result->load_s = (double)run->load_ns / 1e9;
    result->response = run->slice.load.response;
    result->service = run->slice.load.service;
    result->delay = run->slice.load.delay;
    for (uint32_t i = 0; i < run->config.cluster.node_count; i++) {
        const struct histogram *stages = replica_stages(cluster->nodes[i].replica);
        for (uint32_t j = 0; j < STAGE_COUNT; j++) {
            histogram_add(&run->stages[j], &stages[j]);
        }
    }
    result->stages = run->stages;
    if (run->config.cluster.floors) {
        result->floors = (struct result_floors){
            .disk = run->config.cluster.durable ? cluster->floor.disk_ns : NULL,
            .client_echo = run->echo_ns,
            .peer_echo = cluster->floor.peer_echo_ns,
            .commit = run->slice.floor_load.response,
            .write_pages = cluster->floor.write_pages,
        };
    }
    struct replica_write_profile sum = profile_sum(run);
    result->writes = sum.writes - run->profile.writes;
    result->write_pages = sum.pages - run->profile.pages;
    result->writes_in_flight =
        result->writes > 0
            ? (double)(sum.in_flight_sum - run->profile.in_flight_sum) / (double)result->writes
            : 0;
    result->config.durable = is_durable(run);
    result->config.registered = cluster_local_is_registered(cluster);
    result->verified = run->verifies;
    result->verify_by = "log files";
    if (run->verifies) {
        result->verify = verify_finish(&run->verify);
    }
}

static int run_slices(struct run *run, struct fault *fault)
{
    int result = find_leader(run, fault);
    if (result != 0) {
        return result;
    }
    warm_up(run);
    while (run->load_ns < run->config.duration_ns && !is_interrupted(run) && result == 0) {
        uint64_t left_ns = run->config.duration_ns - run->load_ns;
        run->load_ns += load_slice(run, left_ns < SLICE_NS ? left_ns : SLICE_NS);
        verify_slice(run);
        if (slice_floor_is_due(&run->slice, run->load_ns >= run->config.duration_ns)) {
            floor_slice(run);
        }
        result = check_replicas(run, fault);
    }
    load_finish(&run->slice.load);
    if (result == 0) { /* What a replica without a disk lacks would never come. */
        settle(run);
        verify_slice(run);
        result = check_replicas(run, fault);
    }
    return result;
}

struct run *run_open(void)
{
    return calloc(1, sizeof(struct run));
}

int run_execute(struct run *run,
                const struct run_config *config,
                const volatile sig_atomic_t *interrupted,
                struct result *result,
                struct fault *fault)
{
    ASSERT(config->duration_ns > 0);
    run->config = *config;
    run->slice = (struct slice){.interrupted = interrupted,
                                .record_bytes = config->record_bytes,
                                .is_full = is_full,
                                .context = run};
    if (cluster_local_open(&run->cluster, &config->cluster, stderr, fault) != 0) {
        return fault->code;
    }
    if (config->client_cpu >= 0 && core_pin(config->client_cpu) != 0) {
        fault_set(
            fault, FAULT_ENVIRONMENT,
            "cannot run on CPU %d: it does not exist or is not allowed to this process; choose "
            "others with --cpu",
            config->client_cpu);
        return FAULT_ENVIRONMENT;
    }
    int code = open_memory(run, fault);
    if (code == 0) {
        code = open_verify(run, fault);
    }
    if (code != 0) {
        return code;
    }
    fprintf(stderr, "client and verifier:\n");
    mem_print(&run->mem, stderr);
    mem_seal(&run->mem);
    uint64_t total_bytes =
        cluster_local_memory_bytes(&run->cluster) + run->mem.bytes + sizeof(struct run);
    fprintf(stderr, "%-32s %10s   %10s   %14" PRIu64 "\n", "memory of the whole run", "", "",
            total_bytes);
    int fd = nic_wait_fd(run->cluster.ports.nics[config->cluster.node_count]);
    idle_init(&run->slice.idle, config->cluster.idle, &fd, 1,
              config->client_exclusive && idle_thread_has_one_cpu());
    code = run_slices(run, fault);
    if (code == 0) {
        fill_result(run, result);
    }
    return code;
}

void run_close(struct run *run)
{
    if (run->verifies) {
        verify_close(&run->verify);
    }
    if (run->cluster.config.node_count > 0) {
        cluster_local_close(&run->cluster, !run->config.keep_files);
    }
    if (run->mem.base != NULL) {
        mem_close(&run->mem);
    }
    free(run);
}
