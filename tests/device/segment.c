/* segment.c: see segment.h. */
#define _DEFAULT_SOURCE /* popen */
#include "tests/device/segment.h"

#include "bench/cards.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS       6u
#define WORDS_BYTES 256u

bool segment_ip(const char *words)
{
    char command[WORDS_BYTES + 4];
    (void)snprintf(command, sizeof(command), "ip %.252s", words);
    return system(command) == 0;
}

void segment_describe(const char *interface, char *text, uint32_t bytes)
{
    char command[WORDS_BYTES];
    (void)snprintf(command, sizeof(command), "ip -details -oneline link show dev %s", interface);
    memset(text, 0, bytes);
    FILE *pipe = popen(command, "re");
    if (pipe != NULL) {
        (void)fread(text, 1, bytes - 1, pipe);
        (void)pclose(pipe);
    }
}

static bool pair_make(uint32_t number)
{
    char add[WORDS_BYTES];
    char up[WORDS_BYTES];
    char join[WORDS_BYTES];
    (void)snprintf(add, sizeof(add), "link add p%u type veth peer name b%u", number, number);
    (void)snprintf(up, sizeof(up), "link set p%u addrgenmode none up", number);
    (void)snprintf(join, sizeof(join), "link set b%u addrgenmode none master br0 up", number);
    return segment_ip(add) && segment_ip(up) && segment_ip(join);
}

const char *segment_open(bool needs_root)
{
    if (system("ip -Version >/dev/null 2>&1") != 0) {
        return "`ip` is missing (Debian package iproute2)";
    }
    static struct fault fault; /* Its text outlives the call. */
    if (cards_enter(needs_root, &fault) != 0) {
        return fault.text;
    }
    bool made = segment_ip("link add br0 type bridge stp_state 0 mcast_snooping 0 2>/dev/null") &&
                segment_ip("link set br0 addrgenmode none up") &&
                segment_ip("address add 10.9.0.100/24 dev br0");
    for (uint32_t i = 0; i < PAIRS && made; i++) {
        made = pair_make(i);
    }
    return made ? NULL : "no bridge or no virtual cards can be made here";
}

int segment_spoiler_open(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = 0, /* It hears nothing. */
        .sll_ifindex = (int)if_nametoindex("p4"),
    };
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        return -1;
    }
    return fd;
}
