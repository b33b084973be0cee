/* fuzz_backup.c: any file as a backup: it is refused with a message, or writing what was read gives
 * the same file again.
 *
 * The last byte of an input is no part of the file: odd, and the checksums are mended first, so
 * that what lies behind them is reached.
 */
#define _GNU_SOURCE /* memfd_create */
#include "engine/base/crc.h"
#include "engine/cli/backup_file.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FUZZ_FILE_BYTES_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t file_bytes[FUZZ_FILE_BYTES_MAX];
static uint8_t again_bytes[FUZZ_FILE_BYTES_MAX];
static struct backup_reader reader; /* Large. */

static void seal(uint8_t *bytes, uint32_t count)
{
    uint32_t crc = crc32c(0, bytes, count - 4);
    memcpy(bytes + count - 4, &crc, sizeof crc);
}

/* Checksums of the header, of every record as far as one follows the other, and of the trailer. */
static void mend(uint32_t count)
{
    uint32_t at = sizeof(struct backup_header);
    if (count < at + sizeof(struct backup_trailer)) {
        return;
    }
    seal(file_bytes, at);
    uint32_t end = count - (uint32_t)sizeof(struct backup_trailer);
    struct backup_record record;
    while (end - at >= sizeof record) {
        memcpy(&record, file_bytes + at, sizeof record);
        if (record.bytes > end - at - sizeof record) {
            break;
        }
        record.payload_crc = crc32c(0, file_bytes + at + sizeof record, record.bytes);
        memcpy(file_bytes + at, &record, sizeof record);
        seal(file_bytes + at, sizeof record);
        at += (uint32_t)sizeof record + record.bytes;
    }
    struct backup_trailer trailer;
    memcpy(&trailer, file_bytes + end, sizeof trailer);
    trailer.file_crc = crc32c(0, file_bytes, end);
    memcpy(file_bytes + end, &trailer, sizeof trailer);
    seal(file_bytes + end, sizeof trailer);
}

/* Read and write again at once. */
static void read_whole(struct backup_writer *writer, FILE *again, uint32_t count)
{
    struct fault fault = {0};
    backup_begin(writer, again, &reader.header);
    while (backup_next(&reader, &fault)) {
        ASSERT(reader.bytes <= RECORD_BYTES_MAX);
        backup_put(writer, reader.payload, reader.bytes);
    }
    backup_close(&reader);
    if (fault.code != 0) {
        ASSERT(fault.code == FAULT_FAILED);
        ASSERT(strstr(fault.text, "damaged at byte ") != NULL);
        return;
    }
    int ended = backup_end(writer);
    ASSERT(ended == 0);
    ASSERT(writer->file_bytes == count);
    ASSERT(memcmp(file_bytes, again_bytes, count) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("backup", MFD_CLOEXEC);
        ASSERT(fd >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (size == 0 || size > FUZZ_FILE_BYTES_MAX) {
        return 0;
    }
    uint32_t count = (uint32_t)size - 1;
    memcpy(file_bytes, data, count);
    if (data[count] % 2 == 1) {
        mend(count);
    }
    ssize_t written = pwrite(fd, file_bytes, count, 0);
    int cut = ftruncate(fd, count);
    ASSERT(written == (ssize_t)count);
    ASSERT(cut == 0);
    struct fault fault = {0};
    if (backup_open(&reader, path, &fault) != 0) {
        ASSERT(fault.code == FAULT_FAILED || fault.code == FAULT_ENVIRONMENT);
        ASSERT(strstr(fault.text, path) != NULL);
        ASSERT(reader.file == NULL);
        return 0;
    }
    FILE *again = fmemopen(again_bytes, sizeof again_bytes, "wb");
    ASSERT(again != NULL);
    struct backup_writer writer;
    read_whole(&writer, again, count);
    (void)fclose(again);
    return 0;
}
