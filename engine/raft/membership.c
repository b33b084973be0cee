/* membership.c: the configuration in force, the one before it, and the stores of its members.
 *
 * A configuration is in force from the moment its entry is appended, and no longer when the entry
 * is cut (section 4.1, rule I1). Two are enough: a leader proposes the next one only after the last
 * one is committed (rule I2), so that whoever holds the next one will never see the last one cut.
 *
 * The first entry of all pins the store id of every member. Until it is in the log any store may
 * speak for its node; a leader remembers the first one it heard.
 */
#include "engine/raft/internal.h"

void membership_check(const struct raft_configuration *configuration)
{
    raft_set members = 0;

    ASSERT(configuration->member_count <= NODES_MAX);
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        uint8_t id = configuration->members[i].id;
        ASSERT(i == 0 || id > configuration->members[i - 1].id);
        members |= set_of(id);
    }
    ASSERT((configuration->voters & ~members) == 0);
    ASSERT((configuration->outgoing & ~members) == 0);
    ASSERT((configuration->learners & ~members) == 0);
    ASSERT((configuration->voters & configuration->learners) == 0);
    ASSERT((configuration->voters == 0) == (configuration->member_count == 0));
    ASSERT(set_count(configuration->voters) <= VOTERS_MAX);
    ASSERT(set_count(configuration->outgoing) <= VOTERS_MAX);
}

static raft_set membership_set(const struct raft_configuration *configuration)
{
    raft_set members = 0;

    for (uint32_t i = 0; i < configuration->member_count; i++) {
        members |= set_of(configuration->members[i].id);
    }
    return members;
}

/* What depends on the configuration in force. */
static void membership_refresh(struct raft *r)
{
    raft_set added = membership_set(&r->configuration) & ~set_of(r->config.self) & ~r->members;

    r->members = membership_set(&r->configuration) & ~set_of(r->config.self);
    r->owed_append &= r->members;
    if (r->role != RAFT_LEADER) {
        return;
    }
    for (raft_set rest = added; rest != 0; rest &= rest - 1) {
        progress_probe(r, set_first(rest), r->terms.last_index);
        r->heard_ns[set_first(rest)] = r->now_ns;
    }
}

void membership_init(struct raft *r, const struct raft_recovered *recovered)
{
    const struct raft_configuration *latest = &recovered->configuration;

    membership_check(latest);
    membership_check(&recovered->configuration_before);
    ASSERT(latest->index <= recovered->last.index);
    r->configuration = *latest;
    r->configuration_before = recovered->configuration_before;
    if (r->configuration_before.member_count == 0 && latest->index == 1) {
        r->configuration_before = *latest; /* The file's: the same nodes, no store pinned. */
        r->configuration_before.index = 0;
        for (uint32_t i = 0; i < NODES_MAX; i++) {
            r->configuration_before.members[i].store = 0;
        }
    }
    uint64_t own = membership_store(latest, r->config.self);
    ASSERT(own == 0 || own == r->config.store); /* A stranger's log is refused at start. */
    membership_refresh(r);
}

void membership_append(struct raft *r,
                       const struct raft_configuration *configuration,
                       uint64_t index)
{
    membership_check(configuration);
    ASSERT(configuration->voters != 0);
    ASSERT(index > r->configuration.index);
    r->configuration_before = r->configuration;
    r->configuration = *configuration;
    r->configuration.index = index;
    membership_refresh(r);
}

void membership_cut(struct raft *r, uint64_t keep_index)
{
    if (r->configuration.index <= keep_index) {
        return;
    }
    /* A configuration with a successor is committed, so one step back is as far as it goes. */
    ASSERT(r->configuration_before.index <= keep_index);
    ASSERT(r->configuration_before.member_count > 0);
    r->configuration = r->configuration_before;
    membership_refresh(r);
}

static bool membership_has(const struct raft_configuration *configuration, uint8_t id)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (configuration->members[i].id == id) {
            return true;
        }
    }
    return false;
}

bool membership_knew(const struct raft *r, uint8_t id)
{
    return r->configuration.member_count == 0 || membership_has(&r->configuration_before, id);
}

/* The store that a configuration names for a node; 0 when it names none. */
uint64_t membership_store(const struct raft_configuration *configuration, uint8_t id)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (configuration->members[i].id == id) {
            return configuration->members[i].store;
        }
    }
    return 0;
}

raft_set membership_voters(const struct raft *r)
{
    return r->configuration.voters | r->configuration.outgoing;
}

bool membership_votes(const struct raft *r, uint8_t id)
{
    return set_has(membership_voters(r), id);
}

void membership_pin(struct raft *r, uint8_t id, uint64_t store)
{
    if (LIKELY(r->peers[id].pinned != 0)) {
        return;
    }
    r->peers[id].pinned = store;
    r->dirty = true;
}

/* Every voter's store is known, so that the first configuration can name them all. */
bool membership_stores_known(const struct raft *r)
{
    for (raft_set rest = membership_voters(r) & r->members; rest != 0; rest &= rest - 1) {
        uint8_t id = set_first(rest);
        if (r->peers[id].pinned == 0 && membership_store(&r->configuration, id) == 0) {
            return false;
        }
    }
    return true;
}

void membership_build_first(const struct raft *r, struct raft_configuration *first)
{
    ASSERT(membership_stores_known(r));
    *first = r->configuration;
    first->index = 1;
    for (uint32_t i = 0; i < first->member_count; i++) {
        struct raft_member *member = &first->members[i];
        if (member->id == r->config.self) {
            member->store = r->config.store;
        } else if (member->store == 0) {
            member->store = r->peers[member->id].pinned;
        }
    }
}
