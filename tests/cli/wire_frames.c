/* wire_frames.c: sound frames of every kind in a capture file, and beside it what was given to the
 * encoder, for the test of the Wireshark dissector.
 *
 *     wire_frames SEED COUNT FILE.pcap FILE.json            COUNT frames of each kind
 *     wire_frames SEED COUNT FILE.pcap FILE.json --broken   and each one damaged in some way
 *
 * A line of the JSON file is one frame: the fields of the dissector by their names, and the values
 * that they have in the struct which wire_encode() took; records, items and entries as they were
 * written, one after the other. The same seed gives the same frames.
 */
#include "net/headers.h"
#include "tests/support/frames.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCAP_MAGIC_NS 0xa1b23c4du
#define PCAP_ETHERNET 1u
#define PACKET_BYTES  (HEADERS_BYTES + FRAME_BYTES_MAX)

struct pcap_head {
    uint32_t magic;
    uint16_t major;
    uint16_t minor;
    uint32_t zone;
    uint32_t figures;
    uint32_t snap_bytes;
    uint32_t link;
};

struct pcap_packet {
    uint32_t seconds;
    uint32_t nanoseconds;
    uint32_t captured_bytes;
    uint32_t whole_bytes;
};

static FILE *json;
static bool json_begun;

static void put_name(const char *name)
{
    fprintf(json, "%s\"thole.%s\":", json_begun ? ", " : "{", name);
    json_begun = true;
}

static void put(const char *name, uint64_t value)
{
    put_name(name);
    fprintf(json, "%" PRIu64, value);
}

static void put_bytes(const char *name, const void *bytes, uint32_t count)
{
    put_name(name);
    fprintf(json, "\"");
    for (uint32_t i = 0; i < count; i++) {
        fprintf(json, "%02x", ((const uint8_t *)bytes)[i]);
    }
    fprintf(json, "\"");
}

static void put_header(const struct wire_frame *frame, uint32_t frame_bytes)
{
    const struct wire_header *header = &frame->header;
    put("magic", WIRE_MAGIC);
    put("version", WIRE_VERSION);
    put("kind", header->kind);
    put("from", header->from);
    put("to", header->to);
    put("group", header->group);
    put("frame_bytes", frame_bytes);
    put("counter", 0);
    put("cluster", header->cluster);
    put("from_store", header->from_store);
    put("from_boot", header->from_boot);
    put("to_boot", header->to_boot);
    put("term", header->term);
    put("token", header->token);
    put_bytes("tag", (const uint8_t[WIRE_TAG_BYTES]){0}, WIRE_TAG_BYTES);
}

static void put_entry(const struct wire_entry *entry)
{
    put("entry.session", entry->session);
    put("entry.fragment_bytes", entry->fragment_bytes);
    put("entry.pages", entry->pages);
    put("entry.used_bytes", entry->used_bytes);
    put("entry.offset", entry->offset);
    put("entry.term", entry->id.term);
    put("entry.index", entry->id.index);
    put("entry.previous_term", entry->previous_term);
    put("entry.position", entry->position);
    put("entry.commit_index", entry->commit_index);
    put("entry.last_mark.position", entry->last_mark.position);
    put("entry.last_mark.term_low", entry->last_mark.term_low);
    put("entry.last_mark.crc", entry->last_mark.crc);
}

static void put_ack(const struct wire_ack *ack)
{
    put("ack.session", ack->session);
    put("ack.flags",
        (ack->matched ? 1u : 0) | (ack->bootstrapped ? 2u : 0) | (ack->has_missing ? 4u : 0));
    put("ack.flags.matched", ack->matched);
    put("ack.flags.bootstrapped", ack->bootstrapped);
    put("ack.flags.missing", ack->has_missing);
    put("ack.probe", ack->probe);
    put("ack.frame_bytes", ack->frame_bytes);
    put("ack.hint_term", ack->hint.term);
    put("ack.hint_index", ack->hint.index);
    put("ack.verified_index", ack->verified_index);
    put("ack.durable_index", ack->durable_index);
    put("ack.received_index", ack->received_index);
    put("ack.credit_position", ack->credit_position);
    put("ack.space_position", ack->space_position);
    put("ack.missing_index", ack->missing_index);
    put("ack.missing_bitmap", ack->missing_bitmap);
    put("ack.bound_term", ack->bound.term);
    put("ack.bound_index", ack->bound.index);
}

