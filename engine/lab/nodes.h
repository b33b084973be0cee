/* nodes.h: the lab's nodes: their configuration, their logs and their processes.
 *
 * A node is `thole start` of this same program at its host, a child of the keeper; what it prints
 * goes to DIR/nK.err, and the numbers of its slow disk stand in DIR/nK.slow.
 */
#ifndef ENGINE_LAB_NODES_H
#define ENGINE_LAB_NODES_H

#include "engine/config.h"
#include "engine/lab/lab.h"

#define LAB_CONFIG "cluster.ini"
#define LAB_DATA   "n%u"
#define LAB_SAID   "n%u.err"
#define LAB_SLOW   "n%u.slow"

struct lab_cluster {
    uint32_t node_count;
    uint64_t size_bytes; /* Of one log. */
    const char *durability;
    const char *spec; /* Of every node. */
};

/* Write DIR/cluster.ini, where there is none. 0, or -errno with the fault told; so below. */
MUST_USE int
nodes_write_config(const struct lab *lab, const struct lab_cluster *cluster, struct fault *fault);

/* Make the logs that are not there yet. */
MUST_USE int nodes_format(const struct lab *lab, const struct config *config, struct fault *fault);

/* Start node K of the lab, and return when it serves; its process goes into the lab. */
MUST_USE int nodes_start(struct lab *lab, uint32_t number, struct fault *fault);

/* From the clients' host: until all is healthy; then one line on stdout says so. */
MUST_USE int nodes_wait_healthy(const struct lab *lab, struct fault *fault);

/* The last line that a node printed, or "". */
#define NODES_LINE_BYTES 160u
void nodes_last_line(const struct lab *lab, uint32_t number, char line[NODES_LINE_BYTES]);

#endif
