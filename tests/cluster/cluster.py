"""A cluster of real `thole start` processes, over loopback or in the namespaces of
tests/cluster/network.py, in a scratch folder beside the build.

Starts, stops, kills and pauses only processes that it started itself; they die with it. A test
that cannot run here skips with its reason. Every program of tests takes `--seed N` (or THOLE_SEED),
`--long`, which is what the suite `long` adds, and `--net SPEC`, the port of nodes in namespaces.
"""
import glob
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import network

REPOSITORY = network.REPOSITORY
THOLE = network.THOLE
PATIENCE_S = 30  # Of every wait: what has not come by then never will.
CLUSTER_ID = "9f3c0a4e5b6d7788"
FOLDER = network.FOLDER
PORT = 7001  # Of every node that has a namespace of its own.


def take_option(name):
    """The value of `--name VALUE` on the command line, which unittest must not see."""
    if name not in sys.argv:
        return None
    at = sys.argv.index(name)
    value = sys.argv[at + 1]
    del sys.argv[at:at + 2]
    return value


SEED = int(take_option("--seed") or os.environ.get("THOLE_SEED", "0"))
SEED = SEED or random.SystemRandom().randrange(1, 1 << 31)
NET = take_option("--net")  # Instead of a kernel socket: then their kernel gives the address up.
LONG = "--long" in sys.argv
if LONG:
    sys.argv.remove("--long")


def rng(case):
    """The random numbers of a test: of the seed and its name, so that it can run alone."""
    return random.Random(f"{SEED} {case.id().split('.', 1)[1]}")


def thole(*arguments, cwd=None, place=network.HERE):
    """Run a command to its end; returns the finished process with text output."""
    return place.run(THOLE, *arguments, cwd=cwd, text=True,
                     stdin=subprocess.DEVNULL, capture_output=True)


def free_ports(count):
    """UDP ports of loopback that nobody has now, all different; below those that the kernel gives
    to whoever names none, so that no client has one of them when its node comes back."""
    sockets = []
    try:
        while len(sockets) < count:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                one.bind(("127.0.0.1", random.SystemRandom().randrange(10000, 32000)))
                sockets.append(one)
            except OSError:
                one.close()
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def remove_left_behind():
    """Folders of tests that were killed: their names begin with a process that is no more."""
    for path in glob.glob(f"{FOLDER}[0-9]*-*"):
        if not os.path.exists(f"/proc/{path[len(FOLDER):].split('-')[0]}"):
            shutil.rmtree(path, ignore_errors=True)


