/* wal_state.c: small states of the running log: each is put in two copies, and those of the start
 * are looked at when asked.
 *
 * One state is under way at a time, and one request for it. While one is, the start does not move:
 * so it moves to a state only when both its copies are durable, and what a look puts back is put in
 * a place that is still the start's.
 *
 * It must not know what the bytes of a state mean.
 */
#include "storage/wal_internal.h"

static struct state_owner owner_of(const struct wal *wal, uint64_t position)
{
    return (struct state_owner){
        .cluster = wal->current.cluster,
        .store = wal->current.store,
        .segment = segment_number(&wal->geometry, position),
    };
}

/* Queue a request for a part of the copy. */
static void part_queue(struct wal *wal, enum io_kind kind, uint32_t from, uint32_t bytes)
{
    const struct state_job *job = &wal->state;
    const struct ring_part part = {
        .offset = state_at(&wal->geometry, job->owner.segment, job->copy) + from,
        .bytes = bytes,
    };
    wal->state_since_ns = 0; /* Each is stamped anew. */
    wal_queue_add(wal, io_cookie(kind, job->copy), &part, wal->state_pages + from);
}

bool wal_put_state(struct wal *wal,
                   const struct log_start *boundary,
                   const void *bytes,
                   uint32_t byte_count)
{
    ASSERT(wal->open);
    ASSERT(boundary->position <= wal->current.start_position + wal->geometry.ring_bytes);
    if (wal->state.work != STATE_NONE || wal->failed != 0) {
        return false;
    }
    struct state_job *job = &wal->state;
    *job = (struct state_job){
        .work = STATE_PUT, .owner = owner_of(wal, boundary->position), .boundary = *boundary};
    job->bytes = state_encode(wal->state_pages, &job->owner, boundary, bytes, byte_count);
    part_queue(wal, IO_STATE, 0, job->bytes);
    wal->counters.states++;
    return true;
}

void wal_state_written(struct wal *wal)
{
    struct state_job *job = &wal->state;
    ASSERT(job->work == STATE_PUT || job->work == STATE_MEND);
    if (job->work == STATE_PUT && job->copy + 1 < STATE_COPIES) {
        job->copy++;
        part_queue(wal, IO_STATE, 0, job->bytes);
        return;
    }
    wal->counters.states_mended += job->work == STATE_MEND;
    job->work = STATE_NONE;
}

/* Read a copy, its first page first: that says how many more it has. */
static void copy_look(struct wal *wal, uint32_t copy)
{
    wal->state.copy = copy;
    wal->state.bytes = 0;
    part_queue(wal, IO_STATE_LOOK, 0, PAGE_BYTES);
}

bool wal_look_state(struct wal *wal)
{
    ASSERT(wal->open);
    ASSERT(wal->current.start_position > 0);
    if (wal->state.work != STATE_NONE || wal->failed != 0 || wal->stopping ||
        wal_bounds_change(wal)) {
        return false;
    }
    const struct log_start start = wal_start_durable(wal);
    wal->state = (struct state_job){
        .work = STATE_LOOK, .owner = owner_of(wal, start.position), .boundary = start};
    copy_look(wal, 0);
    return true;
}

/* The copy in the pages has been judged. A good one is written over a bad one at once; copy 0 is
 * read again for that, if copy 1 turns out to be bad. */
static void copy_judged(struct wal *wal, const char *wrong)
{
    struct state_job *job = &wal->state;
    uint32_t other = 1 - job->copy;
    bool was_bad = job->bad[job->copy];
    job->bad[job->copy] = wrong != NULL;
    wal->counters.states_bad += wrong != NULL && !was_bad;
    if (wrong == NULL && job->bad[other]) {
        job->work = STATE_MEND;
        job->copy = other;
        job->bytes = state_used_bytes(wal->state_pages);
        part_queue(wal, IO_STATE, 0, job->bytes);
    } else if (job->copy == 0) {
        copy_look(wal, 1);
    } else if (wrong != NULL && !job->bad[0]) {
        copy_look(wal, 0);
    } else {
        job->work = STATE_NONE; /* Both stand, or neither. */
    }
}
_Static_assert(STATE_COPIES == 2, "a copy has one other");

void wal_state_seen(struct wal *wal, int32_t result)
{
    struct state_job *job = &wal->state;
    ASSERT(job->work == STATE_LOOK);
    if (result != 0) {
        copy_judged(wal, "unreadable");
        return;
    }
    bool head = job->bytes == 0;
    job->bytes = head ? PAGE_BYTES : state_used_bytes(wal->state_pages);
    uint32_t used = state_used_bytes(wal->state_pages);
    if (job->bytes < used) {
        part_queue(wal, IO_STATE_LOOK, PAGE_BYTES, used - PAGE_BYTES);
        return;
    }
    uint32_t byte_count = 0;
    copy_judged(wal, state_check(wal->state_pages, &job->owner, &job->boundary, &byte_count));
}
