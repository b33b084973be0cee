/* cmd_net.c: `thole net ls` and `thole net show IF`: this machine's interfaces, and which ports a
 * node could have on them. What stands against one is what a start would refuse, in its own words.
 */
#include "engine/cli/command.h"

#include "engine/base/assert.h"
#include "net/survey.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PORT_KINDS      2u
#define MAC_TEXT_BYTES  18u
#define WHY_BYTES       80u
#define NEEDS_AF_PACKET "root, or CAP_NET_RAW and CAP_NET_ADMIN, or a user namespace"
#define NEEDS_AF_XDP    "root; it takes all that arrives on its queue"

static const enum nic_kind port_kinds[PORT_KINDS] = {NIC_AF_PACKET, NIC_AF_XDP};

/* An interface, and the ports it could carry. */
struct net_entry {
    struct survey_interface found;
    struct nic_spec specs[PORT_KINDS];
    struct survey_port ports[PORT_KINDS];
};

struct net_arguments {
    const char *name; /* Of `net show`. */
    bool json;
};

static const struct argp_option net_options[] = {
    {"json", 'j', NULL, 0, "Print one JSON object", 0},
    {0},
};

/* ---- Looking ---- */

static int net_look(const char *name, struct net_entry *entry)
{
    int result = survey_interface(name, &entry->found);
    for (uint32_t i = 0; i < PORT_KINDS && result == 0; i++) {
        entry->specs[i] = (struct nic_spec){.kind = port_kinds[i]};
        (void)snprintf(entry->specs[i].device, INTERFACE_NAME_BYTES, "%.15s", name);
        survey_port(&entry->specs[i], (struct nic_address){0}, &entry->found, &entry->ports[i]);
    }
    return result;
}

static const char *mac_text(const struct mac *mac, char text[MAC_TEXT_BYTES])
{
    (void)snprintf(text, MAC_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", mac->bytes[0],
                   mac->bytes[1], mac->bytes[2], mac->bytes[3], mac->bytes[4], mac->bytes[5]);
    return text;
}

static const char *state_text(const struct survey_interface *found)
{
    if (!found->is_up) {
        return "down";
    }
    return found->is_running ? "up" : "no carrier";
}

/* What it is: its kind, or the driver of a device of its own. */
static const char *kind_text(const struct survey_interface *found)
{
    if (found->kind[0] != '\0') {
        return found->kind;
    }
    return found->driver[0] != '\0' ? found->driver : "-";
}

static const char *program_text(const struct xdp_state *xdp)
{
    if (xdp->id == 0) {
        return "none";
    }
    if (xdp->unknown) {
        return "unknown";
    }
    return xdp->ours ? "ours" : "foreign";
}

/* The matter of the first thing against a port, in two words; "yes": nothing is. */
static const char *why_text(const struct survey_port *port)
{
    static const char *const whys[SURVEY_MATTERS] = {
        [INTERFACE_STATE] = "no: down or no Ethernet",
        [INTERFACE_RIGHTS] = "no: rights",
        [INTERFACE_USE] = "no: in use",
        [INTERFACE_ADDRESS] = "no: address",
        [INTERFACE_PINNED] = "no: memory lock",
        [SURVEY_XDP] = "no: XDP program",
    };
    for (uint32_t i = 0; i < SURVEY_MATTERS; i++) {
        if (port->faults[i].code != 0) {
            return whys[i];
        }
    }
    return "yes";
}

/* ---- JSON ---- */

static json_t *or_null(const char *text)
{
    return text == NULL || text[0] == '\0' ? json_null() : json_string(text);
}

static json_t *port_json(const struct nic_spec *spec, const struct survey_port *port)
{
    char text[NIC_SPEC_BYTES];
    json_t *against = json_array();
    for (uint32_t i = 0; i < SURVEY_MATTERS; i++) {
        if (port->faults[i].code != 0) {
            (void)json_array_append_new(
                against,
                json_pack("{s:s, s:s}", "why", port->faults[i].text, "mend", port->faults[i].mend));
        }
    }
    (void)snprintf(text, sizeof(text), "%s:%.15s", nic_kind_name(spec->kind), spec->device);
    return json_pack("{s:s, s:b, s:s, s:o}", "spec", text, "usable", (int)(port->fault_count == 0),
                     "needs", spec->kind == NIC_AF_XDP ? NEEDS_AF_XDP : NEEDS_AF_PACKET, "against",
                     against);
}

static json_t *statistics_json(const struct survey_statistics *counted)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rx_packets", (json_int_t)counted->rx_packets,
        "tx_packets", (json_int_t)counted->tx_packets, "rx_bytes", (json_int_t)counted->rx_bytes,
        "tx_bytes", (json_int_t)counted->tx_bytes, "rx_errors", (json_int_t)counted->rx_errors,
        "tx_errors", (json_int_t)counted->tx_errors, "rx_dropped", (json_int_t)counted->rx_dropped,
        "tx_dropped", (json_int_t)counted->tx_dropped);
}

