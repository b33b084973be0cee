/* session_model.c: see session_model.h. */
#include "tests/support/session_model.h"

#include <stdlib.h>
#include <string.h>

#define MODEL_STORE 9u

static bool
loses(void *context, struct nic_address from, struct nic_address to, const uint8_t *data)
{
    struct session_model *model = context;
    (void)from;
    (void)to;
    (void)data;
    return prng_chance(&model->prng, model->lose_ppm);
}

struct session_model *session_model_open(uint32_t frame_bytes_max, uint64_t seed)
{
    struct session_model *model = calloc(1, sizeof *model);
    ASSERT(model != NULL);
    loop_net_open(&model->net, SESSION_MODEL_NODES + SESSION_MODEL_CLIENTS, frame_bytes_max);
    prng_init(&model->prng, seed);
    prng_init(&model->net.prng, seed + 1);
    model->net.lose = loses;
    model->net.context = model;
    model->leader = 1;
    model->commits = true;
    model->keeps = UINT64_MAX;
    return model;
}

void session_model_close(struct session_model *model)
{
    loop_net_close(&model->net);
    for (uint32_t i = 0; i < model->log_count; i++) {
        free(model->log[i].payload);
    }
    for (uint32_t i = 0; i < SESSION_MODEL_MAX; i++) {
        free(model->sessions[i].places);
    }
    free(model);
}

struct nic *session_model_nic(struct session_model *model, uint32_t client)
{
    ASSERT(client < SESSION_MODEL_CLIENTS);
    return &model->net.ports[SESSION_MODEL_NODES + client].nic;
}

struct client_config session_model_client(uint64_t id)
{
    struct client_config config = {
        .cluster = SESSION_MODEL_CLUSTER,
        .id = id,
        .node_count = SESSION_MODEL_NODES,
        .outstanding_max = 1,
        .timeout_ns = 1000000000,
        .seed = id,
    };
    for (uint32_t i = 0; i < SESSION_MODEL_NODES; i++) {
        config.nodes[i] =
            (struct client_node){(uint8_t)(i + 1), {.ipv4 = 0x0a000001 + i, .port = 7000}};
    }
    return config;
}

/* ---- The log, and the table that follows from it. ---- */

static struct model_session *session_by_id(struct session_model *model, uint64_t id)
{
    for (uint32_t i = 0; i < model->session_count; i++) {
        if (model->sessions[i].id == id && !model->sessions[i].gone) {
            return &model->sessions[i];
        }
    }
    return NULL;
}

static struct model_session *
session_by_name(struct session_model *model, const struct wire_open *open, uint64_t owner)
{
    for (uint32_t i = 0; i < model->session_count; i++) {
        struct model_session *session = &model->sessions[i];
        bool same = session->name_bytes == open->name_bytes &&
                    memcmp(session->name, open->name, open->name_bytes) == 0;
        if (!session->gone && same && (open->name_bytes > 0 || session->owner == owner)) {
            return session;
        }
    }
    return NULL;
}

static struct model_session *session_make(struct session_model *model,
                                          const struct model_entry *entry)
{
    ASSERT(model->session_count < SESSION_MODEL_MAX);
    struct model_session *session = &model->sessions[model->session_count++];
    uint32_t *places = session->places;
    *session = (struct model_session){.id = entry->session, .next = 1, .places = places};
    if (places == NULL) {
        session->places = calloc(SESSION_MODEL_LOG, sizeof *places);
        ASSERT(session->places != NULL);
    }
    memcpy(session->name, entry->name, entry->name_bytes);
    session->name_bytes = entry->name_bytes;
    return session;
}

static void apply(struct session_model *model, uint32_t place)
{
    const struct model_entry *entry = &model->log[place];
    struct model_session *session = session_by_id(model, entry->session);
    switch (entry->kind) {
    case RECORD_APPEND:
        model->next_offset++;
        if (session == NULL) {
            return;
        }
        break;
    case RECORD_REFUSED:
        break;
    case RECORD_REGISTER:
        session = session == NULL ? session_make(model, entry) : session;
        session->owner = entry->owner;
        session->epoch = entry->epoch;
        return;
    default:
        ASSERT(entry->kind == MODEL_EXPIRE);
        session->gone = true;
        return;
    }
    ASSERT(session != NULL);
    ASSERT(entry->sequence == session->next);
    session->places[session->next++] = place;
}

