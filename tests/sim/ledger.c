/* ledger.c: the model of what the committed log says. See ledger.h.
 *
 * Entries come once each, in order, when the first node applies them. What no sound leader makes is
 * a violation here: a number twice, a gap, a record of a writer that is fenced, of a session that
 * nobody registered, or against its condition.
 */
#include "tests/sim/sim.h"

#include "engine/base/crc.h"
#include "engine/session.h"

#include <inttypes.h>
#include <string.h>

#define ASKED_MAX       63u
#define RUN_REFUSED_BIT (1ull << 63)

void ledger_reset(struct sim *sim)
{
    struct sim_ledger *ledger = &sim->ledger;
    memset(ledger->streams, 0, ledger->stream_count * sizeof ledger->streams[0]);
    memset(ledger->incarnations, 0, ledger->incarnation_count * sizeof ledger->incarnations[0]);
    memset(ledger->records, 0, ledger->chunk_count * sizeof ledger->records[0]);
    ledger->stream_count = SIM_CLIENTS_MAX; /* Without a session. */
    ledger->register_count = 1;             /* 0: none. */
    ledger->incarnation_count = 1;          /* 0: none. */
    ledger->chunk_count = 1;                /* 0: none. */
    ledger->slot_count = 0;
    ledger->table_crc = 0;
    ledger->table_bytes = 0;
}

bool ledger_is_nearly_full(const struct sim *sim)
{
    const struct sim_ledger *ledger = &sim->ledger;
    return ledger->stream_count + 512 > SIM_STREAMS_MAX ||
           ledger->register_count + 512 > SIM_REGISTERS_MAX ||
           ledger->incarnation_count + 512 > SIM_INCARNATIONS_MAX ||
           ledger->chunk_count + 512 > SIM_CHUNKS_MAX;
}

/* ---- Streams and records. ---- */

/* Ids are places in the log: they ascend. */
struct sim_stream *ledger_session(struct sim *sim, uint64_t session)
{
    struct sim_ledger *ledger = &sim->ledger;
    uint32_t low = SIM_CLIENTS_MAX;
    uint32_t high = ledger->stream_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ledger->streams[middle].session < session) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < ledger->stream_count && ledger->streams[low].session == session;
    return found ? &ledger->streams[low] : NULL;
}

struct sim_stream *ledger_stream(struct sim *sim, uint64_t session, uint64_t sequence)
{
    if (session != 0) {
        return ledger_session(sim, session);
    }
    uint64_t client = (sequence >> SIM_NUMBER_SHIFT) - 1;
    return client < sim->swarm.client_count ? &sim->ledger.streams[client] : NULL;
}

static struct sim_record *record_make(struct sim *sim, struct sim_stream *stream, uint64_t number)
{
    ASSERT(number < SIM_STREAM_RECORDS);
    uint16_t *chunk = &stream->chunks[number / SIM_CHUNK_RECORDS];
    if (*chunk == 0) {
        ASSERT(sim->ledger.chunk_count < SIM_CHUNKS_MAX);
        *chunk = (uint16_t)sim->ledger.chunk_count++;
    }
    return &sim->ledger.records[*chunk][number % SIM_CHUNK_RECORDS];
}

struct sim_record *ledger_record(struct sim *sim, struct sim_stream *stream, uint64_t sequence)
{
    uint64_t number = sequence & UINT32_MAX;
    uint16_t chunk =
        number < stream->sent_end ? stream->chunks[number / SIM_CHUNK_RECORDS] : (uint16_t)0;
    struct sim_record *record = &sim->ledger.records[chunk][number % SIM_CHUNK_RECORDS];
    return chunk != 0 && record->sent ? record : NULL;
}

void ledger_send(struct sim *sim, const struct sim_sending *sending)
{
    struct sim_stream *stream = ledger_stream(sim, sending->session, sending->sequence);
    ASSERT(stream != NULL);
    uint64_t number = sending->sequence & UINT32_MAX;
    struct sim_record *record = record_make(sim, stream, number);
    stream->sent_end = stream->sent_end > number ? stream->sent_end : number + 1;
    record->sent = true;
    record->epoch = record->epoch > sending->epoch ? record->epoch : sending->epoch;
    bool known = false;
    for (uint32_t i = 0; i < record->condition_count; i++) {
        known = known || record->conditions[i] == sending->expected_offset;
    }
    if (!sending->conditional) {
        record->anywhere = true;
    } else if (!known && record->condition_count == SIM_RECORD_CONDITIONS) {
        record->many = true;
    } else if (!known) {
        record->conditions[record->condition_count++] = sending->expected_offset;
    }
}

