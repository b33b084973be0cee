/* test_session.c: the table of sessions as entries come, are cut and are committed; and what the
 * leader decides from it. */
#include "engine/base/prng.h"
#include "engine/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER 5u

/* An entry under construction, and the log's end behind it. */
struct maker {
    uint8_t entry[ENTRY_BYTES_MAX];
    struct entry_header header;
    uint64_t position;
    uint64_t offset;
    uint64_t index;
};

struct fixture {
    struct mem mem;
    struct sessions sessions;
    struct maker maker;
};

static int setup(void **state)
{
    struct fixture *f = aligned_alloc(64, (sizeof *f + 63) / 64 * 64);
    assert_non_null(f);
    memset(f, 0, sizeof *f);
    int result = mem_open(&f->mem, sessions_memory_bytes() + PAGE_BYTES);
    assert_int_equal(result, 0);
    sessions_init(&f->sessions, &f->mem);
    assert_true(sessions_begin(&f->sessions, NULL, 0));
    f->maker.position = PAGE_BYTES;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    mem_close(&f->mem);
    free(f);
    return 0;
}

static void entry_begin(struct maker *m)
{
    m->header = (struct entry_header){
        .kind = ENTRY_CLIENT,
        .cluster = CLUSTER,
        .term = 1,
        .index = ++m->index,
        .previous_term = m->index == 1 ? 0 : 1,
        .position = m->position,
        .first_offset = m->offset,
        .commit_index = m->index - 1,
    };
}

static void put(struct maker *m, const struct record_header *record, const void *payload)
{
    static const uint8_t zeros[8];
    uint32_t used = RECORD_HEADER_BYTES + record->bytes;
    entry_body_write(m->entry, m->header.body_bytes, record, sizeof *record);
    entry_body_write(m->entry, m->header.body_bytes + RECORD_HEADER_BYTES, payload, record->bytes);
    entry_body_write(m->entry, m->header.body_bytes + used, zeros,
                     record_body_bytes(record->bytes) - used);
    m->header.body_bytes += record_body_bytes(record->bytes);
    m->header.record_count += record->kind == RECORD_APPEND;
    m->header.session_record_count += record->kind != RECORD_APPEND || record->session != 0;
    m->offset += record->kind == RECORD_APPEND;
}

static void put_append(struct maker *m, uint64_t session, uint64_t sequence)
{
    struct record_header record = {.bytes = 8, .session = session, .sequence = sequence};
    put(m, &record, &sequence);
}

/* Returns the session's id. */
static uint64_t
put_register(struct maker *m, const char *name, uint64_t owner, uint32_t epoch, uint64_t id)
{
    struct session_register body = {
        .session = id != 0 ? id : m->header.position + m->header.body_bytes,
        .owner = owner,
        .epoch = epoch,
        .name_bytes = (uint8_t)strlen(name),
    };
    memcpy(body.name, name, body.name_bytes);
    struct record_header record = {.bytes = sizeof body, .kind = RECORD_REGISTER};
    put(m, &record, &body);
    return body.session;
}

static void put_refused(struct maker *m, uint64_t session, uint64_t sequence, uint32_t count)
{
    struct session_refused body = {.tail_offset = m->offset, .count = count};
    struct record_header record = {
        .bytes = sizeof body, .kind = RECORD_REFUSED, .session = session, .sequence = sequence};
    put(m, &record, &body);
}

static void entry_end(struct fixture *f)
{
    struct maker *m = &f->maker;
    entry_seal(m->entry, &m->header);
    assert_null(entry_check(m->entry, CLUSTER));
    assert_null(sessions_check(m->entry));
    m->position += (uint64_t)entry_pages(m->header.body_bytes) * PAGE_BYTES;
    sessions_append(&f->sessions, m->entry);
}

static uint64_t registered(struct fixture *f, const char *name, uint64_t owner)
{
    entry_begin(&f->maker);
    uint64_t id = put_register(&f->maker, name, owner, 1, 0);
    entry_end(f);
    return id;
}

