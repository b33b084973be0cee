/* cluster_local.c: open and close a cluster in one process.
 *
 * Invariant: what stands in the struct was opened or made, so that cluster_local_close() can be
 * called after any failure.
 */
#define _DEFAULT_SOURCE
#include "bench/cluster_local.h"

#include "engine/base/assert.h"
#include "engine/cli/make_log.h"
#include "engine/wire.h"
#include "storage/disk_memory.h"
#include "storage/disk_uring.h"
#include "storage/format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CLUSTER_ELECTION_MIN 150000000u
#define CLUSTER_ELECTION_MAX 300000000u
#define CLUSTER_HEARTBEAT    15000000u
#define CLUSTER_DISK_STALL   1000000000u
#define CLUSTER_CLOSE_NAPS   2000u /* Of 1 ms. */
#define CLUSTER_SEGMENTS     64u   /* About so many in a log, if they are not too small then. */

/* Segments small enough that retention is held closely. */
static uint64_t segment_bytes_for(uint64_t log_bytes)
{
    uint64_t bytes = SEGMENT_BYTES_DEFAULT;
    while (bytes > SEGMENT_BYTES_MIN && bytes * CLUSTER_SEGMENTS > log_bytes) {
        bytes /= 2;
    }
    return bytes;
}

uint64_t cluster_retention_max(uint64_t log_bytes)
{
    struct geometry geometry;
    bool fits =
        geometry_fit(&geometry, log_bytes, segment_bytes_for(log_bytes), WRITE_WINDOW_BYTES);
    return fits ? geometry_retention_max(&geometry) : 0;
}

static uint32_t replica_poll_task(void *context, uint64_t now_ns)
{
    struct cluster_node *node = context;
    uint32_t work = replica_poll(node->replica, now_ns);
    struct cluster_progress *progress = &node->progress;
    uint64_t published_ns = atomic_load_explicit(&progress->ns, memory_order_relaxed);
    if (now_ns - published_ns >= CLUSTER_PUBLISH_NS) {
        struct replica_status status;
        replica_status(node->replica, &status);
        atomic_store_explicit(&progress->commit_position, status.commit_position,
                              memory_order_relaxed);
        atomic_store_explicit(&progress->leads,
                              status.role == RAFT_LEADER && status.takes_proposals,
                              memory_order_relaxed);
        atomic_store_explicit(&progress->ns, now_ns, memory_order_release);
    }
    return work;
}

static int replica_open_task(void *context, uint64_t now_ns, struct fault *fault)
{
    struct cluster_node *node = context;
    atomic_store_explicit(&node->progress.ns, now_ns, memory_order_relaxed);
    return replica_open(node->replica, now_ns, fault);
}

static bool replica_working_task(const void *context)
{
    const struct cluster_node *node = context;
    return replica_is_working(node->replica);
}

static uint64_t replica_deadline_task(const void *context)
{
    const struct cluster_node *node = context;
    return replica_deadline_ns(node->replica);
}

static void replica_stop_task(void *context)
{
    struct cluster_node *node = context;
    replica_stop(node->replica);
}

static bool replica_stopped_task(const void *context)
{
    const struct cluster_node *node = context;
    return replica_is_stopped(node->replica);
}

/* On the loop's thread, which owns the disk: take what is still in flight, and close. */
static void replica_close_task(void *context)
{
    struct cluster_node *node = context;
    struct disk_done done[DISK_QUEUE_MAX];
    for (uint32_t i = 0; i < CLUSTER_CLOSE_NAPS && node->disk->in_flight > 0; i++) {
        struct timespec nap = {.tv_nsec = 1000000};
        (void)nanosleep(&nap, NULL);
        (void)disk_poll(node->disk, done, DISK_QUEUE_MAX);
    }
    if (node->disk->in_flight == 0) { /* Otherwise it hangs, and the process must end without it. */
        disk_close(node->disk);
    }
    node->disk = NULL;
}

