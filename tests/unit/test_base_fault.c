/* test_base_fault.c: faults keep their words; counters keep names and numbers together. */
#include "engine/base/fault.h"

#include "engine/base/assert.h"
#include "engine/base/counter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define FRUIT_COUNTERS(X) X(apples) X(pears) X(plums)
COUNTERS_DECLARE(fruit, FRUIT_COUNTERS);
COUNTERS_DEFINE(fruit, FRUIT_COUNTERS);

static void a_fault_keeps_the_last_code_and_text(void **state)
{
    (void)state;
    struct fault fault = {0};
    fault_set(&fault, FAULT_USAGE, "unknown key %s", "colour");
    fault_set(&fault, FAULT_ENVIRONMENT, "%d MiB are free, %d are needed", 3, 4);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_string_equal(fault.text, "3 MiB are free, 4 are needed");
}

static void a_text_too_long_is_cut_and_ended(void **state)
{
    (void)state;
    struct fault fault = {0};
    char words[2 * FAULT_TEXT_BYTES];
    memset(words, 'w', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    fault_set(&fault, FAULT_FAILED, "%s", words);
    assert_int_equal(strlen(fault.text), FAULT_TEXT_BYTES - 1);
}

static void a_mend_ends_the_text_and_stands_alone(void **state)
{
    (void)state;
    struct fault fault = {0};
    fault_set(&fault, FAULT_ENVIRONMENT, "the interface %s is down. Set it up with", "eth1");
    fault_mend(&fault, "ip link set dev %s up", "eth1");
    assert_string_equal(fault.mend, "ip link set dev eth1 up");
    assert_string_equal(fault.text,
                        "the interface eth1 is down. Set it up with `ip link set dev eth1 up`");
    fault_set(&fault, FAULT_FAILED, "another one");
    assert_string_equal(fault.mend, "");
}

static void a_mend_too_long_is_no_command(void **state)
{
    (void)state;
    struct fault fault = {0};
    char words[FAULT_MEND_BYTES + 1];
    memset(words, 'w', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    fault_set(&fault, FAULT_FAILED, "long");
    fault_mend(&fault, "%s", words);
    assert_string_equal(fault.mend, "");
    words[sizeof words - 2] = '\0';
    fault_set(&fault, FAULT_FAILED, "just fits");
    fault_mend(&fault, "%s", words);
    assert_string_equal(fault.mend, words);
    expect_assert_failure(fault_mend(&fault, "a second one"));
}

static void a_code_that_is_none_asserts(void **state)
{
    (void)state;
    struct fault fault = {0};
    expect_assert_failure(fault_set(&fault, 0, "nothing"));
    expect_assert_failure(fault_set(&fault, FAULT_INTERNAL + 1, "nothing"));
}

static void a_counter_list_gives_fields_and_names_in_one_order(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct fruit_counters), 3 * sizeof(uint64_t));
    assert_int_equal(sizeof fruit_counter_names / sizeof fruit_counter_names[0], 3);
    assert_string_equal(fruit_counter_names[offsetof(struct fruit_counters, apples) / 8], "apples");
    assert_string_equal(fruit_counter_names[offsetof(struct fruit_counters, plums) / 8], "plums");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fault_keeps_the_last_code_and_text),
        cmocka_unit_test(a_mend_ends_the_text_and_stands_alone),
        cmocka_unit_test(a_mend_too_long_is_no_command),
        cmocka_unit_test(a_text_too_long_is_cut_and_ended),
        cmocka_unit_test(a_code_that_is_none_asserts),
        cmocka_unit_test(a_counter_list_gives_fields_and_names_in_one_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
