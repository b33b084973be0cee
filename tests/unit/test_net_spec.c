/* test_net_spec.c: what a user writes to choose a port: good forms taken apart, others refused. */
#include "net/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void every_good_form_is_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct nic_spec spec;
    } cases[] = {
        {"ring", {NIC_RING, "", 0, 0, false}},
        {"udp", {NIC_UDP, "", 0, 0, false}},
        {"af_packet:eth0", {NIC_AF_PACKET, "eth0", 0, 0, false}},
        {"af_packet:eth0.7,force", {NIC_AF_PACKET, "eth0.7", 0, 0, true}},
        {"af_packet:abcdefghijklmno", {NIC_AF_PACKET, "abcdefghijklmno", 0, 0, false}},
        {"af_xdp:veth1,q=2", {NIC_AF_XDP, "veth1", 2, 0, false}},
        {"af_xdp:veth1,mtu=3400,force,q=63", {NIC_AF_XDP, "veth1", 63, 3400, true}},
        {"tap:thole0,mtu=9000", {NIC_TAP, "thole0", 0, 9000, false}},
        {"pci:0000:03:00.0", {NIC_PCI, "0000:03:00.0", 0, 0, false}},
        {"pci:0000:03:00.0,mtu=576", {NIC_PCI, "0000:03:00.0", 0, 576, false}},
        {"vdev:net_null0", {NIC_VDEV, "net_null0", 0, 0, false}},
        {"vdev:net_virtio_user0,path=/tmp/v,mtu=9000",
         {NIC_VDEV, "net_virtio_user0,path=/tmp/v,mtu=9000", 0, 0, false}},
    };
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nic_spec spec;
        assert_true(nic_spec_parse(cases[i].text, &spec));
        assert_int_equal(spec.kind, cases[i].spec.kind);
        assert_string_equal(spec.device, cases[i].spec.device);
        assert_int_equal(spec.queue, cases[i].spec.queue);
        assert_int_equal(spec.mtu, cases[i].spec.mtu);
        assert_int_equal(spec.force, cases[i].spec.force);
    }
}

static void every_other_form_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        " ring",
        "ring ",
        "ring:0",
        "udp:eth0",
        "dpdk",
        "af_packet",
        "af_packet:",
        "af_packet:,force",
        "af_packet:eth 0",
        "af_packet:../eth0",
        "af_packet:.",
        "af_packet:..",
        "af_packet:abcdefghijklmnop",
        "af_packet:eth0,",
        "af_packet:eth0,,force",
        "af_packet:eth0,force,force",
        "af_packet:eth0,q=1",
        "af_packet:eth0,forced",
        "af_xdp:eth0,q=",
        "af_xdp:eth0,q=-1",
        "af_xdp:eth0,q=64",
        "af_xdp:eth0,q=1x",
        "af_xdp:eth0,mtu=575",
        "af_xdp:eth0,mtu=9001",
        "af_xdp:eth0,mtu=99999999999999999999",
        "af_xdp:eth0,mtu=1500,mtu=1500",
        "tap:t0,force",
        "pci:",
        "pci:0000:03:00.0,q=1",
        "vdev:",
        "vdev:net_null0,0123456789012345678901234567890123456789012345678",
    };
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nic_spec spec;
        if (nic_spec_parse(cases[i], &spec)) {
            fail_msg("`%s` was taken", cases[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_good_form_is_taken_apart),
        cmocka_unit_test(every_other_form_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
