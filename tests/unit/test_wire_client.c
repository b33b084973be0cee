/* test_wire_client.c: the layout of frames to and from clients, byte by byte, and what no sound
 * client or node says in them.
 */
#include "engine/wire.h"

#include "tests/unit/test_wire_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT (1ull << 63) /* Of every number. */

static void request_stands_where_the_protocol_says(void **state)
{
    (void)state;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_frame frame = {.header = {.kind = WIRE_REQUEST, .to = 1},
                               .request = {.session = 0x0102030405060708,
                                           .first_sequence = 0x1112131415161718,
                                           .conditional = true,
                                           .expected_offset = 0x2122232425262728,
                                           .epoch = 0x31323334,
                                           .record_count = 0x0141,
                                           .request_bytes = 0x51525354,
                                           .offset = 0x61626364}};
    assert_int_equal(wire_encode(&frame, head), 88 + 40);
    assert_int_equal(head[6], 32);
    assert_int_equal(bytes_le(head + 88, 8), 0x0102030405060708);
    assert_int_equal(bytes_le(head + 96, 8), 0x1112131415161718);
    assert_int_equal(bytes_le(head + 104, 8), 0x2122232425262728);
    assert_int_equal(bytes_le(head + 112, 4), 0x31323334);
    assert_int_equal(bytes_le(head + 116, 4), 0x0141);
    assert_int_equal(bytes_le(head + 120, 4), 0x51525354);
    assert_int_equal(bytes_le(head + 124, 4), 0x61626364);
    frame.request.conditional = false;
    wire_encode(&frame, head);
    assert_true(bytes_le(head + 104, 8) == UINT64_MAX);
    frame.request.epoch = 0;
    expect_assert_failure(wire_encode(&frame, head));
    frame.request.session = 0;
    assert_int_equal(wire_encode(&frame, head), 88 + 40);
    frame.request.epoch = 1;
    expect_assert_failure(wire_encode(&frame, head));
}

static void reply_stands_where_the_protocol_says(void **state)
{
    (void)state;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_frame frame = {.header = {.kind = WIRE_REPLY, .from = 1},
                               .reply = {.session = 0xa,
                                         .first_sequence = 0xb,
                                         .first_offset = 0xc,
                                         .detail = 0xd,
                                         .record_count = 0xe,
                                         .status = WIRE_GAP,
                                         .leader = 3}};
    assert_int_equal(wire_encode(&frame, head), 88 + 40);
    assert_int_equal(head[6], 33);
    assert_int_equal(bytes_le(head + 88, 8), 0xa);
    assert_int_equal(bytes_le(head + 96, 8), 0xb);
    assert_int_equal(bytes_le(head + 104, 8), 0xc);
    assert_int_equal(bytes_le(head + 112, 8), 0xd);
    assert_int_equal(bytes_le(head + 120, 4), 0xe);
    assert_int_equal(head[124], WIRE_GAP);
    assert_int_equal(head[125], 3);
    assert_int_equal(bytes_le(head + 126, 2), 0);
}

static void statuses_have_the_documented_numbers_and_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "ok",     "busy",       "full",      "not leader", "trimmed", "gap", "condition failed",
        "fenced", "no session", "forgotten",
    };
    assert_int_equal(sizeof names / sizeof names[0], WIRE_STATUS_COUNT);
    for (uint32_t i = 0; i < WIRE_STATUS_COUNT; i++) {
        assert_string_equal(wire_status_name((enum wire_status)i), names[i]);
    }
    assert_string_equal(wire_status_name(WIRE_STATUS_COUNT), "unknown");
}

