/* test_outbox.c: frames gathered into bursts, on a nic that counts its calls. */
#include "engine/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER 77u

struct counting_nic {
    struct nic nic; /* First: the seam. */
    uint32_t bursts;
    uint32_t frames;
    uint32_t refuse; /* Of the next burst: so many are not taken. */
    uint64_t tokens[256];
    uint8_t last_payload[64];
};

static struct counting_nic nic;
static struct outbox outbox;

static uint32_t tx_burst(struct nic *base, const struct nic_send *sends, uint32_t count)
{
    struct counting_nic *counting = (struct counting_nic *)(void *)base;
    const struct wire_self self = {.cluster = CLUSTER, .boot = 3};
    uint32_t taken = count > counting->refuse ? count - counting->refuse : 0;
    counting->bursts++;
    for (uint32_t i = 0; i < taken; i++) {
        static _Alignas(8) uint8_t data[FRAME_BYTES_MAX];
        struct wire_frame frame;
        struct wire_counters counters = {0};
        memcpy(data, sends[i].head, sends[i].head_bytes);
        if (sends[i].body_bytes > 0) {
            memcpy(data + sends[i].head_bytes, sends[i].body, sends[i].body_bytes);
        }
        enum wire_reason reason =
            wire_decode(&self, data, sends[i].head_bytes + sends[i].body_bytes, &frame, &counters);
        assert_int_equal(reason, WIRE_DROP_ok);
        assert_int_equal(sends[i].to.port, 100 + frame.header.token);
        counting->tokens[counting->frames++] = frame.header.token;
        memcpy(counting->last_payload, frame.payload, frame.payload_bytes);
    }
    return taken;
}

static const struct nic_ops ops = {.tx_burst = tx_burst};

static int setup(void **state)
{
    (void)state;
    memset(&nic, 0, sizeof nic);
    memset(&outbox, 0, sizeof outbox);
    nic.nic = (struct nic){.ops = &ops, .frame_bytes_max = FRAME_BYTES_MAX};
    outbox.nic = &nic.nic;
    return 0;
}

static const uint8_t record[RECORD_HEADER_BYTES + 8] = {8, [RECORD_HEADER_BYTES] = 'a'};

static void put(uint64_t token, const uint8_t *payload)
{
    struct wire_frame frame = {
        .header = {.kind = WIRE_READ_REPLY,
                   .from = 1,
                   .cluster = CLUSTER,
                   .from_store = 5,
                   .from_boot = 1,
                   .to_boot = 3,
                   .token = token},
        .read_reply = {.committed_offset = 9, .record_count = 1, .status = WIRE_OK, .term = 2},
        .payload = payload,
        .payload_bytes = sizeof record,
    };
    outbox_put(&outbox, (struct nic_address){.ipv4 = 1, .port = (uint16_t)(100 + token)}, &frame);
}

static void frames_leave_together_and_in_order_at_the_flush(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 5; i++) {
        put(i, record);
    }
    assert_int_equal(nic.bursts, 0);
    assert_int_equal(outbox_flush(&outbox), 5);
    assert_int_equal(nic.bursts, 1);
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(nic.tokens[i - 1], i);
    }
}

static void full_burst_leaves_at_once(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 2 * TX_BURST_MAX + 3; i++) {
        put(i, record);
    }
    assert_int_equal(nic.bursts, 2);
    assert_int_equal(nic.frames, 2 * TX_BURST_MAX);
    assert_int_equal(outbox_flush(&outbox), 3);
    assert_int_equal(nic.frames, 2 * TX_BURST_MAX + 3);
    assert_int_equal(nic.tokens[2 * TX_BURST_MAX + 2], 2 * TX_BURST_MAX + 3);
}

static void flush_of_nothing_does_not_call_the_nic(void **state)
{
    (void)state;
    assert_int_equal(outbox_flush(&outbox), 0);
    put(1, record);
    assert_int_equal(outbox_flush(&outbox), 1);
    assert_int_equal(outbox_flush(&outbox), 0);
    assert_int_equal(nic.bursts, 1);
}

static void payload_is_not_copied_before_the_flush(void **state)
{
    (void)state;
    uint8_t payload[sizeof record];
    memcpy(payload, record, sizeof record);
    put(1, payload);
    assert_ptr_equal(outbox.sends[0].body, payload);
    assert_int_equal(outbox_flush(&outbox), 1);
    assert_int_equal(nic.last_payload[RECORD_HEADER_BYTES], 'a');
}

static void frame_that_the_nic_does_not_take_is_lost_and_not_kept(void **state)
{
    (void)state;
    nic.refuse = 2;
    for (uint64_t i = 1; i <= 5; i++) {
        put(i, record);
    }
    assert_int_equal(outbox_flush(&outbox), 5);
    assert_int_equal(nic.frames, 3);
    nic.refuse = 0;
    put(6, record);
    assert_int_equal(outbox_flush(&outbox), 1);
    assert_int_equal(nic.tokens[3], 6);
}

static void frame_larger_than_the_nic_takes_asserts(void **state)
{
    (void)state;
    nic.nic.frame_bytes_max = FRAME_BYTES_MIN;
    expect_assert_failure(put(1, record));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(frames_leave_together_and_in_order_at_the_flush, setup),
        cmocka_unit_test_setup(full_burst_leaves_at_once, setup),
        cmocka_unit_test_setup(flush_of_nothing_does_not_call_the_nic, setup),
        cmocka_unit_test_setup(payload_is_not_copied_before_the_flush, setup),
        cmocka_unit_test_setup(frame_that_the_nic_does_not_take_is_lost_and_not_kept, setup),
        cmocka_unit_test_setup(frame_larger_than_the_nic_takes_asserts, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
