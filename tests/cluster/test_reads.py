"""Following the log while nodes die, and reads that must hold all that was committed before."""
import threading
import time

import cluster
from cluster import Case, main
from test_records import Records, Stream, record_of, run


class Writer:
    """Appends in the background, whoever leads; a command that ends is followed by another."""

    def __init__(self, case, made):
        self.case = case
        self.made = made
        self.acked = 0
        self.sent = 0
        self.stopped = False
        self.thread = threading.Thread(target=self.write)
        self.thread.start()
        case.addCleanup(self.stop)

    def write(self):
        while not self.stopped:
            stream = Stream(self.case, "append", "-c", self.made.path, "--timeout", "2s")
            before = self.acked
            while not self.stopped and stream.put(b"line %d" % self.sent):
                self.sent += 1
                self.acked = before + len(stream.lines)
                time.sleep(0.001)
            stream.end()
            self.acked = before + len(stream.lines)

    def stop(self):
        self.stopped = True
        self.thread.join()


class Reads(Records):
    def follow(self, made, *more):
        return Stream(self, "tail", "-c", made.path, "-f", "--from", "0", "--json", *more)

    def wait_more(self, made, stream, count):
        goal = len(stream.lines) + count
        made.wait(lambda: len(stream.lines) >= goal, f"{goal} records were followed")

    def check(self, made, writer, *streams):
        """Every stream printed the whole log, in order, each record once."""
        made.wait_healthy()
        writer.stop()
        log = self.read(made, "--linearizable")
        self.assertGreaterEqual(len(log), writer.acked)
        self.assertEqual([offset for offset, _ in log], list(range(len(log))))
        for stream in streams:
            made.wait(lambda s=stream: len(s.lines) >= len(log), "everything was followed")
            time.sleep(0.3)  # Nothing comes twice afterwards, either.
            self.assertEqual([record_of(line) for line in stream.lines], log)
        print(f"{len(log)} records, {writer.acked} acknowledged", flush=True)

    def test_a_follower_killed_and_started_again_is_followed_without_gap_or_repeat(self):
        made, found = self.healthy()
        follower = made[found["leader"] % 3 + 1]
        tail = self.follow(made, "--node", str(follower.number))
        writer = Writer(self, made)
        for _ in range(3):
            self.wait_more(made, tail, 100)
            follower.kill()
            before = writer.acked
            made.wait(lambda b=before: writer.acked >= b + 100, "appends go on without it")
            follower.start()
        self.wait_more(made, tail, 100)
        self.check(made, writer, tail)

    def test_a_killed_leader_is_followed_and_survived_without_gap_or_repeat(self):
        made, found = self.healthy()
        of_leader = self.follow(made)
        of_node = self.follow(made, "--node", str(found["leader"]))
        writer = Writer(self, made)
        for _ in range(3):
            self.wait_more(made, of_leader, 100)
            victim = found["leader"]
            made[victim].kill()
            found = made.wait_other_leader(victim)
            self.wait_more(made, of_leader, 100)
            made[victim].start()
        self.wait_more(made, of_node, 100)
        self.check(made, writer, of_leader, of_node)

    def test_a_paused_leader_is_left_and_followed_on_when_it_comes_back(self):
        made, found = self.healthy()
        of_leader = self.follow(made)
        of_node = self.follow(made, "--node", str(found["leader"]))
        writer = Writer(self, made)
        self.wait_more(made, of_leader, 100)
        made[found["leader"]].pause()
        self.wait_more(made, of_leader, 200)
        made[found["leader"]].resume()
        self.wait_more(made, of_node, 200)
        self.check(made, writer, of_leader, of_node)

    def test_each_record_is_followed_as_it_is_committed(self):
        made, found = self.healthy()
        self.append(made, b"first\n")
        tails = [self.follow(made), self.follow(made, "--node", str(found["leader"] % 3 + 1))]
        for tail in tails:
            made.wait(lambda t=tail: len(t.lines) == 1, "the first record was followed")
        for i in range(20):
            self.append(made, b"record %d\n" % i)
            for tail in tails:
                made.wait(lambda t=tail, n=i: len(t.lines) == n + 2, "each record was followed")


class Linearizable(Records):
    def test_a_linearizable_read_holds_what_was_acknowledged_before_on_every_node(self):
        made, _ = self.healthy()
        rng = cluster.rng(self)
        expected = []
        for turn in range(12):
            lines = [b"%d.%d" % (turn, i) for i in range(rng.randrange(1, 50))]
            self.append(made, b"\n".join(lines))
            expected += lines
            node = rng.randrange(0, 4)
            more = ["--node", str(node)] if node > 0 else []
            self.assertEqual(self.read(made, "--linearizable", *more), list(enumerate(expected)))
        done = run("tail", "-c", made.path, "--linearizable")
        self.assert_ran(done, 0)
        self.assertEqual(done.stdout.splitlines(), expected[-10:])

    def test_a_linearizable_read_survives_a_killed_leader(self):
        made, found = self.healthy()
        self.append(made, b"a\nb\n")
        made[found["leader"]].kill()
        other = found["leader"] % 3 + 1
        self.assertEqual(self.read(made, "--linearizable", "--node", str(other)),
                         [(0, b"a"), (1, b"b")])

    def test_without_a_quorum_no_linearizable_read_is_answered(self):
        made, found = self.healthy()
        self.append(made, b"a\n")
        self.read_everywhere(made, [b"a"])
        left = found["leader"]
        for node in made.nodes:
            if node.number != left:
                node.kill()
        for more in [], ["--node", str(left)]:
            self.assert_ran(run("read", "-c", made.path, "--linearizable", *more), 4,
                            "none of them leads", "majority")
        self.assertEqual(self.read(made, "--node", str(left)), [(0, b"a")])


class Alone(Case):
    def test_a_cluster_of_one_confirms_its_own_reads(self):
        made = self.cluster(1)
        made.format()
        made.start()
        made.wait_healthy()
        done = run("append", "-c", made.path, stdin=b"x\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = run("read", "-c", made.path, "--linearizable")
        self.assertEqual((done.returncode, done.stdout), (0, b"x\n"), done.stderr)


if __name__ == "__main__":
    main()
