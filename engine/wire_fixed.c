/* wire_fixed.c: the fixed part of each kind of frame between nodes: in and out, and every check
 * that needs no more than the frame. The kinds of clients are in wire_client.c.
 *
 * A wrong byte is an answer, never an assertion; the asserts are about what the caller encodes.
 */
#include "engine/wire_layout.h"

bool wire_all_zero(const uint8_t *bytes, uint32_t count)
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
        !wire_all_zero(fixed->reserved, sizeof fixed->reserved)) {
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
    /* It may be of a newer term than the sender's: a pre-vote brings news and moves no term. */
    if (fixed->regressed_term >= NUMBER_LIMIT) {
        return WIRE_DROP_absurd_term;
    }
    if (fixed->granted > 1 || (fixed->regressed & 1u) != 0 ||
        !wire_all_zero(fixed->reserved, sizeof fixed->reserved)) {
        return WIRE_DROP_bad_field;
    }
    out->message.vote_reply.granted = fixed->granted == 1;
    out->message.vote_reply.regressed = fixed->regressed;
    out->message.vote_reply.regressed_term = fixed->regressed_term;
    out->message.vote_reply.regressed_token = fixed->regressed_token;
    return WIRE_DROP_ok;
}

static enum wire_reason append_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct append_layout *fixed = &head->append;
    if (fixed->commit_index >= WIRE_COMMIT_LIMIT || (fixed->regressed & 1u) != 0) {
        return WIRE_DROP_bad_field;
    }
    struct raft_entry_id prev = {fixed->prev_term, fixed->prev_index};
    out->message.append.session = fixed->session;
    out->message.append.prev = prev;
    out->message.append.commit_index = fixed->commit_index;
    out->message.append.heard_boot = fixed->heard_boot;
    out->message.append.regressed = fixed->regressed;
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

/* An entry that a damaged node asked for: it belongs to no session, and a poll it cannot be. */
static enum wire_reason mend_entry_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct entry_layout *fixed = &head->entry;
    bool bare = fixed->session == 0 && fixed->commit_index == 0 && out->payload_bytes > 0;
    return bare ? entry_decode(head, out) : WIRE_DROP_bad_field;
}

/* Its term may be above that of whoever has not heard of it. */
static enum wire_reason mend_say_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct mend_say_layout *fixed = &head->mend_say;
    struct raft_entry_id id = {fixed->term, fixed->index};
    struct raft_entry_id last = {fixed->last_term, fixed->last_index};
    if (fixed->what >= WIRE_MEND_COUNT || id.index == 0 ||
        !wire_all_zero(fixed->reserved, sizeof fixed->reserved)) {
        return WIRE_DROP_bad_field;
    }
    out->mend_say = (struct wire_mend_say){.what = fixed->what, .id = id, .last = last};
    enum wire_reason reason = id_check(last, head->header.term);
    return reason == WIRE_DROP_ok ? id_check(id, NUMBER_LIMIT) : reason;
}

static enum wire_reason mend_ask_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct mend_ask_layout *fixed = &head->mend_ask;
    struct raft_entry_id id = {fixed->term, fixed->index};
    if (id.index == 0 || fixed->end_position == 0 || fixed->end_position % PAGE_BYTES != 0 ||
        fixed->end_position >= NUMBER_LIMIT) {
        return WIRE_DROP_bad_field;
    }
    out->mend_ask = (struct wire_mend_ask){.id = id, .end_position = fixed->end_position};
    return id_check(id, head->header.term);
}