static void put_message(const struct wire_frame *frame)
{
    const struct raft_message *message = &frame->message;
    switch (message->kind) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        put("vote.last_term", message->vote.last.term);
        put("vote.last_index", message->vote.last.index);
        put("vote.transfer", message->vote.transfer);
        return;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        put("vote_reply.granted", message->vote_reply.granted);
        put("vote_reply.regressed", message->vote_reply.regressed);
        put("vote_reply.regressed_term", message->vote_reply.regressed_term);
        put("vote_reply.regressed_token", message->vote_reply.regressed_token);
        return;
    case RAFT_APPEND:
        put("append.session", message->append.session);
        put("append.heard_boot", message->append.heard_boot);
        put("append.prev_term", message->append.prev.term);
        put("append.prev_index", message->append.prev.index);
        put("append.commit_index", message->append.commit_index);
        put("append.regressed", message->append.regressed);
        return;
    case RAFT_TIMEOUT_NOW:
        put("timeout_now.last_term", message->timeout_now.last.term);
        put("timeout_now.last_index", message->timeout_now.last.index);
        return;
    case RAFT_APPEND_REPLY:
        break;
    }
    ASSERT(false);
}

/* Records as a body has them. */
static void put_records(const uint8_t *records, uint32_t bytes)
{
    uint32_t at = 0;
    while (at < bytes) {
        struct record_header record;
        memcpy(&record, records + at, sizeof record);
        put("record.bytes", record.bytes);
        put("record.kind", record.kind);
        put("record.session", record.session);
        put("record.sequence", record.sequence);
        if (record.bytes > 0) {
            put_bytes("record.payload", records + at + sizeof record, record.bytes);
        }
        at += record_body_bytes(record.bytes);
    }
}

static void put_items(const struct wire_frame *frame)
{
    uint32_t at = 0;
    struct wire_item item;
    while (wire_item_next(frame->payload, frame->payload_bytes, &at, &item)) {
        put("item.value", item.value);
        put("item.kind", item.kind);
        put("item.name_bytes", item.name_bytes);
        put("item.text_bytes", item.text_bytes);
        put_name("item.name");
        fprintf(json, "\"%.*s\"", (int)item.name_bytes, item.name);
        if (item.text_bytes > 0) {
            put_bytes("item.text", item.text, item.text_bytes);
        }
    }
}

static void put_request(const struct wire_frame *frame)
{
    const struct wire_request *request = &frame->request;
    put("request.session", request->session);
    put("request.first_sequence", request->first_sequence);
    put("request.expected_offset", request->conditional ? request->expected_offset : UINT64_MAX);
    put("request.epoch", request->epoch);
    put("request.record_count", request->record_count);
    put("request.request_bytes", request->request_bytes);
    put("request.offset", request->offset);
    if (request->offset == 0 && request->request_bytes == frame->payload_bytes) {
        put_records(frame->payload, frame->payload_bytes);
    }
}

static void put_reply(const struct wire_reply *reply)
{
    put("reply.session", reply->session);
    put("reply.first_sequence", reply->first_sequence);
    put("reply.first_offset", reply->first_offset);
    put("reply.detail", reply->detail);
    put("reply.record_count", reply->record_count);
    put("reply.status", reply->status);
    put("reply.leader", reply->leader);
}