static void read_and_its_reply_stand_where_the_protocol_says(void **state)
{
    (void)state;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_frame read = {
        .header = {.kind = WIRE_READ, .to = 1},
        .read = {.offset = 0x0102030405060708,
                 .skip = 0x1112,
                 .frame_bytes = 0x1314,
                 .linearizable = true},
    };
    assert_int_equal(wire_encode(&read, head), 88 + 16);
    assert_int_equal(head[6], 34);
    assert_int_equal(bytes_le(head + 88, 8), 0x0102030405060708);
    assert_int_equal(bytes_le(head + 96, 4), 0x1112);
    assert_int_equal(head[100], 1);
    assert_int_equal(head[101], 0);
    assert_int_equal(bytes_le(head + 102, 2), 0x1314);
    read.read.waits = true;
    wire_encode(&read, head);
    assert_int_equal(head[100], 3);
    read.read.linearizable = false;
    wire_encode(&read, head);
    assert_int_equal(head[100], 2);
    read.read.waits = false;
    wire_encode(&read, head);
    assert_int_equal(head[100], 0);

    struct wire_frame reply = {.header = {.kind = WIRE_READ_REPLY, .from = 1},
                               .read_reply = {1, 2, 3, 4, 1, WIRE_OK, 6, true, 0xe}};
    assert_int_equal(wire_encode(&reply, head), 88 + 48);
    assert_int_equal(head[6], 35);
    assert_int_equal(bytes_le(head + 88, 8), 1);
    assert_int_equal(bytes_le(head + 96, 8), 2);
    assert_int_equal(bytes_le(head + 104, 8), 3);
    assert_int_equal(bytes_le(head + 112, 4), 4);
    assert_int_equal(bytes_le(head + 116, 4), 1);
    assert_int_equal(head[120], WIRE_OK);
    assert_int_equal(head[121], 6);
    assert_int_equal(head[122], 1);
    assert_int_equal(bytes_le(head + 128, 8), 0xe);
}

static void open_and_its_reply_stand_where_the_protocol_says(void **state)
{
    (void)state;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_frame open = {
        .header = {.kind = WIRE_OPEN, .from_store = 0x77, .to = 1},
        .open = {.epoch = 0x01020304, .name_bytes = 3, .name = {'o', 'a', 'r'}},
    };
    assert_int_equal(wire_encode(&open, head), 88 + 48);
    assert_int_equal(head[6], 38);
    assert_int_equal(bytes_le(head + 32, 8), 0x77);
    assert_int_equal(bytes_le(head + 88, 4), 0x01020304);
    assert_int_equal(head[92], 3);
    assert_int_equal(bytes_le(head + 93, 3), 0);
    assert_memory_equal(head + 96, "oar", 3);
    for (uint32_t i = 3; i < SESSION_NAME_MAX; i++) {
        assert_int_equal(head[96 + i], 0);
    }
    memset(open.open.name, 'x', SESSION_NAME_MAX); /* What is behind the name does not travel. */
    wire_encode(&open, head);
    assert_memory_equal(head + 96, "xxx\0", 4);
    open.open.name_bytes = SESSION_NAME_MAX;
    wire_encode(&open, head);
    assert_int_equal(head[88 + 47], 'x');
    open.open.name_bytes++;
    expect_assert_failure(wire_encode(&open, head));

    struct wire_frame reply = {.header = {.kind = WIRE_OPEN_REPLY, .from = 1},
                               .open_reply = {.session = 0x0102030405060708,
                                              .next_sequence = 0x1112131415161718,
                                              .epoch = 0x21222324,
                                              .status = WIRE_OK,
                                              .leader = 5}};
    assert_int_equal(wire_encode(&reply, head), 88 + 24);
    assert_int_equal(head[6], 39);
    assert_int_equal(bytes_le(head + 88, 8), 0x0102030405060708);
    assert_int_equal(bytes_le(head + 96, 8), 0x1112131415161718);
    assert_int_equal(bytes_le(head + 104, 4), 0x21222324);
    assert_int_equal(head[108], WIRE_OK);
    assert_int_equal(head[109], 5);
    assert_int_equal(bytes_le(head + 110, 2), 0);
}

