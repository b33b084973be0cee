/* crc.c: CRC-32C by ISA-L, with the inversions that it leaves out. Knows no layout of any kind. */
#include "engine/base/crc.h"

#include "engine/base/assert.h"

#include <isa-l/crc.h>
#include <stddef.h>

/* ISA-L counts in int: longer input goes in pieces. */
#define CRC_PIECE_BYTES (1u << 30)

uint32_t crc32c(uint32_t seed, const void *bytes, uint64_t count)
{
    ASSERT(bytes != NULL || count == 0);
    /* crc32_iscsi only reads, but its parameter lacks the const. */
    unsigned char *at = (unsigned char *)(uintptr_t)bytes;
    uint32_t state = ~seed;
    while (count > CRC_PIECE_BYTES) {
        state = crc32_iscsi(at, (int)CRC_PIECE_BYTES, state);
        at += CRC_PIECE_BYTES;
        count -= CRC_PIECE_BYTES;
    }
    return count == 0 ? ~state : ~crc32_iscsi(at, (int)count, state);
}
