/* session.c: see session.h.
 *
 * Invariant: `tail` is `committed` with every note applied in turn.
 */
#include "engine/session.h"

#include <string.h>

/* A client entry lies at most UNCOMMITTED_CLIENT_MAX above what is committed, so that many entries
 * have notes at once, and the one that is open. */
#define NOTES_MAX (2u * UNCOMMITTED_CLIENT_MAX * ENTRY_SESSION_RECORDS_MAX)

#define RUN_COUNT_MAX   0x7fffffffu
#define RUN_REFUSED_BIT (1ull << 63)
#define NUMBER_LIMIT    (1ull << 63)

_Static_assert((NOTES_MAX & (NOTES_MAX - 1)) == 0, "note = number & (max - 1)");
_Static_assert(SESSIONS_BYTES_MAX <= STATE_BYTES - PAGE_BYTES - 1024, "a small state holds all");

uint64_t sessions_memory_bytes(void)
{
    return 2 * sizeof(struct session_table) + NOTES_MAX * sizeof(struct session_note) + 256;
}

void sessions_init(struct sessions *sessions, struct mem *mem)
{
    *sessions = (struct sessions){0};
    struct session_table *tables = mem_take(mem, "sessions", 2, sizeof(struct session_table), 64);
    sessions->committed = &tables[0];
    sessions->tail = &tables[1];
    sessions->notes = mem_take(mem, "session notes", NOTES_MAX, sizeof(struct session_note), 64);
}

/* ---- One table. ---- */

static struct session *table_find(struct session_table *table, uint64_t id)
{
    for (uint32_t i = 0; i < table->count; i++) {
        if (table->ids[i] == id) {
            return &table->slots[i];
        }
    }
    return NULL;
}

static bool name_is(const struct session *session, const uint8_t *name, uint32_t name_bytes)
{
    return session->name_bytes == name_bytes &&
           (name_bytes == 0 || memcmp(session->name, name, name_bytes) == 0);
}

/* `a` gives way before `b`: those without a name first, then what was unused for longest. */
static bool gives_way(const struct session *a, const struct session *b)
{
    if ((a->name_bytes == 0) != (b->name_bytes == 0)) {
        return a->name_bytes == 0;
    }
    return a->used_index != b->used_index ? a->used_index < b->used_index : a->id < b->id;
}

static uint32_t table_free_slot(struct session_table *table)
{
    if (table->count < SESSIONS_MAX) {
        return table->count++;
    }
    uint32_t slot = 0;
    for (uint32_t i = 1; i < SESSIONS_MAX; i++) {
        slot = gives_way(&table->slots[i], &table->slots[slot]) ? i : slot;
    }
    return slot;
}

/* False: the note is not of a sound leader, and changes nothing. */
static bool table_register(struct session_table *table, const struct session_note *note)
{
    struct session *session = table_find(table, note->session);
    if (session != NULL) {
        if (note->epoch != session->epoch + 1 || !name_is(session, note->name, note->name_bytes)) {
            return false;
        }
        session->owner = note->owner;
        session->epoch = note->epoch;
        session->used_index = note->index;
        return true;
    }
    if (note->epoch != 1) {
        return false;
    }
    uint32_t slot = table_free_slot(table);
    table->ids[slot] = note->session;
    session = &table->slots[slot];
    memset(session, 0, sizeof *session);
    session->id = note->session;
    session->owner = note->owner;
    session->next_sequence = 1;
    session->used_index = note->index;
    session->epoch = 1;
    session->name_bytes = note->name_bytes;
    memcpy(session->name, note->name, SESSION_NAME_MAX);
    return true;
}

static void session_push_run(struct session *session, const struct session_run *run)
{
    if (session->run_count == SESSION_RUNS_MAX) {
        memmove(&session->runs[0], &session->runs[1],
                (SESSION_RUNS_MAX - 1) * sizeof session->runs[0]);
        session->run_count--;
    }
    session->runs[session->run_count++] = *run;
}

