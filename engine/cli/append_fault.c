/* append_fault.c: see append_fault.h. */
#include "engine/cli/append_fault.h"

#include "engine/base/units.h"

#include <inttypes.h>
#include <stdio.h>

const char *append_where(const struct append_view *view, char *text)
{
    uint64_t line = view->acked + 1;
    char before[64] = "";
    if (view->acked == 1) {
        (void)snprintf(before, sizeof before, "line 1 is in the log, ");
    } else if (view->acked > 1) {
        (void)snprintf(before, sizeof before, "lines 1 to %" PRIu64 " are in the log, ",
                       view->acked);
    }
    const char *log = view->acked == 0 ? " in the log" : "";
    if (view->doubted < line) {
        (void)snprintf(text, APPEND_WHERE_BYTES, "%sline %" PRIu64 " and those after it are not%s",
                       before, line, log);
    } else if (view->doubted == line) {
        (void)snprintf(text, APPEND_WHERE_BYTES,
                       "%sline %" PRIu64 " may be%s, those after it are not", before, line, log);
    } else {
        (void)snprintf(text, APPEND_WHERE_BYTES,
                       "%slines %" PRIu64 " to %" PRIu64 " may be%s, those after them are not",
                       before, line, view->doubted, log);
    }
    return text;
}

const char *append_advice(const struct append_view *view, char *text)
{
    if (view->session == NULL) {
        (void)snprintf(
            text, APPEND_ADVICE_BYTES,
            "Look at its end with `thole tail -c %.80s`; with --session NAME, lines that "
            "are repeated are not doubled",
            view->connect->path);
    } else if (view->first == 0) {
        (void)snprintf(text, APPEND_ADVICE_BYTES, "Run it again with the same lines");
    } else {
        (void)snprintf(text, APPEND_ADVICE_BYTES,
                       "Run it again with the same lines and --session %s --first %" PRIu64
                       ": what is in the log is not doubled",
                       view->session, view->first);
    }
    return text;
}

static void tell_condition(const struct append_view *view,
                           const struct writer_outcome *outcome,
                           const char *where,
                           struct fault *fault)
{
    uint64_t line = outcome->first_number + 1;
    if (view->expects) {
        fault_set(fault, FAULT_FAILED,
                  "line %" PRIu64 " was refused: it expected offset %" PRIu64
                  ", and the log ended at %" PRIu64 "; %s",
                  line, view->expected + outcome->first_number, outcome->detail, where);
    } else {
        fault_set(fault, FAULT_FAILED,
                  "line %" PRIu64 " was refused: its number %" PRIu64
                  " once failed its --expect, and stays refused; %s. Go on with a later --first",
                  line, outcome->first_sequence, where);
    }
}

/* No time is left. */
static void tell_timeout(const struct append_view *view, const char *where, struct fault *fault)
{
    char waited[UNITS_TEXT_BYTES];
    char advice[APPEND_ADVICE_BYTES];
    if (view->doubted > view->acked) {
        units_format_duration(view->timeout_ns, waited);
        fault_set(fault, FAULT_UNAVAILABLE, "not answered within %s: %s. %s", waited, where,
                  append_advice(view, advice));
        return;
    }
    struct fault why = {0};
    struct connect_silence silence = {
        .waited_ns = view->timeout_ns,
        .stranger = writer_stranger(view->writer),
        .heard = writer_heard(view->writer),
    };
    connect_unavailable(view->connect, &silence, &why);
    fault_set(fault, why.code, "%s: %s", where, why.text);
}

void append_fault(const struct append_view *view,
                  const struct writer_outcome *outcome,
                  struct fault *fault)
{
    char where[APPEND_WHERE_BYTES];
    char advice[APPEND_ADVICE_BYTES];
    const char *session = view->session == NULL ? "without a name" : view->session;
    uint64_t line = outcome->first_number + 1;
    append_where(view, where);
    append_advice(view, advice);
    switch (outcome->status) {
    case WIRE_OK:
        tell_timeout(view, where, fault);
        return;
    case WIRE_FULL:
        fault_set(fault, FAULT_FAILED,
                  "line %" PRIu64 " was refused: the log of a voter is full; %s. Make room: set "
                  "`retention` in [storage], so that old records are trimmed",
                  line, where);
        return;
    case WIRE_CONDITION:
        tell_condition(view, outcome, where, fault);
        return;
    case WIRE_GAP:
        fault_set(fault, FAULT_FAILED,
                  "--first leaves out numbers: session %s expects %" PRIu64 " next; %s", session,
                  outcome->detail, where);
        return;
    case WIRE_FENCED:
        fault_set(fault, FAULT_FAILED,
                  "line %" PRIu64 " was refused: another writer has opened session %s; %s. %s, "
                  "when the other one has ended",
                  line, session, where, advice);
        return;
    case WIRE_NO_SESSION:
        fault_set(fault, FAULT_FAILED,
                  "line %" PRIu64 " was refused: session %s is gone, for the cluster keeps %u; %s. "
                  "Look at its end with `thole tail -c %.80s`",
                  line, session, SESSIONS_MAX, where, view->connect->path);
        return;
    case WIRE_BUSY:
    case WIRE_NOT_LEADER:
    case WIRE_TRIMMED:
    case WIRE_FORGOTTEN:
    case WIRE_STATUS_COUNT:
        break;
    }
    ASSERT(false); /* A writer goes on after these. */
}
