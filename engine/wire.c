/* wire.c: see wire.h. The header, the checksum and the order of the checks; what the fixed part of
 * each kind must look like is in wire_fixed.c.
 *
 * Nothing but the length, the version and the kind is used before the CRC holds.
 */
#include "engine/wire.h"

#include "engine/base/crc.h"
#include "engine/wire_layout.h"

#include <stddef.h>
#include <string.h>

_Static_assert(sizeof(struct header_layout) == WIRE_HEADER_BYTES, "no padding in the header");
_Static_assert(offsetof(struct header_layout, cluster) == 24, "integers are aligned");
_Static_assert(sizeof(struct vote_layout) == 24, "no padding");
_Static_assert(sizeof(struct vote_reply_layout) == 32, "no padding");
_Static_assert(sizeof(struct append_layout) == 40, "no padding");
_Static_assert(sizeof(struct entry_layout) == 72, "no padding");
_Static_assert(sizeof(struct ack_layout) == 96, "no padding");
_Static_assert(sizeof(struct timeout_now_layout) == 16, "no padding");
_Static_assert(sizeof(struct probe_layout) == 8, "no padding");
_Static_assert(sizeof(struct mend_ask_layout) == 24, "no padding");
_Static_assert(sizeof(struct mend_say_layout) == 40, "no padding");
_Static_assert(sizeof(struct request_layout) == 40, "no padding");
_Static_assert(sizeof(struct reply_layout) == 40, "no padding");
_Static_assert(sizeof(struct read_layout) == 16, "no padding");
_Static_assert(sizeof(struct read_reply_layout) == 48, "no padding");
_Static_assert(sizeof(struct status_reply_layout) == 96, "no padding");
_Static_assert(sizeof(struct open_layout) == 48, "no padding");
_Static_assert(sizeof(struct open_reply_layout) == 24, "no padding");
_Static_assert(sizeof(struct transfer_layout) == 8, "no padding");
_Static_assert(sizeof(struct transfer_reply_layout) == 8, "no padding");
_Static_assert(WIRE_HEADER_BYTES + sizeof(struct entry_layout) + FRAGMENT_BYTES_MIN ==
                   ENTRY_FRAME_BYTES_MIN,
               "the smallest full fragment fits it exactly");
_Static_assert(sizeof(struct stats_layout) == 8, "no padding");
_Static_assert(sizeof(struct stats_reply_layout) == 8, "no padding");
_Static_assert(sizeof(struct head_layout) <= WIRE_HEAD_BYTES_MAX, "a head fits its buffer");
_Static_assert(WIRE_HEADER_BYTES + sizeof(struct probe_layout) == FRAME_BYTES_MIN,
               "the shortest frame is a header and the shortest fixed part");
_Static_assert((int)WIRE_PRE_VOTE == (int)RAFT_PRE_VOTE + 1, "raft kinds are the wire's, less 1");
_Static_assert((int)WIRE_APPEND == (int)RAFT_APPEND + 1, "raft kinds are the wire's, less 1");

/* Of the fixed part; 0: no such kind. */
static const uint8_t fixed_bytes[] = {
    [WIRE_PRE_VOTE] = sizeof(struct vote_layout),
    [WIRE_PRE_VOTE_REPLY] = sizeof(struct vote_reply_layout),
    [WIRE_VOTE] = sizeof(struct vote_layout),
    [WIRE_VOTE_REPLY] = sizeof(struct vote_reply_layout),
    [WIRE_APPEND] = sizeof(struct append_layout),
    [WIRE_ENTRY] = sizeof(struct entry_layout),
    [WIRE_ACK] = sizeof(struct ack_layout),
    [WIRE_TIMEOUT_NOW] = sizeof(struct timeout_now_layout),
    [WIRE_PROBE] = sizeof(struct probe_layout),
    [WIRE_MEND_ASK] = sizeof(struct mend_ask_layout),
    [WIRE_MEND_ENTRY] = sizeof(struct entry_layout),
    [WIRE_MEND_SAY] = sizeof(struct mend_say_layout),
    [WIRE_REQUEST] = sizeof(struct request_layout),
    [WIRE_REPLY] = sizeof(struct reply_layout),
    [WIRE_READ] = sizeof(struct read_layout),
    [WIRE_READ_REPLY] = sizeof(struct read_reply_layout),
    [WIRE_STATUS] = sizeof(struct status_layout),
    [WIRE_STATUS_REPLY] = sizeof(struct status_reply_layout),
    [WIRE_OPEN] = sizeof(struct open_layout),
    [WIRE_OPEN_REPLY] = sizeof(struct open_reply_layout),
    [WIRE_TRANSFER] = sizeof(struct transfer_layout),
    [WIRE_TRANSFER_REPLY] = sizeof(struct transfer_reply_layout),
    [WIRE_STATS] = sizeof(struct stats_layout),
    [WIRE_STATS_REPLY] = sizeof(struct stats_reply_layout),
};

