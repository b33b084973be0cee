"""Seeing the wire: what nodes capture (`--pcap`), read with tshark and the dissector of the tree,
and what they have counted (`thole net stat`)."""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import time

import cluster
import network
from cluster import Case, REPOSITORY, thole

DISSECTOR = os.path.join(REPOSITORY, "net", "thole.lua")
LINES = [f"line {number}" for number in range(300)]
STATISTICS, PACKET = 5, 6  # Blocks of pcapng.
DROPPED = 5  # An option of the statistics.
FIELDS = ["frame.time_epoch", "frame.packet_flags_direction", "frame.len", "frame.cap_len",
          "thole.kind", "thole.crc.status", "thole.entry.index", "_ws.expert.message"]


def blocks(path):
    """The blocks of a pcapng file, which must be whole: (type, body)."""
    with open(path, "rb") as file:
        data = file.read()
    at, found = 0, []
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size >= 12 and at + size <= len(data), f"a block is cut off at {at} of {len(data)}"
        assert struct.unpack_from("<I", data, at + size - 4)[0] == size
        found.append((kind, data[at + 8:at + size - 4]))
        at += size
    return found


def statistics(path):
    """Options of the statistics block: their numbers."""
    body = next(body for kind, body in blocks(path) if kind == STATISTICS)
    at, options = 12, {}
    while at + 4 <= len(body):
        code, size = struct.unpack_from("<HH", body, at)
        if size == 8:
            options[code] = struct.unpack_from("<Q", body, at + 4)[0]
        at += 4 + (size + 3) // 4 * 4
    return options


