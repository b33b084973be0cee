/* test_doctor.c: from facts about a machine to the rows of `thole doctor`. */
#include "engine/cli/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct doctor_facts facts; /* Large. */
static struct doctor_rows rows;

/* A machine that nothing is wrong with, for node 1 of a file, over udp. */
static void sound(void)
{
    facts = (struct doctor_facts){
        .plan =
            {
                .config = "c.ini",
                .node = 1,
                .durable = true,
                .idle = IDLE_AUTO,
                .data = "n1",
                .log = "n1/log",
                .log_bytes = 1 << 20,
                .memory_bytes = 20 << 20,
                .spec_text = "udp",
                .spec = {.kind = NIC_UDP},
                .self = {.ipv4 = 0x7f000001, .port = 7001},
            },
        .host =
            {
                .cpu_count = 4,
                .cpu = "a CPU",
                .kernel = "6.12",
                .has_constant_tsc = true,
                .has_nonstop_tsc = true,
                .clock = "tsc",
                .clocks = "tsc hpet",
                .allowed = "0-3",
                .memlock_bytes = UINT64_MAX,
                .has_user_namespaces = true,
            },
        .host_cpu = {.siblings = "0", .governor = "performance"},
        .uring_modern = true,
        .disk =
            {
                .exists = true,
                .place = "n1",
                .device = {.filesystem = "ext4",
                           .name = "sda",
                           .write_cache = "write through",
                           .scheduler = "none",
                           .fua = 0,
                           .logical_bytes = 512,
                           .physical_bytes = 4096,
                           .queue_count = 1,
                           .interrupt_cpu = 2},
                .log_found = true,
                .log_bytes = 1 << 20,
                .layout = DISK_LAYOUT_WRITTEN,
            },
        .interface = {.interface = {.name = "eth1", .mtu = 1500},
                      .is_ethernet = true,
                      .is_up = true,
                      .is_running = true,
                      .rx_queues = 2,
                      .tx_queues = 2,
                      .xdp_features_known = true,
                      .xdp_features = SURVEY_XDP_BASIC | SURVEY_XDP_REDIRECT},
        .has_interface = true,
        .port = {.is_there = true},
    };
}

static const struct doctor_row *row_of(const char *condition)
{
    for (uint32_t i = 0; i < rows.count; i++) {
        if (strcmp(rows.rows[i].condition, condition) == 0) {
            return &rows.rows[i];
        }
    }
    print_error("no row `%s`\n", condition);
    fail();
    abort(); /* It does not return, which an analyzer cannot know. */
}

/* Judge; the row of this condition has this severity and, unless NULL, exactly this mend. */
static void expect(const char *condition, enum doctor_severity severity, const char *mend)
{
    doctor_judge(&facts, &rows);
    const struct doctor_row *row = row_of(condition);
    assert_string_equal(doctor_severity_name(row->severity), doctor_severity_name(severity));
    if (mend != NULL) {
        assert_string_equal(row->mend, mend);
    }
    uint32_t counted = 0;
    for (uint32_t i = 0; i < DOCTOR_SEVERITIES; i++) {
        counted += rows.counts[i];
    }
    assert_int_equal(counted, rows.count);
}

static void refuse(struct fault *fault, const char *mend)
{
    fault_set(fault, FAULT_ENVIRONMENT, "it is so. Mend it with");
    fault_mend(fault, "%s", mend);
}

static void a_sound_machine_has_no_row_but_ok(void **state)
{
    (void)state;
    static const char *const specs[] = {"udp",    "af_packet:eth1",   "af_xdp:eth1",
                                        "tap:t0", "pci:0000:03:00.0", "vdev:net_tap0"};
    for (uint32_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        sound();
        facts.host.huge_free = 64;
        assert_true(nic_spec_parse(specs[i], &facts.plan.spec));
        doctor_judge(&facts, &rows);
        assert_int_equal(rows.counts[DOCTOR_OK], rows.count);
        for (uint32_t j = 0; j < rows.count; j++) {
            assert_string_equal(rows.rows[j].mend, "");
            assert_string_not_equal(rows.rows[j].required, "");
            assert_string_not_equal(rows.rows[j].current, "");
        }
    }
}

