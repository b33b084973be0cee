"""Senders that nobody wants, over every kind of port: what no node of the configuration and no
client of the cluster says is answered by nothing, and a storm of it costs a client next to nothing.

A storm is what one core can send (tests/cluster/storm.c), so it gets one CPU, the cluster and its
client the others. The rate is half of what the client gets while that same storm blows at a port
that nobody reads: what the sender alone takes from the machine is no node's fault.
"""
import json
import os
import re
import signal
import subprocess

import cluster
import network
from cluster import Case, thole

NAMES = ["n1", "n2", "n3", "home", "stranger", "sink"]
UNWANTED = "random,tiny,long,cluster"  # What a filter by the first bytes tells apart.
CLEVER = "crc"  # What begins like a client's frame and is none.
SECONDS = "6" if cluster.LONG else "1"
KEPT = 0.8  # Of the rate, under the storm.
TRIES = 3  # Of a machine that others use too.
DATAGRAMS = 20000  # Of a stranger that is only to be heard.
ROOM = "retention = 64MiB\n"
MORTAL = ["setpriv", "--pdeathsig", "KILL", "--"]  # It dies with this program.
SINK = """
import socket, sys, time
into = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
into.bind((sys.argv[1], int(sys.argv[2])))
print(into.getsockname()[1], flush=True)
time.sleep(3600)
"""


def pinned(place, cpus):
    """The same place, on these CPUs alone."""
    return network.Place([*place.prefix, "taskset", "--cpu-list", cpus])


