/* fetch.c: see fetch.h.
 *
 * Invariant: pieces_bytes of the record at `offset` are in `pieces`; the next read skips them.
 */
#include "engine/client/fetch.h"

#include <string.h>

_Static_assert(FETCH_PAUSE_MIN_NS <= FETCH_PAUSE_MAX_NS, "pauses grow");

uint64_t fetch_memory_bytes(void)
{
    return RECORD_BYTES_MAX + PAGE_BYTES;
}

void fetch_init(struct fetch *fetch,
                struct mem *mem,
                struct client *client,
                const struct fetch_config *config,
                uint64_t now_ns)
{
    ASSERT(config->take != NULL);
    ASSERT(now_ns > 0);
    *fetch = (struct fetch){
        .client = client,
        .config = *config,
        .offset = CLIENT_OFFSET_MAX,
        .end = FETCH_NO_END,
        .looking = true,
        .progress_ns = now_ns,
    };
    fetch->pieces = mem_take(mem, "fetched record", 1, RECORD_BYTES_MAX, 64);
}

void fetch_range(struct fetch *fetch, uint64_t from, uint64_t end)
{
    ASSERT(from <= CLIENT_OFFSET_MAX);
    ASSERT(!fetch->asking);
    fetch->offset = from;
    fetch->end = end;
    fetch->looking = false;
    fetch->trimmed = false;
    fetch->ask_ns = 0;
    fetch->pause_ns = 0;
    fetch->pieces_bytes = 0;
}

bool fetch_is_done(const struct fetch *fetch)
{
    return fetch->looking ? fetch->view.known : fetch->trimmed || fetch->offset >= fetch->end;
}

/* Nothing came of it: ask again, later each time. */
static void put_off(struct fetch *fetch)
{
    uint64_t pause_ns = fetch->pause_ns == 0 ? FETCH_PAUSE_MIN_NS : fetch->pause_ns * 2;
    fetch->pause_ns = pause_ns > FETCH_PAUSE_MAX_NS ? FETCH_PAUSE_MAX_NS : pause_ns;
    fetch->ask_ns = fetch->now_ns + fetch->pause_ns;
}

/* The record at `offset` is whole. */
static void hand_on(
    struct fetch *fetch, uint64_t term, uint64_t sequence, const uint8_t *payload, uint32_t bytes)
{
    ASSERT(fetch->offset < fetch->end);
    ASSERT(bytes <= RECORD_BYTES_MAX);
    struct fetch_record record = {
        .offset = fetch->offset,
        .term = term,
        .sequence = sequence,
        .payload = payload,
        .bytes = bytes,
    };
    fetch->offset++;
    fetch->pieces_bytes = 0;
    fetch->config.take(fetch->config.context, &record);
}

/* Take the first record of an answer, or the piece of it. False: it is no continuation. */
static bool take_first(struct fetch *fetch,
                       const struct wire_read_reply *reply,
                       const struct record_header *record,
                       const uint8_t *payload)
{
    uint32_t bytes = record->bytes;
    if (fetch->pieces_bytes == 0 && !reply->partial) {
        hand_on(fetch, reply->term, record->sequence, payload, bytes);
        return true;
    }
    if (bytes > RECORD_BYTES_MAX - fetch->pieces_bytes) {
        return false;
    }
    memcpy(fetch->pieces + fetch->pieces_bytes, payload, bytes);
    fetch->pieces_bytes += bytes;
    if (!reply->partial) {
        hand_on(fetch, reply->term, record->sequence, fetch->pieces, fetch->pieces_bytes);
        return true;
    }
    return bytes > 0;
}

/* Hand on what an answer holds. False: nothing of use. */
static bool take_records(struct fetch *fetch, const struct client_read_result *result)
{
    const struct wire_read_reply *reply = &result->reply;
    if (reply->offset != fetch->offset || reply->skip != fetch->pieces_bytes ||
        reply->record_count == 0) {
        return false;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < reply->record_count && fetch->offset < fetch->end; i++) {
        struct record_header record;
        memcpy(&record, result->records + at, sizeof record);
        const uint8_t *payload = result->records + at + sizeof record;
        at += record_body_bytes(record.bytes);
        ASSERT(at <= result->records_bytes); /* The codec has walked them. */
        if (i > 0) {
            hand_on(fetch, reply->term, record.sequence, payload, record.bytes);
        } else if (!take_first(fetch, reply, &record, payload)) {
            return false;
        }
    }
    return true;
}

static void take_view(struct fetch *fetch, const struct client_read_result *result)
{
    if (!fetch->view.known) {
        fetch->progress_ns = fetch->now_ns;
    }
    fetch->answered_ns = fetch->now_ns;
    fetch->view = (struct fetch_view){
        .known = true,
        .node = result->node,
        .start_offset = result->reply.start_offset,
        .committed_offset = result->reply.committed_offset,
    };
}

static void answered(void *context, const struct client_read_result *result)
{
    struct fetch *fetch = context;
    ASSERT(fetch->asking);
    fetch->asking = false;
    if (result->fate == CLIENT_UNANSWERED) {
        fetch->ask_ns = fetch->now_ns; /* The wait for it was pause enough. */
        return;
    }
    fetch->heard = true;
    uint8_t leader = result->reply.leader;
    fetch->stranger = client_has_node(fetch->client, leader) ? 0 : leader;
    if (fetch->config.node == 0 && leader != result->node) {
        put_off(fetch);
        return;
    }
    enum wire_status status = (enum wire_status)result->reply.status;
    if (status != WIRE_OK && status != WIRE_TRIMMED) {
        put_off(fetch);
        return;
    }
    take_view(fetch, result);
    if (status == WIRE_TRIMMED) {
        fetch->trimmed = !fetch->looking;
    } else if (!fetch->looking && take_records(fetch, result)) {
        fetch->progress_ns = fetch->now_ns;
        fetch->heard = false;
        fetch->pause_ns = 0;
        fetch->ask_ns = fetch->now_ns;
    } else {
        put_off(fetch);
    }
}

static void ignore(void *context, const struct client_completion *completion)
{
    (void)context;
    (void)completion;
}

uint32_t fetch_poll(struct fetch *fetch, uint64_t now_ns)
{
    ASSERT(now_ns > 0);
    fetch->now_ns = now_ns;
    uint32_t work = client_poll(fetch->client, now_ns, ignore, NULL);
    if (fetch->asking || fetch_is_done(fetch) || now_ns < fetch->ask_ns) {
        return work;
    }
    struct client_read read = {
        .node = fetch->config.node,
        .what = {.offset = fetch->offset, .skip = fetch->pieces_bytes},
        .done = answered,
        .context = fetch,
    };
    fetch->asking = client_read(fetch->client, now_ns, &read);
    ASSERT(fetch->asking);
    return work + 1;
}

uint64_t fetch_deadline_ns(const struct fetch *fetch)
{
    if (fetch->asking) {
        return client_deadline_ns(fetch->client);
    }
    return fetch_is_done(fetch) ? UINT64_MAX : fetch->ask_ns;
}
