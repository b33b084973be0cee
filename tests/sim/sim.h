/* sim.h: a whole cluster in one thread, from one seed: the shipped replica, codec, log and recovery
 * over a faulty network, disks and clocks.
 *
 * Only three things are not the ones that ship: the nic, the disk and the time. Everything random
 * is drawn from the seed; a run is a pure function of it, so the same seed gives the same hash with
 * every compiler. No allocation after start: every table has a bound below.
 *
 *     run.c      one seed: set up, chaos, heal, liveness, last checks
 *     swarm.c    the parameters of a seed            chaos.c   when which fault strikes
 *     queue.c    events by virtual time              link.c    the nic and the network
 *     platter.c  the disk, and what it truly holds   node.c    a replica's lives
 *     client.c   load without sessions, and reads    writer.c   load of sessions
 *     ledger.c   what must be true of the records    answer.c   what clients were told
 *     check.c    the invariants of the cluster       stranger.c  a host of ill will
 *     harm.c     a log harmed while its node is down rot.c       and while it serves
 *     back.c     a disk that goes back
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "engine/base/mem.h"
#include "engine/base/prng.h"
#include "engine/replica.h"
#include "engine/wire.h"
#include "net/nic.h"
#include "storage/disk.h"
#include "storage/layout.h"
#include "storage/segment.h"
#include "tests/sim/ledger.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_NODES_MAX       5u
#define SIM_CLIENTS_MAX     4u
#define SIM_STRANGER        (SIM_NODES_MAX + SIM_CLIENTS_MAX) /* Its endpoint. */
#define SIM_ENDPOINTS_MAX   (SIM_STRANGER + 1u)
#define SIM_CAPTURED_MAX    32u    /* Frames that it keeps. */
#define SIM_FRAMES_MAX      16384u /* Under way in the network, late ones included. */
#define SIM_LATE_MAX        256u   /* Late duplicates under way. */
#define SIM_RX_MAX          256u   /* Waiting at one node. */
#define SIM_EVENTS_MAX      32768u /* In the queue. */
#define SIM_INDEX_MAX       65536u /* Entries of one seed. */
#define SIM_TERMS_MAX       16384u
#define SIM_READS_MAX       1024u /* Of one client, whose answers are still checked. */
#define SIM_OFFSETS_MAX     131072u
#define SIM_TOLD_MAX        20000u /* Answers of one poll. */
#define SIM_REQUEST_RECORDS 63u    /* Of one request: they fit a word. */
#define SIM_REQUESTS        16u    /* That a writer remembers: under way, and answered ones. */
#define SIM_SEGMENTS        8u
#define SIM_SEGMENT_BYTES   SEGMENT_BYTES_MIN
#define SIM_DISK_BYTES      (5u * 1024u * 1024u)
#define SIM_DISK_PAGES      (SIM_DISK_BYTES / PAGE_BYTES)
#define SIM_MEMORY_BYTES    (256ull * 1024 * 1024) /* Mapped for one replica; touched as used. */
#define SIM_CLUSTER         0x9f3c0a4e5b6d7788ull
#define SIM_GROUP           0u
#define SIM_NEVER           UINT64_MAX
#define SIM_SECTOR_BYTES    512u
#define SIM_START_NS        1000000000ull

/* clang-format off */
/* Every fault has its counter; a kind that stays at zero over many seeds fails the test. */
#define SIM_FAULTS(X)                                                                              \
    X(loss) X(duplicate) X(late_duplicate) X(slow_frame) X(frame_reorder) X(corrupt) X(truncate)   \
    X(cut_symmetric) X(cut_asymmetric) X(frame_cut) X(rx_overflow) X(disk_slow) X(disk_reorder)    \
    X(disk_stall) X(write_error) X(crash) X(power_cut) X(crash_at_promise) X(crash_in_recovery)    \
    X(write_whole) X(write_absent) X(write_torn) X(rot_up) X(rot_down) X(rot_superblock)           \
    X(clock_drift) X(freeze) X(echo) X(late_read) X(too_large) X(stranger_garbage)                 \
    X(stranger_cluster) X(stranger_replay) X(stranger_forgery) X(stranger_question)
COUNTERS_DECLARE(sim_fault, SIM_FAULTS);

