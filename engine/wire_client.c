/* wire_client.c: the fixed part of each kind of frame to and from clients, and its payload: in and
 * out, and every check that needs no more than the frame.
 *
 * A wrong byte is an answer, never an assertion; the asserts are about what the caller encodes.
 */
#include "engine/wire_layout.h"

#include <string.h>

_Static_assert(FRAGMENTS_MAX *FRAGMENT_BYTES_MIN >= RECORD_HEADER_BYTES + RECORD_BYTES_MAX + 8,
               "a fragmented request fits its bitmap");
_Static_assert(READ_PARTIAL == 1, "the only flag of a read reply");
_Static_assert((READ_LINEARIZABLE | READ_WAITS) == 3, "the flags of a read");

/* The record at `*at`, which moves behind it. False: it does not fit, or has a field that is not as
 * it must be. Sequence and session are its caller's to judge. */
static bool record_next(const uint8_t *records,
                        uint32_t records_bytes,
                        uint32_t *at,
                        struct record_header *record)
{
    uint32_t rest_bytes = records_bytes - *at;
    if (rest_bytes < sizeof *record) {
        return false;
    }
    memcpy(record, records + *at, sizeof *record);
    if (record->bytes > RECORD_BYTES_MAX || record->kind != RECORD_APPEND ||
        (record->reserved[0] | record->reserved[1] | record->reserved[2]) != 0) {
        return false;
    }
    uint32_t whole_bytes = record_body_bytes(record->bytes);
    uint32_t used_bytes = RECORD_HEADER_BYTES + record->bytes;
    if (rest_bytes < whole_bytes ||
        !wire_all_zero(records + *at + used_bytes, whole_bytes - used_bytes)) {
        return false;
    }
    *at += whole_bytes;
    return true;
}

bool wire_records_check(const uint8_t *records,
                        uint32_t records_bytes,
                        const struct wire_request *request)
{
    ASSERT(request->record_count >= 1);
    ASSERT(request->record_count <= REQUEST_RECORDS_MAX);
    uint32_t at = 0;
    for (uint32_t i = 0; i < request->record_count; i++) {
        struct record_header record;
        if (!record_next(records, records_bytes, &at, &record) ||
            record.session != request->session || record.sequence != request->first_sequence + i) {
            return false;
        }
        ASSERT(at <= records_bytes);
    }
    return at == records_bytes;
}

/* A fragmented request is one record; every fragment but the last has the same size, which is then
 * a divisor of its offset, and is no smaller than FRAGMENT_BYTES_MIN, so that FRAGMENTS_MAX hold.
 */
static bool request_fragment_fits(const struct wire_request *request, uint32_t payload_bytes)
{
    if (request->record_count != 1 || request->offset % RECORD_ALIGN != 0 ||
        request->request_bytes % RECORD_ALIGN != 0 ||
        request->request_bytes > record_body_bytes(RECORD_BYTES_MAX)) {
        return false;
    }
    if (payload_bytes == 0 || request->offset >= request->request_bytes ||
        payload_bytes > request->request_bytes - request->offset) {
        return false;
    }
    if (payload_bytes == request->request_bytes - request->offset) {
        return request->offset >= FRAGMENT_BYTES_MIN;
    }
    return payload_bytes >= FRAGMENT_BYTES_MIN && payload_bytes % RECORD_ALIGN == 0 &&
           request->offset % payload_bytes == 0;
}

static enum wire_reason request_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct request_layout *fixed = &head->request;
    if (fixed->record_count < 1 || fixed->record_count > REQUEST_RECORDS_MAX ||
        fixed->first_sequence >= NUMBER_LIMIT) {
        return WIRE_DROP_bad_field;
    }
    /* A session's numbers begin at 1: its number 0 has no predecessor to be missed. */
    bool has_session = fixed->session != 0;
    if ((fixed->epoch != 0) != has_session || (has_session && fixed->first_sequence == 0)) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->expected_offset >= NUMBER_LIMIT && fixed->expected_offset != ANY_OFFSET) {
        return WIRE_DROP_bad_field;
    }
    out->request = (struct wire_request){
        .session = fixed->session,
        .first_sequence = fixed->first_sequence,
        .conditional = fixed->expected_offset != ANY_OFFSET,
        .expected_offset = fixed->expected_offset == ANY_OFFSET ? 0 : fixed->expected_offset,
        .epoch = fixed->epoch,
        .record_count = fixed->record_count,
        .request_bytes = fixed->request_bytes,
        .offset = fixed->offset,
    };
    bool whole = fixed->offset == 0 && fixed->request_bytes == out->payload_bytes;
    bool fits = whole ? wire_records_check(out->payload, out->payload_bytes, &out->request)
                      : request_fragment_fits(&out->request, out->payload_bytes);
    return fits ? WIRE_DROP_ok : WIRE_DROP_bad_field;
}

