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

static void
send(const struct reader_context *context, const struct reader_job *job, struct wire_frame *frame)
{
    frame->header = context->header;
    frame->header.kind = WIRE_READ_REPLY;
    frame->header.to = 0;
    frame->header.to_boot = job->client_boot;
    frame->header.term = 0;
    frame->header.token = job->token;
    frame->read_reply.start_offset = context->log->start.offset;
    frame->read_reply.committed_offset = context->committed_offset;
    frame->read_reply.leader = context->leader;
    outbox_put(context->outbox, job->address, frame);
    context->counters->replies++;
}

static void send_empty(const struct reader_context *context,
                       const struct reader_job *job,
                       enum wire_status status)
{
    struct wire_frame frame = {.read_reply = {.offset = job->read.offset,
                                              .skip = job->read.skip,
                                              .status = (uint8_t)status}};
    send(context, job, &frame);
}

/* Payloads of queued frames must stay: one buffer for each place of the outbox. */
static uint8_t *reply_buffer(struct reader *reader)
{
    uint8_t *buffer = reader->reply + (uint64_t)reader->reply_count * FRAME_BYTES_MAX;
    reader->reply_count = (reader->reply_count + 1) % TX_BURST_MAX;
    return buffer;
}

/* Answer from a whole entry that holds the offset. */
static void send_records(struct reader *reader,
                         const struct reader_context *context,
                         const struct reader_job *job,
                         const uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    uint32_t room = context->outbox->nic->frame_bytes_max - wire_head_bytes(WIRE_READ_REPLY);
    uint8_t *payload = reply_buffer(reader);
    struct wire_frame frame = {
        .read_reply = {.offset = job->read.offset,
                       .skip = job->read.skip,
                       .status = WIRE_OK,
                       .term = header->term},
        .payload = payload,
    };
    struct record_header record;
    uint64_t offset = header->first_offset;
    uint32_t cursor = 0;
    uint32_t at = 0;
    uint32_t payload_offset;
    uint32_t skip = job->read.skip;
    while (entry_append_next(entry, &cursor, &record, &payload_offset)) {
        if (offset++ < job->read.offset) {
            continue;
        }
        skip = skip > record.bytes ? record.bytes : skip;
        uint32_t bytes = record.bytes - skip;
        if (at + record_body_bytes(bytes) > room) {
            if (frame.read_reply.record_count > 0) {
                break; /* Whole records only, unless the first one alone is too large. */
            }
            bytes = (room - RECORD_HEADER_BYTES) & ~7u;
            frame.read_reply.partial = true;
        }
        memset(payload + at, 0, record_body_bytes(bytes));
        record.bytes = bytes;
        memcpy(payload + at, &record, sizeof record);
        entry_body_read(entry, payload_offset + skip, payload + at + sizeof record, bytes);
        at += record_body_bytes(bytes);
        frame.read_reply.record_count++;
        skip = 0;
        if (frame.read_reply.partial) {
            break;
        }
    }
    frame.payload_bytes = at;
    send(context, job, &frame);
}

void reader_request(struct reader *reader,
                    const struct reader_context *context,
                    const struct wire_frame *frame,
                    struct nic_address from)
{
    const struct log *log = context->log;
    struct reader_job job = {
        .read = frame->read,
        .client_boot = frame->header.from_boot,
        .token = frame->header.token,
        .address = from,
    };
    context->counters->reads++;
    if (job.read.offset < log->start.offset) {
        send_empty(context, &job, WIRE_TRIMMED);
        return;
    }
    if (job.read.offset >= context->committed_offset) {
        send_empty(context, &job, WIRE_OK);
        return;
    }
    uint64_t index = log_index_of_offset(log, job.read.offset);
    const uint8_t *entry = index == 0 ? NULL : log_bytes(log, index);
    if (entry != NULL) {
        send_records(reader, context, &job, entry);
        return;
    }
    for (uint32_t i = 0; i < READER_BUFFERS; i++) {
        if (reader->jobs[i].state == READER_FREE) {
            job.buffer = reader->jobs[i].buffer;
            job.position = log_find_offset(log, job.read.offset).position;
            job.state = READER_WANTED;
            reader->jobs[i] = job;
            return;
        }
    }
    context->counters->busy++;
    send_empty(context, &job, WIRE_BUSY);
}

/* Walk the entries read. True when the job is answered. */
static bool
serve(struct reader *reader, const struct reader_context *context, struct reader_job *job)
{
    uint32_t at = 0;
    while (at + PAGE_BYTES <= job->bytes) {
        const uint8_t *entry = job->buffer + at;
        const struct entry_header *header = entry_header_of(entry);
        bool good = entry_header_check(header, context->cluster) == NULL &&
                    header->position == job->position + at;
        if (!good || job->position + at < context->log->start.position) {
            /* Trimmed while it was read, or rotten: the client asks again, here or elsewhere. */
            send_empty(context, job, good ? WIRE_TRIMMED : WIRE_BUSY);
            return true;
        }
        uint32_t entry_bytes = (uint32_t)header->pages * PAGE_BYTES;
        if (at + entry_bytes > job->bytes) {
            break;
        }
        if (job->read.offset < header->first_offset + header->record_count) {
            bool sound = entry_check(entry, context->cluster) == NULL &&
                         job->read.offset >= header->first_offset;
            if (sound) {
                send_records(reader, context, job, entry);
            } else {
                send_empty(context, job, WIRE_BUSY);
            }
            return true;
        }
        at += entry_bytes;
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
