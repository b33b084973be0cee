/* read.c: linearizable reads without the log (section 6.4, rules G1 to G4).
 *
 * A leader that has committed an entry of its own term holds everything committed before it. A read
 * that came is answered from its commit index of that moment, once a quorum has said that it still
 * followed this leader afterwards: by answering a heartbeat whose token was made after the read
 * came. So no time is believed, no lease is held, and an answer that is late, repeated or of an
 * earlier round proves nothing for a later read.
 *
 * Rounds are numbered and a read's ticket is the number of the round that will prove it, so any
 * number of reads cost one round and nothing is kept for each. One round is under way at a time; it
 * begins at once when a read waits, and what of it gets lost the next heartbeat repeats. Whatever
 * puts the office in doubt (its end, a transfer, time that was lost) loses all tickets.
 */
#include "engine/raft/internal.h"

static bool read_round_under_way(const struct raft *r)
{
    return r->read_round > r->read_confirmed && r->read_round > r->read_void;
}

/* Enough voters have answered the round under way. The leader is its own witness, if it votes. */
static bool read_round_proven(const struct raft *r)
{
    raft_set heard = r->read_heard & ~r->regressed;
    return quorum_agrees(&r->configuration, heard | set_of(r->config.self));
}

static void read_begin_round(struct raft *r)
{
    ASSERT(r->role == RAFT_LEADER);
    ASSERT(!read_round_under_way(r));
    r->read_round++;
    r->read_token = r->token;
    r->read_heard = 0;
    r->owed_append |= membership_voters(r) & r->members;
    r->dirty = true;
    r->counters.read_rounds++;
}

/* A quorum may have been there already: a leader that is the only voter waits for nobody. */
static void read_advance(struct raft *r)
{
    while (read_round_under_way(r) && read_round_proven(r)) {
        r->read_confirmed = r->read_round;
        r->counters.read_rounds_confirmed++;
        if (r->read_asked > r->read_round) {
            read_begin_round(r);
        }
    }
    ASSERT(r->read_asked >= r->read_round);
    ASSERT(r->read_asked - r->read_round <= 1);
}

/* Reads share the round that begins after them: the one under way, as long as no token of it was
 * made, and otherwise the next. */
enum raft_taken read_register(struct raft *r)
{
    bool office = r->role == RAFT_LEADER && r->transfer_to == RAFT_NOBODY;

    if (!office || r->commit_index < r->term_first_index) {
        return RAFT_REFUSED;
    }
    if (!read_round_under_way(r)) {
        read_begin_round(r);
    }
    r->read_asked = r->read_token == r->token ? r->read_round : r->read_round + 1;
    read_advance(r);
    return RAFT_TAKEN;
}

/* A peer has answered a heartbeat of this term with a token never heard from it before. */
void read_heard(struct raft *r, uint8_t from, uint64_t token)
{
    ASSERT(r->role == RAFT_LEADER);
    if (LIKELY(!read_round_under_way(r)) || token <= r->read_token) {
        return;
    }
    r->read_heard |= set_of(from);
    read_advance(r);
}

/* Nothing that was asked so far will be proven any more (rule G3). */
void read_lose(struct raft *r)
{
    r->read_void = r->read_asked;
    r->read_round = r->read_asked;
}

uint64_t raft_read_ticket(const struct raft *r)
{
    return r->read_asked;
}

enum raft_read_state raft_read_state(const struct raft *r, uint64_t ticket)
{
    ASSERT(ticket >= 1);
    ASSERT(ticket <= r->read_asked);
    if (ticket <= r->read_void) {
        return RAFT_READ_LOST;
    }
    return ticket <= r->read_confirmed ? RAFT_READ_CONFIRMED : RAFT_READ_PENDING;
}
