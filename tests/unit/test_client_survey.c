/* test_client_survey.c: every node is asked until it has answered, and answers of before do not
 * count.
 */
#include "engine/client/survey.h"

#include "tests/support/loop_nic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NODES   3u
#define PORT    (NODES + 1u) /* The client's, behind those of the nodes. */
#define CLUSTER 0x9f3cu
#define CLIENT  0x77u

struct fixture {
    struct loop_net net;
    struct mem mem;
    struct client *client;
    struct survey survey;
    uint64_t now_ns;
    uint64_t tokens[NODES]; /* Of the last question to each node. */
};

static void ignore(void *context, const struct client_completion *completion)
{
    (void)context;
    (void)completion;
}

static int open_fixture(void **state)
{
    static struct fixture f;
    static const uint8_t nodes[NODES] = {1, 2, 3};
    f = (struct fixture){.now_ns = 1000};
    loop_net_open(&f.net, PORT, FRAME_BYTES_MAX);
    struct client_config config = {
        .cluster = CLUSTER,
        .id = CLIENT,
        .node_count = NODES,
        .outstanding_max = 1,
        .timeout_ns = 1000000000,
        .seed = 1,
    };
    for (uint32_t i = 0; i < NODES; i++) {
        config.nodes[i] = (struct client_node){nodes[i], f.net.ports[i].nic.self};
    }
    assert_int_equal(mem_open(&f.mem, client_memory_bytes(&config)), 0);
    f.client = client_init(&f.mem, &config, &f.net.ports[NODES].nic);
    survey_init(&f.survey, f.client, nodes, NODES);
    *state = &f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    mem_close(&f->mem);
    loop_net_close(&f->net);
    return 0;
}

/* Take the questions of a node; returns how many, the last one's token kept. */
static uint32_t questions_of(struct fixture *f, uint8_t id)
{
    struct wire_self self = {.cluster = CLUSTER, .boot = id, .node = id};
    struct wire_counters counters = {0};
    struct nic *nic = &f->net.ports[id - 1].nic;
    struct nic_frame frames[RX_BURST_MAX];
    uint32_t count = nic_rx_burst(nic, frames, RX_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct wire_frame frame;
        assert_int_equal(wire_decode(&self, frames[i].data, frames[i].bytes, &frame, &counters), 0);
        assert_int_equal(frame.header.kind, WIRE_STATUS);
        assert_int_equal(frame.header.to, id);
        f->tokens[id - 1] = frame.header.token;
    }
    nic_rx_release(nic, frames, count);
    return count;
}

static void answer(struct fixture *f, uint8_t id, uint64_t token)
{
    struct wire_frame frame = {
        .header = {.kind = WIRE_STATUS_REPLY,
                   .from = id,
                   .cluster = CLUSTER,
                   .from_store = id,
                   .from_boot = id,
                   .to_boot = CLIENT,
                   .token = token},
        .status_reply = {.term = 10u + id, .voters = 0xe},
    };
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    struct nic_send send = {
        .to = f->net.ports[NODES].nic.self, .head = head, .head_bytes = wire_encode(&frame, head)};
    assert_int_equal(nic_tx_burst(&f->net.ports[id - 1].nic, &send, 1), 1);
    (void)client_poll(f->client, f->now_ns, ignore, NULL);
}

static void survey_asks_again_whoever_has_not_answered(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(survey_deadline_ns(&f->survey), UINT64_MAX);
    survey_begin(&f->survey, f->now_ns);
    assert_int_equal(survey_deadline_ns(&f->survey), f->now_ns);
    assert_int_equal(survey_poll(&f->survey, f->now_ns), 1);
    assert_int_equal(survey_poll(&f->survey, f->now_ns), 0);
    for (uint8_t id = 1; id <= NODES; id++) {
        assert_int_equal(questions_of(f, id), 1);
    }
    answer(f, 2, f->tokens[1]);
    assert_int_equal(f->survey.missing, 2);
    assert_true(f->survey.answers[1].reachable);
    assert_int_equal(f->survey.answers[1].status.term, 12);
    f->now_ns = survey_deadline_ns(&f->survey);
    assert_int_equal(survey_poll(&f->survey, f->now_ns), 1);
    assert_int_equal(questions_of(f, 1), 1);
    assert_int_equal(questions_of(f, 2), 0);
    assert_int_equal(questions_of(f, 3), 1);
    answer(f, 1, f->tokens[0]);
    answer(f, 1, f->tokens[0]);
    assert_int_equal(f->survey.missing, 1);
    answer(f, 3, f->tokens[2]);
    assert_int_equal(f->survey.missing, 0);
    assert_int_equal(survey_deadline_ns(&f->survey), UINT64_MAX);
    f->now_ns += 2ull * SURVEY_RESEND_NS;
    assert_int_equal(survey_poll(&f->survey, f->now_ns), 0);
}

static void survey_takes_no_answer_to_an_older_question(void **state)
{
    struct fixture *f = *state;
    survey_begin(&f->survey, f->now_ns);
    assert_int_equal(survey_poll(&f->survey, f->now_ns), 1);
    assert_int_equal(questions_of(f, 1), 1);
    uint64_t before = f->tokens[0];
    survey_begin(&f->survey, f->now_ns);
    assert_int_equal(survey_poll(&f->survey, f->now_ns), 1);
    answer(f, 1, before);
    assert_false(f->survey.answers[0].reachable);
    assert_int_equal(questions_of(f, 1), 1);
    answer(f, 1, f->tokens[0]);
    assert_true(f->survey.answers[0].reachable);
}

static void survey_that_has_ended_takes_nothing(void **state)
{
    struct fixture *f = *state;
    survey_begin(&f->survey, f->now_ns);
    assert_int_equal(survey_poll(&f->survey, f->now_ns), 1);
    assert_int_equal(questions_of(f, 1), 1);
    survey_end(&f->survey);
    answer(f, 1, f->tokens[0]);
    assert_false(f->survey.answers[0].reachable);
    assert_int_equal(survey_deadline_ns(&f->survey), UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(survey_asks_again_whoever_has_not_answered, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(survey_takes_no_answer_to_an_older_question, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(survey_that_has_ended_takes_nothing, open_fixture,
                                        close_fixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
