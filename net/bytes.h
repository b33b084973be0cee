/* bytes.h: integers in the network's byte order, at any address. */
#ifndef NET_BYTES_H
#define NET_BYTES_H

#include "engine/base/assert.h"

#include <stdint.h>

static inline uint16_t bytes_load16(const uint8_t *at)
{
    return (uint16_t)((uint32_t)at[0] << 8 | at[1]);
}

static inline uint32_t bytes_load32(const uint8_t *at)
{
    return (uint32_t)bytes_load16(at) << 16 | bytes_load16(at + 2);
}

static inline void bytes_store16(uint8_t *at, uint32_t value)
{
    ASSERT(value <= UINT16_MAX);
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void bytes_store32(uint8_t *at, uint32_t value)
{
    bytes_store16(at, value >> 16);
    bytes_store16(at + 2, value & UINT16_MAX);
}

/* The Internet's one's complement sum (RFC 1071), folded to 16 bits; 0xffff over bytes that hold
 * their own right checksum. Up to 64 KiB. */
static inline uint32_t bytes_sum(const uint8_t *at, uint32_t count)
{
    ASSERT(count <= UINT16_MAX);
    uint32_t sum = 0;
    for (uint32_t i = 0; i + 1 < count; i += 2) {
        sum += bytes_load16(at + i);
    }
    if (count % 2 != 0) {
        sum += (uint32_t)at[count - 1] << 8;
    }
    sum = (sum & UINT16_MAX) + (sum >> 16);
    return (sum & UINT16_MAX) + (sum >> 16);
}

#endif
