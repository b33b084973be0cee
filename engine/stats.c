/* stats.c: see stats.h. */
#include "engine/stats.h"

#include "net/capture.h"

#include <stdio.h>
#include <string.h>

#define COUNTERS_OF(module) (sizeof(struct module##_counters) / sizeof(uint64_t))

_Static_assert(COUNTERS_OF(nic) + COUNTERS_OF(wire) + COUNTERS_OF(replica) + COUNTERS_OF(capture) +
                       16u <=
                   STATS_ITEMS_MAX,
               "every counter has a number, and some facts beside them");

/* The counters of one module. */
struct section {
    const char *prefix;
    const char *const *names;
    const void *values; /* Of uint64_t; NULL: there are none, and their items say 0. */
    uint32_t count;
    /* Which of them count no drop; or, of `lists_drops`, which do. */
    const char *const *listed; /* NULL behind the last. */
    bool lists_drops;
};

static const char *const port_traffic[] = {
    "rx_frames",   "rx_bytes",         "tx_frames",
    "tx_bytes",    "rx_arp",           "rx_echoes",
    "tx_arp",      "neighbours_moved", "neighbours_evicted",
    "link_losses", "tx_external",      "tx_copied",
    NULL,
};
static const char *const frames_traffic[] = {"ok", NULL};
static const char *const capture_traffic[] = {"packets", NULL};
static const char *const replica_drops[] = {
    "busy",
    "full",
    "not_leader",
    "fragments_known",
    "fragments_refused",
    "pages_bad",
    "fetches_failed",
    "frames_dropped",
    "frames_foreign",
    "sessions_unknown",
    "fenced",
    "gaps",
    "conditions_failed",
    "reads_lost",
    "reads_refused",
    "mend_refusals",
    "mend_dropped",
    NULL,
};

static enum wire_item_kind kind_of(const struct section *section, const char *name)
{
    bool listed = false;
    for (uint32_t i = 0; section->listed[i] != NULL; i++) {
        listed = listed || strcmp(section->listed[i], name) == 0;
    }
    return listed == section->lists_drops ? WIRE_ITEM_DROP : WIRE_ITEM_COUNTER;
}

/* What the port says of itself at any time. */
static struct wire_item port_fact(const struct nic *nic, uint32_t number)
{
    static const char *const names[] = {"port.frame_bytes_max", "port.link_up"};
    const uint64_t values[] = {nic->frame_bytes_max, nic->link_is_down ? 0 : 1};
    ASSERT(number < sizeof names / sizeof names[0]);
    return (struct wire_item){
        .name = names[number],
        .name_bytes = (uint32_t)strlen(names[number]),
        .value = values[number],
        .kind = WIRE_ITEM_FACT,
    };
}

#define PORT_FACTS 2u

/* Counter `number` of a section, its name put together in `name`. */
static struct wire_item
counter_item(const struct section *section, uint32_t number, char name[STATS_NAME_MAX + 1])
{
    const char *own = section->names[number];
    int bytes = snprintf(name, STATS_NAME_MAX + 1, "%s%s", section->prefix, own);
    ASSERT(bytes > 0);
    ASSERT(bytes <= (int)STATS_NAME_MAX);
    struct wire_item item = {
        .name = name,
        .name_bytes = (uint32_t)bytes,
        .kind = kind_of(section, own),
    };
    if (section->values != NULL) {
        memcpy(&item.value, (const uint8_t *)section->values + number * sizeof item.value,
               sizeof item.value);
    }
    return item;
}

/* Item `number` of all; `number` is below their total. */
static struct wire_item item_of(const struct stats_sources *sources,
                                const struct section sections[],
                                uint32_t number,
                                char name[STATS_NAME_MAX + 1])
{
    if (number < sources->fact_count) {
        return sources->facts[number];
    }
    number -= sources->fact_count;
    if (number < PORT_FACTS) {
        return port_fact(sources->nic, number);
    }
    number -= PORT_FACTS;
    while (number >= sections->count) {
        number -= sections->count;
        sections++;
    }
    return counter_item(sections, number, name);
}

uint32_t stats_write(const struct stats_sources *sources,
                     uint32_t first,
                     uint8_t *out,
                     uint32_t room,
                     struct wire_stats_reply *reply)
{
    const struct capture *capture = sources->nic->capture;
    const struct section sections[] = {
        {"port.", nic_counter_names, &sources->nic->counters, COUNTERS_OF(nic), port_traffic,
         false},
        {"frames.", wire_counter_names, sources->wire, COUNTERS_OF(wire), frames_traffic, false},
        {"replica.", replica_counter_names, sources->replica, COUNTERS_OF(replica), replica_drops,
         true},
        {"capture.", capture_counter_names, capture == NULL ? NULL : &capture->counters,
         COUNTERS_OF(capture), capture_traffic, false},
    };
    uint32_t total = sources->fact_count + PORT_FACTS;
    for (uint32_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        total += sections[i].count;
    }
    ASSERT(total <= STATS_ITEMS_MAX);
    uint32_t at = 0;
    uint32_t number = first;
    for (; number < total; number++) {
        char name[STATS_NAME_MAX + 1];
        struct wire_item item = item_of(sources, sections, number, name);
        uint32_t bytes = wire_item_write(&item, out + at, room - at);
        if (bytes == 0) {
            break;
        }
        at += bytes;
    }
    *reply = (struct wire_stats_reply){
        .total = (uint16_t)total,
        .first = (uint16_t)first,
        .count = (uint16_t)(number - first),
    };
    return at;
}
