/* replica.h: one replica of one group: core, log, streams, intake and reader joined to a nic and a
 * disk. A plain step function: one core can run one replica in production, three of them in
 * `thole demo`, and a whole simulated cluster in a test.
 *
 * replica_poll() is the whole engine, one call an iteration: receive, reap the disk, seal the
 * batch, tick, drain. It must not know which nic or disk it has, nor what time it is but by its
 * argument.
 */
#ifndef ENGINE_REPLICA_H
#define ENGINE_REPLICA_H

#include "engine/base/assert.h"
#include "engine/base/counter.h"
#include "engine/base/fault.h"
#include "engine/base/histogram.h"
#include "engine/base/mem.h"
#include "engine/raft/raft.h"
#include "engine/replica_counters.h"
#include "engine/wire.h"
#include "net/nic.h"
#include "storage/disk.h"
#include "storage/wal.h"

#include <stdbool.h>
#include <stdint.h>

struct replica; /* Taken from a struct mem by replica_create(). */

struct replica_node {
    uint8_t id;
    struct nic_address address;
};

struct replica_config {
    uint64_t cluster;
    uint16_t group;
    uint8_t self;
    uint32_t node_count; /* The voters of the configuration file, self included. */
    struct replica_node nodes[NODES_MAX];
    uint64_t election_min_ns;
    uint64_t election_max_ns;
    uint64_t heartbeat_ns;
    uint64_t catchup_bytes_per_s; /* Read back from disk for one peer that is far behind. */
    uint64_t scrub_bytes_per_s;   /* Of the own log, read again in the background; 0: never. */
    uint64_t scrub_every_ns;      /* From the begin of one pass over it to that of the next. */
    uint64_t disk_stall_ns;       /* A leader whose oldest own write is older steps down. */
    uint64_t log_memory_bytes; /* Of log slots: a power of two, LOG_MEMORY_MIN to LOG_MEMORY_MAX. */
    uint64_t
        retention_bytes; /* 0: nothing is trimmed. Otherwise older segments go, oldest first. */
    uint64_t seed;
    const struct wire_item *facts; /* Of its port, for whoever asks; borrowed. May be none. */
    uint32_t fact_count;
    enum wal_accept accept; /* WAL_WHOLE, or what an operator gives up. */
};

/* Durations of one commit, by stage, for entries that this replica led. */
enum replica_stage {
    STAGE_RECEIVE,          /* First frame of the entry taken -> entry sealed. */
    STAGE_SUBMIT,           /* Sealed -> handed to the disk and the streams. */
    STAGE_LOCAL_DURABLE,    /* Submitted -> durable here. */
    STAGE_FOLLOWER_DURABLE, /* Submitted -> first follower's ack taken. */
    STAGE_QUORUM,           /* Submitted -> committed. */
    STAGE_REPLY,            /* Committed -> reply handed to the nic. */
    STAGE_COUNT
};

struct replica_status {
    uint8_t id;
    enum raft_role role;
    uint8_t leader; /* RAFT_NOBODY when unknown. */
    uint64_t term;
    uint64_t commit_index;
    uint64_t durable_index;
    uint64_t last_index;
    uint64_t epoch;
    uint64_t boot;
    uint64_t store;
    uint64_t log_start_offset;
    uint64_t log_end_offset; /* Of committed records. */
    uint64_t log_start_position;
    uint64_t log_durable_position;
    uint64_t commit_position;        /* End of the last committed entry. */
    struct raft_entry_id vote_bound; /* raft_vote_bound() */
    bool durable;                    /* False in memory mode. */
    bool takes_proposals;
    int failed; /* 0, or -errno of the disk: the replica is stopped. */
};

/* Bytes replica_create() takes from its mem: printed at start, never exceeded. */
uint64_t replica_memory_bytes(const struct replica_config *config);

/* Take the memory. `nic` and `disk` are borrowed until replica_fini. */
struct replica *replica_create(struct mem *mem,
                               const struct replica_config *config,
                               struct nic *nic,
                               struct disk *disk);

/* Recover the log and become a follower; or, when it is damaged and there are others, begin to mend
 * it: see replica_mending(). Blocks on the disk: start-up only. 0, or a negative errno with the
 * fault told (docs/STORAGE.md says which damage is refused). */
MUST_USE int replica_open(struct replica *replica, uint64_t now_ns, struct fault *fault);