static enum wire_reason reply_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct reply_layout *fixed = &head->reply;
    if (fixed->reserved != 0 || fixed->status >= WIRE_STATUS_COUNT || fixed->leader > NODE_ID_MAX) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->record_count < 1 || fixed->record_count > ENTRY_RECORDS_MAX ||
        (fixed->first_sequence | fixed->first_offset | fixed->detail) >= NUMBER_LIMIT) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->detail != 0 && fixed->status != WIRE_GAP && fixed->status != WIRE_CONDITION &&
        fixed->status != WIRE_FENCED) {
        return WIRE_DROP_bad_field;
    }
    out->reply = (struct wire_reply){
        .session = fixed->session,
        .first_sequence = fixed->first_sequence,
        .first_offset = fixed->first_offset,
        .detail = fixed->detail,
        .record_count = fixed->record_count,
        .status = fixed->status,
        .leader = fixed->leader,
    };
    return WIRE_DROP_ok;
}

static enum wire_reason read_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct read_layout *fixed = &head->read;
    if (fixed->flags > (READ_LINEARIZABLE | READ_WAITS) || fixed->reserved != 0 ||
        fixed->offset >= NUMBER_LIMIT || fixed->skip > RECORD_BYTES_MAX) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->frame_bytes != 0 &&
        (fixed->frame_bytes < ENTRY_FRAME_BYTES_MIN || fixed->frame_bytes > FRAME_BYTES_MAX)) {
        return WIRE_DROP_bad_field;
    }
    out->read = (struct wire_read){
        .offset = fixed->offset,
        .skip = fixed->skip,
        .frame_bytes = fixed->frame_bytes,
        .linearizable = (fixed->flags & READ_LINEARIZABLE) != 0,
        .waits = (fixed->flags & READ_WAITS) != 0,
    };
    return WIRE_DROP_ok;
}

static bool read_records_fit(const uint8_t *records, uint32_t records_bytes, uint32_t record_count)
{
    ASSERT(record_count <= ENTRY_RECORDS_MAX);
    uint32_t at = 0;
    for (uint32_t i = 0; i < record_count; i++) {
        struct record_header record;
        if (!record_next(records, records_bytes, &at, &record)) {
            return false;
        }
        ASSERT(at <= records_bytes);
    }
    return at == records_bytes;
}

static enum wire_reason read_reply_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct read_reply_layout *fixed = &head->read_reply;
    if (fixed->status >= WIRE_STATUS_COUNT || fixed->leader > NODE_ID_MAX ||
        fixed->flags > READ_PARTIAL || !wire_all_zero(fixed->reserved, sizeof fixed->reserved)) {
        return WIRE_DROP_bad_field;
    }
    if ((fixed->offset | fixed->start_offset | fixed->committed_offset) >= NUMBER_LIMIT ||
        fixed->skip > RECORD_BYTES_MAX || fixed->record_count > ENTRY_RECORDS_MAX) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->term >= NUMBER_LIMIT || (fixed->term > 0) != (fixed->record_count > 0)) {
        return WIRE_DROP_bad_field;
    }
    bool partial = fixed->flags == READ_PARTIAL;
    if (partial && fixed->record_count != 1) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->record_count > 0 &&
        (fixed->status != WIRE_OK || fixed->offset < fixed->start_offset ||
         fixed->offset >= fixed->committed_offset ||
         fixed->committed_offset - fixed->offset < fixed->record_count)) {
        return WIRE_DROP_bad_field;
    }
    out->read_reply = (struct wire_read_reply){
        .offset = fixed->offset,
        .start_offset = fixed->start_offset,
        .committed_offset = fixed->committed_offset,
        .skip = fixed->skip,
        .record_count = fixed->record_count,
        .status = fixed->status,
        .leader = fixed->leader,
        .partial = partial,
        .term = fixed->term,
    };
    return read_records_fit(out->payload, out->payload_bytes, fixed->record_count)
               ? WIRE_DROP_ok
               : WIRE_DROP_bad_field;
}

