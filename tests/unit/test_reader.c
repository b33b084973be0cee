/* test_reader.c: reads answered from memory, from a disk that the test is, or refused, and every
 * answer seen as the client sees it: through the codec. */
#include "engine/reader.h"
#include "tests/support/loop_nic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER    77u
#define CLIENT     9u
#define IMAGE      (16u << 20)
#define FRAME      1472u
#define LARGE      40000u
#define PER_ENTRY  3u  /* Records of a small entry. */
#define PER_FRAME  10u /* Records of 100 bytes that an answer holds. */
#define FIRST_TERM 4u

struct fixture {
    struct mem mem;
    struct loop_net net;
    struct log log;
    struct reader reader;
    struct outbox outbox;
    struct replica_counters counters;
    struct suspects suspects;
    struct reader_context context;
    uint8_t *image;
    struct wire_read_reply reply;
    uint8_t payload[FRAME_BYTES_MAX];
    uint32_t payload_bytes;
    uint64_t token;
    uint16_t frame_bytes; /* That the client says it takes. */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->image = aligned_alloc(PAGE_BYTES, IMAGE);
    assert_non_null(f->image);
    memset(f->image, 0, IMAGE);
    uint64_t bytes = log_memory_bytes(LOG_MEMORY_MIN) + reader_memory_bytes();
    assert_int_equal(mem_open(&f->mem, bytes + 16 * PAGE_BYTES), 0);
    loop_net_open(&f->net, 2, FRAME);
    f->outbox.nic = &f->net.ports[0].nic;
    log_init(&f->log, &f->mem, LOG_MEMORY_MIN);
    struct log_start start = {.last = {.term = 1, .index = 5}, .offset = 100};
    log_begin(&f->log, &start, IMAGE);
    reader_init(&f->reader, &f->mem);
    f->context = (struct reader_context){
        .log = &f->log,
        .outbox = &f->outbox,
        .counters = &f->counters,
        .suspects = &f->suspects,
        .header = {.from = 1, .cluster = CLUSTER, .from_store = 11, .from_boot = 1},
        .cluster = CLUSTER,
        .committed_offset = 100,
        .committed_index = 5,
        .leader = 2,
    };
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    loop_net_close(&f->net);
    mem_close(&f->mem);
    free(f->image);
    free(f);
    return 0;
}

/* Byte `at` of the record at `offset`. */
static uint8_t byte_of(uint64_t offset, uint32_t at)
{
    return (uint8_t)(offset * 7 + at);
}

/* One entry of `count` records, in memory and on disk, committed. */
static void add(struct fixture *f, uint32_t count, uint32_t record_bytes)
{
    static uint8_t body[ENTRY_BYTES_MAX];
    struct log *log = &f->log;
    struct entry_header header = {
        .kind = ENTRY_CLIENT,
        .cluster = CLUSTER,
        .term = log->last.term < FIRST_TERM ? FIRST_TERM : log->last.term,
        .index = log->last.index + 1,
        .previous_term = log->last.term,
        .position = log->end_position,
        .first_offset = log->next_offset,
        .body_bytes = count * record_body_bytes(record_bytes),
        .record_count = count,
    };
    memset(body, 0, header.body_bytes);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = body + i * record_body_bytes(record_bytes);
        uint64_t offset = header.first_offset + i;
        struct record_header record = {.bytes = record_bytes, .sequence = offset};
        memcpy(at, &record, sizeof record);
        for (uint32_t k = 0; k < record_bytes; k++) {
            at[sizeof record + k] = byte_of(offset, k);
        }
    }
    uint32_t bytes = entry_pages(header.body_bytes) * PAGE_BYTES;
    uint8_t *slot = log_place(log, log->end_position, bytes, log->end_position);
    assert_non_null(slot);
    entry_body_write(slot, 0, body, header.body_bytes);
    entry_seal(slot, &header);
    assert_null(entry_check(slot, CLUSTER));
    assert_true(header.position + bytes <= IMAGE);
    memcpy(f->image + header.position, slot, bytes);
    log_take(log, entry_header_of(slot), true);
    f->context.committed_offset = log->next_offset;
    f->context.committed_index = log->last.index;
}

