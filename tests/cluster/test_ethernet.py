"""Nodes on Ethernet ports of their own: `thole start --net af_packet:IF` and its like, in
namespaces on a bridge, with clients that are plain kernel sockets."""
import json
import os
import re
import subprocess
import tempfile
import time

import cluster
import network
from cluster import Case, thole

NODES = ["n1", "n2", "n3"]
FOREIGN_PROGRAM = "/usr/lib/x86_64-linux-gnu/bpf/xsk_def_xdp_prog.o"  # Of libxdp1.
PLAIN = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set",
         "-all", "--inh-caps", "-all", "--"]  # As nobody, without any right.
LINES = [f"line {number}" for number in range(200)]


class EthernetCase(Case):
    def setUp(self):
        super().setUp()
        network.need()

    def rigged(self, names=("n1", "n2", "n3", "home"), kernel=(), **more):
        """A formatted cluster. The kernel of a node's host gives the address up to the node, but
        for those in `kernel`."""
        self.net = network.Network(list(names))
        self.addCleanup(self.net.close)
        made = self.cluster(len(names) - 1, net=self.net, **more)
        for name in names:
            if name != "home" and name not in kernel:
                self.ip(name, "address", "flush", "dev", "eth0")
        if more.get("durability") != "memory":
            made.format()
        return made

    def ip(self, name, *words):
        done = self.net[name].run("ip", *words, text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def link(self, name):
        """All that there is to say of its interface, counters left out."""
        return self.ip(name, "-details", "link", "show", "dev", "eth0")

    def append(self, made, lines):
        done = made.place.run(cluster.THOLE, "append", "-c", made.path, "--timeout", "30s",
                              input="".join(line + "\n" for line in lines), text=True,
                              capture_output=True)
        self.assert_exit(done, 0)
        return [int(word) for word in done.stdout.split()]

    def read(self, made):
        done = thole("read", "-c", made.path, place=made.place)
        self.assert_exit(done, 0)
        return done.stdout.splitlines()

    def ping(self, made, node):
        done = made.place.run("ping", "-q", "-c", "2", "-i", "0.2", "-W", "5",
                              node.address.split(":")[0], text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(" 0% packet loss", done.stdout)

    def start_refused(self, made, spec, *words, code=3, prefix=()):
        node = made[1]
        done = node.place.run(*prefix, cluster.THOLE, "start", "-c", made.path, "--node", "1",
                              "--net", spec, text=True, capture_output=True)
        self.assert_exit(done, code, *words)


class Serve(EthernetCase):
    def serve(self, spec, *more):
        """Three nodes, a kernel's client: append, kill, restart, stop."""
        made = self.rigged()
        before = {name: self.link(name) for name in NODES}
        for node in made.nodes:
            node.start("--net", spec, *more)
            self.assertIn(f"port {spec} driver net_{spec.split(':')[0]} ", node.said())
        found = made.wait_healthy()
        for node in made.nodes:
            self.ping(made, node)
        self.assertEqual(self.append(made, LINES), list(range(len(LINES))))
        self.assertEqual(self.read(made), LINES)
        for _ in range(2):
            old = made[found["leader"]]
            old.kill()
            self.append(made, ["while it is away"])
            old.start("--net", spec, *more)
            found = made.wait_healthy()
        self.assertEqual(self.read(made), LINES + ["while it is away"] * 2)
        for node in made.nodes:
            self.ping(made, node)
        self.assertEqual([node.stop() for node in made.nodes], [0, 0, 0])
        for node in made.nodes:
            counted = dict(re.findall(r"(\w+) (\d+)", node.said().split("port counted:")[1]))
            self.assertEqual(int(counted["rx_echoes"]) % 2, 0)
            self.assertNotIn("rx_checksum", counted)
            self.assertNotIn("rx_arp_conflicts", counted)
        self.assertEqual({name: self.link(name) for name in NODES}, before)

    def test_af_packet(self):
        self.serve("af_packet:eth0")

    def test_af_packet_that_blocks_when_idle(self):
        self.serve("af_packet:eth0", "--idle", "block")

    def test_af_xdp(self):
        self.serve("af_xdp:eth0")

    def test_af_xdp_that_blocks_when_idle(self):
        self.serve("af_xdp:eth0", "--idle", "block")

    def test_ports_of_different_kinds_are_one_cluster(self):
        made = self.rigged(kernel=["n3"])
        for node, spec in zip(made.nodes, ["af_packet:eth0", "af_xdp:eth0", "udp"]):
            node.start("--net", spec)
        made.wait_healthy()
        self.append(made, LINES)
        for node in made.nodes:
            self.ping(made, node)
            done = thole("read", "-c", made.path, "--node", str(node.number), place=made.place)
            self.assert_exit(done, 0)

    def test_a_tap_is_a_link_to_the_kernel_beside_it(self):
        for spec in ["tap:thole0", "vdev:net_tap7,iface=thole0"]:
            made = self.rigged(["n1", "home"])
            made[1].start("--net", spec)
            self.ip("n1", "link", "set", "thole0", "addrgenmode", "none", "up")
            self.ip("n1", "address", "add", "10.77.0.100/24", "dev", "thole0")
            made.place = made[1].place
            made.wait_healthy()
            self.ping(made, made[1])
            self.append(made, LINES)
            self.assertEqual(self.read(made), LINES)
            self.assertEqual(made[1].stop(), 0)
            self.assertNotIn("thole0", self.ip("n1", "link", "show"))

    def test_an_idle_node_that_blocks_sleeps(self):
        for spec in ["af_packet:eth0", "af_xdp:eth0"]:
            made = self.rigged(["n1", "home"])
            made[1].start("--net", spec, "--idle", "block")
            made.wait_healthy()
            before = made[1].cpu_seconds()
            self.append(made, LINES)
            begin = time.monotonic()
            time.sleep(2)
            self.assertLess(made[1].cpu_seconds() - before, (time.monotonic() - begin) / 2)
            self.assertEqual(made[1].stop(), 0)


USER_NAMESPACE = """
ip link add br0 type bridge
ip link set br0 up
ip address add 10.0.0.100/24 dev br0
for n in 1 2 3; do
    ip link add p$n type veth peer name b$n
    ip link set b$n master br0 up
    ip link set p$n up
    "$THOLE" format -c cluster.ini --node $n
    # Two of them may come to the same number of DPDK's packet sockets: it is made of process ids.
    (for start in 1 2 3 4 5; do
        code=0
        setpriv --pdeathsig TERM "$THOLE" start -c cluster.ini --node $n --net af_packet:p$n ||
            code=$?
        [ $code -eq 3 ] || exit $code
     done) & pids="$pids $!"
done
trap 'kill $pids' EXIT
printf 'one\\ntwo\\n' | "$THOLE" append -c cluster.ini
"$THOLE" read -c cluster.ini
"""


# Takes the numbers of packet sockets that DPDK will make of the processes to come, then starts one.
FANOUT = """
import os, socket, struct, subprocess, sys
for words in ["link add p1 type veth peer name b1", "link set p1 up", "link set b1 up"]:
    subprocess.run(["ip", *words.split()], check=True)
flags = 0x8000 | 0x1000  # PACKET_FANOUT_FLAG_DEFRAG and _ROLLOVER, by hash.
taken = []
for pid in range(os.getpid() + 1, os.getpid() + 200):
    taken.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    taken[-1].bind(("b1", 0))
    number = (pid ^ socket.if_nametoindex("p1")) & 0xffff
    taken[-1].setsockopt(263, 18, struct.pack("I", flags << 16 | number))
sys.exit(subprocess.run([sys.argv[1], "floor", "net", "--serve", "--net", "af_packet:p1",
                         "--address", "10.0.0.1:7001"], timeout=60).returncode)
"""


def readdress(made, net):
    """Give the nodes addresses of a net that no kernel here has."""
    with open(made.path, encoding="ascii") as file:
        text = file.read()
    for node in made.nodes:
        address = f"{net}.{node.number}:7001"
        text = text.replace(node.address, address)
        node.address = address
    with open(made.path, "w", encoding="ascii") as file:
        file.write(text)


class Unprivileged(Case):
    def test_any_driver_of_dpdk_is_a_port(self):
        # Two nodes on the two ends of a shared-memory link: no kernel carries their frames.
        made = self.cluster(2)
        readdress(made, "127.255.77")
        made.format()
        for patience_s in range(1, 8):  # A log is read when its node has ended.
            with tempfile.TemporaryDirectory() as folder:
                made[1].start("--net", f"vdev:net_vhost0,iface={folder}/v")
                made[2].start("--net", f"vdev:net_virtio_user0,path={folder}/v")
                time.sleep(patience_s)
                self.assertEqual([node.stop() for node in made.nodes], [0, 0])
            entries = [self.entries(node) for node in made.nodes]
            if min(entries) > 0:
                break
        self.assertGreater(min(entries), 0)

    def entries(self, node):
        done = thole("log", "verify", node.data, "--json")
        return json.loads(done.stdout)["entries"] if done.returncode == 0 else 0

    def test_a_number_of_packet_sockets_that_another_has_is_told_so(self):
        within = ["unshare", "-Urn", "--pid", "--fork", "--mount-proc"]
        if subprocess.run([*within, "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("no user namespace here")
        done = subprocess.run([*within, "python3", "-c", FANOUT, cluster.THOLE], text=True,
                              check=False, capture_output=True)
        self.assert_exit(done, 3, "has come to the same number: start again")

    def test_three_nodes_serve_in_a_user_namespace_without_any_privilege(self):
        made = self.cluster()
        readdress(made, "10.0.0")
        plain = []
        if os.geteuid() == 0:  # Then as nobody.
            os.chown(made.folder, 65534, 65534)
            plain = PLAIN
        probe = subprocess.run([*plain, "unshare", "-Urn", "ip", "link", "add", "br0", "type",
                                "bridge"], capture_output=True, text=True, check=False)
        if probe.returncode != 0:
            self.skipTest(f"no bridge in a user namespace here: {probe.stderr.strip()}")
        done = subprocess.run([*plain, "unshare", "-Urn", "sh", "-ec", USER_NAMESPACE],
                              cwd=made.folder, env={**os.environ, "THOLE": cluster.THOLE},
                              text=True, timeout=120, check=False, capture_output=True)
        self.assert_exit(done, 0)
        self.assertEqual(done.stdout.split(), ["0", "1", "one", "two"])


class Change(EthernetCase):
    def test_a_node_that_comes_back_with_another_mac_is_followed(self):
        for spec in ["af_packet:eth0", "af_xdp:eth0"]:
            made = self.rigged()
            for node in made.nodes:
                node.start("--net", spec)
            made.wait_healthy()
            pids = [made[1].process.pid, made[3].process.pid]
            made[2].kill()
            self.ip("n2", "link", "set", "dev", "eth0", "address", "02:00:00:00:00:77")
            made[2].start("--net", spec)
            made.wait_healthy()
            self.ping(made, made[2])
            self.append(made, LINES)
            self.assertEqual([made[1].process.pid, made[3].process.pid], pids)
            self.assertIsNone(made[1].process.poll())

    def test_a_node_that_was_cut_off_comes_back(self):
        made = self.rigged()
        for node in made.nodes:
            node.start("--net", "af_packet:eth0")
        old = made.wait_healthy()["leader"]
        self.net.isolate([f"n{old}"])
        made.wait_other_leader(old)
        self.append(made, LINES)
        self.net.heal()
        made.wait_healthy()
        self.assertEqual(self.read(made), LINES)

    def test_a_link_that_goes_down_and_up_is_one_outage(self):
        for spec in ["af_packet:eth0", "af_xdp:eth0"]:
            made = self.rigged()
            for node in made.nodes:
                node.start("--net", spec)
            old = made.wait_healthy()["leader"]
            self.ip(f"n{old}", "link", "set", "eth0", "down")
            made.wait_other_leader(old)
            self.ip(f"n{old}", "link", "set", "eth0", "up")
            made.wait_healthy()


class Manners(EthernetCase):
    def test_what_a_killed_node_left_is_replaced_and_what_is_anothers_is_not(self):
        made = self.rigged(["n1", "home"])
        before = self.link("n1")
        made[1].start("--net", "af_xdp:eth0")
        first = re.search(r"prog/xdp id (\d+)", self.link("n1")).group(1)
        self.start_refused_meanwhile(made)
        made[1].kill()
        self.assertIn(f"prog/xdp id {first} ", self.link("n1"))
        made[1].start("--net", "af_xdp:eth0")
        self.assertNotIn(f"prog/xdp id {first} ", self.link("n1"))
        made.wait_healthy()
        self.assertEqual(made[1].stop(), 0)
        self.assertEqual(self.link("n1"), before)
        done = self.net["n1"].run("ip", "link", "set", "dev", "eth0", "xdp", "obj",
                                  FOREIGN_PROGRAM, "sec", "xdp", capture_output=True)
        if done.returncode != 0:
            self.skipTest("`ip` attaches no XDP program here")
        anothers = self.link("n1")
        self.start_refused(made, "af_xdp:eth0", "ip link set dev eth0 xdp off", "xsk_def_prog")
        self.assertEqual(self.link("n1"), anothers)

    def start_refused_meanwhile(self, made):
        """A second process on the same interface; another node, so that no lock is in its way."""
        with open(made.path, encoding="ascii") as file:
            text = file.read()
        path = made.path + ".second"
        text = text.replace("durability = dsync", "durability = memory")
        with open(path, "w", encoding="ascii") as file:
            file.write(text.replace(made[1].address, "10.77.0.200:7001"))
        done = made[1].place.run(cluster.THOLE, "start", "-c", path, "--node", "1", "--net",
                                 "af_xdp:eth0", text=True, capture_output=True)
        self.assert_exit(done, 3, f"another process ({made[1].process.pid})")

    def test_what_the_kernel_uses_is_refused(self):
        made = self.rigged(["n1", "home"], kernel=["n1"], durability="memory")
        before = self.link("n1")
        address = made[1].address.split(":")[0]
        self.start_refused(made, "af_packet:eth0", f"ip address del {address}")
        self.start_refused(made, "af_xdp:eth0", "ip address flush dev eth0")
        self.ip("n1", "address", "flush", "dev", "eth0")
        self.ip("n1", "route", "add", "default", "dev", "eth0")
        for kind in ["af_packet", "af_xdp"]:
            self.start_refused(made, f"{kind}:eth0", "default route", f"{kind}:eth0,force")
        self.ip("n1", "link", "set", "eth0", "down")
        self.start_refused(made, "af_packet:eth0", "ip link set dev eth0 up")
        self.ip("n1", "link", "set", "eth0", "up")
        self.start_refused(made, "tap:eth0", "already")
        self.start_refused(made, "pci:0000:7f:1f.7", "dpdk-devbind.py --status")
        self.start_refused(made, "vdev:net_nothing0", "DPDK said")
        self.start_refused(made, "af_packet:nowhere", "thole net ls")
        self.start_refused(made, "af_xdp:eth0,mtu=9000,force", "mtu 9000")
        self.assertEqual(self.link("n1"), before)

    def test_doctor_and_net_say_beforehand_what_a_start_would_refuse(self):
        made = self.rigged(["n1", "home"], kernel=["n1"], durability="memory")
        os.chmod(made.folder, 0o755)
        self.told(made, "af_packet:eth0", "node's address", knows_address=False)
        self.told(made, "af_xdp:eth0", "interface in use")
        self.ip("n1", "address", "flush", "dev", "eth0")
        for spec in ["af_packet:eth0", "af_xdp:eth0"]:
            self.assertEqual(self.errors(made, spec), {})
            self.assertTrue(self.port_of(made, spec)["usable"])
        self.told(made, "af_packet:eth0,mtu=9000", "MTU", knows_address=False)
        self.told(made, "af_packet:eth0", "capabilities", prefix=PLAIN)
        self.told(made, "af_xdp:eth0", "capabilities", prefix=PLAIN)
        self.told(made, "tap:eth0", "device of the port", knows_address=False)
        self.told(made, "vdev:net_nothing0", "driver of the port", knows_address=False)
        self.told(made, "af_packet:nowhere", "interface", knows_address=False)
        self.ip("n1", "route", "add", "default", "dev", "eth0")
        for spec in ["af_packet:eth0", "af_xdp:eth0"]:
            self.told(made, spec, "interface in use")
        self.ip("n1", "link", "set", "eth0", "down")
        self.told(made, "af_packet:eth0", "interface")

    def test_doctor_and_net_know_whose_an_xdp_program_is(self):
        made = self.rigged(["n1", "home"])
        made[1].start("--net", "af_xdp:eth0")
        port = self.port_of(made, "af_xdp:eth0")
        self.assertEqual(port["against"][0]["mend"], f"kill {made[1].process.pid}")
        self.assertEqual(self.shown(made)["xdp"]["process"], made[1].process.pid)
        self.assertEqual(self.shown(made)["xdp"]["program"], "ours")
        made[1].kill()
        self.assertEqual(self.shown(made)["xdp"]["program"], "ours")
        self.assertIsNone(self.shown(made)["xdp"]["process"])
        self.assertEqual(self.errors(made, "af_xdp:eth0"), {})
        self.assertEqual(self.shown(made, prefix=PLAIN)["xdp"]["program"], "unknown")
        made[1].start("--net", "af_xdp:eth0")
        self.assertEqual(made[1].stop(), 0)
        done = self.net["n1"].run("ip", "link", "set", "dev", "eth0", "xdp", "obj",
                                  FOREIGN_PROGRAM, "sec", "xdp", capture_output=True)
        if done.returncode != 0:
            self.skipTest("`ip` attaches no XDP program here")
        self.assertEqual(self.shown(made)["xdp"]["program"], "foreign")
        self.told(made, "af_xdp:eth0", "XDP program")

    def json_of(self, made, *words, prefix=(), codes=(0,)):
        """What the program says in JSON on the node's host."""
        done = made[1].place.run(*prefix, cluster.THOLE, *words, "--json", text=True,
                                 capture_output=True)
        self.assertIn(done.returncode, codes, done.stderr)
        return json.loads(done.stdout)

    def shown(self, made, prefix=()):
        return self.json_of(made, "net", "show", "eth0", prefix=prefix)

    def port_of(self, made, spec, prefix=()):
        return [port for port in self.shown(made, prefix)["ports"] if port["spec"] == spec][0]

    def errors(self, made, spec, prefix=()):
        """The rows of doctor that are errors: condition and mend."""
        found = self.json_of(made, "doctor", "-c", made.path, "--node", "1", "--net", spec,
                             prefix=prefix, codes=(0, 1))
        return {row["condition"]: row["mend"] for row in found["rows"]
                if row["severity"] == "error"}

    def told(self, made, spec, condition, prefix=(), knows_address=True):
        """What start refuses, doctor has as an error, and `net show` too where it can know."""
        before = self.link("n1")
        errors = self.errors(made, spec, prefix)
        self.assertIn(condition, errors)
        mend = errors[condition]
        self.assertNotEqual(mend, "")
        if condition == "driver of the port":  # There it is DPDK's own refusal.
            self.start_refused(made, spec, prefix=prefix)
        else:
            self.start_refused(made, spec, f"`{mend}`", prefix=prefix)
        if knows_address:
            against = self.port_of(made, spec, prefix)["against"]
            self.assertIn(mend, [one["mend"] for one in against])
        self.assertEqual(self.link("n1"), before)

    def test_missing_rights_are_named(self):
        made = self.rigged(["n1", "home"], durability="memory")
        os.chmod(made.folder, 0o755)
        self.start_refused(made, "af_packet:eth0", "CAP_NET_RAW", "unshare -Urn", prefix=PLAIN)
        self.start_refused(made, "af_xdp:eth0", "CAP_NET_RAW", prefix=PLAIN)
        self.start_refused(made, "tap:thole0", "CAP_NET_ADMIN", prefix=PLAIN)

    def test_two_rights_are_enough_for_af_packet(self):
        made = self.rigged(["n1", "home"], durability="memory")
        os.chmod(made.folder, 0o755)
        rights = "+net_raw,+net_admin"
        place = made[1].place
        made[1].place = network.Place(
            [*place.prefix, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
             "--inh-caps", f"-all,{rights}", "--ambient-caps", f"-all,{rights}",
             "--bounding-set", f"-all,{rights}", "--"])
        made[1].start("--net", "af_packet:eth0")
        made.wait_healthy()
        self.append(made, LINES)
        self.assertEqual(made[1].stop(), 0)

    def test_an_address_that_another_host_has_is_refused(self):
        made = self.rigged(["n1", "home"], durability="memory")
        self.ip("home", "address", "add", made[1].address.split(":")[0] + "/32", "dev", "eth0")
        for spec in ["af_packet:eth0", "af_xdp:eth0"]:
            before = self.link("n1")
            self.start_refused(made, spec, "is taken")
            self.assertEqual(self.link("n1"), before)

    def test_eal_has_its_arguments_verbatim(self):
        made = self.rigged(["n1", "home"])
        made[1].start("--net", "af_packet:eth0", "--", "-m", "128")
        made.wait_healthy()
        self.assertEqual(made[1].stop(), 0)
        done = made[1].place.run(cluster.THOLE, "start", "-c", made.path, "--node", "1", "--net",
                                 "af_packet:eth0", "--", "--no-such-option", text=True,
                                 stdin=subprocess.DEVNULL, capture_output=True)
        self.assert_exit(done, 2, "no-such-option")


if __name__ == "__main__":
    cluster.main()
