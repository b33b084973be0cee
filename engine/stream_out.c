/* stream_out.c: the leader's half of a stream. See stream.h. */
#include "engine/stream.h"

#include <string.h>

#define NS_PER_S 1000000000ull

void stream_out_init(struct stream_out *out,
                     struct mem *mem,
                     uint8_t peer,
                     struct nic_address address)
{
    *out = (struct stream_out){.peer = peer, .address = address};
    out->fetch.buffer = mem_take(mem, "fetch buffer", 1, STREAM_FETCH_BYTES, PAGE_BYTES);
    out->cuts = mem_take(mem, "cuts of entries", STREAM_ENTRIES_MAX, sizeof(struct stream_cut), 64);
}

uint64_t stream_out_space(const struct stream_out *out, uint64_t silent_ns, uint64_t last_index)
{
    bool told = out->active && out->space_position != 0 && out->heard_ns >= silent_ns;
    bool in_step = out->received_index + STREAM_ENTRIES_MAX >= last_index;
    return told && in_step ? out->space_position : UINT64_MAX;
}

static bool outstanding(const struct stream_out *out, uint64_t match_index)
{
    return out->active && match_index + 1 < out->next_index;
}

uint64_t stream_out_deadline_ns(const struct stream_out *out)
{
    if (!out->active || out->fetch.state == FETCH_READING) { /* Its completion comes first. */
        return UINT64_MAX;
    }
    uint64_t deadline_ns = out->poll_ns;
    if (out->fetch.state == FETCH_WANTED && out->fetch.due_ns < deadline_ns) {
        deadline_ns = out->fetch.due_ns;
    }
    if (out->size.target_bytes > out->size.frame_bytes && out->size.probe_ns < deadline_ns) {
        deadline_ns = out->size.probe_ns;
    }
    return deadline_ns;
}

bool stream_out_is_narrow(const struct stream_out *out)
{
    return out->active && out->size.target_bytes > out->size.frame_bytes &&
           out->size.probe_count >= STREAM_PROBES_TOLD;
}

bool stream_out_may_fetch(const struct stream_out *out, const struct stream_context *context)
{
    ASSERT(out->fetch.state == FETCH_WANTED);
    return context->commits_wait || context->now_ns >= out->fetch.due_ns;
}

void stream_out_fetching(struct stream_out *out, const struct stream_context *context)
{
    struct stream_fetch *fetch = &out->fetch;
    ASSERT(fetch->state == FETCH_WANTED);
    ASSERT(fetch->bytes > 0);
    ASSERT(fetch->bytes <= STREAM_FETCH_BYTES);
    uint64_t slack_ns = context->now_ns < CATCHUP_SLACK_NS ? context->now_ns : CATCHUP_SLACK_NS;
    uint64_t from_ns = context->now_ns - slack_ns;
    from_ns = fetch->due_ns > from_ns ? fetch->due_ns : from_ns;
    /* What is read while commits wait is not counted: nobody could pay for it afterwards. */
    if (!context->commits_wait) {
        fetch->due_ns = from_ns + fetch->bytes * NS_PER_S / context->catchup_bytes_per_s;
    }
    fetch->state = FETCH_READING;
    context->counters->disk_fetches++;
}

static void expect_progress(struct stream_out *out, uint64_t now_ns)
{
    out->poll_interval_ns = STREAM_POLL_MIN_NS;
    out->poll_ns = now_ns + out->poll_interval_ns;
}

/* ---- What size of frames reaches the peer ---- */

static uint32_t smaller_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* A new session knows nothing of the way. */
static void size_begin(struct stream_out *out, const struct stream_context *context)
{
    out->size = (struct stream_size){
        .frame_bytes = smaller_of(context->outbox->nic->frame_bytes_max, FRAME_BYTES_USUAL),
        .probe = out->size.probe,
        .probe_ns = context->now_ns,
        .probed_ns = context->now_ns,
        .probe_interval_ns = STREAM_PROBE_MIN_NS,
    };
    memset(out->cuts, 0, STREAM_ENTRIES_MAX * sizeof *out->cuts);
}

