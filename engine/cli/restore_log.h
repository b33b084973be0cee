/* restore_log.h: the logs of a new cluster, made of a backup.
 *
 * Every node gets the log that it would have, had the cluster taken the backup's records under its
 * first leader and stopped when all was committed everywhere: a configuration that names the store
 * ids of all nodes, the records at their offsets, and a no-op. The bytes follow from the backup,
 * the new cluster's configuration file and the restore's id (restore_id.h), so the nodes may be
 * restored on different machines, or one after the other.
 *
 * Must not know where a log is to stand: restore_place.h does.
 */
#ifndef ENGINE_CLI_RESTORE_LOG_H
#define ENGINE_CLI_RESTORE_LOG_H

#include "engine/cli/restore_id.h"
#include "engine/raft/raft.h"
#include "storage/format.h"

#define RESTORE_TERM                                                                               \
    1u /* Of every entry. Nobody voted in it; the first leader has the next one.                   \
        */

struct restore {
    const struct config *config;
    const char *path; /* Of the configuration. */
    const char *backup_path;
    struct backup_reader reader;
    struct backup_header source;
    struct backup_trailer trailer;
    uint64_t log_bytes; /* That the entries take. */
    struct restore_id id;
    struct raft_configuration configuration;
};

/* Read all of the backup, and say whether a cluster of this configuration can be made of it.
 * Writes nothing. 0, or a fault's code with the fault told. */
MUST_USE int restore_check(struct restore *restore,
                           const struct config *config,
                           const char *path,
                           const char *backup_path,
                           struct fault *fault);

/* After restore_check(): a restore of its own (NULL), or more of one that began elsewhere or was
 * interrupted. 0, or a fault's code with the fault told: that one had another backup or another
 * configuration. */
MUST_USE int
restore_join(struct restore *restore, const struct restore_id *given, struct fault *fault);

/* Fill a zeroed file or device with one node's log, durably; until the end of it, it is marked as
 * unfinished. 0, or a fault's code with the fault told. */
MUST_USE int restore_log_write(struct restore *restore,
                               const char *path,
                               const struct format_config *format,
                               struct fault *fault);

#endif
