"""Ports of different MTUs, and a way between that carries less than both its ends: entries take
frames that arrive, and the larger ones where they can."""
import json

import cluster
from cluster import thole
from test_ethernet import EthernetCase

SPECS = ["af_packet:eth0", "af_xdp:eth0"]
LARGE = 3400
USUAL = 1500
RECORD_BYTES = 50000
RECORDS = 20
OFTEN = "election = 150ms-300ms\nheartbeat = 15ms\n"
SELDOM = "election = 500ms-1s\nheartbeat = 50ms\n"  # So few heartbeats that they do not count.
# Frames of one record: 16 of an MTU of 3400, 39 of 1500, 50 of the smallest.
FEW = 25 * RECORDS
MANY = 35 * RECORDS


class FrameSizes(EthernetCase):
    def wide(self, spec, mtus):
        """A cluster whose node n has this MTU, behind a bridge that carries all; node 1 leads."""
        made = self.rigged()
        with open(made.path, encoding="ascii") as file:
            text = file.read()
        self.assertIn(OFTEN, text)
        with open(made.path, "w", encoding="ascii") as file:
            file.write(text.replace(OFTEN, SELDOM))
        for node, mtu in zip(made.nodes, mtus):
            name = f"n{node.number}"
            self.ip(name, "link", "set", "dev", "eth0", "mtu", str(mtu))
            self.bridge_mtu(name, LARGE)
            node.start("--net", spec if mtu == USUAL else f"{spec},mtu={mtu}")
        made.wait_healthy()
        thole("leader", "transfer", "1", "-c", made.path, place=made.place)
        made.wait_status(lambda found: found["leader"] == 1 and found["healthy"], "node 1 leads")
        return made

    def bridge_mtu(self, name, mtu):
        """Of the bridge's port to a host: what it carries there."""
        done = self.net.switch.run("ip", "link", "set", "dev", name, "mtu", str(mtu), text=True,
                                   capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def packets(self, name):
        done = self.net.switch.run("ip", "-json", "-statistics", "link", "show", "dev", name,
                                   text=True, capture_output=True)
        return json.loads(done.stdout)[0]["stats64"]["tx"]["packets"]

    def append_large(self, made):
        """Large records; returns the packets that reached each host meanwhile."""
        lines = [chr(ord("a") + i) * RECORD_BYTES for i in range(RECORDS)]
        before = {name: self.packets(name) for name in ("n2", "n3")}
        self.append(made, lines)
        self.assertEqual(self.read(made)[-RECORDS:], lines)
        made.wait_healthy()  # All have everything.
        return {name: self.packets(name) - count for name, count in before.items()}

    def test_each_follower_gets_frames_that_its_port_takes(self):
        for spec in SPECS:
            made = self.wide(spec, [LARGE, LARGE, USUAL])
            counts = self.append_large(made)
            self.assertLess(counts["n2"], FEW, spec)
            self.assertGreater(counts["n3"], MANY, spec)
            self.assertEqual([node.stop() for node in made.nodes], [0, 0, 0])
            for node in made.nodes:
                self.assertNotIn("do not reach", node.said())
            external = spec.startswith("af_packet")
            self.assertIn("chains yes, fan-out external" if external else
                          "chains no, fan-out copy, the driver takes no chained buffers",
                          made[1].said())
            self.assertEqual("tx_external" in made[1].said(), external)

    def test_a_way_that_carries_less_is_found_named_and_used_again_when_mended(self):
        for spec in SPECS:
            made = self.wide(spec, [LARGE, LARGE, LARGE])
            self.assertLess(self.append_large(made)["n2"], FEW, spec)
            self.bridge_mtu("n2", USUAL)  # While frames are large.
            counts = self.append_large(made)
            self.assertGreater(counts["n2"], MANY, spec)
            self.assertLess(counts["n3"], FEW, spec)
            made.wait(lambda: "do not reach node 2" in made[1].said(), "the way is named")
            self.assertNotIn("do not reach node 3", made[1].said())
            self.assertIn("ip link set dev IF mtu", made[1].said())
            self.bridge_mtu("n2", LARGE)
            made.wait(lambda: self.append_large(made)["n2"] < FEW, "large frames are used again")
            self.assertEqual([node.stop() for node in made.nodes], [0, 0, 0])

    def test_a_bridge_narrower_than_the_usual_carries_the_smallest(self):
        made = self.wide("af_packet:eth0", [LARGE, USUAL, USUAL])
        self.bridge_mtu("n2", 1400)
        counts = self.append_large(made)
        self.assertGreater(counts["n2"], 45 * RECORDS)
        self.assertEqual([node.stop() for node in made.nodes], [0, 0, 0])


if __name__ == "__main__":
    cluster.main()
