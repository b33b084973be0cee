/* wire_fixed.c: the fixed part of each kind of frame, and its payload where that is checked: in and
 * out, and every check that needs no more than the frame.
 *
 * A wrong byte is an answer, never an assertion; the asserts are about what the caller encodes.
 */
#include "engine/wire_layout.h"

#include <string.h>

_Static_assert(FRAGMENTS_MAX *FRAGMENT_BYTES_MIN >= RECORD_HEADER_BYTES + RECORD_BYTES_MAX + 8,
               "a fragmented request fits its bitmap");
_Static_assert(READ_PARTIAL == 1, "the only flag of a read reply");

static bool all_zero(const uint8_t *bytes, uint32_t count)
{
    uint8_t any = 0;
    for (uint32_t i = 0; i < count; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

/* Index 0 is the empty log, whose term is 0; any other entry has a term, not above the message's.
 */
static enum wire_reason id_check(struct raft_entry_id id, uint64_t message_term)
{
    if (id.term >= NUMBER_LIMIT) {
        return WIRE_DROP_absurd_term;
    }
    if (id.index >= NUMBER_LIMIT || id.term > message_term) {
        return WIRE_DROP_bad_field;
    }
    return (id.index == 0) == (id.term == 0) ? WIRE_DROP_ok : WIRE_DROP_bad_field;
}

static enum wire_reason vote_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct vote_layout *fixed = &head->vote;
    struct raft_entry_id last = {fixed->last_term, fixed->last_index};
    bool may_transfer = head->header.kind == WIRE_VOTE;
    if (fixed->transfer > (may_transfer ? 1 : 0) ||
        !all_zero(fixed->reserved, sizeof fixed->reserved)) {
        return WIRE_DROP_bad_field;
    }
    out->message.vote.last = last;
    out->message.vote.transfer = fixed->transfer == 1;
    return id_check(last, head->header.term);
}

/* A leader that hands over has an entry of its term, so its log is not empty. */
static enum wire_reason timeout_now_decode(const struct head_layout *head, struct wire_frame *out)
{
    struct raft_entry_id last = {head->timeout_now.last_term, head->timeout_now.last_index};
    enum wire_reason reason = id_check(last, head->header.term);
    out->message.timeout_now.last = last;
    return reason == WIRE_DROP_ok && last.index == 0 ? WIRE_DROP_bad_field : reason;
}

static enum wire_reason vote_reply_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct vote_reply_layout *fixed = &head->vote_reply;
    if (fixed->granted > 1 || !all_zero(fixed->reserved, sizeof fixed->reserved)) {
        return WIRE_DROP_bad_field;
    }
    out->message.vote_reply.granted = fixed->granted == 1;
    return WIRE_DROP_ok;
}

static enum wire_reason append_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct append_layout *fixed = &head->append;
    if (fixed->reserved != 0 || fixed->commit_index >= NUMBER_LIMIT) {
        return WIRE_DROP_bad_field;
    }
    struct raft_entry_id prev = {fixed->prev_term, fixed->prev_index};
    out->message.append.session = fixed->session;
    out->message.append.prev = prev;
    out->message.append.commit_index = fixed->commit_index;
    return id_check(prev, head->header.term);
}

/* The used bytes of an entry of this many pages end in its last page. */
static bool entry_used_bytes_fit(uint32_t used_bytes, uint32_t pages)
{
    uint32_t before_last = (pages - 1) * PAGE_BYTES;
    uint32_t least = pages == 1 ? ENTRY_BODY_OFFSET : before_last + 1;
    return used_bytes >= least && used_bytes <= before_last + PAGE_BYTES - PAGE_MARK_BYTES;
}

