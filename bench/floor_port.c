/* floor_port.c: see floor_port.h. */
#define _DEFAULT_SOURCE
#include "bench/floor_port.h"

#include "bench/echo.h"
#include "bench/result.h"
#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/core.h"
#include "net/nic_dpdk.h"
#include "net/nic_dpdk_port.h"
#include "net/nic_socket.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MEET_NS       5000000000ull /* The server may be about to start. */
#define SERVER_NAP_NS 100000000
#define ADDRESS_BYTES 32u

/* Every size with every number of frames under way, where the user does not say. */
static const uint32_t sizes[] = {64, 1400};
static const uint32_t depths[] = {1, FLOOR_ECHOES_MAX};
#define SIZES  (sizeof(sizes) / sizeof(sizes[0]))
#define DEPTHS (sizeof(depths) / sizeof(depths[0]))

/* What is open. Large, and one a process. */
static struct {
    struct ports ports; /* Both ends, */
    struct nic *nic;    /* or one, */
    struct mem mem;     /* with its memory if it is a socket. */
    struct core core;
    bool started;
    struct echo_server server;
    struct echo_client client;
} own;

/* What was found. */
static struct {
    struct nic_spec spec;
    char driver[32];
    uint32_t mtu; /* 0: a ring has none. */
    uint32_t frame_bytes_max;
    uint32_t row_count;
    struct echo_row rows[SIZES * DEPTHS];
} found;

static const char *address_text(struct nic_address address, char text[ADDRESS_BYTES])
{
    (void)snprintf(text, ADDRESS_BYTES, "%u.%u.%u.%u:%u", address.ipv4 >> 24,
                   address.ipv4 >> 16 & 255u, address.ipv4 >> 8 & 255u, address.ipv4 & 255u,
                   address.port);
    return text;
}

static void close_all(void)
{
    if (own.started) {
        core_stop(&own.core);
        own.started = false;
    }
    ports_close(&own.ports);
    if (own.nic != NULL) {
        nic_close(own.nic);
        own.nic = NULL;
        if (found.spec.kind != NIC_UDP) {
            nic_dpdk_stop();
        }
    }
    if (own.mem.base != NULL) {
        mem_close(&own.mem);
    }
}

/* ---- Opening. ---- */

static void note_port(const struct nic *nic, const struct nic_spec *spec)
{
    found.spec = *spec;
    found.frame_bytes_max = nic->frame_bytes_max;
    switch (spec->kind) {
    case NIC_RING:
        (void)snprintf(found.driver, sizeof(found.driver), "net_ring");
        return;
    case NIC_UDP:
        (void)snprintf(found.driver, sizeof(found.driver), "kernel socket");
        found.mtu = nic_socket_facts(nic).mtu_bytes;
        return;
    case NIC_AF_PACKET:
    case NIC_AF_XDP:
    case NIC_TAP:
    case NIC_PCI:
    case NIC_VDEV: {
        struct nic_port_facts facts = nic_dpdk_port_facts(nic);
        memcpy(found.driver, facts.driver, sizeof(found.driver));
        found.mtu = facts.mtu;
        return;
    }
    }
}

/* Both ends, by their spec for several ports. */
static int open_both(const struct floor_port_config *config, struct fault *fault)
{
    struct ports_spec spec;
    if (!ports_spec_parse(config->net, &spec)) {
        fault_set(fault, FAULT_USAGE,
                  "--net: `%.64s` is none of %s; of other ports one end is measured with --to, and "
                  "the other answers with --serve",
                  config->net, PORTS_FORM);
        return fault->code;
    }
    struct ports_config ports = {
        .spec = &spec,
        .node_count = 1,
        .eal_argc = config->eal_argc,
        .eal_argv = config->eal_argv,
    };
    if (ports_open(&own.ports, &ports, fault) != 0) {
        return fault->code;
    }
    note_port(own.ports.nics[0], &spec.spec);
    own.server.nic = own.ports.nics[0];
    own.client.nic = own.ports.nics[1];
    own.client.to = own.ports.addresses[0];
    return 0;
}

