/* test_client.c: one fate for every record, whatever the network does to requests and replies.
 */
#include "engine/client/client.h"

#include "engine/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define FRAMES_MAX  256u
#define CLUSTER     0x9f3cu
#define CLIENT_ID   0x77u
#define NODE_COUNT  3u
#define TIMEOUT_NS  1000000u
#define RECORDS_MAX 4096u

/* A nic whose other end is the test. */
struct wire_end {
    struct nic nic;
    uint8_t sent[FRAMES_MAX][FRAME_BYTES_MAX];
    uint32_t sent_bytes[FRAMES_MAX];
    struct nic_address sent_to[FRAMES_MAX];
    uint32_t sent_count;
    uint8_t due[FRAMES_MAX][FRAME_BYTES_MAX];
    uint32_t due_bytes[FRAMES_MAX];
    uint32_t due_count;
    uint32_t taken;
};

static uint32_t end_rx(struct nic *nic, struct nic_frame *frames, uint32_t frames_max)
{
    struct wire_end *end = (struct wire_end *)(void *)nic;
    uint32_t count = 0;
    while (count < frames_max && end->taken < end->due_count) {
        frames[count++] =
            (struct nic_frame){.data = end->due[end->taken], .bytes = end->due_bytes[end->taken]};
        end->taken++;
    }
    if (end->taken == end->due_count) {
        end->taken = end->due_count = 0;
    }
    return count;
}

static void end_release(struct nic *nic, const struct nic_frame *frames, uint32_t count)
{
    (void)nic;
    (void)frames;
    (void)count;
}

static uint32_t end_tx(struct nic *nic, const struct nic_send *sends, uint32_t count)
{
    struct wire_end *end = (struct wire_end *)(void *)nic;
    for (uint32_t i = 0; i < count; i++) {
        if (end->sent_count == FRAMES_MAX) {
            return i;
        }
        uint8_t *to = end->sent[end->sent_count];
        assert_true(sends[i].head_bytes + sends[i].body_bytes <= nic->frame_bytes_max);
        memcpy(to, sends[i].head, sends[i].head_bytes);
        if (sends[i].body_bytes > 0) {
            memcpy(to + sends[i].head_bytes, sends[i].body, sends[i].body_bytes);
        }
        end->sent_to[end->sent_count] = sends[i].to;
        end->sent_bytes[end->sent_count++] = sends[i].head_bytes + sends[i].body_bytes;
    }
    return count;
}

static const struct nic_ops end_ops = {
    .rx_burst = end_rx, .rx_release = end_release, .tx_burst = end_tx};

/* What came of each record. */
struct fates {
    uint32_t count[RECORDS_MAX];
    enum client_fate fate[RECORDS_MAX];
    enum wire_status status[RECORDS_MAX];
    uint64_t offset[RECORDS_MAX];
    uint64_t intended_ns[RECORDS_MAX];
    uint64_t sent_ns[RECORDS_MAX];
    uint32_t completions;
};

struct fixture {
    struct wire_end end;
    struct fates fates;
    struct mem mem;
    struct client *client;
};

static void note(void *context, const struct client_completion *completion)
{
    struct fates *fates = context;
    fates->completions++;
    for (uint32_t i = 0; i < completion->count; i++) {
        uint64_t sequence = completion->first_sequence + i;
        assert_true(sequence < RECORDS_MAX);
        fates->count[sequence]++;
        fates->fate[sequence] = completion->fate;
        fates->status[sequence] = completion->status;
        fates->offset[sequence] = completion->first_offset + i;
        fates->intended_ns[sequence] = completion->intended_ns;
        fates->sent_ns[sequence] = completion->sent_ns;
    }
}

