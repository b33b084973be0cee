/* frames.c: see frames.h.
 */
#include "tests/support/frames.h"

#include "engine/base/crc.h"

#include <string.h>

const enum wire_kind frame_kinds[] = {
    WIRE_PRE_VOTE, WIRE_PRE_VOTE_REPLY, WIRE_VOTE,       WIRE_VOTE_REPLY,
    WIRE_APPEND,   WIRE_ENTRY,          WIRE_ACK,        WIRE_TIMEOUT_NOW,
    WIRE_REQUEST,  WIRE_REPLY,          WIRE_READ,       WIRE_READ_REPLY,
    WIRE_STATUS,   WIRE_STATUS_REPLY,   WIRE_OPEN,       WIRE_OPEN_REPLY,
    WIRE_TRANSFER, WIRE_TRANSFER_REPLY, WIRE_STATS,      WIRE_STATS_REPLY,
    WIRE_PROBE,    WIRE_MEND_ASK,       WIRE_MEND_ENTRY, WIRE_MEND_SAY,
};
const uint32_t frame_kind_count = sizeof frame_kinds / sizeof frame_kinds[0];

#define NUMBER_LIMIT  (1ull << 63)
#define FRAME_KIND_AT 6u
#define FRAME_CRC_AT  16u

/* Small and large numbers alike. */
static uint64_t number(struct prng *prng, uint64_t low, uint64_t high)
{
    uint64_t span = high - low;
    uint64_t bits = prng_below(prng, 64);
    uint64_t value = prng_next(prng) & ((2ull << bits) - 1);
    return low + (value > span ? prng_below(prng, span + 1) : value);
}

static uint64_t page_aligned(struct prng *prng)
{
    return number(prng, 0, (NUMBER_LIMIT - 1) / PAGE_BYTES) * PAGE_BYTES;
}

static struct raft_entry_id id_random(struct prng *prng, uint64_t term_max, bool may_be_empty)
{
    if (may_be_empty && prng_chance(prng, 100000)) {
        return (struct raft_entry_id){0, 0};
    }
    return (struct raft_entry_id){number(prng, 1, term_max), number(prng, 1, NUMBER_LIMIT - 1)};
}

static void header_random(struct prng *prng, enum wire_kind kind, struct wire_frame *frame)
{
    bool from_client = kind == WIRE_REQUEST || kind == WIRE_READ || kind == WIRE_STATUS ||
                       kind == WIRE_OPEN || kind == WIRE_TRANSFER || kind == WIRE_STATS;
    bool to_client = kind >= WIRE_REQUEST && !from_client;
    struct wire_header *header = &frame->header;
    header->kind = (uint8_t)kind;
    header->from = from_client ? 0 : (uint8_t)prng_between(prng, 1, 30);
    header->to = to_client ? 0 : (uint8_t)prng_between(prng, 31, 62);
    header->group = (uint16_t)prng_below(prng, 1000);
    header->cluster = prng_next(prng) | 2;
    header->from_store = prng_next(prng) | 1;
    header->from_boot = from_client ? 0 : number(prng, 1, UINT64_MAX);
    header->to_boot = prng_chance(prng, 500000) ? 0 : prng_next(prng) | 2;
    header->term = kind >= WIRE_REQUEST ? 0 : number(prng, 1, NUMBER_LIMIT - 1);
    header->token = prng_next(prng);
    if (kind <= WIRE_APPEND || kind == WIRE_TIMEOUT_NOW) {
        struct raft_message *message = &frame->message;
        message->kind =
            kind == WIRE_TIMEOUT_NOW ? RAFT_TIMEOUT_NOW : (enum raft_message_kind)(kind - 1);
        message->from = header->from;
        message->to = header->to;
        message->from_store = header->from_store;
        message->from_boot = header->from_boot;
        message->term = header->term;
        message->token = header->token;
    }
}

