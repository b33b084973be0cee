/* machine.h: the state beside the log, the same function of the log on every replica.
 *
 * Small on purpose (design D10): the configuration in force, the sessions of clients, the log
 * start, and what a segment boundary needs so that the log can begin there: a log without a
 * blocking snapshot. Entries tell it twice: when they are appended (a configuration and a session's
 * record count at once, and are rolled back by a cut) and when they are committed (a trim moves the
 * start, and the state of a boundary is kept for the disk).
 *
 * Must not know frames, disks or memory slots: it gets entry headers and bodies, gives bytes.
 */
#ifndef ENGINE_MACHINE_H
#define ENGINE_MACHINE_H

#include "engine/base/assert.h"
#include "engine/base/entry.h"
#include "engine/base/mem.h"
#include "engine/raft/raft.h"
#include "engine/session.h"
#include "storage/recover.h"

#include <stdbool.h>
#include <stdint.h>

#define MACHINE_TRIMS_MAX          16u /* Trims appended and not yet applied. */
#define MACHINE_CONFIGURATIONS_MAX 4u  /* At most one is uncommitted; the rest are committed. */
#define CONFIGURATION_BODY_BYTES   (32u + NODES_MAX * 16u)
#define TRIM_BODY_BYTES            32u
#define MACHINE_STATE_BYTES        (CONFIGURATION_BODY_BYTES + SESSIONS_BYTES_MAX)
#define MACHINE_STATES_MAX         16u /* Of boundaries that are applied and not on disk yet. */

struct machine_trim {
    uint64_t index;
    struct log_start start;
};

/* The small state of a boundary: configuration, then sessions. */
struct machine_state {
    struct log_start boundary;
    uint32_t bytes;
    uint8_t *state; /* MACHINE_STATE_BYTES. */
};

struct machine {
    struct raft_configuration configurations[MACHINE_CONFIGURATIONS_MAX]; /* Oldest first. */
    uint32_t configuration_count;
    struct machine_trim trims[MACHINE_TRIMS_MAX]; /* Ascending by index. */
    uint32_t trim_count;
    struct log_start *boundaries; /* By segment number % boundary_count: where segments begin. */
    uint64_t boundary_count;
    uint64_t segment_bytes;
    struct sessions sessions;
    struct machine_state states[MACHINE_STATES_MAX]; /* A FIFO: not handed to the disk yet. */
    uint64_t state_head;
    uint64_t state_tail;
    uint64_t kept_segment;    /* States up to this boundary are in the FIFO or behind it. */
    uint64_t written_segment; /* States up to this boundary are handed to the disk. */
    bool recovering;          /* Until machine_opened(). */
    uint64_t applied_index;
    struct log_start wanted_start; /* By the last trim applied. */
};

uint64_t machine_memory_bytes(void);
void machine_init(struct machine *machine, struct mem *mem);

/* Where a log begins. */
struct machine_origin {
    struct log_start start;
    struct raft_configuration configuration; /* In force there. */
    uint64_t ring_bytes;
    uint64_t segment_bytes;
};

/* Begin, without sessions. */
void machine_begin(struct machine *machine, const struct machine_origin *origin);

/* Begin with the small state at origin->start in place of origin->configuration. False: no replica
 * encodes such bytes. */
MUST_USE bool machine_begin_state(struct machine *machine,
                                  const struct machine_origin *origin,
                                  const uint8_t *state,
                                  uint32_t state_bytes);

/* An entry was appended: recovered, or taken from another leader. `entry` holds all its bytes,
 * checked. */
void machine_append(struct machine *machine, const uint8_t *entry);

/* The same for an entry of this leader's own, whose records of sessions were taken before
 * (sessions_take). */
void machine_append_own(struct machine *machine, const uint8_t *entry);

/* Entries after `keep`, which ends at `position`, were cut. */
void machine_cut(struct machine *machine, uint64_t keep, uint64_t position);

/* Entries up to `index` are committed. True when the wanted start has moved. */
MUST_USE bool machine_apply(struct machine *machine, uint64_t index);

/* Recovery is over, and the log ends at `end_position`. States that found no room in the FIFO were
 * given up, and so are now all that lie too far below the end: machine_room_position() let the log
 * grow so far only when they had been handed to the disk, one after the other, and all but the
 * newest of those are durable. */
void machine_opened(struct machine *machine, uint64_t end_position);

/* Entries may be taken up to this position: so far the FIFO of states cannot overflow. It never
 * falls. */
uint64_t machine_room_position(const struct machine *machine);

/* The configuration in force: the last one appended. */
const struct raft_configuration *machine_configuration(const struct machine *machine);

/* The next small state that should be written, NULL when there is none. machine_state_written()
 * ticks it off. */
const struct machine_state *machine_state_owed(const struct machine *machine);
void machine_state_written(struct machine *machine);

/* The last boundary at or below `position`, to trim to; false when it is not above the start. */
MUST_USE bool machine_boundary_below(const struct machine *machine,
                                     uint64_t position,
                                     struct log_start *boundary);

/* Bodies of configuration and trim entries, and the bytes of a small state. Decoding returns false
 * for bytes that no leader makes: the entry's checksums held, so it is refused and counted. */
void configuration_encode(const struct raft_configuration *configuration,
                          uint8_t body[CONFIGURATION_BODY_BYTES]);
MUST_USE bool configuration_decode(const uint8_t *body,
                                   uint32_t body_bytes,
                                   struct raft_configuration *configuration);
void trim_encode(const struct log_start *start, uint8_t body[TRIM_BODY_BYTES]);
MUST_USE bool trim_decode(const uint8_t *body, uint32_t body_bytes, struct log_start *start);

/* Check the body of a taken entry of any kind; NULL or what is wrong. */
const char *machine_check(const uint8_t *entry);

#endif
