/* config.h: the cluster's configuration: one INI file for all its nodes and clients.
 *
 *     [cluster]   id = 9f3c0a4e5b6d7788             hexadecimal, not 0
 *     [node N]    address = 127.0.0.1:7001          N from 1 to NODE_ID_MAX, up to VOTERS_MAX nodes
 *                 data = n1                         folder or device; relative to the file
 *                 spec = af_xdp:veth1               optional: instead of [net] spec
 *     [net]       spec = udp
 *     [storage]   size = 256MiB  segment = 16MiB  retention = 128MiB  durability = dsync | memory
 *     [raft]      election = 150ms-300ms  heartbeat = 15ms  disk_stall = 1s  catchup = 64MiB
 *                 scrub = 4MiB              bytes a second of the own log, read again; 0: never
 *                 scrub_every = 1h          from the begin of a pass to that of the next
 *
 * Only the id and the nodes' addresses must be there; `data` too, for whoever is a node. An
 * unknown, doubled or malformed key or section is refused with its line. Knows no flags and opens
 * nothing but its file.
 */
#ifndef ENGINE_CONFIG_H
#define ENGINE_CONFIG_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "engine/base/limits.h"
#include "net/nic.h"
#include "net/spec.h"

#include <stdint.h>

#define CONFIG_PATH_BYTES     512u
#define CONFIG_SPEC_BYTES     NIC_SPEC_BYTES
#define CONFIG_FILE_BYTES_MAX 65536u

enum config_durability { CONFIG_DSYNC, CONFIG_MEMORY };

struct config_node {
    uint8_t id;
    struct nic_address address;
    char data[CONFIG_PATH_BYTES]; /* Absolute, or from where the program runs; "": not given. */
    char spec[CONFIG_SPEC_BYTES]; /* Its own, or [net]'s. */
};

struct config {
    uint64_t cluster;
    uint32_t node_count;
    struct config_node nodes[VOTERS_MAX]; /* Ascending by id. */
    char spec[CONFIG_SPEC_BYTES];
    enum config_durability durability;
    uint64_t size_bytes; /* Of one node's log file. */
    uint64_t segment_bytes;
    uint64_t retention_bytes; /* 0: nothing is trimmed. */
    uint64_t election_min_ns;
    uint64_t election_max_ns;
    uint64_t heartbeat_ns;
    uint64_t disk_stall_ns;
    uint64_t catchup_bytes_per_s;
    uint64_t scrub_bytes_per_s; /* 0: off. */
    uint64_t scrub_every_ns;
};

/* Read the file. 0; or -EINVAL (FAULT_USAGE) or another negative errno, with the fault told; then
 * `config` holds nothing. */
MUST_USE int config_load(struct config *config, const char *path, struct fault *fault);

/* The same from memory; `path` is for messages and relative paths. */
MUST_USE int config_parse(struct config *config,
                          const char *path,
                          const char *text,
                          uint32_t text_bytes,
                          struct fault *fault);

/* "127.0.0.1:7001"; false: it is no such address, and `address` is untouched. */
MUST_USE bool config_parse_address(const char *text, struct nic_address *address);

/* The node of this number, with what a node needs to run. NULL with the fault told when there is no
 * such node, or no `data` although the log is to be durable. */
const struct config_node *
config_node_of(const struct config *config, uint32_t id, struct fault *fault);

/* What `--local N` means: N nodes of one process on ports of its ring, all else as by default. */
void config_default_local(struct config *config, uint32_t node_count);

#endif
