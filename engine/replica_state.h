/* replica_state.h: the inside of a replica, for replica.c (life and loop), replica_receive.c
 * (frames in), replica_drain.c (effects out), replica_mend.c (a damaged log) and replica_scrub.c
 * (one that rots while it serves). Nothing else includes it. */
#ifndef ENGINE_REPLICA_STATE_H
#define ENGINE_REPLICA_STATE_H

#include "engine/intake.h"
#include "engine/log.h"
#include "engine/machine.h"
#include "engine/mender.h"
#include "engine/outbox.h"
#include "engine/reader.h"
#include "engine/replica.h"
#include "engine/scrub.h"
#include "engine/stall.h"
#include "engine/stats.h"
#include "engine/stream.h"
#include "engine/waiting.h"

/* Entries whose stages are being timed: more than can be uncommitted. */
#define STAGE_ENTRIES 64u

/* When one entry passed its stages; 0: not yet. */
struct stage_times {
    uint64_t index;
    uint64_t received_ns;
    uint64_t sealed_ns;
    uint64_t submitted_ns;
    uint64_t local_ns;
    uint64_t follower_ns;
    uint64_t committed_ns;
    uint64_t replied_ns;
};

struct replica {
    struct replica_config config;
    struct nic *nic;
    struct disk *disk;
    struct wal *wal;
    struct raft *raft;
    struct log log;
    struct machine machine;
    struct intake intake;
    struct reader reader;
    struct waiting waiting;
    struct outbox outbox;
    struct stream_in in;
    struct mender mender;
    struct scrub scrub;
    struct asker_peer mend_peers[PEERS_MAX];
    uint32_t peer_count;
    struct stream_out outs[PEERS_MAX];
    uint64_t peer_boots[NODE_ID_MAX + 1]; /* Highest seen of the store below. */
    uint64_t peer_stores[NODE_ID_MAX + 1];
    raft_set strangers; /* Peers last heard with another store than the configuration's. */
    struct wire_self self;
    struct wire_counters wire_counters;
    struct replica_counters counters;
    struct wire_header header; /* What every frame of ours begins with. */
    struct recovery found;
    struct raft_run *recovered_runs; /* TERM_RUNS_MAX; only during open. */
    uint32_t recovered_run_count;
    struct raft_entry_id recovered_floor; /* The entry before the first of these runs. */
    bool begun;                           /* The log and the machine have their start. */
    bool opened;
    /* What the core has been told of the disk. */
    struct wal_hard told_hard;
    struct wal_durable told_durable;
    struct log_start told_start;
    bool cut_asked;
    uint64_t cut_epoch;
    bool unhealthy;
    /* Entries handed over by the core and not yet taken by the wal: [write_first, write_last]. */
    uint64_t write_first;
    uint64_t write_last;
    /* Applied. */
    uint64_t committed_offset;
    uint64_t commit_position;
    uint64_t hold_trim_position;
    uint64_t trim_index;      /* Last trim proposed here; no second one before it is committed. */
    uint64_t trim_space;      /* Where the smallest log among the voters was full at that trim. */
    uint64_t commit_seen;     /* A leader's commit index, ... */
    uint64_t commit_moved_ns; /* ... and when it moved last, or all was committed. */
    uint64_t pins_paused_ns;  /* Till then nics copy: a slot was wanted that one still read. */
    uint64_t contradictions;  /* Counted so far, ... */
    uint64_t contradicted_ns; /* ... and when that grew; 0: never. */
    bool was_leader;
    bool working;
    bool stopping;
    bool disk_stopping;   /* The wal has been told. */
    uint64_t stop_due_ns; /* Stopping: a hand-over is waited for no longer. */
    int failed;
    struct fault fault; /* What failed after the start, if it is more than a number. */
    uint64_t now_ns;
    uint64_t expected_ns;
    struct stall stall;
    replica_apply_hook apply_hook;
    void *apply_context;
    bool tracing;
    struct stage_times times[STAGE_ENTRIES];
    uint64_t stage_next[STAGE_COUNT]; /* Entries below it have passed the stage. */
    struct histogram *stages;         /* STAGE_COUNT */
    struct replica_write_profile profile;
    uint8_t stats[STATS_BYTES_MAX]; /* Items of an answer, until the outbox is flushed. */
};

struct stream_context replica_stream_context(struct replica *r);
struct intake_context replica_intake_context(struct replica *r);

/* Where the log of this node, and of a voter in step, is full; UINT64_MAX of one that is not. */
uint64_t replica_own_space(const struct replica *r);
uint64_t replica_peer_space(const struct replica *r, const struct stream_out *out);
struct reader_context replica_reader_context(struct replica *r);
struct waiting_context replica_waiting_context(struct replica *r);

/* Decode what came. False: it was dropped, and counted. A node speaks from the address that the
 * configuration gives it: whoever claims its id from elsewhere is not it; nor would it hear the
 * answer, which goes to that address. */
MUST_USE bool
replica_decode(struct replica *r, const struct nic_frame *received, struct wire_frame *frame);
/* One frame out for one frame in. Its items stand in one place, so what stood there goes first. */
void replica_answer_stats(struct replica *r,
                          const struct wire_frame *frame,
                          struct nic_address from);

struct mender_context replica_mender_context(struct replica *r);
struct asker_context replica_asker_context(struct replica *r);

/* The scrubber: a step of it, and what it wants of the disk. Returns frames. */
struct scrub_context replica_scrub_context(struct replica *r);
uint32_t replica_scrub(struct replica *r);

/* What the log has counted of bad copies of the small state at its start. */
void replica_count_states(struct replica *r);

/* Whom frames are from and for: this store, in this boot. */
void replica_name(struct replica *r, uint64_t store, uint64_t boot);
/* Open the log and start the core. */
MUST_USE int replica_log_open(struct replica *r, enum wal_accept accept, struct fault *fault);

/* The log that was found is damaged, and others may help. */
bool replica_may_mend(const struct replica *r);
MUST_USE int replica_mend_begin(struct replica *r, struct fault *fault);
uint32_t replica_mend_poll(struct replica *r);
void replica_mend_status(const struct replica *r, struct replica_status *status);

/* Give the core one event. */
enum raft_taken replica_step(struct replica *r, struct raft_event *event);

/* Entries up to `index` are committed: apply those that are not yet. */
void replica_apply(struct replica *r, uint64_t index);

/* The core has taken an entry whose bytes stand in their slot. */
void replica_take(void *replica, const uint8_t *entry);

/* Take one burst of frames. Returns frames. */
uint32_t replica_receive(struct replica *r);

/* Seal what is ripe, and what is not the clients'. Returns entries. */
uint32_t replica_seal(struct replica *r);
/* Seal the open entry and propose it. */
void replica_seal_open(struct replica *r);

/* Carry out what the core owes; send; submit. Returns effects and frames. */
uint32_t replica_drain(struct replica *r);

/* Stages. */
void replica_time_until(struct replica *r, enum replica_stage stage, uint64_t index);
void replica_time_iteration(struct replica *r);

#endif
