/* wire.h: the bytes of frames, and the only validator of frames.
 *
 * wire_decode() makes every check once, at the edge; whatever it lets through is asserted inside
 * and never checked again. Bad frames are counted by reason and dropped without an answer. All
 * integers are little endian; docs/PROTOCOL.md has the layout byte by byte. The room for the
 * authentication tag (design D17) is in every header and must be zero.
 *
 *     frame = header (WIRE_HEADER_BYTES) | fixed part of its kind | payload
 *
 * Between nodes the CRC covers header and fixed part: an ENTRY's payload is covered by the marks of
 * its pages. In frames to and from clients it covers everything. Knows nothing of Raft's rules, of
 * devices or of the log.
 */
#ifndef ENGINE_WIRE_H
#define ENGINE_WIRE_H

#include "engine/base/assert.h"
#include "engine/base/counter.h"
#include "engine/base/entry.h"
#include "engine/raft/raft.h"

#include <stdint.h>

#define WIRE_MAGIC           0x464f4854u /* "THOF" */
#define WIRE_VERSION         1u
#define WIRE_HEADER_BYTES    88u
#define WIRE_COMMIT_LIMIT    (1ull << 62) /* Of an APPEND: an accused node keeps it on disk. */
#define WIRE_TAG_BYTES       16u
#define WIRE_FIXED_BYTES_MAX 104u
#define WIRE_HEAD_BYTES_MAX  (WIRE_HEADER_BYTES + WIRE_FIXED_BYTES_MAX)

enum wire_kind {
    WIRE_PRE_VOTE = 1,
    WIRE_PRE_VOTE_REPLY,
    WIRE_VOTE,
    WIRE_VOTE_REPLY,
    WIRE_APPEND,       /* Heartbeat and probe. */
    WIRE_ENTRY,        /* One fragment of one entry; with no payload it asks for an ACK (a poll). */
    WIRE_ACK,          /* Append reply, and the state of the follower's stream. */
    WIRE_TIMEOUT_NOW,  /* Stand for election now: leadership is handed over. */
    WIRE_PROBE,        /* A frame of some size, to see whether it arrives. */
    WIRE_MEND_ASK,     /* A damaged node: who has this very entry? */
    WIRE_MEND_ENTRY,   /* Yes: one fragment of it, as an ENTRY of no session. */
    WIRE_MEND_SAY,     /* No, and why. */
    WIRE_REQUEST = 32, /* Client: append these records. */
    WIRE_REPLY,
    WIRE_READ, /* Client: read from this offset. */
    WIRE_READ_REPLY,
    WIRE_STATUS, /* Client: how are you? */
    WIRE_STATUS_REPLY,
    WIRE_OPEN, /* Client: open a session. */
    WIRE_OPEN_REPLY,
    WIRE_TRANSFER, /* Client: hand leadership to another node. */
    WIRE_TRANSFER_REPLY,
    WIRE_STATS, /* Client: what have you counted? */
    WIRE_STATS_REPLY,
};

/* Of every frame. */
struct wire_header {
    uint8_t kind;
    uint8_t from; /* Node id; 0: a client. */
    uint8_t to;   /* Node id; 0: a client, or whoever serves this address. */
    uint16_t group;
    uint64_t cluster;
    uint64_t from_store; /* A node's store id; a client's random id. */
    uint64_t from_boot;  /* A client: 0, or whatever makes replies to another process strange. */
    uint64_t to_boot;    /* 0: not known to the sender. */
    uint64_t term;       /* 0 in client frames. */
    uint64_t token;
};

/* ENTRY. A fragment is bytes [offset, offset + payload) of the entry's used part, which begins
 * behind the node header and ends with the body (entry_used_bytes); the padding does not travel,
 * and the last page's mark rides in every fragment. offset is a multiple of fragment_bytes, and
 * every fragment but the last is full. Within a session fragment_bytes of one entry never grows:
 * where a receiver holds fragments of a larger cut, a smaller one takes their place. */
struct wire_entry {
    uint32_t session;
    uint16_t fragment_bytes;
    uint8_t pages;
    uint32_t used_bytes; /* entry_used_bytes(): counted from the first page's first byte. */
    uint32_t offset;     /* Of this fragment, counted from NODE_HEADER_BYTES. */
    struct raft_entry_id id;
    uint64_t previous_term;
    uint64_t position;
    uint64_t commit_index;
    struct page_mark last_mark;
};

