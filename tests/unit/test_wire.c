/* test_wire.c: the layout of frames between nodes, byte by byte, and everything that must be
 * dropped; of the frames to and from clients, what is the same for every kind.
 */
#include "engine/wire.h"

#include "engine/base/crc.h"
#include "engine/base/prng.h"
#include "tests/support/frames.h"
#include "tests/unit/test_wire_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define ROUNDS 2000u

static void header_stands_where_the_protocol_says(void **state)
{
    (void)state;
    struct wire_frame frame = {
        .header = {.kind = WIRE_READ,
                   .from = 0,
                   .to = 3,
                   .group = 0x1122,
                   .cluster = 0x0102030405060708,
                   .from_store = 0x1112131415161718,
                   .from_boot = 0x2122232425262728,
                   .to_boot = 0x3132333435363738,
                   .token = 0x5152535455565758},
        .read = {.offset = 0x6162636465666768, .skip = 0x717273},
    };
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    assert_int_equal(wire_encode(&frame, head), 88 + 16);
    assert_memory_equal(head, "THOF", 4);
    assert_int_equal(bytes_le(head + 4, 2), WIRE_VERSION);
    assert_int_equal(head[6], WIRE_READ);
    assert_int_equal(head[7], 0);
    assert_int_equal(head[8], 0);
    assert_int_equal(head[9], 3);
    assert_int_equal(bytes_le(head + 10, 2), 0x1122);
    assert_int_equal(bytes_le(head + 12, 4), 104);
    assert_int_equal(bytes_le(head + 20, 4), 0);
    assert_int_equal(bytes_le(head + 24, 8), 0x0102030405060708);
    assert_int_equal(bytes_le(head + 32, 8), 0x1112131415161718);
    assert_int_equal(bytes_le(head + 40, 8), 0x2122232425262728);
    assert_int_equal(bytes_le(head + 48, 8), 0x3132333435363738);
    assert_int_equal(bytes_le(head + 56, 8), 0);
    assert_int_equal(bytes_le(head + 64, 8), 0x5152535455565758);
    assert_int_equal(bytes_le(head + 72, 8) | bytes_le(head + 80, 8), 0);
    assert_int_equal(bytes_le(head + 88, 8), 0x6162636465666768);
    assert_int_equal(bytes_le(head + 96, 4), 0x717273);
    assert_int_equal(bytes_le(head + 100, 4), 0);
    uint64_t crc = bytes_le(head + 16, 4);
    memset(head + 16, 0, 4);
    assert_int_equal(crc, crc32c(0, head, 104));
}

static void entry_stands_where_the_protocol_says(void **state)
{
    (void)state;
    struct wire_frame frame = {
        .header = {.kind = WIRE_ENTRY, .from = 1, .to = 2, .term = 9},
        .entry = {.session = 0x01020304,
                  .fragment_bytes = 0x0500,
                  .pages = 2,
                  .used_bytes = 0x1234,
                  .offset = 0x0500,
                  .id = {.term = 8, .index = 0x21},
                  .previous_term = 7,
                  .position = 0x345000,
                  .commit_index = 0x20,
                  .last_mark = {.position = 0x346001, .term_low = 8, .crc = 0x99aabbcc}},
    };
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    assert_int_equal(wire_encode(&frame, head), 88 + 72);
    assert_int_equal(bytes_le(head + 56, 8), 9);
    assert_int_equal(bytes_le(head + 88, 4), 0x01020304);
    assert_int_equal(bytes_le(head + 92, 2), 0x0500);
    assert_int_equal(head[94], 2);
    assert_int_equal(head[95], 0);
    assert_int_equal(bytes_le(head + 96, 4), 0x1234);
    assert_int_equal(bytes_le(head + 100, 4), 0x0500);
    assert_int_equal(bytes_le(head + 104, 8), 8);
    assert_int_equal(bytes_le(head + 112, 8), 0x21);
    assert_int_equal(bytes_le(head + 120, 8), 7);
    assert_int_equal(bytes_le(head + 128, 8), 0x345000);
    assert_int_equal(bytes_le(head + 136, 8), 0x20);
    assert_int_equal(bytes_le(head + 144, 8), 0x346001);
    assert_int_equal(bytes_le(head + 152, 4), 8);
    assert_int_equal(bytes_le(head + 156, 4), 0x99aabbcc);
}

