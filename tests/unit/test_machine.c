/* test_machine.c: configurations, boundaries and trims as entries come, go and are committed. */
#include "engine/machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEGMENT 262144u
#define RING    (32u * SEGMENT)

struct fixture {
    struct mem mem;
    struct machine machine;
    uint8_t entry[ENTRY_BYTES_MAX];
    uint64_t index;
    uint64_t position;
    uint64_t offset;
};

static struct raft_configuration three_voters(uint64_t store)
{
    return (struct raft_configuration){
        .voters = 1u << 1 | 1u << 2 | 1u << 3,
        .member_count = 3,
        .members = {{.id = 1, .store = store}, {.id = 2, .store = 7}, {.id = 3, .store = 8}}};
}

static int setup(void **state)
{
    struct fixture *f = aligned_alloc(64, (sizeof *f + 63) / 64 * 64);
    assert_non_null(f);
    memset(f, 0, sizeof *f);
    int result = mem_open(&f->mem, machine_memory_bytes());
    assert_int_equal(result, 0);
    machine_init(&f->machine, &f->mem);
    struct machine_origin origin = {
        .configuration = three_voters(0), .ring_bytes = RING, .segment_bytes = SEGMENT};
    machine_begin(&f->machine, &origin);
    machine_opened(&f->machine, 0);
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

static void append(struct fixture *f, enum entry_kind kind, const void *body, uint32_t body_bytes)
{
    struct entry_header header = {
        .kind = (uint8_t)kind,
        .cluster = 1,
        .term = 1,
        .index = ++f->index,
        .previous_term = f->index == 1 ? 0 : 1,
        .position = f->position,
        .first_offset = f->offset,
        .body_bytes = body_bytes,
    };
    memset(f->entry, 0, sizeof f->entry);
    if (body_bytes > 0) {
        entry_body_write(f->entry, 0, body, body_bytes);
    }
    entry_seal(f->entry, &header);
    machine_append(&f->machine, f->entry);
    f->position += entry_pages(body_bytes) * PAGE_BYTES;
}

/* A client entry of one record that takes `pages` pages. */
static void append_client(struct fixture *f, uint32_t pages)
{
    static uint8_t body[ENTRY_BYTES_MAX];
    uint32_t bytes = entry_body_bytes_max(pages);
    bytes =
        bytes > record_body_bytes(RECORD_BYTES_MAX) ? record_body_bytes(RECORD_BYTES_MAX) : bytes;
    bytes &= ~7u;
    struct record_header record = {.bytes = bytes - RECORD_HEADER_BYTES};
    memcpy(body, &record, sizeof record);
    struct entry_header header = {
        .kind = ENTRY_CLIENT,
        .cluster = 1,
        .term = 1,
        .index = ++f->index,
        .previous_term = f->index == 1 ? 0 : 1,
        .position = f->position,
        .first_offset = f->offset,
        .body_bytes = bytes,
        .record_count = 1,
    };
    memset(f->entry, 0, sizeof f->entry);
    entry_body_write(f->entry, 0, body, bytes);
    entry_seal(f->entry, &header);
    machine_append(&f->machine, f->entry);
    f->position += entry_pages(bytes) * PAGE_BYTES;
    f->offset++;
}

static void configuration_counts_when_appended_and_is_rolled_back_by_a_cut(void **state)
{
    struct fixture *f = *state;
    uint8_t body[CONFIGURATION_BODY_BYTES];
    struct raft_configuration configuration = three_voters(99);
    configuration_encode(&configuration, body);
    append(f, ENTRY_CONFIGURATION, body, sizeof body);
    assert_int_equal(machine_configuration(&f->machine)->members[0].store, 99);
    assert_int_equal(machine_configuration(&f->machine)->index, 1);
    machine_cut(&f->machine, 0, 0);
    assert_int_equal(machine_configuration(&f->machine)->members[0].store, 0);
}

static void configuration_that_names_no_valid_voters_is_refused(void **state)
{
    (void)state;
    uint8_t body[CONFIGURATION_BODY_BYTES];
    struct raft_configuration good = three_voters(1);
    struct raft_configuration out;
    configuration_encode(&good, body);
    assert_true(configuration_decode(body, sizeof body, &out));
    assert_false(configuration_decode(body, sizeof body - 8, &out));
    struct raft_configuration bad = good;
    bad.voters = 0;
    configuration_encode(&bad, body);
    assert_false(configuration_decode(body, sizeof body, &out));
    bad = good;
    bad.voters |= 1u << 9; /* Not a member. */
    configuration_encode(&bad, body);
    assert_false(configuration_decode(body, sizeof body, &out));
    bad = good;
    bad.members[1].id = 1; /* Twice. */
    configuration_encode(&bad, body);
    assert_false(configuration_decode(body, sizeof body, &out));
    bad = good;
    bad.learners = 1u << 2; /* Voter and learner. */
    configuration_encode(&bad, body);
    assert_false(configuration_decode(body, sizeof body, &out));
}

static void boundary_is_the_first_entry_at_or_after_a_segment(void **state)
{
    struct fixture *f = *state;
    struct log_start boundary;
    for (uint32_t i = 0; i < 4; i++) {
        append_client(f, 13);
    }
    assert_false(machine_boundary_below(&f->machine, f->position, &boundary));
    append_client(f, 13); /* From page 52 to 65: crosses the boundary at 64. */
    assert_true(machine_boundary_below(&f->machine, f->position, &boundary));
    assert_int_equal(boundary.position, 65 * PAGE_BYTES);
    assert_int_equal(boundary.last.index, 5);
    assert_int_equal(boundary.offset, 5);
    assert_false(machine_boundary_below(&f->machine, f->position - 1, &boundary));
    while (f->position < 2 * SEGMENT) {
        append_client(f, 1); /* Ends exactly at the next boundary. */
    }
    assert_true(machine_boundary_below(&f->machine, f->position, &boundary));
    assert_int_equal(boundary.position, 2 * SEGMENT);
    append_client(f, 1);
    assert_true(machine_boundary_below(&f->machine, f->position, &boundary));
    assert_int_equal(boundary.position, 2 * SEGMENT);
    assert_int_equal(boundary.last.index, f->index - 1);
}

static void trim_moves_the_wanted_start_only_when_committed(void **state)
{
    struct fixture *f = *state;
    while (f->position < 3 * SEGMENT) {
        append_client(f, 16);
    }
    struct log_start boundary;
    assert_true(machine_boundary_below(&f->machine, 2 * SEGMENT, &boundary));
    uint8_t body[TRIM_BODY_BYTES];
    trim_encode(&boundary, body);
    append(f, ENTRY_TRIM, body, sizeof body);
    assert_false(machine_apply(&f->machine, f->index - 1));
    assert_int_equal(f->machine.wanted_start.position, 0);
    assert_true(machine_apply(&f->machine, f->index));
    assert_int_equal(f->machine.wanted_start.position, boundary.position);
    trim_encode(&boundary, body);
    append(f, ENTRY_TRIM, body, sizeof body);
    machine_cut(&f->machine, f->index - 1, f->position - PAGE_BYTES);
    assert_false(machine_apply(&f->machine, f->index));
}

static void trim_to_no_boundary_of_the_log_moves_nothing(void **state)
{
    struct fixture *f = *state;
    while (f->position < 3 * SEGMENT) {
        append_client(f, 16);
    }
    struct log_start boundary;
    assert_true(machine_boundary_below(&f->machine, 2 * SEGMENT, &boundary));
    struct log_start wrong[4] = {boundary, boundary, boundary, boundary};
    wrong[0].position += PAGE_BYTES;
    wrong[1].last.index++;
    wrong[2].offset++;
    wrong[3].position += 64 * SEGMENT;
    uint8_t body[TRIM_BODY_BYTES];
    for (uint32_t i = 0; i < 4; i++) {
        trim_encode(&wrong[i], body);
        append(f, ENTRY_TRIM, body, sizeof body);
    }
    assert_false(machine_apply(&f->machine, f->index));
    assert_int_equal(f->machine.wanted_start.position, 0);
}

static void state_is_owed_once_for_each_boundary_applied(void **state)
{
    struct fixture *f = *state;
    while (f->position < 3 * SEGMENT) {
        append_client(f, 8); /* Ends exactly at every boundary. */
    }
    uint64_t boundary_index = SEGMENT / (8 * PAGE_BYTES);
    assert_false(machine_apply(&f->machine, boundary_index - 1));
    assert_null(machine_state_owed(&f->machine));
    assert_false(machine_apply(&f->machine, 2 * boundary_index));
    const struct machine_state *owed = machine_state_owed(&f->machine);
    assert_non_null(owed);
    assert_int_equal(owed->boundary.position, SEGMENT);
    assert_int_equal(owed->boundary.last.index, boundary_index);
    machine_state_written(&f->machine);
    owed = machine_state_owed(&f->machine);
    assert_non_null(owed);
    assert_int_equal(owed->boundary.position, 2 * SEGMENT);
    struct raft_configuration configuration;
    assert_true(configuration_decode(owed->state, CONFIGURATION_BODY_BYTES, &configuration));
    assert_int_equal(configuration.voters, three_voters(0).voters);
    machine_state_written(&f->machine);
    assert_null(machine_state_owed(&f->machine));
}

static void boundary_that_was_cut_is_forgotten(void **state)
{
    struct fixture *f = *state;
    while (f->position < SEGMENT) {
        append_client(f, 8);
    }
    uint64_t keep = f->index - 1;
    machine_cut(&f->machine, keep, f->position - 8 * PAGE_BYTES);
    f->index = keep;
    f->position -= 8 * PAGE_BYTES;
    f->offset--;
    append_client(f, 1); /* Takes the index of what was cut, and ends before the boundary. */
    assert_false(machine_apply(&f->machine, f->index));
    assert_null(machine_state_owed(&f->machine));
}

static void entries_are_taken_only_as_far_as_states_find_room(void **state)
{
    struct fixture *f = *state;
    while (f->position + 8 * PAGE_BYTES <= machine_room_position(&f->machine)) {
        append_client(f, 8);
    }
    uint64_t room = machine_room_position(&f->machine);
    assert_int_equal(f->position, room);
    assert_false(machine_apply(&f->machine, f->index)); /* Asserts that they find room. */
    uint32_t states = 0;
    while (machine_state_owed(&f->machine) != NULL) {
        machine_state_written(&f->machine);
        states++;
    }
    assert_int_equal(states, room / SEGMENT);
    assert_true(machine_room_position(&f->machine) > room);
}

/* After a recovery that met more boundaries than the FIFO holds, those that were written before
 * make room for the ones that are not known to be committed yet. */
static void states_of_an_earlier_life_make_room_when_recovery_is_over(void **state)
{
    struct fixture *f = *state;
    struct machine_origin origin = {
        .configuration = three_voters(0), .ring_bytes = RING, .segment_bytes = SEGMENT};
    machine_begin(&f->machine, &origin);
    while (f->position < 20 * SEGMENT) {
        append_client(f, 8); /* Ends exactly at every boundary. */
    }
    assert_false(machine_apply(&f->machine, f->index - 2));
    machine_opened(&f->machine, f->position);
    const struct machine_state *owed = machine_state_owed(&f->machine);
    assert_non_null(owed);
    assert_true(owed->boundary.position <= f->position - (MACHINE_STATES_MAX - 1) * SEGMENT);
    assert_false(machine_apply(&f->machine, f->index)); /* Asserts that there is room. */
    uint64_t last = 0;
    while ((owed = machine_state_owed(&f->machine)) != NULL) {
        last = owed->boundary.position;
        machine_state_written(&f->machine);
    }
    assert_int_equal(last, 20 * SEGMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            configuration_counts_when_appended_and_is_rolled_back_by_a_cut, setup, teardown),
        cmocka_unit_test(configuration_that_names_no_valid_voters_is_refused),
        cmocka_unit_test_setup_teardown(boundary_is_the_first_entry_at_or_after_a_segment, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(trim_to_no_boundary_of_the_log_moves_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(trim_moves_the_wanted_start_only_when_committed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(state_is_owed_once_for_each_boundary_applied, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(boundary_that_was_cut_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(states_of_an_earlier_life_make_room_when_recovery_is_over,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(entries_are_taken_only_as_far_as_states_find_room, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
