#!/usr/bin/env python3
"""What clients did and were told, and a check in linear time that it is linearizable.

Usage: tests/cluster/history.py FILE...     check saved histories; exit 1 on a violation

The object is one log. append(payload) puts a record at its end and returns the record's offset, the
number of records before it. read() returns the log, or a part of it and where it ends. Whether a
history of such operations is linearizable is hard in general; here it is not, because every payload
is unique and every acknowledged append names its offset. The argument:

1. *The order of the appends is known.* The log, read whole after the run, says which record stands
   at which offset. In every linearization the appends that took effect stand in the order of
   their offsets, since an append's offset is the number of those before it. An append of unknown
   fate took effect when its record is in the log, and then it has an offset like the others; when
   it is not, it stands nowhere (at most it takes effect after all we saw). A refused one must not
   be in the log.
2. *So contents are compared directly*: each record in the log was sent, once, and stands there
   once; an acknowledged one stands at its offset; a read's records are those of the log. What
   fails here is named: lost, twice, two offsets, wrong content, refused, invented.
3. *What remains is time.* A linearization is a point t[k] for the append at each offset k, with
   t[0] <= t[1] <= ..., within its call: invoked[k] <= t[k] <= returned[k] (unknown: no end), and a
   point for each read within its own call: behind t[E-1] and before t[E] when it saw the log end
   at E. (Equal points are no matter, their order is given.) The read's point r exists if and only
   if t[E-1] <= its return, and its invocation <= t[E]: r has to be at least its invocation and
   t[E-1], at most its return and t[E], and of these four pairs two hold anyway. So a read is no
   more than a tighter end of append E-1 and a tighter beginning of append E:
       begin[k] = max(invoked[k], invocations of the reads that saw nothing at k)
       end[k]   = min(returned[k], returns of the reads that saw k)
   A read that knows only bounds of E (at least so many; or no more than so many) tightens one of
   the two, or each at its own k, by the same argument: its two demands do not touch each other,
   as t grows with k.
4. *Points t[k] within [begin[k], end[k]] that never fall exist if and only if, for every k, no
   begin[j] with j <= k is larger than end[k].* Necessary: begin[j] <= t[j] <= t[k] <= end[k].
   Sufficient: t[k] = max(begin[0..k]) never falls, is at least begin[k] and at most end[k].
   So one sweep with a running maximum decides. When it fails, the two operations that
   contradict each other are known: one had returned before the other was invoked.

A read that is not linearizable (from a replica, maybe old) sets no beginning: it must only show a
prefix of the log, and nothing before it was appended. Sessions ask for more than linearizability,
and it is checked apart: a session's records stand in the order of their sequence numbers, and none
of them is there while an earlier one, which was not refused, is missing.

Times are of one monotonic clock; an invocation is taken before anything is sent and a return after
all is received, which can only hide a violation and never make one.
"""
import json
import sys

OK = "ok"            # It is in the log at `offset`.
UNKNOWN = "unknown"  # It may be in the log, once.
REFUSED = "refused"  # It is not in the log, and never will be.

FOREVER = float("inf")


class Append:
    """One append. `offset` is the one acknowledged last; `offsets` all that ever were."""

    __slots__ = "session", "sequence", "payload", "invoked", "returned", "fate", "offset", "offsets"

    def __init__(self, session, sequence, payload, invoked):
        self.session = session
        self.sequence = sequence
        self.payload = payload
        self.invoked = invoked
        self.returned = FOREVER
        self.fate = UNKNOWN
        self.offset = None
        self.offsets = []

    def acknowledge(self, offset, now):
        """It is in the log there. Only the first acknowledgement ends the call: a later one repeats
        what is known, and must name the same offset."""
        if self.fate != OK:
            self.returned = now
        self.fate = OK
        self.offset = offset
        if offset not in self.offsets:
            self.offsets.append(offset)

    def refuse(self, now):
        self.fate = REFUSED
        self.returned = now

    def __str__(self):
        shown = self.payload[:24] + (b"..." if len(self.payload) > 24 else b"")
        return (f"append {self.session}.{self.sequence} {shown!r} "
                f"[{self.invoked}, {self.returned}] {self.fate} {self.offset}")


