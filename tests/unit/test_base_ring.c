/* test_base_ring.c: nothing is lost, doubled or reordered, also between two threads. */
#include "engine/base/ring.h"

#include "engine/base/limits.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CAPACITY     8u
#define THREAD_COUNT 200000u /* Elements that cross between the threads. */

struct element {
    uint64_t number;
    uint64_t inverse; /* ~number: a torn copy would show. */
    uint64_t filler;
};

static _Alignas(PAGE_BYTES) uint8_t region[PAGE_BYTES];

static void ring_make(struct ring *ring)
{
    struct mem mem;
    mem_init(&mem, region, sizeof region);
    ring_init(ring, &mem, CAPACITY, sizeof(struct element));
}

static struct element element_of(uint64_t number)
{
    return (struct element){number, ~number, number * 3};
}

static void a_full_ring_takes_nothing_and_an_empty_one_gives_nothing(void **state)
{
    (void)state;
    struct ring ring;
    ring_make(&ring);
    struct element element;
    assert_false(ring_pop(&ring, &element));
    for (uint64_t i = 0; i < CAPACITY; i++) {
        element = element_of(i);
        assert_true(ring_push(&ring, &element));
    }
    element = element_of(99);
    assert_false(ring_push(&ring, &element));
    for (uint64_t i = 0; i < CAPACITY; i++) {
        assert_true(ring_pop(&ring, &element));
        assert_true(element.number == i);
    }
    assert_false(ring_pop(&ring, &element));
}

static void order_survives_the_wrap_of_the_counters(void **state)
{
    (void)state;
    struct ring ring;
    ring_make(&ring);
    /* The counters run freely over 32 bits: start just below their wrap. */
    atomic_store(&ring.head, UINT32_MAX - 2);
    atomic_store(&ring.tail, UINT32_MAX - 2);
    uint64_t popped = 0;
    for (uint64_t pushed = 0; pushed < 100;) {
        for (unsigned i = 0; i < 5; i++) {
            struct element element = element_of(pushed);
            pushed += ring_push(&ring, &element);
        }
        for (unsigned i = 0; i < 3; i++) {
            struct element element;
            assert_true(ring_pop(&ring, &element));
            assert_true(element.number == popped);
            popped++;
        }
    }
}

static void *produce(void *argument)
{
    struct ring *ring = argument;
    for (uint64_t i = 0; i < THREAD_COUNT;) {
        struct element element = element_of(i);
        if (ring_push(ring, &element)) {
            i++;
        } else {
            sched_yield();
        }
    }
    return NULL;
}

static void two_threads_lose_double_and_tear_nothing(void **state)
{
    (void)state;
    struct ring ring;
    ring_make(&ring);
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, produce, &ring), 0);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < THREAD_COUNT;) {
        struct element element;
        if (!ring_pop(&ring, &element)) {
            sched_yield();
            continue;
        }
        wrong += element.number != i;
        wrong += element.inverse != ~element.number;
        wrong += element.filler != element.number * 3;
        i++;
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
    assert_true(wrong == 0);
    struct element element;
    assert_false(ring_pop(&ring, &element));
}

static void a_capacity_that_is_no_power_of_two_asserts(void **state)
{
    (void)state;
    struct ring ring;
    struct mem mem;
    mem_init(&mem, region, sizeof region);
    expect_assert_failure(ring_init(&ring, &mem, 6, 8));
    expect_assert_failure(ring_init(&ring, &mem, 0, 8));
    expect_assert_failure(ring_init(&ring, &mem, 8, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_ring_takes_nothing_and_an_empty_one_gives_nothing),
        cmocka_unit_test(order_survives_the_wrap_of_the_counters),
        cmocka_unit_test(two_threads_lose_double_and_tear_nothing),
        cmocka_unit_test(a_capacity_that_is_no_power_of_two_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
