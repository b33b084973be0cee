/* writer.c: see writer.h. Records in, outcomes out.
 *
 * Invariant: requests in their order hold the records [head, sent) of the queue, without a hole. A
 * record leaves the queue with its whole request, whose bytes are needed until then.
 */
#include "engine/client/writer_internal.h"

#include <string.h>

COUNTERS_DEFINE(writer, WRITER_COUNTERS);

uint64_t writer_memory_bytes(const struct writer_config *config)
{
    return sizeof(struct writer) + PAGE_BYTES +
           writer_queue_memory_bytes(config->records_max, config->bytes_max);
}

struct writer *writer_init(struct mem *mem, const struct writer_config *config)
{
    ASSERT(config->client != NULL);
    ASSERT(config->name_bytes <= SESSION_NAME_MAX);
    ASSERT(config->timeout_ns > 0);
    struct writer *writer = mem_take(mem, "writer", 1, sizeof *writer, 64);
    writer->config = *config;
    writer->config.name = writer->name;
    writer->client = config->client;
    if (config->name_bytes > 0) {
        memcpy(writer->name, config->name, config->name_bytes);
    }
    writer_queue_init(&writer->queue, mem, config->records_max, config->bytes_max);
    client_listen(writer->client, WIRE_REPLY, writer_take_reply, writer);
    client_listen(writer->client, WIRE_OPEN_REPLY, writer_take_open_reply, writer);
    return writer;
}

void writer_open(struct writer *writer, uint64_t now_ns)
{
    ASSERT(now_ns > 0);
    ASSERT(writer->state == WRITER_IDLE);
    writer->now_ns = now_ns;
    writer_ask(writer, 0);
}

void writer_set_first(struct writer *writer, uint64_t sequence)
{
    ASSERT(sequence > 0);
    ASSERT(writer->state == WRITER_IDLE);
    writer->first_wanted = sequence;
}

void writer_reopen(struct writer *writer, uint64_t client_id)
{
    ASSERT(writer_pending(writer) == 0);
    client_renew(writer->client, client_id);
    writer->state = WRITER_IDLE;
    writer->ending = WRITER_IDLE;
    writer->session = 0;
    writer->epoch = 0;
    writer->first_wanted = 0;
    writer->next_sequence = 0;
    writer->request_head = writer->request_tail;
    writer->pause_ns = 0;
    writer->pause_until_ns = 0;
    writer->backoff = 0;
    writer->heard = false;
}

/* ---- Records in. ---- */

#define NO_CONDITION UINT64_MAX

static uint32_t take_records(struct writer *writer,
                             uint64_t now_ns,
                             const struct client_record *records,
                             uint32_t count,
                             uint64_t expected_offset)
{
    ASSERT(now_ns > 0);
    if (writer_is_stopped(writer) || writer->ending != WRITER_IDLE) {
        return 0;
    }
    uint32_t taken = 0;
    while (taken < count) {
        struct writer_slot *slot = writer_queue_push(&writer->queue, &records[taken]);
        if (slot == NULL) {
            break;
        }
        slot->taken_ns = now_ns;
        slot->conditional = expected_offset != NO_CONDITION;
        slot->value = slot->conditional ? expected_offset + taken : 0;
        slot->begins = taken == 0;
        taken++;
    }
    if (taken > 0 && writer->state == WRITER_IDLE) {
        writer_open(writer, now_ns);
    }
    return taken;
}

uint32_t writer_append(struct writer *writer,
                       uint64_t now_ns,
                       const struct client_record *records,
                       uint32_t count)
{
    return take_records(writer, now_ns, records, count, NO_CONDITION);
}

uint32_t writer_append_expecting(struct writer *writer,
                                 uint64_t now_ns,
                                 const struct client_record *records,
                                 uint32_t count,
                                 uint64_t expected_offset)
{
    ASSERT(expected_offset <= CLIENT_OFFSET_MAX - count);
    return take_records(writer, now_ns, records, count, expected_offset);
}

