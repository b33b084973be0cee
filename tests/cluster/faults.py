"""What the tests of faults share: a cluster under load, and the full check at the end."""
import os
import time

import cluster
import history
import load
import network

NODES = ["n1", "n2", "n3"]
CLIENTS = ["c1", "c2", "c3"]


class FaultCase(cluster.Case):
    """A cluster with three concurrent clients; after the faults, everything that was acknowledged
    is where it was said to be, on every node."""

    def setUp(self):
        self.begin = time.monotonic()

    def network(self):
        """A network in which each node and each client has a host of its own."""
        network.need()
        net = network.Network([*NODES, *CLIENTS, "home"])
        self.addCleanup(net.close)
        return net

    def loaded(self, net=None, **more):
        """A healthy cluster of three, its load at work; nodes with ports of their own need hosts
        of their own."""
        self.rng = cluster.rng(self)
        if net is None and cluster.NET:
            net = self.network()
        self.besides = history.History()  # What the test itself appended.
        self.made = self.cluster(size=more.pop("size", "64MiB"), net=net, **more)
        self.made.format()
        self.made.start()
        self.leader = self.made.wait_healthy()["leader"]
        places = {name: network.HERE if net is None else net[name] for name in CLIENTS}
        self.load = load.Load(self.made, self.rng, places)
        self.addCleanup(self.load.stop)
        self.load.wait_progress()
        return self.made

    def say(self, words):
        print(f"    {time.monotonic() - self.begin:.1f} s: {words}", flush=True)

    def follower(self):
        return self.rng.choice([n for n in (1, 2, 3) if n != self.leader])

    def wait_leader(self, other_than=0):
        self.leader = self.made.wait_other_leader(other_than)["leader"]
        return self.leader

    def finish(self, without=None):
        """Healed: end the load, and hold what the clients were told against every node's log, and
        against the disks. `without`: a node that is none of theirs any more."""
        numbers = [number for number in (1, 2, 3) if number != without]
        self.load.check_alive()
        if without is None:
            self.made.wait_healthy()
        self.load.wait_progress()
        self.load.stop()
        self.load.check_alive()
        self.made.wait_status(lambda found: is_settled(found, numbers),
                              "all nodes know of the same committed records")
        whole = self.load.history()
        whole.merge(self.besides)
        start, payloads, printed = load.read_all(self.made, numbers[0])
        for number in numbers[1:]:
            self.assertEqual(load.read_all(self.made, number)[2], printed,
                             f"nodes {numbers[0]} and {number} differ")
        self.check_history(whole, start, payloads)
        for client in self.load.clients:
            fates = {append.fate for append in client.history.appends}
            self.assertTrue(not client.named or fates == {history.OK}, f"{client.name}: {fates}")
        for node in self.made.nodes:
            self.assertEqual(node.stop(), 0, node.said())
            self.assert_exit(cluster.thole("log", "verify", node.data), 0)
        self.say(f"{self.load.summary()}; {len(payloads)} records")

    def check_history(self, whole, start, payloads):
        found = history.check(whole, start, payloads)
        if not found:
            return
        path = os.path.abspath(f"cluster-history-{self.id()}-{cluster.SEED}")
        whole.save(path, start, payloads)
        shown = "\n".join(f"{kind}: {words}" for kind, words in found[:20])
        self.fail(f"seed {cluster.SEED}: {len(found)} violations, history in {path}\n{shown}")


def is_settled(found, numbers):
    """Whether these nodes hold the same committed records, under a leader."""
    nodes = [found["nodes"][number - 1] for number in numbers]
    ends = {(node["log_start_offset"], node["log_end_offset"]) for node in nodes}
    return found["available"] and None not in ends.pop() and not ends
