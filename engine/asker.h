/* asker.h: one entry from whichever peer has it.
 *
 * It is told which entry is wanted, by (term, index) and where it ends, asks the peers one after
 * the other, puts the fragments together and gives back the whole entry, every byte checked. Which
 * peer has it does not matter: (term, index) names one entry for ever, and its marks prove its
 * bytes. docs/PROTOCOL.md, section 10.
 *
 * Must not know why the entry is wanted, or where it goes. Time is an argument.
 */
#ifndef ENGINE_ASKER_H
#define ENGINE_ASKER_H

#include "engine/assembly.h"
#include "engine/base/mem.h"
#include "engine/outbox.h"
#include "engine/replica_counters.h"
#include "storage/mend.h"

#include <stdbool.h>
#include <stdint.h>

struct asker_peer {
    uint8_t id;
    struct nic_address address;
};

struct asker {
    bool asks;
    struct mend_want want; /* While it asks. */
    struct assembly assembly;
    uint8_t *entry;     /* ENTRY_BYTES_MAX */
    uint32_t peer;      /* Number of the one asked. */
    uint32_t vain;      /* Peers asked for this entry since the last rest, in vain. */
    uint32_t rounds;    /* How often everybody was asked for it. */
    raft_set waits_for; /* Asked for it, and it has not brought it. */
    uint64_t token;
    uint64_t due_ns; /* When the next one is asked. */
};

struct asker_context {
    struct outbox *outbox;
    struct replica_counters *counters;
    struct wire_header header; /* Everything but kind, to, to_boot, token. */
    uint64_t cluster;
    uint64_t now_ns;
    const struct asker_peer *peers;
    uint32_t peer_count;
};

uint64_t asker_memory_bytes(void);
void asker_init(struct asker *asker, struct mem *mem);

/* Ask for this entry from now on, in place of any other: everybody may have it, the one that had
 * the last one is asked first. NULL: for none. */
void asker_want(struct asker *asker, const struct mend_want *want);

/* Ask, if it is time. Returns questions sent. */
uint32_t asker_ask(struct asker *asker, const struct asker_context *context);

/* A fragment came. Returns the entry wanted, if it is whole now and passed every check; it is the
 * caller's to change until the next entry is asked for, or asker_forget(). NULL: not yet. */
uint8_t *asker_take(struct asker *asker,
                    const struct asker_context *context,
                    const struct wire_frame *frame);

/* Everybody was asked for it, and has had his time. */
bool asker_is_vain(const struct asker *asker, uint64_t now_ns);

/* What it gave back is of no use: gather it anew. */
void asker_forget(struct asker *asker);

/* A peer has no such entry. */
void asker_refused(struct asker *asker,
                   const struct asker_context *context,
                   const struct wire_frame *frame);

/* When the next one is asked; UINT64_MAX: nothing is wanted. */
uint64_t asker_deadline_ns(const struct asker *asker);

#endif
