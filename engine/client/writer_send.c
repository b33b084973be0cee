/* writer_send.c: what a writer sends, to whom, and when again. See writer.h.
 *
 * A request that is due is sent when no pause is on; what is due is sent in order, before anything
 * new, so that a leader meets numbers without gaps as far as the network lets it.
 */
#include "engine/client/writer_internal.h"

#include <string.h>

#define BACKOFF_MAX 8u

_Static_assert(WRITER_RETRY_MIN_NS <= WRITER_RETRY_FIRST_NS, "retry times are in order");
_Static_assert(WRITER_RETRY_FIRST_NS <= WRITER_RETRY_MAX_NS, "retry times are in order");
_Static_assert(WRITER_PAUSE_MIN_NS <= WRITER_PAUSE_MAX_NS, "pauses grow");

/* ---- When. ---- */

void writer_measure(struct writer *writer, uint64_t sent_ns)
{
    ASSERT(writer->now_ns >= sent_ns);
    uint64_t took_ns = writer->now_ns - sent_ns;
    if (writer->rtt_ns == 0) {
        writer->rtt_ns = took_ns;
        writer->rtt_spread_ns = took_ns / 2;
        return;
    }
    uint64_t off_ns =
        took_ns > writer->rtt_ns ? took_ns - writer->rtt_ns : writer->rtt_ns - took_ns;
    writer->rtt_spread_ns = (writer->rtt_spread_ns * 3 + off_ns) / 4;
    writer->rtt_ns = (writer->rtt_ns * 7 + took_ns) / 8;
}

uint64_t writer_retry_ns(const struct writer *writer)
{
    uint64_t retry_ns =
        writer->rtt_ns == 0 ? WRITER_RETRY_FIRST_NS : writer->rtt_ns + 4 * writer->rtt_spread_ns;
    if (retry_ns < WRITER_RETRY_MIN_NS) {
        retry_ns = WRITER_RETRY_MIN_NS;
    }
    for (uint32_t i = 0; i < writer->backoff && retry_ns < WRITER_RETRY_MAX_NS; i++) {
        retry_ns *= 2;
    }
    return retry_ns < WRITER_RETRY_MAX_NS ? retry_ns : WRITER_RETRY_MAX_NS;
}

/* What has no answer is sent again, from this place on. */
static void make_due(struct writer *writer, uint64_t place)
{
    for (uint64_t at = place; at < writer->request_tail; at++) {
        struct writer_request *request = writer_request_at(writer, at);
        request->due = request->open > 0;
    }
    writer->opening.due = true;
}

void writer_pause(struct writer *writer, uint64_t place)
{
    uint64_t pause_ns = writer->pause_ns == 0 ? WRITER_PAUSE_MIN_NS : writer->pause_ns * 2;
    writer->pause_ns = pause_ns > WRITER_PAUSE_MAX_NS ? WRITER_PAUSE_MAX_NS : pause_ns;
    writer->pause_until_ns = writer->now_ns + writer->pause_ns;
    make_due(writer, place);
}

void writer_progress(struct writer *writer)
{
    writer->settled_ns = writer->now_ns;
    writer->backoff = 0;
    writer->pause_ns = 0;
    writer->silences = 0;
    writer->redirects = 0;
    writer->heard = false;
}

/* ---- To whom. ---- */

void writer_redirect(struct writer *writer, uint8_t from, uint8_t hint)
{
    writer->counters.not_leader++;
    writer->stranger = client_has_node(writer->client, hint) ? 0 : hint;
    if (from != client_leader(writer->client)) {
        return; /* An old answer: somebody else is asked already. */
    }
    /* Who has just been silent is still named by those who have not noticed. */
    if (hint == writer->shunned && writer->now_ns < writer->shunned_until_ns) {
        hint = 0;
    }
    bool named = client_disclaimed(writer->client, from, hint, writer->now_ns);
    writer->silences = 0;
    if (named && ++writer->redirects <= NODES_MAX) {
        make_due(writer, writer->request_head);
    } else {
        writer->redirects = 0;
        writer_pause(writer, writer->request_head);
    }
}