/* So many large entries that the first ones leave the memory. */
static void add_beyond_memory(struct fixture *f)
{
    for (uint32_t i = 0; i < 20; i++) {
        add(f, PER_ENTRY, 100);
    }
    while (log_bytes(&f->log, 10) != NULL) {
        add(f, 1, LARGE);
    }
}

static void ask(struct fixture *f, uint64_t offset, uint32_t skip)
{
    struct reader_question question = {
        .read = {.offset = offset, .skip = skip, .frame_bytes = f->frame_bytes},
        .client_boot = 3,
        .token = ++f->token,
        .address = f->net.ports[1].nic.self,
    };
    reader_request(&f->reader, &f->context, &question);
}

/* Take the one answer that the client has, if any. */
static bool answered(struct fixture *f)
{
    (void)outbox_flush(&f->outbox);
    struct nic *nic = &f->net.ports[1].nic;
    const struct wire_self self = {.cluster = CLUSTER, .boot = 3};
    struct wire_counters counters = {0};
    struct wire_frame frame;
    struct nic_frame received;
    if (nic_rx_burst(nic, &received, 1) == 0) {
        return false;
    }
    enum wire_reason reason = wire_decode(&self, received.data, received.bytes, &frame, &counters);
    assert_int_equal(reason, WIRE_DROP_ok);
    assert_int_equal(frame.header.kind, WIRE_READ_REPLY);
    assert_true(frame.header.token <= f->token);
    f->reply = frame.read_reply;
    f->payload_bytes = frame.payload_bytes;
    memcpy(f->payload, frame.payload, frame.payload_bytes);
    nic_rx_release(nic, &received, 1);
    assert_int_equal(f->reply.leader, 2);
    assert_int_equal(f->reply.committed_offset, f->context.committed_offset);
    assert_int_equal(f->reply.start_offset, f->log.start.offset);
    return true;
}

/* The records of the answer are those from `offset` on. */
static void check_records(struct fixture *f, uint64_t offset, uint32_t count, uint32_t bytes)
{
    assert_int_equal(f->reply.status, WIRE_OK);
    assert_int_equal(f->reply.offset, offset);
    assert_int_equal(f->reply.record_count, count);
    assert_int_equal(f->payload_bytes, count * record_body_bytes(bytes));
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = f->payload + i * record_body_bytes(bytes);
        struct record_header record;
        memcpy(&record, at, sizeof record);
        assert_int_equal(record.bytes, bytes);
        assert_int_equal(record.sequence, offset + i);
        for (uint32_t k = 0; k < bytes; k++) {
            assert_int_equal(at[sizeof record + k], byte_of(offset + i, k));
        }
    }
}

/* The disk brings what is wanted, at most once each. Returns reads. */
static uint32_t disk_brings(struct fixture *f)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < READER_BUFFERS; i++) {
        struct reader_job *job = &f->reader.jobs[i];
        if (job->state == READER_WANTED) {
            uint64_t left = f->log.end_position - job->position;
            job->bytes = left < READER_BUFFER_BYTES ? (uint32_t)left : READER_BUFFER_BYTES;
            memcpy(job->buffer, f->image + job->position, job->bytes);
            job->state = READER_READY;
            count++;
        }
    }
    return count;
}

/* Ask for what only the disk has; returns the reads it took. */
static uint32_t ask_disk(struct fixture *f, uint64_t offset)
{
    ask(f, offset, 0);
    assert_false(answered(f));
    uint32_t reads = 0;
    while (disk_brings(f) > 0) {
        reads++;
        (void)reader_serve(&f->reader, &f->context);
    }
    assert_true(answered(f));
    assert_false(answered(f));
    return reads;
}

