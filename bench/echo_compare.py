#!/usr/bin/env python3
"""echo_compare.py: the node's nic code beside dpdk-testpmd, over one AF_XDP veth pair.

Usage: bench/echo_compare.py [--thole PATH] [--rounds 8] [--slice MS] [--size 64] [--json]

One client program (`thole floor net --to`, AF_XDP, spinning on CPU 0) sends a frame and waits for
it, and two servers answer it in turn on the other end of the pair, spinning on CPU 1: dpdk-testpmd
in its mode 5tswap, and `thole floor net --serve`, which is the port and the poll loop of a node.
Both have busy_budget=0. The pair stands in a network namespace that ends with this program.

Prints the median of the slices' p50 and p99 of both and the ratio of the p50s; exits 1 when the
node's is above 1.3 x testpmd's, 3 where it cannot run here, and says why.
"""
import argparse
import fcntl
import json
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time

RATIO_MAX = 1.3
SERVER_CPU, CLIENT_CPU = "1", "0"
SERVER_IF, CLIENT_IF = "echo1", "echo0"
SERVER, CLIENT = "198.18.1.1", "198.18.1.2"
UDP_PORT = 7000
START_S = 20
BEFORE_OTHERS = ["nice", "-n", "-10"]  # All three alike: a spinner without a turn answers nobody.
ARP_S = 0.1
SLICE_TRIES = 6  # Each twice as long.
ECHOES_MIN = 1000  # Ten lie above the p99.


class Unmet(Exception):
    """What this machine lacks."""


def need():
    if os.geteuid() != 0:
        raise Unmet("AF_XDP needs root")
    for tool, package in [("ip", "iproute2"), ("unshare", "util-linux"), ("dpdk-testpmd", "dpdk")]:
        if shutil.which(tool) is None:
            raise Unmet(f"{tool} is missing (Debian package {package})")
    if not {int(SERVER_CPU), int(CLIENT_CPU)} <= os.sched_getaffinity(0):
        raise Unmet("CPUs 0 and 1 are needed")


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unmet(f"ip {' '.join(words)}: {done.stderr.strip()}")


def make_pair():
    ip("link", "set", "lo", "up")
    ip("link", "add", CLIENT_IF, "type", "veth", "peer", "name", SERVER_IF)
    for name in (CLIENT_IF, SERVER_IF):
        ip("link", "set", name, "addrgenmode", "none", "up")