static void replica_config_fill(const struct cluster_local *cluster,
                                uint32_t number,
                                struct replica_config *config)
{
    *config = (struct replica_config){
        .cluster = cluster->cluster,
        .group = CLUSTER_GROUP,
        .self = cluster->addresses[number].id,
        .node_count = cluster->config.node_count,
        .election_min_ns = CLUSTER_ELECTION_MIN,
        .election_max_ns = CLUSTER_ELECTION_MAX,
        .heartbeat_ns = CLUSTER_HEARTBEAT,
        .catchup_bytes_per_s = CATCHUP_BYTES_PER_S,
        .scrub_bytes_per_s = SCRUB_BYTES_PER_S,
        .scrub_every_ns = SCRUB_EVERY_NS,
        .disk_stall_ns = CLUSTER_DISK_STALL,
        .log_memory_bytes = cluster->config.log_memory_bytes,
        .retention_bytes = cluster->config.retention_bytes,
        .seed = cluster->config.seed * NODES_MAX + number,
    };
    memcpy(config->nodes, cluster->addresses,
           cluster->config.node_count * sizeof(cluster->addresses[0]));
}

/* Room at a port for every frame of the load that may be under way, and as much again for the
 * replicas': what does not fit is lost, as on any network, and never answered. */
static uint32_t slots_for(uint32_t frames_max)
{
    ASSERT(frames_max <= CLUSTER_FRAMES_MAX);
    uint32_t slots = NIC_RING_SLOTS;
    while (slots < CLUSTER_SLOTS_MAX && slots < 2 * frames_max) {
        slots *= 2;
    }
    ASSERT(slots >= 2 * frames_max);
    return slots;
}

static int open_nics(struct cluster_local *cluster, struct fault *fault)
{
    const struct cluster_local_config *config = &cluster->config;
    struct ports_config ports = {
        .spec = config->net,
        .node_count = config->node_count,
        .slots = slots_for(config->frames_max),
        .frame_bytes_min = wire_head_bytes(WIRE_ENTRY) + FRAGMENT_BYTES_MIN,
        .eal_argc = config->eal_argc,
        .eal_argv = config->eal_argv,
    };
    int result = ports_open(&cluster->ports, &ports, fault);
    for (uint32_t i = 0; i <= config->node_count; i++) {
        cluster->addresses[i].id = (uint8_t)(i < config->node_count ? i + 1 : 0);
        cluster->addresses[i].address = cluster->ports.addresses[i];
    }
    return result;
}

/* A formatted log file of this node, and a file for the floor beside it. */
static int make_files(struct cluster_local *cluster, uint32_t number, struct fault *fault)
{
    struct cluster_node *node = &cluster->nodes[number];
    int length =
        snprintf(node->folder, sizeof(node->folder), "%s/n%u", cluster->config.folder, number + 1);
    bool fits = length > 0 && (size_t)length < sizeof(node->folder);
    length = snprintf(node->floor_path, sizeof(node->floor_path), "%s/n%u/floor",
                      cluster->config.folder, number + 1);
    fits = fits && length > 0 && (size_t)length < sizeof(node->floor_path);
    if (!fits || !make_log_path(node->folder, node->path, sizeof(node->path))) {
        fault_set(fault, FAULT_ENVIRONMENT, "the name of the folder %.64s... is too long",
                  cluster->config.folder);
        return -ENAMETOOLONG;
    }
    node->store = make_log_random_id();
    struct format_config format = {
        .cluster = cluster->cluster,
        .store = node->store,
        .node = cluster->addresses[number].id,
        .segment_bytes = segment_bytes_for(cluster->config.log_bytes),
    };
    (void)unlink(node->floor_path); /* Of an earlier run that was killed. */
    int result = make_log(node->folder, cluster->config.log_bytes, &format, false, fault);
    node->made = result == 0;
    bool fit = geometry_fit(&node->geometry, cluster->config.log_bytes, format.segment_bytes,
                            WRITE_WINDOW_BYTES);
    ASSERT(fit || result != 0);
    if (result == 0 && cluster->config.floors) {
        result = disk_uring_create(node->floor_path, CLUSTER_FLOOR_BYTES, fault);
    }
    return result;
}

