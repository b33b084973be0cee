/* check.c: the invariants, looked at while they could break: when a frame leaves, after every poll,
 * at every applied entry, at every start, and once more at the end.
 *
 * They stand on what leaves a node and on what its platter holds at that moment, not on what the
 * code under test believes; where its belief is asked (term, commit index, log end), it is compared
 * with the platters and with everybody else's.
 */
#include "tests/sim/sim.h"

#include "engine/base/crc.h"
#include "engine/base/entry.h"
#include "engine/machine.h"
#include "storage/recover.h"
#include "storage/superblock.h"

#include <string.h>

#define CHEAP_SESSIONS 32u /* A table of more is compared at every 32nd entry. */
#define TO_BOOT_OFFSET 48u /* Of header.to_boot in a frame: docs/PROTOCOL.md. */

static uint8_t recover_buffer[RECOVER_BUFFER_BYTES] __attribute__((aligned(PAGE_BYTES)));

/* The node says that entries up to `index` are durable: then they are on its platter. */
static void durable_check(struct sim *sim, struct sim_node *node, uint64_t index)
{
    const struct raft *raft = replica_raft(node->replica);
    uint64_t start = raft_start(raft).index;
    uint64_t from = node->promised_index > start ? node->promised_index : start;
    if (index > start && from >= index) {
        from = index - 1; /* Nothing new: look at the last one again. */
    }
    for (uint64_t i = from + 1; i <= index; i++) {
        uint64_t term = raft_entry_term(raft, i);
        if (term == 0) {
            term = node->disk.entries[i].term;
        }
        if (!platter_has(&node->disk, i, term) && !platter_rots(&node->disk, i)) {
            sim_violation(
                sim,
                "node %u says that entry %lu of term %lu is durable; its platter does not "
                "hold it",
                node->disk.node + 1, i, term);
        }
    }
    if (node->promised_index < index) {
        node->promised_index = index;
    }
}

static void promise_take(struct sim *sim, struct sim_node *node, uint64_t term)
{
    if (term < node->promised_term) {
        sim_violation(sim, "node %u promises in term %lu after term %lu", node->disk.node + 1, term,
                      node->promised_term);
    }
    node->promised_term = term;
    if (node->disk.superblock.term < term) {
        sim_violation(sim, "node %u promises in term %lu; its superblock still holds term %lu",
                      node->disk.node + 1, term, node->disk.superblock.term);
    }
    sim->totals->covers.promises++;
    /* Power goes right behind a promise: what was not durable is found out. */
    if (!sim->calm && node->disk.disk.in_flight > 0 &&
        sim_happens(&sim->random_chaos, sim->swarm.promise_crash_ppm)) {
        sim->totals->faults.crash_at_promise += !node->crash_now;
        node->crash_now = true;
    }
}

static void vote_check(struct sim *sim, struct sim_node *node, const struct wire_frame *frame)
{
    uint64_t term = frame->header.term;
    ASSERT(term < SIM_TERMS_MAX);
    const struct superblock *superblock = &node->disk.superblock;
    uint8_t *vote = &node->votes[term];
    if (*vote != 0 && *vote != frame->header.to) {
        sim_violation(sim, "node %u votes for node %u in term %lu and for node %u before",
                      node->disk.node + 1, frame->header.to, term, *vote);
    }
    *vote = frame->header.to;
    promise_take(sim, node, term);
    if (superblock->term == term && superblock->vote != frame->header.to) {
        sim_violation(sim, "node %u votes for node %u in term %lu; its superblock does not",
                      node->disk.node + 1, frame->header.to, term);
    }
}

static void leader_check(struct sim *sim, uint32_t node, uint64_t term)
{
    ASSERT(term < SIM_TERMS_MAX);
    uint8_t *leader = &sim->leaders[term];
    if (*leader != 0 && *leader != node + 1) {
        sim_violation(sim, "nodes %u and %u lead in term %lu", *leader, node + 1, term);
    }
    *leader = (uint8_t)(node + 1);
}

/* A node whose log is damaged says nothing that counts: only questions about it, and their answers.
 */
static void mending_check(struct sim *sim, const struct sim_node *node, uint8_t kind)
{
    bool mends = kind == WIRE_MEND_ASK || kind == WIRE_MEND_ENTRY || kind == WIRE_MEND_SAY;
    if (node->state == SIM_MENDING && !mends) {
        sim_violation(sim, "node %u has a damaged log and sends a frame of kind %u",
                      node->disk.node + 1, kind);
    }
}

