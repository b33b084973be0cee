/* nic_cases.h: what every port must do, whatever it is made of: the contract of net/nic.h.
 *
 * A case gets open ports that reach each other and themselves, and leaves nothing waiting at them
 * but where it says so. It asks for no more than the contract gives: what was sent may still be
 * under way, so receivers poll, a bounded number of times.
 */
#ifndef TESTS_DEVICE_NIC_CASES_H
#define TESTS_DEVICE_NIC_CASES_H

#include "net/nic.h"

#define NIC_CASES_PORTS 4u

struct nic_cases {
    struct nic *nics[NIC_CASES_PORTS];
    uint32_t count;     /* 0: NIC_CASES_PORTS; or 2, the ends of a link. */
    bool in_order;      /* The port promises more than the contract. */
    bool not_to_itself; /* It carries nothing back to its sender: a segment does not. */
    uint32_t external; /* Ports (bit = number) that send large pinned bodies from where they are. */
    uint32_t storm_rounds;
    uint32_t hop_rounds;
    void (*thread_enter)(void); /* Of threads of the storm; NULL: nothing to do. */
    void (*thread_leave)(void);
};

/* One frame, or a failed test when none comes. */
void nic_case_receive(struct nic *nic, struct nic_frame *frame);

/* Throw away what waits at every port. */
void nic_case_drain(const struct nic_cases *cases);

void nic_case_fill(uint8_t *bytes, uint32_t count, uint32_t salt);

/* Let every port reach every other one, however many frames that costs: on a segment the first ones
 * are lost to the question for a MAC. */
void nic_case_meet(const struct nic_cases *cases);

/* Whether all pages are free again, after polls of the sender at the most. */
void nic_case_expect_unpinned(const struct nic_cases *cases, const uint16_t *pages, uint32_t count);

/* Each of them, byte by byte; with leave to read the body later, and without. */
void nic_case_every_frame_size_arrives_whole(const struct nic_cases *cases);
void nic_case_a_mixed_burst_reaches_each_destination(const struct nic_cases *cases);

/* More frames than anything on the way holds, to a port that does not poll: some are lost, none is
 * broken, what was counted is what was said, and afterwards all is as before. */
void nic_case_an_overflow_loses_frames_and_recovers(const struct nic_cases *cases);

/* Frames may still wait at the ports after it. Returns how many were sent and not received. */
uint64_t nic_case_two_threads_send_to_each_other(const struct nic_cases *cases, uint64_t seed);

/* What sending costs, copied and pinned, by size. */
void nic_case_print_fan_out(const struct nic_cases *cases, const char *name);

void nic_case_print_hops(const struct nic_cases *cases, const char *name);

#endif
