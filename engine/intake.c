/* intake.c: client requests -> entries. See intake.h.
 *
 * Invariant: an open slot stands at the log's end, and holds records when it is left.
 */
#include "engine/intake.h"

#include <string.h>

_Static_assert((CLIENT_RUNS_MAX & (CLIENT_RUNS_MAX - 1)) == 0, "run = number & (max - 1)");

uint64_t intake_memory_bytes(void)
{
    return CLIENT_RUNS_MAX * sizeof(struct intake_run) + staging_memory_bytes() + PAGE_BYTES;
}

void intake_init(struct intake *intake, struct mem *mem)
{
    *intake = (struct intake){0};
    intake->runs = mem_take(mem, "client runs", CLIENT_RUNS_MAX, sizeof(struct intake_run), 64);
    staging_init(&intake->staging, mem);
}

void intake_reset(struct intake *intake)
{
    intake->slot = NULL;
    intake->body_bytes = 0;
    intake->record_count = 0;
    intake->session_record_count = 0;
    intake->run_head = intake->run_tail;
    staging_reset(&intake->staging);
}

/* ---- Answers. ---- */

static void answer(const struct intake_context *context, const struct intake_run *run)
{
    struct wire_frame frame = {.header = context->header};
    frame.header.kind = run->is_open ? WIRE_OPEN_REPLY : WIRE_REPLY;
    frame.header.to = 0;
    frame.header.to_boot = run->client_boot;
    frame.header.term = 0;
    frame.header.token = run->token;
    if (run->is_open) {
        frame.open_reply = run->open;
        frame.open_reply.leader = raft_leader(context->raft);
    } else {
        frame.reply = run->reply;
        frame.reply.leader = raft_leader(context->raft);
    }
    outbox_put(context->outbox, run->address, &frame);
    context->counters->replies++;
}

/* Nothing was taken: that needs nobody's commit. */
static void
refuse(const struct intake_context *context, struct intake_run run, enum wire_status status)
{
    struct replica_counters *counters = context->counters;
    counters->busy += status == WIRE_BUSY;
    counters->full += status == WIRE_FULL;
    counters->not_leader += status == WIRE_NOT_LEADER;
    if (run.is_open) {
        run.open = (struct wire_open_reply){.status = (uint8_t)status};
    } else {
        run.reply.status = (uint8_t)status;
    }
    answer(context, &run);
}

/* Answer when everything that is at the tail now is committed. */
static void
settle(struct intake *intake, const struct intake_context *context, const struct intake_run *run)
{
    uint64_t index = raft_last(context->raft).index + (intake->slot != NULL ? 1 : 0);
    if (index <= raft_commit_index(context->raft)) {
        answer(context, run);
        return;
    }
    ASSERT(intake->run_tail - intake->run_head < CLIENT_RUNS_MAX);
    struct intake_run *waiting = &intake->runs[intake->run_tail++ & (CLIENT_RUNS_MAX - 1)];
    *waiting = *run;
    waiting->index = index;
}

/* ---- The open entry. ---- */

static bool gate_is_open(const struct intake *intake, const struct intake_context *context)
{
    uint64_t flying = raft_last(context->raft).index - raft_commit_index(context->raft);
    uint32_t half = entry_body_bytes_max(ENTRY_PAGES_MAX) / 2;
    uint32_t most = intake->body_bytes > half ? UNCOMMITTED_MAX : UNCOMMITTED_MIN;
    return flying < most;
}

bool intake_is_ripe(const struct intake *intake, const struct intake_context *context)
{
    return intake->slot != NULL && gate_is_open(intake, context);
}

/* Whether an entry of clients would lie beyond what the smallest log holds. */
static bool log_is_used_up(const struct intake_context *context)
{
    uint64_t end = context->log->end_position + ENTRY_BYTES_MAX;
    return end + LOG_RESERVE_BYTES > context->space_position;
}

bool intake_is_full(const struct intake_context *context)
{
    return log_is_used_up(context) && !context->trims;
}

