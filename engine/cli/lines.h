/* lines.h: the lines of a descriptor, each one record, without its newline.
 *
 * Any bytes may stand in a line. An empty line is a record; what stands behind the last newline is
 * one if it is not empty. Nothing is copied: lines are slices of the buffer until the next read.
 */
#ifndef ENGINE_CLI_LINES_H
#define ENGINE_CLI_LINES_H

#include "engine/base/mem.h"
#include "engine/client/client.h"

#define LINES_BYTES (4u * (RECORD_BYTES_MAX + 1u))

struct lines {
    int fd;
    bool ended;     /* The descriptor has no more. */
    bool too_long;  /* The next line is longer than a record may be. */
    uint8_t *bytes; /* LINES_BYTES. */
    uint32_t begin; /* Of what was not taken. */
    uint32_t end;
};

uint64_t lines_memory_bytes(void);
void lines_init(struct lines *lines, struct mem *mem, int fd);

/* Point `records` to the whole lines that are here; returns how many, at most `max`. */
uint32_t lines_take(struct lines *lines, struct client_record *records, uint32_t max);

/* True when lines_read() will not block. */
bool lines_ready(const struct lines *lines);

/* Read once, which may block; slices taken before are gone. 0 or -errno. Not when ended or
 * too_long, nor while lines_take() has something. */
MUST_USE int lines_read(struct lines *lines);

#endif