/* What happened: the proof that the generator reaches the interesting states. */
#define SIM_COVERS(X)                                                                              \
    X(elections) X(cuts) X(fragment_repairs) X(crashes_in_flight) X(commits) X(acked)              \
    X(unanswered) X(refused) X(reads) X(restarts) X(trims) X(wraps) X(staged) X(disk_fetches)      \
    X(promises) X(acks_checked) X(step_downs) X(behind_start) X(liveness_runs)                     \
    X(liveness_skipped) X(disk_stalls) X(large_records) X(bad_pages) X(stale_durable) X(frames)    \
    X(disk_completions) X(client_events) X(timers) X(transfers) X(transfers_aborted)               \
    X(transfer_campaigns) X(clean_stops) X(reads_confirmed) X(reads_refused) X(reads_died)         \
    X(reads_held) X(reads_of_deposed) X(registrations) X(reopenings) X(evictions)               \
    X(named_evictions) X(incarnations) X(late_writers) X(sent_to_all) X(sent_again)                \
    X(repeats_answered) X(gaps) X(conditions_held) X(conditions_failed) X(conditions_told)         \
    X(fenced) X(openings_fenced) X(forgotten) X(no_session) X(tables_compared)                     \
    X(tables_recovered) X(states_compared) X(tails_rebuilt) X(crowded_entries)                     \
    X(slots_pinned) X(frames_grown) X(frames_shrunk) X(stranger_answers) X(frames_foreign)        \
    X(mendings) X(mended) X(entries_mended) X(crash_in_mending) X(mended_by_faulty)                \
    X(mend_denials) X(opened_bounded) X(bounds_met) X(mends_given_up) X(refused_for_state)      \
    X(rot_serving) X(scrub_passes) X(scrub_bad) X(scrub_waited) X(repairs) X(crash_in_repair)  \
    X(went_back) X(lacking) X(regressions) X(regressed_ignored) X(regained)
COUNTERS_DECLARE(sim_cover, SIM_COVERS);

/* clang-format on */

#define SIM_REFUSALS(X) X(superblock)
COUNTERS_DECLARE(sim_refusal, SIM_REFUSALS);

struct sim_totals {
    uint64_t seeds;
    uint64_t events;
    uint64_t violations;
    uint64_t replies[WIRE_STATUS_COUNT];
    struct sim_fault_counters faults;
    struct sim_cover_counters covers;
    struct sim_refusal_counters refusals;
    uint64_t harms; /* harm.c */
};

/* The parameters of one seed. Chances are in parts of a million. */
struct sim_swarm {
    uint32_t node_count;
    uint32_t client_count;
    uint64_t election_min_ns;
    uint64_t election_max_ns;
    uint64_t heartbeat_ns;
    uint64_t disk_stall_ns;
    uint32_t frame_bytes_max;
    uint32_t frame_bytes[SIM_NODES_MAX]; /* That the port of a node takes; clients take the most. */
    uint32_t way_bytes;                  /* Between nodes larger ones are lost ... */
    uint64_t way_ns;                     /* ... from here on; SIM_NEVER: none is. */
    uint64_t retention_bytes;
    uint64_t scrub_bytes_per_s;
    uint64_t scrub_every_ns;
    uint64_t window_bytes;
    uint64_t chaos_events; /* Chaos lasts for this many events. */
    uint64_t poll_gap_ns;  /* A node looks at its queues at most so late. */

    uint32_t loss_ppm;
    uint32_t duplicate_ppm;
    uint32_t late_ppm;
    uint32_t slow_ppm;
    uint32_t corrupt_ppm;
    uint32_t truncate_ppm;
    uint32_t late_read_ppm; /* Of pinned bodies: read so late, while their pages are pinned. */
    uint64_t late_read_max_ns;
    uint64_t delay_min_ns;
    uint64_t delay_max_ns;
    uint64_t slow_max_ns;
    uint64_t late_max_ns;

    uint64_t disk_min_ns;
    uint64_t disk_max_ns;
    uint32_t disk_slow_ppm;
    uint64_t disk_slow_max_ns;
    uint32_t write_error_ppm;

