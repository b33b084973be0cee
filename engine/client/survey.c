/* survey.c: see survey.h. */
#include "engine/client/survey.h"

#include <string.h>

static void take_answer(void *context, const struct wire_frame *frame, uint64_t now_ns)
{
    struct survey *survey = context;
    (void)now_ns;
    if (survey->missing == 0 || frame->header.token != survey->token) {
        return;
    }
    for (uint32_t i = 0; i < survey->node_count; i++) {
        if (survey->nodes[i] == frame->header.from && !survey->answers[i].reachable) {
            survey->answers[i] =
                (struct survey_answer){.reachable = true, .status = frame->status_reply};
            survey->missing--;
        }
    }
}

void survey_init(struct survey *survey,
                 struct client *client,
                 const uint8_t *nodes,
                 uint32_t node_count)
{
    ASSERT(node_count >= 1);
    ASSERT(node_count <= NODES_MAX);
    *survey = (struct survey){.client = client, .node_count = node_count};
    for (uint32_t i = 0; i < node_count; i++) {
        ASSERT(client_has_node(client, nodes[i]));
        survey->nodes[i] = nodes[i];
    }
    client_listen(client, WIRE_STATUS_REPLY, take_answer, survey);
}

void survey_begin(struct survey *survey, uint64_t now_ns)
{
    memset(survey->answers, 0, sizeof survey->answers);
    survey->missing = survey->node_count;
    survey->token = client_new_token(survey->client);
    survey->ask_ns = now_ns;
}

uint32_t survey_poll(struct survey *survey, uint64_t now_ns)
{
    ASSERT(survey->missing <= survey->node_count);
    if (survey->missing == 0 || now_ns < survey->ask_ns) {
        return 0;
    }
    for (uint32_t i = 0; i < survey->node_count; i++) {
        if (!survey->answers[i].reachable) {
            struct wire_frame frame = {.header = {.kind = WIRE_STATUS, .token = survey->token}};
            (void)client_post(survey->client, &frame, survey->nodes[i]);
        }
    }
    client_flush(survey->client);
    survey->ask_ns = now_ns + SURVEY_RESEND_NS;
    return 1;
}

uint64_t survey_deadline_ns(const struct survey *survey)
{
    return survey->missing == 0 ? UINT64_MAX : survey->ask_ns;
}

void survey_end(struct survey *survey)
{
    survey->missing = 0;
}
