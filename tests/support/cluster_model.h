/* cluster_model.h: three nodes as a client sees them, behind a nic: what they answer is the test's.
 *
 * One log for all, of one session; each node knows it to be committed up to its own mark. Frames
 * are lost by lot in both directions. The model answers reads alone.
 */
#ifndef TESTS_SUPPORT_CLUSTER_MODEL_H
#define TESTS_SUPPORT_CLUSTER_MODEL_H

#include "engine/base/prng.h"
#include "engine/client/client.h"

#define MODEL_CLUSTER 0x9f3cu
#define MODEL_CLIENT  0x77u
#define MODEL_NODES   3u
#define MODEL_SESSION 40u /* Of every record, its numbers from 1 on. */
#define MODEL_RECORDS 4096u
#define MODEL_DUE_MAX 64u

struct model_record {
    uint32_t bytes;
    uint8_t *payload;
};

struct cluster_model {
    struct nic nic;
    struct prng prng;
    uint32_t lose_ppm;
    uint8_t leader;                    /* 0: nobody. */
    bool dead[MODEL_NODES + 1];        /* By id; answers nothing. */
    uint8_t believes[MODEL_NODES + 1]; /* Whom a node names as leader; 0: `leader`. */
    uint64_t behind[MODEL_NODES + 1];  /* Records of which it does not know yet. */
    uint64_t start_offset;
    uint32_t record_count;
    struct model_record records[MODEL_RECORDS];
    uint32_t reads;
    uint32_t due_count;
    uint32_t due_taken;
    uint32_t due_bytes[MODEL_DUE_MAX];
    uint8_t due[MODEL_DUE_MAX][FRAME_BYTES_MAX];
};

struct cluster_model *model_open(uint32_t frame_bytes_max, uint64_t seed);
void model_close(struct cluster_model *model);

/* Commit a record of these bytes, chosen by its offset. */
void model_append(struct cluster_model *model, uint32_t bytes);

/* The byte of such a record. */
uint8_t model_byte(uint64_t offset, uint32_t at);

struct client_config model_client_config(void);

#endif