/* Runs are as long as they can be, however the records came: the same on every replica. */
static void session_extend(struct session *session, uint64_t offset, uint32_t count, bool refused)
{
    struct session_run *last =
        session->run_count == 0 ? NULL : &session->runs[session->run_count - 1];
    if (last != NULL && !refused && !last->refused && last->offset + last->count == offset) {
        uint32_t room = RUN_COUNT_MAX - last->count;
        uint32_t more = count < room ? count : room;
        last->count += more;
        offset += more;
        count -= more;
    }
    if (count > 0) {
        struct session_run run = {.offset = offset, .count = count, .refused = refused};
        session_push_run(session, &run);
    }
}

static bool table_apply(struct session_table *table, const struct session_note *note)
{
    if (note->kind == RECORD_REGISTER) {
        return table_register(table, note);
    }
    struct session *session = table_find(table, note->session);
    if (session == NULL || session->next_sequence != note->sequence) {
        return false;
    }
    session_extend(session, note->offset, note->count, note->kind == RECORD_REFUSED);
    session->next_sequence += note->count;
    session->used_index = note->index;
    return true;
}

/* ---- Notes. ---- */

static struct session_note *note_at(const struct sessions *sessions, uint64_t number)
{
    return &sessions->notes[number & (NOTES_MAX - 1)];
}

void sessions_take(struct sessions *sessions, const struct session_note *note)
{
    ASSERT(sessions->note_tail - sessions->note_head < NOTES_MAX);
    ASSERT(sessions->note_tail == sessions->note_head ||
           note_at(sessions, sessions->note_tail - 1)->index <= note->index);
    *note_at(sessions, sessions->note_tail++) = *note;
    sessions->void_notes += !table_apply(sessions->tail, note);
}

/* The note of a record that is no append. */
static void note_read(struct session_note *note,
                      const uint8_t *entry,
                      const struct record_header *record,
                      uint32_t payload_offset)
{
    if (record->kind == RECORD_REGISTER) {
        struct session_register body;
        ASSERT(record->bytes == sizeof body);
        entry_body_read(entry, payload_offset, &body, sizeof body);
        note->session = body.session;
        note->owner = body.owner;
        note->epoch = body.epoch;
        note->name_bytes = body.name_bytes;
        memcpy(note->name, body.name, sizeof note->name);
        return;
    }
    ASSERT(record->kind == RECORD_REFUSED);
    struct session_refused body;
    ASSERT(record->bytes == sizeof body);
    entry_body_read(entry, payload_offset, &body, sizeof body);
    note->sequence = record->sequence;
    note->offset = body.tail_offset;
    note->count = body.count;
}

void sessions_append(struct sessions *sessions, const uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    sessions_cut(sessions, header->index - 1); /* What a leader that is none any more had open. */
    if (header->session_record_count == 0) {
        return;
    }
    struct session_note note = {.count = 0};
    struct record_header record;
    uint64_t offset = header->first_offset;
    uint32_t cursor = 0;
    uint32_t payload_offset;
    while (entry_record_next(entry, &cursor, &record, &payload_offset)) {
        bool append = record.kind == RECORD_APPEND;
        bool follows = append && note.count > 0 && note.session == record.session &&
                       note.sequence + note.count == record.sequence &&
                       note.offset + note.count == offset;
        if (!follows && note.count > 0) {
            sessions_take(sessions, &note);
            note.count = 0;
        }
        if (append && record.session != 0) {
            if (!follows) {
                note = (struct session_note){.index = header->index,
                                             .session = record.session,
                                             .sequence = record.sequence,
                                             .offset = offset};
            }
            note.count++;
        } else if (!append && (record.kind == RECORD_REGISTER || record.session != 0)) {
            struct session_note other = {
                .index = header->index, .session = record.session, .kind = record.kind};
            note_read(&other, entry, &record, payload_offset);
            sessions_take(sessions, &other);
        }
        offset += append;
    }
    if (note.count > 0) {
        sessions_take(sessions, &note);
    }
}

void sessions_cut(struct sessions *sessions, uint64_t keep)
{
    uint64_t end = sessions->note_tail;
    while (end > sessions->note_head && note_at(sessions, end - 1)->index > keep) {
        end--;
    }
    if (end == sessions->note_tail) {
        return;
    }
    sessions->note_tail = end;
    sessions->tails_rebuilt++;
    memcpy(sessions->tail, sessions->committed, sizeof *sessions->tail);
    for (uint64_t i = sessions->note_head; i < end; i++) {
        (void)table_apply(sessions->tail, note_at(sessions, i)); /* Counted when it was noted. */
    }
}

