/* survey.h: what there is to know of this machine's interfaces, for `thole net` and `thole doctor`.
 *
 * Looks and changes nothing, and needs no rights; what the kernel does not tell is left unknown.
 * Not for the data path. The refusals are those of a start, from the same functions:
 * net/interface.h, net/xdp.h.
 */
#ifndef NET_SURVEY_H
#define NET_SURVEY_H

#include "net/interface.h"
#include "net/xdp.h"

#define SURVEY_INTERFACES_MAX 256u
#define SURVEY_ADDRESSES_MAX  16u
#define SURVEY_ADDRESS_BYTES  52u /* An IPv6 address and its prefix. */
#define SURVEY_WORD_BYTES     32u
#define SURVEY_XDP            INTERFACE_MATTERS /* The matter after those of net/interface.h. */
#define SURVEY_MATTERS        (SURVEY_XDP + 1u)

/* What a driver can do with XDP (kernel: Documentation/netlink/specs/netdev.yaml). */
#define SURVEY_XDP_BASIC     1u
#define SURVEY_XDP_REDIRECT  2u
#define SURVEY_XDP_ZERO_COPY 8u

struct survey_offload {
    const char *name;
    bool on;
};
#define SURVEY_OFFLOADS 6u

struct survey_statistics {
    uint64_t rx_packets, tx_packets;
    uint64_t rx_bytes, tx_bytes;
    uint64_t rx_errors, tx_errors;
    uint64_t rx_dropped, tx_dropped;
};

struct survey_interface {
    struct interface interface; /* Its name, and what interface_look() finds. */
    bool is_ethernet;
    bool is_up;
    bool is_running; /* Up, with a carrier. */
    bool has_default_route;
    char kind[SURVEY_WORD_BYTES];   /* "veth", "bridge", ...; "": a device of its own. */
    char driver[SURVEY_WORD_BYTES]; /* "": it does not say. */
    char bus[SURVEY_WORD_BYTES];
    uint32_t rx_queues; /* 0: not known. */
    uint32_t tx_queues;
    uint32_t address_count;
    char addresses[SURVEY_ADDRESSES_MAX][SURVEY_ADDRESS_BYTES]; /* "10.0.0.1/24" */
    struct xdp_state xdp;
    const char *xdp_mode;    /* Of the program: "native", "generic", "offloaded" or "several". */
    bool xdp_features_known; /* Kernels from 6.3 on say. */
    uint64_t xdp_features;
    struct survey_offload offloads[SURVEY_OFFLOADS];
    struct survey_statistics statistics;
};

/* One port that an interface could carry, and what a start of it here would refuse. */
struct survey_port {
    bool is_there; /* The interface; if not, only its state was asked for. */
    uint32_t fault_count;
    struct fault faults[SURVEY_MATTERS]; /* By matter; code 0: nothing against it. */
};

/* All about one interface. 0, or -ENODEV. */
MUST_USE int survey_interface(const char *name, struct survey_interface *found);

/* The names of all interfaces, in the order of their numbers. Returns how many. */
uint32_t survey_names(char names[SURVEY_INTERFACES_MAX][INTERFACE_NAME_BYTES]);

/* Ask of an interface what a start with this spec, af_packet or af_xdp, would ask. `found` is of
 * the spec's device, or NULL when there is none. */
void survey_port(const struct nic_spec *spec,
                 struct nic_address self,
                 const struct survey_interface *found,
                 struct survey_port *port);

/* How the driver takes an XDP program: "native, zero copy", "native", "generic only", or "unknown".
 */
const char *survey_xdp_support(const struct survey_interface *found);

#endif
