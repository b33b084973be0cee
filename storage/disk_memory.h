/* disk_memory.h: the disk seam over plain memory: `--durability memory`, and tests.
 *
 * Never durable, and says so. A request is carried out when it is submitted and completes at the
 * next poll, in order. There is no descriptor to wait on: a poller naps instead.
 */
#ifndef STORAGE_DISK_MEMORY_H
#define STORAGE_DISK_MEMORY_H

#include "engine/base/mem.h"
#include "storage/disk.h"

/* What disk_memory_open() takes from its `mem` for a disk of `bytes`. */
uint64_t disk_memory_memory_bytes(uint64_t bytes);

/* A zeroed disk of `bytes` (a multiple of PAGE_BYTES, > 0). It lives in `mem`. */
struct disk *disk_memory_open(struct mem *mem, uint64_t bytes);

#endif
