/* mender.c: see mender.h. */
#include "engine/mender.h"

#include <errno.h>

#define NS_PER_S 1000000000ull

uint64_t mender_memory_bytes(void)
{
    return asker_memory_bytes() + (1ull + MEND_JOBS) * ENTRY_BYTES_MAX + 2ull * PAGE_BYTES;
}

void mender_init(struct mender *mender, struct mem *mem)
{
    *mender = (struct mender){0};
    asker_init(&mender->asker, mem);
    mender->answer = mem_take(mem, "mending: an answer", 1, ENTRY_BYTES_MAX, PAGE_BYTES);
    uint8_t *buffers = mem_take(mem, "mending: reads", MEND_JOBS, ENTRY_BYTES_MAX, PAGE_BYTES);
    for (uint32_t i = 0; i < MEND_JOBS; i++) {
        mender->jobs[i].buffer = buffers + (uint64_t)i * ENTRY_BYTES_MAX;
    }
}

/* ---- Asking. ---- */

/* Ask for what is gone now, if anything is known to be. */
static void want_anew(struct mender *mender)
{
    asker_want(&mender->asker, mender->mend.state == MEND_ASKS ? &mender->mend.want : NULL);
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
    return asker_deadline_ns(&mender->asker);
}

uint32_t mender_ask(struct mender *mender, const struct asker_context *context)
{
    ASSERT(mender->active);
    return asker_ask(&mender->asker, context);
}

int mender_take(struct mender *mender,
                const struct asker_context *context,
                const struct wire_frame *frame,
                struct fault *fault)
{
    uint8_t *entry = asker_take(&mender->asker, context, frame);
    if (entry == NULL) {
        return 0;
    }
    uint64_t mended = mender->mend.entries_mended;
    int result = mend_take(&mender->mend, entry, fault);
    if (result == -EINVAL) { /* It begins below the log's start: no leader made it. */
        context->counters->fragments_refused++;
        asker_forget(&mender->asker);
        return 0;
    }
    context->counters->entries_mended += mender->mend.entries_mended - mended;
    want_anew(mender);
    return result;
}

void mender_refused(struct mender *mender,
                    const struct asker_context *context,
                    const struct wire_frame *frame)
{
    ASSERT(mender->active);
    const struct wire_mend_say *said = &frame->mend_say;
    const struct log_id last = {.term = said->last.term, .index = said->last.index};
    const struct mend *mend = &mender->mend;
    bool wanted = mend->state == MEND_ASKS && said->id.term == mend->want.id.term &&
                  said->id.index == mend->want.id.index;
    /* A log that ends at the vote bound or above holds every entry that was committed with this
     * node's help: one that it lacks was not (docs/STORAGE.md, "Mending"). */
    if (wanted && said->what == WIRE_MEND_ABSENT &&
        log_id_compare(last, mend->found.vote_bound) >= 0) {
        context->counters->mends_given_up++;
        mend_give_up(&mender->mend);
        want_anew(mender);
        return;
    }
    asker_refused(&mender->asker, context, frame);
}

/* ---- Answering. ---- */

static const struct asker_peer *peer_of(const struct mender_context *context, uint8_t id)
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
    frame.mend_say = (struct wire_mend_say){
        .what = (uint8_t)what,
        .id = {.term = want->id.term, .index = want->id.index},
    };
    if (context->log_whole) {
        frame.mend_say.last = (struct raft_entry_id){.term = context->log->last.term,
                                                     .index = context->log->last.index};
    }
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
    if (want->id.index > log->last.index) {
        say(context, question, want, context->log_whole ? WIRE_MEND_ABSENT : WIRE_MEND_FAULTY);
        return true;
    }
    if (context->asked_term != 0 && context->asked_term != want->id.term) {
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
            suspects_note(context->suspects, job->want.end_position - PAGE_BYTES);
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
