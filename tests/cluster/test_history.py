"""The checker of histories: it passes what is right, and names what was planted."""
import os
import sys
import tempfile
import unittest

import cluster
import history
from history import FOREVER, OK, REFUSED, UNKNOWN, Append, History, Read


def appended(name, invoked, returned, offset=None, session=None, sequence=1):
    """An append: acknowledged at an offset, unknown (returned FOREVER) or refused."""
    one = Append(session or name, sequence, name.encode(), invoked)
    if offset is not None:
        one.acknowledge(offset, returned)
    elif returned != FOREVER:
        one.refuse(returned)
    return one


def made(appends, reads=()):
    one = History()
    one.appends = list(appends)
    one.reads = list(reads)
    return one


def read(invoked, returned, first, names, bound=None, reached=0, linearizable=True):
    payloads = [name.encode() for name in names]
    if bound is None and payloads:
        bound = first + len(payloads)
    return Read(invoked, returned, first, payloads, bound, reached, linearizable)


class Planted(unittest.TestCase):
    """One history for each kind of violation, and its right neighbour."""

    def assert_kinds(self, kinds, one, log, start=0):
        found = history.check(one, start, [name.encode() for name in log])
        self.assertEqual([kind for kind, _ in found], kinds, found)

    def test_appends_one_after_another_are_right(self):
        self.assert_kinds([], made([appended("a", 0, 1, 0), appended("b", 2, 3, 1)]), "ab")

    def test_appends_at_once_may_stand_in_any_order(self):
        for log in "ab", "ba":
            one = made([appended(name, 0, 9, log.index(name)) for name in "ab"])
            self.assert_kinds([], one, log)

    def test_appends_that_overtook_an_earlier_one_are_found(self):
        one = made([appended("a", 0, 1, 1), appended("b", 2, 3, 0)])
        self.assert_kinds(["reordered"], one, "ba")

    def test_an_overtaking_is_found_over_others_between(self):
        one = made([appended("a", 0, 3, 2), appended("b", 1, 9, 1), appended("c", 4, 9, 0)])
        self.assert_kinds(["reordered"], one, "cba")

    def test_a_lost_append_is_found(self):
        one = made([appended("a", 0, 1, 0), appended("b", 2, 3, 1)])
        self.assert_kinds(["lost"], one, "a")
        self.assert_kinds(["lost", "two offsets"], one, "b")

    def test_a_doubled_append_is_found(self):
        self.assert_kinds(["twice"], made([appended("a", 0, 1, 0)]), "aa")

    def test_an_append_with_two_offsets_is_found(self):
        one = made([appended("a", 0, 9, 0), appended("b", 0, 9, 1)])
        self.assert_kinds(["two offsets"] * 2, one, "ba")
        one = appended("a", 0, 1, 0)
        one.acknowledge(1, 2)
        self.assert_kinds(["two offsets"] * 2, made([one]), "a")

    def test_a_refused_append_in_the_log_is_found(self):
        one = made([appended("a", 0, 1)])
        self.assert_kinds([], one, "")
        self.assert_kinds(["refused"], one, "a")

    def test_an_unknown_append_stands_nowhere_or_once(self):
        one = made([appended("a", 0, FOREVER), appended("b", 5, 6, 0)])
        self.assert_kinds([], one, "b")
        self.assert_kinds([], made([appended("a", 0, FOREVER), appended("b", 5, 6, 1)]), "ab")
        self.assert_kinds([], one, "ba")
        self.assert_kinds(["twice"], one, "baa")

    def test_an_unknown_append_before_its_invocation_is_found(self):
        one = made([appended("a", 7, FOREVER), appended("b", 5, 6, 1)])
        self.assert_kinds(["reordered"], one, "ab")

    def test_a_record_that_nobody_sent_is_found(self):
        self.assert_kinds(["invented"], made([appended("a", 0, 1, 0)]), "ax")

    def test_a_stale_read_is_found(self):
        appends = [appended("a", 0, 1, 0), appended("b", 2, 3, 1)]
        self.assert_kinds([], made(appends, [read(4, 5, 0, "ab")]), "ab")
        self.assert_kinds(["stale read"], made(appends, [read(4, 5, 0, "a")]), "ab")
        self.assert_kinds([], made(appends, [read(3, 5, 0, "a")]), "ab")
        self.assert_kinds(["stale read"], made(appends, [read(4, 5, 1, "", bound=1)]), "ab")
        self.assert_kinds([], made(appends, [read(4, 5, 0, "a", linearizable=False)]), "ab")

    def test_a_read_older_than_an_earlier_read_is_found(self):
        appends = [appended("a", 0, 9, 0), appended("b", 0, 9, 1)]
        reads = [read(1, 2, 0, "ab"), read(3, 4, 0, "a")]
        self.assert_kinds(["stale read"], made(appends, reads), "ab")
        reads[0].returned = 3  # Now they overlap.
        self.assert_kinds([], made(appends, reads), "ab")

    def test_a_read_between_two_reads_of_one_append_is_found_whatever_it_knows(self):
        appends = [appended("a", 0, 9, 0)]
        self.assert_kinds(["stale read"], made(appends, [
            read(1, 2, 0, "", reached=1), read(3, 4, 0, "", bound=0)]), "a")

    def test_a_read_of_what_was_not_yet_sent_is_found(self):
        for linearizable in True, False:
            one = made([appended("a", 3, 4, 0)], [read(1, 2, 0, "a", linearizable=linearizable)])
            self.assert_kinds(["read before its append"], one, "a")

    def test_a_read_of_other_bytes_is_found(self):
        one = made([appended("a", 0, 1, 0), appended("b", 0, 9)], [read(2, 3, 0, "b")])
        self.assert_kinds(["wrong content"], one, "a")

    def test_a_read_of_what_was_lost_later_is_found(self):
        one = made([appended("a", 0, 1, 0), appended("b", 2, FOREVER)], [read(3, 4, 0, "ab")])
        self.assert_kinds(["lost"], one, "a")

    def test_a_session_out_of_order_is_found(self):
        one = made([appended("a", 0, 9, 1, "s", 1), appended("b", 0, 9, 0, "s", 2)])
        self.assert_kinds(["session order"], one, "ba")

    def test_a_session_with_a_hole_is_found(self):
        appends = [appended("b", 0, 9, 0, "s", 2)]
        unknown = appended("a", 0, FOREVER, None, "s", 1)
        self.assert_kinds(["session gap"], made([unknown] + appends), "b")
        self.assert_kinds([], made([appended("a", 0, 1, None, "s", 1)] + appends), "b")

    def test_a_trimmed_beginning_is_known_by_answers_and_reads(self):
        appends = [appended("a", 0, 1, 0), appended("b", 2, 3, 1), appended("c", 4, 5, 2)]
        self.assert_kinds([], made(appends), "c", start=2)
        self.assert_kinds([], made(appends, [read(4, 5, 0, "ab")]), "c", start=2)
        self.assert_kinds(["wrong content"], made(appends, [read(4, 5, 0, "ba")]), "c", start=2)
        self.assert_kinds(["stale read"], made(appends, [read(4, 5, 0, "a")]), "c", start=2)
        one = made([appended("a", 0, 1, 0), appended("b", 2, 3, 0)])
        self.assert_kinds(["one offset"], one, "", start=2)

    def test_a_saved_history_is_checked_alike(self):
        one = made([appended("\xff", 0, 1, 0), appended("b", 2, FOREVER), appended("c", 2, 3)],
                   [read(4, 5, 0, "a")])
        log = ["\xff".encode(), b"c"]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "history")
            one.save(path, 0, log)
            self.assertEqual(history.check(*history.load(path)), history.check(one, 0, log))


