/* recall.c: see recall.h. */
#include "engine/cli/recall.h"

#include "engine/base/clock.h"

static void take(void *context, const struct fetch_record *record)
{
    struct recall *recall = context;
    recall->next = record->offset + 1;
    if (record->session != recall->session || record->sequence < recall->wanted) {
        return;
    }
    if (record->sequence > recall->wanted) {
        recall->gone = true;           /* Numbers rise along the log. */
        recall->next = record->offset; /* It may be asked for next. */
        fetch_stop(&recall->fetch);
        return;
    }
    ASSERT(recall->found < RECALL_RECORDS_MAX);
    recall->offsets[recall->found++] = record->offset;
    if (++recall->wanted == recall->end) {
        fetch_stop(&recall->fetch);
    }
}

uint64_t recall_memory_bytes(void)
{
    return fetch_memory_bytes();
}

void recall_init(struct recall *recall, struct mem *mem, const struct connect *connect)
{
    struct fetch_config config = {.linearizable = true, .take = take, .context = recall};
    recall->connect = connect;
    fetch_init(&recall->fetch, mem, connect->client, &config, clock_now_ns());
}

/* All that was committed when the numbers were known to be used is read: what was not found is
 * trimmed, or was refused and so never had an offset. */
static bool is_read_in_vain(const struct recall *recall)
{
    return recall->begun && recall->next >= recall->log_end;
}

/* Poll until the fetch is done. */
static int run(struct recall *recall, uint64_t timeout_ns, struct fault *fault)
{
    struct fetch *fetch = &recall->fetch;
    uint64_t begun_ns = clock_now_ns();
    fetch->progress_ns = begun_ns;
    while (!fetch_is_done(fetch)) {
        uint64_t now_ns = clock_now_ns();
        if (is_read_in_vain(recall)) {
            recall->gone = true;
            return 0;
        }
        uint32_t work = fetch_poll(fetch, now_ns);
        if (fetch_is_done(fetch)) {
            break;
        }
        if (now_ns - fetch->progress_ns >= timeout_ns) {
            struct connect_silence silence = {
                .waited_ns = timeout_ns, .stranger = fetch->stranger, .heard = fetch->heard};
            connect_unavailable(recall->connect, &silence, fault);
            return -1;
        }
        if (work == 0) {
            connect_wait(recall->connect, now_ns, fetch_deadline_ns(fetch));
        }
    }
    return 0;
}

int recall_find(struct recall *recall,
                const struct recall_range *range,
                uint64_t timeout_ns,
                struct fault *fault)
{
    ASSERT(range->count > 0);
    ASSERT(range->count <= RECALL_RECORDS_MAX);
    recall->session = range->session;
    recall->wanted = range->first;
    recall->end = range->first + range->count;
    recall->found = 0;
    recall->gone = false;
    if (!recall->begun) {
        if (run(recall, timeout_ns, fault) != 0) {
            return -1;
        }
        recall->begun = true;
        recall->next = recall->fetch.view.start_offset;
        recall->log_end = recall->fetch.view.committed_offset;
    }
    do {
        fetch_range(&recall->fetch, recall->next, FETCH_NO_END);
        if (run(recall, timeout_ns, fault) != 0) {
            return -1;
        }
        if (recall->fetch.trimmed) {
            recall->next = recall->fetch.view.start_offset; /* It was trimmed meanwhile. */
        }
    } while (recall->fetch.trimmed);
    ASSERT(recall->gone || recall->wanted == recall->end);
    return 0;
}
