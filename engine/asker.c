/* asker.c: see asker.h. */
#include "engine/asker.h"

uint64_t asker_memory_bytes(void)
{
    return ENTRY_BYTES_MAX + 1ull * PAGE_BYTES;
}

void asker_init(struct asker *asker, struct mem *mem)
{
    *asker = (struct asker){.due_ns = UINT64_MAX};
    asker->entry = mem_take(mem, "an entry asked for", 1, ENTRY_BYTES_MAX, PAGE_BYTES);
}

void asker_want(struct asker *asker, const struct mend_want *want)
{
    asker->asks = want != NULL;
    asker->want = want != NULL ? *want : (struct mend_want){0};
    asker->assembly = (struct assembly){0};
    asker->vain = 0;
    asker->rounds = 0;
    asker->waits_for = 0;
    asker->due_ns = asker->asks ? 0 : UINT64_MAX;
}

bool asker_is_vain(const struct asker *asker, uint64_t now_ns)
{
    return asker->rounds > 0 && now_ns >= asker->due_ns;
}

void asker_forget(struct asker *asker)
{
    asker->assembly = (struct assembly){0};
}

uint64_t asker_deadline_ns(const struct asker *asker)
{
    return asker->due_ns;
}

uint32_t asker_ask(struct asker *asker, const struct asker_context *context)
{
    if (!asker->asks || context->now_ns < asker->due_ns) {
        return 0;
    }
    ASSERT(context->peer_count > 0);
    if (asker->token != 0 && asker->vain > 0) {
        asker->peer = (asker->peer + 1) % context->peer_count;
    }
    const struct asker_peer *peer = &context->peers[asker->peer];
    const struct mend_want *want = &asker->want;
    asker->vain++;
    asker->waits_for |= 1ull << peer->id;
    asker->due_ns = context->now_ns + MEND_ASK_NS;
    if (asker->vain >= context->peer_count) {
        asker->vain = 1; /* Everybody was asked: the next round begins after a rest. */
        asker->rounds++;
        asker->due_ns = context->now_ns + MEND_REST_NS;
    }
    struct wire_frame frame = {.header = context->header};
    frame.header.kind = WIRE_MEND_ASK;
    frame.header.to = peer->id;
    frame.header.token = ++asker->token;
    frame.mend_ask = (struct wire_mend_ask){
        .id = {.term = want->id.term, .index = want->id.index},
        .end_position = want->end_position,
    };
    outbox_put(context->outbox, peer->address, &frame);
    context->counters->mend_questions++;
    return 1;
}

static bool is_wanted(const struct asker *asker, const struct wire_entry *entry)
{
    const struct mend_want *want = &asker->want;
    uint64_t end = entry->position + (uint64_t)entry->pages * PAGE_BYTES;
    return asker->asks && entry->id.term == want->id.term && entry->id.index == want->id.index &&
           end == want->end_position;
}

uint8_t *
asker_take(struct asker *asker, const struct asker_context *context, const struct wire_frame *frame)
{
    const struct wire_entry *entry = &frame->entry;
    struct assembly *assembly = &asker->assembly;
    if (!is_wanted(asker, entry)) {
        context->counters->fragments_known++;
        return NULL;
    }
    if (!assembly_fits(assembly, entry)) {
        *assembly = assembly_of(entry); /* The first one, or cut by another peer otherwise. */
    }
    uint32_t number = entry->offset / entry->fragment_bytes;
    if ((assembly->bitmap >> number & 1u) != 0) {
        context->counters->fragments_known++;
        return NULL;
    }
    context->counters->fragments_received++;
    asker->due_ns = context->now_ns + MEND_ASK_NS;
    if (!assembly_put(assembly, asker->entry, frame)) {
        return NULL;
    }
    if (!assembly_finish(assembly, asker->entry, context->cluster)) {
        context->counters->pages_bad++;
        return NULL;
    }
    return asker->entry;
}

void asker_refused(struct asker *asker,
                   const struct asker_context *context,
                   const struct wire_frame *frame)
{
    const struct mend_want *want = &asker->want;
    const struct wire_mend_say *say = &frame->mend_say;
    bool current = asker->asks && frame->header.token == asker->token &&
                   frame->header.from == context->peers[asker->peer].id &&
                   say->id.term == want->id.term && say->id.index == want->id.index;
    context->counters->mend_refusals++;
    bool rests = context->now_ns + MEND_ASK_NS < asker->due_ns;
    if (current && !rests) {
        asker->due_ns = 0; /* On to the next one. */
    }
}
