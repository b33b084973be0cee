"""`thole bench run --local` over real ports, most of them virtual cards in a namespace that ends
with the command.

No time is judged: a run says whether it is valid, and a busy machine may make it invalid. What must
hold is that nothing is lost, that the floor was measured over the same ports, and its order.
"""
import json
import os
import shutil
import subprocess
import tempfile

import cluster
import network
from cluster import Case

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set",
          "-all", "--inh-caps", "-all", "--"]
SHORT = ["--duration", "1s", "--warmup", "300ms", "--log-size", "64MiB", "--seed", "7", "--json"]


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
        floors = found["floors_ns"]
        self.assertGreater(floors["commit_count"], 0)
        self.assertIsNotNone(floors["commit_p50"])
        self.assertIsNotNone(floors["peer_echo_p50"])
        self.assertGreater(floors["commit_p50"], floors["peer_echo_p50"])
        self.assertIsNotNone(found["ratio_to_floor"]["p50"])
        self.assertEqual(os.listdir(self.folder), [])
        return found

    def valid(self, net, before=()):
        """One of a few runs is valid, whatever else the machine does."""
        for _ in range(3):
            found = self.measured(net, before)
            if found["valid"]:
                return
        self.fail(found["invalid_reasons"])

    def test_a_cluster_in_one_process_is_measured_over_sockets(self):
        self.valid("udp")

    def test_a_cluster_in_one_process_is_measured_over_af_packet(self):
        self.valid("af_packet", before=self.need_cards())

    def test_a_cluster_in_one_process_is_measured_over_af_xdp(self):
        self.need_root()
        self.valid("af_xdp,mtu=3000")

    def test_interfaces_that_are_there_are_taken_by_their_numbers(self):
        self.need_root()
        net = network.Network(["home"])
        self.addCleanup(net.close)
        words = "link add br0 type bridge\nlink set br0 up\n"
        for number in range(4):
            words += (f"link add p{number} type veth peer name b{number}\n"
                      f"link set b{number} master br0 up\nlink set p{number} up\n")
        net.do(net["home"], ["ip", "-batch", "-"], words)
        inside = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{net.fds['home']}", "--"]
        self.valid("af_packet:p%d", before=inside)
        net.do(net["home"], ["ip", "-batch", "-"], "link set b2 nomaster\n")
        done = self.run_here("bench", "run", "--local", "3", "--net", "af_packet:p%d", *SHORT,
                             before=inside)
        self.assert_exit(done, 3, "do not hear")
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    cluster.main()
