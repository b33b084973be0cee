"""A log without room: refused by the smallest one among the voters, and early enough that leaders
come and go, and that a retention makes room again."""
import subprocess

import cluster
from cluster import main, thole
from test_records import Records

LINE = b"x" * 59990


class Full(Records):
    def append_until_refused(self, made, count):
        """How many of so many lines were appended before one was refused as full."""
        done = subprocess.run([cluster.THOLE, "append", "-c", made.path],
                              input=b"\n".join([LINE] * count), capture_output=True, check=False,
                              timeout=120)
        if done.returncode != 0:
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(b"full", done.stderr)
        return len(done.stdout.splitlines())

    def change(self, made, old, new):
        """Change the configuration; it counts for what is formatted or started from now on."""
        with open(made.path, encoding="ascii") as file:
            text = file.read()
        self.assertIn(old, text)
        with open(made.path, "w", encoding="ascii") as file:
            file.write(text.replace(old, new))

    def check_equal(self, made, full=False):
        """All nodes hold the same, whole."""
        made.stop(full)
        for node in made.nodes:
            self.assert_exit(thole("log", "verify", node.data), 0)
        for other in made.nodes[1:]:
            self.assert_exit(thole("log", "diff", made[1].data, other.data), 0)

    def test_leaders_come_and_go_over_a_full_log_until_a_retention_makes_room(self):
        made = self.cluster(size="8MiB")
        made.format()
        made.start()
        made.wait_healthy()
        appended = self.append_until_refused(made, 200)
        self.assertGreater(appended, 30)
        self.assertLess(appended, 200)
        found = made.wait_full()
        self.assertEqual(found["exit"], 1)
        self.assertEqual([node["full"] for node in found["nodes"]],
                         [node["id"] == found["leader"] for node in found["nodes"]])
        done = thole("check", "-c", made.path)
        self.assert_exit(done, 1)
        self.assertIn("the log is full: appends are refused. Set `retention`", done.stdout)
        for _ in range(5):
            leader = made.wait_full()["leader"]
            self.assert_exit(thole("leader", "transfer", "-c", made.path), 0)
            made.wait_other_leader(leader)
        for _ in range(3):
            leader = made.wait_full()["leader"]
            made[leader].kill()
            made.wait_other_leader(leader)
            made[leader].start()
        made.wait_full()
        self.assertEqual(self.append_until_refused(made, 3), 0)
        self.assertEqual(self.read(made, "--linearizable"), list(enumerate([LINE] * appended)))
        made.stop(full=True)
        self.change(made, "durability =", "retention = 2MiB\ndurability =")
        made.start()
        made.wait_status(lambda found: all(node["log_start_offset"] > 0 for node in found["nodes"]),
                         "the log is trimmed")
        self.assertEqual(self.append_until_refused(made, 200), 200)
        self.check_equal(made)

    def test_full_is_what_the_smallest_log_among_the_voters_is(self):
        made = self.cluster(size="16MiB")
        made[1].format()
        made[2].format()
        self.change(made, "size = 16MiB", "size = 8MiB")
        made[3].format()
        made.start()
        made.wait_healthy()
        appended = self.append_until_refused(made, 300)
        self.assertLess(appended * len(LINE), 8 << 20)
        found = made.wait_full()
        leader = found["leader"]
        self.assertIn("judged by that of node 3, the smallest", found["notes"])
        self.assert_exit(thole("leader", "transfer", "-c", made.path), 0)
        made.wait_other_leader(leader)
        self.assertLess(self.append_until_refused(made, 10), 4)
        self.check_equal(made, full=True)
        # A retention that only the large logs have room for: the small one is heeded.
        self.change(made, "size = 8MiB", "size = 16MiB\nretention = 8MiB")
        made.start()
        made.wait_status(lambda found: all(node["log_start_offset"] > 0 for node in found["nodes"]),
                         "the log is trimmed")
        self.assertEqual(self.append_until_refused(made, 300), 300)
        self.check_equal(made)


if __name__ == "__main__":
    main()
