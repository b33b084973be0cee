#!/usr/bin/env python3
"""repair.py: how long a node with damaged entries takes from its start until it serves.

Usage: bench/repair.py [--thole PATH] [--damaged 0,1,100,10000] [--repeats 5] [--dir DIR] [--json]

Three nodes over loopback, with a log of entries of one page each. One node is killed, a byte of so
many entries, evenly scattered over its log, is flipped, and it is started among the others, which
have them all. The row of no damage is the floor: the same start with nothing to mend. Median
(lowest..highest) of --repeats.
"""
import json
import os

from local_nodes import LocalNodes, cell, parser_of, run_script

VICTIM = 2
BODY_AT = 190  # Within an entry's first page: its first record's payload.
PAGE = 4096


def fill(nodes, entries):
    """One record after the other, each an entry of its own."""
    while nodes.status()["nodes"][0]["commit_index"] < entries:
        nodes.run("bench", "run", "-c", "c.ini", "--outstanding", "1", "--rate", "max",
                  "--size", "64", "--duration", "5s", good=(0, 1))


def client_entries(nodes):
    lines = nodes.run("log", "dump", f"n{VICTIM}", "--json", "--headers").splitlines()
    entries = [json.loads(line) for line in lines]
    return [entry["position"] for entry in entries if entry.get("kind") == "client"]


def flip(nodes, positions):
    """A byte of each of these entries; nothing runs on that file."""
    ring_bytes = json.loads(nodes.run("log", "ls", f"n{VICTIM}", "--json"))["ring_bytes"]
    path = os.path.join(nodes.folder, f"n{VICTIM}", "log")
    ring_offset = os.path.getsize(path) - ring_bytes
    with open(path, "r+b") as file:
        for position in positions:
            at = ring_offset + position % ring_bytes + BODY_AT
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x10]))
        file.flush()
        os.fsync(file.fileno())


def measure(nodes, damaged, repeats):
    """One row: entries damaged, and the times in seconds."""
    row = {"damaged": damaged, "start_s": []}
    for _ in range(repeats):
        nodes.kill(VICTIM)
        positions = client_entries(nodes)
        if len(positions) < damaged:
            raise RuntimeError(f"{len(positions)} entries, {damaged} to be damaged")
        flip(nodes, [positions[i * len(positions) // damaged] for i in range(damaged)])
        row["start_s"].append(nodes.start(VICTIM))
        row["entries"] = len(positions)
    return row


def rows_of(options):
    counts = [int(text) for text in options.damaged.split(",")]
    storage = f"size = {(4 * max(counts) * PAGE >> 20) + 512}MiB\n"
    nodes = LocalNodes(options.thole, os.path.join(options.folder, "nodes"), 3, storage)
    try:
        for number in (1, 2, 3):
            nodes.start(number)
        fill(nodes, 2 * max(counts) + 1000)
        return [measure(nodes, count, options.repeats) for count in counts]
    finally:
        nodes.close()


def main():
    parser = parser_of(__doc__, repeats=5)
    parser.add_argument("--damaged", default="0,1,100,10000")
    options = parser.parse_args()
    rows, load = run_script("repair", options, rows_of)
    if options.json:
        return
    print(f"start of a node until it serves, dsync; {options.repeats} times each, median "
          f"(lowest..highest), ms;\nload average before: {load:.1f}\n\n"
          "| entries in the log | of these damaged | start |\n|---|---|---|")
    for row in rows:
        print(f"| {row['entries']} | {row['damaged']} | "
              f"{cell([seconds * 1e3 for seconds in row['start_s']])} |")


if __name__ == "__main__":
    main()
