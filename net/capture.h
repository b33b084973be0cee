/* capture.h: the seam between a port and whoever writes down what passes through it.
 *
 * A port that has a capture tells it of every packet, on the thread that polls; the capture copies
 * and returns at once. What it cannot take is counted and not captured: it never makes a port wait.
 * Ports of DPDK have packets to show (net/nic_dpdk_capture.h); others show frames, in front of
 * which the capture puts headers of its own making.
 */
#ifndef NET_CAPTURE_H
#define NET_CAPTURE_H

#include "engine/base/counter.h"
#include "net/nic.h"

/* clang-format off */
#define CAPTURE_COUNTERS(X) X(packets) X(dropped_behind) X(dropped_full)
/* clang-format on */
COUNTERS_DECLARE(capture, CAPTURE_COUNTERS);

struct capture {
    /* Frames that the port has handed up, before they are released. */
    void (*received)(struct capture *capture,
                     const struct nic *nic,
                     const struct nic_frame *frames,
                     uint32_t count);
    /* Frames that the port has taken. */
    void (*sent)(struct capture *capture,
                 const struct nic *nic,
                 const struct nic_send *sends,
                 uint32_t count);
    struct capture_counters counters; /* Of the thread that polls. */
};

#endif
