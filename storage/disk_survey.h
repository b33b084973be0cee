/* disk_survey.h: what lies under a data folder or device: filesystem, disk, its cache, scheduler,
 * queues and interrupts, and how the log's file is laid out there. For `thole doctor` and for what
 * a result says of its machine.
 *
 * Looks; the one thing it writes is a page of a scratch file that has no name any more. The
 * refusals are those of a start, from the same functions (storage/disk_file.h).
 */
#ifndef STORAGE_DISK_SURVEY_H
#define STORAGE_DISK_SURVEY_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define DISK_SURVEY_WORD_BYTES 64u
#define DISK_SURVEY_EXTENTS    64u   /* Asked for at a time ... */
#define DISK_SURVEY_ASKS_MAX   4096u /* ... so often at most. */

/* The disk below a path, down to the whole device at the bottom of partitions and stacks. */
struct disk_device {
    char filesystem[DISK_SURVEY_WORD_BYTES];  /* As mounted; "" of a bare device. */
    char name[DISK_SURVEY_WORD_BYTES];        /* In /sys/block; "": none that the kernel shows. */
    char write_cache[DISK_SURVEY_WORD_BYTES]; /* "write back", "write through"; "": not told. */
    char scheduler[DISK_SURVEY_WORD_BYTES];   /* The one in use. */
    int fua;                                  /* 1: it takes FUA writes; 0; -1: not told. */
    uint32_t logical_bytes;                   /* Of a block; 0: not told. */
    uint32_t physical_bytes;
    uint32_t queue_count;
    int interrupt_cpu; /* That took most of its interrupts; -1: not known. */
    bool is_stacked;   /* A loop, LVM, RAID: what it says of its cache may not hold below. */
};

enum disk_layout {
    DISK_LAYOUT_UNKNOWN, /* No file, no right to look, or a filesystem that does not tell. */
    DISK_LAYOUT_WRITTEN, /* Every block is there and was written. */
    DISK_LAYOUT_HOLES,   /* Some were not: a first write there costs a journal commit. */
    DISK_LAYOUT_SHARED,  /* Some are another file's too: a write there copies. */
};

struct disk_survey {
    char place[PATH_MAX]; /* Looked at: the data itself, or the nearest folder that is there. */
    bool is_device;
    bool exists; /* The data folder or device. */
    struct disk_device device;
    struct fault filesystem; /* A refusal of it by name; code 0: none. */
    struct fault direct;     /* A refusal of O_DIRECT or O_DSYNC there; code 0: none. */
    bool direct_unknown;     /* This process may not write there, so it was not tried. */
    struct fault space;      /* Too little for the log that is to be made; code 0: none. */
    uint64_t free_bytes;     /* Of a device: all. 0: not seen. */
    const char *content;     /* What a device holds, in words; NULL: not seen. */
    bool content_foreign;    /* And that is neither nothing nor a log. */
    bool log_found;
    bool log_locked; /* By a process that has it open. */
    uint64_t log_bytes;
    enum disk_layout layout;
    uint64_t layout_bytes; /* So many are not as they should be. */
};

#define DISK_SURVEY_TEXT_BYTES 320u

/* How a durable write comes to be durable: "write through", "volatile, with FUA", ... */
const char *disk_cache_words(const struct disk_device *device);

/* The device in one line: its name, what is on it, its blocks and its cache. */
const char *disk_device_words(const struct disk_device *device, char text[DISK_SURVEY_TEXT_BYTES]);

/* The device below an existing path. */
void disk_device_look(struct disk_device *device, const char *path);

/* All of it: `data` is a folder, whether there or not, or a block device; `log` the log's path in
 * it; `wanted_bytes` what is to be free where there is no log yet. */
void disk_survey(struct disk_survey *survey,
                 const char *data,
                 const char *log,
                 uint64_t wanted_bytes);

#endif