static int open_one(const struct floor_port_config *config, struct fault *fault)
{
    struct nic_spec spec;
    if (!nic_spec_parse(config->net, &spec) || spec.kind == NIC_RING) {
        fault_set(fault, FAULT_USAGE,
                  "--net: `%.64s` is no port to another process; it is one of %s", config->net,
                  NIC_SPEC_FORM);
        return fault->code;
    }
    if (config->address.ipv4 == 0 && spec.kind != NIC_UDP) {
        fault_set(fault, FAULT_USAGE,
                  "a port `%.64s` needs an address of its own, that no kernel has: give --address "
                  "A.B.C.D:PORT",
                  config->net);
        return fault->code;
    }
    if (spec.kind == NIC_UDP && mem_open(&own.mem, nic_socket_memory_bytes()) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory for a socket");
        return fault->code;
    }
    struct ports_one one = {
        .spec = &spec,
        .self = config->address,
        .peer = config->to,
        .eal_argc = config->eal_argc,
        .eal_argv = config->eal_argv,
    };
    if (ports_open_one(&own.nic, &own.mem, &one, fault) != 0) {
        return fault->code;
    }
    note_port(own.nic, &spec);
    own.server.nic = own.nic;
    own.client.nic = own.nic;
    own.client.to = config->to;
    return 0;
}

/* ---- The server. ---- */

static int start_server(const struct floor_port_config *config, struct fault *fault)
{
    struct core_config core = {
        .cpu = config->server_cpu,
        .idle = config->idle,
        .enter = ports_enter(found.spec.kind),
        .leave = ports_leave(found.spec.kind),
    };
    struct core_set set = {
        .task_count = 1,
        .tasks = {{
            .context = &own.server,
            .poll = echo_server_poll,
            .is_working = echo_server_is_working,
            .deadline_ns = echo_server_deadline_ns,
        }},
        .fd_count = 1,
        .fds = {nic_wait_fd(own.server.nic)},
    };
    core_init(&own.core, &core);
    uint32_t number = core_add_set(&own.core, &set);
    if (core_start(&own.core, fault) != 0) {
        return fault->code;
    }
    own.started = true;
    core_select(&own.core, number);
    return 0;
}

int floor_port_serve(const struct floor_port_config *config, struct fault *fault)
{
    int code = open_one(config, fault);
    if (code == 0) {
        code = start_server(config, fault);
    }
    if (code == 0) {
        char text[ADDRESS_BYTES];
        fprintf(stderr, "serving echoes at %s over %s pid %ld\n", address_text(own.nic->self, text),
                config->net, (long)getpid());
        uint64_t begin_ns = clock_now_ns();
        while (*config->interrupted == 0 &&
               (config->duration_ns == 0 || clock_now_ns() - begin_ns < config->duration_ns)) {
            struct timespec nap = {.tv_nsec = SERVER_NAP_NS};
            (void)nanosleep(&nap, NULL); /* A signal ends it. */
        }
    }
    bool served = own.started;
    close_all();
    if (served) {
        fprintf(stderr, "answered %" PRIu64 " frames\n", own.server.answered);
    }
    return code;
}

/* ---- The client. ---- */

static int measure_row(const struct floor_port_config *config,
                       uint32_t frame_bytes,
                       uint32_t depth,
                       struct fault *fault)
{
    char text[ADDRESS_BYTES];
    struct echo_row *row = &found.rows[found.row_count++];
    row->frame_bytes = frame_bytes < found.frame_bytes_max ? frame_bytes : found.frame_bytes_max;
    row->depth = depth;
    echo_measure(&own.client, config->duration_ns, row);
    if (row->latency.count == 0 && *config->interrupted == 0) {
        fault_set(fault, FAULT_UNAVAILABLE,
                  "%s does not answer frames of %u bytes any more: %" PRIu64 " were lost",
                  address_text(own.client.to, text), row->frame_bytes, row->lost);
        return fault->code;
    }
    return 0;
}

static int measure_rows(const struct floor_port_config *config, struct fault *fault)
{
    char text[ADDRESS_BYTES];
    if (!echo_meet(&own.client, MEET_NS)) {
        fault_set(fault, FAULT_UNAVAILABLE,
                  "nobody at %s answers: `thole floor net --serve` must run there, on the same "
                  "segment",
                  address_text(own.client.to, text));
        return fault->code;
    }
    bool one_size = config->frame_bytes != 0;
    bool one_depth = config->depth != 0;
    int code = 0;
    for (uint32_t i = 0; i < (one_size ? 1 : SIZES) && code == 0; i++) {
        for (uint32_t j = 0; j < (one_depth ? 1 : DEPTHS) && code == 0; j++) {
            code = measure_row(config, one_size ? config->frame_bytes : sizes[i],
                               one_depth ? config->depth : depths[j], fault);
        }
    }
    return code;
}

