/* neighbours.h: which MAC an IPv4 address of the segment has: learnt, aged, asked for.
 *
 * A table of fixed size: sets of NEIGHBOUR_WAYS places by a hash of the address; a full set gives
 * up whom it has not heard of for longest. An entry is what was heard last: a neighbour that moves
 * to another MAC is followed at once. Pure; time is an argument.
 */
#ifndef NET_NEIGHBOURS_H
#define NET_NEIGHBOURS_H

#include "net/headers.h"

struct neighbour {
    uint32_t ipv4; /* 0: an empty place. */
    struct mac mac;
    bool resolved;     /* `mac` is known; else it is being asked for. */
    uint64_t heard_ns; /* Of the last word from it; of the first question while unresolved. */
    uint64_t asked_ns; /* Of the last question. */
};

struct neighbours {
    uint64_t fresh_ns; /* Older than this it is asked for again, and used meanwhile; at twice this
                          it is forgotten. */
    struct neighbour places[NEIGHBOURS_MAX];
};

enum neighbour_found {
    NEIGHBOUR_KNOWN,   /* *mac is its MAC. */
    NEIGHBOUR_AGEING,  /* The same, and it is time to ask again: the caller does so. */
    NEIGHBOUR_UNKNOWN, /* The caller asks. */
    NEIGHBOUR_AWAITED, /* Unknown, but asked for a moment ago. */
};

enum neighbour_heard { NEIGHBOUR_SAME, NEIGHBOUR_NEW, NEIGHBOUR_MOVED, NEIGHBOUR_EVICTED };

void neighbours_init(struct neighbours *neighbours, uint64_t fresh_ns);

/* Look up a destination. An answer that has the caller ask counts as asked. */
enum neighbour_found
neighbours_find(struct neighbours *neighbours, uint32_t ipv4, uint64_t now_ns, struct mac *mac);

/* A word from a neighbour: it is there, with this MAC. NEIGHBOUR_EVICTED: new, and another that was
 * still good had to go. */
enum neighbour_heard neighbours_hear(struct neighbours *neighbours,
                                     uint32_t ipv4,
                                     const struct mac *mac,
                                     uint64_t now_ns);

/* The same for one already in the table; a stranger is not taken in. */
enum neighbour_heard neighbours_hear_again(struct neighbours *neighbours,
                                           uint32_t ipv4,
                                           const struct mac *mac,
                                           uint64_t now_ns);

#endif
