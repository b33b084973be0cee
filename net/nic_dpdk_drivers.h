/* nic_dpdk_drivers.h: whether DPDK has a driver, without starting it.
 *
 * A driver's object file carries a line about each driver in it (`pmdinfogen` puts it there); the
 * folder of drivers is the one that EAL would load.
 */
#ifndef NET_NIC_DPDK_DRIVERS_H
#define NET_NIC_DPDK_DRIVERS_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"

/* The driver of a virtual device such as "net_virtio_user0,path=/tmp/v": its name up to its number.
 * 0, or -ENODEV with `fault` set. */
MUST_USE int nic_dpdk_driver_check(const char *device, struct fault *fault);

#endif
