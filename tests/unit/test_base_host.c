/* test_base_host.c: what the kernel writes about CPUs, taken apart. */
#include "engine/base/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void a_list_of_cpus_names_its_members_alone(void **state)
{
    (void)state;
    assert_true(host_list_has("0-3,8", 0));
    assert_true(host_list_has("0-3,8", 3));
    assert_false(host_list_has("0-3,8", 4));
    assert_true(host_list_has("0-3,8", 8));
    assert_false(host_list_has("0-3,8", 9));
    assert_false(host_list_has("", 0));
    assert_int_equal(host_list_count("0-3,8"), 5);
    assert_int_equal(host_list_count("5"), 1);
    assert_int_equal(host_list_count(""), 0);
}

static void a_list_that_is_none_ends_where_it_stops_making_sense(void **state)
{
    (void)state;
    assert_int_equal(host_list_count("(null)"), 0);
    assert_int_equal(host_list_count("1,x"), 1);
    assert_int_equal(host_list_count("3-1"), 0);
    assert_int_equal(host_list_count("0-99999999999"), HOST_CPUS_MAX + 1);
}

static void this_machine_has_a_cpu_that_this_process_may_use(void **state)
{
    (void)state;
    struct host host;
    host_look(&host);
    assert_true(host.cpu_count > 0);
    assert_true(host_list_count(host.allowed) > 0);
    assert_true(host.kernel[0] != '\0');
}

static void a_line_is_read_without_its_end_and_a_missing_file_is_none(void **state)
{
    (void)state;
    char line[8] = "before";
    assert_false(host_first_line("/proc/there/is/none", line, sizeof(line)));
    assert_string_equal(line, "");
    assert_true(host_first_line("/proc/sys/kernel/ostype", line, sizeof(line)));
    assert_string_equal(line, "Linux");
    assert_true(host_first_line("/proc/sys/kernel/ostype", line, 4));
    assert_string_equal(line, "Lin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_of_cpus_names_its_members_alone),
        cmocka_unit_test(a_list_that_is_none_ends_where_it_stops_making_sense),
        cmocka_unit_test(this_machine_has_a_cpu_that_this_process_may_use),
        cmocka_unit_test(a_line_is_read_without_its_end_and_a_missing_file_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
