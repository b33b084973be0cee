/* node.c: see node.h.
 *
 * Invariant: what stands in the struct was opened, so that close_all() can be called after any
 * failure. The disk belongs to the loop's thread from its first submit, so that thread closes it.
 */
#include "engine/node.h"

#include "engine/wire.h"
#include "engine/wire_layout.h"
#include "net/nic_dpdk.h"
#include "net/nic_dpdk_capture.h"
#include "net/nic_dpdk_port.h"
#include "net/nic_socket.h"
#include "storage/disk_memory.h"
#include "storage/disk_posix.h"
#include "storage/disk_survey.h"
#include "storage/disk_uring.h"
#include "storage/format.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#define NODE_LOG_MEMORY_BYTES (4u * 1024u * 1024u)
#define NODE_CLOSE_NAPS       2000u /* Of 1 ms. */

_Static_assert(NODE_LOG_MEMORY_BYTES >= LOG_MEMORY_MIN, "the log's slots fit");
_Static_assert(NODE_LOG_MEMORY_BYTES <= LOG_MEMORY_MAX, "the log's slots are bounded");

/* ---- The task of the loop, on its thread. ---- */

static int task_open(void *context, uint64_t now_ns, struct fault *fault)
{
    struct node *node = context;
    int result = replica_open(node->replica, now_ns, fault);
    struct replica_mending mending;
    replica_mending(node->replica, &mending);
    if (result == 0 && mending.active) {
        fprintf(node->out,
                "node %u does not serve yet: its log is %s; it asks the others for what is gone. "
                "%s\n",
                node->config.self->id, mending.suspect ? "suspect" : "damaged", mending.what);
        atomic_store_explicit(&node->mends, true, memory_order_release);
        node->tell_ns = now_ns + MEND_TELL_NS;
    }
    if (result == 0 && !mending.active) {
        struct replica_status status;
        replica_status(node->replica, &status);
        node->bounded = status.vote_bound.index != 0;
    }
    return result;
}

/* Once in a while: how far it is, and for whom it waits. */
static void tell_mending(const struct node *node, const struct replica_mending *mending)
{
    uint8_t id = node->config.self->id;
    fprintf(node->out,
            "node %u mends its log: %llu entries so far, asks for entry %llu of term %llu", id,
            (unsigned long long)mending->entries, (unsigned long long)mending->wanted.index,
            (unsigned long long)mending->wanted.term);
    const char *before = ", waits for node ";
    for (uint32_t peer = 1; peer <= NODE_ID_MAX; peer++) {
        if ((mending->waits_for >> peer & 1) != 0) {
            fprintf(node->out, "%s%u", before, peer);
            before = ", ";
        }
    }
    fputc('\n', node->out);
}

static void look_there(const struct node *node)
{
    if (node->config.look != NULL) {
        node->config.look();
    }
}

/* Mended, or cut where nobody could mend it. */
static void tell_mended(struct node *node, const struct replica_mending *mending)
{
    uint8_t id = node->config.self->id;
    struct replica_status status;
    replica_status(node->replica, &status);
    node->bounded = status.vote_bound.index != 0;
    if (!node->bounded) {
        fprintf(node->out, "node %u has mended its log: %llu entries\n", id,
                (unsigned long long)mending->entries);
        return;
    }
    fprintf(node->out,
            "node %u serves with a log cut behind index %llu (%llu entries mended): what was above "
            "cannot be read, and no other node can bring it back. Until a leader has, it does not "
            "stand, and votes for nobody whose log ends below entry %llu of term %llu. If every "
            "voter is so, `thole start --discard-suspect` on each gives up what was there\n",
            id, (unsigned long long)status.last_index, (unsigned long long)mending->entries,
            (unsigned long long)status.vote_bound.index,
            (unsigned long long)status.vote_bound.term);
}