COUNTERS_DEFINE(wire, WIRE_COUNTERS);

static bool kind_is_client(uint8_t kind)
{
    return kind >= WIRE_REQUEST;
}

/* Kinds that travel as a struct raft_message. */
static bool kind_is_message(uint8_t kind)
{
    return kind <= WIRE_APPEND || kind == WIRE_TIMEOUT_NOW;
}

/* Append replies travel in an ACK; what comes after them has another distance to its number. */
static enum raft_message_kind message_kind_of(uint8_t kind)
{
    ASSERT(kind_is_message(kind));
    return kind == WIRE_TIMEOUT_NOW ? RAFT_TIMEOUT_NOW : (enum raft_message_kind)(kind - 1);
}

static uint8_t kind_of_message(enum raft_message_kind kind)
{
    ASSERT(kind <= RAFT_APPEND || kind == RAFT_TIMEOUT_NOW);
    return kind == RAFT_TIMEOUT_NOW ? WIRE_TIMEOUT_NOW : (uint8_t)(kind + 1);
}

/* A client's question; the other kinds of clients are answers. */
static bool kind_is_question(uint8_t kind)
{
    return kind == WIRE_REQUEST || kind == WIRE_READ || kind == WIRE_STATUS || kind == WIRE_OPEN ||
           kind == WIRE_TRANSFER || kind == WIRE_STATS;
}

static bool kind_has_payload(uint8_t kind)
{
    return kind == WIRE_ENTRY || kind == WIRE_MEND_ENTRY || kind == WIRE_PROBE ||
           kind == WIRE_REQUEST || kind == WIRE_READ_REPLY || kind == WIRE_STATS_REPLY;
}

uint32_t wire_head_bytes(enum wire_kind kind)
{
    ASSERT((uint32_t)kind < sizeof fixed_bytes);
    ASSERT(fixed_bytes[kind] != 0);
    return WIRE_HEADER_BYTES + fixed_bytes[kind];
}

uint32_t wire_fragment_bytes(uint32_t frame_bytes_max)
{
    ASSERT(frame_bytes_max <= FRAME_BYTES_MAX);
    ASSERT(frame_bytes_max >= wire_head_bytes(WIRE_ENTRY) + FRAGMENT_BYTES_MIN);
    return (frame_bytes_max - wire_head_bytes(WIRE_ENTRY)) / 8 * 8;
}

uint32_t wire_request_bytes(uint32_t frame_bytes_max)
{
    ASSERT(frame_bytes_max <= FRAME_BYTES_MAX);
    ASSERT(frame_bytes_max >= wire_head_bytes(WIRE_REQUEST) + FRAGMENT_BYTES_MIN);
    return (frame_bytes_max - wire_head_bytes(WIRE_REQUEST)) / RECORD_ALIGN * RECORD_ALIGN;
}

const char *wire_status_name(enum wire_status status)
{
    switch (status) {
    case WIRE_OK:
        return "ok";
    case WIRE_BUSY:
        return "busy";
    case WIRE_FULL:
        return "full";
    case WIRE_NOT_LEADER:
        return "not leader";
    case WIRE_TRIMMED:
        return "trimmed";
    case WIRE_GAP:
        return "gap";
    case WIRE_CONDITION:
        return "condition failed";
    case WIRE_FENCED:
        return "fenced";
    case WIRE_NO_SESSION:
        return "no session";
    case WIRE_FORGOTTEN:
        return "forgotten";
    case WIRE_STATUS_COUNT:
        break;
    }
    return "unknown";
}