static int measure_here(const struct floor_port_config *config, struct fault *fault)
{
    if (config->frame_bytes > found.frame_bytes_max) {
        fault_set(fault, FAULT_USAGE, "--size %u: this port carries frames of at most %u bytes",
                  config->frame_bytes, found.frame_bytes_max);
        return fault->code;
    }
    bool both = own.ports.open_count > 0;
    if (both && start_server(config, fault) != 0) {
        return fault->code;
    }
    if (config->client_cpu >= 0 && core_pin(config->client_cpu) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot run on CPU %d", config->client_cpu);
        return fault->code;
    }
    int fd = nic_wait_fd(own.client.nic);
    own.client.interrupted = config->interrupted;
    idle_init(&own.client.idle, config->idle, &fd, 1, false);
    return measure_rows(config, fault);
}

int floor_port_measure(const struct floor_port_config *config, struct fault *fault)
{
    int code = config->to.ipv4 != 0 ? open_one(config, fault) : open_both(config, fault);
    if (code == 0) {
        code = measure_here(config, fault);
    }
    close_all();
    return code;
}

/* ---- What was found. ---- */

static double per_s(const struct echo_row *row)
{
    return row->elapsed_ns == 0 ? 0 : (double)row->latency.count * 1e9 / (double)row->elapsed_ns;
}

static json_t *rows_json(void)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < found.row_count; i++) {
        const struct echo_row *row = &found.rows[i];
        json_array_append_new(list,
                              json_pack("{s:i, s:i, s:f, s:I, s:o}", "bytes", (int)row->frame_bytes,
                                        "depth", (int)row->depth, "frames_per_s", per_s(row),
                                        "lost", (json_int_t)row->lost, "latency_ns",
                                        result_latency_json(&row->latency)));
    }
    return list;
}

json_t *floor_port_json(const struct floor_port_config *config)
{
    struct ports_copies copies;
    bool known = ports_copies(&found.spec, &copies);
    json_t *counted = known ? json_pack("{s:i, s:i, s:i}", "program", (int)copies.program, "driver",
                                        (int)copies.driver, "kernel", (int)copies.kernel)
                            : json_null();
    bool both = config->to.ipv4 == 0;
    return json_pack(
        "{s:s, s:s, s:o, s:i, s:s, s:s, s:o, s:o, s:o, s:o}", "spec", config->net, "driver",
        found.driver, "mtu", found.mtu == 0 ? json_null() : json_integer(found.mtu),
        "frame_bytes_max", (int)found.frame_bytes_max, "idle", idle_mode_name(config->idle), "ends",
        both ? "both" : "client", "server_cpu",
        both && config->server_cpu >= 0 ? json_integer(config->server_cpu) : json_null(),
        "client_cpu", config->client_cpu >= 0 ? json_integer(config->client_cpu) : json_null(),
        "copies_per_payload_byte", counted, "rows", rows_json());
}

static const char *cpu_text(int cpu, char text[16])
{
    (void)snprintf(text, 16, cpu < 0 ? "any CPU" : "CPU %d", cpu);
    return text;
}

void floor_port_print(const struct floor_port_config *config)
{
    char text[2][16];
    struct ports_copies copies;
    printf("echoes over %s (%s), ", config->net, found.driver);
    if (found.mtu != 0) {
        printf("mtu %u, ", found.mtu);
    }
    printf("idle %s, server %s, client on %s\n", idle_mode_name(config->idle),
           config->to.ipv4 != 0 ? "elsewhere" : cpu_text(config->server_cpu, text[0]),
           cpu_text(config->client_cpu, text[1]));
    if (ports_copies(&found.spec, &copies)) {
        printf("copies of each payload byte, one way: %u by thole, %u by the driver, %u by the "
               "kernel\n",
               copies.program, copies.driver, copies.kernel);
    }
    printf("\n%10s %7s %12s %10s %10s %10s %10s %8s\n", "bytes", "depth", "frames/s", "p50 us",
           "p90 us", "p99 us", "max us", "lost");
    for (uint32_t i = 0; i < found.row_count; i++) {
        const struct histogram *latency = &found.rows[i].latency;
        printf("%10u %7u %12.0f %10.2f %10.2f %10.2f %10.1f %8" PRIu64 "\n",
               found.rows[i].frame_bytes, found.rows[i].depth, per_s(&found.rows[i]),
               (double)histogram_percentile(latency, 50) / 1e3,
               (double)histogram_percentile(latency, 90) / 1e3,
               (double)histogram_percentile(latency, 99) / 1e3, (double)latency->max / 1e3,
               found.rows[i].lost);
    }
}
