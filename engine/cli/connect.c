/* connect.c: see connect.h. */
#include "engine/cli/connect.h"

#include "engine/base/units.h"
#include "engine/cli/make_log.h"
#include "engine/client/silence.h"
#include "net/nic_socket.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS   1000000u
#define WAIT_MS_MAX 1000u

static struct client_config client_config_of(const struct config *config, uint64_t timeout_ns)
{
    struct client_config client = {
        .cluster = config->cluster,
        .id = make_log_random_id(),
        .node_count = config->node_count,
        .outstanding_max = REQUEST_RECORDS_MAX,
        .timeout_ns = timeout_ns,
        .read_timeout_ns = CLIENT_READ_TIMEOUT_NS,
        .seed = make_log_random_id(),
    };
    for (uint32_t i = 0; i < config->node_count; i++) {
        client.nodes[i] = (struct client_node){config->nodes[i].id, config->nodes[i].address};
    }
    return client;
}

static int open_socket(struct connect *connect, struct fault *fault)
{
    struct nic_address peers[NODES_MAX];
    for (uint32_t i = 0; i < connect->config.node_count; i++) {
        peers[i] = connect->config.nodes[i].address;
    }
    struct nic_socket_config config = {
        .peers = peers,
        .peer_count = connect->config.node_count,
        .frame_bytes_min = WIRE_HEAD_BYTES_MAX + FRAGMENT_BYTES_MIN,
    };
    return nic_socket_open(&connect->nic, &connect->mem, &config, fault);
}

int connect_open(struct connect *connect,
                 const char *path,
                 uint64_t timeout_ns,
                 uint64_t memory_bytes,
                 struct fault *fault)
{
    ASSERT(path != NULL);
    ASSERT(timeout_ns > 0);
    *connect = (struct connect){.path = path};
    int result = config_load(&connect->config, path, fault);
    if (result != 0) {
        return result;
    }
    struct client_config client = client_config_of(&connect->config, timeout_ns);
    uint64_t bytes = client_memory_bytes(&client) + nic_socket_memory_bytes() + memory_bytes;
    result = mem_open(&connect->mem, bytes + PAGE_BYTES);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory for a client: %llu bytes are needed",
                  (unsigned long long)bytes);
        return result;
    }
    result = open_socket(connect, fault);
    if (result != 0) {
        mem_close(&connect->mem);
        return result;
    }
    connect->client = client_init(&connect->mem, &client, connect->nic);
    return 0;
}

void connect_close(struct connect *connect)
{
    ASSERT(connect->nic != NULL);
    nic_close(connect->nic);
    mem_close(&connect->mem);
}

void connect_wait_input(const struct connect *connect,
                        int input_fd,
                        uint64_t now_ns,
                        uint64_t deadline_ns)
{
    if (deadline_ns <= now_ns) {
        return;
    }
    uint64_t wait_ns = deadline_ns - now_ns;
    wait_ns =
        wait_ns > WAIT_MS_MAX * (uint64_t)NS_PER_MS ? WAIT_MS_MAX * (uint64_t)NS_PER_MS : wait_ns;
    int wait_ms = (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS);
    struct pollfd wanted[] = {
        {.fd = nic_wait_fd(connect->nic), .events = POLLIN},
        {.fd = input_fd, .events = POLLIN}, /* poll() steps over -1. */
    };
    ASSERT(wanted[0].fd >= 0);
    (void)poll(wanted, 2, wait_ms);
}

void connect_wait(const struct connect *connect, uint64_t now_ns, uint64_t deadline_ns)
{
    connect_wait_input(connect, -1, now_ns, deadline_ns);
}

void connect_unavailable(const struct connect *connect,
                         const struct connect_silence *silence,
                         struct fault *fault)
{
    struct silence told = {
        .waited_ns = silence->waited_ns,
        .node = silence->node,
        .stranger = silence->stranger,
        .heard = silence->heard,
    };
    silence_tell(&connect->config, connect->path, &told, fault);
}

uint64_t connect_parse_number(struct argp_state *state, const char *flag, const char *value)
{
    uint64_t number = 0;
    if (!units_parse_number(value, 0, CLIENT_OFFSET_MAX, &number)) {
        argp_error(state, "%s: `%s` is not a number from 0 on", flag, value);
    }
    return number;
}

uint8_t connect_parse_node(struct argp_state *state, const char *value)
{
    uint64_t node = connect_parse_number(state, "--node", value);
    if (node == 0 || node > NODE_ID_MAX) {
        argp_error(state, "--node: `%s` is not a node's number, 1 to %u", value, NODE_ID_MAX);
    }
    return (uint8_t)node;
}