/* ---- Outcomes out. ---- */

/* What becomes of a record that has no answer when the writer stops. */
static void abandon(struct writer_slot *slot, enum wire_status status, uint64_t detail)
{
    switch (slot->state) {
    case SLOT_SETTLED:
        return;
    case SLOT_WAITING:
        slot->fate = WRITER_UNSENT;
        slot->status = status;
        break;
    case SLOT_FULL:
        slot->fate = WRITER_REJECTED;
        slot->status = WIRE_FULL;
        break;
    case SLOT_SENT: {
        /* A fence names the number from which on it has taken nothing of ours. */
        bool certain = status == WIRE_FENCED && detail != 0 && slot->sequence >= detail;
        slot->fate = certain ? WRITER_REJECTED : WRITER_UNKNOWN;
        slot->status = status;
        break;
    }
    }
    slot->value = status == WIRE_FENCED ? 0 : detail;
    slot->state = SLOT_SETTLED;
}

void writer_stop(struct writer *writer,
                 enum writer_state state,
                 enum wire_status status,
                 uint64_t detail)
{
    ASSERT(!writer_is_stopped(writer));
    struct writer_queue *queue = &writer->queue;
    for (uint64_t number = queue->head; number < queue->tail; number++) {
        abandon(writer_slot_of(writer, number), status, detail);
    }
    queue->sent = queue->tail;
    writer->request_head = writer->request_tail;
    writer->state = state;
    ASSERT(writer_is_stopped(writer));
}

/* Two records are one outcome if they follow each other in everything. */
static bool follows(const struct writer_outcome *outcome, const struct writer_slot *slot)
{
    uint64_t sequence = outcome->first_sequence == 0 ? 0 : outcome->first_sequence + outcome->count;
    if (slot->fate != outcome->fate || slot->status != outcome->status ||
        slot->offset_known != outcome->offset_known || slot->sequence != sequence) {
        return false;
    }
    return slot->offset_known ? slot->value == outcome->first_offset + outcome->count
                              : slot->value == outcome->detail;
}

static struct writer_outcome outcome_of(const struct writer_queue *queue)
{
    const struct writer_slot *slot = writer_queue_slot(queue, queue->head);
    return (struct writer_outcome){
        .first_number = queue->head,
        .first_sequence = slot->sequence,
        .fate = slot->fate,
        .status = slot->status,
        .first_offset = slot->offset_known ? slot->value : 0,
        .offset_known = slot->offset_known,
        .detail = slot->offset_known ? 0 : slot->value,
    };
}

/* Tell and drop the oldest `count` records. */
static uint32_t tell(struct writer *writer, uint32_t count, writer_done done, void *context)
{
    struct writer_queue *queue = &writer->queue;
    uint32_t outcomes = 0;
    while (count > 0) {
        struct writer_outcome outcome = outcome_of(queue);
        while (count > 0 && follows(&outcome, writer_slot_of(writer, queue->head))) {
            writer_queue_pop(queue);
            outcome.count++;
            count--;
        }
        ASSERT(outcome.count > 0);
        done(context, &outcome);
        outcomes++;
    }
    return outcomes;
}

/* Tell what is settled, request by request; all of it when stopped. */
static uint32_t tell_settled(struct writer *writer, writer_done done, void *context)
{
    uint32_t outcomes = 0;
    while (!writer_is_stopped(writer) && writer->request_head < writer->request_tail) {
        const struct writer_request *request = writer_request_at(writer, writer->request_head);
        if (request->open > 0 || request->full > 0) {
            break;
        }
        uint32_t count = request->count;
        writer->request_head++;
        outcomes += tell(writer, count, done, context);
    }
    if (writer_is_stopped(writer)) {
        outcomes += tell(writer, writer_pending(writer), done, context);
    }
    return outcomes;
}

