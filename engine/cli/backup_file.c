/* backup_file.c: see backup_file.h. */
#include "engine/cli/backup_file.h"

#include "engine/base/crc.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define HEADER_CRC_AT  60u
#define RECORD_CRC_AT  20u
#define TRAILER_CRC_AT 44u
#define READ_BYTES     (256u * 1024u) /* At a time: the records may be small. */

/* ---- Writing. ---- */

static void put_bytes(struct backup_writer *writer, const void *bytes, uint32_t count)
{
    if (writer->error != 0 || count == 0) {
        return;
    }
    errno = 0;
    if (fwrite(bytes, 1, count, writer->file) != count) {
        writer->error = errno != 0 ? errno : EIO;
        return;
    }
    writer->file_crc = crc32c(writer->file_crc, bytes, count);
    writer->file_bytes += count;
}

void backup_begin(struct backup_writer *writer, FILE *file, const struct backup_header *header)
{
    ASSERT(file != NULL);
    ASSERT(header->first_offset <= header->end_offset);
    *writer = (struct backup_writer){
        .file = file, .next_offset = header->first_offset, .end_offset = header->end_offset};
    struct backup_header sealed = {
        .version = BACKUP_VERSION,
        .node = header->node,
        .cluster = header->cluster,
        .first_offset = header->first_offset,
        .end_offset = header->end_offset,
    };
    memcpy(sealed.magic, BACKUP_HEADER_MAGIC, sizeof sealed.magic);
    sealed.crc = crc32c(0, &sealed, HEADER_CRC_AT);
    put_bytes(writer, &sealed, sizeof sealed);
}

void backup_put(struct backup_writer *writer, const uint8_t *payload, uint32_t bytes)
{
    ASSERT(bytes <= RECORD_BYTES_MAX);
    ASSERT(writer->next_offset < writer->end_offset);
    struct backup_record record = {
        .magic = BACKUP_RECORD_MAGIC,
        .bytes = bytes,
        .offset = writer->next_offset,
        .payload_crc = crc32c(0, payload, bytes),
    };
    record.crc = crc32c(0, &record, RECORD_CRC_AT);
    put_bytes(writer, &record, sizeof record);
    put_bytes(writer, payload, bytes);
    writer->next_offset++;
    writer->record_count++;
    writer->payload_bytes += bytes;
}

int backup_end(struct backup_writer *writer)
{
    ASSERT(writer->error != 0 || writer->next_offset == writer->end_offset);
    struct backup_trailer trailer = {
        .record_count = writer->record_count,
        .payload_bytes = writer->payload_bytes,
        .file_bytes = writer->file_bytes,
        .file_crc = writer->file_crc,
    };
    memcpy(trailer.magic, BACKUP_TRAILER_MAGIC, sizeof trailer.magic);
    trailer.crc = crc32c(0, &trailer, TRAILER_CRC_AT);
    put_bytes(writer, &trailer, sizeof trailer);
    if (writer->error == 0 && fflush(writer->file) != 0) {
        writer->error = errno;
    }
    return -writer->error;
}

/* ---- Reading. ---- */

static void
damaged(const struct backup_reader *reader, uint64_t at, const char *what, struct fault *fault)
{
    fault_set(fault, FAULT_FAILED,
              "the backup %.200s is damaged at byte %" PRIu64 ": %s. Nothing of it is used: take "
              "another copy of it, or make a new one with `thole backup`",
              reader->path, at, what);
}

/* The next bytes of the file, all of them. */
static bool
get_bytes(struct backup_reader *reader, void *bytes, uint32_t count, struct fault *fault)
{
    size_t got = count == 0 ? 0 : fread(bytes, 1, count, reader->file);
    if (got == count) {
        reader->file_crc = crc32c(reader->file_crc, bytes, count);
        reader->at += count;
        return true;
    }
    if (ferror(reader->file) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot read %.200s at byte %" PRIu64 ": %s",
                  reader->path, reader->at + got, strerror(errno));
    } else {
        damaged(reader, reader->at + got, "it ends there, and more must follow", fault);
    }
    return false;
}

