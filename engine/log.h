/* log.h: the log in memory: slots that are what goes to disk, and where the rest lies on disk.
 *
 * One ring of `ring_bytes`; the entry at position p has its bytes at ring + p % ring_bytes, always
 * in one piece (behind the ring's end lies room for the largest entry). So entries that follow each
 * other on disk follow each other in memory, but for the ring's end, and go out as one write.
 *
 * Invariant: bytes of a position are overwritten only by a position a whole ring later, once they
 * are durable here, or by the same position after a cut, and never while somebody reads them: every
 * page of the ring has a counter of its readers. log_place() is the one gate. What is no longer in
 * memory is found on disk by the sparse index: for every stride of the disk's ring the first entry
 * that begins in it.
 *
 * Must not know frames, terms' meaning or devices. One writer, no locks.
 */
#ifndef ENGINE_LOG_H
#define ENGINE_LOG_H

#include "engine/base/assert.h"
#include "engine/base/entry.h"
#include "engine/base/mem.h"
#include "storage/recover.h"

#include <stdbool.h>
#include <stdint.h>

/* What is kept of every entry in memory. */
struct log_entry {
    uint64_t term;
    uint64_t position;
    uint64_t first_offset;
    uint32_t body_bytes;
    uint32_t record_count;
    uint8_t pages;
    uint8_t kind; /* enum entry_kind */
};

/* A place in the log from which entries can be walked. */
struct log_place {
    uint64_t position;
    uint64_t index;
    uint64_t first_offset;
};

struct log {
    uint8_t *ring;
    uint64_t ring_bytes;
    uint16_t *pins;            /* Readers of each page of the ring and of the room behind it. */
    uint64_t pinned_waits;     /* How often a slot was not given for their sake. */
    struct log_entry *entries; /* By index & entry_mask. */
    uint64_t entry_mask;
    struct log_place *strides; /* By position / stride_bytes % stride_count. index 0: none. */
    uint64_t stride_bytes;
    uint64_t stride_count;
    struct log_start start;     /* The first entry kept. */
    struct log_id last;         /* Of the last entry. */
    uint64_t end_position;      /* Behind it. */
    uint64_t next_offset;       /* Of the next client record. */
    uint64_t last_time_ns;      /* Leader time of the last entry: it never falls. */
    uint64_t known_index;       /* Entries from here on are in `entries`. */
    uint64_t resident_position; /* Bytes from here on are in the ring. */
};

/* `log_memory_bytes` of slots, a power of two; `disk_ring_bytes` of the ring on disk. */
uint64_t log_memory_bytes(uint64_t ring_bytes);
void log_init(struct log *log, struct mem *mem, uint64_t ring_bytes);

/* Begin with an empty log at `start`, kept on a ring of `disk_ring_bytes`. */
void log_begin(struct log *log, const struct log_start *start, uint64_t disk_ring_bytes);

/* Claim [position, position + bytes) of the ring for writing, if everything that lay there is
 * durable (`durable_position`) and nobody reads it: returns the slot, or NULL: not now. Never below
 * end_position. */
uint8_t *log_place(struct log *log, uint64_t position, uint32_t bytes, uint64_t durable_position);

/* Take the entry after the last one. Its bytes are in their slot (`resident`) or on disk alone. */
void log_take(struct log *log, const struct entry_header *header, bool resident);

/* Cut after `keep`, whose entry ends at `end`; `next_offset` is the offset after it. */
struct log_end {
    struct log_id last;
    uint64_t position;
    uint64_t next_offset;
};
void log_cut(struct log *log, const struct log_end *end);

/* The start has moved. */
void log_trim(struct log *log, const struct log_start *start);

/* What is known of an entry, or NULL: too old, or after the last. */
const struct log_entry *log_entry(const struct log *log, uint64_t index);

/* The bytes of an entry, or NULL: no longer in memory. */
const uint8_t *log_bytes(const struct log *log, uint64_t index);
uint8_t *log_slot(const struct log *log, uint64_t position);

/* The counters of the pages in which [bytes, bytes + byte_count) lies, `page_count` of them, for
 * whoever will read there after this iteration; NULL: the bytes are not the ring's. */
uint16_t *
log_pins(const struct log *log, const uint8_t *bytes, uint32_t byte_count, uint32_t *page_count);

/* End of the log if it ended with entry `index`. False: not known in memory. */
MUST_USE bool log_end_at(const struct log *log, uint64_t index, struct log_end *end);

/* The last indexed place at or before an index or an offset; the log start if there is none. */
struct log_place log_find_index(const struct log *log, uint64_t index);
struct log_place log_find_offset(const struct log *log, uint64_t offset);

/* The last indexed place at or before a position of the log; the log start if there is none. */
struct log_place log_find_position(const struct log *log, uint64_t position);

/* The first indexed place in a stride behind the position's. False: none. */
MUST_USE bool log_next_place(const struct log *log, uint64_t position, struct log_place *place);

/* Index of the entry in memory that holds client offset `offset`; 0: not known in memory. */
uint64_t log_index_of_offset(const struct log *log, uint64_t offset);

static inline uint32_t log_entry_bytes(const struct log_entry *entry)
{
    return (uint32_t)entry->pages * PAGE_BYTES;
}

#endif
