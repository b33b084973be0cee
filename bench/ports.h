/* ports.h: the ports of one process: nodes and a client, or the two ends of an echo.
 *
 * One spec for all of them. `ring` and `udp` (kernel sockets on loopback) need nothing else. The
 * device of the others names one interface for each port by its number: in `af_packet:veth%d` the
 * nodes have veth1, veth2 and so on, and the client veth0. `af_packet` and `af_xdp` without a
 * device stand on virtual cards that are made for this run (bench/cards.h). Knows neither
 * replicas nor floors.
 */
#ifndef BENCH_PORTS_H
#define BENCH_PORTS_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "net/nic.h"
#include "net/spec.h"

#include <stdbool.h>
#include <stdint.h>

#define PORTS_FORM                                                                                 \
    "ring, udp, af_packet or af_xdp (virtual cards of its own), or with one interface a port, "    \
    "where %d is 1 and up for the nodes and 0 for the client: af_packet:IF%d, af_xdp:IF%d"
#define PORTS_IPV4        0xc6120000u /* 198.18.0.N: for benchmarks, RFC 2544. */
#define PORTS_CLIENT_HOST 100u
#define PORTS_UDP         7000u

/* A spec for several ports. */
struct ports_spec {
    struct nic_spec spec; /* Of all; the device has its %d. */
    bool makes_cards;
    char text[NIC_SPEC_BYTES]; /* As the user wrote it. */
};

/* False: not of these forms. */
MUST_USE bool ports_spec_parse(const char *text, struct ports_spec *spec);

struct ports_config {
    const struct ports_spec *spec;
    uint32_t node_count; /* And one more port, the client's. */
    uint32_t slots;      /* Frames waiting at one port of a ring; 0: as by default. */
    uint32_t frame_bytes_min;
    uint32_t eal_argc; /* For DPDK, verbatim. */
    char *const *eal_argv;
};

struct ports {
    enum nic_kind kind;
    uint32_t count;
    uint32_t open_count;
    struct nic *nics[VOTERS_MAX + 1]; /* The last one is the client's. */
    struct nic_address addresses[VOTERS_MAX + 1];
    struct mem mem; /* Of sockets. */
    uint64_t bytes; /* Of memory, for all of them. */
};

/* Open them all, before any thread is made. 0, or -errno with the reason in `fault`; call
 * ports_close() in both cases. */
MUST_USE int
ports_open(struct ports *ports, const struct ports_config *config, struct fault *fault);
void ports_close(struct ports *ports);

/* Open one port at `self`, of whatever kind but NIC_RING, in `mem` if it is a socket. */
struct ports_one {
    const struct nic_spec *spec;
    struct nic_address self; /* With NIC_UDP, 0: anywhere, and port 0: the kernel's choice. */
    struct nic_address peer; /* Whom it will send to; address 0: not known. */
    uint32_t frame_bytes_min;
    uint32_t port_count; /* Of this process, in all. */
    uint32_t eal_argc;
    char *const *eal_argv;
};
MUST_USE int ports_open_one(struct nic **nic,
                            struct mem *mem,
                            const struct ports_one *config,
                            struct fault *fault);

/* What a poll loop does first and last on its thread, NULL: nothing (struct core_config). */
typedef void (*ports_hook)(void);
ports_hook ports_enter(enum nic_kind kind);
ports_hook ports_leave(enum nic_kind kind);

/* How often a byte of payload is copied between the sender's memory and where the receiver reads
 * it: by this program, by the port's driver, and by the kernel. False: not known of this kind. */
struct ports_copies {
    uint32_t program;
    uint32_t driver;
    uint32_t kernel;
};
MUST_USE bool ports_copies(const struct nic_spec *spec, struct ports_copies *copies);

#endif