/* Run one iteration and return the work done (frames + completions + entries; 0: idle). `now_ns` is
 * read once by the caller. Never blocks, never allocates; bounded by RX_BURST_MAX frames. */
uint32_t replica_poll(struct replica *replica, uint64_t now_ns);

/* A replica whose log is damaged: it asks the others for what is gone, and answers only such
 * questions and STATUS. Once all is there, or what is not can come from nobody, it opens its log
 * within a poll, which then blocks as replica_open() does, and is a follower: in the second case
 * one with a vote bound. */
struct replica_mending {
    bool active;
    bool suspect; /* What is wrong may have been a write under way: nothing is known gone. */
    struct log_id wanted; /* The entry asked for; {0, 0}: none. */
    raft_set waits_for;   /* Who was asked for it and has not brought it. */
    uint64_t last_index;  /* Whole up to here. */
    uint64_t entries;     /* Mended so far. */
    const char *what;     /* What was found, for people. */
};
/* What recovery found at the start. */
const struct recovery *replica_found(const struct replica *replica);
void replica_mending(const struct replica *replica, struct replica_mending *mending);

/* Why replica_status.failed is not 0, if there are words for it; NULL otherwise. */
const struct fault *replica_fault(const struct replica *replica);

/* When replica_poll() wants to be called even if nothing arrives. */
uint64_t replica_deadline_ns(const struct replica *replica);

/* True when client or log work was under way in the last iteration (idle policy, design D16). */
bool replica_is_working(const struct replica *replica);

/* Hand leadership to node `to`, or with RAFT_NOBODY to the voter that has most of the log. What was
 * taken from clients is committed and answered first; until the other leads, or an election timeout
 * has passed, clients are told to try again.
 *
 * Returns RAFT_TRANSFER_OK: it is under way, or why not. How it ends is seen by who leads then.
 */
MUST_USE enum raft_transfer replica_transfer(struct replica *replica, uint8_t to);

/* Clean stop: no new work is taken, a leader hands over first, which takes an election timeout at
 * most; poll until replica_is_stopped(). */
void replica_stop(struct replica *replica);
bool replica_is_stopped(const struct replica *replica);

void replica_status(const struct replica *replica, struct replica_status *status);
/* A leader: peers whom the largest frames that both ports take do not reach, and what is sent to
 * them instead still does. */
raft_set replica_narrow(const struct replica *replica);

const struct replica_counters *replica_counters(const struct replica *replica);
const struct wire_counters *replica_wire_counters(const struct replica *replica);
const struct raft *replica_raft(const struct replica *replica);

/* Stage histograms, in the order of enum replica_stage. Recorded only after
 * replica_trace_stages(true). */
void replica_trace_stages(struct replica *replica, bool on);
const struct histogram *replica_stages(const struct replica *replica);

/* Log writes handed to the disk: how many, their pages in all, and how many were in flight with
 * each, itself included. What the commit floor imitates. */
struct replica_write_profile {
    uint64_t writes;
    uint64_t pages;
    uint64_t
        in_flight_sum; /* Sum over writes of writes in flight when submitted, itself included. */
};
struct replica_write_profile replica_write_profile(const struct replica *replica);

/* Trimming waits for a reader of the file: no start beyond this position is proposed. UINT64_MAX:
 * no limit, the default. */
void replica_hold_trim(struct replica *replica, uint64_t position);

/* The sessions, as they stand with the last applied entry: for checkers. Every replica derives the
 * same ones from the log. */
struct replica_sessions {
    uint64_t applied_index;
    uint64_t void_notes;    /* struct sessions: 0, or some leader was none. */
    uint64_t tails_rebuilt; /* How often an appended tail was taken back. */
    uint32_t count;
};
void replica_sessions(const struct replica *replica, struct replica_sessions *sessions);

/* Encode them as a small state does; returns the bytes, at most REPLICA_STATE_BYTES_MAX. */
#define REPLICA_STATE_BYTES_MAX STATE_BYTES
uint32_t replica_state_bytes(const struct replica *replica, uint8_t *bytes);

/* Called for every applied (committed) entry, in order: for checkers. May be NULL. */
typedef void (*replica_apply_hook)(void *context, uint8_t node, const uint8_t *entry);
void replica_on_apply(struct replica *replica, replica_apply_hook hook, void *context);

#endif
