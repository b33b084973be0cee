/* mender.h: a damaged log is made whole with the peers' entries, and theirs with ours.
 *
 * Asking half: while the own log is not whole, the replica has no core. What storage/mend.h says is
 * gone is asked for with engine/asker.h, and handed over when it is there.
 *
 * Answering half: every node, whole or not, leader or not, answers such questions from memory or
 * from intact pages of its disk; reads are bounded by the rate of the catch-up. Whoever has no
 * intact page of it says so, and never says that an entry was not there unless it knows.
 *
 * Must not know votes or terms' meaning, or devices. Time is an argument.
 */
#ifndef ENGINE_MENDER_H
#define ENGINE_MENDER_H

#include "engine/asker.h"
#include "engine/log.h"
#include "engine/suspects.h"
#include "storage/mend.h"

#include <stdbool.h>
#include <stdint.h>

enum mender_job_state { MENDER_FREE, MENDER_WANTED, MENDER_READING, MENDER_READY };

/* Another node's question that waits for the disk. */
struct mender_job {
    enum mender_job_state state;
    struct wire_header question;
    struct mend_want want;
    uint64_t position; /* Of the buffer's first byte. */
    uint32_t bytes;
    uint8_t *buffer; /* ENTRY_BYTES_MAX */
};

struct mender {
    /* Asking. */
    bool active; /* The own log is not whole: there is no core. */
    struct mend mend;
    struct asker asker;
    /* Answering. */
    uint32_t answered;    /* In this iteration. */
    uint64_t read_due_ns; /* By the rate: nothing is read before. */
    uint8_t *answer;      /* ENTRY_BYTES_MAX: of a node that mends itself. */
    struct mender_job jobs[MEND_JOBS];
};

/* What another node's question is answered with. */
struct mender_context {
    struct outbox *outbox;
    struct replica_counters *counters;
    struct suspects *suspects; /* Where a bad page was read. */
    struct wire_header header; /* Everything but kind, to, to_boot, token. */
    uint64_t cluster;
    uint64_t now_ns;
    const struct asker_peer *peers;
    uint32_t peer_count;
    const struct log *log; /* Of a node that serves. */
    bool log_whole;        /* Neither damaged nor short of an end. */
    uint64_t asked_term;   /* Of its entry at the index asked for; 0: not known. */
    uint64_t durable_position;
    uint64_t read_bytes_per_s;
};

uint64_t mender_memory_bytes(void);
void mender_init(struct mender *mender, struct mem *mem);

/* The own log is damaged or suspect: begin. Blocks; 0, or a negative errno with the fault told. */
MUST_USE int
mender_begin(struct mender *mender, const struct mend_config *config, struct fault *fault);

/* Ask, if it is time. Returns questions sent. */
uint32_t mender_ask(struct mender *mender, const struct asker_context *context);
/* A fragment came. 0, or the errno of the own disk, which is fatal, with the fault told. */
MUST_USE int mender_take(struct mender *mender,
                         const struct asker_context *context,
                         const struct wire_frame *frame,
                         struct fault *fault);
/* A peer has no such entry. */
void mender_refused(struct mender *mender,
                    const struct asker_context *context,
                    const struct wire_frame *frame);
uint64_t mender_deadline_ns(const struct mender *mender);

/* Another node asks. */
void mender_answer(struct mender *mender,
                   const struct mender_context *context,
                   const struct wire_frame *frame);
/* Answer what the disk has brought; returns answers. */
uint32_t mender_serve(struct mender *mender, const struct mender_context *context);
/* When a WANTED job may be read; UINT64_MAX: there is none. */
uint64_t mender_read_deadline_ns(const struct mender *mender);
/* Whether a WANTED job may be read now; then the caller reads it and calls mender_reading(). */
bool mender_may_read(const struct mender *mender, const struct mender_context *context);
void mender_reading(struct mender *mender,
                    const struct mender_context *context,
                    struct mender_job *job);

#endif