static void put_read(const struct wire_read *read)
{
    put("read.offset", read->offset);
    put("read.skip", read->skip);
    put("read.flags", (read->linearizable ? 1u : 0) | (read->waits ? 2u : 0));
    put("read.flags.linearizable", read->linearizable);
    put("read.flags.waits", read->waits);
    put("read.frame_bytes", read->frame_bytes);
}

static void put_read_reply(const struct wire_frame *frame)
{
    const struct wire_read_reply *reply = &frame->read_reply;
    put("read_reply.offset", reply->offset);
    put("read_reply.start_offset", reply->start_offset);
    put("read_reply.committed_offset", reply->committed_offset);
    put("read_reply.skip", reply->skip);
    put("read_reply.record_count", reply->record_count);
    put("read_reply.status", reply->status);
    put("read_reply.leader", reply->leader);
    put("read_reply.flags", reply->partial);
    put("read_reply.flags.partial", reply->partial);
    put("read_reply.term", reply->term);
    put_records(frame->payload, frame->payload_bytes);
}

static void put_status_reply(const struct wire_status_reply *reply)
{
    put("status_reply.role", reply->role);
    put("status_reply.leader", reply->leader);
    put("status_reply.flags", (reply->durable ? 1u : 0) | (reply->bootstrapped ? 2u : 0) |
                                  (reply->takes_proposals ? 4u : 0) | (reply->degraded ? 8u : 0) |
                                  (reply->slowed ? 16u : 0) | (reply->faulty ? 32u : 0) |
                                  (reply->posix ? 64u : 0) | (reply->bounded ? 128u : 0));
    put("status_reply.flags.durable", reply->durable);
    put("status_reply.flags.bootstrapped", reply->bootstrapped);
    put("status_reply.flags.takes", reply->takes_proposals);
    put("status_reply.flags.degraded", reply->degraded);
    put("status_reply.flags.slowed", reply->slowed);
    put("status_reply.flags.faulty", reply->faulty);
    put("status_reply.flags.posix", reply->posix);
    put("status_reply.flags.bounded", reply->bounded);
    put("status_reply.more",
        (reply->unmended ? 1u : 0) | (reply->full ? 2u : 0) | (reply->diverged ? 4u : 0));
    put("status_reply.more.unmended", reply->unmended);
    put("status_reply.more.full", reply->full);
    put("status_reply.more.diverged", reply->diverged);
    put("status_reply.smallest", reply->smallest);
    put("status_reply.term", reply->term);
    put("status_reply.commit_index", reply->commit_index);
    put("status_reply.durable_index", reply->durable_index);
    put("status_reply.start_offset", reply->start_offset);
    put("status_reply.end_offset", reply->end_offset);
    put("status_reply.voters", reply->voters);
    put("status_reply.waiting", reply->waiting);
    put("status_reply.strangers", reply->strangers);
    put("status_reply.behind", reply->behind);
    put("status_reply.frames_dropped", reply->frames_dropped);
    put("status_reply.regressed", reply->regressed);
}

static void put_probe(const struct wire_probe *probe)
{
    put("probe.session", probe->session);
    put("probe.number", probe->number);
}

static void put_transfer_reply(const struct wire_transfer_reply *reply)
{
    put("transfer_reply.outcome", reply->outcome);
    put("transfer_reply.leader", reply->leader);
    put("transfer_reply.to", reply->to);
}

static void put_mend(const struct wire_frame *frame)
{
    if (frame->header.kind == WIRE_MEND_ASK) {
        put("mend_ask.term", frame->mend_ask.id.term);
        put("mend_ask.index", frame->mend_ask.id.index);
        put("mend_ask.end_position", frame->mend_ask.end_position);
        return;
    }
    put("mend_say.what", frame->mend_say.what);
    put("mend_say.term", frame->mend_say.id.term);
    put("mend_say.index", frame->mend_say.id.index);
    put("mend_say.last_term", frame->mend_say.last.term);
    put("mend_say.last_index", frame->mend_say.last.index);
}