static json_t *xdp_json(const struct survey_interface *found)
{
    const struct xdp_state *xdp = &found->xdp;
    return json_pack("{s:s, s:o, s:o, s:o, s:s, s:o}", "program", program_text(xdp), "id",
                     xdp->id == 0 ? json_null() : json_integer(xdp->id), "name", or_null(xdp->name),
                     "mode", or_null(found->xdp_mode), "driver", survey_xdp_support(found),
                     "process", xdp->process == 0 ? json_null() : json_integer(xdp->process));
}

static json_t *entry_json(const struct net_entry *entry)
{
    const struct survey_interface *found = &entry->found;
    char mac[MAC_TEXT_BYTES];
    json_t *addresses = json_array();
    for (uint32_t i = 0; i < found->address_count; i++) {
        (void)json_array_append_new(addresses, json_string(found->addresses[i]));
    }
    json_t *offloads = json_object();
    for (uint32_t i = 0; i < SURVEY_OFFLOADS; i++) {
        (void)json_object_set_new(offloads, found->offloads[i].name,
                                  json_boolean(found->offloads[i].on));
    }
    json_t *ports = json_array();
    for (uint32_t i = 0; i < PORT_KINDS; i++) {
        (void)json_array_append_new(ports, port_json(&entry->specs[i], &entry->ports[i]));
    }
    return json_pack("{s:s, s:i, s:o, s:o, s:o, s:s, s:b, s:s, s:i, s:o, s:i, s:i, s:b, s:o, s:o, "
                     "s:o, s:o}",
                     "name", found->interface.name, "index", (int)found->interface.index, "kind",
                     or_null(found->kind), "driver", or_null(found->driver), "bus",
                     or_null(found->bus), "state", state_text(found), "ethernet",
                     (int)found->is_ethernet, "mac", mac_text(&found->interface.mac, mac), "mtu",
                     (int)found->interface.mtu, "addresses", addresses, "rx_queues",
                     (int)found->rx_queues, "tx_queues", (int)found->tx_queues, "default_route",
                     (int)found->has_default_route, "xdp", xdp_json(found), "offloads", offloads,
                     "statistics", statistics_json(&found->statistics), "ports", ports);
}

static int json_print(json_t *object)
{
    bool printed = object != NULL && json_dumpf(object, stdout, JSON_INDENT(2)) == 0;
    json_decref(object);
    putchar('\n');
    return printed && fflush(stdout) == 0 ? 0 : FAULT_INTERNAL;
}

/* ---- thole net ls ---- */

