/* reader.c: committed records to whoever asks. See reader.h.
 *
 * Bytes from the own disk are checked like those of a stranger before they leave.
 */
#include "engine/reader.h"

#include <string.h>

uint64_t reader_memory_bytes(void)
{
    return READER_BUFFERS * READER_BUFFER_BYTES + TX_BURST_MAX * FRAME_BYTES_MAX +
           2ull * PAGE_BYTES;
}

void reader_init(struct reader *reader, struct mem *mem)
{
    *reader = (struct reader){0};
    uint8_t *buffers =
        mem_take(mem, "read buffers", READER_BUFFERS, READER_BUFFER_BYTES, PAGE_BYTES);
    for (uint32_t i = 0; i < READER_BUFFERS; i++) {
        reader->jobs[i].buffer = buffers + (uint64_t)i * READER_BUFFER_BYTES;
    }
    reader->reply = mem_take(mem, "read replies", TX_BURST_MAX, FRAME_BYTES_MAX, 64);
}

static void send(const struct reader_context *context,
                 const struct reader_question *question,
                 struct wire_frame *frame)
{
    frame->header = context->header;
    frame->header.kind = WIRE_READ_REPLY;
    frame->header.to = 0;
    frame->header.to_boot = question->client_boot;
    frame->header.term = 0;
    frame->header.token = question->token;
    frame->read_reply.offset = question->read.offset;
    frame->read_reply.skip = question->read.skip;
    frame->read_reply.start_offset = context->log->start.offset;
    frame->read_reply.committed_offset = context->committed_offset;
    frame->read_reply.leader = context->leader;
    outbox_put(context->outbox, question->address, frame);
    context->counters->replies++;
}

static void send_empty(const struct reader_context *context,
                       const struct reader_question *question,
                       enum wire_status status)
{
    struct wire_frame frame = {.read_reply = {.status = (uint8_t)status}};
    send(context, question, &frame);
}

void reader_refuse(const struct reader_context *context,
                   const struct reader_question *question,
                   enum wire_status status)
{
    ASSERT(status != WIRE_OK);
    context->counters->reads++;
    context->counters->busy += status == WIRE_BUSY;
    context->counters->not_leader += status == WIRE_NOT_LEADER;
    send_empty(context, question, status);
}

/* Payloads of queued frames must stay: one buffer for each place of the outbox. */
static uint8_t *reply_buffer(struct reader *reader)
{
    uint8_t *buffer = reader->reply + (uint64_t)reader->reply_count * FRAME_BYTES_MAX;
    reader->reply_count = (reader->reply_count + 1) % TX_BURST_MAX;
    return buffer;
}

/* An answer that is being filled. */
struct packing {
    uint8_t *payload;
    uint32_t bytes;
    uint32_t room;
    uint32_t record_count;
    uint32_t entry_count;
    uint64_t next_offset; /* Of the next record wanted. */
    uint32_t skip;        /* Of its payload. */
    uint64_t term;        /* Of all its records. */
    bool partial;
};

static struct packing packing_begin(struct reader *reader,
                                    const struct reader_context *context,
                                    const struct reader_question *question)
{
    uint32_t frame_bytes = context->outbox->nic->frame_bytes_max;
    uint32_t taken_bytes = question->read.frame_bytes;
    taken_bytes = taken_bytes == 0 ? FRAME_BYTES_USUAL : taken_bytes;
    frame_bytes = taken_bytes < frame_bytes ? taken_bytes : frame_bytes;
    return (struct packing){
        .payload = reply_buffer(reader),
        .room = frame_bytes - wire_head_bytes(WIRE_READ_REPLY),
        .next_offset = question->read.offset,
        .skip = question->read.skip,
    };
}

static void pack_record(struct packing *packing,
                        const uint8_t *entry,
                        const struct record_header *record,
                        uint32_t payload_offset,
                        uint32_t bytes)
{
    uint8_t *to = packing->payload + packing->bytes;
    struct record_header header = *record;
    header.bytes = bytes;
    memset(to, 0, record_body_bytes(bytes));
    memcpy(to, &header, sizeof header);
    entry_body_read(entry, payload_offset, to + sizeof header, bytes);
    packing->bytes += record_body_bytes(bytes);
    packing->record_count++;
    packing->next_offset++;
    packing->skip = 0;
}

/* Pack the records of one whole entry from next_offset on. False: nothing behind it fits. */
static bool pack_entry(struct packing *packing, const uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    bool more = ++packing->entry_count < READ_ENTRIES_MAX;
    if (header->record_count == 0) {
        return more;
    }
    if (packing->record_count > 0 && header->term != packing->term) {
        return false;
    }
    ASSERT(header->first_offset <= packing->next_offset);
    packing->term = header->term;
    struct record_header record;
    uint64_t offset = header->first_offset;
    uint32_t cursor = 0;
    uint32_t payload_offset;
    while (entry_append_next(entry, &cursor, &record, &payload_offset)) {
        if (offset++ < packing->next_offset) {
            continue;
        }
        uint32_t skip = packing->skip > record.bytes ? record.bytes : packing->skip;
        uint32_t bytes = record.bytes - skip;
        uint32_t room = packing->room - packing->bytes;
        if (record_body_bytes(bytes) > room) {
            if (packing->record_count == 0) {
                /* Whole records only, unless the first one alone is too large. */
                packing->partial = true;
                bytes = (room - RECORD_HEADER_BYTES) & ~7u;
                pack_record(packing, entry, &record, payload_offset + skip, bytes);
            }
            return false;
        }
        pack_record(packing, entry, &record, payload_offset + skip, bytes);
    }
    return more;
}