/* What the encoder was given, by kind. */
static void put_fixed(const struct wire_frame *frame)
{
    switch ((enum wire_kind)frame->header.kind) {
    case WIRE_PRE_VOTE:
    case WIRE_PRE_VOTE_REPLY:
    case WIRE_VOTE:
    case WIRE_VOTE_REPLY:
    case WIRE_APPEND:
    case WIRE_TIMEOUT_NOW:
        put_message(frame);
        return;
    case WIRE_ENTRY:
    case WIRE_MEND_ENTRY:
        put_entry(&frame->entry);
        return;
    case WIRE_MEND_ASK:
    case WIRE_MEND_SAY:
        put_mend(frame);
        return;
    case WIRE_ACK:
        put_ack(&frame->ack);
        return;
    case WIRE_PROBE:
        put_probe(&frame->probe);
        return;
    case WIRE_REQUEST:
        put_request(frame);
        return;
    case WIRE_REPLY:
        put_reply(&frame->reply);
        return;
    case WIRE_READ:
        put_read(&frame->read);
        return;
    case WIRE_READ_REPLY:
        put_read_reply(frame);
        return;
    case WIRE_STATUS:
        return;
    case WIRE_STATUS_REPLY:
        put_status_reply(&frame->status_reply);
        return;
    case WIRE_OPEN:
        put("open.epoch", frame->open.epoch);
        put("open.name_bytes", frame->open.name_bytes);
        put_bytes("open.name", frame->open.name, SESSION_NAME_MAX);
        return;
    case WIRE_OPEN_REPLY:
        put("open_reply.session", frame->open_reply.session);
        put("open_reply.next_sequence", frame->open_reply.next_sequence);
        put("open_reply.epoch", frame->open_reply.epoch);
        put("open_reply.status", frame->open_reply.status);
        put("open_reply.leader", frame->open_reply.leader);
        return;
    case WIRE_TRANSFER:
        put("transfer.to", frame->transfer.to);
        return;
    case WIRE_TRANSFER_REPLY:
        put_transfer_reply(&frame->transfer_reply);
        return;
    case WIRE_STATS:
        put("stats.first", frame->stats.first);
        return;
    case WIRE_STATS_REPLY:
        put("stats_reply.total", frame->stats_reply.total);
        put("stats_reply.first", frame->stats_reply.first);
        put("stats_reply.count", frame->stats_reply.count);
        put_items(frame);
        return;
    }
}

/* ---- Entries: a whole one, sealed as a leader does, of which a fragment travels. ---- */

static void put_entry_header(const struct entry_header *header)
{
    put("entry_header.magic", header->magic);
    put("entry_header.version", header->version);
    put("entry_header.kind", header->kind);
    put("entry_header.pages", header->pages);
    put("entry_header.cluster", header->cluster);
    put("entry_header.term", header->term);
    put("entry_header.index", header->index);
    put("entry_header.previous_term", header->previous_term);
    put("entry_header.position", header->position);
    put("entry_header.first_offset", header->first_offset);
    put("entry_header.leader_time_ns", header->leader_time_ns);
    put("entry_header.body_bytes", header->body_bytes);
    put("entry_header.record_count", header->record_count);
    put("entry_header.commit_index", header->commit_index);
    put("entry_header.session_record_count", header->session_record_count);
    put("entry_header.crc", header->crc);
}

/* Fill the entry that `frame` is a fragment of, and point the frame into it. Its body is records of
 * one size, and its last one what is left. */
