"""Damaged logs that nodes make whole from each other, before they take part: one byte, whole pages,
ten places, two nodes at once; damage that waits, and says for whom; ends that nobody can bring
back; and a disk that went back.
"""
import json
import os
import shutil
import subprocess

import cluster
from cluster import thole
from logfile import PAGE, LogFile, dump


class Mending(cluster.Case):
    """Three nodes with records of all sizes, stopped; and the entries of their logs."""

    def setUp(self):
        self.made, _ = self.healthy()
        self.lines = [b"line %d" % number for number in range(60)] + [b"x" * 30000, b"last"]
        for first in range(0, len(self.lines), 4):
            self.append(b"\n".join(self.lines[first:first + 4]) + b"\n")
        self.made.stop()
        entries, _ = dump(self.made[1].data, "--headers")
        self.entries = [entry for entry in entries if entry["kind"] == "client"]

    def append(self, stdin):
        done = subprocess.run([cluster.THOLE, "append", "-c", self.made.path], input=stdin,
                              capture_output=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)

    def assert_damaged(self, number, *indexes):
        done = thole("log", "verify", self.made[number].data)
        self.assert_exit(done, 1)
        for index in indexes:
            self.assertIn(f"entry {index},", done.stdout)

    def assert_mended(self, *numbers):
        """All serve, none is damaged, every record is there, and the logs are equal."""
        self.made.wait_healthy()
        for number in numbers:
            self.assertIn(f"node {number} has mended its log", self.made[number].said())
        read = subprocess.run([cluster.THOLE, "read", "-c", self.made.path, "--linearizable"],
                              capture_output=True, check=True, timeout=60)
        self.assertEqual(read.stdout.splitlines(), self.lines)
        self.made.stop()
        for node in self.made.nodes:
            self.assert_exit(thole("log", "verify", node.data), 0)
        for number in numbers:
            other = self.made[number % 3 + 1].data
            self.assert_exit(thole("log", "diff", self.made[number].data, other), 0)

    def mend_one(self, change, *indexes):
        """Damage node 2, start all, and look."""
        change(LogFile(self.made[2].data))
        self.assert_damaged(2, *indexes)
        self.made[1].start()
        self.made[3].start()
        self.made[2].start()
        self.assert_mended(2)

    def test_a_flipped_byte_in_the_middle_is_mended_from_the_others(self):
        entry = self.entries[len(self.entries) // 2]
        self.mend_one(lambda log: log.flip(entry["position"] + 200), entry["index"])

    def test_ten_entries_heads_and_bodies_are_mended(self):
        hurt = self.entries[1:40:4]

        def change(log):
            for number, entry in enumerate(hurt):
                log.flip(entry["position"] + [20, 100, 200, 3000][number % 4])
        self.mend_one(change)

    def test_pages_zeroed_swapped_and_of_another_node_are_mended(self):
        big = next(entry for entry in self.entries if entry["pages"] > 4)
        one, other, foreign, old = [self.entries[at] for at in (2, 5, 8, 11)]

        def change(log):
            log.write(big["position"], bytes(3 * PAGE))
            log.swap(one["position"], other["position"])
            log.write(foreign["position"], LogFile(self.made[3].data).read(foreign["position"]))
            log.write(old["position"], log.read(self.entries[0]["position"]))
        self.mend_one(change)

    def test_two_nodes_damaged_at_different_entries_mend_each_other(self):
        one, other = self.entries[3], self.entries[9]
        LogFile(self.made[1].data).flip(one["position"] + 200)
        LogFile(self.made[2].data).flip(other["position"] + 20)
        self.assert_damaged(1, one["index"])
        self.assert_damaged(2)
        self.made[1].start(waits=False)
        self.made[2].start(waits=False)
        self.made[1].wait_serving()
        self.made[2].wait_serving()
        self.made[3].start()
        self.assert_mended(1, 2)

    def test_damage_waits_for_who_has_the_entry_and_says_so(self):
        entry = self.entries[5]
        for number in (1, 2):
            LogFile(self.made[number].data).flip(entry["position"] + 200)
        self.made[1].start(waits=False)
        self.made[2].start(waits=False)
        found = self.made.wait_status(
            lambda found: [node["faulty"] for node in found["nodes"]] == [True, True, None] and
            "node 1 is faulty: it mends its log and waits for an entry of nodes 2, 3"
            in found["notes"], "both wait")
        self.assertEqual((found["healthy"], found["available"], found["exit"]), (False, False, 1))
        self.assertEqual([node["role"] for node in found["nodes"]], [None] * 3)
        self.assert_exit(thole("check", "-c", self.made.path), 1)
        asks = f"asks for entry {entry['index']} of term {entry['term']}, waits for node 2, 3"
        self.made.wait(lambda: asks in self.made[1].said(), "it says for whom it waits")
        self.made[3].start()
        self.made[1].wait_serving()
        self.made[2].wait_serving()
        self.assert_mended(1, 2)

    def test_a_node_that_is_killed_while_it_mends_goes_on_where_it_was(self):
        hurt = self.entries[2:50:3]
        log = LogFile(self.made[2].data)
        for entry in hurt:
            log.flip(entry["position"] + 200)
        self.made[2].start(waits=False)  # Alone: it has nobody to ask.
        self.made.wait(lambda: "waits for node 1, 3" in self.made[2].said(), "it waits")
        self.made[2].kill()
        self.assert_damaged(2, *[entry["index"] for entry in hurt])
        self.made[1].start()
        self.made[2].start(waits=False)
        self.made[2].wait_serving()
        self.made[3].start()
        self.assert_mended(2)

    def spoil_end(self, number):
        """Nobody can tell what stood on this page behind the end."""
        last = dump(self.made[number].data, "--headers")[0][-1]  # Of whatever kind.
        end = last["position"] + last["pages"] * PAGE
        LogFile(self.made[number].data).write(end + PAGE, os.urandom(PAGE))
        self.assert_exit(thole("log", "verify", self.made[number].data), 1)

    def test_a_suspect_end_is_settled_by_a_leader(self):
        self.spoil_end(2)
        self.made[2].start(waits=False)  # Nobody leads: it is bound, and says so.
        self.made[2].wait_serving()
        self.assertIn("node 2 serves with a log cut behind index", self.made[2].said())
        found = self.made.status()
        self.assertEqual([node["bounded"] for node in found["nodes"]], [None, True, None])
        self.assertIn("node 2 has lost an end of its log", found["notes"])
        self.made[2].kill()
        shown = json.loads(thole("log", "ls", "--json", self.made[2].data).stdout)["superblock"]
        self.assertGreater(shown["vote_bound"]["index"], shown["cut"]["index"])
        self.made[2].start(waits=False)
        self.made[1].start()
        self.made[3].start()
        self.made.wait_healthy()
        self.made.wait(lambda: "node 2 has all again" in self.made[2].said(), "the bound is met")
        self.made.stop()
        for node in self.made.nodes:
            self.assert_exit(thole("log", "verify", node.data), 0)

    def test_a_suspect_node_helps_a_whole_one_to_lead(self):
        """Its vote is enough, as the other has all that it can have acknowledged, and more."""
        self.spoil_end(2)
        self.made[1].start()
        self.made[3].start()
        self.made.wait_status(lambda found: found["available"], "two nodes lead")
        self.append(b"later\n")
        self.made[3].kill()
        self.made[1].kill()
        self.made[2].start(waits=False)
        self.made[1].start()
        found = self.made.wait_status(lambda found: found["available"], "node 1 leads")
        self.assertEqual(found["leader"], 1)
        self.made.wait(lambda: "node 2 has all again" in self.made[2].said(), "the bound is met")

    def test_ends_that_all_have_lost_are_given_up_by_an_operator(self):
        for number in (1, 2, 3):
            self.spoil_end(number)
        for node in self.made.nodes:
            node.start(waits=False)
        for node in self.made.nodes:
            node.wait_serving()
        found = self.made.wait_status(
            lambda found: [node["bounded"] for node in found["nodes"]] == [True] * 3, "all bound")
        self.assertFalse(found["available"])
        for node in self.made.nodes:
            self.assertIn("`thole start --discard-suspect` on each gives up", node.said())
            node.stop()
        for node in self.made.nodes:
            node.start("--discard-suspect", waits=False)
        self.made.wait_healthy()
        self.assertIn("DISCARDED: whatever the log of node 2 had held above index",
                      self.made[2].said())
        self.made.stop()
        self.made[2].start("--discard-suspect")
        self.assertIn("the log of node 2 is clean: nothing was discarded", self.made[2].said())
        self.assert_exit(thole("start", "-c", self.made.path, "--node", "1", "--discard-damaged"),
                         2, "is for a cluster of one")

    def test_an_old_copy_of_a_disk_counts_no_more_until_it_was_started_again(self):
        """What it lacks, it has acknowledged to the leader; which says so and goes on without. So
        does the next leader. Started again, the node counts as soon as it has caught up."""
        for node in self.made.nodes:
            node.start(waits=False)
        leader = self.made.wait_healthy()["leader"]
        victim = leader % 3 + 1
        self.assertEqual(self.made[victim].stop(), 0)
        shutil.copytree(self.made[victim].data, self.made[victim].data + ".old")
        self.made[victim].start()
        self.made.wait_healthy()
        self.append(b"acknowledged by all\n")
        self.made.wait(lambda: len({node["durable_index"]
                                    for node in self.made.status()["nodes"]}) == 1, "all have it")
        self.made[victim].kill()
        shutil.rmtree(self.made[victim].data)
        shutil.move(self.made[victim].data + ".old", self.made[victim].data)
        self.made[victim].start(waits=False)
        words = f"the log of node {victim} lacks entries that it had acknowledged"
        found = self.made.wait_status(lambda found: words in found["notes"], "it is noticed")
        self.assertEqual((found["healthy"], found["available"], found["leader"]),
                         (False, True, leader))
        self.append(b"goes on\n")
        other = ({1, 2, 3} - {leader, victim}).pop()
        self.assert_exit(thole("leader", "transfer", "-c", self.made.path), 0)
        found = self.made.wait_status(lambda found: found["leader"] == other, "the third leads")
        found = self.made.wait_status(lambda found: words in found["notes"], "it knows, too")
        self.made[leader].kill()
        self.made.wait_status(lambda found: not found["available"], "the accused is no majority")
        self.assertIn(words, self.made.status()["notes"])
        self.made[leader].start(waits=False)
        self.made.wait_status(lambda found: found["available"], "a majority without the accused")
        self.append(b"still without it\n")
        self.assertIn(words, self.made.status()["notes"])
        self.assertEqual(self.made[victim].stop(), 0)
        self.made[victim].start()
        self.assertNotIn(words, self.made.wait_healthy()["notes"])
        self.made[self.made.wait_healthy()["leader"]].kill()
        self.made.wait_status(lambda found: found["available"], "its vote counts again")

    def assert_divergence_told(self, transfers):
        """Two disks go back to old copies, and their nodes go on without what the third has; in the
        term of the third's last entries, or in a newer one."""
        for node in self.made.nodes[:2]:
            shutil.copytree(node.data, node.data + ".old")
        for node in self.made.nodes:
            node.start(waits=False)
        self.made.wait_healthy()
        for number in range(20):
            self.append(b"committed %d\n" % number)
        self.made.stop()
        for node in self.made.nodes[:2]:
            shutil.rmtree(node.data)
            shutil.move(node.data + ".old", node.data)
            node.start(waits=False)
        leader = self.made.wait_status(lambda found: found["available"], "two go on")["leader"]
        for _ in range(transfers):
            self.assert_exit(thole("leader", "transfer", "-c", self.made.path), 0)
            leader = self.made.wait_other_leader(leader)["leader"]
        self.append(b"other\n")
        self.made[3].start(waits=False)
        words = "node 3: entries are committed there that the leader has not got: a disk went back"
        found = self.made.wait_status(lambda found: words in found["notes"], "it is noticed")
        self.assertEqual((found["exit"], found["healthy"], found["available"]), (1, False, True))
        self.assertEqual([node["diverged"] for node in found["nodes"]], [False, False, True])
        done = thole("check", "-c", self.made.path)
        self.assert_exit(done, 1)
        self.assertIn(words, done.stdout)

    def test_a_node_with_committed_entries_of_the_same_term_that_the_leader_lacks_is_told(self):
        self.assert_divergence_told(transfers=0)

    def test_a_node_with_other_committed_entries_than_the_leader_is_told(self):
        self.assert_divergence_told(transfers=3)

    def test_a_stranger_without_the_entries_mends_nobody(self):
        LogFile(self.made[2].data).flip(self.entries[4]["position"] + 200)
        shutil.rmtree(self.made[1].data)
        self.made[1].format()
        self.made[1].start()
        self.made[2].start(waits=False)
        self.made.wait(lambda: "waits for node 1, 3" in self.made[2].said(), "it waits")
        self.made[3].start()
        self.made[2].wait_serving()


class Alone(cluster.Case):
    def test_a_cluster_of_one_is_refused_with_what_may_be_given_up(self):
        made = self.cluster(1)
        made.format()
        made.start()
        made.wait_healthy()
        done = subprocess.run([cluster.THOLE, "append", "-c", made.path], input=b"a\nb\nc\n",
                              capture_output=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(made[1].stop(), 0)
        entries, _ = dump(made[1].data, "--headers")
        log = LogFile(made[1].data)
        end = entries[-1]["position"] + PAGE
        log.write(end + PAGE, os.urandom(PAGE))
        start = ["start", "-c", made.path, "--node", "1"]
        self.assert_exit(thole(*start), 1, "is suspect", "--discard-suspect")
        made[1].start("--discard-suspect")
        made.wait_healthy()
        self.assertEqual(made[1].stop(), 0)
        log.flip(entries[-1]["position"] + 200)
        self.assert_exit(thole(*start), 1, "is damaged", "--discard-damaged")
        self.assert_exit(thole(*start, "--discard-suspect"), 1, "is damaged")
        made[1].start("--discard-damaged")
        self.assertIn(f"ends behind index {entries[-1]['index'] - 1} now, as --discard-damaged",
                      made[1].said())
        made.wait_healthy()
        self.assertEqual(made[1].stop(), 0)
        self.assert_exit(thole("log", "verify", made[1].data), 0)


if __name__ == "__main__":
    cluster.main()
