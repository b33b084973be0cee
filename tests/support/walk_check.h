/* walk_check.h: what every walk over every disk must hold against recovery's finding. */
#ifndef TESTS_SUPPORT_WALK_CHECK_H
#define TESTS_SUPPORT_WALK_CHECK_H

#include "storage/walk.h"

/* Walk the log: items follow each other without a gap up to the window's end; the proven prefix is
 * as recovery told it; bad pages are as many; and where recovery found what was durable gone, the
 * first thing missing is told as damage. NULL, or what does not hold. */
const char *walk_check(struct disk *disk, const struct recovery *found, uint8_t *buffer);

#endif