static struct client_config config_with(uint32_t outstanding_max)
{
    struct client_config config = {
        .cluster = CLUSTER,
        .id = CLIENT_ID,
        .node_count = NODE_COUNT,
        .outstanding_max = outstanding_max,
        .timeout_ns = TIMEOUT_NS,
        .payload_seed = 5,
        .seed = 1,
    };
    for (uint32_t i = 0; i < NODE_COUNT; i++) {
        config.nodes[i].id = (uint8_t)(i + 1);
        config.nodes[i].address = (struct nic_address){0x0a000001 + i, 7000};
    }
    return config;
}

static struct fixture *begin(uint32_t frame_bytes_max, uint32_t outstanding_max)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->end.nic.ops = &end_ops;
    f->end.nic.frame_bytes_max = frame_bytes_max;
    struct client_config config = config_with(outstanding_max);
    assert_int_equal(mem_open(&f->mem, client_memory_bytes(&config)), 0);
    f->client = client_init(&f->mem, &config, &f->end.nic);
    mem_seal(&f->mem);
    client_set_leader(f->client, 1);
    return f;
}

static void end(struct fixture *f)
{
    mem_close(&f->mem);
    free(f);
}

/* Decode what the client sent, as node `to` of the cluster. */
static struct wire_frame sent(struct fixture *f, uint32_t number)
{
    struct wire_frame frame;
    struct wire_counters counters = {0};
    uint8_t to = f->end.sent[number][9];
    struct wire_self self = {.cluster = CLUSTER, .node = to, .peers = 0};
    assert_true(number < f->end.sent_count);
    assert_int_equal(
        wire_decode(&self, f->end.sent[number], f->end.sent_bytes[number], &frame, &counters), 0);
    assert_int_equal(f->end.sent_to[number].ipv4, 0x0a000000 + to);
    return frame;
}

static void reply_from(struct fixture *f, uint8_t from, struct wire_reply reply)
{
    struct wire_frame frame = {.header = {.kind = WIRE_REPLY,
                                          .from = from,
                                          .cluster = CLUSTER,
                                          .from_store = 9,
                                          .from_boot = 1,
                                          .to_boot = CLIENT_ID}};
    frame.reply = reply;
    uint32_t slot = f->end.due_count++;
    assert_true(slot < FRAMES_MAX);
    f->end.due_bytes[slot] = wire_encode(&frame, f->end.due[slot]);
}

static void reply_ok(struct fixture *f, uint64_t first, uint32_t count, uint64_t offset)
{
    reply_from(f, 1,
               (struct wire_reply){.first_sequence = first,
                                   .first_offset = offset,
                                   .record_count = count,
                                   .status = WIRE_OK,
                                   .leader = 1});
}

static void send_count(struct fixture *f, uint64_t now_ns, uint32_t count, uint32_t bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        struct client_record record = {.bytes = bytes, .intended_ns = now_ns / 2 + i};
        assert_int_equal(client_send(f->client, now_ns, &record, 1), 1);
    }
}

static void records_are_packed_into_full_frames(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 1000);
    struct client_record records[100];
    for (uint32_t i = 0; i < 100; i++) {
        records[i] = (struct client_record){.bytes = 61, .intended_ns = i};
    }
    assert_int_equal(client_send(f->client, 10, records, 100), 100);
    assert_int_equal(f->end.sent_count, 7); /* 1352 bytes hold 15 records of 88. */
    uint64_t sequence = 0;
    for (uint32_t i = 0; i < 7; i++) {
        struct wire_frame frame = sent(f, i);
        assert_int_equal(frame.header.kind, WIRE_REQUEST);
        assert_int_equal(frame.header.to, 1);
        assert_int_equal(frame.request.first_sequence, sequence);
        assert_int_equal(frame.request.record_count, i < 6 ? 15 : 10);
        for (uint32_t r = 0; r < frame.request.record_count; r++) {
            uint8_t expected[61];
            client_fill_payload(5, sequence++, expected, 61);
            assert_memory_equal(frame.payload + r * 88 + RECORD_HEADER_BYTES, expected, 61);
        }
    }
    assert_int_equal(sequence, 100);
    end(f);
}