/* It has a vote bound that it did not have at its start. */
static void tell_went_back(struct node *node, const struct replica_status *status)
{
    node->bounded = true;
    fprintf(node->out,
            "node %u lacks entries that it had acknowledged, by the word of node %u, which leads: "
            "its disk lied, or is an old copy. Until it has them again it does not stand, and "
            "votes for nobody whose log ends below entry %llu of term %llu. See to its disk, then "
            "start it again: before that, its votes and acks do not count\n",
            node->config.self->id, status->leader, (unsigned long long)status->vote_bound.index,
            (unsigned long long)status->vote_bound.term);
}

static void watch_bound(struct node *node)
{
    struct replica_status status;
    replica_status(node->replica, &status);
    if (status.vote_bound.index == 0) {
        node->bounded = false;
        fprintf(node->out, "node %u has all again that it may have acknowledged\n",
                node->config.self->id);
    }
}

static void watch_mending(struct node *node, uint64_t now_ns)
{
    struct replica_mending mending;
    replica_mending(node->replica, &mending);
    if (!mending.active) {
        tell_mended(node, &mending);
        atomic_store_explicit(&node->mends, false, memory_order_release);
        look_there(node);
    } else if (now_ns >= node->tell_ns) {
        node->tell_ns = now_ns + MEND_TELL_NS;
        tell_mending(node, &mending);
    }
}

static uint32_t task_poll(void *context, uint64_t now_ns)
{
    struct node *node = context;
    uint32_t work = replica_poll(node->replica, now_ns);
    if (UNLIKELY(atomic_load_explicit(&node->mends, memory_order_relaxed))) {
        watch_mending(node, now_ns);
    } else if (UNLIKELY(node->bounded)) {
        watch_bound(node);
    }
    if (work > 0 || atomic_load_explicit(&node->failure, memory_order_relaxed) != 0) {
        return work;
    }
    struct replica_status status;
    replica_status(node->replica, &status);
    if (UNLIKELY(status.vote_bound.index != 0) && !node->bounded) {
        tell_went_back(node, &status);
    }
    if (UNLIKELY(status.failed != 0)) {
        const struct fault *told = replica_fault(node->replica);
        node->fault = told != NULL ? *told : (struct fault){0};
        atomic_store_explicit(&node->failure, status.failed, memory_order_release);
        look_there(node);
    }
    raft_set narrow = atomic_load_explicit(&node->narrow, memory_order_relaxed);
    raft_set wider = narrow | replica_narrow(node->replica);
    if (UNLIKELY(wider != narrow)) {
        atomic_store_explicit(&node->narrow, wider, memory_order_release);
        look_there(node);
    }
    return work;
}

static bool task_is_working(const void *context)
{
    const struct node *node = context;
    return replica_is_working(node->replica);
}

/* A failed replica has no timer any more. */
static uint64_t task_deadline_ns(const void *context)
{
    const struct node *node = context;
    bool failed = atomic_load_explicit(&node->failure, memory_order_relaxed) != 0;
    bool mends = atomic_load_explicit(&node->mends, memory_order_relaxed);
    uint64_t deadline_ns = failed ? UINT64_MAX : replica_deadline_ns(node->replica);
    return mends && node->tell_ns < deadline_ns ? node->tell_ns : deadline_ns;
}

static void task_stop(void *context)
{
    struct node *node = context;
    replica_stop(node->replica);
}

static bool task_is_stopped(const void *context)
{
    const struct node *node = context;
    return replica_is_stopped(node->replica);
}

/* Take what is still in flight, and close. A disk that hangs stays open: its buffers are the
 * kernel's until the process ends. */
static void task_close(void *context)
{
    struct node *node = context;
    struct disk_done done[DISK_QUEUE_MAX];
    for (uint32_t i = 0; i < NODE_CLOSE_NAPS && node->disk->in_flight > 0; i++) {
        struct timespec nap = {.tv_nsec = 1000000};
        (void)nanosleep(&nap, NULL);
        (void)disk_poll(node->disk, done, DISK_QUEUE_MAX);
    }
    if (disk_close_unless_busy(node->disk)) {
        node->disk = NULL;
    }
}

/* ---- Opening. ---- */

