/* check_cluster.c: see check_cluster.h. */
#define _DEFAULT_SOURCE
#include "bench/check_cluster.h"

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/entry.h"
#include "engine/cli/health.h"
#include "engine/cli/make_log.h"
#include "storage/disk_uring.h"

#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define UNREAD_PARTS   4u          /* A quarter of the log may be written and not yet read. */
#define RETENTION_PART 2u          /* And half of what its nodes are sure to keep. */
#define COST_MARGIN    2.0         /* Of what a record took last time. */
#define EVEN_WAIT_NS   1000000000u /* For followers to learn of the last commit. */
#define PAUSE_NS       2000000
#define READ_TRIES     100u
#define BACK_WAIT_NS   10000000000ull /* Without a record read back. */

static void pause_a_little(void)
{
    struct timespec time = {.tv_nsec = PAUSE_NS};
    (void)nanosleep(&time, NULL);
}

bool check_address_is_local(struct nic_address address)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address.ipv4)};
    bool bound = bind(fd, (const struct sockaddr *)&local, sizeof(local)) == 0;
    (void)close(fd);
    return bound;
}

static uint32_t quorum_of(const struct check_cluster *check)
{
    return check->config.cluster->node_count / 2 + 1;
}

static void fail(struct check_cluster *check, const char *why)
{
    check->failed = true;
    snprintf(check->why, sizeof(check->why), "%.*s", (int)sizeof(check->why) - 1, why);
}

/* ---- Opening. ---- */

uint64_t check_cluster_memory_bytes(uint32_t node_count)
{
    return verify_memory_bytes(node_count) + node_count * log_file_memory_bytes() +
           RECOVER_BUFFER_BYTES + fetch_memory_bytes() + 4ull * PAGE_BYTES;
}

/* What both durable and committed is at a node. */
static uint64_t settled_index(const struct ask_answer *answer)
{
    const struct wire_status_reply *status = &answer->status;
    return status->commit_index < status->durable_index ? status->commit_index
                                                        : status->durable_index;
}

/* The log file of one node, from its end of this moment on. False: `fault` says why not. */
static bool open_file(struct check_cluster *check,
                      uint32_t place,
                      const struct ask_answer *answer,
                      struct verify_log *log,
                      struct fault *fault)
{
    const struct config_node *node = &check->config.cluster->nodes[place];
    struct log_file *file = &check->files[check->file_count];
    char path[PATH_MAX];
    if (!answer->reachable || !check_address_is_local(node->address)) {
        fault_set(fault, FAULT_ENVIRONMENT, "node %u does not run here", node->id);
        return false;
    }
    if (node->data[0] == '\0' || !make_log_path(node->data, path, sizeof(path))) {
        fault_set(fault, FAULT_ENVIRONMENT, "the configuration names no data of node %u", node->id);
        return false;
    }
    struct log_file_owner owner = {path, check->config.cluster->cluster, node->id};
    if (log_file_open(file, check->mem, &owner, fault) != 0) {
        return false;
    }
    *log = (struct verify_log){.disk = file->disk, .store = file->store};
    log->geometry = file->geometry;
    if (!log_file_find(file, check->buffer, settled_index(answer), &log->from)) {
        fault_set(fault, FAULT_ENVIRONMENT, "%.256s ends before what node %u says", path, node->id);
        log_file_close(file);
        return false;
    }
    check->nodes[check->file_count++] = place;
    return true;
}

static int open_files(struct check_cluster *check,
                      const struct ask_answer *answers,
                      const struct verify_config *config,
                      struct fault *fault)
{
    struct verify_log logs[VOTERS_MAX];
    check->buffer = mem_take(check->mem, "log files: buffer", 1, RECOVER_BUFFER_BYTES, PAGE_BYTES);
    for (uint32_t i = 0; i < check->config.cluster->node_count; i++) {
        struct fault reason = {0};
        if (!open_file(check, i, &answers[i], &logs[check->file_count], &reason)) {
            fprintf(stderr, "no log file to verify by: %s\n", reason.text);
        }
    }
    if (check->file_count < quorum_of(check)) {
        return 0;
    }
    struct verify_config files = *config;
    files.node_count = check->file_count;
    files.quorum = quorum_of(check);
    check->by = CHECK_FILES;
    return verify_open(&check->verify, check->mem, &files, logs, fault);
}

static void take_record(void *context, const struct fetch_record *record)
{
    struct check_cluster *check = context;
    verify_record(&check->verify, record->offset, record->sequence, record->payload, record->bytes);
}

