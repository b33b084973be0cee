/* verdict.c: see verdict.h. */
#include "tests/crash/verdict.h"

#include "engine/base/entry.h"
#include "tests/crash/payload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char verdict_lost[] = "an acknowledged record is not at a majority";
const char verdict_electable[] = "a node without an acknowledged record can be elected";

static int ack_compare(const void *a, const void *b)
{
    const struct journal_ack *left = a;
    const struct journal_ack *right = b;
    return (left->clock > right->clock) - (left->clock < right->clock);
}

static _Noreturn void die(const char *what, const char *path)
{
    fprintf(stderr, "replay: %s: %s\n", what, path);
    exit(3);
}

void known_load(struct known *known, const char *path)
{
    FILE *in = fopen(path, "rb");
    known->acks = calloc(VERDICT_OFFSETS_MAX, sizeof known->acks[0]);
    if (in == NULL || known->acks == NULL) {
        die("cannot read", path);
    }
    known->ack_count = fread(known->acks, sizeof known->acks[0], VERDICT_OFFSETS_MAX, in);
    if (known->ack_count == 0 || known->ack_count == VERDICT_OFFSETS_MAX) {
        die("no acknowledgement, or more than there is room for", path);
    }
    (void)fclose(in);
    for (uint64_t i = 0; i < known->ack_count; i++) {
        const struct journal_ack *ack = &known->acks[i];
        if (ack->offset >= VERDICT_OFFSETS_MAX || known->records[ack->offset].sequence != 0) {
            die("an offset that is too high, or two records' own", path);
        }
        known->records[ack->offset].sequence = ack->sequence;
        known->records[ack->offset].clock = ack->clock;
    }
    qsort(known->acks, known->ack_count, sizeof known->acks[0], ack_compare);
}

void known_learn(struct known *known, const uint8_t *data, uint32_t bytes)
{
    for (uint32_t at = 0; at < bytes; at += PAGE_BYTES) {
        const struct entry_header *header = entry_header_of(data + at);
        if (entry_header_check(header, known->cluster) != NULL) {
            continue;
        }
        for (uint32_t i = 0; i < header->record_count; i++) {
            uint64_t offset = header->first_offset + i;
            if (offset < VERDICT_OFFSETS_MAX && known->records[offset].id.term < header->term) {
                known->records[offset].id =
                    (struct log_id){.term = header->term, .index = header->index};
            }
        }
    }
}

void owed_raise(struct owed *owed, uint64_t clock)
{
    const struct known *known = owed->known;
    owed->clock = clock;
    for (; owed->ack_next < known->ack_count; owed->ack_next++) {
        const struct journal_ack *ack = &known->acks[owed->ack_next];
        if (ack->clock > clock) {
            break;
        }
        if (ack->offset >= owed->offset) {
            owed->offset = ack->offset + 1;
            owed->id = known->records[ack->offset].id;
        }
    }
}

/* One disk. */

struct reading {
    const struct owed *owed;
    struct finding *finding;
    bool begun;
    uint64_t first_offset;
};

static void take_record(struct reading *reading,
                        const uint8_t *entry,
                        const struct record_header *record,
                        uint32_t payload_offset)
{
    static uint64_t words[PAYLOAD_BYTES_MAX / PAYLOAD_WORD_BYTES + 1];
    struct finding *finding = reading->finding;
    uint64_t offset = finding->next_offset++;
    uint64_t sequence = 0;
    if (record->bytes > PAYLOAD_BYTES_MAX || offset >= VERDICT_OFFSETS_MAX) {
        finding->wrong = "a record or an offset that nobody sent";
        return;
    }
    entry_body_read(entry, payload_offset, words, record->bytes);
    if (!payload_is(reading->owed->known->seed, words, record->bytes, &sequence)) {
        finding->wrong = "a record that nobody sent";
        return;
    }
    const struct verdict_record *known = &reading->owed->known->records[offset];
    bool acked = known->sequence != 0 && known->clock <= reading->owed->clock;
    if (acked && known->sequence != sequence && finding->contrary_offset == UINT64_MAX) {
        finding->contrary_offset = offset;
    }
}

static void visit_entry(void *context, const uint8_t *entry)
{
    struct reading *reading = context;
    struct finding *finding = reading->finding;
    const struct entry_header *header = entry_header_of(entry);
    if (!reading->begun) {
        reading->begun = true;
        reading->first_offset = header->first_offset;
        finding->next_offset = header->first_offset;
    }
    if (header->first_offset != finding->next_offset) {
        finding->wrong = "the prefix has a hole in its offsets";
    }
    struct record_header record;
    uint32_t cursor = 0;
    uint32_t payload_offset;
    while (entry_append_next(entry, &cursor, &record, &payload_offset)) {
        take_record(reading, entry, &record, payload_offset);
    }
}

