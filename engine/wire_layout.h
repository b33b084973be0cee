/* wire_layout.h: where every byte of a frame's head stands. For wire.c and wire_fixed.c alone.
 *
 * The structs are the layout (docs/PROTOCOL.md): every integer stands at a multiple of its size, so
 * the compiler adds no padding. A head is copied out of its frame before it is looked at, because a
 * device gives no alignment.
 */
#ifndef ENGINE_WIRE_LAYOUT_H
#define ENGINE_WIRE_LAYOUT_H

#include "engine/wire.h"

/* Terms, indexes, positions, offsets and sequences stay below this: no sum of two of them wraps. */
#define NUMBER_LIMIT (1ull << 63)

#define ACK_MATCHED         1u
#define ACK_BOOTSTRAPPED    2u
#define ACK_MISSING         4u
#define READ_LINEARIZABLE   1u
#define READ_WAITS          2u
#define READ_PARTIAL        1u
#define STATUS_DURABLE      1u
#define STATUS_BOOTSTRAPPED 2u
#define STATUS_TAKES        4u
#define STATUS_DEGRADED     8u
#define STATUS_SLOWED       16u
#define STATUS_FAULTY       32u
#define STATUS_POSIX        64u
#define STATUS_BOUNDED      128u /* All eight are in use. */
#define STATUS_UNMENDED     1u   /* Of the second byte of flags. */
#define STATUS_FULL         2u
#define STATUS_DIVERGED     4u
#define RECORD_ALIGN        8u
#define ANY_OFFSET          UINT64_MAX /* Of a request without a condition. */

struct header_layout {
    uint32_t magic;
    uint16_t version;
    uint8_t kind;
    uint8_t reserved;
    uint8_t from;
    uint8_t to;
    uint16_t group;
    uint32_t frame_bytes;
    uint32_t crc;     /* Computed with zero in its place. */
    uint32_t counter; /* Room for the low half of the tag's counter. Zero. */
    uint64_t cluster;
    uint64_t from_store;
    uint64_t from_boot;
    uint64_t to_boot;
    uint64_t term;
    uint64_t token;
    uint64_t tag[WIRE_TAG_BYTES / 8]; /* Zero. */
};

struct vote_layout {
    uint64_t last_term;
    uint64_t last_index;
    uint8_t transfer;
    uint8_t reserved[7];
};

struct vote_reply_layout {
    uint8_t granted;
    uint8_t reserved[7];
    uint64_t regressed;
    uint64_t regressed_term;
    uint64_t regressed_token;
};

struct append_layout {
    uint32_t session;
    uint32_t heard_boot;
    uint64_t prev_term;
    uint64_t prev_index;
    uint64_t commit_index;
    uint64_t regressed;
};

struct entry_layout {
    uint32_t session;
    uint16_t fragment_bytes;
    uint8_t pages;
    uint8_t reserved;
    uint32_t used_bytes;
    uint32_t offset;
    uint64_t term;
    uint64_t index;
    uint64_t previous_term;
    uint64_t position;
    uint64_t commit_index;
    struct page_mark last_mark;
};

struct ack_layout {
    uint32_t session;
    uint8_t flags;
    uint8_t probe;
    uint16_t frame_bytes;
    uint64_t hint_term;
    uint64_t hint_index;
    uint64_t verified_index;
    uint64_t durable_index;
    uint64_t received_index;
    uint64_t credit_position;
    uint64_t space_position;
    uint64_t missing_index;
    uint64_t missing_bitmap;
    uint64_t bound_term;
    uint64_t bound_index;
};

struct timeout_now_layout {
    uint64_t last_term;
    uint64_t last_index;
};

struct probe_layout {
    uint32_t session;
    uint8_t number;
    uint8_t reserved[3];
};

struct mend_ask_layout {
    uint64_t term;
    uint64_t index;
    uint64_t end_position;
};

struct mend_say_layout {
    uint8_t what;
    uint8_t reserved[7];
    uint64_t term;
    uint64_t index;
    uint64_t last_term;
    uint64_t last_index;
};

