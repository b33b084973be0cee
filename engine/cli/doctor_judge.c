/* doctor_judge.c: see doctor.h: the rows about CPUs, clock, memory and kernel, and what all rows
 * share. Pure.
 */
#include "engine/cli/doctor.h"

#include "engine/base/assert.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Rows ---- */

const char *doctor_severity_name(enum doctor_severity severity)
{
    static const char *const names[DOCTOR_SEVERITIES] = {"ok", "note", "warning", "error"};
    ASSERT((uint32_t)severity < DOCTOR_SEVERITIES);
    return names[severity];
}

struct doctor_row *doctor_add(struct doctor_rows *rows,
                              const char *condition,
                              enum doctor_severity severity,
                              const char *required,
                              const char *format,
                              ...)
{
    ASSERT(rows->count < DOCTOR_ROWS_MAX);
    ASSERT((uint32_t)severity < DOCTOR_SEVERITIES);
    struct doctor_row *row = &rows->rows[rows->count++];
    *row = (struct doctor_row){.condition = condition, .severity = severity};
    rows->counts[severity]++;
    (void)snprintf(row->required, sizeof(row->required), "%s", required);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(row->current, sizeof(row->current), format, arguments);
    va_end(arguments);
    return row;
}

void doctor_mend(struct doctor_row *row, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(row->mend, sizeof(row->mend), format, arguments);
    va_end(arguments);
    ASSERT(written >= 0);
    if ((size_t)written >= sizeof(row->mend)) {
        row->mend[0] = '\0'; /* Half a command is none. */
    }
}

/* The first sentence, or part of one: what is, without what to do. */
static size_t first_sentence(const char *text)
{
    size_t bytes = strlen(text);
    static const char *const ends[] = {". ", "; "};
    for (uint32_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        const char *end = strstr(text, ends[i]);
        if (end != NULL && (size_t)(end - text) < bytes) {
            bytes = (size_t)(end - text);
        }
    }
    return bytes;
}

struct doctor_row *doctor_add_fault(struct doctor_rows *rows,
                                    const char *condition,
                                    const char *required,
                                    const struct fault *fault,
                                    const char *current)
{
    if (fault->code == 0) {
        return doctor_add(rows, condition, DOCTOR_OK, required, "%s", current);
    }
    struct doctor_row *row = doctor_add(rows, condition, DOCTOR_ERROR, required, "%.*s",
                                        (int)first_sentence(fault->text), fault->text);
    doctor_mend(row, "%s", fault->mend);
    return row;
}

void doctor_mend_run(struct doctor_row *row, const struct doctor_plan *plan, const char *flags)
{
    if (plan->config != NULL) {
        doctor_mend(row, "thole start -c %s --node %u %s", plan->config, plan->node, flags);
    } else {
        doctor_mend(row, "thole demo %s", flags);
    }
}

/* ---- CPUs ---- */

/* The first CPU that the process may use and that is not this one; -1: none. */
static int other_cpu(const struct host *host, int cpu)
{
    for (int other = 0; other < (int)HOST_CPUS_MAX; other++) {
        if (other != cpu && host_list_has(host->allowed, other)) {
            return other;
        }
    }
    return -1;
}

static void judge_cpus(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    const struct host *host = &facts->host;
    uint32_t allowed = host_list_count(host->allowed);
    const char *required = facts->plan.config == NULL
                               ? "2: one for the replicas, one for the client"
                               : "2: one for the poller, one for the kernel's own work";
    struct doctor_row *row =
        doctor_add(rows, "CPUs", allowed < 2 ? DOCTOR_WARNING : DOCTOR_OK, required,
                   "%u of %u may be used (%s): %s", allowed, host->cpu_count, host->allowed,
                   host->cpu[0] == '\0' ? "model not told" : host->cpu);
    if (allowed < 2 && host->cpu_count >= 2) {
        doctor_mend(row, "taskset -cp 0-%u $$", host->cpu_count - 1);
    }
}

