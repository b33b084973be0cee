/* writer.c: clients that write under a session: open it, send, send again until they are told, and
 * live several lives.
 *
 * Requests under way are SESSION_REQUESTS_MAX at most, counted from the oldest without an answer,
 * and keep their boundaries when they come again. A new life takes the session of its name from the
 * one before, goes on behind it or begins below, with boundaries of its own; of the life before
 * frames may still come.
 */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BACK_MAX      64u  /* How far below its next number a life begins ... */
#define BACK_ALL_MAX  300u /* ... or at the first, if those are few. */
#define HERD_MAX      24u
#define LOST_EVENTS   16u /* Of a client that lost its session, until it lives again. */
#define NAME_TEXT_MAX (SESSION_NAME_MAX + 1u)

_Static_assert(SIM_REQUESTS >= 2 * SESSION_REQUESTS_MAX, "answered requests are remembered");

void writer_begin(struct sim *sim, uint32_t number)
{
    sim->clients[number].writer = (struct sim_writer){.phase = SIM_NO_WRITER};
    sim->clients[number].ghost = (struct sim_writer){.phase = SIM_NO_WRITER};
}

static struct sim_incarnation *incarnation_of(struct sim *sim, const struct sim_writer *writer)
{
    return &sim->ledger.incarnations[writer->incarnation];
}

static struct sim_request *request_at(struct sim_writer *writer, uint64_t number)
{
    return &writer->requests[number % SIM_REQUESTS];
}

/* Now and then everybody is asked at once. */
static uint32_t target_of(struct sim *sim, uint32_t number)
{
    if (!sim_happens(&sim->random_client, sim->swarm.all_ppm)) {
        return sim->clients[number].target;
    }
    sim->totals->covers.sent_to_all++;
    return sim->swarm.node_count;
}

/* ---- Opening. ---- */

static void open_send(struct sim *sim, uint32_t number, const struct sim_writer *writer)
{
    const struct sim_incarnation *incarnation = incarnation_of(sim, writer);
    struct wire_frame frame = {.header = {.kind = WIRE_OPEN}};
    frame.open.epoch = writer->asked_epoch;
    frame.open.name_bytes = incarnation->name_bytes;
    memcpy(frame.open.name, incarnation->name, sizeof frame.open.name);
    ledger_ask(sim, writer->incarnation, writer->asked_epoch);
    client_tell(sim, number, writer->incarnation, &frame, target_of(sim, number));
}

static void life_begin(struct sim *sim, uint32_t number)
{
    struct sim_client *client = &sim->clients[number];
    struct prng *prng = &sim->random_client;
    char name[NAME_TEXT_MAX] = "";
    if (!sim_happens(prng, sim->swarm.anonymous_ppm)) {
        uint32_t which =
            sim->swarm.names == 0 ? 100 + number : (uint32_t)prng_below(prng, sim->swarm.names);
        snprintf(name, sizeof name, "session %u", which);
    }
    if (client->writer.phase != SIM_NO_WRITER) {
        client->ghost = client->writer;
    }
    client->writer = (struct sim_writer){
        .phase = SIM_OPENING,
        .incarnation = ledger_incarnate(sim, number, (const uint8_t *)name, (uint32_t)strlen(name)),
        .sent_ns = sim->now_ns,
    };
    sim->totals->covers.incarnations++;
    SIM_TRACE(sim, "client %u: life %u begins as '%s'", number, client->writer.incarnation, name);
    open_send(sim, number, &client->writer);
}

/* Lives that open a session and are never heard of again. */
static void herd_send(struct sim *sim, uint32_t number)
{
    uint64_t count = prng_between(&sim->random_client, 1, HERD_MAX);
    for (uint64_t i = 0; i < count; i++) {
        char name[NAME_TEXT_MAX] = "";
        if (sim->swarm.herd_named) {
            snprintf(name, sizeof name, "herd %u", sim->ledger.incarnation_count);
        }
        struct sim_writer passing = {
            .incarnation =
                ledger_incarnate(sim, number, (const uint8_t *)name, (uint32_t)strlen(name)),
        };
        open_send(sim, number, &passing);
    }
}

static void opened(struct sim *sim, struct sim_writer *writer, const struct wire_open_reply *reply)
{
    struct prng *prng = &sim->random_client;
    struct sim_incarnation *incarnation = incarnation_of(sim, writer);
    incarnation->session = reply->session;
    incarnation->epoch = reply->epoch;
    writer->phase = SIM_WRITING;
    writer->open_sequence = reply->next_sequence;
    writer->next_sequence = reply->next_sequence;
    if (sim_happens(prng, sim->swarm.back_ppm)) {
        uint64_t back = prng_below(prng, 2) == 0 ? BACK_ALL_MAX : prng_below(prng, BACK_MAX);
        writer->next_sequence = reply->next_sequence > back ? reply->next_sequence - back : 1;
    }
}

