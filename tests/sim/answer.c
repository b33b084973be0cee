/* answer.c: what clients are told, held against the ledger.
 *
 * An answer is looked at when the poll that gave it is over: then everything that it knew to be
 * committed is applied. It may be old: what is held against it are things that never change.
 */
#include "tests/sim/sim.h"

#include <inttypes.h>

void answer_note(struct sim *sim, uint32_t node, uint32_t to, const struct wire_frame *frame)
{
    if (sim->told_count == SIM_TOLD_MAX) {
        sim_violation(sim, "node %u gives more answers in one poll than anybody asked", node + 1);
    }
    struct sim_told *told = &sim->told[sim->told_count++];
    *told = (struct sim_told){
        .node = node,
        .client = to - sim->swarm.node_count,
        .boot = frame->header.to_boot,
        .is_open = frame->header.kind == WIRE_OPEN_REPLY,
    };
    if (told->is_open) {
        told->open = frame->open_reply;
    } else {
        told->reply = frame->reply;
    }
}

static const struct sim_incarnation *asker_of(struct sim *sim, const struct sim_told *told)
{
    const struct sim_ledger *ledger = &sim->ledger;
    if (told->boot == 0 || told->boot >= ledger->incarnation_count ||
        ledger->incarnations[told->boot].client != told->client) {
        sim_violation(sim, "node %u answers a client that never was", told->node + 1);
    }
    return &ledger->incarnations[told->boot];
}

/* ---- Requests. ---- */

static void record_acked(struct sim *sim, struct sim_record *record, uint64_t offset)
{
    if (record->fate != SIM_APPENDED || record->offset != offset) {
        sim_violation(sim, "a client is told offset %" PRIu64 " of a record that is %s %" PRIu64,
                      offset,
                      record->fate == SIM_APPENDED ? "at" : "not in the log:", record->offset);
    }
    if (record->word == SIM_REFUSED_WORD) {
        sim_violation(sim, "a client is told offset %" PRIu64 " of a record that was refused",
                      offset);
    }
    record->word = SIM_OK;
}

static void record_refused(struct sim *sim, struct sim_record *record, uint64_t tail)
{
    if (record->fate != SIM_REFUSED_RECORD || record->offset != tail) {
        sim_violation(sim,
                      "a client is told that a record was refused at the tail %" PRIu64
                      "; the log %s it at %" PRIu64,
                      tail, record->fate == SIM_APPENDED ? "holds" : "refused", record->offset);
    }
}

/* Without a session: whatever is refused is so for ever, and a condition by the log's word. */
static void
plain_refused(struct sim *sim, struct sim_record *record, const struct wire_reply *reply)
{
    bool by_log = reply->status == WIRE_CONDITION;
    if (record->fate != (by_log ? SIM_REFUSED_RECORD : SIM_UNDECIDED)) {
        sim_violation(sim, "a client is told %s, and the log says otherwise, at offset %" PRIu64,
                      wire_status_name((enum wire_status)reply->status), record->offset);
    }
    sim->totals->covers.refused += record->word == SIM_NO_WORD;
    record->word = SIM_REFUSED_WORD;
}

/* The condition is the first record's. */
static void plain_condition_check(struct sim *sim,
                                  const struct sim_record *record,
                                  const struct wire_reply *reply)
{
    bool held = record->condition_count == 1 && record->conditions[0] == reply->detail;
    if (record->condition_count == 0 || held || reply->detail > sim->offset_end) {
        sim_violation(sim, "a client is told that the tail was %" PRIu64 " where it wanted another",
                      reply->detail);
    }
}