static void a_poller_that_never_yields_on_the_disks_cpu_is_warned_of(void **state)
{
    (void)state;
    static const char name[] = "poller beside the disk";
    sound();
    (void)snprintf(facts.disk.device.write_cache, DISK_SURVEY_WORD_BYTES, "write back");
    facts.plan.idle = IDLE_SPIN;
    facts.plan.cpu_count = 1;
    facts.plan.cpus[0] = 2;
    facts.cpu = 2;
    expect(name, DOCTOR_WARNING, "thole start -c c.ini --node 1 --idle yield");
    facts.plan.cpus[0] = 1;
    expect(name, DOCTOR_OK, "");
    facts.plan.cpu_count = 0;
    expect(name, DOCTOR_WARNING, NULL);
    static const enum idle_mode others[] = {IDLE_AUTO, IDLE_YIELD, IDLE_BLOCK, IDLE_SLEEP};
    for (uint32_t i = 0; i < 4; i++) {
        facts.plan.idle = others[i];
        expect(name, DOCTOR_OK, "");
    }
}

static void the_trap_needs_a_flush_and_a_disk_that_interrupts_there(void **state)
{
    (void)state;
    static const char name[] = "poller beside the disk";
    sound();
    facts.plan.idle = IDLE_SPIN;
    facts.plan.cpu_count = 1;
    facts.plan.cpus[0] = 2;
    expect(name, DOCTOR_OK, "");
    (void)snprintf(facts.disk.device.write_cache, DISK_SURVEY_WORD_BYTES, "write back");
    facts.disk.device.fua = 1;
    expect(name, DOCTOR_OK, "");
    facts.disk.device.is_stacked = true; /* What stands above it may flush all the same. */
    expect(name, DOCTOR_WARNING, NULL);
    facts.disk.device.is_stacked = false;
    facts.disk.device.fua = 0;
    facts.plan.cpus[0] = 1;
    facts.disk.device.interrupt_cpu = -1;
    expect(name, DOCTOR_NOTE, NULL);
    facts.disk.device.queue_count = 4; /* Each CPU's own queue interrupts it. */
    expect(name, DOCTOR_WARNING, NULL);
    facts.plan.config = NULL;
    expect(name, DOCTOR_WARNING, "thole demo --idle yield");
}

static void cpus_are_judged(void **state)
{
    (void)state;
    sound();
    (void)snprintf(facts.host.allowed, HOST_TEXT_BYTES, "1");
    expect("CPUs", DOCTOR_WARNING, "taskset -cp 0-3 $$");
    facts.host.cpu_count = 1;
    expect("CPUs", DOCTOR_WARNING, "");
    sound();
    facts.plan.cpu_count = 1;
    facts.plan.cpus[0] = 9;
    expect("poller's CPU", DOCTOR_ERROR, "thole start -c c.ini --node 1 --cpu 0");
    facts.plan.cpus[0] = 1;
    facts.cpu = 1;
    expect("poller's CPU", DOCTOR_OK, "");
    facts.plan.idle = IDLE_SPIN;
    expect("poller's CPU", DOCTOR_NOTE, "");
    (void)snprintf(facts.host.isolated, HOST_TEXT_BYTES, "1");
    expect("poller's CPU", DOCTOR_OK, "");
    (void)snprintf(facts.host_cpu.siblings, HOST_TEXT_BYTES, "1,3");
    expect("hyperthreads", DOCTOR_NOTE, "");
    facts.plan.cpu_count = 0;
    expect("poller's CPU", DOCTOR_WARNING, "thole start -c c.ini --node 1 --idle spin --cpu 0");
    facts.plan.idle = IDLE_YIELD;
    expect("hyperthreads", DOCTOR_OK, "");
    (void)snprintf(facts.host_cpu.governor, HOST_TEXT_BYTES, "powersave");
    expect("CPU frequency", DOCTOR_NOTE, "sudo cpupower frequency-set -g performance");
    facts.host_cpu.governor[0] = '\0';
    expect("CPU frequency", DOCTOR_OK, "");
}

static void clocks_are_judged(void **state)
{
    (void)state;
    sound();
    facts.host.has_nonstop_tsc = false;
    expect("TSC", DOCTOR_WARNING, "");
    (void)snprintf(facts.host.clock, HOST_TEXT_BYTES, "hpet");
    expect("clock", DOCTOR_WARNING, NULL);
    assert_non_null(strstr(row_of("clock")->mend, "echo tsc"));
    (void)snprintf(facts.host.clock, HOST_TEXT_BYTES, "kvm-clock");
    (void)snprintf(facts.host.clocks, HOST_TEXT_BYTES, "kvm-clock");
    expect("clock", DOCTOR_NOTE, "");
    facts.host.is_guest = true;
    expect("virtualisation", DOCTOR_NOTE, "");
}

