/* stream_in.c: the follower's half of a stream. See stream.h. */
#include "engine/machine.h"
#include "engine/stream.h"

#include <string.h>

uint64_t stream_memory_bytes(uint32_t peers)
{
    uint64_t peer_bytes =
        STREAM_FETCH_BYTES + STREAM_ENTRIES_MAX * sizeof(struct stream_cut) + 2ull * PAGE_BYTES;
    return peers * peer_bytes + ENTRY_BYTES_MAX + ASSEMBLY_MAX * sizeof(struct assembly) +
           3ull * PAGE_BYTES;
}

void stream_in_init(struct stream_in *in, struct mem *mem)
{
    *in = (struct stream_in){0};
    in->staging = mem_take(mem, "staging slot", 1, ENTRY_BYTES_MAX, PAGE_BYTES);
    in->assemblies = mem_take(mem, "assemblies", ASSEMBLY_MAX, sizeof(struct assembly), 64);
}

static struct assembly *assembly_at(const struct stream_in *in, uint64_t index)
{
    return &in->assemblies[index & (ASSEMBLY_MAX - 1)];
}

static void forget(struct stream_in *in, struct assembly *assembly)
{
    if (assembly->staged) {
        in->staging_used = false;
    }
    *assembly = (struct assembly){0};
}

/* Follow the core and the leader: a new term, leader or session forgets what was half received.
 * False: the frame is of another leader, or of an older session. */
static bool follow(struct stream_in *in,
                   const struct stream_context *context,
                   const struct wire_header *header,
                   uint32_t session)
{
    uint64_t term = raft_term(context->raft);
    if (header->term != term || raft_leader(context->raft) != header->from ||
        raft_is_leader(context->raft)) {
        return false;
    }
    bool same = in->term == term && in->leader == header->from;
    if (same && session < in->session) {
        return false;
    }
    if (!same || session > in->session) {
        memset(in->assemblies, 0, ASSEMBLY_MAX * sizeof *in->assemblies);
        in->leader = header->from;
        in->term = term;
        in->session = session;
        in->probe = 0;
        in->staging_used = false;
        in->seen_index = 0;
        in->seen_bitmap = 0;
        in->gap_ns = 0;
        in->credit_position = 0;
        in->commit_index = 0;
    }
    return true;
}

/* How far the own log is firm: durable, and known to equal the leader's. A tail beyond that may be
 * cut, so nothing may stand on its being durable: neither a slot a ring above it nor a credit. */
static uint64_t firm_position(const struct stream_context *context)
{
    uint64_t verified = raft_verified_index(context->raft);
    uint64_t position = context->durable_position;
    struct log_end end;
    if (verified >= context->log->last.index) {
        return position;
    }
    if (!log_end_at(context->log, verified, &end)) {
        const struct log_entry *oldest = log_entry(context->log, context->log->known_index);
        end.position = oldest == NULL ? context->log->start.position : oldest->position;
    }
    return end.position < position ? end.position : position;
}

static uint64_t received_index(const struct stream_in *in, const struct stream_context *context)
{
    uint64_t index = raft_verified_index(context->raft);
    for (uint32_t i = 0; i < ASSEMBLY_MAX; i++) {
        const struct assembly *next = assembly_at(in, index + 1);
        if (next->index != index + 1 || !next->complete) {
            break;
        }
        index++;
    }
    return index;
}

/* Which fragments of the first incomplete entry should have come by now; 0: none. */
static uint64_t missing_of(const struct stream_in *in, uint64_t index)
{
    if (index > in->seen_index) {
        return 0;
    }
    const struct assembly *assembly = assembly_at(in, index);
    uint64_t expected = index < in->seen_index ? ~0ull : in->seen_bitmap;
    if (assembly->index != index) {
        return expected;
    }
    return expected & assembly_all(assembly) & ~assembly->bitmap;
}

static void watch_gap(struct stream_in *in, const struct stream_context *context)
{
    uint64_t index = received_index(in, context) + 1;
    if (missing_of(in, index) == 0) {
        in->gap_ns = 0;
    } else if (in->gap_ns == 0 || in->gap_index != index) {
        in->gap_ns = context->now_ns;
        in->gap_index = index;
    }
}

static void see(struct stream_in *in, uint64_t index, uint64_t bitmap)
{
    if (index > in->seen_index) {
        in->seen_index = index;
        in->seen_bitmap = bitmap;
    } else if (index == in->seen_index) {
        in->seen_bitmap |= bitmap;
    }
}

/* Where the bytes of a new entry go: its slot, or the staging slot when it conflicts with the tail.
 * NULL: nowhere now; it will be asked for again. */
static uint8_t *room_for(struct stream_in *in,
                         const struct stream_context *context,
                         const struct assembly *assembly)
{
    if (assembly->staged) {
        return in->staging;
    }
    if (raft_cut_pending(context->raft)) {
        return NULL; /* The suffix that is being cut may still be on its way to the disk. */
    }
    uint32_t bytes = (uint32_t)assembly->pages * PAGE_BYTES;
    if (assembly->position < context->log->end_position ||
        assembly->position + bytes > context->space_position) {
        return NULL;
    }
    return log_place(context->log, assembly->position, bytes, firm_position(context));
}

