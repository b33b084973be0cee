"""Flags, exit codes, streams and JSON: what other tools rely on."""
import os
import pty
import re
import signal
import subprocess
import time

import support
from support import Case, QUICK, thole

COMMANDS = [["demo"], ["bench", "run"], ["floor", "disk"], ["floor", "net"],
            ["floor", "all"], ["log", "ls"], ["log", "dump"], ["log", "verify"],
            ["log", "diff"], ["format"], ["version"], ["start"], ["status"], ["check"],
            ["append"], ["backup"], ["restore"],
            ["read"], ["tail"], ["leader", "show"], ["leader", "transfer"],
            ["completion"], ["doctor"], ["net", "ls"], ["net", "show"], ["net", "stat"],
            ["lab", "up"], ["lab", "down"], ["lab", "status"], ["lab", "shell"],
            ["lab", "start"], ["lab", "stop"], ["lab", "kill"], ["lab", "pause"],
            ["lab", "resume"], ["lab", "cut"], ["lab", "lose"], ["lab", "repeat"],
            ["lab", "flap"], ["lab", "heal"], ["lab", "slow-disk"]]


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
        listed = [line[2:18].strip() for line in process.stdout.splitlines()
                  if line.startswith("  ") and not line.startswith("  thole ")]
        self.assertEqual(sorted(listed), sorted(" ".join(command) for command in COMMANDS))

    def test_an_unknown_flag_exits_2(self):
        for command in COMMANDS:
            process = thole(*command, "--no-such-flag")
            self.assert_exit(process, 2)
            self.assertEqual(process.stdout, "")

    def test_an_unknown_command_or_none_exits_2(self):
        for words, said in [(["bogus"], "`bogus`"), ([], "floor disk")]:
            process = thole(*words)
            self.assert_exit(process, 2)
            self.assertIn(said, process.stderr)
        for group in sorted({command[0] for command in COMMANDS if len(command) > 1}):
            for words in [[group, "bogus"], [group]]:
                process = thole(*words)
                self.assert_exit(process, 2)
                self.assertIn(f"thole {group} COMMAND --help", process.stderr)

    def test_help_of_a_group_lists_its_commands_alone(self):
        for group in sorted({command[0] for command in COMMANDS if len(command) > 1}):
            process = thole(group, "--help")
            self.assert_exit(process, 0)
            listed = re.findall(r"^  (\S+ \S+) +\S", process.stdout, re.M)
            self.assertEqual(sorted(listed), sorted(" ".join(command) for command in COMMANDS
                                                    if command[0] == group))

    def test_the_version_is_a_flag_too(self):
        self.assertEqual(thole("--version").stdout, thole("version").stdout)

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
        for nodes in ["0", "8", "9", "many", "3x", "4294967299", "-3", " 3", "3.0", ""]:
            for command in [["demo", "--nodes"], ["bench", "run", "--local"],
                            ["bench", "run", "--nodes"]]:
                process = thole(*command, nodes, cwd=self.folder)
                self.assert_exit(process, 2)
                self.assertIn(command[-1], process.stderr)

    def test_every_number_is_read_to_its_end(self):
        config = self.configuration()
        for arguments in [["bench", "run", "--closed", "--clients", "2x"],
                          ["bench", "run", "--closed", "--clients", "4294967297"],
                          ["demo", "--outstanding", "64k"], ["demo", "--seed", "1x"],
                          ["demo", "--cpu", "0x1"], ["demo", "--cpu", "0,"], ["demo", "--cpu", ""],
                          ["floor", "disk", "--cpu", "0x"], ["floor", "disk", "--cpu", "-1"],
                          ["floor", "net", "--size", "23"], ["floor", "net", "--size", "8193"],
                          ["format", "-c", config, "--node", "1x"],
                          ["format", "-c", config, "--node", "4294967297"],
                          ["start", "-c", config, "--node", "1", "--slow-disk", "5"],
                          ["start", "-c", config, "--node", "1", "--slow-disk", "61s"],
                          ["start", "-c", config, "--node", "1", "--slow-disk", "1ms,share=101"],
                          ["start", "-c", config, "--node", "1", "--slow-disk", "1ms,seed=0"],
                          ["start", "-c", config, "--node", "1", "--slow-disk", "1ms,file="],
                          ["start", "-c", config, "--node", "1", "--slow-disk", "1ms,more"],
                          ["log", "verify", "n1", "--from", "0"],
                          ["log", "verify", "n1", "--to", "7x"],
                          ["log", "verify", "n1", "--from", "3", "--to", "2"]]:
            process = thole(*arguments, cwd=self.folder)
            self.assert_exit(process, 2)
            self.assertEqual(process.stdout, "", arguments)

    def test_a_closed_loop_refuses_a_rate_and_outstanding(self):
        for flag, value in [("--rate", "1k"), ("--rate", "max"), ("--outstanding", "8")]:
            process = thole("bench", "run", "--closed", flag, value, cwd=self.folder)
            self.assert_exit(process, 2)
            self.assertIn("--closed", process.stderr)

    def test_more_records_under_way_than_the_ports_hold_are_refused(self):
        for arguments in [["demo", "--outstanding", "4097"], ["demo", "--outstanding", "65536"],
                          ["demo", "--size", "60000", "--outstanding", "513"],
                          ["bench", "run", "--closed", "--clients", "4097"],
                          ["bench", "run", "--size", "60000", "--closed", "--clients", "513"]]:
            process = thole(*arguments, cwd=self.folder)
            self.assert_exit(process, 2)
            self.assertRegex(process.stderr, r"512|4096")

    def test_the_ends_of_an_echo_are_told_apart(self):
        for flags, word in [(["--serve"], "--address"), (["--address", "127.0.0.1:7000"], "--to"),
                            (["--to", "nowhere"], "nowhere"), (["--idle", "sleep"], "sleep"),
                            (["--serve", "--address", "127.0.0.1:7000", "--size", "64"], "--size"),
                            (["--net", "tap:t0"], "--serve"), (["--net", "nothing"], "nothing"),
                            (["--net", "af_packet:x", "--to", "10.0.0.1:1"], "--address"),
                            (["--net", "ring", "--to", "10.0.0.1:1"], "ring"),
                            (["--", "-l", "0"], "udp")]:
            process = thole("floor", "net", *flags, cwd=self.folder)
            self.assert_exit(process, 2)
            self.assert_says(process, word)
            self.assertEqual(process.stdout, "")
        self.assert_exit(thole("floor", "disk", "--idle", "block"), 2)
        self.assert_exit(thole("floor", "disk", "--net", "udp"), 2)

    def test_an_argument_too_many_exits_2(self):
        self.assert_exit(thole("demo", "extra"), 2)
        self.assert_exit(thole("version", "extra"), 2)

    def test_clients_without_closed_exits_2(self):
        self.assert_exit(thole("bench", "run", "--local", "3", "--clients", "4"), 2)

    def test_nodes_and_local_must_agree(self):
        self.assert_exit(thole("bench", "run", "--local", "3", "--nodes", "1"), 2)

    def test_a_net_that_does_not_name_a_port_for_each_exits_2_and_names_what_does(self):
        for net in ["af_packet:eth0", "af_xdp:p%d%d", "tap:t0", "vdev:net_null0", "af_xdp,q=x"]:
            for command in [["bench", "run", "--local", "3"], ["demo"]]:
                process = thole(*command, "--net", net, cwd=self.folder)
                self.assert_exit(process, 2)
                self.assert_says(process, net, "ring", "af_packet:IF%d")

    def test_ports_on_interfaces_that_are_not_there_exit_3(self):
        process = thole("bench", "run", "--net", "af_packet:nowhere%d", *QUICK, cwd=self.folder)
        self.assert_exit(process, 3)
        self.assert_says(process, "nowhere1")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_running_cluster_takes_no_flag_that_its_file_answers(self):
        config = self.configuration(nodes=3)
        for flag, value in [("--local", "3"), ("--nodes", "3"), ("--log-size", "64MiB"),
                            ("--retention", "1MiB"), ("--dir", "d"), ("--durability", "memory"),
                            ("--cpu", "0,1")]:
            process = thole("bench", "run", "-c", config, flag, value, cwd=self.folder)
            self.assert_exit(process, 2)
            self.assert_says(process, flag)
            self.assertEqual(process.stdout, "")

    def test_a_running_cluster_is_measured_over_udp_alone(self):
        config = self.configuration(nodes=3)
        process = thole("bench", "run", "-c", config, "--net", "ring", cwd=self.folder)
        self.assert_exit(process, 2)
        self.assert_says(process, "--net udp")
        process = thole("bench", "run", "-c", config, "--", "-l", "0", cwd=self.folder)
        self.assert_exit(process, 2)
        for flags, word in [(["--floor-net", "ring"], "ring"), (["--floor-address", "x"], "x"),
                            (["--floor-net", "af_packet:x"], "--floor-ns"),
                            (["--floor-ns", "/a,/b"], "--floor-ns")]:
            process = thole("bench", "run", "-c", config, *flags, cwd=self.folder)
            self.assert_exit(process, 2)
            self.assert_says(process, word)

    def test_a_bench_without_its_configuration_exits_2(self):
        process = thole("bench", "run", "-c", "nowhere.ini", cwd=self.folder)
        self.assert_exit(process, 2)
        self.assert_says(process, "nowhere.ini")

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

    def on_a_terminal(self, *arguments):
        """What the program writes to a terminal."""
        parent, child = pty.openpty()
        self.addCleanup(os.close, parent)
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        process = subprocess.Popen([support.THOLE, *arguments], cwd=self.folder, stdout=child,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=environment)
        os.close(child)
        shown = b""
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:  # The other end is closed.
                break
            if not part:
                break
            shown += part
        process.wait(timeout=60)
        return shown.decode()

    def test_not_durable_is_red_on_a_terminal(self):
        shown = self.on_a_terminal("demo", *QUICK, "--durability", "memory", "--rate", "1k")
        self.assertIn("\033[1;31mNOT DURABLE", shown)

    def test_memory_told_at_start_adds_up_to_its_total(self):
        process = thole("demo", *QUICK, "--rate", "1k", "--nodes", "3", cwd=self.folder)
        self.assertIn(process.returncode, [0, 1])
        regions = [int(found) for found in
                   re.findall(r"used, with alignment .* of (\d+)$", process.stderr, re.M)]
        self.assertEqual(len(regions), 3, "replica 1, each of the others, client and verifier")
        floors = re.findall(r"^floor: requests ", process.stderr, re.M)
        self.assertEqual(len(floors), 1, "all nodes share one table")
        ports = int(re.search(r"^ports: .* = +(\d+)$", process.stderr, re.M).group(1))
        self.assertGreater(ports, 4 * 2047 * 8192, "a port's buffers, each of a frame")
        total = int(re.search(r"^memory of the whole run +(\d+)$", process.stderr, re.M).group(1))
        told = regions[0] + 2 * regions[1] + regions[2] + ports
        self.assertGreaterEqual(total, told)
        self.assertLess(total, told + (1 << 20))

    def test_idle_says_what_it_comes_to(self):
        found = self.run_json("demo", *QUICK, "--rate", "1k", "--durability", "memory")
        self.assertEqual(found["config"]["idle"], "auto (yield)")
        found = self.run_json("demo", *QUICK, "--rate", "1k", "--durability", "memory", "--idle",
                              "block")
        self.assertEqual(found["config"]["idle"], "block")

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

    def test_bench_run_alone_has_three_replicas_over_ring(self):
        found = self.run_json("bench", "run", "--net", "ring", "--rate", "1k", *QUICK)
        self.assertEqual(found["config"]["nodes"], 3)
        self.assertEqual(found["config"]["net"], "ring")
        self.assertEqual(found["verify"]["lost"], 0)

    def test_any_number_of_replicas_up_to_seven_commits(self):
        for nodes in ["1", "2", "4", "5", "7"]:
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
            whole = self.object_of(process)
            self.assertIsNone(whole["range"])
            process = thole("log", "verify", os.path.join(kept, node), "--from", "2", "--to", "4",
                            "--json")
            self.assert_exit(process, 0)
            self.assertEqual(self.object_of(process)["range"]["entries"], 3, "both inclusive")
            process = thole("log", "verify", os.path.join(kept, node), "--from",
                            str(whole["last_index"]), "--json")
            self.assertEqual(self.object_of(process)["range"]["entries"], 1)
            self.assertTrue(self.object_of(process)["whole"])
        process = thole("demo", *QUICK, "--dir", kept, cwd=self.folder)
        self.assert_exit(process, 3)
        self.assert_says(process, "holds a log already")

    def test_out_writes_the_result_and_the_distribution(self):
        process = thole("demo", *QUICK, "--rate", "2k", "--out", self.path("out"), cwd=self.folder)
        self.assertIn(process.returncode, [0, 1])
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["response.hgrm", "result.json"])

    def test_an_interrupt_of_floor_disk_removes_its_file(self):
        for number in [signal.SIGINT, signal.SIGTERM]:
            process = subprocess.Popen([support.THOLE, "floor", "disk", "--duration", "30s"],
                                       cwd=self.folder, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            self.wait_for(lambda: os.listdir(self.folder))
            time.sleep(1)
            process.send_signal(number)
            out, error = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 1, error)
            self.assertEqual(out, "")
            self.assertIn("interrupted", error)
            self.assertEqual(os.listdir(self.folder), [])

    def wait_for(self, true):
        end = time.monotonic() + 30
        while not true():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

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
