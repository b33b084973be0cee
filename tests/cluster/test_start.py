"""`thole start`: what it refuses, how it ends, what it costs when idle."""
import os
import re
import resource
import signal
import socket
import subprocess
import time

import cluster
from cluster import Case, thole

SUPERBLOCK_SLOT_COPIES = [0, 128 << 10]  # Both copies of slot 0 (docs/STORAGE.md).


class Refused(Case):
    def start(self, made, *more, number=1):
        return thole("start", "-c", made.path, "--node", str(number), *more)

    def test_a_folder_without_a_log_names_the_format_command(self):
        made = self.cluster()
        done = self.start(made, number=2)
        self.assert_exit(done, 3, f"thole format -c {made.path} --node 2")
        self.assertEqual(done.stdout, "")

    def test_a_file_of_zeros_names_the_format_command(self):
        made = self.cluster()
        os.mkdir(made[1].data)
        with open(os.path.join(made[1].data, "log"), "wb") as out:
            out.write(bytes(32 << 20))
        self.assert_exit(self.start(made), 3, f"thole format -c {made.path} --node 1")

    def test_a_second_start_on_the_same_data_is_refused(self):
        made = self.cluster(1)
        made.format()
        made.start()
        self.assert_exit(self.start(made), 3, f"locked by another process, {made[1].process.pid};")
        made.wait_healthy()

    def test_a_port_that_is_taken_is_refused(self):
        made = self.cluster(1)
        made.format()
        address = made.status()["nodes"][0]["address"].split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((address[0], int(address[1])))
            self.assert_exit(self.start(made), 3, "another process has this port")

    def test_the_log_of_another_node_is_refused(self):
        made = self.cluster()
        made[1].format()
        os.rename(made[1].data, made[2].data)
        self.assert_exit(self.start(made, number=2), 3, "belongs to node 1, not to node 2")

    def test_a_damaged_log_exits_1_with_what_was_found(self):
        made = self.cluster(1)
        made.format()
        with open(os.path.join(made[1].data, "log"), "r+b") as file:
            for at in SUPERBLOCK_SLOT_COPIES:
                file.seek(at)
                file.write(os.urandom(4096))
        self.assert_exit(self.start(made), 1, "superblock is damaged", "must not start")

    def test_wrong_flags_exit_2(self):
        made = self.cluster()
        for flags in [["--idle", "never"], ["--cpu", "x"], ["--cpu", "0,1"], ["extra"],
                      ["--no-such-flag"], ["--", "-l", "0"]]:
            self.assert_exit(self.start(made, *flags), 2, "")
        self.assert_exit(self.start(made, number=4), 2, "no [node 4]")
        self.assert_exit(thole("start", "-c", made.path), 2, "--node")
        self.assert_exit(thole("start", "--node", "1"), 2, "-c FILE")
        self.assert_exit(thole("start", "-c", "nowhere.ini", "--node", "1"), 2, "nowhere.ini")

    def test_a_ring_exits_3_and_what_is_no_port_2(self):
        made = self.cluster()
        self.assert_exit(self.start(made, "--net", "ring"), 3, "ring", "udp")
        for spec in ["bogus", "af_xdp:", "af_packet:eth0,q=1", "udp:eth0"]:
            self.assert_exit(self.start(made, "--net", spec), 2, spec, "af_packet:IF")

    def test_a_port_that_is_not_there_exits_3(self):
        made = self.cluster(1)
        made.format()
        for spec in ["af_xdp:nowhere0", "af_packet:nowhere0"]:
            self.assert_exit(self.start(made, "--net", spec), 3, "nowhere0", "thole net ls")

    def test_status_and_check_of_a_wrong_file_exit_2(self):
        for command in ["status", "check"]:
            self.assert_exit(thole(command), 2, "-c FILE")
            self.assert_exit(thole(command, "-c", "nowhere.ini"), 2, "nowhere.ini")

    def test_status_of_nobody_is_not_available(self):
        made = self.cluster()
        found = made.status()
        self.assertEqual(found["exit"], 1)
        self.assertIsNone(found["leader"])
        self.assertFalse(found["available"])
        asked = ", ".join(node.address for node in made.nodes)
        self.assertIn(f"no node answers at {asked}: nothing runs there", found["notes"])
        self.assertNotIn("nobody leads", found["notes"])
        done = thole("status", "-c", made.path)
        self.assertIn("not available, no node answers", done.stdout)

    def test_whoever_asks_where_no_node_answers_exits_4_and_says_who_was_asked(self):
        made = self.cluster()
        asked = ", ".join(node.address for node in made.nodes)
        for command in [["read"], ["backup", "--output", f"{made.folder}/log.bak"],
                        ["net", "stat"]]:
            done = thole(*command, "-c", made.path)
            self.assert_exit(done, 4, f"no answer from {asked} for", "nothing runs there",
                             f"thole start -c {made.path} --node N")
        done = thole("read", "-c", made.path, "--node", "2")
        self.assert_exit(done, 4, f"no answer from {made[2].address} for")