const char *wire_role_name(enum wire_role role)
{
    switch (role) {
    case WIRE_FOLLOWER:
        return "follower";
    case WIRE_CANDIDATE:
        return "candidate";
    case WIRE_LEADER:
        return "leader";
    case WIRE_LEARNER:
        return "learner";
    case WIRE_ROLE_COUNT:
        break;
    }
    return "unknown";
}

/* Copy the head out and check that the frame is one of ours and whole: what comes before it may be
 * believed. */
static enum wire_reason
head_decode(const uint8_t *data, uint32_t bytes, struct head_layout *head, uint32_t *head_bytes)
{
    struct header_layout *header = &head->header;
    if (bytes < WIRE_HEADER_BYTES) {
        return WIRE_DROP_short_frame;
    }
    if (bytes > FRAME_BYTES_MAX) {
        return WIRE_DROP_long_frame;
    }
    memcpy(header, data, sizeof *header);
    if (header->magic != WIRE_MAGIC) {
        return WIRE_DROP_wrong_magic;
    }
    if (header->version != WIRE_VERSION) {
        return header->version > WIRE_VERSION ? WIRE_DROP_newer_version : WIRE_DROP_wrong_version;
    }
    if (header->frame_bytes != bytes) {
        return WIRE_DROP_wrong_length;
    }
    if (header->kind >= sizeof fixed_bytes || fixed_bytes[header->kind] == 0) {
        return WIRE_DROP_unknown_kind;
    }
    *head_bytes = WIRE_HEADER_BYTES + fixed_bytes[header->kind];
    if (bytes < *head_bytes) {
        return WIRE_DROP_short_frame;
    }
    memcpy((uint8_t *)head + WIRE_HEADER_BYTES, data + WIRE_HEADER_BYTES,
           *head_bytes - WIRE_HEADER_BYTES);
    uint32_t crc = header->crc;
    header->crc = 0;
    uint32_t found = crc32c(0, head, *head_bytes);
    if (kind_is_client(header->kind)) {
        found = crc32c(found, data + *head_bytes, bytes - *head_bytes);
    }
    return found == crc ? WIRE_DROP_ok : WIRE_DROP_wrong_crc;
}

/* A node hears its peers and clients; a client hears nodes. */
static enum wire_reason address_check(const struct wire_self *self,
                                      const struct header_layout *header)
{
    if (header->cluster != self->cluster) {
        return WIRE_DROP_wrong_cluster;
    }
    if (header->group != self->group) {
        return WIRE_DROP_wrong_group;
    }
    bool from_client = kind_is_question(header->kind);
    bool to_client = kind_is_client(header->kind) && !from_client;
    bool anycast = from_client && header->to == 0;
    if (to_client != (self->node == 0) || (header->to != self->node && !anycast)) {
        return WIRE_DROP_wrong_destination;
    }
    if (header->from != 0 && header->from == self->node) {
        return WIRE_DROP_own_frame;
    }
    if (header->from > NODE_ID_MAX || from_client != (header->from == 0)) {
        return WIRE_DROP_unknown_sender;
    }
    if (!kind_is_client(header->kind) && (self->peers >> header->from & 1) == 0) {
        return WIRE_DROP_unknown_sender;
    }
    return header->to_boot == 0 || header->to_boot == self->boot ? WIRE_DROP_ok
                                                                 : WIRE_DROP_wrong_boot;
}

static enum wire_reason header_check(const struct wire_self *self,
                                     const struct header_layout *header)
{
    enum wire_reason reason = address_check(self, header);
    if (reason != WIRE_DROP_ok) {
        return reason;
    }
    if ((header->tag[0] | header->tag[1]) != 0) {
        return WIRE_DROP_nonzero_tag;
    }
    if (header->term >= NUMBER_LIMIT) {
        return WIRE_DROP_absurd_term;
    }
    if ((header->reserved | header->counter) != 0 || header->from_store == 0) {
        return WIRE_DROP_bad_field;
    }
    if (kind_is_client(header->kind)) {
        return header->term == 0 ? WIRE_DROP_ok : WIRE_DROP_bad_field;
    }
    return header->term != 0 && header->from_boot != 0 ? WIRE_DROP_ok : WIRE_DROP_bad_field;
}