struct request_layout {
    uint64_t session;
    uint64_t first_sequence;
    uint64_t expected_offset;
    uint32_t epoch;
    uint32_t record_count;
    uint32_t request_bytes;
    uint32_t offset;
};

struct reply_layout {
    uint64_t session;
    uint64_t first_sequence;
    uint64_t first_offset;
    uint64_t detail;
    uint32_t record_count;
    uint8_t status;
    uint8_t leader;
    uint16_t reserved;
};

struct read_layout {
    uint64_t offset;
    uint32_t skip;
    uint8_t flags;
    uint8_t reserved;
    uint16_t frame_bytes;
};

struct read_reply_layout {
    uint64_t offset;
    uint64_t start_offset;
    uint64_t committed_offset;
    uint32_t skip;
    uint32_t record_count;
    uint8_t status;
    uint8_t leader;
    uint8_t flags;
    uint8_t reserved[5];
    uint64_t term;
};

struct status_layout {
    uint64_t reserved;
};

struct status_reply_layout {
    uint8_t role;
    uint8_t leader;
    uint8_t flags;
    uint8_t more; /* Flags. */
    uint8_t smallest;
    uint8_t reserved[3];
    uint64_t term;
    uint64_t commit_index;
    uint64_t durable_index;
    uint64_t start_offset;
    uint64_t end_offset;
    uint64_t voters;
    uint64_t waiting;
    uint64_t strangers;
    uint64_t behind;
    uint64_t frames_dropped;
    uint64_t regressed;
};

struct open_layout {
    uint32_t epoch;
    uint8_t name_bytes;
    uint8_t reserved[3];
    uint8_t name[SESSION_NAME_MAX];
};

struct open_reply_layout {
    uint64_t session;
    uint64_t next_sequence;
    uint32_t epoch;
    uint8_t status;
    uint8_t leader;
    uint16_t reserved;
};

struct transfer_layout {
    uint8_t to;
    uint8_t reserved[7];
};

struct transfer_reply_layout {
    uint8_t outcome;
    uint8_t leader;
    uint8_t to;
    uint8_t reserved[5];
};

struct stats_layout {
    uint16_t first;
    uint8_t reserved[6];
};

struct stats_reply_layout {
    uint16_t total;
    uint16_t first;
    uint16_t count;
    uint16_t reserved;
};

/* In the payload of a STATS_REPLY; name and text follow, and zeros up to a multiple of 8. */
struct item_layout {
    uint64_t value;
    uint8_t kind;
    uint8_t name_bytes;
    uint8_t text_bytes;
    uint8_t reserved[5];
};

struct head_layout {
    struct header_layout header;
    union {
        struct vote_layout vote;
        struct vote_reply_layout vote_reply;
        struct append_layout append;
        struct entry_layout entry;
        struct ack_layout ack;
        struct timeout_now_layout timeout_now;
        struct probe_layout probe;
        struct mend_ask_layout mend_ask;
        struct mend_say_layout mend_say;
        struct request_layout request;
        struct reply_layout reply;
        struct read_layout read;
        struct read_reply_layout read_reply;
        struct status_layout status;
        struct status_reply_layout status_reply;
        struct open_layout open;
        struct open_reply_layout open_reply;
        struct transfer_layout transfer;
        struct transfer_reply_layout transfer_reply;
        struct stats_layout stats;
        struct stats_reply_layout stats_reply;
    };
};

/* Check the fixed part of a frame whose header is checked, and copy it out. `out` holds the header
 * and the payload already. */
MUST_USE enum wire_reason wire_fixed_decode(const struct head_layout *head, struct wire_frame *out);

/* Copy the fixed part in. `head` is zero so far, its kind set. */
void wire_fixed_encode(const struct wire_frame *frame, struct head_layout *head);

/* The same for the kinds to and from clients. */
MUST_USE enum wire_reason wire_client_decode(const struct head_layout *head,
                                             struct wire_frame *out);
void wire_client_encode(const struct wire_frame *frame, struct head_layout *head);

bool wire_all_zero(const uint8_t *bytes, uint32_t count);

#endif
