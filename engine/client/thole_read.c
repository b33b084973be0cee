/* thole_read.c: the public library's reads, over fetch.h, and its status, over survey.h.
 *
 * A read has two parts: a look at where the log starts and ends, then its range. A read that was
 * given up may leave a question without an answer, and the next one waits for that first.
 */
#include "engine/client/thole_internal.h"

#include "engine/base/clock.h"

#include <errno.h>
#include <stdio.h>

_Static_assert(THOLE_NODES_MAX >= VOTERS_MAX, "a status holds every node");
_Static_assert((int)THOLE_LEADER == (int)WIRE_LEADER, "roles are those of the wire");
_Static_assert((int)THOLE_LEARNER == (int)WIRE_LEARNER, "roles are those of the wire");

/* ---- Reading ---- */

static void take_record(void *context, const struct fetch_record *record)
{
    struct thole *client = context;
    struct thole_reader *reader = &client->reader;
    if (reader->state != READING_RANGE) {
        return; /* Of an answer that nobody wants any more. */
    }
    struct thole_record told = {
        .offset = record->offset,
        .term = record->term,
        .session = record->session,
        .sequence = record->sequence,
        .data = record->payload,
        .bytes = record->bytes,
    };
    client->inside = true;
    bool goes_on = reader->what.on_record(reader->what.context, &told);
    client->inside = false;
    if (!goes_on) {
        fetch_stop(&reader->fetch);
    }
    reader->handed_on++;
    client->told++;
}

static void finish(struct thole *client, int result)
{
    ASSERT(result != -EINPROGRESS);
    client->reader.state = READING_NOTHING;
    client->reader.result = result;
    client->told++;
}

/* Ask where the log starts and ends. */
static void look(struct thole *client, uint64_t now_ns)
{
    struct thole_reader *reader = &client->reader;
    struct fetch_config config = {
        .node = reader->what.node,
        .linearizable = reader->what.linearizable,
        .take = take_record,
        .context = client,
    };
    mem_init(&reader->mem, reader->pages, fetch_memory_bytes());
    fetch_init(&reader->fetch, &reader->mem, client->core, &config, now_ns);
}

/* Where the log starts and ends is known: which part of it was asked for. */
static void begin_range(struct thole *client)
{
    struct thole_reader *reader = &client->reader;
    const struct thole_read *what = &reader->what;
    const struct fetch_view view = reader->fetch.view;
    uint64_t from = what->from == THOLE_START ? view.start_offset
                    : what->from == THOLE_END ? view.committed_offset
                                              : what->from;
    if (what->last > 0) {
        uint64_t before = from > view.start_offset ? from - view.start_offset : 0;
        from -= what->last < before ? what->last : before;
    }
    uint64_t end = what->follow ? FETCH_NO_END : view.committed_offset;
    if (what->count > 0 && from < end && what->count < end - from) {
        end = from + what->count;
    }
    fetch_range(&reader->fetch, from, end);
    reader->state = READING_RANGE;
}

static uint32_t end_range(struct thole *client)
{
    struct thole_reader *reader = &client->reader;
    struct fetch *fetch = &reader->fetch;
    if (!fetch->trimmed) {
        finish(client, 0);
    } else if (reader->from_start && reader->handed_on == 0) {
        fetch_range(fetch, fetch->view.start_offset,
                    fetch->end); /* Trimmed between two questions. */
    } else {
        finish(client, thole_fail(client, -ERANGE,
                                  "offset %llu is trimmed: the log of node %u starts at %llu. Read "
                                  "on from there",
                                  (unsigned long long)fetch->offset, fetch->view.node,
                                  (unsigned long long)fetch->view.start_offset));
    }
    return 1;
}

/* When to give up: nothing comes, or of a reader that follows, nobody answers. */
static uint64_t patience_ns(const struct thole *client)
{
    const struct fetch *fetch = &client->reader.fetch;
    bool idle = client->reader.what.follow && fetch->answered_ns > fetch->progress_ns;
    return (idle ? fetch->answered_ns : fetch->progress_ns) + client->timeout_ns;
}

uint32_t thole_reader_step(struct thole *client, uint64_t now_ns)
{
    struct thole_reader *reader = &client->reader;
    struct fetch *fetch = &reader->fetch;
    if (reader->state == READING_NOTHING) {
        return 0;
    }
    if (reader->state == READING_WAITING) {
        if (fetch->asking) {
            return 0;
        }
        look(client, now_ns);
        reader->state = READING_LOOKING;
    }
    uint32_t work = fetch_poll(fetch, now_ns);
    if (reader->state == READING_LOOKING && fetch_is_done(fetch)) {
        begin_range(client);
        work++;
    }
    if (reader->state == READING_RANGE && fetch_is_done(fetch)) {
        return work + end_range(client);
    }
    if (now_ns >= patience_ns(client)) {
        thole_tell_silence(client, fetch->config.node, fetch->stranger, fetch->heard);
        finish(client, -ETIMEDOUT);
        work++;
    }
    return work;
}