static void transfer_and_its_reply_stand_where_the_protocol_says(void **state)
{
    (void)state;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_frame transfer = {.header = {.kind = WIRE_TRANSFER, .to = 1},
                                  .transfer = {.to = 3}};
    assert_int_equal(wire_encode(&transfer, head), 88 + 8);
    assert_int_equal(head[6], 40);
    assert_int_equal(bytes_le(head + 88, 8), 3);
    struct wire_frame reply = {
        .header = {.kind = WIRE_TRANSFER_REPLY, .from = 1},
        .transfer_reply = {.outcome = RAFT_TRANSFER_UNDER_WAY, .leader = 1, .to = 2},
    };
    assert_int_equal(wire_encode(&reply, head), 88 + 8);
    assert_int_equal(head[6], 41);
    assert_int_equal(head[88], 3);
    assert_int_equal(head[89], 1);
    assert_int_equal(head[90], 2);
    assert_int_equal(bytes_le(head + 91, 5), 0);
    /* The outcomes' numbers are the protocol's. */
    assert_int_equal(RAFT_TRANSFER_OK, 0);
    assert_int_equal(RAFT_TRANSFER_NOT_LEADER, 1);
    assert_int_equal(RAFT_TRANSFER_TOO_EARLY, 2);
    assert_int_equal(RAFT_TRANSFER_UNDER_WAY, 3);
    assert_int_equal(RAFT_TRANSFER_NOT_A_VOTER, 4);
    assert_int_equal(RAFT_TRANSFER_NOBODY_HEARD, 5);
}

static void client_may_address_whoever_serves(void **state)
{
    (void)state;
    assert_int_equal(frame_after(WIRE_REQUEST, 9, 0, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_READ, 9, 0, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_STATUS, 9, 0, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_OPEN, 9, 0, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_TRANSFER, 9, 0, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_OPEN, 9, 63, 1), WIRE_DROP_wrong_destination);
    assert_int_equal(frame_after(WIRE_TRANSFER, 9, 63, 1), WIRE_DROP_wrong_destination);
    assert_int_equal(frame_after(WIRE_READ, 9, 63, 1), WIRE_DROP_wrong_destination);
}

static void reply_with_a_bad_field_is_dropped(void **state)
{
    (void)state;
    for (uint32_t at = 96; at <= 112; at += 8) {
        assert_int_equal(frame_after(WIRE_REPLY, at, LIMIT, 8), WIRE_DROP_bad_field);
    }
    assert_int_equal(frame_after(WIRE_REPLY, 120, 0, 4), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_REPLY, 120, ENTRY_RECORDS_MAX, 4), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_REPLY, 120, ENTRY_RECORDS_MAX + 1, 4), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_REPLY, 124, WIRE_STATUS_COUNT, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_REPLY, 125, NODE_ID_MAX, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_REPLY, 125, NODE_ID_MAX + 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_REPLY, 126, 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_REPLY, 127, 1, 1), WIRE_DROP_bad_field);
}

/* A client's frame at node 2, or one of node 3 at a client, as the caller made its fixed part. */
static enum wire_reason client_after(struct wire_frame *frame)
{
    bool question = frame->header.kind == WIRE_REQUEST || frame->header.kind == WIRE_OPEN ||
                    frame->header.kind == WIRE_TRANSFER;
    frame->header.cluster = 5;
    frame->header.from_store = 1;
    frame->header.from = question ? 0 : 3;
    frame->header.to = question ? 2 : 0;
    uint8_t bytes[FRAME_BYTES_MAX];
    struct wire_self self = {.cluster = 5, .node = question ? 2 : 0};
    return frame_decode(&self, bytes, frame_write(frame, bytes));
}

static void only_a_gap_a_condition_and_a_fence_have_a_detail(void **state)
{
    (void)state;
    for (uint32_t status = 0; status < WIRE_STATUS_COUNT; status++) {
        struct wire_frame frame = {
            .header = {.kind = WIRE_REPLY},
            .reply = {.record_count = 1, .status = (uint8_t)status},
        };
        assert_int_equal(client_after(&frame), WIRE_DROP_ok);
        frame.reply.detail = 1;
        bool may = status == WIRE_GAP || status == WIRE_CONDITION || status == WIRE_FENCED;
        assert_int_equal(client_after(&frame), may ? WIRE_DROP_ok : WIRE_DROP_bad_field);
    }
}

