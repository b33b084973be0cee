/* machine.c: the state beside the log. See machine.h. */
#include "engine/machine.h"

#include <string.h>

/* One more than the segments of the largest ring, for the boundary at its very end. */
#define BOUNDARIES_MAX (SEGMENTS_MAX + 2u)

/* Boundaries that may lie between the first whose state is not on disk and the log's end. */
#define STATES_AHEAD (MACHINE_STATES_MAX - 2u)

uint64_t machine_memory_bytes(void)
{
    return BOUNDARIES_MAX * sizeof(struct log_start) + sessions_memory_bytes() +
           MACHINE_STATES_MAX * MACHINE_STATE_BYTES + 3ull * PAGE_BYTES;
}

void machine_init(struct machine *machine, struct mem *mem)
{
    *machine = (struct machine){0};
    machine->boundaries = mem_take(mem, "boundaries", BOUNDARIES_MAX, sizeof(struct log_start), 64);
    uint8_t *bytes = mem_take(mem, "small states", MACHINE_STATES_MAX, MACHINE_STATE_BYTES, 64);
    for (uint32_t i = 0; i < MACHINE_STATES_MAX; i++) {
        machine->states[i].state = bytes + (uint64_t)i * MACHINE_STATE_BYTES;
    }
    sessions_init(&machine->sessions, mem);
}

static void begin(struct machine *machine,
                  const struct machine_origin *origin,
                  const struct raft_configuration *configuration)
{
    ASSERT(origin->ring_bytes % origin->segment_bytes == 0);
    machine->boundary_count = origin->ring_bytes / origin->segment_bytes + 2;
    ASSERT(machine->boundary_count <= BOUNDARIES_MAX);
    memset(machine->boundaries, 0, machine->boundary_count * sizeof *machine->boundaries);
    machine->segment_bytes = origin->segment_bytes;
    machine->configurations[0] = *configuration;
    machine->configuration_count = 1;
    machine->trim_count = 0;
    machine->wanted_start = origin->start;
    machine->applied_index = origin->start.last.index;
    machine->written_segment = origin->start.position / origin->segment_bytes;
    machine->kept_segment = machine->written_segment;
    machine->state_head = 0;
    machine->state_tail = 0;
    machine->recovering = true;
    machine->boundaries[machine->written_segment % machine->boundary_count] = origin->start;
}

void machine_begin(struct machine *machine, const struct machine_origin *origin)
{
    begin(machine, origin, &origin->configuration);
    bool good = sessions_begin(&machine->sessions, NULL, 0);
    ASSERT(good);
}

bool machine_begin_state(struct machine *machine,
                         const struct machine_origin *origin,
                         const uint8_t *state,
                         uint32_t state_bytes)
{
    struct raft_configuration configuration;
    if (state_bytes < CONFIGURATION_BODY_BYTES ||
        !configuration_decode(state, CONFIGURATION_BODY_BYTES, &configuration)) {
        return false;
    }
    begin(machine, origin, &configuration);
    return sessions_begin(&machine->sessions, state + CONFIGURATION_BODY_BYTES,
                          state_bytes - CONFIGURATION_BODY_BYTES);
}

void machine_opened(struct machine *machine, uint64_t end_position)
{
    machine->recovering = false;
    /* The log was let grow to its end only when there was room for what follows these. */
    uint64_t end_segment = end_position / machine->segment_bytes;
    while (machine->state_head < machine->state_tail) {
        uint64_t segment = machine_state_owed(machine)->boundary.position / machine->segment_bytes;
        if (segment + STATES_AHEAD + 1 >= end_segment) {
            return;
        }
        machine_state_written(machine);
    }
}

const struct raft_configuration *machine_configuration(const struct machine *machine)
{
    ASSERT(machine->configuration_count > 0);
    return &machine->configurations[machine->configuration_count - 1];
}

