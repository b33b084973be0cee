/* intake.c: client requests -> entries. See intake.h.
 *
 * Invariant: a slot is open exactly while it holds records, at the log's end.
 */
#include "engine/intake.h"

#include <string.h>

_Static_assert((CLIENT_RUNS_MAX & (CLIENT_RUNS_MAX - 1)) == 0, "run = number & (max - 1)");

uint64_t intake_memory_bytes(void)
{
    return CLIENT_RUNS_MAX * sizeof(struct intake_run) + CLIENT_STAGING_MAX * ENTRY_BYTES_MAX +
           2ull * PAGE_BYTES;
}

void intake_init(struct intake *intake, struct mem *mem)
{
    *intake = (struct intake){0};
    intake->runs = mem_take(mem, "client runs", CLIENT_RUNS_MAX, sizeof(struct intake_run), 64);
    uint8_t *bytes =
        mem_take(mem, "client staging", CLIENT_STAGING_MAX, ENTRY_BYTES_MAX, PAGE_BYTES);
    for (uint32_t i = 0; i < CLIENT_STAGING_MAX; i++) {
        intake->stagings[i].bytes = bytes + (uint64_t)i * ENTRY_BYTES_MAX;
    }
}

void intake_reset(struct intake *intake)
{
    intake->slot = NULL;
    intake->body_bytes = 0;
    intake->record_count = 0;
    intake->run_head = intake->run_tail;
    for (uint32_t i = 0; i < CLIENT_STAGING_MAX; i++) {
        intake->stagings[i].client = 0;
    }
}

static void
answer(const struct intake_context *context, const struct intake_run *run, enum wire_status status)
{
    struct wire_frame frame = {.header = context->header};
    frame.header.kind = WIRE_REPLY;
    frame.header.to = 0;
    frame.header.to_boot = run->client_boot;
    frame.header.term = 0;
    frame.header.token = run->token;
    frame.reply = (struct wire_reply){
        .session = run->session,
        .first_sequence = run->first_sequence,
        .first_offset = status == WIRE_OK ? run->first_offset : 0,
        .record_count = run->record_count,
        .status = (uint8_t)status,
        .leader = raft_leader(context->raft),
    };
    outbox_put(context->outbox, run->address, &frame);
    context->counters->replies++;
}

static void count_refusal(const struct intake_context *context, enum wire_status status)
{
    struct replica_counters *counters = context->counters;
    counters->busy += status == WIRE_BUSY;
    counters->full += status == WIRE_FULL;
    counters->not_leader += status == WIRE_NOT_LEADER;
}

static bool gate_is_open(const struct intake *intake, const struct intake_context *context)
{
    uint64_t flying = raft_last(context->raft).index - raft_commit_index(context->raft);
    uint32_t half = entry_body_bytes_max(ENTRY_PAGES_MAX) / 2;
    uint32_t most = intake->body_bytes > half ? UNCOMMITTED_MAX : UNCOMMITTED_MIN;
    return flying < most;
}

bool intake_is_ripe(const struct intake *intake, const struct intake_context *context)
{
    return intake->record_count > 0 && gate_is_open(intake, context);
}

/* Claim the slot behind the log's end for a new open entry. */
static enum wire_status open_entry(struct intake *intake, const struct intake_context *context)
{
    struct log *log = context->log;
    uint64_t end = log->end_position + ENTRY_BYTES_MAX;
    if (end + LOG_RESERVE_BYTES > context->space_position) {
        return WIRE_FULL;
    }
    if (end + LOG_RESERVE_BYTES > context->durable_position + log->ring_bytes) {
        return WIRE_BUSY;
    }
    intake->slot = log_place(log, log->end_position, ENTRY_BYTES_MAX, context->durable_position);
    ASSERT(intake->slot != NULL);
    intake->opened_ns = context->now_ns;
    return WIRE_OK;
}

