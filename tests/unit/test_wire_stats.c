/* test_wire_stats.c: STATS and its reply byte by byte, and what no sound node says of itself.
 */
#include "engine/wire.h"

#include "tests/unit/test_wire_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT (1ull << 63)

static struct wire_item item_of(const char *name, const char *text, uint64_t value)
{
    return (struct wire_item){
        .name = name,
        .text = text,
        .name_bytes = (uint32_t)strlen(name),
        .text_bytes = (uint32_t)strlen(text),
        .value = value,
        .kind = WIRE_ITEM_FACT,
    };
}

/* A reply of node 3 at a client. */
static enum wire_reason
reply_after(uint32_t total, uint32_t first, uint32_t count, const uint8_t *items, uint32_t bytes)
{
    struct wire_frame frame = {
        .header = {.kind = WIRE_STATS_REPLY, .from = 3, .cluster = 5, .from_store = 1},
        .stats_reply = {(uint16_t)total, (uint16_t)first, (uint16_t)count},
        .payload = items,
        .payload_bytes = bytes,
    };
    uint8_t written[FRAME_BYTES_MAX];
    struct wire_self self = {.cluster = 5};
    return frame_decode(&self, written, frame_write(&frame, written));
}

static void stats_and_their_reply_stand_where_the_protocol_says(void **state)
{
    (void)state;
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_frame stats = {.header = {.kind = WIRE_STATS, .to = 1}, .stats = {.first = 0xab}};
    assert_int_equal(wire_encode(&stats, head), 88 + 8);
    assert_int_equal(head[6], 42);
    assert_int_equal(bytes_le(head + 88, 2), 0xab);
    assert_int_equal(bytes_le(head + 90, 6), 0);
    stats.stats.first = STATS_ITEMS_MAX;
    expect_assert_failure(wire_encode(&stats, head));

    struct wire_frame reply = {.header = {.kind = WIRE_STATS_REPLY, .from = 1},
                               .stats_reply = {.total = 0xcd, .first = 0xab, .count = 0x12}};
    assert_int_equal(wire_encode(&reply, head), 88 + 8);
    assert_int_equal(head[6], 43);
    assert_int_equal(bytes_le(head + 88, 2), 0xcd);
    assert_int_equal(bytes_le(head + 90, 2), 0xab);
    assert_int_equal(bytes_le(head + 92, 2), 0x12);
    assert_int_equal(bytes_le(head + 94, 2), 0);
}

static void item_stands_where_the_protocol_says(void **state)
{
    (void)state;
    uint8_t bytes[64];
    memset(bytes, 0xff, sizeof bytes);
    struct wire_item number = item_of("port.mtu", "", 0x0102030405060708);
    number.kind = WIRE_ITEM_DROP;
    assert_int_equal(wire_item_write(&number, bytes, 23), 0);
    assert_int_equal(wire_item_write(&number, bytes, 24), 24);
    assert_int_equal(bytes_le(bytes, 8), 0x0102030405060708);
    assert_int_equal(bytes[8], 2);
    assert_int_equal(bytes[9], 8);
    assert_int_equal(bytes[10], 0);
    assert_int_equal(bytes_le(bytes + 11, 5), 0);
    assert_memory_equal(bytes + 16, "port.mtu", 8);
    assert_int_equal(bytes[24], 0xff);
    struct wire_item text = item_of("port.spec", "udp", 0);
    assert_int_equal(wire_item_write(&text, bytes, sizeof bytes), 32);
    assert_int_equal(bytes[8], 0);
    assert_int_equal(bytes[9], 9);
    assert_int_equal(bytes[10], 3);
    assert_memory_equal(bytes + 16, "port.specudp\0\0\0\0", 16);
}

static void items_are_read_back_as_they_were_written(void **state)
{
    (void)state;
    uint8_t bytes[STATS_BYTES_MAX];
    struct wire_item number = item_of("a", "", LIMIT - 1);
    number.kind = WIRE_ITEM_COUNTER;
    struct wire_item text = item_of("b.c_9", "~ text", 0);
    uint32_t first_bytes = wire_item_write(&number, bytes, sizeof bytes);
    uint32_t all_bytes =
        first_bytes + wire_item_write(&text, bytes + first_bytes, sizeof bytes - first_bytes);
    struct wire_item found;
    uint32_t at = 0;
    assert_true(wire_item_next(bytes, all_bytes, &at, &found));
    assert_int_equal(at, first_bytes);
    assert_int_equal(found.kind, WIRE_ITEM_COUNTER);
    assert_true(found.value == LIMIT - 1);
    assert_int_equal(found.name_bytes, 1);
    assert_int_equal(found.name[0], 'a');
    assert_int_equal(found.text_bytes, 0);
    assert_true(wire_item_next(bytes, all_bytes, &at, &found));
    assert_int_equal(at, all_bytes);
    assert_int_equal(found.text_bytes, 6);
    assert_memory_equal(found.text, "~ text", 6);
    assert_false(wire_item_next(bytes, all_bytes, &at, &found));
    assert_int_equal(reply_after(2, 0, 2, bytes, all_bytes), WIRE_DROP_ok);
}

