/* wal.h: one replica's log on disk: a ring of segments, a superblock, two watermark pages and the
 * small states. docs/STORAGE.md has the layout byte by byte and the rules; design D4 to D6.
 *
 * The caller asks (write these entries, make this hard state durable, cut here, move the start) and
 * later reads off what has become durable: wal_durable(), wal_hard_durable(), wal_epoch(),
 * wal_start_durable(). Nothing here blocks after wal_open(); everything moves in wal_poll().
 *
 * It must not know Raft: terms and votes are numbers that it keeps. It keeps the disk's own rules:
 *   - log writes in flight are disjoint, at most WRITES_MAX and WRITE_WINDOW_BYTES of them;
 *   - the durable watermark is the contiguous prefix of completed writes;
 *   - a superblock update writes its slot's two copies one after the other, each durable, and so
 *     does a small state: the start moves to one only when both are;
 *   - a cut begins only when everything below it is durable and no log write is in flight;
 *   - a position is written again only after the start beyond it is durable in the superblock;
 *   - or by a repair, one page at a time, of what is durable and committed: none begins while a
 *     start or a cut is wanted or under way, and neither begins while one is in flight, so that
 *     the place of the page is this log's until the write has ended. No read races a repair;
 *   - after a failed or short write nothing is submitted any more: wal_failed().
 */
#ifndef STORAGE_WAL_H
#define STORAGE_WAL_H

#include "engine/base/assert.h"
#include "engine/base/counter.h"
#include "engine/base/entry.h"
#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "storage/disk.h"
#include "storage/recover.h"

#include <stdbool.h>
#include <stdint.h>

struct wal; /* Taken from a struct mem by wal_create(). */
struct scan_log;

struct wal_config {
    uint64_t cluster;
    uint8_t node;
    struct disk *disk; /* Borrowed; the wal is its only user. */
};

/* Which logs wal_open() takes. */
enum wal_accept {
    WAL_WHOLE, /* No other. */
    /* Also one that has lost what no other node can bring back: cut behind what is whole, and from
     * then on bound, see wal_hard.vote_bound. For a node that has others. */
    WAL_BOUNDED,
    /* Also a suspect one, cut behind what is whole and not bound, whatever was acknowledged above;
     * a bound of earlier is lifted: an operator says so. */
    WAL_DISCARD_SUSPECT,
    WAL_DISCARD_DAMAGED /* The same of a damaged one: what was durable above is given up. */
};

/* What the superblock keeps for the core. */
struct wal_hard {
    uint64_t term;
    uint64_t entry_term; /* Highest term of any entry ever owed to the log. */
    uint8_t vote;
    bool bootstrapped;
    struct log_id vote_bound; /* Not {0, 0}: entries of the log are lost, and none of them that
                                 counts was above this. */
};

/* Contiguous entries, one write. `bytes` is PAGE_BYTES aligned, in the caller's log memory, and
 * must not change until wal_durable() covers last_index; the wal stamps the node header of each
 * entry. */
struct wal_write {
    uint8_t *bytes;
    uint64_t position;
    uint32_t byte_count; /* Whole entries, at most WRITE_BYTES_MAX. */
    struct log_id first;
    struct log_id last;
};

struct wal_durable {
    uint64_t epoch;
    uint64_t index;
    uint64_t position; /* End of the entry at index. */
};

/* Bytes wal_create() takes, the superblock's and the small states' page buffers included. */
uint64_t wal_memory_bytes(void);
struct wal *wal_create(struct mem *mem, const struct wal_config *config);

/* Recover, and if the log is whole open it for writing: make the superblock's copies equal, then
 * raise epoch and boot with the cut at the end, durably, before returning. One that is not whole is
 * taken as `accept` says. `visit` gets every entry of the proven prefix in order. Returns 0; or a
 * negative errno with the fault told: a log that is foreign, newer, truncated, or damaged (kind and
 * position are then in `found`), and nothing has been written to it. Blocks: start-up only. */
MUST_USE int wal_open(struct wal *wal,
                      enum wal_accept accept,
                      const struct recover_visitor *visit,
                      struct recovery *found,
                      struct fault *fault);

/* Tell why a log that is not whole is refused where no other node can mend it, and what an operator
 * may do. Returns -EBADMSG. */
MUST_USE int wal_damage_refuse(const struct recovery *found, struct fault *fault);

/* RECOVER_BUFFER_BYTES that wal_open() reads through; the caller's to use until it has succeeded.
 */
uint8_t *wal_start_buffer(struct wal *wal);

/* Queue a write. False: too much in flight, a cut is under way (entries below an asked-for cut
 * still go), or the ring's space is not free yet; nothing was queued, ask again after polling.
 * Entries follow each other without a gap, and none is of a term above
 * wal_hard_durable().entry_term. */