static void header_copy(const struct header_layout *header, struct wire_frame *out)
{
    out->header = (struct wire_header){
        .kind = header->kind,
        .from = header->from,
        .to = header->to,
        .group = header->group,
        .cluster = header->cluster,
        .from_store = header->from_store,
        .from_boot = header->from_boot,
        .to_boot = header->to_boot,
        .term = header->term,
        .token = header->token,
    };
    if (kind_is_message(header->kind)) {
        struct raft_message *message = &out->message;
        message->kind = message_kind_of(header->kind);
        message->from = header->from;
        message->to = header->to;
        message->from_store = header->from_store;
        message->from_boot = header->from_boot;
        message->term = header->term;
        message->token = header->token;
    }
}

enum wire_reason wire_decode(const struct wire_self *self,
                             const uint8_t *data,
                             uint32_t bytes,
                             struct wire_frame *out,
                             struct wire_counters *counters)
{
    ASSERT(data != NULL);
    ASSERT(self->node <= NODE_ID_MAX);
    uint64_t *counts = (uint64_t *)(void *)counters;
    struct head_layout head;
    uint32_t head_bytes = 0;
    enum wire_reason reason = head_decode(data, bytes, &head, &head_bytes);
    if (reason == WIRE_DROP_ok) {
        reason = header_check(self, &head.header);
    }
    if (reason == WIRE_DROP_ok) {
        header_copy(&head.header, out);
        out->payload = data + head_bytes;
        out->payload_bytes = bytes - head_bytes;
        reason = out->payload_bytes > 0 && !kind_has_payload(head.header.kind)
                     ? WIRE_DROP_wrong_length
                     : wire_fixed_decode(&head, out);
    }
    counts[reason]++;
    return reason;
}

/* ---- Encoding. ---- */

/* A message brings its own sender, receiver, term and token. */
static void header_fill(const struct wire_frame *frame, struct header_layout *header)
{
    const struct wire_header *from = &frame->header;
    header->magic = WIRE_MAGIC;
    header->version = WIRE_VERSION;
    header->group = from->group;
    header->cluster = from->cluster;
    header->to_boot = from->to_boot;
    if (kind_is_message(from->kind)) {
        const struct raft_message *message = &frame->message;
        header->kind = kind_of_message(message->kind);
        header->from = message->from;
        header->to = message->to;
        header->from_store = message->from_store;
        header->from_boot = message->from_boot;
        header->term = message->term;
        header->token = message->token;
        return;
    }
    header->kind = from->kind;
    header->from = from->from;
    header->to = from->to;
    header->from_store = from->from_store;
    header->from_boot = from->from_boot;
    header->term = from->term;
    header->token = from->token;
}

uint32_t wire_encode(const struct wire_frame *frame, uint8_t *head)
{
    struct head_layout local;
    memset(&local, 0, sizeof local);
    header_fill(frame, &local.header);
    uint8_t kind = local.header.kind;
    uint32_t head_bytes = wire_head_bytes((enum wire_kind)kind);
    ASSERT(frame->payload_bytes == 0 || kind_has_payload(kind));
    ASSERT(frame->payload_bytes <= FRAME_BYTES_MAX - head_bytes);
    wire_fixed_encode(frame, &local);
    local.header.frame_bytes = head_bytes + frame->payload_bytes;
    uint32_t crc = crc32c(0, &local, head_bytes);
    if (kind_is_client(kind) && frame->payload_bytes > 0) {
        crc = crc32c(crc, frame->payload, frame->payload_bytes);
    }
    local.header.crc = crc;
    memcpy(head, &local, head_bytes);
    return head_bytes;
}

void wire_ack_message(const struct wire_frame *frame, struct raft_message *message)
{
    ASSERT(frame->header.kind == WIRE_ACK);
    ASSERT(frame->ack.durable_index <= frame->ack.verified_index);
    memset(message, 0, sizeof *message);
    message->kind = RAFT_APPEND_REPLY;
    message->from = frame->header.from;
    message->to = frame->header.to;
    message->from_store = frame->header.from_store;
    message->from_boot = frame->header.from_boot;
    message->term = frame->header.term;
    message->token = frame->header.token;
    message->append_reply.session = frame->ack.session;
    message->append_reply.matched = frame->ack.matched;
    message->append_reply.bootstrapped = frame->ack.bootstrapped;
    message->append_reply.bound = frame->ack.bound;
    message->append_reply.hint = frame->ack.hint;
    message->append_reply.verified_index = frame->ack.verified_index;
    message->append_reply.durable_index = frame->ack.durable_index;
}