static void send_packing(const struct reader_context *context,
                         const struct reader_question *question,
                         const struct packing *packing)
{
    struct wire_frame frame = {
        .read_reply = {.status = WIRE_OK,
                       .term = packing->term,
                       .record_count = packing->record_count,
                       .partial = packing->partial},
        .payload = packing->payload,
        .payload_bytes = packing->bytes,
    };
    ASSERT(packing->record_count > 0);
    send(context, question, &frame);
}

/* Answer from the entries in memory from `index` on, which holds the offset. */
static void send_resident(struct reader *reader,
                          const struct reader_context *context,
                          const struct reader_question *question,
                          uint64_t index)
{
    struct packing packing = packing_begin(reader, context, question);
    const uint8_t *entry = log_bytes(context->log, index);
    ASSERT(entry != NULL);
    while (pack_entry(&packing, entry) && packing.next_offset < context->committed_offset) {
        entry = log_bytes(context->log, ++index);
        ASSERT(entry != NULL); /* Memory holds the newest, and more is committed. */
    }
    send_packing(context, question, &packing);
}

void reader_request(struct reader *reader,
                    const struct reader_context *context,
                    const struct reader_question *question)
{
    const struct log *log = context->log;
    uint64_t offset = question->read.offset;
    context->counters->reads++;
    if (offset < log->start.offset) {
        send_empty(context, question, WIRE_TRIMMED);
        return;
    }
    if (offset >= context->committed_offset) {
        send_empty(context, question, WIRE_OK);
        return;
    }
    uint64_t index = log_index_of_offset(log, offset);
    if (index != 0 && log_bytes(log, index) != NULL) {
        send_resident(reader, context, question, index);
        return;
    }
    for (uint32_t i = 0; i < READER_BUFFERS; i++) {
        struct reader_job *job = &reader->jobs[i];
        if (job->state == READER_FREE) {
            job->question = *question;
            job->committed_offset = context->committed_offset;
            job->position = log_find_offset(log, offset).position;
            job->state = READER_WANTED;
            return;
        }
    }
    context->counters->busy++;
    send_empty(context, question, WIRE_BUSY);
}

/* A whole entry at `at` of the buffer, or NULL: `why` then says what a client is told, or OK: the
 * buffer ends before it does. */
static const uint8_t *entry_at(const struct reader_context *context,
                               const struct reader_job *job,
                               uint32_t at,
                               enum wire_status *why)
{
    *why = WIRE_OK;
    if (at + PAGE_BYTES > job->bytes) {
        return NULL;
    }
    const uint8_t *entry = job->buffer + at;
    const struct entry_header *header = entry_header_of(entry);
    bool good = entry_header_check(header, context->cluster) == NULL &&
                header->position == job->position + at;
    if (job->position + at < context->log->start.position) {
        *why = WIRE_TRIMMED; /* While it was read. */
        return NULL;
    }
    if (!good) { /* Rotten: the client asks again, here or elsewhere. */
        suspects_note(context->suspects, job->position + at);
        *why = WIRE_BUSY;
        return NULL;
    }
    return at + (uint32_t)header->pages * PAGE_BYTES > job->bytes ? NULL : entry;
}

static bool is_sound(const struct reader_context *context,
                     const struct reader_job *job,
                     uint32_t at,
                     const uint8_t *entry)
{
    bool sound = entry_check(entry, context->cluster) == NULL;
    if (!sound) {
        suspects_note(context->suspects, job->position + at);
    }
    return sound;
}

/* The entry at `at` holds the offset: answer from it and from those behind it. */
static void send_read(struct reader *reader,
                      const struct reader_context *context,
                      const struct reader_job *job,
                      uint32_t at)
{
    enum wire_status why = WIRE_OK;
    struct packing packing = packing_begin(reader, context, &job->question);
    const uint8_t *entry = job->buffer + at;
    while (entry != NULL && is_sound(context, job, at, entry) &&
           entry_header_of(entry)->first_offset <= packing.next_offset &&
           pack_entry(&packing, entry) && packing.next_offset < job->committed_offset) {
        at += (uint32_t)entry_header_of(entry)->pages * PAGE_BYTES;
        entry = entry_at(context, job, at, &why);
    }
    if (packing.record_count > 0) {
        send_packing(context, &job->question, &packing);
    } else {
        send_empty(context, &job->question, WIRE_BUSY);
    }
}

/* Walk the entries read. True when the job is answered. */
static bool
serve(struct reader *reader, const struct reader_context *context, struct reader_job *job)
{
    uint32_t at = 0;
    enum wire_status why;
    const uint8_t *entry;
    while ((entry = entry_at(context, job, at, &why)) != NULL) {
        const struct entry_header *header = entry_header_of(entry);
        if (job->question.read.offset < header->first_offset + header->record_count) {
            send_read(reader, context, job, at);
            return true;
        }
        at += (uint32_t)header->pages * PAGE_BYTES;
    }
    if (why != WIRE_OK) {
        send_empty(context, &job->question, why);
        return true;
    }
    job->position += at;
    job->state = READER_WANTED;
    return false;
}

uint32_t reader_serve(struct reader *reader, const struct reader_context *context)
{
    uint32_t answers = 0;
    for (uint32_t i = 0; i < READER_BUFFERS; i++) {
        struct reader_job *job = &reader->jobs[i];
        if (job->state == READER_READY && serve(reader, context, job)) {
            job->state = READER_FREE;
            answers++;
        }
    }
    return answers;
}
