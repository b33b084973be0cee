/* thole_open.c: a client of the public library, from its options to its memory and its socket. */
#define _DEFAULT_SOURCE /* getrandom() */
#include "engine/client/thole_internal.h"

#include "net/nic_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define NODE_TEXT_BYTES 64u
#define ALIGNMENT_BYTES (4u * PAGE_BYTES) /* What aligning of all parts together takes. */

/* Where the parts of a client have their sizes before there is any memory for it. */
struct plan {
    struct config config;
    struct client_config client;
    struct writer_config writer;
    uint32_t slots; /* Of the rings of tags and of outcomes. */
};

uint64_t thole_random(void)
{
    uint64_t id = 0;
    while (id == 0) {
        ssize_t got = getrandom(&id, sizeof id, 0);
        ASSERT(got == (ssize_t)sizeof id);
    }
    return id;
}

/* ---- Options ---- */

static int refuse(struct fault *fault, int code, const char *what)
{
    fault_set(fault, FAULT_USAGE, "%s", what);
    return code;
}

/* One of the list: "10.0.0.1:7001", or with its number, "3=10.0.0.1:7001". */
static int take_node(struct config *config, const char *text, struct fault *fault)
{
    uint32_t id = config->node_count == 0 ? 1 : config->nodes[config->node_count - 1].id + 1u;
    const char *address = text;
    const char *equals = strchr(text, '=');
    if (equals != NULL) {
        id = 0;
        for (const char *c = text; c < equals; c++) {
            id = *c >= '0' && *c <= '9' && id <= NODE_ID_MAX ? id * 10 + (uint32_t)(*c - '0')
                                                             : NODE_ID_MAX + 1;
        }
        address = equals + 1;
    }
    if (config->node_count == VOTERS_MAX || id == 0 || id > NODE_ID_MAX) {
        fault_set(fault, FAULT_USAGE,
                  "options.addresses: `%s`: at most %u nodes, with numbers from 1 to %u", text,
                  VOTERS_MAX, NODE_ID_MAX);
        return -EINVAL;
    }
    struct config_node *node = &config->nodes[config->node_count];
    *node = (struct config_node){.id = (uint8_t)id};
    if (!config_parse_address(address, &node->address)) {
        fault_set(fault, FAULT_USAGE,
                  "options.addresses: `%s` is not IPV4:PORT or NODE=IPV4:PORT, e.g. "
                  "127.0.0.1:7001,127.0.0.1:7002",
                  text);
        return -EINVAL;
    }
    for (uint32_t i = 0; i < config->node_count; i++) {
        if (config->nodes[i].id == id ||
            nic_address_equal(config->nodes[i].address, node->address)) {
            fault_set(fault, FAULT_USAGE, "options.addresses: `%s`: this node is named before",
                      text);
            return -EINVAL;
        }
    }
    config->node_count++;
    return 0;
}

static int take_addresses(struct config *config, const char *list, struct fault *fault)
{
    for (const char *cursor = list; cursor != NULL;) {
        char text[NODE_TEXT_BYTES];
        size_t bytes = strcspn(cursor, ",");
        (void)snprintf(text, sizeof text, "%.*s", (int)bytes, cursor);
        int result = take_node(config, text, fault);
        if (result != 0) {
            return result;
        }
        cursor = cursor[bytes] == ',' ? cursor + bytes + 1 : NULL;
    }
    return 0;
}

static int
take_cluster(struct config *config, const struct thole_options *options, struct fault *fault)
{
    if ((options->config_path != NULL) == (options->addresses != NULL)) {
        return refuse(fault, -EINVAL,
                      "where is the cluster? Give either options.config_path or options.addresses");
    }
    if (options->config_path != NULL) {
        return config_load(config, options->config_path, fault);
    }
    if (options->cluster == 0) {
        return refuse(fault, -EINVAL,
                      "options.cluster is 0: with options.addresses, give the `id` that stands in "
                      "[cluster] of the configuration of the nodes");
    }
    config->cluster = options->cluster;
    return take_addresses(config, options->addresses, fault);
}

static int check_bounds(const struct thole_options *options, struct fault *fault)
{
    if (options->session != NULL &&
        (options->session[0] == '\0' || strlen(options->session) > THOLE_SESSION_NAME_MAX)) {
        return refuse(fault, -EINVAL, "options.session: a name has 1 to 40 bytes; NULL is none");
    }
    if (options->records_max > WRITER_RECORDS_MAX) {
        fault_set(fault, FAULT_USAGE, "options.records_max: %u is above %u", options->records_max,
                  WRITER_RECORDS_MAX);
        return -EINVAL;
    }
    return 0;
}

/* ---- Memory ---- */

static uint64_t plan_bytes(const struct plan *plan)
{
    return sizeof(struct thole) +
           plan->slots * (uint64_t)(sizeof(uint64_t) + sizeof(struct thole_completion)) +
           client_memory_bytes(&plan->client) + writer_memory_bytes(&plan->writer) +
           nic_socket_memory_bytes() + fetch_memory_bytes() + PAGE_BYTES + ALIGNMENT_BYTES;
}