static void entry_fill(struct prng *prng, struct wire_frame *frame, uint8_t *entry)
{
    struct wire_entry *fixed = &frame->entry;
    uint32_t body_bytes = 0;
    while (entry_used_bytes(body_bytes) < fixed->used_bytes) {
        body_bytes++;
    }
    body_bytes = (body_bytes + 7) / 8 * 8; /* Within its last page: a body of full pages is so. */
    struct entry_header header = {
        .kind = ENTRY_CLIENT,
        .cluster = frame->header.cluster,
        .term = fixed->id.term,
        .index = fixed->id.index,
        .previous_term = fixed->previous_term,
        .position = fixed->position,
        .first_offset = prng_next(prng) >> 1,
        .leader_time_ns = prng_next(prng) >> 1,
        .commit_index = fixed->id.index - 1,
        .body_bytes = body_bytes,
    };
    memset(entry, 0, ENTRY_BYTES_MAX);
    uint32_t record_bytes = (uint32_t)prng_between(prng, 0, 20) * 8;
    uint32_t at = 0;
    while (body_bytes - at >= RECORD_HEADER_BYTES) {
        uint32_t rest = body_bytes - at - RECORD_HEADER_BYTES;
        bool is_last = rest < record_bytes + RECORD_HEADER_BYTES;
        struct record_header record = {
            .bytes = is_last ? rest : record_bytes,
            .session = header.record_count + 1,
            .sequence = prng_next(prng) >> 1,
        };
        entry_body_write(entry, at, &record, sizeof record);
        at += record_body_bytes(record.bytes);
        header.record_count++;
    }
    header.session_record_count = header.record_count < ENTRY_SESSION_RECORDS_MAX
                                      ? header.record_count
                                      : ENTRY_SESSION_RECORDS_MAX;
    entry_seal(entry, &header);
    ASSERT(entry_header_of(entry)->pages == fixed->pages);
    fixed->used_bytes = entry_used_bytes(body_bytes);
    fixed->last_mark = page_mark_of(entry + (fixed->pages - 1u) * PAGE_BYTES);
    uint32_t rest_bytes = fixed->used_bytes - NODE_HEADER_BYTES - fixed->offset;
    frame->payload_bytes = rest_bytes < fixed->fragment_bytes ? rest_bytes : fixed->fragment_bytes;
    frame->payload = entry + NODE_HEADER_BYTES + fixed->offset;
}

/* What stands in the fragment. */
static void put_fragment(const struct wire_frame *frame, const uint8_t *entry)
{
    uint32_t first = NODE_HEADER_BYTES + frame->entry.offset;
    uint32_t last = first + frame->payload_bytes;
    put_bytes("payload", frame->payload, frame->payload_bytes);
    if (frame->entry.offset == 0 && frame->payload_bytes >= ENTRY_HEADER_BYTES) {
        const struct entry_header *header = entry_header_of(entry);
        put_entry_header(header);
        uint32_t at = ENTRY_BODY_OFFSET;
        uint32_t end = ENTRY_BODY_OFFSET + header->body_bytes;
        end = end < PAGE_BYTES - PAGE_MARK_BYTES ? end : PAGE_BYTES - PAGE_MARK_BYTES;
        end = end < last ? end : last;
        uint32_t whole = at;
        while (whole + RECORD_HEADER_BYTES <= end) {
            struct record_header record;
            memcpy(&record, entry + whole, sizeof record);
            if (whole + record_body_bytes(record.bytes) > end) {
                break;
            }
            whole += record_body_bytes(record.bytes);
        }
        put_records(entry + at, whole - at);
    }
    for (uint32_t page = 0; page < frame->entry.pages; page++) {
        uint32_t at = page * PAGE_BYTES + PAGE_BYTES - PAGE_MARK_BYTES;
        if (at >= first && at + PAGE_MARK_BYTES <= last) {
            struct page_mark mark = page_mark_of(entry + page * PAGE_BYTES);
            put("mark.position", mark.position);
            put("mark.term_low", mark.term_low);
            put("mark.crc", mark.crc);
        }
    }
}

/* ---- Packets. ---- */

