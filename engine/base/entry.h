/* entry.h: the bytes of one log entry, for memory, wire and disk alike, and their check.
 *
 * An entry occupies 1 to ENTRY_PAGES_MAX pages. The same bytes stand in a log slot, travel in
 * frames and lie on disk (design D3, D4); all integers are little endian:
 *
 *     first page   0  node header (64)   this node's own; the only part that differs between nodes
 *                 64  entry header (96)  made once by the leader
 *                160  body ...
 *     every page 4080  page mark (16)    made once by the leader
 *
 * The body runs from byte 160 over the pages, leaving out the 16 bytes of every mark; what is left
 * of the last page is zero. A position is the entry's first byte in an endless log: the sum of the
 * padded sizes of all entries before it, a multiple of PAGE_BYTES, the same on every replica.
 *
 * Knows nothing of Raft's rules, of frames or of disks.
 */
#ifndef ENGINE_BASE_ENTRY_H
#define ENGINE_BASE_ENTRY_H

#include "engine/base/assert.h"
#include "engine/base/limits.h"

#include <stdint.h>

#define ENTRY_MAGIC       0x4e454854u /* "THEN" */
#define NODE_HEADER_MAGIC 0x4e4e4854u /* "THNN" */
#define ENTRY_VERSION     1u

enum entry_kind {
    ENTRY_NOOP = 1,      /* First entry of a term. No body. */
    ENTRY_CLIENT,        /* Client records. */
    ENTRY_CONFIGURATION, /* One encoded configuration; the first entry of every log is one. */
    ENTRY_TRIM,          /* Moves the log start. */
};

/* Offset 64 of the first page, 96 bytes. */
struct entry_header {
    uint32_t magic;
    uint16_t version;
    uint8_t kind;  /* enum entry_kind */
    uint8_t pages; /* 1 to ENTRY_PAGES_MAX */
    uint64_t cluster;
    uint64_t term;
    uint64_t index;         /* From 1. */
    uint64_t previous_term; /* Of index - 1; 0 for index 1. */
    uint64_t position;
    uint64_t first_offset;   /* Of its first client record; the next one's, if it holds none. */
    uint64_t leader_time_ns; /* Leader's monotonic clock, never falling along the log. */
    uint32_t body_bytes;
    uint32_t record_count; /* Appended records: what first_offset grows by. */
    uint64_t commit_index; /* Entries up to here were committed when the leader made this one. */
    uint32_t session_record_count; /* Records of a session, of whatever kind. */
    uint8_t reserved[8];           /* Zero. */
    uint32_t crc;                  /* CRC-32C of the 92 bytes before. */
};
_Static_assert(sizeof(struct entry_header) == ENTRY_HEADER_BYTES, "96 bytes on disk and wire");

/* Offset 0 of the first page, 64 bytes, stamped by the node that writes. */
struct node_header {
    uint32_t magic;
    uint16_t version;
    uint16_t node;
    uint64_t store;            /* Store id of this node's log. */
    uint64_t epoch;            /* Superblock's epoch when this was written. */
    uint64_t durable_position; /* Everything below it was durable here. */
    uint64_t position;         /* Of the entry: binds this header to it. */
    uint8_t reserved[20];      /* Zero. */
    uint32_t crc;              /* CRC-32C of the 60 bytes before. */
};
_Static_assert(sizeof(struct node_header) == NODE_HEADER_BYTES, "64 bytes on disk");

/* Last 16 bytes of every page. The CRC is seeded with the cluster id and covers the page from its
 * first byte (of a first page: from byte 64, the node header left out) up to the CRC itself. */
struct page_mark {
    uint64_t position; /* Of the page, its low bits (free by alignment) the page's number within
                          its entry: client bytes can never pass for a header. */
    uint32_t term_low; /* Low half of the entry's term. */
    uint32_t crc;
};
_Static_assert(sizeof(struct page_mark) == PAGE_MARK_BYTES, "16 bytes on disk and wire");

/* Only appended records have an offset. The others are of a session, which docs/PROTOCOL.md has. */
enum record_kind {
    RECORD_APPEND,
    RECORD_REGISTER, /* Opens a session. */
    RECORD_REFUSED,  /* Consumes sequence numbers: their condition did not hold. */
    RECORD_KIND_COUNT
};

