/* append_fault.h: why `thole append` stopped, which lines are in the log, and what to do. */
#ifndef ENGINE_CLI_APPEND_FAULT_H
#define ENGINE_CLI_APPEND_FAULT_H

#include "engine/cli/connect.h"
#include "engine/client/writer.h"

struct append_view {
    const struct connect *connect;
    const struct writer *writer;
    const char *session; /* NULL: without a name. */
    uint64_t first;      /* Number of line 1 in the session; 0: not known. */
    uint64_t timeout_ns;
    bool expects;
    uint64_t expected; /* Offset of line 1. */
    uint64_t acked;    /* Lines, from the first on: they are in the log. */
    uint64_t doubted;  /* Lines up to here may be. */
};

/* What became of the first line that is not acknowledged. */
void append_fault(const struct append_view *view,
                  const struct writer_outcome *outcome,
                  struct fault *fault);

/* Which lines are in the log, which may be, which are not: a sentence without its stop. */
#define APPEND_WHERE_BYTES 128u
const char *append_where(const struct append_view *view, char *text);

/* How to go on without doubling a line: a sentence without its stop. */
#define APPEND_ADVICE_BYTES 192u
const char *append_advice(const struct append_view *view, char *text);

#endif
