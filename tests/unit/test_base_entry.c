/* test_base_entry.c: the bytes of an entry, where each stands, and that no wrong one passes. */
#include "engine/base/entry.h"

#include "engine/base/crc.h"
#include "engine/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER  0x9f3c0a4e5b6d7788ull
#define POSITION (5 * (uint64_t)PAGE_BYTES)
#define TERM     0x0000000700000003ull

static _Alignas(PAGE_BYTES) uint8_t entry[ENTRY_BYTES_MAX];
static _Alignas(PAGE_BYTES) uint8_t copy[ENTRY_BYTES_MAX];
static uint8_t payload[RECORD_BYTES_MAX];

static struct entry_header header_make(enum entry_kind kind)
{
    return (struct entry_header){
        .kind = (uint8_t)kind,
        .cluster = CLUSTER,
        .term = TERM,
        .index = 12,
        .commit_index = 11,
        .previous_term = 2,
        .position = POSITION,
        .first_offset = 1000,
        .leader_time_ns = 123456789,
    };
}

/* Append one record to the body that is being made. */
static void record_put(struct entry_header *header,
                       enum record_kind kind,
                       uint64_t session,
                       uint32_t payload_bytes,
                       uint64_t sequence)
{
    static const uint8_t zero[8];
    struct record_header record = {
        .bytes = payload_bytes, .kind = (uint8_t)kind, .session = session, .sequence = sequence};
    uint32_t at = header->body_bytes;
    for (uint32_t i = 0; i < payload_bytes; i++) {
        payload[i] = (uint8_t)(sequence + i * 7 + 1);
    }
    entry_body_write(entry, at, &record, sizeof record);
    entry_body_write(entry, at + RECORD_HEADER_BYTES, payload, payload_bytes);
    uint32_t padding = record_body_bytes(payload_bytes) - RECORD_HEADER_BYTES - payload_bytes;
    entry_body_write(entry, at + RECORD_HEADER_BYTES + payload_bytes, zero, padding);
    header->body_bytes += record_body_bytes(payload_bytes);
    header->record_count += kind == RECORD_APPEND;
    header->session_record_count += kind != RECORD_APPEND || session != 0;
}

/* One of no session. */
static void record_add(struct entry_header *header, uint32_t payload_bytes, uint64_t sequence)
{
    record_put(header, RECORD_APPEND, 0, payload_bytes, sequence);
}

/* A client entry of `count` records of these bytes each, over memory full of rubbish. */
static void entry_make(uint32_t count, uint32_t payload_bytes)
{
    memset(entry, 0xa5, sizeof entry);
    struct entry_header header = header_make(ENTRY_CLIENT);
    for (uint32_t i = 0; i < count; i++) {
        record_add(&header, payload_bytes, i);
    }
    entry_seal(entry, &header);
    assert_null(entry_check(entry, CLUSTER));
}

/* Seal again by hand, so that a wrong field is caught for itself and not by a checksum. */
static void crcs_mend(uint8_t *bytes, uint32_t pages)
{
    struct entry_header header;
    memcpy(&header, bytes + NODE_HEADER_BYTES, sizeof header);
    header.crc = crc32c(0, &header, ENTRY_HEADER_BYTES - 4);
    memcpy(bytes + NODE_HEADER_BYTES, &header, sizeof header);
    uint64_t cluster = header.cluster;
    for (uint32_t i = 0; i < pages; i++) {
        uint8_t *page = bytes + i * PAGE_BYTES;
        uint32_t from = i == 0 ? NODE_HEADER_BYTES : 0;
        uint32_t crc = crc32c(crc32c(0, &cluster, 8), page + from, PAGE_BYTES - 4 - from);
        memcpy(page + PAGE_BYTES - 4, &crc, 4);
    }
}

