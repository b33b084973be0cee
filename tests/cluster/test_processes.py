"""Nodes as processes: they elect, die, come back, wait for each other and know a stranger."""
import json
import os
import shutil
import subprocess
import sys
import time

import cluster
from cluster import Case


class Election(Case):
    def test_three_nodes_elect_and_become_healthy(self):
        made, found = self.healthy()
        self.assertEqual(found["exit"], 0)
        self.assertEqual(found["cluster"], cluster.CLUSTER_ID)
        self.assertIn(found["leader"], [1, 2, 3])
        self.assertEqual(found["notes"], "")
        self.assertEqual([node["id"] for node in found["nodes"]], [1, 2, 3])
        roles = sorted(node["role"] for node in found["nodes"])
        self.assertEqual(roles, ["follower", "follower", "leader"])
        for node in found["nodes"]:
            self.assertEqual(set(node), {
                "id", "address", "reachable", "role", "term", "commit_index", "durable_index",
                "log_start_offset", "log_end_offset", "durability", "behind", "faulty", "bounded",
                "slow_disk", "posix_disk", "unmended", "full", "diverged"})
            self.assertIs(node["slow_disk"], False)
            self.assertIs(node["posix_disk"], False)
            self.assertIs(node["behind"], False)
            self.assertEqual(node["durability"], "dsync")
            self.assertGreaterEqual(node["commit_index"], 1)
        done = cluster.thole("check", "-c", made.path)
        self.assert_exit(done, 0)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertIn("healthy", done.stdout)

    def test_watching_prints_an_object_a_line(self):
        made, _ = self.healthy()
        watch = subprocess.Popen([cluster.THOLE, "status", "-c", made.path, "--watch", "--json"],
                                 stdout=subprocess.PIPE, text=True)
        self.addCleanup(watch.stdout.close)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        for _ in range(3):
            self.assertTrue(json.loads(watch.stdout.readline())["healthy"])

    def test_another_leads_when_the_leader_is_killed(self):
        made, found = self.healthy()
        old = found["leader"]
        made[old].kill()
        found = made.wait_other_leader(old)
        self.assertEqual(found["exit"], 1)
        self.assertFalse(found["healthy"])
        gone = found["nodes"][old - 1]
        self.assertFalse(gone["reachable"])
        for field in ["role", "term", "commit_index", "durable_index", "log_start_offset",
                      "log_end_offset", "durability"]:
            self.assertIsNone(gone[field], field)
        self.assertIn(f"node {old} does not answer: start it with", found["notes"])
        done = cluster.thole("check", "-c", made.path)
        self.assert_exit(done, 1)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        made[old].start()
        made.wait_healthy()

    def test_one_of_three_is_no_quorum(self):
        made, found = self.healthy()
        for number in [1, 2]:
            made[number].kill()
        made.wait_status(lambda found: not found["available"] and found["leader"] is None,
                         "the last one has stepped down")
        made[1].start()
        made.wait_status(lambda found: found["available"], "two of three lead again")

    def test_a_silent_node_whose_process_is_here_is_not_told_to_be_started(self):
        made, _ = self.healthy()
        with open(made.path, encoding="ascii") as file:
            text = file.read()

        def notes(old, new):
            other = os.path.join(made.folder, "other.ini")
            self.assertIn(old, text)
            with open(other, "w", encoding="ascii") as file:
                file.write(text.replace(old, new))
            return cluster.thole("status", "-c", other, "--json").stderr
        port = cluster.free_ports(1)[0]
        told = notes(made[2].address, f"127.0.0.1:{port}")
        pid = made[2].process.pid
        self.assertIn(f"node 2 does not answer, but its process {pid} is there and has its log",
                      told)
        told = notes(cluster.CLUSTER_ID, "1234567812345678")  # Not the logs of that cluster.
        self.assertIn("node 2 does not answer: start it with", told)
        self.assertNotIn("process", told)

    def test_all_killed_at_once_come_back_in_another_order(self):
        made, before = self.healthy()
        for node in made.nodes:
            node.process.kill()
        for node in made.nodes:
            node.wait_end()
        order = [1, 2, 3]
        cluster.rng(self).shuffle(order)
        for number in order:
            made[number].start()
        committed = max(node["commit_index"] for node in before["nodes"])
        after = made.wait_status(
            lambda found: found["healthy"]
            and all(node["commit_index"] > committed for node in found["nodes"]),
            "all know a commit of the new term")
        self.assertGreater(max(node["term"] for node in after["nodes"]),
                           max(node["term"] for node in before["nodes"]))

    def test_a_leader_that_was_stopped_for_seconds_follows_when_it_runs_again(self):
        made, found = self.healthy()
        old = found["leader"]
        made[old].pause()
        begin = time.monotonic()
        found = made.wait_other_leader(old)
        self.assertFalse(found["nodes"][old - 1]["reachable"])
        pid = made[old].process.pid
        stopped = f"node {old} does not answer: its process {pid} is stopped; `kill -CONT {pid}`"
        self.assertIn(stopped, found["notes"])
        self.assertIn(stopped, cluster.thole("check", "-c", made.path).stdout)
        time.sleep(max(0.0, 3 - (time.monotonic() - begin)))
        made[old].resume()
        found = made.wait_healthy()
        self.assertNotEqual(found["leader"], old)
        self.assertEqual(len({node["term"] for node in found["nodes"]}), 1)


