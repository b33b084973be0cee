"""Labs: clusters on this machine by one command, over every port that it knows, as root and as an
ordinary user; what is broken in them on request; and that nothing of one is left, however it
ends."""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import cluster
import network
from cluster import Case

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set",
          "-all", "--inh-caps", "-all", "--"]
LINES = [f"line {number}" for number in range(100)]
SIZE = ["--size", "32MiB"]


# Runs a command as nobody in a user namespace in which no other one may be made.
NO_MORE = """
import ctypes, os, sys
ready, go = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    if ctypes.CDLL(None).unshare(0x10000000) != 0:
        sys.exit("NO_MORE: unshare")
    os.write(ready[1], b"1")
    os.read(go[0], 1)
    try:
        with open("/proc/sys/user/max_user_namespaces", "w") as file:
            file.write("0")
    except OSError as error:
        sys.exit(f"NO_MORE: {error}")
    os.setgid(65534)
    os.setuid(65534)
    os.execv(sys.argv[1], sys.argv[1:])
os.read(ready[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{pid}/{name}", "w") as file:
        file.write("0 0 70000")
os.write(go[1], b"1")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def plain_user():
    """What makes a command an ordinary user's."""
    return NOBODY if os.geteuid() == 0 else []


def why_no_user_namespace():
    done = subprocess.run([*plain_user(), "unshare", "-Urn", "ip", "link", "add", "br0", "type",
                           "bridge"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


class LabCase(Case):
    prefix = []

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix=f"{cluster.FOLDER}{os.getpid()}-", dir=os.getcwd())
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        if self.prefix:
            os.chown(self.folder, 65534, 65534)
        self.dir = os.path.join(self.folder, "lab")
        self.addCleanup(self.run_lab, "down", "--remove")

    def run_lab(self, what, *words, **more):
        more.setdefault("env", {**os.environ, "THOLE_LAB": self.dir})
        more.setdefault("stdin", None if "input" in more else subprocess.DEVNULL)
        return subprocess.run([*self.prefix, cluster.THOLE, "lab", what, *words], text=True,
                              cwd=self.folder, timeout=120, check=False, capture_output=True,
                              **{key: value for key, value in more.items() if value is not None})

    def lab(self, *words, code=0, says=(), **more):
        done = self.run_lab(*words, **more)
        self.assert_exit(done, code, *says)
        return done.stdout

    def inside(self, *command, code=0, **more):
        return self.lab("shell", "--", *command, code=code, **more)

    def append(self, lines):
        words = self.inside("thole", "append", "-c", "cluster.ini", "--timeout", "30s",
                            input="".join(line + "\n" for line in lines))
        return [int(word) for word in words.split()]

    def read(self):
        return self.inside("thole", "read", "-c", "cluster.ini").splitlines()

    def status(self):
        return json.loads(self.run_lab("status", "--json").stdout)

    def wait_status(self, holds, what):
        end = time.monotonic() + cluster.PATIENCE_S
        while time.monotonic() < end:
            found = self.status()
            if holds(found):
                return found
        self.fail(f"waited {cluster.PATIENCE_S} s in vain until {what}; {found}")

    def wait_healthy(self):
        return self.wait_status(lambda found: found["cluster"]["healthy"], "it is healthy")

    def state(self):
        with open(os.path.join(self.dir, "lab.json"), encoding="utf-8") as file:
            return json.load(file)

    def namespaces(self):
        state = self.state()
        return {host["inode"] for host in [*state["hosts"], state["switch"]]}

    def traces(self):
        """What of this lab is outside its folder: its keeper, processes and notes."""
        inodes = self.namespaces()
        notes = {(path, os.stat(path).st_mtime_ns) for path in glob.glob("/run/thole-xdp-*")
                 if int(re.search(r"xdp-(\d+)-", path).group(1)) in inodes}
        return self.state()["keeper"]["pid"], inodes, network.processes_in(inodes), notes

    def assert_nothing_left(self, traces):
        keeper, inodes, processes, notes = traces
        self.assertFalse(os.path.exists(f"/proc/{keeper}/ns/net"))
        self.assertFalse(processes & network.processes_in(inodes))
        for path, made_ns in notes:
            self.assertFalse(os.path.exists(path) and os.stat(path).st_mtime_ns == made_ns, path)

    def down(self):
        """Take it down; nothing but the nodes' files is left, and then not even those."""
        traces = self.traces()
        self.assertGreaterEqual(len(traces[2]), 2)
        self.lab("down")
        self.assert_nothing_left(traces)
        self.assertLessEqual({re.sub(r"\d", "N", name) for name in os.listdir(self.dir)},
                             {"cluster.ini", "nN", "nN.err"})
        self.lab("down", "--remove")
        self.assertFalse(os.path.exists(self.dir))

    def play(self, *net):
        """What everybody does first, and every fault once."""
        words = self.lab("up", *SIZE, *net)
        self.assertIn("healthy: node", words)
        self.assertIn("thole lab shell", words)
        self.assertEqual(self.append(LINES), list(range(len(LINES))))
        self.kill_and_start()
        self.cut_and_heal()
        self.slow_a_disk()
        self.flap_and_pause()
        self.assertEqual(self.read()[:len(LINES)], LINES)
        self.down()

    def kill_and_start(self):
        old = self.status()["cluster"]["leader"]
        self.lab("kill", str(old))
        self.append(["while one is away"])
        found = self.status()
        self.assertEqual(found["nodes"][old - 1]["state"], "ended")
        self.assertIsNone(found["nodes"][old - 1]["pid"])
        self.assertFalse(found["cluster"]["nodes"][old - 1]["reachable"])
        self.lab("status", code=1)
        self.lab("kill", str(old), code=1, says=[f"thole lab start {old}"])
        self.lab("start", str(old))
        self.wait_healthy()
        self.lab("start", str(old), code=1, says=["runs already"])
        self.lab("stop", "1", "2", "3")
        said = [self.said(number) for number in (1, 2, 3)]
        self.assertTrue(all("port counted" in words.splitlines()[-1] for words in said), said)
        self.lab("start", "1", "2", "3")
        self.wait_healthy()

    def said(self, number):
        with open(os.path.join(self.dir, f"n{number}.err"), encoding="utf-8") as file:
            return file.read()

    def cut_and_heal(self):
        old = self.wait_healthy()["cluster"]["leader"]
        self.lab("cut", str(old))
        self.wait_status(lambda found: found["cluster"]["leader"] not in (None, old)
                         and found["cluster"]["available"], "another leads")
        self.append(["while one is cut off"])
        self.lab("lose", "0.5")
        self.lab("repeat", "2.5")
        found = self.status()["faults"]
        self.assertEqual({tuple(sorted(pair)) for pair in found["cuts"]},
                         {tuple(sorted([f"n{old}", other]))
                          for other in ["n1", "n2", "n3", "home"] if other != f"n{old}"})
        self.assertGreater(found["counted"]["cut"], 0)
        self.assertEqual((found["lose_percent"], found["repeat_percent"]), (0.5, 2.5))
        words = self.run_lab("status").stdout
        for said in ["cut ", "0.5 % of all packets", "2.5 % of all packets"]:
            self.assertIn(said, words)
        self.lab("heal", "--cuts")
        self.assertEqual(self.status()["faults"]["cuts"], [])
        self.assertEqual(self.status()["faults"]["lose_percent"], 0.5)
        self.lab("heal")
        self.assertEqual(self.status()["faults"]["lose_percent"], 0)
        self.lab("cut", "1,2", "3", "--from")
        self.assertEqual(sorted(self.status()["faults"]["one_way_cuts"]),
                         [["n1", "n3"], ["n2", "n3"]])
        self.lab("heal")
        self.lab("cut", "3", "home", "--to")
        self.assertEqual(self.status()["faults"]["one_way_cuts"], [["home", "n3"]])
        self.lab("heal")
        self.assertIn("no fault in the network", self.run_lab("status").stdout)
        self.wait_healthy()

    def slow_a_disk(self):
        words = self.lab("slow-disk", "2", "3ms", "--share", "50", "--seed", "77")
        self.assertIn("3 ms before 50 % of its writes, seed 77", words)
        found = self.wait_healthy()
        self.assertEqual(found["nodes"][1]["slow_disk"],
                         {"delay_ns": 3000000, "share_percent": 50.0, "seed": 77})
        self.assertEqual([node["slow_disk"] for node in found["cluster"]["nodes"]],
                         [False, True, False])
        self.assertIn("SLOW DISK", self.inside("thole", "status", "-c", "cluster.ini"))
        self.append(["on a slow disk"])
        self.lab("slow-disk", "2", "off")
        self.assertIsNone(self.status()["nodes"][1]["slow_disk"])
        self.assertNotIn("SLOW DISK", self.run_lab("status").stdout)

    def flap_and_pause(self):
        old = self.wait_healthy()["cluster"]["leader"]
        self.lab("flap", str(old), "--for", "1s")
        self.wait_healthy()
        self.lab("pause", "3")
        self.assertEqual(self.status()["nodes"][2]["state"], "paused")
        self.lab("resume", "3")
        self.wait_healthy()
        self.assertEqual(self.status()["nodes"][2]["state"], "running")

    def crash(self, keeper):
        """Kill -9 of the keeper, which has begun to die when this returns."""
        os.kill(keeper, signal.SIGKILL)
        end = time.monotonic() + cluster.PATIENCE_S
        while os.path.exists(f"/proc/{keeper}/ns/net"):
            self.assertLess(time.monotonic(), end)


class AsRoot(LabCase):
    def setUp(self):
        network.need()
        super().setUp()

    def test_a_lab_over_udp(self):
        self.play("--net", "udp")

    def test_a_lab_over_af_packet(self):
        self.play("--net", "af_packet")

    def test_a_lab_over_af_xdp(self):
        self.play("--net", "af_xdp,mtu=1400")

    def test_a_crash_leaves_nothing_and_the_next_lab_has_all_that_was_acknowledged(self):
        self.lab("up", *SIZE, "--net", "af_xdp")
        self.append(LINES)
        for turn in range(2):
            traces = self.traces()
            pids = [node["pid"] for node in self.state()["nodes"]]
            self.lab("kill", "2")
            self.crash(traces[0])
            if turn == 0:
                self.lab("status", code=3, says=["has ended without `thole lab down`"])
            self.lab("up", says=["what is left is taken away"])
            self.assertFalse(set(pids) & {node["pid"] for node in self.state()["nodes"]})
            self.assert_nothing_left(traces)
            self.assertEqual(self.read(), LINES)
        traces = self.traces()
        self.crash(traces[0])
        self.lab("down", "--remove")
        self.assert_nothing_left(traces)
        self.assertFalse(os.path.exists(self.dir))

    def test_a_lab_that_is_held_ends_with_its_holder(self):
        for number in [signal.SIGTERM, signal.SIGINT, signal.SIGKILL]:
            with subprocess.Popen([cluster.THOLE, "lab", "up", "--hold", *SIZE, "--dir", self.dir],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  text=True) as holder:
                self.assertIn("healthy", holder.stdout.readline())
                for line in holder.stdout:
                    if "lab down" in line:
                        break
                traces = self.traces()
                holder.send_signal(number)
                holder.stdout.read()
            self.assertEqual(holder.returncode, -9 if number == signal.SIGKILL else 0)
            if number == signal.SIGKILL:
                self.lab("down")  # The keeper is dying; this waits for it.
            self.assert_nothing_left(traces)

    def test_whatever_runs_at_its_hosts_ends_with_it(self):
        self.lab("up", "--no-nodes", "--hosts", "a,b")
        with subprocess.Popen([cluster.THOLE, "lab", "shell", "b", "--dir", self.dir, "--", "sh",
                               "-c", "echo $THOLE_LAB; pwd; sleep 1000"],
                              stdout=subprocess.PIPE, text=True) as shell:
            self.assertEqual([shell.stdout.readline().strip() for _ in range(2)], [self.dir] * 2)
            traces = self.traces()
            self.assertEqual(len(traces[1]), 3)
            self.inside("ping", "-q", "-c", "1", "-W", "5", "10.77.0.2")
            self.inside("sh", "-c", "thole lab down")  # Itself it lets end in peace.
            self.assertEqual(shell.wait(timeout=cluster.PATIENCE_S), -9)
        self.assert_nothing_left(traces)

    def test_a_namespace_that_got_the_number_of_one_of_the_labs_is_spared(self):
        self.lab("up", "--no-nodes", "--hosts", "a")
        with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo up; exec sleep 1000"],
                              stdout=subprocess.PIPE, text=True) as other:
            self.addCleanup(other.kill)
            self.assertEqual(other.stdout.readline(), "up\n")
            state = self.state()
            state["hosts"][0]["inode"] = os.stat(f"/proc/{other.pid}/ns/net").st_ino
            with open(os.path.join(self.dir, "lab.json"), "w", encoding="utf-8") as file:
                json.dump(state, file)
            self.lab("down")
            self.assertIsNone(other.poll())
            other.kill()

    def bench(self, duration, *more):
        return self.run_lab("shell", "--", "thole", "bench", "run", "-c", "cluster.ini", "--closed",
                            "--clients", "1", "--duration", duration, "--warmup", "50ms",
                            "--no-floor", *more).stdout

    def test_results_against_a_slow_disk_say_so(self):
        self.lab("up", "--size", "128MiB", "--net", "udp")  # Room for a page a record.
        found = json.loads(self.bench("1s", "--json"))
        self.assertEqual(found["config"]["slow_disks"], [])
        plain = found["latency_ns"]["response"]["p50"]
        self.lab("slow-disk", "1", "5ms")
        self.lab("slow-disk", "3", "5ms")
        self.assertIn("SLOW DISK on request, of node 1 3\n", self.bench("1s"))
        found = json.loads(self.bench("4s", "--json"))
        self.assertEqual(found["config"]["slow_disks"], [1, 3])
        # A quorum has at least one of them, so no commit is faster than the delay.
        slow = found["latency_ns"]["response"]["p50"]
        self.assertIsNotNone(slow, found)
        self.assertGreaterEqual(slow, 5000000)
        self.assertLess(plain, slow)
        self.lab("slow-disk", "3", "off")
        self.lab("slow-disk", "1", "off")
        found = json.loads(self.bench("1s", "--json"))
        self.assertEqual(found["config"]["slow_disks"], [])

    def test_other_tools_find_the_hosts_in_its_file(self):
        self.lab("up", *SIZE, "--net", "udp", "--hosts", "c1,c2")
        state = self.state()
        self.assertEqual([host["name"] for host in state["hosts"]],
                         ["n1", "n2", "n3", "home", "c1", "c2"])
        for host in state["hosts"]:
            done = subprocess.run(["nsenter", f"--net={host['namespace']}", "--", "ip", "-brief",
                                   "address", "show", "dev", "eth0"], text=True, check=True,
                                  capture_output=True)
            self.assertIn(f" {host['address']}/24", done.stdout)
            self.assertEqual(os.stat(host["namespace"]).st_ino, host["inode"])
        for node in state["nodes"]:
            with open(f"/proc/{node['pid']}/cmdline", encoding="ascii") as file:
                self.assertIn(f"--node\0{node['id']}\0", file.read())


