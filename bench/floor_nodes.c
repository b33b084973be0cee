/* floor_nodes.c: see floor_nodes.h.
 *
 * Invariant: a process of the floor never outlives the one that made it, and its file has lost its
 * name before the process says that it is ready: whatever ends it, nothing is left in the folder.
 * So it is ended by SIGKILL, and its loop, which may wait for ever, needs no way to be woken.
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS, eventfd */
#include "bench/floor_nodes.h"

#include "bench/ports.h"
#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/core.h"
#include "engine/wire.h"
#include "net/nic_socket.h"
#include "storage/disk_uring.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_WAIT_NS 60000000000ull /* Writing the files takes so long at most. */
#define NAP_NS        1000000

enum process_state { PROCESS_STARTING, PROCESS_READY, PROCESS_FAILED, PROCESS_SERVING };

struct process {
    _Atomic uint32_t state;     /* enum process_state */
    struct nic_address address; /* From PROCESS_READY on. */
    struct fault fault;         /* Of PROCESS_FAILED. */
};

struct floor_nodes_shared {
    struct process processes[VOTERS_MAX];
    _Atomic uint32_t serve;
    struct histogram histograms[FLOOR_HISTOGRAMS];
};

/* What one process of the floor holds. */
struct own {
    const struct floor_nodes_config *config;
    struct floor_nodes_shared *shared;
    uint32_t number;
    struct mem mem;
    struct nic *nic;
    struct floor floor;
    struct core core;
    char path[PATH_MAX];
};

static void nap(void)
{
    struct timespec time = {.tv_nsec = NAP_NS};
    (void)nanosleep(&time, NULL);
}

/* ---- One process. ---- */

static int namespace_enter(const char *path, struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result = fd < 0 || setns(fd, CLONE_NEWNET) != 0 ? -errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot enter the network namespace %.128s: %s", path,
                  strerror(-result));
    }
    return result;
}

static int open_nic(struct own *own, struct fault *fault)
{
    static const struct nic_spec udp = {.kind = NIC_UDP};
    const struct floor_nodes_config *config = own->config;
    const char *namespace = config->nodes[own->number].namespace;
    if (namespace != NULL && namespace_enter(namespace, fault) != 0) {
        return -EPERM;
    }
    struct ports_one one = {
        .spec = config->net == NULL ? &udp : config->net,
        .self = config->nodes[own->number].address,
        .frame_bytes_min = wire_head_bytes(WIRE_ENTRY) + FRAGMENT_BYTES_MIN,
    };
    if (one.spec->kind == NIC_UDP) {
        one.self.port = 0; /* Beside the node's own. */
        one.peer = config->nodes[(own->number + 1) % config->node_count].address;
    }
    return ports_open_one(&own->nic, &own->mem, &one, fault);
}

static enum nic_kind kind_of(const struct floor_nodes_config *config)
{
    return config->net == NULL ? NIC_UDP : config->net->kind;
}

static int make_file(struct own *own, struct fault *fault)
{
    const char *folder = own->config->nodes[own->number].folder;
    int length = snprintf(own->path, sizeof(own->path), "%s/floor-%ld", folder, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof(own->path)) {
        own->path[0] = '\0';
        fault_set(fault, FAULT_ENVIRONMENT, "the name of the folder %.64s... is too long", folder);
        return -ENAMETOOLONG;
    }
    int result = disk_uring_create(own->path, FLOOR_NODES_FILE_BYTES, fault);
    if (result != 0) {
        own->path[0] = '\0';
    }
    return result;
}