static void payload_of_the_caller_is_sent_as_it_is(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 10);
    struct client_record records[3] = {{.payload = (const uint8_t *)"hello", .bytes = 5},
                                       {.payload = (const uint8_t *)"", .bytes = 0},
                                       {.payload = (const uint8_t *)"12345678", .bytes = 8}};
    assert_int_equal(client_send(f->client, 10, records, 3), 3);
    struct wire_frame frame = sent(f, 0);
    assert_int_equal(frame.payload_bytes, 32 + 24 + 32);
    assert_memory_equal(frame.payload + 24, "hello\0\0\0", 8);
    assert_memory_equal(frame.payload + 32 + 24 + 24, "12345678", 8);
    end(f);
}

static void large_record_travels_in_fragments_that_fit_together(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 10);
    static uint8_t whole[RECORD_BYTES_MAX + 64];
    static uint8_t expected[RECORD_BYTES_MAX];
    struct client_record records[3] = {{.bytes = 10}, {.bytes = RECORD_BYTES_MAX}, {.bytes = 10}};
    assert_int_equal(client_send(f->client, 10, records, 3), 3);
    uint32_t fragments = f->end.sent_count - 2;
    assert_int_equal(fragments, (60024 + 1351) / 1352);
    uint64_t token = sent(f, 1).header.token;
    struct wire_request request = sent(f, 1).request;
    uint32_t bytes = 0;
    for (uint32_t i = 1; i <= fragments; i++) {
        struct wire_frame frame = sent(f, i);
        assert_int_equal(frame.header.token, token);
        assert_int_equal(frame.request.offset, bytes);
        assert_int_equal(frame.request.request_bytes, 60024);
        memcpy(whole + bytes, frame.payload, frame.payload_bytes);
        bytes += frame.payload_bytes;
    }
    assert_int_equal(bytes, 60024);
    assert_true(wire_records_check(whole, bytes, &request));
    client_fill_payload(5, 1, expected, RECORD_BYTES_MAX);
    assert_memory_equal(whole + RECORD_HEADER_BYTES, expected, RECORD_BYTES_MAX);
    assert_int_equal(sent(f, fragments + 1).request.first_sequence, 2);
    assert_int_not_equal(sent(f, fragments + 1).header.token, token);
    end(f);
}

static void reply_gives_each_record_its_offset_and_times(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 10);
    send_count(f, 100, 2, 8);
    send_count(f, 200, 2, 8);
    reply_ok(f, 0, 4, 1000);
    assert_int_equal(client_outstanding(f->client), 4);
    assert_true(client_poll(f->client, 300, note, &f->fates) > 0);
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t sent_ns = i < 2 ? 100 : 200;
        assert_int_equal(f->fates.count[i], 1);
        assert_int_equal(f->fates.fate[i], CLIENT_ANSWERED);
        assert_int_equal(f->fates.offset[i], 1000 + i);
        assert_int_equal(f->fates.sent_ns[i], sent_ns);
        assert_int_equal(f->fates.intended_ns[i], sent_ns / 2 + i % 2);
    }
    assert_int_equal(client_outstanding(f->client), 0);
    assert_int_equal(client_deadline_ns(f->client), UINT64_MAX);
    end(f);
}

static void records_of_the_same_times_complete_together(void **state)
{
    (void)state;
    struct fixture *f = begin(8192, 100);
    struct client_record records[50] = {{0}};
    assert_int_equal(client_send(f->client, 10, records, 50), 50);
    reply_ok(f, 0, 50, 0);
    client_poll(f->client, 20, note, &f->fates);
    assert_int_equal(f->fates.completions, 1);
    assert_int_equal(f->fates.count[49], 1);
    assert_int_equal(f->fates.offset[49], 49);
    end(f);
}

