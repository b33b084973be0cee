/* staging.c: see staging.h.
 *
 * Invariant: fragments of one request are of one cut: all but the last have the same length, so
 * that together they leave no hole.
 */
#include "engine/staging.h"

#include <string.h>

uint64_t staging_memory_bytes(void)
{
    return CLIENT_STAGING_MAX * ENTRY_BYTES_MAX + PAGE_BYTES;
}

void staging_init(struct staging *staging, struct mem *mem)
{
    *staging = (struct staging){0};
    uint8_t *bytes =
        mem_take(mem, "client staging", CLIENT_STAGING_MAX, ENTRY_BYTES_MAX, PAGE_BYTES);
    for (uint32_t i = 0; i < CLIENT_STAGING_MAX; i++) {
        staging->requests[i].bytes = bytes + (uint64_t)i * ENTRY_BYTES_MAX;
    }
}

void staging_reset(struct staging *staging)
{
    for (uint32_t i = 0; i < CLIENT_STAGING_MAX; i++) {
        staging->requests[i].client = 0;
    }
}

static void begin(struct staging_request *request, const struct wire_frame *frame, uint64_t now_ns)
{
    request->client = frame->header.from_store;
    request->client_boot = frame->header.from_boot;
    request->token = frame->header.token;
    request->request_bytes = frame->request.request_bytes;
    request->received_bytes = 0;
    request->fragment_count = 0;
    request->part_bytes = 0;
    request->last_bytes = 0;
    request->touched_ns = now_ns;
}

/* The request of a fragment; the one untouched for longest gives way to a new one. */
static struct staging_request *
request_for(struct staging *staging, const struct wire_frame *frame, uint64_t now_ns)
{
    struct staging_request *oldest = &staging->requests[0];
    for (uint32_t i = 0; i < CLIENT_STAGING_MAX; i++) {
        struct staging_request *request = &staging->requests[i];
        if (request->client == frame->header.from_store && request->token == frame->header.token &&
            request->client_boot == frame->header.from_boot) {
            bool same = request->request_bytes == frame->request.request_bytes;
            return same ? request : NULL;
        }
        if (request->client == 0 ||
            (oldest->client != 0 && request->touched_ns < oldest->touched_ns)) {
            oldest = request->client == 0 && oldest->client == 0 ? oldest : request;
        }
    }
    begin(oldest, frame, now_ns);
    return oldest;
}

const uint8_t *staging_put(struct staging *staging, const struct wire_frame *frame, uint64_t now_ns)
{
    struct staging_request *request = request_for(staging, frame, now_ns);
    if (request == NULL || request->fragment_count == FRAGMENTS_MAX) {
        return NULL;
    }
    for (uint32_t i = 0; i < request->fragment_count; i++) {
        if (request->offsets[i] == frame->request.offset) {
            return NULL;
        }
    }
    uint32_t end = frame->request.offset + frame->payload_bytes;
    ASSERT(end <= request->request_bytes);
    bool last = end == request->request_bytes;
    uint32_t *part_bytes = last ? &request->last_bytes : &request->part_bytes;
    if (*part_bytes != 0 && *part_bytes != frame->payload_bytes) {
        return NULL; /* Of another cut of the request. */
    }
    *part_bytes = frame->payload_bytes;
    memcpy(request->bytes + frame->request.offset, frame->payload, frame->payload_bytes);
    request->offsets[request->fragment_count++] = frame->request.offset;
    request->received_bytes += frame->payload_bytes;
    request->touched_ns = now_ns;
    if (request->received_bytes < request->request_bytes ||
        request->last_bytes > request->part_bytes) {
        return NULL;
    }
    request->client = 0;
    return request->bytes;
}
