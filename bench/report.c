/* report.c: a result for people: numbers with their units, the verdict last. */
#include "bench/result.h"

#include "engine/base/assert.h"

#include <inttypes.h>

#define RED   "\033[1;31m"
#define GREEN "\033[1;32m"
#define PLAIN "\033[0m"

static const char *const stage_titles[STAGE_COUNT] = {
    [STAGE_RECEIVE] = "received -> sealed",
    [STAGE_SUBMIT] = "sealed -> submitted",
    [STAGE_LOCAL_DURABLE] = "submitted -> durable here",
    [STAGE_FOLLOWER_DURABLE] = "submitted -> first follower's ack",
    [STAGE_QUORUM] = "submitted -> committed",
    [STAGE_REPLY] = "committed -> reply sent",
};

static void print_value(FILE *out, const struct histogram *h, double at)
{
    if (h == NULL || !histogram_supports(h, at)) {
        fprintf(out, " %10s", "-");
    } else {
        fprintf(out, " %10.1f", (double)histogram_percentile(h, at) / 1e3);
    }
}

static void print_row(FILE *out, const char *title, const struct histogram *h)
{
    fprintf(out, "  %-34s", title);
    print_value(out, h, 50);
    print_value(out, h, 90);
    print_value(out, h, 99);
    print_value(out, h, 99.9);
    print_value(out, h, 99.99);
    if (h != NULL && h->count > 0) {
        fprintf(out, " %10.1f", (double)h->max / 1e3);
    }
    fputc('\n', out);
}

static void print_head(FILE *out, const char *title)
{
    fprintf(out, "\n%-36s %10s %10s %10s %10s %10s %10s\n", title, "p50", "p90", "p99", "p99.9",
            "p99.99", "max");
}

/* What was asked for of some nodes and makes a result another one. */
static void print_nodes(FILE *out, bool colors, const char *what, raft_set nodes)
{
    if (nodes == 0) {
        return;
    }
    fprintf(out, "%s%s", colors ? RED : "", what);
    for (uint32_t id = 1; id <= NODE_ID_MAX; id++) {
        if ((nodes >> id & 1) != 0) {
            fprintf(out, " %u", id);
        }
    }
    fprintf(out, "%s\n", colors ? PLAIN : "");
}

static void print_config(const struct result *result, FILE *out, bool colors)
{
    const struct result_config *config = &result->config;
    fprintf(out, "%u replicas over %s, records of %u bytes, ", config->nodes, config->net,
            config->size_bytes);
    if (config->closed) {
        fprintf(out, "closed loop, %u under way", config->outstanding);
    } else {
        fprintf(out, "open loop at %.0f records/s (%s arrivals)", config->rate_per_s,
                config->arrivals);
    }
    fprintf(out, ", %.1f s of load\n", result->load_s);
    if (config->durable) {
        fprintf(out, "durability dsync: acknowledged when on stable storage at a quorum%s\n",
                config->registered || result->stages == NULL
                    ? ""
                    : " (buffers not registered: RLIMIT_MEMLOCK is too low)");
    } else {
        fprintf(out, "%sNOT DURABLE: durability memory, a crash loses acknowledged records%s\n",
                colors ? RED : "", colors ? PLAIN : "");
    }
    print_nodes(out, colors, "SLOW DISK on request, of node", config->slowed);
    print_nodes(out, colors, "DEGRADED on request: no io_uring (--io posix), of node",
                config->posix);
    if (result->stages == NULL) {
        fprintf(out, "replicas are processes of their own, client on CPU %d (-1: any), idle %s\n",
                config->client_cpu, config->idle);
    } else {
        fprintf(out, "replicas on CPU %d, client on CPU %d, disk interrupts on CPU %d, idle %s\n",
                config->replicas_cpu, config->client_cpu, result->machine.disk_irq_cpu,
                config->idle);
    }
    char disk[RESULT_DISK_BYTES];
    fprintf(out, "%s, %u CPUs, Linux %s; %s\n", result->machine.cpu, result->machine.cpu_count,
            result->machine.kernel, result_disk_words(&result->machine, disk));
}