static void record_in_memory_is_answered_at_once_with_those_behind_it(void **state)
{
    struct fixture *f = *state;
    add(f, PER_ENTRY, 100);
    add(f, PER_ENTRY, 100);
    ask(f, 100 + PER_ENTRY, 0);
    assert_true(answered(f));
    check_records(f, 100 + PER_ENTRY, PER_ENTRY, 100);
    assert_int_equal(f->reply.term, FIRST_TERM);
    ask(f, 101, 0);
    assert_true(answered(f));
    check_records(f, 101, 2 * PER_ENTRY - 1, 100);
    assert_false(answered(f));
    assert_int_equal(f->counters.reads, 2);
    assert_int_equal(f->counters.replies, 2);
}

static void answer_is_no_larger_than_the_asker_and_the_own_port_take(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint32_t own;
        uint16_t asker;
        uint32_t most;
    } cases[] = {
        {FRAME_BYTES_MAX, 0, FRAME_BYTES_USUAL},
        {FRAME_BYTES_MAX, ENTRY_FRAME_BYTES_MIN, ENTRY_FRAME_BYTES_MIN},
        {FRAME_BYTES_MAX, 3372, 3372},
        {FRAME_BYTES_MAX, FRAME_BYTES_MAX, FRAME_BYTES_MAX},
        {ENTRY_FRAME_BYTES_MIN, FRAME_BYTES_MAX, ENTRY_FRAME_BYTES_MIN},
    };
    for (uint32_t i = 0; i < 200; i++) {
        add(f, 1, 100);
    }
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->outbox.nic->frame_bytes_max = cases[i].own;
        f->frame_bytes = cases[i].asker;
        ask(f, 100, 0);
        assert_true(answered(f));
        uint32_t frame_bytes = wire_head_bytes(WIRE_READ_REPLY) + f->payload_bytes;
        assert_in_range(frame_bytes, cases[i].most - record_body_bytes(100), cases[i].most);
    }
}

static void offset_at_or_beyond_the_committed_end_is_answered_empty(void **state)
{
    struct fixture *f = *state;
    ask(f, 100, 0); /* Nothing is committed yet. */
    assert_true(answered(f));
    check_records(f, 100, 0, 0);
    add(f, PER_ENTRY, 100);
    uint64_t committed = f->context.committed_offset;
    add(f, PER_ENTRY, 100);
    f->context.committed_offset = committed; /* In the log, and not committed. */
    for (uint64_t offset = committed; offset < committed + 10; offset++) {
        ask(f, offset, 0);
        assert_true(answered(f));
        check_records(f, offset, 0, 0);
    }
    ask(f, committed - 1, 0);
    assert_true(answered(f));
    check_records(f, committed - 1, 1, 100);
}

static void offset_below_the_log_start_is_told_trimmed_with_the_start(void **state)
{
    struct fixture *f = *state;
    add(f, PER_ENTRY, 100);
    ask(f, 99, 0);
    assert_true(answered(f));
    assert_int_equal(f->reply.status, WIRE_TRIMMED);
    assert_int_equal(f->reply.start_offset, 100);
    assert_int_equal(f->reply.record_count, 0);
}

static void only_whole_records_go_into_a_frame(void **state)
{
    struct fixture *f = *state;
    add(f, 5, 600);
    ask(f, 100, 0);
    assert_true(answered(f));
    check_records(f, 100, 2, 600); /* A third does not fit 1472 bytes. */
    assert_false(f->reply.partial);
}

static void record_larger_than_a_frame_is_read_in_parts(void **state)
{
    struct fixture *f = *state;
    add(f, 1, LARGE);
    add(f, 1, 100);
    uint32_t skip = 0;
    while (skip < LARGE) {
        ask(f, 100, skip);
        assert_true(answered(f));
        assert_int_equal(f->reply.status, WIRE_OK);
        assert_int_equal(f->reply.record_count, f->reply.partial ? 1 : 2);
        assert_int_equal(f->reply.skip, skip);
        struct record_header record;
        memcpy(&record, f->payload, sizeof record);
        assert_in_range(record.bytes, 1, FRAME);
        for (uint32_t k = 0; k < record.bytes; k++) {
            assert_int_equal(f->payload[sizeof record + k], byte_of(100, skip + k));
        }
        skip += record.bytes;
        assert_int_equal(f->reply.partial, skip < LARGE);
    }
    assert_int_equal(skip, LARGE);
    ask(f, 100, LARGE + 9); /* Beyond its end: an empty rest. */
    assert_true(answered(f));
    assert_int_equal(f->reply.record_count, 2); /* With the next one, which is whole. */
    assert_false(f->reply.partial);
}