static void entry_random(struct prng *prng, struct wire_frame *frame)
{
    struct wire_entry *entry = &frame->entry;
    entry->session = (uint32_t)prng_next(prng);
    entry->fragment_bytes = (uint16_t)(prng_between(prng, FRAGMENT_BYTES_MIN / 8, 8032 / 8) * 8);
    entry->pages = (uint8_t)prng_between(prng, 1, ENTRY_PAGES_MAX);
    uint32_t least = entry->pages == 1 ? 0 : entry_body_bytes_max(entry->pages - 1u) + 1;
    uint32_t body_bytes = (uint32_t)prng_between(prng, least, entry_body_bytes_max(entry->pages));
    entry->used_bytes = entry_used_bytes(body_bytes);
    entry->id = id_random(prng, frame->header.term, false);
    entry->previous_term = entry->id.index == 1 ? 0 : number(prng, 1, entry->id.term);
    entry->position = page_aligned(prng) / 2 / PAGE_BYTES * PAGE_BYTES;
    entry->commit_index = number(prng, 0, NUMBER_LIMIT - 1);
    uint64_t last_page = entry->pages - 1u;
    entry->last_mark.position = (entry->position + last_page * PAGE_BYTES) | last_page;
    entry->last_mark.term_low = (uint32_t)entry->id.term;
    entry->last_mark.crc = (uint32_t)prng_next(prng);
    if (prng_chance(prng, 100000)) {
        return; /* A poll. */
    }
    uint32_t part_bytes = entry->used_bytes - NODE_HEADER_BYTES;
    uint32_t fragments = (part_bytes + entry->fragment_bytes - 1) / entry->fragment_bytes;
    entry->offset = (uint32_t)prng_below(prng, fragments) * entry->fragment_bytes;
    uint32_t rest_bytes = part_bytes - entry->offset;
    frame->payload_bytes = rest_bytes < entry->fragment_bytes ? rest_bytes : entry->fragment_bytes;
}

static void mend_random(struct prng *prng, enum wire_kind kind, struct wire_frame *frame)
{
    if (kind == WIRE_MEND_ASK) {
        frame->mend_ask.id = id_random(prng, frame->header.term, false);
        frame->mend_ask.end_position = page_aligned(prng) / 2 / PAGE_BYTES * PAGE_BYTES;
        frame->mend_ask.end_position += PAGE_BYTES;
        return;
    }
    if (kind == WIRE_MEND_SAY) {
        frame->mend_say.id = id_random(prng, NUMBER_LIMIT - 1, false);
        frame->mend_say.what = (uint8_t)prng_below(prng, WIRE_MEND_COUNT);
        frame->mend_say.last = id_random(prng, frame->header.term, true);
        return;
    }
    while (frame->payload_bytes == 0) { /* No poll. */
        memset(&frame->entry, 0, sizeof frame->entry);
        entry_random(prng, frame);
    }
    frame->entry.session = 0;
    frame->entry.commit_index = 0;
}

static void ack_random(struct prng *prng, struct wire_frame *frame)
{
    struct wire_ack *ack = &frame->ack;
    ack->session = (uint32_t)prng_next(prng);
    ack->matched = prng_chance(prng, 500000);
    ack->bootstrapped = prng_chance(prng, 500000);
    ack->has_missing = prng_chance(prng, 500000);
    ack->probe = (uint8_t)prng_next(prng);
    ack->frame_bytes = prng_chance(prng, 200000)
                           ? 0
                           : (uint16_t)prng_between(prng, ENTRY_FRAME_BYTES_MIN, FRAME_BYTES_MAX);
    ack->hint = id_random(prng, frame->header.term, true);
    ack->bound = id_random(prng, frame->header.term, true);
    ack->verified_index = number(prng, 0, NUMBER_LIMIT - 1);
    ack->durable_index = ack->verified_index == 0 ? 0 : number(prng, 0, ack->verified_index);
    ack->received_index = number(prng, 0, NUMBER_LIMIT - 1);
    ack->credit_position = page_aligned(prng);
    ack->space_position = page_aligned(prng);
    if (ack->has_missing) {
        ack->missing_index = number(prng, 1, NUMBER_LIMIT - 1);
        ack->missing_bitmap = prng_next(prng) | 1;
    }
}