uint64_t thole_reader_deadline_ns(const struct thole *client)
{
    const struct thole_reader *reader = &client->reader;
    if (reader->state == READING_NOTHING) {
        return UINT64_MAX;
    }
    uint64_t fetch_ns = fetch_deadline_ns(&reader->fetch);
    if (reader->state == READING_WAITING) {
        return fetch_ns;
    }
    uint64_t end_ns = patience_ns(client);
    return fetch_ns < end_ns ? fetch_ns : end_ns;
}

int thole_read_begin(struct thole *client, const struct thole_read *read)
{
    struct thole_reader *reader = &client->reader;
    if (reader->state != READING_NOTHING) {
        return thole_fail(client, -EBUSY, "a read is under way: thole_read_stop() ends it");
    }
    if (read->on_record == NULL) {
        return thole_fail(client, -EINVAL, "a read needs on_record");
    }
    if (read->from > CLIENT_OFFSET_MAX && read->from < THOLE_END) {
        return thole_fail(client, -EINVAL, "no record has the offset %llu",
                          (unsigned long long)read->from);
    }
    if (read->node != 0 && !client_has_node(client->core, read->node)) {
        return thole_fail(client, -EINVAL, "there is no node %u in %.200s", read->node,
                          client->path[0] == '\0' ? "options.addresses" : client->path);
    }
    reader->what = *read;
    reader->handed_on = 0;
    reader->from_start = read->from == THOLE_START || read->from == THOLE_END;
    reader->result = -EINPROGRESS;
    reader->state = READING_WAITING;
    return 0;
}

int thole_reading(const struct thole *client)
{
    return client->reader.state == READING_NOTHING ? client->reader.result : -EINPROGRESS;
}

void thole_read_stop(struct thole *client)
{
    if (client->reader.state != READING_NOTHING) {
        client->reader.state = READING_NOTHING;
        client->reader.result = -ECANCELED;
    }
}

static bool read_finished(const struct thole *client, uint64_t told_before)
{
    (void)told_before;
    return client->reader.state == READING_NOTHING;
}

int thole_read(struct thole *client, const struct thole_read *read)
{
    if (client->inside) {
        return thole_fail(client, -EBUSY, "thole_read() within a callback");
    }
    int result = thole_read_begin(client, read);
    if (result != 0) {
        return result;
    }
    result = thole_run(client, read_finished, -1);
    if (result != 0) {
        thole_read_stop(client);
        return result;
    }
    return client->reader.result;
}

/* ---- Status ---- */

static bool status_finished(const struct thole *client, uint64_t told_before)
{
    (void)told_before;
    return client->survey.missing == 0;
}

static struct thole_node node_of(const struct config_node *node, const struct survey_answer *answer)
{
    const struct wire_status_reply *status = &answer->status;
    struct thole_node told = {
        .id = node->id,
        .reachable = answer->reachable,
        .role = (enum thole_role)status->role,
        .durable = status->durable,
        .degraded = status->degraded,
        .term = status->term,
        .commit_index = status->commit_index,
        .durable_index = status->durable_index,
        .start_offset = status->start_offset,
        .end_offset = status->end_offset,
    };
    (void)snprintf(told.address, sizeof told.address, "%u.%u.%u.%u:%u", node->address.ipv4 >> 24,
                   node->address.ipv4 >> 16 & 255u, node->address.ipv4 >> 8 & 255u,
                   node->address.ipv4 & 255u, node->address.port);
    return told;
}

int thole_status(struct thole *client, struct thole_status *status, int timeout_ms)
{
    if (client->inside) {
        return thole_fail(client, -EBUSY, "thole_status() within a callback");
    }
    struct survey *survey = &client->survey;
    survey_begin(survey, clock_now_ns());
    int result = thole_run(client, status_finished, timeout_ms);
    survey_end(survey);
    *status = (struct thole_status){.node_count = survey->node_count};
    uint64_t leader_term = 0;
    for (uint32_t i = 0; i < survey->node_count; i++) {
        const struct survey_answer *answer = &survey->answers[i];
        status->nodes[i] = node_of(&client->config.nodes[i], answer);
        /* An older leader may not know yet that it was replaced. */
        bool leads = answer->reachable && answer->status.role == WIRE_LEADER;
        if (leads && answer->status.term > leader_term) {
            leader_term = answer->status.term;
            status->leader = survey->nodes[i];
            status->available = answer->status.takes_proposals;
        }
    }
    return result == -EINTR ? -EINTR : 0;
}