static void read_and_its_reply_with_a_bad_field_are_dropped(void **state)
{
    (void)state;
    assert_int_equal(frame_after(WIRE_READ, 96, RECORD_BYTES_MAX + 1, 4), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_READ, 88, LIMIT, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_READ, 100, 0, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_READ, 100, 1, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_READ, 100, 3, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_READ, 100, 4, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_READ, 101, 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_READ, 102, ENTRY_FRAME_BYTES_MIN - 1, 2),
                     WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_READ, 102, ENTRY_FRAME_BYTES_MIN, 2), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_READ, 102, FRAME_BYTES_MAX, 2), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_READ, 102, FRAME_BYTES_MAX + 1, 2), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_READ, 102, 0, 2), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_READ_REPLY, 120, WIRE_STATUS_COUNT, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_READ_REPLY, 121, 64, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_READ_REPLY, 122, 2, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_READ_REPLY, 123, 1, 1), WIRE_DROP_bad_field);
}

static void open_with_a_bad_field_is_dropped(void **state)
{
    (void)state;
    struct wire_frame open = {.header = {.kind = WIRE_OPEN}};
    assert_int_equal(client_after(&open), WIRE_DROP_ok); /* Anonymous, and the first. */
    open.open.name_bytes = SESSION_NAME_MAX;
    memset(open.open.name, 0xff, SESSION_NAME_MAX);
    open.open.epoch = UINT32_MAX;
    assert_int_equal(client_after(&open), WIRE_DROP_ok); /* Any bytes may be a name. */
    assert_int_equal(frame_after(WIRE_OPEN, 92, SESSION_NAME_MAX + 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_OPEN, 92, 255, 1), WIRE_DROP_bad_field);
    for (uint32_t at = 93; at < 96; at++) {
        assert_int_equal(frame_after(WIRE_OPEN, at, 1, 1), WIRE_DROP_bad_field);
    }
    /* A name of three bytes with a fourth behind it, and with rubbish in the last byte. */
    open =
        (struct wire_frame){.header = {.kind = WIRE_OPEN, .cluster = 5, .from_store = 1, .to = 2},
                            .open = {.name_bytes = 3, .name = {'o', 'a', 'r'}}};
    struct wire_self self = {.cluster = 5, .node = 2};
    for (uint32_t at = 96 + 2; at < 96 + SESSION_NAME_MAX; at++) {
        uint8_t bytes[FRAME_BYTES_MAX];
        uint32_t count = frame_write(&open, bytes);
        bytes[at] = 1;
        frame_mend(bytes, count);
        assert_int_equal(frame_decode(&self, bytes, count),
                         at < 96 + 3 ? WIRE_DROP_ok : WIRE_DROP_bad_field);
    }
}

/* An open reply of node 3, its fields written as bytes: what a sound node would never encode. */
static enum wire_reason
open_reply_after(uint64_t session, uint64_t next_sequence, uint32_t epoch, uint8_t status)
{
    struct wire_frame frame = {
        .header = {.kind = WIRE_OPEN_REPLY, .from = 3, .cluster = 5, .from_store = 1},
        .open_reply = {.status = WIRE_BUSY},
    };
    uint8_t bytes[FRAME_BYTES_MAX];
    uint32_t count = frame_write(&frame, bytes);
    memcpy(bytes + 88, &session, 8);
    memcpy(bytes + 96, &next_sequence, 8);
    memcpy(bytes + 104, &epoch, 4);
    bytes[108] = status;
    frame_mend(bytes, count);
    struct wire_self self = {.cluster = 5};
    return frame_decode(&self, bytes, count);
}

