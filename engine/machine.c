/* machine.c: the state beside the log. See machine.h. */
#include "engine/machine.h"

#include <string.h>

/* One more than the segments of the largest ring, for the boundary at its very end. */
#define BOUNDARIES_MAX (SEGMENTS_MAX + 2u)

uint64_t machine_memory_bytes(void)
{
    return BOUNDARIES_MAX * sizeof(struct log_start) + PAGE_BYTES;
}

void machine_init(struct machine *machine, struct mem *mem)
{
    *machine = (struct machine){0};
    machine->boundaries = mem_take(mem, "boundaries", BOUNDARIES_MAX, sizeof(struct log_start), 64);
}

void machine_begin(struct machine *machine,
                   const struct log_start *start,
                   const struct raft_configuration *configuration,
                   uint64_t ring_bytes,
                   uint64_t segment_bytes)
{
    ASSERT(ring_bytes % segment_bytes == 0);
    machine->boundary_count = ring_bytes / segment_bytes + 2;
    ASSERT(machine->boundary_count <= BOUNDARIES_MAX);
    memset(machine->boundaries, 0, machine->boundary_count * sizeof *machine->boundaries);
    machine->segment_bytes = segment_bytes;
    machine->configurations[0] = *configuration;
    machine->configuration_count = 1;
    machine->trim_count = 0;
    machine->wanted_start = *start;
    machine->applied_index = start->last.index;
    machine->written_segment = start->position / segment_bytes;
    machine->boundaries[machine->written_segment % machine->boundary_count] = *start;
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

void machine_append(struct machine *machine, const uint8_t *entry)
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

void machine_cut(struct machine *machine, uint64_t keep)
{
    while (machine->trim_count > 0 && machine->trims[machine->trim_count - 1].index > keep) {
        machine->trim_count--;
    }
    while (machine->configuration_count > 1 &&
           machine->configurations[machine->configuration_count - 1].index > keep) {
        machine->configuration_count--;
    }
    ASSERT(machine_configuration(machine)->index <= keep);
}

bool machine_apply(struct machine *machine, uint64_t index)
{
    ASSERT(index >= machine->applied_index);
    machine->applied_index = index;
    uint32_t done = 0;
    bool moved = false;
    while (done < machine->trim_count && machine->trims[done].index <= index) {
        if (machine->trims[done].start.position > machine->wanted_start.position) {
            machine->wanted_start = machine->trims[done].start;
            moved = true;
        }
        done++;
    }
    machine->trim_count -= done;
    memmove(&machine->trims[0], &machine->trims[done],
            sizeof machine->trims[0] * machine->trim_count);
    return moved;
}

bool machine_state_owed(const struct machine *machine,
                        uint64_t position,
                        struct log_start *boundary,
                        uint8_t bytes[CONFIGURATION_BODY_BYTES])
{
    uint64_t segment = machine->written_segment + 1;
    const struct log_start *next = &machine->boundaries[segment % machine->boundary_count];
    uint64_t from = segment * machine->segment_bytes;
    bool known = next->position >= from && next->position < from + machine->segment_bytes;
    if (!known || next->position > position) {
        return false;
    }
    /* The configuration as of the boundary, not one appended since. */
    uint32_t at = machine->configuration_count - 1;
    while (at > 0 && machine->configurations[at].index > next->last.index) {
        at--;
    }
    *boundary = *next;
    configuration_encode(&machine->configurations[at], bytes);
    return true;
}

void machine_state_written(struct machine *machine, const struct log_start *boundary)
{
    machine->written_segment = boundary->position / machine->segment_bytes;
}

bool machine_boundary_below(const struct machine *machine,
                            uint64_t position,
                            struct log_start *boundary)
{
    uint64_t first = machine->wanted_start.position / machine->segment_bytes + 1;
    for (uint64_t segment = position / machine->segment_bytes; segment >= first; segment--) {
        const struct log_start *at = &machine->boundaries[segment % machine->boundary_count];
        uint64_t from = segment * machine->segment_bytes;
        bool known = at->position >= from && at->position < from + machine->segment_bytes;
        if (known && at->position <= position) {
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
        return header->record_count > 0 ? NULL : "a client entry without records";
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