/* Where the fragment lies in the entry; none at all is a poll. */
static bool entry_fragment_fits(const struct entry_layout *fixed, uint32_t payload_bytes)
{
    if (fixed->fragment_bytes < FRAGMENT_BYTES_MIN || fixed->fragment_bytes > FRAME_BYTES_MAX ||
        fixed->fragment_bytes % 8 != 0) {
        return false;
    }
    if (payload_bytes == 0) {
        return fixed->offset == 0;
    }
    uint32_t part_bytes = fixed->used_bytes - NODE_HEADER_BYTES;
    if (fixed->offset >= part_bytes || fixed->offset % fixed->fragment_bytes != 0) {
        return false;
    }
    uint32_t rest_bytes = part_bytes - fixed->offset;
    uint32_t whole_bytes = fixed->fragment_bytes;
    return payload_bytes == (rest_bytes < whole_bytes ? rest_bytes : whole_bytes);
}

static enum wire_reason entry_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct entry_layout *fixed = &head->entry;
    struct raft_entry_id id = {fixed->term, fixed->index};
    enum wire_reason reason = id_check(id, head->header.term);
    if (reason != WIRE_DROP_ok) {
        return reason;
    }
    if (id.index == 0 || fixed->previous_term > id.term ||
        (fixed->previous_term == 0) != (id.index == 1)) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->reserved != 0 || fixed->pages < 1 || fixed->pages > ENTRY_PAGES_MAX ||
        !entry_used_bytes_fit(fixed->used_bytes, fixed->pages) ||
        !entry_fragment_fits(fixed, out->payload_bytes)) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->position % PAGE_BYTES != 0 || fixed->position >= NUMBER_LIMIT ||
        fixed->commit_index >= NUMBER_LIMIT) {
        return WIRE_DROP_bad_field;
    }
    uint64_t last_page = fixed->pages - 1u;
    if (fixed->last_mark.position != ((fixed->position + last_page * PAGE_BYTES) | last_page) ||
        fixed->last_mark.term_low != (uint32_t)id.term) {
        return WIRE_DROP_bad_field;
    }
    out->entry = (struct wire_entry){
        .session = fixed->session,
        .fragment_bytes = fixed->fragment_bytes,
        .pages = fixed->pages,
        .used_bytes = fixed->used_bytes,
        .offset = fixed->offset,
        .id = id,
        .previous_term = fixed->previous_term,
        .position = fixed->position,
        .commit_index = fixed->commit_index,
        .last_mark = fixed->last_mark,
    };
    return WIRE_DROP_ok;
}

static enum wire_reason ack_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct ack_layout *fixed = &head->ack;
    struct raft_entry_id hint = {fixed->hint_term, fixed->hint_index};
    enum wire_reason reason = id_check(hint, head->header.term);
    if (reason != WIRE_DROP_ok) {
        return reason;
    }
    if (fixed->flags > (ACK_MATCHED | ACK_BOOTSTRAPPED | ACK_MISSING) ||
        !all_zero(fixed->reserved, sizeof fixed->reserved)) {
        return WIRE_DROP_bad_field;
    }
    bool has_missing = (fixed->flags & ACK_MISSING) != 0;
    if (has_missing != (fixed->missing_index != 0) || has_missing != (fixed->missing_bitmap != 0)) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->durable_index > fixed->verified_index || fixed->credit_position % PAGE_BYTES != 0 ||
        fixed->space_position % PAGE_BYTES != 0) {
        return WIRE_DROP_bad_field;
    }
    if ((fixed->verified_index | fixed->received_index | fixed->credit_position |
         fixed->space_position | fixed->missing_index) >= NUMBER_LIMIT) {
        return WIRE_DROP_bad_field;
    }
    out->ack = (struct wire_ack){
        .session = fixed->session,
        .matched = (fixed->flags & ACK_MATCHED) != 0,
        .bootstrapped = (fixed->flags & ACK_BOOTSTRAPPED) != 0,
        .has_missing = has_missing,
        .hint = hint,
        .verified_index = fixed->verified_index,
        .durable_index = fixed->durable_index,
        .received_index = fixed->received_index,
        .credit_position = fixed->credit_position,
        .space_position = fixed->space_position,
        .missing_index = fixed->missing_index,
        .missing_bitmap = fixed->missing_bitmap,
    };
    return WIRE_DROP_ok;
}

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
    if (record->bytes > RECORD_BYTES_MAX || record->kind != 0 ||
        (record->reserved[0] | record->reserved[1] | record->reserved[2]) != 0) {
        return false;
    }
    uint32_t whole_bytes = record_body_bytes(record->bytes);
    uint32_t used_bytes = RECORD_HEADER_BYTES + record->bytes;
    if (rest_bytes < whole_bytes ||
        !all_zero(records + *at + used_bytes, whole_bytes - used_bytes)) {
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
    if (fixed->reserved != 0 || fixed->record_count < 1 ||
        fixed->record_count > REQUEST_RECORDS_MAX || fixed->first_sequence >= NUMBER_LIMIT) {
        return WIRE_DROP_bad_field;
    }
    out->request = (struct wire_request){
        .session = fixed->session,
        .first_sequence = fixed->first_sequence,
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
        (fixed->first_sequence | fixed->first_offset) >= NUMBER_LIMIT) {
        return WIRE_DROP_bad_field;
    }
    out->reply = (struct wire_reply){
        .session = fixed->session,
        .first_sequence = fixed->first_sequence,
        .first_offset = fixed->first_offset,
        .record_count = fixed->record_count,
        .status = fixed->status,
        .leader = fixed->leader,
    };
    return WIRE_DROP_ok;
}

