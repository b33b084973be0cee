/* nic_entries.c: see nic_entries.h. */
#include "tests/device/nic_entries.h"

#include "engine/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER      0x9f3c0a4e5b6d7788ull
#define RECORD_BYTES (FRAGMENT_BYTES_MIN - RECORD_HEADER_BYTES)
#define TERM         3u

static _Alignas(PAGE_BYTES) uint8_t entry[ENTRY_BYTES_MAX];
static _Alignas(PAGE_BYTES) uint8_t received[ENTRY_BYTES_MAX];
static uint16_t pins[ENTRY_PAGES_MAX];

/* An entry of so many records, each as long as the smallest fragment: one of those more than
 * records. */
static const struct entry_header *entry_make(uint32_t record_count)
{
    uint8_t payload[RECORD_BYTES];
    uint32_t body_bytes = 0;
    for (uint32_t i = 0; i < record_count; i++) {
        struct record_header record = {.bytes = RECORD_BYTES, .sequence = i + 1u};
        nic_case_fill(payload, RECORD_BYTES, record_count + i);
        entry_body_write(entry, body_bytes, &record, sizeof(record));
        entry_body_write(entry, body_bytes + RECORD_HEADER_BYTES, payload, RECORD_BYTES);
        body_bytes += record_body_bytes(RECORD_BYTES);
    }
    struct entry_header header = {
        .kind = record_count > 0 ? ENTRY_CLIENT : ENTRY_NOOP,
        .cluster = CLUSTER,
        .term = TERM,
        .index = 7,
        .previous_term = TERM,
        .position = 5ull * ENTRY_BYTES_MAX,
        .body_bytes = body_bytes,
        .record_count = record_count,
        .leader_time_ns = 1,
    };
    entry_seal(entry, &header);
    assert_null(entry_check(entry, CLUSTER));
    return entry_header_of(entry);
}

static struct wire_frame frame_of(const struct entry_header *header, uint32_t fragment_bytes)
{
    struct wire_frame frame = {
        .header = {.kind = WIRE_ENTRY,
                   .from = 1,
                   .to = 2,
                   .cluster = CLUSTER,
                   .from_store = 11,
                   .from_boot = 1,
                   .term = TERM},
        .entry = {.session = 1,
                  .fragment_bytes = (uint16_t)fragment_bytes,
                  .pages = header->pages,
                  .used_bytes = entry_used_bytes(header->body_bytes),
                  .id = {.term = header->term, .index = header->index},
                  .previous_term = header->previous_term,
                  .position = header->position},
    };
    memcpy(&frame.entry.last_mark, entry + (uint64_t)header->pages * PAGE_BYTES - PAGE_MARK_BYTES,
           PAGE_MARK_BYTES);
    return frame;
}

/* Send it whole; returns the number of fragments. */
static uint32_t entry_send(const struct nic_cases *cases, bool pinned, struct wire_frame *frame)
{
    static struct outbox outbox;
    outbox = (struct outbox){.nic = cases->nics[0]};
    uint64_t dropped = cases->nics[0]->counters.tx_dropped;
    uint32_t part_bytes = frame->entry.used_bytes - NODE_HEADER_BYTES;
    uint32_t fragment_bytes = frame->entry.fragment_bytes;
    uint32_t count = 0;
    for (uint32_t offset = 0; offset < part_bytes; offset += fragment_bytes) {
        uint32_t rest_bytes = part_bytes - offset;
        frame->entry.offset = offset;
        frame->payload = entry + NODE_HEADER_BYTES + offset;
        frame->payload_bytes = rest_bytes < fragment_bytes ? rest_bytes : fragment_bytes;
        uint32_t first = (NODE_HEADER_BYTES + offset) / PAGE_BYTES;
        uint32_t last = (NODE_HEADER_BYTES + offset + frame->payload_bytes - 1) / PAGE_BYTES;
        struct nic_pin pin = {.pages = pinned ? &pins[first] : NULL,
                              .page_count = pinned ? last - first + 1 : 0};
        outbox_put_pinned(&outbox, cases->nics[1]->self, frame, pin);
        count++;
    }
    (void)outbox_flush(&outbox);
    assert_int_equal(cases->nics[0]->counters.tx_dropped, dropped);
    return count;
}

static void entry_receive(const struct nic_cases *cases, uint32_t count)
{
    struct wire_self self = {.cluster = CLUSTER, .node = 2, .boot = 1, .peers = 1u << 1};
    struct wire_counters counters = {0};
    uint32_t entry_bytes = 0;
    uint64_t bitmap = 0;
    memset(received, 0xee, sizeof(received));
    for (uint32_t i = 0; i < count; i++) {
        struct nic_frame in;
        struct wire_frame frame;
        nic_case_receive(cases->nics[1], &in);
        assert_int_equal(wire_decode(&self, in.data, in.bytes, &frame, &counters), WIRE_DROP_ok);
        assert_int_equal(frame.entry.id.index, 7);
        entry_bytes = (uint32_t)frame.entry.pages * PAGE_BYTES;
        memcpy(received + NODE_HEADER_BYTES + frame.entry.offset, frame.payload,
               frame.payload_bytes);
        bitmap |= 1ull << (frame.entry.offset / frame.entry.fragment_bytes);
        memset(received, 0, NODE_HEADER_BYTES);
        memset(received + frame.entry.used_bytes, 0,
               entry_bytes - PAGE_MARK_BYTES - frame.entry.used_bytes);
        memcpy(received + entry_bytes - PAGE_MARK_BYTES, &frame.entry.last_mark, PAGE_MARK_BYTES);
        nic_rx_release(cases->nics[1], &in, 1);
    }
    assert_int_equal(__builtin_popcountll(bitmap), count);
    assert_null(entry_check(received, CLUSTER));
    assert_memory_equal(received, entry, entry_bytes);
}

void nic_case_entries_of_every_fragment_count_arrive_whole(const struct nic_cases *cases,
                                                           bool pinned)
{
    uint32_t largest = wire_fragment_bytes(cases->nics[0]->frame_bytes_max);
    uint32_t sizes[] = {FRAGMENT_BYTES_MIN, largest};
    uint64_t external = cases->nics[0]->counters.tx_external;
    uint64_t frames = 0;
    for (uint32_t i = 0; i < 2 * FRAGMENTS_MAX; i++) {
        uint32_t record_count = i / 2;
        struct wire_frame frame = frame_of(entry_make(record_count), sizes[i % 2]);
        uint32_t count = entry_send(cases, pinned, &frame);
        assert_true(i % 2 == 1 || count == record_count + 1);
        entry_receive(cases, count);
        nic_case_expect_unpinned(cases, pins, ENTRY_PAGES_MAX);
        frames += count;
    }
    external = cases->nics[0]->counters.tx_external - external;
    print_message("%u frames of entries, %u of them from where they lay\n", (uint32_t)frames,
                  (uint32_t)external);
    assert_int_equal(external > 0, pinned && (cases->external & 1u) != 0);
}
