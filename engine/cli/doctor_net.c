/* doctor_net.c: see doctor.h: the rows about the network port. Pure. */
#include "engine/cli/doctor.h"

#include "engine/base/assert.h"

#include <stdio.h>
#include <string.h>

static void judge_udp(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    static const char required[] = "the kernel has the address, and the port is free";
    uint32_t port = facts->plan.self.port;
    struct doctor_row *row = doctor_add_fault(rows, "UDP port", required, &facts->socket, "free");
    if (row->severity != DOCTOR_ERROR) {
        return;
    }
    if (facts->disk.log_locked) {
        /* The node itself has it, most likely. */
        row->severity = DOCTOR_NOTE;
        rows->counts[DOCTOR_ERROR]--;
        rows->counts[DOCTOR_NOTE]++;
    }
    if (row->mend[0] == '\0') {
        doctor_mend(row, "ss -ulpn sport = :%u", port);
    }
}

static void judge_link(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    const struct survey_interface *found = &facts->interface;
    const char *name = found->interface.name;
    struct doctor_row *row =
        doctor_add(rows, "carrier", found->is_running ? DOCTOR_OK : DOCTOR_WARNING, "a link", "%s",
                   found->is_running ? "up" : "none");
    if (!found->is_running) {
        doctor_mend(row, "ip -details link show dev %s", name);
    }
    char mtu[DOCTOR_TEXT_BYTES];
    (void)snprintf(mtu, sizeof(mtu), "%u", found->interface.mtu);
    doctor_add_fault(rows, "MTU", "what the spec and the node's frames need", &facts->mtu, mtu);
    uint32_t queue = facts->plan.spec.queue;
    bool missing = found->rx_queues != 0 && queue >= found->rx_queues;
    row = doctor_add(rows, "queues", missing ? DOCTOR_ERROR : DOCTOR_OK, "the queue of the spec",
                     "%u to receive, %u to send; q=%u is asked for", found->rx_queues,
                     found->tx_queues, queue);
    if (missing) {
        doctor_mend(row, "sudo ethtool -L %s combined %u", name, queue + 1);
    }
}

static void judge_xdp(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    const struct survey_interface *found = &facts->interface;
    const char *support = survey_xdp_support(found);
    bool native = strncmp(support, "native", 6) == 0;
    doctor_add(rows, "XDP of the driver", native ? DOCTOR_OK : DOCTOR_NOTE, "native",
               "%s (driver %s)%s", support, found->driver[0] == '\0' ? "not told" : found->driver,
               native ? "" : ": generic is slower than af_packet at times");
    static const char required[] = "none, or one that a run of thole left";
    const struct xdp_state *xdp = &found->xdp;
    const struct fault *fault = &facts->port.faults[SURVEY_XDP];
    if (fault->code != 0 || xdp->id == 0) {
        doctor_add_fault(rows, "XDP program", required, fault, "none");
    } else if (xdp->unknown) {
        doctor_add(rows, "XDP program", DOCTOR_NOTE, required,
                   "number %u; whose cannot be seen without rights", xdp->id);
    } else {
        doctor_add(rows, "XDP program", DOCTOR_NOTE, required,
                   "number %u, left by a run of thole that was killed: a start replaces it",
                   xdp->id);
    }
}

static void judge_interface(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    static const struct {
        const char *name;
        const char *required;
        const char *current;
    } matters[INTERFACE_MATTERS] = {
        [INTERFACE_STATE] = {"interface", "an Ethernet, up", "up"},
        [INTERFACE_RIGHTS] = {"capabilities", "what the port's driver needs", "there"},
        [INTERFACE_USE] = {"interface in use", "not by the machine itself", "no, or forced"},
        [INTERFACE_ADDRESS] = {"node's address", "not the kernel's own", "it is not"},
        [INTERFACE_PINNED] = {"memory of the port", "may be locked", "it may, or need not"},
    };
    uint32_t count = facts->port.is_there ? INTERFACE_MATTERS : INTERFACE_STATE + 1u;
    for (uint32_t i = 0; i < count; i++) {
        doctor_add_fault(rows, matters[i].name, matters[i].required, &facts->port.faults[i],
                         matters[i].current);
    }
    if (!facts->has_interface) {
        return;
    }
    if (facts->plan.spec.kind == NIC_AF_PACKET) {
        bool may = facts->host.has_user_namespaces;
        struct doctor_row *row =
            doctor_add(rows, "user namespaces", may ? DOCTOR_OK : DOCTOR_NOTE,
                       "for an ordinary user, who has all rights in one of his own", "%s",
                       may ? "may be made: `unshare -Urn`" : "an ordinary user may not make one");
        if (!may) {
            doctor_mend(row, "sudo sysctl user.max_user_namespaces=10000");
        }
    }
    judge_link(facts, rows);
    if (facts->plan.spec.kind == NIC_AF_XDP) {
        judge_xdp(facts, rows);
    }
}

void doctor_judge_net(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    const struct nic_spec *spec = &facts->plan.spec;
    switch (spec->kind) {
    case NIC_RING:
        doctor_add(rows, "network", facts->plan.config == NULL ? DOCTOR_OK : DOCTOR_ERROR,
                   facts->plan.config == NULL ? "nothing: the nodes of one process"
                                              : "a port of its own: ring joins one process",
                   "ring");
        return;
    case NIC_UDP:
        judge_udp(facts, rows);
        return;
    case NIC_AF_PACKET:
    case NIC_AF_XDP:
        judge_interface(facts, rows);
        return;
    case NIC_TAP:
    case NIC_PCI:
    case NIC_VDEV:
        break;
    }
    ASSERT(spec->kind == NIC_TAP || spec->kind == NIC_PCI || spec->kind == NIC_VDEV);
    if (spec->kind != NIC_VDEV) {
        doctor_add_fault(rows, "device of the port",
                         spec->kind == NIC_TAP ? "a new name, and CAP_NET_ADMIN"
                                               : "a card bound to a driver for user space",
                         &facts->device, spec->device);
    } else {
        doctor_add_fault(rows, "driver of the port", "one of DPDK's", &facts->device, "there");
    }
    doctor_add_fault(rows, "node's address", "not the kernel's own", &facts->address, "it is not");
}