static void
open_take(struct sim *sim, struct sim_writer *writer, const struct wire_open_reply *reply)
{
    if (writer->phase != SIM_OPENING) {
        return;
    }
    if (reply->status == WIRE_OK) {
        opened(sim, writer, reply);
    } else if (reply->status == WIRE_FENCED) {
        writer->asked_epoch = reply->epoch;
        writer->sent_ns = 0;
    } else if (reply->status == WIRE_NOT_LEADER) {
        writer->sent_ns = 0;
    }
}

/* ---- Writing. ---- */

static void request_send(struct sim *sim,
                         uint32_t number,
                         struct sim_writer *writer,
                         struct sim_request *request)
{
    const struct sim_incarnation *incarnation = incarnation_of(sim, writer);
    struct sim_ask ask = {
        .session = incarnation->session,
        .first = request->first,
        .expected_offset = request->expected_offset,
        .incarnation = writer->incarnation,
        .epoch = incarnation->epoch,
        .count = request->count,
        .conditional = request->conditional,
    };
    request->sent_ns = sim->now_ns;
    SIM_TRACE(sim, "client %u: life %u sends %u records from %" PRIu64, number, writer->incarnation,
              request->count, request->first);
    client_ask(sim, number, &ask, target_of(sim, number));
}

static bool due_send(struct sim *sim, uint32_t number, struct sim_writer *writer)
{
    bool any = false;
    for (uint64_t i = writer->head; i < writer->tail; i++) {
        struct sim_request *request = request_at(writer, i);
        if (request->unanswered != 0 && sim->now_ns >= request->sent_ns + sim->swarm.retry_ns) {
            request_send(sim, number, writer, request);
            any = true;
        }
    }
    return any;
}

/* One of those that are remembered, answered or not. */
static void again_send(struct sim *sim, uint32_t number, struct sim_writer *writer, uint64_t end)
{
    uint64_t begin = writer->tail > SIM_REQUESTS ? writer->tail - SIM_REQUESTS : 0;
    if (begin < end) {
        uint64_t at = begin + prng_below(&sim->random_client, end - begin);
        struct sim_request again = *request_at(writer, at);
        request_send(sim, number, writer, &again);
    }
}

/* Where the next record will go, if nobody else writes. */
static uint64_t guess_offset(const struct sim *sim, struct sim_writer *writer)
{
    uint64_t offset = sim->offset_end;
    for (uint64_t i = writer->head; i < writer->tail; i++) {
        offset += (uint64_t)__builtin_popcountll(request_at(writer, i)->unanswered);
    }
    return offset;
}

static void new_send(struct sim *sim, uint32_t number, struct sim_writer *writer)
{
    struct prng *prng = &sim->random_client;
    uint32_t count = (uint32_t)prng_between(prng, sim->swarm.records_min, sim->swarm.records_max);
    uint64_t session = incarnation_of(sim, writer)->session;
    struct sim_request request = {
        .first = writer->next_sequence,
        .count = client_fit(sim, session, writer->next_sequence, count),
        .conditional = sim_happens(prng, sim->swarm.condition_ppm),
    };
    if (request.conditional) {
        bool right = prng_below(prng, 3) > 0;
        request.expected_offset =
            right ? guess_offset(sim, writer) : prng_below(prng, sim->offset_end + 2);
    }
    request.unanswered = (1ull << request.count) - 1;
    writer->next_sequence += request.count;
    sim->totals->covers.large_records +=
        record_bytes(sim, session, request.first) > sim->swarm.small_max;
    struct sim_request *slot = request_at(writer, writer->tail++);
    *slot = request;
    request_send(sim, number, writer, slot);
}

static void write(struct sim *sim, uint32_t number, struct sim_writer *writer)
{
    if (due_send(sim, number, writer) || sim->calm) {
        return;
    }
    if (sim_happens(&sim->random_client, sim->swarm.again_ppm)) {
        sim->totals->covers.sent_again++;
        again_send(sim, number, writer, writer->head);
        return;
    }
    if (writer->tail - writer->head < SESSION_REQUESTS_MAX &&
        writer->next_sequence + REQUEST_RECORDS_MAX < SIM_STREAM_RECORDS) {
        new_send(sim, number, writer);
    }
}

static void ghost_act(struct sim *sim, uint32_t number, struct sim_writer *ghost)
{
    sim->totals->covers.late_writers++;
    if (ghost->phase == SIM_OPENING) {
        open_send(sim, number, ghost);
    } else {
        again_send(sim, number, ghost, ghost->tail);
    }
}

