/* suspects.h: places of the own log at which somebody found a bad page, for the scrubber.
 *
 * Whoever reads from the disk notes where an entry was not what it should be; the scrubber looks
 * there next. A place that nobody could mend waits here, to be looked at again, with all that was
 * given up there: whatever is found bad within it meanwhile is not new. A full table forgets what
 * comes: whoever found it will find it again, and so will the next pass.
 *
 * Must not know logs or disks: a position is a number.
 */
#ifndef ENGINE_SUSPECTS_H
#define ENGINE_SUSPECTS_H

#include "engine/base/limits.h"

#include <stdbool.h>
#include <stdint.h>

struct suspect {
    uint64_t position; /* At or before the damage. */
    uint64_t end;      /* If it waits: of what could not be mended. */
    uint64_t due_ns;   /* When it is looked at. */
    bool waits;        /* It was, and nobody could mend it. */
};

struct suspects {
    uint32_t count;
    struct suspect list[SUSPECTS_MAX];
};

/* A bad page was read: to be looked at now, unless the place is known, or in one that waits. */
void suspects_note(struct suspects *suspects, uint64_t position);

/* Nobody could mend [position, end): to be looked at again at `due_ns`. */
void suspects_wait(struct suspects *suspects, uint64_t position, uint64_t end, uint64_t due_ns);

/* The place that is due first. False: there is none at all. */
bool suspects_first(const struct suspects *suspects, struct suspect *first);

/* Forget a place, if it is known. */
void suspects_drop(struct suspects *suspects, uint64_t position);

/* It has been looked at since `since_ns`: forget it, unless it was found to wait again. */
void suspects_settle(struct suspects *suspects, uint64_t position, uint64_t since_ns);

/* Places that wait. */
uint32_t suspects_waiting(const struct suspects *suspects);

#endif
