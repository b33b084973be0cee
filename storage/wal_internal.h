/* wal_internal.h: the state of a log on disk, for the files of wal.h alone. */
#ifndef STORAGE_WAL_INTERNAL_H
#define STORAGE_WAL_INTERNAL_H

#include "storage/segment.h"
#include "storage/small_state.h"
#include "storage/superblock.h"
#include "storage/wal.h"

/* Requests besides reads: every log write, one of them split at the ring's end, and one each for
 * superblock, watermark, state (written, or looked at) and repair. Reads take what is left of the
 * queue. */
#define WRITE_IOS_MAX (WRITES_MAX + 5u)
#define READ_IOS_MAX  (DISK_QUEUE_MAX - WRITE_IOS_MAX)
#define READ_SLOTS    READ_IOS_MAX
_Static_assert(DISK_QUEUE_MAX > WRITE_IOS_MAX, "reads have a place in the queue");

enum io_kind { IO_LOG, IO_SUPERBLOCK, IO_WATERMARK, IO_STATE, IO_STATE_LOOK, IO_REPAIR, IO_READ };

/* What is done with a small state. */
enum state_work {
    STATE_NONE,
    STATE_PUT,  /* Both copies are written, one after the other. */
    STATE_LOOK, /* Copies of the start's are read and checked. */
    STATE_MEND  /* One of them is put back. */
};

/* The small state under way, in wal.state_pages. */
struct state_job {
    enum state_work work;
    uint32_t copy;          /* Being read or written. */
    uint32_t bytes;         /* To be written; of a look, read so far. */
    bool bad[STATE_COPIES]; /* Of a look. */
    struct state_owner owner;
    struct log_start boundary;
};

/* A log write under way. */
struct flight {
    uint64_t end;
    struct log_id last;
    uint64_t submitted_ns; /* 0: not yet. */
    uint32_t ios_left;
};

struct read_slot {
    uint8_t *buffer;
    uint64_t position;
    uint32_t byte_count;
    uint32_t cookie;
    uint32_t ios_left;
    uint64_t submitted_ns; /* 0: not yet. */
    uint32_t page_at;      /* singly: of the page that is read now, in the buffer. */
    bool used;
    bool failed; /* A part of what is read now. */
    bool singly; /* The whole could not be read: page by page. */
};

struct wal {
    struct wal_config config;
    struct geometry geometry;
    int failed;
    bool open;
    bool stopping;
    struct superblock current; /* Durable. */
    /* The superblock update under way. */
    struct superblock next;
    bool updating;
    uint32_t copy; /* Being written. */
    bool cutting;  /* `next` holds a cut. */
    /* What is wanted of the next one. */
    bool want_hard;
    bool want_cut;
    bool want_start;
    struct wal_hard hard;
    struct log_id cut_keep;
    uint64_t cut_position;
    struct log_start start;
    /* The log. */
    uint64_t next_position; /* Of the next write. */
    struct log_id next_after;
    uint64_t durable_position;
    struct log_id durable_last;
    uint64_t flight_head; /* Sequence of the oldest flight; slot = sequence % WRITES_MAX. */
    uint64_t flight_tail;
    struct flight flights[WRITES_MAX];
    /* Watermark pages. */
    uint64_t recorded_position; /* Vouched for by the cut or a watermark page of this epoch. */
    uint64_t mark_position;     /* Of the page under way. */
    uint64_t mark_epoch;
    uint64_t mark_sequence;
    uint64_t idle_since_ns;
    /* Since when each write that is not the log's is under way without progress; 0: it is not. */
    uint64_t update_since_ns;
    uint64_t mark_since_ns;
    uint64_t state_since_ns;
    uint64_t repair_since_ns;
    bool marking;
    struct state_job state;
    bool repairing;
    uint64_t repair_position; /* Of the page under way. */
    /* Reads. */
    struct read_slot reads[READ_SLOTS];
    uint32_t read_ios; /* Queued or in flight. */
    uint32_t read_done[READ_SLOTS];
    uint32_t read_done_count;
    /* Not yet submitted. */
    struct disk_io queue[DISK_QUEUE_MAX];
    uint32_t queue_count;
    struct wal_counters counters;
    uint8_t *superblock_page;
    uint8_t *watermark_page;
    uint8_t *state_pages;
    uint8_t *recover_buffer;
};

_Static_assert(WRITES_MAX <= 256, "a slot number fits its place in a cookie");

/* A request's cookie at the disk: what it is, and which of its kind. */
static inline uint64_t io_cookie(enum io_kind kind, uint32_t slot)
{
    return (uint64_t)kind << 32 | slot;
}

static inline enum io_kind io_cookie_kind(uint64_t cookie)
{
    return (enum io_kind)(cookie >> 32);
}

static inline uint32_t io_cookie_slot(uint64_t cookie)
{
    return (uint32_t)cookie;
}

static inline bool flights_none(const struct wal *wal)
{
    return wal->flight_head == wal->flight_tail;
}

static inline bool watermark_unrecorded(const struct wal *wal)
{
    return wal->durable_position > wal->recorded_position;
}

/* Whether nothing that a watermark page should wait for is under way. */
static inline bool log_is_quiet(const struct wal *wal)
{
    return flights_none(wal) && !wal->updating && !wal->want_hard && !wal->want_cut &&
           !wal->want_start;
}

/* Queue one request; `buffer` must not change until it is done. */
void wal_queue_add(struct wal *wal, uint64_t cookie, const struct ring_part *part, void *buffer);

/* The same for a range that the ring's end may split; returns the requests. */
uint32_t wal_queue_range(struct wal *wal,
                         uint64_t cookie,
                         const struct ring_part parts[2],
                         uint32_t part_count,
                         uint8_t *buffer);

/* A request of this read has ended. */
void wal_read_part_done(struct wal *wal, uint32_t slot, int32_t result);

/* The earlier one; b_ns 0: not under way. */
static inline uint64_t wal_older(uint64_t a_ns, uint64_t b_ns)
{
    return b_ns != 0 && b_ns < a_ns ? b_ns : a_ns;
}

/* Whether [position, position + bytes) holds the page that is being repaired. */
bool wal_repair_overlaps(const struct wal *wal, uint64_t position, uint32_t bytes);

/* Whether the start or the cut of the superblock is about to change. */
bool wal_bounds_change(const struct wal *wal);

/* A copy of a small state is written. */
void wal_state_written(struct wal *wal);

/* What was read of a copy is there, or is not. */
void wal_state_seen(struct wal *wal, int32_t result);

/* Begin a superblock update, if none is under way and something is wanted that may go. */
void wal_update_begin(struct wal *wal);

/* A copy is durable: write the next one, or the update is done. */
void wal_update_copy_done(struct wal *wal, uint64_t now_ns);

/* Write a watermark page, if one is due. */
void wal_watermark_begin(struct wal *wal, uint64_t now_ns);
void wal_watermark_done(struct wal *wal);

#endif
