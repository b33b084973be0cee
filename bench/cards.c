/* cards.c: see cards.h. */
#define _GNU_SOURCE /* unshare, memfd_create */
#include "bench/cards.h"

#include "net/interface.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define WORDS_BYTES 128u
#define SAID_BYTES  256u
#define NAPS_MAX    5000u /* Of 1 ms: the kernel may take a second to believe in a carrier. */

static bool file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) {
        (void)close(fd);
    }
    return done;
}

int cards_enter(bool needs_root, struct fault *fault)
{
    char map[WORDS_BYTES];
    if (geteuid() == 0) {
        if (unshare(CLONE_NEWNET) == 0) {
            return 0;
        }
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot make a network namespace: %s; in a container it needs CAP_SYS_ADMIN",
                  strerror(errno));
        return -EPERM;
    }
    if (needs_root) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "virtual cards for af_xdp need root: run this with sudo, or use af_packet");
        return -EPERM;
    }
    (void)snprintf(map, sizeof(map), "0 %u 1", (unsigned)geteuid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 || !file_write("/proc/self/setgroups", "deny") ||
        !file_write("/proc/self/uid_map", map)) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot make a user namespace: %s; run this as root, or allow them with `sysctl "
                  "kernel.unprivileged_userns_clone=1`",
                  strerror(errno));
        return -EPERM;
    }
    return 0;
}

static void cards_words(FILE *ip, uint32_t card_count, uint32_t mtu)
{
    (void)fprintf(ip, "link set lo up\n");
    if (card_count == 2) {
        (void)fprintf(ip, "link add p0 mtu %u type veth peer name p1 mtu %u\n", mtu, mtu);
    } else {
        (void)fprintf(ip, "link add br0 type bridge stp_state 0 mcast_snooping 0\n"
                          "link set br0 addrgenmode none up\n");
    }
    for (uint32_t i = 0; i < card_count; i++) {
        if (card_count != 2) {
            (void)fprintf(ip,
                          "link add p%u mtu %u type veth peer name b%u mtu %u\n"
                          "link set b%u addrgenmode none master br0 up\n",
                          i, mtu, i, mtu, i);
        }
        (void)fprintf(ip, "link set p%u addrgenmode none up\n", i);
    }
}

static void carriers_await(uint32_t card_count)
{
    uint32_t naps = 0;
    for (uint32_t i = 0; i < card_count; i++) {
        char name[INTERFACE_NAME_BYTES];
        (void)snprintf(name, sizeof(name), "p%u", i);
        for (; naps < NAPS_MAX && !interface_is_running(name); naps++) {
            struct timespec nap = {.tv_nsec = 1000000};
            (void)nanosleep(&nap, NULL);
        }
    }
}

int cards_open(uint32_t card_count, uint32_t mtu, bool needs_root, struct fault *fault)
{
    ASSERT(card_count >= 2);
    ASSERT(card_count <= CARDS_MAX);
    int result = cards_enter(needs_root, fault);
    if (result != 0) {
        return result;
    }
    char command[WORDS_BYTES];
    char said[SAID_BYTES] = "";
    int heard = memfd_create("ip", 0); /* Which `ip` writes to. */
    (void)snprintf(command, sizeof(command), "ip -batch - >/proc/self/fd/%d 2>&1", heard);
    FILE *ip = heard < 0 ? NULL : popen(command, "we");
    if (ip != NULL) {
        cards_words(ip, card_count, mtu);
        result = pclose(ip);
    }
    if (ip == NULL || result != 0) {
        ssize_t bytes = heard < 0 ? 0 : pread(heard, said, sizeof(said) - 1, 0);
        said[bytes > 0 ? strcspn(said, "\n") : 0] = '\0';
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot make %u virtual cards with `ip` (Debian package iproute2; kernel modules "
                  "veth and bridge): %s",
                  card_count, said);
        result = -ENODEV;
    }
    if (heard >= 0) {
        (void)close(heard);
    }
    if (result == 0) {
        carriers_await(card_count);
    }
    return result;
}