static error_t ls_parse(int key, char *value, struct argp_state *state)
{
    struct net_arguments *arguments = state->input;
    switch (key) {
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s`: no argument is expected", value);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp ls_argp = {
    .options = net_options,
    .parser = ls_parse,
    .doc = "List this machine's network interfaces, and whether a node could have a port on each "
           "(`thole net show` says what stands against it, and what mends that). Changes nothing "
           "and needs no rights."
           "\vExample:\n  thole net ls --json",
};

static void ls_print(const struct net_entry *entry)
{
    const struct survey_interface *found = &entry->found;
    char mac[MAC_TEXT_BYTES];
    char queues[MAC_TEXT_BYTES];
    (void)snprintf(queues, sizeof(queues), "%u/%u", found->rx_queues, found->tx_queues);
    printf("%-15s  %-10.10s  %-10s  %-17s  %5u  %-7s  %-7s  %-7s  %-23s  %-23s ",
           found->interface.name, kind_text(found), state_text(found),
           mac_text(&found->interface.mac, mac), found->interface.mtu, queues,
           found->has_default_route ? "default" : "-", program_text(&found->xdp),
           why_text(&entry->ports[0]), why_text(&entry->ports[1]));
    for (uint32_t i = 0; i < found->address_count; i++) {
        printf(" %s", found->addresses[i]);
    }
    printf("%s\n", found->address_count == 0 ? " -" : "");
}

static int ls_run(int argc, char **argv)
{
    static char names[SURVEY_INTERFACES_MAX][INTERFACE_NAME_BYTES];
    static struct net_entry entry; /* Large. */
    struct net_arguments arguments = {0};
    if (argp_parse(&ls_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    uint32_t count = survey_names(names);
    json_t *list = json_array();
    if (!arguments.json) {
        printf("%-15s  %-10s  %-10s  %-17s  %5s  %-7s  %-7s  %-7s  %-23s  %-23s  addresses\n",
               "interface", "kind", "state", "mac", "mtu", "queues", "route", "xdp", "af_packet",
               "af_xdp");
    }
    for (uint32_t i = 0; i < count; i++) {
        if (net_look(names[i], &entry) != 0) {
            continue; /* It went away meanwhile. */
        }
        if (arguments.json) {
            (void)json_array_append_new(list, entry_json(&entry));
        } else {
            ls_print(&entry);
        }
    }
    if (arguments.json) {
        return json_print(json_pack("{s:o}", "interfaces", list));
    }
    json_decref(list);
    return fflush(stdout) == 0 ? 0 : FAULT_ENVIRONMENT;
}

const struct command command_net_ls = {
    .name = "net ls",
    .summary = "This machine's interfaces, and which ports they could carry",
    .argp = &ls_argp,
    .run = ls_run,
};

/* ---- thole net show ---- */

static error_t show_parse(int key, char *value, struct argp_state *state)
{
    struct net_arguments *arguments = state->input;
    switch (key) {
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->name != NULL) {
            argp_error(state, "`%s`: one interface is expected", value);
        }
        arguments->name = value;
        return 0;
    case ARGP_KEY_END:
        if (arguments->name == NULL) {
            argp_error(state, "the name of an interface is needed; see `thole net ls`");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp show_argp = {
    .options = net_options,
    .parser = show_parse,
    .args_doc = "IF",
    .doc = "All about one interface: its driver and what that can do, its XDP program and whose it "
           "is, its counters, and the ports (`--net SPEC`) that a node could have on it, with what "
           "each needs, what a start would refuse now, and the command that mends it. Changes "
           "nothing and needs no rights."
           "\vExample:\n  thole net show eth0",
};

static void show_port(const struct nic_spec *spec, const struct survey_port *port)
{
    printf("--net %s:%s   %s\n    needs: %s\n", nic_kind_name(spec->kind), spec->device,
           port->fault_count == 0 ? "can be used here and now" : "would be refused here and now",
           spec->kind == NIC_AF_XDP ? NEEDS_AF_XDP : NEEDS_AF_PACKET);
    for (uint32_t i = 0; i < SURVEY_MATTERS; i++) {
        if (port->faults[i].code != 0) {
            printf("    %s\n", port->faults[i].text);
        }
    }
}

static void show_xdp(const struct survey_interface *found)
{
    const struct xdp_state *xdp = &found->xdp;
    printf("XDP       driver: %s; program: ", survey_xdp_support(found));
    if (xdp->id == 0) {
        printf("none");
    } else {
        printf("%s, number %u (`%s`), %s", program_text(xdp), xdp->id, xdp->name,
               found->xdp_mode == NULL ? "mode not told" : found->xdp_mode);
    }
    if (xdp->process != 0) {
        printf("; process %ld has AF_XDP on it", xdp->process);
    } else if (xdp->ours) {
        printf("; left by a process that has ended: the next start replaces it");
    }
    printf("\n");
}

static void show_print(const struct net_entry *entry)
{
    const struct survey_interface *found = &entry->found;
    const struct survey_statistics *counted = &found->statistics;
    char mac[MAC_TEXT_BYTES];
    printf("%s: %s, %s, MAC %s, MTU %u%s%s\n", found->interface.name, kind_text(found),
           state_text(found), mac_text(&found->interface.mac, mac), found->interface.mtu,
           found->is_ethernet ? "" : ", no Ethernet",
           found->has_default_route ? ", carries the default route" : "");
    printf("driver    %s%s%s\n", found->driver[0] == '\0' ? "not told" : found->driver,
           found->bus[0] == '\0' ? "" : " at ", found->bus);
    printf("addresses");
    for (uint32_t i = 0; i < found->address_count; i++) {
        printf(" %s", found->addresses[i]);
    }
    printf("%s\n", found->address_count == 0 ? " none" : "");
    printf("queues    %u to receive, %u to send\n", found->rx_queues, found->tx_queues);
    show_xdp(found);
    printf("offloads ");
    for (uint32_t i = 0; i < SURVEY_OFFLOADS; i++) {
        printf(" %s %s%s", found->offloads[i].name, found->offloads[i].on ? "on" : "off",
               i + 1 < SURVEY_OFFLOADS ? "," : "\n");
    }
    printf("received  %" PRIu64 " packets, %" PRIu64 " bytes, %" PRIu64 " errors, %" PRIu64
           " dropped\nsent      %" PRIu64 " packets, %" PRIu64 " bytes, %" PRIu64
           " errors, %" PRIu64 " dropped\n",
           counted->rx_packets, counted->rx_bytes, counted->rx_errors, counted->rx_dropped,
           counted->tx_packets, counted->tx_bytes, counted->tx_errors, counted->tx_dropped);
    for (uint32_t i = 0; i < PORT_KINDS; i++) {
        printf("\n");
        show_port(&entry->specs[i], &entry->ports[i]);
    }
}

static int show_run(int argc, char **argv)
{
    static struct net_entry entry;
    struct net_arguments arguments = {0};
    if (argp_parse(&show_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    if (strlen(arguments.name) >= INTERFACE_NAME_BYTES || net_look(arguments.name, &entry) != 0) {
        struct fault fault = {0};
        fault_set(&fault, FAULT_ENVIRONMENT,
                  "there is no interface %.32s here. See those there are with", arguments.name);
        fault_mend(&fault, "thole net ls");
        return command_fail(&fault);
    }
    if (arguments.json) {
        return json_print(entry_json(&entry));
    }
    show_print(&entry);
    return fflush(stdout) == 0 ? 0 : FAULT_ENVIRONMENT;
}

const struct command command_net_show = {
    .name = "net show",
    .summary = "All about one interface, and what mends it",
    .argp = &show_argp,
    .run = show_run,
};
