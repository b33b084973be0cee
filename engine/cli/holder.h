/* holder.h: who on this machine has a log open. Reads only, and takes no lock. */
#ifndef ENGINE_CLI_HOLDER_H
#define ENGINE_CLI_HOLDER_H

#include "engine/base/assert.h"
#include "engine/cli/ask.h"
#include "engine/config.h"
#include "storage/superblock.h"

#include <stdbool.h>

/* The newest superblock of the log at `path`, whoever has it open; false: none can be read. */
MUST_USE bool holder_superblock(const char *path, struct superblock *superblock);

/* Of every node that has not answered: the process that has its log, if that is seen from here. A
 * log of another node or cluster at the same path tells nothing: the node is another machine's. */
void holder_look(const struct config *config, struct ask_answer answers[VOTERS_MAX]);

#endif