class Bootstrap(Case):
    def test_a_first_start_waits_for_every_voter_and_says_for_whom(self):
        made = self.cluster()
        made.format()
        made[1].start()
        made[2].start()
        found = made.wait_status(lambda found: "waits for node 3" in found["notes"],
                                 "status names whom the first start waits for")
        self.assertFalse(found["available"])
        self.assertFalse(found["healthy"])
        for node in found["nodes"][:2]:
            self.assertEqual(node["commit_index"], 0)
        done = cluster.thole("status", "-c", made.path)
        self.assert_exit(done, 1)
        self.assertIn("waits for node 3", done.stdout)
        made[3].start()
        found = made.wait_healthy()
        self.assertEqual(found["notes"], "")

    def test_a_node_formatted_anew_is_a_stranger_and_the_others_go_on(self):
        made, found = self.healthy()
        lost = found["leader"] % 3 + 1
        made[lost].kill()
        shutil.rmtree(made[lost].data)
        made[lost].format()
        made[lost].start()
        found = made.wait_status(
            lambda found: found["available"] and "stranger" in found["notes"],
            "the others lead, and say who is a stranger")
        self.assertFalse(found["healthy"])
        self.assertIn(f"node {lost} is a stranger's", found["notes"])
        self.assertEqual(found["nodes"][lost - 1]["commit_index"], 0)
        # Its vote does not count: with one of the others gone there is no majority.
        other = next(n for n in [1, 2, 3] if n not in (lost, found["leader"]))
        made[other].kill()
        made.wait_status(lambda found: not found["available"], "the last one has stepped down")
        end = time.monotonic() + 2
        while time.monotonic() < end:
            self.assertFalse(made.status()["available"])
        made[other].start()
        found = made.wait_status(lambda found: found["available"], "two of the three lead again")
        self.assertNotEqual(found["leader"], lost)

    def test_one_node_is_a_cluster(self):
        made = self.cluster(1)
        made.format()
        made.start()
        found = made.wait_healthy()
        self.assertEqual(found["leader"], 1)
        self.assertEqual(made[1].stop(), 0)

    def test_memory_needs_no_format_and_says_not_durable(self):
        made = self.cluster(durability="memory")
        made.start()
        found = made.wait_healthy()
        self.assertEqual({node["durability"] for node in found["nodes"]}, {"memory"})
        self.assertIn("NOT DURABLE", made[1].said())
        self.assertFalse(os.path.exists(made[1].data))


class Tests(Case):
    """These tests themselves."""

    def test_nothing_runs_on_and_little_stays_when_a_test_is_killed(self):
        script = "import cluster, sys, time\n" \
                 "made = cluster.Cluster()\n" \
                 "made.format()\n" \
                 "made.start()\n" \
                 "print(made.folder, *(node.process.pid for node in made.nodes), flush=True)\n" \
                 "time.sleep(1000)\n"
        with subprocess.Popen(
                [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
                env={**os.environ, "THOLE": cluster.THOLE,
                     "PYTHONPATH": os.path.dirname(cluster.__file__)}) as test:
            folder, *pids = test.stdout.readline().split()
            self.assertEqual(len(pids), 3)
            test.kill()
        made = self.cluster()
        self.assertFalse(os.path.exists(folder))
        made.wait(lambda: not any(is_running(pid) for pid in pids), "its nodes are gone")


def is_running(pid):
    """Whether this is a process, and not the remains of one that nobody has waited for."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    cluster.main()