static void print_ratio(const struct result *result, FILE *out, double at)
{
    double ratio = 0;
    if (result_ratio(result, at, &ratio)) {
        fprintf(out, " p%g %.2f", at, ratio);
    } else {
        fprintf(out, " p%g -", at);
    }
}

static void print_stages(const struct result *result, FILE *out)
{
    print_head(out, "stages of a commit, us");
    for (uint32_t i = 0; i < STAGE_COUNT; i++) {
        print_row(out, stage_titles[i], &result->stages[i]);
    }
}

static void print_latencies(const struct result *result, FILE *out)
{
    print_head(out, "latency, us");
    print_row(out, "response (from the due time)", result->response);
    print_row(out, "service (from the send)", result->service);
    print_row(out, "delay of the sender itself", result->delay);
    if (result->stages != NULL) {
        print_stages(result, out);
    }
    if (result->floors_why[0] != '\0') {
        fprintf(out, "\nno floor: %s\n", result->floors_why);
    }
    if (result->floors.commit == NULL) {
        return;
    }
    print_head(out, "floor of this machine, same run, us");
    print_row(out, "commit, without the engine", result->floors.commit);
    print_row(out, "one durable write", result->floors.disk);
    print_row(out, "client echo", result->floors.client_echo);
    print_row(out, "peer echo", result->floors.peer_echo);
    fprintf(out, "\nresponse / floor of the commit:");
    print_ratio(result, out, 50);
    print_ratio(result, out, 99);
    fputc('\n', out);
}

static void print_counts(const struct result *result, FILE *out)
{
    const struct load_counts *counts = &result->counts;
    fprintf(out, "\nacknowledged %" PRIu64 " of %" PRIu64 " records: %.0f records/s, %.1f MB/s\n",
            counts->acked, counts->scheduled, result_per_s(result, counts->acked),
            result_per_s(result, counts->acked) * result->config.size_bytes / 1e6);
    for (uint32_t i = 1; i < WIRE_STATUS_COUNT; i++) {
        if (counts->refused[i] > 0) {
            fprintf(out, "refused, %s: %" PRIu64 "\n", wire_status_name((enum wire_status)i),
                    counts->refused[i]);
        }
    }
    if (counts->unanswered > 0) {
        fprintf(out, "unanswered: %" PRIu64 "\n", counts->unanswered);
    }
    if (result->writes > 0) {
        fprintf(out, "log writes: %" PRIu64 ", mean %.1f KiB, %.1f in flight\n", result->writes,
                (double)result->write_pages * 4.0 / (double)result->writes,
                result->writes_in_flight);
    }
    if (!result->verified) {
        fprintf(out, "not verified: %s\n",
                result->config.durable ? "the log could not be read"
                                       : "memory mode keeps no files");
        return;
    }
    const struct verify_result *verify = &result->verify;
    fprintf(out,
            "%s read: %" PRIu64 " acknowledged records, %" PRIu64 " lost, %" PRIu64
            " doubled, %" PRIu64 " out of order, %" PRIu64 " damaged\n",
            result->verify_by, verify->acked, verify->lost, verify->duplicated,
            verify->out_of_order, verify->damaged);
}

int result_print_report(const struct result *result, FILE *out, bool colors)
{
    ASSERT(result->response != NULL);
    print_config(result, out, colors);
    print_latencies(result, out);
    print_counts(result, out);
    if (result->reason_count == 0) {
        fprintf(out, "\n%sRESULT: VALID%s\n", colors ? GREEN : "", colors ? PLAIN : "");
        return 0;
    }
    fprintf(out, "\n%sRESULT: INVALID: ", colors ? RED : "");
    for (uint32_t i = 0; i < result->reason_count; i++) {
        fprintf(out, "%s%s", i > 0 ? "; " : "", result->reasons[i]);
    }
    fprintf(out, "%s\n", colors ? PLAIN : "");
    return FAULT_FAILED;
}
