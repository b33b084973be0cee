/* test_nic_eal.c: EAL stays silent and explains itself. Each case is a child process: EAL starts
 * once a process. */
#define _GNU_SOURCE
#include "net/nic_dpdk.h"

#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define OUTPUT_BYTES 8192u
#define NOBODY       65534u
#define CHILD_FAILED 99

/* What a child does before it opens, and what it gives EAL. */
struct child {
    bool as_nobody;
    rlim_t memlock_bytes; /* 0: as it is. */
    rlim_t address_bytes; /* 0: as it is. */
    uint32_t argc;
    char *argv[4];
};

struct outcome {
    int code;                  /* 0, or the fault's. */
    char output[OUTPUT_BYTES]; /* What it printed itself, then the fault's text. */
};

/* There only under AddressSanitizer, whose own mappings are above any limit. */
extern void __asan_init(void) __attribute__((weak));

static void limits_set(const struct child *child)
{
    struct rlimit memlock = {child->memlock_bytes, child->memlock_bytes};
    struct rlimit address = {child->address_bytes, child->address_bytes};
    if ((child->memlock_bytes > 0 && setrlimit(RLIMIT_MEMLOCK, &memlock) != 0) ||
        (child->address_bytes > 0 && setrlimit(RLIMIT_AS, &address) != 0)) {
        _exit(CHILD_FAILED);
    }
}

static _Noreturn void child_run(const struct child *child, int out)
{
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(out, STDERR_FILENO);
    limits_set(child);
    if (child->as_nobody && getuid() == 0 &&
        (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)) {
        _exit(CHILD_FAILED);
    }
    static const struct nic_address addresses[2] = {{1, 1}, {2, 2}};
    struct nic_ring_config config = {
        .addresses = addresses,
        .count = 2,
        .frame_bytes_max = FRAME_BYTES_MAX,
        .eal_argc = child->argc,
        .eal_argv = child->argv,
    };
    struct nic *nics[2];
    struct fault fault = {0};
    if (nic_dpdk_ring_open(nics, &config, &fault) != 0) {
        (void)fprintf(stderr, "FAULT %s", fault.text);
        (void)fflush(stderr);
        _exit(fault.code);
    }
    nic_close(nics[0]);
    nic_close(nics[1]);
    nic_dpdk_stop();
    (void)fflush(stdout);
    _exit(0);
}

static void run(const struct child *child, struct outcome *outcome)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(ends[0]);
        child_run(child, ends[1]);
    }
    (void)close(ends[1]);
    uint32_t bytes = 0;
    ssize_t count = read(ends[0], outcome->output, OUTPUT_BYTES - 1);
    while (count > 0) {
        bytes += (uint32_t)count;
        count = read(ends[0], outcome->output + bytes, OUTPUT_BYTES - 1 - bytes);
    }
    outcome->output[bytes] = '\0';
    (void)close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    outcome->code = WEXITSTATUS(status);
}

static void opening_prints_nothing(void **state)
{
    (void)state;
    struct outcome outcome;
    run(&(struct child){0}, &outcome);
    assert_string_equal(outcome.output, "");
    assert_int_equal(outcome.code, 0);
}

static void an_ordinary_user_with_eight_mib_of_locked_memory_opens(void **state)
{
    (void)state;
    struct outcome outcome;
    run(&(struct child){.as_nobody = true, .memlock_bytes = 8u << 20}, &outcome);
    assert_string_equal(outcome.output, "");
    assert_int_equal(outcome.code, 0);
}

static void arguments_reach_eal_verbatim(void **state)
{
    (void)state;
    struct outcome outcome;
    run(&(struct child){.argc = 2, .argv = {"-m", "256"}}, &outcome);
    assert_string_equal(outcome.output, "");
    assert_int_equal(outcome.code, 0);
}

/* One line, ours: the cause, what mends it, and EAL's words only as a quotation. */
static void fault_check(const struct outcome *outcome, int code, const char *mend)
{
    print_message("%s\n", outcome->output);
    assert_int_equal(outcome->code, code);
    assert_memory_equal(outcome->output, "FAULT ", 6);
    assert_null(strchr(outcome->output, '\n'));
    assert_non_null(strstr(outcome->output, mend));
}

static void a_wrong_argument_is_a_usage_error_that_quotes_eal(void **state)
{
    (void)state;
    struct outcome outcome;
    run(&(struct child){.argc = 1, .argv = {"--no-such-option"}}, &outcome);
    fault_check(&outcome, FAULT_USAGE, "after `--`");
    assert_non_null(strstr(outcome.output, "DPDK said: "));
    assert_non_null(strstr(outcome.output, "no-such-option"));
}

static void asking_eal_for_help_is_a_usage_error(void **state)
{
    (void)state;
    struct outcome outcome;
    run(&(struct child){.argc = 1, .argv = {"--help"}}, &outcome);
    fault_check(&outcome, FAULT_USAGE, "EAL");
}

static void too_little_memory_is_an_environment_error_with_the_amount(void **state)
{
    (void)state;
    if (__asan_init != NULL) {
        skip();
    }
    struct outcome outcome;
    run(&(struct child){.address_bytes = 120u << 20}, &outcome);
    fault_check(&outcome, FAULT_ENVIRONMENT, "MiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_prints_nothing),
        cmocka_unit_test(an_ordinary_user_with_eight_mib_of_locked_memory_opens),
        cmocka_unit_test(arguments_reach_eal_verbatim),
        cmocka_unit_test(a_wrong_argument_is_a_usage_error_that_quotes_eal),
        cmocka_unit_test(asking_eal_for_help_is_a_usage_error),
        cmocka_unit_test(too_little_memory_is_an_environment_error_with_the_amount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
