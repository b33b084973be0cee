/* silence.h: what to tell when a cluster was asked in vain: causes, and what mends them. */
#ifndef ENGINE_CLIENT_SILENCE_H
#define ENGINE_CLIENT_SILENCE_H

#include "engine/base/fault.h"
#include "engine/config.h"

#include <stdbool.h>
#include <stdint.h>

struct silence {
    uint64_t waited_ns;
    uint8_t node;     /* Who was asked; 0: whoever leads. */
    uint8_t stranger; /* Who leads, by what was heard, and has no address here; 0: nobody. */
    bool heard;       /* Somebody answered. */
};

/* The address of the node, or of all of them: "127.0.0.1:7001, 127.0.0.1:7002". */
#define SILENCE_ADDRESSES_BYTES (NODES_MAX * 24u)
const char *
silence_addresses(const struct config *config, uint8_t node, char text[SILENCE_ADDRESSES_BYTES]);

/* `path` of the configuration, NULL when the addresses came without a file. */
void silence_tell(const struct config *config,
                  const char *path,
                  const struct silence *silence,
                  struct fault *fault);

#endif
