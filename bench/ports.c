/* ports.c: see ports.h.
 *
 * Invariant: nics[0 .. open_count) are open, so that ports_close() can be called after any failure.
 */
#define _DEFAULT_SOURCE
#include "bench/ports.h"

#include "bench/cards.h"
#include "engine/base/assert.h"
#include "net/nic_dpdk.h"
#include "net/nic_dpdk_port.h"
#include "net/nic_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MEET_TRIES  400u
#define MEET_NAP_NS 5000000
#define LOOPBACK    0x7f000001u
#define NUMBER_MARK "%d"
#define OWN_CARDS   ":p" NUMBER_MARK

_Static_assert(VOTERS_MAX + 1 <= CARDS_MAX, "every port has a card");
_Static_assert(PORTS_CLIENT_HOST > VOTERS_MAX, "the client is no node");

/* ---- Specs. ---- */

/* "af_xdp,mtu=3400" -> "af_xdp:p%d,mtu=3400": on cards of its own. False: it names a device. */
static bool cards_fill(const char *text, char *filled, size_t bytes)
{
    size_t name_bytes = strcspn(text, ",");
    bool packet = strncmp(text, "af_packet", name_bytes) == 0 && name_bytes == strlen("af_packet");
    bool xdp = strncmp(text, "af_xdp", name_bytes) == 0 && name_bytes == strlen("af_xdp");
    if (!packet && !xdp) {
        return false;
    }
    int length =
        snprintf(filled, bytes, "%.*s%s%s", (int)name_bytes, text, OWN_CARDS, text + name_bytes);
    return length > 0 && (size_t)length < bytes;
}

bool ports_spec_parse(const char *text, struct ports_spec *spec)
{
    char filled[NIC_SPEC_BYTES];
    *spec = (struct ports_spec){.makes_cards = cards_fill(text, filled, sizeof(filled))};
    if (!nic_spec_parse(spec->makes_cards ? filled : text, &spec->spec)) {
        return false;
    }
    (void)snprintf(spec->text, sizeof(spec->text), "%s", text);
    switch (spec->spec.kind) {
    case NIC_RING:
    case NIC_UDP:
        return true;
    case NIC_AF_PACKET:
    case NIC_AF_XDP: {
        const char *mark = strstr(spec->spec.device, NUMBER_MARK);
        return mark != NULL && strchr(mark + 1, '%') == NULL;
    }
    case NIC_TAP:
    case NIC_PCI:
    case NIC_VDEV:
        return false; /* No segment joins them here. */
    }
    return false;
}

/* The spec of one of the ports. */
static struct nic_spec spec_of(const struct ports_spec *all, uint32_t number)
{
    struct nic_spec spec = all->spec;
    const char *mark = strstr(all->spec.device, NUMBER_MARK);
    ASSERT(mark != NULL);
    (void)snprintf(spec.device, sizeof(spec.device), "%.*s%u%s", (int)(mark - all->spec.device),
                   all->spec.device, number, mark + strlen(NUMBER_MARK));
    return spec;
}

bool ports_copies(const struct nic_spec *spec, struct ports_copies *copies)
{
    switch (spec->kind) {
    case NIC_RING:
    case NIC_PCI: /* The card reads and writes the buffers itself. */
        *copies = (struct ports_copies){.program = 1};
        return true;
    case NIC_UDP:
        *copies = (struct ports_copies){.kernel = 2};
        return true;
    case NIC_AF_PACKET: /* Into the socket's ring, whose pages are sent as they are, and out of it.
                         */
        *copies = (struct ports_copies){.program = 1, .driver = 2, .kernel = 1};
        return true;
    case NIC_AF_XDP: /* Without a card's own support, which no virtual card has. */
    case NIC_TAP:
        *copies = (struct ports_copies){.program = 1, .kernel = 2};
        return true;
    case NIC_VDEV:
        *copies = (struct ports_copies){.program = 1, .driver = 1};
        return strncmp(spec->device, "net_vhost", strlen("net_vhost")) == 0 ||
               strncmp(spec->device, "net_virtio_user", strlen("net_virtio_user")) == 0;
    }
    return false;
}

/* ---- Opening. ---- */

ports_hook ports_enter(enum nic_kind kind)
{
    return kind == NIC_UDP ? NULL : nic_dpdk_thread_enter;
}

ports_hook ports_leave(enum nic_kind kind)
{
    return kind == NIC_UDP ? NULL : nic_dpdk_thread_leave;
}

int ports_open_one(struct nic **nic,
                   struct mem *mem,
                   const struct ports_one *config,
                   struct fault *fault)
{
    ASSERT(config->spec->kind != NIC_RING);
    if (config->spec->kind == NIC_UDP) {
        struct nic_socket_config socket = {
            .bind = config->self,
            .peers = &config->peer,
            .peer_count = config->peer.ipv4 != 0,
            .frame_bytes_min = config->frame_bytes_min,
        };
        return nic_socket_open(nic, mem, &socket, fault);
    }
    struct nic_port_config port = {
        .spec = config->spec,
        .self = config->self,
        .frame_bytes_min = config->frame_bytes_min,
        .port_count = config->port_count,
        .eal_argc = config->eal_argc,
        .eal_argv = config->eal_argv,
    };
    return nic_dpdk_port_open(nic, &port, fault);
}

static int open_ring(struct ports *ports, const struct ports_config *config, struct fault *fault)
{
    struct nic_ring_config ring = {
        .addresses = ports->addresses,
        .count = ports->count,
        .frame_bytes_max = FRAME_BYTES_MAX,
        .slots = config->slots,
        .buffers = config->slots == 0 ? 0 : config->slots * 2 - 1,
        .eal_argc = config->eal_argc,
        .eal_argv = config->eal_argv,
    };
    int result = nic_dpdk_ring_open(ports->nics, &ring, fault);
    ports->open_count = result == 0 ? ports->count : 0;
    ports->bytes = nic_dpdk_ring_memory_bytes(&ring);
    return result;
}