uint32_t
ledger_incarnate(struct sim *sim, uint32_t client, const uint8_t *name, uint32_t name_bytes)
{
    struct sim_ledger *ledger = &sim->ledger;
    ASSERT(ledger->incarnation_count < SIM_INCARNATIONS_MAX);
    uint32_t number = ledger->incarnation_count++;
    struct sim_incarnation *incarnation = &ledger->incarnations[number];
    *incarnation = (struct sim_incarnation){
        .owner = prng_next(&sim->random_client) << 32 | number,
        .client = client,
        .name_bytes = (uint8_t)name_bytes,
    };
    memcpy(incarnation->name, name, name_bytes);
    return number;
}

void ledger_ask(struct sim *sim, uint32_t number, uint32_t epoch)
{
    sim->ledger.incarnations[number].asked |= 1ull << (epoch < ASKED_MAX ? epoch : ASKED_MAX);
}

const struct sim_register *
ledger_register(const struct sim *sim, const struct sim_stream *stream, uint32_t epoch)
{
    uint32_t at = stream->newest;
    while (at != 0 && sim->ledger.registers[at].epoch != epoch) {
        at = sim->ledger.registers[at].before;
    }
    return at == 0 ? NULL : &sim->ledger.registers[at];
}

bool ledger_name_is(const struct sim_stream *stream, const uint8_t *name, uint32_t name_bytes)
{
    return stream->name_bytes == name_bytes && memcmp(stream->name, name, name_bytes) == 0;
}

/* ---- The table. ---- */

static uint64_t owner_of(const struct sim *sim, const struct sim_stream *stream)
{
    return sim->ledger.registers[stream->newest].owner;
}

/* A full table: the one without a name that was unused for longest; without any, the one with. */
static uint32_t slot_of_oldest(const struct sim *sim)
{
    const struct sim_ledger *ledger = &sim->ledger;
    uint32_t best[2] = {SESSIONS_MAX, SESSIONS_MAX}; /* Without a name, with one. */
    for (uint32_t i = 0; i < ledger->slot_count; i++) {
        const struct sim_stream *stream = &ledger->streams[ledger->slots[i]];
        uint32_t *slot = &best[stream->name_bytes > 0];
        const struct sim_stream *other =
            *slot == SESSIONS_MAX ? NULL : &ledger->streams[ledger->slots[*slot]];
        if (other == NULL || stream->used_index < other->used_index ||
            (stream->used_index == other->used_index && stream->session < other->session)) {
            *slot = i;
        }
    }
    return best[0] != SESSIONS_MAX ? best[0] : best[1];
}

static struct sim_stream *stream_begin(struct sim *sim, const struct session_register *body)
{
    struct sim_ledger *ledger = &sim->ledger;
    for (uint32_t i = 0; i < ledger->slot_count; i++) {
        const struct sim_stream *other = &ledger->streams[ledger->slots[i]];
        if (ledger_name_is(other, body->name, body->name_bytes) &&
            (body->name_bytes > 0 || owner_of(sim, other) == body->owner)) {
            sim_violation(sim, "sessions %" PRIu64 " and %" PRIu64 " have one name", other->session,
                          body->session);
        }
    }
    uint32_t slot = ledger->slot_count;
    if (slot == SESSIONS_MAX) {
        slot = slot_of_oldest(sim);
        ledger->streams[ledger->slots[slot]].gone = true;
        sim->totals->covers.evictions++;
        sim->totals->covers.named_evictions += ledger->streams[ledger->slots[slot]].name_bytes > 0;
    } else {
        ledger->slot_count++;
    }
    ASSERT(ledger->stream_count < SIM_STREAMS_MAX);
    ledger->slots[slot] = (uint16_t)ledger->stream_count;
    struct sim_stream *stream = &ledger->streams[ledger->stream_count++];
    ASSERT((stream - 1)->session < body->session);
    stream->session = body->session;
    stream->next_sequence = 1;
    stream->name_bytes = body->name_bytes;
    memcpy(stream->name, body->name, sizeof stream->name);
    sim->totals->covers.registrations++;
    return stream;
}

static struct sim_stream *stream_reopen(struct sim *sim, const struct session_register *body)
{
    struct sim_stream *stream = ledger_session(sim, body->session);
    if (stream == NULL || stream->gone || body->epoch != stream->epoch + 1 ||
        !ledger_name_is(stream, body->name, body->name_bytes) ||
        owner_of(sim, stream) == body->owner) {
        sim_violation(sim, "the log opens session %" PRIu64 " with epoch %u, which is none",
                      body->session, body->epoch);
    }
    sim->totals->covers.reopenings++;
    return stream;
}

