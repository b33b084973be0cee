/* cluster.c: see cluster.h. */
#include "tests/trace/cluster.h"

#include "engine/raft/quorum.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EFFECTS_AT_ONCE 3u /* Small, so that drains are cut short. */

static void check(const struct cluster *c, bool holds, uint8_t id, const char *what)
{
    if (!holds) {
        fprintf(stderr, "seed %" PRIu64 ", node %u: broken: %s\n", c->seed, id, what);
        abort();
    }
}

void cluster_init(struct cluster *c, uint8_t node_count, raft_set voters)
{
    memset(c, 0, sizeof(*c));
    c->node_count = node_count;
    c->election_min_ns = 100;
    c->election_max_ns = 200;
    c->heartbeat_ns = 10;
    c->make = true;
    c->first.voters = voters;
    for (uint8_t id = 1; id <= node_count; id++) {
        struct cluster_node *node = &c->nodes[id];
        c->first.members[c->first.member_count++].id = id;
        c->first.learners |= set_of(id) & ~voters;
        node->store = 100u + id;
        node->raft = aligned_alloc(64, raft_size_bytes());
        check(c, node->raft != NULL, id, "memory for a core");
    }
}

void cluster_fini(struct cluster *c)
{
    for (uint8_t id = 1; id <= c->node_count; id++) {
        free(c->nodes[id].raft);
    }
}

static bool cluster_same(const struct raft_configuration *a, const struct raft_configuration *b)
{
    bool same = a->index == b->index && a->voters == b->voters && a->outgoing == b->outgoing &&
                a->learners == b->learners && a->member_count == b->member_count;

    for (uint32_t i = 0; same && i < a->member_count; i++) {
        same = a->members[i].id == b->members[i].id && a->members[i].store == b->members[i].store;
    }
    return same;
}

static uint32_t cluster_intern(struct cluster *c, const struct raft_configuration *configuration)
{
    if (configuration == NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < c->configuration_count; i++) {
        if (cluster_same(&c->configurations[i], configuration)) {
            return i + 1;
        }
    }
    check(c, c->configuration_count < CLUSTER_CONFIGURATIONS_MAX, 0, "room for a configuration");
    c->configurations[c->configuration_count++] = *configuration;
    return c->configuration_count;
}

void cluster_set_log(struct cluster *c, uint8_t id, const uint64_t *terms, uint32_t count)
{
    struct cluster_disk *disk = &c->nodes[id].disk;

    check(c, !c->nodes[id].up, id, "logs are set while a node is down");
    check(c, count < CLUSTER_LOG_MAX, id, "the log fits");
    struct raft_configuration first = c->first;
    first.index = 1;
    for (uint32_t i = 0; i < first.member_count; i++) {
        first.members[i].store = c->nodes[first.members[i].id].store;
    }
    disk->went_back = count < disk->durable_index;
    disk->vote_bound = (struct raft_entry_id){0, 0};
    for (uint32_t i = 1; i <= count; i++) {
        disk->entries[i] = (struct cluster_entry){terms[i - 1], 0};
        disk->entry_term = terms[i - 1];
    }
    disk->entries[1].configuration = cluster_intern(c, &first);
    disk->term = disk->entry_term > disk->term ? disk->entry_term : disk->term;
    disk->durable_index = count;
    disk->written_index = count;
    disk->bootstrapped = true;
    c->preset = true;
}

/* The last configuration of a log, or the file's. */
static struct raft_configuration cluster_configuration(const struct cluster *c,
                                                       const struct cluster_entry *entries,
                                                       uint64_t last_index)
{
    for (uint64_t index = last_index; index > 0; index--) {
        if (entries[index].configuration != 0) {
            struct raft_configuration found = c->configurations[entries[index].configuration - 1];
            found.index = index;
            return found;
        }
    }
    return c->first;
}

static void cluster_pump(struct cluster *c, uint8_t id);

