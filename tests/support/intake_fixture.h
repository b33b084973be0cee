/* intake_fixture.h: an intake on the leader of a cluster of one, whose disk the test is. */
#ifndef TESTS_SUPPORT_INTAKE_FIXTURE_H
#define TESTS_SUPPORT_INTAKE_FIXTURE_H

#include "engine/intake.h"
#include "tests/support/loop_nic.h"

#define INTAKE_CLUSTER 5u
#define INTAKE_CLIENT  9u /* Its random id. */

struct intake_fixture {
    struct mem mem;
    struct loop_net net;
    struct raft *raft;
    struct log log;
    struct intake intake;
    struct sessions sessions;
    struct outbox outbox;
    struct replica_counters counters;
    struct intake_context context;
    uint64_t now_ns;
    uint64_t sequence;
};

/* For cmocka; the leader takes proposals, and nothing is open. */
int intake_setup(void **state);
int intake_teardown(void **state);

/* Carry out what the core owes; the log's writes become durable only with `durable`. */
void intake_drain(struct intake_fixture *f, bool durable);

/* Seal the open entry, ripe or not, or if it is ripe. */
void intake_fixture_seal(struct intake_fixture *f);
bool intake_seal_if_ripe(struct intake_fixture *f);

/* Hand a REQUEST or an OPEN to the intake, sealing first if it asks for that. */
void intake_offer(struct intake_fixture *f, const struct wire_frame *frame);

/* The next frame that the client got. False: there is none. */
bool intake_answer(struct intake_fixture *f, struct wire_frame *answer);

#endif
