/* queue.c: events by virtual time: a binary heap in fixed memory. Ties go to the older event. */
#include "tests/sim/sim.h"

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void queue_put(struct sim_queue *queue, const struct sim_event *event)
{
    ASSERT(queue->count < SIM_EVENTS_MAX);
    struct sim_event put = *event;
    put.order = queue->order++;
    uint32_t at = queue->count++;
    while (at > 0 && before(&put, &queue->heap[(at - 1) / 2])) {
        queue->heap[at] = queue->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    queue->heap[at] = put;
}

uint64_t queue_next_ns(const struct sim_queue *queue)
{
    return queue->count == 0 ? SIM_NEVER : queue->heap[0].at_ns;
}

struct sim_event queue_take(struct sim_queue *queue)
{
    ASSERT(queue->count > 0);
    struct sim_event taken = queue->heap[0];
    struct sim_event last = queue->heap[--queue->count];
    uint32_t at = 0;
    for (uint32_t child = 1; child < queue->count; child = 2 * at + 1) {
        if (child + 1 < queue->count && before(&queue->heap[child + 1], &queue->heap[child])) {
            child++;
        }
        if (!before(&queue->heap[child], &last)) {
            break;
        }
        queue->heap[at] = queue->heap[child];
        at = child;
    }
    queue->heap[at] = last;
    return taken;
}