static void ack_stands_where_the_protocol_says(void **state)
{
    (void)state;
    struct wire_frame frame = {
        .header = {.kind = WIRE_ACK, .from = 1, .to = 2, .term = 9},
        .ack = {.session = 0x01020304,
                .bootstrapped = true,
                .has_missing = true,
                .probe = 0x0c,
                .frame_bytes = 0x0d0e,
                .hint = {.term = 3, .index = 4},
                .verified_index = 6,
                .durable_index = 5,
                .received_index = 7,
                .credit_position = 0x8000,
                .space_position = 0x9000,
                .missing_index = 10,
                .missing_bitmap = 11,
                .bound = {.term = 9, .index = 12}},
    };
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    assert_int_equal(wire_encode(&frame, head), 88 + 96);
    assert_int_equal(bytes_le(head + 88, 4), 0x01020304);
    assert_int_equal(bytes_le(head + 92, 1), 6);
    assert_int_equal(bytes_le(head + 93, 1), 0x0c);
    assert_int_equal(bytes_le(head + 94, 2), 0x0d0e);
    const uint64_t expected[] = {3, 4, 6, 5, 7, 0x8000, 0x9000, 10, 11, 9, 12};
    for (uint32_t i = 0; i < 11; i++) {
        assert_int_equal(bytes_le(head + 96 + 8 * i, 8), expected[i]);
    }
}

static void probe_stands_where_the_protocol_says(void **state)
{
    (void)state;
    static const uint8_t padding[1000];
    struct wire_frame frame = {
        .header = {.kind = WIRE_PROBE, .from = 1, .to = 2, .term = 9},
        .probe = {.session = 0x01020304, .number = 5},
        .payload = padding,
        .payload_bytes = sizeof padding,
    };
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    assert_int_equal(wire_encode(&frame, head), 88 + 8);
    assert_int_equal(head[6], 9);
    assert_int_equal(bytes_le(head + 12, 4), 88 + 8 + 1000);
    assert_int_equal(bytes_le(head + 88, 4), 0x01020304);
    assert_int_equal(bytes_le(head + 92, 4), 5);
    frame.probe.number = 0;
    expect_assert_failure(wire_encode(&frame, head));
}

static void messages_stand_where_the_protocol_says(void **state)
{
    (void)state;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_frame append = {
        .message = {.kind = RAFT_APPEND,
                    .from = 1,
                    .to = 2,
                    .from_store = 0xaa,
                    .from_boot = 0xbb,
                    .term = 5,
                    .token = 6,
                    .append = {.session = 7, .prev = {4, 9}, .commit_index = 8, .regressed = 10}}};
    assert_int_equal(wire_encode(&append, head), 88 + 40);
    assert_int_equal(head[6], WIRE_APPEND);
    assert_int_equal(bytes_le(head + 32, 8), 0xaa);
    assert_int_equal(bytes_le(head + 40, 8), 0xbb);
    assert_int_equal(bytes_le(head + 64, 8), 6);
    assert_int_equal(bytes_le(head + 88, 4), 7);
    assert_int_equal(bytes_le(head + 96, 8), 4);
    assert_int_equal(bytes_le(head + 104, 8), 9);
    assert_int_equal(bytes_le(head + 112, 8), 8);
    assert_int_equal(bytes_le(head + 120, 8), 10);

    struct wire_frame said = {.message = {.kind = RAFT_VOTE_REPLY,
                                          .from = 1,
                                          .to = 2,
                                          .term = 5,
                                          .vote_reply = {.granted = true, .regressed = 10}}};
    assert_int_equal(wire_encode(&said, head), 88 + 32);
    assert_int_equal(bytes_le(head + 88, 8), 1);
    assert_int_equal(bytes_le(head + 96, 8), 10);

    struct wire_frame vote = {
        .message = {.kind = RAFT_VOTE, .from = 1, .to = 2, .term = 5, .vote = {{4, 9}, true}}};
    assert_int_equal(wire_encode(&vote, head), 88 + 24);
    assert_int_equal(bytes_le(head + 88, 8), 4);
    assert_int_equal(bytes_le(head + 96, 8), 9);
    assert_int_equal(bytes_le(head + 104, 8), 1);

    struct wire_frame order = {.message = {.kind = RAFT_TIMEOUT_NOW,
                                           .from = 1,
                                           .to = 2,
                                           .term = 5,
                                           .token = 6,
                                           .timeout_now = {{4, 9}}}};
    order.header.kind = WIRE_TIMEOUT_NOW;
    assert_int_equal(wire_encode(&order, head), 88 + 16);
    assert_int_equal(head[6], 8);
    assert_int_equal(bytes_le(head + 64, 8), 6);
    assert_int_equal(bytes_le(head + 88, 8), 4);
    assert_int_equal(bytes_le(head + 96, 8), 9);
}