static void memory_and_kernel_are_judged(void **state)
{
    (void)state;
    sound();
    facts.host.memlock_bytes = 8 << 20;
    expect("memory lock", DOCTOR_NOTE, "sudo prlimit --pid $$ --memlock=20971520");
    facts.host.memlock_bytes = 20 << 20;
    expect("memory lock", DOCTOR_OK, "");
    expect("huge pages", DOCTOR_OK, "");
    facts.plan.spec.kind = NIC_PCI;
    expect("huge pages", DOCTOR_ERROR, "sudo sysctl vm.nr_hugepages=128");
    facts.host.huge_free = 1;
    expect("huge pages", DOCTOR_OK, "");
    facts.uring_modern = false;
    expect("kernel", DOCTOR_NOTE, "");
    refuse(&facts.uring, "sudo sysctl kernel.io_uring_disabled=0");
    expect("kernel", DOCTOR_OK, "");
    expect("io_uring", DOCTOR_ERROR, "sudo sysctl kernel.io_uring_disabled=0");
    assert_string_equal(row_of("io_uring")->current, "it is so");
}

static void filesystems_are_told_by_name(void **state)
{
    (void)state;
    sound();
    refuse(&facts.disk.filesystem, "findmnt --types ext4,xfs");
    expect("filesystem", DOCTOR_ERROR, "findmnt --types ext4,xfs");
    static const struct {
        const char *name;
        enum doctor_severity severity;
    } kinds[] = {{"xfs", DOCTOR_OK},      {"overlay", DOCTOR_NOTE},   {"nfs4", DOCTOR_NOTE},
                 {"fuse.x", DOCTOR_NOTE}, {"something", DOCTOR_NOTE}, {"", DOCTOR_NOTE}};
    for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        sound();
        (void)snprintf(facts.disk.device.filesystem, DISK_SURVEY_WORD_BYTES, "%s", kinds[i].name);
        expect("filesystem", kinds[i].severity, "");
    }
    facts.disk.is_device = true;
    expect("filesystem", DOCTOR_OK, "");
}

static void the_place_of_the_log_is_judged(void **state)
{
    (void)state;
    sound();
    refuse(&facts.disk.direct, "ls -ld n1");
    expect("O_DIRECT, O_DSYNC", DOCTOR_ERROR, "ls -ld n1");
    facts.disk.direct_unknown = true;
    expect("O_DIRECT, O_DSYNC", DOCTOR_NOTE, "ls -ld n1");
    facts.disk.direct = (struct fault){0};
    facts.disk.log_locked = true;
    expect("O_DIRECT, O_DSYNC", DOCTOR_NOTE, "");
    assert_non_null(strstr(row_of("O_DIRECT, O_DSYNC")->current, "has it open"));
    fault_set(&facts.disk.space, FAULT_ENVIRONMENT, "too little; free some");
    expect("space", DOCTOR_ERROR, "df -h n1");
    assert_string_equal(row_of("space")->current, "too little");
    expect("log in use", DOCTOR_NOTE, "");
}

static void devices_are_judged(void **state)
{
    (void)state;
    sound();
    facts.disk.device.logical_bytes = 8192;
    expect("device", DOCTOR_ERROR, "");
    facts.disk.device.logical_bytes = 4096;
    expect("device", DOCTOR_OK, "");
    facts.disk.device.is_stacked = true;
    expect("device", DOCTOR_NOTE, "");
    (void)snprintf(facts.disk.device.write_cache, DISK_SURVEY_WORD_BYTES, "write back");
    expect("write cache", DOCTOR_NOTE, "");
    facts.disk.device.fua = 1;
    expect("write cache", DOCTOR_OK, "");
    facts.disk.device.write_cache[0] = '\0';
    expect("write cache", DOCTOR_NOTE, "");
    (void)snprintf(facts.disk.device.scheduler, DISK_SURVEY_WORD_BYTES, "mq-deadline");
    expect("I/O scheduler", DOCTOR_NOTE, "echo none | sudo tee /sys/block/sda/queue/scheduler");
    (void)snprintf(facts.disk.device.scheduler, DISK_SURVEY_WORD_BYTES, "bfq");
    expect("I/O scheduler", DOCTOR_WARNING, NULL);
    facts.disk.device.name[0] = '\0';
    expect("device", DOCTOR_NOTE, "");
}