/* ACK: what raft_message.append_reply says, and the follower's stream. */
struct wire_ack {
    uint32_t session;
    bool matched;
    bool bootstrapped;
    bool has_missing;
    uint8_t probe;        /* Number of the last PROBE of this session; 0: none has come. */
    uint16_t frame_bytes; /* Largest frame that the follower's port takes; 0: it does not say. */
    struct raft_entry_id hint;
    struct raft_entry_id bound;
    uint64_t verified_index;
    uint64_t durable_index;
    uint64_t received_index;  /* Every entry up to here is held whole. */
    uint64_t credit_position; /* Absolute: entries may be sent that end at or below it. */
    uint64_t space_position;  /* Start of its log plus its ring: where its disk is full. */
    uint64_t missing_index;   /* has_missing: an entry of which these fragments are missing. */
    uint64_t missing_bitmap;
};

/* MEND_ASK. (term, index) names one entry for ever and its marks prove its bytes, so anybody who
 * has it answers. Its place is the same on every node. */
struct wire_mend_ask {
    struct raft_entry_id id;
    uint64_t end_position; /* Behind its last page. */
};

/* MEND_SAY: the one asked has no intact pages of it. */
enum wire_mend {
    WIRE_MEND_ABSENT,  /* Its log is whole, and holds another entry there or none. */
    WIRE_MEND_FAULTY,  /* Its own log is damaged. */
    WIRE_MEND_TRIMMED, /* Its log begins above it. */
    WIRE_MEND_COUNT
};

struct wire_mend_say {
    uint8_t what; /* enum wire_mend */
    struct raft_entry_id id;
    struct raft_entry_id last; /* Of its own log; {0,0}: that is damaged or bounded, or empty. */
};

/* REQUEST. The payload, over all fragments of the request, is records as they stand in an entry's
 * body (struct record_header, bytes, padding): they are copied as they are. Sequences are
 * consecutive from first_sequence; a session's begin at 1. header.token names the request for
 * reassembly. */
struct wire_request {
    uint64_t session; /* 0: none; then nothing tells a repeated request from a new one. */
    uint64_t first_sequence;
    uint64_t expected_offset; /* Conditional: of the first record, or none is appended. */
    uint32_t epoch;           /* Of the session's writer; 0 without a session. */
    uint32_t record_count;
    uint32_t request_bytes; /* Of all fragments. */
    uint32_t offset;        /* Of this fragment's payload. */
    bool conditional;
};

/* PROBE: padded with zeros to the size that is tried; the next ACK tells its number. */
struct wire_probe {
    uint32_t session;
    uint8_t number; /* From 1 on. */
};

enum wire_status {
    WIRE_OK = 0,
    WIRE_BUSY,       /* At a bound; nothing was taken; try again. */
    WIRE_FULL,       /* The log has no room. Refused. */
    WIRE_NOT_LEADER, /* `leader` says who may be. */
    WIRE_TRIMMED,    /* Below the log start. */
    WIRE_GAP,        /* Sequences before these are missing: `detail` is the first. Nothing taken. */
    WIRE_CONDITION,  /* expected_offset was not the tail, `detail` was. Refused for ever. */
    WIRE_FENCED,     /* A later writer has opened the session. Refused. `detail`: the number it
                        expects next, from which on nothing of the asker was ever taken; or 0. */
    WIRE_NO_SESSION, /* Expired, or never there. Refused; what became of older ones is unknown. */
    WIRE_FORGOTTEN,  /* Committed earlier, at an offset that is no longer kept. */
    WIRE_STATUS_COUNT
};

/* REPLY: the fate of record_count records from first_sequence on. */
struct wire_reply {
    uint64_t session;
    uint64_t first_sequence;
    uint64_t first_offset; /* OK: of the first record; the others follow it. */
    uint64_t detail;       /* GAP, CONDITION and FENCED: see there. */
    uint32_t record_count;
    uint8_t status; /* enum wire_status */
    uint8_t leader; /* Node id or 0. */
};

/* READ: committed records from `offset` on, skipping `skip` bytes of the first one's payload.
 * READ_REPLY's payload: record_count records as in a body, the first one without the bytes skipped.
 * A record that does not fit a frame comes alone and in pieces, each a record of its own with the
 * piece's bytes; `partial` says that more of it follows. The records are of one term, and of as
 * many entries as come to hand. One frame out for one frame in. */
struct wire_read {
    uint64_t offset;
    uint32_t skip;
    uint16_t frame_bytes; /* Largest frame that the asker takes; 0: FRAME_BYTES_USUAL. */
    bool linearizable;    /* Only the leader answers, with all that was committed when this came. */
    bool waits; /* At or beyond the committed end it is answered when something is committed
                   behind `offset`, or empty after READ_HOLD_NS. */
};

struct wire_read_reply {
    uint64_t offset; /* Of the first record in the payload. */
    uint64_t start_offset;
    uint64_t committed_offset; /* Committed records end before it. */
    uint32_t skip;
    uint32_t record_count;
    uint8_t status;
    uint8_t leader;
    bool partial;
    uint64_t term; /* Of the entry that holds the records; 0 without any. */
};

