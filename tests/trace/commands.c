/* commands.c: what a script can say.
 *
 * Commands. IDS is a list like 1,2,3; KIND is pre-vote, vote, append, a -reply of these, entry or
 * timeout-now.
 *
 *   nodes N [voters=IDS] [outgoing=IDS]      empty disks; the other nodes are learners
 *   log ID TERM... [term=TERM]               what an earlier life left on the disk, or an old copy
 *   start [IDS]                              from the disk
 *   crash ID [written=INDEX] [state] [cut]   what else has reached the disk
 *   timeout ID                               time goes to the node's deadline; it alone ticks
 *   elapse NS [IDS]                          time passes; the nodes tick
 *   pass NS IDS                              so much time in heartbeats: these nodes tick and
 *                                            settle, and what they send to others is lost
 *   disk ID [state] [log=INDEX] [cut]        writes complete
 *   late ID EPOCH INDEX                      a completion of an older epoch
 *   deliver|drop|double [from=IDS] [to=IDS] [kind=KIND] [count=N]      of the bag, oldest first
 *   settle [IDS]                             network and disks of these nodes, until nothing moves
 *   propose ID [count=N]                     entries of clients
 *   configure ID voters=IDS [outgoing=IDS]   a configuration entry
 *   transfer ID [TO]                         leadership to TO, or to the best voter
 *   resend ID                                the streams begin again at what is acknowledged
 *   read ID                                  a linearizable read
 *   reads ID                                 what became of its reads
 *   unhealthy|healthy|time-lost ID
 *   state | messages | progress ID | counters ID
 */
#include "tests/trace/trace.h"

#include "engine/raft/quorum.h"
#include "tests/trace/cluster.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX     24u
#define SETTLE_ROUNDS 1000u

static struct cluster cluster;
static bool quiet; /* Only what changes who leads and what is committed. */
static char *words[WORDS_MAX];
static uint32_t word_count;

static const char *const kind_names[] = {"pre-vote", "pre-vote-reply", "vote",       "vote-reply",
                                         "append",   "append-reply",   "timeout-now"};
static const char *const role_names[] = {"follower", "pre-candidate", "candidate", "leader"};
static const char *const taken_names[] = {"refused", "taken", "known", "wait"};

static const char *packet_kind(const struct cluster_packet *packet)
{
    return packet->is_entry ? "entry" : kind_names[packet->message.kind];
}

static void print_regressed(raft_set regressed)
{
    const char *before = " regressed ";

    for (raft_set rest = regressed; rest != 0; rest &= rest - 1) {
        trace_print("%s%u", before, set_first(rest));
        before = ",";
    }
}

static void print_message(const struct raft_message *m)
{
    trace_print("%u -> %u %s term %" PRIu64 " token %u", m->from, m->to, kind_names[m->kind],
                m->term, (uint32_t)m->token);
    switch (m->kind) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        trace_print(" last (%" PRIu64 ",%" PRIu64 ")%s\n", m->vote.last.term, m->vote.last.index,
                    m->vote.transfer ? " transfer" : "");
        break;
    case RAFT_TIMEOUT_NOW:
        trace_print(" last (%" PRIu64 ",%" PRIu64 ")\n", m->timeout_now.last.term,
                    m->timeout_now.last.index);
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        trace_print(" %s", m->vote_reply.granted ? "granted" : "refused");
        print_regressed(m->vote_reply.regressed);
        trace_print("\n");
        break;
    case RAFT_APPEND:
        trace_print(" session %u prev (%" PRIu64 ",%" PRIu64 ") commit %" PRIu64, m->append.session,
                    m->append.prev.term, m->append.prev.index, m->append.commit_index);
        print_regressed(m->append.regressed);
        trace_print("\n");
        break;
    case RAFT_APPEND_REPLY:
        trace_print(" session %u", m->append_reply.session);
        if (m->append_reply.matched) {
            trace_print(" matched");
        } else {
            trace_print(" hint (%" PRIu64 ",%" PRIu64 ")", m->append_reply.hint.term,
                        m->append_reply.hint.index);
        }
        trace_print(" verified %" PRIu64 " durable %" PRIu64 "\n", m->append_reply.verified_index,
                    m->append_reply.durable_index);
        break;
    }
}

