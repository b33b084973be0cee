/* recall.h: where a session's old records stand, by reading the log.
 *
 * A session keeps the offsets of its newest records alone; the log carries session and number of
 * every one. The records asked for come in the order of their numbers, which is the order of the
 * log, so the log is read once, however many are asked for.
 */
#ifndef ENGINE_CLI_RECALL_H
#define ENGINE_CLI_RECALL_H

#include "engine/cli/connect.h"
#include "engine/client/fetch.h"

#define RECALL_RECORDS_MAX 4096u

struct recall {
    const struct connect *connect;
    struct fetch fetch;
    bool begun;       /* The log's start and end are known. */
    uint64_t log_end; /* By the leader's word; nothing asked for stands behind. */
    uint64_t next;    /* Offset to read on from. */
    uint64_t session;
    uint64_t wanted; /* Number of the next record. */
    uint64_t end;    /* Of the numbers asked for. */
    bool gone;       /* `wanted` is not in the log: trimmed, or refused. */
    uint32_t found;
    uint64_t offsets[RECALL_RECORDS_MAX];
};

uint64_t recall_memory_bytes(void);
void recall_init(struct recall *recall, struct mem *mem, const struct connect *connect);

/* Which records: numbers [first, first + count) of a session. */
struct recall_range {
    uint64_t session;
    uint64_t first;
    uint32_t count; /* 1 to RECALL_RECORDS_MAX. */
};

/* Find them, into recall->offsets. 0: the first recall->found are there, and if these are not all,
 * the next one is not in the log. Otherwise -1 with the fault told, after `timeout_ns` without
 * progress. When not all are found nothing more may be asked. */
MUST_USE int recall_find(struct recall *recall,
                         const struct recall_range *range,
                         uint64_t timeout_ns,
                         struct fault *fault);

#endif