static void frame_check(struct sim *sim, struct sim_node *node, const struct wire_frame *frame)
{
    uint64_t term = frame->header.term;
    mending_check(sim, node, frame->header.kind);
    if (term >= SIM_TERMS_MAX) {
        sim_violation(sim, "term %lu: terms run away", term);
    }
    if (term < node->term) {
        sim_violation(sim, "node %u sends in term %lu after term %lu", node->disk.node + 1, term,
                      node->term);
    }
    switch ((enum wire_kind)frame->header.kind) {
    case WIRE_VOTE_REPLY:
        if (frame->message.vote_reply.granted) {
            vote_check(sim, node, frame);
        }
        return;
    case WIRE_APPEND:
    case WIRE_ENTRY:
    case WIRE_TIMEOUT_NOW:
    case WIRE_PROBE:
        leader_check(sim, node->disk.node, term);
        return;
    case WIRE_ACK:
        sim->totals->covers.acks_checked++;
        promise_take(sim, node, term);
        if (frame->ack.durable_index > raft_last(replica_raft(node->replica)).index) {
            sim_violation(sim, "node %u acks more than its log holds", node->disk.node + 1);
        }
        durable_check(sim, node, frame->ack.durable_index);
        return;
    case WIRE_PRE_VOTE:
    case WIRE_PRE_VOTE_REPLY:
    case WIRE_VOTE:
    case WIRE_MEND_ASK:
    case WIRE_MEND_ENTRY:
    case WIRE_MEND_SAY:
    case WIRE_REQUEST:
    case WIRE_REPLY:
    case WIRE_READ:
    case WIRE_READ_REPLY:
    case WIRE_STATUS:
    case WIRE_STATUS_REPLY:
    case WIRE_OPEN:
    case WIRE_OPEN_REPLY:
    case WIRE_TRANSFER:
    case WIRE_TRANSFER_REPLY:
    case WIRE_STATS:
    case WIRE_STATS_REPLY:
        return;
    }
}

void check_sent(struct sim *sim, uint32_t node, uint32_t to, const struct sim_frame *frame)
{
    bool to_client = to >= sim->swarm.node_count;
    struct wire_self self = {
        .cluster = SIM_CLUSTER,
        .group = SIM_GROUP,
        .node = to_client ? 0 : (uint8_t)(to + 1),
        .peers = UINT64_MAX,
    };
    /* Whether the receiver still has that boot is the receiver's business. */
    memcpy(&self.boot, frame->data + TO_BOOT_OFFSET, sizeof self.boot);
    struct wire_counters counters = {0};
    struct wire_frame decoded;
    enum wire_reason reason = wire_decode(&self, frame->data, frame->bytes, &decoded, &counters);
    if (reason != WIRE_DROP_ok) {
        sim_violation(sim, "node %u sends a frame that is none: %s", node + 1,
                      wire_counter_names[reason]);
    }
    stranger_check_sent(sim, node, to);
    SIM_TRACE(sim, "node %u -> %u: kind %u term %lu, %u bytes", node + 1, to + 1,
              decoded.header.kind, decoded.header.term, frame->bytes);
    if (to == SIM_STRANGER) {
        return; /* It hears what a client is told, whom it asked for. */
    }
    if (decoded.header.kind == WIRE_REPLY || decoded.header.kind == WIRE_OPEN_REPLY) {
        answer_note(sim, node, to, &decoded);
    } else if (!to_client) {
        frame_check(sim, &sim->nodes[node], &decoded);
    }
}

static uint32_t platters_with(const struct sim *sim, uint64_t index, uint64_t term)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        count += platter_has(&sim->nodes[i].disk, index, term);
    }
    return count;
}

/* Nobody knew it committed before: it must lie on the platters of a quorum now; the first entry, on
 * everybody's. */
static void commit_first(struct sim *sim, struct sim_node *node, uint64_t index)
{
    const struct raft *raft = replica_raft(node->replica);
    uint64_t term = raft_entry_term(raft, index);
    uint32_t needed = index == 1 ? sim->swarm.node_count : sim->swarm.node_count / 2 + 1;
    uint32_t found = platters_with(sim, index, term);
    if (found < needed) {
        sim_violation(
            sim, "node %u commits entry %lu of term %lu, durable on %u of the %u platters needed",
            node->disk.node + 1, index, term, found, needed);
    }
    sim->committed[index] = (struct sim_committed){.term = term, .known_term = raft_term(raft)};
    sim->commit_index = index;
    sim->commit_term = raft_term(raft);
    sim->totals->covers.commits++;
}