class Hostile(Case):
    def rigged(self, spec):
        """Three healthy nodes on such ports; where the strangers stand; a port that nobody reads;
        and on two CPUs or more, one for the strangers."""
        cpus = sorted(os.sched_getaffinity(0))
        self.strange = str(cpus[0])
        self.rest = ",".join(str(cpu) for cpu in cpus[1:] or cpus)
        if spec == "udp":
            made = self.cluster(size="256MiB", storage=ROOM)
            self.stranger = sink = network.HERE
            sink_address = ["127.0.0.1", "0"]
        else:
            network.need()
            net = network.Network(NAMES)
            self.addCleanup(net.close)
            made = self.cluster(size="256MiB", storage=ROOM, net=net)
            self.stranger, sink = net["stranger"], net["sink"]
            sink_address = [net.address("sink"), "7001"]
            for node in made.nodes:
                node.place.run("ip", "address", "flush", "dev", "eth0")
        made.format()
        for node in made.nodes:
            node.place = pinned(node.place, self.rest)
            node.start(*([] if spec == "udp" else ["--net", f"{spec}:eth0"]))
        process = sink.popen(*MORTAL, "python3", "-c", SINK, *sink_address, stdout=subprocess.PIPE,
                             text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.sink = f"{sink_address[0]}:{process.stdout.readline().strip()}"
        self.leader = made[made.wait_healthy()["leader"]]
        return made

    def words(self, kinds, targets, *more):
        program = os.path.join(os.path.dirname(cluster.THOLE), "tests", "cluster", "storm")
        return [program, "--to", ",".join(targets), "--cluster", cluster.CLUSTER_ID,
                "--kinds", kinds, "--seed", str(cluster.SEED), "--listen", "0.2", *more]

    def resident(self, made):
        """KiB of memory of each node."""
        found = []
        for node in made.nodes:
            with open(f"/proc/{node.process.pid}/status", encoding="ascii") as file:
                found.append(int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)))
        return found

    def counted(self, node):
        return {name: int(number) for name, number in
                re.findall(r"(\w+) (\d+)", node.said().split("port counted:")[1])}

    def nobody_answers(self, spec):
        """Every kind of stranger's words, to every node: silence, and no harm."""
        made = self.rigged(spec)
        done = made.place.run(cluster.THOLE, "append", "-c", made.path, input="one\ntwo\n",
                              text=True, capture_output=True)
        self.assert_exit(done, 0)
        targets = [node.address for node in made.nodes]
        before = made.status()
        for kinds in [UNWANTED, CLEVER, "forged"]:
            done = self.stranger.run(*self.words(kinds, targets, "--count", str(DATAGRAMS)),
                                     text=True, capture_output=True)
            self.assert_exit(done, 0)
            found = json.loads(done.stdout)
            self.assertEqual(found["replies"], 0, f"{spec} answered {kinds}")
            self.assertGreater(found["sent"], DATAGRAMS / 2)
        after = made.wait_healthy()
        self.assertEqual([after["leader"], after["nodes"][0]["term"]],
                         [before["leader"], before["nodes"][0]["term"]])
        done = thole("read", "-c", made.path, place=made.place)
        self.assertEqual(done.stdout, "one\ntwo\n")
        self.assertEqual([node.stop() for node in made.nodes], [0, 0, 0])

    def bench(self, made, *arguments):
        done = pinned(made.place, self.rest).run(
            cluster.THOLE, "bench", "run", "-c", made.path, "--json", "--no-floor",
            "--duration", f"{SECONDS}s", "--warmup", "300ms", *arguments,
            text=True, capture_output=True)
        self.assertIn(done.returncode, [0, 1], done.stderr)
        return json.loads(done.stdout)

    def weather(self, made, kinds, targets, *arguments):
        """A run of the client while the storm blows at these; what both of them say."""
        process = pinned(self.stranger, self.strange).popen(
            *MORTAL, *self.words(kinds, targets), stdout=subprocess.PIPE, text=True,
            start_new_session=True)  # Its share of the machine is not the cluster's.
        try:
            found = self.bench(made, *arguments)
        finally:
            process.send_signal(signal.SIGTERM)
            said = json.loads(process.communicate()[0])
        return found, said

    def storm(self, spec, made, kinds, targets):
        """The client at half of its highest rate in this storm: what it keeps of that, or None
        when it does not get the rate from the machine at all."""
        most, _ = self.weather(made, kinds, [self.sink], "--rate", "max")
        rate = str(int(most["achieved_per_s"] / 2))
        found, said = self.weather(made, kinds, targets, "--rate", rate)
        kept = found["achieved_per_s"] / float(rate)
        print(f"{spec}, {kinds}, to {len(targets)}: {said['sent'] / said['seconds']:.0f} "
              f"datagrams/s; the client offers {rate} records/s, half of its highest, and "
              f"{kept:.3f} of it are acknowledged, p99 "
              f"{(found['latency_ns']['response']['p99'] or 0) / 1e6:.1f} ms", flush=True)
        self.assertEqual(said["replies"], 0)
        if found["verify"]["by"] == "log files":
            self.assertGreaterEqual(found["verify"]["acked"], found["counts"]["acked"])
        for wrong in ["lost", "duplicated", "out_of_order", "damaged"]:
            self.assertEqual(found["verify"][wrong], 0, found["verify"])
        if kept < KEPT:
            elsewhere, _ = self.weather(made, kinds, [self.sink], "--rate", rate)
            got = elsewhere["achieved_per_s"] / float(rate)
            print(f"with the storm elsewhere: {got:.3f}", flush=True)
            return None if got < KEPT + 0.1 else kept
        return kept

    def storms(self, spec):
        made = self.rigged(spec)
        before = self.resident(made)
        everywhere = [node.address for node in made.nodes]
        kinds_and_targets = [(UNWANTED, [self.leader.address]),
                             (f"{UNWANTED},{CLEVER}", everywhere)]
        if cluster.LONG:
            kinds_and_targets.append((CLEVER, [self.leader.address]))
        for kinds, targets in kinds_and_targets:
            for _ in range(TRIES):
                kept = self.storm(spec, made, kinds, targets)
                if kept is not None:
                    break
            self.assertGreaterEqual(kept or 0, KEPT)
        self.assertEqual(self.resident(made), before)
        made.wait_healthy()
        self.assertEqual([node.stop() for node in made.nodes], [0, 0, 0])
        return self.counted(self.leader)


class Strangers(Hostile):
    def test_nobody_is_answered_by_sockets(self):
        self.nobody_answers("udp")

    def test_nobody_is_answered_by_af_packet(self):
        self.nobody_answers("af_packet")

    def test_nobody_is_answered_by_af_xdp(self):
        self.nobody_answers("af_xdp")


class Storms(Hostile):
    def setUp(self):
        super().setUp()
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("one CPU: what a storm takes from it is no node's fault")

    def test_a_client_of_sockets_keeps_its_rate(self):
        counted = self.storms("udp")
        self.assertGreater(counted["rx_kernel_drops"], 0)

    def test_a_client_of_af_packet_keeps_its_rate(self):
        self.assertNotIn("rx_unwanted", self.storms("af_packet"))

    def test_a_client_of_af_xdp_keeps_its_rate(self):
        self.assertGreater(self.storms("af_xdp")["rx_unwanted"], 0)


if __name__ == "__main__":
    cluster.main()
