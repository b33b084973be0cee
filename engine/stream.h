/* stream.h: what stands between core and network, one per peer: loss is its business (design D7).
 *
 * Sending half (leader): fragments entries to the frame size, within the window and the credit that
 * the follower gave, and repairs exactly what the follower says is missing, from memory or from
 * disk. Receiving half (follower): puts fragments straight into their log slot, checks an entry
 * when its last fragment is in, and offers whole entries to the core in order.
 *
 * A fragment is copied only into a free slot above the log's last entry, once, and never after the
 * entry is complete. An entry that conflicts with the log's tail waits in one staging slot until
 * the core has cut. A credit is absolute, never falls within a session, and rides in every ack.
 *
 * Frames begin with the size that every network carries. The follower says what its port takes; a
 * larger size is used once a probe of it has come through, from an entry's border on, and given up
 * when its fragments are repaired in vain. An entry keeps its cut, or gets a smaller one.
 *
 * Must not know votes, sessions of clients, or devices. Time is an argument.
 */
#ifndef ENGINE_STREAM_H
#define ENGINE_STREAM_H

#include "engine/assembly.h"
#include "engine/log.h"
#include "engine/outbox.h"
#include "engine/raft/raft.h"
#include "engine/replica_counters.h"
#include "engine/suspects.h"
#include "engine/wire.h"

#include <stdbool.h>
#include <stdint.h>

enum stream_fetch_state { FETCH_NONE, FETCH_WANTED, FETCH_READING, FETCH_READY };

/* Entries read back from disk for one peer. */
struct stream_fetch {
    enum stream_fetch_state state;
    uint64_t want_index;
    uint64_t position; /* Of the buffer's first byte. */
    uint32_t bytes;
    uint64_t retry_ns; /* After a failed one: not before. */
    uint64_t due_ns;   /* By the rate: not read before, unless commits wait for it. */
    uint8_t *buffer;   /* STREAM_FETCH_BYTES. */
};

/* How an entry under way was cut. */
struct stream_cut {
    uint64_t index;
    uint32_t fragment_bytes;
};

/* Which size of frames reaches the peer. */
struct stream_size {
    uint32_t frame_bytes;  /* Of what is sent now. */
    uint32_t target_bytes; /* What both ports take; 0: the peer has not said. */
    uint32_t probed_bytes; /* Of the last probe. */
    uint8_t probe;         /* Its number. */
    uint32_t probe_count;  /* In a row, in vain. */
    uint64_t probed_ns;    /* When the last one was sent. */
    uint64_t probe_ns;     /* When the next one is due. */
    uint64_t probe_interval_ns;
    uint32_t doubts; /* Repairs of one hole in vain, and which hole. */
    uint64_t doubt_index;
    uint64_t doubt_bitmap;
};

/* Leader's half. */
struct stream_out {
    uint8_t peer;
    struct nic_address address;
    bool active;
    uint32_t session;
    uint64_t boot;
    uint64_t next_index;  /* Next to send for the first time. */
    uint32_t next_offset; /* Bytes of it sent already. */
    uint64_t received_index;
    uint64_t credit_position;
    uint64_t space_position; /* 0: not told yet. */
    uint64_t heard_ns;       /* When it told so last. */
    uint64_t missing_index;  /* 0: nothing asked for. */
    uint64_t missing_bitmap;
    uint64_t repaired_ns; /* Last repair, so that one hole is not filled twice in a round trip. */
    uint64_t repaired_index;
    uint64_t poll_ns; /* When to poll, if anything is outstanding. */
    uint64_t poll_interval_ns;
    struct stream_fetch fetch;
    struct stream_size size;
    struct stream_cut *cuts; /* STREAM_ENTRIES_MAX, by index. */
};