    uint64_t fault_gap_ns; /* Mean time between faults; 0: none. */
    uint32_t weight_crash;
    uint32_t weight_power_cut;
    uint32_t weight_cut;
    uint32_t weight_stall;
    uint32_t weight_freeze;
    uint32_t weight_rot;
    uint32_t promise_crash_ppm; /* At a promise just sent. */
    uint32_t recovery_crash_ppm;
    uint64_t damage_set; /* Nodes (bit = number) that may be damaged: less than half. */
    uint32_t rot_node;   /* Of these, the one that rots most. */
    bool tears;          /* Log pages of the damage set tear at 512 bytes. */
    bool drifts;

    uint64_t request_gap_ns; /* Mean, of one client. */
    uint32_t records_min;    /* Of a request. */
    uint32_t records_max;
    uint32_t large_ppm; /* A record of up to RECORD_BYTES_MAX. */
    uint32_t small_max; /* Bytes of the others. */
    uint32_t read_ppm;
    uint32_t operator_ppm; /* An operator acts in place of a request. */

    uint32_t plain_ppm;     /* A request without a session. */
    uint32_t condition_ppm; /* A request on condition. */
    uint32_t restart_ppm;   /* A client begins a new life. */
    uint32_t ghost_ppm;     /* Something comes from the life before. */
    uint32_t again_ppm;     /* An answered request comes again. */
    uint32_t all_ppm;       /* A request goes to all nodes. */
    uint32_t anonymous_ppm; /* Of lives. */
    uint32_t back_ppm;      /* Of lives: one begins below what its session says. */
    uint32_t herd_ppm;      /* Many sessions at once. */
    uint32_t names;         /* That clients share; 0: each has its own. */
    bool herd_named;
    uint64_t retry_ns;
};

/* queue.c */
enum sim_event_kind {
    SIM_FRAME,   /* A frame arrives at an endpoint. */
    SIM_READ,    /* A nic reads the body of a frame that it has taken. */
    SIM_DISK,    /* A request of a node's disk completes. */
    SIM_CLIENT,  /* A client sends. */
    SIM_RESTART, /* A node comes back. */
    SIM_STRIKE,  /* The next fault. */
};

struct sim_event {
    uint64_t at_ns;
    uint64_t order; /* Ties go to the older one. */
    enum sim_event_kind kind;
    uint32_t target;
    uint32_t slot; /* Of the frame or request. */
    uint32_t life; /* Of the target when this was planned. */
};

struct sim_queue {
    uint32_t count;
    uint64_t order;
    struct sim_event heap[SIM_EVENTS_MAX];
};

/* link.c */
struct sim_frame {
    uint32_t bytes;
    uint8_t from; /* Endpoint. */
    uint8_t to;
    bool late;
    bool copy;      /* The network made it. */
    uint64_t order; /* Of its sending on the link. */
    /* A body that is not read yet: of the node's memory, so it goes with the node's life. */
    const uint8_t *body;
    uint32_t body_bytes;
    uint32_t body_crc; /* When it was taken. */
    struct nic_pin pin;
    uint8_t data[FRAME_BYTES_MAX];
};

struct sim_nic {
    struct nic nic; /* First: the seam. */
    struct sim *sim;
    uint32_t endpoint;
    uint32_t rx_head;
    uint32_t rx_count;
    uint32_t rx[SIM_RX_MAX]; /* Frame slots. */
};

/* platter.c: what a page of the log truly holds. */
struct sim_page {
    uint64_t mark_position; /* As in struct page_mark. */
    uint32_t term_low;
    bool valid;       /* A whole log page with a valid mark. */
    bool dirty;       /* Written since the disk was zeroed. */
    bool spoilt;      /* It cannot be read until it is written. */
    uint64_t rot_end; /* In rot.c: end of what lay here when it was struck; 0: it was not, or is
                         written since. */
};

struct sim_io {
    struct disk_io io;
    uint64_t order;
    uint32_t crc; /* Of a write's buffer when it was submitted. */
    bool used;
};

struct sim_entry {
    uint64_t term;
    uint64_t position;
    uint32_t pages;
};

