/* test_stats.c: what a node tells of itself: everything that is counted, once, by its name.
 */
#include "engine/stats.h"

#include "net/capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* All items, put together from answers of `room` bytes. */
struct told {
    uint32_t total;
    uint32_t answers;
    uint64_t values[STATS_ITEMS_MAX];
    enum wire_item_kind kinds[STATS_ITEMS_MAX];
    char names[STATS_ITEMS_MAX][STATS_NAME_MAX + 1];
};

static void told_take(struct told *told,
                      const struct wire_stats_reply *reply,
                      const uint8_t *items,
                      uint32_t bytes)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < reply->count; i++) {
        struct wire_item item;
        assert_true(wire_item_next(items, bytes, &at, &item));
        uint32_t number = reply->first + i;
        snprintf(told->names[number], sizeof told->names[number], "%.*s", (int)item.name_bytes,
                 item.name);
        told->values[number] = item.value;
        told->kinds[number] = item.kind;
    }
    assert_int_equal(at, bytes);
    told->total = reply->total;
    told->answers++;
}

static void ask_all(const struct stats_sources *sources, uint32_t room, struct told *told)
{
    memset(told, 0, sizeof *told);
    uint32_t first = 0;
    do {
        uint8_t items[STATS_BYTES_MAX];
        struct wire_stats_reply reply;
        uint32_t bytes = stats_write(sources, first, items, room, &reply);
        assert_true(bytes <= room);
        assert_int_equal(reply.first, first);
        assert_true(reply.count > 0);
        told_take(told, &reply, items, bytes);
        first += reply.count;
    } while (first < told->total);
    assert_int_equal(first, told->total);
}

/* The number of the item of this name; there is exactly one. */
static uint32_t number_of(const struct told *told, const char *prefix, const char *name)
{
    char whole[2 * STATS_NAME_MAX];
    uint32_t found = STATS_ITEMS_MAX;
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    for (uint32_t i = 0; i < told->total; i++) {
        if (strcmp(told->names[i], whole) == 0) {
            assert_int_equal(found, STATS_ITEMS_MAX);
            found = i;
        }
    }
    if (found == STATS_ITEMS_MAX) {
        fail_msg("nobody tells %s", whole);
    }
    return found;
}

static void check_counters(const struct told *told,
                           const char *prefix,
                           const char *const *names,
                           const void *counters,
                           uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value;
        memcpy(&value, (const uint8_t *)counters + i * sizeof value, sizeof value);
        assert_true(told->values[number_of(told, prefix, names[i])] == value);
    }
}

/* Values that are all different. */
static void fill(void *counters, size_t bytes, uint64_t *next)
{
    for (size_t at = 0; at < bytes; at += sizeof *next) {
        memcpy((uint8_t *)counters + at, next, sizeof *next);
        *next += 1000001;
    }
}

static void every_counter_is_told_once_by_its_name(void **state)
{
    (void)state;
    struct capture capture = {0};
    struct nic nic = {.frame_bytes_max = 1472, .capture = &capture};
    struct wire_counters wire;
    struct replica_counters replica;
    struct wire_item fact = {.name = "port.mtu", .name_bytes = 8, .value = 1500};
    uint64_t next = 7;
    fill(&nic.counters, sizeof nic.counters, &next);
    fill(&wire, sizeof wire, &next);
    fill(&replica, sizeof replica, &next);
    fill(&capture.counters, sizeof capture.counters, &next);
    const struct stats_sources sources = {&fact, 1, &nic, &wire, &replica};
    struct told told;
    struct told same;
    ask_all(&sources, STATS_BYTES_MAX, &told);
    check_counters(&told, "port.", nic_counter_names, &nic.counters,
                   sizeof nic.counters / sizeof(uint64_t));
    check_counters(&told, "frames.", wire_counter_names, &wire, sizeof wire / sizeof(uint64_t));
    check_counters(&told, "replica.", replica_counter_names, &replica,
                   sizeof replica / sizeof(uint64_t));
    check_counters(&told, "capture.", capture_counter_names, &capture.counters,
                   sizeof capture.counters / sizeof(uint64_t));
    assert_true(told.values[number_of(&told, "", "port.mtu")] == 1500);
    assert_true(told.values[number_of(&told, "", "port.frame_bytes_max")] == 1472);
    assert_true(told.values[number_of(&told, "", "port.link_up")] == 1);
    /* However small the answers are, they make up the same. */
    ask_all(&sources, 120, &same);
    assert_true(same.answers > told.answers);
    same.answers = told.answers;
    assert_memory_equal(&same, &told, sizeof told);
}