static struct stream_cut *cut_at(const struct stream_out *out, uint64_t index)
{
    return &out->cuts[index & (STREAM_ENTRIES_MAX - 1)];
}

/* How an entry goes out now: as it did before, or in the smallest fragments of all, which take the
 * place of every other cut. */
static uint32_t cut_of(const struct stream_out *out, uint64_t index)
{
    const struct stream_cut *cut = cut_at(out, index);
    return cut->index == index ? cut->fragment_bytes : FRAGMENT_BYTES_MIN;
}

/* Send no larger frames than these; what is under way is cut anew. */
static void
size_shrink(struct stream_out *out, const struct stream_context *context, uint32_t frame_bytes)
{
    struct stream_size *size = &out->size;
    ASSERT(frame_bytes >= ENTRY_FRAME_BYTES_MIN);
    ASSERT(frame_bytes < size->frame_bytes);
    size->frame_bytes = frame_bytes;
    size->doubts = 0;
    size->probe_interval_ns = STREAM_PROBE_MAX_NS;
    size->probe_ns = context->now_ns + STREAM_PROBE_MAX_NS;
    uint32_t fragment_bytes = wire_fragment_bytes(frame_bytes);
    for (uint32_t i = 0; i < STREAM_ENTRIES_MAX; i++) {
        out->cuts[i].fragment_bytes = smaller_of(out->cuts[i].fragment_bytes, fragment_bytes);
    }
    out->next_offset = 0;
    out->missing_bitmap = ~0ull; /* It counted in the larger ones. */
    context->counters->frames_shrunk++;
}

/* A hole is about to be filled. The same one again and again, although acks come back: frames of
 * this size do not arrive (any more), and smaller ones may. */
static void size_doubt(struct stream_out *out, const struct stream_context *context)
{
    struct stream_size *size = &out->size;
    bool again =
        out->missing_index == size->doubt_index && out->missing_bitmap == size->doubt_bitmap;
    size->doubts = again ? size->doubts + 1 : 0;
    size->doubt_index = out->missing_index;
    size->doubt_bitmap = out->missing_bitmap;
    bool full = cut_of(out, out->missing_index) >= wire_fragment_bytes(size->frame_bytes);
    if (size->doubts < STREAM_DOUBTS_MAX || !full || size->frame_bytes == ENTRY_FRAME_BYTES_MIN) {
        return;
    }
    size_shrink(out, context,
                size->frame_bytes > FRAME_BYTES_USUAL ? FRAME_BYTES_USUAL : ENTRY_FRAME_BYTES_MIN);
}

/* Try the largest frames that both ports take. Returns frames. */
static uint32_t size_probe(struct stream_out *out, const struct stream_context *context)
{
    static const uint8_t padding[FRAME_BYTES_MAX];
    struct stream_size *size = &out->size;
    if (size->target_bytes <= size->frame_bytes || context->now_ns < size->probe_ns) {
        return 0;
    }
    size->probe = size->probe == UINT8_MAX ? 1 : (uint8_t)(size->probe + 1);
    size->probed_bytes = size->target_bytes;
    /* In vain, if the peer was heard well after the last one: else it may just have been slow. */
    size->probe_count += out->heard_ns > size->probed_ns + size->probe_interval_ns / 4;
    size->probed_ns = context->now_ns;
    size->probe_ns = context->now_ns + size->probe_interval_ns;
    size->probe_interval_ns *= 2;
    if (size->probe_interval_ns > STREAM_PROBE_MAX_NS) {
        size->probe_interval_ns = STREAM_PROBE_MAX_NS;
    }
    struct wire_frame frame = {
        .header = context->header,
        .probe = {.session = out->session, .number = size->probe},
        .payload = padding,
        .payload_bytes = size->target_bytes - wire_head_bytes(WIRE_PROBE),
    };
    frame.header.kind = WIRE_PROBE;
    frame.header.to = out->peer;
    frame.header.to_boot = out->boot;
    outbox_put(context->outbox, out->address, &frame);
    context->counters->probes_sent++;
    return 1;
}