static void print_packet(const struct cluster_packet *packet)
{
    if (!packet->is_entry) {
        print_message(&packet->message);
        return;
    }
    trace_print("%u -> %u entry term %" PRIu64 " (%" PRIu64 ",%" PRIu64 ") after term %" PRIu64
                " commit %" PRIu64 "%s\n",
                packet->from, packet->to, packet->entry.term, packet->entry.id.term,
                packet->entry.id.index, packet->entry.previous_term, packet->entry.commit_index,
                packet->entry.configuration != 0 ? " configuration" : "");
}

static void on_effect(struct cluster *c, uint8_t id, const struct raft_effect *effect)
{
    (void)c;
    if (quiet && effect->kind != RAFT_EFFECT_COMMIT && effect->kind != RAFT_EFFECT_CUT_LOG) {
        return;
    }
    switch (effect->kind) {
    case RAFT_EFFECT_SEND:
        print_message(&effect->send);
        break;
    case RAFT_EFFECT_WRITE_STATE:
        trace_print("%u writes state: term %" PRIu64 " vote %u entry_term %" PRIu64 "%s\n", id,
                    effect->write_state.term, effect->write_state.vote,
                    effect->write_state.entry_term,
                    effect->write_state.bootstrapped ? " bootstrapped" : "");
        break;
    case RAFT_EFFECT_WRITE_LOG:
        trace_print("%u writes log: %" PRIu64 " to %" PRIu64 " epoch %" PRIu64 "\n", id,
                    effect->write_log.first_index, effect->write_log.last_index,
                    effect->write_log.epoch);
        break;
    case RAFT_EFFECT_CUT_LOG:
        trace_print("%u cuts log: after (%" PRIu64 ",%" PRIu64 ") epoch %" PRIu64 "\n", id,
                    effect->cut_log.keep.term, effect->cut_log.keep.index, effect->cut_log.epoch);
        break;
    case RAFT_EFFECT_COMMIT:
        trace_print("%u commits %" PRIu64 "\n", id, effect->commit.index);
        break;
    case RAFT_EFFECT_MAKE:
        trace_print("%u makes %s\n", id,
                    effect->make.what == RAFT_MAKE_NOOP ? "no-op" : "first configuration");
        break;
    }
}

/* The value of `key=` among the words, or NULL. */
static const char *option(const char *key)
{
    size_t key_bytes = strlen(key);

    for (uint32_t i = 1; i < word_count; i++) {
        if (strncmp(words[i], key, key_bytes) == 0 && words[i][key_bytes] == '=') {
            return words[i] + key_bytes + 1;
        }
    }
    return NULL;
}

