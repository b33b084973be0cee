/* verify.c: the log files against the acknowledgements.
 *
 * Invariant: runs [first_run, next_run) are in the order of their offsets and do not overlap; every
 * file has passed all runs below first_run.
 */
#include "bench/verify.h"

#include "engine/base/assert.h"
#include "engine/client/client.h"
#include "storage/disk_uring.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t verify_memory_bytes(uint32_t node_count)
{
    ASSERT(node_count <= VOTERS_MAX);
    uint64_t each = RECOVER_BUFFER_BYTES + disk_uring_memory_bytes() + RECORD_BYTES_MAX +
                    VERIFY_WINDOW / 8 + 4 * PAGE_BYTES;
    return node_count * each + VERIFY_RUNS_MAX * sizeof(struct verify_run) + RECORD_BYTES_MAX +
           4 * PAGE_BYTES;
}

/* What a node needs to judge records. */
static void take_tables(struct verify_node *node, struct mem *mem)
{
    node->payload = mem_take(mem, "verify: one record", 1, RECORD_BYTES_MAX, 64);
    node->seen = mem_take(mem, "verify: sequences seen", 1, VERIFY_WINDOW / 8, 64);
}

static int open_node(struct verify *verify,
                     struct mem *mem,
                     uint32_t number,
                     const struct verify_log *log,
                     struct fault *fault)
{
    struct verify_node *node = &verify->nodes[number];
    uint8_t *buffer = mem_take(mem, "verify: read buffer", 1, RECOVER_BUFFER_BYTES, PAGE_BYTES);
    take_tables(node, mem);
    struct disk_uring_config config = {.path = log->path, .access = DISK_ACCESS_READ_SHARED};
    node->disk = log->disk;
    if (node->disk == NULL) {
        int result = disk_uring_open(&node->disk, mem, &config, fault);
        node->owned = result == 0;
        if (result != 0) {
            return result;
        }
    }
    struct scan_log scan = {
        .disk = node->disk,
        .geometry = log->geometry,
        .cluster = verify->config.cluster,
        .store = log->store,
        .epoch = UINT64_MAX, /* A live log: every epoch counts. */
        .cut_position = UINT64_MAX,
        .limit = log->geometry.ring_bytes,
        .chunk_bytes = VERIFY_CHUNK_BYTES,
    };
    scan_init(&node->scan, &scan, buffer, log->from.position, log->from.last);
    node->next_offset = log->from.offset;
    return 0;
}

int verify_open(struct verify *verify,
                struct mem *mem,
                const struct verify_config *config,
                const struct verify_log *logs,
                struct fault *fault)
{
    ASSERT(config->node_count > 0);
    ASSERT(config->node_count <= VOTERS_MAX);
    ASSERT(config->record_bytes <= RECORD_BYTES_MAX);
    *verify = (struct verify){.config = *config};
    verify->runs = mem_take(mem, "verify: runs of acknowledgements", VERIFY_RUNS_MAX,
                            sizeof(struct verify_run), 64);
    verify->expected = mem_take(mem, "verify: expected record", 1, RECORD_BYTES_MAX, 64);
    if (logs == NULL) {
        ASSERT(config->node_count == 1);
        take_tables(&verify->nodes[0], mem);
        return 0;
    }
    for (uint32_t i = 0; i < config->node_count; i++) {
        int result = open_node(verify, mem, i, &logs[i], fault);
        if (result != 0) {
            verify_close(verify);
            return result;
        }
    }
    return 0;
}

static struct verify_run *run_at(struct verify *verify, uint64_t number)
{
    ASSERT(number >= verify->first_run);
    ASSERT(number < verify->next_run);
    return &verify->runs[number & (VERIFY_RUNS_MAX - 1)];
}

bool verify_is_filling(const struct verify *verify)
{
    return verify->next_run - verify->first_run > VERIFY_RUNS_MAX / 2;
}

