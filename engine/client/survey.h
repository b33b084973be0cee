/* survey.h: every node asked how it stands, all at once. Pure, over the client.
 *
 * A question that may have been lost is sent again. It judges nothing, and does not know when it
 * has waited long enough: who has not answered by then is unreachable.
 */
#ifndef ENGINE_CLIENT_SURVEY_H
#define ENGINE_CLIENT_SURVEY_H

#include "engine/client/client.h"

#define SURVEY_RESEND_NS 100000000u

/* What one node said; of an unreachable one nothing else counts. */
struct survey_answer {
    bool reachable;
    struct wire_status_reply status;
};

struct survey {
    struct client *client;
    uint32_t node_count;
    uint8_t nodes[NODES_MAX];
    struct survey_answer answers[NODES_MAX]; /* answers[i] is of nodes[i]. */
    uint32_t missing;                        /* 0: nothing is under way. */
    uint64_t token;                          /* Of this round: older answers do not count. */
    uint64_t ask_ns;                         /* Who is missing is asked again then. */
};

/* Begin idle. `nodes` are of the client's configuration; nobody else listens to STATUS_REPLY. */
void survey_init(struct survey *survey,
                 struct client *client,
                 const uint8_t *nodes,
                 uint32_t node_count);

/* Forget what was answered, and ask everybody at the next survey_poll(). */
void survey_begin(struct survey *survey, uint64_t now_ns);

/* Ask who is missing, when it is time to. Answers come in client_poll(), which is the caller's.
 * Returns the work done. */
uint32_t survey_poll(struct survey *survey, uint64_t now_ns);

/* When survey_poll() has something to do even if nothing arrives. */
uint64_t survey_deadline_ns(const struct survey *survey);

/* No more than what has come: who is missing stays unreachable. */
void survey_end(struct survey *survey);

#endif