/* The CPUs that were asked for: they must be there, and a poller that never yields wants its own.
 */
static void judge_poller(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    const struct host *host = &facts->host;
    const struct doctor_plan *plan = &facts->plan;
    bool spins = plan->idle == IDLE_SPIN;
    const char *required = spins ? "a CPU of its own, for --idle spin" : "any: it yields or waits";
    for (uint32_t i = 0; i < plan->cpu_count; i++) {
        if (!host_list_has(host->allowed, plan->cpus[i])) {
            struct doctor_row *row =
                doctor_add(rows, "poller's CPU", DOCTOR_ERROR, "one that may be used",
                           "CPU %d is not among %s", plan->cpus[i], host->allowed);
            char flags[DOCTOR_TEXT_BYTES];
            (void)snprintf(flags, sizeof(flags), "--cpu %d", other_cpu(host, -1));
            doctor_mend_run(row, plan, flags);
            return;
        }
    }
    if (plan->cpu_count == 0) {
        struct doctor_row *row = doctor_add(
            rows, "poller's CPU", spins ? DOCTOR_WARNING : DOCTOR_OK, required, "%s of %s",
            plan->config == NULL ? "the demo's choice, beside the disk's interrupts,"
                                 : "not pinned: any",
            host->allowed);
        int cpu = other_cpu(host, facts->disk.device.interrupt_cpu);
        if (spins && cpu >= 0) {
            char flags[DOCTOR_TEXT_BYTES];
            (void)snprintf(flags, sizeof(flags), "--idle spin --cpu %d", cpu);
            doctor_mend_run(row, plan, flags);
        }
        return;
    }
    bool isolated = host_list_has(host->isolated, facts->cpu);
    bool quiet = host_list_has(host->nohz_full, facts->cpu);
    doctor_add(rows, "poller's CPU", spins && !isolated ? DOCTOR_NOTE : DOCTOR_OK, required,
               "CPU %d, %s, %s", facts->cpu,
               isolated ? "isolated" : "shared with whatever else runs (not in isolcpus=)",
               quiet ? "without ticks" : "with ticks (not in nohz_full=)");
}

static void judge_core(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    const struct host_cpu *cpu = &facts->host_cpu;
    bool shared = host_list_count(cpu->siblings) > 1;
    bool spins = facts->plan.idle == IDLE_SPIN;
    doctor_add(rows, "hyperthreads", shared && spins ? DOCTOR_NOTE : DOCTOR_OK,
               "a core that nothing else loads, for --idle spin",
               shared ? "CPU %d shares its core: %s" : "CPU %d has its core alone (%s)", facts->cpu,
               cpu->siblings[0] == '\0' ? "not told" : cpu->siblings);
    bool fast = strcmp(cpu->governor, "performance") == 0;
    bool told = cpu->governor[0] != '\0';
    struct doctor_row *row =
        doctor_add(rows, "CPU frequency", told && !fast ? DOCTOR_NOTE : DOCTOR_OK,
                   "governor performance, or none here", "%s",
                   told ? cpu->governor : "not this kernel's to set (a guest, or no cpufreq)");
    if (told && !fast) {
        doctor_mend(row, "sudo cpupower frequency-set -g performance");
    }
}

/* ---- Clock ---- */