static void record_that_left_the_memory_comes_from_disk(void **state)
{
    struct fixture *f = *state;
    add_beyond_memory(f);
    ask_disk(f, 100 + 2 * PER_ENTRY + 1);
    check_records(f, 100 + 2 * PER_ENTRY + 1, PER_FRAME, 100);
    ask_disk(f, 100);
    check_records(f, 100, PER_FRAME, 100);
}

static void read_goes_on_until_the_entry_is_found(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 60; i++) {
        add(f, PER_ENTRY, 100);
    }
    while (log_bytes(&f->log, 60) != NULL) {
        add(f, 1, LARGE);
    }
    /* As when fewer places are indexed than a large disk has: only the log's start is known. */
    memset(f->log.strides, 0, f->log.stride_count * sizeof f->log.strides[0]);
    uint64_t offset = 100 + 50 * PER_ENTRY;
    assert_int_equal(ask_disk(f, offset), 2);
    check_records(f, offset, PER_FRAME, 100);
}

static void read_is_told_busy_while_all_buffers_are_in_use(void **state)
{
    struct fixture *f = *state;
    add_beyond_memory(f);
    for (uint32_t i = 0; i < READER_BUFFERS; i++) {
        ask(f, 100 + i * PER_ENTRY, 0);
        assert_false(answered(f));
    }
    ask(f, 100, 0);
    assert_true(answered(f));
    assert_int_equal(f->reply.status, WIRE_BUSY);
    assert_int_equal(f->counters.busy, 1);
    ask(f, f->context.committed_offset - 1, 0); /* Memory serves all the same. */
    assert_true(answered(f));
    assert_int_equal(f->reply.status, WIRE_OK);
    assert_int_equal(disk_brings(f), READER_BUFFERS);
    assert_int_equal(reader_serve(&f->reader, &f->context), READER_BUFFERS);
    for (uint32_t i = 0; i < READER_BUFFERS; i++) {
        assert_true(answered(f));
        check_records(f, 100 + i * PER_ENTRY, PER_FRAME, 100);
    }
    ask(f, 100, 0);
    assert_false(answered(f)); /* There is room again. */
    assert_int_equal(f->counters.busy, 1);
}

static void entry_that_rotted_on_disk_is_not_served(void **state)
{
    struct fixture *f = *state;
    add_beyond_memory(f);
    uint64_t position = log_entry(&f->log, 8)->position;
    f->image[position + 300] ^= 1; /* Its body. */
    ask_disk(f, 100 + 2 * PER_ENTRY);
    assert_int_equal(f->reply.status, WIRE_BUSY);
    assert_int_equal(f->reply.record_count, 0);
    f->image[position + 300] ^= 1;
    f->image[position + NODE_HEADER_BYTES + 8] ^= 1; /* Its header. */
    ask_disk(f, 100 + 2 * PER_ENTRY);
    assert_int_equal(f->reply.status, WIRE_BUSY);
    f->image[position + NODE_HEADER_BYTES + 8] ^= 1;
    ask_disk(f, 100 + 2 * PER_ENTRY);
    check_records(f, 100 + 2 * PER_ENTRY, PER_FRAME, 100);
}

static void rotten_entry_on_disk_ends_an_answer_before_it(void **state)
{
    struct fixture *f = *state;
    add_beyond_memory(f);
    f->image[log_entry(&f->log, 8)->position + 300] ^= 1;
    ask_disk(f, 101);
    check_records(f, 101, 2 * PER_ENTRY - 1, 100);
}

