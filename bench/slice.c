/* slice.c: see slice.h.
 *
 * Invariant: nothing of the client is under way between two slices.
 */
#include "bench/slice.h"

#include "engine/base/assert.h"
#include "engine/base/clock.h"

#define SLICE_SEND_BURST 256u
#define SLICE_FULL_LOOKS 64u /* Iterations between two looks at how much waits to be verified. */

static void send_records(void *context, uint64_t first_sequence, uint32_t count, uint64_t now_ns)
{
    struct slice *slice = context;
    struct client_record records[SLICE_SEND_BURST];
    ASSERT(client_next_sequence(slice->client) == first_sequence);
    for (uint32_t i = 0; i < count && i < SLICE_SEND_BURST; i++) {
        records[i] = (struct client_record){.bytes = slice->record_bytes, .intended_ns = now_ns};
    }
    for (uint32_t sent = 0; sent < count;) {
        uint32_t burst = count - sent < SLICE_SEND_BURST ? count - sent : SLICE_SEND_BURST;
        uint32_t taken = client_send(slice->client, now_ns, records, burst);
        ASSERT(taken == burst);
        sent += taken;
    }
}

static void take_completion(void *context, const struct client_completion *completion)
{
    struct slice *slice = context;
    if (completion->fate == CLIENT_UNANSWERED) {
        load_unanswered(&slice->load, completion->first_sequence, completion->count);
        return;
    }
    load_answered(&slice->load, completion->first_sequence, completion->count, completion->status,
                  clock_now_ns());
    if (completion->status == WIRE_OK && slice->verify != NULL) {
        verify_acked(slice->verify, completion->first_sequence, completion->first_offset,
                     completion->count);
    }
}

/* Answers for what is under way. */
static void drain(struct slice *slice)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t end_ns = now_ns + 2 * SLICE_DRAIN_NS; /* The client itself gives up after one. */
    while (slice->load.outstanding > 0 && now_ns < end_ns) {
        uint32_t work = client_poll(slice->client, now_ns, take_completion, slice);
        idle_step(&slice->idle, now_ns, work, work > 0, now_ns + SLICE_FLOOR_PART_NS);
        now_ns = clock_now_ns();
    }
    load_abandon(&slice->load);
}

uint64_t slice_load(struct slice *slice, uint64_t length_ns)
{
    uint64_t begin_ns = clock_now_ns();
    uint64_t now_ns = begin_ns;
    load_resume(&slice->load, begin_ns);
    for (uint32_t i = 0; now_ns - begin_ns < length_ns && !slice_is_interrupted(slice); i++) {
        uint32_t work = load_step(&slice->load, now_ns, send_records, slice);
        work += client_poll(slice->client, now_ns, take_completion, slice);
        uint64_t end_ns = begin_ns + length_ns;
        uint64_t due_ns = load_deadline_ns(&slice->load);
        idle_step(&slice->idle, now_ns, work, work > 0, due_ns < end_ns ? due_ns : end_ns);
        if (i % SLICE_FULL_LOOKS == 0 && slice->is_full(slice->context)) {
            break;
        }
        now_ns = clock_now_ns();
    }
    load_stop(&slice->load, now_ns);
    drain(slice);
    slice->since_floor_ns += now_ns - begin_ns;
    return now_ns - begin_ns;
}

void slice_floor_part(struct slice *slice, bool echo)
{
    struct floor_client *client = &slice->floor_client;
    client->echo_began_ns = 0;
    uint64_t begin_ns = clock_now_ns();
    uint64_t now_ns = begin_ns;
    uint64_t length_ns = SLICE_FLOOR_PART_NS;
    while (now_ns - begin_ns < length_ns && !slice_is_interrupted(slice)) {
        if (echo) {
            /* On a busy machine none may come back in time: then the first is waited for. */
            length_ns = client->echo_ns->count > 0 ? SLICE_FLOOR_PART_NS : SLICE_DRAIN_NS;
            floor_client_echo(client, now_ns);
        }
        uint32_t work = floor_client_poll(client, now_ns);
        idle_step(&slice->idle, now_ns, work, work > 0, now_ns + SLICE_FLOOR_PART_NS);
        now_ns = clock_now_ns();
    }
}

void slice_floor_rounds(struct slice *slice)
{
    struct floor_client *client = &slice->floor_client;
    struct load *load = &slice->floor_load;
    slice->since_floor_ns = 0;
    uint64_t begin_ns = clock_now_ns();
    uint64_t now_ns = begin_ns;
    load_resume(load, begin_ns);
    while (now_ns - begin_ns < SLICE_FLOOR_NS && !slice_is_interrupted(slice)) {
        uint32_t work = load_step(load, now_ns, floor_client_send, client);
        work += floor_client_poll(client, now_ns);
        uint64_t end_ns = begin_ns + SLICE_FLOOR_NS;
        uint64_t due_ns = load_deadline_ns(load);
        idle_step(&slice->idle, now_ns, work, work > 0, due_ns < end_ns ? due_ns : end_ns);
        now_ns = clock_now_ns();
    }
    load_stop(load, now_ns);
    uint64_t give_up_ns = now_ns + SLICE_DRAIN_NS;
    while (load->outstanding > 0 && now_ns < give_up_ns) {
        uint32_t work = floor_client_poll(client, now_ns);
        idle_step(&slice->idle, now_ns, work, work > 0, give_up_ns);
        now_ns = clock_now_ns();
    }
    load_abandon(load);
}