/* What a sound node says of itself: sets hold node ids alone, and only a leader knows for whom the
 * first commit waits. */
static bool status_reply_is_sound(const struct status_reply_layout *fixed, uint8_t from)
{
    bool leads = fixed->role == WIRE_LEADER;
    bool bootstrapped = (fixed->flags & STATUS_BOOTSTRAPPED) != 0;
    bool takes = (fixed->flags & STATUS_TAKES) != 0;
    if (((fixed->voters | fixed->strangers | fixed->behind | fixed->regressed) & 1u) != 0 ||
        fixed->voters == 0 || (fixed->waiting & ~fixed->voters) != 0) {
        return false;
    }
    bool faulty = (fixed->flags & STATUS_FAULTY) != 0;
    bool bounded = (fixed->flags & STATUS_BOUNDED) != 0;
    bool may_wait = faulty || (leads && !bootstrapped);
    if ((takes && !(leads && bootstrapped)) || (fixed->waiting != 0 && !may_wait) ||
        (faulty && (leads || fixed->leader != 0)) || (bounded && (leads || faulty)) ||
        (faulty && (fixed->more & (STATUS_UNMENDED | STATUS_DIVERGED)) != 0)) {
        return false;
    }
    bool full = (fixed->more & STATUS_FULL) != 0;
    if ((full && !takes) || (fixed->smallest != 0 && !full) || fixed->smallest > NODE_ID_MAX) {
        return false;
    }
    return leads ? fixed->leader == from : fixed->behind == 0;
}

_Static_assert((STATUS_DURABLE | STATUS_BOOTSTRAPPED | STATUS_TAKES | STATUS_DEGRADED |
                STATUS_SLOWED | STATUS_FAULTY | STATUS_POSIX | STATUS_BOUNDED) == UINT8_MAX,
               "no flag is unknown");

static enum wire_reason status_reply_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct status_reply_layout *fixed = &head->status_reply;
    if (fixed->role >= WIRE_ROLE_COUNT || fixed->leader > NODE_ID_MAX ||
        fixed->more > (STATUS_UNMENDED | STATUS_FULL | STATUS_DIVERGED) ||
        !wire_all_zero(fixed->reserved, sizeof fixed->reserved)) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->term >= NUMBER_LIMIT) {
        return WIRE_DROP_absurd_term;
    }
    if ((fixed->commit_index | fixed->durable_index | fixed->start_offset | fixed->end_offset |
         fixed->frames_dropped) >= NUMBER_LIMIT ||
        fixed->start_offset > fixed->end_offset ||
        !status_reply_is_sound(fixed, head->header.from)) {
        return WIRE_DROP_bad_field;
    }
    out->status_reply = (struct wire_status_reply){
        .role = fixed->role,
        .leader = fixed->leader,
        .durable = (fixed->flags & STATUS_DURABLE) != 0,
        .bootstrapped = (fixed->flags & STATUS_BOOTSTRAPPED) != 0,
        .takes_proposals = (fixed->flags & STATUS_TAKES) != 0,
        .degraded = (fixed->flags & STATUS_DEGRADED) != 0,
        .slowed = (fixed->flags & STATUS_SLOWED) != 0,
        .faulty = (fixed->flags & STATUS_FAULTY) != 0,
        .posix = (fixed->flags & STATUS_POSIX) != 0,
        .bounded = (fixed->flags & STATUS_BOUNDED) != 0,
        .unmended = (fixed->more & STATUS_UNMENDED) != 0,
        .full = (fixed->more & STATUS_FULL) != 0,
        .diverged = (fixed->more & STATUS_DIVERGED) != 0,
        .smallest = fixed->smallest,
        .term = fixed->term,
        .commit_index = fixed->commit_index,
        .durable_index = fixed->durable_index,
        .start_offset = fixed->start_offset,
        .end_offset = fixed->end_offset,
        .voters = fixed->voters,
        .waiting = fixed->waiting,
        .strangers = fixed->strangers,
        .behind = fixed->behind,
        .frames_dropped = fixed->frames_dropped,
        .regressed = fixed->regressed,
    };
    return WIRE_DROP_ok;
}

