/* nic_dpdk_eal.c: see nic_dpdk_eal.h. */
#define _GNU_SOURCE /* fopencookie, memfd_create, CPU sets */
#include "net/nic_dpdk_eal.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARGUMENTS_MAX      64
#define OWN_ARGUMENTS_MAX  12
#define LINE_BYTES         200u
#define OUTPUT_BYTES       4096
#define EAL_OVERHEAD_BYTES (16u << 20) /* What EAL and a port need for themselves. */

enum eal_state { EAL_NEVER, EAL_RUNNING, EAL_FAILED, EAL_STOPPED };

/* One process has one EAL, so this is the one global of net/. */
static struct {
    enum eal_state state;
    FILE *log;
    char line[LINE_BYTES]; /* Being written. */
    uint32_t line_bytes;
    char words[LINE_BYTES]; /* Last whole line. */
} eal;

/* Take bytes that EAL wrote, keep the last line that is not empty. Bounded, no system call. */
static void words_take(const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != '\n' && eal.line_bytes < LINE_BYTES - 1) {
            eal.line[eal.line_bytes++] = bytes[i];
        }
        if (bytes[i] == '\n' && eal.line_bytes > 0) {
            memcpy(eal.words, eal.line, eal.line_bytes);
            eal.words[eal.line_bytes] = '\0';
            eal.line_bytes = 0;
        }
    }
}

static ssize_t log_write(void *cookie, const char *bytes, size_t count)
{
    (void)cookie;
    words_take(bytes, count);
    return (ssize_t)count;
}

const char *eal_last_words(void)
{
    return eal.words[0] == '\0' ? "nothing" : eal.words;
}

/* stdout and stderr, while EAL has them. Before its log is up it prints there directly. */
struct output {
    int saved[2]; /* Of descriptors 1 and 2. */
    int caught;
};

static void output_catch(struct output *output)
{
    (void)fflush(stdout);
    (void)fflush(stderr);
    output->caught = memfd_create("eal", MFD_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        output->saved[i] = output->caught < 0 ? -1 : dup(STDOUT_FILENO + i);
        if (output->saved[i] >= 0) {
            (void)dup2(output->caught, STDOUT_FILENO + i);
        }
    }
}

static void output_release(const struct output *output)
{
    (void)fflush(stdout);
    (void)fflush(stderr);
    for (int i = 0; i < 2; i++) {
        if (output->saved[i] >= 0) {
            (void)dup2(output->saved[i], STDOUT_FILENO + i);
            (void)close(output->saved[i]);
        }
    }
    if (output->caught < 0) {
        return;
    }
    char text[OUTPUT_BYTES];
    ssize_t bytes = pread(output->caught, text, sizeof(text), 0);
    if (bytes > 0) {
        /* What it printed itself (an option it does not know, say) names the cause better than the
         * last line of its log does. */
        char *line_end = memchr(text, '\n', (size_t)bytes);
        words_take(text, line_end == NULL ? (size_t)bytes : (size_t)(line_end - text));
        words_take("\n", 1);
    }
    (void)close(output->caught);
}

/* EAL would print its options and end the process. */
static bool asks_for_help(const struct eal_arguments *arguments)
{
    for (uint32_t i = 0; i < arguments->count; i++) {
        const char *value = arguments->values[i];
        if (strncmp(value, "-h", 2) == 0 || strcmp(value, "--help") == 0) {
            return true;
        }
    }
    return false;
}

