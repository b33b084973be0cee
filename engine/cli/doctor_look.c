/* doctor_look.c: see doctor.h: the asking. Everything here only gathers; what it means is
 * doctor_judge()'s.
 */
#include "engine/cli/doctor.h"

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/cli/offline.h"
#include "net/nic_dpdk_drivers.h"
#include "net/nic_socket.h"
#include "storage/disk_uring.h"
#include "storage/segment.h"
#include "storage/wal.h"

#include <stddef.h>
#include <unistd.h>

/* Bind the address as a start would, and let go of it. */
static void look_socket(struct doctor_facts *facts)
{
    struct mem mem;
    if (mem_open(&mem, nic_socket_memory_bytes() + PAGE_BYTES) != 0) {
        fault_set(&facts->socket, FAULT_ENVIRONMENT, "no memory for a socket's buffers");
        return;
    }
    struct nic_socket_config config = {
        .bind = facts->plan.self,
        .frame_bytes_min = facts->plan.frame_bytes_min,
    };
    struct nic *nic = NULL;
    if (nic_socket_open(&nic, &mem, &config, &facts->socket) == 0) {
        nic_close(nic);
    }
    mem_close(&mem);
}

static void look_interface(struct doctor_facts *facts)
{
    const struct nic_spec *spec = &facts->plan.spec;
    facts->has_interface = survey_interface(spec->device, &facts->interface) == 0;
    survey_port(spec, facts->plan.self, facts->has_interface ? &facts->interface : NULL,
                &facts->port);
    if (facts->has_interface) {
        uint32_t mtu;
        int result = interface_mtu_check(spec, facts->interface.interface.mtu,
                                         facts->plan.frame_bytes_min, &mtu, &facts->mtu);
        ASSERT(result == 0 || facts->mtu.code != 0);
    }
}

static void look_net(struct doctor_facts *facts)
{
    const struct nic_spec *spec = &facts->plan.spec;
    int result = 0;
    switch (spec->kind) {
    case NIC_RING:
        return;
    case NIC_UDP:
        look_socket(facts);
        return;
    case NIC_AF_PACKET:
    case NIC_AF_XDP:
        look_interface(facts);
        return;
    case NIC_TAP:
        result = interface_tap_check(spec, &facts->device);
        break;
    case NIC_PCI:
        result = interface_pci_check(spec->device, &facts->device);
        break;
    case NIC_VDEV:
        result = nic_dpdk_driver_check(spec->device, &facts->device);
        break;
    }
    ASSERT(result == 0 || facts->device.code != 0);
    if (facts->plan.self.ipv4 != 0) {
        result = interface_address_check(facts->plan.self.ipv4, &facts->address);
        ASSERT(result == 0 || facts->address.code != 0);
    }
}

/* The poller's; or where it would be best, beside the disk's interrupts; or the first allowed. */
static int cpu_choose(const struct doctor_facts *facts)
{
    if (facts->plan.cpu_count > 0) {
        return facts->plan.cpus[0];
    }
    int beside = facts->disk.device.interrupt_cpu;
    if (facts->plan.durable && beside >= 0 && host_list_has(facts->host.allowed, beside)) {
        return beside;
    }
    int cpu = 0;
    while (cpu + 1 < (int)HOST_CPUS_MAX && !host_list_has(facts->host.allowed, cpu)) {
        cpu++;
    }
    return cpu;
}

/* What a start would refuse of a log that can be looked at. */
static void judge_found(struct doctor_facts *facts)
{
    const struct recovery *found = &facts->found;
    if (found->refused != 0) {
        struct geometry geometry;
        bool sound =
            geometry_init(&geometry, found->ring_bytes, found->segment_bytes, found->window_bytes);
        uint64_t whole_bytes = sound ? geometry_file_bytes(&geometry) : 0;
        bool truncated = found->refused == FAULT_ENVIRONMENT && !facts->disk.is_device;
        facts->log_cut_bytes = truncated ? whole_bytes : 0;
        fault_set(&facts->log, found->refused, "%s", found->what);
    } else if (!recover_is_whole(found) && (found->beyond_entries || !facts->plan.has_peers)) {
        int result = wal_damage_refuse(found, &facts->log);
        ASSERT(result != 0);
    }
}

/* Read the log as `thole log verify` does, and let go of it. */
static void look_log(struct doctor_facts *facts)
{
    static struct offline offline; /* Large. */
    const struct doctor_plan *plan = &facts->plan;
    if (plan->config == NULL || !facts->disk.log_found || facts->disk.log_locked) {
        return;
    }
    facts->log_denied = access(plan->log, R_OK) != 0;
    if (facts->log_denied) {
        return;
    }
    facts->log_judged = true;
    offline.cluster = plan->cluster;
    offline.node = (uint8_t)plan->node;
    if (offline_open(&offline, plan->data, NULL, 0, &facts->log) != 0) {
        return;
    }
    facts->found = offline.found;
    judge_found(facts);
    (void)!offline_close(&offline, 0, &facts->log);
}

void doctor_look(const struct doctor_plan *plan, struct doctor_facts *facts)
{
    *facts = (struct doctor_facts){.plan = *plan};
    host_look(&facts->host);
    if (plan->durable) {
        disk_survey(&facts->disk, plan->data, plan->log, plan->log_bytes);
        int result = disk_uring_probe(&facts->uring_modern, &facts->uring);
        ASSERT(result == 0 || facts->uring.code != 0);
        look_log(facts);
    } else {
        facts->uring_modern = true;
    }
    facts->cpu = cpu_choose(facts);
    host_cpu_look(&facts->host_cpu, facts->cpu);
    look_net(facts);
}