static void questions_of_a_damaged_node_stand_where_the_protocol_says(void **state)
{
    (void)state;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_frame ask = {
        .header = {.kind = WIRE_MEND_ASK, .from = 1, .to = 2, .term = 9},
        .mend_ask = {.id = {.term = 7, .index = 8}, .end_position = 0x9000},
    };
    assert_int_equal(wire_encode(&ask, head), 88 + 24);
    assert_int_equal(head[6], 10);
    assert_int_equal(bytes_le(head + 88, 8), 7);
    assert_int_equal(bytes_le(head + 96, 8), 8);
    assert_int_equal(bytes_le(head + 104, 8), 0x9000);
    struct wire_frame say = {
        .header = {.kind = WIRE_MEND_SAY, .from = 2, .to = 1, .term = 3},
        .mend_say = {.what = WIRE_MEND_TRIMMED,
                     .id = {.term = 7, .index = 8},
                     .last = {.term = 2, .index = 6}},
    };
    assert_int_equal(wire_encode(&say, head), 88 + 40);
    assert_int_equal(head[6], 12);
    assert_int_equal(bytes_le(head + 88, 8), 2);
    assert_int_equal(bytes_le(head + 96, 8), 7);
    assert_int_equal(bytes_le(head + 104, 8), 8);
    assert_int_equal(bytes_le(head + 112, 8), 2);
    assert_int_equal(bytes_le(head + 120, 8), 6);
    assert_int_equal(wire_head_bytes(WIRE_MEND_ENTRY), wire_head_bytes(WIRE_ENTRY));
}

static void question_of_a_damaged_node_with_a_bad_field_is_dropped(void **state)
{
    (void)state;
    assert_int_equal(frame_after(WIRE_MEND_ASK, 88, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_ASK, 96, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_ASK, 88, 1ull << 63, 8), WIRE_DROP_absurd_term);
    assert_int_equal(frame_after(WIRE_MEND_ASK, 56, 1, 8), WIRE_DROP_bad_field); /* Term above. */
    assert_int_equal(frame_after(WIRE_MEND_ASK, 104, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_ASK, 104, 0x9001, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_ASK, 104, 1ull << 63, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_ASK, 8, 0, 1), WIRE_DROP_unknown_sender);
    assert_int_equal(frame_after(WIRE_MEND_SAY, 88, WIRE_MEND_COUNT, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_SAY, 89, 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_SAY, 96, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_SAY, 104, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_SAY, 96, (1ull << 63) - 1, 8), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_MEND_SAY, 112, 1ull << 62, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_SAY, 120, 1ull << 63, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_MEND_ENTRY, 88, 1, 4), WIRE_DROP_bad_field);  /* Session. */
    assert_int_equal(frame_after(WIRE_MEND_ENTRY, 136, 1, 8), WIRE_DROP_bad_field); /* Commit. */
}

static void every_kind_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    uint64_t seed = 42;
    printf("seed %llu\n", (unsigned long long)seed);
    struct prng prng;
    prng_init(&prng, seed);
    static uint8_t payload[FRAME_BYTES_MAX];
    uint8_t bytes[FRAME_BYTES_MAX + 1];
    for (uint32_t round = 0; round < ROUNDS * frame_kind_count; round++) {
        struct wire_frame frame;
        struct wire_frame out;
        struct wire_self self;
        struct wire_counters counters = {0};
        uint8_t *unaligned = bytes + round % 2;
        frame_random(&prng, frame_kinds[round % frame_kind_count], &frame, payload);
        frame_receiver(&frame, &self);
        uint32_t frame_bytes = frame_write(&frame, unaligned);
        assert_int_equal(wire_decode(&self, unaligned, frame_bytes, &out, &counters), 0);
        assert_true(frame_equal(&frame, &out));
        assert_int_equal(counters.ok, 1);
    }
}

