/* health.c: see health.h. */
#include "engine/cli/health.h"

#include "engine/base/assert.h"
#include "engine/client/silence.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert(HEALTH_NOTES_MAX >= 4 * VOTERS_MAX + 7, "each node may be wrong in four ways");

static void note(struct health *health, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void note(struct health *health, const char *format, ...)
{
    ASSERT(health->note_count < HEALTH_NOTES_MAX);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(health->notes[health->note_count++], HEALTH_NOTE_BYTES, format, arguments);
    va_end(arguments);
}

const char *health_name_nodes(raft_set nodes, char text[HEALTH_NAMES_BYTES])
{
    bool many = (nodes & (nodes - 1)) != 0;
    int at = snprintf(text, HEALTH_NAMES_BYTES, many ? "nodes" : "node");
    const char *before = " ";
    for (uint32_t id = 1; id <= NODE_ID_MAX && (uint32_t)at < HEALTH_NAMES_BYTES - 8; id++) {
        if ((nodes >> id & 1) != 0) {
            at += snprintf(text + at, HEALTH_NAMES_BYTES - (uint32_t)at, "%s%u", before, id);
            before = ", ";
        }
    }
    return text;
}

/* Its log is damaged: what it waits for. */
static void note_faulty(struct health *health, uint32_t id, const struct wire_status_reply *status)
{
    char names[HEALTH_NAMES_BYTES];
    if (status->waiting != 0) {
        note(health, "node %u is faulty: it mends its log and waits for an entry of %s", id,
             health_name_nodes(status->waiting, names));
    } else {
        note(health, "node %u is faulty: it mends its log", id);
    }
}

/* Whether a node that does not answer runs all the same, as far as that is seen from here. */
static bool find_process(const struct config *config, const struct ask_answer *answers)
{
    for (uint32_t i = 0; i < config->node_count; i++) {
        if (answers[i].pid != 0) {
            return true;
        }
    }
    return false;
}

/* The leader of the highest term: an older one may not know yet that it was replaced. */
static const struct wire_status_reply *
find_leader(struct health *health, const struct config *config, const struct ask_answer *answers)
{
    const struct wire_status_reply *leader = NULL;
    uint64_t highest = 0;
    for (uint32_t i = 0; i < config->node_count; i++) {
        if (answers[i].reachable && answers[i].status.term > highest) {
            highest = answers[i].status.term;
        }
    }
    for (uint32_t i = 0; i < config->node_count; i++) {
        const struct wire_status_reply *status = &answers[i].status;
        bool leads = answers[i].reachable && status->role == WIRE_LEADER;
        if (leads && (leader == NULL || status->term > leader->term)) {
            leader = status;
            health->leader = config->nodes[i].id;
        }
    }
    health->term = leader != NULL ? leader->term : highest;
    return leader;
}

/* Every node is there, and each waits for what another would have to have. */
static bool none_can_lead(const struct config *config, const struct ask_answer *answers)
{
    for (uint32_t i = 0; i < config->node_count; i++) {
        const struct wire_status_reply *status = &answers[i].status;
        if (!answers[i].reachable || !(status->faulty || status->bounded)) {
            return false;
        }
    }
    return true;
}

/* Whom the nodes of the newest term follow, if the file does not have it. */
static uint8_t
find_unnamed(uint64_t term, const struct config *config, const struct ask_answer *answers)
{
    uint8_t said = 0;
    for (uint32_t i = 0; i < config->node_count; i++) {
        if (answers[i].reachable && answers[i].status.term == term) {
            said = answers[i].status.leader != 0 ? answers[i].status.leader : said;
        }
    }
    for (uint32_t i = 0; i < config->node_count; i++) {
        said = config->nodes[i].id == said ? 0 : said;
    }
    return said;
}

/* Why it does not answer, as far as that is seen from here. */
static void note_silent(struct health *health, uint32_t id, const struct ask_answer *answer)
{
    if (answer->pid != 0 && answer->stopped) {
        note(health,
             "node %u does not answer: its process %ld is stopped; `kill -CONT %ld` lets it "
             "go on",
             id, answer->pid, answer->pid);
    } else if (answer->pid != 0) {
        note(health,
             "node %u does not answer, but its process %ld is there and has its log: look why it "
             "hangs (its disk, its address in the file), or end it with `kill %ld` and start it "
             "again",
             id, answer->pid, answer->pid);
    } else {
        note(health,
             "node %u does not answer: start it with `thole start -c FILE --node %u`, or look why "
             "it hangs",
             id, id);
    }
}

/* Of the voters; without a leader, everybody in the file is taken for one. Until a voter has heard
 * that the first entry is committed, it would wait for everybody again, should it lead next. */
static void note_nodes(struct health *health,
                       const struct config *config,
                       const struct ask_answer *answers,
                       const struct wire_status_reply *leader)
{
    raft_set voters = leader != NULL ? leader->voters : UINT64_MAX;
    raft_set learning =
        leader != NULL && leader->bootstrapped ? leader->voters & ~leader->strangers : 0;
    for (uint32_t i = 0; i < config->node_count; i++) {
        uint32_t id = config->nodes[i].id;
        if (!answers[i].reachable && (voters >> id & 1) != 0) {
            note_silent(health, id, &answers[i]);
        }
        if (answers[i].reachable && answers[i].status.faulty) {
            note_faulty(health, id, &answers[i].status);
            continue;
        }
        if (answers[i].reachable && answers[i].status.bounded) {
            note(health,
                 "node %u has lost an end of its log: it does not stand, and waits for a leader to "
                 "bring it back",
                 id);
        }
        if (answers[i].reachable && answers[i].status.degraded) {
            note(health, "node %u is degraded: its disk stalls", id);
        }
        if (answers[i].reachable && answers[i].status.unmended) {
            note(health,
                 "node %u serves, but some of its log is damaged and no node that answers has what "
                 "was there: `thole net stat` counts the places (scrub_waiting)",
                 id);
        }
        if (answers[i].reachable && (learning >> id & 1) != 0 && !answers[i].status.bootstrapped) {
            note(health, "node %u has not heard yet that the first start is complete", id);
        }
    }
}

/* By the leader's word; without one, by anybody's who has heard it. */
static void note_regressed(struct health *health,
                           const struct config *config,
                           const struct ask_answer *answers,
                           const struct wire_status_reply *leader)
{
    raft_set regressed = leader != NULL ? leader->regressed : 0;
    for (uint32_t i = 0; i < config->node_count && leader == NULL; i++) {
        regressed |= answers[i].reachable ? answers[i].status.regressed : 0;
    }
    if (regressed != 0) {
        char names[HEALTH_NAMES_BYTES];
        note(health,
             "the log of %s lacks entries that it had acknowledged (its disk lied, or is an old "
             "copy): its votes and acks do not count; see to its disk, then start it again: it "
             "counts once it has caught up",
             health_name_nodes(regressed, names));
    }
}

static void note_full(struct health *health, uint8_t smallest)
{
    char whose[64] = "";
    if (smallest != 0) {
        (void)snprintf(whose, sizeof whose, ", judged by that of node %u, the smallest", smallest);
    }
    note(health,
         "the log is full%s: appends are refused. Set `retention` in [storage] of the "
         "configuration, so that old records are trimmed, and start all nodes again, one after the "
         "other",
         whose);
}

static void note_leader(struct health *health,
                        const struct config *config,
                        const struct wire_status_reply *leader)
{
    char names[HEALTH_NAMES_BYTES];
    raft_set named = 0;
    for (uint32_t i = 0; i < config->node_count; i++) {
        named |= 1ull << config->nodes[i].id;
    }
    if (leader->waiting != 0) {
        note(health,
             "the first start waits for %s: every voter must answer and store the first entry",
             health_name_nodes(leader->waiting, names));
    } else if (!leader->takes_proposals) {
        note(health, "node %u leads and takes no appends yet", health->leader);
    }
    if (leader->strangers != 0) {
        note(health,
             "the log of %s is a stranger's (formatted anew, or another cluster's): it does not "
             "count",
             health_name_nodes(leader->strangers, names));
    }
    health->behind = leader->behind;
    if (leader->behind != 0) {
        note(health,
             "%s fell behind the log start of node %u: what it needs is trimmed, so only a "
             "snapshot can bring it back, which is not there yet",
             health_name_nodes(leader->behind, names), health->leader);
    }
    if (leader->full) {
        note_full(health, leader->smallest);
    }
    if ((leader->voters & ~named) != 0) {
        note(health, "the configuration file has no address for %s, a voter of the cluster: add it",
             health_name_nodes(leader->voters & ~named, names));
    }
}

raft_set health_slowed(const struct config *config, const struct ask_answer *answers)
{
    raft_set slowed = 0;
    for (uint32_t i = 0; i < config->node_count; i++) {
        bool is_slowed = answers[i].reachable && answers[i].status.slowed;
        slowed |= is_slowed ? 1ull << config->nodes[i].id : 0;
    }
    return slowed;
}

raft_set health_posix(const struct config *config, const struct ask_answer *answers)
{
    raft_set posix = 0;
    for (uint32_t i = 0; i < config->node_count; i++) {
        bool is_posix = answers[i].reachable && answers[i].status.posix;
        posix |= is_posix ? 1ull << config->nodes[i].id : 0;
    }
    return posix;
}

/* Whose log and the leader's are not of one history. A leader that is told of entries which it has
 * not got does not say by whom: their own words do. */
static raft_set find_diverged(const struct health *health,
                              const struct config *config,
                              const struct ask_answer *answers,
                              const struct wire_status_reply *leader)
{
    raft_set told = 0;
    raft_set ahead = 0;
    bool leader_told = leader != NULL && leader->diverged;
    for (uint32_t i = 0; i < config->node_count; i++) {
        raft_set bit = 1ull << config->nodes[i].id;
        const struct wire_status_reply *status = &answers[i].status;
        if (!answers[i].reachable || config->nodes[i].id == health->leader) {
            continue;
        }
        told |= status->diverged ? bit : 0;
        ahead |= leader_told && status->commit_index > leader->commit_index ? bit : 0;
    }
    raft_set diverged = told | ahead;
    return diverged == 0 && leader_told ? 1ull << health->leader : diverged;
}

static void note_diverged(struct health *health)
{
    static const char way[] = "a disk went back to an old copy, or a log is of another history. "
                              "Stop the nodes, keep copies, compare them with `thole log diff`, "
                              "and bring back the right one";
    char names[HEALTH_NAMES_BYTES];
    if (health->diverged == 0) {
        return;
    }
    if (health->leader != 0 && health->diverged == 1ull << health->leader) {
        note(health, "node %u leads, and is told of entries that it has not got: %s",
             health->leader, way);
    } else {
        note(health, "%s: entries are committed there that the leader has not got: %s",
             health_name_nodes(health->diverged, names), way);
    }
}

void health_judge(struct health *health,
                  const struct config *config,
                  const struct ask_answer *answers)
{
    ASSERT(config->node_count >= 1);
    ASSERT(config->node_count <= VOTERS_MAX);
    memset(health, 0, sizeof *health);
    health->node_count = config->node_count;
    for (uint32_t i = 0; i < config->node_count; i++) {
        health->reachable_count += answers[i].reachable;
    }
    health->slowed = health_slowed(config, answers);
    health->posix = health_posix(config, answers);
    const struct wire_status_reply *leader = find_leader(health, config, answers);
    health->available = leader != NULL && leader->takes_proposals;
    if (leader == NULL) {
        health->unnamed = find_unnamed(health->term, config, answers);
    }
    if (health->reachable_count == 0) {
        char addresses[SILENCE_ADDRESSES_BYTES];
        note(health, "no node answers at %s%s", silence_addresses(config, 0, addresses),
             find_process(config, answers) ? ""
                                           : ": nothing runs there, or not with this [cluster] id");
    } else if (health->unnamed != 0) {
        note(health,
             "node %u leads, by the word of who answers, but the configuration file has no [node "
             "%u]: add it, with its address",
             health->unnamed, health->unnamed);
    } else if (leader == NULL && none_can_lead(config, answers)) {
        note(health, "nobody can lead: every node answers, and each has lost something of its log "
                     "that it waits for; bring back a copy of a disk, accept the loss of the ends "
                     "(`thole start --discard-suspect`), or restore a backup");
    } else if (leader == NULL) {
        note(health, "nobody leads: a majority of the voters must be up and reach each other");
    } else {
        note_leader(health, config, leader);
    }
    note_regressed(health, config, answers, leader);
    health->diverged = find_diverged(health, config, answers, leader);
    note_diverged(health);
    note_nodes(health, config, answers, leader);
    health->healthy = health->available && health->note_count == 0;
}

const char *health_line(const struct health *health, char line[HEALTH_LINE_BYTES])
{
    int at = 0;
    if (health->healthy) {
        at = snprintf(line, HEALTH_LINE_BYTES, "healthy: node %u leads %u nodes in term %llu",
                      health->leader, health->node_count, (unsigned long long)health->term);
    } else {
        at = snprintf(line, HEALTH_LINE_BYTES, "%s: %u of %u nodes answer",
                      health->available ? "degraded" : "unavailable", health->reachable_count,
                      health->node_count);
    }
    if (health->posix != 0) {
        char names[HEALTH_NAMES_BYTES];
        at += snprintf(line + at, HEALTH_LINE_BYTES - (uint32_t)at,
                       "; degraded on request: %s without io_uring (--io posix)",
                       health_name_nodes(health->posix, names));
    }
    for (uint32_t i = 0; i < health->note_count && (uint32_t)at < HEALTH_LINE_BYTES; i++) {
        at += snprintf(line + at, HEALTH_LINE_BYTES - (uint32_t)at, "; %s", health->notes[i]);
    }
    return line;
}