static void packet_write(FILE *out, const uint8_t *frame, uint32_t frame_bytes, uint32_t captured)
{
    static uint32_t number;
    uint8_t headers[HEADERS_BYTES];
    const struct headers_end from = {headers_mac_of(0x0a000001), {0x0a000001, 7001}};
    const struct headers_end to = {headers_mac_of(0x0a000002), {0x0a000002, 40000}};
    headers_build(headers, &from, &to, frame_bytes);
    const struct pcap_packet packet = {
        .seconds = number++,
        .captured_bytes = HEADERS_BYTES + captured,
        .whole_bytes = HEADERS_BYTES + frame_bytes,
    };
    bool whole = fwrite(&packet, sizeof packet, 1, out) == 1 &&
                 fwrite(headers, sizeof headers, 1, out) == 1 &&
                 fwrite(frame, 1, captured, out) == captured;
    ASSERT(whole);
}

/* Damage a frame: bytes changed, cut off or missing from the capture; most with a checksum that is
 * right, so that what stands behind it is believed. Returns how many bytes were captured. */
static uint32_t damage(struct prng *prng, uint8_t *frame, uint32_t *frame_bytes)
{
    uint32_t changes = (uint32_t)prng_below(prng, 5);
    for (uint32_t i = 0; i < changes; i++) {
        uint32_t at = (uint32_t)prng_between(prng, 6, *frame_bytes - 1);
        frame[at] = prng_chance(prng, 500000) ? 0xff : (uint8_t)prng_next(prng);
    }
    if (prng_chance(prng, 400000)) {
        *frame_bytes = (uint32_t)prng_between(prng, 1, *frame_bytes);
    }
    if (prng_chance(prng, 100000)) {
        frame[4] = (uint8_t)prng_next(prng); /* The version. */
    }
    if (prng_chance(prng, 700000)) {
        frame_mend(frame, *frame_bytes);
    }
    return prng_chance(prng, 300000) ? (uint32_t)prng_between(prng, 1, *frame_bytes) : *frame_bytes;
}

static void one(struct prng *prng, enum wire_kind kind, bool broken, FILE *pcap)
{
    static uint8_t payload[FRAME_BYTES_MAX];
    static uint8_t bytes[FRAME_BYTES_MAX];
    static _Alignas(8) uint8_t entry[ENTRY_BYTES_MAX];
    struct wire_frame frame;
    frame_random(prng, kind, &frame, payload);
    if ((kind == WIRE_ENTRY || kind == WIRE_MEND_ENTRY) && frame.payload_bytes > 0) {
        entry_fill(prng, &frame, entry);
    }
    uint32_t frame_bytes = frame_write(&frame, bytes);
    json_begun = false;
    put_header(&frame, frame_bytes);
    put_fixed(&frame);
    if ((kind == WIRE_ENTRY || kind == WIRE_MEND_ENTRY) && frame.payload_bytes > 0) {
        put_fragment(&frame, entry);
    }
    fprintf(json, "}\n");
    uint32_t captured = broken ? damage(prng, bytes, &frame_bytes) : frame_bytes;
    packet_write(pcap, bytes, frame_bytes, captured);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: wire_frames SEED COUNT FILE.pcap FILE.json [--broken]\n");
        return 2;
    }
    struct prng prng;
    prng_init(&prng, strtoull(argv[1], NULL, 10));
    uint64_t count = strtoull(argv[2], NULL, 10);
    bool broken = argc > 5 && strcmp(argv[5], "--broken") == 0;
    FILE *pcap = fopen(argv[3], "wbe");
    json = fopen(argv[4], "wbe");
    const struct pcap_head head = {
        .magic = PCAP_MAGIC_NS,
        .major = 2,
        .minor = 4,
        .snap_bytes = PACKET_BYTES,
        .link = PCAP_ETHERNET,
    };
    if (pcap == NULL || json == NULL || fwrite(&head, sizeof head, 1, pcap) != 1) {
        perror("wire_frames");
        return 3;
    }
    for (uint32_t i = 0; i < frame_kind_count; i++) {
        for (uint64_t k = 0; k < count; k++) {
            one(&prng, frame_kinds[i], broken, pcap);
        }
    }
    return fclose(pcap) == 0 && fclose(json) == 0 ? 0 : 3;
}