static enum wire_reason open_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct open_layout *fixed = &head->open;
    if (fixed->name_bytes > SESSION_NAME_MAX ||
        !wire_all_zero(fixed->reserved, sizeof fixed->reserved) ||
        !wire_all_zero(fixed->name + fixed->name_bytes, SESSION_NAME_MAX - fixed->name_bytes)) {
        return WIRE_DROP_bad_field;
    }
    out->open = (struct wire_open){.epoch = fixed->epoch, .name_bytes = fixed->name_bytes};
    memcpy(out->open.name, fixed->name, SESSION_NAME_MAX);
    return WIRE_DROP_ok;
}

static bool open_status_is_sound(const struct open_reply_layout *fixed)
{
    switch (fixed->status) {
    case WIRE_OK:
        return fixed->session != 0 && fixed->epoch != 0 && fixed->next_sequence != 0;
    case WIRE_FENCED: /* Epoch 0: there is none any more. */
        return fixed->session == 0 && fixed->next_sequence == 0;
    case WIRE_BUSY:
    case WIRE_FULL:
    case WIRE_NOT_LEADER:
        return fixed->session == 0 && fixed->next_sequence == 0 && fixed->epoch == 0;
    default:
        return false;
    }
}

static enum wire_reason open_reply_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct open_reply_layout *fixed = &head->open_reply;
    if (fixed->reserved != 0 || fixed->leader > NODE_ID_MAX || !open_status_is_sound(fixed) ||
        (fixed->session | fixed->next_sequence) >= NUMBER_LIMIT) {
        return WIRE_DROP_bad_field;
    }
    out->open_reply = (struct wire_open_reply){
        .session = fixed->session,
        .next_sequence = fixed->next_sequence,
        .epoch = fixed->epoch,
        .status = fixed->status,
        .leader = fixed->leader,
    };
    return WIRE_DROP_ok;
}

static enum wire_reason transfer_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct transfer_layout *fixed = &head->transfer;
    if (fixed->to > NODE_ID_MAX || !wire_all_zero(fixed->reserved, sizeof fixed->reserved)) {
        return WIRE_DROP_bad_field;
    }
    out->transfer = (struct wire_transfer){.to = fixed->to};
    return WIRE_DROP_ok;
}

static enum wire_reason transfer_reply_decode(const struct head_layout *head,
                                              struct wire_frame *out)
{
    const struct transfer_reply_layout *fixed = &head->transfer_reply;
    if (fixed->outcome > RAFT_TRANSFER_NOBODY_HEARD || fixed->leader > NODE_ID_MAX ||
        fixed->to > NODE_ID_MAX || !wire_all_zero(fixed->reserved, sizeof fixed->reserved)) {
        return WIRE_DROP_bad_field;
    }
    out->transfer_reply = (struct wire_transfer_reply){
        .outcome = fixed->outcome,
        .leader = fixed->leader,
        .to = fixed->to,
    };
    return WIRE_DROP_ok;
}

static enum wire_reason stats_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct stats_layout *fixed = &head->stats;
    if (fixed->first >= STATS_ITEMS_MAX ||
        !wire_all_zero(fixed->reserved, sizeof fixed->reserved)) {
        return WIRE_DROP_bad_field;
    }
    out->stats = (struct wire_stats){.first = fixed->first};
    return WIRE_DROP_ok;
}

static bool stats_items_fit(const uint8_t *items, uint32_t items_bytes, uint32_t count)
{
    ASSERT(count <= STATS_ITEMS_MAX);
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct wire_item item;
        if (!wire_item_next(items, items_bytes, &at, &item)) {
            return false;
        }
        ASSERT(at <= items_bytes);
    }
    return at == items_bytes;
}

