/* test_bench_result.c: the rules of validity, one case on each side of every bound, and what the
 * JSON object leaves null. */
#include "bench/result.h"
#include "engine/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define US 1000ull

/* What the commands link from the build. */
const char build_version[] = "test";
const char build_commit[] = "test";
const char build_type[] = "test";
const char build_compiler[] = "test";
const char build_dpdk_version[] = "test";
const char build_liburing_version[] = "test";

static struct result result;
static struct histogram response;
static struct histogram service;
static struct histogram delay;
static struct histogram stages[STAGE_COUNT];
static struct histogram floor_commit;

/* A valid open loop: 10,000 records, each answered after 10 ms and sent when it was due. */
static int begin(void **state)
{
    (void)state;
    memset(stages, 0, sizeof(stages));
    struct histogram *const all[] = {&response, &service, &delay, &floor_commit};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        histogram_reset(all[i]);
    }
    result = (struct result){
        .config = {.command = "demo",
                   .nodes = 3,
                   .durable = true,
                   .net = "ring",
                   .idle = "auto (yield)",
                   .arrivals = "poisson",
                   .client = "test",
                   .rate_per_s = 1000},
        .counts = {.scheduled = 10000, .sent = 10000, .acked = 10000},
        .load_s = 10,
        .response = &response,
        .service = &service,
        .delay = &delay,
        .stages = stages,
        .verified = true,
        .verify_by = "log files",
    };
    histogram_record_many(&response, 10000 * US, 10000);
    histogram_record_many(&service, 10000 * US, 10000);
    return 0;
}

static uint32_t reasons(void)
{
    result.reason_count = 0;
    result_judge(&result);
    return result.reason_count;
}

static void a_clean_open_loop_is_valid(void **state)
{
    (void)state;
    assert_int_equal(reasons(), 0);
}

static void ninety_nine_percent_acknowledged_is_enough_and_one_record_less_is_not(void **state)
{
    (void)state;
    result.counts.acked = 9900;
    assert_int_equal(reasons(), 0);
    result.counts.acked = 9899;
    assert_int_equal(reasons(), 1);
    assert_non_null(strstr(result.reasons[0], "98.99 %"));
}

static void what_was_due_and_never_sent_counts_against_the_99_percent(void **state)
{
    (void)state;
    result.counts.sent = 9899;
    result.counts.acked = 9899; /* All that was sent. */
    assert_int_equal(reasons(), 1);
}

static void nothing_acknowledged_is_invalid_in_both_loops(void **state)
{
    (void)state;
    result.counts.acked = 0;
    assert_int_equal(reasons(), 1);
    result.config.closed = true;
    assert_int_equal(reasons(), 1);
}

/* Values below 2048 ns are exact in the histogram, larger ones within a thousandth. */
static void sender_delay_up_to_a_tenth_of_response_is_valid_and_above_is_not(void **state)
{
    (void)state;
    histogram_reset(&response);
    histogram_record_many(&response, 2000, 10000);
    histogram_record_many(&delay, 200, 10000);
    assert_int_equal(reasons(), 0);
    histogram_reset(&delay);
    histogram_record_many(&delay, 201, 10000);
    assert_int_equal(reasons(), 1);
    assert_non_null(strstr(result.reasons[0], "10 %"));
}

static void sender_delay_above_a_millisecond_is_invalid_whatever_the_response(void **state)
{
    (void)state;
    histogram_reset(&response);
    histogram_record_many(&response, 1000000 * US, 10000);
    histogram_record_many(&delay, 998 * US, 10000);
    assert_int_equal(reasons(), 0);
    histogram_reset(&delay);
    histogram_record_many(&delay, 1002 * US, 10000);
    assert_int_equal(reasons(), 1);
    assert_non_null(strstr(result.reasons[0], "1 ms"));
}