MUST_USE bool wal_write(struct wal *wal, const struct wal_write *write);

/* Ask for a hard state; the newest asked for wins. Never lower than what is durable. */
void wal_set_hard(struct wal *wal, const struct wal_hard *hard);

/* Ask for a cut after entry `keep`, whose end is `position`, under epoch wal_epoch() + 1: done when
 * wal_epoch() has risen. Entries up to `keep` that are not queued yet must still be; what was
 * queued above stays in its slots until the cut is done. One cut at a time. */
void wal_cut(struct wal *wal, struct log_id keep, uint64_t position);

/* Ask for a log start, given by the small state at that boundary, which was put before. It waits
 * until everything below it and that state are durable here. */
void wal_set_start(struct wal *wal, const struct log_start *start);

/* Queue the small state of a segment boundary, to be written in two copies: `bytes` (at most
 * STATE_BYTES - PAGE_BYTES) are copied. False: the previous one is still being written, or the
 * start's is looked at; ask again after polling. */
MUST_USE bool wal_put_state(struct wal *wal,
                            const struct log_start *boundary,
                            const void *bytes,
                            uint32_t byte_count);

/* Look at both copies of the small state at the start, which is not 0, and put back a bad one from
 * the other; the counters say what came of it. False: not now; ask again after polling. */
MUST_USE bool wal_look_state(struct wal *wal);

/* Put page `number` of an entry back in its place: it is durable and committed, and does not stand
 * there as it should. `entry` passed entry_check() and must not change until wal_repairing() is
 * false; its node header is stamped here, in the current epoch, and vouches for no more than its
 * own position. False: not now; nothing was queued, ask again after polling. */
MUST_USE bool wal_repair(struct wal *wal, uint8_t *entry, uint32_t number);
bool wal_repairing(const struct wal *wal);

/* Read whole pages of the log into `buffer`; at most ENTRY_BYTES_MAX * 4 bytes. Crossing the ring's
 * end is fine. False: no room in the queue, or a page among them is being repaired. The pages are
 * not checked here. */
MUST_USE bool
wal_read(struct wal *wal, uint64_t position, uint32_t byte_count, void *buffer, uint32_t cookie);

/* Take one finished read. False: none. Pages that the disk could not read, and those alone, are
 * filled with bytes that no page check passes. */
MUST_USE bool wal_read_done(struct wal *wal, uint32_t *cookie);

/* Submit what is queued as one batch, reap completions, write a watermark page after 1 ms idle.
 * Returns the number of requests moved. */
uint32_t wal_poll(struct wal *wal, uint64_t now_ns);

/* The log as scan_page_judge() wants it told; without a disk. */
struct scan_log wal_scan_log(const struct wal *wal);

/* What is durable. Never goes back within an epoch. */
struct wal_durable wal_durable(const struct wal *wal);
struct wal_hard wal_hard_durable(const struct wal *wal);
struct log_start wal_start_durable(const struct wal *wal);
uint64_t wal_epoch(const struct wal *wal); /* Durable in the superblock. */
uint64_t wal_store(const struct wal *wal);
uint64_t wal_boot(const struct wal *wal);
uint64_t wal_ring_bytes(const struct wal *wal);
uint64_t wal_segment_bytes(const struct wal *wal);

/* True while nothing is queued or in flight (reads apart). */
bool wal_is_idle(const struct wal *wal);
/* Log writes in flight, the queued ones included. */
uint32_t wal_writes_in_flight(const struct wal *wal);
/* Since when the oldest write of any kind has been in flight; UINT64_MAX when there is none. */
uint64_t wal_oldest_write_ns(const struct wal *wal);
/* The same for reads. */
uint64_t wal_oldest_read_ns(const struct wal *wal);
/* When wal_poll() wants to be called without a completion; UINT64_MAX: never. */
uint64_t wal_deadline_ns(const struct wal *wal);
/* 0, or the negative errno of the write that failed. Fatal for this replica. */
int wal_failed(const struct wal *wal);
/* Clean stop: ask for a watermark page now; poll until wal_is_idle(). */
void wal_stop(struct wal *wal);

/* clang-format off */
#define WAL_COUNTERS(X) \
    X(writes) X(write_bytes) X(entries) X(superblock_updates) X(watermark_pages) X(states) \
    X(states_bad) X(states_mended) X(cuts) X(reads) X(read_bytes) X(write_waits) X(repairs)
/* clang-format on */
COUNTERS_DECLARE(wal, WAL_COUNTERS);
const struct wal_counters *wal_counters(const struct wal *wal);

#endif