static enum wire_reason read_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct read_layout *fixed = &head->read;
    if (fixed->reserved != 0 || fixed->offset >= NUMBER_LIMIT || fixed->skip > RECORD_BYTES_MAX) {
        return WIRE_DROP_bad_field;
    }
    out->read = (struct wire_read){.offset = fixed->offset, .skip = fixed->skip};
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
        fixed->flags > READ_PARTIAL || !all_zero(fixed->reserved, sizeof fixed->reserved)) {
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
    if (((fixed->voters | fixed->strangers) & 1u) != 0 || fixed->voters == 0 ||
        (fixed->waiting & ~fixed->voters) != 0) {
        return false;
    }
    if ((takes && !(leads && bootstrapped)) || (fixed->waiting != 0 && (!leads || bootstrapped))) {
        return false;
    }
    return !leads || fixed->leader == from;
}

static enum wire_reason status_reply_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct status_reply_layout *fixed = &head->status_reply;
    if (fixed->role >= WIRE_ROLE_COUNT || fixed->leader > NODE_ID_MAX ||
        fixed->flags > (STATUS_DURABLE | STATUS_BOOTSTRAPPED | STATUS_TAKES | STATUS_DEGRADED) ||
        !all_zero(fixed->reserved, sizeof fixed->reserved)) {
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
        .term = fixed->term,
        .commit_index = fixed->commit_index,
        .durable_index = fixed->durable_index,
        .start_offset = fixed->start_offset,
        .end_offset = fixed->end_offset,
        .voters = fixed->voters,
        .waiting = fixed->waiting,
        .strangers = fixed->strangers,
        .frames_dropped = fixed->frames_dropped,
    };
    return WIRE_DROP_ok;
}

enum wire_reason wire_fixed_decode(const struct head_layout *head, struct wire_frame *out)
{
    switch ((enum wire_kind)head->header.kind) {
    case WIRE_PRE_VOTE:
    case WIRE_VOTE:
        return vote_decode(head, out);
    case WIRE_PRE_VOTE_REPLY:
    case WIRE_VOTE_REPLY:
        return vote_reply_decode(head, out);
    case WIRE_APPEND:
        return append_decode(head, out);
    case WIRE_ENTRY:
        return entry_decode(head, out);
    case WIRE_ACK:
        return ack_decode(head, out);
    case WIRE_TIMEOUT_NOW:
        return timeout_now_decode(head, out);
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
    }
    return WIRE_DROP_unknown_kind;
}

static void entry_encode(const struct wire_entry *entry, struct entry_layout *fixed)
{
    ASSERT(entry->fragment_bytes % 8 == 0);
    ASSERT(entry->id.index > 0);
    fixed->session = entry->session;
    fixed->fragment_bytes = entry->fragment_bytes;
    fixed->pages = entry->pages;
    fixed->used_bytes = entry->used_bytes;
    fixed->offset = entry->offset;
    fixed->term = entry->id.term;
    fixed->index = entry->id.index;
    fixed->previous_term = entry->previous_term;
    fixed->position = entry->position;
    fixed->commit_index = entry->commit_index;
    fixed->last_mark = entry->last_mark;
}