class WireCase(Case):
    def tshark(self, path, *arguments):
        if shutil.which("tshark") is None:
            self.skipTest("there is no tshark (Debian: apt install tshark)")
        done = subprocess.run(["tshark", "-X", "lua_script:" + DISSECTOR, "-r", path, *arguments],
                              text=True, capture_output=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        self.assertNotIn("Lua Error:", done.stdout + done.stderr)
        return done.stdout

    def packets(self, path):
        """One a packet: its fields by their names."""
        arguments = [word for field in FIELDS for word in ("-e", field)]
        lines = self.tshark(path, "-T", "fields", *arguments).splitlines()
        return [dict(zip(FIELDS, line.split("\t"))) for line in lines]

    def pcap(self, made, number):
        return os.path.join(made.folder, f"n{number}.pcapng")

    def append(self, made, lines):
        done = made.place.run(cluster.THOLE, "append", "-c", made.path, "--timeout", "30s",
                              input="".join(line + "\n" for line in lines), text=True,
                              capture_output=True)
        self.assert_exit(done, 0)

    def counted(self, node, word):
        """A number that the node has said at its end."""
        found = re.search(rf"\b{word} (\d+)", node.said())
        return int(found.group(1)) if found else 0

    def captured(self, node):
        return int(re.search(r"capture \S+: (\d+) packets in \d+ bytes\n", node.said()).group(1))

    def stat(self, made, *more):
        done = thole("net", "stat", "-c", made.path, "--json", *more, place=made.place)
        return done.returncode, json.loads(done.stdout)["nodes"]


class Capture(WireCase):
    def serve_and_capture(self, made, spec, *more):
        """Three nodes capture, take lines, answer whatever `more` asks, and stop cleanly."""
        made.format()
        begin = time.time()
        for node in made.nodes:
            node.start("--net", spec, "--pcap", self.pcap(made, node.number))
        leader = made.wait_healthy()["leader"]
        self.append(made, LINES)
        for ask in more:
            ask(made)
        for node in made.nodes:
            self.assertEqual(node.stop(), 0)
        packets = {node.number: self.packets(self.pcap(made, node.number)) for node in made.nodes}
        for node in made.nodes:
            self.check_packets(packets[node.number], begin, time.time())
            self.assertEqual(len(packets[node.number]), self.captured(node))
            self.assertEqual(statistics(self.pcap(made, node.number))[DROPPED], 0)
        self.check_traffic(packets, leader)
        return packets

    def check_packets(self, packets, begin, end):
        """Every one is sound, in order, within the time of the test, and has its direction."""
        times = [float(packet["frame.time_epoch"]) for packet in packets]
        self.assertEqual(times, sorted(times))
        self.assertGreater(times[0], begin - 1)
        self.assertLess(times[-1], end + 1)
        for packet in packets:
            self.assertEqual(packet["_ws.expert.message"], "", packet)
            self.assertEqual(packet["frame.len"], packet["frame.cap_len"])
            if packet["thole.kind"]:
                self.assertEqual(packet["thole.crc.status"], "good", packet)
        directions = {packet["frame.packet_flags_direction"] for packet in packets}
        self.assertEqual(directions, {"0x00000001", "0x00000002"})

    def check_traffic(self, packets, leader):
        """The leader's entries leave it and come to the others; acks come back; so do requests."""
        def seen(number, kind, direction):
            return {packet["thole.entry.index"] for packet in packets[number]
                    if packet["thole.kind"] == str(kind) and
                    packet["frame.packet_flags_direction"].endswith(str(direction))}
        sent = seen(leader, 6, 2)
        self.assertGreater(len(sent), 1)
        for number in packets:
            if number != leader:
                self.assertTrue(seen(number, 6, 1) & sent)
                self.assertTrue(seen(number, 7, 2), "acks of a follower")
        self.assertTrue(seen(leader, 7, 1), "acks at the leader")
        self.assertTrue(seen(leader, 32, 1), "requests")
        self.assertTrue(seen(leader, 33, 2), "replies")

    def test_udp(self):
        made = self.cluster()
        self.serve_and_capture(made, "udp")
        for node in made.nodes:  # Not one is missing, and none is there twice.
            self.assertEqual(self.captured(node),
                             self.counted(node, "rx_frames") + self.counted(node, "tx_frames"))
        payloads = self.tshark(self.pcap(made, 1), "-Y", "thole.kind == 6", "-T", "fields", "-e",
                               "thole.record.payload")
        first = LINES[0].encode().hex()
        self.assertIn(first, re.split(r"[\s,]", payloads))

    def on_ethernet(self, spec):
        network.need()
        net = network.Network(["n1", "n2", "n3", "home"])
        self.addCleanup(net.close)
        made = self.cluster(3, net=net)
        for name in ["n1", "n2", "n3"]:
            net[name].run("ip", "address", "flush", "dev", "eth0")

        def ping(made):
            done = made.place.run("ping", "-q", "-c", "2", "-i", "0.2", "-W", "5",
                                  made[1].address.split(":")[0], text=True, capture_output=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.serve_and_capture(made, spec, ping)
        protocols = self.tshark(self.pcap(made, 1), "-Y", "arp || icmp", "-T", "fields", "-e",
                                "_ws.col.Protocol", "-e", "frame.packet_flags_direction",
                                "-e", "icmp.type").splitlines()
        for told in ["ARP\t0x00000001\t", "ICMP\t0x00000001\t8", "ICMP\t0x00000002\t0"]:
            self.assertIn(told, protocols)

    def test_af_packet(self):
        self.on_ethernet("af_packet:eth0")

    def test_af_xdp(self):
        self.on_ethernet("af_xdp:eth0")

    def test_a_file_ends_at_its_size_and_says_what_is_missing(self):
        made = self.cluster(1)
        made.format()
        path = self.pcap(made, 1)
        made[1].start("--pcap", f"{path},size=64KiB")
        made.wait_healthy()
        self.append(made, ["x" * 1000] * 400)
        _, nodes = self.stat(made)
        told = nodes[0]["drops"]["capture.dropped_full"]
        self.assertGreater(told, 0)
        self.assertEqual(made[1].stop(), 0)
        self.assertLessEqual(os.path.getsize(path), 65536)
        self.assertIn("missed after it was full: `,size=` allows more", made[1].said())
        dropped = statistics(path)[DROPPED]
        self.assertGreaterEqual(dropped, told)
        kept = [kind for kind, _ in blocks(path)].count(PACKET)
        self.assertEqual(kept + dropped, self.counted(made[1], "rx_frames") +
                         self.counted(made[1], "tx_frames"))
        self.packets(path)

    def test_a_snap_keeps_that_much_of_every_packet(self):
        made = self.cluster(1)
        made.format()
        made[1].start("--pcap", self.pcap(made, 1) + ",snap=100")
        made.wait_healthy()
        self.append(made, LINES)
        self.assertEqual(made[1].stop(), 0)
        found = self.packets(self.pcap(made, 1))
        self.assertTrue(any(int(packet["frame.len"]) > 1000 for packet in found))
        for packet in found:
            self.assertEqual(int(packet["frame.cap_len"]), min(int(packet["frame.len"]), 100))
            self.assertEqual(packet["_ws.expert.message"], "")

    def test_what_a_killed_node_had_written_can_be_read(self):
        made = self.cluster(1)
        made.format()
        path = self.pcap(made, 1)
        made[1].start("--pcap", path)
        made.wait_healthy()
        self.append(made, LINES)
        made.wait(lambda: os.path.getsize(path) > 10000, "something is written")
        made[1].kill()
        self.assertGreater([kind for kind, _ in blocks(path)].count(PACKET), 10)
        self.packets(path)

    def test_files_that_cannot_be_written_are_refused_and_left_alone(self):
        made = self.cluster(2)
        made.format()
        path = self.pcap(made, 1)

        def refused(number, file, code, *words):
            done = thole("start", "-c", made.path, "--node", str(number), "--pcap", file)
            self.assert_exit(done, code, *words)
        refused(1, os.path.join(made.folder, "none", "a"), 3, "No such file or directory")
        refused(1, made.folder, 3, "cannot capture into", "Is a directory")
        refused(1, "/dev/null", 3, "no ordinary file")
        for wrong in ["", ",size=1MiB", "a,size=1KiB", "a,snap=63", "a,snap=9217", "a,b=1", "a,"]:
            refused(1, wrong, 2, "--pcap")
        with open(path, "w", encoding="ascii") as file:
            file.write("a diary")
        refused(1, path, 3, "holds something already", "mv ")
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), "a diary")
        os.truncate(path, 0)
        made[1].start("--pcap", path)
        refused(2, path, 3, "another process captures into it")
        self.assertEqual(made[1].stop(), 0)
        self.assertGreater(os.path.getsize(path), 100)

    def test_a_start_that_fails_leaves_an_empty_file_to_the_next(self):
        made = self.cluster(1)
        path = self.pcap(made, 1)
        for words in ["format", "format"]:
            done = thole("start", "-c", made.path, "--node", "1", "--pcap", path)
            self.assert_exit(done, 3, words)
        made.format()
        with open(os.path.join(made[1].data, "log"), "r+b") as log:
            log.write(bytes(4 * 65536))  # Its superblocks.
        done = thole("start", "-c", made.path, "--node", "1", "--pcap", path)
        self.assertNotEqual(done.returncode, 0)
        made[1].format("--force")
        made[1].start("--pcap", path)
        self.assertEqual(made[1].stop(), 0)