static int open_reads(struct check_cluster *check,
                      const struct verify_config *config,
                      uint64_t end_offset,
                      struct fault *fault)
{
    struct fetch_config fetch = {.take = take_record, .context = check};
    struct verify_config reads = *config;
    reads.node_count = 1;
    check->by = CHECK_READS;
    fetch_init(&check->fetch, check->mem, check->config.client, &fetch, clock_now_ns());
    check->fetch.offset = end_offset;
    return verify_open(&check->verify, check->mem, &reads, NULL, fault);
}

int check_cluster_open(struct check_cluster *check,
                       struct mem *mem,
                       const struct check_cluster_config *config,
                       struct fault *fault)
{
    const struct config *cluster = config->cluster;
    *check = (struct check_cluster){.config = *config, .mem = mem};
    int result = ask_open(&check->ask, cluster, fault);
    if (result != 0) {
        return result;
    }
    check->asking = true;
    struct ask_answer answers[VOTERS_MAX];
    ask_status(&check->ask, ASK_TIMEOUT_NS, answers);
    uint64_t end_offset = 0;
    check->durable = true;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        bool further = answers[i].reachable && answers[i].status.end_offset > end_offset;
        end_offset = further ? answers[i].status.end_offset : end_offset;
        check->durable = check->durable && (!answers[i].reachable || answers[i].status.durable);
    }
    check->record_cost = entry_pages(record_body_bytes(config->record_bytes)) * (double)PAGE_BYTES;
    uint64_t part = cluster->size_bytes / UNREAD_PARTS;
    uint64_t kept = cluster->retention_bytes / RETENTION_PART;
    check->unread_max = kept > 0 && kept < part ? kept : part;
    if (cluster->durability == CONFIG_MEMORY) {
        return 0;
    }
    struct verify_config verify = {.cluster = cluster->cluster,
                                   .payload_seed = config->payload_seed,
                                   .record_bytes = config->record_bytes,
                                   .shared = true};
    result = open_files(check, answers, &verify, fault);
    if (result == 0 && check->by == CHECK_NOTHING) {
        result = open_reads(check, &verify, end_offset, fault);
    }
    return result;
}

struct verify *check_cluster_verify(struct check_cluster *check)
{
    return check->by == CHECK_NOTHING || check->failed ? NULL : &check->verify;
}

/* ---- Reading. ---- */

bool check_cluster_is_full(const struct check_cluster *check, uint64_t next_sequence)
{
    if (check->by == CHECK_NOTHING || check->failed) {
        return false;
    }
    ASSERT(next_sequence >= check->read_sequence);
    double unread = (double)(next_sequence - check->read_sequence) * check->record_cost;
    return unread > (double)check->unread_max || verify_is_filling(&check->verify);
}

/* Ask until every node that answers has what the furthest has committed. */
static void ask_even(struct check_cluster *check, struct ask_answer answers[VOTERS_MAX])
{
    uint64_t begin_ns = clock_now_ns();
    bool even = false;
    while (!even) {
        ask_status(&check->ask, ASK_TIMEOUT_NS, answers);
        uint64_t furthest = 0;
        check->slowed |= health_slowed(check->config.cluster, answers);
        check->posix |= health_posix(check->config.cluster, answers);
        for (uint32_t i = 0; i < check->config.cluster->node_count; i++) {
            bool further = answers[i].reachable && answers[i].status.commit_index > furthest;
            furthest = further ? answers[i].status.commit_index : furthest;
        }
        even = true;
        for (uint32_t i = 0; i < check->config.cluster->node_count; i++) {
            even = even && (!answers[i].reachable || settled_index(&answers[i]) >= furthest);
        }
        if (clock_now_ns() - begin_ns > EVEN_WAIT_NS) {
            return;
        }
        if (!even) {
            pause_a_little();
        }
    }
}

/* One file, up to where its node says that it is committed and durable. */
static bool read_file(struct check_cluster *check, uint32_t number, uint64_t end_index)
{
    struct log_file *file = &check->files[number];
    for (uint32_t i = 0; i < READ_TRIES; i++) {
        bool read = log_file_reload(file) &&
                    verify_advance(&check->verify, number, file->start.position, end_index);
        if (read) {
            return true;
        }
        if (file->start.position > check->verify.nodes[number].scan.position) {
            return false; /* Trimmed. */
        }
        pause_a_little();
    }
    return false;
}