static void probe_random(struct prng *prng, struct wire_frame *frame, uint8_t *payload)
{
    frame->probe.session = (uint32_t)prng_next(prng);
    frame->probe.number = (uint8_t)prng_between(prng, 1, UINT8_MAX);
    frame->payload_bytes =
        (uint32_t)prng_below(prng, FRAME_BYTES_MAX - wire_head_bytes(WIRE_PROBE) + 1);
    memset(payload, 0, frame->payload_bytes);
}

static void read_random(struct prng *prng, struct wire_frame *frame)
{
    frame->read.offset = number(prng, 0, NUMBER_LIMIT - 1);
    frame->read.skip = (uint32_t)prng_below(prng, RECORD_BYTES_MAX + 1);
    frame->read.frame_bytes =
        prng_chance(prng, 200000)
            ? 0
            : (uint16_t)prng_between(prng, ENTRY_FRAME_BYTES_MIN, FRAME_BYTES_MAX);
    frame->read.linearizable = prng_chance(prng, 500000);
    frame->read.waits = prng_chance(prng, 500000);
}

/* Write records, as many as fit; returns their bytes. */
static uint32_t records_random(struct prng *prng,
                               uint8_t *payload,
                               uint32_t bytes_max,
                               struct wire_request *request)
{
    uint32_t at = 0;
    uint32_t count = (uint32_t)prng_between(prng, 1, 40);
    for (uint32_t i = 0; i < count; i++) {
        struct record_header record = {
            .bytes = (uint32_t)prng_below(prng, 300),
            .session = request->session,
            .sequence = request->first_sequence + i,
        };
        uint32_t whole_bytes = record_body_bytes(record.bytes);
        if (bytes_max - at < whole_bytes) {
            break;
        }
        memset(payload + at, 0, whole_bytes);
        memcpy(payload + at, &record, sizeof record);
        for (uint32_t j = 0; j < record.bytes; j++) {
            payload[at + RECORD_HEADER_BYTES + j] = (uint8_t)prng_next(prng);
        }
        at += whole_bytes;
        request->record_count++;
    }
    return at;
}

static void request_random(struct prng *prng, struct wire_frame *frame, uint8_t *payload)
{
    struct wire_request *request = &frame->request;
    request->session = prng_chance(prng, 500000) ? 0 : prng_next(prng) | 1;
    request->epoch = request->session == 0 ? 0 : (uint32_t)number(prng, 1, UINT32_MAX);
    request->first_sequence = number(prng, 1, NUMBER_LIMIT / 2);
    request->conditional = prng_chance(prng, 300000);
    request->expected_offset = request->conditional ? number(prng, 0, NUMBER_LIMIT - 1) : 0;
    uint32_t part_bytes = wire_request_bytes(FRAME_BYTES_MAX);
    if (prng_chance(prng, 700000)) {
        frame->payload_bytes = records_random(prng, payload, part_bytes, request);
        request->request_bytes = frame->payload_bytes;
        return;
    }
    part_bytes = (uint32_t)prng_between(prng, FRAGMENT_BYTES_MIN / 8, part_bytes / 8) * 8;
    request->record_count = 1;
    request->request_bytes =
        (uint32_t)prng_between(prng, part_bytes / 8 + 1, record_body_bytes(RECORD_BYTES_MAX) / 8) *
        8;
    uint32_t fragments = (request->request_bytes + part_bytes - 1) / part_bytes;
    request->offset = (uint32_t)prng_below(prng, fragments) * part_bytes;
    uint32_t rest_bytes = request->request_bytes - request->offset;
    frame->payload_bytes = rest_bytes < part_bytes ? rest_bytes : part_bytes;
    memset(payload, 0x5a, frame->payload_bytes);
}

