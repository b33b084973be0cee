/* mender.c: see mender.h. */
#include "engine/mender.h"

#include <errno.h>
#include <string.h>

#define NS_PER_S 1000000000ull

uint64_t mender_memory_bytes(void)
{
    return (2ull + MEND_JOBS) * ENTRY_BYTES_MAX + 3ull * PAGE_BYTES;
}

void mender_init(struct mender *mender, struct mem *mem)
{
    *mender = (struct mender){0};
    mender->entry = mem_take(mem, "mending: an entry", 1, ENTRY_BYTES_MAX, PAGE_BYTES);
    mender->answer = mem_take(mem, "mending: an answer", 1, ENTRY_BYTES_MAX, PAGE_BYTES);
    uint8_t *buffers = mem_take(mem, "mending: reads", MEND_JOBS, ENTRY_BYTES_MAX, PAGE_BYTES);
    for (uint32_t i = 0; i < MEND_JOBS; i++) {
        mender->jobs[i].buffer = buffers + (uint64_t)i * ENTRY_BYTES_MAX;
    }
}

/* ---- Asking. ---- */

/* Another entry is wanted: everybody may have it, the one that had the last one first. */
static void want_anew(struct mender *mender)
{
    mender->assembly = (struct assembly){0};
    mender->vain = 0;
    mender->waits_for = 0;
    mender->due_ns = mender->mend.state == MEND_ASKS ? 0 : UINT64_MAX;
}

int mender_begin(struct mender *mender, const struct mend_config *config, struct fault *fault)
{
    ASSERT(!mender->active);
    int result = mend_begin(&mender->mend, config, fault);
    if (result != 0) {
        return result;
    }
    mender->active = true;
    want_anew(mender);
    return 0;
}

uint64_t mender_deadline_ns(const struct mender *mender)
{
    ASSERT(mender->active);
    return mender->due_ns;
}

uint32_t mender_ask(struct mender *mender, const struct mender_context *context)
{
    ASSERT(mender->active);
    if (mender->mend.state != MEND_ASKS || context->now_ns < mender->due_ns) {
        return 0;
    }
    ASSERT(context->peer_count > 0);
    if (mender->token != 0 && mender->vain > 0) {
        mender->peer = (mender->peer + 1) % context->peer_count;
    }
    const struct mender_peer *peer = &context->peers[mender->peer];
    const struct mend_want *want = &mender->mend.want;
    mender->vain++;
    mender->waits_for |= 1ull << peer->id;
    mender->due_ns = context->now_ns + MEND_ASK_NS;
    if (mender->vain >= context->peer_count) {
        mender->vain = 1; /* Everybody was asked: the next round begins after a rest. */
        mender->due_ns = context->now_ns + MEND_REST_NS;
    }
    struct wire_frame frame = {.header = context->header};
    frame.header.kind = WIRE_MEND_ASK;
    frame.header.to = peer->id;
    frame.header.token = ++mender->token;
    frame.mend_ask = (struct wire_mend_ask){
        .id = {.term = want->id.term, .index = want->id.index},
        .end_position = want->end_position,
    };
    outbox_put(context->outbox, peer->address, &frame);
    context->counters->mend_questions++;
    return 1;
}

