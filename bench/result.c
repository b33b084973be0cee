/* result.c: the rules of validity, and the JSON object. The report for people is in report.c. */
#include "bench/result.h"

#include "engine/base/assert.h"
#include "engine/cli/command.h"

#include <jansson.h>
#include <stdarg.h>
#include <string.h>

static const char *const stage_names[STAGE_COUNT] = {
    [STAGE_RECEIVE] = "receive",
    [STAGE_SUBMIT] = "submit",
    [STAGE_LOCAL_DURABLE] = "local_durable",
    [STAGE_FOLLOWER_DURABLE] = "follower_durable",
    [STAGE_QUORUM] = "quorum",
    [STAGE_REPLY] = "reply",
};

void result_invalid(struct result *result, const char *format, ...)
{
    if (result->reason_count == RESULT_REASONS_MAX) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(result->reasons[result->reason_count++], RESULT_TEXT_BYTES, format, arguments);
    va_end(arguments);
}

static void judge_counts(struct result *result)
{
    const struct load_counts *counts = &result->counts;
    if (counts->acked == 0) {
        result_invalid(result, "no record was acknowledged");
        return;
    }
    if (result->config.closed) {
        if (counts->unanswered > 0) {
            result_invalid(result, "%llu of %llu sends of a closed loop were not answered",
                           (unsigned long long)counts->unanswered,
                           (unsigned long long)counts->sent);
        }
        return;
    }
    if ((double)counts->acked < RESULT_SENT_MIN * (double)counts->scheduled) {
        result_invalid(
            result, "%.2f %% of the scheduled sends were made and acknowledged, below %g %%",
            100.0 * (double)counts->acked / (double)counts->scheduled, 100.0 * RESULT_SENT_MIN);
    }
    uint64_t delay_ns = histogram_percentile(result->delay, 99);
    uint64_t response_ns = histogram_percentile(result->response, 99);
    if ((double)delay_ns > RESULT_DELAY_RATIO_MAX * (double)response_ns) {
        result_invalid(result,
                       "the sender's own delay p99, %.1f us, is above %g %% of response p99",
                       (double)delay_ns / 1e3, 100.0 * RESULT_DELAY_RATIO_MAX);
    }
    if (delay_ns > RESULT_DELAY_P99_MAX_NS) {
        result_invalid(result, "the sender's own delay p99, %.1f us, is above 1 ms",
                       (double)delay_ns / 1e3);
    }
}

void result_judge(struct result *result)
{
    judge_counts(result);
    const struct verify_result *verify = &result->verify;
    if (!result->verified) {
        return;
    }
    if (verify->lost > 0 || verify->duplicated > 0 || verify->out_of_order > 0 ||
        verify->damaged > 0) {
        result_invalid(result, "the %s: %llu lost, %llu doubled, %llu out of order, %llu damaged",
                       result->verify_by, (unsigned long long)verify->lost,
                       (unsigned long long)verify->duplicated,
                       (unsigned long long)verify->out_of_order,
                       (unsigned long long)verify->damaged);
    }
    if (verify->why != NULL) {
        result_invalid(result, "the %s: %s", result->verify_by, verify->why);
    }
}

bool result_is_durable(bool asked, const bool *replicas, uint32_t count)
{
    ASSERT(count > 0);
    bool durable = asked;
    for (uint32_t i = 0; i < count; i++) {
        durable = durable && replicas[i];
    }
    return durable;
}

bool result_ratio(const struct result *result, double at, double *ratio)
{
    const struct histogram *floor = result->floors.commit;
    if (floor == NULL || !histogram_supports(floor, at) ||
        !histogram_supports(result->response, at)) {
        return false;
    }
    uint64_t floor_ns = histogram_percentile(floor, at);
    if (floor_ns == 0) {
        return false;
    }
    *ratio = (double)histogram_percentile(result->response, at) / (double)floor_ns;
    return true;
}

static json_t *percentile(const struct histogram *histogram, double at)
{
    if (histogram == NULL || !histogram_supports(histogram, at)) {
        return json_null();
    }
    return json_integer((json_int_t)histogram_percentile(histogram, at));
}

json_t *result_latency_json(const struct histogram *h)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "p50", percentile(h, 50), "p90",
                     percentile(h, 90), "p99", percentile(h, 99), "p99_9", percentile(h, 99.9),
                     "p99_99", percentile(h, 99.99), "max",
                     h->count > 0 ? json_integer((json_int_t)h->max) : json_null(), "count",
                     (json_int_t)h->count);
}

