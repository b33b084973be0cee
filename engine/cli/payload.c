/* payload.c: see payload.h. */
#include "engine/cli/payload.h"

#include "engine/base/assert.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>

#define HEX_BYTES 16u /* A line. */

void payload_json(json_t *object, const uint8_t *bytes, uint32_t count, char *base64)
{
    ASSERT(count <= RECORD_BYTES_MAX);
    json_t *data = json_stringn((const char *)bytes, count);
    if (data != NULL) {
        json_object_set_new(object, "data", data);
        return;
    }
    int made = EVP_EncodeBlock((unsigned char *)base64, bytes, (int)count);
    ASSERT(made >= 0);
    ASSERT((uint32_t)made < PAYLOAD_BASE64_BYTES);
    json_object_set_new(object, "data_base64", json_stringn(base64, (size_t)made));
}

static bool is_printable(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f;
}

void payload_print_text(const uint8_t *bytes, uint32_t count)
{
    /* jansson knows what UTF-8 is; what is not goes byte by byte. */
    json_t *text = json_stringn((const char *)bytes, count);
    bool utf8 = text != NULL;
    json_decref(text);
    for (uint32_t i = 0; i < count; i++) {
        if (bytes[i] == '\\') {
            fputs("\\\\", stdout);
        } else if (is_printable(bytes[i]) || (utf8 && bytes[i] >= 0x80)) {
            putchar(bytes[i]);
        } else {
            printf("\\x%02x", bytes[i]);
        }
    }
}

void payload_print_hex(const uint8_t *bytes, uint32_t count, const char *indent)
{
    for (uint32_t at = 0; at < count; at += HEX_BYTES) {
        uint32_t line = count - at < HEX_BYTES ? count - at : HEX_BYTES;
        printf("%s%04x ", indent, at);
        for (uint32_t i = 0; i < HEX_BYTES; i++) {
            if (i < line) {
                printf(" %02x", bytes[at + i]);
            } else {
                fputs("   ", stdout);
            }
        }
        fputs("  |", stdout);
        for (uint32_t i = 0; i < line; i++) {
            putchar(is_printable(bytes[at + i]) ? bytes[at + i] : '.');
        }
        fputs("|\n", stdout);
    }
}