static void forsake(struct check_cluster *check, uint32_t number)
{
    const struct verify_node *node = &check->verify.nodes[number];
    uint32_t id = check->config.cluster->nodes[check->nodes[number]].id;
    const char *why = node->scan.why != NULL ? node->scan.why : "its node does not answer";
    if (check->files[number].start.position > node->scan.position) {
        why = "trimmed before it was read";
    }
    snprintf(check->why, sizeof(check->why), "the log of node %u: %.100s", id, why);
    fprintf(stderr, "%s\n", check->why);
    verify_forsake(&check->verify, number);
}

static void read_files(struct check_cluster *check)
{
    struct ask_answer answers[VOTERS_MAX];
    ask_even(check, answers);
    uint32_t alive = 0;
    for (uint32_t i = 0; i < check->file_count; i++) {
        const struct ask_answer *answer = &answers[check->nodes[i]];
        struct verify_node *node = &check->verify.nodes[i];
        if (node->forsaken) {
            continue;
        }
        check->durable = check->durable && (!answer->reachable || answer->status.durable);
        check->complete[i] = answer->reachable && read_file(check, i, settled_index(answer));
        if (!check->complete[i] && (answer->reachable || verify_is_filling(&check->verify))) {
            forsake(check, i);
            continue;
        }
        alive++;
    }
    check->failed = alive < quorum_of(check);
}

/* What was acknowledged, read back from whoever leads. */
static void read_back(struct check_cluster *check)
{
    struct fetch *fetch = &check->fetch;
    uint64_t end = verify_end_offset(&check->verify);
    if (end <= fetch->offset) {
        return;
    }
    fetch_range(fetch, fetch->offset, end);
    uint64_t began_ns = clock_now_ns();
    uint64_t now_ns = began_ns;
    uint64_t reached = fetch->offset;
    while (!fetch_is_done(fetch) && now_ns - began_ns < BACK_WAIT_NS &&
           *check->config.interrupted == 0) {
        uint32_t work = fetch_poll(fetch, now_ns);
        if (work == 0) {
            (void)sched_yield();
        }
        now_ns = clock_now_ns();
        if (fetch->offset > reached) {
            reached = fetch->offset;
            began_ns = now_ns;
        }
    }
    if (fetch->trimmed) {
        fail(check, "trimmed before it could be read back");
    } else if (!fetch_is_done(fetch)) {
        fail(check, "records could not be read back");
    }
}

void check_cluster_read(struct check_cluster *check, uint64_t next_sequence)
{
    if (check->by == CHECK_NOTHING || check->failed) {
        return;
    }
    uint64_t bytes_before = check->verify.nodes[0].bytes_read;
    if (check->by == CHECK_FILES) {
        read_files(check);
        uint64_t records = next_sequence - check->read_sequence;
        double cost = records == 0 ? 0
                                   : (double)(check->verify.nodes[0].bytes_read - bytes_before) /
                                         (double)records;
        double worst =
            entry_pages(record_body_bytes(check->config.record_bytes)) * (double)PAGE_BYTES;
        bool known = cost > 0 && cost * COST_MARGIN < worst;
        check->record_cost = known ? cost * COST_MARGIN : worst;
    } else {
        read_back(check);
    }
    check->read_sequence = next_sequence;
}

uint32_t check_cluster_write_pages(const struct check_cluster *check)
{
    return check->by == CHECK_FILES ? verify_mean_pages(&check->verify) : 1;
}

/* ---- The end. ---- */

void check_cluster_finish(struct check_cluster *check, struct result *result)
{
    result->config.durable = check->config.cluster->durability == CONFIG_DSYNC && check->durable;
    if (check->by == CHECK_NOTHING) {
        return;
    }
    uint32_t complete = 0;
    for (uint32_t i = 0; i < check->file_count; i++) {
        complete += check->complete[i] && !check->verify.nodes[i].forsaken;
    }
    bool whole = check->by == CHECK_READS || complete >= quorum_of(check);
    result->verify_by = check->by == CHECK_FILES ? "log files" : "reads";
    result->verified = whole && !check->failed;
    if (result->verified) {
        result->verify = verify_finish(&check->verify);
    } else {
        result_invalid(result, "what was acknowledged could not be verified: %.100s",
                       check->why[0] != '\0' ? check->why : "too few nodes answer");
    }
}

void check_cluster_close(struct check_cluster *check)
{
    if (check->asking) {
        ask_close(&check->ask);
    }
    for (uint32_t i = 0; i < check->file_count; i++) {
        log_file_close(&check->files[i]);
    }
}