static void appended(struct fixture *f, uint64_t session, uint64_t sequence, uint32_t count)
{
    entry_begin(&f->maker);
    for (uint32_t i = 0; i < count; i++) {
        put_append(&f->maker, session, sequence + i);
    }
    entry_end(f);
}

static struct session_decision
decide(struct fixture *f, uint64_t session, uint64_t sequence, uint32_t count)
{
    struct session_claim claim = {
        .session = session, .sequence = sequence, .epoch = 1, .count = count};
    return sessions_decide(&f->sessions, &claim);
}

static void session_comes_only_from_a_registration(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(decide(f, 77, 1, 1).verdict, SESSION_UNKNOWN);
    appended(f, 77, 1, 1);
    assert_int_equal(decide(f, 77, 1, 1).verdict, SESSION_UNKNOWN);
    assert_int_equal(f->sessions.void_notes, 1);
    uint64_t id = registered(f, "orders", 9);
    assert_int_equal(decide(f, id, 1, 1).verdict, SESSION_NEW);
    assert_int_equal(sessions_named(&f->sessions, (const uint8_t *)"orders", 6, 4)->id, id);
    assert_null(sessions_named(&f->sessions, (const uint8_t *)"order", 5, 9));
}

static void repeated_records_find_their_old_offsets(void **state)
{
    struct fixture *f = *state;
    uint64_t id = registered(f, "a", 9);
    appended(f, id, 1, 5);  /* Offsets 0 to 4. */
    appended(f, 0, 1, 3);   /* Somebody else's. */
    appended(f, id, 6, 10); /* Offsets 8 to 17. */
    struct session_decision decision = decide(f, id, 2, 20);
    assert_int_equal(decision.verdict, SESSION_OLD);
    assert_int_equal(decision.offset, 1);
    assert_int_equal(decision.count, 4);
    decision = decide(f, id, 6, 20);
    assert_int_equal(decision.verdict, SESSION_OLD);
    assert_int_equal(decision.offset, 8);
    assert_int_equal(decision.count, 10);
    decision = decide(f, id, 16, 5);
    assert_int_equal(decision.verdict, SESSION_NEW);
    assert_int_equal(decision.count, 5);
    decision = decide(f, id, 17, 5);
    assert_int_equal(decision.verdict, SESSION_GAP);
    assert_int_equal(decision.next_sequence, 16);
}

static void runs_that_follow_each_other_are_one(void **state)
{
    struct fixture *f = *state;
    uint64_t id = registered(f, "a", 9);
    for (uint32_t i = 0; i < 100; i++) {
        appended(f, id, 1 + i * 7, 7);
    }
    struct session_decision decision = decide(f, id, 1, 1000);
    assert_int_equal(decision.verdict, SESSION_OLD);
    assert_int_equal(decision.count, 700);
    assert_int_equal(decision.offset, 0);
}

static void refused_numbers_stay_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t id = registered(f, "a", 9);
    appended(f, id, 1, 2);
    entry_begin(&f->maker);
    put_refused(&f->maker, id, 3, 4);
    put_append(&f->maker, id, 7);
    entry_end(f);
    struct session_decision decision = decide(f, id, 4, 10);
    assert_int_equal(decision.verdict, SESSION_REFUSED);
    assert_int_equal(decision.count, 3);
    assert_int_equal(decision.offset, 2); /* The tail then. */
    decision = decide(f, id, 7, 1);
    assert_int_equal(decision.verdict, SESSION_OLD);
    assert_int_equal(decision.offset, 2);
}

static void oldest_runs_are_forgotten_and_still_known_as_committed(void **state)
{
    struct fixture *f = *state;
    uint64_t id = registered(f, "a", 9);
    for (uint32_t i = 0; i < SESSION_RUNS_MAX + 2; i++) {
        appended(f, id, 1 + i * 2ull, 2);
        appended(f, 0, i, 1); /* So that runs do not follow each other. */
    }
    struct session_decision decision = decide(f, id, 2, 100);
    assert_int_equal(decision.verdict, SESSION_FORGOTTEN);
    assert_int_equal(decision.count, 3); /* 2, 3 and 4: of the two oldest runs. */
    decision = decide(f, id, 5, 100);
    assert_int_equal(decision.verdict, SESSION_OLD);
    assert_int_equal(decision.offset, 6);
}