static int open_disk(struct cluster_local *cluster, uint32_t number, struct fault *fault)
{
    struct cluster_node *node = &cluster->nodes[number];
    if (cluster->config.durable) {
        struct disk_uring_config disk = {.path = node->path,
                                         .access = DISK_ACCESS_WRITE,
                                         .region = node->mem.base,
                                         .region_bytes = node->mem.bytes};
        return disk_uring_open(&node->disk, &node->mem, &disk, fault);
    }
    node->disk = disk_memory_open(&node->mem, cluster->config.log_bytes);
    node->store = make_log_random_id();
    struct format_config format = {
        .cluster = cluster->cluster,
        .store = node->store,
        .node = cluster->addresses[number].id,
        .segment_bytes = segment_bytes_for(cluster->config.log_bytes),
    };
    uint8_t *page = mem_take(&node->mem, "format: one page", 1, PAGE_BYTES, PAGE_BYTES);
    return storage_format(node->disk, &format, page, &node->geometry, fault);
}

static int open_node(struct cluster_local *cluster, uint32_t number, struct fault *fault)
{
    struct cluster_node *node = &cluster->nodes[number];
    struct replica_config replica;
    replica_config_fill(cluster, number, &replica);
    uint64_t bytes = replica_memory_bytes(&replica) + 4 * PAGE_BYTES;
    bytes += cluster->config.durable ? disk_uring_memory_bytes()
                                     : disk_memory_memory_bytes(cluster->config.log_bytes);
    if (number == 0) {
        bytes += floor_memory_bytes();
    }
    int result = mem_open(&node->mem, bytes);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "no memory for a replica: %" PRIu64 " MiB are needed for each; lower --log-size",
                  bytes >> 20);
        return result;
    }
    result = open_disk(cluster, number, fault);
    if (result != 0) {
        return result;
    }
    node->replica = replica_create(&node->mem, &replica, cluster->ports.nics[number], node->disk);
    return 0;
}

static void add_sets(struct cluster_local *cluster)
{
    struct core_set replicas = {0};
    struct core_set floors = {0};
    for (uint32_t i = 0; i < cluster->config.node_count; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        replicas.tasks[replicas.task_count++] = (struct core_task){
            .context = node,
            .open = replica_open_task,
            .poll = replica_poll_task,
            .is_working = replica_working_task,
            .deadline_ns = replica_deadline_task,
            .stop = replica_stop_task,
            .is_stopped = replica_stopped_task,
            .close = replica_close_task,
        };
        replicas.fds[replicas.fd_count++] = nic_wait_fd(cluster->ports.nics[i]);
        replicas.fds[replicas.fd_count++] = disk_wait_fd(node->disk);
        cluster->floor.nodes[i].path = node->floor_path;
        floors.tasks[floors.task_count++] = (struct core_task){
            .context = &cluster->floor.nodes[i],
            .open = floor_open,
            .poll = floor_poll,
            .is_working = floor_is_working,
            .deadline_ns = floor_deadline_ns,
            .close = floor_close,
        };
        floors.fds[floors.fd_count++] = nic_wait_fd(cluster->ports.nics[i]);
    }
    cluster->replicas_set = core_add_set(&cluster->core, &replicas);
    if (cluster->config.floors) {
        cluster->floor_set = core_add_set(&cluster->core, &floors);
    }
}

/* The floor's tables stand with the first replica, which leads its rounds. */
static void print_memory(const struct cluster_local *cluster, FILE *out)
{
    uint32_t node_count = cluster->config.node_count;
    fprintf(out, "replica 1, with the floor of all:\n");
    mem_print(&cluster->nodes[0].mem, out);
    if (node_count > 1) {
        fprintf(out, "each of %u other replicas:\n", node_count - 1);
        mem_print(&cluster->nodes[1].mem, out);
    }
    fprintf(out, "%-32s %10u x %10" PRIu64 " = %14" PRIu64 "\n", "ports: rings and buffers",
            node_count + 1, cluster->ports.bytes / (node_count + 1), cluster->ports.bytes);
}

uint64_t cluster_local_memory_bytes(const struct cluster_local *cluster)
{
    uint64_t bytes = cluster->ports.bytes;
    for (uint32_t i = 0; i < cluster->config.node_count; i++) {
        bytes += cluster->nodes[i].mem.bytes;
    }
    return bytes;
}