static struct model_entry *push(struct session_model *model, uint8_t kind)
{
    ASSERT(model->log_count < SESSION_MODEL_LOG);
    struct model_entry *entry = &model->log[model->log_count++];
    *entry = (struct model_entry){.kind = kind, .offset = model->next_offset};
    return entry;
}

static void cut(struct session_model *model, uint32_t log_count)
{
    ASSERT(log_count >= model->committed);
    while (model->log_count > log_count) {
        free(model->log[--model->log_count].payload);
    }
    model->session_count = 0;
    model->next_offset = 0;
    for (uint32_t i = 0; i < log_count; i++) {
        apply(model, i);
    }
}

void session_model_append(struct session_model *model)
{
    (void)push(model, RECORD_APPEND);
    apply(model, model->log_count - 1);
    model->committed += model->commits;
}

void session_model_expire(struct session_model *model, uint64_t session)
{
    push(model, MODEL_EXPIRE)->session = session;
    apply(model, model->log_count - 1);
    session_model_commit(model, model->log_count);
}

const struct model_entry *session_model_record(const struct session_model *model, uint64_t offset)
{
    for (uint32_t i = 0; i < model->log_count; i++) {
        if (model->log[i].kind == RECORD_APPEND && model->log[i].offset == offset) {
            return &model->log[i];
        }
    }
    return NULL;
}

/* ---- Answers. ---- */

static void send_answer(struct session_model *model, struct model_answer *answer)
{
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct wire_header *header = &answer->frame.header;
    *header = (struct wire_header){
        .kind = header->kind,
        .from = answer->node,
        .cluster = SESSION_MODEL_CLUSTER,
        .from_store = MODEL_STORE,
        .from_boot = 1,
        .to_boot = answer->to_boot,
        .token = header->token,
    };
    struct nic_send send = {.to = answer->to, .head = head};
    send.head_bytes = wire_encode(&answer->frame, head);
    (void)nic_tx_burst(&model->net.ports[answer->node - 1].nic, &send, 1);
}

static void answer_at(struct session_model *model, struct model_answer *answer, uint32_t place)
{
    ASSERT(model->answer_count < SESSION_MODEL_ANSWERS);
    answer->place = place;
    model->answers[model->answer_count++] = *answer;
}

static void answers_leave(struct session_model *model)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < model->answer_count; i++) {
        struct model_answer *answer = &model->answers[i];
        if (answer->place <= model->committed) {
            send_answer(model, answer);
        } else {
            model->answers[kept++] = *answer;
        }
    }
    model->answer_count = kept;
}

void session_model_commit(struct session_model *model, uint32_t count)
{
    uint32_t left = model->log_count - model->committed;
    model->committed += count < left ? count : left;
    answers_leave(model);
}

void session_model_elect(struct session_model *model, uint8_t leader, uint32_t log_count)
{
    cut(model, log_count);
    model->answer_count = 0;
    model->leader = leader;
}

/* ---- What a node does with a frame. ---- */

static uint8_t named(const struct session_model *model, uint8_t node)
{
    return model->believes[node] != 0 ? model->believes[node] : model->leader;
}

static void
open_take(struct session_model *model, struct model_answer *answer, const struct wire_frame *ask)
{
    const struct wire_open *open = &ask->open;
    uint64_t owner = ask->header.from_store;
    struct wire_open_reply *reply = &answer->frame.open_reply;
    answer->frame.header.kind = WIRE_OPEN_REPLY;
    *reply = (struct wire_open_reply){.leader = named(model, answer->node)};
    model->opens++;
    if (answer->node != model->leader || prng_chance(&model->prng, model->busy_ppm)) {
        reply->status = answer->node != model->leader ? WIRE_NOT_LEADER : WIRE_BUSY;
        answer_at(model, answer, 0);
        return;
    }
    struct model_session *session = session_by_name(model, open, owner);
    uint32_t epoch = session == NULL ? 0 : session->epoch;
    if ((session == NULL || session->owner != owner) && open->epoch != epoch) {
        reply->status = WIRE_FENCED;
        reply->epoch = epoch;
        answer_at(model, answer, model->log_count);
        return;
    }
    if (session == NULL || session->owner != owner) {
        if (model->full) {
            reply->status = WIRE_FULL;
            answer_at(model, answer, 0);
            return;
        }
        uint64_t id = session == NULL ? 100 + model->log_count : session->id;
        struct model_entry *entry = push(model, RECORD_REGISTER);
        entry->session = id;
        entry->owner = owner;
        entry->epoch = epoch + 1;
        entry->name_bytes = open->name_bytes;
        memcpy(entry->name, open->name, open->name_bytes);
        apply(model, model->log_count - 1);
        session = session_by_id(model, id);
    }
    *reply = (struct wire_open_reply){.status = WIRE_OK,
                                      .session = session->id,
                                      .epoch = session->epoch,
                                      .next_sequence = session->next,
                                      .leader = named(model, answer->node)};
    answer_at(model, answer, model->log_count);
}

