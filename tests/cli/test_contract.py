"""Flags, exit codes, streams and JSON: what other tools rely on."""
import os
import signal
import subprocess
import time

import support
from support import Case, QUICK, thole

COMMANDS = [["demo"], ["bench", "run"], ["floor", "disk"], ["log", "verify"], ["format"],
            ["version"]]


class Usage(Case):
    def test_help_of_every_command_goes_to_stdout_and_ends_with_an_example(self):
        for command in COMMANDS:
            process = thole(*command, "--help")
            self.assert_exit(process, 0)
            self.assertEqual(process.stderr, "")
            lines = process.stdout.rstrip().splitlines()
            self.assertEqual(lines[-2], "Example:", command)
            self.assertTrue(lines[-1].startswith("  thole " + " ".join(command)), lines[-1])

    def test_the_list_of_commands_names_every_command(self):
        process = thole("--help")
        self.assert_exit(process, 0)
        for command in COMMANDS:
            self.assertIn(" ".join(command), process.stdout)

    def test_an_unknown_flag_exits_2(self):
        for command in COMMANDS:
            process = thole(*command, "--no-such-flag")
            self.assert_exit(process, 2)
            self.assertEqual(process.stdout, "")

    def test_an_unknown_command_or_none_exits_2(self):
        self.assert_exit(thole("bogus"), 2)
        self.assert_exit(thole("floor", "bogus"), 2)
        self.assert_exit(thole(), 2)

    def test_a_wrong_value_exits_2_and_names_its_flag(self):
        for flag, value in [("--rate", "fast"), ("--rate", "0"), ("--size", "60001"),
                            ("--size", "-1"), ("--duration", "5"), ("--duration", "0s"),
                            ("--durability", "maybe"), ("--idle", "never"), ("--cpu", "a"),
                            ("--outstanding", "0"), ("--outstanding", "1000000"),
                            ("--arrivals", "regular"), ("--seed", "x"), ("--retention", "1TiB")]:
            process = thole("demo", flag, value)
            self.assert_exit(process, 2)
            self.assertIn(flag, process.stderr)

    def test_a_number_of_replicas_that_is_no_cluster_exits_2(self):
        for nodes in ["0", "2", "9", "many"]:
            self.assert_exit(thole("demo", "--nodes", nodes), 2)

    def test_an_argument_too_many_exits_2(self):
        self.assert_exit(thole("demo", "extra"), 2)
        self.assert_exit(thole("version", "extra"), 2)

    def test_clients_without_closed_exits_2(self):
        self.assert_exit(thole("bench", "run", "--local", "3", "--clients", "4"), 2)

    def test_bench_run_without_a_cluster_exits_3(self):
        process = thole("bench", "run")
        self.assert_exit(process, 3)
        self.assert_says(process, "--local")

    def test_a_wrong_eal_argument_exits_2_without_eals_own_words(self):
        process = thole("demo", *QUICK, "--", "--no-such-eal-flag", cwd=self.folder)
        self.assert_exit(process, 2)
        self.assert_says(process, "thole:")
        self.assertEqual(os.listdir(self.folder), [])


class Version(Case):
    def test_version_json_names_what_it_stands_on(self):
        process = thole("version", "--json")
        self.assert_exit(process, 0)
        found = self.object_of(process)
        for field in ["version", "commit", "dpdk", "liburing", "build_type", "compiler"]:
            self.assertTrue(found[field], field)