static void later_writer_fences_the_earlier_one(void **state)
{
    struct fixture *f = *state;
    uint64_t id = registered(f, "a", 9);
    appended(f, id, 1, 3);
    entry_begin(&f->maker);
    put_register(&f->maker, "a", 10, 2, id);
    entry_end(f);
    assert_int_equal(decide(f, id, 4, 1).verdict, SESSION_FENCED);
    struct session_claim claim = {.session = id, .sequence = 4, .epoch = 2, .count = 1};
    assert_int_equal(sessions_decide(&f->sessions, &claim).verdict, SESSION_NEW);
    claim.sequence = 2; /* The numbers go on, with their old answers. */
    assert_int_equal(sessions_decide(&f->sessions, &claim).verdict, SESSION_OLD);
    claim.epoch = 3; /* From the future: not of this log. */
    assert_int_equal(sessions_decide(&f->sessions, &claim).verdict, SESSION_AHEAD);
    assert_int_equal(f->sessions.void_notes, 0);
}

static void cut_takes_back_what_was_appended(void **state)
{
    struct fixture *f = *state;
    uint64_t id = registered(f, "a", 9);
    sessions_commit(&f->sessions, f->maker.index);
    appended(f, id, 1, 3);
    uint64_t keep = f->maker.index;
    appended(f, id, 4, 3);
    uint64_t other = registered(f, "b", 10);
    assert_int_equal(decide(f, id, 4, 1).verdict, SESSION_OLD);
    assert_int_equal(decide(f, other, 1, 1).verdict, SESSION_NEW);
    sessions_cut(&f->sessions, keep);
    assert_int_equal(decide(f, id, 4, 1).verdict, SESSION_NEW);
    assert_int_equal(decide(f, id, 3, 1).verdict, SESSION_OLD);
    assert_int_equal(decide(f, other, 1, 1).verdict, SESSION_UNKNOWN);
    sessions_cut(&f->sessions, 1);
    assert_int_equal(decide(f, id, 1, 1).verdict, SESSION_NEW);
}

static void open_entry_of_a_lost_office_counts_for_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t id = registered(f, "a", 9);
    struct session_note note = {.index = f->maker.index + 1,
                                .session = id,
                                .sequence = 1,
                                .offset = 0,
                                .count = 4,
                                .kind = RECORD_APPEND};
    sessions_take(&f->sessions, &note);
    assert_int_equal(decide(f, id, 1, 4).verdict, SESSION_OLD);
    appended(f, id, 1, 2); /* Another leader's entry at the same index. */
    assert_int_equal(decide(f, id, 1, 4).count, 2);
    assert_int_equal(decide(f, id, 3, 1).verdict, SESSION_NEW);
    assert_int_equal(f->sessions.void_notes, 0);
}

static void full_table_lets_the_nameless_go_first_and_then_the_longest_unused(void **state)
{
    struct fixture *f = *state;
    uint64_t first = registered(f, "first", 1);
    uint64_t second = registered(f, "second", 2);
    uint64_t nameless = registered(f, "", 3);
    char name[16];
    for (uint32_t i = 3; i < SESSIONS_MAX; i++) {
        (void)snprintf(name, sizeof name, "s%u", i);
        (void)registered(f, name, 100 + i);
        sessions_commit(&f->sessions, f->maker.index);
    }
    appended(f, first, 1, 1);
    (void)registered(f, "one more", 1000);
    assert_int_equal(decide(f, nameless, 1, 1).verdict, SESSION_UNKNOWN);
    assert_int_equal(decide(f, second, 1, 1).verdict, SESSION_NEW);
    (void)registered(f, "two more", 1001);
    assert_int_equal(decide(f, second, 1, 1).verdict, SESSION_UNKNOWN);
    assert_int_equal(decide(f, first, 2, 1).verdict, SESSION_NEW);
    assert_null(sessions_named(&f->sessions, (const uint8_t *)"second", 6, 0));
}