static void every_flipped_bit_of_a_head_is_noticed(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 43);
    uint8_t bytes[FRAME_BYTES_MAX];
    for (uint32_t k = 0; k < frame_kind_count; k++) {
        struct wire_self self;
        uint32_t frame_bytes = frame_make(&prng, frame_kinds[k], bytes, &self);
        bool covers_all = frame_kinds[k] >= WIRE_REQUEST;
        uint32_t covered = covers_all ? frame_bytes : wire_head_bytes(frame_kinds[k]);
        for (uint32_t bit = 0; bit < covered * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_not_equal(frame_decode(&self, bytes, frame_bytes), WIRE_DROP_ok);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_int_equal(frame_decode(&self, bytes, frame_bytes), WIRE_DROP_ok);
    }
}

static void every_shorter_and_longer_frame_is_dropped(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 44);
    uint8_t bytes[FRAME_BYTES_MAX + 1] = {0};
    for (uint32_t k = 0; k < frame_kind_count; k++) {
        struct wire_self self;
        uint32_t frame_bytes = frame_make(&prng, frame_kinds[k], bytes, &self);
        for (uint32_t count = 0; count <= FRAME_BYTES_MAX + 1; count++) {
            if (count == frame_bytes) {
                continue;
            }
            enum wire_reason reason = frame_decode(&self, bytes, count);
            bool is_short = count < WIRE_HEADER_BYTES;
            enum wire_reason expected = WIRE_DROP_wrong_length;
            expected = is_short ? WIRE_DROP_short_frame : expected;
            expected = count > FRAME_BYTES_MAX ? WIRE_DROP_long_frame : expected;
            assert_int_equal(reason, expected);
        }
    }
}

static void frame_cut_within_its_fixed_part_is_short(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 45);
    uint8_t bytes[FRAME_BYTES_MAX];
    struct wire_self self;
    frame_make(&prng, WIRE_ENTRY, bytes, &self);
    bytes[12] = 159;
    bytes[13] = 0;
    assert_int_equal(frame_decode(&self, bytes, 159), WIRE_DROP_short_frame);
}

static void header_that_is_not_ours_is_dropped_by_its_reason(void **state)
{
    (void)state;
    assert_int_equal(frame_after(WIRE_VOTE, 0, 0, 1), WIRE_DROP_wrong_magic);
    assert_int_equal(frame_after(WIRE_VOTE, 4, WIRE_VERSION + 1, 2), WIRE_DROP_newer_version);
    assert_int_equal(frame_after(WIRE_VOTE, 4, 0, 2), WIRE_DROP_wrong_version);
    assert_int_equal(frame_after(WIRE_VOTE, 6, 0, 1), WIRE_DROP_unknown_kind);
    assert_int_equal(frame_after(WIRE_VOTE, 6, 13, 1), WIRE_DROP_unknown_kind);
    assert_int_equal(frame_after(WIRE_VOTE, 6, 31, 1), WIRE_DROP_unknown_kind);
    assert_int_equal(frame_after(WIRE_VOTE, 6, 255, 1), WIRE_DROP_unknown_kind);
    assert_int_equal(frame_after(WIRE_VOTE, 7, 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_VOTE, 20, 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_VOTE, 24, 1, 8), WIRE_DROP_wrong_cluster);
    assert_int_equal(frame_after(WIRE_VOTE, 10, 0xffff, 2), WIRE_DROP_wrong_group);
    assert_int_equal(frame_after(WIRE_VOTE, 9, 0, 1), WIRE_DROP_wrong_destination);
    assert_int_equal(frame_after(WIRE_VOTE, 9, 63, 1), WIRE_DROP_wrong_destination);
    assert_int_equal(frame_after(WIRE_VOTE, 8, 0, 1), WIRE_DROP_unknown_sender);
    assert_int_equal(frame_after(WIRE_VOTE, 8, 64, 1), WIRE_DROP_unknown_sender);
    assert_int_equal(frame_after(WIRE_VOTE, 8, 255, 1), WIRE_DROP_unknown_sender);
    assert_int_equal(frame_after(WIRE_VOTE, 48, 1, 8), WIRE_DROP_wrong_boot);
    for (uint32_t i = 0; i < WIRE_TAG_BYTES; i++) {
        assert_int_equal(frame_after(WIRE_VOTE, 72 + i, 1, 1), WIRE_DROP_nonzero_tag);
        assert_int_equal(frame_after(WIRE_REPLY, 72 + i, 1, 1), WIRE_DROP_nonzero_tag);
    }
    assert_int_equal(frame_after(WIRE_VOTE, 32, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_REQUEST, 32, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_VOTE, 40, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_VOTE, 88 + 24, 0, 0), WIRE_DROP_ok);
}

