#!/usr/bin/env python3
"""restart.py: how long a node takes from its start until it serves, by the log that it keeps.

Usage: bench/restart.py [--thole PATH] [--kept 64MiB,256MiB,1GiB] [--written 20GiB] [--repeats 5]
                        [--dir DIR] [--json]

A cluster of one, killed (SIGKILL) and started again. For each size a log that was never trimmed;
then the largest once more, when --written bytes have gone through a ring of that retention. Beside
each the floor: the same bytes of the same file, read once with O_DIRECT in pieces of 2 MiB, which is
what recovery reads at a time. Median (lowest..highest) of --repeats. What a log keeps and where it
ends is the word of `thole log ls`. Needs about 1.5 times the largest size of disk.
"""
import argparse
import json
import mmap
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

RECORD_BYTES = 60000
ENTRY_BYTES = 15 * 4096  # That one such record takes.
READ_BYTES = 2 << 20
BESIDE_BYTES = 128 << 20  # Of a file, beyond what is kept: two segments, the reserve, the heads.
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}


def size_of(text):
    number, unit = re.fullmatch(r"(\d+)(MiB|GiB)", text).groups()
    return int(number) * UNITS[unit]


class Node:
    """One node with a log of its own, in a folder of its own."""

    def __init__(self, options, name, kept_bytes, retention):
        self.thole = options.thole
        self.folder = os.path.join(options.folder, name)
        os.mkdir(self.folder)
        self.process = None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        with open(os.path.join(self.folder, "c.ini"), "w", encoding="ascii") as out:
            out.write(f"[cluster]\nid = 1\n[node 1]\naddress = 127.0.0.1:{port}\ndata = n1\n"
                      f"[storage]\nsize = {(kept_bytes + BESIDE_BYTES) >> 20}MiB\n")
            if retention:
                out.write(f"retention = {kept_bytes >> 20}MiB\n")
        self.run("format", "-c", "c.ini", "--node", "1")

    def run(self, *arguments, good=(0,)):
        done = subprocess.run([self.thole, *arguments], cwd=self.folder, capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode not in good:
            raise RuntimeError(f"thole {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def start(self):
        """Start it; seconds until it serves."""
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [self.thole, "start", "-c", "c.ini", "--node", "1"], cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for line in self.process.stderr:
            if line.startswith("serving node"):
                return time.monotonic() - begin
        raise RuntimeError(f"the node ended with {self.process.wait()}")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def fill(self, end_bytes):
        """Append until about so many bytes of log have been written."""
        while True:
            status = json.loads(self.run("status", "-c", "c.ini", "--json", good=(0, 1)))
            left = end_bytes - status["nodes"][0]["log_end_offset"] * ENTRY_BYTES
            if left <= 0:
                return
            lines = b"\n".join([b"x" * RECORD_BYTES] * min(left // ENTRY_BYTES + 1, 4096))
            done = subprocess.run([self.thole, "append", "-c", "c.ini"], cwd=self.folder,
                                  input=lines, capture_output=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"append: {done.stderr.decode()[-500:]}")

    def log(self):
        """Of the stopped node: where its log starts and ends, in bytes ever written."""
        found = json.loads(self.run("log", "ls", "n1", "--json"))
        return found["start"]["position"], found["end"]["position"]

    def floor(self, count):
        """Seconds to read so many bytes of its file."""
        buffer = mmap.mmap(-1, READ_BYTES)
        begin = time.monotonic()
        fd = os.open(os.path.join(self.folder, "n1", "log"), os.O_RDONLY | os.O_DIRECT)
        while count > 0:
            count -= os.readv(fd, [buffer])
        os.close(fd)
        return time.monotonic() - begin


def measure(node, repeats):
    """One row: what is kept, what was ever written, and the times in seconds."""
    node.kill()
    start, end = node.log()
    row = {"kept_bytes": end - start, "written_bytes": end, "restart_s": [], "floor_s": []}
    for _ in range(repeats):
        row["floor_s"].append(node.floor(end - start))
        row["restart_s"].append(node.start())
        node.kill()
    return row


def rows_of(options):
    rows = []
    for text in options.kept.split(","):
        kept = size_of(text)
        node = Node(options, text, kept, False)
        try:
            node.start()
            node.fill(kept)
            rows.append(measure(node, options.repeats))
        finally:
            node.kill()
            shutil.rmtree(node.folder)
    kept = max(size_of(text) for text in options.kept.split(","))
    node = Node(options, "wrapped", kept, True)
    try:
        node.start()
        node.fill(size_of(options.written))
        rows.append(measure(node, options.repeats))
    finally:
        node.kill()
        shutil.rmtree(node.folder)
    return rows


def cell(values):
    return (f"{statistics.median(values) * 1e3:.0f} "
            f"({min(values) * 1e3:.0f}..{max(values) * 1e3:.0f})")


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--thole", default=os.path.join(root, "build", "thole"))
    parser.add_argument("--kept", default="64MiB,256MiB,1GiB")
    parser.add_argument("--written", default="20GiB")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dir", default=".", help="on whose filesystem the logs lie")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.thole = os.path.abspath(options.thole)
    options.folder = tempfile.mkdtemp(prefix="thole-restart-", dir=os.path.abspath(options.dir))
    load = os.getloadavg()[0]
    try:
        rows = rows_of(options)
    except RuntimeError as why:
        print(f"restart: {why}", file=sys.stderr)
        return 3
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)
    if options.json:
        print(json.dumps({"schema": "thole-restart-1", "load_average": load, "rows": rows},
                         indent=2))
        return 0
    print(f"start of a killed node until it serves, dsync; {options.repeats} times each, median "
          f"(lowest..highest), ms;\nload average before: {load:.1f}\n\n"
          "| kept, MiB | ever written, MiB | restart | floor: its bytes read once | restart / floor "
          "|\n|---|---|---|---|---|")
    for row in rows:
        ratio = statistics.median(row["restart_s"]) / statistics.median(row["floor_s"])
        print(f"| {row['kept_bytes'] >> 20} | {row['written_bytes'] >> 20} | "
              f"{cell(row['restart_s'])} | {cell(row['floor_s'])} | {ratio:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