static void nameless_session_belongs_to_its_owner_alone(void **state)
{
    struct fixture *f = *state;
    uint64_t mine = registered(f, "", 3);
    uint64_t other = registered(f, "", 4);
    assert_int_equal(sessions_named(&f->sessions, NULL, 0, 3)->id, mine);
    assert_int_equal(sessions_named(&f->sessions, NULL, 0, 4)->id, other);
    assert_null(sessions_named(&f->sessions, NULL, 0, 5));
}

static void encoded_table_comes_back_as_it_was(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[SESSIONS_BYTES_MAX];
    static uint8_t again[SESSIONS_BYTES_MAX];
    uint64_t id = registered(f, "a", 9);
    appended(f, id, 1, 3);
    entry_begin(&f->maker);
    put_refused(&f->maker, id, 4, 2);
    entry_end(f);
    (void)registered(f, "", 7);
    sessions_commit(&f->sessions, f->maker.index);
    uint32_t count = sessions_encode(&f->sessions, bytes);
    assert_true(sessions_begin(&f->sessions, bytes, count));
    assert_int_equal(sessions_encode(&f->sessions, again), count);
    assert_memory_equal(bytes, again, count);
    assert_int_equal(decide(f, id, 2, 1).offset, 1);
    assert_int_equal(decide(f, id, 5, 1).verdict, SESSION_REFUSED);
    for (uint32_t less = 0; less < count; less++) {
        assert_true(less == 0 || !sessions_begin(&f->sessions, bytes, less));
    }
    memset(bytes, 0xff, 8); /* As many sessions as there are numbers. */
    assert_false(sessions_begin(&f->sessions, bytes, count));
}

static void largest_table_fits_a_small_state(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[SESSIONS_BYTES_MAX];
    char name[SESSION_NAME_MAX + 1];
    uint64_t ids[SESSIONS_MAX];
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
        (void)snprintf(name, sizeof name, "%0*u", (int)SESSION_NAME_MAX, i);
        ids[i] = registered(f, name, 100 + i);
        sessions_commit(&f->sessions, f->maker.index);
    }
    for (uint64_t run = 0; run < SESSION_RUNS_MAX; run++) {
        for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
            appended(f, ids[i], 1 + run, 1);
            sessions_commit(&f->sessions, f->maker.index);
        }
    }
    assert_int_equal(sessions_encode(&f->sessions, bytes), SESSIONS_BYTES_MAX);
    assert_true(sessions_begin(&f->sessions, bytes, SESSIONS_BYTES_MAX));
}

static void records_that_no_leader_makes_are_named(void **state)
{
    struct fixture *f = *state;
    struct maker *m = &f->maker;
    entry_begin(m);
    put_register(m, "a", 9, 1, 12345); /* Not its place. */
    entry_seal(m->entry, &m->header);
    assert_string_equal(sessions_check(m->entry), "a registration of no session");
    entry_begin(m);
    put_register(m, "a", 0, 1, 0); /* Nobody's. */
    entry_seal(m->entry, &m->header);
    assert_string_equal(sessions_check(m->entry), "a registration of no session");
    entry_begin(m);
    put_refused(m, 9, 1, 0);
    entry_seal(m->entry, &m->header);
    assert_string_equal(sessions_check(m->entry), "a refusal of nothing");
    entry_begin(m);
    struct record_header record = {.bytes = 8, .kind = RECORD_REGISTER};
    put(m, &record, "eight by");
    entry_seal(m->entry, &m->header);
    assert_string_equal(sessions_check(m->entry), "a registration of another length");
}

/* Sessions that append at random, as the leader notes them and as a follower reads them. */
struct crowd {
    uint64_t ids[8];
    uint64_t next[8];
    struct prng prng;
};

/* One registration, refusal or run of appends into the follower's entry; the leader's note of it.
 */