static void replica_fill(const struct node_config *config, struct replica_config *replica)
{
    const struct config *cluster = config->cluster;
    *replica = (struct replica_config){
        .cluster = cluster->cluster,
        .group = NODE_GROUP,
        .self = config->self->id,
        .node_count = cluster->node_count,
        .election_min_ns = cluster->election_min_ns,
        .election_max_ns = cluster->election_max_ns,
        .heartbeat_ns = cluster->heartbeat_ns,
        .catchup_bytes_per_s = cluster->catchup_bytes_per_s,
        .scrub_bytes_per_s = cluster->scrub_bytes_per_s,
        .scrub_every_ns = cluster->scrub_every_ns,
        .disk_stall_ns = cluster->disk_stall_ns,
        .log_memory_bytes = NODE_LOG_MEMORY_BYTES,
        .retention_bytes = cluster->retention_bytes,
        .seed = config->seed,
        .accept = config->accept,
    };
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        replica->nodes[i] =
            (struct replica_node){.id = cluster->nodes[i].id, .address = cluster->nodes[i].address};
    }
}

static uint64_t disk_bytes(const struct node_config *config)
{
    if (config->cluster->durability != CONFIG_DSYNC) {
        return disk_memory_memory_bytes(config->cluster->size_bytes);
    }
    return config->posix ? disk_posix_memory_bytes() : disk_uring_memory_bytes();
}

static uint64_t memory_bytes(const struct node_config *config, const struct replica_config *replica)
{
    uint64_t bytes = replica_memory_bytes(replica) + nic_socket_memory_bytes() + 4ull * PAGE_BYTES;
    return bytes + disk_slow_memory_bytes() + disk_bytes(config);
}

uint64_t node_memory_bytes(const struct config *cluster, const struct config_node *self)
{
    struct node_config config = {.cluster = cluster, .self = self};
    struct replica_config replica;
    replica_fill(&config, &replica);
    return memory_bytes(&config, &replica);
}

uint32_t node_frame_bytes_min(void)
{
    return wire_head_bytes(WIRE_ENTRY) + FRAGMENT_BYTES_MIN;
}

static int open_memory(struct node *node, const struct replica_config *replica, struct fault *fault)
{
    const struct config *cluster = node->config.cluster;
    bool durable = cluster->durability == CONFIG_DSYNC;
    uint64_t bytes = memory_bytes(&node->config, replica);
    int result = mem_open(&node->mem, bytes);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory for node %u: it needs %llu MiB%s",
                  node->config.self->id, (unsigned long long)(bytes >> 20),
                  durable ? "" : ", its log included: lower `[storage] size`");
    }
    return result;
}

/* What every frame of this cluster begins with. */
static struct nic_accept accept_of(const struct config *cluster)
{
    static const uint32_t magic = WIRE_MAGIC;
    uint8_t id[sizeof(uint64_t)];
    memcpy(id, &cluster->cluster, sizeof id);
    struct nic_accept accept = {.bytes_min = FRAME_BYTES_MIN, .word_count = 3};
    accept.words[0].offset = offsetof(struct header_layout, magic);
    memcpy(accept.words[0].bytes, &magic, sizeof magic);
    for (uint32_t i = 0; i < 2; i++) {
        struct nic_accept_word *word = &accept.words[1 + i];
        uint32_t at = i * (uint32_t)sizeof word->bytes;
        word->offset = (uint32_t)offsetof(struct header_layout, cluster) + at;
        memcpy(word->bytes, id + at, sizeof word->bytes);
    }
    return accept;
}

static int open_socket(struct node *node, uint32_t frame_bytes_min, struct fault *fault)
{
    const struct config *cluster = node->config.cluster;
    struct nic_address peers[VOTERS_MAX];
    uint32_t peer_count = 0;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (&cluster->nodes[i] != node->config.self) {
            peers[peer_count++] = cluster->nodes[i].address;
        }
    }
    struct nic_socket_config config = {
        .bind = node->config.self->address,
        .accept = accept_of(cluster),
        .peers = peers,
        .peer_count = peer_count,
        .frame_bytes_min = frame_bytes_min,
    };
    return nic_socket_open(&node->nic, &node->mem, &config, fault);
}

static bool is_socket(const struct node *node)
{
    ASSERT(node->config.spec->kind != NIC_RING);
    return node->config.spec->kind == NIC_UDP;
}

