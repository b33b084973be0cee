/* check_cluster.h: what a running cluster keeps of a run, read while the load stands still.
 *
 * From the log files of a quorum where they lie on this machine and may be read; else back through
 * the client, by the word of whoever leads; in memory mode not at all. It begins at the log's end
 * of that moment. It must not know when slices begin and end.
 */
#ifndef BENCH_CHECK_CLUSTER_H
#define BENCH_CHECK_CLUSTER_H

#include "bench/log_file.h"
#include "bench/result.h"
#include "bench/verify.h"
#include "engine/cli/ask.h"
#include "engine/client/fetch.h"
#include "engine/config.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct check_cluster_config {
    const struct config *cluster; /* Borrowed. */
    struct client *client;        /* Borrowed; polled here when records are read back. */
    uint64_t payload_seed;
    uint32_t record_bytes;
    const volatile sig_atomic_t *interrupted;
};

enum check_by { CHECK_NOTHING, CHECK_FILES, CHECK_READS };

struct check_cluster {
    struct check_cluster_config config;
    enum check_by by;
    struct mem *mem; /* Borrowed, until it is sealed. */
    uint8_t *buffer; /* RECOVER_BUFFER_BYTES. */
    struct ask ask;
    bool asking; /* `ask` is open. */
    struct verify verify;
    struct fetch fetch;
    struct log_file files[VOTERS_MAX]; /* In the verifier's order. */
    uint32_t nodes[VOTERS_MAX];        /* Place of each file's node in the configuration. */
    uint32_t file_count;
    bool complete[VOTERS_MAX]; /* Read up to what was committed at the last reading. */
    bool failed;               /* Nothing is read any more; `why` says why. */
    char why[RESULT_TEXT_BYTES];
    uint64_t read_sequence; /* The client's next one at the last reading. */
    double record_cost;     /* Bytes of log that a record takes, at most about. */
    uint64_t unread_max;    /* Bytes of log that may be written between two readings. */
    raft_set posix;         /* Nodes that said that their disk does without io_uring. */
    raft_set slowed;        /* Nodes that said at one reading or more that their disk is slowed. */
    bool durable;           /* All nodes that answered said so. */
};

uint64_t check_cluster_memory_bytes(uint32_t node_count);

/* Find what can be read. 0, or -errno with the fault told. */
MUST_USE int check_cluster_open(struct check_cluster *check,
                                struct mem *mem,
                                const struct check_cluster_config *config,
                                struct fault *fault);

/* Who is to be told of acknowledgements; NULL: nobody. */
struct verify *check_cluster_verify(struct check_cluster *check);

/* True when so much may be unread that the load must wait. `next_sequence` is the client's. */
bool check_cluster_is_full(const struct check_cluster *check, uint64_t next_sequence);

/* Read what was acknowledged since the last time. Nothing of the client is under way. */
void check_cluster_read(struct check_cluster *check, uint64_t next_sequence);

/* Pages of the floor's writes: an entry's, on average, as far as the files told. */
uint32_t check_cluster_write_pages(const struct check_cluster *check);

/* Sum up: verify, what by, durable; and why the run is invalid, if nothing could be read. */
void check_cluster_finish(struct check_cluster *check, struct result *result);
void check_cluster_close(struct check_cluster *check);

/* Whether this machine has the address. */
bool check_address_is_local(struct nic_address address);

#endif