class Speaker:
    """Says by ARP who has the server's address: testpmd says nothing of the kind."""

    def __init__(self):
        self.mac = self.mac_by_ioctl(SERVER_IF)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind((SERVER_IF, 0))
        to = self.mac_by_ioctl(CLIENT_IF)
        self.packet = (to + self.mac + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04\x00\x02" +
                       self.mac + socket.inet_aton(SERVER) + to + socket.inet_aton(CLIENT)
                       ).ljust(60, b"\0")

    @staticmethod
    def mac_by_ioctl(name):
        """/sys shows the namespace that mounted it, so the kernel is asked itself."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            return fcntl.ioctl(own, 0x8927, struct.pack("256s", name.encode()))[18:24]

    def speak(self):
        try:
            self.socket.send(self.packet)
        except OSError:  # While a driver has the link down.
            pass


def start_testpmd(_):
    """In its own words, with a pool in plain memory as ours: what lies beyond the registered part
    of it is lost once, at the beginning."""
    return subprocess.Popen(
        [*BEFORE_OTHERS, "dpdk-testpmd", "--no-huge", "--no-shconf", "-m", "128", "--no-pci",
         "--no-telemetry",
         "--lcores", f"0@{CLIENT_CPU},1@{SERVER_CPU}",
         "--vdev", f"net_af_xdp0,iface={SERVER_IF},start_queue=0,busy_budget=0", "--",
         "--forward-mode=5tswap", "--auto-start", "--nb-cores=1", "--total-num-mbufs=8191",
         "--rxd=2048", "--txd=2048", "--no-flush-rx"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def start_node(thole):
    return subprocess.Popen(
        [*BEFORE_OTHERS, thole, "floor", "net", "--serve", "--net", f"af_xdp:{SERVER_IF}",
         "--address", f"{SERVER}:{UDP_PORT}", "--idle", "spin", "--cpu", SERVER_CPU],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_started(server, words):
    said = []
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        line = server.stdout.readline()
        if not line:
            break
        said.append(line)
        if words in line:
            return
    raise RuntimeError(f"a server does not start: {''.join(said)[-500:]}")


def stop(server):
    server.send_signal(signal.SIGTERM)
    try:
        server.communicate(timeout=START_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.communicate()
    ip("link", "set", SERVER_IF, "xdp", "off")


def probe(options, speaker, slice_ms):
    """One slice of the client: its row at depth one."""
    client = subprocess.Popen(
        [*BEFORE_OTHERS, options.thole, "floor", "net", "--to", f"{SERVER}:{UDP_PORT}", "--net",
         f"af_xdp:{CLIENT_IF}", "--address", f"{CLIENT}:{UDP_PORT}", "--idle", "spin", "--cpu",
         CLIENT_CPU, "--size", str(options.size), "--depth", "1", "--duration",
         f"{slice_ms}ms", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    while client.poll() is None:
        speaker.speak()
        time.sleep(ARP_S)
    out, error = client.communicate()
    if client.returncode != 0:
        raise RuntimeError(f"the client: {error.strip()}")
    return json.loads(out)["net"]["rows"][0]


SERVERS = {"testpmd": (start_testpmd, "packet forwarding"), "node": (start_node, "serving echoes")}


def slice_of(name, options, speaker):
    """On a crowded machine a spinner may have no turn in a whole slice: then a longer one."""
    start, words = SERVERS[name]
    server = start(options.thole)
    try:
        wait_started(server, words)
        for longer in range(SLICE_TRIES):
            row = probe(options, speaker, options.slice << longer)
            if row["latency_ns"]["count"] >= ECHOES_MIN:
                return row
        raise RuntimeError(f"{name}: {row['latency_ns']['count']} echoes in a slice are too few")
    finally:
        stop(server)


def summary(slices):
    p50 = [row["latency_ns"]["p50"] for row in slices]
    p99 = [row["latency_ns"]["p99"] for row in slices]
    return {"p50": statistics.median(p50), "p99": statistics.median(p99), "p50_min": min(p50),
            "p50_max": max(p50), "echoes": sum(row["latency_ns"]["count"] for row in slices),
            "lost": sum(row["lost"] for row in slices)}


def measure(options):
    need()
    make_pair()
    speaker = Speaker()
    slices = {name: [] for name in SERVERS}
    for number in range(options.rounds):
        order = list(SERVERS) if number % 2 == 0 else list(SERVERS)[::-1]
        for name in order:
            slices[name].append(slice_of(name, options, speaker))
    pairs = [node["latency_ns"]["p50"] / other["latency_ns"]["p50"]
             for node, other in zip(slices["node"], slices["testpmd"])]
    found = {"schema": "thole-echo-compare-1", "bytes": options.size, "rounds": options.rounds,
             "slice_ms": options.slice, "load_average": os.getloadavg()[0]}
    found.update({name: summary(rows) for name, rows in slices.items()})
    found["ratio_p50"] = found["node"]["p50"] / found["testpmd"]["p50"]
    found["ratio_p99"] = found["node"]["p99"] / found["testpmd"]["p99"]
    found["ratio_p50_by_round"] = {"min": min(pairs), "median": statistics.median(pairs),
                                   "max": max(pairs)}
    found["ratio_max"] = RATIO_MAX
    found["passes"] = found["ratio_p50"] <= RATIO_MAX
    return found


def show(found):
    print(f"echo of {found['bytes']} B over one AF_XDP veth pair, server on CPU {SERVER_CPU}, "
          f"client on CPU {CLIENT_CPU}, both spinning,\n{found['rounds']} rounds of "
          f"{found['slice_ms']} ms in turn, load average {found['load_average']:.1f}\n")
    print(f"{'':8} {'p50 us':>8} {'min..max of slices':>20} {'p99 us':>8} {'echoes':>9} "
          f"{'lost':>6}")
    for name in SERVERS:
        row = found[name]
        spread = f"{row['p50_min'] / 1e3:.2f}..{row['p50_max'] / 1e3:.2f}"
        print(f"{name:8} {row['p50'] / 1e3:8.2f} {spread:>20} {row['p99'] / 1e3:8.2f} "
              f"{row['echoes']:9} {row['lost']:6}")
    rounds = found["ratio_p50_by_round"]
    print(f"\nnode / testpmd: p50 {found['ratio_p50']:.2f} (by round {rounds['min']:.2f}.."
          f"{rounds['max']:.2f}), p99 {found['ratio_p99']:.2f}; at most {RATIO_MAX} is asked: "
          f"{'yes' if found['passes'] else 'NO'}")


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--thole", default=os.path.join(root, "build", "thole"))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--slice", type=int, default=300, help="of load, in ms")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.thole = os.path.abspath(options.thole)
    if os.geteuid() == 0 and os.environ.get("THOLE_ECHO_INSIDE") is None:
        if shutil.which("unshare") is not None:
            os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv],
                       {**os.environ, "THOLE_ECHO_INSIDE": "1"})
    try:
        found = measure(options)
    except Unmet as why:
        print(f"echo_compare: {why}", file=sys.stderr)
        return 3
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
    return 0 if found["passes"] else 1


if __name__ == "__main__":
    sys.exit(main())