static void layout_of_the_entry_header_is_the_documented_one(void **state)
{
    (void)state;
    assert_int_equal(offsetof(struct entry_header, magic), 0);
    assert_int_equal(offsetof(struct entry_header, version), 4);
    assert_int_equal(offsetof(struct entry_header, kind), 6);
    assert_int_equal(offsetof(struct entry_header, pages), 7);
    assert_int_equal(offsetof(struct entry_header, cluster), 8);
    assert_int_equal(offsetof(struct entry_header, term), 16);
    assert_int_equal(offsetof(struct entry_header, index), 24);
    assert_int_equal(offsetof(struct entry_header, previous_term), 32);
    assert_int_equal(offsetof(struct entry_header, position), 40);
    assert_int_equal(offsetof(struct entry_header, first_offset), 48);
    assert_int_equal(offsetof(struct entry_header, leader_time_ns), 56);
    assert_int_equal(offsetof(struct entry_header, body_bytes), 64);
    assert_int_equal(offsetof(struct entry_header, record_count), 68);
    assert_int_equal(offsetof(struct entry_header, commit_index), 72);
    assert_int_equal(offsetof(struct entry_header, session_record_count), 80);
    assert_int_equal(offsetof(struct entry_header, reserved), 84);
    assert_int_equal(offsetof(struct entry_header, crc), 92);
    assert_int_equal(sizeof(struct entry_header), 96);
}

static void layout_of_the_small_headers_is_the_documented_one(void **state)
{
    (void)state;
    assert_int_equal(offsetof(struct node_header, magic), 0);
    assert_int_equal(offsetof(struct node_header, version), 4);
    assert_int_equal(offsetof(struct node_header, node), 6);
    assert_int_equal(offsetof(struct node_header, store), 8);
    assert_int_equal(offsetof(struct node_header, epoch), 16);
    assert_int_equal(offsetof(struct node_header, durable_position), 24);
    assert_int_equal(offsetof(struct node_header, position), 32);
    assert_int_equal(offsetof(struct node_header, reserved), 40);
    assert_int_equal(offsetof(struct node_header, crc), 60);
    assert_int_equal(sizeof(struct node_header), 64);
    assert_int_equal(offsetof(struct page_mark, position), 0);
    assert_int_equal(offsetof(struct page_mark, term_low), 8);
    assert_int_equal(offsetof(struct page_mark, crc), 12);
    assert_int_equal(sizeof(struct page_mark), 16);
    assert_int_equal(offsetof(struct record_header, bytes), 0);
    assert_int_equal(offsetof(struct record_header, kind), 4);
    assert_int_equal(offsetof(struct record_header, reserved), 5);
    assert_int_equal(offsetof(struct record_header, session), 8);
    assert_int_equal(offsetof(struct record_header, sequence), 16);
    assert_int_equal(sizeof(struct record_header), 24);
}

static void sealed_bytes_stand_where_the_layout_says(void **state)
{
    (void)state;
    entry_make(1, 5000);
    assert_memory_equal(entry + 64, "THEN", 4);
    assert_int_equal(entry[64 + 4], 1);
    assert_int_equal(entry[64 + 6], ENTRY_CLIENT);
    assert_int_equal(entry[64 + 7], 2);
    /* Little endian: 5000 bytes in the record's first field, then its first payload byte. */
    assert_int_equal(entry[160], 5000 & 0xff);
    assert_int_equal(entry[161], 5000 >> 8);
    assert_int_equal(entry[160 + 24], 1);
    for (uint32_t i = 0; i < NODE_HEADER_BYTES; i++) {
        assert_int_equal(entry[i], 0);
    }
    uint64_t position = 0;
    uint32_t term_low = 0;
    for (uint32_t i = 0; i < 2; i++) {
        memcpy(&position, entry + i * 4096 + 4080, 8);
        memcpy(&term_low, entry + i * 4096 + 4088, 4);
        assert_true(position == POSITION + i * 4096 + i);
        assert_int_equal(term_low, (uint32_t)TERM);
    }
}

static void a_page_crc_is_seeded_with_the_cluster_and_leaves_the_node_header_out(void **state)
{
    (void)state;
    entry_make(1, 5000);
    uint64_t cluster = CLUSTER;
    uint32_t seed = crc32c(0, &cluster, 8);
    assert_int_equal(page_mark_of(entry).crc, crc32c(seed, entry + 64, 4092 - 64));
    assert_int_equal(page_mark_of(entry + 4096).crc, crc32c(seed, entry + 4096, 4092));
    assert_true(page_mark_valid(entry, CLUSTER, true));
    assert_true(page_mark_valid(entry + 4096, CLUSTER, false));
    assert_false(page_mark_valid(entry, CLUSTER, false));
    assert_false(page_mark_valid(entry, CLUSTER + 1, true));
}