/* OPEN: open the session `name` for header.from_store, a client's random id, which becomes its
 * writer. A name without bytes: a session of this client alone. `epoch` is the session's as far as
 * the client knows, 0: there is none; what another writer has opened meanwhile is not taken away
 * from it by a late or repeated frame: FENCED, and the reply's epoch says which to ask with. */
struct wire_open {
    uint32_t epoch;
    uint8_t name_bytes; /* 0 to SESSION_NAME_MAX; the rest is zero. */
    uint8_t name[SESSION_NAME_MAX];
};

/* OPEN_REPLY: OK: the session is this client's from now on, and its next record is `next_sequence`.
 * OK and FENCED tell of committed things alone. */
struct wire_open_reply {
    uint64_t session;
    uint64_t next_sequence;
    uint32_t epoch;
    uint8_t status; /* OK, BUSY, FULL, NOT_LEADER, FENCED. */
    uint8_t leader;
};

/* TRANSFER: hand over to node `to`, or to the voter that has most of the log. */
struct wire_transfer {
    uint8_t to; /* 0: whoever is best. */
};

struct wire_transfer_reply {
    uint8_t outcome; /* enum raft_transfer; OK: it is under way. */
    uint8_t leader;
    uint8_t to; /* OK and UNDER_WAY: to whom. */
};

/* STATUS_REPLY: how a node stands, for whoever watches. STATUS itself has no field. */
enum wire_role { WIRE_FOLLOWER, WIRE_CANDIDATE, WIRE_LEADER, WIRE_LEARNER, WIRE_ROLE_COUNT };

struct wire_status_reply {
    uint8_t role;         /* enum wire_role */
    uint8_t leader;       /* Node id or 0. */
    bool durable;         /* False in memory mode. */
    bool bootstrapped;    /* The first entry is known to be committed. */
    bool takes_proposals; /* A leader that takes appends. */
    bool degraded;        /* Its disk stalls. */
    bool slowed;          /* Its disk is slowed, because somebody asked for that. */
    bool posix;           /* Its disk does without io_uring, because somebody asked for that. */
    bool faulty;          /* Its log is damaged: it takes part in nothing before it is mended. */
    bool bounded;         /* It has lost an end of its log, and has not got it back yet. */
    bool unmended;        /* It serves; places of its log rotted meanwhile, and nobody who answers
                             has what was there. */
    bool full;            /* A leader: an append would be answered WIRE_FULL now. */
    uint8_t smallest;     /* Full: whose log is the smallest; 0: the logs are alike. */
    bool diverged;        /* A leader sends what contradicts entries that are committed here; a
                             leader: somebody acknowledges entries that it has not got. */
    uint64_t term;
    uint64_t commit_index;
    uint64_t durable_index;
    uint64_t start_offset;
    uint64_t end_offset; /* Of committed records. */
    raft_set voters;     /* Of the configuration in force here. */
    raft_set waiting;    /* A leader before the first commit: voters whose store it waits for. A
                            faulty node: who has not helped it yet. */
    raft_set strangers;  /* Nodes last heard with a store that is not the configuration's. */
    raft_set behind;     /* A leader: nodes that need entries below its log start. */
    uint64_t frames_dropped;
    raft_set regressed; /* Nodes that lack what they acknowledged: they do not count here. */
};

/* STATS: what a node has counted, from its item number `first` on, and what its port is. The items
 * of one boot are always the same ones in the same order, so whoever goes on where the last answer
 * ended gets them all. Names make a newer node's items readable for an older client. */
struct wire_stats {
    uint16_t first;
};

/* STATS_REPLY's payload: items `first` to `first` + `count` of `total`. One frame out for one frame
 * in. */
struct wire_stats_reply {
    uint16_t total; /* 1 to STATS_ITEMS_MAX. */
    uint16_t first;
    uint16_t count; /* 0: there is none of that number. */
};

enum wire_item_kind {
    WIRE_ITEM_FACT,    /* Of the port: a number, or a text. */
    WIRE_ITEM_COUNTER, /* Since the node's start, ... */
    WIRE_ITEM_DROP,    /* ... of something that was dropped or refused. */
    WIRE_ITEM_KIND_COUNT
};

/* Neither string ends with a zero. */
struct wire_item {
    const char *name; /* 1 to STATS_NAME_MAX of a-z, 0-9, `_` and `.`. */
    const char *text; /* Up to STATS_TEXT_MAX printable ASCII bytes, of a fact. */
    uint32_t name_bytes;
    uint32_t text_bytes;
    uint64_t value; /* Below 2^63; 0 beside a text. */
    enum wire_item_kind kind;
};