static void drops_are_told_from_traffic(void **state)
{
    (void)state;
    struct nic nic = {.frame_bytes_max = 1472, .link_is_down = true};
    struct wire_counters wire = {0};
    struct replica_counters replica = {0};
    const struct stats_sources sources = {NULL, 0, &nic, &wire, &replica};
    struct told told;
    ask_all(&sources, STATS_BYTES_MAX, &told);
    static const char *const traffic[] = {
        "port.rx_frames",          "port.rx_bytes",     "port.tx_frames",
        "port.tx_bytes",           "port.rx_arp",       "port.tx_arp",
        "port.rx_echoes",          "port.link_losses",  "port.neighbours_moved",
        "port.neighbours_evicted", "frames.ok",         "capture.packets",
        "replica.requests",        "replica.time_lost",
    };
    for (uint32_t i = 0; i < sizeof traffic / sizeof traffic[0]; i++) {
        assert_int_equal(told.kinds[number_of(&told, "", traffic[i])], WIRE_ITEM_COUNTER);
    }
    static const char *const drops[] = {
        "port.rx_no_buffer",
        "port.tx_dropped",
        "port.rx_arp_bad",
        "frames.wrong_crc",
        "frames.bad_field",
        "capture.dropped_behind",
        "capture.dropped_full",
        "replica.busy",
        "replica.full",
        "replica.not_leader",
        "replica.fenced",
        "replica.fragments_known",
        "replica.fragments_refused",
        "replica.pages_bad",
        "replica.fetches_failed",
        "replica.frames_dropped",
        "replica.frames_foreign",
        "replica.sessions_unknown",
        "replica.gaps",
        "replica.conditions_failed",
        "replica.reads_lost",
        "replica.reads_refused",
        "replica.mend_refusals",
        "replica.mend_dropped",
    };
    uint32_t replica_drops = 0;
    for (uint32_t i = 0; i < sizeof drops / sizeof drops[0]; i++) {
        assert_int_equal(told.kinds[number_of(&told, "", drops[i])], WIRE_ITEM_DROP);
        replica_drops += strncmp(drops[i], "replica.", 8) == 0;
    }
    for (uint32_t i = 0; i < told.total; i++) {
        bool is_drop = told.kinds[i] == WIRE_ITEM_DROP;
        replica_drops -= is_drop && strncmp(told.names[i], "replica.", 8) == 0;
    }
    assert_int_equal(replica_drops, 0);
    assert_true(told.values[number_of(&told, "", "port.link_up")] == 0);
}

static void number_behind_the_last_item_has_none(void **state)
{
    (void)state;
    struct nic nic = {.frame_bytes_max = 1472};
    struct wire_counters wire = {0};
    struct replica_counters replica = {0};
    const struct stats_sources sources = {NULL, 0, &nic, &wire, &replica};
    uint8_t items[STATS_BYTES_MAX];
    struct wire_stats_reply reply;
    assert_int_equal(stats_write(&sources, STATS_ITEMS_MAX - 1, items, sizeof items, &reply), 0);
    assert_int_equal(reply.count, 0);
    assert_int_equal(reply.first, STATS_ITEMS_MAX - 1);
    assert_true(reply.total > 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_counter_is_told_once_by_its_name),
        cmocka_unit_test(drops_are_told_from_traffic),
        cmocka_unit_test(number_behind_the_last_item_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
