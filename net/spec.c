/* spec.c: see spec.h. */
#include "net/spec.h"

#include <stddef.h>
#include <string.h>

#define QUEUE_MAX  63u
#define MTU_MIN    576u /* Every IPv4 host takes that much (RFC 791). */
#define NUMBER_MAX 100000u

_Static_assert(NIC_SPEC_BYTES == 64, "the form names it");

static const struct {
    const char *name;
    bool has_device;
    bool is_interface; /* The device is a name that the kernel could give. */
    bool has_mtu;
    bool has_queue;
    bool has_force;
} kinds[] = {
    [NIC_RING] = {.name = "ring"},
    [NIC_UDP] = {.name = "udp"},
    [NIC_AF_PACKET] = {"af_packet", true, true, true, false, true},
    [NIC_AF_XDP] = {"af_xdp", true, true, true, true, true},
    [NIC_TAP] = {"tap", true, true, true, false, false},
    [NIC_PCI] = {"pci", true, false, true, false, false},
    [NIC_VDEV] = {"vdev", true, false, false, false, false},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

const char *nic_kind_name(enum nic_kind kind)
{
    ASSERT((uint32_t)kind < KIND_COUNT);
    return kinds[kind].name;
}

/* A decimal number that is all of `bytes` bytes. */
static bool number_read(const char *text, size_t bytes, uint32_t *number)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(text[i] - '0');
        if (value > NUMBER_MAX) {
            return false;
        }
    }
    *number = value;
    return bytes > 0;
}

static bool option_read(const char *text, size_t bytes, struct nic_spec *spec)
{
    if (kinds[spec->kind].has_force && bytes == 5 && strncmp(text, "force", 5) == 0) {
        bool first = !spec->force;
        spec->force = true;
        return first;
    }
    if (kinds[spec->kind].has_queue && bytes > 2 && strncmp(text, "q=", 2) == 0) {
        return number_read(text + 2, bytes - 2, &spec->queue) && spec->queue <= QUEUE_MAX;
    }
    if (kinds[spec->kind].has_mtu && bytes > 4 && strncmp(text, "mtu=", 4) == 0) {
        return spec->mtu == 0 && number_read(text + 4, bytes - 4, &spec->mtu) &&
               spec->mtu >= MTU_MIN && spec->mtu <= PORT_MTU_MAX;
    }
    return false;
}

static bool device_read(const char *text, size_t bytes, struct nic_spec *spec)
{
    bool is_interface = kinds[spec->kind].is_interface;
    if (bytes == 0 || (is_interface && bytes >= INTERFACE_NAME_BYTES)) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] <= ' ' || text[i] > '~' || (is_interface && text[i] == '/')) {
            return false;
        }
    }
    memcpy(spec->device, text, bytes);
    spec->device[bytes] = '\0';
    return !is_interface || (strcmp(spec->device, ".") != 0 && strcmp(spec->device, "..") != 0);
}

/* The device and its options, behind the colon. */
static bool rest_read(const char *text, struct nic_spec *spec)
{
    size_t bytes = spec->kind == NIC_VDEV ? strlen(text) : strcspn(text, ",");
    if (!device_read(text, bytes, spec)) {
        return false;
    }
    text += bytes;
    while (*text == ',') {
        text++;
        bytes = strcspn(text, ",");
        if (!option_read(text, bytes, spec)) {
            return false;
        }
        text += bytes;
    }
    ASSERT(*text == '\0');
    return true;
}

bool nic_spec_parse(const char *text, struct nic_spec *spec)
{
    if (strlen(text) >= NIC_SPEC_BYTES) {
        return false;
    }
    for (uint32_t kind = 0; kind < KIND_COUNT; kind++) {
        size_t bytes = strlen(kinds[kind].name);
        if (strncmp(text, kinds[kind].name, bytes) != 0) {
            continue;
        }
        *spec = (struct nic_spec){.kind = (enum nic_kind)kind};
        if (!kinds[kind].has_device) {
            return text[bytes] == '\0';
        }
        return text[bytes] == ':' && rest_read(text + bytes + 1, spec);
    }
    return false;
}