def is_linearizable(one, log):
    """The definition itself: try every order. `log` is a read that begins after all else."""
    operations = [append for append in one.appends
                  if append.fate != UNKNOWN or append.payload in log]
    operations += one.reads
    operations.append(Read(1000, 1001, 0, log, len(log), len(log), True))
    if any(append.fate == REFUSED and append.payload in log for append in one.appends):
        return False
    seen = set()

    def search(done, state):
        if len(done) == len(operations):
            return True
        if done in seen:  # The same operations in another order gave another state: see below.
            return False
        left = [i for i in range(len(operations)) if i not in done]
        limit = min(operations[i].returned for i in left)
        for i in left:
            operation = operations[i]
            if operation.invoked <= limit:
                after = apply(operation, state)
                if after is not None and search(done | {i}, after):
                    return True
        seen.add(done)
        return False

    def apply(operation, state):
        if isinstance(operation, Append):
            if operation.fate == REFUSED:
                return state
            right = log[len(state):len(state) + 1] == [operation.payload]
            right = right and operation.fate in (UNKNOWN, OK)
            right = right and operation.offset in (None, len(state))
            return state + [operation.payload] if right else None
        end = operation.first + len(operation.payloads)
        right = state[operation.first:end] == operation.payloads
        right = right and len(state) >= operation.reached
        right = right and (operation.bound is None or len(state) <= operation.bound)
        return state if right else None

    # The last read pins the final log, so a state is right only as a prefix of it: it is given by
    # how many of the appends are done, and pruning by `done` alone loses nothing.
    return search(frozenset(), [])


