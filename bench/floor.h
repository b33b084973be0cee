/* floor.h: the commit floor: what a durable commit costs on this machine without an engine.
 *
 * The same threads, CPUs, ports, idle policy, frame sizes, write sizes and schedule as the run,
 * without Raft, log or checksums: the client's frame goes to node 1; at its arrival node 1 writes
 * and forwards; each follower writes at arrival and answers when the write is durable; the reply
 * leaves at the completion that makes a quorum. While as many rounds fly as the engine's gate
 * allows, what arrives is batched as the engine batches it. So the floor is a distribution of whole
 * rounds, and not a sum of medians.
 *
 * Two sides: floor_poll() is a node's, on the poll loop; the floor_client functions are the
 * client's. All nodes are in this process and share one struct floor, or each is in a process of
 * its own (bench/floor_nodes.h), has a struct floor to itself, and node 1 is told by frames what to
 * measure. Knows nothing of replicas. Its frames have a magic of their own.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "bench/floor_disk.h"
#include "bench/load.h"
#include "engine/base/fault.h"
#include "engine/base/histogram.h"
#include "engine/base/mem.h"
#include "net/nic.h"

#include <stdbool.h>
#include <stdint.h>

#define FLOOR_REQUESTS_MAX LOAD_OUTSTANDING_MAX
#define FLOOR_HISTOGRAMS   2u
#define FLOOR_GIVE_UP_NS   100000000u /* Of a round: a frame of it was lost. */
#define FLOOR_LOOK_NS      10000000u  /* The longest wait of a loop, which may be told to pause. */
#define FLOOR_WRITES_MAX   (DISK_QUEUE_MAX / 2) /* In flight at one node. */

enum floor_mode {
    FLOOR_COMMIT,    /* Rounds, and the client's echo. */
    FLOOR_DISK,      /* Node 1 writes, one write after the other. */
    FLOOR_PEER_ECHO, /* Node 1 and node 2 pass one frame to and fro. */
};

struct floor_config {
    uint32_t node_count;
    struct nic *nics[VOTERS_MAX]; /* Of the nodes in this process. */
    struct nic_address addresses[VOTERS_MAX];
    struct nic_address client;    /* Or whoever sends the last FLOOR_BEGIN. */
    bool durable;                 /* False: no writes, memory mode. */
    uint32_t file_bytes;          /* Of each node's file. */
    struct histogram *histograms; /* FLOOR_HISTOGRAMS of them, the caller's; NULL: of `mem`. */
};

struct floor_request {
    uint64_t first_sequence;
    uint32_t count;
    uint32_t bytes;
};

struct floor_round {
    uint64_t id; /* 0: free. */
    uint64_t first_request;
    uint32_t request_count;
    uint32_t copies; /* Durable so far. */
    uint64_t began_ns;
};

struct floor;

struct floor_node {
    struct floor *floor;
    uint32_t number; /* From 0. */
    struct nic *nic;
    struct floor_disk *disk; /* NULL: memory mode. */
    const char *path;
    int event; /* Eventfd of its writer; -1: none. */
    uint64_t write_offset;
    uint32_t writes_in_flight;
    uint64_t now_ns; /* Of the last poll. */
    bool working;    /* The last poll brought a frame or has left a write in flight. */
};

struct floor {
    struct floor_config config;
    enum floor_mode mode;
    uint32_t write_pages; /* At least, of one write. */
    struct floor_node nodes[VOTERS_MAX];
    /* Node 1's. */
    struct floor_request *requests; /* Slot = number & (FLOOR_REQUESTS_MAX - 1). */
    uint64_t request_head;          /* First that is in no round. */
    uint64_t request_tail;
    struct floor_round rounds[UNCOMMITTED_MAX];
    uint64_t next_round;
    uint64_t began_ns; /* Of the write or echo under way; 0: none. */
    uint64_t echo_id;
    uint64_t begin_id; /* Of the last FLOOR_BEGIN. */
    uint8_t *bytes;    /* What frames and writes carry: ENTRY_BYTES_MAX of anything. */
    struct histogram *disk_ns;
    struct histogram *peer_echo_ns;
};

uint64_t floor_memory_bytes(void);
void floor_init(struct floor *floor, struct mem *mem, const struct floor_config *config);

/* Tasks of the poll loop (struct core_task); `context` is a struct floor_node. */
MUST_USE int floor_open(void *context, uint64_t now_ns, struct fault *fault);
uint32_t floor_poll(void *context, uint64_t now_ns);
bool floor_is_working(const void *context);
uint64_t floor_deadline_ns(const void *context);
void floor_close(void *context);

/* Forget what was under way and begin another part. While the floor stands still. */
void floor_begin(struct floor *floor, enum floor_mode mode, uint32_t write_pages);

/* The client's side: a target of struct load, and echoes. */
struct floor_client {
    struct nic *nic;
    struct nic_address leader;
    struct load *load;
    uint32_t record_bytes; /* Payload of one record. */
    const uint8_t *bytes;  /* ENTRY_BYTES_MAX of anything. */
    uint64_t echo_id;
    uint64_t echo_began_ns; /* 0: none under way. */
    struct histogram *echo_ns;
    uint64_t begin_id;
    bool begun; /* Node 1 has answered the last FLOOR_BEGIN. */
};

void floor_client_send(void *context, uint64_t first_sequence, uint32_t count, uint64_t now_ns);

/* Take replies. Returns the number of frames. */
uint32_t floor_client_poll(struct floor_client *client, uint64_t now_ns);

/* Send one echo if none is under way. */
void floor_client_echo(struct floor_client *client, uint64_t now_ns);

/* Tell node 1, in a process of its own, what floor_begin() would tell it here. Sent again with the
 * same `client->begin_id` until `client->begun`, it is one beginning. */
void floor_client_begin(struct floor_client *client, enum floor_mode mode, uint32_t write_pages);

#endif