/* A frame, decoded; and what to encode. `payload` points into the received frame or is the
 * caller's, sent as the nic's body. */
struct wire_frame {
    struct wire_header header;
    union {
        struct raft_message message; /* The kinds of raft.h; ACK uses `ack`. */
        struct wire_entry entry;
        struct wire_ack ack;
        struct wire_probe probe;
        struct wire_mend_ask mend_ask;
        struct wire_mend_say mend_say;
        struct wire_request request;
        struct wire_reply reply;
        struct wire_read read;
        struct wire_read_reply read_reply;
        struct wire_status_reply status_reply;
        struct wire_open open;
        struct wire_open_reply open_reply;
        struct wire_transfer transfer;
        struct wire_transfer_reply transfer_reply;
        struct wire_stats stats;
        struct wire_stats_reply stats_reply;
    };
    const uint8_t *payload;
    uint32_t payload_bytes;
};

/* Why a frame was dropped; each has a counter of the same name. */
/* clang-format off */
#define WIRE_COUNTERS(X) \
    X(ok) X(short_frame) X(long_frame) X(wrong_length) X(wrong_magic) X(newer_version) \
    X(wrong_version) X(unknown_kind) X(wrong_crc) X(wrong_cluster) X(wrong_group) \
    X(wrong_destination) X(own_frame) X(unknown_sender) X(wrong_boot) X(nonzero_tag) X(bad_field) \
    X(absurd_term)
/* clang-format on */
COUNTERS_DECLARE(wire, WIRE_COUNTERS);

#define WIRE_REASON(name) WIRE_DROP_##name,
enum wire_reason { WIRE_COUNTERS(WIRE_REASON) };

/* Who we are, for the checks. */
struct wire_self {
    uint64_t cluster;
    uint64_t boot; /* to_boot must be this or 0. A client: its random id again. */
    uint16_t group;
    uint8_t node;   /* 0: a client. */
    raft_set peers; /* Node ids that may send to us; ignored when we are a client. */
};

/* Decode and check a frame. Returns WIRE_DROP_ok (0) with `out` filled, or the reason, counted in
 * `counters`; then `out` holds nothing. Reads each byte at most once for the CRC. Any bytes may be
 * given; `data` needs no alignment. */
MUST_USE enum wire_reason wire_decode(const struct wire_self *self,
                                      const uint8_t *data,
                                      uint32_t bytes,
                                      struct wire_frame *out,
                                      struct wire_counters *counters);

/* Encode header and fixed part into `head` (WIRE_HEAD_BYTES_MAX bytes); returns their length. The
 * payload, if any, is sent behind it unchanged; for client kinds it is read for the CRC. For the
 * raft kinds header.{kind,from,to,term,token,from_store,from_boot} are taken from `message`;
 * header.kind is then 0 or any of them, to say that it is a message. */
uint32_t wire_encode(const struct wire_frame *frame, uint8_t *head);

/* Bytes of header and fixed part of a kind. */
uint32_t wire_head_bytes(enum wire_kind kind);

/* The largest fragment of an entry that fits a frame of this size: a multiple of 8, at least
 * FRAGMENT_BYTES_MIN (asserted). */
uint32_t wire_fragment_bytes(uint32_t frame_bytes_max);

/* Bytes of records that fit one REQUEST of this frame size, a multiple of 8: what a longer record
 * is cut into. Every fragment of a request but the last has the same size, which divides its
 * offset. */
uint32_t wire_request_bytes(uint32_t frame_bytes_max);

/* Check the records of a whole request: headers, consecutive sequences, session, padding, and that
 * they fill `records_bytes` exactly. wire_decode() does it for a request of one frame; who puts
 * fragments together does it once they are whole. `records` needs no alignment. */
MUST_USE bool wire_records_check(const uint8_t *records,
                                 uint32_t records_bytes,
                                 const struct wire_request *request);

/* Write one item to `out`; returns its bytes, a multiple of 8, or 0: it needs more than `room`. */
uint32_t wire_item_write(const struct wire_item *item, uint8_t *out, uint32_t room);

/* The item at `*at` of `items`, which moves behind it; `item` points into `items`. False: it does
 * not fit or is not as it must be, which wire_decode() lets no reply be. */
MUST_USE bool
wire_item_next(const uint8_t *items, uint32_t items_bytes, uint32_t *at, struct wire_item *item);

/* The append reply within an ACK as the core wants it. */
void wire_ack_message(const struct wire_frame *frame, struct raft_message *message);

const char *wire_status_name(enum wire_status status);
const char *wire_role_name(enum wire_role role);

#endif