/* What was sent at `sent_ns` has no answer. One lost frame is no silence; after several another
 * node is asked. */
static void note_silence(struct writer *writer, uint64_t sent_ns)
{
    if (writer->backoff < BACKOFF_MAX) {
        writer->backoff++;
    }
    if (writer->heard_ns >= sent_ns) {
        return;
    }
    writer->counters.silences++;
    if (++writer->silences < WRITER_SILENCES_MAX) {
        return;
    }
    writer->silences = 0;
    writer->backoff = 0; /* The next one is asked as patiently as the first, and as often. */
    writer->shunned = client_leader(writer->client);
    writer->shunned_until_ns = writer->now_ns + WRITER_RETRY_MAX_NS;
    client_silent(writer->client, writer->shunned, writer->now_ns);
    make_due(writer, writer->request_head);
}

/* ---- The session. ---- */

void writer_ask(struct writer *writer, uint32_t epoch)
{
    writer->state = WRITER_OPENING;
    writer->opening = (struct writer_opening){
        .epoch = epoch, .token = client_new_token(writer->client), .due = true};
}

static uint32_t send_open(struct writer *writer)
{
    struct writer_opening *opening = &writer->opening;
    if (!opening->due && writer->now_ns - opening->sent_ns >= writer_retry_ns(writer)) {
        note_silence(writer, opening->sent_ns);
        opening->due = true;
    }
    if (!opening->due) {
        return 0;
    }
    struct wire_frame frame = {
        .header = {.kind = WIRE_OPEN, .token = opening->token},
        .open = {.epoch = opening->epoch, .name_bytes = (uint8_t)writer->config.name_bytes},
    };
    memcpy(frame.open.name, writer->name, writer->config.name_bytes);
    (void)client_post(writer->client, &frame, 0);
    client_flush(writer->client);
    opening->due = false;
    opening->sends++;
    opening->sent_ns = writer->now_ns;
    writer->counters.opens_sent++;
    return 1;
}

/* ---- Requests. ---- */

static void send_request(struct writer *writer, struct writer_request *request)
{
    uint32_t part_bytes = client_request_bytes(writer->client);
    struct wire_frame frame = {
        .header = {.kind = WIRE_REQUEST, .token = request->token},
        .request = {.session = writer->session,
                    .first_sequence = request->first_sequence,
                    .expected_offset = request->expected_offset,
                    .epoch = writer->epoch,
                    .record_count = request->count,
                    .request_bytes = request->bytes,
                    .conditional = request->conditional},
    };
    for (uint32_t offset = 0; offset < request->bytes; offset += part_bytes) {
        uint32_t rest_bytes = request->bytes - offset;
        frame.request.offset = offset;
        frame.payload = writer->queue.bytes + request->at + offset;
        frame.payload_bytes = rest_bytes < part_bytes ? rest_bytes : part_bytes;
        (void)client_post(writer->client, &frame, 0);
    }
    request->due = false;
    request->sent_ns = writer->now_ns;
    request->send_number = ++writer->send_number;
    writer->counters.requests_repeated += request->sends > 0;
    writer->counters.requests_sent++;
    request->sends++;
}

bool writer_can_form(const struct writer *writer)
{
    const struct writer_queue *queue = &writer->queue;
    if (writer->state != WRITER_OPEN || writer->ending != WRITER_IDLE ||
        queue->sent == queue->tail ||
        writer->request_tail - writer->request_head >= SESSION_REQUESTS_MAX) {
        return false;
    }
    uint32_t flight_bytes = 0;
    for (uint64_t at = writer->request_head; at < writer->request_tail; at++) {
        const struct writer_request *request = &writer->requests[at % WRITER_REQUESTS];
        if (request->conditional && request->open > 0) {
            return false; /* Its refusal must find nothing behind it. */
        }
        flight_bytes += request->open > 0 ? request->bytes : 0;
    }
    uint32_t next_bytes = writer_queue_slot(queue, queue->sent)->bytes;
    return flight_bytes == 0 || flight_bytes + next_bytes <= WRITER_FLIGHT_BYTES;
}

