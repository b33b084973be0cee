/* load.c: the schedule, and the records under way.
 *
 * Invariant: `outstanding` is the number of open records, all within [first_open, next_sequence),
 * and that range never exceeds the capacity.
 */
#include "bench/load.h"

#include "engine/base/assert.h"

#include <math.h>

#define LOAD_SPREAD 4u /* Capacity over the bound: room behind one record without an answer. */

static uint32_t capacity_of(const struct load_config *config)
{
    ASSERT(config->outstanding_max > 0);
    ASSERT(config->outstanding_max <= LOAD_OUTSTANDING_MAX);
    uint32_t capacity = 1;
    while (capacity < config->outstanding_max * LOAD_SPREAD) {
        capacity *= 2;
    }
    return capacity;
}

uint64_t load_memory_bytes(const struct load_config *config)
{
    return (uint64_t)capacity_of(config) * sizeof(struct load_record) +
           3 * sizeof(struct histogram) + 4 * PAGE_BYTES;
}

void load_init(struct load *load, struct mem *mem, const struct load_config *config)
{
    ASSERT(config->closed || config->rate_per_s > 0);
    ASSERT(config->closed || config->rate_per_s <= LOAD_RATE_MAX);
    *load = (struct load){.config = *config, .capacity = capacity_of(config)};
    load->records =
        mem_take(mem, "load: records under way", load->capacity, sizeof(struct load_record), 64);
    struct histogram *histograms =
        mem_take(mem, "load: histograms", 3, sizeof(struct histogram), 64);
    load->response = &histograms[0];
    load->service = &histograms[1];
    load->delay = &histograms[2];
    prng_init(&load->prng, config->seed);
}

static uint64_t load_time(const struct load *load, uint64_t now_ns)
{
    ASSERT(now_ns >= load->base_ns);
    return now_ns - load->base_ns;
}

void load_resume(struct load *load, uint64_t now_ns)
{
    ASSERT(load->outstanding == 0);
    ASSERT(now_ns >= load->stopped_at_ns);
    load->base_ns = now_ns - load->stopped_at_ns;
    load->unblocked_ns = load->stopped_at_ns;
    load->blocked = false;
}

/* The gap to the next due time, in nanoseconds. */
static double next_gap_ns(struct load *load)
{
    double mean_ns = 1e9 / load->config.rate_per_s;
    if (load->config.uniform) {
        return mean_ns;
    }
    /* Uniform in (0, 1]: 53 bits, never zero, so that the logarithm is finite. */
    double uniform = (double)((prng_next(&load->prng) >> 11) + 1) * 0x1p-53;
    return -log(uniform) * mean_ns;
}

/* Sequences that may be opened now. */
static uint32_t room(const struct load *load)
{
    uint64_t span = load->next_sequence - load->first_open;
    ASSERT(span <= load->capacity);
    uint32_t free_slots = load->capacity - (uint32_t)span;
    ASSERT(load->outstanding <= load->config.outstanding_max);
    uint32_t allowed = load->config.outstanding_max - load->outstanding;
    return allowed < free_slots ? allowed : free_slots;
}

/* Open records for what is due, at most `count_max`; their sending follows. */
static uint32_t open_due(struct load *load, uint64_t time_ns, uint32_t count_max)
{
    uint32_t count = 0;
    while (count < count_max && (load->config.closed || load->next_due_ns <= (double)time_ns)) {
        uint64_t sequence = load->next_sequence + count;
        struct load_record *record = &load->records[sequence & (load->capacity - 1)];
        ASSERT(!record->open);
        record->due_ns = load->config.closed ? time_ns : (uint64_t)load->next_due_ns;
        if (!load->config.closed) {
            load->next_due_ns += next_gap_ns(load);
        }
        record->open = true;
        count++;
    }
    return count;
}

