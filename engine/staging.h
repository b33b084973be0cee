/* staging.h: requests of several frames, half received.
 *
 * A record that no frame holds travels in fragments; they are put together here, in any order,
 * until the request is whole. Bounded: one more than CLIENT_STAGING_MAX takes the room of the one
 * that was silent for longest.
 *
 * Must not know what becomes of a request.
 */
#ifndef ENGINE_STAGING_H
#define ENGINE_STAGING_H

#include "engine/base/mem.h"
#include "engine/wire.h"

#include <stdint.h>

struct staging_request {
    uint64_t client; /* 0: free. */
    uint64_t client_boot;
    uint64_t token;
    uint64_t touched_ns;
    uint32_t request_bytes;
    uint32_t received_bytes;
    uint32_t part_bytes; /* Of every fragment but the last; 0: none of them has come. */
    uint32_t last_bytes; /* Of the last one; 0: it has not come. */
    uint32_t fragment_count;
    uint32_t offsets[FRAGMENTS_MAX]; /* Of the fragments held. */
    uint8_t *bytes;                  /* ENTRY_BYTES_MAX. */
};

struct staging {
    struct staging_request requests[CLIENT_STAGING_MAX];
};

uint64_t staging_memory_bytes(void);
void staging_init(struct staging *staging, struct mem *mem);

/* Forget them all. */
void staging_reset(struct staging *staging);

/* Keep a fragment. Returns the request's bytes, frame->request.request_bytes of them, when it is
 * whole: they stay until the next call; else NULL. */
const uint8_t *
staging_put(struct staging *staging, const struct wire_frame *frame, uint64_t now_ns);

#endif
