/* stall.c: see stall.h. */
#include "engine/stall.h"

#include "engine/base/assert.h"

void stall_time_lost(struct stall *stall, uint64_t now_ns, uint64_t lost_ns)
{
    ASSERT(lost_ns <= now_ns);
    ASSERT(now_ns >= stall->lost_at_ns);
    stall->lost_ns += lost_ns;
    stall->lost_at_ns = now_ns;
}

uint64_t stall_age_ns(struct stall *stall, uint64_t now_ns, uint64_t oldest_ns)
{
    /* No request has lost more than lies between its begin and the last loss. */
    uint64_t most_ns = oldest_ns < stall->lost_at_ns ? stall->lost_at_ns - oldest_ns : 0;
    stall->lost_ns = stall->lost_ns < most_ns ? stall->lost_ns : most_ns;
    uint64_t begun_ns = oldest_ns < now_ns ? oldest_ns : now_ns;
    uint64_t age_ns = now_ns - begun_ns;
    return age_ns > stall->lost_ns ? age_ns - stall->lost_ns : 0;
}