static bool has_eal(const struct node *node)
{
    return !is_socket(node) || node->config.pcap != NULL;
}

static int open_nic(struct node *node, struct fault *fault)
{
    uint32_t frame_bytes_min = node_frame_bytes_min();
    if (is_socket(node)) {
        return open_socket(node, frame_bytes_min, fault);
    }
    struct nic_port_config config = {
        .spec = node->config.spec,
        .self = node->config.self->address,
        .accept = accept_of(node->config.cluster),
        .frame_bytes_min = frame_bytes_min,
        .region = {.base = node->mem.base, .bytes = node->mem.bytes},
        .capture = node->config.pcap,
        .eal_argc = node->config.eal_argc,
        .eal_argv = node->config.eal_argv,
    };
    return nic_dpdk_port_open(&node->nic, &config, fault);
}

static void fact_add(struct node *node, const char *name, const char *text, uint64_t value)
{
    ASSERT(node->fact_count < NODE_FACTS_MAX);
    char *copy = node->fact_texts[node->fact_count];
    (void)snprintf(copy, STATS_TEXT_MAX + 1, "%s", text);
    for (char *c = copy; *c != '\0'; c++) { /* A device's arguments are the user's words. */
        *c = *c < ' ' || *c > '~' ? '?' : *c;
    }
    node->facts[node->fact_count++] = (struct wire_item){
        .name = name,
        .text = copy,
        .name_bytes = (uint32_t)strlen(name),
        .text_bytes = (uint32_t)strlen(copy),
        .value = value,
        .kind = WIRE_ITEM_FACT,
    };
}

/* What the port is, for whoever asks while the node serves. */
static void note_facts(struct node *node)
{
    const struct nic_spec *spec = node->config.spec;
    char text[STATS_TEXT_MAX + 1];
    (void)snprintf(text, sizeof text, "%s%s%.50s", nic_kind_name(spec->kind),
                   spec->device[0] == '\0' ? "" : ":", spec->device);
    fact_add(node, "port.spec", text, 0);
    if (is_socket(node)) {
        struct nic_socket_facts facts = nic_socket_facts(node->nic);
        fact_add(node, "port.mtu", "", facts.mtu_bytes);
        fact_add(node, "port.rx_buffer_bytes", "", facts.rx_buffer_bytes);
        fact_add(node, "port.tx_buffer_bytes", "", facts.tx_buffer_bytes);
        return;
    }
    struct nic_port_facts facts = nic_dpdk_port_facts(node->nic);
    (void)snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", facts.mac[0], facts.mac[1],
                   facts.mac[2], facts.mac[3], facts.mac[4], facts.mac[5]);
    fact_add(node, "port.driver", facts.driver, 0);
    fact_add(node, "port.mac", text, 0);
    fact_add(node, "port.mtu", "", facts.mtu);
    fact_add(node, "port.memory_bytes", "", facts.memory_bytes);
}

/* What the port is, beside the memory it took. */
static void print_port(const struct node *node, FILE *out)
{
    if (is_socket(node)) {
        return;
    }
    struct nic_port_facts facts = nic_dpdk_port_facts(node->nic);
    fprintf(out,
            "port %s:%s driver %s mac %02x:%02x:%02x:%02x:%02x:%02x mtu %u, buffers of %llu KiB, "
            "chains %s, fan-out %s\n",
            nic_kind_name(node->config.spec->kind), node->config.spec->device, facts.driver,
            facts.mac[0], facts.mac[1], facts.mac[2], facts.mac[3], facts.mac[4], facts.mac[5],
            facts.mtu, (unsigned long long)(facts.memory_bytes >> 10), facts.chains ? "yes" : "no",
            facts.fan_out);
}

/* What the log is on: what it costs to make a write durable there is the device's to say. */
static void print_disk(const struct node *node, FILE *out)
{
    struct disk_device device;
    char text[DISK_SURVEY_TEXT_BYTES];
    if (node->config.cluster->durability == CONFIG_DSYNC) {
        disk_device_look(&device, node->config.log_path);
        fprintf(out, "disk %s: %s\n", node->config.log_path, disk_device_words(&device, text));
    }
}