void cluster_start(struct cluster *c, uint8_t id)
{
    static struct raft_run runs[CLUSTER_LOG_MAX];
    struct cluster_node *node = &c->nodes[id];
    struct cluster_disk *disk = &node->disk;
    struct raft_recovered recovered = {.term = disk->term,
                                       .vote = disk->vote,
                                       .entry_term = disk->entry_term,
                                       .epoch = disk->epoch + 1, /* Every open is a new one. */
                                       .bootstrapped = disk->bootstrapped,
                                       .vote_bound = disk->vote_bound,
                                       .runs = runs};

    check(c, !node->up, id, "only a node that is down is started");
    disk->epoch++;
    for (uint64_t index = 1; index <= disk->durable_index; index++) {
        if (index == 1 || disk->entries[index].term != disk->entries[index - 1].term) {
            runs[recovered.run_count++] = (struct raft_run){disk->entries[index].term, index};
        }
    }
    recovered.last =
        (struct raft_entry_id){disk->entries[disk->durable_index].term, disk->durable_index};
    recovered.configuration = cluster_configuration(c, disk->entries, disk->durable_index);
    if (recovered.configuration.index > 0) {
        recovered.configuration_before =
            cluster_configuration(c, disk->entries, recovered.configuration.index - 1);
    }
    node->boot++;
    struct raft_config config = {.self = id,
                                 .store = node->store,
                                 .boot = node->boot,
                                 .election_min_ns = c->election_min_ns,
                                 .election_max_ns = c->election_max_ns,
                                 .heartbeat_ns = c->heartbeat_ns,
                                 .seed = c->seed * 1000 + id * 100 + node->boot};
    raft_init(node->raft, &config, &recovered, c->now_ns);
    memcpy(node->entries, disk->entries, sizeof(node->entries));
    memset(node->streams, 0, sizeof(node->streams));
    node->last_index = disk->durable_index;
    node->applied_index = 0;
    node->up = true;
    cluster_pump(c, id);
}

static void cluster_disk_state(struct cluster_disk *disk)
{
    disk->term = disk->state.write_state.term;
    disk->vote = disk->state.write_state.vote;
    disk->entry_term = disk->state.write_state.entry_term;
    disk->bootstrapped = disk->state.write_state.bootstrapped;
    disk->vote_bound = disk->state.write_state.vote_bound;
    disk->state_pending = false;
}

static void cluster_disk_cut(struct cluster_disk *disk)
{
    disk->epoch = disk->cut.cut_log.epoch;
    disk->durable_index = disk->cut.cut_log.keep.index;
    disk->written_index = disk->durable_index;
    disk->cut_pending = false;
}

void cluster_crash(struct cluster *c, uint8_t id, uint64_t written_index, bool state, bool cut)
{
    struct cluster_disk *disk = &c->nodes[id].disk;

    check(c, c->nodes[id].up, id, "only a node that is up crashes");
    check(c, written_index >= disk->durable_index, id, "what is durable stays");
    check(c, written_index <= disk->written_index, id, "what was not written is not there");
    disk->durable_index = written_index;
    disk->written_index = written_index;
    if (state && disk->state_pending) {
        cluster_disk_state(disk);
    }
    if (cut && disk->cut_pending) {
        cluster_disk_cut(disk);
    }
    disk->state_pending = false;
    disk->cut_pending = false;
    c->nodes[id].up = false;
}

static void cluster_push(struct cluster *c, const struct cluster_packet *packet)
{
    if (c->packet_count == CLUSTER_PACKETS_MAX) {
        c->packets_lost++;
        return;
    }
    c->packets[c->packet_count++] = *packet;
}

