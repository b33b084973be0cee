/* verdict.h: what recovery must find on the disks of a cluster after a power cut.
 *
 * Known is what the writer sent, and which of it was acknowledged by when. On each disk: recovery
 * answers; what it proves is what was sent, in the order of offsets, without a hole; after a plain
 * cut, in which every page of 4 KiB is whole or absent, the log is whole; after any, both copies of
 * the small state at its start stand. On all disks: every
 * acknowledged record is at a majority, readable or reported as faulty; and whoever could be
 * elected has every one of them. What the retention let go counts as there.
 */
#ifndef TESTS_CRASH_VERDICT_H
#define TESTS_CRASH_VERDICT_H

#include "storage/recover.h"
#include "tests/crash/journal.h"
#include "tests/support/disk_model.h"

#include <stdbool.h>
#include <stdint.h>

#define VERDICT_OFFSETS_MAX 200000u

/* What is known of the record at an offset. */
struct verdict_record {
    uint64_t sequence; /* 0: not acknowledged. */
    uint64_t clock;    /* Of the acknowledgement. */
    struct log_id id;  /* Of the entry that it is in: of all ever written with that offset, the one
                          of the highest term, for what is committed is never replaced. */
};

struct known {
    uint64_t seed; /* Of the writer. */
    uint64_t cluster;
    uint64_t retention_bytes;
    struct verdict_record records[VERDICT_OFFSETS_MAX];
    struct journal_ack *acks; /* By their clock. */
    uint64_t ack_count;
};

/* What was acknowledged at a cut. */
struct owed {
    const struct known *known;
    uint64_t clock;
    uint64_t offset;   /* Behind the last record acknowledged; 0: none was. */
    struct log_id id;  /* Of that record's entry. */
    uint64_t ack_next; /* Of known->acks, the first one not counted yet. */
};

/* What recovery said of a disk. */
struct finding {
    struct recovery recovery;
    uint64_t next_offset;     /* Behind the last record proven. */
    uint64_t contrary_offset; /* First record that is not the one acknowledged; UINT64_MAX: none. */
    const char *wrong;
    char fault[256];
};

/* Take the acknowledgements from a file; exits when it cannot be read. */
void known_load(struct known *known, const char *path);

/* Learn the entries that stand in the data of a write. */
void known_learn(struct known *known, const uint8_t *data, uint32_t bytes);

/* Raise `owed` to a clock. */
void owed_raise(struct owed *owed, uint64_t clock);

/* Recover a disk of node `node`, twice, and judge it alone. */
void verdict_disk(struct disk_model *model,
                  uint8_t node,
                  bool plain,
                  const struct owed *owed,
                  struct finding *finding);

/* Whether every record owed is there on this disk: readable, faulty or trimmed. */
bool finding_has(const struct finding *finding, const struct owed *owed);

/* Judge all disks of a cluster. NULL, or what is wrong; these two are losses. */
extern const char verdict_lost[];
extern const char verdict_electable[];
const char *
verdict_cluster(const struct finding *findings, uint32_t count, const struct owed *owed);

#endif