static void reply_random(struct prng *prng, struct wire_frame *frame)
{
    frame->reply = (struct wire_reply){
        .session = prng_next(prng),
        .first_sequence = number(prng, 0, NUMBER_LIMIT - 1),
        .first_offset = number(prng, 0, NUMBER_LIMIT - 1),
        .record_count = (uint32_t)prng_between(prng, 1, ENTRY_RECORDS_MAX),
        .status = (uint8_t)prng_below(prng, WIRE_STATUS_COUNT),
        .leader = (uint8_t)prng_below(prng, 64),
    };
    if (frame->reply.status == WIRE_GAP || frame->reply.status == WIRE_CONDITION) {
        frame->reply.detail = number(prng, 0, NUMBER_LIMIT - 1);
    }
}

static void open_random(struct prng *prng, struct wire_frame *frame)
{
    frame->open.epoch = (uint32_t)number(prng, 0, UINT32_MAX);
    frame->open.name_bytes = (uint8_t)prng_below(prng, SESSION_NAME_MAX + 1);
    for (uint32_t i = 0; i < frame->open.name_bytes; i++) {
        frame->open.name[i] = (uint8_t)prng_next(prng);
    }
}

static void open_reply_random(struct prng *prng, struct wire_frame *frame)
{
    static const uint8_t statuses[] = {WIRE_OK, WIRE_BUSY, WIRE_FULL, WIRE_NOT_LEADER, WIRE_FENCED};
    struct wire_open_reply *reply = &frame->open_reply;
    reply->status = statuses[prng_below(prng, sizeof statuses)];
    reply->leader = (uint8_t)prng_below(prng, 64);
    if (reply->status == WIRE_OK || reply->status == WIRE_FENCED) {
        reply->epoch = (uint32_t)number(prng, 1, UINT32_MAX);
    }
    if (reply->status == WIRE_OK) {
        reply->session = number(prng, 1, NUMBER_LIMIT - 1);
        reply->next_sequence = number(prng, 1, NUMBER_LIMIT - 1);
    }
}

static void transfer_reply_random(struct prng *prng, struct wire_frame *frame)
{
    frame->transfer_reply = (struct wire_transfer_reply){
        .outcome = (uint8_t)prng_below(prng, RAFT_TRANSFER_NOBODY_HEARD + 1),
        .leader = (uint8_t)prng_below(prng, 64),
        .to = (uint8_t)prng_below(prng, 64),
    };
}

static void read_reply_random(struct prng *prng, struct wire_frame *frame, uint8_t *payload)
{
    struct wire_read_reply *reply = &frame->read_reply;
    reply->start_offset = number(prng, 0, NUMBER_LIMIT / 4);
    reply->offset = reply->start_offset + number(prng, 0, NUMBER_LIMIT / 8);
    reply->committed_offset = reply->offset + 1000;
    reply->leader = (uint8_t)prng_below(prng, 64);
    if (prng_chance(prng, 200000)) {
        reply->status = (uint8_t)prng_below(prng, WIRE_STATUS_COUNT);
        return;
    }
    struct wire_request records = {.session = prng_next(prng)};
    frame->payload_bytes = records_random(prng, payload, 7000, &records);
    reply->record_count = records.record_count;
    reply->partial = reply->record_count == 1;
    reply->term = number(prng, 1, NUMBER_LIMIT - 1);
    reply->skip = (uint32_t)prng_below(prng, RECORD_BYTES_MAX + 1);
}