/* Nobody waits for an answer any more: what was to end ends. */
static bool is_quiet(struct writer *writer)
{
    for (uint64_t at = writer->request_head; at < writer->request_tail; at++) {
        if (writer_request_at(writer, at)->open > 0) {
            return false;
        }
    }
    return true;
}

static bool is_late(const struct writer *writer)
{
    const struct writer_queue *queue = &writer->queue;
    return queue->head < queue->tail &&
           writer->now_ns - writer_queue_slot(queue, queue->head)->taken_ns >=
               writer->config.timeout_ns;
}

static void ignore_completion(void *context, const struct client_completion *completion)
{
    (void)context;
    (void)completion;
}

uint32_t writer_poll(struct writer *writer, uint64_t now_ns, writer_done done, void *context)
{
    ASSERT(now_ns > 0);
    ASSERT(done != NULL);
    writer->now_ns = now_ns;
    uint32_t work = client_poll(writer->client, now_ns, ignore_completion, NULL);
    work += tell_settled(writer, done, context);
    if (writer_is_stopped(writer)) {
        return work;
    }
    if (writer->ending != WRITER_IDLE && is_quiet(writer)) {
        writer_stop(writer, writer->ending, writer->ending_status, writer->ending_detail);
    } else if (is_late(writer)) {
        writer_stop(writer, WRITER_TIMED_OUT, WIRE_OK, 0);
    } else {
        work += writer_send(writer);
    }
    return work + tell_settled(writer, done, context);
}

uint64_t writer_deadline_ns(const struct writer *writer)
{
    const struct writer_queue *queue = &writer->queue;
    uint64_t deadline_ns = UINT64_MAX;
    if (writer_is_stopped(writer) || writer->state == WRITER_IDLE) {
        return deadline_ns;
    }
    if (queue->head < queue->tail) {
        deadline_ns = writer_queue_slot(queue, queue->head)->taken_ns + writer->config.timeout_ns;
    }
    uint64_t next_ns = UINT64_MAX;
    if (writer->state == WRITER_OPENING) {
        next_ns = writer->opening.due ? 0 : writer->opening.sent_ns + writer_retry_ns(writer);
    } else {
        next_ns = writer_can_form(writer) ? 0 : UINT64_MAX;
        for (uint64_t at = writer->request_head; at < writer->request_tail; at++) {
            const struct writer_request *request = &writer->requests[at % WRITER_REQUESTS];
            uint64_t again_ns = request->due ? 0 : request->sent_ns + writer_retry_ns(writer);
            if (request->open > 0 && again_ns < next_ns) {
                next_ns = again_ns;
            }
        }
    }
    if (next_ns < writer->pause_until_ns) {
        next_ns = writer->pause_until_ns;
    }
    return next_ns < deadline_ns ? next_ns : deadline_ns;
}

/* ---- What is told. ---- */

enum writer_state writer_state(const struct writer *writer)
{
    return writer->state;
}

bool writer_is_stopped(const struct writer *writer)
{
    return writer->state > WRITER_OPEN;
}

uint32_t writer_pending(const struct writer *writer)
{
    return (uint32_t)(writer->queue.tail - writer->queue.head);
}

uint64_t writer_taken(const struct writer *writer)
{
    return writer->queue.tail;
}

uint64_t writer_next_sequence(const struct writer *writer)
{
    bool known = writer->session != 0;
    return known ? writer->next_sequence + (writer->queue.tail - writer->queue.sent) : 0;
}

uint64_t writer_session(const struct writer *writer)
{
    return writer->session;
}

uint32_t writer_epoch(const struct writer *writer)
{
    return writer->epoch;
}

bool writer_heard(const struct writer *writer)
{
    return writer->heard;
}

uint8_t writer_stranger(const struct writer *writer)
{
    return writer->stranger;
}

const struct writer_counters *writer_counters(const struct writer *writer)
{
    return &writer->counters;
}
