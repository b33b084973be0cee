/* restore_id.h: what makes the nodes of one restore one cluster, and of no other.
 *
 *     9f3c0a4e5b6d7788-1a2b3c4d-5e6f7a8b
 *
 * A random number, of which the store ids of all nodes follow; a checksum of what the machines'
 * configurations must agree on; and one of the backup. Made once and handed on, so that the nodes
 * name each other although each is restored on its own machine, while a second restore of the same
 * backup makes strangers.
 */
#ifndef ENGINE_CLI_RESTORE_ID_H
#define ENGINE_CLI_RESTORE_ID_H

#include "engine/cli/backup_file.h"
#include "engine/config.h"

#define RESTORE_ID_BYTES 40u /* Of its text, with the end. */

struct restore_id {
    uint64_t number; /* Random, not 0. */
    uint32_t configuration_crc;
    uint32_t backup_crc;
};

/* The id of a restore of this backup, which was read to its end, with this random number. */
struct restore_id restore_id_of(uint64_t number,
                                const struct config *config,
                                const struct backup_header *header,
                                const struct backup_trailer *trailer);

/* The text of an id; `text` has RESTORE_ID_BYTES and is returned. */
const char *restore_id_format(const struct restore_id *id, char *text);

/* False: the text is no id, and `id` is untouched. */
MUST_USE bool restore_id_parse(const char *text, struct restore_id *id);

/* The store id of a node's log, not 0. */
uint64_t restore_id_store(const struct restore_id *id, uint8_t node);

#endif
