/* thole.c: the public library over the client core: appends, rounds, outcomes.
 *
 * Outcomes always pass through the ring, and callbacks get them from there after the round: so a
 * callback may append, and finds a client that is not in the middle of anything.
 */
#include "engine/client/thole_internal.h"

#include "engine/base/clock.h"
#include "engine/client/silence.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

_Static_assert(THOLE_RECORD_BYTES_MAX == RECORD_BYTES_MAX, "the header says what the log takes");
_Static_assert(THOLE_SESSION_NAME_MAX == SESSION_NAME_MAX, "the header says what a session takes");

int thole_fail(struct thole *client, int code, const char *format, ...)
{
    ASSERT(code < 0);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(client->fault.text, sizeof client->fault.text, format, arguments);
    va_end(arguments);
    client->fault.code = FAULT_FAILED;
    return code;
}

void thole_tell_silence(struct thole *client, uint8_t node, uint8_t stranger, bool heard)
{
    struct silence silence = {
        .waited_ns = client->timeout_ns, .node = node, .stranger = stranger, .heard = heard};
    silence_tell(&client->config, client->path[0] == '\0' ? NULL : client->path, &silence,
                 &client->fault);
}

/* ---- Outcomes ---- */

static enum thole_reason reason_of(enum wire_status status)
{
    switch (status) {
    case WIRE_OK: /* Of what is not committed: there was no time left. */
    case WIRE_BUSY:
    case WIRE_NOT_LEADER:
    case WIRE_TRIMMED:
        return THOLE_TIMED_OUT;
    case WIRE_FULL:
        return THOLE_FULL;
    case WIRE_GAP:
        return THOLE_GAP;
    case WIRE_CONDITION:
        return THOLE_CONDITION;
    case WIRE_FENCED:
        return THOLE_FENCED;
    case WIRE_NO_SESSION:
    case WIRE_FORGOTTEN:
        return THOLE_EXPIRED;
    case WIRE_STATUS_COUNT:
        break;
    }
    ASSERT(false);
    return THOLE_NONE;
}

static enum thole_outcome outcome_of(enum writer_fate fate)
{
    switch (fate) {
    case WRITER_COMMITTED:
        return THOLE_COMMITTED;
    case WRITER_REJECTED:
    case WRITER_UNSENT:
        return THOLE_REFUSED;
    case WRITER_UNKNOWN:
        return THOLE_UNKNOWN;
    }
    ASSERT(false);
    return THOLE_UNKNOWN;
}

static void take_outcome(void *context, const struct writer_outcome *outcome)
{
    struct thole *client = context;
    ASSERT(outcome->first_number == client->done_tail);
    enum thole_outcome kind = outcome_of(outcome->fate);
    for (uint32_t i = 0; i < outcome->count; i++) {
        ASSERT(client->done_tail - client->done_head <= client->mask);
        uint64_t slot = client->done_tail++ & client->mask;
        client->done[slot] = (struct thole_completion){
            .tag = client->tags[slot],
            .sequence = outcome->first_sequence == 0 ? 0 : outcome->first_sequence + i,
            .offset = kind != THOLE_COMMITTED ? 0
                      : outcome->offset_known ? outcome->first_offset + i
                                              : THOLE_NO_OFFSET,
            .detail = kind == THOLE_COMMITTED ? 0 : outcome->detail,
            .outcome = kind,
            .reason = kind == THOLE_COMMITTED ? THOLE_NONE : reason_of(outcome->status),
        };
    }
    client->told += outcome->count;
}

static void call_back(struct thole *client)
{
    if (client->on_completion == NULL) {
        return;
    }
    client->inside = true;
    while (client->done_head < client->done_tail) {
        struct thole_completion completion = client->done[client->done_head++ & client->mask];
        client->on_completion(client->context, &completion);
    }
    client->inside = false;
}

/* ---- Rounds ---- */

uint32_t thole_step(struct thole *client, uint64_t now_ns)
{
    uint32_t work = writer_poll(client->writer, now_ns, take_outcome, client);
    work += thole_reader_step(client, now_ns);
    work += survey_poll(&client->survey, now_ns);
    call_back(client);
    return work;
}

static uint64_t deadline_ns(const struct thole *client)
{
    uint64_t times_ns[] = {
        writer_deadline_ns(client->writer),
        thole_reader_deadline_ns(client),
        survey_deadline_ns(&client->survey),
    };
    uint64_t earliest_ns = UINT64_MAX;
    for (uint32_t i = 0; i < sizeof times_ns / sizeof times_ns[0]; i++) {
        earliest_ns = times_ns[i] < earliest_ns ? times_ns[i] : earliest_ns;
    }
    return earliest_ns;
}