/* True when the life goes on. */
static bool live(struct sim *sim, uint32_t number)
{
    struct sim_client *client = &sim->clients[number];
    struct prng *prng = &sim->random_client;
    if (client->ghost.phase != SIM_NO_WRITER && sim_happens(prng, sim->swarm.ghost_ppm)) {
        ghost_act(sim, number, &client->ghost);
        return false;
    }
    if (sim_happens(prng, sim->swarm.herd_ppm)) {
        herd_send(sim, number);
        return false;
    }
    bool lost = client->writer.phase == SIM_LOST && prng_below(prng, LOST_EVENTS) == 0;
    bool first = client->writer.phase == SIM_NO_WRITER;
    if (lost || first || sim_happens(prng, sim->swarm.restart_ppm)) {
        life_begin(sim, number);
        return false;
    }
    return true;
}

void writer_act(struct sim *sim, uint32_t number)
{
    struct sim_writer *writer = &sim->clients[number].writer;
    if (!sim->calm && !live(sim, number)) {
        return;
    }
    switch (writer->phase) {
    case SIM_NO_WRITER:
    case SIM_LOST:
        return;
    case SIM_OPENING:
        if (sim->now_ns >= writer->sent_ns + sim->swarm.retry_ns) {
            writer->sent_ns = sim->now_ns;
            open_send(sim, number, writer);
        }
        return;
    case SIM_WRITING:
        write(sim, number, writer);
        return;
    }
}

/* ---- Answers. ---- */

/* Records have a definite answer. */
static void answered(struct sim_writer *writer, const struct wire_reply *reply)
{
    uint64_t end = reply->first_sequence + reply->record_count;
    for (uint64_t i = writer->head; i < writer->tail; i++) {
        struct sim_request *request = request_at(writer, i);
        for (uint32_t k = 0; k < request->count; k++) {
            uint64_t sequence = request->first + k;
            if (sequence >= reply->first_sequence && sequence < end) {
                request->unanswered &= ~(1ull << k);
            }
        }
    }
    while (writer->head < writer->tail && request_at(writer, writer->head)->unanswered == 0) {
        writer->head++;
    }
}

/* What was not taken goes again at the next occasion. */
static void hurry(struct sim_writer *writer)
{
    for (uint64_t i = writer->head; i < writer->tail; i++) {
        request_at(writer, i)->sent_ns = 0;
    }
}

static void reply_take(struct sim *sim, struct sim_writer *writer, const struct wire_reply *reply)
{
    if (writer->phase != SIM_WRITING) {
        return;
    }
    switch ((enum wire_status)reply->status) {
    case WIRE_OK:
    case WIRE_CONDITION:
    case WIRE_FORGOTTEN:
        answered(writer, reply);
        return;
    case WIRE_FENCED:
    case WIRE_NO_SESSION:
        SIM_TRACE(sim, "life %u has lost its session", writer->incarnation);
        writer->phase = SIM_LOST;
        return;
    case WIRE_GAP:
    case WIRE_NOT_LEADER:
        hurry(writer);
        return;
    case WIRE_BUSY:
    case WIRE_FULL:
    case WIRE_TRIMMED:
    case WIRE_STATUS_COUNT:
        return;
    }
}

void writer_take(struct sim *sim, uint32_t number, const struct wire_frame *frame)
{
    struct sim_writer *writer = &sim->clients[number].writer;
    if (writer->phase == SIM_NO_WRITER || frame->header.to_boot != writer->incarnation) {
        return;
    }
    if (frame->header.kind == WIRE_OPEN_REPLY) {
        open_take(sim, writer, &frame->open_reply);
    } else if (frame->header.kind == WIRE_REPLY) {
        reply_take(sim, writer, &frame->reply);
    }
}

bool writer_is_settled(const struct sim_writer *writer)
{
    return writer->phase != SIM_OPENING &&
           (writer->phase != SIM_WRITING || writer->head == writer->tail);
}

bool writer_waits_for(const struct sim *sim, uint32_t incarnation, uint64_t sequence)
{
    uint32_t number = sim->ledger.incarnations[incarnation].client;
    const struct sim_writer *writer = &sim->clients[number].writer;
    if (writer->incarnation != incarnation || writer->phase != SIM_WRITING ||
        sequence < writer->open_sequence) {
        return false;
    }
    for (uint64_t i = writer->head; i < writer->tail; i++) {
        const struct sim_request *request = &writer->requests[i % SIM_REQUESTS];
        uint64_t at = sequence - request->first;
        if (sequence >= request->first && at < request->count &&
            (request->unanswered >> at & 1) != 0) {
            return true;
        }
    }
    return false;
}

void writer_print(const struct sim *sim, uint32_t number)
{
    const struct sim_writer *writer = &sim->clients[number].writer;
    const struct sim_request *oldest = &writer->requests[writer->head % SIM_REQUESTS];
    fprintf(stderr,
            "  client %u: phase %d, life %u, %" PRIu64
            " requests under way, oldest from record %" PRIu64 "\n",
            number, (int)writer->phase, writer->incarnation, writer->tail - writer->head,
            oldest->first);
}
