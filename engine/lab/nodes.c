/* nodes.c: see nodes.h. */
#define _GNU_SOURCE /* O_CLOEXEC, dup3 */
#include "engine/lab/nodes.h"

#include "engine/base/clock.h"
#include "engine/cli/ask.h"
#include "engine/cli/health.h"
#include "engine/cli/make_log.h"
#include "engine/lab/place.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS                                                                                \
    60000000000ull /* Of a node that neither serves nor ends, or is not healthy.                   \
                    */
#define LOOK_NS    10000000
#define TAIL_BYTES 4096u

int nodes_write_config(const struct lab *lab,
                       const struct lab_cluster *cluster,
                       struct fault *fault)
{
    char path[PATH_MAX];
    lab_path(lab, LAB_CONFIG, 0, path);
    FILE *file = fopen(path, "wxe");
    if (file == NULL) {
        int error = errno;
        fault_set(fault, FAULT_ENVIRONMENT, "cannot make %.300s: %s", path, strerror(error));
        return -error;
    }
    fprintf(file, "[cluster]\nid = %016" PRIx64 "\n", make_log_random_id());
    for (uint32_t i = 0; i < lab->host_count; i++) {
        if (lab->hosts[i].node != 0) {
            fprintf(file, "[node %u]\naddress = %s:%u\ndata = n%u\n", lab->hosts[i].node,
                    lab->hosts[i].address, LAB_PORT, lab->hosts[i].node);
        }
    }
    fprintf(file,
            "[net]\nspec = %s\n[storage]\nsize = %" PRIu64 "\nsegment = 1MiB\ndurability = %s\n"
            "[raft]\nelection = 150ms-300ms\nheartbeat = 15ms\n",
            cluster->spec, cluster->size_bytes, cluster->durability);
    if (fclose(file) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot write %.300s: %s", path, strerror(errno));
        return -EIO;
    }
    return 0;
}

