/* test_base_mem.c: the region hands out zeroed aligned memory until it is sealed, then nothing. */
#include "engine/base/mem.h"

#include "engine/base/limits.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static _Alignas(PAGE_BYTES) uint8_t region[4 * PAGE_BYTES];

static void takings_are_zeroed_aligned_and_disjoint(void **state)
{
    (void)state;
    struct mem mem;
    assert_int_equal(mem_open(&mem, 10 * PAGE_BYTES), 0);
    uint8_t *last_end = mem.base;
    for (uint32_t align = 1; align <= PAGE_BYTES; align *= 2) {
        uint8_t *taken = mem_take(&mem, "piece", 3, 5, align);
        assert_true((uintptr_t)taken % align == 0);
        assert_true(taken >= last_end);
        for (unsigned i = 0; i < 15; i++) {
            assert_int_equal(taken[i], 0);
        }
        memset(taken, 0xff, 15);
        last_end = taken + 15;
    }
    assert_true(mem.used_bytes <= mem.bytes);
    mem_close(&mem);
    assert_null(mem.base);
}

static void opened_region_is_whole_pages(void **state)
{
    (void)state;
    struct mem mem;
    assert_int_equal(mem_open(&mem, 1), 0);
    assert_true(mem.bytes == PAGE_BYTES);
    assert_true((uintptr_t)mem.base % PAGE_BYTES == 0);
    mem_close(&mem);
}

static void open_says_when_there_is_no_memory(void **state)
{
    (void)state;
    struct mem mem;
    assert_int_equal(mem_open(&mem, UINT64_MAX), -ENOMEM);
    assert_int_equal(mem_open(&mem, 1ull << 62), -ENOMEM);
}

static void a_sealed_region_gives_nothing_more(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, region, sizeof region);
    assert_non_null(mem_take(&mem, "before", 1, 8, 8));
    mem_seal(&mem);
    expect_assert_failure(mem_take(&mem, "after", 1, 8, 8));
    expect_assert_failure(mem_seal(&mem));
}

static void a_region_gives_its_last_byte_and_not_one_more(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, region, sizeof region);
    assert_ptr_equal(mem_take(&mem, "all", sizeof region, 1, 1), region);
    expect_assert_failure(mem_take(&mem, "more", 1, 1, 1));
    mem_init(&mem, region, sizeof region);
    expect_assert_failure(mem_take(&mem, "overflow", UINT64_MAX / 2, 4, 1));
    expect_assert_failure(mem_take(&mem, "align", 1, 1, 3));
    expect_assert_failure(mem_take(&mem, "align", 1, 1, 2 * PAGE_BYTES));
}

static void callers_memory_must_be_page_aligned_and_is_not_unmapped(void **state)
{
    (void)state;
    struct mem mem;
    expect_assert_failure(mem_init(&mem, region + 8, PAGE_BYTES));
    mem_init(&mem, region, sizeof region);
    mem_close(&mem);
    region[0] = 0; /* Still there. */
}

static void the_table_of_takings_is_bounded(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, region, sizeof region);
    for (unsigned i = 0; i < MEM_TAKINGS_MAX; i++) {
        assert_non_null(mem_take(&mem, "one", 1, 1, 1));
    }
    expect_assert_failure(mem_take(&mem, "one too many", 1, 1, 1));
}

static void print_names_every_taking_and_the_sum(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, region, sizeof region);
    assert_non_null(mem_take(&mem, "apples", 3, 100, 8));
    assert_non_null(mem_take(&mem, "pears", 7, 11, 8));
    char text[1024] = {0};
    FILE *out = fmemopen(text, sizeof text - 1, "w");
    assert_non_null(out);
    mem_print(&mem, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "apples                                    3 x        100 ="
                                 "            300\n"));
    assert_non_null(strstr(text, "pears "));
    assert_non_null(strstr(text, " 381 of 16384\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takings_are_zeroed_aligned_and_disjoint),
        cmocka_unit_test(opened_region_is_whole_pages),
        cmocka_unit_test(open_says_when_there_is_no_memory),
        cmocka_unit_test(a_sealed_region_gives_nothing_more),
        cmocka_unit_test(a_region_gives_its_last_byte_and_not_one_more),
        cmocka_unit_test(callers_memory_must_be_page_aligned_and_is_not_unmapped),
        cmocka_unit_test(the_table_of_takings_is_bounded),
        cmocka_unit_test(print_names_every_taking_and_the_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
