/* counter.h: named event counters of one module: an enum, a name table, an array of u64.
 *
 * A module declares its counters as an X-macro list, so that names and numbers cannot drift apart:
 *
 *     #define WIRE_COUNTERS(X) X(rx_short) X(rx_long)
 *     COUNTERS_DECLARE(wire, WIRE_COUNTERS)      in the header
 *     COUNTERS_DEFINE(wire, WIRE_COUNTERS)       in one source file
 *
 * gives struct wire_counters {uint64_t rx_short, rx_long;} and wire_counter_names[].
 */
#ifndef ENGINE_BASE_COUNTER_H
#define ENGINE_BASE_COUNTER_H

#include <stdint.h>

#define COUNTER_FIELD(name) uint64_t name;
#define COUNTER_NAME(name)  #name,

#define COUNTERS_DECLARE(module, LIST)                                                             \
    struct module##_counters {                                                                     \
        LIST(COUNTER_FIELD)                                                                        \
    };                                                                                             \
    extern const char *const module##_counter_names[sizeof(struct module##_counters) / 8]

#define COUNTERS_DEFINE(module, LIST)                                                              \
    const char *const module##_counter_names[sizeof(struct module##_counters) / 8] = {             \
        LIST(COUNTER_NAME)}

#endif