static void append_configuration(struct machine *machine, const uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    uint8_t body[CONFIGURATION_BODY_BYTES];
    ASSERT(header->body_bytes <= sizeof body);
    entry_body_read(entry, 0, body, header->body_bytes);
    struct raft_configuration configuration;
    bool good = configuration_decode(body, header->body_bytes, &configuration);
    ASSERT(good);
    configuration.index = header->index;
    if (machine->configuration_count == MACHINE_CONFIGURATIONS_MAX) {
        memmove(&machine->configurations[0], &machine->configurations[1],
                sizeof machine->configurations[0] * (MACHINE_CONFIGURATIONS_MAX - 1));
        machine->configuration_count--;
    }
    machine->configurations[machine->configuration_count++] = configuration;
}

static void append_trim(struct machine *machine, const uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    uint8_t body[TRIM_BODY_BYTES];
    ASSERT(header->body_bytes == sizeof body);
    entry_body_read(entry, 0, body, sizeof body);
    struct machine_trim trim = {.index = header->index};
    bool good = trim_decode(body, sizeof body, &trim.start);
    ASSERT(good);
    if (machine->trim_count == MACHINE_TRIMS_MAX) {
        /* The oldest is superseded by those behind it: starts only grow. */
        memmove(&machine->trims[0], &machine->trims[1],
                sizeof machine->trims[0] * (MACHINE_TRIMS_MAX - 1));
        machine->trim_count--;
    }
    machine->trims[machine->trim_count++] = trim;
}

/* The entry may be the first at or after a segment boundary: then the log could begin here. */
static void append_boundary(struct machine *machine, const struct entry_header *header)
{
    uint64_t segment = header->position / machine->segment_bytes;
    if (header->position % machine->segment_bytes != 0) {
        segment++; /* Its end may lie at or beyond the next boundary. */
        uint64_t end = header->position + (uint64_t)header->pages * PAGE_BYTES;
        if (end < segment * machine->segment_bytes) {
            return;
        }
        machine->boundaries[segment % machine->boundary_count] = (struct log_start){
            .position = end,
            .last = {.term = header->term, .index = header->index},
            .offset = header->first_offset + header->record_count,
        };
        return;
    }
    machine->boundaries[segment % machine->boundary_count] = (struct log_start){
        .position = header->position,
        .last = {.term = header->previous_term, .index = header->index - 1},
        .offset = header->first_offset,
    };
}

void machine_append_own(struct machine *machine, const uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    append_boundary(machine, header);
    switch ((enum entry_kind)header->kind) {
    case ENTRY_CONFIGURATION:
        append_configuration(machine, entry);
        break;
    case ENTRY_TRIM:
        append_trim(machine, entry);
        break;
    case ENTRY_NOOP:
    case ENTRY_CLIENT:
        break;
    }
}

void machine_append(struct machine *machine, const uint8_t *entry)
{
    machine_append_own(machine, entry);
    sessions_append(&machine->sessions, entry);
}

/* Where segment number `segment` begins, NULL if that is not known. */
static const struct log_start *boundary_of(const struct machine *machine, uint64_t segment)
{
    const struct log_start *at = &machine->boundaries[segment % machine->boundary_count];
    uint64_t from = segment * machine->segment_bytes;
    return at->position >= from && at->position < from + machine->segment_bytes ? at : NULL;
}

void machine_cut(struct machine *machine, uint64_t keep, uint64_t position)
{
    while (machine->trim_count > 0 && machine->trims[machine->trim_count - 1].index > keep) {
        machine->trim_count--;
    }
    while (machine->configuration_count > 1 &&
           machine->configurations[machine->configuration_count - 1].index > keep) {
        machine->configuration_count--;
    }
    ASSERT(machine_configuration(machine)->index <= keep);
    sessions_cut(&machine->sessions, keep);
    for (uint64_t segment = position / machine->segment_bytes;; segment++) {
        const struct log_start *at = boundary_of(machine, segment);
        if (at != NULL && at->last.index > keep) {
            machine->boundaries[segment % machine->boundary_count] = (struct log_start){0};
        } else if (at == NULL) {
            break;
        }
    }
}

