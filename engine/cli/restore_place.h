/* restore_place.h: a restored log in its place: a node's folder, or its block device.
 *
 * Invariant: a log is refused by every command until it is whole. In a folder it has another name
 * until then, and on a device, as in that file, a mark stands where the last superblock goes.
 */
#ifndef ENGINE_CLI_RESTORE_PLACE_H
#define ENGINE_CLI_RESTORE_PLACE_H

#include "engine/cli/restore_log.h"

#include <stdbool.h>

/* Whether a node's log may be made in its place; `already`: it is there, whole, by this very
 * restore. Writes nothing. 0, or a fault's code with the fault told. */
MUST_USE int restore_place_look(const struct restore *restore,
                                const struct config_node *node,
                                bool *already,
                                struct fault *fault);

/* Make it, durably, after restore_place_look(). 0; or a fault's code with the fault told, and then
 * no file is left. */
MUST_USE int
restore_node(struct restore *restore, const struct config_node *node, struct fault *fault);

#endif
