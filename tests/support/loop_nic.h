/* loop_nic.h: a perfect network in memory for unit tests: every frame arrives once, in order. A
 * test may drop frames by a predicate. */
#ifndef TESTS_SUPPORT_LOOP_NIC_H
#define TESTS_SUPPORT_LOOP_NIC_H

#include "engine/base/prng.h"
#include "net/nic.h"

#include <stdbool.h>
#include <stdint.h>

#define LOOP_PORTS_MAX  8u
#define LOOP_FRAMES_MAX 4096u

struct loop_frame {
    struct nic_address from;
    uint32_t bytes;
    uint8_t data[FRAME_BYTES_MAX];
};

struct loop_net;

struct loop_port {
    struct nic nic;
    struct loop_net *net;
    struct loop_frame *frames; /* LOOP_FRAMES_MAX, a ring. */
    uint32_t head;
    uint32_t tail;
};

struct loop_net {
    uint32_t port_count;
    struct loop_port ports[LOOP_PORTS_MAX];
    /* Return true to lose the frame. NULL: none is lost. */
    bool (*lose)(void *context,
                 struct nic_address from,
                 struct nic_address to,
                 const uint8_t *data);
    void *context;
    bool shuffled; /* A frame may overtake up to three others; one in ten comes twice. */
    struct prng prng;
};

/* Ports have addresses 10.0.0.1, 10.0.0.2, ..., port 7000. */
void loop_net_open(struct loop_net *net, uint32_t port_count, uint32_t frame_bytes_max);
void loop_net_close(struct loop_net *net);

#endif