void sessions_commit(struct sessions *sessions, uint64_t index)
{
    while (sessions->note_head < sessions->note_tail) {
        const struct session_note *note = note_at(sessions, sessions->note_head);
        if (note->index > index) {
            break;
        }
        (void)table_apply(sessions->committed, note);
        sessions->note_head++;
    }
}

/* ---- Decisions. ---- */

struct session_decision sessions_decide(const struct sessions *sessions,
                                        const struct session_claim *claim)
{
    ASSERT(claim->count > 0);
    struct session_decision decision = {.verdict = SESSION_UNKNOWN, .count = claim->count};
    const struct session *session = table_find(sessions->tail, claim->session);
    if (session == NULL) {
        return decision;
    }
    if (claim->epoch > session->epoch) {
        decision.verdict = SESSION_AHEAD;
        return decision;
    }
    decision.next_sequence = session->next_sequence;
    if (claim->epoch < session->epoch) {
        decision.verdict = SESSION_FENCED;
        return decision;
    }
    if (claim->sequence >= session->next_sequence) {
        decision.verdict = claim->sequence == session->next_sequence ? SESSION_NEW : SESSION_GAP;
        return decision;
    }
    uint64_t first = session->next_sequence;
    uint32_t run = session->run_count;
    while (run > 0 && first > claim->sequence) {
        first -= session->runs[--run].count;
    }
    uint64_t end = first; /* Of those that are forgotten. */
    decision.verdict = SESSION_FORGOTTEN;
    if (first <= claim->sequence) {
        const struct session_run *at = &session->runs[run];
        uint64_t into = claim->sequence - first;
        end = first + at->count;
        decision.verdict = at->refused ? SESSION_REFUSED : SESSION_OLD;
        decision.offset = at->refused ? at->offset : at->offset + into;
    }
    uint64_t left = end - claim->sequence;
    decision.count = left < claim->count ? (uint32_t)left : claim->count;
    ASSERT(decision.count > 0);
    return decision;
}

const struct session *sessions_named(const struct sessions *sessions,
                                     const uint8_t *name,
                                     uint32_t name_bytes,
                                     uint64_t owner)
{
    const struct session_table *table = sessions->tail;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct session *session = &table->slots[i];
        if (name_is(session, name, name_bytes) && (name_bytes > 0 || session->owner == owner)) {
            return session;
        }
    }
    return NULL;
}

/* ---- Bytes. ---- */