/* What leaves a node must stand on its disk (rules A1, E2). */
static void cluster_check_send(struct cluster *c, uint8_t id, const struct raft_message *m)
{
    struct cluster_node *node = &c->nodes[id];

    if (m->kind != RAFT_PRE_VOTE && m->kind != RAFT_PRE_VOTE_REPLY) {
        check(c, m->term == node->disk.term, id, "a message speaks of a durable term");
        check(c, m->term >= node->term_shown, id, "a term shown never goes back");
        node->term_shown = m->term;
    }
    uint8_t vote = RAFT_NOBODY;
    if (m->kind == RAFT_VOTE) {
        vote = id;
    }
    if (m->kind == RAFT_VOTE_REPLY && m->vote_reply.granted) {
        vote = m->to;
    }
    if (vote != RAFT_NOBODY) {
        check(c, m->term < CLUSTER_TERMS_MAX, id, "the run stays within its terms");
        check(c, node->disk.vote == vote, id, "a vote is durable before it is said");
        uint8_t *voted = &node->voted[m->term];
        check(c, *voted == RAFT_NOBODY || *voted == vote, id, "one vote a term");
        *voted = vote;
    }
    if (m->kind == RAFT_APPEND_REPLY) {
        check(c, m->append_reply.durable_index <= node->disk.durable_index, id,
              "an ack is durable");
    }
}

/* The first time an entry is called committed, a quorum has it on disk. */
static void cluster_check_commit(struct cluster *c, uint8_t id, uint64_t index)
{
    const struct cluster_node *node = &c->nodes[id];

    check(c, index <= node->last_index, id, "what is committed is in the log");
    check(c, index > node->applied_index, id, "the commit index only grows");
    for (uint64_t i = node->applied_index + 1; i <= index; i++) {
        uint64_t term = node->entries[i].term;
        check(c, c->committed[i] == 0 || c->committed[i] == term, id,
              "one committed entry an index");
        c->committed[i] = term;
    }
    if (index <= c->committed_index) {
        return;
    }
    raft_set holders = 0;
    for (uint8_t other = 1; other <= c->node_count; other++) {
        const struct cluster_disk *disk = &c->nodes[other].disk;
        if (disk->durable_index >= index &&
            disk->entries[index].term == node->entries[index].term) {
            holders |= set_of(other);
        }
    }
    struct raft_configuration configuration =
        cluster_configuration(c, node->entries, node->last_index);
    check(c, quorum_agrees(&configuration, holders), id, "what is committed is on a quorum");
    raft_set voters = configuration.voters | configuration.outgoing;
    check(c, c->preset || c->committed_index > 0 || (holders & voters) == voters, id,
          "the first entry is on every voter");
    c->committed_index = index;
}

static void cluster_take(struct cluster *c, uint8_t id, uint64_t term, uint32_t configuration)
{
    struct cluster_node *node = &c->nodes[id];

    node->last_index++;
    check(c, node->last_index < CLUSTER_LOG_MAX, id, "the log fits");
    node->entries[node->last_index] = (struct cluster_entry){term, configuration};
    check(c, raft_last(node->raft).index == node->last_index, id, "core and log end together");
}

static void cluster_write_log(struct cluster *c, uint8_t id, const struct raft_effect *effect)
{
    struct cluster_node *node = &c->nodes[id];
    struct cluster_disk *disk = &node->disk;

    check(c, effect->write_log.epoch == disk->epoch, id, "writes go to the open log");
    check(c, effect->write_log.first_index == disk->written_index + 1, id, "writes have no gaps");
    check(c, effect->write_log.last_index <= node->last_index, id, "what is written is there");
    check(c, !disk->cut_pending, id, "nothing is written while a cut is under way");
    for (uint64_t i = effect->write_log.first_index; i <= effect->write_log.last_index; i++) {
        check(c, node->entries[i].term <= disk->entry_term, id, "entry_term before the entry");
        check(c, node->entries[i].term <= disk->term, id, "term before the entry");
        disk->entries[i] = node->entries[i];
    }
    disk->written_index = effect->write_log.last_index;
}

static void cluster_cut_log(struct cluster *c, uint8_t id, const struct raft_effect *effect)
{
    struct cluster_node *node = &c->nodes[id];
    struct cluster_disk *disk = &node->disk;
    uint64_t keep_index = effect->cut_log.keep.index;

    check(c, !disk->cut_pending, id, "one cut at a time");
    check(c, keep_index >= node->applied_index, id, "nothing committed is cut");
    check(c, keep_index < node->last_index, id, "a cut cuts something");
    check(c, keep_index <= disk->durable_index, id, "what a cut keeps is durable");
    check(c, node->entries[keep_index].term == effect->cut_log.keep.term, id,
          "keep is named right");
    check(c, effect->cut_log.epoch == disk->epoch + 1, id, "a cut begins the next epoch");
    node->last_index = keep_index;
    disk->written_index = disk->written_index > keep_index ? disk->written_index : keep_index;
    disk->cut_pending = true;
    disk->cut = *effect;
}

