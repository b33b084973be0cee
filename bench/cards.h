/* cards.h: an Ethernet segment of this process's own: virtual cards in a network namespace that
 * ends with the process, so that there is nothing to clean up, whatever ends it.
 *
 *     2 cards:  p0 --- p1
 *     more:     p0 - b0 \
 *               p1 - b1  br0
 *               p2 - b2 /
 *
 * The cards have no addresses: those are the ports', and the kernel has none of its own here. Made
 * with `ip`, before any thread. Knows no ports.
 */
#ifndef BENCH_CARDS_H
#define BENCH_CARDS_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"

#include <stdbool.h>
#include <stdint.h>

#define CARDS_MAX 16u

/* Enter a network namespace of this process's own, before any thread is made. As cards_open(). */
MUST_USE int cards_enter(bool needs_root, struct fault *fault);

/* Enter one and build the segment there. Who is not root becomes root of a user namespace,
 * which is enough for all but BPF: with `needs_root` that is refused. 0, or -errno with the reason
 * in `fault`; then this process may be in the new namespace, and should end. */
MUST_USE int cards_open(uint32_t card_count, uint32_t mtu, bool needs_root, struct fault *fault);

#endif
