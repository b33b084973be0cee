#!/usr/bin/env python3
"""restart.py: how long a node takes from its start until it serves, by the log that it keeps.

Usage: bench/restart.py [--thole PATH] [--kept 64MiB,256MiB,1GiB] [--written 20GiB] [--repeats 5]
                        [--dir DIR] [--json]

A cluster of one, killed (SIGKILL) and started again. For each size a log that was never trimmed;
then the largest once more, when --written bytes have gone through a ring of that retention. Beside
each the floor: the same bytes of the same file, read once with O_DIRECT in pieces of 2 MiB, as
recovery reads them. Median (lowest..highest) of --repeats. What a log keeps and where it ends is
the word of `thole log ls`. Needs about 1.2 times the largest size of disk.
"""
import json
import mmap
import os
import re
import statistics
import time

from local_nodes import LocalNodes, cell, parser_of, run_script

RECORD_BYTES = 60000
ENTRY_BYTES = 15 * 4096  # That one such record takes.
RECORDS_AT_ONCE = 4096
READ_BYTES = 2 << 20
BESIDE_BYTES = 128 << 20  # Of a file, beyond what is kept: two segments, the reserve, the heads.
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}


def size_of(text):
    number, unit = re.fullmatch(r"(\d+)(MiB|GiB)", text).groups()
    return int(number) * UNITS[unit]


def fill(nodes, end_bytes):
    """Append until about so many bytes of log have been written."""
    while True:
        written = nodes.status()["nodes"][0]["log_end_offset"] * ENTRY_BYTES
        if written >= end_bytes:
            return
        count = min((end_bytes - written) // ENTRY_BYTES + 1, RECORDS_AT_ONCE)
        nodes.run("append", "-c", "c.ini", stdin=b"\n".join([b"x" * RECORD_BYTES] * count))


def floor(path, count):
    """Seconds to read so many bytes of a file."""
    buffer = mmap.mmap(-1, READ_BYTES)
    begin = time.monotonic()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    while count > 0:
        count -= os.readv(fd, [buffer])
    os.close(fd)
    return time.monotonic() - begin


def measure(nodes, repeats):
    """One row: what is kept, what was ever written, and the times in seconds."""
    nodes.kill(1)
    found = json.loads(nodes.run("log", "ls", "n1", "--json"))
    end = found["end"]["position"]
    kept = end - found["start"]["position"]
    row = {"kept_bytes": kept, "written_bytes": end, "restart_s": [], "floor_s": []}
    for _ in range(repeats):
        row["floor_s"].append(floor(os.path.join(nodes.folder, "n1", "log"), kept))
        row["restart_s"].append(nodes.start(1))
        nodes.kill(1)
    return row


def row_of(options, kept, written):
    """A row of a log that keeps so much; `written`: of the bytes that go through its ring."""
    storage = f"size = {(kept + BESIDE_BYTES) >> 20}MiB\n"
    if written > kept:
        storage += f"retention = {kept >> 20}MiB\n"
    nodes = LocalNodes(options.thole, os.path.join(options.folder, "nodes"), 1, storage)
    try:
        nodes.start(1)
        fill(nodes, written)
        return measure(nodes, options.repeats)
    finally:
        nodes.close()


def rows_of(options):
    sizes = [size_of(text) for text in options.kept.split(",")]
    rows = [row_of(options, size, size) for size in sizes]
    return rows + [row_of(options, max(sizes), size_of(options.written))]


def milliseconds(values):
    return cell([value * 1e3 for value in values])


def main():
    parser = parser_of(__doc__, repeats=5)
    parser.add_argument("--kept", default="64MiB,256MiB,1GiB")
    parser.add_argument("--written", default="20GiB")
    options = parser.parse_args()
    rows, load = run_script("restart", options, rows_of)
    if options.json:
        return
    print(f"start of a killed node until it serves, dsync; {options.repeats} times each, median "
          f"(lowest..highest), ms;\nload average before: {load:.1f}\n\n"
          "| kept, MiB | ever written, MiB | restart | floor | restart / floor |\n"
          "|---|---|---|---|---|")
    for row in rows:
        ratio = statistics.median(row["restart_s"]) / statistics.median(row["floor_s"])
        print(f"| {row['kept_bytes'] >> 20} | {row['written_bytes'] >> 20} | "
              f"{milliseconds(row['restart_s'])} | {milliseconds(row['floor_s'])} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