static struct session_note crowd_act(struct crowd *crowd, struct maker *m)
{
    uint32_t which = (uint32_t)prng_below(&crowd->prng, 8);
    struct session_note note = {.index = m->header.index, .offset = m->offset};
    if (crowd->ids[which] == 0) {
        char name[2] = {(char)('a' + which), 0};
        crowd->ids[which] = put_register(m, name, 50 + which, 1, 0);
        crowd->next[which] = 1;
        return (struct session_note){.index = m->header.index,
                                     .session = crowd->ids[which],
                                     .owner = 50 + which,
                                     .epoch = 1,
                                     .kind = RECORD_REGISTER,
                                     .name_bytes = 1,
                                     .name = {(uint8_t)name[0]}};
    }
    note.session = crowd->ids[which];
    note.sequence = crowd->next[which];
    note.count = (uint32_t)prng_between(&crowd->prng, 1, 9);
    if (prng_below(&crowd->prng, 5) == 0) {
        note.kind = RECORD_REFUSED;
        put_refused(m, note.session, note.sequence, note.count);
    }
    for (uint32_t i = 0; note.kind == RECORD_APPEND && i < note.count; i++) {
        put_append(m, note.session, note.sequence + i);
    }
    crowd->next[which] += note.count;
    return note;
}

static void assert_same_tables(const struct fixture *a, const struct fixture *b)
{
    static uint8_t bytes[2][SESSIONS_BYTES_MAX];
    uint32_t count = sessions_encode(&a->sessions, bytes[0]);
    assert_int_equal(sessions_encode(&b->sessions, bytes[1]), count);
    assert_memory_equal(bytes[0], bytes[1], count);
    assert_memory_equal(a->sessions.tail, b->sessions.tail, sizeof *a->sessions.tail);
}

/* A leader that takes and one that reads the same entries hold the same table, however records were
 * grouped into requests, whatever was cut and taken back on the way. */
static void leader_and_follower_hold_the_same_table(void **state)
{
    struct fixture *leader = *state;
    void *other_state = NULL;
    assert_int_equal(setup(&other_state), 0);
    struct fixture *follower = other_state;
    struct crowd crowd = {0};
    uint64_t seed = 20261121;
    printf("seed %llu\n", (unsigned long long)seed);
    prng_init(&crowd.prng, seed);
    for (uint32_t round = 0; round < 3000; round++) {
        struct maker *m = &follower->maker;
        entry_begin(m);
        uint32_t groups = (uint32_t)prng_between(&crowd.prng, 1, 6);
        for (uint32_t group = 0; group < groups; group++) {
            struct session_note note = crowd_act(&crowd, m);
            sessions_take(&leader->sessions, &note);
        }
        if (prng_below(&crowd.prng, 4) == 0) {
            put_append(m, 0, 1); /* Without a session. */
        }
        entry_end(follower);
        uint64_t committed = m->index - prng_below(&crowd.prng, 4 > m->index ? 1 : 4);
        sessions_commit(&leader->sessions, committed);
        sessions_commit(&follower->sessions, committed);
        if (prng_below(&crowd.prng, 10) == 0) { /* Rebuilt for nothing: it stays what it was. */
            struct session_note note = {.index = m->index + 1, .session = 1, .count = 1};
            sessions_take(&follower->sessions, &note);
            sessions_cut(&follower->sessions, m->index);
        }
        assert_same_tables(leader, follower);
    }
    assert_int_equal(leader->sessions.void_notes, 0);
    teardown(&other_state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(session_comes_only_from_a_registration, setup, teardown),
        cmocka_unit_test_setup_teardown(repeated_records_find_their_old_offsets, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_that_follow_each_other_are_one, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_numbers_stay_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(oldest_runs_are_forgotten_and_still_known_as_committed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(later_writer_fences_the_earlier_one, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_takes_back_what_was_appended, setup, teardown),
        cmocka_unit_test_setup_teardown(open_entry_of_a_lost_office_counts_for_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            full_table_lets_the_nameless_go_first_and_then_the_longest_unused, setup, teardown),
        cmocka_unit_test_setup_teardown(nameless_session_belongs_to_its_owner_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(encoded_table_comes_back_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(largest_table_fits_a_small_state, setup, teardown),
        cmocka_unit_test_setup_teardown(records_that_no_leader_makes_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(leader_and_follower_hold_the_same_table, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