/* Follower's half. */
struct stream_in {
    uint8_t leader;
    uint64_t term;
    uint32_t session;
    bool staging_used;
    bool ack_owed;
    bool asked;           /* The leader polled: tell what is missing at once. */
    uint64_t seen_index;  /* Highest entry of which a fragment or a poll came. */
    uint64_t seen_bitmap; /* Of that entry: fragments that were sent before the last seen one. */
    uint8_t probe;        /* Number of the last one that came. */
    uint64_t gap_ns;      /* Since when something is missing; 0: nothing. */
    uint64_t gap_index;
    uint64_t told_index;
    uint64_t told_ns; /* When it was last asked for. */
    uint64_t credit_position;
    uint64_t commit_index;       /* Highest that the leader's entries told. */
    uint8_t *staging;            /* ENTRY_BYTES_MAX. */
    struct assembly *assemblies; /* By index & (ASSEMBLY_MAX - 1). */
};

/* What both halves work on; the replica's, for the length of a call. */
struct stream_context {
    struct raft *raft;
    struct log *log;
    struct outbox *outbox;
    struct replica_counters *counters;
    struct suspects *suspects; /* Where a bad page was read. */
    struct wire_header header; /* Everything but kind, to, to_boot, token. */
    uint64_t cluster;
    uint64_t now_ns;
    uint64_t durable_position; /* Of the own disk. */
    uint64_t space_position;   /* Where the own disk's ring is full. */
    uint64_t catchup_bytes_per_s;
    bool pins;         /* A nic may read entries where they are, after its burst. */
    bool commits_wait; /* A leader's commits have not moved for CATCHUP_HURRY_NS, and should. */
    void *taker;       /* Argument of take. */
    /* An entry whose bytes are complete and that the core has taken is now the log's last. */
    void (*take)(void *taker, const uint8_t *entry);
};

uint64_t stream_memory_bytes(uint32_t peers);
void stream_out_init(struct stream_out *out,
                     struct mem *mem,
                     uint8_t peer,
                     struct nic_address address);
void stream_in_init(struct stream_in *in, struct mem *mem);

/* Leader: send what the peer may have: repairs, new entries, a poll. Returns frames sent. */
uint32_t stream_out_send(struct stream_out *out, const struct stream_context *context);

/* Leader: an ack came from this peer. */
void stream_out_ack(struct stream_out *out,
                    const struct stream_context *context,
                    const struct wire_ack *ack);

/* Leader: what the peer's disk can take; UINT64_MAX when it has not said so in this session, or not
 * since `silent_ns`, or is further behind `last_index` than the window: a voter that is down, or
 * that has trims still to catch up with, must not fill the log of the others. */
uint64_t stream_out_space(const struct stream_out *out, uint64_t silent_ns, uint64_t last_index);

/* Leader: the entries wanted from disk (fetch.state is FETCH_WANTED) may be read now, as far as the
 * rate of the catch-up goes: over any time, reads take catchup_bytes_per_s of it and of
 * CATCHUP_SLACK_NS, and one read more. No rate holds while commits wait. */
bool stream_out_may_fetch(const struct stream_out *out, const struct stream_context *context);
/* Leader: the caller reads fetch.bytes of them. */
void stream_out_fetching(struct stream_out *out, const struct stream_context *context);

/* Leader: larger frames than are sent would fit both ports, and have not come through for long. */
bool stream_out_is_narrow(const struct stream_out *out);

/* Leader: when the stream wants to be called though nothing arrives. */
uint64_t stream_out_deadline_ns(const struct stream_out *out);

/* Follower: a fragment came. Returns 1 if it was new. */
uint32_t stream_in_entry(struct stream_in *in,
                         const struct stream_context *context,
                         const struct wire_frame *frame);

/* Follower: a frame came that shows what size arrives. */
void stream_in_probe(struct stream_in *in,
                     const struct stream_context *context,
                     const struct wire_frame *frame);

/* Follower: offer what is complete and next to the core. Called after fragments and after a cut. */
uint32_t stream_in_deliver(struct stream_in *in, const struct stream_context *context);

/* Follower: fill the stream's part of an ack, and remember that it was told. */
void stream_in_fill_ack(struct stream_in *in,
                        const struct stream_context *context,
                        struct wire_ack *ack);

/* Follower: an ack is owed now, by a poll or a hole. */
bool stream_in_ack_owed(const struct stream_in *in, const struct stream_context *context);
uint64_t stream_in_deadline_ns(const struct stream_in *in);

#endif