class Result(Case):
    def run_json(self, *arguments):
        """The object of a run. A busy machine may make a run invalid; it may not lose anything."""
        process = thole(*arguments, "--json", cwd=self.folder)
        self.assertIn(process.returncode, [0, 1], process.stderr)
        found = self.object_of(process)
        self.assertIs(found["valid"], process.returncode == 0)
        return found

    def check_fields(self, found):
        for field in ["schema", "tool", "config", "durable", "valid", "invalid_reasons",
                      "offered_per_s", "achieved_per_s", "latency_ns", "stages_ns", "floors_ns",
                      "ratio_to_floor", "verify", "env"]:
            self.assertIn(field, found)
        for field in ["nodes", "size_bytes", "durability", "net", "idle", "load", "client",
                      "replicas_cpu", "client_cpu", "disk_irq_cpu"]:
            self.assertIn(field, found["config"])
        for histogram in ["response", "service", "delay"]:
            self.assertEqual(set(found["latency_ns"][histogram]),
                             {"p50", "p90", "p99", "p99_9", "p99_99", "max", "count"})
        for field in ["disk_p50", "client_echo_p50", "peer_echo_p50", "commit_p50", "commit_p99"]:
            self.assertIn(field, found["floors_ns"])
        for stage in ["receive", "submit", "local_durable", "follower_durable", "quorum", "reply"]:
            self.assertIn(stage, found["stages_ns"])

    def test_a_durable_open_loop_is_complete_in_json_and_reads_the_log_files(self):
        found = self.run_json("demo", "--rate", "5k", "--size", "256", "--duration", "1s",
                              "--warmup", "200ms", "--log-size", "64MiB", "--seed", "3")
        self.check_fields(found)
        self.assertTrue(found["durable"])
        self.assertEqual(found["config"]["load"], "open")
        self.assertGreater(found["verify"]["acked"], 1000)
        for wrong in ["lost", "duplicated", "out_of_order", "damaged"]:
            self.assertEqual(found["verify"][wrong], 0)
        self.assertGreaterEqual(found["verify"]["records"], found["verify"]["acked"])
        self.assertGreater(found["floors_ns"]["commit_p50"], found["floors_ns"]["client_echo_p50"])
        # 5,000 samples have five beyond p99.9 and none beyond p99.99.
        self.assertIsNone(found["latency_ns"]["response"]["p99_99"])
        self.assertIsNotNone(found["latency_ns"]["response"]["p50"])
        self.assertEqual(os.listdir(self.folder), [], "the temporary folder is removed")

    def test_memory_mode_says_not_durable_and_has_nothing_to_verify(self):
        process = thole("demo", *QUICK, "--durability", "memory", "--rate", "5k", "--json",
                        cwd=self.folder)
        found = self.object_of(process)
        self.assertIs(found["durable"], False)
        self.assertIsNone(found["verify"])
        self.assertIsNone(found["floors_ns"]["disk_p50"])
        process = thole("demo", *QUICK, "--durability", "memory", "--rate", "5k", cwd=self.folder)
        self.assertIn("NOT DURABLE", process.stdout)
        self.assertNotIn("\033", process.stdout, "no colors when stdout is not a terminal")

    def test_the_human_report_ends_with_the_verdict(self):
        process = thole("demo", *QUICK, "--rate", "2k", cwd=self.folder)
        last = process.stdout.rstrip().splitlines()[-1]
        self.assertTrue(last.startswith("RESULT: VALID" if process.returncode == 0 else
                                        "RESULT: INVALID: "), last)
        self.assertIn(process.returncode, [0, 1])

    def test_a_closed_loop_has_no_offered_rate(self):
        found = self.run_json("bench", "run", "--local", "3", "--closed", "--clients", "1", *QUICK)
        self.assertEqual(found["config"]["load"], "closed")
        self.assertIsNone(found["offered_per_s"])
        self.assertEqual(found["counts"]["sent"], found["counts"]["acked"])

    def test_rate_max_is_a_labelled_closed_loop(self):
        found = self.run_json("demo", *QUICK, "--rate", "max", "--outstanding", "64")
        self.assertEqual(found["config"]["load"], "closed")
        self.assertTrue(found["config"]["rate_max"])
        self.assertIsNone(found["offered_per_s"])

    def test_one_five_and_seven_replicas_commit(self):
        for nodes in ["1", "5", "7"]:
            found = self.run_json("bench", "run", "--local", nodes, "--closed", *QUICK)
            self.assertEqual(found["config"]["nodes"], int(nodes))
            self.assertEqual(found["verify"]["lost"], 0)

    def test_the_log_wraps_behind_the_verifier(self):
        found = self.run_json("demo", "--rate", "max", "--size", "8KiB", "--outstanding", "32",
                              "--duration", "1s", "--warmup", "0s", "--log-size", "16MiB",
                              "--retention", "4MiB", "--no-floor")
        self.assertGreater(found["verify"]["bytes_read"], 3 * 20 << 20, "more than once around")
        self.assertEqual(found["verify"]["lost"], 0)

    def test_a_load_above_what_the_machine_can_do_is_invalid_and_exits_1(self):
        found = self.run_json("demo", *QUICK, "--rate", "5M", "--size", "1KiB")
        self.assertIs(found["valid"], False)
        self.assertTrue(found["invalid_reasons"])

    def test_dir_keeps_the_logs_and_each_is_whole(self):
        kept = self.path("kept")
        process = thole("demo", *QUICK, "--rate", "1k", "--dir", kept, cwd=self.folder)
        self.assertIn(process.returncode, [0, 1])
        self.assertEqual(sorted(os.listdir(kept)), ["n1", "n2", "n3"])
        for node in ["n1", "n2", "n3"]:
            self.assertEqual(os.listdir(os.path.join(kept, node)), ["log"])
            process = thole("log", "verify", os.path.join(kept, node), "--json")
            self.assert_exit(process, 0)
            self.assertTrue(self.object_of(process)["whole"])
        process = thole("demo", *QUICK, "--dir", kept, cwd=self.folder)
        self.assert_exit(process, 3)
        self.assert_says(process, "holds a log already")

    def test_out_writes_the_result_and_the_distribution(self):
        process = thole("demo", *QUICK, "--rate", "2k", "--out", self.path("out"), cwd=self.folder)
        self.assertIn(process.returncode, [0, 1])
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["response.hgrm", "result.json"])

    def test_an_interrupt_ends_the_run_and_removes_its_folder(self):
        process = subprocess.Popen([support.THOLE, "demo", "--duration", "60s"], cwd=self.folder,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertIn("interrupted", out)
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    support.main()