static void frame_of_another_direction_is_dropped(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 46);
    uint8_t bytes[FRAME_BYTES_MAX];
    struct wire_self self;
    for (uint32_t k = 0; k < frame_kind_count; k++) {
        uint32_t frame_bytes = frame_make(&prng, frame_kinds[k], bytes, &self);
        self.node = self.node == 0 ? 1 : 0; /* A client instead of a node, and the reverse. */
        self.peers = UINT64_MAX;
        assert_int_equal(frame_decode(&self, bytes, frame_bytes), WIRE_DROP_wrong_destination);
    }
    uint32_t frame_bytes = frame_make(&prng, WIRE_ACK, bytes, &self);
    uint8_t from = bytes[8];
    self.peers &= ~(1ull << from);
    assert_int_equal(frame_decode(&self, bytes, frame_bytes), WIRE_DROP_unknown_sender);
    bytes[8] = self.node;
    frame_mend(bytes, frame_bytes);
    self.peers = UINT64_MAX;
    assert_int_equal(frame_decode(&self, bytes, frame_bytes), WIRE_DROP_own_frame);
    /* A node that speaks as a client, and a client that answers. */
    frame_bytes = frame_make(&prng, WIRE_REQUEST, bytes, &self);
    bytes[8] = self.node == 1 ? 2 : 1;
    frame_mend(bytes, frame_bytes);
    assert_int_equal(frame_decode(&self, bytes, frame_bytes), WIRE_DROP_unknown_sender);
    frame_bytes = frame_make(&prng, WIRE_REPLY, bytes, &self);
    bytes[8] = 0;
    frame_mend(bytes, frame_bytes);
    assert_int_equal(frame_decode(&self, bytes, frame_bytes), WIRE_DROP_unknown_sender);
}

static void only_a_vote_may_say_that_the_leader_wants_it(void **state)
{
    (void)state;
    assert_int_equal(frame_after(WIRE_VOTE, 104, 1, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_VOTE, 104, 2, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_PRE_VOTE, 104, 0, 1), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_PRE_VOTE, 104, 1, 1), WIRE_DROP_bad_field);
    for (uint32_t i = 1; i < 8; i++) {
        assert_int_equal(frame_after(WIRE_VOTE, 104 + i, 1, 1), WIRE_DROP_bad_field);
        assert_int_equal(frame_after(WIRE_PRE_VOTE, 104 + i, 1, 1), WIRE_DROP_bad_field);
    }
}

static void order_to_stand_names_an_entry(void **state)
{
    (void)state;
    assert_int_equal(frame_after(WIRE_TIMEOUT_NOW, 96, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_TIMEOUT_NOW, 88, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_TIMEOUT_NOW, 56, 1, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_TIMEOUT_NOW, 8, 0, 1), WIRE_DROP_unknown_sender);
}

static void absurd_terms_are_told_apart(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t term = i == 0 ? UINT64_MAX : 1ull << 63;
        assert_int_equal(frame_after(WIRE_VOTE, 56, term, 8), WIRE_DROP_absurd_term);
        assert_int_equal(frame_after(WIRE_REPLY, 56, term, 8), WIRE_DROP_absurd_term);
        assert_int_equal(frame_after(WIRE_VOTE, 88, term, 8), WIRE_DROP_absurd_term);
        assert_int_equal(frame_after(WIRE_APPEND, 96, term, 8), WIRE_DROP_absurd_term);
        assert_int_equal(frame_after(WIRE_ENTRY, 104, term, 8), WIRE_DROP_absurd_term);
        assert_int_equal(frame_after(WIRE_ACK, 96, term, 8), WIRE_DROP_absurd_term);
        assert_int_equal(frame_after(WIRE_TIMEOUT_NOW, 88, term, 8), WIRE_DROP_absurd_term);
    }
    assert_int_equal(frame_after(WIRE_VOTE, 56, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_REQUEST, 56, 1, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_VOTE, 56, (1ull << 63) - 1, 8), WIRE_DROP_ok);
}

