/* lines.c: see lines.h.
 *
 * Invariant: [begin, end) is what was read and not taken.
 */
#include "engine/cli/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

uint64_t lines_memory_bytes(void)
{
    return LINES_BYTES + PAGE_BYTES;
}

void lines_init(struct lines *lines, struct mem *mem, int fd)
{
    *lines = (struct lines){.fd = fd};
    lines->bytes = mem_take(mem, "lines", 1, LINES_BYTES, 64);
}

uint32_t lines_take(struct lines *lines, struct client_record *records, uint32_t max)
{
    ASSERT(max > 0);
    uint32_t count = 0;
    while (count < max && lines->begin < lines->end && !lines->too_long) {
        const uint8_t *line = lines->bytes + lines->begin;
        uint32_t rest_bytes = lines->end - lines->begin;
        const uint8_t *newline = memchr(line, '\n', rest_bytes);
        if (newline == NULL && !lines->ended && rest_bytes <= RECORD_BYTES_MAX) {
            break;
        }
        uint32_t line_bytes = newline == NULL ? rest_bytes : (uint32_t)(newline - line);
        if (line_bytes > RECORD_BYTES_MAX) {
            lines->too_long = true;
            break;
        }
        records[count++] = (struct client_record){.payload = line, .bytes = line_bytes};
        lines->begin += line_bytes + (newline == NULL ? 0 : 1);
    }
    ASSERT(lines->begin <= lines->end);
    return count;
}

bool lines_ready(const struct lines *lines)
{
    struct pollfd wanted = {.fd = lines->fd, .events = POLLIN};
    return poll(&wanted, 1, 0) != 0; /* An error is told by reading. */
}

int lines_read(struct lines *lines)
{
    ASSERT(!lines->ended);
    ASSERT(!lines->too_long);
    memmove(lines->bytes, lines->bytes + lines->begin, lines->end - lines->begin);
    lines->end -= lines->begin;
    lines->begin = 0;
    ASSERT(lines->end <= RECORD_BYTES_MAX);
    for (;;) {
        ssize_t got = read(lines->fd, lines->bytes + lines->end, LINES_BYTES - lines->end);
        if (got >= 0) {
            lines->end += (uint32_t)got;
            lines->ended = got == 0;
            return 0;
        }
        struct pollfd wanted = {.fd = lines->fd, .events = POLLIN};
        if (errno == EAGAIN) { /* Somebody made it non-blocking: wait all the same. */
            (void)poll(&wanted, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}