/* Give the writer as many bytes as the memory has: the most that fit, by halving. */
static int plan_fit(struct plan *plan, uint64_t memory_bytes, struct fault *fault)
{
    plan->writer.bytes_max = WRITER_BYTES_MIN;
    uint64_t least = plan_bytes(plan);
    if (memory_bytes < least) {
        fault_set(fault, FAULT_USAGE,
                  "options.memory_bytes: %llu are too few for %u records under way: give at least "
                  "%llu, or a smaller options.records_max",
                  (unsigned long long)memory_bytes, plan->writer.records_max,
                  (unsigned long long)least);
        return -ENOMEM;
    }
    for (uint32_t step = WRITER_BYTES_MAX / 2; step >= PAGE_BYTES; step /= 2) {
        uint32_t before = plan->writer.bytes_max;
        plan->writer.bytes_max = before + step;
        if (plan->writer.bytes_max > WRITER_BYTES_MAX || plan_bytes(plan) > memory_bytes) {
            plan->writer.bytes_max = before;
        }
    }
    return 0;
}

static int plan_make(struct plan *plan, const struct thole_options *options, struct fault *fault)
{
    *plan = (struct plan){0};
    int result = take_cluster(&plan->config, options, fault);
    if (result == 0) {
        result = check_bounds(options, fault);
    }
    if (result != 0) {
        return result;
    }
    uint64_t timeout_ns = options->timeout_ns == 0 ? THOLE_TIMEOUT_DEFAULT : options->timeout_ns;
    plan->client = (struct client_config){
        .cluster = plan->config.cluster,
        .id = thole_random(),
        .node_count = plan->config.node_count,
        .outstanding_max = 1,
        .timeout_ns = timeout_ns,
        .read_timeout_ns = CLIENT_READ_TIMEOUT_NS,
        .seed = thole_random(),
    };
    for (uint32_t i = 0; i < plan->config.node_count; i++) {
        plan->client.nodes[i] =
            (struct client_node){plan->config.nodes[i].id, plan->config.nodes[i].address};
    }
    plan->writer = (struct writer_config){
        .name = (const uint8_t *)options->session,
        .name_bytes = options->session == NULL ? 0 : (uint32_t)strlen(options->session),
        .timeout_ns = timeout_ns,
        .records_max = options->records_max == 0 ? THOLE_RECORDS_DEFAULT : options->records_max,
    };
    plan->slots = 1;
    while (plan->slots < plan->writer.records_max) {
        plan->slots *= 2;
    }
    return plan_fit(plan, options->memory_bytes == 0 ? THOLE_MEMORY_DEFAULT : options->memory_bytes,
                    fault);
}

/* ---- Opening ---- */

static int open_socket(struct thole *client, struct mem *mem, struct fault *fault)
{
    struct nic_address peers[VOTERS_MAX];
    for (uint32_t i = 0; i < client->config.node_count; i++) {
        peers[i] = client->config.nodes[i].address;
    }
    struct nic_socket_config config = {
        .peers = peers,
        .peer_count = client->config.node_count,
        .frame_bytes_min = WIRE_HEAD_BYTES_MAX + FRAGMENT_BYTES_MIN,
    };
    return nic_socket_open(&client->nic, mem, &config, fault);
}

static void take_parts(struct thole *client, struct mem *mem, struct plan *plan)
{
    uint8_t nodes[VOTERS_MAX];
    for (uint32_t i = 0; i < plan->config.node_count; i++) {
        nodes[i] = plan->config.nodes[i].id;
    }
    client->mask = plan->slots - 1;
    client->records_max = plan->writer.records_max;
    client->tags = mem_take(mem, "tags", plan->slots, sizeof(uint64_t), 64);
    client->done = mem_take(mem, "outcomes", plan->slots, sizeof(struct thole_completion), 64);
    client->reader.pages =
        mem_take(mem, "reader", 1, (fetch_memory_bytes() + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1ull),
                 PAGE_BYTES);
    client->core = client_init(mem, &plan->client, client->nic);
    plan->writer.client = client->core;
    client->writer = writer_init(mem, &plan->writer);
    survey_init(&client->survey, client->core, nodes, plan->config.node_count);
}

static int open_planned(struct thole **out,
                        struct plan *plan,
                        const struct thole_options *options,
                        struct fault *fault)
{
    struct mem mem;
    int result = mem_open(&mem, plan_bytes(plan));
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory for a client: %llu bytes are needed",
                  (unsigned long long)plan_bytes(plan));
        return result;
    }
    struct thole *client = mem_take(&mem, "client of the library", 1, sizeof *client, 64);
    client->config = plan->config;
    client->timeout_ns = plan->client.timeout_ns;
    client->on_completion = options->on_completion;
    client->context = options->context;
    if (options->config_path != NULL) {
        (void)snprintf(client->path, sizeof client->path, "%s", options->config_path);
    }
    result = open_socket(client, &mem, fault);
    if (result != 0) {
        mem_close(&mem);
        return result;
    }
    take_parts(client, &mem, plan);
    mem_seal(&mem);
    client->mem = mem;
    *out = client;
    return 0;
}

struct thole *thole_open(const struct thole_options *options, struct thole_error *error)
{
    struct plan plan;
    struct fault fault = {0};
    struct thole *client = NULL;
    int result = -EINVAL;
    if (options == NULL) {
        fault_set(&fault, FAULT_USAGE, "no options: where is the cluster?");
    } else {
        result = plan_make(&plan, options, &fault);
    }
    if (result == 0) {
        result = open_planned(&client, &plan, options, &fault);
    }
    if (error != NULL) {
        _Static_assert(THOLE_ERROR_BYTES >= FAULT_TEXT_BYTES, "the text of a fault fits");
        error->code = -result;
        (void)snprintf(error->text, sizeof error->text, "%s", fault.text);
    }
    return client;
}

void thole_close(struct thole *client)
{
    if (client != NULL) {
        ASSERT(!client->inside);
        nic_close(client->nic);
        struct mem mem = client->mem; /* It holds the client itself. */
        mem_close(&mem);
    }
}
