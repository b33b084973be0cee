/* walk_check.c: see walk_check.h. */
#include "tests/support/walk_check.h"

static const char *check_item(const struct recovery *found, const struct walk_item *item)
{
    if (item->proven != (item->position < found->end_position)) {
        return "an item is proven outside the prefix, or not within it";
    }
    if (item->damage && recover_is_whole(found)) {
        return "damage in a whole log";
    }
    if (walk_is_sound(item) == item->damage) {
        return item->damage ? "a sound entry is damage" : NULL;
    }
    if (item->position == found->end_position && item->position < found->durable_position &&
        !item->damage) {
        return "what is missing at the prefix's end is no damage";
    }
    if (walk_is_entry(item) && item->entry == NULL) {
        return "an entry without its bytes";
    }
    return NULL;
}

const char *walk_check(struct disk *disk, const struct recovery *found, uint8_t *buffer)
{
    struct walk walk;
    struct walk_item item;
    uint64_t at = found->start.position;
    uint64_t proven_count = 0;
    uint64_t bad_pages = 0;
    uint64_t damage = 0;
    struct log_id last = found->start.last;
    walk_init(&walk, disk, found, buffer);
    while (walk_next(&walk, &item)) {
        const char *wrong = check_item(found, &item);
        if (wrong != NULL) {
            return wrong;
        }
        if (item.position != at || item.bytes == 0) {
            return "items do not follow each other";
        }
        at += item.bytes;
        bad_pages += item.bad_pages;
        damage += item.damage;
        proven_count += item.proven;
        if (item.proven) {
            last = (struct log_id){.term = item.header.term, .index = item.header.index};
        }
    }
    uint64_t limit = found->start.position + found->ring_bytes;
    if (at < limit && at < found->window_end) {
        return "the walk ends too early";
    }
    if (proven_count != found->entry_count || last.index != found->last.index ||
        last.term != found->last.term) {
        return "another prefix than recovery's";
    }
    if (bad_pages != found->bad_pages) {
        return "another number of bad pages than recovery's";
    }
    return found->kind == RECOVER_SUSPECT && damage == 0 ? "a suspect log without damage" : NULL;
}
