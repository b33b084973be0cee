/* silence.c: see silence.h. */
#include "engine/client/silence.h"

#include "engine/base/units.h"

#include <stdio.h>

const char *
silence_addresses(const struct config *config, uint8_t node, char text[SILENCE_ADDRESSES_BYTES])
{
    uint32_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < config->node_count && at < SILENCE_ADDRESSES_BYTES; i++) {
        struct nic_address address = config->nodes[i].address;
        if (node == 0 || config->nodes[i].id == node) {
            at += (uint32_t)snprintf(text + at, SILENCE_ADDRESSES_BYTES - at, "%s%u.%u.%u.%u:%u",
                                     at == 0 ? "" : ", ", address.ipv4 >> 24,
                                     address.ipv4 >> 16 & 255u, address.ipv4 >> 8 & 255u,
                                     address.ipv4 & 255u, address.port);
        }
    }
    return text;
}

void silence_tell(const struct config *config,
                  const char *path,
                  const struct silence *silence,
                  struct fault *fault)
{
    char addresses[SILENCE_ADDRESSES_BYTES];
    char waited[UNITS_TEXT_BYTES];
    const char *file = path == NULL ? "FILE" : path;
    silence_addresses(config, silence->node, addresses);
    units_format_duration(silence->waited_ns, waited);
    if (silence->heard && silence->node != 0) {
        fault_set(fault, FAULT_UNAVAILABLE,
                  "node %u at %s answers, but for %s without what was asked: it is behind, or its "
                  "disk is. Ask the leader instead, by naming no node",
                  silence->node, addresses, waited);
    } else if (silence->heard && silence->stranger != 0) {
        fault_set(fault, FAULT_UNAVAILABLE,
                  "node %u leads, by the word of who answers at %s, but %.200s has no [node %u]: "
                  "add it, with its address",
                  silence->stranger, addresses, path == NULL ? "the list of addresses" : path,
                  silence->stranger);
    } else if (silence->heard) {
        fault_set(fault, FAULT_UNAVAILABLE,
                  "nodes answer, but for %s none of them leads: a majority of %u must run and "
                  "reach each other, at the very first start all. See who is missing with "
                  "`thole status -c %.100s`",
                  waited, config->node_count, file);
    } else {
        fault_set(fault, FAULT_UNAVAILABLE,
                  "no answer from %s for %s: nothing runs there, or not with this [cluster] id. "
                  "Start a node with `thole start -c %.100s --node N`",
                  addresses, waited, file);
    }
}