class Stat(WireCase):
    def test_every_drop_is_told_by_its_reason(self):
        made = self.cluster(2)
        made.format()
        made.start()
        made.wait_healthy()
        self.append(made, LINES)
        code, before = self.stat(made)
        self.assertEqual(code, 0)
        self.assertEqual([node["id"] for node in before], [1, 2])
        host, port = made[2].address.split(":")
        head = struct.pack("<IHBBBBHI", 0x464f4854, 1, 36, 0, 0, 2, 0, 96) + bytes(8)
        foreign = head + bytes(72)
        damaged = head + struct.pack("<Q", int(cluster.CLUSTER_ID, 16)) + bytes(64)
        for data in [b"x" * 96, b"x" * 96, b"short", b"", foreign, damaged]:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(data, (host, int(port)))
        # What is not of this cluster does not get past the socket's filter.
        wanted = {"port.rx_kernel_drops": 5, "frames.wrong_crc": 1, "replica.frames_dropped": 1}

        def told():
            _, after = self.stat(made)
            grown = {name: value - before[1]["drops"][name]
                     for name, value in after[1]["drops"].items()
                     if value != before[1]["drops"][name]}
            self.assertEqual(after[0]["drops"], before[0]["drops"])
            return grown == wanted
        made.wait(told, f"node 2 tells {wanted}")
        self.assertGreater(before[0]["counters"]["frames.ok"], 10)
        self.assertEqual(before[0]["facts"]["port.spec"], "udp")
        self.assertGreater(before[0]["facts"]["port.mtu"], 1000)
        done = thole("net", "stat", "-c", made.path, "--node", "2")
        self.assert_exit(done, 0)
        self.assertRegex(done.stdout, r"(?m)^port.rx_kernel_drops +5$")
        self.assertNotIn("frames.bad_field", done.stdout)
        done = thole("net", "stat", "-c", made.path, "--all")
        self.assertRegex(done.stdout, r"(?m)^frames.bad_field +0 +0$")

    def test_nodes_that_do_not_answer_are_said(self):
        made = self.cluster(2)
        made.format()
        made[1].start()
        code, nodes = self.stat(made)
        self.assertEqual(code, 1)
        self.assertEqual([node["reachable"] for node in nodes], [True, False])
        self.assertIsNone(nodes[1]["drops"])
        self.assertEqual(self.stat(made, "--node", "1")[0], 0)
        self.assertEqual(self.stat(made, "--node", "2")[0], 4)
        done = thole("net", "stat", "-c", made.path)
        self.assertIn("no answer", done.stdout)
        self.assert_exit(thole("net", "stat", "-c", made.path, "--node", "7"), 2)

    def test_watch_asks_again(self):
        made = self.cluster(1)
        made.format()
        made[1].start()
        with subprocess.Popen([cluster.THOLE, "net", "stat", "-c", made.path, "--json", "--watch"],
                              stdout=subprocess.PIPE, text=True) as watch:
            counts = [json.loads(watch.stdout.readline())["nodes"][0]["counters"]["frames.ok"]
                      for _ in range(2)]
            watch.kill()
        self.assertGreater(counts[1], counts[0])


if __name__ == "__main__":
    cluster.main()
