"""Concurrent clients that append and read through the programs while things go wrong, and record
what they asked and were told (tests/cluster/history.py)."""
import base64
import json
import re
import threading
import time
from subprocess import DEVNULL, PIPE

import cluster
import history

TIMEOUT = "1s"  # Of an append without an acknowledgement.
LINES_UNDER_WAY_MAX = 64
STOP_NS = 30 * 10**9  # Longest wait for what is under way at the end.
READ_BACK = 8  # A read begins so many records before the end that its client knows.


def now():
    return time.monotonic_ns()


def parse_record(line):
    """(offset, bytes) of a line of `thole read --json`."""
    found = json.loads(line)
    if "data" in found:
        return found["offset"], found["data"].encode()
    return found["offset"], base64.b64decode(found["data_base64"], validate=True)


class Stream:
    """One process of `thole append`: lines go in, acknowledgements come out in their order."""

    def __init__(self, client, first):
        session = ["--session", client.name, "--first", str(first)] if client.named else []
        self.client = client
        self.appends = []  # Of the lines written, in their order.
        self.acked = 0
        self.process = client.place.popen(
            cluster.THOLE, "append", "-c", client.path, "--timeout", TIMEOUT, "--json", *session,
            stdin=PIPE, stdout=PIPE, stderr=PIPE)
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.collect)
        self.thread.start()

    def collect(self):
        for line in self.process.stdout:
            if not line.endswith(b"\n"):
                break  # It was killed in the middle.
            self.appends[self.acked].acknowledge(json.loads(line)["offset"], now())
            with self.changed:
                self.acked += 1
                self.changed.notify()

    def put(self, appends):
        """Write lines; False when nobody reads them any more."""
        self.appends += appends
        try:
            self.process.stdin.write(b"".join(append.payload + b"\n" for append in appends))
            self.process.stdin.flush()
            return True
        except BrokenPipeError:
            return False

    def wait_room(self):
        """Until few enough lines are under way; False when the process has ended."""
        with self.changed:
            while len(self.appends) - self.acked > LINES_UNDER_WAY_MAX and self.thread.is_alive():
                self.changed.wait(0.1)
        return self.thread.is_alive()

    def end(self):
        """Close stdin and wait; returns the lines that were not acknowledged."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.thread.join()
        said = self.process.stderr.read().decode()
        self.process.stderr.close()
        self.process.stdout.close()
        code = self.process.wait()
        left = self.appends[self.acked:]
        if code == 0 and not left:
            return []
        if code not in (4, -9):
            raise AssertionError(f"{self.client.name}: append exits {code}: {said}")
        if code == 4:
            in_doubt = self.read_doubt(said)
            if not self.client.named:  # With a name they will be sent again.
                for append in left[in_doubt:]:
                    append.refuse(now())
        return left

    def read_doubt(self, said):
        """How many of the lines that are not acknowledged may be in the log, by its own word."""
        known = f"lines 1 to {self.acked} are in the log, " if self.acked > 1 else \
            "line 1 is in the log, " if self.acked == 1 else ""
        told = re.search(known + r"lines? (\d+)(?: to (\d+)| and those after it)? (may be|are not)",
                         said)
        if not told or int(told[1]) != self.acked + 1:
            raise AssertionError(f"{self.acked} lines were acknowledged: {said}")
        return int(told[2] or told[1]) - self.acked if told[3] == "may be" else 0


class Client:
    """Two threads: one appends, bursts of lines with pauses; one reads what is new.

    Its processes die and give up. With a session of its name the next one sends again what was not
    acknowledged, under the same numbers, so that every line is in the log in the end. Without one,
    each has a session of its own, and what it leaves in doubt is in the log once or not at all.
    """

    def __init__(self, load, name, named, place, random):
        self.load = load
        self.name = name
        self.named = named
        self.place = place
        self.path = load.made.path
        self.random = random
        self.history = history.History()
        self.reads = history.History()  # Of the other thread.
        self.reads_failed = 0
        self.streams = 0
        self.stream = None
        self.sequence = 0
        self.failure = None
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.guard, args=[work])
                        for work in (self.append, self.read)]

    @property
    def session(self):
        """Whose order the next line takes part in."""
        return self.name if self.named else f"{self.name}/{self.streams}"

    def guard(self, work):
        try:
            work()
        except Exception as error:  # To be told by the test's own thread.
            self.failure = self.failure or error
            self.stopped.set()

    def append(self):
        again = []
        while not self.stopped.is_set() or (again and now() < self.load.give_up):
            left = self.run_stream(again)
            again = left if self.named else []

    def run_stream(self, again):
        """Append through one process until it ends; what it leaves unacknowledged."""
        self.streams += 1
        first = again[0].sequence if again else self.sequence + 1
        self.stream = Stream(self, first)
        going = not again or self.stream.put(again)
        while going and not self.stopped.is_set():
            made = [self.new_append() for _ in range(self.random.randrange(1, 17))]
            self.history.appends += made
            going = self.stream.put(made) and self.stream.wait_room()
            self.stopped.wait(self.random.choice([0, self.random.uniform(0, 0.04)]))
        return self.stream.end()

    def new_append(self):
        self.sequence += 1
        words = f"{self.session} {self.sequence} ".encode()
        filler = b"x" * self.random.choice([0, 10, 100, 300])
        return history.Append(self.session, self.sequence, words + filler, now())

    def read(self):
        end = 0
        while not self.stopped.is_set():
            more = []
            if self.random.randrange(4) == 0:  # From any node, up to the end that the leader names.
                more = ["--node", str(self.random.choice(self.load.made.nodes).number)]
            one = self.read_once(max(0, end - READ_BACK), *more,
                                 linearizable=self.random.randrange(8) > 0)
            if one is None:
                self.reads_failed += 1
                continue
            self.reads.reads.append(one)
            end = max(end, one.reached)
            self.stopped.wait(self.random.uniform(0.01, 0.1))

    def read_once(self, first, *more, linearizable=True):
        """A read by a process of its own; None when it was not answered."""
        if linearizable:
            more = [*more, "--linearizable"]
        invoked = now()
        done = self.place.run(
            cluster.THOLE, "read", "-c", self.path, "--json", "--from", str(first), *more,
            stdin=DEVNULL, capture_output=True)
        returned = now()
        if done.returncode == 4:
            return None
        records = [parse_record(line) for line in done.stdout.splitlines()]
        if (done.returncode != 0
                or [offset for offset, _ in records] != list(range(first, first + len(records)))):
            raise AssertionError(f"{self.name}: read from {first} on exits {done.returncode}: "
                                 f"{done.stderr} {records}")
        return history.Read(invoked, returned, first, [payload for _, payload in records],
                            first + len(records), linearizable=linearizable)

    def kill(self):
        """The program that appends for it dies at once; another one goes on."""
        stream = self.stream
        if stream is not None:
            stream.process.kill()


class Load:
    """Clients of a cluster, at work from the beginning; c3 has no session of its name."""

    def __init__(self, made, rng, places):
        self.made = made
        self.give_up = history.FOREVER
        self.clients = [Client(self, name, name != "c3", place, type(rng)(rng.random()))
                        for name, place in places.items()]
        for client in self.clients:
            for thread in client.threads:
                thread.start()

    def acked(self):
        """Acknowledged appends of each client."""
        return [sum(append.fate == history.OK for append in list(client.history.appends))
                for client in self.clients]

    def check_alive(self):
        for client in self.clients:
            if client.failure is not None:
                raise client.failure
        for node in self.made.nodes:
            if node.process is not None and node.process.poll() is not None:
                raise AssertionError(f"node {node.number} has ended with "
                                     f"{node.process.returncode}: {node.said()[-2000:]}")

    def wait_progress(self, count=50, of=None):
        """Until each of these clients (all) has `count` more acknowledgements."""
        chosen = [i for i, client in enumerate(self.clients) if of is None or client.name in of]
        before = self.acked()

        def look():
            self.check_alive()
            acked = self.acked()
            return all(acked[i] - before[i] >= count for i in chosen)
        self.made.wait(look, f"clients {of or 'all'} have {count} more acknowledgements")

    def stop(self):
        """End all of them; whatever is under way is waited for, for a while."""
        self.give_up = now() + STOP_NS
        for client in self.clients:
            client.stopped.set()
        for client in self.clients:
            for thread in client.threads:
                thread.join()

    def history(self):
        whole = history.History()
        for client in self.clients:
            whole.merge(client.history)
            whole.merge(client.reads)
        return whole

    def summary(self):
        whole = self.history()
        fates = [append.fate for append in whole.appends]
        counts = ", ".join(f"{fates.count(fate)} {fate}"
                           for fate in (history.OK, history.UNKNOWN, history.REFUSED))
        processes = sum(client.streams for client in self.clients)
        failed = sum(client.reads_failed for client in self.clients)
        return (f"{len(self.clients)} clients, {processes} processes, {len(fates)} appends: "
                f"{counts}; {len(whole.reads)} reads, {failed} without an answer")


def read_all(made, number):
    """(start offset, payloads, what was printed) of a node's committed log."""
    done = made.place.run(cluster.THOLE, "read", "-c", made.path, "--json", "--node", str(number),
                          stdin=DEVNULL, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"read of node {number} exits {done.returncode}: {done.stderr}")
    records = [parse_record(line) for line in done.stdout.splitlines()]
    start = records[0][0] if records else 0
    if [offset for offset, _ in records] != list(range(start, start + len(records))):
        raise AssertionError(f"offsets of node {number} are not consecutive")
    return start, [payload for _, payload in records], done.stdout
