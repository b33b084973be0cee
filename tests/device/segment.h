/* segment.h: an Ethernet segment of this test's own: pairs of virtual cards on a bridge, in a
 * network namespace that ends with the process. Outside of it nothing is touched.
 *
 *     p0 to p3, where nodes stand | b0 to b3 - br0 (the kernel, 10.9.0.100) - b4 | p4, to spoil it
 *                                                                           - b5 | p5, to spare
 */
#ifndef TESTS_DEVICE_SEGMENT_H
#define TESTS_DEVICE_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#define SEGMENT_KERNEL_IPV4 0x0a090064u
#define SEGMENT_SPARE       5u

/* Enter a namespace and build it there, before any thread is made. NULL, or why it cannot be: with
 * `needs_root` not without being root outside. */
const char *segment_open(bool needs_root);

/* Run `ip` with these words. True when it succeeded. */
bool segment_ip(const char *words);

/* What `ip` prints of an interface, counters left out. */
void segment_describe(const char *interface, char *text, uint32_t bytes);

/* A packet socket on p4: what is sent through it every port sees. */
int segment_spoiler_open(void);

#endif
