"""Logs that rot while their nodes serve: found and mended from each other without a restart, on
followers and the leader; and damage that waits for who has the entry, while all else goes on.
"""
import json
import os
import subprocess

import cluster
from cluster import thole
from logfile import PAGE, LogFile, dump

SCRUB = "scrub = 64MiB\nscrub_every = 100ms\n"
RARELY = "scrub = 64MiB\nscrub_every = 1h\n"  # Only what somebody meets is looked at.
PAYLOAD_AT = 300  # In a first page, behind its headers.


class Scrub(cluster.Case):
    """Three nodes that serve a log of whose entries the places are known, no longer in memory."""

    def begin(self, extra):
        self.made = self.cluster(extra=extra)
        self.made.format()
        self.made.start()
        self.made.wait_healthy()
        self.lines = []
        for first in range(0, 60, 4):
            self.append([b"line %d" % number for number in range(first, first + 4)])
        self.append([b"x" * 30000])
        self.made.stop()
        entries, _ = dump(self.made[1].data, "--headers")
        self.entries = [entry for entry in entries if entry["kind"] == "client"]
        self.logs = {node.number: LogFile(node.data) for node in self.made.nodes}
        self.made.start()
        return self.made.wait_healthy()["leader"]

    def append(self, lines):
        done = subprocess.run([cluster.THOLE, "append", "-c", self.made.path],
                              input=b"\n".join(lines) + b"\n", capture_output=True, check=False,
                              timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.lines += lines

    def counted(self, number, name):
        done = thole("net", "stat", "-c", self.made.path, "--json")
        node = next(node for node in json.loads(done.stdout)["nodes"] if node["id"] == number)
        return node["counters"][f"replica.{name}"]

    def pages(self, number, entry):
        """Its pages as they stand now, without the node's own header."""
        return self.logs[number].read(entry["position"], entry["pages"] * PAGE)[64:]

    def wait_mended(self, number, *entries):
        """It has them as another node does."""
        other = number % 3 + 1
        self.made.wait(lambda: all(self.pages(number, entry) == self.pages(other, entry)
                                   for entry in entries) and
                       self.counted(number, "scrub_waiting") == 0,
                       f"node {number} has mended what rotted")

    def wait_counted(self, number, least):
        """A node counts a repair when it hears of it, a moment after it stands in the file."""
        self.made.wait(lambda: self.counted(number, "entries_mended") >= least,
                       f"node {number} counts {least} entries mended")

    def assert_clean(self):
        """Every line is there, and every log is whole."""
        read = subprocess.run([cluster.THOLE, "read", "-c", self.made.path, "--linearizable"],
                              capture_output=True, check=True, timeout=60)
        self.assertEqual(read.stdout.splitlines(), self.lines)
        self.made.stop()
        for node in self.made.nodes:
            self.assert_exit(thole("log", "verify", node.data), 0)
            self.assertNotIn("mends its log", node.said())
        for number in (2, 3):
            self.assert_exit(thole("log", "diff", self.made[1].data, self.made[number].data), 0)

    def rot_and_mend(self, number):
        """Bytes flip in heads and bodies, and pages go, while lines are appended."""
        hurt = self.entries[1:13:3]
        big = next(entry for entry in self.entries if entry["pages"] > 4)
        log = self.logs[number]
        for entry, at in zip(hurt, [20, 100, PAYLOAD_AT, 4090]):
            log.flip(entry["position"] + at)
            self.append([b"meanwhile %d" % at])
        log.write(big["position"] + PAGE, os.urandom(2 * PAGE))
        self.append([b"and behind it"])
        self.wait_mended(number, big, *hurt)
        self.wait_counted(number, len(hurt) + 1)

    def test_a_follower_mends_what_rots_while_it_serves(self):
        leader = self.begin(SCRUB)
        self.rot_and_mend(leader % 3 + 1)
        self.assert_clean()

    def test_a_leader_mends_what_rots_while_it_serves(self):
        leader = self.begin(SCRUB)
        self.rot_and_mend(leader)
        self.assertEqual(self.made.status()["leader"], leader)
        self.assert_clean()

    def test_two_nodes_mend_each_other(self):
        self.begin(SCRUB)
        self.made[3].kill()
        one, other = self.entries[2:5], self.entries[7:10]
        for entry in one:
            self.logs[1].write(entry["position"], bytes(PAGE))
        for entry in other:
            self.logs[2].flip(entry["position"] + PAYLOAD_AT)
        self.wait_mended(1, *one)
        self.made.wait(lambda: all(self.pages(2, entry) == self.pages(1, entry)
                                   for entry in other), "node 2 has mended its log")
        self.made[3].start()
        self.made.wait_healthy()
        self.assert_clean()

    def test_what_nobody_has_waits_and_the_rest_is_mended(self):
        leader = self.begin(SCRUB)
        away, hurt = [number for number in (1, 2, 3) if number != leader]
        self.made[away].kill()
        lost, behind = self.entries[3], self.entries[8]
        for number in (leader, hurt):
            self.logs[number].write(lost["position"], bytes(PAGE))
        self.made.wait(lambda: self.counted(hurt, "scrub_waiting") == 1 and
                       self.counted(leader, "scrub_waiting") == 1, "both wait")
        found = self.made.status()
        self.assertEqual([node["unmended"] for node in found["nodes"]],
                         [None if number == away else True for number in (1, 2, 3)])
        self.assertTrue(found["available"])
        self.assertIn(f"node {hurt} serves, but some of its log is damaged", found["notes"])
        self.logs[hurt].flip(behind["position"] + PAYLOAD_AT)
        self.made.wait(lambda: self.pages(hurt, behind) == self.pages(leader, behind),
                       "what lies behind is mended")
        self.append([b"it goes on"])
        self.made[away].start()
        self.made.wait_healthy()
        self.wait_mended(leader, lost)
        self.wait_mended(hurt, lost)
        self.assert_clean()

    def test_a_client_that_meets_damage_gets_its_record_once_it_is_mended(self):
        leader = self.begin(RARELY)
        entry = self.entries[6]
        self.logs[leader].flip(entry["position"] + PAYLOAD_AT)
        self.assertEqual(self.counted(leader, "scrub_passes"), 0)
        read = subprocess.run([cluster.THOLE, "read", "-c", self.made.path, "--linearizable"],
                              capture_output=True, check=True, timeout=60)
        self.assertEqual(read.stdout.splitlines(), self.lines)
        self.wait_mended(leader, entry)
        self.wait_counted(leader, 1)
        self.assertEqual(self.counted(leader, "entries_mended"), 1)
        self.assertEqual(self.counted(leader, "scrub_passes"), 0)
        self.assert_clean()


if __name__ == "__main__":
    cluster.main()