class End(Case):
    def test_sigterm_and_sigint_end_with_0_and_leave_a_clean_log(self):
        for number in [signal.SIGTERM, signal.SIGINT]:
            made, _ = self.healthy()
            for node in made.nodes:
                node.process.send_signal(number)
            self.assertEqual([node.wait_end() for node in made.nodes], [0, 0, 0])
            for node in made.nodes:
                done = thole("log", "verify", node.data)
                self.assert_exit(done, 0)
            made.start()
            made.wait_healthy()

    def test_a_disk_that_fails_while_serving_ends_the_node_with_5(self):
        made, found = self.healthy()
        old = found["leader"]
        victim = made[old % 3 + 1]
        # From here on writes behind the first 8 KiB of a file fail (EFBIG); its next vote is one.
        resource.prlimit(victim.process.pid, resource.RLIMIT_FSIZE, (8192, 8192))
        made[old].kill()
        self.assertEqual(victim.wait_end(), 5, victim.said())
        self.assertIn("its disk failed while it served: File too large", victim.said())
        victim.start()
        made.wait_status(lambda found: found["available"], "the two lead again")

    def test_a_service_manager_is_told_when_it_serves(self):
        made = self.cluster(1)
        made.format()
        name = f"thole-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0" + name)
            manager.settimeout(cluster.PATIENCE_S)
            made[1].start(env={**os.environ, "NOTIFY_SOCKET": "@" + name})
            self.assertEqual(manager.recv(100), b"READY=1")

    def test_the_command_of_the_service_tells_its_manager_when_it_serves(self):
        made = self.cluster(1)
        made.format()
        service = os.path.join(cluster.REPOSITORY, "engine/cli/install/node.service.in")
        with open(service, encoding="utf-8") as file:
            command = re.search(r"^ExecStart=@bindir@/thole (.*)$", file.read(), re.M).group(1)
        command = command.replace("/etc/thole/cluster.ini", made.path).replace("%i", "1")
        name = os.path.join(made.folder, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(name)
            manager.settimeout(cluster.PATIENCE_S)
            with subprocess.Popen([cluster.THOLE, *command.split()], stderr=subprocess.DEVNULL,
                                  env={**os.environ, "NOTIFY_SOCKET": name}) as process:
                try:
                    self.assertEqual(manager.recv(100), b"READY=1")
                    self.assertTrue(made.wait_healthy()["available"])
                finally:
                    process.terminate()
                self.assertEqual(process.wait(cluster.PATIENCE_S), 0)

    def test_idle_modes_all_serve(self):
        made = self.cluster()
        made.format()
        for node, mode in zip(made.nodes, ["yield", "block", "sleep"]):
            node.start("--idle", mode, "--net", "udp")
        made.wait_healthy()
        made[1].stop()
        made[1].start("--idle", "spin", "--cpu", str(min(os.sched_getaffinity(0))))
        made.wait_healthy()


class Cost(Case):
    def test_three_idle_nodes_take_less_than_a_tenth_of_a_core(self):
        made, _ = self.healthy()
        time.sleep(1)
        before = [node.cpu_seconds() for node in made.nodes]
        begin = time.monotonic()
        time.sleep(5)
        wall = time.monotonic() - begin
        shares = [100 * (node.cpu_seconds() - was) / wall
                  for node, was in zip(made.nodes, before)]
        print("CPU of each idle node, percent of a core: "
              + ", ".join(f"{share:.1f}" for share in shares), flush=True)
        self.assertLess(sum(shares), 10)


if __name__ == "__main__":
    cluster.main()
