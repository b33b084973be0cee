/* scrub.h: a running node reads its log again, in the background, and puts back what is damaged.
 *
 * A pass walks what is both durable and committed, from the log's start, entry by entry, with the
 * checks of recovery, at a bounded rate. Where an entry does not stand as it should, its bytes come
 * from memory, from what is intact of it, or from a peer (engine/asker.h), are checked, and those
 * pages that do not stand are written in their place. What nobody has waits as a suspect and is
 * looked at again; the walk goes on behind it. docs/STORAGE.md, "Scrubbing".
 *
 * Which entry is gone is never guessed from what stands in its place: memory knows where entries
 * begin, at the least one in every stride of the log; from there it goes down, each entry naming
 * the one below.
 *
 * A step machine: it says what is to be read or written, and the replica does it. One read or one
 * write is under way at a time. Must not know devices, votes or who leads. Time is an argument.
 */
#ifndef ENGINE_SCRUB_H
#define ENGINE_SCRUB_H

#include "engine/asker.h"
#include "engine/log.h"
#include "engine/raft/raft.h"
#include "engine/suspects.h"
#include "storage/scan.h"

#include <stdbool.h>
#include <stdint.h>

enum scrub_state {
    SCRUB_RESTS,       /* Until the next pass, or till a suspect is due. */
    SCRUB_WANTS_READ,  /* When the rate allows it. */
    SCRUB_READS,       /* Under way. */
    SCRUB_HAS_READ,    /* To be judged. */
    SCRUB_ASKS,        /* The peers, for an entry. */
    SCRUB_WANTS_WRITE, /* One page. */
    SCRUB_WRITES,      /* Under way. */
    SCRUB_HAS_WRITTEN,
};

/* A border between entries. */
struct scrub_place {
    uint64_t position;
    struct log_id last; /* The entry that ends here; term 0: not known. */
};

/* Entries that do not stand, above scrub.at, from the top down. */
struct scrub_hole {
    bool open;
    struct mend_want want;  /* The entry looked for now. */
    struct scrub_place top; /* Where it goes on once the hole is closed, or given up. */
};

struct scrub {
    enum scrub_state state;
    bool blocked;          /* What is wanted was not possible in this iteration. */
    struct scrub_place at; /* Everything looked at so far below it stands, or was given up. */
    uint64_t until;        /* It goes no further; UINT64_MAX: to the end. */
    /* The pass, which waits while a suspect is looked at. */
    bool passing;
    struct scrub_place pass;
    bool state_due; /* Since this pass began, or the last one, the small state at the start was not
                       looked at. */
    uint64_t begun_ns;
    uint64_t next_ns; /* When the next one begins. */
    struct suspects suspects;
    bool detour; /* The suspect at `suspect` is looked at, since `detour_ns`. */
    uint64_t suspect;
    uint64_t detour_ns;
    uint8_t *buffer; /* ENTRY_BYTES_MAX */
    uint64_t read_position;
    uint32_t read_bytes;
    uint64_t due_ns; /* By the rate: nothing is read before. */
    struct scrub_hole hole;
    /* The entry that is put in its place: the asker's, or `copy`. */
    struct asker asker;
    uint8_t *copy; /* ENTRY_BYTES_MAX */
    uint8_t *entry;
    uint32_t page; /* Of it: the next one to be looked at. */
    uint32_t pages_written;
};

struct scrub_context {
    struct asker_context asking;
    struct replica_counters *counters;
    const struct raft *raft;
    const struct log *log;
    struct scan_log disk; /* As the superblock says. */
    uint64_t now_ns;
    struct log_start start; /* Durable: the log in memory may not have been told yet. */
    uint64_t end_position;  /* Committed and durable: nothing at or above it is looked at. */
    uint64_t bytes_per_s;   /* 0: off. */
    uint64_t every_ns;      /* From the begin of a pass to that of the next. */
};

uint64_t scrub_memory_bytes(void);
void scrub_init(struct scrub *scrub, struct mem *mem);

/* The log was opened, and read for that: the first pass begins `every_ns` from now. */
void scrub_begin(struct scrub *scrub, uint64_t now_ns, uint64_t every_ns);

/* Whether there is anything for scrub_step() to do: mostly it rests. */
bool scrub_is_due(const struct scrub *scrub, uint64_t now_ns);

/* Go on as far as is possible without the disk. Returns what was done: questions sent. */
uint32_t scrub_step(struct scrub *scrub, const struct scrub_context *context);

/* What is to be read now. False: nothing. Then scrub_reading(), if it is under way, and
 * scrub_read() when it has ended; or scrub_blocked(). */
struct scrub_read {
    uint64_t position;
    uint32_t bytes;
    uint8_t *buffer;
};
MUST_USE bool scrub_wants_read(const struct scrub *scrub, uint64_t now_ns, struct scrub_read *read);
void scrub_reading(struct scrub *scrub, const struct scrub_context *context);
void scrub_read(struct scrub *scrub);

/* A page of `*entry` is to be written now. False: none is. Then as with reads. */
MUST_USE bool scrub_wants_write(const struct scrub *scrub, uint8_t **entry, uint32_t *page);
void scrub_writing(struct scrub *scrub, const struct scrub_context *context);
void scrub_written(struct scrub *scrub);

/* Whether the two copies of the small state at the log's start are to be looked at now, once a
 * pass; what is wrong with one is put back by whoever looks. scrub_state_looked(), once it is under
 * way.
 */
MUST_USE bool scrub_wants_state(const struct scrub *scrub, const struct scrub_context *context);
void scrub_state_looked(struct scrub *scrub, const struct scrub_context *context);

/* It was not possible now. */
void scrub_blocked(struct scrub *scrub);

/* A fragment came; a peer has no such entry. */
void scrub_take(struct scrub *scrub,
                const struct scrub_context *context,
                const struct wire_frame *frame);
void scrub_refused(struct scrub *scrub,
                   const struct scrub_context *context,
                   const struct wire_frame *frame);

/* When it wants a step though nothing arrives. */
uint64_t scrub_deadline_ns(const struct scrub *scrub);

/* Whom it has asked in vain so far, while it asks. */
raft_set scrub_waits_for(const struct scrub *scrub);

#endif