/* Without a ring the file is not even opened: the reason, and what could be asked for instead. */
static int open_uring(struct node *node, struct fault *fault)
{
    bool modern;
    int result = disk_uring_probe(&modern, fault);
    if (result != 0) {
        size_t bytes = strlen(fault->text);
        (void)snprintf(fault->text + bytes, sizeof fault->text - bytes,
                       "; or give --io posix, a slower disk that is shown as degraded");
        return result;
    }
    struct disk_uring_config config = {.path = node->config.log_path,
                                       .access = DISK_ACCESS_WRITE,
                                       .region = node->mem.base,
                                       .region_bytes = node->mem.bytes};
    return disk_uring_open(&node->disk, &node->mem, &config, fault);
}

static int open_posix(struct node *node, struct fault *fault)
{
    struct disk_posix_config config = {.path = node->config.log_path, .access = DISK_ACCESS_WRITE};
    return disk_posix_open(&node->disk, &node->mem, &config, fault);
}

static int open_disk(struct node *node, struct fault *fault)
{
    const struct config *cluster = node->config.cluster;
    if (cluster->durability == CONFIG_DSYNC) {
        return node->config.posix ? open_posix(node, fault) : open_uring(node, fault);
    }
    node->disk = disk_memory_open(&node->mem, cluster->size_bytes / PAGE_BYTES * PAGE_BYTES);
    struct format_config format = {
        .cluster = cluster->cluster,
        .store = node->config.store,
        .node = node->config.self->id,
        .segment_bytes = cluster->segment_bytes,
    };
    struct geometry geometry;
    uint8_t *page = mem_take(&node->mem, "format: one page", 1, PAGE_BYTES, PAGE_BYTES);
    return storage_format(node->disk, &format, page, &geometry, fault);
}

/* Before the disk, if that was asked for. */
static int open_slow_disk(struct node *node, struct fault *fault)
{
    if (node->config.slow == NULL) {
        return 0;
    }
    struct disk_slow_config config = {.below = node->disk, .numbers = node->config.slow};
    struct disk *slow = NULL;
    int result = disk_slow_open(&slow, &node->mem, &config, fault);
    node->disk = result == 0 ? slow : node->disk;
    return result;
}

static int start_core(struct node *node, struct fault *fault)
{
    struct core_config config = {
        .cpu = node->config.cpu,
        .idle = node->config.idle,
        .mem = &node->mem,
        .enter = has_eal(node) ? nic_dpdk_thread_enter : NULL,
        .leave = has_eal(node) ? nic_dpdk_thread_leave : NULL,
    };
    struct core_set set = {
        .task_count = 1,
        .tasks = {{
            .context = node,
            .open = task_open,
            .poll = task_poll,
            .is_working = task_is_working,
            .deadline_ns = task_deadline_ns,
            .stop = task_stop,
            .is_stopped = task_is_stopped,
            .close = task_close,
        }},
        .fd_count = 1,
        .fds = {nic_wait_fd(node->nic)},
    };
    if (disk_wait_fd(node->disk) >= 0) {
        set.fds[set.fd_count++] = disk_wait_fd(node->disk);
    } /* Memory completes at the next poll, long before a loop blocks: nothing to wait on. */
    core_init(&node->core, &config);
    uint32_t number = core_add_set(&node->core, &set);
    int result = core_start(&node->core, fault);
    if (result == 0) {
        node->started = true;
        core_select(&node->core, number);
    }
    return result;
}

/* How the capture went, when there was one. */
static void print_capture(const struct node *node, const struct capture_report *report, FILE *out)
{
    fprintf(out, "capture %s: %llu packets in %llu bytes", node->config.pcap->path,
            (unsigned long long)report->written, (unsigned long long)report->file_bytes);
    if (report->dropped_behind > 0) {
        fprintf(out, ", %llu missed while its writer was behind",
                (unsigned long long)report->dropped_behind);
    }
    if (report->error != 0) {
        fprintf(out, ", %llu missed after writing it failed: %s",
                (unsigned long long)report->dropped_full, strerror(report->error));
    } else if (report->dropped_full > 0) {
        fprintf(out, ", %llu missed after it was full: `,size=` allows more",
                (unsigned long long)report->dropped_full);
    }
    fprintf(out, "\n");
}