static json_t *or_null(bool known, json_t *value)
{
    if (known) {
        return value;
    }
    json_decref(value);
    return json_null();
}

static json_t *text(const char *value)
{
    return value != NULL && value[0] != '\0' ? json_string(value) : json_null();
}

static json_t *nodes_json(raft_set nodes)
{
    json_t *array = json_array();
    for (uint32_t id = 1; id <= NODE_ID_MAX; id++) {
        if ((nodes >> id & 1) != 0) {
            json_array_append_new(array, json_integer(id));
        }
    }
    return array;
}

static json_t *config_json(const struct result *result)
{
    const struct result_config *config = &result->config;
    json_t *object =
        json_pack("{s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:s}", "command", config->command, "nodes",
                  (int)config->nodes, "size_bytes", (int)config->size_bytes, "durability",
                  config->durable ? "dsync" : "memory", "net", config->net, "idle", config->idle,
                  "load", config->closed ? "closed" : "open", "client", config->client);
    json_t *more = json_pack(
        "{s:o, s:o, s:o, s:o, s:b, s:o, s:i, s:f, s:f, s:I, s:I, s:I, s:o}", "replicas_cpu",
        or_null(config->replicas_cpu >= 0, json_integer(config->replicas_cpu)), "client_cpu",
        or_null(config->client_cpu >= 0, json_integer(config->client_cpu)), "disk_irq_cpu",
        or_null(result->machine.disk_irq_cpu >= 0, json_integer(result->machine.disk_irq_cpu)),
        "rate_per_s", or_null(!config->closed, json_real(config->rate_per_s)), "rate_max",
        config->rate_max, "arrivals", or_null(!config->closed, json_string(config->arrivals)),
        "outstanding", (int)config->outstanding, "duration_s", config->duration_s, "warmup_s",
        config->warmup_s, "log_size_bytes", (json_int_t)config->log_bytes, "retention_bytes",
        (json_int_t)config->retention_bytes, "seed", (json_int_t)config->seed, "registered_buffers",
        or_null(result->stages != NULL, json_boolean(config->registered)));
    if (config->leader != 0) {
        json_object_set_new(object, "leader", json_integer(config->leader));
    }
    json_object_set_new(object, "slow_disks", nodes_json(config->slowed));
    json_object_set_new(object, "posix_disks", nodes_json(config->posix));
    json_object_update(object, more);
    json_decref(more);
    return object;
}

const char *result_disk_words(const struct result_machine *machine, char text[RESULT_DISK_BYTES])
{
    static const char *const fua[] = {"", ", without FUA", ", with FUA"};
    ASSERT(machine->fua >= -1);
    ASSERT(machine->fua <= 1);
    (void)snprintf(text, RESULT_DISK_BYTES, "%s on %s, blocks of %u bytes, write cache: %s%s",
                   machine->filesystem[0] == '\0' ? "no filesystem" : machine->filesystem,
                   machine->device[0] == '\0' ? "no device that the kernel shows" : machine->device,
                   machine->logical_bytes,
                   machine->write_cache[0] == '\0' ? "not told" : machine->write_cache,
                   fua[machine->fua + 1]);
    return text;
}

json_t *result_env_json(const struct result_machine *machine)
{
    return json_pack(
        "{s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:s}", "cpu",
        text(machine->cpu), "cpus", (int)machine->cpu_count, "kernel", text(machine->kernel),
        "filesystem", text(machine->filesystem), "device", text(machine->device), "write_cache",
        text(machine->write_cache), "fua",
        or_null(machine->fua >= 0, json_boolean(machine->fua == 1)), "logical_block_bytes",
        or_null(machine->logical_bytes > 0, json_integer((json_int_t)machine->logical_bytes)),
        "memlock_bytes",
        or_null(machine->memlock_bytes != UINT64_MAX,
                json_integer((json_int_t)machine->memlock_bytes)),
        "commit", build_commit, "dpdk", build_dpdk_version, "liburing", build_liburing_version,
        "build_type", build_type);
}

static json_t *stages_json(const struct result *result)
{
    if (result->stages == NULL) {
        return json_null();
    }
    json_t *object = json_object();
    for (uint32_t i = 0; i < STAGE_COUNT; i++) {
        json_object_set_new(object, stage_names[i], result_latency_json(&result->stages[i]));
    }
    return object;
}