struct sim_disk {
    struct disk disk; /* First: the seam. */
    struct sim *sim;
    uint32_t node;
    uint8_t *image;
    bool blocking;       /* Start-up: requests complete at once. */
    int64_t writes_left; /* Blocking: the write after these fails, torn; negative: never. */
    uint64_t stalled_until_ns;
    uint64_t order;
    uint32_t done_count;
    struct disk_done done[DISK_QUEUE_MAX];
    struct sim_io ios[DISK_QUEUE_MAX];
    struct geometry geometry;
    struct superblock superblock; /* The newest valid copy on the platter. */
    struct sim_page pages[SIM_DISK_PAGES];
    struct sim_entry entries[SIM_INDEX_MAX]; /* Whose first page landed last at this index. */
};

/* node.c */
enum sim_node_state { SIM_DOWN, SIM_UP, SIM_MENDING, SIM_REFUSED };

struct sim_node {
    enum sim_node_state state;
    struct replica *replica;
    struct mem mem;
    uint8_t *memory;
    struct sim_nic nic;
    struct sim_disk disk;
    uint32_t life;
    uint64_t store;
    uint64_t wake_ns;
    bool wake_is_timer;
    bool crash_now;
    bool stops;        /* Cleanly, as asked by the operator; then it goes down. */
    bool write_failed; /* An error was injected in this life. */
    bool damaged;      /* It rotted or tore at some time. */
    bool rotted;       /* In rot.c: what is lost others have, so it is made whole again. */
    uint64_t frozen_until_ns;
    int64_t drift_ppm;
    uint64_t clock_offset_ns;
    uint64_t opened_ns;
    /* Of this life. */
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t last_index;
    uint64_t table_index; /* At which its table of sessions was compared last. */
    uint64_t term;
    bool leads;
    uint32_t sent_now[SIM_NODES_MAX]; /* In this poll. */
    /* Of the store's whole life. */
    uint64_t promised_index;      /* Durable here, as told to a leader. */
    uint64_t promised_term;       /* No promise of a lower term may follow. */
    uint8_t votes[SIM_TERMS_MAX]; /* By term: whom this store voted for. */
};

/* writer.c: a life of a client that has a session or wants one. */
enum sim_phase { SIM_NO_WRITER, SIM_OPENING, SIM_WRITING, SIM_LOST };

struct sim_request {
    uint64_t first;
    uint64_t expected_offset;
    uint64_t unanswered; /* Bit n: record first + n has no definite answer. */
    uint64_t sent_ns;
    uint32_t count;
    bool conditional;
};

struct sim_writer {
    enum sim_phase phase;
    uint32_t incarnation;
    uint32_t asked_epoch; /* With which it asks for its session. */
    uint64_t sent_ns;     /* The asking. */
    uint64_t open_sequence;
    uint64_t next_sequence;
    uint64_t head; /* Oldest request that is not answered. */
    uint64_t tail; /* Next free. */
    struct sim_request requests[SIM_REQUESTS];
};

/* client.c: a read that was asked. */
struct sim_read {
    uint64_t token;
    uint64_t floor; /* Records below it were known to be committed, to anybody, when it was sent. */
    bool linearizable;
};

struct sim_client {
    uint32_t target; /* Node number it believes in. */
    uint32_t plain;  /* Its incarnation without a session. */
    uint64_t next_sequence;
    uint64_t token;
    uint64_t heard_ns; /* From that one. */
    struct sim_writer writer;
    struct sim_writer ghost;              /* Its life before: late frames still come from it. */
    struct sim_read reads[SIM_READS_MAX]; /* By token; the newest. */
};

/* What a request is, apart from its records. */
struct sim_ask {
    uint64_t session;
    uint64_t first;
    uint64_t expected_offset;
    uint32_t incarnation;
    uint32_t epoch;
    uint32_t count;
    bool conditional;
};

struct sim_sending {
    uint64_t session;
    uint64_t sequence;
    uint64_t expected_offset;
    uint32_t epoch;
    bool conditional;
};

/* answer.c: what a node has told a client in the poll that is not over yet. */
struct sim_told {
    uint32_t node;
    uint32_t client;
    uint64_t boot;
    bool is_open;
    union {
        struct wire_reply reply;
        struct wire_open_reply open;
    };
};

/* check.c */
struct sim_committed {
    uint64_t term;
    uint64_t known_term; /* Of the node that first knew it to be committed. */
    uint32_t crc;        /* Of its bytes without the node header; 0: not applied yet. */
    uint32_t table_crc;  /* Of the table of sessions with it. */
};

/* stranger.c */
struct sim_captured {
    uint32_t to;
    uint32_t bytes;
    uint8_t data[FRAME_BYTES_MAX];
};

