/* test_raft_core.c: see test_raft_core.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/test_raft_core.h"

void core_prepare(struct core *core, uint8_t voter_count)
{
    struct raft_configuration *configuration = &core->recovered.configuration;

    memset(core, 0, sizeof(*core));
    core->now_ns = 1000;
    core->config = (struct raft_config){.self = SELF,
                                        .store = 100 + SELF,
                                        .boot = 1,
                                        .election_min_ns = ELECTION_MIN_NS,
                                        .election_max_ns = ELECTION_MAX_NS,
                                        .heartbeat_ns = HEARTBEAT_NS,
                                        .seed = 7};
    for (uint8_t id = 1; id <= voter_count; id++) {
        configuration->voters |= set_of(id);
        configuration->members[configuration->member_count++].id = id;
    }
    core->raft = aligned_alloc(64, raft_size_bytes());
    assert_non_null(core->raft);
}

void core_prepare_log(struct core *core, uint8_t voter_count, const uint64_t *terms, uint32_t count)
{
    struct raft_recovered *recovered = &core->recovered;

    core_prepare(core, voter_count);
    recovered->bootstrapped = true;
    recovered->epoch = 1;
    recovered->configuration.index = 1;
    for (uint32_t i = 0; i < voter_count; i++) {
        recovered->configuration.members[i].store = 101 + i;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || terms[i] != terms[i - 1]) {
            core->runs[recovered->run_count++] = (struct raft_run){terms[i], i + 1};
        }
        recovered->last = (struct raft_entry_id){terms[i], i + 1};
    }
    recovered->term = recovered->last.term;
    recovered->entry_term = recovered->last.term;
    recovered->runs = core->runs;
}

void core_start(struct core *core)
{
    raft_init(core->raft, &core->config, &core->recovered, core->now_ns);
}

void core_fini(struct core *core)
{
    free(core->raft);
}

enum raft_taken core_step(struct core *core, const struct raft_event *event)
{
    return raft_step(core->raft, event);
}

void core_event(struct core *core, enum raft_event_kind kind)
{
    struct raft_event event = {.kind = kind, .now_ns = core->now_ns};
    assert_int_equal(core_step(core, &event), RAFT_REFUSED);
}

void core_receive(struct core *core, const struct raft_message *m)
{
    struct raft_event event = {.kind = RAFT_EVENT_MESSAGE, .now_ns = core->now_ns, .message = m};
    assert_int_equal(core_step(core, &event), RAFT_REFUSED);
}

enum raft_taken
core_entry(struct core *core, uint8_t from, struct raft_entry_id id, uint64_t previous_term)
{
    struct raft_event event = {.kind = RAFT_EVENT_ENTRY, .now_ns = core->now_ns};

    event.entry.from = from;
    event.entry.term = raft_term(core->raft) > id.term ? raft_term(core->raft) : id.term;
    event.entry.id = id;
    event.entry.previous_term = previous_term;
    return core_step(core, &event);
}

enum raft_taken core_propose(struct core *core, const struct raft_configuration *configuration)
{
    struct raft_event event = {.kind = RAFT_EVENT_PROPOSE, .now_ns = core->now_ns};

    event.propose.configuration = configuration;
    return core_step(core, &event);
}

void core_log_durable(struct core *core, uint64_t epoch, uint64_t index)
{
    struct raft_event event = {.kind = RAFT_EVENT_LOG_DURABLE, .now_ns = core->now_ns};

    event.log_durable.epoch = epoch;
    event.log_durable.index = index;
    assert_int_equal(core_step(core, &event), RAFT_REFUSED);
}

void core_cut_durable(struct core *core, uint64_t epoch)
{
    struct raft_event event = {.kind = RAFT_EVENT_CUT_DURABLE, .now_ns = core->now_ns};

    event.cut_durable.epoch = epoch;
    assert_int_equal(core_step(core, &event), RAFT_REFUSED);
}

void core_elapse(struct core *core, uint64_t ns)
{
    core->now_ns += ns;
    core_event(core, RAFT_EVENT_TICK);
}

void core_time_out(struct core *core)
{
    uint64_t deadline_ns = raft_deadline_ns(core->raft);

    core->now_ns = deadline_ns > core->now_ns ? deadline_ns : core->now_ns;
    core_event(core, RAFT_EVENT_TICK);
}

static void core_drain_more(struct core *core)
{
    for (;;) {
        uint32_t room = EFFECTS_MAX - core->effect_count;
        uint32_t count = raft_drain(core->raft, &core->effects[core->effect_count], room);
        if (count == 0) {
            return;
        }
        core->effect_count += count;
        assert_true(core->effect_count < EFFECTS_MAX);
    }
}

void core_drain(struct core *core)
{
    core->effect_count = 0;
    core_drain_more(core);
}

const struct raft_effect *core_effect(const struct core *core, enum raft_effect_kind kind)
{
    const struct raft_effect *found = NULL;

    for (uint32_t i = 0; i < core->effect_count; i++) {
        if (core->effects[i].kind == kind) {
            found = &core->effects[i];
        }
    }
    return found;
}

const struct raft_message *
core_sent(const struct core *core, enum raft_message_kind kind, uint8_t to)
{
    const struct raft_message *found = NULL;

    for (uint32_t i = 0; i < core->effect_count; i++) {
        const struct raft_effect *effect = &core->effects[i];
        if (effect->kind == RAFT_EFFECT_SEND && effect->send.kind == kind &&
            effect->send.to == to) {
            found = &effect->send;
        }
    }
    return found;
}

uint32_t core_count(const struct core *core, enum raft_effect_kind kind)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < core->effect_count; i++) {
        count += core->effects[i].kind == kind;
    }
    return count;
}

static void core_complete(struct core *core, const struct raft_effect *effect)
{
    struct raft_event event = {.kind = RAFT_EVENT_STATE_DURABLE, .now_ns = core->now_ns};

    if (effect->kind == RAFT_EFFECT_WRITE_STATE) {
        event.state_durable.term = effect->write_state.term;
        event.state_durable.vote = effect->write_state.vote;
        event.state_durable.entry_term = effect->write_state.entry_term;
        event.state_durable.bootstrapped = effect->write_state.bootstrapped;
        event.state_durable.vote_bound = effect->write_state.vote_bound;
        assert_int_equal(core_step(core, &event), RAFT_REFUSED);
    } else if (effect->kind == RAFT_EFFECT_WRITE_LOG) {
        core_log_durable(core, effect->write_log.epoch, effect->write_log.last_index);
    } else if (effect->kind == RAFT_EFFECT_CUT_LOG) {
        core_cut_durable(core, effect->cut_log.epoch);
    }
}

void core_state_durable(struct core *core)
{
    const struct raft_effect *effect = core_effect(core, RAFT_EFFECT_WRITE_STATE);

    assert_non_null(effect);
    core_complete(core, effect);
}

void core_settle(struct core *core)
{
    core_drain(core);
    for (uint32_t i = 0; i < core->effect_count; i++) {
        core_complete(core, &core->effects[i]);
        core_drain_more(core);
    }
}

struct raft_message
core_message(const struct core *core, enum raft_message_kind kind, uint8_t from, uint64_t term)
{
    (void)core;
    return (struct raft_message){.kind = kind,
                                 .from = from,
                                 .to = SELF,
                                 .from_store = 100u + from,
                                 .from_boot = 1,
                                 .term = term,
                                 .token = 1};
}

struct raft_message
core_vote_request(const struct core *core, uint8_t from, uint64_t term, struct raft_entry_id last)
{
    struct raft_message m = core_message(core, RAFT_VOTE, from, term);

    m.vote.last = last;
    return m;
}

struct raft_message core_append(const struct core *core, uint8_t from, struct raft_entry_id prev)
{
    struct raft_message m = core_message(core, RAFT_APPEND, from, raft_term(core->raft));

    m.append.session = 1;
    m.append.prev = prev;
    return m;
}

struct raft_message core_reply(const struct raft_message *request, bool granted)
{
    struct raft_message m = {.kind = RAFT_VOTE_REPLY,
                             .from = request->to,
                             .to = request->from,
                             .from_store = 100u + request->to,
                             .from_boot = 1,
                             .term = request->term,
                             .token = request->token};

    m.kind = request->kind == RAFT_PRE_VOTE ? RAFT_PRE_VOTE_REPLY : RAFT_VOTE_REPLY;
    m.vote_reply.granted = granted;
    return m;
}

struct raft_message
core_ack(const struct raft_message *append, bool matched, uint64_t durable_index)
{
    struct raft_message m = core_reply(append, false);

    m.kind = RAFT_APPEND_REPLY;
    m.append_reply.session = append->append.session;
    m.append_reply.matched = matched;
    m.append_reply.durable_index = durable_index;
    m.append_reply.verified_index = durable_index;
    if (matched && append->append.prev.index > durable_index) {
        m.append_reply.verified_index = append->append.prev.index;
    }
    return m;
}

void core_pre_campaign(struct core *core)
{
    core_time_out(core);
    core_settle(core);
}

static raft_set core_others(const struct core *core)
{
    const struct raft_configuration *configuration = raft_configuration(core->raft);
    return (configuration->voters | configuration->outgoing) & ~set_of(SELF);
}

static void core_grant_all(struct core *core, enum raft_message_kind kind)
{
    struct raft_message requests[VOTERS_MAX * 2];
    uint32_t count = 0;

    for (raft_set rest = core_others(core); rest != 0; rest &= rest - 1) {
        const struct raft_message *request = core_sent(core, kind, set_first(rest));
        assert_non_null(request);
        requests[count++] = *request;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct raft_message reply = core_reply(&requests[i], true);
        core_receive(core, &reply);
    }
}

void core_campaign(struct core *core)
{
    core_pre_campaign(core);
    core_grant_all(core, RAFT_PRE_VOTE);
    assert_int_equal(raft_role(core->raft), core_others(core) == 0 ? RAFT_LEADER : RAFT_CANDIDATE);
    core_settle(core);
}

void core_lead(struct core *core)
{
    core_campaign(core);
    core_grant_all(core, RAFT_VOTE);
    assert_true(raft_is_leader(core->raft));
    core_drain(core);
    const struct raft_effect *make = core_effect(core, RAFT_EFFECT_MAKE);
    if (make != NULL) {
        struct raft_configuration first = make->make.configuration;
        bool is_first = make->make.what == RAFT_MAKE_FIRST_CONFIGURATION;
        assert_int_equal(core_propose(core, is_first ? &first : NULL), RAFT_TAKEN);
        core_settle(core);
    }
}

void core_acks(struct core *core, uint64_t index)
{
    core_elapse(core, HEARTBEAT_NS);
    core_settle(core);
    for (raft_set rest = core_others(core); rest != 0; rest &= rest - 1) {
        struct raft_message ack =
            core_ack(core_sent(core, RAFT_APPEND, set_first(rest)), true, index);
        core_receive(core, &ack);
    }
    core_settle(core);
}

struct raft_message core_heartbeat(struct core *core, uint8_t to)
{
    core_elapse(core, HEARTBEAT_NS);
    core_settle(core);
    const struct raft_message *append = core_sent(core, RAFT_APPEND, to);
    assert_non_null(append);
    return *append;
}