static void message_with_a_bad_field_is_dropped(void **state)
{
    (void)state;
    assert_int_equal(frame_after(WIRE_VOTE, 88, (1ull << 63) - 1, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_VOTE, 88, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_VOTE, 96, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_VOTE, 96, 1ull << 63, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_VOTE_REPLY, 88, 2, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_VOTE_REPLY, 95, 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_APPEND, 112, (1ull << 62) - 1, 8), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_APPEND, 112, 1ull << 62, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ACK, 92, 16, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ACK, 94, ENTRY_FRAME_BYTES_MIN - 1, 2), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ACK, 94, FRAME_BYTES_MAX + 1, 2), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ACK, 94, 0, 2), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_ACK, 94, FRAME_BYTES_MAX, 2), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_PROBE, 92, 0, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_PROBE, 93, 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_PROBE, 95, 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ACK, 120, 1ull << 62, 8), WIRE_DROP_bad_field); /* durable */
    assert_int_equal(frame_after(WIRE_ACK, 136, 1, 1), WIRE_DROP_bad_field);          /* credit */
    assert_int_equal(frame_after(WIRE_ACK, 136, 1ull << 63, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ACK, 144, 1, 1), WIRE_DROP_bad_field); /* space */
    assert_int_equal(frame_after(WIRE_ACK, 92, 0, 1) == WIRE_DROP_ok,
                     frame_after(WIRE_ACK, 92, 3, 1) == WIRE_DROP_ok);
    assert_int_not_equal(frame_after(WIRE_ACK, 92, 0, 1),
                         frame_after(WIRE_ACK, 92, 4, 1)); /* missing */
}

/* Frames with a body of fewer than a payload's bytes at all. */
static void payload_where_none_belongs_is_dropped(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 47);
    uint8_t bytes[FRAME_BYTES_MAX] = {0};
    for (uint32_t k = 0; k < frame_kind_count; k++) {
        struct wire_self self;
        uint32_t frame_bytes = frame_make(&prng, frame_kinds[k], bytes, &self);
        if (frame_bytes != wire_head_bytes(frame_kinds[k])) {
            continue;
        }
        memset(bytes + frame_bytes, 0, 8);
        frame_bytes += 8;
        bytes[12] = (uint8_t)frame_bytes;
        bytes[13] = (uint8_t)(frame_bytes >> 8);
        frame_mend(bytes, frame_bytes);
        enum wire_reason reason = frame_decode(&self, bytes, frame_bytes);
        bool carries = frame_kinds[k] == WIRE_ENTRY || frame_kinds[k] == WIRE_READ_REPLY ||
                       frame_kinds[k] == WIRE_MEND_ENTRY;
        assert_int_equal(reason, carries ? WIRE_DROP_bad_field : WIRE_DROP_wrong_length);
    }
}

/* One entry, cut into fragments of `fragment_bytes`; the fragment at `offset`. */
static enum wire_reason entry_after(struct wire_entry entry, uint32_t payload_bytes)
{
    static const uint8_t payload[FRAME_BYTES_MAX];
    struct wire_frame frame = {
        .header = {.kind = WIRE_ENTRY,
                   .from = 1,
                   .to = 2,
                   .cluster = 5,
                   .from_store = 1,
                   .from_boot = 1,
                   .term = 9},
        .payload = payload,
        .payload_bytes = payload_bytes,
    };
    frame.entry = entry;
    uint8_t bytes[FRAME_BYTES_MAX];
    struct wire_self self = {.cluster = 5, .node = 2, .peers = 2};
    return frame_decode(&self, bytes, frame_write(&frame, bytes));
}

static struct wire_entry sound_entry(void)
{
    return (struct wire_entry){
        .fragment_bytes = 1312,
        .pages = 2,
        .used_bytes = 5000,
        .id = {.term = 9, .index = 3},
        .previous_term = 9,
        .position = 0x5000,
        .last_mark = {.position = 0x6001, .term_low = 9},
    };
}

static void entry_fragments_are_full_but_the_last(void **state)
{
    (void)state;
    struct wire_entry entry = sound_entry(); /* 4936 bytes: 1312 * 3 + 1000. */
    assert_int_equal(entry_after(entry, 1312), WIRE_DROP_ok);
    assert_int_equal(entry_after(entry, 0), WIRE_DROP_ok);
    assert_int_equal(entry_after(entry, 1311), WIRE_DROP_bad_field);
    assert_int_equal(entry_after(entry, 1313), WIRE_DROP_bad_field);
    entry.offset = 1312;
    assert_int_equal(entry_after(entry, 1312), WIRE_DROP_ok);
    assert_int_equal(entry_after(entry, 0), WIRE_DROP_bad_field);
    entry.offset = 1320;
    assert_int_equal(entry_after(entry, 1312), WIRE_DROP_bad_field);
    entry.offset = 3936;
    assert_int_equal(entry_after(entry, 1000), WIRE_DROP_ok);
    assert_int_equal(entry_after(entry, 1008), WIRE_DROP_bad_field);
    assert_int_equal(entry_after(entry, 992), WIRE_DROP_bad_field);
    entry.offset = 5248;
    assert_int_equal(entry_after(entry, 1000), WIRE_DROP_bad_field);
    entry.offset = UINT32_MAX / 1312 * 1312;
    assert_int_equal(entry_after(entry, 1312), WIRE_DROP_bad_field);
}