class Unprivileged(LabCase):
    prefix = plain_user()

    def setUp(self):
        reason = why_no_user_namespace()
        if reason:
            self.skipTest(f"no bridge in a user namespace here: {reason}")
        super().setUp()

    def test_an_ordinary_user_has_a_lab_over_af_packet(self):
        self.play("--net", "af_packet")

    def test_within_its_shell_the_lab_is_at_hand(self):
        self.lab("up", *SIZE)
        self.assertTrue(self.state()["user_namespace"])
        words = self.inside("sh", "-ec", "id -u; thole lab kill 2; thole lab start 2; thole lab cut"
                            " 1; thole lab heal; thole lab status --json >/dev/null || true; pwd")
        self.assertEqual(words.split(), ["0", self.dir])
        self.down()

    def test_af_xdp_is_refused_by_name(self):
        self.lab("up", "--net", "af_xdp", code=3, says=["root", "--net af_packet"])
        self.assertFalse(os.path.exists(self.dir))


class Refusals(LabCase):
    def test_without_a_lab_every_command_says_how_to_make_one(self):
        for words in [["status"], ["kill", "1"], ["start", "1"], ["cut", "1"], ["lose", "5"],
                      ["heal"], ["flap", "1"], ["slow-disk", "1", "5ms"], ["shell"]]:
            self.lab(*words, code=3, says=[f"thole lab up --dir {self.dir}"])
        self.lab("down", code=3, says=["no lab in"])

    def test_what_makes_no_lab_is_refused_and_leaves_nothing(self):
        for words in [["--net", "ring"], ["--net", "tap"], ["--net", "af_packet:eth0"],
                      ["--net", "af_packet,mtu=5"], ["--nodes", "8"], ["--nodes", "0"],
                      ["--size", "x"], ["--durability", "maybe"], ["--idle", "never"],
                      ["--hosts", "n1"], ["--hosts", "Big"], ["--hosts", "br0"],
                      ["--hosts", "a,a"], ["--hosts", "averyveryverylongname"],
                      ["--hosts", ",".join(f"h{i}" for i in range(29))], ["--no-nodes"],
                      ["--no-nodes", "--hosts", "a", "--nodes", "3"], ["more"]]:
            done = self.run_lab("up", *words)
            self.assert_exit(done, 2)
            self.assertIn(words[0].lstrip("-"), done.stderr)
            self.assertFalse(os.path.exists(self.dir), words)

    def test_a_missing_tool_is_named_with_its_package(self):
        for tool, package in [("nft", "nftables"), ("bridge", "iproute2")]:
            path = shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
            if path is None:
                self.skipTest(f"{tool} is not here at all")
            done = subprocess.run(
                [*plain_user(), "unshare", "-Urm", "sh", "-c",
                 'mount --bind /dev/null "$2" && exec "$0" lab up --dir "$1"', cluster.THOLE,
                 self.dir, path], text=True, capture_output=True, check=False)
            if "mount:" in done.stderr or "unshare:" in done.stderr:
                self.skipTest(f"no mount namespace here: {done.stderr.strip()}")
            self.assert_exit(done, 3, f"`{tool}`", f"apt-get install {package}")
            self.assertFalse(os.path.exists(self.dir))

    def test_user_namespaces_that_are_switched_off_are_named(self):
        if os.geteuid() != 0:
            self.skipTest("only root can make a user namespace that allows no further one")
        os.chmod(self.folder, 0o777)
        done = subprocess.run([sys.executable, "-c", NO_MORE, cluster.THOLE, "lab", "up", "--dir",
                               self.dir], text=True, capture_output=True, check=False)
        if "NO_MORE" in done.stderr:
            self.skipTest(f"no such namespace here: {done.stderr.strip()}")
        self.assert_exit(done, 3, "sysctl user.max_user_namespaces=")
        self.assertFalse(os.path.exists(self.dir))