/* Whether the user has said something himself: an option that begins so. */
static bool says(const struct eal_arguments *arguments, const char *const *options, uint32_t count)
{
    for (uint32_t i = 0; i < arguments->count; i++) {
        for (uint32_t j = 0; j < count; j++) {
            if (strncmp(arguments->values[i], options[j], strlen(options[j])) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool places_lcores(const struct eal_arguments *arguments)
{
    static const char *const options[] = {"-l", "-c", "--lcores"};
    return says(arguments, options, 3);
}

static bool places_memory(const struct eal_arguments *arguments)
{
    static const char *const options[] = {"--in-memory",   "--no-huge",    "--huge-dir",
                                          "--huge-unlink", "--legacy-mem", "--socket-mem"};
    return says(arguments, options, 6);
}

/* ---- Huge pages ---- */

/* Bytes of free huge pages of one size. */
static uint64_t huge_free_bytes(uint64_t page_kib)
{
    char path[LINE_BYTES];
    char line[LINE_BYTES] = "";
    (void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/free_hugepages",
                   (unsigned long long)page_kib);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    const char *read = fgets(line, sizeof(line), file);
    (void)fclose(file);
    return read == NULL ? 0 : strtoull(read, NULL, 10) * page_kib << 10;
}

static bool has_huge_pages(uint64_t memory_bytes)
{
    return huge_free_bytes(2048) >= memory_bytes || huge_free_bytes(1048576) >= memory_bytes;
}

/* The first CPU of a set: where EAL's only lcore is said to be. */
static int first_cpu(const cpu_set_t *set)
{
    for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, set)) {
            return (int)cpu;
        }
    }
    return 0;
}

/* What is said to EAL besides the user's words. Returns how many; `text` holds the numbers. */
static int own_arguments(const struct eal_needs *needs,
                         const struct eal_arguments *arguments,
                         int cpu,
                         char text[2][LINE_BYTES],
                         const char **own)
{
    int count = 0;
    uint64_t bytes = needs->memory_bytes + EAL_OVERHEAD_BYTES;
    (void)snprintf(text[0], LINE_BYTES, "%llu", (unsigned long long)(bytes >> 20) + 1);
    /* One lcore, so that EAL starts no worker threads: the threads that poll are ours. */
    (void)snprintf(text[1], LINE_BYTES, "0@%d", cpu);
    own[count++] = "thole";
    own[count++] = "--no-telemetry";
    own[count++] = "-m";
    own[count++] = text[0];
    if (needs->pci == NULL) {
        own[count++] = "--no-pci";
        own[count++] = "--iova-mode=va";
    } else {
        own[count++] = "-a";
        own[count++] = needs->pci;
    }
    if (!places_memory(arguments)) {
        bool huge = needs->huge_pages && has_huge_pages(bytes);
        own[count++] = huge ? "--in-memory" : "--no-huge";
        if (!huge) {
            own[count++] = "--no-shconf";
        }
    }
    if (!places_lcores(arguments)) {
        own[count++] = "--lcores";
        own[count++] = text[1];
    }
    ASSERT(count <= OWN_ARGUMENTS_MAX);
    return count;
}

static int eal_init_quietly(const struct eal_needs *needs, const struct eal_arguments *arguments)
{
    cpu_set_t affinity;
    CPU_ZERO(&affinity);
    int result = sched_getaffinity(0, sizeof(affinity), &affinity);
    bool affinity_known = result == 0;

    char text[2][LINE_BYTES];
    const char *own[OWN_ARGUMENTS_MAX];
    int own_count = own_arguments(needs, arguments, first_cpu(&affinity), text, own);

    /* EAL permutes its arguments and may write into them. */
    static char copies[ARGUMENTS_MAX][LINE_BYTES];
    char *argv[ARGUMENTS_MAX + 1] = {0};
    int argc = 0;
    for (int i = 0; i < own_count; i++, argc++) {
        (void)snprintf(copies[argc], LINE_BYTES, "%s", own[i]);
        argv[argc] = copies[argc];
    }
    for (uint32_t i = 0; i < arguments->count; i++, argc++) {
        (void)snprintf(copies[argc], LINE_BYTES, "%s", arguments->values[i]);
        argv[argc] = copies[argc];
    }
    ASSERT(argc <= ARGUMENTS_MAX);

    struct output output;
    output_catch(&output);
    result = rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
    output_release(&output);
    if (affinity_known) {
        (void)sched_setaffinity(0, sizeof(affinity), &affinity); /* EAL has pinned this thread. */
    }
    return result;
}

static bool arguments_fit(const struct eal_arguments *arguments)
{
    if (arguments->count > ARGUMENTS_MAX / 2) {
        return false;
    }
    for (uint32_t i = 0; i < arguments->count; i++) {
        if (strlen(arguments->values[i]) >= LINE_BYTES) {
            return false;
        }
    }
    return true;
}

static void start_fault(int error, uint64_t mib, const struct eal_arguments *given, struct fault *f)
{
    if (given->count > 0) {
        fault_set(
            f, FAULT_USAGE,
            "DPDK does not start with the arguments after `--` (%s); run without them, or see "
            "DPDK's list of EAL parameters. DPDK said: %s",
            strerror(error), eal_last_words());
        return;
    }
    fault_set(f, FAULT_ENVIRONMENT,
              "DPDK does not start (%s). It needs about %llu MiB of ordinary memory and no "
              "privilege: see `free -m` and `ulimit -v`. DPDK said: %s",
              strerror(error), (unsigned long long)mib, eal_last_words());
}

static int first_start(const struct eal_needs *needs,
                       const struct eal_arguments *arguments,
                       struct fault *fault)
{
    uint64_t mib = (needs->memory_bytes + EAL_OVERHEAD_BYTES) >> 20;
    if (needs->pci != NULL && !places_memory(arguments) &&
        !has_huge_pages(needs->memory_bytes + EAL_OVERHEAD_BYTES)) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "a card needs %llu MiB of free huge pages, and there are too few. Set some "
                  "aside as root: `echo %llu > /proc/sys/vm/nr_hugepages`",
                  (unsigned long long)mib + 1, (unsigned long long)mib / 2 + 8);
        return -ENOMEM;
    }
    if (!arguments_fit(arguments)) {
        fault_set(fault, FAULT_USAGE, "too many or too long arguments after `--`");
        return -E2BIG;
    }
    if (asks_for_help(arguments)) {
        fault_set(fault, FAULT_USAGE,
                  "EAL's help is not shown here; its parameters are listed in DPDK's guide "
                  "\"EAL parameters\"");
        return -EINVAL;
    }
    cookie_io_functions_t functions = {.write = log_write};
    eal.log = fopencookie(NULL, "w", functions);
    if (eal.log != NULL) {
        (void)setvbuf(eal.log, NULL, _IOLBF, BUFSIZ);
        (void)rte_openlog_stream(eal.log); /* Before EAL's first word. */
    }
    int result = eal_init_quietly(needs, arguments);
    eal.state = result == 0 ? EAL_RUNNING : EAL_FAILED;
    if (result != 0) {
        start_fault(-result, mib, arguments, fault);
    }
    return result;
}

int eal_start(const struct eal_needs *needs,
              const struct eal_arguments *arguments,
              struct fault *fault)
{
    switch (eal.state) {
    case EAL_NEVER:
        return first_start(needs, arguments, fault);
    case EAL_RUNNING:
        return 0;
    case EAL_FAILED:
    case EAL_STOPPED:
        break;
    }
    fault_set(fault, FAULT_INTERNAL, "DPDK cannot be started twice in one process");
    return -EALREADY;
}

void eal_stop(void)
{
    if (eal.state != EAL_RUNNING) {
        return;
    }
    struct output output;
    output_catch(&output);
    int result = rte_eal_cleanup();
    output_release(&output);
    ASSERT(result == 0);
    eal.state = EAL_STOPPED;
    (void)rte_openlog_stream(NULL);
    if (eal.log != NULL) {
        (void)fclose(eal.log);
        eal.log = NULL;
    }
}