/* Claim the slot behind the log's end for a new open entry. */
static enum wire_status open_entry(struct intake *intake, const struct intake_context *context)
{
    struct log *log = context->log;
    uint64_t end = log->end_position + ENTRY_BYTES_MAX;
    if (log_is_used_up(context)) {
        return intake_is_full(context) ? WIRE_FULL : WIRE_BUSY; /* Busy: a trim makes room soon. */
    }
    if (end + LOG_RESERVE_BYTES > context->durable_position + log->ring_bytes) {
        return WIRE_BUSY;
    }
    uint64_t flying = raft_last(context->raft).index - raft_commit_index(context->raft);
    if (flying + 1 > UNCOMMITTED_CLIENT_MAX) {
        return WIRE_BUSY; /* The gate has long been closed; hand-overs have sealed beyond it. */
    }
    intake->slot = log_place(log, log->end_position, ENTRY_BYTES_MAX, context->durable_position);
    if (intake->slot == NULL) {
        return WIRE_BUSY; /* What is there is still being sent. */
    }
    intake->opened_ns = context->now_ns;
    return WIRE_OK;
}

/* What something may take of the open entry, at most. */
struct need {
    uint32_t bytes;
    uint32_t session_records;
};

static bool entry_has_room(const struct intake *intake, struct need need)
{
    return intake->body_bytes + need.bytes <= entry_body_bytes_max(ENTRY_PAGES_MAX) &&
           intake->session_record_count + need.session_records <= ENTRY_SESSION_RECORDS_MAX;
}

/* Whether records of clients may be taken at all now, and so many bytes of them. */
static enum wire_status
may_take(struct intake *intake, const struct intake_context *context, struct need need)
{
    if (!raft_is_leader(context->raft)) {
        return WIRE_NOT_LEADER;
    }
    if (context->closed || !raft_takes_proposals(context->raft)) {
        return WIRE_BUSY;
    }
    /* The answers of one request: a run each that its session keeps, and both ends. */
    if (intake->run_tail - intake->run_head + REQUEST_ANSWERS_MAX > CLIENT_RUNS_MAX) {
        return WIRE_BUSY;
    }
    if (!entry_has_room(intake, need)) {
        return WIRE_BUSY;
    }
    return WIRE_OK;
}

/* Put one record that is no append into the open entry. */
static void
put_record(struct intake *intake, const struct record_header *header, const void *payload)
{
    static const uint8_t zeros[8];
    ASSERT(intake->slot != NULL);
    ASSERT(header->kind != RECORD_APPEND);
    uint32_t whole_bytes = record_body_bytes(header->bytes);
    uint32_t used_bytes = RECORD_HEADER_BYTES + header->bytes;
    entry_body_write(intake->slot, intake->body_bytes, header, sizeof *header);
    entry_body_write(intake->slot, intake->body_bytes + RECORD_HEADER_BYTES, payload,
                     header->bytes);
    entry_body_write(intake->slot, intake->body_bytes + used_bytes, zeros,
                     whole_bytes - used_bytes);
    intake->body_bytes += whole_bytes;
    intake->session_record_count++;
}

/* ---- Requests. ---- */

/* What is left to decide of a whole request, whose records are checked. */
struct request {
    struct intake_run run; /* As every answer to it begins. */
    uint64_t session;
    uint64_t sequence;
    uint64_t expected_offset;
    uint32_t epoch;
    uint32_t count;
    bool conditional;
    const uint8_t *records;
    uint32_t bytes;
};

static uint64_t tail_offset(const struct intake *intake, const struct intake_context *context)
{
    return context->log->next_offset + intake->record_count;
}