/* Answer [first, first + count) as the log tells, in runs of one kind and maybe in smaller parts.
 */
static void answer_runs(struct session_model *model,
                        struct model_answer *answer,
                        const struct model_session *session,
                        uint64_t first,
                        uint32_t count)
{
    uint64_t end = first + count;
    while (first < end) {
        struct wire_reply *reply = &answer->frame.reply;
        uint32_t place = session->places[first];
        const struct model_entry *entry = &model->log[place];
        bool forgotten = session->next - first > model->keeps;
        *reply = (struct wire_reply){
            .session = session->id,
            .first_sequence = first,
            .record_count = 1,
            .status = entry->kind == RECORD_REFUSED ? WIRE_CONDITION
                      : forgotten                   ? WIRE_FORGOTTEN
                                                    : WIRE_OK,
            .leader = model->leader,
        };
        if (reply->status == WIRE_CONDITION) {
            reply->detail = entry->offset;
        } else if (reply->status == WIRE_OK) {
            reply->first_offset = entry->offset;
        }
        while (++first < end && !(model->splits && prng_chance(&model->prng, 50000))) {
            const struct model_entry *next = &model->log[session->places[first]];
            bool follows = next->kind == entry->kind &&
                           (session->next - first > model->keeps) == forgotten &&
                           (entry->kind == RECORD_REFUSED
                                ? next->offset == entry->offset
                                : next->offset == entry->offset + reply->record_count);
            if (!follows) {
                break;
            }
            reply->record_count++;
        }
        answer_at(model, answer, session->places[first - 1] + 1);
    }
}

/* A number never comes again with other bytes. */
static void check_repeated(const struct model_entry *old,
                           const struct record_header *header,
                           const uint8_t *payload)
{
    bool refused = old->kind == RECORD_REFUSED;
    ASSERT(refused || old->bytes == header->bytes);
    ASSERT(refused || memcmp(old->payload, payload, header->bytes) == 0);
}

static void take_one(struct session_model *model,
                     struct model_entry *entry,
                     const struct record_header *header,
                     const uint8_t *payload)
{
    entry->sequence = header->sequence;
    entry->bytes = header->bytes;
    if (entry->kind == RECORD_APPEND) {
        entry->payload = malloc(header->bytes + 1);
        ASSERT(entry->payload != NULL);
        memcpy(entry->payload, payload, header->bytes);
    }
    apply(model, model->log_count - 1);
}

/* Take the new ones of the records, or refuse them; a repeated one must be what it was. */
static void take_records(struct session_model *model,
                         const struct model_session *session,
                         const struct wire_request *request,
                         const uint8_t *records)
{
    bool refused = false;
    bool decided = false;
    uint32_t at = 0;
    uint64_t id = session->id;
    for (uint32_t i = 0; i < request->record_count; i++) {
        struct record_header header;
        memcpy(&header, records + at, sizeof header);
        const uint8_t *payload = records + at + sizeof header;
        at += record_body_bytes(header.bytes);
        if (header.sequence < session->next) {
            check_repeated(&model->log[session->places[header.sequence]], &header, payload);
            continue;
        }
        if (!decided) {
            refused = request->conditional && request->expected_offset != model->next_offset;
            decided = true;
        }
        struct model_entry *entry = push(model, refused ? RECORD_REFUSED : RECORD_APPEND);
        entry->session = id;
        entry->epoch = request->epoch;
        take_one(model, entry, &header, payload);
    }
}

