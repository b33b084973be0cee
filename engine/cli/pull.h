/* pull.h: records of a cluster to stdout, or to whoever takes them: what `thole read`, `thole tail`
 * and `thole backup` share. */
#ifndef ENGINE_CLI_PULL_H
#define ENGINE_CLI_PULL_H

#include "engine/cli/connect.h"
#include "engine/client/fetch.h"

/* What both commands are told by flags. */
struct pull_options {
    const char *path;
    uint8_t node; /* 0: whoever leads. */
    bool json;
    bool linearizable;
    bool has_from;
    uint64_t from;
    fetch_take take; /* NULL: print. It may call fetch_stop(). */
    void *context;   /* Of `take`. */
};

/* Their flags, for `children` of a command's parser; at ARGP_KEY_INIT it gives its struct
 * pull_options as child_inputs[0]. Refuses arguments, and a command line without -c FILE. */
extern const struct argp_child pull_flags[];

struct pull {
    struct pull_options options;
    struct connect connect;
    struct fetch fetch;
    char *base64;
    uint64_t printed; /* Or taken. */
    bool silence_told;
};

struct pull_range {
    uint64_t from;
    uint64_t end;    /* FETCH_NO_END: follow. */
    bool from_asked; /* By a flag: then a trimmed beginning is a failure, and not stepped over. */
};

/* Connect, and ask where the log starts and ends: pull->fetch.view. 0, or non-zero with the fault
 * told and nothing open. */
MUST_USE int pull_open(struct pull *pull, const struct pull_options *options, struct fault *fault);

/* Print the records of the range. 0, or the code of the fault told. Does not end when it follows,
 * but by a fault or a signal. */
MUST_USE int pull_print(struct pull *pull, const struct pull_range *range, struct fault *fault);

void pull_close(struct pull *pull);

#endif
