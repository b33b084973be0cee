/* floor_disk.h: the raw writer of the floors: what a durable write costs without an engine.
 *
 * About a hundred lines of liburing that share nothing with storage/, so that a slow disk layer
 * cannot flatter itself; tests/device/test_floor_disk.py holds it beside fio. Same file flags and
 * same ring flags as the engine's disk. One thread opens, writes and polls. Knows no log.
 */
#ifndef BENCH_FLOOR_DISK_H
#define BENCH_FLOOR_DISK_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "engine/base/limits.h"

#include <stdint.h>

struct floor_disk;

/* Open a file that has been written over its whole length, on the thread that will write. `event`
 * is an eventfd of the caller's that becomes readable with a completion, -1: nobody waits. On
 * success `*disk` is the caller's until floor_disk_close(). 0, or -errno with the reason in
 * `fault`. */
MUST_USE int
floor_disk_open(struct floor_disk **disk, const char *path, int event, struct fault *fault);

/* Start one durable write. `offset` and `bytes` are multiples of PAGE_BYTES within the file,
 * `buffer` is PAGE_BYTES aligned and stays as it is until the cookie comes back. At most
 * DISK_QUEUE_MAX are in flight. A write that fails stops the program: there is no floor on a broken
 * disk. */
void floor_disk_write(
    struct floor_disk *disk, uint64_t offset, const void *buffer, uint32_t bytes, uint64_t cookie);

/* Take the cookies of up to `cookies_max` completed writes; never blocks. */
uint32_t floor_disk_poll(struct floor_disk *disk, uint64_t *cookies, uint32_t cookies_max);

/* Sleep until one of the writes in flight (there must be one) has completed. */
void floor_disk_wait(struct floor_disk *disk);

/* Close after every write has completed. */
void floor_disk_close(struct floor_disk *disk);

#endif
