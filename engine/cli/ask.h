/* ask.h: the nodes of a configuration asked one question, all at once or one alone.
 *
 * One kernel socket on a port of the kernel's choice. A question that may have been lost is sent
 * again; who has not answered in time is unreachable. It judges nothing: what the answers mean for
 * the cluster is health.h's.
 */
#ifndef ENGINE_CLI_ASK_H
#define ENGINE_CLI_ASK_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "engine/config.h"
#include "engine/wire.h"
#include "net/nic.h"

#include <stdbool.h>
#include <stdint.h>

#define ASK_TIMEOUT_NS 500000000u
#define ASK_RESEND_NS  100000000u

struct ask {
    const struct config *config; /* Borrowed. */
    struct mem mem;
    struct nic *nic;
    uint64_t id;    /* Of this process, in every question and every answer. */
    uint64_t token; /* Of the round. */
    struct wire_counters counters;
};

/* What one node said; of an unreachable one nothing else counts. */
struct ask_answer {
    bool reachable;
    struct wire_status_reply status;
    /* Of an unreachable one: the process on this machine that has its log; 0: none was seen. By
     * holder_look(). */
    long pid;
    bool stopped; /* Waits to be told to go on. */
};

/* 0, or -errno with the fault told and nothing left open. */
MUST_USE int ask_open(struct ask *ask, const struct config *config, struct fault *fault);
void ask_close(struct ask *ask);

/* Ask all nodes how they stand; answers[i] is of config->nodes[i]. Returns as soon as everybody has
 * answered, and after `timeout_ns`: ASK_TIMEOUT_NS for whoever does not ask again. */
void ask_status(struct ask *ask, uint64_t timeout_ns, struct ask_answer answers[VOTERS_MAX]);

/* Ask a node of the configuration to hand over to node `to`, or to whom it likes best (0). The
 * question may come twice: an answer that a transfer is under way may mean this one. False: no
 * answer within `timeout_ns`, and it may be under way all the same. */
MUST_USE bool ask_transfer(struct ask *ask,
                           uint8_t node,
                           uint8_t to,
                           uint64_t timeout_ns,
                           struct wire_transfer_reply *reply);

/* One item of a node, as text. */
struct ask_item {
    char name[STATS_NAME_MAX + 1];
    char text[STATS_TEXT_MAX + 1]; /* "": the value counts. */
    uint64_t value;
    enum wire_item_kind kind;
};

/* What one node told of itself. */
struct ask_stats {
    bool reachable; /* And all has come. */
    uint64_t boot;  /* Of the node: its counters began with it. */
    uint32_t total;
    uint32_t count; /* That have come. */
    struct ask_item items[STATS_ITEMS_MAX];
};

/* Ask the nodes of `nodes` for all that they count; answers[i] is of config->nodes[i]. Every answer
 * of a node is waited for up to `timeout_ns`. A node that was started anew meanwhile, or whose
 * items do not go on where they ended, counts as not reachable. */
void ask_stats(struct ask *ask,
               raft_set nodes,
               uint64_t timeout_ns,
               struct ask_stats answers[VOTERS_MAX]);

#endif
