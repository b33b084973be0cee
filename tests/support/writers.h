/* writers.h: writers on a model of a cluster, and what they told, held against what is true. */
#ifndef TESTS_SUPPORT_WRITERS_H
#define TESTS_SUPPORT_WRITERS_H

#include "engine/client/writer.h"
#include "tests/support/session_model.h"

#define WRITERS_STEP_NS     100000u
#define WRITERS_TIMEOUT_NS  2000000000u
#define WRITERS_RECORDS_MAX 32768u
#define WRITERS_TEXT_BYTES  128u
#define WRITERS_CLIENT_ID   0x77u

/* A writer on one of the model's clients, and what it told. */
struct author {
    struct mem mem;
    struct client *client;
    struct writer *writer;
    uint64_t taken;
    uint64_t told;
    uint64_t fate_count[WRITER_UNKNOWN + 1];
    struct writer_outcome outcomes[WRITERS_RECORDS_MAX]; /* By number, count 1. */
};

struct writers {
    struct session_model *model;
    uint64_t now_ns;
    struct author authors[2];
};

struct writers *writers_begin_with(uint64_t seed, struct writer_config config);

struct writers *writers_begin(uint64_t seed);

void writers_end(struct writers *f);

struct writer_config writers_named(void);

/* The bytes of an author's record. */
uint32_t writers_text(uint32_t author, uint64_t number, uint8_t *text);

/* Append up to `count` records; returns how many were taken. */
uint32_t writers_append(struct writers *f, uint32_t number, uint32_t count);

uint32_t writers_append_expecting(struct writers *f, uint32_t count, uint64_t offset);

void writers_step(struct writers *f);

/* Until every record has its outcome. */
void writers_run_out(struct writers *f);

/* Every told outcome is what the log says; the log holds an author's records once and in order. */
void writers_check_truth(struct writers *f, uint32_t number);

void writers_assert_fates(const struct author *author,
                          uint64_t committed,
                          uint64_t rejected,
                          uint64_t unsent,
                          uint64_t unknown);

void author_begin(struct writers *f, uint32_t number, struct writer_config config);

#endif