static int start_core(struct cluster_local *cluster, FILE *memory_out, struct fault *fault)
{
    struct floor_config floor = {
        .node_count = cluster->config.node_count,
        .client = cluster->addresses[cluster->config.node_count].address,
        .durable = cluster->config.durable,
        .file_bytes = CLUSTER_FLOOR_BYTES,
    };
    for (uint32_t i = 0; i < floor.node_count; i++) {
        floor.nics[i] = cluster->ports.nics[i];
        floor.addresses[i] = cluster->addresses[i].address;
    }
    floor_init(&cluster->floor, &cluster->nodes[0].mem, &floor);
    struct core_config core = {
        .cpu = cluster->config.cpu,
        .idle = cluster->config.idle,
        .exclusive_core = cluster->config.exclusive_core,
        .enter = ports_enter(cluster->ports.kind),
        .leave = ports_leave(cluster->ports.kind),
    };
    core_init(&cluster->core, &core);
    add_sets(cluster);
    for (uint32_t i = 0; i < cluster->config.node_count; i++) {
        mem_seal(&cluster->nodes[i].mem);
    }
    print_memory(cluster, memory_out);
    int result = core_start(&cluster->core, fault);
    cluster->started = result == 0;
    return result;
}

int cluster_local_open(struct cluster_local *cluster,
                       const struct cluster_local_config *config,
                       FILE *memory_out,
                       struct fault *fault)
{
    ASSERT(config->node_count >= 1);
    ASSERT(config->node_count <= VOTERS_MAX);
    ASSERT(!config->durable || config->folder != NULL);
    *cluster = (struct cluster_local){.config = *config, .cluster = make_log_random_id()};
    int result = 0;
    for (uint32_t i = 0; i < config->node_count; i++) {
        cluster->addresses[i].id = (uint8_t)(i + 1);
        if (config->durable && result == 0) {
            result = make_files(cluster, i, fault);
        }
    }
    if (result == 0) {
        result = open_nics(cluster, fault);
    }
    for (uint32_t i = 0; i < config->node_count && result == 0; i++) {
        result = open_node(cluster, i, fault);
    }
    return result == 0 ? start_core(cluster, memory_out, fault) : result;
}

int cluster_local_leader(struct cluster_local *cluster)
{
    for (uint32_t i = 0; i < cluster->config.node_count; i++) {
        if (atomic_load_explicit(&cluster->nodes[i].progress.leads, memory_order_relaxed) != 0) {
            return (int)i;
        }
    }
    return -1;
}

uint64_t cluster_local_commit_position(struct cluster_local *cluster)
{
    uint64_t furthest = 0;
    for (uint32_t i = 0; i < cluster->config.node_count; i++) {
        uint64_t position =
            atomic_load_explicit(&cluster->nodes[i].progress.commit_position, memory_order_relaxed);
        furthest = position > furthest ? position : furthest;
    }
    return furthest;
}

bool cluster_local_is_even(struct cluster_local *cluster, uint64_t since_ns)
{
    for (uint32_t i = 0; i < cluster->config.node_count; i++) {
        if (atomic_load_explicit(&cluster->nodes[i].progress.ns, memory_order_acquire) < since_ns) {
            return false;
        }
    }
    uint64_t furthest = cluster_local_commit_position(cluster);
    for (uint32_t i = 0; i < cluster->config.node_count; i++) {
        if (atomic_load_explicit(&cluster->nodes[i].progress.commit_position,
                                 memory_order_relaxed) != furthest) {
            return false;
        }
    }
    return true;
}

bool cluster_local_is_registered(const struct cluster_local *cluster)
{
    bool registered = cluster->config.durable;
    for (uint32_t i = 0; i < cluster->config.node_count; i++) {
        registered = registered && cluster->nodes[i].disk->registered;
    }
    return registered;
}

static void remove_files(struct cluster_node *node)
{
    if (node->made) {
        (void)unlink(node->path);
        (void)rmdir(node->folder);
        node->made = false;
    }
}

void cluster_local_close(struct cluster_local *cluster, bool remove)
{
    if (cluster->started) {
        core_stop(&cluster->core);
        cluster->started = false;
    }
    for (uint32_t i = 0; i < cluster->config.node_count; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        if (node->disk != NULL) {
            disk_close(node->disk);
            node->disk = NULL;
        }
        if (node->made && cluster->config.floors) {
            (void)unlink(node->floor_path);
        }
        if (remove) {
            remove_files(node);
        }
        if (node->mem.base != NULL) {
            mem_close(&node->mem);
        }
    }
    ports_close(&cluster->ports);
}