static void repeated_and_unknown_replies_change_counters_only(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 10);
    send_count(f, 100, 3, 8);
    reply_ok(f, 0, 2, 0);
    reply_ok(f, 0, 2, 0);
    reply_ok(f, 1, 2, 1); /* Half of it is known. */
    reply_ok(f, 2, 5, 0); /* Never sent. */
    reply_ok(f, 1ull << 62, 1, 0);
    client_poll(f->client, 200, note, &f->fates);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(f->fates.count[i], 1);
    }
    assert_int_equal(client_counters(f->client)->replies_repeated, 3);
    assert_int_equal(client_counters(f->client)->replies_unknown, 2);
    assert_int_equal(client_counters(f->client)->replies_late, 0);
    end(f);
}

static void reply_to_another_process_is_dropped(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 10);
    send_count(f, 100, 1, 8);
    reply_ok(f, 0, 1, 0);
    struct wire_frame frame = {.header = {.kind = WIRE_REPLY,
                                          .from = 1,
                                          .cluster = CLUSTER,
                                          .from_store = 9,
                                          .to_boot = CLIENT_ID + 1},
                               .reply = {.record_count = 1}};
    f->end.due_bytes[0] = wire_encode(&frame, f->end.due[0]);
    client_poll(f->client, 200, note, &f->fates);
    assert_int_equal(f->fates.count[0], 0);
    assert_int_equal(client_wire_counters(f->client)->wrong_boot, 1);
    end(f);
}

/* Anybody who knows the cluster can send one: to a boot that it does not name. */
static void reply_that_nobody_asked_for_is_dropped(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 10);
    struct wire_frame frame = {.header = {.kind = WIRE_STATS_REPLY,
                                          .from = 1,
                                          .cluster = CLUSTER,
                                          .from_store = 9,
                                          .from_boot = 1},
                               .stats_reply = {.total = 1, .first = 1}};
    f->end.due_bytes[0] = wire_encode(&frame, f->end.due[0]);
    frame.header.kind = WIRE_TRANSFER_REPLY;
    frame.transfer_reply = (struct wire_transfer_reply){0};
    f->end.due_bytes[1] = wire_encode(&frame, f->end.due[1]);
    f->end.due_count = 2;
    client_poll(f->client, 200, note, &f->fates);
    assert_int_equal(client_wire_counters(f->client)->ok, 2);
    assert_int_equal(client_counters(f->client)->replies_unasked, 2);
    end(f);
}

static void unanswered_records_are_given_up_once_and_apart(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 10);
    send_count(f, 100, 2, 8);
    send_count(f, 200, 1, 8);
    reply_ok(f, 1, 1, 7);
    client_poll(f->client, 300, note, &f->fates);
    assert_int_equal(client_deadline_ns(f->client), 100 + TIMEOUT_NS);
    client_poll(f->client, 100 + TIMEOUT_NS - 1, note, &f->fates);
    assert_int_equal(f->fates.count[0], 0);
    client_poll(f->client, 100 + TIMEOUT_NS, note, &f->fates);
    assert_int_equal(f->fates.count[0], 1);
    assert_int_equal(f->fates.fate[0], CLIENT_UNANSWERED);
    assert_int_equal(f->fates.count[2], 0);
    assert_int_equal(client_deadline_ns(f->client), 200 + TIMEOUT_NS);
    reply_ok(f, 0, 1, 3); /* Too late. */
    client_poll(f->client, 101 + TIMEOUT_NS, note, &f->fates);
    assert_int_equal(f->fates.count[0], 1);
    assert_int_equal(client_counters(f->client)->replies_late, 1);
    client_poll(f->client, 200 + TIMEOUT_NS, note, &f->fates);
    assert_int_equal(f->fates.count[2], 1);
    assert_int_equal(client_counters(f->client)->records_unanswered, 2);
    assert_int_equal(client_counters(f->client)->records_answered, 1);
    assert_int_equal(client_outstanding(f->client), 0);
    end(f);
}

