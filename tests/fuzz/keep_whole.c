/* keep_whole.c: all of a keep is copied back. See keep.h.
 */
#include "tests/fuzz/keep.h"

#include "engine/base/assert.h"
#include "engine/base/limits.h"

#include <stdlib.h>
#include <string.h>

void keep_open(struct keep *keep, uint64_t bytes)
{
    keep->bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    keep->base = aligned_alloc(PAGE_BYTES, keep->bytes);
    keep->saved = aligned_alloc(PAGE_BYTES, keep->bytes);
    ASSERT(keep->base != NULL);
    ASSERT(keep->saved != NULL);
    memset(keep->base, 0, keep->bytes);
}

void keep_save(struct keep *keep)
{
    memcpy(keep->saved, keep->base, keep->bytes);
}

void keep_back(struct keep *keep)
{
    memcpy(keep->base, keep->saved, keep->bytes);
}
