/* nic_rig.h: four ports of one driver on a segment of this process's own (tests/device/segment.h),
 * or a vhost pair on each other. A failure to open one fails the test.
 */
#ifndef TESTS_DEVICE_NIC_RIG_H
#define TESTS_DEVICE_NIC_RIG_H

#include "net/nic_dpdk_port.h"
#include "tests/device/nic_cases.h"

#include <stdbool.h>
#include <stdint.h>

#define RIG_PORT       7000u /* Of every address. */
#define RIG_HOP_ROUNDS 4000u
#define RIG_POLL_TRIES 5000u /* Of about a millisecond. */
#define RIG_TEXT_BYTES 1024u
#define RIG_SEED       1u
#define RIG_SKIPPED    77 /* The exit code that says so. */

/* af_packet, af_xdp, tap or vhost. */
extern const char *rig_driver;

bool rig_is_xdp(void);
bool rig_is_tap(void);

/* Two ports of shared memory, vhost and virtio_user, on each other; there is no segment. */
bool rig_is_vhost(void);

/* Whether large pinned bodies go out from where they are; and of which ports (bit = number). */
bool rig_is_external(void);
uint32_t rig_externals(void);

uint32_t rig_port_count(void);

/* About a millisecond. */
void rig_nap(void);

/* ---- Ports ---- */

/* What is asked of a port where nothing more is. */
extern const struct nic_port_config rig_plain;

struct nic_address rig_address(uint32_t port);

/* `options` follow the device's name; `more` is asked for beside them. 0, or -errno with the fault
 * told. */
int rig_try_open(struct nic **nic,
                 uint32_t port,
                 const char *options,
                 const struct nic_port_config *more,
                 struct fault *fault);
struct nic *rig_port_open(uint32_t port, const char *options, const struct nic_port_config *more);

/* All ports, which then know each other; and close them. */
void rig_open(struct nic_cases *cases, const struct nic_port_config *more);
void rig_close(const struct nic_cases *cases);

/* Poll all ports, `rounds` times about a millisecond apart, throwing frames away. */
void rig_poll(const struct nic_cases *cases, uint32_t rounds);

/* ---- Cases of a segment (nic_segment.c), for cmocka ---- */

void segment_case_a_link_goes_and_comes_back(void **state);
void segment_case_a_carrier_goes_and_comes_back(void **state);
void segment_case_a_peer_that_comes_back_on_another_card_is_followed(void **state);
void segment_case_a_peer_that_comes_late_is_found(void **state);
void segment_case_a_silent_neighbour_is_asked_for_again_and_forgotten(void **state);
void segment_case_ping_is_answered(void **state);
void segment_case_a_kernel_socket_and_a_port_reach_each_other(void **state);
void segment_case_a_storm_of_foreign_packets_is_counted_and_harms_nobody(void **state);
void segment_case_a_frame_behind_unwanted_ones_is_reached_by_one_burst(void **state);
void segment_case_what_the_machine_needs_is_refused_with_what_mends_it(void **state);
void segment_case_an_address_that_another_has_is_refused(void **state);
void segment_case_a_closed_port_leaves_its_interface_as_it_was(void **state);

#endif