static void open_reply_names_a_session_exactly_when_it_is_opened(void **state)
{
    (void)state;
    assert_int_equal(open_reply_after(7, 1, 1, WIRE_OK), WIRE_DROP_ok);
    assert_int_equal(open_reply_after(0, 1, 1, WIRE_OK), WIRE_DROP_bad_field);
    assert_int_equal(open_reply_after(7, 0, 1, WIRE_OK), WIRE_DROP_bad_field);
    assert_int_equal(open_reply_after(7, 1, 0, WIRE_OK), WIRE_DROP_bad_field);
    assert_int_equal(open_reply_after(LIMIT, 1, 1, WIRE_OK), WIRE_DROP_bad_field);
    assert_int_equal(open_reply_after(7, LIMIT, 1, WIRE_OK), WIRE_DROP_bad_field);
    /* Fenced says with which epoch to ask again; 0: there is no such session. */
    assert_int_equal(open_reply_after(0, 0, 4, WIRE_FENCED), WIRE_DROP_ok);
    assert_int_equal(open_reply_after(0, 0, 0, WIRE_FENCED), WIRE_DROP_ok);
    assert_int_equal(open_reply_after(7, 0, 4, WIRE_FENCED), WIRE_DROP_bad_field);
    assert_int_equal(open_reply_after(0, 1, 4, WIRE_FENCED), WIRE_DROP_bad_field);
    static const uint8_t others[] = {WIRE_BUSY, WIRE_FULL, WIRE_NOT_LEADER};
    for (uint32_t i = 0; i < sizeof others; i++) {
        assert_int_equal(open_reply_after(0, 0, 0, others[i]), WIRE_DROP_ok);
        assert_int_equal(open_reply_after(7, 0, 0, others[i]), WIRE_DROP_bad_field);
        assert_int_equal(open_reply_after(0, 1, 0, others[i]), WIRE_DROP_bad_field);
        assert_int_equal(open_reply_after(0, 0, 1, others[i]), WIRE_DROP_bad_field);
    }
    static const uint8_t never[] = {WIRE_TRIMMED,    WIRE_GAP,       WIRE_CONDITION,
                                    WIRE_NO_SESSION, WIRE_FORGOTTEN, WIRE_STATUS_COUNT};
    for (uint32_t i = 0; i < sizeof never; i++) {
        assert_int_equal(open_reply_after(0, 0, 0, never[i]), WIRE_DROP_bad_field);
    }
    assert_int_equal(frame_after(WIRE_OPEN_REPLY, 109, NODE_ID_MAX, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_OPEN_REPLY, 109, NODE_ID_MAX + 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_OPEN_REPLY, 110, 1, 2), WIRE_DROP_bad_field);
    /* And a node that would say such a thing asserts. */
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_frame wrong = {.header = {.kind = WIRE_OPEN_REPLY, .from = 3},
                               .open_reply = {.session = 7, .status = WIRE_BUSY}};
    expect_assert_failure(wire_encode(&wrong, head));
}

static void transfer_and_its_reply_with_a_bad_field_are_dropped(void **state)
{
    (void)state;
    assert_int_equal(frame_after(WIRE_TRANSFER, 88, 0, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_TRANSFER, 88, NODE_ID_MAX, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_TRANSFER, 88, NODE_ID_MAX + 1, 1), WIRE_DROP_bad_field);
    for (uint32_t at = 89; at < 96; at++) {
        assert_int_equal(frame_after(WIRE_TRANSFER, at, 1, 1), WIRE_DROP_bad_field);
    }
    for (uint32_t outcome = 0; outcome <= RAFT_TRANSFER_NOBODY_HEARD; outcome++) {
        assert_int_equal(frame_after(WIRE_TRANSFER_REPLY, 88, outcome, 1), WIRE_DROP_ok);
    }
    uint8_t unknown = RAFT_TRANSFER_NOBODY_HEARD + 1;
    assert_int_equal(frame_after(WIRE_TRANSFER_REPLY, 88, unknown, 1), WIRE_DROP_bad_field);
    for (uint32_t at = 89; at < 91; at++) {
        assert_int_equal(frame_after(WIRE_TRANSFER_REPLY, at, NODE_ID_MAX, 1), WIRE_DROP_ok);
        assert_int_equal(frame_after(WIRE_TRANSFER_REPLY, at, NODE_ID_MAX + 1, 1),
                         WIRE_DROP_bad_field);
    }
    for (uint32_t at = 91; at < 96; at++) {
        assert_int_equal(frame_after(WIRE_TRANSFER_REPLY, at, 1, 1), WIRE_DROP_bad_field);
    }
}