struct sim_stranger {
    uint32_t ppm; /* Of frames to nodes: then it acts. */
    uint32_t captured_count;
    uint32_t owed[SIM_NODES_MAX][SIM_ENDPOINTS_MAX]; /* [node][who asked]: answers at most. */
    struct sim_captured captured[SIM_CAPTURED_MAX];
};

/* A node hears the others late, and then they hear nothing of it any more: it goes on hearing what
 * they said while they followed it. */
struct sim_echo {
    uint32_t node;
    uint64_t lag_ns;
    uint64_t mute_ns;  /* From here on nobody hears it. */
    uint64_t until_ns; /* 0: there is none. */
};

struct sim {
    uint64_t seed;
    uint64_t now_ns;
    uint64_t events;
    uint64_t hash;
    bool trace;
    bool calm; /* Healed: no fault strikes any more. */
    bool strike_planned;
    uint64_t events_max; /* Of chaos; 0: as drawn. */
    uint32_t stride;     /* Of harm.c: of all single bytes, every so many; 0: another game. */
    const char *flag;    /* Of another game, for who replays it; "": of none. */
    raft_set went_back;  /* Nodes whose disk went back in this seed. */
    bool probing;
    struct sim_swarm swarm;
    struct sim_totals *totals;
    struct prng random_net;
    struct prng random_disk;
    struct prng random_chaos;
    struct prng random_client;
    struct prng random_node;
    struct prng random_read;
    struct prng random_stranger;
    struct sim_queue queue;
    struct sim_echo echo;
    uint64_t cut_until_ns[SIM_ENDPOINTS_MAX][SIM_ENDPOINTS_MAX];  /* [from][to] */
    uint64_t sent_order[SIM_ENDPOINTS_MAX][SIM_ENDPOINTS_MAX];    /* Of the newest frame sent. */
    uint64_t arrived_order[SIM_ENDPOINTS_MAX][SIM_ENDPOINTS_MAX]; /* Highest that arrived. */
    uint32_t frame_free_count;
    uint32_t frame_free[SIM_FRAMES_MAX];
    uint32_t late_count;
    struct sim_frame *frames;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_client clients[SIM_CLIENTS_MAX];
    uint64_t commit_index; /* Highest known to anybody. */
    uint64_t commit_term;  /* Of the node that knew it first. */
    uint64_t applied_index;
    uint64_t offset_end; /* Of applied records. */
    uint64_t trimmed_position;
    struct sim_committed committed[SIM_INDEX_MAX];
    uint8_t leaders[SIM_TERMS_MAX]; /* By term: node id. */
    struct sim_offset offsets[SIM_OFFSETS_MAX];
    uint64_t full_before; /* Answers `full` of the seeds before. */
    uint32_t told_count;
    struct sim_told told[SIM_TOLD_MAX];
    struct sim_ledger ledger;
    struct sim_stranger stranger;
};

/* run.c */
void sim_init(struct sim *sim, struct sim_totals *totals);
/* Run a seed: faults, then peace. False: a violation was found, and told on stderr. */
MUST_USE bool sim_run(struct sim *sim, uint64_t seed, uint64_t events_max);
/* Set a seed up and play it. */
struct sim_game {
    void (*prepare)(struct sim_swarm *swarm); /* Changes its parameters; NULL: as drawn. */
    void (*play)(struct sim *sim);
};
MUST_USE bool sim_play(struct sim *sim, uint64_t seed, const struct sim_game *game);
/* One step of virtual time. */
void sim_step(struct sim *sim);
/* Whether the faults of the seed are not over yet. */
bool sim_goes_on(const struct sim *sim);
/* A leader must emerge, take a fresh record and have it applied everywhere. */
void sim_prove_liveness(struct sim *sim);
/* Whether what the node needs next is trimmed on all the others: it stays behind. */
bool sim_is_behind(const struct sim *sim, const struct sim_node *node);
/* Tell a violation and leave the seed. */
_Noreturn void sim_violation(struct sim *sim, const char *what, ...)
    __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *sim, const char *what, ...) __attribute__((format(printf, 2, 3)));
