/* example.c: the client library in use: append through a session, read back, look at the nodes.
 *
 *     cc example.c $(pkg-config --cflags --libs libthole) -o example
 *     ./example CLUSTER.INI SESSION RECORDS
 *
 * It appends records "SESSION 1" to "SESSION RECORDS", each exactly once however often it is
 * interrupted and run again: record k has the sequence k, and the session says where to go on.
 */
#include <thole.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tally {
    const char *session;
    uint64_t committed;
    uint64_t not_committed;
    uint64_t read;
};

/* Every append has exactly one outcome. */
static void take_outcome(void *context, const struct thole_completion *done)
{
    struct tally *tally = context;
    if (done->outcome == THOLE_COMMITTED) {
        tally->committed++;
        return;
    }
    tally->not_committed++;
    fprintf(stderr, "record %" PRIu64 " is %s: %s\n", done->tag, thole_outcome_name(done->outcome),
            thole_reason_name(done->reason));
}

static bool take_record(void *context, const struct thole_record *record)
{
    struct tally *tally = context;
    size_t bytes = strlen(tally->session);
    tally->read += record->bytes > bytes && memcmp(record->data, tally->session, bytes) == 0;
    return true;
}

static int append_all(struct thole *client, struct tally *tally, uint64_t count)
{
    struct thole_session session;
    if (thole_connect(client, 10000) != 0) {
        return -1;
    }
    thole_session(client, &session);
    printf("session %s: %" PRIu64 " records are in the log\n", tally->session, session.next - 1);
    for (uint64_t k = session.next; k <= count;) {
        char text[64];
        int bytes = snprintf(text, sizeof text, "%s %" PRIu64, tally->session, k);
        int result = thole_append(client, text, (size_t)bytes, k);
        if (result == 0) {
            k++;
        } else if (result != -EAGAIN || thole_poll(client, -1) < 0) {
            return -1;
        }
    }
    return thole_flush(client);
}

static int print_status(struct thole *client)
{
    struct thole_status status;
    if (thole_status(client, &status, 1000) != 0) {
        return -1;
    }
    for (uint32_t i = 0; i < status.node_count; i++) {
        const struct thole_node *node = &status.nodes[i];
        printf("node %u at %s: %s\n", node->id, node->address,
               node->reachable ? thole_role_name(node->role) : "no answer");
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 4 || strlen(argv[2]) > THOLE_SESSION_NAME_MAX) {
        fprintf(stderr, "usage: example CLUSTER.INI SESSION RECORDS\n");
        return 2;
    }
    struct tally tally = {.session = argv[2]};
    struct thole_options options = {
        .config_path = argv[1],
        .session = tally.session,
        .on_completion = take_outcome,
        .context = &tally,
    };
    struct thole_error error;
    struct thole *client = thole_open(&options, &error);
    if (client == NULL) {
        fprintf(stderr, "example: %s\n", error.text);
        return 3;
    }
    struct thole_read read = {
        .from = THOLE_START, .linearizable = true, .on_record = take_record, .context = &tally};
    int result = append_all(client, &tally, strtoull(argv[3], NULL, 10));
    if (result == 0) {
        result = thole_read(client, &read);
    }
    if (result == 0) {
        result = print_status(client);
    }
    printf("%" PRIu64 " committed now, %" PRIu64 " not; %" PRIu64 " found in the log\n",
           tally.committed, tally.not_committed, tally.read);
    if (result != 0) {
        fprintf(stderr, "example: %s\n", thole_error_text(client));
    }
    thole_close(client);
    return result == 0 && tally.not_committed == 0 ? 0 : 1;
}