static void status_reply_random(struct prng *prng, struct wire_frame *frame)
{
    struct wire_status_reply *reply = &frame->status_reply;
    reply->role = (uint8_t)prng_below(prng, WIRE_ROLE_COUNT);
    bool leads = reply->role == WIRE_LEADER;
    reply->leader = leads ? frame->header.from : (uint8_t)prng_below(prng, 64);
    reply->durable = prng_chance(prng, 500000);
    reply->bootstrapped = prng_chance(prng, 500000);
    reply->takes_proposals = leads && reply->bootstrapped && prng_chance(prng, 500000);
    reply->degraded = prng_chance(prng, 500000);
    reply->slowed = prng_chance(prng, 500000);
    reply->unmended = prng_chance(prng, 500000);
    reply->full = reply->takes_proposals && prng_chance(prng, 500000);
    reply->smallest = reply->full ? (uint8_t)prng_below(prng, 64) : 0;
    reply->diverged = prng_chance(prng, 500000);
    reply->posix = prng_chance(prng, 500000);
    reply->term = number(prng, 0, NUMBER_LIMIT - 1);
    reply->commit_index = number(prng, 0, NUMBER_LIMIT - 1);
    reply->durable_index = number(prng, 0, NUMBER_LIMIT - 1);
    reply->start_offset = number(prng, 0, NUMBER_LIMIT / 2);
    reply->end_offset = reply->start_offset + number(prng, 0, NUMBER_LIMIT / 4);
    reply->voters = (prng_next(prng) | 2) & ~1ull;
    reply->waiting = leads && !reply->bootstrapped ? prng_next(prng) & reply->voters : 0;
    reply->strangers = prng_next(prng) & ~1ull;
    reply->behind = leads ? prng_next(prng) & ~1ull : 0;
    reply->regressed = prng_next(prng) & ~1ull;
    reply->bounded = !leads && prng_chance(prng, 200000);
    if (!leads && !reply->bounded && prng_chance(prng, 200000)) {
        reply->faulty = true;
        reply->unmended = false;
        reply->diverged = false;
        reply->leader = 0;
        reply->waiting = prng_next(prng) & reply->voters;
    }
    reply->frames_dropped = number(prng, 0, NUMBER_LIMIT - 1);
}

/* One item with a name of its own. */
static void item_random(struct prng *prng, struct wire_item *item, char *name, char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_.";
    *item = (struct wire_item){
        .name = name,
        .text = text,
        .name_bytes = (uint32_t)prng_between(prng, 1, STATS_NAME_MAX),
        .kind = (enum wire_item_kind)prng_below(prng, WIRE_ITEM_KIND_COUNT),
    };
    for (uint32_t i = 0; i < item->name_bytes; i++) {
        name[i] = letters[prng_below(prng, sizeof letters - 1)];
    }
    if (item->kind == WIRE_ITEM_FACT && prng_chance(prng, 500000)) {
        item->text_bytes = (uint32_t)prng_between(prng, 1, STATS_TEXT_MAX);
        for (uint32_t i = 0; i < item->text_bytes; i++) {
            text[i] = (char)prng_between(prng, ' ', '~');
        }
    } else {
        item->value = number(prng, 0, NUMBER_LIMIT - 1);
    }
}

static void stats_reply_random(struct prng *prng, struct wire_frame *frame, uint8_t *payload)
{
    struct wire_stats_reply *reply = &frame->stats_reply;
    uint32_t wanted = (uint32_t)prng_below(prng, 30);
    for (uint32_t i = 0; i < wanted; i++) {
        struct wire_item item;
        char name[STATS_NAME_MAX];
        char text[STATS_TEXT_MAX];
        item_random(prng, &item, name, text);
        uint32_t bytes = wire_item_write(&item, payload + frame->payload_bytes,
                                         STATS_BYTES_MAX - frame->payload_bytes);
        if (bytes == 0) {
            break;
        }
        frame->payload_bytes += bytes;
        reply->count++;
    }
    uint32_t before = (uint32_t)prng_between(prng, reply->count == 0, STATS_ITEMS_MAX / 2);
    uint32_t after = (uint32_t)prng_below(prng, STATS_ITEMS_MAX / 4);
    reply->first = (uint16_t)before;
    reply->total = (uint16_t)(before + (reply->count == 0 ? 0 : reply->count + after));
}

