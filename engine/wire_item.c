/* wire_item.c: the items of a STATS_REPLY, in and out. See wire.h.
 *
 * A wrong byte is an answer, never an assertion; the asserts are about what the caller writes.
 */
#include "engine/wire_layout.h"

#include <string.h>

#define ITEM_ALIGN 8u

_Static_assert(sizeof(struct item_layout) == 16, "no padding");
_Static_assert(STATS_NAME_MAX <= UINT8_MAX, "a name's length is one byte");
_Static_assert(STATS_TEXT_MAX <= UINT8_MAX, "a text's length is one byte");
_Static_assert(sizeof(struct item_layout) + STATS_NAME_MAX + STATS_TEXT_MAX <= STATS_BYTES_MAX,
               "every answer has room for one item");

static uint32_t item_bytes(uint32_t name_bytes, uint32_t text_bytes)
{
    uint32_t used_bytes = (uint32_t)sizeof(struct item_layout) + name_bytes + text_bytes;
    return (used_bytes + ITEM_ALIGN - 1) / ITEM_ALIGN * ITEM_ALIGN;
}

/* So that whoever prints a name need not look at it again. */
static bool is_name(const char *name, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.')) {
            return false;
        }
    }
    return bytes >= 1 && bytes <= STATS_NAME_MAX;
}

static bool is_text(const char *text, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return bytes <= STATS_TEXT_MAX;
}

static bool item_is_sound(const struct wire_item *item)
{
    bool has_text = item->text_bytes > 0;
    return item->kind < WIRE_ITEM_KIND_COUNT && item->value < NUMBER_LIMIT &&
           is_name(item->name, item->name_bytes) && is_text(item->text, item->text_bytes) &&
           (!has_text || (item->kind == WIRE_ITEM_FACT && item->value == 0));
}

uint32_t wire_item_write(const struct wire_item *item, uint8_t *out, uint32_t room)
{
    ASSERT(item_is_sound(item));
    uint32_t bytes = item_bytes(item->name_bytes, item->text_bytes);
    if (bytes > room) {
        return 0;
    }
    const struct item_layout layout = {
        .value = item->value,
        .kind = (uint8_t)item->kind,
        .name_bytes = (uint8_t)item->name_bytes,
        .text_bytes = (uint8_t)item->text_bytes,
    };
    memset(out, 0, bytes);
    memcpy(out, &layout, sizeof layout);
    memcpy(out + sizeof layout, item->name, item->name_bytes);
    if (item->text_bytes > 0) {
        memcpy(out + sizeof layout + item->name_bytes, item->text, item->text_bytes);
    }
    return bytes;
}

bool wire_item_next(const uint8_t *items,
                    uint32_t items_bytes,
                    uint32_t *at,
                    struct wire_item *item)
{
    ASSERT(*at <= items_bytes);
    uint32_t rest_bytes = items_bytes - *at;
    struct item_layout layout;
    if (rest_bytes < sizeof layout) {
        return false;
    }
    memcpy(&layout, items + *at, sizeof layout);
    uint32_t bytes = item_bytes(layout.name_bytes, layout.text_bytes);
    if (bytes > rest_bytes || !wire_all_zero(layout.reserved, sizeof layout.reserved)) {
        return false;
    }
    const uint8_t *strings = items + *at + sizeof layout;
    uint32_t strings_bytes = (uint32_t)layout.name_bytes + layout.text_bytes;
    *item = (struct wire_item){
        .name = (const char *)strings,
        .text = (const char *)strings + layout.name_bytes,
        .name_bytes = layout.name_bytes,
        .text_bytes = layout.text_bytes,
        .value = layout.value,
        .kind = (enum wire_item_kind)layout.kind,
    };
    if (!item_is_sound(item) ||
        !wire_all_zero(strings + strings_bytes, bytes - (uint32_t)sizeof layout - strings_bytes)) {
        return false;
    }
    *at += bytes;
    return true;
}