static void count_sent(struct load *load, uint64_t first_sequence, uint32_t count, uint64_t time_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        struct load_record *record = &load->records[(first_sequence + i) & (load->capacity - 1)];
        uint64_t could_ns =
            record->due_ns > load->unblocked_ns ? record->due_ns : load->unblocked_ns;
        record->sent_ns = time_ns;
        histogram_record(load->delay, time_ns > could_ns ? time_ns - could_ns : 0);
    }
    load->counts.sent += count;
    load->counts.scheduled += count;
}

uint32_t load_step(struct load *load, uint64_t now_ns, load_send send, void *context)
{
    uint64_t time_ns = load_time(load, now_ns);
    uint32_t allowed = room(load);
    if (allowed > 0 && load->blocked) {
        load->blocked = false;
        load->unblocked_ns = time_ns;
    }
    uint32_t count = open_due(load, time_ns, allowed);
    load->blocked = load->blocked || (count == allowed && !load->config.closed);
    if (count > 0) {
        uint64_t first_sequence = load->next_sequence;
        load->next_sequence += count;
        load->outstanding += count;
        send(context, first_sequence, count, now_ns);
        count_sent(load, first_sequence, count, time_ns);
    }
    return count;
}

static void close_record(struct load *load, struct load_record *record)
{
    ASSERT(record->open);
    ASSERT(load->outstanding > 0);
    record->open = false;
    load->outstanding--;
}

static void move_first_open(struct load *load)
{
    while (load->first_open < load->next_sequence &&
           !load->records[load->first_open & (load->capacity - 1)].open) {
        load->first_open++;
    }
}

void load_answered(struct load *load,
                   uint64_t first_sequence,
                   uint32_t count,
                   enum wire_status status,
                   uint64_t now_ns)
{
    ASSERT(status < WIRE_STATUS_COUNT);
    uint64_t time_ns = load_time(load, now_ns);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t sequence = first_sequence + i;
        struct load_record *record = &load->records[sequence & (load->capacity - 1)];
        if (sequence < load->first_open || sequence >= load->next_sequence || !record->open) {
            load->counts.late++;
            continue;
        }
        close_record(load, record);
        if (status != WIRE_OK) {
            load->counts.refused[status]++;
            continue;
        }
        load->counts.acked++;
        ASSERT(time_ns >= record->sent_ns);
        histogram_record(load->response, time_ns - record->due_ns);
        histogram_record(load->service, time_ns - record->sent_ns);
    }
    move_first_open(load);
}

void load_unanswered(struct load *load, uint64_t first_sequence, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t sequence = first_sequence + i;
        struct load_record *record = &load->records[sequence & (load->capacity - 1)];
        if (sequence >= load->first_open && sequence < load->next_sequence && record->open) {
            close_record(load, record);
            load->counts.unanswered++;
        }
    }
    move_first_open(load);
}

uint64_t load_deadline_ns(const struct load *load)
{
    if (load->config.closed || room(load) == 0) {
        return UINT64_MAX;
    }
    return load->base_ns + (uint64_t)load->next_due_ns;
}

void load_stop(struct load *load, uint64_t now_ns)
{
    load->stopped_at_ns = load_time(load, now_ns);
}

void load_abandon(struct load *load)
{
    for (uint64_t s = load->first_open; s < load->next_sequence; s++) {
        struct load_record *record = &load->records[s & (load->capacity - 1)];
        if (record->open) {
            close_record(load, record);
            load->counts.unanswered++;
        }
    }
    move_first_open(load);
    ASSERT(load->outstanding == 0);
}

void load_forget(struct load *load)
{
    ASSERT(load->outstanding == 0);
    load->counts = (struct load_counts){0};
    histogram_reset(load->response);
    histogram_reset(load->service);
    histogram_reset(load->delay);
    load->next_due_ns = (double)load->stopped_at_ns;
}

void load_finish(struct load *load)
{
    while (!load->config.closed && load->next_due_ns < (double)load->stopped_at_ns) {
        load->next_due_ns += next_gap_ns(load);
        load->counts.scheduled++;
    }
}