static bool all_zero(const uint8_t *bytes, uint32_t count)
{
    uint8_t any = 0;
    for (uint32_t i = 0; i < count; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

static const char *
register_check(const uint8_t *entry, const struct record_header *record, uint32_t payload_offset)
{
    struct session_register body;
    if (record->bytes != sizeof body || record->session != 0) {
        return "a registration of another length";
    }
    entry_body_read(entry, payload_offset, &body, sizeof body);
    uint64_t place =
        entry_header_of(entry)->position + payload_offset - (uint32_t)sizeof(struct record_header);
    bool named = body.name_bytes <= SESSION_NAME_MAX &&
                 all_zero(body.name + body.name_bytes, SESSION_NAME_MAX - body.name_bytes);
    bool placed = body.epoch == 1 ? body.session == place : body.session < place;
    bool sound = named && placed && body.session != 0 && body.owner != 0 && body.epoch != 0 &&
                 all_zero(body.reserved, sizeof body.reserved);
    return sound ? NULL : "a registration of no session";
}

static const char *
refused_check(const uint8_t *entry, const struct record_header *record, uint32_t payload_offset)
{
    struct session_refused body;
    if (record->bytes != sizeof body) {
        return "a refusal of another length";
    }
    entry_body_read(entry, payload_offset, &body, sizeof body);
    bool sound = body.count > 0 && body.count <= REQUEST_RECORDS_MAX && body.reserved == 0 &&
                 body.tail_offset < NUMBER_LIMIT;
    return sound ? NULL : "a refusal of nothing";
}

const char *sessions_check(const uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    if (header->session_record_count == 0) {
        return NULL;
    }
    struct record_header record;
    uint32_t cursor = 0;
    uint32_t payload_offset;
    while (entry_record_next(entry, &cursor, &record, &payload_offset)) {
        const char *wrong = NULL;
        if (record.sequence >= NUMBER_LIMIT) {
            wrong = "a record with an absurd number";
        } else if (record.kind == RECORD_REGISTER) {
            wrong = register_check(entry, &record, payload_offset);
        } else if (record.kind == RECORD_REFUSED) {
            wrong = refused_check(entry, &record, payload_offset);
        }
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}

static uint8_t *put(uint8_t *to, const void *from, uint32_t bytes)
{
    memcpy(to, from, bytes);
    return to + bytes;
}

uint32_t sessions_encode(const struct sessions *sessions, uint8_t *bytes)
{
    const struct session_table *table = sessions->committed;
    uint64_t count = table->count;
    uint8_t *to = put(bytes, &count, sizeof count);
    for (uint32_t i = 0; i < table->count; i++) {
        const struct session *session = &table->slots[i];
        const uint8_t counts[4] = {session->name_bytes, session->run_count, 0, 0};
        to = put(to, &session->id, sizeof session->id);
        to = put(to, &session->owner, sizeof session->owner);
        to = put(to, &session->next_sequence, sizeof session->next_sequence);
        to = put(to, &session->used_index, sizeof session->used_index);
        to = put(to, &session->epoch, sizeof session->epoch);
        to = put(to, counts, sizeof counts);
        to = put(to, session->name, SESSION_NAME_MAX);
        for (uint32_t run = 0; run < session->run_count; run++) {
            const struct session_run *at = &session->runs[run];
            uint64_t offset = at->offset | (at->refused ? RUN_REFUSED_BIT : 0);
            to = put(to, &offset, sizeof offset);
            to = put(to, &at->count, sizeof at->count);
        }
    }
    ASSERT(to <= bytes + SESSIONS_BYTES_MAX);
    return (uint32_t)(to - bytes);
}

/* What is left to decode. */
struct reading {
    const uint8_t *at;
    uint32_t left;
    bool bad;
};

static void get(struct reading *reading, void *to, uint32_t bytes)
{
    if (reading->left < bytes) {
        reading->bad = true;
        memset(to, 0, bytes);
        return;
    }
    memcpy(to, reading->at, bytes);
    reading->at += bytes;
    reading->left -= bytes;
}

static bool session_decode(struct reading *reading, struct session *session)
{
    uint8_t counts[4];
    uint64_t kept = 0;
    get(reading, &session->id, sizeof session->id);
    get(reading, &session->owner, sizeof session->owner);
    get(reading, &session->next_sequence, sizeof session->next_sequence);
    get(reading, &session->used_index, sizeof session->used_index);
    get(reading, &session->epoch, sizeof session->epoch);
    get(reading, counts, sizeof counts);
    get(reading, session->name, SESSION_NAME_MAX);
    session->name_bytes = counts[0];
    session->run_count = counts[1];
    if (reading->bad || session->name_bytes > SESSION_NAME_MAX ||
        session->run_count > SESSION_RUNS_MAX) {
        return false;
    }
    for (uint32_t run = 0; run < session->run_count; run++) {
        struct session_run *to = &session->runs[run];
        get(reading, &to->offset, sizeof to->offset);
        get(reading, &to->count, sizeof to->count);
        to->refused = (to->offset & RUN_REFUSED_BIT) != 0;
        to->offset &= ~RUN_REFUSED_BIT;
        kept += to->count;
    }
    return !reading->bad && session->id != 0 && session->epoch != 0 &&
           kept < session->next_sequence && session->next_sequence < NUMBER_LIMIT;
}

bool sessions_begin(struct sessions *sessions, const uint8_t *bytes, uint32_t count)
{
    struct session_table *table = sessions->committed;
    struct reading reading = {.at = bytes, .left = count};
    memset(table, 0, sizeof *table);
    sessions->note_head = 0;
    sessions->note_tail = 0;
    sessions->void_notes = 0;
    uint64_t wanted = 0;
    if (count > 0) {
        get(&reading, &wanted, sizeof wanted);
    }
    if (reading.bad || wanted > SESSIONS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < wanted; i++) {
        if (!session_decode(&reading, &table->slots[i])) {
            return false;
        }
        table->ids[i] = table->slots[i].id;
        table->count++;
    }
    memcpy(sessions->tail, table, sizeof *table);
    return reading.left == 0;
}
