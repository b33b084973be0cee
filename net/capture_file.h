/* capture_file.h: the file of a capture: what the user asked for, and the file itself, opened and
 * locked. What is written into it is net/nic_dpdk_capture.h's.
 */
#ifndef NET_CAPTURE_FILE_H
#define NET_CAPTURE_FILE_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "engine/base/limits.h"

#include <stdbool.h>
#include <stdint.h>

#define CAPTURE_PATH_BYTES 1024u
#define CAPTURE_FORM       "FILE[,size=64MiB][,snap=BYTES], the file's name without a comma"

struct capture_file {
    char path[CAPTURE_PATH_BYTES];
    uint64_t bytes_max;
    uint32_t snap_bytes; /* Of every packet, headers included; the rest is not captured. */
    int fd;
};

/* False: not of CAPTURE_FORM, or its numbers are not within CAPTURE_*. Opens nothing. */
MUST_USE bool capture_file_parse(const char *text, struct capture_file *file);

/* Open it for writing, and make it if need be. A file that holds something, or that another process
 * captures into, is refused. 0, or -errno with `fault` set. */
MUST_USE int capture_file_open(struct capture_file *file, struct fault *fault);

/* Nothing was served: leave the file empty, so that the next start may have it. */
void capture_file_forget(struct capture_file *file);

#endif
