/* connect.h: a client of a running cluster, for the commands that talk to one.
 *
 * Reads the configuration for its addresses, and opens a kernel socket on a port of its own. All
 * its memory is taken at once, with what the command asks for beside it.
 */
#ifndef ENGINE_CLI_CONNECT_H
#define ENGINE_CLI_CONNECT_H

#include "engine/base/fault.h"
#include "engine/base/mem.h"
#include "engine/client/client.h"
#include "engine/config.h"

#include <argp.h>

struct connect {
    struct config config;
    const char *path; /* Of the configuration. */
    struct mem mem;
    struct nic *nic;
    struct client *client;
};

/* `memory_bytes` of connect->mem stay for the caller, to be taken before mem_seal(), which is his.
 * 0, or -errno with the fault told and nothing open. */
MUST_USE int connect_open(struct connect *connect,
                          const char *path,
                          uint64_t timeout_ns,
                          uint64_t memory_bytes,
                          struct fault *fault);
void connect_close(struct connect *connect);

/* Return when a frame may have come, or at about `deadline_ns`. */
void connect_wait(const struct connect *connect, uint64_t now_ns, uint64_t deadline_ns);

/* The same, or when `input_fd` may be read; -1: no matter. */
void connect_wait_input(const struct connect *connect,
                        int input_fd,
                        uint64_t now_ns,
                        uint64_t deadline_ns);

/* How a command has waited in vain. */
struct connect_silence {
    uint64_t waited_ns;
    uint8_t node; /* Who was asked; 0: whoever leads. */
    uint8_t
        stranger; /* Who leads, by what was heard, and is not in the configuration; 0: nobody. */
    bool heard;   /* Somebody answered. */
};

/* Tell it, with what to do. */
void connect_unavailable(const struct connect *connect,
                         const struct connect_silence *silence,
                         struct fault *fault);

/* Values of flags; argp_error() and no return when wrong. */
uint8_t connect_parse_node(struct argp_state *state, const char *value);
uint64_t connect_parse_number(struct argp_state *state, const char *flag, const char *value);

#endif
