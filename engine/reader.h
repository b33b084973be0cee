/* reader.h: committed records to whoever asks, from memory or from disk.
 *
 * A read names an offset; the answer is one frame of records from there on (rule N10: one frame
 * out for one frame in), of as many entries as fit it and are in memory, or were read together.
 * What is no longer in memory is read from disk at a bounded rate: at most
 * READER_BUFFERS reads are under way, further ones are told busy. Any replica serves them: the
 * answer is a committed prefix, maybe an old one.
 *
 * Must not know the core's rules: it is told how far the log is committed.
 */
#ifndef ENGINE_READER_H
#define ENGINE_READER_H

#include "engine/log.h"
#include "engine/outbox.h"
#include "engine/replica_counters.h"
#include "engine/suspects.h"

#include <stdbool.h>
#include <stdint.h>

enum reader_state { READER_FREE, READER_WANTED, READER_READING, READER_READY };

/* What was asked, and by whom. */
struct reader_question {
    struct wire_read read;
    uint64_t client_boot;
    uint64_t token;
    struct nic_address address;
};

/* A read that waits for the disk. */
struct reader_job {
    enum reader_state state;
    struct reader_question question;
    uint64_t committed_offset; /* When it began: what lies behind may be cut while it is read. */
    uint64_t position;         /* Of the buffer's first byte. */
    uint32_t bytes;
    uint8_t *buffer; /* READER_BUFFER_BYTES. */
};

struct reader {
    struct reader_job jobs[READER_BUFFERS];
    uint8_t *reply; /* FRAME_BYTES_MAX a burst place: payloads until the outbox is flushed. */
    uint32_t reply_count;
};

struct reader_context {
    const struct log *log;
    struct outbox *outbox;
    struct replica_counters *counters;
    struct suspects *suspects; /* Where a bad page was read. */
    struct wire_header header;
    uint64_t cluster;
    uint64_t committed_offset; /* Records below it are committed. */
    uint64_t committed_index;
    uint8_t leader;
};

uint64_t reader_memory_bytes(void);
void reader_init(struct reader *reader, struct mem *mem);

/* Answer from memory, or queue it for the disk, or tell busy. */
void reader_request(struct reader *reader,
                    const struct reader_context *context,
                    const struct reader_question *question);

/* Answer without a record. */
void reader_refuse(const struct reader_context *context,
                   const struct reader_question *question,
                   enum wire_status status);

/* Answer what the disk has brought; a job that must read on is WANTED again. Returns answers. */
uint32_t reader_serve(struct reader *reader, const struct reader_context *context);

#endif
