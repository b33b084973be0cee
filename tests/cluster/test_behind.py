"""A follower that was away for long: behind the log start, and far behind its end."""
import os
import threading

import cluster
from cluster import Case, thole
from test_records import Stream, record_of, run


class Behind(Case):
    def one_away(self, **more):
        """Three nodes, and the number of a follower of theirs that was killed."""
        made = self.cluster(**more)
        made.format()
        made.start()
        leader = made.wait_healthy()["leader"]
        away = leader % 3 + 1
        made[away].kill()
        return made, away

    def append(self, made, lines):
        done = run("append", "-c", made.path, stdin=b"\n".join(lines))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), len(lines))


class LogStart(Behind):
    def test_a_follower_whose_entries_are_trimmed_is_named_and_the_others_go_on(self):
        made, away = self.one_away(storage="retention = 4MiB\n")
        lines = [b"%d" % i + b"x" * 50000 for i in range(400)]
        self.append(made, lines)
        found = made.status()
        self.assertGreater(found["nodes"][found["leader"] - 1]["log_start_offset"], 0)
        self.assertIs(found["nodes"][away - 1]["behind"], False)  # It has not been asked yet.
        made[away].start()
        found = made.wait_status(
            lambda found: found["leader"] and found["nodes"][away - 1]["behind"],
            "status says who is behind")
        self.assertTrue(found["available"])
        self.assertFalse(found["healthy"])
        self.assertEqual(found["exit"], 1)
        leader = found["leader"]
        self.assertEqual([node["id"] for node in found["nodes"] if node["behind"]], [away])
        words = f"node {away} fell behind the log start of node {leader}"
        self.assertIn(words, found["notes"])
        self.assertIn("snapshot", found["notes"])
        done = thole("status", "-c", made.path)
        self.assert_exit(done, 1)
        self.assertIn(words, done.stdout)
        self.assertRegex(done.stdout, rf"(?m)^ +{away}  .*  behind$")
        done = thole("check", "-c", made.path)
        self.assert_exit(done, 1)
        self.assertIn(words, done.stdout)
        # It cannot lead, and the others need it for nothing.
        done = thole("leader", "transfer", str(away), "-c", made.path)
        self.assert_exit(done, 1, f"node {leader} leads on")
        self.append(made, lines)
        found = made.status()
        self.assertTrue(found["nodes"][away - 1]["behind"])
        self.assertEqual(found["leader"], leader)


class CatchUp(Behind):
    def test_a_follower_away_for_100000_records_catches_up_under_load(self):
        made, away = self.one_away(size="256MiB", extra="catchup = 16MiB\n")
        rng = cluster.rng(self)
        padding = rng.randbytes(4096).hex().encode()
        lines = [b"%d " % i + padding[:rng.randrange(400)] for i in range(100000)]
        self.append(made, lines)
        before = made.status()
        self.assertGreaterEqual(before["nodes"][before["leader"] - 1]["log_end_offset"], 100000)
        load = Stream(self, "append", "-c", made.path)
        more = []
        caught_up = threading.Event()

        def write():
            while not caught_up.is_set() and len(more) < 1000000:
                more.append(b"more %d" % len(more))
                if not load.put(more[-1]):
                    return

        writer = threading.Thread(target=write)
        writer.start()
        self.addCleanup(writer.join)
        self.addCleanup(caught_up.set)
        made.wait(lambda: len(load.lines) >= 100, "lines are acknowledged")
        made[away].start()
        acked = len(load.lines)
        made.wait(lambda: (made.status()["nodes"][away - 1]["log_end_offset"] or 0) >= 100000,
                  "the follower has what it missed")
        self.assertGreater(len(load.lines), acked)  # Commits went on meanwhile.
        caught_up.set()
        writer.join()
        self.assertEqual(load.end(), (0, ""))
        total = 100000 + len(more)
        self.assertEqual([int(line) for line in load.lines], list(range(100000, total)))
        made.wait_status(
            lambda found: found["healthy"]
            and found["nodes"][away - 1]["log_end_offset"] == total, "it has everything")
        for node in made.nodes:
            done = run("read", "-c", made.path, "--node", str(node.number), "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual([record_of(line) for line in done.stdout.splitlines()],
                             list(enumerate(lines + more)), f"node {node.number}")


if __name__ == "__main__":
    cluster.main()
