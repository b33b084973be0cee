/* waiting.h: reads that cannot be answered yet.
 *
 * Two kinds, one table. A linearizable read waits until the core has proved that this node led when
 * it came, and until what was committed then is applied (rules G1 to G3). A read that `waits` at
 * the committed end waits until its record is committed, for READ_HOLD_NS at most, so that who
 * follows the log hears of a commit at once and asks ten times a second when there is none. Each is
 * answered by one frame, as if it had come then; a frame that the network repeats waits once.
 *
 * Bounded by READ_WAITS_MAX: beyond, a linearizable read is told busy, and one that waits is
 * answered at once. What can be proved no more is told so, and never answered from a guess.
 *
 * Must not know rounds, tokens or the disk.
 */
#ifndef ENGINE_WAITING_H
#define ENGINE_WAITING_H

#include "engine/raft/raft.h"
#include "engine/reader.h"

#include <stdbool.h>
#include <stdint.h>

struct waiting_read {
    struct reader_question question;
    uint64_t ticket; /* Of its proof; 0: it waits for its record. */
    uint64_t index;  /* What it must see applied, when proved. */
    uint64_t due_ns; /* A record is waited for no longer. */
};

struct waiting {
    uint32_t count;
    struct waiting_read reads[READ_WAITS_MAX];
};

struct waiting_context {
    struct reader *reader;
    struct reader_context answers;
    struct raft *raft;
    uint64_t applied_index;
    uint64_t now_ns;
    bool closed; /* The replica stops: nobody waits any longer. */
};

/* A read came: answer it, let it wait, or tell why not. */
void waiting_request(struct waiting *waiting,
                     const struct waiting_context *context,
                     const struct wire_frame *frame,
                     struct nic_address from);

/* Answer those that need not wait any longer; after effects were carried out. Returns answers. */
uint32_t waiting_serve(struct waiting *waiting, const struct waiting_context *context);

/* When the first of them is due without anything happening; UINT64_MAX: never. */
uint64_t waiting_deadline_ns(const struct waiting *waiting);

#endif