/* Put a new run where its offset belongs: replies may overtake each other, though hardly ever. */
static void insert_run(struct verify *verify, const struct verify_run *run)
{
    ASSERT(verify->next_run - verify->first_run < VERIFY_RUNS_MAX);
    uint64_t place = verify->next_run++;
    while (place > verify->first_run) {
        const struct verify_run *before = run_at(verify, place - 1);
        if (before->closed || before->first_offset < run->first_offset) {
            break;
        }
        *run_at(verify, place) = *before;
        place--;
    }
    *run_at(verify, place) = *run;
}

void verify_acked(struct verify *verify,
                  uint64_t first_sequence,
                  uint64_t first_offset,
                  uint32_t count)
{
    ASSERT(count > 0);
    verify->result.acked += count;
    if (verify->next_run > verify->first_run) {
        struct verify_run *last = run_at(verify, verify->next_run - 1);
        bool follows = first_sequence == last->first_sequence + last->count &&
                       first_offset == last->first_offset + last->count;
        if (follows && !last->closed && last->count <= UINT32_MAX - count) {
            last->count += count;
            return;
        }
    }
    struct verify_run run = {
        .first_sequence = first_sequence, .first_offset = first_offset, .count = count};
    insert_run(verify, &run);
}

static void complain(struct verify_node *node, const char *what, uint64_t position, uint64_t offset)
{
    if (node->why[0] == '\0') {
        snprintf(node->why, sizeof(node->why), "%s (position %" PRIu64 ", offset %" PRIu64 ")",
                 what, position, offset);
    }
}

static bool seen_test_and_set(struct verify_node *node, uint64_t sequence)
{
    uint64_t *word = &node->seen[(sequence & (VERIFY_WINDOW - 1)) / 64];
    uint64_t bit = 1ull << (sequence % 64);
    bool seen = (*word & bit) != 0;
    *word |= bit;
    return seen;
}

/* Sequences rise along the log, with gaps where requests were refused. */
static void check_order(struct verify_node *node, uint64_t sequence)
{
    if (sequence >= node->newest) {
        uint64_t gap = sequence - node->newest;
        for (uint64_t i = 0; i <= gap && i < VERIFY_WINDOW; i++) {
            uint64_t between = node->newest + i;
            node->seen[(between & (VERIFY_WINDOW - 1)) / 64] &= ~(1ull << (between % 64));
        }
        node->newest = sequence + 1;
        bool seen = seen_test_and_set(node, sequence);
        ASSERT(!seen);
        return;
    }
    bool old = node->newest - sequence > VERIFY_WINDOW;
    if (!old && seen_test_and_set(node, sequence)) {
        node->duplicated++;
        complain(node, "a record stands twice", node->scan.position, node->next_offset);
    } else {
        node->out_of_order++;
        complain(node, "a record is out of order", node->scan.position, node->next_offset);
    }
}

/* The acknowledgement of this offset, if there is one, must name this sequence. */
static void check_acknowledged(struct verify *verify, uint32_t number, uint64_t sequence)
{
    struct verify_node *node = &verify->nodes[number];
    while (node->run < verify->next_run) {
        struct verify_run *run = run_at(verify, node->run);
        if (node->in_run == run->count) {
            run->closed = true;
            node->run++;
            node->in_run = 0;
            continue;
        }
        uint64_t offset = run->first_offset + node->in_run;
        if (offset > node->next_offset) {
            return; /* Nobody was told of this record. */
        }
        node->in_run++;
        if (offset == node->next_offset && run->first_sequence + node->in_run - 1 == sequence) {
            return;
        }
        run->missing[number]++;
        complain(node, "an acknowledged record is not at its offset", node->scan.position, offset);
        if (offset == node->next_offset) {
            return;
        }
    }
}

static bool
content_is_ours(struct verify *verify, uint64_t sequence, const uint8_t *payload, uint32_t bytes)
{
    if (bytes != verify->config.record_bytes) {
        return false;
    }
    client_fill_payload(verify->config.payload_seed, sequence, verify->expected, bytes);
    return memcmp(payload, verify->expected, bytes) == 0;
}

