/* capture_file.c: see capture_file.h. */
#define _GNU_SOURCE /* flock, O_CLOEXEC */
#include "net/capture_file.h"

#include "engine/base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* One `key=value` behind the name. */
static bool option_parse(const char *option, struct capture_file *file)
{
    uint64_t snap_bytes = 0;
    if (strncmp(option, "size=", 5) == 0) {
        return units_parse_size(option + 5, &file->bytes_max) &&
               file->bytes_max >= CAPTURE_BYTES_MIN && file->bytes_max <= CAPTURE_BYTES_MAX;
    }
    if (strncmp(option, "snap=", 5) == 0 &&
        units_parse_number(option + 5, CAPTURE_SNAP_MIN, CAPTURE_SNAP_MAX, &snap_bytes)) {
        file->snap_bytes = (uint32_t)snap_bytes;
        return true;
    }
    return false;
}

bool capture_file_parse(const char *text, struct capture_file *file)
{
    *file = (struct capture_file){
        .bytes_max = CAPTURE_BYTES_DEFAULT, .snap_bytes = CAPTURE_SNAP_MAX, .fd = -1};
    size_t name_bytes = strcspn(text, ",");
    if (name_bytes == 0 || name_bytes >= CAPTURE_PATH_BYTES) {
        return false;
    }
    memcpy(file->path, text, name_bytes);
    const char *rest = text + name_bytes;
    while (*rest == ',') {
        char option[32] = "";
        size_t bytes = strcspn(rest + 1, ",");
        if (bytes >= sizeof option) {
            return false;
        }
        memcpy(option, rest + 1, bytes);
        if (!option_parse(option, file)) {
            return false;
        }
        rest += 1 + bytes;
    }
    return true;
}

int capture_file_open(struct capture_file *file, struct fault *fault)
{
    ASSERT(file->fd < 0);
    int fd = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        int error = errno;
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot capture into %.200s: %s. Name a file in a folder that this user may "
                  "write to",
                  file->path, strerror(error));
        return -error;
    }
    int error = S_ISREG(status.st_mode) ? 0 : EINVAL;
    if (error != 0) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot capture into %.200s: it is no ordinary file, whose size can be bounded. "
                  "Name one, or a new one",
                  file->path);
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        error = EBUSY;
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot capture into %.200s: another process captures into it. Name a file of "
                  "this node's own",
                  file->path);
    } else if (status.st_size > 0) {
        error = EEXIST;
        fault_set(fault, FAULT_ENVIRONMENT,
                  "cannot capture into %.200s: it holds something already. Move it away (`mv "
                  "%.100s %.100s.old`), or name another",
                  file->path, file->path, file->path);
    }
    if (error != 0) {
        (void)close(fd);
        return -error;
    }
    file->fd = fd;
    return 0;
}

void capture_file_forget(struct capture_file *file)
{
    int result = truncate(file->path, 0);
    (void)result;        /* Then the next start says that it holds something. */
    if (file->fd >= 0) { /* No capture had taken it over. */
        (void)close(file->fd);
        file->fd = -1;
    }
}