static void register_apply(struct sim *sim, const uint8_t *entry, uint32_t payload_offset)
{
    struct sim_ledger *ledger = &sim->ledger;
    const struct entry_header *header = entry_header_of(entry);
    struct session_register body;
    entry_body_read(entry, payload_offset, &body, sizeof body);
    uint64_t number = body.owner & UINT32_MAX;
    const struct sim_incarnation *asker =
        number < ledger->incarnation_count ? &ledger->incarnations[number] : NULL;
    uint32_t asked = body.epoch - 1 < ASKED_MAX ? body.epoch - 1 : ASKED_MAX;
    if (asker == NULL || asker->owner != body.owner || (asker->asked >> asked & 1) == 0 ||
        asker->name_bytes != body.name_bytes ||
        memcmp(asker->name, body.name, sizeof body.name) != 0) {
        sim_violation(sim, "the log opens session %" PRIu64 " for a client that did not ask so",
                      body.session);
    }
    bool new = body.epoch == 1;
    if (new &&body.session != header->position + payload_offset - RECORD_HEADER_BYTES) {
        sim_violation(sim, "session %" PRIu64 " is not called after its place", body.session);
    }
    struct sim_stream *stream = new ? stream_begin(sim, &body) : stream_reopen(sim, &body);
    ASSERT(ledger->register_count < SIM_REGISTERS_MAX);
    ledger->registers[ledger->register_count] = (struct sim_register){
        .owner = body.owner,
        .next_sequence = stream->next_sequence,
        .epoch = body.epoch,
        .before = stream->newest,
    };
    stream->newest = ledger->register_count++;
    stream->epoch = body.epoch;
    stream->used_index = header->index;
}

/* The next number of a session has this fate: in the run before, where it follows it. */
static void run_extend(struct sim_stream *stream, const struct sim_run *run)
{
    struct sim_run *last = stream->run_count == 0 ? NULL : &stream->runs[stream->run_count - 1];
    if (last != NULL && !last->refused && !run->refused &&
        last->offset + last->count == run->offset) {
        last->count += run->count;
        return;
    }
    if (stream->run_count == SESSION_RUNS_MAX) {
        memmove(&stream->runs[0], &stream->runs[1],
                (SESSION_RUNS_MAX - 1) * sizeof stream->runs[0]);
        stream->run_count--;
    }
    stream->runs[stream->run_count++] = *run;
}

static struct sim_stream *
stream_of_record(struct sim *sim, uint64_t session, uint64_t sequence, const char *what)
{
    struct sim_stream *stream = ledger_stream(sim, session, sequence);
    if (stream == NULL || stream->gone) {
        sim_violation(sim, "the log %s a record of session %" PRIu64 ", which is not there", what,
                      session);
    }
    if (session != 0 && sequence != stream->next_sequence) {
        sim_violation(sim,
                      "the log %s record %" PRIu64 " of session %" PRIu64 " in place of %" PRIu64,
                      what, sequence, session, stream->next_sequence);
    }
    return stream;
}

static struct sim_record *
record_of(struct sim *sim, struct sim_stream *stream, uint64_t sequence, const char *what)
{
    struct sim_record *record = ledger_record(sim, stream, sequence);
    if (record == NULL) {
        sim_violation(sim, "the log %s a record that nobody sent", what);
    }
    if (record->fate != SIM_UNDECIDED) {
        sim_violation(sim, "the log %s a record at offset %" PRIu64 " that it had at %" PRIu64,
                      what, sim->offset_end, record->offset);
    }
    if (record->word == SIM_REFUSED_WORD) {
        sim_violation(sim, "a record that was refused is committed at offset %" PRIu64,
                      sim->offset_end);
    }
    if (record->epoch < stream->epoch) {
        sim_violation(sim,
                      "the log %s record %" PRIu64 " of session %" PRIu64
                      " in epoch %u, which only fenced writers had sent",
                      what, sequence, stream->session, stream->epoch);
    }
    return record;
}

static void condition_check(struct sim *sim, const struct sim_record *record, bool holds)
{
    bool lawful = record->many || (holds && record->anywhere);
    for (uint32_t i = 0; i < record->condition_count; i++) {
        lawful = lawful || (record->conditions[i] == sim->offset_end) == holds;
    }
    if (!lawful) {
        sim_violation(sim, "a record on condition of offset %" PRIu64 " is %s at offset %" PRIu64,
                      record->conditions[0], holds ? "appended" : "refused", sim->offset_end);
    }
    sim->totals->covers.conditions_held += holds && !record->anywhere;
}

static void append_apply(struct sim *sim,
                         const uint8_t *entry,
                         const struct record_header *header,
                         uint32_t payload_offset)
{
    static uint8_t payload[RECORD_BYTES_MAX];
    struct sim_stream *stream = stream_of_record(sim, header->session, header->sequence, "appends");
    struct sim_record *record = record_of(sim, stream, header->sequence, "appends");
    condition_check(sim, record, true);
    entry_body_read(entry, payload_offset, payload, header->bytes);
    if (header->bytes != record_bytes(sim, header->session, header->sequence) ||
        !record_is(sim->seed, header->session, header->sequence, payload, header->bytes)) {
        sim_violation(sim, "offset %" PRIu64 " holds other bytes than were sent", sim->offset_end);
    }
    ASSERT(sim->offset_end < SIM_OFFSETS_MAX);
    sim->offsets[sim->offset_end] = (struct sim_offset){header->session, header->sequence};
    record->fate = SIM_APPENDED;
    record->offset = sim->offset_end;
    if (header->session != 0) {
        run_extend(stream, &(struct sim_run){.offset = sim->offset_end, .count = 1});
        stream->next_sequence++;
        stream->used_index = entry_header_of(entry)->index;
    }
    sim->offset_end++;
}