static void sender_delay_is_judged_by_its_p99_and_not_by_its_worst(void **state)
{
    (void)state;
    histogram_record_many(&delay, 1, 9900);
    histogram_record_many(&delay, 9000 * US, 100);
    assert_int_equal(reasons(), 0);
    histogram_record(&delay, 9000 * US);
    assert_true(reasons() > 0);
}

static void closed_loop_is_valid_when_every_send_was_answered(void **state)
{
    (void)state;
    result.config.closed = true;
    result.counts.acked = 5000;
    result.counts.refused[WIRE_BUSY] = 5000;
    histogram_record_many(&delay, 5000 * US, 10000); /* Of no meaning without a schedule. */
    assert_int_equal(reasons(), 0);
    result.counts.unanswered = 1;
    assert_int_equal(reasons(), 1);
}

static void each_finding_of_the_verifier_is_a_reason(void **state)
{
    (void)state;
    uint64_t *const findings[] = {&result.verify.lost, &result.verify.duplicated,
                                  &result.verify.out_of_order, &result.verify.damaged};
    for (size_t i = 0; i < sizeof(findings) / sizeof(findings[0]); i++) {
        *findings[i] = 1;
        assert_int_equal(reasons(), 1);
        *findings[i] = 0;
    }
    assert_int_equal(reasons(), 0);
    result.verify.why = "a page is bad";
    assert_int_equal(reasons(), 1);
}

/* The printed object; the caller owns it. */
static json_t *object(void)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    int code = result_print_json(&result, out);
    fclose(out);
    assert_int_equal(code, result.reason_count == 0 ? 0 : FAULT_FAILED);
    json_t *found = json_loads(text, 0, NULL);
    assert_non_null(found);
    free(text);
    return found;
}

static void ratio_is_null_without_a_floor_and_of_response_with_one(void **state)
{
    (void)state;
    json_t *found = object();
    json_t *ratio = json_object_get(found, "ratio_to_floor");
    assert_true(json_is_null(json_object_get(ratio, "p50")));
    assert_true(json_is_null(json_object_get(ratio, "p99")));
    json_decref(found);

    result.floors.commit = &floor_commit;
    histogram_record_many(&floor_commit, 5000 * US, 100);
    found = object();
    ratio = json_object_get(found, "ratio_to_floor");
    double p50 = json_real_value(json_object_get(ratio, "p50"));
    assert_true(p50 > 1.99);
    assert_true(p50 < 2.01);
    assert_true(json_is_null(json_object_get(ratio, "p99"))); /* One sample beyond it. */
    json_decref(found);
}

static void a_floor_that_could_not_be_measured_is_null_and_says_why(void **state)
{
    (void)state;
    json_t *found = object();
    assert_true(json_is_object(json_object_get(found, "floors_ns")));
    assert_true(json_is_null(json_object_get(found, "floors_why")));
    json_decref(found);
    snprintf(result.floors_why, sizeof(result.floors_why), "node 2 is on another machine");
    found = object();
    assert_true(json_is_null(json_object_get(found, "floors_ns")));
    assert_string_equal(json_string_value(json_object_get(found, "floors_why")),
                        "node 2 is on another machine");
    json_decref(found);
}

static void what_replicas_elsewhere_do_not_tell_is_null(void **state)
{
    (void)state;
    result.stages = NULL;
    json_t *found = object();
    assert_true(json_is_null(json_object_get(found, "stages_ns")));
    assert_true(json_is_null(json_object_get(found, "writes")));
    json_t *config = json_object_get(found, "config");
    assert_true(json_is_null(json_object_get(config, "registered_buffers")));
    json_decref(found);
}

static void a_percentile_needs_ten_samples_beyond_it(void **state)
{
    (void)state;
    histogram_reset(&response);
    histogram_record_many(&response, 100 * US, 999); /* 9 beyond p99. */
    json_t *latency = result_latency_json(&response);
    assert_true(json_is_null(json_object_get(latency, "p99")));
    assert_true(json_is_integer(json_object_get(latency, "p90")));
    json_decref(latency);
    histogram_record(&response, 100 * US);
    latency = result_latency_json(&response);
    assert_true(json_is_integer(json_object_get(latency, "p99")));
    assert_true(json_is_null(json_object_get(latency, "p99_9")));
    json_decref(latency);
}

