"""The rig itself: what it cuts does not arrive, what it does not cut does, and nothing is left."""
import os
import re
from subprocess import PIPE

import cluster
import network
from cluster import Case

SEND = """
import socket, sys
target, count = sys.argv[1], int(sys.argv[2])
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(count):
    out.sendto(b"%d" % i, (target, 9))
"""
RECEIVE = """
import socket, sys
into = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
into.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
into.bind(("0.0.0.0", 9))
print("ready", flush=True)
sys.stdin.readline()
into.setblocking(False)
found = []
try:
    while True:
        found.append(int(into.recv(100)))
except BlockingIOError:
    print(*found)
"""


class Rig(Case):
    def setUp(self):
        network.need()
        self.net = network.Network(["n1", "n2", "n3"])
        self.addCleanup(self.net.close)

    def arrive(self, source, target, count):
        """Send so many datagrams one after another; the numbers of those that came. A veth
        delivers before the sender returns, so there is nothing to wait for."""
        with self.net[target].popen("python3", "-c", RECEIVE, stdin=PIPE, stdout=PIPE,
                                    text=True) as receiver:
            self.assertEqual(receiver.stdout.readline(), "ready\n")
            done = self.net[source].run("python3", "-c", SEND, self.net.address(target),
                                        str(count), capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            made = receiver.communicate("\n", timeout=cluster.PATIENCE_S)[0]
        return [int(word) for word in made.split()]

    def assert_connected(self, *pairs):
        for source, target in pairs:
            self.assertEqual(self.arrive(source, target, 3), [0, 1, 2], f"{source} to {target}")

    def assert_cut(self, *pairs):
        for source, target in pairs:
            self.assertEqual(self.arrive(source, target, 3), [], f"{source} to {target}")

    def test_all_are_connected_at_first_and_again_after_healing(self):
        pairs = [(a, b) for a in self.net.names for b in self.net.names if a != b]
        self.assert_connected(*pairs)
        self.net.cut_one_way(["n1"], ["n2", "n3"])
        self.net.lose(100)
        self.assert_cut(("n1", "n2"), ("n2", "n1"))
        self.net.calm()
        self.assert_connected(*pairs)

    def test_a_cut_takes_both_directions_and_no_other_link(self):
        self.net.cut(["n1"], ["n2"])
        self.assert_cut(("n1", "n2"), ("n2", "n1"))
        self.assert_connected(("n1", "n3"), ("n3", "n1"), ("n2", "n3"), ("n3", "n2"))
        self.assertGreater(self.net.counts()["cut"], 0)

    def test_a_one_way_cut_takes_one_direction(self):
        self.net.cut_one_way(["n1"], ["n2", "n3"])
        self.assert_cut(("n1", "n2"), ("n1", "n3"))
        self.assert_connected(("n2", "n1"), ("n3", "n1"), ("n2", "n3"))
        self.assertEqual(self.net.counts()["one_way_cut"], 6)

    def test_an_isolated_group_hears_itself_alone(self):
        self.net.isolate(["n1", "n2"])
        self.assert_cut(("n1", "n3"), ("n3", "n2"))
        self.assert_connected(("n1", "n2"), ("n2", "n1"))

    def test_some_are_lost_and_the_others_come_in_order(self):
        self.net.lose(20)
        came = self.arrive("n1", "n2", 2000)
        self.assertEqual(came, sorted(set(came)))
        self.assertTrue(1200 < len(came) < 1900, len(came))
        self.assertEqual(self.net.counts()["lost"], 2000 - len(came))

    def test_some_come_twice_and_none_is_missing(self):
        self.net.repeat(20)
        came = self.arrive("n1", "n2", 2000)
        self.assertEqual(sorted(set(came)), list(range(2000)))
        self.assertTrue(2100 < len(came) < 2900, len(came))
        self.assertGreaterEqual(self.net.counts()["repeated"], len(came) - 2000)

    def test_nothing_of_it_is_seen_outside_and_nothing_is_left(self):
        for command in ["ip", "-o", "link"], ["ip", "netns", "list"], ["nft", "list", "tables"]:
            words = network.HERE.run(*command, capture_output=True, text=True).stdout
            for name in [*self.net.names, "br0", "faults", "copies"]:
                self.assertIsNone(re.search(rf"\b{name}[:@ \n]", words), words)
        keeper = self.net.lab["keeper"]["pid"]
        inodes = {host["inode"] for host in [*self.net.lab["hosts"], self.net.lab["switch"]]}
        self.assertEqual(len(inodes), 4)
        with self.net["n1"].popen("sh", "-c", "echo here; exec sleep 1000",
                                  stdout=PIPE) as left:
            left.stdout.readline()
            running = network.processes_in(inodes)
            self.net.close()
            self.assertEqual(left.wait(timeout=cluster.PATIENCE_S), -9)
        self.assertFalse(os.path.exists(f"/proc/{keeper}/ns/net"))
        self.assertGreaterEqual(len(running), 2)
        self.assertFalse(running & network.processes_in(inodes))
        self.assertFalse(os.path.exists(self.net.folder))


if __name__ == "__main__":
    cluster.main()