static void refused_apply(struct sim *sim,
                          const uint8_t *entry,
                          const struct record_header *header,
                          uint32_t payload_offset)
{
    struct session_refused body;
    entry_body_read(entry, payload_offset, &body, sizeof body);
    if (body.tail_offset != sim->offset_end) {
        sim_violation(sim, "the log refuses a record for the tail %" PRIu64 ", which is %" PRIu64,
                      body.tail_offset, sim->offset_end);
    }
    struct sim_stream *stream = stream_of_record(sim, header->session, header->sequence, "refuses");
    for (uint32_t i = 0; i < body.count; i++) {
        struct sim_record *record = record_of(sim, stream, header->sequence + i, "refuses");
        if (i == 0) {
            condition_check(sim, record, false);
        }
        record->fate = SIM_REFUSED_RECORD;
        record->offset = body.tail_offset;
    }
    sim->totals->covers.conditions_failed++;
    if (header->session == 0) {
        return;
    }
    run_extend(stream,
               &(struct sim_run){.offset = body.tail_offset, .count = body.count, .refused = true});
    stream->next_sequence += body.count;
    stream->used_index = entry_header_of(entry)->index;
}

static uint8_t *put(uint8_t *to, const void *from, uint32_t bytes)
{
    memcpy(to, from, bytes);
    return to + bytes;
}

/* The bytes that every replica keeps (docs/STORAGE.md). */
static void table_encode(struct sim *sim)
{
    static uint8_t bytes[SIM_TABLE_BYTES_MAX];
    struct sim_ledger *ledger = &sim->ledger;
    uint64_t count = ledger->slot_count;
    uint8_t *to = put(bytes, &count, sizeof count);
    for (uint32_t i = 0; i < ledger->slot_count; i++) {
        const struct sim_stream *stream = &ledger->streams[ledger->slots[i]];
        const uint64_t words[] = {stream->session, owner_of(sim, stream), stream->next_sequence,
                                  stream->used_index};
        const uint8_t counts[4] = {stream->name_bytes, stream->run_count, 0, 0};
        to = put(to, words, sizeof words);
        to = put(to, &stream->epoch, sizeof stream->epoch);
        to = put(to, counts, sizeof counts);
        to = put(to, stream->name, SESSION_NAME_MAX);
        for (uint32_t run = 0; run < stream->run_count; run++) {
            const struct sim_run *at = &stream->runs[run];
            uint64_t offset = at->offset | (at->refused ? RUN_REFUSED_BIT : 0);
            to = put(to, &offset, sizeof offset);
            to = put(to, &at->count, sizeof at->count);
        }
    }
    ledger->table_bytes = (uint32_t)(to - bytes);
    ledger->table_crc = crc32c(0, bytes, ledger->table_bytes);
}

void ledger_apply(struct sim *sim, const uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    if (header->first_offset != sim->offset_end) {
        sim_violation(sim, "entry %" PRIu64 " begins at offset %" PRIu64 " instead of %" PRIu64,
                      header->index, header->first_offset, sim->offset_end);
    }
    uint32_t cursor = 0;
    struct record_header record;
    uint32_t payload_offset = 0;
    while (header->kind == ENTRY_CLIENT &&
           entry_record_next(entry, &cursor, &record, &payload_offset)) {
        switch ((enum record_kind)record.kind) {
        case RECORD_APPEND:
            append_apply(sim, entry, &record, payload_offset);
            break;
        case RECORD_REGISTER:
            register_apply(sim, entry, payload_offset);
            break;
        case RECORD_REFUSED:
            refused_apply(sim, entry, &record, payload_offset);
            break;
        case RECORD_KIND_COUNT:
            sim_violation(sim, "entry %" PRIu64 " holds a record of no kind", header->index);
        }
    }
    if (sim->offset_end != header->first_offset + header->record_count) {
        sim_violation(sim, "entry %" PRIu64 " does not hold its records", header->index);
    }
    sim->totals->covers.crowded_entries +=
        header->session_record_count + sim->swarm.records_max > ENTRY_SESSION_RECORDS_MAX;
    if (header->session_record_count > 0 || header->index == 1) {
        table_encode(sim);
    }
    sim->committed[header->index].table_crc = sim->ledger.table_crc;
}