/* For poll(2): rounded up, so that it is not too early; -1: without end. */
static int wait_ms(uint64_t now_ns, uint64_t until_ns)
{
    if (until_ns == UINT64_MAX) {
        return -1;
    }
    uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    uint64_t left_ms = left_ns / THOLE_NS_PER_MS + (left_ns % THOLE_NS_PER_MS != 0);
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

/* Until a frame may have come, or at about `until_ns`. 0, or -EINTR. */
static int wait_for_frames(struct thole *client, uint64_t until_ns)
{
    struct pollfd wanted = {.fd = nic_wait_fd(client->nic), .events = POLLIN};
    if (poll(&wanted, 1, wait_ms(clock_now_ns(), until_ns)) < 0) {
        return thole_fail(client, -EINTR, "a signal ended the wait");
    }
    return 0;
}

int thole_run(struct thole *client, thole_finished finished, int timeout_ms)
{
    ASSERT(!client->inside);
    uint64_t told_before = client->told;
    uint64_t now_ns = clock_now_ns();
    uint64_t end_ns = timeout_ms < 0 ? UINT64_MAX : now_ns + (uint64_t)timeout_ms * THOLE_NS_PER_MS;
    for (;;) {
        uint32_t work = thole_step(client, now_ns);
        if (finished(client, told_before)) {
            return 0;
        }
        if (now_ns >= end_ns) {
            return -ETIMEDOUT;
        }
        uint64_t next_ns = deadline_ns(client);
        if (work == 0 && wait_for_frames(client, next_ns < end_ns ? next_ns : end_ns) != 0) {
            return -EINTR;
        }
        now_ns = clock_now_ns();
    }
}

static bool is_idle(const struct thole *client)
{
    return writer_pending(client->writer) == 0 && client->reader.state == READING_NOTHING;
}

static bool poll_finished(const struct thole *client, uint64_t told_before)
{
    return client->told > told_before || client->done_head < client->done_tail || is_idle(client);
}

int thole_poll(struct thole *client, int timeout_ms)
{
    if (client->inside) {
        return thole_fail(client, -EBUSY, "thole_poll() within a callback");
    }
    uint64_t told_before = client->told;
    int result = thole_run(client, poll_finished, timeout_ms);
    uint64_t told = client->told - told_before;
    uint64_t waiting = client->done_tail - client->done_head;
    if (told == 0 && waiting == 0) {
        return result == -EINTR ? -EINTR : 0;
    }
    uint64_t sum = told > waiting ? told : waiting;
    return sum > INT_MAX ? INT_MAX : (int)sum;
}

static bool flush_finished(const struct thole *client, uint64_t told_before)
{
    (void)told_before;
    return writer_pending(client->writer) == 0;
}

int thole_flush(struct thole *client)
{
    if (client->inside) {
        return thole_fail(client, -EBUSY, "thole_flush() within a callback");
    }
    return thole_run(client, flush_finished, -1);
}

uint32_t thole_next(struct thole *client, struct thole_completion *completions, uint32_t count)
{
    uint32_t taken = 0;
    while (taken < count && client->done_head < client->done_tail) {
        completions[taken++] = client->done[client->done_head++ & client->mask];
    }
    return taken;
}

uint32_t thole_pending(const struct thole *client)
{
    return writer_pending(client->writer);
}

int thole_fd(const struct thole *client)
{
    return nic_wait_fd(client->nic);
}

int thole_timeout_ms(const struct thole *client)
{
    return wait_ms(clock_now_ns(), deadline_ns(client));
}

/* ---- Appends ---- */

/* The session takes nothing: why, and what then. */
static int fail_stopped(struct thole *client)
{
    struct thole_session session;
    thole_session(client, &session);
    if (session.stopped == THOLE_TIMED_OUT) {
        thole_tell_silence(client, 0, writer_stranger(client->writer),
                           writer_heard(client->writer));
        return -ESHUTDOWN;
    }
    return thole_fail(client, -ESHUTDOWN,
                      "the session has stopped: %s. Take the outcomes that are left, and begin "
                      "again with thole_reopen()",
                      thole_reason_name(session.stopped));
}

static int append(struct thole *client,
                  const void *data,
                  size_t bytes,
                  const uint64_t *expected_offset,
                  uint64_t tag)
{
    if (bytes > RECORD_BYTES_MAX) {
        return thole_fail(client, -EMSGSIZE, "a record of %zu bytes: at most %u", bytes,
                          RECORD_BYTES_MAX);
    }
    if (data == NULL && bytes > 0) {
        return thole_fail(client, -EINVAL, "a record of %zu bytes, and no data", bytes);
    }
    if (writer_is_stopped(client->writer)) {
        return fail_stopped(client);
    }
    uint64_t number = writer_taken(client->writer);
    ASSERT(number >= client->done_tail);
    if (number - client->done_head >= client->records_max) {
        return thole_fail(client, -EAGAIN, "%u records have no outcome, or one that is not taken",
                          client->records_max);
    }
    struct client_record record = {.payload = data, .bytes = (uint32_t)bytes};
    uint64_t now_ns = clock_now_ns();
    uint32_t taken =
        expected_offset == NULL
            ? writer_append(client->writer, now_ns, &record, 1)
            : writer_append_expecting(client->writer, now_ns, &record, 1, *expected_offset);
    if (taken == 0) {
        return thole_fail(client, -EAGAIN, "the memory for records under way is full");
    }
    client->tags[number & client->mask] = tag;
    return 0;
}

int thole_append(struct thole *client, const void *data, size_t bytes, uint64_t tag)
{
    return append(client, data, bytes, NULL, tag);
}

int thole_append_at(
    struct thole *client, const void *data, size_t bytes, uint64_t offset, uint64_t tag)
{
    if (offset >= CLIENT_OFFSET_MAX) {
        return thole_fail(client, -EINVAL, "no record has the offset %llu",
                          (unsigned long long)offset);
    }
    return append(client, data, bytes, &offset, tag);
}

/* ---- Sessions ---- */

static enum thole_reason stopped_of(enum writer_state state)
{
    switch (state) {
    case WRITER_IDLE:
    case WRITER_OPENING:
    case WRITER_OPEN:
        return THOLE_NONE;
    case WRITER_FENCED:
        return THOLE_FENCED;
    case WRITER_EXPIRED:
        return THOLE_EXPIRED;
    case WRITER_FULL:
        return THOLE_FULL;
    case WRITER_GAP:
        return THOLE_GAP;
    case WRITER_REFUSED:
        return THOLE_CONDITION;
    case WRITER_TIMED_OUT:
        return THOLE_TIMED_OUT;
    }
    ASSERT(false);
    return THOLE_NONE;
}

void thole_session(const struct thole *client, struct thole_session *session)
{
    *session = (struct thole_session){
        .id = writer_session(client->writer),
        .next = writer_next_sequence(client->writer),
        .epoch = writer_epoch(client->writer),
        .stopped = stopped_of(writer_state(client->writer)),
    };
}

static bool connect_finished(const struct thole *client, uint64_t told_before)
{
    (void)told_before;
    return writer_state(client->writer) == WRITER_OPEN || writer_is_stopped(client->writer);
}

int thole_connect(struct thole *client, int timeout_ms)
{
    if (client->inside) {
        return thole_fail(client, -EBUSY, "thole_connect() within a callback");
    }
    if (writer_state(client->writer) == WRITER_IDLE) {
        writer_open(client->writer, clock_now_ns());
    }
    int result = thole_run(client, connect_finished, timeout_ms);
    if (result == 0 && writer_is_stopped(client->writer)) {
        return fail_stopped(client);
    }
    if (result == -ETIMEDOUT) {
        struct silence silence = {
            .waited_ns = (uint64_t)timeout_ms * THOLE_NS_PER_MS,
            .stranger = writer_stranger(client->writer),
            .heard = writer_heard(client->writer),
        };
        silence_tell(&client->config, client->path[0] == '\0' ? NULL : client->path, &silence,
                     &client->fault);
    }
    return result;
}

int thole_set_first(struct thole *client, uint64_t sequence)
{
    if (sequence == 0) {
        return thole_fail(client, -EINVAL, "sequences begin at 1");
    }
    if (writer_state(client->writer) != WRITER_IDLE) {
        return thole_fail(client, -EBUSY, "the session is open already, or being opened");
    }
    writer_set_first(client->writer, sequence);
    return 0;
}

int thole_reopen(struct thole *client)
{
    if (client->done_head != writer_taken(client->writer)) {
        return thole_fail(client, -EBUSY,
                          "outcomes are not told or not taken: thole_flush(), thole_next()");
    }
    writer_reopen(client->writer, thole_random());
    return 0;
}

/* ---- Words ---- */

const char *thole_error_text(const struct thole *client)
{
    return client->fault.text;
}

const char *thole_outcome_name(enum thole_outcome outcome)
{
    switch (outcome) {
    case THOLE_COMMITTED:
        return "committed";
    case THOLE_REFUSED:
        return "refused";
    case THOLE_UNKNOWN:
        return "unknown";
    }
    return "?";
}

const char *thole_reason_name(enum thole_reason reason)
{
    switch (reason) {
    case THOLE_NONE:
        return "none";
    case THOLE_TIMED_OUT:
        return "its time was over";
    case THOLE_CONDITION:
        return "the expected offset was not the end of the log";
    case THOLE_FENCED:
        return "another client has opened the session";
    case THOLE_EXPIRED:
        return "the session has expired";
    case THOLE_FULL:
        return "the log is full";
    case THOLE_GAP:
        return "records before it are missing in the session";
    }
    return "?";
}

const char *thole_role_name(enum thole_role role)
{
    switch (role) {
    case THOLE_FOLLOWER:
        return "follower";
    case THOLE_CANDIDATE:
        return "candidate";
    case THOLE_LEADER:
        return "leader";
    case THOLE_LEARNER:
        return "learner";
    }
    return "?";
}