/* What an ack of this session says of it. */
static void
size_ack(struct stream_out *out, const struct stream_context *context, const struct wire_ack *ack)
{
    struct stream_size *size = &out->size;
    if (ack->frame_bytes == 0) {
        return;
    }
    size->target_bytes = smaller_of(ack->frame_bytes, context->outbox->nic->frame_bytes_max);
    if (size->target_bytes < size->frame_bytes) {
        size_shrink(out, context, size->target_bytes);
    }
    bool answered = size->probed_bytes != 0 && ack->probe == size->probe;
    if (answered && size->probed_bytes > size->frame_bytes) {
        size->frame_bytes = size->probed_bytes; /* From the next entry on. */
        size->probed_bytes = 0;                 /* Once: it may be given up again. */
        size->probe_count = 0;
        size->doubts = 0;
        context->counters->frames_grown++;
    }
}

/* ---- The stream ---- */

/* Follow the core: a new session forgets everything in flight. */
static struct raft_replication follow(struct stream_out *out, const struct stream_context *context)
{
    struct raft_replication replication = raft_replication(context->raft, out->peer);
    if (!replication.active) {
        out->active = false;
        out->poll_ns = UINT64_MAX;
        return replication;
    }
    if (!out->active || out->session != replication.session || out->boot != replication.boot) {
        out->active = true;
        out->session = replication.session;
        out->boot = replication.boot;
        out->next_index = replication.next_index;
        out->next_offset = 0;
        out->received_index = replication.next_index - 1;
        out->credit_position = 0;
        out->space_position = 0;
        out->missing_index = 0;
        out->repaired_index = 0;
        size_begin(out, context);
        if (out->fetch.state != FETCH_READING) {
            out->fetch.state = FETCH_NONE; /* What was read in another office may be cut since. */
        }
        expect_progress(out, context->now_ns);
    }
    return replication;
}

/* What was read at `at` is not what is wanted: count it, and let some time pass before it is read
 * again. Overtaken by a cut or a trim, or rotten: the scrubber looks. */
static const uint8_t *
fetch_failed(struct stream_fetch *fetch, const struct stream_context *context, uint32_t at)
{
    suspects_note(context->suspects, fetch->position + at);
    fetch->state = FETCH_NONE;
    fetch->retry_ns = context->now_ns + STREAM_POLL_MAX_NS;
    context->counters->fetches_failed++;
    return NULL;
}

/* Find an entry among the fetched bytes; else say where to read on. */
static const uint8_t *find_fetched(struct stream_fetch *fetch, const struct stream_context *context)
{
    uint32_t at = 0;
    while (at + PAGE_BYTES <= fetch->bytes) {
        const struct entry_header *header = entry_header_of(fetch->buffer + at);
        uint64_t term = raft_entry_term(context->raft, header->index);
        bool good = entry_header_check(header, context->cluster) == NULL &&
                    header->position == fetch->position + at && (term == 0 || term == header->term);
        if (!good || header->index > fetch->want_index) {
            return fetch_failed(fetch, context, at);
        }
        uint32_t entry_bytes = (uint32_t)header->pages * PAGE_BYTES;
        if (at + entry_bytes > fetch->bytes) {
            break;
        }
        if (header->index == fetch->want_index) {
            bool sound = entry_check(fetch->buffer + at, context->cluster) == NULL;
            return sound ? fetch->buffer + at : fetch_failed(fetch, context, at);
        }
        at += entry_bytes;
    }
    fetch->position += at;
    fetch->state = FETCH_WANTED;
    return NULL;
}

/* What was read begins with the entry that should be there: otherwise nothing in it tells how to go
 * on. A read that failed is such a one. */
static bool begins_sound(const struct stream_fetch *fetch, const struct stream_context *context)
{
    const struct entry_header *header = entry_header_of(fetch->buffer);
    return entry_header_check(header, context->cluster) == NULL &&
           header->position == fetch->position;
}