static enum wire_reason stats_reply_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct stats_reply_layout *fixed = &head->stats_reply;
    if (fixed->reserved != 0 || fixed->total < 1 || fixed->total > STATS_ITEMS_MAX ||
        fixed->first >= STATS_ITEMS_MAX || out->payload_bytes > STATS_BYTES_MAX) {
        return WIRE_DROP_bad_field;
    }
    uint32_t rest = fixed->first < fixed->total ? (uint32_t)(fixed->total - fixed->first) : 0;
    if (fixed->count > rest || (fixed->count == 0) != (rest == 0)) {
        return WIRE_DROP_bad_field;
    }
    out->stats_reply = (struct wire_stats_reply){
        .total = fixed->total,
        .first = fixed->first,
        .count = fixed->count,
    };
    return stats_items_fit(out->payload, out->payload_bytes, fixed->count) ? WIRE_DROP_ok
                                                                           : WIRE_DROP_bad_field;
}

enum wire_reason wire_client_decode(const struct head_layout *head, struct wire_frame *out)
{
    ASSERT(head->header.kind >= WIRE_REQUEST);
    switch (head->header.kind) {
    case WIRE_REQUEST:
        return request_decode(head, out);
    case WIRE_REPLY:
        return reply_decode(head, out);
    case WIRE_READ:
        return read_decode(head, out);
    case WIRE_READ_REPLY:
        return read_reply_decode(head, out);
    case WIRE_STATUS:
        return head->status.reserved == 0 ? WIRE_DROP_ok : WIRE_DROP_bad_field;
    case WIRE_STATUS_REPLY:
        return status_reply_decode(head, out);
    case WIRE_OPEN:
        return open_decode(head, out);
    case WIRE_OPEN_REPLY:
        return open_reply_decode(head, out);
    case WIRE_TRANSFER:
        return transfer_decode(head, out);
    case WIRE_TRANSFER_REPLY:
        return transfer_reply_decode(head, out);
    case WIRE_STATS:
        return stats_decode(head, out);
    case WIRE_STATS_REPLY:
        return stats_reply_decode(head, out);
    default:
        return WIRE_DROP_unknown_kind;
    }
}

static void request_encode(const struct wire_request *request, struct request_layout *fixed)
{
    ASSERT(request->record_count >= 1);
    ASSERT(request->record_count <= REQUEST_RECORDS_MAX);
    ASSERT((request->session != 0) == (request->epoch != 0));
    fixed->session = request->session;
    fixed->first_sequence = request->first_sequence;
    fixed->expected_offset = request->conditional ? request->expected_offset : ANY_OFFSET;
    fixed->epoch = request->epoch;
    fixed->record_count = request->record_count;
    fixed->request_bytes = request->request_bytes;
    fixed->offset = request->offset;
}

static void reply_encode(const struct wire_reply *reply, struct reply_layout *fixed)
{
    ASSERT(reply->record_count >= 1);
    ASSERT(reply->status < WIRE_STATUS_COUNT);
    fixed->session = reply->session;
    fixed->first_sequence = reply->first_sequence;
    fixed->first_offset = reply->first_offset;
    fixed->detail = reply->detail;
    fixed->record_count = reply->record_count;
    fixed->status = reply->status;
    fixed->leader = reply->leader;
}

static void read_reply_encode(const struct wire_read_reply *reply, struct read_reply_layout *fixed)
{
    ASSERT(reply->status < WIRE_STATUS_COUNT);
    ASSERT(reply->record_count == 1 || !reply->partial);
    fixed->offset = reply->offset;
    fixed->start_offset = reply->start_offset;
    fixed->committed_offset = reply->committed_offset;
    fixed->skip = reply->skip;
    fixed->record_count = reply->record_count;
    fixed->status = reply->status;
    fixed->leader = reply->leader;
    fixed->flags = reply->partial ? READ_PARTIAL : 0;
    fixed->term = reply->term;
}