static void plain_check(struct sim *sim, const struct sim_told *told)
{
    const struct wire_reply *reply = &told->reply;
    switch ((enum wire_status)reply->status) {
    case WIRE_OK:
    case WIRE_BUSY:
    case WIRE_FULL:
    case WIRE_NOT_LEADER:
    case WIRE_CONDITION:
        break;
    default:
        sim_violation(sim, "a client without a session is told %s",
                      wire_status_name((enum wire_status)reply->status));
    }
    for (uint32_t i = 0; i < reply->record_count; i++) {
        uint64_t sequence = reply->first_sequence + i;
        struct sim_stream *stream = ledger_stream(sim, 0, sequence);
        struct sim_record *record = stream == NULL ? NULL : ledger_record(sim, stream, sequence);
        if (record == NULL || sequence >> SIM_NUMBER_SHIFT != told->client + 1) {
            sim_violation(sim, "a client gets an answer to a request that it never made");
        }
        if (reply->status == WIRE_CONDITION && i == 0) {
            plain_condition_check(sim, record, reply);
        }
        if (reply->status != WIRE_OK) {
            plain_refused(sim, record, reply);
            continue;
        }
        sim->totals->covers.acked += record->word == SIM_NO_WORD;
        record_acked(sim, record, reply->first_offset + i);
    }
}

/* Decided long ago, and its run is kept no more. */
static void forgotten_check(struct sim *sim, const struct sim_told *told, struct sim_stream *stream)
{
    const struct wire_reply *reply = &told->reply;
    uint64_t kept = stream->next_sequence;
    for (uint32_t i = 0; i < stream->run_count; i++) {
        kept -= stream->runs[i].count;
    }
    if (reply->first_sequence + reply->record_count > kept) {
        sim_violation(sim,
                      "session %" PRIu64 " has forgotten record %" PRIu64
                      ", and the log keeps those from %" PRIu64 " on",
                      reply->session, reply->first_sequence + reply->record_count - 1, kept);
    }
    for (uint32_t i = 0; i < reply->record_count; i++) {
        if (writer_waits_for(sim, (uint32_t)told->boot, reply->first_sequence + i)) {
            sim_violation(sim,
                          "session %" PRIu64 " has forgotten record %" PRIu64
                          ", which its writer waits for",
                          reply->session, reply->first_sequence + i);
        }
    }
    sim->totals->covers.forgotten++;
}

static void decided_check(struct sim *sim, const struct sim_told *told, struct sim_stream *stream)
{
    const struct wire_reply *reply = &told->reply;
    for (uint32_t i = 0; i < reply->record_count; i++) {
        struct sim_record *record = ledger_record(sim, stream, reply->first_sequence + i);
        if (record == NULL) {
            sim_violation(sim, "a client gets an answer to a record that it never sent");
        }
        if (reply->status == WIRE_OK) {
            sim->totals->covers.acked += !record->told;
            record_acked(sim, record, reply->first_offset + i);
        } else {
            sim->totals->covers.conditions_told += !record->told;
            record_refused(sim, record, reply->detail);
        }
        sim->totals->covers.repeats_answered += record->told;
        record->told = true;
    }
}

/* A later writer has the session, and goes on from the number told. */
static void fenced_check(struct sim *sim,
                         const struct sim_stream *stream,
                         uint32_t epoch,
                         uint64_t next_sequence)
{
    const struct sim_register *later = ledger_register(sim, stream, epoch + 1);
    if (later == NULL) {
        sim_violation(sim, "the newest writer of session %" PRIu64 " is fenced in epoch %u",
                      stream->session, epoch);
    }
    if (next_sequence < later->next_sequence || next_sequence > stream->next_sequence) {
        sim_violation(sim,
                      "a fenced writer is told that session %" PRIu64 " expects record %" PRIu64
                      "; the log says %" PRIu64 " to %" PRIu64,
                      stream->session, next_sequence, later->next_sequence, stream->next_sequence);
    }
    sim->totals->covers.fenced++;
}

