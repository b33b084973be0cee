/* terms.c: the runs of terms.h, in one sorted array, searched by halving. */
#include "engine/raft/terms.h"

#include "engine/base/assert.h"

#include <string.h>

void terms_init(struct terms *terms, struct raft_entry_id floor)
{
    ASSERT((floor.term == 0) == (floor.index == 0));
    terms->floor = floor;
    terms->last_index = floor.index;
    terms->run_count = 0;
}

/* Remove the oldest `count` runs; the floor is the caller's. */
static void terms_drop(struct terms *terms, uint32_t count)
{
    ASSERT(count <= terms->run_count);
    terms->run_count -= count;
    memmove(&terms->runs[0], &terms->runs[count], terms->run_count * sizeof(terms->runs[0]));
}

void terms_append_run(struct terms *terms, struct raft_run run, uint64_t last_index)
{
    ASSERT(run.first_index == terms->last_index + 1);
    ASSERT(last_index >= run.first_index);
    ASSERT(run.term > 0);
    ASSERT(run.term >= terms_last(terms).term); /* Equal: the floor's own run goes on. */
    ASSERT(terms->run_count == 0 || run.term > terms->runs[terms->run_count - 1].term);
    if (UNLIKELY(terms->run_count == TERM_RUNS_MAX)) {
        terms->floor.term = terms->runs[0].term;
        terms->floor.index = terms->runs[1].first_index - 1;
        terms_drop(terms, 1);
    }
    terms->runs[terms->run_count] = run;
    terms->run_count++;
    terms->last_index = last_index;
}

/* The run that holds `index`, which lies above the floor and not above the last. */
static uint32_t terms_find(const struct terms *terms, uint64_t index)
{
    uint32_t low = 0;
    uint32_t high = terms->run_count;

    ASSERT(index > terms->floor.index);
    ASSERT(index <= terms->last_index);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (terms->runs[middle].first_index <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    ASSERT(terms->runs[low].first_index <= index);
    return low;
}

void terms_cut(struct terms *terms, uint64_t keep_index)
{
    ASSERT(keep_index >= terms->floor.index);
    ASSERT(keep_index <= terms->last_index);
    while (terms->run_count > 0 && terms->runs[terms->run_count - 1].first_index > keep_index) {
        terms->run_count--;
    }
    terms->last_index = keep_index;
}

void terms_trim(struct terms *terms, struct raft_entry_id floor)
{
    ASSERT(floor.index <= terms->last_index);
    if (floor.index <= terms->floor.index) {
        return;
    }
    uint32_t run = terms_find(terms, floor.index);
    ASSERT(terms->runs[run].term == floor.term);
    uint64_t end =
        run + 1 < terms->run_count ? terms->runs[run + 1].first_index - 1 : terms->last_index;
    terms->runs[run].first_index = floor.index + 1;
    terms_drop(terms, floor.index == end ? run + 1 : run);
    terms->floor = floor;
}

uint64_t terms_search(const struct terms *terms, uint64_t index)
{
    ASSERT(index <= terms->last_index);
    if (index <= terms->floor.index) {
        return index == terms->floor.index ? terms->floor.term : 0;
    }
    return terms->runs[terms_find(terms, index)].term;
}

/* How many runs have a term of at most `term`. */
static uint32_t terms_count_at_most(const struct terms *terms, uint64_t term)
{
    uint32_t low = 0;
    uint32_t high = terms->run_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (terms->runs[middle].term <= term) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct raft_entry_id terms_at_most(const struct terms *terms, struct raft_entry_id bound)
{
    uint64_t index = bound.index < terms->last_index ? bound.index : terms->last_index;
    uint32_t count = terms_count_at_most(terms, bound.term);
    uint64_t end = terms->floor.index;

    if (count > 0) {
        end = count < terms->run_count ? terms->runs[count].first_index - 1 : terms->last_index;
    }
    index = end < index ? end : index;
    struct raft_entry_id found = {terms_at(terms, index), index};
    if (found.term == 0 || found.term > bound.term) {
        return (struct raft_entry_id){0, 0};
    }
    return found;
}