static void outstanding_records_are_bounded(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 4);
    struct client_record records[6] = {{0}};
    assert_int_equal(client_send(f->client, 10, records, 6), 4);
    assert_int_equal(client_send(f->client, 10, records, 6), 0);
    reply_ok(f, 1, 2, 0);
    client_poll(f->client, 20, note, &f->fates);
    assert_int_equal(client_send(f->client, 30, records, 6), 2);
    assert_int_equal(client_next_sequence(f->client), 6);
    end(f);
}

static void busy_and_full_are_fates_of_their_own(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 10);
    send_count(f, 100, 2, 8);
    reply_from(f, 1, (struct wire_reply){.record_count = 1, .status = WIRE_BUSY, .leader = 1});
    reply_from(f, 1,
               (struct wire_reply){
                   .first_sequence = 1, .record_count = 1, .status = WIRE_FULL, .leader = 1});
    client_poll(f->client, 200, note, &f->fates);
    assert_int_equal(f->fates.status[0], WIRE_BUSY);
    assert_int_equal(f->fates.status[1], WIRE_FULL);
    assert_int_equal(f->fates.offset[0], 0);
    assert_int_equal(client_leader(f->client), 1);
    end(f);
}

static void refuse(struct fixture *f, uint64_t sequence, uint8_t from, uint8_t leader)
{
    reply_from(f, from,
               (struct wire_reply){.first_sequence = sequence,
                                   .record_count = 1,
                                   .status = WIRE_NOT_LEADER,
                                   .leader = leader});
    client_poll(f->client, 1000 + 1000 * sequence, note, &f->fates);
}

static void hint_is_followed_by_later_requests(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 100);
    send_count(f, 100, 2, 8);
    refuse(f, 0, 1, 3);
    assert_int_equal(client_leader(f->client), 3);
    refuse(f, 1, 1, 2); /* Of the one asked before: not believed any more. */
    assert_int_equal(client_leader(f->client), 3);
    send_count(f, 2300, 1, 8);
    assert_int_equal(sent(f, 2).header.to, 3);
    refuse(f, 2, 3, 0); /* Does not know: another one. */
    assert_int_not_equal(client_leader(f->client), 3);
    uint8_t leader = client_leader(f->client);
    send_count(f, 2400, 2, 8);
    refuse(f, 3, leader, leader); /* Nonsense. */
    assert_int_not_equal(client_leader(f->client), leader);
    leader = client_leader(f->client);
    refuse(f, 4, leader, 60); /* Not in the configuration. */
    assert_int_not_equal(client_leader(f->client), leader);
    end(f);
}

static void silent_leader_is_left_once_a_timeout(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 100);
    uint64_t changes = client_counters(f->client)->leader_changes;
    send_count(f, 100, 5, 8);
    client_poll(f->client, 100 + TIMEOUT_NS, note, &f->fates);
    assert_int_equal(client_counters(f->client)->leader_changes, changes + 1);
    assert_int_not_equal(client_leader(f->client), 1);
    uint8_t leader = client_leader(f->client);
    /* One that answers is kept although a frame was lost. */
    uint64_t now_ns = 200 + TIMEOUT_NS;
    send_count(f, now_ns, 2, 8);
    reply_from(f, leader,
               (struct wire_reply){.first_sequence = 6, .record_count = 1, .leader = leader});
    client_poll(f->client, now_ns + 10, note, &f->fates);
    client_poll(f->client, now_ns + TIMEOUT_NS, note, &f->fates);
    assert_int_equal(f->fates.fate[5], CLIENT_UNANSWERED);
    assert_int_equal(client_leader(f->client), leader);
    end(f);
}

struct read_note {
    struct client_read_result result;
    uint32_t count;
    uint8_t bytes[64];
};

static void note_read(void *context, const struct client_read_result *result)
{
    struct read_note *read = context;
    read->result = *result;
    read->count++;
    if (result->records_bytes > 0) {
        memcpy(read->bytes, result->records, result->records_bytes);
    }
}

