"""A follower that was away for long: behind the log start, and far behind its end."""
import random

import cluster
from cluster import Case, thole
from test_records import Stream, record_of, run


class Behind(Case):
    def cluster_of_three(self, storage):
        """Three nodes with these lines in [storage]; and a follower of theirs, killed."""
        made = self.cluster(storage=storage)
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
        made, away = self.cluster_of_three("retention = 4MiB\n")
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


if __name__ == "__main__":
    cluster.main()
