/* nic_dpdk_eal.h: DPDK's environment layer (EAL), started once and kept quiet.
 *
 * EAL writes to stdout, stderr and syslog as it pleases; here all of it is caught, and its last
 * line kept for whoever must explain a failure. For net/nic_dpdk.c alone.
 */
#ifndef NET_NIC_DPDK_EAL_H
#define NET_NIC_DPDK_EAL_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"

#include <stdbool.h>
#include <stdint.h>

/* What the user wrote after `--`. */
struct eal_arguments {
    uint32_t count;
    char *const *values;
};

/* What the first opener needs. */
struct eal_needs {
    uint64_t memory_bytes;
    /* Where enough huge pages are free, they are used: for ports of devices. Else, and for ports in
     * memory, plain pages. */
    bool huge_pages;
    const char *pci; /* The one card to look for; NULL: no PCI bus. Needs huge pages. */
};

/* Start EAL without any device, or with one card. The first call of a process starts it, the later
 * ones find it there. The calling thread keeps its CPU affinity. 0, or -errno with the reason in
 * `fault`. */
MUST_USE int eal_start(const struct eal_needs *needs,
                       const struct eal_arguments *arguments,
                       struct fault *fault);

/* The last line that EAL or a driver logged, "nothing" before the first. */
const char *eal_last_words(void);

void eal_stop(void);

#endif
