/* nic_entries.h: entries of the log through a port, as a stream sends them: real entries, fragments
 * by the shipped codec and outbox, put together and checked as a follower does.
 */
#ifndef TESTS_DEVICE_NIC_ENTRIES_H
#define TESTS_DEVICE_NIC_ENTRIES_H

#include "tests/device/nic_cases.h"

/* From the first port to the second; `pinned`: with leave to read them where they are. */
void nic_case_entries_of_every_fragment_count_arrive_whole(const struct nic_cases *cases,
                                                           bool pinned);

#endif
