/* switch.h: the lab's network: its bridge and pairs, and the faults in it.
 *
 * Faults stay until they are ended. They are the kernel's own: what is in force is read from its
 * tables, not remembered. Sets of hosts are bits by their number in lab->hosts.
 */
#ifndef ENGINE_LAB_SWITCH_H
#define ENGINE_LAB_SWITCH_H

#include "engine/lab/lab.h"

#include <jansson.h>

_Static_assert(LAB_HOSTS_MAX <= 64, "a set of hosts is one word");

/* Join the hosts; each but those in `without_address` gives its address to its kernel. Returns when
 * the bridge forwards between all. 0, or -errno with the fault told; so below. */
MUST_USE int switch_make(const struct lab *lab, uint64_t without_address, struct fault *fault);

/* No frame between these hosts and those any more, in either direction. */
MUST_USE int switch_cut(const struct lab *lab, uint64_t ones, uint64_t others, struct fault *fault);

/* No IP packet from these hosts to those any more; ARP still goes both ways, because a lost answer
 * to it would stop the other direction too. */
MUST_USE int
switch_cut_one_way(const struct lab *lab, uint64_t sources, uint64_t targets, struct fault *fault);

/* End every cut. Loss and repetition stay. */
MUST_USE int switch_heal(const struct lab *lab, struct fault *fault);

/* Of all IP packets between hosts lose so many of a million, at random; 0 ends it. */
MUST_USE int switch_lose(const struct lab *lab, uint64_t ppm, struct fault *fault);

/* Send so many of a million IP packets once more, at random; 0 ends it. A copy may be copied again,
 * though the kernel does not let that go deep. */
MUST_USE int switch_repeat(const struct lab *lab, uint64_t ppm, struct fault *fault);

/* Pull a host's plug, and put it back after a time. */
MUST_USE int
switch_flap(const struct lab *lab, uint32_t host, uint64_t down_ns, struct fault *fault);

/* {cuts: [[one, other]], one_way_cuts: [[source, target]], lose_percent, repeat_percent, counted:
 * {cut, one_way_cut, lost, repeated}}, of which `counted` are packets since the beginning. The
 * caller owns it; NULL with the fault told. */
json_t *switch_faults(const struct lab *lab, struct fault *fault);

#endif