class Read:
    """One read that was answered: records from `first` on.

    The log then had at least `reached` records and, where that is told, at most `bound`.
    """

    __slots__ = "first", "payloads", "reached", "bound", "linearizable", "invoked", "returned"

    def __init__(self, invoked, returned, first, payloads, bound=None, reached=0,
                 linearizable=False):
        self.invoked = invoked
        self.returned = returned
        self.first = first
        self.payloads = list(payloads)
        self.bound = bound
        self.reached = max(reached, first + len(self.payloads) if self.payloads else 0)
        self.linearizable = linearizable

    def __str__(self):
        kind = "linearizable read" if self.linearizable else "read"
        return (f"{kind} of {len(self.payloads)} from {self.first} on, at least {self.reached}, "
                f"at most {self.bound} [{self.invoked}, {self.returned}]")


class History:
    """Appends and reads: of one client, while its thread adds to them; merged, of all."""

    def __init__(self):
        self.appends = []
        self.reads = []

    def merge(self, other):
        self.appends += other.appends
        self.reads += other.reads

    def acknowledged(self):
        return [append for append in self.appends if append.fate == OK]

    def save(self, path, start, payloads):
        """As lines of JSON, with the log as it was read at the end."""
        with open(path, "w", encoding="ascii") as out:
            for one in self.appends:
                out.write(json.dumps({
                    "append": text(one.payload), "session": one.session, "sequence": one.sequence,
                    "invoked": one.invoked, "fate": one.fate, "offsets": one.offsets,
                    "returned": None if one.returned == FOREVER else one.returned}) + "\n")
            for one in self.reads:
                out.write(json.dumps({
                    "read": [text(payload) for payload in one.payloads], "first": one.first,
                    "reached": one.reached, "bound": one.bound, "linearizable": one.linearizable,
                    "invoked": one.invoked, "returned": one.returned}) + "\n")
            out.write(json.dumps({"log": [text(p) for p in payloads], "start": start}) + "\n")


def text(payload):
    return payload.decode("latin-1")


def load(path):
    """What save() wrote: (history, start, payloads)."""
    history = History()
    start, payloads = 0, []
    with open(path, encoding="ascii") as lines:
        for line in lines:
            found = json.loads(line)
            if "append" in found:
                one = Append(found["session"], found["sequence"],
                             found["append"].encode("latin-1"), found["invoked"])
                one.fate = found["fate"]
                one.offsets = found["offsets"]
                one.offset = one.offsets[-1] if one.offsets else None
                one.returned = FOREVER if found["returned"] is None else found["returned"]
                history.appends.append(one)
            elif "read" in found:
                history.reads.append(Read(
                    found["invoked"], found["returned"], found["first"],
                    [payload.encode("latin-1") for payload in found["read"]], found["bound"],
                    found["reached"], found["linearizable"]))
            else:
                start = found["start"]
                payloads = [payload.encode("latin-1") for payload in found["log"]]
    return history, start, payloads


