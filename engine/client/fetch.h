/* fetch.h: records of a range of offsets, in order, each once. Pure, over the client.
 *
 * One read is under way at a time. It is repeated until it is answered, by whoever leads then or
 * by the node that was chosen: a committed record is the same everywhere, so neither a restart nor
 * a change of leader leaves a gap or a repeat. A record that no frame holds comes in pieces and is
 * put together here.
 *
 * It must not know descriptors, clocks or what becomes of the records.
 */
#ifndef ENGINE_CLIENT_FETCH_H
#define ENGINE_CLIENT_FETCH_H

#include "engine/client/client.h"

#define FETCH_NO_END UINT64_MAX

/* A committed record; `payload` within the call only. */
struct fetch_record {
    uint64_t offset;
    uint64_t term;     /* Of its entry. */
    uint64_t sequence; /* Its writer's number of it. */
    const uint8_t *payload;
    uint32_t bytes;
};

typedef void (*fetch_take)(void *context, const struct fetch_record *record);

struct fetch_config {
    uint8_t node; /* Who is asked; 0: whoever leads. */
    fetch_take take;
    void *context;
};

/* What the last answer told, by who was to be asked. */
struct fetch_view {
    bool known;
    uint8_t node;
    uint64_t start_offset;
    uint64_t committed_offset;
};

struct fetch {
    struct client *client;
    struct fetch_config config;
    struct fetch_view view;
    uint64_t offset; /* Of the next record to hand on. */
    uint64_t end;    /* Nothing is handed on from here. */
    bool looking;    /* For a view only, until fetch_range(). */
    bool trimmed;    /* The log starts beyond `offset`: nothing more comes. See `view`. */
    bool asking;
    uint8_t stranger;     /* Who was named as leader last, when the client does not know it. */
    bool heard;           /* Anybody has answered anything since the last progress. */
    uint64_t progress_ns; /* When the first view or the last record came; at first, of the start. */
    uint64_t answered_ns; /* When the last view came. */
    uint64_t now_ns;      /* Of this poll. */
    uint64_t ask_ns;      /* Not before. */
    uint64_t pause_ns;    /* Of the last vain question; 0: it was not in vain. */
    uint32_t pieces_bytes; /* Of the record at `offset`, already here. */
    uint8_t *pieces;       /* RECORD_BYTES_MAX. */
};

uint64_t fetch_memory_bytes(void);

/* Begin to look: polled, it asks until `view` is known, and then no more. `client` is used for
 * nothing else meanwhile. */
void fetch_init(struct fetch *fetch,
                struct mem *mem,
                struct client *client,
                const struct fetch_config *config,
                uint64_t now_ns);

/* Hand on the records of [from, end). Beyond the committed end they are waited for. */
void fetch_range(struct fetch *fetch, uint64_t from, uint64_t end);

/* Take what came and ask for more. Returns the work done. */
uint32_t fetch_poll(struct fetch *fetch, uint64_t now_ns);

/* When fetch_poll() has something to do even if nothing arrives. */
uint64_t fetch_deadline_ns(const struct fetch *fetch);

/* True when nothing more is to be asked: the view is known, or the range is handed on, or its
 * beginning is trimmed. */
bool fetch_is_done(const struct fetch *fetch);

#endif
