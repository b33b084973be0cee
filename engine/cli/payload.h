/* payload.h: a record's bytes for people and for JSON. */
#ifndef ENGINE_CLI_PAYLOAD_H
#define ENGINE_CLI_PAYLOAD_H

#include "engine/base/limits.h"

#include <jansson.h>
#include <stdint.h>

#define PAYLOAD_BASE64_BYTES ((RECORD_BYTES_MAX + 2u) / 3u * 4u + 1u)

/* Set `data`, or `data_base64` where the bytes are not UTF-8. `base64` is PAYLOAD_BASE64_BYTES, the
 * caller's; at most RECORD_BYTES_MAX bytes. */
void payload_json(json_t *object, const uint8_t *bytes, uint32_t count, char *base64);

/* On stdout, one line without its newline: control bytes and what is not ASCII or UTF-8 escaped as
 * \xNN, a backslash doubled. */
void payload_print_text(const uint8_t *bytes, uint32_t count);

/* On stdout, sixteen bytes a line, each with `indent` before it. */
void payload_print_hex(const uint8_t *bytes, uint32_t count, const char *indent);

#endif
