/* stats.h: what a node tells of itself, item by item, to whoever asks (STATS): facts of its port,
 * and everything that its port, its codec and its replica have counted.
 *
 * Pure: counters in, bytes out. The names are those of the counters, behind `port.`, `frames.`,
 * `replica.` or `capture.`; docs/OPERATING.md says what they mean. It must not know who asks.
 */
#ifndef ENGINE_STATS_H
#define ENGINE_STATS_H

#include "engine/replica_counters.h"
#include "engine/wire.h"
#include "net/nic.h"

struct stats_sources {
    const struct wire_item *facts; /* May be none. */
    uint32_t fact_count;
    const struct nic *nic;
    const struct wire_counters *wire;
    const struct replica_counters *replica;
};

/* Items from number `first` on, as many as fit `room`, and `reply` about them. Returns their bytes.
 * The numbers of items are the same for as long as the sources are the same ones. */
uint32_t stats_write(const struct stats_sources *sources,
                     uint32_t first,
                     uint8_t *out,
                     uint32_t room,
                     struct wire_stats_reply *reply);

#endif