static void judge_clock(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    const struct host *host = &facts->host;
    bool sound = host->has_constant_tsc && host->has_nonstop_tsc;
    doctor_add(rows, "TSC", sound ? DOCTOR_OK : DOCTOR_WARNING, "constant_tsc and nonstop_tsc",
               "%s, %s", host->has_constant_tsc ? "constant" : "not constant",
               host->has_nonstop_tsc ? "never stops" : "may stop");
    bool is_tsc = strcmp(host->clock, "tsc") == 0;
    /* A guest's clock page is read without a system call too, at a little more cost. */
    bool is_page = strcmp(host->clock, "kvm-clock") == 0 ||
                   strncmp(host->clock, "hyperv_clocksource", 18) == 0;
    enum doctor_severity slow = is_page ? DOCTOR_NOTE : DOCTOR_WARNING;
    struct doctor_row *row = doctor_add(
        rows, "clock", is_tsc ? DOCTOR_OK : slow, "tsc: read in 20 ns, without a system call",
        "%s (there are: %s)", host->clock[0] == '\0' ? "not told" : host->clock, host->clocks);
    if (!is_tsc && strstr(host->clocks, "tsc") != NULL) {
        doctor_mend(row, "echo tsc | sudo tee "
                         "/sys/devices/system/clocksource/clocksource0/current_clocksource");
    }
    doctor_add(rows, "virtualisation", host->is_guest ? DOCTOR_NOTE : DOCTOR_OK,
               "none, for figures of the hardware",
               host->is_guest ? "a guest%s%s: its CPUs are taken away at times, and yielding does "
                                "not reach the host"
                              : "none%s%s",
               host->is_guest && host->vendor[0] != '\0' ? " of " : "",
               host->is_guest ? host->vendor : "");
}

/* ---- Memory and kernel ---- */

static void judge_memory(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    const struct host *host = &facts->host;
    const struct doctor_plan *plan = &facts->plan;
    char required[DOCTOR_TEXT_BYTES];
    (void)snprintf(required, sizeof(required),
                   "%" PRIu64 " KiB, for buffers registered with io_uring",
                   plan->memory_bytes >> 10);
    if (!plan->durable) {
        doctor_add(rows, "memory lock", DOCTOR_OK, "nothing, without a disk", "not looked at");
    } else if (host->memlock_bytes == UINT64_MAX) {
        doctor_add(rows, "memory lock", DOCTOR_OK, required, "unlimited, or CAP_IPC_LOCK");
    } else {
        bool low = host->memlock_bytes < plan->memory_bytes;
        struct doctor_row *row =
            doctor_add(rows, "memory lock", low ? DOCTOR_NOTE : DOCTOR_OK, required,
                       "%" PRIu64 " KiB%s", host->memlock_bytes >> 10,
                       low ? ": buffers are not registered, each write is a little dearer" : "");
        if (low) {
            doctor_mend(row, "sudo prlimit --pid $$ --memlock=%" PRIu64, plan->memory_bytes);
        }
    }
    bool needed = plan->spec.kind == NIC_PCI;
    bool missing = needed && host->huge_free == 0;
    struct doctor_row *row = doctor_add(rows, "huge pages", missing ? DOCTOR_ERROR : DOCTOR_OK,
                                        needed ? "64 free pages of 2 MiB, for pci"
                                               : "none: used by DPDK ports when free",
                                        "%" PRIu64 " of 2 MiB are free", host->huge_free);
    if (missing) {
        doctor_mend(row, "sudo sysctl vm.nr_hugepages=128");
    }
}

static void judge_kernel(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    bool old = facts->uring.code == 0 && !facts->uring_modern;
    doctor_add(rows, "kernel", old ? DOCTOR_NOTE : DOCTOR_OK, "Linux 6.1, for io_uring at its best",
               "%s%s", facts->host.kernel,
               old ? ": completions cost an interrupt more, about 15 us a write" : "");
    if (facts->plan.durable) {
        doctor_add_fault(rows, "io_uring", "a ring can be set up", &facts->uring, "it can");
    }
}

void doctor_judge(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    *rows = (struct doctor_rows){0};
    judge_cpus(facts, rows);
    judge_poller(facts, rows);
    judge_core(facts, rows);
    judge_clock(facts, rows);
    judge_memory(facts, rows);
    judge_kernel(facts, rows);
    if (facts->plan.durable) {
        doctor_judge_disk(facts, rows);
    } else {
        doctor_add(rows, "durability", DOCTOR_WARNING, "dsync, for a log that lasts",
                   "memory: nothing survives the process");
    }
    doctor_judge_net(facts, rows);
}
