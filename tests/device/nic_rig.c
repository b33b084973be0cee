/* nic_rig.c: see nic_rig.h. */
#include "tests/device/nic_rig.h"

#include "net/nic_dpdk.h"
#include "tests/device/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define STORM_ROUNDS   1000u
#define EAL_MEMORY_MIB "256"
#define VHOST_PATH     "test_nic_vhost.socket"

const char *rig_driver = "af_packet";
static char *eal_argv[] = {(char[]){"-m"}, (char[]){EAL_MEMORY_MIB}};

bool rig_is_xdp(void)
{
    return strcmp(rig_driver, "af_xdp") == 0;
}

bool rig_is_tap(void)
{
    return strcmp(rig_driver, "tap") == 0;
}

/* Two ports of shared memory, vhost and virtio_user, on each other; there is no segment. */
bool rig_is_vhost(void)
{
    return strcmp(rig_driver, "vhost") == 0;
}

/* Whether large pinned bodies go out from where they are. */
bool rig_is_external(void)
{
    return !rig_is_xdp();
}

uint32_t rig_port_count(void)
{
    return rig_is_vhost() ? 2 : NIC_CASES_PORTS;
}

uint32_t rig_externals(void)
{
    uint32_t all = rig_is_vhost() ? 1u : (1u << NIC_CASES_PORTS) - 1; /* virtio_user copies. */
    return rig_is_external() ? all : 0;
}

void rig_nap(void)
{
    struct timespec time = {.tv_nsec = 1000000};
    (void)nanosleep(&time, NULL);
}

/* ---- Ports ---- */

struct nic_address rig_address(uint32_t port)
{
    return (struct nic_address){.ipv4 = 0x0a090001u + port, .port = RIG_PORT};
}

int rig_try_open(struct nic **nic,
                 uint32_t port,
                 const char *options,
                 const struct nic_port_config *more,
                 struct fault *fault)
{
    char text[NIC_SPEC_BYTES];
    struct nic_spec spec;
    (void)snprintf(text, sizeof(text), "%.16s:%c%u%.32s", rig_driver, rig_is_tap() ? 't' : 'p',
                   port, options);
    if (rig_is_vhost()) {
        (void)snprintf(text, sizeof(text), "vdev:%s=" VHOST_PATH,
                       port == 0 ? "net_vhost0,iface" : "net_virtio_user0,path");
    }
    assert_true(nic_spec_parse(text, &spec));
    struct nic_port_config config = *more;
    config.spec = &spec;
    config.self = config.self.ipv4 == 0 ? rig_address(port) : config.self;
    config.eal_argc = 2;
    config.eal_argv = eal_argv;
    return nic_dpdk_port_open(nic, &config, fault);
}

struct nic *rig_port_open(uint32_t port, const char *options, const struct nic_port_config *more)
{
    struct nic *nic = NULL;
    struct fault fault = {0};
    if (rig_try_open(&nic, port, options, more, &fault) != 0) {
        fail_msg("%s", fault.text);
    }
    if (rig_is_tap()) { /* The kernel's end of it goes to the bridge. */
        char words[RIG_TEXT_BYTES];
        (void)snprintf(words, sizeof(words), "link set t%u addrgenmode none master br0 up", port);
        assert_true(segment_ip(words));
    }
    return nic;
}

const struct nic_port_config rig_plain;

void rig_open(struct nic_cases *cases, const struct nic_port_config *more)
{
    *cases = (struct nic_cases){
        .not_to_itself = true,
        .external = rig_externals(),
        .count = rig_is_vhost() ? 2 : 0,
        .storm_rounds = STORM_ROUNDS,
        .hop_rounds = RIG_HOP_ROUNDS,
        .thread_enter = nic_dpdk_thread_enter,
        .thread_leave = nic_dpdk_thread_leave,
    };
    for (uint32_t i = 0; i < rig_port_count(); i++) {
        cases->nics[i] = rig_port_open(i, "", more);
    }
    nic_case_meet(cases);
}

void rig_close(const struct nic_cases *cases)
{
    nic_case_drain(cases);
    for (uint32_t i = 0; i < rig_port_count(); i++) {
        nic_close(cases->nics[rig_port_count() - 1 - i]); /* Before the one it is on. */
    }
}

/* Poll all ports, `rounds` times about a millisecond apart, throwing frames away. */
void rig_poll(const struct nic_cases *cases, uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++) {
        nic_case_drain(cases);
        rig_nap();
    }
}
