/* xdp.h: the XDP program on an interface: whose it is, and taking away one that we left behind.
 *
 * DPDK's AF_XDP driver attaches the default program of libxdp and detaches it at its end; after a
 * kill -9 the program stays, and a new start must not stumble over it. So its number stands in a
 * file for as long as the port is open. A program with that number is ours, any other one is not
 * touched. The file is locked: one process an interface. A file of a namespace that has ended is
 * taken away by whoever comes next.
 */
#ifndef NET_XDP_H
#define NET_XDP_H

#include "engine/base/fault.h"
#include "net/interface.h"

#include <stdint.h>

#define XDP_NAME_BYTES 16u

struct xdp_claim {
    int fd; /* -1: none. */
    uint32_t index;
    char path[80];
};

/* What is on an interface, whoever put it there. */
struct xdp_state {
    uint32_t id;               /* Of the program; 0: none. */
    char name[XDP_NAME_BYTES]; /* "?": this process may not ask. */
    bool ours;                 /* It is noted as left, or being used, by a process of ours. */
    bool unknown;              /* A note is there, and this process may not read it. */
    long process;              /* Of ours, that has the interface now; 0: none. */
};

/* Look, and change nothing. Needs no rights; without them some is unknown. */
void xdp_look(struct xdp_state *state, uint32_t index);

/* What xdp_claim() would refuse. 0, or -EBUSY with `fault` set. */
MUST_USE int xdp_check(const struct xdp_state *state, const char *interface, struct fault *fault);

/* Claim the interface, and detach what an ended process of ours left on it. 0, or -errno with
 * `fault` set: another process has it, or another's program is attached. */
MUST_USE int
xdp_claim(struct xdp_claim *claim, const struct interface *interface, struct fault *fault);

/* The driver has attached: write down what. */
void xdp_note(struct xdp_claim *claim);

/* The port is closed: see that our program is gone, and give the interface free. */
void xdp_release(struct xdp_claim *claim);

/* Take away the notes of ended processes whose program is gone with its interface, as when a
 * network namespace ends; every claim does so. How many are left of these namespaces (inode
 * numbers). */
uint32_t xdp_sweep(const uint64_t *namespaces, uint32_t namespace_count);

/* What libbpf or libxdp warned of last; "" before. From the first claim on they print nothing. */
const char *xdp_last_words(void);

#endif
