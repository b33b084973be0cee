/* icmp.h: the answer to an ICMP echo request (RFC 792), so that `ping` finds a node. Pure code over
 * bytes; nothing else of ICMP is heard.
 */
#ifndef NET_ICMP_H
#define NET_ICMP_H

#include "net/headers.h"

/* Turn an echo request into its reply, in place. `packet` is an IPv4 packet for `self`'s address
 * whose header was checked (headers_check() said HEADERS_NOT_UDP), of PROTOCOL_ICMP, `ipv4_bytes`
 * its length by that header. Returns the bytes to send back, 0 when it is no echo request for one
 * card, or a wrong one. Nothing is changed then. */
MUST_USE uint32_t icmp_answer(uint8_t *packet, uint32_t ipv4_bytes, const struct headers_end *self);

#endif
