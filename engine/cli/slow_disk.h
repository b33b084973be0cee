/* slow_disk.h: a disk that is slowed on request, as it is written on a command line.
 *
 *     TIME[,share=PERCENT][,seed=N][,file=PATH]        5ms    5ms,share=0.5    0,file=n1.slow
 *
 * With a file its numbers stand there and may be changed while the node runs; a file that is there
 * already has the last word.
 */
#ifndef ENGINE_CLI_SLOW_DISK_H
#define ENGINE_CLI_SLOW_DISK_H

#include "engine/base/fault.h"
#include "storage/disk_slow.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SLOW_DISK_PATH_BYTES 512u

#define SLOW_DISK_FORM "TIME[,share=PERCENT][,seed=N][,file=PATH], at most 60s, e.g. 5ms,share=0.5"

struct slow_disk {
    bool wanted;
    uint64_t delay_ns;
    uint64_t share;                  /* Of a million. */
    uint64_t seed;                   /* 0: a random one. */
    char path[SLOW_DISK_PATH_BYTES]; /* "": the numbers are this process's own. */
};

/* False: not of this form. */
MUST_USE bool slow_disk_parse(const char *text, struct slow_disk *slow);

/* The numbers to run with; they live until the process ends. 0, or -errno with the fault told. */
MUST_USE int slow_disk_numbers(const struct slow_disk *slow,
                               struct disk_slow_numbers **numbers,
                               struct fault *fault);

/* What is asked of the disk, in one line without its end. */
void slow_disk_print(const struct disk_slow_numbers *numbers, FILE *out);

#endif
