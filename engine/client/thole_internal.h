/* thole_internal.h: a client of the public library, as its own files see it.
 *
 * Invariant: appends without an outcome and outcomes that nobody has taken are together at most
 * records_max, so that neither ring overflows.
 */
#ifndef ENGINE_CLIENT_THOLE_INTERNAL_H
#define ENGINE_CLIENT_THOLE_INTERNAL_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "engine/client/client.h"
#include "engine/client/fetch.h"
#include "engine/client/survey.h"
#include "engine/client/thole.h"
#include "engine/client/writer.h"
#include "engine/config.h"

#define THOLE_MEMORY_DEFAULT  (16u * 1024u * 1024u)
#define THOLE_TIMEOUT_DEFAULT 30000000000ull
#define THOLE_RECORDS_DEFAULT 8192u
#define THOLE_NS_PER_MS       1000000u

enum thole_reading_state {
    READING_NOTHING,
    READING_WAITING, /* The question of a read before is not answered yet. */
    READING_LOOKING, /* Where the log starts and ends. */
    READING_RANGE,
};

struct thole_reader {
    enum thole_reading_state state;
    int result;      /* READING_NOTHING: of the last one. */
    bool from_start; /* The beginning may move on, when it is trimmed before it is read. */
    uint64_t handed_on;
    struct thole_read what;
    struct fetch fetch;
    struct mem mem; /* Of the fetch, within the client's. */
    uint8_t *pages;
};

struct thole {
    struct mem mem;
    struct config config;         /* Of it the addresses alone. */
    char path[CONFIG_PATH_BYTES]; /* "" without a file. */
    uint64_t timeout_ns;
    thole_on_completion on_completion;
    void *context;
    struct nic *nic;
    struct client *core;
    struct writer *writer;
    struct survey survey;
    struct thole_reader reader;
    uint64_t *tags;                /* By number of the append. */
    struct thole_completion *done; /* By number of the outcome, which is the same. */
    uint32_t mask;
    uint32_t records_max;
    uint64_t done_head;
    uint64_t done_tail;
    uint64_t told; /* Outcomes, records and ends of reads so far. */
    bool inside;   /* A callback of the caller runs. */
    struct fault fault;
};

/* A random number that is not 0. */
uint64_t thole_random(void);

/* A result with its words: `code` is a negative errno. */
int thole_fail(struct thole *client, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One round of everything. Returns the work done. */
uint32_t thole_step(struct thole *client, uint64_t now_ns);

typedef bool (*thole_finished)(const struct thole *client, uint64_t told_before);

/* Rounds until `finished`, at most for `timeout_ms`. 0, -ETIMEDOUT or -EINTR. */
int thole_run(struct thole *client, thole_finished finished, int timeout_ms);

/* The read: its part of a round, and when it wants the next one. */
uint32_t thole_reader_step(struct thole *client, uint64_t now_ns);
uint64_t thole_reader_deadline_ns(const struct thole *client);

/* Who is not there, with what mends it, as the text of `client->fault`. */
void thole_tell_silence(struct thole *client, uint8_t node, uint8_t stranger, bool heard);

#endif
