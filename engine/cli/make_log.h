/* make_log.h: a data folder with a formatted log in it, or a formatted block device.
 *
 * DATA, wherever the program takes it, is a folder that holds one file `log`, or a block device.
 */
#ifndef ENGINE_CLI_MAKE_LOG_H
#define ENGINE_CLI_MAKE_LOG_H

#include "engine/base/fault.h"
#include "storage/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAKE_LOG_NAME "log"

/* The path of the log of DATA into `path`; false: too long. */
MUST_USE bool make_log_path(const char *data, char *path, size_t path_bytes);

/* A random id that is not 0: of a store, a cluster or a client. */
uint64_t make_log_random_id(void);

/* Make the folder if it is missing, the file of `bytes`, and an empty log in it. A folder that is
 * not empty is refused unless `force`, which replaces the log in it and touches nothing else; so is
 * a device that holds anything, and one that is in use whatever was given. 0, or -errno with the
 * fault told, and then no new file is left. */
MUST_USE int make_log(const char *data,
                      uint64_t bytes,
                      const struct format_config *config,
                      bool force,
                      struct fault *fault);

/* Whose folder is this? One with anything in it but what mkfs leaves, and `known` if that is not
 * NULL, may be a mistake. 0, or -errno with the fault told. */
MUST_USE int make_log_refuse_strangers(const char *data, const char *known, struct fault *fault);

/* Do entries of a log stand on the device, though its ends are zero? `way`: what to do then, for
 * the message. Reads a few pages of each of its first MiB. 0, or -errno with the fault told. */
MUST_USE int make_log_refuse_remains(const char *path, const char *way, struct fault *fault);

#endif
