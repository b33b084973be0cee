/* quorum.h: what a majority is. Pure functions over sets of node ids.
 *
 * A configuration is decided by a majority of its voters and, while it is joint, by a majority of
 * the outgoing voters as well (sections 4.3 and 6). Votes are sets and never counters: a vote that
 * comes twice is one vote (rule B2). Nothing in here knows roles, terms or time.
 */
#ifndef ENGINE_RAFT_QUORUM_H
#define ENGINE_RAFT_QUORUM_H

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/raft/raft.h"

#include <stdint.h>

static inline raft_set set_of(uint8_t id)
{
    ASSERT(id >= 1);
    ASSERT(id <= NODE_ID_MAX);
    return (raft_set)1 << id;
}

static inline bool set_has(raft_set set, uint8_t id)
{
    return ((set >> id) & 1u) != 0;
}

static inline uint32_t set_count(raft_set set)
{
    return (uint32_t)__builtin_popcountll(set);
}

/* The smallest id of a set that is not empty. */
static inline uint8_t set_first(raft_set set)
{
    ASSERT(set != 0);
    return (uint8_t)__builtin_ctzll(set);
}

/* More than half of `voters` are in `yes`. Nobody to ask agrees: the missing half of a
 * configuration that is not joint. */
static inline bool quorum_majority(raft_set voters, raft_set yes)
{
    return voters == 0 || set_count(voters & yes) > set_count(voters) / 2;
}

/* `yes` decides for the configuration. Without any voter nothing is ever decided. */
static inline bool quorum_agrees(const struct raft_configuration *configuration, raft_set yes)
{
    return configuration->voters != 0 && quorum_majority(configuration->voters, yes) &&
           quorum_majority(configuration->outgoing, yes);
}

/* The highest value that a majority of `voters` has reached; `values` is indexed by node id.
 * UINT64_MAX for nobody, so that the minimum with another half is that other half. */
static inline uint64_t quorum_majority_value(raft_set voters, const uint64_t *values)
{
    uint64_t sorted[VOTERS_MAX] = {0};
    uint32_t count = 0;

    ASSERT(set_count(voters) <= VOTERS_MAX);
    for (raft_set rest = voters; rest != 0; rest &= rest - 1) {
        uint64_t value = values[set_first(rest)];
        uint32_t at = count++;
        for (; at > 0 && sorted[at - 1] < value; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = value;
    }
    return count == 0 ? UINT64_MAX : sorted[count / 2];
}

/* The highest value that a quorum of the configuration has reached; 0 without voters. */
static inline uint64_t quorum_value(const struct raft_configuration *configuration,
                                    const uint64_t *values)
{
    if (configuration->voters == 0) {
        return 0;
    }
    uint64_t incoming = quorum_majority_value(configuration->voters, values);
    if (LIKELY(configuration->outgoing == 0)) {
        return incoming;
    }
    uint64_t outgoing = quorum_majority_value(configuration->outgoing, values);
    return incoming < outgoing ? incoming : outgoing;
}

/* The highest value that every voter of either half has reached; 0 without voters. */
static inline uint64_t quorum_value_of_all(const struct raft_configuration *configuration,
                                           const uint64_t *values)
{
    raft_set voters = configuration->voters | configuration->outgoing;
    uint64_t lowest = voters == 0 ? 0 : UINT64_MAX;

    for (raft_set rest = voters; rest != 0; rest &= rest - 1) {
        uint64_t value = values[set_first(rest)];
        lowest = value < lowest ? value : lowest;
    }
    return lowest;
}

#endif