static void sizes_agree_at_every_page_border(void **state)
{
    (void)state;
    assert_int_equal(entry_pages(0), 1);
    assert_int_equal(entry_used_bytes(0), 160);
    for (uint32_t pages = 1; pages <= ENTRY_PAGES_MAX; pages++) {
        uint32_t most = entry_body_bytes_max(pages);
        assert_int_equal(entry_pages(most), pages);
        assert_int_equal(entry_used_bytes(most), pages * PAGE_BYTES - PAGE_MARK_BYTES);
        if (pages < ENTRY_PAGES_MAX) {
            assert_int_equal(entry_pages(most + 1), pages + 1);
            assert_int_equal(entry_used_bytes(most + 1), pages * PAGE_BYTES + 1);
        }
    }
    expect_assert_failure(entry_pages(entry_body_bytes_max(ENTRY_PAGES_MAX) + 1));
    expect_assert_failure(entry_body_bytes_max(ENTRY_PAGES_MAX + 1));
    expect_assert_failure(entry_body_bytes_max(0));
}

static void body_bytes_step_over_the_marks_and_come_back(void **state)
{
    (void)state;
    uint32_t most = entry_body_bytes_max(ENTRY_PAGES_MAX);
    static uint8_t body[ENTRY_BYTES_MAX];
    static uint8_t back[ENTRY_BYTES_MAX];
    for (uint32_t i = 0; i < most; i++) {
        body[i] = (uint8_t)(i % 251 + 1);
    }
    memset(entry, 0, sizeof entry);
    for (uint32_t at = 0; at < most;) { /* In uneven pieces. */
        uint32_t count = most - at < 1237 ? most - at : 1237;
        entry_body_write(entry, at, body + at, count);
        at += count;
    }
    for (uint32_t page = 0; page < ENTRY_PAGES_MAX; page++) {
        for (uint32_t i = 0; i < PAGE_MARK_BYTES; i++) {
            assert_int_equal(entry[page * PAGE_BYTES + 4080 + i], 0);
        }
    }
    entry_body_read(entry, 0, back, most);
    assert_memory_equal(back, body, most);
    entry_body_read(entry, 3917, back, 7); /* Across the first mark. */
    assert_memory_equal(back, body + 3917, 7);
    expect_assert_failure(entry_body_read(entry, most, back, 1));
    expect_assert_failure(entry_body_write(entry, 1, body, most));
}

static void entries_of_every_size_pass_and_have_zero_padding(void **state)
{
    (void)state;
    for (uint32_t bytes = 0; bytes <= RECORD_BYTES_MAX; bytes += bytes < 100 ? 1 : 977) {
        entry_make(1, bytes);
        uint32_t end = (uint32_t)entry_header_of(entry)->pages * PAGE_BYTES - PAGE_MARK_BYTES;
        for (uint32_t i = entry_used_bytes(record_body_bytes(bytes)); i < end; i++) {
            assert_int_equal(entry[i], 0);
        }
    }
    entry_make(1, RECORD_BYTES_MAX);
}