/* A request of two records with payloads of 5 and 8 bytes. */
static uint32_t two_records(uint8_t *records)
{
    memset(records, 0, 64);
    struct record_header first = {.bytes = 5, .session = 4, .sequence = 10};
    struct record_header second = {.bytes = 8, .session = 4, .sequence = 11};
    memcpy(records, &first, sizeof first);
    memset(records + 24, 'a', 5);
    memcpy(records + 32, &second, sizeof second);
    memset(records + 56, 'b', 8);
    return 64;
}

static void request_records_are_walked(void **state)
{
    (void)state;
    uint8_t records[72] = {0};
    uint32_t bytes = two_records(records);
    struct wire_request request = {
        .session = 4, .first_sequence = 10, .record_count = 2, .request_bytes = 64};
    assert_true(wire_records_check(records, bytes, &request));
    assert_false(wire_records_check(records, bytes - 8, &request));
    assert_false(wire_records_check(records, bytes + 8, &request));
    assert_false(wire_records_check(records, 0, &request));
    request.record_count = 1;
    assert_false(wire_records_check(records, bytes, &request));
    request.record_count = 3;
    assert_false(wire_records_check(records, bytes, &request));
    request.record_count = 2;
    request.session = 5;
    assert_false(wire_records_check(records, bytes, &request));
    request.session = 4;
    request.first_sequence = 9;
    assert_false(wire_records_check(records, bytes, &request));
    request.first_sequence = 10;
    /* Every byte that is not payload counts: lengths, kinds, reserved bytes, sequences, padding. */
    for (uint32_t i = 0; i < bytes; i++) {
        bool payload = (i >= 24 && i < 29) || i >= 56;
        records[i] ^= 0x40;
        assert_int_equal(wire_records_check(records, bytes, &request), payload);
        records[i] ^= 0x40;
    }
}

static enum wire_reason request_after(struct wire_request request, uint32_t payload_bytes)
{
    static const uint8_t payload[FRAME_BYTES_MAX];
    struct wire_frame frame = {
        .header = {.kind = WIRE_REQUEST, .to = 2, .cluster = 5, .from_store = 1},
        .payload = payload,
        .payload_bytes = payload_bytes,
    };
    frame.request = request;
    uint8_t bytes[FRAME_BYTES_MAX];
    struct wire_self self = {.cluster = 5, .node = 2};
    return frame_decode(&self, bytes, frame_write(&frame, bytes));
}

static void fragmented_request_is_one_record_in_equal_parts(void **state)
{
    (void)state;
    struct wire_request request = {.record_count = 1, .request_bytes = 3000};
    assert_int_equal(request_after(request, 1024), WIRE_DROP_ok);
    assert_int_equal(request_after(request, 1016), WIRE_DROP_bad_field);
    assert_int_equal(request_after(request, 1028), WIRE_DROP_bad_field);
    assert_int_equal(request_after(request, 0), WIRE_DROP_bad_field);
    request.offset = 1024;
    assert_int_equal(request_after(request, 1024), WIRE_DROP_ok);
    assert_int_equal(request_after(request, 1032), WIRE_DROP_bad_field);
    request.offset = 2048;
    assert_int_equal(request_after(request, 952), WIRE_DROP_ok);
    assert_int_equal(request_after(request, 960), WIRE_DROP_bad_field);
    request.offset = 8;
    assert_int_equal(request_after(request, 2992), WIRE_DROP_bad_field);
    request.offset = 3000;
    assert_int_equal(request_after(request, 8), WIRE_DROP_bad_field);
    request.offset = 0;
    request.record_count = 2;
    assert_int_equal(request_after(request, 1024), WIRE_DROP_bad_field);
    request.record_count = 1;
    request.request_bytes = record_body_bytes(RECORD_BYTES_MAX);
    assert_int_equal(request_after(request, 1024), WIRE_DROP_ok);
    request.request_bytes += 8;
    assert_int_equal(request_after(request, 1024), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_REQUEST, 116, 0, 4), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_REQUEST, 116, REQUEST_RECORDS_MAX + 1, 4),
                     WIRE_DROP_bad_field);
}

