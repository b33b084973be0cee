/* neighbours.c: see neighbours.h. */
#include "net/neighbours.h"

#define NEIGHBOUR_SETS (NEIGHBOURS_MAX / NEIGHBOUR_WAYS)

_Static_assert(NEIGHBOURS_MAX % NEIGHBOUR_WAYS == 0, "sets are whole");
_Static_assert((NEIGHBOUR_SETS & (NEIGHBOUR_SETS - 1)) == 0, "a set's number is some bits");

void neighbours_init(struct neighbours *neighbours, uint64_t fresh_ns)
{
    ASSERT(fresh_ns > 0);
    ASSERT(fresh_ns <= UINT64_MAX / 4);
    memset(neighbours, 0, sizeof(*neighbours));
    neighbours->fresh_ns = fresh_ns;
}

/* Multiplicative hashing (Knuth): neighbouring addresses fall into different sets. */
static struct neighbour *set_of(struct neighbours *neighbours, uint32_t ipv4)
{
    uint32_t set = ipv4 * 0x9e3779b1u >> 16 & (NEIGHBOUR_SETS - 1);
    return &neighbours->places[set * NEIGHBOUR_WAYS];
}

static struct neighbour *place_of(struct neighbours *neighbours, uint32_t ipv4)
{
    ASSERT(ipv4 != 0);
    struct neighbour *set = set_of(neighbours, ipv4);
    for (uint32_t i = 0; i < NEIGHBOUR_WAYS; i++) {
        if (set[i].ipv4 == ipv4) {
            return &set[i];
        }
    }
    return NULL;
}

static bool
is_good(const struct neighbours *neighbours, const struct neighbour *place, uint64_t now_ns)
{
    return place->ipv4 != 0 && place->resolved &&
           now_ns - place->heard_ns < 2 * neighbours->fresh_ns;
}

/* Where a new one goes: an empty place, or that of the one heard of longest ago, the unresolved
 * first. */
static struct neighbour *place_take(struct neighbours *neighbours, uint32_t ipv4)
{
    struct neighbour *set = set_of(neighbours, ipv4);
    struct neighbour *worst = &set[0];
    for (uint32_t i = 0; i < NEIGHBOUR_WAYS; i++) {
        if (set[i].ipv4 == 0) {
            return &set[i];
        }
        bool worse = set[i].resolved == worst->resolved ? set[i].heard_ns < worst->heard_ns
                                                        : !set[i].resolved;
        worst = worse ? &set[i] : worst;
    }
    return worst;
}

enum neighbour_found
neighbours_find(struct neighbours *neighbours, uint32_t ipv4, uint64_t now_ns, struct mac *mac)
{
    struct neighbour *place = place_of(neighbours, ipv4);
    if (place == NULL) {
        struct neighbour *taken = place_take(neighbours, ipv4);
        if (is_good(neighbours, taken, now_ns)) {
            return NEIGHBOUR_UNKNOWN; /* A question does not cost a neighbour its place. */
        }
        *taken = (struct neighbour){.ipv4 = ipv4, .heard_ns = now_ns, .asked_ns = now_ns};
        return NEIGHBOUR_UNKNOWN;
    }
    bool may_ask = now_ns - place->asked_ns >= NEIGHBOUR_ASK_NS;
    if (is_good(neighbours, place, now_ns)) {
        *mac = place->mac;
        if (now_ns - place->heard_ns < neighbours->fresh_ns || !may_ask) {
            return NEIGHBOUR_KNOWN;
        }
        place->asked_ns = now_ns;
        return NEIGHBOUR_AGEING;
    }
    place->resolved = false;
    if (!may_ask) {
        return NEIGHBOUR_AWAITED;
    }
    place->asked_ns = now_ns;
    return NEIGHBOUR_UNKNOWN;
}

static enum neighbour_heard
place_hear(struct neighbour *place, const struct mac *mac, uint64_t now_ns)
{
    enum neighbour_heard heard = NEIGHBOUR_SAME;
    if (UNLIKELY(!place->resolved)) {
        heard = NEIGHBOUR_NEW;
    } else if (UNLIKELY(!mac_equal(&place->mac, mac))) {
        heard = NEIGHBOUR_MOVED;
    }
    place->mac = *mac;
    place->resolved = true;
    place->heard_ns = now_ns;
    return heard;
}

enum neighbour_heard neighbours_hear(struct neighbours *neighbours,
                                     uint32_t ipv4,
                                     const struct mac *mac,
                                     uint64_t now_ns)
{
    ASSERT(mac_is_unicast(mac));
    struct neighbour *place = place_of(neighbours, ipv4);
    if (LIKELY(place != NULL)) {
        return place_hear(place, mac, now_ns);
    }
    place = place_take(neighbours, ipv4);
    bool evicted = is_good(neighbours, place, now_ns);
    *place = (struct neighbour){.ipv4 = ipv4};
    (void)place_hear(place, mac, now_ns);
    return evicted ? NEIGHBOUR_EVICTED : NEIGHBOUR_NEW;
}

enum neighbour_heard neighbours_hear_again(struct neighbours *neighbours,
                                           uint32_t ipv4,
                                           const struct mac *mac,
                                           uint64_t now_ns)
{
    ASSERT(mac_is_unicast(mac));
    struct neighbour *place = place_of(neighbours, ipv4);
    return place == NULL ? NEIGHBOUR_SAME : place_hear(place, mac, now_ns);
}