/* One fate for the next `count` records: answer them, and step over them. */
static void decide(struct intake *intake,
                   const struct intake_context *context,
                   struct request *request,
                   uint32_t count,
                   struct wire_reply reply)
{
    ASSERT(count > 0);
    ASSERT(count <= request->count);
    reply.session = request->session;
    reply.first_sequence = request->sequence;
    reply.record_count = count;
    struct intake_run run = request->run;
    run.reply = reply;
    settle(intake, context, &run);
    if (count == request->count) {
        request->count = 0;
        return; /* All that is left, as nearly always: nothing to step over. */
    }
    for (uint32_t i = 0; i < count; i++) {
        struct record_header record;
        memcpy(&record, request->records, sizeof record);
        request->records += record_body_bytes(record.bytes);
        request->bytes -= record_body_bytes(record.bytes);
    }
    request->sequence += count;
    request->expected_offset += count; /* The condition is the first record's; these follow it. */
    request->count -= count;
}

/* The rest of the request goes into the open entry. */
static void
append_records(struct intake *intake, const struct intake_context *context, struct request *request)
{
    uint64_t offset = tail_offset(intake, context);
    entry_body_write(intake->slot, intake->body_bytes, request->records, request->bytes);
    intake->body_bytes += request->bytes;
    intake->record_count += request->count;
    context->counters->request_records += request->count;
    if (request->session != 0) {
        intake->session_record_count += request->count;
        struct session_note note = {
            .index = raft_last(context->raft).index + 1,
            .session = request->session,
            .sequence = request->sequence,
            .offset = offset,
            .count = request->count,
            .kind = RECORD_APPEND,
        };
        sessions_take(context->sessions, &note);
    }
    decide(intake, context, request, request->count,
           (struct wire_reply){.status = WIRE_OK, .first_offset = offset});
}

/* The condition does not hold. A session's numbers are consumed by that, which the log must tell;
 * without a session the record only proves that whoever says so leads: a leader that has lost its
 * office without knowing may have another tail. */
static void refuse_condition(struct intake *intake,
                             const struct intake_context *context,
                             struct request *request)
{
    uint64_t tail = tail_offset(intake, context);
    struct session_refused body = {.tail_offset = tail, .count = request->count};
    struct record_header header = {
        .bytes = sizeof body,
        .kind = RECORD_REFUSED,
        .session = request->session,
        .sequence = request->sequence,
    };
    put_record(intake, &header, &body);
    if (request->session != 0) {
        struct session_note note = {
            .index = raft_last(context->raft).index + 1,
            .session = request->session,
            .sequence = request->sequence,
            .offset = tail,
            .count = request->count,
            .kind = RECORD_REFUSED,
        };
        sessions_take(context->sessions, &note);
    }
    context->counters->conditions_failed++;
    decide(intake, context, request, request->count,
           (struct wire_reply){.status = WIRE_CONDITION, .detail = tail});
}

/* Records that are new: append them if they may be. */
static void
take_new(struct intake *intake, const struct intake_context *context, struct request *request)
{
    bool holds = !request->conditional || request->expected_offset == tail_offset(intake, context);
    if (intake->slot == NULL) {
        enum wire_status status = open_entry(intake, context);
        if (status != WIRE_OK) {
            request->run.reply.first_sequence = request->sequence;
            request->run.reply.record_count = request->count;
            refuse(context, request->run, status);
            return;
        }
    }
    if (holds) {
        append_records(intake, context, request);
    } else {
        refuse_condition(intake, context, request);
    }
}