class Wrong(LabCase):
    """In one lab: words that make no sense there."""

    def setUp(self):
        network.need()
        super().setUp()

    def test_what_is_not_in_the_lab_is_refused_and_changes_nothing(self):
        self.lab("up", *SIZE, "--nodes", "1", "--net", "udp")
        before = self.status()["faults"]["cuts"]
        for words in [["kill", "2"], ["kill", "x"], ["slow-disk", "7", "5ms"], ["start", "0"]]:
            self.lab(*words, code=2, says=["its nodes are 1 to 1"])
        for words in [["cut", "5"], ["cut", "1", "nobody"], ["flap", "nobody"],
                      ["shell", "nobody", "--", "true"]]:
            self.lab(*words, code=2, says=["its hosts are: n1 home"])
        self.lab("cut", "1,home", code=2, says=["nobody is cut off"])
        for words in [["slow-disk", "1", "soon"], ["slow-disk", "1", "61s"], ["slow-disk", "1"],
                      ["lose", "101"], ["lose"], ["repeat", "x"], ["flap", "1", "--for", "x"],
                      ["cut"], ["cut", "1", "--from", "--to"], ["heal", "1"], ["kill"]]:
            self.lab(*words, code=2)
        self.assertEqual(self.status()["faults"]["cuts"], before)
        self.lab("up", code=3, says=["there is a lab in", "thole lab down"])
        self.lab("shell", "--", "sh", "-c", "exit 7", code=7)
        self.lab("down")
        self.lab("up", "--nodes", "3", code=3, says=["--nodes", "down --remove"])
        self.lab("up", "--net", "af_packet", code=3, says=["--net"])
        self.lab("up", "--nodes", "1")
        self.down()


if __name__ == "__main__":
    cluster.main()