static json_t *floors_json(const struct result *result)
{
    const struct result_floors *floors = &result->floors;
    if (result->floors_why[0] != '\0') {
        return json_null();
    }
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:I, s:i}", "disk_p50", percentile(floors->disk, 50),
        "client_echo_p50", percentile(floors->client_echo, 50), "peer_echo_p50",
        percentile(floors->peer_echo, 50), "commit_p50", percentile(floors->commit, 50),
        "commit_p99", percentile(floors->commit, 99), "commit_count",
        (json_int_t)(floors->commit != NULL ? floors->commit->count : 0), "write_pages",
        (int)floors->write_pages);
}

static json_t *ratio_json(const struct result *result, double at)
{
    double ratio = 0;
    return result_ratio(result, at, &ratio) ? json_real(ratio) : json_null();
}

static json_t *verify_json(const struct result *result)
{
    if (!result->verified) {
        return json_null();
    }
    const struct verify_result *verify = &result->verify;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "by", result->verify_by,
                     "foreign", (json_int_t)verify->foreign, "acked", (json_int_t)verify->acked,
                     "lost", (json_int_t)verify->lost, "duplicated", (json_int_t)verify->duplicated,
                     "out_of_order", (json_int_t)verify->out_of_order, "damaged",
                     (json_int_t)verify->damaged, "records", (json_int_t)verify->records,
                     "bytes_read", (json_int_t)verify->bytes_read);
}

/* A status as a key: its name with underscores. */
static void status_key(enum wire_status status, char *key, size_t bytes)
{
    snprintf(key, bytes, "%s", wire_status_name(status));
    for (char *space = strchr(key, ' '); space != NULL; space = strchr(space, ' ')) {
        *space = '_';
    }
}

static json_t *counts_json(const struct load_counts *counts)
{
    json_t *refused = json_object();
    for (uint32_t i = 1; i < WIRE_STATUS_COUNT; i++) {
        char key[RESULT_TEXT_BYTES];
        status_key((enum wire_status)i, key, sizeof(key));
        json_object_set_new(refused, key, json_integer((json_int_t)counts->refused[i]));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "scheduled", (json_int_t)counts->scheduled,
                     "sent", (json_int_t)counts->sent, "acked", (json_int_t)counts->acked,
                     "unanswered", (json_int_t)counts->unanswered, "late", (json_int_t)counts->late,
                     "refused", refused);
}

static json_t *writes_json(const struct result *result)
{
    if (result->stages == NULL) {
        return json_null();
    }
    bool any = result->writes > 0;
    double mean_pages = any ? (double)result->write_pages / (double)result->writes : 0;
    return json_pack("{s:I, s:o, s:o}", "count", (json_int_t)result->writes, "mean_pages",
                     or_null(any, json_real(mean_pages)), "mean_in_flight",
                     or_null(any, json_real(result->writes_in_flight)));
}

int result_print_json(const struct result *result, FILE *out)
{
    ASSERT(result->response != NULL);
    json_t *reasons = json_array();
    for (uint32_t i = 0; i < result->reason_count; i++) {
        json_array_append_new(reasons, json_string(result->reasons[i]));
    }
    bool open = !result->config.closed;
    double offered = result_per_s(result, result->counts.scheduled);
    json_t *object = json_pack(
        "{s:s, s:{s:s, s:s}, s:o, s:b, s:b, s:o, s:o, s:f, s:{s:o, s:o, s:o}}", "schema",
        RESULT_SCHEMA, "tool", "version", build_version, "commit", build_commit, "config",
        config_json(result), "durable", result->config.durable, "valid", result->reason_count == 0,
        "invalid_reasons", reasons, "offered_per_s", or_null(open, json_real(offered)),
        "achieved_per_s", result_per_s(result, result->counts.acked), "latency_ns", "response",
        result_latency_json(result->response), "service", result_latency_json(result->service),
        "delay", result_latency_json(result->delay));
    ASSERT(object != NULL);
    json_object_set_new(object, "stages_ns", stages_json(result));
    json_object_set_new(object, "floors_ns", floors_json(result));
    json_object_set_new(object, "floors_why", text(result->floors_why));
    json_object_set_new(
        object, "ratio_to_floor",
        json_pack("{s:o, s:o}", "p50", ratio_json(result, 50), "p99", ratio_json(result, 99)));
    json_object_set_new(object, "verify", verify_json(result));
    json_object_set_new(object, "counts", counts_json(&result->counts));
    json_object_set_new(object, "writes", writes_json(result));
    json_object_set_new(object, "env", result_env_json(&result->machine));
    int printed = json_dumpf(object, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object);
    fputc('\n', out);
    if (printed != 0) {
        return FAULT_INTERNAL;
    }
    return result->reason_count == 0 ? 0 : FAULT_FAILED;
}
