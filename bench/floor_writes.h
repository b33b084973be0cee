/* floor_writes.h: what a durable write costs on a filesystem, at several sizes and depths.
 *
 * The raw writer of the commit floor alone: whole pages onto blocks that were written before, a
 * completion meaning durable. A number of writes is kept in flight; each one's time runs from its
 * submission to the poll that finds it done.
 */
#ifndef BENCH_FLOOR_WRITES_H
#define BENCH_FLOOR_WRITES_H

#include "bench/result.h"
#include "engine/base/fault.h"
#include "engine/idle.h"

#include <signal.h>
#include <stdint.h>

struct floor_writes_config {
    const char *folder;
    uint64_t duration_ns; /* Of one row. */
    enum idle_mode idle;
    const volatile sig_atomic_t *interrupted;
};

/* Measure all rows, which stay until the next call. 0, or an enum fault_code with the fault told.
 * Leaves no file. */
MUST_USE int floor_writes_measure(const struct floor_writes_config *config, struct fault *fault);

/* The rows as a JSON list, the caller's; and for people. */
json_t *floor_writes_json(void);
void floor_writes_print(const struct result_machine *machine);

#endif