/* One client record in the body, followed by its bytes, padded with zeros to 8. */
struct record_header {
    uint32_t bytes; /* Of the payload, 0 to RECORD_BYTES_MAX. */
    uint8_t kind;   /* enum record_kind */
    uint8_t reserved[3];
    uint64_t session;  /* 0: none. */
    uint64_t sequence; /* The client's number of the record. */
};
_Static_assert(sizeof(struct record_header) == RECORD_HEADER_BYTES, "24 bytes in a body");

/* How a page stands against the entry it should belong to. */
enum page_state {
    PAGE_VALID,  /* The mark's CRC, position and term are as expected. */
    PAGE_ABSENT, /* Zero, or a valid mark of an earlier lap or of another term: not written. */
    PAGE_BAD,    /* Everything else. */
};

/* Pages an entry with this body takes; body_bytes <= entry_body_bytes_max(ENTRY_PAGES_MAX). */
uint32_t entry_pages(uint32_t body_bytes);

/* Body bytes that fit into this many pages. */
uint32_t entry_body_bytes_max(uint32_t pages);

/* Bytes from the start of the first page to the end of the body in the last one: where zero padding
 * begins. The wire sends [NODE_HEADER_BYTES, this) and the last page's mark (docs/PROTOCOL.md). */
uint32_t entry_used_bytes(uint32_t body_bytes);

/* Copy body bytes in or out, stepping over the marks. `body_offset` counts body bytes. */
void entry_body_write(uint8_t *entry, uint32_t body_offset, const void *bytes, uint32_t count);
void entry_body_read(const uint8_t *entry, uint32_t body_offset, void *bytes, uint32_t count);

/* The leader's part: fill the header's magic, version, pages and CRC, zero the padding and the node
 * header, mark every page. `header` is copied; `entry` holds the body already and room for its
 * pages. Cost: one CRC pass over the pages. */
void entry_seal(uint8_t *entry, const struct entry_header *header);

/* The entry header within the entry (a view, not checked). */
static inline const struct entry_header *entry_header_of(const uint8_t *entry)
{
    return (const struct entry_header *)(const void *)(entry + NODE_HEADER_BYTES);
}

/* Check a header alone: magic, version, kind, pages, cluster, CRC, body bytes against pages,
 * position aligned, reserved zero. Returns NULL, or what is wrong in a few words. */
const char *entry_header_check(const struct entry_header *header, uint64_t cluster);

/* Check page `number` of an entry in memory against what its header says. */
bool entry_page_valid(const uint8_t *page, uint32_t number, const struct entry_header *header);

/* What stands in the last 16 bytes of any page, and whether its CRC holds in this cluster: for
 * recovery, which meets pages before it knows their entry. `first_page` leaves the node header out,
 * as the mark of an entry's first page (the one whose number is 0) does. */
struct page_mark page_mark_of(const uint8_t *page);
bool page_mark_valid(const uint8_t *page, uint64_t cluster, bool first_page);

/* Check everything: header, every page's mark, zero padding, records that fill the body exactly.
 * `entry` is 8-byte aligned and has room for the pages of a valid header (at most
 * ENTRY_BYTES_MAX); any bytes may stand in it. Returns NULL or what is wrong. */
const char *entry_check(const uint8_t *entry, uint64_t cluster);

/* This node's part of the first page, made just before the write. */
void node_header_seal(uint8_t *entry, const struct node_header *header);
const char *node_header_check(const struct node_header *header, uint64_t store);

/* Walk the records of a body. `cursor` starts at 0; false at the end. Asserts a checked entry.
 * `payload_offset` is the body offset of the payload. */
MUST_USE bool entry_record_next(const uint8_t *entry,
                                uint32_t *cursor,
                                struct record_header *record,
                                uint32_t *payload_offset);

/* The same for appended records alone: the first one has the entry's first offset. */
MUST_USE bool entry_append_next(const uint8_t *entry,
                                uint32_t *cursor,
                                struct record_header *record,
                                uint32_t *payload_offset);

/* Body bytes one record takes: header, payload, padding. */
static inline uint32_t record_body_bytes(uint32_t payload_bytes)
{
    return RECORD_HEADER_BYTES + ((payload_bytes + 7u) & ~7u);
}

#endif