#define SIM_TRACE(sim, ...)                                                                        \
    do {                                                                                           \
        if (UNLIKELY((sim)->trace)) {                                                              \
            sim_trace((sim), __VA_ARGS__);                                                         \
        }                                                                                          \
    } while (false)
void sim_hash(struct sim *sim, uint64_t value);
static inline bool sim_happens(struct prng *prng, uint32_t ppm)
{
    return ppm > 0 && prng_chance(prng, ppm);
}

/* swarm.c */
void swarm_draw(struct sim_swarm *swarm, struct prng *prng);
void swarm_print(const struct sim_swarm *swarm);

/* queue.c */
void queue_put(struct sim_queue *queue, const struct sim_event *event);
uint64_t queue_next_ns(const struct sim_queue *queue);
struct sim_event queue_take(struct sim_queue *queue);

/* link.c */
struct nic_address link_address(uint32_t endpoint);
void link_reset(struct sim *sim);
void link_open(struct sim *sim, struct sim_nic *nic, uint32_t endpoint);
/* Frames waiting at a node that dies go back to the pool. */
void link_drop(struct sim *sim, struct sim_nic *nic);
/* `once`: the network never repeats it. */
void link_send(struct sim *sim, uint32_t from, uint32_t to, const struct nic_send *send, bool once);
/* A nic reads, at last. */
void link_read(struct sim *sim, const struct sim_event *event);
/* Bytes from nowhere, which arrive as they are. */
void link_inject(
    struct sim *sim, uint32_t from, uint32_t to, const uint8_t *bytes, uint32_t byte_count);
/* A frame arrives; true when an endpoint takes it. */
bool link_deliver(struct sim *sim, const struct sim_event *event);
void link_release(struct sim *sim, uint32_t slot);

/* platter.c */
void platter_reset(struct sim_disk *disk);
void platter_open(struct sim *sim, struct sim_disk *disk, uint32_t node);
/* A request completes. */
void platter_complete(struct sim *sim, struct sim_node *node, uint32_t slot);
/* Power goes: writes in flight land whole, in part or not at all. */
void platter_crash(struct sim *sim, struct sim_node *node);
void platter_rot(struct sim *sim, struct sim_node *node);
/* Bytes within one page become others, as if by themselves. */
void platter_put(struct sim_disk *disk, uint64_t offset, const uint8_t *bytes, uint32_t count);
/* The page at this offset cannot be read any more. */
void platter_spoil(struct sim_disk *disk, uint64_t offset);
/* Damage may make a node refuse for ever: only of the damage set, and only once all others know
 * that the first entry is committed, because until then every voter is needed. */
bool platter_may_damage(const struct sim *sim, uint32_t node);
/* Whether the entry is on the platter, every page of it. */
bool platter_has(const struct sim_disk *disk, uint64_t index, uint64_t term);
/* Whether a page of the entry was struck in rot.c and is not written since. */
bool platter_rots(const struct sim_disk *disk, uint64_t index);

/* node.c */
void node_begin(struct sim *sim, uint32_t number);
void node_restart(struct sim *sim, uint32_t number);
void node_crash(struct sim *sim, uint32_t number, uint64_t down_ns);
void node_poll(struct sim *sim, uint32_t number);
/* Have the node look at its queues soon. */
void node_wake(struct sim *sim, uint32_t number);
uint64_t node_clock_ns(const struct sim *sim, const struct sim_node *node);
/* Add what its replica counted to the totals. */
void node_count(struct sim *sim, struct sim_node *node);

/* client.c */
void client_begin(struct sim *sim, uint32_t number);
void client_send(struct sim *sim, uint32_t number);
void client_take(struct sim *sim, uint32_t number, const struct sim_frame *frame);
/* The payload of a record is a function of (seed, session, sequence), its length too: fill it; and
 * check it: false when it differs. */
uint32_t record_bytes(const struct sim *sim, uint64_t session, uint64_t sequence);
void record_fill(uint64_t seed, uint64_t session, uint64_t sequence, uint8_t *to, uint32_t bytes);
MUST_USE bool
record_is(uint64_t seed, uint64_t session, uint64_t sequence, const uint8_t *from, uint32_t bytes);
/* How many of `count` records from `first` on may be one request. */
uint32_t client_fit(const struct sim *sim, uint64_t session, uint64_t first, uint32_t count);
/* Send a request to a node, or to all (target: node_count). */
void client_ask(struct sim *sim, uint32_t number, const struct sim_ask *ask, uint32_t target);
/* The same for a frame without a payload. */
void client_tell(struct sim *sim,
                 uint32_t number,
                 uint32_t incarnation,
                 struct wire_frame *frame,
                 uint32_t target);
