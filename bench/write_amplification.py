#!/usr/bin/env python3
"""write_amplification.py: bytes that a node gives its disk for each byte of a client's, by load.

Usage: bench/write_amplification.py [--thole PATH] [--sizes 64,1024] [--rates 1k,20k,max]
                                    [--duration 5s] [--repeats 3] [--dir DIR] [--json]

Three nodes as processes over loopback, dsync, with a log that wraps; `thole bench run -c` gives the
load. The bytes are the kernel's count for each node's process (write_bytes in /proc/PID/io, which
counts what goes to the block layer, O_DIRECT too), before and after; the client's are the payloads
of the records that came into the log meanwhile. Median (lowest..highest) over nodes and repeats.
"""
import json
import os
import time

from local_nodes import LocalNodes, cell, parser_of, run_script

NODES = 3
STORAGE = "size = 256MiB\nretention = 64MiB\n"
PATIENCE_S = 30


def write_bytes(nodes):
    """Of every node's process, by its number."""
    found = {}
    for number, process in nodes.processes.items():
        with open(f"/proc/{process.pid}/io", encoding="ascii") as file:
            fields = dict(line.split(": ") for line in file)
        found[number] = int(fields["write_bytes"])
    return found


def settled(nodes):
    """The status once all nodes are healthy and hold the same."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        status = nodes.status()
        if status["healthy"] and len({node["durable_index"] for node in status["nodes"]}) == 1:
            time.sleep(0.1)  # Its watermark page is written a moment later.
            return status["nodes"][0]
        time.sleep(0.05)
    raise RuntimeError("the nodes do not come to rest")


def measure(nodes, options, size, rate):
    """One run: amplification on each node, and records in an entry."""
    before, written = settled(nodes), write_bytes(nodes)
    run = json.loads(nodes.run("bench", "run", "-c", "c.ini", "--size", str(size), "--rate", rate,
                               "--duration", options.duration, "--warmup", "500ms", "--no-floor",
                               "--json", good=(0, 1)))
    after, written_after = settled(nodes), write_bytes(nodes)
    records = after["log_end_offset"] - before["log_end_offset"]
    entries = after["durable_index"] - before["durable_index"]
    return {"records_per_s": run["achieved_per_s"], "records_per_entry": records / entries,
            "amplification": [(written_after[number] - written[number]) / (records * size)
                              for number in written]}


def rows_of(options):
    rows = [{"size_bytes": int(size), "rate": rate, "runs": []}
            for size in options.sizes.split(",") for rate in options.rates.split(",")]
    nodes = LocalNodes(options.thole, os.path.join(options.folder, "nodes"), NODES, STORAGE)
    try:
        for number in range(1, NODES + 1):
            nodes.start(number)
        for _ in range(options.repeats):
            for row in rows:
                row["runs"].append(measure(nodes, options, row["size_bytes"], row["rate"]))
    finally:
        nodes.close()
    return rows


def main():
    parser = parser_of(__doc__, repeats=3)
    parser.add_argument("--sizes", default="64,1024")
    parser.add_argument("--rates", default="1k,20k,max")
    parser.add_argument("--duration", default="5s")
    options = parser.parse_args()
    rows, load = run_script("write-amplification", options, rows_of)
    if options.json:
        return
    print(f"three nodes over loopback, dsync; {options.repeats} runs of {options.duration} each in "
          f"turn, median (lowest..highest);\nload average before: {load:.1f}\n\n"
          "| record, bytes | rate asked | records/s | records an entry | bytes to a node's disk / "
          "client bytes |\n|---|---|---|---|---|")
    for row in rows:
        runs = row["runs"]
        amplification = [value for run in runs for value in run["amplification"]]
        print(f"| {row['size_bytes']} | {row['rate']} | "
              f"{cell([run['records_per_s'] for run in runs])} | "
              f"{cell([run['records_per_entry'] for run in runs], 1)} | "
              f"{cell(amplification, 2)} |")


if __name__ == "__main__":
    main()