/* The same loop as a node's: one task, its socket and its disk to wait on. */
static int start_core(struct own *own, struct fault *fault)
{
    struct floor_node *node = &own->floor.nodes[own->number];
    struct core_config config = {
        .cpu = own->config->nodes[own->number].cpu,
        .idle = own->config->idle,
        .mem = &own->mem,
        .enter = ports_enter(kind_of(own->config)),
        .leave = ports_leave(kind_of(own->config)),
    };
    struct core_set set = {
        .task_count = 1,
        .tasks = {{
            .context = node,
            .open = floor_open,
            .poll = floor_poll,
            .is_working = floor_is_working,
            .deadline_ns = floor_deadline_ns,
            .close = floor_close,
        }},
        .fd_count = 1,
        .fds = {nic_wait_fd(own->nic)},
    };
    node->path = own->path;
    if (own->config->durable) {
        node->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (node->event < 0) {
            fault_set(fault, FAULT_ENVIRONMENT, "no eventfd for the floor: %s", strerror(errno));
            return -errno;
        }
        set.fds[set.fd_count++] = node->event;
    }
    core_init(&own->core, &config);
    uint32_t number = core_add_set(&own->core, &set);
    ASSERT(number == 0);
    return core_start(&own->core, fault);
}

static int open_process(struct own *own, struct fault *fault)
{
    uint64_t bytes = floor_memory_bytes() + nic_socket_memory_bytes() + 4ull * PAGE_BYTES;
    int result = mem_open(&own->mem, bytes);
    if (result != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory for a process of the floor");
        return result;
    }
    result = open_nic(own, fault);
    if (result == 0 && own->config->durable) {
        result = make_file(own, fault);
    }
    if (result != 0) {
        return result;
    }
    struct floor_config floor = {
        .node_count = own->config->node_count,
        .durable = own->config->durable,
        .file_bytes = FLOOR_NODES_FILE_BYTES,
        .histograms = own->shared->histograms,
    };
    floor.nics[own->number] = own->nic;
    floor_init(&own->floor, &own->mem, &floor);
    floor_begin(&own->floor, FLOOR_COMMIT, 1);
    return start_core(own, fault);
}

/* The others' addresses are known now: poll. */
static void serve(struct own *own)
{
    struct floor_nodes_shared *shared = own->shared;
    while (atomic_load_explicit(&shared->serve, memory_order_acquire) == 0) {
        nap();
    }
    for (uint32_t i = 0; i < own->config->node_count; i++) {
        own->floor.config.addresses[i] = shared->processes[i].address;
    }
    core_select(&own->core, 0);
    atomic_store_explicit(&shared->processes[own->number].state, PROCESS_SERVING,
                          memory_order_release);
    while (true) {
        (void)pause();
    }
}

/* The life of a process of the floor, until it is killed. It leaves by _exit(): the buffers of
 * stdio are the parent's. */
static void process_main(const struct floor_nodes *nodes, uint32_t number, pid_t parent)
{
    struct process *process = &nodes->shared->processes[number];
    (void)prctl(PR_SET_NAME, "thole-floor", 0ul, 0ul, 0ul);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0ul, 0ul, 0ul);
    if (getppid() != parent) {
        _exit(FAULT_INTERNAL); /* It ended before it could be said that we end with it. */
    }
    static struct own own; /* Large, and one a process. */
    own = (struct own){.config = &nodes->config, .shared = nodes->shared, .number = number};
    int result = open_process(&own, &process->fault);
    if (own.path[0] != '\0') {
        (void)unlink(own.path); /* Open it stays. */
    }
    if (result != 0) {
        atomic_store_explicit(&process->state, PROCESS_FAILED, memory_order_release);
        _exit(FAULT_ENVIRONMENT);
    }
    process->address = own.nic->self;
    atomic_store_explicit(&process->state, PROCESS_READY, memory_order_release);
    serve(&own);
}

/* ---- The one that makes them. ---- */

static int fork_one(struct floor_nodes *nodes, uint32_t number, struct fault *fault)
{
    sigset_t signals;
    sigset_t before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT); /* A terminal's goes to all, and the maker ends the others. */
    pid_t parent = getpid();
    int result = sigprocmask(SIG_BLOCK, &signals, &before);
    ASSERT(result == 0);
    pid_t pid = fork();
    if (pid == 0) {
        process_main(nodes, number, parent);
    }
    int error = errno;
    result = sigprocmask(SIG_SETMASK, &before, NULL);
    ASSERT(result == 0);
    if (pid < 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot make a process for the floor: %s",
                  strerror(error));
        return -error;
    }
    nodes->pids[number] = pid;
    return 0;
}