static void request_judge(struct session_model *model,
                          struct model_answer *answer,
                          const struct wire_frame *ask,
                          const uint8_t *records)
{
    const struct wire_request *request = &ask->request;
    struct wire_reply *reply = &answer->frame.reply;
    struct model_session *session = session_by_id(model, request->session);
    answer->frame.header.kind = WIRE_REPLY;
    *reply = (struct wire_reply){.session = request->session,
                                 .first_sequence = request->first_sequence,
                                 .record_count = request->record_count,
                                 .leader = named(model, answer->node)};
    model->requests++;
    uint32_t place = 0;
    bool is_new =
        session != NULL && request->first_sequence + request->record_count > session->next;
    if (answer->node != model->leader) {
        reply->status = WIRE_NOT_LEADER;
    } else if (session == NULL) {
        reply->status = WIRE_NO_SESSION;
        place = model->log_count;
    } else if (request->epoch != session->epoch) {
        ASSERT(request->epoch < session->epoch);
        reply->status = WIRE_FENCED;
        reply->detail = session->next;
        place = model->log_count;
    } else if (model->refusals > 0) {
        model->refusals--;
        reply->status = (uint8_t)model->refusal;
    } else if (is_new && prng_chance(&model->prng, model->busy_ppm)) {
        reply->status = WIRE_BUSY;
    } else if (request->first_sequence > session->next) {
        reply->status = WIRE_GAP;
        reply->detail = session->next;
    } else if (is_new && model->full) {
        reply->status = WIRE_FULL;
    } else {
        take_records(model, session, request, records);
        answer_runs(model, answer, session, request->first_sequence, request->record_count);
        return;
    }
    answer_at(model, answer, place);
}

/* Put fragments of the newest large request together. */
static const uint8_t *assemble(struct session_model *model, const struct wire_frame *ask)
{
    const struct wire_request *request = &ask->request;
    if (ask->payload_bytes == request->request_bytes) {
        return ask->payload;
    }
    if (model->partial_token != ask->header.token) {
        model->partial_token = ask->header.token;
        model->partial_got = 0;
        model->partial_bytes = 0;
    }
    uint32_t part = request->offset / FRAGMENT_BYTES_MIN;
    ASSERT(part < 64);
    if ((model->partial_got >> part & 1) == 0) {
        model->partial_got |= 1ull << part;
        model->partial_bytes += ask->payload_bytes;
        memcpy(model->partial + request->offset, ask->payload, ask->payload_bytes);
    }
    if (model->partial_bytes < request->request_bytes) {
        return NULL;
    }
    model->partial_token = 0;
    return wire_records_check(model->partial, request->request_bytes, request) ? model->partial
                                                                               : NULL;
}

static void frame_take(struct session_model *model, uint8_t node, const struct nic_frame *received)
{
    struct wire_self self = {.cluster = SESSION_MODEL_CLUSTER, .node = node};
    struct wire_counters counters = {0};
    struct wire_frame frame;
    enum wire_reason reason =
        wire_decode(&self, received->data, received->bytes, &frame, &counters);
    ASSERT(reason == WIRE_DROP_ok);
    struct model_answer answer = {
        .node = node, .to = received->from, .to_boot = frame.header.from_boot};
    answer.frame.header.token = frame.header.token;
    if (frame.header.kind == WIRE_OPEN) {
        open_take(model, &answer, &frame);
    } else {
        ASSERT(frame.header.kind == WIRE_REQUEST);
        const uint8_t *records = assemble(model, &frame);
        if (records != NULL) {
            request_judge(model, &answer, &frame, records);
        }
    }
}

void session_model_step(struct session_model *model)
{
    for (uint8_t node = 1; node <= SESSION_MODEL_NODES; node++) {
        struct nic_frame frames[RX_BURST_MAX];
        struct nic *nic = &model->net.ports[node - 1].nic;
        uint32_t count = nic_rx_burst(nic, frames, RX_BURST_MAX);
        for (uint32_t i = 0; i < count && !model->dead[node]; i++) {
            frame_take(model, node, &frames[i]);
        }
        nic_rx_release(nic, frames, count);
    }
    session_model_commit(model, model->commits ? model->log_count : 0);
}