int mender_take(struct mender *mender,
                const struct mender_context *context,
                const struct wire_frame *frame,
                struct fault *fault)
{
    const struct wire_entry *entry = &frame->entry;
    struct assembly *assembly = &mender->assembly;
    const struct mend_want *want = &mender->mend.want;
    uint64_t end = entry->position + (uint64_t)entry->pages * PAGE_BYTES;
    bool wanted = mender->mend.state == MEND_ASKS && entry->id.term == want->id.term &&
                  entry->id.index == want->id.index && end == want->end_position;
    if (!wanted) {
        context->counters->fragments_known++;
        return 0;
    }
    if (!assembly_fits(assembly, entry)) {
        *assembly = assembly_of(entry); /* The first one, or cut by another peer otherwise. */
    }
    uint32_t number = entry->offset / entry->fragment_bytes;
    if ((assembly->bitmap >> number & 1u) != 0) {
        context->counters->fragments_known++;
        return 0;
    }
    context->counters->fragments_received++;
    mender->due_ns = context->now_ns + MEND_ASK_NS;
    if (!assembly_put(assembly, mender->entry, frame)) {
        return 0;
    }
    if (!assembly_finish(assembly, mender->entry, context->cluster)) {
        context->counters->pages_bad++;
        return 0;
    }
    uint64_t mended = mender->mend.entries_mended;
    int result = mend_take(&mender->mend, mender->entry, fault);
    if (result == -EINVAL) { /* It begins below the log's start: no leader made it. */
        context->counters->fragments_refused++;
        *assembly = (struct assembly){0};
        return 0;
    }
    context->counters->entries_mended += mender->mend.entries_mended - mended;
    want_anew(mender);
    return result;
}

void mender_refused(struct mender *mender,
                    const struct mender_context *context,
                    const struct wire_frame *frame)
{
    const struct mend_want *want = &mender->mend.want;
    const struct wire_mend_say *say = &frame->mend_say;
    bool current = mender->mend.state == MEND_ASKS && frame->header.token == mender->token &&
                   frame->header.from == context->peers[mender->peer].id &&
                   say->id.term == want->id.term && say->id.index == want->id.index;
    context->counters->mend_refusals++;
    bool rests = context->now_ns + MEND_ASK_NS < mender->due_ns;
    if (current && !rests) {
        mender->due_ns = 0; /* On to the next one. */
    }
}

/* ---- Answering. ---- */

static const struct mender_peer *peer_of(const struct mender_context *context, uint8_t id)
{
    for (uint32_t i = 0; i < context->peer_count; i++) {
        if (context->peers[i].id == id) {
            return &context->peers[i];
        }
    }
    return NULL;
}

static struct wire_frame answer_frame(const struct mender_context *context,
                                      const struct wire_header *question)
{
    struct wire_frame frame = {.header = context->header};
    frame.header.to = question->from;
    frame.header.to_boot = question->from_boot;
    frame.header.token = question->token;
    return frame;
}

static void say(const struct mender_context *context,
                const struct wire_header *question,
                const struct mend_want *want,
                enum wire_mend what)
{
    struct wire_frame frame = answer_frame(context, question);
    frame.header.kind = WIRE_MEND_SAY;
    frame.mend_say = (struct wire_mend_say){.what = (uint8_t)what,
                                            .id = {.term = want->id.term, .index = want->id.index}};
    outbox_put(context->outbox, peer_of(context, question->from)->address, &frame);
    context->counters->mend_denials += what == WIRE_MEND_ABSENT;
}

/* All fragments of an entry, which stays where it is until the outbox is flushed. */
static void
give(const struct mender_context *context, const struct wire_header *question, const uint8_t *entry)
{
    struct wire_frame frame = answer_frame(context, question);
    frame.header.kind = WIRE_MEND_ENTRY;
    /* As small as every node and path takes; what more one takes only its stream finds out. */
    frame.entry = assembly_describe(entry, wire_fragment_bytes(ENTRY_FRAME_BYTES_MIN));
    struct nic_address to = peer_of(context, question->from)->address;
    uint32_t used = frame.entry.used_bytes - NODE_HEADER_BYTES;
    for (uint32_t offset = 0; offset < used;) {
        offset = assembly_cut(&frame, entry, offset);
        outbox_put(context->outbox, to, &frame);
        context->counters->fragments_sent++;
    }
    context->counters->mend_answers++;
}

