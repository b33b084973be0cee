/* writer_answer.c: what a writer makes of answers. See writer.h.
 *
 * OK, FORGOTTEN, CONDITION, FENCED and NO_SESSION tell of committed things and count whoever sends
 * them, in any order. That nothing was taken counts from the presumed leader alone, and only as a
 * reason to send again.
 */
#include "engine/client/writer_internal.h"

/* An anonymous session may be opened anew while the writer goes on. */
static void opened(struct writer *writer, const struct wire_open_reply *reply)
{
    if (reply->session != writer->session || reply->epoch != writer->epoch) {
        ASSERT(writer->request_head == writer->request_tail);
        writer->session = reply->session;
        writer->epoch = reply->epoch;
        writer->next_sequence = reply->next_sequence;
        writer->repeats_end = reply->next_sequence;
        writer->counters.sessions_opened++;
    }
    if (writer->first_wanted > reply->next_sequence) {
        writer_stop(writer, WRITER_GAP, WIRE_GAP, reply->next_sequence);
        return;
    }
    if (writer->first_wanted != 0) {
        writer->next_sequence = writer->first_wanted;
        writer->first_wanted = 0;
    }
    writer->state = WRITER_OPEN;
}

void writer_take_open_reply(void *context, const struct wire_frame *frame, uint64_t now_ns)
{
    struct writer *writer = context;
    const struct wire_open_reply *reply = &frame->open_reply;
    bool from_leader = frame->header.from == client_leader(writer->client);
    writer->now_ns = now_ns;
    if (writer->state != WRITER_OPENING || frame->header.token != writer->opening.token) {
        writer->counters.replies_surplus++;
        return;
    }
    writer->counters.replies++;
    writer->heard = true;
    writer->heard_ns = from_leader ? now_ns : writer->heard_ns;
    switch ((enum wire_status)reply->status) {
    case WIRE_OK:
        if (writer->opening.sends == 1) {
            writer_measure(writer, writer->opening.sent_ns);
        }
        writer_progress(writer);
        opened(writer, reply);
        return;
    case WIRE_FENCED: /* Somebody has, or had, it: this is the epoch to take it from. */
        if (reply->epoch != writer->opening.epoch) {
            writer_ask(writer, reply->epoch);
        }
        return;
    case WIRE_FULL:
        if (from_leader) {
            writer_stop(writer, WRITER_FULL, WIRE_FULL, 0);
        }
        return;
    case WIRE_NOT_LEADER:
        writer_redirect(writer, frame->header.from, reply->leader);
        return;
    case WIRE_BUSY:
        writer->counters.busy++;
        if (from_leader && now_ns >= writer->pause_until_ns) {
            writer_pause(writer, writer->request_head);
        }
        return;
    case WIRE_TRIMMED:
    case WIRE_GAP:
    case WIRE_CONDITION:
    case WIRE_NO_SESSION:
    case WIRE_FORGOTTEN:
    case WIRE_STATUS_COUNT:
        break;
    }
    ASSERT(false); /* The codec lets none of them pass. */
}

/* ---- Replies to requests. ---- */

/* The numbers of one request that a reply is about: [begin, end) of the writer. */
struct span {
    uint64_t place;
    uint64_t begin;
    uint64_t end;
};

/* The first place from `from` on that the reply is about. False: none. */
static bool
find_span(struct writer *writer, const struct wire_reply *reply, uint64_t from, struct span *span)
{
    uint64_t reply_end = reply->first_sequence + reply->record_count;
    for (uint64_t at = from; at < writer->request_tail; at++) {
        const struct writer_request *request = writer_request_at(writer, at);
        uint64_t request_end = request->first_sequence + request->count;
        uint64_t begin = reply->first_sequence > request->first_sequence ? reply->first_sequence
                                                                         : request->first_sequence;
        uint64_t end = reply_end < request_end ? reply_end : request_end;
        if (request->first_sequence != 0 && begin < end) {
            *span =
                (struct span){.place = at,
                              .begin = request->first_number + (begin - request->first_sequence),
                              .end = request->first_number + (end - request->first_sequence)};
            return true;
        }
    }
    return false;
}

/* The rest of a call whose condition did not hold is refused with it. */
static void refuse_rest(struct writer *writer, uint64_t detail)
{
    struct writer_queue *queue = &writer->queue;
    uint64_t first = queue->sent;
    while (queue->sent < queue->tail) {
        struct writer_slot *slot = writer_slot_of(writer, queue->sent);
        if (slot->begins) {
            break;
        }
        ASSERT(slot->state == SLOT_WAITING);
        ASSERT(slot->conditional);
        slot->state = SLOT_SETTLED;
        slot->fate = WRITER_REJECTED;
        slot->status = WIRE_CONDITION;
        slot->value = detail;
        queue->sent++;
    }
    if (queue->sent > first) {
        ASSERT(writer->request_tail - writer->request_head < WRITER_REQUESTS);
        writer->requests[writer->request_tail++ % WRITER_REQUESTS] = (struct writer_request){
            .first_number = first, .count = (uint32_t)(queue->sent - first)};
    }
}

static void end_when_quiet(struct writer *writer,
                           enum writer_state state,
                           enum wire_status status,
                           uint64_t detail)
{
    if (writer->ending == WRITER_IDLE) {
        writer->ending = state;
        writer->ending_status = status;
        writer->ending_detail = detail;
    }
}