/* A request of two records of this session, epoch, first sequence and condition, as bytes. */
static enum wire_reason
condition_after(uint64_t session, uint32_t epoch, uint64_t first_sequence, uint64_t expected_offset)
{
    uint8_t records[64];
    uint32_t records_bytes = two_records(records);
    struct wire_frame frame = {
        .header = {.kind = WIRE_REQUEST, .to = 2, .cluster = 5, .from_store = 1},
        .request = {.record_count = 2, .request_bytes = records_bytes},
        .payload = records,
        .payload_bytes = records_bytes,
    };
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t sequence = first_sequence + i;
        memcpy(records + 32 * i + 8, &session, 8);
        memcpy(records + 32 * i + 16, &sequence, 8);
    }
    uint8_t bytes[FRAME_BYTES_MAX];
    uint32_t count = frame_write(&frame, bytes);
    memcpy(bytes + 88, &session, 8);
    memcpy(bytes + 96, &first_sequence, 8);
    memcpy(bytes + 104, &expected_offset, 8);
    memcpy(bytes + 112, &epoch, 4);
    frame_mend(bytes, count);
    struct wire_self self = {.cluster = 5, .node = 2};
    return frame_decode(&self, bytes, count);
}

static void request_has_an_epoch_exactly_when_it_has_a_session(void **state)
{
    (void)state;
    assert_int_equal(condition_after(4, 1, 1, UINT64_MAX), WIRE_DROP_ok);
    assert_int_equal(condition_after(4, 0, 1, UINT64_MAX), WIRE_DROP_bad_field);
    assert_int_equal(condition_after(0, 0, 1, UINT64_MAX), WIRE_DROP_ok);
    assert_int_equal(condition_after(0, 1, 1, UINT64_MAX), WIRE_DROP_bad_field);
}

static void sequences_of_a_session_begin_at_one(void **state)
{
    (void)state;
    assert_int_equal(condition_after(4, 1, 0, UINT64_MAX), WIRE_DROP_bad_field);
    assert_int_equal(condition_after(0, 0, 0, UINT64_MAX), WIRE_DROP_ok);
    assert_int_equal(condition_after(4, 1, LIMIT - 1, UINT64_MAX), WIRE_DROP_ok);
    assert_int_equal(condition_after(4, 1, LIMIT, UINT64_MAX), WIRE_DROP_bad_field);
}

static void condition_is_an_offset_or_none(void **state)
{
    (void)state;
    assert_int_equal(condition_after(4, 1, 1, 0), WIRE_DROP_ok);
    assert_int_equal(condition_after(0, 0, 1, 0), WIRE_DROP_ok);
    assert_int_equal(condition_after(4, 1, 1, LIMIT - 1), WIRE_DROP_ok);
    assert_int_equal(condition_after(4, 1, 1, LIMIT), WIRE_DROP_bad_field);
    assert_int_equal(condition_after(4, 1, 1, UINT64_MAX - 1), WIRE_DROP_bad_field);
}

static void clients_send_appended_records_alone(void **state)
{
    (void)state;
    uint8_t records[64];
    uint32_t bytes = two_records(records);
    struct wire_request request = {
        .session = 4, .first_sequence = 10, .record_count = 2, .request_bytes = 64};
    for (uint32_t kind = 0; kind <= RECORD_KIND_COUNT; kind++) {
        records[32 + 4] = (uint8_t)kind;
        assert_int_equal(wire_records_check(records, bytes, &request), kind == RECORD_APPEND);
    }
}

static enum wire_reason read_reply_after(struct wire_read_reply reply, uint32_t payload_bytes)
{
    uint8_t records[64];
    two_records(records);
    struct wire_frame frame = {
        .header = {.kind = WIRE_READ_REPLY, .from = 2, .cluster = 5, .from_store = 1},
        .payload = records,
        .payload_bytes = payload_bytes,
    };
    frame.read_reply = reply;
    uint8_t bytes[FRAME_BYTES_MAX];
    struct wire_self self = {.cluster = 5};
    return frame_decode(&self, bytes, frame_write(&frame, bytes));
}

