/* netlink.h: one question to the kernel over netlink, and the attributes of its answer.
 *
 * Asks only, and only for one object: changes nothing, needs no rights. Knows neither links nor
 * drivers: net/survey.c does.
 */
#ifndef NET_NETLINK_H
#define NET_NETLINK_H

#include "engine/base/assert.h"

#include <linux/netlink.h>
#include <stdint.h>

#define NETLINK_ANSWER_BYTES 32768u
#define NETLINK_ASK_BYTES    256u

/* A question: its kind and what stands behind the header, the attributes included. */
struct netlink_question {
    int protocol; /* NETLINK_ROUTE, NETLINK_GENERIC. */
    uint16_t type;
    uint32_t bytes;
    uint8_t body[NETLINK_ASK_BYTES];
};

/* Add an attribute to the question. */
void netlink_add(struct netlink_question *question,
                 uint16_t type,
                 const void *value,
                 uint32_t bytes);

/* Ask, and wait for the one message of the answer. `answer` is where its body is copied to. Returns
 * the bytes of the body, or -errno. */
MUST_USE int netlink_ask(const struct netlink_question *question,
                         uint8_t answer[NETLINK_ANSWER_BYTES]);

/* The attribute of this type among `bytes` bytes of attributes, NULL: none. */
const struct nlattr *netlink_find(const uint8_t *attributes, uint32_t bytes, uint16_t type);

/* The payload of an attribute, which has at least `bytes` bytes; NULL: it has fewer, or is NULL. */
const void *netlink_value(const struct nlattr *attribute, uint32_t bytes);

/* Bytes of its payload. */
static inline uint32_t netlink_value_bytes(const struct nlattr *attribute)
{
    ASSERT(attribute->nla_len >= sizeof(*attribute));
    return attribute->nla_len - (uint32_t)sizeof(*attribute);
}

#endif