static void every_flipped_bit_outside_the_node_header_is_noticed(void **state)
{
    (void)state;
    entry_make(3, 21);
    assert_int_equal(entry_header_of(entry)->pages, 1);
    for (uint32_t bit = NODE_HEADER_BYTES * 8; bit < PAGE_BYTES * 8; bit++) {
        entry[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_non_null(entry_check(entry, CLUSTER));
        entry[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_null(entry_check(entry, CLUSTER));
}

static void any_node_header_passes_the_entry_check(void **state)
{
    (void)state;
    entry_make(3, 21);
    memset(entry, 0xff, NODE_HEADER_BYTES);
    assert_null(entry_check(entry, CLUSTER));
}

static void flipped_bits_of_a_long_entry_are_noticed_in_their_page(void **state)
{
    (void)state;
    entry_make(2, 30000);
    const struct entry_header *header = entry_header_of(entry);
    for (uint32_t page = 1; page < header->pages; page++) {
        for (uint32_t at = 0; at < PAGE_BYTES; at += 61) {
            uint8_t *byte = &entry[page * PAGE_BYTES + at];
            *byte ^= 0x10;
            assert_false(entry_page_valid(entry + page * PAGE_BYTES, page, header));
            assert_non_null(entry_check(entry, CLUSTER));
            *byte ^= 0x10;
        }
        assert_true(entry_page_valid(entry + page * PAGE_BYTES, page, header));
    }
}

static void a_page_of_another_place_term_or_number_is_not_valid(void **state)
{
    (void)state;
    entry_make(1, 9000);
    struct entry_header header = *entry_header_of(entry);
    uint8_t *second = entry + PAGE_BYTES;
    assert_true(entry_page_valid(second, 1, &header));
    assert_false(entry_page_valid(second, 2, &header));
    assert_false(entry_page_valid(second, 5, &header)); /* Beyond the entry. */
    header.position += PAGE_BYTES;
    assert_false(entry_page_valid(second, 1, &header));
    header.position -= PAGE_BYTES;
    header.term += 1;
    assert_false(entry_page_valid(second, 1, &header));
    header.term -= 1;
    header.cluster += 1;
    assert_false(entry_page_valid(second, 1, &header));
    memset(second, 0, PAGE_BYTES);
    header.cluster -= 1;
    assert_false(entry_page_valid(second, 1, &header));
    expect_assert_failure(entry_page_valid(second, ENTRY_PAGES_MAX, &header));
}

/* Change one field of a good entry, mend every checksum, and expect these words. */
static void expect_wrong(void (*change)(struct entry_header *header), const char *words)
{
    memcpy(copy, entry, sizeof copy);
    struct entry_header header = *entry_header_of(copy);
    uint32_t pages = header.pages;
    change(&header);
    memcpy(copy + NODE_HEADER_BYTES, &header, sizeof header);
    crcs_mend(copy, pages);
    const char *wrong = entry_check(copy, CLUSTER);
    assert_non_null(wrong);
    assert_string_equal(wrong, words);
}

static void set_magic(struct entry_header *header)
{
    header->magic = NODE_HEADER_MAGIC;
}
static void set_version(struct entry_header *header)
{
    header->version = ENTRY_VERSION + 1;
}
static void set_cluster(struct entry_header *header)
{
    header->cluster++;
}
static void set_kind_low(struct entry_header *header)
{
    header->kind = 0;
}
static void set_kind_high(struct entry_header *header)
{
    header->kind = ENTRY_TRIM + 1;
}
static void set_kind_noop(struct entry_header *header)
{
    header->kind = ENTRY_NOOP;
}
static void set_kind_trim(struct entry_header *header)
{
    header->kind = ENTRY_TRIM;
}
static void set_pages(struct entry_header *header)
{
    header->pages++;
}
static void set_body_bytes(struct entry_header *header)
{
    header->body_bytes = UINT32_MAX;
}
static void set_position(struct entry_header *header)
{
    header->position += 8;
}
static void set_position_huge(struct entry_header *header)
{
    header->position = UINT64_MAX - PAGE_BYTES + 1;
}
static void set_index_zero(struct entry_header *header)
{
    header->index = 0;
}
static void set_commit_own(struct entry_header *header)
{
    header->commit_index = header->index;
}
static void set_commit_huge(struct entry_header *header)
{
    header->commit_index = UINT64_MAX;
}
static void set_index_huge(struct entry_header *header)
{
    header->index = UINT64_MAX;
}
static void set_offset_huge(struct entry_header *header)
{
    header->first_offset = UINT64_MAX;
}
static void set_reserved(struct entry_header *header)
{
    header->reserved[7] = 1;
}
static void set_records_huge(struct entry_header *header)
{
    header->record_count = UINT32_MAX;
}
static void set_records_more(struct entry_header *header)
{
    header->record_count++;
}
static void set_records_less(struct entry_header *header)
{
    header->record_count--;
}

static void set_session_records_huge(struct entry_header *header)
{
    header->session_record_count = ENTRY_SESSION_RECORDS_MAX + 1;
}
static void set_session_records_one(struct entry_header *header)
{
    header->session_record_count = 1;
}
static void set_kind_trim_of_a_session(struct entry_header *header)
{
    header->kind = ENTRY_TRIM;
    header->record_count = 0;
    header->session_record_count = 1;
}

static void a_wrong_field_is_named_even_when_every_checksum_holds(void **state)
{
    (void)state;
    entry_make(3, 21);
    expect_wrong(set_magic, "entry magic wrong");
    expect_wrong(set_version, "entry version unknown");
    expect_wrong(set_cluster, "entry of another cluster");
    expect_wrong(set_kind_low, "entry kind unknown");
    expect_wrong(set_kind_high, "entry kind unknown");
    expect_wrong(set_kind_noop, "no-op with a body");
    expect_wrong(set_kind_trim, "records in an entry that is not a client's");
    expect_wrong(set_pages, "entry pages do not fit its body");
    expect_wrong(set_body_bytes, "entry body too long");
    expect_wrong(set_position, "entry position not aligned");
    expect_wrong(set_position_huge, "entry number too large");
    expect_wrong(set_index_zero, "entry index is zero");
    expect_wrong(set_index_huge, "entry number too large");
    expect_wrong(set_offset_huge, "entry number too large");
    expect_wrong(set_commit_own, "entry commits itself");
    expect_wrong(set_commit_huge, "entry commits itself");
    expect_wrong(set_reserved, "entry reserved bytes not zero");
    expect_wrong(set_records_huge, "too many records");
    const char *not_as_many = "records are not as many as the entry's header says";
    expect_wrong(set_records_more, not_as_many);
    expect_wrong(set_records_less, not_as_many);
    expect_wrong(set_session_records_huge, "too many records");
    expect_wrong(set_session_records_one, not_as_many);
    expect_wrong(set_kind_trim_of_a_session, "records in an entry that is not a client's");
}

/* Change one byte of the body or its padding, mend every checksum, and expect these words. */
static void expect_wrong_byte(uint32_t at, uint8_t value, const char *words)
{
    memcpy(copy, entry, sizeof copy);
    copy[at] = value;
    crcs_mend(copy, entry_header_of(copy)->pages);
    const char *wrong = entry_check(copy, CLUSTER);
    assert_non_null(wrong);
    assert_string_equal(wrong, words);
}

static void a_wrong_record_is_named_even_when_every_checksum_holds(void **state)
{
    (void)state;
    entry_make(2, 21);
    uint32_t second = ENTRY_BODY_OFFSET + record_body_bytes(21);
    expect_wrong_byte(second + 3, 0x80, "record too long");
    expect_wrong_byte(second + 1, 0x10, "record runs past the body");
    expect_wrong_byte(second, 5, "record padding not zero");
    expect_wrong_byte(second + 4, RECORD_KIND_COUNT, "record kind unknown");
    expect_wrong_byte(second + 4, 0xff, "record kind unknown");
    const char *not_as_many = "records are not as many as the entry's header says";
    expect_wrong_byte(second + 4, RECORD_REGISTER, not_as_many);
    expect_wrong_byte(second + 4, RECORD_REFUSED, not_as_many);
    expect_wrong_byte(second + 8, 1, not_as_many); /* Of a session now. */
    expect_wrong_byte(second + 7, 1, "record reserved bytes not zero");
    expect_wrong_byte(second + 24 + 21, 1, "record padding not zero");
    expect_wrong_byte(second + 24 + 24, 1, "entry padding not zero");
    expect_wrong_byte(PAGE_BYTES - PAGE_MARK_BYTES - 1, 1, "entry padding not zero");
    expect_wrong_byte(PAGE_BYTES - PAGE_MARK_BYTES, 1, "entry page mark wrong");
}

static void any_bytes_are_answered_and_none_crash(void **state)
{
    (void)state;
    uint64_t seed = 11;
    printf("seed %llu\n", (unsigned long long)seed);
    struct prng prng;
    prng_init(&prng, seed);
    entry_make(40, 200);
    memcpy(copy, entry, sizeof copy);
    for (unsigned round = 0; round < 20000; round++) {
        /* Rubbish in the header, the record headers and anywhere, with checksums that hold. */
        memcpy(entry, copy, 3 * PAGE_BYTES);
        for (unsigned i = 0; i < 3; i++) {
            bool in_header = prng_chance(&prng, 300000);
            uint64_t at = in_header ? 64 + prng_below(&prng, 92) : 160 + prng_below(&prng, 10000);
            entry[at] = (uint8_t)prng_next(&prng);
        }
        uint32_t magic = ENTRY_MAGIC;
        memcpy(entry + NODE_HEADER_BYTES, &magic, sizeof magic);
        crcs_mend(entry, 3);
        const char *wrong = entry_check(entry, CLUSTER);
        if (wrong == NULL) {
            uint32_t cursor = 0;
            uint32_t offset = 0;
            struct record_header record;
            uint32_t count = 0;
            while (entry_append_next(entry, &cursor, &record, &offset)) {
                count++;
            }
            assert_int_equal(count, entry_header_of(entry)->record_count);
        }
    }
}

static void records_come_out_as_they_went_in(void **state)
{
    (void)state;
    memset(entry, 0xa5, sizeof entry);
    struct entry_header header = header_make(ENTRY_CLIENT);
    for (uint32_t i = 0; i < 300; i++) {
        record_add(&header, i, i);
    }
    entry_seal(entry, &header);
    assert_null(entry_check(entry, CLUSTER));
    uint32_t cursor = 0;
    uint32_t offset = 0;
    struct record_header record;
    for (uint32_t i = 0; i < 300; i++) {
        assert_true(entry_record_next(entry, &cursor, &record, &offset));
        assert_int_equal(record.bytes, i);
        assert_true(record.sequence == i);
        uint8_t bytes[300];
        entry_body_read(entry, offset, bytes, i);
        for (uint32_t k = 0; k < i; k++) {
            assert_int_equal(bytes[k], (uint8_t)(i + k * 7 + 1));
        }
    }
    assert_false(entry_record_next(entry, &cursor, &record, &offset));
}

/* Records of every kind, with and without a session; their sequences number them. */
static void entry_of_every_kind_make(void)
{
    memset(entry, 0xa5, sizeof entry);
    struct entry_header header = header_make(ENTRY_CLIENT);
    record_put(&header, RECORD_REGISTER, 9, 40, 0);
    record_put(&header, RECORD_APPEND, 9, 5, 1);
    record_put(&header, RECORD_APPEND, 0, 6, 2);
    record_put(&header, RECORD_REFUSED, 9, 16, 3);
    record_put(&header, RECORD_REFUSED, 0, 16, 4);
    record_put(&header, RECORD_APPEND, 9, 7, 5);
    record_put(&header, RECORD_REGISTER, 10, 0, 6);
    assert_int_equal(header.record_count, 3);
    assert_int_equal(header.session_record_count, 6);
    entry_seal(entry, &header);
}

static void records_of_every_kind_pass_and_are_counted_by_sort(void **state)
{
    (void)state;
    entry_of_every_kind_make();
    assert_null(entry_check(entry, CLUSTER));
    uint32_t cursor = 0;
    uint32_t offset = 0;
    struct record_header record;
    for (uint32_t i = 0; i < 7; i++) {
        assert_true(entry_record_next(entry, &cursor, &record, &offset));
        assert_int_equal(record.sequence, i);
    }
    assert_false(entry_record_next(entry, &cursor, &record, &offset));
    expect_wrong(set_session_records_one, "records are not as many as the entry's header says");
    expect_wrong(set_records_more, "records are not as many as the entry's header says");
    expect_wrong(set_records_less, "records are not as many as the entry's header says");
}

static void walk_of_appended_records_leaves_the_other_kinds_out(void **state)
{
    (void)state;
    entry_of_every_kind_make();
    static const uint32_t sequences[] = {1, 2, 5};
    uint32_t cursor = 0;
    uint32_t offset = 0;
    struct record_header record;
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(entry_append_next(entry, &cursor, &record, &offset));
        assert_int_equal(record.kind, RECORD_APPEND);
        assert_int_equal(record.sequence, sequences[i]);
        assert_int_equal(record.bytes, 5 + i);
        uint8_t first;
        entry_body_read(entry, offset, &first, 1);
        assert_int_equal(first, sequences[i] + 1);
    }
    assert_false(entry_append_next(entry, &cursor, &record, &offset));
    assert_int_equal(cursor, entry_header_of(entry)->body_bytes);
}

static void an_entry_holds_a_bounded_number_of_records_of_sessions(void **state)
{
    (void)state;
    struct entry_header header = header_make(ENTRY_CLIENT);
    for (uint32_t i = 0; i < ENTRY_SESSION_RECORDS_MAX; i++) {
        record_put(&header, RECORD_APPEND, 3, 0, i);
    }
    record_add(&header, 0, 0); /* One without a session is none of them. */
    entry_seal(entry, &header);
    assert_null(entry_check(entry, CLUSTER));
    record_put(&header, RECORD_APPEND, 3, 0, 0);
    expect_assert_failure(entry_seal(entry, &header));
}

static void the_smallest_records_fill_the_largest_entry(void **state)
{
    (void)state;
    uint32_t count = entry_body_bytes_max(ENTRY_PAGES_MAX) / RECORD_HEADER_BYTES;
    entry_make(count, 0);
    assert_int_equal(entry_header_of(entry)->pages, ENTRY_PAGES_MAX);
    assert_true(count <= ENTRY_RECORDS_MAX);
}

static void kinds_without_records_pass_and_walk_as_empty(void **state)
{
    (void)state;
    struct entry_header header = header_make(ENTRY_NOOP);
    entry_seal(entry, &header);
    assert_null(entry_check(entry, CLUSTER));
    header = header_make(ENTRY_CONFIGURATION);
    header.body_bytes = 333;
    memset(payload, 7, 333);
    entry_body_write(entry, 0, payload, 333);
    entry_seal(entry, &header);
    assert_null(entry_check(entry, CLUSTER));
    uint32_t cursor = 0;
    uint32_t offset = 0;
    struct record_header record;
    assert_false(entry_record_next(entry, &cursor, &record, &offset));
}

static void sealing_a_wrong_header_asserts(void **state)
{
    (void)state;
    struct entry_header header = header_make(ENTRY_NOOP);
    header.position = 8;
    expect_assert_failure(entry_seal(entry, &header));
    header = header_make(ENTRY_NOOP);
    header.index = 0;
    expect_assert_failure(entry_seal(entry, &header));
    header = header_make(ENTRY_NOOP);
    header.commit_index = header.index;
    expect_assert_failure(entry_seal(entry, &header));
    header = header_make(ENTRY_NOOP);
    header.body_bytes = ENTRY_BYTES_MAX;
    expect_assert_failure(entry_seal(entry, &header));
    header = header_make(ENTRY_NOOP);
    expect_assert_failure(entry_seal(entry + 4, &header));
}

static void node_header_passes_and_every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    entry_make(1, 10);
    struct node_header header = {
        .node = 2,
        .store = 77,
        .epoch = 3,
        .durable_position = POSITION,
        .position = POSITION,
    };
    node_header_seal(entry, &header);
    assert_memory_equal(entry, "THNN", 4);
    assert_null(entry_check(entry, CLUSTER));
    memcpy(&header, entry, sizeof header);
    assert_null(node_header_check(&header, 77));
    assert_string_equal(node_header_check(&header, 78), "node header of another store");
    for (uint32_t bit = 0; bit < NODE_HEADER_BYTES * 8; bit++) {
        struct node_header flipped;
        uint8_t bytes[NODE_HEADER_BYTES];
        memcpy(bytes, &header, sizeof bytes);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        memcpy(&flipped, bytes, sizeof flipped);
        assert_non_null(node_header_check(&flipped, 77));
    }
    header.position = 8;
    expect_assert_failure(node_header_seal(entry, &header));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_of_the_entry_header_is_the_documented_one),
        cmocka_unit_test(layout_of_the_small_headers_is_the_documented_one),
        cmocka_unit_test(sealed_bytes_stand_where_the_layout_says),
        cmocka_unit_test(a_page_crc_is_seeded_with_the_cluster_and_leaves_the_node_header_out),
        cmocka_unit_test(sizes_agree_at_every_page_border),
        cmocka_unit_test(body_bytes_step_over_the_marks_and_come_back),
        cmocka_unit_test(entries_of_every_size_pass_and_have_zero_padding),
        cmocka_unit_test(every_flipped_bit_outside_the_node_header_is_noticed),
        cmocka_unit_test(any_node_header_passes_the_entry_check),
        cmocka_unit_test(flipped_bits_of_a_long_entry_are_noticed_in_their_page),
        cmocka_unit_test(a_page_of_another_place_term_or_number_is_not_valid),
        cmocka_unit_test(a_wrong_field_is_named_even_when_every_checksum_holds),
        cmocka_unit_test(a_wrong_record_is_named_even_when_every_checksum_holds),
        cmocka_unit_test(any_bytes_are_answered_and_none_crash),
        cmocka_unit_test(records_come_out_as_they_went_in),
        cmocka_unit_test(records_of_every_kind_pass_and_are_counted_by_sort),
        cmocka_unit_test(walk_of_appended_records_leaves_the_other_kinds_out),
        cmocka_unit_test(an_entry_holds_a_bounded_number_of_records_of_sessions),
        cmocka_unit_test(the_smallest_records_fill_the_largest_entry),
        cmocka_unit_test(kinds_without_records_pass_and_walk_as_empty),
        cmocka_unit_test(sealing_a_wrong_header_asserts),
        cmocka_unit_test(node_header_passes_and_every_flipped_bit_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