/* Whether the record stands behind the request's last one and may travel with it. */
static bool may_join(const struct writer *writer,
                     const struct writer_request *request,
                     const struct writer_slot *slot)
{
    uint32_t room = client_request_bytes(writer->client);
    if (request->count == REQUEST_RECORDS_MAX || request->bytes + slot->bytes > room ||
        slot->at != request->at + request->bytes) {
        return false;
    }
    if (slot->conditional != request->conditional || (slot->conditional && slot->begins)) {
        return false;
    }
    return writer->next_sequence != writer->repeats_end;
}

/* Put what waits into the next request, as much as it holds. */
static struct writer_request *form_request(struct writer *writer)
{
    struct writer_queue *queue = &writer->queue;
    const struct writer_slot *first = writer_queue_slot(queue, queue->sent);
    struct writer_request *request = &writer->requests[writer->request_tail++ % WRITER_REQUESTS];
    *request = (struct writer_request){
        .first_number = queue->sent,
        .first_sequence = writer->next_sequence,
        .at = first->at,
        .token = client_new_token(writer->client),
        .conditional = first->conditional,
        .expected_offset = first->value,
        .due = true,
    };
    do {
        struct writer_slot *slot = writer_queue_slot(queue, queue->sent++);
        ASSERT(slot->state == SLOT_WAITING);
        slot->state = SLOT_SENT;
        slot->sequence = writer->next_sequence++;
        writer_queue_stamp(queue, slot, writer->session);
        request->bytes += slot->bytes;
        request->count++;
    } while (queue->sent < queue->tail &&
             may_join(writer, request, writer_queue_slot(queue, queue->sent)));
    request->open = request->count;
    return request;
}

static uint32_t send_due(struct writer *writer)
{
    uint32_t work = 0;
    for (uint64_t at = writer->request_head; at < writer->request_tail; at++) {
        struct writer_request *request = writer_request_at(writer, at);
        if (request->due && request->open > 0) {
            send_request(writer, request);
            work++;
        }
    }
    return work;
}

static void look_for_silence(struct writer *writer)
{
    uint64_t retry_ns = writer_retry_ns(writer);
    uint64_t oldest_ns = 0;
    for (uint64_t at = writer->request_head; at < writer->request_tail; at++) {
        struct writer_request *request = writer_request_at(writer, at);
        if (request->open > 0 && !request->due && writer->now_ns - request->sent_ns >= retry_ns) {
            request->due = true;
            oldest_ns =
                oldest_ns == 0 || request->sent_ns < oldest_ns ? request->sent_ns : oldest_ns;
        }
    }
    if (oldest_ns != 0) {
        note_silence(writer, oldest_ns);
    }
}

/* A session without a name is the first to be forgotten by a cluster that has many. Nothing is
 * under way, so it can still be made sure of, or opened anew, without anybody noticing. */
static bool may_have_expired(const struct writer *writer)
{
    return writer->config.name_bytes == 0 && writer->request_head == writer->request_tail &&
           writer_can_form(writer) && writer->now_ns - writer->settled_ns > WRITER_IDLE_NS;
}

uint32_t writer_send(struct writer *writer)
{
    if (writer->now_ns < writer->pause_until_ns) {
        return 0;
    }
    if (may_have_expired(writer)) {
        writer_ask(writer, 0);
    }
    if (writer->state != WRITER_OPEN) {
        return send_open(writer);
    }
    look_for_silence(writer);
    uint32_t work = send_due(writer);
    while (writer_can_form(writer)) {
        send_request(writer, form_request(writer));
        work++;
    }
    client_flush(writer->client);
    return work;
}