/* Begin an entry, or find the one begun. NULL: this fragment cannot be used now. */
static struct assembly *
begin(struct stream_in *in, const struct stream_context *context, const struct wire_entry *entry)
{
    struct assembly *assembly = assembly_at(in, entry->id.index);
    if (assembly->index == entry->id.index) {
        bool same = assembly->term == entry->id.term && assembly->position == entry->position &&
                    assembly->used_bytes == entry->used_bytes;
        if (same && !assembly->complete && entry->fragment_bytes < assembly->fragment_bytes) {
            assembly->fragment_bytes = entry->fragment_bytes;
            assembly->bitmap = 0; /* Fragments of the larger cut do not come through. */
        }
        same = same && (assembly->complete || assembly->fragment_bytes == entry->fragment_bytes);
        return same ? assembly : NULL;
    }
    if (raft_cut_pending(context->raft)) {
        return NULL; /* What the log still has may be gone in a moment. */
    }
    ASSERT(assembly->index == 0 || assembly->index <= raft_verified_index(context->raft));
    struct assembly fresh = assembly_of(entry);
    if (entry->id.index <= context->log->last.index) {
        if (raft_entry_term(context->raft, entry->id.index) == entry->id.term) {
            fresh.complete = true; /* The log has these very bytes. */
        } else if (!in->staging_used && entry->id.index == raft_verified_index(context->raft) + 1) {
            fresh.staged = true;
            in->staging_used = true;
            context->counters->staged++;
        } else {
            return NULL;
        }
    }
    forget(in, assembly);
    *assembly = fresh;
    return assembly;
}

uint32_t stream_in_entry(struct stream_in *in,
                         const struct stream_context *context,
                         const struct wire_frame *frame)
{
    const struct wire_entry *entry = &frame->entry;
    if (!follow(in, context, &frame->header, entry->session)) {
        context->counters->fragments_refused++;
        return 0;
    }
    if (entry->commit_index > in->commit_index) {
        in->commit_index = entry->commit_index;
    }
    if (frame->payload_bytes == 0) {
        see(in, entry->id.index, ~0ull);
        in->ack_owed = true;
        in->asked = true;
        return 0;
    }
    uint64_t verified = raft_verified_index(context->raft);
    if (entry->id.index <= verified) {
        context->counters->fragments_known++;
        return 0;
    }
    uint32_t number = entry->offset / entry->fragment_bytes;
    see(in, entry->id.index, assembly_bits(number + 1));
    if (entry->id.index > verified + ASSEMBLY_MAX) {
        context->counters->fragments_refused++;
        return 0;
    }
    struct assembly *assembly = begin(in, context, entry);
    if (assembly == NULL) {
        context->counters->fragments_refused++;
        return 0;
    }
    if (assembly->complete || (assembly->bitmap >> number & 1u) != 0) {
        context->counters->fragments_known++;
        return 0;
    }
    uint8_t *bytes = room_for(in, context, assembly);
    if (bytes == NULL) {
        context->counters->fragments_refused++;
        if (assembly->bitmap == 0) {
            forget(in, assembly);
        }
        return 0;
    }
    context->counters->fragments_received++;
    if (assembly_put(assembly, bytes, frame) &&
        !assembly_finish(assembly, bytes, context->cluster)) {
        context->counters->pages_bad++;
        if (assembly->bitmap == 0) {
            forget(in, assembly);
        }
    }
    return 1;
}

void stream_in_probe(struct stream_in *in,
                     const struct stream_context *context,
                     const struct wire_frame *frame)
{
    if (follow(in, context, &frame->header, frame->probe.session)) {
        in->probe = frame->probe.number;
        in->ack_owed = true;
    }
}

/* The slot of a complete entry that is next behind the log's end. NULL: not now, or not any more.
 */
static const uint8_t *
slot_of(struct stream_in *in, const struct stream_context *context, struct assembly *assembly)
{
    if (raft_cut_pending(context->raft)) {
        return NULL; /* As in room_for(). */
    }
    bool known = assembly->bitmap == 0 && !assembly->staged;
    if (known || assembly->position != context->log->end_position) {
        forget(in, assembly); /* A cut has come between: ask for it again. */
        return NULL;
    }
    uint32_t bytes = (uint32_t)assembly->pages * PAGE_BYTES;
    uint8_t *slot = log_place(context->log, assembly->position, bytes, firm_position(context));
    if (slot == NULL) {
        return NULL;
    }
    if (assembly->staged) {
        memcpy(slot, in->staging, bytes);
    }
    const struct entry_header *header = entry_header_of(slot);
    ASSERT(header->index == assembly->index);
    ASSERT(header->term == assembly->term);
    ASSERT(header->position == assembly->position);
    return slot;
}