static void reply_read(struct fixture *f, uint64_t token)
{
    uint8_t records[32] = {0};
    struct record_header record = {.bytes = 5, .session = 4, .sequence = 10};
    memcpy(records, &record, sizeof record);
    memcpy(records + 24, (const uint8_t[]){'h', 'e', 'l', 'l', 'o'}, 5);
    struct wire_frame frame = {
        .header = {.kind = WIRE_READ_REPLY,
                   .from = 2,
                   .cluster = CLUSTER,
                   .from_store = 9,
                   .to_boot = CLIENT_ID,
                   .token = token},
        .read_reply =
            {.offset = 7, .committed_offset = 8, .record_count = 1, .leader = 2, .term = 1},
        .payload = records,
        .payload_bytes = 32,
    };
    uint32_t slot = f->end.due_count++;
    f->end.due_bytes[slot] = wire_encode(&frame, f->end.due[slot]) + 32;
    memcpy(f->end.due[slot] + f->end.due_bytes[slot] - 32, records, 32);
}

static void read_is_answered_by_its_token_or_given_up(void **state)
{
    (void)state;
    struct fixture *f = begin(1472, 10);
    struct read_note read = {0};
    struct client_read ask = {
        .node = 2, .what = {.offset = 7}, .done = note_read, .context = &read};
    assert_true(client_read(f->client, 100, &ask));
    assert_false(client_read(f->client, 100, &ask));
    struct wire_frame frame = sent(f, 0);
    assert_int_equal(frame.header.to, 2);
    assert_int_equal(frame.read.offset, 7);
    reply_read(f, frame.header.token + 1);
    reply_read(f, frame.header.token);
    reply_read(f, frame.header.token);
    client_poll(f->client, 200, note, &f->fates);
    assert_int_equal(read.count, 1);
    assert_int_equal(read.result.fate, CLIENT_ANSWERED);
    assert_int_equal(read.result.reply.record_count, 1);
    assert_memory_equal(read.bytes + 24, "hello", 5);
    assert_int_equal(client_counters(f->client)->reads_late, 2);

    ask.node = 0;
    assert_true(client_read(f->client, 300, &ask));
    assert_int_equal(sent(f, 1).header.to, 1);
    assert_int_equal(client_deadline_ns(f->client), 300 + TIMEOUT_NS);
    client_poll(f->client, 300 + TIMEOUT_NS, note, &f->fates);
    assert_int_equal(read.count, 2);
    assert_int_equal(read.result.fate, CLIENT_UNANSWERED);
    end(f);
}

/* Requests and replies are lost, repeated and reordered; every record ends once. */
static void every_record_has_one_fate_in_any_weather(void **state)
{
    (void)state;
    uint64_t seed = 11;
    printf("seed %llu\n", (unsigned long long)seed);
    struct prng prng;
    prng_init(&prng, seed);
    struct fixture *f = begin(1472, 64);
    uint64_t now_ns = 1;
    uint64_t refused = 0;
    while (client_next_sequence(f->client) + 64 < RECORDS_MAX) {
        now_ns += prng_below(&prng, 50000);
        struct client_record records[64] = {{0}};
        uint32_t count = (uint32_t)prng_between(&prng, 1, 64);
        for (uint32_t i = 0; i < count; i++) {
            records[i].bytes = (uint32_t)prng_below(&prng, 200);
        }
        refused += count - client_send(f->client, now_ns, records, count);
        for (uint32_t i = 0; i < f->end.sent_count; i++) {
            struct wire_frame frame = sent(f, i);
            uint32_t copies = (uint32_t)prng_below(&prng, 3);
            for (uint32_t c = 0; c < copies && f->end.due_count < FRAMES_MAX; c++) {
                reply_ok(f, frame.request.first_sequence, frame.request.record_count,
                         frame.request.first_sequence);
            }
        }
        f->end.sent_count = 0;
        client_poll(f->client, now_ns, note, &f->fates);
    }
    for (uint32_t i = 0; i < 20; i++) {
        client_poll(f->client, now_ns + TIMEOUT_NS, note, &f->fates);
    }
    for (uint64_t i = 0; i < client_next_sequence(f->client); i++) {
        assert_int_equal(f->fates.count[i], 1);
        if (f->fates.fate[i] == CLIENT_ANSWERED) {
            assert_int_equal(f->fates.offset[i], i);
        }
    }
    const struct client_counters *counters = client_counters(f->client);
    assert_int_equal(counters->records_sent, client_next_sequence(f->client));
    assert_int_equal(counters->records_sent,
                     counters->records_answered + counters->records_unanswered);
    assert_true(counters->records_unanswered > 0);
    assert_true(counters->replies_repeated > 0);
    assert_true(refused > 0);
    end(f);
}