/* One event, and what it puts into the log; what is owed stays owed. */
static enum raft_taken cluster_feed(struct cluster *c, uint8_t id, const struct raft_event *event)
{
    struct cluster_node *node = &c->nodes[id];
    uint64_t term = raft_term(node->raft);

    check(c, node->up, id, "only a node that is up hears of events");
    enum raft_taken taken = raft_step(node->raft, event);
    check(c, raft_term(node->raft) >= term, id, "terms only grow");
    if (taken == RAFT_TAKEN && event->kind == RAFT_EVENT_ENTRY) {
        cluster_take(c, id, event->entry.id.term, cluster_intern(c, event->entry.configuration));
    } else if (taken == RAFT_TAKEN && event->kind == RAFT_EVENT_PROPOSE) {
        cluster_take(c, id, raft_term(node->raft), cluster_intern(c, event->propose.configuration));
    }
    return taken;
}

static enum raft_taken
cluster_feed_proposal(struct cluster *c, uint8_t id, const struct raft_configuration *configuration)
{
    struct raft_event event = {.kind = RAFT_EVENT_PROPOSE, .now_ns = c->now_ns};

    event.propose.configuration = configuration;
    return cluster_feed(c, id, &event);
}

static void cluster_effect(struct cluster *c, uint8_t id, const struct raft_effect *effect)
{
    struct cluster_node *node = &c->nodes[id];
    struct cluster_packet packet = {.from = id};

    if (c->on_effect != NULL) {
        c->on_effect(c, id, effect);
    }
    switch (effect->kind) {
    case RAFT_EFFECT_SEND:
        cluster_check_send(c, id, &effect->send);
        packet.to = effect->send.to;
        packet.message = effect->send;
        cluster_push(c, &packet);
        break;
    case RAFT_EFFECT_WRITE_STATE:
        check(c, !node->disk.state_pending, id, "one state write at a time");
        node->disk.state_pending = true;
        node->disk.state = *effect;
        break;
    case RAFT_EFFECT_WRITE_LOG:
        cluster_write_log(c, id, effect);
        break;
    case RAFT_EFFECT_CUT_LOG:
        cluster_cut_log(c, id, effect);
        break;
    case RAFT_EFFECT_COMMIT:
        cluster_check_commit(c, id, effect->commit.index);
        node->applied_index = effect->commit.index;
        break;
    case RAFT_EFFECT_MAKE:
        if (c->make) {
            bool first = effect->make.what == RAFT_MAKE_FIRST_CONFIGURATION;
            (void)!cluster_feed_proposal(c, id, first ? &effect->make.configuration : NULL);
        }
        break;
    }
}

/* Election safety, and leader completeness at the moment of the election. */
static void cluster_check_leader(struct cluster *c, uint8_t id)
{
    const struct cluster_node *node = &c->nodes[id];
    uint64_t term = raft_term(node->raft);

    check(c, term < CLUSTER_TERMS_MAX, id, "the run stays within its terms");
    check(c, c->leaders[term] == RAFT_NOBODY || c->leaders[term] == id, id, "one leader a term");
    if (c->leaders[term] == id) {
        return;
    }
    c->leaders[term] = id;
    check(c, node->last_index >= c->committed_index, id, "a leader has all committed entries");
    for (uint64_t i = 1; i <= c->committed_index; i++) {
        check(c, node->entries[i].term == c->committed[i], id, "a leader has each committed entry");
    }
}

