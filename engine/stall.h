/* stall.h: for how long the node's disk owes an answer.
 *
 * Only time in which the node ran counts. A process that is stopped, or a machine that is paused,
 * stops the kernel's threads that carry requests out as well, and comes back to requests as old as
 * its absence, which the disk may not even have been asked. (A call that keeps the loop itself is
 * such an absence too: what it waited for answered at last.)
 */
#ifndef ENGINE_STALL_H
#define ENGINE_STALL_H

#include <stdint.h>

/* All 0: no time was lost. */
struct stall {
    uint64_t lost_ns;    /* At least what the oldest request that is under way has lost. */
    uint64_t lost_at_ns; /* When the node ran again last. */
};

/* The node runs again at `now_ns`, and did not for `lost_ns`. */
void stall_time_lost(struct stall *stall, uint64_t now_ns, uint64_t lost_ns);

/* Age of the oldest request under way, begun at `oldest_ns`, in ns; UINT64_MAX: there is none. */
uint64_t stall_age_ns(struct stall *stall, uint64_t now_ns, uint64_t oldest_ns);

#endif