static bool all_zero(const uint8_t *bytes, uint32_t count)
{
    uint8_t any = 0;
    for (uint32_t i = 0; i < count; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

static const char *header_check(const struct backup_header *header)
{
    if (memcmp(header->magic, BACKUP_HEADER_MAGIC, sizeof header->magic) != 0) {
        return "no backup begins with such bytes";
    }
    if (header->crc != crc32c(0, header, HEADER_CRC_AT)) {
        return "the header's checksum is wrong";
    }
    if (header->version != BACKUP_VERSION) {
        return NULL; /* Whole, and of another program: said apart. */
    }
    bool good = header->first_offset <= header->end_offset &&
                header->end_offset < BACKUP_OFFSET_LIMIT && header->node >= 1 &&
                header->node <= NODE_ID_MAX && header->cluster != 0 &&
                all_zero(header->reserved, sizeof header->reserved) &&
                all_zero(header->more, sizeof header->more);
    return good ? NULL : "the header's numbers cannot be";
}

static int header_read(struct backup_reader *reader, struct fault *fault)
{
    if (!get_bytes(reader, &reader->header, sizeof reader->header, fault)) {
        return fault->code;
    }
    const char *wrong = header_check(&reader->header);
    if (wrong != NULL) {
        damaged(reader, 0, wrong, fault);
    } else if (reader->header.version != BACKUP_VERSION) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%.200s is a backup of format %u, and this program reads format %u: restore it "
                  "with the program that made it",
                  reader->path, reader->header.version, BACKUP_VERSION);
    }
    reader->next_offset = reader->header.first_offset;
    return fault->code;
}

int backup_open(struct backup_reader *reader, const char *path, struct fault *fault)
{
    reader->path = path;
    reader->at = 0;
    reader->payload_bytes = 0;
    reader->file_crc = 0;
    reader->bytes = 0;
    reader->file = fopen(path, "rbe");
    if (reader->file == NULL) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot open the backup %.200s: %s", path,
                  strerror(errno));
        return fault->code;
    }
    (void)setvbuf(reader->file, NULL, _IOFBF, READ_BYTES);
    if (header_read(reader, fault) != 0) {
        (void)fclose(reader->file);
        reader->file = NULL;
    }
    return fault->code;
}

/* Behind the last record: the trailer, and nothing more. */
static void trailer_read(struct backup_reader *reader, struct fault *fault)
{
    struct backup_trailer *trailer = &reader->trailer;
    uint64_t at = reader->at;
    uint32_t file_crc = reader->file_crc;
    if (!get_bytes(reader, trailer, sizeof *trailer, fault)) {
        return;
    }
    bool sealed = memcmp(trailer->magic, BACKUP_TRAILER_MAGIC, sizeof trailer->magic) == 0 &&
                  trailer->crc == crc32c(0, trailer, TRAILER_CRC_AT) &&
                  all_zero(trailer->reserved, sizeof trailer->reserved);
    uint64_t record_count = reader->header.end_offset - reader->header.first_offset;
    if (!sealed) {
        damaged(reader, at, "the trailer's checksum is wrong", fault);
    } else if (trailer->record_count != record_count ||
               trailer->payload_bytes != reader->payload_bytes || trailer->file_bytes != at) {
        damaged(reader, at, "the trailer counts other records than there are", fault);
    } else if (trailer->file_crc != file_crc) {
        damaged(reader, at, "the checksum of the whole file is wrong", fault);
    } else if (fgetc(reader->file) != EOF) {
        damaged(reader, reader->at, "it goes on behind its end", fault);
    }
}

bool backup_next(struct backup_reader *reader, struct fault *fault)
{
    ASSERT(fault->code == 0);
    if (reader->next_offset == reader->header.end_offset) {
        trailer_read(reader, fault);
        return false;
    }
    struct backup_record record;
    uint64_t at = reader->at;
    if (!get_bytes(reader, &record, sizeof record, fault)) {
        return false;
    }
    if (record.magic != BACKUP_RECORD_MAGIC || record.crc != crc32c(0, &record, RECORD_CRC_AT) ||
        record.bytes > RECORD_BYTES_MAX) {
        damaged(reader, at, "the header of a record is wrong", fault);
        return false;
    }
    if (record.offset != reader->next_offset) {
        damaged(reader, at, "the record has not the next offset", fault);
        return false;
    }
    at = reader->at;
    if (!get_bytes(reader, reader->payload, record.bytes, fault)) {
        return false;
    }
    if (record.payload_crc != crc32c(0, reader->payload, record.bytes)) {
        damaged(reader, at, "the checksum of the record is wrong", fault);
        return false;
    }
    reader->bytes = record.bytes;
    reader->payload_bytes += record.bytes;
    reader->next_offset++;
    return true;
}

void backup_close(struct backup_reader *reader)
{
    ASSERT(reader->file != NULL);
    (void)fclose(reader->file);
    reader->file = NULL;
}
