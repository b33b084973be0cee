/* replica_scrub.c: the scrubber joined to the log on disk and in memory, and to the peers. See
 * scrub.h.
 *
 * Invariant: the scrubber has one request at the disk at most, and only for what is committed and
 * durable here, above the durable start.
 */
#include "engine/replica_state.h"

struct scrub_context replica_scrub_context(struct replica *r)
{
    uint64_t durable = wal_durable(r->wal).position;
    return (struct scrub_context){
        .asking = replica_asker_context(r),
        .counters = &r->counters,
        .raft = r->raft,
        .log = &r->log,
        .disk = wal_scan_log(r->wal),
        .now_ns = r->now_ns,
        .start = wal_start_durable(r->wal),
        .end_position = r->commit_position < durable ? r->commit_position : durable,
        .bytes_per_s = r->config.scrub_bytes_per_s,
        .every_ns = r->config.scrub_every_ns,
    };
}

static void start_read(struct replica *r, const struct scrub_context *context)
{
    struct scrub_read read;
    if (!scrub_wants_read(&r->scrub, r->now_ns, &read)) {
        return;
    }
    uint32_t cookie = r->peer_count + READER_BUFFERS + MEND_JOBS;
    ASSERT(read.position >= context->start.position);
    ASSERT(read.position + read.bytes <= context->end_position);
    if (wal_read(r->wal, read.position, read.bytes, read.buffer, cookie)) {
        scrub_reading(&r->scrub, context);
    } else {
        scrub_blocked(&r->scrub);
    }
}

static void start_write(struct replica *r, const struct scrub_context *context)
{
    uint8_t *entry = NULL;
    uint32_t page = 0;
    if (!scrub_wants_write(&r->scrub, &entry, &page)) {
        return;
    }
    ASSERT(entry_header_of(entry)->index <= raft_commit_index(r->raft));
    if (wal_repair(r->wal, entry, page)) {
        scrub_writing(&r->scrub, context);
    } else {
        scrub_blocked(&r->scrub);
    }
}

void replica_count_states(struct replica *r)
{
    r->counters.states_bad = wal_counters(r->wal)->states_bad;
    r->counters.states_mended = wal_counters(r->wal)->states_mended;
}

static void look_at_state(struct replica *r, const struct scrub_context *context)
{
    if (scrub_wants_state(&r->scrub, context) && wal_look_state(r->wal)) {
        scrub_state_looked(&r->scrub, context);
    }
    replica_count_states(r);
}

uint32_t replica_scrub(struct replica *r)
{
    if (r->stopping || LIKELY(!scrub_is_due(&r->scrub, r->now_ns))) {
        return 0;
    }
    if (r->scrub.state == SCRUB_WRITES && !wal_repairing(r->wal)) {
        scrub_written(&r->scrub);
    }
    struct scrub_context context = replica_scrub_context(r);
    uint32_t count = scrub_step(&r->scrub, &context);
    (void)outbox_flush(&r->outbox);
    look_at_state(r, &context);
    start_read(r, &context);
    start_write(r, &context);
    return count;
}