/* The record at node->next_offset. */
static void check_record(struct verify *verify,
                         uint32_t number,
                         uint64_t sequence,
                         const uint8_t *payload,
                         uint32_t bytes)
{
    struct verify_node *node = &verify->nodes[number];
    bool ours = content_is_ours(verify, sequence, payload, bytes);
    if (!ours && !verify->config.shared) {
        node->damaged++;
        complain(node, "a record is not as it was sent", node->scan.position, node->next_offset);
    }
    if (ours || !verify->config.shared) {
        check_order(node, sequence);
        check_acknowledged(verify, number, sequence);
    } else {
        node->foreign++;
        check_acknowledged(verify, number, UINT64_MAX); /* No sequence of ours. */
    }
    node->next_offset++;
    node->records++;
}

static void check_entry(struct verify *verify, uint32_t number, const uint8_t *entry)
{
    struct verify_node *node = &verify->nodes[number];
    const struct entry_header *header = entry_header_of(entry);
    if (header->first_offset != node->next_offset) {
        complain(node, "offsets are not consecutive", header->position, header->first_offset);
        node->damaged++;
    }
    if (header->kind != ENTRY_CLIENT) {
        return;
    }
    node->entries++;
    node->pages += header->pages;
    uint32_t cursor = 0;
    uint32_t payload_offset = 0;
    struct record_header record;
    while (entry_append_next(entry, &cursor, &record, &payload_offset)) {
        entry_body_read(entry, payload_offset, node->payload, record.bytes);
        check_record(verify, number, record.sequence, node->payload, record.bytes);
    }
}

/* Whatever a file was not read for, up to this run, it does not have. */
static void miss_runs(struct verify *verify, uint32_t number, uint64_t end)
{
    struct verify_node *node = &verify->nodes[number];
    for (; node->run < end; node->run++) {
        struct verify_run *run = run_at(verify, node->run);
        run->missing[number] += run->count - node->in_run;
        run->closed = true;
        node->in_run = 0;
    }
}

/* Forget the runs that every file has passed. */
static void drop_passed(struct verify *verify)
{
    uint64_t passed = verify->next_run;
    for (uint32_t i = 0; i < verify->config.node_count; i++) {
        bool counts = !verify->nodes[i].forsaken && verify->nodes[i].run < passed;
        passed = counts ? verify->nodes[i].run : passed;
    }
    for (uint32_t i = 0; i < verify->config.node_count; i++) {
        if (verify->nodes[i].forsaken) {
            miss_runs(verify, i, passed);
        }
    }
    uint32_t quorum =
        verify->config.quorum > 0 ? verify->config.quorum : verify->config.node_count / 2 + 1;
    for (; verify->first_run < passed; verify->first_run++) {
        const struct verify_run *run = run_at(verify, verify->first_run);
        /* Lost is what the quorum-th best file misses: more files than can fail miss it. */
        uint32_t lost = run->count;
        for (uint32_t i = 0; i < verify->config.node_count; i++) {
            uint32_t as_good = 0;
            for (uint32_t j = 0; j < verify->config.node_count; j++) {
                as_good += run->missing[j] <= run->missing[i];
            }
            if (as_good >= quorum && run->missing[i] < lost) {
                lost = run->missing[i];
            }
        }
        verify->result.lost += lost;
    }
}

/* Entries up to a position and an index. False: the next one is not there. */
static bool
scan_up_to(struct verify *verify, uint32_t number, uint64_t end_position, uint64_t end_index)
{
    struct verify_node *node = &verify->nodes[number];
    uint64_t begin = node->scan.position;
    bool found = true;
    while (found && node->scan.position < end_position && node->scan.last.index < end_index) {
        const uint8_t *entry = NULL;
        found = scan_next(&node->scan, &entry) == SCAN_ENTRY;
        if (found) {
            check_entry(verify, number, entry);
        }
    }
    node->bytes_read += node->scan.position - begin;
    drop_passed(verify);
    return found;
}

