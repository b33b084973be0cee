/* suspects.c: see suspects.h. */
#include "engine/suspects.h"

#include "engine/base/assert.h"

#include <stddef.h>

static struct suspect *find(struct suspects *suspects, uint64_t position)
{
    for (uint32_t i = 0; i < suspects->count; i++) {
        if (suspects->list[i].position == position) {
            return &suspects->list[i];
        }
    }
    return NULL;
}

static struct suspect *find_or_add(struct suspects *suspects, uint64_t position)
{
    struct suspect *known = find(suspects, position);
    if (known == NULL && suspects->count < SUSPECTS_MAX) {
        known = &suspects->list[suspects->count++];
        *known = (struct suspect){.position = position};
    }
    return known;
}

static bool waits_within(const struct suspects *suspects, uint64_t position)
{
    for (uint32_t i = 0; i < suspects->count; i++) {
        const struct suspect *known = &suspects->list[i];
        if (known->waits && known->position <= position && position < known->end) {
            return true;
        }
    }
    return false;
}

void suspects_note(struct suspects *suspects, uint64_t position)
{
    ASSERT(position % PAGE_BYTES == 0);
    if (!waits_within(suspects, position)) {
        (void)find_or_add(suspects, position);
    }
}

/* What was noted within [position, end) has been looked at with it. */
static void notes_drop(struct suspects *suspects, uint64_t position, uint64_t end)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < suspects->count; i++) {
        const struct suspect known = suspects->list[i];
        if (known.waits || known.position < position || known.position >= end) {
            suspects->list[kept++] = known;
        }
    }
    suspects->count = kept;
}

void suspects_wait(struct suspects *suspects, uint64_t position, uint64_t end, uint64_t due_ns)
{
    ASSERT(position % PAGE_BYTES == 0);
    ASSERT(position < end);
    notes_drop(suspects, position, end);
    struct suspect *suspect = find_or_add(suspects, position);
    if (suspect != NULL) {
        suspect->end = end;
        suspect->due_ns = due_ns;
        suspect->waits = true;
    }
}

bool suspects_first(const struct suspects *suspects, struct suspect *first)
{
    for (uint32_t i = 0; i < suspects->count; i++) {
        if (i == 0 || suspects->list[i].due_ns < first->due_ns) {
            *first = suspects->list[i];
        }
    }
    return suspects->count > 0;
}

void suspects_drop(struct suspects *suspects, uint64_t position)
{
    struct suspect *known = find(suspects, position);
    if (known != NULL) {
        *known = suspects->list[--suspects->count];
    }
}

void suspects_settle(struct suspects *suspects, uint64_t position, uint64_t since_ns)
{
    const struct suspect *known = find(suspects, position);
    if (known != NULL && known->due_ns <= since_ns) {
        suspects_drop(suspects, position);
    }
}

uint32_t suspects_waiting(const struct suspects *suspects)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < suspects->count; i++) {
        count += suspects->list[i].waits;
    }
    return count;
}