/* The bytes of an entry, from memory or as fetched; NULL: not yet, a fetch is under way. */
static const uint8_t *
bytes_for(struct stream_out *out, const struct stream_context *context, uint64_t index)
{
    const uint8_t *bytes = log_bytes(context->log, index);
    if (bytes != NULL) {
        return bytes;
    }
    struct stream_fetch *fetch = &out->fetch;
    bool resting = fetch->state == FETCH_NONE && context->now_ns < fetch->retry_ns;
    if (index <= context->log->start.last.index || fetch->state == FETCH_READING || resting) {
        return NULL;
    }
    if (fetch->state == FETCH_READY && !begins_sound(fetch, context)) {
        return fetch_failed(fetch, context, 0);
    }
    bool ahead = fetch->state == FETCH_READY && index >= entry_header_of(fetch->buffer)->index;
    if (!ahead && (fetch->state != FETCH_WANTED || fetch->want_index != index)) {
        fetch->position = log_find_index(context->log, index).position;
        fetch->state = FETCH_WANTED;
    }
    fetch->want_index = index;
    return fetch->state == FETCH_READY ? find_fetched(fetch, context) : NULL;
}

static struct wire_frame
frame_of(const struct stream_out *out, const struct stream_context *context, const uint8_t *entry)
{
    struct wire_frame frame = {.header = context->header};
    frame.header.kind = WIRE_ENTRY;
    frame.header.to = out->peer;
    frame.header.to_boot = out->boot;
    frame.entry = assembly_describe(entry, cut_of(out, entry_header_of(entry)->index));
    frame.entry.session = out->session;
    frame.entry.commit_index = raft_commit_index(context->raft);
    return frame;
}

/* Send the fragment at `offset` of the entry; returns where the next one begins. */
static uint32_t send_fragment(const struct stream_out *out,
                              const struct stream_context *context,
                              struct wire_frame *frame,
                              const uint8_t *entry,
                              uint32_t offset)
{
    uint32_t next = assembly_cut(frame, entry, offset);
    struct nic_pin pin = {0};
    if (context->pins) { /* What was fetched lies in a buffer that is read into again. */
        pin.pages = log_pins(context->log, frame->payload, frame->payload_bytes, &pin.page_count);
    }
    outbox_put_pinned(context->outbox, out->address, frame, pin);
    context->counters->fragments_sent++;
    return next;
}

static uint32_t repair(struct stream_out *out, const struct stream_context *context)
{
    const uint8_t *entry = bytes_for(out, context, out->missing_index);
    if (entry == NULL) {
        return 0;
    }
    size_doubt(out, context);
    struct wire_frame frame = frame_of(out, context, entry);
    uint32_t used = frame.entry.used_bytes - NODE_HEADER_BYTES;
    uint32_t sent = 0;
    for (uint32_t offset = 0, bit = 0; offset < used; bit++) {
        ASSERT(bit < FRAGMENTS_MAX);
        if ((out->missing_bitmap >> bit & 1u) != 0) {
            offset = send_fragment(out, context, &frame, entry, offset);
            context->counters->fragments_repaired++;
            sent++;
        } else {
            offset += frame.entry.fragment_bytes;
        }
    }
    out->repaired_index = out->missing_index;
    out->repaired_ns = context->now_ns;
    out->missing_index = 0;
    return sent;
}

/* Send the next entry, or what the budget leaves of it. Returns frames; 0: not now. */
static uint32_t
send_next(struct stream_out *out, const struct stream_context *context, uint32_t budget)
{
    const uint8_t *entry = bytes_for(out, context, out->next_index);
    if (entry == NULL) {
        return 0;
    }
    const struct entry_header *header = entry_header_of(entry);
    ASSERT(header->index == out->next_index);
    if (header->position + (uint64_t)header->pages * PAGE_BYTES > out->credit_position) {
        return 0;
    }
    if (out->next_offset == 0) {
        *cut_at(out, out->next_index) = (struct stream_cut){
            .index = out->next_index, .fragment_bytes = wire_fragment_bytes(out->size.frame_bytes)};
    }
    struct wire_frame frame = frame_of(out, context, entry);
    uint32_t used = frame.entry.used_bytes - NODE_HEADER_BYTES;
    uint32_t sent = 0;
    while (out->next_offset < used && sent < budget) {
        out->next_offset = send_fragment(out, context, &frame, entry, out->next_offset);
        sent++;
    }
    if (out->next_offset >= used) {
        out->next_index++;
        out->next_offset = 0;
    }
    return sent;
}