static void cluster_stream(struct cluster *c, uint8_t id, uint8_t peer)
{
    struct cluster_node *node = &c->nodes[id];
    struct cluster_stream *stream = &node->streams[peer];
    struct raft_replication replication = raft_replication(node->raft, peer);

    if (!replication.active) {
        return;
    }
    check(c, replication.match_index < replication.next_index || replication.match_index > 0, id,
          "match lies below next");
    const struct cluster_disk *disk = &c->nodes[peer].disk;
    check(c, disk->went_back || replication.match_index <= disk->durable_index, id,
          "match is durable at the peer");
    if (stream->session != replication.session) {
        stream->session = replication.session;
        stream->next_index = replication.next_index;
    }
    uint64_t end = replication.match_index + CLUSTER_STREAM_WINDOW;
    end = end < stream->next_index + CLUSTER_STREAM_WINDOW
              ? stream->next_index + CLUSTER_STREAM_WINDOW
              : end;
    for (; stream->next_index <= node->last_index && stream->next_index < end;
         stream->next_index++) {
        uint64_t index = stream->next_index;
        struct cluster_packet packet = {.is_entry = true, .from = id, .to = peer};
        packet.entry.term = raft_term(node->raft);
        packet.entry.commit_index = raft_commit_index(node->raft);
        packet.entry.id = (struct raft_entry_id){node->entries[index].term, index};
        packet.entry.previous_term = index == 1 ? 0 : node->entries[index - 1].term;
        packet.entry.configuration = node->entries[index].configuration;
        cluster_push(c, &packet);
    }
}

static void cluster_pump(struct cluster *c, uint8_t id)
{
    struct cluster_node *node = &c->nodes[id];
    struct raft_effect effects[EFFECTS_AT_ONCE];

    if (raft_is_leader(node->raft)) {
        cluster_check_leader(c, id);
    }
    for (;;) {
        uint32_t count = raft_drain(node->raft, effects, EFFECTS_AT_ONCE);
        for (uint32_t i = 0; i < count; i++) {
            cluster_effect(c, id, &effects[i]);
        }
        if (count == 0) {
            break;
        }
    }
    check(c, raft_last(node->raft).index == node->last_index, id, "core and log end together");
    check(c, raft_durable_index(node->raft) <= node->disk.durable_index, id,
          "durable means durable");
    for (uint8_t peer = 1; peer <= c->node_count && raft_is_leader(node->raft); peer++) {
        if (peer != id) {
            cluster_stream(c, id, peer);
        }
    }
}

enum raft_taken cluster_step(struct cluster *c, uint8_t id, const struct raft_event *event)
{
    enum raft_taken taken = cluster_feed(c, id, event);

    cluster_pump(c, id);
    return taken;
}

void cluster_event(struct cluster *c, uint8_t id, enum raft_event_kind kind)
{
    struct raft_event event = {.kind = kind, .now_ns = c->now_ns};
    enum raft_taken taken = cluster_step(c, id, &event);
    check(c, taken == RAFT_REFUSED, id, "only entries are taken");
}

enum raft_taken
cluster_propose(struct cluster *c, uint8_t id, const struct raft_configuration *configuration)
{
    enum raft_taken taken = cluster_feed_proposal(c, id, configuration);

    cluster_pump(c, id);
    return taken;
}

void cluster_remove(struct cluster *c, uint32_t packet)
{
    check(c, packet < c->packet_count, 0, "the packet is in the bag");
    c->packet_count--;
    memmove(&c->packets[packet], &c->packets[packet + 1],
            (c->packet_count - packet) * sizeof(c->packets[0]));
}

enum raft_taken cluster_deliver(struct cluster *c, uint32_t number)
{
    struct cluster_packet packet = c->packets[number];
    struct raft_event event = {.now_ns = c->now_ns};

