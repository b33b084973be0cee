/* terms.h: which entry of the log has which term, as runs of entries with one term.
 *
 * A log of millions of entries has few terms, so a run for each term answers every question that
 * Raft asks of a log without the log. At most TERM_RUNS_MAX runs are kept: one more drops the
 * oldest and raises the floor, below which the term is not known. What is not known is never cut: a
 * conflict that deep (thousands of terms) leaves the follower waiting for help, and the log whole.
 *
 * Invariant: runs ascend strictly in term and in first_index, and they cover floor.index + 1 to
 * last_index without a gap. Knows nothing of roles, peers or disks.
 */
#ifndef ENGINE_RAFT_TERMS_H
#define ENGINE_RAFT_TERMS_H

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/raft/raft.h"

#include <stddef.h>
#include <stdint.h>

struct terms {
    struct raft_entry_id floor; /* The entry just before the first known one. */
    uint64_t last_index;
    uint32_t run_count;
    struct raft_run runs[TERM_RUNS_MAX];
};

/* An empty log after `floor`. */
void terms_init(struct terms *terms, struct raft_entry_id floor);

/* Append a run that reaches to `last_index`; its term is above the last run's. O(1). */
void terms_append_run(struct terms *terms, struct raft_run run, uint64_t last_index);

/* Forget the entries above keep_index, which is not below the floor. */
void terms_cut(struct terms *terms, uint64_t keep_index);

/* Forget the entries up to and including `floor`. */
void terms_trim(struct terms *terms, struct raft_entry_id floor);

/* The largest entry at or below bound.index whose term is at most bound.term (rule C8): {0, 0} when
 * it lies below the floor. Both logs skip a whole term with each probe. */
struct raft_entry_id terms_at_most(const struct terms *terms, struct raft_entry_id bound);

/* As terms_at(), for an entry before the last run. O(log runs). */
uint64_t terms_search(const struct terms *terms, uint64_t index);

/* The run of the last entry; NULL when nothing above the floor is left. */
static inline const struct raft_run *terms_newest(const struct terms *terms)
{
    return LIKELY(terms->run_count > 0) ? &terms->runs[terms->run_count - 1] : NULL;
}

static inline struct raft_entry_id terms_last(const struct terms *terms)
{
    const struct raft_run *newest = terms_newest(terms);
    uint64_t term = LIKELY(newest != NULL) ? newest->term : terms->floor.term;
    return (struct raft_entry_id){term, terms->last_index};
}

/* Append the entry at last_index + 1; its term is at least the last one's. O(1), and inline like
 * terms_at(): both run several times an entry. */
static inline void terms_append(struct terms *terms, struct raft_entry_id id)
{
    const struct raft_run *newest = terms_newest(terms);

    ASSERT(id.index == terms->last_index + 1);
    if (LIKELY(newest != NULL && newest->term == id.term)) {
        terms->last_index = id.index;
    } else {
        terms_append_run(terms, (struct raft_run){id.term, id.index}, id.index);
    }
}

/* Term of the entry at `index`: 0 below the floor and above the last. O(1) in the last run. */
static inline uint64_t terms_at(const struct terms *terms, uint64_t index)
{
    const struct raft_run *newest = terms_newest(terms);

    if (index > terms->last_index) {
        return 0;
    }
    if (LIKELY(newest != NULL && index >= newest->first_index)) {
        return newest->term;
    }
    return terms_search(terms, index);
}

#endif