/* One port after the other, each on a device of its own. */
static int open_each(struct ports *ports, const struct ports_config *config, struct fault *fault)
{
    int result = 0;
    for (uint32_t i = 0; i < ports->count && result == 0; i++) {
        struct nic_spec spec = config->spec->spec;
        if (ports->kind != NIC_UDP) {
            spec = spec_of(config->spec, i < config->node_count ? i + 1 : 0);
        }
        struct ports_one one = {
            .spec = &spec,
            .self = ports->addresses[i],
            .frame_bytes_min = config->frame_bytes_min,
            .port_count = ports->count,
            .eal_argc = config->eal_argc,
            .eal_argv = config->eal_argv,
        };
        result = ports_open_one(&ports->nics[i], &ports->mem, &one, fault);
        if (result != 0) {
            break;
        }
        ports->open_count++;
        ports->addresses[i] = ports->nics[i]->self;
        if (ports->kind != NIC_UDP) {
            ports->bytes += nic_dpdk_port_facts(ports->nics[i]).memory_bytes;
        }
    }
    return result;
}

/* Take what came, and note from whom: a bit for each port. */
static uint32_t hear(struct ports *ports, uint32_t own)
{
    uint32_t heard = 0;
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t count = nic_rx_burst(ports->nics[own], frames, RX_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < ports->count; j++) {
            heard |= nic_address_equal(frames[i].from, ports->addresses[j]) ? 1u << j : 0;
        }
    }
    nic_rx_release(ports->nics[own], frames, count);
    return heard;
}

static void greet_all(struct ports *ports, uint32_t own)
{
    static const uint8_t word[] = "thole";
    for (uint32_t i = 0; i < ports->count; i++) {
        struct nic_send send = {
            .to = ports->addresses[i], .head = word, .head_bytes = sizeof(word)};
        if (i != own) {
            (void)nic_tx_burst(ports->nics[own], &send, 1);
        }
    }
}

/* Every port hears of every other, so that no frame of the measurement waits for a MAC. */
static int meet(struct ports *ports, struct fault *fault)
{
    uint32_t heard[VOTERS_MAX + 1] = {0};
    uint32_t missing = ports->count;
    for (uint32_t i = 0; i < ports->count; i++) {
        heard[i] = 1u << i;
    }
    for (uint32_t try = 0; try < MEET_TRIES && missing > 0; try++) {
        struct timespec nap = {.tv_nsec = MEET_NAP_NS};
        missing = 0;
        for (uint32_t i = 0; i < ports->count; i++) {
            greet_all(ports, i);
        }
        (void)nanosleep(&nap, NULL);
        for (uint32_t i = 0; i < ports->count; i++) {
            heard[i] |= hear(ports, i);
            missing += heard[i] + 1 != 1u << ports->count;
        }
    }
    for (uint32_t i = 0; i < ports->count; i++) { /* The last words. */
        (void)hear(ports, i);
    }
    if (missing > 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%u of %u ports do not hear all the others: their interfaces must be on one "
                  "segment, up, with nothing between that filters (`bridge link`)",
                  missing, ports->count);
        return -EHOSTUNREACH;
    }
    return 0;
}

int ports_open(struct ports *ports, const struct ports_config *config, struct fault *fault)
{
    ASSERT(config->node_count >= 1);
    ASSERT(config->node_count <= VOTERS_MAX);
    const struct nic_spec *spec = &config->spec->spec;
    *ports = (struct ports){.kind = spec->kind, .count = config->node_count + 1};
    for (uint32_t i = 0; i < ports->count; i++) {
        uint32_t host = i < config->node_count ? i + 1 : PORTS_CLIENT_HOST;
        ports->addresses[i] = (struct nic_address){PORTS_IPV4 + host, PORTS_UDP};
        if (spec->kind == NIC_UDP) {
            ports->addresses[i] = (struct nic_address){.ipv4 = LOOPBACK};
        }
    }
    if (spec->kind == NIC_RING) {
        return open_ring(ports, config, fault);
    }
    if (spec->kind == NIC_UDP) {
        ports->bytes = ports->count * nic_socket_memory_bytes();
        if (config->eal_argc > 0) {
            fault_set(fault, FAULT_USAGE,
                      "what follows `--` is for DPDK, and udp is no port of it");
            return -EINVAL;
        }
        if (mem_open(&ports->mem, ports->bytes) != 0) {
            fault_set(fault, FAULT_ENVIRONMENT, "no memory for %u sockets", ports->count);
            return -ENOMEM;
        }
    }
    int result = 0;
    if (config->spec->makes_cards) {
        uint32_t mtu = spec->mtu == 0 ? PORT_MTU_DEFAULT : spec->mtu;
        result = cards_open(ports->count, mtu, spec->kind == NIC_AF_XDP, fault);
    }
    if (result == 0) {
        result = open_each(ports, config, fault);
    }
    return result == 0 ? meet(ports, fault) : result;
}

void ports_close(struct ports *ports)
{
    for (uint32_t i = 0; i < ports->open_count; i++) {
        nic_close(ports->nics[i]);
    }
    if (ports->open_count > 0 && ports->kind != NIC_UDP) {
        nic_dpdk_stop();
    }
    ports->open_count = 0;
    if (ports->mem.base != NULL) {
        mem_close(&ports->mem);
    }
}