static void read_reply_holds_whole_records_or_one_piece(void **state)
{
    (void)state;
    struct wire_read_reply reply = {
        .offset = 7, .start_offset = 3, .committed_offset = 9, .record_count = 2, .term = 4};
    assert_int_equal(read_reply_after(reply, 64), WIRE_DROP_ok);
    assert_int_equal(read_reply_after(reply, 60), WIRE_DROP_bad_field);
    reply.partial = true;
    expect_assert_failure(read_reply_after(reply, 64));
    reply.record_count = 1;
    assert_int_equal(read_reply_after(reply, 64), WIRE_DROP_bad_field);
    assert_int_equal(read_reply_after(reply, 32), WIRE_DROP_ok);
    assert_int_equal(read_reply_after(reply, 31), WIRE_DROP_bad_field);
    reply.term = 0;
    assert_int_equal(read_reply_after(reply, 32), WIRE_DROP_bad_field);
    reply.term = 4;
    reply.partial = false;
    reply.skip = 6;
    assert_int_equal(read_reply_after(reply, 32), WIRE_DROP_ok);
    reply.skip = RECORD_BYTES_MAX + 1;
    assert_int_equal(read_reply_after(reply, 32), WIRE_DROP_bad_field);
    reply.skip = 0;
    reply.committed_offset = 7;
    assert_int_equal(read_reply_after(reply, 32), WIRE_DROP_bad_field);
    reply.committed_offset = 9;
    reply.start_offset = 8;
    assert_int_equal(read_reply_after(reply, 32), WIRE_DROP_bad_field);
    reply.record_count = 0;
    assert_int_equal(read_reply_after(reply, 8), WIRE_DROP_bad_field);
    reply.status = WIRE_TRIMMED;
    assert_int_equal(read_reply_after(reply, 0), WIRE_DROP_bad_field);
    reply.term = 0;
    assert_int_equal(read_reply_after(reply, 0), WIRE_DROP_ok);
    assert_int_equal(read_reply_after(reply, 64), WIRE_DROP_bad_field);
    reply.start_offset = 3;
    reply.term = 4;
    reply.record_count = 1;
    assert_int_equal(read_reply_after(reply, 32), WIRE_DROP_bad_field);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_stands_where_the_protocol_says),
        cmocka_unit_test(reply_stands_where_the_protocol_says),
        cmocka_unit_test(statuses_have_the_documented_numbers_and_names),
        cmocka_unit_test(read_and_its_reply_stand_where_the_protocol_says),
        cmocka_unit_test(open_and_its_reply_stand_where_the_protocol_says),
        cmocka_unit_test(transfer_and_its_reply_stand_where_the_protocol_says),
        cmocka_unit_test(client_may_address_whoever_serves),
        cmocka_unit_test(reply_with_a_bad_field_is_dropped),
        cmocka_unit_test(only_a_gap_a_condition_and_a_fence_have_a_detail),
        cmocka_unit_test(read_and_its_reply_with_a_bad_field_are_dropped),
        cmocka_unit_test(open_with_a_bad_field_is_dropped),
        cmocka_unit_test(open_reply_names_a_session_exactly_when_it_is_opened),
        cmocka_unit_test(transfer_and_its_reply_with_a_bad_field_are_dropped),
        cmocka_unit_test(request_records_are_walked),
        cmocka_unit_test(fragmented_request_is_one_record_in_equal_parts),
        cmocka_unit_test(request_has_an_epoch_exactly_when_it_has_a_session),
        cmocka_unit_test(sequences_of_a_session_begin_at_one),
        cmocka_unit_test(condition_is_an_offset_or_none),
        cmocka_unit_test(clients_send_appended_records_alone),
        cmocka_unit_test(read_reply_holds_whole_records_or_one_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