static void a_log_with_holes_is_mended_by_writing_it_all(void **state)
{
    (void)state;
    static const char name[] = "log pre-written";
    static const char mend[] = "cd n1 && dd if=log of=log.new bs=1M conv=fsync && mv log.new log";
    sound();
    facts.disk.layout = DISK_LAYOUT_HOLES;
    facts.disk.layout_bytes = 4096;
    expect(name, DOCTOR_WARNING, mend);
    facts.disk.layout = DISK_LAYOUT_SHARED;
    expect(name, DOCTOR_WARNING, mend);
    facts.disk.log_locked = true; /* A copy of a log in use would lack what is written meanwhile. */
    expect(name, DOCTOR_WARNING, "stop the node, then ask again");
    facts.disk.log_locked = false;
    facts.disk.layout = DISK_LAYOUT_UNKNOWN;
    expect(name, DOCTOR_NOTE, "");
    facts.disk.log_found = false;
    expect(name, DOCTOR_NOTE, "thole format -c c.ini --node 1");
    facts.plan.config = NULL;
    expect(name, DOCTOR_OK, "");
    facts.disk.is_device = true;
    expect(name, DOCTOR_OK, "");
}

static void what_a_device_holds_is_judged(void **state)
{
    (void)state;
    static const char name[] = "log pre-written";
    sound();
    facts.disk.is_device = true;
    facts.disk.log_found = true;
    facts.disk.content = "a log";
    expect(name, DOCTOR_OK, "");
    facts.disk.log_found = false;
    facts.disk.content = "nothing";
    expect(name, DOCTOR_NOTE, "thole format -c c.ini --node 1");
    facts.disk.content = "an xfs filesystem";
    facts.disk.content_foreign = true;
    expect(name, DOCTOR_ERROR, "");
    facts.disk.free_bytes = 1 << 20;
    expect("space", DOCTOR_OK, "");
    facts.disk.space.code = FAULT_ENVIRONMENT;
    expect("space", DOCTOR_ERROR, "lsblk n1");
}

static void memory_mode_is_warned_of_and_has_no_disk(void **state)
{
    (void)state;
    sound();
    facts.plan.durable = false;
    expect("durability", DOCTOR_WARNING, "");
    expect("memory lock", DOCTOR_OK, "");
    for (uint32_t i = 0; i < rows.count; i++) {
        assert_string_not_equal(rows.rows[i].condition, "filesystem");
    }
}

static void an_address_in_use_is_the_nodes_own_when_its_log_is_open(void **state)
{
    (void)state;
    sound();
    fault_set(&facts.socket, FAULT_ENVIRONMENT, "in use");
    expect("UDP port", DOCTOR_ERROR, "ss -ulpn sport = :7001");
    facts.disk.log_locked = true;
    expect("UDP port", DOCTOR_NOTE, NULL);
}

static void what_a_start_would_refuse_is_an_error_with_its_mend(void **state)
{
    (void)state;
    static const char *const names[SURVEY_MATTERS] = {
        [INTERFACE_STATE] = "interface",           [INTERFACE_RIGHTS] = "capabilities",
        [INTERFACE_USE] = "interface in use",      [INTERFACE_ADDRESS] = "node's address",
        [INTERFACE_PINNED] = "memory of the port", [SURVEY_XDP] = "XDP program",
    };
    for (uint32_t i = 0; i < SURVEY_MATTERS; i++) {
        sound();
        assert_true(nic_spec_parse("af_xdp:eth1", &facts.plan.spec));
        refuse(&facts.port.faults[i], "do so");
        expect(names[i], DOCTOR_ERROR, "do so");
        assert_int_equal(rows.counts[DOCTOR_ERROR], 1);
    }
    sound();
    assert_true(nic_spec_parse("tap:t0", &facts.plan.spec));
    refuse(&facts.device, "do so");
    refuse(&facts.address, "or so");
    expect("device of the port", DOCTOR_ERROR, "do so");
    expect("node's address", DOCTOR_ERROR, "or so");
    assert_true(nic_spec_parse("vdev:net_x0", &facts.plan.spec));
    expect("driver of the port", DOCTOR_ERROR, "do so");
    facts.plan.spec.kind = NIC_RING;
    expect("network", DOCTOR_ERROR, "");
    facts.plan.config = NULL;
    expect("network", DOCTOR_OK, "");
}