    cluster_remove(c, number);
    if (packet.to > c->node_count || !c->nodes[packet.to].up) {
        return RAFT_REFUSED;
    }
    if (!packet.is_entry) {
        event.kind = RAFT_EVENT_MESSAGE;
        event.message = &packet.message;
    } else {
        event.kind = RAFT_EVENT_ENTRY;
        event.entry.from = packet.from;
        event.entry.term = packet.entry.term;
        event.entry.commit_index = packet.entry.commit_index;
        event.entry.id = packet.entry.id;
        event.entry.previous_term = packet.entry.previous_term;
        if (packet.entry.configuration != 0) {
            event.entry.configuration = &c->configurations[packet.entry.configuration - 1];
        }
    }
    return cluster_step(c, packet.to, &event);
}

void cluster_state_durable(struct cluster *c, uint8_t id)
{
    struct cluster_disk *disk = &c->nodes[id].disk;
    struct raft_event event = {.kind = RAFT_EVENT_STATE_DURABLE, .now_ns = c->now_ns};

    check(c, disk->state_pending, id, "a state write is under way");
    cluster_disk_state(disk);
    event.state_durable.term = disk->term;
    event.state_durable.vote = disk->vote;
    event.state_durable.entry_term = disk->entry_term;
    event.state_durable.bootstrapped = disk->bootstrapped;
    event.state_durable.vote_bound = disk->vote_bound;
    (void)!cluster_step(c, id, &event);
}

void cluster_log_durable(struct cluster *c, uint8_t id, uint64_t epoch, uint64_t index)
{
    struct cluster_disk *disk = &c->nodes[id].disk;
    struct raft_event event = {.kind = RAFT_EVENT_LOG_DURABLE, .now_ns = c->now_ns};

    if (epoch == disk->epoch && index > disk->durable_index) {
        check(c, index <= disk->written_index, id, "what is durable was written");
        disk->durable_index = index;
    }
    event.log_durable.epoch = epoch;
    event.log_durable.index = index;
    (void)!cluster_step(c, id, &event);
}

void cluster_cut_durable(struct cluster *c, uint8_t id)
{
    struct cluster_disk *disk = &c->nodes[id].disk;
    struct raft_event event = {.kind = RAFT_EVENT_CUT_DURABLE, .now_ns = c->now_ns};

    check(c, disk->cut_pending, id, "a cut is under way");
    cluster_disk_cut(disk);
    event.cut_durable.epoch = disk->epoch;
    (void)!cluster_step(c, id, &event);
}

void cluster_trim(struct cluster *c, uint8_t id)
{
    struct raft_event event = {.kind = RAFT_EVENT_TRIMMED, .now_ns = c->now_ns};
    uint64_t index = c->nodes[id].applied_index;

    for (uint8_t other = 1; other <= c->node_count; other++) {
        uint64_t held = c->nodes[other].disk.durable_index;
        held = held < c->nodes[other].applied_index ? held : c->nodes[other].applied_index;
        index = index < held ? index : held;
    }
    if (index <= raft_start(c->nodes[id].raft).index) {
        return;
    }
    event.trimmed.start = (struct raft_entry_id){c->nodes[id].entries[index].term, index};
    (void)!cluster_step(c, id, &event);
    check(c, raft_start(c->nodes[id].raft).index == index, id, "a trim moves the start");
}

void cluster_resend(struct cluster *c, uint8_t id)
{
    for (uint8_t peer = 1; peer <= c->node_count; peer++) {
        struct raft_replication replication = raft_replication(c->nodes[id].raft, peer);
        if (peer != id && replication.active) {
            struct cluster_stream *stream = &c->nodes[id].streams[peer];
            stream->session = replication.session;
            stream->next_index = replication.match_index + 1;
            cluster_stream(c, id, peer);
        }
    }
}

void cluster_check_logs(const struct cluster *c)
{
    for (uint8_t a = 1; a <= c->node_count; a++) {
        for (uint8_t b = 1; b < a; b++) {
            uint64_t last_a = c->nodes[a].last_index;
            uint64_t last_b = c->nodes[b].last_index;
            bool same = false;
            for (uint64_t i = last_a < last_b ? last_a : last_b; i > 0; i--) {
                bool equal = c->nodes[a].entries[i].term == c->nodes[b].entries[i].term;
                check(c, equal || !same, a, "logs match below a common entry");
                same = same || equal;
            }
        }
    }
}
