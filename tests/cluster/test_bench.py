"""`thole bench run -c FILE`: a result over real processes, its floor and its verification.

No time is judged: a run says whether it is valid, and a busy machine may make it invalid. What must
hold is that nothing acknowledged is lost, and that what could not be measured is null and says why.
"""
import json
import os
import signal
import subprocess

import cluster
from cluster import Case, thole

SHORT = ["--duration", "1s", "--warmup", "200ms"]


class Bench(Case):
    def object_of(self, done):
        self.assertIn(done.returncode, [0, 1], done.stderr)
        found = json.loads(done.stdout)
        self.assertIs(found["valid"], done.returncode == 0, found["invalid_reasons"])
        return found

    def bench(self, path, *arguments):
        return self.object_of(thole("bench", "run", "-c", path, *arguments, "--json"))

    def assert_nothing_lost(self, found):
        self.assertIsNotNone(found["verify"], found["invalid_reasons"])
        for wrong in ["lost", "duplicated", "out_of_order", "damaged"]:
            self.assertEqual(found["verify"][wrong], 0, found["verify"])

    def folders(self, made):
        return [sorted(os.listdir(node.data)) for node in made.nodes]

    def test_a_closed_loop_is_a_whole_result_beside_its_floor(self):
        made, status = self.healthy()
        found = self.bench(made.path, "--closed", "--clients", "1", *SHORT)
        self.assertIs(found["durable"], True)
        self.assertEqual(found["config"]["net"], "udp")
        self.assertEqual(found["config"]["nodes"], 3)
        self.assertEqual(found["config"]["idle"], "auto")
        self.assertEqual(found["config"]["client"], "own process, udp")
        self.assertEqual(found["config"]["load"], "closed")
        self.assertEqual(found["config"]["leader"], status["leader"])
        self.assertEqual(found["config"]["log_size_bytes"], 32 << 20)
        self.assertIsNone(found["offered_per_s"])
        counts = found["counts"]
        self.assertGreater(counts["acked"], 0)
        self.assertEqual(counts["sent"],
                         counts["acked"] + counts["unanswered"] + sum(counts["refused"].values()))
        self.assertEqual(found["latency_ns"]["response"]["count"], counts["acked"])
        self.assertIsNone(found["floors_why"])
        self.assertGreater(found["floors_ns"]["commit_count"], 0)
        self.assertEqual(set(found["ratio_to_floor"]), {"p50", "p99"})
        self.assert_nothing_lost(found)
        self.assertEqual(found["verify"]["by"], "log files")
        self.assertEqual(found["verify"]["foreign"], 0)
        self.assertGreaterEqual(found["verify"]["acked"], counts["acked"])
        self.assertEqual(found["verify"]["records"], found["verify"]["acked"])
        for unknown in ["stages_ns", "writes"]:
            self.assertIsNone(found[unknown])
        self.assertEqual(self.folders(made), [["log"]] * 3, "the floor leaves no file")

    def test_runs_one_after_the_other_begin_where_the_log_ends(self):
        made, _ = self.healthy()
        for _ in range(2):  # About 8 MiB each: more than one segment lies below the second.
            found = self.bench(made.path, "--rate", "1k", "--size", "8KiB", "--no-floor", *SHORT)
            self.assert_nothing_lost(found)
            self.assertEqual(found["verify"]["foreign"], 0)
            self.assertEqual(found["verify"]["records"], found["verify"]["acked"])
            self.assertEqual(found["floors_why"], "not asked for")
            self.assertIsNone(found["floors_ns"])
            self.assertIsNone(found["ratio_to_floor"]["p50"])

    def running(self, made, *arguments):
        process = subprocess.Popen(
            [cluster.THOLE, "bench", "run", "-c", made.path, "--json", *arguments], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        end = made.status()["nodes"][0]["log_end_offset"]
        made.wait(lambda: (made.status()["nodes"][0]["log_end_offset"] or 0) > end + 10,
                  "the load has begun")
        return process

    def finished(self, process):
        out, error = process.communicate(timeout=cluster.PATIENCE_S)
        return self.object_of(subprocess.CompletedProcess([], process.returncode, out, error))

    def test_records_of_another_client_are_told_apart(self):
        made, _ = self.healthy()
        process = self.running(made, "--rate", "500", "--duration", "3s", "--warmup", "0s")
        done = subprocess.run([cluster.THOLE, "append", "-c", made.path], text=True, check=False,
                              input="a\nb\nc\n", capture_output=True, timeout=cluster.PATIENCE_S)
        self.assert_exit(done, 0)
        found = self.finished(process)
        self.assert_nothing_lost(found)
        self.assertEqual(found["verify"]["foreign"], 3)

    def test_a_leader_that_dies_in_the_middle_loses_nothing(self):
        made, status = self.healthy()
        process = self.running(made, "--rate", "500", "--duration", "3s", "--warmup", "0s")
        made[status["leader"]].kill()
        found = self.finished(process)
        self.assert_nothing_lost(found)
        self.assertGreater(found["counts"]["acked"], 0)

    def test_without_the_files_records_are_read_back_and_there_is_no_floor(self):
        made, _ = self.healthy()
        path = os.path.join(made.folder, "client.ini")
        with open(made.path, encoding="ascii") as config, open(path, "w", encoding="ascii") as out:
            out.writelines(line for line in config if not line.startswith("data"))
        for size in ["256", "20000"]:  # In one frame, and in pieces.
            found = self.bench(path, "--rate", "200", "--size", size, *SHORT)
            self.assert_nothing_lost(found)
            self.assertEqual(found["verify"]["by"], "reads")
            self.assertEqual(found["verify"]["records"], found["verify"]["acked"])
            self.assertIn("no folder here", found["floors_why"])
            self.assertIsNone(found["floors_ns"])
            self.assertIsNone(found["ratio_to_floor"]["p50"])

    def test_memory_mode_is_not_durable_and_has_nothing_to_verify(self):
        made = self.cluster(durability="memory")
        made.start()
        made.wait_healthy()
        found = self.bench(made.path, "--closed", *SHORT)
        self.assertIs(found["durable"], False)
        self.assertEqual(found["config"]["durability"], "memory")
        self.assertIsNone(found["verify"])
        self.assertIsNone(found["floors_ns"]["disk_p50"])
        self.assertGreater(found["floors_ns"]["commit_count"], 0)

    def test_a_cluster_that_nobody_leads_exits_4(self):
        made = self.cluster()
        done = thole("bench", "run", "-c", made.path, *SHORT)
        self.assert_exit(done, 4, "no node takes appends")
        self.assertEqual(done.stdout, "")

    def test_a_cluster_that_dies_under_the_load_exits_4(self):
        made, _ = self.healthy()
        process = self.running(made, "--rate", "500", "--duration", "10s", "--warmup", "0s")
        for node in made.nodes:
            node.kill()
        out, error = process.communicate(timeout=cluster.PATIENCE_S)
        self.assertEqual(process.returncode, 4, error)
        self.assertIn("no node takes appends", error)
        self.assertEqual(out, "")

    def test_an_interrupt_leaves_neither_files_nor_processes(self):
        made, _ = self.healthy()
        process = self.running(made, "--rate", "500", "--duration", "60s", "--warmup", "0s")
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            children = [int(pid) for pid in file.read().split()]
        self.assertEqual(len(children), 3, "one process of the floor for each node")
        process.send_signal(signal.SIGINT)
        found = self.finished(process)
        self.assertIn("interrupted", found["invalid_reasons"])
        self.assert_nothing_lost(found)
        self.assertFalse(any(os.path.exists(f"/proc/{pid}") for pid in children))
        self.assertEqual(self.folders(made), [["log"]] * 3)

    def test_the_floor_dies_with_a_run_that_is_killed(self):
        made, _ = self.healthy()
        process = self.running(made, "--rate", "500", "--duration", "60s", "--warmup", "0s")
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            children = [int(pid) for pid in file.read().split()]
        process.kill()
        process.communicate()
        made.wait(lambda: not any(self.is_alive(pid) for pid in children), "the floor has ended")
        self.assertEqual(self.folders(made), [["log"]] * 3)

    def is_alive(self, pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                return file.read().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def test_the_report_for_people_ends_with_the_verdict(self):
        made, _ = self.healthy()
        done = thole("bench", "run", "-c", made.path, "--closed", *SHORT)
        self.assertIn(done.returncode, [0, 1], done.stderr)
        last = done.stdout.rstrip().splitlines()[-1]
        self.assertTrue(last.startswith("RESULT: VALID" if done.returncode == 0
                                        else "RESULT: INVALID: "), last)
        self.assertIn("processes of their own", done.stdout)


if __name__ == "__main__":
    cluster.main()