/* Keep the state as of a boundary for the disk. */
static void keep_state(struct machine *machine, const struct log_start *boundary)
{
    if (machine->state_tail - machine->state_head == MACHINE_STATES_MAX) {
        ASSERT(machine->recovering); /* Otherwise machine_room_position() sees to it. */
        machine_state_written(machine);
    }
    /* The configuration as of the boundary, not one appended since. */
    uint32_t at = machine->configuration_count - 1;
    while (at > 0 && machine->configurations[at].index > boundary->last.index) {
        at--;
    }
    struct machine_state *state = &machine->states[machine->state_tail++ % MACHINE_STATES_MAX];
    state->boundary = *boundary;
    configuration_encode(&machine->configurations[at], state->state);
    state->bytes = CONFIGURATION_BODY_BYTES +
                   sessions_encode(&machine->sessions, state->state + CONFIGURATION_BODY_BYTES);
}

/* Whether the log could begin here. A leader that keeps the rules trims to nothing else. */
static bool is_boundary(const struct machine *machine, const struct log_start *start)
{
    const struct log_start *at = boundary_of(machine, start->position / machine->segment_bytes);
    return at != NULL && at->position == start->position && at->offset == start->offset &&
           at->last.term == start->last.term && at->last.index == start->last.index;
}

bool machine_apply(struct machine *machine, uint64_t index)
{
    ASSERT(index >= machine->applied_index);
    machine->applied_index = index;
    const struct log_start *boundary = boundary_of(machine, machine->kept_segment + 1);
    while (boundary != NULL && boundary->last.index <= index) {
        sessions_commit(&machine->sessions, boundary->last.index);
        keep_state(machine, boundary);
        machine->kept_segment++;
        boundary = boundary_of(machine, machine->kept_segment + 1);
    }
    sessions_commit(&machine->sessions, index);
    uint32_t done = 0;
    bool moved = false;
    while (done < machine->trim_count && machine->trims[done].index <= index) {
        const struct log_start *start = &machine->trims[done].start;
        if (start->position > machine->wanted_start.position && is_boundary(machine, start)) {
            machine->wanted_start = *start;
            moved = true;
        }
        done++;
    }
    machine->trim_count -= done;
    memmove(&machine->trims[0], &machine->trims[done],
            sizeof machine->trims[0] * machine->trim_count);
    return moved;
}

uint64_t machine_room_position(const struct machine *machine)
{
    return (machine->written_segment + 1 + STATES_AHEAD) * machine->segment_bytes;
}

const struct machine_state *machine_state_owed(const struct machine *machine)
{
    return machine->state_head == machine->state_tail
               ? NULL
               : &machine->states[machine->state_head % MACHINE_STATES_MAX];
}

void machine_state_written(struct machine *machine)
{
    ASSERT(machine->state_head < machine->state_tail);
    const struct machine_state *state = machine_state_owed(machine);
    machine->written_segment = state->boundary.position / machine->segment_bytes;
    machine->state_head++;
}

bool machine_boundary_below(const struct machine *machine,
                            uint64_t position,
                            struct log_start *boundary)
{
    uint64_t first = machine->wanted_start.position / machine->segment_bytes + 1;
    for (uint64_t segment = position / machine->segment_bytes; segment >= first; segment--) {
        const struct log_start *at = boundary_of(machine, segment);
        if (at != NULL && at->position <= position) {
            *boundary = *at;
            return true;
        }
    }
    return false;
}

static uint8_t *put64(uint8_t *to, uint64_t value)
{
    memcpy(to, &value, sizeof value);
    return to + sizeof value;
}

static const uint8_t *get64(const uint8_t *from, uint64_t *value)
{
    memcpy(value, from, sizeof *value);
    return from + sizeof *value;
}