/* Copy a request's records into the open entry. */
static enum wire_status take_records(struct intake *intake,
                                     const struct intake_context *context,
                                     struct intake_run *run,
                                     const uint8_t *records,
                                     uint32_t bytes)
{
    if (context->closed) {
        return WIRE_BUSY;
    }
    if (!raft_takes_proposals(context->raft)) {
        return raft_is_leader(context->raft) ? WIRE_BUSY : WIRE_NOT_LEADER;
    }
    if (intake->run_tail - intake->run_head == CLIENT_RUNS_MAX) {
        return WIRE_BUSY;
    }
    if (intake->body_bytes + bytes > entry_body_bytes_max(ENTRY_PAGES_MAX)) {
        return WIRE_BUSY;
    }
    if (intake->slot == NULL) {
        enum wire_status status = open_entry(intake, context);
        if (status != WIRE_OK) {
            return status;
        }
    }
    entry_body_write(intake->slot, intake->body_bytes, records, bytes);
    run->index = raft_last(context->raft).index + 1;
    run->first_offset = context->log->next_offset + intake->record_count;
    intake->runs[intake->run_tail++ & (CLIENT_RUNS_MAX - 1)] = *run;
    intake->body_bytes += bytes;
    intake->record_count += run->record_count;
    context->counters->request_records += run->record_count;
    return WIRE_OK;
}

/* The staging of a fragmented request; the one untouched for longest gives way. */
static struct intake_staging *staging_for(struct intake *intake,
                                          const struct intake_context *context,
                                          const struct wire_frame *frame)
{
    struct intake_staging *oldest = &intake->stagings[0];
    for (uint32_t i = 0; i < CLIENT_STAGING_MAX; i++) {
        struct intake_staging *staging = &intake->stagings[i];
        if (staging->client == frame->header.from_store && staging->token == frame->header.token &&
            staging->client_boot == frame->header.from_boot) {
            bool same = staging->request_bytes == frame->request.request_bytes;
            return same ? staging : NULL;
        }
        if (staging->client == 0 ||
            (oldest->client != 0 && staging->touched_ns < oldest->touched_ns)) {
            oldest = staging->client == 0 && oldest->client == 0 ? oldest : staging;
        }
    }
    oldest->client = frame->header.from_store;
    oldest->client_boot = frame->header.from_boot;
    oldest->token = frame->header.token;
    oldest->request_bytes = frame->request.request_bytes;
    oldest->received_bytes = 0;
    oldest->fragment_count = 0;
    oldest->part_bytes = 0;
    oldest->last_bytes = 0;
    oldest->touched_ns = context->now_ns;
    return oldest;
}

/* Keep a fragment. Returns the staging when the request is whole, else NULL. */
static struct intake_staging *
stage(struct intake *intake, const struct intake_context *context, const struct wire_frame *frame)
{
    struct intake_staging *staging = staging_for(intake, context, frame);
    if (staging == NULL || staging->fragment_count == FRAGMENTS_MAX) {
        return NULL;
    }
    for (uint32_t i = 0; i < staging->fragment_count; i++) {
        if (staging->offsets[i] == frame->request.offset) {
            return NULL;
        }
    }
    uint32_t end = frame->request.offset + frame->payload_bytes;
    ASSERT(end <= staging->request_bytes);
    bool last = end == staging->request_bytes;
    uint32_t *size = last ? &staging->last_bytes : &staging->part_bytes;
    if (*size != 0 && *size != frame->payload_bytes) {
        return NULL; /* Of another cut of the request: together they would leave a hole. */
    }
    *size = frame->payload_bytes;
    memcpy(staging->bytes + frame->request.offset, frame->payload, frame->payload_bytes);
    staging->offsets[staging->fragment_count++] = frame->request.offset;
    staging->received_bytes += frame->payload_bytes;
    staging->touched_ns = context->now_ns;
    bool whole = staging->received_bytes == staging->request_bytes &&
                 staging->last_bytes <= staging->part_bytes;
    return whole ? staging : NULL;
}