static void commit_check(struct sim *sim, struct sim_node *node)
{
    const struct raft *raft = replica_raft(node->replica);
    uint64_t commit = raft_commit_index(raft);
    if (commit < node->commit_index) {
        sim_violation(sim, "node %u takes its commit index back from %lu to %lu",
                      node->disk.node + 1, node->commit_index, commit);
    }
    if (commit == node->commit_index) {
        return;
    }
    if (commit >= SIM_INDEX_MAX || commit > raft_last(raft).index) {
        sim_violation(sim, "node %u commits entry %lu, beyond its log", node->disk.node + 1,
                      commit);
    }
    for (uint64_t index = node->commit_index + 1; index <= commit; index++) {
        if (index > sim->commit_index) {
            commit_first(sim, node, index);
            continue;
        }
        uint64_t term = raft_entry_term(raft, index);
        if (term != 0 && term != sim->committed[index].term) {
            sim_violation(sim,
                          "node %u commits entry %lu of term %lu; it was committed with term %lu",
                          node->disk.node + 1, index, term, sim->committed[index].term);
        }
    }
    /* A leader counts only entries of its own term: older ones commit with the first of these. */
    if (node->leads && raft_is_leader(raft) && raft_term(raft) == node->term &&
        raft_entry_term(raft, commit) != raft_term(raft)) {
        sim_violation(sim, "node %u, leader of term %lu, commits by counting entry %lu of term %lu",
                      node->disk.node + 1, raft_term(raft), commit, raft_entry_term(raft, commit));
    }
    node->commit_index = commit;
}

static void end_check(struct sim *sim, struct sim_node *node)
{
    uint64_t last = raft_last(replica_raft(node->replica)).index;
    if (last < node->commit_index) {
        sim_violation(sim, "node %u cuts its log to %lu, below its commit index %lu",
                      node->disk.node + 1, last, node->commit_index);
    }
    for (uint64_t i = last + 1; i <= node->last_index && i <= sim->commit_index; i++) {
        if (platter_has(&node->disk, i, sim->committed[i].term)) {
            sim_violation(sim, "node %u cuts away entry %lu, which is committed",
                          node->disk.node + 1, i);
        }
    }
    node->last_index = last;
    if (node->promised_index > last) {
        node->promised_index = last;
    }
}

/* A new leader holds everything that was committed before its term. */
static void election_check(struct sim *sim, struct sim_node *node)
{
    const struct raft *raft = replica_raft(node->replica);
    leader_check(sim, node->disk.node, raft_term(raft));
    if (node->leads || raft_term(raft) <= sim->commit_term) {
        return;
    }
    uint64_t index = sim->commit_index;
    uint64_t term = index <= raft_last(raft).index ? raft_entry_term(raft, index) : UINT64_MAX;
    if (index > 0 && term != 0 && term != sim->committed[index].term) {
        sim_violation(sim, "node %u leads term %lu without the committed entry %lu",
                      node->disk.node + 1, raft_term(raft), index);
    }
}

/* The table of sessions is what the ledger says it is at the entry that the node has applied. */
static void table_check(struct sim *sim, struct sim_node *node, bool always)
{
    static uint8_t bytes[REPLICA_STATE_BYTES_MAX];
    struct replica_sessions sessions;
    replica_sessions(node->replica, &sessions);
    if (sessions.void_notes != 0) {
        sim_violation(sim, "node %u holds records of sessions that no leader makes",
                      node->disk.node + 1);
    }
    bool contradicted = raft_counters(replica_raft(node->replica))->contradictions != 0 ||
                        replica_counters(node->replica)->entries_unfit != 0;
    if (contradicted) {
        sim_violation(sim, "node %u was told what nobody says that keeps the rules",
                      node->disk.node + 1);
    }
    uint64_t index = sessions.applied_index;
    bool known = index > 0 && index <= sim->applied_index;
    bool cheap = sessions.count < CHEAP_SESSIONS || index % CHEAP_SESSIONS == 0;
    if (!known || (!always && (index == node->table_index || !cheap))) {
        return;
    }
    node->table_index = index;
    uint32_t count = replica_state_bytes(node->replica, bytes);
    if (crc32c(0, bytes, count) != sim->committed[index].table_crc) {
        sim_violation(sim, "node %u has another table of sessions at entry %lu",
                      node->disk.node + 1, index);
    }
    sim->totals->covers.tables_compared++;
}

void check_tables(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        if (sim->nodes[i].state == SIM_UP) {
            table_check(sim, &sim->nodes[i], true);
        }
    }
}