/* The sessions' word to the next records of a request. */
static void take_session_records(struct intake *intake,
                                 const struct intake_context *context,
                                 struct request *request)
{
    struct session_claim claim = {
        .session = request->session,
        .sequence = request->sequence,
        .epoch = request->epoch,
        .count = request->count,
    };
    struct session_decision decision = sessions_decide(context->sessions, &claim);
    uint64_t log_end = context->log->end_position + intake->body_bytes;
    if (decision.verdict == SESSION_UNKNOWN && request->session >= log_end) {
        decision.verdict = SESSION_AHEAD; /* Its registration lies beyond this log. */
    }
    struct wire_reply reply = {.status = WIRE_OK};
    switch (decision.verdict) {
    case SESSION_NEW:
        take_new(intake, context, request);
        request->count = 0;
        return;
    case SESSION_GAP: /* No promise, only a hint: it needs nobody's commit. */
        request->run.reply.first_sequence = request->sequence;
        request->run.reply.record_count = request->count;
        request->run.reply.detail = decision.next_sequence;
        refuse(context, request->run, WIRE_GAP);
        context->counters->gaps++;
        request->count = 0;
        return;
    case SESSION_OLD:
        reply.first_offset = decision.offset;
        context->counters->repeated_records += decision.count;
        break;
    case SESSION_REFUSED:
        reply.status = WIRE_CONDITION;
        reply.detail = decision.offset;
        context->counters->repeated_records += decision.count;
        break;
    case SESSION_FORGOTTEN:
        reply.status = WIRE_FORGOTTEN;
        context->counters->repeated_records += decision.count;
        break;
    case SESSION_FENCED:
        reply.status = WIRE_FENCED;
        reply.detail = decision.next_sequence;
        context->counters->fenced++;
        break;
    case SESSION_AHEAD: /* Who says so may lead no more; whoever leads knows. */
        request->run.reply.first_sequence = request->sequence;
        request->run.reply.record_count = request->count;
        refuse(context, request->run, WIRE_BUSY);
        request->count = 0;
        return;
    case SESSION_UNKNOWN:
        reply.status = WIRE_NO_SESSION;
        context->counters->sessions_unknown++;
        break;
    }
    decide(intake, context, request, decision.count, reply);
}

/* Decide a whole request. */
static void take_request(struct intake *intake,
                         const struct intake_context *context,
                         struct request *request,
                         struct need need)
{
    bool has_session = request->session != 0;
    request->run.reply = (struct wire_reply){.session = request->session,
                                             .first_sequence = request->sequence,
                                             .record_count = request->count};
    enum wire_status status = may_take(intake, context, need);
    if (status != WIRE_OK) {
        refuse(context, request->run, status);
        return;
    }
    if (!has_session) {
        take_new(intake, context, request);
        return;
    }
    while (request->count > 0) {
        take_session_records(intake, context, request);
    }
}

/* True when the open entry must be sealed before so much more goes in, and may be. */
static bool
must_seal_first(const struct intake *intake, const struct intake_context *context, struct need need)
{
    /* The office may have been lost in this very burst: then the request is refused anyway. */
    return !entry_has_room(intake, need) && raft_takes_proposals(context->raft) &&
           intake_is_ripe(intake, context);
}

/* The records of a request, or the refusal of them, which is larger than the smallest one. */
static struct need request_need(const struct wire_request *request)
{
    struct need need = {.bytes = request->request_bytes,
                        .session_records = request->session != 0 ? request->record_count : 0};
    uint32_t refusal_bytes = record_body_bytes(sizeof(struct session_refused));
    if (request->conditional) {
        need.bytes = need.bytes < refusal_bytes ? refusal_bytes : need.bytes;
        need.session_records = need.session_records == 0 ? 1 : need.session_records;
    }
    return need;
}

bool intake_request(struct intake *intake,
                    const struct intake_context *context,
                    const struct wire_frame *frame,
                    struct nic_address from)
{
    const struct wire_request *asked = &frame->request;
    struct need need = request_need(asked);
    if (must_seal_first(intake, context, need)) {
        return false;
    }
    struct request request = {
        .run = {.client_boot = frame->header.from_boot,
                .token = frame->header.token,
                .address = from},
        .session = asked->session,
        .sequence = asked->first_sequence,
        .expected_offset = asked->expected_offset,
        .epoch = asked->epoch,
        .count = asked->record_count,
        .conditional = asked->conditional,
        .records = frame->payload,
        .bytes = asked->request_bytes,
    };
    context->counters->requests++;
    if (frame->payload_bytes < asked->request_bytes) {
        request.records = staging_put(&intake->staging, frame, context->now_ns);
        if (request.records == NULL ||
            !wire_records_check(request.records, asked->request_bytes, asked)) {
            return true;
        }
    }
    take_request(intake, context, &request, need);
    return true;
}