/* The configuration that an entry carries, or NULL. */
static const struct raft_configuration *carried_by(const uint8_t *entry,
                                                   struct raft_configuration *configuration)
{
    const struct entry_header *header = entry_header_of(entry);
    if (header->kind != ENTRY_CONFIGURATION) {
        return NULL;
    }
    uint8_t body[CONFIGURATION_BODY_BYTES];
    entry_body_read(entry, 0, body, sizeof body);
    bool good = configuration_decode(body, sizeof body, configuration);
    ASSERT(good); /* machine_check() has seen it. */
    configuration->index = header->index;
    return configuration;
}

/* Offer one complete entry. True when the next one may be offered. */
static bool
offer(struct stream_in *in, const struct stream_context *context, struct assembly *assembly)
{
    const uint8_t *bytes = NULL;
    struct raft_configuration configuration;
    struct raft_event event = {
        .kind = RAFT_EVENT_ENTRY,
        .now_ns = context->now_ns,
        .entry = {.from = in->leader,
                  .term = in->term,
                  .commit_index = in->commit_index,
                  .id = {.term = assembly->term, .index = assembly->index},
                  .previous_term = assembly->previous_term},
    };
    if (assembly->index > context->log->last.index) {
        bytes = slot_of(in, context, assembly);
        if (bytes == NULL) {
            return false;
        }
        if (entry_header_of(bytes)->first_offset != context->log->next_offset) {
            context->counters->entries_unfit++; /* No leader counts so: it is asked for again. */
            forget(in, assembly);
            return false;
        }
        event.entry.configuration = carried_by(bytes, &configuration);
        /* A leader of before may have known more to be committed than this one does yet. */
        uint64_t committed = entry_header_of(bytes)->commit_index;
        if (committed > event.entry.commit_index) {
            event.entry.commit_index = committed;
        }
    }
    switch (raft_step(context->raft, &event)) {
    case RAFT_TAKEN:
        ASSERT(bytes != NULL);
        context->take(context->taker, bytes);
        forget(in, assembly);
        return true;
    case RAFT_KNOWN:
        forget(in, assembly);
        return true;
    case RAFT_WAIT:
        return false;
    case RAFT_REFUSED:
        forget(in, assembly);
        return false;
    }
    return false;
}

uint32_t stream_in_deliver(struct stream_in *in, const struct stream_context *context)
{
    uint32_t taken = 0;
    bool ours = in->term == raft_term(context->raft) && in->leader == raft_leader(context->raft);
    while (ours && taken < ASSEMBLY_MAX) {
        uint64_t index = raft_verified_index(context->raft) + 1;
        struct assembly *next = assembly_at(in, index);
        if (next->index != index || !next->complete || !offer(in, context, next)) {
            break;
        }
        taken++;
    }
    if (ours) {
        watch_gap(in, context);
    } else {
        in->gap_ns = 0;
    }
    return taken;
}

void stream_in_fill_ack(struct stream_in *in,
                        const struct stream_context *context,
                        struct wire_ack *ack)
{
    uint64_t credit = firm_position(context) + context->log->ring_bytes;
    if (credit > context->space_position) {
        credit = context->space_position;
    }
    if (credit > in->credit_position) {
        in->credit_position = credit;
    }
    ack->credit_position = in->credit_position;
    ack->space_position = context->space_position;
    bool ours = in->term == raft_term(context->raft) && in->leader == raft_leader(context->raft) &&
                in->session == ack->session;
    ack->frame_bytes = (uint16_t)context->outbox->nic->frame_bytes_max;
    ack->probe = ours ? in->probe : 0;
    ack->received_index = raft_verified_index(context->raft);
    ack->has_missing = false;
    ack->missing_index = 0;
    ack->missing_bitmap = 0;
    bool ripe = in->asked || (in->gap_ns != 0 && context->now_ns - in->gap_ns >= STREAM_GAP_NS);
    if (ripe) {
        in->told_ns = context->now_ns; /* Whatever it says: one ack for one ripe gap. */
        in->told_index = in->gap_index;
    }
    if (ours) {
        ack->received_index = received_index(in, context);
        uint64_t missing = missing_of(in, ack->received_index + 1);
        if (missing != 0 && ripe) {
            ack->has_missing = true;
            ack->missing_index = ack->received_index + 1;
            ack->missing_bitmap = missing;
        }
    }
    in->ack_owed = false;
    in->asked = false;
}

uint64_t stream_in_deadline_ns(const struct stream_in *in)
{
    if (in->ack_owed) {
        return 0;
    }
    if (in->gap_ns == 0) {
        return UINT64_MAX;
    }
    uint64_t ripe = in->gap_ns + STREAM_GAP_NS;
    uint64_t again = in->told_ns + STREAM_TELL_AGAIN_NS;
    bool told = in->told_index == in->gap_index && in->told_ns > in->gap_ns;
    return told && again > ripe ? again : ripe;
}

bool stream_in_ack_owed(const struct stream_in *in, const struct stream_context *context)
{
    return context->now_ns >= stream_in_deadline_ns(in);
}