void configuration_encode(const struct raft_configuration *configuration,
                          uint8_t body[CONFIGURATION_BODY_BYTES])
{
    ASSERT(configuration->member_count <= NODES_MAX);
    memset(body, 0, CONFIGURATION_BODY_BYTES);
    uint8_t *to = put64(body, configuration->voters);
    to = put64(to, configuration->outgoing);
    to = put64(to, configuration->learners);
    to = put64(to, configuration->member_count);
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        to = put64(to, configuration->members[i].id);
        to = put64(to, configuration->members[i].store);
    }
    ASSERT(to <= body + CONFIGURATION_BODY_BYTES);
}

bool configuration_decode(const uint8_t *body,
                          uint32_t body_bytes,
                          struct raft_configuration *configuration)
{
    if (body_bytes != CONFIGURATION_BODY_BYTES) {
        return false;
    }
    *configuration = (struct raft_configuration){0};
    uint64_t count;
    const uint8_t *from = get64(body, &configuration->voters);
    from = get64(from, &configuration->outgoing);
    from = get64(from, &configuration->learners);
    from = get64(from, &count);
    if (count == 0 || count > NODES_MAX || configuration->voters == 0) {
        return false;
    }
    configuration->member_count = (uint32_t)count;
    raft_set members = 0;
    uint64_t previous = 0;
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        uint64_t id;
        from = get64(from, &id);
        from = get64(from, &configuration->members[i].store);
        if (id <= previous || id > NODE_ID_MAX) {
            return false;
        }
        configuration->members[i].id = (uint8_t)id;
        members |= 1ull << id;
        previous = id;
    }
    raft_set all = configuration->voters | configuration->outgoing | configuration->learners;
    bool voters_few = __builtin_popcountll(configuration->voters) <= (int)VOTERS_MAX &&
                      __builtin_popcountll(configuration->outgoing) <= (int)VOTERS_MAX;
    return all == members && voters_few &&
           ((configuration->voters | configuration->outgoing) & configuration->learners) == 0;
}

void trim_encode(const struct log_start *start, uint8_t body[TRIM_BODY_BYTES])
{
    uint8_t *to = put64(body, start->position);
    to = put64(to, start->last.term);
    to = put64(to, start->last.index);
    to = put64(to, start->offset);
    ASSERT(to == body + TRIM_BODY_BYTES);
}

bool trim_decode(const uint8_t *body, uint32_t body_bytes, struct log_start *start)
{
    if (body_bytes != TRIM_BODY_BYTES) {
        return false;
    }
    const uint8_t *from = get64(body, &start->position);
    from = get64(from, &start->last.term);
    from = get64(from, &start->last.index);
    (void)get64(from, &start->offset);
    return start->position % PAGE_BYTES == 0 && start->last.index > 0 && start->last.term > 0;
}

const char *machine_check(const uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    uint8_t body[CONFIGURATION_BODY_BYTES];
    switch ((enum entry_kind)header->kind) {
    case ENTRY_NOOP:
        return header->body_bytes == 0 ? NULL : "a no-op with a body";
    case ENTRY_CLIENT:
        if (header->body_bytes == 0) {
            return "a client entry without records";
        }
        if (header->session_record_count > 0 &&
            header->index - header->commit_index > UNCOMMITTED_CLIENT_MAX) {
            return "records of sessions too far above what was committed";
        }
        return sessions_check(entry);
    case ENTRY_CONFIGURATION: {
        struct raft_configuration configuration;
        if (header->body_bytes != CONFIGURATION_BODY_BYTES) {
            return "a configuration of another length";
        }
        entry_body_read(entry, 0, body, header->body_bytes);
        bool good = configuration_decode(body, header->body_bytes, &configuration);
        return good ? NULL : "a configuration that names no valid voters";
    }
    case ENTRY_TRIM: {
        struct log_start start;
        if (header->body_bytes != TRIM_BODY_BYTES) {
            return "a trim of another length";
        }
        entry_body_read(entry, 0, body, header->body_bytes);
        return trim_decode(body, header->body_bytes, &start) ? NULL : "a trim to no boundary";
    }
    }
    return "an unknown kind of entry";
}