static enum wire_reason ack_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct ack_layout *fixed = &head->ack;
    struct raft_entry_id hint = {fixed->hint_term, fixed->hint_index};
    struct raft_entry_id bound = {fixed->bound_term, fixed->bound_index};
    enum wire_reason reason = id_check(hint, head->header.term);
    reason = reason == WIRE_DROP_ok ? id_check(bound, head->header.term) : reason;
    if (reason != WIRE_DROP_ok) {
        return reason;
    }
    if (fixed->flags > (ACK_MATCHED | ACK_BOOTSTRAPPED | ACK_MISSING)) {
        return WIRE_DROP_bad_field;
    }
    if (fixed->frame_bytes != 0 &&
        (fixed->frame_bytes < ENTRY_FRAME_BYTES_MIN || fixed->frame_bytes > FRAME_BYTES_MAX)) {
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
        .probe = fixed->probe,
        .frame_bytes = fixed->frame_bytes,
        .hint = hint,
        .bound = bound,
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

static enum wire_reason probe_decode(const struct head_layout *head, struct wire_frame *out)
{
    const struct probe_layout *fixed = &head->probe;
    if (fixed->number == 0 || !wire_all_zero(fixed->reserved, sizeof fixed->reserved) ||
        !wire_all_zero(out->payload, out->payload_bytes)) {
        return WIRE_DROP_bad_field;
    }
    out->probe = (struct wire_probe){.session = fixed->session, .number = fixed->number};
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
    case WIRE_PROBE:
        return probe_decode(head, out);
    case WIRE_MEND_ASK:
        return mend_ask_decode(head, out);
    case WIRE_MEND_ENTRY:
        return mend_entry_decode(head, out);
    case WIRE_MEND_SAY:
        return mend_say_decode(head, out);
    case WIRE_REQUEST:
    case WIRE_REPLY:
    case WIRE_READ:
    case WIRE_READ_REPLY:
    case WIRE_STATUS:
    case WIRE_STATUS_REPLY:
    case WIRE_OPEN:
    case WIRE_OPEN_REPLY:
    case WIRE_TRANSFER:
    case WIRE_TRANSFER_REPLY:
    case WIRE_STATS:
    case WIRE_STATS_REPLY:
        return wire_client_decode(head, out);
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
    fixed->probe = ack->probe;
    fixed->frame_bytes = ack->frame_bytes;
    fixed->hint_term = ack->hint.term;
    fixed->hint_index = ack->hint.index;
    fixed->verified_index = ack->verified_index;
    fixed->durable_index = ack->durable_index;
    fixed->received_index = ack->received_index;
    fixed->credit_position = ack->credit_position;
    fixed->space_position = ack->space_position;
    fixed->missing_index = ack->has_missing ? ack->missing_index : 0;
    fixed->missing_bitmap = ack->has_missing ? ack->missing_bitmap : 0;
    fixed->bound_term = ack->bound.term;
    fixed->bound_index = ack->bound.index;
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
        head->vote_reply.regressed = frame->message.vote_reply.regressed;
        head->vote_reply.regressed_term = frame->message.vote_reply.regressed_term;
        head->vote_reply.regressed_token = frame->message.vote_reply.regressed_token;
        return;
    case WIRE_APPEND:
        head->append.session = frame->message.append.session;
        head->append.prev_term = frame->message.append.prev.term;
        head->append.prev_index = frame->message.append.prev.index;
        head->append.commit_index = frame->message.append.commit_index;
        head->append.heard_boot = frame->message.append.heard_boot;
        head->append.regressed = frame->message.append.regressed;
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
    case WIRE_PROBE:
        ASSERT(frame->probe.number > 0);
        head->probe.session = frame->probe.session;
        head->probe.number = frame->probe.number;
        return;
    case WIRE_MEND_ASK:
        head->mend_ask.term = frame->mend_ask.id.term;
        head->mend_ask.index = frame->mend_ask.id.index;
        head->mend_ask.end_position = frame->mend_ask.end_position;
        return;
    case WIRE_MEND_ENTRY:
        ASSERT(frame->entry.session == 0);
        entry_encode(&frame->entry, &head->entry);
        return;
    case WIRE_MEND_SAY:
        head->mend_say.what = frame->mend_say.what;
        head->mend_say.term = frame->mend_say.id.term;
        head->mend_say.index = frame->mend_say.id.index;
        head->mend_say.last_term = frame->mend_say.last.term;
        head->mend_say.last_index = frame->mend_say.last.index;
        return;
    case WIRE_REQUEST:
    case WIRE_REPLY:
    case WIRE_READ:
    case WIRE_READ_REPLY:
    case WIRE_STATUS:
    case WIRE_STATUS_REPLY:
    case WIRE_OPEN:
    case WIRE_OPEN_REPLY:
    case WIRE_TRANSFER:
    case WIRE_TRANSFER_REPLY:
    case WIRE_STATS:
    case WIRE_STATS_REPLY:
        wire_client_encode(frame, head);
        return;
    }
}