static void records_of_another_term_are_left_for_the_next_answer(void **state)
{
    struct fixture *f = *state;
    add(f, PER_ENTRY, 100);
    f->log.last.term = FIRST_TERM + 1; /* The next entry's. */
    add(f, 0, 0);
    add(f, PER_ENTRY, 100);
    ask(f, 100, 0);
    assert_true(answered(f));
    check_records(f, 100, PER_ENTRY, 100);
    assert_int_equal(f->reply.term, FIRST_TERM);
    ask(f, 100 + PER_ENTRY, 0);
    assert_true(answered(f));
    check_records(f, 100 + PER_ENTRY, PER_ENTRY, 100);
    assert_int_equal(f->reply.term, FIRST_TERM + 1);
}

static void entries_without_records_are_stepped_over(void **state)
{
    struct fixture *f = *state;
    add_beyond_memory(f);
    add(f, 1, 100);
    uint64_t offset = f->log.next_offset - 1;
    for (uint32_t i = 0; i < READ_ENTRIES_MAX - 2; i++) {
        add(f, 0, 0);
    }
    add(f, 1, 100);
    ask(f, offset, 0);
    assert_true(answered(f));
    check_records(f, offset, 2, 100);
    add(f, 1, 100);
    ask(f, offset, 0);
    assert_true(answered(f));
    check_records(f, offset, 2, 100); /* An answer looks at no more entries. */
}

static void uncommitted_entry_is_not_packed_behind_a_committed_one(void **state)
{
    struct fixture *f = *state;
    add(f, PER_ENTRY, 100);
    add(f, PER_ENTRY, 100);
    f->context.committed_offset = 100 + PER_ENTRY;
    ask(f, 100, 0);
    assert_true(answered(f));
    check_records(f, 100, PER_ENTRY, 100);
}

/* What lay behind it may have been cut and written anew since the disk was read. */
static void disk_read_gives_only_what_was_committed_when_it_began(void **state)
{
    struct fixture *f = *state;
    add_beyond_memory(f);
    uint64_t committed = f->context.committed_offset;
    f->context.committed_offset = 100 + PER_ENTRY;
    ask(f, 101, 0);
    assert_int_equal(disk_brings(f), 1);
    f->context.committed_offset = committed;
    assert_int_equal(reader_serve(&f->reader, &f->context), 1);
    assert_true(answered(f));
    check_records(f, 101, PER_ENTRY - 1, 100);
}

static void record_trimmed_while_it_is_read_is_told_so(void **state)
{
    struct fixture *f = *state;
    add_beyond_memory(f);
    ask(f, 100, 0);
    assert_int_equal(disk_brings(f), 1);
    const struct log_entry *first = log_entry(&f->log, 16);
    struct log_start start = {.position = first->position,
                              .last = {.term = FIRST_TERM, .index = 15},
                              .offset = first->first_offset};
    log_trim(&f->log, &start);
    assert_int_equal(reader_serve(&f->reader, &f->context), 1);
    assert_true(answered(f));
    assert_int_equal(f->reply.status, WIRE_TRIMMED);
    assert_int_equal(f->reply.start_offset, first->first_offset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(record_in_memory_is_answered_at_once_with_those_behind_it,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(answer_is_no_larger_than_the_asker_and_the_own_port_take,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(offset_at_or_beyond_the_committed_end_is_answered_empty,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(offset_below_the_log_start_is_told_trimmed_with_the_start,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(only_whole_records_go_into_a_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(record_larger_than_a_frame_is_read_in_parts, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(record_that_left_the_memory_comes_from_disk, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(read_goes_on_until_the_entry_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(read_is_told_busy_while_all_buffers_are_in_use, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(entry_that_rotted_on_disk_is_not_served, setup, teardown),
        cmocka_unit_test_setup_teardown(rotten_entry_on_disk_ends_an_answer_before_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(records_of_another_term_are_left_for_the_next_answer, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(entries_without_records_are_stepped_over, setup, teardown),
        cmocka_unit_test_setup_teardown(uncommitted_entry_is_not_packed_behind_a_committed_one,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(disk_read_gives_only_what_was_committed_when_it_began,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(record_trimmed_while_it_is_read_is_told_so, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
