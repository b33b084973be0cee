"""`thole bench run --local` over real ports, and the echoes of `thole floor net`, most of them on
virtual cards in a namespace that ends with the command.

No time is judged: a run says whether it is valid, and a busy machine may make it invalid. What must
hold is that nothing is lost, that the floor was measured over the same ports, and its order.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import cluster
import network
from cluster import Case

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set",
          "-all", "--inh-caps", "-all", "--"]
SHORT = ["--duration", "1s", "--warmup", "300ms", "--log-size", "64MiB", "--seed", "7", "--json"]
ECHO = ["--duration", "200ms", "--json"]


class PortsCase(Case):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix=f"{cluster.FOLDER}{os.getpid()}-", dir=os.getcwd())
        self.addCleanup(shutil.rmtree, self.folder, True)

    def run_here(self, *arguments, before=()):
        return subprocess.run([*before, cluster.THOLE, *arguments], cwd=self.folder, text=True,
                              timeout=120, stdin=subprocess.DEVNULL, capture_output=True,
                              check=False)

    def need_cards(self):
        """Skip where nobody may make virtual cards without privilege; what stands before a command
        that has none."""
        plain = NOBODY if os.geteuid() == 0 else []
        os.chmod(self.folder, 0o777)
        probe = subprocess.run([*plain, "unshare", "-Urn", "ip", "link", "add", "br0", "type",
                                "bridge"], capture_output=True, text=True, check=False)
        if probe.returncode != 0:
            self.skipTest(f"no bridge in a user namespace here: {probe.stderr.strip()}")
        return plain

    def need_root(self):
        if os.geteuid() != 0:
            self.skipTest("af_xdp needs root")
        network.need()


class Run(PortsCase):
    def measured(self, net, before=()):
        """A run over these ports, with its floor over the same."""
        done = self.run_here("bench", "run", "--local", "3", "--net", net, "--closed", *SHORT,
                             before=before)
        self.assertIn(done.returncode, [0, 1], done.stderr)
        found = json.loads(done.stdout)
        self.assertIs(found["valid"], done.returncode == 0)
        self.assertEqual(found["config"]["net"], net)
        self.assertIs(found["durable"], True)
        self.assertGreater(found["counts"]["acked"], 0, found["invalid_reasons"])
        for wrong in ["lost", "duplicated", "out_of_order", "damaged"]:
            self.assertEqual(found["verify"][wrong], 0, found["verify"])
        self.assertGreater(found["floors_ns"]["commit_count"], 0)
        self.assertEqual(os.listdir(self.folder), [])
        return found

    def valid(self, net, before=()):
        """One of a few runs is valid and has enough rounds of floor for its medians, whatever else
        the machine and its disk do."""
        for _ in range(4):
            found = self.measured(net, before)
            floors = found["floors_ns"]
            if found["valid"] and floors["commit_p50"] is not None:
                self.assertIsNotNone(floors["peer_echo_p50"])
                self.assertGreater(floors["commit_p50"], floors["peer_echo_p50"])
                self.assertIsNotNone(found["ratio_to_floor"]["p50"])
                return
        self.fail(f"{found['invalid_reasons']} {found['floors_ns']}")

    def test_a_cluster_in_one_process_is_measured_over_sockets(self):
        self.valid("udp")

    def test_a_cluster_in_one_process_is_measured_over_af_packet(self):
        self.valid("af_packet", before=self.need_cards())

    def test_a_cluster_in_one_process_is_measured_over_af_xdp(self):
        self.need_root()
        self.valid("af_xdp,mtu=3000")

    def bridged(self):
        """Interfaces p0 to p3 on a bridge in a namespace, and how to run a command there."""
        self.need_root()
        net = network.Network(["home"])
        self.addCleanup(net.close)
        words = "link add br0 type bridge\nlink set br0 up\n"
        for number in range(4):
            words += (f"link add p{number} type veth peer name b{number}\n"
                      f"link set b{number} master br0 up\nlink set p{number} up\n")
        net.do(net["home"], ["ip", "-batch", "-"], words)
        return net, ["nsenter", f"--net={net.namespaces['home']}", "--"]

    def test_interfaces_that_are_there_are_taken_by_their_numbers(self):
        net, inside = self.bridged()
        self.valid("af_packet:p%d", before=inside)
        net.do(net["home"], ["ip", "-batch", "-"], "link set b2 nomaster\n")
        done = self.run_here("bench", "run", "--local", "3", "--net", "af_packet:p%d", *SHORT,
                             before=inside)
        self.assert_exit(done, 3, "do not hear")
        self.assertEqual(os.listdir(self.folder), [])

    def test_replicas_that_elect_nobody_exit_4(self):
        net, inside = self.bridged()
        # The ports hear each other, the nodes do not: whose datagrams begin with THOF.
        net.do(net["home"], ["nft", "-f", "-"],
               "table bridge deaf { chain forward { type filter hook forward priority 0; "
               "ether type ip meta l4proto udp @th,64,32 0x54484f46 drop; }; }\n")
        done = self.run_here("bench", "run", "--local", "3", "--net", "af_packet:p%d", *SHORT,
                             before=inside)
        self.assert_exit(done, 4, "no leader was elected within 10 s")
        self.assertEqual(os.listdir(self.folder), [])


class Beside(PortsCase):
    """A running cluster at hosts of its own, and its floor on a second card of each host."""

    def rigged(self, kind):
        self.need_root()
        names = ["n1", "n2", "n3", "home"]
        net = network.Network(names)
        self.addCleanup(net.close)
        for name in names[:3]:
            net.do(net.switch, ["ip", "-batch", "-"],
                   f"link add fl{name} type veth peer name fl0 "
                   f"netns {net.namespaces[name]}\n"
                   f"link set dev fl{name} addrgenmode none\n"
                   f"link set dev fl{name} master br0 up\n")
            net.do(net[name], ["ip", "-batch", "-"],
                   "link set fl0 addrgenmode none up\naddress flush dev eth0\n")
        made = self.cluster(net=net)
        with open(made.path, encoding="ascii") as file:
            text = file.read()
        with open(made.path, "w", encoding="ascii") as file:
            file.write(text.replace("spec = udp", f"spec = {kind}:eth0"))
        made.format()
        made.start()
        made.wait_healthy()
        return made, net

    def bench(self, made, net, *more):
        paths = ",".join(net.namespaces[name] for name in net.names[:3])
        return made.place.run(cluster.THOLE, "bench", "run", "-c", made.path, "--closed",
                              "--duration", "3s", "--warmup", "300ms", "--floor-ns", paths, *more,
                              "--json", text=True, capture_output=True)

    def measured(self, kind):
        made, net = self.rigged(kind)
        done = self.bench(made, net, "--floor-net", f"{kind}:fl0", "--floor-address", "10.77.0.201")
        self.assertIn(done.returncode, [0, 1], done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(found["config"]["net"], f"{kind}:eth0")
        self.assertIsNone(found["floors_why"])
        self.assertGreater(found["counts"]["acked"], 0, found["invalid_reasons"])
        self.assertEqual(found["verify"]["lost"], 0, found["verify"])
        floors = found["floors_ns"]
        self.assertGreater(floors["commit_count"], 0)
        self.assertIsNotNone(floors["peer_echo_p50"])
        self.assertGreater(floors["commit_p50"], floors["peer_echo_p50"])
        self.assertIsNotNone(found["ratio_to_floor"]["p50"])
        done = self.bench(made, net)
        self.assertIn("--floor-net", json.loads(done.stdout)["floors_why"])

    def test_a_running_cluster_on_af_packet_has_its_floor_over_af_packet(self):
        self.measured("af_packet")

    def test_a_running_cluster_on_af_xdp_has_its_floor_over_af_xdp(self):
        self.measured("af_xdp")


class Echo(PortsCase):
    def judge(self, done, spec, ends):
        self.assert_exit(done, 0)
        found = json.loads(done.stdout)
        self.assertEqual(found["schema"], "thole-floor-1")
        port = found["net"]
        self.assertEqual(port["spec"], spec)
        self.assertEqual(port["ends"], ends)
        for row in port["rows"]:
            self.assertGreater(row["latency_ns"]["count"], 0)
            self.assertGreater(row["frames_per_s"], 0)
        return found

    def echoes(self, net, *more, before=()):
        found = self.judge(self.run_here("floor", "net", "--net", net, *ECHO, *more, before=before),
                           net, "both")
        self.assertEqual([(row["bytes"], row["depth"]) for row in found["net"]["rows"]],
                         [(64, 1), (64, 32), (1400, 1), (1400, 32)])
        self.assertIn("cpu", found["env"])
        return found["net"]

    def test_frames_come_back_over_every_port(self):
        self.assertIsNone(self.echoes("ring")["mtu"])
        self.assertEqual(self.echoes("udp")["copies_per_payload_byte"],
                         {"program": 0, "driver": 0, "kernel": 2})
        self.echoes("udp", "--idle", "block")

    def test_frames_come_back_over_af_packet_without_privilege(self):
        found = self.echoes("af_packet", before=self.need_cards())
        self.assertEqual(found["driver"], "net_af_packet")
        self.assertEqual(found["mtu"], 1500)

    def test_frames_come_back_over_af_xdp(self):
        self.need_root()
        self.assertEqual(self.echoes("af_xdp,mtu=3000")["mtu"], 3000)

    def test_all_is_the_disk_and_the_ports(self):
        found = self.judge(self.run_here("floor", "all", "--net", "ring", "--size", "100",
                                         "--duration", "50ms", "--json"), "ring", "both")
        self.assertEqual([row["bytes"] for row in found["net"]["rows"]], [100, 100])
        self.assertEqual(len(found["disk"]), 4)
        self.assertEqual(os.listdir(self.folder), [])

    def serving(self, spec, address, *more, before=()):
        """A server, once it serves."""
        process = subprocess.Popen(
            [*before, cluster.THOLE, "floor", "net", "--serve", "--net", spec, "--address", address,
             *more], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        line = process.stderr.readline()
        self.assertIn("serving echoes at ", line)
        return process, re.search(r" at (\S+) over ", line).group(1)

    def test_a_server_answers_the_floors_frames_alone_each_by_one_as_long(self):
        process, at = self.serving("udp", "127.0.0.1:" + str(cluster.free_ports(1)[0]))
        found = self.judge(self.run_here("floor", "net", "--to", at, *ECHO), "udp", "client")
        ends = at.split(":")
        answers = self.answers((ends[0], int(ends[1])))
        self.assertEqual(len(answers), 1)
        self.assertEqual(len(answers[0]), 100)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=cluster.PATIENCE_S), 0)
        answered = int(re.search(r"answered (\d+) frames", process.stderr.read()).group(1))
        counted = sum(row["latency_ns"]["count"] for row in found["net"]["rows"])
        self.assertGreaterEqual(answered, counted + 1)

    def answers(self, server):
        """What comes back for one frame of the floor among others that are none."""
        magic, echo, reply = b"THFL", 5, 6  # bench/floor_frame.h
        frame = magic + bytes([echo, 1]) + bytes(2) + (7).to_bytes(8, "little") + bytes(84)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.settimeout(2)
            for wrong in [b"x", frame[:23], b"XXXX" + frame[4:],
                          magic + bytes([reply]) + frame[5:], bytes(100)]:
                own.sendto(wrong, server)
            own.sendto(frame, server)
            found = []
            try:
                while True:
                    found.append(own.recv(2048))
                    own.settimeout(0.3)
            except TimeoutError:
                return found

    def test_two_processes_at_two_hosts_echo_over_ports_of_their_own(self):
        self.need_root()
        net = network.Network(["n1", "home"])
        self.addCleanup(net.close)
        inside = {name: ["nsenter", f"--net={net.namespaces[name]}", "--"]
                  for name in net.names}
        for name in net.names:
            net.do(net[name], ["ip", "address", "flush", "dev", "eth0"], "")
        for spec in ["af_packet:eth0", "af_xdp:eth0"]:
            process, at = self.serving(spec, "10.77.0.1:7000", "--duration", "60s",
                                       before=inside["n1"])
            self.judge(self.run_here("floor", "net", "--to", at, "--net", spec, "--address",
                                     "10.77.0.2:7000", *ECHO, before=inside["home"]),
                       spec, "client")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=cluster.PATIENCE_S), 0)

    def test_nobody_who_answers_exits_4(self):
        at = "127.0.0.1:" + str(cluster.free_ports(1)[0])
        done = self.run_here("floor", "net", "--to", at)
        self.assert_exit(done, 4, at, "--serve")
        self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    cluster.main()
