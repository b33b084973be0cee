/* load.h: an open or closed loop of records: when each is due, and what became of it.
 *
 * Open loop: record k is due at a time of a fixed, seeded schedule, whatever happened to the
 * records before it; its response counts from then, so that a stall shows in every record that it
 * held up. Closed loop: a number of clients, each with one record under way.
 *
 * The load has its own clock, which stands still between slices. It knows neither frames nor
 * sockets: it asks a target to send, and is told of answers. One thread.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "engine/base/histogram.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/prng.h"
#include "engine/wire.h"

#include <stdbool.h>
#include <stdint.h>

#define LOAD_RATE_MAX 100000000.0 /* Records a second. */

struct load_config {
    bool closed;
    bool uniform;             /* Equal gaps instead of Poisson arrivals. */
    double rate_per_s;        /* Of the open loop. */
    uint32_t outstanding_max; /* Records under way at once; of a closed loop: its clients. */
    uint64_t seed;
};

/* Send records [first_sequence, first_sequence + count): all of them; the target has room for as
 * many as may be under way. */
typedef void (*load_send)(void *context, uint64_t first_sequence, uint32_t count, uint64_t now_ns);

struct load_counts {
    uint64_t scheduled; /* Due while the load ran. Closed: sent. */
    uint64_t sent;
    uint64_t acked;
    uint64_t refused[WIRE_STATUS_COUNT]; /* Answered otherwise; [WIRE_OK] stays 0. */
    uint64_t unanswered;                 /* Given up at the end of a drain. */
    uint64_t late;                       /* Answered after that; in no other count. */
};

struct load_record {
    uint64_t due_ns; /* In load time, as all times here. */
    uint64_t sent_ns;
    bool open;
};

struct load {
    struct load_config config;
    struct prng prng;
    struct load_record *records; /* Slot = sequence & (capacity - 1). */
    uint32_t capacity;
    uint32_t outstanding;
    uint64_t first_open;    /* No record below is open. */
    uint64_t next_sequence; /* Never reused, warm-up included. */
    double next_due_ns;
    uint64_t base_ns;       /* Wall time = base + load time. */
    uint64_t stopped_at_ns; /* Load time at which it stands still. */
    uint64_t unblocked_ns;  /* When the outstanding bound last let go. */
    bool blocked;
    struct load_counts counts;
    struct histogram *response; /* From the due time. */
    struct histogram *service;  /* From the send. */
    struct histogram *delay;    /* Of the sender: from due, and free to send, to the send. */
};

uint64_t load_memory_bytes(const struct load_config *config);
void load_init(struct load *load, struct mem *mem, const struct load_config *config);

/* The clock runs from here, without a gap since it stopped. */
void load_resume(struct load *load, uint64_t now_ns);

/* Send what is due. Returns the number of records sent. */
uint32_t load_step(struct load *load, uint64_t now_ns, load_send send, void *context);

/* The fate of records of one request. Records not under way are counted as late. */
void load_answered(struct load *load,
                   uint64_t first_sequence,
                   uint32_t count,
                   enum wire_status status,
                   uint64_t now_ns);

/* Records of one request will get no answer any more. */
void load_unanswered(struct load *load, uint64_t first_sequence, uint32_t count);

/* When the next record is due, on the wall clock; UINT64_MAX: when another one is answered. */
uint64_t load_deadline_ns(const struct load *load);

/* The schedule stands still from here; answers may still come. */
void load_stop(struct load *load, uint64_t now_ns);

/* Give up what is still under way. */
void load_abandon(struct load *load);

/* Forget counts and latencies, and what was due and not sent: the end of the warm-up. */
void load_forget(struct load *load);

/* Count what was due and never sent into `scheduled`: once, at the end. */
void load_finish(struct load *load);

#endif