static void payload_differs_by_sequence_and_seed_and_a_prefix_is_a_prefix(void **state)
{
    (void)state;
    uint8_t a[64];
    uint8_t b[64];
    for (uint32_t bytes = 8; bytes <= 64; bytes++) {
        client_fill_payload(1, 1, a, bytes);
        client_fill_payload(1, 2, b, bytes);
        assert_memory_not_equal(a, b, bytes);
        client_fill_payload(2, 1, b, bytes);
        assert_memory_not_equal(a, b, bytes);
        client_fill_payload(1, 1, b, bytes);
        assert_memory_equal(a, b, bytes);
    }
}

static void note_nothing(void *context, const struct client_completion *completion)
{
    *(uint64_t *)context += completion->count;
}

/* Not a claim, only what this machine does: printed for the reader. */
static void cost_of_a_record_is_printed(void **state)
{
    (void)state;
    struct fixture *f = begin(8192, 4096);
    struct client_record records[64];
    const uint32_t rounds = 4000;
    uint64_t done = 0;
    struct timespec begin_time;
    struct timespec end_time;
    clock_gettime(CLOCK_MONOTONIC, &begin_time);
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < 64; i++) {
            records[i] = (struct client_record){.bytes = 64, .intended_ns = round * 64 + i};
        }
        assert_int_equal(client_send(f->client, round + 1, records, 64), 64);
        f->end.sent_count = 0;
        reply_ok(f, (uint64_t)round * 64, 64, (uint64_t)round * 64);
        client_poll(f->client, round + 1, note_nothing, &done);
    }
    clock_gettime(CLOCK_MONOTONIC, &end_time);
    double ns = (double)(end_time.tv_sec - begin_time.tv_sec) * 1e9 +
                (double)(end_time.tv_nsec - begin_time.tv_nsec);
    printf("a record of 64 bytes, made, sent and completed: %.1f ns\n", ns / (double)done);
    assert_int_equal(done, rounds * 64);
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_packed_into_full_frames),
        cmocka_unit_test(payload_of_the_caller_is_sent_as_it_is),
        cmocka_unit_test(large_record_travels_in_fragments_that_fit_together),
        cmocka_unit_test(reply_gives_each_record_its_offset_and_times),
        cmocka_unit_test(records_of_the_same_times_complete_together),
        cmocka_unit_test(repeated_and_unknown_replies_change_counters_only),
        cmocka_unit_test(reply_to_another_process_is_dropped),
        cmocka_unit_test(reply_that_nobody_asked_for_is_dropped),
        cmocka_unit_test(unanswered_records_are_given_up_once_and_apart),
        cmocka_unit_test(outstanding_records_are_bounded),
        cmocka_unit_test(busy_and_full_are_fates_of_their_own),
        cmocka_unit_test(hint_is_followed_by_later_requests),
        cmocka_unit_test(silent_leader_is_left_once_a_timeout),
        cmocka_unit_test(read_is_answered_by_its_token_or_given_up),
        cmocka_unit_test(every_record_has_one_fate_in_any_weather),
        cmocka_unit_test(payload_differs_by_sequence_and_seed_and_a_prefix_is_a_prefix),
        cmocka_unit_test(cost_of_a_record_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