static void session_check(struct sim *sim, const struct sim_told *told)
{
    const struct wire_reply *reply = &told->reply;
    const struct sim_incarnation *asker = asker_of(sim, told);
    struct sim_stream *stream = ledger_session(sim, reply->session);
    if (stream == NULL || asker->session != reply->session) {
        sim_violation(sim, "a client gets an answer of session %" PRIu64 ", which it never had",
                      reply->session);
    }
    switch ((enum wire_status)reply->status) {
    case WIRE_OK:
    case WIRE_CONDITION:
        decided_check(sim, told, stream);
        return;
    case WIRE_FORGOTTEN:
        forgotten_check(sim, told, stream);
        return;
    case WIRE_FENCED:
        fenced_check(sim, stream, asker->epoch, reply->detail);
        return;
    case WIRE_NO_SESSION:
        if (!stream->gone) {
            sim_violation(sim, "session %" PRIu64 " is said to be gone, and is not",
                          stream->session);
        }
        sim->totals->covers.no_session++;
        return;
    case WIRE_GAP: /* A hint of a tail that may be lost again. */
        if (reply->detail == 0 || reply->detail >= reply->first_sequence) {
            sim_violation(sim, "record %" PRIu64 " waits for record %" PRIu64,
                          reply->first_sequence, reply->detail);
        }
        sim->totals->covers.gaps++;
        return;
    case WIRE_BUSY:
    case WIRE_FULL:
    case WIRE_NOT_LEADER:
        return;
    case WIRE_TRIMMED:
    case WIRE_STATUS_COUNT:
        break;
    }
    sim_violation(sim, "a request is answered by %s",
                  wire_status_name((enum wire_status)reply->status));
}

/* ---- Openings. ---- */

static void opened_check(struct sim *sim,
                         const struct sim_incarnation *asker,
                         const struct wire_open_reply *reply)
{
    const struct sim_stream *stream = ledger_session(sim, reply->session);
    const struct sim_register *registered =
        stream == NULL ? NULL : ledger_register(sim, stream, reply->epoch);
    if (registered == NULL || registered->owner != asker->owner ||
        !ledger_name_is(stream, asker->name, asker->name_bytes)) {
        sim_violation(sim,
                      "a client is told that it has session %" PRIu64 " in epoch %u; the log says "
                      "otherwise",
                      reply->session, reply->epoch);
    }
    if (reply->next_sequence < registered->next_sequence ||
        reply->next_sequence > stream->next_sequence) {
        sim_violation(sim,
                      "a client is told to begin at record %" PRIu64 " of session %" PRIu64
                      "; the log says %" PRIu64 " to %" PRIu64,
                      reply->next_sequence, reply->session, registered->next_sequence,
                      stream->next_sequence);
    }
}

/* The session that stood in the way: of that name and epoch, and another's; or none any more. */
static void open_fenced_check(struct sim *sim,
                              const struct sim_incarnation *asker,
                              const struct wire_open_reply *reply)
{
    const struct sim_ledger *ledger = &sim->ledger;
    /* A leader that lost its office without knowing may tell of the time before the first one. */
    bool lawful = reply->epoch == 0 && asker->name_bytes > 0;
    for (uint32_t i = SIM_CLIENTS_MAX; i < ledger->stream_count && asker->name_bytes > 0; i++) {
        const struct sim_stream *stream = &ledger->streams[i];
        if (!ledger_name_is(stream, asker->name, asker->name_bytes)) {
            continue;
        }
        const struct sim_register *registered = ledger_register(sim, stream, reply->epoch);
        lawful = lawful || (registered != NULL && registered->owner != asker->owner);
    }
    if (!lawful) {
        sim_violation(sim, "a client is fenced by epoch %u, in which nobody has its session",
                      reply->epoch);
    }
    sim->totals->covers.openings_fenced++;
}

static void open_check(struct sim *sim, const struct sim_told *told)
{
    const struct sim_incarnation *asker = asker_of(sim, told);
    if (told->open.status == WIRE_OK) {
        opened_check(sim, asker, &told->open);
    } else if (told->open.status == WIRE_FENCED) {
        open_fenced_check(sim, asker, &told->open);
    }
}

void answers_check(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->told_count; i++) {
        const struct sim_told *told = &sim->told[i];
        if (told->is_open) {
            open_check(sim, told);
            continue;
        }
        sim->totals->replies[told->reply.status]++;
        if (told->reply.session != 0) {
            session_check(sim, told);
        } else {
            plain_check(sim, told);
        }
    }
    sim->told_count = 0;
}