static uint32_t state_of(const struct floor_nodes *nodes, uint32_t number)
{
    return atomic_load_explicit(&nodes->shared->processes[number].state, memory_order_acquire);
}

/* Until this one is ready. */
static int wait_ready(struct floor_nodes *nodes, uint32_t number, struct fault *fault)
{
    uint64_t begin_ns = clock_now_ns();
    uint32_t state = state_of(nodes, number);
    while (state == PROCESS_STARTING && clock_now_ns() - begin_ns < READY_WAIT_NS &&
           floor_nodes_are_alive(nodes)) {
        nap();
        state = state_of(nodes, number);
    }
    state = state_of(nodes, number); /* It may have said so and ended since. */
    if (state == PROCESS_READY) {
        return 0;
    }
    if (state == PROCESS_FAILED) {
        *fault = nodes->shared->processes[number].fault;
    } else {
        fault_set(fault, FAULT_ENVIRONMENT, "a process of the floor did not start");
    }
    return -ECHILD;
}

int floor_nodes_start(struct floor_nodes *nodes,
                      const struct floor_nodes_config *config,
                      struct fault *fault)
{
    ASSERT(config->node_count >= 1);
    ASSERT(config->node_count <= VOTERS_MAX);
    *nodes = (struct floor_nodes){.config = *config};
    void *memory = mmap(NULL, sizeof(struct floor_nodes_shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory for the floor");
        return -ENOMEM;
    }
    nodes->shared = memory;
    int result = 0;
    for (uint32_t i = 0; i < config->node_count && result == 0; i++) {
        result = fork_one(nodes, i, fault);
    }
    for (uint32_t i = 0; i < config->node_count && result == 0; i++) {
        result = wait_ready(nodes, i, fault);
    }
    if (result != 0) {
        floor_nodes_stop(nodes);
    }
    return result;
}

void floor_nodes_serve(struct floor_nodes *nodes)
{
    ASSERT(nodes->shared != NULL);
    atomic_store_explicit(&nodes->shared->serve, 1, memory_order_release);
    for (uint32_t i = 0; i < nodes->config.node_count; i++) {
        while (state_of(nodes, i) != PROCESS_SERVING && floor_nodes_are_alive(nodes)) {
            nap();
        }
    }
}

struct nic_address floor_nodes_leader(const struct floor_nodes *nodes)
{
    ASSERT(nodes->shared != NULL);
    return nodes->shared->processes[0].address;
}

bool floor_nodes_are_alive(struct floor_nodes *nodes)
{
    bool alive = true;
    for (uint32_t i = 0; i < nodes->config.node_count; i++) {
        if (nodes->pids[i] > 0 && waitpid(nodes->pids[i], NULL, WNOHANG) == nodes->pids[i]) {
            nodes->pids[i] = 0;
        }
        alive = alive && nodes->pids[i] > 0;
    }
    return alive;
}

const struct histogram *floor_nodes_disk_ns(const struct floor_nodes *nodes)
{
    return &nodes->shared->histograms[0];
}

const struct histogram *floor_nodes_peer_echo_ns(const struct floor_nodes *nodes)
{
    return &nodes->shared->histograms[1];
}

void floor_nodes_stop(struct floor_nodes *nodes)
{
    if (nodes->shared == NULL) {
        return;
    }
    for (uint32_t i = 0; i < nodes->config.node_count; i++) {
        if (nodes->pids[i] > 0) {
            (void)kill(nodes->pids[i], SIGKILL); /* It holds nothing that could be left behind. */
        }
    }
    for (uint32_t i = 0; i < nodes->config.node_count; i++) {
        while (nodes->pids[i] > 0 && waitpid(nodes->pids[i], NULL, 0) < 0 && errno == EINTR) {
        }
        nodes->pids[i] = 0;
    }
    (void)munmap(nodes->shared, sizeof(*nodes->shared));
    nodes->shared = NULL;
}
