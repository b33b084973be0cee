/* pull.c: see pull.h. */
#include "engine/cli/pull.h"

#include "engine/base/clock.h"
#include "engine/base/units.h"
#include "engine/cli/command.h"
#include "engine/cli/payload.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define PULL_PATIENCE_NS 5000000000u

enum { KEY_NODE = 512, KEY_FROM, KEY_LINEARIZABLE };

static const struct argp_option flag_options[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"node", KEY_NODE, "N", 0, "Ask this node (the leader)", 0},
    {"from", KEY_FROM, "OFFSET", 0, "Begin here (read: the log start; tail: the last ten)", 0},
    {"linearizable", KEY_LINEARIZABLE, NULL, 0,
     "All that was committed before the call: the end is the word of a leader that has just proved "
     "its office (as the node knows it)",
     0},
    {"json", 'j', NULL, 0, "Print one JSON object a line", 0},
    {0},
};

static error_t flag_parse(int key, char *value, struct argp_state *state)
{
    struct pull_options *options = state->input;
    switch (key) {
    case KEY_NODE:
        options->node = connect_parse_node(state, value);
        return 0;
    case KEY_FROM:
        options->from = connect_parse_number(state, "--from", value);
        options->has_from = true;
        return 0;
    case KEY_LINEARIZABLE:
        options->linearizable = true;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    default:
        return command_parse_config(key, value, state, &options->path);
    }
}

static const struct argp flag_argp = {.options = flag_options, .parser = flag_parse};
const struct argp_child pull_flags[] = {{.argp = &flag_argp}, {0}};

/* One object a line. */
static void print_json(struct pull *pull, const struct fetch_record *record)
{
    json_t *object = json_object();
    json_object_set_new(object, "offset", json_integer((json_int_t)record->offset));
    json_object_set_new(object, "term", json_integer((json_int_t)record->term));
    payload_json(object, record->payload, record->bytes, pull->base64);
    (void)json_dumpf(object, stdout, JSON_COMPACT); /* ferror() tells. */
    json_decref(object);
}

static void take_record(void *context, const struct fetch_record *record)
{
    struct pull *pull = context;
    pull->printed++;
    if (pull->options.take != NULL) {
        pull->options.take(pull->options.context, record);
        return;
    }
    if (pull->options.json) {
        print_json(pull, record);
    } else {
        (void)fwrite(record->payload, 1, record->bytes, stdout);
    }
    putchar('\n');
}

static bool has_node(const struct config *config, uint8_t node)
{
    for (uint32_t i = 0; i < config->node_count; i++) {
        if (config->nodes[i].id == node) {
            return true;
        }
    }
    return false;
}

static int output_flush(struct fault *fault)
{
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot write the records to stdout: is it full?");
    }
    return fault->code;
}

/* Give up after a time without progress; a follower of the log only says so, once. */
static int check_patience(struct pull *pull, uint64_t now_ns, bool follow, struct fault *fault)
{
    const struct fetch *fetch = &pull->fetch;
    uint64_t since_ns = follow ? fetch->answered_ns : fetch->progress_ns;
    if (now_ns - since_ns < PULL_PATIENCE_NS) {
        pull->silence_told = false;
        return 0;
    }
    struct connect_silence silence = {
        .waited_ns = PULL_PATIENCE_NS,
        .node = fetch->looking && pull->options.linearizable ? 0 : pull->options.node,
        .stranger = fetch->stranger,
        .heard = fetch->heard,
    };
    struct fault told = {0};
    connect_unavailable(&pull->connect, &silence, &told);
    if (!follow) {
        *fault = told;
    } else if (!pull->silence_told) {
        fprintf(stderr, "thole: %s. Still asking\n", told.text);
        pull->silence_told = true;
    }
    return fault->code;
}

/* Poll until the fetch is done. */
static int run(struct pull *pull, bool follow, struct fault *fault)
{
    struct fetch *fetch = &pull->fetch;
    while (!fetch_is_done(fetch)) {
        uint64_t now_ns = clock_now_ns();
        uint64_t printed = pull->printed;
        uint32_t work = fetch_poll(fetch, now_ns);
        if (follow && pull->printed > printed && output_flush(fault) != 0) {
            return fault->code;
        }
        if (!fetch_is_done(fetch) && check_patience(pull, now_ns, follow, fault) != 0) {
            return fault->code;
        }
        if (work == 0 && !fetch_is_done(fetch)) {
            connect_wait(&pull->connect, now_ns, fetch_deadline_ns(fetch));
        }
    }
    return 0;
}

int pull_open(struct pull *pull, const struct pull_options *options, struct fault *fault)
{
    *pull = (struct pull){.options = *options};
    int result = connect_open(&pull->connect, options->path, CLIENT_READ_TIMEOUT_NS,
                              fetch_memory_bytes() + PAYLOAD_BASE64_BYTES + PAGE_BYTES, fault);
    if (result != 0) {
        return result;
    }
    struct fetch_config config = {.node = options->node,
                                  .linearizable = options->linearizable,
                                  .take = take_record,
                                  .context = pull};
    struct mem *mem = &pull->connect.mem;
    fetch_init(&pull->fetch, mem, pull->connect.client, &config, clock_now_ns());
    pull->base64 = mem_take(mem, "base64", 1, PAYLOAD_BASE64_BYTES, 64);
    mem_seal(mem);
    if (options->node != 0 && !has_node(&pull->connect.config, options->node)) {
        fault_set(fault, FAULT_USAGE, "--node: there is no [node %u] in %.200s", options->node,
                  options->path);
    } else {
        (void)run(pull, false, fault);
    }
    if (fault->code != 0) {
        pull_close(pull);
    }
    return fault->code;
}

int pull_print(struct pull *pull, const struct pull_range *range, struct fault *fault)
{
    struct fetch *fetch = &pull->fetch;
    uint64_t from = range->from;
    for (;;) {
        fetch_range(fetch, from, range->end);
        if (run(pull, range->end == FETCH_NO_END, fault) != 0 || output_flush(fault) != 0) {
            return fault->code;
        }
        if (!fetch->trimmed) {
            return 0;
        }
        ASSERT(fetch->view.start_offset > fetch->offset);
        if (range->from_asked || pull->printed > 0) {
            break;
        }
        from = fetch->view.start_offset; /* It was trimmed between the two questions. */
    }
    fault_set(fault, FAULT_FAILED,
              "offset %" PRIu64 " is trimmed: the log of node %u starts at %" PRIu64
              ". Read on from there with --from %" PRIu64,
              fetch->offset, fetch->view.node, fetch->view.start_offset, fetch->view.start_offset);
    return fault->code;
}

void pull_close(struct pull *pull)
{
    connect_close(&pull->connect);
}