static void entry_with_a_bad_field_is_dropped(void **state)
{
    (void)state;
    struct wire_entry entry = sound_entry();
    struct {
        uint32_t used_bytes;
        uint8_t pages;
        bool fits;
    } sizes[] = {
        {4096, 2, false}, {4097, 2, true},  {8176, 2, true},   {8177, 2, false},   {5000, 3, false},
        {5000, 1, false}, {5000, 0, false}, {65520, 16, true}, {65520, 17, false}, {159, 1, false},
    };
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t last_page = sizes[i].pages - 1u;
        entry.used_bytes = sizes[i].used_bytes;
        entry.pages = sizes[i].pages;
        entry.last_mark.position = (0x5000 + last_page * PAGE_BYTES) | last_page;
        enum wire_reason expected = sizes[i].fits ? WIRE_DROP_ok : WIRE_DROP_bad_field;
        assert_int_equal(entry_after(entry, 1312), expected);
    }
    assert_int_equal(frame_after(WIRE_ENTRY, 92, 1024 - 8, 2), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ENTRY, 92, FRAME_BYTES_MAX + 8, 2), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ENTRY, 92, 1025, 2), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ENTRY, 95, 1, 1), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ENTRY, 104, 0, 8), WIRE_DROP_bad_field);          /* term */
    assert_int_equal(frame_after(WIRE_ENTRY, 104, 1ull << 62, 8), WIRE_DROP_bad_field); /* above */
    assert_int_equal(frame_after(WIRE_ENTRY, 112, 0, 8), WIRE_DROP_bad_field);          /* index */
    assert_int_equal(frame_after(WIRE_ENTRY, 112, 1ull << 63, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ENTRY, 120, 1ull << 62, 8),
                     WIRE_DROP_bad_field); /* previous */
    assert_int_equal(frame_after(WIRE_ENTRY, 120, 0, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ENTRY, 128, 1, 1), WIRE_DROP_bad_field); /* position */
    assert_int_equal(frame_after(WIRE_ENTRY, 136, 1ull << 63, 8), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ENTRY, 144, 0xff, 1), WIRE_DROP_bad_field); /* mark */
    assert_int_equal(frame_after(WIRE_ENTRY, 152, 0, 4), WIRE_DROP_bad_field);
    assert_int_equal(frame_after(WIRE_ENTRY, 156, 0x12345678, 4), WIRE_DROP_ok);
}

static void mended_garbage_never_harms(void **state)
{
    (void)state;
    uint64_t seed = 48;
    printf("seed %llu\n", (unsigned long long)seed);
    struct prng prng;
    prng_init(&prng, seed);
    uint8_t bytes[FRAME_BYTES_MAX];
    uint32_t taken = 0;
    for (uint32_t round = 0; round < 100000; round++) {
        struct wire_self self;
        uint32_t frame_bytes =
            frame_make(&prng, frame_kinds[round % frame_kind_count], bytes, &self);
        uint32_t changes = (uint32_t)prng_between(&prng, 1, 4);
        for (uint32_t i = 0; i < changes; i++) {
            bytes[prng_below(&prng, frame_bytes)] = (uint8_t)prng_next(&prng);
        }
        frame_mend(bytes, frame_bytes);
        struct wire_frame out;
        struct wire_counters counters = {0};
        if (wire_decode(&self, bytes, frame_bytes, &out, &counters) == WIRE_DROP_ok) {
            uint8_t again[FRAME_BYTES_MAX];
            assert_int_equal(frame_write(&out, again), frame_bytes);
            assert_memory_equal(again, bytes, frame_bytes);
            taken++;
        }
    }
    assert_true(taken > 0);
}

