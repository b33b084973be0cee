/* sender.c: see sender.h.
 *
 * Invariant: client_send() is called only with nothing under way, for one frame or one large
 * record, to a node that has said, at most SENDER_SURE_NS ago, that it leads.
 */
#include "engine/client/sender.h"

_Static_assert(FETCH_PAUSE_MIN_NS <= FETCH_PAUSE_MAX_NS, "pauses grow");

void sender_init(struct sender *sender, const struct sender_config *config)
{
    ASSERT(config->acked != NULL);
    ASSERT(config->timeout_ns > 0);
    *sender = (struct sender){.config = *config, .state = SENDER_IDLE};
}

void sender_load(struct sender *sender,
                 const struct client_record *records,
                 uint32_t count,
                 uint64_t now_ns)
{
    ASSERT(sender->state == SENDER_IDLE);
    ASSERT(sender->under_way == 0);
    ASSERT(count > 0);
    sender->records = records;
    sender->count = count;
    sender->next = 0;
    sender->heard = false;
    sender->ask_ns = now_ns;
    sender->deadline_ns = now_ns + sender->config.timeout_ns;
    sender->state = SENDER_SENDING;
}

/* Nothing was taken: try again, later each time. */
static void put_off(struct sender *sender)
{
    uint64_t pause_ns = sender->pause_ns == 0 ? FETCH_PAUSE_MIN_NS : sender->pause_ns * 2;
    sender->pause_ns = pause_ns > FETCH_PAUSE_MAX_NS ? FETCH_PAUSE_MAX_NS : pause_ns;
    sender->ask_ns = sender->now_ns + sender->pause_ns;
}

static void be_sure(struct sender *sender, uint8_t node)
{
    ASSERT(node != 0);
    sender->sure_node = node;
    sender->sure_ns = sender->now_ns;
}

static void acknowledge(struct sender *sender, uint64_t first_offset)
{
    uint32_t first = sender->next;
    uint32_t count = sender->under_way;
    ASSERT(count > 0);
    ASSERT(first + count <= sender->count);
    sender->next += count;
    sender->under_way = 0;
    sender->heard = false;
    sender->pause_ns = 0;
    sender->ask_ns = sender->now_ns;
    sender->deadline_ns = sender->now_ns + sender->config.timeout_ns;
    if (sender->next == sender->count) {
        sender->state = SENDER_IDLE;
    }
    be_sure(sender, client_leader(sender->config.client));
    sender->config.acked(sender->config.context, first, count, first_offset);
}

/* The fate of the request under way. */
static void complete(void *context, const struct client_completion *completion)
{
    struct sender *sender = context;
    if (sender->state != SENDER_SENDING) {
        return; /* It was given up. */
    }
    bool whole =
        completion->first_sequence == sender->first_sent && completion->count == sender->under_way;
    if (!whole || completion->fate == CLIENT_UNANSWERED) {
        /* A request is answered as a whole; half an answer tells nothing of the other half. */
        sender->state = SENDER_UNKNOWN;
        return;
    }
    sender->heard = true;
    switch (completion->status) {
    case WIRE_OK:
        acknowledge(sender, completion->first_offset);
        return;
    case WIRE_BUSY:
    case WIRE_NOT_LEADER:
        sender->under_way = 0;
        put_off(sender);
        return;
    case WIRE_FULL:
    case WIRE_TRIMMED:
    case WIRE_GAP:
    case WIRE_CONDITION:
    case WIRE_FENCED:
    case WIRE_NO_SESSION:
    case WIRE_FORGOTTEN:
    case WIRE_STATUS_COUNT:
        break;
    }
    sender->under_way = 0;
    sender->refusal = completion->status;
    sender->state = SENDER_REFUSED;
}

static void probed(void *context, const struct client_read_result *result)
{
    struct sender *sender = context;
    ASSERT(sender->probing);
    sender->probing = false;
    if (result->fate == CLIENT_UNANSWERED) {
        sender->ask_ns = sender->now_ns; /* The wait for it was pause enough. */
        return;
    }
    sender->heard = true;
    uint8_t leader = result->reply.leader;
    sender->stranger = client_has_node(sender->config.client, leader) ? 0 : leader;
    if (leader == result->node) {
        be_sure(sender, result->node);
    } else {
        put_off(sender);
    }
}

static void probe(struct sender *sender)
{
    struct client_read read = {
        .what = {.offset = CLIENT_OFFSET_MAX}, .done = probed, .context = sender};
    sender->probing = client_read(sender->config.client, sender->now_ns, &read);
    ASSERT(sender->probing);
}

static void send_request(struct sender *sender)
{
    ASSERT(sender->under_way == 0);
    const struct client_record *records = sender->records + sender->next;
    uint32_t left = sender->count - sender->next;
    uint32_t room = client_request_bytes(sender->config.client);
    uint32_t count = 0;
    uint32_t bytes = 0;
    while (count < left && count < REQUEST_RECORDS_MAX) {
        uint32_t more = record_body_bytes(records[count].bytes);
        if (count > 0 && (more > room || bytes > room - more)) {
            break; /* A record too large for a frame goes alone. */
        }
        bytes += more;
        count++;
    }
    ASSERT(count > 0);
    sender->under_way = count;
    sender->first_sent = client_next_sequence(sender->config.client);
    uint32_t taken = client_send(sender->config.client, sender->now_ns, records, count);
    ASSERT(taken == count);
}

static bool is_sure(const struct sender *sender)
{
    return sender->sure_node == client_leader(sender->config.client) &&
           sender->now_ns - sender->sure_ns <= SENDER_SURE_NS;
}

uint32_t sender_poll(struct sender *sender, uint64_t now_ns)
{
    ASSERT(now_ns > 0);
    sender->now_ns = now_ns;
    uint32_t work = client_poll(sender->config.client, now_ns, complete, sender);
    if (sender->state != SENDER_SENDING) {
        return work;
    }
    if (now_ns >= sender->deadline_ns) {
        sender->state = sender->under_way > 0 ? SENDER_UNKNOWN : SENDER_NOT_TAKEN;
        return work + 1;
    }
    if (sender->under_way > 0 || sender->probing || now_ns < sender->ask_ns) {
        return work;
    }
    if (is_sure(sender)) {
        send_request(sender);
    } else {
        probe(sender);
    }
    return work + 1;
}

uint64_t sender_deadline_ns(const struct sender *sender)
{
    if (sender->state != SENDER_SENDING) {
        return UINT64_MAX;
    }
    uint64_t next_ns = sender->under_way > 0 || sender->probing
                           ? client_deadline_ns(sender->config.client)
                           : sender->ask_ns;
    return next_ns < sender->deadline_ns ? next_ns : sender->deadline_ns;
}