static void close_capture(struct node *node, FILE *out)
{
    if (node->capture != NULL) {
        struct capture_report report;
        nic_dpdk_capture_close(node->capture, node->nic, &report);
        node->capture = NULL;
        print_capture(node, &report, out);
    }
}

static void close_all(struct node *node)
{
    ASSERT(node->capture == NULL);
    bool closed = node->disk == NULL || disk_close_unless_busy(node->disk);
    node->disk = closed ? NULL : node->disk;
    if (node->nic != NULL) {
        nic_close(node->nic);
        node->nic = NULL;
    }
    if (has_eal(node)) {
        nic_dpdk_stop();
    }
    if (node->mem.base != NULL && closed) {
        mem_close(&node->mem);
    }
}

int node_start(struct node *node,
               const struct node_config *config,
               FILE *memory_out,
               struct fault *fault)
{
    ASSERT(config->self != NULL);
    ASSERT(config->cluster->durability == CONFIG_MEMORY || config->log_path != NULL);
    memset(node, 0, sizeof *node);
    node->config = *config;
    node->out = memory_out;
    struct replica_config replica;
    replica_fill(config, &replica);
    int result = open_memory(node, &replica, fault);
    /* The disk first: who holds the log's lock is this node, and a second one is told so. */
    if (result == 0) {
        result = open_disk(node, fault);
    }
    if (result == 0) {
        result = open_slow_disk(node, fault);
    }
    if (result == 0) {
        result = open_nic(node, fault);
    }
    if (result == 0 && config->pcap != NULL) {
        result = nic_dpdk_capture_open(&node->capture, node->nic, config->pcap, fault);
    }
    if (result == 0) {
        note_facts(node);
        replica.facts = node->facts;
        replica.fact_count = node->fact_count;
        node->replica = replica_create(&node->mem, &replica, node->nic, node->disk);
        mem_print(&node->mem, memory_out);
        print_port(node, memory_out);
        print_disk(node, memory_out);
        result = start_core(node, fault);
    }
    if (result != 0) {
        close_capture(node, memory_out);
        close_all(node);
    }
    return result;
}

bool node_mends(const struct node *node)
{
    return atomic_load_explicit(&node->mends, memory_order_acquire);
}

int node_failure(const struct node *node)
{
    return atomic_load_explicit(&node->failure, memory_order_acquire);
}

void node_narrow(struct node *node, FILE *out)
{
    raft_set narrow = atomic_load_explicit(&node->narrow, memory_order_acquire);
    const struct config *cluster = node->config.cluster;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        uint8_t id = cluster->nodes[i].id;
        if (((narrow & ~node->narrow_told) >> id & 1) != 0) {
            fprintf(out,
                    "frames as large as the ports of node %u and of node %u take do not reach node "
                    "%u: something between them carries less, and smaller ones are sent. Raise the "
                    "MTU of every switch, bridge and card on the way (`ip link set dev IF mtu N`), "
                    "or lower `mtu=` in `[net] spec`; a way that is mended is used by itself\n",
                    node->config.self->id, id, id);
        }
    }
    node->narrow_told |= narrow;
}

/* One line of what is not 0. */
static void print_counters(const struct node *node, FILE *out)
{
    const struct nic_counters *counters = &node->nic->counters;
    uint64_t values[sizeof(*counters) / sizeof(uint64_t)];
    memcpy(values, counters, sizeof values);
    fprintf(out, "port counted:");
    for (uint32_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (values[i] > 0) {
            fprintf(out, " %s %llu", nic_counter_names[i], (unsigned long long)values[i]);
        }
    }
    fprintf(out, "\n");
}

void node_stop(struct node *node, FILE *counters_out)
{
    ASSERT(node->started);
    core_stop(&node->core);
    print_counters(node, counters_out);
    close_capture(node, counters_out);
    node->started = false;
    close_all(node);
}