static void ack_becomes_the_append_reply_of_the_core(void **state)
{
    (void)state;
    struct wire_frame frame = {
        .header = {.kind = WIRE_ACK,
                   .from = 1,
                   .to = 2,
                   .from_store = 3,
                   .from_boot = 4,
                   .term = 9,
                   .token = 6},
        .ack = {.session = 5,
                .matched = true,
                .hint = {1, 2},
                .verified_index = 8,
                .durable_index = 7},
    };
    struct raft_message message;
    wire_ack_message(&frame, &message);
    assert_int_equal(message.kind, RAFT_APPEND_REPLY);
    assert_int_equal(message.from, 1);
    assert_int_equal(message.to, 2);
    assert_int_equal(message.from_store, 3);
    assert_int_equal(message.from_boot, 4);
    assert_int_equal(message.term, 9);
    assert_int_equal(message.token, 6);
    assert_int_equal(message.append_reply.session, 5);
    assert_true(message.append_reply.matched);
    assert_false(message.append_reply.bootstrapped);
    assert_int_equal(message.append_reply.hint.term, 1);
    assert_int_equal(message.append_reply.verified_index, 8);
    assert_int_equal(message.append_reply.durable_index, 7);
    frame.header.kind = WIRE_APPEND;
    expect_assert_failure(wire_ack_message(&frame, &message));
}

static void fragment_size_follows_the_frame_size(void **state)
{
    (void)state;
    assert_int_equal(wire_fragment_bytes(1472), 1312);
    assert_int_equal(wire_fragment_bytes(FRAME_BYTES_MAX), 8032);
    assert_int_equal(wire_fragment_bytes(1184), 1024);
    expect_assert_failure(wire_fragment_bytes(1183));
    expect_assert_failure(wire_fragment_bytes(FRAME_BYTES_MAX + 8));
    assert_int_equal(wire_request_bytes(1472), 1344);
    assert_int_equal(wire_head_bytes(WIRE_ACK), 184);
    expect_assert_failure(wire_head_bytes((enum wire_kind)13));
}

/* Not a claim, only what this machine does: the cost of a decode, printed for the reader. */
static void decode_of_an_entry_is_timed(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 49);
    uint8_t bytes[FRAME_BYTES_MAX];
    struct wire_self self;
    uint32_t frame_bytes = frame_make(&prng, WIRE_ENTRY, bytes, &self);
    struct wire_frame out;
    struct wire_counters counters = {0};
    struct timespec begin;
    struct timespec end;
    const uint32_t rounds = 200000;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (uint32_t i = 0; i < rounds; i++) {
        assert_int_equal(wire_decode(&self, bytes, frame_bytes, &out, &counters), 0);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
    printf("decode of an ENTRY: %.1f ns\n", ns / rounds);
    assert_int_equal(counters.ok, rounds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_stands_where_the_protocol_says),
        cmocka_unit_test(entry_stands_where_the_protocol_says),
        cmocka_unit_test(ack_stands_where_the_protocol_says),
        cmocka_unit_test(probe_stands_where_the_protocol_says),
        cmocka_unit_test(messages_stand_where_the_protocol_says),
        cmocka_unit_test(questions_of_a_damaged_node_stand_where_the_protocol_says),
        cmocka_unit_test(question_of_a_damaged_node_with_a_bad_field_is_dropped),
        cmocka_unit_test(every_kind_comes_back_as_it_was_sent),
        cmocka_unit_test(every_flipped_bit_of_a_head_is_noticed),
        cmocka_unit_test(every_shorter_and_longer_frame_is_dropped),
        cmocka_unit_test(frame_cut_within_its_fixed_part_is_short),
        cmocka_unit_test(header_that_is_not_ours_is_dropped_by_its_reason),
        cmocka_unit_test(frame_of_another_direction_is_dropped),
        cmocka_unit_test(only_a_vote_may_say_that_the_leader_wants_it),
        cmocka_unit_test(order_to_stand_names_an_entry),
        cmocka_unit_test(absurd_terms_are_told_apart),
        cmocka_unit_test(message_with_a_bad_field_is_dropped),
        cmocka_unit_test(payload_where_none_belongs_is_dropped),
        cmocka_unit_test(entry_fragments_are_full_but_the_last),
        cmocka_unit_test(entry_with_a_bad_field_is_dropped),
        cmocka_unit_test(mended_garbage_never_harms),
        cmocka_unit_test(ack_becomes_the_append_reply_of_the_core),
        cmocka_unit_test(fragment_size_follows_the_frame_size),
        cmocka_unit_test(decode_of_an_entry_is_timed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