static void ack_encode(const struct wire_ack *ack, struct ack_layout *fixed)
{
    ASSERT(ack->durable_index <= ack->verified_index);
    ASSERT(ack->credit_position % PAGE_BYTES == 0);
    fixed->session = ack->session;
    fixed->flags =
        (uint8_t)((ack->matched ? ACK_MATCHED : 0) | (ack->bootstrapped ? ACK_BOOTSTRAPPED : 0) |
                  (ack->has_missing ? ACK_MISSING : 0));
    fixed->hint_term = ack->hint.term;
    fixed->hint_index = ack->hint.index;
    fixed->verified_index = ack->verified_index;
    fixed->durable_index = ack->durable_index;
    fixed->received_index = ack->received_index;
    fixed->credit_position = ack->credit_position;
    fixed->space_position = ack->space_position;
    fixed->missing_index = ack->has_missing ? ack->missing_index : 0;
    fixed->missing_bitmap = ack->has_missing ? ack->missing_bitmap : 0;
}

static void request_encode(const struct wire_request *request, struct request_layout *fixed)
{
    ASSERT(request->record_count >= 1);
    ASSERT(request->record_count <= REQUEST_RECORDS_MAX);
    fixed->session = request->session;
    fixed->first_sequence = request->first_sequence;
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
    fixed->flags = (uint8_t)((reply->durable ? STATUS_DURABLE : 0) |
                             (reply->bootstrapped ? STATUS_BOOTSTRAPPED : 0) |
                             (reply->takes_proposals ? STATUS_TAKES : 0) |
                             (reply->degraded ? STATUS_DEGRADED : 0));
    fixed->term = reply->term;
    fixed->commit_index = reply->commit_index;
    fixed->durable_index = reply->durable_index;
    fixed->start_offset = reply->start_offset;
    fixed->end_offset = reply->end_offset;
    fixed->voters = reply->voters;
    fixed->waiting = reply->waiting;
    fixed->strangers = reply->strangers;
    fixed->frames_dropped = reply->frames_dropped;
}

void wire_fixed_encode(const struct wire_frame *frame, struct head_layout *head)
{
    switch ((enum wire_kind)head->header.kind) {
    case WIRE_PRE_VOTE:
    case WIRE_VOTE:
        head->vote.last_term = frame->message.vote.last.term;
        head->vote.last_index = frame->message.vote.last.index;
        head->vote.transfer = frame->message.vote.transfer ? 1 : 0;
        return;
    case WIRE_PRE_VOTE_REPLY:
    case WIRE_VOTE_REPLY:
        head->vote_reply.granted = frame->message.vote_reply.granted ? 1 : 0;
        return;
    case WIRE_APPEND:
        head->append.session = frame->message.append.session;
        head->append.prev_term = frame->message.append.prev.term;
        head->append.prev_index = frame->message.append.prev.index;
        head->append.commit_index = frame->message.append.commit_index;
        return;
    case WIRE_ENTRY:
        entry_encode(&frame->entry, &head->entry);
        return;
    case WIRE_ACK:
        ack_encode(&frame->ack, &head->ack);
        return;
    case WIRE_TIMEOUT_NOW:
        head->timeout_now.last_term = frame->message.timeout_now.last.term;
        head->timeout_now.last_index = frame->message.timeout_now.last.index;
        return;
    case WIRE_REQUEST:
        request_encode(&frame->request, &head->request);
        return;
    case WIRE_REPLY:
        reply_encode(&frame->reply, &head->reply);
        return;
    case WIRE_READ:
        head->read.offset = frame->read.offset;
        head->read.skip = frame->read.skip;
        return;
    case WIRE_READ_REPLY:
        read_reply_encode(&frame->read_reply, &head->read_reply);
        return;
    case WIRE_STATUS:
        return;
    case WIRE_STATUS_REPLY:
        status_reply_encode(&frame->status_reply, &head->status_reply);
        return;
    }
}
