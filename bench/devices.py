#!/usr/bin/env python3
"""devices.py: what each device costs, measured in one run: the table of docs/OPERATING.md.

Usage: bench/devices.py [--thole PATH] [--repeats 3] [--duration 2s] [--dir DIR] [--json]

For each device: echoes of 64 B (`thole floor net`, one and 32 under way, server and client spinning
on CPUs 1 and 0), and commits at depth one beside the floor over the same device (`thole bench run
--local 3 --closed`), each repeated in turn, the median and the spread of the repetitions printed. A
pair of vhost and virtio_user has two ends and no segment, and so no cluster: its echo alone. What
needs root is left out without it, and said. Virtual cards stand in namespaces that end with the
commands; nothing is left behind.
"""
import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

SERVER_CPU, CLIENT_CPU = "1", "0"
DEVICES = [  # As the user writes it, what it needs, root or not.
    ("ring", "nothing; one process", False),
    ("udp", "nothing; loopback here", False),
    ("af_packet", "a user namespace", False),
    ("af_xdp", "root", True),
]
VHOST = "vdev:net_vhost0 / net_virtio_user0"
ADDRESSES = ("198.18.2.1:7000", "198.18.2.2:7000")


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def echo_of(options, net, folder):
    return run([options.thole, "floor", "net", "--net", net, "--size", "64", "--duration",
                options.duration, "--idle", "spin", "--cpu", f"{SERVER_CPU},{CLIENT_CPU}",
                "--json"], folder)


def commit_of(options, net, folder):
    return run([options.thole, "bench", "run", "--local", "3", "--net", net, "--closed",
                "--clients", "1", "--warmup", "300ms", "--duration", options.duration,
                "--log-size", "64MiB", "--json"], folder)


def vhost_echo(options, folder):
    """Two processes, the two ends of a link in shared memory."""
    socket = "v"  # In the folder: a spec is short.
    server = subprocess.Popen(
        [options.thole, "floor", "net", "--serve", "--net", f"vdev:net_vhost0,iface={socket}",
         "--address", ADDRESSES[0], "--idle", "spin", "--cpu", SERVER_CPU],
        cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        if "serving" not in server.stderr.readline():
            raise RuntimeError("the server of the vhost pair does not start")
        return run([options.thole, "floor", "net", "--to", ADDRESSES[0], "--net",
                    f"vdev:net_virtio_user0,path={socket}", "--address", ADDRESSES[1], "--size",
                    "64", "--duration", options.duration, "--idle", "spin", "--cpu", CLIENT_CPU,
                    "--json"], folder)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate()


class Row:
    """One device: what its repetitions found."""

    def __init__(self, name, needs):
        self.name = name
        self.needs = needs
        self.values = {}
        self.copies = None
        self.invalid = 0

    def add(self, key, value):
        self.values.setdefault(key, []).append(value)

    def add_echo(self, found):
        port = found["net"]
        self.copies = port["copies_per_payload_byte"]
        for row in port["rows"]:
            if row["depth"] == 1:
                self.add("echo_p50", row["latency_ns"]["p50"])
                self.add("echo_p99", row["latency_ns"]["p99"])
            else:
                self.add("frames_per_s", row["frames_per_s"])

    def add_commit(self, found):
        self.invalid += not found["valid"]
        for at in ("p50", "p99"):
            self.add(f"commit_{at}", found["latency_ns"]["response"][at])
            self.add(f"floor_{at}", found["floors_ns"][f"commit_{at}"])

    def known(self, key):
        return [value for value in self.values.get(key, []) if value is not None]

    def cell(self, key, scale, digits):
        """Median, and lowest to highest."""
        found = [value / scale for value in self.known(key)]
        if not found:
            return "-"
        return (f"{statistics.median(found):.{digits}f} "
                f"({min(found):.{digits}f}..{max(found):.{digits}f})")

    def commit_cell(self, at):
        found, floor = self.known(f"commit_{at}"), self.known(f"floor_{at}")
        if not found or not floor:
            return "-"
        ratio = statistics.median(found) / statistics.median(floor)
        return (f"{self.cell(f'commit_{at}', 1e3, 0)} / {self.cell(f'floor_{at}', 1e3, 0)} = "
                f"{ratio:.2f}")

    def copies_cell(self):
        if self.copies is None:
            return "-"
        return " + ".join(str(self.copies[part]) for part in ("program", "driver", "kernel"))

    def markdown(self):
        return (f"| `{self.name}` | {self.needs} | {self.cell('echo_p50', 1e3, 2)} | "
                f"{self.cell('frames_per_s', 1e3, 0)} | {self.commit_cell('p50')} | "
                f"{self.commit_cell('p99')} | {self.copies_cell()} |")


HEAD = """\
| device | needs | echo, us | thousand frames/s | commit / floor p50, us | p99, us | copies |
|---|---|---|---|---|---|---|"""


def measure(options, folder):
    rows = []
    left_out = []
    for name, needs, root in DEVICES:
        if root and os.geteuid() != 0:
            left_out.append(f"{name} needs root")
        else:
            rows.append(Row(name, needs))
    pair = Row(VHOST, "two processes, shared memory")
    env = None
    for _ in range(options.repeats):
        for row in rows:
            found = echo_of(options, row.name, folder)
            env = found["env"]
            row.add_echo(found)
            row.add_commit(commit_of(options, row.name, folder))
        pair.add_echo(vhost_echo(options, folder))
    return rows + [pair], env, left_out


def version_of(options):
    done = subprocess.run([options.thole, "version"], capture_output=True, text=True, check=True)
    return re.split(r"\n", done.stdout)[0]


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--thole", default=os.path.join(root, "build", "thole"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--duration", default="2s", help="of each measurement")
    parser.add_argument("--dir", default=".", help="on whose filesystem the logs lie")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.thole = os.path.abspath(options.thole)
    folder = tempfile.mkdtemp(prefix="thole-devices-", dir=os.path.abspath(options.dir))
    load = os.getloadavg()[0]
    try:
        rows, env, left_out = measure(options, folder)
    except RuntimeError as why:
        print(f"devices: {why}", file=sys.stderr)
        return 3
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps({"schema": "thole-devices-1", "env": env, "load_average": load, "rows": [
            {"device": row.name, "copies": row.copies, "invalid": row.invalid, **row.values}
            for row in rows], "left_out": left_out}, indent=2))
        return 0
    print(f"{version_of(options)}; {env['cpu']}, {env['cpus']} CPUs, kernel {env['kernel']}; load "
          f"average before: {load:.1f}.\nEcho of 64 B, p50, and frames a second with 32 under way; "
          f"commits at depth one, three replicas,\n{options.repeats} repetitions of "
          f"{options.duration} in turn: median (lowest..highest). Copies of a payload byte on its "
          f"way: by\nthole + by the driver + by the kernel.\n\n{HEAD}")
    for row in rows:
        print(row.markdown())
    for row in rows:
        if row.invalid:
            print(f"\n{row.name}: {row.invalid} of {options.repeats} runs were invalid")
    for why in left_out:
        print(f"\nleft out: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