/* Ask the peer how far it is: the tail, or the ack of it, may have been lost. */
static uint32_t poll_peer(struct stream_out *out, const struct stream_context *context)
{
    const uint8_t *entry = bytes_for(out, context, out->next_index - 1);
    if (entry == NULL) {
        return 0;
    }
    out->poll_interval_ns *= 2;
    if (out->poll_interval_ns > STREAM_POLL_MAX_NS) {
        out->poll_interval_ns = STREAM_POLL_MAX_NS;
    }
    out->poll_ns = context->now_ns + out->poll_interval_ns;
    struct wire_frame frame = frame_of(out, context, entry);
    outbox_put(context->outbox, out->address, &frame);
    context->counters->polls_sent++;
    return 1;
}

uint32_t stream_out_send(struct stream_out *out, const struct stream_context *context)
{
    struct raft_replication replication = follow(out, context);
    if (!replication.active) {
        return 0;
    }
    uint32_t sent = size_probe(out, context);
    bool idle = !outstanding(out, replication.match_index);
    uint64_t kept_index = context->log->start.last.index + 1;
    bool waits = false; /* For the one fetch: whoever needs it first keeps it until it is served. */
    if (out->missing_index >= kept_index) {
        sent += repair(out, context);
        waits = out->missing_index != 0;
    }
    if (!idle && !waits && context->now_ns >= out->poll_ns && out->next_index > kept_index) {
        uint32_t polls = poll_peer(out, context);
        sent += polls;
        waits = polls == 0;
    }
    while (!waits && sent < STREAM_FRAGMENTS_PER_DRAIN &&
           out->next_index <= context->log->last.index &&
           out->next_index - out->received_index <= STREAM_ENTRIES_MAX) {
        uint32_t more = send_next(out, context, STREAM_FRAGMENTS_PER_DRAIN - sent);
        if (more == 0) {
            break;
        }
        sent += more;
    }
    if (!outstanding(out, replication.match_index)) {
        out->poll_ns = UINT64_MAX;
    } else if (idle || out->poll_ns == UINT64_MAX) {
        expect_progress(out, context->now_ns);
    }
    return sent;
}

void stream_out_ack(struct stream_out *out,
                    const struct stream_context *context,
                    const struct wire_ack *ack)
{
    struct raft_replication replication = follow(out, context);
    if (!replication.active || ack->session != out->session) {
        return;
    }
    size_ack(out, context, ack);
    uint64_t received = ack->received_index;
    if (received >= out->next_index) {
        /* It had them already: nothing of that needs sending. */
        received = received > context->log->last.index ? context->log->last.index : received;
        out->next_index = received + 1;
        out->next_offset = 0;
    }
    if (received > out->received_index) {
        out->received_index = received;
        expect_progress(out, context->now_ns);
    }
    if (out->missing_index <= replication.match_index || out->missing_index <= received) {
        out->missing_index = 0; /* It has come meanwhile. */
    }
    if (ack->credit_position > out->credit_position) {
        out->credit_position = ack->credit_position;
    }
    out->space_position = ack->space_position;
    out->heard_ns = context->now_ns;
    /* Not above received_index alone: a follower may lose by a cut what it held beyond its log. */
    bool wanted = ack->has_missing && ack->missing_index > replication.match_index &&
                  ack->missing_index < out->next_index + (out->next_offset > 0 ? 1 : 0);
    bool just_done = ack->missing_index == out->repaired_index &&
                     context->now_ns - out->repaired_ns < STREAM_REPAIR_AGAIN_NS;
    if (wanted && !just_done) {
        out->missing_index = ack->missing_index;
        out->missing_bitmap = ack->missing_bitmap;
    }
}