/* What can be said without looking at the disk: the bytes, that it is not there, or nothing. */
static bool answer_from_memory(const struct mender_context *context,
                               const struct wire_header *question,
                               const struct mend_want *want)
{
    const struct log *log = context->log;
    if (want->id.index <= log->start.last.index) {
        say(context, question, want, WIRE_MEND_TRIMMED);
        return true;
    }
    const struct log_entry *known = log_entry(log, want->id.index);
    bool other = known != NULL && known->term != want->id.term;
    if (want->id.index > log->last.index || other) {
        say(context, question, want, WIRE_MEND_ABSENT);
        return true;
    }
    const uint8_t *bytes = log_bytes(log, want->id.index);
    if (bytes == NULL) {
        return false;
    }
    give(context, question, bytes);
    return true;
}

/* Read the pages below its end; which of them are its own, its last mark tells. */
static void answer_from_disk(struct mender *mender,
                             const struct mender_context *context,
                             const struct wire_header *question,
                             const struct mend_want *want)
{
    uint64_t start = context->log->start.position;
    if (want->end_position <= start || want->end_position > context->durable_position) {
        say(context, question, want, WIRE_MEND_FAULTY);
        return;
    }
    for (uint32_t i = 0; i < MEND_JOBS; i++) {
        struct mender_job *job = &mender->jobs[i];
        if (job->state == MENDER_FREE) {
            uint64_t kept = want->end_position - start;
            job->bytes = kept < ENTRY_BYTES_MAX ? (uint32_t)kept : ENTRY_BYTES_MAX;
            job->position = want->end_position - job->bytes;
            job->question = *question;
            job->want = *want;
            job->state = MENDER_WANTED;
            return;
        }
    }
    context->counters->mend_dropped++;
}

void mender_answer(struct mender *mender,
                   const struct mender_context *context,
                   const struct wire_frame *frame)
{
    const struct mend_want want = {
        .id = {.term = frame->mend_ask.id.term, .index = frame->mend_ask.id.index},
        .end_position = frame->mend_ask.end_position,
    };
    /* A node that knows of no term yet has no entries either, and no node's frame is of none. */
    if (peer_of(context, frame->header.from) == NULL || context->header.term == 0 ||
        mender->answered == MEND_ANSWERS_MAX) {
        context->counters->mend_dropped++;
        return;
    }
    mender->answered++;
    if (!mender->active) {
        if (!answer_from_memory(context, &frame->header, &want)) {
            answer_from_disk(mender, context, &frame->header, &want);
        }
        return;
    }
    (void)outbox_flush(context->outbox); /* It may still hold the answer before. */
    if (mend_read(&mender->mend, &want, mender->answer)) {
        give(context, &frame->header, mender->answer);
        context->counters->mend_answers_faulty++;
    } else {
        say(context, &frame->header, &want, WIRE_MEND_FAULTY);
    }
}

uint32_t mender_serve(struct mender *mender, const struct mender_context *context)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < MEND_JOBS; i++) {
        struct mender_job *job = &mender->jobs[i];
        if (job->state != MENDER_READY || mender->answered == MEND_ANSWERS_MAX) {
            continue;
        }
        mender->answered++;
        const uint8_t *entry = mend_find(&job->want, context->cluster, job->buffer, job->bytes);
        if (entry != NULL) {
            give(context, &job->question, entry);
        } else {
            say(context, &job->question, &job->want, WIRE_MEND_FAULTY);
        }
        job->state = MENDER_FREE;
        count++;
    }
    return count;
}

uint64_t mender_read_deadline_ns(const struct mender *mender)
{
    bool wanted = false;
    for (uint32_t i = 0; i < MEND_JOBS; i++) {
        wanted = wanted || mender->jobs[i].state == MENDER_WANTED;
    }
    return wanted ? mender->read_due_ns : UINT64_MAX;
}

bool mender_may_read(const struct mender *mender, const struct mender_context *context)
{
    return context->now_ns >= mender->read_due_ns;
}

void mender_reading(struct mender *mender,
                    const struct mender_context *context,
                    struct mender_job *job)
{
    ASSERT(job->state == MENDER_WANTED);
    job->state = MENDER_READING;
    mender->read_due_ns = context->now_ns + job->bytes * NS_PER_S / context->read_bytes_per_s;
    context->counters->disk_fetches++;
}
