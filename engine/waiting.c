/* waiting.c: see waiting.h. */
#include "engine/waiting.h"

static bool same_question(const struct reader_question *one, const struct reader_question *other)
{
    return one->token == other->token && one->client_boot == other->client_boot &&
           one->address.ipv4 == other->address.ipv4 && one->address.port == other->address.port;
}

static bool waits_already(const struct waiting *waiting, const struct reader_question *question)
{
    for (uint32_t i = 0; i < waiting->count; i++) {
        if (same_question(&waiting->reads[i].question, question)) {
            return true;
        }
    }
    return false;
}

static void wait_more(struct waiting *waiting, const struct waiting_read *read)
{
    ASSERT(waiting->count < READ_WAITS_MAX);
    waiting->reads[waiting->count++] = *read;
}

/* The leader's own word is asked for. */
static void request_proof(struct waiting *waiting,
                          const struct waiting_context *context,
                          struct waiting_read *read)
{
    struct raft_event event = {.kind = RAFT_EVENT_READ, .now_ns = context->now_ns};
    bool room = waiting->count < READ_WAITS_MAX && !context->closed;
    read->index = raft_commit_index(context->raft);
    if (!room || raft_step(context->raft, &event) != RAFT_TAKEN) {
        bool leads = raft_is_leader(context->raft);
        context->answers.counters->reads_refused++;
        reader_refuse(&context->answers, &read->question, leads ? WIRE_BUSY : WIRE_NOT_LEADER);
        return;
    }
    read->ticket = raft_read_ticket(context->raft);
    wait_more(waiting, read);
}

void waiting_request(struct waiting *waiting,
                     const struct waiting_context *context,
                     const struct wire_frame *frame,
                     struct nic_address from)
{
    struct waiting_read read = {
        .question = {.read = frame->read,
                     .client_boot = frame->header.from_boot,
                     .token = frame->header.token,
                     .address = from},
        .due_ns = UINT64_MAX,
    };
    if (waits_already(waiting, &read.question)) {
        return;
    }
    if (frame->read.linearizable) {
        request_proof(waiting, context, &read);
    } else if (frame->read.waits && frame->read.offset >= context->answers.committed_offset &&
               waiting->count < READ_WAITS_MAX && !context->closed) {
        read.due_ns = context->now_ns + READ_HOLD_NS;
        context->answers.counters->reads_held++;
        wait_more(waiting, &read);
    } else {
        reader_request(context->reader, &context->answers, &read.question);
    }
}

/* True when it was answered. */
static bool serve_proof(const struct waiting_context *context, const struct waiting_read *read)
{
    struct replica_counters *counters = context->answers.counters;
    switch (raft_read_state(context->raft, read->ticket)) {
    case RAFT_READ_PENDING:
        return false;
    case RAFT_READ_CONFIRMED:
        if (context->applied_index < read->index) {
            return false;
        }
        counters->reads_confirmed++;
        reader_request(context->reader, &context->answers, &read->question);
        return true;
    case RAFT_READ_LOST:
        break;
    }
    counters->reads_lost++;
    reader_refuse(&context->answers, &read->question,
                  raft_is_leader(context->raft) ? WIRE_BUSY : WIRE_NOT_LEADER);
    return true;
}

static bool serve_hold(const struct waiting_context *context, const struct waiting_read *read)
{
    bool committed = read->question.read.offset < context->answers.committed_offset;
    if (!committed && context->now_ns < read->due_ns && !context->closed) {
        return false;
    }
    reader_request(context->reader, &context->answers, &read->question);
    return true;
}

uint32_t waiting_serve(struct waiting *waiting, const struct waiting_context *context)
{
    uint32_t before = waiting->count;
    for (uint32_t i = 0; i < waiting->count;) {
        const struct waiting_read *read = &waiting->reads[i];
        if (read->ticket != 0 ? serve_proof(context, read) : serve_hold(context, read)) {
            waiting->reads[i] = waiting->reads[--waiting->count];
        } else {
            i++;
        }
    }
    return before - waiting->count;
}

uint64_t waiting_deadline_ns(const struct waiting *waiting)
{
    uint64_t deadline_ns = UINT64_MAX;
    for (uint32_t i = 0; i < waiting->count; i++) {
        if (waiting->reads[i].due_ns < deadline_ns) {
            deadline_ns = waiting->reads[i].due_ns;
        }
    }
    return deadline_ns;
}