bool intake_request(struct intake *intake,
                    const struct intake_context *context,
                    const struct wire_frame *frame,
                    struct nic_address from)
{
    bool fits =
        intake->body_bytes + frame->request.request_bytes <= entry_body_bytes_max(ENTRY_PAGES_MAX);
    /* The office may have been lost in this very burst: then the request is refused below. */
    if (!fits && raft_takes_proposals(context->raft) && intake_is_ripe(intake, context)) {
        return false;
    }
    const uint8_t *records = frame->payload;
    context->counters->requests++;
    if (frame->payload_bytes < frame->request.request_bytes) {
        struct intake_staging *staging = stage(intake, context, frame);
        if (staging == NULL) {
            return true;
        }
        records = staging->bytes;
        staging->client = 0;
        if (!wire_records_check(records, staging->request_bytes, &frame->request)) {
            return true;
        }
    }
    struct intake_run run = {
        .session = frame->request.session,
        .first_sequence = frame->request.first_sequence,
        .client_boot = frame->header.from_boot,
        .token = frame->header.token,
        .address = from,
        .record_count = frame->request.record_count,
    };
    enum wire_status status =
        take_records(intake, context, &run, records, frame->request.request_bytes);
    if (status != WIRE_OK) {
        count_refusal(context, status);
        answer(context, &run, status);
    }
    return true;
}

static struct entry_header next_header(const struct intake_context *context)
{
    const struct log *log = context->log;
    struct raft_entry_id last = raft_last(context->raft);
    ASSERT(last.index == log->last.index);
    return (struct entry_header){
        .cluster = context->cluster,
        .term = raft_term(context->raft),
        .index = last.index + 1,
        .previous_term = last.term,
        .position = log->end_position,
        .first_offset = log->next_offset,
        .leader_time_ns = context->now_ns > log->last_time_ns ? context->now_ns : log->last_time_ns,
    };
}

const uint8_t *intake_seal(struct intake *intake, const struct intake_context *context)
{
    ASSERT(intake->slot != NULL);
    ASSERT(intake->record_count > 0);
    ASSERT(intake->slot == log_slot(context->log, context->log->end_position));
    struct entry_header header = next_header(context);
    header.kind = ENTRY_CLIENT;
    header.body_bytes = intake->body_bytes;
    header.record_count = intake->record_count;
    entry_seal(intake->slot, &header);
    const uint8_t *entry = intake->slot;
    intake->slot = NULL;
    intake->body_bytes = 0;
    intake->record_count = 0;
    context->counters->entries_sealed++;
    return entry;
}

const uint8_t *intake_make(const struct intake_context *context,
                           enum entry_kind kind,
                           const void *body,
                           uint32_t body_bytes)
{
    struct log *log = context->log;
    uint32_t bytes = entry_pages(body_bytes) * PAGE_BYTES;
    if (log->end_position + bytes > context->own_space_position) {
        return NULL;
    }
    uint8_t *slot = log_place(log, log->end_position, bytes, context->durable_position);
    if (slot == NULL) {
        return NULL;
    }
    struct entry_header header = next_header(context);
    header.kind = (uint8_t)kind;
    header.body_bytes = body_bytes;
    if (body_bytes > 0) {
        entry_body_write(slot, 0, body, body_bytes);
    }
    entry_seal(slot, &header);
    context->counters->entries_sealed++;
    return slot;
}

uint32_t intake_commit(struct intake *intake, const struct intake_context *context, uint64_t index)
{
    uint32_t count = 0;
    while (intake->run_head != intake->run_tail) {
        const struct intake_run *run = &intake->runs[intake->run_head & (CLIENT_RUNS_MAX - 1)];
        if (run->index > index) {
            break;
        }
        answer(context, run, WIRE_OK);
        intake->run_head++;
        count++;
    }
    return count;
}