static void status_reply_encode(const struct wire_status_reply *reply,
                                struct status_reply_layout *fixed)
{
    ASSERT(reply->role < WIRE_ROLE_COUNT);
    ASSERT(reply->start_offset <= reply->end_offset);
    fixed->role = reply->role;
    fixed->leader = reply->leader;
    fixed->flags =
        (uint8_t)((reply->durable ? STATUS_DURABLE : 0) |
                  (reply->bootstrapped ? STATUS_BOOTSTRAPPED : 0) |
                  (reply->takes_proposals ? STATUS_TAKES : 0) |
                  (reply->degraded ? STATUS_DEGRADED : 0) | (reply->slowed ? STATUS_SLOWED : 0) |
                  (reply->faulty ? STATUS_FAULTY : 0) | (reply->posix ? STATUS_POSIX : 0) |
                  (reply->bounded ? STATUS_BOUNDED : 0));
    fixed->more =
        (uint8_t)((reply->unmended ? STATUS_UNMENDED : 0) | (reply->full ? STATUS_FULL : 0) |
                  (reply->diverged ? STATUS_DIVERGED : 0));
    fixed->smallest = reply->smallest;
    fixed->term = reply->term;
    fixed->commit_index = reply->commit_index;
    fixed->durable_index = reply->durable_index;
    fixed->start_offset = reply->start_offset;
    fixed->end_offset = reply->end_offset;
    fixed->voters = reply->voters;
    fixed->waiting = reply->waiting;
    fixed->strangers = reply->strangers;
    fixed->behind = reply->behind;
    fixed->frames_dropped = reply->frames_dropped;
    fixed->regressed = reply->regressed;
}

static void open_encode(const struct wire_open *open, struct open_layout *fixed)
{
    ASSERT(open->name_bytes <= SESSION_NAME_MAX);
    fixed->epoch = open->epoch;
    fixed->name_bytes = open->name_bytes;
    memcpy(fixed->name, open->name, open->name_bytes);
}

static void open_reply_encode(const struct wire_open_reply *reply, struct open_reply_layout *fixed)
{
    fixed->session = reply->session;
    fixed->next_sequence = reply->next_sequence;
    fixed->epoch = reply->epoch;
    fixed->status = reply->status;
    fixed->leader = reply->leader;
    ASSERT(open_status_is_sound(fixed));
}

static void stats_reply_encode(const struct wire_stats_reply *reply,
                               struct stats_reply_layout *fixed)
{
    ASSERT(reply->total >= 1);
    ASSERT(reply->total <= STATS_ITEMS_MAX);
    ASSERT(reply->first < STATS_ITEMS_MAX);
    fixed->total = reply->total;
    fixed->first = reply->first;
    fixed->count = reply->count;
}

void wire_client_encode(const struct wire_frame *frame, struct head_layout *head)
{
    switch (head->header.kind) {
    case WIRE_REQUEST:
        request_encode(&frame->request, &head->request);
        return;
    case WIRE_REPLY:
        reply_encode(&frame->reply, &head->reply);
        return;
    case WIRE_READ:
        head->read.offset = frame->read.offset;
        head->read.skip = frame->read.skip;
        head->read.frame_bytes = frame->read.frame_bytes;
        head->read.flags = (uint8_t)((frame->read.linearizable ? READ_LINEARIZABLE : 0u) |
                                     (frame->read.waits ? READ_WAITS : 0u));
        return;
    case WIRE_READ_REPLY:
        read_reply_encode(&frame->read_reply, &head->read_reply);
        return;
    case WIRE_STATUS:
        return;
    case WIRE_STATUS_REPLY:
        status_reply_encode(&frame->status_reply, &head->status_reply);
        return;
    case WIRE_OPEN:
        open_encode(&frame->open, &head->open);
        return;
    case WIRE_OPEN_REPLY:
        open_reply_encode(&frame->open_reply, &head->open_reply);
        return;
    case WIRE_TRANSFER:
        head->transfer.to = frame->transfer.to;
        return;
    case WIRE_TRANSFER_REPLY:
        head->transfer_reply.outcome = frame->transfer_reply.outcome;
        head->transfer_reply.leader = frame->transfer_reply.leader;
        head->transfer_reply.to = frame->transfer_reply.to;
        return;
    case WIRE_STATS:
        ASSERT(frame->stats.first < STATS_ITEMS_MAX);
        head->stats.first = frame->stats.first;
        return;
    case WIRE_STATS_REPLY:
        stats_reply_encode(&frame->stats_reply, &head->stats_reply);
        return;
    default:
        ASSERT(false);
    }
}