static int recover_once(struct disk_model *model,
                        uint8_t node,
                        struct reading *reading,
                        struct recovery *recovery)
{
    static _Alignas(PAGE_BYTES) uint8_t buffer[RECOVER_BUFFER_BYTES];
    struct fault fault = {0};
    const struct recover_visitor visitor = {.entry = visit_entry, .context = reading};
    const struct recover_config config = {
        .cluster = reading->owed->known->cluster,
        .node = node,
        .buffer = buffer,
        .visitor = &visitor,
    };
    reading->begun = false;
    reading->first_offset = 0;
    reading->finding->next_offset = 0;
    memset(recovery, 0, sizeof *recovery);
    int result = recover(&model->disk, &config, recovery, &fault);
    (void)snprintf(reading->finding->fault, sizeof reading->finding->fault, "%.200s", fault.text);
    return result;
}

static bool same_recovery(const struct recovery *a, const struct recovery *b)
{
    return a->kind == b->kind && a->epoch == b->epoch && a->boot == b->boot && a->term == b->term &&
           a->vote == b->vote && a->end_position == b->end_position &&
           a->durable_position == b->durable_position && a->last.index == b->last.index &&
           a->last.term == b->last.term && a->true_last.index == b->true_last.index &&
           a->true_last.term == b->true_last.term && a->vote_bound.index == b->vote_bound.index &&
           a->vote_bound.term == b->vote_bound.term && a->bad_pages == b->bad_pages &&
           a->next_offset == b->next_offset && strcmp(a->what, b->what) == 0;
}

void verdict_disk(struct disk_model *model,
                  uint8_t node,
                  bool plain,
                  const struct owed *owed,
                  struct finding *finding)
{
    struct recovery again;
    struct reading reading = {.owed = owed, .finding = finding};
    finding->wrong = NULL;
    finding->contrary_offset = UINT64_MAX;
    uint64_t writes = model->write_count;
    int result = recover_once(model, node, &reading, &again);
    int second = recover_once(model, node, &reading, &finding->recovery);
    const struct recovery *found = &finding->recovery;
    if (result != 0) {
        finding->wrong = "recovery refuses the disk";
    } else if (second != 0 || writes != model->write_count || !same_recovery(found, &again)) {
        finding->wrong = "recovery wrote, or changed its mind";
    } else if (plain && !recover_is_whole(found)) {
        finding->wrong = "a plain power cut left a log that is not whole";
    } else if (recover_state_is_bad(found)) {
        finding->wrong = "a power cut took a copy of the small state at the log start";
    } else if (reading.begun && reading.first_offset != found->start.offset) {
        finding->wrong = "the prefix does not begin at the log start";
    } else if (!reading.begun) {
        finding->next_offset = found->start.offset;
    }
    if (finding->wrong == NULL && finding->next_offset != found->next_offset) {
        finding->wrong = "recovery counts other records than it shows";
    }
}

/* All disks. */

static bool id_below(struct log_id a, struct log_id b)
{
    return a.term != b.term ? a.term < b.term : a.index < b.index;
}

/* What a candidate's last entry must at least be for this node's vote. */
static struct log_id vote_bound(const struct recovery *found)
{
    if (recover_is_whole(found)) {
        return found->last;
    }
    return found->tail_unreadable ? found->vote_bound : found->true_last;
}

bool finding_has(const struct finding *finding, const struct owed *owed)
{
    const struct recovery *found = &finding->recovery;
    if (finding->contrary_offset != UINT64_MAX) {
        return false;
    }
    if (finding->next_offset >= owed->offset) {
        return true;
    }
    return !recover_is_whole(found) && !id_below(vote_bound(found), owed->id);
}

/* A node whose log is not whole does not stand. */
static bool can_be_elected(const struct finding *findings, uint32_t count, uint32_t candidate)
{
    const struct recovery *found = &findings[candidate].recovery;
    uint32_t votes = 0;
    for (uint32_t i = 0; i < count; i++) {
        votes += i == candidate || !id_below(found->last, vote_bound(&findings[i].recovery));
    }
    return recover_is_whole(found) && votes > count / 2;
}

const char *verdict_cluster(const struct finding *findings, uint32_t count, const struct owed *owed)
{
    uint32_t there = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (findings[i].wrong != NULL) {
            return findings[i].wrong;
        }
        there += finding_has(&findings[i], owed);
    }
    if (there <= count / 2) {
        return verdict_lost;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct recovery *found = &findings[i].recovery;
        if (!can_be_elected(findings, count, i)) {
            continue;
        }
        if (!finding_has(&findings[i], owed)) {
            return verdict_electable;
        }
        if (found->start.position > 0 &&
            found->end_position - found->start.position < owed->known->retention_bytes) {
            return "less is kept than the retention";
        }
    }
    return NULL;
}
