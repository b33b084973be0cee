/* journal.h: what the disks of a cluster were asked and did, in one order, as a file.
 *
 * tests/crash/recorder.c appends an event for each thing that the kernel asks of a disk and for
 * each answer, in the order in which it takes and gives them; tests/crash/replay.c builds what a
 * power cut would have left. Beside it lies a clock: one page shared by all, whose first word is
 * the number of events so far. It rises before the answer leaves, so whoever reads it after an
 * acknowledgement knows an event count by which all that the acknowledgement stands on had
 * happened.
 *
 * Layout alone; integers are the machine's own: a journal does not outlive its run.
 */
#ifndef TESTS_CRASH_JOURNAL_H
#define TESTS_CRASH_JOURNAL_H

#include <stdint.h>

#define JOURNAL_DISKS_MAX   8u
#define JOURNAL_CLOCK_BYTES 4096u

enum journal_kind {
    JOURNAL_WRITE = 1, /* Asked; `bytes` of data follow the event. */
    JOURNAL_WRITTEN,   /* Answered. Durable, if it was to be `through`. */
    JOURNAL_FLUSH,     /* Asked. */
    JOURNAL_FLUSHED,   /* Answered: what was WRITTEN before the FLUSH is durable. */
};

struct journal_event {
    uint8_t kind;    /* enum journal_kind */
    uint8_t disk;    /* From 0. */
    uint8_t through; /* A write whose answer is to mean durable: O_DSYNC. */
    uint8_t reserved[5];
    uint64_t operation; /* From 1, of the whole run; an answer has that of its question. */
    uint64_t offset;
    uint32_t bytes;
    uint32_t reserved_too;
};
_Static_assert(sizeof(struct journal_event) == 32, "no padding in an event");

/* What the writer was told: the record `sequence` is at `offset`, when the clock stood so. */
struct journal_ack {
    uint64_t sequence;
    uint64_t offset;
    uint64_t clock;
};

#endif