void verify_scan(struct verify *verify,
                 uint32_t node_number,
                 uint64_t start_position,
                 uint64_t end_position)
{
    ASSERT(node_number < verify->config.node_count);
    struct verify_node *node = &verify->nodes[node_number];
    ASSERT(start_position <= node->scan.position);
    node->scan.log.limit = start_position + node->scan.log.geometry.ring_bytes;
    node->scan.buffer_bytes = 0; /* Read before the log grew: pages behind its end are stale. */
    if (!scan_up_to(verify, node_number, end_position, UINT64_MAX)) {
        complain(node, node->scan.why != NULL ? node->scan.why : "the log ends too early",
                 node->scan.position, node->next_offset);
    }
}

bool verify_advance(struct verify *verify,
                    uint32_t node_number,
                    uint64_t start_position,
                    uint64_t end_index)
{
    ASSERT(node_number < verify->config.node_count);
    struct verify_node *node = &verify->nodes[node_number];
    ASSERT(!node->forsaken);
    if (start_position > node->scan.position) {
        return false; /* Trimmed before it was read. */
    }
    node->scan.log.limit = start_position + node->scan.log.geometry.ring_bytes;
    node->scan.buffer_bytes = 0;
    return scan_up_to(verify, node_number, UINT64_MAX, end_index);
}

void verify_forsake(struct verify *verify, uint32_t node_number)
{
    ASSERT(node_number < verify->config.node_count);
    verify->nodes[node_number].forsaken = true;
    drop_passed(verify);
}

void verify_record(struct verify *verify,
                   uint64_t offset,
                   uint64_t sequence,
                   const uint8_t *payload,
                   uint32_t bytes)
{
    struct verify_node *node = &verify->nodes[0];
    ASSERT(offset >= node->next_offset);
    node->next_offset = offset;
    check_record(verify, 0, sequence, payload, bytes);
    node->bytes_read += bytes;
    if (node->run > verify->first_run) {
        drop_passed(verify);
    }
}

uint64_t verify_end_offset(const struct verify *verify)
{
    if (verify->next_run == verify->first_run) {
        return 0;
    }
    const struct verify_run *last = &verify->runs[(verify->next_run - 1) & (VERIFY_RUNS_MAX - 1)];
    return last->first_offset + last->count;
}

uint32_t verify_mean_pages(const struct verify *verify)
{
    uint64_t entries = 0;
    uint64_t pages = 0;
    for (uint32_t i = 0; i < verify->config.node_count; i++) {
        entries += verify->nodes[i].entries;
        pages += verify->nodes[i].pages;
    }
    uint64_t mean = entries > 0 ? (pages + entries / 2) / entries : 1;
    ASSERT(mean <= ENTRY_PAGES_MAX);
    return mean < 1 ? 1 : (uint32_t)mean;
}

uint64_t verify_position(const struct verify *verify)
{
    uint64_t position = UINT64_MAX;
    for (uint32_t i = 0; i < verify->config.node_count; i++) {
        const struct verify_node *node = &verify->nodes[i];
        bool behind = !node->forsaken && node->scan.position < position;
        position = behind ? node->scan.position : position;
    }
    return position;
}

struct verify_result verify_finish(struct verify *verify)
{
    for (uint32_t i = 0; i < verify->config.node_count; i++) {
        miss_runs(verify, i, verify->next_run);
    }
    drop_passed(verify);
    struct verify_result *result = &verify->result;
    for (uint32_t i = 0; i < verify->config.node_count; i++) {
        const struct verify_node *node = &verify->nodes[i];
        result->duplicated =
            node->duplicated > result->duplicated ? node->duplicated : result->duplicated;
        result->out_of_order =
            node->out_of_order > result->out_of_order ? node->out_of_order : result->out_of_order;
        result->damaged = node->damaged > result->damaged ? node->damaged : result->damaged;
        result->records = node->records > result->records ? node->records : result->records;
        result->foreign = node->foreign > result->foreign ? node->foreign : result->foreign;
        result->bytes_read += node->bytes_read;
        if (result->why == NULL && node->why[0] != '\0') {
            result->why = node->why;
        }
    }
    return *result;
}

void verify_close(struct verify *verify)
{
    for (uint32_t i = 0; i < verify->config.node_count; i++) {
        if (verify->nodes[i].owned) {
            (void)disk_close_unless_busy(verify->nodes[i].disk);
            verify->nodes[i].owned = false;
        }
    }
}