/* ---- Sessions. ---- */

/* Put the registration into the log; `session` is the one of before, or NULL. */
static struct wire_open_reply register_session(struct intake *intake,
                                               const struct intake_context *context,
                                               const struct wire_frame *frame,
                                               const struct session *session)
{
    struct session_register body = {
        .session = session != NULL ? session->id : context->log->end_position + intake->body_bytes,
        .owner = frame->header.from_store,
        .epoch = session != NULL ? session->epoch + 1 : 1,
        .name_bytes = frame->open.name_bytes,
    };
    memcpy(body.name, frame->open.name, sizeof body.name);
    struct record_header header = {.bytes = sizeof body, .kind = RECORD_REGISTER};
    put_record(intake, &header, &body);
    struct session_note note = {
        .index = raft_last(context->raft).index + 1,
        .session = body.session,
        .owner = body.owner,
        .epoch = body.epoch,
        .kind = RECORD_REGISTER,
        .name_bytes = body.name_bytes,
    };
    memcpy(note.name, body.name, sizeof note.name);
    struct wire_open_reply reply = {
        .session = body.session,
        .next_sequence = session != NULL ? session->next_sequence : 1,
        .epoch = body.epoch,
        .status = WIRE_OK,
    };
    sessions_take(context->sessions, &note);
    context->counters->sessions_registered++;
    return reply;
}

bool intake_open(struct intake *intake,
                 const struct intake_context *context,
                 const struct wire_frame *frame,
                 struct nic_address from)
{
    struct need need = {.bytes = record_body_bytes(sizeof(struct session_register)),
                        .session_records = 1};
    if (must_seal_first(intake, context, need)) {
        return false;
    }
    struct intake_run run = {
        .client_boot = frame->header.from_boot,
        .token = frame->header.token,
        .address = from,
        .is_open = true,
    };
    enum wire_status status = may_take(intake, context, need);
    if (status != WIRE_OK) {
        refuse(context, run, status);
        return true;
    }
    const struct session *session = sessions_named(
        context->sessions, frame->open.name, frame->open.name_bytes, frame->header.from_store);
    uint32_t epoch = session != NULL ? session->epoch : 0;
    if (session != NULL && session->owner == frame->header.from_store) {
        run.open = (struct wire_open_reply){.session = session->id,
                                            .next_sequence = session->next_sequence,
                                            .epoch = epoch,
                                            .status = WIRE_OK};
    } else if (epoch != frame->open.epoch || epoch == UINT32_MAX) { /* No epoch is used twice. */
        run.open = (struct wire_open_reply){.epoch = epoch, .status = WIRE_FENCED};
    } else {
        status = intake->slot == NULL ? open_entry(intake, context) : WIRE_OK;
        if (status != WIRE_OK) {
            refuse(context, run, status);
            return true;
        }
        run.open = register_session(intake, context, frame, session);
    }
    settle(intake, context, &run);
    return true;
}

/* ---- Entries. ---- */

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
        .commit_index = raft_commit_index(context->raft),
    };
}

const uint8_t *intake_seal(struct intake *intake, const struct intake_context *context)
{
    ASSERT(intake->slot != NULL);
    ASSERT(intake->body_bytes > 0);
    ASSERT(intake->slot == log_slot(context->log, context->log->end_position));
    struct entry_header header = next_header(context);
    header.kind = ENTRY_CLIENT;
    header.body_bytes = intake->body_bytes;
    header.record_count = intake->record_count;
    header.session_record_count = intake->session_record_count;
    entry_seal(intake->slot, &header);
    const uint8_t *entry = intake->slot;
    intake->slot = NULL;
    intake->body_bytes = 0;
    intake->record_count = 0;
    intake->session_record_count = 0;
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
    if (log->end_position + bytes > context->make_position) {
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
        answer(context, run);
        intake->run_head++;
        count++;
    }
    return count;
}
