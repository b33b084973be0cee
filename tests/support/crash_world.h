/* crash_world.h: what surrounds one replica's log in the crash test: leaders, acks, faults,
 * crashes.
 *
 * A small ring (5 segments of 8 pages), records of 1 to 4 pages, several writes in flight. The
 * environment plays leaders whose logs obey Log Matching and keep what was committed; entries
 * arrive, conflict and are cut, complete in any order, are acknowledged, committed and trimmed, all
 * through storage/wal.h. It keeps what the log must hold; it judges nothing.
 */
#ifndef TESTS_SUPPORT_CRASH_WORLD_H
#define TESTS_SUPPORT_CRASH_WORLD_H

#include "engine/base/mem.h"
#include "engine/base/prng.h"
#include "storage/layout.h"
#include "storage/segment.h"
#include "storage/wal.h"
#include "tests/support/disk_model.h"

#include <stdbool.h>
#include <stdint.h>

#define CLUSTER       0x9f3c0a4e5b6d7788ull
#define STORE         0x1122334455667788ull
#define NODE          1u
#define SEGMENT_PAGES 8u
#define SEGMENTS      5u
#define WINDOW_PAGES  8u
#define RECORD_PAGES  4u
#define ENTRIES_MAX   512u
#define LOGS_MAX      160u
#define WRITE_SLOTS   16u
#define WRITE_PAGES   12u
#define IDLE_STEP_NS  2000000u
#define STEP_NS       1000u
#define PERCENT       10000u /* In parts of a million. */
#define DISK_BYTES    (2u * 1024 * 1024 + (uint64_t)SEGMENTS * SEGMENT_PAGES * PAGE_BYTES)

struct mix {
    const char *name;
    uint32_t tear_ppm;
    uint32_t rot_ppm;
    uint32_t lost_ppm;
    uint32_t superblock_rot_ppm;
    uint32_t state_rot_ppm;
    bool multi;
    bool forge;
};

/* One entry as its leader made it; index is its place in the log, from 1. */
struct made {
    uint64_t term;
    uint64_t previous_term;
    uint64_t position;
    uint32_t pages;
    bool forged;
    /* What the client's bytes pretend, drawn when they are first made: they never change. */
    uint64_t forged_epoch;
    uint32_t forged_ahead;
};

struct leader_log {
    uint32_t count;
    struct made entries[ENTRIES_MAX + 1]; /* [index]; [0] is nothing. */
};

struct counts {
    uint64_t histories;
    uint64_t crashes;
    uint64_t kinds[4];
    uint64_t refused;
    uint64_t lost_unwitnessed;
    uint64_t lost_unproven;
    uint64_t opens;
    uint64_t opens_cut_short;
    uint64_t cuts;
    uint64_t trims;
    uint64_t watermark_pages;
    uint64_t wraps;
    uint64_t in_flight;
    uint64_t forged_pages;     /* Written with client bytes that look like a record. */
    uint64_t rotten_pages;     /* Of the log. */
    uint64_t rotten_copies;    /* Of the superblock. */
    uint64_t rotten_states;    /* Copies of the start's, ... */
    uint64_t states_mended;    /* ... and those that an opening put back. */
    uint64_t mends;            /* Logs that were made whole, ... */
    uint64_t mends_cut_short;  /* ... crashes within, ... */
    uint64_t mends_lost;       /* ... logs that no entry could mend, ... */
    uint64_t bounded;          /* ... and were opened bounded, ... */
    uint64_t bounded_acked;    /* ... of these, cut below an acked entry, ... */
    uint64_t mends_unanswered; /* ... or that wanted one which nobody has. */
    uint64_t entries_mended;
};

/* What the environment knows of the replica's log, and what may have changed at a crash. */
struct world {
    struct prng prng;
    const struct mix *mix;
    struct disk_model model;
    struct mem mem;
    struct wal *wal;
    uint64_t now_ns;
    struct geometry geometry;
    /* Leaders. */
    struct leader_log logs[LOGS_MAX];
    uint32_t log_count;
    struct leader_log *leader;
    uint64_t leader_term;
    uint64_t commit;
    /* The replica. */
    struct leader_log held;
    uint64_t submitted;
    uint64_t acked;
    uint64_t verified;
    bool want_hard;
    struct wal_hard hard;
    bool want_cut;
    uint64_t cut_keep;
    uint64_t cut_epoch; /* Of the cut, when durable. */
    bool want_start;
    struct log_start start;
    uint64_t vouched; /* Highest watermark that something durable holds. */
    uint32_t faults;
    bool dirty;
    /* Copies of the superblock as the last rot left them: CRC of the page; 0: none has struck. */
    uint32_t rotten_crc[SUPERBLOCK_SLOTS][SUPERBLOCK_COPIES];
    uint32_t rotten_state; /* Since the last opening, of the start's: 1 + copy; 0: none. */
    /* What was durable and acted on, and an opening that a crash cut short. */
    struct acted {
        uint64_t epoch;
        uint64_t boot;
        uint64_t term;
        uint64_t start;
        uint64_t vote;
    } acted;
    bool opening;
    bool opening_bounded;
    uint64_t opening_epoch;
    uint64_t opening_last;
    struct log_id
        given_up; /* Highest acked entry that bounded openings have cut off; {0, 0}: none. */
    /* All of it as it was before the crash: an update of which one copy is durable may be found by
     * one recovery and, that copy rotten, not by the next; it counts when the copies are equal. */
    struct before {
        uint32_t count;
        uint64_t submitted, acked, verified, vouched, opening_epoch, opening_last;
        bool want_hard, want_cut, want_start, opening, opening_bounded;
        struct log_id given_up;
        struct acted acted;
    } before;
    /* Of the last recovery. */
    struct recovery found;
    struct log_id prefix[ENTRIES_MAX];
    uint32_t prefix_count;
    struct log_id known[ENTRIES_MAX];
    uint32_t known_count;
    uint32_t state_calls;
    struct counts counts;
    uint8_t *write_slots; /* WRITE_SLOTS * WRITE_PAGES pages. */
    uint32_t write_number;
};

/* Entries on a fresh, formatted disk of nothing; the mix stays. */
void world_reset(struct world *world, uint64_t seed);

/* One step of leader, replica or disk, and what it makes durable. */
void world_step(struct world *world);

/* The power goes, and the mix's faults strike. */
void world_crash(struct world *world);

/* Entries above `keep` are no longer in force. */
void world_cut(struct world *world, uint64_t keep);

/* Keep, or go back to, what the environment knew before a crash. */
void world_keep(struct world *world);
void world_restore(struct world *world);

/* Make the entry `id` that somebody held, its node header zero. False: nobody did. */
bool world_entry(struct world *world, struct log_id id, uint8_t *entry);

/* True when this copy of the superblock is as a rot left it: it was not written since. */
bool world_copy_is_rotten(struct world *world, uint32_t slot, uint32_t copy);

uint64_t world_below(struct world *world, uint64_t bound);
bool world_percent(struct world *world, uint32_t chance);

#endif