int nodes_format(const struct lab *lab, const struct config *config, struct fault *fault)
{
    ASSERT(config->node_count == lab->node_count);
    for (uint32_t i = 0; i < config->node_count && config->durability == CONFIG_DSYNC; i++) {
        const struct config_node *node = &config->nodes[i];
        char path[PATH_MAX];
        struct stat status;
        if (!make_log_path(node->data, path, sizeof path) || stat(path, &status) == 0) {
            continue;
        }
        struct format_config format = {
            .cluster = config->cluster,
            .store = make_log_random_id(),
            .node = node->id,
            .segment_bytes = config->segment_bytes,
        };
        int result = make_log(node->data, config->size_bytes / PAGE_BYTES * PAGE_BYTES, &format,
                              false, fault);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

void nodes_last_line(const struct lab *lab, uint32_t number, char line[NODES_LINE_BYTES])
{
    char path[PATH_MAX];
    char text[TAIL_BYTES];
    line[0] = '\0';
    lab_path(lab, LAB_SAID, number, path);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    if (fseek(file, -(long)(sizeof text - 1), SEEK_END) != 0) {
        rewind(file);
    }
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    while (bytes > 0 && text[bytes - 1] == '\n') {
        bytes--;
    }
    text[bytes] = '\0';
    const char *last = strrchr(text, '\n');
    (void)snprintf(line, NODES_LINE_BYTES, "%.*s", (int)NODES_LINE_BYTES - 1,
                   last != NULL ? last + 1 : text);
}

/* ---- Starting one. ---- */

/* In the child: become the node. */
static void be_node(const struct lab *lab, uint32_t number, int said)
{
    char self[PATH_MAX];
    char node[16];
    char slow[64];
    ssize_t bytes = readlink("/proc/self/exe", self, sizeof self - 1);
    int null = open("/dev/null", O_RDONLY);
    if (bytes <= 0 || null < 0 || chdir(lab->dir) != 0 || dup2(null, 0) != 0 ||
        dup2(said, 1) != 1 || dup2(said, 2) != 2) {
        _exit(FAULT_ENVIRONMENT);
    }
    self[bytes] = '\0';
    (void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC); /* What the caller left open is not its. */
    (void)setsid();
    (void)snprintf(node, sizeof node, "%u", number);
    (void)snprintf(slow, sizeof slow, "0,file=n%u.slow", number);
    (void)execl(self, "thole", "start", "-c", LAB_CONFIG, "--node", node, "--idle", lab->idle,
                "--slow-disk", slow, (char *)NULL);
    dprintf(2, "cannot run %s: %s\n", self, strerror(errno));
    _exit(FAULT_ENVIRONMENT);
}

/* In the child: be born among the nodes, at the host. Its own child is the node, whose number in
 * this process's view goes to `out`. */
static void be_parent(const struct lab *lab, uint32_t host, int said, int out)
{
    int result = lab_enter(lab, host, true);
    pid_t pid = result == 0 ? fork() : -1;
    if (pid == 0) {
        be_node(lab, lab->hosts[host].node, said);
    }
    (void)!write(out, &pid, sizeof pid);
    _exit(0);
}

static uint32_t host_of(const struct lab *lab, uint32_t number)
{
    for (uint32_t i = 0; i < lab->host_count; i++) {
        if (lab->hosts[i].node == number) {
            return i;
        }
    }
    ASSERT(false);
    return LAB_SWITCH;
}

/* The node's process, as this one sees it; `pid` 0 when it has come to nothing. */
static struct process_id launch(const struct lab *lab, uint32_t number, int said)
{
    int ends[2];
    pid_t node = -1;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return (struct process_id){0};
    }
    pid_t parent = fork();
    if (parent == 0) {
        be_parent(lab, host_of(lab, number), said, ends[1]);
    }
    (void)close(ends[1]);
    if (parent > 0) {
        (void)!read(ends[0], &node, sizeof node);
        (void)waitpid(parent, NULL, 0);
    }
    (void)close(ends[0]);
    return node > 0 ? process_find(node) : (struct process_id){0};
}

/* Whether the file holds the words behind an offset. */
static bool has_said(int fd, off_t from, const char *words)
{
    char text[4 * TAIL_BYTES];
    ssize_t bytes = pread(fd, text, sizeof text - 1, from);
    text[bytes < 0 ? 0 : bytes] = '\0';
    return strstr(text, words) != NULL;
}

static void not_serving(const struct lab *lab, uint32_t number, bool ended, struct fault *fault)
{
    char line[NODES_LINE_BYTES];
    nodes_last_line(lab, number, line);
    fault_set(fault, FAULT_ENVIRONMENT, "node %u %s: `%s` (%.200s/n%u.err has all of it)", number,
              ended ? "has ended instead of serving" : "does not serve", line, lab->dir, number);
}

int nodes_start(struct lab *lab, uint32_t number, struct fault *fault)
{
    ASSERT(number >= 1);
    ASSERT(number <= lab->node_count);
    char path[PATH_MAX];
    char serving[64];
    lab_path(lab, LAB_SAID, number, path);
    (void)snprintf(serving, sizeof serving, "serving node %u pid ", number);
    int said = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (said < 0) {
        int error = errno;
        fault_set(fault, FAULT_ENVIRONMENT, "cannot write %.300s: %s", path, strerror(error));
        return -error;
    }
    off_t from = lseek(said, 0, SEEK_END);
    struct process_id *process = &lab->nodes[number - 1];
    *process = launch(lab, number, said);
    uint64_t begin_ns = clock_now_ns();
    bool serves = false;
    bool ended = false;
    while (!serves && !ended && clock_now_ns() - begin_ns < PATIENCE_NS) {
        struct timespec pause = {.tv_nsec = LOOK_NS};
        (void)nanosleep(&pause, NULL);
        ended = !process_is_alive(*process);
        serves = has_said(said, from, serving) && !ended;
    }
    (void)close(said);
    if (!serves) {
        not_serving(lab, number, ended, fault);
        return -ESRCH;
    }
    return lab_save(lab, fault);
}

/* ---- Waiting for all. ---- */

/* In the child, at the clients' host. */
static int watch(const struct config *config, struct fault *fault)
{
    static struct health health;
    struct ask ask;
    struct ask_answer answers[VOTERS_MAX];
    char line[HEALTH_LINE_BYTES];
    if (ask_open(&ask, config, fault) != 0) {
        return fault->code;
    }
    uint64_t begin_ns = clock_now_ns();
    do {
        struct timespec pause = {.tv_nsec = LOOK_NS};
        (void)nanosleep(&pause, NULL);
        ask_status(&ask, ASK_TIMEOUT_NS, answers);
        health_judge(&health, config, answers);
    } while (!health.healthy && clock_now_ns() - begin_ns < PATIENCE_NS);
    ask_close(&ask);
    health_line(&health, line);
    if (!health.healthy) {
        fault_set(fault, FAULT_UNAVAILABLE, "the lab runs, but is not healthy: %s", line);
        return fault->code;
    }
    printf("%s\n", line);
    return 0;
}

int nodes_wait_healthy(const struct lab *lab, struct fault *fault)
{
    static struct config config;
    char path[PATH_MAX];
    lab_path(lab, LAB_CONFIG, 0, path);
    int result = config_load(&config, path, fault);
    uint32_t home = result == 0 ? lab_find_host(lab, LAB_HOME, fault) : LAB_SWITCH;
    int ends[2];
    if (home == LAB_SWITCH || pipe2(ends, O_CLOEXEC) != 0) {
        return -EIO;
    }
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        result = lab_enter(lab, home, false);
        if (result != 0) {
            fault_set(fault, FAULT_INTERNAL, "cannot enter the clients' host: %s",
                      strerror(-result));
        } else {
            (void)watch(&config, fault);
        }
        (void)!write(ends[1], fault, sizeof *fault);
        (void)fflush(stdout);
        _exit(0);
    }
    (void)close(ends[1]);
    fault->code = FAULT_INTERNAL;
    ssize_t bytes = pid > 0 ? read(ends[0], fault, sizeof *fault) : -1;
    (void)close(ends[0]);
    if (pid > 0) {
        (void)waitpid(pid, NULL, 0);
    }
    if (bytes != (ssize_t)sizeof *fault) {
        fault_set(fault, FAULT_INTERNAL, "cannot watch the nodes of the lab");
    }
    return fault->code == 0 ? 0 : -EIO;
}
