/* health.h: what the answers of the nodes mean for the cluster, in the words of `thole status` and
 * `thole check`. Pure: answers in, a judgement out.
 */
#ifndef ENGINE_CLI_HEALTH_H
#define ENGINE_CLI_HEALTH_H

#include "engine/cli/ask.h"
#include "engine/config.h"

#include <stdbool.h>
#include <stdint.h>

#define HEALTH_NOTES_MAX  35u
#define HEALTH_NOTE_BYTES 256u

struct health {
    uint8_t leader;  /* Who leads and says so itself; 0: nobody does. */
    uint8_t unnamed; /* Nobody leads, but the others say that this node does, which is not in the
                        file; 0: none. */
    uint64_t term;   /* Of the leader, else the highest heard. */
    uint32_t node_count;
    uint32_t reachable_count;
    bool available;    /* A leader that takes appends; it steps down without a quorum. */
    bool healthy;      /* Available, every voter reachable, none a stranger, faulty, degraded,
                          behind or diverged, and room in the log. */
    raft_set slowed;   /* Nodes whose disk is slowed on request; that makes nobody unhealthy. */
    raft_set posix;    /* Nodes whose disk does without io_uring, on request: neither does this. */
    raft_set behind;   /* Fell behind the leader's log start, by its word. */
    raft_set diverged; /* Have committed what the leader has not got. */
    uint32_t note_count; /* One for each thing that is wrong; none when healthy. */
    char notes[HEALTH_NOTES_MAX][HEALTH_NOTE_BYTES];
};

/* answers[i] is of config->nodes[i]. */
void health_judge(struct health *health,
                  const struct config *config,
                  const struct ask_answer *answers);

/* Nodes that answered that their disk is slowed on request. */
raft_set health_slowed(const struct config *config, const struct ask_answer *answers);

/* Nodes that answered that their disk does without io_uring. */
raft_set health_posix(const struct config *config, const struct ask_answer *answers);

/* "node 2", "nodes 2, 3". */
#define HEALTH_NAMES_BYTES 96u
const char *health_name_nodes(raft_set nodes, char text[HEALTH_NAMES_BYTES]);

/* One line without a newline: the verdict and what it stands on. */
#define HEALTH_LINE_BYTES (256u + HEALTH_NOTES_MAX * (HEALTH_NOTE_BYTES + 2u))
const char *health_line(const struct health *health, char line[HEALTH_LINE_BYTES]);

#endif
