/* floor_port.h: what frames cost over a port: round trips and frames a second, without an engine.
 *
 * Both ends in this process, or one of them: the server, or the client of a server elsewhere.
 */
#ifndef BENCH_FLOOR_PORT_H
#define BENCH_FLOOR_PORT_H

#include "bench/ports.h"
#include "engine/base/fault.h"
#include "engine/idle.h"

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct floor_port_config {
    const char *net; /* The spec: for several ports (bench/ports.h) when both ends are here. */
    bool serves;     /* The server alone. */
    struct nic_address to;      /* The client alone, of this server; address 0: not that. */
    struct nic_address address; /* Of the one end that is here; 0: where the kernel puts it. */
    uint32_t frame_bytes;       /* 0: 64 and 1400. */
    uint32_t depth;             /* Frames under way, to FLOOR_ECHOES_MAX; 0: one, and as many. */
    uint64_t duration_ns;       /* Of one row, or of the server, 0: until it is interrupted. */
    enum idle_mode idle;
    int server_cpu; /* -1: not pinned. */
    int client_cpu;
    uint32_t eal_argc;
    char *const *eal_argv;
    const volatile sig_atomic_t *interrupted;
};

/* Serve, or measure all rows, which stay until the next call. 0, or an enum fault_code with the
 * fault told. The server says on stderr when it serves, and what it answered. Before any thread is
 * made; once a process. */
MUST_USE int floor_port_serve(const struct floor_port_config *config, struct fault *fault);
MUST_USE int floor_port_measure(const struct floor_port_config *config, struct fault *fault);

/* What was measured, as a JSON object, the caller's; and for people. */
json_t *floor_port_json(const struct floor_port_config *config);
void floor_port_print(const struct floor_port_config *config);

#endif