void check_state(struct sim *sim, struct sim_node *node, const uint8_t *pages)
{
    struct state_header header;
    memcpy(&header, pages, sizeof header);
    if (header.magic != STATE_MAGIC || header.byte_count < CONFIGURATION_BODY_BYTES + 8) {
        sim_violation(sim, "node %u writes a small state that is none", node->disk.node + 1);
    }
    if (header.last_index > sim->applied_index) {
        return; /* Whose entries nobody has shown yet. */
    }
    uint32_t bytes = header.byte_count - CONFIGURATION_BODY_BYTES;
    uint32_t crc = crc32c(0, pages + PAGE_BYTES + CONFIGURATION_BODY_BYTES, bytes);
    if (crc != sim->committed[header.last_index].table_crc) {
        sim_violation(sim, "node %u writes a small state with other sessions than entry %lu has",
                      node->disk.node + 1, header.last_index);
    }
    sim->totals->covers.states_compared += bytes > 8;
}

void check_polled(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];
    const struct raft *raft = replica_raft(node->replica);
    uint64_t term = raft_term(raft);
    if (term < node->term || term >= SIM_TERMS_MAX) {
        sim_violation(sim, "node %u goes from term %lu to %lu", number + 1, node->term, term);
    }
    if (raft_is_leader(raft)) {
        election_check(sim, node);
    }
    commit_check(sim, node);
    end_check(sim, node);
    uint64_t durable = raft_durable_index(raft);
    if (durable > node->promised_index && durable <= node->last_index) {
        durable_check(sim, node, durable);
    }
    if ((raft_regressed(raft) & ~sim->went_back) != 0) {
        sim_violation(sim, "node %u says that a peer lacks what it acked", number + 1);
    }
    node->leads = raft_is_leader(raft);
    node->term = term;
    answers_check(sim);
    table_check(sim, node, false);
}

/* What it has promised and lost is not above what bounds its votes. */
static void bound_check(struct sim *sim, struct sim_node *node)
{
    const struct raft *raft = replica_raft(node->replica);
    struct raft_entry_id bound = raft_vote_bound(raft);
    uint64_t last_index = raft_last(raft).index;
    if (bound.index == 0) {
        return;
    }
    sim->totals->covers.opened_bounded++;
    SIM_TRACE(sim, "node %u: bound to entry %lu of term %lu", node->disk.node + 1, bound.index,
              bound.term);
    bool went_back = (sim->went_back >> (node->disk.node + 1) & 1) != 0;
    if (!node->damaged && !node->rotted && !went_back) {
        sim_violation(sim, "node %u was never damaged, and is bound", node->disk.node + 1);
    }
    uint64_t promised = node->promised_index;
    uint64_t term = node->disk.entries[promised].term;
    if (promised > last_index &&
        (term > bound.term || (term == bound.term && promised > bound.index))) {
        sim_violation(sim,
                      "node %u promised entry %lu of term %lu, has lost it, and is bound to entry "
                      "%lu of term %lu",
                      node->disk.node + 1, promised, term, bound.index, bound.term);
    }
    node->promised_index = promised > last_index ? last_index : promised;
}

void check_opened(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];
    const struct raft *raft = replica_raft(node->replica);
    bound_check(sim, node);
    if (raft_last(raft).index < node->promised_index) {
        sim_violation(sim, "node %u comes back with %lu entries; it had promised %lu%s", number + 1,
                      raft_last(raft).index, node->promised_index,
                      node->damaged ? " (its disk was damaged: cut in silence)" : "");
    }
    if (raft_term(raft) < node->promised_term) {
        sim_violation(sim, "node %u comes back in term %lu; it had promised in %lu", number + 1,
                      raft_term(raft), node->promised_term);
    }
    node->last_index = raft_last(raft).index;
    node->term = raft_term(raft);
    table_check(sim, node, false);
}

static uint32_t entry_crc(const uint8_t *entry)
{
    uint32_t bytes = (uint32_t)entry_header_of(entry)->pages * PAGE_BYTES - NODE_HEADER_BYTES;
    uint32_t crc = crc32c(0, entry + NODE_HEADER_BYTES, bytes);
    return crc == 0 ? 1 : crc;
}

/* The entry is committed, and nobody saw its bytes before. */
static void first_check(struct sim *sim, const struct sim_node *node, const uint8_t *entry)
{
    uint64_t index = entry_header_of(entry)->index;
    const char *wrong = entry_check(entry, SIM_CLUSTER);
    if (wrong != NULL || index != sim->applied_index + 1) {
        sim_violation(sim, "node %u applies a bad entry %lu after %lu: %s", node->disk.node + 1,
                      index, sim->applied_index, wrong == NULL ? "" : wrong);
    }
    sim->committed[index].crc = entry_crc(entry);
    sim->applied_index = index;
    ledger_apply(sim, entry);
}