def random_history(rng):
    """A small one: points in time for every operation, calls around them, and then, mostly, a
    fault or two."""
    names = [chr(ord("a") + i) for i in range(rng.randrange(1, 5))]
    count = len(names) + rng.randrange(0, 4)
    points = [4 * i + 10 for i in range(count)]
    rng.shuffle(names)
    slots = names + [None] * (count - len(names))
    rng.shuffle(slots)
    log = []
    one = History()
    for point, name in zip(points, slots):
        invoked = point - rng.randrange(0, 10)
        returned = point + rng.randrange(0, 10)
        if name is not None:
            fate = rng.randrange(8)
            if fate == 0:
                one.appends.append(appended(name, invoked, FOREVER))
            elif fate == 1:
                one.appends.append(appended(name, invoked, returned))
                continue
            else:
                one.appends.append(appended(name, invoked, returned, len(log)))
            log.append(name.encode())
        else:
            first = rng.randrange(0, len(log) + 1)
            bound = rng.choice([None, len(log), len(log) + 1])
            payloads = log[first:rng.randrange(first, len(log) + 1)]
            reached = rng.randrange(0, len(log) + 1)
            one.reads.append(Read(invoked, returned, first, payloads, bound, reached, True))
    for _ in range(rng.randrange(0, 3)):
        operation = rng.choice(one.appends + one.reads)
        shift = rng.randrange(-12, 13)
        operation.invoked += shift
        operation.returned += shift
    if rng.randrange(4) == 0 and len(log) > 1:
        i = rng.randrange(1, len(log))
        log[i - 1], log[i] = log[i], log[i - 1]
    if rng.randrange(8) == 0 and log:
        log.pop(rng.randrange(len(log)))
    return one, log


class Definition(unittest.TestCase):
    def test_its_verdict_is_that_of_trying_every_order(self):
        rng = cluster.rng(self)
        verdicts = {True: 0, False: 0}
        for turn in range(6000):
            one, log = random_history(rng)
            right = is_linearizable(one, log)
            verdicts[right] += 1
            found = history.check(one, 0, log)
            self.assertEqual(not found, right, f"turn {turn}: {found}\n"
                             + "\n".join(map(str, one.appends + one.reads)) + f"\n{log}")
        print(f"linearizable: {verdicts[True]}, not: {verdicts[False]}", flush=True)
        self.assertGreater(min(verdicts.values()), 1000)

    def test_a_long_history_is_checked_in_linear_time(self):
        """Twice as many operations take about twice as long, and not four times."""
        steps = []
        for count in 2000, 4000:
            one = History()
            for i in range(count):
                one.appends.append(appended(str(i), i, i + 500, i))
                one.reads.append(Read(i + 250, i + 600, i, [str(i).encode()], i + 1, 0, False))
            counter = Counter()
            log = [append.payload for append in one.appends]
            self.assertEqual(counter.run(lambda h=one, p=log: history.check(h, 0, p)), [])
            steps.append(counter.lines)
        print(f"lines executed: {steps}", flush=True)
        self.assertLess(steps[1], 2.2 * steps[0])


class Counter:
    """Counts the lines of Python that a call executes: work, without a clock."""

    def __init__(self):
        self.lines = 0

    def trace(self, _frame, event, _argument):
        self.lines += event == "line"
        return self.trace

    def run(self, call):
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            return call()
        finally:
            sys.settrace(before)


if __name__ == "__main__":
    cluster.main()