static void vote_random(struct prng *prng, enum wire_kind kind, struct wire_frame *frame)
{
    if (kind == WIRE_TIMEOUT_NOW) {
        frame->message.timeout_now.last = id_random(prng, frame->header.term, false);
        return;
    }
    frame->message.vote.last = id_random(prng, frame->header.term, true);
    frame->message.vote.transfer = kind == WIRE_VOTE && prng_chance(prng, 500000);
}

static void vote_reply_random(struct prng *prng, struct raft_message *message)
{
    message->vote_reply.granted = prng_chance(prng, 500000);
    message->vote_reply.regressed = prng_next(prng) & ~1ull;
    message->vote_reply.regressed_term = number(prng, 0, NUMBER_LIMIT - 1);
    message->vote_reply.regressed_token = prng_next(prng);
}

static void append_random(struct prng *prng, struct raft_message *message, uint64_t term)
{
    message->append.session = (uint32_t)prng_next(prng);
    message->append.heard_boot = (uint32_t)prng_next(prng);
    message->append.regressed = prng_next(prng) & ~1ull;
    message->append.prev = id_random(prng, term, true);
    message->append.commit_index = number(prng, 0, WIRE_COMMIT_LIMIT - 1);
}

void frame_random(struct prng *prng,
                  enum wire_kind kind,
                  struct wire_frame *frame,
                  uint8_t *payload)
{
    memset(frame, 0, sizeof *frame);
    header_random(prng, kind, frame);
    frame->payload = payload;
    memset(payload, 0xa5, FRAME_BYTES_MAX);
    switch (kind) {
    case WIRE_PRE_VOTE:
    case WIRE_VOTE:
    case WIRE_TIMEOUT_NOW:
        vote_random(prng, kind, frame);
        return;
    case WIRE_PRE_VOTE_REPLY:
    case WIRE_VOTE_REPLY:
        vote_reply_random(prng, &frame->message);
        return;
    case WIRE_APPEND:
        append_random(prng, &frame->message, frame->header.term);
        return;
    case WIRE_ENTRY:
        entry_random(prng, frame);
        return;
    case WIRE_MEND_ASK:
    case WIRE_MEND_ENTRY:
    case WIRE_MEND_SAY:
        mend_random(prng, kind, frame);
        return;
    case WIRE_ACK:
        ack_random(prng, frame);
        return;
    case WIRE_PROBE:
        probe_random(prng, frame, payload);
        return;
    case WIRE_REQUEST:
        request_random(prng, frame, payload);
        return;
    case WIRE_REPLY:
        reply_random(prng, frame);
        return;
    case WIRE_READ:
        read_random(prng, frame);
        return;
    case WIRE_READ_REPLY:
        read_reply_random(prng, frame, payload);
        return;
    case WIRE_STATUS:
        return;
    case WIRE_STATUS_REPLY:
        status_reply_random(prng, frame);
        return;
    case WIRE_OPEN:
        open_random(prng, frame);
        return;
    case WIRE_OPEN_REPLY:
        open_reply_random(prng, frame);
        return;
    case WIRE_TRANSFER:
        frame->transfer.to = (uint8_t)prng_below(prng, NODE_ID_MAX + 1);
        return;
    case WIRE_TRANSFER_REPLY:
        transfer_reply_random(prng, frame);
        return;
    case WIRE_STATS:
        frame->stats.first = (uint16_t)prng_below(prng, STATS_ITEMS_MAX);
        return;
    case WIRE_STATS_REPLY:
        stats_reply_random(prng, frame, payload);
        return;
    }
}