static void verify_is_null_when_there_was_no_file_to_read(void **state)
{
    (void)state;
    result.verified = false;
    result.verify.lost = 7; /* Not looked at. */
    assert_int_equal(reasons(), 0);
    json_t *found = object();
    assert_true(json_is_null(json_object_get(found, "verify")));
    json_decref(found);
}

static void a_run_is_durable_when_asked_for_and_every_replica_says_so(void **state)
{
    (void)state;
    bool replicas[] = {true, true, true};
    assert_true(result_is_durable(true, replicas, 3));
    assert_false(result_is_durable(false, replicas, 3));
    replicas[1] = false;
    assert_false(result_is_durable(true, replicas, 3));
    result.config.durable = false;
    json_t *found = object();
    assert_true(json_is_false(json_object_get(found, "durable")));
    const char *mode =
        json_string_value(json_object_get(json_object_get(found, "config"), "durability"));
    assert_string_equal(mode, "memory");
    json_decref(found);
}

static void keys_of_refusals_are_words_without_spaces(void **state)
{
    (void)state;
    result.counts.refused[WIRE_NOT_LEADER] = 3;
    json_t *found = object();
    json_t *refused = json_object_get(json_object_get(found, "counts"), "refused");
    assert_int_equal(json_integer_value(json_object_get(refused, "not_leader")), 3);
    const char *key;
    json_t *value;
    json_object_foreach(refused, key, value)
    {
        assert_null(strchr(key, ' '));
    }
    json_decref(found);
}

static void a_cpu_is_own_when_known_and_shared_with_nothing(void **state)
{
    (void)state;
    assert_true(core_cpu_is_own(0, 1, 2));
    assert_false(core_cpu_is_own(0, 0, 2));
    assert_false(core_cpu_is_own(0, 1, 0));
    assert_false(core_cpu_is_own(-1, 1, 2));
    assert_false(core_cpu_is_own(0, -1, 2)); /* The other thread may come here. */
    assert_false(core_cpu_is_own(0, 1, -1)); /* So may the disk's interrupts. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_clean_open_loop_is_valid, begin),
        cmocka_unit_test_setup(
            ninety_nine_percent_acknowledged_is_enough_and_one_record_less_is_not, begin),
        cmocka_unit_test_setup(what_was_due_and_never_sent_counts_against_the_99_percent, begin),
        cmocka_unit_test_setup(nothing_acknowledged_is_invalid_in_both_loops, begin),
        cmocka_unit_test_setup(sender_delay_up_to_a_tenth_of_response_is_valid_and_above_is_not,
                               begin),
        cmocka_unit_test_setup(sender_delay_above_a_millisecond_is_invalid_whatever_the_response,
                               begin),
        cmocka_unit_test_setup(sender_delay_is_judged_by_its_p99_and_not_by_its_worst, begin),
        cmocka_unit_test_setup(closed_loop_is_valid_when_every_send_was_answered, begin),
        cmocka_unit_test_setup(each_finding_of_the_verifier_is_a_reason, begin),
        cmocka_unit_test_setup(ratio_is_null_without_a_floor_and_of_response_with_one, begin),
        cmocka_unit_test_setup(a_floor_that_could_not_be_measured_is_null_and_says_why, begin),
        cmocka_unit_test_setup(what_replicas_elsewhere_do_not_tell_is_null, begin),
        cmocka_unit_test_setup(a_percentile_needs_ten_samples_beyond_it, begin),
        cmocka_unit_test_setup(verify_is_null_when_there_was_no_file_to_read, begin),
        cmocka_unit_test_setup(a_run_is_durable_when_asked_for_and_every_replica_says_so, begin),
        cmocka_unit_test_setup(keys_of_refusals_are_words_without_spaces, begin),
        cmocka_unit_test(a_cpu_is_own_when_known_and_shared_with_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
