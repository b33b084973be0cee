/* restore_id.c: see restore_id.h. */
#include "engine/cli/restore_id.h"

#include "engine/base/crc.h"
#include "engine/base/prng.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Where the digits and dashes of the text are. */
static const char form[] = "xxxxxxxxxxxxxxxx-xxxxxxxx-xxxxxxxx";
_Static_assert(sizeof form <= RESTORE_ID_BYTES, "the text fits");

static uint32_t add(uint32_t crc, uint64_t word)
{
    return crc32c(crc, &word, sizeof word);
}

/* Of what every node must see alike; folders, ports and sizes may differ from machine to machine.
 */
static uint32_t configuration_crc(const struct config *config)
{
    uint32_t crc = add(add(0, config->cluster), config->segment_bytes);
    for (uint32_t i = 0; i < config->node_count; i++) {
        const struct config_node *node = &config->nodes[i];
        crc = add(add(add(crc, node->id), node->address.ipv4), node->address.port);
    }
    return crc;
}

/* Without their own checksums: over bytes and the checksum of these it would always be the same. */
static uint32_t backup_crc(const struct backup_header *header, const struct backup_trailer *trailer)
{
    uint32_t crc = crc32c(0, header, offsetof(struct backup_header, crc));
    return crc32c(crc, trailer, offsetof(struct backup_trailer, crc));
}

struct restore_id restore_id_of(uint64_t number,
                                const struct config *config,
                                const struct backup_header *header,
                                const struct backup_trailer *trailer)
{
    ASSERT(number != 0);
    return (struct restore_id){
        .number = number,
        .configuration_crc = configuration_crc(config),
        .backup_crc = backup_crc(header, trailer),
    };
}

const char *restore_id_format(const struct restore_id *id, char *text)
{
    int length = snprintf(text, RESTORE_ID_BYTES, "%016" PRIx64 "-%08x-%08x", id->number,
                          id->configuration_crc, id->backup_crc);
    ASSERT(length == (int)sizeof form - 1);
    return text;
}

static bool well_formed(const char *text)
{
    if (strlen(text) != sizeof form - 1) {
        return false;
    }
    for (uint32_t i = 0; i < sizeof form - 1; i++) {
        bool good = form[i] == '-' ? text[i] == '-' : strchr("0123456789abcdef", text[i]) != NULL;
        if (!good) {
            return false;
        }
    }
    return true;
}

bool restore_id_parse(const char *text, struct restore_id *id)
{
    if (!well_formed(text)) {
        return false;
    }
    char *rest = NULL;
    struct restore_id found = {.number = strtoull(text, &rest, 16)};
    ASSERT(*rest == '-');
    found.configuration_crc = (uint32_t)strtoul(rest + 1, &rest, 16);
    ASSERT(*rest == '-');
    found.backup_crc = (uint32_t)strtoul(rest + 1, &rest, 16);
    ASSERT(*rest == '\0');
    if (found.number == 0) {
        return false;
    }
    *id = found;
    return true;
}

uint64_t restore_id_store(const struct restore_id *id, uint8_t node)
{
    struct prng prng;
    prng_init(&prng, id->number);
    prng_init(&prng, prng_next(&prng) ^ node);
    uint64_t store = prng_next(&prng);
    while (store == 0) {
        store = prng_next(&prng);
    }
    return store;
}
