/* restore_log.h: the logs of a new cluster, made of a backup.
 *
 * Every node gets the log that it would have, had the cluster taken the backup's records under its
 * first leader and stopped when all was committed everywhere: a configuration that names the store
 * ids of all nodes, the records at their offsets, and a no-op. The bytes follow from the backup and
 * the new cluster's configuration file alone, so the nodes may be restored on different machines,
 * one after the other or again.
 *
 * Invariant: a log's superblocks are its last bytes to be written, and in a folder it gets its name
 * after them. What was interrupted is no log, and is made anew.
 */
#ifndef ENGINE_CLI_RESTORE_LOG_H
#define ENGINE_CLI_RESTORE_LOG_H

#include "engine/cli/backup_file.h"
#include "engine/config.h"
#include "engine/raft/raft.h"

struct restore {
    const struct config *config;
    const char *path; /* Of the configuration. */
    const char *backup_path;
    struct backup_reader reader;
    struct backup_header source;
    struct backup_trailer trailer;
    uint64_t log_bytes; /* That the entries take. */
    struct raft_configuration configuration;
};

/* Read all of the backup, and say whether a cluster of this configuration can be made of it.
 * Writes nothing. 0, or a fault's code with the fault told. */
MUST_USE int restore_check(struct restore *restore,
                           const struct config *config,
                           const char *path,
                           const char *backup_path,
                           struct fault *fault);

/* Make the log of one node, durably; `already`: it was there, made of this very backup. 0, or a
 * fault's code with the fault told. */
MUST_USE int restore_node(struct restore *restore,
                          const struct config_node *node,
                          bool *already,
                          struct fault *fault);

#endif
