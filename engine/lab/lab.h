/* lab.h: a cluster on one machine, each node and client at a host of its own, joined by a bridge.
 *
 *     host n1   [eth0] -- [n1]   \
 *     host n2   [eth0] -- [n2]    br0 in the switch's namespace, where the faults are: cuts, loss
 *     host home [eth0] -- [home] /     and repetition hit sockets of every kind in the hosts alike
 *
 * A host is a network namespace without a name. One process, the keeper, holds all of them by
 * descriptors and is the first of a PID namespace in which the nodes run: when it ends, in whatever
 * way, the kernel ends the nodes and takes the network away, so that no crash leaves anything but
 * files. Without privilege all of it is in a user namespace.
 *
 * What there is stands in DIR/lab.json, for every later command and for other tools:
 *
 *     version         1
 *     boot            the kernel's boot id: after a restart of the machine nothing of it is there
 *     user_namespace  whether one is around it; it is that of /proc/KEEPER/ns/user
 *     spec            of the nodes' ports, e.g. "af_xdp:eth0"; "" without nodes
 *     idle            of the nodes
 *     keeper          {pid, start}: `start` is the process's start time as /proc/PID/stat has it,
 * so that a number that another process got meanwhile is not taken for it switch {namespace, inode}
 *     hosts           [{name, address, namespace, inode, node}], in the order of their addresses;
 *                     `namespace` is a path for `nsenter --net=PATH`, `inode` its number, `node`
 * the number of the node that lives there, or null. The interface is eth0, the net 10.77.0.0/24; a
 * node on a port of its own has the address, not the kernel nodes           [{id, pid, start,
 * said}]: the last process of each; `said` is what it prints
 *
 * Each command holds a lock on DIR. Nothing here is on the data path.
 */
#ifndef ENGINE_LAB_LAB_H
#define ENGINE_LAB_LAB_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "engine/base/limits.h"
#include "engine/lab/process.h"
#include "net/spec.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define LAB_NAME_BYTES      INTERFACE_NAME_BYTES /* That of its port of the bridge. */
#define LAB_ADDRESS_BYTES   16u
#define LAB_NAMESPACE_BYTES 64u
#define LAB_KEEPER_FD       10u /* The keeper holds the namespace of host i by descriptor 10 + i. */
#define LAB_PORT            7001u
#define LAB_HOME            "home" /* The clients' host. */
#define LAB_SWITCH          UINT32_MAX

struct lab_host {
    char name[LAB_NAME_BYTES];
    char address[LAB_ADDRESS_BYTES];
    uint32_t node;  /* 0: none. */
    uint64_t inode; /* Of its namespace. */
};

enum lab_life {
    LAB_NONE, /* None was made here, or it was taken down. */
    LAB_DEAD, /* Its keeper has ended: only files are left. */
    LAB_ALIVE,
};

struct lab {
    char dir[PATH_MAX]; /* Absolute. */
    int dir_fd;         /* Locked. -1: closed. */
    enum lab_life life;
    bool user_namespace;
    char spec[NIC_SPEC_BYTES];
    char idle[LAB_NAME_BYTES];
    struct process_id keeper;
    uint64_t switch_inode;
    uint32_t host_count;
    struct lab_host hosts[LAB_HOSTS_MAX];
    uint32_t node_count;
    struct process_id nodes[VOTERS_MAX]; /* Of node i + 1. */
};

/* Lock DIR and read what is there. 0, or -errno with the fault told. */
MUST_USE int lab_open(struct lab *lab, const char *dir, struct fault *fault);

/* The same, of a lab that is alive. */
MUST_USE int lab_need(struct lab *lab, const char *dir, struct fault *fault);

/* Unlock; the lab goes on. */
void lab_close(struct lab *lab);

/* Write lab.json. 0, or -errno with the fault told. */
MUST_USE int lab_save(const struct lab *lab, struct fault *fault);

/* A file of DIR, by its name and, with "%u" in it, a number. */
void lab_path(const struct lab *lab, const char *name, uint32_t number, char path[PATH_MAX]);

/* The number of a host in hosts[], by its name or, all digits, its node's number; LAB_SWITCH with
 * the fault told when there is none. */
uint32_t lab_find_host(const struct lab *lab, const char *word, struct fault *fault);

/* The path of a host's namespace, or of the switch's, for setns(2) and nsenter(1). */
void lab_namespace(const struct lab *lab, uint32_t host, char path[LAB_NAMESPACE_BYTES]);

#endif