class Node:
    """One node: its process while it runs, and what it said."""

    def __init__(self, cluster, number, address, place):
        self.cluster = cluster
        self.data = os.path.join(cluster.folder, f"n{number}")
        self.number = number
        self.address = address
        self.place = place
        self.process = None
        self.said_path = os.path.join(cluster.folder, f"n{number}.err")

    def said(self):
        with open(self.said_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def format(self, *more):
        done = thole("format", "-c", self.cluster.path, "--node", str(self.number), *more)
        if done.returncode != 0:
            raise AssertionError(f"format of node {self.number}: {done.stderr}")

    def start(self, *more, env=None, waits=True):
        """Start it, and return when it serves; without `waits`, at once: it has a log to mend."""
        assert self.process is None
        if NET and self.place is not network.HERE:
            self.place.run("ip", "address", "flush", "dev", "eth0")
            more = ["--net", NET, *more]
        with open(self.said_path, "w", encoding="utf-8") as said:
            self.process = self.place.popen(  # It dies with the thread that calls this.
                "setpriv", "--pdeathsig", "KILL", "--",
                THOLE, "start", "-c", self.cluster.path, "--node", str(self.number), *more,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
                env=env, restore_signals=False)
        if waits:
            self.wait_serving()

    def wait_serving(self):
        """Until it serves."""
        serving = f"serving node {self.number} pid {self.process.pid} address {self.address}"
        self.cluster.wait(lambda: serving in self.said() or self.process.poll() is not None,
                          f"node {self.number} serves")
        if self.process.poll() is not None:
            raise AssertionError(f"node {self.number} ended with {self.process.returncode}: "
                                 f"{self.said()[-2000:]}")

    def wait_end(self):
        """Its exit code, once it has ended by itself or by a signal."""
        code = self.process.wait(timeout=PATIENCE_S)
        self.process = None
        return code

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait_end()

    def kill(self):
        self.process.kill()
        return self.wait_end()

    def pause(self):
        """Returns when every thread stands: the one that takes the signal may get to run late."""
        self.process.send_signal(signal.SIGSTOP)
        self.cluster.wait(lambda: set(self.thread_states()) <= {"T"}, "it stands")

    def thread_states(self):
        for path in glob.glob(f"/proc/{self.process.pid}/task/*/stat"):
            with open(path, encoding="ascii") as file:
                yield file.read().rsplit(")", 1)[1].split()[0]

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Cluster:
    """Nodes 1 to `count` of one configuration, nothing formatted or started yet.

    With a network, node K stands at its host nK, and commands run at `place`, first of all its host
    `home`, which is to be out of every cut. `data` names the data folders or devices of the nodes,
    where they are not those of this cluster's own folder.
    """

    def __init__(self, count=3, durability="dsync", extra="", storage="",
                 size="32MiB", segment="1MiB", net=None, data=None):
        remove_left_behind()
        self.folder = tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir=os.getcwd())
        self.path = os.path.join(self.folder, "cluster.ini")
        if net is None:
            self.place = network.HERE
            self.nodes = [Node(self, number, f"127.0.0.1:{port}", network.HERE)
                          for number, port in enumerate(free_ports(count), 1)]
        else:
            self.place = net["home"]
            self.nodes = [Node(self, number, f"{net.address(f'n{number}')}:{PORT}",
                               net[f"n{number}"]) for number in range(1, count + 1)]
        for node in self.nodes:
            node.data = node.data if data is None else data[node.number - 1]
        with open(self.path, "w", encoding="ascii") as out:
            out.write(f"[cluster]\nid = {CLUSTER_ID}\n")
            for node in self.nodes:
                out.write(f"[node {node.number}]\naddress = {node.address}\n"
                          f"data = {f'n{node.number}' if data is None else node.data}\n")
            out.write(f"[net]\nspec = udp\n[storage]\nsize = {size}\nsegment = {segment}\n"
                      f"durability = {durability}\n{storage}"
                      f"[raft]\nelection = 150ms-300ms\nheartbeat = 15ms\n{extra}")

    def __getitem__(self, number):
        return self.nodes[number - 1]

    def close(self):
        for node in self.nodes:
            if node.process is not None:
                node.process.kill()  # A stopped process, too.
                node.process.wait()
                node.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def format(self):
        for node in self.nodes:
            node.format()

    def start(self):
        for node in self.nodes:
            node.start()

    def stop(self, full=False):
        """Stop all of a healthy cluster, or of a full one; their logs are equal then. The leader
        last: it would hand over, and some logs would have the next one's no-op."""
        leader = (self.wait_full() if full else self.wait_healthy())["leader"]
        for node in sorted(self.nodes, key=lambda node: node.number == leader):
            code = node.stop()
            assert code == 0, f"node {node.number} ended with {code}: {node.said()[-2000:]}"

    def status(self):
        """The object of `thole status --json`, with its exit code and what it says besides."""
        done = thole("status", "-c", self.path, "--json", place=self.place)
        found = json.loads(done.stdout)
        found["exit"] = done.returncode
        found["notes"] = done.stderr
        return found

    def wait(self, holds, what):
        """Until `holds()` is true; its value."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            value = holds()
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"waited {PATIENCE_S} s in vain until {what}; {self.describe()}")

    def wait_status(self, holds, what):
        """Until the status is as wanted; that status."""
        def look():
            found = self.status()
            return found if holds(found) else None
        return self.wait(look, what)

    def wait_healthy(self):
        return self.wait_status(lambda found: found["healthy"], "the cluster is healthy")

    def wait_full(self):
        """Until nothing is wrong but that the log is full."""
        return self.wait_status(lambda found: found["available"] and not found["healthy"] and
                                re.fullmatch("the log is full.*\n", found["notes"]),
                                "the log is full, and nothing else is wrong")

    def wait_other_leader(self, number):
        """Until the cluster is available under another leader than this one."""
        return self.wait_status(
            lambda found: found["available"] and found["leader"] not in (None, number),
            f"another than node {number} leads")

    def describe(self):
        words = [f"status {self.status()}"]
        for node in self.nodes:
            if os.path.exists(node.said_path):
                words.append(f"node {node.number} said: {node.said()[-500:]}")
        return "\n".join(words)


class Case(unittest.TestCase):
    """A test with clusters of its own."""

    def cluster(self, *arguments, **more):
        made = Cluster(*arguments, **more)
        self.addCleanup(made.close)
        return made

    def healthy(self):
        """Three formatted nodes that serve; and their status."""
        made = self.cluster()
        made.format()
        made.start()
        return made, made.wait_healthy()

    def assert_exit(self, done, code, *words):
        self.assertEqual(done.returncode, code, f"{done.stdout[-2000:]}\n{done.stderr[-20000:]}")
        for word in words:
            self.assertIn(word, done.stderr)


def become_root_within():
    """What an ordinary user lacks for nodes on af_packet in hosts of a network, a user namespace
    gives: begin again in one, where there may be one."""
    if os.geteuid() == 0 or NET is None or not NET.startswith("af_packet"):
        return
    within = ["unshare", "--user", "--map-root-user", "--"]
    try:
        possible = subprocess.run([*within, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return
    if possible.returncode == 0:
        os.execvp(within[0], [*within, *sys.orig_argv])


def main():
    """Run the tests of the calling file on the program named first; 77 when all were skipped."""
    global THOLE
    become_root_within()
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        THOLE = network.THOLE = os.path.abspath(sys.argv.pop(1))
    print(f"seed {SEED}", flush=True)
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun == len(result.skipped) else 0)