class Check:
    """The check of one history against the log: payloads from offset `start` on (what is below was
    trimmed). `violations` are (kind, text), empty when all is well."""

    def __init__(self, history, start, payloads):
        self.history = history
        self.start = start
        self.payloads = payloads
        self.end = start + len(payloads)
        self.violations = []
        self.by_payload = {}
        for append in history.appends:
            assert append.payload not in self.by_payload, f"sent twice by the test: {append}"
            self.by_payload[append.payload] = append
        self.owners = {}  # By offset, the append that stands there.
        self.offsets = {}  # By payload, where it stands.
        self.find_owners()
        self.check_appends()
        self.check_reads()
        self.check_sessions()
        self.check_time()

    def add(self, kind, words):
        self.violations.append((kind, words))

    def find_owners(self):
        for offset, payload in enumerate(self.payloads, self.start):
            append = self.by_payload.get(payload)
            if append is None:
                self.add("invented", f"nobody sent what stands at {offset}: {payload[:60]!r}")
            elif payload in self.offsets:
                self.add("twice", f"{append} stands at {self.offsets[payload]} and at {offset}")
            else:
                self.offsets[payload] = offset
                self.owners[offset] = append
        for append in self.history.acknowledged():  # What was trimmed is known by its answer.
            if append.offset < self.start and append.payload not in self.offsets:
                self.offsets[append.payload] = append.offset
                other = self.owners.setdefault(append.offset, append)
                if other is not append:
                    self.add("one offset", f"{append} and {other} have the same")

    def check_appends(self):
        for append in self.history.appends:
            there = self.offsets.get(append.payload)
            if len(append.offsets) > 1:
                self.add("two offsets", f"{append} was acknowledged at {append.offsets}")
            if append.fate == REFUSED and there is not None:
                self.add("refused", f"{append} stands at {there}")
            elif append.fate == OK and there is None:
                at = self.payloads[append.offset - self.start][:60] \
                    if self.start <= append.offset < self.end else "nothing"
                self.add("lost", f"{append} is nowhere; at its offset: {at!r}")
            elif append.fate == OK and there != append.offset:
                self.add("two offsets", f"{append} stands at {there}")

    def check_reads(self):
        for read in self.history.reads:
            if read.reached > self.end:
                self.add("lost", f"{read}, and at last the log ends at {self.end}")
            for offset, payload in enumerate(read.payloads, read.first):
                if self.start <= offset < self.end:
                    right = self.payloads[offset - self.start] == payload
                else:
                    right = offset >= self.end or self.owner_below_start(offset, payload)
                if not right:
                    self.add("wrong content", f"{read} had {payload[:60]!r} at {offset}")
                    break

    def owner_below_start(self, offset, payload):
        """Whether a read's record may have stood at this trimmed offset; from now on it did."""
        append = self.by_payload.get(payload)
        if append is None or self.offsets.setdefault(payload, offset) != offset:
            return False
        return self.owners.setdefault(offset, append) is append and append.fate != REFUSED

    def check_sessions(self):
        sessions = {}
        for append in self.history.appends:
            sessions.setdefault(append.session, []).append(append)
        for appends in sessions.values():
            appends.sort(key=lambda append: append.sequence)
            before = None  # The last one of the session whose place is known.
            missing = None
            for append in appends:
                offset = self.offsets.get(append.payload)
                if offset is None:
                    if append.fate == UNKNOWN and missing is None:
                        missing = append  # Without an offset and not trimmed: not in the log.
                    continue
                if before is not None and offset < self.offsets[before.payload]:
                    self.add("session order", f"{before} stands at "
                             f"{self.offsets[before.payload]}, behind {append} at {offset}")
                if missing is not None and self.start == 0:
                    self.add("session gap", f"{append} stands at {offset}, {missing} nowhere")
                    missing = None
                before = append

    def check_time(self):
        """The sweep: step 4 of the argument above."""
        begins = {}  # By offset, the read that forbids an earlier point.
        ends = {}
        for read in self.history.reads:
            if read.linearizable and read.bound is not None:
                known = begins.get(read.bound)
                if known is None or known.invoked < read.invoked:
                    begins[read.bound] = read
            if read.reached > 0:
                known = ends.get(read.reached - 1)
                if known is None or known.returned > read.returned:
                    ends[read.reached - 1] = read
        latest = None  # Of the operations that bound points from below, the one invoked last.
        for offset in sorted(self.owners.keys() | begins.keys() | ends.keys()):
            append = self.owners.get(offset)
            for one in (append, begins.get(offset)):
                if one is not None and (latest is None or one.invoked > latest.invoked):
                    latest = one
            for one in (append, ends.get(offset)):
                if one is not None and latest is not None and latest.invoked > one.returned:
                    self.add(*self.contradiction(offset, one, latest))

    @staticmethod
    def contradiction(offset, early, late):
        """`early` demands that offset was in the log when it returned, `late`, invoked after that,
        that offset or one below it was not there before."""
        names = {(Append, Append): "reordered", (Append, Read): "stale read",
                 (Read, Append): "read before its append", (Read, Read): "stale read"}
        return (names[type(early), type(late)],
                f"offset {offset} was in the log for {early}, but not yet for {late}")


def check(history, start, payloads):
    """The violations of a history, as (kind, text)."""
    return Check(history, start, payloads).violations


def main():
    failed = False
    for path in sys.argv[1:]:
        history, start, payloads = load(path)
        found = check(history, start, payloads)
        print(f"{path}: {len(history.appends)} appends, {len(history.reads)} reads, "
              f"{len(payloads)} records: {len(found)} violations")
        for kind, words in found:
            print(f"  {kind}: {words}")
        failed = failed or bool(found)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
