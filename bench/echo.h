/* echo.h: a port and nothing else: frames that come back, for `thole floor net`.
 *
 * The same nic code as the node's and the same poll loop, without Raft and disk. The server answers
 * frames of the floor (bench/floor_frame.h), each by one as long, and nothing else: it reflects
 * nobody's other frames and makes none longer. The client keeps a number of frames under way and
 * counts as lost what does not come back. Knows no specs and no devices.
 */
#ifndef BENCH_ECHO_H
#define BENCH_ECHO_H

#include "bench/floor_frame.h"
#include "engine/base/histogram.h"
#include "engine/idle.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define ECHO_BYTES_MIN FLOOR_FRAME_BYTES_MIN
#define ECHO_LOST_NS   100000000u /* An answer that takes longer is none. */

struct echo_server {
    struct nic *nic;
    uint64_t answered; /* Frames. */
    uint64_t now_ns;   /* Of the last poll. */
    bool working;
};

/* Tasks of the poll loop (struct core_task); `context` is a struct echo_server. */
uint32_t echo_server_poll(void *context, uint64_t now_ns);
bool echo_server_is_working(const void *context);
uint64_t echo_server_deadline_ns(const void *context);

struct echo_client {
    struct nic *nic;
    struct nic_address to;
    struct idle idle;
    const volatile sig_atomic_t *interrupted;
    uint64_t next_id;
    uint64_t ids[FLOOR_ECHOES_MAX]; /* Under way, by place; 0: none. */
    uint64_t began_ns[FLOOR_ECHOES_MAX];
};

/* What one measurement found. */
struct echo_row {
    uint32_t frame_bytes; /* In: of each, ECHO_BYTES_MIN to what the port carries. */
    uint32_t depth;       /* In: frames under way, 1 to FLOOR_ECHOES_MAX. */
    uint64_t elapsed_ns;
    uint64_t lost;
    struct histogram latency;
};

/* Until the first answer, at most `patience_ns`: both ends then know each other's MAC. False: none
 * came. */
MUST_USE bool echo_meet(struct echo_client *client, uint64_t patience_ns);

/* Fill a row. */
void echo_measure(struct echo_client *client, uint64_t duration_ns, struct echo_row *row);

#endif