/* The cluster's last word on the records of the span. */
static void settle(struct writer *writer, const struct span *span, const struct wire_reply *reply)
{
    struct writer_request *request = writer_request_at(writer, span->place);
    enum wire_status status = (enum wire_status)reply->status;
    bool committed = status != WIRE_CONDITION;
    bool was_open = request->open > 0;
    for (uint64_t number = span->begin; number < span->end; number++) {
        struct writer_slot *slot = writer_slot_of(writer, number);
        if (slot->state == SLOT_SETTLED) {
            continue; /* A repeated answer. */
        }
        request->open -= slot->state == SLOT_SENT;
        request->full -= slot->state == SLOT_FULL;
        slot->state = SLOT_SETTLED;
        slot->fate = committed ? WRITER_COMMITTED : WRITER_REJECTED;
        slot->status = status;
        slot->offset_known = status == WIRE_OK;
        slot->value = status == WIRE_OK
                          ? reply->first_offset + (slot->sequence - reply->first_sequence)
                      : committed ? 0
                                  : reply->detail;
    }
    if (was_open && request->open == 0 && request->sends == 1) {
        writer_measure(writer, request->sent_ns);
    }
    if (was_open) {
        writer_progress(writer);
    }
    if (was_open && status == WIRE_CONDITION) {
        if (request->conditional) {
            refuse_rest(writer, reply->detail);
        }
        if (writer->config.stops_at_refused) {
            end_when_quiet(writer, WRITER_REFUSED, WIRE_CONDITION, reply->detail);
        }
    }
}

/* The log has no room for these. They stay undecided until nothing before them is: an earlier copy
 * of a request may have been taken after all, and then its answer comes. */
static void mark_full(struct writer *writer, uint64_t place)
{
    struct writer_request *request = writer_request_at(writer, place);
    for (uint64_t number = request->first_number; number < request->first_number + request->count;
         number++) {
        struct writer_slot *slot = writer_slot_of(writer, number);
        if (slot->state == SLOT_SENT) {
            slot->state = SLOT_FULL;
            request->open--;
            request->full++;
        }
    }
    end_when_quiet(writer, WRITER_FULL, WIRE_FULL, 0);
}

/* True if a request at or before this place was told that there is no room. */
static bool is_behind_full(struct writer *writer, uint64_t place)
{
    for (uint64_t at = writer->request_head; at <= place; at++) {
        if (writer_request_at(writer, at)->full > 0) {
            return true;
        }
    }
    return false;
}

static uint64_t first_open_sequence(struct writer *writer)
{
    uint64_t at = writer->request_head;
    while (writer_request_at(writer, at)->open == 0) {
        at++;
    }
    return writer_request_at(writer, at)->first_sequence;
}

/* The leader misses what comes before this request. Whatever of that was sent before the copy that
 * it answers is lost, or comes late: it goes again, and this one behind it. */
static void take_gap(struct writer *writer, const struct span *span, uint64_t expected)
{
    writer->counters.gaps++;
    struct writer_request *told = writer_request_at(writer, span->place);
    if (expected >= told->first_sequence) {
        return; /* An old answer, or none of sense: the request is no gap to itself. */
    }
    if (expected < first_open_sequence(writer)) {
        /* It misses what we know to be committed, so it leads no more and may not know it yet. */
        writer_pause(writer, writer->request_head);
        return;
    }
    for (uint64_t at = writer->request_head; at < span->place; at++) {
        struct writer_request *request = writer_request_at(writer, at);
        if (request->open > 0 && request->first_sequence + request->count > expected &&
            request->send_number < told->send_number) {
            request->due = true;
        }
    }
    told->due = true;
}

/* Nothing of this request was taken, says the presumed leader. */
static void
take_refusal(struct writer *writer, const struct span *span, const struct wire_reply *reply)
{
    enum wire_status status = (enum wire_status)reply->status;
    if (writer_request_at(writer, span->place)->open == 0) {
        return;
    }
    if (status == WIRE_FULL || is_behind_full(writer, span->place)) {
        mark_full(writer, span->place);
        return;
    }
    if (writer->now_ns < writer->pause_until_ns) {
        return; /* It is sent again after the pause. */
    }
    if (status == WIRE_GAP) {
        take_gap(writer, span, reply->detail);
    } else {
        writer->counters.busy++;
        writer_pause(writer, span->place);
    }
}

static void take_statuses(struct writer *writer, const struct wire_frame *frame, struct span span)
{
    const struct wire_reply *reply = &frame->reply;
    bool from_leader = frame->header.from == client_leader(writer->client);
    switch ((enum wire_status)reply->status) {
    case WIRE_OK:
    case WIRE_FORGOTTEN:
    case WIRE_CONDITION:
        do {
            settle(writer, &span, reply);
        } while (find_span(writer, reply, span.place + 1, &span));
        return;
    case WIRE_FENCED:
        writer_stop(writer, WRITER_FENCED, WIRE_FENCED, reply->detail);
        return;
    case WIRE_NO_SESSION:
        writer_stop(writer, WRITER_EXPIRED, WIRE_NO_SESSION, 0);
        return;
    case WIRE_NOT_LEADER:
        writer_redirect(writer, frame->header.from, reply->leader);
        return;
    case WIRE_FULL:
    case WIRE_GAP:
    case WIRE_BUSY:
        if (from_leader) {
            take_refusal(writer, &span, reply);
        }
        return;
    case WIRE_TRIMMED: /* Not of a request. */
    case WIRE_STATUS_COUNT:
        return;
    }
}

void writer_take_reply(void *context, const struct wire_frame *frame, uint64_t now_ns)
{
    struct writer *writer = context;
    struct span span;
    writer->now_ns = now_ns;
    if (writer->state != WRITER_OPEN || frame->reply.session != writer->session ||
        !find_span(writer, &frame->reply, writer->request_head, &span)) {
        writer->counters.replies_surplus++;
        return;
    }
    writer->counters.replies++;
    writer->heard = true;
    if (frame->header.from == client_leader(writer->client)) {
        writer->heard_ns = now_ns;
    }
    take_statuses(writer, frame, span);
}