/* An operator asks whoever takes itself for the leader to hand over, or stops a node cleanly. */
void operator_act(struct sim *sim);
/* Send one record without a session now; returns its sequence. For the liveness phase. */
uint64_t client_probe(struct sim *sim, uint32_t number, uint32_t target);

/* writer.c */
void writer_begin(struct sim *sim, uint32_t number);
void writer_act(struct sim *sim, uint32_t number);
void writer_take(struct sim *sim, uint32_t number, const struct wire_frame *frame);
/* Whether nothing of it waits for a definite answer. */
bool writer_is_settled(const struct sim_writer *writer);
/* Whether this incarnation waits for an answer to a record that it sent first. */
bool writer_waits_for(const struct sim *sim, uint32_t incarnation, uint64_t sequence);
void writer_print(const struct sim *sim, uint32_t number);

/* ledger.c */
void ledger_reset(struct sim *sim);
/* Whether load must end for its bounds. */
bool ledger_is_nearly_full(const struct sim *sim);
/* A client begins another life; returns its number. */
uint32_t
ledger_incarnate(struct sim *sim, uint32_t client, const uint8_t *name, uint32_t name_bytes);
/* An incarnation asks for its session. */
void ledger_ask(struct sim *sim, uint32_t number, uint32_t epoch);
/* A record is sent. */
void ledger_send(struct sim *sim, const struct sim_sending *sending);
/* An entry is committed, the next one. */
void ledger_apply(struct sim *sim, const uint8_t *entry);
/* NULL: there was never such a session, client or record. */
struct sim_stream *ledger_session(struct sim *sim, uint64_t session);
struct sim_stream *ledger_stream(struct sim *sim, uint64_t session, uint64_t sequence);
struct sim_record *ledger_record(struct sim *sim, struct sim_stream *stream, uint64_t sequence);
const struct sim_register *
ledger_register(const struct sim *sim, const struct sim_stream *stream, uint32_t epoch);
bool ledger_name_is(const struct sim_stream *stream, const uint8_t *name, uint32_t name_bytes);

/* answer.c */
void answer_note(struct sim *sim, uint32_t node, uint32_t to, const struct wire_frame *frame);
/* The poll is over: what it committed is applied. */
void answers_check(struct sim *sim);

/* check.c */
void check_sent(struct sim *sim, uint32_t node, uint32_t to, const struct sim_frame *frame);
void check_polled(struct sim *sim, uint32_t node);
void check_opened(struct sim *sim, uint32_t node);
/* A small state is written. */
void check_state(struct sim *sim, struct sim_node *node, const uint8_t *pages);
/* Every table of sessions once more, however large. */
void check_tables(struct sim *sim);
void check_applied(void *context, uint8_t node, const uint8_t *entry);
void check_end(struct sim *sim);

/* stranger.c */
void stranger_begin(struct sim *sim);
/* A frame is on its way: it may hear it, and act. */
void stranger_hear(struct sim *sim, const struct sim_frame *frame);
/* A node has got a frame: note what it may answer. */
void stranger_count_heard(struct sim *sim, uint32_t node, const struct sim_frame *frame);
/* A node's life is over, and what it owed with it. */
void stranger_forget(struct sim *sim, uint32_t node);
/* A node sends: is that within its bounds? */
void stranger_check_sent(struct sim *sim, uint32_t node, uint32_t to);

/* chaos.c */
void chaos_plan(struct sim *sim);
void chaos_strike(struct sim *sim);
/* What has struck is over, and nothing strikes until `calm` ends. */
void chaos_calm(struct sim *sim);
void chaos_heal(struct sim *sim);
uint64_t chaos_down_ns(struct sim *sim);

/* harm.c: a log that begins at its first entry, and one whose ring has wrapped. */
#define HARM_GAMES 2u
extern const struct sim_game harm_games[HARM_GAMES];

/* rot.c */
extern const struct sim_game rot_game;

/* back.c */
extern const struct sim_game back_game;

#endif
