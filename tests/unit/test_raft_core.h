/* test_raft_core.h: one core on a bench, its effects in an array, its disk in the test's hand.
 *
 * Include after cmocka.h. Node 1 is under test; the others are made of messages.
 */
#ifndef TESTS_UNIT_TEST_RAFT_CORE_H
#define TESTS_UNIT_TEST_RAFT_CORE_H

#include "engine/raft/quorum.h"
#include "engine/raft/raft.h"

#include <stdint.h>

#define ELECTION_MIN_NS 100u
#define ELECTION_MAX_NS 200u
#define HEARTBEAT_NS    10u
#define SELF            1u
#define EFFECTS_MAX     256u

struct core {
    struct raft *raft;
    uint64_t now_ns;
    struct raft_config config;
    struct raft_recovered recovered;
    struct raft_run runs[32];
    struct raft_effect effects[EFFECTS_MAX]; /* Of the last core_drain(). */
    uint32_t effect_count;
};

/* Nodes 1 to voter_count vote; an empty log, nothing pinned, nobody has ever led. */
void core_prepare(struct core *core, uint8_t voter_count);
/* The same with a life behind it: entries of these terms, the first one committed, stores pinned.
 */
void core_prepare_log(struct core *core,
                      uint8_t voter_count,
                      const uint64_t *terms,
                      uint32_t count);
void core_start(struct core *core);
void core_fini(struct core *core);

/* Feed an event; nothing is drained. */
enum raft_taken core_step(struct core *core, const struct raft_event *event);
void core_event(struct core *core, enum raft_event_kind kind);
void core_receive(struct core *core, const struct raft_message *m);
enum raft_taken
core_entry(struct core *core, uint8_t from, struct raft_entry_id id, uint64_t previous_term);
enum raft_taken core_propose(struct core *core, const struct raft_configuration *configuration);
void core_log_durable(struct core *core, uint64_t epoch, uint64_t index);
void core_cut_durable(struct core *core, uint64_t epoch);
void core_elapse(struct core *core, uint64_t ns); /* Time passes, then a tick. */
void core_time_out(struct core *core);            /* To the deadline, then a tick. */

/* Read off everything owed. */
void core_drain(struct core *core);
const struct raft_effect *core_effect(const struct core *core, enum raft_effect_kind kind);
const struct raft_message *
core_sent(const struct core *core, enum raft_message_kind kind, uint8_t to);
uint32_t core_count(const struct core *core, enum raft_effect_kind kind);

/* Complete the WRITE_STATE of the last drain. */
void core_state_durable(struct core *core);
/* Drain and complete every write until nothing is owed; the effects are those of all the drains. */
void core_settle(struct core *core);

/* Messages to node 1, with the sender's pinned store, boot 1, and the token to be filled in. */
struct raft_message
core_message(const struct core *core, enum raft_message_kind kind, uint8_t from, uint64_t term);
struct raft_message
core_vote_request(const struct core *core, uint8_t from, uint64_t term, struct raft_entry_id last);
struct raft_message core_append(const struct core *core, uint8_t from, struct raft_entry_id prev);
struct raft_message core_reply(const struct raft_message *request, bool granted);
struct raft_message
core_ack(const struct raft_message *append, bool matched, uint64_t durable_index);

/* From follower to candidate (own vote durable, votes asked for) and to leader with its first entry
 * proposed, written and durable; the last drain's effects are kept. */
void core_pre_campaign(struct core *core);
void core_campaign(struct core *core);
void core_lead(struct core *core);
/* A leader's next heartbeat, everything written: its APPEND to node `to`. */
struct raft_message core_heartbeat(struct core *core, uint8_t to);
/* Every peer answers its last APPEND; durable up to `index`. Drains before and after. */
void core_acks(struct core *core, uint64_t index);

#endif
