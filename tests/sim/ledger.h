/* ledger.h: what the committed log says of records and sessions, kept beside the cluster by code of
 * its own: what must be true, whoever is asked.
 *
 * A stream is the records of one session, or those of one client without a session; they are told
 * by session and number, and so are their bytes. The ledger knows what was sent of each stream, by
 * whom and on which condition, and what the log made of it.
 */
#ifndef TESTS_SIM_LEDGER_H
#define TESTS_SIM_LEDGER_H

#include "engine/base/limits.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_STREAMS_MAX       4096u
#define SIM_INCARNATIONS_MAX  4096u
#define SIM_REGISTERS_MAX     8192u
#define SIM_CHUNK_RECORDS     64u
#define SIM_CHUNKS_MAX        4096u
#define SIM_STREAM_RECORDS    32768u /* Of one stream. */
#define SIM_STREAM_CHUNKS     (SIM_STREAM_RECORDS / SIM_CHUNK_RECORDS)
#define SIM_RECORD_CONDITIONS 3u
#define SIM_NUMBER_SHIFT      32u /* A record without a session: client + 1, then its number. */

/* What the log made of a record. */
enum sim_fate { SIM_UNDECIDED, SIM_APPENDED, SIM_REFUSED_RECORD };

/* What a client was told of a record without a session: that is for ever. */
enum sim_word { SIM_NO_WORD, SIM_OK, SIM_REFUSED_WORD };

struct sim_record {
    uint64_t offset;                            /* Appended: where. Refused: the tail then. */
    uint64_t conditions[SIM_RECORD_CONDITIONS]; /* Offsets it was sent for. */
    uint32_t epoch;                             /* Highest of the writers that sent it. */
    uint8_t condition_count;
    uint8_t fate;
    uint8_t word;
    bool sent;
    bool anywhere; /* Sent without a condition too. */
    bool many;     /* Sent on more conditions than are kept. */
    bool told;     /* A client got its answer. */
};

/* A run as the table of sessions keeps it. */
struct sim_run {
    uint64_t offset;
    uint32_t count;
    bool refused;
};

struct sim_stream {
    uint64_t session; /* 0: none. */
    uint64_t next_sequence;
    uint64_t sent_end; /* One above the highest number sent. */
    uint64_t used_index;
    uint32_t epoch;
    uint32_t newest; /* Its last registration. */
    bool gone;       /* It gave way to another. */
    uint8_t name_bytes;
    uint8_t run_count;
    uint8_t name[SESSION_NAME_MAX];
    struct sim_run runs[SESSION_RUNS_MAX];
    uint16_t chunks[SIM_STREAM_CHUNKS]; /* Of the pool; 0: none yet. */
};

struct sim_register {
    uint64_t owner;
    uint64_t next_sequence; /* Of the session then. */
    uint32_t epoch;
    uint32_t before; /* The one before of the same session. */
};

/* One life of a client, which its random id and its boot tell. */
struct sim_incarnation {
    uint64_t owner; /* Its low half is the number of this incarnation. */
    uint64_t session;
    uint64_t asked; /* Bit n: it asked for a session of epoch n (63: or a later one). */
    uint32_t client;
    uint32_t epoch;
    uint8_t name_bytes;
    uint8_t name[SESSION_NAME_MAX];
};

struct sim_offset {
    uint64_t session;
    uint64_t sequence;
};

#define SIM_TABLE_BYTES_MAX (8u + SESSIONS_MAX * (80u + SESSION_RUNS_MAX * 12u))

struct sim_ledger {
    uint64_t offset_end; /* Of committed records. */
    uint32_t stream_count;
    uint32_t register_count;
    uint32_t incarnation_count;
    uint32_t chunk_count;
    uint32_t slot_count;
    uint32_t table_crc; /* Of the table as of the last entry. */
    uint32_t table_bytes;
    uint16_t slots[SESSIONS_MAX]; /* Streams, as the table holds them. */
    struct sim_stream streams[SIM_STREAMS_MAX];
    struct sim_register registers[SIM_REGISTERS_MAX];
    struct sim_incarnation incarnations[SIM_INCARNATIONS_MAX];
    struct sim_record records[SIM_CHUNKS_MAX][SIM_CHUNK_RECORDS];
};

#endif