/* Recovered entries that memory no longer holds are not applied again, although nobody may have
 * known them to be committed: then their bytes are on the platter of whoever skips them. */
static void skipped_check(struct sim *sim, const struct sim_node *node, uint64_t until)
{
    static uint8_t bytes[ENTRY_BYTES_MAX] __attribute__((aligned(8)));
    const struct sim_disk *disk = &node->disk;
    for (uint64_t index = sim->applied_index + 1; index < until; index++) {
        const struct sim_entry *entry = &disk->entries[index];
        if (!platter_has(disk, index, sim->committed[index].term)) {
            sim_violation(sim, "node %u skips entry %lu, which it does not hold", disk->node + 1,
                          index);
        }
        for (uint32_t number = 0; number < entry->pages; number++) {
            uint64_t position = entry->position + (uint64_t)number * PAGE_BYTES;
            memcpy(bytes + number * PAGE_BYTES,
                   disk->image + disk->geometry.ring_offset + position % disk->geometry.ring_bytes,
                   PAGE_BYTES);
        }
        first_check(sim, node, bytes);
    }
}

void check_applied(void *context, uint8_t id, const uint8_t *entry)
{
    struct sim *sim = context;
    struct sim_node *node = &sim->nodes[id - 1];
    const struct entry_header *header = entry_header_of(entry);
    uint64_t index = header->index;
    commit_check(sim, node);
    skipped_check(sim, node, index);
    if (index > node->commit_index || index <= node->applied_index) {
        sim_violation(sim, "node %u applies entry %lu after %lu; committed is %lu", id, index,
                      node->applied_index, node->commit_index);
    }
    node->applied_index = index;
    struct sim_committed *committed = &sim->committed[index];
    uint32_t crc = entry_crc(entry);
    if (index == sim->applied_index + 1) {
        first_check(sim, node, entry);
    }
    if (committed->crc != crc || committed->term != header->term) {
        sim_violation(sim, "node %u applies other bytes as entry %lu", id, index);
    }
    sim_hash(sim, index << 32 | crc);
}

struct end_walk {
    struct sim *sim;
    uint64_t last_index;
    uint32_t node;
};

static void end_entry(void *context, const uint8_t *entry)
{
    struct end_walk *walk = context;
    struct sim *sim = walk->sim;
    uint64_t index = entry_header_of(entry)->index;
    walk->last_index = index;
    /* Beyond what it knew to be committed, a node that was cut off may hold what nobody else has.
     */
    if (index <= sim->nodes[walk->node].commit_index &&
        sim->committed[index].crc != entry_crc(entry)) {
        sim_violation(sim, "the platter of node %u holds other bytes as entry %lu", walk->node + 1,
                      index);
    }
}

/* After the last power cut: every undamaged log is whole, holds what was promised and the same
 * bytes as everybody's, and recovery says the same twice. */
void check_end(struct sim *sim)
{
    static struct recovery found[2];
    for (uint32_t i = 0; i < sim->swarm.node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->state != SIM_UP || node->damaged) {
            continue;
        }
        node_crash(sim, i, 1);
        for (uint32_t turn = 0; turn < 2; turn++) {
            struct end_walk walk = {.sim = sim, .node = i};
            const struct recover_visitor visitor = {.entry = end_entry, .context = &walk};
            const struct recover_config expected = {
                .cluster = SIM_CLUSTER,
                .node = (uint8_t)(i + 1),
                .buffer = recover_buffer,
                .visitor = &visitor,
            };
            struct fault fault = {0};
            platter_open(sim, &node->disk, i);
            memset(&found[turn], 0, sizeof found[turn]);
            int result = recover(&node->disk.disk, &expected, &found[turn], &fault);
            if (result != 0 || found[turn].kind > RECOVER_TORN ||
                found[turn].last.index < node->promised_index) {
                sim_violation(sim, "node %u at the end: %s, last %lu of %lu promised, %s %s", i + 1,
                              recover_kind_name(found[turn].kind), found[turn].last.index,
                              node->promised_index, found[turn].what, fault.text);
            }
        }
        /* Both began as zeros, padding too. */
        /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
        if (memcmp(&found[0], &found[1], sizeof found[0]) != 0) {
            sim_violation(sim, "node %u: recovery says two things of one disk", i + 1);
        }
    }
}
