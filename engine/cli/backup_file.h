/* backup_file.h: a backup of a log as one file: written as a stream, and read only when it is
 * whole.
 *
 *     header (64)   whose log, from which offset to before which
 *     record (24 + payload), once for each offset, in order
 *     trailer (48)  how many, and a checksum of all before it; the file ends with it
 *
 * All integers are little endian, all checksums CRC-32C; docs/STORAGE.md has the tables. The header
 * says how many records follow, so that a file that was cut off anywhere is told from a whole one.
 *
 * It must not know where records come from, or what becomes of them.
 */
#ifndef ENGINE_CLI_BACKUP_FILE_H
#define ENGINE_CLI_BACKUP_FILE_H

#include "engine/base/assert.h"
#include "engine/base/fault.h"
#include "engine/base/limits.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define BACKUP_HEADER_MAGIC  "THBACKUP"
#define BACKUP_TRAILER_MAGIC "THBACKED"
#define BACKUP_RECORD_MAGIC  0x43524854u /* "THRC" */
#define BACKUP_VERSION       1u
#define BACKUP_OFFSET_LIMIT  (1ull << 62) /* As of a log on disk. */

struct backup_header {
    uint8_t magic[8];
    uint16_t version;
    uint8_t node; /* Who gave the records. */
    uint8_t reserved[5];
    uint64_t cluster;
    uint64_t first_offset;
    uint64_t end_offset; /* Behind the last record. */
    uint8_t more[20];
    uint32_t crc; /* Of the 60 bytes before. */
};
_Static_assert(sizeof(struct backup_header) == 64, "no padding in the header of a backup");

struct backup_record {
    uint32_t magic;
    uint32_t bytes; /* Of the payload, which follows. */
    uint64_t offset;
    uint32_t payload_crc;
    uint32_t crc; /* Of the 20 bytes before. */
};
_Static_assert(sizeof(struct backup_record) == 24, "no padding in the header of a record");

struct backup_trailer {
    uint8_t magic[8];
    uint64_t record_count;
    uint64_t payload_bytes;
    uint64_t file_bytes; /* Before this trailer. */
    uint8_t reserved[8];
    uint32_t file_crc; /* Of those bytes. */
    uint32_t crc;      /* Of the 44 bytes before. */
};
_Static_assert(sizeof(struct backup_trailer) == 48, "no padding in the trailer of a backup");

/* A backup that is being written. A failed write stands in `error` (an errno), and nothing more is
 * written then. */
struct backup_writer {
    FILE *file;
    int error;
    uint64_t next_offset;
    uint64_t end_offset;
    uint64_t record_count;
    uint64_t payload_bytes;
    uint64_t file_bytes;
    uint32_t file_crc;
};

/* Of `header` only node, cluster and the two offsets are used. `file` is the caller's. */
void backup_begin(struct backup_writer *writer, FILE *file, const struct backup_header *header);
void backup_put(struct backup_writer *writer, const uint8_t *payload, uint32_t bytes);
/* Write the trailer, every record having been put, and flush. 0 or -errno. */
MUST_USE int backup_end(struct backup_writer *writer);

/* A backup that is being read, large: one a process. */
struct backup_reader {
    FILE *file;
    const char *path; /* Borrowed, for messages. */
    struct backup_header header;
    struct backup_trailer trailer; /* Once everything is read. */
    uint64_t at;                   /* Of the next byte in the file. */
    uint64_t next_offset;
    uint64_t payload_bytes;
    uint32_t file_crc;
    uint8_t payload[RECORD_BYTES_MAX]; /* Of the last record. */
    uint32_t bytes;                    /* Its length. */
};

/* Open the file and read its header. 0, or a fault's code with the fault told and nothing open:
 * FAULT_FAILED for a damaged one, with the position. */
MUST_USE int backup_open(struct backup_reader *reader, const char *path, struct fault *fault);

/* Read the next record. False: there is none, because everything was read, the trailer too, and is
 * whole; or because of the fault told. */
MUST_USE bool backup_next(struct backup_reader *reader, struct fault *fault);

void backup_close(struct backup_reader *reader);

#endif
