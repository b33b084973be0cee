/* test_net_netlink.c: attributes of the kernel's answers, sound and not. */
#include "net/netlink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void what_is_added_is_found(void **state)
{
    (void)state;
    struct netlink_question question = {0};
    uint8_t byte = 7;
    uint32_t word = 0x01020304;
    netlink_add(&question, 3, &byte, sizeof(byte));
    netlink_add(&question, 9, &word, sizeof(word));
    assert_int_equal(question.bytes, 16);
    const struct nlattr *found = netlink_find(question.body, question.bytes, 9);
    assert_non_null(netlink_value(found, sizeof(word)));
    assert_memory_equal(netlink_value(found, sizeof(word)), &word, sizeof(word));
    assert_int_equal(netlink_value_bytes(found), sizeof(word));
    found = netlink_find(question.body, question.bytes, 3);
    assert_null(netlink_value(found, 2));
    assert_non_null(netlink_value(found, 1));
    assert_null(netlink_find(question.body, question.bytes, 4));
    assert_null(netlink_value(NULL, 0));
}

static void a_nested_attribute_is_found_by_its_type_without_the_flag(void **state)
{
    (void)state;
    struct netlink_question question = {0};
    uint32_t word = 1;
    netlink_add(&question, 5 | NLA_F_NESTED, &word, sizeof(word));
    assert_non_null(netlink_find(question.body, question.bytes, 5));
}

static void an_attribute_that_lies_about_its_length_is_not_followed(void **state)
{
    (void)state;
    struct netlink_question question = {0};
    uint32_t word = 1;
    netlink_add(&question, 1, &word, sizeof(word));
    netlink_add(&question, 2, &word, sizeof(word));
    struct nlattr first;
    memcpy(&first, question.body, sizeof(first));
    static const uint16_t lengths[] = {0, 3, 17, 0xffff};
    for (uint32_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        first.nla_len = lengths[i];
        memcpy(question.body, &first, sizeof(first));
        assert_null(netlink_find(question.body, question.bytes, 1));
        assert_null(netlink_find(question.body, question.bytes, 2));
    }
    assert_null(netlink_find(question.body, 3, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_found),
        cmocka_unit_test(a_nested_attribute_is_found_by_its_type_without_the_flag),
        cmocka_unit_test(an_attribute_that_lies_about_its_length_is_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