static bool flag(const char *name)
{
    for (uint32_t i = 1; i < word_count; i++) {
        if (strcmp(words[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static uint64_t number(const char *word)
{
    char *end;
    uint64_t value = strtoull(word, &end, 10);

    if (end == word || *end != '\0') {
        trace_stop("not a number", word);
    }
    return value;
}

static uint64_t word_number(uint32_t at)
{
    if (at >= word_count) {
        trace_stop("a number is missing", words[0]);
    }
    return number(words[at]);
}

static uint8_t word_node(uint32_t at)
{
    uint64_t id = word_number(at);

    if (id < 1 || id > cluster.node_count) {
        trace_stop("no such node", words[at]);
    }
    return (uint8_t)id;
}

static raft_set node_list(const char *list)
{
    raft_set set = 0;

    for (const char *at = list; at != NULL && *at != '\0';) {
        set |= set_of((uint8_t)strtoul(at, NULL, 10));
        at = strchr(at, ',');
        at = at == NULL ? NULL : at + 1;
    }
    return set;
}

static raft_set everybody(void)
{
    return ((raft_set)2 << cluster.node_count) - 2;
}

/* The nodes named by the word at `at`; everybody without it. */
static raft_set word_nodes(uint32_t at)
{
    return at < word_count ? node_list(words[at]) : everybody();
}

static void run_nodes(void)
{
    uint64_t count = word_number(1);
    const char *voters = option("voters");

    if (count < 1 || count >= CLUSTER_NODES_MAX) {
        trace_stop("nodes", "1 to 7");
    }
    cluster_fini(&cluster);
    cluster.node_count = (uint8_t)count;
    cluster_init(&cluster, (uint8_t)count, voters != NULL ? node_list(voters) : everybody());
    if (option("outgoing") != NULL) {
        cluster.first.outgoing = node_list(option("outgoing"));
        cluster.first.learners &= ~cluster.first.outgoing;
    }
    cluster.on_effect = on_effect;
}

static void run_log(void)
{
    uint64_t terms[WORDS_MAX];

    uint32_t count = 0;

    for (uint32_t i = 2; i < word_count; i++) {
        if (strchr(words[i], '=') == NULL) {
            terms[count++] = word_number(i);
        }
    }
    cluster_set_log(&cluster, word_node(1), terms, count);
    if (option("term") != NULL) {
        cluster.nodes[word_node(1)].disk.term = number(option("term"));
    }
}

static void run_start(void)
{
    for (raft_set rest = word_nodes(1); rest != 0; rest &= rest - 1) {
        cluster_start(&cluster, set_first(rest));
    }
}

static void run_crash(void)
{
    uint8_t id = word_node(1);
    const char *written = option("written");

    cluster_crash(&cluster, id,
                  written != NULL ? number(written) : cluster.nodes[id].disk.durable_index,
                  flag("state"), flag("cut"));
}

static void run_timeout(void)
{
    uint8_t id = word_node(1);
    uint64_t deadline_ns = raft_deadline_ns(cluster.nodes[id].raft);

    cluster.now_ns = deadline_ns > cluster.now_ns ? deadline_ns : cluster.now_ns;
    cluster_event(&cluster, id, RAFT_EVENT_TICK);
}

static void run_elapse(void)
{
    cluster.now_ns += word_number(1);
    for (raft_set rest = word_nodes(2); rest != 0; rest &= rest - 1) {
        if (cluster.nodes[set_first(rest)].up) {
            cluster_event(&cluster, set_first(rest), RAFT_EVENT_TICK);
        }
    }
}

static void run_disk(void)
{
    uint8_t id = word_node(1);

    if (flag("state")) {
        cluster_state_durable(&cluster, id);
    }
    if (option("log") != NULL) {
        cluster_log_durable(&cluster, id, cluster.nodes[id].disk.epoch, number(option("log")));
    }
    if (flag("cut")) {
        cluster_cut_durable(&cluster, id);
    }
}

static bool packet_chosen(const struct cluster_packet *packet)
{
    const char *kind = option("kind");

    return (option("from") == NULL || set_has(node_list(option("from")), packet->from)) &&
           (option("to") == NULL || set_has(node_list(option("to")), packet->to)) &&
           (kind == NULL || strcmp(kind, packet_kind(packet)) == 0);
}

static void deliver(uint32_t at)
{
    bool is_entry = cluster.packets[at].is_entry;
    uint8_t to = cluster.packets[at].to;
    struct raft_entry_id id = cluster.packets[at].entry.id;
    enum raft_taken taken = cluster_deliver(&cluster, at);

    if (is_entry && !quiet) {
        trace_print("%u: (%" PRIu64 ",%" PRIu64 ") %s\n", to, id.term, id.index,
                    taken_names[taken]);
    }
}

/* What is in the bag now; what comes of it stays for the next command. */
static void run_network(void)
{
    uint32_t left = cluster.packet_count;
    uint64_t count = option("count") != NULL ? number(option("count")) : UINT64_MAX;
    bool drop = strcmp(words[0], "drop") == 0;
    bool twice = strcmp(words[0], "double") == 0;

    for (uint32_t at = 0; left > 0 && count > 0; left--) {
        if (!packet_chosen(&cluster.packets[at])) {
            at++;
            continue;
        }
        count--;
        if (drop) {
            cluster_remove(&cluster, at);
        } else if (twice) {
            cluster.packets[cluster.packet_count++] = cluster.packets[at++];
        } else {
            deliver(at);
        }
    }
}

static bool settle_disk(uint8_t id)
{
    struct cluster_disk *disk = &cluster.nodes[id].disk;

    if (disk->state_pending) {
        cluster_state_durable(&cluster, id);
    } else if (disk->cut_pending) {
        cluster_cut_durable(&cluster, id);
    } else if (disk->written_index > disk->durable_index) {
        cluster_log_durable(&cluster, id, disk->epoch, disk->written_index);
    } else {
        return false;
    }
    return true;
}

static bool settle_packet(raft_set nodes)
{
    for (uint32_t at = 0; at < cluster.packet_count; at++) {
        if (set_has(nodes, cluster.packets[at].from) && set_has(nodes, cluster.packets[at].to)) {
            deliver(at);
            return true;
        }
    }
    return false;
}

static void settle(raft_set nodes)
{
    bool moved = true;

    quiet = true;
    for (uint32_t round = 0; moved; round++) {
        if (round == SETTLE_ROUNDS) {
            trace_stop("settle", "does not come to rest");
        }
        moved = settle_packet(nodes);
        for (raft_set rest = nodes; rest != 0; rest &= rest - 1) {
            uint8_t id = set_first(rest);
            moved = (cluster.nodes[id].up && settle_disk(id)) || moved;
        }
    }
    quiet = false;
}

static void run_settle(void)
{
    settle(word_nodes(1));
}

static void run_pass(void)
{
    uint64_t end_ns = cluster.now_ns + word_number(1);
    raft_set nodes = word_nodes(2);

    quiet = true;
    while (cluster.now_ns < end_ns) {
        cluster.now_ns += cluster.heartbeat_ns;
        for (raft_set rest = nodes; rest != 0; rest &= rest - 1) {
            cluster_event(&cluster, set_first(rest), RAFT_EVENT_TICK);
        }
        settle(nodes);
        quiet = true;
        for (uint32_t i = cluster.packet_count; i > 0; i--) {
            if (set_has(nodes, cluster.packets[i - 1].from)) {
                cluster_remove(&cluster, i - 1);
            }
        }
    }
    quiet = false;
}

static void run_propose(void)
{
    uint64_t count = option("count") != NULL ? number(option("count")) : 1;

    for (uint64_t i = 0; i < count; i++) {
        enum raft_taken taken = cluster_propose(&cluster, word_node(1), NULL);
        if (taken != RAFT_TAKEN) {
            trace_print("%s\n", taken_names[taken]);
        }
    }
}

static void run_configure(void)
{
    uint8_t id = word_node(1);
    struct raft_configuration changed = *raft_configuration(cluster.nodes[id].raft);

    if (option("voters") == NULL) {
        trace_stop("configure", "needs voters=");
    }
    changed.voters = node_list(option("voters"));
    changed.outgoing = option("outgoing") != NULL ? node_list(option("outgoing")) : 0;
    changed.learners = everybody() & ~(changed.voters | changed.outgoing);
    trace_print("%s\n", taken_names[cluster_propose(&cluster, id, &changed)]);
}

static void run_state(void)
{
    for (uint8_t id = 1; id <= cluster.node_count; id++) {
        const struct raft *r = cluster.nodes[id].raft;
        if (!cluster.nodes[id].up) {
            trace_print("%u: down\n", id);
            continue;
        }
        trace_print(
            "%u: %s term %" PRIu64 " vote %u leader %u last (%" PRIu64 ",%" PRIu64
            ") commit %" PRIu64 " verified %" PRIu64 " durable %" PRIu64 " epoch %" PRIu64 "%s%s%s",
            id, role_names[raft_role(r)], raft_term(r), raft_vote(r), raft_leader(r),
            raft_last(r).term, raft_last(r).index, raft_commit_index(r), raft_verified_index(r),
            raft_durable_index(r), raft_epoch(r), raft_bootstrapped(r) ? "" : " newborn",
            raft_cut_pending(r) ? " cutting" : "", raft_vote_bound(r).index != 0 ? " bounded" : "");
        print_regressed(raft_regressed(r));
        trace_print("\n");
    }
}

static void run_messages(void)
{
    for (uint32_t i = 0; i < cluster.packet_count; i++) {
        print_packet(&cluster.packets[i]);
    }
}

static void run_progress(void)
{
    uint8_t id = word_node(1);

    for (uint8_t peer = 1; peer <= cluster.node_count; peer++) {
        struct raft_replication p = raft_replication(cluster.nodes[id].raft, peer);
        if (peer != id) {
            trace_print("%u: %s session %u next %" PRIu64 " match %" PRIu64 "\n", peer,
                        p.active ? "replicate" : "probe", p.session, p.next_index, p.match_index);
        }
    }
}

static void run_counters(void)
{
    const struct raft_counters *counters = raft_counters(cluster.nodes[word_node(1)].raft);
    uint64_t values[sizeof(*counters) / sizeof(uint64_t)];

    memcpy(values, counters, sizeof(values));
    for (uint32_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (values[i] != 0) {
            trace_print("%s %" PRIu64 "\n", raft_counter_names[i], values[i]);
        }
    }
}

static void run_late(void)
{
    cluster_log_durable(&cluster, word_node(1), word_number(2), word_number(3));
}

static void run_resend(void)
{
    cluster_resend(&cluster, word_node(1));
}

static void run_unhealthy(void)
{
    cluster_event(&cluster, word_node(1), RAFT_EVENT_UNHEALTHY);
}

/* To nobody in particular: to the best voter. */
static void run_transfer(void)
{
    static const char *const answers[] = {"ok",        "not leader",  "too early",
                                          "under way", "not a voter", "nobody heard"};
    uint8_t id = word_node(1);
    struct raft_event event = {.kind = RAFT_EVENT_TRANSFER, .now_ns = cluster.now_ns};

    event.transfer.to = word_count > 2 ? word_node(2) : RAFT_NOBODY;
    enum raft_transfer answer = raft_transfer_check(cluster.nodes[id].raft, event.transfer.to);
    if (answer != RAFT_TRANSFER_OK) {
        trace_print("refused: %s\n", answers[answer]);
    }
    (void)!cluster_step(&cluster, id, &event);
}

static void run_read(void)
{
    uint8_t id = word_node(1);
    struct raft_event event = {.kind = RAFT_EVENT_READ, .now_ns = cluster.now_ns};

    uint64_t index = raft_commit_index(cluster.nodes[id].raft);
    if (cluster_step(&cluster, id, &event) == RAFT_TAKEN) {
        trace_print("ticket %" PRIu64 ", index %" PRIu64 "\n",
                    raft_read_ticket(cluster.nodes[id].raft), index);
    } else {
        trace_print("refused\n");
    }
}

static void run_reads(void)
{
    static const char *const states[] = {"pending", "confirmed", "lost"};
    const struct raft *r = cluster.nodes[word_node(1)].raft;

    for (uint64_t ticket = 1; ticket <= raft_read_ticket(r); ticket++) {
        trace_print("ticket %" PRIu64 " is %s\n", ticket, states[raft_read_state(r, ticket)]);
    }
}

static void run_healthy(void)
{
    cluster_event(&cluster, word_node(1), RAFT_EVENT_HEALTHY);
}

static void run_time_lost(void)
{
    cluster_event(&cluster, word_node(1), RAFT_EVENT_TIME_LOST);
}

static const struct {
    const char *name;
    void (*run)(void);
} commands[] = {
    {"nodes", run_nodes},         {"log", run_log},
    {"start", run_start},         {"crash", run_crash},
    {"timeout", run_timeout},     {"elapse", run_elapse},
    {"pass", run_pass},           {"disk", run_disk},
    {"late", run_late},           {"deliver", run_network},
    {"drop", run_network},        {"double", run_network},
    {"settle", run_settle},       {"propose", run_propose},
    {"configure", run_configure}, {"resend", run_resend},
    {"unhealthy", run_unhealthy}, {"healthy", run_healthy},
    {"time-lost", run_time_lost}, {"state", run_state},
    {"messages", run_messages},   {"progress", run_progress},
    {"counters", run_counters},   {"transfer", run_transfer},
    {"read", run_read},           {"reads", run_reads},
};

void commands_run(char *line)
{
    char *rest = line;

    word_count = 0;
    for (char *word = strtok_r(rest, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        if (word_count == WORDS_MAX) {
            trace_stop("too many words", words[0]);
        }
        words[word_count++] = word;
    }
    for (uint32_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, words[0]) == 0) {
            commands[i].run();
            return;
        }
    }
    trace_stop("no such command", words[0]);
}

/* Who has another role now, told at the end of each command's output. */
void commands_print_roles(enum raft_role *roles, uint64_t *terms)
{
    for (uint8_t id = 1; id <= cluster.node_count; id++) {
        if (!cluster.nodes[id].up) {
            roles[id] = RAFT_FOLLOWER;
            continue;
        }
        enum raft_role role = raft_role(cluster.nodes[id].raft);
        uint64_t term = raft_term(cluster.nodes[id].raft);
        if (role != roles[id] || (role != RAFT_FOLLOWER && term != terms[id])) {
            trace_print("%u is %s, term %" PRIu64 "\n", id, role_names[role], term);
        }
        roles[id] = role;
        terms[id] = term;
    }
}

void commands_check(void)
{
    cluster_check_logs(&cluster);
}

void commands_fini(void)
{
    cluster_fini(&cluster);
}
