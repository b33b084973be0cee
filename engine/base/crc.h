/* crc.h: CRC-32C (Castagnoli), as in iSCSI and ext4: "123456789" gives 0xe3069283.
 *
 * One function for headers and bodies: ISA-L's crc32_iscsi, with the initial and final inversion
 * that it leaves out. `seed` chains: crc32c(crc32c(0, a), b) is the CRC of a followed by b.
 */
#ifndef ENGINE_BASE_CRC_H
#define ENGINE_BASE_CRC_H

#include <stdint.h>

/* CRC-32C of `count` bytes, continuing from `seed` (0 to begin). */
uint32_t crc32c(uint32_t seed, const void *bytes, uint64_t count);

#endif