static void stats_with_a_bad_field_are_dropped(void **state)
{
    (void)state;
    assert_int_equal(frame_after(WIRE_STATS, 88, STATS_ITEMS_MAX - 1, 2), WIRE_DROP_ok);
    assert_int_equal(frame_after(WIRE_STATS, 88, STATS_ITEMS_MAX, 2), WIRE_DROP_bad_field);
    for (uint32_t at = 90; at < 96; at++) {
        assert_int_equal(frame_after(WIRE_STATS, at, 1, 1), WIRE_DROP_bad_field);
    }
    assert_int_equal(frame_after(WIRE_STATS, 9, 0, 1), WIRE_DROP_ok); /* Whoever serves. */
    assert_int_equal(frame_after(WIRE_STATS, 9, 63, 1), WIRE_DROP_wrong_destination);
    assert_int_equal(frame_after(WIRE_STATS, 8, 1, 1), WIRE_DROP_unknown_sender);
    assert_int_equal(frame_after(WIRE_STATS_REPLY, 94, 1, 2), WIRE_DROP_bad_field);
}

static void reply_holds_as_many_items_as_it_says(void **state)
{
    (void)state;
    uint8_t items[2 * STATS_BYTES_MAX];
    struct wire_item item = item_of("port.mtu", "", 1500);
    uint32_t bytes = wire_item_write(&item, items, sizeof items);
    assert_int_equal(reply_after(1, 0, 1, items, bytes), WIRE_DROP_ok);
    assert_int_equal(reply_after(1, 0, 1, items, bytes - 8), WIRE_DROP_bad_field);
    assert_int_equal(reply_after(2, 0, 2, items, bytes), WIRE_DROP_bad_field);
    assert_int_equal(reply_after(2, 0, 0, items, bytes), WIRE_DROP_bad_field);
    assert_int_equal(reply_after(2, 1, 1, items, bytes), WIRE_DROP_ok);
    assert_int_equal(reply_after(2, 2, 1, items, bytes), WIRE_DROP_bad_field);
    /* Beyond the end there is nothing, and before it there is always something. */
    assert_int_equal(reply_after(2, 2, 0, items, 0), WIRE_DROP_ok);
    assert_int_equal(reply_after(2, 200, 0, items, 0), WIRE_DROP_ok);
    assert_int_equal(reply_after(2, 1, 0, items, 0), WIRE_DROP_bad_field);
    assert_int_equal(reply_after(STATS_ITEMS_MAX, 255, 1, items, bytes), WIRE_DROP_ok);
    uint32_t at = 0;
    uint32_t count = 0;
    for (; at <= STATS_BYTES_MAX; at += bytes) {
        memcpy(items + at, items, bytes);
        count++;
    }
    assert_int_equal(reply_after(100, 0, count - 1, items, at - bytes), WIRE_DROP_ok);
    assert_int_equal(reply_after(100, 0, count, items, at), WIRE_DROP_bad_field);
}

/* An item as bytes, one of them changed. */
static enum wire_reason item_after(uint32_t at, uint8_t value)
{
    uint8_t bytes[64];
    struct wire_item item = item_of("spec", "udp", 0);
    uint32_t count = wire_item_write(&item, bytes, sizeof bytes);
    bytes[at] = value;
    return reply_after(1, 0, 1, bytes, count);
}

static void item_with_a_bad_field_is_dropped(void **state)
{
    (void)state;
    assert_int_equal(item_after(8, WIRE_ITEM_FACT), WIRE_DROP_ok);
    assert_int_equal(item_after(0, 1), WIRE_DROP_bad_field); /* A text has no number. */
    assert_int_equal(item_after(8, WIRE_ITEM_COUNTER), WIRE_DROP_bad_field); /* Nor is it one. */
    assert_int_equal(item_after(8, WIRE_ITEM_KIND_COUNT), WIRE_DROP_bad_field);
    assert_int_equal(item_after(9, 0), WIRE_DROP_bad_field);
    assert_int_equal(item_after(9, STATS_NAME_MAX + 1), WIRE_DROP_bad_field);
    assert_int_equal(item_after(10, 255), WIRE_DROP_bad_field);
    for (uint32_t at = 11; at < 16; at++) {
        assert_int_equal(item_after(at, 1), WIRE_DROP_bad_field);
    }
    assert_int_equal(item_after(16, 'S'), WIRE_DROP_bad_field);
    assert_int_equal(item_after(16, ' '), WIRE_DROP_bad_field);
    assert_int_equal(item_after(20, '\n'), WIRE_DROP_bad_field);
    assert_int_equal(item_after(20, 0x80), WIRE_DROP_bad_field);
    assert_int_equal(item_after(23, 1), WIRE_DROP_bad_field); /* Padding. */
}

static void item_that_no_reader_takes_is_not_written(void **state)
{
    (void)state;
    uint8_t bytes[STATS_BYTES_MAX];
    struct wire_item item = item_of("", "", 0);
    expect_assert_failure((void)wire_item_write(&item, bytes, sizeof bytes));
    item = item_of("mtu", "", LIMIT);
    expect_assert_failure((void)wire_item_write(&item, bytes, sizeof bytes));
    item = item_of("m tu", "", 1);
    expect_assert_failure((void)wire_item_write(&item, bytes, sizeof bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stats_and_their_reply_stand_where_the_protocol_says),
        cmocka_unit_test(item_stands_where_the_protocol_says),
        cmocka_unit_test(items_are_read_back_as_they_were_written),
        cmocka_unit_test(stats_with_a_bad_field_are_dropped),
        cmocka_unit_test(reply_holds_as_many_items_as_it_says),
        cmocka_unit_test(item_with_a_bad_field_is_dropped),
        cmocka_unit_test(item_that_no_reader_takes_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
