/* writers.c: see writers.h. */
#include "tests/support/writers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void note(void *context, const struct writer_outcome *outcome)
{
    struct author *author = context;
    assert_int_equal(outcome->first_number, author->told); /* In order, each once. */
    assert_true(outcome->count > 0);
    assert_true(outcome->fate == WRITER_COMMITTED || !outcome->offset_known);
    for (uint32_t i = 0; i < outcome->count; i++) {
        struct writer_outcome *one = &author->outcomes[author->told++];
        *one = *outcome;
        one->first_sequence += outcome->first_sequence == 0 ? 0 : i;
        one->first_offset += outcome->offset_known ? i : 0;
    }
    author->fate_count[outcome->fate] += outcome->count;
    assert_true(author->told <= author->taken);
}

void author_begin(struct writers *f, uint32_t number, struct writer_config config)
{
    struct author *author = &f->authors[number];
    struct client_config client = session_model_client(WRITERS_CLIENT_ID + number);
    config.timeout_ns = config.timeout_ns == 0 ? WRITERS_TIMEOUT_NS : config.timeout_ns;
    config.records_max = config.records_max == 0 ? 4096 : config.records_max;
    config.bytes_max = config.bytes_max == 0 ? 1u << 20 : config.bytes_max;
    assert_int_equal(
        mem_open(&author->mem, client_memory_bytes(&client) + writer_memory_bytes(&config)), 0);
    author->client = client_init(&author->mem, &client, session_model_nic(f->model, number));
    config.client = author->client;
    author->writer = writer_init(&author->mem, &config);
    mem_seal(&author->mem);
    client_set_leader(author->client, 1);
}

struct writers *writers_begin_with(uint64_t seed, struct writer_config config)
{
    struct writers *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->model = session_model_open(1472, seed);
    f->now_ns = 1000;
    author_begin(f, 0, config);
    return f;
}

static const uint8_t session_name[] = "orders";

struct writer_config writers_named(void)
{
    return (struct writer_config){.name = session_name, .name_bytes = 6};
}

struct writers *writers_begin(uint64_t seed)
{
    return writers_begin_with(seed, writers_named());
}

void writers_end(struct writers *f)
{
    session_model_close(f->model);
    for (uint32_t i = 0; i < 2; i++) {
        if (f->authors[i].writer != NULL) {
            mem_close(&f->authors[i].mem);
        }
    }
    free(f);
}

uint32_t writers_text(uint32_t author, uint64_t number, uint8_t *text)
{
    uint32_t bytes = (uint32_t)snprintf((char *)text, WRITERS_TEXT_BYTES, "author %u record %llu",
                                        author, (unsigned long long)number);
    uint32_t more = (uint32_t)(number * 7 % 90);
    memset(text + bytes, 'x', more);
    return bytes + more;
}

uint32_t writers_append(struct writers *f, uint32_t number, uint32_t count)
{
    struct author *author = &f->authors[number];
    for (uint32_t i = 0; i < count; i++) {
        uint8_t text[WRITERS_TEXT_BYTES + 90];
        struct client_record record = {.payload = text,
                                       .bytes = writers_text(number, author->taken, text)};
        if (writer_append(author->writer, f->now_ns, &record, 1) == 0) {
            return i;
        }
        author->taken++;
        assert_int_equal(writer_taken(author->writer), author->taken);
    }
    return count;
}

uint32_t writers_append_expecting(struct writers *f, uint32_t count, uint64_t offset)
{
    static uint8_t texts[512][WRITERS_TEXT_BYTES + 90];
    struct client_record records[512];
    struct author *author = &f->authors[0];
    assert_true(count <= 512);
    for (uint32_t i = 0; i < count; i++) {
        records[i] = (struct client_record){.payload = texts[i],
                                            .bytes = writers_text(0, author->taken + i, texts[i])};
    }
    uint32_t taken = writer_append_expecting(author->writer, f->now_ns, records, count, offset);
    author->taken += taken;
    return taken;
}

void writers_step(struct writers *f)
{
    f->now_ns += WRITERS_STEP_NS;
    for (uint32_t i = 0; i < 2; i++) {
        struct author *author = &f->authors[i];
        if (author->writer != NULL) {
            (void)writer_poll(author->writer, f->now_ns, note, author);
            assert_true(writer_is_stopped(author->writer) || writer_pending(author->writer) == 0 ||
                        writer_deadline_ns(author->writer) < UINT64_MAX);
        }
    }
    session_model_step(f->model);
}

void writers_run_out(struct writers *f)
{
    for (uint32_t i = 0; i < 3ull * WRITERS_TIMEOUT_NS / WRITERS_STEP_NS; i++) {
        if (f->authors[0].told == f->authors[0].taken &&
            f->authors[1].told == f->authors[1].taken) {
            return;
        }
        writers_step(f);
    }
    fail_msg("outcomes are missing");
}

void writers_check_truth(struct writers *f, uint32_t number)
{
    const struct author *author = &f->authors[number];
    uint64_t expected = 0; /* No record below may come any more. */
    static uint64_t offsets[WRITERS_RECORDS_MAX];
    static bool present[WRITERS_RECORDS_MAX];
    memset(present, 0, sizeof present);
    char mine[32];
    (void)snprintf(mine, sizeof mine, "author %u record ", number);
    for (uint32_t i = 0; i < f->model->committed; i++) {
        const struct model_entry *entry = &f->model->log[i];
        if (entry->kind != RECORD_APPEND || entry->session == 0 ||
            memcmp(entry->payload, mine, strlen(mine)) != 0) {
            continue;
        }
        entry->payload[entry->bytes] = '\0';
        uint64_t record = strtoull((const char *)entry->payload + strlen(mine), NULL, 10);
        assert_true(record >= expected);
        assert_true(record < author->taken);
        uint8_t text[WRITERS_TEXT_BYTES + 90];
        assert_int_equal(entry->bytes, writers_text(number, record, text));
        assert_memory_equal(entry->payload, text, entry->bytes);
        expected = record + 1;
        present[record] = true;
        offsets[record] = entry->offset;
    }
    for (uint64_t i = 0; i < author->told; i++) {
        const struct writer_outcome *outcome = &author->outcomes[i];
        switch (outcome->fate) {
        case WRITER_COMMITTED:
            assert_true(present[i]);
            assert_true(!outcome->offset_known || outcome->first_offset == offsets[i]);
            break;
        case WRITER_REJECTED:
        case WRITER_UNSENT:
            assert_false(present[i]);
            break;
        case WRITER_UNKNOWN:
            break;
        }
    }
}

void writers_assert_fates(const struct author *author,
                          uint64_t committed,
                          uint64_t rejected,
                          uint64_t unsent,
                          uint64_t unknown)
{
    assert_int_equal(author->fate_count[WRITER_COMMITTED], committed);
    assert_int_equal(author->fate_count[WRITER_REJECTED], rejected);
    assert_int_equal(author->fate_count[WRITER_UNSENT], unsent);
    assert_int_equal(author->fate_count[WRITER_UNKNOWN], unknown);
}
