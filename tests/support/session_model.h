/* session_model.h: three nodes that keep sessions, as a client sees them over a loop net.
 *
 * One log for all, with a committed prefix; who leads decides at its tail and answers when what it
 * decided on is committed. A change of leader drops a part of the tail and all waiting answers. A
 * number that comes again in one epoch must come with the same bytes: the model asserts it.
 */
#ifndef TESTS_SUPPORT_SESSION_MODEL_H
#define TESTS_SUPPORT_SESSION_MODEL_H

#include "engine/base/prng.h"
#include "engine/client/client.h"

#include "tests/support/loop_nic.h"

#define SESSION_MODEL_CLUSTER 0x9f3cu
#define SESSION_MODEL_NODES   3u
#define SESSION_MODEL_CLIENTS 3u
#define SESSION_MODEL_LOG     65536u
#define SESSION_MODEL_MAX     16u
#define SESSION_MODEL_ANSWERS 4096u

struct model_entry {
    uint8_t kind; /* enum record_kind, or MODEL_EXPIRE */
    uint64_t session;
    uint64_t sequence; /* REGISTER: its epoch. */
    uint64_t offset;   /* APPEND; otherwise of the next one, and the detail of REFUSED. */
    uint64_t owner;
    uint8_t name[SESSION_NAME_MAX];
    uint32_t name_bytes;
    uint32_t epoch;
    uint32_t bytes;
    uint8_t *payload;
};

#define MODEL_EXPIRE 100u

struct model_session {
    uint64_t id;
    uint64_t owner;
    uint8_t name[SESSION_NAME_MAX];
    uint32_t name_bytes;
    uint32_t epoch;
    uint64_t next;
    bool gone;
    uint32_t *places; /* In the log, by sequence. SESSION_MODEL_LOG. */
};

/* An answer that waits until the log is committed up to `place`. */
struct model_answer {
    uint32_t place;
    uint8_t node;
    struct nic_address to;
    uint64_t to_boot;
    struct wire_frame frame;
};

struct session_model {
    struct loop_net net; /* Ports 0 to 2 are the nodes, then the clients. */
    struct prng prng;
    uint32_t lose_ppm;
    uint8_t leader;                            /* 0: nobody. */
    uint8_t believes[SESSION_MODEL_NODES + 1]; /* Whom a node names as leader; 0: `leader`. */
    bool dead[SESSION_MODEL_NODES + 1];
    uint32_t busy_ppm;
    uint32_t refusals; /* So many requests get `refusal`. */
    enum wire_status refusal;
    bool full;      /* No room for records, nor for sessions. */
    bool commits;   /* As it is taken; otherwise by model_commit(). */
    bool splits;    /* Answers come in parts. */
    uint64_t keeps; /* So many of a session's newest offsets. */
    uint64_t next_offset;
    uint32_t log_count;
    uint32_t committed;
    struct model_entry log[SESSION_MODEL_LOG];
    uint32_t session_count;
    struct model_session sessions[SESSION_MODEL_MAX];
    uint32_t answer_count;
    struct model_answer answers[SESSION_MODEL_ANSWERS];
    uint64_t partial_token;
    uint64_t partial_got;
    uint32_t partial_bytes;
    uint8_t partial[ENTRY_BYTES_MAX];
    uint32_t requests;
    uint32_t opens;
};

struct session_model *session_model_open(uint32_t frame_bytes_max, uint64_t seed);
void session_model_close(struct session_model *model);

/* Let the nodes take what came. */
void session_model_step(struct session_model *model);

/* Commit so many entries more; answers leave. */
void session_model_commit(struct session_model *model, uint32_t count);

/* Another leads (0: nobody) and keeps the log up to `log_count`, not below what is committed. */
void session_model_elect(struct session_model *model, uint8_t leader, uint32_t log_count);

/* Forget a session, as a committed entry; and append a record of nobody. */
void session_model_expire(struct session_model *model, uint64_t session);
void session_model_append(struct session_model *model);

/* The appended record with this offset; NULL if there is none. */
const struct model_entry *session_model_record(const struct session_model *model, uint64_t offset);

struct client_config session_model_client(uint64_t id);
struct nic *session_model_nic(struct session_model *model, uint32_t client);

#endif