void frame_receiver(const struct wire_frame *frame, struct wire_self *self)
{
    *self = (struct wire_self){
        .cluster = frame->header.cluster,
        .boot = frame->header.to_boot == 0 ? 77 : frame->header.to_boot,
        .group = frame->header.group,
        .node = frame->header.to,
        .peers = frame->header.from == 0 ? 0 : 1ull << frame->header.from,
    };
}

uint32_t frame_write(const struct wire_frame *frame, uint8_t *bytes)
{
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    uint32_t head_bytes = wire_encode(frame, head);
    memcpy(bytes, head, head_bytes);
    if (frame->payload_bytes > 0) {
        memcpy(bytes + head_bytes, frame->payload, frame->payload_bytes);
    }
    return head_bytes + frame->payload_bytes;
}

void frame_mend(uint8_t *bytes, uint32_t frame_bytes)
{
    if (frame_bytes < WIRE_HEADER_BYTES) {
        return;
    }
    uint8_t kind = bytes[FRAME_KIND_AT];
    uint32_t covered = frame_bytes;
    for (uint32_t i = 0; i < frame_kind_count; i++) {
        if (frame_kinds[i] == kind && kind < WIRE_REQUEST) {
            covered = wire_head_bytes(frame_kinds[i]);
        }
    }
    if (covered > frame_bytes) {
        return;
    }
    memcpy(bytes + 12, &frame_bytes, sizeof frame_bytes);
    memset(bytes + FRAME_CRC_AT, 0, 4);
    uint32_t crc = crc32c(0, bytes, covered);
    memcpy(bytes + FRAME_CRC_AT, &crc, sizeof crc);
}

static bool message_equal(const struct wire_frame *a, const struct wire_frame *b)
{
    const struct raft_message *x = &a->message;
    const struct raft_message *y = &b->message;
    if (x->kind != y->kind || x->from != y->from || x->to != y->to || x->term != y->term ||
        x->from_store != y->from_store || x->from_boot != y->from_boot || x->token != y->token) {
        return false;
    }
    switch (x->kind) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        return memcmp(&x->vote.last, &y->vote.last, sizeof x->vote.last) == 0 &&
               x->vote.transfer == y->vote.transfer;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        return x->vote_reply.granted == y->vote_reply.granted &&
               x->vote_reply.regressed == y->vote_reply.regressed &&
               x->vote_reply.regressed_term == y->vote_reply.regressed_term &&
               x->vote_reply.regressed_token == y->vote_reply.regressed_token;
    case RAFT_APPEND:
        return x->append.session == y->append.session &&
               memcmp(&x->append.prev, &y->append.prev, sizeof x->append.prev) == 0 &&
               x->append.commit_index == y->append.commit_index &&
               x->append.heard_boot == y->append.heard_boot &&
               x->append.regressed == y->append.regressed;
    case RAFT_TIMEOUT_NOW:
        return memcmp(&x->timeout_now, &y->timeout_now, sizeof x->timeout_now) == 0;
    case RAFT_APPEND_REPLY:
        break;
    }
    return false;
}

/* Two heads are equal when their bytes are: that every field reaches its bytes is shown by the
 * tests of the layout, so what is left is that decoding loses nothing. */
bool frame_equal(const struct wire_frame *a, const struct wire_frame *b)
{
    uint8_t heads[2][WIRE_HEAD_BYTES_MAX] = {{0}};
    if (wire_encode(a, heads[0]) != wire_encode(b, heads[1]) ||
        memcmp(heads[0], heads[1], WIRE_HEAD_BYTES_MAX) != 0) {
        return false;
    }
    bool is_message = a->header.kind <= WIRE_APPEND || a->header.kind == WIRE_TIMEOUT_NOW;
    if (is_message && !message_equal(a, b)) {
        return false;
    }
    return a->payload_bytes == b->payload_bytes &&
           (a->payload_bytes == 0 || memcmp(a->payload, b->payload, a->payload_bytes) == 0);
}