static void an_interface_is_judged(void **state)
{
    (void)state;
    sound();
    assert_true(nic_spec_parse("af_xdp:eth1,q=2", &facts.plan.spec));
    expect("queues", DOCTOR_ERROR, "sudo ethtool -L eth1 combined 3");
    facts.plan.spec.queue = 1;
    expect("queues", DOCTOR_OK, "");
    refuse(&facts.mtu, "ip link set dev eth1 mtu 9000");
    expect("MTU", DOCTOR_ERROR, "ip link set dev eth1 mtu 9000");
    facts.interface.is_running = false;
    expect("carrier", DOCTOR_WARNING, "ip -details link show dev eth1");
    facts.interface.xdp_features = 0;
    expect("XDP of the driver", DOCTOR_NOTE, "");
    facts.interface.xdp_features_known = false;
    expect("XDP of the driver", DOCTOR_NOTE, "");
    facts.interface.xdp = (struct xdp_state){.id = 5, .ours = true};
    expect("XDP program", DOCTOR_NOTE, "");
    assert_non_null(strstr(row_of("XDP program")->current, "left by"));
    facts.interface.xdp = (struct xdp_state){.id = 5, .unknown = true};
    expect("XDP program", DOCTOR_NOTE, "");
    facts.plan.spec.kind = NIC_AF_PACKET;
    facts.host.has_user_namespaces = false;
    expect("user namespaces", DOCTOR_NOTE, "sudo sysctl user.max_user_namespaces=10000");
}

static void of_an_interface_that_is_not_there_only_that_is_said(void **state)
{
    (void)state;
    sound();
    assert_true(nic_spec_parse("af_packet:nowhere", &facts.plan.spec));
    facts.port.is_there = false;
    facts.has_interface = false;
    refuse(&facts.port.faults[INTERFACE_STATE], "thole net ls");
    expect("interface", DOCTOR_ERROR, "thole net ls");
    assert_string_equal(rows.rows[rows.count - 1].condition, "interface");
}

static void log_is_judged_as_its_start_judges_it(void **state)
{
    (void)state;
    static const char name[] = "log whole";
    sound();
    facts.log_judged = true;
    facts.plan.has_peers = true;
    facts.found = (struct recovery){.kind = RECOVER_CLEAN, .entry_count = 7};
    expect(name, DOCTOR_OK, "");
    assert_string_equal(row_of(name)->current, "clean: 7 entries");
    facts.found.kind = RECOVER_TORN; /* By a power cut: nothing there was acknowledged. */
    expect(name, DOCTOR_OK, "");
    facts.found.state_wrong[1] = "bytes damaged"; /* `thole log verify` calls it corrupt. */
    expect(name, DOCTOR_NOTE, "");
    assert_non_null(strstr(row_of(name)->current, "torn: 7 entries; copy 1 of the small state"));
    assert_non_null(strstr(row_of(name)->current, "bytes damaged"));
    facts.found.kind = RECOVER_DAMAGED;
    (void)snprintf(facts.found.what, sizeof facts.found.what, "a page is rotten");
    expect(name, DOCTOR_WARNING, "thole start -c c.ini --node 1");
    assert_non_null(strstr(row_of(name)->current, "damaged: a page is rotten; a start asks"));
    fault_set(&facts.log, FAULT_FAILED, "the superblock is damaged. Mend it so");
    expect(name, DOCTOR_ERROR, "");
    assert_string_equal(row_of(name)->current, "the superblock is damaged. Mend it so");
    facts.log_cut_bytes = 8192;
    expect(name, DOCTOR_ERROR, "truncate -s 8192 n1/log");
    facts.log_denied = true;
    facts.log_judged = false;
    expect(name, DOCTOR_NOTE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_machine_has_no_row_but_ok),
        cmocka_unit_test(a_poller_that_never_yields_on_the_disks_cpu_is_warned_of),
        cmocka_unit_test(the_trap_needs_a_flush_and_a_disk_that_interrupts_there),
        cmocka_unit_test(cpus_are_judged),
        cmocka_unit_test(clocks_are_judged),
        cmocka_unit_test(memory_and_kernel_are_judged),
        cmocka_unit_test(filesystems_are_told_by_name),
        cmocka_unit_test(the_place_of_the_log_is_judged),
        cmocka_unit_test(what_a_device_holds_is_judged),
        cmocka_unit_test(devices_are_judged),
        cmocka_unit_test(a_log_with_holes_is_mended_by_writing_it_all),
        cmocka_unit_test(memory_mode_is_warned_of_and_has_no_disk),
        cmocka_unit_test(an_address_in_use_is_the_nodes_own_when_its_log_is_open),
        cmocka_unit_test(what_a_start_would_refuse_is_an_error_with_its_mend),
        cmocka_unit_test(an_interface_is_judged),
        cmocka_unit_test(of_an_interface_that_is_not_there_only_that_is_said),
        cmocka_unit_test(log_is_judged_as_its_start_judges_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
